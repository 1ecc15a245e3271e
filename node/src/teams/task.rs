//! When something is done for a team. Whatever changes in a room or its team is looked at, by whom it concerns; what is due
//! is done a short random while later, if it still is: mostly another steward was first, and what was only half here is
//! whole.

use super::book::Book;
use super::judge::{Case, Due};
use super::{Order, Seen, Stewardship};
use crate::beacons::own_addresses;
use crate::command::Command;
use crate::handle::{NodeError, NodeHandle};
use crate::refusal::Refusal;
use crate::sync::PeerNews;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tidings_protocol::control::state::RoomState;
use tidings_protocol::id::{RoomId, UserId};
use tidings_protocol::team::{TeamRoom, members_changed, team_of};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

/// What was looked at last of a room with a team.
struct Looked {
    room: Arc<RoomState>,
    team: Arc<RoomState>,
    /// How much the team had said.
    words: usize,
}

/// Something to be done, unless it is done by then.
struct Plan {
    since: Instant,
    at: Instant,
}

/// Why the team's way into a room has to be another.
enum Renewal {
    /// Somebody who is out knows it, and this node may close it.
    Stale,
    /// There is none that nobody knows who is out.
    Missing,
}

struct Task {
    node: NodeHandle,
    dirty: BTreeSet<RoomId>,
    looked: BTreeMap<RoomId, Looked>,
    people: BTreeMap<(RoomId, UserId), Plan>,
    renewals: BTreeMap<RoomId, Instant>,
    joins: BTreeMap<RoomId, (Instant, RoomId, TeamRoom)>,
    /// Rooms that are being entered, and the team that opens them.
    entering: BTreeMap<RoomId, RoomId>,
    /// How often, lately, something was done about somebody: two who see different things must not go on for ever.
    done: BTreeMap<(RoomId, UserId), (u32, Instant)>,
    /// Teams that were compared with somebody who has them, since this node started.
    compared: BTreeSet<RoomId>,
}

/// Runs until the node stops.
pub(crate) async fn run(node: NodeHandle) {
    let mut stored = node.manager.stored.subscribe();
    let mut task = Task {
        dirty: node.manager.views.all().into_iter().map(|(room, _)| room).collect(),
        node,
        looked: BTreeMap::new(),
        people: BTreeMap::new(),
        renewals: BTreeMap::new(),
        joins: BTreeMap::new(),
        entering: BTreeMap::new(),
        done: BTreeMap::new(),
        compared: BTreeSet::new(),
    };
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            news = stored.recv() => {
                match news {
                    Ok(news) if news.room_changed => drop(task.dirty.insert(news.room)),
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => {
                        task.dirty.extend(task.node.manager.views.all().into_iter().map(|(room, _)| room));
                    }
                    Err(RecvError::Closed) => return,
                }
                continue;
            }
            _ = tick.tick() => {}
        }
        match task.settle().await {
            Ok(()) => {}
            Err(NodeError::Stopping) => return,
            Err(error) => tracing::warn!(%error, "what is due to a team is not done yet"),
        }
    }
}

impl Task {
    async fn settle(&mut self) -> Result<(), NodeError> {
        self.look()?;
        self.enter().await?;
        self.entered();
        self.settle_people().await?;
        self.renew().await
    }

    /// Looks at what has changed.
    fn look(&mut self) -> Result<(), NodeError> {
        if self.dirty.is_empty() {
            return Ok(());
        }
        let dirty = std::mem::take(&mut self.dirty);
        let mut books: BTreeMap<RoomId, Arc<Book>> = BTreeMap::new();
        for room in &dirty {
            let Some(view) = self.node.manager.views.find(*room).filter(|view| view.row.home_of.is_none()) else {
                continue;
            };
            let book = tokio::task::block_in_place(|| self.node.book(&view))?;
            if !book.is_empty() {
                let now = Instant::now();
                for (offer, wait) in self.node.offers_to_take(&view, &book)? {
                    let at = self.joins.get(&offer.room).map_or(now + wait, |(at, ..)| *at);
                    self.joins.insert(offer.room, (at, *room, offer));
                }
            }
            books.insert(*room, Arc::new(book));
        }
        for (room, view) in self.node.manager.views.all() {
            let Some(team) = team_of(&view.state).filter(|team| dirty.contains(&room) || dirty.contains(team)) else {
                continue;
            };
            match self.node.stewardship(room) {
                Ok(steward) => {
                    let book = match books.get(&team) {
                        Some(book) => book.clone(),
                        None => Arc::new(tokio::task::block_in_place(|| self.node.book(&steward.held))?),
                    };
                    books.insert(team, book.clone());
                    tokio::task::block_in_place(|| self.look_as_steward(room, &steward, &book))?;
                }
                Err(_) => self.rest(room),
            }
        }
        Ok(())
    }

