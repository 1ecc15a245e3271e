//! Pet names, comparing keys and blocking: commands about somebody, and what comes of them.

use crate::api::people::{Code, Person};
use crate::qr::qr_code;
use crate::tui::effect::{Effect, PersonAct};
use crate::tui::names::{Whom, clean, name_of_others, short};
use crate::tui::state::{Mode, State};

/// A command about somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonCommand {
    /// `/call WHO NAME`
    Call,
    /// `/verify WHO CODE`
    Verify,
    /// `/block WHO`
    Block,
    /// `/unblock WHO`
    Unblock,
}

impl State {
    /// Does something about the person whom `rest` begins with.
    pub(super) fn obey_person(&mut self, command: PersonCommand, rest: &str) {
        let whom = self.here().map_or_else(|| Whom::read(rest), |open| open.names().whom(rest));
        let (user, rest) = match whom {
            Whom::One { user, rest } => (user, rest),
            Whom::Several(names) => {
                self.complain(format!("Several are called so: write {}.", names.join(" or ")));
                return;
            }
        };
        if user == self.me() {
            self.complain("That is you.");
            return;
        }
        let act = match command {
            PersonCommand::Call => PersonAct::Call(rest),
            PersonCommand::Verify if rest.is_empty() => PersonAct::ShowCode,
            PersonCommand::Verify => PersonAct::Verify(rest),
            PersonCommand::Block => PersonAct::Block,
            PersonCommand::Unblock => PersonAct::Unblock,
        };
        self.effects.push(Effect::Person { user, act });
    }

    /// It is done.
    pub(super) fn person_changed(&mut self, act: &PersonAct, person: &Person) {
        let name = called(person);
        self.say(match act {
            PersonAct::Call(_) if person.petname.is_some() => format!("{name} it is, to you alone."),
            PersonAct::Call(_) => format!("No pet name any more for {name}."),
            PersonAct::Verify(_) | PersonAct::ShowCode => format!("✓ {name}: the keys are the same on both sides."),
            PersonAct::Block => format!("What {name} says is not shown any more. /unblock {name} shows it again."),
            PersonAct::Unblock => format!("What {name} says is shown again."),
        });
    }

    /// The code to compare, where it can be copied and scanned.
    pub(super) fn show_code(&mut self, code: &Code) {
        let name = called(&code.person);
        // First what may scroll out of sight, and can be scrolled back to.
        let mut lines: Vec<String> = qr_code(&code.link).lines().map(str::to_owned).collect();
        lines.push(format!("Compare this with {name}, by voice or side by side, not in a chat:"));
        lines.push(String::new());
        let groups: Vec<&str> = code.code.split(' ').collect();
        lines.extend(groups.chunks(4).map(|row| format!("    {}", clean(&row.join(" ")))));
        lines.push(String::new());
        lines.push(format!("Both of you see the same. If so, type: /verify {name} and the digits,"));
        lines.push("or the link that their screen shows in place of the digits:".to_owned());
        lines.push(format!("    {}", clean(&code.link)));
        lines.push(format!("The key: {}", clean(&code.person.user)));
        self.mode = Mode::Plain;
        self.effects.push(Effect::ShowPlain(lines));
    }

    /// The node knows something else of people: names, marks and who is shown are asked for anew.
    pub(super) fn people_changed(&mut self) {
        self.rooms_loaded.spoil();
        for open in self.open.values_mut() {
            open.is_members_stale = true;
            open.window.shrink(0);
        }
        if let Some(room) = self.focus.clone() {
            self.refresh(&room);
        }
        self.load_members();
    }
}

fn called(person: &Person) -> String {
    match &person.petname {
        Some(petname) => clean(petname),
        None if person.name.is_empty() => short(&person.user),
        None => name_of_others(&person.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{Happened, Notice};
    use crate::tui::effect::{Answer, Input, Page};
    use crate::tui::fixtures::{Chat, chatter, room, user};
    use crossterm::event::KeyCode;

    fn person(name: &str, petname: Option<&str>) -> Person {
        Person {
            user: user(name),
            petname: petname.map(str::to_owned),
            name: name.to_owned(),
            verified: false,
            verified_ms: 0,
            blocked: false,
            blocked_ms: 0,
            names: vec![],
        }
    }

    fn chat() -> Chat {
        Chat::in_rooms(100, 30, vec![room("room1", "zig", 0, 1)], chatter(60))
    }

    fn asked(chat: &mut Chat, line: &str) -> Option<(String, PersonAct)> {
        chat.write(line).key(KeyCode::Enter);
        chat.effects.iter().find_map(|effect| match effect {
            Effect::Person { user, act } => Some((user.clone(), act.clone())),
            _ => None,
        })
    }

    #[test]
    fn commands_about_people_ask_the_node() {
        let mut chat = chat();
        assert_eq!(asked(&mut chat, "/call alice My Mum"), Some((user("alice"), PersonAct::Call("My Mum".into()))));
        assert_eq!(asked(&mut chat, "/call Alice"), Some((user("alice"), PersonAct::Call(String::new()))));
        assert_eq!(asked(&mut chat, "/verify ben"), Some((user("ben"), PersonAct::ShowCode)));
        let digits = "12345 67890";
        assert_eq!(asked(&mut chat, "/verify ben 12345 67890"), Some((user("ben"), PersonAct::Verify(digits.into()))));
        assert_eq!(asked(&mut chat, "/block carla"), Some((user("carla"), PersonAct::Block)));
        assert_eq!(asked(&mut chat, "/unblock x@example.org"), Some(("x@example.org".into(), PersonAct::Unblock)));
        assert_eq!(asked(&mut chat, "/block me"), None);
        assert_eq!(chat.says(), "That is you.");
    }

    #[test]
    fn what_was_done_is_said() {
        let mut chat = chat();
        let act = PersonAct::Call("Mum".into());
        chat.answer(Answer::Person { act, person: person("alice", Some("Mum")) });
        assert_eq!(chat.says(), "Mum it is, to you alone.");
        chat.answer(Answer::Person { act: PersonAct::Verify(String::new()), person: person("b\u{1b}en ✓", None) });
        assert_eq!(chat.says(), "✓ b\u{fffd}en: the keys are the same on both sides.");
        let code = Code {
            code: "11111 22222 33333 44444 55555".into(),
            link: "tidings://verify/aa".into(),
            person: person("ben", None),
        };
        chat.answer(Answer::Code(code));
        let [Effect::ShowPlain(lines)] = chat.effects.as_slice() else { panic!("{:?}", chat.effects) };
        let text = lines.join("\n");
        assert!(
            text.contains("    11111 22222 33333 44444\n    55555") && text.contains("tidings://verify/aa"),
            "{text}"
        );
    }

    #[test]
    fn people_and_pages_are_asked_for_anew_when_somebody_is_known_otherwise() {
        let mut chat = chat();
        assert!(!chat.state.here().unwrap().window.lines().is_empty());
        chat.input(Input::Notice(Box::new(Notice { cursor: 1, what: Happened::People })));
        assert!(chat.state.here().unwrap().window.lines().is_empty());
        let room = "room1".to_owned();
        assert!(chat.effects.contains(&Effect::LoadMembers { room: room.clone() }));
        assert!(chat.effects.contains(&Effect::LoadPage { room, page: Page::Newest }));
    }
}
