//! What is being written in a room: the text, where its cursor is, and whether it is new, an answer or an edit.
//! A draft is dropped only when its text has been handed over to be sent.

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Widget;
use ratatui_textarea::{CursorMove, TextArea, WrapMode};

use crate::text::typed;
use crate::tui::field::is_control;

/// Text that is being written.
#[derive(Debug, Clone)]
pub struct Draft {
    area: TextArea<'static>,
    about: About,
}

/// What a draft is to become.
#[derive(Debug, Clone, Default)]
pub enum About {
    /// A message.
    #[default]
    New,
    /// An answer to this message.
    Reply(String),
    /// A new text for this message; afterwards one goes on with what was being written before.
    Edit {
        /// The message.
        event: String,
        /// What it said.
        was: String,
        /// What was being written.
        before: Box<Draft>,
    },
}

/// The word in front of the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The word, with its `@` or `/`.
    pub text: String,
    /// Whether the text begins with it.
    pub is_first: bool,
}

impl Default for Draft {
    fn default() -> Self {
        Self { area: area(String::new()), about: About::New }
    }
}

impl Draft {
    /// The text as it would be sent.
    pub fn text(&self) -> String {
        typed(&self.area.lines().join("\n"))
    }

    /// Whether nothing but space has been written.
    pub fn is_blank(&self) -> bool {
        self.area.lines().iter().all(|line| line.trim().is_empty())
    }

    /// Whether there is no text at all.
    pub fn is_empty(&self) -> bool {
        self.area.is_empty()
    }

    /// What it is to become.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The text area, to be drawn.
    pub fn area(&self) -> &TextArea<'static> {
        &self.area
    }

    /// Takes a key of the editor.
    pub fn key(&mut self, key: KeyEvent) {
        match key.code {
            KeyCode::Char('u') if is_control(key) => {
                self.area.delete_line_by_head();
            }
            KeyCode::Char('z') if is_control(key) => {
                self.area.undo();
            }
            // A clipboard of our own would only surprise; Control-M and Control-H are Enter and Backspace already.
            KeyCode::Char('c' | 'x' | 'm' | 'v') if is_control(key) => {}
            KeyCode::Char(_) if self.is_full() => {}
            _ => {
                self.area.input(key);
            }
        }
    }

    /// Begins a new line.
    pub fn newline(&mut self) {
        if !self.is_full() {
            self.area.insert_newline();
        }
    }

    /// Takes pasted text. Returns false, and takes nothing, when it would become too long.
    pub fn paste(&mut self, text: &str) -> bool {
        let fits = self.len() + text.len() <= DRAFT_LEN_MAX;
        if fits {
            self.area.insert_str(typed(text));
        }
        fits
    }

    /// The text becomes this, and the cursor goes to its end.
    pub fn set(&mut self, text: &str) {
        self.area = area(typed(text));
    }

    /// Puts text back in front of what is there: it could not be sent.
    pub fn put_back(&mut self, text: &str) {
        let now = self.text();
        self.set(&if now.trim().is_empty() { text.to_owned() } else { format!("{text}\n{now}") });
    }

    /// It becomes an answer to `event`.
    pub fn reply(&mut self, event: &str) {
        self.leave_about();
        self.about = About::Reply(event.to_owned());
    }

    /// It becomes an edit of `event`, which says `text`.
    pub fn edit(&mut self, event: &str, text: &str) {
        self.leave_about();
        let before = Box::new(std::mem::take(self));
        self.about = About::Edit { event: event.to_owned(), was: text.to_owned(), before };
        self.set(text);
    }

    /// It is a new message again; after an edit, the one that was being written before. Returns false if it already was.
    pub fn leave_about(&mut self) -> bool {
        match std::mem::take(&mut self.about) {
            About::New => return false,
            About::Reply(_) => {}
            About::Edit { before, .. } => *self = *before,
        }
        true
    }

    /// Hands over text and purpose, and starts over.
    pub fn take(&mut self) -> (String, About) {
        let text = self.text();
        let about = std::mem::take(&mut self.about);
        *self = match &about {
            About::Edit { before, .. } => (**before).clone(),
            _ => Self::default(),
        };
        (text, about)
    }

    /// Rows that the text takes when a row has `cells`.
    pub fn rows(&self, cells: u16) -> u16 {
        // The text area alone knows how it wraps, and tells only once it has been drawn.
        let mut area = self.area.clone();
        let narrow = Rect::new(0, 0, cells.max(1), 1);
        area.render(narrow, &mut Buffer::empty(narrow));
        area.move_cursor(CursorMove::Bottom);
        area.move_cursor(CursorMove::End);
        u16::try_from(area.screen_cursor().row + 1).unwrap_or(u16::MAX)
    }

    /// The word that ends at the cursor; none when a space stands there.
    pub fn word(&self) -> Option<Word> {
        let (row, column) = self.cursor();
        let before: String = self.area.lines().get(row)?.chars().take(column).collect();
        let start = before
            .rfind(char::is_whitespace)
            .map_or(0, |at| at + before[at..].chars().next().map_or(0, char::len_utf8));
        let text = before[start..].to_owned();
        (!text.is_empty()).then_some(Word { text, is_first: row == 0 && start == 0 })
    }

    /// Replaces the last `count` characters before the cursor.
    pub fn replace(&mut self, count: usize, text: &str) {
        for _ in 0..count {
            self.area.delete_char();
        }
        self.area.insert_str(text);
    }

    /// Whether the cursor stands behind everything.
    pub fn is_at_end(&self) -> bool {
        let (row, column) = self.cursor();
        let lines = self.area.lines();
        row + 1 == lines.len() && lines.last().is_some_and(|line| line.chars().count() == column)
    }

    fn cursor(&self) -> (usize, usize) {
        let cursor = self.area.cursor();
        (cursor.0, cursor.1)
    }

    fn len(&self) -> usize {
        self.area.lines().iter().map(|line| line.len() + 1).sum()
    }

    fn is_full(&self) -> bool {
        self.len() >= DRAFT_LEN_MAX
    }
}

