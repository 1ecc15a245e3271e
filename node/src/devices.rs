//! The devices of this node's user: which there are, and the link by which another comes in.

use crate::account::Order;
use crate::api::types as api;
use crate::clock::now_ms;
use crate::command::Command;
use crate::enrol::Standing;
use crate::handle::{NodeError, NodeHandle};
use crate::keys::{WordsError, random};
use crate::rooms::RoomView;
use std::collections::BTreeMap;
use std::time::Duration;
use tidings_protocol::control::payload::Control;
use tidings_protocol::enrol::DeviceLink;
use tidings_protocol::event::{Body, Class};
use tidings_protocol::id::DeviceId;
use tidings_protocol::identity::DeviceCertificate;
use tidings_protocol::limits::DEVICE_LINK_MS;
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
                revoked: view.state.user_of(certificate.device()).is_none(),
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
        certificates.retain(|device, certificate| device.0 != certificate.user().0);
        Ok(certificates)
    }

    /// Ends a device of this user in every room that counts it.
    ///
    /// # Errors
    /// `NodeError`: no such device, or the words are needed and not here.
    pub async fn revoke_device(&self, text: &str, words: Option<&str>) -> Result<api::DeviceRevoked, NodeError> {
        let device = self.own_device(text)?;
        let phrase = Box::new(self.manager.keys.phrase_or(words)?);
        let rooms = self.write(|reply| Command::Account(Order::Revoke(phrase, device, reply))).await?;
        Ok(api::DeviceRevoked { device: device.to_string(), rooms })
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
        self.manager.enrolment.begin(link, phrase);
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

    /// The user's word on the device that asks.
    ///
    /// # Errors
    /// `NodeError::NotFound` where none does.
    pub fn decide_device(&self, accept: bool) -> Result<(), NodeError> {
        match self.manager.enrolment.decide(accept) {
            true => Ok(()),
            false => Err(NodeError::NotFound("no device asks to be let in".to_owned())),
        }
    }

    /// Nobody comes in by the link that is open any more.
    pub fn close_device_offer(&self) {
        self.manager.enrolment.close();
    }
}

fn standing_name(standing: &Standing) -> &'static str {
    match standing {
        Standing::Closed => "closed",
        Standing::Waiting => "waiting",
        Standing::Asked { .. } => "asked",
        Standing::Done { .. } => "done",
        Standing::Failed => "failed",
    }
}
