//! What a conversation tells of what is new in the store, in which order: to a device that is out, by which word it is, and
//! after that nothing.

use super::{Ended, Talk, offers, tips};
use crate::command::Command;
use crate::writer::{Origin, Outline, Stored};
use tidings_protocol::codec::encode;
use tidings_protocol::control::kind::ends_somebody;
use tidings_protocol::event::{Class, SignedEvent};
use tidings_protocol::id::RoomId;
use tidings_protocol::sync::{Failure, Input, Unavailable};
use tidings_storage::StoredEvent;

impl Talk<'_> {
    /// Something new is in the store: what was said here is pushed at once, all else is announced a little later.
    pub(super) async fn news(&mut self, news: &Stored) -> Result<(), Ended> {
        if !self.moving.contains(&news.room)
            && let Some(newest) = news.numbers.last()
            && self.outline(news, *newest).is_some_and(|event| tips::is_recent(event.hlc))
        {
            self.moving.insert(news.room);
            self.keys_version = None;
        }
        let from_them = matches!(&news.origin, Origin::Live(p) | Origin::Bulk(p) if *p == self.peer_bytes);
        for number in news.numbers.iter().filter(|_| !from_them) {
            let Some(Outline { log, kind, .. }) = self.outline(news, *number) else { continue };
            // Whoever is out by it hears of it from whomever it talks with.
            let ends = log.class == Class::Control && ends_somebody(kind);
            let is_pushed = ends || news.origin == Origin::Local;
            let event = if is_pushed { self.held.store.event(*number).ok().flatten() } else { None };
            match event.and_then(|event| Some((self.signed(news.room, &event)?, event))) {
                Some((_, event))
                    if ends && self.conversation.is_shut(news.room, &self.held).map_err(Failure::from)? =>
                {
                    self.say_farewell(news.room, event).await?;
                }
                Some((signed, _)) => self.push(news.room, *number, &signed).await?,
                None => drop(self.moved.insert((news.room, log))),
            }
            // They are of one log, and it says all that moved.
            if matches!(news.origin, Origin::Bulk(_)) && log.class == Class::Content {
                break;
            }
        }
        self.seen = self.seen.max(news.numbers.last().copied().unwrap_or(0));
        if !news.room_changed {
            return Ok(());
        }
        self.keys_version = None;
        self.offer(news.room).await?;
        // It may have been shut out.
        self.manager.told.keep(self.peer, &self.conversation.shared().collect());
        Ok(())
    }

    /// Offers a room as it is now, with a fresh credential; or no longer, if we have left it and our word of that is out.
    pub(super) async fn offer(&mut self, room: RoomId) -> Result<(), Ended> {
        let Some(view) = self.manager.views.find(room) else { return self.input(Input::Withdraw(room)).await };
        if !offers::is_offered(&view, &self.held.store) {
            return self.input(Input::Withdraw(room)).await;
        }
        let us = self.manager.us.to_bytes();
        let offer = offers::offer(room, &view, &self.manager.store, &self.manager.keys, &us);
        self.input(Input::Offer(offer)).await
    }

    /// Of a room of which control events were lost, none are missing where a member has no others than are here.
    pub(super) async fn reassure(&mut self, room: RoomId) {
        let is_unsure = self.manager.views.find(room).is_some_and(|view| view.unsure);
        if is_unsure && self.conversation.agrees_on_control(room) {
            drop(self.manager.commands.send(Command::Sure(room)).await);
        }
    }

    async fn push(&mut self, room: RoomId, number: u64, event: &SignedEvent) -> Result<(), Ended> {
        if !self.conversation.shared().any(|r| r == room) {
            return Ok(());
        }
        let id = event.header.id();
        let before = self.pushes;
        self.input(Input::Push { room, event: encode(event) }).await?;
        if self.pushes == before {
            return Ok(());
        }
        if self.manager.views.find(room).is_some_and(|view| view.row.left) {
            // Nobody is told again once the room is offered no more: what is on its way may never arrive.
            return self.input(Input::Gap(room)).await;
        }
        self.manager.sent(self.peer, room, &[(id, number)]).await;
        Ok(())
    }

    /// Tells a device that is out by which word it is. Whoever wrote that may have said more just before that this peer was
    /// not told: the word rests on it, and is nothing alone.
    async fn say_farewell(&mut self, room: RoomId, word: StoredEvent) -> Result<(), Ended> {
        let mut chain = Vec::new();
        let mut next = Some(word);
        while let Some(event) = next.take().filter(|_| chain.len() < FAREWELL_MAX) {
            let Some(signed) = self.signed(room, &event) else { break };
            next = self.held.store.event_by_id(signed.header.prev).ok().flatten().filter(|e| e.log == event.log);
            chain.push(encode(&signed));
        }
        for event in chain.into_iter().rev() {
            self.input(Input::Push { room, event }).await?;
        }
        Ok(())
    }

    /// More is new than was kept for this conversation. What it missed, comparing brings to whoever may compare; who is out by
    /// it is told now.
    pub(super) async fn catch_up(&mut self) -> Result<(), Ended> {
        let newest = self.newest()?;
        let rooms: Vec<_> = self.conversation.shared().collect();
        let mut shut = Vec::new();
        for room in rooms {
            if self.conversation.is_shut(room, &self.held).map_err(Failure::from)? {
                shut.extend(self.manager.views.find(room).map(|view| (view.number, room)));
            }
        }
        let mut looked_at = 0;
        while !shut.is_empty() && self.seen < newest && looked_at < CATCH_UP_MAX {
            let arrived = tokio::task::block_in_place(|| self.held.store.arrived_since(self.seen, CATCH_UP_PART));
            let arrived = arrived.map_err(|_| Failure::from(Unavailable))?;
            let Some(last) = arrived.last().map(|event| event.number) else { break };
            (self.seen, looked_at) = (last, looked_at + arrived.len());
            for event in arrived.into_iter().filter(|e| e.log.class == Class::Control && ends_somebody(e.kind)) {
                if let Some((_, room)) = shut.iter().find(|(number, _)| *number == event.room).copied() {
                    self.say_farewell(room, event).await?;
                }
            }
        }
        self.seen = newest;
        Ok(())
    }

    /// The number of the newest event.
    pub(super) fn newest(&self) -> Result<u64, Ended> {
        let next = self.held.store.next_number().map_err(|_| Failure::from(Unavailable))?;
        Ok(next.saturating_sub(1))
    }

    /// What one of the new events is.
    fn outline(&self, news: &Stored, number: u64) -> Option<Outline> {
        let read = || self.held.store.event(number).ok().flatten();
        news.only.or_else(|| read().map(|event| Outline { log: event.log, kind: event.kind, hlc: event.hlc }))
    }

    fn signed(&self, room: RoomId, event: &StoredEvent) -> Option<SignedEvent> {
        self.held.store.signed_event(room, event).ok().flatten()
    }
}

/// Events that go with the word by which a device is out: those before it in its log.
const FAREWELL_MAX: usize = 16;
/// Events that are looked through for such words where there was too much news at once, all and at a time.
const CATCH_UP_MAX: usize = 16_384;
const CATCH_UP_PART: usize = 256;
