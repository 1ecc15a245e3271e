//! The simulated world: what is under way between nodes, what comes next, what breaks.

use super::audits::Audits;
use super::check::{Kind, Violation};
use super::fate::Dice;
use super::node::Node;
use super::plan::{Breaks, Plan, Sabotage};
use super::roads::{Link, WATCH_EVERY_MS};
use super::talk::End;
use crate::command::{Command, Reply};
use crate::writer::{Origin, Stored, WriteError};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::link::InviteLink;
use tidings_protocol::sync::Input;
use tidings_protocol::wire::Frame;

/// All of it.
pub(super) struct World {
    pub(super) plan: Plan,
    /// What time it is.
    pub(super) now_ms: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) links: BTreeMap<(usize, usize), Link>,
    queue: BinaryHeap<Reverse<Next>>,
    count: u64,
    pub(super) epochs: u64,
    /// Nothing breaks any more.
    pub(super) is_calm: bool,
    /// News that is being told, by node.
    news: BTreeMap<usize, VecDeque<Arc<Stored>>>,
    syncs: BTreeSet<usize>,
    /// Nodes that crash before what they write next is on disk: for how long, and what of it stays.
    doomed: BTreeMap<usize, (u64, u64)>,
    pub(super) rooms: Vec<RoomId>,
    /// Open links into each room, and by whom they were opened.
    pub(super) invites: Vec<Vec<(usize, InviteLink)>>,
    /// Messages said so far, by room, with their authors' nodes.
    pub(super) said: Vec<Vec<(EventId, usize)>>,
    /// What each node acknowledged, or told others that it has.
    pub(super) kept: Vec<BTreeSet<EventId>>,
    /// What each node's user was told is said, by room.
    pub(super) acknowledged: BTreeMap<(usize, usize), BTreeSet<EventId>>,
    /// Whose standing in which room was changed by anybody: what they said need not count.
    pub(super) touched: BTreeSet<(usize, usize)>,
    /// What must never count.
    pub(super) forged: BTreeSet<EventId>,
    /// What may count and must never have an effect.
    pub(super) powerless: BTreeSet<EventId>,
    /// Frames that traitors sent, to be sent again.
    pub(super) sent: BTreeMap<usize, Vec<(usize, Vec<u8>)>>,
    pub(super) audits: Audits,
    pub(super) figures: Figures,
    trace: blake3::Hasher,
    pub(super) journal: Option<Vec<String>>,
}

/// What a run went through: to be sure that it did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) steps: u64,
    pub(super) said: u64,
    pub(super) frames: u64,
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) breaks: u64,
    pub(super) crashes: u64,
    /// Crashes that took something that was written and not on disk.
    pub(super) torn: u64,
    pub(super) forged: u64,
    pub(super) faults: u64,
    pub(super) checks: u64,
    /// Answers that were looked at, and those that agreed.
    pub(super) audits: u64,
    pub(super) agreed: u64,
    pub(super) virtual_ms: u64,
}

