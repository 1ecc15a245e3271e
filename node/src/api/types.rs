//! What the HTTP API says, as JSON: the same shapes that the commands print. Fields may be added, never taken away.
//! Ids are text; times are Unix milliseconds; text is raw and made safe by whoever shows it.

pub use super::device_types::*;
pub use super::file_types::{File, SendFile};
pub use super::room_types::*;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The local user.
    pub user: String,
    /// This node.
    pub peer: String,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Peers connected.
    pub peers: usize,
    /// Rooms known.
    pub rooms: usize,
    /// Events held.
    pub events: u64,
    /// Bytes of the history and of files on disk.
    pub disk_bytes: u64,
    /// The program's version.
    pub version: String,
    /// Rooms in which something is known to be missing.
    pub behind: usize,
    /// Addresses on which it listens.
    pub listen: Vec<String>,
    /// Live events that came faster than the budget (`live_per_second`), and were left to sync.
    #[serde(default)]
    pub deferred: u64,
    /// Bytes that the store may take; none is no bound.
    #[serde(default)]
    pub disk_max_bytes: Option<u64>,
    /// Hardly anything of that is left, and nothing more can go.
    #[serde(default)]
    pub disk_stuck: bool,
}

/// `GET /v1/id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// The local user.
    pub user: String,
    /// This installation.
    pub device: String,
    /// The display name; empty until one was given.
    pub name: String,
    /// This node.
    pub peer: String,
}

/// `POST /v1/id/name`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetName {
    /// At most 64 bytes.
    pub name: String,
}

/// One of `GET /v1/peers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// Who.
    pub peer: String,
    /// Where.
    pub address: String,
    /// `in` or `out`: who dialled.
    pub direction: String,
    /// The last ping.
    pub rtt_ms: Option<f64>,
    /// Rooms shared, proven.
    pub rooms: usize,
    /// Events known to be missing here that this peer has.
    pub behind: u64,
    /// `direct` or `relay`.
    pub via: String,
    /// Bytes of the sync conversation with it, both ways.
    pub sync_bytes: u64,
    /// Those of them that carried events.
    pub event_bytes: u64,
}

/// `POST /v1/peers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AddPeer {
    /// A multiaddr that ends in `/p2p/...`.
    pub address: String,
}

/// `POST /v1/rooms/ROOM/messages`, and `POST /v1/events/EVENT/edit`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SendMessage {
    /// As typed.
    pub text: String,
    /// The event answered.
    #[serde(default)]
    pub reply_to: Option<String>,
    /// The file that it brings; then the text may be empty.
    #[serde(default)]
    pub file: Option<SendFile>,
}

/// `POST /v1/events/EVENT/react`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct React {
    /// One emoji or short word.
    pub emoji: String,
    /// Taken back.
    #[serde(default)]
    pub remove: bool,
}

/// Answer to everything that posts an event: it is on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// The event's id.
    pub id: String,
    /// The room's id.
    pub room: String,
    /// Always true: an answer comes after the disk has it.
    pub durable: bool,
}

/// `POST /v1/rooms/ROOM/read`: everything up to this message is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MarkRead {
    /// The message.
    pub event: String,
}

/// A line of a room's timeline: `GET /v1/rooms/ROOM/messages?limit=&before=&after=`, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// History that is missing here.
    Gap {
        /// What is missing.
        gap: Gap,
    },
    /// A message.
    Message(Box<Message>),
}

/// History that is missing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// Whose.
    pub user: String,
    /// The lowest missing event of the log.
    pub from_seq: u64,
    /// The highest.
    pub to_seq: u64,
    /// `fetching`, or `withheld` after a week; `trimmed` where older messages of everybody went to save room, and nobody who
    /// is connected has brought them back.
    pub why: String,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Its id.
    pub id: String,
    /// The room's id.
    pub room: String,
    /// Who signed it.
    pub user: String,
    /// What they want to be called in this room.
    pub name: String,
    /// The device that signed it.
    pub device: String,
    /// When, by its place on screen.
    pub ms: u64,
    /// `text`, `reply`, `file`, `imported`, or `unknown`.
    pub kind: String,
    /// What it says now; empty when erased.
    pub text: String,
    /// The message answered.
    pub reply_to: Option<String>,
    /// The first message of the thread.
    pub thread: Option<String>,
    /// Whether its text was changed.
    pub edited: bool,
    /// Whether it was erased.
    pub erased: bool,
    /// Whether what it said was purged here; others may have it.
    #[serde(default)]
    pub purged: bool,
    /// Why it is not shown here, though the room counts it: `device_revoked` (there is no text), `moderator` or `slow`
    /// (screens fold it, and its text is there).
    #[serde(default)]
    pub hidden: Option<String>,
    /// Why it does not count, where that is asked for.
    #[serde(default)]
    pub void: Option<String>,
    /// Who stands for it, where it does not count by itself.
    #[serde(default)]
    pub adopted: Option<Adoption>,
    /// The moderator who folds it.
    #[serde(default)]
    pub hidden_by: Option<String>,
    /// What they want to be called in this room.
    #[serde(default)]
    pub hidden_by_name: Option<String>,
    /// Where it came from, if from elsewhere.
    pub imported: Option<Imported>,
    /// Emoji, and the users who put them.
    pub reactions: BTreeMap<String, Vec<String>>,
    /// The file that it brings; its text is what is said with it.
    pub file: Option<File>,
    /// How far an own message got; none for those of others.
    pub delivery: Option<Delivery>,
    /// The users who say that they have read an own message; empty for those of others.
    #[serde(default)]
    pub read_by: Vec<String>,
    /// Always true: what does not verify is not kept.
    pub verified: bool,
    /// Arrival here: the cursor of the event stream.
    pub cursor: u64,
    /// The users whom it names, as it reads now.
    #[serde(default)]
    pub mentions: Vec<String>,
    /// Why it is for the local user: `mention`, `reply`; empty when it is not.
    #[serde(default)]
    pub for_you: Vec<String>,
    /// What the local user knows of its author.
    #[serde(flatten)]
    pub known: Known,
}

