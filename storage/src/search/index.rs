//! What a batch does to the search rows: words of events that come, and of those whose words go.

use super::query::Places;
use super::rows::{self, Said, Whose, column, place_of, places};
use super::tokens::{fold, terms};
use crate::batch::Batch;
use crate::error::StorageError;
use crate::key::LogNumber;
use crate::schema::Family;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tidings_protocol::content::Content;
use tidings_protocol::event::Hlc;

/// Search rows that a batch changes, by key.
#[derive(Default)]
pub(crate) struct Pending {
    /// Places to add, ascending.
    added: HashMap<Vec<u8>, Vec<u16>>,
    said: BTreeMap<[u8; 6], Vec<Said>>,
    heads: BTreeMap<u32, (u32, u32)>,
    /// Places to take off, of rows that are in the store.
    removed: BTreeMap<Vec<u8>, Vec<u16>>,
    unsaid: BTreeMap<[u8; 6], Vec<u16>>,
}

/// What of an event is looked for.
struct Words<'a> {
    whose: Whose,
    text: &'a str,
    /// Who is said to have said it, elsewhere.
    name: Option<&'a str>,
}

impl Batch<'_> {
    /// Lists an event under its words.
    pub(crate) fn index_words(&mut self, number: u64, log: LogNumber, clock: u64, content: &Content) {
        let (Some((bucket, place)), pending) = (place_of(number), &mut self.search) else { return };
        with_words(content, |words| {
            words.each_key(bucket, |key| pending.add(key, place));
            let second = u32::try_from(Hlc(clock).ms() / 1000).unwrap_or(u32::MAX);
            let said = Said { place, second, log: log.0, whose: words.whose };
            pending.said.entry(rows::column_key(bucket, rows::chunk_of(place))).or_default().push(said);
            let head = pending.heads.entry(bucket).or_insert((second, second));
            *head = (head.0.min(second), head.1.max(second));
        });
    }

    /// Takes an event off the rows of its words: they are gone, or are to go.
    pub(crate) fn forget_words(&mut self, number: u64, content: &Content) {
        let (Some((bucket, place)), pending) = (place_of(number), &mut self.search) else { return };
        with_words(content, |words| {
            words.each_key(bucket, |key| pending.remove(key, place));
            pending.unsay(bucket, place);
        });
    }

    /// An event is found no more; its words are taken off its bucket's rows later, with those of others (`strip_words`).
    pub(crate) fn find_no_more(&mut self, number: u64) {
        if let Some((bucket, place)) = place_of(number) {
            self.search.unsay(bucket, place);
        }
    }

    /// Takes off the rows of a bucket, from a key on, what is found no more; where the next part begins, if there is more.
    /// Has to be all that a batch does.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn strip_words(&mut self, bucket: u32, from: &[u8], max: usize) -> Result<Option<Vec<u8>>, StorageError> {
        let (store, prefix) = (self.store().clone(), bucket.to_be_bytes());
        let mut found = Places::none();
        let columns = rows::columns_prefix(bucket);
        for row in store.scan(Family::Search, &columns, &columns)? {
            rows::each_said(&row?.1, |said| found.add(said.place));
        }
        if found.is_none() {
            let (first, end) = rows::buckets(rows::number_of(bucket, 0), rows::number_of(bucket, 0));
            self.delete_range(Family::Search, &first, &end)?;
            return Ok(None);
        }
        let (mut read, mut left) = (0, Vec::new());
        for row in store.scan(Family::Search, &prefix, if from.is_empty() { &prefix } else { from })? {
            let (key, value) = row?;
            if read > max || self.len_bytes() > max / 4 {
                return Ok(Some(key.to_vec()));
            }
            read += key.len() + value.len();
            if key.get(4) == Some(&rows::COLUMN) {
                continue;
            }
            let mut all = 0;
            left.clear();
            rows::each_place(&value, |place| {
                all += 1;
                left.extend(Some(place).filter(|place| found.has(*place)));
            });
            if left.len() < all {
                self.put_unless_empty(&key, &places(&left))?;
            }
        }
        Ok(None)
    }

    /// The same of an event that this very batch brings, whose words cannot be read yet.
    pub(crate) fn forget_new_words(&mut self, number: u64) {
        let (Some((bucket, place)), pending) = (place_of(number), &mut self.search) else { return };
        for (_, places) in pending.added.iter_mut().filter(|(key, _)| key.starts_with(&bucket.to_be_bytes())) {
            places.retain(|other| *other != place);
        }
        pending.unsay(bucket, place);
    }

    /// Writes the rows that this batch changes.
    pub(crate) fn put_search(&mut self) -> Result<(), StorageError> {
        let Pending { mut added, mut said, heads, removed, unsaid } = std::mem::take(&mut self.search);
        for (key, mut gone) in removed {
            gone.sort_unstable();
            let stays = |place: &u16| gone.binary_search(place).is_err();
            let mut left = Vec::new();
            if let Some(held) = self.store().find(Family::Search, &key)? {
                rows::each_place(&held, |place| left.extend(Some(place).filter(stays)));
            }
            left.extend(added.remove(&key).unwrap_or_default());
            left.sort_unstable();
            left.dedup();
            // A row without places would still tell its word.
            self.put_unless_empty(&key, &places(&left))?;
        }
        let (chunks, mut emptied) = (unsaid.keys().copied().collect(), BTreeSet::new());
        for (key, mut gone) in unsaid {
            gone.sort_unstable();
            let stays = |said: &Said| gone.binary_search(&said.place).is_err();
            let held = self.store().find(Family::Search, &key)?.map(|held| rows::to_column(&held)).unwrap_or_default();
            let mut left: Vec<Said> = held.into_iter().filter(stays).collect();
            for said in said.remove(&key).unwrap_or_default() {
                left.retain(|other| other.place != said.place);
                left.push(said);
            }
            left.sort_by_key(|said| said.place);
            self.put_unless_empty(&key, &column(&left))?;
            if left.is_empty() {
                emptied.insert(key);
            }
        }
        self.put_heads(&chunks, &emptied, &said)?;
        let mut added: Vec<_> = added.into_iter().filter(|(_, places)| !places.is_empty()).collect();
        added.sort_unstable();
        for (key, added) in added {
            self.merge(Family::Search, &key, &places(&added))?;
        }
        for (key, said) in said {
            self.merge(Family::Search, &key, &column(&said))?;
        }
        for (bucket, head) in heads {
            self.merge(Family::Search, &rows::head_key(bucket), &rows::head(head))?;
        }
        Ok(())
    }

    /// Drops the heads of buckets of which nothing is left. Others are written as they are: tables are listed by their first
    /// and last key, and so that no word that goes is the last, a head is.
    fn put_heads(
        &mut self,
        chunks: &BTreeSet<[u8; 6]>,
        emptied: &BTreeSet<[u8; 6]>,
        said: &BTreeMap<[u8; 6], Vec<Said>>,
    ) -> Result<(), StorageError> {
        let buckets: BTreeSet<u32> =
            chunks.iter().map(|[a, b, c, d, ..]| u32::from_be_bytes([*a, *b, *c, *d])).collect();
        for bucket in buckets {
            let columns = rows::columns_prefix(bucket);
            let mut is_left = said.keys().any(|key| key.starts_with(&columns));
            if !is_left {
                for row in self.store().scan(Family::Search, &columns, &columns)? {
                    let key = <[u8; 6]>::try_from(row?.0.as_ref());
                    is_left |= key.is_ok_and(|key| !emptied.contains(&key));
                    if is_left {
                        break;
                    }
                }
            }
            let key = rows::head_key(bucket);
            let held = self.store().find(Family::Search, &key)?.map(|head| head.to_vec());
            self.put_unless_empty(&key, &held.filter(|_| is_left).unwrap_or_default())?;
        }
        Ok(())
    }

    fn put_unless_empty(&mut self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        match value.is_empty() {
            true => self.delete(Family::Search, key),
            false => self.put(Family::Search, key, value),
        }
    }
}

