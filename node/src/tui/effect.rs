//! What goes into the chat's state and what comes out of it: inputs in, effects out, answers back in. Nothing here acts.

use crossterm::event::KeyEvent;

use crate::api::inbox::{InboxLine, Thread};
use crate::api::people::{Code, Person};
use crate::api::search::Found;
use crate::api::types::{
    Device, Identity, Invite, Joined, Line, Member, Notice, Report, Room, RoomCreated, Sent, Status,
};

/// Everything that can happen to the chat.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A key was pressed.
    Key(KeyEvent),
    /// Text was pasted.
    Paste(String),
    /// The terminal has this size now.
    Resize {
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// The terminal's window came to the front, or left it.
    Focus(bool),
    /// Time goes on.
    Tick {
        /// Unix milliseconds.
        now_ms: u64,
    },
    /// The node's event stream is open: nothing is missed from here on.
    Connected,
    /// It ended; it is being opened again.
    Disconnected(Failure),
    /// The node tells something.
    Notice(Box<Notice>),
    /// An effect is done.
    Answer(Answer),
    /// An effect failed.
    Failed {
        /// Which.
        effect: Box<Effect>,
        /// Why.
        failure: Failure,
    },
}

/// What the state asks to be done. The node is asked through its API and answers with an [`Answer`] or a failure.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Who am I?
    LoadIdentity,
    /// How is the node?
    LoadStatus,
    /// Which rooms are there?
    LoadRooms,
    /// Which devices have I?
    LoadDevices,
    /// Who is in this room?
    LoadMembers {
        /// The room's id.
        room: String,
    },
    /// Some of a room's timeline.
    LoadPage {
        /// The room's id.
        room: String,
        /// Which part.
        page: Page,
    },
    /// Say something. Posts are done one after the other, in order.
    Post(Post),
    /// Everything up to this message is read.
    MarkRead {
        /// The room's id.
        room: String,
        /// The message.
        event: String,
    },
    /// One types in a room, or has stopped.
    Type {
        /// The room's id.
        room: String,
        /// Whether.
        typing: bool,
    },
    /// Call me so.
    SetName(String),
    /// Make a room of this name.
    CreateRoom(String),
    /// Join by this link.
    Join(String),
    /// Make an invite link.
    Invite {
        /// The room's id.
        room: String,
        /// The role of who joins; the usual one where nothing is said.
        role: Option<String>,
    },
    /// Keep a room in order.
    Order {
        /// The room's id.
        room: String,
        /// What.
        act: OrderAct,
    },
    /// What was reported in this room?
    LoadReports {
        /// The room's id.
        room: String,
    },
    /// What names me or answers me?
    LoadInbox,
    /// Which threads are there; or, of those listed so, what does one say?
    LoadThreads {
        /// The room's id.
        room: String,
        /// Which, from 1 on.
        number: Option<usize>,
    },
    /// Which messages have these words?
    Search(String),
    /// Leave a room.
    Leave {
        /// The room's id.
        room: String,
    },
    /// Do something about a person.
    Person {
        /// Their key, or what stands for it.
        user: String,
        /// What.
        act: PersonAct,
    },
    /// Print lines on the terminal's ordinary screen, where they can be copied whole and stay after the chat.
    ShowPlain(Vec<String>),
    /// Draw everything afresh, and leave the ordinary screen.
    Redraw,
    /// End the chat.
    Quit,
}

/// What is done about a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PersonAct {
    /// Call them so here; empty for no pet name.
    Call(String),
    /// What is there to compare with them?
    ShowCode,
    /// This is what they showed.
    Verify(String),
    /// Hide what they say.
    Block,
    /// Show it again.
    Unblock,
}