impl Figures {
    pub(super) fn add(&mut self, more: &Figures) {
        let Figures {
            steps,
            said,
            frames,
            lost,
            doubled,
            breaks,
            crashes,
            torn,
            forged,
            faults,
            checks,
            audits,
            agreed,
            virtual_ms,
        } = more;
        self.steps += steps;
        self.said += said;
        self.frames += frames;
        self.lost += lost;
        self.doubled += doubled;
        self.breaks += breaks;
        self.crashes += crashes;
        self.torn += torn;
        self.forged += forged;
        self.faults += faults;
        self.checks += checks;
        self.audits += audits;
        self.agreed += agreed;
        self.virtual_ms += virtual_ms;
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Next {
    at_ms: u64,
    count: u64,
    what: Event,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    Frame { from: usize, to: usize, epoch: u64, bytes: Vec<u8> },
    Gossip { from: usize, to: usize, room: usize, data: Arc<Vec<u8>> },
    Work { node: usize, peer: usize, epoch: u64 },
    Tick { node: usize, peer: usize, epoch: u64 },
    Recheck { node: usize, peer: usize, epoch: u64 },
    Watch { node: usize, peer: usize, epoch: u64 },
    Drop { node: usize, peer: usize, epoch: u64 },
    Connect { a: usize, b: usize },
    Sync { node: usize },
    Deed { number: usize },
    Fault { number: usize },
    Uncut { pairs: Vec<(usize, usize)> },
    Restart { node: usize },
    Check,
}

impl World {
    /// A world before anything happens: its first node has made the rooms.
    pub(super) fn new(plan: Plan, journal: bool) -> World {
        let now_ms = BEGIN_MS;
        let node = |n: usize| Node::new(plan.seed, n, now_ms, plan.skew_ms.get(n).copied().unwrap_or(0));
        let count = plan.nodes;
        let mut world = World {
            now_ms,
            nodes: (0..count).map(node).collect(),
            links: BTreeMap::new(),
            queue: BinaryHeap::new(),
            count: 0,
            epochs: 0,
            is_calm: false,
            news: BTreeMap::new(),
            syncs: BTreeSet::new(),
            doomed: BTreeMap::new(),
            rooms: Vec::new(),
            invites: vec![Vec::new(); plan.rooms.len()],
            said: vec![Vec::new(); plan.rooms.len()],
            kept: vec![BTreeSet::new(); count],
            acknowledged: BTreeMap::new(),
            touched: BTreeSet::new(),
            forged: BTreeSet::new(),
            powerless: BTreeSet::new(),
            sent: BTreeMap::new(),
            audits: Audits::default(),
            figures: Figures::default(),
            trace: blake3::Hasher::new(),
            journal: journal.then(Vec::new),
            plan,
        };
        world.make_rooms();
        for (a, b) in world.plan.links.clone() {
            world.link(a, b);
        }
        for number in 0..world.plan.deeds.len() {
            world.at(world.plan.deeds[number].at_ms, Event::Deed { number });
        }
        for number in 0..world.plan.faults.len() {
            world.at(world.plan.faults[number].at_ms, Event::Fault { number });
        }
        world.at(CHECK_EVERY_MS, Event::Check);
        world
    }

    /// Runs to the end: first while things break, then until all is quiet and equal.
    pub(super) fn run(&mut self) -> Result<[u8; 32], Violation> {
        let length_ms = self.plan.length_ms;
        while self.step(BEGIN_MS + length_ms)? {}
        self.calm_down();
        let last_ms = self.now_ms + CALM_MAX_MS;
        while !self.is_done()? {
            let until_ms = self.now_ms + CHECK_EVERY_MS;
            while self.step(until_ms)? {}
            self.now_ms = until_ms;
            if self.now_ms >= last_ms {
                return Err(self.unequal());
            }
        }
        self.check_end()?;
        self.figures.virtual_ms = self.now_ms - BEGIN_MS;
        Ok(*self.trace.finalize().as_bytes())
    }

    /// The next thing that happens, if it does before then.
    fn step(&mut self, until_ms: u64) -> Result<bool, Violation> {
        let Some(Reverse(next)) = self.queue.pop() else { return Ok(false) };
        if next.at_ms > until_ms {
            self.queue.push(Reverse(next));
            self.now_ms = until_ms;
            return Ok(false);
        }
        self.now_ms = self.now_ms.max(next.at_ms);
        self.figures.steps += 1;
        if self.figures.steps > STEPS_MAX {
            return Err(Violation::new(Kind::Endless, format!("{STEPS_MAX} steps and no rest")));
        }
        self.note(&next);
        self.happen(next.what)?;
        Ok(true)
    }

    fn note(&mut self, next: &Next) {
        self.trace.update(&next.at_ms.to_be_bytes());
        self.trace.update(&next.count.to_be_bytes());
        let line = match &next.what {
            Event::Frame { from, to, epoch, bytes } => {
                self.trace.update(bytes);
                let name = Frame::from_bytes(bytes).map_or("?".to_owned(), |frame| name_of(&frame));
                format!("{from} -> {to} #{epoch} {name} ({})", bytes.len())
            }
            Event::Gossip { from, to, data, .. } => {
                self.trace.update(data);
                format!("{from} ~> {to} ({})", data.len())
            }
            other => format!("{other:?}"),
        };
        self.trace.update(line.as_bytes());
        let is_news =
            !matches!(next.what, Event::Watch { .. } | Event::Recheck { .. } | Event::Check | Event::Tick { .. });
        if let Some(journal) = self.journal.as_mut().filter(|_| is_news) {
            journal.push(format!("{:>8} {line}", next.at_ms - BEGIN_MS));
        }
    }

    /// Writes something down for whoever reads the journal, and for the trace.
    pub(super) fn tell(&mut self, line: impl FnOnce() -> String) {
        let line = line();
        self.trace.update(line.as_bytes());
        if let Some(journal) = &mut self.journal {
            journal.push(format!("{:>8}   {line}", self.now_ms - BEGIN_MS));
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Frame { from, to, epoch, bytes } if self.talks(to, from, epoch) => {
                self.figures.frames += 1;
                match Frame::from_bytes(&bytes) {
                    Ok(frame) => self.input(to, from, Input::Frame(frame)),
                    Err(error) => self.end(to, from, &End::Fault(error.to_string())),
                }
            }
            Event::Gossip { from, to, room, data } => self.hear(from, to, room, &data),
            Event::Work { node, peer, epoch } if self.talks(node, peer, epoch) => self.work(node, peer),
            Event::Tick { node, peer, epoch } if self.talks(node, peer, epoch) => self.tick(node, peer),
            Event::Recheck { node, peer, epoch } if self.talks(node, peer, epoch) => {
                if !self.is_mute() {
                    self.recheck(node, peer);
                }
                let wait_ms = 90_000 + self.dice(node, peer).below(60_000);
                self.after(wait_ms, Event::Recheck { node, peer, epoch });
            }
            Event::Watch { node, peer, epoch } if self.talks(node, peer, epoch) => {
                if self.is_stalled(node, peer) {
                    self.end(node, peer, &End::Stalled);
                } else {
                    self.after(WATCH_EVERY_MS, Event::Watch { node, peer, epoch });
                }
            }
            Event::Drop { node, peer, epoch } if self.talks(node, peer, epoch) => self.end(node, peer, &End::Stalled),
            Event::Connect { a, b } => self.connect(a, b),
            Event::Sync { node } => {
                self.syncs.remove(&node);
                if let Some((for_ms, kept)) = self.doomed.remove(&node) {
                    self.crash(node, for_ms, kept);
                }
                let now_ms = self.now_ms;
                self.nodes[node].sync(now_ms);
                self.after_commit(node);
            }
            Event::Deed { number } => self.deed(number),
            Event::Fault { number } => self.fault(number),
            Event::Uncut { pairs } => pairs.into_iter().for_each(|(from, to)| self.uncut(from, to)),
            Event::Restart { node } => self.restart(node)?,
            Event::Check => {
                self.check_now()?;
                self.after(CHECK_EVERY_MS, Event::Check);
            }
            _ => {}
        }
        Ok(())
    }

    fn at(&mut self, at_ms: u64, what: Event) {
        let at_ms = BEGIN_MS + at_ms;
        self.after(at_ms.saturating_sub(self.now_ms), what);
    }

    pub(super) fn after(&mut self, wait_ms: u64, what: Event) {
        self.count += 1;
        self.queue.push(Reverse(Next { at_ms: self.now_ms + wait_ms, count: self.count, what }));
    }

    /// Whether that conversation is still the one that these two have, as this one sees it.
    pub(super) fn talks(&self, node: usize, peer: usize, epoch: u64) -> bool {
        let talk = self.nodes[node].up.as_ref().and_then(|up| up.talks.get(&peer));
        talk.is_some_and(|talk| talk.epoch == epoch)
    }

    pub(super) fn dice(&mut self, a: usize, b: usize) -> &mut Dice {
        &mut self.links.get_mut(&(a.min(b), a.max(b))).unwrap().dice
    }

    pub(super) fn is_mute(&self) -> bool {
        self.plan.sabotage == Some(Sabotage::Mute)
    }

    /// Has a node's writer carry something out, and tells of what is new.
    pub(super) fn command<T>(
        &mut self,
        node: usize,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Option<Result<T, WriteError>> {
        let now_ms = self.now_ms;
        let answer = self.nodes[node].command(now_ms, command);
        self.after_commit(node);
        answer
    }

    /// Tells of what was committed and is on disk; what is not will be soon.
    pub(super) fn after_commit(&mut self, node: usize) {
        let Some(up) = self.nodes[node].up.as_mut() else { return };
        debug_assert!(up.is_open());
        let mut new = Vec::new();
        while let Ok(news) = up.stored.try_recv() {
            new.push(news);
        }
        let is_synced = up.writer.is_synced();
        if !is_synced && self.syncs.insert(node) {
            let wait_ms = 1 + self.nodes[node].dice.below(100);
            self.after(wait_ms, Event::Sync { node });
        }
        // Whoever is telling already goes on with these: each peer hears of everything in its order.
        let telling = self.news.contains_key(&node);
        self.news.entry(node).or_default().extend(new);
        if !telling {
            while let Some(news) = self.news.get_mut(&node).and_then(VecDeque::pop_front) {
                self.tell_all(node, &news);
            }
            self.news.remove(&node);
            self.resume_freed(node);
        }
    }

    fn tell_all(&mut self, node: usize, news: &Stored) {
        let Some(up) = self.nodes[node].up.as_ref() else { return };
        let newest = news.numbers.last().and_then(|number| up.store.event(*number).unwrap());
        let peers: Vec<usize> = up.talks.keys().copied().collect();
        let room = self.rooms.iter().position(|room| *room == news.room);
        if let (Some(room), Origin::Local) = (room, &news.origin) {
            for number in &news.numbers {
                self.publish(node, room, *number);
            }
        }
        self.kept[node].extend(newest.map(|event| event.id));
        for peer in peers {
            self.news(node, peer, news);
        }
    }

    /// Other conversations may fetch what one has let go of.
    pub(super) fn resume_freed(&mut self, node: usize) {
        let Some(up) = self.nodes[node].up.as_mut() else { return };
        let mut freed = BTreeSet::new();
        while let Ok(room) = up.freed.try_recv() {
            freed.insert(room);
        }
        let peers: Vec<usize> = up.talks.keys().copied().collect();
        for (room, peer) in freed.iter().flat_map(|room| peers.iter().map(move |peer| (*room, *peer))) {
            self.input(node, peer, Input::Resume(room));
        }
    }

    pub(super) fn plan_work(&mut self, node: usize, peer: usize, epoch: u64) {
        let wait_ms = self.nodes[node].dice.below(15);
        self.after(wait_ms, Event::Work { node, peer, epoch });
    }

    pub(super) fn plan_tick(&mut self, node: usize, peer: usize) {
        let talk = self.nodes[node].up.as_mut().and_then(|up| up.talks.get_mut(&peer));
        let Some(talk) = talk.filter(|talk| !talk.ticks) else { return };
        if let Some(wait_ms) = talk.next_tick_ms() {
            talk.ticks = true;
            let epoch = talk.epoch;
            self.after(wait_ms, Event::Tick { node, peer, epoch });
        }
    }

    fn fault(&mut self, number: usize) {
        let what = self.plan.faults[number].what;
        match what {
            Breaks::Cut { from, to, both, for_ms } => {
                let pairs = if both { vec![(from, to), (to, from)] } else { vec![(from, to)] };
                self.cut(pairs, for_ms);
            }
            Breaks::Part { of, one_way, for_ms } => {
                let side = |node: usize| of >> (node % 64) & 1;
                let links = self.links.keys().filter(|(a, b)| side(*a) != side(*b));
                let pairs = links.flat_map(|(a, b)| [(*a, *b), (*b, *a)]);
                let pairs = pairs.filter(|(from, _)| !one_way || side(*from) == 0).collect();
                self.cut(pairs, for_ms);
            }
            Breaks::Crash { node, for_ms, kept, midway: false } => self.crash(node, for_ms, kept),
            Breaks::Crash { node, for_ms, kept, midway: true } => drop(self.doomed.insert(node, (for_ms, kept))),
            Breaks::Clock { node, by_ms } => self.nodes[node].skew_ms = by_ms,
        }
    }

    fn crash(&mut self, node: usize, for_ms: u64, kept: u64) {
        let Some(up) = self.nodes[node].up.as_ref() else { return };
        let talks: Vec<(usize, u64)> = up.talks.iter().map(|(peer, talk)| (*peer, talk.epoch)).collect();
        for (peer, epoch) in talks {
            let wait_ms = 1 + self.dice(node, peer).below(12_000);
            self.after(wait_ms, Event::Drop { node: peer, peer: node, epoch });
        }
        let forgets = self.plan.sabotage == Some(Sabotage::Forgets);
        let gone = self.nodes[node].crash(kept, forgets);
        self.syncs.remove(&node);
        (self.figures.crashes, self.figures.torn) = (self.figures.crashes + 1, self.figures.torn + u64::from(gone > 0));
        self.tell(|| format!("{node}: crash, {gone} bytes gone"));
        self.after(for_ms, Event::Restart { node });
    }

    pub(super) fn restart(&mut self, node: usize) -> Result<(), Violation> {
        if self.nodes[node].up.is_some() {
            return Ok(());
        }
        let now_ms = self.now_ms;
        self.nodes[node].start(now_ms);
        self.check_kept(node)?;
        let links: Vec<(usize, usize)> = self.links.keys().copied().filter(|(a, b)| *a == node || *b == node).collect();
        links.into_iter().for_each(|(a, b)| self.dial(a, b, 100));
        Ok(())
    }

    /// From now on nothing breaks, and everybody is up; those who keep to the rules reach one another.
    fn calm_down(&mut self) {
        self.is_calm = true;
        self.doomed.clear();
        let open: Vec<(usize, usize)> = self.links.keys().flat_map(|(a, b)| [(*a, *b), (*b, *a)]).collect();
        for (from, to) in open {
            while self.is_cut(from, to) {
                self.uncut(from, to);
            }
        }
        self.queue.retain(|Reverse(next)| !matches!(next.what, Event::Uncut { .. } | Event::Deed { .. }));
        for node in 0..self.nodes.len() {
            if self.nodes[node].up.is_none() {
                self.after(100, Event::Restart { node });
            }
        }
        for node in self.plan.honest().collect::<Vec<_>>() {
            self.link(0, node);
        }
    }
}

fn name_of(frame: &Frame) -> String {
    let text = format!("{frame:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// When the world begins.
pub(super) const BEGIN_MS: u64 = 1_700_000_000_000;
/// How often what must always hold is checked.
const CHECK_EVERY_MS: u64 = 5_000;
/// How long it may take until all is equal once nothing breaks any more.
const CALM_MAX_MS: u64 = 20 * 60 * 1_000;
/// Steps after which something is taken to go on for ever.
const STEPS_MAX: u64 = 3_000_000;
