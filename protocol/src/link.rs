//! Links into rooms: `tidings://join/...`, everything a newcomer needs, with a checksum so that a cut-off copy is told apart
//! from a wrong one. An invite link lets in whoever has it; a link for somebody who was granted a role lets in nobody else.

use crate::codec::{Canonical, CodecError, Reader, Writer, decode, encode};
use crate::control::payload::RoomKind;
use crate::id::{EventId, RoomId, base32};
use crate::identity::InviteSecret;
use crate::limits::{ADDRESS_LEN_MAX, LINK_ADDRESSES_MAX, LINK_LEN_MAX, NETWORK_LEN_MAX};
use thiserror::Error;

/// What a link says.
#[derive(Clone)]
pub struct InviteLink {
    /// The federation; empty is the open one.
    pub network: String,
    /// The room.
    pub room: RoomId,
    /// Who may see it.
    pub kind: RoomKind,
    /// The room's secret; zero in a public room.
    pub secret: [u8; 32],
    /// The OpenInvite event.
    pub invite: EventId,
    /// The invite's private key.
    pub key: InviteSecret,
    /// For display: Unix milliseconds after which the opener closes it; 0 is never.
    pub expires_ms: u64,
    /// Where members' nodes were, as multiaddr text ending in `/p2p/...`.
    pub addresses: Vec<String>,
}

/// What a link for somebody says who was granted a role: where the room is, and under which grant they come in. Without
/// their own keys it opens nothing.
#[derive(Clone)]
pub struct GrantLink {
    /// The federation; empty is the open one.
    pub network: String,
    /// The room.
    pub room: RoomId,
    /// Who may see it.
    pub kind: RoomKind,
    /// The room's secret; zero in a public room.
    pub secret: [u8; 32],
    /// The Grant event.
    pub grant: EventId,
    /// Where members' nodes were, as multiaddr text ending in `/p2p/...`.
    pub addresses: Vec<String>,
}

/// A link into a room, of either form.
#[derive(Clone)]
pub enum RoomLink {
    /// For whoever has it.
    Invite(InviteLink),
    /// For who was granted.
    Grant(GrantLink),
}

/// Why text is not a link that can be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LinkError {
    /// It does not begin with `tidings://join/`.
    #[error("an invite link begins with {PREFIX}")]
    Prefix,
    /// It does not begin with `tidings://device/`.
    #[error(
        "a link for another device begins with {}: `tidings id add` on your first device makes one",
        crate::enrol::PREFIX
    )]
    DevicePrefix,
    /// The checksum does not fit: most likely not all of it was copied.
    #[error("the link is damaged or incomplete: copy all of it and try again")]
    Damaged,
    /// It is whole, but of a version or form that this program does not know.
    #[error("this link is of a later version: update tidings")]
    Version,
    /// It leads into another federation.
    #[error(
        "the link is for the network \"{theirs}\", this node is in \"{ours}\": run a node with that federation to join"
    )]
    OtherNetwork {
        /// The link's federation.
        theirs: String,
        /// Ours.
        ours: String,
    },
}

impl InviteLink {
    /// The link as text.
    pub fn to_text(&self) -> String {
        to_text(PREFIX, encode(self))
    }

    /// Reads a link; space around it and the case of its letters do not matter.
    ///
    /// # Errors
    /// `LinkError`, in this order: prefix, damage, version.
    pub fn from_text(text: &str) -> Result<Self, LinkError> {
        let body = body_of(PREFIX, text)?.ok_or(LinkError::Prefix)?;
        decode(&body, LINK_LEN_MAX).map_err(|_| LinkError::Version)
    }

    /// Checks that the link leads into our federation.
    ///
    /// # Errors
    /// `LinkError::OtherNetwork`.
    pub fn check_network(&self, ours: &str) -> Result<(), LinkError> {
        check_network(&self.network, ours)
    }
}

