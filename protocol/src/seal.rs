//! Sealing bytes so that only those who have a key can read or make them: XChaCha20-Poly1305
//! (draft-irtf-cfrg-xchacha-03). A sealed thing is its nonce, the ciphertext, and the tag.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

/// What sealing adds.
pub const SEAL_LEN: usize = NONCE_LEN + 16;

/// Seals a text under a key. `nonce` must be another for each text; `bound` has to be the same when it is opened.
pub fn seal(key: &[u8; 32], nonce: [u8; NONCE_LEN], bound: &[u8], text: &[u8]) -> Vec<u8> {
    let cipher = XChaCha20Poly1305::new(&(*key).into());
    let sealed = cipher.encrypt(&XNonce::from(nonce), Payload { msg: text, aad: bound });
    debug_assert!(sealed.is_ok(), "only texts of 256 GiB cannot be sealed");
    [nonce.as_slice(), &sealed.unwrap_or_default()].concat()
}

/// The text, if it was sealed under this key and bound to the same.
pub fn open(key: &[u8; 32], bound: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let cipher = XChaCha20Poly1305::new(&(*key).into());
    cipher.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: bound }).ok()
}

/// Bytes of a nonce: enough to draw them at random.
pub const NONCE_LEN: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_under_the_same_key_and_bound_alone() {
        let sealed = seal(&[1; 32], [2; 24], b"here", b"words");
        assert_eq!(sealed.len(), 5 + SEAL_LEN);
        assert_eq!(open(&[1; 32], b"here", &sealed).as_deref(), Some(b"words".as_slice()));
        assert_eq!(open(&[3; 32], b"here", &sealed), None);
        assert_eq!(open(&[1; 32], b"there", &sealed), None);
        for n in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[n] ^= 1;
            assert_eq!(open(&[1; 32], b"here", &changed), None, "byte {n}");
            assert_eq!(open(&[1; 32], b"here", &sealed[..n]), None, "{n} bytes");
        }
    }
}
