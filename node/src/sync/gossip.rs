//! Gossip of public rooms: what was said here goes out on the room's topic, and what comes is judged before it is passed on.

use super::manager::Manager;
use super::tips;
use crate::clock::now_ms;
use crate::command::Command;
use crate::ingest::{Admitted, Verdict};
use crate::network::{self, GossipTicket, GossipVerdict, Peer};
use crate::rooms::RoomView;
use crate::writer::{Origin, Stored, WriteError};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::sync::Arc;
use tidings_protocol::control::payload::RoomKind;
use tidings_protocol::event::SignedEvent;
use tidings_protocol::gossip::topic;
use tokio::sync::{mpsc, oneshot};

/// A message on a topic, as a peer passed it on.
pub(super) struct Heard {
    pub(super) ticket: GossipTicket,
    pub(super) from: Peer,
    pub(super) topic: String,
    pub(super) data: Vec<u8>,
}

/// What is to become of it.
enum Judgement {
    Known(GossipVerdict),
    /// By what the writer says; and whether it is recent.
    Asked(oneshot::Receiver<Result<Admitted, WriteError>>, bool),
}

/// Takes part in the topics of all public rooms that we are in.
pub(super) async fn subscribe_all(manager: &Manager) {
    for (room, view) in manager.views.all() {
        if is_gossiped(&view) && !view.row.left {
            drop(manager.network.send(network::Command::Subscribe(topic(room))).await);
        }
    }
}

/// Self-rooms are many and quiet: sync is enough for them.
fn is_gossiped(view: &RoomView) -> bool {
    view.row.kind == RoomKind::Public && view.row.home_of.is_none()
}

/// What was said here goes out on a public room's topic.
pub(super) async fn on_stored(manager: &Manager, news: &Stored) {
    let Some(view) = manager.views.find(news.room).filter(|view| is_gossiped(view)) else { return };
    if news.room_changed {
        let name = topic(news.room);
        let left = view.row.left;
        let command = if left { network::Command::Unsubscribe(name) } else { network::Command::Subscribe(name) };
        drop(manager.network.send(command).await);
    }
    if news.origin != Origin::Local {
        return;
    }
    for number in &news.numbers {
        let event = manager.store.event(*number).ok().flatten();
        let signed = event.and_then(|event| manager.store.signed_event(news.room, &event).ok().flatten());
        if let Some(signed) = signed {
            let data = tidings_protocol::codec::encode(&signed);
            drop(manager.network.send(network::Command::Publish { topic: topic(news.room), data }).await);
        }
    }
}

/// Starts judging what comes, in its order; the writer is asked of many at once, so that they share its commits.
pub(super) fn start(manager: Arc<Manager>) -> mpsc::Sender<Heard> {
    let (queue, mut messages) = mpsc::channel::<Heard>(HEARD_MAX);
    tokio::spawn(async move {
        let mut asked = FuturesUnordered::new();
        loop {
            let (ticket, verdict) = tokio::select! {
                Some(answered) = asked.next() => answered,
                heard = messages.recv(), if asked.len() < ASKED_MAX => match heard {
                    None => return,
                    Some(heard) => match judge(&manager, &heard).await {
                        Judgement::Known(verdict) => (heard.ticket, verdict),
                        Judgement::Asked(answer, is_recent) => {
                            let ticket = heard.ticket;
                            asked.push(async move {
                                let admitted = answer.await.ok().and_then(Result::ok);
                                let verdict = admitted.map(|admitted| by_verdict(&admitted.verdict, is_recent));
                                (ticket, verdict.unwrap_or(GossipVerdict::Ignore))
                            });
                            continue;
                        }
                    },
                },
            };
            drop(manager.network.send(network::Command::Report(ticket, verdict)).await);
        }
    });
    queue
}

async fn judge(manager: &Manager, heard: &Heard) -> Judgement {
    use Judgement::Known;
    let Heard { from, topic: name, data, .. } = heard;
    if manager.tips.is_sealed(name) {
        return Known(tips::judge(manager, *from, name, data));
    }
    let Ok(event) = SignedEvent::decode(data) else { return Known(GossipVerdict::Reject) };
    let is_recent = is_recent(&event);
    let room = event.header.room_of(event.header.id());
    if manager.is_here(&event) && topic(room) == *name {
        return Known(by_verdict(&Verdict::Known, is_recent));
    }
    let Ok(event) = event.verify() else { return Known(GossipVerdict::Reject) };
    if topic(room) != *name {
        return Known(GossipVerdict::Reject);
    }
    if manager.views.find(room).is_none_or(|view| !is_gossiped(&view)) {
        return Known(GossipVerdict::Ignore);
    }
    if !manager.live.takes_gossip(*from, room, event.header().author) {
        return Known(GossipVerdict::Ignore);
    }
    let (reply, answer) = oneshot::channel();
    let origin = Origin::Live(from.to_bytes());
    match manager.commands.send(Command::Admit { room, events: vec![event], origin, reply }).await {
        Ok(()) => Judgement::Asked(answer, is_recent),
        Err(_) => Known(GossipVerdict::Ignore),
    }
}

/// Whether an event is of now, as its author says.
pub(super) fn is_recent(event: &SignedEvent) -> bool {
    event.header.hlc.ms().abs_diff(now_ms()) < RECENT_MS
}

fn by_verdict(verdict: &Verdict, is_recent: bool) -> GossipVerdict {
    match verdict {
        Verdict::Stored => GossipVerdict::Accept,
        // It came by push first; others may still wait for it. What is old is not passed round again.
        Verdict::Known if is_recent => GossipVerdict::Accept,
        Verdict::Rejected(_) => GossipVerdict::Reject,
        _ => GossipVerdict::Ignore,
    }
}

/// Messages that wait to be judged; beyond, they are ignored, and sync brings them.
const HEARD_MAX: usize = 1024;
/// Messages of which the writer is asked at once, 64 KiB each at most: enough to share a commit.
const ASKED_MAX: usize = 64;
/// As long as gossipsub knows its duplicates.
const RECENT_MS: u64 = 10 * 60 * 1000;
