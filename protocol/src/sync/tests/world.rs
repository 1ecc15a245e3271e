//! Rooms to sync: a founder's control log that grants every author, and the authors' content logs.

use crate::content::Content;
use crate::control::payload::{Control, Genesis, Grant, Join, RoomKind};
use crate::control::rank::Rank;
use crate::event::{Class, Draft, Hlc, Payload, VerifiedEvent};
use crate::id::{EventId, RoomId, UserId};
use crate::identity::{DeviceKey, InviteSecret, RecoveryPhrase};
use crate::log::Log;
use crate::range::sign_run;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An event as nodes share it in a test.
pub(super) type Event = Arc<VerifiedEvent>;

/// A room's events, before anybody holds any.
pub(super) struct World {
    pub(super) room: RoomId,
    pub(super) kind: RoomKind,
    pub(super) secret: [u8; 32],
    /// The founder's log: the genesis, then one grant an author.
    pub(super) control: Vec<Event>,
    /// Each author's log.
    pub(super) logs: Vec<Vec<Event>>,
    /// Which author has which grant.
    grants: BTreeMap<EventId, usize>,
    number: u8,
}

/// Which events of a log are signed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Signed {
    /// All, so that every one may be a tip.
    Each,
    /// The last, and every 256th.
    Run,
}

impl World {
    pub(super) fn new(number: u8, kind: RoomKind, authors: usize, each: usize, signed: Signed) -> World {
        let secret = if kind == RoomKind::Public { [0; 32] } else { [number; 32] };
        let control = control_log(number, kind, secret, authors);
        let room = control[0].room();
        let grants = control[1..].iter().zip(0..).map(|(grant, author)| (grant.id(), author)).collect();
        let mut world = World { room, kind, secret, control, logs: vec![Vec::new(); authors], grants, number };
        for author in 0..authors {
            world.logs[author] = world.branch(author, 1, EventId::ZERO, each, signed, 0);
        }
        world
    }

    /// What no link of the room carries.
    pub(super) fn inner(&self) -> [u8; 32] {
        crate::sync::inner_secret(self.room, &self.secret, &[self.number; 16])
    }

    pub(super) fn key(&self, author: usize) -> DeviceKey {
        device(self.number, author)
    }

    pub(super) fn founder(&self) -> DeviceKey {
        device(self.number, usize::from(u16::MAX))
    }

    pub(super) fn log(&self, author: usize) -> Log {
        Log { class: Class::Content, author: self.key(author).device(), grant: self.control[author + 1].id() }
    }

    /// Whose content this is; none for a control event.
    pub(super) fn author(&self, event: &VerifiedEvent) -> Option<usize> {
        self.grants.get(&event.header().grant).copied()
    }

    /// Events that go on in an author's log, or fork it; `twist` tells one branch from another.
    pub(super) fn branch(
        &self,
        author: usize,
        first_seq: u64,
        prev: EventId,
        count: usize,
        signed: Signed,
        twist: u64,
    ) -> Vec<Event> {
        let drafts = (first_seq..).take(count).map(|seq| self.draft(author, seq, twist)).collect::<Vec<_>>();
        let key = self.key(author);
        if signed == Signed::Run {
            return sign_run(&key, first_seq, prev, drafts).unwrap().into_iter().map(Arc::new).collect();
        }
        let mut prev = prev;
        let mut events = Vec::new();
        for (seq, mut draft) in (first_seq..).zip(drafts) {
            (draft.seq, draft.prev) = (seq, prev);
            let event = draft.sign(&key).unwrap();
            prev = event.id();
            events.push(Arc::new(event));
        }
        events
    }

    /// `count` more events on top of an author's log.
    pub(super) fn more(&self, author: usize, count: usize) -> Vec<Event> {
        let (seq, prev) = self.logs[author].last().map_or((0, EventId::ZERO), |e| (e.header().seq, e.id()));
        self.branch(author, seq + 1, prev, count, Signed::Each, 0)
    }

    /// One more event of the founder's log.
    pub(super) fn more_control(&self, count: usize) -> Vec<Event> {
        let last = self.control.last().unwrap();
        let drafts = (0..count).map(|n| grant_draft(self.room, self.control[0].id(), 60_000 + n)).collect();
        let run = sign_run(&self.founder(), last.header().seq + 1, last.id(), drafts).unwrap();
        run.into_iter().map(Arc::new).collect()
    }

