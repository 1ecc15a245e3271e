//! What the sync conversation asks of this node, answered from the store and the rooms' views.

use super::leases::Leases;
use crate::beacons::Beacons;
use crate::effective;
use crate::purge::heads_to_tell;
use crate::rooms::{RoomView, Views};
use crate::sync::given_up::{self, GivenUp};
use crate::trim::{Budget, ReadBack};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tidings_protocol::beacon::SignedBeacon;
use tidings_protocol::codec::encode;
use tidings_protocol::event::{Class, Hlc};
use tidings_protocol::id::{DeviceId, EventId, RoomId};
use tidings_protocol::limits::{CHUNK_FILL_LEN, FIRST_SLICE_EVENTS};
use tidings_protocol::log::{Hole, Log, Tip};
use tidings_protocol::range::Vouched;
use tidings_protocol::sync::{Agreed, Chunk, Digests, Holdings, Missing, Unavailable};
use tidings_protocol::wire::Head;
use tidings_storage::{LogRow, StorageError, Store};

/// What is held, towards one peer.
pub struct NodeHoldings {
    /// The history.
    pub store: Store,
    /// The rooms.
    pub views: Views,
    /// The peer's id.
    pub peer: Vec<u8>,
    /// Who fetches which room's content.
    pub leases: Leases,
    /// Digests, while nothing has changed.
    pub digests: DigestCache,
    /// The beacons.
    pub beacons: Beacons,
    /// What somebody reads back to.
    pub read_back: ReadBack,
    /// What the peer has and we gave up.
    pub given_up: GivenUp,
    /// How much of the disk may be used.
    pub budget: Arc<Budget>,
}

/// The content digest of each room at its last change.
pub type DigestCache = Arc<Mutex<HashMap<RoomId, (u64, [u8; 32])>>>;

impl NodeHoldings {
    fn view(&self, room: RoomId) -> Result<Arc<RoomView>, Unavailable> {
        self.views.find(room).ok_or(Unavailable)
    }

    /// The heads of content logs that are held, whether or not what they say was purged here.
    fn held_heads(&self, view: &RoomView) -> Result<Vec<Head>, Unavailable> {
        let mut heads = Vec::new();
        for (log, row) in self.content_logs(view)? {
            heads.extend(effective::heads_of(&self.store, view, &log, &row).map_err(unavailable)?);
        }
        Ok(heads)
    }

    /// What the peer told and we do not have, of logs that are trimmed still.
    fn given_up_now(&self, room: RoomId, view: &RoomView) -> Result<Vec<(Log, Tip)>, Unavailable> {
        let mut given_up = self.given_up.heads(room);
        let mut floors: HashMap<Log, bool> = HashMap::new();
        for (log, _) in &given_up {
            if !floors.contains_key(log) {
                let row = self.store.log(view.number, log).map_err(unavailable)?;
                floors.insert(*log, row.is_some_and(|row| row.state.floor() > 0));
            }
        }
        given_up.retain(|(log, _)| floors.get(log) == Some(&true));
        Ok(given_up)
    }

    /// How old what is missing is, about: what is newest is fetched first.
    fn clock_of(&self, row: &LogRow, hole: &Hole) -> Result<Hlc, Unavailable> {
        let above = self.store.clock_above(row, hole.top).map_err(unavailable)?;
        Ok(above.map_or(row.hlc, Hlc))
    }

    fn reads_back(&self, room: RoomId, row: &LogRow, hole: &Hole) -> bool {
        row.state.is_trimmed(hole) && self.read_back.wants(room, hole.top.id)
    }

    fn content_logs(&self, view: &RoomView) -> Result<Vec<(Log, LogRow)>, Unavailable> {
        self.store.logs(view.number, Class::Content).map_err(unavailable)
    }
}

