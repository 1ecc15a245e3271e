//! Exports: the same history gives the same bytes however it came, and the file proves itself offline. Whatever else is
//! in it, changed, missing or in another place is refused, and no file makes the prover fall over.

use crate::support::people::{Person, erase_of, invite_secret};
use crate::support::seeded::Seeded;
use crate::support::store::{Duo, TestStore, room_row};
use crate::support::walk::walk;
use tidings_protocol::codec::{decode, encode};
use tidings_protocol::content::Imported;
use tidings_protocol::control::payload::Control;
use tidings_protocol::event::{Body, Class, VerifiedEvent};
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::limits::EVENT_LEN_MAX;
use tidings_storage::Durability;
use tidings_storage::export::{MAGIC, Record};
use tidings_storage::proof::{ProofError, Proven, prove};

/// Long logs under one signature, a fork, an import, relations, erasures by both who may.
fn story(duo: &mut Duo) -> Vec<VerifiedEvent> {
    let long = duo.ada_says.run(600);
    let trunk = duo.bob_says.run(40);
    let mut other = duo.bob_says.fork();
    let branch = other.run(10);
    let record = Imported {
        source: "irc".into(),
        author: "pupp".into(),
        ms: 1_507_466_702_000,
        order: 0,
        occurrence: 0,
        text: "hi".into(),
    };
    let rest = [
        duo.bob_says.imported(&record),
        duo.bob_says.edit(trunk[0].id(), "better"),
        duo.bob_says.reaction(long[3].id(), "👍"),
        duo.bob_says.profile("Bob"),
        duo.bob_says.text("to be erased"),
        duo.bob_says.write(4321, b"of a later version"),
    ];
    let erases = [duo.bob_rules.erase(&rest[4]), duo.ada_rules.erase(&branch[3])];
    [duo.control.clone(), long, trunk, rest.to_vec(), branch, erases.to_vec()].concat()
}

fn exported(duo: &mut Duo) -> Vec<u8> {
    let mut store = TestStore::new(duo.room);
    store.append(&story(duo));
    store.export()
}

fn proven(file: &[u8]) -> Result<(RoomId, Proven), ProofError> {
    prove(&mut &file[..])
}

/// An export, taken apart.
#[derive(Clone)]
struct File {
    room: RoomId,
    records: Vec<Vec<u8>>,
}

impl File {
    fn read(bytes: &[u8]) -> File {
        let (head, mut rest) = bytes.split_at(MAGIC.len() + 32);
        let room = RoomId(head[MAGIC.len()..].try_into().unwrap());
        let mut records = Vec::new();
        while let Some((len, after)) = rest.split_first_chunk::<4>() {
            let (record, after) = after.split_at(u32::from_be_bytes(*len) as usize);
            rest = after;
            records.extend((!record.is_empty()).then(|| record.to_vec()));
        }
        File { room, records }
    }

    fn of(room: RoomId, events: &[VerifiedEvent]) -> File {
        let mut sorted: Vec<&VerifiedEvent> = events.iter().collect();
        sorted.sort_by_key(|e| (e.log(), e.header().seq, e.id()));
        File { room, records: sorted.into_iter().map(|e| encode(&record_of(e))).collect() }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = [MAGIC, self.room.as_bytes()].concat();
        for record in self.records.iter().chain([&Vec::new()]) {
            out.extend_from_slice(&(record.len() as u32).to_be_bytes());
            out.extend_from_slice(record);
        }
        out
    }

    fn prove(&self) -> Result<(RoomId, Proven), ProofError> {
        proven(&self.to_bytes())
    }

    /// The file with one record replaced.
    fn with(&self, n: usize, change: impl FnOnce(&mut Record)) -> File {
        let mut file = self.clone();
        let mut record: Record = decode(&file.records[n], EVENT_LEN_MAX).unwrap();
        change(&mut record);
        file.records[n] = encode(&record);
        file
    }
}

fn record_of(event: &VerifiedEvent) -> Record {
    Record {
        header: event.header().clone(),
        signature: event.signature().copied(),
        body: event.body().clone(),
        purged: false,
    }
}

fn refused(file: &File, why: &str) {
    match file.prove() {
        Err(ProofError::False { why: said, .. }) if said.contains(why) => {}
        other => panic!("{other:?} where \"{why}\" was expected"),
    }
}

