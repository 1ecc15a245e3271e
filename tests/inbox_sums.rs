//! What the room list says of a room, and what the indexes of mentions and threads find, against a plain count of
//! everything held: over random orders of arrival, erasures, edits, removals that are undone, read marks and blocks.

use crate::support::people::{Pen, Person, START_MS, invite_secret};
use crate::support::revoking::up_to;
use crate::support::seeded::Seeded;
use crate::support::store::{Duo, TestStore, YEAR_MS};
use std::collections::BTreeSet;
use tidings_node::inbox::shown::{Shown, UNREAD_MAX};
use tidings_node::ingest::{admit, apply_erasures};
use tidings_node::rooms::{Rooms, Views};
use tidings_protocol::content::{Content, Text};
use tidings_protocol::control::state::RoomState;
use tidings_protocol::event::{Class, Hlc, VerifiedEvent};
use tidings_protocol::id::{EventId, UserId};
use tidings_protocol::moderation::{Hide, may_hide};
use tidings_storage::{Direction, Durability, Summary};

/// A room of which one of its members keeps sums.
struct World {
    store: TestStore,
    rooms: Rooms,
    user: UserId,
    blocked: BTreeSet<UserId>,
    /// Everything that is or will be delivered.
    events: Vec<VerifiedEvent>,
    read_clock: u64,
}

/// What a plain count finds.
#[derive(Debug, PartialEq, Eq)]
struct Counted {
    unread: u32,
    mentions: u32,
    newest: u64,
    author: Option<UserId>,
}

impl Counted {
    fn of(summary: Summary) -> Counted {
        let Summary { unread, mentions, newest, author, .. } = summary;
        Counted { unread, mentions, newest, author }
    }
}

impl World {
    fn new(store: TestStore, user: UserId, events: Vec<VerifiedEvent>) -> World {
        let rooms = Rooms::load_for(&store.store, Views::default(), Some(user)).unwrap();
        World { store, rooms, user, blocked: BTreeSet::new(), events, read_clock: 0 }
    }

    /// Lets events in with one batch; those that may not enter yet.
    fn deliver(&mut self, events: &[VerifiedEvent]) -> Vec<VerifiedEvent> {
        let now_ms = START_MS + YEAR_MS;
        let (mut batch, mut left, mut erased) = (self.store.writer.begin(), Vec::new(), BTreeSet::new());
        for event in events {
            let one = std::slice::from_ref(event);
            let admitted = admit(&mut batch, &mut self.rooms, self.store.id, one, now_ms).unwrap();
            if admitted.stored.is_empty() && admitted.known == 0 {
                left.push(event.clone());
            }
            erased.extend(admitted.erased);
        }
        let stale = self.rooms.take_stale(&mut batch).unwrap();
        batch.commit(Durability::Buffered).unwrap();
        stale.into_iter().for_each(|(room, row)| self.rooms.show(room, row));
        let state = self.state();
        let mut batch = self.store.writer.begin();
        apply_erasures(&mut batch, &state, &erased, now_ms).unwrap();
        batch.commit(Durability::Buffered).unwrap();
        left
    }

    fn change(&mut self, change: impl FnOnce(&mut Rooms)) {
        let (number, clock) = (self.store.room, self.read_clock);
        let mut batch = self.store.writer.begin();
        batch.change_room(number, |row| row.read_clock = clock).unwrap();
        change(&mut self.rooms);
        self.rooms.changed(self.store.id);
        let stale = self.rooms.take_stale(&mut batch).unwrap();
        batch.commit(Durability::Buffered).unwrap();
        stale.into_iter().for_each(|(room, row)| self.rooms.show(room, row));
    }

    fn state(&self) -> RoomState {
        (*self.rooms.find(self.store.id).unwrap().state).clone()
    }

    fn summary(&self) -> Summary {
        self.rooms.find(self.store.id).unwrap().summary
    }

    fn author(&self, state: &RoomState, event: &VerifiedEvent) -> Option<UserId> {
        let stored = self.store.store.event_by_id(event.id()).unwrap()?;
        let right = state.content_right(&event.log()).ok()?;
        self.store.store.counts(&stored, &right).unwrap().then_some(right.user)
    }

