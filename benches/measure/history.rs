//! One person imports years of history, another joins, goes away, comes back: rates, bytes, disk, memory.

use crate::data::Data;
use crate::report::Report;
use crate::support::nodes::Person;
use crate::watch::{client, disk, memory, newest, traffic, until, until_complete};
use crate::{Result, floor};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};
use tidings_node::api::types::{JoinRoom, Joined, SendMessage, Sent, Status};

/// Measures all of it.
pub fn run(report: &mut Report, data: &Data, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    report.part("History: import, join, catch up, come back");
    let mut idle = Person::at(folder, "idle");
    idle.up();
    let idle_since = Instant::now();
    let mut alice = Person::at(folder, "alice");
    alice.up().done(&["room", "create", "zig"]);

    let bare = floor::hash_and_write(data, &folder.join("bare"))?;
    report.note(&format!("a bare loop of hashes and batches: {bare:.0} messages/s"));
    import(report, data, &alice, bare)?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut bob = Person::at(folder, "bob");
    bob.up();
    runtime.block_on(catch_up(report, data, (&alice, &bob), bare))?;
    same_exports(report, folder, (&alice, &bob))?;
    bob.down();
    let events = runtime.block_on(write_more(&alice))?;
    bob.up();
    runtime.block_on(come_back(report, &bob, events))?;
    same_exports(report, folder, (&alice, &bob))?;

    report.note("waiting for 60 s, then memory and disk");
    std::thread::sleep(Duration::from_secs(60));
    let count = data.records.len() as f64;
    for (name, person) in [("who imported", &alice), ("who came back", &bob)] {
        let beyond = (disk(&person.home.join("store")) as f64 - data.text_len as f64) / count;
        let what = format!("disk a message beyond author and text, {name}");
        report.figure(&what, &format!("{beyond:.0} B"), "under 150 B", beyond < 150.0);
        let (now, most) = memory(person);
        let value = format!("{now:.0} MB after 60 s, {most:.0} MB at most");
        report.figure(&format!("memory with all of it, {name}"), &value, "under 120 MB", now < 120.0);
    }
    std::thread::sleep(Duration::from_secs(60).saturating_sub(idle_since.elapsed()));
    let (now, most) = memory(&idle);
    let value = format!("{now:.0} MB after {:.0} s, {most:.0} MB at most", idle_since.elapsed().as_secs_f64());
    report.figure("memory of an idle node", &value, "under 60 MB", now < 60.0);
    Ok(())
}

fn import(report: &mut Report, data: &Data, alice: &Person, bare: f64) -> Result<()> {
    let file = data.file.to_str().ok_or("the file's name is no UTF-8")?;
    let count = data.records.len() as f64;
    let began = Instant::now();
    let done = alice.json(&["import", "zig", file]);
    let rate = count / began.elapsed().as_secs_f64();
    let whole = done["imported"] == data.records.len() && done["rejected"] == 0;
    report.figure("import", &format!("{} messages, {} rejected", done["imported"], done["rejected"]), "all", whole);
    let promised = format!("60,000/s, or half of the loop: {:.0}/s", bare / 2.0);
    report.figure("import, alone", &per_second(rate, bare), &promised, rate >= 60_000.0 || rate >= bare / 2.0);
    let again = alice.json(&["import", "zig", file]);
    let value = format!("{} new, {} known, in {:.1} s", again["imported"], again["known"], seconds(&again));
    report.figure("the same file again", &value, "0 new", again["imported"] == 0);
    Ok(())
}

fn per_second(rate: f64, bare: f64) -> String {
    format!("{rate:.0}/s = {:.2} of the loop", rate / bare)
}

fn seconds(done: &Value) -> f64 {
    done["seconds"].as_f64().unwrap_or(f64::NAN)
}

async fn catch_up(report: &mut Report, data: &Data, (alice, bob): (&Person, &Person), bare: f64) -> Result<()> {
    let (hers, his) = (client(alice)?, client(bob)?);
    let link = alice.link("zig");
    let expected: Vec<String> = newest(&hers, "zig", 50).await?.into_iter().map(|m| m.id).collect();
    let status: Status = hers.get("/v1/status").await?;
    let began = Instant::now();
    let joining = {
        let his = his.clone();
        tokio::spawn(async move { his.post::<_, Joined>("/v1/join", &JoinRoom { link, wait_ms: 10_000 }).await })
    };
    until("the newest 50 messages", Duration::from_secs(60), async || {
        let page = newest(&his, "zig", 50).await.unwrap_or_default();
        Ok(page.iter().map(|m| &m.id).eq(&expected))
    })
    .await?;
    let page = began.elapsed().as_secs_f64();
    report.figure("joined: the newest 50 messages readable", &format!("{page:.2} s"), "2 s", page <= 2.0);
    joining.await??;
    // Bob's own Join, and his name, come on top.
    until_complete(&his, "zig", status.events).await?;
    let rate = status.events as f64 / began.elapsed().as_secs_f64();
    let promised = format!("50,000/s, or half of the loop: {:.0}/s", bare / 2.0);
    report.figure("catching up", &per_second(rate, bare), &promised, rate >= 50_000.0 || rate >= bare / 2.0);
    let (all, events) = traffic(&his).await?;
    let ratio = all as f64 / data.text_len as f64;
    let value = format!("{all} bytes both ways, {} of them no events: {ratio:.2} of author and text", all - events);
    report.figure("on the stream", &value, "1.3", ratio <= 1.3);
    Ok(())
}

fn same_exports(report: &mut Report, folder: &Path, (alice, bob): (&Person, &Person)) -> Result<()> {
    let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let (hers, his) = (file("alice.export"), file("bob.export"));
    alice.done(&["export", "zig", "--output", &hers]);
    bob.done(&["export", "zig", "--output", &his]);
    let same = std::fs::read(&hers)? == std::fs::read(&his)?;
    let proven = bob.json(&["verify", &his]);
    let value = format!("{} events, {} signatures checked", proven["events"], proven["signatures"]);
    report.figure("both exports the same, and true", &value, "byte by byte", same);
    std::fs::remove_file(hers)?;
    Ok(std::fs::remove_file(his)?)
}

/// Alice says 1,000 things while nobody listens; how many events she has then.
async fn write_more(alice: &Person) -> Result<u64> {
    let hers = client(alice)?;
    for n in 0..1_000 {
        let message = SendMessage { text: format!("{n}: while you were away"), reply_to: None, file: None };
        hers.post::<_, Sent>("/v1/rooms/zig/messages", &message).await?;
    }
    Ok(hers.get::<Status>("/v1/status").await?.events)
}

async fn come_back(report: &mut Report, bob: &Person, events: u64) -> Result<()> {
    let his = client(bob)?;
    let took = until_complete(&his, "zig", events).await?;
    report.note(&format!("back and complete {:.1} s after the start", took.as_secs_f64()));
    let (all, events) = traffic(&his).await?;
    let value = format!("{} bytes besides {events} of events", all - events);
    report.figure("back after 1,000 messages", &value, "under 4,096 bytes", all - events < 4_096);
    Ok(())
}