#[test]
fn equal_histories_give_equal_files_however_they_came() {
    let mut duo = Duo::new();
    let events = story(&mut duo);
    let mut first = TestStore::new(duo.room);
    first.append(&events);
    let file = first.export();
    let (room, proven) = proven(&file).unwrap();
    assert_eq!((room, proven.events, proven.logs), (duo.room, events.len() as u64, 4));
    // By a moderator: hidden, and kept for a while.
    assert_eq!((proven.erased, proven.holes), (1, 0));
    let (control, content): (Vec<VerifiedEvent>, Vec<VerifiedEvent>) =
        events.into_iter().partition(|e| e.header().class == Class::Control);
    for seed in 0..6 {
        let mut random = Seeded::new(seed);
        let mut store = TestStore::new(duo.room);
        store.append(&control);
        let mut runs: Vec<Vec<VerifiedEvent>> = Vec::new();
        for run in content.chunk_by(|a, b| b.header().prev == a.id()) {
            let len = 1 + random.below(200);
            runs.extend(run.rchunks(len).map(<[VerifiedEvent]>::to_vec));
        }
        random.shuffle(&mut runs);
        runs.iter().for_each(|run| drop(store.append(run)));
        assert_eq!(walk(&store).len() as u64, proven.events);
        assert_eq!(store.export(), file, "seed {seed}");
        assert_eq!(store.reopen().export(), file);
    }
    let mut pulled = TestStore::new(duo.room);
    pulled.append(&control);
    for (log, row) in first.store.logs(first.room, Class::Content).unwrap() {
        row.state.tips().iter().for_each(|tip| pulled.take_branch(&first, &log, *tip, 5_000));
    }
    walk(&pulled);
    assert_eq!(pulled.export(), file);
}

#[test]
fn any_changed_byte_is_refused() {
    let file = exported(&mut Duo::new());
    let mut random = Seeded::new(1);
    for _ in 0..200 {
        let (at, by) = (random.below(file.len()), 1 + random.below(255) as u8);
        let mut bad = file.clone();
        bad[at] ^= by;
        assert!(proven(&bad).is_err(), "byte {at} of {} may be changed by {by}", file.len());
    }
    let mut duo = Duo::new();
    let said = duo.bob_says.text("all bytes of a small file");
    let small = File::of(duo.room, &[duo.control.clone(), vec![said]].concat()).to_bytes();
    assert!(proven(&small).is_ok());
    for at in 0..small.len() {
        for bit in [0, 7] {
            let mut bad = small.clone();
            bad[at] ^= 1 << bit;
            assert!(proven(&bad).is_err(), "byte {at}, bit {bit} may be changed");
        }
    }
}

#[test]
fn a_file_that_is_cut_off_or_goes_on_is_refused() {
    let file = exported(&mut Duo::new());
    let mut random = Seeded::new(4);
    let cuts = (0..120).map(|_| random.below(file.len())).chain([0, 16, 17, 48, 49, file.len() - 1]);
    cuts.for_each(|at| assert!(proven(&file[..at]).is_err(), "cut at {at}"));
    for more in [&[0][..], &[0; 4], b"more", &file] {
        assert!(proven(&[&file, more].concat()).is_err());
    }
}

#[test]
fn a_length_changed_to_the_end_mark_is_refused() {
    let mut duo = Duo::new();
    let mut events = duo.control.clone();
    // 512 bytes: one bit makes the length of this record zero, which ends a file, and all before it is whole.
    let text = |len: usize| "x".repeat(len);
    let event = duo.ada_says.text(&text(512 - encode(&record_of(&duo.ada_says.clone().text(""))).len()));
    events.push(event);
    let good = File::of(duo.room, &events);
    assert_eq!((good.records.last().map(Vec::len), good.prove().is_ok()), (Some(512), true));
    let mut bytes = good.to_bytes();
    let at = bytes.len() - 4 - 512 - 4;
    assert_eq!(bytes[at..at + 4], [0, 0, 2, 0]);
    bytes[at + 2] = 0;
    assert!(proven(&bytes).is_err());
}

#[test]
fn records_swapped_doubled_or_missing_are_refused_or_counted_as_holes() {
    let good = File::read(&exported(&mut Duo::new()));
    let (_, whole) = good.prove().unwrap();
    assert_eq!(good.to_bytes(), exported(&mut Duo::new()));
    let mut random = Seeded::new(6);
    for _ in 0..60 {
        let (n, mut file) = (random.below(good.records.len() - 1), good.clone());
        file.records.swap(n, n + 1);
        assert!(file.prove().is_err(), "records {n} and the next swapped");
        let mut file = good.clone();
        file.records.insert(n, file.records[n].clone());
        assert!(file.prove().is_err(), "record {n} twice");
        let mut file = good.clone();
        let gone: Record = decode(&file.records.remove(n), EVENT_LEN_MAX).unwrap();
        match file.prove() {
            Err(_) => {}
            Ok((_, proven)) => assert!(
                proven.holes > whole.holes && gone.header.class == Class::Content && proven.events + 1 == whole.events,
                "record {n} missing: {proven:?}"
            ),
        }
    }
}

