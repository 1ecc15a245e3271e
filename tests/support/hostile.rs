//! A peer that breaks the sync conversation: its opening is the protocol's own, and then it says whatever a test makes up.

use super::people::Person;
use super::stranger::{Heard, Stranger, within};
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::{Multiaddr, PeerId, Stream, identity, multiaddr};
use std::time::{SystemTime, UNIX_EPOCH};
use tidings_protocol::beacon::SignedBeacon;
use tidings_protocol::codec::encode;
use tidings_protocol::control::payload::RoomKind;
use tidings_protocol::event::{Body, Class, Header, Hlc, Payload, SignedEvent, VerifiedEvent};
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::identity::{Domain, Signature};
use tidings_protocol::log::{Log, Tip};
use tidings_protocol::sync::{
    Agreed, Chunk, Conversation, Digests, Holdings, Input, Missing, Offer, Output, Settings, Side, Unavailable,
    network_name,
};
use tidings_protocol::wire::{Branch, Frame, Handle, Head, Listing, SYNC_VERSION, Tag};

/// A conversation that the hostile peer has begun.
pub struct Hostile {
    pub stranger: Stranger,
    stream: Stream,
    /// What the node said first, and whom we talk to, once an opening was made.
    opened: Option<(Frame, Settings)>,
}

impl Hostile {
    /// One in which nothing was said yet.
    pub async fn open(node: &str) -> Hostile {
        let mut stranger = Stranger::below(peer_of(node)).await;
        let peer = stranger.dial(node).await;
        let stream = stranger.open(peer, "/tidings/sync/1").await;
        Hostile { stranger, stream, opened: None }
    }

    /// One after the hellos; and what the node calls its rooms.
    pub async fn greeted(node: &str) -> (Hostile, Vec<Tag>) {
        let mut hostile = Hostile::open(node).await;
        let (network, nonce) = (network_name(""), NONCE);
        hostile.say(&Frame::Hello { version: SYNC_VERSION, network, nonce, credit: 1 << 16 }).await;
        assert!(matches!(hostile.hear().await, Some(Frame::Hello { .. })));
        match hostile.hear().await {
            Some(Frame::Rooms(tags)) => (hostile, tags),
            other => panic!("{other:?}"),
        }
    }

    /// One in which a public room is open; what the node holds of it was said, and not answered.
    pub async fn in_room(node: &str, room: RoomId) -> Hostile {
        let offer = offer(room);
        let (mut hostile, ..) = Hostile::offering(node, offer).await;
        while !matches!(hostile.hear().await.unwrap(), Frame::Check { room: ROOM, .. }) {}
        hostile
    }

    /// One in which an offer was made, as an honest peer does: up to the node's tags, and what they brought about here.
    pub async fn offering(node: &str, offer: Offer) -> (Hostile, Conversation) {
        let mut hostile = Hostile::open(node).await;
        let (us, them) = (hostile.stranger.peer.to_bytes(), peer_of(node).to_bytes());
        let settings = Settings { side: Side::Initiator, network: String::new(), nonce: NONCE, us, them };
        let mut talk = Conversation::new(settings, vec![offer]);
        hostile.say_all(&mut talk).await;
        let hello = hostile.hear().await.unwrap();
        talk.handle(Input::Frame(hello), &Nothing, now_ms()).unwrap();
        hostile.say_all(&mut talk).await;
        (hostile, talk)
    }

    /// Says the opening of an honest peer that offers rooms, and all that it wants to say to the node's tags; what came.
    pub async fn begin(&mut self, node: &str, offers: Vec<Offer>) -> Vec<Frame> {
        let (us, them) = (self.stranger.peer.to_bytes(), peer_of(node).to_bytes());
        let settings = Settings { side: Side::Initiator, network: String::new(), nonce: NONCE, us, them };
        let mut talk = Conversation::new(settings.clone(), offers);
        self.say_all(&mut talk).await;
        let mut heard = Vec::new();
        for _ in 0..2 {
            let frame = self.hear().await.unwrap();
            talk.handle(Input::Frame(frame.clone()), &Nothing, now_ms()).unwrap();
            self.say_all(&mut talk).await;
            heard.push(frame);
        }
        self.opened = heard.first().map(|hello| (hello.clone(), settings));
        heard
    }

