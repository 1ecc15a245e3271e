//! Searching everything that this node may read. The store finds events by their words; here each becomes the message as it
//! looks now, or nothing: what was erased, purged, edited away, cut, folded, or said by somebody who is blocked is not found.

mod pattern;
mod query;
mod snippet;

use self::pattern::Match;
use self::query::{Operator, Query};
use crate::api::search as api;
use crate::api::types::Message;
use crate::clock::now_ms;
use crate::handle::{NodeError, NodeHandle};
use crate::page::Names;
use crate::rooms::RoomView;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tidings_protocol::content::Content;
use tidings_protocol::id::{EventId, UserId};
use tidings_protocol::log::Log;
use tidings_storage::search::{Accepts, Hit, Hits, Search, fold};
use tidings_storage::{RoomNumber, StoredEvent};

type Rooms = HashMap<RoomNumber, Arc<RoomView>>;

impl NodeHandle {
    /// Looks for messages.
    ///
    /// # Errors
    /// `NodeError::Usage` for what is no query, and says what to write; `NodeError::NotFound` for a room that is not here.
    pub fn search(&self, wanted: &api::Search) -> Result<api::Found, NodeError> {
        let query = read(wanted).map_err(|error| NodeError::Usage(error.to_string()))?;
        let limit = wanted.limit.unwrap_or(LIMIT_USUAL).clamp(1, LIMIT_MAX);
        let rooms = self.rooms_of(&query)?;
        let people = People::of(&query);
        let (terms, units) = query.pattern.terms();
        let search = Search {
            terms,
            names: query.people.clone(),
            from_s: seconds(query.from_ms),
            to_s: seconds(query.until_ms.saturating_sub(1)),
        };
        let accepts = |room: RoomNumber, log: &Log| {
            let Some(view) = rooms.get(&room) else { return Accepts::Nothing };
            match view.state.speaker(log.author, log.grant) {
                _ if people.is_anybody() => Accepts::All,
                Some(user) if self.is_one_of(&people, view, user).unwrap_or(false) => Accepts::OwnAndNamed,
                _ => Accepts::Named,
            }
        };
        let hits = self.manager.store.search(search, accepts)?;
        let (seen, names) = (HashSet::new(), HashMap::new());
        let judge = Judge { node: self, query: &query, people: &people, rooms: &rooms, seen, bytes: 0, names };
        let finds = Finds { judge, hits, units, limit };
        match wanted.sort {
            api::Sort::Newest => finds.newest(),
            api::Sort::Best => finds.best(),
        }
    }

    /// The rooms to look in.
    fn rooms_of(&self, query: &Query) -> Result<Rooms, NodeError> {
        if query.rooms.is_empty() {
            return Ok(self.manager.views.all().into_iter().map(|(_, view)| (view.number, view)).collect());
        }
        let named = query.rooms.iter().map(|name| {
            let (_, view) = self.room_view(name.strip_prefix('#').unwrap_or(name))?;
            Ok((view.number, view))
        });
        named.collect()
    }

    /// Whether somebody is one of those named: by their key, by what they are called in the room, or by a pet name.
    fn is_one_of(&self, people: &People, view: &RoomView, user: UserId) -> Result<bool, NodeError> {
        let id = user.to_string();
        if people.given.contains(&id) || (people.me && user == self.manager.keys.user) {
            return Ok(true);
        }
        let petname = self.manager.people.find(user).map(|row| row.petname).unwrap_or_default();
        Ok(people.is_called(&petname) || people.is_called(&self.name_in(view, user)?))
    }
}

fn read(wanted: &api::Search) -> Result<Query, query::QueryError> {
    let now_ms = now_ms();
    let mut query = Query::read(&wanted.query, wanted.typing, now_ms)?;
    let flags = [
        (Operator::In, &wanted.room),
        (Operator::From, &wanted.from),
        (Operator::Before, &wanted.before),
        (Operator::After, &wanted.after),
    ];
    for (operator, value) in flags {
        if let Some(value) = value {
            query.narrow(operator, value, now_ms)?;
        }
    }
    query.check_asks(&wanted.query)?;
    Ok(query)
}

/// People whose messages are wanted.
struct People {
    given: Vec<String>,
    folded: Vec<String>,
    me: bool,
}

impl People {
    fn of(query: &Query) -> People {
        let folded: Vec<String> = query.people.iter().map(|name| fold(name.trim())).collect();
        People { given: query.people.clone(), me: folded.iter().any(|name| name == "me"), folded }
    }

