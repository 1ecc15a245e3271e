//! What control events say. A kind that this version does not know makes the room read-only, not the event false.

use super::RULES;
use super::cut::Cut;
use super::kind;
use super::rank::Rank;
use crate::codec::{Canonical, CodecError, Reader, Writer, decode};
use crate::event::{Body, VerifiedEvent};
use crate::id::{DeviceId, EventId, InviteKey, RoomId, UserId};
use crate::identity::{BadSignature, DeviceCertificate, Domain, InviteSecret, Signature, verify};
use crate::limits::{
    CLOSE_JOINS_MAX, CONTROL_IDS_MAX, FOUNDERS_MAX, PAYLOAD_LEN_MAX, SETTING_KEY_LEN_MAX, SETTING_VALUE_LEN_MAX,
};
use crate::log::Log;

/// Who may see a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomKind {
    /// Anybody may read and join.
    Public,
    /// Only members, proven, may know anything of it. Not encrypted end to end.
    Members,
    /// End-to-end encrypted.
    Private,
}

impl RoomKind {
    /// The kind's name, as commands show it.
    pub fn name(self) -> &'static str {
        match self {
            RoomKind::Public => "public",
            RoomKind::Members => "members",
            RoomKind::Private => "private",
        }
    }
}

/// What begins a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// Who may see it.
    pub kind: RoomKind,
    /// Irrevocable owners, ascending.
    pub founders: Vec<UserId>,
    /// The weakest rank that may grant and invite.
    pub invite_rank: Rank,
    /// Keys tags, topics and digests of a room that is not public; zero in a public one.
    pub secret: [u8; 32],
    /// The creating device is a founder's.
    pub certificate: DeviceCertificate,
}

/// Gives a user a rank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// To whom.
    pub user: UserId,
    /// Strictly weaker than the issuer's.
    pub rank: Rank,
    /// Revokes that this overrides, ascending.
    pub lifts: Vec<EventId>,
}

/// Opens an invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenInvite {
    /// Whoever has the private half may join.
    pub key: InviteKey,
    /// The rank of who joins; strictly weaker than the issuer's.
    pub rank: Rank,
}

/// Takes an invitation up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The OpenInvite.
    pub invite: EventId,
    /// Ties the author to a user.
    pub certificate: DeviceCertificate,
    /// By the invite's key, over room, invite, user and device.
    pub proof: Signature,
}

impl Join {
    /// A join of `room` by the certificate's user and device.
    pub fn new(room: RoomId, invite: EventId, certificate: DeviceCertificate, secret: &InviteSecret) -> Self {
        let proof = secret.sign(&Join::claim(room, invite, &certificate));
        Join { invite, certificate, proof }
    }

    /// Checks that the holder of the invite's key let this user and device in.
    ///
    /// # Errors
    /// `BadSignature`.
    pub fn verify(&self, room: RoomId, key: InviteKey) -> Result<(), BadSignature> {
        verify(key.as_bytes(), Domain::Join, &Join::claim(room, self.invite, &self.certificate), &self.proof)
    }

    fn claim(room: RoomId, invite: EventId, certificate: &DeviceCertificate) -> Vec<u8> {
        let mut w = Writer::default();
        room.write(&mut w);
        invite.write(&mut w);
        certificate.user().write(&mut w);
        certificate.device().write(&mut w);
        w.into_bytes()
    }
}

/// From here only the joins listed, by this or another valid closing, count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseInvite {
    /// The OpenInvite.
    pub invite: EventId,
    /// The joins that stay, ascending.
    pub joins: Vec<EventId>,
}

/// Takes every weaker grant of a user away, held here or not, except those that lift it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoke {
    /// Whose.
    pub user: UserId,
    /// What stays of the user's logs, ascending by log; of one that is not named nothing does.
    pub cuts: Vec<Cut>,
    /// Joins that stay of the invites that the user opened: those are closed. Ascending.
    pub joins: Vec<EventId>,
}

/// Ends what a device may say for its user, by the user key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokeDevice {
    /// The device.
    pub device: DeviceId,
    /// What stays of its logs, ascending by log; of one that is not named nothing does.
    pub cuts: Vec<Cut>,
}

/// Sets a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// `name`, `topic`, ...
    pub key: String,
    /// Its value.
    pub value: String,
    /// Earlier Sets of the key that this one replaces, ascending.
    pub replaces: Vec<EventId>,
}

/// Hides one content event for good.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Erase {
    /// The content log's author.
    pub author: DeviceId,
    /// The content log's grant.
    pub grant: EventId,
    /// The event.
    pub seq: u64,
    /// The event.
    pub id: EventId,
}

