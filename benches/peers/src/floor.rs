//! What the disk alone takes: the least that a message can take to be on two disks.

use crate::Result;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Milliseconds from when each message was due to when it was synced in one file, then in another: 4 KiB each, growing files.
/// Those that fell due while one was synced share the next sync, as a store that commits in groups does it.
pub fn two_syncs(folder: &Path, count: usize, every: Duration) -> Result<Vec<f64>> {
    std::fs::create_dir_all(folder)?;
    let mut files = [File::create(folder.join("one"))?, File::create(folder.join("two"))?];
    let (mut out, began) = (Vec::with_capacity(count), Instant::now());
    let due = |n: usize| began + every * u32::try_from(n).unwrap_or(u32::MAX);
    while out.len() < count {
        std::thread::sleep(due(out.len()).saturating_duration_since(Instant::now()));
        let ready = (out.len()..count).take_while(|n| due(*n) <= Instant::now()).count().max(1);
        let first = out.len();
        for file in &mut files {
            for _ in 0..ready {
                file.write_all(&[7; 4096])?;
            }
            file.sync_data()?;
        }
        out.extend((first..first + ready).map(|n| due(n).elapsed().as_secs_f64() * 1000.0));
    }
    std::fs::remove_dir_all(folder)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_has_a_figure() {
        let folder = tempfile::tempdir().unwrap();
        let taken = two_syncs(&folder.path().join("f"), 20, Duration::from_micros(10)).unwrap();
        assert_eq!(taken.len(), 20);
        assert!(taken.iter().all(|ms| *ms > 0.0));
    }
}
