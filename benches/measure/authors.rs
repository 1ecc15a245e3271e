//! A room of many authors, each with a device of its own, on three nodes: what it costs to see that two hold the same, or
//! that a few logs differ.

use crate::Result;
use crate::data::{Data, Record};
use crate::report::Report;
use crate::support::nodes::Person;
use crate::watch::{client, traffic, until_complete};
use std::collections::BTreeMap;
use std::path::Path;
use tidings_node::api::types::Status;
use tidings_node::home::Home;
use tidings_node::ingest::{Verdict, admit};
use tidings_node::rooms::{Rooms, Views};
use tidings_protocol::content::Content;
use tidings_protocol::control::payload::{Control, Join};
use tidings_protocol::event::{Class, Draft, Hlc, Payload, VerifiedEvent};
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::identity::{DeviceKey, RecoveryPhrase};
use tidings_protocol::link::InviteLink;
use tidings_protocol::range::sign_run;
use tidings_storage::{Durability, Store, Writer};

/// Somebody of the file, and where their logs stand.
struct Author {
    device: DeviceKey,
    room: RoomId,
    join: VerifiedEvent,
    seq: u64,
    prev: EventId,
    hlc: Hlc,
}

impl Author {
    fn new(name: &str, link: &InviteLink, at: Hlc) -> Result<Author> {
        let seed = |what: &str| blake3::derive_key(what, name.as_bytes());
        let device = DeviceKey::from_seed(&seed("tidings measure device"));
        let user = RecoveryPhrase::from_entropy(seed("tidings measure user")).user_key();
        let certificate = user.certify(device.device(), "measure", at.ms());
        let control = Control::Join(Join::new(link.room, link.invite, certificate, &link.key));
        let draft = Draft {
            class: Class::Control,
            kind: control.kind(),
            room: link.room,
            grant: EventId::ZERO,
            seq: 1,
            prev: EventId::ZERO,
            parents: Vec::new(),
            hlc: at,
            payload: Payload { salt: [0; 16], bytes: control.encode() },
        };
        let join = draft.sign(&device)?;
        Ok(Author { device, room: link.room, join, seq: 0, prev: EventId::ZERO, hlc: at })
    }

    /// Signs texts as one run; its clock follows the file's.
    fn say(&mut self, records: &[&Record]) -> Result<Vec<VerifiedEvent>> {
        let mut drafts = Vec::with_capacity(records.len());
        for record in records {
            self.hlc = self.hlc.tick(record.ts);
            let content = Content::Text(record.text.as_str().into());
            drafts.push(Draft {
                class: Class::Content,
                kind: content.kind(),
                room: self.room,
                grant: self.join.id(),
                seq: 0,
                prev: EventId::ZERO,
                parents: Vec::new(),
                hlc: self.hlc,
                payload: Payload { salt: [1; 16], bytes: content.encode() },
            });
        }
        let events = sign_run(&self.device, self.seq + 1, self.prev, drafts)?;
        if let Some(last) = events.last() {
            (self.seq, self.prev) = (last.header().seq, last.id());
        }
        Ok(events)
    }
}

/// A stopped node's store, written by the door that its own events take.
struct Offline {
    writer: Writer,
    rooms: Rooms,
    room: RoomId,
}

impl Offline {
    fn open(person: &Person, room: RoomId) -> Result<Offline> {
        let (store, writer) = Store::open(&Home::open(&person.home)?.store_path())?;
        let rooms = Rooms::load(&store, Views::default())?;
        Ok(Offline { writer, rooms, room })
    }

    fn admit(&mut self, events: &[VerifiedEvent]) -> Result<()> {
        let mut batch = self.writer.begin();
        let admitted = admit(&mut batch, &mut self.rooms, self.room, events, NOW_MS)?;
        batch.commit(Durability::Buffered)?;
        match admitted.verdict {
            Verdict::Stored => Ok(()),
            other => Err(format!("not admitted: {other:?}").into()),
        }
    }
}

