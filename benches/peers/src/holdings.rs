//! A room of many logs in memory, as the sync conversation asks for it: heads of all of them, events only of those that moved.

use crate::Result;
use std::collections::{BTreeMap, HashMap};
use tidings_protocol::beacon::SignedBeacon;
use tidings_protocol::content::Content;
use tidings_protocol::event::{Class, Draft, Hlc, Payload, VerifiedEvent};
use tidings_protocol::id::{DeviceId, EventId, RoomId};
use tidings_protocol::identity::DeviceKey;
use tidings_protocol::limits::{CHUNK_EVENTS_MAX, CHUNK_FILL_LEN};
use tidings_protocol::log::{Log, LogState, Run, Tip};
use tidings_protocol::range::{Range, Row, Vouched, sign_run, signature_travels};
use tidings_protocol::sync::{Agreed, Chunk, Digests, Holdings, Missing, Unavailable};
use tidings_protocol::wire::Head;

type Answer<T> = std::result::Result<T, Unavailable>;

pub const ROOM: RoomId = RoomId([1; 32]);

/// Somebody who speaks in the room, and how much they have said.
#[derive(Clone)]
pub struct Author {
    pub name: String,
    pub seq: u64,
    pub ts: u64,
}

impl Author {
    fn key(&self) -> DeviceKey {
        DeviceKey::from_seed(&blake3::derive_key("tidings-bench author", self.name.as_bytes()))
    }

    pub fn log(&self) -> Log {
        let grant = EventId(blake3::derive_key("tidings-bench grant", self.name.as_bytes()));
        Log { class: Class::Content, author: self.key().device(), grant }
    }

    /// Names what they said last.
    fn tip(&self) -> Tip {
        let id = blake3::hash(format!("{} {}", self.name, self.seq).as_bytes());
        Tip { seq: self.seq, id: EventId(*id.as_bytes()) }
    }

    /// What they say next.
    pub fn say(&self, texts: &[&str]) -> Result<Vec<VerifiedEvent>> {
        let (log, tip) = (self.log(), self.tip());
        let mut hlc = Hlc::at_ms(self.ts);
        let mut drafts = Vec::with_capacity(texts.len());
        for text in texts {
            hlc = hlc.tick(self.ts);
            let content = Content::Text((*text).into());
            let payload = Payload { salt: [1; 16], bytes: content.encode() };
            let (class, kind, parents) = (Class::Content, content.kind(), Vec::new());
            let (seq, prev) = (0, EventId::ZERO);
            drafts.push(Draft { class, kind, room: ROOM, grant: log.grant, seq, prev, parents, hlc, payload });
        }
        Ok(sign_run(&self.key(), tip.seq + 1, tip.id, drafts)?)
    }
}

#[derive(Clone, Default)]
struct Branches {
    state: LogState,
    moved: u64,
}

/// What one of two nodes holds of the room.
#[derive(Clone, Default)]
pub struct Held {
    logs: BTreeMap<Log, Branches>,
    clocks: HashMap<EventId, Hlc>,
    events: HashMap<EventId, VerifiedEvent>,
    change: u64,
    digest: [u8; 32],
    /// What was agreed with the other before.
    pub agreed: Option<Agreed>,
}

impl Held {
    /// Holds all that these have said.
    pub fn of(authors: &[Author]) -> Result<Held> {
        let mut held = Held::default();
        for author in authors {
            held.insert(author.log(), Run { first_seq: 1, prev: EventId::ZERO, prev_held: false, top: author.tip() })?;
            held.clocks.insert(author.tip().id, Hlc::at_ms(author.ts));
        }
        held.hash();
        Ok(held)
    }

