//! The network: the only place that names libp2p. One task owns the swarm and does no I/O of its own and no cryptography;
//! it takes commands, tells events, and hands out streams. It never reaches the store.

mod addresses;
mod boxed;
mod gossip;
mod limits;
pub mod redial;
mod run;
mod swarm;

use futures::{AsyncRead, AsyncWrite, StreamExt};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

/// A peer: a node of the network, by the key that its connections prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer(PeerId);

impl Peer {
    /// Its id as bytes, as credentials name it.
    pub fn to_bytes(self) -> Vec<u8> {
        self.0.to_bytes()
    }

    /// The peer of an id in bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Peer> {
        PeerId::from_bytes(bytes).ok().map(Peer)
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for Peer {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        text.parse().map(Peer).map_err(|_| AddressError::Malformed(text.to_owned()))
    }
}

/// Where a peer can be reached: a multiaddr that ends in its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress {
    /// Who.
    pub peer: Peer,
    /// Where, with `/p2p/...` at its end.
    pub address: String,
}

/// Why text is not a peer's address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Not a multiaddr.
    #[error("\"{0}\" is not an address: write for example /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo...")]
    Malformed(String),
    /// It does not say whom it leads to.
    #[error("\"{0}\" does not end in /p2p/12D3Koo...: `tidings status` on the other node shows the whole address")]
    NoPeer(String),
}

impl std::str::FromStr for PeerAddress {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let address: Multiaddr = text.parse().map_err(|_| AddressError::Malformed(text.to_owned()))?;
        let last = address.iter().last();
        match last {
            Some(Protocol::P2p(peer)) => Ok(PeerAddress { peer: Peer(peer), address: text.to_owned() }),
            _ => Err(AddressError::NoPeer(text.to_owned())),
        }
    }
}

/// From how far away an address can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// From the machine itself.
    Machine,
    /// From its own network.
    Network,
    /// From anywhere.
    World,
}

impl PeerAddress {
    /// From how far away it can be reached; none for what leads nowhere, or not in one step: a host, a port of TCP or QUIC,
    /// and the peer.
    pub fn reach(&self) -> Option<Reach> {
        let address: Multiaddr = self.address.parse().ok()?;
        let mut parts = address.iter();
        let reach = match parts.next()? {
            Protocol::Ip4(ip) => reach_of_v4(ip)?,
            Protocol::Ip6(ip) => match ip.to_ipv4_mapped() {
                Some(ip) => reach_of_v4(ip)?,
                None if ip.is_unspecified() || ip.is_multicast() => return None,
                None if ip.is_loopback() => Reach::Machine,
                None if ip.is_unique_local() || ip.is_unicast_link_local() => Reach::Network,
                None => Reach::World,
            },
            Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) => Reach::World,
            _ => return None,
        };
        match (parts.next()?, parts.next()?, parts.next(), parts.next()) {
            (Protocol::Tcp(port), Protocol::P2p(_), None, None) if port > 0 => Some(reach),
            (Protocol::Udp(port), Protocol::QuicV1, Some(Protocol::P2p(_)), None) if port > 0 => Some(reach),
            _ => None,
        }
    }
}

fn reach_of_v4(ip: std::net::Ipv4Addr) -> Option<Reach> {
    if ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast() {
        None
    } else if ip.is_loopback() {
        Some(Reach::Machine)
    } else if ip.is_private() || ip.is_link_local() {
        Some(Reach::Network)
    } else {
        Some(Reach::World)
    }
}

/// A stream to a peer.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// How the network is set up.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// Seed of the node's key.
    pub seed: [u8; 32],
    /// The federation; empty is the open one.
    pub federation: String,
    /// Multiaddrs to listen on.
    pub listen: Vec<String>,
    /// Whether to find peers on the local network.
    pub mdns: bool,
}

/// What the network is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Dial a peer at these addresses.
    Dial(Vec<PeerAddress>),
    /// Take part in a topic.
    Subscribe(String),
    /// No longer.
    Unsubscribe(String),
    /// Publish on a topic. A hint: whatever hinders it is only logged.
    Publish {
        /// Where.
        topic: String,
        /// What.
        data: Vec<u8>,
    },
    /// Whether a gossip message may travel on.
    Report(GossipTicket, GossipVerdict),
    /// End the connections with a peer.
    Disconnect(Peer),
    /// End all connections with these peers, and let none come about in either direction.
    Ban(Vec<Peer>),
    /// Let these be connected again.
    Unban(Vec<Peer>),
    /// Who is connected.
    Peers(oneshot::Sender<Vec<PeerInfo>>),
}

