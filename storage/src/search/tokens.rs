//! From text to what is indexed and looked for. Letters, digits and marks make words, all else stands between them; words
//! are compared by NFKC and without case. Scripts that put no spaces between words are indexed by pairs of characters.

use std::ops::Range;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The smallest thing that is looked for: a word, or a character of a script without spaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Atom {
    /// Where it stands in the text.
    pub range: Range<usize>,
    /// What it is compared by.
    pub text: String,
    /// Which of the two.
    pub kind: AtomKind,
}

/// What an atom is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtomKind {
    /// A word.
    Word,
    /// A character of a script without spaces.
    Character,
    /// The same, and nothing stands between it and the character before.
    Joined,
}

/// Text as it is compared: NFKC, and without case.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    fold_into(text, &mut folded);
    folded
}

/// The atoms of a text, in order.
pub fn atoms(text: &str) -> Vec<Atom> {
    let mut out: Vec<Atom> = Vec::new();
    each_part(text, |range, part| {
        if !part.starts_with(is_unspaced) {
            out.push(Atom { range, text: part.to_owned(), kind: AtomKind::Word });
            return;
        }
        // Where folding left as many characters, each has a place of its own.
        let original = text.get(range.clone()).unwrap_or_default();
        let one_to_one = original.chars().count() == part.chars().count();
        let mut places = original.char_indices().map(|(at, c)| range.start + at..range.start + at + c.len_utf8());
        for (n, c) in part.chars().enumerate() {
            let place = places.next().filter(|_| one_to_one).unwrap_or(range.clone());
            let kind = if n > 0 { AtomKind::Joined } else { AtomKind::Character };
            out.push(Atom { range: place, text: c.to_string(), kind });
        }
    });
    out
}

/// Every term by which a text is indexed; some come more than once.
pub fn terms(text: &str, mut term: impl FnMut(&str)) {
    each_part(text, |_, part| {
        if !part.starts_with(is_unspaced) {
            return term(cut(part));
        }
        let mut rest = part;
        while let Some(first) = rest.chars().next() {
            let after = &rest[first.len_utf8()..];
            let second = after.chars().next().map_or(0, char::len_utf8);
            // The last stands alone, so that every character begins a term.
            term(&rest[..first.len_utf8() + second]);
            rest = after;
        }
    });
}

/// A word as far as it is indexed.
pub(super) fn cut(word: &str) -> &str {
    &word[..word.floor_char_boundary(TOKEN_LEN_MAX)]
}

/// Calls for every part of every word that is of one manner of writing: its place in the text, and what it is compared by.
fn each_part(text: &str, mut part: impl FnMut(Range<usize>, &str)) {
    let mut folded = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((start, first)) = chars.next() {
        if !is_of_word(first) {
            continue;
        }
        // A manner of writing ends a part, so that every part keeps its own place.
        let unspaced = is_unspaced(first);
        let mut end = start + first.len_utf8();
        while let Some((at, c)) = chars.peek().copied() {
            let goes_on = is_of_word(c) && (is_unspaced(c) == unspaced || is_combining_mark(c));
            if !goes_on && !is_inside(c) {
                break;
            }
            if goes_on {
                end = at + c.len_utf8();
            }
            chars.next();
        }
        folded.clear();
        fold_into(&text[start..end], &mut folded);
        // Nothing but letters and digits, which is nearly everything, is one part.
        match text[start..end].is_ascii() {
            true => part(start..end, &folded),
            false => each_folded(&folded, |piece| part(start..end, piece)),
        }
    }
}

/// Folding may bring what is no part of a word, or another manner of writing.
fn each_folded(folded: &str, mut piece: impl FnMut(&str)) {
    for word in folded.split(|c: char| !is_of_word(c)).filter(|word| !word.is_empty()) {
        let mut rest = word;
        while let Some(first) = rest.chars().next() {
            let unspaced = is_unspaced(first);
            let differs = |c: char| is_unspaced(c) != unspaced && !is_combining_mark(c);
            let end = rest.find(differs).unwrap_or(rest.len());
            piece(&rest[..end]);
            rest = &rest[end..];
        }
    }
}

fn fold_into(text: &str, folded: &mut String) {
    if text.is_ascii() {
        let start = folded.len();
        folded.push_str(text);
        if let Some(added) = folded.get_mut(start..) {
            added.make_ascii_lowercase();
        }
        return;
    }
    let shown = text.chars().filter(|c| !is_inside(*c));
    // Down, up and down again, because some letters have several of one case: the sharp s, the final sigma.
    let without_case =
        shown.nfkc().flat_map(char::to_lowercase).flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    folded.extend(without_case.nfkc());
}

