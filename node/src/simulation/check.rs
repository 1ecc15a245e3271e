//! What must hold: at every moment, after every crash, and in the end.

use super::node::Up;
use super::plan::Sabotage;
use super::world::World;
use crate::effective;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidings_protocol::control::state::RoomState;
use tidings_protocol::event::Class;
use tidings_protocol::id::{DeviceId, EventId, RoomId};
use tidings_protocol::sync::Holdings;
use tidings_storage::StoredEvent;

/// What does not hold.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{kind:?}: {text}")]
pub(super) struct Violation {
    pub(super) kind: Kind,
    pub(super) text: String,
}

/// Which promise is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Something that was acknowledged is not there.
    Lost,
    /// Something counts that nobody may say.
    Unauthorised,
    /// The same control events, and another room.
    OtherState,
    /// All is quiet, and not all hold the same.
    Unequal,
    /// A device that keeps to the rules said two things in one place.
    Forked,
    /// An audit agrees with who holds more.
    FalseAudit,
    /// A store does not verify.
    Damaged,
    /// It never comes to rest.
    Endless,
    /// The program panicked.
    Panicked,
    /// The same seed, and another course of things.
    OtherTrace,
}

impl Violation {
    pub(super) fn new(kind: Kind, text: String) -> Violation {
        Violation { kind, text }
    }
}

impl World {
    /// What must hold while things break: nothing forged counts, and who holds the same control events sees the same room.
    pub(super) fn check_now(&mut self) -> Result<(), Violation> {
        self.figures.checks += 1;
        self.check_forged()?;
        if let Some(untrue) = self.audits.untrue.take() {
            return Err(untrue);
        }
        for room in self.rooms.clone() {
            let mut states: BTreeMap<Vec<EventId>, (usize, Arc<RoomState>)> = BTreeMap::new();
            for node in self.plan.honest() {
                let Some(up) = &self.nodes[node].up else { continue };
                let Some(live) = up.writer.rooms.find(room) else { continue };
                let mut ids: Vec<EventId> = live.control.events().map(|event| event.id).collect();
                ids.sort_unstable();
                let mut state = live.state.clone();
                if self.plan.sabotage == Some(Sabotage::OwnRules) && node == 1 {
                    Arc::make_mut(&mut state).needs_newer = true;
                }
                let (other, known) = states.entry(ids).or_insert_with(|| (node, state.clone()));
                if *known != state {
                    let text = format!("nodes {other} and {node} hold the same of {room} and see another room");
                    return Err(Violation::new(Kind::OtherState, text));
                }
            }
        }
        Ok(())
    }

    fn check_forged(&self) -> Result<(), Violation> {
        for node in self.plan.honest() {
            let Some(up) = &self.nodes[node].up else { continue };
            if let Some(id) = self.forged.iter().find(|id| counts(up, **id)) {
                return Err(Violation::new(Kind::Unauthorised, format!("{id} counts at node {node}")));
            }
            // Whoever may not erase a message may say so all the same: it takes nothing away.
            let views = self.rooms.iter().filter_map(|room| up.view(*room));
            let mut erasing =
                views.flat_map(|view| view.state.erased.values().map(|erasure| erasure.by).collect::<Vec<_>>());
            if let Some(id) = erasing.find(|id| self.powerless.contains(id)) {
                return Err(Violation::new(Kind::Unauthorised, format!("{id} erases a message at node {node}")));
            }
        }
        Ok(())
    }

    /// After a crash: all that a node acknowledged, or told others that it has, is there.
    pub(super) fn check_kept(&mut self, node: usize) -> Result<(), Violation> {
        let Some(up) = &self.nodes[node].up else { return Ok(()) };
        let lost: Vec<&EventId> =
            self.kept[node].iter().filter(|id| up.store.number_of(**id).unwrap().is_none()).collect();
        if !lost.is_empty() {
            return Err(Violation::new(Kind::Lost, format!("node {node} has lost {} events: {lost:?}", lost.len())));
        }
        if up.store.lost_rows() > 0 {
            return Err(Violation::new(Kind::Lost, format!("node {node} misses {} rows", up.store.lost_rows())));
        }
        Ok(())
    }

