//! What a message says, as rows of styled text: links underlined, one's own name marked, long texts folded.

use std::ops::Range;

use ratatui::style::Style;
use ratatui::text::Span;
use unicode_segmentation::UnicodeSegmentation;

use crate::api::types::{HIDDEN_BY_MODERATOR, HIDDEN_BY_SLOW_MODE, Message};
use crate::text::SafeText;
use crate::tui::names::{clean, name_of_others};
use crate::tui::theme::Theme;
use crate::tui::wrap::wrap;

/// How a message's text is to be shown.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// Cells of a row.
    pub cells: usize,
    /// Colours.
    pub theme: Theme,
    /// A name to mark; empty for none.
    pub mention: &'a str,
    /// All of a long text, not only its beginning; also of one that is folded for another reason.
    pub is_unfolded: bool,
    /// Who folds it; empty for nobody.
    pub hidden_by: &'a str,
}

/// The rows of a message's text.
pub fn rows(message: &Message, look: Look<'_>) -> Vec<Vec<Span<'static>>> {
    let dim = look.theme.dim();
    if message.erased {
        return styled("(message erased)", &[(0..16, dim)], look.cells);
    }
    if message.purged {
        return styled(PURGED, &[(0..PURGED.len(), dim)], look.cells);
    }
    let says_nothing = message.text.is_empty() && message.file.is_none();
    if message.hidden.is_some() && (!look.is_unfolded || says_nothing) {
        let why = format!("({}{})", why_hidden(message, look.hidden_by), if says_nothing { "" } else { UNFOLD });
        return styled(&why, &[(0..why.len(), dim)], look.cells);
    }
    let mut text = SafeText::block(&message.text).to_string();
    text.truncate(text.trim_end().len());
    if let Some(file) = &message.file {
        let line = SafeText::line(&file.line()).to_string();
        text = if text.is_empty() { line } else { format!("{line}\n{text}") };
    }
    let mut marks = marks(&text, look);
    if message.hidden.is_some() {
        let why = format!("({})\n", why_hidden(message, look.hidden_by));
        marks.iter_mut().for_each(|(range, _)| *range = range.start + why.len()..range.end + why.len());
        marks.insert(0, (0..why.len(), dim));
        text.insert_str(0, &why);
    }
    if text.is_empty() {
        text = "(a message that this version cannot show)".to_owned();
        marks = vec![(0..text.len(), dim)];
    }
    if message.edited {
        let end = text.len();
        text.push_str(" (edited)");
        marks.push((end..text.len(), dim));
    }
    let mut rows = styled(&text, &marks, look.cells);
    if rows.len() > FOLDED_ROWS + FOLDED_SLACK && !look.is_unfolded {
        let more = rows.len() - FOLDED_ROWS;
        rows.truncate(FOLDED_ROWS);
        rows.push(vec![Span::styled(format!("… {more} more lines: select it and press Enter"), dim)]);
    }
    rows
}

/// The first words of a message, on one line.
pub fn excerpt(message: &Message) -> String {
    if message.erased {
        return "(message erased)".to_owned();
    }
    if message.purged {
        return PURGED.to_owned();
    }
    if message.hidden.is_some() {
        let by = message.hidden_by_name.as_deref().map(name_of_others).unwrap_or_default();
        return format!("({})", why_hidden(message, &by));
    }
    if let Some(file) = message.file.as_ref().filter(|_| message.text.trim().is_empty()) {
        return SafeText::line(&file.line()).to_string();
    }
    let beginning: String = message.text.chars().take(EXCERPT_CHARS).collect();
    SafeText::line(beginning.trim()).to_string()
}

/// Why a message is not shown.
fn why_hidden(message: &Message, by: &str) -> String {
    match message.hidden.as_deref() {
        Some(HIDDEN_BY_MODERATOR) if by.is_empty() => "hidden by a moderator".to_owned(),
        Some(HIDDEN_BY_MODERATOR) => format!("hidden by {by}"),
        Some(HIDDEN_BY_SLOW_MODE) => "folded: too soon for this room's slow mode".to_owned(),
        _ => REVOKED.to_owned(),
    }
}

/// Plain text in rows, all of one style.
pub fn plain(text: &str, style: Style, cells: usize) -> Vec<Vec<Span<'static>>> {
    styled(text, &[(0..text.len(), style)], cells)
}

