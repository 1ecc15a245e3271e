//! Time and chance as the simulated world gives them to the node that acts. They belong to the thread, so that simulations run
//! side by side.

use std::cell::RefCell;
use std::time::Duration;

/// Random numbers of a seed (SplitMix64): the same in every run.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    /// Those of a seed, for one purpose: what is drawn for one does not shift what is drawn for another.
    pub(super) fn of(seed: u64, purpose: u64) -> Dice {
        let mut dice = Dice(seed ^ purpose.wrapping_mul(0xd134_2543_de82_ef95) ^ 0x7469_6469_6e67_7321);
        dice.next();
        dice
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A place in a list that is not empty.
    pub(super) fn place(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }

    /// True in so many cases of a hundred.
    pub(super) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { from.get(self.place(from.len())) }
    }

    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        bytes.iter_mut().for_each(|byte| *byte = (self.next() >> 40) as u8);
    }
}

/// What the node that acts now has for a clock and for entropy.
pub(super) struct Fate {
    pub(super) now_ms: u64,
    /// What time it is in the world, whatever its clock says.
    pub(super) world_ms: u64,
    pub(super) dice: Dice,
}

thread_local! {
    static FATE: RefCell<Option<Fate>> = const { RefCell::new(None) };
}

/// Lets a node act, by its clock, at a time of the world: returns its entropy as it left it.
pub(super) fn with<T>((now_ms, world_ms): (u64, u64), dice: &mut Dice, act: impl FnOnce() -> T) -> T {
    FATE.set(Some(Fate { now_ms, world_ms, dice: dice.clone() }));
    let done = act();
    if let Some(fate) = FATE.take() {
        *dice = fate.dice;
    }
    done
}

/// The time that it is for the node that acts, Unix milliseconds.
pub(crate) fn now_ms() -> Option<u64> {
    FATE.with_borrow(|fate| fate.as_ref().map(|fate| fate.now_ms))
}

/// How long the node that acts may have been running.
pub(crate) fn running_for() -> Option<Duration> {
    FATE.with_borrow(|fate| fate.as_ref().map(|fate| Duration::from_millis(fate.world_ms)))
}

/// Entropy of the node that acts; false where none does.
pub(crate) fn fill(bytes: &mut [u8]) -> bool {
    FATE.with_borrow_mut(|fate| fate.as_mut().map(|fate| fate.dice.fill(bytes)).is_some())
}