/// A control payload, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// Begins a room.
    Genesis(Genesis),
    /// Gives a rank.
    Grant(Grant),
    /// Opens an invitation.
    OpenInvite(OpenInvite),
    /// Takes an invitation up.
    Join(Join),
    /// Begins a device's control log.
    Enrol(DeviceCertificate),
    /// Closes an invitation.
    CloseInvite(CloseInvite),
    /// Takes a user's grants away.
    Revoke(Revoke),
    /// Ends a device.
    RevokeDevice(RevokeDevice),
    /// Ends one's own log.
    Leave,
    /// Sets a setting.
    Set(Set),
    /// Hides a message.
    Erase(Erase),
    /// The room goes on in this one, under other rules or founders.
    Successor(RoomId),
    /// A kind of a later version.
    Unknown {
        /// Its number.
        kind: u16,
    },
}

impl Control {
    /// The number for a header's `kind`.
    pub fn kind(&self) -> u16 {
        match self {
            Control::Genesis(_) => kind::GENESIS,
            Control::Grant(_) => kind::GRANT,
            Control::OpenInvite(_) => kind::OPEN_INVITE,
            Control::Join(_) => kind::JOIN,
            Control::Enrol(_) => kind::ENROL,
            Control::CloseInvite(_) => kind::CLOSE_INVITE,
            Control::Revoke(_) => kind::REVOKE,
            Control::RevokeDevice(_) => kind::REVOKE_DEVICE,
            Control::Leave => kind::LEAVE,
            Control::Set(_) => kind::SET,
            Control::Erase(_) => kind::ERASE,
            Control::Successor(_) => kind::SUCCESSOR,
            Control::Unknown { kind } => *kind,
        }
    }

    /// The certificate of a kind that begins a log.
    pub fn certificate(&self) -> Option<&DeviceCertificate> {
        match self {
            Control::Genesis(g) => Some(&g.certificate),
            Control::Join(j) => Some(&j.certificate),
            Control::Enrol(c) => Some(c),
            _ => None,
        }
    }

    /// What stays of logs that this revokes, and nothing for other kinds.
    pub fn cuts(&self) -> &[Cut] {
        match self {
            Control::Revoke(r) => &r.cuts,
            Control::RevokeDevice(r) => &r.cuts,
            _ => &[],
        }
    }

    /// The payload's canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        match self {
            Control::Genesis(x) => x.write(&mut w),
            Control::Grant(x) => x.write(&mut w),
            Control::OpenInvite(x) => x.write(&mut w),
            Control::Join(x) => x.write(&mut w),
            Control::Enrol(x) => x.write(&mut w),
            Control::CloseInvite(x) => x.write(&mut w),
            Control::Revoke(x) => x.write(&mut w),
            Control::RevokeDevice(x) => x.write(&mut w),
            Control::Set(x) => x.write(&mut w),
            Control::Erase(x) => x.write(&mut w),
            Control::Successor(x) => x.write(&mut w),
            Control::Leave | Control::Unknown { .. } => {}
        }
        w.into_bytes()
    }

    /// Reads the payload of a control event.
    ///
    /// # Errors
    /// `CodecError` when the bytes are not canonically of that kind. An unknown kind is no error.
    pub fn decode(kind: u16, bytes: &[u8]) -> Result<Self, CodecError> {
        let max = PAYLOAD_LEN_MAX;
        match kind {
            // Later rules may lay it out otherwise: its first field tells.
            kind::GENESIS if Reader::new(bytes).u16()? != RULES => Ok(Control::Unknown { kind }),
            kind::GENESIS => decode(bytes, max).map(Control::Genesis),
            kind::GRANT => decode(bytes, max).map(Control::Grant),
            kind::OPEN_INVITE => decode(bytes, max).map(Control::OpenInvite),
            kind::JOIN => decode(bytes, max).map(Control::Join),
            kind::ENROL => decode(bytes, max).map(Control::Enrol),
            kind::CLOSE_INVITE => decode(bytes, max).map(Control::CloseInvite),
            kind::REVOKE => decode(bytes, max).map(Control::Revoke),
            kind::REVOKE_DEVICE => decode(bytes, max).map(Control::RevokeDevice),
            kind::LEAVE if bytes.is_empty() => Ok(Control::Leave),
            kind::LEAVE => Err(CodecError::Trailing(bytes.len())),
            kind::SET => decode(bytes, max).map(Control::Set),
            kind::ERASE => decode(bytes, max).map(Control::Erase),
            kind::SUCCESSOR => decode(bytes, max).map(Control::Successor),
            kind => Ok(Control::Unknown { kind }),
        }
    }
}

