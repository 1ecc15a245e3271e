//! A room's timeline as a list of items, each with its rows: what the screen shows and what scrolling counts are the
//! same thing. Rows are made only for the items that are looked at.

use ratatui::style::Style;
use ratatui::text::{Line as Row, Span};

use crate::api::types::{Gap, Line, Message, Room};
use crate::text::SafeText;
use crate::tui::body::{self, Look};
use crate::tui::names::{clean, name_of_others, room_name};
use crate::tui::open::{OpenRoom, Sending, Unread};
use crate::tui::state::State;
use crate::tui::theme::Theme;
use crate::tui::time::Moment;
use crate::tui::window::message_of;
use crate::tui::wrap::{fit, width};

/// The timeline of the room in front.
#[derive(Debug)]
pub struct Scene<'a> {
    state: &'a State,
    room: &'a Room,
    open: &'a OpenRoom,
    cells: usize,
}

/// One item of a timeline, oldest first: the beginning, the lines held, what is being sent.
#[derive(Debug, Clone, Copy)]
pub enum Item<'a> {
    /// What stands above everything held.
    Top,
    /// A line.
    Line(&'a Line),
    /// On its way.
    Sending(&'a Sending),
}

/// The rows of an item: first what leads up to it, then itself.
#[derive(Debug, Default)]
pub struct Rows {
    /// Day, unread marker.
    pub before: Vec<Row<'static>>,
    /// The item.
    pub item: Vec<Row<'static>>,
}

impl Rows {
    /// How many.
    pub fn height(&self) -> usize {
        self.before.len() + self.item.len()
    }
}

impl<'a> Scene<'a> {
    /// The scene of the room in front, when a row has `cells`.
    pub fn of(state: &'a State, cells: u16) -> Option<Self> {
        let (room, open) = (state.room()?, state.here()?);
        Some(Self { state, room, open, cells: usize::from(cells) })
    }

    /// What is held of the room.
    pub fn open(&self) -> &'a OpenRoom {
        self.open
    }

    /// How many items there are: at least one, the top.
    pub fn count(&self) -> usize {
        1 + self.open.window.lines().len() + self.open.sending.len()
    }

    /// The item at `index`; the top for an index that is none.
    pub fn item(&self, index: usize) -> Item<'a> {
        let lines = self.open.window.lines();
        let Some(line) = index.checked_sub(1) else { return Item::Top };
        match lines.get(line) {
            Some(line) => Item::Line(line),
            None => self.open.sending.get(line - lines.len()).map_or(Item::Top, Item::Sending),
        }
    }

    /// The rows of the item at `index`.
    pub fn rows(&self, index: usize) -> Rows {
        match self.item(index) {
            Item::Top => Rows { before: Vec::new(), item: self.top() },
            Item::Line(Line::Gap { gap }) => Rows { before: Vec::new(), item: self.gap(gap) },
            Item::Line(Line::Message(message)) => self.message(index, message),
            Item::Sending(sending) => Rows { before: Vec::new(), item: self.sending(index, sending) },
        }
    }

    fn top(&self) -> Vec<Row<'static>> {
        let window = &self.open.window;
        let name = room_name(self.room);
        let mut text = if self.room.pending {
            "Joining. Nobody who has this room could be reached yet; the node keeps trying, also while you are away."
                .to_owned()
        } else if !window.is_loaded() {
            "loading…".to_owned()
        } else if !window.holds_start() {
            if self.open.is_stuck {
                "older messages could not be loaded".to_owned()
            } else {
                "loading older messages…".to_owned()
            }
        } else if window.lines().is_empty() {
            format!("Nothing has been said in {name} yet. Write something, or invite others: /invite")
        } else {
            format!("This is the beginning of {name}.")
        };
        if let Some((held, _)) = self.open.backfill.filter(|_| !self.room.complete) {
            text.push_str(&format!(" History is being fetched: {} events so far.", grouped(held)));
        }
        self.indented(&text, self.theme().dim())
    }

    fn gap(&self, gap: &Gap) -> Vec<Row<'static>> {
        if gap.why == "trimmed" {
            let text = "~ older messages were trimmed here: scrolling back fetches them from whoever has them";
            return self.indented(text, self.theme().dim());
        }
        let missing = gap.to_seq.saturating_sub(gap.from_seq).saturating_add(1);
        let (messages, are) = if missing == 1 { ("message", "is") } else { ("messages", "are") };
        let why = match gap.why.as_str() {
            "withheld" => "withheld by the author, it seems",
            other => &clean(other),
        };
        let name = self.open.names().name(&gap.user, NAME_CELLS_MAX);
        self.indented(
            &format!("~ {} {messages} of {name} {are} missing, {why}", grouped(missing)),
            self.theme().warning(),
        )
    }

    fn message(&self, index: usize, message: &Message) -> Rows {
        let previous = self.previous(index);
        let moment = self.state.zone.moment(message.ms);
        let new_day = previous.is_none_or(|previous| self.state.zone.moment(previous.ms).day != moment.day);
        let is_first_unread = matches!(&self.open.unread, Unread::Before(id) if *id == message.id);
        let mut before = Vec::new();
        if new_day {
            let day = moment.day_name(self.state.zone.moment(self.state.now_ms));
            before.push(self.rule(&day, self.theme().dim()));
        }
        if is_first_unread {
            before.push(self.rule("new", self.theme().unread()));
        }
        let directly = matches!(self.item(index - 1), Item::Line(Line::Message(_)));
        let continues =
            before.is_empty() && directly && previous.is_some_and(|previous| belongs_together(previous, message));
        let mut item = Vec::new();
        let mut clock = Some(moment);
        if !continues {
            item.push(self.header(message, moment));
            clock = None;
        } else if previous.is_some_and(|previous| self.state.zone.moment(previous.ms).clock() == moment.clock()) {
            clock = None;
        }
        if let Some(id) = &message.reply_to {
            item.push(self.quote(id, clock.take()));
        }
        self.say(message, clock, &mut item);
        item.extend(self.reactions(message));
        Rows { before, item }
    }

    /// The text of a message, with its time where no header has it, and how far it got where it is one's own.
    fn say(&self, message: &Message, clock: Option<Moment>, item: &mut Vec<Row<'static>>) {
        // Of history from elsewhere nobody waits to hear that it went out.
        let delivery = message.delivery.as_ref().filter(|_| message.imported.is_none());
        let count = |many: usize| many.min(MARK_COUNT_MAX);
        let mark = delivery.map(|delivery| match (message.read_by.len(), delivery.nodes.len(), delivery.peers.len()) {
            (0, 0, 0) => "·".to_owned(),
            (0, 0, peers) => format!("✓{}", count(peers)),
            (0, nodes, _) => format!("✓✓{}", count(nodes)),
            (readers, ..) => format!("◉{}", count(readers)),
        });
        let is_mine = message.user == self.state.me();
        let by = message.hidden_by.as_ref().map(|user| match self.open.names().knows(user) {
            true => self.open.names().name(user, NAME_CELLS_MAX),
            false => message.hidden_by_name.as_deref().map(name_of_others).unwrap_or_default(),
        });
        let look = Look {
            cells: self.text_cells(mark.is_some()),
            theme: self.theme(),
            mention: if is_mine { "" } else { self.state.identity.as_ref().map_or("", |me| &me.name) },
            is_unfolded: self.open.unfolded.contains(&message.id),
            hidden_by: by.as_deref().unwrap_or_default(),
        };
        self.place(body::rows(message, look), clock, mark, item);
    }

    fn sending(&self, index: usize, sending: &Sending) -> Vec<Row<'static>> {
        let mut item = Vec::new();
        let continues = match self.item(index - 1) {
            Item::Sending(_) => true,
            Item::Line(line) => message_of(line).is_some_and(|message| message.user == self.state.me()),
            Item::Top => false,
        };
        if !continues {
            let style = self.theme().name(self.state.me());
            let name = self.open.names().name(self.state.me(), self.header_cells());
            item.push(self.titled(name, style, self.state.zone.moment(sending.ms)));
        }
        let text = SafeText::block(&sending.text).to_string();
        let rows = body::plain(&text, self.theme().dim(), self.text_cells(true));
        let mark = if sending.id.is_some() { "·" } else { "…" };
        self.place(rows, None, Some(mark.to_owned()), &mut item);
        item
    }

    /// Puts rows of text beside the gutter, with `mark` at the right edge of the last.
    fn place(
        &self,
        rows: Vec<Vec<Span<'static>>>,
        clock: Option<Moment>,
        mark: Option<String>,
        item: &mut Vec<Row<'static>>,
    ) {
        let last = rows.len().saturating_sub(1);
        for (i, text) in rows.into_iter().enumerate() {
            let time = clock.filter(|_| i == 0 && self.is_wide()).map_or_else(String::new, Moment::clock);
            let mut spans = vec![self.gutter(&time)];
            let used: usize = self.gutter_cells() + text.iter().map(|span| width(&span.content)).sum::<usize>();
            spans.extend(text);
            if let Some(mark) = mark.as_ref().filter(|_| i == last) {
                let pad = self.cells.saturating_sub(used + width(mark) + 1);
                spans.push(Span::raw(" ".repeat(pad)));
                spans.push(Span::styled(mark.clone(), self.theme().dim()));
            }
            item.push(Row::from(spans));
        }
    }

    fn header(&self, message: &Message, moment: Moment) -> Row<'static> {
        let (name, style) = self.open.names().author(message, self.theme(), self.header_cells());
        self.titled(name, style, moment)
    }

    fn titled(&self, name: String, style: Style, moment: Moment) -> Row<'static> {
        if self.is_wide() {
            Row::from(vec![self.gutter(&moment.clock()), Span::styled(name, style)])
        } else {
            let time = Span::styled(format!(" {}", moment.clock()), self.theme().dim());
            Row::from(vec![self.gutter(""), Span::styled(name, style), time])
        }
    }

    fn header_cells(&self) -> usize {
        let beside = if self.is_wide() { 1 } else { 7 };
        self.cells.saturating_sub(self.gutter_cells() + beside).min(AUTHOR_CELLS_MAX)
    }

    fn quote(&self, id: &str, clock: Option<Moment>) -> Row<'static> {
        let time = clock.filter(|_| self.is_wide()).map_or_else(String::new, Moment::clock);
        let dim = self.theme().dim();
        let room = self.cells.saturating_sub(self.gutter_cells() + 3);
        let Some(quoted) = self.open.window.message(id) else {
            return Row::from(vec![self.gutter(&time), Span::styled(fit("╭ an earlier message", room), dim)]);
        };
        let (name, style) = self.open.names().author(quoted, self.theme(), room / 2);
        let excerpt = fit(&body::excerpt(quoted), room.saturating_sub(width(&name) + 4));
        Row::from(vec![
            self.gutter(&time),
            Span::styled("╭ ", dim),
            Span::styled(name, style.patch(dim)),
            Span::styled(format!(": {excerpt}"), dim),
        ])
    }

    fn reactions(&self, message: &Message) -> Option<Row<'static>> {
        let mut spans = vec![self.gutter("")];
        let mut room = self.cells.saturating_sub(self.gutter_cells() + 1);
        for (emoji, users) in message.reactions.iter().filter(|(_, users)| !users.is_empty()) {
            let text = format!("{} {}", fit(&clean(emoji), REACTION_CELLS_MAX), users.len());
            let Some(left) = room.checked_sub(width(&text) + 3) else {
                spans.push(Span::styled("…", self.theme().dim()));
                break;
            };
            room = left;
            let is_mine = users.iter().any(|user| user == self.state.me());
            spans.push(Span::styled(text, if is_mine { self.theme().accent() } else { self.theme().dim() }));
            spans.push(Span::raw("   "));
        }
        (spans.len() > 1).then(|| Row::from(spans))
    }

    /// A line across the timeline with a word in it.
    fn rule(&self, word: &str, style: Style) -> Row<'static> {
        let word = format!(" {} ", fit(word, self.cells.saturating_sub(6)));
        let dashes = self.cells.saturating_sub(width(&word) + 2);
        let left = dashes / 2;
        Row::styled(format!(" {}{word}{}", "─".repeat(left), "─".repeat(dashes - left)), style)
    }

    fn indented(&self, text: &str, style: Style) -> Vec<Row<'static>> {
        let rows = body::plain(text, style, self.text_cells(false));
        let mut item = Vec::new();
        self.place(rows, None, None, &mut item);
        item
    }

    /// The message before the item at `index`; gaps have no time and are passed over.
    fn previous(&self, index: usize) -> Option<&'a Message> {
        self.open.window.lines()[..index - 1].iter().rev().find_map(message_of)
    }

    fn gutter(&self, time: &str) -> Span<'static> {
        let text = if self.is_wide() { format!(" {time:<5} ") } else { "  ".to_owned() };
        Span::styled(text, self.theme().dim())
    }

    fn gutter_cells(&self) -> usize {
        if self.is_wide() { 7 } else { 2 }
    }

    fn text_cells(&self, with_mark: bool) -> usize {
        let margin = if with_mark { MARK_CELLS } else { 1 };
        self.cells.saturating_sub(self.gutter_cells() + margin).max(1)
    }

    /// Whether there is room for times beside the text.
    fn is_wide(&self) -> bool {
        self.cells >= WIDE_CELLS
    }

    fn theme(&self) -> Theme {
        self.state.theme
    }
}

/// A number with its thousands set apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Whether `message` goes on where `previous` ended, and needs no name of its own.
fn belongs_together(previous: &Message, message: &Message) -> bool {
    let author = |message: &Message| message.imported.as_ref().map(|imported| imported.author.clone());
    let adopter = |message: &Message| message.adopted.as_ref().map(|adopted| adopted.user.clone());
    previous.user == message.user
        && adopter(previous) == adopter(message)
        && author(previous) == author(message)
        && message.ms.saturating_sub(previous.ms) < TOGETHER_MS
}

/// Messages of one person within this time stand under one name.
const TOGETHER_MS: u64 = 5 * 60 * 1000;
/// A timeline narrower than this has the times beside the names.
const WIDE_CELLS: usize = 44;
/// Nobody counts further.
const MARK_COUNT_MAX: usize = 99;
/// Kept free at the right of one's own messages for how far they got.
const MARK_CELLS: usize = 5;
const NAME_CELLS_MAX: usize = 32;
/// A claimed author, and who vouches for them.
const AUTHOR_CELLS_MAX: usize = 64;
const REACTION_CELLS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
