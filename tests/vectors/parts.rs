//! The fixed keys and times of the vectors, and one JSON value for each single thing: a user, a certificate, a payload's
//! fields, an event, a link, a range.

use serde_json::{Value, json};
use tidings_protocol::adopted::Adopted;
use tidings_protocol::codec::{decode, encode};
use tidings_protocol::content::{Content, Imported, Text};
use tidings_protocol::control::cut::Cut;
use tidings_protocol::control::payload::{Control, Join, RoomKind};
use tidings_protocol::event::{Body, VerifiedEvent};
use tidings_protocol::id::{EventId, RoomId, UserId};
use tidings_protocol::identity::{DeviceCertificate, DeviceKey, InviteSecret, RecoveryPhrase};
use tidings_protocol::link::InviteLink;
use tidings_protocol::range::{Range, Row, RowBody};

pub fn event_vector(label: &str, seed: &[u8; 32], event: &VerifiedEvent, fields: Value) -> Value {
    let signed = event.to_signed().unwrap();
    let header = &signed.header;
    let Body::Kept(payload) = &signed.body else { panic!("nothing is erased yet") };
    json!({
        "label": label,
        "device_seed": hex(seed),
        "class": header.class.number(),
        "kind": header.kind,
        "room": hex(&header.room.0),
        "author": hex(&header.author.0),
        "grant": hex(&header.grant.0),
        "seq": header.seq,
        "prev": hex(&header.prev.0),
        "parents": ids(&header.parents),
        "hlc": format!("{:016x}", header.hlc.0),
        "salt": hex(&payload.salt),
        "fields": fields,
        "payload": hex(&payload.bytes),
        "header": hex(&encode(header)),
        "id": hex(event.id().as_bytes()),
        "id_text": event.id().to_string(),
        "signature": hex(&signed.signature.0),
        "event": hex(&encode(&signed)),
    })
}

pub fn control_fields(control: &Control) -> Value {
    match control {
        Control::Genesis(g) => json!({
            "rules": tidings_protocol::control::RULES,
            "kind": kind_number(g.kind),
            "founders": g.founders.iter().map(|u| hex(&u.0)).collect::<Vec<_>>(),
            "invite_rank": g.invite_rank.number(),
            "secret": hex(&g.secret),
            "certificate": certificate_fields(&g.certificate),
        }),
        Control::Grant(g) => json!({ "user": hex(&g.user.0), "rank": g.rank.number(), "lifts": ids(&g.lifts) }),
        Control::OpenInvite(o) => json!({ "key": hex(&o.key.0), "rank": o.rank.number() }),
        Control::Join(j) => json!({
            "invite": hex(&j.invite.0),
            "certificate": certificate_fields(&j.certificate),
            "proof": hex(&j.proof.0),
        }),
        Control::Enrol(c) => json!({ "certificate": certificate_fields(c) }),
        Control::CloseInvite(c) => json!({ "invite": hex(&c.invite.0), "joins": ids(&c.joins) }),
        Control::Revoke(r) => {
            json!({ "user": hex(&r.user.0), "cuts": cuts_fields(&r.cuts), "joins": ids(&r.joins) })
        }
        Control::RevokeDevice(r) => json!({ "device": hex(&r.device.0), "cuts": cuts_fields(&r.cuts) }),
        Control::Successor(room) => json!({ "room": hex(&room.0) }),
        Control::Set(s) => json!({ "key": s.key, "value": s.value, "replaces": ids(&s.replaces) }),
        Control::Erase(e) => {
            json!({ "author": hex(&e.author.0), "grant": hex(&e.grant.0), "seq": e.seq, "id": hex(&e.id.0) })
        }
        Control::Leave | Control::Unknown { .. } => json!({}),
    }
}

fn cuts_fields(cuts: &[Cut]) -> Value {
    let fields = |cut: &Cut| {
        let log = &cut.log;
        let (author, grant) = (hex(&log.author.0), hex(&log.grant.0));
        json!({ "class": log.class.number(), "author": author, "grant": grant, "seq": cut.seq, "ids": ids(&cut.ids) })
    };
    cuts.iter().map(fields).collect()
}

