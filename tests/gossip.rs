//! Gossip goes on where libp2p's defaults let it die without a word: large messages, busy topics, many topics, long
//! greetings, and a publish that says nothing of who heard. Each test fails with the default in place of our setting.

use crate::support::stranger::{DEADLINE, Deaf, Heard, LOOPBACK, Stranger, within};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tidings_node::api::types::{CreateInvite, CreateRoom, Line};
use tidings_node::config::Settings;
use tidings_node::home::Home;
use tidings_node::network::{self, Command, Event, GossipVerdict, NetworkConfig};
use tidings_node::node::Node;
use tidings_node::page::From;
use tidings_protocol::gossip::{MESSAGE_LEN_MAX, topic};
use tidings_protocol::id::RoomId;
use tokio::sync::mpsc;

/// A node's network with the settings that nodes have, and nothing behind it: what it is told is good.
struct Net {
    address: String,
    commands: mpsc::Sender<Command>,
    heard: mpsc::UnboundedReceiver<(String, Vec<u8>)>,
}

impl Net {
    async fn start(number: u8) -> Net {
        let (federation, listen) = (String::new(), vec![LOOPBACK.to_owned()]);
        let config = NetworkConfig { seed: [number; 32], federation, listen, mdns: false };
        let mut network = network::start(&config).unwrap();
        let address = loop {
            if let Event::Listening(address) = within(network.events.recv()).await.unwrap() {
                break address;
            }
        };
        let (queue, heard) = mpsc::unbounded_channel();
        let commands = network.commands.clone();
        tokio::spawn(async move {
            while let Some(event) = network.events.recv().await {
                if let Event::Gossip { ticket, topic, data, .. } = event {
                    drop(network.commands.send(Command::Report(ticket, GossipVerdict::Accept)).await);
                    drop(queue.send((topic, data)));
                }
            }
        });
        Net { address, commands, heard }
    }

    async fn command(&self, command: Command) {
        assert!(self.commands.send(command).await.is_ok());
    }

    async fn dial(&self, address: &str) {
        self.command(Command::Dial(vec![address.parse().unwrap()])).await;
    }

    async fn subscribe(&self, topic: &str) {
        self.command(Command::Subscribe(topic.to_owned())).await;
    }

    async fn publish(&self, topic: &str, data: impl Into<Vec<u8>>) {
        self.command(Command::Publish { topic: topic.to_owned(), data: data.into() }).await;
    }

    async fn hear(&mut self) -> Vec<u8> {
        within(self.heard.recv()).await.unwrap().1
    }

    /// Waits for a message; all that were heard before it.
    async fn until(&mut self, wanted: &[u8]) -> Vec<Vec<u8>> {
        let mut before = Vec::new();
        loop {
            match self.hear().await {
                data if data == wanted => return before,
                data => before.push(data),
            }
        }
    }

    /// Says something again and again, each time in other words, until it is heard there.
    async fn reaches(&self, topic: &str, there: &mut Net) {
        let address = self.address.as_bytes();
        self.repeats(topic, async || while !there.hear().await.ends_with(address) {}).await;
    }

    async fn reaches_stranger(&self, topic: &str, there: &mut Stranger) {
        let address = self.address.as_bytes();
        self.repeats(topic, async || while !there.message().await.ends_with(address) {}).await;
    }

    async fn repeats(&self, topic: &str, mut heard: impl AsyncFnMut()) {
        let repeats = async {
            for n in 0.. {
                self.publish(topic, format!("{n} from {}", self.address)).await;
                if tokio::time::timeout(EACH_TRY, heard()).await.is_ok() {
                    return;
                }
            }
        };
        within(repeats).await;
    }
}

/// Two networks that hear one another on a topic.
async fn pair(topic: &str) -> (Net, Net) {
    let (mut alice, mut bob) = (Net::start(1).await, Net::start(2).await);
    for net in [&alice, &bob] {
        net.subscribe(topic).await;
    }
    alice.dial(&bob.address).await;
    alice.reaches(topic, &mut bob).await;
    bob.reaches(topic, &mut alice).await;
    (alice, bob)
}

