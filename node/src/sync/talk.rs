//! One conversation with one peer: carries frames, the store's news and the conversation's wishes to and fro.

mod asks;
mod gaps;
mod news;
mod shine;

use self::gaps::Barren;
use super::budget::Window;
use super::deliver::{self, Dealt, Deliveries, Delivery};
use super::ended::Ended;
use super::frames::{self, Traffic};
use super::holdings::NodeHoldings;
use super::manager::Manager;
use super::{offers, tips};
use crate::audit::{Answering, Round};
use crate::clock::now_ms;
use crate::command::Command;
use crate::ingest::Verdict;
use crate::keys::random;
use crate::network::{Duplex, Peer};
use crate::purge::heads_to_tell;
use crate::rooms::RoomView;
use crate::writer::{Origin, Stored, WriteError};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tidings_protocol::event::{Class, EventError, SignedEvent, VerifiedEvent};
use tidings_protocol::id::RoomId;
use tidings_protocol::log::Log;
use tidings_protocol::slots::SlotKey;
use tidings_protocol::sync::{Conversation, Holdings, Input, Output, Settings, Side};
use tidings_protocol::wire::{Frame, Head};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::Instant;

struct Talk<'m> {
    manager: &'m Manager,
    peer: Peer,
    peer_bytes: Vec<u8>,
    conversation: Conversation,
    held: NodeHoldings,
    outgoing: mpsc::Sender<Box<Frame>>,
    deliveries: Deliveries,
    room: deliver::Room,
    /// Verdicts on pushed events and introductions that are awaited.
    verdicts: FuturesUnordered<futures::future::BoxFuture<'static, Judged>>,
    /// Logs that moved and of which the peer was not told yet.
    moved: BTreeSet<(RoomId, Log)>,
    /// Beacons that changed and of which the peer was not told yet, and when they are due.
    lit: BTreeMap<(RoomId, SlotKey), Instant>,
    /// Rooms in which the peer was told what is of the moment.
    met: BTreeSet<RoomId>,
    begun: Instant,
    /// Events pushed and keys told so far.
    pushes: u64,
    keys_told: u64,
    /// Keys of sealed tips that the peer has from us, and the state of all keys when it was told the last.
    keys: BTreeMap<RoomId, ([u8; 32], [u8; 32])>,
    keys_version: Option<u64>,
    /// Rooms in which something has moved since the conversation began: before, nobody needs a key, and two who hold the
    /// same say little.
    moving: BTreeSet<RoomId>,
    /// Introductions that came by knocks. They are dealt with when the clock ticks: who knocks cannot tell by what is
    /// answered meanwhile whether anything is done about it.
    introductions: Vec<(RoomId, Vec<Vec<u8>>)>,
    /// When credentials were last issued.
    offered: Instant,
    /// The newest event of which there was news.
    seen: u64,
    /// What was pushed in this second.
    window: Window,
    /// Rooms of which something came that rests on what is missing here, and when they were last compared because of that.
    gaps: BTreeSet<RoomId>,
    compared: BTreeMap<RoomId, Instant>,
    /// Pushed events of which nothing could be kept.
    barren: Barren,
    /// Rooms that we have left, of which the peer knows that by now.
    parted: BTreeSet<RoomId>,
    /// Of an audit that waits for the peer's answer.
    asking: Option<Arc<Round>>,
}

enum Judged {
    Pushed(RoomId, Result<Verdict, WriteError>),
    Introduced(RoomId),
    /// What we answer to an audit is on disk; or could not be put there.
    Synced(Option<Answering>),
}

/// Talks until the stream or the node ends.
pub(super) async fn talk(manager: &Manager, peer: Peer, side: Side, stream: Box<dyn Duplex>) -> Ended {
    let traffic = Arc::new(Traffic::default());
    let frames = frames::serve(stream, traffic.clone());
    manager.told.begin(peer, traffic);
    let peer_bytes = peer.to_bytes();
    let deliveries = Deliveries::new(peer_bytes.clone(), manager.commands.clone(), manager.budget.clone());
    let us = manager.us.to_bytes();
    let settings = Settings {
        side,
        network: manager.federation.clone(),
        nonce: random(),
        us: us.clone(),
        them: peer_bytes.clone(),
    };
    // What happens from here on is heard of: an offer that has changed since it was made is made again.
    let stored = manager.stored.subscribe();
    let offers = offers::all(&manager.views, &manager.store, &manager.keys, &us);
    let held = manager.holdings(peer_bytes.clone());
    let mut talk = Talk {
        manager,
        peer,
        peer_bytes,
        conversation: Conversation::new(settings, offers),
        held,
        outgoing: frames.outgoing,
        deliveries,
        room: manager.room.share(),
        verdicts: FuturesUnordered::new(),
        moved: BTreeSet::new(),
        lit: BTreeMap::new(),
        met: BTreeSet::new(),
        begun: Instant::now(),
        pushes: 0,
        keys_told: 0,
        keys: BTreeMap::new(),
        keys_version: None,
        moving: BTreeSet::new(),
        introductions: Vec::new(),
        offered: Instant::now(),
        seen: 0,
        window: Window::default(),
        gaps: BTreeSet::new(),
        compared: BTreeMap::new(),
        barren: Barren::default(),
        parted: BTreeSet::new(),
        asking: None,
    };
    let ended = match talk.run(frames.incoming, stored).await {
        Ok(()) => Ended::Stopping,
        Err(ended) => ended,
    };
    manager.leases.free_all(&talk.peer_bytes);
    ended
}

