//! Looking for events by their terms, the newest first: buckets by their last second, and of a bucket those places at which
//! all terms occur. What is found may have been changed since, or not count: whoever asks reads the event and judges.

use super::index::name_term;
use super::rows::{self, Said, Whose};
use super::tokens::cut;
use crate::error::StorageError;
use crate::key::{LogNumber, RoomNumber};
use crate::schema::Family;
use crate::store::Store;
use std::collections::{BinaryHeap, HashMap};
use tidings_protocol::log::Log;

/// What is looked for; all of it must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// Terms, each of which must occur.
    pub terms: Vec<Term>,
    /// Names of people elsewhere, any of whom is said to have said it, where that is asked for.
    pub names: Vec<String>,
    /// The first second, Unix time.
    pub from_s: u32,
    /// The last.
    pub to_s: u32,
}

/// A term of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// It occurs.
    Whole(String),
    /// One occurs that begins so.
    Beginning(String),
}

/// Which events of a log may be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepts {
    /// None.
    Nothing,
    /// All.
    All,
    /// All that its author said, and of what they brought from elsewhere what one of the names said there.
    OwnAndNamed,
    /// Only what one of the names said elsewhere, and what is quoted.
    Named,
}

/// An event that is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hit {
    /// When it was said, Unix seconds; of an edit, when that was.
    pub second: u32,
    /// Its local number.
    pub number: u64,
}

/// What is found, read as it is asked for.
pub struct Hits<'s, F> {
    store: &'s Store,
    search: Search,
    accepts: F,
    logs: HashMap<u32, Accepts>,
    /// Last seconds and buckets, the newest at the end.
    unread: Vec<(u32, u32)>,
    found: BinaryHeap<Hit>,
    /// Of each term, how often it occurs in the buckets read.
    counts: Vec<u64>,
    is_cut: bool,
}

impl Store {
    /// Looks for events. `accepts` says of each log once which of its events may be found.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn search<F>(&self, search: Search, accepts: F) -> Result<Hits<'_, F>, StorageError>
    where
        F: FnMut(RoomNumber, &Log) -> Accepts,
    {
        let mut unread = Vec::new();
        for row in self.scan(Family::Search, &rows::HEADS, &rows::HEADS)? {
            let (key, value) = row?;
            let bucket = key.get(4..8).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
            let (Some(bucket), Some((first, last))) = (bucket, rows::to_head(&value)) else { continue };
            if last >= search.from_s && first <= search.to_s {
                unread.push((last, bucket));
            }
        }
        unread.sort_unstable();
        let counts = vec![0; search.terms.len()];
        let (logs, found) = (HashMap::new(), BinaryHeap::new());
        Ok(Hits { store: self, search, accepts, logs, unread, found, counts, is_cut: false })
    }
}

