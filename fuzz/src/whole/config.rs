//! `config.toml`: settings, the same each time, or an error that says where it is.

use std::cell::LazyCell;
use tempfile::TempDir;
use tidings_node::config::{ConfigError, Settings};

thread_local! {
    static HOME: LazyCell<TempDir> = LazyCell::new(|| TempDir::new().unwrap());
}

/// The file.
pub fn config(bytes: &[u8]) {
    HOME.with(|home| {
        let file = home.path().join("config.toml");
        std::fs::write(&file, bytes).unwrap();
        match Settings::resolve(home.path(), Settings::default()) {
            Ok(resolved) => {
                let again = Settings::resolve(home.path(), Settings::default()).unwrap_or_else(|e| panic!("{e}"));
                assert_eq!((&again.settings, again.sources), (&resolved.settings, resolved.sources));
                assert!(resolved.settings.federation.len() <= 64 && resolved.settings.live_budget() > 0);
                // What is in force can be written down and read.
                let written = serde_json::to_string(&resolved.settings).unwrap();
                assert_eq!(serde_json::from_str::<Settings>(&written).unwrap(), resolved.settings);
            }
            Err(error) => {
                let text = error.to_string();
                match &error {
                    ConfigError::File { line, why, .. } => {
                        assert!(text.contains("config.toml") && !why.is_empty(), "{text}");
                        let count = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
                        let number = line.strip_prefix(", line ").map(|n| n.parse::<usize>().unwrap());
                        assert!(number.is_none_or(|n| (1..=count).contains(&n)), "{text}");
                        // What is nested too deep has no place for the reader, as what is no text.
                        let is_placed = std::str::from_utf8(bytes).is_ok() && why != "recursion limit";
                        assert!(number.is_some() || !is_placed, "{text}");
                    }
                    _ => assert!(text.contains(" = "), "{text}"),
                }
            }
        }
    });
}
