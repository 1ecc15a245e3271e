//! What a node answers to whom it does not let into a room, and how soon, beside what it answers about a room that nobody
//! has. The two are asked in turns, in the same conversation.

use super::hostile::{CREDENTIAL_MS, Hostile, ROOM, now_ms, offer};
use super::insider::{Insider, proof};
use super::nodes::Person as Home;
use super::people::Person;
use std::path::Path;
use std::time::{Duration, Instant};
use tidings_protocol::codec::encode;
use tidings_protocol::control::payload::RoomKind;
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::identity::DeviceKey;
use tidings_protocol::link::InviteLink;
use tidings_protocol::log::Tip;
use tidings_protocol::sync::{Credential, Offer};
use tidings_protocol::wire::{Branch, Frame, Handle, Proof};

/// Answers to one kind of ask.
pub struct Answers {
    /// Who asks.
    pub who: &'static str,
    /// Whether all answers were equal, byte for byte.
    pub equal: bool,
    /// How long they took, in microseconds: of the room, and of none.
    pub known_us: Vec<f64>,
    pub unknown_us: Vec<f64>,
}

impl Answers {
    /// The medians, and the wider of the ranges between the quartiles.
    pub fn medians(&self) -> (f64, f64, f64) {
        let [known, unknown] = [&self.known_us, &self.unknown_us].map(|times| {
            let mut times = times.clone();
            times.sort_unstable_by(f64::total_cmp);
            [1, 2, 3].map(|quarter| times[(times.len() - 1) * quarter / 4])
        });
        (known[1], unknown[1], (known[2] - known[0]).max(unknown[2] - unknown[0]))
    }
}

/// A node with a members room, somebody who has left it, and a link to it that is closed.
pub struct Door {
    alice: Home,
    insider: Insider,
    link: InviteLink,
}

impl Door {
    pub fn new(folder: &Path) -> Door {
        let (mut alice, mut bob) = (Home::at(folder, "alice"), Home::at(folder, "bob"));
        alice.up().json(&["room", "create", "secret"]);
        alice.send("secret", "among us");
        let invite = alice.json(&["room", "invite", "secret"]);
        let link = invite["link"].as_str().unwrap();
        assert_eq!(bob.up().json(&["room", "join", link])["pending"], false);
        bob.done(&["room", "leave", "secret"]);
        while alice.json(&["room", "members", "secret"]).as_array().unwrap().len() > 1 {}
        bob.down();
        alice.done(&["invite", "close", invite["invite"].as_str().unwrap()]);
        let link = InviteLink::from_text(link).unwrap();
        Door { alice, insider: Insider::of(&bob, link.room), link }
    }

    fn node(&self) -> String {
        self.alice.ready["listen"][0].as_str().unwrap().to_owned()
    }

    /// Every kind of ask, each so many times.
    pub async fn ask(&self, times: usize) -> Vec<Answers> {
        let mut all = Vec::new();
        for who in WHO {
            let mut answers = Answers { who, equal: true, known_us: Vec::new(), unknown_us: Vec::new() };
            while answers.known_us.len() < times {
                // Of one peer only so many are looked at in a minute.
                let count = (times - answers.known_us.len()).min(PAIRS);
                self.ask_as(who, count, &mut answers).await;
            }
            all.push(answers);
        }
        all
    }

    async fn ask_as(&self, who: &str, count: usize, answers: &mut Answers) {
        let mut talk = Hostile::offering_all(&self.node(), self.offers(who)).await;
        for _ in 0..count {
            let mut heard = Vec::new();
            for (handle, times) in [(ROOM, &mut answers.known_us), (Handle(1), &mut answers.unknown_us)] {
                let asked = self.frames(who, handle, &mut talk).await;
                let began = Instant::now();
                for frame in &asked {
                    talk.say(frame).await;
                }
                let answer = talk.hear().await.expect("the conversation ended");
                times.push(Duration::as_secs_f64(&began.elapsed()) * 1e6);
                heard.push(nameless(answer));
            }
            answers.equal &= heard[0] == heard[1];
        }
        // Nothing came besides.
        answers.equal &= talk.caught_up().await.is_empty();
    }

    /// The room, called as the one who asks can call it; and one that nobody has.
    fn offers(&self, who: &str) -> Vec<Offer> {
        let nobodys = Offer { kind: RoomKind::Members, inner: Some([9; 32]), ..offer(RoomId([9; 32])) };
        let theirs = match who {
            "knows the id" => Offer { kind: RoomKind::Members, ..offer(self.link.room) },
            who if is_by_link(who) => Offer { inner: None, ..self.insider.offer() },
            _ => self.insider.offer(),
        };
        vec![theirs, nobodys]
    }

    async fn frames(&self, who: &str, room: Handle, talk: &mut Hostile) -> Vec<Frame> {
        let stranger = Person::new(66);
        let other = DeviceKey::from_seed(&stranger.device_seed());
        let (bob, id, soon) = (&self.insider.device, self.link.room, now_ms() + CREDENTIAL_MS);
        let check = Frame::Check { room, control: [1; 16], content: [2; 16], agreement: [0; 16], beacons: [0; 8] };
        match who {
            "knows the id" | "has a closed link" | "has left, without proof" => vec![check],
            "has a closed link, and shows a proof" | "shows the proof of a device of another room" => {
                vec![proof(&other, id, room, talk, soon)]
            }
            "has left" => vec![proof(bob, id, room, talk, soon)],
            "has left, and its proof has expired" => vec![proof(bob, id, room, talk, now_ms() - 1)],
            "shows a proof that is no signature" => {
                let Frame::Proof(true_one) = proof(bob, id, room, talk, soon) else { unreachable!() };
                let mut signature = true_one.signature;
                signature.0[63] = 0xff;
                vec![Frame::Proof(Proof { signature, ..true_one })]
            }
            "knocks with a closed link" => self.knock(&stranger, &other, room, talk),
            other => unreachable!("{other}"),
        }
    }

    /// A knock has no answer: what comes after it is asked for.
    fn knock(&self, stranger: &Person, device: &DeviceKey, room: Handle, talk: &Hostile) -> Vec<Frame> {
        let (join, _) = stranger.join(self.link.room, self.link.invite, &self.link.key);
        let us = talk.stranger.peer.to_bytes();
        let named = if room == ROOM { self.link.room } else { RoomId([9; 32]) };
        let credential = Credential::issue(device, named, &us, now_ms() + CREDENTIAL_MS);
        let introduction = vec![encode(&join.to_signed().unwrap())];
        let secret = self.link.secret;
        let offer = Offer { kind: RoomKind::Members, secret, introduction, joining: true, ..offer(named) };
        let knock = talk.knock(Offer { credential: Some(credential), ..offer });
        let top = Tip { seq: 1, id: EventId([1; 32]) };
        let after = Frame::Want { request: 1, room: Handle(u16::MAX), branches: vec![Branch { top, down_to: 1 }] };
        vec![knock, after]
    }
}

fn is_by_link(who: &str) -> bool {
    who.contains("closed link")
}

/// An answer without the number by which the room was called.
fn nameless(frame: Frame) -> Vec<u8> {
    match frame {
        Frame::Refused(_) => Frame::Refused(ROOM).to_bytes(),
        other => other.to_bytes(),
    }
}

const WHO: [&str; 9] = [
    "knows the id",
    "has a closed link",
    "has a closed link, and shows a proof",
    "knocks with a closed link",
    "has left, without proof",
    "has left",
    "has left, and its proof has expired",
    "shows the proof of a device of another room",
    "shows a proof that is no signature",
];
/// Asks of each kind in one conversation.
const PAIRS: usize = 100;
