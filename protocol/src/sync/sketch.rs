//! What two sets differ in, from bytes in proportion to the difference: coded symbols (a rateless invertible Bloom lookup
//! table; Yang, Gilad and Alizadeh, "Practical Rateless Set Reconciliation", SIGCOMM 2024).
//!
//! Each item of a set lies in symbol 0, and in symbol i with probability 2 / (i + 2). A symbol sums up what lies in it. Where
//! one side's symbols are taken from the other's, what both have cancels out; a symbol in which one item is left gives that
//! item away, which is then taken out of all others. About 1.4 to 1.7 symbols for each item that differs suffice, however
//! many items there are, and any number of first symbols is of use: who gets them asks for more until it is enough.
//!
//! Items are hashes under the nonces of the conversation. So nobody else can choose them, and whoever is at the other end
//! gains nothing by it: what comes is checked for nothing but its bounds, and a wrong answer is as good as a lie.

use crate::limits::RECONCILE_SYMBOLS_MAX;

/// Sums over the items that lie in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Symbol {
    /// Exclusive or of the items.
    pub(super) sum: u64,
    /// Exclusive or of their checks.
    pub(super) check: u32,
    /// How many, modulo 2^16; in a difference the second set's count against it.
    pub(super) count: u16,
}

/// An item, and the next symbol in which it lies.
#[derive(Debug, Clone, Copy)]
struct Placed {
    item: u64,
    next: u32,
    step: u64,
}

/// The symbols of one set, one after another.
pub(super) struct Encoder {
    items: Vec<Placed>,
    told: u32,
}

/// Finds what differs between our set and that whose symbols come.
pub(super) struct Decoder {
    ours: Encoder,
    /// Symbols of the difference, without the items that were found.
    symbols: Vec<Symbol>,
    /// Each with whether it is ours.
    found: Vec<(Placed, bool)>,
}

/// More items came out than symbols went in: no two sets have these symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FalseSymbols;

impl Symbol {
    fn put(&mut self, item: u64, is_ours: bool) {
        let one = if is_ours { 1_u16.wrapping_neg() } else { 1 };
        *self = Symbol { sum: self.sum ^ item, check: self.check ^ check(item), count: self.count.wrapping_add(one) };
    }

    fn take_out(&mut self, item: u64, is_ours: bool) {
        self.put(item, !is_ours);
    }

    fn without(self, ours: Symbol) -> Symbol {
        let count = self.count.wrapping_sub(ours.count);
        Symbol { sum: self.sum ^ ours.sum, check: self.check ^ ours.check, count }
    }

    /// The one item in it, and whether it is ours.
    fn only(&self) -> Option<(u64, bool)> {
        let is_ours = self.count == 1_u16.wrapping_neg();
        ((self.count == 1 || is_ours) && self.check == check(self.sum)).then_some((self.sum, is_ours))
    }
}

impl Placed {
    fn new(item: u64) -> Self {
        Placed { item, next: 0, step: 0 }
    }

    /// Goes through the symbols below `end` in which the item lies and was not noted yet.
    fn below(&mut self, end: u32, mut f: impl FnMut(usize)) {
        while self.next < end {
            f(self.next as usize);
            self.step += 1;
            // From symbol i an item goes on by (i + 1.5) (1 / sqrt(u) - 1), rounded up, u being uniform in (0, 1].
            let root = noise(self.item, self.step).isqrt() + 1;
            let gap = ((2 * u64::from(self.next) + 3) * ((1 << 32) - root)).div_ceil(2 * root).max(1);
            self.next = u32::try_from(u64::from(self.next) + gap).unwrap_or(u32::MAX);
        }
    }
}

impl Encoder {
    pub(super) fn new(items: impl Iterator<Item = u64>) -> Self {
        Encoder { items: items.map(Placed::new).collect(), told: 0 }
    }

    /// How many items there are.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// How many symbols were told.
    pub(super) fn told(&self) -> u32 {
        self.told
    }

