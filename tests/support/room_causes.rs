//! Why an event of a random room may turn from valid to void: the causes that the executable model lists, from what people
//! said alone, without the rules by which our evaluation covers and closes.

use super::random_room::{RandomRoom, Said, owner};
use std::collections::{BTreeMap, BTreeSet};
use tidings_protocol::control::payload::Control;
use tidings_protocol::control::rank::Rank;
use tidings_protocol::control::set::ControlSet;
use tidings_protocol::id::EventId;

/// A room with what of it has come, as far as is needed to name causes.
pub struct Causes<'a> {
    pub by_id: BTreeMap<EventId, &'a Said>,
    pub set: &'a ControlSet,
}

impl<'a> Causes<'a> {
    pub fn of(room: &'a RandomRoom, set: &'a ControlSet) -> Causes<'a> {
        Causes { by_id: room.by_id(), set }
    }

    /// The structural rank under which somebody spoke.
    pub fn rank(&self, said: &Said) -> Option<Rank> {
        self.set.rank_of(said.log().grant)
    }

    /// An event and all that must be valid for it to be.
    fn rests_on(&self, said: &'a Said) -> Vec<&'a Said> {
        let (mut seen, mut todo, mut found) = (BTreeSet::new(), vec![said], Vec::new());
        while let Some(said) = todo.pop() {
            if !seen.insert(said.id) {
                continue;
            }
            found.push(said);
            let below = [said.prev, said.grant, said.invite()].into_iter().flatten();
            todo.extend(below.filter_map(|id| self.by_id.get(&id)).copied());
            if said.is_text() {
                let roots = self
                    .by_id
                    .values()
                    .filter(|root| root.author == said.author && root.log().grant == said.log().grant && is_root(root));
                todo.extend(roots.copied());
            }
        }
        found
    }

    /// Which of what counts now and did not, or no longer does and did, voided an event; none if nothing should have.
    pub fn explain(&self, lost: &'a Said, new: &[&Said], all_lost: &[&Said]) -> Option<&'static str> {
        let rank = self.rank(lost)?;
        self.rests_on(lost).into_iter().find_map(|below| {
            let aimed = new.iter().find_map(|by| self.aims_at(by, below, lost, rank));
            aimed.or_else(|| {
                let listed = |by: &&Said| match &by.what {
                    Some(Control::CloseInvite(c)) => c.joins.contains(&below.id),
                    Some(Control::Revoke(r)) => r.joins.contains(&below.id),
                    _ => false,
                };
                let weaker = self.rank(below).filter(|r| *r <= rank)?;
                let voided = all_lost.iter().any(|by| listed(by) && self.rank(by).is_some_and(|by| by < weaker));
                voided.then_some("closing that listed it voided")
            })
        })
    }

    /// Whether an event is aimed at something on which a lost one of this rank rests.
    fn aims_at(&self, by: &Said, below: &Said, lost: &Said, rank: Rank) -> Option<&'static str> {
        let (by_rank, at) = (self.rank(by)?, self.rank(below).filter(|at| *at <= rank)?);
        let (whose, invite) = (owner(below.author), below.invite().and_then(|id| self.by_id.get(&id)));
        match by.what.as_ref()? {
            Control::Revoke(r) if r.user == whose && by_rank < at => return Some("Revoke"),
            Control::RevokeDevice(r) if r.device == below.author && by.author == whose.into() => {
                let own = whose == owner(lost.author);
                if below.author != by.author && by_rank <= at && (own || at < rank) {
                    return Some(if own { OWN_KEY } else { "issuer's user key" });
                }
            }
            _ => {}
        }
        let invite = invite?;
        let issuer = self.rank(invite)?;
        match by.what.as_ref()? {
            Control::CloseInvite(c) if c.invite == invite.id && by_rank < at => {
                (by_rank < issuer || owner(by.author) == owner(invite.author)).then_some("CloseInvite")
            }
            Control::Revoke(r) if r.user == owner(invite.author) && by_rank < issuer => Some("invite closed by Revoke"),
            _ => None,
        }
    }
}

pub fn is_root(said: &Said) -> bool {
    matches!(said.what, Some(Control::Genesis(_) | Control::Join(_) | Control::Enrol(_)))
}

/// The only cause that voids what a founder did.
pub const OWN_KEY: &str = "own user key";
