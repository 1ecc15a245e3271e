//! Where members' nodes are, by their own word: hints for dialling, and no more. Whoever forges them costs us a dial, and
//! never makes us knock at doors inside our own network that a stranger names.

use crate::network::{PeerAddress, Reach};
use crate::rooms::RoomView;
use crate::sync::Manager;
use std::sync::PoisonError;
use tidings_protocol::control::payload::RoomKind;
use tidings_protocol::limits::{ADDRESS_LEN_MAX, BEACON_ADDRESSES_MAX, BEACON_PAYLOAD_LEN_MAX};

/// Remembers what of these addresses may be dialled, where this room needs more peers.
pub(super) fn take(manager: &Manager, view: &RoomView, addresses: &[String]) {
    if view.row.left || manager.told.sharing(view.row.room) >= ENOUGH_PEERS {
        return;
    }
    let nearest = nearest(&own_addresses(manager), view.row.kind);
    let parsed = addresses.iter().filter_map(|address| address.parse::<PeerAddress>().ok());
    let may_dial = |address: &PeerAddress| address.peer != manager.us && address.reach().is_some_and(|r| r >= nearest);
    let good: Vec<PeerAddress> = parsed.filter(may_dial).take(BEACON_ADDRESSES_MAX).collect();
    let mut redial = manager.redial.lock().unwrap_or_else(PoisonError::into_inner);
    good.iter().for_each(|address| redial.hint(address, crate::clock::now_ms(), rand::random()));
}

/// Which addresses are dialled on the word of a peer that shares but a public room with us.
pub(crate) fn may_dial(manager: &Manager) -> impl Fn(&PeerAddress) -> bool + use<> {
    let nearest = nearest(&own_addresses(manager), RoomKind::Public);
    move |address| address.reach().is_some_and(|reach| reach >= nearest)
}

/// Those of our addresses that a room is told: strangers in a public one learn nothing of our own network.
pub(super) fn told(own: &[String], kind: RoomKind) -> Vec<String> {
    let nearest = nearest(own, kind);
    own.iter().filter(|address| reach(address).is_some_and(|reach| reach >= nearest)).cloned().collect()
}

/// How near an address may be that is told in such a room, or dialled because it was.
fn nearest(own: &[String], kind: RoomKind) -> Reach {
    // On a machine that listens to itself alone, others there are all that there is.
    let is_alone = !own.is_empty() && own.iter().all(|address| reach(address) == Some(Reach::Machine));
    match kind {
        _ if is_alone => Reach::Machine,
        RoomKind::Public => Reach::World,
        _ => Reach::Network,
    }
}

/// Our addresses as we tell them: those that lead from afar first, those of this machine only where there are no others.
pub(crate) fn own_addresses(manager: &Manager) -> Vec<String> {
    let listening = manager.listening.lock().unwrap_or_else(PoisonError::into_inner);
    let mut addresses: Vec<String> = listening.iter().filter(|a| a.len() <= ADDRESS_LEN_MAX).cloned().collect();
    drop(listening);
    let is_local = |address: &String| reach(address).is_none_or(|reach| reach == Reach::Machine);
    addresses.sort_by_key(|a| (is_local(a), a.contains("/quic"), a.clone()));
    if addresses.iter().any(|a| !is_local(a)) {
        addresses.retain(|a| !is_local(a));
    }
    addresses.truncate(BEACON_ADDRESSES_MAX);
    // Eight of the longest do not fit: the best do.
    while addresses.iter().map(|a| a.len() + LENGTH_LEN).sum::<usize>() + LENGTH_LEN > BEACON_PAYLOAD_LEN_MAX {
        addresses.pop();
    }
    addresses
}

fn reach(address: &str) -> Option<Reach> {
    address.parse::<PeerAddress>().ok()?.reach()
}

/// A length or a count before what it counts.
const LENGTH_LEN: usize = 4;
/// A room that has so many peers needs no hints: thousands of members must not all dial whoever moves.
const ENOUGH_PEERS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_learn_nothing_of_our_own_network() {
        let peer = "12D3KooWGRUauSc9KHRkMQmmDMUzmMPbkoMvkw7ZuVVZaTe4PbbR";
        let [here, near, far] =
            ["127.0.0.1", "192.168.1.7", "203.0.113.7"].map(|ip| format!("/ip4/{ip}/tcp/4001/p2p/{peer}"));
        let all = [here.clone(), near.clone(), far.clone()];
        assert_eq!(told(&all, RoomKind::Public), std::slice::from_ref(&far));
        assert_eq!(told(&all, RoomKind::Members), [near.clone(), far]);
        assert_eq!(told(&[here.clone(), near], RoomKind::Public), [""; 0]);
        assert_eq!(told(std::slice::from_ref(&here), RoomKind::Public), [here], "nobody else can come from elsewhere");
    }
}
