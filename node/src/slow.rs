//! Slow mode: between two messages of one member a while passes. It is for screens, and for what this node's own user
//! says; what comes sooner counts as ever, and is folded. What somebody said sooner than allowed does not keep them from
//! saying more: only messages that are shown do.

use std::collections::{BTreeMap, HashSet};
use tidings_protocol::control::rank::Rank;
use tidings_protocol::control::state::RoomState;
use tidings_protocol::event::{Class, Hlc};
use tidings_protocol::id::{EventId, UserId};
use tidings_protocol::moderation::{SLOW, slow_seconds};
use tidings_storage::{Direction, Position, RoomNumber, StorageError, Store, StoredEvent, TimelineEntry};

/// A room's history under its slow mode.
pub(crate) struct Slow<'a> {
    store: &'a Store,
    room: RoomNumber,
    state: &'a RoomState,
    /// What has to pass, as clocks count it.
    step: u64,
    /// What was said before slow mode was set is not asked.
    since: u64,
}

impl<'a> Slow<'a> {
    /// The slow mode of a room; `None` where there is none, or its value makes no sense.
    ///
    /// # Errors
    /// `StorageError`.
    pub(crate) fn of(store: &'a Store, room: RoomNumber, state: &'a RoomState) -> Result<Option<Self>, StorageError> {
        let seconds = state.settings.get(SLOW).and_then(|value| slow_seconds(value)).unwrap_or(0);
        let Some(set) = state.settings_by.get(SLOW).filter(|_| seconds > 0) else { return Ok(None) };
        // Not in the store yet: it is being set, and nothing has been said since.
        let Some(set) = store.event_by_id(*set)? else { return Ok(None) };
        let step = Hlc::at_ms(u64::from(seconds) * 1000).0;
        Ok(Some(Slow { store, room, state, step, since: set.clock }))
    }

    /// The seconds that have to pass.
    pub(crate) fn seconds(&self) -> u64 {
        Hlc(self.step).ms() / 1000
    }

    /// Of these messages, ascending by place, those that came too soon.
    ///
    /// # Errors
    /// `StorageError`.
    pub(crate) fn too_soon(&self, messages: &[StoredEvent]) -> Result<HashSet<EventId>, StorageError> {
        let mut said: BTreeMap<UserId, Vec<(u64, EventId)>> = BTreeMap::new();
        for message in messages.iter().filter(|message| message.clock >= self.since) {
            if let Some(user) = self.bound_author(message)? {
                said.entry(user).or_default().push((message.clock, message.id));
            }
        }
        let Some(first) = messages.first().filter(|_| !said.is_empty()) else { return Ok(HashSet::new()) };
        let next = said.iter().filter_map(|(user, said)| Some((*user, said.first()?.0))).collect();
        let before = self.before(first.position(), next)?;
        let mut folded = HashSet::new();
        for (user, said) in said {
            let mut shown = self.last_shown(before.get(&user).map(Vec::as_slice).unwrap_or_default());
            for (clock, id) in said {
                match shown {
                    Some(last) if clock < last + self.step => drop(folded.insert(id)),
                    _ => shown = Some(clock),
                }
            }
        }
        Ok(folded)
    }

    /// How many seconds a user has yet to wait at this time, if any.
    ///
    /// # Errors
    /// `StorageError`.
    pub(crate) fn wait_s(&self, user: UserId, now: Hlc, just_said: Option<Hlc>) -> Result<Option<u64>, StorageError> {
        if !self.binds(user) {
            return Ok(None);
        }
        let said = self.before(Position::LAST, BTreeMap::from([(user, now.0)]))?;
        let shown = self.last_shown(said.get(&user).map(Vec::as_slice).unwrap_or_default());
        let last = shown.max(just_said.map(|said| said.0));
        let left = last.map_or(0, |last| last.saturating_add(self.step).saturating_sub(now.0));
        Ok((left > 0).then(|| Hlc(left).ms().div_ceil(1000).max(1)))
    }

    /// When each of these users spoke before a place, newest first, as far back as it matters for what comes at `next`: to
    /// the first message that is shown whatever came before it. Where that is too far, the oldest looked at counts as it.
    fn before(
        &self,
        from: Position,
        mut next: BTreeMap<UserId, u64>,
    ) -> Result<BTreeMap<UserId, Vec<u64>>, StorageError> {
        let mut said: BTreeMap<UserId, Vec<u64>> = BTreeMap::new();
        let mut at = from;
        for _ in 0..LOOKED_AT_MAX / LOOKED_AT_ONCE {
            let places = self.store.timeline(self.room, at, Direction::Older, LOOKED_AT_ONCE)?;
            for place in &places {
                let clock = place.position.clock;
                next.retain(|_, next| clock.saturating_add(self.step) > *next);
                if next.is_empty() || clock < self.since {
                    return Ok(said);
                }
                if let Some(user) = self.author_at(place)?
                    && let Some(next) = next.get_mut(&user)
                {
                    *next = clock;
                    said.entry(user).or_default().push(clock);
                }
            }
            match places.last() {
                Some(last) if places.len() == LOOKED_AT_ONCE => at = last.position,
                _ => break,
            }
        }
        Ok(said)
    }

    /// Of messages of one user, newest first, the last that is shown.
    fn last_shown(&self, said: &[u64]) -> Option<u64> {
        let mut shown: Option<u64> = None;
        for clock in said.iter().rev() {
            if shown.is_none_or(|last| *clock >= last.saturating_add(self.step)) {
                shown = Some(*clock);
            }
        }
        shown
    }

    /// Whose message stands at a place, if slow mode binds them.
    fn author_at(&self, place: &TimelineEntry) -> Result<Option<UserId>, StorageError> {
        let mut best: Option<(EventId, UserId)> = None;
        for number in &place.numbers {
            let Some(event) = self.store.event(*number)? else { continue };
            if let Some(user) = self.author(&event)?
                && best.is_none_or(|(id, _)| event.id < id)
            {
                best = Some((event.id, user));
            }
        }
        Ok(best.map(|(_, user)| user).filter(|user| self.binds(*user)))
    }

    fn bound_author(&self, event: &StoredEvent) -> Result<Option<UserId>, StorageError> {
        Ok(self.author(event)?.filter(|user| self.binds(*user)))
    }

    fn author(&self, event: &StoredEvent) -> Result<Option<UserId>, StorageError> {
        if event.log.class != Class::Content {
            return Ok(None);
        }
        let Ok(right) = self.state.content_right(&event.log) else { return Ok(None) };
        Ok(self.store.counts(event, &right)?.then_some(right.user))
    }

    /// Moderators and whoever is stronger need not wait.
    fn binds(&self, user: UserId) -> bool {
        self.state.members.get(&user).is_none_or(|member| member.rank > Rank::MODERATOR)
    }
}

/// Messages looked at before those of a page, to tell which of it came too soon.
const LOOKED_AT_MAX: usize = 512;
const LOOKED_AT_ONCE: usize = 64;