    /// Everything held that counts, with its author and what it says.
    fn held(&self, state: &RoomState) -> Vec<(&VerifiedEvent, UserId, Content)> {
        let content = self.events.iter().filter(|event| event.header().class == Class::Content);
        let said = |event| crate::support::store::content_of(event);
        content.filter_map(|event| Some((event, self.author(state, event)?, said(event)?))).collect()
    }

    /// Goes through everything that is held: what the room list should say, and what is for the user.
    fn count(&self) -> (Counted, BTreeSet<EventId>) {
        let state = self.state();
        let held = self.held(&state);
        let at = |event: &VerifiedEvent| (event.header().hlc, event.id());
        let mut counted = Counted { unread: 0, mentions: 0, newest: 0, author: None };
        let mut for_user = BTreeSet::new();
        for (event, user, content) in &held {
            let (text, target) = match content {
                Content::Text(text) => (text, None),
                Content::Reply { target, text, .. } => (text, Some(*target)),
                _ => continue,
            };
            if self.blocked.contains(user) {
                continue;
            }
            let clock = event.header().hlc.0;
            if clock > counted.newest {
                (counted.newest, counted.author) = (clock, Some(*user));
            }
            let hides = held.iter().filter_map(|(hide, by, what)| match what {
                Content::Hide(what) if what.target == event.id() && may_hide(&state, *by, *user) => {
                    Some((at(hide), what.hidden))
                }
                _ => None,
            });
            let is_hidden = hides.max().is_some_and(|(_, hidden)| hidden);
            let is_erased = state.erasure(&event.log(), event.header().seq, event.id()).is_some();
            if *user == self.user || is_hidden || is_erased {
                continue;
            }
            let edits = held.iter().filter_map(|(edit, by, what)| match what {
                Content::Edit { target, text } if *target == event.id() && by == user => Some((at(edit), text)),
                _ => None,
            });
            let text = edits.max_by_key(|(at, _)| *at).map_or(text, |(_, text)| text);
            let answers = held.iter().any(|(answered, by, _)| Some(answered.id()) == target && *by == self.user);
            let is_for_user = answers || text.mentions.contains(&self.user);
            for_user.extend(is_for_user.then_some(event.id()));
            if clock > self.read_clock {
                counted.unread += 1;
                counted.mentions += u32::from(is_for_user);
            }
        }
        (counted, for_user)
    }

    /// What the index of mentions finds, once what counts and shows was asked.
    fn found(&self) -> BTreeSet<EventId> {
        let view = self.rooms.views().find(self.store.id).unwrap();
        let is_blocked = |user| self.blocked.contains(&user);
        let (store, views, ended) = (&self.store.store, self.rooms.views(), BTreeSet::new());
        let shown = Shown { store, views, view: &view, user: self.user, is_blocked: &is_blocked, ended: &ended };
        let rows = store.mentions((u64::MAX, u64::MAX), 10_000).unwrap();
        assert!(rows.is_sorted_by_key(|row| std::cmp::Reverse((row.clock, row.number))), "newest first");
        assert_eq!(rows, store.mentions_in(self.store.room, (u64::MAX, u64::MAX), 10_000).unwrap());
        let found = rows.iter().filter_map(|row| shown.for_the_user(row.number).unwrap());
        found.map(|(said, _)| said.event.id).collect()
    }

    /// Compares everything; whether the sums were good without counting anew.
    fn check(&mut self, seed: u64) -> bool {
        let (counted, for_user) = self.count();
        assert!(counted.unread < UNREAD_MAX);
        assert_eq!(self.found(), for_user, "mentions, seed {seed}");
        let was_good = !self.summary().stale;
        if was_good {
            assert_eq!(Counted::of(self.summary()), counted, "sums, seed {seed}");
        }
        let (store, id) = (self.store.store.clone(), self.store.id);
        self.change(|rooms| rooms.count_anew(&store, id).unwrap());
        assert_eq!(Counted::of(self.summary()), counted, "counted anew, seed {seed}");
        assert_eq!(store.summaries().unwrap(), [(self.store.room, self.summary())], "on disk, seed {seed}");
        was_good
    }
}

