//! Set reconciliation over heads, where there are too many to list and no agreement to begin from. The initiator of the
//! conversation runs it; the responder asks for it, and learns from it, at the end, what the initiator lacks.

use super::conversation::Conversation;
use super::keys::Keys;
use super::{Failure, Holdings, Side};
use crate::event::Class;
use crate::id::RoomId;
use crate::limits::{HEADS_PER_FRAME_MAX, RECONCILE_LEN_MAX, RECONCILE_ROUNDS_MAX};
use crate::wire::{Frame, Head, Listing};
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use std::collections::BTreeMap;

/// Set reconciliation under way.
pub(super) struct Reconcile {
    sets: Negentropy<'static, NegentropyStorageVector>,
    /// Our heads that the other side was not found to lack yet.
    heads: BTreeMap<[u8; 32], Head>,
    /// Those that it was found to lack.
    have: Vec<Head>,
    /// Items that we lack, so far: at most what all rounds' messages hold.
    need: Vec<[u8; 32]>,
    rounds: u32,
}

impl Reconcile {
    fn new(keys: &Keys, heads: Vec<Head>) -> Result<Self, Failure> {
        let mut sets = NegentropyStorageVector::with_capacity(heads.len());
        let mut by_item = BTreeMap::new();
        for head in heads {
            let item = keys.item(&head);
            sets.insert(head.hlc.ms(), Id::from_byte_array(item)).map_err(broken)?;
            by_item.insert(item, head);
        }
        sets.seal().map_err(broken)?;
        let sets = Negentropy::owned(sets, RECONCILE_LEN_MAX as u64 / 2).map_err(broken)?;
        Ok(Reconcile { sets, heads: by_item, have: Vec::new(), need: Vec::new(), rounds: 0 })
    }

    /// Notes heads that the other side lacks: each once, however often it says so.
    fn lacks<'i>(&mut self, items: impl Iterator<Item = &'i [u8; 32]>) {
        self.have.extend(items.filter_map(|item| self.heads.remove(item)));
    }

    fn count_round(&mut self) -> Result<(), Failure> {
        self.rounds += 1;
        if self.rounds > RECONCILE_ROUNDS_MAX { Err(Failure::Budget(ROUNDS)) } else { Ok(()) }
    }

    /// The initiator's next message; `None` at the end, or when enough was found for one exchange.
    fn next(&mut self, message: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        self.count_round()?;
        let (mut have, mut need) = (Vec::new(), Vec::new());
        let next = self.sets.reconcile_with_ids(message, &mut have, &mut need).map_err(broken)?;
        self.lacks(have.iter().map(|id| id.as_bytes()));
        self.need.extend(need.iter().map(|id| *id.as_bytes()));
        let is_last = self.rounds == RECONCILE_ROUNDS_MAX;
        match next {
            Some(_) if is_last && self.have.is_empty() && self.need.is_empty() => Err(Failure::Budget(ROUNDS)),
            Some(_) if is_last => Ok(None),
            next => Ok(next),
        }
    }

    fn answer(&mut self, message: &[u8]) -> Result<Vec<u8>, Failure> {
        self.count_round()?;
        self.sets.reconcile(message).map_err(broken)
    }
}

impl Conversation {
    /// Asks the initiator to begin: it may think that its list is enough, or that nothing differs.
    pub(super) fn ask_reconcile(&mut self, id: RoomId, class: Class) {
        if let Some(room) = self.open_handle(id) {
            self.send(Frame::Reconcile { room, class, message: Vec::new() });
        }
    }

    pub(super) fn begin_reconcile(&mut self, id: RoomId, class: Class, heads: Vec<Head>) -> Result<(), Failure> {
        let (Some(room), Some(keys)) = (self.open_handle(id), self.keys) else { return Ok(()) };
        let mut reconcile = Reconcile::new(&keys, heads)?;
        let message = reconcile.sets.initiate().map_err(broken)?;
        if let Some(exchange) = self.exchange(id, class) {
            exchange.reconcile = Some(reconcile);
        }
        self.send(Frame::Reconcile { room, class, message });
        Ok(())
    }

