//! A members room is held tight: strangers, holders of a link and former members get nothing of it, over gossip, sync or
//! the API; what current devices hear over gossip nobody else can read.

use crate::support::asks::Door;
use crate::support::hostile::{Hostile, ROOM, now_ms, offer};
use crate::support::insider::Insider;
use crate::support::nodes::Person as Home;
use crate::support::people::Person;
use crate::support::stranger::{Heard, Stranger};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tidings_protocol::codec::encode;
use tidings_protocol::control::payload::RoomKind;
use tidings_protocol::event::Class;
use tidings_protocol::gossip::{SEALED_TIPS_LEN, Tips, sealed_topic, topic};
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::link::InviteLink;
use tidings_protocol::log::Tip;
use tidings_protocol::sync::Offer;
use tidings_protocol::wire::{Branch, Frame, Handle, Listing};

fn up(folder: &Path, name: &str) -> Home {
    let mut home = Home::at(folder, name);
    home.up();
    home
}

fn address(home: &Home) -> String {
    home.ready["listen"][0].as_str().unwrap().to_owned()
}

/// Waits until something holds, asking again and again.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "not after a minute: {what}");
    }
}

/// Alice's members room, with a link that she has closed again.
struct Closed {
    alice: Home,
    link: InviteLink,
    text: String,
    /// Goes last: nodes may run in it until then.
    _folder: TempDir,
}

impl Closed {
    fn new() -> Closed {
        let folder = tempfile::tempdir().unwrap();
        let alice = up(folder.path(), "alice");
        alice.json(&["room", "create", "secret"]);
        alice.send("secret", "among us");
        let invite = alice.json(&["room", "invite", "secret"]);
        let text = invite["link"].as_str().unwrap().to_owned();
        alice.done(&["invite", "close", invite["invite"].as_str().unwrap()]);
        Closed { _folder: folder, alice, link: InviteLink::from_text(&text).unwrap(), text }
    }

    /// What a stranger who has the link would offer.
    fn offer(&self) -> Offer {
        Offer { kind: RoomKind::Members, secret: self.link.secret, ..offer(self.link.room) }
    }

