//! The account's task: reads what other devices of this user have sealed and does it here, and seals what changes here.
//! Rooms are told at once, read markers at most once a minute and many together, names and blocks every few seconds.

use super::Summary;
use super::desk::Order;
use super::follow::Follower;
use super::ledger::Ledger;
use super::people::{self, Field};
use super::revoke::{Reach, Revocation};
use crate::clock::now_ms;
use crate::command::Command;
use crate::effective;
use crate::handle::{NodeError, NodeHandle};
use crate::keys::random;
use crate::local::{Intent, NAME_NOTE};
use crate::network::{self, PeerAddress};
use crate::rooms::RoomView;
use crate::writer::Stored;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::Duration;
use tidings_protocol::account::{Bundle, Entry, Record, RoomRecord};
use tidings_protocol::content::Content;
use tidings_protocol::control::state::RoomState;
use tidings_protocol::event::{Body, Class, Hlc};
use tidings_protocol::id::{DeviceId, EventId, RoomId, UserId};
use tidings_protocol::identity::RecoveryPhrase;
use tidings_protocol::limits::{ALIAS_LEN_MAX, RECORD_ADDRESSES_MAX};
use tidings_protocol::sealed::{Place, Sealed};
use tidings_storage::StoredEvent;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::Instant;

/// What the task is asked to do.
pub(crate) enum Wish {
    /// Something of this person was changed here.
    Person(UserId, Field),
    /// Do all that there is to do, and say what is known.
    Settle(oneshot::Sender<Summary>),
}

struct Task {
    node: NodeHandle,
    ledger: Ledger,
    /// What was told or done last of a room: what differs from it was changed here.
    known: BTreeMap<RoomId, (String, bool)>,
    /// Rooms to be looked at, and those of which the read marker may have to be told.
    dirty: BTreeSet<RoomId>,
    reads: BTreeSet<RoomId>,
    /// Own wishes that are not sealed yet.
    unsaid: Vec<Entry>,
    /// Read markers may be told from then on.
    reads_due: Instant,
    /// What was changed here of people and not told yet, and from when on it may be.
    untold: BTreeSet<(UserId, Field)>,
    people_due: Instant,
    /// What is kept of people may not be what the records say.
    people_moved: bool,
    /// Since when a device of ours waits to be told everything.
    uncovered_since: Option<Instant>,
    follower: Follower,
}

/// Runs until the node stops.
pub(crate) async fn run(node: NodeHandle, mut wishes: mpsc::Receiver<Wish>) {
    let mut stored = node.manager.stored.subscribe();
    loop {
        match node.write(|reply| Command::Account(Order::Begin(reply))).await {
            Ok(()) => break,
            Err(NodeError::DiskFull) => tokio::time::sleep(TICK).await,
            Err(_) => return,
        }
    }
    let mut task = match Task::start(node) {
        Ok(task) => task,
        Err(error) => return tracing::error!(%error, "the account cannot be read"),
    };
    let mut tick = tokio::time::interval(TICK);
    loop {
        let (mut asked, mut is_due) = (None, false);
        tokio::select! {
            news = stored.recv() => match news {
                Ok(news) => task.note(&news),
                Err(broadcast::error::RecvError::Lagged(_)) => task.note_all(),
                Err(broadcast::error::RecvError::Closed) => return,
            },
            wish = wishes.recv() => match wish {
                Some(Wish::Person(user, field)) => is_due = task.untold.insert((user, field)),
                Some(Wish::Settle(reply)) => {
                    // What is not on disk yet is not told yet, but it is here.
                    task.note_all();
                    asked = Some(reply);
                }
                None => return,
            },
            _ = tick.tick() => is_due = true,
        }
        // What came meanwhile is dealt with together.
        while let Ok(news) = stored.try_recv() {
            task.note(&news);
        }
        let settled = match is_due || asked.is_some() || !task.dirty.is_empty() {
            true => task.settle().await,
            false => Ok(()),
        };
        match settled {
            Ok(()) => {}
            Err(NodeError::Stopping) => return,
            Err(error) => tracing::warn!(%error, "the account is not up to date yet"),
        }
        if let Some(reply) = asked {
            drop(reply.send(task.summary()));
        }
    }
}

