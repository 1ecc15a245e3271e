//! Reports of messages: sealed to the devices of those who moderate, so that other members see at most that somebody
//! reported something. A report is an event like any other: it gets through by itself, and is sent once.

use crate::api::types as api;
use crate::effective;
use crate::handle::{NodeError, NodeHandle};
use crate::keys::random;
use crate::local::Intent;
use crate::refusal::Refusal;
use crate::rooms::RoomView;
use crate::text::is_one_visible_line;
use std::collections::{HashMap, HashSet};
use tidings_protocol::content::{Content, kind};
use tidings_protocol::control::rank::{Rank, Role};
use tidings_protocol::event::{Body, Hlc};
use tidings_protocol::id::{EventId, UserId};
use tidings_protocol::limits::REPORT_REASON_LEN_MAX;
use tidings_protocol::moderation::{Act, Report, may, moderates, report_recipients};
use tidings_protocol::sealed::Place;
use tidings_storage::StoredEvent;

impl NodeHandle {
    /// Reports a message to those who moderate its room, but not to who wrote it.
    ///
    /// # Errors
    /// `NodeError::Usage` for a reason that nobody could read; `NodeError::Refused` where one may not, or nobody could
    /// read it.
    pub async fn report(&self, event: &str, reason: &str) -> Result<api::Sent, NodeError> {
        let reason = reason.trim();
        if reason.len() > REPORT_REASON_LEN_MAX || !is_one_visible_line(reason) {
            let what = format!("a reason is one line of 1 to {REPORT_REASON_LEN_MAX} bytes without control characters");
            return Err(NodeError::Usage(what));
        }
        let (room, target) = self.event(event)?;
        let about = self.manager.store.event_by_id(target)?.filter(|event| kind::is_message(event.kind));
        let (Some(view), Some(about)) = (self.manager.views.find(room), about) else {
            return Err(Refusal::UnknownEvent.into());
        };
        let us = self.manager.keys.user;
        let author = effective::author_of(&self.manager.store, &view, &about)?.ok_or(Refusal::UnknownEvent)?;
        if author == us {
            return Err(Refusal::OwnMessage.into());
        }
        let own = view.state.members.get(&us).map(|member| member.rank);
        if let Some(rank) = own.filter(|_| !view.state.needs_newer && !may(&view.state, us).contains(&Act::Report)) {
            return Err(Refusal::NeedsRole { needs: Role::Member, are: rank.role() }.into());
        }
        let device = self.manager.keys.device().id();
        let to: Vec<_> = report_recipients(&view.state, author).into_iter().filter(|to| *to != device).collect();
        // Who is no member hears that first, from the writer.
        if to.is_empty() && own.is_some() {
            return Err(Refusal::NobodyModerates.into());
        }
        let report = Report { target, reason: reason.to_owned() };
        let sealed = report.seal(&to, Place { room, author: device }, &mut random::<32>);
        let sealed = sealed.map_err(|error| NodeError::Usage(error.to_string()))?;
        self.sent(room, Intent::Say(Content::Report(sealed))).await
    }

    /// The reports of a room, oldest first, as far as this device can read them.
    ///
    /// # Errors
    /// `NodeError::Refused` for who does not moderate.
    pub fn reports(&self, room: &str) -> Result<Vec<api::Report>, NodeError> {
        let (_, view) = self.room_view(room)?;
        let us = self.manager.keys.user;
        if !moderates(&view.state, us) {
            let are = view.state.members.get(&us).map(|member| member.rank.role()).ok_or(Refusal::NotMember)?;
            return Err(Refusal::NeedsRole { needs: Role::Moderator, are }.into());
        }
        let mut reports = Vec::new();
        let mut opened: HashMap<UserId, usize> = HashMap::new();
        let mut told = HashSet::new();
        for event in self.manager.store.reports(view.number, LOOKED_AT_MAX)? {
            let Some(user) = effective::author_of(&self.manager.store, &view, &event)? else { continue };
            let count = opened.entry(user).or_default();
            *count += 1;
            if *count > OPENED_OF_ONE_MAX {
                continue;
            }
            // Said twice, it is told once, as it was said last.
            if let Some((target, report)) = self.report_of(&view, &event, user)?
                && told.insert((user, target))
            {
                reports.push(report);
            }
            if reports.len() >= LISTED_MAX {
                break;
            }
        }
        reports.reverse();
        Ok(reports)
    }

    /// A report as it came, for a notice; `None` where it is not for us to read.
    pub(crate) fn report_told(&self, view: &RoomView, event: &StoredEvent) -> Result<Option<api::Report>, NodeError> {
        let us = view.state.members.get(&self.manager.keys.user);
        if us.is_none_or(|member| member.rank > Rank::MODERATOR) {
            return Ok(None);
        }
        let Some(user) = effective::author_of(&self.manager.store, view, event)? else { return Ok(None) };
        Ok(self.report_of(view, event, user)?.map(|(_, report)| report))
    }

    /// What a report says, and of what; nothing for people who are blocked here.
    fn report_of(
        &self,
        view: &RoomView,
        event: &StoredEvent,
        user: UserId,
    ) -> Result<Option<(EventId, api::Report)>, NodeError> {
        if self.manager.people.is_blocked(user) {
            return Ok(None);
        }
        let Body::Kept(payload) = &event.body else { return Ok(None) };
        let Ok(Content::Report(sealed)) = Content::decode(event.kind, &payload.bytes) else { return Ok(None) };
        let place = Place { room: view.row.room, author: event.log.author };
        let Some(report) = Report::open(&sealed, &self.manager.keys.device().key.report_key(), place) else {
            return Ok(None);
        };
        let about = self.message_of(view, report.target)?;
        let told = api::Report {
            id: event.id.to_string(),
            room: view.row.room.to_string(),
            user: user.to_string(),
            name: self.name_in(view, user)?,
            ms: Hlc(event.clock).ms(),
            reason: report.reason,
            event: report.target.to_string(),
            author: about.as_ref().map(|message| message.user.clone()),
            author_name: about.as_ref().map(|message| message.name.clone()),
            text: about.as_ref().map(|message| message.text.chars().take(EXCERPT_CHARS).collect()),
            erased: about.as_ref().is_some_and(|message| message.erased),
        };
        Ok(Some((report.target, told)))
    }
}

/// Reports listed of one room, the newest.
const LISTED_MAX: usize = 200;
/// Reports looked at for that, those included that are not for us.
const LOOKED_AT_MAX: usize = 4096;
/// Of one person, so that nobody crowds out what others report.
const OPENED_OF_ONE_MAX: usize = 32;
/// Of the message that a report is about.
const EXCERPT_CHARS: usize = 200;
