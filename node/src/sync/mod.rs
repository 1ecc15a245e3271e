//! Sync with peers: keeps one conversation with each peer that is connected, answers it from the store with a read
//! handle, and hands what it brings to the writer. The network gives streams; this never names libp2p.

mod budget;
mod deliver;
mod ended;
mod frames;
pub mod given_up;
mod gossip;
pub mod holdings;
mod leases;
mod manager;
pub(crate) mod offers;
mod talk;
mod tips;
mod told;

pub use budget::Live;
pub use deliver::Room;
pub use leases::Leases;
pub use manager::{Manager, PeerNews, run};
pub use tips::SealedTips;
pub use told::{PeerStats, Told};
