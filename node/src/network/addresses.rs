//! At most so many inbound connections from one address: libp2p counts peers, and a stranger makes as many of those as it
//! likes. An address is an IPv4 address or the /64 of an IPv6 one; those of this machine are not counted.

use super::limits::CONNECTIONS_PER_ADDRESS;
use libp2p::PeerId;
use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, Multiaddr, multiaddr::Protocol};
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, ListenFailure, NetworkBehaviour, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll};
use thiserror::Error;

/// Counts inbound connections, from their first packet on.
#[derive(Debug, Default)]
pub(super) struct PerAddress {
    from: HashMap<ConnectionId, IpAddr>,
    counts: HashMap<IpAddr, usize>,
}

/// Why a connection is not taken.
#[derive(Debug, Error)]
#[error("{CONNECTIONS_PER_ADDRESS} connections from {0} already")]
pub(super) struct TooMany(IpAddr);

impl PerAddress {
    fn add(&mut self, connection: ConnectionId, remote: &Multiaddr) -> Result<(), TooMany> {
        let Some(place) = place(remote) else { return Ok(()) };
        let count = self.counts.entry(place).or_default();
        if *count >= CONNECTIONS_PER_ADDRESS {
            return Err(TooMany(place));
        }
        *count += 1;
        self.from.insert(connection, place);
        Ok(())
    }

    fn remove(&mut self, connection: ConnectionId) {
        let Some(place) = self.from.remove(&connection) else { return };
        let Some(count) = self.counts.get_mut(&place) else { return };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&place);
        }
    }
}

/// Where a connection comes from, as far as it is counted.
fn place(remote: &Multiaddr) -> Option<IpAddr> {
    let address = match remote.iter().next()? {
        Protocol::Ip4(address) => IpAddr::V4(address),
        Protocol::Ip6(address) => address.to_canonical(),
        _ => return None,
    };
    match address {
        address if address.is_loopback() => None,
        IpAddr::V6(address) => Some(IpAddr::V6((address.to_bits() >> 64 << 64).into())),
        address => Some(address),
    }
}

impl NetworkBehaviour for PerAddress {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.add(connection, remote).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => self.remove(connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(addresses: &[&str]) -> usize {
        let mut limit = PerAddress::default();
        let connections = (0..).map(ConnectionId::new_unchecked);
        let taken = addresses.iter().zip(connections).filter(|(a, id)| limit.add(*id, &a.parse().unwrap()).is_ok());
        taken.count()
    }

    #[test]
    fn one_address_or_network_gets_so_many_and_others_are_not_affected() {
        let many = CONNECTIONS_PER_ADDRESS + 5;
        assert_eq!(counted(&vec!["/ip4/192.0.2.1/tcp/1"; many]), CONNECTIONS_PER_ADDRESS);
        assert_eq!(counted(&vec!["/ip6/2001:db8::1/udp/1/quic-v1"; many]), CONNECTIONS_PER_ADDRESS);
        let network: Vec<String> = (0..many).map(|n| format!("/ip6/2001:db8:1:2::{n:x}/tcp/1")).collect();
        assert_eq!(counted(&network.iter().map(String::as_str).collect::<Vec<_>>()), CONNECTIONS_PER_ADDRESS);
        let networks: Vec<String> = (0..many).map(|n| format!("/ip6/2001:db8:1:{n:x}::1/tcp/1")).collect();
        assert_eq!(counted(&networks.iter().map(String::as_str).collect::<Vec<_>>()), many);
        // An IPv4 address in IPv6's clothes is the same; this machine is not counted.
        let mixed: Vec<&str> = ["/ip4/192.0.2.1/tcp/1", "/ip6/::ffff:192.0.2.1/tcp/1"].repeat(many);
        assert_eq!(counted(&mixed), CONNECTIONS_PER_ADDRESS);
        assert_eq!(counted(&vec!["/ip4/127.0.0.1/tcp/1"; many]), many);
        assert_eq!(counted(&vec!["/ip6/::1/tcp/1"; many]), many);
    }

    #[test]
    fn what_ends_makes_room_and_leaves_nothing_behind() {
        let mut limit = PerAddress::default();
        let remote: Multiaddr = "/ip4/192.0.2.1/tcp/1".parse().unwrap();
        for round in 0..3 {
            let connections: Vec<_> = (0..CONNECTIONS_PER_ADDRESS)
                .map(|n| ConnectionId::new_unchecked(round * CONNECTIONS_PER_ADDRESS + n))
                .collect();
            connections.iter().for_each(|id| limit.add(*id, &remote).unwrap());
            assert!(limit.add(ConnectionId::new_unchecked(9999), &remote).is_err());
            connections.iter().for_each(|id| limit.remove(*id));
            limit.remove(ConnectionId::new_unchecked(9999));
            assert!(limit.from.is_empty() && limit.counts.is_empty());
        }
    }
}
