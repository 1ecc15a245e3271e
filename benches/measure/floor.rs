//! What the machine itself allows, measured beside the figures, by a program of the store's crate that has nothing of ours
//! (`storage/examples/bare.rs`): the least that any store with hashes has to do.

use crate::Result;
use crate::data::Data;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Messages a second of a bare loop: hash each message, put it into a batch under its hash, sync every 100 ms or 8 MiB.
pub fn hash_and_write(data: &Data, folder: &Path) -> Result<f64> {
    let mut records = Vec::new();
    for record in &data.records {
        let hashed = [&record.ts.to_le_bytes(), record.author.as_bytes(), record.text.as_bytes()].concat();
        for part in [hashed.as_slice(), record.text.as_bytes()] {
            records.extend_from_slice(&u32::try_from(part.len())?.to_le_bytes());
            records.extend_from_slice(part);
        }
    }
    Ok(bare("loop", folder, &[], &records)?.trim().parse()?)
}

/// Milliseconds that two writes of a message take, each synced before the next, one a store: the least that a message can
/// take to be on two disks. One every `every`, as long as it takes `count`.
pub fn two_syncs(folder: &Path, count: u32, every: Duration) -> Result<Vec<f64>> {
    let told = bare("syncs", folder, &[count.to_string(), every.as_millis().to_string()], &[])?;
    told.lines().map(|line| Ok(line.parse()?)).collect()
}

fn bare(what: &str, folder: &Path, how: &[String], input: &[u8]) -> Result<String> {
    let program = std::env::current_exe()?.with_file_name("bare");
    let mut command = Command::new(&program);
    command.arg(what).arg(folder).args(how).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("{}: {e}: build all examples", program.display()))?;
    // It reads all before it says anything, and is told that there is no more.
    child.stdin.take().ok_or("no way in")?.write_all(input)?;
    let ended = child.wait_with_output()?;
    if ended.status.success() { Ok(String::from_utf8(ended.stdout)?) } else { Err("the bare loop failed".into()) }
}
