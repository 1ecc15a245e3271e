//! What a team's room says of the rooms that it opens, read from its history: only words that count, and only of those who
//! moderate the team, or did when they said them.

use crate::writer::Desk;
use std::collections::{BTreeMap, BTreeSet};
use tidings_protocol::content::Content;
use tidings_protocol::control::payload::Control;
use tidings_protocol::control::rank::Rank;
use tidings_protocol::control::state::RoomState;
use tidings_protocol::event::{Body, Class, Hlc, VerifiedEvent};
use tidings_protocol::id::{EventId, RoomId, UserId};
use tidings_protocol::limits::TEAM_WORDS_MAX;
use tidings_protocol::team::{TeamRoom, TeamWord};
use tidings_storage::{RoomNumber, StorageError, Store};

/// A room of the store, as somebody sees it.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    /// Its number.
    pub(crate) number: RoomNumber,
    /// What follows from its control events.
    pub(crate) state: &'a RoomState,
}

/// What a team has said of its rooms.
#[derive(Default)]
pub(crate) struct Book {
    words: Vec<Word>,
}

struct Word {
    at: (Hlc, EventId),
    by: UserId,
    word: TeamWord,
}

/// What was done in a room for its team.
#[derive(Default)]
pub(crate) struct Deeds {
    /// Revokes, of whom, and when.
    pub(crate) revokes: BTreeMap<EventId, (UserId, Hlc)>,
    /// Grants, to whom, and what they lift.
    pub(crate) grants: BTreeMap<EventId, (UserId, Vec<EventId>)>,
}

impl Book {
    /// Reads it.
    pub(crate) fn read(store: &Store, team: Seen<'_>, id: RoomId) -> Result<Self, StorageError> {
        let mut words = Vec::new();
        for name in store.notes_ending(&prefix(id), TEAM_WORDS_MAX)? {
            let Some(event) = name.get(CLOCK_LEN..).and_then(|id| id.parse::<EventId>().ok()) else { continue };
            let Some(event) = store.event_by_id(event)?.filter(|event| event.room == team.number) else { continue };
            let Ok(right) = team.state.content_right(&event.log) else { continue };
            let Body::Kept(payload) = &event.body else { continue };
            if !store.counts(&event, &right)? {
                continue;
            }
            if let Ok(Content::Team(word)) = Content::decode(event.kind, &payload.bytes) {
                words.push(Word { at: (event.hlc, event.id), by: right.user, word });
            }
        }
        words.sort_unstable_by_key(|word| word.at);
        Ok(Book { words })
    }

    /// How much it says.
    pub(crate) fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether it says nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The newest offer of each room, by those who moderate the team now, unless such a one took it back later.
    pub(crate) fn offers(&self, team: &RoomState) -> BTreeMap<RoomId, &TeamRoom> {
        let mut offers = BTreeMap::new();
        for word in self.words.iter().filter(|word| moderates(team, word.by)) {
            match &word.word {
                TeamWord::Room(offer) => drop(offers.insert(offer.room, offer)),
                TeamWord::Without(room) => drop(offers.remove(room)),
                TeamWord::Deed { .. } => {}
            }
        }
        offers
    }

    /// The invites of a room that are the team's: of each, who opened it says so. Who says it of another's says nothing, or
    /// any moderator of the team could have those removed who came by a link that never was the team's.
    pub(crate) fn invites(&self, id: RoomId, room: &RoomState) -> BTreeSet<EventId> {
        let offers = self.words.iter().filter_map(|word| match &word.word {
            TeamWord::Room(offer) if offer.room == id => Some((word.by, offer.invite)),
            _ => None,
        });
        let own = offers.filter(|(by, invite)| room.invites.get(invite).is_some_and(|found| found.issuer == *by));
        own.map(|(_, invite)| invite).collect()
    }

    /// What was done for the team in a room: by each, who did it says so.
    pub(crate) fn deeds(&self, store: &Store, id: RoomId, room: Seen<'_>) -> Result<Deeds, StorageError> {
        let mut deeds = Deeds::default();
        for word in &self.words {
            let TeamWord::Deed { room: about, event } = &word.word else { continue };
            if *about != id {
                continue;
            }
            let Some(event) = store.event_by_id(*event)?.filter(|e| e.room == room.number) else { continue };
            let is_own = room.state.speaker(event.log.author, event.log.grant) == Some(word.by);
            let Body::Kept(payload) = &event.body else { continue };
            if !is_own || event.log.class != Class::Control {
                continue;
            }
            match Control::decode(event.kind, &payload.bytes) {
                Ok(Control::Revoke(revoke)) => drop(deeds.revokes.insert(event.id, (revoke.user, event.hlc))),
                Ok(Control::Grant(grant)) => drop(deeds.grants.insert(event.id, (grant.user, grant.lifts))),
                _ => {}
            }
        }
        Ok(deeds)
    }
}

impl Desk<'_, '_> {
    /// Notes where the words of those who moderate a team are: so that nobody has to look through all that was ever said.
    pub(crate) fn note_team_words(&mut self, room: RoomId, events: &[VerifiedEvent]) -> Result<(), StorageError> {
        let Some(state) = self.rooms.find(room).map(|live| live.state.clone()) else { return Ok(()) };
        let mut any = false;
        for event in events {
            let header = event.header();
            let is_word = header.class == Class::Content && TeamWord::is_kind(header.kind);
            if is_word && state.structural_rank(header.grant).is_some_and(|rank| rank <= Rank::MODERATOR) {
                let name = format!("{}{:016x}{}", prefix(room), header.hlc.0, event.id());
                self.batch.put_note(&name, &[])?;
                any = true;
            }
        }
        if any {
            self.tell_changed(room);
        }
        Ok(())
    }
}

/// Whether somebody moderates a room now.
pub(crate) fn moderates(room: &RoomState, user: UserId) -> bool {
    room.members.get(&user).is_some_and(|member| member.rank <= Rank::MODERATOR)
}

fn prefix(team: RoomId) -> String {
    format!("team-word/{team}/")
}

/// Digits of a clock in a note's name, which sort as it does.
const CLOCK_LEN: usize = 16;
