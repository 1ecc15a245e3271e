//! Frames that two nodes exchange on a sync stream: a length of four bytes, a type, and a canonical body.
//! Rooms are named by their place in the initiator's list of tags, so that nothing on the wire names a room.

use crate::answer::SignedAnswer;
use crate::beacon::SignedBeacon;
use crate::codec::{Canonical, CodecError, Reader, Writer, decode, encode};
use crate::event::{Class, Hlc};
use crate::id::{DeviceId, EventId};
use crate::limits::{
    BEACONS_PER_FRAME_MAX, CHUNK_LEN_MAX, EVENT_LEN_MAX, FRAME_LEN_MAX, HEADS_PER_FRAME_MAX, KNOCK_LEN_MAX,
    RECONCILE_LEN_MAX, ROOMS_MAX, SLOTS_MAX, WANTS_MAX,
};
use crate::log::{Log, Tip};

mod parts;

pub use parts::{BeaconName, Branch, Handle, Knock, Proof, Tag};

/// The version of the conversation.
pub const SYNC_VERSION: u16 = 1;

/// The head of a log's branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Head {
    /// Whose log.
    pub author: DeviceId,
    /// Under which grant.
    pub grant: EventId,
    /// Its highest event.
    pub tip: Tip,
    /// That event's clock: what is newest is fetched first.
    pub hlc: Hlc,
}

impl Head {
    /// The log, given its class.
    pub fn log(&self, class: Class) -> Log {
        Log { class, author: self.author, grant: self.grant }
    }
}

/// What a list of heads is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// All that the sender has: what is not in it, the sender lacks.
    Whole = 0,
    /// Those that the receiver may lack.
    Part = 1,
    /// Those that moved just now; no answer is expected.
    Moved = 2,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The first frame of each side.
    Hello {
        /// The conversation's version.
        version: u16,
        /// Names the federation.
        network: [u8; 8],
        /// Fresh.
        nonce: [u8; 16],
        /// Bytes of chunks that the sender is ready to take.
        credit: u32,
    },
    /// More rooms of the sender.
    Rooms(Vec<Tag>),
    /// The sender may see a room.
    Proof(Proof),
    /// The room is unknown here, or the proof does not suffice: the answer is the same.
    Refused(Handle),
    /// What the sender holds, as one MAC for each class.
    Check {
        /// The room.
        room: Handle,
        /// Of its control logs.
        control: [u8; 16],
        /// Of its content logs.
        content: [u8; 16],
        /// Names the last agreement that the sender remembers; zero for none.
        agreement: [u8; 16],
        /// Of its beacons that are kept.
        beacons: [u8; 8],
    },
    /// Heads of logs.
    Heads {
        /// The room.
        room: Handle,
        /// Which logs.
        class: Class,
        /// What the list is.
        listing: Listing,
        /// Whether the listing ends here.
        last: bool,
        /// The heads.
        heads: Vec<Head>,
    },
    /// A message of set reconciliation over heads. The initiator of the conversation begins; an empty one from the responder
    /// asks it to.
    Reconcile {
        /// The room.
        room: Handle,
        /// Which logs.
        class: Class,
        /// What symbols are asked for, or the symbols, or empty (`sync::reconcile`).
        message: Vec<u8>,
    },
    /// The sender lacks the heads with these items of set reconciliation.
    Lack {
        /// The room.
        room: Handle,
        /// Which logs.
        class: Class,
        /// The items.
        items: Vec<u64>,
    },
    /// Asks for a branch from its top down.
    Want {
        /// Names the first branch in its answers; the others count on from it.
        request: u32,
        /// The room.
        room: Handle,
        /// What is wanted.
        branches: Vec<Branch>,
    },
    /// Answers a Want, newest first; an empty chunk says that the top is not held.
    Events {
        /// The request.
        request: u32,
        /// Whether nothing more comes for it.
        last: bool,
        /// A compressed range.
        chunk: Vec<u8>,
    },
    /// The sender has committed chunks of so many bytes.
    Credit(u32),
    /// A new event, as it travels alone.
    Push {
        /// The room.
        room: Handle,
        /// The event.
        event: Vec<u8>,
    },
    /// Beacons that the receiver may lack.
    Beacons {
        /// The room.
        room: Handle,
        /// Signed, each for itself.
        beacons: Vec<SignedBeacon>,
    },
    /// Names all beacons that the sender keeps of a room: it wants the others, as far as they are newer.
    Slots {
        /// The room.
        room: Handle,
        /// Their names in this conversation.
        names: Vec<BeaconName>,
    },
    /// The sender asks to be let into a room. It has no answer, unless it is let in.
    Knock {
        /// What the sender calls the room to those who have its link.
        tag: Tag,
        /// A `Knock`, sealed under the room's secret.
        sealed: Vec<u8>,
    },
    /// What opens the sealed tips of a room, for as long as the same devices are let in.
    Key {
        /// The room.
        room: Handle,
        /// Names the current devices, as the sender knows them.
        circle: [u8; 32],
        /// The key.
        key: [u8; 32],
    },
    /// Asks what the receiver holds of a room at this moment, by its device's signature.
    Ask {
        /// The room.
        room: Handle,
        /// Fresh: the answer has it.
        nonce: [u8; 16],
    },
    /// Answers an Ask.
    Answer {
        /// The room.
        room: Handle,
        /// Signed.
        answer: SignedAnswer,
    },
}

