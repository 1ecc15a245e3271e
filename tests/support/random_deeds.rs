//! What people do in a random room: `RandomRoom` in the making. After the model's own `random_room`.

use super::random_room::{
    DEVICES, ENROLLED, NEW_DEVICE, RandomRoom, Said, USER_KEY, USERS_MAX, certificate, place_of, user_id,
};
use super::seeded::Seeded;
use std::collections::{BTreeMap, BTreeSet};
use tidings_protocol::control::cut::Cut;
use tidings_protocol::control::payload::{
    CloseInvite, Control, Erase, Genesis, Grant, Join, OpenInvite, Revoke, RevokeDevice, RoomKind, Set,
};
use tidings_protocol::control::rank::Rank;
use tidings_protocol::event::Class;
use tidings_protocol::id::{EventId, InviteKey, RoomId};
use tidings_protocol::identity::{DeviceCertificate, Signature};
use tidings_protocol::log::Log;

/// A room in the making.
pub struct Making {
    pub random: Seeded,
    pub said: Vec<Said>,
    pub stolen: usize,
    seed: u64,
    wild: bool,
    users: usize,
    /// Those who do most of what is done.
    cast: Vec<usize>,
}

impl Making {
    /// A room that fifty devices and more have entered.
    pub fn begun(seed: u64, wild: bool) -> Making {
        let mut random = Seeded::new(seed);
        let users = 9 + random.below(USERS_MAX - 8);
        let stolen = random.below(users * DEVICES);
        let cast = (0..6 + random.below(8)).map(|_| random.below(users * DEVICES)).collect();
        let mut making = Making { random, said: Vec::new(), stolen, seed, wild, users, cast };
        making.found();
        making.come_in();
        making
    }

    /// The room as somebody goes on with it.
    pub fn after(room: &RandomRoom, random: Seeded) -> Making {
        let (said, stolen, wild) = (room.said.clone(), room.stolen, room.wild);
        Making { random, said, stolen, seed: room.seed ^ 1 << 39, wild, users: USERS_MAX, cast: vec![stolen] }
    }

    fn found(&mut self) {
        let mut founders = vec![user_id(0)];
        if self.random.percent(50) {
            founders.push(user_id(1));
        }
        founders.sort_unstable();
        let invite_rank = Rank::new(*self.random.pick(&[10, 30, 89])).unwrap();
        let (kind, certificate) = (RoomKind::Public, certificate(0, 0).clone());
        let genesis = Genesis { kind, founders, invite_rank, secret: [0; 32], certificate };
        self.say(0, None, None, Some(Control::Genesis(genesis)));
    }

    /// Everybody else comes in, by a grant or an invite of the founder's, with every device.
    fn come_in(&mut self) {
        let genesis = self.said[0].id;
        let mut last = (1, genesis);
        for user in 0..self.users {
            let rank = Rank::new(*self.random.pick(&[5, 10, 20, 20, 30, 40, 60, 89, 90, 99])).unwrap();
            let by_invite = self.random.percent(40);
            let control = match by_invite {
                true => Control::OpenInvite(OpenInvite { key: InviteKey([1; 32]), rank }),
                false => Control::Grant(Grant { user: user_id(user), rank, lifts: Vec::new() }),
            };
            let mut grant = genesis;
            if user > 0 {
                let opened = self.say(0, Some(genesis), Some(last), Some(control));
                last = (last.0 + 1, opened);
                let join =
                    |invite| Join { invite, certificate: certificate(user, 0).clone(), proof: Signature([0; 64]) };
                grant = match by_invite {
                    true => self.say(user * DEVICES, None, None, Some(Control::Join(join(opened)))),
                    false => opened,
                };
            }
            let enrolled = usize::from(user == 0 || by_invite)..ENROLLED;
            for device in enrolled {
                let enrol = Control::Enrol(certificate(user, device).clone());
                self.say(user * DEVICES + device, Some(grant), None, Some(enrol));
            }
        }
    }

    /// Writes an event down, and returns its id.
    pub fn say(
        &mut self,
        device: usize,
        grant: Option<EventId>,
        prev: Option<(u64, EventId)>,
        what: Option<Control>,
    ) -> EventId {
        let author = certificate(device / DEVICES, device % DEVICES).device();
        let mut id = [0; 32];
        let mut random = Seeded::new((self.seed << 20) + self.said.len() as u64 + 1);
        id.chunks_exact_mut(8).for_each(|part| part.copy_from_slice(&random.next().to_be_bytes()));
        let (seq, prev) = prev.map_or((1, None), |(seq, id)| (seq + 1, Some(id)));
        self.said.push(Said { id: EventId(id), author, grant, seq, prev, what });
        EventId(id)
    }

