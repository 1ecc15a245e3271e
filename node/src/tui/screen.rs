//! The terminal while the chat has it. However the chat ends, by return, error or panic, the terminal is given back as
//! it was.

use std::io::{self, IsTerminal, Stdout, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::Show;
use crossterm::event::{DisableBracketedPaste, DisableFocusChange, EnableBracketedPaste, EnableFocusChange};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

use crate::tui::state::State;
use crate::tui::view::draw;

/// The terminal, taken over until this is dropped.
#[derive(Debug)]
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    /// The ordinary screen is shown for a while.
    is_plain: bool,
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
        Ok(Self { terminal: Terminal::new(CrosstermBackend::new(io::stdout()))?, is_plain: false })
    }

    /// Columns and rows.
    pub fn size(&self) -> io::Result<(u16, u16)> {
        let size = self.terminal.size()?;
        Ok((size.width, size.height))
    }

    /// Draws the state, unless the ordinary screen is shown.
    pub fn draw(&mut self, state: &State) -> io::Result<()> {
        if !self.is_plain {
            self.terminal.draw(|frame| draw(state, frame))?;
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

/// Gives the terminal back, once. What fails here cannot be helped any more: the rest is tried all the same.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = disable_raw_mode();
        let _ = execute!(io::stdout(), DisableFocusChange, DisableBracketedPaste, LeaveAlternateScreen, Show);
    }
}

/// Whether the terminal is ours at the moment.
static TAKEN: AtomicBool = AtomicBool::new(false);
