//! The exchanges of a room: which are under way, whether they bring anything, and when it is enough.

use super::Failure;
use super::budget::PerMinute;
use super::reconcile::Reconcile;
use crate::event::Class;
use crate::id::EventId;
use crate::limits::{FRUITLESS_ROUNDS_MAX, IDLE_EXCHANGES_MAX};
use crate::wire::{Head, Listing};
use std::collections::BTreeMap;

/// The exchanges of a room that are under way, one a class at most, and what came of those before.
#[derive(Default)]
pub(super) struct Exchanges {
    /// Boxed: most of the time there are none, and a room is in each conversation.
    open: [Option<Box<Exchange>>; 2],
    /// Exchanges of each class in this conversation.
    begun: [u32; 2],
    /// Exchanges of each class that brought nothing, since something last did or the other side's digests changed.
    fruitless: [u32; 2],
    /// Exchanges since one brought or served anything.
    idle: PerMinute,
}

/// An exchange of heads of one class of a room.
#[derive(Default)]
pub(super) struct Exchange {
    /// What we have told: all, or the part that they may lack.
    pub(super) told: Option<Listing>,
    /// Their list has ended.
    pub(super) heard: bool,
    pub(super) listed: usize,
    /// Which one of its class in this conversation.
    pub(super) number: u32,
    /// Our heads that were not in their whole list, as far as it came.
    pub(super) lacked: Option<BTreeMap<EventId, Head>>,
    pub(super) reconcile: Option<Reconcile>,
    /// Set reconciliation came to its end.
    pub(super) reconciled: bool,
    brought: bool,
    /// When something of it was last told or heard.
    pub(super) moved_ms: u64,
}

impl Exchanges {
    pub(super) fn is_open(&self, class: Class) -> bool {
        self.open[index(class)].is_some()
    }

    pub(super) fn any_open(&self) -> bool {
        self.open.iter().any(Option::is_some)
    }

    /// Since when their list is due.
    pub(super) fn waiting_since_ms(&self) -> Option<u64> {
        self.open.iter().flatten().filter(|e| !e.heard).map(|e| e.moved_ms).min()
    }

    pub(super) fn of(&mut self, class: Class) -> Option<&mut Exchange> {
        self.open[index(class)].as_deref_mut()
    }

    /// We sent events: the peer gets something out of it, and is busy.
    pub(super) fn served(&mut self, now_ms: u64) {
        self.idle = PerMinute::default();
        self.open.iter_mut().flatten().for_each(|e| e.moved_ms = now_ms);
    }

    pub(super) fn brought(&mut self, class: Class) {
        self.idle = PerMinute::default();
        if let Some(exchange) = self.of(class) {
            exchange.brought = true;
        }
    }

    /// Whether an exchange is worth beginning where these digests differ.
    pub(super) fn hope(&self, differs: [bool; 2], now_ms: u64) -> Option<Class> {
        let hopeful = |class: &Class| differs[index(*class)] && self.fruitless[index(*class)] < FRUITLESS_ROUNDS_MAX;
        [Class::Control, Class::Content]
            .into_iter()
            .find(hopeful)
            .filter(|_| self.idle.count(now_ms) < IDLE_EXCHANGES_MAX)
    }

    /// Whether this is the last attempt for now: not to be spoilt by what we only think that they have.
    pub(super) fn is_last_hope(&self, class: Class) -> bool {
        self.fruitless[index(class)] + 1 >= FRUITLESS_ROUNDS_MAX
    }

    /// Something has changed, so that attempts in vain count no more.
    pub(super) fn take_heart(&mut self) {
        self.fruitless = [0; 2];
    }

    /// Notes one begun, by us or by them.
    pub(super) fn begin(&mut self, class: Class, now_ms: u64) -> Result<(), Failure> {
        if self.idle.add(now_ms) > IDLE_EXCHANGES_MAX * 4 {
            return Err(Failure::Budget("comparisons that bring nothing"));
        }
        let begun = &mut self.begun[index(class)];
        *begun = begun.wrapping_add(1);
        let exchange = Exchange { moved_ms: now_ms, number: *begun, ..Exchange::default() };
        self.open[index(class)] = Some(Box::new(exchange));
        Ok(())
    }

    /// Ends an exchange in which both have told; whether it brought anything.
    pub(super) fn end(&mut self, class: Class) -> Option<bool> {
        let ended = self.open[index(class)].take_if(|e| e.told.is_some() && e.heard)?;
        let fruitless = &mut self.fruitless[index(class)];
        *fruitless = if ended.brought { 0 } else { *fruitless + 1 };
        Some(ended.brought)
    }

    /// None under way, and the same budget.
    pub(super) fn budget(&self) -> Exchanges {
        Exchanges { idle: self.idle, ..Exchanges::default() }
    }
}

fn index(class: Class) -> usize {
    usize::from(class.number())
}
