//! Pages of a room's timeline as screens show them: each message as it looks now, and gaps where history is missing.

use crate::adoption;
use crate::api::types as api;
use crate::clock::now_ms;
use crate::effective;
use crate::handle::{NodeError, NodeHandle};
use crate::inbox::shown::{at_place, at_place_of, at_places};
use crate::looks::{Looks, Seen};
use crate::rooms::RoomView;
use crate::trim;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use tidings_protocol::content::{Content, kind};
use tidings_protocol::event::{Body, Hlc};
use tidings_protocol::id::{DeviceId, EventId, UserId};
use tidings_protocol::limits::WITHHELD_AFTER_MS;
use tidings_protocol::log::Log;
use tidings_storage::{Direction, LogRow, Position, StorageError, Store, StoredEvent, TimelineEntry};

/// From where to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The newest.
    Newest,
    /// Those before this event.
    Before(EventId),
    /// Those after it.
    After(EventId),
}

/// What becomes of messages of people whom the local user has blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    /// They are left out.
    Hidden,
    /// They are shown, and marked.
    Shown,
}

impl NodeHandle {
    /// At most `limit` messages of a room, oldest first, with gaps between them where history is missing. Those of people
    /// who are blocked here are left out.
    ///
    /// # Errors
    /// `NodeError::NotFound` for an event that is not here.
    pub fn page(&self, view: &RoomView, from: From, limit: usize) -> Result<Vec<api::Line>, NodeError> {
        self.page_with(view, from, limit, Blocked::Hidden)
    }

    /// The same, with a word on those who are blocked.
    ///
    /// # Errors
    /// `NodeError::NotFound` for an event that is not here.
    pub fn page_with(
        &self,
        view: &RoomView,
        from: From,
        limit: usize,
        blocked: Blocked,
    ) -> Result<Vec<api::Line>, NodeError> {
        let found = self.page_events(view, from, limit, blocked)?;
        let gap = match trim::whole_since(&self.manager.store, view)? {
            Some(since) => {
                let older = |first: &StoredEvent| {
                    self.manager.store.timeline(view.number, first.position(), Direction::Older, 1)
                };
                let below =
                    found.first().map(older).transpose()?.and_then(|places| Some(places.first()?.position.clock));
                trim::gap_at(&found, since, below, matches!(from, From::Before(_)))
            }
            None => None,
        };
        let events = found.len();
        let mut lines = self.lines(view, found)?;
        if let Some(at) = gap {
            let message = |line: &api::Line| matches!(line, api::Line::Message(_));
            let place =
                lines.iter().enumerate().filter(|(_, line)| message(line)).nth(at).map_or(lines.len(), |(n, _)| n);
            lines.insert(if at >= events { lines.len() } else { place }, trim::trimmed_gap());
        }
        Ok(lines)
    }

    /// The events of a page, oldest first.
    pub(crate) fn page_events(
        &self,
        view: &RoomView,
        from: From,
        limit: usize,
        blocked: Blocked,
    ) -> Result<Vec<StoredEvent>, NodeError> {
        let shown = |event: &StoredEvent| -> Result<bool, StorageError> {
            Ok(blocked == Blocked::Shown || self.shows(view, event)?)
        };
        let at = |places: &[TimelineEntry]| at_places(&self.manager.store, view, places);
        self.scan(view, from, limit, at, shown)
    }

    /// At most `limit` messages that are held and do not count, oldest first, each with the reason.
    ///
    /// # Errors
    /// `NodeError::NotFound` for an event that is not here.
    pub fn void_page(&self, view: &RoomView, from: From, limit: usize) -> Result<Vec<api::Line>, NodeError> {
        let store = &self.manager.store;
        // Any number may share a place: no more are kept than are wanted.
        let at = |places: &[TimelineEntry]| {
            let mut void = Vec::new();
            for number in places.iter().flat_map(|place| &place.numbers) {
                if void.len() >= limit {
                    break;
                }
                let event = store.event(*number)?;
                if let Some(event) = event
                    && adoption::why_void(store, view, &event)?.is_some()
                {
                    void.push(event);
                }
            }
            Ok(void)
        };
        let mut names = Names::default();
        let mut lines = Vec::new();
        for event in self.scan(view, from, limit, at, |_| Ok(true))? {
            let why = adoption::why_void(store, view, &event)?;
            let mut message = self.message(view, event, &mut names, Seen { too_soon: false, talked_of: true })?;
            message.void = why.map(str::to_owned);
            lines.push(api::Line::Message(Box::new(message)));
        }
        Ok(lines)
    }