    /// This node is no steward of a room any more.
    fn rest(&mut self, room: RoomId) {
        self.looked.remove(&room);
        self.renewals.remove(&room);
        self.people.retain(|(planned, _), _| *planned != room);
    }

    /// Plans what is due in a room: of those whose membership changed here or there; of all where the team has said more.
    fn look_as_steward(&mut self, room: RoomId, steward: &Stewardship, book: &Book) -> Result<(), NodeError> {
        let case = self.node.case(room, steward, book)?;
        let (state, team) = (&steward.view.state, &steward.held.state);
        let concerned = match self.looked.get(&room).filter(|looked| looked.words == book.len()) {
            Some(looked) => members_changed(&looked.room, state)
                .union(&members_changed(&looked.team, team))
                .copied()
                .collect::<BTreeSet<UserId>>(),
            None => case.everybody(),
        };
        let now = Instant::now();
        for user in concerned.into_iter().filter(|user| case.due(*user).is_some()) {
            let at = now + self.patience(room, user);
            self.people.entry((room, user)).or_insert(Plan { since: now, at });
        }
        match self.node.needs_renewal(room, steward, book, &case)? {
            None => drop(self.renewals.remove(&room)),
            Some(Renewal::Stale) => {
                let at = now + random_wait();
                self.renewals.entry(room).and_modify(|planned| *planned = at.min(*planned)).or_insert(at);
            }
            // It may be on its way, or somebody whose it is may close and renew it.
            Some(Renewal::Missing) => drop(self.renewals.entry(room).or_insert(now + OFFER_PATIENCE + random_wait())),
        }
        let looked = Looked { room: state.clone(), team: team.clone(), words: book.len() };
        self.looked.insert(room, looked);
        Ok(())
    }

    /// How long to wait before something is done about somebody: longer each time, until there was peace for a while.
    fn patience(&self, room: RoomId, user: UserId) -> Duration {
        let lately = self.done.get(&(room, user)).filter(|(_, last)| last.elapsed() < PEACE);
        random_wait().saturating_mul(1 << lately.map_or(0, |(times, _)| (*times).min(DOUBLINGS_MAX)))
    }

