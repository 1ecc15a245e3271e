//! The rooms of a conversation: who is in them, all that was said, and who is not let in.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use tidings_protocol::beacon::{self, Signal, SignedBeacon};
use tidings_protocol::codec::encode;
use tidings_protocol::content::Content;
use tidings_protocol::control::payload::{Control, Genesis, Grant, Join, RoomKind};
use tidings_protocol::control::rank::Rank;
use tidings_protocol::event::{Class, Draft, Hlc, Payload, VerifiedEvent};
use tidings_protocol::id::{DeviceId, EventId, RoomId, UserId};
use tidings_protocol::identity::{DeviceKey, InviteSecret, RecoveryPhrase};
use tidings_protocol::log::Tip;
use tidings_protocol::range::sign_run;
use tidings_protocol::sync::{Credential, Offer, inner_secret};

/// A room of which everything is known.
pub struct World {
    pub room: RoomId,
    pub kind: RoomKind,
    secret: [u8; 32],
    number: u8,
    /// All events, each behind what it names.
    pub events: Vec<VerifiedEvent>,
    pub by_id: BTreeMap<EventId, usize>,
    pub beacons: Vec<SignedBeacon>,
    /// The Join of who is not in the room.
    pub join: Vec<u8>,
}

/// A public room, and one of members.
pub static WORLDS: LazyLock<[World; 2]> =
    LazyLock::new(|| [World::new(1, RoomKind::Public), World::new(2, RoomKind::Members)]);

/// What the peers are called, by side.
pub fn peer(side: usize) -> Vec<u8> {
    vec![side as u8; 38]
}

impl World {
    fn new(number: u8, kind: RoomKind) -> World {
        let secret = if kind == RoomKind::Public { [0; 32] } else { [number; 32] };
        let (founder, user) = (key(number, 9), RecoveryPhrase::from_entropy([number; 32]).user_key());
        let certificate = user.certify(founder.device(), "founder", 1);
        let founders = vec![user.user()];
        let genesis = Control::Genesis(Genesis { kind, founders, invite_rank: Rank::ADMIN, secret, certificate });
        let genesis = draft(RoomId::ZERO, EventId::ZERO, 0, &genesis).sign(&founder).unwrap();
        let (room, begin) = (genesis.room(), genesis.id());
        let grant = |n: u8| Control::Grant(Grant { user: UserId([n + 1; 32]), rank: Rank::MEMBER, lifts: Vec::new() });
        let grants = (0..AUTHORS).map(|n| draft(room, begin, n, &grant(n))).collect();
        let grants = sign_run(&founder, 2, begin, grants).unwrap();
        let mut world = World {
            room,
            kind,
            secret,
            number,
            events: Vec::new(),
            by_id: BTreeMap::new(),
            beacons: Vec::new(),
            join: Vec::new(),
        };
        let grants_ids: Vec<EventId> = grants.iter().map(VerifiedEvent::id).collect();
        world.add([genesis].into_iter().chain(grants));
        for (author, grant) in (0..AUTHORS).zip(&grants_ids) {
            world.log(author, *grant);
        }
        for author in 0..AUTHORS {
            let signals = [Signal::Read { event: begin, at: Hlc::at_ms(NOW_MS) }, Signal::Addresses(Vec::new())];
            let say =
                |signal| beacon::Draft { room, hlc: Hlc::at_ms(NOW_MS), signal }.sign(&world.key(author)).unwrap();
            let said: Vec<SignedBeacon> = signals.into_iter().map(|signal| say(signal).signed().clone()).collect();
            world.beacons.extend(said);
        }
        world.join = encode(&world.joining());
        world
    }

    /// An author's log; the second author's forks, and the first one's is longer than a slice.
    fn log(&mut self, author: u8, grant: EventId) {
        let count = if author == 0 { 80 } else { 12 };
        let draft = |n: u8| self.says(author, grant, n);
        let run = self.branch(author, 1, EventId::ZERO, (0..count).map(draft).collect());
        let (foot, fork) = (run[4].id(), (100..103).map(|n| self.says(author, grant, n)).collect());
        let fork = if author == 1 { self.branch(author, 6, foot, fork) } else { Vec::new() };
        self.add(run.into_iter().chain(fork));
    }

