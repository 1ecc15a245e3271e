//! One sync conversation as a state machine without I/O: inputs in, outputs out. Time, entropy and what is held come in
//! as arguments, so that a simulator runs the very code that nodes run.
//!
//! `keys` derives what only these two peers in this conversation can know; `conversation` says hello and takes turns;
//! `rooms` matches rooms and checks proofs, `knock` lets in who has only a link; `compare` and `reconcile` find what
//! differs, `sketch` by sums over sets; `fetch` asks for it, newest first; `serve` answers under credit; `beacons` tells what is of the day,
//! `asking` asks what is held.

mod asking;
mod beacons;
mod budget;
mod compare;
mod conversation;
mod exchange;
mod fetch;
mod keys;
mod knock;
mod reconcile;
mod rooms;
mod serve;
mod sketch;
#[cfg(test)]
mod tests;

pub use conversation::Conversation;
pub use keys::{Credential, inner_secret, network_name};

use crate::answer::SignedAnswer;
use crate::beacon::SignedBeacon;
use crate::codec::CodecError;
use crate::control::payload::RoomKind;
use crate::event::{Class, Hlc};
use crate::id::{DeviceId, EventId, RoomId};
use crate::log::{Log, Tip};
use crate::range::{Range, RangeError, Vouched};
use crate::wire::{Frame, Head};
use thiserror::Error;

/// Who opened the stream. Tags and reconciliation depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Opened it.
    Initiator,
    /// Accepted it.
    Responder,
}

impl Side {
    fn other(self) -> Side {
        match self {
            Side::Initiator => Side::Responder,
            Side::Responder => Side::Initiator,
        }
    }

    fn number(self) -> u8 {
        match self {
            Side::Initiator => 0,
            Side::Responder => 1,
        }
    }
}

/// What a conversation needs to know from the start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which side we are.
    pub side: Side,
    /// The federation; empty is the open one.
    pub network: String,
    /// Fresh random bytes.
    pub nonce: [u8; 16],
    /// Our PeerId's bytes.
    pub us: Vec<u8>,
    /// The other's, as the connection proved it.
    pub them: Vec<u8>,
}

/// A room that we would sync with whoever may see it.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The room.
    pub room: RoomId,
    /// Who may see it.
    pub kind: RoomKind,
    /// Its secret, as links carry it; zero in a public room.
    pub secret: [u8; 32],
    /// Its `inner_secret`; none in a public room, and while we hold nothing of the room.
    pub inner: Option<[u8; 32]>,
    /// That our device may see it; not needed in a public room.
    pub credential: Option<Credential>,
    /// Events by which a peer gets to know our device: a Join that nobody has taken up yet.
    pub introduction: Vec<Vec<u8>>,
    /// We hold nothing of the room yet, so nobody can prove anything to us: whoever knows its secret may give us its history.
    pub joining: bool,
}

/// What is held of a room, as one hash for each class, and the count of changes that led there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    /// Over the heads of its control logs.
    pub control: [u8; 32],
    /// Over the heads of its content logs that count.
    pub content: [u8; 32],
    /// The room's change.
    pub change: u64,
}

/// The last time when both held the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// Names what both held.
    pub token: [u8; 16],
    /// Our room's change then.
    pub change: u64,
}

/// A part of a branch that is not held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// The log.
    pub log: Log,
    /// From here down.
    pub top: Tip,
    /// Down to above this seq, as far as is known.
    pub above: u64,
    /// The top's clock, or a guess: what is newest is fetched first.
    pub hlc: Hlc,
    /// What vouches for the top.
    pub vouched: Vouched,
    /// Whether the log's author may say anything here, as far as is known.
    pub known: bool,
}

/// A chunk to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The log that its events are of.
    pub log: Log,
    /// Compressed.
    pub bytes: Vec<u8>,
    /// The lowest event in it.
    pub first_seq: u64,
    /// What that event names as its predecessor.
    pub prev: EventId,
}

/// The store or its lock failed; the conversation ends and another is tried later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("what is held could not be read")]
pub struct Unavailable;

