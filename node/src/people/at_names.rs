//! Names at domains, pinned to the key that the domain named first. The domain is asked each time and is never believed
//! against the pin; where it cannot be asked, the pin is enough.

use super::{PEOPLE_MAX, PeopleError};
use crate::api::people as api;
use crate::clock::now_ms;
use crate::command::Command;
use crate::handle::{NodeError, NodeHandle};
use crate::kept::Kept;
use crate::lookup::{Found, LookupError};
use crate::sync::PeerNews;
use tidings_protocol::at_name::AtName;
use tidings_protocol::id::UserId;
use tidings_storage::PinRow;

impl NodeHandle {
    /// Whose a name at a domain is.
    pub(super) async fn user_at(&self, name: &AtName) -> Result<UserId, NodeError> {
        let pinned = self.pinned(name);
        match (self.manager.lookup.find(name).await, pinned) {
            (Ok(found), None) => self.put_pin(name, Some(found.user)).await.map(|()| found.user),
            (Ok(found), Some(pinned)) if found.user == pinned => Ok(pinned),
            (Ok(found), Some(pinned)) => Err(differs(name, pinned, &found)),
            (Err(error), None) => Err(error.into()),
            (Err(error), Some(pinned)) => {
                tracing::info!(%name, %error, "the domain cannot be asked: the key that it named before is used");
                Ok(pinned)
            }
        }
    }

    /// Asks a name's domain, and pins the name to the key if it is not yet, or if `replace` says so.
    ///
    /// # Errors
    /// `NodeError::People`, `NodeError::Lookup`.
    pub async fn pin(&self, name: &str, replace: bool) -> Result<api::Pin, NodeError> {
        let name: AtName = name.parse().map_err(PeopleError::from)?;
        let before = self.pinned(&name);
        let found = self.manager.lookup.find(&name).await?;
        match before {
            Some(pinned) if pinned != found.user && !replace => return Err(differs(&name, pinned, &found)),
            Some(pinned) if pinned == found.user => {}
            _ => self.put_pin(&name, Some(found.user)).await?,
        }
        Ok(api::Pin {
            name: name.to_string(),
            user: found.user.to_string(),
            addresses: found.addresses,
            replaced: before.filter(|pinned| *pinned != found.user).map(|pinned| pinned.to_string()),
        })
    }

    /// Forgets the key that a name is pinned to.
    ///
    /// # Errors
    /// `NodeError::People`.
    pub async fn unpin(&self, name: &str) -> Result<(), NodeError> {
        let name: AtName = name.parse().map_err(PeopleError::from)?;
        if self.pinned(&name).is_none() {
            return Err(PeopleError::NotPinned(name).into());
        }
        self.put_pin(&name, None).await
    }

    fn pinned(&self, name: &AtName) -> Option<UserId> {
        self.manager.people.read(|book| book.pins.get(&name.to_string()).map(|pin| pin.user))
    }

    async fn put_pin(&self, name: &AtName, user: Option<UserId>) -> Result<(), NodeError> {
        let people = &self.manager.people;
        let changing = people.changing.lock().await;
        let (name, row) = (name.to_string(), user.map(|user| PinRow { user, pinned_ms: now_ms() }));
        if row.is_some() && people.read(|book| !book.pins.contains_key(&name) && book.pins.len() >= PEOPLE_MAX) {
            return Err(PeopleError::Full(PEOPLE_MAX).into());
        }
        let kept = Kept::Pin(name.clone(), row);
        self.write(|reply| Command::Keep(kept, reply)).await?;
        people.change(|book| match row {
            Some(row) => drop(book.pins.insert(name, row)),
            None => drop(book.pins.remove(&name)),
        });
        drop(changing);
        let _ = self.manager.peers_changed.send(PeerNews::People);
        Ok(())
    }
}

fn differs(name: &AtName, pinned: UserId, found: &Found) -> NodeError {
    PeopleError::PinDiffers { name: name.to_string(), pinned, now: found.user }.into()
}

impl From<LookupError> for NodeError {
    fn from(error: LookupError) -> Self {
        NodeError::Lookup(Box::new(error))
    }
}
