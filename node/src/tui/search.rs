//! What a search found, as lines on the terminal's ordinary screen: from there they can be copied, and stay.

use crate::api::search::{Found, Hit};
use crate::tui::effect::Effect;
use crate::tui::names::{clean, name_of_others, short};
use crate::tui::state::{Mode, State};

impl State {
    pub(super) fn show_found(&mut self, found: &Found) {
        if found.hits.is_empty() {
            self.say("Nothing was found.");
            return;
        }
        let mut lines = vec!["Found, the newest last:".to_owned(), String::new()];
        if found.more {
            lines.push("(there may be more before these: more words, in:, from:, before: narrow it)".to_owned());
        }
        lines.extend(found.hits.iter().rev().map(|hit| self.found_line(hit)));
        self.mode = Mode::Plain;
        self.effects.push(Effect::ShowPlain(lines));
    }

    fn found_line(&self, hit: &Hit) -> String {
        let message = &hit.message;
        let moment = self.zone.moment(message.ms);
        let day = moment.day_name(self.zone.moment(self.now_ms));
        let name = match (&message.imported, &message.known.petname) {
            (Some(imported), _) => name_of_others(&imported.author),
            (None, Some(petname)) => clean(petname),
            (None, None) => name_of_others(&message.name),
        };
        let name = if name.is_empty() { short(&message.user) } else { name };
        let text: String = hit.snippet.iter().map(|piece| clean(&piece.text)).collect();
        format!("{day} {} · {} · {name}: {text}", moment.clock(), clean(&hit.room_alias))
    }
}

#[cfg(test)]
mod tests {
    use crate::api::search::{Found, Hit, Piece};
    use crate::tui::effect::{Answer, Effect};
    use crate::tui::fixtures::{Chat, NOW_MS, message, room};
    use crossterm::event::KeyCode;

    fn hit(text: &str) -> Hit {
        let snippet = vec![Piece { text: text.to_owned(), is_match: true }];
        Hit { message: message("m1", "ben", NOW_MS, text), room_alias: "zig".to_owned(), score: 1.0, snippet }
    }

    #[test]
    fn what_is_found_is_listed_the_newest_last() {
        let mut chat = Chat::in_rooms(100, 24, vec![room("room1", "zig", 0, 1)], Vec::new());
        chat.write("/search big deal").key(KeyCode::Enter);
        assert!(chat.effects.contains(&Effect::Search("big deal".to_owned())));
        chat.answer(Answer::Found(Found { hits: vec![hit("new\u{1b}[2J"), hit("old")], more: true }));
        let [Effect::ShowPlain(lines)] = chat.effects.as_slice() else { panic!("{:?}", chat.effects) };
        assert!(lines.iter().any(|line| line.contains("may be more")), "{lines:?}");
        assert!(lines[lines.len() - 2].ends_with("zig · ben: old"), "{lines:?}");
        assert!(lines[lines.len() - 1].ends_with("zig · ben: new\u{fffd}[2J"), "{lines:?}");
        chat.key(KeyCode::Esc);
        chat.answer(Answer::Found(Found { hits: Vec::new(), more: false }));
        assert_eq!(chat.says(), "Nothing was found.");
    }
}
