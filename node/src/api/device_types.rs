//! What the HTTP API says of the user's devices. Part of `types`.

use serde::{Deserialize, Serialize};

/// One of `GET /v1/devices`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Its key.
    pub device: String,
    /// What its user calls it.
    pub name: String,
    /// When it was certified.
    pub created_ms: u64,
    /// Whether it is this one.
    pub current: bool,
    /// Whether nothing that it writes counts any more.
    pub revoked: bool,
}

/// `POST /v1/devices/offer`, and what else may need the recovery words.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct WithWords {
    /// The words, where they are not on this device.
    #[serde(default)]
    pub words: Option<String>,
}

/// `POST /v1/devices/DEVICE/revoke`.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RevokeDevice {
    /// The words, where they are not on this device.
    #[serde(default)]
    pub words: Option<String>,
    /// Everywhere at once, also where nobody was found yet who holds the same: what only others hold of the device is lost.
    #[serde(default)]
    pub now: bool,
}

/// Answer to `POST /v1/devices/offer`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceOffer {
    /// `tidings://device/...`
    pub link: String,
    /// Until when it may be used.
    pub expires_ms: u64,
}

/// `GET /v1/devices/offer?after=STATE&wait_ms=`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OfferStanding {
    /// `closed`, `waiting`, `asked`, `done` or `failed`.
    pub state: String,
    /// What the device that has asked is called.
    pub name: String,
    /// The check code, while it asks.
    pub code: String,
    /// Its key.
    pub device: String,
}

/// Answer to `POST /v1/devices/DEVICE/revoke`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceRevoked {
    /// Its key.
    pub device: String,
    /// The rooms that counted it.
    pub rooms: Vec<RevokedIn>,
}

/// What became of a revocation in one room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RevokedIn {
    /// The room's id.
    pub room: String,
    /// What this node calls it; empty for the room in which a user's devices are listed.
    pub alias: String,
    /// Whether nothing of the device counts there any more.
    pub done: bool,
    /// Why not.
    pub why: String,
}

/// Somebody's word that something is wrong in a room, and what would mend it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Whom it is about.
    pub user: String,
    /// Which device of theirs.
    pub device: String,
    /// What is wrong, in a sentence.
    pub text: String,
    /// The command that would mend it.
    pub command: String,
}

/// `POST /v1/devices/offer/decide`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decide {
    /// Whether the device is let in.
    pub accept: bool,
    /// Its key, as it was shown to who decides.
    pub device: String,
}
