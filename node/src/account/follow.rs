//! Whose self-rooms this node holds: of the people in its rooms that are not public. So it learns of their new and revoked
//! devices, and keeps for them what they need to come back with nothing but their words.

use super::desk::Order;
use crate::command::Command;
use crate::handle::{NodeError, NodeHandle};
use crate::rooms::RoomView;
use crate::writer::Stored;
use std::collections::BTreeSet;
use std::time::Duration;
use tidings_protocol::control::payload::RoomKind;
use tidings_protocol::id::{RoomId, UserId};
use tidings_protocol::limits::FOLLOWED_MAX;
use tidings_storage::Purged;
use tokio::time::Instant;

/// Looks after the self-rooms of others, now and then.
#[derive(Default)]
pub(super) struct Follower {
    /// Rooms in which somebody may have told of a self-room.
    dirty: BTreeSet<RoomId>,
    all: bool,
    last: Option<Instant>,
}

impl Follower {
    /// Something is new in a room.
    pub(super) fn note(&mut self, news: &Stored) {
        if !news.numbers.is_empty() {
            self.dirty.insert(news.room);
        }
    }

    /// Anything may be.
    pub(super) fn note_all(&mut self) {
        self.all = true;
    }

    /// Follows whom there is to follow. What came in a busy room is looked at once a while.
    pub(super) async fn follow(&mut self, node: &NodeHandle) -> Result<(), NodeError> {
        let rests = self.last.is_some_and(|last| last.elapsed() < FOLLOW_EVERY);
        if rests || (self.dirty.is_empty() && !self.all) {
            return Ok(());
        }
        self.last = Some(Instant::now());
        let views = &node.manager.views;
        let dirty = std::mem::take(&mut self.dirty);
        let rooms: Vec<_> = match std::mem::take(&mut self.all) {
            true => views.all(),
            false => dirty.into_iter().filter_map(|room| Some((room, views.find(room)?))).collect(),
        };
        let mut wanted = BTreeSet::new();
        for (room, view) in rooms {
            if tells_of_homes(&view) {
                wanted.extend(homes(node, room, &view)?);
            }
        }
        for (home, user) in wanted {
            let is_refused = node.manager.store.purge(Purged::Room(home))?.is_some();
            if is_refused || !is_new(node, home, user) {
                continue;
            }
            if followed(node).len() >= FOLLOWED_MAX && !make_room(node).await? {
                break;
            }
            node.write(|reply| Command::Account(Order::Follow(user, home, reply))).await?;
        }
        Ok(())
    }
}

/// Whether there is something to do for a self-room that a user has named. Not for one that is held, nor for another of a
/// user whose self-room is known, nor again for one that turned out to be none of theirs.
fn is_new(node: &NodeHandle, home: RoomId, user: UserId) -> bool {
    let views = &node.manager.views;
    if views.home_of(user).is_some_and(|held| held.row.room != home) {
        return false;
    }
    let Some(view) = views.find(home) else { return true };
    match view.row.home_of {
        Some(owner) if owner == user => view.row.left && view.has_genesis,
        Some(owner) => owner != node.manager.keys.user && view.row.left && !view.has_genesis,
        None => false,
    }
}

fn tells_of_homes(view: &RoomView) -> bool {
    view.row.home_of.is_none() && view.row.kind != RoomKind::Public && !view.row.left
}

/// The self-rooms that other members of a room have named.
fn homes(node: &NodeHandle, room: RoomId, view: &RoomView) -> Result<Vec<(RoomId, UserId)>, NodeError> {
    let own = node.manager.keys.user;
    let mut out = Vec::new();
    for user in view.state.members.keys().filter(|user| **user != own).take(FOLLOWED_MAX) {
        let home = node.manager.store.profile_home(view.number, *user)?;
        out.extend(home.filter(|home| *home != room).map(|home| (home, *user)));
    }
    Ok(out)
}

fn followed(node: &NodeHandle) -> Vec<(RoomId, UserId)> {
    let own = node.manager.keys.user;
    let views = node.manager.views.all().into_iter().filter(|(_, view)| !view.row.left);
    views.filter_map(|(room, view)| Some((room, view.row.home_of.filter(|user| *user != own)?))).collect()
}

/// Lets the self-room go of whoever is in the fewest of our rooms; whether that was none.
async fn make_room(node: &NodeHandle) -> Result<bool, NodeError> {
    let rooms: Vec<_> = node.manager.views.all().into_iter().filter(|(_, view)| tells_of_homes(view)).collect();
    let shared = |user: UserId| rooms.iter().filter(|(_, view)| view.state.members.contains_key(&user)).count();
    let Some((count, room)) = followed(node).into_iter().map(|(room, user)| (shared(user), room)).min() else {
        return Ok(false);
    };
    if count == 0 {
        node.write(|reply| Command::Account(Order::Unfollow(room, reply))).await?;
    }
    Ok(count == 0)
}

/// Members of a busy room are looked through at most so often.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);