    /// The knock by which one who is joining would ask to be let into a room.
    pub fn knock(&self, offer: Offer) -> Frame {
        let (hello, settings) = self.opened.clone().unwrap();
        let mut talk = Conversation::new(settings, vec![offer]);
        talk.handle(Input::Frame(hello), &Nothing, now_ms()).unwrap();
        loop {
            if let Output::Send(frame @ Frame::Knock { .. }) = talk.next_output(&Nothing).unwrap().unwrap() {
                return frame;
            }
        }
    }

    /// One in which these rooms were offered; and the tags that the node told are heard, too.
    pub async fn offering_all(node: &str, offers: Vec<Offer>) -> Hostile {
        let mut hostile = Hostile::open(node).await;
        hostile.begin(node, offers).await;
        hostile
    }

    /// One that the node has opened, in which it was told of a room; all that it said until it was silent.
    pub async fn called(node: &str, offer: Offer) -> (Hostile, Vec<Frame>) {
        let mut stranger = Stranger::above(peer_of(node)).await;
        let stream = stranger.is_opened(node, "/tidings/sync/1").await;
        let mut hostile = Hostile { stranger, stream, opened: None };
        let (us, them) = (hostile.stranger.peer.to_bytes(), peer_of(node).to_bytes());
        let settings = Settings { side: Side::Responder, network: String::new(), nonce: NONCE, us, them };
        let mut talk = Conversation::new(settings, vec![offer]);
        let hello = hostile.hear().await.unwrap();
        talk.handle(Input::Frame(hello), &Nothing, now_ms()).unwrap();
        hostile.say_all(&mut talk).await;
        let told = hostile.caught_up().await;
        (hostile, told)
    }

    /// Says all that the conversation wants said.
    pub async fn say_all(&mut self, talk: &mut Conversation) {
        while let Some(output) = talk.next_output(&Nothing).unwrap() {
            if let Output::Send(frame) = output {
                self.say(&frame).await;
            }
        }
    }

    pub async fn say(&mut self, frame: &Frame) {
        self.say_bytes(&frame.to_bytes()).await;
    }

    pub async fn push(&mut self, event: &[u8]) {
        self.say(&Frame::Push { room: ROOM, event: event.to_vec() }).await;
    }

    /// Says bytes as one frame.
    pub async fn say_bytes(&mut self, frame: &[u8]) {
        let len = u32::try_from(frame.len()).unwrap();
        self.write(&[len.to_be_bytes().as_slice(), frame].concat()).await;
    }

    /// Writes bytes as they are. The node may have ended the conversation already.
    pub async fn write(&mut self, bytes: &[u8]) {
        let written = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        drop(within(written).await);
    }

    /// The next frame; `None` when the conversation has ended.
    pub async fn hear(&mut self) -> Option<Frame> {
        within(async {
            let mut len = [0; 4];
            self.stream.read_exact(&mut len).await.ok()?;
            let mut bytes = vec![0; u32::from_be_bytes(len) as usize];
            self.stream.read_exact(&mut bytes).await.ok()?;
            Some(Frame::from_bytes(&bytes).unwrap())
        })
        .await
    }

    /// Waits until the node has ended the conversation and the connection.
    pub async fn until_sent_away(mut self) {
        while self.hear().await.is_some() {}
        self.stranger.until(|heard| *heard == Heard::Closed).await;
    }

    /// Waits for the answer to a question about nothing: all that was said before was dealt with. The frames before it.
    pub async fn caught_up(&mut self) -> Vec<Frame> {
        let (request, top) = (u32::MAX, Tip { seq: 1, id: EventId([1; 32]) });
        self.say(&Frame::Want { request, room: Handle(u16::MAX), branches: vec![Branch { top, down_to: 1 }] }).await;
        let mut before = Vec::new();
        loop {
            match self.hear().await.expect("the conversation ended") {
                Frame::Events { request: u32::MAX, last: true, chunk } if chunk.is_empty() => return before,
                frame => before.push(frame),
            }
        }
    }

    /// Tells of the head of a content log; the request by which the node asks for it.
    pub async fn tell_of(&mut self, log: Log, top: Tip) -> u32 {
        let head = Head { author: log.author, grant: log.grant, tip: top, hlc: Hlc::at_ms(now_ms()) };
        let (class, listing) = (Class::Content, Listing::Moved);
        self.say(&Frame::Heads { room: ROOM, class, listing, last: true, heads: vec![head] }).await;
        loop {
            let frame = self.hear().await.expect("the conversation ended");
            if let Frame::Want { request, branches, .. } = frame
                && let Some(n) = (0..).zip(&branches).find_map(|(n, branch)| (branch.top == top).then_some(n))
            {
                return request + n;
            }
        }
    }

