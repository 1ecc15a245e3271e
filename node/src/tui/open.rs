//! A room that has been looked at: what of its timeline is held, where one stands in it, and what one writes there.

use std::collections::BTreeSet;

use crate::api::types::{Line, Member, Message};
use crate::tui::draft::Draft;
use crate::tui::effect::Page;
use crate::tui::names::Names;
use crate::tui::window::{Taken, Window};

/// A room and one's place in it.
#[derive(Debug, Clone, Default)]
pub struct OpenRoom {
    /// What of the timeline is held.
    pub window: Window,
    /// The page under way.
    pub asked: Option<Page>,
    /// Something changed while a page was under way: ask again.
    pub is_stale: bool,
    /// The last page failed: not asked again before one scrolls or the node comes back.
    pub is_stuck: bool,
    /// Where one stands.
    pub position: Position,
    /// Messages that came below the screen since one scrolled up.
    pub below: usize,
    /// Where the unread begins.
    pub unread: Unread,
    /// The message up to which the node was last told that all is read.
    pub marked: Option<String>,
    /// The node is being told; when messages come fast, only the last of them counts.
    pub is_marking: bool,
    /// Who is here.
    members: Vec<Member>,
    /// What people are called.
    names: Names,
    /// Somebody came or went since they were asked for.
    pub is_members_stale: bool,
    /// What is on its way to the node.
    pub sending: Vec<Sending>,
    /// What is being written.
    pub draft: Draft,
    /// History is coming in: so many events are held, told at this time.
    pub backfill: Option<(u64, u64)>,
    /// Who types, and until when.
    pub typing: Vec<(String, u64)>,
    /// Long messages that are shown whole.
    pub unfolded: BTreeSet<String>,
}

/// Where one stands in a timeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Position {
    /// At the end, and staying there as messages come.
    #[default]
    Newest,
    /// Where this line is the last on screen.
    At {
        /// The line.
        key: String,
        /// Its time, in case that it goes away.
        ms: u64,
        /// Rows of it that lie below the screen.
        hidden: usize,
    },
}

/// Where the unread messages of a room begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Unread {
    /// There are none.
    #[default]
    None,
    /// They are the last so many; the page that shows which has not come.
    Last(usize),
    /// Before this message.
    Before(String),
}

/// A message of one's own that the node has not shown in its timeline yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    /// Which post.
    pub token: u64,
    /// What it says.
    pub text: String,
    /// When Enter was pressed.
    pub ms: u64,
    /// Its id, once the node has it on disk.
    pub id: Option<String>,
}

impl OpenRoom {
    /// Who is here.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// What the people here, and those who spoke here, are called.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Takes in who is here.
    pub fn meet(&mut self, members: Vec<Member>) {
        self.members = members;
        self.names = Names::of(&self.members, self.window.lines());
    }

    /// Somebody came or went.
    pub fn see(&mut self, user: &str, presence: String, last_seen_ms: u64) {
        if let Some(member) = self.members.iter_mut().find(|member| member.user == user) {
            (member.presence, member.last_seen_ms) = (Some(presence), Some(last_seen_ms));
        }
    }

    /// Takes in a page that was asked for.
    pub fn merge(&mut self, page: &Page, lines: Vec<Line>) {
        self.window.merge(page, lines);
        self.names = Names::of(&self.members, self.window.lines());
        let arrived = |sending: &Sending| sending.id.as_ref().is_some_and(|id| self.window.index(id).is_some());
        let arrived: Vec<u64> =
            self.sending.iter().filter(|sending| arrived(sending)).map(|sending| sending.token).collect();
        self.sending.retain(|sending| !arrived.contains(&sending.token));
        self.resolve_unread();
    }

