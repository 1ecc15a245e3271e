//! Canonical bytes: one value, one encoding. bincode lives here and nowhere else.
//!
//! Integers are big endian and of fixed width; lengths are u32 written by us; arrays have no length. `decode` checks the
//! size before it reads, refuses trailing bytes, and encodes again to compare: what passes has exactly one form.

use bincode::config::{BigEndian, Configuration, Fixint};
use thiserror::Error;

const CONFIG: Configuration<BigEndian, Fixint> =
    bincode::config::standard().with_big_endian().with_fixed_int_encoding();

/// Why bytes are not the canonical form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CodecError {
    /// Fewer bytes than the value needs.
    #[error("the bytes end too early")]
    Short,
    /// Bytes are left over behind the value.
    #[error("{0} bytes are left over")]
    Trailing(usize),
    /// The whole, or one of its parts, is longer than the limit.
    #[error("{len} bytes or entries, at most {max} allowed")]
    Long {
        /// What the bytes claim.
        len: usize,
        /// What the limit allows.
        max: usize,
    },
    /// A number that names no variant, or text that is not UTF-8, or a list out of order.
    #[error("{0} is not valid")]
    Invalid(&'static str),
    /// The value reads, but is not written as we would write it.
    #[error("not the canonical encoding")]
    NotCanonical,
}

/// A value with exactly one encoding.
pub trait Canonical: Sized {
    /// Appends the value's bytes.
    fn write(&self, w: &mut Writer);
    /// Reads a value from the front.
    ///
    /// # Errors
    /// `CodecError` when the bytes are no such value.
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError>;
}

/// The value's canonical bytes.
pub fn encode<T: Canonical>(value: &T) -> Vec<u8> {
    let mut w = Writer::default();
    value.write(&mut w);
    w.into_bytes()
}

/// A header, or a short message.
const ENCODED_LEN_TYPICAL: usize = 256;

/// The value that these bytes, all of them, canonically encode.
///
/// # Errors
/// `CodecError` when there are more than `max` bytes, or they are not the one encoding of a `T`.
pub fn decode<T: Canonical>(bytes: &[u8], max: usize) -> Result<T, CodecError> {
    if bytes.len() > max {
        return Err(CodecError::Long { len: bytes.len(), max });
    }
    let mut r = Reader::new(bytes);
    let value = T::read(&mut r)?;
    r.end()?;
    if encode(&value) != bytes {
        return Err(CodecError::NotCanonical);
    }
    Ok(value)
}

/// Collects bytes. Writing to memory cannot fail.
pub struct Writer {
    bytes: Vec<u8>,
}

impl Default for Writer {
    /// One allocation suffices for most: what is encoded is short.
    fn default() -> Self {
        Writer { bytes: Vec::with_capacity(ENCODED_LEN_TYPICAL) }
    }
}

impl Writer {
    /// A writer that appends to `bytes`.
    pub fn append_to(bytes: Vec<u8>) -> Self {
        Writer { bytes }
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// How many bytes were written.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn put<T: bincode::Encode>(&mut self, value: T) {
        let written = bincode::encode_into_std_write(value, &mut self.bytes, CONFIG);
        debug_assert!(written.is_ok(), "a Vec takes every write, and integers have no invalid value");
    }

    /// Writes one byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Writes two bytes, big endian.
    pub fn u16(&mut self, value: u16) {
        self.put(value);
    }

    /// Writes four bytes, big endian.
    pub fn u32(&mut self, value: u32) {
        self.put(value);
    }

    /// Writes eight bytes, big endian.
    pub fn u64(&mut self, value: u64) {
        self.put(value);
    }

    /// Writes an array as it is, without a length.
    pub fn array<const N: usize>(&mut self, value: &[u8; N]) {
        self.bytes.extend_from_slice(value);
    }

    /// Writes a length as u32. What is longer than u32 is cut by the limits long before.
    pub fn length(&mut self, len: usize) {
        self.u32(u32::try_from(len).unwrap_or(u32::MAX));
    }

    /// Writes a length and the bytes.
    pub fn bytes(&mut self, value: &[u8]) {
        self.length(value.len());
        self.bytes.extend_from_slice(value);
    }

    /// Writes a length and the text's UTF-8.
    pub fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// Writes a count and then each value.
    pub fn list<T: Canonical>(&mut self, values: &[T]) {
        self.length(values.len());
        for value in values {
            value.write(self);
        }
    }
}

