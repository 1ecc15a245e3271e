//! What a content payload can say. Unknown kinds are kept and shown as such; a known kind that does not read is false.

use crate::adopted::Adopted;
use crate::codec::{Canonical, CodecError, Reader, Writer, decode, encode};
use crate::file::File;
use crate::id::{EventId, RoomId, UserId};
use crate::limits::{IMPORT_LABEL_LEN_MAX, MENTIONS_MAX, NAME_LEN_MAX, PAYLOAD_LEN_MAX, REACTION_LEN_MAX};
use crate::moderation::Hide;
use crate::sealed::{Sealed, SealingId};
use crate::team::TeamWord;

/// Numbers of content kinds, for a header's `kind`.
pub mod kind {
    use crate::team::TeamWord;

    /// A message.
    pub const TEXT: u16 = 1;
    /// A message that answers another.
    pub const REPLY: u16 = 2;
    /// New text for one of the author's own messages.
    pub const EDIT: u16 = 3;
    /// An emoji put to a message, or taken back.
    pub const REACTION: u16 = 4;
    /// A message that brings a file.
    pub const FILE: u16 = 5;
    /// A message from elsewhere, vouched for by who imported it.
    pub const IMPORTED: u16 = 6;
    /// What people should call the author in this room.
    pub const PROFILE: u16 = 7;
    /// In a self-room: the key by which a device of its user reads what is sealed to it.
    pub const DEVICE: u16 = 8;
    /// In a self-room: records for the user's devices alone.
    pub const SEALED: u16 = 9;
    /// A message that a cut took away, quoted with its proof.
    pub const ADOPTED: u16 = 10;
    /// A message folded on screens by who moderates, or unfolded.
    pub const HIDE: u16 = 32;
    /// A message reported to those who moderate, for them alone.
    pub const REPORT: u16 = 33;

    /// Whether an event of this kind stands in the timeline by itself, rather than changing how others look.
    pub fn is_message(kind: u16) -> bool {
        !matches!(kind, EDIT | REACTION | PROFILE | DEVICE | SEALED | HIDE | REPORT) && !TeamWord::is_kind(kind)
    }
}

/// A content payload, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A message.
    Text(Text),
    /// A message that answers `target` in the thread that `root` began.
    Reply {
        /// The message answered.
        target: EventId,
        /// The first message of the thread.
        root: EventId,
        /// What it says.
        text: Text,
    },
    /// `target`, a message of the same user, should read so.
    Edit {
        /// The message changed.
        target: EventId,
        /// What it says now.
        text: Text,
    },
    /// An emoji at a message; the newest of a user for one emoji counts.
    Reaction {
        /// The message reacted to.
        target: EventId,
        /// One emoji or short word.
        emoji: String,
        /// Taken back.
        removed: bool,
    },
    /// A message from elsewhere.
    Imported(Imported),
    /// What people should call the author's user in this room.
    Profile {
        /// The display name; empty for none.
        name: String,
        /// The user's self-room, where the room's members may look for their devices.
        home: Option<RoomId>,
    },
    /// The key to which what the author should read is sealed.
    Device {
        /// Its public half.
        sealing: SealingId,
    },
    /// Records for the user's devices.
    Sealed(Sealed),
    /// A message that does not count any more, and for which the author of this stands.
    Adopted(Box<Adopted>),
    /// In a team: of a room that admits its members. Kinds 40 to 42.
    Team(TeamWord),
    /// A kind of a later version: kept, and shown as unknown.
    Unknown {
        /// Its number.
        kind: u16,
    },
    /// A message folded on screens, or unfolded.
    Hide(Hide),
    /// A `moderation::Report`, sealed to those who moderate.
    Report(Sealed),
    /// A message that brings a file.
    File(Box<File>),
}

/// Text in the Markdown subset, and whom it mentions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// As typed.
    pub body: String,
    /// Ascending.
    pub mentions: Vec<UserId>,
}

