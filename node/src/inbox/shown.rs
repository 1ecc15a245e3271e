//! What of a room's messages is news for the local user, by what counts and shows now: the one answer that the sums of
//! `tally.rs` have to agree with, and by which every index is read.

use crate::adoption;
use crate::alerts;
use crate::effective;
use crate::folding;
use crate::rooms::{RoomView, Views};
use std::collections::{BTreeSet, HashSet};
use tidings_protocol::content::{Content, Text, kind};
use tidings_protocol::event::{Body, Class};
use tidings_protocol::id::{EventId, UserId};
use tidings_storage::{Direction, Position, StorageError, Store, StoredEvent, Summary, TimelineEntry, Why};

/// What it takes to say what shows in a room.
pub struct Shown<'a> {
    /// The history.
    pub store: &'a Store,
    /// All rooms.
    pub views: &'a Views,
    /// The room.
    pub view: &'a RoomView,
    /// The local user.
    pub user: UserId,
    /// Who is blocked here.
    pub is_blocked: &'a dyn Fn(UserId) -> bool,
    /// Users who have revoked a device.
    pub ended: &'a BTreeSet<UserId>,
}

/// A message that shows.
#[derive(Debug, Clone)]
pub struct Said {
    /// The event there.
    pub event: StoredEvent,
    /// Who says it; of a quotation, who is quoted.
    pub user: UserId,
    /// Whether its words are there to be read: not erased, purged or folded by a moderator.
    pub has_words: bool,
}

