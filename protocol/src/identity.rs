//! Keys and what they vouch for: the user key from 24 words, device keys, and certificates that tie one to the other.
//! Every signature is made over a domain tag and a typed local intent; nothing signs bytes that a peer sent.

use crate::codec::{Canonical, CodecError, Reader, Writer, encode};
use crate::id::{DeviceId, InviteKey, UserId};
use crate::limits::NAME_LEN_MAX;
use crate::sealed::{SealingId, SealingKey};
use bip39::{Language, Mnemonic};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use hkdf::Hkdf;
use sha2::Sha256;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

/// A signature made under another domain or by another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the signature is not by this key over these bytes")]
pub struct BadSignature;

/// Why words are not a recovery phrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PhraseError {
    /// Not 24 words, a word that is not in the list, or a checksum that does not fit.
    #[error("these are not 24 recovery words: check spelling and order")]
    Words,
}

/// What a signature is for. A signature for one use never counts for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// An event's id, by its author.
    Event,
    /// A device certificate, by the user key.
    Certificate,
    /// A join, by the invite's key.
    Join,
    /// A credential for a sync conversation, by a device.
    Credential,
    /// A beacon, by a device.
    Beacon,
    /// What a device answers to an Ask.
    Answer,
}

impl Domain {
    /// The tag that stands before the signed bytes; the NUL at its end makes no tag a prefix of another.
    pub fn tag(self) -> &'static [u8] {
        match self {
            Domain::Event => b"tidings/event/1\0",
            Domain::Certificate => b"tidings/certificate/1\0",
            Domain::Join => b"tidings/join/1\0",
            Domain::Credential => b"tidings/credential/1\0",
            Domain::Beacon => b"tidings/beacon/1\0",
            Domain::Answer => b"tidings/answer/1\0",
        }
    }
}

/// An ed25519 signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl Canonical for Signature {
    fn write(&self, w: &mut Writer) {
        w.array(&self.0);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Signature(r.array()?))
    }
}

/// Checks one signature, strictly (RFC 8032 with small-order keys and points refused), the same way everywhere.
///
/// # Errors
/// `BadSignature`.
pub fn verify(key: &[u8; 32], domain: Domain, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
    let key = VerifyingKey::from_bytes(key).map_err(|_| BadSignature)?;
    let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
    key.verify_strict(&tagged(domain, message), &signature).map_err(|_| BadSignature)
}

/// As `verify`, and takes as long however bad the signature is: who is refused shall not learn from the time what was
/// looked at.
///
/// # Errors
/// `BadSignature`.
pub fn verify_evenly(
    key: &[u8; 32],
    domain: Domain,
    message: &[u8],
    signature: &Signature,
) -> Result<(), BadSignature> {
    if is_point(key) & is_point(&first(signature)) & is_reduced(signature) {
        return verify(key, domain, message, signature);
    }
    // What does not even read is refused at once by the library: the work is done on what reads and does not hold.
    let mut other = Signature([0x55; 64]);
    other.0[..32].copy_from_slice(&BASE_POINT);
    // Below the order, and of a full length: a short number would be done with sooner.
    other.0[63] = 0x05;
    verify(&BASE_POINT, domain, message, &other)?;
    Err(BadSignature)
}

fn first(signature: &Signature) -> [u8; 32] {
    let mut point = [0; 32];
    point.copy_from_slice(&signature.0[..32]);
    point
}

fn is_point(bytes: &[u8; 32]) -> bool {
    VerifyingKey::from_bytes(bytes).is_ok_and(|key| !key.is_weak())
}

/// Whether the second half, little endian, is below the order of the base point (RFC 8032, section 5.1).
fn is_reduced(signature: &Signature) -> bool {
    signature.0[32..].iter().rev().lt(ORDER.iter().rev())
}

/// The encoding of ed25519's base point: a key that nobody signs by here.
const BASE_POINT: [u8; 32] = {
    let mut bytes = [0x66; 32];
    bytes[0] = 0x58;
    bytes
};
/// The order of the base point, little endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn tagged(domain: Domain, message: &[u8]) -> Vec<u8> {
    [domain.tag(), message].concat()
}

fn sign(key: &SigningKey, domain: Domain, message: &[u8]) -> Signature {
    Signature(key.sign(&tagged(domain, message)).to_bytes())
}

/// The 32 bytes behind 24 words (BIP-39, English). Whoever has them is the user.
pub struct RecoveryPhrase {
    entropy: Zeroizing<[u8; 32]>,
}

impl RecoveryPhrase {
    /// The phrase for fresh entropy.
    pub fn from_entropy(entropy: [u8; 32]) -> Self {
        RecoveryPhrase { entropy: Zeroizing::new(entropy) }
    }

