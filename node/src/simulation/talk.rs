//! One side of a conversation as the node's task keeps it (`sync/talk.rs`): what is told of the store's news, and what is
//! done about what comes.

use super::node::peer_id;
use super::world::World;
use crate::clock::now_ms;
use crate::command::Command;
use crate::ingest::Verdict;
use crate::purge::heads_to_tell;
use crate::sync::holdings::NodeHoldings;
use crate::sync::offers;
use crate::writer::{Origin, Stored};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tidings_protocol::codec::encode;
use tidings_protocol::control::kind::ends_somebody;
use tidings_protocol::event::{Class, SignedEvent};
use tidings_protocol::id::RoomId;
use tidings_protocol::log::{Log, Tip};
use tidings_protocol::range::{Range, Vouched};
use tidings_protocol::sync::{Conversation, Input, Output};
use tidings_protocol::wire::Head;

/// One side of a conversation.
pub(super) struct Talk {
    /// Which conversation of these two.
    pub(super) epoch: u64,
    pub(super) conversation: Conversation,
    pub(super) held: NodeHoldings,
    pub(super) todo: VecDeque<Todo>,
    /// Logs that moved and of which the peer was not told yet.
    moved: BTreeSet<(RoomId, Log)>,
    /// Rooms of which something came that rests on what is missing, and when they were last compared because of that.
    gaps: BTreeSet<RoomId>,
    compared: BTreeMap<RoomId, u64>,
    parted: BTreeSet<RoomId>,
    pub(super) begun_ms: u64,
    /// A tick is to come.
    pub(super) ticks: bool,
}

/// What a conversation wants done, in its order.
pub(super) enum Todo {
    Deliver { request: u32, room: RoomId, log: Log, top: Tip, vouched: Vouched, range: Range, bytes: u32 },
    Introduce { room: RoomId, events: Vec<Vec<u8>> },
    Pushed { room: RoomId, event: Vec<u8> },
}

/// Why a conversation ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    /// The peer broke the rules.
    #[error("fault: {0}")]
    Fault(String),
    /// It owes an answer for too long, or the connection is gone.
    #[error("no progress")]
    Stalled,
}

impl Talk {
    pub(super) fn new(epoch: u64, conversation: Conversation, held: NodeHoldings, begun_ms: u64) -> Talk {
        let (todo, moved, gaps) = (VecDeque::new(), BTreeSet::new(), BTreeSet::new());
        let (compared, parted) = (BTreeMap::new(), BTreeSet::new());
        Talk { epoch, conversation, held, todo, moved, gaps, compared, parted, begun_ms, ticks: false }
    }

    /// After how long it tells or compares something, if there is anything.
    pub(super) fn next_tick_ms(&self) -> Option<u64> {
        match (self.moved.is_empty() && self.parted.is_empty(), self.gaps.is_empty()) {
            (false, _) => Some(ANNOUNCE_EVERY_MS),
            (true, false) => Some(GAP_EVERY_MS / 4),
            (true, true) => None,
        }
    }
}

impl World {
    /// Gives a conversation an input, and does what it wants.
    pub(super) fn input(&mut self, node: usize, peer: usize, input: Input) {
        let now_ms = self.now_ms;
        self.tell(|| format!("{node}/{peer} input {:.24}", format!("{input:?}")));
        let done = self.nodes[node].act(now_ms, |up| {
            let talk = up.talks.get_mut(&peer)?;
            if let Err(failure) = talk.conversation.handle(input, &talk.held, crate::clock::now_ms()) {
                return Some(Err(failure));
            }
            let mut outputs = Vec::new();
            loop {
                match talk.conversation.next_output(&talk.held) {
                    Ok(Some(output)) => outputs.push(output),
                    Ok(None) => return Some(Ok(outputs)),
                    Err(failure) => return Some(Err(failure)),
                }
            }
        });
        match done.flatten() {
            None => {}
            Some(Ok(outputs)) => outputs.into_iter().for_each(|output| self.output(node, peer, output)),
            Some(Err(failure)) => self.end(node, peer, &End::Fault(failure.to_string())),
        }
    }