    /// Whether everybody who is in a room and keeps to the rules holds what its founder holds.
    pub(super) fn is_done(&mut self) -> Result<bool, Violation> {
        Ok(self.why_not().is_none())
    }

    /// What keeps the world from being done.
    fn why_not(&self) -> Option<String> {
        for (number, room) in self.rooms.iter().enumerate() {
            let Some(founder) = &self.nodes[0].up else { return Some("node 0 is down".to_owned()) };
            let ours = founder.holdings(Vec::new()).digests(*room).unwrap();
            for node in self.plan.honest() {
                let Some(up) = &self.nodes[node].up else { return Some(format!("node {node} is down")) };
                let Some(view) = up.view(*room) else { continue };
                if view.row.pending.is_some() && !self.touched.contains(&(number, node)) {
                    return Some(format!("node {node} still waits to be let into room {number}"));
                }
                if !self.is_member(*room, node) {
                    continue;
                }
                let theirs = up.holdings(Vec::new()).digests(*room).unwrap();
                if (theirs.control, theirs.content) != (ours.control, ours.content) {
                    let (control, content) = (theirs.control == ours.control, theirs.content == ours.content);
                    let heads = |up: &Up| up.holdings(Vec::new()).heads(*room, Class::Content, 0).unwrap();
                    let [ours, theirs] = [heads(founder), heads(up)].map(BTreeSet::from_iter);
                    let more = theirs.difference(&ours).take(3).map(|head| self.describe(node, 0, head.tip.id));
                    let less = ours.difference(&theirs).take(3).map(|head| self.describe(0, node, head.tip.id));
                    let (more, less) = (more.collect::<Vec<_>>(), less.collect::<Vec<_>>());
                    return Some(format!(
                        "node {node} holds something else of room {number} than node 0: control the same: {control}, \
                         content: {content}, its heads: {more:?}, ours: {less:?}"
                    ));
                }
            }
        }
        // Two may hold the same heads while one still fetches what lies below.
        (0..self.rooms.len()).find_map(|number| {
            let founder = self.nodes[0].up.as_ref()?;
            self.difference(number, &shown(founder, self.rooms[number]))
        })
    }

    pub(super) fn unequal(&self) -> Violation {
        Violation::new(Kind::Unequal, self.why_not().unwrap_or_default())
    }

    /// An event that one node shows, and whether another holds it.
    fn describe(&self, node: usize, other: usize, id: EventId) -> String {
        let [up, other] = [node, other].map(|node| self.nodes[node].up.as_ref().unwrap());
        let event = up.store.event_by_id(id).unwrap().unwrap();
        let author = (0..self.plan.nodes).find(|n| self.nodes[*n].keys.device().id() == event.log.author);
        let log = up.store.log(event.room, &event.log).unwrap().unwrap().state;
        let is_held = other.store.number_of(id).unwrap().is_some();
        let (tips, holes) = (log.tips().len(), log.holes());
        format!("{id} by {author:?} at {}, held {is_held}, tips {tips}, holes {holes:?}", event.seq)
    }

    /// Whether a node's device is in a room, as the founder sees it.
    fn is_member(&self, room: RoomId, node: usize) -> bool {
        let device = self.nodes[node].keys.device().id();
        let view = self.nodes[0].up.as_ref().and_then(|up| up.view(room));
        view.is_some_and(|view| view.state.user_of(device).is_some())
    }

    /// What must hold in the end.
    pub(super) fn check_end(&mut self) -> Result<(), Violation> {
        self.check_now()?;
        for node in self.plan.honest().collect::<Vec<_>>() {
            self.check_kept(node)?;
        }
        for number in 0..self.rooms.len() {
            self.check_room(number)?;
        }
        let node = usize::try_from(self.plan.seed).unwrap_or(0) % self.plan.nodes;
        let verified = self.nodes[node].up.as_ref().and_then(|up| up.store.verify(&mut |_| true));
        if let Some(verified) = verified.filter(|verified| verified.flaw_count > 0) {
            return Err(Violation::new(Kind::Damaged, format!("node {node}: {:?}", verified.flaws)));
        }
        Ok(())
    }

