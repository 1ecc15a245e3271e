//! Comparing keys: the code that two people see alike when neither is deceived about the other's key, and the same as a
//! link that a camera can read.
//!
//! The code is of 60 digits, as Signal's safety numbers are: somebody in the middle may look for a pair of keys of their
//! own whose codes agree, which takes the square root of all codes. 199 bits leave 100 of work.

use crate::codec::{Canonical, CodecError, Reader, Writer, decode, encode};
use crate::id::{UserId, base32};
use thiserror::Error;

/// What two people compare; the same for both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyCode([u8; DIGITS]);

/// Why text is no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a code has {DIGITS} digits; spaces do not matter")]
pub struct NotACode;

impl VerifyCode {
    /// The code of two people.
    pub fn of(one: UserId, other: UserId) -> VerifyCode {
        let (low, high) = if one <= other { (one, other) } else { (other, one) };
        let mut hasher = blake3::Hasher::new_derive_key("tidings/verify code/1");
        hasher.update(low.as_bytes()).update(high.as_bytes());
        let mut stream = hasher.finalize_xof();
        let mut digits = [0; DIGITS];
        for group in digits.chunks_exact_mut(GROUP_LEN) {
            let mut bytes = [0; 8];
            stream.fill(&mut bytes[3..]);
            let mut rest = u64::from_be_bytes(bytes);
            for digit in group.iter_mut().rev() {
                *digit = (rest % 10) as u8;
                rest /= 10;
            }
        }
        VerifyCode(digits)
    }

    /// Its groups of five digits, twelve of them.
    pub fn groups(&self) -> Vec<String> {
        self.0.chunks_exact(GROUP_LEN).map(|g| g.iter().map(|d| char::from(b'0' + d)).collect()).collect()
    }
}

impl std::fmt::Display for VerifyCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.groups().join(" "))
    }
}

impl std::str::FromStr for VerifyCode {
    type Err = NotACode;
    fn from_str(text: &str) -> Result<Self, NotACode> {
        let mut digits = [0; DIGITS];
        let mut places = digits.iter_mut();
        for c in text.chars().filter(|c| !c.is_whitespace() && *c != '-') {
            let digit = c.to_digit(10).and_then(|d| u8::try_from(d).ok()).ok_or(NotACode)?;
            *places.next().ok_or(NotACode)? = digit;
        }
        if places.next().is_some() { Err(NotACode) } else { Ok(VerifyCode(digits)) }
    }
}

/// The two people of a code, as a link. It carries the keys themselves: read off somebody's screen, it says what key that
/// person has; sent by anybody, it proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyLink {
    low: UserId,
    high: UserId,
}

/// Why text is not a link for comparing keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum VerifyLinkError {
    /// It does not begin with `tidings://verify/`.
    #[error("a link for comparing keys begins with {PREFIX}")]
    Prefix,
    /// The checksum does not fit.
    #[error("the link is damaged or incomplete: scan or copy all of it and try again")]
    Damaged,
    /// It is whole, but of a form that this program does not know.
    #[error("this link is of a later version: update tidings")]
    Version,
}

impl VerifyLink {
    /// The link of two people; the same for both.
    pub fn of(one: UserId, other: UserId) -> VerifyLink {
        let (low, high) = if one <= other { (one, other) } else { (other, one) };
        VerifyLink { low, high }
    }

    /// The other of the two; none when `me` is neither, or both.
    pub fn other(&self, me: UserId) -> Option<UserId> {
        match (self.low == me, self.high == me) {
            (true, false) => Some(self.high),
            (false, true) => Some(self.low),
            _ => None,
        }
    }

    /// Whether text means to be such a link.
    pub fn is_meant(text: &str) -> bool {
        text.trim().get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
    }

    /// The link as text.
    pub fn to_text(&self) -> String {
        let mut bytes = encode(self);
        bytes.extend_from_slice(&checksum(&bytes));
        format!("{PREFIX}{}", base32::to_text(&bytes))
    }