    /// What one device does next, seeing a part of what was said; at times nothing.
    pub fn go_on(&mut self) {
        let view = self.view();
        let device = match self.random.below(100) {
            0..15 => self.stolen,
            15..75 => self.cast[self.random.below(self.cast.len())],
            _ => self.random.below(self.users * DEVICES),
        };
        let user = device / DEVICES;
        if device % DEVICES == NEW_DEVICE {
            return;
        }
        let grants: Vec<EventId> = view.iter().filter(|s| speaks_of(s, user)).map(|s| s.id).collect();
        let invites: Vec<EventId> = of_kind(&view, |c| matches!(c, Control::OpenInvite(_)));
        if !invites.is_empty() && self.random.percent(if grants.is_empty() { 80 } else { 15 }) {
            let (invite, certificate) = (*self.random.pick(&invites), self.certificate(device));
            let join = Join { invite, certificate, proof: Signature([0; 64]) };
            self.say(device, None, None, Some(Control::Join(join)));
            return;
        }
        let grant = match self.random.below(100) {
            0..2 => self.random.pick(&view).id,
            2 => EventId([9; 32]),
            _ if grants.is_empty() => return,
            _ => *self.random.pick(&grants),
        };
        self.act(&view, device, grant);
    }

    /// One deed of a device under a grant.
    pub fn act(&mut self, view: &[Said], device: usize, grant: EventId) -> Option<EventId> {
        let deed = match self.random.below(100) {
            0..3 => "Leave",
            3..70 if device % DEVICES == USER_KEY => "RevokeDevice",
            3..6 if self.wild => *self.random.pick(&["Successor", "Later"]),
            _ => *self.random.pick(&DEEDS),
        };
        let class = if deed == "Text" { Class::Content } else { Class::Control };
        let log = Log { class, author: certificate(device / DEVICES, device % DEVICES).device(), grant };
        let own: Vec<&Said> = view.iter().filter(|s| s.log() == log).collect();
        let begins = deed != "Text" && (own.is_empty() || self.random.percent(3));
        let what = match deed {
            _ if begins && !self.random.percent(3) => Some(Control::Enrol(self.certificate(device))),
            "Text" => None,
            deed => Some(self.payload(deed, view, grant, device / DEVICES)?),
        };
        let prev = if begins && !self.random.percent(5) { None } else { self.prev(&own, view, device) };
        Some(self.say(device, Some(grant), prev, what))
    }

    /// One deed that is well formed: what is wrong with it is only who does it.
    pub fn act_honestly(&mut self, view: &[Said], device: usize, grant: EventId) {
        let (author, is_key) = (certificate(device / DEVICES, device % DEVICES), device % DEVICES == USER_KEY);
        let deed = match self.random.below(100) {
            0..10 => "Leave",
            10..30 => "Enrol",
            30..60 if is_key => "RevokeDevice",
            _ => *self.random.pick(&DEEDS),
        };
        let class = if deed == "Text" { Class::Content } else { Class::Control };
        let log = Log { class, author: author.device(), grant };
        let own: Vec<&Said> = view.iter().filter(|s| s.log() == log).collect();
        let begins = own.is_empty() || self.random.percent(20);
        let prev = if begins { None } else { Some(*self.random.pick(&own)).map(|s| (s.seq, s.id)) };
        let what = match deed {
            "Text" => None,
            "Enrol" => Some(Control::Enrol(author.clone())),
            _ if begins => Some(Control::Enrol(author.clone())),
            deed => self.payload(deed, view, grant, device / DEVICES).or(Some(Control::Leave)),
        };
        let prev = prev.filter(|_| !matches!(what, Some(Control::Enrol(_))));
        self.say(device, Some(grant), prev, what);
    }

