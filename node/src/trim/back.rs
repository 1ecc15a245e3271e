//! Reading back: what was trimmed is fetched again, from whoever has it, when somebody scrolls to it. It is asked for by the
//! hash that what stays names, so it verifies, and it may go again first.

use crate::api::types as api;
use crate::handle::{NodeError, NodeHandle};
use crate::page::{Blocked, From};
use crate::rooms::RoomView;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tidings_protocol::id::{EventId, RoomId};
use tidings_storage::{Position, RoomNumber, StorageError, Store, StoredEvent, Trimmed};
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::Instant;

/// What somebody reads back to.
#[derive(Clone)]
pub struct ReadBack {
    wanted: Arc<Mutex<BTreeSet<(RoomId, EventId)>>>,
    /// Rooms of which something is wanted now.
    asked: broadcast::Sender<RoomId>,
    wake: Arc<Notify>,
    /// When somebody last did, and whether trimming that is due comes first.
    reading: Arc<watch::Sender<Reading>>,
    /// Where pages began that were read: what one reads on from may have gone again.
    places: Arc<Mutex<VecDeque<(EventId, Position)>>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Reading {
    last: Option<Instant>,
    makes_room: bool,
}

/// Whether somebody reads back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// Nobody.
    Not,
    /// Somebody begins: trimming that is due comes first.
    Begin,
    /// What is read is let be.
    On,
}

impl Default for ReadBack {
    fn default() -> Self {
        ReadBack {
            wanted: Arc::default(),
            asked: broadcast::channel(ASKED_MAX).0,
            wake: Arc::default(),
            reading: Arc::new(watch::channel(Reading::default()).0),
            places: Arc::default(),
        }
    }
}

impl ReadBack {
    /// Whether somebody reads back to this event, which was trimmed.
    pub fn wants(&self, room: RoomId, top: EventId) -> bool {
        self.lock().contains(&(room, top))
    }

    /// Rooms of which something is wanted: every conversation is to ask for it.
    pub fn asked(&self) -> broadcast::Receiver<RoomId> {
        self.asked.subscribe()
    }

    /// Every conversation is to ask for what is missing of a room.
    pub(super) fn ask(&self, room: RoomId) {
        let _ = self.asked.send(room);
    }

    /// Whether somebody read back a moment ago.
    pub(super) fn reads(&self) -> Reads {
        let reading = *self.reading.borrow();
        match reading.last {
            Some(last) if last.elapsed() < READING && reading.makes_room => Reads::Begin,
            Some(last) if last.elapsed() < READING => Reads::On,
            _ => Reads::Not,
        }
    }

    /// No trimming is due.
    pub(super) fn room_is_made(&self) {
        self.reading.send_modify(|reading| reading.makes_room = false);
    }

    /// Somebody reads back. Who does so for the first time in a while waits until what is to go has gone: later, it would be
    /// what they have just fetched.
    async fn begin(&self) {
        let begins = self.reads() == Reads::Not;
        let mut made = self.reading.subscribe();
        self.reading.send_modify(|reading| *reading = Reading { last: Some(Instant::now()), makes_room: begins });
        if begins {
            self.wake();
            drop(tokio::time::timeout(ROOM_PATIENCE, made.wait_for(|reading| !reading.makes_room)).await);
            self.room_is_made();
        }
    }

    /// Where a page began that was read a while ago.
    pub fn place(&self, id: EventId) -> Option<Position> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.iter().find(|(began, _)| *began == id).map(|(_, place)| *place)
    }

    fn note(&self, event: &StoredEvent) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|(began, _)| *began != event.id);
        places.push_back((event.id, event.position()));
        let excess = places.len().saturating_sub(PLACES_MAX);
        places.drain(..excess);
    }

    /// Bounds have changed: they are to be looked at now.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<(RoomId, EventId)>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wanted while this is held.
struct Wish<'r>(&'r ReadBack, Vec<(RoomId, EventId)>);

impl Drop for Wish<'_> {
    fn drop(&mut self) {
        let mut wanted = self.0.lock();
        for one in &self.1 {
            wanted.remove(one);
        }
    }
}

impl NodeHandle {
    /// A page of a room, as `page_with`; what was trimmed of it is fetched first, if anybody has it, when one reads back.
    ///
    /// # Errors
    /// `NodeError::NotFound` for an event that is not here.
    pub async fn page_back(
        &self,
        (room, view): (RoomId, &RoomView),
        from: From,
        limit: usize,
        blocked: Blocked,
    ) -> Result<Vec<api::Line>, NodeError> {
        if whole_since(&self.manager.store, view)?.is_none() {
            return self.page_with(view, from, limit, blocked);
        }
        if matches!(from, From::Before(_)) {
            self.fetch_page((room, view), from, limit, blocked).await?;
        }
        // What one reads on from may go meanwhile.
        if let Some(first) = self.page_events(view, from, limit, blocked)?.first() {
            self.manager.read_back.note(first);
        }
        self.page_with(view, from, limit, blocked)
    }

