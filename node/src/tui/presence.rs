//! Who types, who has read, who is there; and that one types oneself. All of it is of the moment: what is not said again
//! goes by itself.

use crate::tui::draft::About;
use crate::tui::effect::Effect;
use crate::tui::open::OpenRoom;
use crate::tui::state::{Connection, Mode, State};
use crate::tui::wrap::fit;

impl State {
    /// Somebody has read everything up to this time.
    pub(super) fn reads(&mut self, room: &str, user: &str, ms: u64) {
        let me = self.me().to_owned();
        if user == me {
            return self.rooms_loaded.spoil();
        }
        if let Some(open) = self.open.get_mut(room) {
            open.window.read(&me, user, ms);
        }
    }

    /// Somebody types until then, or has stopped.
    pub(super) fn types(&mut self, room: &str, user: String, until_ms: u64) {
        let (now_ms, is_me) = (self.now_ms, user == self.me());
        let Some(open) = self.open.get_mut(room).filter(|_| !is_me) else { return };
        open.typing.retain(|(other, _)| *other != user);
        if until_ms > now_ms && open.typing.len() < TYPING_MAX {
            open.typing.push((user, until_ms));
        }
    }

    /// Somebody came or went.
    pub(super) fn comes(&mut self, room: &str, user: &str, presence: String, last_seen_ms: u64) {
        if let Some(open) = self.open.get_mut(room) {
            open.see(user, presence, last_seen_ms);
        }
    }

    /// Those whose time is over type no more.
    pub(super) fn forget_typing(&mut self) {
        let now_ms = self.now_ms;
        self.open.values_mut().for_each(|open| open.typing.retain(|(_, until_ms)| *until_ms > now_ms));
    }

    /// Tells the node that one types, now and then while the text changes; and when it is gone, that one has stopped.
    pub(super) fn tell_typing(&mut self, before: &str) {
        let text = self.draft().text();
        let is_said = matches!(self.mode, Mode::Compose) && !matches!(self.draft().about(), About::Edit { .. });
        let is_written = is_said && !text.trim().is_empty() && (!text.starts_with('/') || text.starts_with("//"));
        let room = self.room().filter(|room| room.kind != "public" && !room.pending).map(|room| room.room.clone());
        let room = room.filter(|_| is_written && self.connection == Connection::Open);
        if let Some((told, _)) = self.typing_told.take_if(|(told, _)| room.as_ref() != Some(told)) {
            self.effects.push(Effect::Type { room: told, typing: false });
        }
        let Some(room) = room.filter(|_| text != before) else { return };
        let is_due = self.typing_told.as_ref().is_none_or(|(_, ms)| self.now_ms.saturating_sub(*ms) >= TYPING_EVERY_MS);
        if is_due {
            self.typing_told = Some((room.clone(), self.now_ms));
            self.effects.push(Effect::Type { room, typing: true });
        }
    }
}

/// Who types in a room, in words; empty for nobody.
pub fn typing(open: &OpenRoom) -> String {
    let names: Vec<String> = open.typing.iter().map(|(user, _)| open.names().name(user, NAME_CELLS_MAX)).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => format!("{one} is typing"),
        [one, other] => format!("{one} and {other} are typing"),
        [one, others @ ..] => fit(&format!("{one} and {} others are typing", others.len()), 60),
    }
}

