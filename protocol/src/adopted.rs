//! A message that a cut took away, quoted by somebody who stands for it: an honest person wrote it, and whoever removed
//! them had not seen it. It comes with its proof, so that nobody can put words into another's mouth, and changes nothing
//! about what counts.

use crate::codec::{Canonical, CodecError, Reader, Writer};
use crate::content::{Content, kind};
use crate::event::{Body, Class, VerifiedEvent};
use crate::id::{DeviceId, EventId, RoomId};
use crate::limits::SIGNATURE_EVERY;
use crate::log::{Log, Tip};
use crate::range::{Range, RangeError, Row, RowBody, Vouched};
use thiserror::Error;

/// A text or a reply of another log of the same room, and what shows who wrote it: its signature, or the headers from it
/// to the first above it that is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// The message.
    pub message: EventId,
    /// The device that wrote it.
    pub author: DeviceId,
    /// Under which grant.
    pub grant: EventId,
    /// The event whose signature vouches for it; itself where it is signed.
    pub top: EventId,
    /// From the message, with its words, to the top, all others without.
    range: Range,
}

/// Why an event cannot be quoted so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotAdoptable {
    /// Not a text or reply, or its words are gone.
    #[error("only a text or a reply whose words are here can be adopted")]
    NoMessage,
    /// Nothing that is held vouches for it.
    #[error("no signature that vouches for it is here")]
    Unsigned,
}

impl Adopted {
    /// Quotes the lowest event of a range of a content log whose highest event is signed.
    ///
    /// # Errors
    /// `NotAdoptable`.
    pub fn new(log: &Log, message: EventId, top: EventId, mut range: Range) -> Result<Self, NotAdoptable> {
        let last = range.rows.len().checked_sub(1).ok_or(NotAdoptable::Unsigned)?;
        for (n, row) in range.rows.iter_mut().enumerate() {
            if let (RowBody::Kept(payload), true) = (&row.body, n > 0) {
                let len = u32::try_from(payload.bytes.len()).unwrap_or(u32::MAX);
                row.body = RowBody::Erased { len, commit: payload.commit() };
            }
            if n < last {
                row.signature = None;
            }
        }
        let adopted = Adopted { message, author: log.author, grant: log.grant, top, range };
        if adopted.range.rows[last].signature.is_none() || adopted.range.rows.len() > ROWS_MAX {
            return Err(NotAdoptable::Unsigned);
        }
        adopted.said().map(|_| adopted.clone()).ok_or(NotAdoptable::NoMessage)
    }

    /// The log of the message.
    pub fn log(&self) -> Log {
        Log { class: Class::Content, author: self.author, grant: self.grant }
    }

    /// The message's place in its log.
    pub fn seq(&self) -> u64 {
        self.range.first_seq
    }

    /// The message's clock.
    pub fn hlc(&self) -> crate::event::Hlc {
        self.lowest().map_or(crate::event::Hlc(0), |row| row.hlc)
    }

    /// What the message says.
    pub fn said(&self) -> Option<Content> {
        let row = self.lowest()?;
        let RowBody::Kept(payload) = &row.body else { return None };
        match row.kind {
            kind::TEXT | kind::REPLY | kind::FILE => Content::decode(row.kind, &payload.bytes).ok(),
            _ => None,
        }
    }

    /// Checks that the author of the message wrote it, in this room, and gives it.
    ///
    /// # Errors
    /// `RangeError`: it is false.
    pub fn verify(&self, room: RoomId) -> Result<VerifiedEvent, RangeError> {
        let count = self.range.rows.len() as u64;
        let seq = self.range.first_seq.checked_add(count).ok_or(RangeError::NotTheTip)?.saturating_sub(1);
        let top = Tip { seq, id: self.top };
        let events = self.range.clone().verify(room, self.log(), top, Vouched::BySignature)?;
        let message = events.into_iter().next().ok_or(RangeError::NotTheTip)?;
        if message.id() != self.message || matches!(message.body(), Body::Erased) {
            return Err(RangeError::NotTheTip);
        }
        Ok(message)
    }

    fn lowest(&self) -> Option<&Row> {
        self.range.rows.first()
    }
}

impl Canonical for Adopted {
    fn write(&self, w: &mut Writer) {
        self.message.write(w);
        self.author.write(w);
        self.grant.write(w);
        self.top.write(w);
        self.range.write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let adopted = Adopted {
            message: EventId::read(r)?,
            author: DeviceId::read(r)?,
            grant: EventId::read(r)?,
            top: EventId::read(r)?,
            range: Range::read(r)?,
        };
        let rows = &adopted.range.rows;
        let bare = |row: &Row| matches!(row.body, RowBody::Erased { .. });
        let signed = rows.iter().position(|row| row.signature.is_some());
        let fits = rows.len() <= ROWS_MAX && rows.iter().skip(1).all(bare) && signed == rows.len().checked_sub(1);
        if !fits || adopted.said().is_none() {
            return Err(CodecError::Invalid("adopted message"));
        }
        Ok(adopted)
    }
}

