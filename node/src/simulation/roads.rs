//! The ways between simulated nodes: connections that come and go, frames that keep their order and arrive late or not, gossip
//! that does neither, and directions that are cut.

use super::fate::Dice;
use super::node::peer_id;
use super::talk::{End, Talk};
use super::world::{Event, World};
use crate::command::Command;
use crate::ingest::Verdict;
use crate::sync::offers;
use crate::writer::Origin;
use std::collections::VecDeque;
use std::sync::Arc;
use tidings_protocol::codec::encode;
use tidings_protocol::control::payload::RoomKind;
use tidings_protocol::event::SignedEvent;
use tidings_protocol::id::RoomId;
use tidings_protocol::sync::{Conversation, Input, Settings, Side};
use tidings_protocol::wire::Frame;

/// Two nodes that may be connected.
pub(super) struct Link {
    epoch: u64,
    /// How many reasons there are why nothing passes, by direction: from the lower node, to it.
    pub(super) cuts: [u32; 2],
    /// When the last frame arrives, by direction: they keep their order.
    arrives_ms: [u64; 2],
    /// Frames that wait for the way to be open again.
    waiting: [VecDeque<Vec<u8>>; 2],
    latency_ms: u64,
    pub(super) is_dialled: bool,
    pub(super) dice: Dice,
}

impl World {
    /// Makes two nodes try to be connected from now on.
    pub(super) fn link(&mut self, a: usize, b: usize) {
        let (a, b) = (a.min(b), a.max(b));
        if a == b || self.links.contains_key(&(a, b)) {
            return;
        }
        let mut dice = Dice::of(self.plan.seed, 1_000_000 + (a * 1_000 + b) as u64);
        let latency_ms = 1 + dice.below(120);
        let link = Link {
            epoch: 0,
            cuts: [0; 2],
            arrives_ms: [0; 2],
            waiting: [VecDeque::new(), VecDeque::new()],
            latency_ms,
            is_dialled: true,
            dice,
        };
        self.links.insert((a, b), link);
        self.after(latency_ms, Event::Connect { a, b });
    }

    pub(super) fn dial(&mut self, a: usize, b: usize, at_least_ms: u64) {
        let (a, b) = (a.min(b), a.max(b));
        let Some(link) = self.links.get_mut(&(a, b)).filter(|link| !link.is_dialled) else { return };
        link.is_dialled = true;
        let wait_ms = at_least_ms + link.dice.below(4_000);
        self.after(wait_ms, Event::Connect { a, b });
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) {
        let Some(link) = self.links.get_mut(&(a, b)) else { return };
        link.is_dialled = false;
        let is_open = link.cuts == [0; 2];
        let are_up = [a, b].map(|node| self.nodes[node].up.is_some());
        // Whoever is down dials when it is up again.
        if !are_up[0] || self.nodes[a].up.as_ref().is_some_and(|up| up.talks.contains_key(&b)) {
            return;
        }
        if !are_up[1] || !is_open {
            return self.dial(a, b, 1_000);
        }
        self.epochs += 1;
        let epoch = self.epochs;
        let link = self.links.get_mut(&(a, b)).unwrap();
        (link.epoch, link.waiting) = (epoch, [VecDeque::new(), VecDeque::new()]);
        for (node, peer, side) in [(a, b, Side::Initiator), (b, a, Side::Responder)] {
            self.begin_talk(node, peer, side, epoch);
        }
        self.input(a, b, Input::Recheck(RoomId::ZERO));
    }

    fn begin_talk(&mut self, node: usize, peer: usize, side: Side, epoch: u64) {
        let (now_ms, keys) = (self.now_ms, self.nodes[node].keys.clone());
        self.nodes[node].act(now_ms, |up| {
            let (us, them) = (peer_id(node), peer_id(peer));
            up.talks.remove(&peer);
            up.leases.free_all(&them);
            let offers = offers::all(&up.views, &up.store, &keys, &us);
            let nonce = crate::keys::random();
            let settings = Settings { side, network: String::new(), nonce, us, them: them.clone() };
            let held = up.holdings(them);
            up.talks.insert(peer, Talk::new(epoch, Conversation::new(settings, offers), held, now_ms));
        });
        self.after(WATCH_EVERY_MS, Event::Watch { node, peer, epoch });
        let wait_ms = 90_000 + self.dice(node, peer).below(60_000);
        self.after(wait_ms, Event::Recheck { node, peer, epoch });
    }

