//! What people are called on screen. Two who call themselves the same are told apart by a piece of their key.

use std::collections::{BTreeMap, BTreeSet};

use ratatui::style::Style;

use crate::api::types::{Line, Message, Room};
use crate::text::SafeText;
use crate::tui::open::OpenRoom;
use crate::tui::theme::Theme;
use crate::tui::window::message_of;

/// The people of a room, by what they are called.
#[derive(Debug, Clone, Default)]
pub struct Names {
    by_user: BTreeMap<String, String>,
    /// Names that more than one person uses, as they compare.
    shared: BTreeSet<String>,
}

impl Names {
    /// The members of a room and those who speak in what is held of it.
    pub fn of(open: &OpenRoom) -> Self {
        let mut by_user: BTreeMap<String, String> = BTreeMap::new();
        let members = open.members.iter().map(|member| (&member.user, &member.name));
        // Who left is no member any more, yet their messages have their name.
        let authors = open.window.lines().iter().filter_map(message_of).map(|message| (&message.user, &message.name));
        for (user, name) in authors.chain(members) {
            if !name.trim().is_empty() {
                by_user.insert(user.clone(), clean(name));
            }
        }
        let mut seen = BTreeSet::new();
        let shared =
            by_user.values().map(|name| name.to_lowercase()).filter(|name| !seen.insert(name.clone())).collect();
        Self { by_user, shared }
    }

    /// What to call this user.
    pub fn name(&self, user: &str) -> String {
        match self.by_user.get(user) {
            Some(name) if self.shared.contains(&name.to_lowercase()) => format!("{name} ~{}", tail(user)),
            Some(name) => name.clone(),
            None => short(user),
        }
    }

    /// Who says this message, in which style.
    pub fn author(&self, message: &Message, theme: Theme) -> (String, Style) {
        let name = self.name(&message.user);
        match &message.imported {
            // The claimed author may be anybody: who vouches for it is always said.
            Some(imported) => {
                let author = clean(&imported.author);
                let style = theme.name(&format!("{}/{author}", imported.source));
                (format!("{author} (imported by {name})"), style)
            }
            None => (name, theme.name(&message.user)),
        }
    }

    /// Everybody's names, those who spoke last first; without `me` and without authors who are only claimed.
    pub fn by_activity(&self, lines: &[Line], me: &str) -> Vec<String> {
        let spoke = lines.iter().rev().filter_map(message_of).filter(|message| message.imported.is_none());
        let users = spoke.map(|message| message.user.as_str()).chain(self.by_user.keys().map(String::as_str));
        let mut listed = BTreeSet::new();
        let users = users.filter(|user| *user != me && listed.insert(*user));
        users.filter_map(|user| self.by_user.get(user).cloned()).collect()
    }
}

/// What to call a room on screen.
pub fn room_name(room: &Room) -> String {
    let name = if room.alias.trim().is_empty() { clean(&room.name) } else { clean(&room.alias) };
    if name.is_empty() { short(&room.room) } else { name }
}

/// A short form of an id: enough to tell people apart at a glance, never to trust.
pub fn short(id: &str) -> String {
    let bare = id.strip_prefix("did:key:").unwrap_or(id);
    let short: String = bare.chars().take(SHORT_CHARS).collect();
    clean(&if short.len() < bare.len() { short + "…" } else { short })
}

/// A name as it is displayed.
pub fn clean(name: &str) -> String {
    SafeText::line(name).to_string().trim().to_owned()
}

fn tail(id: &str) -> String {
    let chars: Vec<char> = id.chars().collect();
    clean(&String::from_iter(&chars[chars.len().saturating_sub(TAIL_CHARS)..]))
}

const SHORT_CHARS: usize = 10;
const TAIL_CHARS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::Imported;
    use crate::tui::effect::Page;
    use crate::tui::fixtures::{member, message, user};

    fn open(names: &[&str]) -> OpenRoom {
        let mut open =
            OpenRoom { members: names.iter().map(|name| member(name, "member")).collect(), ..OpenRoom::default() };
        let say = |(i, name): (usize, &&str)| Line::Message(Box::new(message(&format!("m{i}"), name, i as u64, "x")));
        open.window.merge(&Page::Newest, names.iter().enumerate().map(say).collect());
        open
    }

    #[test]
    fn same_name_is_told_apart_by_key() {
        let mut open = open(&["ana", "ben"]);
        open.members[1].name = " ANA ".into();
        let names = Names::of(&open);
        assert_eq!(names.name(&user("ana")), "ana ~kana");
        assert_eq!(names.name(&user("ben")), "ANA ~kben");
        assert_eq!(names.name("did:key:z6MkhaXgBZDvotDkL5257"), "z6MkhaXgBZ…");
    }

    #[test]
    fn hostile_names_are_disarmed() {
        let mut open = open(&["ana"]);
        open.members[0].name = "\u{1b}[2Jroot\n\u{202e}x".into();
        assert_eq!(Names::of(&open).name(&user("ana")), "\u{fffd}[2Jroot \u{fffd}x");
        assert_eq!(short("\u{1b}]0;x"), "\u{fffd}]0;x");
    }

    #[test]
    fn imported_author_names_who_vouches() {
        let names = Names::of(&open(&["ana"]));
        let mut message = message("m", "ana", 1, "x");
        message.imported = Some(Imported { author: "root".into(), ms: 1, source: "irc".into() });
        assert_eq!(names.author(&message, Theme::Plain).0, "root (imported by ana)");
    }

    #[test]
    fn latest_speakers_come_first() {
        let mut open = open(&["ana", "ben", "me", "cy"]);
        open.members.push(member("dora", "reader"));
        let names = Names::of(&open);
        assert_eq!(names.by_activity(open.window.lines(), &user("me")), ["cy", "ben", "ana", "dora"]);
    }
}
