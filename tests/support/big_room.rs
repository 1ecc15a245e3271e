//! Large rooms for evaluation, written without signatures but those of certificates: who writes, and what it costs.

use tidings_protocol::control::cut::Cut;
use tidings_protocol::control::payload::{
    CloseInvite, Control, ControlEvent, Erase, Genesis, Grant, Join, OpenInvite, Revoke, RoomKind, Set,
};
use tidings_protocol::control::rank::Rank;
use tidings_protocol::control::set::ControlSet;
use tidings_protocol::event::Class;
use tidings_protocol::id::{EventId, InviteKey, RoomId, UserId};
use tidings_protocol::identity::{DeviceCertificate, DeviceKey, RecoveryPhrase, Signature};
use tidings_protocol::log::Log;

/// A room as a list of events, each after what it rests on.
#[derive(Clone)]
pub struct BigRoom {
    pub id: RoomId,
    pub events: Vec<ControlEvent>,
    ids: u64,
}

/// Where somebody writes. A copy of it forks the log.
#[derive(Clone)]
pub struct Writer {
    pub log: Log,
    pub seq: u64,
    pub prev: EventId,
    pub user: UserId,
}

impl BigRoom {
    /// A room founded by person 0, in which members may invite.
    pub fn found() -> (BigRoom, Writer) {
        let mut room = BigRoom { id: RoomId::ZERO, events: Vec::new(), ids: 0 };
        let certificate = certificate(0, 0);
        let (kind, founders) = (RoomKind::Public, vec![certificate.user()]);
        let genesis = Genesis { kind, founders, invite_rank: Rank::MEMBER, secret: [0; 32], certificate };
        let founder = room.root(None, Control::Genesis(genesis));
        room.id = founder.prev.into();
        (room, founder)
    }

    fn fresh_id(&mut self) -> EventId {
        self.ids += 1;
        let mut random = super::seeded::Seeded::new(self.ids);
        let mut id = [0; 32];
        id.chunks_exact_mut(8).for_each(|part| part.copy_from_slice(&random.next().to_be_bytes()));
        EventId(id)
    }

    /// The first event of a log.
    fn root(&mut self, grant: Option<EventId>, control: Control) -> Writer {
        let id = self.fresh_id();
        let Some((user, author)) = control.certificate().map(|c| (c.user(), c.device())) else { panic!("no root") };
        let log = Log { class: Class::Control, author, grant: grant.unwrap_or(id) };
        self.events.push(ControlEvent { id, log, seq: 1, prev: EventId::ZERO, control });
        Writer { log, seq: 1, prev: id, user }
    }

    pub fn enrol(&mut self, person: u32, device: u32, grant: EventId) -> Writer {
        self.root(Some(grant), Control::Enrol(certificate(person, device)))
    }

    pub fn enrol_as(&mut self, certificate: DeviceCertificate, grant: EventId) -> Writer {
        self.root(Some(grant), Control::Enrol(certificate))
    }

    /// Takes up an invite; what is asked of its key is checked elsewhere.
    pub fn join(&mut self, person: u32, invite: EventId) -> Writer {
        let certificate = certificate(person, 0);
        self.join_as(certificate, invite)
    }

    pub fn join_as(&mut self, certificate: DeviceCertificate, invite: EventId) -> Writer {
        self.root(None, Control::Join(Join { invite, certificate, proof: Signature([0; 64]) }))
    }

    pub fn say(&mut self, writer: &mut Writer, control: Control) -> EventId {
        let id = self.fresh_id();
        let (log, seq, prev) = (writer.log, writer.seq + 1, writer.prev);
        self.events.push(ControlEvent { id, log, seq, prev, control });
        (writer.seq, writer.prev) = (seq, id);
        id
    }

    pub fn grant(&mut self, writer: &mut Writer, user: UserId, rank: u8, lifts: Vec<EventId>) -> EventId {
        self.say(writer, Control::Grant(Grant { user, rank: Rank::new(rank).unwrap_or(Rank::KEEPER), lifts }))
    }

