//! This installation's keys, in files that only its owner may read: the recovery words (on the device where the user was
//! made or recovered), the device, the node. A device that another one let in has a certificate and no words.

use crate::clock::now_ms;
use crate::home::{Home, HomeError};
use rand::Rng as _;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use thiserror::Error;
use tidings_protocol::account::self_room;
use tidings_protocol::codec::{decode, encode};
use tidings_protocol::control::payload::{Control, ControlEvent};
use tidings_protocol::enrol::is_self_room;
use tidings_protocol::event::{SignedEvent, VerifiedEvent};
use tidings_protocol::id::{DeviceId, RoomId, UserId};
use tidings_protocol::identity::{DeviceCertificate, DeviceKey, PhraseError, RecoveryPhrase};
use tidings_protocol::limits::EVENT_LEN_MAX;
use tidings_protocol::sealed::{SealingId, SealingKey};
use zeroize::Zeroizing;

/// Who this installation is.
pub struct Keys {
    /// The user's words, where they are here.
    pub phrase: Option<RecoveryPhrase>,
    /// The user.
    pub user: UserId,
    /// The first event of the user's self-room.
    pub genesis: VerifiedEvent,
    /// What is sealed to this the words open.
    pub words: SealingId,
    /// Seed of the libp2p key.
    pub node_seed: Zeroizing<[u8; 32]>,
    device: RwLock<Arc<OwnDevice>>,
    /// Another copy of this home has written: this device must not.
    copied: AtomicBool,
    home: Home,
}

/// This device.
pub struct OwnDevice {
    /// Signs.
    pub key: DeviceKey,
    /// Ties it to the user.
    pub certificate: DeviceCertificate,
    /// Opens what the user's devices share.
    pub sealing: SealingKey,
}

/// Why the words that were given are of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WordsError {
    /// They are none.
    #[error(transparent)]
    Phrase(#[from] PhraseError),
    /// They are somebody else's.
    #[error("these are the words of another user")]
    Other,
    /// They are needed, and not here.
    #[error("this needs the recovery words, and this device does not have them: give them with --words-stdin")]
    Needed,
}

impl Keys {
    /// The files in which the keys of the user and of the device are, those that a home has.
    pub const FILES: [&str; 4] = [USER, LINKED, DEVICE, CERTIFICATE];

    /// Reads the keys of a home, or makes them on its first run.
    ///
    /// # Errors
    /// `HomeError`.
    pub fn open(home: &Home) -> Result<Self, HomeError> {
        let damaged = |name: &str| HomeError::Damaged { path: home.path().join(name) };
        let (phrase, genesis, words) = match home.read_secret(LINKED)? {
            Some(bytes) => {
                let (genesis, words) = read_linked(&bytes).ok_or_else(|| damaged(LINKED))?;
                (None, genesis, words)
            }
            None => {
                let phrase = RecoveryPhrase::from_entropy(*secret(home, USER)?);
                let (genesis, words) = (self_room(&phrase).map_err(|_| damaged(USER))?, phrase.sealing_key().id());
                (Some(phrase), genesis, words)
            }
        };
        let user = UserId(genesis.header().author.0);
        if !home.has(DEVICE) && !home.store_path().exists() {
            home.write_secret(FRESH, b"")?;
        }
        let key = DeviceKey::from_seed(&*secret(home, DEVICE)?);
        let node_seed = secret(home, NODE)?;
        let created_ms = home.created_ms()?;
        let kept = home.read_secret(CERTIFICATE)?;
        let kept = kept.map(|bytes| decode(&bytes, EVENT_LEN_MAX).map_err(|_| damaged(CERTIFICATE))).transpose()?;
        // Its bytes say nothing of whether they are those that were written: whom the certificate names does.
        if kept.as_ref().is_some_and(|c: &DeviceCertificate| c.user() != user && c.verify().is_ok()) {
            return Err(damaged(if phrase.is_some() { USER } else { LINKED }));
        }
        let fits = |c: &DeviceCertificate| c.device() == key.device() && c.user() == user && c.verify().is_ok();
        let certificate = match (kept.filter(fits), &phrase) {
            (Some(certificate), _) => certificate,
            (None, Some(phrase)) => {
                // A node that was stopped while it made a new device has the key, and not its certificate yet.
                let certificate = phrase.user_key().certify(key.device(), &host_name(), created_ms);
                home.write_secret(CERTIFICATE, &encode(&certificate))?;
                certificate
            }
            (None, None) => return Err(HomeError::Missing { path: home.path().join(CERTIFICATE) }),
        };
        let copied = AtomicBool::new(home.read_secret(COPIED)?.is_some());
        let device = RwLock::new(Arc::new(OwnDevice::new(key, certificate)));
        Ok(Keys { phrase, user, genesis, words, node_seed, device, copied, home: home.clone() })
    }

