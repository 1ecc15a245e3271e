//! What happens, as it happens: one stream with a cursor that only grows. A reader that was away gets what it missed, as
//! long as that is a page or two; after more it is told to read anew.

use crate::api::types::{Happened, Notice};
use crate::beacons;
use crate::handle::{NodeError, NodeHandle};
use crate::info::presence_name;
use crate::rooms::RoomView;
use crate::sync::PeerNews;
use crate::writer::{Origin, Stored};
use std::collections::VecDeque;
use std::sync::Arc;
use tidings_protocol::beacon::kind;
use tidings_protocol::content::Content;
use tidings_protocol::event::{Body, Class};
use tidings_protocol::id::{EventId, RoomId};
use tidings_storage::StoredEvent;
use tokio::sync::broadcast;

/// A reader of the stream.
pub struct Notices {
    node: NodeHandle,
    cursor: u64,
    stored: broadcast::Receiver<Arc<Stored>>,
    peers: broadcast::Receiver<PeerNews>,
    beacons: broadcast::Receiver<Arc<beacons::News>>,
    ready: VecDeque<Notice>,
}

impl NodeHandle {
    /// The stream of what happens after `since`; without it, from now on.
    ///
    /// # Errors
    /// `NodeError::Storage`.
    pub fn notices(&self, since: Option<u64>) -> Result<Notices, NodeError> {
        let (stored, peers) = (self.manager.stored.subscribe(), self.manager.peers_changed.subscribe());
        let beacons = self.manager.beacons.news();
        let newest = self.manager.store.next_number()?.saturating_sub(1);
        let cursor = since.unwrap_or(newest).min(newest);
        let mut notices = Notices { node: self.clone(), cursor, stored, peers, beacons, ready: VecDeque::new() };
        notices.catch_up()?;
        Ok(notices)
    }
}