/// What people say about each other's messages, in the order in which they say it.
struct Script {
    seeded: Seeded,
    events: Vec<VerifiedEvent>,
    said: Vec<(usize, VerifiedEvent)>,
    tick: u64,
}

impl Script {
    fn now(&mut self) -> Hlc {
        self.tick += 1000;
        Hlc::at_ms(START_MS + self.tick)
    }

    fn text(&mut self, names: UserId) -> Text {
        let mentions = if self.seeded.percent(20) { vec![names] } else { Vec::new() };
        Text::new(format!("words {}", self.tick), mentions)
    }

    fn message(&mut self, who: usize, pen: &mut Pen, user: UserId) {
        pen.hlc = self.now();
        let text = self.text(user);
        let content = match self.said.is_empty() || self.seeded.percent(60) {
            true => Content::Text(text),
            false => {
                let target = self.seeded.pick(&self.said).1.id();
                Content::Reply { target, root: target, text }
            }
        };
        let event = pen.say(content);
        self.said.push((who, event.clone()));
        self.events.push(event);
    }

    fn deed(&mut self, who: usize, pen: &mut Pen, rules: &mut Pen, user: UserId) {
        let Some((of, target)) = (!self.said.is_empty()).then(|| self.seeded.pick(&self.said).clone()) else { return };
        (pen.hlc, rules.hlc) = (self.now(), self.now());
        let event = match self.seeded.below(4) {
            0 | 1 => {
                let text = self.text(user);
                pen.say(Content::Edit { target: target.id(), text })
            }
            2 if of == who || who == 0 => rules.erase(&target),
            2 => pen.reaction(target.id(), "+1"),
            _ => pen.say(Content::Hide(Hide { target: target.id(), hidden: self.seeded.percent(70) })),
        };
        self.events.push(event);
    }
}

/// Ada founds, Bob is whose sums are kept, Carol is removed by Dan, whose removal undoes that.
fn script(seed: u64) -> (Duo, Vec<VerifiedEvent>, Vec<VerifiedEvent>) {
    let mut duo = Duo::new();
    let user = duo.bob.user();
    let invite = duo.control[2].id();
    let (carol, dan) = (Person::new(3), Person::new(4));
    let (carol_in, mut carol_rules) = carol.join(duo.room, invite, &invite_secret(9));
    let (dan_in, dan_member) = dan.join(duo.room, invite, &invite_secret(9));
    let grant = duo.ada_rules.grant(dan.user(), 20);
    let (dan_enrol, mut dan_rules) = dan.enrol(duo.room, grant.id());
    let mut carol_says = carol.pen(duo.room, carol_rules.grant);
    let base = vec![carol_in, dan_in, grant, dan_enrol.clone()];
    drop(dan_member);
    let mut script = Script { seeded: Seeded::new(seed), events: Vec::new(), said: Vec::new(), tick: 0 };
    for step in 0..60 {
        let who = script.seeded.below(3);
        let (pen, rules) = match who {
            0 => (&mut duo.ada_says, &mut duo.ada_rules),
            1 => (&mut duo.bob_says, &mut duo.bob_rules),
            _ => (&mut carol_says, &mut carol_rules),
        };
        match script.seeded.percent(65) {
            true => script.message(who, pen, user),
            false => script.deed(who, pen, rules, user),
        }
        if step == 40 {
            let of_carol = |(who, _): &&(usize, VerifiedEvent)| *who == 2;
            let kept = script.said.iter().filter(of_carol).nth(2).map(|(_, event)| up_to(event));
            dan_rules.hlc = script.now();
            script.events.push(dan_rules.revoke(carol.user(), kept.as_slice(), &[]));
        }
        if step == 50 && script.seeded.percent(50) {
            duo.ada_rules.hlc = script.now();
            script.events.push(duo.ada_rules.revoke(dan.user(), &[up_to(&dan_enrol)], &[]));
        }
    }
    let events = script.events;
    (duo, base, events)
}

