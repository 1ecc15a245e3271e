//! The control events of a room that are held, valid or not, and how they hang together. What lacks what it rests on
//! stands aside until that comes.

use super::cut::Cut;
use super::derive::Stale;
use super::held::{Forest, Held, Sapling, Slot, Verdict};
use super::kept::{Kept, Reach, Target};
use super::payload::{Control, ControlEvent, Genesis};
use super::rank::Rank;
use super::state::{RoomState, Void};
use crate::event::Class;
use crate::id::{DeviceId, EventId, RoomId, UserId};
use crate::log::{Log, Tip};
use std::collections::{BTreeMap, BTreeSet};

/// The control events of a room. `insert` takes one in, `settle` decides what it changes, `state` is what follows.
#[derive(Debug, Clone, Default)]
pub struct ControlSet {
    pub(super) room: Option<RoomId>,
    pub(super) forest: Forest,
    index: BTreeMap<EventId, Slot>,
    /// What waits, by what it waits for.
    waiting: BTreeMap<EventId, Vec<ControlEvent>>,
    pub(super) relations: Relations,
    /// What has to be decided anew, in the order of the measure.
    pub(super) dirty: BTreeSet<(Rank, u8, u64, Slot)>,
    pub(super) stale: Stale,
    pub(super) state: RoomState,
    /// Valid events that no valid event follows.
    pub(super) leaves: BTreeSet<Slot>,
    /// How many events do not count, by whose account they are kept on.
    pub(super) void_counts: BTreeMap<[u8; 32], u32>,
    pub(super) decisions: u64,
    pub(super) looks: u64,
    /// The revocations that count, and what they may cover.
    pub(super) reach: BTreeMap<Target, Reach>,
    /// What they leave of logs that they name, by the first event of each.
    pub(super) kept: BTreeMap<Slot, Kept>,
}

/// Who speaks of whom.
#[derive(Debug, Clone, Default)]
pub(super) struct Relations {
    /// Sound Grant and Join events that name a user, by the rank that they give.
    pub(super) grants: BTreeMap<UserId, BTreeSet<(Rank, Slot)>>,
    /// Grants that lift a Revoke, held or not.
    pub(super) lifting: BTreeMap<EventId, Vec<Slot>>,
    /// Roots by device and grant.
    pub(super) enrolments: BTreeMap<(DeviceId, EventId), Vec<Slot>>,
    /// Enrol events under a grant.
    pub(super) enrols: BTreeMap<EventId, Vec<Slot>>,
    /// The events of each log, as they came.
    pub(super) logs: BTreeMap<Log, Branches>,
    /// Invites that a user opened.
    pub(super) invites: BTreeMap<UserId, Vec<Slot>>,
    /// Joins by an invite.
    pub(super) joins: BTreeMap<Slot, Vec<Slot>>,
    /// CloseInvites that name an invite, held or not.
    pub(super) closings: BTreeMap<EventId, Vec<Slot>>,
    /// CloseInvites and Revokes that list a join, held or not.
    pub(super) listed: BTreeMap<EventId, Vec<Slot>>,
    /// Revokes of a user.
    pub(super) revokes: BTreeMap<UserId, Vec<Slot>>,
    /// Revocations whose cuts leave something of a log, held or not.
    pub(super) cutting: BTreeMap<Log, Vec<Slot>>,
    /// Revocations whose cuts name an event of a control log, held or not.
    pub(super) named: BTreeMap<Log, BTreeMap<EventId, Vec<Slot>>>,
    /// Erases of content of a device under a grant, held or not.
    pub(super) erases: BTreeMap<(EventId, DeviceId), Vec<Slot>>,
    /// Valid Leaves of a user under a grant.
    pub(super) left: BTreeMap<(UserId, EventId), u32>,
}

/// The events of one log.
#[derive(Debug, Clone, Default)]
pub(super) struct Branches {
    pub(super) slots: Vec<Slot>,
    /// Then the slots do not stand each on the one before it.
    pub(super) is_forked: bool,
    /// How many valid events no valid event follows.
    pub(super) leaves: usize,
}

impl ControlSet {
    /// An empty set of this room.
    pub fn new(room: RoomId) -> Self {
        ControlSet { room: Some(room), ..ControlSet::default() }
    }

    /// The room that it is of.
    pub fn room(&self) -> Option<RoomId> {
        self.room
    }

