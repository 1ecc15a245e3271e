//! Sealed payloads: bytes for a few X25519 keys, in a room that anybody may read. What a key holder seals nobody else
//! opens; how long it is shows only as one of a few sizes.
//!
//! A fresh content key encrypts the bytes; it is itself encrypted for each recipient under what a fresh key and theirs
//! agree on (ChaCha20-Poly1305 both times, each key used once, so the nonces are zero).

use crate::codec::{Canonical, CodecError, Reader, Writer};
use crate::id::{DeviceId, RoomId};
use crate::limits::{SEALED_LEN_MAX, SEALED_LEN_MIN, SEALED_RECIPIENTS_MAX};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use thiserror::Error;
use x25519_dalek::{PublicKey, SharedSecret, StaticSecret};
use zeroize::Zeroizing;

/// Why bytes are not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealError {
    /// More than fits one event.
    #[error("{0} bytes are too many to seal at once")]
    TooLong(usize),
    /// More recipients than a payload may have.
    #[error("at most {SEALED_RECIPIENTS_MAX} keys can be sealed to")]
    TooMany,
    /// A recipient's key agrees on nothing secret with anybody.
    #[error("a recipient's key is none")]
    WeakKey,
}

/// The public half of a sealing key: whoever has the private half can open what is sealed to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SealingId(pub [u8; 32]);

impl Canonical for SealingId {
    fn write(&self, w: &mut Writer) {
        w.array(&self.0);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(SealingId(r.array()?))
    }
}

/// The private half: of a device, or of the words.
pub struct SealingKey(StaticSecret);

impl SealingKey {
    /// The key of a seed that nothing else uses.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        SealingKey(StaticSecret::from(*seed))
    }

    /// Its public half.
    pub fn id(&self) -> SealingId {
        SealingId(PublicKey::from(&self.0).to_bytes())
    }

    fn agree(&self, with: &[u8; 32]) -> Option<SharedSecret> {
        let shared = self.0.diffie_hellman(&PublicKey::from(*with));
        shared.was_contributory().then_some(shared)
    }
}

impl SealingId {
    /// Whether something can be sealed to this key: not to a point of small order, with which nobody agrees on anything.
    pub fn is_usable(&self) -> bool {
        SealingKey::from_seed(&[1; 32]).agree(&self.0).is_some()
    }
}

/// Where a sealed payload stands: it opens nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The room.
    pub room: RoomId,
    /// Who sealed it.
    pub author: DeviceId,
}

/// A sealed payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Ascending by key.
    recipients: Vec<Recipient>,
    ciphertext: Vec<u8>,
}

/// The content key for one recipient: a fresh public key, and what it and theirs agree on encrypts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Recipient {
    id: SealingId,
    sealed_key: [u8; SEALED_KEY_LEN],
}

impl Sealed {
    /// Seals bytes to these keys, in any order. `entropy` gives fresh random bytes each time.
    ///
    /// # Errors
    /// `SealError`.
    pub fn seal(
        plain: &[u8],
        to: &[SealingId],
        place: Place,
        entropy: &mut dyn FnMut() -> [u8; 32],
    ) -> Result<Self, SealError> {
        let mut to = to.to_vec();
        to.sort_unstable();
        to.dedup();
        if to.len() > SEALED_RECIPIENTS_MAX {
            return Err(SealError::TooMany);
        }
        let padded = pad(plain)?;
        let content_key = Zeroizing::new(entropy());
        let mut recipients = Vec::with_capacity(to.len());
        for id in to {
            let fresh = SealingKey::from_seed(&entropy());
            let shared = fresh.agree(&id.0).ok_or(SealError::WeakKey)?;
            let key = key_for(&shared, fresh.id(), id);
            let sealed = encrypt(&key, content_key.as_slice(), &aad(place)).ok_or(SealError::WeakKey)?;
            let bytes = [fresh.id().0.as_slice(), &sealed].concat();
            recipients.push(Recipient { id, sealed_key: bytes.try_into().map_err(|_| SealError::WeakKey)? });
        }
        let ciphertext = encrypt(&content_key, &padded, &aad(place)).ok_or(SealError::TooLong(plain.len()))?;
        Ok(Sealed { recipients, ciphertext })
    }

    /// Opens it; `None` where it is not for this key, was sealed elsewhere, or was tampered with.
    pub fn open(&self, key: &SealingKey, place: Place) -> Option<Zeroizing<Vec<u8>>> {
        let id = key.id();
        let recipient = self.recipients.iter().find(|r| r.id == id)?;
        let (fresh, sealed) = recipient.sealed_key.split_first_chunk::<32>()?;
        let key = key_for(&key.agree(fresh)?, SealingId(*fresh), id);
        let content_key = decrypt(&key, sealed, &aad(place))?;
        let content_key = Zeroizing::new(<[u8; 32]>::try_from(content_key.as_slice()).ok()?);
        unpad(&decrypt(&content_key, &self.ciphertext, &aad(place))?)
    }

    /// To whom it is sealed, ascending.
    pub fn recipients(&self) -> impl Iterator<Item = SealingId> + '_ {
        self.recipients.iter().map(|r| r.id)
    }
}

impl Canonical for Sealed {
    fn write(&self, w: &mut Writer) {
        w.list(&self.recipients);
        w.bytes(&self.ciphertext);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let recipients: Vec<Recipient> = r.list(SEALED_RECIPIENTS_MAX)?;
        if !recipients.is_sorted_by(|a, b| a.id < b.id) {
            return Err(CodecError::Invalid("recipients"));
        }
        Ok(Sealed { recipients, ciphertext: r.bytes(SEALED_LEN_MAX + TAG_LEN)?.to_vec() })
    }
}

