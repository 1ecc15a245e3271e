//! Completing what is being typed with Tab: people by who spoke last, commands by their names.

use crate::tui::draft::{Draft, Word};

/// A completion that Tab may go on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    candidates: Vec<String>,
    next: usize,
    /// Characters before the cursor that the next candidate replaces.
    inserted: usize,
}

impl Completion {
    /// What could stand for `word`; none when nothing could. `people` come in the order in which to offer them.
    pub fn begin(word: &Word, people: &[String], commands: &[&str]) -> Option<Self> {
        let candidates: Vec<String> = if word.is_first && word.text.starts_with('/') {
            commands.iter().filter(|name| name.starts_with(&word.text)).map(|name| format!("{name} ")).collect()
        } else if let Some(part) = word.text.strip_prefix('@') {
            named(people, part).map(|name| format!("@{name} ")).collect()
        } else if word.is_first {
            named(people, &word.text).map(|name| format!("{name}: ")).collect()
        } else {
            return None;
        };
        let inserted = word.text.chars().count();
        (!candidates.is_empty()).then_some(Self { candidates, next: 0, inserted })
    }

    /// What could stand for a word that is to be one of these.
    pub fn one_of(word: &Word, names: &[String]) -> Option<Self> {
        let candidates: Vec<String> = named(names, &word.text).map(|name| format!("{name} ")).collect();
        let inserted = word.text.chars().count();
        (!candidates.is_empty()).then_some(Self { candidates, next: 0, inserted })
    }

    /// Puts the next candidate in the place of the word, or of the candidate before.
    pub fn step(&mut self, draft: &mut Draft) {
        let candidate = &self.candidates[self.next % self.candidates.len()];
        draft.replace(self.inserted, candidate);
        self.inserted = candidate.chars().count();
        self.next += 1;
    }

    /// Whether Tab has anything else to offer.
    pub fn is_choice(&self) -> bool {
        self.candidates.len() > 1
    }
}

fn named<'a>(people: &'a [String], part: &str) -> impl Iterator<Item = &'a String> {
    let part = part.to_lowercase();
    people.iter().filter(move |name| name.to_lowercase().starts_with(&part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(typed: &str, tabs: usize) -> String {
        let people = ["Alice".to_owned(), "albert".to_owned(), "ben".to_owned()];
        let mut draft = Draft::default();
        draft.set(typed);
        let word = draft.word();
        let completion = word.and_then(|word| Completion::begin(&word, &people, &["/help", "/invite", "/join"]));
        if let Some(mut completion) = completion {
            (0..tabs).for_each(|_| completion.step(&mut draft));
        }
        draft.text()
    }

    #[test]
    fn names_complete_in_order_and_go_round() {
        assert_eq!(complete("al", 1), "Alice: ");
        assert_eq!(complete("al", 2), "albert: ");
        assert_eq!(complete("al", 3), "Alice: ");
        assert_eq!(complete("hello @B", 1), "hello @ben ");
        assert_eq!(complete("@", 3), "@ben ");
    }

    #[test]
    fn commands_complete_only_at_the_start() {
        assert_eq!(complete("/i", 1), "/invite ");
        assert_eq!(complete("see /i", 1), "see /i");
    }

    #[test]
    fn other_words_are_left_alone() {
        assert_eq!(complete("hello al", 1), "hello al");
        assert_eq!(complete("zoe", 1), "zoe");
    }
}