    /// A conversation ends at one side; the other hears of it, now or when it gives up.
    pub(super) fn end(&mut self, node: usize, peer: usize, why: &End) {
        let now_ms = self.now_ms;
        let Some(Some(talk)) = self.nodes[node].act(now_ms, |up| {
            up.leases.free_all(&peer_id(peer));
            up.talks.remove(&peer)
        }) else {
            return;
        };
        let is_fault = matches!(why, End::Fault(_));
        self.figures.faults += u64::from(is_fault);
        self.figures.breaks += 1;
        self.tell(|| format!("{node}: talk with {peer} ends: {why}"));
        let heard_ms = if self.is_cut(node, peer) { 10_000 } else { 1 };
        let wait_ms = heard_ms + self.dice(node, peer).below(200);
        self.after(wait_ms, Event::Drop { node: peer, peer: node, epoch: talk.epoch });
        self.dial(node, peer, if is_fault { 5_000 } else { 500 });
        self.resume_freed(node);
    }

    pub(super) fn is_cut(&self, from: usize, to: usize) -> bool {
        let way = usize::from(from > to);
        self.links.get(&(from.min(to), from.max(to))).is_none_or(|link| link.cuts[way] > 0)
    }

    /// Sends a frame on its way.
    pub(super) fn transmit(&mut self, node: usize, peer: usize, frame: &Frame) {
        let Some(frames) = self.twisted(node, peer, frame) else { return };
        for bytes in frames {
            self.transmit_bytes(node, peer, bytes);
        }
    }

    fn transmit_bytes(&mut self, node: usize, peer: usize, bytes: Vec<u8>) {
        let way = usize::from(node > peer);
        let loss = if self.is_calm { 0 } else { self.plan.loss };
        let now_ms = self.now_ms;
        let Some(link) = self.links.get_mut(&(node.min(peer), node.max(peer))) else { return };
        let epoch = link.epoch;
        if link.cuts[way] > 0 {
            // It is sent again and again, until the connection is given up.
            if link.waiting[way].is_empty() {
                let wait_ms = 15_000 + link.dice.below(15_000);
                self.after(wait_ms, Event::Drop { node, peer, epoch });
            }
            let link = self.links.get_mut(&(node.min(peer), node.max(peer))).unwrap();
            return link.waiting[way].push_back(bytes);
        }
        let (mut wait_ms, mut tries) = (link.latency_ms + link.dice.below(1 + link.latency_ms), 0);
        while tries < TRIES_MAX && link.dice.percent(loss) {
            wait_ms += 200 << tries;
            tries += 1;
        }
        let arrives_ms = (now_ms + wait_ms).max(link.arrives_ms[way]);
        link.arrives_ms[way] = arrives_ms;
        self.figures.lost += u64::from(tries > 0);
        let what = match tries {
            TRIES_MAX => Event::Drop { node, peer, epoch },
            _ => Event::Frame { from: node, to: peer, epoch, bytes },
        };
        self.after(arrives_ms - now_ms, what);
    }

    /// What of a traitor's frame goes out, and what beside it; nothing changes for the honest.
    fn twisted(&mut self, node: usize, peer: usize, frame: &Frame) -> Option<Vec<Vec<u8>>> {
        let bytes = frame.to_bytes();
        if !self.plan.is_traitor(node) {
            return Some(vec![bytes]);
        }
        let out = self.twist(node, peer, frame, bytes.clone());
        let sent = self.sent.entry(node).or_default();
        if sent.len() < SENT_MAX {
            sent.push((peer, bytes));
        }
        out
    }