impl Task {
    fn start(node: NodeHandle) -> Result<Self, NodeError> {
        let ledger = Ledger::load(&node.manager.store)?;
        let mut known = BTreeMap::new();
        for (room, view) in node.manager.views.all() {
            if ledger.room(room).is_some() {
                known.insert(room, (view.row.alias.clone(), view.row.left));
            }
        }
        let follower = Follower::default();
        let now = Instant::now();
        let mut task = Task {
            node,
            ledger,
            known,
            dirty: BTreeSet::new(),
            reads: BTreeSet::new(),
            unsaid: Vec::new(),
            reads_due: now,
            untold: BTreeSet::new(),
            people_due: now,
            people_moved: true,
            uncovered_since: None,
            follower,
        };
        task.note_all();
        task.note_people();
        Ok(task)
    }

    fn summary(&self) -> Summary {
        let keys = &self.node.manager.keys;
        let covered = keys.phrase.is_some() || self.ledger.covers(keys.device().sealing.id());
        Summary { covered, rooms: self.ledger.rooms() }
    }

    fn note(&mut self, news: &Stored) {
        // What is said in another room changes nothing of the account.
        if news.room_changed || news.room == self.node.manager.keys.self_room() {
            self.dirty.insert(news.room);
        }
        self.follower.note(news);
    }

    fn note_all(&mut self) {
        self.dirty.extend(self.node.manager.views.all().into_iter().map(|(room, _)| room));
        self.follower.note_all();
    }

    /// What was changed here of people and not told before this node stopped.
    fn note_people(&mut self) {
        let told = people::told(&self.ledger.account, self.node.manager.keys.user);
        let rows = self.node.people_rows();
        for user in rows.keys().chain(told.keys()) {
            let row = rows.get(user).cloned().unwrap_or_default();
            let news = people::news_of(*user, &row, told.get(user));
            self.untold.extend(news.into_iter().map(|(field, _)| (*user, field)));
        }
    }

    /// Does what other devices said of people.
    async fn take_people(&mut self) -> Result<(), NodeError> {
        if std::mem::take(&mut self.people_moved) {
            let told = people::told(&self.ledger.account, self.node.manager.keys.user);
            let taken = self.node.take_people(&told, &self.untold).await;
            self.people_moved = taken.is_err();
            return taken;
        }
        Ok(())
    }

    /// Takes up what was changed here of people, many at once.
    fn say_people(&mut self) {
        if self.untold.is_empty() {
            return;
        }
        let told = people::told(&self.ledger.account, self.node.manager.keys.user);
        let untold = std::mem::take(&mut self.untold);
        let users: BTreeSet<UserId> = untold.iter().map(|(user, _)| *user).collect();
        for user in users {
            let news = people::news_of(user, &self.node.person_row(user), told.get(&user));
            for (_, record) in news.into_iter().filter(|(field, _)| untold.contains(&(user, *field))) {
                self.wish(&record);
            }
        }
        // A name given here may take the place of one that looks like it and was given elsewhere.
        self.people_moved = true;
        self.people_due = Instant::now() + PEOPLE_EVERY;
    }

    fn wish(&mut self, record: &Record) {
        let entry = people::later(&self.ledger.account, record, now_ms());
        if self.ledger.account.merge(entry.clone(), now_ms()) {
            self.unsaid.push(entry);
        } else {
            tracing::warn!("there are too many account records: one was not told to the other devices");
        }
    }

    async fn settle(&mut self) -> Result<(), NodeError> {
        let before = self.ledger.clone();
        let home = self.node.manager.keys.self_room();
        let mut dirty = std::mem::take(&mut self.dirty);
        if dirty.remove(&home) {
            self.take_in(home).await?;
        }
        self.revoke_everywhere().await?;
        for room in dirty {
            if let Some(view) = self.node.manager.views.find(room).filter(|v| v.row.home_of.is_none()) {
                self.look_at(room, &view);
                self.reads.insert(room);
            }
        }
        self.take_people().await?;
        self.say_what_changed(home).await?;
        self.take_people().await?;
        if self.ledger != before {
            let (name, value) = self.ledger.to_note();
            self.node.write(|reply| Command::Note { name, value, reply }).await?;
        }
        self.follower.follow(&self.node).await
    }

