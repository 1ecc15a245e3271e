//! Why a conversation with a peer ended, and whether the peer is to blame.

use thiserror::Error;
use tidings_protocol::admission::Rejection;
use tidings_protocol::beacon::BeaconError;
use tidings_protocol::event::EventError;
use tidings_protocol::identity::BadSignature;
use tidings_protocol::range::RangeError;
use tidings_protocol::sync::Failure;

/// Why a conversation ended.
#[derive(Debug, Error)]
pub(super) enum Ended {
    /// The stream did: the peer went, or broke the framing.
    #[error("the stream ended: {0}")]
    Stream(#[from] std::io::Error),
    /// The state machine says so.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The peer sent something false.
    #[error("a false range: {0}")]
    Range(#[from] RangeError),
    /// The peer sent something false.
    #[error("a false event: {0}")]
    Event(#[from] EventError),
    /// The peer sent something false.
    #[error("a false beacon: {0}")]
    Beacon(#[from] BeaconError),
    /// The peer sent something false.
    #[error("a false answer: {0}")]
    Answer(#[from] BadSignature),
    /// The peer sent something false.
    #[error("a false event: {0}")]
    Rejected(#[from] Rejection),
    /// The peer owes an answer for too long, or takes nothing.
    #[error("no progress")]
    Stalled,
    /// This node is stopping.
    #[error("stopping")]
    Stopping,
}

impl Ended {
    /// Whether the peer is to blame, and should not be asked again soon.
    pub(super) fn is_fault(&self) -> bool {
        match self {
            Ended::Failure(failure) => !matches!(failure, Failure::Unavailable(_)),
            Ended::Stream(error) => error.kind() == std::io::ErrorKind::InvalidData,
            Ended::Range(_) | Ended::Event(_) | Ended::Beacon(_) | Ended::Rejected(_) | Ended::Answer(_) => true,
            Ended::Stalled | Ended::Stopping => false,
        }
    }
}