#[test]
fn sums_are_what_a_plain_count_finds_whatever_comes_when() {
    let (mut good, mut checked, mut for_user) = (0, 0, 0);
    for seed in 0..40 {
        let (duo, base, events) = script(seed);
        let mut seeded = Seeded::new(seed ^ 77);
        let mut world = World::new(duo.store(), duo.bob.user(), events.clone());
        world.deliver(&base);
        world.check(seed);
        let mut waiting = events;
        // Some runs hear things as they are said, with a few late; others in any order.
        match seed % 2 {
            0 => seeded.shuffle(&mut waiting),
            _ => (0..6).for_each(|_| {
                let late = waiting.remove(seeded.below(waiting.len()));
                waiting.push(late);
            }),
        }
        let mut rounds = 0;
        while !waiting.is_empty() && rounds < 200 {
            rounds += 1;
            let count = (1 + seeded.below(3)).min(waiting.len());
            let now: Vec<VerifiedEvent> = waiting.drain(..count).collect();
            waiting.extend(world.deliver(&now));
            if seeded.percent(15) {
                let to = seeded.pick(&world.events).header().hlc.0.max(world.read_clock);
                let id = world.store.id;
                world.read_clock = to;
                world.change(|rooms| rooms.tally_read(id, to));
            }
            if seeded.percent(5) {
                let ada = Person::new(1).user();
                let blocked = world.blocked.insert(ada) || !world.blocked.remove(&ada);
                world.change(|rooms| rooms.block(ada, blocked));
            }
            if seeded.percent(60) {
                good += usize::from(world.check(seed));
                checked += 1;
            }
        }
        for_user += world.found().len();
        threads_are_whole(&world, seed);
    }
    assert!(good * 10 > checked, "{good} of {checked} sums followed what came without counting anew");
    assert!(for_user > 40, "{for_user} messages were for the user");
}

fn threads_are_whole(world: &World, seed: u64) {
    let store = &world.store.store;
    let mut roots: BTreeSet<EventId> = BTreeSet::new();
    for event in &world.events {
        let Some(Content::Reply { root, .. }) = crate::support::store::content_of(event) else { continue };
        roots.extend(store.holds(event.id()).unwrap().then_some(root));
    }
    let listed = store.threads(world.store.room, None, 1000).unwrap();
    assert!(listed.is_sorted_by_key(|(clock, _)| std::cmp::Reverse(*clock)), "seed {seed}");
    assert_eq!(listed.iter().map(|(_, root)| *root).collect::<BTreeSet<_>>(), roots, "seed {seed}");
    for (clock, root) in listed {
        let replies = store.replies(world.store.room, root, (0, 0), Direction::Newer, 1000).unwrap();
        let mut back = store.replies(world.store.room, root, (u64::MAX, u64::MAX), Direction::Older, 1000).unwrap();
        back.reverse();
        assert_eq!((replies.last().map(|at| at.0), &replies), (Some(clock), &back), "seed {seed}");
        for (_, number) in replies {
            let reply = store.event(number).unwrap().unwrap().content();
            // What was erased says nothing any more.
            let is_of_thread = reply.is_none_or(|reply| matches!(reply, Content::Reply { root: of, .. } if of == root));
            assert!(is_of_thread, "seed {seed}");
        }
    }
}

#[test]
fn indexes_that_are_not_there_are_made_from_the_events() {
    let (duo, base, events) = script(5);
    let mut world = World::new(duo.store(), duo.bob.user(), events.clone());
    world.deliver(&base);
    let left = world.deliver(&events);
    world.deliver(&left);
    world.check(5);
    let (found, summary) = (world.found(), world.summary());
    let World { store, rooms, user, events, .. } = world;
    drop(rooms);
    let mut store = store.reopen();
    let mut batch = store.writer.begin();
    batch.clear_inbox().unwrap();
    batch.commit(Durability::Synced).unwrap();
    let mut rooms = Rooms::load_for(&store.store, Views::default(), Some(user)).unwrap();
    tidings_node::inbox::tally::rebuild(&mut store.writer, &mut rooms).unwrap();
    let mut world = World { store, rooms, user, blocked: BTreeSet::new(), events, read_clock: 0 };
    assert!(!world.check(5), "it was counted anew");
    assert_eq!((world.found(), world.summary()), (found, summary));
    threads_are_whole(&world, 5);
}
