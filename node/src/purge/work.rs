//! The work of a purge, part by part through the writer, and then the files.

use super::{Order, Work};
use crate::api::purge as api;
use crate::command::Command;
use crate::handle::{NodeError, NodeHandle};
use crate::network;
use crate::refusal::Refusal;
use std::sync::PoisonError;
use tidings_protocol::event::Class;
use tidings_protocol::gossip::topic;
use tidings_protocol::id::{RoomId, UserId};
use tidings_protocol::log::Log;
use tidings_storage::{Part, PurgeRow, Purged, ToShred};

impl NodeHandle {
    /// Takes a room, a user's words or an event off this node for good; returns when no file of the store has it any more.
    ///
    /// # Errors
    /// `NodeError`: not here, or not to be purged.
    pub async fn purge(&self, wanted: &api::Purge) -> Result<api::Purged, NodeError> {
        let what = self.to_purge(&wanted.kind, &wanted.target).await?;
        if let Purged::Room(room) = what {
            let open = self.links_made(room)?;
            if !open.is_empty() && !wanted.keep_invites {
                return Err(Refusal::OpenInvites(open.len()).into());
            }
        }
        let row = self.write(|reply| Command::Purge(Order::Begin(what, reply))).await?;
        let events = self.carry_out(what, row).await?;
        Ok(shown(what, PurgeRow { done: true, ..row }, Some(events)))
    }

    /// What this node refuses.
    ///
    /// # Errors
    /// `NodeError::Storage`.
    pub fn purged(&self) -> Result<Vec<api::Purged>, NodeError> {
        let purges = self.manager.store.purges()?;
        Ok(purges.into_iter().map(|(what, row)| shown(what, row, None)).collect())
    }

    /// Refuses something no more. Nothing comes back by that alone: what peers have is asked for.
    ///
    /// # Errors
    /// `NodeError::NotFound`, `NodeError::Ambiguous`.
    pub async fn undo_purge(&self, kind: &str, target: &str) -> Result<api::Purged, NodeError> {
        let _one_at_a_time = self.manager.purging.lock().await;
        let listed = self.manager.store.purges()?;
        let user = match kind {
            "user" => self.user(target).await.ok().map(Purged::User),
            _ => None,
        };
        let is_meant = |what: &Purged| {
            let (of_kind, id) = name_of(*what);
            of_kind == kind && (Some(*what) == user || (target.len() >= TARGET_LEN_MIN && id.starts_with(target)))
        };
        let found: Vec<&(Purged, PurgeRow)> = listed.iter().filter(|(what, _)| is_meant(what)).collect();
        let (what, row) = match found.as_slice() {
            [one] => **one,
            [] => {
                let text = format!("no {kind} \"{target}\" is purged here: `tidings purge list` shows what is");
                return Err(NodeError::NotFound(text));
            }
            many => {
                let candidates = many.iter().map(|(what, _)| name_of(*what).1).collect();
                return Err(NodeError::Ambiguous { given: target.to_owned(), candidates });
            }
        };
        if !row.done && matches!(what, Purged::Room(_)) {
            return Err(Refusal::NotToPurge("its rows are still being removed: try again in a while").into());
        }
        self.write(|reply| Command::Purge(Order::Undo(what, reply))).await?;
        for (room, log) in self.logs_without_words()? {
            self.each_part(|from| Work::Again(room, log, from)).await?;
        }
        self.manager.live.recheck_all();
        Ok(shown(what, row, None))
    }

    async fn to_purge(&self, kind: &str, target: &str) -> Result<Purged, NodeError> {
        match kind {
            "room" => match self.room_view(target) {
                Ok((room, _)) => Ok(Purged::Room(room)),
                Err(error) => target.parse().map(Purged::Room).map_err(|_| error),
            },
            "event" => match self.event(target) {
                Ok((_, id)) => Ok(Purged::Event(id)),
                Err(error) => target.parse().map(Purged::Event).map_err(|_| error),
            },
            "user" => Ok(Purged::User(self.user(target).await?)),
            _ => Err(NodeError::Usage(format!("\"{kind}\" cannot be purged: use room, user or event"))),
        }
    }