impl Canonical for Recipient {
    fn write(&self, w: &mut Writer) {
        self.id.write(w);
        w.array(&self.sealed_key);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Recipient { id: SealingId::read(r)?, sealed_key: r.array()? })
    }
}

fn key_for(shared: &SharedSecret, fresh: SealingId, recipient: SealingId) -> Zeroizing<[u8; 32]> {
    let material = Zeroizing::new([shared.as_bytes().as_slice(), &fresh.0, &recipient.0].concat());
    Zeroizing::new(blake3::derive_key("tidings/sealed key/1", &material))
}

fn aad(place: Place) -> Vec<u8> {
    [place.room.as_bytes().as_slice(), place.author.as_bytes()].concat()
}

fn encrypt(key: &[u8; 32], msg: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
    let cipher = ChaCha20Poly1305::new_from_slice(key).ok()?;
    cipher.encrypt(&Nonce::default(), Payload { msg, aad }).ok()
}

fn decrypt(key: &[u8; 32], msg: &[u8], aad: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let cipher = ChaCha20Poly1305::new_from_slice(key).ok()?;
    cipher.decrypt(&Nonce::default(), Payload { msg, aad }).ok().map(Zeroizing::new)
}

/// The length, the bytes, and zeros up to the next size.
fn pad(plain: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let len = u32::try_from(plain.len()).map_err(|_| SealError::TooLong(plain.len()))?;
    let size = (plain.len() + LENGTH_LEN).next_power_of_two().max(SEALED_LEN_MIN);
    if size > SEALED_LEN_MAX {
        return Err(SealError::TooLong(plain.len()));
    }
    let mut padded = Zeroizing::new(Vec::with_capacity(size));
    padded.extend_from_slice(&len.to_be_bytes());
    padded.extend_from_slice(plain);
    padded.resize(size, 0);
    Ok(padded)
}

fn unpad(padded: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (len, rest) = padded.split_first_chunk::<LENGTH_LEN>()?;
    let plain = rest.get(..usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
    Some(Zeroizing::new(plain.to_vec()))
}

/// A public key, and a key of 32 bytes with its tag.
const SEALED_KEY_LEN: usize = 32 + 32 + TAG_LEN;
const TAG_LEN: usize = 16;
const LENGTH_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode, encode};

    const PLACE: Place = Place { room: RoomId([1; 32]), author: DeviceId([2; 32]) };

    fn entropy() -> impl FnMut() -> [u8; 32] {
        let mut n = 100u8;
        move || {
            n += 1;
            [n; 32]
        }
    }

    fn key(n: u8) -> SealingKey {
        SealingKey::from_seed(&[n; 32])
    }

    fn sealed(plain: &[u8]) -> Sealed {
        Sealed::seal(plain, &[key(2).id(), key(1).id(), key(2).id()], PLACE, &mut entropy()).unwrap()
    }

    #[test]
    fn its_recipients_open_it_and_nobody_else() {
        let sealed: Sealed = decode(&encode(&sealed(b"said")), usize::MAX).unwrap();
        assert_eq!(sealed.recipients().count(), 2);
        for n in [1, 2] {
            assert_eq!(sealed.open(&key(n), PLACE).unwrap().as_slice(), b"said");
        }
        assert_eq!(sealed.open(&key(3), PLACE), None);
    }

    #[test]
    fn it_opens_only_where_it_was_sealed_and_untouched() {
        let sealed = sealed(b"said");
        let elsewhere = [Place { room: RoomId([9; 32]), ..PLACE }, Place { author: DeviceId([9; 32]), ..PLACE }];
        for place in elsewhere {
            assert_eq!(sealed.open(&key(1), place), None);
        }
        let bytes = encode(&sealed);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            // Each recipient has a part of it that the other does not read.
            let opened = decode::<Sealed>(&changed, usize::MAX).map(|s| [1, 2].map(|n| s.open(&key(n), PLACE)));
            let harmless = opened.is_ok_and(|o| o.iter().all(|o| o.as_ref().is_some()));
            assert!(!harmless, "byte {at}");
        }
    }

    #[test]
    fn only_a_few_lengths_show() {
        let mut lens: Vec<usize> = (0..3000).map(|n| sealed(&vec![7; n]).ciphertext.len()).collect();
        lens.dedup();
        assert_eq!(lens, [256, 512, 1024, 2048, 4096].map(|n| n + TAG_LEN));
        let most = SEALED_LEN_MAX - LENGTH_LEN;
        assert_eq!(sealed(&vec![7; most]).open(&key(1), PLACE).unwrap().len(), most);
        assert_eq!(
            Sealed::seal(&vec![7; most + 1], &[key(1).id()], PLACE, &mut entropy()),
            Err(SealError::TooLong(most + 1))
        );
    }

    #[test]
    fn keys_of_small_order_and_crowds_are_refused() {
        let to = |to: &[SealingId]| Sealed::seal(b"x", to, PLACE, &mut entropy()).err();
        assert_eq!(to(&[SealingId([0; 32])]), Some(SealError::WeakKey));
        let crowd: Vec<SealingId> = (0..=SEALED_RECIPIENTS_MAX as u8).map(|n| key(n).id()).collect();
        assert_eq!(to(&crowd), Some(SealError::TooMany));
        assert!(encode(&Sealed::seal(b"x", &crowd[1..], PLACE, &mut entropy()).unwrap()).len() < 10_000);
    }
}
