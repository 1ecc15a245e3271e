//! What people paste and type: links, ids, names. What reads has one form, and that form reads as the same.

use super::feed::Feed;
use tidings_protocol::at_name::AtName;
use tidings_protocol::codec::encode;
use tidings_protocol::enrol::DeviceLink;
use tidings_protocol::file_name;
use tidings_protocol::id::{DeviceId, EventId, FileHash, RoomId, UserId, base32};
use tidings_protocol::identity::RecoveryPhrase;
use tidings_protocol::limits::LINK_LEN_MAX;
use tidings_protocol::link::{InviteLink, LinkError, RoomLink};
use tidings_protocol::lookalike::Looks;
use tidings_protocol::moderation::slow_seconds;
use tidings_protocol::verification::VerifyLink;

/// The first byte says whether the others are text, or what a link has behind its beginning.
pub fn link(bytes: &[u8]) {
    let mut feed = Feed::new(bytes);
    match feed.u8() % 6 {
        0 => links(&String::from_utf8_lossy(feed.rest())),
        1 => body("tidings://join/", feed.rest()),
        2 => body("tidings://device/", feed.rest()),
        3 => body("tidings://verify/", feed.rest()),
        4 => ids(&String::from_utf8_lossy(feed.rest())),
        _ => names(&String::from_utf8_lossy(feed.rest())),
    }
}

/// A link with this body, and the checksum that belongs to it.
fn body(prefix: &str, body: &[u8]) {
    let sum = blake3::derive_key("tidings/link checksum/1", body);
    let text = format!("{prefix}{}", base32::to_text(&[body, &sum[..4]].concat()));
    if text.len() <= LINK_LEN_MAX {
        assert_ne!(RoomLink::from_text(&text).err(), Some(LinkError::Damaged));
    }
    links(&text);
    links(&format!(" {}\n", text.to_uppercase()));
    let mut changed = text.into_bytes();
    if let Some(last) = changed.last_mut() {
        *last = if *last == b'a' { b'b' } else { b'a' };
    }
    let changed = String::from_utf8(changed).unwrap();
    assert!(RoomLink::from_text(&changed).is_err(), "{changed}");
    assert!(DeviceLink::from_text(&changed).is_err() && VerifyLink::from_text(&changed).is_err(), "{changed}");
}

fn links(text: &str) {
    let form = text.trim().to_ascii_lowercase();
    if let Ok(link) = InviteLink::from_text(text) {
        assert_eq!(link.to_text(), form);
        assert_eq!(encode(&InviteLink::from_text(&form).unwrap()), encode(&link));
        assert!(matches!(RoomLink::from_text(text), Ok(RoomLink::Invite(_))));
        assert!(link.check_network(&link.network).is_ok());
    }
    if let Ok(link) = RoomLink::from_text(text) {
        let again = match &link {
            RoomLink::Invite(link) => link.to_text(),
            RoomLink::Grant(link) => link.to_text(),
        };
        assert_eq!(again, form);
        assert_eq!(RoomLink::from_text(&again).unwrap().room(), link.room());
    }
    if let Ok(link) = DeviceLink::from_text(text) {
        assert_eq!(link.to_text(), form);
        assert_eq!(encode(&DeviceLink::from_text(&form).unwrap()), encode(&link));
    }
    if let Ok(link) = VerifyLink::from_text(text) {
        assert!(VerifyLink::is_meant(text));
        assert_eq!(link.to_text(), form);
    }
}

fn ids(text: &str) {
    assert!(text.parse::<EventId>().map_or(true, |id| id.to_string() == text));
    assert!(text.parse::<RoomId>().map_or(true, |id| id.to_string() == text));
    assert!(text.parse::<FileHash>().map_or(true, |id| id.to_string() == text));
    assert!(text.parse::<UserId>().map_or(true, |id| id.to_string() == text));
    assert!(text.parse::<DeviceId>().map_or(true, |id| id.to_string() == text));
    if let Ok(phrase) = RecoveryPhrase::from_words(text) {
        assert_eq!(RecoveryPhrase::from_words(&phrase.words()).unwrap().entropy(), phrase.entropy());
    }
    if let Some(seconds) = slow_seconds(text) {
        assert_eq!(slow_seconds(&seconds.to_string()), Some(seconds));
    }
}

fn names(text: &str) {
    if let Ok(name) = text.parse::<AtName>() {
        assert!(AtName::is_meant(text));
        assert_eq!(name.to_string().parse(), Ok(name.clone()));
        assert_eq!(name.to_string(), text.trim().to_ascii_lowercase());
        assert!(!name.path().contains("..") && !name.domain().contains('/'));
    }
    let safe = file_name::safe(text);
    assert_eq!(file_name::safe(&safe), safe, "{text:?}");
    assert!(!safe.is_empty() && safe.len() <= 255 && !safe.contains(['/', '\\', '\0', '\n']), "{safe:?}");
    assert!(!safe.starts_with(['.', '-', '~']), "{safe:?}");
    let looks = Looks::of(text);
    assert!(looks.texts().next().is_none() || looks.alike(&looks), "{text:?}");
}
