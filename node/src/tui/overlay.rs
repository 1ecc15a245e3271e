//! What lies over the screen for a while: the keys, the people, the search for a room, the first question.

use ratatui::Frame;
use ratatui::layout::{Position as Cell, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line as Row, Span};
use ratatui::widgets::{Block, BorderType, Clear, Paragraph};

use crate::text::SafeText;
use crate::tui::command::COMMANDS;
use crate::tui::field::Field;
use crate::tui::jump::{Jump, matches};
use crate::tui::moderation::standing;
use crate::tui::names::{clean, room_name, short};
use crate::tui::state::{State, Tone};
use crate::tui::theme::Theme;
use crate::tui::wrap::{fit, width, wrap};

/// Draws a line of input with the cursor in it; its beginning goes out of sight when it is too long.
pub fn field(field: &Field, area: Rect, frame: &mut Frame<'_>) {
    if area.is_empty() {
        return;
    }
    let text = SafeText::line(field.text()).to_string();
    let cursor = width(&SafeText::line(&field.before_cursor()).to_string());
    let hidden = (cursor + 1).saturating_sub(usize::from(area.width));
    let mut skipped = 0;
    let shown: String = text
        .chars()
        .skip_while(|c| {
            let skip = skipped < hidden;
            skipped += width(c.encode_utf8(&mut [0; 4]));
            skip
        })
        .collect();
    frame.buffer_mut().set_stringn(area.x, area.y, shown, usize::from(area.width), Style::new());
    let x = area.x + u16::try_from(cursor - hidden).unwrap_or(0).min(area.width - 1);
    frame.set_cursor_position(Cell::new(x, area.y));
}

/// The first run: who are you?
pub fn naming(state: &State, input: &Field, screen: Rect, frame: &mut Frame<'_>) {
    let theme = state.theme;
    let left = if screen.width >= 50 { screen.x + 6 } else { screen.x + 1 };
    let cells = screen.right().saturating_sub(left + 1);
    let mut y = screen.y + screen.height.saturating_sub(10) / 3;
    let mut line = |text: &str, style: Style, frame: &mut Frame<'_>| {
        for row in wrap(text, usize::from(cells)) {
            if y < screen.bottom() {
                frame.buffer_mut().set_stringn(left, y, &text[row], usize::from(cells), style);
            }
            y += 1;
        }
        y
    };
    if screen.height >= 10 {
        line("tidings\n", theme.accent(), frame);
    }
    let prompt = line("What should people call you?", Style::new().add_modifier(Modifier::BOLD), frame);
    line("\n", Style::new(), frame);
    line("Everybody in your rooms sees this name. /name changes it later.", theme.dim(), frame);
    line("Enter goes on · Ctrl-C quits", theme.dim(), frame);
    if let Some(saying) = state.saying.as_ref().filter(|saying| saying.tone == Tone::Wrong) {
        line(&SafeText::line(&format!("\n! {}", saying.text)).to_string(), theme.error(), frame);
    }
    if prompt < screen.bottom() && cells > 2 {
        frame.buffer_mut().set_string(left, prompt, "› ", theme.accent());
        field(input, Rect::new(left + 2, prompt, cells - 2, 1), frame);
    }
}