    /// A random part of the room that holds what its events rest on.
    fn view(&mut self) -> Vec<Said> {
        let places: BTreeMap<EventId, usize> = self.said.iter().enumerate().map(|(n, s)| (s.id, n)).collect();
        let share = if self.random.percent(50) { 100 } else { self.random.below(100) };
        let mut seen = vec![false; self.said.len()];
        let mut todo: Vec<usize> = (0..seen.len()).filter(|n| *n == 0 || self.random.percent(share)).collect();
        while let Some(n) = todo.pop() {
            if !std::mem::replace(&mut seen[n], true) {
                let said = &self.said[n];
                let below = [said.prev, said.grant, said.invite()].into_iter().flatten();
                todo.extend(below.filter_map(|id| places.get(&id)));
            }
        }
        self.said.iter().zip(seen).filter(|(_, seen)| *seen).map(|(said, _)| said.clone()).collect()
    }

    /// Mostly one's own; at times one that does not fit, which stands for a forged one.
    fn certificate(&mut self, device: usize) -> DeviceCertificate {
        if self.random.percent(3) {
            let other = (device / DEVICES + 1 + self.random.below(self.users - 1)) % self.users;
            return certificate(other, self.random.below(DEVICES)).clone();
        }
        certificate(device / DEVICES, device % DEVICES).clone()
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
                let mut lifts = of_kind(view, |c| matches!(c, Control::Revoke(_)));
                lifts.retain(|_| self.random.percent(60));
                lifts.sort_unstable();
                Control::Grant(Grant { user: user_id(self.target()), rank: self.rank(view, grant), lifts })
            }
            "OpenInvite" => Control::OpenInvite(OpenInvite { key: InviteKey([1; 32]), rank: self.rank(view, grant) }),
            "CloseInvite" => self.closing(view, user)?,
            "Revoke" => {
                let target = self.target();
                let mut joins = of_kind(view, |c| matches!(c, Control::Join(_)));
                joins.retain(|_| self.random.percent(30));
                joins.sort_unstable();
                let cuts = self.cuts(view, 80, |s| place_of(s.author).0 == target);
                Control::Revoke(Revoke { user: user_id(target), cuts, joins })
            }
            "RevokeDevice" => {
                let owner = if self.random.percent(85) { user } else { self.random.below(self.users) };
                let cast: Vec<usize> =
                    self.cast.iter().filter(|d| **d / DEVICES == owner).map(|d| d % DEVICES).collect();
                let device = match self.random.percent(50) && !cast.is_empty() {
                    true => *self.random.pick(&cast),
                    false => self.random.below(DEVICES),
                };
                let (device, share) = (certificate(owner, device).device(), *self.random.pick(&[30, 90]));
                let cuts = self.cuts(view, share, |s| s.author == device);
                Control::RevokeDevice(RevokeDevice { device, cuts })
            }
            "Set" => {
                let (key, value) = (*self.random.pick(&["name", "topic"]), self.random.next().to_string());
                let mut replaces = of_kind(view, |c| matches!(c, Control::Set(_)));
                replaces.retain(|_| self.random.percent(30));
                replaces.sort_unstable();
                Control::Set(Set { key: key.into(), value, replaces })
            }
            "Erase" => self.erase(view)?,
            "Successor" => Control::Successor(RoomId([self.random.below(3) as u8 + 1; 32])),
            "Later" => Control::Unknown { kind: 900 },
            _ => Control::Leave,
        })
    }

    /// Whom a deed is about: mostly one of the cast.
    fn target(&mut self) -> usize {
        if self.random.percent(75) { *self.random.pick(&self.cast) / DEVICES } else { self.random.below(self.users) }
    }

    fn erase(&mut self, view: &[Said]) -> Option<Control> {
        let texts: Vec<&Said> = view.iter().filter(|s| s.is_text()).collect();
        if texts.is_empty() {
            return None;
        }
        let text = *self.random.pick(&texts);
        let (mut log, mut seq) = (text.log(), text.seq);
        if self.random.percent(15) {
            (log, seq) = (self.random.pick(view).log(), seq + self.random.next() % 2);
        }
        Some(Control::Erase(Erase { author: log.author, grant: log.grant, seq, id: text.id }))
    }

    fn closing(&mut self, view: &[Said], user: usize) -> Option<Control> {
        let own = |s: &&Said| place_of(s.author).0 == user;
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

    /// Cuts of most logs of some authors as somebody sees them, and at times of a log that nobody has.
    fn cuts(&mut self, view: &[Said], share: usize, of: impl Fn(&Said) -> bool) -> Vec<Cut> {
        let by_id: BTreeMap<EventId, &Said> = view.iter().map(|s| (s.id, s)).collect();
        let mut logs: BTreeMap<Log, Vec<&Said>> = BTreeMap::new();
        for said in view.iter().filter(|s| of(s) && is_sound(s, &by_id)) {
            logs.entry(said.log()).or_default().push(said);
        }
        let mut cuts = Vec::new();
        for (log, own) in logs {
            if self.random.percent(share) {
                cuts.push(self.cut(log, &own, &by_id, view));
            }
        }
        if self.random.percent(10) {
            let log = Log { grant: EventId([200; 32]), ..view.iter().find(|s| of(s)).unwrap_or(&view[0]).log() };
            cuts.push(Cut { log, seq: 3, ids: vec![EventId([201; 32])] });
        }
        cuts.sort_unstable();
        cuts
    }

    /// Up to two tips and ancestors of them at growing distances, at times wrong or of events that nobody has.
    fn cut(&mut self, log: Log, own: &[&Said], by_id: &BTreeMap<EventId, &Said>, view: &[Said]) -> Cut {
        let highest = own.iter().max_by_key(|s| (s.seq, s.id)).copied();
        let mut tips: Vec<&Said> = highest.into_iter().collect();
        if self.random.percent(40) {
            tips = (0..1 + self.random.below(3) / 2).map(|_| *self.random.pick(own)).collect();
        }
        let mut ids = BTreeSet::new();
        let seq = tips.iter().map(|tip| tip.seq).max().unwrap_or(0);
        for tip in tips {
            let (mut step, mut at) = (1, Some(tip));
            while let Some(said) = at.filter(|_| ids.len() < 8) {
                ids.insert(said.id);
                for _ in 0..step {
                    at = at.and_then(|said| by_id.get(&said.prev?).copied());
                }
                step *= 2;
            }
        }
        if self.random.percent(10) {
            ids.pop_first();
            ids.insert(EventId([202; 32]));
        }
        if self.wild && self.random.percent(10) {
            ids.insert(self.random.pick(view).id);
        }
        let seq = match self.random.below(10) {
            0 => seq.saturating_sub(1),
            1 => seq + 1,
            _ => seq,
        };
        Cut { log, seq, ids: ids.into_iter().collect() }
    }

    /// A rank to give: mostly weaker than what the grant seems to hold.
    fn rank(&mut self, view: &[Said], grant: EventId) -> Rank {
        let offer = |s: &Said| match &s.what {
            Some(Control::Grant(g)) => g.rank.number(),
            Some(Control::OpenInvite(o)) => o.rank.number(),
            _ => 0,
        };
        let find = |id: EventId| view.iter().find(|s| s.id == id);
        let held = find(grant).map_or(0, |s| s.invite().and_then(find).map_or(offer(s), offer));
        let mut ranks = vec![1, 5, 5, 10, 20, 20, 30, 40, 40, 89, 90, 99];
        if !self.random.percent(5) {
            ranks.retain(|rank| *rank > held);
        }
        Rank::new(ranks.get(self.random.below(12) % ranks.len().max(1)).copied().unwrap_or(99)).unwrap()
    }
}

