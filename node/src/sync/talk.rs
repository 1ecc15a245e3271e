//! One conversation with one peer: carries frames, the store's news and the conversation's wishes to and fro.

use super::deliver::{self, Dealt, Delivery};
use super::frames::{self, Traffic};
use super::holdings::NodeHoldings;
use super::manager::Manager;
use super::offers;
use crate::clock::now_ms;
use crate::effective;
use crate::ingest::Verdict;
use crate::keys::random;
use crate::network::{Duplex, Peer};
use crate::writer::{Command, Origin, Stored, WriteError};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tidings_protocol::admission::Rejection;
use tidings_protocol::codec::encode;
use tidings_protocol::event::{Class, EventError, SignedEvent};
use tidings_protocol::id::RoomId;
use tidings_protocol::log::Log;
use tidings_protocol::range::RangeError;
use tidings_protocol::sync::{Conversation, Failure, Holdings, Input, Output, Settings, Side};
use tidings_protocol::wire::{Frame, Head};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::Instant;

/// Why a conversation ended.
#[derive(Debug, Error)]
pub(super) enum Ended {
    /// The stream did: the peer went, or broke the framing.
    #[error("the stream ended: {0}")]
    Stream(#[from] std::io::Error),
    /// The state machine says so.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The peer sent something false.
    #[error("a false range: {0}")]
    Range(#[from] RangeError),
    /// The peer sent something false.
    #[error("a false event: {0}")]
    Event(#[from] EventError),
    /// The peer sent something false.
    #[error("a false event: {0}")]
    Rejected(#[from] Rejection),
    /// The peer owes an answer for too long, or takes nothing.
    #[error("no progress")]
    Stalled,
    /// This node is stopping.
    #[error("stopping")]
    Stopping,
}

impl Ended {
    /// Whether the peer is to blame, and should not be asked again soon.
    pub(super) fn is_fault(&self) -> bool {
        match self {
            Ended::Failure(failure) => !matches!(failure, Failure::Unavailable(_)),
            Ended::Stream(error) => error.kind() == std::io::ErrorKind::InvalidData,
            Ended::Range(_) | Ended::Event(_) | Ended::Rejected(_) => true,
            Ended::Stalled | Ended::Stopping => false,
        }
    }
}

struct Talk<'m> {
    manager: &'m Manager,
    peer: Peer,
    peer_bytes: Vec<u8>,
    conversation: Conversation,
    held: NodeHoldings,
    outgoing: mpsc::Sender<Frame>,
    deliveries: mpsc::Sender<Delivery>,
    /// Verdicts on pushed events and introductions that are awaited.
    verdicts: FuturesUnordered<futures::future::BoxFuture<'static, Judged>>,
    /// Logs that moved and of which the peer was not told yet.
    moved: BTreeSet<(RoomId, Log)>,
    begun: Instant,
    /// Events pushed so far.
    pushes: u64,
    /// When credentials were last issued.
    offered: Instant,
}

enum Judged {
    Pushed(RoomId, Result<Verdict, WriteError>),
    Introduced(RoomId),
}

/// Talks until the stream or the node ends.
pub(super) async fn talk(manager: &Manager, peer: Peer, side: Side, stream: Box<dyn Duplex>) -> Ended {
    let traffic = Arc::new(Traffic::default());
    let frames = frames::serve(stream, traffic.clone());
    manager.told.begin(peer, traffic);
    let peer_bytes = peer.to_bytes();
    let (deliveries, dealt) = deliver::start(peer_bytes.clone(), manager.commands.clone());
    let us = manager.us.to_bytes();
    let settings = Settings {
        side,
        network: manager.federation.clone(),
        nonce: random(),
        us: us.clone(),
        them: peer_bytes.clone(),
    };
    let offers = offers::all(&manager.views, &manager.store, &manager.keys, &us);
    let held = NodeHoldings {
        store: manager.store.clone(),
        views: manager.views.clone(),
        peer: peer_bytes.clone(),
        leases: manager.leases.clone(),
        digests: manager.digests.clone(),
    };
    let mut talk = Talk {
        manager,
        peer,
        peer_bytes,
        conversation: Conversation::new(settings, offers),
        held,
        outgoing: frames.outgoing,
        deliveries,
        verdicts: FuturesUnordered::new(),
        moved: BTreeSet::new(),
        begun: Instant::now(),
        pushes: 0,
        offered: Instant::now(),
    };
    let ended = match talk.run(frames.incoming, dealt).await {
        Ok(()) => Ended::Stopping,
        Err(ended) => ended,
    };
    manager.leases.free_all(&talk.peer_bytes);
    ended
}

impl Talk<'_> {
    async fn run(
        &mut self,
        mut incoming: mpsc::Receiver<Result<Frame, std::io::Error>>,
        mut dealt: mpsc::Receiver<Dealt>,
    ) -> Result<(), Ended> {
        let mut stored = self.manager.stored.subscribe();
        let mut freed = self.manager.leases.freed();
        let mut announce = tokio::time::interval(ANNOUNCE_EVERY);
        let mut recheck = tokio::time::interval(RECHECK_EVERY.mul_f64(0.75 + rand::random::<f64>() / 2.0));
        recheck.reset();
        self.perform().await?;
        loop {
            tokio::select! {
                frame = incoming.recv() => match frame {
                    Some(frame) => self.input(Input::Frame(frame?)).await?,
                    None => return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
                },
                done = dealt.recv() => match done {
                    Some(Dealt::Done(input)) => self.input(input).await?,
                    Some(Dealt::False(error)) => return Err(error.into()),
                    Some(Dealt::Rejected(why)) => return Err(why.into()),
                    Some(Dealt::Stopped) | None => return Ok(()),
                },
                Some(judged) = self.verdicts.next() => self.judged(judged).await?,
                news = stored.recv() => match news {
                    Ok(news) => self.news(&news).await?,
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        self.offer_all().await?;
                        self.recheck().await?;
                    }
                    Err(broadcast::error::RecvError::Closed) => return Ok(()),
                },
                Ok(room) = freed.recv() => self.input(Input::Resume(room)).await?,
                _ = announce.tick() => self.announce().await?,
                _ = recheck.tick() => self.recheck().await?,
            }
        }
    }

    async fn input(&mut self, input: Input) -> Result<(), Ended> {
        // Reads the store: short, but not to be done where others wait.
        tokio::task::block_in_place(|| self.conversation.handle(input, &self.held, now_ms()))?;
        self.perform().await
    }

    /// Does what the conversation wants, until it wants no more or the stream is full.
    async fn perform(&mut self) -> Result<(), Ended> {
        while let Some(output) = tokio::task::block_in_place(|| self.conversation.next_output(&self.held))? {
            match output {
                Output::Send(frame) => {
                    self.pushes += u64::from(matches!(frame, Frame::Push { .. }));
                    self.send(frame).await?;
                }
                Output::Deliver { request, room, log, top, vouched, range, bytes } => {
                    let delivery = Delivery { request, room, log, top, vouched, range, bytes };
                    self.deliveries.send(delivery).await.map_err(|_| Ended::Stopping)?;
                }
                Output::Introduce { room, events } => self.introduce(room, events).await?,
                Output::Pushed { room, event } => self.pushed(room, &event).await?,
                Output::Shared(room) => {
                    self.manager.told.shared(room, self.peer);
                    self.manager.met(self.peer, room);
                }
                Output::Refused(room) => tracing::debug!(peer = %self.peer, %room, "not let into the room"),
                Output::Agreed { room, agreed } => self.agreed(room, agreed).await?,
                Output::Rested(room) => self.manager.leases.free(room, &self.peer_bytes),
            }
        }
        Ok(())
    }

    async fn send(&mut self, frame: Frame) -> Result<(), Ended> {
        match tokio::time::timeout(STALLED_AFTER, self.outgoing.send(frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe).into()),
            Err(_) => Err(Ended::Stalled),
        }
    }

