//! A libp2p peer that is no tidings node: it gossips by libp2p's own behaviour with the settings of a test, and opens
//! streams on which a test says what it likes. Loopback only.

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::gossipsub::{
    self, AllowAllSubscriptionFilter, ConfigBuilder, IdentTopic, IdentityTransform, Message, MessageAuthenticity,
    MessageId, ValidationMode,
};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, identity, noise, tcp, yamux};
use std::future::Future;
use std::time::Duration;
use tidings_protocol::gossip::message_id;
use tokio::sync::{mpsc, oneshot};

/// Without libp2p's default limit of 100 topics.
type Gossip = gossipsub::Behaviour<IdentityTransform, AllowAllSubscriptionFilter>;

#[derive(NetworkBehaviour)]
struct Behaviour {
    gossip: Gossip,
    stream: libp2p_stream::Behaviour,
}

/// What a stranger hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Connected(PeerId),
    Closed,
    Subscribed(String),
    Unsubscribed(String),
    Message(Vec<u8>),
}

enum Wish {
    Dial(Multiaddr),
    Subscribe(String),
    Publish(String, Vec<u8>),
    IsMeshed(String, oneshot::Sender<bool>),
}

/// The peer, driven by a task of its own until it is dropped.
pub struct Stranger {
    pub peer: PeerId,
    /// Where it listens, with its id.
    pub address: String,
    pub heard: mpsc::UnboundedReceiver<Heard>,
    control: libp2p_stream::Control,
    wishes: mpsc::UnboundedSender<Wish>,
}

impl Stranger {
    /// A stranger that takes large messages and greetings.
    pub async fn new() -> Stranger {
        Stranger::with(|config| {
            config.max_transmit_size(1 << 20).max_control_message_size(1 << 20);
        })
        .await
    }

    /// A stranger with these changes to libp2p's default settings.
    pub async fn with(change: impl FnOnce(&mut ConfigBuilder)) -> Stranger {
        Stranger::start(identity::Keypair::generate_ed25519(), change).await
    }

    /// A stranger whose id is below a node's: such a node waits for it to open the conversation.
    pub async fn below(node: PeerId) -> Stranger {
        let key = std::iter::repeat_with(identity::Keypair::generate_ed25519)
            .find(|key| key.public().to_peer_id() < node)
            .unwrap();
        Stranger::start(key, |_| {}).await
    }

    /// A stranger whose id is above a node's: such a node opens the conversation itself.
    pub async fn above(node: PeerId) -> Stranger {
        let key = std::iter::repeat_with(identity::Keypair::generate_ed25519)
            .find(|key| key.public().to_peer_id() > node)
            .unwrap();
        Stranger::start(key, |_| {}).await
    }

