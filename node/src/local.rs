//! What the local user says and decides: intents become drafts, drafts are signed, and enter by the same door as all else.

use crate::keys::random;
use crate::moderation::hide_refusal;
use crate::refusal::{Refusal, refusal};
use crate::writer::{Desk, Origin};
use tidings_protocol::content::{Content, Imported, kind};
use tidings_protocol::control::payload::{Control, ControlEvent, Erase, RoomKind};
use tidings_protocol::control::rank::{Rank, Role};
use tidings_protocol::control::state::{RoomState, Void};
use tidings_protocol::event::{Class, Draft, Payload, VerifiedEvent};
use tidings_protocol::id::{EventId, RoomId, UserId};
use tidings_protocol::limits::PAYLOAD_LEN_MAX;
use tidings_protocol::log::{Log, Tip};
use tidings_protocol::range::sign_run;
use tidings_storage::{RoomNumber, StorageError};

/// Something to say in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// A message, or a change of how one looks.
    Say(Content),
    /// A decision about the room.
    Rule(Control),
    /// Hide a message for good.
    Erase(EventId),
    /// Give a user a role.
    Appoint {
        /// Whom.
        user: UserId,
        /// Which.
        role: Role,
    },
    /// Take a user's roles away.
    Remove(UserId),
    /// Set a setting.
    Set {
        /// Which.
        key: String,
        /// To what.
        value: String,
    },
    /// Go, under every grant.
    Leave,
    /// Stand for a message that does not count.
    Adopt(EventId),
}

/// A room to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRoom {
    /// Its name.
    pub name: String,
    /// Who may see it.
    pub kind: RoomKind,
    /// The weakest rank that may grant and invite.
    pub invite_rank: Rank,
}

/// The note that keeps the display name.
pub const NAME_NOTE: &str = "name";

impl Desk<'_, '_> {
    pub(crate) fn publish(
        &mut self,
        room: RoomId,
        intent: Intent,
    ) -> Result<Result<Vec<EventId>, Refusal>, StorageError> {
        if self.is_self_room(room)? && !self.is_said_in_self_rooms(&intent)? {
            return Ok(Err(Refusal::SelfRoom));
        }
        match intent {
            Intent::Say(content) => self.say(room, &content),
            Intent::Rule(control) => self.rule(room, &control),
            Intent::Erase(target) => self.erase(room, target),
            Intent::Appoint { user, role } => self.appoint(room, user, role),
            Intent::Remove(user) => self.remove(room, user),
            Intent::Set { key, value } => self.set(room, key, value),
            Intent::Leave => self.leave(room),
            Intent::Adopt(message) => self.adopt(room, message),
        }
    }

    fn is_self_room(&self, room: RoomId) -> Result<bool, StorageError> {
        let Some(number) = self.rooms.find(room).map(|live| live.number) else { return Ok(false) };
        Ok(self.batch.room(number)?.home_of.is_some())
    }

    /// What a user's devices say to one another, and that one is called something no more. Everything else has no place in a
    /// self-room: a Leave there would end them all.
    fn is_said_in_self_rooms(&self, intent: &Intent) -> Result<bool, StorageError> {
        Ok(match intent {
            Intent::Say(Content::Profile { .. } | Content::Device { .. } | Content::Sealed(_)) => true,
            Intent::Erase(id) => self.batch.store().event_by_id(*id)?.is_some_and(|event| event.kind == kind::PROFILE),
            _ => false,
        })
    }

    pub(crate) fn standing(&self, room: RoomId) -> Result<Result<Standing, Refusal>, StorageError> {
        match self.rooms.find(room) {
            Some(live) if live.state.needs_newer => Ok(Err(Refusal::NeedsNewer)),
            // What the user's own devices say to one another nobody else reads.
            Some(_) if self.rooms.is_unsure(room) && room != self.keys.self_room() => Ok(Err(Refusal::Unsure)),
            _ => self.standing_to_end(room),
        }
    }