    /// At most `limit` events of a timeline that pass, oldest first.
    fn scan(
        &self,
        view: &RoomView,
        from: From,
        limit: usize,
        at_places: impl Fn(&[TimelineEntry]) -> Result<Vec<StoredEvent>, StorageError>,
        passes: impl Fn(&StoredEvent) -> Result<bool, StorageError>,
    ) -> Result<Vec<StoredEvent>, NodeError> {
        let (mut at, direction) = match from {
            From::Newest => (Position::LAST, Direction::Older),
            From::Before(id) => (self.position(id)?, Direction::Older),
            From::After(id) => (self.position(id)?, Direction::Newer),
        };
        let mut found: Vec<StoredEvent> = Vec::new();
        let mut looked_at = 0;
        while found.len() < limit {
            let places = self.manager.store.timeline(view.number, at, direction, limit)?;
            let Some(last) = places.last() else { break };
            at = last.position;
            for event in at_places(&places)? {
                if found.len() < limit && passes(&event)? {
                    found.push(event);
                }
            }
            looked_at += places.len();
            if places.len() < limit || looked_at >= PLACES_MAX {
                break;
            }
        }
        if direction == Direction::Older {
            found.reverse();
        }
        Ok(found)
    }

    /// Whether an event is shown: neither its author nor the one for whom they stand is blocked.
    fn shows(&self, view: &RoomView, event: &StoredEvent) -> Result<bool, StorageError> {
        let people = &self.manager.people;
        if !people.blocks_anybody() {
            return Ok(true);
        }
        let is_shown = |user: Option<UserId>| user.is_none_or(|user| !people.is_blocked(user));
        let quoted = Store::quoted(event).map(|adopted| view.state.speaker(adopted.author, adopted.grant));
        Ok(is_shown(view.state.content_author(&event.log).ok()) && is_shown(quoted.flatten()))
    }

