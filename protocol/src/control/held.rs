//! The control events held, as a forest by `prev` with jump pointers: who is whose ancestor is found in logarithmic time,
//! however long a log and however many its forks (Myers, "An applicative random-access stack", 1983).

use super::payload::{Control, ControlEvent};
use super::rank::Rank;
use super::state::Void;
use crate::id::{EventId, UserId};

/// An event's place among those held, in the order in which they came to stand on all that they rest on.
pub(super) type Slot = u32;

/// Whether an event counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Undecided,
    Valid,
    Void(Void),
}

/// An event held, with what follows from its grant chain and its branch alone.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) event: ControlEvent,
    /// The rank of the grant that it acts under; `None` when that is none.
    pub(super) rank: Option<Rank>,
    /// The rank that it gives, when it is a sound grant or invite.
    pub(super) gives: Option<Rank>,
    /// The user for whom its branch speaks.
    pub(super) user: Option<UserId>,
    /// Whether its kind is allowed to its rank, and it is well formed.
    pub(super) is_allowed: bool,
    /// Genesis and Join 0, the user key's log 1, devices' logs 2: see `decide`.
    pub(super) phase: u8,
    pub(super) prev: Option<Slot>,
    /// `None` in a Genesis or Join.
    pub(super) grant: Option<Slot>,
    /// What a Join takes up.
    pub(super) invite: Option<Slot>,
    pub(super) children: Vec<Slot>,
    pub(super) valid_children: u32,
    /// Valid closings of this invite.
    pub(super) closers: u32,
    /// A root whose device speaks for a current member.
    pub(super) speaks: bool,
    pub(super) verdict: Verdict,
    /// An ancestor further up.
    jump: Slot,
}

impl Held {
    pub(super) fn is_valid(&self) -> bool {
        self.verdict == Verdict::Valid
    }

    pub(super) fn is_grant(&self) -> bool {
        matches!(self.event.control, Control::Genesis(_) | Control::Grant(_) | Control::Join(_))
    }
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Forest {
    held: Vec<Held>,
}

/// What is known of an event before it stands in the forest.
pub(super) struct Sapling {
    pub(super) event: ControlEvent,
    pub(super) prev: Option<Slot>,
    pub(super) grant: Option<Slot>,
    pub(super) invite: Option<Slot>,
}

impl Forest {
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn find(&self, slot: Slot) -> Option<&Held> {
        self.held.get(slot as usize)
    }

    pub(super) fn find_mut(&mut self, slot: Slot) -> Option<&mut Held> {
        self.held.get_mut(slot as usize)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.held.iter()
    }

    /// Plants an event whose predecessor stands here already; `None` when there are as many as can be counted.
    pub(super) fn plant(&mut self, sapling: Sapling) -> Option<Slot> {
        let slot = Slot::try_from(self.held.len()).ok()?;
        let Sapling { event, prev, grant, invite } = sapling;
        let jump = prev.map_or(slot, |prev| self.jump_above(prev));
        if let Some(parent) = prev.and_then(|prev| self.find_mut(prev)) {
            parent.children.push(slot);
        }
        self.held.push(Held {
            event,
            rank: None,
            gives: None,
            user: None,
            is_allowed: false,
            phase: 2,
            prev,
            grant,
            invite,
            children: Vec::new(),
            valid_children: 0,
            closers: 0,
            speaks: false,
            verdict: Verdict::Undecided,
            jump,
        });
        Some(slot)
    }

    /// Where a child of `prev` jumps to: two jumps of equal length are followed by one of both.
    fn jump_above(&self, prev: Slot) -> Slot {
        let depth = |slot: Slot| self.find(slot).map_or(0, |held| held.event.seq);
        let Some(parent) = self.find(prev) else { return prev };
        let Some(grand) = self.find(parent.jump) else { return prev };
        let equal = depth(prev).wrapping_sub(depth(parent.jump)) == depth(parent.jump).wrapping_sub(depth(grand.jump));
        if equal { grand.jump } else { prev }
    }

