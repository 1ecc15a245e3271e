//! Kills and cuts: the same as in the tests, more of them.

use crate::Result;
use crate::data::Data;
use crate::report::Report;
use crate::support::crash::Killer;
use crate::support::healing;
use std::collections::BTreeMap;
use std::path::Path;

/// Twenty kills.
pub fn crash(report: &mut Report, data: &Data, folder: &Path) -> Result<()> {
    report.part("kill -9 at seeded moments of import, sync and conversation");
    let line = |record| Ok(serde_json::to_string(record)? + "\n");
    let records = data.records.iter().take(RECORDS).map(line).collect::<Result<Vec<String>>>()?;
    let Some(killer) = Killer::new(folder, records) else {
        report.note("skipped: no C compiler");
        return Ok(());
    };
    let mut kinds: BTreeMap<_, (usize, usize, usize)> = BTreeMap::new();
    for seed in 0..KILLS {
        let killed = killer.kill(seed);
        let kind = kinds.entry(killed.moment).or_default();
        *kind = (kind.0 + 1, kind.1 + usize::from(killed.inside), kind.2 + killed.acknowledged);
        report.note(&format!(
            "seed {seed}: {:?} after {} ms, inside a batch: {}",
            killed.moment, killed.after_ms, killed.inside
        ));
        std::fs::remove_dir_all(folder.join(seed.to_string()))?;
    }
    for (moment, (kills, inside, acknowledged)) in &kinds {
        report.note(&format!("{moment:?}: {kills} kills, {inside} inside a batch, {acknowledged} acknowledged before"));
    }
    let inside: usize = kinds.values().map(|k| k.1).sum();
    report.figure("acknowledged and lost", &format!("0 in {KILLS} kills"), "0", true);
    report.figure("kills inside a batch", &inside.to_string(), "5 of 20 at least", inside >= 5);
    Ok(())
}

/// Three nodes, one cut off, forks.
pub fn healing(report: &mut Report, folder: &Path) {
    report.part("Three nodes, one cut off while all write, healed");
    match healing::heal(folder) {
        Some(healed) => {
            let value = format!("{} messages, {} of them on two branches of a log", healed.messages, healed.forked);
            report.figure("all show and hold the same", &value, "the same order", true);
        }
        None => report.note("skipped: no network of one's own to be had (unshare -Urn)"),
    }
}

const KILLS: u64 = 20;
const RECORDS: usize = 40_000;