    /// Makes a fresh home that of the user who has these words, with a device of its own.
    ///
    /// # Errors
    /// `HomeError`.
    pub fn recover(home: &Home, phrase: &RecoveryPhrase, name: &str) -> Result<(), HomeError> {
        let seed = Zeroizing::new(random());
        let device = DeviceKey::from_seed(&seed).device();
        // One that is there is of whoever the home was made for before.
        home.remove(CERTIFICATE);
        home.write_secret(USER, phrase.entropy())?;
        home.write_secret(FRESH, b"")?;
        home.write_secret(DEVICE, seed.as_slice())?;
        home.write_secret(CERTIFICATE, &encode(&phrase.user_key().certify(device, name, now_ms())))
    }

    /// Makes a fresh home that of the user whose `FILES` these are. With the words it is a device of its own; without them it has
    /// the key of the device that it was, with which nothing more is said.
    ///
    /// # Errors
    /// `HomeError`.
    pub fn restore(home: &Home, files: &BTreeMap<String, Zeroizing<Vec<u8>>>) -> Result<(), HomeError> {
        if let Some(phrase) = phrase_of(files) {
            return Keys::recover(home, &phrase, &host_name());
        }
        // First what keeps it silent, whatever was here before.
        home.write_secret(COPIED, b"")?;
        home.remove(FRESH);
        for name in [LINKED, CERTIFICATE, DEVICE] {
            let missing = || HomeError::Missing { path: home.path().join(name) };
            home.write_secret(name, files.get(name).ok_or_else(missing)?)?;
        }
        Ok(())
    }

    /// Whose `FILES` these are.
    pub fn user_of(files: &BTreeMap<String, Zeroizing<Vec<u8>>>) -> Option<UserId> {
        match phrase_of(files) {
            Some(phrase) => Some(phrase.user_key().user()),
            None => read_linked(files.get(LINKED)?).map(|(genesis, _)| UserId(genesis.header().author.0)),
        }
    }

    /// Whether a node has run in a home, or it was made somebody's device.
    pub fn is_in_use(home: &Home) -> bool {
        home.store_path().exists() || home.path().join(LINKED).exists()
    }

    /// Makes a home that of a device which another device of its user let in.
    ///
    /// # Errors
    /// `HomeError`.
    pub fn link(
        home: &Home,
        seed: &[u8; 32],
        certificate: &DeviceCertificate,
        genesis: &[u8],
        words: SealingId,
    ) -> Result<(), HomeError> {
        // First what says whose home this is: cut short, it is a home that lacks something, never that of a new user.
        home.write_secret(LINKED, &[words.0.as_slice(), genesis].concat())?;
        home.write_secret(CERTIFICATE, &encode(certificate))?;
        home.write_secret(FRESH, b"")?;
        home.write_secret(DEVICE, seed)
    }

    /// Whether somebody's keys are in a home, though no node may have run there.
    pub fn are_in(home: &Home) -> bool {
        [USER, LINKED, DEVICE].into_iter().any(|name| home.has(name))
    }

    /// The seed of a home's node key, made where there is none.
    ///
    /// # Errors
    /// `HomeError`.
    pub fn node_seed(home: &Home) -> Result<Zeroizing<[u8; 32]>, HomeError> {
        secret(home, NODE)
    }