    /// Fetches what was trimmed of a page.
    async fn fetch_page(
        &self,
        (room, view): (RoomId, &RoomView),
        from: From,
        limit: usize,
        blocked: Blocked,
    ) -> Result<(), NodeError> {
        let _one_at_a_time = self.manager.reading_back.lock().await;
        if self.manager.budget.max().is_some() {
            if self.manager.read_back.reads() == Reads::Not {
                self.flush_log().await?;
            }
            self.manager.read_back.begin().await;
        }
        let until = Instant::now() + PATIENCE;
        let mut waits = true;
        for _ in 0..ROUNDS_MAX {
            let trimmed = self.manager.store.trimmed(view.number)?;
            let Some(newest) = trimmed.first() else { break };
            let held = self.page_events(view, from, limit, blocked)?;
            let whole = held.iter().filter(|event| event.clock >= newest.clock).count();
            if whole >= limit {
                break;
            }
            if !self.has_room_to_read(&mut waits).await? {
                tracing::debug!(%room, used = self.manager.budget.used(), "there is no room to read further back");
                break;
            }
            if !self.fetch_back(room, view.number, &trimmed, until).await? {
                tracing::debug!(%room, "nobody sent what one reads back to");
                break;
            }
        }
        Ok(())
    }

    /// The event from which one reads back. It may have gone again.
    ///
    /// # Errors
    /// `NodeError::NotFound`, `NodeError::Ambiguous`.
    pub fn reads_from(&self, text: &str) -> Result<EventId, NodeError> {
        match self.event(text) {
            Ok((_, id)) => Ok(id),
            Err(error) => {
                let id = text.parse().ok().filter(|id| self.manager.read_back.place(*id).is_some());
                id.ok_or(error)
            }
        }
    }

    /// Whether anything can be fetched. What was fetched before takes much less once it has left the write-ahead log.
    /// Else it is waited for once: much that came a moment ago is still to go.
    async fn has_room_to_read(&self, waits: &mut bool) -> Result<bool, NodeError> {
        let mut opened = self.manager.budget.opened();
        if !self.manager.budget.is_open() {
            self.flush_log().await?;
        }
        if !self.manager.budget.is_open() && std::mem::take(waits) {
            drop(tokio::time::timeout(ROOM_PATIENCE, opened.changed()).await);
        }
        Ok(self.manager.budget.is_open())
    }

    async fn flush_log(&self) -> Result<(), NodeError> {
        let store = self.manager.store.clone();
        let flushed = tokio::task::spawn_blocking(move || store.flush_log_above(0));
        flushed.await.map_err(|_| NodeError::Stopping)??;
        super::work::measure(&self.manager).await;
        Ok(())
    }

    /// Fetches what lies in the newest of these holes; whether any of them closed.
    async fn fetch_back(
        &self,
        room: RoomId,
        number: RoomNumber,
        trimmed: &[Trimmed],
        until: Instant,
    ) -> Result<bool, NodeError> {
        if !self.manager.told.shared_by_any(room) {
            return Ok(false);
        }
        let tops: Vec<(RoomId, EventId)> = trimmed.iter().take(HOLES_AT_ONCE).map(|hole| (room, hole.top.id)).collect();
        let mut stored = self.manager.stored.subscribe();
        let wish = Wish(&self.manager.read_back, tops);
        wish.0.lock().extend(&wish.1);
        self.manager.read_back.ask(room);
        let mut until = until.min(Instant::now() + FIRST_ANSWER);
        let mut closed = 0;
        loop {
            let left = self.manager.store.trimmed(number)?;
            let open = wish.1.iter().filter(|(_, top)| left.iter().any(|hole| hole.top.id == *top)).count();
            let now_closed = wish.1.len() - open;
            if open == 0 {
                return Ok(true);
            }
            if now_closed > closed {
                closed = now_closed;
                until = Instant::now() + NEXT_ANSWER;
            }
            match tokio::time::timeout_at(until, stored.recv()).await {
                Ok(Err(broadcast::error::RecvError::Closed)) => return Err(NodeError::Stopping),
                Ok(_) => {}
                Err(_) => return Ok(closed > 0),
            }
        }
    }
}

/// Since which clock all of a room's content is here that is held at all; `None` where nothing was trimmed.
pub(crate) fn whole_since(store: &Store, view: &RoomView) -> Result<Option<u64>, StorageError> {
    if store.keep(view.number)?.since == 0 {
        return Ok(None);
    }
    Ok(store.trimmed(view.number)?.first().map(|hole| hole.clock))
}

/// Where in a page, oldest first, the line stands that says that older messages were trimmed: before which of its events.
pub(crate) fn gap_at(events: &[StoredEvent], since: u64, below: Option<u64>, is_back: bool) -> Option<usize> {
    let first_whole = events.iter().position(|event| event.clock >= since);
    match first_whole {
        // Older ones that are here stand before the line.
        Some(0) => below.is_none_or(|clock| clock < since).then_some(0),
        Some(at) => Some(at),
        None => is_back.then_some(events.len()),
    }
}

pub(crate) fn trimmed_gap() -> api::Line {
    api::Line::Gap { gap: api::Gap { user: String::new(), from_seq: 0, to_seq: 0, why: TRIMMED.to_owned() } }
}

/// What a gap says that trimming left.
pub(crate) const TRIMMED: &str = "trimmed";
/// Pages of which it is remembered where they began.
const PLACES_MAX: usize = 256;
/// Rooms asked for that a busy conversation may miss.
const ASKED_MAX: usize = 64;
/// Logs that are fetched back at a time: those that say something nearest to what one reads.
const HOLES_AT_ONCE: usize = 32;
/// Rounds of fetching for one page.
const ROUNDS_MAX: usize = 64;
/// As long as somebody may still read what they came back to.
const READING: Duration = Duration::from_secs(30);
/// Longer than this nobody looks at an empty page; trimming is waited for, and a peer that answers between two answers.
const PATIENCE: Duration = Duration::from_secs(20);
const ROOM_PATIENCE: Duration = Duration::from_secs(5);
const FIRST_ANSWER: Duration = Duration::from_secs(6);
const NEXT_ANSWER: Duration = Duration::from_secs(2);