#[test]
fn what_belongs_elsewhere_is_refused() {
    let (mut duo, mut other) = (Duo::new(), Duo::of(Person::new(3), Person::new(4)));
    let good = File::read(&exported(&mut duo));
    let foreign = File::read(&exported(&mut other));
    for n in [0, 1, 5, foreign.records.len() - 1] {
        for at in [0, 1, 3, 100, good.records.len()] {
            let mut file = good.clone();
            file.records.insert(at, foreign.records[n].clone());
            refused(&file, "another room");
        }
    }
    let file = File { room: other.room, ..good.clone() };
    refused(&file, "another room");
    // Who was never let in, with and without a control log of their own.
    let stranger = Person::new(5);
    for grant in [duo.ada_rules.grant, duo.bob_rules.grant, EventId([9; 32])] {
        let words = stranger.pen(duo.room, grant).text("let me in");
        let with = |more: &[VerifiedEvent]| File::of(duo.room, &[&duo.control, more].concat());
        assert!(with(&[]).prove().is_ok());
        assert!(with(std::slice::from_ref(&words)).prove().is_err(), "content of a stranger");
        let (enrol, _) = stranger.enrol(duo.room, grant);
        assert!(with(&[words.clone(), enrol]).prove().is_err(), "an enrolment that nobody allowed");
        // A store that holds them gives them to nobody.
        let mut store = TestStore::new(duo.room);
        store.append(&duo.control);
        store.force(&[words]);
        assert_eq!(proven(&store.export()).unwrap().1.events, duo.control.len() as u64);
    }
}

#[test]
fn a_signature_that_must_be_there_must_be_there() {
    let good = File::read(&exported(&mut Duo::new()));
    let mut signed = 0;
    for n in 0..good.records.len() {
        let record: Record = decode(&good.records[n], EVENT_LEN_MAX).unwrap();
        if let Some(signature) = record.signature {
            signed += 1;
            let wrong = good.with(n, |r| r.signature = Some(tidings_protocol::identity::Signature([7; 64])));
            refused(&wrong, "signature");
            let without = good.with(n, |r| r.signature = None);
            let may_lack = record.header.class == Class::Content && record.header.seq.is_multiple_of(256);
            assert_eq!(without.prove().is_ok(), may_lack, "record {n}: {signature:?}");
        }
    }
    // Six of control, two each 256th, three tips.
    assert_eq!(signed, 6 + 2 + 3);
}

#[test]
fn a_message_without_its_words_is_refused_unless_somebody_erased_it() {
    let good = File::read(&exported(&mut Duo::new()));
    let mut erasable = 0;
    for n in (0..good.records.len()).step_by(7).chain(good.records.len() - 60..good.records.len()) {
        let record: Record = decode(&good.records[n], EVENT_LEN_MAX).unwrap();
        let silent = good.with(n, |r| r.body = Body::Erased);
        match silent.prove() {
            Ok(_) => erasable += usize::from(record.body != Body::Erased),
            Err(error) => assert!(matches!(error, ProofError::False { .. }), "{error}"),
        }
    }
    assert_eq!(erasable, 1, "the one that a moderator erased, and that is due later");
}

#[test]
fn a_forged_way_into_the_room_is_refused() {
    let mut duo = Duo::new();
    let mallory = Person::new(5);
    let invite = duo.control[2].id();
    // With a link of one's own making.
    let (join, _) = mallory.join(duo.room, invite, &invite_secret(77));
    let words = mallory.pen(duo.room, join.id()).text("I was never here");
    let events = [duo.control.clone(), vec![join.clone(), words]].concat();
    refused(&File::of(duo.room, &events), "does not admit");
    refused(&File::of(duo.room, &[duo.control.clone(), vec![join]].concat()), "does not admit");
    // Over an invitation that is not in the file, one that is none, and a grant that nobody may give.
    let lost = [duo.control[0].clone(), duo.control[3].clone()];
    refused(&File::of(duo.room, &lost), "does not admit");
    let (join, _) = mallory.join(duo.room, duo.control[1].id(), &invite_secret(9));
    refused(&File::of(duo.room, &[duo.control.clone(), vec![join]].concat()), "does not admit");
    let grant = duo.bob_rules.clone().grant(mallory.user(), 70);
    refused(&File::of(duo.room, &[duo.control.clone(), vec![grant]].concat()), "does not admit");
    let closed = duo.ada_rules.close_invite(invite, &[]);
    let words = duo.bob_says.text("not listed");
    refused(&File::of(duo.room, &[duo.control.clone(), vec![closed, words]].concat()), "does not let");
}

