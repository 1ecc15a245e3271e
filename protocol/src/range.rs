//! Ranges: consecutive events of one branch, verified against the tip that names them. One signature vouches for all
//! below it, so a range carries only what cannot be recomputed, and few signatures.

use crate::codec::{Canonical, CodecError, Reader, Writer, decode, encode};
use crate::event::{Body, Class, Draft, EventError, Header, Hlc, Payload, VerifiedEvent};
use crate::id::{EventId, RoomId};
use crate::identity::{DeviceKey, Domain, Signature, verify};
use crate::limits::{
    CHUNK_EVENTS_MAX, CHUNK_INFLATED_MAX, CHUNK_LEN_MAX, PARENTS_MAX, PAYLOAD_LEN_MAX, SIGNATURE_EVERY,
};
use crate::log::{Log, Tip};
use thiserror::Error;

/// Consecutive events of one branch, ascending, as they travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The lowest event's number.
    pub first_seq: u64,
    /// What the lowest event names as its predecessor.
    pub prev: EventId,
    /// The events.
    pub rows: Vec<Row>,
}

/// What one event of a range adds to what the range and the log say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The header's kind.
    pub kind: u16,
    /// The header's clock.
    pub hlc: Hlc,
    /// The header's parents.
    pub parents: Vec<EventId>,
    /// The payload, or what an erased one leaves.
    pub body: RowBody,
    /// Its own signature, where it has one.
    pub signature: Option<Signature>,
}

/// A payload, or the commitment that an erased one leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowBody {
    /// The payload: length and commitment follow from it.
    Kept(Payload),
    /// Length and commitment of what was erased.
    Erased {
        /// The header's payload length.
        len: u32,
        /// The header's commitment.
        commit: [u8; 32],
    },
}

/// What vouches for a range's highest event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vouched {
    /// An event that is held, or was verified just now, names it.
    ByHash,
    /// Its own signature has to.
    BySignature,
}