    /// Takes in a message that a notice brought. `seen` says whether it is on screen the moment it comes.
    pub fn take(&mut self, message: Message, seen: bool) {
        self.sending.retain(|sending| sending.id.as_deref() != Some(&message.id));
        let id = message.id.clone();
        let is_own = message.delivery.is_some();
        let is_new_here = !self.names.knows(&message.user);
        let taken = self.window.take(message);
        if is_new_here {
            self.names = Names::of(&self.members, self.window.lines());
        }
        if !matches!(taken, Taken::Appended | Taken::Beyond) {
            return;
        }
        if self.position == Position::Newest {
            self.window.follow();
        } else {
            self.below += 1;
        }
        match &mut self.unread {
            _ if is_own => {}
            Unread::Last(count) => *count += 1,
            Unread::None if !seen && taken == Taken::Appended => self.unread = Unread::Before(id),
            _ => {}
        }
    }

    /// The room is looked at again after a while, and has so many unread messages.
    pub fn enter(&mut self, unread: usize) {
        self.position = Position::Newest;
        self.below = 0;
        self.is_stuck = false;
        self.unread = if unread == 0 { Unread::None } else { Unread::Last(unread) };
    }

    /// The room is left: what is cheap to ask for again goes.
    pub fn leave(&mut self) {
        self.window.shrink(LINES_KEPT);
        self.unfolded.clear();
    }

    fn resolve_unread(&mut self) {
        let Unread::Last(count) = self.unread else { return };
        if !self.window.holds_newest() {
            return;
        }
        // One's own words are never unread.
        let mut newest_first = self.window.messages().rev().filter(|message| message.delivery.is_none());
        match newest_first.nth(count - 1) {
            Some(message) => self.unread = Unread::Before(message.id.clone()),
            None if self.window.holds_start() => {
                self.unread =
                    self.window.messages().next().map_or(Unread::None, |first| Unread::Before(first.id.clone()));
            }
            None => {}
        }
    }
}

/// Lines kept of a room that one does not look at: it can be shown at once when one comes back.
const LINES_KEPT: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixtures::message;

    fn lines(range: std::ops::Range<u64>) -> Vec<Line> {
        range.map(|i| Line::Message(Box::new(message(&format!("m{i}"), "ana", i, "text")))).collect()
    }

    #[test]
    fn unread_begins_where_the_page_says() {
        let mut open = OpenRoom::default();
        open.enter(3);
        assert_eq!(open.unread, Unread::Last(3));
        open.merge(&Page::Newest, lines(0..10));
        assert_eq!(open.unread, Unread::Before("m7".into()));
    }

    #[test]
    fn unread_beyond_the_page_waits_for_the_next() {
        let mut open = OpenRoom::default();
        open.enter(70);
        open.merge(&Page::Newest, lines(100..150));
        assert_eq!(open.unread, Unread::Last(70));
        open.take(message("m150", "ana", 150, "one more"), true);
        open.merge(&Page::Before("m100".into()), lines(50..100));
        assert_eq!(open.unread, Unread::Before("m80".into()));
    }

    #[test]
    fn more_unread_than_messages_begins_at_the_first() {
        let mut open = OpenRoom::default();
        open.enter(1000);
        open.merge(&Page::Newest, lines(0..4));
        assert_eq!(open.unread, Unread::Before("m0".into()));
    }

    #[test]
    fn message_that_nobody_sees_begins_the_unread() {
        let mut open = OpenRoom::default();
        open.merge(&Page::Newest, lines(0..4));
        open.take(message("seen", "ben", 10, "x"), true);
        assert_eq!(open.unread, Unread::None);
        open.take(message("first", "ben", 11, "x"), false);
        open.take(message("second", "ben", 12, "x"), false);
        assert_eq!(open.unread, Unread::Before("first".into()));
    }

    #[test]
    fn sent_message_is_shown_once() {
        let mut open = OpenRoom::default();
        open.merge(&Page::Newest, lines(0..4));
        let sending = |token, id: &str| Sending { token, text: "x".into(), ms: 9, id: Some(id.into()) };
        open.sending = vec![sending(1, "m9"), sending(2, "m10")];
        open.take(message("m9", "me", 9, "x"), true);
        assert_eq!(open.sending.len(), 1);
        open.merge(&Page::Newest, lines(0..11));
        assert!(open.sending.is_empty());
    }
}