    async fn settle_people(&mut self) -> Result<(), NodeError> {
        let now = Instant::now();
        self.done.retain(|_, (_, last)| last.elapsed() < PEACE);
        let ripe: Vec<(RoomId, UserId)> =
            self.people.iter().filter(|(_, plan)| plan.at <= now).map(|(whom, _)| *whom).take(AT_ONCE_MAX).collect();
        for (room, user) in ripe {
            let Some(plan) = self.people.remove(&(room, user)) else { continue };
            let Ok(steward) = self.node.stewardship(room) else { continue };
            let book = tokio::task::block_in_place(|| self.node.book(&steward.held))?;
            let Some(due) = self.node.case(room, &steward, &book)?.due(user) else { continue };
            if !self.is_sure(&steward, due, plan.since) {
                self.people.insert((room, user), Plan { since: plan.since, at: now + ASK_WAIT });
                continue;
            }
            match self.node.write(|reply| Command::Team(Order::Settle { room, user, reply })).await {
                Ok(()) => {
                    let (times, _) = self.done.get(&(room, user)).copied().unwrap_or((0, now));
                    self.done.insert((room, user), (times + 1, now));
                }
                Err(NodeError::Refused(Refusal::NothingDue)) => {}
                Err(NodeError::Refused(refusal)) => tracing::warn!(%room, %user, %refusal, "not done for the team"),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether what is seen here of the team is enough to act upon. To bring somebody back it always is: the worst is that
    /// they are removed once more. Who was in the team and is out of it was taken out by an event that is here; that may
    /// have been taken back since, so the team was compared with somebody, once. Of whom the team knows nothing at all the
    /// Join may be on its way: then it is compared now.
    fn is_sure(&mut self, steward: &Stewardship, due: Due, since: Instant) -> bool {
        let manager = &self.node.manager;
        let keys = &manager.keys;
        let (team, state) = (steward.team, &steward.held.state);
        let others = state.members.iter().filter(|(user, _)| **user != keys.user).count();
        let own = state.members.get(&keys.user).map_or(0, |m| m.devices.iter().filter(|d| d.0 != keys.user.0).count());
        // Nobody but this device could have let them in.
        let is_alone = others == 0 && own <= 1;
        if manager.told.has_agreed(team) {
            self.compared.insert(team);
        }
        match due {
            Due::Back(_) => true,
            _ if is_alone => true,
            Due::Gone => {
                // Not just any device of a founder: one that is new has to hear first what was said before it came.
                let genesis = manager.store.event_by_id(team.into()).ok().flatten();
                let founded = genesis.is_some_and(|event| event.log.author == keys.device().id());
                founded || self.compared.contains(&team)
            }
            Due::Never => {
                let sharing = manager.told.peers_sharing(team);
                manager.tips.compare_with(team, &sharing);
                !sharing.is_empty() && manager.told.has_agreed(team) && since.elapsed() >= ASK_WAIT
            }
        }
    }

    async fn renew(&mut self) -> Result<(), NodeError> {
        let now = Instant::now();
        let ripe: Vec<RoomId> = self.renewals.iter().filter(|(_, at)| **at <= now).map(|(room, _)| *room).collect();
        for room in ripe {
            self.renewals.remove(&room);
            let Ok(steward) = self.node.stewardship(room) else { continue };
            let book = tokio::task::block_in_place(|| self.node.book(&steward.held))?;
            let case = self.node.case(room, &steward, &book)?;
            if self.node.needs_renewal(room, &steward, &book, &case)?.is_none() {
                continue;
            }
            let addresses = own_addresses(&self.node.manager);
            match self.node.write(|reply| Command::Team(Order::Renew { room, addresses, reply })).await {
                Ok(()) => {}
                Err(NodeError::Refused(refusal)) => tracing::debug!(%room, %refusal, "no new offer from here"),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Comes into the rooms whose time it is.
    async fn enter(&mut self) -> Result<(), NodeError> {
        let now = Instant::now();
        let ripe: Vec<RoomId> = self.joins.iter().filter(|(_, (at, ..))| *at <= now).map(|(room, _)| *room).collect();
        for room in ripe {
            let Some((_, team, offer)) = self.joins.remove(&room) else { continue };
            if self.node.wants_in(&offer, self.node.manager.keys.user)? {
                self.node.take_offer(&offer).await?;
                self.entering.insert(room, team);
            }
        }
        Ok(())
    }

    /// Tells of the rooms that we are in now.
    fn entered(&mut self) {
        let manager = &self.node.manager;
        let device = manager.keys.device().id();
        self.entering.retain(|room, team| {
            let Some(view) = manager.views.find(*room) else { return false };
            let is_in = view.state.grant_of(device).is_some() && !view.row.alias.is_empty();
            if is_in {
                let _ = manager.peers_changed.send(PeerNews::LetIn { room: *room, team: *team });
            }
            !is_in && !view.row.left
        });
    }
}

impl NodeHandle {
    fn case<'a>(&self, room: RoomId, steward: &'a Stewardship, book: &Book) -> Result<Case<'a>, NodeError> {
        let seen = Seen { number: steward.view.number, state: &steward.view.state };
        Ok(Case::of(&self.manager.store, book, &steward.held.state, (room, seen), steward.rank)?)
    }

    /// Whether the way in has to be another.
    fn needs_renewal(
        &self,
        room: RoomId,
        steward: &Stewardship,
        book: &Book,
        case: &Case<'_>,
    ) -> Result<Option<Renewal>, NodeError> {
        if steward.view.state.invite_rank.is_none_or(|needs| steward.rank > needs) {
            return Ok(None);
        }
        let store = &self.manager.store;
        let offered = book.offers(&steward.held.state).get(&room).map(|offer| offer.invite);
        let is_fresh = case.has_fresh_offer(store, offered)?;
        if !case.stale_invites(store, self.manager.keys.user)?.is_empty() {
            return Ok(Some(Renewal::Stale));
        }
        Ok((!is_fresh).then_some(Renewal::Missing))
    }
}

fn random_wait() -> Duration {
    WAIT_MIN.mul_f64(1.0 + rand::random::<f64>() * WAIT_SPREAD)
}

/// How often what has changed is looked at.
const TICK: Duration = Duration::from_millis(100);
/// A steward waits so long, and up to five times as long: what one does first, the others see before they would.
const WAIT_MIN: Duration = Duration::from_millis(300);
const WAIT_SPREAD: f64 = 4.0;
/// An offer that is missed may be on its way for so long.
const OFFER_PATIENCE: Duration = Duration::from_secs(10);
/// Peers have so long to tell what they know of a team before somebody of whom nothing is known is removed.
const ASK_WAIT: Duration = Duration::from_secs(2);
/// After so long without anything done about somebody the wait is short again.
const PEACE: Duration = Duration::from_secs(10 * 60);
/// The wait doubles so often at most: 1.5 s become 13 minutes.
const DOUBLINGS_MAX: u32 = 9;
/// People dealt with in one go: what else changes is looked at in between.
const AT_ONCE_MAX: usize = 64;
