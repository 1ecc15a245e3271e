//! Forgetting a room of which nothing ever came.

use crate::batch::Batch;
use crate::error::StorageError;
use crate::key::{self, RoomNumber};
use crate::schema::Family;
use tidings_protocol::event::Class;

impl Batch<'_> {
    /// Forgets a room of which no event is held; whether that was so. Its number is not given again.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn forget_empty_room(&mut self, number: RoomNumber) -> Result<bool, StorageError> {
        for class in [Class::Control, Class::Content] {
            if !self.store().logs(number, class)?.is_empty() || self.writes_in(number) {
                return Ok(false);
            }
        }
        let row = self.room(number)?;
        self.delete(Family::Room, &key::room_by_id(row.room))?;
        self.delete(Family::Room, &key::room(number))?;
        if !row.alias.is_empty() && self.store().room_by_alias(&row.alias)? == Some(number) {
            self.delete(Family::Room, &key::alias(&row.alias))?;
        }
        self.rooms.remove(&number);
        Ok(true)
    }
}
