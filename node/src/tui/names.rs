//! What people are called on screen. Two who call themselves the same are told apart by a piece of their key.

use std::collections::{BTreeMap, BTreeSet};

use ratatui::style::Style;

use crate::api::types::{Known, Line, Member, Message, Room};
use crate::text::{self, SafeText};
use crate::tui::theme::Theme;
use crate::tui::window::message_of;
use crate::tui::wrap::{fit, width};

/// The people of a room, by what they are called.
#[derive(Debug, Clone, Default)]
pub struct Names {
    by_user: BTreeMap<String, Shown>,
    /// Names that more than one person uses, as they compare.
    shared: BTreeSet<String>,
}

/// How one of them is shown.
#[derive(Debug, Clone)]
struct Shown {
    /// The pet name, or what they call themselves.
    name: String,
    /// What they call themselves: what others know them by.
    own: String,
    is_verified: bool,
    is_double: bool,
    is_blocked: bool,
}

/// Whom the beginning of a line means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// This one: a key, or what the node may know; and the rest of the line.
    One {
        /// Who.
        user: String,
        /// What stands behind the name.
        rest: String,
    },
    /// Any of these, as they are told apart.
    Several(Vec<String>),
}

impl Whom {
    /// Where nobody is known: the first word, for the node to make sense of.
    pub fn read(line: &str) -> Self {
        let (user, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
        Self::One { user: user.to_owned(), rest: rest.trim().to_owned() }
    }
}

impl Names {
    /// The members of a room and those who speak in what is held of it.
    pub fn of(members: &[Member], lines: &[Line]) -> Self {
        let mut by_user: BTreeMap<String, Shown> = BTreeMap::new();
        let members = members.iter().map(|member| (&member.user, Shown::of_member(member)));
        // Who left is no member any more, yet their messages have their name.
        let authors = lines.iter().filter_map(message_of).map(|message| (&message.user, Shown::of_author(message)));
        for (user, shown) in authors.chain(members) {
            if !shown.name.is_empty() {
                by_user.insert(user.clone(), shown);
            }
        }
        let mut seen = BTreeSet::new();
        // Whoever only looks like another is marked, and takes nothing from the other's name.
        let names = by_user.values().filter(|shown| !shown.is_double).map(|shown| shown.name.to_lowercase());
        let shared = names.filter(|name| !seen.insert(name.clone())).collect();
        Self { by_user, shared }
    }

    /// Whether this user is known.
    pub fn knows(&self, user: &str) -> bool {
        self.by_user.contains_key(user)
    }

    /// What to call this user, in at most `cells`. However long a name is, it cannot push out what tells it apart.
    pub fn name(&self, user: &str, cells: usize) -> String {
        let Some(shown) = self.by_user.get(user) else { return fit(&short(user), cells) };
        if shown.is_double {
            return with_suffix(&format!("⚠ {}", shown.name), &format!(" (did:key…{})", tail(user)), cells);
        }
        let mark = if shown.is_verified { " ✓" } else { "" };
        match self.shared.contains(&shown.name.to_lowercase()) {
            true => with_suffix(&shown.name, &format!(" ~{}{mark}", tail(user)), cells),
            false => with_suffix(&shown.name, mark, cells),
        }
    }

    /// The name of this user without marks.
    pub fn bare(&self, user: &str) -> String {
        self.by_user.get(user).map_or_else(|| short(user), |shown| shown.name.clone())
    }