    /// The device of somebody who was invited.
    pub(super) fn joiner(&self, n: usize) -> DeviceKey {
        device(self.number, 50_000 + n)
    }

    /// The join by which that device takes an invitation up.
    pub(super) fn join(&self, n: usize) -> Event {
        let user = RecoveryPhrase::from_entropy([n as u8; 32]).user_key();
        let certificate = user.certify(self.joiner(n).device(), "joiner", 1);
        let secret = InviteSecret::from_seed([self.number; 32]);
        let control = Control::Join(Join::new(self.room, EventId([5; 32]), certificate, &secret));
        let (seq, prev, grant, hlc) = (1, EventId::ZERO, EventId::ZERO, Hlc::at_ms(1_700_000_000_000));
        let payload = Payload { salt: [n as u8; 16], bytes: control.encode() };
        let (class, kind, parents) = (Class::Control, control.kind(), Vec::new());
        let draft = Draft { class, kind, room: self.room, grant, seq, prev, parents, hlc, payload };
        Arc::new(draft.sign(&self.joiner(n)).unwrap())
    }

    fn draft(&self, author: usize, seq: u64, twist: u64) -> Draft {
        let hash = blake3::hash(&[self.number as u64, author as u64, seq, twist].map(u64::to_be_bytes).concat());
        let mut salt = [0; 16];
        salt.copy_from_slice(&hash.as_bytes()[..16]);
        let words = ["the", "tide", "comes", "in", "and", "goes", "out", "again", "while", "we", "talk", "here"];
        let text: Vec<&str> = hash.as_bytes()[16..28].iter().map(|b| words[usize::from(*b) % words.len()]).collect();
        // All authors speak in turn, so that the newest of each are close to one another.
        let ms = 1_700_000_000_000 + seq * 1_000 + author as u64 % 1_000;
        Draft {
            class: Class::Content,
            kind: 1,
            room: self.room,
            grant: self.control[author + 1].id(),
            seq: 0,
            prev: EventId::ZERO,
            parents: Vec::new(),
            hlc: Hlc::at_ms(ms),
            payload: Payload { salt, bytes: Content::Text(text.join(" ").as_str().into()).encode() },
        }
    }
}

fn device(world: u8, author: usize) -> DeviceKey {
    DeviceKey::from_seed(blake3::hash(&[&[world][..], &author.to_be_bytes()].concat()).as_bytes())
}

fn control_log(number: u8, kind: RoomKind, secret: [u8; 32], authors: usize) -> Vec<Event> {
    let user = RecoveryPhrase::from_entropy([number; 32]).user_key();
    let key = device(number, usize::from(u16::MAX));
    let certificate = user.certify(key.device(), "founder", 1);
    let control =
        Control::Genesis(Genesis { kind, founders: vec![user.user()], invite_rank: Rank::ADMIN, secret, certificate });
    let genesis = Draft {
        class: Class::Control,
        kind: control.kind(),
        room: RoomId::ZERO,
        grant: EventId::ZERO,
        seq: 1,
        prev: EventId::ZERO,
        parents: Vec::new(),
        hlc: Hlc::at_ms(1),
        payload: Payload { salt: [number; 16], bytes: control.encode() },
    };
    let genesis = genesis.sign(&key).unwrap();
    let id = genesis.id();
    let drafts = (0..authors).map(|n| grant_draft(genesis.room(), id, n)).collect();
    let grants = sign_run(&key, 2, id, drafts).unwrap();
    std::iter::once(genesis).chain(grants).map(Arc::new).collect()
}

fn grant_draft(room: RoomId, genesis: EventId, n: usize) -> Draft {
    let mut user = [0; 32];
    user[..8].copy_from_slice(&(n as u64 + 1).to_be_bytes());
    let control = Control::Grant(Grant { user: UserId(user), rank: Rank::MEMBER, lifts: Vec::new() });
    let (class, kind) = (Class::Control, control.kind());
    let payload = Payload { salt: [n as u8; 16], bytes: control.encode() };
    let hlc = Hlc::at_ms(1_700_000_000_000);
    Draft { class, kind, room, grant: genesis, seq: 0, prev: EventId::ZERO, parents: Vec::new(), hlc, payload }
}
