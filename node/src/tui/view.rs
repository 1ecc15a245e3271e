//! Draws the state. The same state gives the same screen; every text from others has passed `SafeText` on its way here.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position as Cell, Rect};
use ratatui::style::Style;
use ratatui::text::{Line as Row, Span};
use ratatui::widgets::Widget;

use crate::text::SafeText;
use crate::tui::areas::{SAYING_MARGIN, areas};
use crate::tui::bars;
use crate::tui::draft::About;
use crate::tui::field::Field;
use crate::tui::moderation::{slow_note, why_read_only};
use crate::tui::names::room_name;
use crate::tui::overlay;
use crate::tui::scene::{Item, Scene};
use crate::tui::scroll;
use crate::tui::select::REACTIONS;
use crate::tui::state::{Ask, Connection, Loaded, Mode, State, Tone};
use crate::tui::window::message_of;
use crate::tui::wrap::{fit, width, wrap};

/// Draws the whole screen.
pub fn draw(state: &State, frame: &mut Frame<'_>) {
    let areas = areas(state);
    // The terminal may have another size than the state was last told.
    let screen = frame.area();
    let clip = |area: Rect| area.intersection(screen);
    if let Mode::Naming(field) = &state.mode {
        overlay::naming(state, field, clip(screen), frame);
        return;
    }
    let buffer = frame.buffer_mut();
    bars::track(state, clip(areas.track), buffer);
    bars::list(state, clip(areas.list), buffer);
    bars::head(state, clip(areas.head), buffer);
    timeline(state, clip(areas.timeline), buffer);
    saying(state, clip(areas.saying), buffer);
    bars::rule(state, clip(areas.rule), buffer);
    bars::status(state, clip(areas.status), buffer);
    input(state, clip(areas.prompt), clip(areas.input), frame);
    match &state.mode {
        Mode::Jump(jump) => overlay::jump(state, jump, screen, frame),
        Mode::Help(scrolled) => overlay::help(state.theme, *scrolled, screen, frame),
        Mode::People(scrolled) => overlay::people(state, *scrolled, screen, frame),
        _ => {}
    }
}

fn timeline(state: &State, area: Rect, buffer: &mut Buffer) {
    let height = usize::from(area.height);
    if area.is_empty() {
        return;
    }
    let Some(scene) = Scene::of(state, area.width) else {
        lobby(state, area, buffer);
        return;
    };
    let seen = scroll::seen(&scene, height);
    let selected = if let Mode::Select(select) = &state.mode { Some(select.id.as_str()) } else { None };
    let mut rows: Vec<Row<'static>> = Vec::new();
    for index in seen.first..=seen.last {
        let is_selected = match scene.item(index) {
            Item::Line(line) => message_of(line).is_some_and(|message| selected == Some(&message.id)),
            _ => false,
        };
        let item = scene.rows(index);
        rows.extend(item.before);
        rows.extend(item.item.into_iter().map(|row| if is_selected { chosen(state, row) } else { row }));
    }
    let end = rows.len() - seen.below.min(rows.len());
    let shown = &rows[seen.above.min(end)..end];
    let top = area.bottom() - u16::try_from(shown.len().min(height)).unwrap_or(area.height);
    for (row, y) in shown.iter().zip(top..area.bottom()) {
        buffer.set_line(area.x, y, row, area.width);
    }
}

