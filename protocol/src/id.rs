//! Who and what, as 32 bytes each and as text: people and devices are `did:key`, rooms and events are base32.
//! Two kinds of id never mix: each is its own type.

use crate::codec::{Canonical, CodecError, Reader, Writer};
use thiserror::Error;

/// Why text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IdError {
    /// Not 52 characters of base32 (a-z, 2-7), or its last bits are not zero.
    #[error("an id has 52 characters, a to z and 2 to 7")]
    Base32,
    /// Not `did:key:z6Mk...`, the text form of an ed25519 key.
    #[error("a person or device is written did:key:z6Mk...")]
    DidKey,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $form:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// All zero: stands where there is nothing to name.
            pub const ZERO: $name = $name([0; 32]);

            /// The bytes.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl Canonical for $name {
            fn write(&self, w: &mut Writer) {
                w.array(&self.0);
            }
            fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
                Ok($name(r.array()?))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&$form::to_text(&self.0))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                $form::from_text(text).map($name)
            }
        }
    };
}

id!(
    /// An event: the BLAKE3 of its header under the domain of events.
    EventId, base32
);
id!(
    /// A room: the id of its genesis event.
    RoomId, base32
);
id!(
    /// A file: the BLAKE3 of its bytes.
    FileHash, base32
);
id!(
    /// A person, organisation or bot: an ed25519 public key that certifies devices.
    UserId, did_key
);
id!(
    /// What signs events: an installation's ed25519 public key, or a user key in its own log.
    DeviceId, did_key
);
id!(
    /// The public half of an invite's key; the link carries the private half.
    InviteKey, did_key
);

impl From<EventId> for RoomId {
    fn from(genesis: EventId) -> Self {
        RoomId(genesis.0)
    }
}

impl From<RoomId> for EventId {
    fn from(room: RoomId) -> Self {
        EventId(room.0)
    }
}

impl From<UserId> for DeviceId {
    fn from(user: UserId) -> Self {
        DeviceId(user.0)
    }
}

/// Base32 of RFC 4648 in lower case, without padding.
pub mod base32 {
    use super::IdError;
    use data_encoding::{Encoding, Specification};
    use std::sync::LazyLock;

    static BASE32: LazyLock<Option<Encoding>> = LazyLock::new(|| {
        let mut spec = Specification::new();
        spec.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
        spec.encoding().ok()
    });

    /// Any bytes as text.
    pub fn to_text(bytes: &[u8]) -> String {
        BASE32.as_ref().map(|b| b.encode(bytes)).unwrap_or_default()
    }

    /// The bytes of a text of any length, `None` when it is not base32.
    pub fn to_bytes(text: &str) -> Option<Vec<u8>> {
        BASE32.as_ref()?.decode(text.as_bytes()).ok()
    }

    pub(super) fn from_text(text: &str) -> Result<[u8; 32], IdError> {
        to_bytes(text).and_then(|b| b.try_into().ok()).ok_or(IdError::Base32)
    }
}

/// `did:key` of the W3C for ed25519: multibase z (base58btc), multicodec 0xed 0x01, 32 bytes.
mod did_key {
    use super::IdError;

    const PREFIX: &str = "did:key:z";
    const ED25519: [u8; 2] = [0xed, 0x01];
    const TEXT_LEN_MAX: usize = 64;

    pub(super) fn to_text(key: &[u8; 32]) -> String {
        let mut bytes = ED25519.to_vec();
        bytes.extend_from_slice(key);
        format!("{PREFIX}{}", bs58::encode(bytes).into_string())
    }

    pub(super) fn from_text(text: &str) -> Result<[u8; 32], IdError> {
        let digits = text.strip_prefix(PREFIX).filter(|d| d.len() <= TEXT_LEN_MAX).ok_or(IdError::DidKey)?;
        let bytes = bs58::decode(digits).into_vec().map_err(|_| IdError::DidKey)?;
        bytes.strip_prefix(&ED25519).and_then(|k| k.try_into().ok()).ok_or(IdError::DidKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_round_trip() -> Result<(), IdError> {
        let event = EventId([7; 32]);
        assert_eq!(event.to_string().len(), 52);
        assert_eq!(event.to_string().parse::<EventId>()?, event);
        let user = UserId([9; 32]);
        assert!(user.to_string().starts_with("did:key:z6Mk"));
        assert_eq!(user.to_string().parse::<UserId>()?, user);
        Ok(())
    }

    #[test]
    fn other_text_is_refused() {
        for bad in ["", "a", &"a".repeat(51), &"A".repeat(52), &"b".repeat(52), &"1".repeat(52)] {
            assert_eq!(bad.parse::<EventId>(), Err(IdError::Base32), "{bad}");
        }
        for bad in
            ["", "did:key:", "did:key:z", "did:web:z6Mk", "did:key:z6Mk0", &format!("did:key:z{}", "1".repeat(9999))]
        {
            assert_eq!(bad.parse::<UserId>(), Err(IdError::DidKey), "{bad}");
        }
    }
}
