//! Which control events count. A port of the rules as the executable model states them, without its recursion: every
//! question about an event has a smaller measure (rank; Genesis and Join, user key's log, devices' logs; seq), so
//! deciding in the order of that measure finds every answer already there.

use super::payload::{Control, ControlEvent, Genesis};
use super::rank::Rank;
use super::state::RoomState;
use crate::id::{DeviceId, EventId, RoomId, UserId};
use std::collections::{BTreeMap, BTreeSet};

/// The control events of a room that are held, valid or not.
#[derive(Debug, Clone, Default)]
pub struct ControlSet {
    room: Option<RoomId>,
    events: BTreeMap<EventId, ControlEvent>,
}

/// Why a control event does not count, or content under its grant does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Void {
    /// Its kind is not allowed to the rank of its grant, or it is not well formed.
    NotAllowed,
    /// Its predecessor does not count.
    Prev,
    /// Its grant does not count.
    Grant,
    /// Its author had left.
    Left,
    /// Its invitation does not count.
    Invite,
    /// Its invitation is closed and does not list it.
    Closed,
}

impl Void {
    /// The reason in plain words.
    pub fn reason(self) -> &'static str {
        match self {
            Void::NotAllowed => "not allowed to this role",
            Void::Prev => "rests on an event that does not count",
            Void::Grant => "the grant does not count",
            Void::Left => "its author had left",
            Void::Invite => "the invitation does not count",
            Void::Closed => "the invitation is closed",
        }
    }
}

impl ControlSet {
    /// An empty set of this room.
    pub fn new(room: RoomId) -> Self {
        ControlSet { room: Some(room), events: BTreeMap::new() }
    }

    /// The room that it is of.
    pub fn room(&self) -> Option<RoomId> {
        self.room
    }

    /// Adds an event; admission has checked that it belongs here.
    pub fn insert(&mut self, event: ControlEvent) {
        self.events.insert(event.id, event);
    }

    /// An event held.
    pub fn event(&self, id: EventId) -> Option<&ControlEvent> {
        self.events.get(&id)
    }

    /// How many are held.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Every event held, ascending by id.
    pub fn events(&self) -> impl Iterator<Item = &ControlEvent> {
        self.events.values()
    }

    /// The room's genesis, once it is held.
    pub fn genesis(&self) -> Option<&Genesis> {
        match &self.events.get(&self.room?.into())?.control {
            Control::Genesis(genesis) => Some(genesis),
            _ => None,
        }
    }

