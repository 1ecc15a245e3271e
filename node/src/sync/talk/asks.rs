//! Questions of audits in a conversation: those of ours, and what we answer to the peer's.

use super::{Judged, Talk, VERDICTS_MAX};
use crate::audit::{self, Heard, Round};
use crate::command::Command;
use crate::keys::random;
use crate::sync::ended::Ended;
use std::sync::Arc;
use tidings_protocol::answer::SignedAnswer;
use tidings_protocol::id::RoomId;
use tidings_protocol::sync::Input;
use tokio::sync::oneshot;

impl Talk<'_> {
    /// Asks the peer, if it is among those to be asked.
    pub(super) async fn ask(&mut self, round: Arc<Round>) -> Result<(), Ended> {
        if !round.peers.contains(&self.peer) || self.conversation.shared().all(|room| room != round.room) {
            return Ok(());
        }
        let (room, nonce) = (round.room, random());
        self.asking = Some(round);
        self.input(Input::Ask { room, nonce }).await
    }

    /// Answers once what is held now is on disk.
    pub(super) async fn asked(&mut self, room: RoomId, nonce: [u8; 16]) -> Result<(), Ended> {
        let Some(view) = self.manager.views.find(room).filter(|_| self.verdicts.len() < VERDICTS_MAX) else {
            return Ok(());
        };
        let (held, keys) = (&self.held, &self.manager.keys);
        let answer = tokio::task::block_in_place(|| audit::answer(held, keys, &view, nonce));
        let Some(answering) = answer.map_err(tidings_protocol::sync::Failure::from)? else { return Ok(()) };
        let (reply, synced) = oneshot::channel();
        self.manager.commands.send(Command::Sync(reply)).await.map_err(|_| Ended::Stopping)?;
        self.verdicts.push(Box::pin(async move {
            let is_synced = matches!(synced.await, Ok(Ok(())));
            Judged::Synced(is_synced.then_some(answering))
        }));
        Ok(())
    }

    /// Looks at what the peer answers. Where it holds what we lack, both compare.
    pub(super) async fn answered(&mut self, room: RoomId, answer: SignedAnswer) -> Result<(), Ended> {
        answer.verify(room)?;
        let Some(round) = self.asking.take_if(|round| round.room == room) else { return Ok(()) };
        let Some(view) = self.manager.views.find(room) else { return Ok(()) };
        let Some(user) = view.state.user_of(answer.device) else { return Ok(()) };
        let agrees = audit::agrees(&self.held, &self.manager.beacons, room, &answer);
        let agrees = agrees.map_err(tidings_protocol::sync::Failure::from)?;
        let heard = Heard { peer: self.peer, device: answer.device, user, agrees, durable: answer.durable };
        // Who asked may have gone.
        drop(round.reply.try_send(heard));
        if agrees { Ok(()) } else { self.input(Input::Recheck(room)).await }
    }
}
