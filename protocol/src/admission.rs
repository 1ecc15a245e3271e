//! May this event enter? A pure function of the event and the room's control events: Admit, Wait (on what), or why not.
//! The verdict is the same wherever the event came from.

use crate::codec::CodecError;
use crate::content::Content;
use crate::control::kind;
use crate::control::payload::{Control, ControlEvent};
use crate::control::set::ControlSet;
use crate::control::state::{NoContent, RoomState, Void};
use crate::event::{Body, Class, VerifiedEvent};
use crate::id::EventId;
use crate::identity::BadSignature;
use thiserror::Error;

/// What is to become of an event that verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It enters.
    Admit,
    /// Not decidable until this is here.
    Wait(WaitFor),
    /// It does not count, and is not kept.
    Void(Void),
    /// It is false, whatever one holds: the sender is at fault.
    Reject(Rejection),
}

/// What an event waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitFor {
    /// This event: a predecessor in a control log, a grant, an invite.
    Event(EventId),
    /// The Genesis, Join or Enrol that ties its author to a user under this grant.
    Enrolment(EventId),
    /// The Erase that explains why its payload is missing.
    Erase(EventId),
}

/// What is wrong with an event itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Rejection {
    /// The payload is not of the kind that the header says.
    #[error("the payload does not read: {0}")]
    Payload(#[from] CodecError),
    /// A certificate, join proof or quoted message in it is forged.
    #[error("a certificate, join proof or quoted message in it is false")]
    Forged(#[from] BadSignature),
    /// An event of another room, or a join that names no invite.
    #[error("it does not belong to this room")]
    Misplaced,
}

/// Decides on a control event, and reads it.
pub fn admit_control(event: &VerifiedEvent, set: &ControlSet) -> (Admission, Option<ControlEvent>) {
    match check_control(event, set) {
        Ok(control) if is_later_genesis(&control, event) => (Admission::Admit, Some(control)),
        Ok(control) if set.is_allowed(&control) => (Admission::Admit, Some(control)),
        Ok(_) => (Admission::Void(Void::NotAllowed), None),
        Err(verdict) => (verdict, None),
    }
}

fn check_control(event: &VerifiedEvent, set: &ControlSet) -> Result<ControlEvent, Admission> {
    let reject = |why: Rejection| Admission::Reject(why);
    if set.room() != Some(event.room()) {
        return Err(reject(Rejection::Misplaced));
    }
    let read = ControlEvent::read(event).map_err(|e| reject(e.into()))?;
    if let Some(certificate) = read.control.certificate() {
        if certificate.device() != read.log.author {
            return Err(reject(Rejection::Forged(BadSignature)));
        }
        certificate.verify().map_err(|e| reject(e.into()))?;
    }
    let here = |id: EventId| set.event(id).ok_or(Admission::Wait(WaitFor::Event(id)));
    match &read.control {
        Control::Genesis(_) => return Ok(read),
        Control::Unknown { .. } if is_later_genesis(&read, event) => return Ok(read),
        Control::Join(join) => match &here(join.invite)?.control {
            Control::OpenInvite(invite) => join.verify(event.room(), invite.key).map_err(|e| reject(e.into()))?,
            _ => return Err(reject(Rejection::Misplaced)),
        },
        _ => drop(here(read.log.grant)?),
    }
    if read.seq > 1 {
        here(read.prev)?;
    }
    Ok(read)
}

/// A genesis under rules of a later version: kept, so that the room can say that it needs that version.
fn is_later_genesis(read: &ControlEvent, event: &VerifiedEvent) -> bool {
    read.control == Control::Unknown { kind: kind::GENESIS } && event.room() == read.id.into()
}

/// Decides on a content event, and reads it; `None` where its payload was erased.
pub fn admit_content(event: &VerifiedEvent, state: &RoomState) -> (Admission, Option<Content>) {
    debug_assert_eq!(event.header().class, Class::Content);
    let log = event.log();
    match state.content_author(&log) {
        Err(NoContent::UnknownGrant) => return (Admission::Wait(WaitFor::Event(log.grant)), None),
        Err(NoContent::NotEnrolled) => return (Admission::Wait(WaitFor::Enrolment(log.grant)), None),
        Err(NoContent::Void(why)) => return (Admission::Void(why), None),
        Ok(_) => {}
    }
    match event.body() {
        Body::Kept(payload) => match Content::decode(event.header().kind, &payload.bytes) {
            Ok(Content::Adopted(adopted)) if adopted.verify(event.room()).is_err() => {
                (Admission::Reject(Rejection::Forged(BadSignature)), None)
            }
            Ok(content) => (Admission::Admit, Some(content)),
            Err(error) => (Admission::Reject(error.into()), None),
        },
        Body::Erased if state.erasure(&log, event.header().seq, event.id()).is_some() => (Admission::Admit, None),
        Body::Erased => (Admission::Wait(WaitFor::Erase(event.id())), None),
    }
}
