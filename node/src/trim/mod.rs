//! What goes from this node to stay within its disk budget, and how what others bring waits until there is room.
//!
//! `plan` decides what goes: of the largest room the oldest content, log by log from the bottom; never control logs, never
//! what nobody else is known to hold, never the newest. `work` does it part by part, and has the files follow. `back`
//! fetches what was trimmed when somebody reads back. Floors are this node's alone: what peers are told does not change.

mod back;
mod budget;
mod keep;
mod plan;
mod void;
mod work;

pub use back::ReadBack;
pub(crate) use back::{gap_at, trimmed_gap, whole_since};
pub use budget::{BUDGET_MIN, Budget, Room};
pub(crate) use work::{RETENTION, retention_value, run};

use crate::clock::now_ms;
use crate::command::Reply;
use crate::effective;
use crate::writer::{Desk, Stored};
use tidings_protocol::content::Content;
use tidings_protocol::id::RoomId;
use tidings_protocol::log::{Log, Tip};
use tidings_storage::{KeepRow, RoomNumber, StorageError, TrimmedPart, Unreclaimed};

/// What is asked of the writer. Each is a batch of its own.
pub enum Order {
    /// Take a part of what lies below a seq off a log; what is as old in the room is not fetched any more.
    Part {
        /// The room.
        room: RoomId,
        /// The log.
        log: Log,
        /// Below this seq.
        below: u64,
        /// The clock up to which the room is trimmed.
        since: u64,
        /// What went, and whether more is to go.
        reply: Reply<TrimmedPart>,
    },
    /// Take a part of what does not count off a log.
    Void {
        /// The room.
        room: RoomId,
        /// The log.
        log: Log,
        /// Above this seq.
        above: u64,
        /// What went, and whether more is to go.
        reply: Reply<TrimmedPart>,
    },
    /// Take a part of the words of what was trimmed off the rows of search.
    Words {
        /// The bucket.
        bucket: u32,
        /// From this key on.
        from: Vec<u8>,
        /// Where the next part begins.
        reply: Reply<Option<Vec<u8>>>,
    },
    /// What was trimmed went from files.
    Reclaimed {
        /// Of what was looked for.
        done: Option<Unreclaimed>,
        /// What is left.
        left: Option<Unreclaimed>,
        /// Done.
        reply: Reply<()>,
    },
    /// Keep so much of a room.
    Keep {
        /// The room.
        room: RoomId,
        /// How much.
        keep: KeepRow,
        /// Done.
        reply: Reply<()>,
    },
}

impl Desk<'_, '_> {
    pub(crate) fn trim(&mut self, order: Order) -> Result<(), StorageError> {
        match order {
            Order::Part { room, log, below, since, reply } => {
                let part = self.trim_part(room, &log, below, since)?;
                self.answer(reply, Ok(part));
            }
            Order::Void { room, log, above, reply } => {
                let part = self.drop_void(room, &log, above)?;
                self.answer(reply, Ok(part));
            }
            Order::Words { bucket, from, reply } => {
                let next = self.batch.strip_words(bucket, &from, WORDS_LEN)?;
                self.answer(reply, Ok(next));
            }
            Order::Reclaimed { done, left, reply } => {
                // What was trimmed meanwhile is left for the next time.
                if self.batch.store().unreclaimed()? == done {
                    self.batch.put_unreclaimed(left)?;
                }
                // Who erased something may have waited for that.
                for room in self.rooms.ids().into_iter().filter(|_| left.is_none()) {
                    if self.rooms.find(room).is_some_and(|live| !live.state.erased.is_empty()) {
                        self.round.notices.push(Stored::nothing(room));
                    }
                }
                self.synced(reply, Ok(()));
            }
            Order::Keep { room, keep, reply } => {
                if let Some(number) = self.rooms.find(room).map(|live| live.number) {
                    let before = self.batch.store().keep(number)?;
                    // Whoever wants more than before wants back what went.
                    let since = if wants_more(&before, &keep) { 0 } else { before.since };
                    self.batch.put_keep(number, &KeepRow { since, ..keep })?;
                    if since == 0 {
                        self.batch.lift_floors(number)?;
                        self.rooms.changed(room);
                    }
                }
                self.synced(reply, Ok(()));
            }
        }
        Ok(())
    }

