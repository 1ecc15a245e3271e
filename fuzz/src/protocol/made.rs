//! Frames that are made up: well formed, and of what was said before, so that they get somewhere.

use super::feed::Feed;
use super::world::{NOW_MS, World};
use tidings_protocol::answer::SignedAnswer;
use tidings_protocol::beacon::SignedBeacon;
use tidings_protocol::codec::encode;
use tidings_protocol::event::{Class, Hlc};
use tidings_protocol::id::{DeviceId, EventId};
use tidings_protocol::identity::Signature;
use tidings_protocol::log::Tip;
use tidings_protocol::range::{Range, Row};
use tidings_protocol::sync::network_name;
use tidings_protocol::wire::{BeaconName, Branch, Frame, Handle, Head, Listing, Proof, SYNC_VERSION, Tag};

/// What both have said so far, as far as it can be said again.
#[derive(Default)]
pub struct Known {
    tags: Vec<Tag>,
    macs: Vec<[u8; 16]>,
    proofs: Vec<Proof>,
    knocks: Vec<(Tag, Vec<u8>)>,
    symbols: Vec<Vec<u8>>,
    names: Vec<BeaconName>,
    /// What the subject has asked for.
    wants: Vec<(u32, Branch)>,
}

impl Known {
    pub fn sent(&mut self, frame: &Frame) {
        if let Frame::Want { request, branches, .. } = frame {
            self.wants.extend((*request..).zip(branches.iter().copied()));
        }
        self.heard(frame);
    }

    pub fn heard(&mut self, frame: &Frame) {
        match frame {
            Frame::Rooms(tags) => self.tags.extend(tags.iter().take(8)),
            Frame::Check { control, content, agreement, .. } => self.macs.extend([*control, *content, *agreement]),
            Frame::Proof(proof) => self.proofs.push(proof.clone()),
            Frame::Knock { tag, sealed } => self.knocks.push((*tag, sealed.clone())),
            Frame::Reconcile { message, .. } => self.symbols.push(message.clone()),
            Frame::Slots { names, .. } => self.names.extend(names.iter().take(8)),
            _ => {}
        }
    }
}

/// The next frame that the bytes make up.
pub fn made(feed: &mut Feed<'_>, world: &World, known: &Known) -> Frame {
    let kind = feed.u8();
    let room = if feed.rarely(24) { Handle(feed.u16()) } else { Handle(0) };
    let class = if feed.u8().is_multiple_of(2) { Class::Content } else { Class::Control };
    match if kind < 0xf0 { kind % 16 } else { kind } {
        0 => hello(feed),
        1 => {
            let tags = (0..feed.u8() % 8).map(|_| feed.pick(&known.tags).copied().unwrap_or(Tag(feed.array())));
            Frame::Rooms(tags.collect())
        }
        2 => Frame::Proof(proof(feed, room, known)),
        3 => Frame::Refused(room),
        4 => {
            let mac = |feed: &mut Feed<'_>| feed.pick(&known.macs).copied().unwrap_or_default();
            let (control, content, agreement) = (mac(feed), mac(feed), mac(feed));
            Frame::Check { room, control, content, agreement, beacons: feed.array() }
        }
        5 => {
            let listing = [Listing::Whole, Listing::Part, Listing::Moved][usize::from(feed.u8() % 3)];
            let (last, count) = (feed.u8().is_multiple_of(2), feed.u8());
            let heads = (0..count).map(|n| head(feed, world, n)).collect();
            Frame::Heads { room, class, listing, last, heads }
        }
        6 => Frame::Reconcile { room, class, message: symbols(feed, known) },
        7 => Frame::Lack { room, class, items: (0..feed.u8()).map(|_| feed.u64()).collect() },
        8 => {
            let (request, count) = (feed.u32(), feed.u8() % 70);
            let branches = (0..count).map(|_| Branch { top: tip(feed, world), down_to: feed.u64() }).collect();
            Frame::Want { request, room, branches }
        }
        9 => events(feed, world, known),
        10 => Frame::Credit(feed.u32()),
        11 => Frame::Push { room, event: pushed(feed, world) },
        12 => Frame::Beacons { room, beacons: (0..feed.u8()).map(|_| beacon(feed, world)).collect() },
        13 => {
            let made = |feed: &mut Feed<'_>| BeaconName { slot: feed.array(), ms: feed.u64(), tie: feed.array() };
            let names = (0..feed.u8()).map(|_| feed.pick(&known.names).copied().unwrap_or_else(|| made(feed)));
            Frame::Slots { room, names: names.collect() }
        }
        14 => {
            let (tag, sealed) = feed.pick(&known.knocks).cloned().unwrap_or((Tag([0; 16]), Vec::new()));
            let tag = if feed.rarely(64) { feed.pick(&known.tags).copied().unwrap_or(tag) } else { tag };
            Frame::Knock { tag, sealed: if feed.rarely(64) { feed.piece().to_vec() } else { sealed } }
        }
        0xf0..=0xf7 => Frame::Ask { room, nonce: [feed.u8(); 16] },
        0xf8..=0xff => Frame::Answer { room, answer: answer(feed) },
        _ => Frame::Key { room, circle: [feed.u8(); 32], key: [feed.u8(); 32] },
    }
}

fn answer(feed: &mut Feed<'_>) -> SignedAnswer {
    let (device, nonce, hlc) = (DeviceId([3; 32]), [feed.u8(); 16], Hlc(feed.u64()));
    let (control, content, durable) = ([feed.u8(); 32], [feed.u8(); 32], feed.u8().is_multiple_of(2));
    SignedAnswer { device, nonce, hlc, control, content, durable, signature: Signature([0; 64]) }
}