/// Whether an event and all below it stand one above the other in their log.
pub fn is_sound(said: &Said, by_id: &BTreeMap<EventId, &Said>) -> bool {
    match said.prev {
        None => said.seq == 1,
        Some(prev) => by_id
            .get(&prev)
            .is_some_and(|prev| prev.log() == said.log() && prev.seq + 1 == said.seq && is_sound(prev, by_id)),
    }
}

/// Whether an event is a grant of this user.
pub fn speaks_of(said: &Said, user: usize) -> bool {
    let user = user_id(user);
    match &said.what {
        Some(Control::Genesis(g)) => g.founders.contains(&user),
        Some(Control::Grant(g)) => g.user == user,
        Some(Control::Join(j)) => j.certificate.user() == user,
        _ => false,
    }
}

pub fn of_kind(view: &[Said], kind: impl Fn(&Control) -> bool) -> Vec<EventId> {
    let is = |said: &&Said| matches!(&said.what, Some(control) if kind(control));
    view.iter().filter(is).map(|said| said.id).collect()
}

const DEEDS: [&str; 16] = [
    "Grant",
    "Grant",
    "Grant",
    "Grant",
    "OpenInvite",
    "OpenInvite",
    "CloseInvite",
    "CloseInvite",
    "Revoke",
    "Revoke",
    "Revoke",
    "Set",
    "Erase",
    "Text",
    "Text",
    "Text",
];