    fn output(&mut self, node: usize, peer: usize, output: Output) {
        let todo = match output {
            Output::Send(frame) | Output::Farewell(frame) => return self.transmit(node, peer, &frame),
            Output::Deliver { request, room, log, top, vouched, range, bytes } => {
                Todo::Deliver { request, room, log, top, vouched, range, bytes }
            }
            Output::Introduce { room, events } => Todo::Introduce { room, events },
            Output::Pushed { room, event } => Todo::Pushed { room, event },
            Output::Closed(room) | Output::SameControl(room) => {
                let now_ms = self.now_ms;
                self.nodes[node].act(now_ms, |up| {
                    if up.view(room).is_some_and(|view| view.row.left)
                        && let Some(talk) = up.talks.get_mut(&peer)
                    {
                        talk.parted.insert(room);
                    }
                });
                return self.plan_tick(node, peer);
            }
            Output::Agreed { room, agreed } => {
                let now_ms = self.now_ms;
                let bytes = peer_id(peer);
                self.nodes[node].act(now_ms, |up| up.leases.free(room, &bytes));
                let agreement = tidings_storage::Agreement { token: agreed.token, change: agreed.change };
                self.nodes[node].order(now_ms, Command::Agree { room, peer: bytes, agreement });
                self.forget_outbox(node, room);
                return self.after_commit(node);
            }
            Output::Rested(room) => {
                let (now_ms, bytes) = (self.now_ms, peer_id(peer));
                self.nodes[node].act(now_ms, |up| up.leases.free(room, &bytes));
                return self.resume_freed(node);
            }
            Output::Asked { room, nonce } => return self.asked(node, peer, room, nonce),
            Output::Answered { room, answer } => return self.answered(node, room, &answer),
            Output::Key { .. } | Output::Beacons { .. } | Output::Shared(_) | Output::Refused(_) => return,
        };
        let up = self.nodes[node].up.as_mut();
        if let Some(talk) = up.and_then(|up| up.talks.get_mut(&peer)) {
            talk.todo.push_back(todo);
            let epoch = talk.epoch;
            self.plan_work(node, peer, epoch);
        }
    }

    /// Does the next thing that a conversation asked for.
    pub(super) fn work(&mut self, node: usize, peer: usize) {
        let up = self.nodes[node].up.as_mut();
        let Some(todo) = up.and_then(|up| up.talks.get_mut(&peer)?.todo.pop_front()) else { return };
        match todo {
            Todo::Deliver { request, room, log, top, vouched, range, bytes } => {
                let bottom = (range.prev, range.first_seq);
                let events = match range.verify(room, log, top, vouched) {
                    Ok(events) => events,
                    Err(error) if error.may_be_honest(vouched) => {
                        return self.input(node, peer, Input::Untrue { request, bytes });
                    }
                    Err(error) => return self.end(node, peer, &End::Fault(error.to_string())),
                };
                let origin = Origin::Bulk(peer_id(peer));
                let admitted = self.command(node, |reply| Command::Admit { room, events, origin, reply });
                match admitted {
                    Some(Ok(admitted)) => match admitted.verdict {
                        Verdict::Rejected(why) => self.end(node, peer, &End::Fault(why.to_string())),
                        _ => {
                            let new = !admitted.stored.is_empty();
                            let kept = new || admitted.known > 0;
                            self.input(node, peer, Input::Delivered { request, bytes, new, kept, bottom });
                        }
                    },
                    _ => self.end(node, peer, &End::Stalled),
                }
            }
            Todo::Introduce { room, events } => {
                for bytes in events {
                    let event = SignedEvent::decode(&bytes).ok().and_then(|event| event.verify().ok());
                    let Some(event) = event else { break };
                    let (events, origin) = (vec![event], Origin::Live(peer_id(peer)));
                    self.command(node, |reply| Command::Admit { room, events, origin, reply });
                }
                self.input(node, peer, Input::Introduced(room));
            }
            Todo::Pushed { room, event } => {
                let event = SignedEvent::decode(&event).map_err(|e| e.to_string());
                match event.and_then(|event| event.verify().map_err(|e| e.to_string())) {
                    Err(why) => self.end(node, peer, &End::Fault(why)),
                    Ok(event) => {
                        let (events, origin) = (vec![event], Origin::Live(peer_id(peer)));
                        let admitted = self.command(node, |reply| Command::Admit { room, events, origin, reply });
                        match admitted.map(|admitted| admitted.map(|admitted| admitted.verdict)) {
                            Some(Ok(Verdict::Rejected(why))) => self.end(node, peer, &End::Fault(why.to_string())),
                            Some(Ok(Verdict::Waiting(_))) => self.note_gap(node, peer, room),
                            _ => {}
                        }
                    }
                }
            }
        }
    }

