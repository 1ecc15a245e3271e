//! The rows of the `search` family, as bytes, and how they merge. Merging gives the same in any order, and may be done again.
//!
//! ```text
//! bucket u32, 0, chunk u8    -> column: of 512 numbers, when and by whom each was said
//! bucket u32, 1, name        -> places at which somebody of that name is said to have spoken, elsewhere
//! bucket u32, 2, term        -> places at which the term occurs
//! 0xffffffff, bucket u32     -> head: the first and the last second of the bucket
//! ```
//!
//! A place is a number's lower 16 bits; places ascend, each but the first as the difference to the one before.

use rocksdb::MergeOperands;

/// When and by whom an event was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Said {
    /// The lower 16 bits of its number.
    pub(crate) place: u16,
    /// Unix seconds, by its place on screen.
    pub(crate) second: u32,
    /// The number of its log.
    pub(crate) log: u32,
    /// Whose words they are.
    pub(crate) whose: Whose,
}

/// Whose words an event has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Those of its author.
    Own,
    /// Somebody's elsewhere: its author vouches for them.
    Imported,
    /// Those of another member.
    Quoted,
}

/// The bucket of a number, and its place there.
pub(crate) fn place_of(number: u64) -> Option<(u32, u16)> {
    let bucket = u32::try_from(number >> PLACE_BITS).ok().filter(|bucket| *bucket != u32::MAX)?;
    Some((bucket, u16::try_from(number & u64::from(u16::MAX)).ok()?))
}

/// The number of a place.
pub(crate) fn number_of(bucket: u32, place: u16) -> u64 {
    u64::from(bucket) << PLACE_BITS | u64::from(place)
}

/// From which key to which the buckets of these numbers lie.
pub(crate) fn buckets(first: u64, last: u64) -> (Vec<u8>, Vec<u8>) {
    let key = |bucket: u64| u32::try_from(bucket).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    (key(first >> PLACE_BITS), key((last >> PLACE_BITS).saturating_add(1)))
}

pub(crate) fn column_key(bucket: u32, chunk: u8) -> [u8; 6] {
    let [a, b, c, d] = bucket.to_be_bytes();
    [a, b, c, d, COLUMN, chunk]
}

/// Which chunk of its bucket's column a place is in.
pub(crate) fn chunk_of(place: u16) -> u8 {
    (place >> CHUNK_BITS) as u8
}

/// The beginning of the keys of a bucket's column, and which chunk such a key is of.
pub(crate) fn columns_prefix(bucket: u32) -> [u8; 5] {
    let [a, b, c, d, kind, _] = column_key(bucket, 0);
    [a, b, c, d, kind]
}

pub(crate) fn chunk_of_key(key: &[u8]) -> Option<u8> {
    key.get(5).copied()
}

pub(crate) fn write_term_key(key: &mut Vec<u8>, bucket: u32, kind: u8, term: &str) {
    key.clear();
    key.extend_from_slice(&bucket.to_be_bytes());
    key.push(kind);
    key.extend_from_slice(term.as_bytes());
}

pub(crate) fn head_key(bucket: u32) -> [u8; 8] {
    let mut key = [0xff; 8];
    key[4..].copy_from_slice(&bucket.to_be_bytes());
    key
}

/// The beginning of all heads.
pub(crate) const HEADS: [u8; 4] = [0xff; 4];

/// A head.
pub(crate) fn head((first, last): (u32, u32)) -> [u8; 8] {
    let mut out = [0; 8];
    out[..4].copy_from_slice(&first.to_be_bytes());
    out[4..].copy_from_slice(&last.to_be_bytes());
    out
}

pub(crate) fn to_head(bytes: &[u8]) -> Option<(u32, u32)> {
    let (first, last) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*first), u32::from_be_bytes(last.try_into().ok()?)))
}

/// Places, ascending.
pub(crate) fn places(places: &[u16]) -> Vec<u8> {
    let mut out = Vec::with_capacity(places.len() + 2);
    let mut before = 0;
    for place in places {
        put(&mut out, u64::from(place.wrapping_sub(before)));
        before = *place;
    }
    out
}

/// Calls for each place.
pub(crate) fn each_place(mut bytes: &[u8], mut each: impl FnMut(u16)) {
    let mut before = 0u16;
    while let Some(step) = take(&mut bytes) {
        before = before.wrapping_add(step as u16);
        each(before);
    }
}

/// A column's rows, by ascending place.
pub(crate) fn column(said: &[Said]) -> Vec<u8> {
    let mut out = Vec::with_capacity(said.len() * 4);
    let (mut place, mut second, mut origin) = (0u16, 0u32, 0u64);
    for one in said {
        put(&mut out, u64::from(one.place.wrapping_sub(place)));
        put(&mut out, zigzag(i64::from(one.second) - i64::from(second)));
        let now = u64::from(one.log) << 2 | one.whose as u64;
        put(&mut out, zigzag((now as i64).wrapping_sub(origin as i64)));
        (place, second, origin) = (one.place, one.second, now);
    }
    out
}