    /// Adds an event; admission has checked that it belongs here. `settle` has to follow before anything is read off the
    /// state. What it rests on may come later.
    pub fn insert(&mut self, event: ControlEvent) {
        let mut ready = vec![event];
        while let Some(event) = ready.pop() {
            if self.index.contains_key(&event.id) {
                continue;
            }
            match self.missing(&event) {
                Some(missing) => {
                    let waiting = self.waiting.entry(missing).or_default();
                    if !waiting.contains(&event) {
                        waiting.push(event);
                    }
                }
                None => {
                    ready.extend(self.waiting.remove(&event.id).unwrap_or_default());
                    self.plant(event);
                }
            }
        }
    }

    /// An event held that has all that it rests on.
    pub fn event(&self, id: EventId) -> Option<&ControlEvent> {
        self.held(id).map(|held| &held.event)
    }

    /// How many have all that they rest on.
    pub fn len(&self) -> usize {
        self.forest.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every event that has all that it rests on; what an event rests on comes before it.
    pub fn events(&self) -> impl Iterator<Item = &ControlEvent> {
        self.forest.iter().map(|held| &held.event)
    }

    /// Those that lack what they rest on.
    pub fn waiting(&self) -> impl Iterator<Item = EventId> {
        self.waiting.values().flatten().map(|event| event.id)
    }

    /// Every event of a control log that is held, in the order in which they came.
    pub fn events_of(&self, log: &Log) -> impl Iterator<Item = &ControlEvent> {
        let slots = self.relations.logs.get(log).into_iter().flat_map(|branches| &branches.slots);
        slots.filter_map(|slot| self.forest.find(*slot)).map(|held| &held.event)
    }

    /// Whether an event counts, as of the last `settle`.
    pub fn counts(&self, id: EventId) -> bool {
        self.held(id).is_some_and(Held::is_valid)
    }

    /// Why an event does not count, as of the last `settle`; `None` also where it is not held.
    pub fn void(&self, id: EventId) -> Option<Void> {
        match self.held(id)?.verdict {
            Verdict::Void(why) => Some(why),
            Verdict::Valid | Verdict::Undecided => None,
        }
    }

    /// Every event decided and why it does not count, if it does not, as of the last `settle`.
    pub fn verdicts(&self) -> impl Iterator<Item = (EventId, Option<Void>)> {
        self.forest.iter().filter_map(|held| match held.verdict {
            Verdict::Valid => Some((held.event.id, None)),
            Verdict::Void(why) => Some((held.event.id, Some(why))),
            Verdict::Undecided => None,
        })
    }

    /// What follows for the room, as of the last `settle`.
    pub fn state(&self) -> &RoomState {
        &self.state
    }

    /// How many verdicts were made so far: what a new event costs.
    pub fn decisions(&self) -> u64 {
        self.decisions
    }

    /// How many logs and grants revocations were held against so far: with `decisions` what revocations cost.
    pub fn looks(&self) -> u64 {
        self.looks
    }

    /// How many events held do not count and are to this one's account: joins to their invite's, all else to its user's.
    pub fn void_beside(&self, event: &ControlEvent) -> u32 {
        let user = match event.root() {
            Some(certificate) => Some(certificate.user()),
            None => self.prev_of(event).and_then(|slot| self.forest.find(slot)).and_then(|held| held.user),
        };
        self.void_counts.get(&payer(event, user)).copied().unwrap_or(0)
    }

    /// The same events decided from scratch: what `settle` must come to.
    pub fn from_scratch(&self) -> ControlSet {
        let mut fresh = ControlSet { room: self.room, ..ControlSet::default() };
        self.events().for_each(|event| fresh.insert(event.clone()));
        fresh.settle();
        fresh
    }

    /// The tips to tell others: of every branch that counts, and of those whose way down shows what a valid cut keeps. A
    /// branch of which nothing counts shows nothing: who is told of it may never get what it rests on.
    pub fn heads(&self) -> Vec<(Log, Tip)> {
        let mut proofs: BTreeMap<Log, Vec<Slot>> = BTreeMap::new();
        for (log, named) in &self.relations.named {
            let void = named.keys().filter(|id| self.is_named(log, **id)).filter_map(|id| self.slot(*id));
            let is_of_log = |slot: &Slot| self.forest.find(*slot).is_some_and(|h| !h.is_valid() && h.event.log == *log);
            let shows =
                |slot: &Slot| self.forest.root(*slot).and_then(|r| self.forest.find(r)).is_some_and(Held::is_valid);
            let void = void.filter(|slot| is_of_log(slot) && shows(slot));
            proofs.insert(*log, void.collect());
        }
        let mut heads: BTreeSet<Slot> = BTreeSet::new();
        for slot in proofs.values().flatten().chain(&self.leaves) {
            let log = self.forest.find(*slot).map(|held| held.event.log);
            let above = log.and_then(|log| proofs.get(&log)).into_iter().flatten();
            if !above.clone().any(|proof| proof != slot && self.forest.is_ancestor(*slot, *proof)) {
                heads.insert(*slot);
            }
        }
        let events = heads.iter().filter_map(|slot| self.forest.find(*slot)).map(|held| &held.event);
        events.map(|event| (event.log, Tip { seq: event.seq, id: event.id })).collect()
    }

    /// The events that others are given: those that count, and those that show what a valid cut keeps.
    pub fn kept(&self) -> BTreeSet<EventId> {
        let mut kept = BTreeSet::new();
        for (_, tip) in self.heads() {
            let mut next = self.held(tip.id);
            while let Some(held) = next.take().filter(|held| kept.insert(held.event.id)) {
                next = held.prev.and_then(|slot| self.forest.find(slot));
            }
        }
        kept
    }

    /// Whether a cut of a valid revocation names this event of a control log, held or not: it is the proof of what lies
    /// below it.
    pub fn is_named(&self, log: &Log, id: EventId) -> bool {
        let named = self.relations.named.get(log).and_then(|ids| ids.get(&id)).into_iter().flatten();
        named.filter_map(|slot| self.forest.find(*slot)).any(Held::is_valid)
    }

    /// The room's genesis, once it is held.
    pub fn genesis(&self) -> Option<&Genesis> {
        match &self.event(self.room?.into())?.control {
            Control::Genesis(genesis) => Some(genesis),
            _ => None,
        }
    }

    /// The structural rank of a grant, read off its chain alone; `None` while unknown or unsound.
    pub fn rank_of(&self, grant: EventId) -> Option<Rank> {
        self.held(grant).filter(|held| held.is_grant()).and_then(|held| held.gives)
    }

    /// Whether the kind is allowed to the structural rank of its grant, reading the event, its predecessor and the grant
    /// chain, all of which are held.
    pub fn is_allowed(&self, event: &ControlEvent) -> bool {
        let prev = self.prev_of(event);
        if event.seq > 1 && prev.is_none() {
            return false;
        }
        let Some(rank) = self.acts_under(event) else { return false };
        if let Some(certificate) = event.control.certificate() {
            let user = certificate.user();
            let speaks = match &event.control {
                Control::Genesis(genesis) => genesis.founders.contains(&user),
                Control::Join(_) => true,
                _ => self.event(event.log.grant).is_some_and(|grant| names(&grant.control, user)),
            };
            return event.seq == 1 && certificate.device() == event.log.author && speaks;
        }
        event.seq > 1
            && match &event.control {
                Control::Grant(grant) => self.may_offer(rank, grant.rank),
                Control::OpenInvite(invite) => self.may_offer(rank, invite.rank),
                Control::Revoke(_) => rank <= Rank::MODERATOR,
                Control::RevokeDevice(_) => {
                    let user = prev.and_then(|slot| self.forest.find(slot)).and_then(|held| held.user);
                    user.is_some_and(|user| event.log.author == user.into())
                }
                Control::Set(set) => rank <= if set.key == "topic" { Rank::MODERATOR } else { Rank::ADMIN },
                Control::Successor(_) => rank <= Rank::ADMIN,
                Control::CloseInvite(_) | Control::Leave | Control::Erase(_) | Control::Unknown { .. } => true,
                Control::Genesis(_) | Control::Join(_) | Control::Enrol(_) => false,
            }
    }

    /// The rank under which an event acts; what it rests on is held.
    fn acts_under(&self, event: &ControlEvent) -> Option<Rank> {
        match &event.control {
            Control::Genesis(_) => (Some(event.id) == self.room.map(EventId::from)).then_some(Rank::FOUNDER),
            Control::Join(join) => {
                self.held(join.invite).filter(|held| matches!(held.event.control, Control::OpenInvite(_)))?.gives
            }
            _ => self.rank_of(event.log.grant),
        }
    }

    fn may_offer(&self, issuer: Rank, rank: Rank) -> bool {
        self.genesis().is_some_and(|g| issuer <= g.invite_rank) && issuer < rank
    }

    pub(super) fn held(&self, id: EventId) -> Option<&Held> {
        self.forest.find(self.slot(id)?)
    }

    pub(super) fn slot(&self, id: EventId) -> Option<Slot> {
        self.index.get(&id).copied()
    }

    /// The predecessor, where it is one: of the same log, and one below.
    fn prev_of(&self, event: &ControlEvent) -> Option<Slot> {
        let slot = self.slot(event.prev).filter(|_| event.seq > 1)?;
        let prev = &self.forest.find(slot)?.event;
        (prev.log == event.log && prev.seq.checked_add(1) == Some(event.seq)).then_some(slot)
    }

    /// What an event rests on and is not here.
    fn missing(&self, event: &ControlEvent) -> Option<EventId> {
        let grant = match &event.control {
            Control::Genesis(_) => None,
            Control::Unknown { kind: super::kind::GENESIS } => None,
            Control::Join(join) => Some(join.invite),
            _ => Some(event.log.grant),
        };
        let prev = (event.seq > 1).then_some(event.prev);
        [grant, prev].into_iter().flatten().find(|id| !self.index.contains_key(id))
    }

    fn plant(&mut self, event: ControlEvent) {
        let prev = self.prev_of(&event);
        let invite = match &event.control {
            Control::Join(join) => self.slot(join.invite),
            _ => None,
        };
        let grant = if event.log.grant == event.id { None } else { self.slot(event.log.grant) };
        let rank = self.acts_under(&event);
        let is_allowed = self.is_allowed(&event);
        let user = match event.root() {
            Some(certificate) => Some(certificate.user()),
            None => prev.and_then(|slot| self.forest.find(slot)).and_then(|held| held.user),
        };
        let gives = match &event.control {
            Control::Genesis(_) | Control::Join(_) => rank,
            Control::Grant(g) => rank.filter(|rank| self.may_offer(*rank, g.rank)).map(|_| g.rank),
            Control::OpenInvite(i) => rank.filter(|rank| self.may_offer(*rank, i.rank)).map(|_| i.rank),
            _ => None,
        };
        let phase = match &event.control {
            Control::Genesis(_) | Control::Join(_) => 0,
            _ if user.is_some_and(|user| event.log.author == user.into()) => 1,
            _ => 2,
        };
        let id = event.id;
        let Some(slot) = self.forest.plant(Sapling { event, prev, grant, invite }) else { return };
        if let Some(held) = self.forest.find_mut(slot) {
            // A Genesis of another room gives nothing; one of this room is counted as its own grant below.
            (held.rank, held.gives, held.user, held.is_allowed, held.phase) = (rank, gives, user, is_allowed, phase);
        }
        self.index.insert(id, slot);
        self.relate(slot);
        self.mark(slot);
    }

    /// Has an event decided anew.
    pub(super) fn mark(&mut self, slot: Slot) {
        if let Some(held) = self.forest.find(slot) {
            // What has no rank is decided last: it rests on nothing and nothing rests on it.
            self.dirty.insert((held.rank.unwrap_or(Rank::KEEPER), held.phase, held.event.seq, slot));
        }
    }

    /// Writes down of whom a new event speaks.
    fn relate(&mut self, slot: Slot) {
        let Some(held) = self.forest.find(slot) else { return };
        let relations = &mut self.relations;
        let (event, id) = (&held.event, held.event.id);
        let branches = relations.logs.entry(event.log).or_default();
        branches.is_forked |= branches.slots.last().copied() != held.prev;
        branches.slots.push(slot);
        if event.root().is_some() {
            relations.enrolments.entry((event.log.author, event.log.grant)).or_default().push(slot);
        }
        match &event.control {
            Control::Grant(grant) => {
                relations.grants.entry(grant.user).or_default().extend(held.gives.map(|rank| (rank, slot)));
                grant.lifts.iter().for_each(|id| relations.lifting.entry(*id).or_default().push(slot));
            }
            Control::Join(join) => {
                let user = join.certificate.user();
                relations.grants.entry(user).or_default().extend(held.gives.map(|rank| (rank, slot)));
                if let Some(invite) = held.invite {
                    relations.joins.entry(invite).or_default().push(slot);
                }
            }
            Control::Enrol(_) => relations.enrols.entry(event.log.grant).or_default().push(slot),
            Control::OpenInvite(_) => {
                if let Some(user) = held.user {
                    relations.invites.entry(user).or_default().push(slot);
                }
            }
            Control::CloseInvite(close) => {
                relations.closings.entry(close.invite).or_default().push(slot);
                close.joins.iter().for_each(|join| relations.listed.entry(*join).or_default().push(slot));
            }
            Control::Revoke(revoke) => {
                relations.revokes.entry(revoke.user).or_default().push(slot);
                revoke.joins.iter().for_each(|join| relations.listed.entry(*join).or_default().push(slot));
            }
            Control::Erase(erase) => relations.erases.entry((erase.grant, erase.author)).or_default().push(slot),
            Control::Genesis(_) | Control::Leave | Control::Set(_) | Control::Successor(_) => {}
            Control::RevokeDevice(_) | Control::Unknown { .. } => {}
        }
        for cut in event.control.cuts().iter().filter(|cut| !cut.is_zero()) {
            relations.cutting.entry(cut.log).or_default().push(slot);
        }
        for cut in event.control.cuts().iter().filter(|cut| cut.log.class == Class::Control) {
            let named = relations.named.entry(cut.log).or_default();
            cut.ids.iter().for_each(|id| named.entry(*id).or_default().push(slot));
        }
        let (log, is_root) = (event.log, event.root().is_some());
        let is_invite = matches!(event.control, Control::OpenInvite(_));
        if relations.named.get(&log).is_some_and(|named| named.contains_key(&id)) {
            // It may show that what lies below it is kept.
            self.keep_named(&log, id);
            self.forest.lowest_void(slot).into_iter().for_each(|lowest| self.mark(lowest));
        }
        if is_invite {
            self.count_closers(slot);
        }
        if is_root {
            self.reach_root(slot);
        }
    }

    /// Keeps the leaves, after an event has turned.
    pub(super) fn turn_leaf(&mut self, slot: Slot, counts: bool) {
        let Some(prev) = self.forest.find(slot).map(|held| held.prev) else { return };
        if !counts || self.forest.find(slot).is_some_and(|held| held.valid_children == 0) {
            self.set_leaf(slot, counts);
        }
        let Some((prev, parent)) = prev.and_then(|prev| Some((prev, self.forest.find_mut(prev)?))) else { return };
        parent.valid_children = parent.valid_children.saturating_add_signed(if counts { 1 } else { -1 });
        let is_leaf = parent.valid_children == 0 && parent.is_valid();
        self.set_leaf(prev, is_leaf);
    }

    fn set_leaf(&mut self, slot: Slot, is_leaf: bool) {
        let has_changed = if is_leaf { self.leaves.insert(slot) } else { self.leaves.remove(&slot) };
        let log = self.forest.find(slot).map(|held| held.event.log).filter(|_| has_changed);
        if let Some(branches) = log.and_then(|log| self.relations.logs.get_mut(&log)) {
            branches.leaves = branches.leaves.saturating_add_signed(if is_leaf { 1 } else { -1 });
        }
    }

    /// Whether an event lies within a cut of its log; `coming` is one, it or above it, that is not held yet.
    pub(super) fn is_within(&self, event: &ControlEvent, cuts: &[Cut], coming: Option<EventId>) -> bool {
        let Some(cut) = Cut::of(cuts, &event.log).filter(|cut| event.seq <= cut.seq) else { return false };
        if coming.is_some_and(|id| cut.ids.binary_search(&id).is_ok()) {
            return true;
        }
        let Some(slot) = self.slot(event.id) else { return false };
        let shows = |id: &EventId| {
            let named =
                self.slot(*id).filter(|named| self.forest.find(*named).is_some_and(|n| n.event.log == event.log));
            named.is_some_and(|named| self.forest.is_ancestor(slot, named))
        };
        cut.ids.iter().any(shows)
    }
}

/// On whose account an event is kept when it does not count: who holds a link can make as many users as they like, a user
/// as many devices.
pub(super) fn payer(event: &ControlEvent, user: Option<UserId>) -> [u8; 32] {
    match (&event.control, user) {
        (Control::Join(join), _) => join.invite.0,
        (_, Some(user)) => user.0,
        (_, None) => event.log.author.0,
    }
}

/// Whether a grant is of this user.
pub(super) fn names(control: &Control, user: UserId) -> bool {
    match control {
        Control::Genesis(g) => g.founders.contains(&user),
        Control::Grant(g) => g.user == user,
        Control::Join(j) => j.certificate.user() == user,
        _ => false,
    }
}
