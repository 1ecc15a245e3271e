//! What the API says of files.

use serde::{Deserialize, Serialize};

/// The file that a message brings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct File {
    /// What it is called, made safe: a name, never a path.
    pub name: String,
    /// Its bytes.
    pub len: u64,
    /// What kind its sender says it is; may be empty.
    pub media: String,
    /// Its hash, which names it.
    pub hash: String,
    /// Whether all of it is on this node's disk.
    pub here: bool,
}

impl File {
    /// For people, on one line: its name and how large it is. To be made safe as all text of others.
    pub fn line(&self) -> String {
        let here = if self.here { "" } else { ", not here yet" };
        format!("[file: {}, {}{here}]", self.name, size(self.len))
    }
}

/// `4 bytes`, `1.5 MB`.
pub fn size(len: u64) -> String {
    let units = ["kB", "MB", "GB"];
    let (mut value, mut unit) = (len as f64, "bytes");
    for next in units {
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1000.0, next);
    }
    if unit == "bytes" || value >= 99.5 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

/// In `POST /v1/rooms/ROOM/messages`: the file that it brings, taken in before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SendFile {
    /// As `POST /v1/files` answered.
    pub hash: String,
    /// What to call it.
    pub name: String,
    /// Its media type.
    #[serde(default)]
    pub media: String,
}

/// Answer to `POST /v1/files`: it is on disk, and stays for ten minutes, until a message names it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    /// Its hash.
    pub hash: String,
    /// Its bytes.
    pub len: u64,
}

/// One of `GET /v1/files`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// The file.
    #[serde(flatten)]
    pub file: File,
    /// The first message that brings it.
    pub event: String,
    /// Its room.
    pub room: String,
    /// When, by its place on screen.
    pub ms: u64,
    /// Whether the local user sent it: then it takes nothing of what files of others may take.
    pub own: bool,
}

/// A line of `POST /v1/files/FILE/fetch`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fetched {
    /// Bytes here, checked.
    pub have: u64,
    /// All its bytes.
    pub len: u64,
    /// Bytes that came from peers this time.
    pub fetched: u64,
    /// Peers that give it now.
    pub sources: usize,
    /// Who gave how much of that.
    pub from: Vec<Given>,
    /// All of it is here: the last line.
    pub done: bool,
}

/// What a peer gave of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// Who.
    pub peer: String,
    /// How many bytes.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_said_as_people_say_them() {
        for (len, said) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (123_456, "123 kB"),
            (1_500_000, "1.5 MB"),
            (999_900_000, "1.0 GB"),
            (16 << 30, "17.2 GB"),
        ] {
            assert_eq!(size(len), said);
        }
    }
}