/// What the conversation asks of the node that holds the history. Answers are of this moment; none may block on the peer.
pub trait Holdings {
    /// What is held of a room.
    ///
    /// # Errors
    /// `Unavailable`, as all of these.
    fn digests(&self, room: RoomId) -> Result<Digests, Unavailable>;
    /// The last agreement with this peer on a room.
    ///
    /// # Errors
    /// `Unavailable`.
    fn agreement(&self, room: RoomId) -> Result<Option<Agreed>, Unavailable>;
    /// The heads of logs that count and moved after the room's change `since`.
    ///
    /// # Errors
    /// `Unavailable`.
    fn heads(&self, room: RoomId, class: Class, since: u64) -> Result<Vec<Head>, Unavailable>;
    /// Which of a peer's heads are not held, and down to where.
    ///
    /// # Errors
    /// `Unavailable`.
    fn missing(&self, room: RoomId, class: Class, heads: &[Head]) -> Result<Vec<Missing>, Unavailable>;
    /// Our own holes in a room's content logs, or in one of them; not those whose top is held in another log of the room.
    ///
    /// # Errors
    /// `Unavailable`.
    fn holes(&self, room: RoomId, of: Option<&Log>) -> Result<Vec<Missing>, Unavailable>;
    /// Whether an event is held in this room. What is held of others is none of the peer's business: what we ask for would
    /// tell.
    ///
    /// # Errors
    /// `Unavailable`.
    fn holds(&self, room: RoomId, id: EventId) -> Result<bool, Unavailable>;
    /// Whether what lies from `top` down in a content log is wanted now: not what was trimmed here, unless somebody reads back.
    ///
    /// # Errors
    /// `Unavailable`.
    fn wants(&self, _room: RoomId, _log: &Log, _top: Tip) -> Result<bool, Unavailable> {
        Ok(true)
    }
    /// A chunk of the branch of this room that ends at `top`, from there down, at most to `down_to`; `None` when `top` is
    /// not held, is of another room, or is of a log that does not count.
    ///
    /// # Errors
    /// `Unavailable`.
    fn chunk(&self, room: RoomId, top: Tip, down_to: u64) -> Result<Option<Chunk>, Unavailable>;
    /// Whether this is a current device of a member, or one that may be again: it is told control events, by which it
    /// learns how, and nothing else.
    ///
    /// # Errors
    /// `Unavailable`.
    fn may_hear(&self, room: RoomId, device: DeviceId) -> Result<bool, Unavailable>;
    /// Whether this is a current device of a member.
    ///
    /// # Errors
    /// `Unavailable`.
    fn is_current_device(&self, room: RoomId, device: DeviceId) -> Result<bool, Unavailable>;
    /// The beacons kept of a room, the newest first; those of the moment are not among them.
    ///
    /// # Errors
    /// `Unavailable`.
    fn beacons(&self, room: RoomId) -> Result<Vec<SignedBeacon>, Unavailable>;
    /// One hash over them (`slots::Slots::fingerprint`).
    ///
    /// # Errors
    /// `Unavailable`.
    fn beacons_fingerprint(&self, room: RoomId) -> Result<[u8; 32], Unavailable>;
    /// Whether this conversation may fetch content of the room now, or another does.
    fn may_fetch(&self, room: RoomId) -> bool;
}

/// What happens to a conversation.
#[derive(Debug)]
pub enum Input {
    /// A frame came.
    Frame(Frame),
    /// We have another room to offer, or its offer has changed.
    Offer(Offer),
    /// We no longer offer a room.
    Withdraw(RoomId),
    /// The introduction that came with a knock was admitted, or not.
    Introduced(RoomId),
    /// A delivered range was dealt with.
    Delivered {
        /// As in `Output::Deliver`.
        request: u32,
        /// As in `Output::Deliver`.
        bytes: u32,
        /// Whether anything of it was new.
        new: bool,
        /// Whether any of it is held now. What is not, its sender may make up as it goes.
        kept: bool,
        /// Its lowest event: what it names as predecessor, and its seq.
        bottom: (EventId, u64),
    },
    /// A delivered range is not what the hash named it to be: so it may be where an author named a predecessor of another
    /// log. Nothing of it was admitted.
    Untrue {
        /// As in `Output::Deliver`.
        request: u32,
        /// As in `Output::Deliver`.
        bytes: u32,
    },
    /// Another conversation has stopped fetching this room.
    Resume(RoomId),
    /// Logs moved: tell the peer.
    Moved {
        /// The room.
        room: RoomId,
        /// Which logs.
        class: Class,
        /// Their heads now.
        heads: Vec<Head>,
    },
    /// A new event for the peer, as it travels alone.
    Push {
        /// The room.
        room: RoomId,
        /// The event's bytes.
        event: Vec<u8>,
    },
    /// The key of the room's sealed tips, for a peer that may have it.
    Key {
        /// The room.
        room: RoomId,
        /// Names the current devices.
        circle: [u8; 32],
        /// The key.
        key: [u8; 32],
    },
    /// Compare again: a timer ran out.
    Recheck(RoomId),
    /// Compare again: something came that rests on what is missing here, or was said to be there. Our own holes are not asked
    /// for again, as anybody can bring this about.
    Gap(RoomId),
    /// Beacons that changed: tell the peer. At most `Conversation::beacons_left` of them are told.
    Beacons {
        /// The room.
        room: RoomId,
        /// The newest of their slots.
        beacons: Vec<SignedBeacon>,
    },
    /// Ask the peer what it holds. It is asked at most `ASKS_TOLD_MAX` times a minute, and may not answer.
    Ask {
        /// The room.
        room: RoomId,
        /// Fresh.
        nonce: [u8; 16],
    },
    /// Our answer to what the peer asked.
    Answer {
        /// The room.
        room: RoomId,
        /// Signed.
        answer: SignedAnswer,
    },
}

