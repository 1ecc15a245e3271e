//! The model's own random rooms, with its verdicts: `vectors/rooms.json.gz`, which `vectors/export_rooms.py` writes.

use super::random_room::{DEVICES, RandomRoom, Said, certificate, device_name, hex, user_id, user_name};
use super::room_verdict::vectors;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use tidings_protocol::control::cut::Cut;
use tidings_protocol::control::payload::{
    CloseInvite, Control, Erase, Genesis, Grant, Join, OpenInvite, Revoke, RevokeDevice, RoomKind, Set,
};
use tidings_protocol::control::rank::Rank;
use tidings_protocol::event::Class;
use tidings_protocol::id::{DeviceId, EventId, InviteKey, UserId};
use tidings_protocol::identity::Signature;
use tidings_protocol::log::Log;

/// A room of the model's, and its verdict in the words that `model.py` uses.
pub struct FixtureRoom {
    pub room: RandomRoom,
    pub expected: Value,
}

/// The file's JSON.
pub fn fixture_json() -> Vec<u8> {
    let packed = std::fs::read(vectors().join("rooms.json.gz")).unwrap();
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut text).unwrap();
    text
}

pub fn fixture_rooms() -> Vec<FixtureRoom> {
    let file: Value = serde_json::from_slice(&fixture_json()).unwrap();
    let words = |what: &str| -> Vec<String> { list(&file[what]).iter().map(|w| w.as_str().unwrap().into()).collect() };
    let (kinds, reasons) = (words("kinds"), words("reasons"));
    let rooms = list(&file["rooms"]).iter().enumerate();
    rooms.map(|(seed, room)| FixtureRoom::read(seed as u64, room, &kinds, &reasons)).collect()
}

impl FixtureRoom {
    fn read(seed: u64, room: &Value, kinds: &[String], reasons: &[String]) -> FixtureRoom {
        let events = list(&room["events"]);
        let mut seqs: BTreeMap<usize, u64> = BTreeMap::new();
        let said: Vec<Said> = (0..events.len()).map(|n| read_event(n, events, &mut seqs, kinds)).collect();
        let genesis = said.iter().find(|s| matches!(s.what, Some(Control::Genesis(_)))).unwrap().id;
        let whys = list(&room["why"]);
        let reason = |n: &usize| reasons[number(&whys[*n]) as usize].as_str();
        let (void, valid): (Vec<usize>, Vec<usize>) = (0..events.len()).partition(|n| !reason(n).is_empty());
        let mut devices: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for device in list(&room["devices"]).iter().map(device) {
            devices.entry(user_name(certificate_of(device).user())).or_default().insert(device_name(device));
        }
        let settings = room["settings"].as_object().unwrap().iter();
        let erased = list(&room["erased"]).iter();
        let erased = erased.map(|e| json!([device_name(device(&e[0])), hex(&id(&e[1])), e[2], hex(&id(&e[3]))]));
        let members = list(&room["members"]).iter().map(|m| (user_name(user(&m[0])), m[1].clone()));
        let expected = json!({
            "valid": valid.iter().map(|n| hex(&nth(*n))).collect::<Vec<_>>(),
            "why": void.iter().map(|n| (hex(&nth(*n)), json!(reason(n)))).collect::<Map<_, _>>(),
            "proofs": list(&room["proofs"]).iter().map(|n| hex(&id(n))).collect::<Vec<_>>(),
            "members": members.collect::<Map<_, _>>(),
            "devices": devices,
            "settings": settings.map(|(key, set)| (key.clone(), json!(set.to_string()))).collect::<Map<_, _>>(),
            "erased": erased.collect::<Vec<_>>(),
        });
        FixtureRoom { room: RandomRoom { seed, id: genesis.into(), said, stolen: 0, wild: false }, expected }
    }
}

fn read_event(n: usize, events: &[Value], seqs: &mut BTreeMap<usize, u64>, kinds: &[String]) -> Said {
    let event = &events[n];
    let author = device(&event[1]);
    let some = |value: &Value| value.as_u64().map(|n| nth(n as usize));
    let prev = some(&event[3]);
    let what = payload(&kinds[number(&event[0]) as usize], n, author, &list(event)[4..]);
    Said { id: nth(n), author, grant: some(&event[2]), seq: seq_of(n, events, seqs), prev, what }
}

