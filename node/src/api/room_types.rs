//! What the HTTP API says of rooms, their members and invites, as JSON.

use super::device_types::Alert;
use super::keep::Kept;
use serde::{Deserialize, Serialize};

/// `POST /v1/rooms`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateRoom {
    /// Its name, at most 64 bytes.
    pub name: String,
    /// Anybody may read and join.
    #[serde(default)]
    pub public: bool,
    /// The weakest role that may invite.
    #[serde(default)]
    pub invite_rank: Option<String>,
}

/// Answer to creating and joining.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoomCreated {
    /// The room's id.
    pub room: String,
    /// `public`, `members` or `private`.
    pub kind: String,
    /// What this node calls it.
    pub alias: String,
}

/// One of `GET /v1/rooms`, and `GET /v1/rooms/ROOM`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Room {
    /// Its id.
    pub room: String,
    /// Its name by its settings; empty until known.
    pub name: String,
    /// What this node calls it.
    pub alias: String,
    /// `public`, `members` or `private`.
    pub kind: String,
    /// How many people.
    pub members: usize,
    /// Messages of others after the read marker; counting stops at 1,000.
    pub unread: usize,
    /// Those of them that name the local user or answer theirs.
    #[serde(default)]
    pub mentions: usize,
    /// The newest message's time; 0 when there is none.
    pub last_ms: u64,
    /// Who wrote it.
    #[serde(default)]
    pub last_user: Option<String>,
    /// The local user's role; `none` when not a member.
    pub role: String,
    /// Whether nothing is known to be missing.
    pub complete: bool,
    /// A join that nobody has taken up yet.
    pub pending: bool,
    /// Its topic.
    pub topic: String,
    /// Peers connected that have it, proven.
    pub peers: usize,
    /// Rules or kinds of a later version are in use: read-only here.
    pub needs_newer: bool,
    /// What a moderator should know; empty for others.
    #[serde(default)]
    pub alerts: Vec<Alert>,
    /// What the local user may do: `post`, `report`, `invite`, `grant`, `remove`, `erase` and `hide` (messages of others),
    /// `topic`, `set` (name and slow mode), `successor`, `leave`.
    #[serde(default)]
    pub may: Vec<String>,
    /// Why screens take nothing to be said here: `pending`, `left`, `removed`, `not_member`, `reader`, `keeper`,
    /// `needs_newer`, `unsure` (events that say who may do what were lost), `successor`; none where one can post.
    #[serde(default)]
    pub read_only: Option<String>,
    /// Slow mode: seconds between two messages of one member; 0 for none.
    #[serde(default)]
    pub slow: u32,
    /// Settings whose values make no sense, and that are ignored.
    #[serde(default)]
    pub ignored_settings: Vec<IgnoredSetting>,
    /// Where the room goes on.
    #[serde(default)]
    pub successor: Option<Successor>,
    /// The team whose members it admits. Of one room only, as all that follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<Team>,
    /// The rooms that admit its members, where it is a team.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rooms: Vec<TeamRoom>,
    /// What this node keeps of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
}

/// A setting that is ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IgnoredSetting {
    /// Which.
    pub key: String,
    /// What it was set to.
    pub value: String,
}

/// Where a room goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Successor {
    /// The room's id.
    pub room: String,
    /// What this node calls it; none where it is not here: it takes a link.
    pub alias: Option<String>,
    /// Whether that room goes on in this one again, over rooms that are here: then neither is closed.
    pub comes_back: bool,
}

/// `POST /v1/rooms/ROOM/successor`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetSuccessor {
    /// The room in which it goes on: its name here, or its id.
    pub room: String,
}

/// `POST /v1/events/EVENT/hide`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetHidden {
    /// Folded on screens, or no longer.
    pub hidden: bool,
}

/// `POST /v1/events/EVENT/report`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SendReport {
    /// What is wrong with it, on one line.
    pub reason: String,
}

/// One of `GET /v1/rooms/ROOM/reports`: a message that somebody reported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The report's event.
    pub id: String,
    /// The room's id.
    pub room: String,
    /// Who reported it.
    pub user: String,
    /// What they want to be called here.
    pub name: String,
    /// When, by its place on screen.
    pub ms: u64,
    /// Why, in their words.
    pub reason: String,
    /// The message.
    pub event: String,
    /// Who wrote that; none where it is not here.
    pub author: Option<String>,
    /// What they want to be called here.
    pub author_name: Option<String>,
    /// How it begins.
    pub text: Option<String>,
    /// Whether it was erased since.
    pub erased: bool,
}