impl<F: FnMut(RoomNumber, &Log) -> Accepts> Hits<'_, F> {
    /// The next event, the newest first.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn next_hit(&mut self) -> Result<Option<Hit>, StorageError> {
        while let Some((last, bucket)) = self.unread.last().copied() {
            if self.found.peek().is_some_and(|hit| hit.second > last) {
                break;
            }
            self.unread.pop();
            self.read_bucket(bucket)?;
        }
        Ok(self.found.pop())
    }

    /// How often each term occurs, in what had to be read so far.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Whether there was more than is kept in memory: the oldest of it will not come.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    fn read_bucket(&mut self, bucket: u32) -> Result<(), StorageError> {
        let Some(places) = self.places(bucket)? else { return Ok(()) };
        let named = match self.search.names.is_empty() {
            true => Places::none(),
            false => self.named(bucket)?,
        };
        for said in self.said_at(bucket, &places)? {
            if self.passes(&said, &named) {
                self.found.push(Hit { second: said.second, number: rows::number_of(bucket, said.place) });
            }
        }
        if self.found.len() > FOUND_MAX {
            self.is_cut = true;
            let mut newest = std::mem::take(&mut self.found).into_vec();
            newest.select_nth_unstable_by(FOUND_KEPT, |a, b| b.cmp(a));
            newest.truncate(FOUND_KEPT);
            self.found = newest.into();
        }
        Ok(())
    }

    /// When and by whom it was said, at these places of a bucket.
    fn said_at(&self, bucket: u32, places: &Places) -> Result<Vec<Said>, StorageError> {
        let mut said = Vec::new();
        let mut read = |column: &[u8]| rows::each_said(column, |one| said.extend(places.has(one.place).then_some(one)));
        let wanted: Vec<u8> = (0..rows::CHUNKS).filter(|chunk| places.any_in(*chunk)).collect();
        if wanted.len() < CHUNKS_APART_MAX {
            for chunk in wanted {
                if let Some(column) = self.store.find(Family::Search, &rows::column_key(bucket, chunk))? {
                    read(&column);
                }
            }
        } else {
            let prefix = rows::columns_prefix(bucket);
            for row in self.store.scan(Family::Search, &prefix, &prefix)? {
                let (key, column) = row?;
                if rows::chunk_of_key(&key).is_some_and(|chunk| places.any_in(chunk)) {
                    read(&column);
                }
            }
        }
        Ok(said)
    }

    fn passes(&mut self, said: &Said, named: &Places) -> bool {
        if said.second < self.search.from_s || said.second > self.search.to_s {
            return false;
        }
        let Hits { store, logs, accepts, .. } = self;
        // A log that is not there was purged just now.
        let accepted = *logs.entry(said.log).or_insert_with(|| match store.log_of_number(LogNumber(said.log)) {
            Ok((room, log)) => accepts(room, &log),
            Err(_) => Accepts::Nothing,
        });
        match (accepted, said.whose) {
            (Accepts::Nothing, _) => false,
            (Accepts::All, _) | (Accepts::OwnAndNamed, Whose::Own) => true,
            (_, Whose::Imported) => named.has(said.place),
            // Whoever asks looks whose words they are.
            (_, whose) => whose == Whose::Quoted,
        }
    }

    /// The places of a bucket at which all terms occur; `None` where there is none.
    fn places(&mut self, bucket: u32) -> Result<Option<Places>, StorageError> {
        let mut held = Vec::new();
        let mut key = Vec::new();
        let mut is_missing = false;
        for (n, term) in self.search.terms.iter().enumerate() {
            let Term::Whole(word) = term else { continue };
            rows::write_term_key(&mut key, bucket, rows::TERM, cut(word));
            match self.store.find(Family::Search, &key)? {
                Some(row) => held.push((n, row)),
                None => is_missing = true,
            }
        }
        let mut all: Option<Places> = None;
        for (n, row) in held {
            let mut places = Places::none();
            rows::each_place(&row, |place| places.add(place));
            self.counts[n] += places.count();
            all = Some(places.both(all));
        }
        if is_missing {
            return Ok(None);
        }
        for n in 0..self.search.terms.len() {
            if all.as_ref().is_some_and(Places::is_none) {
                return Ok(None);
            }
            let Some(Term::Beginning(word)) = self.search.terms.get(n) else { continue };
            rows::write_term_key(&mut key, bucket, rows::TERM, cut(word));
            let mut places = Places::none();
            for row in self.store.scan(Family::Search, &key, &key)? {
                rows::each_place(&row?.1, |place| places.add(place));
            }
            self.counts[n] += places.count();
            all = Some(places.both(all));
        }
        Ok(Some(all.unwrap_or_else(Places::every)).filter(|places| !places.is_none()))
    }

    /// The places of a bucket at which one of the names is said to have spoken.
    fn named(&self, bucket: u32) -> Result<Places, StorageError> {
        let (mut places, mut key) = (Places::none(), Vec::new());
        for name in &self.search.names {
            rows::write_term_key(&mut key, bucket, rows::NAME, &name_term(name));
            if let Some(row) = self.store.find(Family::Search, &key)? {
                rows::each_place(&row, |place| places.add(place));
            }
        }
        Ok(places)
    }
}

/// Places of a bucket: a bit for each.
pub(super) struct Places(Vec<u64>);

impl Places {
    pub(super) fn none() -> Self {
        Places(vec![0; WORDS])
    }

    fn every() -> Self {
        Places(vec![u64::MAX; WORDS])
    }

    pub(super) fn add(&mut self, place: u16) {
        if let Some(word) = self.0.get_mut(usize::from(place >> 6)) {
            *word |= 1 << (place & 63);
        }
    }

    pub(super) fn has(&self, place: u16) -> bool {
        self.0.get(usize::from(place >> 6)).is_some_and(|word| word >> (place & 63) & 1 == 1)
    }

    fn both(mut self, other: Option<Places>) -> Places {
        if let Some(other) = other {
            self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word &= other);
        }
        self
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    pub(super) fn is_none(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn any_in(&self, chunk: u8) -> bool {
        let words = self.0.chunks(WORDS / usize::from(rows::CHUNKS)).nth(usize::from(chunk));
        words.is_some_and(|words| words.iter().any(|word| *word != 0))
    }
}

/// Of a bucket's places, as words of bits.
const WORDS: usize = 1024;
/// So many chunks of a column are read one by one; of more it is faster to go through all.
const CHUNKS_APART_MAX: usize = 24;
/// Events found that are in memory at a time, 16 bytes each: nobody reads so far.
const FOUND_MAX: usize = 1 << 18;
const FOUND_KEPT: usize = 1 << 17;