    /// The home whose keys these are.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// This device, as it is now.
    pub fn device(&self) -> Arc<OwnDevice> {
        self.device.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The user's self-room.
    pub fn self_room(&self) -> RoomId {
        self.genesis.room()
    }

    /// The words, from here or as they were given.
    ///
    /// # Errors
    /// `WordsError`.
    pub fn phrase_or(&self, given: Option<&str>) -> Result<RecoveryPhrase, WordsError> {
        match (given, &self.phrase) {
            (Some(words), _) => {
                let phrase = RecoveryPhrase::from_words(words)?;
                if phrase.user_key().user() == self.user { Ok(phrase) } else { Err(WordsError::Other) }
            }
            (None, Some(phrase)) => Ok(RecoveryPhrase::from_entropy(*phrase.entropy())),
            (None, None) => Err(WordsError::Needed),
        }
    }

    /// Whether another copy of this home has written, so that this one may not.
    pub fn is_copied(&self) -> bool {
        self.copied.load(Ordering::Relaxed)
    }

    /// What tells this device's key file from every copy of it: kept in the store, which is copied with it.
    ///
    /// # Errors
    /// `HomeError`.
    pub fn birth(&self) -> Result<Vec<u8>, HomeError> {
        Ok([self.device().id().as_bytes().as_slice(), &self.home.birth_of(DEVICE)?].concat())
    }

    /// Whether what the store knows of the key says that this is no copy. A store that knows nothing goes with a key that
    /// was just made, and never with one that has written: what it wrote would be written anew.
    ///
    /// # Errors
    /// `HomeError`.
    pub fn is_original(&self, kept: Option<&[u8]>) -> Result<bool, HomeError> {
        match kept {
            Some(kept) => Ok(kept == self.birth()?),
            None => Ok(self.home.has(FRESH)),
        }
    }

    /// The store knows the key: it is not fresh any more.
    pub fn settled(&self) {
        self.home.remove(FRESH);
    }

    /// Somebody else has written as this device: it is never used again. Where the words are here another takes its place,
    /// and from the next start another node key; where not, nothing more is said from here. Whether there is a new one.
    ///
    /// # Errors
    /// `HomeError`.
    pub fn renew(&self) -> Result<bool, HomeError> {
        // Until there is another: where the disk is full, nothing is said by this one all the same.
        self.copied.store(true, Ordering::Relaxed);
        let Some(phrase) = &self.phrase else {
            self.home.write_secret(COPIED, b"")?;
            return Ok(false);
        };
        let seed = Zeroizing::new(random());
        let key = DeviceKey::from_seed(&seed);
        let name = self.device().certificate.name().to_owned();
        let certificate = phrase.user_key().certify(key.device(), &name, now_ms());
        self.home.write_secret(DEVICE, seed.as_slice())?;
        self.home.write_secret(CERTIFICATE, &encode(&certificate))?;
        self.home.write_secret(NODE, Zeroizing::new(random::<32>()).as_slice())?;
        *self.device.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(OwnDevice::new(key, certificate));
        self.copied.store(false, Ordering::Relaxed);
        Ok(true)
    }
}

impl OwnDevice {
    fn new(key: DeviceKey, certificate: DeviceCertificate) -> Self {
        OwnDevice { sealing: key.sealing_key(), key, certificate }
    }

    /// Which device this is.
    pub fn id(&self) -> DeviceId {
        self.certificate.device()
    }
}

fn phrase_of(files: &BTreeMap<String, Zeroizing<Vec<u8>>>) -> Option<RecoveryPhrase> {
    let entropy = files.get(USER)?.as_slice().try_into().ok()?;
    Some(RecoveryPhrase::from_entropy(entropy))
}

/// The first event of the self-room, and what the words open.
fn read_linked(bytes: &[u8]) -> Option<(VerifiedEvent, SealingId)> {
    let (words, genesis) = bytes.split_first_chunk::<32>()?;
    let genesis = SignedEvent::decode(genesis).ok()?.verify().ok()?;
    let Control::Genesis(founded) = ControlEvent::read(&genesis).ok()?.control else { return None };
    let user = founded.founders.first().copied()?;
    is_self_room(&genesis, user).then_some((genesis, SealingId(*words)))
}

fn secret(home: &Home, name: &str) -> Result<Zeroizing<[u8; 32]>, HomeError> {
    if let Some(bytes) = home.read_secret(name)? {
        let bytes = Zeroizing::new(bytes);
        let damaged = || HomeError::Damaged { path: home.path().join(name) };
        let seed = Zeroizing::new(<[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| damaged())?);
        // As a power cut leaves a file, or a worn-out disk: everybody would know that key.
        let is_blank = seed.iter().all(|byte| *byte == seed[0]);
        return if is_blank { Err(damaged()) } else { Ok(seed) };
    }
    // The store is made after the keys: where it is, a fresh key would make this another user or device.
    if home.store_path().exists() {
        return Err(HomeError::Missing { path: home.path().join(name) });
    }
    let seed = Zeroizing::new(random());
    home.write_secret(name, seed.as_slice())?;
    Ok(seed)
}

/// Fresh random bytes.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[cfg(test)]
    if crate::simulation::fill(&mut bytes) {
        return bytes;
    }
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

/// What this machine is called.
pub fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map(|s| s.trim().to_owned()).unwrap_or_default()
}

const USER: &str = "user.key";
const DEVICE: &str = "device.key";
const NODE: &str = "node.key";
const CERTIFICATE: &str = "device.cert";
/// On a device that another let in: where its user's self-room begins, and the words' sealing id.
const LINKED: &str = "linked";
const COPIED: &str = "copied";
/// There while no store knows of the device's key.
const FRESH: &str = "fresh";
/// The note in which a store keeps `Keys::birth`.
pub(crate) const BIRTH_NOTE: &str = "device birth";
/// The note in which a store keeps the peer id that its node had.
pub(crate) const ADDRESS_NOTE: &str = "node address";
