//! Keys while one writes: sending, answering, editing, completing, and the way to everything else.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::tui::command::COMMANDS;
use crate::tui::complete::Completion;
use crate::tui::draft::About;
use crate::tui::effect::{Effect, Page, Post, Posting};
use crate::tui::field::{is_alt, is_control};
use crate::tui::jump::Jump;
use crate::tui::moderation::why_read_only;
use crate::tui::open::{Position, Sending, Unread};
use crate::tui::state::{Connection, Mode, State};

impl State {
    /// A key in `Mode::Compose`.
    pub(super) fn compose_key(&mut self, key: KeyEvent) {
        let tabbing = self.completion.take();
        match key.code {
            KeyCode::Enter if key.modifiers.intersects(KeyModifiers::ALT | KeyModifiers::SHIFT) => {
                self.draft_mut().newline()
            }
            KeyCode::Char('j') if is_control(key) => self.draft_mut().newline(),
            KeyCode::Enter => self.send(),
            KeyCode::Tab => self.tab(tabbing),
            KeyCode::BackTab => self.step_room(-1),
            KeyCode::Up if is_alt(key) => self.step_room(-1),
            KeyCode::Down if is_alt(key) => self.step_room(1),
            KeyCode::Char(digit @ '1'..='9') if is_alt(key) => self.focus_place(digit as usize - '1' as usize),
            KeyCode::Char('a') if is_alt(key) => self.focus_unread(),
            KeyCode::Char('k') if is_control(key) => self.mode = Mode::Jump(Jump::default()),
            KeyCode::Char('r') if is_control(key) => self.reply_to_others(),
            KeyCode::PageUp => self.scroll_up(),
            KeyCode::PageDown => self.scroll_down(),
            KeyCode::End if is_control(key) || self.draft().is_at_end() => self.scroll_to_newest(),
            KeyCode::Up if self.draft().is_empty() => self.begin_select(),
            KeyCode::Esc => self.step_back(),
            KeyCode::Char(c) if !is_alt(key) && !is_control(key) && self.takes_commands_only(c) => {}
            _ => self.draft_mut().key(key),
        }
    }

    /// Esc: what is written stays, also as a draft of the room; only its purpose and messages of the chat go.
    fn step_back(&mut self) {
        if self.saying.take().is_none() {
            self.draft_mut().leave_about();
        }
    }

    fn send(&mut self) {
        let text = self.draft().text();
        let is_edit = matches!(self.draft().about(), About::Edit { .. });
        if self.draft().is_blank() {
            if is_edit {
                self.complain("A message cannot become empty. To take it back: Esc, then Up, then d.");
            }
            return;
        }
        if !is_edit && text.starts_with('/') && !text.starts_with("//") {
            if self.command(&text) {
                self.draft_mut().take();
            }
            return;
        }
        if let Some(why) = self.why_not_post() {
            self.complain(why);
            return;
        }
        if self.room().is_none() {
            if text.trim().starts_with(LINK_BEGINNING) && self.command(&format!("/join {text}")) {
                self.draft_mut().take();
            } else {
                self.complain("You are in no room yet: /create NAME makes one, /join LINK joins one.");
            }
            return;
        }
        self.post_draft();
    }

    /// Why nothing can be said in the room in front right now; what was written stays.
    fn why_not_post(&self) -> Option<String> {
        if self.connection != Connection::Open {
            return Some(UNREACHED.to_owned());
        }
        let room = self.room()?;
        let sending = self.here().map_or(0, |open| open.sending.len());
        if room.pending {
            Some(PENDING.to_owned())
        } else if room.read_only.is_some() {
            Some(format!("{} What you wrote stays here.", why_read_only(room)))
        } else if sending >= SENDING_MAX {
            Some(format!("{sending} messages are still on their way to the node. Your text stays here."))
        } else {
            None
        }
    }

    fn post_draft(&mut self) {
        self.saying = None;
        let (now_ms, token) = (self.now_ms, self.next_token);
        let Some(room) = self.focus.clone() else { return };
        let Some(open) = self.here_mut() else { return };
        let (text, about) = open.draft.take();
        // `//` is how one says a line that begins with a slash.
        let text =
            if !matches!(about, About::Edit { .. }) && text.starts_with("//") { text[1..].to_owned() } else { text };
        let what = match about {
            About::Edit { event, was, .. } => {
                if was == text {
                    return;
                }
                Posting::Edit { event, text }
            }
            About::New | About::Reply(_) => {
                let reply_to = if let About::Reply(event) = about { Some(event) } else { None };
                open.sending.push(Sending { token, text: text.clone(), ms: now_ms, id: None });
                open.position = Position::Newest;
                open.below = 0;
                open.unread = Unread::None;
                Posting::Message { text, reply_to }
            }
        };
        let is_detached = !open.window.holds_newest() && open.window.is_loaded();
        self.post(room.clone(), what);
        if is_detached {
            self.ask_page(&room, Page::Newest);
        }
    }

    /// Hands a post over.
    pub(super) fn post(&mut self, room: String, what: Posting) {
        let token = self.next_token;
        self.next_token += 1;
        self.effects.push(Effect::Post(Post { token, room, what }));
    }

    /// Answers the newest message of somebody else; pressed again, the one before.
    fn reply_to_others(&mut self) {
        let Some(open) = self.here() else { return };
        let others = open.window.messages().rev().filter(|message| message.user != self.me() && !message.erased);
        let candidates: Vec<&str> = others.map(|message| message.id.as_str()).collect();
        let last = match open.draft.about() {
            About::Reply(id) => candidates.iter().position(|candidate| candidate == id),
            _ => None,
        };
        let target = candidates.get(last.map_or(0, |last| last + 1)).map(|id| (*id).to_owned());
        match target {
            Some(id) => self.draft_mut().reply(&id),
            None => self.say("There is nothing here to answer."),
        }
    }

    fn tab(&mut self, tabbing: Option<Completion>) {
        if let Some(mut completion) = tabbing.filter(Completion::is_choice) {
            completion.step(self.draft_mut());
            self.completion = Some(completion);
            return;
        }
        let Some(word) = self.draft().word() else {
            self.step_room(1);
            return;
        };
        let people = self.here().map_or_else(Vec::new, |open| open.names().by_activity(open.window.lines(), self.me()));
        let commands = COMMANDS.map(|(usage, _)| usage.split(' ').next().unwrap_or(usage));
        let completion = match self.arguments(&people) {
            Some(names) => Completion::one_of(&word, &names),
            None => Completion::begin(&word, &people, &commands),
        };
        match completion {
            Some(mut completion) => {
                completion.step(self.draft_mut());
                self.completion = Some(completion);
            }
            None => self.say(format!("Nothing to complete {} with. Alt-Down goes to the next room.", word.text)),
        }
    }
}

/// Messages on their way to the node at once, in one room.
const SENDING_MAX: usize = 64;
const UNREACHED: &str =
    "The node cannot be reached at the moment. Your text stays here: send it when the node is back.";
const PENDING: &str = "You are not in this room yet: nobody who has it could be reached. Your text stays here.";
const LINK_BEGINNING: &str = "tidings://";