    pub async fn answer(&mut self, request: u32, chunk: Vec<u8>) {
        self.say(&Frame::Events { request, last: true, chunk }).await;
    }
}

/// The peer at the end of an address.
pub fn peer_of(address: &str) -> PeerId {
    match address.parse::<Multiaddr>().unwrap().iter().last() {
        Some(multiaddr::Protocol::P2p(peer)) => peer,
        other => panic!("{other:?}"),
    }
}

/// A public room.
pub fn offer(room: RoomId) -> Offer {
    let (kind, secret) = (RoomKind::Public, [0; 32]);
    Offer { room, kind, secret, inner: None, credential: None, introduction: Vec::new(), joining: false }
}

pub fn signed(event: &VerifiedEvent) -> SignedEvent {
    event.to_signed().unwrap()
}

/// An event with this header and payload, whatever they say, and somebody's signature over it.
pub fn seal(by: &Person, header: Header, payload: &[u8]) -> Vec<u8> {
    let payload = Payload { salt: [5; 16], bytes: payload.to_vec() };
    let len = u32::try_from(payload.bytes.len()).unwrap();
    let header = Header { payload_len: len, payload_commit: payload.commit(), ..header };
    let key = identity::Keypair::ed25519_from_bytes(by.device_seed()).unwrap();
    let message = [Domain::Event.tag(), header.id().as_bytes()].concat();
    let signature = Signature(key.sign(&message).unwrap().try_into().unwrap());
    encode(&SignedEvent { header, signature, body: Body::Kept(payload) })
}

/// A zstd frame of a few KiB that inflates to so many blocks of 128 KiB of zeros; it says its size, or not (RFC 8878).
pub fn bomb(blocks: u32, says_size: bool) -> Vec<u8> {
    const BLOCK_LEN: u32 = 128 << 10;
    const RUN: u32 = 1 << 1;
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd];
    // The descriptor, and a window of 128 KiB.
    frame.extend_from_slice(&[if says_size { 0xc0 } else { 0 }, 7 << 3]);
    if says_size {
        frame.extend_from_slice(&(u64::from(blocks) * u64::from(BLOCK_LEN)).to_le_bytes());
    }
    for n in 1..=blocks {
        let header = BLOCK_LEN << 3 | RUN | u32::from(n == blocks);
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// What a peer holds that has nothing.
pub struct Nothing;

impl Holdings for Nothing {
    fn digests(&self, _: RoomId) -> Result<Digests, Unavailable> {
        Ok(Digests { control: [0; 32], content: [0; 32], change: 0 })
    }
    fn agreement(&self, _: RoomId) -> Result<Option<Agreed>, Unavailable> {
        Ok(None)
    }
    fn heads(&self, _: RoomId, _: Class, _: u64) -> Result<Vec<Head>, Unavailable> {
        Ok(Vec::new())
    }
    fn missing(&self, _: RoomId, _: Class, _: &[Head]) -> Result<Vec<Missing>, Unavailable> {
        Ok(Vec::new())
    }
    fn holes(&self, _: RoomId, _: Option<&Log>) -> Result<Vec<Missing>, Unavailable> {
        Ok(Vec::new())
    }
    fn holds(&self, _: RoomId, _: EventId) -> Result<bool, Unavailable> {
        Ok(false)
    }
    fn chunk(&self, _: RoomId, _: Tip, _: u64) -> Result<Option<Chunk>, Unavailable> {
        Ok(None)
    }
    fn may_hear(&self, _: RoomId, _: tidings_protocol::id::DeviceId) -> Result<bool, Unavailable> {
        Ok(false)
    }
    fn is_current_device(&self, _: RoomId, _: tidings_protocol::id::DeviceId) -> Result<bool, Unavailable> {
        Ok(false)
    }
    fn beacons(&self, _: RoomId) -> Result<Vec<SignedBeacon>, Unavailable> {
        Ok(Vec::new())
    }
    fn beacons_fingerprint(&self, _: RoomId) -> Result<[u8; 32], Unavailable> {
        Ok([0; 32])
    }
    fn may_fetch(&self, _: RoomId) -> bool {
        false
    }
}

/// The first room that the hostile peer has offered.
pub const ROOM: Handle = Handle(0);
const NONCE: [u8; 16] = [0xee; 16];
/// For how long a credential is made out.
pub const CREDENTIAL_MS: u64 = 24 * 3600 * 1000;
