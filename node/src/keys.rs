//! This installation's keys, in files that only its owner may read: the recovery phrase, the device, the node.

use crate::home::{Home, HomeError};
use rand::Rng as _;
use tidings_protocol::identity::{DeviceCertificate, DeviceKey, RecoveryPhrase, UserKey};
use zeroize::Zeroizing;

/// Who this installation is.
pub struct Keys {
    /// The user's words.
    pub phrase: RecoveryPhrase,
    /// The user.
    pub user: UserKey,
    /// This device.
    pub device: DeviceKey,
    /// Ties the device to the user.
    pub certificate: DeviceCertificate,
    /// Seed of the libp2p key.
    pub node_seed: Zeroizing<[u8; 32]>,
}

impl Keys {
    /// Reads the keys of a home, or makes them on its first run.
    ///
    /// # Errors
    /// `HomeError`.
    pub fn open(home: &Home) -> Result<Self, HomeError> {
        let phrase = RecoveryPhrase::from_entropy(*secret(home, "user.key")?);
        let device = DeviceKey::from_seed(&*secret(home, "device.key")?);
        let node_seed = secret(home, "node.key")?;
        let user = phrase.user_key();
        // Signing is deterministic and the time is part of the claim, so the certificate is the same at every start.
        let created_ms = home.created_ms()?;
        let certificate = user.certify(device.device(), &device_name(), created_ms);
        Ok(Keys { phrase, user, device, certificate, node_seed })
    }
}

fn secret(home: &Home, name: &str) -> Result<Zeroizing<[u8; 32]>, HomeError> {
    if let Some(bytes) = home.read_secret(name)? {
        let bytes = Zeroizing::new(bytes);
        let damaged = |_| HomeError::Damaged { path: home.path().join(name) };
        return Ok(Zeroizing::new(<[u8; 32]>::try_from(bytes.as_slice()).map_err(damaged)?));
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
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

fn device_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map(|s| s.trim().to_owned()).unwrap_or_default()
}
