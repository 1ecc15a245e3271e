//! Whom to keep a connection with, and when to dial again: jittered back-off, at most 20 s, so that two nodes that share a
//! room meet again within 30 s of its being possible. Pure: time and chance come in as arguments.

use super::{Peer, PeerAddress};
use std::collections::{BTreeMap, VecDeque};

/// The peers to keep.
#[derive(Debug, Default)]
pub struct Redial {
    peers: BTreeMap<Peer, Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Oldest first.
    addresses: VecDeque<String>,
    /// Somebody here named it: nobody else drives it out.
    named: bool,
    connected: bool,
    failures: u32,
    /// Conversations that it broke, since one went well.
    faults: u32,
    due_ms: u64,
}

impl Redial {
    /// Remembers where a peer is; it is dialled at once when it is new. The newest addresses stay. Where there are too many
    /// peers, one that is not there and was not named here goes: the one that was dialled in vain most often.
    pub fn remember(&mut self, address: &PeerAddress) {
        if !self.peers.contains_key(&address.peer) && self.peers.len() >= PEERS_MAX {
            let idle = self.peers.iter().filter(|(_, known)| !known.connected && !known.named);
            let Some(worst) = idle.max_by_key(|(_, known)| known.failures).map(|(peer, _)| *peer) else { return };
            self.peers.remove(&worst);
        }
        let known = self.peers.entry(address.peer).or_default();
        known.addresses.retain(|a| *a != address.address);
        known.addresses.push_back(address.address.clone());
        if known.addresses.len() > ADDRESSES_MAX {
            known.addresses.pop_front();
        }
    }

    /// Remembers a peer that somebody here named: in the settings, by a command, by a link.
    pub fn name(&mut self, address: &PeerAddress) {
        self.remember(address);
        if let Some(known) = self.peers.get_mut(&address.peer) {
            known.named = true;
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
            let wait = match known.faults {
                0 => FIRST_WAIT_MS,
                faults => (FAULT_WAIT_MS << (faults - 1).min(10)).min(FAULT_WAIT_MAX_MS),
            };
            known.due_ms = now_ms + (wait as f64 * (0.5 + chance / 2.0)) as u64;
        }
    }

    /// A peer broke the rules of a conversation: it is dialled after minutes, and later each time.
    pub fn faulted(&mut self, peer: Peer) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.faults = known.faults.saturating_add(1);
        }
    }

    /// A conversation went well.
    pub fn agreed(&mut self, peer: Peer) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.faults = 0;
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
const FAULT_WAIT_MS: u64 = 60_000;
const FAULT_WAIT_MAX_MS: u64 = 60 * 60 * 1000;
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

    fn other(n: u16, port: u16) -> PeerAddress {
        let mut seed = [3; 32];
        seed[..2].copy_from_slice(&n.to_be_bytes());
        let key = libp2p::identity::Keypair::ed25519_from_bytes(seed).unwrap();
        format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", key.public().to_peer_id()).parse().unwrap()
    }

    #[test]
    fn strangers_drive_out_strangers_and_nobody_who_was_named_or_is_there() {
        let mut redial = Redial::default();
        redial.name(&address());
        redial.remember(&other(0, 1));
        redial.connected(other(0, 1).peer);
        for n in 1..1000 {
            redial.remember(&other(n, 1));
        }
        assert!(redial.keeps(address().peer) && redial.keeps(other(0, 1).peer) && redial.keeps(other(999, 1).peer));
        assert_eq!(redial.addresses().len(), PEERS_MAX);
    }

    #[test]
    fn a_peer_that_breaks_the_rules_is_left_alone_for_longer_each_time_until_one_conversation_goes_well() {
        let mut redial = Redial::default();
        redial.remember(&address());
        let mut waits = Vec::new();
        for _ in 0..8 {
            redial.connected(address().peer);
            redial.faulted(address().peer);
            redial.disconnected(address().peer, 0, 1.0);
            waits.push((0..).map(|s| s * 1000).find(|ms| !redial.due(*ms, 1.0).is_empty()).unwrap());
        }
        assert_eq!(waits, [60_000, 120_000, 240_000, 480_000, 960_000, 1_920_000, 3_600_000, 3_600_000]);
        redial.agreed(address().peer);
        redial.disconnected(address().peer, 0, 1.0);
        assert_eq!(redial.due(1000, 1.0).len(), 1);
    }

    #[test]
    fn a_peer_that_moves_is_known_by_its_newest_addresses() {
        let mut redial = Redial::default();
        (1..100).for_each(|port| redial.remember(&other(0, port)));
        let known: Vec<String> = redial.addresses().into_iter().map(|a| a.address).collect();
        assert_eq!((known.len(), &known[ADDRESSES_MAX - 1]), (ADDRESSES_MAX, &other(0, 99).address));
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