impl Shown<'_> {
    /// What the room list says of the room, counted from its messages: the newest first, until enough are found.
    ///
    /// # Errors
    /// `StorageError`.
    pub fn summary(&self) -> Result<Summary, StorageError> {
        let mut summary = Summary { complete: self.is_complete()?, stale: false, ..Summary::default() };
        let read = self.view.row.read_clock;
        let (mut at, mut looked_at) = (Position::LAST, 0);
        'counting: while looked_at < LOOKED_AT_MAX {
            let places = self.store.timeline(self.view.number, at, Direction::Older, PLACES_AT_ONCE)?;
            looked_at += PLACES_AT_ONCE;
            for place in &places {
                at = place.position;
                let is_new = at.clock > read && summary.unread < UNREAD_MAX;
                if !is_new && summary.newest > 0 {
                    break 'counting;
                }
                let Some(said) = self.at(place)? else { continue };
                if summary.newest == 0 {
                    (summary.newest, summary.author) = (at.clock, Some(said.user));
                }
                summary.unread += u32::from(is_new && self.is_news(&said));
            }
            if places.len() < PLACES_AT_ONCE {
                break;
            }
        }
        summary.mentions = self.unread_mentions()?;
        Ok(summary)
    }

    fn unread_mentions(&self) -> Result<u32, StorageError> {
        let (mut before, mut counted) = ((u64::MAX, u64::MAX), 0);
        let mut looked_at = 0;
        while counted < UNREAD_MAX && looked_at < LOOKED_AT_MAX {
            let rows = self.store.mentions_in(self.view.number, before, PLACES_AT_ONCE)?;
            looked_at += PLACES_AT_ONCE;
            let is_last = rows.len() < PLACES_AT_ONCE;
            let mut of_message = HashSet::new();
            for row in rows {
                if row.clock <= self.view.row.read_clock {
                    return Ok(counted);
                }
                let is_other = of_message.insert(row.number) && row.number != before.1;
                before = (row.clock, row.number);
                if is_other && let Some((_, why)) = self.for_the_user(row.number)? {
                    counted += u32::from(!why.is_empty());
                }
            }
            if is_last {
                break;
            }
        }
        Ok(counted.min(UNREAD_MAX))
    }

    /// A message that shows, with words, by somebody else, and why it is for the local user.
    ///
    /// # Errors
    /// `StorageError`.
    pub fn for_the_user(&self, number: u64) -> Result<Option<(Said, Vec<Why>)>, StorageError> {
        let Some(said) = self.message(number)? else { return Ok(None) };
        if !self.is_news(&said) {
            return Ok(None);
        }
        let why = self.why(&said)?;
        Ok((!why.is_empty()).then_some((said, why)))
    }

    /// The message of a number, if it shows.
    ///
    /// # Errors
    /// `StorageError`.
    pub fn message(&self, number: u64) -> Result<Option<Said>, StorageError> {
        let Some(event) = self.store.event(number)?.filter(|event| kind::is_message(event.kind)) else {
            return Ok(None);
        };
        // What may share its place with others shows only if it is the one to be shown there.
        if !matches!(event.kind, kind::ADOPTED | kind::IMPORTED) {
            return self.said(event);
        }
        let here = event.position();
        let above = Position { clock: here.clock, tie: here.tie.map(|_| 0xff) };
        let places = self.store.timeline(self.view.number, above, Direction::Older, SAME_CLOCK_MAX)?;
        match places.iter().find(|place| place.position == here || place.numbers.contains(&number)) {
            Some(place) => Ok(self.at(place)?.filter(|said| said.event.number == number)),
            None => self.said(event),
        }
    }

    /// The message to show at a place, if any is.
    ///
    /// # Errors
    /// `StorageError`.
    pub fn at(&self, place: &TimelineEntry) -> Result<Option<Said>, StorageError> {
        match at_place(self.store, self.view, place)? {
            Some(event) => self.said(event),
            None => Ok(None),
        }
    }

    fn said(&self, event: StoredEvent) -> Result<Option<Said>, StorageError> {
        let Some(by) = effective::author_of(self.store, self.view, &event)? else { return Ok(None) };
        let quoted = Store::quoted(&event);
        let user = match &quoted {
            Some(adopted) => match adoption::shown_author(self.store, self.view, adopted)? {
                Some(user) => user,
                None => return Ok(None),
            },
            None if event.kind == kind::ADOPTED => return Ok(None),
            None => by,
        };
        if (self.is_blocked)(by) || (self.is_blocked)(user) {
            return Ok(None);
        }
        let is_gone = matches!(event.body, Body::Erased)
            || self.view.state.erasure(&event.log, event.seq, event.id).is_some()
            || self.is_of_ended(by, &event)?;
        let has_words = !is_gone && folding::folded_by(self.store, self.view, event.id, user)?.is_none();
        Ok(Some(Said { event, user, has_words }))
    }

    /// Whether a message counts as unread once it stands after the read marker.
    pub fn is_news(&self, said: &Said) -> bool {
        said.has_words && said.user != self.user
    }

    /// Why a message is for the local user, as it reads now.
    ///
    /// # Errors
    /// `StorageError`.
    pub fn why(&self, said: &Said) -> Result<Vec<Why>, StorageError> {
        let content = match said.event.content() {
            Some(Content::Adopted(adopted)) => adopted.said(),
            other => other,
        };
        let words = content.as_ref().and_then(Content::words);
        let (text, answers) = words.map_or((Text::from(""), None), |(text, answers)| (text.clone(), answers));
        let (mut why, target) = (Vec::new(), answers.map(|(target, _)| target));
        let text = self.edited(&said.event, said.user)?.unwrap_or(text);
        if text.mentions.binary_search(&self.user).is_ok() {
            why.push(Why::Mention);
        }
        if let Some(target) = target
            && let Some(answered) = self.store.event_by_id(target)?
            && effective::author_of(self.store, self.view, &answered)? == Some(self.user)
        {
            why.push(Why::Reply);
        }
        Ok(why)
    }

    /// What the newest edit by its author makes of a message.
    fn edited(&self, event: &StoredEvent, author: UserId) -> Result<Option<Text>, StorageError> {
        let mut newest = None;
        for edit in self.store.relations(self.view.number, event.id, RELATIONS_MAX)? {
            let Some(Content::Edit { target, text }) = edit.content() else { continue };
            if target != event.id || effective::author_of(self.store, self.view, &edit)? != Some(author) {
                continue;
            }
            if self.is_of_ended(author, &edit)? {
                continue;
            }
            let at = (edit.hlc, edit.id);
            if newest.as_ref().is_none_or(|(before, _): &(_, Text)| at > *before) {
                newest = Some((at, text));
            }
        }
        Ok(newest.map(|(_, text)| text))
    }

    /// Whether an event is of a device that its user revoked before.
    fn is_of_ended(&self, user: UserId, event: &StoredEvent) -> Result<bool, StorageError> {
        let asks = self.ended.contains(&user);
        Ok(asks && alerts::is_hidden(self.store, self.views, self.view, (user, event.log.author), event.hlc)?)
    }

    /// Whether nothing of the room is known to be missing.
    fn is_complete(&self) -> Result<bool, StorageError> {
        lacks_nothing_since(self.store, self.view, 0)
    }
}