    /// The places of a timeline, at most `limit`, where something is shown: not those of people who are blocked here, nor
    /// those of which nothing counts.
    pub(crate) fn shown_places(
        &self,
        view: &RoomView,
        from: Position,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<TimelineEntry>, NodeError> {
        let store = &self.manager.store;
        if !self.manager.people.blocks_anybody() && view.state.takes_nothing_away() {
            return Ok(store.timeline(view.number, from, direction, limit)?);
        }
        let (mut shown, mut at, mut looked_at) = (Vec::new(), from, 0);
        loop {
            let places = store.timeline(view.number, at, direction, limit.max(PLACES_AT_ONCE))?;
            let is_last = places.len() < limit.max(PLACES_AT_ONCE);
            looked_at += places.len();
            for place in places {
                at = place.position;
                let event = if shown.len() < limit { self.event_at(view, &place)? } else { None };
                if let Some(event) = event
                    && self.shows(view, &event)?
                {
                    shown.push(place);
                }
            }
            if is_last || shown.len() >= limit || looked_at >= HIDDEN_LOOKED_AT {
                return Ok(shown);
            }
        }
    }

    /// The message that is shown where an event stands, if any is.
    pub(crate) fn shown_at(&self, view: &RoomView, event: &StoredEvent) -> Result<Option<StoredEvent>, StorageError> {
        at_place_of(&self.manager.store, view, event)
    }

    pub(crate) fn position(&self, id: EventId) -> Result<Position, NodeError> {
        let event = self.manager.store.event_by_id(id)?;
        let place = event.map(|e| e.position()).or_else(|| self.manager.read_back.place(id));
        place.ok_or_else(|| NodeError::NotFound(format!("there is no message \"{id}\" here")))
    }

    fn event_at(&self, view: &RoomView, place: &TimelineEntry) -> Result<Option<StoredEvent>, StorageError> {
        at_place(&self.manager.store, view, place)
    }

    pub(crate) fn lines(&self, view: &RoomView, events: Vec<StoredEvent>) -> Result<Vec<api::Line>, NodeError> {
        let mut logs: HashMap<Log, Option<LogRow>> = HashMap::new();
        let mut names = Names::default();
        let too_soon = self.too_soon(view, &events)?;
        let talked_of = self.manager.store.talked_of(view.number, events.iter().map(|event| event.id))?;
        let mut lines = Vec::with_capacity(events.len());
        for event in events {
            let row = match logs.entry(event.log) {
                Entry::Occupied(found) => found.into_mut(),
                Entry::Vacant(new) => new.insert(self.manager.store.log(view.number, &event.log)?),
            };
            let row = row.as_ref();
            lines.extend(row.and_then(|row| gap_below(view, &event, row)).map(|gap| api::Line::Gap { gap }));
            let seen = Seen { too_soon: too_soon.contains(&event.id), talked_of: talked_of.contains(&event.id) };
            lines.push(api::Line::Message(Box::new(self.message(view, event, &mut names, seen)?)));
        }
        Ok(lines)
    }

    /// A message as it looks now; `None` for what is no message, or does not count.
    pub(crate) fn message_of(&self, view: &RoomView, id: EventId) -> Result<Option<api::Message>, NodeError> {
        match self.manager.store.event_by_id(id)? {
            Some(event) => self.message_as(view, event, &mut Names::default()),
            None => Ok(None),
        }
    }

    /// The same of an event that was read.
    pub(crate) fn message_as(
        &self,
        view: &RoomView,
        event: StoredEvent,
        names: &mut Names,
    ) -> Result<Option<api::Message>, NodeError> {
        if !kind::is_message(event.kind) {
            return Ok(None);
        }
        let quoted = Store::quoted(&event);
        let shown = quoted.as_ref().map(|adopted| adoption::shown_author(&self.manager.store, view, adopted));
        let is_shown = shown.transpose()?.is_none_or(|author| author.is_some());
        if !is_shown || effective::author_of(&self.manager.store, view, &event)?.is_none() {
            return Ok(None);
        }
        let talked_of = self.manager.store.talked_of(view.number, std::iter::once(event.id))?.contains(&event.id);
        let too_soon = self.too_soon(view, std::slice::from_ref(&event))?.contains(&event.id);
        Ok(Some(self.message(view, event, names, Seen { too_soon, talked_of })?))
    }

    fn message(
        &self,
        view: &RoomView,
        event: StoredEvent,
        names: &mut Names,
        seen: Seen,
    ) -> Result<api::Message, NodeError> {
        let speaker = |author, grant| view.state.speaker(author, grant).unwrap_or(UserId(author.0));
        let by = view.state.content_author(&event.log).unwrap_or_else(|_| speaker(event.log.author, event.log.grant));
        let is_gone = matches!(event.body, Body::Erased);
        let purged = event.purged;
        let erased = (is_gone && !purged) || view.state.erasure(&event.log, event.seq, event.id).is_some();
        let mut content = event.content().filter(|_| !erased && !purged);
        let (mut user, mut device, mut adopted) = (by, event.log.author, None);
        if let Some(Content::Adopted(quoted)) = content {
            (user, device, content) = (speaker(quoted.author, quoted.grant), quoted.author, quoted.said());
            let (name, message) = (names.of(self, view, by)?, quoted.message.to_string());
            adopted = Some(api::Adoption { user: by.to_string(), name, message });
        }
        let looks = if seen.talked_of { self.looks(view, event.id, user)? } else { Looks::default() };
        let mut message = api::Message {
            id: event.id.to_string(),
            room: view.row.room.to_string(),
            user: names.user(user),
            name: names.of(self, view, user)?,
            device: names.device(device),
            ms: Hlc(event.clock).ms(),
            kind: "text".to_owned(),
            text: String::new(),
            reply_to: None,
            thread: None,
            edited: false,
            erased,
            purged: purged && !erased,
            hidden: self.hidden(view, by, event.log.author, event.hlc)?,
            void: None,
            adopted,
            hidden_by: None,
            hidden_by_name: None,
            imported: None,
            reactions: looks.reactions.into_iter().filter(|(_, users)| !users.is_empty()).collect(),
            file: None,
            delivery: self.delivery(view, &event, by),
            read_by: self.read_by(view, &event, by),
            verified: true,
            cursor: event.number,
            mentions: Vec::new(),
            for_you: Vec::new(),
            known: self.known(view, user)?,
        };
        let (mut mentions, mut answers) = (Vec::new(), None);
        match content {
            Some(Content::Text(text)) => (message.text, mentions) = (text.body, text.mentions),
            Some(Content::Reply { target, root, text }) => {
                message.kind = "reply".to_owned();
                (message.text, mentions) = (text.body, text.mentions);
                answers = Some(target);
                message.reply_to = Some(target.to_string());
                message.thread = Some(root.to_string());
            }
            Some(Content::File(file)) => {
                message.kind = "file".to_owned();
                message.file = Some(crate::files::shown(&self.manager, &file));
                message.reply_to = file.reply.map(|(target, _)| target.to_string());
                message.thread = file.reply.map(|(_, root)| root.to_string());
                (message.text, mentions) = (file.text.body, file.text.mentions);
                answers = file.reply.map(|(target, _)| target);
            }
            Some(Content::Imported(record)) => {
                message.kind = "imported".to_owned();
                message.text = record.text;
                message.imported = Some(api::Imported { author: record.author, ms: record.ms, source: record.source });
            }
            Some(_) => message.kind = "unknown".to_owned(),
            None => {}
        }
        if let Some(text) = looks.text.filter(|_| !erased && !purged) {
            (message.text, mentions) = (text.body, text.mentions);
            message.edited = true;
        }
        if message.hidden.is_some() {
            message.text.clear();
            message.file = None;
        }
        self.name_readers(view, &mut message, (user, &mentions, answers))?;
        // Who adopts is not the one who hurries.
        let seen = Seen { too_soon: seen.too_soon && message.adopted.is_none(), ..seen };
        self.fold(view, &mut message, (event.id, user), seen)?;
        Ok(message)
    }

    /// How far one of our own messages got; nothing for those of others.
    fn delivery(&self, view: &RoomView, event: &StoredEvent, user: UserId) -> Option<api::Delivery> {
        if user != self.manager.keys.user {
            return None;
        }
        let peers: Vec<String> =
            self.manager.told.peers_of(event.id).unwrap_or_default().iter().map(ToString::to_string).collect();
        let holders = self.manager.beacons.holders(view, event.number, self.manager.keys.device().id());
        let holder =
            |(device, user): (DeviceId, UserId)| api::Holder { device: device.to_string(), user: user.to_string() };
        let nodes: Vec<api::Holder> = holders.into_iter().map(holder).collect();
        let state = match (nodes.is_empty(), peers.is_empty()) {
            (false, _) => "held",
            (true, false) => "announced",
            (true, true) => "stored",
        };
        Some(api::Delivery { state: state.to_owned(), nodes, peers })
    }

    /// Who says that they have read one of our own messages.
    fn read_by(&self, view: &RoomView, event: &StoredEvent, user: UserId) -> Vec<String> {
        if user != self.manager.keys.user {
            return Vec::new();
        }
        self.manager.beacons.read_by(view, event.clock, user).iter().map(ToString::to_string).collect()
    }

    /// What a user is called in a room; the end of their id until they say.
    pub(crate) fn name_in(&self, view: &RoomView, user: UserId) -> Result<String, NodeError> {
        if let Some(name) = self.manager.store.profile_name(view.number, user)?.filter(|n| !n.trim().is_empty()) {
            return Ok(name);
        }
        let id = user.to_string();
        Ok(format!("…{}", &id[id.len().saturating_sub(8)..]))
    }
}

/// Names in a room, looked up once for a page, and keys as they are written: that takes longer than to read a message.
#[derive(Default)]
pub(crate) struct Names {
    names: HashMap<UserId, String>,
    keys: HashMap<[u8; 32], String>,
}

impl Names {
    fn of(&mut self, node: &NodeHandle, view: &RoomView, user: UserId) -> Result<String, NodeError> {
        if let Some(name) = self.names.get(&user) {
            return Ok(name.clone());
        }
        let name = node.name_in(view, user)?;
        self.names.insert(user, name.clone());
        Ok(name)
    }

