//! What the HTTP API says of people as this node knows them, and of peers that it bans. As `types`: fields may be added,
//! never taken away.

use serde::{Deserialize, Serialize};

/// One of `GET /v1/people`, and the answer to most of what changes a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Person {
    /// Who.
    pub user: String,
    /// What the local user calls them; none when nothing.
    pub petname: Option<String>,
    /// What they call themselves in one of the rooms; empty when unknown.
    pub name: String,
    /// Whether their key was compared.
    pub verified: bool,
    /// When; 0 when it was not.
    pub verified_ms: u64,
    /// Whether what they say is hidden here.
    pub blocked: bool,
    /// Since when; 0 when it is not.
    pub blocked_ms: u64,
    /// Names at domains that are pinned to this key.
    pub names: Vec<String>,
}

/// `POST /v1/people/USER/name`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetPetname {
    /// At most 64 bytes; empty takes it back.
    pub name: String,
}

/// `GET /v1/people/USER/code`: what to compare with somebody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Code {
    /// Twelve groups of five digits.
    pub code: String,
    /// The same as a link, for a camera.
    pub link: String,
    /// With whom.
    pub person: Person,
}

/// `POST /v1/people/USER/verify`, and `POST /v1/verify` with a link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verify {
    /// The code or link as the other side shows it.
    pub code: String,
}

/// `POST /v1/pins`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetPin {
    /// A name at a domain.
    pub name: String,
    /// Take the key that the domain says now, whatever it was.
    #[serde(default)]
    pub replace: bool,
}

/// The answer: whose a name at a domain is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pin {
    /// The name.
    pub name: String,
    /// Whose.
    pub user: String,
    /// Where their nodes may be, as the domain says; nobody dials them because of that.
    pub addresses: Vec<String>,
    /// The key that it was pinned to before, if that was another.
    pub replaced: Option<String>,
}

/// One of `GET /v1/bans`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ban {
    /// Who.
    pub peer: String,
    /// Since when.
    pub since_ms: u64,
}
