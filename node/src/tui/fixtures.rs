//! Rooms, people and messages for the tests of the chat.

use std::collections::BTreeMap;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::api::types::{Delivery, Gap, Happened, Identity, Known, Line, Member, Message, Notice, Room, Sent, Status};
use crate::tui::effect::{Answer, Effect, Input, Page, Post};
use crate::tui::state::{Start, State};
use crate::tui::theme::Theme;
use crate::tui::time::Zone;

/// Monday 3 August 2026, 14:30 UTC.
pub const NOW_MS: u64 = 1_785_767_400_000;

/// A message of `name`, whose id is made of it.
pub fn message(id: &str, name: &str, ms: u64, text: &str) -> Message {
    Message {
        id: id.to_owned(),
        room: "room1".to_owned(),
        user: user(name),
        name: name.to_owned(),
        device: format!("{name}-laptop"),
        ms,
        kind: "text".to_owned(),
        text: text.to_owned(),
        reply_to: None,
        thread: None,
        edited: false,
        erased: false,
        purged: false,
        hidden: None,
        void: None,
        adopted: None,
        hidden_by: None,
        hidden_by_name: None,
        imported: None,
        reactions: BTreeMap::new(),
        file: None,
        delivery: None,
        read_by: vec![],
        verified: true,
        cursor: ms,
        mentions: vec![],
        for_you: vec![],
        known: Known::default(),
    }
}

/// The user of that name.
pub fn user(name: &str) -> String {
    format!("did:key:z6Mk{name}")
}

/// Events of a log that are missing.
pub fn gap(name: &str, from_seq: u64, to_seq: u64) -> Line {
    Line::Gap { gap: Gap { user: user(name), from_seq, to_seq, why: "fetching".to_owned() } }
}

/// A room in which nothing is missing.
pub fn room(id: &str, alias: &str, unread: usize, last_ms: u64) -> Room {
    Room {
        room: id.to_owned(),
        name: alias.to_owned(),
        alias: alias.to_owned(),
        kind: "members".to_owned(),
        members: 4,
        unread,
        mentions: 0,
        last_ms,
        last_user: None,
        role: "member".to_owned(),
        complete: true,
        pending: false,
        topic: String::new(),
        peers: 2,
        needs_newer: false,
        alerts: Vec::new(),
        may: ["post", "report", "leave"].map(str::to_owned).to_vec(),
        read_only: None,
        slow: 0,
        ignored_settings: Vec::new(),
        successor: None,
        team: None,
        rooms: Vec::new(),
        kept: None,
    }
}

/// A member of a room.
pub fn member(name: &str, role: &str) -> Member {
    Member { user: user(name), name: name.to_owned(), role: role.to_owned(), devices: 1, ..Member::default() }
}

/// The local user.
pub fn identity(name: &str) -> Identity {
    Identity { user: user(name), device: format!("{name}-laptop"), name: name.to_owned(), peer: "12D3Me".to_owned() }
}

/// A node with three peers.
pub fn status() -> Status {
    Status {
        user: user("me"),
        peer: "12D3Me".to_owned(),
        uptime_s: 60,
        peers: 3,
        rooms: 3,
        events: 1000,
        disk_bytes: 1 << 20,
        version: "0.1.0".to_owned(),
        behind: 0,
        listen: vec![],
        deferred: 0,
        disk_max_bytes: None,
        disk_stuck: false,
    }
}

/// A chat under test: keys and answers go in, and the effects of the last input can be looked at.
pub struct Chat {
    /// Its state.
    pub state: State,
    /// What the last input brought forth.
    pub effects: Vec<Effect>,
}

impl Chat {
    /// A chat that has just been started.
    pub fn new(width: u16, height: u16) -> Self {
        let start = Start { width, height, now_ms: NOW_MS, zone: Zone::default(), theme: Theme::Coloured, room: None };
        Self { state: State::new(start), effects: Vec::new() }
    }

    /// A chat of `me` whose node is there, in the first of `rooms`, with these lines.
    pub fn in_rooms(width: u16, height: u16, rooms: Vec<Room>, lines: Vec<Line>) -> Self {
        let mut chat = Self::new(width, height);
        chat.input(Input::Connected);
        chat.answer(Answer::Identity(identity("me")));
        chat.answer(Answer::Status(status()));
        chat.answer(Answer::Rooms(rooms));
        if let Some(room) = chat.state.focus.clone() {
            let people = [("me", "founder"), ("alice", "member"), ("ben", "moderator"), ("carla", "member")];
            let members = people.map(|(name, role)| member(name, role)).to_vec();
            chat.answer(Answer::Members { room: room.clone(), members });
            chat.answer(Answer::Page { room, page: Page::Newest, lines });
        }
        chat
    }

    /// Gives it an input.
    pub fn input(&mut self, input: Input) -> &mut Self {
        self.effects = self.state.update(input);
        self
    }

    /// Answers an effect.
    pub fn answer(&mut self, answer: Answer) -> &mut Self {
        self.input(Input::Answer(answer))
    }

    /// Presses a key.
    pub fn key(&mut self, code: KeyCode) -> &mut Self {
        self.input(Input::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    /// Presses a key with Control.
    pub fn control(&mut self, c: char) -> &mut Self {
        self.input(Input::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL)))
    }

    /// Presses a key with Alt.
    pub fn alt(&mut self, code: KeyCode) -> &mut Self {
        self.input(Input::Key(KeyEvent::new(code, KeyModifiers::ALT)))
    }

    /// Types a text.
    pub fn write(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            self.key(KeyCode::Char(c));
        }
        self
    }

    /// The node tells of a message.
    pub fn hear(&mut self, message: Message) -> &mut Self {
        let cursor = message.cursor;
        self.input(Input::Notice(Box::new(Notice { cursor, what: Happened::Message { message: Box::new(message) } })))
    }

    /// The posts that the last input brought forth.
    pub fn posts(&self) -> Vec<Post> {
        let post = |effect: &Effect| if let Effect::Post(post) = effect { Some(post.clone()) } else { None };
        self.effects.iter().filter_map(post).collect()
    }

    /// What the chat says to its user; empty for nothing.
    pub fn says(&self) -> &str {
        self.state.saying.as_ref().map_or("", |saying| &saying.text)
    }
}

/// The node's answer to a post.
pub fn sent(id: &str) -> Sent {
    Sent { id: id.to_owned(), room: "room1".to_owned(), durable: true }
}

/// An own message that went to so many nodes.
pub fn own(id: &str, ms: u64, text: &str, nodes: usize) -> Message {
    let state = if nodes == 0 { "stored" } else { "announced" };
    let peers = (0..nodes).map(|node| format!("12D3{node}")).collect();
    let delivery = Some(Delivery { state: state.to_owned(), nodes: vec![], peers });
    Message { delivery, ..message(id, "me", ms, text) }
}

/// A line of a timeline.
pub fn line(message: Message) -> Line {
    Line::Message(Box::new(message))
}

/// So many messages, a minute apart, the last one now.
pub fn chatter(count: u64) -> Vec<Line> {
    let say = |i: u64| {
        let name = ["alice", "ben", "carla"][(i / 2 % 3) as usize];
        line(message(&format!("m{i}"), name, NOW_MS - (count - 1 - i) * 60_000, &format!("message number {i}")))
    };
    (0..count).map(say).collect()
}
