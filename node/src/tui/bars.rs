//! What stands around the timeline: the track bar, the list of rooms, the room's head, the edge of the input, the
//! status.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line as Row, Span};

use crate::api::types::Room;
use crate::tui::body::excerpt;
use crate::tui::draft::About;
use crate::tui::moderation::goes_on;
use crate::tui::names::{clean, room_name};
use crate::tui::open::{OpenRoom, Position};
use crate::tui::presence::typing;
use crate::tui::scene::grouped;
use crate::tui::state::{Ask, Connection, Mode, State};
use crate::tui::wrap::{fit, width};

/// Rooms with something unread, in one row: they can be seen also where there is no list.
pub fn track(state: &State, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let theme = state.theme;
    let me = state.identity.as_ref().map_or_else(String::new, |me| fit(&clean(&me.name), usize::from(area.width / 4)));
    let mut room = usize::from(area.width).saturating_sub(width(&me) + 12);
    let mut spans = vec![Span::styled(" tidings  ", theme.accent())];
    for (place, listed) in state.rooms.iter().enumerate() {
        if listed.unread == 0 || state.focus.as_deref() == Some(&listed.room) {
            continue;
        }
        let place = if place < 9 { format!("{} ", place + 1) } else { String::new() };
        let name = fit(&room_name(listed), TRACK_NAME_CELLS);
        let count = unread(listed);
        let Some(left) = room.checked_sub(width(&place) + width(&name) + count.len() + 4) else {
            spans.push(Span::styled("…", theme.dim()));
            break;
        };
        room = left;
        spans.push(Span::styled(place, theme.dim()));
        spans.push(Span::raw(name));
        spans.push(Span::styled(format!(" {count}   "), theme.unread()));
    }
    both_ends(Row::from(spans), Span::styled(me + " ", theme.dim()), area, buffer);
}

/// All rooms, those with something unread first.
pub fn list(state: &State, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let edge = area.right();
    for y in area.y..area.bottom() {
        buffer.set_string(edge, y, "│", state.theme.dim());
    }
    let height = usize::from(area.height);
    let focus = state.rooms.iter().position(|room| state.focus.as_deref() == Some(&room.room)).unwrap_or(0);
    // The room in front stays in sight, with what is next to it.
    let first = (focus + 2).saturating_sub(height).min(state.rooms.len().saturating_sub(height));
    for ((place, room), y) in state.rooms.iter().enumerate().skip(first).zip(area.y..area.bottom()) {
        buffer.set_line(area.x, y, &list_row(state, place, room, usize::from(area.width)), area.width);
    }
}

fn list_row(state: &State, place: usize, room: &Room, cells: usize) -> Row<'static> {
    let theme = state.theme;
    let is_front = state.focus.as_deref() == Some(&room.room);
    let (count, count_style) = if room.pending {
        ("…".to_owned(), theme.dim())
    } else if room.unread > 0 {
        (unread(room), theme.unread())
    } else if !room.complete {
        ("~".to_owned(), theme.warning())
    } else {
        (String::new(), Style::new())
    };
    let has_draft = !is_front && state.open.get(&room.room).is_some_and(|open| !open.draft.is_blank());
    let key = if place < 9 { (place + 1).to_string() } else { " ".to_owned() };
    let draft = if has_draft { " ✎" } else { "" };
    let name = fit(&room_name(room), cells.saturating_sub(width(&count) + width(draft) + 5));
    let pad = cells.saturating_sub(width(&name) + width(draft) + width(&count) + 4);
    let style = match (is_front, room.unread > 0) {
        (true, _) => theme.accent(),
        (false, true) => Style::new().add_modifier(Modifier::BOLD),
        (false, false) => Style::new(),
    };
    Row::from(vec![
        Span::styled(if is_front { "▌" } else { " " }, theme.accent()),
        Span::styled(key + " ", theme.dim()),
        Span::styled(name, style),
        Span::styled(draft, theme.dim()),
        Span::raw(" ".repeat(pad)),
        Span::styled(count, count_style),
    ])
}

/// What the room in front is called and what kind of room it is.
pub fn head(state: &State, area: Rect, buffer: &mut Buffer) {
    let Some(room) = state.room().filter(|_| !area.is_empty()) else { return };
    let theme = state.theme;
    let kind = match room.kind.as_str() {
        "public" => "public",
        "private" => "end-to-end encrypted",
        _ => "members only",
    };
    let people = if room.members == 1 { "only you".to_owned() } else { format!("{} people", room.members) };
    let cells = usize::from(area.width);
    let role = match room.role.as_str() {
        "" | "none" => String::new(),
        role => format!("· you: {} ", clean(role)),
    };
    let about = if cells < HEAD_WIDE_CELLS { format!("{people} ") } else { format!("{people} · {kind} {role}") };
    let name = fit(&room_name(room), cells.saturating_sub(2));
    let about = if width(&name) + width(&about) + 4 <= cells { about } else { String::new() };
    let topic = fit(&clean(&room.topic), cells.saturating_sub(width(&name) + width(&about) + 5));
    let topic = if topic.is_empty() { topic } else { format!("  {topic}") };
    let named = Row::from(vec![
        Span::raw(" "),
        Span::styled(name, Style::new().add_modifier(Modifier::BOLD)),
        Span::styled(topic, theme.dim()),
    ]);
    both_ends(named, Span::styled(about, theme.dim()), area, buffer);
}