    fn is_anybody(&self) -> bool {
        self.given.is_empty()
    }

    fn is_called(&self, name: &str) -> bool {
        let name = fold(name.trim());
        !name.is_empty() && self.folded.contains(&name)
    }
}

/// A message that matches.
struct Judged {
    message: Message,
    room_alias: String,
    found: Match,
}

/// What makes messages of events that were found.
struct Judge<'a> {
    node: &'a NodeHandle,
    query: &'a Query,
    people: &'a People,
    rooms: &'a Rooms,
    /// Messages that were judged.
    seen: HashSet<(RoomNumber, EventId)>,
    /// Bytes of text that were compared.
    bytes: usize,
    names: HashMap<RoomNumber, Names>,
}

impl Judge<'_> {
    /// The event of a hit, if what it says matches: the message may say something else by now.
    fn event(&mut self, hit: Hit) -> Result<Option<(StoredEvent, Match)>, NodeError> {
        let Some(event) = self.node.manager.store.event(hit.number)? else { return Ok(None) };
        let Some(text) = event.content().and_then(text_of) else { return Ok(None) };
        self.bytes += text.len();
        Ok(self.query.pattern.find(&text).map(|found| (event, found)))
    }

    /// The message that an event is or changes, if it is shown and matches.
    fn message(&mut self, event: &StoredEvent) -> Result<Option<Judged>, NodeError> {
        let Some(view) = self.rooms.get(&event.room) else { return Ok(None) };
        let shown = match event.content() {
            Some(Content::Edit { target, .. }) => Err(target),
            Some(Content::Imported(_)) => match self.node.shown_at(view, event)? {
                Some(shown) => Ok(shown),
                None => return Ok(None),
            },
            _ => Ok(event.clone()),
        };
        let id = shown.as_ref().map_or_else(|target| *target, |shown| shown.id);
        if !self.seen.insert((event.room, id)) {
            return Ok(None);
        }
        let message = match shown {
            Ok(shown) => self.node.message_as(view, shown, self.names.entry(event.room).or_default())?,
            Err(target) => self.node.message_of(view, target)?,
        };
        let Some(message) = message else { return Ok(None) };
        let is_told = !message.erased && !message.purged && message.hidden.is_none() && !message.known.blocked;
        let is_within = (self.query.from_ms..self.query.until_ms).contains(&message.ms);
        if !is_told || !is_within || self.is_adopted_by_blocked(&message) || !self.is_of_wanted(view, &message)? {
            return Ok(None);
        }
        self.bytes += message.text.len();
        let found = self.query.pattern.find(&message.text);
        Ok(found.map(|found| Judged { message, room_alias: view.row.alias.clone(), found }))
    }

    fn is_adopted_by_blocked(&self, message: &Message) -> bool {
        let by: Option<UserId> = message.adopted.as_ref().and_then(|adopted| adopted.user.parse().ok());
        by.is_some_and(|by| self.node.manager.people.is_blocked(by))
    }

    fn is_of_wanted(&self, view: &RoomView, message: &Message) -> Result<bool, NodeError> {
        if self.people.is_anybody() {
            return Ok(true);
        }
        match (&message.imported, message.user.parse()) {
            (Some(imported), _) => Ok(self.people.is_called(&imported.author)),
            (None, Ok(user)) => self.node.is_one_of(self.people, view, user),
            (None, Err(_)) => Ok(false),
        }
    }
}

/// What a search finds, as it goes.
struct Finds<'a, F> {
    judge: Judge<'a>,
    hits: Hits<'a, F>,
    /// Of which unit each term is.
    units: Vec<usize>,
    limit: usize,
}

