//! Which rooms we offer to a peer, and what proves that we may see them.

use crate::clock::now_ms;
use crate::keys::Keys;
use crate::rooms::{RoomView, Views};
use tidings_protocol::control::payload::{Control, RoomKind};
use tidings_protocol::event::{Body, Class};
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::limits::ROOMS_MAX;
use tidings_protocol::log::Log;
use tidings_protocol::sync::{Credential, Offer, inner_secret};
use tidings_storage::{Store, StoredEvent};

/// Offers of all rooms that are to be talked of.
pub(crate) fn all(views: &Views, store: &Store, keys: &Keys, us: &[u8]) -> Vec<Offer> {
    let rooms = views.all().into_iter().filter(|(_, view)| is_offered(view, store)).take(ROOMS_MAX);
    rooms.map(|(room, view)| offer(room, &view, store, keys, us)).collect()
}

/// Whether a room is still to be talked of: we are in it, or nobody has heard yet that we left.
pub(crate) fn is_offered(view: &RoomView, store: &Store) -> bool {
    let is_own = |number: &u64| matches!(store.event(*number), Ok(Some(event)) if event.room == view.number);
    !view.row.left || store.outbox().unwrap_or_default().iter().any(is_own)
}

/// The offer of one room.
pub(crate) fn offer(room: RoomId, view: &RoomView, store: &Store, keys: &Keys, us: &[u8]) -> Offer {
    let expires_ms = now_ms().saturating_add(CREDENTIAL_MS);
    let public = view.row.kind == RoomKind::Public;
    let inner = inner(room, view, store);
    Offer {
        room,
        kind: view.row.kind,
        secret: view.row.secret,
        inner,
        credential: (!public).then(|| Credential::issue(&keys.device().key, room, us, expires_ms)),
        introduction: if public { Vec::new() } else { introduction(room, view, store, keys) },
        joining: if public { !view.has_genesis } else { inner.is_none() || view.unsure },
    }
}

/// What members call a room by, and no link carries; none in a public room, and until its Genesis is here.
pub(super) fn inner(room: RoomId, view: &RoomView, store: &Store) -> Option<[u8; 32]> {
    if view.row.kind == RoomKind::Public || !view.has_genesis {
        return None;
    }
    let genesis = store.event_by_id(EventId(*room.as_bytes())).ok().flatten()?;
    match genesis.body {
        Body::Kept(payload) => Some(inner_secret(room, &view.row.secret, &payload.salt)),
        Body::Erased => None,
    }
}

/// Our Join or Enrol, waiting or taken up, with the grant that an Enrol is under and the invite that a Join takes up: a member
/// who has not heard of it lets us in by it, also where nobody else is there to tell of the invite.
fn introduction(room: RoomId, view: &RoomView, store: &Store, keys: &Keys) -> Vec<Vec<u8>> {
    if let Some(pending) = &view.row.pending {
        return vec![pending.join.clone()];
    }
    let device = keys.device().id();
    let Some((grant, _)) = view.state.grant_of(device) else { return Vec::new() };
    let root = store.event_by_id(grant).ok().flatten();
    let is_own = root.as_ref().is_some_and(|event| event.log.author == device);
    let log = Log { class: Class::Control, author: device, grant };
    let enrol = if is_own { None } else { store.first_of_log(view.number, &log).ok().flatten() };
    // A Genesis everybody has; a Join of another of our devices may be as new to them as this one.
    let root = root.filter(|event| EventId::from(room) != event.id);
    let invite = root.as_ref().and_then(|root| invite_of(root, view, store));
    let signed =
        invite.into_iter().chain(root).chain(enrol).filter_map(|event| store.signed_event(room, &event).ok().flatten());
    signed.map(|event| tidings_protocol::codec::encode(&event)).collect()
}

/// The OpenInvite that a Join takes up.
fn invite_of(join: &StoredEvent, view: &RoomView, store: &Store) -> Option<StoredEvent> {
    let Body::Kept(payload) = &join.body else { return None };
    let Ok(Control::Join(join)) = Control::decode(join.kind, &payload.bytes) else { return None };
    store.event_by_id(join.invite).ok().flatten().filter(|invite| invite.room == view.number)
}

/// A conversation's credentials: longer than connections last, shorter than the protocol allows.
const CREDENTIAL_MS: u64 = 3 * 24 * 60 * 60 * 1000;
