//! Keys while a message is chosen: answering, editing, erasing, reacting, reading it whole.

use crossterm::event::{KeyCode, KeyEvent};

use crate::api::types::Message;
use crate::tui::effect::Posting;
use crate::tui::field::Field;
use crate::tui::names::clean;
use crate::tui::state::{Ask, Mode, Select, State};

/// Reactions at hand under the keys 1 to 6.
pub const REACTIONS: [&str; 6] = ["👍", "❤️", "😂", "🎉", "👀", "🙏"];

impl State {
    /// Chooses the newest message on hand.
    pub(super) fn begin_select(&mut self) {
        let Some(id) =
            self.here().and_then(|open| open.window.messages().next_back()).map(|message| message.id.clone())
        else {
            return;
        };
        self.choose(id);
    }

    /// The message that is chosen.
    pub(super) fn selected(&self) -> Option<&Message> {
        let Mode::Select(select) = &self.mode else { return None };
        self.here()?.window.message(&select.id)
    }

    /// A key in `Mode::Select`.
    pub(super) fn select_key(&mut self, select: Select, key: KeyEvent) {
        match select.ask {
            Ask::Nothing => self.chosen_key(&select.id, key),
            Ask::Erase => {
                if matches!(key.code, KeyCode::Char('y' | 'Y')) {
                    self.post_here(Posting::Erase { event: select.id });
                    self.mode = Mode::Compose;
                } else {
                    self.ask(&select.id, Ask::Nothing);
                }
            }
            Ask::React(field) => self.react_key(&select.id, field, key),
            Ask::Report(field) => self.report_key(&select.id, field, key),
        }
    }

    fn chosen_key(&mut self, id: &str, key: KeyEvent) {
        let is_mine = self.selected().is_some_and(|message| message.user == self.me());
        let is_erased = self.selected().is_some_and(|message| message.erased || message.purged);
        match key.code {
            KeyCode::Esc => self.mode = Mode::Compose,
            KeyCode::Up | KeyCode::Char('k') => self.step_selection(id, -1),
            KeyCode::Down | KeyCode::Char('j') => self.step_selection(id, 1),
            KeyCode::PageUp => self.step_selection(id, -PAGE_STEPS),
            KeyCode::PageDown => self.step_selection(id, PAGE_STEPS),
            KeyCode::End | KeyCode::Char('G') => {
                self.mode = Mode::Compose;
                self.scroll_to_newest();
            }
            KeyCode::Char('r') => {
                self.draft_mut().reply(id);
                self.mode = Mode::Compose;
            }
            KeyCode::Char('e' | 'd' | '+' | 'h' | '!') | KeyCode::Delete if is_erased => {
                self.say("This message was erased.")
            }
            KeyCode::Char('e') if is_mine => self.begin_edit(id),
            KeyCode::Char('d') | KeyCode::Delete if is_mine || self.is_moderator() => self.ask(id, Ask::Erase),
            KeyCode::Char('e' | 'd') | KeyCode::Delete => {
                self.say("Only one's own messages can be changed or taken back.")
            }
            KeyCode::Char('h') => self.fold_or_unfold(id),
            KeyCode::Char('!') if is_mine => self.say("That is your own message: d takes it back."),
            KeyCode::Char('!') => self.ask(id, Ask::Report(Box::default())),
            KeyCode::Char('+') => self.ask(id, Ask::React(Box::default())),
            KeyCode::Enter => self.unfold_or_follow(id),
            KeyCode::Char('?') => self.mode = Mode::Help(0),
            _ => {}
        }
    }

    fn step_selection(&mut self, id: &str, steps: isize) {
        let Some(open) = self.here() else { return };
        let ids: Vec<&str> = open.window.messages().map(|message| message.id.as_str()).collect();
        let Some(at) = ids.iter().position(|held| *held == id) else { return };
        let next = at.saturating_add_signed(steps);
        match ids.get(next) {
            Some(next) => self.choose((*next).to_owned()),
            // Down from the last message leads back to the input.
            None if at + 1 == ids.len() => self.mode = Mode::Compose,
            None => self.choose(ids[ids.len() - 1].to_owned()),
        }
    }

    fn choose(&mut self, id: String) {
        self.reveal(&id);
        self.mode = Mode::Select(Select { id, ask: Ask::Nothing });
    }

    pub(super) fn ask(&mut self, id: &str, ask: Ask) {
        self.mode = Mode::Select(Select { id: id.to_owned(), ask });
    }

    fn begin_edit(&mut self, id: &str) {
        let Some(text) = self.selected().map(|message| message.text.clone()) else { return };
        self.draft_mut().edit(id, &text);
        self.mode = Mode::Compose;
    }

    /// Enter: an answer leads to what it answers; a long text is shown whole, or short again.
    fn unfold_or_follow(&mut self, id: &str) {
        let Some(open) = self.here_mut() else { return };
        let is_folded = open.window.message(id).is_some_and(|message| message.hidden.is_some());
        let answered = open.window.message(id).and_then(|message| message.reply_to.clone()).filter(|_| !is_folded);
        match answered {
            Some(answered) if open.window.index(&answered).is_some() => self.choose(answered),
            Some(_) => self.say("What this answers is further up: PgUp loads older messages."),
            None => {
                if !open.unfolded.remove(id) {
                    open.unfolded.insert(id.to_owned());
                }
            }
        }
    }

    fn react_key(&mut self, id: &str, mut field: Box<Field>, key: KeyEvent) {
        let emoji = match key.code {
            KeyCode::Esc => String::new(),
            KeyCode::Enter => clean(field.text()),
            KeyCode::Char(digit @ '1'..='6') if field.text().is_empty() => {
                REACTIONS[digit as usize - '1' as usize].to_owned()
            }
            _ => {
                field.key(key);
                self.ask(id, Ask::React(field));
                return;
            }
        };
        self.ask(id, Ask::Nothing);
        if emoji.len() > REACTION_LEN_MAX {
            self.complain("A reaction is one emoji or a short word.");
        } else if !emoji.is_empty() {
            let remove = self.selected().is_some_and(|message| {
                message.reactions.get(&emoji).is_some_and(|users| users.iter().any(|user| user == self.me()))
            });
            self.post_here(Posting::React { event: id.to_owned(), emoji, remove });
            // Done: whoever types now means to write, not to choose.
            self.mode = Mode::Compose;
        }
    }

    fn post_here(&mut self, what: Posting) {
        if let Some(room) = self.focus.clone() {
            self.post(room, what);
        }
    }

    fn is_moderator(&self) -> bool {
        self.may("erase")
    }
}

/// Messages that PgUp and PgDn pass over.
const PAGE_STEPS: isize = 10;
/// As the protocol bounds reactions.
const REACTION_LEN_MAX: usize = 64;