fn area(text: String) -> TextArea<'static> {
    let mut area = TextArea::from(text.split('\n'));
    area.set_wrap_mode(WrapMode::WordOrGlyph);
    area.set_cursor_line_style(Style::default());
    // The terminal's own cursor stands there instead: input methods and screen readers look for it.
    area.set_cursor_style(Style::default());
    area.move_cursor(CursorMove::Bottom);
    area.move_cursor(CursorMove::End);
    area
}

/// Bytes of a draft: more than any message may have, so that the node is the one to say what is too long.
const DRAFT_LEN_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crossterm::event::KeyModifiers;

    fn write(draft: &mut Draft, text: &str) {
        for c in text.chars() {
            draft.key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE));
        }
    }

    #[test]
    fn pasted_escape_sequences_do_not_get_in() {
        let mut draft = Draft::default();
        assert!(draft.paste("a\u{1b}[31m\r\nb\tc\u{202e}"));
        assert_eq!(draft.text(), "a[31m\nb\tc");
    }

    #[test]
    fn draft_is_bounded() {
        let mut draft = Draft::default();
        assert!(!draft.paste(&"x".repeat(DRAFT_LEN_MAX)));
        assert!(draft.is_empty());
        assert!(draft.paste(&"x".repeat(DRAFT_LEN_MAX - 1)));
        write(&mut draft, "yy");
        assert!(!draft.text().contains('y'));
    }

    #[test]
    fn edit_keeps_what_was_being_written() {
        let mut draft = Draft::default();
        write(&mut draft, "half a thought");
        draft.edit("m1", "old text");
        assert_eq!(draft.text(), "old text");
        assert!(draft.leave_about());
        assert_eq!(draft.text(), "half a thought");
        draft.edit("m1", "old text");
        write(&mut draft, "!");
        let (text, about) = draft.take();
        assert_eq!(text, "old text!");
        assert!(matches!(about, About::Edit { event, .. } if event == "m1"));
        assert_eq!(draft.text(), "half a thought");
        assert!(!draft.leave_about());
    }

    #[test]
    fn text_put_back_stands_before_what_was_typed_since() {
        let mut draft = Draft::default();
        write(&mut draft, "second");
        draft.put_back("first");
        assert_eq!(draft.text(), "first\nsecond");
    }

    #[test]
    fn word_before_the_cursor_is_found() {
        let mut draft = Draft::default();
        assert_eq!(draft.word(), None);
        write(&mut draft, "al");
        assert_eq!(draft.word(), Some(Word { text: "al".into(), is_first: true }));
        write(&mut draft, " é @b");
        assert_eq!(draft.word(), Some(Word { text: "@b".into(), is_first: false }));
        draft.replace(2, "@ben ");
        assert_eq!(draft.text(), "al é @ben ");
        assert_eq!(draft.word(), None);
    }

    #[test]
    fn rows_follow_the_width() {
        let mut draft = Draft::default();
        assert_eq!(draft.rows(10), 1);
        write(&mut draft, "one two three four");
        assert_eq!(draft.rows(10), 2);
        draft.newline();
        assert_eq!(draft.rows(40), 2);
        assert_eq!(draft.rows(0), draft.rows(1));
    }
}