    pub(super) fn take_reconcile(
        &mut self,
        id: RoomId,
        class: Class,
        message: &[u8],
        held: &dyn Holdings,
    ) -> Result<(), Failure> {
        let (Some(room), Some(keys)) = (self.open_handle(id), self.keys) else { return Ok(()) };
        let (side, now_ms) = (self.settings.side, self.now_ms);
        let Some(exchange) = self.answer(id, class, held)? else { return Ok(()) };
        exchange.moved_ms = now_ms;
        match (side, exchange.told) {
            // They have our list, or it is on its way; it is answered by what we lack.
            (_, Some(Listing::Whole)) => Ok(()),
            (Side::Initiator, told) if message.is_empty() => {
                // They cannot tell what we lack; where we have told all that they may, they still cannot.
                let begins = told.is_some() && !exchange.heard && exchange.reconcile.is_none() && !exchange.reconciled;
                if begins { self.begin_reconcile(id, class, held.heads(id, class, 0)?) } else { Ok(()) }
            }
            (Side::Initiator, _) => {
                let Some(mut reconcile) = exchange.reconcile.take() else {
                    return Err(Failure::Unexpected("reconciliation"));
                };
                let Some(message) = reconcile.next(message)? else {
                    return self.end_reconcile(id, class, reconcile, held);
                };
                exchange.reconcile = Some(reconcile);
                self.send(Frame::Reconcile { room, class, message });
                Ok(())
            }
            (Side::Responder, _) => {
                let mut reconcile = match exchange.reconcile.take() {
                    Some(reconcile) => reconcile,
                    None => Reconcile::new(&keys, held.heads(id, class, 0)?)?,
                };
                let message = reconcile.answer(message)?;
                exchange.reconcile = Some(reconcile);
                self.send(Frame::Reconcile { room, class, message });
                Ok(())
            }
        }
    }

    /// Tells what was found, both ways; not what a list has told already.
    fn end_reconcile(
        &mut self,
        id: RoomId,
        class: Class,
        mut done: Reconcile,
        held: &dyn Holdings,
    ) -> Result<(), Failure> {
        let (Some(room), Some(exchange)) = (self.open_handle(id), self.exchange(id, class)) else { return Ok(()) };
        exchange.reconciled = true;
        let (told, heard) = (exchange.told, exchange.heard);
        if !heard {
            let is_full = done.need.len().is_multiple_of(HEADS_PER_FRAME_MAX);
            let mut parts: Vec<_> = done.need.chunks(HEADS_PER_FRAME_MAX).map(<[_]>::to_vec).collect();
            // A part shorter than can be ends them.
            parts.extend(is_full.then(Vec::new));
            parts.into_iter().for_each(|ids| self.send(Frame::Lack { room, class, ids }));
        }
        if told.is_none() {
            self.tell(id, class, Listing::Part, std::mem::take(&mut done.have))?;
        }
        self.settle(Some(id), held)
    }

    /// Heads that the initiator lacks; a list shorter than a frame's limit ends them.
    pub(super) fn take_lack(
        &mut self,
        id: RoomId,
        class: Class,
        ids: &[[u8; 32]],
        held: &dyn Holdings,
    ) -> Result<(), Failure> {
        let side = self.settings.side;
        let exchange = self.exchange(id, class).filter(|_| side == Side::Responder);
        let Some((told, reconcile)) = exchange.and_then(|e| Some((e.told, e.reconcile.as_mut()?))) else {
            return Err(Failure::Unexpected("ids that nobody reconciles"));
        };
        if told.is_some() {
            return Ok(());
        }
        reconcile.lacks(ids.iter());
        if ids.len() == HEADS_PER_FRAME_MAX {
            return Ok(());
        }
        let heads = std::mem::take(&mut reconcile.have);
        self.tell(id, class, Listing::Part, heads)?;
        self.settle(Some(id), held)
    }
}

fn broken(_: negentropy::Error) -> Failure {
    Failure::Unexpected("a false message of reconciliation")
}

const ROUNDS: &str = "rounds of reconciliation";
