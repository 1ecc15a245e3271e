//! What a stranger does to a running node: nothing. Each test is a lie told to the real program over a real connection;
//! then the liar is sent away or refused, the node answers, honest nodes agree, and nothing of the lie is held.

use crate::support::hostile::{Hostile, ROOM, bomb, now_ms, offer, seal, signed};
use crate::support::nodes::Person as Home;
use crate::support::people::{Pen, Person, START_MS};
use crate::support::stranger::Stranger;
use serde_json::Value;
use std::fs;
use tempfile::TempDir;
use tidings_protocol::codec::encode;
use tidings_protocol::content::Content;
use tidings_protocol::control::payload::RoomKind;
use tidings_protocol::event::{Body, Class, Draft, Hlc, VerifiedEvent};
use tidings_protocol::gossip::{MESSAGE_LEN_MAX, topic};
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::limits::{CREDENTIAL_MS_MAX, FRAME_LEN_MAX, PAYLOAD_LEN_MAX};
use tidings_protocol::link::InviteLink;
use tidings_protocol::log::Tip;
use tidings_protocol::range::{Range, Row};
use tidings_protocol::sync::{Credential, Input, Offer};
use tidings_protocol::wire::{Branch, Frame, Handle, Listing, Proof};

/// Alice and Bob in a public room; Mallory, who is a member of it and lies.
struct Scene {
    alice: Home,
    bob: Home,
    room: RoomId,
    mallory: Person,
    pen: Pen,
    /// What honest people and Mallory have truly said.
    said: Vec<String>,
    /// Goes last: nodes may run in it until then.
    folder: TempDir,
}