    /// Reads what is new in the self-room, and does what it says. Where a device was revoked everything is read again
    /// without what it said, and what differs is done.
    async fn take_in(&mut self, home: RoomId) -> Result<(), NodeError> {
        let manager = self.node.manager.clone();
        let Some(view) = manager.views.find(home) else { return Ok(()) };
        let anew = self.ledger.anew(&ended_devices(&view.state, manager.keys.user));
        let Some(anew) = anew else { return self.read_on_in(home, true).await };
        let before = std::mem::replace(&mut self.ledger, anew);
        // What a revoked device told of our own reading is to be told again.
        self.reads.extend(self.node.manager.views.all().into_iter().map(|(room, _)| room));
        self.read_on_in(home, before.through == 0).await?;
        for entry in &self.unsaid {
            self.ledger.account.merge(entry.clone(), now_ms());
        }
        if before.through > 0 {
            for entry in self.ledger.beyond(&before) {
                self.apply(&entry).await?;
            }
        }
        Ok(())
    }

    async fn read_on_in(&mut self, home: RoomId, does: bool) -> Result<(), NodeError> {
        let store = self.node.manager.store.clone();
        loop {
            let before = self.ledger.through;
            let Some(view) = self.node.manager.views.find(home) else { return Ok(()) };
            let (numbers, through) = tokio::task::block_in_place(|| store.arrived_in(view.number, before))?;
            for part in numbers.chunks(ARRIVED_MAX) {
                self.read_part(home, part, does).await?;
            }
            self.ledger.through = self.ledger.through.max(through);
            if through <= before {
                return Ok(());
            }
        }
    }

    /// Reads some events of the self-room.
    async fn read_part(&mut self, home: RoomId, numbers: &[u64], does: bool) -> Result<(), NodeError> {
        let manager = self.node.manager.clone();
        let Some(view) = manager.views.find(home) else { return Ok(()) };
        let device = manager.keys.device();
        let words = manager.keys.phrase.as_ref().map(|phrase| phrase.sealing_key());
        let keys: Vec<_> = std::iter::once(&device.sealing).chain(&words).collect();
        let mut news = Vec::new();
        for number in numbers {
            let Some(event) = manager.store.event(*number)? else { continue };
            // A device of ours that was stolen may let others into the self-room: what they say there is not ours.
            let author = effective::author_of(&manager.store, &view, &event)?;
            if event.log.class == Class::Control || author == Some(manager.keys.user) {
                news.extend(tokio::task::block_in_place(|| self.ledger.take(home, &event, &keys, now_ms())));
                if event.log.author != device.id() {
                    self.take_name(&event).await?;
                }
            }
        }
        self.ledger.through = self.ledger.through.max(numbers.last().copied().unwrap_or(0));
        for entry in news.iter().filter(|_| does) {
            self.apply(entry).await?;
        }
        Ok(())
    }

    /// Another device says what its user is called.
    async fn take_name(&self, event: &StoredEvent) -> Result<(), NodeError> {
        let manager = &self.node.manager;
        let Body::Kept(payload) = &event.body else { return Ok(()) };
        let Ok(Content::Profile { name, .. }) = Content::decode(event.kind, &payload.bytes) else { return Ok(()) };
        let newest = manager.store.profile_name(event.room, manager.keys.user)?;
        let held = manager.store.note(NAME_NOTE)?.unwrap_or_default();
        if name.is_empty() || newest.as_deref() != Some(&name) || held == name.as_bytes() {
            return Ok(());
        }
        let (key, value) = (NAME_NOTE.to_owned(), name.into_bytes());
        self.node.write(|reply| Command::Note { name: key, value, reply }).await
    }