    /// Whom a line begins with: the longest name that fits, as it is shown or as its owner writes it.
    pub fn whom(&self, line: &str) -> Whom {
        let line = line.trim();
        let mut found: BTreeMap<usize, BTreeSet<&String>> = BTreeMap::new();
        for (user, shown) in &self.by_user {
            let told_apart = format!("{} ~{}", shown.name, tail(user));
            for name in [&shown.name, &shown.own, &told_apart] {
                if begins_with(line, name) {
                    found.entry(name.chars().count()).or_default().insert(user);
                }
            }
        }
        let Some((chars, mut users)) = found.pop_last() else { return Whom::read(line) };
        let is_double = |user: &&String| self.by_user.get(*user).is_some_and(|shown| shown.is_double);
        if users.iter().filter(|user| !is_double(user)).count() == 1 {
            users.retain(|user| !is_double(user));
        }
        let mut users = users.into_iter();
        match (users.next(), users.next()) {
            (Some(user), None) => {
                let rest: String = line.chars().skip(chars).collect();
                Whom::One { user: user.clone(), rest: rest.trim().to_owned() }
            }
            (one, other) => {
                let told_apart = |user: &String| format!("{} ~{}", self.bare(user), tail(user));
                Whom::Several(one.into_iter().chain(other).chain(users).take(SEVERAL_MAX).map(told_apart).collect())
            }
        }
    }

    /// Who says this message, in at most `cells`, and in which style. An imported author may be anybody: who vouches for
    /// them is always said, however long the claim is.
    pub fn author(&self, message: &Message, theme: Theme, cells: usize) -> (String, Style) {
        match &message.imported {
            Some(imported) => {
                let author = name_of_others(&imported.author);
                let style = theme.name(&format!("{}/{author}", imported.source));
                let by = format!(" (imported by {})", self.name(&message.user, cells / 3));
                (with_suffix(&author, &by, cells), style)
            }
            None if message.adopted.is_some() => {
                let by = message.adopted.as_ref().map(|adopted| self.name(&adopted.user, cells / 3));
                let by = format!(" (adopted by {})", by.unwrap_or_default());
                (with_suffix(&self.name(&message.user, cells), &by, cells), theme.name(&message.user))
            }
            None => {
                let is_double = self.by_user.get(&message.user).is_some_and(|shown| shown.is_double);
                let style = if is_double { theme.warning() } else { theme.name(&message.user) };
                (self.name(&message.user, cells), style)
            }
        }
    }

    /// Everybody's names as they give them themselves, for that is what others know: those who spoke last first; without
    /// `me`, without authors who are only claimed, and without those who are blocked.
    pub fn by_activity(&self, lines: &[Line], me: &str) -> Vec<String> {
        let spoke = lines.iter().rev().filter_map(message_of).filter(|message| message.imported.is_none());
        let users = spoke.map(|message| message.user.as_str()).chain(self.by_user.keys().map(String::as_str));
        let mut listed = BTreeSet::new();
        let users = users.filter(|user| *user != me && listed.insert(*user));
        let shown = users.filter_map(|user| self.by_user.get(user)).filter(|shown| !shown.is_blocked);
        shown.map(|shown| shown.own.clone()).filter(|own| !own.is_empty()).collect()
    }
}

impl Shown {
    fn of_member(member: &Member) -> Self {
        let known = Known {
            petname: member.petname.clone(),
            user_verified: member.verified && !member.you,
            lookalike_of: member.lookalike_of.clone(),
            blocked: member.blocked,
        };
        Self::of(&member.name, &known)
    }

    fn of_author(message: &Message) -> Self {
        Self::of(&message.name, &message.known)
    }

