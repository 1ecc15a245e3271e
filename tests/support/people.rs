//! People and what they write: keys from fixed seeds, and a pen for each log that knows its next place. Everything is
//! made through the public API of the protocol and is the same in every run.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use tidings_protocol::codec::decode;
use tidings_protocol::content::{Content, Imported, Text};
use tidings_protocol::control::payload::{
    CloseInvite, Control, Erase, Genesis, Grant, Join, OpenInvite, RoomKind, Set,
};
use tidings_protocol::control::rank::Rank;
use tidings_protocol::event::{Class, Draft, Hlc, Payload, VerifiedEvent};
use tidings_protocol::id::{DeviceId, EventId, RoomId, UserId};
use tidings_protocol::identity::{DeviceCertificate, DeviceKey, InviteSecret, RecoveryPhrase};
use tidings_protocol::log::{Log, Tip};
use tidings_protocol::range::sign_run;

/// Somebody at one of their devices.
#[derive(Clone)]
pub struct Person {
    device: Arc<DeviceKey>,
    certificate: DeviceCertificate,
    seed: u8,
    device_seed: [u8; 32],
}

impl Person {
    /// The person of a number, at their first device.
    pub fn new(number: u8) -> Person {
        Person::at(number, 0)
    }

    /// The same person at another device.
    pub fn at(number: u8, device: u8) -> Person {
        let user = RecoveryPhrase::from_entropy([number; 32]).user_key();
        let device_seed: [u8; 32] = std::array::from_fn(|n| if n == 0 { device } else { number ^ 0x80 });
        let device = DeviceKey::from_seed(&device_seed);
        let certificate = user.certify(device.device(), "device", START_MS);
        Person { device: Arc::new(device), certificate, seed: number, device_seed }
    }

    /// The same person at their user key, whose own log revokes devices.
    pub fn at_key(number: u8) -> Person {
        let user = RecoveryPhrase::from_entropy([number; 32]).user_key();
        let certificate = user.certify(user.user().into(), "", START_MS);
        Person { device: Arc::new(user.own_log_key()), certificate, seed: number, device_seed: [0; 32] }
    }

    /// Whoever has this home.
    pub fn of_home(home: &Path) -> Person {
        let device_seed: [u8; 32] = fs::read(home.join("device.key")).unwrap().try_into().unwrap();
        let certificate = decode(&fs::read(home.join("device.cert")).unwrap(), 4096).unwrap();
        Person { device: Arc::new(DeviceKey::from_seed(&device_seed)), certificate, seed: 0, device_seed }
    }

    pub fn user(&self) -> UserId {
        self.certificate.user()
    }

    pub fn device(&self) -> DeviceId {
        self.device.device()
    }

    /// The private key of the device, for what its `DeviceKey` does not sign.
    pub fn device_seed(&self) -> [u8; 32] {
        self.device_seed
    }

    pub fn certificate(&self) -> &DeviceCertificate {
        &self.certificate
    }

    /// Founds a public room in which moderators may invite.
    pub fn found(&self) -> (VerifiedEvent, Pen) {
        self.found_with(Rank::MODERATOR, &[])
    }

    /// Founds a public room at a time of its own, so that it is another one.
    pub fn found_at(&self, ms: u64) -> (VerifiedEvent, Pen) {
        let (founders, certificate) = (vec![self.user()], self.certificate.clone());
        let (kind, invite_rank) = (RoomKind::Public, Rank::MODERATOR);
        let genesis = Control::Genesis(Genesis { kind, founders, invite_rank, secret: [0; 32], certificate });
        let mut pen = self.pen_of(Class::Control, RoomId::ZERO, EventId::ZERO);
        pen.hlc = Hlc::at_ms(ms);
        let root = pen.rule(genesis);
        (pen.room, pen.grant) = (root.room(), root.log().grant);
        (root, pen)
    }