    /// Does what is left of a purge whose word is kept; how many events it was.
    async fn carry_out(&self, what: Purged, row: PurgeRow) -> Result<u64, NodeError> {
        let _one_at_a_time = self.manager.purging.lock().await;
        if self.manager.store.purge(what)?.is_none() {
            return Ok(0);
        }
        let events = match what {
            Purged::Room(room) => self.purge_room(room, row).await?,
            Purged::User(user) => self.purge_user(user).await?,
            Purged::Event(id) => self.part(Work::Event(id)).await?.gone,
        };
        let event = match what {
            // Its edits, and what went before this was cut short, lie elsewhere.
            Purged::Event(id) if events == 1 => self.manager.store.event_by_id(id)?,
            _ => None,
        };
        self.shred_purged(event.map(|event| ToShred { number: event.number, room: event.room })).await?;
        self.write(|reply| Command::Purge(Order::Done(what, reply))).await?;
        Ok(events)
    }

    async fn purge_room(&self, room: RoomId, row: PurgeRow) -> Result<u64, NodeError> {
        let manager = &self.manager;
        drop(manager.network.send(network::Command::Unsubscribe(topic(room))).await);
        manager.digests.lock().unwrap_or_else(PoisonError::into_inner).remove(&room);
        manager.beacons.forget(room);
        self.forget_links(room).await?;
        let Some(number) = row.room else { return Ok(0) };
        self.each_part(|_| Work::Room(number)).await
    }

    async fn purge_user(&self, user: UserId) -> Result<u64, NodeError> {
        let mut events = 0;
        for (room, log) in self.logs_of(user)? {
            events += self.each_part(|from| Work::Log(room, log, from)).await?;
        }
        for (room, _) in self.manager.views.all() {
            self.part(Work::Name(room, user)).await?;
        }
        Ok(events)
    }

    /// The content logs in which a user speaks, in every room, whether or not they count.
    fn logs_of(&self, user: UserId) -> Result<Vec<(RoomId, Log)>, NodeError> {
        let mut out = Vec::new();
        for (room, view) in self.manager.views.all() {
            for (log, _) in self.manager.store.logs(view.number, Class::Content)? {
                if view.state.speaker(log.author, log.grant) == Some(user) {
                    out.push((room, log));
                }
            }
        }
        Ok(out)
    }

    /// The content logs of which anything was purged.
    fn logs_without_words(&self) -> Result<Vec<(RoomId, Log)>, NodeError> {
        let mut out = Vec::new();
        for (room, view) in self.manager.views.all() {
            if self.manager.store.lacks_words(view.number)? {
                let logs = self.manager.store.logs(view.number, Class::Content)?;
                out.extend(logs.into_iter().map(|(log, _)| (room, log)));
            }
        }
        Ok(out)
    }

    async fn each_part(&self, work: impl Fn((u64, u64)) -> Work) -> Result<u64, NodeError> {
        let (mut events, mut from) = (0, (0, 0));
        loop {
            let part = self.part(work(from)).await?;
            events += part.gone;
            match part.next {
                Some(next) => from = next,
                None => return Ok(events),
            }
        }
    }

    async fn part(&self, work: Work) -> Result<Part, NodeError> {
        self.write(|reply| Command::Purge(Order::Part(work, reply))).await
    }
}

/// Goes on with what an earlier run of this node began.
pub(crate) async fn resume(node: NodeHandle) {
    let purges = match node.manager.store.purges() {
        Ok(purges) => purges,
        Err(error) => return tracing::error!(%error, "what was to be purged cannot be read"),
    };
    for (what, row) in purges.into_iter().filter(|(_, row)| !row.done) {
        match node.carry_out(what, row).await {
            Ok(events) => tracing::info!(?what, events, "a purge that was cut short is done"),
            Err(NodeError::Stopping) => return,
            Err(error) => tracing::error!(?what, %error, "a purge is not done: it goes on at the next start"),
        }
    }
}

fn name_of(what: Purged) -> (&'static str, String) {
    match what {
        Purged::Room(id) => ("room", id.to_string()),
        Purged::User(id) => ("user", id.to_string()),
        Purged::Event(id) => ("event", id.to_string()),
    }
}

fn shown(what: Purged, row: PurgeRow, events: Option<u64>) -> api::Purged {
    let (kind, target) = name_of(what);
    api::Purged { kind: kind.to_owned(), target, since_ms: row.since_ms, done: row.done, events }
}

/// Of an id, so much has to be said at least.
const TARGET_LEN_MIN: usize = 8;