    async fn apply(&mut self, entry: &Entry) -> Result<(), NodeError> {
        match entry.record() {
            Record::Room(room, said) => {
                let addresses: Vec<PeerAddress> = said.addresses.iter().filter_map(|a| a.parse().ok()).collect();
                self.node.write(|reply| Command::Account(Order::Enter(room, Box::new(said), reply))).await?;
                if let Some(view) = self.node.manager.views.find(room) {
                    self.known.insert(room, (view.row.alias.clone(), view.row.left));
                    self.reads.insert(room);
                }
                self.read_on(room, self.ledger.read_to(room)).await?;
                self.dial(addresses).await;
                Ok(())
            }
            Record::Read(room) => self.read_on(room, entry.hlc()).await,
            // All of them together, before what is known is kept.
            Record::PetName(..) | Record::Block(..) => {
                self.people_moved = true;
                Ok(())
            }
            Record::Unknown => Ok(()),
        }
    }

    async fn read_on(&self, room: RoomId, to: Hlc) -> Result<(), NodeError> {
        if self.node.manager.views.find(room).is_none_or(|view| view.row.read_clock >= to.0) {
            return Ok(());
        }
        let change = Box::new(move |row: &mut tidings_storage::RoomRow| row.read_clock = row.read_clock.max(to.0));
        self.node.write(|reply| Command::Change { room, change, reply }).await
    }

    async fn dial(&self, addresses: Vec<PeerAddress>) {
        let manager = &self.node.manager;
        let others: Vec<PeerAddress> = addresses.into_iter().filter(|a| a.peer != manager.us).collect();
        if others.is_empty() {
            return;
        }
        {
            let mut redial = manager.redial.lock().unwrap_or_else(PoisonError::into_inner);
            others.iter().for_each(|address| redial.name(address));
        }
        drop(manager.network.send(network::Command::Dial(others)).await);
    }

    /// Notes what the user has changed here of a room.
    fn look_at(&mut self, room: RoomId, view: &RoomView) {
        let is_in = view.has_genesis && view.row.pending.is_none() && !view.row.alias.is_empty();
        let told = self.ledger.room(room);
        let grant = view.state.grant_of(self.node.manager.keys.device().id());
        let is_due = match &told {
            None => is_in && !view.row.left && grant.is_some(),
            Some(told) => {
                let here = (view.row.alias.clone(), view.row.left);
                let changed = self.known.get(&room).is_some_and(|known| *known != here);
                // A grant that does not count any more, or one that is stronger: never back and forth.
                let better = grant
                    .is_some_and(|(_, rank)| view.state.rank_of_grant(told.grant).is_none_or(|theirs| rank < theirs));
                changed || (better && !view.row.left)
            }
        };
        if is_due {
            let grant = grant.map_or(told.map_or(EventId::ZERO, |t| t.grant), |(grant, _)| grant);
            self.wish(&Record::Room(room, self.room_record(view, grant)));
            self.known.insert(room, (view.row.alias.clone(), view.row.left));
        }
    }

    fn room_record(&self, view: &RoomView, grant: EventId) -> RoomRecord {
        let manager = &self.node.manager;
        let mut addresses = view.row.addresses.clone();
        if addresses.is_empty() {
            let sharing = manager.told.peers_sharing(view.row.room);
            let seen = manager.seen.lock().unwrap_or_else(PoisonError::into_inner);
            addresses.extend(sharing.iter().filter_map(|peer| seen.get(peer)).flatten().cloned());
        }
        addresses.truncate(RECORD_ADDRESSES_MAX);
        let alias = view.row.alias[..view.row.alias.floor_char_boundary(ALIAS_LEN_MAX)].to_owned();
        RoomRecord { kind: view.row.kind, secret: view.row.secret, alias, left: view.row.left, grant, addresses }
    }

