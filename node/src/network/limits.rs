//! Bounds of the network, each with its reason.

use libp2p::connection_limits::ConnectionLimits;
use std::time::Duration;

/// Connections: enough for a large federation, few enough for a small machine; handshakes of strangers are the scarcest.
pub(super) fn connection_limits() -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_pending_incoming(Some(64))
        .with_max_pending_outgoing(Some(32))
        .with_max_established_incoming(Some(800))
        .with_max_established_outgoing(Some(300))
        .with_max_established_per_peer(Some(4))
}

/// Inbound connections from one address, handshakes included: an office behind one has room, a flood from one has an end.
pub(super) const CONNECTIONS_PER_ADDRESS: usize = 32;
/// Above this the process takes no new connections.
pub(super) const MEMORY_MAX: usize = 2 << 30;
/// The default of 10 s closes connections of peers that only sync.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Streams of one connection, over yamux and QUIC.
pub(super) const STREAMS_PER_CONNECTION: usize = 64;
/// Bytes that a QUIC connection may have under way.
pub(super) const QUIC_WINDOW: u32 = 2 << 20;
