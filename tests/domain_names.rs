//! Names at domains, through the real program: asked for by HTTPS, pinned to the key that came first, and never believed
//! against it.

use crate::support::domain::{Domain, unsigned};
use crate::support::nodes::Person;
use std::fs;

/// Some user, by number.
fn user(number: u8) -> String {
    crate::support::people::Person::new(number).user().to_string()
}

fn pinned(person: &Person) -> Vec<(String, String)> {
    let people = person.json(&["people"]);
    let names = |p: &serde_json::Value| {
        let user = p["user"].as_str().unwrap().to_owned();
        let names = p["names"].as_array().unwrap().clone();
        names.into_iter().map(move |name| (name.as_str().unwrap().to_owned(), user.clone())).collect::<Vec<_>>()
    };
    people.as_array().unwrap().iter().flat_map(names).collect()
}

#[test]
fn a_name_at_a_domain_is_pinned_to_the_key_that_came_first() {
    let folder = tempfile::tempdir().unwrap();
    let domain = Domain::new(folder.path(), "example.org");
    let mut bob = Domain::home(folder.path(), "bob", &[("example.org", &domain)]);
    bob.up();
    let (alice, mallory) = (user(1), user(2));
    domain.names(&alice);
    let named = bob.json(&["people", "name", "Alice@Example.org", "Alice from work"]);
    assert_eq!((&named["user"], &named["petname"]), (&alice.clone().into(), &"Alice from work".into()));
    assert_eq!(pinned(&bob), [("alice@example.org".to_owned(), alice.clone())]);
    let asked = domain.asked().remove(0);
    assert!(asked.starts_with("GET /.well-known/tidings/alice HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("host: example.org\r\n"), "{asked}");

    // Whoever has the domain now does not have the name.
    domain.names(&mallory);
    let says = [alice.as_str(), mallory.as_str(), "tidings people pin alice@example.org --replace"];
    for command in [["people", "block", "alice@example.org"].as_slice(), &["people", "pin", "alice@example.org"]] {
        bob.refused(4, command, &says);
    }
    bob.refused(4, &["people", "verify", "alice@example.org"], &says);
    assert_eq!(bob.json(&["people"])[0]["blocked"], false);
    assert_eq!(pinned(&bob), [("alice@example.org".to_owned(), alice.clone())]);

    // A domain that is silent, gone or broken takes nothing away.
    for (status, body) in [("404 Not Found", ""), ("500 Oh", ""), ("200 OK", "<html>")] {
        domain.says(status, body);
        assert_eq!(bob.json(&["people", "block", "alice@example.org"])["user"], alice.as_str());
    }
    bob.kill();
    bob.up();
    assert_eq!(bob.json(&["people", "unblock", "alice@example.org"])["user"], alice.as_str());
    assert_eq!(bob.json(&["people", "unblock", "alice from work"])["user"], alice.as_str());

    domain.names(&mallory);
    let replaced = bob.json(&["people", "pin", "alice@example.org", "--replace"]);
    assert_eq!((&replaced["user"], &replaced["replaced"]), (&mallory.clone().into(), &alice.clone().into()));
    assert_eq!(bob.json(&["people", "verify", "alice@example.org"])["person"]["user"], mallory.as_str());
    bob.done(&["people", "pin", "alice@example.org", "--forget"]);
    assert_eq!(pinned(&bob), []);
    bob.refused(5, &["people", "pin", "alice@example.org", "--forget"], &["not pinned"]);
}

#[test]
fn what_a_domain_must_not_answer() {
    let folder = tempfile::tempdir().unwrap();
    let domain = Domain::new(folder.path(), "example.org");
    let mut bob = Domain::home(folder.path(), "bob", &[("example.org", &domain)]);
    bob.up();
    let pin = ["people", "pin", "alice@example.org"];
    let refused = |code: i32, says: &[&str]| bob.refused(code, &pin, says);
    domain.says("404 Not Found", "");
    refused(5, &["example.org knows no such name"]);
    domain.says("410 Gone", "");
    refused(5, &["example.org knows no such name"]);
    for to in ["https://example.com/x", "http://example.org/x", "https://example.org/y", "//10.0.0.1/", "\u{1b}[2J"] {
        domain.says_bytes(format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n").into_bytes());
        let error = bob.fails(1, &pin);
        assert!(!error.contains('\u{1b}'), "{error:?}");
        if !to.contains('\u{1b}') {
            assert!(error.contains("sends on to") && error.contains("not followed"), "{error}");
        }
    }
    domain.says("503 Busy", "");
    refused(1, &["HTTP 503"]);
    let whole = format!("{{\"user\":\"{}\"}}", user(1));
    domain.says("200 OK", &format!("{}{whole}", " ".repeat(16 * 1024)));
    refused(1, &["more than 16384 bytes"]);
    // As long as it says, and without saying how long.
    let endless = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", " ".repeat(1 << 20));
    domain.says_bytes(endless.into_bytes());
    refused(1, &["more than 16384 bytes"]);
    domain.says_bytes(format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n{whole}", "x".repeat(1 << 20)).into_bytes());
    refused(1, &["example.org cannot be asked"]);
    domain.says_bytes(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec());
    refused(1, &["example.org cannot be asked"]);
    for body in ["", "null", "{}", "{\"user\":\"did:key:z6Mk\"}", "{\"user\":\"\\u001b[2J\"}"] {
        domain.says("200 OK", body);
        refused(1, &["does not say whose the name is"]);
    }
    domain.says_nothing();
    let error = bob.fails(1, &pin);
    assert!(error.contains("did not answer in 10 s"), "{error}");
    assert_eq!(pinned(&bob), []);
    // The control: the strictest reader still reads what is right.
    domain.says("200 OK", &format!("{whole}{}", " ".repeat(16 * 1024 - whole.len())));
    assert_eq!(bob.json(&pin)["user"], user(1));
}

#[test]
fn only_the_domain_itself_is_asked_and_only_when_its_user_asks() {
    let folder = tempfile::tempdir().unwrap();
    let domain = Domain::new(folder.path(), "example.org");
    let mut bob = Domain::home(folder.path(), "bob", &[("example.org", &domain), ("other.example", &domain)]);
    domain.names(&user(1));
    bob.up();
    // Its certificate is for another name.
    bob.refused(1, &["people", "pin", "alice@other.example"], &["other.example cannot be asked", "certificate"]);
    // Nobody vouches for its certificate.
    let stranger = Domain::new(folder.path(), "third.example");
    let mut carol = Domain::home(folder.path(), "carol", &[("example.org", &domain)]);
    fs::write(
        carol.home.join("config.toml"),
        format!("names_trust = [{:?}]\nnames_at = [\"example.org={}\"]", stranger.authority, domain.address),
    )
    .unwrap();
    carol.up();
    carol.refused(1, &["people", "pin", "alice@example.org"], &["example.org cannot be asked", "certificate"]);
    assert_eq!(domain.asked(), [""; 0]);
    // Names that could lead elsewhere are not asked for at all.
    for bad in ["@example.org", "a@", "a@localhost", "a@127.0.0.1", "a@[::1]", "a@example.org:443", "../x@example.org"]
    {
        bob.refused(2, &["people", "pin", bad], &[]);
        bob.refused(2, &["people", "block", bad], &[]);
    }
    // What others say makes nobody ask.
    bob.json(&["room", "create", "zig"]);
    carol.done(&["id", "name", "alice@example.org"]);
    carol.json(&["room", "join", &bob.link("zig")]);
    let id = carol.send("zig", "ask alice@example.org, https://example.org/.well-known/tidings/alice");
    bob.follow("zig").until_id(&id);
    bob.json(&["room", "members", "zig"]);
    assert_eq!(domain.asked(), [""; 0]);
    bob.json(&["people", "pin", "alice@example.org"]);
    assert_eq!(domain.asked().len(), 1);
}

#[test]
fn settings_for_names_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("half.pem");
    fs::write(&file, &unsigned("example.org").cert.pem()[..200]).unwrap();
    let domain = Domain::new(folder.path(), "example.org");
    let bob = Domain::home(folder.path(), "bob", &[("example.org", &domain)]);
    for (text, says) in [
        ("names_at = [\"example.org\"]".to_owned(), "example.org=10.0.0.5:443"),
        (format!("names_trust = [{file:?}]"), "certificates in PEM"),
        ("names_trust = [\"/nonexistent\"]".to_owned(), "certificates in PEM"),
        ("names_on = []".to_owned(), "names_trust, names_at"),
    ] {
        fs::write(bob.home.join("config.toml"), text).unwrap();
        bob.refused(2, &["up", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0"], &[says]);
    }
}
