//! What can be set: defaults < file (`config.toml` in the home) < environment < flags. Unknown keys are errors.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The settings of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Multiaddrs to listen on; none: all interfaces, tcp and quic, on the port chosen at first run.
    pub listen: Vec<String>,
    /// Peers to keep a connection with, as multiaddrs ending in `/p2p/...`.
    pub peers: Vec<String>,
    /// Where the HTTP API listens on TCP; none: 127.0.0.1 on a free port.
    pub api: Option<String>,
    /// Do not look for peers on the local network.
    pub no_mdns: bool,
    /// The federation; empty is the open one. Other names are other networks.
    pub federation: String,
}

/// Where a setting came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// `config.toml`.
    File,
    /// `TIDINGS_...`.
    Environment,
    /// The command line.
    Flag,
}

impl Source {
    /// Its name, as `config show --origin` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Source::Default => "default",
            Source::File => "file",
            Source::Environment => "environment",
            Source::Flag => "flag",
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file does not read.
    #[error("{path}{line}: {why}: mend it or remove it. Known keys: listen, peers, api, no_mdns, federation")]
    File {
        /// Which.
        path: PathBuf,
        /// Where in it: `, line 3`, or nothing.
        line: String,
        /// Why.
        why: String,
    },
    /// The federation's name cannot be one.
    #[error("federation = \"{0}\": use up to 64 letters, digits, '-' and '.'")]
    Federation(String),
}

/// The settings in force, and where each came from, by its name.
pub struct Resolved {
    /// The settings.
    pub settings: Settings,
    /// Their sources.
    pub sources: Vec<(&'static str, Source)>,
}

impl Settings {
    /// Puts file, environment and flags together; `flags` has what the command line sets, defaults elsewhere.
    ///
    /// # Errors
    /// `ConfigError`.
    pub fn resolve(home: &Path, flags: Settings) -> Result<Resolved, ConfigError> {
        let file = read(&home.join("config.toml"))?;
        let layers = [(Source::File, file), (Source::Environment, environment()), (Source::Flag, flags)];
        let mut out = Resolved { settings: Settings::default(), sources: Vec::new() };
        let mut sources = [Source::Default; 5];
        for (source, layer) in layers {
            let set = &mut out.settings;
            take(&mut set.listen, layer.listen, source, &mut sources[0]);
            take(&mut set.peers, layer.peers, source, &mut sources[1]);
            take(&mut set.api, layer.api, source, &mut sources[2]);
            take(&mut set.no_mdns, layer.no_mdns, source, &mut sources[3]);
            take(&mut set.federation, layer.federation, source, &mut sources[4]);
        }
        let names = ["listen", "peers", "api", "no_mdns", "federation"];
        out.sources = names.into_iter().zip(sources).collect();
        let name = &out.settings.federation;
        if name.len() > 64 || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.') {
            return Err(ConfigError::Federation(name.clone()));
        }
        Ok(out)
    }
}

fn read(path: &Path) -> Result<Settings, ConfigError> {
    let wrong = |line, why| ConfigError::File { path: path.to_owned(), line, why };
    match std::fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|error| {
            let at = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            wrong(at.map(|line| format!(", line {line}")).unwrap_or_default(), error.message().to_owned())
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Settings::default()),
        Err(error) => Err(wrong(String::new(), error.to_string())),
    }
}

fn environment() -> Settings {
    let list = |name: &str| -> Vec<String> {
        let text = std::env::var(name).unwrap_or_default();
        text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect()
    };
    Settings {
        listen: list("TIDINGS_LISTEN"),
        peers: list("TIDINGS_PEERS"),
        api: std::env::var("TIDINGS_API").ok().filter(|s| !s.is_empty()),
        no_mdns: std::env::var("TIDINGS_NO_MDNS").is_ok_and(|v| v != "0" && !v.is_empty()),
        federation: std::env::var("TIDINGS_FEDERATION").unwrap_or_default(),
    }
}

fn take<T: Default + PartialEq>(to: &mut T, from: T, source: Source, at: &mut Source) {
    if from != T::default() {
        *to = from;
        *at = source;
    }
}