impl Notices {
    /// The next notice; waits for it. `None` when the node has stopped.
    pub async fn next(&mut self) -> Option<Notice> {
        loop {
            if let Some(notice) = self.ready.pop_front() {
                return Some(notice);
            }
            let result = tokio::select! {
                news = self.stored.recv() => match news {
                    Ok(news) => self.stored(&news),
                    Err(broadcast::error::RecvError::Lagged(_)) => self.catch_up(),
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                news = self.peers.recv() => match news {
                    Ok(news) => self.peers(news),
                    Err(broadcast::error::RecvError::Lagged(_)) => self.peers(PeerNews::Peers),
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                news = self.beacons.recv() => match news {
                    Ok(news) => self.beacons(&news),
                    // They are of the moment, or seen with the next page.
                    Err(broadcast::error::RecvError::Lagged(_)) => Ok(()),
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
            };
            if let Err(error) = result {
                tracing::error!(%error, "notices end");
                return None;
            }
        }
    }

    fn push(&mut self, what: Happened) {
        self.ready.push_back(Notice { cursor: self.cursor, what });
    }

    /// Tells what arrived since the cursor: one by one when it is little, by room when it is much.
    fn catch_up(&mut self) -> Result<(), NodeError> {
        let missed = self.node.manager.store.arrived_since(self.cursor, CATCH_UP_MAX + 1)?;
        if missed.len() <= CATCH_UP_MAX {
            for event in missed {
                self.event(&event)?;
            }
            return Ok(());
        }
        self.cursor = self.node.manager.store.next_number()?.saturating_sub(1);
        for (room, view) in self.node.manager.views.all() {
            self.backfill(room, &view)?;
        }
        Ok(())
    }

    fn stored(&mut self, news: &Stored) -> Result<(), NodeError> {
        let Some(view) = self.node.manager.views.find(news.room) else { return Ok(()) };
        if news.room_changed {
            self.push(Happened::Room { room: news.room.to_string() });
        }
        if news.turned {
            self.push(Happened::Turned { room: news.room.to_string() });
        }
        for id in &news.changed {
            self.message(&view, *id)?;
        }
        let newest = news.numbers.last().copied().unwrap_or(0);
        if newest <= self.cursor {
            return Ok(());
        }
        if matches!(news.origin, Origin::Bulk(_)) {
            self.cursor = newest;
            return self.backfill(news.room, &view);
        }
        for number in &news.numbers {
            if let Some(event) = self.node.manager.store.event(*number)? {
                self.event(&event)?;
            }
        }
        Ok(())
    }

    fn peers(&mut self, news: PeerNews) -> Result<(), NodeError> {
        match news {
            PeerNews::Peers => self.push(Happened::Peers),
            PeerNews::People => self.push(Happened::People),
            PeerNews::LetIn { room, team } => {
                let called = |room| self.node.manager.views.find(room).map(|v| v.row.alias.clone()).unwrap_or_default();
                let (name, by) = (called(room), called(team));
                self.push(Happened::LetIn { room: room.to_string(), team: team.to_string(), name, by });
            }
            PeerNews::Told(room, ids) => {
                let Some(view) = self.node.manager.views.find(room) else { return Ok(()) };
                for id in ids.into_iter().take(CATCH_UP_MAX) {
                    self.message(&view, id)?;
                }
            }
        }
        Ok(())
    }

    /// Somebody else reads, types, comes or goes.
    fn beacons(&mut self, news: &beacons::News) -> Result<(), NodeError> {
        let Some(view) = self.node.manager.views.find(news.room) else { return Ok(()) };
        let room = news.room.to_string();
        for (device, kind) in &news.keys {
            let Some(user) = view.state.user_of(*device).filter(|_| *device != self.node.manager.keys.device().id())
            else {
                continue;
            };
            let (room, name) = (room.clone(), self.node.name_in(&view, user)?);
            let id = user.to_string();
            let beacons = &self.node.manager.beacons;
            match *kind {
                kind::READ => {
                    let Some((event, at)) = beacons.mark_of(news.room, *device) else { continue };
                    let (event, ms) = (event.to_string(), at.ms());
                    self.push(Happened::Read { room, user: id, name, event, ms });
                }
                kind::TYPING => {
                    let Some(until_ms) = beacons.types_until_ms(news.room, *device) else { continue };
                    self.push(Happened::Typing { room, user: id, name, until_ms });
                }
                kind::PRESENCE => {
                    let Some((presence, last_seen_ms)) = beacons.presence(&view).get(&user).copied() else { continue };
                    let presence = presence_name(presence).to_owned();
                    self.push(Happened::Presence { room, user: id, presence, last_seen_ms });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// One event: a message, or the message that it changes.
    fn event(&mut self, event: &StoredEvent) -> Result<(), NodeError> {
        self.cursor = self.cursor.max(event.number);
        let Some(row) = self.node.manager.store.room(event.room)? else { return Ok(()) };
        let Some(view) = self.node.manager.views.find(row.room) else { return Ok(()) };
        if event.log.class == Class::Control {
            self.push(Happened::Room { room: row.room.to_string() });
            return Ok(());
        }
        let content = match &event.body {
            Body::Kept(payload) => Content::decode(event.kind, &payload.bytes).ok(),
            Body::Erased => None,
        };
        match content {
            Some(Content::Profile { .. }) => self.push(Happened::Room { room: row.room.to_string() }),
            Some(Content::Report(_)) => {
                if let Some(report) = self.node.report_told(&view, event)? {
                    self.push(Happened::Reported { report: Box::new(report) });
                }
            }
            Some(content) => match content.target() {
                Some(target) => self.message(&view, target)?,
                None => self.message(&view, event.id)?,
            },
            None => self.message(&view, event.id)?,
        }
        Ok(())
    }

    fn message(&mut self, view: &RoomView, id: EventId) -> Result<(), NodeError> {
        if let Some(message) = self.node.message_of(view, id)?.filter(|message| !message.known.blocked) {
            self.push(Happened::Message { message: Box::new(message) });
        }
        Ok(())
    }

    /// History of a room came in bulk; several such in a row are told once.
    fn backfill(&mut self, room: RoomId, view: &RoomView) -> Result<(), NodeError> {
        let logs = self.node.manager.store.logs(view.number, Class::Content)?;
        let held = logs.iter().map(|(_, row)| row.state.held()).sum();
        let id = room.to_string();
        self.ready.retain(|n| !matches!(&n.what, Happened::Backfill { room, .. } if *room == id));
        self.push(Happened::Backfill { room: id, held });
        Ok(())
    }
}

/// Events told one by one to a reader that was away.
const CATCH_UP_MAX: usize = 200;