    fn note_gap(&mut self, node: usize, peer: usize, room: RoomId) {
        if let Some(talk) = self.nodes[node].up.as_mut().and_then(|up| up.talks.get_mut(&peer)) {
            talk.gaps.insert(room);
        }
        self.plan_tick(node, peer);
    }

    /// Something new is in the store: tells a peer of it.
    pub(super) fn news(&mut self, node: usize, peer: usize, news: &Stored) {
        let from_them = matches!(&news.origin, Origin::Live(p) | Origin::Bulk(p) if *p == peer_id(peer));
        let is_mute = self.is_mute();
        for number in news.numbers.iter().filter(|_| !from_them && !is_mute) {
            let now_ms = self.now_ms;
            let told = self.nodes[node].act(now_ms, |up| {
                let event = up.store.event(*number).unwrap()?;
                let talk = up.talks.get_mut(&peer)?;
                let ends = event.log.class == Class::Control && ends_somebody(event.kind);
                if !ends && news.origin != Origin::Local {
                    talk.moved.insert((news.room, event.log));
                    return Some((event.log, None));
                }
                let mut chain = vec![event];
                if ends && talk.conversation.is_shut(news.room, &talk.held).unwrap() {
                    while let Some(lower) = chain.last().filter(|_| chain.len() < 16) {
                        let prev = up.store.header(news.room, lower).unwrap().prev;
                        let Some(event) = up.store.event_by_id(prev).unwrap().filter(|e| e.log == lower.log) else {
                            break;
                        };
                        chain.push(event);
                    }
                } else if !talk.conversation.shared().any(|room| room == news.room) {
                    return None;
                }
                let signed = chain.iter().rev().filter_map(|e| up.store.signed_event(news.room, e).unwrap());
                Some((chain[0].log, Some(signed.map(|event| encode(&event)).collect::<Vec<_>>())))
            });
            let Some((log, pushed)) = told.flatten() else { continue };
            let is_pushed = pushed.is_some();
            for event in pushed.into_iter().flatten() {
                self.input(node, peer, Input::Push { room: news.room, event });
            }
            let up = self.nodes[node].up.as_ref();
            if is_pushed && up.and_then(|up| up.view(news.room)).is_some_and(|view| view.row.left) {
                self.input(node, peer, Input::Gap(news.room));
            }
            if matches!(news.origin, Origin::Bulk(_)) && log.class == Class::Content {
                break;
            }
        }
        self.plan_tick(node, peer);
        if news.room_changed {
            self.offer(node, peer, news.room);
        }
    }

    /// Offers a room as it is now.
    pub(super) fn offer(&mut self, node: usize, peer: usize, room: RoomId) {
        let (now_ms, keys) = (self.now_ms, self.nodes[node].keys.clone());
        let input = self.nodes[node].act(now_ms, |up| match up.view(room) {
            Some(view) if offers::is_offered(&view, &up.store) => {
                Input::Offer(offers::offer(room, &view, &up.store, &keys, &peer_id(node)))
            }
            _ => Input::Withdraw(room),
        });
        if let Some(input) = input {
            self.input(node, peer, input);
        }
    }

