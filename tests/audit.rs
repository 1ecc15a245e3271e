//! `audit` and `send --wait`: what one is told of a history and of a message's way, between nodes that run, with some of them
//! away, with what was taken away here, and with a member who says what suits them.

use crate::support::hostile::{Hostile, ROOM, now_ms};
use crate::support::insider::Insider;
use crate::support::nodes::Person;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Stdio};
use tidings_protocol::answer::{Draft, SignedAnswer};
use tidings_protocol::event::Hlc;
use tidings_protocol::link::InviteLink;
use tidings_protocol::wire::Frame;

fn person(folder: &Path, name: &str) -> Person {
    let mut person = Person::at(folder, name);
    person.up();
    person.done(&["id", "name", name]);
    person
}

/// Alice with a room, and the others in it.
fn room_of(folder: &Path, others: &[&str]) -> (Person, Vec<Person>) {
    let alice = person(folder, "Alice");
    alice.json(&["room", "create", "lab"]);
    let join = |name: &&str| {
        let person = person(folder, name);
        assert_eq!(person.json(&["room", "join", &alice.link("lab"), "--wait", "60s"])["pending"], false);
        person
    };
    let others = others.iter().map(join).collect();
    (alice, others)
}

fn device(person: &Person) -> Value {
    person.json(&["id"])["device"].clone()
}

/// What each device answered, by the device.
fn states(audit: &Value) -> Vec<(Value, Value)> {
    let devices = audit["devices"].as_array().unwrap().iter();
    let mut states: Vec<_> = devices.map(|answer| (answer["device"].clone(), answer["state"].clone())).collect();
    states.sort_by_key(|(device, _)| device.to_string());
    states
}

fn sorted(mut states: Vec<(Value, Value)>) -> Vec<(Value, Value)> {
    states.sort_by_key(|(device, _)| device.to_string());
    states
}

#[test]
fn a_message_goes_from_here_to_three_nodes_and_an_audit_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, mut others) = room_of(folder.path(), &["Bob", "Carol"]);
    let [bob, carol] = [device(&others[0]), device(&others[1])];

    let sent = alice.run(&["send", "lab", "for all of us", "--wait", "60s", "--copies", "2"]);
    let [id, way] = [&sent.stdout, &sent.stderr].map(|text| String::from_utf8(text.clone()).unwrap());
    assert!(sent.status.success(), "{way}");
    assert!(way.starts_with("on disk here\n") && way.contains("on disk at 2 devices: "), "{way}");
    assert!(way.contains("Bob's …") && way.contains("Carol's …"), "{way}");
    assert_eq!(alice.lines("lab").last().unwrap()["id"], id.trim(), "stdout is the message's id alone");

    let audit = alice.json(&["audit", "lab"]);
    assert_eq!(
        (&audit["complete"], &audit["why"], &audit["gaps"]),
        (&json!(true), &Value::Null, &json!([])),
        "{audit}"
    );
    assert_eq!((&audit["agreed"], &audit["asked"]), (&json!(2), &json!(2)), "{audit}");
    assert!(audit["through_ms"].as_u64().unwrap() <= now_ms());
    let agree = |state: &str| sorted(vec![(bob.clone(), json!("agrees")), (carol.clone(), json!(state))]);
    assert_eq!(states(&audit), agree("agrees"));

    // Who is away is named, and not counted.
    others[1].down();
    let sent = alice.json(&["send", "lab", "Carol is away", "--wait", "60s"]);
    let holders = sent["delivery"]["nodes"].as_array().unwrap();
    assert_eq!((holders.len(), &holders[0]["device"], &sent["durable"]), (1, &bob, &json!(true)), "{sent}");
    let audit = alice.json(&["audit", "lab"]);
    assert_eq!(
        (&audit["complete"], &audit["agreed"], &audit["asked"]),
        (&json!(true), &json!(1), &json!(1)),
        "{audit}"
    );
    assert_eq!(states(&audit), agree("away"));
    let text = alice.done(&["audit", "lab"]);
    assert!(text.starts_with("complete through 20") && text.contains(", agreed by 1 of 1 asked\n"), "{text}");
    assert!(text.contains("agrees: Bob's device …") && text.contains("away: Carol's device …"), "{text}");

    // Alone, nothing is promised.
    others[0].down();
    let sent = alice.run(&["--json", "send", "lab", "nobody is there", "--wait", "1s"]);
    let (way, said) = (serde_json::from_slice::<Value>(&sent.stdout).unwrap(), String::from_utf8(sent.stderr).unwrap());
    assert_eq!((sent.status.code(), &way["delivery"]["nodes"]), (Some(6), &json!([])), "{said}");
    assert!(said.contains("it is on disk here; 0 of 1 other devices") && said.contains("nothing is lost"), "{said}");
    let alone = alice.fails(6, &["audit", "lab", "--wait", "0s"]);
    assert!(alone.contains("nobody who shares the room has answered") && alone.contains("tidings peers"), "{alone}");
    // It was told to nobody; whoever comes back has it.
    others[0].up();
    others[0].until_shown("lab", 3);
    let audit = alice.json(&["audit", "lab", "--wait", "60s"]);
    assert_eq!((&audit["complete"], &audit["agreed"]), (&json!(true), &json!(1)), "{audit}");
    assert_eq!(others[0].json(&["audit", "lab", "--wait", "60s"])["complete"], true);
    alice.down();
}