/// One of `GET /v1/rooms/ROOM/members`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub user: String,
    /// What they want to be called here.
    pub name: String,
    /// `founder`, `admin`, `moderator`, `member`, `reader` or `keeper`.
    pub role: String,
    /// How many devices.
    pub devices: usize,
    /// Whether somebody compared keys with them; true of oneself.
    pub verified: bool,
    /// `online` or `away`, by their own word, where they share it.
    #[serde(default)]
    pub presence: Option<String>,
    /// When they last said so, Unix milliseconds by their clock.
    #[serde(default)]
    pub last_seen_ms: Option<u64>,
    /// Whether it is the local user.
    #[serde(default)]
    pub you: bool,
    /// What the local user calls them; none when nothing.
    #[serde(default)]
    pub petname: Option<String>,
    /// Whom their name makes one think of, where that is somebody else.
    #[serde(default)]
    pub lookalike_of: Option<String>,
    /// Whether the local user has blocked them.
    #[serde(default)]
    pub blocked: bool,
}

/// `POST /v1/rooms/ROOM/invites`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateInvite {
    /// The role of who joins; `member` unless said.
    #[serde(default)]
    pub role: Option<String>,
    /// After this long this node closes it.
    #[serde(default)]
    pub expires_ms: Option<u64>,
}

/// An invite: answer to creating (with `link`), and one of `GET /v1/rooms/ROOM/invites` and `GET /v1/invites`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Invite {
    /// The invite's id.
    pub invite: String,
    /// The room's id.
    pub room: String,
    /// The link; only where this node made it.
    pub link: Option<String>,
    /// The role of who joins.
    pub role: String,
    /// Whether it is closed.
    pub closed: bool,
    /// How many joined by it.
    pub joins: usize,
    /// When this node closes it; 0 for never.
    pub expires_ms: u64,
    /// Why the link may not work from afar.
    pub warning: Option<String>,
}

/// `POST /v1/join`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JoinRoom {
    /// The link.
    pub link: String,
    /// How long to wait for the first page.
    #[serde(default)]
    pub wait_ms: u64,
}

/// Answer to joining.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Joined {
    /// The room's id.
    pub room: String,
    /// What this node calls it; empty while pending.
    pub alias: String,
    /// Still trying: the first page has not come yet.
    pub pending: bool,
    /// Addresses tried.
    pub tried: Vec<String>,
}

/// `POST /v1/rooms/ROOM/alias`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetAlias {
    /// What this node is to call it.
    pub alias: String,
}

/// `POST /v1/rooms/ROOM/members`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Appoint {
    /// A name in the room, or `did:key:...`.
    pub user: String,
    /// The role to have.
    pub role: String,
}

/// Its answer, and that of `DELETE /v1/rooms/ROOM/members/USER`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Appointed {
    /// The decision's event.
    pub id: String,
    /// Whom it is about.
    pub user: String,
    /// The role that they have now; `none` when they were removed.
    pub role: String,
    /// For who has no device in the room yet: the link by which they come in, and nobody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// `POST /v1/rooms/ROOM/leave`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LeaveRoom {
    /// No device of the user can write there again.
    #[serde(default)]
    pub for_good: bool,
    /// The recovery words, where this device does not have them.
    #[serde(default)]
    pub words: Option<String>,
}

/// Its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Left {
    /// Whether it is for good.
    pub for_good: bool,
    /// The devices that were ended there.
    pub devices: Vec<String>,
    /// Why it is not for good though it was to be; else empty.
    pub why: String,
}

/// `POST /v1/rooms/ROOM/team`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetTeam {
    /// The team's room, by name or id; none to have none.
    pub team: Option<String>,
    /// What its members are in the room; `member` unless said.
    #[serde(default)]
    pub role: Option<String>,
}

/// The team of a room, as `GET /v1/rooms/ROOM` says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Team {
    /// The team's room.
    pub room: String,
    /// What this node calls it; empty where it does not have it.
    pub alias: String,
    /// Why this node does nothing for the team, though its user might; else empty.
    pub rests: String,
}

/// One of the rooms that a team opens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TeamRoom {
    /// The room.
    pub room: String,
    /// What it is called.
    pub name: String,
    /// The local user's role there; `none` when not in it.
    pub role: String,
}

/// `POST /v1/rooms/ROOM/settings`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetSetting {
    /// `name`, `topic` or `slow`.
    pub key: String,
    /// Its value.
    pub value: String,
}