pub(crate) fn to_column(bytes: &[u8]) -> Vec<Said> {
    let mut out = Vec::with_capacity(bytes.len() / 3);
    each_said(bytes, |said| out.push(said));
    out
}

/// Calls for each row of a column.
pub(crate) fn each_said(mut bytes: &[u8], mut each: impl FnMut(Said)) {
    let (mut place, mut second, mut origin) = (0u16, 0i64, 0i64);
    while let (Some(step), Some(seconds), Some(other)) = (take(&mut bytes), take(&mut bytes), take(&mut bytes)) {
        place = place.wrapping_add(step as u16);
        second = second.wrapping_add(unzigzag(seconds));
        origin = origin.wrapping_add(unzigzag(other));
        let whose = match origin & 3 {
            0 => Whose::Own,
            1 => Whose::Imported,
            _ => Whose::Quoted,
        };
        let log = u32::try_from(origin >> 2).unwrap_or_default();
        each(Said { place, second: u32::try_from(second).unwrap_or_default(), log, whose });
    }
}

/// Merges what was added to a row with what is there. What does not read is left out: all of it can be made again.
pub(crate) fn merge(key: &[u8], held: Option<&[u8]>, added: &MergeOperands) -> Option<Vec<u8>> {
    let parts = held.into_iter().chain(added);
    Some(if key.starts_with(&HEADS) {
        let heads = parts.filter_map(to_head);
        let both = heads.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        both.map(|both| head(both).to_vec()).unwrap_or_default()
    } else if key.get(4) == Some(&COLUMN) {
        let mut all: Vec<Said> = parts.flat_map(to_column).collect();
        if !all.is_sorted_by(|a, b| a.place < b.place) {
            // Of what was said of one number the last counts.
            all.reverse();
            all.sort_by_key(|said| said.place);
            all.dedup_by_key(|said| said.place);
        }
        column(&all)
    } else {
        let mut all = Vec::new();
        parts.for_each(|part| each_place(part, |place| all.push(place)));
        if !all.is_sorted_by(|a, b| a < b) {
            all.sort_unstable();
            all.dedup();
        }
        places(&all)
    })
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[inline]
fn take(bytes: &mut &[u8]) -> Option<u64> {
    // Nearly all are short.
    if let [byte @ 0..0x80, rest @ ..] = *bytes {
        *bytes = rest;
        return Some(u64::from(*byte));
    }
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Small numbers of either sign as small numbers.
fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Kinds of rows.
pub(crate) const COLUMN: u8 = 0;
pub(crate) const NAME: u8 = 1;
pub(crate) const TERM: u8 = 2;
/// A bucket's numbers: with fewer a rare word would be looked for in many buckets, with more a row of a common word would be
/// read and written in pieces that are too large.
const PLACE_BITS: u32 = 16;
/// Chunks of a bucket's column.
pub(crate) const CHUNKS: u8 = 128;
/// A chunk's numbers: what is read to know when one of them was said, and merged when one more is.
const CHUNK_BITS: u32 = 9;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said() -> impl Strategy<Value = Said> {
        let whose = prop_oneof![Just(Whose::Own), Just(Whose::Imported), Just(Whose::Quoted)];
        (any::<u16>(), any::<u32>(), any::<u32>(), whose).prop_map(|(place, second, log, whose)| Said {
            place,
            second,
            log,
            whose,
        })
    }

    proptest! {
        #[test]
        fn places_read_as_they_were_written(set in proptest::collection::btree_set(any::<u16>(), 0..300)) {
            let all: Vec<u16> = set.into_iter().collect();
            let mut read = Vec::new();
            each_place(&places(&all), |place| read.push(place));
            prop_assert_eq!(read, all);
        }

        #[test]
        fn columns_read_as_they_were_written(mut all in proptest::collection::vec(said(), 0..200)) {
            all.sort_by_key(|said| said.place);
            all.dedup_by_key(|said| said.place);
            prop_assert_eq!(to_column(&column(&all)), all);
        }

        #[test]
        fn any_bytes_read_as_something(bytes in any::<Vec<u8>>()) {
            each_place(&bytes, |_| {});
            to_column(&bytes);
            to_head(&bytes);
        }
    }

    #[test]
    fn numbers_have_their_place() {
        for number in [0, 1, 65_535, 65_536, 1 << 40] {
            let (bucket, place) = place_of(number).unwrap();
            assert_eq!(number_of(bucket, place), number);
        }
        assert_eq!(place_of(u64::MAX), None);
    }
}