    async fn admit(
        &mut self,
        room: RoomId,
        bytes: &[u8],
    ) -> Result<oneshot::Receiver<Result<crate::ingest::Admitted, WriteError>>, Ended> {
        let event = SignedEvent::decode(bytes).map_err(EventError::from)?.verify()?;
        let (reply, answer) = oneshot::channel();
        let origin = Origin::Live(self.peer_bytes.clone());
        let command = Command::Admit { room, events: vec![event], origin, reply };
        self.manager.commands.send(command).await.map_err(|_| Ended::Stopping)?;
        Ok(answer)
    }

    async fn pushed(&mut self, room: RoomId, bytes: &[u8]) -> Result<(), Ended> {
        let answer = self.admit(room, bytes).await?;
        self.verdicts.push(Box::pin(async move {
            let verdict = answer.await.unwrap_or(Err(WriteError::Stopping));
            Judged::Pushed(room, verdict.map(|a| a.verdict))
        }));
        if self.verdicts.len() >= VERDICTS_MAX
            && let Some(judged) = self.verdicts.next().await
        {
            Box::pin(self.judged(judged)).await?;
        }
        Ok(())
    }

    async fn introduce(&mut self, room: RoomId, events: Vec<Vec<u8>>) -> Result<(), Ended> {
        let mut answers = Vec::new();
        for event in events {
            answers.push(self.admit(room, &event).await?);
        }
        self.verdicts.push(Box::pin(async move {
            for answer in answers {
                drop(answer.await);
            }
            Judged::Introduced(room)
        }));
        Ok(())
    }

    async fn judged(&mut self, judged: Judged) -> Result<(), Ended> {
        match judged {
            Judged::Introduced(room) => self.input(Input::Introduced(room)).await,
            // What it rests on is missing here: compare, and get it.
            Judged::Pushed(room, Ok(Verdict::Waiting(_))) => self.input(Input::Recheck(room)).await,
            Judged::Pushed(_, Ok(Verdict::Rejected(why))) => Err(why.into()),
            Judged::Pushed(_, Err(_)) => Err(Ended::Stopping),
            Judged::Pushed(..) => Ok(()),
        }
    }