    fn user(&mut self, user: UserId) -> String {
        self.keys.entry(user.0).or_insert_with(|| user.to_string()).clone()
    }

    fn device(&mut self, device: DeviceId) -> String {
        self.keys.entry(device.0).or_insert_with(|| device.to_string()).clone()
    }
}

/// The hole that an event of the page rests on.
fn gap_below(view: &RoomView, event: &StoredEvent, row: &LogRow) -> Option<api::Gap> {
    // Where anything was trimmed the page says so once.
    let hole = row.state.holes().iter().find(|h| h.top.seq + 1 == event.seq && !row.state.is_trimmed(h))?;
    let withheld = now_ms().saturating_sub(hole.since_ms) > WITHHELD_AFTER_MS;
    let user = view.state.content_author(&event.log).ok()?;
    Some(api::Gap {
        user: user.to_string(),
        from_seq: hole.above + 1,
        to_seq: hole.top.seq,
        why: if withheld { "withheld" } else { "fetching" }.to_owned(),
    })
}

/// Places that one page looks at, where most of them are of people who are blocked.
const PLACES_MAX: usize = 50_000;
/// Places looked at in one go where some may not be shown.
const PLACES_AT_ONCE: usize = 100;
/// And altogether, where most are not.
const HIDDEN_LOOKED_AT: usize = 2_000;
