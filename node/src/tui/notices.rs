//! What the node tells unasked, and what is asked for because of it: a flood of notices becomes few questions.

use crate::api::types::{Happened, Message, Notice};
use crate::tui::effect::{Effect, Page};
use crate::tui::open::Position;
use crate::tui::state::{Connection, Loaded, State};
use crate::tui::window::message_of;

impl State {
    /// The event stream is open: whatever may have been missed is asked for.
    pub(super) fn connected(&mut self) {
        self.connection = Connection::Open;
        self.rooms_loaded = Loaded::Stale;
        self.status_loaded = Loaded::Stale;
        self.effects.push(Effect::LoadIdentity);
        self.load_lists();
        for open in self.open.values_mut() {
            open.asked = None;
            open.is_stuck = false;
            open.marked = None;
            open.is_marking = false;
        }
        let Some(room) = self.focus.clone() else { return };
        let Some(open) = self.here_mut() else { return };
        open.is_members_stale = true;
        let last = open.window.messages().next_back().map(|message| message.id.clone());
        let page = match (&open.position, last) {
            (Position::At { .. }, Some(last)) => Page::After(last),
            _ => Page::Newest,
        };
        self.ask_page(&room, page);
        self.load_members();
    }

    /// The node tells something.
    pub(super) fn noticed(&mut self, notice: Notice) {
        match notice.what {
            Happened::Message { message } => self.told(*message),
            Happened::Room { room } => {
                self.rooms_loaded.spoil();
                if let Some(open) = self.open.get_mut(&room) {
                    open.is_members_stale = true;
                }
                self.refresh_if_here(&room);
            }
            Happened::People => self.people_changed(),
            Happened::LetIn { name, by, .. } => {
                self.rooms_loaded.spoil();
                self.say(format!("{by} lets you into {name}"));
            }
            Happened::Peers => {
                self.status_loaded.spoil();
                self.rooms_loaded.spoil();
            }
            Happened::Turned { room } => {
                self.rooms_loaded.spoil();
                if let Some(open) = self.open.get_mut(&room) {
                    open.window.forget();
                }
                self.refresh_if_here(&room);
            }
            Happened::Reported { report } => self.reported(&report),
            Happened::Read { room, user, ms, .. } => self.reads(&room, &user, ms),
            Happened::Typing { room, user, until_ms, .. } => self.types(&room, user, until_ms),
            Happened::Presence { room, user, presence, last_seen_ms } => {
                self.comes(&room, &user, presence, last_seen_ms);
            }
            Happened::Backfill { room, held } => {
                self.rooms_loaded.spoil();
                let now_ms = self.now_ms;
                if let Some(open) = self.open.get_mut(&room) {
                    open.backfill = Some((held, now_ms));
                    open.window.doubt_start();
                }
                self.refresh_if_here(&room);
            }
        }
    }

    fn told(&mut self, message: Message) {
        self.rooms_loaded.spoil();
        let seen = self.is_watching(&message.room);
        if let Some(listed) = self.room_mut(&message.room) {
            listed.last_ms = listed.last_ms.max(message.ms);
        }
        let seen = seen || message.user == self.me();
        if let Some(open) = self.open.get_mut(&message.room) {
            open.typing.retain(|(user, _)| *user != message.user);
            open.take(message, seen);
        }
    }

    fn refresh_if_here(&mut self, room: &str) {
        if self.focus.as_deref() == Some(room) {
            self.refresh(room);
        } else if let Some(open) = self.open.get_mut(room) {
            // Held, but not looked at: asked for afresh when one comes back.
            open.window.shrink(0);
        }
    }

    /// Asks for what is out of date.
    pub(super) fn load_lists(&mut self) {
        if self.connection != Connection::Open {
            return;
        }
        if self.rooms_loaded == Loaded::Stale {
            self.rooms_loaded = Loaded::Asked;
            self.effects.push(Effect::LoadRooms);
        }
        if self.status_loaded == Loaded::Stale {
            self.status_loaded = Loaded::Asked;
            self.effects.push(Effect::LoadStatus);
        }
    }

    /// Tells the node that everything is read up to the newest message, when that is on screen.
    pub(super) fn mark_read(&mut self) {
        let Some(room) = self.focus.clone() else { return };
        if self.connection != Connection::Open || !self.is_watching(&room) {
            return;
        }
        let Some(open) = self.here_mut() else { return };
        let Some(newest) = open.window.lines().iter().rev().find_map(message_of) else { return };
        if open.is_marking || open.marked.as_ref() == Some(&newest.id) {
            return;
        }
        let event = newest.id.clone();
        open.is_marking = true;
        open.marked = Some(event.clone());
        if let Some(listed) = self.room_mut(&room) {
            listed.unread = 0;
        }
        self.effects.push(Effect::MarkRead { room, event });
    }
}
