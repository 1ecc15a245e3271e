//! Text in cells of a terminal: its width, cut to fit, broken into rows. Input is already safe text.

use std::ops::Range;

use ratatui::buffer::CellWidth;
use unicode_segmentation::UnicodeSegmentation;

/// Cells that `text` takes on one row.
pub fn width(text: &str) -> usize {
    text.graphemes(true).map(|grapheme| usize::from(grapheme.cell_width())).sum()
}

/// `text`, or its beginning and an ellipsis, in at most `cells`.
pub fn fit(text: &str, cells: usize) -> String {
    if width(text) <= cells {
        return text.to_owned();
    }
    let mut room = cells.saturating_sub(1);
    let kept = text.graphemes(true).take_while(|grapheme| {
        let cells = usize::from(grapheme.cell_width());
        let fits = cells <= room;
        room = room.saturating_sub(cells);
        fits
    });
    let kept: String = kept.collect();
    if cells == 0 { String::new() } else { kept + "…" }
}

/// Byte ranges of the rows of `text` when a row has `cells`: broken at newlines, else after the last space or wide
/// character that fits, else anywhere. Spaces at a break hang over the edge and are left out.
pub fn wrap(text: &str, cells: usize) -> Vec<Range<usize>> {
    let cells = cells.max(1);
    let mut rows = Vec::new();
    let mut offset = 0;
    for line in text.split('\n') {
        wrap_line(line, offset, cells, &mut rows);
        offset += line.len() + 1;
    }
    rows
}

fn wrap_line(line: &str, offset: usize, cells: usize, rows: &mut Vec<Range<usize>>) {
    let mut start = 0;
    let mut used = 0;
    // Where this row may end, where the next then begins, and the cells used up to there.
    let mut split: Option<(usize, usize, usize)> = None;
    for (at, grapheme) in line.grapheme_indices(true) {
        let wide = usize::from(grapheme.cell_width());
        let space = grapheme == " ";
        if used + wide > cells && !space && at > start {
            let unbroken = start + line[start..at].trim_end_matches(' ').len();
            let (end, next, before) = split.take().unwrap_or((unbroken, at, used));
            rows.push(offset + start..offset + end);
            start = next;
            used -= before;
        }
        used += wide;
        let after = at + grapheme.len();
        if space {
            let end = split.filter(|(_, next, _)| *next == at).map_or(at, |(end, _, _)| end);
            // Indentation is kept: a row does not end before its first word.
            if !line[start..at].trim_start().is_empty() {
                split = Some((end, after, used));
            }
        } else if wide > 1 {
            split = Some((after, after, used));
        }
    }
    rows.push(offset + start..offset + start + line[start..].trim_end_matches(' ').len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(text: &str, cells: usize) -> Vec<&str> {
        wrap(text, cells).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn words_stay_whole_where_they_can() {
        assert_eq!(rows("the quick brown fox", 10), ["the quick", "brown fox"]);
        assert_eq!(rows("the quick  brown", 9), ["the quick", "brown"]);
        assert_eq!(rows("abcdefghij kl", 4), ["abcd", "efgh", "ij", "kl"]);
        assert_eq!(rows("a abcdefgh", 4), ["a", "abcd", "efgh"]);
        assert_eq!(rows("one\n\ntwo", 10), ["one", "", "two"]);
        assert_eq!(rows("", 10), [""]);
        assert_eq!(rows("    indented code", 12), ["    indented", "code"]);
        assert_eq!(rows("   é", 2), ["", "é"]);
    }

    #[test]
    fn wide_characters_break_anywhere_and_never_in_half() {
        assert_eq!(rows("你好世界", 5), ["你好", "世界"]);
        assert_eq!(rows("a👩‍💻b", 2), ["a", "👩‍💻", "b"]);
        assert_eq!(rows("你", 1), ["你"]);
    }

    #[test]
    fn fitting_marks_what_was_cut() {
        assert_eq!(fit("general", 7), "general");
        assert_eq!(fit("general", 5), "gene…");
        assert_eq!(fit("你好世界", 5), "你好…");
        assert_eq!(fit("x", 0), "");
    }

    proptest! {
        #[test]
        fn rows_fit_and_keep_every_word(text in "[a-z 你é\n]{0,80}", cells in 2usize..20) {
            let rows = rows(&text, cells);
            prop_assert!(rows.iter().all(|row| width(row) <= cells), "{:?}", rows);
            let kept: String = rows.concat().split([' ', '\n']).collect();
            prop_assert_eq!(kept, text.split([' ', '\n']).collect::<String>());
        }
    }
}
