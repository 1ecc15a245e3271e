//! What is found is what a look at every text would find, over several buckets and whatever comes and goes.

use super::rows::{place_of, to_head};
use super::*;
use crate::batch::{Durability, Writer};
use crate::key::{LogNumber, RoomNumber};
use crate::schema::Family;
use crate::store::Store;
use std::collections::BTreeMap;
use tidings_protocol::content::{Content, Imported};
use tidings_protocol::event::{Class, Hlc};
use tidings_protocol::id::{DeviceId, EventId};
use tidings_protocol::log::Log;

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Two logs of a room, by their numbers.
fn logs(writer: &mut Writer) -> [LogNumber; 2] {
    let mut batch = writer.begin();
    let numbers = [1u8, 2].map(|n| {
        let log = Log { class: Class::Content, author: DeviceId([n; 32]), grant: EventId([9; 32]) };
        batch.log_row(RoomNumber(1), &log).unwrap().number
    });
    batch.commit(Durability::Buffered).unwrap();
    numbers
}

fn imported(author: &str, text: String) -> Content {
    let (source, author) = ("irc".to_owned(), author.to_owned());
    Content::Imported(Imported { source, author, ms: 0, order: 0, occurrence: 0, text })
}

fn found(store: &Store, search: Search, accepts: impl FnMut(RoomNumber, &Log) -> Accepts) -> Vec<u64> {
    let mut hits = store.search(search, accepts).unwrap();
    let (mut numbers, mut last) = (Vec::new(), u32::MAX);
    while let Some(hit) = hits.next_hit().unwrap() {
        assert!(hit.second <= last, "not the newest first");
        last = hit.second;
        numbers.push(hit.number);
    }
    numbers.sort_unstable();
    numbers
}

struct Said {
    second: u32,
    log: usize,
    author: Option<&'static str>,
    words: Vec<&'static str>,
}

const WORDS: [&str; 8] = ["alpha", "alps", "beta", "gamma", "delta", "東京", "京都", "rare"];

impl Said {
    fn random(random: &mut Random) -> Said {
        let words = (0..1 + random.below(5)).map(|_| WORDS[random.below(WORDS.len() as u64) as usize]);
        Said {
            words: words.collect(),
            second: 1000 + random.below(5000) as u32,
            log: random.below(2) as usize,
            author: [None, Some("Ana"), Some("Ben")][random.below(3) as usize],
        }
    }

    fn content(&self) -> Content {
        let text = self.words.join(" ");
        self.author.map_or_else(|| Content::Text(text.as_str().into()), |author| imported(author, text.clone()))
    }

    fn has(&self, term: &Term) -> bool {
        match term {
            Term::Whole(word) => self.words.contains(&word.as_str()),
            Term::Beginning(word) => self.words.iter().any(|other| other.starts_with(word)),
        }
    }
}

#[test]
fn what_is_found_is_what_a_look_at_every_text_finds() {
    for seed in 1..=3 {
        let folder = tempfile::tempdir().unwrap();
        let (store, mut writer) = Store::open(folder.path()).unwrap();
        let logs = logs(&mut writer);
        let mut random = Random(seed);
        let mut held: BTreeMap<u64, Said> = BTreeMap::new();
        let mut number = 65_000;
        for round in 0..12 {
            let mut batch = writer.begin();
            for _ in 0..random.below(200) {
                number += 1 + random.below(200);
                let said = Said::random(&mut random);
                let clock = Hlc::at_ms(u64::from(said.second) * 1000).0;
                batch.index_words(number, logs[said.log], clock, &said.content());
                held.insert(number, said);
            }
            let gone: Vec<u64> = held.keys().copied().filter(|_| random.below(8) == 0).collect();
            for number in gone {
                let said = held.remove(&number).unwrap();
                batch.forget_words(number, &said.content());
            }
            batch.commit(Durability::Buffered).unwrap();
            if round % 5 == 4 {
                store.compact().unwrap();
            }
            for _ in 0..20 {
                check_one(&store, &held, &mut random, seed);
            }
        }
        assert!(number > 3 * 65_536, "more than one bucket");
    }
}

