//! How the state changes: one input in, effects out.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind};

use crate::tui::effect::{Effect, Input};
use crate::tui::field::{Field, is_control};
use crate::tui::jump::{Jump, matches};
use crate::tui::state::{Ask, Connection, Mode, State};

impl State {
    /// Takes an input and returns what is to be done about it.
    pub fn update(&mut self, input: Input) -> Vec<Effect> {
        let written = self.draft().text();
        match input {
            Input::Key(key) if key.kind != KeyEventKind::Release => self.key(key),
            Input::Key(_) => {}
            Input::Paste(text) => self.paste(&text),
            Input::Resize { width, height } => self.size = (width, height),
            Input::Focus(is_watched) => self.is_watched = is_watched,
            Input::Tick { now_ms } => self.tick(now_ms),
            Input::Connected => self.connected(),
            Input::Disconnected(_) if self.connection == Connection::Connecting => {}
            Input::Disconnected(_) => self.connection = Connection::Lost,
            Input::Notice(notice) => self.noticed(*notice),
            Input::Answer(answer) => self.answered(answer),
            Input::Failed { effect, failure } => self.failed(*effect, failure),
        }
        if matches!(self.mode, Mode::Select(_)) && self.selected().is_none() {
            self.mode = Mode::Compose;
        }
        self.page();
        self.mark_read();
        self.tell_typing(&written);
        std::mem::take(&mut self.effects)
    }

    fn tick(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        if now_ms.saturating_sub(self.refreshed_ms) >= REFRESH_MS {
            self.refreshed_ms = now_ms;
            self.rooms_loaded.spoil();
            self.status_loaded.spoil();
        }
        for open in self.open.values_mut() {
            open.backfill = open.backfill.filter(|(_, told_ms)| now_ms.saturating_sub(*told_ms) < BACKFILL_SHOWN_MS);
        }
        self.forget_typing();
        self.load_lists();
        self.load_members();
    }

    fn key(&mut self, key: KeyEvent) {
        match key.code {
            KeyCode::Char('c' | 'q') if is_control(key) => {
                self.effects.push(Effect::Quit);
                return;
            }
            KeyCode::Char('l') if is_control(key) => {
                self.effects.push(Effect::Redraw);
                return;
            }
            KeyCode::F(1) if !matches!(self.mode, Mode::Naming(_) | Mode::Plain) => {
                self.mode = if matches!(self.mode, Mode::Help(_)) { Mode::Compose } else { Mode::Help(0) };
                return;
            }
            _ => {}
        }
        match std::mem::replace(&mut self.mode, Mode::Compose) {
            Mode::Compose => self.compose_key(key),
            Mode::Naming(field) => self.naming_key(field, key),
            Mode::Select(select) => {
                self.mode = Mode::Select(select.clone());
                self.select_key(select, key);
            }
            Mode::Jump(jump) => self.jump_key(jump, key),
            Mode::Help(scrolled) => self.mode = scrolled_by(key, scrolled).map_or(Mode::Compose, Mode::Help),
            Mode::People(scrolled) => self.mode = scrolled_by(key, scrolled).map_or(Mode::Compose, Mode::People),
            Mode::Leaving(room) => {
                if matches!(key.code, KeyCode::Char('y' | 'Y')) {
                    self.effects.push(Effect::Leave { room });
                }
            }
            Mode::Removing(removing) => self.removing_key(removing, key),
            Mode::Plain => self.effects.push(Effect::Redraw),
        }
    }

    fn naming_key(&mut self, mut field: Field, key: KeyEvent) {
        self.saying = None;
        match key.code {
            KeyCode::Enter => self.set_name(field.text()),
            _ => field.key(key),
        }
        self.mode = Mode::Naming(field);
    }

    fn jump_key(&mut self, mut jump: Jump, key: KeyEvent) {
        let found: Vec<String> = matches(&self.rooms, jump.field.text()).iter().map(|room| room.room.clone()).collect();
        let last = found.len().saturating_sub(1);
        match key.code {
            KeyCode::Esc => return,
            KeyCode::Char('k') if is_control(key) => return,
            KeyCode::Enter => {
                if let Some(id) = found.get(jump.picked) {
                    self.focus_room(id);
                }
                return;
            }
            KeyCode::Up | KeyCode::BackTab => jump.picked = jump.picked.checked_sub(1).unwrap_or(last),
            KeyCode::Char('p') if is_control(key) => jump.picked = jump.picked.checked_sub(1).unwrap_or(last),
            KeyCode::Down | KeyCode::Tab => jump.picked = if jump.picked >= last { 0 } else { jump.picked + 1 },
            KeyCode::Char('n') if is_control(key) => {
                jump.picked = if jump.picked >= last { 0 } else { jump.picked + 1 }
            }
            _ => {
                jump.field.key(key);
                jump.picked = 0;
            }
        }
        self.mode = Mode::Jump(jump);
    }

    fn paste(&mut self, text: &str) {
        self.completion = None;
        match &mut self.mode {
            Mode::Naming(field) => field.paste(text),
            Mode::Jump(jump) => jump.field.paste(text),
            Mode::Select(select) => {
                if let Ask::React(field) | Ask::Report(field) = &mut select.ask {
                    field.paste(text);
                }
            }
            Mode::Compose => {
                if text.chars().next().is_some_and(|c| self.takes_commands_only(c)) {
                    return;
                }
                if !self.draft_mut().paste(text) {
                    self.complain("This is too long for a message; nothing was pasted.");
                }
            }
            Mode::Help(_) | Mode::People(_) | Mode::Leaving(_) | Mode::Removing(_) | Mode::Plain => {}
        }
    }
}

/// Where a page of text stands after this key; none when the key closes it.
fn scrolled_by(key: KeyEvent, scrolled: u16) -> Option<u16> {
    match key.code {
        KeyCode::Up | KeyCode::Char('k') => Some(scrolled.saturating_sub(1)),
        KeyCode::Down | KeyCode::Char('j') => Some(scrolled.saturating_add(1)),
        KeyCode::PageUp => Some(scrolled.saturating_sub(PAGE_ROWS)),
        KeyCode::PageDown | KeyCode::Char(' ') => Some(scrolled.saturating_add(PAGE_ROWS)),
        _ => None,
    }
}

/// Rooms and status are asked for at least this often: some changes no notice tells.
const REFRESH_MS: u64 = 30_000;
/// History counts as coming in for so long after the last notice of it.
const BACKFILL_SHOWN_MS: u64 = 15_000;
const PAGE_ROWS: u16 = 10;
