//! Files: named by the BLAKE3 of their bytes, and checked piece by piece against it. A file's *outline* is the chaining
//! values of its pieces in BLAKE3's own tree: who has checked it against the name can check each piece alone, whoever it
//! comes from. Pure: bytes come in, verdicts go out.

use crate::codec::{Canonical, CodecError, Reader, Writer};
use crate::content::Text;
use crate::id::{EventId, FileHash};
use crate::limits::{FILE_LEN_MAX, FILE_MEDIA_LEN_MAX, FILE_NAME_LEN_MAX, FILE_PIECE_LEN, FILE_RUN_MAX};
use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

/// What a message says of the file that it brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Of all its bytes.
    pub hash: FileHash,
    /// How many there are.
    pub len: u64,
    /// What its sender calls it: anything. `file_name::safe` makes a name of it.
    pub name: String,
    /// Its media type, as the sender says.
    pub media: String,
    /// What is said with it; may be empty.
    pub text: Text,
    /// The message answered, and the first of its thread.
    pub reply: Option<(EventId, EventId)>,
}

impl File {
    /// The words by which it is found: what is said with it, and its name.
    pub fn words(&self) -> String {
        format!("{} {}", self.text.body, self.name)
    }
}

impl Canonical for File {
    fn write(&self, w: &mut Writer) {
        self.hash.write(w);
        w.u64(self.len);
        w.text(&self.name);
        w.text(&self.media);
        self.text.write(w);
        w.u8(u8::from(self.reply.is_some()));
        if let Some((target, root)) = self.reply {
            target.write(w);
            root.write(w);
        }
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (hash, len) = (FileHash::read(r)?, r.u64()?);
        if len > FILE_LEN_MAX {
            return Err(CodecError::Invalid("file length"));
        }
        let (name, media) = (r.text(FILE_NAME_LEN_MAX)?, r.text(FILE_MEDIA_LEN_MAX)?);
        let text = Text::read(r)?;
        let reply = match r.u8()? {
            0 => None,
            1 => Some((EventId::read(r)?, EventId::read(r)?)),
            _ => return Err(CodecError::Invalid("file")),
        };
        Ok(File { hash, len, name, media, text, reply })
    }
}

/// What one node asks another of a file. Always `FILE_REQUEST_LEN` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileRequest {
    /// Which.
    pub hash: FileHash,
    /// Its length, as the message says: who holds a file of another has not this one.
    pub len: u64,
    /// What of it.
    pub part: FilePart,
}

/// What of a file is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilePart {
    /// The chaining values of its pieces.
    Outline,
    /// Pieces that follow one another.
    Pieces {
        /// The first.
        first: u32,
        /// How many: 1 to `FILE_RUN_MAX`.
        count: u32,
    },
}

impl Canonical for FileRequest {
    fn write(&self, w: &mut Writer) {
        let (kind, first, count) = match self.part {
            FilePart::Outline => (1, 0, 0),
            FilePart::Pieces { first, count } => (2, first, count),
        };
        w.u8(kind);
        self.hash.write(w);
        w.u64(self.len);
        w.u32(first);
        w.u32(count);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (kind, hash, len, first, count) = (r.u8()?, FileHash::read(r)?, r.u64()?, r.u32()?, r.u32()?);
        if len > FILE_LEN_MAX {
            return Err(CodecError::Invalid("file length"));
        }
        let is_within = first.checked_add(count).is_some_and(|end| end <= piece_count(len));
        let part = match (kind, first, count) {
            (1, 0, 0) => FilePart::Outline,
            (2, _, 1..=FILE_RUN_MAX) if is_within => FilePart::Pieces { first, count },
            _ => return Err(CodecError::Invalid("file request")),
        };
        Ok(FileRequest { hash, len, part })
    }
}

/// The bytes of every request.
pub const FILE_REQUEST_LEN: usize = 1 + 32 + 8 + 4 + 4;
/// Answer to whoever may not have a file, and about every file that is not held: this byte, and the end.
pub const UNKNOWN_FILE: u8 = 0;
/// Stands before an outline or a piece that is given.
pub const HERE: u8 = 1;

/// How many pieces a file of this length has: one at least.
pub fn piece_count(len: u64) -> u32 {
    u32::try_from(len.div_ceil(FILE_PIECE_LEN as u64).max(1)).unwrap_or(u32::MAX)
}