    async fn start(key: identity::Keypair, change: impl FnOnce(&mut ConfigBuilder)) -> Stranger {
        let mut config = ConfigBuilder::default();
        config.validation_mode(ValidationMode::Anonymous).message_id_fn(id_of);
        change(&mut config);
        let gossip = Gossip::new(MessageAuthenticity::Anonymous, config.build().unwrap()).unwrap();
        let stream = libp2p_stream::Behaviour::new();
        let control = stream.new_control();
        let mut swarm = SwarmBuilder::with_existing_identity(key)
            .with_tokio()
            .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| Behaviour { gossip, stream })
            .unwrap()
            .with_swarm_config(|c| c.with_idle_connection_timeout(DEADLINE))
            .build();
        let peer = *swarm.local_peer_id();
        swarm.listen_on(LOOPBACK.parse().unwrap()).unwrap();
        let address = within(async {
            loop {
                if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                    return format!("{address}/p2p/{peer}");
                }
            }
        })
        .await;
        let (wishes, wish_queue) = mpsc::unbounded_channel();
        let (heard_queue, heard) = mpsc::unbounded_channel();
        tokio::spawn(run(swarm, wish_queue, heard_queue));
        Stranger { peer, address, heard, control, wishes }
    }

    /// Connects to a node.
    pub async fn dial(&mut self, address: &str) -> PeerId {
        self.wish(Wish::Dial(address.parse().unwrap()));
        match self.until(|heard| matches!(heard, Heard::Connected(_))).await {
            Heard::Connected(peer) => peer,
            other => panic!("{other:?}"),
        }
    }

    pub fn subscribe(&self, topic: &str) {
        self.wish(Wish::Subscribe(topic.to_owned()));
    }

    pub fn publish(&self, topic: &str, data: &[u8]) {
        self.wish(Wish::Publish(topic.to_owned(), data.to_vec()));
    }

    /// Waits until it has somebody in its mesh for a topic.
    pub async fn until_meshed(&self, topic: &str) {
        let mut look = tokio::time::interval(Duration::from_millis(50));
        let meshed = async {
            loop {
                look.tick().await;
                let (reply, answer) = oneshot::channel();
                self.wish(Wish::IsMeshed(topic.to_owned(), reply));
                if answer.await.unwrap() {
                    return;
                }
            }
        };
        within(meshed).await;
    }

    /// The next that it hears of this kind; all before it is passed over.
    pub async fn until(&mut self, wanted: impl Fn(&Heard) -> bool) -> Heard {
        within(async {
            loop {
                let heard = self.heard.recv().await.unwrap();
                if wanted(&heard) {
                    return heard;
                }
            }
        })
        .await
    }

    /// Waits until the node that it is connected to takes part in a topic.
    pub async fn until_subscribed(&mut self, topic: &str) {
        self.until(|heard| matches!(heard, Heard::Subscribed(t) if t == topic)).await;
    }

    /// The next message of any topic.
    pub async fn message(&mut self) -> Vec<u8> {
        match self.until(|heard| matches!(heard, Heard::Message(_))).await {
            Heard::Message(data) => data,
            other => panic!("{other:?}"),
        }
    }

    /// Opens a stream to a node that it is connected to.
    pub async fn open(&mut self, node: PeerId, protocol: &'static str) -> Stream {
        within(self.control.open_stream(node, StreamProtocol::new(protocol))).await.unwrap()
    }

    /// Takes streams that nodes open to it.
    pub fn accept(&mut self, protocol: &'static str) -> libp2p_stream::IncomingStreams {
        self.control.accept(StreamProtocol::new(protocol)).unwrap()
    }

    /// Connects to a node that opens a stream to us.
    pub async fn is_opened(&mut self, node: &str, protocol: &'static str) -> Stream {
        let mut incoming = self.control.accept(StreamProtocol::new(protocol)).unwrap();
        self.dial(node).await;
        within(incoming.next()).await.unwrap().1
    }

    /// All messages that have come so far.
    pub fn messages(&mut self) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        while let Ok(heard) = self.heard.try_recv() {
            if let Heard::Message(data) = heard {
                messages.push(data);
            }
        }
        messages
    }

    fn wish(&self, wish: Wish) {
        assert!(self.wishes.send(wish).is_ok(), "the stranger's task has ended");
    }
}

/// A peer that takes part in a topic and reads nothing of what it is sent, until it is asked.
pub struct Deaf {
    ears: Stream,
    heard: Vec<u8>,
    _rest: (Stranger, Stream),
}

impl Deaf {
    /// One that a node has taken into its mesh.
    pub async fn new(node: &str, topic: &str) -> Deaf {
        // Out of the way of what is done here by hand.
        let mut stranger = Stranger::with(|config| {
            config.protocol_id_prefix("/none");
        })
        .await;
        let mut incoming = stranger.control.accept(StreamProtocol::new(MESHSUB)).unwrap();
        let node = stranger.dial(node).await;
        let mut mouth = stranger.open(node, MESHSUB).await;
        mouth.write_all(&subscription(topic)).await.unwrap();
        mouth.flush().await.unwrap();
        let (_, ears) = within(incoming.next()).await.unwrap();
        let mut deaf = Deaf { ears, heard: Vec::new(), _rest: (stranger, mouth) };
        // The node's own subscription, and then its word that we are in the mesh.
        within(async {
            while deaf.heard.windows(topic.len()).filter(|w| *w == topic.as_bytes()).count() < 2 {
                deaf.hear().await;
            }
        })
        .await;
        deaf
    }

