//! What another device of the user said of people, done here.

use super::{PEOPLE_MAX, is_petname};
use crate::account::{Field, Told};
use crate::command::Command;
use crate::handle::{NodeError, NodeHandle};
use crate::kept::Kept;
use crate::sync::PeerNews;
use std::collections::{BTreeMap, BTreeSet};
use tidings_protocol::id::UserId;
use tidings_storage::PersonRow;

impl NodeHandle {
    /// Brings what is kept of people in line with what the user's devices told one another, but for those of whom
    /// something was changed here that they were not told yet.
    ///
    /// # Errors
    /// `NodeError`: nothing of it is done.
    pub(crate) async fn take_people(
        &self,
        told: &BTreeMap<UserId, Told>,
        except: &BTreeSet<(UserId, Field)>,
    ) -> Result<(), NodeError> {
        let people = &self.manager.people;
        let changing = people.changing.lock().await;
        let mut left = PEOPLE_MAX.saturating_sub(people.read(|book| book.people.len()));
        let mut rows: Vec<(UserId, PersonRow)> = Vec::new();
        for (user, told) in told {
            let before = people.find(*user);
            let row = taken(before.clone().unwrap_or_default(), told, |field| !except.contains(&(*user, field)));
            if row == before.clone().unwrap_or_default() {
                continue;
            }
            if before.is_none() {
                if left == 0 {
                    tracing::warn!("another device knows more people than are kept here");
                    continue;
                }
                left -= 1;
            }
            rows.push((*user, row));
        }
        if rows.is_empty() {
            return Ok(());
        }
        let kept = Kept::People(rows.clone());
        self.write(|reply| Command::Keep(kept, reply)).await?;
        people.change(|book| rows.into_iter().for_each(|(user, row)| book.put(user, row)));
        drop(changing);
        let _ = self.manager.peers_changed.send(PeerNews::People);
        Ok(())
    }

    /// A person, as they are kept now.
    pub(crate) fn person_row(&self, user: UserId) -> PersonRow {
        self.manager.people.find(user).unwrap_or_default()
    }

    /// Everybody of whom something is kept, as it is now.
    pub(crate) fn people_rows(&self) -> BTreeMap<UserId, PersonRow> {
        self.manager.people.read(|book| book.people.clone())
    }
}

/// A person as told; what nothing was told of stays, and so does since when they are blocked.
fn taken(mut row: PersonRow, told: &Told, may: impl Fn(Field) -> bool) -> PersonRow {
    let name = told.petname.as_ref().filter(|_| may(Field::Name));
    if let Some(petname) = name.filter(|name| name.is_empty() || is_petname(name)) {
        row.petname.clone_from(petname);
    }
    let blocked_ms = told.blocked_ms.filter(|_| may(Field::Block));
    if let Some(since_ms) = blocked_ms.filter(|since_ms| (*since_ms > 0) != (row.blocked_ms > 0)) {
        row.blocked_ms = since_ms;
    }
    row
}