/// A gossip message that waits for its verdict.
#[derive(Debug, Clone)]
pub struct GossipTicket {
    id: libp2p::gossipsub::MessageId,
    from: PeerId,
}

/// What is to become of a gossip message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GossipVerdict {
    /// It is new and in: pass it on.
    Accept,
    /// It is false whatever one holds: its sender pays for it.
    Reject,
    /// Neither.
    Ignore,
}

/// A peer that is connected.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerInfo {
    /// Who.
    pub peer: Peer,
    /// Where.
    pub address: String,
    /// Whether we dialled.
    pub outbound: bool,
    /// The last ping.
    pub rtt_ms: Option<f64>,
}

/// What the network tells.
pub enum Event {
    /// We can be reached here.
    Listening(String),
    /// The first connection with a peer stands.
    Connected {
        /// Who.
        peer: Peer,
        /// Where.
        address: PeerAddress,
        /// Whether we dialled.
        outbound: bool,
    },
    /// The last connection with a peer is gone.
    Disconnected(Peer),
    /// A peer has said where it listens, or was seen on the local network.
    Addresses {
        /// Who.
        peer: Peer,
        /// Where.
        addresses: Vec<PeerAddress>,
        /// Seen on the local network: worth dialling.
        local: bool,
    },
    /// A message on a topic; it waits for a `Report`.
    Gossip {
        /// Names it in the report.
        ticket: GossipTicket,
        /// Who passed it on.
        from: Peer,
        /// The topic.
        topic: String,
        /// The message.
        data: Vec<u8>,
    },
}

/// Why the network could not be started.
#[derive(Debug, Error)]
pub enum NetworkError {
    /// An address to listen on is not one.
    #[error("cannot listen on \"{0}\": not an address; write for example /ip4/0.0.0.0/tcp/4001")]
    Malformed(String),
    /// An address cannot be listened on.
    #[error(
        "cannot listen on {address}: {reason}. Another program may use that port: choose one with --listen /ip4/0.0.0.0/tcp/0"
    )]
    Listen {
        /// Which.
        address: String,
        /// Why.
        reason: String,
    },
    /// Something else.
    #[error("the network could not be set up: {0}")]
    Setup(String),
}

/// A running network.
pub struct Network {
    /// This node.
    pub peer: Peer,
    /// Commands to it.
    pub commands: mpsc::Sender<Command>,
    /// What it tells.
    pub events: mpsc::Receiver<Event>,
    /// Streams that peers open.
    pub incoming: mpsc::Receiver<(Peer, Box<dyn Duplex>)>,
    /// Streams by which new devices ask to be let in.
    pub enrolments: mpsc::Receiver<(Peer, Box<dyn Duplex>)>,
    /// Streams by which peers ask for files.
    pub files: mpsc::Receiver<(Peer, Box<dyn Duplex>)>,
    /// Opens streams to peers.
    pub opener: Opener,
}

/// Opens streams.
#[derive(Clone)]
pub struct Opener {
    control: libp2p_stream::Control,
    protocol: StreamProtocol,
    enrol: StreamProtocol,
    file: StreamProtocol,
}

impl Opener {
    /// Opens a sync stream to a connected peer; `None` when it is not to be had now.
    pub async fn open(&self, peer: Peer) -> Option<Box<dyn Duplex>> {
        self.open_by(peer, self.protocol.clone()).await
    }

    /// Opens a stream by which to ask another device of our user to let this one in.
    pub async fn open_enrolment(&self, peer: Peer) -> Option<Box<dyn Duplex>> {
        self.open_by(peer, self.enrol.clone()).await
    }

    /// Opens a stream by which to ask a peer for files.
    pub async fn open_files(&self, peer: Peer) -> Option<Box<dyn Duplex>> {
        self.open_by(peer, self.file.clone()).await
    }

    async fn open_by(&self, peer: Peer, protocol: StreamProtocol) -> Option<Box<dyn Duplex>> {
        match self.control.clone().open_stream(peer.0, protocol).await {
            Ok(stream) => Some(Box::new(stream)),
            Err(error) => {
                tracing::debug!(%peer, %error, "no stream");
                None
            }
        }
    }
}

/// The peer that a seed makes; `None` never, as any 32 bytes are a seed.
pub fn peer_of(seed: [u8; 32]) -> Option<Peer> {
    let key = libp2p::identity::Keypair::ed25519_from_bytes(seed).ok()?;
    Some(Peer(key.public().to_peer_id()))
}