impl<F: FnMut(RoomNumber, &Log) -> Accepts> Finds<'_, F> {
    fn newest(mut self) -> Result<api::Found, NodeError> {
        let (mut found, mut more, mut looked_at) = (Vec::new(), false, 0);
        while let Some(hit) = self.hits.next_hit()? {
            // What follows is no newer than this, but for the part of a second.
            if found.len() >= self.limit && self.is_settled(&found, hit.second) {
                more = true;
                break;
            }
            looked_at += 1;
            if looked_at > EVENTS_MAX || self.judge.bytes > BYTES_MAX {
                more = true;
                break;
            }
            if let Some((event, _)) = self.judge.event(hit)? {
                found.extend(self.judge.message(&event)?);
            }
        }
        found.sort_by_key(|judged| Reverse((judged.message.ms, judged.message.cursor)));
        more |= found.len() > self.limit || self.hits.is_cut();
        found.truncate(self.limit);
        let weights = self.weights()?;
        let hits = found.into_iter().map(|judged| shown(judged, &weights)).collect();
        Ok(api::Found { hits, more })
    }

    /// Whether enough of these are newer than a second. What edits lead to may be older.
    fn is_settled(&self, found: &[Judged], second: u32) -> bool {
        found.iter().filter(|judged| seconds(judged.message.ms) > second).count() >= self.limit
    }

    fn best(mut self) -> Result<api::Found, NodeError> {
        let (mut events, mut more) = (Vec::new(), false);
        while let Some(hit) = self.hits.next_hit()? {
            if events.len() >= COMPARED_MAX || self.judge.bytes > BYTES_MAX {
                more = true;
                break;
            }
            events.extend(self.judge.event(hit)?);
        }
        let weights = self.weights()?;
        let mut events: Vec<(f64, StoredEvent)> =
            events.into_iter().map(|(event, found)| (score(&found, &weights), event)).collect();
        events.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.clock.cmp(&a.1.clock)));
        let mut hits: Vec<api::Hit> = Vec::new();
        for (_, event) in &events {
            if hits.len() >= self.limit {
                more = true;
                break;
            }
            hits.extend(self.judge.message(event)?.map(|judged| shown(judged, &weights)));
        }
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(b.message.ms.cmp(&a.message.ms)));
        Ok(api::Found { hits, more })
    }

    /// What an occurrence of each unit is worth: the rarer, the more (as BM25 has it).
    fn weights(&self) -> Result<Vec<f64>, NodeError> {
        let all = self.judge.node.manager.store.next_number()? as f64;
        let mut rarest: Vec<Option<u64>> = Vec::new();
        for (unit, count) in self.units.iter().zip(self.hits.counts()) {
            rarest.resize(rarest.len().max(unit + 1), None);
            if let Some(least) = rarest.get_mut(*unit) {
                *least = Some(least.map_or(*count, |least| least.min(*count)));
            }
        }
        let weight = |count: Option<u64>| {
            let count = (count.unwrap_or(0) as f64).min(all);
            (1.0 + (all - count + 0.5) / (count + 0.5)).ln()
        };
        Ok(rarest.into_iter().map(weight).collect())
    }
}

fn shown(judged: Judged, weights: &[f64]) -> api::Hit {
    let score = (score(&judged.found, weights) * 1000.0).round() / 1000.0;
    let snippet = snippet::of(&judged.message.text, &judged.found.marks);
    api::Hit { message: judged.message, room_alias: judged.room_alias, score, snippet }
}

/// BM25: what occurs more often counts more, and less in longer texts.
fn score(found: &Match, weights: &[f64]) -> f64 {
    let length = 1.0 - LENGTH_SHARE + LENGTH_SHARE * found.words as f64 / WORDS_USUAL;
    let part = |(times, weight): (&usize, &f64)| {
        let times = *times as f64;
        weight * times * (SATURATION + 1.0) / (times + SATURATION * length)
    };
    found.times.iter().zip(weights).map(part).sum()
}

/// What a content says, if that can be looked for.
fn text_of(content: Content) -> Option<String> {
    match content {
        Content::Text(text) | Content::Reply { text, .. } | Content::Edit { text, .. } => Some(text.body),
        Content::Imported(record) => Some(record.text),
        Content::File(file) => Some(file.words()),
        Content::Adopted(adopted) => text_of(adopted.said()?),
        _ => None,
    }
}

fn seconds(ms: u64) -> u32 {
    u32::try_from(ms / 1000).unwrap_or(u32::MAX)
}

/// Messages in one answer.
const LIMIT_USUAL: usize = 50;
const LIMIT_MAX: usize = 1000;
/// Events that one search reads, where most of what is found is not shown.
const EVENTS_MAX: usize = 20_000;
/// Bytes of text that one search compares.
const BYTES_MAX: usize = 16 << 20;
/// Events, the newest, among which the best are looked for.
const COMPARED_MAX: usize = 2_000;
/// Words of a usual message, and the usual numbers of BM25.
const WORDS_USUAL: f64 = 12.0;
const LENGTH_SHARE: f64 = 0.75;
const SATURATION: f64 = 1.2;