    /// Founds a public room, with others if wanted.
    pub fn found_with(&self, invite_rank: Rank, others: &[UserId]) -> (VerifiedEvent, Pen) {
        let mut founders = [others, &[self.user()]].concat();
        founders.sort_unstable();
        let certificate = self.certificate.clone();
        let genesis = Genesis { kind: RoomKind::Public, founders, invite_rank, secret: [0; 32], certificate };
        self.root(RoomId::ZERO, EventId::ZERO, Control::Genesis(genesis))
    }

    /// Takes an invitation up.
    pub fn join(&self, room: RoomId, invite: EventId, secret: &InviteSecret) -> (VerifiedEvent, Pen) {
        let join = Join::new(room, invite, self.certificate.clone(), secret);
        self.root(room, EventId::ZERO, Control::Join(join))
    }

    /// Begins this device's control log under a grant.
    pub fn enrol(&self, room: RoomId, grant: EventId) -> (VerifiedEvent, Pen) {
        self.root(room, grant, Control::Enrol(self.certificate.clone()))
    }

    /// The pen for this device's content under a grant.
    pub fn pen(&self, room: RoomId, grant: EventId) -> Pen {
        self.pen_of(Class::Content, room, grant)
    }

    /// The first event of a log, and the pen that goes on with it.
    pub fn root(&self, room: RoomId, grant: EventId, control: Control) -> (VerifiedEvent, Pen) {
        let mut pen = self.pen_of(Class::Control, room, grant);
        let root = pen.rule(control);
        pen.room = root.room();
        pen.grant = root.log().grant;
        (root, pen)
    }

    /// The pen for any log of this device.
    pub fn pen_of(&self, class: Class, room: RoomId, grant: EventId) -> Pen {
        let salt = u64::from(self.seed) << 48 | u64::from(class.number()) << 40;
        let (key, hlc) = (self.device.clone(), Hlc::at_ms(START_MS));
        Pen { key, class, room, grant, seq: 0, prev: EventId::ZERO, parents: Vec::new(), hlc, salt }
    }
}

/// A log that a device writes. A copy of it forks the log.
#[derive(Clone)]
pub struct Pen {
    key: Arc<DeviceKey>,
    class: Class,
    pub room: RoomId,
    pub grant: EventId,
    /// The last event's number.
    pub seq: u64,
    /// The last event.
    pub prev: EventId,
    /// What the next events cite.
    pub parents: Vec<EventId>,
    /// The last event's clock: each event is a second later, unless this is changed.
    pub hlc: Hlc,
    salt: u64,
}

impl Pen {
    pub fn log(&self) -> Log {
        Log { class: self.class, author: self.key.device(), grant: self.grant }
    }

    pub fn tip(&self) -> Tip {
        Tip { seq: self.seq, id: self.prev }
    }

    /// Another pen at the same place, whose events differ even where they say the same.
    pub fn fork(&self) -> Pen {
        Pen { salt: self.salt ^ 0xffff_0000 ^ (self.seq << 20), ..self.clone() }
    }

    /// Another pen that goes on from `event`.
    pub fn fork_at(&self, event: &VerifiedEvent) -> Pen {
        let mut pen = self.fork();
        (pen.seq, pen.prev) = (event.header().seq, event.id());
        pen
    }

    pub fn say(&mut self, content: Content) -> VerifiedEvent {
        let draft = self.draft(content.kind(), content.encode());
        self.sign(draft)
    }

    pub fn rule(&mut self, control: Control) -> VerifiedEvent {
        let draft = self.draft(control.kind(), control.encode());
        self.sign(draft)
    }

    /// An event of any kind.
    pub fn write(&mut self, kind: u16, bytes: &[u8]) -> VerifiedEvent {
        let draft = self.draft(kind, bytes.to_vec());
        self.sign(draft)
    }

    /// Texts that one signature vouches for, as an import or a bulk sync has them.
    pub fn run(&mut self, count: usize) -> Vec<VerifiedEvent> {
        let (seq, prev) = (self.seq, self.prev);
        let mut drafts = Vec::new();
        for n in 0..count {
            let content = Content::Text(format!("message {n}").as_str().into());
            drafts.push(self.draft(content.kind(), content.encode()));
        }
        let events = sign_run(&self.key, seq + 1, prev, drafts).unwrap();
        let last = events.last().unwrap();
        (self.seq, self.prev) = (last.header().seq, last.id());
        events
    }

