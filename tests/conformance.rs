//! The golden vectors of PROTOCOL.md: made here from their inputs, compared with `vectors/events.json`, decoded and
//! verified from the file, and read by `vectors/read.py`, which knows the words of PROTOCOL.md and none of this code.
//!
//! `TIDINGS_BLESS=1` writes the file anew.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Once;
use tidings_protocol::answer::SignedAnswer;
use tidings_protocol::beacon::{Signal, SignedBeacon};
use tidings_protocol::codec::{decode, encode};
use tidings_protocol::content::Content;
use tidings_protocol::control::payload::Control;
use tidings_protocol::enrol::{DeviceLink, is_self_room};
use tidings_protocol::event::{Body, Class, Draft, Header, Hlc, Payload, SignedEvent};
use tidings_protocol::id::{DeviceId, EventId, InviteKey, RoomId, UserId};
use tidings_protocol::identity::{DeviceCertificate, DeviceKey, RecoveryPhrase};
use tidings_protocol::limits::{HEADER_LEN_MAX, PAYLOAD_LEN_MAX};
use tidings_protocol::link::{InviteLink, RoomLink};
use tidings_protocol::log::{Log, Tip};
use tidings_protocol::range::{Range, Vouched};
use tidings_protocol::slots::Slots;

use tidings_protocol::sealed::{Place, Sealed};

#[path = "vectors/account.rs"]
mod account;
#[path = "vectors/answers.rs"]
mod answers;
#[path = "vectors/beacons.rs"]
mod beacons;
#[path = "vectors/make.rs"]
mod make;
#[path = "vectors/malformed.rs"]
mod malformed;
#[path = "vectors/moderation.rs"]
mod moderation;
#[path = "vectors/parts.rs"]
mod parts;
#[path = "vectors/teams.rs"]
mod teams;

use make::vectors;
use parts::{content_fields, control_fields, hex, link_vector};

#[test]
fn vectors_follow_from_their_inputs() {
    let (made, committed) = (vectors(), committed());
    for (section, value) in made.as_object().unwrap() {
        assert_eq!(value, &committed[section], "{section} differs: a changed byte of the protocol is a new version");
    }
    assert_eq!(made, committed);
}

#[test]
fn committed_events_decode_verify_and_are_signed_again_the_same() {
    let file = committed();
    for vector in list(&file["events"]) {
        let label = &vector["label"];
        let event = SignedEvent::decode(&unhex(&vector["event"])).unwrap().verify().unwrap();
        assert_eq!(hex(event.id().as_bytes()), vector["id"], "{label}");
        assert_eq!(text(&vector["id_text"]).parse(), Ok(event.id()), "{label}");
        assert_eq!(hex(&encode(event.header())), vector["header"], "{label}");
        let again = draft_of(vector).sign(&DeviceKey::from_seed(&array(&vector["device_seed"]))).unwrap();
        assert_eq!(again, event, "{label}");
        let payload = unhex(&vector["payload"]);
        match event.header().class {
            Class::Control => {
                let control = Control::decode(event.header().kind, &payload).unwrap();
                assert_eq!(control_fields(&control), vector["fields"], "{label}");
            }
            Class::Content => {
                let content = Content::decode(event.header().kind, &payload).unwrap();
                assert_eq!(content_fields(&content), vector["fields"], "{label}");
            }
        }
    }
    for vector in list(&file["erased"]) {
        let event = SignedEvent::decode(&unhex(&vector["event"])).unwrap().verify().unwrap();
        assert_eq!(hex(event.id().as_bytes()), vector["id"]);
        assert_eq!(event.body(), &Body::Erased);
    }
}

