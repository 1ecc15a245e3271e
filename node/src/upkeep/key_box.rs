//! The keys of a home, sealed with a passphrase, so that a copy of them may lie beside a backup: Argon2id makes a key of the
//! passphrase and a fresh salt, ChaCha20-Poly1305 seals with it, once.
//!
//! `"tidings keys 1\n" | salt 16 | sealed`; sealed are the names and bytes of the files, as JSON.

use super::backup::{sync_parent, write};
use crate::home::{Home, HomeError};
use crate::keys::{Keys, random};
use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use std::collections::BTreeMap;
use std::path::Path;
use thiserror::Error;
use zeroize::Zeroizing;

/// Why keys are not sealed, or not opened.
#[derive(Debug, Error)]
pub enum KeyBoxError {
    /// Whoever has the backup could try them all.
    #[error("a passphrase needs {PASSPHRASE_MIN} characters or more")]
    Short,
    /// The passphrase is another, or the bytes are damaged: that cannot be told apart.
    #[error("this passphrase does not open the keys, or their file is damaged")]
    Closed,
    /// No file of this form.
    #[error("this is no file of keys, or one of a later version")]
    NotKeys,
    /// There is not enough memory to make a key of the passphrase, which takes 64 MiB.
    #[error("no key can be made of the passphrase: that takes 64 MiB of memory")]
    Memory,
    /// The home.
    #[error(transparent)]
    Home(#[from] HomeError),
}

/// Seals the keys of a home.
///
/// # Errors
/// `KeyBoxError`.
pub fn keep_keys(home: &Home, passphrase: &str) -> Result<Vec<u8>, KeyBoxError> {
    if passphrase.chars().count() < PASSPHRASE_MIN {
        return Err(KeyBoxError::Short);
    }
    let mut files: BTreeMap<&str, Zeroizing<Vec<u8>>> = BTreeMap::new();
    for name in Keys::FILES {
        if let Some(bytes) = home.read_secret(name)? {
            files.insert(name, Zeroizing::new(bytes));
        }
    }
    let plain: BTreeMap<&str, &[u8]> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    let plain = Zeroizing::new(serde_json::to_vec(&plain).unwrap_or_default());
    let salt: [u8; SALT_LEN] = random();
    let key = key_of(passphrase, &salt)?;
    let sealed = ChaCha20Poly1305::new((&*key).into())
        .encrypt(&Nonce::default(), Payload { msg: plain.as_slice(), aad: MAGIC })
        .map_err(|_| KeyBoxError::Memory)?;
    Ok([MAGIC, &salt, &sealed].concat())
}

/// Opens what was sealed: names of files, and their bytes.
///
/// # Errors
/// `KeyBoxError`.
pub fn open_keys(sealed: &[u8], passphrase: &str) -> Result<BTreeMap<String, Zeroizing<Vec<u8>>>, KeyBoxError> {
    let rest = sealed.strip_prefix(MAGIC).ok_or(KeyBoxError::NotKeys)?;
    let (salt, rest) = rest.split_first_chunk::<SALT_LEN>().ok_or(KeyBoxError::NotKeys)?;
    let key = key_of(passphrase, salt)?;
    let plain = ChaCha20Poly1305::new((&*key).into())
        .decrypt(&Nonce::default(), Payload { msg: rest, aad: MAGIC })
        .map_err(|_| KeyBoxError::Closed)?;
    let plain = Zeroizing::new(plain);
    let files: BTreeMap<String, Vec<u8>> = serde_json::from_slice(&plain).map_err(|_| KeyBoxError::NotKeys)?;
    Ok(files.into_iter().map(|(name, bytes)| (name, Zeroizing::new(bytes))).collect())
}

/// Puts sealed keys beside a backup.
///
/// # Errors
/// `HomeError`.
pub fn write_beside(backup: &Path, sealed: &[u8]) -> Result<(), HomeError> {
    write(&backup.join(KEYS), sealed)?;
    sync_parent(&backup.join(KEYS))
}

fn key_of(passphrase: &str, salt: &[u8; SALT_LEN]) -> Result<Zeroizing<[u8; 32]>, KeyBoxError> {
    let mut key = Zeroizing::new([0; 32]);
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|_| KeyBoxError::Memory)?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, key.as_mut_slice())
        .map_err(|_| KeyBoxError::Memory)?;
    Ok(key)
}

/// Its name there.
pub(crate) const KEYS: &str = "keys";
const MAGIC: &[u8] = b"tidings keys 1\n";
const SALT_LEN: usize = 16;
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const PASSPHRASE_MIN: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_out_as_they_went_in_and_only_with_their_passphrase() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        let user = Keys::open(&home).unwrap().user;
        assert!(matches!(keep_keys(&home, "too short"), Err(KeyBoxError::Short)));
        let mut sealed = keep_keys(&home, "a long passphrase").unwrap();
        let again = keep_keys(&home, "a long passphrase").unwrap();
        assert_ne!(sealed, again, "the salt is fresh");
        let files = open_keys(&sealed, "a long passphrase").unwrap();
        let read = |name: &str| home.read_secret(name).unwrap().unwrap();
        assert!(files.len() >= 2 && files.iter().all(|(name, bytes)| **bytes == read(name)), "{:?}", files.keys());
        for (_, bytes) in files {
            let is_in_clear = sealed.windows(16).any(|window| bytes.windows(16).any(|secret| secret == window));
            assert!(!is_in_clear, "{user}");
        }
        assert!(matches!(open_keys(&sealed, "a long passphrasf"), Err(KeyBoxError::Closed)));
        for at in [0, MAGIC.len(), MAGIC.len() + SALT_LEN, sealed.len() - 1] {
            sealed[at] ^= 1;
            assert!(open_keys(&sealed, "a long passphrase").is_err(), "{at}");
            sealed[at] ^= 1;
        }
        for len in 0..MAGIC.len() + SALT_LEN + 1 {
            assert!(open_keys(&sealed[..len], "a long passphrase").is_err(), "{len}");
        }
    }
}