pub fn content_fields(content: &Content) -> Value {
    let mentions = |text: &Text| text.mentions.iter().map(|u| hex(&u.0)).collect::<Vec<_>>();
    match content {
        Content::Text(t) => json!({ "text": t.body, "mentions": mentions(t) }),
        Content::Reply { target, root, text } => {
            json!({ "target": hex(&target.0), "root": hex(&root.0), "text": text.body, "mentions": mentions(text) })
        }
        Content::Edit { target, text } => {
            json!({ "target": hex(&target.0), "text": text.body, "mentions": mentions(text) })
        }
        Content::Reaction { target, emoji, removed } => {
            json!({ "target": hex(&target.0), "emoji": emoji, "removed": u8::from(*removed) })
        }
        Content::Imported(i) => json!({
            "source": i.source, "author": i.author, "ms": i.ms,
            "order": i.order, "occurrence": i.occurrence, "text": i.text,
        }),
        Content::Profile { name, home: None } => json!({ "name": name, "has_home": 0 }),
        Content::Profile { name, home: Some(home) } => json!({ "name": name, "has_home": 1, "home": hex(&home.0) }),
        Content::Device { sealing } => json!({ "sealing": hex(&sealing.0) }),
        Content::Sealed(sealed) => sealed_fields(&encode(sealed)),
        Content::Adopted(adopted) => adopted_fields(adopted, &encode(&**adopted)[128..]),
        Content::Team(word) => super::teams::team_fields(word),
        Content::Unknown { .. } => json!({}),
        Content::Hide(hide) => json!({ "target": hex(&hide.target.0), "hidden": u8::from(hide.hidden) }),
        Content::Report(sealed) => sealed_fields(&encode(sealed)),
        Content::File(file) => {
            let mut fields = json!({
                "hash": hex(&file.hash.0), "len": file.len, "name": file.name, "media": file.media,
                "text": file.text.body, "mentions": mentions(&file.text), "has_reply": 0,
            });
            if let Some((target, root)) = file.reply {
                (fields["has_reply"], fields["target"]) = (json!(1), json!(hex(&target.0)));
                fields["root"] = json!(hex(&root.0));
            }
            fields
        }
    }
}

/// The message's place, and the range that shows who wrote it.
fn adopted_fields(adopted: &Adopted, range: &[u8]) -> Value {
    let range: Range = decode(range, usize::MAX).unwrap();
    let mut before = 0;
    let row = |row: &Row| {
        let hlc = row.hlc.0.wrapping_sub(before);
        before = row.hlc.0;
        let (kind, parents) = (row.kind, ids(&row.parents));
        let mut fields = json!({ "kind": kind, "hlc": hlc, "parents": parents, "signed": 0 });
        match &row.body {
            RowBody::Kept(payload) => {
                fields["here"] = json!(1);
                fields["salt"] = json!(hex(&payload.salt));
                fields["payload"] = json!(hex(&payload.bytes));
            }
            RowBody::Erased { len, commit } => {
                fields["here"] = json!(0);
                fields["length"] = json!(len);
                fields["commitment"] = json!(hex(commit));
            }
        }
        if let Some(signature) = &row.signature {
            fields["signed"] = json!(1);
            fields["signature"] = json!(hex(&signature.0));
        }
        fields
    };
    let rows: Vec<Value> = range.rows.iter().map(row).collect();
    let [message, author, grant, top] =
        [adopted.message.0, adopted.author.0, adopted.grant.0, adopted.top.0].map(|id| hex(&id));
    json!({
        "message": message, "author": author, "grant": grant, "top": top,
        "seq": range.first_seq, "prev": hex(&range.prev.0), "rows": rows,
    })
}

/// A count, a key and what is sealed to it for each recipient, and the ciphertext with its length.
fn sealed_fields(bytes: &[u8]) -> Value {
    let count = usize::try_from(u32::from_be_bytes(bytes[..4].try_into().unwrap())).unwrap();
    let (recipients, ciphertext) = bytes[4..].split_at(count * 112);
    let recipient = |r: &[u8]| json!({ "id": hex(&r[..32]), "sealed_key": hex(&r[32..]) });
    let recipients: Vec<Value> = recipients.chunks(112).map(recipient).collect();
    json!({ "recipients": recipients, "ciphertext": hex(&ciphertext[4..]) })
}

