//! What the writer is asked to do, and where its answers go.

use crate::account::Order;
use crate::beacons::Change;
use crate::ingest::Admitted;
use crate::local;
use crate::writer::{Origin, WriteError};
use tidings_protocol::content::Imported;
use tidings_protocol::event::VerifiedEvent;
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::link::RoomLink;
use tidings_storage::{Agreement, RoomRow, ToShred};
use tokio::sync::oneshot;

/// A command's answer, sent once it is committed.
pub type Reply<T> = oneshot::Sender<Result<T, WriteError>>;
/// Where it arrives.
pub type Answer<T> = oneshot::Receiver<Result<T, WriteError>>;

/// What the writer is asked to do.
pub enum Command {
    /// Admit consecutive events of one branch, verified.
    Admit {
        /// The room.
        room: RoomId,
        /// Ascending.
        events: Vec<VerifiedEvent>,
        /// Whence.
        origin: Origin,
        /// What became of them.
        reply: Reply<Admitted>,
    },
    /// Say something in a room.
    Publish {
        /// The room.
        room: RoomId,
        /// What.
        intent: local::Intent,
        /// The events' ids: the last is what was asked for.
        reply: Reply<Vec<EventId>>,
    },
    /// Import records, in order, into one room.
    Import {
        /// The room.
        room: RoomId,
        /// Records.
        records: Vec<Imported>,
        /// How many were new.
        reply: Reply<usize>,
    },
    /// Make a room.
    Create {
        /// What kind, called how.
        room: local::NewRoom,
        /// Its id.
        reply: Reply<RoomId>,
    },
    /// Begin to join by a link.
    Join {
        /// The link.
        link: Box<RoomLink>,
        /// Done when it is remembered.
        reply: Reply<RoomId>,
    },
    /// Change what is local of a room.
    Change {
        /// The room.
        room: RoomId,
        /// How.
        change: Box<dyn FnOnce(&mut RoomRow) + Send>,
        /// Done.
        reply: Reply<()>,
    },
    /// Remember an agreement.
    Agree {
        /// The room.
        room: RoomId,
        /// With whom.
        peer: Vec<u8>,
        /// What.
        agreement: Agreement,
    },
    /// Keep a small record.
    Note {
        /// Its name.
        name: String,
        /// Its bytes.
        value: Vec<u8>,
        /// Done.
        reply: Reply<()>,
    },
    /// Keep these beacons. Nobody waits for it.
    Beacons(Change),
    /// Keep something that is this node's alone, and no event.
    Keep(crate::kept::Kept, Reply<()>),
    /// What the user's devices share.
    Account(Order),
    /// What is done for a team.
    Team(crate::teams::Order),
    /// These own events were sent to somebody.
    Told(Vec<u64>),
    /// Somebody who is in this room has the control events of it that are here, and no others.
    Sure(RoomId),
    /// Look for erasures whose time has come.
    Erasures,
    /// What these events said is in no file any more.
    Shredded(Vec<ToShred>, Reply<()>),
    /// Take something off this node for good.
    Purge(crate::purge::Order),
    /// Take content off to save room, or say how much is kept. A batch of its own.
    Trim(crate::trim::Order),
    /// Put everything committed so far on disk.
    Sync(Reply<()>),
    /// Put everything on disk and end.
    Stop(oneshot::Sender<()>),
}