    /// Announces what moved, compares where something came too early, and speaks no more of rooms that were left.
    pub(super) fn tick(&mut self, node: usize, peer: usize) {
        let now_ms = self.now_ms;
        let due = self.nodes[node].act(now_ms, |up| {
            let talk = up.talks.get_mut(&peer)?;
            talk.ticks = false;
            let mut heads: BTreeMap<(RoomId, Class), Vec<Head>> = BTreeMap::new();
            for (room, log) in std::mem::take(&mut talk.moved) {
                let Some(view) = up.views.find(room) else { continue };
                let of_room = heads.entry((room, log.class)).or_default();
                if log.class == Class::Control {
                    of_room.extend(view.control_heads.iter().filter(|h| h.log(log.class) == log));
                } else if let Some(row) = up.store.log(view.number, &log).unwrap() {
                    of_room.extend(heads_to_tell(&up.store, &view, &log, &row).unwrap());
                }
            }
            let is_due = |room: &RoomId| talk.compared.get(room).is_none_or(|at| now_ms >= at + GAP_EVERY_MS);
            let gaps: Vec<RoomId> = talk.gaps.iter().copied().filter(is_due).collect();
            for room in &gaps {
                talk.gaps.remove(room);
                talk.compared.insert(*room, now_ms);
            }
            Some((heads, gaps, std::mem::take(&mut talk.parted)))
        });
        let Some((heads, gaps, parted)) = due.flatten() else { return };
        for ((room, class), heads) in heads {
            self.input(node, peer, Input::Moved { room, class, heads });
        }
        for room in gaps {
            self.input(node, peer, Input::Gap(room));
        }
        for room in parted {
            self.forget_outbox(node, room);
            self.input(node, peer, Input::Withdraw(room));
        }
        self.plan_tick(node, peer);
    }

    fn forget_outbox(&mut self, node: usize, room: RoomId) {
        let now_ms = self.now_ms;
        let numbers = self.nodes[node].act(now_ms, |up| {
            let number = up.view(room)?.number;
            let of_room = |n: &u64| up.store.event(*n).unwrap().is_some_and(|event| event.room == number);
            Some(up.store.outbox().unwrap().into_iter().filter(of_room).collect::<Vec<u64>>())
        });
        if let Some(numbers) = numbers.flatten().filter(|numbers| !numbers.is_empty()) {
            self.nodes[node].order(now_ms, Command::Told(numbers));
            self.after_commit(node);
        }
    }

    /// Makes sure that two who seem equal are.
    pub(super) fn recheck(&mut self, node: usize, peer: usize) {
        let now_ms = self.now_ms;
        let rooms = self.nodes[node].act(now_ms, |up| {
            let mut rooms: Vec<RoomId> = up.talks.get(&peer)?.conversation.shared().collect();
            rooms.extend(
                up.views.all().into_iter().filter_map(|(room, view)| view.row.pending.is_some().then_some(room)),
            );
            Some(rooms)
        });
        for room in rooms.flatten().into_iter().flatten() {
            self.input(node, peer, Input::Recheck(room));
        }
    }

    /// Whether the peer owes an answer for too long.
    pub(super) fn is_stalled(&mut self, node: usize, peer: usize) -> bool {
        let world_ms = self.now_ms;
        let stalled = self.nodes[node].act(world_ms, |up| {
            let talk = up.talks.get(&peer)?;
            let waiting = match talk.conversation.waiting_since_ms() {
                Some(since_ms) => now_ms().saturating_sub(since_ms),
                None if talk.conversation.is_waiting() => world_ms - talk.begun_ms,
                None => 0,
            };
            Some(waiting > STALLED_AFTER_MS)
        });
        stalled.flatten().unwrap_or(false)
    }
}

/// These as in `sync/talk.rs`.
const ANNOUNCE_EVERY_MS: u64 = 50;
const GAP_EVERY_MS: u64 = 2_000;
const STALLED_AFTER_MS: u64 = 30_000;
