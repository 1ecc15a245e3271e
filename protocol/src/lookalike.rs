//! Names that a reader takes for one another: the confusable skeletons of UTS #39, and which of two people who show such
//! names is the one to be marked.
//!
//! Nobody owns a name. What counts is, in this order: oneself, whose keys were compared, who has a pet name here, and of
//! all others who was seen with the name first.

use crate::id::UserId;
use std::collections::{BTreeMap, BTreeSet};
use unicode_normalization::UnicodeNormalization;
use unicode_security::confusable_detection::skeleton as skeleton_of;

/// What a name looks like: two names that share one of these look alike.
///
/// There are up to two, because case hides some likenesses and makes others: `I` looks like `l`, and is the capital of `i`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Looks(BTreeSet<String>);

impl Looks {
    /// What this name looks like; nothing for a name of which nothing can be seen.
    pub fn of(name: &str) -> Looks {
        let composed: String = name.chars().filter(|c| !is_sign(*c)).nfkc().collect();
        let folded = fold(&composed);
        let looks = [composed, folded].map(|text| visible(&fold(&skeleton_of(&text).collect::<String>())));
        Looks(looks.into_iter().filter(|text| !text.is_empty()).collect())
    }

    /// The texts that it looks like; who shares one looks alike.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether a reader may take one for the other.
    pub fn alike(&self, other: &Looks) -> bool {
        self.0.iter().any(|text| other.0.contains(text))
    }
}

/// How far the local user knows who somebody is; the stronger first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// It is the local user.
    Me,
    /// Their keys were compared.
    Verified,
    /// The local user gave them a pet name.
    Named,
    /// They are known by what they say of themselves.
    Stranger,
}

/// When a name was first seen on its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// Unix milliseconds by the clock of this node.
    pub here_ms: u64,
    /// By the clock of who says it, which may lie: it decides only between names that came here together.
    pub claimed: u64,
}

/// Somebody shows a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who.
    pub user: UserId,
    /// What the name looks like.
    pub looks: Looks,
    /// How far they are known.
    pub trust: Trust,
    /// Since when.
    pub since: Seen,
}

/// Who has to be marked, and whom they look like. Only strangers are marked: everybody else is known by key.
pub fn lookalikes(claims: &[Claim]) -> BTreeMap<UserId, UserId> {
    let mut by_look: BTreeMap<&str, Vec<&Claim>> = BTreeMap::new();
    for claim in claims {
        for look in &claim.looks.0 {
            by_look.entry(look).or_default().push(claim);
        }
    }
    let mut marked: BTreeMap<UserId, UserId> = BTreeMap::new();
    for group in by_look.values() {
        let Some(first) = first_of(group) else { continue };
        for claim in group.iter().filter(|c| c.trust == Trust::Stranger && c.user != first.user) {
            marked.entry(claim.user).or_insert(first.user);
        }
    }
    marked
}

/// The one whose name it is. Whoever came within minutes of the first came with them, in one page of history, whose order
/// of arrival says nothing: among these the claimed times decide.
fn first_of<'a>(group: &[&'a Claim]) -> Option<&'a Claim> {
    let strongest = group.iter().map(|c| c.trust).min()?;
    let known = || group.iter().filter(move |c| c.trust == strongest);
    let first_ms = known().map(|c| c.since.here_ms).min()?;
    let together = known().filter(|c| c.since.here_ms <= first_ms.saturating_add(TOGETHER_MS));
    together.min_by_key(|c| (c.since.claimed, c.user)).copied()
}

/// Marks with which screens say that a key was compared, or warn; in a name they would say it of themselves.
pub fn is_sign(c: char) -> bool {
    matches!(c, '\u{2705}' | '\u{2610}'..='\u{2612}' | '\u{2713}'..='\u{2718}' | '\u{221a}' | '\u{237b}'
        | '\u{26a0}' | '\u{26a1}' | '\u{1f5f4}'..='\u{1f5f9}' | '\u{1f6a8}' | '\u{1f6c7}' | '\u{1f6d1}' | '\u{2757}'
        | '\u{203c}' | '\u{1f512}' | '\u{1f510}' | '\u{1f6e1}')
}

/// Full case folding, near enough: by way of capitals, so that `ß` and `SS` meet, and each letter for itself, so that the
/// end of a word is no other place than its middle.
fn fold(text: &str) -> String {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfkc().collect()
}

