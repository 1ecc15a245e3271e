//! Links that cannot be used: each error says what to do.

use crate::support::nodes::Person;
use serde_json::Value;
use tidings_protocol::link::InviteLink;

#[test]
fn a_link_that_cannot_be_used_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, mut bob) = (Person::at(folder.path(), "alice"), Person::at(folder.path(), "bob"));
    alice.up();
    bob.up();
    for room in [["open", "--public"].as_slice(), &["closed"]] {
        alice.json(&[&["room", "create"], room].concat());
    }
    let fails = |code: i32, link: &str, todo: &str| {
        let error = bob.fails(code, &["room", "join", link, "--wait", "5s"]);
        assert!(error.contains(todo), "{error}");
    };
    let text = alice.link("open");
    fails(2, "tidings.example/join", "an invite link begins with tidings://join/");
    fails(2, &text[..text.len() - 9], "copy all of it and try again");
    fails(2, &text.replacen('a', "b", 3), "copy all of it and try again");
    let mut elsewhere = InviteLink::from_text(&text).unwrap();
    elsewhere.network = "elsewhere".to_owned();
    fails(2, &elsewhere.to_text(), "run a node with that federation");
    assert_eq!(bob.json(&["room", "list"]), Value::Array(Vec::new()));

    for (room, code) in [("open", 5), ("closed", 6)] {
        let invite = alice.json(&["room", "invite", room]);
        alice.done(&["invite", "close", invite["invite"].as_str().unwrap()]);
        fails(code, invite["link"].as_str().unwrap(), "ask a member of the room for a new link");
        assert_eq!(alice.json(&["room", "members", room]).as_array().unwrap().len(), 1);
    }
}
