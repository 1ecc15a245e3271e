//! From saying something to its being readable, and on disk, at the other.

use crate::report::Report;
use crate::support::nodes::Person;
use crate::watch::{client, percentile};
use crate::{Result, floor};
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};
use tidings_node::api::types::{Happened, SendMessage, Sent};

/// Alice says 200 things a second, Bob's screen hears of them.
pub fn run(report: &mut Report, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    report.part("A conversation: said, on disk at both, readable at the other");
    let (mut alice, mut bob) = (Person::at(folder, "alice"), Person::at(folder, "bob"));
    alice.up().done(&["room", "create", "talk"]);
    bob.up().done(&["room", "join", &alice.link("talk"), "--wait", "10s"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut alone = floor::two_syncs(&folder.join("before"), COUNT / 2, EVERY)?;
    let mut took = runtime.block_on(talk(&alice, &bob))?;
    alone.extend(floor::two_syncs(&folder.join("after"), COUNT / 2, EVERY)?);
    for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
        let (ours, floor) = (percentile(&mut took, part), percentile(&mut alone, part));
        let value = format!("{ours:.1} ms = {:.1} times two synced writes ({floor:.1} ms)", ours / floor);
        report.figure(
            &format!("{name} at 200 messages/s, {} of {COUNT}", took.len()),
            &value,
            "stated",
            took.len() == COUNT as usize,
        );
    }
    Ok(())
}

async fn talk(alice: &Person, bob: &Person) -> Result<Vec<f64>> {
    let (hers, his) = (client(alice)?, client(bob)?);
    let mut news = his.events(None).await?;
    let saying = tokio::spawn(async move {
        let (began, mut said, mut sending) = (Instant::now(), HashMap::new(), Vec::new());
        for n in 0..COUNT {
            tokio::time::sleep((EVERY * n).saturating_sub(began.elapsed())).await;
            let text = format!("message {n}");
            // From when it was due, so that falling behind shows.
            said.insert(text.clone(), began + EVERY * n);
            let hers = hers.clone();
            sending.push(tokio::spawn(async move {
                let message = SendMessage { text, reply_to: None, file: None };
                hers.post::<_, Sent>("/v1/rooms/talk/messages", &message).await
            }));
        }
        for sent in sending {
            sent.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
        }
        Ok::<_, String>(said)
    });
    let mut heard = HashMap::new();
    while heard.len() < COUNT as usize {
        let notice = tokio::time::timeout(Duration::from_secs(60), news.next()).await??.ok_or("Bob's node is gone")?;
        if let Happened::Message { message } = notice.what {
            heard.entry(message.text).or_insert_with(Instant::now);
        }
    }
    let said = saying.await??;
    let took = |(text, at): (&String, &Instant)| Some((*heard.get(text)? - *at).as_secs_f64() * 1000.0);
    Ok(said.iter().filter_map(took).collect())
}

const COUNT: u32 = 4_000;
const EVERY: Duration = Duration::from_millis(5);