fn check_one(store: &Store, held: &BTreeMap<u64, Said>, random: &mut Random, seed: u64) {
    let mut term = || match random.below(4) {
        0 => Term::Beginning(WORDS[random.below(5) as usize][..2].to_owned()),
        _ => Term::Whole(WORDS[random.below(WORDS.len() as u64) as usize].to_owned()),
    };
    let terms: Vec<Term> = (0..3).map(|_| term()).collect();
    let terms = terms[..random.below(4) as usize].to_vec();
    let from_s = 1000 + random.below(3000) as u32;
    let search = Search { terms, names: Vec::new(), from_s, to_s: from_s + random.below(4000) as u32 };
    let in_time = |said: &Said| said.second >= search.from_s && said.second <= search.to_s;
    let matching = |said: &Said| in_time(said) && search.terms.iter().all(|term| said.has(term));
    let numbers = |passes: &dyn Fn(&Said) -> bool| -> Vec<u64> {
        held.iter().filter(|(_, said)| matching(said) && passes(said)).map(|(number, _)| *number).collect()
    };
    assert_eq!(found(store, search.clone(), |_, _| Accepts::All), numbers(&|_| true), "seed {seed}: {search:?}");
    let first_alone = |_, log: &Log| if log.author == DeviceId([1; 32]) { Accepts::All } else { Accepts::Nothing };
    assert_eq!(found(store, search.clone(), first_alone), numbers(&|said| said.log == 0), "seed {seed}: {search:?}");
    let by_ana = Search { names: vec!["ANA ".to_owned()], ..search.clone() };
    let second_is_ana = |_, log: &Log| match log.author == DeviceId([2; 32]) {
        true => Accepts::OwnAndNamed,
        false => Accepts::Named,
    };
    let of_ana = |said: &Said| said.author == Some("Ana") || (said.author.is_none() && said.log == 1);
    assert_eq!(found(store, by_ana, second_is_ana), numbers(&of_ana), "seed {seed}: {search:?}");
}

#[test]
fn nothing_is_left_of_what_went_but_what_others_say() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut writer) = Store::open(folder.path()).unwrap();
    let [log, _] = logs(&mut writer);
    let all = [(7, "one two"), (8, "two three"), (65_536, "three four")];
    let rows = |store: &Store| -> Vec<Vec<u8>> {
        store.scan(Family::Search, &[], &[]).unwrap().map(|row| row.unwrap().0.to_vec()).collect()
    };
    let mut batch = writer.begin();
    for (number, text) in all {
        batch.index_words(number, log, Hlc::at_ms(5000).0, &Content::Text(text.into()));
    }
    // Of the same batch, before anybody could have found it.
    batch.index_words(9, log, Hlc::at_ms(5000).0, &Content::Text("unsaid".into()));
    batch.forget_new_words(9);
    batch.commit(Durability::Buffered).unwrap();
    assert!(!rows(&store).iter().any(|key| key.ends_with(b"unsaid")));
    assert_eq!(rows(&store).len(), 3 + 2 + 2 + 2);
    for (number, text) in all {
        let mut batch = writer.begin();
        batch.forget_words(number, &Content::Text(text.into()));
        batch.commit(Durability::Buffered).unwrap();
        let first = text.split(' ').next().unwrap().as_bytes().to_vec();
        let bucket = place_of(number).unwrap().0;
        let is_there = rows(&store).iter().any(|key| key.starts_with(&bucket.to_be_bytes()) && key.ends_with(&first));
        assert!(!is_there, "{text}");
    }
    assert_eq!(rows(&store), [[0u8; 0]; 0]);
}

#[test]
fn heads_know_the_first_and_the_last_second() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut writer) = Store::open(folder.path()).unwrap();
    let [log, _] = logs(&mut writer);
    for second in [50, 40, 60] {
        let mut batch = writer.begin();
        batch.index_words(second, log, Hlc::at_ms(second * 1000).0, &Content::Text("x".into()));
        batch.commit(Durability::Buffered).unwrap();
    }
    let head = store.find(Family::Search, &super::rows::head_key(0)).unwrap().unwrap();
    assert_eq!(to_head(&head), Some((40, 60)));
}
