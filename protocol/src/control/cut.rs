//! What a revocation leaves of a log: what lies on the way down from events that it names. It applies on arrival; nothing
//! waits for what it names.

use crate::codec::{Canonical, CodecError, Reader, Writer};
use crate::id::EventId;
use crate::limits::{CUT_IDS_MAX, CUTS_MAX};
use crate::log::Log;

/// What stays of one log: nothing above `seq`, and of the rest only what is shown to be one of `ids` or an ancestor by
/// `prev` of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cut {
    /// The log.
    pub log: Log,
    /// The highest number that stays.
    pub seq: u64,
    /// Tips that stay, and ancestors of them at growing distances, so that who lacks a tip still keeps what can be shown.
    /// Ascending.
    pub ids: Vec<EventId>,
}

impl Cut {
    /// The cut of `log` in a list of them.
    pub fn of<'a>(cuts: &'a [Cut], log: &Log) -> Option<&'a Cut> {
        let at = cuts.binary_search_by(|cut| cut.log.cmp(log)).ok()?;
        cuts.get(at)
    }

    /// Whether it leaves nothing.
    pub fn is_zero(&self) -> bool {
        self.seq == 0 || self.ids.is_empty()
    }

    /// Reads a list of cuts, ascending by log, each log once.
    pub(super) fn read_list(r: &mut Reader<'_>) -> Result<Vec<Cut>, CodecError> {
        let cuts: Vec<Cut> = r.sorted(CUTS_MAX)?;
        match cuts.is_sorted_by(|a, b| a.log < b.log) {
            true => Ok(cuts),
            false => Err(CodecError::Invalid("two cuts of one log")),
        }
    }
}

impl Canonical for Cut {
    fn write(&self, w: &mut Writer) {
        self.log.write(w);
        w.u64(self.seq);
        w.list(&self.ids);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Cut { log: Log::read(r)?, seq: r.u64()?, ids: r.sorted(CUT_IDS_MAX)? })
    }
}
