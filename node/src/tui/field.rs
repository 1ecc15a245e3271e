//! One line of input: a name, a search, an emoji.

use crossterm::event::{KeyCode, KeyEvent};
use ratatui_textarea::{CursorMove, TextArea};

use crate::text::typed;

/// A line that is being typed.
#[derive(Debug, Clone, Default)]
pub struct Field {
    area: TextArea<'static>,
}

impl Field {
    /// What has been typed.
    pub fn text(&self) -> &str {
        self.area.lines().first().map_or("", String::as_str)
    }

    /// What stands before the cursor.
    pub fn before_cursor(&self) -> String {
        self.text().chars().take(self.area.cursor().1).collect()
    }

    /// Takes a key; those that would make a second line are left out.
    pub fn key(&mut self, key: KeyEvent) {
        match key.code {
            KeyCode::Enter | KeyCode::Tab | KeyCode::PageUp | KeyCode::PageDown => {}
            KeyCode::Char('u') if is_control(key) => {
                self.area.delete_line_by_head();
            }
            // Control with j or m is a newline to the text area, and c, x, y belong to a clipboard that is not there.
            KeyCode::Char('j' | 'm' | 'c' | 'x' | 'y') if is_control(key) => {}
            _ => {
                self.area.input(key);
            }
        }
    }

    /// Takes pasted text, its lines joined.
    pub fn paste(&mut self, text: &str) {
        self.area.insert_str(typed(text).replace(['\n', '\t'], " "));
    }

    /// Starts over with this text, the cursor behind it.
    pub fn set(&mut self, text: &str) {
        self.area = TextArea::from([typed(text).replace(['\n', '\t'], " ")]);
        self.area.move_cursor(CursorMove::End);
    }
}

/// Whether the key was pressed with Control alone.
pub fn is_control(key: KeyEvent) -> bool {
    use crossterm::event::KeyModifiers;
    key.modifiers.contains(KeyModifiers::CONTROL) && !key.modifiers.contains(KeyModifiers::ALT)
}

/// Whether the key was pressed with Alt alone.
pub fn is_alt(key: KeyEvent) -> bool {
    use crossterm::event::KeyModifiers;
    key.modifiers.contains(KeyModifiers::ALT) && !key.modifiers.contains(KeyModifiers::CONTROL)
}
