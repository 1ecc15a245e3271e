//! Random rooms for evaluation: some hundred events by honest and hostile devices that each see a part of the room, of
//! the kinds that the model and we both have. No signature is made or needed but the certificates'.

use super::seeded::Seeded;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use tidings_protocol::control::payload::{
    CloseInvite, Control, ControlEvent, Erase, Genesis, Grant, Join, OpenInvite, RoomKind, Set,
};
use tidings_protocol::control::rank::Rank;
use tidings_protocol::event::Class;
use tidings_protocol::id::{DeviceId, EventId, InviteKey, RoomId, UserId};
use tidings_protocol::identity::{DeviceCertificate, DeviceKey, RecoveryPhrase, Signature};
use tidings_protocol::log::Log;

/// A room as its events, some of which may be withheld.
pub struct RandomRoom {
    pub seed: u64,
    pub id: RoomId,
    pub said: Vec<Said>,
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
    what: Option<Control>,
}

impl Said {
    pub fn is_text(&self) -> bool {
        self.what.is_none()
    }

    pub fn log(&self) -> Log {
        let class = if self.is_text() { Class::Content } else { Class::Control };
        Log { class, author: self.author, grant: self.grant.unwrap_or(self.id) }
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
            Control::Grant(g) => ("Grant", json!({ "user": user_name(g.user), "rank": g.rank.number(), "lifts": [] })),
            Control::OpenInvite(o) => ("OpenInvite", json!({ "rank": o.rank.number() })),
            Control::Join(j) => ("Join", json!({ "invite": hex(&j.invite), "user": user(&j.certificate) })),
            Control::Enrol(c) => ("Enrol", json!({ "user": user(c) })),
            Control::CloseInvite(c) => ("CloseInvite", json!({ "invite": hex(&c.invite), "joins": list(&c.joins) })),
            Control::Set(s) => ("Set", json!({ "key": s.key, "value": s.value, "replaces": list(&s.replaces) })),
            Control::Erase(e) => {
                let log = json!([1, device_name(e.author), hex(&e.grant)]);
                ("Erase", json!({ "log": log, "seq": e.seq, "id": hex(&e.id) }))
            }
            _ => ("Leave", json!({})),
        });
        json!({
            "id": hex(&self.id), "kind": kind, "author": device_name(self.author), "grant": self.grant.as_ref().map(hex),
            "seq": self.seq, "prev": self.prev.as_ref().map(hex), "d": d,
        })
    }
}

impl RandomRoom {
    pub fn new(seed: u64) -> RandomRoom {
        let mut making = Making { random: Seeded::new(seed), seed, said: Vec::new(), users: 0, stolen: 0 };
        making.begin();
        for _ in 0..20 + making.random.below(70) {
            if let Some(said) = making.act() {
                making.said.push(said);
            }
        }
        let id = making.said[0].id.into();
        let mut random = making.random;
        // Half of them as somebody sees them from whom some events are withheld for ever.
        let lost = if random.percent(50) { 12 } else { 0 };
        let said = making.said.into_iter().filter(|_| !random.percent(lost)).collect();
        RandomRoom { seed, id, said }
    }
}

/// A room in the making.
struct Making {
    random: Seeded,
    seed: u64,
    said: Vec<Said>,
    users: usize,
    /// A device that forks its logs more than others.
    stolen: usize,
}

impl Making {
    fn begin(&mut self) {
        self.users = 3 + self.random.below(4);
        self.stolen = self.random.below(self.users * DEVICES);
        let mut founders = vec![certificate(0, 0).user()];
        if self.random.percent(50) {
            founders.push(certificate(1, 0).user());
        }
        founders.sort_unstable();
        let invite_rank = Rank::new(*self.random.pick(&[10, 30, 89])).unwrap();
        let (kind, certificate) = (RoomKind::Public, certificate(0, 0));
        let genesis = Genesis { kind, founders, invite_rank, secret: [0; 32], certificate: certificate.clone() };
        let said = self.say(certificate.device(), None, None, Some(Control::Genesis(genesis)));
        self.said.push(said);
    }

    fn say(
        &self,
        author: DeviceId,
        grant: Option<EventId>,
        prev: Option<(u64, EventId)>,
        what: Option<Control>,
    ) -> Said {
        let mut id = [0; 32];
        let mut random = Seeded::new((self.seed << 20) + self.said.len() as u64 + 1);
        id.chunks_exact_mut(8).for_each(|part| part.copy_from_slice(&random.next().to_be_bytes()));
        let (seq, prev) = prev.map_or((1, None), |(seq, id)| (seq + 1, Some(id)));
        Said { id: EventId(id), author, grant, seq, prev, what }
    }