impl Frame {
    /// The room of a frame that tells something of what is held, or asks for it.
    pub fn tells_of(&self) -> Option<Handle> {
        match self {
            Frame::Check { room, .. }
            | Frame::Heads { room, .. }
            | Frame::Reconcile { room, .. }
            | Frame::Lack { room, .. }
            | Frame::Want { room, .. }
            | Frame::Push { room, .. }
            | Frame::Beacons { room, .. }
            | Frame::Slots { room, .. }
            | Frame::Key { room, .. }
            | Frame::Ask { room, .. }
            | Frame::Answer { room, .. } => Some(*room),
            _ => None,
        }
    }

    /// The frame's bytes, without the length that stands before them on the stream.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a frame; its length was checked against `FRAME_LEN_MAX` before it was read from the stream.
    ///
    /// # Errors
    /// `CodecError`: the peer is at fault.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        decode(bytes, FRAME_LEN_MAX)
    }
}

impl Canonical for Frame {
    fn write(&self, w: &mut Writer) {
        match self {
            Frame::Hello { version, network, nonce, credit } => {
                w.u8(1);
                w.u16(*version);
                w.array(network);
                w.array(nonce);
                w.u32(*credit);
            }
            Frame::Rooms(tags) => {
                w.u8(2);
                w.list(tags);
            }
            Frame::Proof(proof) => {
                w.u8(3);
                proof.write(w);
            }
            Frame::Refused(room) => {
                w.u8(4);
                room.write(w);
            }
            Frame::Check { room, control, content, agreement, beacons } => {
                w.u8(5);
                room.write(w);
                w.array(control);
                w.array(content);
                w.array(agreement);
                w.array(beacons);
            }
            Frame::Heads { room, class, listing, last, heads } => {
                w.u8(6);
                room.write(w);
                class.write(w);
                listing.write(w);
                w.u8(u8::from(*last));
                w.list(heads);
            }
            Frame::Reconcile { room, class, message } => {
                w.u8(7);
                room.write(w);
                class.write(w);
                w.bytes(message);
            }
            Frame::Lack { room, class, items } => {
                w.u8(8);
                room.write(w);
                class.write(w);
                w.length(items.len());
                items.iter().for_each(|item| w.u64(*item));
            }
            Frame::Want { request, room, branches } => {
                w.u8(9);
                w.u32(*request);
                room.write(w);
                w.list(branches);
            }
            Frame::Events { request, last, chunk } => {
                w.u8(10);
                w.u32(*request);
                w.u8(u8::from(*last));
                w.bytes(chunk);
            }
            Frame::Credit(bytes) => {
                w.u8(11);
                w.u32(*bytes);
            }
            Frame::Push { room, event } => {
                w.u8(12);
                room.write(w);
                w.bytes(event);
            }
            Frame::Beacons { room, beacons } => {
                w.u8(13);
                room.write(w);
                w.list(beacons);
            }
            Frame::Slots { room, names } => {
                w.u8(14);
                room.write(w);
                w.list(names);
            }
            Frame::Knock { tag, sealed } => {
                w.u8(15);
                tag.write(w);
                w.bytes(sealed);
            }
            Frame::Key { room, circle, key } => {
                w.u8(16);
                room.write(w);
                w.array(circle);
                w.array(key);
            }
            Frame::Ask { room, nonce } => {
                w.u8(17);
                room.write(w);
                w.array(nonce);
            }
            Frame::Answer { room, answer } => {
                w.u8(18);
                room.write(w);
                answer.write(w);
            }
        }
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(match r.u8()? {
            1 => Frame::Hello { version: r.u16()?, network: r.array()?, nonce: r.array()?, credit: r.u32()? },
            2 => Frame::Rooms(r.list(ROOMS_MAX)?),
            3 => Frame::Proof(Proof::read(r)?),
            4 => Frame::Refused(Handle::read(r)?),
            5 => Frame::Check {
                room: Handle::read(r)?,
                control: r.array()?,
                content: r.array()?,
                agreement: r.array()?,
                beacons: r.array()?,
            },
            6 => Frame::Heads {
                room: Handle::read(r)?,
                class: Class::read(r)?,
                listing: Listing::read(r)?,
                last: bit(r)?,
                heads: r.list(HEADS_PER_FRAME_MAX)?,
            },
            7 => Frame::Reconcile {
                room: Handle::read(r)?,
                class: Class::read(r)?,
                message: r.bytes(RECONCILE_LEN_MAX)?.to_vec(),
            },
            8 => Frame::Lack { room: Handle::read(r)?, class: Class::read(r)?, items: items(r)? },
            9 => Frame::Want { request: r.u32()?, room: Handle::read(r)?, branches: r.list(WANTS_MAX)? },
            10 => Frame::Events { request: r.u32()?, last: bit(r)?, chunk: r.bytes(CHUNK_LEN_MAX)?.to_vec() },
            11 => Frame::Credit(r.u32()?),
            12 => Frame::Push { room: Handle::read(r)?, event: r.bytes(EVENT_LEN_MAX)?.to_vec() },
            13 => Frame::Beacons { room: Handle::read(r)?, beacons: r.list(BEACONS_PER_FRAME_MAX)? },
            14 => Frame::Slots { room: Handle::read(r)?, names: r.list(SLOTS_MAX)? },
            15 => Frame::Knock { tag: Tag::read(r)?, sealed: r.bytes(KNOCK_LEN_MAX)?.to_vec() },
            16 => Frame::Key { room: Handle::read(r)?, circle: r.array()?, key: r.array()? },
            17 => Frame::Ask { room: Handle::read(r)?, nonce: r.array()? },
            18 => Frame::Answer { room: Handle::read(r)?, answer: SignedAnswer::read(r)? },
            _ => return Err(CodecError::Invalid("frame type")),
        })
    }
}

fn bit(r: &mut Reader<'_>) -> Result<bool, CodecError> {
    let bit = r.u8()?;
    if bit > 1 { Err(CodecError::Invalid("flag")) } else { Ok(bit == 1) }
}

fn items(r: &mut Reader<'_>) -> Result<Vec<u64>, CodecError> {
    let mut out = Vec::new();
    for _ in 0..r.length(HEADS_PER_FRAME_MAX)? {
        out.push(r.u64()?);
    }
    Ok(out)
}

impl Canonical for Head {
    fn write(&self, w: &mut Writer) {
        self.author.write(w);
        self.grant.write(w);
        self.tip.write(w);
        w.u64(self.hlc.0);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Head { author: DeviceId::read(r)?, grant: EventId::read(r)?, tip: Tip::read(r)?, hlc: Hlc(r.u64()?) })
    }
}

impl Canonical for Listing {
    fn write(&self, w: &mut Writer) {
        w.u8(*self as u8);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        match r.u8()? {
            0 => Ok(Listing::Whole),
            1 => Ok(Listing::Part),
            2 => Ok(Listing::Moved),
            _ => Err(CodecError::Invalid("listing")),
        }
    }
}
