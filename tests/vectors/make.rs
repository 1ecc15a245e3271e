//! What `events.json` is made of: a small room in which every kind of event is said once, by who may say it, and what
//! goes with it.

use super::account::{device_link, device_link_vector, enrolment_vector, sealed_vector, self_room_vector};
use super::answers::answers;
use super::beacons::beacons;
use super::malformed::malformed;
use super::moderation::{report_vector, sealed_report};
use super::parts::{
    ADA, ADA_DEVICE, BOB, BOB_DEVICE, CAROL, CAROL_DEVICE, CAROL_KEY, INVITE, OTHER, OTHER_DEVICE, START_MS,
    certificate, certificate_vector, content_fields, control_fields, event_vector, hex, imported, join_vector, link,
    link_vector, range_vector, sorted, source_vector, user, user_vector, word_list,
};
use super::teams::{grant_link, grant_link_vector, team_words};
use serde_json::{Value, json};
use tidings_protocol::account::{Bundle, Entry, Record, RoomRecord, self_room};
use tidings_protocol::adopted::Adopted;
use tidings_protocol::codec::encode;
use tidings_protocol::content::{Content, Imported, Text};
use tidings_protocol::control::cut::Cut;
use tidings_protocol::control::kind;
use tidings_protocol::control::payload::{
    CloseInvite, Control, Erase, Genesis, Grant, Join, OpenInvite, Revoke, RevokeDevice, RoomKind, Set,
};
use tidings_protocol::control::rank::Rank;
use tidings_protocol::event::{Body, Class, Draft, Hlc, Payload, SignedEvent, VerifiedEvent};
use tidings_protocol::file::File;
use tidings_protocol::id::{EventId, FileHash, RoomId};
use tidings_protocol::identity::{DeviceKey, InviteSecret, RecoveryPhrase};
use tidings_protocol::link::InviteLink;
use tidings_protocol::log::Log;
use tidings_protocol::moderation::{Hide, Report};
use tidings_protocol::range::{Range, Row, sign_run};
use tidings_protocol::sealed::{Place, Sealed};

/// Two records of Carol's, sealed in her self-room by her device to itself and to her words.
pub fn sealed_by_carol() -> (Sealed, Vec<u8>, Place) {
    let (phrase, device) = (RecoveryPhrase::from_entropy(CAROL), DeviceKey::from_seed(&CAROL_DEVICE));
    let place = Place { room: self_room(&phrase).unwrap().room(), author: device.device() };
    let said = RoomRecord {
        kind: RoomKind::Members,
        secret: [0x5e; 32],
        alias: "zig".into(),
        left: false,
        grant: EventId([0x6a; 32]),
        addresses: vec!["/ip4/203.0.113.7/udp/4001/quic-v1/p2p/12D3KooWExample".into()],
    };
    let records = [Record::Room(RoomId([0x07; 32]), said), Record::Read(RoomId([0x07; 32]))];
    let entries = records.iter().map(|record| Entry::new(record, Hlc::at_ms(START_MS))).collect();
    let plain = Bundle { whole: true, entries }.to_bytes();
    let mut n = 0;
    let mut entropy = || {
        n += 1;
        [n; 32]
    };
    let to = [phrase.sealing_key().id(), device.sealing_key().id()];
    (Sealed::seal(&plain, &to, place, &mut entropy).unwrap(), plain, place)
}