impl Holdings for NodeHoldings {
    fn digests(&self, room: RoomId) -> Result<Digests, Unavailable> {
        let view = self.view(room)?;
        // The view may be a moment behind the store: then what is computed is not worth keeping.
        let change = view.row.change;
        let settled = self.store.room(view.number).map_err(unavailable)?.is_some_and(|row| row.change == change);
        let control = hash_heads(&view.control_heads);
        let given_up = self.given_up_now(room, &view)?;
        if !given_up.is_empty() {
            if let Some(content) = self.given_up.digest(room, change).filter(|_| settled) {
                return Ok(Digests { control, content, change });
            }
            let content = hash_heads(&given_up::with(self.held_heads(&view)?, &given_up));
            if settled {
                self.given_up.keep_digest(room, change, content);
            }
            return Ok(Digests { control, content, change });
        }
        let cached = self.digests.lock().unwrap_or_else(PoisonError::into_inner).get(&room).copied();
        if let Some((_, content)) = cached.filter(|(at, _)| settled && *at == change) {
            return Ok(Digests { control, content, change });
        }
        let content = hash_heads(&self.held_heads(&view)?);
        if settled {
            self.digests.lock().unwrap_or_else(PoisonError::into_inner).insert(room, (change, content));
        }
        Ok(Digests { control, content, change })
    }

    fn agreement(&self, room: RoomId) -> Result<Option<Agreed>, Unavailable> {
        let view = self.view(room)?;
        let agreement = self.store.agreement(view.number, &self.peer).map_err(unavailable)?;
        Ok(agreement.map(|a| Agreed { token: a.token, change: a.change }))
    }

    fn heads(&self, room: RoomId, class: Class, since: u64) -> Result<Vec<Head>, Unavailable> {
        let view = self.view(room)?;
        if class == Class::Control && since == 0 {
            return Ok(view.control_heads.to_vec());
        }
        if class == Class::Control {
            let logs = self.store.logs(view.number, class).map_err(unavailable)?;
            let moved = |head: &&Head| logs.iter().any(|(l, row)| *l == head.log(class) && row.moved > since);
            return Ok(view.control_heads.iter().filter(moved).copied().collect());
        }
        if since == 0 {
            self.given_up.forget(room);
        }
        let mut heads = Vec::new();
        for (log, row) in self.content_logs(&view)?.into_iter().filter(|(_, row)| row.moved > since) {
            heads.extend(heads_to_tell(&self.store, &view, &log, &row).map_err(unavailable)?);
        }
        Ok(heads)
    }

    fn missing(&self, room: RoomId, class: Class, heads: &[Head]) -> Result<Vec<Missing>, Unavailable> {
        let view = self.view(room)?;
        let mut missing = Vec::new();
        for head in heads.iter().filter(|head| effective::wants(&view, &head.log(class), head.tip)) {
            let log = head.log(class);
            let held = self.store.log(view.number, &log).map_err(unavailable)?;
            let floor = held.as_ref().map_or(0, |row| row.state.floor());
            // What is as old as what was trimmed is not fetched; and what is held of it a hole may hide.
            if head.tip.seq < floor {
                self.given_up.note(room, log, head.tip);
                continue;
            }
            if effective::holds_in(&self.store, &view, head.tip.id).map_err(unavailable)? {
                continue;
            }
            let above = held.map_or(0, |row| row.state.missing_above(head.tip.seq)).max(floor.saturating_sub(1));
            let known = view.state.is_effective(&log);
            missing.push(Missing { log, top: head.tip, above, hlc: head.hlc, vouched: Vouched::BySignature, known });
        }
        Ok(missing)
    }

    fn holes(&self, room: RoomId, of: Option<&Log>) -> Result<Vec<Missing>, Unavailable> {
        let view = self.view(room)?;
        let logs = match of {
            Some(log) => {
                let row = self.store.log(view.number, log).map_err(unavailable)?;
                row.map(|row| (*log, row)).into_iter().collect()
            }
            None => self.content_logs(&view)?,
        };
        let mut holes = Vec::new();
        for (log, row) in logs {
            for hole in effective::holes_of(&self.store, &view, &log, &row).map_err(unavailable)? {
                let (top, above, hlc) = (hole.top, hole.above, self.clock_of(&row, &hole)?);
                holes.push(Missing { log, top, above, hlc, vouched: Vouched::ByHash, known: true });
            }
            for hole in row.state.holes().iter().filter(|hole| self.reads_back(room, &row, hole)) {
                let (top, hlc) = (hole.top, self.clock_of(&row, hole)?);
                let above = hole.above.max(hole.top.seq.saturating_sub(FIRST_SLICE_EVENTS));
                holes.push(Missing { log, top, above, hlc, vouched: Vouched::ByHash, known: true });
            }
            if view.state.content_right(&log).is_ok() {
                for (top, above) in self.store.wanted_again(view.number, &row).map_err(unavailable)? {
                    holes.push(Missing { log, top, above, hlc: row.hlc, vouched: Vouched::ByHash, known: true });
                }
            }
        }
        Ok(holes)
    }

