//! What does not count and takes room all the same: the logs of who was removed, above what their removal left of them. Of
//! each room a little of it is kept, as it may count again; of the rest the logs go first whose words came first.

use crate::handle::NodeHandle;
use crate::rooms::RoomView;
use tidings_protocol::control::state::NoContent;
use tidings_protocol::event::Class;
use tidings_protocol::limits::SIGNATURE_EVERY;
use tidings_protocol::log::Log;
use tidings_storage::{LogRow, StorageError, Store};

/// A log of which something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Excess {
    /// How early it came.
    first: u64,
    /// What it takes, about.
    bytes: u64,
    /// The log.
    pub(super) log: Log,
    /// Everything above this goes.
    pub(super) above: u64,
}

/// Up to where a log counts, or proves what does; nothing where all of it does.
pub(super) fn counts_to(store: &Store, view: &RoomView, log: &Log, row: &LogRow) -> Result<Option<u64>, StorageError> {
    match view.state.content_right(log) {
        Ok(right) if right.cuts.is_empty() => Ok(None),
        Ok(right) => {
            let kept = store.kept(view.number, log, &right)?;
            // A cut that names nothing which is held decides nothing yet.
            let highest = kept.heads().iter().map(|tip| tip.seq).max();
            Ok(highest.map(|seq| seq.saturating_add(SIGNATURE_EVERY)))
        }
        Err(NoContent::Void(_)) => Ok(Some(0).filter(|_| row.state.held() > 0)),
        Err(_) => Ok(None),
    }
}

/// What of a room goes so that no more than so many bytes are left of what does not count. Own words stay.
pub(super) fn excess(node: &NodeHandle, view: &RoomView, max: u64) -> Result<Vec<Excess>, StorageError> {
    let (store, us) = (&node.manager.store, node.manager.keys.device().id());
    let mut found = Vec::new();
    for (log, row) in store.logs(view.number, Class::Content)?.into_iter().filter(|(log, _)| log.author != us) {
        let Some(above) = counts_to(store, view, &log, &row)? else { continue };
        let what = store.above(view.number, &log, above)?;
        if what.events > 0 {
            found.push(Excess { first: what.first, bytes: what.bytes, log, above });
        }
    }
    found.sort_unstable();
    let mut left: u64 = found.iter().map(|one| one.bytes).sum();
    let goes = |one: &Excess| {
        let is_over = left > max;
        left = left.saturating_sub(one.bytes);
        is_over
    };
    let keep = found.iter().map(goes).take_while(|is_over| *is_over).count();
    found.truncate(keep);
    Ok(found)
}

/// What may be left of a room that does not count: more than crosses a removal.
pub(super) const VOID_LEN_MAX: u64 = 4 << 20;