    /// So many symbols more, as long as there may be more.
    pub(super) fn tell(&mut self, count: u32) -> Vec<Symbol> {
        let first = self.told;
        self.told = first.saturating_add(count).min(RECONCILE_SYMBOLS_MAX);
        let mut out = vec![Symbol::default(); (self.told - first) as usize];
        for placed in &mut self.items {
            let item = placed.item;
            placed.below(self.told, |at| out[at - first as usize].put(item, false));
        }
        out
    }
}

impl Decoder {
    pub(super) fn new(ours: Encoder) -> Self {
        Decoder { ours, symbols: Vec::new(), found: Vec::new() }
    }

    /// Takes the other set's next symbols; true once all that differs is found.
    pub(super) fn take(&mut self, theirs: &[Symbol]) -> Result<bool, FalseSymbols> {
        let first = self.symbols.len();
        let ours = self.ours.tell(theirs.len() as u32);
        self.symbols.extend(theirs.iter().zip(ours).map(|(theirs, ours)| theirs.without(ours)));
        let end = self.symbols.len() as u32;
        let symbols = &mut self.symbols;
        for (placed, is_ours) in &mut self.found {
            let item = placed.item;
            placed.below(end, |at| symbols[at].take_out(item, *is_ours));
        }
        let mut next: Vec<usize> = (first..symbols.len()).collect();
        while let Some(at) = next.pop() {
            let Some((item, is_ours)) = symbols[at].only() else { continue };
            if self.found.len() >= symbols.len() {
                return Err(FalseSymbols);
            }
            let mut placed = Placed::new(item);
            placed.below(end, |at| {
                symbols[at].take_out(item, is_ours);
                next.push(at);
            });
            self.found.push((placed, is_ours));
        }
        Ok(symbols.first() == Some(&Symbol::default()))
    }

    /// What is found so far that we have and they lack, and the other way round.
    pub(super) fn found(&self) -> (Vec<u64>, Vec<u64>) {
        let items = |of: bool| self.found.iter().filter(|(_, is_ours)| *is_ours == of).map(|(p, _)| p.item).collect();
        (items(true), items(false))
    }

    /// How many symbols came.
    pub(super) fn came(&self) -> u32 {
        self.symbols.len() as u32
    }

    /// About how many items differ where their set has `theirs`: those that were found, and by how far the counts of what is
    /// left lie from what the sizes of the sets alone would make them.
    pub(super) fn estimate(&self, theirs: u32) -> u32 {
        let ours_found = self.found.iter().filter(|(_, is_ours)| *is_ours).count();
        let theirs_left = f64::from(theirs) - (self.found.len() - ours_found) as f64;
        let more = theirs_left - (self.ours.len() as f64 - ours_found as f64);
        let (mut squares, mut variances, mut sum) = (0.0, 0.0, 2.25);
        for (at, symbol) in self.symbols.iter().enumerate().skip(1) {
            // How many of all items lie here, about 2 / (i + 2): by the gaps in `Placed::below`, an item that lies in symbol j
            // has its next one beyond i with probability ((j + 1.5) / (i + 1.5))^2.
            let (below, above) = (at as f64 + 0.5, at as f64 + 1.5);
            let share = sum * (1.0 / (below * below) - 1.0 / (above * above));
            sum += share * above * above;
            let expected = (more * share).round();
            // Counts are told modulo 2^16: of the numbers that may be meant, the one nearest to what is expected.
            let off = symbol.count.wrapping_sub(expected as i64 as u16).cast_signed();
            let off = f64::from(off) + expected - more * share;
            (squares, variances) = (squares + off * off, variances + share * (1.0 - share));
        }
        let left = if variances == 0.0 { more.abs() } else { (squares / variances).max(more.abs()) };
        (self.found.len() as f64 + left) as u32
    }
}