    /// The ancestor of `from`, or itself, with this number.
    fn at_seq(&self, from: Slot, seq: u64) -> Option<Slot> {
        let mut at = from;
        loop {
            let held = self.find(at)?;
            if held.event.seq <= seq {
                return (held.event.seq == seq).then_some(at);
            }
            let jumped = self.find(held.jump)?.event.seq;
            at = if jumped >= seq && held.jump != at { held.jump } else { held.prev? };
        }
    }

    /// Whether `slot` is `below` or one of its ancestors.
    pub(super) fn is_ancestor(&self, slot: Slot, below: Slot) -> bool {
        self.find(slot).is_some_and(|held| self.at_seq(below, held.event.seq) == Some(slot))
    }

    /// The event with which its branch begins.
    pub(super) fn root(&self, slot: Slot) -> Option<Slot> {
        self.at_seq(slot, 1)
    }

    /// The lowest event on the way down from `slot` that does not count. Those that count lie below all others.
    pub(super) fn lowest_void(&self, slot: Slot) -> Option<Slot> {
        let counts = |slot: Slot| self.find(slot).is_some_and(Held::is_valid);
        let mut at = slot;
        if counts(at) {
            return None;
        }
        loop {
            let held = self.find(at)?;
            at = match held.prev {
                _ if held.jump != at && !counts(held.jump) => held.jump,
                Some(prev) if !counts(prev) => prev,
                _ => return Some(at),
            };
        }
    }

    /// The id of an event held.
    pub(super) fn id(&self, slot: Slot) -> Option<EventId> {
        self.find(slot).map(|held| held.event.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Class;
    use crate::id::DeviceId;
    use crate::log::Log;
    use proptest::prelude::*;

    fn event(seq: u64, n: usize) -> ControlEvent {
        let log = Log { class: Class::Control, author: DeviceId([1; 32]), grant: EventId([2; 32]) };
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(n as u64).to_be_bytes());
        ControlEvent { id: EventId(id), log, seq, prev: EventId::ZERO, control: Control::Leave }
    }

    proptest! {
        #[test]
        fn ancestors_are_those_that_a_walk_finds(choices in prop::collection::vec(0usize..1000, 1..120)) {
            let (mut forest, mut parents) = (Forest::default(), Vec::new());
            for (n, choice) in choices.iter().enumerate() {
                let prev = match choice % 8 {
                    _ if n == 0 => None,
                    0 => Some(choice / 8 % n),
                    1 if choice / 8 % 5 == 0 => None,
                    _ => Some(n - 1),
                };
                let prev = prev.map(|p| p as Slot);
                let seq = prev.and_then(|p| forest.find(p)).map_or(1, |held| held.event.seq + 1);
                forest.plant(Sapling { event: event(seq, n), prev, grant: None, invite: None });
                parents.push(prev);
                if prev.is_none_or(|p| forest.find(p).unwrap().is_valid()) && choice % 3 > 0 {
                    forest.find_mut(n as Slot).unwrap().verdict = Verdict::Valid;
                }
            }
            for below in 0..choices.len() {
                let mut path = vec![below as Slot];
                while let Some(prev) = parents[*path.last().unwrap() as usize] {
                    path.push(prev);
                }
                for slot in 0..choices.len() as Slot {
                    prop_assert_eq!(forest.is_ancestor(slot, below as Slot), path.contains(&slot));
                }
                let lowest = path.iter().copied().rfind(|slot| !forest.find(*slot).unwrap().is_valid());
                prop_assert_eq!(forest.lowest_void(below as Slot), lowest);
            }
        }
    }

    #[test]
    fn a_long_log_is_crossed_in_few_steps() {
        let mut forest = Forest::default();
        for n in 0..100_000u64 {
            let prev = n.checked_sub(1).map(|p| p as Slot);
            forest.plant(Sapling { event: event(n + 1, n as usize), prev, grant: None, invite: None });
        }
        let (mut at, mut steps) = (99_999, 0);
        while forest.find(at).unwrap().event.seq > 2 {
            let held = forest.find(at).unwrap();
            at = if forest.find(held.jump).unwrap().event.seq >= 2 { held.jump } else { held.prev.unwrap() };
            steps += 1;
        }
        assert!(steps < 60, "{steps}");
    }
}