/// The bytes of one piece: all have the same, but for the last.
pub fn piece_len(len: u64, index: u32) -> usize {
    let begin = piece_begin(index);
    usize::try_from(len.saturating_sub(begin)).unwrap_or(usize::MAX).min(FILE_PIECE_LEN)
}

/// Where a piece begins.
pub fn piece_begin(index: u32) -> u64 {
    u64::from(index) * FILE_PIECE_LEN as u64
}

/// The bytes of an outline: none for a file of one piece, which its name checks by itself.
pub fn outline_len(len: u64) -> usize {
    match piece_count(len) {
        1 => 0,
        count => count as usize * 32,
    }
}

/// The outline of a file, checked against its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    hash: FileHash,
    len: u64,
    values: Vec<ChainingValue>,
}

impl Outline {
    /// The outline of a file; `None` when it is not this one's.
    pub fn check(hash: FileHash, len: u64, bytes: &[u8]) -> Option<Self> {
        if len > FILE_LEN_MAX || bytes.len() != outline_len(len) {
            return None;
        }
        let (values, _) = bytes.as_chunks::<32>();
        let values = values.to_vec();
        (values.is_empty() || root(&values)? == hash.0).then_some(Outline { hash, len, values })
    }

    /// Whose it is.
    pub fn hash(&self) -> FileHash {
        self.hash
    }

    /// The length of the file.
    pub fn len_bytes(&self) -> u64 {
        self.len
    }

    /// Whether these bytes are that piece of the file.
    pub fn verifies(&self, index: u32, bytes: &[u8]) -> bool {
        if index >= piece_count(self.len) || bytes.len() != piece_len(self.len, index) {
            return false;
        }
        match self.values.get(index as usize) {
            Some(value) => value_of(index, bytes) == *value,
            None => *blake3::hash(bytes).as_bytes() == self.hash.0,
        }
    }

    /// As it is kept and sent.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.values.concat()
    }
}

/// Makes name and outline of a file as its pieces come by, in order.
#[derive(Debug, Default)]
pub struct Outliner {
    len: u64,
    values: Vec<ChainingValue>,
    /// Of the first piece: the name, should it stay alone.
    first: Option<[u8; 32]>,
}

impl Outliner {
    /// Takes the next piece: full, but for the last. False when there cannot be another.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        let index = self.values.len();
        let is_due = self.len == index as u64 * FILE_PIECE_LEN as u64 && !bytes.is_empty();
        let len = self.len.saturating_add(bytes.len() as u64);
        let Some(index) = u32::try_from(index).ok().filter(|_| is_due && bytes.len() <= FILE_PIECE_LEN) else {
            return false;
        };
        if len > FILE_LEN_MAX {
            return false;
        }
        if index == 0 {
            self.first = Some(*blake3::hash(bytes).as_bytes());
        }
        self.values.push(value_of(index, bytes));
        self.len = len;
        true
    }

    /// The outline of what came.
    pub fn finish(self) -> Outline {
        let whole = self.first.unwrap_or_else(|| *blake3::hash(&[]).as_bytes());
        match root(&self.values) {
            Some(hash) => Outline { hash: FileHash(hash), len: self.len, values: self.values },
            None => Outline { hash: FileHash(whole), len: self.len, values: Vec::new() },
        }
    }
}

/// The chaining value of a piece that is not the whole file. Its bytes are one at least.
fn value_of(index: u32, bytes: &[u8]) -> ChainingValue {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(piece_begin(index));
    hasher.update(bytes).finalize_non_root()
}

/// The hash of a file of several pieces.
fn root(values: &[ChainingValue]) -> Option<[u8; 32]> {
    let (left, right) = halves(values)?;
    Some(*merge_subtrees_root(&subtree(left)?, &subtree(right)?, Mode::Hash).as_bytes())
}

/// As deep as the logarithm of their count: 16 at most.
fn subtree(values: &[ChainingValue]) -> Option<ChainingValue> {
    match values {
        [] => None,
        [one] => Some(*one),
        several => {
            let (left, right) = halves(several)?;
            Some(merge_subtrees_non_root(&subtree(left)?, &subtree(right)?, Mode::Hash))
        }
    }
}