    /// The phrase that these words spell; case and spacing do not matter.
    ///
    /// # Errors
    /// `PhraseError::Words`.
    pub fn from_words(words: &str) -> Result<Self, PhraseError> {
        let words = Zeroizing::new(words.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase());
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, &words).map_err(|_| PhraseError::Words)?;
        let mut bytes = mnemonic.to_entropy();
        let entropy = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| PhraseError::Words);
        bytes.zeroize();
        Ok(RecoveryPhrase::from_entropy(entropy?))
    }

    /// The 24 words, separated by spaces.
    pub fn words(&self) -> Zeroizing<String> {
        let mnemonic = Mnemonic::from_entropy(self.entropy.as_slice());
        Zeroizing::new(mnemonic.map(|m| m.to_string()).unwrap_or_default())
    }

    /// The bytes to keep on disk.
    pub fn entropy(&self) -> &[u8; 32] {
        &self.entropy
    }

    /// The user key.
    pub fn user_key(&self) -> UserKey {
        UserKey(SigningKey::from_bytes(&self.derive(b"tidings/user key/1")))
    }

    /// The key by which the words open what the user's devices share.
    pub fn sealing_key(&self) -> SealingKey {
        SealingKey::from_seed(&self.derive(b"tidings/words sealing key/1"))
    }

    /// The salt of the event that founds the self-room: the same each time, and not to be guessed without the words.
    pub fn self_room_salt(&self) -> [u8; 16] {
        *self.derive::<16>(b"tidings/self-room salt/1")
    }

    /// HKDF-SHA256 of the entropy, each use under its own label.
    fn derive<const N: usize>(&self, label: &[u8]) -> Zeroizing<[u8; N]> {
        let mut out = Zeroizing::new([0; N]);
        let derived = Hkdf::<Sha256>::new(None, self.entropy.as_slice()).expand(label, out.as_mut_slice());
        debug_assert!(derived.is_ok(), "32 bytes are fewer than HKDF's 255 blocks");
        out
    }
}

/// The private key of a user: certifies devices, and nothing else in daily life.
pub struct UserKey(SigningKey);

impl UserKey {
    /// Who this is.
    pub fn user(&self) -> UserId {
        UserId(self.0.verifying_key().to_bytes())
    }

    /// Certifies a device as this user's; a name over the limit is cut to it.
    pub fn certify(&self, device: DeviceId, name: &str, created_ms: u64) -> DeviceCertificate {
        let name = name[..name.floor_char_boundary(NAME_LEN_MAX)].to_owned();
        let claim = CertificateClaim { user: self.user(), device, name, created_ms };
        let signature = sign(&self.0, Domain::Certificate, &encode(&claim));
        DeviceCertificate { claim, signature }
    }

    /// The key as an author of events: of the logs in which a user revokes devices, and of the self-room's first event.
    pub fn own_log_key(&self) -> DeviceKey {
        DeviceKey(self.0.clone())
    }
}

/// The private key of a device: signs its events and its credentials.
pub struct DeviceKey(SigningKey);

impl DeviceKey {
    /// The key of a seed of fresh entropy.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        DeviceKey(SigningKey::from_bytes(seed))
    }

    /// Which device this is.
    pub fn device(&self) -> DeviceId {
        DeviceId(self.0.verifying_key().to_bytes())
    }

    /// The key by which this device opens what the user's devices share.
    pub fn sealing_key(&self) -> SealingKey {
        let seed = Zeroizing::new(self.0.to_bytes());
        SealingKey::from_seed(&Zeroizing::new(blake3::derive_key("tidings/device sealing key/1", seed.as_slice())))
    }

    /// The key by which this device opens what is sealed to it by whoever knows no more of it than its id: the key with
    /// which it signs, as X25519 has it (<https://eprint.iacr.org/2021/509>).
    pub fn report_key(&self) -> SealingKey {
        SealingKey::from_seed(&Zeroizing::new(self.0.to_scalar_bytes()))
    }

    pub(crate) fn sign(&self, domain: Domain, message: &[u8]) -> Signature {
        sign(&self.0, domain, message)
    }
}

/// The public half of a device's `report_key`; `None` for an id that is no key.
pub fn sealing_id_of(device: DeviceId) -> Option<SealingId> {
    let key = VerifyingKey::from_bytes(device.as_bytes()).ok().filter(|key| !key.is_weak())?;
    Some(SealingId(key.to_montgomery().to_bytes()))
}

/// The private key of an invite, as the link carries it.
#[derive(Clone)]
pub struct InviteSecret(Zeroizing<[u8; 32]>);

impl InviteSecret {
    /// The secret of a seed of fresh entropy.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        InviteSecret(Zeroizing::new(seed))
    }

    /// The seed, for the link.
    pub fn seed(&self) -> &[u8; 32] {
        &self.0
    }

    /// The public half, which OpenInvite names.
    pub fn key(&self) -> InviteKey {
        InviteKey(SigningKey::from_bytes(&self.0).verifying_key().to_bytes())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Signature {
        sign(&SigningKey::from_bytes(&self.0), Domain::Join, message)
    }
}