pub fn user_vector(entropy: [u8; 32]) -> Value {
    let phrase = RecoveryPhrase::from_entropy(entropy);
    let user = phrase.user_key().user();
    let words = phrase.words();
    json!({ "entropy": hex(&entropy), "words": words.as_str(), "user": hex(&user.0), "user_text": user.to_string() })
}

pub fn certificate_vector(entropy: [u8; 32], seed: [u8; 32], name: &str, created_ms: u64) -> Value {
    let device = DeviceKey::from_seed(&seed).device();
    let certificate = RecoveryPhrase::from_entropy(entropy).user_key().certify(device, name, created_ms);
    let bytes = encode(&certificate);
    let mut vector = certificate_fields(&certificate);
    vector["entropy"] = json!(hex(&entropy));
    vector["device_seed"] = json!(hex(&seed));
    vector["device_text"] = json!(device.to_string());
    vector["claim"] = json!(hex(&bytes[..bytes.len() - 64]));
    vector["certificate"] = json!(hex(&bytes));
    vector
}

pub fn certificate_fields(certificate: &DeviceCertificate) -> Value {
    let bytes = encode(certificate);
    json!({
        "user": hex(&certificate.user().0),
        "device": hex(&certificate.device().0),
        "name": certificate.name(),
        "created_ms": certificate.created_ms(),
        "signature": hex(&bytes[bytes.len() - 64..]),
    })
}

pub fn join_vector(room: RoomId, event: EventId, join: &Join) -> Value {
    json!({
        "event": hex(event.as_bytes()),
        "invite_seed": hex(&INVITE),
        "key": hex(&InviteSecret::from_seed(INVITE).key().0),
        "room": hex(&room.0),
        "invite": hex(&join.invite.0),
        "user": hex(&join.certificate.user().0),
        "device": hex(&join.certificate.device().0),
        "proof": hex(&join.proof.0),
    })
}

pub fn source_vector(imported: &Imported) -> Value {
    let content = Content::Imported(imported.clone());
    let (fields, payload) = (content_fields(&content), hex(&content.encode()));
    json!({ "fields": fields, "payload": payload, "source_id": hex(&imported.source_id()) })
}

pub fn link_vector(link: &InviteLink) -> Value {
    json!({
        "network": link.network,
        "room": hex(&link.room.0),
        "kind": kind_number(link.kind),
        "secret": hex(&link.secret),
        "invite": hex(&link.invite.0),
        "key": hex(link.key.seed()),
        "expires_ms": link.expires_ms,
        "addresses": link.addresses,
        "text": link.to_text(),
    })
}

pub fn range_vector(events: Vec<VerifiedEvent>, erased: Option<usize>) -> Value {
    let (room, log) = (events[0].room(), events[0].log());
    let (first, last) = (events[0].header(), &events[events.len() - 1]);
    let row = |e: &VerifiedEvent| Row::new(e.header().clone(), e.body().clone(), e.signature().copied());
    let mut range = Range { first_seq: first.seq, prev: first.prev, rows: events.iter().map(row).collect() };
    if let Some(at) = erased {
        let header = events[at].header();
        range.rows[at].body = RowBody::Erased { len: header.payload_len, commit: header.payload_commit };
    }
    let inflated = encode(&range);
    json!({
        "room": hex(&room.0),
        "class": log.class.number(),
        "author": hex(&log.author.0),
        "grant": hex(&log.grant.0),
        "tip_seq": last.header().seq,
        "tip_id": hex(last.id().as_bytes()),
        "ids": ids(&events.iter().map(VerifiedEvent::id).collect::<Vec<_>>()),
        "inflated": hex(&inflated),
        "chunk": hex(&stored_frame(&inflated)),
    })
}

/// A zstd frame with its content size and one raw block: the same whatever the compressor (RFC 8878, section 3.1.1).
pub fn stored_frame(bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).unwrap();
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
    frame.extend(len.to_le_bytes());
    frame.extend(&(len << 3 | 1).to_le_bytes()[..3]);
    frame.extend(bytes);
    frame
}