/// Everything, as the file has it.
pub fn vectors() -> Value {
    let story = Story::told();
    let first = story.verified.iter().find(|e| e.header().class == Class::Content).unwrap();
    let erased = encode(&SignedEvent { body: Body::Erased, ..first.to_signed().unwrap() });
    let genesis = story.verified[0].to_signed().unwrap();
    let join =
        story.verified.iter().find(|e| e.header().kind == kind::JOIN && e.header().class == Class::Control).unwrap();
    let users = [ADA, BOB, CAROL, OTHER, [0x80; 32]].map(user_vector);
    let sources = [0, 1].map(|occurrence| source_vector(&Imported { occurrence, ..imported() }));
    let grant_links = ["", "corp"].map(|network| grant_link_vector(&grant_link(network)));
    let device_links = ["", "corp"].map(|network| device_link_vector(&device_link(network)));
    json!({
        "word_list": word_list(),
        "users": users,
        "certificates": [
            certificate_vector(ADA, ADA_DEVICE, "laptop", 1_700_000_000_000),
            certificate_vector(BOB, BOB_DEVICE, "", 0),
            certificate_vector(CAROL, CAROL_DEVICE, "Telefon für unterwegs ☎", 1_700_000_000_001),
        ],
        "joins": [story.join],
        "source_ids": sources,
        "grant_links": grant_links,
        "links": story.links.iter().map(link_vector).collect::<Vec<_>>(),
        "ranges": [control_range(&story.verified), content_range(&story.verified)],
        "beacons": beacons(story.verified[0].room(), first.id()),
        "answers": answers(story.verified[0].room()),
        "erased": [{ "id": hex(first.id().as_bytes()), "event": hex(&erased) }],
        "malformed": malformed(&genesis, join.header(), first.header()),
        "self_rooms": [self_room_vector(CAROL), self_room_vector(ADA)],
        "sealed": [sealed_vector()],
        "reports": story.reports,
        "device_links": device_links,
        "enrolments": [enrolment_vector()],
        "events": story.vectors,
    })
}

/// A room from its genesis on: every kind that there is, each said by who may say it.
struct Story {
    vectors: Vec<Value>,
    verified: Vec<VerifiedEvent>,
    join: Value,
    links: Vec<InviteLink>,
    reports: Vec<Value>,
}

/// A log that a device writes.
struct Pen {
    seed: [u8; 32],
    class: Class,
    room: RoomId,
    grant: EventId,
    seq: u64,
    prev: EventId,
}

impl Pen {
    fn new(seed: [u8; 32], class: Class, room: RoomId, grant: EventId) -> Self {
        Pen { seed, class, room, grant, seq: 0, prev: EventId::ZERO }
    }
}

/// What is said, and what stands in the vector for it.
struct Said {
    kind: u16,
    payload: Vec<u8>,
    fields: Value,
}

impl From<Control> for Said {
    fn from(control: Control) -> Self {
        Said { kind: control.kind(), payload: control.encode(), fields: control_fields(&control) }
    }
}

impl From<Content> for Said {
    fn from(content: Content) -> Self {
        Said { kind: content.kind(), payload: content.encode(), fields: content_fields(&content) }
    }
}

impl Story {
    fn told() -> Self {
        let (vectors, verified, links, reports) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut story = Story { vectors, verified, join: Value::Null, links, reports };
        let mut ada = Pen::new(ADA_DEVICE, Class::Control, RoomId::ZERO, EventId::ZERO);
        let mut carol = story.found(&mut ada);
        let message = story.chat(&mut carol);
        story.moderate(&mut carol, message);
        story.finish(&mut ada, &carol, message);
        story.part(&carol);
        story.team();
        story
    }

    fn say(&mut self, pen: &mut Pen, label: &str, said: impl Into<Said>, parents: &[EventId]) -> EventId {
        let said = said.into();
        let n = self.vectors.len();
        pen.seq += 1;
        let hlc = if label == "a later content kind" { Hlc(u64::MAX) } else { Hlc(((START_MS + n as u64) << 16) + 7) };
        let salt = std::array::from_fn(|i| (n * 16 + i) as u8);
        let draft = Draft {
            class: pen.class,
            kind: said.kind,
            room: pen.room,
            grant: pen.grant,
            seq: pen.seq,
            prev: pen.prev,
            parents: parents.to_vec(),
            hlc,
            payload: Payload { salt, bytes: said.payload },
        };
        let event = draft.sign(&DeviceKey::from_seed(&pen.seed)).unwrap();
        (pen.room, pen.grant, pen.prev) = (event.room(), event.log().grant, event.id());
        self.vectors.push(event_vector(label, &pen.seed, &event, said.fields));
        self.verified.push(event);
        pen.prev
    }