#[tokio::test(flavor = "multi_thread")]
async fn gossip_goes_on_after_a_burst_of_large_messages() {
    let (alice, mut bob) = pair("room").await;
    for n in 0..20 {
        alice.publish("room", vec![n; 60_000]).await;
    }
    for n in 0..15 {
        alice.publish("room", format!("small {n}")).await;
    }
    let (mut small, mut large) = (0, 0);
    while small < 15 || large < 20 {
        let heard = bob.hear().await;
        large += usize::from(heard.len() == 60_000);
        small += usize::from(heard.starts_with(b"small"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gossip_message_has_64_kib_at_most_and_larger_ones_travel_no_further() {
    let (alice, mut bob) = pair("room").await;
    let mut carol = Net::start(3).await;
    carol.subscribe("room").await;
    bob.dial(&carol.address).await;
    bob.reaches("room", &mut carol).await;

    let (largest, too_large) = (vec![1; MESSAGE_LEN_MAX], vec![2; MESSAGE_LEN_MAX + 1]);
    for data in [&largest, &too_large, &b"the end".to_vec()] {
        alice.publish("room", data.as_slice()).await;
    }
    for net in [&mut bob, &mut carol] {
        let before = net.until(b"the end").await;
        assert!(before.contains(&largest));
        assert!(!before.contains(&too_large));
    }
}

/// A peer outside the mesh of a busy topic lives on the lists of ids that it is told once a second. It has libp2p's
/// default settings: what it takes, everybody takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_topic_does_not_silence_those_who_only_hear_of_it() {
    let alice = Net::start(1).await;
    alice.subscribe("busy").await;
    let mut mesh = Vec::new();
    for _ in 0..8 {
        let mut peer = Stranger::with(|_| {}).await;
        peer.subscribe("busy");
        alice.dial(&peer.address).await;
        peer.until_subscribed("busy").await;
        mesh.push(peer);
    }
    // With as many peers in its mesh as it wants, alice publishes to no others.
    for peer in &mesh {
        peer.until_meshed("busy").await;
    }
    let mut outside = Stranger::with(|config| {
        config.mesh_outbound_min(0).mesh_n_low(0).mesh_n(0).mesh_n_high(0);
    })
    .await;
    outside.subscribe("busy");
    alice.dial(&outside.address).await;
    outside.until_subscribed("busy").await;

    let mut second = tokio::time::interval(Duration::from_secs(1));
    for n in 0..8 {
        second.tick().await;
        for m in 0..BUSY_PER_SECOND {
            alice.publish("busy", format!("message {n} {m}")).await;
        }
        // All who are in the mesh have it all.
        for peer in &mut mesh {
            let mut all = BTreeSet::new();
            while all.len() < BUSY_PER_SECOND {
                all.insert(peer.message().await);
            }
        }
    }
    // The topic is quiet again, and who is outside hears what is said.
    alice.reaches_stranger("busy", &mut outside).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_hundred_topics_work_one_after_another() {
    let (mut alice, mut bob) = pair("first").await;
    for n in 1..TOPICS_MAX {
        alice.subscribe(&format!("topic {n}")).await;
        bob.subscribe(&format!("topic {n}")).await;
    }
    let last = format!("topic {}", TOPICS_MAX - 1);
    alice.reaches(&last, &mut bob).await;
    bob.reaches(&last, &mut alice).await;
    alice.reaches("first", &mut bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_takes_part_in_400_topics_at_most() {
    let mut peer = Stranger::new().await;
    let alice = Net::start(1).await;
    alice.dial(&peer.address).await;
    peer.until(|heard| matches!(heard, Heard::Connected(_))).await;
    for n in 0..TOPICS_MAX + 100 {
        alice.subscribe(&format!("topic {n}")).await;
    }
    alice.command(Command::Unsubscribe("topic 0".to_owned())).await;
    let mut count = 0;
    let is_change = |heard: &Heard| matches!(heard, Heard::Subscribed(_) | Heard::Unsubscribed(_));
    while let Heard::Subscribed(_) = peer.until(is_change).await {
        count += 1;
    }
    assert_eq!(count, TOPICS_MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_greeting_of_many_topics_is_taken() {
    let mut peer = Stranger::new().await;
    let topics: Vec<String> = (0..700u16).map(|n| topic(RoomId([n as u8; 32])) + &n.to_string()).collect();
    topics.iter().for_each(|topic| peer.subscribe(topic));
    let last = topics.last().unwrap();
    let alice = Net::start(1).await;
    alice.subscribe(last).await;
    alice.dial(&peer.address).await;
    peer.until_subscribed(last).await;
    alice.reaches_stranger(last, &mut peer).await;
}

async fn node(folder: &Path, name: &str) -> Node {
    let settings = Settings { listen: vec![LOOPBACK.to_owned()], no_mdns: true, ..Settings::default() };
    let node = Node::start(&Home::open(&folder.join(name)).unwrap(), &settings).await.unwrap();
    within(node.handle().wait_listening()).await;
    node
}

async fn public_rooms(node: &Node, names: impl Iterator<Item = String>) {
    let handle = node.handle();
    let rooms: Vec<CreateRoom> = names.map(|name| CreateRoom { name, public: true, invite_rank: None }).collect();
    for made in within(futures::future::join_all(rooms.iter().map(|room| handle.create_room(room)))).await {
        made.unwrap();
    }
}

async fn join(alice: &Node, bob: &Node, room: &str) {
    let invite = alice.handle().invite(room, &CreateInvite { role: None, expires_ms: None }).await.unwrap();
    let joined = bob.handle().join(&invite.link.unwrap(), DEADLINE).await.unwrap();
    assert!(!joined.pending);
}

fn texts(node: &Node, room: &str) -> Vec<String> {
    let (_, view) = node.handle().room_view(room).unwrap();
    let lines = node.handle().page(&view, From::Newest, 10_000).unwrap().into_iter();
    lines.filter_map(|line| if let Line::Message(m) = line { Some(m.text) } else { None }).collect()
}

/// Says something, and waits until it is held at the other node.
async fn says(from: &Node, to: &Node, room: &str, text: &str) {
    let mut news = to.handle().notices(None).unwrap();
    assert!(from.handle().send(room, text, None).await.unwrap().durable);
    within(async {
        while !texts(to, room).iter().any(|t| t == text) {
            news.next().await.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_with_400_public_rooms_each_meet_and_talk() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = (node(folder.path(), "alice").await, node(folder.path(), "bob").await);
    public_rooms(&alice, (0..TOPICS_MAX).map(|n| format!("alice-{n}"))).await;
    public_rooms(&bob, (1..TOPICS_MAX).map(|n| format!("bob-{n}"))).await;
    join(&alice, &bob, "alice-0").await;
    says(&alice, &bob, "alice-0", "one of four hundred").await;
    says(&bob, &alice, "alice-0", "mine too").await;

    // The greeting is one that libp2p's default settings take, and has a topic for each room.
    let mut peer = Stranger::with(|_| {}).await;
    peer.dial(&alice.handle().listening()[0]).await;
    let mut topics = BTreeSet::new();
    while topics.len() < TOPICS_MAX {
        if let Heard::Subscribed(topic) = peer.until(|heard| matches!(heard, Heard::Subscribed(_))).await {
            topics.insert(topic);
        }
    }
    let (room, _) = alice.handle().room_view("alice-399").unwrap();
    assert!(topics.contains(&topic(room)));

    // A room beyond has no topic, nobody hears what is published there, and sync brings it.
    public_rooms(&alice, Some("beyond".to_owned()).into_iter()).await;
    join(&alice, &bob, "beyond").await;
    says(&alice, &bob, "beyond", "by sync alone").await;
    says(&bob, &alice, "beyond", "I have it").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_heard_is_held_and_comes_by_sync() {
    let folder = tempfile::tempdir().unwrap();
    let alice = node(folder.path(), "alice").await;
    public_rooms(&alice, Some("zig".to_owned()).into_iter()).await;
    // Nobody is there.
    assert!(alice.handle().send("zig", "into the dark", None).await.unwrap().durable);
    // All who are there are deaf: they take part in the topic, and read nothing of what they are sent.
    let (room, _) = alice.handle().room_view("zig").unwrap();
    let mut deaf = Deaf::new(&alice.handle().listening()[0], &topic(room)).await;
    let mut said = vec!["into the dark".to_owned()];
    for round in 0..14 {
        let words: Vec<String> = (0..100).map(|n| format!("{round} {n} {}", "x".repeat(1000))).collect();
        let handle = alice.handle();
        for sent in within(futures::future::join_all(words.iter().map(|text| handle.send("zig", text, None)))).await {
            assert!(sent.unwrap().durable);
        }
        said.extend(words);
    }
    // It reads at last, and some were lost on the way to it.
    let mut end = 0;
    while tokio::time::timeout(EACH_TRY, deaf.hears_until(b"the end")).await.is_err() {
        said.push(format!("the end {end}"));
        assert!(alice.handle().send("zig", said.last().unwrap(), None).await.unwrap().durable);
        end += 1;
    }
    let lost = said.iter().filter(|text| !deaf.has_heard(text.as_bytes())).count();
    assert!(lost > 100, "the queues were never full");

    let bob = node(folder.path(), "bob").await;
    join(&alice, &bob, "zig").await;
    let mut news = bob.handle().notices(None).unwrap();
    said.sort();
    within(async {
        loop {
            let mut held = texts(&bob, "zig");
            held.sort();
            if held == said {
                return;
            }
            news.next().await.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn published_again_it_is_heard_once() {
    let (mut alice, mut bob) = (Net::start(1).await, Net::start(2).await);
    alice.subscribe("room").await;
    bob.subscribe("room").await;
    // With nobody there, this is not remembered as published.
    alice.publish("room", b"twice".as_slice()).await;
    alice.dial(&bob.address).await;
    bob.reaches("room", &mut alice).await;
    alice.reaches("room", &mut bob).await;
    for _ in 0..3 {
        alice.publish("room", b"twice".as_slice()).await;
    }
    alice.publish("room", b"the end".as_slice()).await;
    let before = bob.until(b"the end").await;
    assert_eq!(before.iter().filter(|data| *data == b"twice").count(), 1);
}

/// Topics that a node takes part in.
const TOPICS_MAX: usize = 400;
/// Messages a second whose ids, told once a second for three seconds, are more than default settings take at once.
const BUSY_PER_SECOND: usize = 600;
/// How long an answer is waited for before it is asked again.
const EACH_TRY: Duration = Duration::from_millis(500);
