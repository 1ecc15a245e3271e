//! Dealing with delivered ranges: verified in order on a worker thread, admitted by the writer, answered in order. While
//! one is committed the next is verified.

use crate::command::Command;
use crate::ingest::{Admitted, Verdict};
use crate::trim::{self, Budget};
use crate::writer::{Origin, WriteError};
use std::sync::Arc;
use tidings_protocol::admission::Rejection;
use tidings_protocol::event::{Class, SignedEvent};
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::log::{Log, Tip};
use tidings_protocol::range::{Range, RangeError, Row, RowBody, Vouched};
use tidings_protocol::sync::Input;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// A range to be dealt with.
pub(super) struct Delivery {
    pub(super) request: u32,
    pub(super) room: RoomId,
    pub(super) log: Log,
    pub(super) top: Tip,
    pub(super) vouched: Vouched,
    pub(super) range: Range,
    pub(super) bytes: u32,
    /// Memory that it takes until it is committed.
    pub(super) memory: Memory,
}

/// What is kept free for chunks: what is a few bytes on the wire may be a megabyte here, and waits for the writer.
#[derive(Clone)]
pub struct Room {
    /// Of all conversations.
    node: Arc<Semaphore>,
    /// Of one.
    conversation: Arc<Semaphore>,
}

/// A part of it.
pub(super) struct Memory {
    _node: OwnedSemaphorePermit,
    _conversation: OwnedSemaphorePermit,
    kib: u32,
}

impl Default for Room {
    fn default() -> Self {
        let node = Arc::new(Semaphore::new(NODE_MEMORY_KIB_MAX as usize));
        Room { conversation: node.clone(), node }
    }
}

impl Room {
    /// For one more conversation.
    pub(super) fn share(&self) -> Room {
        Room { node: self.node.clone(), conversation: Arc::new(Semaphore::new(MEMORY_KIB_MAX as usize)) }
    }

    /// Waits until there is room for a range. Nothing that makes room waits for who waits here.
    pub(super) async fn take(&self, range: &Range) -> Option<Memory> {
        let kib = memory_kib(range);
        let conversation = self.conversation.clone().acquire_many_owned(kib).await.ok()?;
        let node = self.node.clone().acquire_many_owned(kib).await.ok()?;
        Some(Memory { _node: node, _conversation: conversation, kib })
    }
}

/// What a range takes, about.
fn memory_kib(range: &Range) -> u32 {
    let of_row = |row: &Row| match &row.body {
        RowBody::Kept(payload) => payload.bytes.len() + ROW_LEN,
        RowBody::Erased { .. } => ROW_LEN,
    };
    let len = range.rows.iter().map(of_row).sum::<usize>();
    u32::try_from(len.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, MEMORY_KIB_MAX)
}

/// What became of it.
pub(super) enum Dealt {
    /// For the conversation.
    Done(Box<Input>),
    /// The range is false: the conversation is over.
    False(RangeError),
    /// An event of it is, though its signature holds: who admits nothing false has nothing false to give.
    Rejected(Rejection),
    /// The writer has stopped.
    Stopped,
}

/// What is answered in order.
enum Step {
    /// Once it is committed.
    Committing {
        delivery: (u32, u32, (EventId, u64)),
        answer: oneshot::Receiver<Result<Admitted, WriteError>>,
        memory: (Memory, trim::Room),
    },
    /// At once.
    Dealt(Input),
}

/// The ranges of one conversation. Who fetches nothing has neither tasks nor queues for it: most peers share no room with us.
pub(super) struct Deliveries {
    peer: Vec<u8>,
    commands: mpsc::Sender<Command>,
    budget: Arc<Budget>,
    begun: Option<(mpsc::Sender<Box<Delivery>>, mpsc::Receiver<Dealt>)>,
}

impl Deliveries {
    /// Of a conversation with this peer.
    pub(super) fn new(peer: Vec<u8>, commands: mpsc::Sender<Command>, budget: Arc<Budget>) -> Self {
        Deliveries { peer, commands, budget, begun: None }
    }

    /// Deals with one more range; false when that has ended.
    pub(super) async fn deal(&mut self, delivery: Delivery) -> bool {
        let start = || start(self.peer.clone(), self.commands.clone(), self.budget.clone());
        let (queue, _) = self.begun.get_or_insert_with(start);
        queue.send(Box::new(delivery)).await.is_ok()
    }

    /// What became of the next one; waits for ever while there was none.
    pub(super) async fn dealt(&mut self) -> Option<Dealt> {
        match &mut self.begun {
            Some((_, dealt)) => dealt.recv().await,
            None => std::future::pending().await,
        }
    }
}

