//! What a user's devices tell one another of people: pet names and blocks. Keys compared are not among it: a device that
//! somebody stole must not be able to vouch for an impostor on all the others.

use std::collections::{BTreeMap, BTreeSet};
use tidings_protocol::account::{Account, Entry, Record, Subject};
use tidings_protocol::event::Hlc;
use tidings_protocol::id::UserId;
use tidings_protocol::lookalike::Looks;
use tidings_storage::PersonRow;

/// Something of a person that may be changed here and is told to other devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Field {
    /// What they are called.
    Name,
    /// Whether they are blocked.
    Block,
}

/// What the records say of one person; nothing where none does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// What to call them; empty for nothing.
    pub(crate) petname: Option<String>,
    /// Since when they are blocked, Unix milliseconds; 0 when they are not.
    pub(crate) blocked_ms: Option<u64>,
}

/// What all records together say of people. Of names that look alike, given on devices that had not heard of one another,
/// the one given last stands; so each device comes to the same, in whatever order it hears.
pub(super) fn told(account: &Account, own: UserId) -> BTreeMap<UserId, Told> {
    let mut out: BTreeMap<UserId, Told> = BTreeMap::new();
    let mut names: Vec<(Hlc, UserId, String)> = Vec::new();
    for entry in account.entries() {
        match entry.record() {
            Record::Block(user, blocked) if user != own => {
                let since_ms = if blocked { entry.hlc().ms().max(1) } else { 0 };
                out.entry(user).or_default().blocked_ms = Some(since_ms);
            }
            Record::PetName(user, name) if user != own => names.push((entry.hlc(), user, name)),
            _ => {}
        }
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for (_, user, name) in names {
        let looks = Looks::of(&name);
        let stands = crate::people::is_petname(&name) && looks.texts().all(|text| !taken.contains(text));
        taken.extend(looks.texts().filter(|_| stands).map(str::to_owned));
        out.entry(user).or_default().petname = Some(if stands { name } else { String::new() });
    }
    out
}

/// What is to be told of a person, whose row here is not what the records say.
pub(super) fn news_of(user: UserId, row: &PersonRow, told: Option<&Told>) -> Vec<(Field, Record)> {
    let mut news = Vec::new();
    let (name, blocked_ms) = told.map_or((None, None), |told| (told.petname.as_deref(), told.blocked_ms));
    if row.petname != name.unwrap_or_default() {
        news.push((Field::Name, Record::PetName(user, row.petname.clone())));
    }
    if (row.blocked_ms > 0) != (blocked_ms.unwrap_or(0) > 0) {
        news.push((Field::Block, Record::Block(user, row.blocked_ms > 0)));
    }
    news
}

/// A record later than what it takes the place of, even where that was said by a clock that is ahead of ours.
pub(super) fn later(account: &Account, record: &Record, now_ms: u64) -> Entry {
    let subject: Subject = Entry::new(record, Hlc(0)).subject();
    let held = account.find(subject).map_or(Hlc(0), Entry::hlc);
    Entry::new(record, held.tick(now_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: UserId = UserId([9; 32]);

    fn user(n: u8) -> UserId {
        UserId([n; 32])
    }

    fn account(records: &[(Record, u64)], order: &[usize]) -> Account {
        let mut account = Account::default();
        for n in order {
            let (record, ms) = &records[*n];
            account.merge(Entry::new(record, Hlc::at_ms(*ms)), u64::MAX);
        }
        account
    }

    #[test]
    fn the_newest_stands_and_of_names_that_look_alike_the_one_given_last() {
        let name = |n: u8, name: &str| Record::PetName(user(n), name.to_owned());
        let records = [
            (name(1, "Bob"), 1),
            (name(2, "b0b"), 2),
            (name(3, "Carla"), 3),
            (name(3, ""), 4),
            (Record::Block(user(1), true), 5),
            (Record::Block(user(2), true), 6),
            (Record::Block(user(2), false), 7),
            (name(9, "Me"), 8),
            (name(4, "two\nlines"), 9),
        ];
        let mut order: Vec<usize> = (0..records.len()).collect();
        let first = told(&account(&records, &order), ME);
        order.reverse();
        assert_eq!(told(&account(&records, &order), ME), first);
        let of = |n: u8| first.get(&user(n)).cloned().unwrap_or_default();
        assert_eq!(of(1), Told { petname: Some(String::new()), blocked_ms: Some(5) });
        assert_eq!(of(2), Told { petname: Some("b0b".into()), blocked_ms: Some(0) });
        assert_eq!((of(3).petname, of(4).petname), (Some(String::new()), Some(String::new())));
        assert_eq!(first.get(&ME), None);
    }

    #[test]
    fn what_differs_here_is_news_and_what_was_told_is_none() {
        let row = PersonRow { petname: "Bob".into(), verified_ms: 7, blocked_ms: 3 };
        let bob = Record::PetName(user(1), "Bob".into());
        let news = news_of(user(1), &row, None);
        assert_eq!(news, [(Field::Name, bob.clone()), (Field::Block, Record::Block(user(1), true))]);
        let mut all = Account::default();
        for (_, record) in &news {
            all.merge(later(&all, record, 100), 100);
        }
        assert_eq!(news_of(user(1), &row, told(&all, ME).get(&user(1))), []);
        assert!(later(&all, &bob, 1).hlc() > all.find(later(&all, &bob, 1).subject()).unwrap().hlc());
    }
}
