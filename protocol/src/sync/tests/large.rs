//! Rooms of more logs than one exchange can tell: a part each time, never a failure. Heads alone, without events.

use super::link::{I, R, settings};
use super::puppet::heads;
use crate::beacon::SignedBeacon;
use crate::control::payload::RoomKind;
use crate::event::Class;
use crate::id::{DeviceId, EventId, RoomId};
use crate::limits::HEADS_MAX;
use crate::log::{Log, Tip};
use crate::sync::{Agreed, Chunk, Conversation, Digests, Holdings, Input, Missing, Offer, Output, Unavailable};
use crate::wire::{Frame, Head, Listing};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// A node that gets a log's events by getting its head.
#[derive(Default)]
struct Many {
    heads: RefCell<BTreeMap<EventId, Head>>,
    change: Cell<u64>,
}

impl Many {
    fn new(from: usize, count: usize) -> Many {
        let many = Many::default();
        many.take(&heads(from, count));
        many
    }

    fn take(&self, heads: &[Head]) -> usize {
        let mut held = self.heads.borrow_mut();
        let before = held.len();
        held.extend(heads.iter().map(|h| (h.tip.id, *h)));
        self.change.set(self.change.get() + 1);
        held.len() - before
    }
}

impl Holdings for Many {
    fn digests(&self, _: RoomId) -> Result<Digests, Unavailable> {
        let mut hasher = blake3::Hasher::new();
        self.heads.borrow().keys().for_each(|id| {
            hasher.update(id.as_bytes());
        });
        Ok(Digests { control: [0; 32], content: *hasher.finalize().as_bytes(), change: self.change.get() })
    }
    fn agreement(&self, _: RoomId) -> Result<Option<Agreed>, Unavailable> {
        Ok(None)
    }
    fn heads(&self, _: RoomId, class: Class, since: u64) -> Result<Vec<Head>, Unavailable> {
        assert_eq!((class, since), (Class::Content, 0));
        Ok(self.heads.borrow().values().copied().collect())
    }
    fn missing(&self, _: RoomId, _: Class, heads: &[Head]) -> Result<Vec<Missing>, Unavailable> {
        self.take(heads);
        Ok(Vec::new())
    }
    fn holes(&self, _: RoomId, _: Option<&Log>) -> Result<Vec<Missing>, Unavailable> {
        Ok(Vec::new())
    }
    fn holds(&self, _: RoomId, id: EventId) -> Result<bool, Unavailable> {
        Ok(self.heads.borrow().contains_key(&id))
    }
    fn chunk(&self, _: RoomId, _: Tip, _: u64) -> Result<Option<Chunk>, Unavailable> {
        Ok(None)
    }
    fn may_hear(&self, _: RoomId, _: DeviceId) -> Result<bool, Unavailable> {
        Ok(false)
    }
    fn is_current_device(&self, _: RoomId, _: DeviceId) -> Result<bool, Unavailable> {
        Ok(false)
    }
    fn beacons(&self, _: RoomId) -> Result<Vec<SignedBeacon>, Unavailable> {
        Ok(Vec::new())
    }
    fn beacons_fingerprint(&self, _: RoomId) -> Result<[u8; 32], Unavailable> {
        Ok([0; 32])
    }
    fn may_fetch(&self, _: RoomId) -> bool {
        true
    }
}

/// Talks until both are silent; the frames that each sent.
fn talk(nodes: [&Many; 2]) -> [Vec<Frame>; 2] {
    let offer = Offer {
        room: RoomId([1; 32]),
        kind: RoomKind::Public,
        secret: [0; 32],
        inner: None,
        credential: None,
        introduction: Vec::new(),
        joining: false,
    };
    let mut talks = [I, R].map(|side| Conversation::new(settings(side), vec![offer.clone()]));
    let mut sent = [Vec::new(), Vec::new()];
    let mut heard = [0, 0];
    loop {
        let before = (sent.each_ref().map(Vec::len), heard);
        for side in [I, R] {
            while let Some(output) = talks[side].next_output(nodes[side]).unwrap() {
                if let Output::Send(frame) | Output::Farewell(frame) = output {
                    sent[side].push(Frame::from_bytes(&frame.to_bytes()).unwrap());
                }
            }
            for frame in &sent[1 - side][heard[side]..] {
                talks[side].handle(Input::Frame(frame.clone()), nodes[side], 0).unwrap();
            }
            heard[side] = sent[1 - side].len();
        }
        if before == (sent.each_ref().map(Vec::len), heard) {
            return sent;
        }
    }
}

fn assert_equal(nodes: [&Many; 2], count: usize) {
    assert_eq!(nodes.map(|n| n.heads.borrow().len()), [count, count]);
}

#[test]
fn more_differences_than_one_reconciliation_can_tell_are_told_by_several() {
    let nodes = [&Many::new(0, 40_000), &Many::new(40_000, 40_000)];
    let sent = talk(nodes);
    assert_equal(nodes, 80_000);
    let lists = sent[I].iter().filter(|f| matches!(f, Frame::Heads { last: true, .. })).count();
    assert!(lists > 1, "{lists}");
}

#[test]
fn a_newcomer_is_told_the_newest_logs_of_more_than_may_be_listed() {
    for newcomer in [I, R] {
        let count = HEADS_MAX + 5000;
        let mut nodes = [&Many::new(0, count), &Many::new(0, count)];
        let empty = Many::default();
        nodes[newcomer] = &empty;
        let sent = talk(nodes);
        assert_equal(nodes, count);
        let mut told = sent[1 - newcomer].iter().filter_map(|f| match f {
            Frame::Heads { listing, heads, .. } if !heads.is_empty() => Some((*listing, heads)),
            _ => None,
        });
        let (listing, first) = told.next().unwrap();
        assert_eq!((listing, first[0].hlc.0), (Listing::Part, count as u64 - 1));
    }
}