    pub fn invite(&mut self, writer: &mut Writer, rank: u8) -> EventId {
        let rank = Rank::new(rank).unwrap_or(Rank::KEEPER);
        self.say(writer, Control::OpenInvite(OpenInvite { key: InviteKey([1; 32]), rank }))
    }

    pub fn close(&mut self, writer: &mut Writer, invite: EventId, mut joins: Vec<EventId>) -> EventId {
        joins.sort_unstable();
        self.say(writer, Control::CloseInvite(CloseInvite { invite, joins }))
    }

    pub fn revoke(&mut self, writer: &mut Writer, user: UserId, mut cuts: Vec<Cut>) -> EventId {
        cuts.sort_unstable();
        self.say(writer, Control::Revoke(Revoke { user, cuts, joins: Vec::new() }))
    }

    pub fn set(&mut self, writer: &mut Writer, key: &str, replaces: Vec<EventId>) -> EventId {
        self.say(writer, Control::Set(Set { key: key.into(), value: String::new(), replaces }))
    }

    /// Erases a message of the writer's own content log.
    pub fn erase(&mut self, writer: &mut Writer, seq: u64) -> EventId {
        let (author, grant) = (writer.log.author, writer.log.grant);
        self.say(writer, Control::Erase(Erase { author, grant, seq, id: EventId([7; 32]) }))
    }

    /// A moderator or another with this rank, enrolled.
    pub fn holder(&mut self, founder: &mut Writer, person: u32, rank: u8) -> Writer {
        let grant = self.grant(founder, user(person), rank, Vec::new());
        self.enrol(person, 0, grant)
    }

    /// All of it, decided at once.
    pub fn settled(&self) -> ControlSet {
        let mut set = ControlSet::new(self.id);
        self.events.iter().for_each(|event| set.insert(event.clone()));
        set.settle();
        set
    }

    /// This many members by twenty invites, each with a second device and an erasure; some leave, some are removed, and
    /// one invite in four is closed. About three events for each member.
    pub fn of_members(members: u32) -> (BigRoom, Writer) {
        let (mut room, mut founder) = BigRoom::found();
        let mut moderators: Vec<Writer> = (1..=20).map(|n| room.holder(&mut founder, n, 20)).collect();
        let invites: Vec<EventId> = moderators.iter_mut().map(|m| room.invite(m, 60)).collect();
        let mut joins: Vec<Vec<EventId>> = vec![Vec::new(); invites.len()];
        for n in 0..members {
            let by = n as usize % invites.len();
            let mut member = room.join(100 + n, invites[by]);
            joins[by].push(member.prev);
            room.enrol(100 + n, 1, member.log.grant);
            let kept = Cut { log: member.log, seq: 1, ids: vec![member.prev] };
            match n % 100 {
                0..5 => _ = room.say(&mut member, Control::Leave),
                5..8 => _ = room.revoke(&mut moderators[by], member.user, vec![kept]),
                8..10 => _ = room.set(&mut moderators[by], "topic", Vec::new()),
                _ => _ = room.erase(&mut member, 1),
            }
        }
        for (by, joins) in joins.into_iter().enumerate().filter(|(by, _)| by % 4 == 0) {
            joins.chunks(1024).for_each(|joins| _ = room.close(&mut moderators[by], invites[by], joins.to_vec()));
        }
        (room, founder)
    }
}

/// The user of a number.
pub fn user(person: u32) -> UserId {
    phrase(person).user_key().user()
}

/// A certificate of a person's device; device 0 is their first.
pub fn certificate(person: u32, device: u32) -> DeviceCertificate {
    let mut seed = [9; 32];
    seed[..8].copy_from_slice(&(u64::from(person) << 32 | u64::from(device)).to_be_bytes());
    phrase(person).user_key().certify(DeviceKey::from_seed(&seed).device(), "", 0)
}

/// A certificate of a person's user key.
pub fn key_certificate(person: u32) -> DeviceCertificate {
    let key = phrase(person).user_key();
    key.certify(key.user().into(), "", 0)
}

fn phrase(person: u32) -> RecoveryPhrase {
    let mut entropy = [3; 32];
    entropy[..4].copy_from_slice(&person.to_be_bytes());
    RecoveryPhrase::from_entropy(entropy)
}