/// What is done to keep a room in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderAct {
    /// Somebody is to go.
    Remove {
        /// Their key, or what stands for it.
        user: String,
        /// What they are called on screen.
        name: String,
    },
    /// Somebody is to have this role.
    Appoint {
        /// Their key, or what stands for it.
        user: String,
        /// What they are called on screen.
        name: String,
        /// The role.
        role: String,
    },
    /// A setting.
    Set {
        /// Which.
        key: &'static str,
        /// To what.
        value: String,
    },
    /// A message is folded on everybody's screens, or unfolded.
    Hide {
        /// The message.
        event: String,
        /// Folded.
        hidden: bool,
    },
    /// A message is reported to those who moderate.
    Report {
        /// The message.
        event: String,
        /// Why.
        reason: String,
    },
}

/// Part of a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// The end.
    Newest,
    /// What stands right before this message.
    Before(String),
    /// What stands right after it.
    After(String),
}

/// Something said in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// Tells the posts of this chat apart.
    pub token: u64,
    /// The room's id.
    pub room: String,
    /// What is said.
    pub what: Posting,
}

/// The kinds of [`Post`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posting {
    /// A message.
    Message {
        /// As typed.
        text: String,
        /// The message answered.
        reply_to: Option<String>,
    },
    /// A new text for an own message.
    Edit {
        /// The message.
        event: String,
        /// Its new text.
        text: String,
    },
    /// A message is taken back.
    Erase {
        /// The message.
        event: String,
    },
    /// A reaction is put or taken back.
    React {
        /// The message.
        event: String,
        /// One emoji or a short word.
        emoji: String,
        /// Taken back.
        remove: bool,
    },
}

/// What the node answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// To [`Effect::LoadIdentity`].
    Identity(Identity),
    /// To [`Effect::LoadStatus`].
    Status(Status),
    /// To [`Effect::LoadRooms`].
    Rooms(Vec<Room>),
    /// To [`Effect::LoadDevices`].
    Devices(Vec<Device>),
    /// To [`Effect::LoadMembers`].
    Members {
        /// The room's id.
        room: String,
        /// Who is in it.
        members: Vec<Member>,
    },
    /// To [`Effect::LoadPage`].
    Page {
        /// The room's id.
        room: String,
        /// Which part was asked for.
        page: Page,
        /// Oldest first.
        lines: Vec<Line>,
    },
    /// To [`Effect::Post`]: it is on the node's disk.
    Posted {
        /// Which post.
        post: Post,
        /// The event.
        sent: Sent,
    },
    /// To [`Effect::MarkRead`].
    MarkedRead {
        /// The room's id.
        room: String,
    },
    /// To [`Effect::Type`].
    Typed,
    /// To [`Effect::SetName`].
    Named(String),
    /// To [`Effect::CreateRoom`].
    Created {
        /// Its name, as asked.
        name: String,
        /// The room.
        room: RoomCreated,
    },
    /// To [`Effect::Join`].
    Joined(Joined),
    /// To [`Effect::Invite`].
    Invited(Invite),
    /// To [`Effect::Leave`].
    Left {
        /// The room's id.
        room: String,
    },
    /// To [`Effect::Order`].
    Ordered(OrderAct),
    /// To [`Effect::LoadReports`].
    Reports(Vec<Report>),
    /// To [`Effect::LoadInbox`].
    Inbox(Vec<InboxLine>),
    /// To [`Effect::LoadThreads`].
    Threads(Vec<Thread>),
    /// To [`Effect::LoadThreads`], when one was asked for.
    Thread(Vec<Line>),
    /// To [`Effect::Search`].
    Found(Found),
    /// To [`Effect::Person`].
    Person {
        /// What was done.
        act: PersonAct,
        /// The person as they are known now.
        person: Person,
    },
    /// To [`Effect::Person`], when the code was asked for.
    Code(Code),
}

/// Why something failed, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong and what to do, in a sentence or two.
    pub says: String,
    /// Whether it may have been done all the same.
    pub outcome: Outcome,
}

/// What is known of a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The node refused it, or was never reached.
    NotDone,
    /// The answer got lost on the way.
    Unknown,
}

/// Lines of a timeline asked for at once.
pub const PAGE_LEN: usize = 50;
