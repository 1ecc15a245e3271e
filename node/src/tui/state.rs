//! Everything the chat knows. Inputs change it and bring forth effects (see `update`); it never acts, waits or reads a
//! clock, so that every moment of a chat can be replayed in a test.

use std::collections::BTreeMap;

use crate::api::types::{Identity, Room, Status};
use crate::tui::complete::Completion;
use crate::tui::draft::Draft;
use crate::tui::effect::Effect;
use crate::tui::field::Field;
use crate::tui::jump::Jump;
use crate::tui::open::OpenRoom;
use crate::tui::theme::Theme;
use crate::tui::time::Zone;

/// The state of a chat.
#[derive(Debug, Clone)]
pub struct State {
    /// Columns and rows of the terminal.
    pub(super) size: (u16, u16),
    pub(super) theme: Theme,
    pub(super) zone: Zone,
    pub(super) now_ms: u64,
    /// Whether the terminal's window is in front: what nobody looks at is not read.
    pub(super) is_watched: bool,
    pub(super) connection: Connection,
    pub(super) identity: Option<Identity>,
    pub(super) status: Option<Status>,
    /// In the order of the screen.
    pub(super) rooms: Vec<Room>,
    pub(super) rooms_loaded: Loaded,
    pub(super) status_loaded: Loaded,
    pub(super) open: BTreeMap<String, OpenRoom>,
    /// The room in front.
    pub(super) focus: Option<String>,
    /// Rooms with something unread, in the order in which they got it: as long as messages come, none of them moves.
    pub(super) unread_order: BTreeMap<String, u64>,
    /// A room to go to as soon as it is listed.
    pub(super) wanted: Option<Wanted>,
    /// What is being written while there is no room.
    pub(super) lobby: Draft,
    pub(super) mode: Mode,
    pub(super) completion: Option<Completion>,
    pub(super) saying: Option<Saying>,
    /// In which room the node was last told that one types, and when.
    pub(super) typing_told: Option<(String, u64)>,
    /// When rooms and status were last asked for by the clock.
    pub(super) refreshed_ms: u64,
    pub(super) next_token: u64,
    /// What the current input brought forth.
    pub(super) effects: Vec<Effect>,
}

/// How the chat is begun.
#[derive(Debug, Clone)]
pub struct Start {
    /// Columns of the terminal.
    pub width: u16,
    /// Its rows.
    pub height: u16,
    /// Unix milliseconds.
    pub now_ms: u64,
    /// Local time.
    pub zone: Zone,
    /// Colours or none.
    pub theme: Theme,
    /// The room to open: its id, alias, name, or the beginning of its id.
    pub room: Option<String>,
}

/// How things stand between the chat and its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// Not reached yet.
    Connecting,
    /// The node tells what happens as it happens.
    Open,
    /// It was reached, and is not any more; tried again and again.
    Lost,
}

/// A room that is not listed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Asked for by whoever started the chat: its id, alias, name, or the beginning of its id.
    Named(String),
    /// Just made or joined: its id.
    Made(String),
}

/// How far something has been loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loaded {
    /// Under way.
    Asked,
    /// Under way, and out of date already.
    AskedAndStale,
    /// Out of date, or never asked for.
    Stale,
    /// Here.
    Yes,
}

impl Loaded {
    /// What is here, or on its way, is out of date.
    pub fn spoil(&mut self) {
        *self = if matches!(self, Self::Asked | Self::AskedAndStale) { Self::AskedAndStale } else { Self::Stale };
    }

    /// It arrived.
    pub fn arrive(&mut self) {
        *self = if *self == Self::AskedAndStale { Self::Stale } else { Self::Yes };
    }
}

/// What keys mean at the moment.
#[derive(Debug, Clone)]
pub enum Mode {
    /// The first run: what should people call you?
    Naming(Field),
    /// Writing.
    Compose,
    /// Choosing a message to do something with.
    Select(Select),
    /// Looking for a room.
    Jump(Jump),
    /// Reading the keys; scrolled by so many rows.
    Help(u16),
    /// Reading who is in the room; scrolled by so many rows.
    People(u16),
    /// Asked whether to leave this room.
    Leaving(String),
    /// Asked whether to remove somebody.
    Removing(Removing),
    /// Something is shown on the terminal's ordinary screen; any key comes back.
    Plain,
}

/// Somebody who is to be removed from a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removing {
    /// The room.
    pub room: String,
    /// Who.
    pub user: String,
    /// What they are called on screen.
    pub name: String,
}

/// A chosen message, and what is being asked about it.
#[derive(Debug, Clone)]
pub struct Select {
    /// The message.
    pub id: String,
    /// What is being asked.
    pub ask: Ask,
}

/// A question about a chosen message.
#[derive(Debug, Clone)]
pub enum Ask {
    /// None.
    Nothing,
    /// Really erase it?
    Erase,
    /// React with what?
    React(Box<Field>),
    /// Report it why?
    Report(Box<Field>),
}

/// The last thing that the chat has to say to its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saying {
    /// In plain words.
    pub text: String,
    /// Whether something went wrong.
    pub tone: Tone,
}

/// How something is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// For your information.
    Plain,
    /// Something went wrong.
    Wrong,
}

impl State {
    /// A chat that knows nothing yet.
    pub fn new(start: Start) -> Self {
        Self {
            size: (start.width, start.height),
            theme: start.theme,
            zone: start.zone,
            now_ms: start.now_ms,
            is_watched: true,
            connection: Connection::Connecting,
            identity: None,
            status: None,
            rooms: Vec::new(),
            rooms_loaded: Loaded::Stale,
            status_loaded: Loaded::Stale,
            open: BTreeMap::new(),
            focus: None,
            unread_order: BTreeMap::new(),
            wanted: start.room.map(Wanted::Named),
            lobby: Draft::default(),
            mode: Mode::Compose,
            completion: None,
            saying: None,
            typing_told: None,
            refreshed_ms: start.now_ms,
            next_token: 1,
            effects: Vec::new(),
        }
    }

    /// The local user's id; empty while unknown.
    pub(super) fn me(&self) -> &str {
        self.identity.as_ref().map_or("", |identity| &identity.user)
    }

    /// The room in front.
    pub(super) fn room(&self) -> Option<&Room> {
        let focus = self.focus.as_ref()?;
        self.rooms.iter().find(|room| room.room == *focus)
    }

    /// What is held of the room in front.
    pub(super) fn here(&self) -> Option<&OpenRoom> {
        self.open.get(self.focus.as_ref()?)
    }

    /// The same, to be changed.
    pub(super) fn here_mut(&mut self) -> Option<&mut OpenRoom> {
        self.open.get_mut(self.focus.as_ref()?)
    }

    /// What is being written: in the room in front, or in none.
    pub(super) fn draft(&self) -> &Draft {
        self.here().map_or(&self.lobby, |open| &open.draft)
    }

    /// The same, to be changed.
    pub(super) fn draft_mut(&mut self) -> &mut Draft {
        match self.focus.as_ref().and_then(|focus| self.open.get_mut(focus)) {
            Some(open) => &mut open.draft,
            None => &mut self.lobby,
        }
    }

    /// The room with this id.
    pub(super) fn room_mut(&mut self, id: &str) -> Option<&mut Room> {
        self.rooms.iter_mut().find(|room| room.room == id)
    }

    pub(super) fn say(&mut self, text: impl Into<String>) {
        self.saying = Some(Saying { text: text.into(), tone: Tone::Plain });
    }

    pub(super) fn complain(&mut self, text: impl Into<String>) {
        self.saying = Some(Saying { text: text.into(), tone: Tone::Wrong });
    }
}
