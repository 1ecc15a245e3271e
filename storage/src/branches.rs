//! Of a log that its author has forked over and over, the branches that were here first: whoever forks it later, to bury what
//! was said before, comes after.

use crate::error::StorageError;
use crate::key::LogNumber;
use crate::range::Walk;
use crate::store::Store;
use std::collections::{BTreeMap, BTreeSet};
use tidings_protocol::log::Tip;

impl Store {
    /// The tips of the branches of a log that came first, at most so many. From where branches part, the one whose first
    /// event is the oldest here goes before the others; local numbers tell that, for no author can choose them.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub(crate) fn first_branches(&self, log: LogNumber, count: usize) -> Result<Vec<Tip>, StorageError> {
        let mut walk = Walk::new(self)?;
        let mut tips: BTreeMap<u64, Tip> = BTreeMap::new();
        let mut above: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        let mut begins = BTreeSet::new();
        for number in self.numbers_of_log(log)? {
            let number = number?;
            let Some(row) = walk.event(number)? else { continue };
            let below = walk.below(number, row.prev)?;
            match below.filter(|(_, below)| below.log == log && below.seq.checked_add(1) == Some(row.seq)) {
                Some((below, _)) => drop(above.entry(below).or_default().insert(number)),
                None => drop(begins.insert(number)),
            }
            tips.insert(number, Tip { seq: row.seq, id: row.id });
        }
        let mut first = Vec::new();
        while let Some(mut at) = begins.pop_first().filter(|_| first.len() < count) {
            while let Some(mut next) = above.remove(&at) {
                let Some(oldest) = next.pop_first() else { break };
                begins.append(&mut next);
                at = oldest;
            }
            first.extend(tips.get(&at));
        }
        Ok(first)
    }
}
