//! A node in memory: what it holds, kept as a store keeps it.

use super::world::{Event, World};
use crate::beacon::SignedBeacon;
use crate::codec::encode;
use crate::control::payload::RoomKind;
use crate::event::{Body, Class, Hlc, SignedEvent, VerifiedEvent};
use crate::id::{DeviceId, EventId, RoomId};
use crate::identity::Signature;
use crate::limits::{CHUNK_EVENTS_MAX, CHUNK_FILL_LEN};
use crate::log::{Log, LogState, Run, Tip};
use crate::range::{Range, RangeError, Row, Vouched, signature_travels};
use crate::slots::Slots;
use crate::sync::{Agreed, Chunk, Credential, Digests, Holdings, Missing, Offer, Unavailable, inner_secret};
use crate::wire::Head;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// A node with its history of some rooms.
#[derive(Clone, Default)]
pub(super) struct Node {
    rooms: BTreeMap<RoomId, Held>,
    /// What was agreed with the one peer that it has.
    pub(super) agreements: BTreeMap<RoomId, Agreed>,
    /// How often it can still say so.
    pub(super) remembers: Cell<usize>,
    /// Devices of members.
    pub(super) current: BTreeSet<DeviceId>,
    /// Devices that were members' and may be again.
    pub(super) returning: BTreeSet<DeviceId>,
    /// It has not heard of any author of what is missing.
    pub(super) knows_no_author: bool,
    /// Rooms that another conversation is fetching.
    pub(super) leased: BTreeSet<RoomId>,
    /// Content that came before its grant did.
    pub(super) came_early: usize,
    /// Ids in the order in which they came.
    pub(super) arrived: Vec<EventId>,
    /// Fails every question from now on.
    pub(super) broken: bool,
    /// Smaller chunks than could be.
    pub(super) chunk_events_max: Option<usize>,
    /// It takes no events of this class.
    pub(super) refuses: Option<Class>,
    /// The signature with which it sends tips of content.
    pub(super) forged_tip: Option<Option<Signature>>,
    /// Heads listed and events served so far.
    pub(super) work: Cell<usize>,
    /// The beacons of its only room, if it has such.
    pub(super) slots: Slots,
}

/// What is held of one room.
#[derive(Clone, Default)]
struct Held {
    change: u64,
    events: BTreeMap<EventId, Event>,
    logs: BTreeMap<Log, LogRow>,
    digests: RefCell<Option<Digests>>,
}

#[derive(Clone, Default)]
struct LogRow {
    state: LogState,
    moved: u64,
}

impl Held {
    /// The tips to tell; of what lies below a hole, the highest event that has a signature.
    fn heads(&self, row: &LogRow) -> BTreeSet<Tip> {
        let mut heads = BTreeSet::new();
        for tip in row.state.tips() {
            let mut event = self.events.get(&tip.id);
            while tip.seq <= row.state.covered() && event.is_some_and(|event| event.signature().is_none()) {
                event = event.and_then(|event| self.events.get(&event.header().prev));
            }
            heads.extend(event.map(|event| Tip { seq: event.header().seq, id: event.id() }));
        }
        heads
    }
}

impl Node {
    /// A node that holds nothing.
    pub(super) fn new() -> Node {
        Node { remembers: Cell::new(usize::MAX), ..Node::default() }
    }

    /// A node that holds all of a world.
    pub(super) fn with(world: &World) -> Node {
        let mut node = Node::new();
        node.take(&world.control);
        for log in &world.logs {
            node.take(log);
        }
        node
    }

    /// What it would offer of a world's room, as this device.
    pub(super) fn offer(&self, world: &World, credential: Option<Credential>) -> Offer {
        let joining = world.kind != RoomKind::Public && !self.rooms.contains_key(&world.room);
        Offer {
            room: world.room,
            kind: world.kind,
            secret: world.secret,
            inner: (world.kind != RoomKind::Public && !joining).then(|| world.inner()),
            credential,
            introduction: Vec::new(),
            joining,
        }
    }

    /// The offer of a room whose genesis has come meanwhile.
    pub(super) fn renewed(&self, offer: &Offer) -> Option<Offer> {
        let genesis = self.event(offer.room, EventId(*offer.room.as_bytes())).filter(|_| offer.joining)?;
        let Body::Kept(payload) = genesis.body() else { return None };
        let inner = Some(inner_secret(offer.room, &offer.secret, &payload.salt));
        Some(Offer { joining: false, inner, ..offer.clone() })
    }

    /// Takes consecutive events of one branch, ascending. Returns whether anything was new.
    pub(super) fn take(&mut self, events: &[Event]) -> bool {
        let mut new = false;
        let mut run: Vec<Event> = Vec::new();
        for event in events {
            if self.event(event.room(), event.id()).is_some() {
                new |= self.take_run(&std::mem::take(&mut run));
            } else {
                run.push(event.clone());
            }
        }
        new | self.take_run(&run)
    }