    /// Something that a traitor has sent to this peer before.
    pub(super) fn sent_before(&mut self, node: usize, peer: usize) -> Option<Vec<u8>> {
        let of_peer = |(to, bytes): &(usize, Vec<u8>)| (*to == peer).then(|| bytes.clone());
        let sent: Vec<Vec<u8>> = self.sent.get(&node)?.iter().filter_map(of_peer).collect();
        self.nodes[node].dice.pick(&sent).cloned()
    }

    pub(super) fn publish(&mut self, node: usize, room: usize, number: u64) {
        let Some(up) = self.nodes[node].up.as_ref() else { return };
        let Some(event) = up.store.event(number).unwrap() else { return };
        if let Some(signed) = up.store.signed_event(self.rooms[room], &event).unwrap() {
            self.spread(node, room, node, &Arc::new(encode(&signed)));
        }
    }

    /// Gossip: to everybody that a node is connected with, but for one.
    pub(super) fn spread(&mut self, node: usize, room: usize, but: usize, data: &Arc<Vec<u8>>) {
        if self.plan.rooms[room] != RoomKind::Public || self.is_mute() {
            return;
        }
        let talks = self.nodes[node].up.as_ref().map(|up| up.talks.keys().copied().collect::<Vec<_>>());
        let (loss, doubled) = if self.is_calm { (0, 0) } else { (self.plan.loss, self.plan.doubled) };
        for peer in talks.into_iter().flatten().filter(|peer| *peer != but) {
            if self.is_cut(node, peer) {
                continue;
            }
            let dice = self.dice(node, peer);
            let (is_lost, is_doubled) = (dice.percent(loss), dice.percent(doubled));
            let waits_ms = [dice.below(2_000), dice.below(2_000)];
            (self.figures.lost, self.figures.doubled) =
                (self.figures.lost + u64::from(is_lost), self.figures.doubled + u64::from(is_doubled));
            for wait_ms in waits_ms.into_iter().take(if is_lost { 0 } else { 1 + usize::from(is_doubled) }) {
                self.after(1 + wait_ms, Event::Gossip { from: node, to: peer, room, data: data.clone() });
            }
        }
    }

    /// A message of gossip comes: judged, admitted, and passed on if it is new.
    pub(super) fn hear(&mut self, from: usize, to: usize, number: usize, data: &Arc<Vec<u8>>) {
        let room = self.rooms[number];
        let Ok(event) = SignedEvent::decode(data) else { return };
        let Ok(event) = event.verify() else { return };
        if self.known_room(to, number).is_none() || event.room() != room {
            return;
        }
        let (events, origin) = (vec![event], Origin::Live(peer_id(from)));
        let admitted = self.command(to, |reply| Command::Admit { room, events, origin, reply });
        if admitted.is_some_and(|admitted| admitted.is_ok_and(|admitted| admitted.verdict == Verdict::Stored)) {
            self.spread(to, number, from, data);
        }
    }

    pub(super) fn cut(&mut self, pairs: Vec<(usize, usize)>, for_ms: u64) {
        for (from, to) in &pairs {
            if let Some(link) = self.links.get_mut(&(*from.min(to), *from.max(to))) {
                link.cuts[usize::from(from > to)] += 1;
            }
        }
        self.after(for_ms, Event::Uncut { pairs });
    }

    pub(super) fn uncut(&mut self, from: usize, to: usize) {
        let way = usize::from(from > to);
        let Some(link) = self.links.get_mut(&(from.min(to), from.max(to))) else { return };
        link.cuts[way] = link.cuts[way].saturating_sub(1);
        if link.cuts[way] == 0 {
            let waiting = std::mem::take(&mut link.waiting[way]);
            let epoch = link.epoch;
            if self.talks(from, to, epoch) {
                waiting.into_iter().for_each(|bytes| self.transmit_bytes(from, to, bytes));
            }
        }
    }
}

/// How often one looks whether a peer owes an answer.
pub(super) const WATCH_EVERY_MS: u64 = 10_000;
/// A frame that is lost so often in a row ends its connection.
const TRIES_MAX: u32 = 6;
/// Frames of a traitor that it remembers.
const SENT_MAX: usize = 64;
