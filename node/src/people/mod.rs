//! What this node knows of people by itself: pet names, keys compared, who is blocked. It changes how things are shown,
//! never what counts. Nobody is told of it, but for the user's other devices of names and blocks (`account/people.rs`).

mod at_names;
mod bans;
mod names;
mod shared;

use crate::account::Field;
use crate::api::people as api;
use crate::api::types::Known;
use crate::clock::now_ms;
use crate::command::Command;
use crate::handle::{NodeError, NodeHandle};
use crate::kept::Kept;
use crate::rooms::RoomView;
use crate::sync::PeerNews;
use crate::text::is_one_visible_line;
use names::Doubles;
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};
use thiserror::Error;
use tidings_protocol::at_name::{AtName, AtNameError};
use tidings_protocol::id::UserId;
use tidings_protocol::limits::NAME_LEN_MAX;
use tidings_protocol::lookalike::Looks;
use tidings_protocol::verification::{NotACode, VerifyCode, VerifyLink, VerifyLinkError};
use tidings_storage::{PersonRow, PinRow, StorageError, Store};

/// People, pins and bans in memory, as the store has them.
#[derive(Default)]
pub struct People {
    book: RwLock<Book>,
    /// Held while something of it is changed.
    changing: tokio::sync::Mutex<()>,
    doubles: Doubles,
}

#[derive(Default)]
struct Book {
    people: BTreeMap<UserId, PersonRow>,
    pins: BTreeMap<String, PinRow>,
    bans: BTreeMap<Vec<u8>, u64>,
    /// Grows with every change.
    version: u64,
}

/// Why something about a person was not done.
#[derive(Debug, Error)]
pub enum PeopleError {
    /// Oneself.
    #[error("that is you")]
    Yourself,
    /// Not a way to name anybody.
    #[error(
        "\"{0}\" is nobody here: write did:key:z6Mk..., a pet name, or a name at a domain such as alice@example.org. \
         `tidings room members ROOM` shows everybody's key"
    )]
    Nobody(String),
    /// Cannot be a pet name.
    #[error("a pet name has 1 to {NAME_LEN_MAX} bytes on one line, no control characters and no @, and is no key")]
    BadPetname,
    /// Somebody else is called so, or so that one reads it as the same.
    #[error("\"{petname}\" reads like \"{other}\", as you call {user}: choose a pet name that tells them apart")]
    PetnameTaken {
        /// The new one.
        petname: String,
        /// The old one.
        other: String,
        /// Whose that is.
        user: UserId,
    },
    /// Not a code.
    #[error(transparent)]
    NotACode(#[from] NotACode),
    /// Not a link.
    #[error(transparent)]
    Link(#[from] VerifyLinkError),
    /// The code is another one.
    #[error(
        "the codes differ, so {0} is not verified. Either this is not the person you think, or somebody has put a key of \
         their own between you: believe nothing from this key before you have cleared that up face to face"
    )]
    CodesDiffer(UserId),
    /// The link is of another person.
    #[error(
        "the link is for the key {link}, you asked for {asked}: they are not the same person, or somebody has put a key of \
         their own between you. Nobody is verified"
    )]
    OtherPerson {
        /// Whose the link is.
        link: UserId,
        /// Who was asked for.
        asked: UserId,
    },
    /// The link was made for somebody else.
    #[error("the link is not for you: it was made to be scanned by somebody with another key. Nobody is verified")]
    NotForYou,
    /// Not a name at a domain.
    #[error(transparent)]
    AtName(#[from] AtNameError),
    /// The domain names another key than before.
    #[error(
        "{name} was {pinned} when you first used it; the domain now says {now}. Perhaps they have a new key, perhaps \
         somebody has taken over the domain: ask them by another way. To accept the new key: \
         tidings people pin {name} --replace"
    )]
    PinDiffers {
        /// The name.
        name: String,
        /// The key before.
        pinned: UserId,
        /// The key that the domain says now.
        now: UserId,
    },
    /// Not pinned.
    #[error("{0} is not pinned to any key here")]
    NotPinned(AtName),
    /// Not a peer.
    #[error("\"{0}\" is no peer: write its whole id, 12D3Koo..., as `tidings peers --json` shows it")]
    NoPeer(String),
    /// Banned.
    #[error("{0} is banned here: tidings peers unban {0}")]
    Banned(String),
    /// So many are kept.
    #[error("{0} are kept at most: remove some that you do not need")]
    Full(usize),
}

impl People {
    /// As the store has them.
    ///
    /// # Errors
    /// `StorageError`.
    pub fn load(store: &Store) -> Result<Self, StorageError> {
        let (people, pins) = (store.people()?.into_iter().collect(), store.pins()?.into_iter().collect());
        let book = Book { people, pins, bans: store.bans()?.into_iter().collect(), version: 0 };
        Ok(People { book: RwLock::new(book), ..People::default() })
    }