/// The list of BIP-39, read out of phrases: each spells 23 numbers of 11 bits and a checksum.
pub fn word_list() -> String {
    let mut words: Vec<String> = Vec::new();
    while words.len() < 2048 {
        let mut entropy = [0u8; 32];
        for bit in 0..23 * 11 {
            let number = (words.len() + bit / 11) % 2048;
            entropy[bit / 8] |= ((number >> (10 - bit % 11) & 1) as u8) << (7 - bit % 8);
        }
        let phrase = RecoveryPhrase::from_entropy(entropy).words();
        words.extend(phrase.split(' ').take(23.min(2048 - words.len())).map(str::to_owned));
    }
    words.join(" ")
}

pub fn link(room: EventId, invite: EventId, (kind, network, addresses): (RoomKind, &str, usize)) -> InviteLink {
    let all =
        ["/ip4/203.0.113.7/udp/4001/quic-v1/p2p/12D3KooWExample", "/dns/node.example.org/tcp/4001/p2p/12D3KooWExample"];
    InviteLink {
        network: network.into(),
        room: room.into(),
        kind,
        secret: if kind == RoomKind::Public { [0; 32] } else { [0x5e; 32] },
        invite,
        key: InviteSecret::from_seed(INVITE),
        expires_ms: if kind == RoomKind::Public { 0 } else { START_MS },
        addresses: all.iter().take(addresses).map(|a| a.to_string()).collect(),
    }
}

pub fn imported() -> Imported {
    Imported {
        source: "irc.example.org #rust".into(),
        author: "pupp".into(),
        ms: 1_507_466_702_000,
        order: 2,
        occurrence: 0,
        text: "anyone here?".into(),
    }
}

pub fn user(entropy: [u8; 32]) -> UserId {
    RecoveryPhrase::from_entropy(entropy).user_key().user()
}

pub fn certificate(entropy: [u8; 32], seed: [u8; 32]) -> DeviceCertificate {
    let device = DeviceKey::from_seed(&seed).device();
    RecoveryPhrase::from_entropy(entropy).user_key().certify(device, "laptop", START_MS)
}

pub fn kind_number(kind: RoomKind) -> u8 {
    match kind {
        RoomKind::Public => 0,
        RoomKind::Members => 1,
        RoomKind::Private => 2,
    }
}

pub fn sorted<T: Ord>(pair: [T; 2]) -> Vec<T> {
    let mut pair = Vec::from(pair);
    pair.sort();
    pair
}

pub fn ids(ids: &[EventId]) -> Vec<String> {
    ids.iter().map(|id| hex(&id.0)).collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Entropy behind the words of four users.
pub const ADA: [u8; 32] = [0; 32];
pub const BOB: [u8; 32] = [0x7f; 32];
pub const CAROL: [u8; 32] = *b"tidings: thirty-two bytes of it!";
pub const OTHER: [u8; 32] = [0xff; 32];
/// Private keys of their devices.
pub const ADA_DEVICE: [u8; 32] = [0x11; 32];
pub const BOB_DEVICE: [u8; 32] = [0x22; 32];
pub const CAROL_DEVICE: [u8; 32] = [0x33; 32];
pub const OTHER_DEVICE: [u8; 32] = [0x55; 32];
/// Carol's user key, as it follows from her entropy.
pub const CAROL_KEY: [u8; 32] = [
    0x7d, 0x25, 0x1f, 0xcd, 0x6f, 0x96, 0x03, 0xd7, 0xed, 0x84, 0xd1, 0xe0, 0xbd, 0x7e, 0x5b, 0x12, 0x56, 0x49, 0x3a,
    0xce, 0xb1, 0x81, 0x2e, 0x97, 0xd6, 0x95, 0xc2, 0x89, 0x00, 0xf2, 0x29, 0x95,
];
/// Private key of the room's invite.
pub const INVITE: [u8; 32] = [0x44; 32];
/// When the first event is said.
pub const START_MS: u64 = 1_700_000_000_000;