    /// What one device does next, seeing a part of what was said.
    fn act(&mut self) -> Option<Said> {
        let view = self.view();
        let device = if self.random.percent(15) { self.stolen } else { self.random.below(self.users * DEVICES) };
        let (user, author) = (device / DEVICES, certificate(device / DEVICES, device % DEVICES).device());
        let grants: Vec<EventId> = view.iter().filter(|s| speaks_of(s, user)).map(|s| s.id).collect();
        let invites: Vec<EventId> = of_kind(&view, |c| matches!(c, Control::OpenInvite(_)));
        let certificate = self.certificate(user, device);
        if !invites.is_empty() && self.random.percent(if grants.is_empty() { 80 } else { 25 }) {
            let (invite, proof) = (*self.random.pick(&invites), Signature([0; 64]));
            let join = Join { invite, certificate, proof };
            return Some(self.say(author, None, None, Some(Control::Join(join))));
        }
        let any = || -> Vec<EventId> { view.iter().map(|s| s.id).collect() };
        let grant = match self.random.below(100) {
            0..2 => *self.random.pick(&any()),
            2 => EventId([9; 32]),
            _ if grants.is_empty() => return None,
            _ => *self.random.pick(&grants),
        };
        let deed = if self.random.percent(6) { "Leave" } else { *self.random.pick(&DEEDS) };
        let log = Log { class: if deed == "Text" { Class::Content } else { Class::Control }, author, grant };
        let own: Vec<&Said> = view.iter().filter(|s| s.log() == log).collect();
        let begins = deed != "Text" && (own.is_empty() || self.random.percent(3));
        let what = match deed {
            _ if begins && !self.random.percent(3) => Some(Control::Enrol(certificate)),
            "Text" => None,
            deed => Some(self.payload(deed, &view, grant, user)?),
        };
        let prev = if begins && !self.random.percent(5) { None } else { self.prev(&own, &view, device) };
        Some(self.say(author, Some(grant), prev, what))
    }

    /// A random part of the room that holds what its events rest on.
    fn view(&mut self) -> Vec<Said> {
        let by_id: BTreeMap<EventId, &Said> = self.said.iter().map(|s| (s.id, s)).collect();
        let share = if self.random.percent(50) { 100 } else { self.random.below(100) };
        let mut todo: Vec<EventId> = Vec::new();
        for (n, said) in self.said.iter().enumerate() {
            if n == 0 || self.random.percent(share) {
                todo.push(said.id);
            }
        }
        let mut seen = BTreeSet::new();
        while let Some(said) = todo.pop().and_then(|id| by_id.get(&id)) {
            if seen.insert(said.id) {
                let invite = match &said.what {
                    Some(Control::Join(join)) => Some(join.invite),
                    _ => None,
                };
                todo.extend([said.prev, said.grant, invite].into_iter().flatten().filter(|id| by_id.contains_key(id)));
            }
        }
        self.said.iter().filter(|s| seen.contains(&s.id)).cloned().collect()
    }

    /// Mostly one's own; at times one that does not fit, which stands for a forged one.
    fn certificate(&mut self, user: usize, device: usize) -> DeviceCertificate {
        if self.random.percent(4) {
            let other = (user + 1 + self.random.below(self.users - 1)) % self.users;
            return certificate(other, self.random.below(DEVICES));
        }
        certificate(user, device % DEVICES)
    }

    fn prev(&mut self, own: &[&Said], view: &[Said], device: usize) -> Option<(u64, EventId)> {
        let place = |said: &Said| (said.seq, said.id);
        let forks = if device == self.stolen { 50 } else { 15 };
        let (seq, id) = match self.random.below(100) {
            0..2 => place(self.random.pick(view)),
            2 => return Some((1 + self.random.next() % 5, EventId([8; 32]))),
            _ if own.is_empty() => return None,
            _ if self.random.percent(forks) => place(self.random.pick::<&Said>(own)),
            _ => own.iter().map(|said| place(said)).max()?,
        };
        Some((if self.random.percent(2) { seq + 1 } else { seq }, id))
    }

    /// A plausible deed, mostly allowed; none when there is nothing to aim at.
    fn payload(&mut self, deed: &str, view: &[Said], grant: EventId, user: usize) -> Option<Control> {
        Some(match deed {
            "Grant" => {
                let user = certificate(self.random.below(self.users), 0).user();
                Control::Grant(Grant { user, rank: self.rank(view, grant), lifts: Vec::new() })
            }
            "OpenInvite" => Control::OpenInvite(OpenInvite { key: InviteKey([1; 32]), rank: self.rank(view, grant) }),
            "CloseInvite" => self.closing(view, user)?,
            "Set" => {
                let (key, value) = (*self.random.pick(&["name", "topic"]), self.random.next().to_string());
                let mut replaces = of_kind(view, |c| matches!(c, Control::Set(_)));
                replaces.retain(|_| self.random.percent(30));
                replaces.sort_unstable();
                Control::Set(Set { key: key.into(), value, replaces })
            }
            "Erase" => {
                let texts: Vec<&Said> = view.iter().filter(|s| s.is_text()).collect();
                if texts.is_empty() {
                    return None;
                }
                let text = *self.random.pick(&texts);
                let (mut log, mut seq) = (text.log(), text.seq);
                if self.random.percent(15) {
                    (log, seq) = (self.random.pick(view).log(), seq + self.random.next() % 2);
                }
                Control::Erase(Erase { author: log.author, grant: log.grant, seq, id: text.id })
            }
            _ => Control::Leave,
        })
    }