/// How often the node is told that one goes on typing.
const TYPING_EVERY_MS: u64 = 3_000;
/// People who type at once in one room, as far as anybody counts them.
const TYPING_MAX: usize = 16;
const NAME_CELLS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use crate::api::types::{Happened, Notice};
    use crate::tui::effect::{Effect, Input};
    use crate::tui::fixtures::{Chat, NOW_MS, chatter, line, own, room, user};
    use crate::tui::window::message_of;
    use crossterm::event::KeyCode;

    fn chat() -> Chat {
        let mut lines = chatter(3);
        lines.push(line(own("mine", NOW_MS, "hello", 1)));
        Chat::in_rooms(80, 24, vec![room("room1", "zig", 0, NOW_MS)], lines)
    }

    fn notice(chat: &mut Chat, what: Happened) {
        chat.input(Input::Notice(Box::new(Notice { cursor: 0, what })));
    }

    fn types(name: &str, until_ms: u64) -> Happened {
        Happened::Typing { room: "room1".into(), user: user(name), name: name.into(), until_ms }
    }

    fn shown(chat: &Chat) -> String {
        super::typing(chat.state.here().unwrap())
    }

    fn told(chat: &Chat) -> Vec<bool> {
        let typing = |effect: &Effect| if let Effect::Type { typing, .. } = effect { Some(*typing) } else { None };
        chat.effects.iter().filter_map(typing).collect()
    }

    #[test]
    fn who_types_is_shown_until_they_speak_or_stop_or_time_goes_on() {
        let mut chat = chat();
        notice(&mut chat, types("ben", NOW_MS + 9_000));
        assert_eq!(shown(&chat), "ben is typing");
        notice(&mut chat, types("alice", NOW_MS + 5_000));
        assert_eq!(shown(&chat), "ben and alice are typing");
        chat.hear(crate::tui::fixtures::message("m9", "ben", NOW_MS + 1, "said"));
        assert_eq!(shown(&chat), "alice is typing");
        notice(&mut chat, types("alice", 0));
        assert_eq!(shown(&chat), "");
        notice(&mut chat, types("me", NOW_MS + 9_000));
        notice(&mut chat, types("carla", NOW_MS + 9_000));
        chat.input(Input::Tick { now_ms: NOW_MS + 9_000 });
        assert_eq!(shown(&chat), "");
    }

    #[test]
    fn one_types_is_told_now_and_then_and_that_one_has_stopped() {
        let mut chat = chat();
        assert_eq!(told(chat.write("h")), [true]);
        assert_eq!(told(chat.write("i")), [] as [bool; 0]);
        chat.input(Input::Tick { now_ms: NOW_MS + 3_000 });
        assert_eq!(told(&chat), [] as [bool; 0], "who does not write does not type");
        assert_eq!(told(chat.write("!")), [true]);
        assert_eq!(told(chat.key(KeyCode::Enter)), [false]);
        assert_eq!(told(chat.write("/name x")), [] as [bool; 0]);
    }

    #[test]
    fn nobody_in_a_public_room_is_told() {
        let mut public = room("room1", "zig", 0, NOW_MS);
        public.kind = "public".into();
        let mut chat = Chat::in_rooms(80, 24, vec![public], chatter(3));
        assert_eq!(told(chat.write("h")), [] as [bool; 0]);
    }

    #[test]
    fn who_has_read_is_noted_at_own_messages_up_to_there() {
        let mut chat = chat();
        let read = |name: &str, ms| {
            let (room, event) = ("room1".to_owned(), "mine".to_owned());
            Happened::Read { room, user: user(name), name: name.into(), event, ms }
        };
        notice(&mut chat, read("ben", NOW_MS - 1));
        notice(&mut chat, read("ben", NOW_MS));
        notice(&mut chat, read("ben", NOW_MS + 5));
        notice(&mut chat, read("me", NOW_MS + 5));
        let open = chat.state.here().unwrap();
        let readers: Vec<_> = open.window.lines().iter().filter_map(message_of).map(|m| m.read_by.clone()).collect();
        assert_eq!(readers, [vec![], vec![], vec![], vec![user("ben")]]);
    }

    #[test]
    fn who_is_there_is_kept_with_the_people() {
        let mut chat = chat();
        let (room, user, presence) = ("room1".to_owned(), user("ben"), "online".to_owned());
        notice(&mut chat, Happened::Presence { room, user: user.clone(), presence, last_seen_ms: 7 });
        let open = chat.state.here().unwrap();
        let ben = open.members().iter().find(|member| member.user == user).unwrap();
        assert_eq!((ben.presence.as_deref(), ben.last_seen_ms), (Some("online"), Some(7)));
    }
}
