//! Audits in a simulated world. Whoever answers has its node's events written down beside the answer; whoever agrees with it,
//! and knows of no gap, must hold every one of them.

use super::check::{Kind, Violation, shown};
use super::plan::Sabotage;
use super::world::World;
use crate::audit;
use crate::keys;
use std::collections::BTreeMap;
use tidings_protocol::answer::SignedAnswer;
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::sync::Input;

/// What was asked, and what must be true of who agrees.
#[derive(Default)]
pub(super) struct Audits {
    /// What the node that answered held then, and which it is: by the nonce of the question.
    answered: BTreeMap<[u8; 16], (usize, Vec<EventId>)>,
    /// The first answer that was believed and is not true.
    pub(super) untrue: Option<Violation>,
}

impl World {
    /// Asks everybody that a node talks with.
    pub(super) fn audit(&mut self, node: usize, number: usize) {
        let (room, now_ms) = (self.rooms[number], self.now_ms);
        let peers = self.nodes[node].up.as_ref().map(|up| up.talks.keys().copied().collect::<Vec<_>>());
        for peer in peers.unwrap_or_default() {
            let nonce = self.nodes[node].act(now_ms, |_| keys::random());
            if let Some(nonce) = nonce {
                self.input(node, peer, Input::Ask { room, nonce });
            }
        }
    }

    /// A peer asks a node, which answers once what it holds is on disk.
    pub(super) fn asked(&mut self, node: usize, peer: usize, room: RoomId, nonce: [u8; 16]) {
        let (now_ms, keys) = (self.now_ms, self.nodes[node].keys.clone());
        let answering = self.nodes[node].act(now_ms, |up| {
            let (view, talk) = (up.view(room)?, up.talks.get(&peer)?);
            audit::answer(&talk.held, &keys, &view, nonce).unwrap()
        });
        let Some(answering) = answering.flatten() else { return };
        let held = self.nodes[node].up.as_ref().map(|up| {
            let control = up.writer.rooms.find(room).map(|live| live.control.kept());
            let content = shown(up, room).into_iter().map(|event| event.id);
            control.unwrap_or_default().into_iter().chain(content).collect()
        });
        self.audits.answered.insert(nonce, (node, held.unwrap_or_default()));
        self.nodes[node].sync(now_ms);
        self.after_commit(node);
        self.input(node, peer, Input::Answer { room, answer: answering.answer });
    }

    /// A peer has answered a node.
    pub(super) fn answered(&mut self, node: usize, room: RoomId, answer: &SignedAnswer) {
        // Nobody but its device says this; what is garbled is no answer.
        let (now_ms, Ok(())) = (self.now_ms, answer.verify(room)) else { return };
        let is_yes_man = self.plan.sabotage == Some(Sabotage::YesMan);
        let agrees = self.nodes[node].act(now_ms, |up| {
            let view = up.view(room).filter(|view| view.state.user_of(answer.device).is_some())?;
            let agrees = audit::agrees(&up.holdings(Vec::new()), &up.beacons, room, answer).unwrap() || is_yes_man;
            Some(agrees && audit::gaps(&up.store, &view).unwrap().is_empty())
        });
        let Some(agrees) = agrees.flatten() else { return };
        self.figures.audits += 1;
        self.figures.agreed += u64::from(agrees);
        let Some((other, held)) = self.audits.answered.remove(&answer.nonce) else { return };
        if !agrees || self.plan.is_traitor(other) || self.plan.is_traitor(node) {
            return;
        }
        let Some(up) = &self.nodes[node].up else { return };
        if let Some(id) = held.iter().find(|id| up.store.number_of(**id).unwrap().is_none()) {
            let text = format!("node {node} agrees with node {other}, which holds {id}: {node} does not");
            self.audits.untrue = Some(Violation::new(Kind::FalseAudit, text));
        }
    }
}