impl GrantLink {
    /// The link as text.
    pub fn to_text(&self) -> String {
        to_text(PREFIX, encode(self))
    }
}

impl RoomLink {
    /// Reads a link; space around it and the case of its letters do not matter.
    ///
    /// # Errors
    /// `LinkError`, in this order: prefix, damage, version.
    pub fn from_text(text: &str) -> Result<Self, LinkError> {
        let body = body_of(PREFIX, text)?.ok_or(LinkError::Prefix)?;
        let read = match body.first() {
            Some(&GRANT_LINK_VERSION) => decode(&body, LINK_LEN_MAX).map(RoomLink::Grant),
            _ => decode(&body, LINK_LEN_MAX).map(RoomLink::Invite),
        };
        read.map_err(|_| LinkError::Version)
    }

    /// Checks that the link leads into our federation.
    ///
    /// # Errors
    /// `LinkError::OtherNetwork`.
    pub fn check_network(&self, ours: &str) -> Result<(), LinkError> {
        match self {
            RoomLink::Invite(link) => check_network(&link.network, ours),
            RoomLink::Grant(link) => check_network(&link.network, ours),
        }
    }

    /// The room it leads into.
    pub fn room(&self) -> RoomId {
        match self {
            RoomLink::Invite(link) => link.room,
            RoomLink::Grant(link) => link.room,
        }
    }

    /// Where members' nodes were.
    pub fn addresses(&self) -> &[String] {
        match self {
            RoomLink::Invite(link) => &link.addresses,
            RoomLink::Grant(link) => &link.addresses,
        }
    }
}

/// Checks that a link leads into our federation.
pub(crate) fn check_network(theirs: &str, ours: &str) -> Result<(), LinkError> {
    match theirs == ours {
        true => Ok(()),
        false => Err(LinkError::OtherNetwork { theirs: theirs.to_owned(), ours: ours.to_owned() }),
    }
}

/// A link's body as text.
pub(crate) fn to_text(prefix: &str, mut body: Vec<u8>) -> String {
    body.extend_from_slice(&checksum(&body));
    format!("{prefix}{}", base32::to_text(&body))
}

/// The body of a link's text; `None` where it begins otherwise.
///
/// # Errors
/// `LinkError::Damaged`.
pub(crate) fn body_of(prefix: &str, text: &str) -> Result<Option<Vec<u8>>, LinkError> {
    let text = text.trim();
    if text.len() > LINK_LEN_MAX {
        return Err(LinkError::Damaged);
    }
    let lower = text.to_ascii_lowercase();
    let Some(code) = lower.strip_prefix(prefix) else { return Ok(None) };
    let bytes = base32::to_bytes(code).ok_or(LinkError::Damaged)?;
    let (body, sum) = bytes.split_last_chunk::<CHECKSUM_LEN>().ok_or(LinkError::Damaged)?;
    if checksum(body) != *sum {
        return Err(LinkError::Damaged);
    }
    Ok(Some(body.to_vec()))
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    let hash = blake3::derive_key("tidings/link checksum/1", bytes);
    [hash[0], hash[1], hash[2], hash[3]]
}

/// An address in a link.
pub(crate) struct Address(pub(crate) String);

impl Canonical for Address {
    fn write(&self, w: &mut Writer) {
        w.text(&self.0);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Address(r.text(ADDRESS_LEN_MAX)?))
    }
}

impl Canonical for InviteLink {
    fn write(&self, w: &mut Writer) {
        w.u8(LINK_VERSION);
        w.text(&self.network);
        self.room.write(w);
        self.kind.write(w);
        w.array(&self.secret);
        self.invite.write(w);
        w.array(self.key.seed());
        w.u64(self.expires_ms);
        w.length(self.addresses.len());
        for address in &self.addresses {
            w.text(address);
        }
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        if r.u8()? != LINK_VERSION {
            return Err(CodecError::Invalid("link version"));
        }
        Ok(InviteLink {
            network: r.text(NETWORK_LEN_MAX)?,
            room: RoomId::read(r)?,
            kind: RoomKind::read(r)?,
            secret: r.array()?,
            invite: EventId::read(r)?,
            key: InviteSecret::from_seed(r.array()?),
            expires_ms: r.u64()?,
            addresses: r.list::<Address>(LINK_ADDRESSES_MAX)?.into_iter().map(|a| a.0).collect(),
        })
    }
}