    /// Reads until this was heard.
    pub async fn hears_until(&mut self, wanted: &[u8]) {
        while !self.has_heard(wanted) {
            self.hear().await;
        }
    }

    pub fn has_heard(&self, wanted: &[u8]) -> bool {
        self.heard.windows(wanted.len()).any(|w| w == wanted)
    }

    async fn hear(&mut self) {
        let mut bytes = [0; 1 << 16];
        let len = self.ears.read(&mut bytes).await.unwrap();
        assert!(len > 0, "the stream ended");
        self.heard.extend_from_slice(&bytes[..len]);
    }
}

/// A gossipsub RPC with one subscription, as protobuf: RPC { 1: SubOpts { 1: true, 2: topic } }.
fn subscription(topic: &str) -> Vec<u8> {
    let len = u8::try_from(topic.len()).unwrap();
    let head = [len + 6, 0x0a, len + 4, 0x08, 1, 0x12, len];
    [head.as_slice(), topic.as_bytes()].concat()
}

async fn run(
    mut swarm: Swarm<Behaviour>,
    mut wishes: mpsc::UnboundedReceiver<Wish>,
    heard: mpsc::UnboundedSender<Heard>,
) {
    loop {
        tokio::select! {
            wish = wishes.recv() => match wish {
                Some(wish) => act(&mut swarm, wish),
                None => return,
            },
            event = swarm.select_next_some() => {
                if let Some(news) = news(event) {
                    drop(heard.send(news));
                }
            }
        }
    }
}

fn act(swarm: &mut Swarm<Behaviour>, wish: Wish) {
    match wish {
        Wish::Dial(address) => swarm.dial(address).unwrap(),
        Wish::Subscribe(topic) => drop(swarm.behaviour_mut().gossip.subscribe(&IdentTopic::new(topic)).unwrap()),
        Wish::Publish(topic, data) => {
            swarm.behaviour_mut().gossip.publish(IdentTopic::new(topic), data).unwrap();
        }
        Wish::IsMeshed(topic, reply) => {
            let meshed = swarm.behaviour().gossip.mesh_peers(&IdentTopic::new(topic).hash()).next().is_some();
            let _ = reply.send(meshed);
        }
    }
}

fn news(event: SwarmEvent<BehaviourEvent>) -> Option<Heard> {
    match event {
        SwarmEvent::ConnectionEstablished { peer_id, .. } => Some(Heard::Connected(peer_id)),
        SwarmEvent::ConnectionClosed { .. } => Some(Heard::Closed),
        SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => match event {
            gossipsub::Event::Subscribed { topic, .. } => Some(Heard::Subscribed(topic.into_string())),
            gossipsub::Event::Unsubscribed { topic, .. } => Some(Heard::Unsubscribed(topic.into_string())),
            gossipsub::Event::Message { message, .. } => Some(Heard::Message(message.data)),
            _ => None,
        },
        _ => None,
    }
}

fn id_of(message: &Message) -> MessageId {
    MessageId::from(message_id(message.topic.as_str(), &message.data).to_vec())
}

/// Gossipsub's protocol.
const MESHSUB: &str = "/meshsub/1.1.0";

/// Waits, but not for ever.
pub async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("it did not happen in time")
}

/// An address to listen on: any free port of this machine.
pub const LOOPBACK: &str = "/ip4/127.0.0.1/tcp/0";
/// How long anything may take on a machine that has much to do.
pub const DEADLINE: Duration = Duration::from_secs(60);