    /// Seals what is new here, and everything for a device that was never told.
    async fn say_what_changed(&mut self, home: RoomId) -> Result<(), NodeError> {
        let manager = self.node.manager.clone();
        let Some(view) = manager.views.find(home) else { return Ok(()) };
        let (keys, own) = (&manager.keys, manager.keys.device());
        if view.state.user_of(own.id()).is_none() {
            return Ok(());
        }
        let recipients = self.ledger.recipients(&view.state, keys.user, keys.words);
        let is_uncovered = self.ledger.is_uncovered(&recipients, own.sealing.id(), keys.words);
        let since = *self.uncovered_since.get_or_insert_with(Instant::now);
        if !is_uncovered {
            self.uncovered_since = None;
        }
        // The device that has the words lets others in, and so knows first; the rest stand in for it.
        let patience = if keys.phrase.is_some() { Duration::ZERO } else { COVER_PATIENCE };
        let covers = is_uncovered && since.elapsed() >= patience && self.may_cover();
        if covers || self.reads_due <= Instant::now() {
            self.take_reads();
        }
        if covers || self.people_due <= Instant::now() {
            self.say_people();
        }
        let entries = if covers { self.ledger.account.entries().cloned().collect() } else { self.unsaid.clone() };
        let mut bundles = Bundle::parts(covers, entries);
        if covers && bundles.is_empty() {
            bundles.push(Bundle { whole: true, entries: Vec::new() });
        }
        for bundle in bundles {
            let place = Place { room: home, author: own.id() };
            match Sealed::seal(&bundle.to_bytes(), &recipients, place, &mut random) {
                Ok(sealed) => drop(self.node.publish(home, Intent::Say(Content::Sealed(sealed))).await?),
                Err(error) => tracing::warn!(%error, "an account record could not be sealed"),
            }
        }
        self.unsaid.clear();
        Ok(())
    }

    /// A device that its user has revoked is revoked in every room that still counts it, where the words are here: as soon as
    /// somebody else was found to hold the same of the room. Before that, another device's revocation there may only not have
    /// come yet, and ours would leave less.
    async fn revoke_everywhere(&self) -> Result<(), NodeError> {
        let manager = &self.node.manager;
        let Some(phrase) = &manager.keys.phrase else { return Ok(()) };
        let Some(home) = manager.views.find(manager.keys.self_room()) else { return Ok(()) };
        let own = manager.keys.device().id();
        for device in ended_devices(&home.state, manager.keys.user).into_iter().filter(|device| *device != own) {
            let rooms = self.node.rooms_that_count(device);
            let reach: BTreeSet<RoomId> = rooms.into_iter().filter(|room| manager.told.has_agreed(*room)).collect();
            if !reach.is_empty() {
                let phrase = RecoveryPhrase::from_entropy(*phrase.entropy());
                let wish = Box::new(Revocation { phrase, device, reach: Reach::Compared(reach) });
                self.node.write(|reply| Command::Account(Order::Revoke(wish, reply))).await?;
            }
        }
        Ok(())
    }

    /// Whether this device knows enough to tell another everything.
    fn may_cover(&self) -> bool {
        let keys = &self.node.manager.keys;
        keys.phrase.is_some() || self.ledger.covers(keys.device().sealing.id())
    }

    /// Takes up how far rooms were read, many at once.
    fn take_reads(&mut self) {
        let mut any = false;
        for room in std::mem::take(&mut self.reads) {
            let Some(view) = self.node.manager.views.find(room) else { continue };
            let read = Hlc(view.row.read_clock);
            if view.row.home_of.is_none() && self.ledger.room(room).is_some() && read > self.ledger.read_to(room) {
                let entry = Entry::new(&Record::Read(room), read);
                if self.ledger.account.merge(entry.clone(), now_ms()) {
                    self.unsaid.push(entry);
                    any = true;
                }
            }
        }
        if any {
            self.reads_due = Instant::now() + READS_EVERY;
        }
    }
}

/// Devices that a user's self-room names and that the user key has revoked there. One that merely does not count, as where
/// somebody has left under the grant of all, is not ended: only the words end a device.
pub(crate) fn ended_devices(home: &RoomState, user: UserId) -> BTreeSet<DeviceId> {
    let named = home.logs_of(user).into_iter().map(|(device, _, _)| device);
    named.filter(|device| home.is_revoked_device(user, *device)).collect()
}

/// How often things that wait for their time are looked at.
const TICK: Duration = Duration::from_secs(1);
/// Read markers are told at most so often.
const READS_EVERY: Duration = Duration::from_secs(60);
/// Names and blocks are told at most so often, so that who gives many at once makes few events.
const PEOPLE_EVERY: Duration = Duration::from_secs(2);
/// A device without the words leaves it to those that have them, for so long, to tell a new one everything.
const COVER_PATIENCE: Duration = Duration::from_secs(10);
/// Events looked at in one go.
const ARRIVED_MAX: usize = 1000;
