//! The part of a room's timeline that is held in memory: one stretch without holes of our own making, bounded, that
//! grows and shrinks at both ends as one scrolls. What history is missing on the node stands in it as gaps.

use crate::api::types::{Line, Message};
use crate::tui::effect::{PAGE_LEN, Page};

/// A stretch of a timeline, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Window {
    lines: Vec<Line>,
    loaded: bool,
    start_held: bool,
    newest_held: bool,
}

/// What became of a message that a notice brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It was here; it looks different now.
    Changed,
    /// It is new, and the last of the window.
    Appended,
    /// It is new and came to stand between others.
    Inserted,
    /// It lies after the end of the window.
    Beyond,
    /// It lies before its beginning, or nothing is loaded yet.
    Outside,
}

impl Window {
    /// The lines held.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The messages held.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = &Message> {
        self.lines.iter().filter_map(message_of)
    }

    /// The message with this id.
    pub fn message(&self, id: &str) -> Option<&Message> {
        self.messages().rev().find(|message| message.id == id)
    }

    /// Where the message with this id stands.
    pub fn index(&self, id: &str) -> Option<usize> {
        self.lines.iter().rposition(|line| message_of(line).is_some_and(|message| message.id == id))
    }

    /// Whether a page has come at all.
    pub fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// Whether the room's first message is here.
    pub fn holds_start(&self) -> bool {
        self.start_held
    }

    /// Whether the room's newest message is here.
    pub fn holds_newest(&self) -> bool {
        self.newest_held
    }

    /// Takes in a page. Whatever was held in its range is replaced: the page is newer knowledge.
    pub fn merge(&mut self, page: &Page, lines: Vec<Line>) {
        let short = lines.len() < PAGE_LEN;
        match page {
            Page::Newest => self.merge_newest(lines, short),
            Page::Before(id) => {
                let Some(end) = self.index(id) else { return };
                let start = self.start_of(&lines).min(end);
                self.lines.splice(start..end, lines);
                self.start_held = if start == 0 { short } else { self.start_held };
                self.drop_newest();
            }
            Page::After(id) => {
                let Some(after) = self.index(id) else { return };
                self.lines.truncate(after + 1);
                self.lines.extend(lines);
                self.newest_held = short;
                self.drop_oldest(LINES_HELD_MAX);
            }
        }
    }

    fn merge_newest(&mut self, lines: Vec<Line>, short: bool) {
        let start = self.start_of(&lines);
        if self.newest_held && !short && start < self.lines.len() {
            self.lines.splice(start.., lines);
            self.start_held &= start > 0;
        } else {
            // Nothing in common, or the page is all there is.
            self.lines = lines;
            self.start_held = short;
        }
        self.loaded = true;
        self.newest_held = true;
        self.drop_oldest(LINES_HELD_MAX);
    }

    /// Messages came or went anywhere: what is held is asked for anew.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Older messages may have come in: whether the first is here has to be asked again.
    pub fn doubt_start(&mut self) {
        self.start_held = false;
    }

    /// Takes in one message as it looks now.
    pub fn take(&mut self, message: Message) -> Taken {
        if let Some(at) = self.index(&message.id) {
            self.lines[at] = Line::Message(Box::new(message));
            return Taken::Changed;
        }
        if !self.loaded {
            return Taken::Outside;
        }
        let before = self.lines.iter().rposition(|line| message_of(line).is_some_and(|held| held.ms <= message.ms));
        let at = before.map_or(0, |before| before + 1);
        let last = self.lines[at..].iter().all(|line| message_of(line).is_none());
        if last && !self.newest_held {
            return Taken::Beyond;
        }
        if before.is_none() && !self.start_held {
            return Taken::Outside;
        }
        let at = if last { self.lines.len() } else { at };
        self.lines.insert(at, Line::Message(Box::new(message)));
        if last { Taken::Appended } else { Taken::Inserted }
    }

    /// A user has read what `me` said up to this time.
    pub fn read(&mut self, me: &str, user: &str, ms: u64) {
        for line in &mut self.lines {
            if let Line::Message(message) = line
                && message.user == me
                && message.ms <= ms
                && !message.read_by.iter().any(|reader| reader == user)
            {
                message.read_by.push(user.to_owned());
            }
        }
    }

    /// Lets go of all but the newest `count` lines; of everything when the newest are not here.
    pub fn shrink(&mut self, count: usize) {
        if self.newest_held {
            self.drop_oldest(count);
        } else {
            *self = Self::default();
        }
    }

    /// Lets go of the oldest lines beyond the bound; for when one looks at the newest.
    pub fn follow(&mut self) {
        self.drop_oldest(LINES_HELD_MAX);
    }

    fn drop_oldest(&mut self, count: usize) {
        if self.lines.len() > count {
            self.lines.drain(..self.lines.len() - count);
            self.start_held = false;
        }
    }

    fn drop_newest(&mut self) {
        if self.lines.len() > LINES_HELD_MAX {
            self.lines.truncate(LINES_HELD_MAX);
            self.newest_held = false;
        }
    }

    /// Where the range of `page` begins in what is held.
    fn start_of(&self, page: &[Line]) -> usize {
        let Some(first) = page.iter().find_map(message_of) else { return self.lines.len() };
        let held = self.index(&first.id).or_else(|| {
            self.lines.iter().position(|line| message_of(line).is_some_and(|message| message.ms >= first.ms))
        });
        let mut start = held.unwrap_or(self.lines.len());
        if page.first().is_some_and(is_gap) {
            while start > 0 && is_gap(&self.lines[start - 1]) {
                start -= 1;
            }
        }
        start
    }
}

