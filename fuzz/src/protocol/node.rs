//! What a node holds of a world, kept as a store keeps it, and small enough to be made anew for every input.

use super::world::World;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use tidings_protocol::beacon::SignedBeacon;
use tidings_protocol::event::{Class, VerifiedEvent};
use tidings_protocol::id::{DeviceId, EventId, RoomId};
use tidings_protocol::log::{Log, LogState, Run, Tip};
use tidings_protocol::range::{Range, Row, Vouched, signature_travels};
use tidings_protocol::slots::{Slots, Weighed};
use tidings_protocol::sync::{Agreed, Chunk, Digests, Holdings, Missing, Unavailable};
use tidings_protocol::wire::Head;

/// A node that holds a part of one room.
pub struct Node {
    world: &'static World,
    ids: BTreeSet<EventId>,
    logs: BTreeMap<Log, (LogState, u64)>,
    change: u64,
    digests: RefCell<Option<Digests>>,
    slots: Slots,
    /// What was agreed with the peer.
    pub agreed: Option<Agreed>,
    /// Devices that are let in.
    pub current: BTreeSet<DeviceId>,
    /// Another conversation fetches the room's content.
    pub leased: bool,
    /// Nothing can be read any more.
    pub broken: Cell<bool>,
}

impl Node {
    /// One that knows the members, and holds nothing.
    pub fn new(world: &'static World) -> Node {
        Node {
            world,
            ids: BTreeSet::new(),
            logs: BTreeMap::new(),
            change: 0,
            digests: RefCell::new(None),
            slots: Slots::default(),
            agreed: None,
            current: world.members().collect(),
            leased: false,
            broken: Cell::new(false),
        }
    }

    /// Takes those events of the world of which this is true, and as many of its beacons.
    pub fn take_some(&mut self, of: impl Fn(&VerifiedEvent) -> bool, beacons: usize) {
        let world = self.world;
        for event in world.events.iter().filter(|event| of(event)) {
            self.take(event);
        }
        world.beacons.iter().take(beacons).for_each(|beacon| self.take_beacon(beacon.clone()).unwrap());
    }

    /// Takes an event, which has to be one of the world: nobody else can make one. Whether it is new.
    pub fn take(&mut self, event: &VerifiedEvent) -> bool {
        assert!(self.world.by_id.contains_key(&event.id()), "{} was never said", event.id());
        let (log, header) = (event.log(), event.header());
        if self.ids.contains(&event.id()) || (log.class == Class::Content && !self.ids.contains(&log.grant)) {
            return false;
        }
        let top = Tip { seq: header.seq, id: event.id() };
        let run = Run { first_seq: header.seq, prev: header.prev, prev_held: self.ids.contains(&header.prev), top };
        let (state, moved) = self.logs.entry(log).or_default();
        if state.insert_of(log.class, run, 0).is_err() {
            return false;
        }
        self.change += 1;
        *moved = self.change;
        self.digests.replace(None);
        self.ids.insert(event.id())
    }

    /// Takes a beacon; an error where it is false.
    pub fn take_beacon(&mut self, beacon: SignedBeacon) -> Result<(), ()> {
        if self.slots.weigh(&beacon, super::world::NOW_MS) == Weighed::New {
            let known = self.world.beacons.contains(&beacon);
            let verified = beacon.verify(self.world.room).map_err(drop)?;
            assert!(known, "a beacon that nobody said");
            self.slots.take(verified);
        }
        Ok(())
    }

    pub fn ids(&self) -> &BTreeSet<EventId> {
        &self.ids
    }

    fn find(&self, id: EventId) -> Option<&'static VerifiedEvent> {
        self.world.find(id).filter(|_| self.ids.contains(&id))
    }

    fn answers(&self, room: RoomId) -> Result<bool, Unavailable> {
        if self.broken.get() { Err(Unavailable) } else { Ok(room == self.world.room) }
    }

    fn digest(&self, class: Class) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for (log, (state, _)) in self.logs.iter().filter(|(log, _)| log.class == class) {
            for tip in state.tips() {
                hasher.update(&[log.author.0, log.grant.0, tip.id.0].concat());
            }
        }
        *hasher.finalize().as_bytes()
    }
}

impl Holdings for Node {
    fn digests(&self, room: RoomId) -> Result<Digests, Unavailable> {
        if !self.answers(room)? {
            return Ok(Digests { control: [0; 32], content: [0; 32], change: 0 });
        }
        let (control, content) = (self.digest(Class::Control), self.digest(Class::Content));
        let mut known = self.digests.borrow_mut();
        Ok(*known.get_or_insert(Digests { control, content, change: self.change }))
    }