#[test]
fn an_erasure_of_somebody_elses_words_excuses_nothing() {
    let mut duo = Duo::new();
    let words = duo.ada_says.text("what Ada said");
    let mut claim = erase_of(&words);
    (claim.author, claim.grant) = (duo.bob.device(), duo.bob_rules.grant);
    // Named in one's own log; and rightly named, by somebody who may not.
    let claimed = duo.bob_rules.rule(Control::Erase(claim));
    let named = duo.bob_rules.erase(&words);
    let good = File::of(duo.room, &[duo.control.clone(), vec![words.clone(), claimed, named]].concat());
    assert!(good.prove().is_ok());
    let at = good.records.len() - 1;
    assert_eq!(good.records[at], encode(&record_of(&words)));
    assert!(good.with(at, |r| r.body = Body::Erased).prove().is_err());
}

#[test]
fn a_number_at_its_end_is_refused_without_a_panic() {
    let mut duo = Duo::new();
    let mallory = Person::new(5);
    let certificate = Control::Enrol(mallory.certificate().clone());
    let mut pen = mallory.pen_of(Class::Control, duo.room, duo.ada_rules.grant);
    let mut last = pen.draft(certificate.kind(), certificate.encode());
    (last.seq, last.prev) = (u64::MAX, EventId([1; 32]));
    let last = pen.clone().sign(last);
    let mut below = pen.draft(certificate.kind(), certificate.encode());
    (below.seq, below.prev) = (5, last.id());
    let said = [last, pen.sign(below), duo.ada_says.text("so that the room is evaluated")];
    refused(&File::of(duo.room, &[&duo.control[..], &said].concat()), "does not admit");
}

#[test]
fn an_endless_chain_of_grants_is_refused_without_an_overflow() {
    let mut duo = Duo::new();
    let mallory = Person::new(5);
    // Each under the one before, none weaker: a depth that no stack has.
    let (mut grant, mut events) = (duo.ada_rules.grant, duo.control.clone());
    for _ in 0..CHAIN_LEN {
        let mut pen = mallory.pen_of(Class::Control, duo.room, grant);
        (pen.seq, pen.prev) = (1, EventId([1; 32]));
        let deed = pen.grant(mallory.user(), 20);
        grant = deed.id();
        events.push(deed);
    }
    events.push(duo.ada_says.text("so that the room is evaluated"));
    refused(&File::of(duo.room, &events), "does not admit");
}

/// A file while which is written something arrives.
struct Arriving {
    file: Vec<u8>,
    store: TestStore,
    more: Vec<VerifiedEvent>,
}

impl std::io::Write for Arriving {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.extend_from_slice(bytes);
        if self.file.len() > 20_000 {
            self.more.drain(..).for_each(|event| drop(self.store.append(&[event])));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_file_written_while_messages_arrive_proves_itself() {
    let mut duo = Duo::new();
    let mut store = TestStore::new(duo.room);
    store.append(&story(&mut duo));
    let (room, id, reader) = (store.room, store.id, store.store.clone());
    let more = duo.bob_says.text("just now");
    let mut file = Arriving { file: Vec::new(), store, more: vec![more] };
    reader.export(room, id, &mut file).unwrap();
    assert!(file.more.is_empty());
    let (_, proven) = proven(&file.file).unwrap();
    assert!(proven.holes == 0 && proven.events > 600);
}

#[test]
fn a_partial_history_proves_itself_and_names_its_holes() {
    let mut duo = Duo::new();
    let mut store = duo.store();
    let events = duo.ada_says.run(900);
    store.append(&events[700..]);
    store.append(&events[300..350]);
    // Nothing here vouches for the lower stretch: a hole is above it. It is left out.
    let (_, partial) = proven(&store.export()).unwrap();
    assert_eq!((partial.events, partial.holes), (4 + 200, 1));
    let mut store = duo.store();
    store.append(&events[700..]);
    store.append(&events[100..512]);
    let file = File::read(&store.export());
    let (_, proven) = file.prove().unwrap();
    assert_eq!((proven.events, proven.holes), (4 + 200 + 412, 2));
    // In somebody else's file only what is signed may end below a hole.
    let mut cut_off = file.clone();
    cut_off.records.remove(4 + 411);
    refused(&cut_off, "signature");
}

#[test]
fn an_export_of_nothing_and_files_of_others_are_told_apart() {
    let duo = Duo::new();
    let mut store = TestStore::new(duo.room);
    assert_eq!(proven(&store.export()).unwrap(), (duo.room, Proven::default()));
    let mut batch = store.writer.begin();
    batch.add_room(room_row(RoomId([3; 32]))).unwrap();
    batch.commit(Durability::Synced).unwrap();
    for bad in [&b""[..], b"tidings export 2\n", &[0; 100], &[0xff; 100], &[MAGIC, &[0; 32], &[0xff; 4]].concat()] {
        assert!(proven(bad).is_err());
    }
}

/// Deeper than the stack of a test's thread.
const CHAIN_LEN: usize = 12_000;