/// One more than its predecessor's.
fn seq_of(n: usize, events: &[Value], known: &mut BTreeMap<usize, u64>) -> u64 {
    if let Some(seq) = known.get(&n) {
        return *seq;
    }
    let seq = events[n][3].as_u64().map_or(1, |prev| seq_of(prev as usize, events, known) + 1);
    known.insert(n, seq);
    seq
}

fn payload(kind: &str, n: usize, author: DeviceId, d: &[Value]) -> Option<Control> {
    let rank = |value: &Value| Rank::new(number(value) as u8).unwrap();
    let certificate = || certificate_of(author).clone();
    Some(match kind {
        "Genesis" => {
            let mut founders: Vec<UserId> = list(&d[1]).iter().map(user).collect();
            founders.sort_unstable();
            let (kind, certificate) = (RoomKind::Public, certificate());
            Control::Genesis(Genesis { kind, founders, invite_rank: rank(&d[2]), secret: [0; 32], certificate })
        }
        "Grant" => Control::Grant(Grant { user: user(&d[0]), rank: rank(&d[1]), lifts: ids(&d[2]) }),
        "OpenInvite" => Control::OpenInvite(OpenInvite { key: InviteKey([1; 32]), rank: rank(&d[0]) }),
        "Join" => {
            let (invite, proof) = (id(&d[0]), Signature([0; 64]));
            Control::Join(Join { invite, certificate: certificate(), proof })
        }
        "Enrol" => Control::Enrol(certificate()),
        "CloseInvite" => Control::CloseInvite(CloseInvite { invite: id(&d[0]), joins: ids(&d[1]) }),
        "Revoke" => Control::Revoke(Revoke { user: user(&d[0]), cuts: cuts(&d[1]), joins: ids(&d[2]) }),
        "RevokeDevice" => Control::RevokeDevice(RevokeDevice { device: device(&d[0]), cuts: cuts(&d[1]) }),
        "Leave" => Control::Leave,
        "Set" => {
            let key = d[0].as_str().unwrap().to_owned();
            Control::Set(Set { key, value: n.to_string(), replaces: ids(&d[1]) })
        }
        "Erase" => {
            let (grant, seq) = (id(&d[1]), number(&d[2]));
            Control::Erase(Erase { author: device(&d[0]), grant, seq, id: id(&d[3]) })
        }
        "Text" => return None,
        other => panic!("a fixture of kind {other}"),
    })
}

fn cuts(value: &Value) -> Vec<Cut> {
    let cut = |cut: &Value| {
        let class = if number(&cut[0]) == 0 { Class::Control } else { Class::Content };
        let log = Log { class, author: device(&cut[1]), grant: id(&cut[2]) };
        Cut { log, seq: number(&cut[3]), ids: ids(&cut[4]) }
    };
    let mut cuts: Vec<Cut> = list(value).iter().map(cut).collect();
    cuts.sort_unstable();
    cuts
}

/// The id of the event at a place, such that ids sort as the model's do.
fn nth(n: usize) -> EventId {
    let mut id = [7; 32];
    id[..8].copy_from_slice(&(n as u64 + 1).to_be_bytes());
    EventId(id)
}

/// The id that a number stands for; -1 is one that nobody has.
fn id(value: &Value) -> EventId {
    value.as_u64().map_or(EventId([255; 32]), |n| nth(n as usize))
}

fn ids(value: &Value) -> Vec<EventId> {
    let mut ids: Vec<EventId> = list(value).iter().map(id).collect();
    ids.sort_unstable();
    ids
}

fn device(value: &Value) -> DeviceId {
    let n = number(value) as usize;
    certificate(n / DEVICES, n % DEVICES).device()
}

fn certificate_of(device: DeviceId) -> &'static tidings_protocol::identity::DeviceCertificate {
    let (user, device) = super::random_room::place_of(device);
    certificate(user, device)
}

fn user(value: &Value) -> UserId {
    user_id(number(value) as usize)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap()
}
