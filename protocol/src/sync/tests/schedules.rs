//! Any order in which frames, answers, new events, leases and checks fall: it ends, both hold the same, and both know it.

use super::link::{I, Link, R, Tell};
use super::node::Node;
use super::world::{Event, Signed, World};
use crate::control::payload::RoomKind;
use crate::sync::Input;
use std::sync::OnceLock;

/// Random numbers of a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }
}

/// A room and forks of its logs.
struct Pool {
    world: World,
    forks: Vec<Vec<Event>>,
}

/// Few logs, with forks: every frame fits in one.
fn small() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| pool(World::new(90, RoomKind::Public, 6, 12, Signed::Each)))
}

/// More logs than are listed.
fn wide() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| pool(World::new(91, RoomKind::Public, 270, 3, Signed::Each)))
}

/// Few logs of a room for members only.
fn closed() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| pool(World::new(92, RoomKind::Members, 6, 12, Signed::Each)))
}

fn pool(world: World) -> Pool {
    let fork = |author: usize| {
        let at = world.logs[author].len() / 3;
        world.branch(author, at as u64 + 1, world.logs[author][at - 1].id(), 3, Signed::Each, 7)
    };
    let forks = (0..world.logs.len().min(6)).map(fork).collect();
    Pool { world, forks }
}

/// What a node holds at the start: a part of control, and of each log that it grants a beginning, perhaps a fork.
fn start(pool: &Pool, dice: &mut Dice) -> Node {
    let mut node = Node::new();
    let authors = pool.world.logs.len();
    let granted = [authors, authors, authors / 2, authors / 3, 1, 0][dice.roll(6)];
    if granted == 0 && dice.roll(2) == 0 {
        return node;
    }
    node.take(&pool.world.control[..=granted]);
    let spread = dice.roll(2) == 0;
    for author in 0..granted {
        let log = &pool.world.logs[author];
        // Wide rooms differ in few logs.
        let len = if authors > 100 && dice.roll(20) > 0 { log.len() - 1 } else { dice.roll(log.len() + 1) };
        node.take(&log[..len]);
        if let Some(fork) = pool.forks.get(author).filter(|_| spread && len * 3 >= log.len()) {
            node.take(&fork[..dice.roll(fork.len() + 1)]);
        }
    }
    node
}

/// Cuts holes where the other node can fill them.
fn cut_holes(nodes: [Node; 2], pool: &Pool, dice: &mut Dice) -> [Node; 2] {
    let side = dice.roll(2);
    let author = dice.roll(pool.world.logs.len());
    let log = &pool.world.logs[author];
    let (from, to) = (1 + dice.roll(log.len()) as u64, 1 + dice.roll(log.len()) as u64);
    let other = nodes[1 - side].clone();
    let mut nodes = nodes;
    let lost = |e: &crate::event::VerifiedEvent| {
        e.log() == pool.world.log(author)
            && (from..=to).contains(&e.header().seq)
            && other.event(e.room(), e.id()).is_some()
    };
    if dice.roll(3) == 0 {
        nodes[side] = nodes[side].only(|e| !lost(e));
    }
    nodes
}

/// Something happens at a node.
fn stir(link: &mut Link, pool: &Pool, dice: &mut Dice) {
    let (side, room) = (dice.roll(2), pool.world.room);
    match dice.roll(10) {
        0..=5 => {
            // Somebody says the next thing, or what the other already knows comes by another way.
            let author = dice.roll(pool.world.logs.len());
            let node = &link.ends[side].node;
            let granted = node.event(room, pool.world.log(author).grant).is_some();
            let next = pool.world.logs[author].iter().find(|e| node.event(room, e.id()).is_none());
            if let Some(event) = next.filter(|_| granted) {
                let tell = [Tell::Push, Tell::Moved, Tell::Nothing][dice.roll(3)];
                link.say(side, event, tell);
            }
        }
        6 => {
            let held = pool.world.control.iter().find(|e| link.ends[side].node.event(room, e.id()).is_none());
            if let Some(event) = held {
                let tell = [Tell::Moved, Tell::Nothing][dice.roll(2)];
                link.say(side, event, tell);
            }
        }
        7 => link.input(side, Input::Recheck(room)),
        _ if !link.ends[side].node.leased.remove(&room) => drop(link.ends[side].node.leased.insert(room)),
        _ => link.input(side, Input::Resume(room)),
    }
}

/// Does one thing of those that may happen now; whether there was any.
fn act(link: &mut Link, dice: &mut Dice) -> bool {
    let (a, b) = (link.waits(I), link.waits(R));
    let mut possible = Vec::new();
    for (may, action) in [(a.0, 0), (b.0, 1), (a.1, 2), (b.1, 3)] {
        possible.extend(may.then_some(action));
    }
    if possible.is_empty() {
        return false;
    }
    match possible[dice.roll(possible.len())] {
        action @ (0 | 1) => link.receive(action),
        action => link.perform(action - 2),
    }
}

fn quiet(link: &mut Link, dice: &mut Dice) {
    let mut steps = 0;
    while act(link, dice) {
        steps += 1;
        assert!(steps < 200_000, "it never ends");
    }
}

/// One whole run of a seed.
fn run(seed: u64) {
    let mut dice = Dice(seed);
    let pool = [small, wide, closed, small][dice.roll(4)]();
    let nodes = [start(pool, &mut dice), start(pool, &mut dice)];
    let mut nodes = cut_holes(nodes, pool, &mut dice);
    for _ in 0..=dice.roll(2) {
        let mut link = if pool.world.kind == RoomKind::Public {
            Link::public(nodes, &pool.world)
        } else {
            Link::members(nodes, &pool.world)
        };
        for _ in 0..dice.roll(60) {
            for _ in 0..dice.roll(30) {
                act(&mut link, &mut dice);
            }
            stir(&mut link, pool, &mut dice);
        }
        for side in [I, R] {
            link.ends[side].node.leased.clear();
            link.input(side, Input::Resume(pool.world.room));
        }
        quiet(&mut link, &mut dice);
        for side in [I, R] {
            link.input(side, Input::Recheck(pool.world.room));
            quiet(&mut link, &mut dice);
        }
        assert_eq!(link.failures(), [None, None]);
        for side in [I, R] {
            let other = &link.ends[1 - side].node;
            let mine = &link.ends[side].node;
            for id in mine.ids(pool.world.room).difference(&other.ids(pool.world.room)) {
                let e = mine.event(pool.world.room, *id).unwrap();
                let author = (0..pool.world.logs.len()).find(|a| pool.world.log(*a) == e.log());
                println!("only {side}: {:?} seq {} author {author:?}", e.header().class, e.header().seq);
                println!("  here {:?}", mine.state(pool.world.room, &e.log()));
                println!("  there {:?}", other.state(pool.world.room, &e.log()));
            }
        }
        link.assert_agreed(pool.world.room);
        nodes = link.ends.map(|end| end.node);
    }
}

/// `TIDINGS_SEEDS` says how many schedules, `TIDINGS_SEED` where they begin: a failure names the one to begin at.
#[test]
fn random_schedules_end_equal_and_agreed() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let first = number("TIDINGS_SEED").unwrap_or(0);
    for seed in first..first + number("TIDINGS_SEEDS").unwrap_or(200) {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "TIDINGS_SEED={seed}");
    }
}