    fn read<T>(&self, what: impl FnOnce(&Book) -> T) -> T {
        what(&self.book.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn find(&self, user: UserId) -> Option<PersonRow> {
        self.read(|book| book.people.get(&user).cloned())
    }

    fn version(&self) -> u64 {
        self.read(|book| book.version)
    }

    pub(crate) fn petnames(&self) -> Vec<(UserId, String)> {
        let named =
            |(user, row): (&UserId, &PersonRow)| (!row.petname.is_empty()).then(|| (*user, row.petname.clone()));
        self.read(|book| book.people.iter().filter_map(named).collect())
    }

    /// Whether what somebody says is hidden here.
    pub(crate) fn is_blocked(&self, user: UserId) -> bool {
        self.read(|book| book.people.get(&user).is_some_and(|row| row.blocked_ms > 0))
    }

    /// Whether anybody is blocked at all.
    pub(crate) fn blocks_anybody(&self) -> bool {
        self.read(|book| book.people.values().any(|row| row.blocked_ms > 0))
    }

    /// What others see of us has changed: who looks like us is asked anew.
    pub(crate) fn renamed(&self) {
        self.change(|_| ());
    }

    fn change(&self, change: impl FnOnce(&mut Book)) {
        let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut book);
        book.version += 1;
    }
}

impl NodeHandle {
    /// The user whom people mean by a text: a key, a pet name, or a name at a domain, which is asked for.
    ///
    /// # Errors
    /// `NodeError::People`, `NodeError::Lookup`.
    pub async fn user(&self, text: &str) -> Result<UserId, NodeError> {
        let text = text.trim();
        if let Ok(user) = text.parse() {
            return Ok(user);
        }
        if AtName::is_meant(text) {
            return self.user_at(&text.parse().map_err(PeopleError::from)?).await;
        }
        // No two pet names look alike, so one that differs in case is meant.
        let found = self.manager.people.petnames();
        let found = found.iter().find(|(_, petname)| petname.to_lowercase() == text.to_lowercase());
        found.map(|(user, _)| *user).ok_or_else(|| PeopleError::Nobody(text.to_owned()).into())
    }

    /// Everybody of whom this node keeps something.
    ///
    /// # Errors
    /// `NodeError::Storage`.
    pub fn people(&self) -> Result<Vec<api::Person>, NodeError> {
        let users = self.manager.people.read(|book| {
            let mut users: Vec<UserId> = book.people.keys().copied().collect();
            users.extend(book.pins.values().map(|pin| pin.user));
            users.sort_unstable();
            users.dedup();
            users
        });
        users.into_iter().map(|user| self.person(user)).collect()
    }

    /// One person.
    fn person(&self, user: UserId) -> Result<api::Person, NodeError> {
        let row = self.manager.people.find(user).unwrap_or_default();
        let pins = self.manager.people.read(|book| {
            let names = book.pins.iter().filter(|(_, pin)| pin.user == user);
            names.map(|(name, _)| name.clone()).collect()
        });
        let mut name = None;
        for (_, view) in self.manager.views.all() {
            name = name.or(self.manager.store.profile_name(view.number, user)?.filter(|n| !n.trim().is_empty()));
        }
        Ok(api::Person {
            user: user.to_string(),
            petname: (!row.petname.is_empty()).then_some(row.petname),
            name: name.unwrap_or_default(),
            verified: row.verified_ms > 0,
            verified_ms: row.verified_ms,
            blocked: row.blocked_ms > 0,
            blocked_ms: row.blocked_ms,
            names: pins,
        })
    }

    /// Calls somebody something here; an empty name takes that back.
    ///
    /// # Errors
    /// `NodeError::People`.
    pub async fn name_person(&self, who: &str, petname: &str) -> Result<api::Person, NodeError> {
        let user = self.somebody_else(who).await?;
        let petname = petname.trim();
        if !petname.is_empty() {
            let looks = Looks::of(petname);
            if !is_petname(petname) {
                return Err(PeopleError::BadPetname.into());
            }
            let others = self.manager.people.petnames().into_iter().filter(|(other, _)| *other != user);
            if let Some((user, other)) = others.into_iter().find(|(_, other)| Looks::of(other).alike(&looks)) {
                return Err(PeopleError::PetnameTaken { petname: petname.to_owned(), other, user }.into());
            }
        }
        let petname = petname.to_owned();
        self.change_person(user, |row| row.petname = petname).await
    }

    /// The code to compare with somebody, and the same as a link.
    ///
    /// # Errors
    /// `NodeError::People`.
    pub async fn verify_code(&self, who: &str) -> Result<api::Code, NodeError> {
        let (user, me) = (self.somebody_else(who).await?, self.manager.keys.user);
        Ok(api::Code {
            code: VerifyCode::of(me, user).to_string(),
            link: VerifyLink::of(me, user).to_text(),
            person: self.person(user)?,
        })
    }