    fn holds(&self, room: RoomId, id: EventId) -> Result<bool, Unavailable> {
        let held = effective::holds_in(&self.store, &*self.view(room)?, id).map_err(unavailable)?;
        // What was purged and is wanted again is fetched down to where it ends.
        Ok(held && !self.store.is_wanted_again(id).map_err(unavailable)?)
    }

    fn wants(&self, room: RoomId, log: &Log, top: Tip) -> Result<bool, Unavailable> {
        let view = self.view(room)?;
        let Some(row) = self.store.log(view.number, log).map_err(unavailable)? else { return Ok(true) };
        match row.state.holes().iter().find(|hole| hole.top == top) {
            Some(hole) if self.reads_back(room, &row, hole) => Ok(true),
            Some(hole) => effective::is_hole_wanted(&self.store, &view, &row, hole).map_err(unavailable),
            None => Ok(top.seq >= row.state.floor()),
        }
    }

    fn chunk(&self, room: RoomId, top: Tip, down_to: u64) -> Result<Option<Chunk>, Unavailable> {
        let view = self.view(room)?;
        let Some(log) = self.store.log_of(view.number, top.id).map_err(unavailable)? else { return Ok(None) };
        if !effective::gives(&self.store, &view, &log, top.id).map_err(unavailable)? {
            return Ok(None);
        }
        let evidence = effective::evidence_of(&self.store, &view, &log, top).map_err(unavailable)?;
        let Some(evidence) = evidence else { return Ok(None) };
        let mut fill = CHUNK_FILL_LEN;
        // What compresses badly is cut until it fits a frame; one event always does.
        loop {
            let Some(mut range) = self.store.range(view.number, &log, top, down_to, fill).map_err(unavailable)? else {
                return Ok(None);
            };
            let count = range.rows.len();
            range.rows.extend(evidence.iter().cloned());
            match range.deflate() {
                Some(bytes) => return Ok(Some(Chunk { log, bytes, first_seq: range.first_seq, prev: range.prev })),
                None if count > 1 => fill /= 2,
                None => return Ok(None),
            }
        }
    }

    fn may_hear(&self, room: RoomId, device: DeviceId) -> Result<bool, Unavailable> {
        Ok(self.views.find(room).is_some_and(|view| view.state.may_hear(device)))
    }

    fn is_current_device(&self, room: RoomId, device: DeviceId) -> Result<bool, Unavailable> {
        Ok(self.views.find(room).is_some_and(|view| !view.unsure && view.state.user_of(device).is_some()))
    }

    fn beacons(&self, room: RoomId) -> Result<Vec<SignedBeacon>, Unavailable> {
        Ok(self.beacons.kept(room))
    }

    fn beacons_fingerprint(&self, room: RoomId) -> Result<[u8; 32], Unavailable> {
        Ok(self.beacons.fingerprint(room))
    }

    fn may_fetch(&self, room: RoomId) -> bool {
        self.budget.is_open()
            && self.views.find(room).is_some_and(|view| !view.row.left)
            && self.leases.take(room, &self.peer)
    }
}

/// One hash over heads, whatever their order.
fn hash_heads(heads: &[Head]) -> [u8; 32] {
    let mut sorted: Vec<&Head> = heads.iter().collect();
    sorted.sort_unstable_by_key(|h| (h.author, h.grant, h.tip));
    let mut hasher = blake3::Hasher::new_derive_key("tidings/heads/1");
    for head in sorted {
        hasher.update(head.author.as_bytes());
        hasher.update(head.grant.as_bytes());
        hasher.update(&encode(&head.tip));
    }
    *hasher.finalize().as_bytes()
}

fn unavailable(error: StorageError) -> Unavailable {
    tracing::error!(%error, "the history could not be read");
    Unavailable
}
