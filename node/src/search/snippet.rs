//! The part of a text around what matched, in pieces: those that match and those between. The text stays as it was written;
//! whoever shows it makes each piece safe by itself.

use crate::api::search::Piece;
use std::ops::Range;

/// The pieces of a text around its first marks, which ascend.
pub fn of(text: &str, marks: &[Range<usize>]) -> Vec<Piece> {
    let first = marks.first().map_or(0, |mark| mark.start);
    let start = match first > CONTEXT_LEN {
        true => word_begin(text, text.ceil_char_boundary(first - CONTEXT_LEN), first),
        false => 0,
    };
    let end = text.floor_char_boundary(start.saturating_add(SNIPPET_LEN).min(text.len()));
    let mut pieces = Vec::new();
    let mut at = start;
    let mut push = |range: Range<usize>, is_match| {
        if let Some(text) = text.get(range).filter(|text| !text.is_empty()) {
            pieces.push(Piece { text: text.to_owned(), is_match });
        }
    };
    for mark in marks.iter().take_while(|mark| mark.start < end) {
        push(at..mark.start, false);
        push(mark.start..mark.end.min(end), true);
        at = mark.end.min(end);
    }
    push(at..end, false);
    if start > 0 {
        pieces.insert(0, Piece { text: "…".to_owned(), is_match: false });
    }
    if end < text.len() {
        pieces.push(Piece { text: "…".to_owned(), is_match: false });
    }
    pieces
}

/// Where the first word behind `from` begins, if there is one before `to`.
fn word_begin(text: &str, from: usize, to: usize) -> usize {
    let before = text.get(from..to).unwrap_or_default();
    before.find(char::is_whitespace).map_or(from, |space| {
        let rest = &before[space..];
        from + space + (rest.len() - rest.trim_start().len())
    })
}

/// Bytes before the first mark.
const CONTEXT_LEN: usize = 60;
/// Bytes altogether.
const SNIPPET_LEN: usize = 240;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str, marks: &[Range<usize>]) -> String {
        let show = |piece: Piece| if piece.is_match { format!("[{}]", piece.text) } else { piece.text };
        of(text, marks).into_iter().map(show).collect()
    }

    fn one(start: usize, end: usize) -> Vec<Range<usize>> {
        std::iter::once(start..end).collect()
    }

    #[test]
    fn marks_stand_out_and_long_texts_are_cut() {
        assert_eq!(shown("one two three", &one(4, 7)), "one [two] three");
        assert_eq!(shown("one", &[]), "one");
        let long = format!("{} needle {}", "hay ".repeat(100), "hay ".repeat(100));
        let at = long.find("needle").unwrap();
        let text = shown(&long, &one(at, at + 6));
        assert!(text.starts_with("…hay ") && text.contains(" [needle] ") && text.ends_with('…'), "{text}");
        assert!(text.len() < 300);
    }

    proptest! {
        #[test]
        fn any_text_is_cut_between_characters(text in "[aé東🎉 ]{0,200}", n in any::<proptest::sample::Index>()) {
            let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            if !starts.is_empty() {
                let start = *n.get(&starts);
                let end = text.ceil_char_boundary((start + 5).min(text.len()));
                let whole: String = of(&text, &one(start, end)).into_iter().map(|piece| piece.text).collect();
                prop_assert!(whole.len() <= 240 + 2 * '…'.len_utf8());
            }
        }
    }
}
