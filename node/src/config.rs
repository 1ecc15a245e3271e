//! What can be set: defaults < file (`config.toml` in the home) < environment < flags. Unknown keys are errors.

use crate::trim::BUDGET_MIN;
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
    /// Tell the others of a room that is not public how far one has read; `true` unless set. One's own other devices learn
    /// it in the same way.
    pub share_read: Option<bool>,
    /// Tell the others of a room that is not public that one types; `true` unless set.
    pub share_typing: Option<bool>,
    /// Tell the others of a room that is not public whether one is there; `false` unless set.
    pub share_presence: Option<bool>,
    /// Files of certificates in PEM that are trusted, too, where a domain is asked whose a name is.
    pub names_trust: Vec<String>,
    /// Where a domain is for such questions, as `example.org=10.0.0.5:443`, instead of asking the DNS. Only here an
    /// address may be a private one.
    pub names_at: Vec<String>,
    /// Live events of one author that are taken from a peer in a second, 250 unless set, and ten times as many of all
    /// authors together. What is more is no fault and not lost: it is fetched a little later.
    pub live_per_second: Option<u32>,
    /// Bytes that files of others may take on this disk, 10 GiB unless set. Over it those go first that were not used for
    /// longest; they can be fetched again. Files that the user sent are not counted.
    pub files_max_bytes: Option<u64>,
    /// Bytes of the disk that the history may take, all told; no bound unless set. Over it the oldest content of the largest
    /// room goes, and can be fetched again from who has it.
    pub disk_max_bytes: Option<u64>,
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
    #[error("{path}{line}: {why}: mend it or remove it. Known keys: {keys}", keys = NAMES.join(", "))]
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
    /// Not a budget.
    #[error("live_per_second = {0}: use a number from 1 to 100000")]
    Live(String),
    /// Not a number of bytes.
    #[error("files_max_bytes = {0}: use a number of bytes, as 10737418240 for 10 GiB")]
    Files(String),
    /// Not a disk budget.
    #[error("disk_max_bytes = {0}: use a number of bytes, {BUDGET_MIN} at least")]
    Disk(String),
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
        let layers = [(Source::File, file), (Source::Environment, environment()?), (Source::Flag, flags)];
        let mut out = Resolved { settings: Settings::default(), sources: Vec::new() };
        let mut sources = [Source::Default; NAMES.len()];
        for (source, layer) in layers {
            let set = &mut out.settings;
            take(&mut set.listen, layer.listen, source, &mut sources[0]);
            take(&mut set.peers, layer.peers, source, &mut sources[1]);
            take(&mut set.api, layer.api, source, &mut sources[2]);
            take(&mut set.no_mdns, layer.no_mdns, source, &mut sources[3]);
            take(&mut set.federation, layer.federation, source, &mut sources[4]);
            take(&mut set.share_read, layer.share_read, source, &mut sources[5]);
            take(&mut set.share_typing, layer.share_typing, source, &mut sources[6]);
            take(&mut set.share_presence, layer.share_presence, source, &mut sources[7]);
            take(&mut set.names_trust, layer.names_trust, source, &mut sources[8]);
            take(&mut set.names_at, layer.names_at, source, &mut sources[9]);
            take(&mut set.live_per_second, layer.live_per_second, source, &mut sources[10]);
            take(&mut set.files_max_bytes, layer.files_max_bytes, source, &mut sources[11]);
            take(&mut set.disk_max_bytes, layer.disk_max_bytes, source, &mut sources[12]);
        }
        out.sources = NAMES.into_iter().zip(sources).collect();
        let name = &out.settings.federation;
        if name.len() > 64 || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.') {
            return Err(ConfigError::Federation(name.clone()));
        }
        let set = &mut out.settings;
        if !LIVE_PER_SECOND.contains(&set.live_budget()) {
            return Err(ConfigError::Live(set.live_budget().to_string()));
        }
        if let Some(bytes) = set.disk_max_bytes.filter(|bytes| *bytes < BUDGET_MIN) {
            return Err(ConfigError::Disk(bytes.to_string()));
        }
        set.live_per_second = Some(set.live_budget());
        set.files_max_bytes = Some(set.files_quota());
        // Shown as they are in force.
        (set.share_read, set.share_typing, set.share_presence) =
            (Some(set.shares_read()), Some(set.shares_typing()), Some(set.shares_presence()));
        Ok(out)
    }

    /// Whether others learn how far one has read.
    pub fn shares_read(&self) -> bool {
        self.share_read.unwrap_or(true)
    }

    /// Live events of one author that are taken in a second.
    pub fn live_budget(&self) -> u32 {
        self.live_per_second.unwrap_or(LIVE_PER_SECOND_DEFAULT)
    }

    /// Bytes that files of others may take.
    pub fn files_quota(&self) -> u64 {
        self.files_max_bytes.unwrap_or(FILES_MAX_BYTES_DEFAULT)
    }

    /// Whether others learn that one types.
    pub fn shares_typing(&self) -> bool {
        self.share_typing.unwrap_or(true)
    }

    /// Whether others learn that one is there.
    pub fn shares_presence(&self) -> bool {
        self.share_presence.unwrap_or(false)
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

fn environment() -> Result<Settings, ConfigError> {
    let list = |name: &str| -> Vec<String> {
        let text = std::env::var(name).unwrap_or_default();
        text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect()
    };
    let switch = |name: &str| {
        let text = std::env::var(name).ok().filter(|v| !v.is_empty());
        text.map(|v| !matches!(v.as_str(), "0" | "false"))
    };
    let live = std::env::var("TIDINGS_LIVE_PER_SECOND").ok().filter(|text| !text.is_empty());
    let live = live.map(|text| text.parse().map_err(|_| ConfigError::Live(text))).transpose()?;
    let files = std::env::var("TIDINGS_FILES_MAX_BYTES").ok().filter(|text| !text.is_empty());
    let files = files.map(|text| text.parse().map_err(|_| ConfigError::Files(text))).transpose()?;
    let disk = std::env::var("TIDINGS_DISK_MAX_BYTES").ok().filter(|text| !text.is_empty());
    let disk = disk.map(|text| text.parse().map_err(|_| ConfigError::Disk(text))).transpose()?;
    Ok(Settings {
        files_max_bytes: files,
        listen: list("TIDINGS_LISTEN"),
        peers: list("TIDINGS_PEERS"),
        api: std::env::var("TIDINGS_API").ok().filter(|s| !s.is_empty()),
        no_mdns: std::env::var("TIDINGS_NO_MDNS").is_ok_and(|v| v != "0" && !v.is_empty()),
        federation: std::env::var("TIDINGS_FEDERATION").unwrap_or_default(),
        share_read: switch("TIDINGS_SHARE_READ"),
        share_typing: switch("TIDINGS_SHARE_TYPING"),
        share_presence: switch("TIDINGS_SHARE_PRESENCE"),
        names_trust: list("TIDINGS_NAMES_TRUST"),
        names_at: list("TIDINGS_NAMES_AT"),
        live_per_second: live,
        disk_max_bytes: disk,
    })
}

fn take<T: Default + PartialEq>(to: &mut T, from: T, source: Source, at: &mut Source) {
    if from != T::default() {
        *to = from;
        *at = source;
    }
}

/// The names of the settings, in the order in which they are shown.
const NAMES: [&str; 13] = [
    "listen",
    "peers",
    "api",
    "no_mdns",
    "federation",
    "share_read",
    "share_typing",
    "share_presence",
    "names_trust",
    "names_at",
    "live_per_second",
    "files_max_bytes",
    "disk_max_bytes",
];

/// A few films, or thousands of documents.
const FILES_MAX_BYTES_DEFAULT: u64 = 10 * 1024 * 1024 * 1024;
/// Enough for a fast bot; what one author says faster is cheaper by sync.
const LIVE_PER_SECOND_DEFAULT: u32 = 250;
const LIVE_PER_SECOND: std::ops::RangeInclusive<u32> = 1..=100_000;