    fn take_run(&mut self, run: &[Event]) -> bool {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return false };
        let log = last.log();
        if self.refuses == Some(log.class) {
            return false;
        }
        let room = self.rooms.entry(last.room()).or_default();
        if log.class == Class::Content && !room.events.contains_key(&log.grant) {
            self.came_early += 1;
            return false;
        }
        let (prev, top) = (first.header().prev, Tip { seq: last.header().seq, id: last.id() });
        let prev_held = room.events.contains_key(&prev);
        let row = room.logs.entry(log).or_default();
        if row.state.insert(Run { first_seq: first.header().seq, prev, prev_held, top }, 0).is_err() {
            return false;
        }
        room.change += 1;
        row.moved = room.change;
        room.digests.replace(None);
        room.events.extend(run.iter().map(|e| (e.id(), e.clone())));
        self.arrived.extend(run.iter().map(|e| e.id()));
        true
    }

    /// All ids held of a room.
    pub(super) fn ids(&self, room: RoomId) -> BTreeSet<EventId> {
        self.rooms.get(&room).map(|r| r.events.keys().copied().collect()).unwrap_or_default()
    }

    pub(super) fn event(&self, room: RoomId, id: EventId) -> Option<&Event> {
        self.rooms.get(&room)?.events.get(&id)
    }

    pub(super) fn state(&self, room: RoomId, log: &Log) -> Option<&LogState> {
        Some(&self.rooms.get(&room)?.logs.get(log)?.state)
    }

    /// The heads of one log now.
    pub(super) fn heads_of(&self, room: RoomId, log: &Log) -> Vec<Head> {
        let all = self.heads(room, log.class, 0).unwrap();
        all.into_iter().filter(|h| h.log(log.class) == *log).collect()
    }

    /// Forgets events that only a backup lacks: everything but these.
    pub(super) fn only(&self, keep: impl Fn(&VerifiedEvent) -> bool) -> Node {
        let mut node = Node { current: self.current.clone(), ..Node::new() };
        for room in self.rooms.values() {
            let mut events: Vec<&Event> = room.events.values().filter(|e| keep(e)).collect();
            events.sort_by_key(|e| (e.log().class, e.log(), e.header().seq));
            for event in events {
                node.take(std::slice::from_ref(event));
            }
        }
        node.arrived.clear();
        node
    }

    /// All logs seem to have moved long ago.
    pub(super) fn hide_moves(&mut self, room: RoomId) {
        self.rooms.get_mut(&room).into_iter().flat_map(|r| r.logs.values_mut()).for_each(|row| row.moved = 1);
    }

    fn answers(&self) -> Result<(), Unavailable> {
        if self.broken { Err(Unavailable) } else { Ok(()) }
    }

    fn walk(&self, room: &Held, top: Tip, down_to: u64) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        let mut len = 0;
        let mut next = room.events.get(&top.id).filter(|e| e.header().seq == top.seq);
        while let Some(event) = next {
            len += 40 + event.header().payload_len as usize;
            events.push(event.clone());
            let is_full = len >= CHUNK_FILL_LEN || events.len() >= self.chunk_events_max.unwrap_or(CHUNK_EVENTS_MAX);
            if is_full || event.header().seq <= down_to.max(1) {
                break;
            }
            next = room.events.get(&event.header().prev);
        }
        events
    }
}

impl Holdings for Node {
    fn digests(&self, room: RoomId) -> Result<Digests, Unavailable> {
        self.answers()?;
        let nothing = Held::default();
        let held = self.rooms.get(&room).unwrap_or(&nothing);
        if let Some(digests) = *held.digests.borrow() {
            return Ok(digests);
        }
        let digest = |class: Class| {
            let mut hasher = blake3::Hasher::new();
            for (log, row) in held.logs.iter().filter(|(log, _)| log.class == class) {
                for tip in held.heads(row) {
                    hasher.update(&[log.author.0, log.grant.0, tip.id.0].concat());
                }
            }
            *hasher.finalize().as_bytes()
        };
        let digests = Digests { control: digest(Class::Control), content: digest(Class::Content), change: held.change };
        held.digests.replace(Some(digests));
        Ok(digests)
    }

    fn agreement(&self, room: RoomId) -> Result<Option<Agreed>, Unavailable> {
        self.answers()?;
        let answers = self.remembers.replace(self.remembers.get().saturating_sub(1));
        Ok(self.agreements.get(&room).copied().filter(|_| answers > 0))
    }

    fn heads(&self, room: RoomId, class: Class, since: u64) -> Result<Vec<Head>, Unavailable> {
        self.answers()?;
        let Some(held) = self.rooms.get(&room) else { return Ok(Vec::new()) };
        let mut heads = Vec::new();
        for (log, row) in held.logs.iter().filter(|(log, row)| log.class == class && row.moved > since) {
            heads.extend(held.heads(row).into_iter().map(|tip| {
                let hlc = held.events.get(&tip.id).map_or(Hlc(0), |e| e.header().hlc);
                Head { author: log.author, grant: log.grant, tip, hlc }
            }));
        }
        self.work.set(self.work.get() + heads.len());
        Ok(heads)
    }