/// Reads values from the front of a slice, never past its end, never allocating by what the bytes claim.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of all of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// `CodecError::Trailing` when something is.
    pub fn end(&self) -> Result<(), CodecError> {
        match self.rest.len() {
            0 => Ok(()),
            n => Err(CodecError::Trailing(n)),
        }
    }

    fn take<T: bincode::Decode<()>>(&mut self) -> Result<T, CodecError> {
        let (value, n) = bincode::decode_from_slice(self.rest, CONFIG).map_err(|_| CodecError::Short)?;
        self.rest = self.rest.get(n..).ok_or(CodecError::Short)?;
        Ok(value)
    }

    /// Takes `n` bytes from the front.
    ///
    /// # Errors
    /// `CodecError::Short` when there are fewer.
    pub fn slice(&mut self, n: usize) -> Result<&'a [u8], CodecError> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(CodecError::Short)?;
        self.rest = rest;
        Ok(head)
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// `CodecError::Short`, as all integers do.
    pub fn u8(&mut self) -> Result<u8, CodecError> {
        self.take()
    }

    /// Reads two bytes, big endian.
    ///
    /// # Errors
    /// `CodecError::Short`.
    pub fn u16(&mut self) -> Result<u16, CodecError> {
        self.take()
    }

    /// Reads four bytes, big endian.
    ///
    /// # Errors
    /// `CodecError::Short`.
    pub fn u32(&mut self) -> Result<u32, CodecError> {
        self.take()
    }

    /// Reads eight bytes, big endian.
    ///
    /// # Errors
    /// `CodecError::Short`.
    pub fn u64(&mut self) -> Result<u64, CodecError> {
        self.take()
    }

    /// Reads an array of known length.
    ///
    /// # Errors
    /// `CodecError::Short`.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let mut out = [0; N];
        out.copy_from_slice(self.slice(N)?);
        Ok(out)
    }

    /// Reads a length of at most `max`.
    ///
    /// # Errors
    /// `CodecError::Long` when it claims more.
    pub fn length(&mut self, max: usize) -> Result<usize, CodecError> {
        let len = self.u32()? as usize;
        if len > max { Err(CodecError::Long { len, max }) } else { Ok(len) }
    }

    /// Reads a length of at most `max` and that many bytes.
    ///
    /// # Errors
    /// `CodecError::Long` or `Short`.
    pub fn bytes(&mut self, max: usize) -> Result<&'a [u8], CodecError> {
        let len = self.length(max)?;
        self.slice(len)
    }

    /// Reads text of at most `max` bytes.
    ///
    /// # Errors
    /// `CodecError::Invalid` when it is not UTF-8; otherwise as `bytes`.
    pub fn text(&mut self, max: usize) -> Result<String, CodecError> {
        let bytes = self.bytes(max)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| CodecError::Invalid("text"))
    }

    /// Reads a list of at most `max` values. Memory grows with the values that are there, not with the count claimed.
    ///
    /// # Errors
    /// `CodecError::Long` when the count is larger; otherwise as the values do.
    pub fn list<T: Canonical>(&mut self, max: usize) -> Result<Vec<T>, CodecError> {
        let count = self.length(max)?;
        let mut out = Vec::new();
        for _ in 0..count {
            out.push(T::read(self)?);
        }
        Ok(out)
    }

    /// Reads a list whose values ascend strictly, so that a set has one encoding.
    ///
    /// # Errors
    /// `CodecError::Invalid` when they do not; otherwise as `list`.
    pub fn sorted<T: Canonical + Ord>(&mut self, max: usize) -> Result<Vec<T>, CodecError> {
        let out = self.list(max)?;
        if out.is_sorted_by(|a, b| a < b) { Ok(out) } else { Err(CodecError::Invalid("order of a list")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pair(u16, String);

    impl Canonical for Pair {
        fn write(&self, w: &mut Writer) {
            w.u16(self.0);
            w.text(&self.1);
        }
        fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
            Ok(Pair(r.u16()?, r.text(8)?))
        }
    }

    #[test]
    fn layout_is_big_endian_with_u32_lengths() {
        assert_eq!(encode(&Pair(0x0102, "ab".into())), [1, 2, 0, 0, 0, 2, b'a', b'b']);
    }

    #[test]
    fn trailing_short_long_and_broken_text_are_refused() {
        let good = encode(&Pair(7, "abc".into()));
        assert!(decode::<Pair>(&good, 64).is_ok());
        let mut more = good.clone();
        more.push(0);
        assert_eq!(decode::<Pair>(&more, 64).err(), Some(CodecError::Trailing(1)));
        assert_eq!(decode::<Pair>(&good[..good.len() - 1], 64).err(), Some(CodecError::Short));
        assert_eq!(decode::<Pair>(&good, 4).err(), Some(CodecError::Long { len: 9, max: 4 }));
        assert_eq!(decode::<Pair>(&[0, 1, 0, 0, 0, 1, 0xff], 64).err(), Some(CodecError::Invalid("text")));
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        let mut r = Reader::new(&[0xff; 4]);
        assert_eq!(r.bytes(usize::MAX), Err(CodecError::Short));
        let mut r = Reader::new(&[0x7f, 0xff, 0xff, 0xff, 1]);
        assert!(r.list::<Pair>(usize::MAX).is_err());
    }
}
