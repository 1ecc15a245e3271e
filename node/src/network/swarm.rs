//! The swarm: transports, behaviours and their settings.

use super::addresses::PerAddress;
use super::boxed::Boxed;
use super::{NetworkConfig, NetworkError, gossip, limits};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder, allow_block_list, connection_limits, identify, identity, mdns,
    memory_connection_limits, noise, ping, tcp, yamux,
};
use std::time::Duration;

/// What a node does on the network, in the order in which connections are judged.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) addresses: PerAddress,
    pub(super) limits: connection_limits::Behaviour,
    pub(super) memory: memory_connection_limits::Behaviour,
    pub(super) blocked: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) mdns: Toggle<mdns::tokio::Behaviour>,
    pub(super) gossip: gossip::Gossip,
    pub(super) stream: libp2p_stream::Behaviour,
}

pub(super) fn build(config: &NetworkConfig) -> Result<Swarm<Boxed<Behaviour>>, NetworkError> {
    let setup = |e: &dyn std::fmt::Display| NetworkError::Setup(e.to_string());
    let key = identity::Keypair::ed25519_from_bytes(config.seed).map_err(|e| setup(&e))?;
    let behaviour = behaviour(config, &key)?;
    let swarm = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux_config)
        .map_err(|e| setup(&e))?
        .with_quic_config(|mut quic| {
            quic.max_concurrent_stream_limit = limits::STREAMS_PER_CONNECTION as u32;
            quic.max_connection_data = limits::QUIC_WINDOW;
            quic.max_stream_data = limits::QUIC_WINDOW;
            quic
        })
        .with_dns()
        .map_err(|e| setup(&e))?
        .with_behaviour(|_| Boxed(behaviour))
        .map_err(|e| setup(&e))?
        .with_swarm_config(|c| c.with_idle_connection_timeout(limits::IDLE_TIMEOUT))
        .build();
    Ok(swarm)
}

fn behaviour(config: &NetworkConfig, key: &identity::Keypair) -> Result<Behaviour, NetworkError> {
    let peer = key.public().to_peer_id();
    let identify = identify::Config::new(protocol_name(&config.federation, "id"), key.public())
        .with_agent_version(concat!("tidings/", env!("CARGO_PKG_VERSION")).to_owned())
        .with_push_listen_addr_updates(true);
    let mdns = config.mdns.then(|| mdns::tokio::Behaviour::new(mdns::Config::default(), peer));
    let mdns = mdns.and_then(|m| m.inspect_err(|error| tracing::warn!(%error, "no mDNS")).ok());
    Ok(Behaviour {
        addresses: PerAddress::default(),
        limits: connection_limits::Behaviour::new(limits::connection_limits()),
        memory: memory_connection_limits::Behaviour::with_max_bytes(limits::MEMORY_MAX),
        blocked: allow_block_list::Behaviour::default(),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(Duration::from_secs(15))),
        mdns: Toggle::from(mdns),
        gossip: gossip::behaviour(&config.federation).map_err(NetworkError::Setup)?,
        stream: libp2p_stream::Behaviour::new(),
    })
}

fn yamux_config() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(limits::STREAMS_PER_CONNECTION);
    config
}

/// `/tidings/sync/1`; a federation's name stands in every protocol's.
pub(super) fn sync_protocol(federation: &str) -> Result<StreamProtocol, NetworkError> {
    stream_protocol(federation, "sync")
}

/// `/tidings/enrol/1`.
pub(super) fn enrol_protocol(federation: &str) -> Result<StreamProtocol, NetworkError> {
    stream_protocol(federation, "enrol")
}

/// `/tidings/file/1`.
pub(super) fn file_protocol(federation: &str) -> Result<StreamProtocol, NetworkError> {
    stream_protocol(federation, "file")
}

fn stream_protocol(federation: &str, name: &str) -> Result<StreamProtocol, NetworkError> {
    StreamProtocol::try_from_owned(protocol_name(federation, name)).map_err(|e| NetworkError::Setup(e.to_string()))
}

fn protocol_name(federation: &str, name: &str) -> String {
    match federation {
        "" => format!("/tidings/{name}/1"),
        federation => format!("/tidings/{federation}/{name}/1"),
    }
}
