//! Beacons of those who lie: what a node does with them before it keeps, shows or passes on anything. And what a running
//! node does with who tells them.

use crate::support::hostile::{Hostile, ROOM};
use crate::support::nodes::Person as Home;
use crate::support::people::{Person, invite_secret};
use crate::support::scene::Scene;
use std::sync::Arc;
use tempfile::TempDir;
use tidings_node::beacons::Beacons;
use tidings_node::clock::now_ms;
use tidings_node::command::Command;
use tidings_node::rooms::RoomView;
use tidings_protocol::beacon::{Draft, Presence, Signal, SignedBeacon, kind};
use tidings_protocol::control::payload::RoomKind;
use tidings_protocol::event::Hlc;
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::identity::{DeviceKey, Signature};
use tidings_protocol::limits::{BEACON_KINDS_MAX, BEACON_MS_MAX, BEACON_PAYLOAD_LEN_MAX, CLOCK_AHEAD_MAX_MS};
use tidings_protocol::link::InviteLink;
use tidings_protocol::wire::Frame;
use tidings_storage::{RoomNumber, RoomRow, Store};
use tokio::sync::mpsc;

/// A node's beacons of a public room with one member, and what it has the writer do.
struct Node {
    beacons: Beacons,
    commands: mpsc::Receiver<Command>,
    view: RoomView,
    member: Person,
    _folder: TempDir,
}

impl Node {
    fn new() -> Node {
        let folder = tempfile::tempdir().unwrap();
        let (store, _writer) = Store::open(folder.path()).unwrap();
        let (queue, commands) = mpsc::channel(10_000);
        let member = Person::new(1);
        let (genesis, _) = member.found();
        let view = view(&Scene::of(std::slice::from_ref(&genesis)));
        Node { beacons: Beacons::load(&store, queue).unwrap(), commands, view, member, _folder: folder }
    }

    fn room(&self) -> RoomId {
        self.view.row.room
    }

    fn say(&self, by: &Person, hlc: Hlc, signal: Signal) -> SignedBeacon {
        say(by, self.room(), hlc, signal)
    }

    /// Whether it is a fault to tell these.
    async fn hears(&self, told: Vec<SignedBeacon>) -> bool {
        self.beacons.hear(&self.view, b"a peer", told).await.is_err()
    }

    fn kept(&self) -> Vec<SignedBeacon> {
        self.beacons.kept(self.room())
    }

    fn written(&mut self) -> usize {
        std::iter::from_fn(|| self.commands.try_recv().ok()).count()
    }
}

fn say(by: &Person, room: RoomId, hlc: Hlc, signal: Signal) -> SignedBeacon {
    let key = DeviceKey::from_seed(&by.device_seed());
    Draft { room, hlc, signal }.sign(&key).unwrap().signed().clone()
}

fn view(scene: &Scene) -> RoomView {
    let state = scene.state();
    let row = RoomRow::new(scene.set.room().unwrap(), RoomKind::Public, [0; 32]);
    let (number, control_heads) = (RoomNumber(1), Arc::default());
    RoomView {
        number,
        row,
        state: Arc::new(state),
        control_heads,
        has_genesis: true,
        summary: Default::default(),
        unsure: false,
    }
}