impl Canonical for GrantLink {
    fn write(&self, w: &mut Writer) {
        w.u8(GRANT_LINK_VERSION);
        w.text(&self.network);
        self.room.write(w);
        self.kind.write(w);
        w.array(&self.secret);
        self.grant.write(w);
        w.length(self.addresses.len());
        for address in &self.addresses {
            w.text(address);
        }
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        if r.u8()? != GRANT_LINK_VERSION {
            return Err(CodecError::Invalid("link version"));
        }
        Ok(GrantLink {
            network: r.text(NETWORK_LEN_MAX)?,
            room: RoomId::read(r)?,
            kind: RoomKind::read(r)?,
            secret: r.array()?,
            grant: EventId::read(r)?,
            addresses: r.list::<Address>(LINK_ADDRESSES_MAX)?.into_iter().map(|a| a.0).collect(),
        })
    }
}

const PREFIX: &str = "tidings://join/";
const LINK_VERSION: u8 = 1;
const GRANT_LINK_VERSION: u8 = 2;
const CHECKSUM_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> InviteLink {
        InviteLink {
            network: String::new(),
            room: RoomId([1; 32]),
            kind: RoomKind::Members,
            secret: [2; 32],
            invite: EventId([3; 32]),
            key: InviteSecret::from_seed([4; 32]),
            expires_ms: 5,
            addresses: vec!["/ip4/127.0.0.1/tcp/4001/p2p/12D3KooW".into()],
        }
    }

    #[test]
    fn a_link_survives_mail_and_chat() {
        let text = link().to_text();
        for copy in [text.clone(), format!("  {text}\n"), text.to_uppercase()] {
            let read = InviteLink::from_text(&copy).unwrap();
            assert_eq!(read.to_text(), text);
        }
    }

    #[test]
    fn a_link_for_somebody_granted_is_told_from_one_for_everybody() {
        let InviteLink { network, room, kind, secret, addresses, .. } = link();
        let granted = GrantLink { network, room, kind, secret, grant: EventId([6; 32]), addresses };
        let text = granted.to_text();
        let Ok(RoomLink::Grant(read)) = RoomLink::from_text(&text) else { panic!("{text}") };
        assert_eq!((read.to_text(), read.grant), (text.clone(), granted.grant));
        assert_eq!(InviteLink::from_text(&text).err(), Some(LinkError::Version));
        assert!(matches!(RoomLink::from_text(&link().to_text()), Ok(RoomLink::Invite(_))));
    }

    #[test]
    fn each_kind_of_bad_link_has_its_own_answer() {
        let text = link().to_text();
        assert_eq!(InviteLink::from_text("https://example.org").err(), Some(LinkError::Prefix));
        for bad in
            ["tidings://join/", "tidings://join/!!", &text[..text.len() - 3], &format!("{text}a"), &"a".repeat(9999)]
        {
            let expected = if bad.starts_with(PREFIX) || bad.len() > LINK_LEN_MAX {
                LinkError::Damaged
            } else {
                LinkError::Prefix
            };
            assert_eq!(InviteLink::from_text(bad).err(), Some(expected), "{bad}");
        }
        let mut later = vec![9];
        later.extend_from_slice(&checksum(&[9]));
        let later = format!("{PREFIX}{}", base32::to_text(&later));
        assert_eq!(InviteLink::from_text(&later).err(), Some(LinkError::Version));
        assert!(matches!(link().check_network("corp"), Err(LinkError::OtherNetwork { .. })));
    }
}