/// The edge above the input: what is being written, or what can be done with the chosen message.
pub fn rule(state: &State, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let theme = state.theme;
    let cells = usize::from(area.width);
    buffer.set_string(area.x, area.y, "─".repeat(cells), theme.dim());
    let below = state.here().map(below).unwrap_or_default();
    let left = match &state.mode {
        Mode::Select(select) if matches!(select.ask, Ask::Nothing) => choices(state),
        Mode::Compose => about(state),
        _ => String::new(),
    };
    let typing = state.here().map(typing).unwrap_or_default();
    let (text, style) = if left.is_empty() { (typing, theme.dim()) } else { (left, theme.accent()) };
    if !text.is_empty() {
        let text = fit(&text, cells.saturating_sub(width(&below) + 6));
        buffer.set_string(area.x + 1, area.y, format!(" {text} "), style);
    }
    if !below.is_empty() && width(&below) + 4 < cells {
        let x = area.right() - u16::try_from(width(&below) + 3).unwrap_or(0);
        buffer.set_string(x, area.y, format!(" {below} "), theme.unread());
    }
}

fn about(state: &State) -> String {
    let Some(open) = state.here() else { return String::new() };
    match open.draft.about() {
        About::New => {
            // Where nothing can be said, the input says so itself.
            state.room().filter(|room| room.read_only.is_none()).map(goes_on).unwrap_or_default()
        }
        About::Edit { .. } => "editing · Esc stops".to_owned(),
        About::Reply(id) => match open.window.message(id) {
            Some(message) => {
                let (author, _) = open.names().author(message, state.theme, ANSWERED_NAME_CELLS);
                format!("answering {author} · Esc stops · {}", excerpt(message))
            }
            None => "answering an earlier message · Esc stops".to_owned(),
        },
    }
}

fn choices(state: &State) -> String {
    let is_mine = state.selected().is_some_and(|message| message.user == state.me());
    let own = if is_mine { "e edit  d erase  " } else { "" };
    let others = match (is_mine, state.may("hide")) {
        (true, _) => "",
        (false, false) => "! report  ",
        (false, true) => "h hide  ! report  ",
    };
    format!("r answer  {own}{others}+ react  Esc back  Enter open")
}

fn below(open: &OpenRoom) -> String {
    match (&open.position, open.below) {
        (Position::Newest, _) => String::new(),
        (Position::At { .. }, 0) => "End: newest".to_owned(),
        (Position::At { .. }, new) => format!("{new} new · End"),
    }
}

/// How things stand: the node, its peers, the room in front.
pub fn status(state: &State, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let theme = state.theme;
    let mut spans = match state.connection {
        Connection::Connecting => vec![Span::styled(" ◌ connecting to the node…", theme.warning())],
        Connection::Lost => vec![Span::styled(" ◌ the node cannot be reached, trying again…", theme.error())],
        Connection::Open => match state.status.as_ref().map(|status| status.peers) {
            None => vec![Span::styled(" ● node reached", theme.good())],
            Some(0) => vec![Span::styled(" ● no peers yet", theme.warning())],
            Some(1) => vec![Span::styled(" ● 1 peer", theme.good())],
            Some(peers) => vec![Span::styled(format!(" ● {peers} peers"), theme.good())],
        },
    };
    if state.connection == Connection::Open
        && let Some(room) = state.room()
    {
        let name = fit(&room_name(room), usize::from(area.width / 4));
        let (how, style) = standing(state, room);
        spans.push(Span::styled(format!(" · {name}: "), theme.dim()));
        spans.push(Span::styled(how, style));
    }
    if let Some(behind) = state.status.as_ref().map(|status| status.behind).filter(|behind| *behind > 1) {
        spans.push(Span::styled(format!(" · {behind} rooms behind"), theme.dim()));
    }
    both_ends(Row::from(spans), Span::styled("F1 help ", theme.dim()), area, buffer);
}

fn standing(state: &State, room: &Room) -> (String, Style) {
    let theme = state.theme;
    if room.pending {
        return ("joining, nobody reached yet".to_owned(), theme.warning());
    }
    if room.complete {
        let have = match room.peers {
            0 => String::new(),
            1 => ", 1 peer has it".to_owned(),
            peers => format!(", {peers} peers have it"),
        };
        return (format!("complete{have}"), theme.dim());
    }
    match state.here().and_then(|open| open.backfill) {
        Some((held, _)) => (format!("fetching, {} events so far", grouped(held)), theme.warning()),
        None if room.peers == 0 => ("behind, no peer here has it".to_owned(), theme.warning()),
        None => ("behind, fetching".to_owned(), theme.warning()),
    }
}

/// Text at the left, and at the right edge where there is room for both.
fn both_ends(left: Row<'_>, right: Span<'_>, area: Rect, buffer: &mut Buffer) {
    buffer.set_line(area.x, area.y, &left, area.width);
    let used: usize = left.spans.iter().map(|span| width(&span.content)).sum();
    let cells = width(&right.content);
    if used + cells < usize::from(area.width) {
        let x = area.right() - u16::try_from(cells).unwrap_or(0);
        buffer.set_span(x, area.y, &right, area.width);
    }
}

fn unread(room: &Room) -> String {
    let unread = if room.unread >= UNREAD_COUNTED { "1000+".to_owned() } else { room.unread.to_string() };
    if room.mentions > 0 { format!("@{} {unread}", room.mentions) } else { unread }
}

/// The node counts no further.
const UNREAD_COUNTED: usize = 1000;
/// A narrower head leaves out what kind of room it is, for the topic.
const HEAD_WIDE_CELLS: usize = 60;
const TRACK_NAME_CELLS: usize = 16;
const ANSWERED_NAME_CELLS: usize = 24;