/// Builds the room on Alice's node, lets Bob and Carol have it, and counts what comparing costs.
pub fn run(report: &mut Report, data: &Data, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut said: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in &data.records {
        said.entry(&record.author).or_default().push(record);
    }
    report.part(&format!("{} authors, each a device of its own, on three nodes", said.len()));
    let mut alice = Person::at(folder, "alice");
    alice.up().done(&["room", "create", "crowd"]);
    let link = InviteLink::from_text(&alice.link("crowd"))?;
    alice.down();

    let first = Hlc::at_ms(data.records.first().map_or(0, |r| r.ts));
    let mut authors = Vec::new();
    let mut store = Offline::open(&alice, link.room)?;
    for (name, records) in &said {
        let mut author = Author::new(name, &link, first)?;
        store.admit(std::slice::from_ref(&author.join))?;
        for part in records.chunks(RUN_EVENTS) {
            store.admit(&author.say(part)?)?;
        }
        authors.push(author);
    }
    drop(store);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut bob, mut carol) = (Person::at(folder, "bob"), Person::at(folder, "carol"));
    alice.up();
    let link = alice.link("crowd");
    for person in [&mut bob, &mut carol] {
        person.up().done(&["room", "join", &link, "--wait", "30s"]);
    }
    let people = [&alice, &bob, &carol];
    let events = runtime.block_on(async {
        let mut most = 0;
        for person in people {
            most = most.max(client(person)?.get::<Status>("/v1/status").await?.events);
        }
        for person in people {
            until_complete(&client(person)?, "crowd", most).await?;
        }
        Ok::<_, Box<dyn std::error::Error>>(most)
    })?;
    runtime.block_on(quiet(&people))?;
    let same = same_exports(folder, &people)?;
    report.figure("three nodes", &format!("{events} events, exports the same: {same}"), "equal", same);
    carol.down();

    bob.down();
    bob.up();
    let (all, carried) = runtime.block_on(async { traffic(&client(&bob)?).await })?;
    let value = format!("{all} bytes both ways, {carried} of them events");
    report.figure("comparing two equal nodes", &value, "under 500 bytes", all < 500 && carried == 0);

    bob.down();
    alice.down();
    let mut store = Offline::open(&alice, authors[0].room)?;
    let last = data.records.last().ok_or("an empty file")?;
    for author in authors.iter_mut().step_by(said.len() / MOVED).take(MOVED) {
        store.admit(&author.say(&[&Record { text: "something new".into(), ..last.clone() }])?)?;
    }
    drop(store);
    alice.up();
    let address = alice.ready["listen"][0].as_str().ok_or("she listens nowhere")?.to_owned();
    bob.up_with(&["--listen", "/ip4/127.0.0.1/tcp/0", "--peer", &address]);
    let (all, carried) = runtime.block_on(async { traffic(&client(&bob)?).await })?;
    let value = format!("{} bytes besides {carried} of events", all - carried);
    report.figure(&format!("{MOVED} authors moved"), &value, "under 4,096 bytes", all - carried < 4_096);
    let same = same_exports(folder, &[&alice, &bob])?;
    report.figure("afterwards", &format!("exports the same: {same}"), "equal", same);
    Ok(())
}

async fn quiet(people: &[&Person]) -> Result<()> {
    for person in people {
        traffic(&client(person)?).await?;
    }
    Ok(())
}

fn same_exports(folder: &Path, people: &[&Person]) -> Result<bool> {
    let file = folder.join("export");
    let mut hashes = Vec::new();
    for person in people {
        person.done(&["export", "crowd", "--output", &file.to_string_lossy()]);
        hashes.push(blake3::hash(&std::fs::read(&file)?));
    }
    std::fs::remove_file(&file)?;
    Ok(hashes.windows(2).all(|pair| pair[0] == pair[1]))
}

const RUN_EVENTS: usize = 4_096;
const MOVED: usize = 20;
/// 2026-01-01: after everything in the file.
const NOW_MS: u64 = 1_767_225_600_000;
