//! What is to happen in a simulated world, all of it drawn from a seed before it begins, so that it can be made smaller
//! piece by piece when something goes wrong.

use super::fate::Dice;
use std::collections::{BTreeMap, BTreeSet};
use tidings_protocol::control::payload::RoomKind;

/// All that happens.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) nodes: usize,
    /// Who breaks the rules, and how.
    pub(super) traitors: BTreeMap<usize, BTreeSet<Trick>>,
    pub(super) rooms: Vec<RoomKind>,
    /// Of a hundred frames, or messages of gossip, so many are lost on their way, each time they are sent.
    pub(super) loss: u64,
    /// Of a hundred messages of gossip so many come twice.
    pub(super) doubled: u64,
    /// Who is connected with whom from the start.
    pub(super) links: BTreeSet<(usize, usize)>,
    /// How far each node's clock is off.
    pub(super) skew_ms: Vec<i64>,
    pub(super) deeds: Vec<Deed>,
    pub(super) faults: Vec<Fault>,
    /// How long people go on and things break.
    pub(super) length_ms: u64,
    /// A mistake built in, to see that it is found.
    pub(super) sabotage: Option<Sabotage>,
}

/// Somebody does something.
#[derive(Debug, Clone)]
pub(super) struct Deed {
    pub(super) at_ms: u64,
    pub(super) node: usize,
    pub(super) room: usize,
    pub(super) what: What,
    /// Draws the details.
    pub(super) seed: u64,
}

/// What people do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Comes in by the room's first link.
    Join,
    Say,
    /// Answers, edits or reacts to something that is there.
    Touch,
    /// Brings some hundred records.
    Import,
    EraseOwn,
    EraseOther,
    Appoint,
    Remove,
    SetTopic,
    /// Opens an invite, which somebody uses later.
    Invite,
    CloseInvite,
    Leave,
    /// Asks everybody whether the room is whole.
    Audit,
    /// Of a traitor: says what it may not, to all it talks with.
    Forge,
}

/// What a traitor does beside its deeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trick {
    /// Turns bytes round in what it sends.
    Garble,
    /// Does not answer what it is asked for.
    Withhold,
    /// Sends again what it has sent before.
    Repeat,
    /// Tells of heads that nobody has.
    Invent,
}

/// What breaks.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) at_ms: u64,
    pub(super) what: Breaks,
}

/// What breaks, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) enum Breaks {
    /// Nothing passes from one to the other, or neither way.
    Cut { from: usize, to: usize, both: bool, for_ms: u64 },
    /// Two halves that hear nothing of one another: every node whose bit is set, and the others.
    Part { of: u64, one_way: bool, for_ms: u64 },
    /// The power goes, at once or as soon as something was written that is not on disk. Of that, so many hundredths are there
    /// all the same.
    Crash { node: usize, for_ms: u64, kept: u64, midway: bool },
    /// A clock is set.
    Clock { node: usize, by_ms: i64 },
}

/// Mistakes that the checks have to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sabotage {
    /// A crash takes what was said to be on disk.
    Forgets,
    /// Nobody announces or compares.
    Mute,
    /// What a traitor makes up is let in.
    OpenDoor,
    /// One node decides by other rules.
    OwnRules,
    /// Every answer to an audit is taken for agreement.
    YesMan,
    /// One thing depends on chance that no seed brings back.
    Chance,
}

impl Plan {
    /// The world of a seed.
    pub(super) fn of(seed: u64) -> Plan {
        let mut dice = Dice::of(seed, 0);
        let nodes = match dice.below(100) {
            0..60 => 3 + dice.place(4),
            60..92 => 7 + dice.place(8),
            _ => 15 + dice.place(36),
        };
        let length_ms = 20_000 + dice.below(100_000);
        let rooms = match dice.below(4) {
            0 => vec![RoomKind::Public],
            1 => vec![RoomKind::Public, RoomKind::Members],
            _ => vec![RoomKind::Members],
        };
        let loss = if dice.percent(30) { 0 } else { dice.below(51) };
        let mut plan = Plan {
            seed,
            nodes,
            traitors: BTreeMap::new(),
            rooms,
            loss,
            doubled: dice.below(30),
            links: BTreeSet::new(),
            skew_ms: (0..nodes).map(|_| skew(&mut dice)).collect(),
            deeds: Vec::new(),
            faults: Vec::new(),
            length_ms,
            sabotage: None,
        };
        if dice.percent(50) {
            plan.draw_traitors(&mut dice);
        }
        plan.draw_links(&mut dice);
        plan.draw_deeds(&mut dice);
        plan.draw_faults(&mut dice);
        plan.draw_audits(&mut dice);
        plan
    }

