//! Letting another device in: the link that carries a one-time secret from the first device to the new one, what both
//! say to one another on a stream, and how each proves that it knows the secret without showing it.

use crate::codec::{Canonical, CodecError, Reader, Writer, decode, encode};
use crate::control::payload::Control;
use crate::event::{Hlc, SignedEvent, VerifiedEvent};
use crate::id::{DeviceId, RoomId, UserId};
use crate::identity::DeviceCertificate;
use crate::limits::{
    ENROL_FRAME_LEN_MAX, EVENT_LEN_MAX, LINK_ADDRESSES_MAX, LINK_LEN_MAX, NAME_LEN_MAX, NETWORK_LEN_MAX,
};
use crate::link::{Address, LinkError, body_of, check_network, to_text};
use crate::sealed::SealingId;
use zeroize::Zeroizing;

/// What a link for another device says.
#[derive(Clone)]
pub struct DeviceLink {
    /// The federation; empty is the open one.
    pub network: String,
    /// Whose device it will be.
    pub user: UserId,
    /// Their self-room.
    pub home: RoomId,
    /// Known to who made the link, and to who reads it.
    pub secret: Zeroizing<[u8; 32]>,
    /// Unix milliseconds after which the first device answers no more.
    pub expires_ms: u64,
    /// Where the first device is, as multiaddr text ending in `/p2p/...`.
    pub addresses: Vec<String>,
}

impl DeviceLink {
    /// The link as text.
    pub fn to_text(&self) -> String {
        to_text(PREFIX, encode(self))
    }

    /// Reads a link; space around it and the case of its letters do not matter.
    ///
    /// # Errors
    /// `LinkError`, in this order: prefix, damage, version.
    pub fn from_text(text: &str) -> Result<Self, LinkError> {
        let body = body_of(PREFIX, text)?.ok_or(LinkError::DevicePrefix)?;
        decode(&body, LINK_LEN_MAX).map_err(|_| LinkError::Version)
    }

    /// Checks that the link leads into our federation.
    ///
    /// # Errors
    /// `LinkError::OtherNetwork`.
    pub fn check_network(&self, ours: &str) -> Result<(), LinkError> {
        check_network(&self.network, ours)
    }
}

/// One frame of an enrolment, in the order in which they come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnrolFrame {
    /// The new device binds itself to what it will ask with, before it knows the first one's nonce: so neither side can
    /// choose what makes the check code once it knows the rest.
    Commit {
        /// `Ask::commitment`.
        commitment: [u8; 32],
    },
    /// The first device answers.
    Hello {
        /// Fresh.
        nonce: [u8; 32],
    },
    /// The new device asks to be certified.
    Ask(Ask),
    /// The first device knows the secret too, and asks its user.
    Known {
        /// Over everything said so far.
        proof: [u8; 32],
    },
    /// The new device is one of the user's.
    Welcome(Box<Welcome>),
    /// It is not.
    Refused(Refused),
}

/// What the new device says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Fresh.
    pub nonce: [u8; 32],
    /// Its device key.
    pub device: DeviceId,
    /// What its user calls it.
    pub name: String,
    /// Over everything said so far.
    pub proof: [u8; 32],
}

impl Ask {
    /// What binds the new device to its nonce, key and name.
    pub fn commitment(&self) -> [u8; 32] {
        let mut w = Writer::default();
        w.array(&self.nonce);
        self.device.write(&mut w);
        w.text(&self.name);
        blake3::derive_key("tidings/enrol commitment/1", &w.into_bytes())
    }
}

/// What the new device gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// Ties it to the user.
    pub certificate: DeviceCertificate,
    /// The first event of the self-room, as it travels alone.
    pub genesis: Vec<u8>,
    /// The key to which records for the words are sealed.
    pub words: SealingId,
}

impl Welcome {
    /// Checks that this makes the device one of the user whom the link named; the self-room's genesis.
    pub fn check(&self, link: &DeviceLink, device: DeviceId) -> Option<VerifiedEvent> {
        let of_link = self.certificate.user() == link.user && self.certificate.device() == device;
        self.certificate.verify().ok().filter(|()| of_link)?;
        let genesis = SignedEvent::decode(&self.genesis).ok()?.verify().ok()?;
        (genesis.room() == link.home && is_self_room(&genesis, link.user)).then_some(genesis)
    }
}