/// Why a range is not the part of the log that was asked for: the sender is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RangeError {
    /// Not the canonical form, or it inflates to more than a chunk may.
    #[error("not a range of events: {0}")]
    Codec(#[from] CodecError),
    /// The compressed bytes are broken, or too many, or inflate beyond the limit.
    #[error("a chunk that does not inflate within {CHUNK_INFLATED_MAX} bytes")]
    Inflate,
    /// Hashing up from its lowest event does not end at the tip that was asked for.
    #[error("the events do not end at the tip that names them")]
    NotTheTip,
    /// A payload or a signature in it is false.
    #[error("an event of the range is false: {0}")]
    Event(#[from] EventError),
    /// No signature where one must be: the tip's, every 256th, every control event's.
    #[error("a signature is missing")]
    Unsigned,
}

impl Range {
    /// Inflates and reads a chunk; gives the decompressor no more room than a chunk may have.
    ///
    /// # Errors
    /// `RangeError::Inflate` or `RangeError::Codec`.
    pub fn inflate(chunk: &[u8]) -> Result<Self, RangeError> {
        if chunk.len() > CHUNK_LEN_MAX {
            return Err(RangeError::Inflate);
        }
        let bytes = zstd::bulk::decompress(chunk, CHUNK_INFLATED_MAX).map_err(|_| RangeError::Inflate)?;
        Ok(decode(&bytes, CHUNK_INFLATED_MAX)?)
    }

    /// Compresses the range; `None` when it does not fit a chunk, and has to be cut.
    pub fn deflate(&self) -> Option<Vec<u8>> {
        let bytes = encode(self);
        let fits = bytes.len() <= CHUNK_INFLATED_MAX && self.rows.len() <= CHUNK_EVENTS_MAX;
        let chunk = fits.then(|| zstd::bulk::compress(&bytes, ZSTD_LEVEL).ok()).flatten()?;
        (chunk.len() <= CHUNK_LEN_MAX).then_some(chunk)
    }

    /// Checks that these are the events of `log` that end at `top`, and that `top` is vouched for. Content may reach above
    /// it, up to the event whose signature vouches for it: of a log that was cut the signed tip may be one that was cut away.
    ///
    /// # Errors
    /// `RangeError`: nothing of the range may be kept.
    pub fn verify(self, room: RoomId, log: Log, top: Tip, vouched: Vouched) -> Result<Vec<VerifiedEvent>, RangeError> {
        let above = self.above(log.class, top).ok_or(RangeError::NotTheTip)?;
        let mut prev = self.prev;
        let mut events = Vec::with_capacity(self.rows.len());
        // To the last and no further: there is no number above the highest.
        let last = top.seq.saturating_add(above as u64);
        for (seq, row) in (self.first_seq..=last).zip(self.rows) {
            let event = row.into_event(room, log, seq, prev)?;
            prev = event.id;
            events.push(event);
        }
        let at_top = events.len().checked_sub(above + 1).and_then(|at| events.get(at));
        if at_top.is_none_or(|event| event.id != top.id) {
            return Err(RangeError::NotTheTip);
        }
        check_signatures(&events, if above > 0 { Vouched::BySignature } else { vouched })?;
        Ok(events)
    }

    /// How many of its events stand above `top`; `None` where it has no place for that.
    fn above(&self, class: Class, top: Tip) -> Option<usize> {
        let count = u64::try_from(self.rows.len()).ok()?;
        let last = self.first_seq.checked_add(count.checked_sub(1)?)?;
        let above = last.checked_sub(top.seq).filter(|above| *above == 0 || class == Class::Content)?;
        let is_near = above < SIGNATURE_EVERY && (1..=top.seq).contains(&self.first_seq);
        usize::try_from(above).ok().filter(|_| is_near)
    }
}

/// Control events are each signed; content where it must be; and a signature that is there is never taken on trust.
fn check_signatures(events: &[VerifiedEvent], vouched: Vouched) -> Result<(), RangeError> {
    let last = events.len() - 1;
    for (n, event) in events.iter().enumerate() {
        let needed =
            signature_travels(event.header.class, event.header.seq) || (n == last && vouched == Vouched::BySignature);
        match &event.signature {
            Some(signature) => verify(event.header.author.as_bytes(), Domain::Event, event.id.as_bytes(), signature)
                .map_err(|e| RangeError::Event(e.into()))?,
            None if needed => return Err(RangeError::Unsigned),
            None => {}
        }
    }
    Ok(())
}

impl Row {
    /// The row of an event, with the signature that shall travel (see `signature_travels`).
    pub fn new(header: Header, body: Body, signature: Option<Signature>) -> Self {
        Row {
            kind: header.kind,
            hlc: header.hlc,
            parents: header.parents,
            body: match body {
                Body::Kept(payload) => RowBody::Kept(payload),
                Body::Erased => RowBody::Erased { len: header.payload_len, commit: header.payload_commit },
            },
            signature,
        }
    }

    fn into_event(self, room: RoomId, log: Log, seq: u64, prev: EventId) -> Result<VerifiedEvent, RangeError> {
        let (payload_len, payload_commit, body) = match self.body {
            RowBody::Kept(payload) => {
                let len = u32::try_from(payload.bytes.len()).map_err(|_| EventError::Payload)?;
                (len, payload.commit(), Body::Kept(payload))
            }
            RowBody::Erased { len, commit } => (len, commit, Body::Erased),
        };
        let mut header = Header {
            class: log.class,
            kind: self.kind,
            room,
            author: log.author,
            grant: log.grant,
            seq,
            prev,
            parents: self.parents,
            hlc: self.hlc,
            payload_len,
            payload_commit,
        };
        if header.is_grant_root() {
            header.grant = EventId::ZERO;
        }
        if header.class == Class::Control && header.kind == crate::control::kind::GENESIS {
            header.room = RoomId::ZERO;
        }
        header.check()?;
        let id = header.id();
        if header.room_of(id) != room || header.log_of(id) != log {
            return Err(RangeError::NotTheTip);
        }
        Ok(VerifiedEvent { id, header, signature: self.signature, body })
    }
}

/// Whether an inner event's signature is made, kept and sent, always: every control event's and every 256th.
pub fn signature_travels(class: Class, seq: u64) -> bool {
    class == Class::Control || seq.is_multiple_of(SIGNATURE_EVERY)
}

/// Links and signs drafts that follow one another in one log: the last, and every 256th, get a signature.
///
/// The drafts' `seq` and `prev` are set here, beginning at `first_seq` on `prev`.
///
/// # Errors
/// `CodecError` as `Draft::sign`; nothing was signed for others to see.
pub fn sign_run(
    key: &DeviceKey,
    first_seq: u64,
    prev: EventId,
    drafts: Vec<Draft>,
) -> Result<Vec<VerifiedEvent>, CodecError> {
    let count = drafts.len();
    let mut prev = prev;
    let mut events = Vec::with_capacity(count);
    for (n, (seq, mut draft)) in (first_seq..).zip(drafts).enumerate() {
        draft.seq = seq;
        draft.prev = prev;
        let vouches = n + 1 == count || signature_travels(draft.class, seq);
        let event = if vouches { draft.sign(key)? } else { draft.link(key)? };
        prev = event.id;
        events.push(event);
    }
    Ok(events)
}

impl RangeError {
    /// Whether an honest peer may have sent it: a hash named it, and an author may have named what is of another log.
    pub fn may_be_honest(&self, vouched: Vouched) -> bool {
        let is_other = matches!(self, RangeError::NotTheTip | RangeError::Event(EventError::Codec(_)));
        vouched == Vouched::ByHash && is_other
    }
}

impl Canonical for Range {
    fn write(&self, w: &mut Writer) {
        w.u64(self.first_seq);
        self.prev.write(w);
        w.length(self.rows.len());
        let mut before = Hlc(0);
        for row in &self.rows {
            w.u16(row.kind);
            // Differences compress better than clocks; wrapping, because a stranger's clock may say anything.
            w.u64(row.hlc.0.wrapping_sub(before.0));
            before = row.hlc;
            w.list(&row.parents);
            row.body.write(w);
            match &row.signature {
                Some(signature) => {
                    w.u8(1);
                    signature.write(w);
                }
                None => w.u8(0),
            }
        }
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (first_seq, prev) = (r.u64()?, EventId::read(r)?);
        let count = r.length(CHUNK_EVENTS_MAX)?;
        let mut rows = Vec::new();
        let mut before = Hlc(0);
        for _ in 0..count {
            let kind = r.u16()?;
            let hlc = Hlc(before.0.wrapping_add(r.u64()?));
            before = hlc;
            let parents = r.sorted(PARENTS_MAX)?;
            let body = RowBody::read(r)?;
            let signature = match r.u8()? {
                0 => None,
                1 => Some(Signature::read(r)?),
                _ => return Err(CodecError::Invalid("signature flag")),
            };
            rows.push(Row { kind, hlc, parents, body, signature });
        }
        Ok(Range { first_seq, prev, rows })
    }
}

impl Canonical for RowBody {
    fn write(&self, w: &mut Writer) {
        match self {
            RowBody::Kept(payload) => {
                w.u8(1);
                w.array(&payload.salt);
                w.bytes(&payload.bytes);
            }
            RowBody::Erased { len, commit } => {
                w.u8(0);
                w.u32(*len);
                w.array(commit);
            }
        }
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        match r.u8()? {
            0 => Ok(RowBody::Erased { len: r.u32()?, commit: r.array()? }),
            1 => Ok(RowBody::Kept(Payload { salt: r.array()?, bytes: r.bytes(PAYLOAD_LEN_MAX)?.to_vec() })),
            _ => Err(CodecError::Invalid("body")),
        }
    }
}

const ZSTD_LEVEL: i32 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Content;
    use crate::identity::BadSignature;

    const ROOM: RoomId = RoomId([1; 32]);
    const GRANT: EventId = EventId([2; 32]);

    fn key() -> DeviceKey {
        DeviceKey::from_seed(&[7; 32])
    }

    fn log() -> Log {
        Log { class: Class::Content, author: key().device(), grant: GRANT }
    }

    fn drafts(n: usize) -> Vec<Draft> {
        (0..n)
            .map(|n| Draft {
                class: Class::Content,
                kind: 1,
                room: ROOM,
                grant: GRANT,
                seq: 0,
                prev: EventId::ZERO,
                parents: Vec::new(),
                hlc: Hlc::at_ms(1000 + n as u64),
                payload: Payload {
                    salt: [n as u8; 16],
                    bytes: Content::Text(format!("message {n}").as_str().into()).encode(),
                },
            })
            .collect()
    }

    fn range(n: usize) -> (Range, Tip) {
        let events = sign_run(&key(), 1, EventId::ZERO, drafts(n)).unwrap();
        let top = Tip { seq: n as u64, id: events[n - 1].id() };
        let rows = events.into_iter().map(|e| Row::new(e.header, e.body, e.signature)).collect();
        (Range { first_seq: 1, prev: EventId::ZERO, rows }, top)
    }

    #[test]
    fn a_range_travels_and_verifies_under_one_signature() {
        let (range, top) = range(600);
        let signed: Vec<u64> = (1..).zip(&range.rows).filter(|(_, r)| r.signature.is_some()).map(|(s, _)| s).collect();
        assert_eq!(signed, [256, 512, 600]);
        let chunk = range.deflate().unwrap();
        let events = Range::inflate(&chunk).and_then(|r| r.verify(ROOM, log(), top, Vouched::BySignature)).unwrap();
        assert_eq!(events.len(), 600);
        assert_eq!(events[599].id(), top.id);
    }

    #[test]
    fn a_part_verifies_by_the_hash_that_names_it_but_not_as_a_tip() {
        let (whole, _) = range(100);
        let events = whole.clone().verify(ROOM, log(), range(100).1, Vouched::BySignature).unwrap();
        let part = Range { rows: whole.rows[..50].to_vec(), ..whole };
        let top = Tip { seq: 50, id: events[49].id() };
        assert_eq!(part.clone().verify(ROOM, log(), top, Vouched::ByHash).map(|e| e.len()), Ok(50));
        assert_eq!(part.verify(ROOM, log(), top, Vouched::BySignature), Err(RangeError::Unsigned));
    }

    #[test]
    fn what_is_signed_above_vouches_for_an_event_below_that_is_not() {
        let (whole, _) = range(100);
        let ids: Vec<Tip> = (1..)
            .zip(whole.clone().verify(ROOM, log(), range(100).1, Vouched::BySignature).unwrap())
            .map(|(seq, event)| Tip { seq, id: event.id() })
            .collect();
        for vouched in [Vouched::BySignature, Vouched::ByHash] {
            let events = whole.clone().verify(ROOM, log(), ids[49], vouched).unwrap();
            assert_eq!((events.len(), events[49].id()), (100, ids[49].id));
            let unsigned = Range { rows: whole.rows[..60].to_vec(), ..whole.clone() };
            assert_eq!(unsigned.verify(ROOM, log(), ids[49], vouched), Err(RangeError::Unsigned));
            let another = Tip { seq: 50, ..ids[48] };
            assert_eq!(whole.clone().verify(ROOM, log(), another, vouched), Err(RangeError::NotTheTip));
        }
        // Not more than to the next signature that always travels, nor in a control log, nor from above.
        let (long, top) = range(300);
        let events = long.clone().verify(ROOM, log(), top, Vouched::BySignature).unwrap();
        let tip = |seq: u64| Tip { seq, id: events[seq as usize - 1].id() };
        assert_eq!(long.clone().verify(ROOM, log(), tip(45), Vouched::ByHash).map(|e| e.len()), Ok(300));
        assert_eq!(long.clone().verify(ROOM, log(), tip(44), Vouched::ByHash), Err(RangeError::NotTheTip));
        let control = Log { class: Class::Control, ..log() };
        assert_eq!(long.verify(ROOM, control, tip(299), Vouched::ByHash), Err(RangeError::NotTheTip));
        let part = Range { first_seq: 51, prev: ids[49].id, rows: whole.rows[50..].to_vec() };
        assert_eq!(part.verify(ROOM, log(), ids[49], Vouched::ByHash), Err(RangeError::NotTheTip));
    }

    #[test]
    fn changed_text_time_order_or_signature_is_refused() {
        let (good, top) = range(300);
        let mut text = good.clone();
        let RowBody::Kept(payload) = &mut text.rows[10].body else { return };
        payload.bytes[0] ^= 1;
        let mut time = good.clone();
        time.rows[10].hlc = Hlc(1);
        let mut order = good.clone();
        order.rows.swap(10, 11);
        let mut early = good.clone();
        early.rows.remove(0);
        early.first_seq = 2;
        early.prev = EventId([5; 32]);
        for bad in [text, time, order, early] {
            assert_eq!(bad.verify(ROOM, log(), top, Vouched::BySignature), Err(RangeError::NotTheTip));
        }
        let mut inner = good;
        inner.rows[255].signature = Some(Signature([1; 64]));
        let refused = inner.verify(ROOM, log(), top, Vouched::BySignature);
        assert_eq!(refused, Err(RangeError::Event(EventError::Signature(BadSignature))));
    }

    #[test]
    fn a_bomb_is_refused_before_it_inflates() {
        let bomb = zstd::bulk::compress(&vec![0; 64 * CHUNK_INFLATED_MAX], 19).unwrap();
        assert!(bomb.len() < CHUNK_LEN_MAX);
        assert_eq!(Range::inflate(&bomb), Err(RangeError::Inflate));
        let claims_a_gigabyte = [0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0x40, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(Range::inflate(&claims_a_gigabyte), Err(RangeError::Inflate));
    }

    #[test]
    fn an_erased_row_keeps_the_chain_whole() {
        let (mut range, top) = range(20);
        let RowBody::Kept(payload) = &range.rows[3].body else { return };
        range.rows[3].body = RowBody::Erased { len: payload.bytes.len() as u32, commit: payload.commit() };
        let events = range.verify(ROOM, log(), top, Vouched::BySignature).unwrap();
        assert_eq!(events[3].body(), &Body::Erased);
    }

    #[test]
    fn seq_at_the_end_of_numbers_does_not_overflow() {
        let (mut range, mut top) = range(3);
        range.first_seq = u64::MAX;
        top.seq = 1;
        assert_eq!(range.verify(ROOM, log(), top, Vouched::ByHash), Err(RangeError::NotTheTip));
    }
}
