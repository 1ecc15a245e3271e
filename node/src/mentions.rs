//! Whom a text names. A mention is kept as a key beside the text, so that it stays theirs whatever anybody is called later;
//! here typed names become keys: `@name` anywhere, and `name:` at the beginning, as chats write it.

use crate::handle::{NodeError, NodeHandle};
use crate::rooms::RoomView;
use std::collections::BTreeMap;
use tidings_protocol::content::Text;
use tidings_protocol::id::UserId;
use tidings_protocol::limits::{MENTIONS_MAX, NAME_LEN_MAX};

/// Who is called what in a room, by names in lower case; nobody where two are.
#[derive(Debug, Default)]
pub struct Called(BTreeMap<String, Option<UserId>>);

impl NodeHandle {
    /// A text as it is to be said in a room, with whom it names.
    pub(crate) fn text_in(&self, view: &RoomView, body: &str) -> Result<Text, NodeError> {
        let mentions = if may_name(body) { self.called_in(view)?.named_in(body) } else { Vec::new() };
        Ok(Text::new(body.to_owned(), mentions))
    }

    /// Who is called what among the members of a room. Who only looks like another is not meant by that name.
    fn called_in(&self, view: &RoomView) -> Result<Called, NodeError> {
        let doubles = self.doubles(view)?;
        let mut called = Called::default();
        for shown in self.manager.store.shown_names(view.number)? {
            let is_member = view.state.members.contains_key(&shown.user);
            if is_member && doubles.of(shown.user).is_none() {
                called.add(&shown.name, shown.user);
            }
        }
        // What the local user calls somebody is meant before what they call themselves.
        for (user, petname) in self.manager.people.petnames() {
            if view.state.members.contains_key(&user) {
                called.0.insert(petname.to_lowercase(), Some(user));
            }
        }
        Ok(called)
    }
}

impl Called {
    /// Notes what somebody is called.
    pub fn add(&mut self, name: &str, user: UserId) {
        let name = name.trim().to_lowercase();
        if !name.is_empty() {
            self.0.entry(name).and_modify(|other| *other = other.filter(|other| *other == user)).or_insert(Some(user));
        }
    }

    /// The people whom a text names, at most as many as a text can.
    pub fn named_in(&self, body: &str) -> Vec<UserId> {
        let mut found = Vec::new();
        let mut before = None;
        for (at, c) in body.char_indices() {
            let begins = before.is_none_or(|before: char| !before.is_alphanumeric());
            before = Some(c);
            let rest = body.get(at + c.len_utf8()..).unwrap_or_default();
            if c == '@' && begins {
                found.extend(self.at_start(rest, |after| after.is_none_or(|c| !c.is_alphanumeric())));
            }
            if found.len() >= MENTIONS_MAX {
                break;
            }
        }
        found.extend(self.at_start(body, |after| after == Some(':')));
        found
    }

    /// Whom a text names at its start: a key, or the longest name that is there and ends well.
    fn at_start(&self, text: &str, ends: impl Fn(Option<char>) -> bool) -> Option<UserId> {
        if text.starts_with("did:key:") {
            let end = text.get(8..)?.find(|c: char| !c.is_ascii_alphanumeric()).map_or(text.len(), |end| end + 8);
            return text.get(..end)?.parse().ok();
        }
        let mut read = String::new();
        let mut best = None;
        for (at, c) in text.char_indices().take_while(|(at, _)| *at < NAME_LEN_MAX) {
            read.extend(c.to_lowercase());
            let after = text.get(at + c.len_utf8()..).and_then(|rest| rest.chars().next());
            if let Some(user) = self.0.get(&read).filter(|_| ends(after)) {
                best = Some(*user);
            }
        }
        best.flatten()
    }
}

/// Whether a text can name anybody: most do not, and need no list of names.
fn may_name(body: &str) -> bool {
    body.contains('@') || body.char_indices().take_while(|(at, _)| *at <= NAME_LEN_MAX).any(|(_, c)| c == ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(body: &str) -> Vec<u8> {
        let mut called = Called::default();
        for (n, name) in ["Ada", "Ada Lovelace", "ben", "Zoë", "twin", "Twin"].into_iter().enumerate() {
            called.add(name, UserId([n as u8; 32]));
        }
        called.named_in(body).iter().map(|user| user.0[0]).collect()
    }

    #[test]
    fn names_are_found_as_people_type_them() {
        assert_eq!(named("@Ada look"), [0]);
        assert_eq!(named("@ada lovelace, and (@BEN)"), [1, 2]);
        assert_eq!(named("what does @zoë say? @Zoë!"), [3, 3]);
        assert_eq!(named("ben: are you there"), [2]);
    }

    #[test]
    fn what_is_no_name_names_nobody() {
        for body in ["mail ben@ada.example", "@adah", "@", "@nobody", "see ben: no", "@twin", "", "@ ada"] {
            assert_eq!(named(body), Vec::<u8>::new(), "{body}");
        }
    }

    #[test]
    fn a_key_names_its_user() {
        let user = UserId([9; 32]);
        assert_eq!(Called::default().named_in(&format!("hi @{user}, look")), [user]);
        assert!(Called::default().named_in("@did:key:zzz @did:key: @did:key:é").is_empty());
    }

    #[test]
    fn a_text_full_of_names_names_as_many_as_it_may() {
        let mut called = Called::default();
        called.add("x", UserId([1; 32]));
        assert_eq!(called.named_in(&"@x ".repeat(1000)).len(), MENTIONS_MAX);
    }
}