/// Whether a character is part of a word.
fn is_of_word(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphanumeric() } else { c.is_alphanumeric() || is_combining_mark(c) }
}

/// What stands within words and is not seen: joiners, soft hyphens, marks of direction, styles.
fn is_inside(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

/// Scripts that put no spaces between words, or join to them what stands behind: Thai, Lao, Burmese, Khmer, Chinese,
/// Japanese, Korean.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1100}'..='\u{11ff}' | '\u{1780}'..='\u{17ff}'
        | '\u{2e80}'..='\u{2fdf}' | '\u{3005}'..='\u{3007}' | '\u{3021}'..='\u{3029}' | '\u{3031}'..='\u{30ff}'
        | '\u{3100}'..='\u{318f}' | '\u{31a0}'..='\u{31bf}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{a960}'..='\u{a97f}' | '\u{ac00}'..='\u{d7ff}' | '\u{f900}'..='\u{faff}'
        | '\u{ff65}'..='\u{ffdc}' | '\u{20000}'..='\u{3ffff}')
}

/// Bytes of a word that are indexed: longer ones are found by their beginning, and then compared whole.
pub const TOKEN_LEN_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<String> {
        atoms(text).into_iter().map(|atom| atom.text).collect()
    }

    fn indexed(text: &str) -> Vec<String> {
        let mut out = Vec::new();
        terms(text, |term| out.push(term.to_owned()));
        out
    }

    #[test]
    fn words_are_letters_and_digits_without_case() {
        assert_eq!(
            words("How's zig-0.7.0 doing? See https://ziglang.org/X_y"),
            ["how", "s", "zig", "0", "7", "0", "doing", "see", "https", "ziglang", "org", "x", "y"]
        );
        assert_eq!(words("STRASSE Straße straẞe"), ["strasse"; 3]);
        assert_eq!(words("ΣΊΣΥΦΟΣ σίσυφος"), ["σίσυφοσ"; 2]);
        assert_eq!(words("e\u{301}TÉ été"), ["été", "été"]);
        assert_eq!(words("ﬁne ＦＩＮＥ"), ["fine", "fine"]);
        assert_eq!(words("ad\u{200b}min so\u{ad}ft \u{202e}evil\u{202c}"), ["admin", "soft", "evil"]);
        assert_eq!(words("हिन्दी"), ["हिन्दी"]);
        assert_eq!(words("🎉 *** \0 \u{202e}"), [""; 0]);
    }

    #[test]
    fn scripts_without_spaces_are_indexed_by_pairs() {
        assert_eq!(indexed("東京都 x"), ["東京", "京都", "都", "x"]);
        assert_eq!(words("東京 x"), ["東", "京", "x"]);
        assert_eq!(
            atoms("東京 京").iter().map(|a| a.kind).collect::<Vec<_>>(),
            [AtomKind::Character, AtomKind::Joined, AtomKind::Character]
        );
        assert_eq!(indexed("ｶﾞ"), ["ガ"]);
        assert_eq!(indexed("zig言語"), ["zig", "言語", "語"]);
    }

    #[test]
    fn atoms_know_their_place() {
        let text = "See\u{301} 東京: ﬁn";
        let at: Vec<&str> = atoms(text).iter().map(|atom| &text[atom.range.clone()]).collect();
        assert_eq!(at, ["See\u{301}", "東", "京", "ﬁn"]);
    }

    #[test]
    fn long_words_are_indexed_by_their_beginning() {
        let word = "ä".repeat(1000);
        assert_eq!(indexed(&word), ["ä".repeat(32)]);
        assert_eq!(words(&word), [word]);
    }

    proptest! {
        #[test]
        fn any_text_has_atoms_within_it(text in any::<String>()) {
            for atom in atoms(&text) {
                prop_assert!(text.get(atom.range.clone()).is_some());
                prop_assert!(!atom.text.is_empty());
            }
            terms(&text, |term| assert!(!term.is_empty() && term.len() <= TOKEN_LEN_MAX));
        }

        #[test]
        fn what_is_folded_is_folded_again_to_the_same(text in "[a-zäöüßσςéﬁ東京ｶﾞ①½ ]{0,20}") {
            prop_assert_eq!(words(&words(&text).join(" ")), words(&text));
        }
    }
}