/// Starts dealing with the ranges of one conversation. What is queued is boxed: a queue keeps room for 32 once it was used.
fn start(
    peer: Vec<u8>,
    commands: mpsc::Sender<Command>,
    budget: Arc<Budget>,
) -> (mpsc::Sender<Box<Delivery>>, mpsc::Receiver<Dealt>) {
    let (deliveries, queue) = mpsc::channel(DELIVERIES_MAX);
    let (dealt_queue, dealt) = mpsc::channel(DELIVERIES_MAX);
    let (committing, committing_queue) = mpsc::channel(DELIVERIES_MAX);
    tokio::spawn(verify(queue, peer, (commands, budget), committing, dealt_queue.clone()));
    tokio::spawn(answer(committing_queue, dealt_queue));
    (deliveries, dealt)
}

async fn verify(
    mut queue: mpsc::Receiver<Box<Delivery>>,
    peer: Vec<u8>,
    (commands, budget): (mpsc::Sender<Command>, Arc<Budget>),
    committing: mpsc::Sender<Box<Step>>,
    dealt: mpsc::Sender<Dealt>,
) {
    while let Some(d) = queue.recv().await {
        let d = *d;
        let bottom = (d.range.prev, d.range.first_seq);
        let (room, log, top, vouched, range) = (d.room, d.log, d.top, d.vouched, d.range);
        let verified = tokio::task::spawn_blocking(move || range.verify(room, log, top, vouched)).await;
        let events = match verified {
            Ok(Ok(events)) => events,
            Ok(Err(error)) if error.may_be_honest(vouched) => {
                let untrue = Input::Untrue { request: d.request, bytes: d.bytes };
                if committing.send(Box::new(Step::Dealt(untrue))).await.is_err() {
                    return;
                }
                continue;
            }
            Ok(Err(error)) => return drop(dealt.send(Dealt::False(error)).await),
            Err(_) => return drop(dealt.send(Dealt::Stopped).await),
        };
        let (reply, answer) = oneshot::channel();
        // What decides who may do what is not held up by the disk budget.
        let kib = if log.class == Class::Content { u64::from(d.memory.kib) } else { 0 };
        let disk = budget.clone().admit(kib * 1024).await;
        let admit = Command::Admit { room, events, origin: Origin::Bulk(peer.clone()), reply };
        let next = Step::Committing { delivery: (d.request, d.bytes, bottom), answer, memory: (d.memory, disk) };
        if commands.send(admit).await.is_err() || committing.send(Box::new(next)).await.is_err() {
            return drop(dealt.send(Dealt::Stopped).await);
        }
    }
}

async fn answer(mut queue: mpsc::Receiver<Box<Step>>, dealt: mpsc::Sender<Dealt>) {
    while let Some(step) = queue.recv().await {
        let ((request, bytes, bottom), answer, memory) = match *step {
            Step::Committing { delivery, answer, memory } => (delivery, answer, memory),
            Step::Dealt(input) => {
                if dealt.send(Dealt::Done(Box::new(input))).await.is_err() {
                    return;
                }
                continue;
            }
        };
        let answer = answer.await;
        drop(memory);
        let done = match answer {
            Ok(Ok(Admitted { verdict: Verdict::Rejected(why), .. })) => Dealt::Rejected(why),
            Ok(Ok(admitted)) => {
                let new = !admitted.stored.is_empty();
                let kept = new || admitted.known > 0;
                Dealt::Done(Box::new(Input::Delivered { request, bytes, new, kept, bottom }))
            }
            _ => Dealt::Stopped,
        };
        if dealt.send(done).await.is_err() {
            return;
        }
    }
}

/// Admits what is true of an introduction. What is false is no fault: a room that is not here would not have noticed.
pub(super) async fn admit_all(commands: mpsc::Sender<Command>, peer: Vec<u8>, room: RoomId, events: Vec<Vec<u8>>) {
    for bytes in events {
        let Some(event) = SignedEvent::decode(&bytes).ok().and_then(|event| event.verify().ok()) else { return };
        let (reply, answer) = oneshot::channel();
        let command = Command::Admit { room, events: vec![event], origin: Origin::Live(peer.clone()), reply };
        if commands.send(command).await.is_err() || answer.await.is_err() {
            return;
        }
    }
}

/// Memory of the ranges of one conversation that are verified or wait for the writer: eight of the largest, so that it never
/// stands still for want of them.
const MEMORY_KIB_MAX: u32 = 8 * 1024;
/// The same of all conversations together, however many there are.
const NODE_MEMORY_KIB_MAX: u32 = 256 * 1024;
/// What an event takes beside its payload, with all its parents.
const ROW_LEN: usize = 512;
/// Ranges under way: the credit allows fewer, as long as chunks are of a fair size.
const DELIVERIES_MAX: usize = 64;