/// A user's word that a device is theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceCertificate {
    claim: CertificateClaim,
    signature: Signature,
}

impl DeviceCertificate {
    /// Whose device it is.
    pub fn user(&self) -> UserId {
        self.claim.user
    }

    /// Which device.
    pub fn device(&self) -> DeviceId {
        self.claim.device
    }

    /// What the user calls the device.
    pub fn name(&self) -> &str {
        &self.claim.name
    }

    /// When it was certified, Unix milliseconds by the user's clock.
    pub fn created_ms(&self) -> u64 {
        self.claim.created_ms
    }

    /// Checks the user key's signature.
    ///
    /// # Errors
    /// `BadSignature`.
    pub fn verify(&self) -> Result<(), BadSignature> {
        verify(self.claim.user.as_bytes(), Domain::Certificate, &encode(&self.claim), &self.signature)
    }
}

impl Canonical for DeviceCertificate {
    fn write(&self, w: &mut Writer) {
        self.claim.write(w);
        self.signature.write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(DeviceCertificate { claim: CertificateClaim::read(r)?, signature: Signature::read(r)? })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct CertificateClaim {
    user: UserId,
    device: DeviceId,
    name: String,
    created_ms: u64,
}

impl Canonical for CertificateClaim {
    fn write(&self, w: &mut Writer) {
        self.user.write(w);
        self.device.write(w);
        w.text(&self.name);
        w.u64(self.created_ms);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(CertificateClaim {
            user: UserId::read(r)?,
            device: DeviceId::read(r)?,
            name: r.text(NAME_LEN_MAX)?,
            created_ms: r.u64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_bring_the_same_user_back() -> Result<(), PhraseError> {
        let phrase = RecoveryPhrase::from_entropy([3; 32]);
        let words = phrase.words();
        assert_eq!(words.split(' ').count(), 24);
        let again = RecoveryPhrase::from_words(&format!("  {}\n", words.to_uppercase()))?;
        assert_eq!(again.user_key().user(), phrase.user_key().user());
        Ok(())
    }

    #[test]
    fn wrong_words_are_refused() {
        let phrase = RecoveryPhrase::from_entropy([3; 32]);
        let words = phrase.words();
        let (first, rest) = words.split_once(' ').unwrap_or_default();
        for bad in ["", first, rest, &format!("zebra {rest}"), &format!("qwxz {rest}")] {
            assert!(RecoveryPhrase::from_words(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn certificate_counts_for_its_user_only() {
        let user = RecoveryPhrase::from_entropy([1; 32]).user_key();
        let other = RecoveryPhrase::from_entropy([2; 32]).user_key();
        let device = DeviceKey::from_seed(&[5; 32]).device();
        let mut certificate = user.certify(device, "laptop", 1);
        assert_eq!(certificate.verify(), Ok(()));
        certificate.claim.user = other.user();
        assert_eq!(certificate.verify(), Err(BadSignature));
    }

    #[test]
    fn a_signature_for_one_domain_counts_for_no_other() {
        let key = DeviceKey::from_seed(&[5; 32]);
        let signature = key.sign(Domain::Event, b"x");
        assert_eq!(verify(key.device().as_bytes(), Domain::Event, b"x", &signature), Ok(()));
        for domain in [Domain::Certificate, Domain::Join, Domain::Credential, Domain::Beacon] {
            assert_eq!(verify(key.device().as_bytes(), domain, b"x", &signature), Err(BadSignature));
        }
    }

    #[test]
    fn what_is_verified_evenly_has_the_same_verdict() {
        let key = DeviceKey::from_seed(&[1; 32]);
        let good = key.sign(Domain::Credential, b"word");
        let with = |at: usize, byte: u8| {
            let mut bad = good;
            bad.0[at] = byte;
            bad
        };
        let both = |key: &[u8; 32], signature: &Signature| {
            let even = verify_evenly(key, Domain::Credential, b"word", signature);
            assert_eq!(even, verify(key, Domain::Credential, b"word", signature));
            even.is_ok()
        };
        assert!(both(key.device().as_bytes(), &good));
        for bad in (0..64).flat_map(|at| [0, 0xff].map(|byte| with(at, byte))).chain([Signature([0; 64])]) {
            assert!(bad == good || !both(key.device().as_bytes(), &bad));
        }
        for other in [[0; 32], [1; 32], [0xff; 32], BASE_POINT] {
            assert!(!both(&other, &good));
        }
    }

    #[test]
    fn the_order_is_the_first_that_is_not_reduced() {
        let mut at = Signature([0; 64]);
        at.0[32..].copy_from_slice(&ORDER);
        assert!(!is_reduced(&at));
        at.0[32] -= 1;
        assert!(is_reduced(&at));
        assert!(is_point(&BASE_POINT));
    }
}