    /// Reads a link; space around it and the case of its letters do not matter.
    ///
    /// # Errors
    /// `VerifyLinkError`, in this order: prefix, damage, version.
    pub fn from_text(text: &str) -> Result<Self, VerifyLinkError> {
        let text = text.trim();
        if !VerifyLink::is_meant(text) {
            return Err(VerifyLinkError::Prefix);
        }
        if text.len() > LINK_LEN_MAX {
            return Err(VerifyLinkError::Damaged);
        }
        let lower = text.to_ascii_lowercase();
        let code = lower.strip_prefix(PREFIX).ok_or(VerifyLinkError::Prefix)?;
        let bytes = base32::to_bytes(code).ok_or(VerifyLinkError::Damaged)?;
        let (body, sum) = bytes.split_last_chunk::<CHECKSUM_LEN>().ok_or(VerifyLinkError::Damaged)?;
        if checksum(body) != *sum {
            return Err(VerifyLinkError::Damaged);
        }
        decode(body, LINK_LEN_MAX).map_err(|_| VerifyLinkError::Version)
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    let hash = blake3::derive_key("tidings/link checksum/1", bytes);
    [hash[0], hash[1], hash[2], hash[3]]
}

impl Canonical for VerifyLink {
    fn write(&self, w: &mut Writer) {
        w.u8(LINK_VERSION);
        self.low.write(w);
        self.high.write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        if r.u8()? != LINK_VERSION {
            return Err(CodecError::Invalid("link version"));
        }
        let link = VerifyLink { low: UserId::read(r)?, high: UserId::read(r)? };
        if link.low > link.high { Err(CodecError::Invalid("order of the two people")) } else { Ok(link) }
    }
}

const PREFIX: &str = "tidings://verify/";
const LINK_VERSION: u8 = 1;
const CHECKSUM_LEN: usize = 4;
/// 69 bytes in base32 behind the prefix, twice over.
const LINK_LEN_MAX: usize = 256;
const DIGITS: usize = 60;
const GROUP_LEN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> [UserId; 3] {
        [UserId([1; 32]), UserId([2; 32]), UserId([3; 32])]
    }

    #[test]
    fn both_see_the_same_code_and_nobody_else_does() {
        let [ana, ben, carla] = ids();
        let code = VerifyCode::of(ana, ben);
        assert_eq!(code, VerifyCode::of(ben, ana));
        assert_ne!(code, VerifyCode::of(ana, carla));
        assert_ne!(code, VerifyCode::of(ben, carla));
        assert_eq!(code.to_string(), VECTOR);
    }

    #[test]
    fn a_code_reads_however_it_is_spaced() {
        let [ana, ben, _] = ids();
        let code = VerifyCode::of(ana, ben);
        let bare = code.to_string().replace(' ', "");
        let lines = code.groups().join("\n ");
        for text in [code.to_string(), bare.clone(), code.groups().join("-"), lines, format!("  {bare}\t")] {
            assert_eq!(text.parse(), Ok(code.clone()), "{text}");
        }
        for bad in
            ["", "1", &bare[1..], &format!("{bare}0"), &bare.replace(&bare[..1], "x"), &bare.replace(&bare[..1], "٣")]
        {
            assert_eq!(bad.parse::<VerifyCode>(), Err(NotACode), "{bad}");
        }
    }

    #[test]
    fn a_link_names_the_other_of_the_two() {
        let [ana, ben, carla] = ids();
        let link = VerifyLink::of(ben, ana);
        assert_eq!(link, VerifyLink::of(ana, ben));
        for text in [link.to_text(), link.to_text().to_uppercase(), format!(" {}\n", link.to_text())] {
            assert_eq!(VerifyLink::from_text(&text), Ok(link), "{text}");
        }
        assert_eq!((link.other(ana), link.other(ben), link.other(carla)), (Some(ben), Some(ana), None));
        assert_eq!(VerifyLink::of(ana, ana).other(ana), None);
    }

    #[test]
    fn each_kind_of_bad_link_has_its_own_answer() {
        let text = VerifyLink::of(ids()[0], ids()[1]).to_text();
        for bad in ["", "https://example.org", "tidings://join/aaaa"] {
            assert_eq!(VerifyLink::from_text(bad), Err(VerifyLinkError::Prefix), "{bad}");
        }
        let long = format!("{PREFIX}{}", "a".repeat(999));
        for bad in [PREFIX, &format!("{PREFIX}!!"), &text[..text.len() - 2], &format!("{text}a"), &long] {
            assert_eq!(VerifyLink::from_text(bad), Err(VerifyLinkError::Damaged), "{bad}");
        }
        let sealed = |mut body: Vec<u8>| {
            body.extend_from_slice(&checksum(&body));
            format!("{PREFIX}{}", base32::to_text(&body))
        };
        let swapped = [&[LINK_VERSION][..], &[2; 32], &[1; 32]].concat();
        for later in [vec![9], swapped] {
            assert_eq!(VerifyLink::from_text(&sealed(later)), Err(VerifyLinkError::Version));
        }
    }

    const VECTOR: &str = "90689 70644 22248 95091 84499 36230 28186 42160 21040 62248 54162 85958";
}
