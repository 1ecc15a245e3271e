//! Whom to keep a connection with, and when to dial again: jittered back-off, at most 20 s, so that two nodes that share a
//! room meet again within 30 s of its being possible. Pure: time and chance come in as arguments.

use super::{Peer, PeerAddress};
use std::collections::{BTreeMap, BTreeSet};

/// The peers to keep.
#[derive(Debug, Default)]
pub struct Redial {
    peers: BTreeMap<Peer, Known>,
}

#[derive(Debug, Default)]
struct Known {
    addresses: BTreeSet<String>,
    connected: bool,
    failures: u32,
    due_ms: u64,
}

impl Redial {
    /// Remembers where a peer is; it is dialled at once when it is new. Beyond the limits nothing is remembered.
    pub fn remember(&mut self, address: &PeerAddress) {
        if !self.peers.contains_key(&address.peer) && self.peers.len() >= PEERS_MAX {
            return;
        }
        let known = self.peers.entry(address.peer).or_default();
        if known.addresses.len() < ADDRESSES_MAX || known.addresses.contains(&address.address) {
            known.addresses.insert(address.address.clone());
        }
    }

    /// Whether a peer is to be kept.
    pub fn keeps(&self, peer: Peer) -> bool {
        self.peers.contains_key(&peer)
    }

    /// A peer is connected.
    pub fn connected(&mut self, peer: Peer) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.connected = true;
            known.failures = 0;
        }
    }

    /// A peer is gone: it is dialled again soon.
    pub fn disconnected(&mut self, peer: Peer, now_ms: u64, chance: f64) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.connected = false;
            known.due_ms = now_ms + (FIRST_WAIT_MS as f64 * chance) as u64;
        }
    }

    /// The addresses to dial now; each peer dialled waits longer for its next turn. `chance` is from 0 to 1.
    pub fn due(&mut self, now_ms: u64, chance: f64) -> Vec<PeerAddress> {
        let mut out = Vec::new();
        for (peer, known) in self.peers.iter_mut().filter(|(_, k)| !k.connected && k.due_ms <= now_ms) {
            let wait = (FIRST_WAIT_MS << known.failures.min(5)).min(WAIT_MAX_MS);
            known.due_ms = now_ms + wait / 2 + (wait as f64 / 2.0 * chance) as u64;
            known.failures += 1;
            out.extend(known.addresses.iter().map(|a| PeerAddress { peer: *peer, address: a.clone() }));
        }
        out
    }

    /// Everything remembered, to be kept across restarts.
    pub fn addresses(&self) -> Vec<PeerAddress> {
        let each = |(peer, known): (&Peer, &Known)| {
            let peer = *peer;
            known.addresses.iter().map(move |a| PeerAddress { peer, address: a.clone() }).collect::<Vec<_>>()
        };
        self.peers.iter().flat_map(each).collect()
    }
}

const FIRST_WAIT_MS: u64 = 1000;
const WAIT_MAX_MS: u64 = 20_000;
/// Peers to keep: those we share rooms with, and those we were told of.
const PEERS_MAX: usize = 256;
/// Addresses of one peer.
const ADDRESSES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> PeerAddress {
        let text = "/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWGRUauSc9KHRkMQmmDMUzmMPbkoMvkw7ZuVVZaTe4PbbR";
        text.parse().unwrap()
    }

    #[test]
    fn a_lost_peer_is_dialled_within_thirty_seconds_for_ever() {
        let mut redial = Redial::default();
        redial.remember(&address());
        assert_eq!(redial.due(0, 1.0).len(), 1);
        redial.connected(address().peer);
        assert_eq!(redial.due(1_000_000, 1.0), []);
        let mut now = 2_000_000;
        redial.disconnected(address().peer, now, 1.0);
        for _ in 0..50 {
            let before = now;
            while redial.due(now, 1.0).is_empty() {
                now += 100;
                assert!(now - before <= 30_000);
            }
        }
    }
}