fn hello(feed: &mut Feed<'_>) -> Frame {
    let version = if feed.rarely(16) { feed.u16() } else { SYNC_VERSION };
    let network = if feed.rarely(16) { feed.array() } else { network_name("") };
    Frame::Hello { version, network, nonce: [feed.u8(); 16], credit: feed.u32() }
}

fn proof(feed: &mut Feed<'_>, room: Handle, known: &Known) -> Proof {
    let nobody = Proof { room, device: DeviceId([3; 32]), expires_ms: NOW_MS + 1, signature: Signature([0; 64]) };
    let proof = feed.pick(&known.proofs).cloned().unwrap_or(nobody);
    let expires_ms = if feed.rarely(64) { feed.u64() } else { proof.expires_ms };
    Proof { room, expires_ms, ..proof }
}

/// An event of the world, perhaps at another place, or one that nobody has said.
fn tip(feed: &mut Feed<'_>, world: &World) -> Tip {
    let tip = world.tip(usize::from(feed.u8()));
    match feed.u8() {
        0..=0xbf => tip,
        0xc0..=0xdf => Tip { seq: feed.u64(), ..tip },
        _ => Tip { seq: feed.u64(), id: EventId([feed.u8(); 32]) },
    }
}

fn head(feed: &mut Feed<'_>, world: &World, n: u8) -> Head {
    let tip = tip(feed, world);
    let log = world.find(tip.id).map(|event| event.log());
    let (author, grant) = log.map_or((DeviceId([n; 32]), EventId([n; 32])), |log| (log.author, log.grant));
    let author = if feed.rarely(16) { DeviceId([n; 32]) } else { author };
    Head { author, grant, tip, hlc: Hlc(feed.u64()) }
}

/// A message of set reconciliation: one heard before, or one in which a few bytes are repeated to some length.
fn symbols(feed: &mut Feed<'_>, known: &Known) -> Vec<u8> {
    match (feed.u8() % 4, feed.pick(&known.symbols)) {
        (0, Some(message)) => message.clone(),
        (1, Some(message)) if !message.is_empty() => {
            let (mut message, at) = (message.clone(), usize::from(feed.u16()));
            let at = at % message.len();
            message[at] = feed.u8();
            message
        }
        (2, _) => {
            let (head, count) = (feed.array::<4>(), usize::from(feed.u8()));
            let symbol = feed.array::<14>();
            head.into_iter().chain(symbol.into_iter().cycle().take(14 * count)).collect()
        }
        _ => feed.piece().to_vec(),
    }
}

/// An answer to what was asked for: what belongs there, a part of it, or anything.
fn events(feed: &mut Feed<'_>, world: &World, known: &Known) -> Frame {
    let asked = feed.pick(&known.wants).copied();
    let request = asked.map_or_else(|| feed.u32(), |(request, _)| request);
    let last = feed.u8().is_multiple_of(2);
    let chunk = match (feed.u8() % 4, asked) {
        (0, _) => Vec::new(),
        (1, _) => feed.piece().to_vec(),
        (how, asked) => {
            let count = usize::from(feed.u8() % 40) + 1;
            let top = asked.map_or_else(|| tip(feed, world), |(_, branch)| branch.top);
            range(feed, world, top, count, how == 3).deflate().unwrap_or_default()
        }
    };
    Frame::Events { request, last, chunk }
}

fn range(feed: &mut Feed<'_>, world: &World, top: Tip, count: usize, changes: bool) -> Range {
    let mut range = Range { first_seq: top.seq, prev: EventId::ZERO, rows: Vec::new() };
    let mut next = world.find(top.id);
    while let Some(event) = next.filter(|_| range.rows.len() < count) {
        range.rows.push(Row::new(event.header().clone(), event.body().clone(), event.signature().copied()));
        (range.first_seq, range.prev) = (event.header().seq, event.header().prev);
        next = world.find(event.header().prev);
    }
    range.rows.reverse();
    if changes {
        let at = usize::from(feed.u8()).checked_rem(range.rows.len());
        match (feed.u8() % 6, at) {
            (0, Some(at)) => range.rows[at].signature = None,
            (1, Some(at)) => range.rows[at].hlc.0 = feed.u64(),
            (2, Some(at)) => drop(range.rows.remove(at)),
            (3, Some(at)) => range.rows[at].signature = Some(Signature([feed.u8(); 64])),
            (4, _) => range.first_seq = feed.u64(),
            _ => range.prev = EventId([feed.u8(); 32]),
        }
    }
    range
}

/// An event that travels alone: whole, with a byte changed, or no event.
fn pushed(feed: &mut Feed<'_>, world: &World) -> Vec<u8> {
    let signed: Vec<_> = world.events.iter().filter_map(|event| event.to_signed()).collect();
    let mut bytes = match feed.pick(&signed) {
        Some(event) => encode(event),
        None => Vec::new(),
    };
    match feed.u8() % 8 {
        0 if !bytes.is_empty() => {
            let at = usize::from(feed.u16()) % bytes.len();
            bytes[at] ^= feed.u8();
            bytes
        }
        1 => feed.piece().to_vec(),
        2 => world.join.clone(),
        _ => bytes,
    }
}

fn beacon(feed: &mut Feed<'_>, world: &World) -> SignedBeacon {
    let beacon = feed.pick(&world.beacons).cloned().unwrap_or_else(|| unreachable!("a world has beacons"));
    match feed.u8() % 8 {
        0 => SignedBeacon { hlc: Hlc(feed.u64()), ..beacon },
        1 => SignedBeacon { kind: feed.u16() % 8, ..beacon },
        2 => SignedBeacon { payload: feed.piece().to_vec(), ..beacon },
        _ => beacon,
    }
}