/// The event to show at a place, if any is.
///
/// # Errors
/// `StorageError`.
pub fn at_place(store: &Store, view: &RoomView, place: &TimelineEntry) -> Result<Option<StoredEvent>, StorageError> {
    let events = place.numbers.iter().map(|number| store.event(*number));
    best_of(store, view, events.filter_map(Result::transpose))
}

/// The events to show at places, one for each where any is.
///
/// # Errors
/// `StorageError`.
pub fn at_places(store: &Store, view: &RoomView, places: &[TimelineEntry]) -> Result<Vec<StoredEvent>, StorageError> {
    // Where one stands alone, as nearly everywhere; any number may share a place.
    let alone = |place: &TimelineEntry| Some(*place.numbers.first()?).filter(|_| place.numbers.len() == 1);
    let numbers: Vec<u64> = places.iter().filter_map(alone).collect();
    let mut events = store.events(&numbers)?.into_iter();
    let best = |place: &TimelineEntry| match alone(place) {
        Some(_) => best_of(store, view, events.next().flatten().map(Ok).into_iter()),
        None => at_place(store, view, place),
    };
    places.iter().map(best).filter_map(Result::transpose).collect()
}

/// The event to show where one stands that was read.
///
/// # Errors
/// `StorageError`.
pub fn at_place_of(store: &Store, view: &RoomView, event: &StoredEvent) -> Result<Option<StoredEvent>, StorageError> {
    match store.place(view.number, event.position())? {
        Some(place) if place.numbers == [event.number] => best_of(store, view, std::iter::once(Ok(event.clone()))),
        Some(place) => at_place(store, view, &place),
        None => Ok(None),
    }
}

/// Of events that share a place the one to show: of those that count, the one with the smallest id. One that stands for a
/// message is shown while that does not count.
fn best_of(
    store: &Store,
    view: &RoomView,
    events: impl Iterator<Item = Result<StoredEvent, StorageError>>,
) -> Result<Option<StoredEvent>, StorageError> {
    let mut best: Option<StoredEvent> = None;
    for event in events {
        let event = event?;
        let counts = effective::author_of(store, view, &event)?.is_some();
        let shows = match Store::quoted(&event) {
            Some(adopted) => adoption::shown_author(store, view, &adopted)?.is_some(),
            None => event.kind != kind::ADOPTED,
        };
        if counts && shows && best.as_ref().is_none_or(|b| event.id < b.id) {
            best = Some(event);
        }
    }
    Ok(best)
}

/// Whether nothing of a room is known to be missing that was missed since then (Unix milliseconds).
///
/// # Errors
/// `StorageError`.
pub fn lacks_nothing_since(store: &Store, view: &RoomView, since_ms: u64) -> Result<bool, StorageError> {
    if store.lacks_words(view.number)? {
        return Ok(false);
    }
    let logs = store.logs(view.number, Class::Content)?;
    for (log, row) in logs.iter().filter(|(_, row)| !row.state.holes().is_empty()) {
        let holes = effective::holes_of(store, view, log, row)?;
        if holes.iter().any(|hole| hole.since_ms >= since_ms) {
            return Ok(false);
        }
    }
    Ok(view.has_genesis)
}

/// Whether a reply names a root in whose thread it may be listed.
pub fn root_of(content: Option<&Content>) -> Option<EventId> {
    content?.words()?.1.map(|(_, root)| root)
}

/// Counting unread messages stops here.
pub const UNREAD_MAX: u32 = 1000;
/// Places that one count looks at: somebody's own words, which are never unread, may lie before all others.
const LOOKED_AT_MAX: usize = 20_000;
const PLACES_AT_ONCE: usize = 100;
/// Places with one clock among which a message is looked for.
const SAME_CLOCK_MAX: usize = 256;
/// Edits of one message by one log that are looked at.
const RELATIONS_MAX: usize = 64;