/// Starts the network: it listens when this returns.
///
/// # Errors
/// `NetworkError`.
pub fn start(config: &NetworkConfig) -> Result<Network, NetworkError> {
    let mut swarm = swarm::build(config)?;
    let peer = Peer(*swarm.local_peer_id());
    for address in &config.listen {
        let parsed: Multiaddr = address.parse().map_err(|_| NetworkError::Malformed(address.clone()))?;
        swarm
            .listen_on(parsed)
            .map_err(|e| NetworkError::Listen { address: address.clone(), reason: root_cause(&e) })?;
    }
    let protocol = swarm::sync_protocol(&config.federation)?;
    let mut control = swarm.behaviour().stream.new_control();
    let incoming = accept(&mut control, &protocol)?;
    let enrol = swarm::enrol_protocol(&config.federation)?;
    let enrolments = accept(&mut control, &enrol)?;
    let file = swarm::file_protocol(&config.federation)?;
    let files = accept(&mut control, &file)?;
    let (commands, command_queue) = mpsc::channel(COMMANDS_MAX);
    let (event_queue, events) = mpsc::channel(EVENTS_MAX);
    tokio::spawn(run::run(swarm, command_queue, event_queue));
    let opener = Opener { control, protocol, enrol, file };
    Ok(Network { peer, commands, events, incoming, enrolments, files, opener })
}

/// A stream, and who opened it.
type Stream = (Peer, Box<dyn Duplex>);

/// Streams that peers open by a protocol.
fn accept(
    control: &mut libp2p_stream::Control,
    protocol: &StreamProtocol,
) -> Result<mpsc::Receiver<Stream>, NetworkError> {
    let mut accepted = control.accept(protocol.clone()).map_err(|e| NetworkError::Setup(e.to_string()))?;
    let (queue, incoming) = mpsc::channel(STREAMS_MAX);
    tokio::spawn(async move {
        // Only hands over: a full queue drops the stream, and the peer tries again later.
        while let Some((peer, stream)) = accepted.next().await {
            let stream: Box<dyn Duplex> = Box::new(stream);
            drop(queue.try_send((Peer(peer), stream)));
        }
    });
    Ok(incoming)
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Commands that may wait for the swarm.
const COMMANDS_MAX: usize = 1024;
/// Events that may wait to be taken; gossip beyond is ignored, and sync brings it.
const EVENTS_MAX: usize = 1024;
/// Streams opened by peers that may wait to be taken.
const STREAMS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_as_far_as_it_says_or_nowhere() {
        let peer = "12D3KooWGRUauSc9KHRkMQmmDMUzmMPbkoMvkw7ZuVVZaTe4PbbR";
        let reach = |text: &str| format!("{text}/p2p/{peer}").parse::<PeerAddress>().unwrap().reach();
        for (text, expected) in [
            ("/ip4/203.0.113.7/tcp/4001", Some(Reach::World)),
            ("/ip4/203.0.113.7/udp/4001/quic-v1", Some(Reach::World)),
            ("/dns/node.example.org/tcp/4001", Some(Reach::World)),
            ("/ip6/2001:db8::1/tcp/4001", Some(Reach::World)),
            ("/ip4/192.168.1.1/tcp/80", Some(Reach::Network)),
            ("/ip4/169.254.169.254/tcp/80", Some(Reach::Network)),
            ("/ip6/fe80::1/tcp/1", Some(Reach::Network)),
            ("/ip6/::ffff:10.0.0.1/tcp/1", Some(Reach::Network)),
            ("/ip4/127.0.0.1/tcp/1", Some(Reach::Machine)),
            ("/ip6/::1/udp/1/quic-v1", Some(Reach::Machine)),
            ("/ip4/0.0.0.0/tcp/1", None),
            ("/ip4/224.0.0.1/udp/1/quic-v1", None),
            ("/ip4/203.0.113.7/tcp/0", None),
            ("/ip4/203.0.113.7/udp/1", None),
            ("/ip4/203.0.113.7/tcp/1/ws", None),
            (&format!("/ip4/203.0.113.7/tcp/1/p2p/{peer}/p2p-circuit"), None),
            ("/memory/1", None),
        ] {
            assert_eq!(reach(text), expected, "{text}");
        }
        assert!(Reach::Machine < Reach::Network && Reach::Network < Reach::World);
    }
}