    fn drop_void(&mut self, room: RoomId, log: &Log, above: u64) -> Result<TrimmedPart, StorageError> {
        let Some(view) = self.rooms.view(room) else { return Ok(TrimmedPart::default()) };
        let store = self.batch.store().clone();
        let Some(row) = store.log(view.number, log)? else { return Ok(TrimmedPart::default()) };
        // It may count meanwhile.
        match void::counts_to(&store, &view, log, &row)? {
            Some(to) if to <= above => self.batch.drop_above(view.number, log, above, PART_EVENTS),
            _ => Ok(TrimmedPart::default()),
        }
    }

    fn trim_part(&mut self, room: RoomId, log: &Log, below: u64, since: u64) -> Result<TrimmedPart, StorageError> {
        let Some(view) = self.rooms.view(room) else { return Ok(TrimmedPart::default()) };
        let store = self.batch.store().clone();
        let Some(row) = store.log(view.number, log)? else { return Ok(TrimmedPart::default()) };
        let mut heads: Vec<Tip> = effective::heads_of(&store, &view, log, &row)?.iter().map(|head| head.tip).collect();
        // Of a log that was cut what stands above a head proves it.
        let is_cut = view.state.content_right(log).is_ok_and(|right| !right.cuts.is_empty());
        let lowest = heads.iter().map(|tip| tip.seq).min().filter(|_| is_cut);
        let below = lowest.map_or(below, |lowest| lowest.min(below));
        // What is no head now may be one again. What stands below a hole is most likely an ancestor of what stands above: it
        // would be a head for ever, as what is in between is not fetched any more.
        let covered = row.state.covered();
        heads.retain(|tip| is_cut || tip.seq > covered);
        heads.extend(row.state.tips().iter().filter(|tip| tip.seq > covered));
        let keep = store.keep(view.number)?;
        if since > keep.since {
            self.batch.put_keep(view.number, &KeepRow { since, ..keep })?;
        }
        // Some of it may have been unread.
        if since > view.row.read_clock || !view.summary.complete {
            self.rooms.recount(room);
        }
        let part = self.batch.trim_log(view.number, log, below, &heads, (PART_EVENTS, now_ms()))?;
        if part.waits {
            self.rooms.note_waiting();
        }
        if part.name.is_some() && log.author == self.keys.device().id() {
            self.say_name_again(room, view.number, part.name)?;
        }
        Ok(part)
    }

    /// Who comes into a room later learns what we are called from what is held of our log, so that does not go with the rest.
    fn say_name_again(&mut self, room: RoomId, number: RoomNumber, gone: Option<u64>) -> Result<(), StorageError> {
        let (store, user) = (self.batch.store().clone(), self.keys.user);
        // It may have been erased, or another one be newer.
        if let Some(name) = store.profile_name(number, user)?
            && store.profile_clock(number, user)? == gone
        {
            let home = store.profile_home(number, user)?;
            drop(self.say(room, &Content::Profile { name, home })?);
        }
        Ok(())
    }
}

fn wants_more(before: &KeepRow, after: &KeepRow) -> bool {
    let more = |before: u64, after: u64| before > 0 && (after == 0 || after > before);
    (after.forever && !before.forever)
        || more(before.max_bytes, after.max_bytes)
        || more(before.max_days.into(), after.max_days.into())
}

/// Events that one part takes off: a batch as large as others, between which the writer does other things.
const PART_EVENTS: usize = 2000;
/// Rows of search that one part goes through.
const WORDS_LEN: usize = 1 << 20;