/// What is left when nothing invisible counts: no controls, one space where there are several, none at the ends.
fn visible(text: &str) -> String {
    let is_blank = |c: char| c.is_whitespace() || matches!(c, '\u{2800}' | '\u{115f}' | '\u{1160}');
    let kept: String = text.chars().filter(|c| !c.is_control() || c.is_whitespace()).collect();
    kept.split(is_blank).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// As long as a first page of history may take.
const TOGETHER_MS: u64 = 10 * 60 * 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn alike(one: &str, other: &str) -> bool {
        Looks::of(one).alike(&Looks::of(other))
    }

    #[test]
    fn names_that_look_alike_are_found() {
        let table = [
            ("the same", "Alice", "Alice"),
            ("case", "Alice", "aLICE"),
            ("cyrillic а", "alice", "\u{430}lice"),
            ("cyrillic throughout", "scope", "\u{455}\u{441}\u{43e}\u{440}\u{435}"),
            ("cyrillic capital А", "Alice", "\u{410}lice"),
            ("greek ο", "bob", "b\u{3bf}b"),
            ("greek capitals", "NIKE", "\u{39d}\u{399}\u{39a}\u{395}"),
            ("zero width space", "alice", "al\u{200b}ice"),
            ("zero width joiner", "alice", "alice\u{200d}"),
            ("soft hyphen", "alice", "al\u{ad}ice"),
            ("byte order mark", "alice", "\u{feff}alice"),
            ("right-to-left override", "alice", "\u{202e}alice"),
            ("isolates", "alice", "\u{2067}ali\u{2069}ce"),
            ("variation selector", "alice", "a\u{fe0f}lice"),
            ("tag characters", "alice", "alice\u{e0061}\u{e007f}"),
            ("combining grapheme joiner", "alice", "a\u{34f}lice"),
            ("hangul filler", "alice", "alice\u{3164}"),
            ("blank braille", "alice", "alice\u{2800}"),
            ("escape", "alice", "\u{1b}alice"),
            ("digit one", "alice", "a1ice"),
            ("capital i", "alice", "aIice"),
            ("capital i at the start", "Ilya", "llya"),
            ("vertical bar", "alice", "a|ice"),
            ("digit zero", "bob", "b0b"),
            ("digit zero and capital O", "BOB", "b0b"),
            ("rn", "mallory", "rnallory"),
            ("width", "alice", "\u{ff41}\u{ff4c}\u{ff49}\u{ff43}\u{ff45}"),
            ("mathematical letters", "alice", "\u{1d41a}lice"),
            ("ligature", "office", "o\u{fb03}ce"),
            ("composed and not", "caf\u{e9}", "cafe\u{301}"),
            ("sharp s", "Strauß", "STRAUSS"),
            ("final sigma", "\u{3bd}\u{3af}\u{3ba}\u{3bf}\u{3c2}", "\u{39d}\u{38a}\u{39a}\u{39f}\u{3a3}"),
            ("dotless i", "ilya", "\u{131}lya"),
            ("spaces", "Ana Maria", " Ana\u{a0}\u{2003}Maria "),
            ("a mark of trust", "alice", "alice \u{2713}"),
            ("a heavy mark and a shield", "alice", "\u{1f6e1}\u{fe0f}alice\u{2714}\u{fe0f}"),
        ];
        for (what, one, other) in table {
            assert!(alike(one, other), "{what}: {one:?} {other:?}: {:?} {:?}", Looks::of(one), Looks::of(other));
            assert!(alike(other, one), "{what}, the other way");
        }
    }

    #[test]
    fn other_names_stay_others() {
        let table = [
            ("alice", "alicia"),
            ("ben", "bean"),
            ("ana", "an\u{e1}"),
            ("ilya", "olya"),
            ("bob", "bob 2"),
            ("Ana Maria", "Anna Maria"),
            ("你好", "你們"),
            ("אבא", "אמא"),
            ("🦊", "🐺"),
        ];
        for (one, other) in table {
            assert!(!alike(one, other), "{one:?} {other:?}: {:?} {:?}", Looks::of(one), Looks::of(other));
        }
        for nothing in ["", " ", "\u{200b}", "\u{202e}\u{3164}", "\u{2713}"] {
            assert_eq!(Looks::of(nothing), Looks(BTreeSet::new()), "{nothing:?}");
            assert!(!alike(nothing, nothing));
        }
    }

    fn claim(user: u8, name: &str, trust: Trust, here_ms: u64, claimed: u64) -> Claim {
        Claim { user: UserId([user; 32]), looks: Looks::of(name), trust, since: Seen { here_ms, claimed } }
    }

    fn marked(claims: &[Claim]) -> Vec<(u8, u8)> {
        let forward = lookalikes(claims);
        let reversed: Vec<Claim> = claims.iter().rev().cloned().collect();
        assert_eq!(lookalikes(&reversed), forward, "the order of the list decides");
        forward.into_iter().map(|(who, whom)| (who.0[0], whom.0[0])).collect()
    }

    #[test]
    fn who_is_known_best_keeps_the_name() {
        use Trust::{Me, Named, Stranger, Verified};
        let minutes = 60 * 1000;
        let table: Vec<(_, Vec<Claim>, Vec<_>)> = vec![
            ("nobody", vec![], vec![]),
            ("one", vec![claim(1, "Ana", Stranger, 0, 0)], vec![]),
            (
                "the later one, however it is dated",
                vec![claim(1, "Ana", Stranger, 0, 900), claim(2, "ana", Stranger, 11 * minutes, 1)],
                vec![(2, 1)],
            ),
            (
                "who came together, by their own clocks",
                vec![claim(1, "Ana", Stranger, 0, 900), claim(2, "ana", Stranger, 9 * minutes, 1)],
                vec![(1, 2)],
            ),
            (
                "a verified one who came later",
                vec![claim(1, "Ana", Stranger, 0, 0), claim(2, "Ana", Verified, 99 * minutes, 9)],
                vec![(1, 2)],
            ),
            (
                "a pet name's owner",
                vec![claim(1, "Ana", Stranger, 0, 0), claim(2, "Ana", Named, 99 * minutes, 9)],
                vec![(1, 2)],
            ),
            (
                "oneself",
                vec![claim(1, "Ana", Verified, 0, 0), claim(2, "Ana", Me, 99, 9), claim(3, "Ana", Stranger, 0, 0)],
                vec![(3, 2)],
            ),
            (
                "several, each of the first",
                vec![
                    claim(1, "Ana", Stranger, 0, 0),
                    claim(2, "\u{410}na", Stranger, 20 * minutes, 0),
                    claim(3, "ana", Stranger, 40 * minutes, 0),
                    claim(4, "Ben", Stranger, 0, 0),
                ],
                vec![(2, 1), (3, 1)],
            ),
            (
                "one with several names is not their own double",
                vec![claim(1, "Ana", Named, 0, 0), claim(1, "ana", Named, 0, 0)],
                vec![],
            ),
        ];
        for (what, claims, expected) in table {
            assert_eq!(marked(&claims), expected, "{what}");
        }
    }
}