/// A control event as evaluation reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlEvent {
    /// Its id.
    pub id: EventId,
    /// Its log.
    pub log: Log,
    /// Its number in the log.
    pub seq: u64,
    /// Its predecessor; zero at seq 1.
    pub prev: EventId,
    /// What it says.
    pub control: Control,
}

impl ControlEvent {
    /// Reads a verified control event's payload.
    ///
    /// # Errors
    /// `CodecError` when the payload does not read, or was left out: control payloads are never erased.
    pub fn read(event: &VerifiedEvent) -> Result<Self, CodecError> {
        let Body::Kept(payload) = event.body() else { return Err(CodecError::Invalid("erased control payload")) };
        let header = event.header();
        let control = Control::decode(header.kind, &payload.bytes)?;
        Ok(ControlEvent { id: event.id(), log: event.log(), seq: header.seq, prev: header.prev, control })
    }

    /// The certificate by which this begins a log and ties it to a user. One further up says nothing of the log.
    pub fn root(&self) -> Option<&DeviceCertificate> {
        self.control.certificate().filter(|_| self.seq == 1)
    }
}

impl Canonical for RoomKind {
    fn write(&self, w: &mut Writer) {
        w.u8(match self {
            RoomKind::Public => 0,
            RoomKind::Members => 1,
            RoomKind::Private => 2,
        });
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        match r.u8()? {
            0 => Ok(RoomKind::Public),
            1 => Ok(RoomKind::Members),
            2 => Ok(RoomKind::Private),
            _ => Err(CodecError::Invalid("room kind")),
        }
    }
}

impl Canonical for Genesis {
    fn write(&self, w: &mut Writer) {
        w.u16(RULES);
        self.kind.write(w);
        w.list(&self.founders);
        self.invite_rank.write(w);
        w.array(&self.secret);
        self.certificate.write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        if r.u16()? != RULES {
            return Err(CodecError::Invalid("rules"));
        }
        Ok(Genesis {
            kind: RoomKind::read(r)?,
            founders: r.sorted(FOUNDERS_MAX)?,
            invite_rank: Rank::read(r)?,
            secret: r.array()?,
            certificate: DeviceCertificate::read(r)?,
        })
    }
}

impl Canonical for Grant {
    fn write(&self, w: &mut Writer) {
        self.user.write(w);
        self.rank.write(w);
        w.list(&self.lifts);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Grant { user: UserId::read(r)?, rank: Rank::read(r)?, lifts: r.sorted(CONTROL_IDS_MAX)? })
    }
}

impl Canonical for OpenInvite {
    fn write(&self, w: &mut Writer) {
        self.key.write(w);
        self.rank.write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(OpenInvite { key: InviteKey::read(r)?, rank: Rank::read(r)? })
    }
}

impl Canonical for Join {
    fn write(&self, w: &mut Writer) {
        self.invite.write(w);
        self.certificate.write(w);
        self.proof.write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Join { invite: EventId::read(r)?, certificate: DeviceCertificate::read(r)?, proof: Signature::read(r)? })
    }
}

impl Canonical for CloseInvite {
    fn write(&self, w: &mut Writer) {
        self.invite.write(w);
        w.list(&self.joins);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(CloseInvite { invite: EventId::read(r)?, joins: r.sorted(CLOSE_JOINS_MAX)? })
    }
}

impl Canonical for Revoke {
    fn write(&self, w: &mut Writer) {
        self.user.write(w);
        w.list(&self.cuts);
        w.list(&self.joins);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Revoke { user: UserId::read(r)?, cuts: Cut::read_list(r)?, joins: r.sorted(CLOSE_JOINS_MAX)? })
    }
}

impl Canonical for RevokeDevice {
    fn write(&self, w: &mut Writer) {
        self.device.write(w);
        w.list(&self.cuts);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(RevokeDevice { device: DeviceId::read(r)?, cuts: Cut::read_list(r)? })
    }
}

impl Canonical for Set {
    fn write(&self, w: &mut Writer) {
        w.text(&self.key);
        w.text(&self.value);
        w.list(&self.replaces);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Set {
            key: r.text(SETTING_KEY_LEN_MAX)?,
            value: r.text(SETTING_VALUE_LEN_MAX)?,
            replaces: r.sorted(CONTROL_IDS_MAX)?,
        })
    }
}

impl Canonical for Erase {
    fn write(&self, w: &mut Writer) {
        self.author.write(w);
        self.grant.write(w);
        w.u64(self.seq);
        self.id.write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Erase { author: DeviceId::read(r)?, grant: EventId::read(r)?, seq: r.u64()?, id: EventId::read(r)? })
    }
}