/// The message of a line, if it is one.
pub fn message_of(line: &Line) -> Option<&Message> {
    match line {
        Line::Message(message) => Some(message),
        Line::Gap { .. } => None,
    }
}

fn is_gap(line: &Line) -> bool {
    matches!(line, Line::Gap { .. })
}

/// Lines held for a room: eight pages, more than any screen shows at once.
pub const LINES_HELD_MAX: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixtures::{gap, message};

    fn messages(range: std::ops::Range<u64>) -> Vec<Line> {
        range.map(|i| Line::Message(Box::new(message(&format!("m{i}"), "ana", i * 1000, "text")))).collect()
    }

    fn ids(window: &Window) -> Vec<String> {
        let name = |line: &Line| message_of(line).map_or("gap".to_owned(), |message| message.id.clone());
        window.lines().iter().map(name).collect()
    }

    fn loaded(range: std::ops::Range<u64>) -> Window {
        let mut window = Window::default();
        window.merge(&Page::Newest, messages(range));
        window
    }

    #[test]
    fn short_page_is_the_whole_room() {
        let window = loaded(0..3);
        assert!(window.holds_start() && window.holds_newest() && window.is_loaded());
        assert!(!loaded(50..100).holds_start());
    }

    #[test]
    fn older_history_that_comes_in_later_can_be_reached() {
        let mut window = loaded(200..203);
        assert!(window.holds_start());
        window.merge(&Page::Newest, [messages(53..100), messages(200..203)].concat());
        assert!(!window.holds_start());
        window.merge(&Page::Before("m53".into()), messages(0..53).split_off(3));
        assert!(!window.holds_start());
        window.merge(&Page::Before("m3".into()), messages(0..3));
        assert!(window.holds_start());
        window.doubt_start();
        window.merge(&Page::Before("m0".into()), Vec::new());
        assert!(window.holds_start());
    }

    #[test]
    fn pages_join_without_seam() {
        let mut window = loaded(100..150);
        window.merge(&Page::Before("m100".into()), messages(50..100));
        window.merge(&Page::Before("m50".into()), messages(20..50));
        assert_eq!(window.lines(), messages(20..150));
        assert!(window.holds_start());
    }

    #[test]
    fn window_is_bounded_and_moves_both_ways() {
        let mut window = loaded(950..1000);
        for first in (0..19).rev().map(|page| page * 50) {
            window.merge(&Page::Before(format!("m{}", first + 50)), messages(first..first + 50));
            assert!(window.lines().len() <= LINES_HELD_MAX);
        }
        assert_eq!(window.lines(), messages(0..400));
        assert!(!window.holds_newest());
        window.merge(&Page::After("m399".into()), messages(400..450));
        assert_eq!(window.lines(), messages(50..450));
        assert!(!window.holds_start() && !window.holds_newest());
        window.merge(&Page::Newest, messages(950..1000));
        assert_eq!(window.lines(), messages(950..1000));
        assert!(window.holds_newest());
    }

    #[test]
    fn newest_page_replaces_what_it_covers() {
        let mut window = loaded(100..150);
        window.merge(&Page::Before("m100".into()), messages(50..100));
        let mut page = messages(110..159);
        page.insert(0, gap("ben", 4, 9));
        window.merge(&Page::Newest, page.clone());
        // Asked again, the gap stands there once, not twice.
        window.merge(&Page::Newest, page);
        assert_eq!(window.lines().iter().filter(|line| is_gap(line)).count(), 1);
        assert_eq!(window.lines().len(), 60 + 50);
        // Filled: gone.
        window.merge(&Page::Newest, messages(105..159));
        assert_eq!(window.lines(), messages(50..159));
    }

    #[test]
    fn newest_page_far_away_starts_over() {
        let mut window = loaded(0..50);
        window.merge(&Page::Newest, messages(500..550));
        assert_eq!(window.lines(), messages(500..550));
        assert!(!window.holds_start());
    }

    #[test]
    fn late_page_is_ignored_when_the_window_moved_on() {
        let mut window = loaded(500..550);
        window.merge(&Page::Before("m7".into()), messages(0..7));
        assert_eq!(window.lines(), messages(500..550));
    }

    #[test]
    fn messages_find_their_place() {
        let mut window = loaded(100..150);
        let at = |id: &str, ms| message(id, "ben", ms, "late");
        assert_eq!(window.take(at("new", 200_000)), Taken::Appended);
        assert_eq!(window.take(at("new", 200_000)), Taken::Changed);
        assert_eq!(window.take(at("late", 120_500)), Taken::Inserted);
        assert_eq!(ids(&window)[21], "late");
        assert_eq!(window.take(at("ancient", 5)), Taken::Outside);
        let mut start = loaded(10..12);
        assert_eq!(start.take(at("ancient", 5)), Taken::Inserted);
        assert_eq!(Window::default().take(at("early", 5)), Taken::Outside);
    }

    #[test]
    fn window_that_left_the_end_takes_nothing_beyond() {
        let mut window = loaded(950..1000);
        for first in (10..19).rev().map(|page| page * 50) {
            window.merge(&Page::Before(format!("m{}", first + 50)), messages(first..first + 50));
        }
        assert_eq!(window.take(message("new", "ben", u64::MAX, "x")), Taken::Beyond);
        window.shrink(50);
        assert!(!window.is_loaded());
    }

    #[test]
    fn shrinking_keeps_the_newest() {
        let mut window = loaded(0..49);
        window.shrink(10);
        assert_eq!(window.lines(), messages(39..49));
        assert!(window.holds_newest() && !window.holds_start());
    }
}
