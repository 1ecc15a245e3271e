//! What this node knows of a user's devices from their self-room before a room does: a device that its user has revoked is
//! not shown any further, and moderators are told what to do. Validity is the room's own affair: nothing here touches it.

use crate::account::ended_devices;
use crate::api::types as api;
use crate::handle::{NodeError, NodeHandle};
use crate::membership::typeable;
use crate::rooms::{RoomView, Views};
use std::collections::{BTreeMap, BTreeSet};
use tidings_protocol::control::payload::Control;
use tidings_protocol::control::rank::Rank;
use tidings_protocol::event::{Body, Class, Hlc};
use tidings_protocol::id::{DeviceId, UserId};
use tidings_protocol::log::Log;
use tidings_storage::{StorageError, Store};

/// Devices that their users have revoked.
pub(crate) struct Ended(BTreeMap<UserId, BTreeSet<DeviceId>>);

impl NodeHandle {
    /// The devices that users have revoked, as far as their self-rooms are here: nearly always none.
    pub(crate) fn ended(&self) -> Ended {
        let homes = self.manager.views.all().into_iter();
        let ended = homes.filter_map(|(_, view)| {
            let user = view.row.home_of.filter(|_| view.has_genesis)?;
            Some((user, ended_devices(&view.state, user))).filter(|(_, devices)| !devices.is_empty())
        });
        Ended(ended.collect())
    }

    /// Devices that a room counts and that their users have revoked: what a moderator should know.
    pub(crate) fn alerts(&self, view: &RoomView, ended: &Ended) -> Result<Vec<api::Alert>, NodeError> {
        let own = view.state.members.get(&self.manager.keys.user).map(|member| member.rank);
        if own.is_none_or(|rank| rank > Rank::MODERATOR) {
            return Ok(Vec::new());
        }
        let mut alerts = Vec::new();
        for (user, ended) in &ended.0 {
            let Some(member) = view.state.members.get(user) else { continue };
            for device in member.devices.iter().filter(|device| ended.contains(device)).take(ALERTS_MAX) {
                let name = self.name_in(view, *user)?;
                alerts.push(api::Alert {
                    user: user.to_string(),
                    device: device.to_string(),
                    text: format!(
                        "{name} has revoked a device that this room still counts: what it says is hidden here"
                    ),
                    command: format!("tidings room revoke {} {user}", typed(view)),
                });
            }
        }
        alerts.truncate(ALERTS_MAX);
        Ok(alerts)
    }

    /// Why a message is not to be shown, though the room counts it: its user has revoked the device, and it is later.
    pub(crate) fn hidden(
        &self,
        view: &RoomView,
        user: UserId,
        device: DeviceId,
        hlc: Hlc,
    ) -> Result<Option<String>, NodeError> {
        let is_later = is_hidden(&self.manager.store, &self.manager.views, view, (user, device), hlc)?;
        Ok(is_later.then(|| "device_revoked".to_owned()))
    }
}

/// Whether a device of a user said something after its user had revoked it, as far as their self-room tells.
///
/// # Errors
/// `StorageError`.
pub(crate) fn is_hidden(
    store: &Store,
    views: &Views,
    view: &RoomView,
    (user, device): (UserId, DeviceId),
    hlc: Hlc,
) -> Result<bool, StorageError> {
    if view.row.home_of.is_some() {
        return Ok(false);
    }
    // Whatever the user's newest profile says: a stolen device would name no self-room there, or another.
    let Some(home) = views.home_of(user).filter(|home| home.state.is_revoked_device(user, device)) else {
        return Ok(false);
    };
    Ok(revoked_at(store, &home, user, device)?.is_some_and(|at| hlc > at))
}

/// When a user revoked a device, by their clock.
fn revoked_at(store: &Store, home: &RoomView, user: UserId, device: DeviceId) -> Result<Option<Hlc>, StorageError> {
    let log = Log { class: Class::Control, author: user.into(), grant: home.row.room.into() };
    let events = store.events_of_log(home.number, &log, REVOCATIONS_MAX)?;
    let revokes = events.iter().filter(|event| match &event.body {
        Body::Kept(payload) => {
            let read = Control::decode(event.kind, &payload.bytes);
            matches!(read, Ok(Control::RevokeDevice(revoke)) if revoke.device == device)
        }
        Body::Erased => false,
    });
    Ok(revokes.map(|event| event.hlc).min())
}

/// What to type for a room in a command that will be copied.
fn typed(view: &RoomView) -> String {
    let alias = &view.row.alias;
    if typeable(alias).as_ref() == Some(alias) { alias.clone() } else { view.row.room.to_string() }
}

/// Alerts told of one room.
const ALERTS_MAX: usize = 64;
/// Revocations of one user that are looked at.
const REVOCATIONS_MAX: usize = 256;