    fn closing(&mut self, view: &[Said], user: usize) -> Option<Control> {
        let own = |s: &&Said| (0..DEVICES).any(|d| certificate(user, d).device() == s.author);
        let invites: Vec<&Said> = view.iter().filter(|s| matches!(s.what, Some(Control::OpenInvite(_)))).collect();
        let mine: Vec<&Said> = invites.iter().copied().filter(own).collect();
        let from = if !mine.is_empty() && self.random.percent(60) { mine } else { invites };
        if from.is_empty() {
            return None;
        }
        let invite = self.random.pick(&from).id;
        let mut joins = of_kind(view, |c| matches!(c, Control::Join(j) if j.invite == invite));
        joins.retain(|_| self.random.percent(60));
        joins.sort_unstable();
        Some(Control::CloseInvite(CloseInvite { invite, joins }))
    }

    /// A rank to give: mostly weaker than what the grant seems to hold.
    fn rank(&mut self, view: &[Said], grant: EventId) -> Rank {
        let held = view.iter().find(|s| s.id == grant).map_or(0, |s| match &s.what {
            Some(Control::Grant(g)) => g.rank.number(),
            Some(Control::Join(_)) => 30,
            _ => 0,
        });
        let mut ranks = vec![1, 5, 5, 10, 20, 20, 30, 40, 40, 89, 90, 99];
        if !self.random.percent(15) {
            ranks.retain(|rank| *rank > held);
        }
        Rank::new(ranks.get(self.random.below(12) % ranks.len().max(1)).copied().unwrap_or(99)).unwrap()
    }
}

/// Whether an event is a grant of this user.
fn speaks_of(said: &Said, user: usize) -> bool {
    let user = certificate(user, 0).user();
    match &said.what {
        Some(Control::Genesis(g)) => g.founders.contains(&user),
        Some(Control::Grant(g)) => g.user == user,
        Some(Control::Join(j)) => j.certificate.user() == user,
        _ => false,
    }
}

fn of_kind(view: &[Said], kind: impl Fn(&Control) -> bool) -> Vec<EventId> {
    let is = |said: &&Said| matches!(&said.what, Some(control) if kind(control));
    view.iter().filter(is).map(|said| said.id).collect()
}

/// Each user's three devices, and the user key as the fourth.
static PEOPLE: LazyLock<Vec<[DeviceCertificate; DEVICES]>> = LazyLock::new(|| {
    let person = |n: u8| {
        let key = RecoveryPhrase::from_entropy([n + 50; 32]).user_key();
        std::array::from_fn(|d| match d {
            USER_KEY => key.certify(key.user().into(), "", 0),
            d => key.certify(DeviceKey::from_seed(&[n * 4 + d as u8 + 1; 32]).device(), "", 0),
        })
    };
    (0..USERS_MAX).map(person).collect()
});

fn certificate(user: usize, device: usize) -> DeviceCertificate {
    PEOPLE[user][device].clone()
}

/// `U1`, as the model calls a user and their key.
pub fn user_name(user: UserId) -> String {
    let n = PEOPLE.iter().position(|devices| devices[0].user() == user);
    format!("U{}", n.unwrap())
}

/// `U1.a`, as the model calls a device of U1.
pub fn device_name(device: DeviceId) -> String {
    let found = PEOPLE.iter().flatten().find(|certificate| certificate.device() == device).unwrap();
    let user = user_name(found.user());
    match PEOPLE.iter().flatten().position(|c| c.device() == device).unwrap() % DEVICES {
        USER_KEY => user,
        d => format!("{user}.{}", char::from(b'a' + d as u8)),
    }
}

pub fn hex(id: &EventId) -> String {
    id.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

const USERS_MAX: u8 = 6;
const DEVICES: usize = 4;
const USER_KEY: usize = 3;
const DEEDS: [&str; 15] = [
    "Grant",
    "Grant",
    "Grant",
    "Grant",
    "OpenInvite",
    "OpenInvite",
    "CloseInvite",
    "CloseInvite",
    "CloseInvite",
    "Set",
    "Set",
    "Erase",
    "Text",
    "Text",
    "Text",
];
