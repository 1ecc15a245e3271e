//! The devices of this node's user: which there are, and the link by which another comes in.

use crate::account::{Order, Reach, Revocation};
use crate::api::types as api;
use crate::clock::now_ms;
use crate::command::Command;
use crate::enrol::Standing;
use crate::handle::{NodeError, NodeHandle};
use crate::keys::{WordsError, random};
use crate::rooms::RoomView;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tidings_protocol::control::payload::Control;
use tidings_protocol::enrol::DeviceLink;
use tidings_protocol::event::{Body, Class};
use tidings_protocol::id::{DeviceId, RoomId};
use tidings_protocol::identity::DeviceCertificate;
use tidings_protocol::limits::DEVICE_LINK_MS;
use tokio::time::Instant;
use zeroize::Zeroizing;

impl From<WordsError> for NodeError {
    fn from(error: WordsError) -> Self {
        match error {
            WordsError::Phrase(_) => NodeError::Usage(error.to_string()),
            WordsError::Other | WordsError::Needed => NodeError::Forbidden(error.to_string()),
        }
    }
}

impl NodeHandle {
    /// The devices of this user, the oldest first.
    ///
    /// # Errors
    /// `NodeError::Storage`.
    pub fn devices(&self) -> Result<Vec<api::Device>, NodeError> {
        let keys = &self.manager.keys;
        let Some(view) = self.manager.views.find(keys.self_room()) else { return Ok(Vec::new()) };
        let own = keys.device().id();
        let mut devices: Vec<api::Device> = self
            .certificates(&view)?
            .into_values()
            .map(|certificate| api::Device {
                device: certificate.device().to_string(),
                name: certificate.name().to_owned(),
                created_ms: certificate.created_ms(),
                current: certificate.device() == own,
                revoked: view.state.is_revoked_device(keys.user, certificate.device()),
            })
            .collect();
        devices.sort_by(|a, b| (a.created_ms, &a.device).cmp(&(b.created_ms, &b.device)));
        Ok(devices)
    }

    /// What enrolled each device in a self-room. The user key is none of them.
    fn certificates(&self, view: &RoomView) -> Result<BTreeMap<DeviceId, DeviceCertificate>, NodeError> {
        let store = &self.manager.store;
        let mut certificates = BTreeMap::new();
        for (log, _) in store.logs(view.number, Class::Control)? {
            let Some(event) = store.first_of_log(view.number, &log)? else { continue };
            let Body::Kept(payload) = &event.body else { continue };
            if let Ok(Control::Enrol(certificate)) = Control::decode(event.kind, &payload.bytes) {
                certificates.insert(certificate.device(), certificate);
            }
        }
        // Nor is one of somebody whom a stolen device has let in.
        let user = self.manager.keys.user;
        certificates.retain(|device, certificate| certificate.user() == user && *device != user.into());
        Ok(certificates)
    }

    /// Ends a device of this user: in the self-room at once, in every other room that counts it once somebody there was found
    /// to hold the same, or at once where `wish` says so.
    ///
    /// # Errors
    /// `NodeError`: no such device, or the words are needed and not here.
    pub async fn revoke_device(&self, text: &str, wish: &api::RevokeDevice) -> Result<api::DeviceRevoked, NodeError> {
        let device = self.own_device(text)?;
        let mut peers = self.manager.peers_changed.subscribe();
        let until = Instant::now() + COMPARE_PATIENCE;
        let mut done: BTreeMap<String, api::RevokedIn> = BTreeMap::new();
        loop {
            let phrase = self.manager.keys.phrase_or(wish.words.as_deref())?;
            let (compared, rest): (BTreeSet<RoomId>, BTreeSet<RoomId>) =
                self.rooms_that_count(device).into_iter().partition(|room| self.manager.told.has_agreed(*room));
            let reach = if wish.now { Reach::All } else { Reach::Compared(compared) };
            let wish = Box::new(Revocation { phrase, device, reach });
            let rooms = self.write(|reply| Command::Account(Order::Revoke(wish, reply))).await?;
            done.extend(rooms.into_iter().map(|room| (room.room.clone(), room)));
            // A peer that has just come may still be comparing.
            let waits = rest.iter().any(|room| done.get(&room.to_string()).is_some_and(|room| !room.done));
            if !waits || tokio::time::timeout_at(until, peers.recv()).await.is_err() {
                break;
            }
        }
        let home = self.manager.keys.self_room().to_string();
        let first = done.remove(&home);
        Ok(api::DeviceRevoked {
            device: device.to_string(),
            rooms: first.into_iter().chain(done.into_values()).collect(),
        })
    }