#[test]
fn what_was_taken_away_here_is_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, others) = room_of(folder.path(), &["Bob"]);
    let id = others[0].send("lab", "what Alice takes away");
    alice.until_shown("lab", 1);
    alice.json(&["audit", "lab"]);
    alice.done(&["purge", "event", &id, "--yes"]);
    let audit = alice.run(&["--json", "audit", "lab"]);
    let found: Value = serde_json::from_slice(&audit.stdout).unwrap();
    assert_eq!((audit.status.code(), &found["complete"], &found["why"]), (Some(6), &json!(false), &json!("gaps")));
    assert_eq!((&found["gaps"][0]["why"], &found["through_ms"]), (&json!("purged"), &Value::Null), "{found}");
    let text = alice.run(&["audit", "lab"]);
    let text = String::from_utf8([text.stdout, text.stderr].concat()).unwrap();
    assert!(text.contains("missing: what was purged on this node"), "{text}");
    // Bob has all of it.
    assert_eq!(others[0].json(&["audit", "lab"])["complete"], true);
}

#[test]
fn alone_in_a_room_all_of_it_is_here() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, _) = room_of(folder.path(), &[]);
    alice.send("lab", "to myself");
    let audit = alice.json(&["audit", "lab"]);
    assert_eq!(
        (&audit["complete"], &audit["asked"], &audit["devices"]),
        (&json!(true), &json!(0), &json!([])),
        "{audit}"
    );
    assert!(alice.done(&["audit", "lab"]).contains("nobody else is here"));
    alice.refused(5, &["audit", "nowhere"], &["nowhere"]);
    alice.refused(2, &["audit", "lab", "--wait", "soon"], &["\"soon\" is no time"]);
    alice.refused(2, &["send", "lab", "x", "--wait", "soon"], &["\"soon\" is no time"]);
    alice.refused(2, &["send", "lab", "x", "--copies", "2"], &["--wait"]);
    alice.refused(2, &["send", "lab", "x", "--wait", "1s", "--copies", "0"], &["--copies"]);
    assert_eq!(alice.texts("lab"), ["to myself"], "what is refused is not sent");
}

/// Alice, and Bob, whose node is down while a program of his own speaks for it.
async fn with_insider(folder: &Path) -> (Person, Insider, Hostile) {
    let (alice, mut others) = room_of(folder, &["Bob"]);
    alice.send("lab", "while Bob was here");
    others[0].until_shown("lab", 1);
    let room = InviteLink::from_text(&alice.link("lab")).unwrap().room;
    others[0].down();
    let insider = Insider::of(&others[0], room);
    let talk = insider.talk(alice.ready["listen"][0].as_str().unwrap()).await;
    (alice, insider, talk)
}

fn audits(alice: &Person) -> Child {
    alice.command(&["--json", "audit", "lab", "--wait", "4s"]).stdout(Stdio::piped()).spawn().unwrap()
}

fn outcome(audit: Child) -> (Option<i32>, Value) {
    let output = audit.wait_with_output().unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

/// Waits until the node asks; the nonce.
async fn asked(talk: &mut Hostile) -> [u8; 16] {
    loop {
        if let Frame::Ask { nonce, .. } = talk.hear().await.expect("the conversation ended") {
            return nonce;
        }
    }
}

fn answer(insider: &Insider, nonce: [u8; 16]) -> SignedAnswer {
    let (control, content) = ([1; 32], [2; 32]);
    let draft = Draft { room: insider.room, nonce, hlc: Hlc::at_ms(now_ms()), control, content, durable: true };
    draft.sign(&insider.device)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_what_is_not_here_keeps_it_from_being_complete() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, insider, mut talk) = with_insider(folder.path()).await;
    let audit = audits(&alice);
    let nonce = asked(&mut talk).await;
    // To an older question, it is no answer.
    talk.say(&Frame::Answer { room: ROOM, answer: answer(&insider, [0; 16]) }).await;
    talk.say(&Frame::Answer { room: ROOM, answer: answer(&insider, nonce) }).await;
    let (code, found) = outcome(audit);
    assert_eq!((code, &found["complete"], &found["why"]), (Some(6), &json!(false), &json!("differs")), "{found}");
    assert_eq!((&found["agreed"], &found["asked"], &found["through_ms"]), (&json!(0), &json!(1), &Value::Null));
    assert_eq!(found["devices"][0]["state"], "differs");
    // Who says nothing agrees with nothing.
    let audit = audits(&alice);
    let (code, found) = outcome(audit);
    assert_eq!((code, &found["why"], &found["asked"]), (Some(6), &json!("unasked"), &json!(1)), "{found}");
    assert_eq!(found["devices"][0]["state"], "away");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_forges_an_answer_is_sent_away() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, insider, mut talk) = with_insider(folder.path()).await;
    let audit = audits(&alice);
    let nonce = asked(&mut talk).await;
    let mut answer = answer(&insider, nonce);
    answer.content[0] ^= 1;
    talk.say(&Frame::Answer { room: ROOM, answer }).await;
    talk.until_sent_away().await;
    let (code, found) = outcome(audit);
    assert_eq!((code, &found["agreed"]), (Some(6), &json!(0)), "{found}");
}