    /// The next event, not signed yet; the pen has moved on only in time.
    pub fn draft(&mut self, kind: u16, bytes: Vec<u8>) -> Draft {
        self.hlc = self.hlc.tick(self.hlc.ms() + 1000);
        self.salt += 1;
        let mut salt = [0; 16];
        salt[..8].copy_from_slice(&self.salt.to_be_bytes());
        Draft {
            class: self.class,
            kind,
            room: self.room,
            grant: self.grant,
            seq: self.seq + 1,
            prev: self.prev,
            parents: self.parents.clone(),
            hlc: self.hlc,
            payload: Payload { salt, bytes },
        }
    }

    /// Signs a draft, whatever place it claims, and goes on from it.
    pub fn sign(&mut self, draft: Draft) -> VerifiedEvent {
        let event = draft.sign(&self.key).unwrap();
        (self.seq, self.prev) = (event.header().seq, event.id());
        event
    }
}

/// What members do.
impl Pen {
    pub fn set(&mut self, key: &str, value: &str, replaces: &[&VerifiedEvent]) -> VerifiedEvent {
        self.rule(Control::Set(Set { key: key.into(), value: value.into(), replaces: ids(replaces) }))
    }

    pub fn grant(&mut self, user: UserId, rank: u8) -> VerifiedEvent {
        self.rule(Control::Grant(Grant { user, rank: Rank::new(rank).unwrap(), lifts: Vec::new() }))
    }

    pub fn open_invite(&mut self, secret: &InviteSecret, rank: u8) -> VerifiedEvent {
        self.rule(Control::OpenInvite(OpenInvite { key: secret.key(), rank: Rank::new(rank).unwrap() }))
    }

    pub fn close_invite(&mut self, invite: EventId, joins: &[&VerifiedEvent]) -> VerifiedEvent {
        self.rule(Control::CloseInvite(CloseInvite { invite, joins: ids(joins) }))
    }

    pub fn leave(&mut self) -> VerifiedEvent {
        self.rule(Control::Leave)
    }

    pub fn erase(&mut self, target: &VerifiedEvent) -> VerifiedEvent {
        self.rule(Control::Erase(erase_of(target)))
    }

    pub fn text(&mut self, text: &str) -> VerifiedEvent {
        self.say(Content::Text(text.into()))
    }

    pub fn reply(&mut self, target: EventId, text: &str) -> VerifiedEvent {
        self.say(Content::Reply { target, root: target, text: text.into() })
    }

    pub fn edit(&mut self, target: EventId, text: &str) -> VerifiedEvent {
        self.say(Content::Edit { target, text: Text::from(text) })
    }

    pub fn reaction(&mut self, target: EventId, emoji: &str) -> VerifiedEvent {
        self.say(Content::Reaction { target, emoji: emoji.into(), removed: false })
    }

    pub fn imported(&mut self, record: &Imported) -> VerifiedEvent {
        self.say(Content::Imported(record.clone()))
    }

    pub fn profile(&mut self, name: &str) -> VerifiedEvent {
        self.say(Content::Profile { name: name.into(), home: None })
    }
}

/// What an Erase says of its target.
pub fn erase_of(target: &VerifiedEvent) -> Erase {
    let log = target.log();
    Erase { author: log.author, grant: log.grant, seq: target.header().seq, id: target.id() }
}

/// The key of an invite.
pub fn invite_secret(number: u8) -> InviteSecret {
    InviteSecret::from_seed([number; 32])
}

fn ids(events: &[&VerifiedEvent]) -> Vec<EventId> {
    let mut ids: Vec<EventId> = events.iter().map(|e| e.id()).collect();
    ids.sort_unstable();
    ids
}

/// When everything begins, Unix milliseconds.
pub const START_MS: u64 = 1_700_000_000_000;
