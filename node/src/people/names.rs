//! Whose name is whose in a room: what people show there, and who has to be marked because they look like somebody else.
//! Kept for each room until a name or something of this node's own changes.

use crate::handle::{NodeError, NodeHandle};
use crate::local::NAME_NOTE;
use crate::rooms::RoomView;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use tidings_protocol::id::UserId;
use tidings_protocol::lookalike::{Claim, Looks, Seen, Trust, lookalikes};
use tidings_storage::RoomNumber;

/// Who looks like whom, by room.
#[derive(Default)]
pub(crate) struct Doubles(Mutex<HashMap<RoomNumber, Arc<RoomDoubles>>>);

/// Who looks like whom in a room.
#[derive(Default)]
pub(crate) struct RoomDoubles {
    /// Of which names of the room, and of which things of our own, this was made.
    made_of: (u64, u64),
    /// What names look like, which takes longest.
    looks: HashMap<String, Looks>,
    marked: BTreeMap<UserId, UserId>,
}

impl RoomDoubles {
    /// Whom somebody looks like, if they have to be marked.
    pub(crate) fn of(&self, user: UserId) -> Option<UserId> {
        self.marked.get(&user).copied()
    }
}

impl NodeHandle {
    /// Who looks like whom in a room.
    pub(crate) fn doubles(&self, view: &RoomView) -> Result<Arc<RoomDoubles>, NodeError> {
        let made_of = (self.manager.store.profile_changes(view.number), self.manager.people.version());
        let doubles = &self.manager.people.doubles.0;
        let held = doubles.lock().unwrap_or_else(PoisonError::into_inner).get(&view.number).cloned();
        if let Some(held) = held.as_ref().filter(|held| held.made_of == made_of) {
            return Ok(held.clone());
        }
        let before = held.unwrap_or_default();
        let mut looks: HashMap<String, Looks> = HashMap::new();
        let mut look_of = |name: &str| -> Looks {
            let known: Option<Looks> = looks.get(name).or_else(|| before.looks.get(name)).cloned();
            let look = known.unwrap_or_else(|| Looks::of(name));
            looks.insert(name.to_owned(), look.clone());
            look
        };
        let me = self.manager.keys.user;
        let mut claims = Vec::new();
        for shown in self.manager.store.shown_names(view.number)? {
            let since = Seen { here_ms: shown.here_ms, claimed: shown.claimed };
            let trust = self.trust(shown.user);
            claims.push(Claim { user: shown.user, looks: look_of(&shown.name), trust, since });
        }
        let always = Seen { here_ms: 0, claimed: 0 };
        for (user, petname) in self.manager.people.petnames() {
            claims.push(Claim { user, looks: look_of(&petname), trust: self.trust(user), since: always });
        }
        let own = self.manager.store.note(NAME_NOTE)?.unwrap_or_default();
        claims.push(Claim {
            user: me,
            looks: look_of(&String::from_utf8_lossy(&own)),
            trust: Trust::Me,
            since: always,
        });
        let made = Arc::new(RoomDoubles { made_of, marked: lookalikes(&claims), looks });
        doubles.lock().unwrap_or_else(PoisonError::into_inner).insert(view.number, made.clone());
        Ok(made)
    }

    fn trust(&self, user: UserId) -> Trust {
        if user == self.manager.keys.user {
            return Trust::Me;
        }
        match self.manager.people.find(user) {
            Some(row) if row.verified_ms > 0 => Trust::Verified,
            Some(row) if !row.petname.is_empty() => Trust::Named,
            _ => Trust::Stranger,
        }
    }
}
