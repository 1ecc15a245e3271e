//! Random rooms for evaluation: fifty devices and more come in, then honest and hostile ones that each see a part of the
//! room do what they like. `random_deeds` makes them. No signature is made or needed but the certificates'.

use super::random_deeds::Making;
use super::seeded::Seeded;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use tidings_protocol::control::cut::Cut;
use tidings_protocol::control::payload::{Control, ControlEvent};
use tidings_protocol::event::Class;
use tidings_protocol::id::{DeviceId, EventId, RoomId, UserId};
use tidings_protocol::identity::{DeviceCertificate, DeviceKey, RecoveryPhrase};
use tidings_protocol::log::Log;

/// A room as its events, some of which may be withheld.
pub struct RandomRoom {
    pub seed: u64,
    pub id: RoomId,
    pub said: Vec<Said>,
    /// A device that forks its logs more than others.
    pub stolen: usize,
    /// Whether it has what the model knows nothing of.
    pub wild: bool,
}

/// An event, of both classes.
#[derive(Clone)]
pub struct Said {
    pub id: EventId,
    pub author: DeviceId,
    /// What the header says; none in a Genesis or Join.
    pub grant: Option<EventId>,
    pub seq: u64,
    pub prev: Option<EventId>,
    /// None of a text.
    pub what: Option<Control>,
}

impl Said {
    pub fn is_text(&self) -> bool {
        self.what.is_none()
    }

    pub fn log(&self) -> Log {
        let class = if self.is_text() { Class::Content } else { Class::Control };
        Log { class, author: self.author, grant: self.grant.unwrap_or(self.id) }
    }

    /// The invite of a Join.
    pub fn invite(&self) -> Option<EventId> {
        match &self.what {
            Some(Control::Join(join)) => Some(join.invite),
            _ => None,
        }
    }

    /// As evaluation reads it; none of a text.
    pub fn control(&self) -> Option<ControlEvent> {
        let prev = self.prev.unwrap_or(EventId::ZERO);
        let read = |control| ControlEvent { id: self.id, log: self.log(), seq: self.seq, prev, control };
        self.what.clone().map(read)
    }

    /// Where it stands, as the model names a place.
    pub fn place(&self) -> Value {
        json!([device_name(self.author), hex(&self.log().grant), self.seq, hex(&self.id)])
    }

    /// As the model reads it.
    pub fn to_json(&self) -> Value {
        let list = |ids: &[EventId]| ids.iter().map(hex).collect::<Vec<_>>();
        let user = |certificate: &DeviceCertificate| user_name(certificate.user());
        let (kind, d) = self.what.as_ref().map_or(("Text", json!({})), |control| match control {
            Control::Genesis(g) => {
                let founders: Vec<String> = g.founders.iter().map(|u| user_name(*u)).collect();
                let rank = g.invite_rank.number();
                ("Genesis", json!({ "user": user(&g.certificate), "founders": founders, "invite_rank": rank }))
            }
            Control::Grant(g) => {
                ("Grant", json!({ "user": user_name(g.user), "rank": g.rank.number(), "lifts": list(&g.lifts) }))
            }
            Control::OpenInvite(o) => ("OpenInvite", json!({ "rank": o.rank.number() })),
            Control::Join(j) => ("Join", json!({ "invite": hex(&j.invite), "user": user(&j.certificate) })),
            Control::Enrol(c) => ("Enrol", json!({ "user": user(c) })),
            Control::CloseInvite(c) => ("CloseInvite", json!({ "invite": hex(&c.invite), "joins": list(&c.joins) })),
            Control::Revoke(r) => {
                ("Revoke", json!({ "user": user_name(r.user), "cuts": cuts_json(&r.cuts), "joins": list(&r.joins) }))
            }
            Control::RevokeDevice(r) => {
                ("RevokeDevice", json!({ "device": device_name(r.device), "cuts": cuts_json(&r.cuts) }))
            }
            Control::Set(s) => ("Set", json!({ "key": s.key, "value": s.value, "replaces": list(&s.replaces) })),
            Control::Erase(e) => {
                let log = json!([1, device_name(e.author), hex(&e.grant)]);
                ("Erase", json!({ "log": log, "seq": e.seq, "id": hex(&e.id) }))
            }
            Control::Leave => ("Leave", json!({})),
            Control::Successor(_) | Control::Unknown { .. } => panic!("the model knows no such kind"),
        });
        json!({
            "id": hex(&self.id), "kind": kind, "author": device_name(self.author), "grant": self.grant.as_ref().map(hex),
            "seq": self.seq, "prev": self.prev.as_ref().map(hex), "d": d,
        })
    }
}

