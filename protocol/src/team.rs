//! What a team's room says of the rooms that admit its members: content of the team, which changes nobody's validity. By
//! it members' nodes enter those rooms, and stewards' nodes tell what was done for the team from what was done on purpose.

use crate::codec::{Canonical, CodecError, Reader, Writer, decode};
use crate::control::payload::RoomKind;
use crate::control::rank::Rank;
use crate::control::state::RoomState;
use crate::id::{EventId, RoomId, UserId};
use crate::identity::InviteSecret;
use crate::limits::{LINK_ADDRESSES_MAX, NAME_LEN_MAX, PAYLOAD_LEN_MAX};
use crate::link::Address;
use imbl::ordmap::DiffItem;
use std::collections::BTreeSet;
use std::fmt;

/// Numbers of its content kinds.
pub mod kind {
    /// A room admits the team's members, by this invite.
    pub const ROOM: u16 = 40;
    /// A control event of the author's own in such a room was written for the team.
    pub const DEED: u16 = 41;
    /// A room no longer admits them.
    pub const WITHOUT: u16 = 42;
}

/// A word about a room of the team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TeamWord {
    /// A room admits the team's members.
    Room(TeamRoom),
    /// The author's user wrote a control event in a room because somebody left the team, or came back to it.
    Deed {
        /// The room.
        room: RoomId,
        /// A Revoke or a Grant there.
        event: EventId,
    },
    /// A room no longer admits them. Who is in it stays.
    Without(RoomId),
}

/// How members of a team come into a room: what a link to it carries, but for what they have already.
#[derive(Clone)]
pub struct TeamRoom {
    /// The room.
    pub room: RoomId,
    /// Who may see it.
    pub kind: RoomKind,
    /// Its secret; zero in a public room.
    pub secret: [u8; 32],
    /// The OpenInvite.
    pub invite: EventId,
    /// Its private key.
    pub key: InviteSecret,
    /// What the room is called, to show who is not in it yet.
    pub name: String,
    /// Where its members' nodes were.
    pub addresses: Vec<String>,
}

impl TeamWord {
    /// Whether a content kind is one of these.
    pub fn is_kind(kind: u16) -> bool {
        (kind::ROOM..=kind::WITHOUT).contains(&kind)
    }

    /// The number for a header's `kind`.
    pub fn kind(&self) -> u16 {
        match self {
            TeamWord::Room(_) => kind::ROOM,
            TeamWord::Deed { .. } => kind::DEED,
            TeamWord::Without(_) => kind::WITHOUT,
        }
    }

    /// The room it is about.
    pub fn room(&self) -> RoomId {
        match self {
            TeamWord::Room(offer) => offer.room,
            TeamWord::Deed { room, .. } | TeamWord::Without(room) => *room,
        }
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        match self {
            TeamWord::Room(offer) => offer.write(w),
            TeamWord::Deed { room, event } => {
                room.write(w);
                event.write(w);
            }
            TeamWord::Without(room) => room.write(w),
        }
    }

    pub(crate) fn decode(kind: u16, bytes: &[u8]) -> Result<Self, CodecError> {
        match kind {
            kind::ROOM => decode(bytes, PAYLOAD_LEN_MAX).map(TeamWord::Room),
            kind::DEED => decode::<Deed>(bytes, PAYLOAD_LEN_MAX).map(|d| TeamWord::Deed { room: d.0, event: d.1 }),
            _ => decode(bytes, PAYLOAD_LEN_MAX).map(TeamWord::Without),
        }
    }
}

/// The setting of a room that names its team, by the id's text; empty for none.
pub const TEAM_SETTING: &str = "team";

/// The team that a room names.
pub fn team_of(room: &RoomState) -> Option<RoomId> {
    room.settings.get(TEAM_SETTING).and_then(|text| text.parse().ok())
}

/// Whether somebody is of a team: a keeper holds it for others, and is not.
pub fn is_of_team(team: &RoomState, user: UserId) -> bool {
    team.members.get(&user).is_some_and(|member| member.rank <= Rank::READER)
}

/// Whose membership differs between two states of a room: costs as much as differs.
pub fn members_changed(before: &RoomState, after: &RoomState) -> BTreeSet<UserId> {
    let changes = before.members.diff(&after.members);
    changes
        .map(|change| match change {
            DiffItem::Add(user, _) | DiffItem::Remove(user, _) | DiffItem::Update { new: (user, _), .. } => *user,
        })
        .collect()
}

impl PartialEq for TeamRoom {
    fn eq(&self, other: &Self) -> bool {
        let parts = |t: &TeamRoom| (t.room, t.kind, t.secret, t.invite, *t.key.seed());
        parts(self) == parts(other) && self.name == other.name && self.addresses == other.addresses
    }
}

impl Eq for TeamRoom {}

impl fmt::Debug for TeamRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("TeamRoom");
        shown.field("room", &self.room).field("invite", &self.invite).field("name", &self.name).finish_non_exhaustive()
    }
}

impl Canonical for TeamRoom {
    fn write(&self, w: &mut Writer) {
        self.room.write(w);
        self.kind.write(w);
        w.array(&self.secret);
        self.invite.write(w);
        w.array(self.key.seed());
        w.text(&self.name);
        w.length(self.addresses.len());
        self.addresses.iter().for_each(|address| w.text(address));
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(TeamRoom {
            room: RoomId::read(r)?,
            kind: RoomKind::read(r)?,
            secret: r.array()?,
            invite: EventId::read(r)?,
            key: InviteSecret::from_seed(r.array()?),
            name: r.text(NAME_LEN_MAX)?,
            addresses: r.list::<Address>(LINK_ADDRESSES_MAX)?.into_iter().map(|a| a.0).collect(),
        })
    }
}

struct Deed(RoomId, EventId);

impl Canonical for Deed {
    fn write(&self, w: &mut Writer) {
        self.0.write(w);
        self.1.write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Deed(RoomId::read(r)?, EventId::read(r)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Content;

    #[test]
    fn words_round_trip_whole_and_no_secret_is_shown() {
        let offer = TeamRoom {
            room: RoomId([1; 32]),
            kind: RoomKind::Members,
            secret: [77; 32],
            invite: EventId([3; 32]),
            key: InviteSecret::from_seed([78; 32]),
            name: "kitchen".into(),
            addresses: vec!["/ip4/127.0.0.1/tcp/1/p2p/12D3".into()],
        };
        assert!(!format!("{offer:?}").contains("77") && !format!("{offer:?}").contains("78"));
        let deed = TeamWord::Deed { room: RoomId([1; 32]), event: EventId([2; 32]) };
        for word in [TeamWord::Room(offer), deed, TeamWord::Without(RoomId([1; 32]))] {
            let content = Content::Team(word);
            let mut bytes = content.encode();
            assert_eq!(Content::decode(content.kind(), &bytes), Ok(content.clone()));
            bytes.push(0);
            assert!(Content::decode(content.kind(), &bytes).is_err());
            assert!(TeamWord::is_kind(content.kind()) && !content.is_message());
        }
    }
}