impl Text {
    /// A text that mentions these people, in any order; those past the limit are not told.
    pub fn new(body: String, mut mentions: Vec<UserId>) -> Self {
        mentions.sort_unstable();
        mentions.dedup();
        mentions.truncate(MENTIONS_MAX);
        Text { body, mentions }
    }
}

impl From<&str> for Text {
    fn from(body: &str) -> Self {
        Text { body: body.to_owned(), mentions: Vec::new() }
    }
}

/// A message from elsewhere: who is said to have written it, when, and how to know it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The name of the place it comes from.
    pub source: String,
    /// The claimed author.
    pub author: String,
    /// The claimed time, Unix milliseconds.
    pub ms: u64,
    /// Which of the source's records of this millisecond it is: 0, 1, 2, ...
    pub order: u32,
    /// Which of the source's records with this author, time and text it is: real logs repeat themselves.
    pub occurrence: u32,
    /// What it says.
    pub text: String,
}

impl Imported {
    /// What makes two imports the same record, whoever imported them.
    pub fn source_id(&self) -> [u8; 32] {
        let mut w = Writer::default();
        w.text(&self.source);
        w.text(&self.author);
        w.u64(self.ms);
        w.text(&self.text);
        w.u32(self.occurrence);
        blake3::derive_key(SOURCE_ID_CONTEXT, &w.into_bytes())
    }
}

impl Content {
    /// The number for a header's `kind`.
    pub fn kind(&self) -> u16 {
        match self {
            Content::Text(_) => kind::TEXT,
            Content::Reply { .. } => kind::REPLY,
            Content::Edit { .. } => kind::EDIT,
            Content::Reaction { .. } => kind::REACTION,
            Content::Imported(_) => kind::IMPORTED,
            Content::Profile { .. } => kind::PROFILE,
            Content::Device { .. } => kind::DEVICE,
            Content::Sealed(_) => kind::SEALED,
            Content::Adopted(_) => kind::ADOPTED,
            Content::Team(word) => word.kind(),
            Content::Unknown { kind } => *kind,
            Content::Hide(_) => kind::HIDE,
            Content::Report(_) => kind::REPORT,
            Content::File(_) => kind::FILE,
        }
    }

    /// Whether this stands in the timeline by itself, rather than changing how another message looks.
    pub fn is_message(&self) -> bool {
        kind::is_message(self.kind())
    }

    /// What a message of this user says in words, and what it answers: the message, and the first of its thread.
    pub fn words(&self) -> Option<(&Text, Option<(EventId, EventId)>)> {
        match self {
            Content::Text(text) => Some((text, None)),
            Content::Reply { target, root, text } => Some((text, Some((*target, *root)))),
            Content::File(file) => Some((&file.text, file.reply)),
            _ => None,
        }
    }

    /// The message whose looks this changes, or that it brings back.
    pub fn target(&self) -> Option<EventId> {
        match self {
            Content::Edit { target, .. } | Content::Reaction { target, .. } => Some(*target),
            Content::Adopted(adopted) => Some(adopted.message),
            Content::Hide(hide) => Some(hide.target),
            _ => None,
        }
    }

    /// The file that this brings, or that a message brings for which this stands.
    pub fn file(&self) -> Option<File> {
        match self {
            Content::File(file) => Some((**file).clone()),
            Content::Adopted(adopted) => match adopted.said()? {
                Content::File(file) => Some(*file),
                _ => None,
            },
            _ => None,
        }
    }