/// Tells one item from sums of several.
fn check(item: u64) -> u32 {
    (noise(item, 0) >> 32) as u32
}

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), seeded by the item: its number `step`.
fn noise(item: u64, step: u64) -> u64 {
    let z = item.wrapping_add(step.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Items of a seed, as uniform as hashes are.
    fn items(seed: u64, count: u64) -> impl Iterator<Item = u64> {
        (0..count).map(move |n| {
            let hash = blake3::hash(&[seed.to_be_bytes(), n.to_be_bytes()].concat());
            u64::from_be_bytes(*hash.as_bytes().first_chunk().unwrap())
        })
    }

    /// Symbols it takes until the difference is found, asked for by `step`.
    fn takes(seed: u64, both: u64, ours: u64, theirs: u64, step: u32) -> u32 {
        let set = |own: u64, count| Encoder::new(items(seed, both).chain(items(own, count)));
        let mut them = set(seed + 1_000_002, theirs);
        let mut decoder = Decoder::new(set(seed + 1_000_001, ours));
        while !decoder.take(&them.tell(step)).unwrap() {
            assert!(decoder.came() < RECONCILE_SYMBOLS_MAX, "{both} {ours} {theirs}");
        }
        let (have, need) = decoder.found();
        let sets = [have, need].map(BTreeSet::from_iter);
        let expected = [(1_000_001, ours), (1_000_002, theirs)].map(|(own, n)| items(seed + own, n).collect());
        assert_eq!(sets, expected);
        decoder.came()
    }

    #[test]
    fn what_differs_is_found_from_symbols_in_proportion_to_it() {
        for (ours, theirs) in [(0, 0), (1, 0), (0, 1), (20, 20), (0, 300), (500, 700)] {
            for both in [0, 1_500, 20_000] {
                let d = ours + theirs;
                let mean = (0..20).map(|n| f64::from(takes(n, both, ours, theirs, 1))).sum::<f64>() / 20.0;
                println!("{d} of {} differ: {mean:.1} symbols, {:.2} for each", both + d, mean / d.max(1) as f64);
                assert!(mean <= 1.8 * d as f64 + 3.0, "{both} {ours} {theirs}: {mean}");
            }
        }
    }

    #[test]
    fn how_they_are_asked_for_makes_no_difference() {
        let one_by_one = takes(3, 2_000, 60, 40, 1);
        for step in [7, 64, 1_000] {
            assert_eq!(takes(3, 2_000, 60, 40, step), one_by_one.next_multiple_of(step));
        }
    }

    #[test]
    fn from_few_symbols_one_sees_about_how_many_items_differ() {
        for (both, ours, theirs) in
            [(5_000, 40, 50), (5_000, 500, 500), (0, 20_000, 20_000), (100_000, 0, 70_000), (1_000, 60_000, 3)]
        {
            let mut them = Encoder::new(items(1, both).chain(items(3, theirs)));
            let mut decoder = Decoder::new(Encoder::new(items(1, both).chain(items(2, ours))));
            assert!(!decoder.take(&them.tell(64)).unwrap());
            let (seen, is) = (f64::from(decoder.estimate(them.len() as u32)), (ours + theirs) as f64);
            println!("{is} differ, {seen} seen");
            assert!((0.5..2.0).contains(&(seen / is)), "{seen} {is}");
        }
    }

    #[test]
    fn symbols_of_no_set_end_it() {
        // One item alone, in a symbol in which it does not lie: it comes out for ever.
        let mut lie = Symbol::default();
        lie.put(items(9, 1).next().unwrap(), false);
        let mut decoder = Decoder::new(Encoder::new(std::iter::empty()));
        let mut taken = (0..100).map(|_| decoder.take(&[lie; 50]));
        assert!(taken.any(|taken| taken == Err(FalseSymbols)));
        assert!(decoder.found.len() <= decoder.symbols.len());
    }

    /// What PROTOCOL.md gives as an example.
    #[test]
    fn the_example_of_the_specification() {
        let mut encoder = Encoder::new([1, 2, u64::MAX].into_iter());
        let told =
            encoder.tell(6).iter().map(|s| format!("{:016x} {:08x} {}", s.sum, s.check, s.count)).collect::<Vec<_>>();
        let expected = [
            "fffffffffffffffc e28b6945 3",
            "fffffffffffffffc e28b6945 3",
            "0000000000000003 06521832 2",
            "0000000000000002 975835de 1",
            "fffffffffffffffe 75d35c9b 2",
            "0000000000000000 00000000 0",
        ];
        assert_eq!(told, expected);
    }
}
