//! Whom to keep a connection with, and when to dial again: jittered back-off, at most 20 s, so that two nodes that share a
//! room meet again within 30 s of its being possible. Pure: time and chance come in as arguments.

use super::{Peer, PeerAddress};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The peers to keep.
#[derive(Debug, Default)]
pub struct Redial {
    peers: BTreeMap<Peer, Known>,
    banned: BTreeSet<Peer>,
}

#[derive(Debug, Default)]
struct Known {
    /// Oldest first.
    addresses: VecDeque<String>,
    /// Where its device said that it is: dialled when the addresses have failed.
    hints: VecDeque<String>,
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
        if self.banned.contains(&address.peer) {
            return;
        }
        if !self.peers.contains_key(&address.peer) && self.peers.len() >= PEERS_MAX {
            let idle = self.peers.iter().filter(|(_, known)| !known.connected && !known.named);
            let Some(worst) = idle.max_by_key(|(_, known)| known.failures).map(|(peer, _)| *peer) else { return };
            self.peers.remove(&worst);
        }
        let known = self.peers.entry(address.peer).or_default();
        put_newest(&mut known.addresses, &address.address, ADDRESSES_MAX);
        known.hints.retain(|a| *a != address.address);
    }

    /// Takes somebody's word for where a peer is. A peer that is known by nothing else is dialled in the next seconds, not by
    /// all who hear of it at once; it drives nobody out, and is forgotten when it is not there.
    pub fn hint(&mut self, address: &PeerAddress, now_ms: u64, chance: f64) {
        if !self.peers.contains_key(&address.peer) {
            let hinted = self.peers.values().filter(|known| known.addresses.is_empty()).count();
            if hinted >= HINTED_PEERS_MAX || self.peers.len() >= PEERS_MAX {
                return;
            }
            let due_ms = now_ms.saturating_add((HINT_WAIT_MS as f64 * chance) as u64);
            self.peers.insert(address.peer, Known { due_ms, ..Known::default() });
        }
        if let Some(known) = self.peers.get_mut(&address.peer).filter(|k| !k.addresses.contains(&address.address)) {
            put_newest(&mut known.hints, &address.address, HINTS_MAX);
        }
    }

    /// Remembers a peer that somebody here named: in the settings, by a command, by a link.
    pub fn name(&mut self, address: &PeerAddress) {
        self.remember(address);
        if let Some(known) = self.peers.get_mut(&address.peer) {
            known.named = true;
        }
    }

    /// Whether somebody here named a peer.
    pub fn is_named(&self, peer: Peer) -> bool {
        self.peers.get(&peer).is_some_and(|known| known.named)
    }

    /// Forgets a peer, and remembers nothing of it any more.
    pub fn ban(&mut self, peer: Peer) {
        self.peers.remove(&peer);
        self.banned.insert(peer);
    }

    /// A peer may be remembered again.
    pub fn unban(&mut self, peer: Peer) {
        self.banned.remove(&peer);
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
        self.peers.retain(|_, k| k.connected || k.named || !k.addresses.is_empty() || k.failures < HINT_FAILURES_MAX);
        for (peer, known) in self.peers.iter_mut().filter(|(_, k)| !k.connected && k.due_ms <= now_ms) {
            // What worked comes before what somebody says.
            let with_hints = known.addresses.is_empty() || known.failures > 0;
            let hints = known.hints.iter().filter(|_| with_hints);
            out.extend(known.addresses.iter().chain(hints).map(|a| PeerAddress { peer: *peer, address: a.clone() }));
            let wait = (FIRST_WAIT_MS << known.failures.min(5)).min(WAIT_MAX_MS);
            known.due_ms = now_ms + wait / 2 + (wait as f64 / 2.0 * chance) as u64;
            known.failures += 1;
        }
        out
    }

    /// Everything remembered, to be kept across restarts; hints are kept as beacons.
    pub fn addresses(&self) -> Vec<PeerAddress> {
        let each = |(peer, known): (&Peer, &Known)| {
            let peer = *peer;
            known.addresses.iter().map(move |a| PeerAddress { peer, address: a.clone() }).collect::<Vec<_>>()
        };
        self.peers.iter().flat_map(each).collect()
    }
}

fn put_newest(addresses: &mut VecDeque<String>, address: &str, max: usize) {
    addresses.retain(|a| a != address);
    addresses.push_back(address.to_owned());
    if addresses.len() > max {
        addresses.pop_front();
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
/// Addresses of one peer that are only somebody's word.
const HINTS_MAX: usize = 8;
/// Peers known only by somebody's word.
const HINTED_PEERS_MAX: usize = 64;
/// Dials in vain after which such a peer is forgotten.
const HINT_FAILURES_MAX: u32 = 6;
/// They are dialled some time within this.
const HINT_WAIT_MS: u64 = 5_000;

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
    fn a_banned_peer_is_not_dialled_and_can_come_back() {
        let mut redial = Redial::default();
        redial.name(&address());
        redial.ban(address().peer);
        redial.name(&address());
        assert!(!redial.keeps(address().peer) && redial.due(0, 1.0).is_empty());
        redial.unban(address().peer);
        redial.remember(&address());
        assert_eq!(redial.due(0, 1.0).len(), 1);
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
    fn a_hint_is_tried_after_what_worked_and_forgotten_when_it_leads_nowhere() {
        let mut redial = Redial::default();
        redial.remember(&other(0, 1));
        redial.hint(&other(0, 2), 0, 0.0);
        redial.hint(&other(0, 1), 0, 0.0);
        let ports = |due: Vec<PeerAddress>| due.into_iter().map(|a| a.address).collect::<Vec<_>>();
        assert_eq!(ports(redial.due(0, 0.0)), [other(0, 1).address]);
        assert_eq!(ports(redial.due(10_000, 0.0)), [other(0, 1).address, other(0, 2).address]);
        assert_eq!(ports(redial.addresses()), [other(0, 1).address], "a hint is not remembered");
        redial.hint(&other(1, 1), 0, 0.5);
        assert!(redial.due(1_000, 0.0).iter().all(|a| a.peer != other(1, 1).peer), "not at once");
        for n in 1..50 {
            redial.due(n * 100_000, 0.0);
        }
        assert!(redial.keeps(other(0, 1).peer) && !redial.keeps(other(1, 1).peer));
        redial.hint(&other(2, 1), 0, 0.0);
        redial.connected(other(2, 1).peer);
        redial.remember(&other(2, 1));
        assert!(redial.addresses().contains(&other(2, 1)), "where it was met is remembered");
    }

    #[test]
    fn a_flood_of_hints_drives_nobody_out() {
        let mut redial = Redial::default();
        (0..100).for_each(|n| redial.remember(&other(n, 1)));
        (100..2000).for_each(|n| redial.hint(&other(n, 1), 0, 0.0));
        (0..100).for_each(|port| redial.hint(&other(100, port + 1), 0, 0.0));
        assert!((0..100).all(|n| redial.keeps(other(n, 1).peer)));
        assert_eq!(redial.peers.len(), 100 + HINTED_PEERS_MAX);
        assert_eq!(redial.due(0, 0.0).iter().filter(|a| a.peer == other(100, 1).peer).count(), HINTS_MAX);
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
