//! What of a query a text is compared with: words, words one behind the other, and beginnings of words; and where in a text
//! they stand.

use std::ops::Range;
use tidings_storage::search::{Atom, AtomKind, Term, atoms};

/// Things that must all stand in a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pattern {
    units: Vec<Unit>,
}

/// Atoms that stand one behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unit {
    atoms: Vec<Atom>,
    /// The last word may go on.
    is_open: bool,
}

/// Where in a text a pattern stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// Ascending, apart from one another.
    pub marks: Vec<Range<usize>>,
    /// How often each unit occurs.
    pub times: Vec<usize>,
    /// Words of the text.
    pub words: usize,
}

impl Pattern {
    /// Adds a word, or several that stand one behind the other. Returns how many atoms that are.
    pub fn add(&mut self, text: &str, is_open: bool) -> usize {
        let atoms = atoms(text);
        let count = atoms.len();
        let unit = Unit { atoms, is_open };
        if count > 0 && !self.units.contains(&unit) {
            self.units.push(unit);
        }
        count
    }

    /// Whether it is in every text.
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// The last word may go on, as its writer may.
    pub fn open_last(&mut self) {
        if let Some(unit) = self.units.last_mut() {
            unit.is_open |= unit.last_word_chars() >= OPEN_CHARS_MIN;
        }
    }

    /// Whether a beginning is so short that it would be that of very many words.
    pub fn has_short_beginning(&self) -> bool {
        self.units.iter().any(|unit| unit.is_open && (1..OPEN_CHARS_MIN).contains(&unit.last_word_chars()))
    }

    /// The terms by which texts are found, and to which unit each belongs. What they find has to be compared still.
    pub fn terms(&self) -> (Vec<Term>, Vec<usize>) {
        let (mut terms, mut units) = (Vec::new(), Vec::new());
        for (n, unit) in self.units.iter().enumerate() {
            for term in unit.terms() {
                if !terms.contains(&term) {
                    terms.push(term);
                    units.push(n);
                }
            }
        }
        (terms, units)
    }

    /// Where in a text it stands; `None` where something of it is missing.
    pub fn find(&self, text: &str) -> Option<Match> {
        let atoms = atoms(text);
        let (mut marks, mut times): (Vec<Range<usize>>, Vec<usize>) = (Vec::new(), Vec::new());
        for unit in &self.units {
            let before = marks.len();
            marks.extend(unit.places(&atoms));
            if marks.len() == before {
                return None;
            }
            times.push(marks.len() - before);
        }
        marks.sort_unstable_by_key(|mark| (mark.start, mark.end));
        let mut apart: Vec<Range<usize>> = Vec::with_capacity(marks.len());
        for mark in marks {
            match apart.last_mut() {
                Some(last) if mark.start <= last.end => last.end = last.end.max(mark.end),
                _ => apart.push(mark),
            }
        }
        Some(Match { marks: apart, times, words: atoms.len() })
    }
}

impl Unit {
    fn last_word_chars(&self) -> usize {
        self.atoms.last().filter(|atom| atom.kind == AtomKind::Word).map_or(0, |atom| atom.text.chars().count())
    }

    fn terms(&self) -> Vec<Term> {
        let mut out = Vec::new();
        for (n, atom) in self.atoms.iter().enumerate() {
            let next = self.atoms.get(n + 1);
            let joined = next.filter(|next| next.kind == AtomKind::Joined);
            match (atom.kind, joined) {
                (AtomKind::Word, _) if self.is_open && next.is_none() => out.push(Term::Beginning(atom.text.clone())),
                (AtomKind::Word, _) => out.push(Term::Whole(atom.text.clone())),
                (_, Some(next)) => out.push(Term::Whole(format!("{}{}", atom.text, next.text))),
                // Every character begins a term; it is the second of one that is looked for already where it is joined.
                (AtomKind::Character, None) => out.push(Term::Beginning(atom.text.clone())),
                (AtomKind::Joined, None) => {}
            }
        }
        out
    }

    fn places<'a>(&'a self, text: &'a [Atom]) -> impl Iterator<Item = Range<usize>> + 'a {
        let last = self.atoms.len().saturating_sub(1);
        text.windows(self.atoms.len().max(1)).filter_map(move |part| {
            let stands = part.iter().zip(&self.atoms).enumerate().all(|(n, (there, wanted))| {
                let is_open = self.is_open && n == last && wanted.kind == AtomKind::Word;
                let same = if is_open { there.text.starts_with(&wanted.text) } else { there.text == wanted.text };
                same && (wanted.kind != AtomKind::Joined || there.kind == AtomKind::Joined)
            });
            let (first, last) = (part.first()?, part.last()?);
            stands.then_some(first.range.start..last.range.end)
        })
    }
}

/// Letters before a `*`: one would be the beginning of a good part of all words.
const OPEN_CHARS_MIN: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(units: &[(&str, bool)]) -> Pattern {
        let mut pattern = Pattern::default();
        for (text, is_open) in units {
            pattern.add(text, *is_open);
        }
        pattern
    }

    fn marked(units: &[(&str, bool)], text: &str) -> Option<Vec<String>> {
        let found = pattern(units).find(text)?;
        Some(found.marks.into_iter().map(|mark| text[mark].to_owned()).collect())
    }

    #[test]
    fn all_units_must_stand_in_the_text() {
        let text = "The Compiler compiles; the compiler's tests pass.";
        assert_eq!(marked(&[("compiler", false), ("TESTS", false)], text).unwrap(), ["Compiler", "compiler", "tests"]);
        assert_eq!(marked(&[("compiler", false), ("fails", false)], text), None);
        assert_eq!(marked(&[("comp", true)], text).unwrap(), ["Compiler", "compiles", "compiler"]);
        assert_eq!(marked(&[("comp", false)], text), None);
    }

    #[test]
    fn words_of_a_unit_stand_one_behind_the_other() {
        let text = "a zig build, and a build of zig";
        assert_eq!(marked(&[("zig build", false)], text).unwrap(), ["zig build"]);
        assert_eq!(marked(&[("build zig", false)], text), None);
        assert_eq!(marked(&[("and a bu", true)], text).unwrap(), ["and a build"]);
    }

    #[test]
    fn characters_without_spaces_are_found_anywhere() {
        assert_eq!(marked(&[("京都", false)], "東京都に行く").unwrap(), ["京都"]);
        assert_eq!(marked(&[("都", false)], "東京都").unwrap(), ["都"]);
        assert_eq!(marked(&[("東都", false)], "東京都"), None);
        assert_eq!(marked(&[("東京", false)], "東 京"), None);
        assert_eq!(pattern(&[("東京都", false)]).terms().0, [Term::Whole("東京".into()), Term::Whole("京都".into())]);
        assert_eq!(pattern(&[("都", false)]).terms().0, [Term::Beginning("都".into())]);
    }

    #[test]
    fn marks_do_not_overlap() {
        assert_eq!(marked(&[("one two", false), ("two three", false)], "one two three").unwrap(), ["one two three"]);
    }
}