#[test]
fn committed_users_certificates_joins_links_and_ranges_verify() {
    let file = committed();
    for vector in list(&file["users"]) {
        let phrase = RecoveryPhrase::from_words(text(&vector["words"])).unwrap();
        assert_eq!(phrase.user_key().user().to_string(), vector["user_text"]);
    }
    for vector in list(&file["certificates"]) {
        let certificate: DeviceCertificate = decode(&unhex(&vector["certificate"]), 1024).unwrap();
        assert_eq!(certificate.verify(), Ok(()));
    }
    for vector in list(&file["joins"]) {
        let joined = list(&file["events"]).iter().find(|e| e["id"] == vector["event"]).unwrap();
        let Control::Join(join) = Control::decode(4, &unhex(&joined["payload"])).unwrap() else { panic!("no join") };
        let (room, key) = (RoomId(array(&vector["room"])), InviteKey(array(&vector["key"])));
        assert_eq!(join.verify(room, key), Ok(()));
        assert!(join.verify(RoomId::ZERO, key).is_err());
    }
    for vector in list(&file["links"]) {
        let link = InviteLink::from_text(text(&vector["text"])).unwrap();
        assert_eq!(&link_vector(&link), vector);
    }
    for vector in list(&file["grant_links"]) {
        let Ok(RoomLink::Grant(link)) = RoomLink::from_text(text(&vector["text"])) else { panic!("{vector}") };
        assert_eq!(&teams::grant_link_vector(&link), vector);
    }
    for vector in list(&file["device_links"]) {
        let link = DeviceLink::from_text(text(&vector["text"])).unwrap();
        assert_eq!(&account::device_link_vector(&link), vector);
    }
    for vector in list(&file["self_rooms"]) {
        let founded = SignedEvent::decode(&unhex(&vector["event"])).unwrap().verify().unwrap();
        assert!(is_self_room(&founded, UserId(founded.header().author.0)));
    }
    for vector in list(&file["sealed"]) {
        let sealed: Sealed = decode(&unhex(&vector["payload"]), PAYLOAD_LEN_MAX).unwrap();
        let place = Place { room: RoomId(array(&vector["room"])), author: DeviceId(array(&vector["author"])) };
        let key = DeviceKey::from_seed(&array(&vector["device_seed"])).sealing_key();
        assert_eq!(hex(&sealed.open(&key, place).unwrap()), vector["plain"]);
    }
    for vector in list(&file["ranges"]) {
        let range = Range::inflate(&unhex(&vector["chunk"])).unwrap();
        assert_eq!(hex(&encode(&range)), vector["inflated"]);
        assert_eq!(Range::inflate(&range.deflate().unwrap()).as_ref(), Ok(&range));
        let room = RoomId(array(&vector["room"]));
        let (author, grant) = (DeviceId(array(&vector["author"])), EventId(array(&vector["grant"])));
        let log = Log { class: class_of(vector), author, grant };
        let top = Tip { seq: vector["tip_seq"].as_u64().unwrap(), id: EventId(array(&vector["tip_id"])) };
        let events = range.verify(room, log, top, Vouched::BySignature).unwrap();
        let ids: Vec<String> = events.iter().map(|e| hex(e.id().as_bytes())).collect();
        assert_eq!(json!(ids), vector["ids"]);
    }
}

#[test]
fn committed_beacons_verify_and_are_signed_again_the_same() {
    let file = committed();
    let mut slots = Slots::default();
    for vector in list(&file["beacons"]) {
        let label = &vector["label"];
        let room = RoomId(array(&vector["room"]));
        let beacon = SignedBeacon::decode(&unhex(&vector["beacon"])).unwrap().verify(room).unwrap();
        assert_eq!(beacons::fields(beacon.signal()), vector["fields"], "{label}");
        assert_eq!(hex(&beacon.signed().hash()), vector["hash"], "{label}");
        if *beacon.signal() != Signal::Unknown {
            let (hlc, signal) = (beacon.signed().hlc, beacon.signal().clone());
            let draft = tidings_protocol::beacon::Draft { room, hlc, signal };
            let again = draft.sign(&DeviceKey::from_seed(&array(&vector["device_seed"]))).unwrap();
            assert_eq!(again, beacon, "{label}");
        }
        slots.take(beacon);
        assert_eq!(hex(&slots.fingerprint()), vector["fingerprint"], "{label}");
    }
}

#[test]
fn committed_answers_verify_and_are_signed_again_the_same() {
    let file = committed();
    for vector in list(&file["answers"]) {
        let (label, room) = (&vector["label"], RoomId(array(&vector["room"])));
        let answer: SignedAnswer = decode(&unhex(&vector["answer"]), ANSWER_LEN).unwrap();
        assert!(answer.verify(room).is_ok(), "{label}");
        let SignedAnswer { nonce, hlc, control, content, durable, .. } = answer;
        let draft = tidings_protocol::answer::Draft { room, nonce, hlc, control, content, durable };
        assert_eq!(draft.sign(&DeviceKey::from_seed(&array(&vector["device_seed"]))), answer, "{label}");
    }
}

#[test]
fn malformed_headers_and_payloads_are_refused() {
    let file = committed();
    for vector in list(&file["malformed"]) {
        let bytes = unhex(&vector["bytes"]);
        let kind = u16::try_from(vector["kind"].as_u64().unwrap()).unwrap();
        let refused = match text(&vector["what"]) {
            "header" => decode::<Header>(&bytes, HEADER_LEN_MAX).is_err(),
            "control" => Control::decode(kind, &bytes).is_err(),
            "content" => Content::decode(kind, &bytes).is_err(),
            "event" => SignedEvent::decode(&bytes).is_err(),
            "answer" => decode::<SignedAnswer>(&bytes, ANSWER_LEN).is_err(),
            "beacon" => SignedBeacon::decode(&bytes).and_then(|b| b.kept(RoomId::ZERO)).is_err(),
            other => panic!("unknown vector of {other}"),
        };
        assert!(refused, "{}", vector["label"]);
    }
}