    pub(super) fn is_traitor(&self, node: usize) -> bool {
        self.traitors.contains_key(&node)
    }

    /// Nodes that keep to the rules.
    pub(super) fn honest(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes).filter(|node| !self.is_traitor(*node))
    }

    /// At most a third; the first node, which makes the rooms, is none.
    fn draw_traitors(&mut self, dice: &mut Dice) {
        let most = self.nodes / 3;
        for _ in 0..1 + dice.place(most.max(1)) {
            let node = 1 + dice.place(self.nodes - 1);
            if self.traitors.len() < most {
                let all = [Trick::Garble, Trick::Withhold, Trick::Repeat, Trick::Invent];
                let tricks = all.into_iter().filter(|_| dice.percent(40)).collect();
                self.traitors.insert(node, tricks);
            }
        }
    }

    /// Everybody can reach everybody in some steps; a small world is a full one now and then.
    fn draw_links(&mut self, dice: &mut Dice) {
        for node in 1..self.nodes {
            self.links.insert((dice.place(node), node));
        }
        let more = if self.nodes <= 6 && dice.percent(40) { self.nodes * self.nodes } else { self.nodes };
        for _ in 0..dice.place(more) {
            let (a, b) = (dice.place(self.nodes), dice.place(self.nodes));
            if a != b {
                self.links.insert((a.min(b), a.max(b)));
            }
        }
    }

    fn draw_deeds(&mut self, dice: &mut Dice) {
        for room in 0..self.rooms.len() {
            for node in 1..self.nodes {
                // Most come at the beginning, some late.
                let within = if dice.percent(80) { self.length_ms / 6 } else { self.length_ms };
                let at_ms = 200 + dice.below(within);
                self.deeds.push(Deed { at_ms, node, room, what: What::Join, seed: dice.next() });
            }
        }
        let count = 10 + dice.place(60) + self.nodes * 3;
        for _ in 0..count {
            let node = dice.place(self.nodes);
            let what = if self.is_traitor(node) && dice.percent(40) { What::Forge } else { what(dice) };
            let at_ms = 1_000 + dice.below(self.length_ms);
            self.deeds.push(Deed { at_ms, node, room: dice.place(self.rooms.len()), what, seed: dice.next() });
        }
    }

    fn draw_audits(&mut self, dice: &mut Dice) {
        for _ in 0..AUDITS_MIN + dice.place(self.nodes) {
            let (at_ms, node) = (1_000 + dice.below(self.length_ms), dice.place(self.nodes));
            let room = dice.place(self.rooms.len());
            self.deeds.push(Deed { at_ms, node, room, what: What::Audit, seed: dice.next() });
        }
    }

    fn draw_faults(&mut self, dice: &mut Dice) {
        for _ in 0..dice.place(4 + self.nodes) {
            let at_ms = 500 + dice.below(self.length_ms);
            let for_ms = 500 + dice.below(self.length_ms / 2);
            let node = dice.place(self.nodes);
            let what = match dice.below(100) {
                0..30 => Breaks::Cut { from: node, to: dice.place(self.nodes), both: dice.percent(50), for_ms },
                30..50 => Breaks::Part { of: dice.next(), one_way: dice.percent(50), for_ms },
                50..95 => {
                    let (kept, midway) = (dice.below(101), dice.percent(60));
                    Breaks::Crash { node, for_ms: for_ms / 3, kept, midway }
                }
                _ => Breaks::Clock { node, by_ms: skew(dice) },
            };
            self.faults.push(Fault { at_ms, what });
        }
    }
}

fn what(dice: &mut Dice) -> What {
    match dice.below(100) {
        0..60 => What::Say,
        60..74 => What::Touch,
        74..76 => What::Import,
        76..80 => What::EraseOwn,
        80..82 => What::EraseOther,
        82..86 => What::Appoint,
        86..90 => What::Remove,
        90..93 => What::SetTopic,
        93..96 => What::Invite,
        96..98 => What::CloseInvite,
        _ => What::Leave,
    }
}

/// Most clocks are right to the second, some are hours off.
fn skew(dice: &mut Dice) -> i64 {
    let most = if dice.percent(80) { 1_000 } else { 3 * 60 * 60 * 1_000 };
    i64::try_from(dice.below(2 * most)).unwrap() - i64::try_from(most).unwrap()
}

/// Audits in a world, at least.
const AUDITS_MIN: usize = 4;