    /// Nobody came, and everything is as it was.
    fn is_untouched(&self) {
        assert_eq!(self.alice.json(&["room", "members", "secret"]).as_array().unwrap().len(), 1);
        assert_eq!(self.alice.texts("secret"), ["among us"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_closed_link_cannot_tell_over_sync_whether_the_room_is_here() {
    let scene = Closed::new();
    let node = address(&scene.alice);
    // As the one who begins: what answers our tag, our proof, our knock with a Join is what a room that nobody has gets.
    let mallory = Person::new(66);
    let (join, _) = mallory.join(scene.link.room, scene.link.invite, &scene.link.key);
    let device = tidings_protocol::identity::DeviceKey::from_seed(&mallory.device_seed());
    for room in [scene.link.room, RoomId([9; 32])] {
        let mut stranger = Hostile::open(&node).await;
        let us = stranger.stranger.peer.to_bytes();
        let expires_ms = now_ms() + 1_000_000;
        let credential = Some(tidings_protocol::sync::Credential::issue(&device, room, &us, expires_ms));
        let introduction = vec![encode(&join.to_signed().unwrap())];
        let offer = Offer { room, credential, introduction, joining: true, ..scene.offer() };
        let heard = stranger.begin(&node, vec![offer]).await;
        assert!(matches!(heard[..], [Frame::Hello { .. }, Frame::Rooms(_)]), "{heard:?}");
        // The introduction is dealt with, and nothing comes of it.
        scene.alice.json(&["status"]);
        for question in questions(ROOM) {
            stranger.say(&question).await;
        }
        let answers = stranger.caught_up().await;
        assert!(answers.len() == questions(ROOM).len() && answers.iter().all(is_nothing), "{answers:?}");
        scene.alice.send("secret", "among us");
        assert_eq!(stranger.caught_up().await, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_closed_link_is_shown_nothing_when_called() {
    let scene = Closed::new();
    let (mut stranger, told) = Hostile::called(&address(&scene.alice), scene.offer()).await;
    // The initiator's tags, of its user's self-room and of this one, are none that the link makes, and it shows no proof.
    assert!(matches!(&told[..], [Frame::Rooms(tags)] if tags.len() == 2), "{told:?}");
    scene.alice.send("secret", "are we alone?");
    assert_eq!(stranger.caught_up().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_closed_link_finds_no_topic() {
    let scene = Closed::new();
    let mut stranger = Stranger::new().await;
    stranger.dial(&address(&scene.alice)).await;
    let Heard::Subscribed(told) = stranger.until(|heard| matches!(heard, Heard::Subscribed(_))).await else { panic!() };
    let link = &scene.link;
    assert!(![topic(link.room), sealed_topic(&link.secret), sealed_topic(link.room.as_bytes())].contains(&told));
    // Whoever looks on hears that something moves somewhere, and cannot read it.
    stranger.subscribe(&told);
    stranger.until_meshed(&told).await;
    scene.alice.send("secret", "words for us alone");
    let heard = stranger.message().await;
    assert_eq!(heard.len(), SEALED_TIPS_LEN);
    for key in [link.secret, *link.key.seed(), *link.room.as_bytes(), *link.key.key().as_bytes()] {
        assert_eq!(Tips::open(&key, link.room, &heard), None);
    }
}

#[test]
fn a_room_that_one_may_not_see_is_not_found_like_one_that_is_not_there() {
    let scene = Closed::new();
    let bob = up(scene._folder.path(), "bob");
    bob.fails(6, &["room", "join", &scene.text, "--wait", "1s"]);
    let (theirs, nobodys) = (scene.link.room.to_string(), RoomId([9; 32]).to_string());
    let carol = up(scene._folder.path(), "carol");
    carol.done(&["peers", "add", &address(&scene.alice)]);
    for ask in ["show", "members"] {
        let answers = [&theirs, &nobodys].map(|room| {
            let output = carol.run(&["--json", "room", ask, room]);
            assert_eq!(output.status.code(), Some(5));
            String::from_utf8(output.stdout).unwrap().replace(room.as_str(), "ROOM")
        });
        assert_eq!(answers[0], answers[1]);
    }
    for arguments in [["read", &theirs], ["send", &theirs], ["export", &theirs]] {
        carol.fails(5, &[&arguments[..], &["x"][..usize::from(arguments[0] == "send")]].concat());
    }
    // Who waits to be let in knows of the room what the link says.
    let shown = bob.json(&["room", "show", &theirs]);
    assert_eq!((&shown["pending"], &shown["name"], &shown["members"]), (&true.into(), &"".into(), &0.into()));
    scene.is_untouched();
}

/// The times are for whoever reads on; `make measure` holds them to what is promised.
#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_who_is_not_let_in_is_that_about_a_room_which_nobody_has() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::new(folder.path());
    for answers in door.ask(1000).await {
        let (known, unknown, spread) = answers.medians();
        println!("{}: {known:.0} us, of no room {unknown:.0} us; quartiles {spread:.0} us apart", answers.who);
        assert!(answers.equal, "{}", answers.who);
    }
}

/// Alice's members room with Bob, of whom we have the keys.
struct Pair {
    alice: Home,
    bob: Home,
    room: RoomId,
    insider: Insider,
    /// Goes last: nodes may run in it until then.
    _folder: TempDir,
}

impl Pair {
    fn new() -> Pair {
        let folder = tempfile::tempdir().unwrap();
        let (alice, mut bob) = (up(folder.path(), "alice"), up(folder.path(), "bob"));
        alice.json(&["room", "create", "secret"]);
        let text = alice.link("secret");
        assert_eq!(bob.json(&["room", "join", &text])["pending"], false);
        bob.until_shown("secret", 0);
        alice.send("secret", "while Bob was here");
        bob.until_shown("secret", 1);
        let room = InviteLink::from_text(&text).unwrap().room;
        bob.down();
        let insider = Insider::of(&bob, room);
        bob.up();
        Pair { _folder: folder, alice, bob, room, insider }
    }

    /// Bob leaves, and Alice knows it.
    fn bob_leaves(&mut self) {
        self.bob.done(&["room", "leave", "secret"]);
        until("Bob has left", || self.alice.json(&["room", "members", "secret"]).as_array().unwrap().len() == 1);
        self.bob.down();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_left_gets_nothing_newer_over_sync() {
    let mut pair = Pair::new();
    let node = address(&pair.alice);
    let mut talk = pair.insider.talk(&node).await;
    assert!(pair.alice.send("secret", "still together").len() > 1);
    while !matches!(talk.hear().await.unwrap(), Frame::Push { .. }) {}
    pair.bob_leaves();
    // The conversation that was open is cut off: one word of refusal, and nothing after it.
    while talk.hear().await.unwrap() != Frame::Refused(ROOM) {}
    pair.alice.send("secret", "now that Bob is gone");
    assert_eq!(talk.caught_up().await, []);
    for question in [vec![pair.insider.proof(ROOM, &talk)], questions(ROOM)].concat() {
        talk.say(&question).await;
    }
    let answers = talk.caught_up().await;
    assert!(answers.iter().all(is_nothing), "{answers:?}");
    // What it asks for by name it does not get either, in a new conversation.
    let mut talk = Hostile::offering_all(&node, vec![pair.insider.offer()]).await;
    let genesis = Branch { top: Tip { seq: 1, id: EventId(*pair.room.as_bytes()) }, down_to: 1 };
    talk.say(&pair.insider.proof(ROOM, &talk)).await;
    talk.say(&Frame::Want { request: 3, room: ROOM, branches: vec![genesis] }).await;
    let answers = talk.caught_up().await;
    assert!(answers.len() == 2 && answers.iter().all(is_nothing), "{answers:?}");
}

#[test]
fn the_home_of_who_has_left_shows_what_was_there_and_nothing_newer() {
    let mut pair = Pair::new();
    pair.bob_leaves();
    pair.alice.send("secret", "now that Bob is gone");
    pair.bob.up();
    pair.bob.done(&["peers", "add", &address(&pair.alice)]);
    until("they are connected", || !pair.bob.json(&["peers"]).as_array().unwrap().is_empty());
    assert_eq!(pair.bob.texts("secret"), ["while Bob was here"]);
    assert_eq!(pair.bob.json(&["room", "show", "secret"])["role"], "none");
    assert_eq!(pair.bob.json(&["room", "list"]).as_array().unwrap().len(), 0);
    pair.bob.fails(4, &["send", "secret", "may I come back?"]);
}

#[test]
fn who_came_in_by_an_invite_that_was_closed_meanwhile_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, mut bob) = (up(folder.path(), "alice"), up(folder.path(), "bob"));
    alice.json(&["room", "create", "secret"]);
    let invite = alice.json(&["room", "invite", "secret"]);
    let link = invite["link"].as_str().unwrap();
    assert_eq!(bob.json(&["room", "join", link])["pending"], false);
    until("Alice knows Bob", || alice.json(&["room", "members", "secret"]).as_array().unwrap().len() == 2);
    alice.down();
    // While Alice is away Carol joins by the same link, at Bob.
    let carol = up(folder.path(), "carol");
    carol.done(&["peers", "add", &address(&bob)]);
    assert_eq!(carol.json(&["room", "join", link])["pending"], false);
    bob.send("secret", "hello Carol");
    carol.until_shown("secret", 1);
    bob.down();
    // Alice, who knows nothing of that, closes the invite.
    alice.up();
    alice.done(&["invite", "close", invite["invite"].as_str().unwrap()]);
    bob.up();
    carol.done(&["peers", "add", &address(&bob)]);
    bob.send("secret", "hello again, Carol");
    carol.until_shown("secret", 2);
    bob.done(&["peers", "add", &address(&alice)]);
    until("Bob knows it", || bob.json(&["room", "members", "secret"]).as_array().unwrap().len() == 2);
    for (from, to) in [(&bob, &alice), (&alice, &bob)] {
        to.follow("secret").until_id(&from.send("secret", "who is still here?"));
    }
    // Bob's node and Carol's talk on, and not of this room.
    assert!(!carol.json(&["peers"]).as_array().unwrap().is_empty());
    assert_eq!(carol.texts("secret"), ["hello Carol", "hello again, Carol"]);
    bob.send("secret", "we two");
    assert_eq!(carol.texts("secret").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_gossip_says_of_a_members_room_is_sealed_from_strangers_and_from_who_has_left() {
    let mut pair = Pair::new();
    let node = address(&pair.alice);
    let mut talk = pair.insider.talk(&node).await;
    pair.alice.send("secret", "keys are told when something moves");
    let mut before = pair.insider.key(&mut talk).await;
    let name = sealed_topic(&pair.insider.inner);
    let mut listener = Stranger::new().await;
    listener.dial(&node).await;
    // All topics there are: a members room has no other.
    assert_eq!(listener.until(|heard| matches!(heard, Heard::Subscribed(_))).await, Heard::Subscribed(name.clone()));
    listener.subscribe(&name);
    listener.until_meshed(&name).await;
    // Control: while Bob is a member he can read it.
    let said: EventId = pair.alice.send("secret", "words for us alone").parse().unwrap();
    // What was said before may be told only now; and Alice and Bob may agree on another key later: a member has that, too.
    let mut heard = listener.message().await;
    loop {
        match Tips::open(&before, pair.room, &heard) {
            Some(tips) if tips.ids.contains(&said) => break,
            Some(_) => heard = listener.message().await,
            None => before = pair.insider.key(&mut talk).await,
        }
    }
    pair.bob_leaves();
    // Whatever says that he left may be sealed by the last key; what is said from now on is not.
    listener.messages();
    let mut said = Vec::new();
    let mut later = vec![listener_hears(&mut listener, &pair.alice, "newer words").await];
    for n in 0..5 {
        said.push(pair.alice.send("secret", &format!("newer words {n}")));
    }
    pair.alice.json(&["room", "invite", "secret"]);
    later.push(listener_hears(&mut listener, &pair.alice, "last words").await);
    later.extend(listener.messages());
    for message in &later {
        assert_eq!(message.len(), SEALED_TIPS_LEN);
        for key in [before, pair.insider.secret, pair.insider.inner, *pair.room.as_bytes()] {
            assert_eq!(Tips::open(&key, pair.room, message), None);
        }
        for id in &said {
            let id: EventId = id.parse().unwrap();
            assert!(!message.windows(8).any(|w| w == &id.as_bytes()[..8]));
        }
        assert!(!message.windows(5).any(|w| w == b"words"));
    }
}

/// Says something, and returns what is heard of it.
async fn listener_hears(listener: &mut Stranger, home: &Home, text: &str) -> Vec<u8> {
    home.send("secret", text);
    listener.message().await
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_tips_that_are_news_make_a_node_ask_and_all_others_nothing() {
    let mut pair = Pair::new();
    // Nobody else is there to be asked.
    pair.bob.down();
    until("Bob's node is gone", || pair.alice.json(&["peers"]).as_array().unwrap().is_empty());
    let node = address(&pair.alice);
    let mut talk = pair.insider.talk(&node).await;
    let known: EventId = pair.alice.send("secret", "known").parse().unwrap();
    let key = pair.insider.key(&mut talk).await;
    let name = sealed_topic(&pair.insider.inner);
    let mut gossip = Stranger::new().await;
    gossip.subscribe(&name);
    gossip.dial(&node).await;
    gossip.until_subscribed(&name).await;
    talk.caught_up().await;
    let seal = |key: &[u8; 32], ms: u64, id: EventId, n: u8| Tips { ms, ids: vec![id] }.seal(key, pair.room, [n; 24]);
    let (now, news) = (now_ms(), EventId([7; 32]));
    let asked = |frames: &[Frame]| frames.iter().any(|f| matches!(f, Frame::Check { .. }));
    // What we hold, what is old, what is another's, what is no message of this topic; and much of it.
    gossip.publish(&name, &seal(&key, now, known, 1));
    gossip.publish(&name, &seal(&key, now - 3_600_000, news, 2));
    gossip.publish(&name, &seal(&key, now + 3_600_000, news, 3));
    for n in 0..200 {
        gossip.publish(&name, &seal(&[9; 32], now, news, n));
    }
    // Messages come in order: when the last has brought about a question, all before were dealt with. This one is told
    // by somebody else, for who tells so much that does not open is not listened to for a second.
    let mut other = Stranger::new().await;
    other.subscribe(&name);
    other.dial(&node).await;
    other.until_subscribed(&name).await;
    assert!(!asked(&talk.caught_up().await));
    let fresh = seal(&key, now_ms(), news, 4);
    other.publish(&name, &fresh);
    loop {
        if matches!(talk.hear().await.unwrap(), Frame::Check { .. }) {
            break;
        }
    }
    // Said again, it is not even looked at.
    gossip.publish(&name, &fresh);
    let last = seal(&key, now_ms(), known, 5);
    gossip.publish(&name, &last);
    assert!(!asked(&talk.caught_up().await));
}

/// All that a node says to whom it does not know: it lacks what was asked for.
fn is_nothing(frame: &Frame) -> bool {
    match frame {
        Frame::Refused(_) => true,
        Frame::Events { chunk, .. } => chunk.is_empty(),
        _ => false,
    }
}

fn questions(room: Handle) -> Vec<Frame> {
    let top = Tip { seq: 1, id: EventId([4; 32]) };
    let (class, last) = (Class::Content, true);
    vec![
        Frame::Check { room, control: [1; 16], content: [1; 16], agreement: [1; 16], beacons: [1; 8] },
        Frame::Heads { room, class, listing: Listing::Whole, last, heads: Vec::new() },
        Frame::Heads { room, class: Class::Control, listing: Listing::Moved, last, heads: Vec::new() },
        Frame::Reconcile { room, class, message: Vec::new() },
        Frame::Lack { room, class, items: vec![2] },
        Frame::Want { request: 5, room, branches: vec![Branch { top, down_to: 1 }] },
        Frame::Push { room, event: vec![1; 9] },
        Frame::Key { room, circle: [1; 32], key: [2; 32] },
    ]
}

const PATIENCE: Duration = Duration::from_secs(60);
