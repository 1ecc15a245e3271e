//! What a team says of its rooms, and links for who was granted, as vectors.

use super::parts::{INVITE, hex, kind_number};
use serde_json::{Value, json};
use tidings_protocol::control::payload::RoomKind;
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::identity::InviteSecret;
use tidings_protocol::link::GrantLink;
use tidings_protocol::team::{TeamRoom, TeamWord};

const ADDRESS: &str = "/ip4/203.0.113.7/udp/4001/quic-v1/p2p/12D3KooWExample";

/// Every word that there is.
pub fn team_words() -> [(&'static str, TeamWord); 3] {
    let (room, event) = (RoomId([0x70; 32]), EventId([0x71; 32]));
    let offer = TeamRoom {
        room,
        kind: RoomKind::Members,
        secret: [0x5e; 32],
        invite: event,
        key: InviteSecret::from_seed(INVITE),
        name: "kitchen".into(),
        addresses: vec![ADDRESS.into()],
    };
    let deed = TeamWord::Deed { room, event };
    [("team room", TeamWord::Room(offer)), ("team deed", deed), ("team without", TeamWord::Without(room))]
}

/// A word's fields.
pub fn team_fields(word: &TeamWord) -> Value {
    match word {
        TeamWord::Room(t) => json!({
            "room": hex(&t.room.0),
            "kind": kind_number(t.kind),
            "secret": hex(&t.secret),
            "invite": hex(&t.invite.0),
            "key": hex(t.key.seed()),
            "name": t.name,
            "addresses": t.addresses.iter().map(|address| json!({ "address": address })).collect::<Vec<_>>(),
        }),
        TeamWord::Deed { room, event } => json!({ "room": hex(&room.0), "event": hex(&event.0) }),
        TeamWord::Without(room) => json!({ "room": hex(&room.0) }),
    }
}

pub fn grant_link(network: &str) -> GrantLink {
    let is_public = network.is_empty();
    GrantLink {
        network: network.into(),
        room: RoomId([0x70; 32]),
        kind: if is_public { RoomKind::Public } else { RoomKind::Members },
        secret: if is_public { [0; 32] } else { [0x5e; 32] },
        grant: EventId([0x72; 32]),
        addresses: if is_public { Vec::new() } else { vec![ADDRESS.into()] },
    }
}

pub fn grant_link_vector(link: &GrantLink) -> Value {
    json!({
        "network": link.network,
        "room": hex(&link.room.0),
        "kind": kind_number(link.kind),
        "secret": hex(&link.secret),
        "grant": hex(&link.grant.0),
        "addresses": link.addresses,
        "text": link.to_text(),
    })
}