#[test]
fn a_reader_made_from_the_words_agrees_and_notices_a_changed_byte() {
    let Some(python) = python_with_packages() else {
        crate::support::skip("no python3 with blake3 and cryptography, and none could be made");
        return;
    };
    let good = read(&python, &vectors_path());
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    let file = committed();
    let mut places = Vec::new();
    strings(&file, "", &mut places);
    // A label says nothing, and another byte in a malformed vector may leave it as malformed as it was.
    places.retain(|place| !place.ends_with("/label") && !place.starts_with("/malformed/"));
    let changed_path = scratch().join("changed.json");
    for place in places.iter().step_by(places.len() / CHANGED_PLACES) {
        let mut changed = file.clone();
        let value = changed.pointer_mut(place).unwrap();
        *value = json!(with_one_letter_changed(text(value)));
        std::fs::write(&changed_path, changed.to_string()).unwrap();
        let bad = read(&python, &changed_path);
        let said = String::from_utf8_lossy(&bad.stderr);
        assert_eq!(bad.status.code(), Some(1), "{place} may be changed");
        assert!(said.starts_with("mismatch: ") && said.lines().count() == 1, "{place}: {said}");
    }
}

fn draft_of(vector: &Value) -> Draft {
    Draft {
        class: class_of(vector),
        kind: u16::try_from(vector["kind"].as_u64().unwrap()).unwrap(),
        room: RoomId(array(&vector["room"])),
        grant: EventId(array(&vector["grant"])),
        seq: vector["seq"].as_u64().unwrap(),
        prev: EventId(array(&vector["prev"])),
        parents: list(&vector["parents"]).iter().map(|p| EventId(array(p))).collect(),
        hlc: Hlc(u64::from_str_radix(text(&vector["hlc"]), 16).unwrap()),
        payload: Payload { salt: array(&vector["salt"]), bytes: unhex(&vector["payload"]) },
    }
}

fn class_of(vector: &Value) -> Class {
    if vector["class"] == 0 { Class::Control } else { Class::Content }
}

/// The file's vectors, made first when that is asked for.
fn committed() -> Value {
    static BLESS: Once = Once::new();
    if std::env::var_os("TIDINGS_BLESS").is_some_and(|v| v == "1") {
        BLESS.call_once(|| std::fs::write(vectors_path(), format!("{:#}\n", vectors())).unwrap());
    }
    serde_json::from_slice(&std::fs::read(vectors_path()).unwrap()).unwrap()
}

fn vectors_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/events.json")
}

fn read(python: &Path, vectors: &Path) -> Output {
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/read.py");
    Command::new(python).args([&reader, vectors]).output().unwrap()
}

/// A python3 that has the reader's packages: the system's, or one of our own in cargo's folder for tests.
fn python_with_packages() -> Option<PathBuf> {
    let runs = |python: &Path, args: &[&str]| {
        Command::new(python).args(args).output().is_ok_and(|output| output.status.success())
    };
    let has_packages = |python: &Path| runs(python, &["-c", "import blake3, cryptography"]);
    let system = PathBuf::from("python3");
    if has_packages(&system) {
        return Some(system);
    }
    let folder = scratch().join("reader-venv");
    let own = folder.join("bin/python");
    let install = ["-m", "pip", "install", "-q", "--retries", "1", "blake3>=1,<2", "cryptography>=42"];
    if !has_packages(&own) {
        let _ = runs(&system, &["-m", "venv", "--clear", folder.to_str()?]) && runs(&own, &install);
    }
    has_packages(&own).then_some(own)
}

/// Cargo's folder for what tests make.
fn scratch() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// Where the file holds strings, as JSON pointers.
fn strings(value: &Value, at: &str, out: &mut Vec<String>) {
    match value {
        Value::String(text) if !text.is_empty() => out.push(at.to_owned()),
        Value::Array(values) => values.iter().enumerate().for_each(|(n, v)| strings(v, &format!("{at}/{n}"), out)),
        Value::Object(values) => values.iter().for_each(|(key, v)| strings(v, &format!("{at}/{key}"), out)),
        _ => {}
    }
}

/// Another letter in the middle, one that hexadecimal, base32, base58 and words all have.
fn with_one_letter_changed(text: &str) -> String {
    let middle = text.chars().count() / 2;
    let change = |(n, c): (usize, char)| match c {
        _ if n != middle => c,
        'a' => 'b',
        _ => 'a',
    };
    text.chars().enumerate().map(change).collect()
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn unhex(value: &Value) -> Vec<u8> {
    let text = text(value);
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    unhex(value).try_into().unwrap()
}

/// How many places the reader is tried at; a run takes about 0.2 s.
const CHANGED_PLACES: usize = 40;

/// Bytes of an answer.
const ANSWER_LEN: usize = 193;