/// Wraps `text` and gives the marked ranges their styles. Marks do not overlap and come in order.
fn styled(text: &str, marks: &[(Range<usize>, Style)], cells: usize) -> Vec<Vec<Span<'static>>> {
    let row = |row: Range<usize>| {
        let mut spans = Vec::new();
        let mut at = row.start;
        for (range, style) in marks {
            let (start, end) = (range.start.max(at), range.end.min(row.end));
            if start >= end {
                continue;
            }
            if at < start {
                spans.push(Span::raw(text[at..start].to_owned()));
            }
            spans.push(Span::styled(text[start..end].to_owned(), *style));
            at = end;
        }
        if at < row.end {
            spans.push(Span::raw(text[at..row.end].to_owned()));
        }
        spans
    };
    wrap(text, cells).into_iter().map(row).collect()
}

fn marks(text: &str, look: Look<'_>) -> Vec<(Range<usize>, Style)> {
    let mut marks = links(text, look.theme.link());
    marks.extend(mentions(text, look.mention, look.theme.mention()));
    marks.sort_by_key(|(range, _)| range.start);
    marks
}

fn links(text: &str, style: Style) -> Vec<(Range<usize>, Style)> {
    let mut found = Vec::new();
    for word in text.split_whitespace() {
        let Some(at) = LINK_BEGINNINGS.iter().filter_map(|beginning| word.find(beginning)).min() else { continue };
        // `split_whitespace` gives slices of `text`: the difference of their addresses is the offset.
        let start = word.as_ptr() as usize - text.as_ptr() as usize + at;
        let link = word[at..].trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '>', '"', '\'']);
        found.push((start..start + link.len(), style));
    }
    found
}

fn mentions(text: &str, name: &str, style: Style) -> Vec<(Range<usize>, Style)> {
    if name.is_empty() {
        return Vec::new();
    }
    let name = clean(name);
    let ends: Vec<usize> = text.split_word_bound_indices().map(|(at, word)| at + word.len()).collect();
    let starts = text.split_word_bound_indices().map(|(at, _)| at);
    let found = starts.filter_map(|at| Some(at..at + beginning(&text[at..], &name)?));
    found.filter(|range| ends.binary_search(&range.end).is_ok()).map(|range| (range, style)).collect()
}

/// Bytes of `text` that say `name`, however it is written.
fn beginning(text: &str, name: &str) -> Option<usize> {
    let mut said = text.char_indices();
    for wanted in name.chars() {
        let (_, c) = said.next()?;
        if !c.to_lowercase().eq(wanted.to_lowercase()) {
            return None;
        }
    }
    Some(said.offset())
}

const LINK_BEGINNINGS: [&str; 3] = ["https://", "http://", "tidings://"];
/// Rows of a message that are shown before one asks for more: half a screen.
const FOLDED_ROWS: usize = 12;
/// Folding that would hide less than this only costs a key.
const FOLDED_SLACK: usize = 3;
const EXCERPT_CHARS: usize = 200;