impl Pending {
    fn add(&mut self, key: &[u8], place: u16) {
        match self.added.get_mut(key) {
            // Numbers ascend within a batch; a word may come twice in one event.
            Some(places) if places.last() == Some(&place) => {}
            Some(places) => {
                let at = places.partition_point(|other| *other < place);
                if places.get(at) != Some(&place) {
                    places.insert(at, place);
                }
            }
            None => drop(self.added.insert(key.to_owned(), vec![place])),
        }
    }

    fn remove(&mut self, key: &[u8], place: u16) {
        if let Some(places) = self.added.get_mut(key) {
            places.retain(|other| *other != place);
        }
        match self.removed.get_mut(key) {
            Some(places) if places.last() == Some(&place) => {}
            Some(places) => places.push(place),
            None => drop(self.removed.insert(key.to_owned(), vec![place])),
        }
    }

    fn unsay(&mut self, bucket: u32, place: u16) {
        let key = rows::column_key(bucket, rows::chunk_of(place));
        if let Some(said) = self.said.get_mut(&key) {
            said.retain(|said| said.place != place);
        }
        self.unsaid.entry(key).or_default().push(place);
    }
}

impl Words<'_> {
    /// Calls for the key of every row in which an event with these words stands; for some more than once.
    fn each_key(&self, bucket: u32, mut each: impl FnMut(&[u8])) {
        let mut key = Vec::new();
        terms(self.text, |term| {
            rows::write_term_key(&mut key, bucket, rows::TERM, term);
            each(&key);
        });
        if let Some(name) = self.name.map(name_term).filter(|name| !name.is_empty()) {
            rows::write_term_key(&mut key, bucket, rows::NAME, &name);
            each(&key);
        }
    }
}

/// A claimed author's name as it is indexed.
pub(super) fn name_term(name: &str) -> String {
    fold(name.trim())
}

/// What of a content is looked for, if anything.
fn with_words<T>(content: &Content, read: impl FnOnce(Words<'_>) -> T) -> Option<T> {
    let own = |text| Words { whose: Whose::Own, text, name: None };
    match content {
        Content::Text(text) | Content::Reply { text, .. } | Content::Edit { text, .. } => Some(read(own(&text.body))),
        Content::Imported(record) => {
            Some(read(Words { whose: Whose::Imported, text: &record.text, name: Some(&record.author) }))
        }
        Content::File(file) => Some(read(own(&file.words()))),
        Content::Adopted(adopted) => match adopted.said()? {
            Content::Text(text) | Content::Reply { text, .. } => {
                Some(read(Words { whose: Whose::Quoted, text: &text.body, name: None }))
            }
            Content::File(file) => Some(read(Words { whose: Whose::Quoted, text: &file.words(), name: None })),
            _ => None,
        },
        _ => None,
    }
}
