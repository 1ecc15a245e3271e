//! Asking a domain whose a name is: `https://example.org/.well-known/tidings/alice`.
//!
//! Only the local user asks, never a peer and never anything that came from one. What is asked is strict: HTTPS to public
//! addresses, one request, no redirects, bounded in time and bytes.

mod fetch;
mod public;

use crate::config::Settings;
use crate::network::PeerAddress;
use fetch::Fetcher;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use thiserror::Error;
use tidings_protocol::at_name::AtName;
use tidings_protocol::id::UserId;
use tidings_protocol::limits::{AT_NAME_ANSWER_LEN_MAX, LINK_ADDRESSES_MAX};
use tokio::sync::Semaphore;

/// Asks domains.
pub struct Lookup {
    fetcher: Fetcher,
    turns: Semaphore,
}

/// What a domain says of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Whose it is.
    pub user: UserId,
    /// Where their nodes may be, as multiaddrs that end in a peer.
    pub addresses: Vec<String>,
}

/// Why the settings for lookups cannot be used.
#[derive(Debug, Error)]
pub enum LookupSetupError {
    /// A file of certificates.
    #[error("names_trust: {path}: {why}: name a file with certificates in PEM")]
    Trust {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
    /// A host's address.
    #[error("names_at: \"{0}\": write for example example.org=10.0.0.5:443")]
    At(String),
    /// The TLS library.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// Why a domain did not tell whose a name is.
#[derive(Debug, Error)]
pub enum LookupError {
    /// It says that there is no such name.
    #[error("{domain} knows no such name: look at how it is written")]
    Unknown {
        /// Which.
        domain: String,
    },
    /// It leads to machines that are not on the public network.
    #[error(
        "{domain} leads to {address}, which is no public address, so it is not asked. If this is your own network, say so \
         in config.toml: names_at = [\"{domain}={}\"]", SocketAddr::new(*.address, 443)
    )]
    NotPublic {
        /// Which.
        domain: String,
        /// One of them.
        address: IpAddr,
    },
    /// It has no address.
    #[error("{domain} cannot be found: {why}")]
    NoAddress {
        /// Which.
        domain: String,
        /// Why.
        why: String,
    },
    /// It could not be reached, or not by TLS with a certificate that proves it.
    #[error("{domain} cannot be asked: {why}")]
    Unreachable {
        /// Which.
        domain: String,
        /// Why.
        why: String,
    },
    /// It took too long.
    #[error("{domain} did not answer in {} s", fetch::TIME_MAX.as_secs())]
    Late {
        /// Which.
        domain: String,
    },
    /// It sends elsewhere.
    #[error("{domain} sends on to \"{to}\": that is not followed. The answer has to be at {domain} itself")]
    Redirect {
        /// Which.
        domain: String,
        /// Where to.
        to: String,
    },
    /// It answers with something else.
    #[error("{domain} does not say whose the name is: {why}")]
    Answer {
        /// Which.
        domain: String,
        /// Why.
        why: String,
    },
}

impl Lookup {
    /// With these settings.
    ///
    /// # Errors
    /// `LookupSetupError`.
    pub fn new(settings: &Settings) -> Result<Self, LookupSetupError> {
        let mut at = BTreeMap::new();
        for text in &settings.names_at {
            let wrong = || LookupSetupError::At(text.clone());
            let (domain, address) = text.split_once('=').ok_or_else(wrong)?;
            at.insert(domain.trim().to_ascii_lowercase(), address.trim().parse().map_err(|_| wrong())?);
        }
        let fetcher = Fetcher::new(at, &settings.names_trust)?;
        Ok(Lookup { fetcher, turns: Semaphore::new(TURNS) })
    }

    /// Asks a name's domain whose it is.
    ///
    /// # Errors
    /// `LookupError`.
    pub async fn find(&self, name: &AtName) -> Result<Found, LookupError> {
        let turn = self.turns.acquire().await;
        let body = self.fetcher.fetch(name).await?;
        drop(turn);
        read(&body).map_err(|why| LookupError::Answer { domain: name.domain().to_owned(), why })
    }
}

#[derive(Deserialize)]
struct Answer {
    user: String,
    #[serde(default)]
    addresses: Vec<String>,
}

fn read(body: &[u8]) -> Result<Found, String> {
    debug_assert!(body.len() <= AT_NAME_ANSWER_LEN_MAX);
    let answer: Answer =
        serde_json::from_slice(body).map_err(|e| format!("its answer is not the JSON expected ({e})"))?;
    let user = answer.user.parse().map_err(|_| "its answer names no user (did:key:z6Mk...)".to_owned())?;
    if answer.addresses.len() > LINK_ADDRESSES_MAX {
        return Err(format!("its answer has more than {LINK_ADDRESSES_MAX} addresses"));
    }
    if let Some(bad) = answer.addresses.iter().find(|a| a.parse::<PeerAddress>().is_err()) {
        let shown: String = bad.chars().take(64).collect();
        return Err(format!("\"{shown}\" in its answer is no address that ends in /p2p/..."));
    }
    Ok(Found { user, addresses: answer.addresses })
}

/// Domains asked at a time: one person does not ask more.
const TURNS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_strictly() {
        let user = UserId([9; 32]);
        let peer = "/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWGRUauSc9KHRkMQmmDMUzmMPbkoMvkw7ZuVVZaTe4PbbR";
        let whole = format!(r#"{{"user":"{user}","addresses":["{peer}"],"later":[1]}}"#);
        assert_eq!(read(whole.as_bytes()), Ok(Found { user, addresses: vec![peer.to_owned()] }));
        assert_eq!(read(format!(r#"{{"user":"{user}"}}"#).as_bytes()), Ok(Found { user, addresses: vec![] }));
        let many = vec![format!("\"{peer}\""); LINK_ADDRESSES_MAX + 1].join(",");
        for bad in [
            String::new(),
            "null".into(),
            "[]".into(),
            "{}".into(),
            "<html>".into(),
            "[".repeat(5000),
            format!(r#"{{"user":"{user}""#),
            r#"{"user":"did:key:z6MkWrong"}"#.into(),
            r#"{"user":null}"#.into(),
            r#"{"user":"did:web:example.org"}"#.into(),
            format!(r#"{{"user":"{user}","addresses":"x"}}"#),
            format!(r#"{{"user":"{user}","addresses":["/ip4/192.0.2.1/tcp/1"]}}"#),
            format!(r#"{{"user":"{user}","addresses":["\u001b[2J"]}}"#),
            format!(r#"{{"user":"{user}","addresses":[{many}]}}"#),
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn settings_that_make_no_sense_are_said() {
        let settings = |at: &str, trust: &str| Settings {
            names_at: vec![at.to_owned()],
            names_trust: if trust.is_empty() { vec![] } else { vec![trust.to_owned()] },
            ..Settings::default()
        };
        assert!(Lookup::new(&settings("Example.org = 127.0.0.1:8443", "")).is_ok());
        for bad in ["", "example.org", "example.org=", "example.org=127.0.0.1", "example.org=localhost:1"] {
            assert!(matches!(Lookup::new(&settings(bad, "")), Err(LookupSetupError::At(_))), "{bad}");
        }
        let folder = tempfile::tempdir().unwrap();
        let (none, empty) = (folder.path().join("none.pem"), folder.path().join("empty.pem"));
        std::fs::write(&empty, "no certificate").unwrap();
        for bad in [none, empty] {
            let made = Lookup::new(&settings("example.org=127.0.0.1:1", bad.to_str().unwrap()));
            assert!(matches!(made, Err(LookupSetupError::Trust { .. })), "{}", bad.display());
        }
    }
}