    /// The rooms for people in which a device of this user counts.
    pub(crate) fn rooms_that_count(&self, device: DeviceId) -> Vec<RoomId> {
        let user = self.manager.keys.user;
        let views = self.manager.views.all().into_iter();
        let counts = |view: &RoomView| view.row.home_of.is_none() && view.state.user_of(device) == Some(user);
        views.filter(|(_, view)| counts(view)).map(|(room, _)| room).collect()
    }

    /// A device of this user: its key, or its name where one alone has it.
    fn own_device(&self, text: &str) -> Result<DeviceId, NodeError> {
        let devices = self.devices()?;
        let fits = |d: &&api::Device| d.device == text || d.name == text;
        let found: Vec<&api::Device> = devices.iter().filter(fits).collect();
        match found.as_slice() {
            [one] => one.device.parse().map_err(|_| NodeError::Usage(format!("\"{text}\" is no device"))),
            [] => {
                Err(NodeError::NotFound(format!("\"{text}\" is none of your devices: `tidings id devices` shows them")))
            }
            many => Err(NodeError::Ambiguous {
                given: text.to_owned(),
                candidates: many.iter().map(|d| d.device.clone()).collect(),
            }),
        }
    }

    /// Opens a link by which another device can be let in; the one before is closed.
    ///
    /// # Errors
    /// `NodeError::Forbidden` where the words are needed and not here.
    pub fn offer_device(&self, words: Option<&str>) -> Result<api::DeviceOffer, NodeError> {
        let keys = &self.manager.keys;
        let phrase = keys.phrase_or(words)?;
        let addresses = crate::beacons::own_addresses(&self.manager);
        let link = DeviceLink {
            network: self.manager.federation.clone(),
            user: keys.user,
            home: keys.self_room(),
            secret: Zeroizing::new(random()),
            expires_ms: now_ms().saturating_add(DEVICE_LINK_MS),
            addresses,
        };
        let offer = api::DeviceOffer { link: link.to_text(), expires_ms: link.expires_ms };
        let (manager, secret) = (self.manager.clone(), link.secret.clone());
        self.manager.enrolment.begin(link, phrase);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(DEVICE_LINK_MS)).await;
            manager.enrolment.expire(&secret);
        });
        Ok(offer)
    }

    /// How the open link stands; waits until that is something else than `after`, at most so long.
    pub async fn device_offer(&self, after: &str, wait: Duration) -> api::OfferStanding {
        let mut standing = self.manager.enrolment.standing();
        drop(tokio::time::timeout(wait, standing.wait_for(|now| standing_name(now) != after)).await);
        let now = standing.borrow().clone();
        let state = standing_name(&now).to_owned();
        let none = api::OfferStanding { state, name: String::new(), code: String::new(), device: String::new() };
        match now {
            Standing::Asked { name, code, device } => {
                api::OfferStanding { name, code, device: device.to_string(), ..none }
            }
            Standing::Done { name, device } => api::OfferStanding { name, device: device.to_string(), ..none },
            Standing::Closed | Standing::Waiting | Standing::Failed => none,
        }
    }

    /// The user's word on this device, if it is the one that asks.
    ///
    /// # Errors
    /// `NodeError::NotFound` where none does.
    pub fn decide_device(&self, accept: bool, device: &str) -> Result<(), NodeError> {
        let device = device.parse().map_err(|_| NodeError::Usage(format!("\"{device}\" is no device")))?;
        match self.manager.enrolment.decide(accept, device) {
            true => Ok(()),
            false => Err(NodeError::NotFound("this device does not ask to be let in any more".to_owned())),
        }
    }

    /// Nobody comes in by the link that is open any more.
    pub fn close_device_offer(&self) {
        self.manager.enrolment.close();
    }
}

/// How long peers that are there are waited for before a device is revoked in the rooms shared with them.
const COMPARE_PATIENCE: Duration = Duration::from_secs(10);

fn standing_name(standing: &Standing) -> &'static str {
    match standing {
        Standing::Closed => "closed",
        Standing::Waiting => "waiting",
        Standing::Asked { .. } => "asked",
        Standing::Done { .. } => "done",
        Standing::Failed => "failed",
    }
}