/// The row of a chosen message: a bar in the first column of its gutter.
fn chosen(state: &State, mut row: Row<'static>) -> Row<'static> {
    if let Some(gutter) = row.spans.first_mut() {
        let rest: String = gutter.content.chars().skip(1).collect();
        gutter.content = rest.into();
    }
    row.spans.insert(0, Span::styled("▌", state.theme.accent()));
    row
}

/// Where a timeline would be, when there is no room.
fn lobby(state: &State, area: Rect, buffer: &mut Buffer) {
    let is_known = state.connection == Connection::Open && state.rooms_loaded == Loaded::Yes;
    let text = if is_known { LOBBY } else { "" };
    let height = u16::try_from(text.lines().count()).unwrap_or(0);
    let top = area.y + area.height.saturating_sub(height) / 3;
    for (line, y) in text.lines().zip(top..area.bottom()) {
        let style = if line.starts_with("  ") { state.theme.accent() } else { Style::new() };
        buffer.set_stringn(area.x + 2, y, line, usize::from(area.width.saturating_sub(2)), style);
    }
}

fn saying(state: &State, area: Rect, buffer: &mut Buffer) {
    let Some(saying) = &state.saying else { return };
    let text = SafeText::line(&saying.text).to_string();
    let (mark, style) = match saying.tone {
        Tone::Plain => (" · ", state.theme.good()),
        Tone::Wrong => (" ! ", state.theme.error()),
    };
    let cells = usize::from(area.width.saturating_sub(SAYING_MARGIN));
    for (i, (row, y)) in wrap(&text, cells).into_iter().zip(area.y..area.bottom()).enumerate() {
        let mark = if i == 0 { mark } else { "   " };
        buffer.set_line(area.x, y, &Row::from(vec![Span::raw(mark), Span::raw(&text[row])]).style(style), area.width);
    }
}

fn input(state: &State, prompt: Rect, area: Rect, frame: &mut Frame<'_>) {
    if area.is_empty() {
        return;
    }
    let dim = state.theme.dim();
    let whole = prompt.union(area);
    let question = match &state.mode {
        Mode::Leaving(room) => Some(state.leaving_question(room)),
        Mode::Removing(removing) => Some(state.removing_question(removing)),
        Mode::Select(select) if matches!(select.ask, Ask::Erase) => {
            Some("Erase this message for everybody? y / n".to_owned())
        }
        _ => None,
    };
    if let Some(question) = question {
        let text = fit(&format!(" ? {question}"), usize::from(whole.width));
        frame.buffer_mut().set_string(whole.x, whole.y, text, state.theme.warning());
        return;
    }
    if let Mode::Select(select) = &state.mode {
        if let Ask::React(field) = &select.ask {
            react(state, field, whole, frame);
        } else if let Ask::Report(field) = &select.ask {
            let text = fit(REPORT_QUESTION, usize::from(whole.width));
            frame.buffer_mut().set_string(whole.x, whole.y, &text, state.theme.warning());
            answer(field, &text, whole, frame);
        } else {
            let text = fit(&SafeText::line(&state.draft().text()).to_string(), usize::from(area.width));
            frame.buffer_mut().set_string(area.x, area.y, text, dim);
        }
        return;
    }
    let is_writing = matches!(state.mode, Mode::Compose);
    let style = if is_writing { state.theme.accent() } else { dim };
    frame.buffer_mut().set_stringn(prompt.x, prompt.y, " › ", usize::from(prompt.width), style);
    let draft = state.draft();
    draft.area().render(area, frame.buffer_mut());
    if draft.is_empty() {
        let hint = fit(&placeholder(state), usize::from(area.width));
        frame.buffer_mut().set_string(area.x, area.y, hint, dim);
    }
    if is_writing {
        let cursor = draft.area().screen_cursor();
        let (row_above, _) = draft.area().scroll_offset();
        let x = area.x + u16::try_from(cursor.col).unwrap_or(u16::MAX).min(area.width.saturating_sub(1));
        let y = area.y + u16::try_from(cursor.row).unwrap_or(u16::MAX).saturating_sub(row_above).min(area.height - 1);
        frame.set_cursor_position(Cell::new(x, y));
    }
}

fn placeholder(state: &State) -> String {
    match state.room() {
        None if state.connection != Connection::Open => String::new(),
        None => "/create NAME or /join LINK".to_owned(),
        Some(room) if room.pending => "waiting for somebody who has this room".to_owned(),
        Some(room) if room.read_only.is_some() => why_read_only(room),
        Some(room) => match state.draft().about() {
            About::Reply(_) => "your answer".to_owned(),
            _ => format!("say something in {}{}", room_name(room), slow_note(room)),
        },
    }
}

fn react(state: &State, field: &Field, area: Rect, frame: &mut Frame<'_>) {
    let is_wide = usize::from(area.width) > REACT_WIDE_CELLS;
    let (gap, rest) = if is_wide { (" ", "  or type: ") } else { ("", ": ") };
    let hand: Vec<String> = REACTIONS.iter().zip(1..).map(|(emoji, digit)| format!("{digit}{gap}{emoji}")).collect();
    let text = fit(&format!(" + {}{rest}", hand.join(&" ".repeat(gap.len() + 1))), usize::from(area.width));
    frame.buffer_mut().set_string(area.x, area.y, &text, state.theme.warning());
    answer(field, &text, area, frame);
}

/// What is typed behind a question.
fn answer(field: &Field, question: &str, area: Rect, frame: &mut Frame<'_>) {
    let used = u16::try_from(width(question)).unwrap_or(area.width).min(area.width);
    let rest = Rect { x: area.x + used, width: area.width - used, height: 1, ..area };
    overlay::field(field, rest, frame);
}

const REPORT_QUESTION: &str = " ! report it to those who moderate, because: ";
/// Room for the reactions at hand, set apart, and a word.
const REACT_WIDE_CELLS: usize = 60;
const LOBBY: &str = "You are in no room yet.

  /create NAME

makes a room; you then invite others with a link.

  /join LINK

joins a room by a link that somebody gave you.
Pasting the link alone will do, too.";