/// In place of what a revoked device says, where its room does not know that yet.
const REVOKED: &str = "hidden: the device that wrote this was revoked by its user";
/// How a folded message is read all the same.
const UNFOLD: &str = " · select it and press Enter to read it";
/// What stands for a message that this node has purged.
const PURGED: &str = "(purged on this node)";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixtures::message;

    fn look(cells: usize) -> Look<'static> {
        Look { cells, theme: Theme::Coloured, mention: "ana", is_unfolded: false, hidden_by: "ben" }
    }

    fn text(rows: &[Vec<Span<'_>>]) -> Vec<String> {
        rows.iter().map(|row| row.iter().map(|span| span.content.as_ref()).collect()).collect()
    }

    #[test]
    fn links_and_mentions_are_marked() {
        let said = message("m", "ben", 1, "Ana: see (https://zig.dev/x?y=1). banana");
        let rows = rows(&said, look(80));
        let marked: Vec<&str> =
            rows[0].iter().filter(|span| span.style != Style::default()).map(|span| span.content.as_ref()).collect();
        assert_eq!(marked, ["Ana", "https://zig.dev/x?y=1"]);
    }

    #[test]
    fn names_are_found_only_as_whole_words() {
        let found = |text: &str, name: &str| {
            mentions(text, name, Style::default())
                .into_iter()
                .map(|(range, _)| text[range].to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(found("hi ana maria, ANA MARIA!", "Ana Maria"), ["ana maria", "ANA MARIA"]);
        assert_eq!(found("@ÉMILE, émilee", "émile"), ["ÉMILE"]);
        assert_eq!(found("x", ""), [""; 0]);
    }

    #[test]
    fn broken_link_keeps_its_style() {
        let rows = rows(&message("m", "ben", 1, "https://example.org/a/very/long/path"), look(12));
        assert!(rows.len() > 2);
        assert!(rows.iter().flatten().all(|span| span.style == Theme::Coloured.link()));
    }

    #[test]
    fn long_text_is_folded_until_asked() {
        let said = message("m", "ben", 1, &"line\n".repeat(40));
        let folded = rows(&said, look(60));
        assert_eq!(folded.len(), FOLDED_ROWS + 1);
        assert_eq!(text(&folded)[FOLDED_ROWS], "… 28 more lines: select it and press Enter");
        assert_eq!(rows(&said, Look { is_unfolded: true, ..look(60) }).len(), 40);
    }

    #[test]
    fn states_of_a_message_are_told() {
        let mut said = message("m", "ben", 1, "new text\n\n");
        said.edited = true;
        assert_eq!(text(&rows(&said, look(60))), ["new text (edited)"]);
        said.erased = true;
        assert_eq!(text(&rows(&said, look(60))), ["(message erased)"]);
        assert_eq!(excerpt(&said), "(message erased)");
        (said.erased, said.hidden, said.text) = (false, Some("device_revoked".into()), String::new());
        let revoked = format!("({REVOKED})");
        assert_eq!((text(&rows(&said, look(80))).concat(), excerpt(&said)), (revoked.clone(), revoked));
        let unknown = message("m", "ben", 1, "");
        assert_eq!(text(&rows(&unknown, look(60))), ["(a message that this version cannot show)"]);
    }

    #[test]
    fn folded_messages_say_why_and_what_they_say_when_asked() {
        let mut said = message("m", "ben", 1, "see https://zig.dev");
        (said.hidden, said.hidden_by_name) = (Some(HIDDEN_BY_MODERATOR.into()), Some("ben ✓".into()));
        assert_eq!(text(&rows(&said, look(80))), ["(hidden by ben · select it and press Enter to read it)"]);
        assert_eq!(excerpt(&said), "(hidden by ben)");
        let unfolded = rows(&said, Look { is_unfolded: true, ..look(80) });
        assert_eq!(text(&unfolded), ["(hidden by ben)", "see https://zig.dev"]);
        assert_eq!(unfolded[1][1].style, Theme::Coloured.link());
        said.hidden = Some(HIDDEN_BY_SLOW_MODE.into());
        assert!(text(&rows(&said, look(80)))[0].starts_with("(folded: too soon for this room's slow mode ·"));
    }

    #[test]
    fn hostile_text_is_disarmed() {
        let said = message("m", "ben", 1, "a\u{1b}[2J\u{202e}b\nc");
        assert_eq!(text(&rows(&said, look(60))), ["a\u{fffd}[2J\u{fffd}b", "c"]);
        assert_eq!(excerpt(&said), "a\u{fffd}[2J\u{fffd}b c");
    }
}
