//! The terminal while the chat has it. However the chat ends, by return, error or panic, the terminal is given back as
//! it was.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Stdout, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::Show;
use crossterm::event::{DisableBracketedPaste, DisableFocusChange, EnableBracketedPaste, EnableFocusChange};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::{Buffer, CellDiffOption};
use ratatui::layout::Rect;

use crate::tui::state::State;
use crate::tui::view::draw;

/// The terminal, taken over until this is dropped.
#[derive(Debug)]
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    /// The ordinary screen is shown for a while.
    is_plain: bool,
    /// Rows of the last drawing that the terminal may have drawn wider than we think.
    uncertain: BTreeSet<u16>,
}

impl Screen {
    /// Takes the terminal over. Fails when there is none.
    pub fn open() -> io::Result<Self> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "standard input and output are not a terminal"));
        }
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                before(panic);
            }));
        });
        TAKEN.store(true, Ordering::SeqCst);
        let opened = Self::take();
        if opened.is_err() {
            give_back();
        }
        opened
    }

    fn take() -> io::Result<Self> {
        enable_raw_mode()?;
        // No mouse: selecting text with it goes on working.
        execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, EnableFocusChange)?;
        Ok(Self {
            terminal: Terminal::new(CrosstermBackend::new(io::stdout()))?,
            is_plain: false,
            uncertain: BTreeSet::new(),
        })
    }

    /// Whether the terminal is still ours: a panic anywhere in the program gives it back, so that its words can be read.
    pub fn is_ours(&self) -> bool {
        TAKEN.load(Ordering::SeqCst)
    }

    /// Columns and rows.
    pub fn size(&self) -> io::Result<(u16, u16)> {
        let size = self.terminal.size()?;
        Ok((size.width, size.height))
    }

    /// Draws the state, unless the ordinary screen is shown.
    pub fn draw(&mut self, state: &State) -> io::Result<()> {
        if !self.is_plain {
            let before = std::mem::take(&mut self.uncertain);
            self.terminal.draw(|frame| {
                draw(state, frame);
                self.uncertain = uncertain_rows(frame.buffer_mut());
                redraw_rows(before.union(&self.uncertain), frame.buffer_mut());
            })?;
        }
        Ok(())
    }

    /// Prints lines on the ordinary screen and stays there. The lines are safe text: the terminal breaks them itself,
    /// so that a long link can be copied whole.
    pub fn show_plain(&mut self, lines: &[String]) -> io::Result<()> {
        self.is_plain = true;
        let mut out = io::stdout();
        execute!(out, LeaveAlternateScreen, Show)?;
        for line in lines {
            write!(out, "{line}\r\n")?;
        }
        write!(out, "\r\nAny key goes back to the chat.\r\n")?;
        out.flush()
    }

    /// Draws everything afresh, on the chat's own screen.
    pub fn redraw(&mut self, state: &State) -> io::Result<()> {
        if self.is_plain {
            self.is_plain = false;
            execute!(io::stdout(), EnterAlternateScreen)?;
        }
        self.terminal.clear()?;
        self.draw(state)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Rows with characters made of several, flags and joined emoji: terminals do not agree how wide these are.
fn uncertain_rows(buffer: &Buffer) -> BTreeSet<u16> {
    let rows = buffer.area.rows();
    let is_uncertain = |row: &Rect| row.positions().any(|cell| buffer[cell].symbol().chars().nth(1).is_some());
    rows.filter(is_uncertain).map(|row| row.y).collect()
}

/// Has rows drawn whole, though little of them changed: what stuck out of its cells is painted over.
fn redraw_rows<'a>(rows: impl Iterator<Item = &'a u16>, buffer: &mut Buffer) {
    let area = buffer.area;
    for y in rows.filter(|y| (area.top()..area.bottom()).contains(y)) {
        for x in area.left()..area.right() {
            buffer[(x, *y)].diff_option = CellDiffOption::AlwaysUpdate;
        }
    }
}

/// Gives the terminal back, once. What fails here cannot be helped any more: the rest is tried all the same.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = disable_raw_mode();
        let _ = execute!(io::stdout(), DisableFocusChange, DisableBracketedPaste, LeaveAlternateScreen, Show);
    }
}

/// Whether the terminal is ours at the moment.
static TAKEN: AtomicBool = AtomicBool::new(false);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_joined_characters_are_drawn_whole() {
        let before = Buffer::with_lines(["plain", "flag 🇩🇪 x", "é 你", "e\u{301}"]);
        let mut now = before.clone();
        assert_eq!(uncertain_rows(&now), BTreeSet::from([1, 3]));
        redraw_rows(BTreeSet::from([1, 9]).iter(), &mut now);
        let drawn: BTreeSet<u16> = before.diff(&now).into_iter().map(|(_, y, _)| y).collect();
        assert_eq!(drawn, BTreeSet::from([1]));
    }
}