    /// What of a room is not the same at all who are in it.
    fn difference(&self, number: usize, shown: &[StoredEvent]) -> Option<String> {
        let (room, founder) = (self.rooms[number], self.nodes[0].up.as_ref()?);
        let ids: BTreeSet<EventId> = shown.iter().map(|event| event.id).collect();
        let state = founder.writer.rooms.find(room).map(|live| (live.control.kept(), visible(&live.state)));
        for node in self.plan.honest().filter(|node| self.is_member(room, *node)) {
            let Some(up) = &self.nodes[node].up else { continue };
            let theirs: BTreeSet<EventId> = self::shown(up, room).iter().map(|event| event.id).collect();
            if theirs != ids {
                let more: Vec<_> = theirs.difference(&ids).take(3).map(|id| self.describe(node, 0, *id)).collect();
                let less: Vec<_> = ids.difference(&theirs).take(3).map(|id| self.describe(0, node, *id)).collect();
                return Some(format!("of room {number} node {node} shows more than node 0: {more:?}, less: {less:?}"));
            }
            if up.writer.rooms.find(room).map(|live| (live.control.kept(), visible(&live.state))) != state {
                return Some(format!("node {node} sees room {number} otherwise than node 0"));
            }
        }
        None
    }

    fn check_room(&self, number: usize) -> Result<(), Violation> {
        let Some(founder) = &self.nodes[0].up else { return Ok(()) };
        let shown = shown(founder, self.rooms[number]);
        let ids: BTreeSet<EventId> = shown.iter().map(|event| event.id).collect();
        for ((_, node), said) in self.acknowledged.iter().filter(|((of, _), _)| *of == number) {
            let is_sure = !self.plan.is_traitor(*node) && !self.touched.contains(&(number, *node));
            if let Some(id) = said.iter().find(|id| is_sure && !ids.contains(id)) {
                let text = format!("{id}, said by node {node} in room {number} and acknowledged, is nowhere");
                return Err(Violation::new(Kind::Lost, text));
            }
        }
        let honest: BTreeSet<DeviceId> = self.plan.honest().map(|node| self.nodes[node].keys.device().id()).collect();
        let mut places = BTreeSet::new();
        for event in shown.iter().filter(|event| honest.contains(&event.log.author)) {
            if !places.insert((event.log, event.seq)) {
                let text = format!("two events stand at {} of a log of an honest device", event.seq);
                return Err(Violation::new(Kind::Forked, text));
            }
        }
        Ok(())
    }
}

/// What of a room is the same for all, whatever void events each has kept.
fn visible(state: &RoomState) -> impl PartialEq + use<> {
    let RoomState { kind, secret, members, invites, settings, settings_by, erased, successor, .. } = state.clone();
    (kind, secret, members, invites, settings, settings_by, erased, successor)
}

/// Whether an event counts at a node.
fn counts(up: &Up, id: EventId) -> bool {
    let Some(event) = up.store.event_by_id(id).unwrap() else { return false };
    let Some(room) = up.writer.rooms.of_number(event.room) else { return false };
    match (event.log.class, up.view(room)) {
        (Class::Content, Some(view)) => effective::author_of(&up.store, &view, &event).unwrap().is_some(),
        _ => up.writer.rooms.find(room).is_some_and(|live| live.control.counts(id)),
    }
}

/// The content of a room that counts at a node.
pub(super) fn shown(up: &Up, room: RoomId) -> Vec<StoredEvent> {
    let Some(view) = up.view(room) else { return Vec::new() };
    let logs = up.store.logs(view.number, Class::Content).unwrap();
    let events = logs.iter().flat_map(|(log, _)| up.store.events_of_log(view.number, log, usize::MAX).unwrap());
    events.filter(|event| effective::author_of(&up.store, &view, event).unwrap().is_some()).collect()
}