/// `hidden` of a message that who moderates has folded.
pub const HIDDEN_BY_MODERATOR: &str = "moderator";
/// `hidden` of a message that came too soon for slow mode.
pub const HIDDEN_BY_SLOW_MODE: &str = "slow";

/// What the local user knows of somebody; fields of a message.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Known {
    /// What the local user calls them; none when nothing.
    pub petname: Option<String>,
    /// Whether somebody compared keys with them.
    pub user_verified: bool,
    /// Whom their name makes one think of, where that is somebody else.
    pub lookalike_of: Option<String>,
    /// Whether the local user has blocked them.
    pub blocked: bool,
}

/// Who stands for a message that a removal took away. The message's `id` is that of the event by which they do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Adoption {
    /// Who.
    pub user: String,
    /// What they want to be called in this room.
    pub name: String,
    /// The message's own id.
    pub message: String,
}

/// What an imported message claims.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Imported {
    /// The claimed author.
    pub author: String,
    /// The claimed time.
    pub ms: u64,
    /// The source.
    pub source: String,
}

/// How far an own message got.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// `stored` (on disk here), `announced` (sent to `peers`) or `held` (on disk at `nodes`, by their word).
    pub state: String,
    /// The devices of others, and other devices of ours, that say they have it on disk.
    pub nodes: Vec<Holder>,
    /// The peers to which it was sent since this node started.
    pub peers: Vec<String>,
}

/// A device that says it has a message on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    /// Which.
    pub device: String,
    /// Whose.
    pub user: String,
}

/// `POST /v1/rooms/ROOM/typing`: the local user types, or has stopped. Say it every few seconds while it lasts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Typing {
    /// Whether.
    pub typing: bool,
}

/// One notice of `GET /v1/events?since=CURSOR` (server-sent events; `id:` is the cursor).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// The newest event of which this stream has told. Go on from here.
    pub cursor: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: Happened,
}

/// What a notice tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Happened {
    /// A message is new, or looks different (edited, erased, reacted to, announced): this is how it looks now.
    Message {
        /// The message.
        message: Box<Message>,
    },
    /// A room changed otherwise: members, name, gaps, unread. Ask again.
    Room {
        /// The room's id.
        room: String,
    },
    /// Messages anywhere in a room came or went, because others count now: somebody was removed, or is back. Ask for its
    /// pages again.
    Turned {
        /// The room's id.
        room: String,
    },
    /// Peers came or went.
    Peers,
    /// Somebody has read up to a message, by their word. Own messages up to then are read by them.
    Read {
        /// The room's id.
        room: String,
        /// Who.
        user: String,
        /// What they want to be called in this room.
        name: String,
        /// The message.
        event: String,
        /// Its time, by its place on screen.
        ms: u64,
    },
    /// Somebody types, or has stopped.
    Typing {
        /// The room's id.
        room: String,
        /// Who.
        user: String,
        /// What they want to be called in this room.
        name: String,
        /// Until when, Unix milliseconds; over when that is past.
        until_ms: u64,
    },
    /// Somebody came or went, by their word.
    Presence {
        /// The room's id.
        room: String,
        /// Who.
        user: String,
        /// `online` or `away`.
        presence: String,
        /// When they said so, Unix milliseconds by their clock.
        last_seen_ms: u64,
    },
    /// What this node knows of people changed: pet names, keys compared, who is blocked. Ask again.
    People,
    /// Somebody reported a message to those who moderate, of whom the local user is one.
    Reported {
        /// What, and why.
        report: Box<Report>,
    },
    /// History came in faster than messages are told one by one: ask for the page again.
    Backfill {
        /// The room's id.
        room: String,
        /// Events of it held now.
        held: u64,
    },
    /// The local user is in a room now, because a team that they are of lets them in.
    LetIn {
        /// The room's id.
        room: String,
        /// The team's id.
        team: String,
        /// What this node calls the room.
        name: String,
        /// What it calls the team.
        by: String,
    },
}

/// Progress and end of `POST /v1/rooms/ROOM/import`, a line each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ImportProgress {
    /// So many records are on disk.
    Acknowledged {
        /// Counted from the beginning of the file.
        acknowledged: u64,
    },
    /// The end.
    Done {
        /// New here.
        imported: u64,
        /// Were here before.
        known: u64,
        /// Did not read.
        rejected: u64,
        /// How long it took.
        seconds: f64,
        /// The first records that did not read: line number and why.
        errors: Vec<String>,
    },
}

/// RFC 9457 problem+json.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// Stable: `usage`, `refused`, `not_found`, `ambiguous`, `failed`, `unauthorized`.
    pub code: String,
    /// What went wrong, in a sentence.
    pub title: String,
    /// What to do about it, in a sentence.
    pub detail: String,
}

/// What a running node leaves in its home (`node.json`, 0600) for those who would talk to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Running {
    /// Its process id.
    pub pid: u32,
    /// How it was started.
    pub command: String,
    /// Its Unix socket.
    pub socket: String,
    /// `http://127.0.0.1:PORT`.
    pub api: String,
    /// The token for `Authorization: Bearer`.
    pub token: String,
}