fn read() -> Signal {
    Signal::Read { event: EventId([1; 32]), at: Hlc(1) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_true_one_is_kept_and_written_once() {
    let mut node = Node::new();
    let beacon = node.say(&node.member, Hlc::at_ms(now_ms()), read());
    for _ in 0..3 {
        assert!(!node.hears(vec![beacon.clone(), beacon.clone()]).await);
    }
    assert_eq!((node.kept(), node.written()), (vec![beacon], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_stranger_of_another_time_and_of_nobody_nothing_is_kept() {
    let mut node = Node::new();
    let stranger = Person::new(9);
    let now = now_ms();
    let others = vec![
        node.say(&stranger, Hlc::at_ms(now), read()),
        node.say(&node.member, Hlc::at_ms(now + CLOCK_AHEAD_MAX_MS + 60_000), read()),
        node.say(&node.member, Hlc(u64::MAX), read()),
        node.say(&node.member, Hlc::at_ms(now - BEACON_MS_MAX - 60_000), read()),
        node.say(&node.member, Hlc(0), read()),
    ];
    assert!(!node.hears(others).await, "each may be an honest mistake");
    assert_eq!((node.kept().len(), node.written()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_false_is_a_fault_and_takes_nothing_with_it() {
    let mut node = Node::new();
    let hlc = Hlc::at_ms(now_ms());
    let good = node.say(&node.member, hlc, read());
    let of_another_room = say(&node.member, RoomId([8; 32]), hlc, read());
    let unsigned = SignedBeacon { signature: Signature([0; 64]), ..good.clone() };
    let longer = SignedBeacon { payload: vec![0; BEACON_PAYLOAD_LEN_MAX + 1], ..good.clone() };
    let unread = SignedBeacon { payload: vec![0; 3], ..good.clone() };
    let borrowed = SignedBeacon { kind: kind::PRESENCE, payload: vec![1], ..good.clone() };
    for lie in [of_another_room, unsigned, longer, unread, borrowed] {
        assert!(node.hears(vec![lie.clone()]).await, "{lie:?}");
    }
    assert_eq!((node.kept().len(), node.written()), (0, 0));
    assert!(!node.hears(vec![good.clone()]).await);
    assert_eq!(node.kept(), [good]);
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_kinds_leave_eight() {
    let mut node = Node::new();
    let key = libp2p::identity::Keypair::ed25519_from_bytes(node.member.device_seed()).unwrap();
    let hlc = Hlc::at_ms(now_ms());
    let template = node.say(&node.member, hlc, Signal::Presence(Presence::Online));
    let of_kind = |kind: u16| {
        // What the protocol signs only for kinds that it knows.
        let mut unsigned = SignedBeacon { kind, payload: Vec::new(), ..template.clone() };
        let bytes = tidings_protocol::codec::encode(&unsigned);
        let tag = tidings_protocol::identity::Domain::Beacon.tag();
        let message = [tag, &node.room().0, &bytes[..bytes.len() - 64]].concat();
        unsigned.signature = Signature(key.sign(&message).unwrap().try_into().unwrap());
        unsigned
    };
    let many: Vec<SignedBeacon> = (100..2100).map(of_kind).collect();
    for some in many.chunks(200) {
        assert!(!node.hears(some.to_vec()).await);
    }
    assert_eq!(node.kept().len(), BEACON_KINDS_MAX);
    assert!(node.written() <= 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_late_is_heard_when_known_and_who_leaves_is_forgotten() {
    let (founder, joiner) = (Person::new(1), Person::new(2));
    let (genesis, mut pen) = founder.found();
    let invite = pen.open_invite(&invite_secret(7), 60);
    let (join, mut hers) = joiner.join(genesis.room(), invite.id(), &invite_secret(7));
    let mut scene = Scene::of(&[genesis, invite]);
    let mut node = Node { view: view(&scene), ..Node::new() };
    let beacon = node.say(&joiner, Hlc::at_ms(now_ms()), read());
    assert!(!node.hears(vec![beacon.clone()]).await);
    assert_eq!(node.kept(), []);
    scene.admit(&join);
    node.view = view(&scene);
    node.beacons.sweep(&node.view).await;
    assert_eq!(node.kept(), [beacon], "it had come before its author was known");
    scene.admit(&hers.leave());
    node.view = view(&scene);
    node.beacons.sweep(&node.view).await;
    assert_eq!(node.kept(), []);
    assert_eq!(node.written(), 2);
    let news = node.say(&joiner, Hlc::at_ms(now_ms() + 1), read());
    assert!(!node.hears(vec![news]).await);
    assert_eq!(node.kept(), []);
}

/// A public room at a running node, with a peer that says what it likes.
async fn told(beacon: impl FnOnce(RoomId) -> SignedBeacon) -> (TempDir, Home, Hostile) {
    let folder = tempfile::tempdir().unwrap();
    let mut alice = Home::at(folder.path(), "alice");
    alice.up();
    alice.json(&["room", "create", "zig", "--public"]);
    let room = InviteLink::from_text(&alice.link("zig")).unwrap().room;
    let mut talk = Hostile::in_room(alice.ready["listen"][0].as_str().unwrap(), room).await;
    // Alice's device speaks, as far as the bytes say.
    let device = alice.json(&["id"])["device"].as_str().unwrap().parse().unwrap();
    let beacon = SignedBeacon { device, ..beacon(room) };
    talk.say(&Frame::Beacons { room: ROOM, beacons: vec![beacon] }).await;
    (folder, alice, talk)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_forges_a_members_beacon_is_sent_away() {
    let (_folder, alice, talk) = told(|room| say(&Person::new(9), room, Hlc::at_ms(now_ms() + 60_000), read())).await;
    talk.until_sent_away().await;
    assert_eq!(alice.texts("zig"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_tells_old_news_may_stay() {
    let (_folder, alice, mut talk) = told(|room| say(&Person::new(9), room, Hlc(5), read())).await;
    talk.caught_up().await;
    assert_eq!(alice.texts("zig"), [""; 0]);
}
