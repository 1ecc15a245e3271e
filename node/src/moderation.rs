//! Who may do what, changed by us: giving ranks, taking them away, setting what the room is called. A removal keeps what
//! is held of the one who goes, and nothing that comes later.

use crate::local::Standing;
use crate::refusal::Refusal;
use crate::slow::Slow;
use crate::writer::Desk;
use std::collections::BTreeSet;
use tidings_protocol::content::kind;
use tidings_protocol::control::cut::Cut;
use tidings_protocol::control::payload::{CloseInvite, Control, Grant, Revoke, Set};
use tidings_protocol::control::rank::{Rank, Role};
use tidings_protocol::control::set::ControlSet;
use tidings_protocol::event::Class;
use tidings_protocol::id::{EventId, RoomId, UserId};
use tidings_protocol::limits::{CLOSE_JOINS_MAX, CONTROL_IDS_MAX, CUTS_MAX, PAYLOAD_LEN_MAX};
use tidings_protocol::log::Log;
use tidings_storage::{StorageError, StoredEvent};

type Done = Result<Result<Vec<EventId>, Refusal>, StorageError>;

impl Desk<'_, '_> {
    /// Takes every grant of a user away that is weaker than ours, until somebody no weaker than us lifts that.
    pub(crate) fn remove(&mut self, room: RoomId, user: UserId) -> Done {
        let standing = match self.standing_to_end(room)? {
            Ok(standing) => standing,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Some(refusal) = may_remove(&standing, user, self.keys.user) {
            return Ok(Err(refusal));
        }
        let mut ids = Vec::new();
        let mut joins = self.joins_to_keep(room, user);
        let cuts = self.cuts_of(room, &standing, user)?;
        let size = |joins: &[EventId]| {
            Control::Revoke(Revoke { user, cuts: cuts.clone(), joins: joins.to_vec() }).encode().len()
        };
        let listed: Vec<EventId> =
            joins.iter().flat_map(|(_, joins)| joins).copied().collect::<BTreeSet<_>>().into_iter().collect();
        let fits = listed.len() <= CLOSE_JOINS_MAX && size(&listed) <= PAYLOAD_LEN_MAX;
        let listed = if fits {
            joins.clear();
            listed
        } else {
            Vec::new()
        };
        // Those who came by the user's links and are too many for one list are named by closings of their own, first.
        for (invite, joins) in joins {
            for part in joins.chunks(CLOSE_JOINS_MAX) {
                let close = Control::CloseInvite(CloseInvite { invite, joins: part.to_vec() });
                match self.rule_under(room, &standing, &close)? {
                    Ok(more) => ids.extend(more),
                    Err(refusal) => return Ok(Err(refusal)),
                }
            }
        }
        let revoke = Control::Revoke(Revoke { user, cuts, joins: listed });
        Ok(self.rule_under(room, &standing, &revoke)?.map(|more| [ids, more].concat()))
    }

    /// Gives a user a role: a new member, somebody removed who is welcome again, or a member who is to have another.
    pub(crate) fn appoint(&mut self, room: RoomId, user: UserId, role: Role) -> Done {
        let mut standing = match self.standing(room)? {
            Ok(standing) => standing,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let rank = match may_appoint(&standing, user, role) {
            Ok(rank) => rank,
            Err(refusal) => return Ok(Err(refusal)),
        };
        // A grant only adds: to have less, what one had has to go first.
        let lowers = standing.state.members.get(&user).is_some_and(|member| member.rank < rank);
        let mut ids = Vec::new();
        if lowers {
            // Nothing is taken away before it is sure that the rest can be given.
            if let Err(refusal) = to_lift(&standing, user, rank, CONTROL_IDS_MAX - 1) {
                return Ok(Err(refusal));
            }
            match self.remove(room, user)? {
                Ok(more) => ids.extend(more),
                Err(refusal) => return Ok(Err(refusal)),
            }
            standing = match self.standing(room)? {
                Ok(standing) => standing,
                Err(refusal) => return Ok(Err(refusal)),
            };
        }
        let lifts = match to_lift(&standing, user, rank, CONTROL_IDS_MAX) {
            Ok(lifts) => lifts,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let grant = Control::Grant(Grant { user, rank, lifts });
        Ok(self.rule_under(room, &standing, &grant)?.map(|more| [ids, more].concat()))
    }

    /// Sets a setting, in place of whatever stands.
    pub(crate) fn set(&mut self, room: RoomId, key: String, value: String) -> Done {
        let replaces = self.rooms.find(room).map(|live| live.control.standing_sets(&key)).unwrap_or_default();
        let mut replaces: Vec<EventId> = replaces.into_iter().take(CONTROL_IDS_MAX).collect();
        replaces.sort_unstable();
        self.rule(room, &Control::Set(Set { key, value, replaces }))
    }

    /// The joins by each open invite of a user: who came by them stays.
    fn joins_to_keep(&self, room: RoomId, user: UserId) -> Vec<(EventId, Vec<EventId>)> {
        let Some(live) = self.rooms.find(room) else { return Vec::new() };
        let invites = live.state.invites.iter().filter(|(_, invite)| invite.issuer == user);
        invites.map(|(id, invite)| (*id, invite.joins.iter().copied().collect())).collect()
    }

    /// What stays of each log of a user that a Revoke by us covers: all that is held. Of more logs than a Revoke can name,
    /// those that were written last.
    fn cuts_of(&self, room: RoomId, standing: &Standing, user: UserId) -> Result<Vec<Cut>, StorageError> {
        let Some(live) = self.rooms.find(room) else { return Ok(Vec::new()) };
        let logs = standing.state.logs_of(user);
        let covered = logs.into_iter().filter(|(_, _, rank)| *rank > standing.rank);
        let mut pairs: Vec<(u64, Vec<Cut>)> = Vec::new();
        for (author, grant, _) in covered {
            let mut pair = (0, Vec::new());
            for class in [Class::Control, Class::Content] {
                let log = Log { class, author, grant };
                let Some((tips, clock)) = self.batch.tips(standing.number, &log)? else { continue };
                let seq_max = match class {
                    Class::Control => below_blind_closing(&live.control, &log).min(live.control.below_newer(&log)),
                    Class::Content => u64::MAX,
                };
                pair.0 = clock.max(pair.0);
                pair.1.extend(self.batch.cut(log, tips, seq_max)?);
            }
            pairs.push(pair);
        }
        Ok(fitting(pairs))
    }
}

/// Of cuts, each with those of its device and grant and the clock of the newest word under them, as many as one removal can
/// name, newest first. What lets a device in is never without what it said, nor the other way round.
pub(crate) fn fitting(mut pairs: Vec<(u64, Vec<Cut>)>) -> Vec<Cut> {
    pairs.sort_unstable_by_key(|(clock, _)| std::cmp::Reverse(*clock));
    let mut cuts: Vec<Cut> = pairs.into_iter().take(CUTS_MAX / 2).flat_map(|(_, pair)| pair).collect();
    cuts.sort_unstable();
    cuts
}

impl Desk<'_, '_> {
    /// Why the local user has to wait before they say more; notes that they said something if not.
    pub(crate) fn too_soon(&mut self, room: RoomId, standing: &Standing) -> Result<Option<Refusal>, StorageError> {
        let Some(slow) = Slow::of(self.batch.store(), standing.number, &standing.state)? else { return Ok(None) };
        let now = self.clock.tick();
        if let Some(wait_s) = slow.wait_s(self.keys.user, now, self.round.said.get(&room).copied())? {
            return Ok(Some(Refusal::TooSoon { every_s: slow.seconds(), wait_s }));
        }
        self.round.said.insert(room, now);
        Ok(None)
    }
}

/// Why a message may not be folded by us.
pub(crate) fn hide_refusal(standing: &Standing, event: &StoredEvent, author: Option<UserId>) -> Option<Refusal> {
    if event.log.class != Class::Content || !kind::is_message(event.kind) {
        return Some(Refusal::UnknownEvent);
    }
    let are = standing.rank.role();
    if standing.rank > Rank::MODERATOR {
        return Some(Refusal::NeedsRole { needs: Role::Moderator, are });
    }
    let theirs = author.and_then(|author| standing.state.members.get(&author)).map(|member| member.rank);
    let theirs = theirs.filter(|theirs| *theirs < standing.rank)?;
    Some(Refusal::NeedsRank { theirs: theirs.number(), ours: standing.rank.number() })
}

/// The place in a control log up to which a removal keeps it: below a closing that lists joins which nobody here has seen.
/// They could be made up later, by whoever is being removed.
pub(crate) fn below_blind_closing(set: &ControlSet, log: &Log) -> u64 {
    let blind = set.events_of(log).filter(|event| match &event.control {
        Control::CloseInvite(close) => close.joins.iter().any(|join| set.event(*join).is_none()),
        _ => false,
    });
    blind.map(|event| event.seq - 1).min().unwrap_or(u64::MAX)
}

fn may_remove(standing: &Standing, user: UserId, us: UserId) -> Option<Refusal> {
    let are = standing.rank.role();
    if user == us {
        return Some(Refusal::Oneself);
    }
    if standing.rank > Rank::MODERATOR {
        return Some(Refusal::NeedsRole { needs: Role::Moderator, are });
    }
    match standing.state.members.get(&user).map(|member| member.rank) {
        Some(Rank::FOUNDER) => Some(Refusal::Founder),
        Some(theirs) if theirs <= standing.rank => {
            Some(Refusal::NeedsRank { theirs: theirs.number(), ours: standing.rank.number() })
        }
        _ => None,
    }
}

/// The removals that a grant of this rank by us has to lift, ascending.
fn to_lift(standing: &Standing, user: UserId, rank: Rank, max: usize) -> Result<Vec<EventId>, Refusal> {
    let in_the_way = standing.state.revokes_of(user).into_iter().filter(|(_, by)| *by < rank);
    let (lifts, too_strong): (Vec<_>, Vec<_>) = in_the_way.partition(|(_, by)| standing.rank <= *by);
    if let Some(by) = too_strong.iter().map(|(_, by)| *by).min() {
        return Err(Refusal::NeedsRole { needs: by.role(), are: standing.rank.role() });
    }
    let lifts: BTreeSet<EventId> = lifts.into_iter().map(|(id, _)| id).collect();
    match lifts.len() <= max {
        true => Ok(lifts.into_iter().collect()),
        false => Err(Refusal::TooManyRemovals(lifts.len())),
    }
}

/// The rank to give, or why not.
fn may_appoint(standing: &Standing, user: UserId, role: Role) -> Result<Rank, Refusal> {
    let are = standing.rank.role();
    if let Some(needs) = standing.state.invite_rank.filter(|needs| standing.rank > *needs) {
        return Err(Refusal::NeedsRole { needs: needs.role(), are });
    }
    let stronger = Role::ALL.iter().rev().copied().find(|other| *other < role).unwrap_or(Role::Founder);
    let rank = role.rank_below(standing.rank).ok_or(Refusal::NeedsRole { needs: stronger, are })?;
    match standing.state.members.get(&user).map(|member| member.rank) {
        Some(Rank::FOUNDER) => Err(Refusal::Founder),
        Some(theirs) if theirs.role() == role => Err(Refusal::AlreadyRole(role)),
        Some(theirs) if theirs < rank && theirs <= standing.rank => {
            Err(Refusal::NeedsRank { theirs: theirs.number(), ours: standing.rank.number() })
        }
        _ => Ok(rank),
    }
}