fn cuts_json(cuts: &[Cut]) -> Value {
    let one = |cut: &Cut| {
        let log = json!([cut.log.class.number(), device_name(cut.log.author), hex(&cut.log.grant)]);
        json!([log, cut.seq, cut.ids.iter().map(hex).collect::<Vec<_>>()])
    };
    cuts.iter().map(one).collect()
}

impl RandomRoom {
    /// A room of what the model knows, too.
    pub fn new(seed: u64) -> RandomRoom {
        RandomRoom::made(seed, false)
    }

    /// A room with successors, kinds of later versions, and cuts that name events of other logs.
    pub fn wild(seed: u64) -> RandomRoom {
        RandomRoom::made(seed, true)
    }

    fn made(seed: u64, wild: bool) -> RandomRoom {
        let mut making = Making::begun(seed, wild);
        let entered = making.said.len();
        let deeds = 40 + making.random.below(80);
        (0..deeds).for_each(|_| making.go_on());
        let (id, stolen) = (making.said[0].id.into(), making.stolen);
        let mut random = making.random;
        // Half of them as somebody sees them from whom some events are withheld for ever.
        let lost = if random.percent(50) { 12 } else { 0 };
        let lost = |n: usize| if n < entered { lost / 12 } else { lost };
        let said = making.said.into_iter().enumerate();
        let said = said.filter(|(n, _)| *n == 0 || !random.percent(lost(*n))).map(|(_, said)| said).collect();
        RandomRoom { seed, id, said, stolen, wild }
    }

    /// The events in another order, which this number names; 0 is the one in which they were made, odd ones are wholly
    /// random, even ones as of a network: most come soon, some very late.
    pub fn in_order(&self, order: u64) -> Vec<&Said> {
        let mut said: Vec<&Said> = self.said.iter().collect();
        let mut random = Seeded::new(self.seed ^ order << 40);
        if order % 2 == 1 {
            random.shuffle(&mut said);
        } else if order > 0 {
            let mut late = || if random.percent(10) { random.below(100) } else { random.below(20) };
            let mut timed: Vec<_> = said.into_iter().enumerate().map(|(n, said)| (n + late(), said)).collect();
            timed.sort_by_key(|(at, _)| *at);
            said = timed.into_iter().map(|(_, said)| said).collect();
        }
        said
    }

    pub fn by_id(&self) -> BTreeMap<EventId, &Said> {
        self.said.iter().map(|said| (said.id, said)).collect()
    }
}

/// Each user's devices, of which one has done nothing yet, and the user key as the last.
static PEOPLE: LazyLock<Vec<[DeviceCertificate; DEVICES]>> = LazyLock::new(|| {
    let person = |n: u8| {
        let key = RecoveryPhrase::from_entropy([n + 50; 32]).user_key();
        std::array::from_fn(|d| match d {
            USER_KEY => key.certify(key.user().into(), "", 0),
            d => key.certify(DeviceKey::from_seed(&[n * DEVICES as u8 + d as u8 + 1; 32]).device(), "", 0),
        })
    };
    (0..USERS_MAX as u8).map(person).collect()
});

/// Where each device stands among them.
static PLACES: LazyLock<BTreeMap<DeviceId, (usize, usize)>> = LazyLock::new(|| {
    let places = (0..USERS_MAX).flat_map(|user| (0..DEVICES).map(move |device| (user, device)));
    places.map(|place| (certificate(place.0, place.1).device(), place)).collect()
});

pub fn certificate(user: usize, device: usize) -> &'static DeviceCertificate {
    &PEOPLE[user][device]
}

pub fn user_id(user: usize) -> UserId {
    certificate(user, 0).user()
}

/// The number of a device's user, and its own among theirs.
pub fn place_of(device: DeviceId) -> (usize, usize) {
    PLACES[&device]
}

/// The user of a device.
pub fn owner(device: DeviceId) -> UserId {
    user_id(place_of(device).0)
}

/// `U1`, as the model calls a user and their key.
pub fn user_name(user: UserId) -> String {
    format!("U{}", place_of(user.into()).0)
}

/// `U1.a`, as the model calls a device of U1.
pub fn device_name(device: DeviceId) -> String {
    match place_of(device) {
        (user, USER_KEY) => format!("U{user}"),
        (user, device) => format!("U{user}.{}", char::from(b'a' + device as u8)),
    }
}

pub fn hex(id: &EventId) -> String {
    id.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// People that a room may have.
pub const USERS_MAX: usize = 12;
/// Keys of a user: those that are enrolled, one that is kept back, and the user key.
pub const DEVICES: usize = 8;
/// How many of a user's devices come in.
pub const ENROLLED: usize = 6;
/// A device that does nothing until its user is revoked.
pub const NEW_DEVICE: usize = 6;
/// The user key, which is a device as well.
pub const USER_KEY: usize = 7;
