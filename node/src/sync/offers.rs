//! Which rooms we offer to a peer, and what proves that we may see them.

use crate::clock::now_ms;
use crate::keys::Keys;
use crate::rooms::{RoomView, Views};
use tidings_protocol::control::payload::RoomKind;
use tidings_protocol::id::RoomId;
use tidings_protocol::limits::ROOMS_MAX;
use tidings_protocol::sync::{Credential, Offer};
use tidings_storage::Store;

/// Offers of all rooms that are to be talked of.
pub(super) fn all(views: &Views, store: &Store, keys: &Keys, us: &[u8]) -> Vec<Offer> {
    let rooms = views.all().into_iter().filter(|(_, view)| is_offered(view, store)).take(ROOMS_MAX);
    rooms.map(|(room, view)| offer(room, &view, store, keys, us)).collect()
}

/// Whether a room is still to be talked of: we are in it, or nobody has heard yet that we left.
pub(super) fn is_offered(view: &RoomView, store: &Store) -> bool {
    let is_own = |number: &u64| matches!(store.event(*number), Ok(Some(event)) if event.room == view.number);
    !view.row.left || store.outbox().unwrap_or_default().iter().any(is_own)
}

/// The offer of one room.
pub(super) fn offer(room: RoomId, view: &RoomView, store: &Store, keys: &Keys, us: &[u8]) -> Offer {
    let expires_ms = now_ms().saturating_add(CREDENTIAL_MS);
    let public = view.row.kind == RoomKind::Public;
    Offer {
        room,
        kind: view.row.kind,
        secret: view.row.secret,
        credential: (!public).then(|| Credential::issue(&keys.device, room, us, expires_ms)),
        introduction: if public { Vec::new() } else { introduction(room, view, store, keys) },
        joining: !view.has_genesis,
    }
}

/// Our Join, waiting or taken up: a member who has not heard of it lets us in by it.
fn introduction(room: RoomId, view: &RoomView, store: &Store, keys: &Keys) -> Vec<Vec<u8>> {
    if let Some(pending) = &view.row.pending {
        return vec![pending.join.clone()];
    }
    let Some((grant, _)) = view.state.grant_of(keys.device.device()) else { return Vec::new() };
    let root = store.event_by_id(grant).ok().flatten();
    let own = root.filter(|event| event.log.author == keys.device.device());
    let signed = own.and_then(|event| store.signed_event(room, &event).ok().flatten());
    signed.map(|event| tidings_protocol::codec::encode(&event)).into_iter().collect()
}

/// A conversation's credentials: longer than connections last, shorter than the protocol allows.
const CREDENTIAL_MS: u64 = 3 * 24 * 60 * 60 * 1000;