    /// The structural rank of a grant, read off its chain alone; `None` while unknown or unsound.
    /// The chain weakens strictly, so it has at most 100 steps.
    pub fn rank_of(&self, grant: EventId) -> Option<Rank> {
        let event = self.events.get(&grant)?;
        match &event.control {
            Control::Genesis(_) => (Some(event.id) == self.room.map(EventId::from)).then_some(Rank::FOUNDER),
            Control::Grant(g) => self.offer_rank(event, g.rank),
            Control::Join(join) => {
                let offer = self.events.get(&join.invite)?;
                match &offer.control {
                    Control::OpenInvite(invite) => self.offer_rank(offer, invite.rank),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The users that a grant speaks of: the founders, or the one it names.
    pub fn users_of(&self, grant: EventId) -> Vec<UserId> {
        match self.events.get(&grant).map(|e| &e.control) {
            Some(Control::Genesis(g)) => g.founders.clone(),
            Some(Control::Grant(g)) => vec![g.user],
            Some(Control::Join(j)) => vec![j.certificate.user()],
            _ => Vec::new(),
        }
    }

    /// Whether the kind is allowed to the structural rank of its grant, reading the event, its predecessor and the grant chain.
    pub fn is_allowed(&self, event: &ControlEvent) -> bool {
        let Some(rank) = self.rank_of_event(event) else { return false };
        if event.seq > 1 {
            let follows = |p: &ControlEvent| p.log == event.log && p.seq.checked_add(1) == Some(event.seq);
            if !self.events.get(&event.prev).is_some_and(follows) {
                return false;
            }
        }
        if let Some(certificate) = event.control.certificate() {
            let users = match &event.control {
                Control::Genesis(genesis) => genesis.founders.clone(),
                Control::Join(join) => vec![join.certificate.user()],
                _ => self.users_of(event.log.grant),
            };
            return event.seq == 1 && certificate.device() == event.log.author && users.contains(&certificate.user());
        }
        event.seq > 1
            && match &event.control {
                Control::Grant(grant) => self.may_offer(rank, grant.rank),
                Control::OpenInvite(invite) => self.may_offer(rank, invite.rank),
                Control::Set(set) => rank <= if set.key == "topic" { Rank::MODERATOR } else { Rank::ADMIN },
                Control::CloseInvite(_) | Control::Leave | Control::Erase(_) | Control::Unknown { .. } => true,
                Control::Genesis(_) | Control::Join(_) | Control::Enrol(_) => false,
            }
    }

    fn rank_of_event(&self, event: &ControlEvent) -> Option<Rank> {
        match &event.control {
            // Not held yet while it is being admitted: its rank is its invite's.
            Control::Join(join) => match &self.events.get(&join.invite)?.control {
                Control::OpenInvite(invite) => self.offer_rank(self.events.get(&join.invite)?, invite.rank),
                _ => None,
            },
            Control::Genesis(_) => (Some(event.id) == self.room.map(EventId::from)).then_some(Rank::FOUNDER),
            _ => self.rank_of(event.log.grant),
        }
    }

    fn offer_rank(&self, offer: &ControlEvent, rank: Rank) -> Option<Rank> {
        let issuer = self.rank_of(offer.log.grant)?;
        self.may_offer(issuer, rank).then_some(rank)
    }

    fn may_offer(&self, issuer: Rank, rank: Rank) -> bool {
        self.genesis().is_some_and(|g| issuer <= g.invite_rank) && issuer < rank
    }

    /// Decides every event and what follows for the room.
    pub fn evaluate(&self) -> RoomState {
        let mut evaluation = Evaluation::new(self);
        for id in evaluation.in_order() {
            let Some(event) = self.events.get(&id) else { continue };
            match evaluation.void_because(event) {
                None => drop(evaluation.valid.insert(id)),
                Some(why) => drop(evaluation.void.insert(id, why)),
            }
        }
        evaluation.into_state()
    }
}

/// One evaluation of a set, filled in the order of the measure.
pub(super) struct Evaluation<'a> {
    pub(super) set: &'a ControlSet,
    /// The user of each event's branch, where its root is held.
    pub(super) users: BTreeMap<EventId, UserId>,
    /// The CloseInvites that name an invite.
    closings: BTreeMap<EventId, Vec<EventId>>,
    pub(super) valid: BTreeSet<EventId>,
    pub(super) void: BTreeMap<EventId, Void>,
}

impl<'a> Evaluation<'a> {
    fn new(set: &'a ControlSet) -> Self {
        let mut users: BTreeMap<EventId, UserId> = BTreeMap::new();
        let mut closings: BTreeMap<EventId, Vec<EventId>> = BTreeMap::new();
        let mut by_seq: Vec<&ControlEvent> = set.events.values().collect();
        by_seq.sort_by_key(|e| e.seq);
        for event in by_seq {
            let user = match event.control.certificate() {
                Some(certificate) => Some(certificate.user()),
                None => users.get(&event.prev).copied(),
            };
            if let Some(user) = user {
                users.insert(event.id, user);
            }
            if let Control::CloseInvite(close) = &event.control {
                closings.entry(close.invite).or_default().push(event.id);
            }
        }
        Evaluation { set, users, closings, valid: BTreeSet::new(), void: BTreeMap::new() }
    }

    /// The events that can be decided, by measure. What lacks its root or grant is left out until those come.
    fn in_order(&self) -> Vec<EventId> {
        let mut order: Vec<(Rank, u8, u64, EventId)> = Vec::new();
        for event in self.set.events.values() {
            let (Some(rank), Some(user)) = (self.set.rank_of_event(event), self.users.get(&event.id)) else { continue };
            let phase = match &event.control {
                Control::Genesis(_) | Control::Join(_) => 0,
                _ if event.log.author == DeviceId::from(*user) => 1,
                _ => 2,
            };
            order.push((rank, phase, event.seq, event.id));
        }
        order.sort_unstable();
        order.into_iter().map(|o| o.3).collect()
    }

    fn void_because(&self, event: &ControlEvent) -> Option<Void> {
        if !self.set.is_allowed(event) {
            return Some(Void::NotAllowed);
        }
        if event.seq > 1 {
            if !self.valid.contains(&event.prev) {
                return Some(Void::Prev);
            }
            if matches!(self.set.event(event.prev).map(|p| &p.control), Some(Control::Leave)) {
                return Some(Void::Left);
            }
        }
        match &event.control {
            Control::Genesis(_) => None,
            Control::Join(join) if !self.valid.contains(&join.invite) => Some(Void::Invite),
            Control::Join(join) => self.is_closed_without(join.invite, event.id).then_some(Void::Closed),
            _ => (!self.valid.contains(&event.log.grant)).then_some(Void::Grant),
        }
    }

    /// A closer's rank is at most the issuer's, hence stronger than the Join's: it is decided already.
    fn is_closed_without(&self, invite: EventId, join: EventId) -> bool {
        let mut closed = false;
        for closing in self.closings(invite) {
            closed = true;
            if closing.binary_search(&join).is_ok() {
                return false;
            }
        }
        closed
    }

    /// The lists of an invite's valid closings.
    pub(super) fn closings(&self, invite: EventId) -> impl Iterator<Item = &Vec<EventId>> {
        let named = self.closings.get(&invite).into_iter().flatten();
        named.filter_map(|id| self.set.event(*id)).filter_map(move |event| match &event.control {
            Control::CloseInvite(close) if self.valid.contains(&event.id) && self.may_close(event, invite) => {
                Some(&close.joins)
            }
            _ => None,
        })
    }

    fn may_close(&self, closing: &ControlEvent, invite: EventId) -> bool {
        let Some(opened) = self.set.event(invite) else { return false };
        let ranks = (self.set.rank_of(closing.log.grant), self.set.rank_of(opened.log.grant));
        let (Some(closer), Some(issuer)) = ranks else { return false };
        let same_user = self.users.contains_key(&invite) && self.users.get(&closing.id) == self.users.get(&invite);
        closer < issuer || (same_user && closer <= issuer)
    }
}