    /// The payload's canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        match self {
            Content::Text(text) => text.write(&mut w),
            Content::Reply { target, root, text } => {
                target.write(&mut w);
                root.write(&mut w);
                text.write(&mut w);
            }
            Content::Edit { target, text } => {
                target.write(&mut w);
                text.write(&mut w);
            }
            Content::Reaction { target, emoji, removed } => {
                target.write(&mut w);
                w.text(emoji);
                w.u8(u8::from(*removed));
            }
            Content::Imported(imported) => imported.write(&mut w),
            Content::Profile { name, home } => {
                w.text(name);
                w.u8(u8::from(home.is_some()));
                home.iter().for_each(|room| room.write(&mut w));
            }
            Content::Device { sealing } => sealing.write(&mut w),
            Content::Sealed(sealed) => sealed.write(&mut w),
            Content::Adopted(adopted) => adopted.write(&mut w),
            Content::Team(word) => word.write(&mut w),
            Content::Unknown { .. } => {}
            Content::Hide(hide) => hide.write(&mut w),
            Content::Report(sealed) => sealed.write(&mut w),
            Content::File(file) => file.write(&mut w),
        }
        w.into_bytes()
    }

    /// Reads the payload of a content event.
    ///
    /// # Errors
    /// `CodecError` when the bytes are not canonically of that kind. An unknown kind is no error.
    pub fn decode(kind: u16, bytes: &[u8]) -> Result<Self, CodecError> {
        match kind {
            kind::TEXT => decode(bytes, PAYLOAD_LEN_MAX).map(Content::Text),
            kind::REPLY => decode::<Targeted<(EventId, Text)>>(bytes, PAYLOAD_LEN_MAX).map(|t| Content::Reply {
                target: t.target,
                root: t.what.0,
                text: t.what.1,
            }),
            kind::EDIT => decode::<Targeted<Text>>(bytes, PAYLOAD_LEN_MAX)
                .map(|t| Content::Edit { target: t.target, text: t.what }),
            kind::REACTION => decode::<Targeted<Emoji>>(bytes, PAYLOAD_LEN_MAX).map(|t| Content::Reaction {
                target: t.target,
                emoji: t.what.0,
                removed: t.what.1,
            }),
            kind::IMPORTED => decode(bytes, PAYLOAD_LEN_MAX).map(Content::Imported),
            kind::PROFILE => {
                decode::<Profile>(bytes, PAYLOAD_LEN_MAX).map(|p| Content::Profile { name: p.0, home: p.1 })
            }
            kind::DEVICE => decode(bytes, PAYLOAD_LEN_MAX).map(|sealing| Content::Device { sealing }),
            kind::SEALED => decode(bytes, PAYLOAD_LEN_MAX).map(Content::Sealed),
            kind::ADOPTED => decode(bytes, PAYLOAD_LEN_MAX).map(|adopted| Content::Adopted(Box::new(adopted))),
            kind::HIDE => decode(bytes, PAYLOAD_LEN_MAX).map(Content::Hide),
            kind::REPORT => decode(bytes, PAYLOAD_LEN_MAX).map(Content::Report),
            kind::FILE => decode(bytes, PAYLOAD_LEN_MAX).map(|file| Content::File(Box::new(file))),
            kind if TeamWord::is_kind(kind) => TeamWord::decode(kind, bytes).map(Content::Team),
            kind => Ok(Content::Unknown { kind }),
        }
    }
}

impl Canonical for Text {
    fn write(&self, w: &mut Writer) {
        w.text(&self.body);
        w.list(&self.mentions);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Text { body: r.text(PAYLOAD_LEN_MAX)?, mentions: r.sorted(MENTIONS_MAX)? })
    }
}

impl Canonical for Imported {
    fn write(&self, w: &mut Writer) {
        w.text(&self.source);
        w.text(&self.author);
        w.u64(self.ms);
        w.u32(self.order);
        w.u32(self.occurrence);
        w.text(&self.text);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Imported {
            source: r.text(IMPORT_LABEL_LEN_MAX)?,
            author: r.text(IMPORT_LABEL_LEN_MAX)?,
            ms: r.u64()?,
            order: r.u32()?,
            occurrence: r.u32()?,
            text: r.text(PAYLOAD_LEN_MAX)?,
        })
    }
}

struct Targeted<T> {
    target: EventId,
    what: T,
}

impl<T: Canonical> Canonical for Targeted<T> {
    fn write(&self, w: &mut Writer) {
        self.target.write(w);
        self.what.write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Targeted { target: EventId::read(r)?, what: T::read(r)? })
    }
}

impl Canonical for (EventId, Text) {
    fn write(&self, w: &mut Writer) {
        self.0.write(w);
        self.1.write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok((EventId::read(r)?, Text::read(r)?))
    }
}

