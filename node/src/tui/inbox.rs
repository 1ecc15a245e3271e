//! What names one or answers one in all rooms, and the threads of a room: asked for by a command, shown whole.

use crate::api::inbox::{InboxLine, Thread};
use crate::api::types::{Line, Message};
use crate::tui::effect::Effect;
use crate::tui::names::{clean, name_of_others};
use crate::tui::state::{Mode, State};

impl State {
    /// `/thread`, or `/thread N` for one of those that it lists.
    pub(super) fn load_threads(&mut self, room: String, which: &str) {
        let number = if which.is_empty() { Ok(None) } else { which.parse().map(Some) };
        match number {
            Ok(number) if number != Some(0) => self.effects.push(Effect::LoadThreads { room, number }),
            _ => self.complain("/thread lists the threads here; /thread 2 shows the second of them."),
        }
    }

    pub(super) fn show_inbox(&mut self, inbox: &[InboxLine]) {
        if inbox.is_empty() {
            return self.say("Nothing names you or answers you yet.");
        }
        let mut lines = vec!["What names you or answers you, the newest last:".to_owned()];
        for line in inbox.iter().rev() {
            let new = if line.unread { "new · " } else { "" };
            lines.push(String::new());
            lines.push(format!("{new}{} in {}", self.who_and_when(&line.message), clean(&line.alias)));
            lines.push(format!("    {}", clean(&line.message.text)));
        }
        self.show_plain(lines);
    }

    pub(super) fn show_threads(&mut self, threads: &[Thread]) {
        if threads.is_empty() {
            return self.say("There are no threads here yet: answering a message begins one.");
        }
        let mut lines = vec!["Threads of this room; /thread 1 shows the first:".to_owned()];
        for (n, thread) in threads.iter().enumerate() {
            let unread = if thread.unread > 0 { format!(", {} unread", thread.unread) } else { String::new() };
            let (count, name) = (thread.replies, name_of_others(&thread.last_name));
            lines.push(String::new());
            lines.push(match &thread.first {
                Some(first) => format!("{}. {}: {}", n + 1, self.who_and_when(first), clean(&first.text)),
                None => format!("{}. (its first message is not here)", n + 1),
            });
            lines.push(format!("    {count} answers{unread}, the last by {name}"));
        }
        self.show_plain(lines);
    }

    pub(super) fn show_thread(&mut self, thread: &[Line]) {
        let mut lines = vec!["The thread, the newest last:".to_owned()];
        for line in thread {
            let Line::Message(message) = line else {
                lines.push("    (something is missing here)".to_owned());
                continue;
            };
            let text = if message.erased { "(erased)".to_owned() } else { clean(&message.text) };
            lines.push(String::new());
            lines.push(self.who_and_when(message));
            lines.push(format!("    {text}"));
        }
        self.show_plain(lines);
    }

    fn who_and_when(&self, message: &Message) -> String {
        let moment = self.zone.moment(message.ms);
        let day = moment.day_name(self.zone.moment(self.now_ms));
        format!("{day} {} · {}", moment.clock(), name_of_others(&message.name))
    }

    fn show_plain(&mut self, lines: Vec<String>) {
        self.mode = Mode::Plain;
        self.effects.push(Effect::ShowPlain(lines));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::effect::Answer;
    use crate::tui::fixtures::{Chat, message, room};
    use crossterm::event::KeyCode;

    fn plain(chat: &Chat) -> String {
        let mut shown = chat.effects.iter().rev().filter_map(|effect| match effect {
            Effect::ShowPlain(lines) => Some(lines.join("\n")),
            _ => None,
        });
        shown.next().unwrap_or_default()
    }

    #[test]
    fn an_inbox_says_who_where_and_what_is_new() {
        let mut chat = Chat::in_rooms(80, 24, vec![room("room1", "lab", 0, 0)], vec![]);
        chat.write("/inbox").key(KeyCode::Enter);
        assert!(chat.effects.contains(&Effect::LoadInbox));
        let line = |text, unread| InboxLine {
            message: message("m1", "ben", 1000, text),
            why: vec!["mention".to_owned()],
            unread,
            alias: "lab".to_owned(),
        };
        chat.answer(Answer::Inbox(vec![line("@ana second", true), line("@ana first\u{1b}[2J", false)]));
        let shown = plain(&chat);
        assert!(shown.find("first").unwrap() < shown.find("second").unwrap(), "{shown}");
        assert!(shown.contains("new · ") && shown.contains("in lab") && !shown.contains('\u{1b}'), "{shown}");
    }

    #[test]
    fn threads_are_listed_and_shown_by_number() {
        let mut chat = Chat::in_rooms(80, 24, vec![room("room1", "lab", 0, 0)], vec![]);
        for (typed, number) in [("/thread", None), ("/thread 2", Some(2))] {
            chat.write(typed).key(KeyCode::Enter);
            let wanted = Effect::LoadThreads { room: "room1".to_owned(), number };
            assert!(chat.effects.contains(&wanted), "{typed}");
        }
        let first = Some(message("m1", "ben", 1000, "who is in?"));
        let thread = Thread {
            root: "m1".to_owned(),
            first,
            replies: 3,
            unread: 1,
            last_ms: 4000,
            last_user: "u".to_owned(),
            last_name: "Cy".to_owned(),
        };
        chat.answer(Answer::Threads(vec![thread]));
        assert!(plain(&chat).contains("3 answers, 1 unread, the last by Cy"), "{}", plain(&chat));
        chat.answer(Answer::Thread(vec![Line::Message(Box::new(message("m2", "ben", 1000, "me")))]));
        assert!(plain(&chat).contains("    me"));
    }
}
