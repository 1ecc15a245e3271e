//! Going from room to room, and the order in which they stand: what has something new comes first.

use std::cmp::Reverse;

use crate::api::types::{Alert, Room};
use crate::tui::effect::{Effect, Page};
use crate::tui::names::{clean, room_name};
use crate::tui::open::Position;
use crate::tui::state::{Connection, Mode, State, Wanted};
use crate::tui::window::message_of;

impl State {
    /// Takes in the list of rooms.
    pub(super) fn list_rooms(&mut self, rooms: Vec<Room>) {
        let told = |alert: &Alert| self.rooms.iter().any(|room| room.alerts.contains(alert));
        let news = rooms.iter().flat_map(|room| &room.alerts).find(|alert| !told(alert));
        if let Some(text) = news.map(|alert| format!("{} ({})", clean(&alert.text), clean(&alert.command))) {
            self.complain(text);
        }
        self.rooms = rooms;
        self.rooms_loaded.arrive();
        let rooms = &self.rooms;
        // A room that was left goes, but never something that its user wrote.
        self.open.retain(|id, open| {
            rooms.iter().any(|room| room.room == *id) || !open.draft.is_blank() || !open.sending.is_empty()
        });
        for (id, open) in &mut self.open {
            if self.rooms.iter().any(|room| room.room == *id && room.complete) {
                open.backfill = None;
            }
        }
        if self.focus.is_some() && self.room().is_none() {
            self.focus = None;
            self.compose();
        }
        self.sort_rooms();
        self.go_where_wanted();
        if self.focus.is_none()
            && let Some(first) = self.rooms.first()
        {
            self.focus_room(&first.room.clone());
        }
    }

    fn go_where_wanted(&mut self) {
        let found = match &self.wanted {
            None => return,
            Some(Wanted::Made(id)) => self.rooms.iter().find(|room| room.room == *id),
            Some(Wanted::Named(name)) => named(&self.rooms, name),
        };
        match (found.map(|room| room.room.clone()), &self.wanted) {
            (Some(id), _) => {
                self.wanted = None;
                self.focus_room(&id);
            }
            (None, Some(Wanted::Named(name))) => {
                self.complain(format!("There is no room called {name} here."));
                self.wanted = None;
            }
            _ => {}
        }
    }

    /// Unread first, in the order in which they became so; then by the newest message. The room in front keeps its place
    /// until one leaves it.
    pub(super) fn sort_rooms(&mut self) {
        self.rooms.sort_by_cached_key(|room| (Reverse(room.last_ms), room_name(room), room.room.clone()));
        let next = self.unread_order.values().max().map_or(0, |last| last + 1);
        let focus = self.focus.as_deref();
        for (room, order) in self.rooms.iter().filter(|room| focus != Some(&room.room)).zip(next..) {
            if room.unread > 0 {
                self.unread_order.entry(room.room.clone()).or_insert(order);
            } else {
                self.unread_order.remove(&room.room);
            }
        }
        let order = &self.unread_order;
        self.rooms.sort_by_key(|room| order.get(&room.room).copied().unwrap_or(u64::MAX));
    }

    /// Goes to a room; drafts and places in others stay.
    pub(super) fn focus_room(&mut self, id: &str) {
        self.compose();
        self.completion = None;
        if self.focus.as_deref() == Some(id) {
            return;
        }
        if let Some(left) = self.here_mut() {
            left.leave();
        }
        let unread = self.rooms.iter().find(|room| room.room == id).map_or(0, |room| room.unread);
        self.focus = Some(id.to_owned());
        let open = self.open.entry(id.to_owned()).or_default();
        open.enter(unread);
        open.is_members_stale = true;
        self.ask_page(id, Page::Newest);
        self.load_members();
        self.sort_rooms();
    }

    /// Back to writing; the first question and what is on the ordinary screen stay until a key ends them.
    fn compose(&mut self) {
        if !matches!(self.mode, Mode::Naming(_) | Mode::Plain) {
            self.mode = Mode::Compose;
        }
    }

    /// Goes to the room `steps` further down the list, round its end.
    pub(super) fn step_room(&mut self, steps: isize) {
        let count = self.rooms.len() as isize;
        if count == 0 {
            return;
        }
        let at = self.rooms.iter().position(|room| self.focus.as_deref() == Some(&room.room)).unwrap_or(0);
        let next = (at as isize + steps).rem_euclid(count) as usize;
        self.focus_room(&self.rooms[next].room.clone());
    }

    /// Goes to the room that stands at this place of the list.
    pub(super) fn focus_place(&mut self, place: usize) {
        if let Some(room) = self.rooms.get(place) {
            self.focus_room(&room.room.clone());
        }
    }

    /// Goes to the first other room that has something unread.
    pub(super) fn focus_unread(&mut self) {
        let unread = self.rooms.iter().find(|room| room.unread > 0 && self.focus.as_deref() != Some(&room.room));
        match unread.map(|room| room.room.clone()) {
            Some(id) => self.focus_room(&id),
            None => self.say("Nothing is unread elsewhere."),
        }
    }

    /// Asks for a part of a room's timeline; when another part is under way, for what is on screen once that is here.
    pub(super) fn ask_page(&mut self, room: &str, page: Page) {
        let is_open = self.connection == Connection::Open;
        let is_pending = self.rooms.iter().any(|listed| listed.room == room && listed.pending);
        let Some(open) = self.open.get_mut(room).filter(|_| is_open && !is_pending) else { return };
        if open.asked.is_some() {
            open.is_stale = true;
            return;
        }
        open.asked = Some(page.clone());
        self.effects.push(Effect::LoadPage { room: room.to_owned(), page });
    }

    /// Asks again for what is on screen: something about it changed that no notice spells out.
    pub(super) fn refresh(&mut self, room: &str) {
        let Some(open) = self.open.get(room) else { return };
        let lines = open.window.lines();
        let page = match &open.position {
            Position::At { ms, .. } => {
                let after = lines.iter().filter_map(message_of).find(|message| message.ms > *ms);
                after.map_or(Page::Newest, |message| Page::Before(message.id.clone()))
            }
            Position::Newest => Page::Newest,
        };
        if page != Page::Newest || open.window.holds_newest() || !open.window.is_loaded() {
            self.ask_page(room, page);
        }
    }

    /// Asks who is in the room in front, if that is out of date.
    pub(super) fn load_members(&mut self) {
        let is_open = self.connection == Connection::Open;
        let Some(open) = self.here_mut().filter(|open| is_open && open.is_members_stale) else { return };
        open.is_members_stale = false;
        if let Some(room) = self.focus.clone() {
            self.effects.push(Effect::LoadMembers { room });
        }
    }
}

/// The room that a person calls so.
fn named<'a>(rooms: &'a [Room], name: &str) -> Option<&'a Room> {
    let by_prefix = || {
        let mut found = rooms.iter().filter(|room| !name.is_empty() && room.room.starts_with(name));
        found.next().filter(|_| found.next().is_none())
    };
    let exact = rooms.iter().find(|room| room.room == name || room.alias == name);
    exact.or_else(|| rooms.iter().find(|room| room.name == name)).or_else(by_prefix)
}