/// What a conversation wants done, in this order.
#[derive(Debug)]
pub enum Output {
    /// Send this frame, though the peer may hear no more of its room: it says why.
    Farewell(Frame),
    /// Send this.
    Send(Frame),
    /// Admit these, each as it travels alone, then say `Introduced`. That some are false is no fault: the peer is not to
    /// learn that they were looked at.
    Introduce {
        /// The room.
        room: RoomId,
        /// Events.
        events: Vec<Vec<u8>>,
    },
    /// Verify this range and admit it; then say `Delivered`. Ranges are dealt with in order.
    Deliver {
        /// The request that it answers.
        request: u32,
        /// The room.
        room: RoomId,
        /// The log.
        log: Log,
        /// The event that its highest has to be.
        top: Tip,
        /// What vouches for that.
        vouched: Vouched,
        /// The events.
        range: Range,
        /// What it takes of the credit.
        bytes: u32,
    },
    /// Admit this event.
    Pushed {
        /// The room.
        room: RoomId,
        /// The event's bytes.
        event: Vec<u8>,
    },
    /// Take these beacons: the peer's fault if one of them is false.
    Beacons {
        /// The room.
        room: RoomId,
        /// Not verified.
        beacons: Vec<SignedBeacon>,
    },
    /// The peer asks what we hold: sync, sign, and say `Answer`.
    Asked {
        /// The room.
        room: RoomId,
        /// To be signed.
        nonce: [u8; 16],
    },
    /// The peer answers our last `Ask`.
    Answered {
        /// The room.
        room: RoomId,
        /// Not verified.
        answer: SignedAnswer,
    },
    /// The peer may see the room, and has it: push to it, announce to it.
    Shared(RoomId),
    /// The peer tells a key of the room's sealed tips.
    Key {
        /// The room.
        room: RoomId,
        /// The device that speaks for the peer.
        device: DeviceId,
        /// Names the current devices, as the peer knows them.
        circle: [u8; 32],
        /// The key.
        key: [u8; 32],
    },
    /// The peer does not let us see the room.
    Refused(RoomId),
    /// The peer had the room open for us, and has closed it.
    Closed(RoomId),
    /// Both hold the same control events, whatever else.
    SameControl(RoomId),
    /// Both hold the same.
    Agreed {
        /// The room.
        room: RoomId,
        /// To be remembered.
        agreed: Agreed,
    },
    /// Nothing is left to fetch for now: the room's content may be fetched by another conversation.
    Rested(RoomId),
}

/// Why a conversation ends. All but the last are the peer's doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Failure {
    /// It speaks another version.
    #[error("the peer speaks version {0} of the sync conversation")]
    Version(u16),
    /// It is of another federation.
    #[error("the peer is of another network")]
    OtherNetwork,
    /// A frame that does not read.
    #[error("a frame does not read: {0}")]
    Codec(#[from] CodecError),
    /// A frame that has no place here.
    #[error("{0}")]
    Unexpected(&'static str),
    /// A range that is false.
    #[error("false events: {0}")]
    Range(#[from] RangeError),
    /// More than the credit, the limits or the rounds allow.
    #[error("more than allowed: {0}")]
    Budget(&'static str),
    /// We could not read what we hold.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}