    fn missing(&self, room: RoomId, class: Class, heads: &[Head]) -> Result<Vec<Missing>, Unavailable> {
        self.answers()?;
        let lacks = |h: &&Head| self.event(room, h.tip.id).is_none();
        Ok(heads
            .iter()
            .filter(lacks)
            .map(|head| {
                let log = head.log(class);
                let above = self.state(room, &log).map_or(0, |state| state.missing_above(head.tip.seq));
                Missing {
                    log,
                    top: head.tip,
                    above,
                    hlc: head.hlc,
                    vouched: Vouched::BySignature,
                    known: !self.knows_no_author,
                }
            })
            .collect())
    }

    fn holes(&self, room: RoomId, of: Option<&Log>) -> Result<Vec<Missing>, Unavailable> {
        self.answers()?;
        let Some(held) = self.rooms.get(&room) else { return Ok(Vec::new()) };
        let mut missing = Vec::new();
        for (log, row) in
            held.logs.iter().filter(|(log, _)| log.class == Class::Content && of.is_none_or(|of| of == *log))
        {
            let holes = row.state.holes().iter();
            missing.extend(holes.map(|h| Missing {
                log: *log,
                top: h.top,
                above: h.above,
                hlc: Hlc(0),
                vouched: Vouched::ByHash,
                known: true,
            }));
        }
        Ok(missing)
    }

    fn holds(&self, room: RoomId, id: EventId) -> Result<bool, Unavailable> {
        self.answers()?;
        Ok(self.event(room, id).is_some())
    }

    fn chunk(&self, room: RoomId, top: Tip, down_to: u64) -> Result<Option<Chunk>, Unavailable> {
        self.answers()?;
        let Some(held) = self.rooms.get(&room) else { return Ok(None) };
        let mut events = self.walk(held, top, down_to);
        self.work.set(self.work.get() + events.len());
        loop {
            let Some(lowest) = events.last() else { return Ok(None) };
            let (first_seq, prev) = (lowest.header().seq, lowest.header().prev);
            let lowest_log = lowest.log();
            let row = |event: &Event| {
                let travels = event.id() == top.id || signature_travels(event.header().class, event.header().seq);
                let mut signature = event.signature().copied().filter(|_| travels);
                if let Some(forged) =
                    self.forged_tip.filter(|_| event.log().class == Class::Content && event.id() == top.id)
                {
                    signature = forged;
                }
                Row::new(event.header().clone(), event.body().clone(), signature)
            };
            let rows = events.iter().rev().map(row).collect();
            if let Some(bytes) = (Range { first_seq, prev, rows }).deflate() {
                return Ok(Some(Chunk { log: lowest_log, bytes, first_seq, prev }));
            }
            events.truncate(events.len() / 2);
        }
    }

    fn may_hear(&self, room: RoomId, device: DeviceId) -> Result<bool, Unavailable> {
        Ok(self.is_current_device(room, device)? || self.returning.contains(&device))
    }

    fn is_current_device(&self, room: RoomId, device: DeviceId) -> Result<bool, Unavailable> {
        self.answers()?;
        // Who holds nothing of the room knows nobody in it.
        Ok(self.current.contains(&device) && self.rooms.contains_key(&room))
    }

    fn beacons(&self, _: RoomId) -> Result<Vec<SignedBeacon>, Unavailable> {
        self.answers()?;
        Ok(self.slots.kept())
    }

    fn beacons_fingerprint(&self, _: RoomId) -> Result<[u8; 32], Unavailable> {
        self.answers()?;
        Ok(self.slots.fingerprint())
    }

    fn may_fetch(&self, room: RoomId) -> bool {
        !self.leased.contains(&room)
    }
}

/// Verifies a range.
pub(super) fn verify(
    room: RoomId,
    log: Log,
    top: Tip,
    vouched: Vouched,
    range: Range,
) -> Result<Vec<Event>, RangeError> {
    let by_hash = [u8::from(vouched == Vouched::ByHash)];
    let all = [&room.0[..], &encode(&log), &encode(&top), &by_hash, &encode(&range)].concat();
    once(&all, || Ok(range.verify(room, log, top, vouched)?.into_iter().map(Arc::new).collect()))
}

/// Verifies an event that travelled alone.
pub(super) fn verify_alone(bytes: &[u8]) -> Event {
    let verified = once(bytes, || Ok(vec![Arc::new(SignedEvent::decode(bytes)?.verify()?)]));
    verified.unwrap().remove(0)
}

/// Successes are remembered by all that was verified: unoptimised, a signature takes ten milliseconds.
fn once(all: &[u8], check: impl FnOnce() -> Result<Vec<Event>, RangeError>) -> Result<Vec<Event>, RangeError> {
    static VERIFIED: Mutex<BTreeMap<[u8; 32], Vec<Event>>> = Mutex::new(BTreeMap::new());
    let key = *blake3::hash(all).as_bytes();
    if let Some(events) = VERIFIED.lock().unwrap().get(&key) {
        return Ok(events.clone());
    }
    let events = check()?;
    VERIFIED.lock().unwrap().insert(key, events.clone());
    Ok(events)
}