    /// Each is signed, as what is said one by one is: so each may be a head.
    fn branch(&self, author: u8, first_seq: u64, mut prev: EventId, drafts: Vec<Draft>) -> Vec<VerifiedEvent> {
        let mut events = Vec::new();
        for (seq, draft) in (first_seq..).zip(drafts) {
            let event = Draft { seq, prev, ..draft }.sign(&self.key(author)).unwrap();
            prev = event.id();
            events.push(event);
        }
        events
    }

    fn says(&self, author: u8, grant: EventId, n: u8) -> Draft {
        let text = Content::Text(format!("{author} says {n}").as_str().into());
        let payload = Payload { salt: [author ^ n; 16], bytes: text.encode() };
        let hlc = Hlc::at_ms(NOW_MS - 100_000 + u64::from(n) * 1000 + u64::from(author));
        let (room, seq, prev, parents) = (self.room, 0, EventId::ZERO, Vec::new());
        Draft { class: Class::Content, kind: text.kind(), room, grant, seq, prev, parents, hlc, payload }
    }

    fn joining(&self) -> tidings_protocol::event::SignedEvent {
        let user = RecoveryPhrase::from_entropy([77; 32]).user_key();
        let certificate = user.certify(self.stranger().device(), "joiner", 1);
        let join = Join::new(self.room, EventId([5; 32]), certificate, &InviteSecret::from_seed([self.number; 32]));
        let draft = draft(self.room, EventId::ZERO, 1, &Control::Join(join));
        draft.sign(&self.stranger()).unwrap().to_signed().unwrap()
    }

    fn add(&mut self, events: impl Iterator<Item = VerifiedEvent>) {
        for event in events {
            self.by_id.insert(event.id(), self.events.len());
            self.events.push(event);
        }
    }

    pub fn find(&self, id: EventId) -> Option<&VerifiedEvent> {
        self.by_id.get(&id).map(|at| &self.events[*at])
    }

    pub fn tip(&self, n: usize) -> Tip {
        let event = &self.events[n % self.events.len()];
        Tip { seq: event.header().seq, id: event.id() }
    }

    pub fn key(&self, author: u8) -> DeviceKey {
        key(self.number, author)
    }

    /// Devices of members.
    pub fn members(&self) -> impl Iterator<Item = DeviceId> + '_ {
        (0..AUTHORS).map(|author| self.key(author).device())
    }

    fn stranger(&self) -> DeviceKey {
        key(self.number, 10)
    }

    /// What a side offers: as a member, or as somebody who has a link, and holds nothing yet.
    pub fn offer(&self, side: usize, who: Who) -> Offer {
        let is_open = self.kind == RoomKind::Public;
        let key = if who == Who::Stranger { self.stranger() } else { self.key(side as u8) };
        let joining = !is_open && who != Who::Member;
        Offer {
            room: self.room,
            kind: self.kind,
            secret: self.secret,
            inner: (!is_open && !joining).then(|| inner_secret(self.room, &self.secret, &[0; 16])),
            credential: (!is_open).then(|| Credential::issue(&key, self.room, &peer(side), NOW_MS + 3_600_000)),
            introduction: if who == Who::Stranger { vec![self.join.clone()] } else { Vec::new() },
            joining,
        }
    }
}

/// As whom a side takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A member with some of the history.
    Member,
    /// A member's device that holds nothing.
    Newcomer,
    /// Nobody of the room's.
    Stranger,
}

fn draft(room: RoomId, grant: EventId, n: u8, control: &Control) -> Draft {
    let payload = Payload { salt: [n; 16], bytes: control.encode() };
    let (prev, parents, hlc) = (EventId::ZERO, Vec::new(), Hlc::at_ms(NOW_MS - 200_000 + u64::from(n)));
    Draft { class: Class::Control, kind: control.kind(), room, grant, seq: 1, prev, parents, hlc, payload }
}

fn key(world: u8, author: u8) -> DeviceKey {
    DeviceKey::from_seed(blake3::hash(&[world, author]).as_bytes())
}

pub const NOW_MS: u64 = 1_700_000_000_000;
const AUTHORS: u8 = 4;