    fn of(name: &str, known: &Known) -> Self {
        let own = name_of_others(name);
        Self {
            name: known.petname.as_deref().map_or_else(|| own.clone(), clean),
            own,
            is_verified: known.user_verified,
            is_double: known.lookalike_of.is_some(),
            is_blocked: known.blocked,
        }
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

/// What somebody calls themselves, as it is displayed.
pub fn name_of_others(name: &str) -> String {
    text::name_of_others(name)
}

/// Whether a line begins with this name as a word.
fn begins_with(line: &str, name: &str) -> bool {
    let mut rest = line.chars();
    let same = name.chars().all(|c| rest.next().is_some_and(|r| r == c || r.to_lowercase().eq(c.to_lowercase())));
    same && !name.is_empty() && rest.next().is_none_or(char::is_whitespace)
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
/// Of those who are called the same, as many are listed.
const SEVERAL_MAX: usize = 4;
const SHORT_CHARS: usize = 10;
const TAIL_CHARS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{Adoption, Imported};
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
    fn people_are_shown_as_they_are_known() {
        let mut people = members(&["ana", "ben", "carla", "dan", "me"]);
        people[0].petname = Some("Mum".into());
        people[1].verified = true;
        people[2].lookalike_of = Some(user("ana"));
        people[3].name = "✓ dan ⚠".into();
        (people[4].verified, people[4].you) = (true, true);
        let names = Names::of(&people, &[]);
        let shown = |name: &str| names.name(&user(name), 40);
        assert_eq!([shown("ana"), shown("ben"), shown("me")], ["Mum", "ben ✓", "me"]);
        assert_eq!(shown("carla"), "⚠ carla (did:key…arla)");
        assert_eq!(shown("dan"), "dan");
        assert_eq!(names.bare(&user("carla")), "carla");
        for cells in [20, 24] {
            let shown = names.name(&user("carla"), cells);
            assert!(shown.starts_with("⚠ ") && shown.ends_with("(did:key…arla)") && width(&shown) <= cells, "{shown}");
        }
        // What is typed for others is what others know.
        assert_eq!(names.by_activity(&[], &user("me")), ["ana", "ben", "carla", "dan"]);
        people[3].blocked = true;
        assert_eq!(Names::of(&people, &[]).by_activity(&[], &user("me")), ["ana", "ben", "carla"]);
        // What a message says of its author counts for those who are no members any more.
        let mut gone = message("m", "eve", 1, "x");
        gone.known = Known { petname: Some("Evil Eve".into()), ..Known::default() };
        let lines = [Line::Message(Box::new(gone))];
        assert_eq!(Names::of(&people, &lines).name(&user("eve"), 40), "Evil Eve");
    }

    #[test]
    fn whom_a_line_means_is_found_by_the_longest_name() {
        let mut people = members(&["ana", "anamaria", "ben", "benben"]);
        people[1].name = "Ana Maria".into();
        people[2].petname = Some("Ben from work".into());
        people[3].name = "ANA".into();
        let names = Names::of(&people, &[]);
        let one = |name: &str, rest: &str| Whom::One { user: user(name), rest: rest.into() };
        assert_eq!(names.whom("ana maria my friend"), one("anamaria", "my friend"));
        assert_eq!(names.whom("Ben from work  12345 67890"), one("ben", "12345 67890"));
        assert_eq!(names.whom("ben"), one("ben", ""));
        assert_eq!(names.whom("ana"), Whom::Several(vec!["ana ~kana".into(), "ANA ~nben".into()]));
        assert_eq!(names.whom("ana ~kana x"), one("ana", "x"));
        people[3].lookalike_of = Some(user("ana"));
        let names = Names::of(&people, &[]);
        assert_eq!(names.whom("ana"), one("ana", ""));
        assert_eq!(names.whom("ana ~nben"), one("benben", ""));
        assert_eq!(
            (names.name(&user("ana"), 40), names.name(&user("benben"), 40)),
            ("ana".into(), "⚠ ANA (did:key…nben)".into())
        );
        let read = |user: &str, rest: &str| Whom::One { user: user.into(), rest: rest.into() };
        assert_eq!(names.whom("did:key:z6MkX the boss"), read("did:key:z6MkX", "the boss"));
        assert_eq!(names.whom("ben@example.org"), read("ben@example.org", ""));
        assert_eq!(names.whom("benjamin"), read("benjamin", ""));
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
    fn adopted_message_names_author_and_who_stands_for_it() {
        let names = Names::of(&members(&["ana", "ben"]), &[]);
        let mut quoted = message("m", "ana", 1, "x");
        quoted.adopted = Some(Adoption { user: user("ben"), name: "ben".into(), message: "m0".into() });
        assert_eq!(names.author(&quoted, Theme::Plain, 60).0, "ana (adopted by ben)");
    }

    #[test]
    fn latest_speakers_come_first() {
        let lines = said(&["ana", "ben", "me", "cy"]);
        let names = Names::of(&members(&["ana", "dora"]), &lines);
        assert_eq!(names.by_activity(&lines, &user("me")), ["cy", "ben", "ana", "dora"]);
    }
}