/// Going to a room by its letters.
pub fn jump(state: &State, jump: &Jump, screen: Rect, frame: &mut Frame<'_>) {
    let found = matches(&state.rooms, jump.field.text());
    let rows = u16::try_from(found.len().clamp(1, JUMP_ROWS_MAX)).unwrap_or(1);
    let inner = boxed(state.theme, "go to a room", JUMP_COLUMNS, rows + 1, screen, frame);
    if inner.height < 2 {
        return;
    }
    frame.buffer_mut().set_string(inner.x, inner.y, "› ", state.theme.accent());
    field(&jump.field, Rect { x: inner.x + 2, width: inner.width.saturating_sub(2), height: 1, ..inner }, frame);
    let height = usize::from(inner.height - 1);
    let first = (jump.picked + 1).saturating_sub(height);
    if found.is_empty() {
        frame.buffer_mut().set_stringn(
            inner.x,
            inner.y + 1,
            "no room is called so",
            usize::from(inner.width),
            state.theme.dim(),
        );
    }
    for ((at, room), y) in found.iter().enumerate().skip(first).zip(inner.y + 1..inner.bottom()) {
        let is_picked = at == jump.picked;
        let style = if is_picked { state.theme.accent() } else { Style::new() };
        let unread = if room.unread > 0 { format!("  {}", room.unread) } else { String::new() };
        let name = fit(&room_name(room), usize::from(inner.width).saturating_sub(unread.len() + 2));
        let row = Row::from(vec![
            Span::styled(if is_picked { "▌ " } else { "  " }, style),
            Span::styled(name, style),
            Span::styled(unread, state.theme.unread()),
        ]);
        frame.buffer_mut().set_line(inner.x, y, &row, inner.width);
    }
}

/// All keys and commands.
pub fn help(theme: Theme, scrolled: u16, screen: Rect, frame: &mut Frame<'_>) {
    let cells = usize::from(screen.width.saturating_sub(4).min(PAGE_COLUMNS));
    let mut rows = Vec::new();
    for (title, keys) in KEYS.iter().copied().chain([("Commands", COMMANDS.as_slice())]) {
        if !rows.is_empty() {
            rows.push(Row::default());
        }
        rows.push(Row::styled(title, theme.accent()));
        rows.extend(keys.iter().flat_map(|(key, does)| pair(key, does, cells)));
    }
    page(theme, "help · Esc closes", rows, scrolled, screen, frame);
}

/// Who is in the room in front.
pub fn people(state: &State, scrolled: u16, screen: Rect, frame: &mut Frame<'_>) {
    let Some(open) = state.here() else { return };
    let row = |member: &crate::api::types::Member| {
        let style = state.theme.name(&member.user);
        let (dot, dot_style) = match member.presence.as_deref() {
            Some("online") => ("● ", state.theme.good()),
            Some(_) => ("○ ", state.theme.dim()),
            None => ("  ", Style::new()),
        };
        let mut about = short(&member.user);
        let notes = [
            member.you.then(|| "you".to_owned()),
            (member.verified && !member.you).then(|| "keys compared".to_owned()),
            member.lookalike_of.as_ref().map(|user| format!("looks like {}", open.names().bare(user))),
            member.blocked.then(|| "blocked".to_owned()),
        ];
        notes.into_iter().flatten().for_each(|note| about.push_str(&format!(" · {note}")));
        Row::from(vec![
            Span::styled(dot, dot_style),
            Span::styled(format!("{:<24} ", open.names().name(&member.user, 24)), style),
            Span::raw(format!("{:<10} ", fit(&clean(&member.role), 10))),
            Span::styled(about, state.theme.dim()),
        ])
    };
    let mut rows: Vec<Row<'_>> = Vec::new();
    if let Some(room) = state.room() {
        let cells = usize::from(screen.width.saturating_sub(4).min(PAGE_COLUMNS));
        let standing = standing(room);
        rows.extend(wrap(&standing, cells).into_iter().map(|r| Row::styled(standing[r].to_owned(), state.theme.dim())));
        rows.push(Row::default());
    }
    if open.members().is_empty() {
        rows.push(Row::raw("not known yet"));
    }
    rows.extend(open.members().iter().map(row));
    page(state.theme, "people · Esc closes", rows, scrolled, screen, frame);
}

/// A key and what it does, beside it in as many rows as that takes.
fn pair(key: &'static str, does: &'static str, cells: usize) -> Vec<Row<'static>> {
    let left = KEY_CELLS + 2;
    let rows = wrap(does, cells.saturating_sub(left)).into_iter().enumerate();
    rows.map(|(i, range)| {
        let key = if i == 0 { format!("  {key:<KEY_CELLS$}") } else { " ".repeat(left) };
        Row::from(vec![Span::raw(key), Span::raw(&does[range])])
    })
    .collect()
}

