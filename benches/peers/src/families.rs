//! Which table file of a node's store belongs to what: RocksDB's own log says so of each file that it makes.

use crate::{Result, machine};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

/// Bytes on disk of one part of a stopped node's store.
pub fn disk(store: &Path, family: &str) -> Result<u64> {
    let mut owners = HashMap::new();
    let mut files = Vec::new();
    for entry in std::fs::read_dir(store)? {
        let (path, name) = (entry.as_ref().map(|e| e.path()), entry.as_ref().map(|e| e.file_name()));
        let (Ok(path), Ok(name)) = (path, name) else { continue };
        let name = name.to_string_lossy().into_owned();
        if name == "LOG" || name.starts_with("LOG.old") {
            owners.extend(made(&String::from_utf8_lossy(&std::fs::read(&path)?)));
        } else if let Some(number) = name.strip_suffix(".sst").and_then(|n| n.parse::<u64>().ok()) {
            files.push((number, path));
        }
    }
    let of = files.iter().filter(|(number, _)| owners.get(number).is_some_and(|owner| owner == family));
    Ok(of.map(|(_, path)| machine::file(path)).sum())
}

/// The files that a log says were made, and for what.
fn made(log: &str) -> Vec<(u64, String)> {
    let event = |line: &str| {
        let value: Value = serde_json::from_str(line.split_once("EVENT_LOG_v1 ")?.1).ok()?;
        if value["event"] != "table_file_creation" {
            return None;
        }
        Some((value["file_number"].as_u64()?, value["cf_name"].as_str()?.to_owned()))
    };
    log.lines().filter_map(event).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_says_whose_a_file_is() {
        let log = concat!(
            "2026/11/22 1 EVENT_LOG_v1 {\"cf_name\": \"search\", \"event\": \"table_file_creation\", \"file_number\": 142}\n",
            "2026/11/22 1 EVENT_LOG_v1 {\"event\": \"flush_started\"}\n",
            "EVENT_LOG_v1 not json\nnothing\n",
        );
        assert_eq!(made(log), [(142, "search".to_owned())]);
    }
}