impl Scene {
    async fn new() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let (mut alice, mut bob) = (Home::at(folder.path(), "alice"), Home::at(folder.path(), "bob"));
        alice.up();
        bob.up();
        alice.json(&["room", "create", "zig", "--public"]);
        let text = alice.link("zig");
        assert_eq!(bob.json(&["room", "join", &text])["pending"], false);
        alice.send("zig", "long before");
        let link = InviteLink::from_text(&text).unwrap();
        let mallory = Person::new(66);
        let (join, _) = mallory.join(link.room, link.invite, &link.key);
        let mut pen = mallory.pen(link.room, join.id());
        pen.hlc = Hlc::at_ms(now_ms());
        let said = vec!["long before".to_owned()];
        let mut scene = Scene { folder, alice, bob, room: link.room, mallory, pen, said };
        let mut talk = scene.talk().await;
        talk.push(&encode(&signed(&join))).await;
        let welcome = scene.pen.text("a true word");
        talk.push(&encode(&signed(&welcome))).await;
        scene.shows(&welcome, "a true word");
        scene
    }

    fn address(&self) -> String {
        self.alice.ready["listen"][0].as_str().unwrap().to_owned()
    }

    async fn talk(&self) -> Hostile {
        Hostile::in_room(&self.address(), self.room).await
    }

    /// An event that Mallory truly wrote is shown at both nodes.
    fn shows(&mut self, event: &VerifiedEvent, text: &str) {
        for home in [&self.alice, &self.bob] {
            assert_eq!(home.follow("zig").until_id(&event.id().to_string())["text"], text);
        }
        self.said.push(text.to_owned());
    }

    /// Alice's node has not taken much more memory than at its peak before.
    fn has_not_grown(&self, before_kib: u64) {
        let grown = self.alice.peak_memory_kib() - before_kib;
        assert!(grown < GROWTH_KIB_MAX, "{grown} KiB");
    }

    /// Both nodes answer, get from one another what is new, and hold the same, which is only what was truly said.
    fn is_well(&mut self) {
        for (from, to) in [(&self.alice, &self.bob), (&self.bob, &self.alice)] {
            let text = format!("number {}", self.said.len());
            to.follow("zig").until_id(&from.send("zig", &text));
            self.said.push(text);
        }
        let file = self.folder.path().join("export");
        let mut exports = Vec::new();
        for home in [&self.alice, &self.bob] {
            let mut texts = home.texts("zig");
            texts.sort();
            let mut said = self.said.clone();
            said.sort();
            assert_eq!(texts, said);
            home.done(&["export", "zig", "-o", file.to_str().unwrap()]);
            exports.push(fs::read(&file).unwrap());
            home.done(&["verify", file.to_str().unwrap()]);
        }
        assert!(exports[0] == exports[1], "the histories differ");
        let holds = |what: &[u8]| exports[0].windows(what.len()).any(|w| w == what);
        assert!(holds(b"long before") && !holds(LIE.as_bytes()));
    }

    /// Events that are false, whatever one holds. Each would be Mallory's next, were it true.
    fn lies(&self) -> Vec<(&'static str, Vec<u8>)> {
        let true_event = signed(&self.pen.fork().text(LIE));
        let header = || true_event.header.clone();
        let Body::Kept(payload) = true_event.body.clone() else { panic!("no payload") };
        let alice = self.alice.json(&["id"])["device"].as_str().unwrap().parse().unwrap();
        let bytes = encode(&true_event);
        let body_at = 4 + encode(&header()).len() + 64;
        let with = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            bytes
        };
        let mut lies = vec![
            ("a forged signature", with(body_at - 20, bytes[body_at - 20] ^ 1)),
            ("another payload", with(bytes.len() - 6, b'?')),
            ("bytes left over", [bytes.as_slice(), &[0]].concat()),
            ("cut short", bytes[..bytes.len() - 1].to_vec()),
            ("a flag that is neither", with(body_at, 2)),
            ("a header of a later version", with(4, 2)),
        ];
        let mut other = header();
        (other.author, other.grant) = (alice, EventId(*self.room.as_bytes()));
        lies.push(("by Alice, signed by another key", seal(&self.mallory, other, &payload.bytes)));
        let mut other = header();
        other.parents = vec![EventId([7; 32]); 2];
        lies.push(("a list out of order", seal(&self.mallory, other, &payload.bytes)));
        let mut other = header();
        other.room = RoomId([9; 32]);
        lies.push(("of another room", seal(&self.mallory, other, &payload.bytes)));
        lies.push(("a payload that does not read", seal(&self.mallory, header(), &[0xff; 9])));
        lies.push(("a payload that is too long", seal(&self.mallory, header(), &vec![b'a'; PAYLOAD_LEN_MAX + 1])));
        lies.push(("an event that is too long", [bytes.as_slice(), &vec![0; 60_000]].concat()));
        lies
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_pushes_a_false_event_is_sent_away() {
    let mut scene = Scene::new().await;
    for (what, lie) in scene.lies() {
        println!("{what}");
        let mut talk = scene.talk().await;
        talk.push(&lie).await;
        talk.until_sent_away().await;
    }
    scene.is_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_event_in_gossip_is_neither_held_nor_passed_on() {
    let mut scene = Scene::new().await;
    let topic = topic(scene.room);
    let mut listener = Stranger::new().await;
    listener.subscribe(&topic);
    listener.dial(&scene.address()).await;
    listener.until_subscribed(&topic).await;
    let mut lies = scene.lies();
    lies.push(("a message that is too long", vec![0; MESSAGE_LEN_MAX + 1]));
    for (what, lie) in &lies {
        println!("{what}");
        let mut liar = Stranger::new().await;
        liar.subscribe(&topic);
        liar.dial(&scene.address()).await;
        liar.until_subscribed(&topic).await;
        // The truth that follows tells that the lie was dealt with.
        let text = format!("after {what}");
        let truth = scene.pen.text(&text);
        liar.publish(&topic, lie);
        liar.publish(&topic, &encode(&signed(&truth)));
        scene.shows(&truth, &text);
        loop {
            let message = listener.message().await;
            assert!(lies.iter().all(|(_, lie)| *lie != message), "passed on: {what}");
            if message == encode(&signed(&truth)) {
                break;
            }
        }
    }
    scene.is_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_not_canonical_ends_the_conversation() {
    let mut scene = Scene::new().await;
    let event = encode(&signed(&scene.pen.fork().text(LIE)));
    let push = Frame::Push { room: ROOM, event }.to_bytes();
    let check =
        Frame::Check { room: ROOM, control: [1; 16], content: [2; 16], agreement: [0; 16], beacons: [0; 8] }.to_bytes();
    let lies = [
        [push.as_slice(), &[0]].concat(),
        push[..push.len() - 1].to_vec(),
        [&[99], push.as_slice()].concat(),
        [check.as_slice(), &[0]].concat(),
        Vec::new(),
    ];
    for lie in lies {
        let mut talk = scene.talk().await;
        talk.say_bytes(&lie).await;
        talk.until_sent_away().await;
    }
    let mut silent = Hostile::open(&scene.address()).await;
    silent.say_bytes(&push).await;
    silent.until_sent_away().await;
    scene.is_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_takes_no_memory() {
    let mut scene = Scene::new().await;
    let before = scene.alice.peak_memory_kib();
    for len in [FRAME_LEN_MAX as u32 + 1, 1 << 31, u32::MAX] {
        // Before hello and after.
        for mut talk in [Hostile::open(&scene.address()).await, scene.talk().await] {
            talk.write(&[len.to_be_bytes().as_slice(), &[1; 1000]].concat()).await;
            talk.until_sent_away().await;
        }
    }
    scene.has_not_grown(before);
    scene.is_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_inflates_to_a_gigabyte_takes_no_memory() {
    let mut scene = Scene::new().await;
    let before = scene.alice.peak_memory_kib();
    for says_size in [false, true] {
        let mut talk = scene.talk().await;
        let request = talk.tell_of(scene.pen.log(), Tip { seq: 40, id: EventId([3; 32]) }).await;
        talk.answer(request, bomb(8192, says_size)).await;
        talk.until_sent_away().await;
    }
    scene.has_not_grown(before);
    scene.is_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_with_a_false_range_is_sent_away() {
    let mut scene = Scene::new().await;
    let range = |pen: &Pen, events: &[VerifiedEvent]| {
        let row = |e: &VerifiedEvent| Row::new(e.header().clone(), e.body().clone(), e.signature().copied());
        Range { first_seq: pen.seq + 1, prev: pen.prev, rows: events.iter().map(row).collect() }
    };
    let mut pen = scene.pen.fork();
    let events = [pen.text(LIE), pen.text(LIE)];
    let mut forged = range(&scene.pen, &events);
    if let Some(signature) = &mut forged.rows[1].signature {
        signature.0[0] ^= 1;
    }
    let mut unsigned = range(&scene.pen, &events);
    unsigned.rows[1].signature = None;
    let mut changed = range(&scene.pen, &events);
    changed.rows[0].kind = 77;
    let broken = vec![0x28, 0xb5, 0x2f, 0xfd, 0xff, 0xff];
    for chunk in [forged.deflate().unwrap(), unsigned.deflate().unwrap(), changed.deflate().unwrap(), broken] {
        let mut talk = scene.talk().await;
        let request = talk.tell_of(pen.log(), pen.tip()).await;
        talk.answer(request, chunk).await;
        talk.until_sent_away().await;
    }
    // A true one is taken.
    let before = scene.pen.clone();
    let truth = [scene.pen.text("true"), scene.pen.text("true, too")];
    let mut talk = scene.talk().await;
    let request = talk.tell_of(scene.pen.log(), scene.pen.tip()).await;
    talk.answer(request, range(&before, &truth).deflate().unwrap()).await;
    scene.shows(&truth[0], "true");
    scene.shows(&truth[1], "true, too");
    scene.is_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_of_no_room_or_by_no_member_is_not_held() {
    let mut scene = Scene::new().await;
    let mut talk = scene.talk().await;
    let unknown = Person::new(67).pen(RoomId([8; 32]), EventId([8; 32])).text(LIE);
    let event = encode(&signed(&unknown));
    talk.say(&Frame::Push { room: Handle(7), event }).await;
    assert_eq!(talk.caught_up().await, [Frame::Refused(Handle(7))]);
    // Under a grant that is not there, and under one that is another's.
    for grant in [EventId([8; 32]), scene.pen.grant] {
        let outsider = Person::new(67).pen(scene.room, grant).text(LIE);
        talk.push(&encode(&signed(&outsider))).await;
    }
    talk.caught_up().await;
    scene.is_well();
    // Who said so is not to blame, and still heard.
    let truth = scene.pen.text("still here");
    talk.push(&encode(&signed(&truth))).await;
    scene.shows(&truth, "still here");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_before_its_predecessor_leaves_a_gap_until_that_comes() {
    let mut scene = Scene::new().await;
    let (second, third) = (scene.pen.text("the second"), scene.pen.text("the third"));
    let mut talk = scene.talk().await;
    talk.push(&encode(&signed(&third))).await;
    let id = third.id().to_string();
    scene.alice.follow("zig").until_id(&id);
    assert!(scene.alice.texts("zig").contains(&"(gap)".to_owned()));
    talk.push(&encode(&signed(&second))).await;
    scene.alice.follow("zig").until_id(&second.id().to_string());
    // Bob may have the gap, too: a new conversation asks for what is missing at once, one under way when it compares again.
    scene.bob.down();
    scene.bob.up();
    scene.shows(&second, "the second");
    scene.shows(&third, "the third");
    scene.is_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_names_anothers_event_as_predecessor_sets_nobody_against_anybody() {
    let mut scene = Scene::new().await;
    let mut talk = scene.talk().await;
    let first = scene.alice.lines("zig").remove(0);
    let (id, alices) = (first["id"].as_str().unwrap().parse().unwrap(), scene.said[0].clone());
    assert_eq!(first["text"], alices.as_str());
    // Alice's first event is made the one before Mallory's second: every node has it, in another log.
    let content = Content::Text("after Alice".into());
    let mut pen = scene.pen.fork();
    let draft = Draft { seq: 2, prev: id, ..pen.draft(content.kind(), content.encode()) };
    let lie = pen.sign(draft);
    talk.push(&encode(&signed(&lie))).await;
    scene.shows(&lie, "after Alice");
    scene.said.push("(gap)".to_owned());
    for _ in 0..3 {
        scene.is_well();
    }
    // Nor does a newcomer, who asks for all of it, nor one who comes back.
    let mut carol = Home::at(scene.folder.path(), "carol");
    carol.up();
    assert_eq!(carol.json(&["room", "join", &scene.alice.link("zig")])["pending"], false);
    carol.until_shown("zig", scene.said.len() - 1);
    scene.bob.down();
    scene.bob.up();
    scene.is_well();
    let last = scene.alice.send("zig", "and on it goes");
    carol.follow("zig").until_id(&last);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_years_away_moves_nobody_elses() {
    let mut scene = Scene::new().await;
    let mut talk = scene.talk().await;
    let mut at_bob = scene.bob.follow("zig");
    at_bob.until(|line| line["text"] == "a true word");
    let from_now = |line: &Value| line["ms"].as_u64().unwrap().abs_diff(now_ms());
    let clocks = [
        (Hlc::at_ms(now_ms() + 5 * YEAR_MS), None),
        (Hlc(u64::MAX), None),
        (Hlc::at_ms(START_MS), Some(START_MS)),
        (Hlc(0), Some(0)),
    ];
    for (n, (hlc, shown_ms)) in clocks.into_iter().enumerate() {
        let text = format!("clock {n}");
        let content = Content::Text(text.as_str().into());
        let mut draft = scene.pen.draft(content.kind(), content.encode());
        draft.hlc = hlc;

        let event = scene.pen.sign(draft);
        talk.push(&encode(&signed(&event))).await;
        scene.shows(&event, &text);
        // Also to who looks on, and wherever it stands.
        at_bob.until_id(&event.id().to_string());
        let lines = scene.alice.lines("zig");
        let line = lines.iter().find(|line| line["text"] == text.as_str()).unwrap();
        // One ahead is shown when it came, one behind when it says.
        match shown_ms {
            Some(ms) => assert_eq!(line["ms"], ms),
            None => assert!(from_now(line) < MINUTE_MS, "{line}"),
        }
    }
    for home in [&scene.alice, &scene.bob] {
        let id = home.send("zig", "what time is it?");
        scene.said.push("what time is it?".to_owned());
        let lines = home.lines("zig");
        let line = lines.last().unwrap();
        assert!(line["id"] == id.as_str() && from_now(line) < MINUTE_MS, "{line}");
    }
    scene.is_well();
}

/// All that a node says to whom it does not know: it lacks what was asked for.
fn is_nothing(frame: &Frame) -> bool {
    match frame {
        Frame::Refused(_) => true,
        Frame::Events { chunk, .. } => chunk.is_empty(),
        _ => false,
    }
}

fn questions() -> Vec<Frame> {
    let top = Tip { seq: 1, id: EventId([4; 32]) };
    let (room, class, last) = (ROOM, Class::Content, true);
    vec![
        Frame::Check { room, control: [1; 16], content: [1; 16], agreement: [1; 16], beacons: [1; 8] },
        Frame::Heads { room, class, listing: Listing::Whole, last, heads: Vec::new() },
        Frame::Heads { room, class: Class::Control, listing: Listing::Whole, last, heads: Vec::new() },
        Frame::Reconcile { room, class, message: Vec::new() },
        Frame::Lack { room, class, items: vec![2] },
        Frame::Slots { room, names: Vec::new() },
        Frame::Beacons { room, beacons: Vec::new() },
        Frame::Ask { room, nonce: [7; 16] },
        Frame::Want { request: 5, room, branches: vec![Branch { top, down_to: 1 }] },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_echo_of_tags_opens_no_members_room() {
    let folder = tempfile::tempdir().unwrap();
    let mut alice = Home::at(folder.path(), "alice");
    alice.up();
    alice.json(&["room", "create", "secret"]);
    alice.send("secret", "among us");
    let address = alice.ready["listen"][0].as_str().unwrap();
    let (mut talk, tags) = Hostile::greeted(address).await;
    // Of her self-room, and of the room.
    assert_eq!(tags.len(), 2);
    talk.say(&Frame::Rooms(tags)).await;
    for question in questions() {
        talk.say(&question).await;
    }
    let answers = talk.caught_up().await;
    assert_eq!(answers.len(), questions().len(), "{answers:?}");
    assert!(answers.iter().all(is_nothing), "{answers:?}");
    alice.send("secret", "are we alone?");
    assert_eq!(talk.caught_up().await, []);
    assert_eq!(alice.texts("secret"), ["among us", "are we alone?"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_members_rooms_secret_alone_learns_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut alice = Home::at(folder.path(), "alice");
    alice.up();
    alice.json(&["room", "create", "secret"]);
    alice.send("secret", "among us");
    let address = alice.ready["listen"][0].as_str().unwrap();
    let link = InviteLink::from_text(&alice.link("secret")).unwrap();
    let (room, secret) = (link.room, link.secret);
    let with_secret = Offer { kind: RoomKind::Members, secret, ..offer(room) };
    let (mut talk, mut honest) = Hostile::offering(address, with_secret).await;
    let tags = talk.hear().await.unwrap();
    honest.handle(Input::Frame(tags), &crate::support::hostile::Nothing, now_ms()).unwrap();
    let key = tidings_protocol::identity::DeviceKey::from_seed(&[9; 32]);
    let expires_ms = now_ms() + CREDENTIAL_MS_MAX / 2;
    let Credential { device, signature, .. } =
        Credential::issue(&key, room, &talk.stranger.peer.to_bytes(), expires_ms);
    talk.say(&Frame::Proof(Proof { room: ROOM, device, expires_ms, signature })).await;
    for question in questions() {
        talk.say(&question).await;
    }
    let answers = talk.caught_up().await;
    assert_eq!(answers.len(), questions().len() + 1, "{answers:?}");
    assert!(answers.iter().all(is_nothing), "{answers:?}");
    alice.send("secret", "are we alone?");
    assert_eq!(talk.caught_up().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_echo_of_digests_is_no_agreement() {
    let mut scene = Scene::new().await;
    let (mut talk, _) = Hostile::offering(&scene.address(), offer(scene.room)).await;
    let check = loop {
        if let frame @ Frame::Check { .. } = talk.hear().await.unwrap() {
            break frame;
        }
    };
    talk.say(&check).await;
    // It sees that something differs, and begins to compare.
    while !matches!(talk.hear().await.unwrap(), Frame::Heads { class: Class::Control, .. }) {}
    scene.is_well();
}

/// What no false event may bring into the history.
const LIE: &str = "this is a lie";
/// What a node may need for anything that is done to it here.
const GROWTH_KIB_MAX: u64 = 64 << 10;
const MINUTE_MS: u64 = 60_000;
const YEAR_MS: u64 = 365 * 24 * 3600 * 1000;
