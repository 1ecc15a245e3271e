//! The runs of a fault: how many (`TIDINGS_FAULTS`), from which seed on (`TIDINGS_FAULT_SEED`), and what came of them, a line
//! of JSON in the file that `TIDINGS_FAULT_REPORT` names.

use super::kill::Death;
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use tidings_protocol::event::Class;
use tidings_protocol::id::EventId;
use tidings_storage::Store;

/// One kind of fault, and what came of it so far.
pub struct Fault {
    name: &'static str,
    first: u64,
    runs: u64,
    pub acknowledged: u64,
    /// Runs in which the fault fell inside of it.
    pub in_batch: u64,
    pub in_flush: u64,
    pub in_compaction: u64,
    /// Of those runs that must lose something.
    pub control_runs: u64,
    pub control_lost: u64,
}

impl Fault {
    /// So many runs, unless one is told otherwise.
    pub fn of(name: &'static str, runs: u64) -> Fault {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
        let (first, count) = (number("TIDINGS_FAULT_SEED"), number("TIDINGS_FAULTS"));
        let runs = count.unwrap_or(if first.is_some() { 1 } else { runs });
        let (acknowledged, in_batch, in_flush, in_compaction, control_runs, control_lost) = (0, 0, 0, 0, 0, 0);
        let first = first.unwrap_or(0);
        Fault { name, first, runs, acknowledged, in_batch, in_flush, in_compaction, control_runs, control_lost }
    }

    pub fn seeds(&self) -> std::ops::Range<u64> {
        self.first..self.first + self.runs
    }

    /// Says with which seed a run begins: the last one said is the one that failed.
    pub fn begin(&self, seed: u64) {
        println!("{}: seed {seed}; again: TIDINGS_FAULT_SEED={seed} TIDINGS_FAULTS=1", self.name);
    }

    /// Whether so many runs were made that each kind has come up.
    pub fn is_long(&self) -> bool {
        self.runs >= 20
    }

    pub fn died(&mut self, death: &Death) {
        self.in_batch += u64::from(death.in_batch);
        self.in_flush += u64::from(death.in_flush);
        self.in_compaction += u64::from(death.in_compaction);
    }

    /// Every run is done, and nothing was lost, or the test had ended before.
    pub fn report(self) {
        let Fault { name, first, runs, acknowledged, in_batch, in_flush, in_compaction, control_runs, control_lost } =
            self;
        let line = format!(
            "{{\"fault\": \"{name}\", \"seed\": {first}, \"runs\": {runs}, \"killed_in_batch\": {in_batch}, \
             \"killed_in_flush\": {in_flush}, \"killed_in_compaction\": {in_compaction}, \"acknowledged\": {acknowledged}, \
             \"lost\": 0, \"control_runs\": {control_runs}, \"control_lost\": {control_lost}}}"
        );
        println!("{line}");
        if let Some(path) = std::env::var_os("TIDINGS_FAULT_REPORT") {
            let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
            writeln!(file, "{line}").unwrap();
        }
    }
}

/// Of these events those that a home at rest does not have. Fails unless all that it has verifies, and no log of it has a
/// hole or a place that was used twice.
pub fn lost(home: &Path, acknowledged: &BTreeSet<EventId>) -> Vec<EventId> {
    let store = Store::open_read_only(&home.join("store")).unwrap();
    let verified = store.verify(&mut |_| true).unwrap();
    assert_eq!(verified.flaw_count, 0, "{}: {:#?}", home.display(), verified.flaws);
    for (number, _) in store.rooms().unwrap() {
        for (log, row) in [Class::Control, Class::Content].into_iter().flat_map(|c| store.logs(number, c).unwrap()) {
            let state = &row.state;
            let is_whole = state.tips().len() <= 1 && state.holes().is_empty() && !state.is_forked();
            assert!(is_whole, "{}: {log:?}: {state:?}", home.display());
        }
    }
    acknowledged.iter().copied().filter(|id| !store.holds(*id).unwrap()).collect()
}