fn page(theme: Theme, title: &str, rows: Vec<Row<'_>>, scrolled: u16, screen: Rect, frame: &mut Frame<'_>) {
    let height = u16::try_from(rows.len()).unwrap_or(u16::MAX);
    let inner = boxed(theme, title, PAGE_COLUMNS, height, screen, frame);
    let most = height.saturating_sub(inner.height);
    let scrolled = scrolled.min(most);
    frame.render_widget(Paragraph::new(rows).scroll((scrolled, 0)), inner);
    if scrolled < most && screen.height > 4 {
        frame.buffer_mut().set_string(inner.right().saturating_sub(8), inner.bottom(), " more ↓ ", theme.dim());
    }
}

/// A box in the middle of the screen; returns its inside.
fn boxed(theme: Theme, title: &str, width: u16, height: u16, screen: Rect, frame: &mut Frame<'_>) -> Rect {
    let width = (width + 4).min(screen.width);
    let height = height.saturating_add(2).min(screen.height);
    let area = Rect::new((screen.width - width) / 2, (screen.height - height) / 3, width, height);
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(theme.dim())
        .title(Span::styled(format!(" {title} "), theme.accent()));
    let inner = block.inner(area);
    frame.render_widget(Clear, area);
    frame.render_widget(block, area);
    Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner }.intersection(screen)
}

type Keys = &'static [(&'static str, &'static str)];

const KEYS: &[(&str, Keys)] = &[
    ("Chat", &[("F1", "this help"), ("Ctrl-C, Ctrl-Q", "quit"), ("Ctrl-L", "draw afresh")]),
    (
        "Writing",
        &[
            ("Enter", "send"),
            ("Alt-Enter, Ctrl-J", "new line"),
            ("Tab", "complete a name or a command"),
            ("Ctrl-R", "answer the last message; again: the one before"),
            ("Esc", "stop answering or editing; what you wrote stays"),
            ("Ctrl-U, Ctrl-W, Ctrl-Z", "delete to the left, a word; undo"),
        ],
    ),
    (
        "Rooms",
        &[
            ("Ctrl-K", "go to a room by its letters"),
            ("Tab, Shift-Tab", "next, previous room (nothing to complete)"),
            ("Alt-Down, Alt-Up", "next, previous room"),
            ("Alt-1 to Alt-9", "the room of that number"),
            ("Alt-A", "the next room with something unread"),
        ],
    ),
    (
        "Reading",
        &[
            ("PgUp, PgDn", "older, newer messages"),
            ("End, Ctrl-End", "to the newest"),
            ("Up (nothing written)", "choose a message"),
        ],
    ),
    (
        "A chosen message",
        &[
            ("Up, Down", "another one"),
            ("r", "answer it"),
            ("e, d", "edit it, erase it"),
            ("+", "react to it"),
            ("!", "report it to those who moderate the room"),
            ("h", "as a moderator: fold it on screens, or unfold it"),
            ("Enter", "show all of it, or what it answers"),
            ("Esc", "back to writing"),
        ],
    ),
    (
        "Marks",
        &[
            ("…", "on its way to your node"),
            ("·", "on your node's disk"),
            ("✓3", "sent on to three nodes"),
            ("✓✓3", "on the disks of three other devices, by their word"),
            ("◉3", "read by three people, by their word"),
            ("● ○", "somebody who is there, who is away, where they share it"),
            ("~", "history is missing and being fetched"),
            ("name ✓", "you compared keys with them"),
            ("⚠ name (did:key…)", "reads like somebody else's name and is another key"),
        ],
    ),
];

const KEY_CELLS: usize = 25;
const PAGE_COLUMNS: u16 = 74;
const JUMP_COLUMNS: u16 = 40;
const JUMP_ROWS_MAX: usize = 10;