/// To the left, the largest power of two that leaves something to the right.
fn halves(values: &[ChainingValue]) -> Option<(&[ChainingValue], &[ChainingValue])> {
    if values.len() < 2 {
        return None;
    }
    values.split_at_checked(values.len().next_power_of_two() / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode, encode};

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|n| (n * 7 + n / 251) as u8).collect()
    }

    fn outline(bytes: &[u8]) -> Outline {
        let mut outliner = Outliner::default();
        assert!(bytes.chunks(FILE_PIECE_LEN).all(|piece| outliner.push(piece)));
        outliner.finish()
    }

    #[test]
    fn a_file_is_named_by_the_hash_of_all_its_bytes() {
        let piece = FILE_PIECE_LEN;
        for len in [0, 1, 1025, piece - 1, piece, piece + 1, 2 * piece, 3 * piece, 5 * piece + 17, 8 * piece] {
            let bytes = bytes(len);
            let outline = outline(&bytes);
            assert_eq!(outline.hash().0, *blake3::hash(&bytes).as_bytes(), "{len}");
            assert_eq!(outline.to_bytes().len(), outline_len(len as u64));
            let checked = Outline::check(outline.hash(), len as u64, &outline.to_bytes());
            assert_eq!(checked.as_ref(), Some(&outline), "{len}");
            for index in 0..piece_count(len as u64) {
                let begin = piece_begin(index) as usize;
                let piece = &bytes[begin..begin + piece_len(len as u64, index)];
                assert!(outline.verifies(index, piece), "{len} {index}");
                assert!(!outline.verifies(index + 1, piece) || piece.is_empty(), "{len} {index}");
                let mut other = piece.to_vec();
                other.push(0);
                assert!(!outline.verifies(index, &other));
                if let Some(last) = other[..piece.len()].last_mut() {
                    *last ^= 1;
                    assert!(!outline.verifies(index, &other[..piece.len()]));
                }
            }
        }
    }

    /// The example of PROTOCOL.md, computed by another BLAKE3.
    #[test]
    fn two_pieces_of_zeros_have_known_values() {
        let outline = outline(&vec![0; FILE_PIECE_LEN + 1]);
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(hex(&outline.hash().0), "56a48fec7bfb95b432d6f995255cd06c180f320e41ff62f210cb1de4b0956ce6");
        let values = [
            "7482b07ce363a188b6a76f109c0627cd5cfee0bd3f4ee8e784dad7900bbabdff",
            "8f33c5ec49da37db0de7b9a1ec897eb0133fcfc9b02bec77f954b7a9952f43d6",
        ];
        assert_eq!(hex(&outline.to_bytes()), values.concat());
    }

    #[test]
    fn a_false_outline_is_refused() {
        let bytes = bytes(3 * FILE_PIECE_LEN);
        let outline = outline(&bytes);
        let good = outline.to_bytes();
        let len = bytes.len() as u64;
        for at in [0, 40, 95] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(Outline::check(outline.hash(), len, &bad), None);
        }
        assert_eq!(Outline::check(outline.hash(), len, &good[..64]), None);
        assert_eq!(Outline::check(outline.hash(), u64::MAX, &good), None);
        // The two halves of the tree make the name, too; but no bytes are a piece of them.
        let halves = [subtree(&outline.values[..2]).unwrap(), outline.values[2]].concat();
        let lie = Outline::check(outline.hash(), 2 * FILE_PIECE_LEN as u64, &halves).unwrap();
        assert!(!lie.verifies(0, &bytes[..FILE_PIECE_LEN]));
    }

    #[test]
    fn pieces_come_in_order_and_whole() {
        let mut outliner = Outliner::default();
        assert!(!outliner.push(&[]) && !outliner.push(&vec![0; FILE_PIECE_LEN + 1]));
        assert!(outliner.push(&[1; 7]) && !outliner.push(&[1; 7]));
    }

    #[test]
    fn requests_round_trip_and_ask_only_for_what_may_be_there() {
        let ask = |part| FileRequest { hash: FileHash([1; 32]), len: 3 * FILE_PIECE_LEN as u64, part };
        for part in [FilePart::Outline, FilePart::Pieces { first: 1, count: 2 }] {
            let bytes = encode(&ask(part));
            assert_eq!((bytes.len(), decode(&bytes, FILE_REQUEST_LEN)), (FILE_REQUEST_LEN, Ok(ask(part))));
        }
        for (first, count) in [(0, 0), (1, 3), (3, 1), (u32::MAX, 1), (1, u32::MAX), (0, FILE_RUN_MAX + 1)] {
            let bytes = encode(&ask(FilePart::Pieces { first, count }));
            assert!(decode::<FileRequest>(&bytes, FILE_REQUEST_LEN).is_err(), "{first} {count}");
        }
    }
}