    fn agreement(&self, room: RoomId) -> Result<Option<Agreed>, Unavailable> {
        Ok(self.agreed.filter(|_| self.answers(room) == Ok(true)))
    }

    fn heads(&self, room: RoomId, class: Class, since: u64) -> Result<Vec<Head>, Unavailable> {
        if !self.answers(room)? {
            return Ok(Vec::new());
        }
        let logs = self.logs.iter().filter(|(log, (_, moved))| log.class == class && *moved > since);
        let heads = logs.flat_map(|(log, (state, _))| state.tips().iter().map(move |tip| (log, *tip)));
        let heads = heads.filter_map(|(log, tip)| {
            let hlc = self.find(tip.id)?.header().hlc;
            Some(Head { author: log.author, grant: log.grant, tip, hlc })
        });
        Ok(heads.collect())
    }

    fn missing(&self, room: RoomId, class: Class, heads: &[Head]) -> Result<Vec<Missing>, Unavailable> {
        let is_ours = self.answers(room)?;
        let lacked = heads.iter().filter(|head| is_ours && !self.ids.contains(&head.tip.id));
        let missing = lacked.map(|head| {
            let log = head.log(class);
            let above = self.logs.get(&log).map_or(0, |(state, _)| state.missing_above(head.tip.seq));
            let known = self.current.contains(&log.author);
            Missing { log, top: head.tip, above, hlc: head.hlc, vouched: Vouched::BySignature, known }
        });
        Ok(missing.collect())
    }

    fn holes(&self, room: RoomId, of: Option<&Log>) -> Result<Vec<Missing>, Unavailable> {
        let is_ours = self.answers(room)?;
        let logs = self.logs.iter().filter(|(log, _)| is_ours && log.class == Class::Content);
        let logs = logs.filter(|(log, _)| of.is_none_or(|of| of == *log));
        let (hlc, vouched, known) = (tidings_protocol::event::Hlc(0), Vouched::ByHash, true);
        let holes = logs.flat_map(|(log, (state, _))| state.holes().iter().map(move |hole| (log, hole)));
        let missing =
            holes.map(|(log, hole)| Missing { log: *log, top: hole.top, above: hole.above, hlc, vouched, known });
        Ok(missing.collect())
    }

    fn holds(&self, room: RoomId, id: EventId) -> Result<bool, Unavailable> {
        Ok(self.answers(room)? && self.ids.contains(&id))
    }

    fn chunk(&self, room: RoomId, top: Tip, down_to: u64) -> Result<Option<Chunk>, Unavailable> {
        if !self.answers(room)? {
            return Ok(None);
        }
        let mut rows = Vec::new();
        let mut next = self.find(top.id).filter(|event| event.header().seq == top.seq);
        let mut lowest = None;
        while let Some(event) = next.filter(|_| rows.len() < CHUNK_EVENTS) {
            let header = event.header();
            let travels = event.id() == top.id || signature_travels(header.class, header.seq);
            let signature = event.signature().copied().filter(|_| travels);
            rows.push(Row::new(header.clone(), event.body().clone(), signature));
            lowest = Some((event.log(), header.seq, header.prev));
            next = self.find(header.prev).filter(|_| header.seq > down_to.max(1));
        }
        let Some((log, first_seq, prev)) = lowest else { return Ok(None) };
        rows.reverse();
        let bytes = Range { first_seq, prev, rows }.deflate().unwrap();
        Ok(Some(Chunk { log, bytes, first_seq, prev }))
    }

    fn may_hear(&self, room: RoomId, device: DeviceId) -> Result<bool, Unavailable> {
        self.is_current_device(room, device)
    }

    fn is_current_device(&self, room: RoomId, device: DeviceId) -> Result<bool, Unavailable> {
        // Who holds nothing of the room knows nobody in it.
        Ok(self.answers(room)? && !self.ids.is_empty() && self.current.contains(&device))
    }

    fn beacons(&self, room: RoomId) -> Result<Vec<SignedBeacon>, Unavailable> {
        Ok(if self.answers(room)? { self.slots.kept() } else { Vec::new() })
    }

    fn beacons_fingerprint(&self, _: RoomId) -> Result<[u8; 32], Unavailable> {
        Ok(self.slots.fingerprint())
    }

    fn may_fetch(&self, _: RoomId) -> bool {
        !self.leased
    }
}

/// Few, so that a log is several.
const CHUNK_EVENTS: usize = 24;