    /// Something new is in the store: what was said here is pushed at once, all else is announced a little later.
    async fn news(&mut self, news: &Stored) -> Result<(), Ended> {
        let from_them = matches!(&news.origin, Origin::Live(p) | Origin::Bulk(p) if *p == self.peer_bytes);
        if !from_them {
            for number in &news.numbers {
                let Ok(Some(event)) = self.held.store.event(*number) else { continue };
                let signed = match news.origin {
                    Origin::Local => self.held.store.signed_event(news.room, &event).ok().flatten(),
                    _ => None,
                };
                match signed {
                    Some(signed) => self.push(news.room, event.number, &signed).await?,
                    None => drop(self.moved.insert((news.room, event.log))),
                }
                if matches!(news.origin, Origin::Bulk(_)) {
                    break;
                }
            }
        }
        if news.room_changed { self.offer(news.room).await } else { Ok(()) }
    }

    /// Offers a room as it is now, with a fresh credential; or no longer, if we have left it and our word of that is out.
    async fn offer(&mut self, room: RoomId) -> Result<(), Ended> {
        let Some(view) = self.manager.views.find(room) else { return Ok(()) };
        if !offers::is_offered(&view, &self.held.store) {
            return self.input(Input::Withdraw(room)).await;
        }
        let us = self.manager.us.to_bytes();
        let offer = offers::offer(room, &view, &self.manager.store, &self.manager.keys, &us);
        self.input(Input::Offer(offer)).await
    }

    async fn push(&mut self, room: RoomId, number: u64, event: &SignedEvent) -> Result<(), Ended> {
        if !self.conversation.shared().any(|r| r == room) {
            return Ok(());
        }
        let id = event.header.id();
        let before = self.pushes;
        self.input(Input::Push { room, event: encode(event) }).await?;
        if self.pushes > before {
            self.manager.sent(self.peer, room, &[(id, number)]).await;
        }
        Ok(())
    }

    async fn agreed(&mut self, room: RoomId, agreed: tidings_protocol::sync::Agreed) -> Result<(), Ended> {
        self.manager.leases.free(room, &self.peer_bytes);
        let agreement = tidings_storage::Agreement { token: agreed.token, change: agreed.change };
        if self.held.agreement(room).ok().flatten() != Some(agreed) {
            let command = Command::Agree { room, peer: self.peer_bytes.clone(), agreement };
            self.manager.commands.send(command).await.map_err(|_| Ended::Stopping)?;
        }
        self.manager.agreed(self.peer, room).await;
        Ok(())
    }

    /// Tells of logs that moved since the last time; ends a conversation that makes no progress.
    async fn announce(&mut self) -> Result<(), Ended> {
        let waiting = match self.conversation.waiting_since_ms() {
            Some(since_ms) => Duration::from_millis(now_ms().saturating_sub(since_ms)),
            None if self.conversation.is_waiting() => self.begun.elapsed(),
            None => Duration::ZERO,
        };
        if waiting > STALLED_AFTER {
            return Err(Ended::Stalled);
        }
        let mut heads: BTreeMap<(RoomId, Class), Vec<Head>> = BTreeMap::new();
        for (room, log) in std::mem::take(&mut self.moved) {
            let Some(view) = self.manager.views.find(room) else { continue };
            if log.class == Class::Control {
                let own = view.control_heads.iter().filter(|h| h.log(log.class) == log);
                heads.entry((room, log.class)).or_default().extend(own);
            } else if let Ok(Some(row)) = self.held.store.log(view.number, &log) {
                let own = effective::heads_of(&self.held.store, &view, &log, &row).unwrap_or_default();
                heads.entry((room, log.class)).or_default().extend(own);
            }
        }
        for ((room, class), heads) in heads {
            self.input(Input::Moved { room, class, heads }).await?;
        }
        Ok(())
    }

    async fn offer_all(&mut self) -> Result<(), Ended> {
        self.offered = Instant::now();
        for (room, _) in self.manager.views.all() {
            self.offer(room).await?;
        }
        Ok(())
    }

    async fn recheck(&mut self) -> Result<(), Ended> {
        if self.offered.elapsed() > OFFER_EVERY {
            self.offer_all().await?;
        }
        let rooms: Vec<RoomId> = self.conversation.shared().collect();
        for room in rooms {
            self.input(Input::Recheck(room)).await?;
        }
        Ok(())
    }
}

/// Moved logs are gathered for so long.
const ANNOUNCE_EVERY: Duration = Duration::from_millis(50);
/// How often equal peers make sure that they still are, about.
const RECHECK_EVERY: Duration = Duration::from_secs(120);
/// How often offers get fresh credentials: well before they expire.
const OFFER_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// A peer that owes an answer, or takes nothing, for so long is left.
const STALLED_AFTER: Duration = Duration::from_secs(30);
/// Pushed events whose verdicts are awaited.
const VERDICTS_MAX: usize = 256;
