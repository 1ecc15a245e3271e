//! What the writer keeps that is this node's alone and no event: of people, of names at domains, of peers.

use crate::command::Reply;
use crate::writer::Desk;
use tidings_protocol::id::UserId;
use tidings_storage::{PersonRow, PinRow, StorageError};

/// One such thing.
#[derive(Debug, Clone)]
pub enum Kept {
    /// What is known of a person.
    Person(UserId, PersonRow),
    /// The key of a name at a domain.
    Pin(String, Option<PinRow>),
    /// Since when a peer is banned, if it is: its id in bytes.
    Ban(Vec<u8>, Option<u64>),
    /// What is known of many people.
    People(Vec<(UserId, PersonRow)>),
}

impl Desk<'_, '_> {
    pub(crate) fn keep(&mut self, what: Kept, reply: Reply<()>) -> Result<(), StorageError> {
        match what {
            Kept::Person(user, row) => self.keep_person(user, &row)?,
            Kept::Pin(name, row) => self.batch.put_pin(&name, row)?,
            Kept::Ban(peer, since_ms) => self.batch.put_ban(&peer, since_ms)?,
            Kept::People(rows) => {
                for (user, row) in rows {
                    self.keep_person(user, &row)?;
                }
            }
        }
        self.synced(reply, Ok(()));
        Ok(())
    }

    fn keep_person(&mut self, user: UserId, row: &PersonRow) -> Result<(), StorageError> {
        self.rooms.block(user, row.blocked_ms > 0);
        self.batch.put_person(user, row)
    }
}