impl Talk<'_> {
    async fn run(
        &mut self,
        mut incoming: mpsc::Receiver<Result<Box<Frame>, std::io::Error>>,
        mut stored: broadcast::Receiver<Arc<Stored>>,
    ) -> Result<(), Ended> {
        self.seen = self.newest()?;
        let mut beacons = self.manager.beacons.news();
        let mut freed = self.manager.leases.freed();
        let mut asks = self.manager.tips.asks();
        let mut rechecks = self.manager.live.rechecks();
        let mut opened = self.manager.budget.opened();
        let mut read_back = self.manager.read_back.asked();
        let mut rounds = self.manager.audits.rounds();
        let mut announce = tokio::time::interval(ANNOUNCE_EVERY);
        let mut recheck = tokio::time::interval(RECHECK_EVERY.mul_f64(0.75 + rand::random::<f64>() / 2.0));
        recheck.reset();
        self.perform().await?;
        loop {
            tokio::select! {
                frame = incoming.recv() => match frame {
                    Some(frame) => self.input(Input::Frame(*frame?)).await?,
                    None => return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
                },
                done = self.deliveries.dealt() => match done {
                    Some(Dealt::Done(input)) => self.input(*input).await?,
                    Some(Dealt::False(error)) => return Err(error.into()),
                    Some(Dealt::Rejected(why)) => return Err(why.into()),
                    Some(Dealt::Stopped) | None => return Ok(()),
                },
                Some(judged) = self.verdicts.next() => Box::pin(self.judged(judged)).await?,
                news = stored.recv() => match news {
                    Ok(news) => Box::pin(self.news(&news)).await?,
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        Box::pin(self.catch_up()).await?;
                        self.offer_all().await?;
                        self.recheck().await?;
                    }
                    Err(broadcast::error::RecvError::Closed) => return Ok(()),
                },
                // What is missed, the next Check finds.
                Ok(news) = beacons.recv() => self.lit(&news),
                Ok(room) = freed.recv() => self.input(Input::Resume(room)).await?,
                Ok((room, peer)) = asks.recv() => if peer == self.peer && self.conversation.shared().any(|r| r == room) {
                    self.input(Input::Gap(room)).await?;
                },
                Ok(()) = rechecks.recv() => self.recheck().await?,
                Ok(()) = opened.changed() => self.resume_all().await?,
                Ok(room) = read_back.recv() => if self.conversation.shared().any(|r| r == room) {
                    self.input(Input::Resume(room)).await?;
                    self.input(Input::Recheck(room)).await?;
                },
                Ok(round) = rounds.recv() => Box::pin(self.ask(round)).await?,
                _ = announce.tick() => {
                    self.announce().await?;
                    self.fetch_deferred().await?;
                    self.introduce();
                    self.fill_gaps().await?;
                    self.part().await?;
                    self.tell_keys().await?;
                }
                _ = recheck.tick() => self.recheck().await?,
            }
        }
    }

    async fn input(&mut self, input: Input) -> Result<(), Ended> {
        // One event more is no work. All else reads the store: short, but not to be done where others wait.
        if matches!(input, Input::Push { .. } | Input::Moved { .. } | Input::Frame(Frame::Push { .. })) {
            self.conversation.handle(input, &self.held, now_ms())?;
        } else {
            tokio::task::block_in_place(|| self.conversation.handle(input, &self.held, now_ms()))?;
        }
        self.perform().await
    }

    /// Does what the conversation wants, until it wants no more or the stream is full.
    async fn perform(&mut self) -> Result<(), Ended> {
        while let Some(output) = self.next_output()? {
            match output {
                Output::Send(frame) | Output::Farewell(frame) => self.send(Box::new(frame)).await?,
                // Boxed, as all that idle conversations do not do: they need no room for it.
                other => Box::pin(self.act(other)).await?,
            }
        }
        Ok(())
    }

    /// Does what is more than to send.
    async fn act(&mut self, output: Output) -> Result<(), Ended> {
        match output {
            Output::Send(frame) | Output::Farewell(frame) => self.send(Box::new(frame)).await?,
            Output::Deliver { request, room, log, top, vouched, range, bytes } => {
                let memory = self.room.take(&range).await.ok_or(Ended::Stopping)?;
                let delivery = Delivery { request, room, log, top, vouched, range, bytes, memory };
                if !self.deliveries.deal(delivery).await {
                    return Err(Ended::Stopping);
                }
            }
            Output::Introduce { room, events } => self.introductions.push((room, events)),
            Output::Key { room, device, circle, key } => {
                if self.manager.tips.told(room, device, circle, key) {
                    self.moving.insert(room);
                    self.keys.remove(&room);
                    self.keys_version = None;
                }
            }
            Output::Pushed { room, event } => self.pushed(room, &event).await?,
            Output::Beacons { room, beacons } => {
                if let Some(view) = self.manager.views.find(room) {
                    self.manager.beacons.hear(&view, &self.peer_bytes, beacons).await?;
                    // A device of theirs may have been removed meanwhile.
                    if let Some(now) = self.manager.views.find(room).filter(|now| !Arc::ptr_eq(now, &view)) {
                        self.manager.beacons.sweep(&now).await;
                    }
                }
            }
            Output::Asked { room, nonce } => self.asked(room, nonce).await?,
            Output::Answered { room, answer } => Box::pin(self.answered(room, answer)).await?,
            Output::Shared(room) => {
                self.keys.remove(&room);
                self.keys_version = None;
                self.manager.told.shared(room, self.peer);
                self.manager.met(self.peer);
                self.reassure(room).await;
            }
            Output::Closed(room) | Output::SameControl(room) => {
                self.reassure(room).await;
                if self.manager.views.find(room).is_some_and(|view| view.row.left) {
                    self.parted.insert(room);
                }
            }
            Output::Refused(room) => tracing::debug!(peer = %self.peer, %room, "not let into the room"),
            Output::Agreed { room, agreed } => self.agreed(room, agreed).await?,
            Output::Rested(room) => self.manager.leases.free(room, &self.peer_bytes),
        }
        Ok(())
    }

    fn next_output(&mut self) -> Result<Option<Output>, Ended> {
        if self.conversation.is_serving() {
            return Ok(tokio::task::block_in_place(|| self.conversation.next_output(&self.held))?);
        }
        Ok(self.conversation.next_output(&self.held)?)
    }

    async fn send(&mut self, frame: Box<Frame>) -> Result<(), Ended> {
        self.pushes += u64::from(matches!(*frame, Frame::Push { .. }));
        self.keys_told += u64::from(matches!(*frame, Frame::Key { .. }));
        match tokio::time::timeout(STALLED_AFTER, self.outgoing.send(frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe).into()),
            Err(_) => Err(Ended::Stalled),
        }
    }

    /// Compares rooms of which more was pushed than is taken at once.
    async fn fetch_deferred(&mut self) -> Result<(), Ended> {
        for room in self.manager.live.due(self.peer) {
            if self.conversation.shared().any(|r| r == room) {
                self.input(Input::Recheck(room)).await?;
            }
        }
        Ok(())
    }

    async fn admit(
        &mut self,
        room: RoomId,
        event: VerifiedEvent,
    ) -> Result<oneshot::Receiver<Result<crate::ingest::Admitted, WriteError>>, Ended> {
        let (reply, answer) = oneshot::channel();
        let origin = Origin::Live(self.peer_bytes.clone());
        let command = Command::Admit { room, events: vec![event], origin, reply };
        self.manager.commands.send(command).await.map_err(|_| Ended::Stopping)?;
        Ok(answer)
    }

    async fn pushed(&mut self, room: RoomId, bytes: &[u8]) -> Result<(), Ended> {
        if self.barren.is_enough() {
            // Whatever it is, comparing brings it.
            self.gaps.insert(room);
            return Ok(());
        }
        let event = SignedEvent::decode(bytes).map_err(EventError::from)?;
        if self.manager.is_here(&event) {
            return Ok(());
        }
        let event = event.verify()?;
        if !self.manager.live.takes_push(&mut self.window, self.peer, room, event.header().author) {
            return Ok(());
        }
        let answer = self.admit(room, event).await?;
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

    fn introduce(&mut self) {
        for (room, events) in std::mem::take(&mut self.introductions) {
            let (commands, peer) = (self.manager.commands.clone(), self.peer_bytes.clone());
            let admitted = tokio::spawn(deliver::admit_all(commands, peer, room, events));
            self.verdicts.push(Box::pin(async move {
                drop(admitted.await);
                Judged::Introduced(room)
            }));
        }
    }

    /// Tells the peer the keys of sealed tips that it may have and has not.
    async fn tell_keys(&mut self) -> Result<(), Ended> {
        let version = Some(self.manager.tips.version());
        if version == self.keys_version {
            return Ok(());
        }
        self.keys_version = version;
        let rooms: Vec<RoomId> = self.conversation.shared().filter(|room| self.moving.contains(room)).collect();
        for room in rooms {
            let Some((circle, key)) = self.manager.tips.key(room) else { continue };
            let before = self.keys_told;
            if self.keys.get(&room) != Some(&(circle, key)) {
                self.input(Input::Key { room, circle, key }).await?;
            }
            if self.keys_told > before {
                self.keys.insert(room, (circle, key));
            }
        }
        Ok(())
    }

    async fn judged(&mut self, judged: Judged) -> Result<(), Ended> {
        match judged {
            Judged::Introduced(room) => self.input(Input::Introduced(room)).await,
            Judged::Synced(Some(Answering { room, answer })) => self.input(Input::Answer { room, answer }).await,
            Judged::Synced(None) => Err(Ended::Stopping),
            // What it rests on is missing here: compare, and get it.
            Judged::Pushed(room, Ok(Verdict::Waiting(_))) => {
                self.barren.add();
                self.gaps.insert(room);
                self.fill_gaps().await
            }
            Judged::Pushed(_, Ok(Verdict::Void(_) | Verdict::UnknownRoom | Verdict::TooManyBranches)) => {
                self.barren.add();
                Ok(())
            }
            Judged::Pushed(_, Ok(Verdict::Rejected(why))) => Err(why.into()),
            Judged::Pushed(_, Err(_)) => Err(Ended::Stopping),
            Judged::Pushed(..) => Ok(()),
        }
    }

    async fn agreed(&mut self, room: RoomId, agreed: tidings_protocol::sync::Agreed) -> Result<(), Ended> {
        self.manager.leases.free(room, &self.peer_bytes);
        if self.met.insert(room) {
            let now = Instant::now();
            self.lit.extend(self.manager.beacons.of_the_moment(room).into_iter().map(|key| ((room, key), now)));
        }
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
        // While our disk is full it is we who are slow.
        if waiting > STALLED_AFTER && self.manager.budget.is_open() {
            return Err(Ended::Stalled);
        }
        let mut heads: BTreeMap<(RoomId, Class), Vec<Head>> = BTreeMap::new();
        for (room, log) in std::mem::take(&mut self.moved) {
            let Some(view) = self.manager.views.find(room) else { continue };
            if log.class == Class::Control {
                let own = view.control_heads.iter().filter(|h| h.log(log.class) == log);
                heads.entry((room, log.class)).or_default().extend(own);
            } else if let Ok(Some(row)) = self.held.store.log(view.number, &log) {
                let own = heads_to_tell(&self.held.store, &view, &log, &row).unwrap_or_default();
                heads.entry((room, log.class)).or_default().extend(own);
            }
        }
        for ((room, class), heads) in heads {
            self.input(Input::Moved { room, class, heads }).await?;
        }
        self.shine().await
    }

    async fn offer_all(&mut self) -> Result<(), Ended> {
        self.offered = Instant::now();
        for (room, _) in self.manager.views.all() {
            self.offer(room).await?;
        }
        Ok(())
    }

    /// There is room on the disk again: what is wanted still is asked for.
    async fn resume_all(&mut self) -> Result<(), Ended> {
        let rooms: Vec<RoomId> = self.conversation.shared().collect();
        for room in rooms {
            self.input(Input::Resume(room)).await?;
        }
        Ok(())
    }

    async fn recheck(&mut self) -> Result<(), Ended> {
        if self.offered.elapsed() > OFFER_EVERY {
            self.offer_all().await?;
        }
        let mut rooms: Vec<RoomId> = self.conversation.shared().collect();
        // Who has not been let in knocks again: perhaps it is known by now who invited us.
        let pending = |(room, view): (RoomId, Arc<RoomView>)| view.row.pending.is_some().then_some(room);
        rooms.extend(self.manager.views.all().into_iter().filter_map(pending));
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