struct Emoji(String, bool);

impl Canonical for Emoji {
    fn write(&self, w: &mut Writer) {
        w.text(&self.0);
        w.u8(u8::from(self.1));
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let emoji = r.text(REACTION_LEN_MAX)?;
        match (emoji.is_empty(), r.u8()?) {
            (false, n @ 0..=1) => Ok(Emoji(emoji, n == 1)),
            _ => Err(CodecError::Invalid("reaction")),
        }
    }
}

struct Profile(String, Option<RoomId>);

impl Canonical for Profile {
    fn write(&self, w: &mut Writer) {
        w.text(&self.0);
        w.u8(u8::from(self.1.is_some()));
        self.1.iter().for_each(|room| room.write(w));
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let name = r.text(NAME_LEN_MAX)?;
        match r.u8()? {
            0 => Ok(Profile(name, None)),
            1 => Ok(Profile(name, Some(RoomId::read(r)?))),
            _ => Err(CodecError::Invalid("profile")),
        }
    }
}

/// The canonical bytes of text alone: what a message of this length will cost.
pub fn text_len(text: &Text) -> usize {
    encode(text).len()
}

const SOURCE_ID_CONTEXT: &str = "tidings/import source/1";

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Content> {
        let text = Text { body: "hi\u{1b}[2J".into(), mentions: vec![UserId([1; 32]), UserId([2; 32])] };
        let imported = Imported {
            source: "irc".into(),
            author: "pupp".into(),
            ms: 1_507_466_702_000,
            order: 1,
            occurrence: 0,
            text: String::new(),
        };
        let file = |reply| File {
            hash: crate::id::FileHash([6; 32]),
            len: 1 << 20,
            name: "../a\0b".into(),
            media: "image/png".into(),
            text: text.clone(),
            reply,
        };
        let place = crate::sealed::Place { room: RoomId([7; 32]), author: crate::id::DeviceId([8; 32]) };
        let to = [1u8, 2].map(|n| crate::sealed::SealingKey::from_seed(&[n; 32]).id());
        let sealed = Sealed::seal(b"records", &to, place, &mut || [9; 32]).unwrap();
        vec![
            Content::Text(text.clone()),
            Content::Reply { target: EventId([3; 32]), root: EventId([4; 32]), text: text.clone() },
            Content::File(Box::new(file(None))),
            Content::File(Box::new(file(Some((EventId([3; 32]), EventId([4; 32])))))),
            Content::Edit { target: EventId([3; 32]), text },
            Content::Reaction { target: EventId([3; 32]), emoji: "👍".into(), removed: true },
            Content::Imported(imported),
            Content::Profile { name: "Ada".into(), home: None },
            Content::Profile { name: String::new(), home: Some(RoomId([5; 32])) },
            Content::Device { sealing: SealingId([6; 32]) },
            Content::Sealed(sealed.clone()),
            Content::Hide(Hide { target: EventId([3; 32]), hidden: true }),
            Content::Report(sealed),
        ]
    }

    #[test]
    fn every_kind_round_trips_and_trailing_bytes_do_not() {
        for content in samples() {
            let mut bytes = content.encode();
            assert_eq!(Content::decode(content.kind(), &bytes), Ok(content.clone()));
            bytes.push(0);
            assert!(Content::decode(content.kind(), &bytes).is_err(), "{content:?}");
        }
    }

    #[test]
    fn a_later_kind_is_kept_unread() {
        assert_eq!(Content::decode(999, b"anything"), Ok(Content::Unknown { kind: 999 }));
    }

    #[test]
    fn the_same_record_has_one_source_id_and_a_repetition_another() {
        let Some(Content::Imported(first)) = samples().into_iter().find(|c| c.kind() == kind::IMPORTED) else { return };
        let again = Imported { order: 7, ..first.clone() };
        let repeated = Imported { occurrence: 1, ..first.clone() };
        assert_eq!(first.source_id(), again.source_id());
        assert_ne!(first.source_id(), repeated.source_id());
    }
}