    /// The same for what ends something, which nobody has to know later rules for: taking away, closing, leaving.
    pub(crate) fn standing_to_end(&self, room: RoomId) -> Result<Result<Standing, Refusal>, StorageError> {
        let Some(live) = self.rooms.find(room) else { return Ok(Err(Refusal::UnknownRoom)) };
        let (number, state) = (live.number, live.state.clone());
        if let Some(refusal) = self.own_refusal() {
            return Ok(Err(refusal));
        }
        // Another device of ours may have left for us before that came here as an event.
        let row = self.batch.room(number)?;
        if row.left {
            return Ok(Err(Refusal::NotMember));
        }
        match state.grant_of(self.keys.device().id()) {
            Some((grant, rank)) => Ok(Ok(Standing { number, grant, rank, state })),
            None if row.pending.is_some() => Ok(Err(Refusal::Pending)),
            None => Ok(Err(Refusal::NotMember)),
        }
    }

    pub(crate) fn say(
        &mut self,
        room: RoomId,
        content: &Content,
    ) -> Result<Result<Vec<EventId>, Refusal>, StorageError> {
        let standing = match self.standing(room)? {
            Ok(standing) => standing,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if standing.rank > Rank::MEMBER {
            return Ok(Err(Refusal::NeedsRole { needs: Role::Member, are: standing.rank.role() }));
        }
        if let Some(refusal) = self.check_target(&standing, content)? {
            return Ok(Err(refusal));
        }
        if matches!(content, Content::Text(_) | Content::Reply { .. } | Content::File(_))
            && let Some(refusal) = self.too_soon(room, &standing)?
        {
            return Ok(Err(refusal));
        }
        let parents = self.seen.remove(&room).map(Vec::from).unwrap_or_default();
        let draft = self.draft(room, &standing, Class::Content, content.kind(), content.encode(), parents)?;
        Ok(self.sign_and_admit(room, draft)?.map(|id| vec![id]))
    }

    fn check_target(&self, standing: &Standing, content: &Content) -> Result<Option<Refusal>, StorageError> {
        let target = match content {
            Content::Edit { target, .. } | Content::Reaction { target, .. } | Content::Reply { target, .. } => *target,
            Content::Hide(hide) => hide.target,
            Content::File(file) if file.reply.is_some() => file.reply.map_or(EventId::ZERO, |(target, _)| target),
            _ => return Ok(None),
        };
        let Some(event) = self.batch.store().event_by_id(target)?.filter(|e| e.room == standing.number) else {
            return Ok(Some(Refusal::UnknownEvent));
        };
        let author = standing.state.speaker(event.log.author, event.log.grant);
        if let Content::Hide(_) = content {
            return Ok(hide_refusal(standing, &event, author));
        }
        let theirs = author != Some(self.keys.user);
        Ok((matches!(content, Content::Edit { .. }) && theirs).then_some(Refusal::NotYours))
    }

    pub(crate) fn rule(
        &mut self,
        room: RoomId,
        control: &Control,
    ) -> Result<Result<Vec<EventId>, Refusal>, StorageError> {
        let standing = match control {
            Control::CloseInvite(_) => self.standing_to_end(room)?,
            _ => self.standing(room)?,
        };
        let standing = match standing {
            Ok(standing) => standing,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Some(needs) = needed_role(control, &standing.state).filter(|needs| standing.rank > needs.ranks().1) {
            return Ok(Err(Refusal::NeedsRole { needs, are: standing.rank.role() }));
        }
        self.rule_under(room, &standing, control)
    }

    /// Says it in our control log under this grant, which an Enrol begins where nothing else has.
    pub(crate) fn rule_under(
        &mut self,
        room: RoomId,
        standing: &Standing,
        control: &Control,
    ) -> Result<Result<Vec<EventId>, Refusal>, StorageError> {
        let log = Log { class: Class::Control, author: self.keys.device().id(), grant: standing.grant };
        let mut ids = Vec::new();
        let enrol = Control::Enrol(self.keys.device().certificate.clone());
        let begun = self.batch.top(standing.number, &log)?.is_some();
        for control in (!begun).then_some(&enrol).into_iter().chain([control]) {
            match self.sign_rule(room, standing, control)? {
                Ok(id) => ids.push(id),
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        Ok(Ok(ids))
    }

    /// Signs one control event and admits it.
    pub(crate) fn sign_rule(
        &mut self,
        room: RoomId,
        standing: &Standing,
        control: &Control,
    ) -> Result<Result<EventId, Refusal>, StorageError> {
        let draft = self.draft(room, standing, Class::Control, control.kind(), control.encode(), Vec::new())?;
        self.sign_and_admit(room, draft)
    }

    fn erase(&mut self, room: RoomId, target: EventId) -> Result<Result<Vec<EventId>, Refusal>, StorageError> {
        let standing = match self.standing(room)? {
            Ok(standing) => standing,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let event = self.batch.store().event_by_id(target)?;
        let Some(event) = event.filter(|e| e.room == standing.number && e.log.class == Class::Content) else {
            return Ok(Err(Refusal::UnknownEvent));
        };
        let own = standing.state.speaker(event.log.author, event.log.grant) == Some(self.keys.user);
        let theirs = standing.state.rank_of_grant(event.log.grant).unwrap_or(Rank::FOUNDER);
        if !own && (standing.rank > Rank::MODERATOR || standing.rank > theirs) {
            let needs = if theirs < Rank::MODERATOR { theirs.role() } else { Role::Moderator };
            return Ok(Err(Refusal::NeedsRole { needs, are: standing.rank.role() }));
        }
        let mut ids = Vec::new();
        let user = standing.state.speaker(event.log.author, event.log.grant);
        // What its author put in its place later would be all that is left of it.
        for event in self.batch.store().edits_of(standing.number, target)?.iter().chain([&event]) {
            let is_theirs = standing.state.speaker(event.log.author, event.log.grant) == user;
            // What has no words any more needs nobody to take them.
            if event.id != target && !(is_theirs && event.content().is_some()) {
                continue;
            }
            let erase = Erase { author: event.log.author, grant: event.log.grant, seq: event.seq, id: event.id };
            match self.rule_under(room, &standing, &Control::Erase(erase))? {
                Ok(more) => ids.extend(more),
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        Ok(Ok(ids))
    }

    pub(crate) fn leave(&mut self, room: RoomId) -> Result<Result<Vec<EventId>, Refusal>, StorageError> {
        let mut ids = Vec::new();
        loop {
            match self.standing_to_end(room)? {
                Ok(standing) => match self.rule_under(room, &standing, &Control::Leave)? {
                    Ok(more) => ids.extend(more),
                    Err(refusal) => return Ok(Err(refusal)),
                },
                Err(refusal @ Refusal::UnknownRoom) => return Ok(Err(refusal)),
                Err(refusal @ Refusal::NotMember) if ids.is_empty() => return Ok(Err(refusal)),
                Err(_) => break,
            }
        }
        self.change_row(room, |row| {
            row.left = true;
            row.pending = None;
        })?;
        Ok(Ok(ids))
    }

    pub(crate) fn import(
        &mut self,
        room: RoomId,
        records: Vec<Imported>,
    ) -> Result<Result<usize, Refusal>, StorageError> {
        if self.is_self_room(room)? {
            return Ok(Err(Refusal::SelfRoom));
        }
        let standing = match self.standing(room)? {
            Ok(standing) => standing,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if standing.rank > Rank::MEMBER {
            return Ok(Err(Refusal::NeedsRole { needs: Role::Member, are: standing.rank.role() }));
        }
        let mut drafts = Vec::with_capacity(records.len());
        let held = self.batch.imported(standing.number, &records)?;
        for (record, numbers) in records.into_iter().zip(held) {
            if self.any_counts(&standing, &numbers)? {
                continue;
            }
            let content = Content::Imported(record);
            drafts.push(self.draft_after(None, room, &standing, Class::Content, content.kind(), content.encode()));
        }
        if drafts.is_empty() {
            return Ok(Ok(0));
        }
        let log = Log { class: Class::Content, author: self.keys.device().id(), grant: standing.grant };
        let (seq, prev) = self.batch.top(standing.number, &log)?.map_or((0, EventId::ZERO), |top| (top.seq, top.id));
        if seq.checked_add(1 + drafts.len() as u64).is_none() {
            return Ok(Err(Refusal::Void("this device's log is at its end")));
        }
        let Ok(events) = sign_run(&self.keys.device().key, seq + 1, prev, drafts) else {
            return Ok(Err(Refusal::TooLong { len: PAYLOAD_LEN_MAX + 1, max: PAYLOAD_LEN_MAX }));
        };
        // On disk before a peer can read it: a log that others know further than we do would fork at our next word.
        self.round.synced = true;
        let admitted = self.admit(room, &events, Origin::Bulk(Vec::new()))?;
        match refusal(admitted.verdict) {
            Some(refusal) => Ok(Err(refusal)),
            None => Ok(Ok(admitted.stored.len())),
        }
    }

    /// Whether any of these events is of somebody whose content counts.
    fn any_counts(&self, standing: &Standing, numbers: &[u64]) -> Result<bool, StorageError> {
        for number in numbers {
            if self.batch.is_new(*number) {
                return Ok(true);
            }
            let Some(event) = self.batch.store().event(*number)? else { continue };
            if let Ok(right) = standing.state.content_right(&event.log)
                && self.batch.store().counts(&event, &right)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn draft(
        &mut self,
        room: RoomId,
        standing: &Standing,
        class: Class,
        kind: u16,
        bytes: Vec<u8>,
        parents: Vec<EventId>,
    ) -> Result<Draft, StorageError> {
        let log = Log { class, author: self.keys.device().id(), grant: standing.grant };
        let top = self.batch.top(standing.number, &log)?;
        Ok(Draft { parents, ..self.draft_after(top, room, standing, class, kind, bytes) })
    }

    fn draft_after(
        &mut self,
        top: Option<Tip>,
        room: RoomId,
        standing: &Standing,
        class: Class,
        kind: u16,
        bytes: Vec<u8>,
    ) -> Draft {
        Draft {
            class,
            kind,
            room,
            grant: standing.grant,
            seq: top.map_or(1, |t| t.seq.saturating_add(1)),
            prev: top.map_or(EventId::ZERO, |t| t.id),
            parents: Vec::new(),
            hlc: self.clock.tick(),
            payload: Payload { salt: random(), bytes },
        }
    }

    /// Why a decision of ours would not count: nobody is told of such a thing, and it is not kept.
    fn would_be_void(&self, room: RoomId, event: &VerifiedEvent) -> Option<Void> {
        if event.header().class == Class::Content {
            return None;
        }
        self.rooms.find(room)?.control.judge(&ControlEvent::read(event).ok()?)
    }

    pub(crate) fn root(&mut self, room: RoomId, control: &Control) -> Result<VerifiedEvent, Refusal> {
        if let Some(refusal) = self.own_refusal() {
            return Err(refusal);
        }
        let draft = Draft {
            class: Class::Control,
            kind: control.kind(),
            room,
            grant: EventId::ZERO,
            seq: 1,
            prev: EventId::ZERO,
            parents: Vec::new(),
            hlc: self.clock.tick(),
            payload: Payload { salt: random(), bytes: control.encode() },
        };
        draft.sign(&self.keys.device().key).map_err(|_| Refusal::Void("it does not read"))
    }

    pub(crate) fn sign_and_admit(
        &mut self,
        room: RoomId,
        draft: Draft,
    ) -> Result<Result<EventId, Refusal>, StorageError> {
        let len = draft.payload.bytes.len();
        let Ok(event) = draft.sign(&self.keys.device().key) else {
            return Ok(Err(Refusal::TooLong { len, max: PAYLOAD_LEN_MAX }));
        };
        if let Some(void) = self.would_be_void(room, &event) {
            return Ok(Err(Refusal::Void(void.reason())));
        }
        let admitted = self.admit(room, std::slice::from_ref(&event), Origin::Local)?;
        if let Some(refusal) = refusal(admitted.verdict) {
            return Ok(Err(refusal));
        }
        for number in &admitted.stored {
            self.batch.put_outbox(*number)?;
        }
        Ok(Ok(event.id()))
    }
}

/// Under what we speak in a room.
pub(crate) struct Standing {
    pub(crate) number: RoomNumber,
    pub(crate) grant: EventId,
    pub(crate) rank: Rank,
    pub(crate) state: std::sync::Arc<RoomState>,
}

/// The role that a decision takes, for a plain answer; what counts is decided at the door.
fn needed_role(control: &Control, state: &RoomState) -> Option<Role> {
    match control {
        Control::Grant(_) | Control::OpenInvite(_) => state.invite_rank.map(Rank::role),
        Control::Set(set) if set.key == "topic" => Some(Role::Moderator),
        Control::Set(_) | Control::Successor(_) => Some(Role::Admin),
        _ => None,
    }
}