    /// Marks somebody's key as compared, if the code or link that they showed is the right one.
    ///
    /// # Errors
    /// `NodeError::People`.
    pub async fn verify(&self, who: &str, shown: &str) -> Result<api::Person, NodeError> {
        let user = self.somebody_else(who).await?;
        if VerifyLink::is_meant(shown) {
            let link = self.other_of(shown)?;
            if link != user {
                return Err(PeopleError::OtherPerson { link, asked: user }.into());
            }
        } else if shown.parse::<VerifyCode>().map_err(PeopleError::from)?
            != VerifyCode::of(self.manager.keys.user, user)
        {
            return Err(PeopleError::CodesDiffer(user).into());
        }
        self.change_person(user, |row| row.verified_ms = now_ms()).await
    }

    /// Marks the key in a link that was scanned from somebody's screen.
    ///
    /// # Errors
    /// `NodeError::People`.
    pub async fn verify_link(&self, link: &str) -> Result<api::Person, NodeError> {
        let user = self.other_of(link)?;
        self.change_person(user, |row| row.verified_ms = now_ms()).await
    }

    fn other_of(&self, link: &str) -> Result<UserId, NodeError> {
        let link = VerifyLink::from_text(link).map_err(PeopleError::from)?;
        Ok(link.other(self.manager.keys.user).ok_or(PeopleError::NotForYou)?)
    }

    /// Takes back that somebody's key was compared.
    ///
    /// # Errors
    /// `NodeError::People`.
    pub async fn unverify(&self, who: &str) -> Result<api::Person, NodeError> {
        let user = self.somebody_else(who).await?;
        self.change_person(user, |row| row.verified_ms = 0).await
    }

    /// Hides what somebody says from this node's screens, or shows it again.
    ///
    /// # Errors
    /// `NodeError::People`.
    pub async fn block_person(&self, who: &str, blocked: bool) -> Result<api::Person, NodeError> {
        let user = self.somebody_else(who).await?;
        let since_ms = if blocked { now_ms() } else { 0 };
        self.change_person(user, |row| row.blocked_ms = since_ms).await
    }

    /// What this node's user knows of somebody who is seen in a room.
    pub(crate) fn known(&self, view: &RoomView, user: UserId) -> Result<Known, NodeError> {
        let row = self.manager.people.find(user).unwrap_or_default();
        Ok(Known {
            petname: (!row.petname.is_empty()).then_some(row.petname),
            user_verified: row.verified_ms > 0,
            lookalike_of: self.doubles(view)?.of(user).map(|user| user.to_string()),
            blocked: row.blocked_ms > 0,
        })
    }

    async fn somebody_else(&self, who: &str) -> Result<UserId, NodeError> {
        let user = self.user(who).await?;
        if user == self.manager.keys.user { Err(PeopleError::Yourself.into()) } else { Ok(user) }
    }

    async fn change_person(&self, user: UserId, change: impl FnOnce(&mut PersonRow)) -> Result<api::Person, NodeError> {
        let people = &self.manager.people;
        let changing = people.changing.lock().await;
        let before = people.find(user);
        let mut row = before.clone().unwrap_or_default();
        change(&mut row);
        if before.is_none() && people.read(|book| book.people.len()) >= PEOPLE_MAX {
            return Err(PeopleError::Full(PEOPLE_MAX).into());
        }
        let kept = Kept::Person(user, row.clone());
        self.write(|reply| Command::Keep(kept, reply)).await?;
        people.change(|book| book.put(user, row));
        drop(changing);
        let _ = self.manager.peers_changed.send(PeerNews::People);
        let (before, after) = (before.unwrap_or_default(), people.find(user).unwrap_or_default());
        if before.petname != after.petname {
            self.tell_of_person(user, Field::Name).await?;
        }
        if (before.blocked_ms > 0) != (after.blocked_ms > 0) {
            self.tell_of_person(user, Field::Block).await?;
        }
        self.person(user)
    }
}

impl Book {
    fn put(&mut self, user: UserId, row: PersonRow) {
        match row == PersonRow::default() {
            true => drop(self.people.remove(&user)),
            false => drop(self.people.insert(user, row)),
        }
    }
}

/// Whether somebody may be called so.
pub(crate) fn is_petname(name: &str) -> bool {
    let is_name = name.len() <= NAME_LEN_MAX && is_one_visible_line(name) && name.trim() == name;
    is_name && !AtName::is_meant(name) && !name.starts_with("did:") && Looks::of(name) != Looks::of("")
}

/// People, pins and bans that are kept, each: nobody knows more, and all of them stay in memory.
const PEOPLE_MAX: usize = 10_000;