    /// A room with three members; the pen is Carol's for content.
    fn found(&mut self, ada: &mut Pen) -> Pen {
        let control = Class::Control;
        let genesis = Genesis {
            kind: RoomKind::Members,
            founders: sorted([user(ADA), user(OTHER)]),
            invite_rank: Rank::MODERATOR,
            secret: [0x5e; 32],
            certificate: certificate(ADA, ADA_DEVICE),
        };
        let room = self.say(ada, "genesis", Control::Genesis(genesis), &[]);
        let grant = Grant { user: user(BOB), rank: Rank::new(20).unwrap(), lifts: Vec::new() };
        let grant = self.say(ada, "grant", Control::Grant(grant), &[]);
        let invite_key = InviteSecret::from_seed(INVITE);
        let open = OpenInvite { key: invite_key.key(), rank: Rank::new(60).unwrap() };
        let invite = self.say(ada, "open invite", Control::OpenInvite(open), &[]);
        let mut bob = Pen::new(BOB_DEVICE, control, room.into(), grant);
        let enrol = self.say(&mut bob, "enrol", Control::Enrol(certificate(BOB, BOB_DEVICE)), &[invite]);
        let mut carol = Pen::new(CAROL_DEVICE, control, room.into(), EventId::ZERO);
        let join = Join::new(room.into(), invite, certificate(CAROL, CAROL_DEVICE), &invite_key);
        let joined = self.say(&mut carol, "join", Control::Join(join.clone()), &[invite, enrol]);
        self.join = join_vector(room.into(), joined, &join);
        let close = CloseInvite { invite, joins: vec![joined] };
        self.say(ada, "close invite", Control::CloseInvite(close), &[joined]);
        self.links = [(RoomKind::Members, "corp", 2), (RoomKind::Public, "", 0)].map(|l| link(room, invite, l)).into();
        Pen::new(CAROL_DEVICE, Class::Content, room.into(), joined)
    }

    /// Every kind of content; the first message's id.
    fn chat(&mut self, carol: &mut Pen) -> EventId {
        let mentioned = Text { body: "Grüße, @Ada & @Bob 👋".into(), mentions: sorted([user(ADA), user(BOB)]) };
        let first = self.say(carol, "text", Content::Text(mentioned.clone()), &[]);
        let reply = Content::Reply { target: first, root: first, text: "**yes**".into() };
        let second = self.say(carol, "reply", reply, &[]);
        self.say(carol, "edit", Content::Edit { target: second, text: mentioned.clone() }, &[]);
        for (label, removed) in [("reaction", false), ("reaction removed", true)] {
            self.say(carol, label, Content::Reaction { target: first, emoji: "👍".into(), removed }, &[]);
        }
        self.say(carol, "imported", Content::Imported(imported()), &[]);
        self.say(carol, "profile", Content::Profile { name: "Carol".into(), home: None }, &[]);
        let home = Some(self_room(&RecoveryPhrase::from_entropy(CAROL)).unwrap().room());
        self.say(carol, "profile with a self-room", Content::Profile { name: String::new(), home }, &[]);
        self.say(
            carol,
            "device",
            Content::Device { sealing: DeviceKey::from_seed(&CAROL_DEVICE).sealing_key().id() },
            &[],
        );
        self.say(carol, "sealed", Content::Sealed(sealed_by_carol().0), &[]);
        let adopted = self.adopted(first);
        self.say(carol, "adopted", Content::Adopted(Box::new(adopted)), &[]);
        let file = |reply| File {
            hash: FileHash([0x0f; 32]),
            len: 300_000,
            name: "../Größe.png".into(),
            media: "image/png".into(),
            text: mentioned.clone(),
            reply,
        };
        self.say(carol, "file", Content::File(Box::new(file(None))), &[]);
        self.say(carol, "file that answers", Content::File(Box::new(file(Some((second, first))))), &[]);
        let eight: Vec<EventId> = self.verified.iter().take(8).map(VerifiedEvent::id).collect();
        self.say(carol, "empty text with 8 parents", Content::Text("".into()), &eight);
        let later = Said { kind: 999, payload: b"unread".to_vec(), fields: json!({}) };
        self.say(carol, "a later content kind", later, &[]);
        first
    }