/// Whether an event founds the self-room of this user.
pub fn is_self_room(event: &VerifiedEvent, user: UserId) -> bool {
    let header = event.header();
    let is_plain = header.hlc == Hlc(0) && header.parents.is_empty();
    match crate::control::payload::ControlEvent::read(event).map(|read| read.control) {
        Ok(Control::Genesis(genesis)) => is_plain && crate::account::founds_self_room(header.author, &genesis, user),
        _ => false,
    }
}

/// Why a device is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// No link is open here, it was used, it is too old, or the secret is another.
    NoLink,
    /// The user said no.
    Declined,
}

/// What both sides know when the new device has asked: proofs and the check code are made of it.
pub struct Transcript<'a> {
    /// The link.
    pub link: &'a DeviceLink,
    /// PeerId of the first device, as the connection proved it.
    pub first: &'a [u8],
    /// PeerId of the new one.
    pub new: &'a [u8],
    /// The first device's nonce.
    pub nonce: [u8; 32],
    /// The new device's words; its proof is not part of what is proven.
    pub ask: &'a Ask,
}

impl Transcript<'_> {
    /// What the new device shows.
    pub fn proof_of_new(&self) -> [u8; 32] {
        self.mac(0)
    }

    /// What the first device shows.
    pub fn proof_of_first(&self) -> [u8; 32] {
        self.mac(1)
    }

    /// Whether the new device knows the secret. Takes the same time whatever differs.
    pub fn is_proven(&self) -> bool {
        blake3::Hash::from(self.proof_of_new()) == blake3::Hash::from(self.ask.proof)
    }

    /// Whether this is the first device's proof.
    pub fn is_by_first(&self, proof: [u8; 32]) -> bool {
        blake3::Hash::from(self.proof_of_first()) == blake3::Hash::from(proof)
    }

    /// Six digits that both devices show, so that their user sees that it is these two.
    pub fn check_code(&self) -> String {
        let mac = self.mac(2);
        let number = u32::from_be_bytes([mac[0], mac[1], mac[2], mac[3]]) % 1_000_000;
        format!("{number:06}")
    }

    fn mac(&self, role: u8) -> [u8; 32] {
        let key = Zeroizing::new(blake3::derive_key("tidings/enrol/1", self.link.secret.as_slice()));
        let mut w = Writer::default();
        w.u8(role);
        self.link.user.write(&mut w);
        self.link.home.write(&mut w);
        w.bytes(self.first);
        w.bytes(self.new);
        w.array(&self.nonce);
        w.array(&self.ask.nonce);
        self.ask.device.write(&mut w);
        w.text(&self.ask.name);
        *blake3::keyed_hash(&key, &w.into_bytes()).as_bytes()
    }
}

impl EnrolFrame {
    /// The frame's bytes, without the length that stands before them on the stream.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// `CodecError`: the other side is at fault.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        decode(bytes, ENROL_FRAME_LEN_MAX)
    }
}

impl Canonical for EnrolFrame {
    fn write(&self, w: &mut Writer) {
        match self {
            EnrolFrame::Commit { commitment } => {
                w.u8(1);
                w.array(commitment);
            }
            EnrolFrame::Hello { nonce } => {
                w.u8(2);
                w.array(nonce);
            }
            EnrolFrame::Ask(ask) => {
                w.u8(3);
                w.array(&ask.nonce);
                ask.device.write(w);
                w.text(&ask.name);
                w.array(&ask.proof);
            }
            EnrolFrame::Known { proof } => {
                w.u8(4);
                w.array(proof);
            }
            EnrolFrame::Welcome(welcome) => {
                w.u8(5);
                welcome.certificate.write(w);
                w.bytes(&welcome.genesis);
                welcome.words.write(w);
            }
            EnrolFrame::Refused(why) => {
                w.u8(6);
                w.u8(match why {
                    Refused::NoLink => 0,
                    Refused::Declined => 1,
                });
            }
        }
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(match r.u8()? {
            1 => EnrolFrame::Commit { commitment: r.array()? },
            2 => EnrolFrame::Hello { nonce: r.array()? },
            3 => EnrolFrame::Ask(Ask {
                nonce: r.array()?,
                device: DeviceId::read(r)?,
                name: r.text(NAME_LEN_MAX)?,
                proof: r.array()?,
            }),
            4 => EnrolFrame::Known { proof: r.array()? },
            5 => EnrolFrame::Welcome(Box::new(Welcome {
                certificate: DeviceCertificate::read(r)?,
                genesis: r.bytes(EVENT_LEN_MAX)?.to_vec(),
                words: SealingId::read(r)?,
            })),
            6 => EnrolFrame::Refused(match r.u8()? {
                0 => Refused::NoLink,
                1 => Refused::Declined,
                _ => return Err(CodecError::Invalid("refusal")),
            }),
            _ => return Err(CodecError::Invalid("enrolment frame")),
        })
    }
}