/// From a message to the next that must be signed.
const ROWS_MAX: usize = SIGNATURE_EVERY as usize;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode, encode};
    use crate::content::Text;
    use crate::event::{Draft, Hlc, Payload};
    use crate::identity::DeviceKey;
    use crate::limits::PAYLOAD_LEN_MAX;
    use crate::range::sign_run;

    const ROOM: RoomId = RoomId([9; 32]);
    const GRANT: EventId = EventId([8; 32]);

    fn run(count: usize) -> (Log, Vec<VerifiedEvent>) {
        let key = DeviceKey::from_seed(&[1; 32]);
        let draft = |n: usize| {
            let content = Content::Text(Text::from(format!("word {n}").as_str()));
            Draft {
                class: Class::Content,
                kind: content.kind(),
                room: ROOM,
                grant: GRANT,
                seq: 0,
                prev: EventId::ZERO,
                parents: vec![EventId([7; 32])],
                hlc: Hlc::at_ms(1_000 + n as u64),
                payload: Payload { salt: [n as u8; 16], bytes: content.encode() },
            }
        };
        let log = Log { class: Class::Content, author: key.device(), grant: GRANT };
        (log, sign_run(&key, 1, EventId::ZERO, (0..count).map(draft).collect()).unwrap())
    }

    fn adopted(log: &Log, events: &[VerifiedEvent]) -> Result<Adopted, NotAdoptable> {
        let rows = events.iter().map(|e| Row::new(e.header().clone(), e.body().clone(), e.signature().copied()));
        let range = Range { first_seq: events[0].header().seq, prev: events[0].header().prev, rows: rows.collect() };
        Adopted::new(log, events[0].id(), events.last().unwrap().id(), range)
    }

    #[test]
    fn the_lowest_of_two_hundred_is_shown_by_the_signature_of_the_highest() {
        let (log, events) = run(255);
        let quoted = adopted(&log, &events).unwrap();
        let bytes = encode(&quoted);
        assert!(bytes.len() < PAYLOAD_LEN_MAX, "{}", bytes.len());
        let read: Adopted = decode(&bytes, PAYLOAD_LEN_MAX).unwrap();
        assert_eq!(read, quoted);
        let message = read.verify(ROOM).unwrap();
        assert_eq!((message.id(), message.log(), message.header().hlc), (events[0].id(), log, quoted.hlc()));
        assert_eq!(read.said(), Some(Content::Text(Text::from("word 0"))));
        assert_eq!(quoted.seq(), 1);
    }

    #[test]
    fn no_word_room_author_or_number_can_be_another() {
        let (log, events) = run(3);
        let quoted = adopted(&log, &events[1..]).unwrap();
        assert!(quoted.verify(ROOM).is_ok());
        assert!(quoted.verify(RoomId([1; 32])).is_err());
        let forgeries: [fn(&mut Adopted); 7] = [
            |a| a.author = DeviceKey::from_seed(&[2; 32]).device(),
            |a| a.grant = EventId([1; 32]),
            |a| a.message = a.top,
            |a| a.top = a.message,
            |a| a.range.first_seq = 3,
            |a| a.range.rows[0].hlc = Hlc::at_ms(5),
            |a| match &mut a.range.rows[0].body {
                RowBody::Kept(payload) => payload.bytes = Content::Text(Text::from("other")).encode(),
                RowBody::Erased { .. } => {}
            },
        ];
        for (n, forge) in forgeries.iter().enumerate() {
            let mut forged = quoted.clone();
            forge(&mut forged);
            assert!(forged.verify(ROOM).is_err(), "forgery {n}");
        }
        let mut empty = quoted.clone();
        (empty.range.first_seq, empty.range.rows) = (u64::MAX, Vec::new());
        assert!(empty.verify(ROOM).is_err());
    }

    #[test]
    fn what_is_unsigned_or_no_message_cannot_be_quoted() {
        let (log, events) = run(3);
        assert_eq!(adopted(&log, &events[..2]), Err(NotAdoptable::Unsigned));
        let rows = vec![Row {
            kind: kind::REACTION,
            hlc: Hlc(1),
            parents: Vec::new(),
            body: RowBody::Erased { len: 1, commit: [0; 32] },
            signature: events[2].signature().copied(),
        }];
        let range = Range { first_seq: 1, prev: EventId::ZERO, rows };
        assert_eq!(Adopted::new(&log, GRANT, GRANT, range), Err(NotAdoptable::NoMessage));
        // Words beside a header that is only proof would be words that nobody asked for.
        let mut talkative = adopted(&log, &events).unwrap();
        talkative.range.rows[1].body = talkative.range.rows[0].body.clone();
        assert!(decode::<Adopted>(&encode(&talkative), PAYLOAD_LEN_MAX).is_err());
    }
}