    /// Takes consecutive events of one log.
    pub fn take(&mut self, log: Log, events: Vec<VerifiedEvent>) -> Result<()> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(()) };
        let (prev, top) = (first.header().prev, Tip { seq: last.header().seq, id: last.id() });
        let prev_held = self.clocks.contains_key(&prev);
        self.insert(log, Run { first_seq: first.header().seq, prev, prev_held, top })?;
        for event in events {
            self.clocks.insert(event.id(), event.header().hlc);
            self.events.insert(event.id(), event);
        }
        self.hash();
        Ok(())
    }

    fn insert(&mut self, log: Log, run: Run) -> Result<()> {
        self.change += 1;
        let row = self.logs.entry(log).or_default();
        row.moved = self.change;
        Ok(row.state.insert(run, 0)?)
    }

    fn hash(&mut self) {
        let mut hasher = blake3::Hasher::new();
        for (log, row) in &self.logs {
            for tip in row.state.tips() {
                hasher.update(&log.author.0).update(&log.grant.0).update(&tip.id.0);
            }
        }
        self.digest = *hasher.finalize().as_bytes();
    }

    /// The heads of all logs.
    pub fn all_heads(&self) -> Vec<Head> {
        self.heads_since(0)
    }

    fn heads_since(&self, since: u64) -> Vec<Head> {
        let moved = self.logs.iter().filter(|(_, row)| row.moved > since);
        let heads = moved.flat_map(|(log, row)| row.state.tips().iter().map(move |tip| (log, *tip)));
        let clock = |tip: &Tip| self.clocks.get(&tip.id).copied().unwrap_or(Hlc(0));
        heads.map(|(log, tip)| Head { author: log.author, grant: log.grant, tip, hlc: clock(&tip) }).collect()
    }

    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

impl Holdings for Held {
    fn digests(&self, _: RoomId) -> Answer<Digests> {
        Ok(Digests { control: [0; 32], content: self.digest, change: self.change })
    }
    fn agreement(&self, _: RoomId) -> Answer<Option<Agreed>> {
        Ok(self.agreed)
    }
    fn heads(&self, _: RoomId, class: Class, since: u64) -> Answer<Vec<Head>> {
        Ok(if class == Class::Content { self.heads_since(since) } else { Vec::new() })
    }
    fn missing(&self, _: RoomId, class: Class, heads: &[Head]) -> Answer<Vec<Missing>> {
        let lacks = heads.iter().filter(|head| !self.clocks.contains_key(&head.tip.id));
        let missing = |head: &Head| {
            let log = head.log(class);
            let above = self.logs.get(&log).map_or(0, |row| row.state.missing_above(head.tip.seq));
            Missing { log, top: head.tip, above, hlc: head.hlc, vouched: Vouched::BySignature, known: true }
        };
        Ok(lacks.map(missing).collect())
    }
    fn holes(&self, _: RoomId, _: Option<&Log>) -> Answer<Vec<Missing>> {
        Ok(Vec::new())
    }
    fn holds(&self, _: RoomId, id: EventId) -> Answer<bool> {
        Ok(self.clocks.contains_key(&id))
    }
    fn chunk(&self, _: RoomId, top: Tip, down_to: u64) -> Answer<Option<Chunk>> {
        let (mut events, mut len, mut next) = (Vec::new(), 0, self.events.get(&top.id));
        while let Some(event) = next {
            len += 40 + event.header().payload_len as usize;
            events.push(event);
            if len >= CHUNK_FILL_LEN || events.len() >= CHUNK_EVENTS_MAX || event.header().seq <= down_to.max(1) {
                break;
            }
            next = self.events.get(&event.header().prev);
        }
        let Some(lowest) = events.last() else { return Ok(None) };
        let (first_seq, prev, log) = (lowest.header().seq, lowest.header().prev, lowest.log());
        let row = |event: &&VerifiedEvent| {
            let travels = event.id() == top.id || signature_travels(event.header().class, event.header().seq);
            let signature = event.signature().copied().filter(|_| travels);
            Row::new(event.header().clone(), event.body().clone(), signature)
        };
        let rows = events.iter().rev().map(row).collect();
        Ok((Range { first_seq, prev, rows }).deflate().map(|bytes| Chunk { log, bytes, first_seq, prev }))
    }
    fn may_hear(&self, _: RoomId, _: DeviceId) -> Answer<bool> {
        Ok(false)
    }
    fn is_current_device(&self, _: RoomId, _: DeviceId) -> Answer<bool> {
        Ok(false)
    }
    fn beacons(&self, _: RoomId) -> Answer<Vec<SignedBeacon>> {
        Ok(Vec::new())
    }
    fn beacons_fingerprint(&self, _: RoomId) -> Answer<[u8; 32]> {
        Ok([0; 32])
    }
    fn may_fetch(&self, _: RoomId) -> bool {
        true
    }
}