impl Canonical for DeviceLink {
    fn write(&self, w: &mut Writer) {
        w.u8(LINK_VERSION);
        w.text(&self.network);
        self.user.write(w);
        self.home.write(w);
        w.array(&self.secret);
        w.u64(self.expires_ms);
        w.length(self.addresses.len());
        self.addresses.iter().for_each(|address| w.text(address));
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        if r.u8()? != LINK_VERSION {
            return Err(CodecError::Invalid("link version"));
        }
        Ok(DeviceLink {
            network: r.text(NETWORK_LEN_MAX)?,
            user: UserId::read(r)?,
            home: RoomId::read(r)?,
            secret: Zeroizing::new(r.array()?),
            expires_ms: r.u64()?,
            addresses: r.list::<Address>(LINK_ADDRESSES_MAX)?.into_iter().map(|a| a.0).collect(),
        })
    }
}

/// What a link for another device begins with.
pub(crate) const PREFIX: &str = "tidings://device/";
const LINK_VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::self_room;
    use crate::identity::{DeviceKey, RecoveryPhrase};

    fn phrase() -> RecoveryPhrase {
        RecoveryPhrase::from_entropy([1; 32])
    }

    fn link() -> DeviceLink {
        DeviceLink {
            network: "corp".into(),
            user: phrase().user_key().user(),
            home: self_room(&phrase()).unwrap().room(),
            secret: Zeroizing::new([2; 32]),
            expires_ms: 3,
            addresses: vec!["/ip4/192.0.2.1/tcp/1/p2p/x".into()],
        }
    }

    fn ask() -> Ask {
        Ask { nonce: [4; 32], device: DeviceKey::from_seed(&[5; 32]).device(), name: "phone".into(), proof: [0; 32] }
    }

    fn welcome() -> Welcome {
        let certificate = phrase().user_key().certify(ask().device, "phone", 1);
        let genesis = encode(&self_room(&phrase()).unwrap().to_signed().unwrap());
        Welcome { certificate, genesis, words: phrase().sealing_key().id() }
    }

    #[test]
    fn a_link_survives_mail_and_is_no_invite() {
        let text = link().to_text();
        let read = DeviceLink::from_text(&format!(" {}\n", text.to_uppercase())).unwrap();
        assert_eq!(read.to_text(), text);
        assert!(read.check_network("corp").is_ok() && read.check_network("").is_err());
        assert_eq!(crate::link::InviteLink::from_text(&text).err(), Some(LinkError::Prefix));
        assert_eq!(DeviceLink::from_text("tidings://join/aa").err(), Some(LinkError::DevicePrefix));
        assert_eq!(DeviceLink::from_text(&text[..text.len() - 1]).err(), Some(LinkError::Damaged));
    }

    #[test]
    fn frames_round_trip() {
        let frames = [
            EnrolFrame::Commit { commitment: ask().commitment() },
            EnrolFrame::Hello { nonce: [1; 32] },
            EnrolFrame::Ask(ask()),
            EnrolFrame::Known { proof: [2; 32] },
            EnrolFrame::Welcome(Box::new(welcome())),
            EnrolFrame::Refused(Refused::NoLink),
            EnrolFrame::Refused(Refused::Declined),
        ];
        for frame in frames {
            let bytes = frame.to_bytes();
            assert_eq!(EnrolFrame::from_bytes(&bytes), Ok(frame));
            assert!(EnrolFrame::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
        }
        assert!(EnrolFrame::from_bytes(&[9]).is_err());
    }

    #[test]
    fn a_proof_holds_for_these_two_and_what_they_said() {
        let link = link();
        let mut asked = ask();
        let bare = Transcript { link: &link, first: b"first", new: b"new", nonce: [6; 32], ask: &asked };
        let proof = bare.proof_of_new();
        assert!(!bare.is_proven());
        asked.proof = proof;
        let holds = |change: &dyn Fn(&mut DeviceLink, &mut Ask, &mut [u8; 32])| {
            let (mut link, mut asked, mut nonce) = (link.clone(), asked.clone(), [6; 32]);
            change(&mut link, &mut asked, &mut nonce);
            Transcript { link: &link, first: b"first", new: b"new", nonce, ask: &asked }.is_proven()
        };
        assert!(holds(&|_, _, _| {}));
        assert!(!holds(&|link, _, _| link.secret[0] = 9));
        assert!(!holds(&|_, ask, _| ask.device.0[0] ^= 1));
        assert!(!holds(&|_, ask, _| ask.name.push('!')));
        assert!(!holds(&|_, _, nonce| nonce[0] = 9));
        let swapped = Transcript { link: &link, first: b"new", new: b"first", nonce: [6; 32], ask: &asked };
        assert!(!swapped.is_proven());
        let whole = Transcript { link: &link, first: b"first", new: b"new", nonce: [6; 32], ask: &asked };
        assert!(whole.is_by_first(whole.proof_of_first()) && !whole.is_by_first(proof));
        assert_eq!(whole.check_code().len(), 6);
    }

    #[test]
    fn a_commitment_binds_all_that_the_new_device_chooses() {
        let held = ask().commitment();
        assert_eq!(Ask { proof: [9; 32], ..ask() }.commitment(), held);
        let others = [
            Ask { nonce: [9; 32], ..ask() },
            Ask { device: DeviceId([9; 32]), ..ask() },
            Ask { name: "tab".into(), ..ask() },
        ];
        assert!(others.iter().all(|other| other.commitment() != held));
    }

    #[test]
    fn only_the_words_found_a_self_room() {
        use crate::control::payload::Genesis;
        use crate::control::rank::Rank;
        use crate::event::{Class, Draft, Payload};
        let key = phrase().user_key();
        let user = key.user();
        let founded = |change: &dyn Fn(&mut Genesis, &mut Draft)| {
            let certificate = key.certify(user.into(), "", 0);
            let mut genesis = Genesis {
                kind: crate::control::payload::RoomKind::Public,
                founders: vec![user],
                invite_rank: Rank::FOUNDER,
                secret: [0; 32],
                certificate,
            };
            let mut draft = Draft {
                class: Class::Control,
                kind: crate::control::kind::GENESIS,
                room: RoomId::ZERO,
                grant: crate::id::EventId::ZERO,
                seq: 1,
                prev: crate::id::EventId::ZERO,
                parents: Vec::new(),
                hlc: Hlc(0),
                payload: Payload { salt: phrase().self_room_salt(), bytes: Vec::new() },
            };
            change(&mut genesis, &mut draft);
            draft.payload.bytes = Control::Genesis(genesis).encode();
            is_self_room(&draft.sign(&key.own_log_key()).unwrap(), user)
        };
        assert!(founded(&|_, _| {}));
        assert!(!founded(&|_, draft| draft.hlc = Hlc(1)));
        assert!(!founded(&|_, draft| draft.parents = vec![crate::id::EventId([1; 32])]));
        assert!(!founded(&|genesis, _| genesis.invite_rank = Rank::MODERATOR));
        assert!(!founded(&|genesis, _| genesis.secret = [1; 32]));
        assert!(!founded(&|genesis, _| genesis.certificate = key.certify(user.into(), "x", 0)));
        assert!(!founded(&|genesis, _| genesis.certificate = key.certify(user.into(), "", 1)));
    }

    #[test]
    fn a_welcome_counts_for_this_user_device_and_room_only() {
        let (link, device) = (link(), ask().device);
        assert!(welcome().check(&link, device).is_some());
        assert!(welcome().check(&link, DeviceId([9; 32])).is_none());
        let other = RecoveryPhrase::from_entropy([7; 32]);
        let theirs = Welcome { certificate: other.user_key().certify(device, "phone", 1), ..welcome() };
        assert!(theirs.check(&link, device).is_none());
        let elsewhere = encode(&self_room(&other).unwrap().to_signed().unwrap());
        assert!(Welcome { genesis: elsewhere, ..welcome() }.check(&link, device).is_none());
    }
}
