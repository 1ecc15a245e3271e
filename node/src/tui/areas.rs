//! How the screen is divided. Drawing and scrolling ask here, so that both mean the same rows.

use ratatui::layout::Rect;

use crate::text::SafeText;
use crate::tui::state::{Mode, State};
use crate::tui::wrap::wrap;

/// The parts of the screen; an empty one is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Areas {
    /// Rooms with something unread, one row.
    pub track: Rect,
    /// All rooms.
    pub list: Rect,
    /// What the room in front is, one row.
    pub head: Rect,
    /// What is said in it.
    pub timeline: Rect,
    /// The last thing that the chat has to say.
    pub saying: Rect,
    /// The edge of the input, with what it is about.
    pub rule: Rect,
    /// The prompt, left of the input.
    pub prompt: Rect,
    /// What is being written.
    pub input: Rect,
    /// How things stand with the node, one row.
    pub status: Rect,
}

/// Divides the screen.
pub fn areas(state: &State) -> Areas {
    let (width, height) = state.size;
    let whole = Rect::new(0, 0, width, height);
    let (rest, status) = cut_bottom(whole, 1);
    let (track, rest) = cut_top(rest, u16::from(height >= TALL_ROWS));
    let list_width = if width >= LIST_FROM_COLUMNS { (width / 4).clamp(LIST_COLUMNS_MIN, LIST_COLUMNS_MAX) } else { 0 };
    let list = Rect { width: list_width, ..rest };
    let edge = u16::from(list_width > 0);
    let pane = Rect { x: rest.x + list_width + edge, width: rest.width.saturating_sub(list_width + edge), ..rest };
    let (head, pane) = cut_top(pane, u16::from(height >= LOW_ROWS));
    let input_width = pane.width.saturating_sub(PROMPT_COLUMNS + 1);
    let (pane, input_row) = cut_bottom(pane, input_rows(state, input_width));
    let (pane, rule) = cut_bottom(pane, u16::from(height >= LOW_ROWS));
    let (timeline, saying) = cut_bottom(pane, saying_rows(state, pane));
    let prompt = Rect { width: PROMPT_COLUMNS.min(input_row.width), ..input_row };
    let input = Rect { x: input_row.x + prompt.width, width: input_width, ..input_row };
    Areas { track, list, head, timeline, saying, rule, prompt, input, status }
}

fn input_rows(state: &State, width: u16) -> u16 {
    let most = (state.size.1 / 3).clamp(1, INPUT_ROWS_MAX);
    match state.mode {
        Mode::Compose => state.draft().rows(width).clamp(1, most),
        _ => 1,
    }
}

fn saying_rows(state: &State, pane: Rect) -> u16 {
    let Some(saying) = &state.saying else { return 0 };
    let text = SafeText::line(&saying.text).to_string();
    let rows = wrap(&text, usize::from(pane.width.saturating_sub(SAYING_MARGIN))).len();
    u16::try_from(rows).unwrap_or(u16::MAX).min(pane.height / 2)
}

fn cut_top(area: Rect, rows: u16) -> (Rect, Rect) {
    let rows = rows.min(area.height);
    (Rect { height: rows, ..area }, Rect { y: area.y + rows, height: area.height - rows, ..area })
}

fn cut_bottom(area: Rect, rows: u16) -> (Rect, Rect) {
    let rows = rows.min(area.height);
    let height = area.height - rows;
    (Rect { height, ..area }, Rect { y: area.y + height, height: rows, ..area })
}

/// Columns left of a saying, for its mark, and one right of it.
pub const SAYING_MARGIN: u16 = 4;
/// The prompt and the space after it.
const PROMPT_COLUMNS: u16 = 3;
const INPUT_ROWS_MAX: u16 = 8;
/// Fewer rows than this have no track bar.
const TALL_ROWS: u16 = 14;
/// Fewer rows than this have no room head and no edge above the input either.
const LOW_ROWS: u16 = 8;
/// Fewer columns than this have no list of rooms: the track bar and Control-K are there.
const LIST_FROM_COLUMNS: u16 = 60;
const LIST_COLUMNS_MIN: u16 = 17;
const LIST_COLUMNS_MAX: u16 = 28;
