//! One question of an audit as conversations carry it: what is asked, what our node answers, and who agrees. The simulation
//! runs these very functions.

use crate::beacons::Beacons;
use crate::clock::now_ms;
use crate::inbox::shown::lacks_nothing_since;
use crate::keys::Keys;
use crate::network::Peer;
use crate::rooms::RoomView;
use crate::sync::holdings::NodeHoldings;
use std::collections::BTreeSet;
use tidings_protocol::answer::{Draft, SignedAnswer};
use tidings_protocol::event::Hlc;
use tidings_protocol::id::{DeviceId, RoomId, UserId};
use tidings_protocol::sync::{Holdings, Unavailable};
use tokio::sync::mpsc;

/// What conversations are to ask.
pub(crate) struct Round {
    pub(crate) room: RoomId,
    pub(crate) peers: BTreeSet<Peer>,
    /// Where answers go.
    pub(crate) reply: mpsc::Sender<Heard>,
}

/// An answer that was looked at.
pub(crate) struct Heard {
    pub(crate) peer: Peer,
    pub(crate) device: DeviceId,
    pub(crate) user: UserId,
    /// It holds nothing that we lack.
    pub(crate) agrees: bool,
    /// Nothing is missing below that, and all of it is on its disk.
    pub(crate) durable: bool,
}

/// What our node is asked, until all that it holds is on disk.
pub(crate) struct Answering {
    pub(crate) room: RoomId,
    pub(crate) answer: SignedAnswer,
}

/// What our node answers: to be told once what it says is on disk. Nothing where we are not in the room.
///
/// # Errors
/// `Unavailable`.
pub(crate) fn answer(
    held: &NodeHoldings,
    keys: &Keys,
    view: &RoomView,
    nonce: [u8; 16],
) -> Result<Option<Answering>, Unavailable> {
    let (room, device) = (view.row.room, keys.device());
    if view.row.left || view.state.user_of(device.id()).is_none() {
        return Ok(None);
    }
    let digests = held.digests(room)?;
    let is_whole = lacks_nothing_since(&held.store, view, 0).map_err(|_| Unavailable)?;
    let is_trimmed = held.store.keep(view.number).map_err(|_| Unavailable)?.since != 0;
    let (control, content, durable) = (digests.control, digests.content, is_whole && !is_trimmed);
    let draft = Draft { room, nonce, hlc: Hlc::at_ms(now_ms()), control, content, durable };
    Ok(Some(Answering { room, answer: draft.sign(&device.key) }))
}

/// Whether who answers this holds nothing that we lack: the heads that it names are ours, or were.
///
/// # Errors
/// `Unavailable`.
pub(crate) fn agrees(
    held: &NodeHoldings,
    beacons: &Beacons,
    room: RoomId,
    answer: &SignedAnswer,
) -> Result<bool, Unavailable> {
    let ours = held.digests(room)?;
    let had = beacons.had(room, &answer.control, &answer.content);
    Ok((answer.control == ours.control || had.0) && (answer.content == ours.content || had.1))
}

/// Answers of one round that may wait.
pub(crate) const HEARD_MAX: usize = 1_024;