    /// A message of Carol's, quoted with the header of the one after it, whose signature vouches for both.
    fn adopted(&self, message: EventId) -> Adopted {
        let at = self.verified.iter().position(|event| event.id() == message).unwrap();
        let row = |e: &VerifiedEvent| Row::new(e.header().clone(), e.body().clone(), e.signature().copied());
        let rows: Vec<Row> = self.verified[at..at + 2].iter().map(row).collect();
        let (event, top) = (&self.verified[at], self.verified[at + 1].id());
        let range = Range { first_seq: event.header().seq, prev: event.header().prev, rows };
        Adopted::new(&event.log(), message, top, range).unwrap()
    }

    /// Bob folds what Carol said and unfolds it; she reports what he says to those who moderate beside him.
    fn moderate(&mut self, carol: &mut Pen, message: EventId) {
        let grant = self.verified.iter().find(|e| e.header().kind == kind::GRANT && e.log().class == Class::Control);
        let mut bob = Pen::new(BOB_DEVICE, Class::Content, carol.room, grant.map(VerifiedEvent::id).unwrap());
        let hide = |hidden| Content::Hide(Hide { target: message, hidden });
        self.say(&mut bob, "hide", hide(true), &[]);
        self.say(&mut bob, "hide undone", hide(false), &[]);
        let target = self.say(&mut bob, "text that is reported", Content::Text("buy this".into()), &[]);
        let place = Place { room: carol.room, author: DeviceKey::from_seed(&carol.seed).device() };
        let report = Report { target, reason: "das ist Werbung für Müll".into() };
        let to = [ADA_DEVICE, OTHER_DEVICE];
        let sealed = sealed_report(&report, &to, place);
        self.reports = to.map(|seed| report_vector(&report, &sealed, &seed, place)).into();
        self.say(carol, "report", Content::Report(sealed), &[]);
    }

    fn finish(&mut self, ada: &mut Pen, carol: &Pen, message: EventId) {
        let set = |value: &str, replaces| Control::Set(Set { key: "topic".into(), value: value.into(), replaces });
        let topic = self.say(ada, "set", set("¡Hola!", Vec::new()), &[]);
        self.say(ada, "set that replaces", set("", vec![topic]), &[]);
        let lifts = sorted([EventId([0xee; 32]), EventId([0x0e; 32])]);
        self.say(ada, "grant that lifts", Control::Grant(Grant { user: user(BOB), rank: Rank::KEEPER, lifts }), &[]);
        let author = DeviceKey::from_seed(&carol.seed).device();
        let erase = Erase { author, grant: carol.grant, seq: 1, id: message };
        self.say(ada, "erase", Control::Erase(erase), &[]);
        self.say(ada, "leave", Control::Leave, &[]);
        let mut other = Pen { class: Class::Control, seq: 1, prev: carol.grant, ..*carol };
        self.say(&mut other, "a later control kind", Said { kind: 999, payload: vec![0; 3], fields: json!({}) }, &[]);
    }
}

