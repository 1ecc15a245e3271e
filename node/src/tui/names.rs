//! What people are called on screen. Two who call themselves the same are told apart by a piece of their key.

use std::collections::{BTreeMap, BTreeSet};

use ratatui::style::Style;

use crate::api::types::{Line, Member, Message, Room};
use crate::text::SafeText;
use crate::tui::theme::Theme;
use crate::tui::window::message_of;
use crate::tui::wrap::{fit, width};

/// The people of a room, by what they are called.
#[derive(Debug, Clone, Default)]
pub struct Names {
    by_user: BTreeMap<String, String>,
    /// Names that more than one person uses, as they compare.
    shared: BTreeSet<String>,
}

impl Names {
    /// The members of a room and those who speak in what is held of it.
    pub fn of(members: &[Member], lines: &[Line]) -> Self {
        let mut by_user: BTreeMap<String, String> = BTreeMap::new();
        let members = members.iter().map(|member| (&member.user, &member.name));
        // Who left is no member any more, yet their messages have their name.
        let authors = lines.iter().filter_map(message_of).map(|message| (&message.user, &message.name));
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

    /// Whether this user is known.
    pub fn knows(&self, user: &str) -> bool {
        self.by_user.contains_key(user)
    }

    /// What to call this user, in at most `cells`. However long a name is, it cannot push out what tells it apart.
    pub fn name(&self, user: &str, cells: usize) -> String {
        match self.by_user.get(user) {
            Some(name) if self.shared.contains(&name.to_lowercase()) => {
                with_suffix(name, &format!(" ~{}", tail(user)), cells)
            }
            Some(name) => fit(name, cells),
            None => fit(&short(user), cells),
        }
    }

    /// Who says this message, in at most `cells`, and in which style. An imported author may be anybody: who vouches for
    /// them is always said, however long the claim is.
    pub fn author(&self, message: &Message, theme: Theme, cells: usize) -> (String, Style) {
        match &message.imported {
            Some(imported) => {
                let author = clean(&imported.author);
                let style = theme.name(&format!("{}/{author}", imported.source));
                let by = format!(" (imported by {})", self.name(&message.user, cells / 3));
                (with_suffix(&author, &by, cells), style)
            }
            None => (self.name(&message.user, cells), theme.name(&message.user)),
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

/// A name and what must be read behind it: the name is cut first.
fn with_suffix(name: &str, suffix: &str, cells: usize) -> String {
    let name = fit(name, cells.saturating_sub(width(suffix)).max(NAME_CELLS_MIN));
    fit(&(name + suffix), cells)
}

fn tail(id: &str) -> String {
    let chars: Vec<char> = id.chars().collect();
    clean(&String::from_iter(&chars[chars.len().saturating_sub(TAIL_CHARS)..]))
}

const NAME_CELLS_MIN: usize = 3;
const SHORT_CHARS: usize = 10;
const TAIL_CHARS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::Imported;
    use crate::tui::fixtures::{member, message, user};

    fn said(names: &[&str]) -> Vec<Line> {
        let say = |(i, name): (usize, &&str)| Line::Message(Box::new(message(&format!("m{i}"), name, i as u64, "x")));
        names.iter().enumerate().map(say).collect()
    }

    fn members(names: &[&str]) -> Vec<Member> {
        names.iter().map(|name| member(name, "member")).collect()
    }

    #[test]
    fn same_name_is_told_apart_by_key() {
        let mut members = members(&["ana", "ben"]);
        members[1].name = " ANA ".into();
        let names = Names::of(&members, &said(&["ana", "ben"]));
        assert_eq!(names.name(&user("ana"), 40), "ana ~kana");
        assert_eq!(names.name(&user("ben"), 40), "ANA ~kben");
        assert_eq!(names.name("did:key:z6MkhaXgBZDvotDkL5257", 40), "z6MkhaXgBZ…");
    }

    #[test]
    fn hostile_names_are_disarmed() {
        let mut members = members(&["ana"]);
        members[0].name = "\u{1b}[2Jroot\n\u{202e}x".into();
        assert_eq!(Names::of(&members, &[]).name(&user("ana"), 40), "\u{fffd}[2Jroot \u{fffd}x");
        assert_eq!(short("\u{1b}]0;x"), "\u{fffd}]0;x");
    }

    #[test]
    fn imported_author_names_who_vouches() {
        let names = Names::of(&members(&["ana"]), &[]);
        let mut message = message("m", "ana", 1, "x");
        message.imported = Some(Imported { author: "root".into(), ms: 1, source: "irc".into() });
        assert_eq!(names.author(&message, Theme::Plain, 60).0, "root (imported by ana)");
        message.imported =
            Some(Imported { author: format!("ben{}", " ".repeat(100)) + "x", ms: 1, source: "irc".into() });
        for cells in [24, 34, 60] {
            let shown = names.author(&message, Theme::Plain, cells).0;
            assert!(shown.ends_with("(imported by ana)") && width(&shown) <= cells, "{shown}");
        }
    }

    #[test]
    fn latest_speakers_come_first() {
        let lines = said(&["ana", "ben", "me", "cy"]);
        let names = Names::of(&members(&["ana", "dora"]), &lines);
        assert_eq!(names.by_activity(&lines, &user("me")), ["cy", "ben", "ana", "dora"]);
    }
}