impl Story {
    /// Bob is removed, Carol's device is revoked by her key, and the room goes on elsewhere.
    fn part(&mut self, carol: &Pen) {
        let genesis = self.verified[0].id();
        let of_bob = self.verified.iter().find(|e| e.header().kind == kind::ENROL && e.log().class == Class::Control);
        let (bob_log, enrol) = of_bob.map(|e| (e.log(), e.id())).unwrap();
        let mut other = Pen::new(OTHER_DEVICE, Class::Control, genesis.into(), genesis);
        self.say(&mut other, "enrol of a founder", Control::Enrol(certificate(OTHER, OTHER_DEVICE)), &[]);
        let control = Cut { log: bob_log, seq: 1, ids: vec![enrol] };
        let content = Log { class: Class::Content, ..bob_log };
        let content = Cut { log: content, seq: 9, ids: sorted([EventId([0xcc; 32]), EventId([0x0c; 32])]) };
        let revoke = Revoke { user: user(BOB), cuts: vec![control, content], joins: vec![carol.grant] };
        let revoked = self.say(&mut other, "revoke", Control::Revoke(revoke), &[]);
        let again = Grant { user: user(BOB), rank: Rank::MEMBER, lifts: vec![revoked] };
        self.say(&mut other, "grant that lifts a revoke", Control::Grant(again), &[]);
        let nothing = Revoke { user: user(ADA), cuts: Vec::new(), joins: Vec::new() };
        self.say(&mut other, "revoke of everything", Control::Revoke(nothing), &[]);

        let mut key = Pen::new(CAROL_KEY, Class::Control, genesis.into(), carol.grant);
        self.say(&mut key, "enrol of a user key", Control::Enrol(certificate(CAROL, CAROL_KEY)), &[]);
        let author = DeviceKey::from_seed(&CAROL_DEVICE).device();
        let log = |class| Log { class, author, grant: carol.grant };
        let control = Cut { log: log(Class::Control), seq: 1, ids: vec![carol.grant] };
        let content = Cut { log: log(Class::Content), seq: carol.seq, ids: vec![carol.prev] };
        let device = RevokeDevice { device: author, cuts: vec![control, content] };
        self.say(&mut key, "revoke device", Control::RevokeDevice(device), &[]);
        self.say(&mut other, "successor", Control::Successor(RoomId([0x5c; 32])), &[]);
    }
}

impl Story {
    /// A founder offers a room to the members of this one, says what was done there for them, and takes the offer back.
    fn team(&mut self) {
        let genesis = self.verified[0].id();
        let mut other = Pen::new(OTHER_DEVICE, Class::Content, genesis.into(), genesis);
        for (label, word) in team_words() {
            self.say(&mut other, label, Content::Team(word), &[]);
        }
    }
}

/// The first three events of the founder's log: grant and room are zero in the first header only.
fn control_range(verified: &[VerifiedEvent]) -> Value {
    let log = verified[0].log();
    range_vector(verified.iter().filter(|e| e.log() == log).take(3).cloned().collect(), None)
}

/// Events 255 to 257, of which the first has no signature and the second is erased; its clock goes back.
fn content_range(verified: &[VerifiedEvent]) -> Value {
    let log = verified.iter().find(|e| e.header().class == Class::Content).unwrap().log();
    let (room, parents) = (verified[0].room(), vec![verified[0].id(), verified[1].id()]);
    let draft = |n: u64| Draft {
        class: log.class,
        kind: 1,
        room,
        grant: log.grant,
        seq: 0,
        prev: EventId::ZERO,
        parents: if n == 0 { parents.clone() } else { Vec::new() },
        hlc: Hlc::at_ms(START_MS + [5, 3, 9][n as usize]),
        payload: Payload {
            salt: [n as u8; 16],
            bytes: Content::Text("on".repeat(n as usize).as_str().into()).encode(),
        },
    };
    let drafts = (0..3).map(draft).collect();
    range_vector(sign_run(&DeviceKey::from_seed(&CAROL_DEVICE), 255, EventId([0xab; 32]), drafts).unwrap(), Some(1))
}
