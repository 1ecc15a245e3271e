//! P5: a page of 50 among a million messages, and two words looked for in them, beside SQLite with FTS5 and tantivy.

use crate::bulk::COPIES;
use crate::data::{self, Message};
#[cfg(feature = "search")]
use crate::engines::{Fts5, Tantivy};
use crate::node::{Connection, Node};
use crate::stats::{Choices, quantile};
use crate::table::{Figure, Target};
use crate::{Bench, Result};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// Milliseconds of each question, a list a round; by what was asked of whom.
type Taken = BTreeMap<(What, &'static str), Vec<Vec<f64>>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Newest,
    Random,
    Words,
}

impl What {
    fn text(self) -> &'static str {
        match self {
            What::Newest => "page of 50, newest",
            What::Random => "page of 50, anywhere",
            What::Words => "two words, the newest 50 with both",
        }
    }

    /// What p99 has to be, in milliseconds.
    fn target(self) -> Target {
        Target::at_most(if self == What::Words { 20.0 } else { 1.0 })
    }
}

pub async fn run(bench: &mut Bench) -> Result<()> {
    let messages = data::copies(&bench.messages, if bench.is_short { 1 } else { COPIES });
    let folder = bench.folder.path().join("find");
    std::fs::create_dir_all(&folder)?;
    let node = node(bench, &messages, &folder).await?;
    let ids = ids(&node, messages.len()).await?;
    let queries = queries(&messages, bench.size(QUERIES, 100));
    let mut taken = Taken::new();
    let mut found = BTreeMap::new();
    let mut peers = Peers::build(bench, &messages, &folder);
    for round in 0..bench.rounds {
        bench.progress("P5", round);
        let mut connection = node.connection().await?;
        let count = of_node(&mut connection, &ids, &queries, round, &mut taken).await?;
        found.insert("tidings", count);
        found.extend(peers.ask(messages.len(), &queries, round, &mut taken)?);
    }
    node.stop().await?;
    figures(&mut bench.figures, messages.len(), &taken, &peers);
    bench.note(format!(
        "P5: {} queries of two words of one message, drawn alike each time; tidings answers over its HTTP API, to the last byte of the JSON, with snippets, each message checked for what hides it; the others in process. Messages found: {found:?}",
        queries.len()
    ));
    Ok(std::fs::remove_dir_all(folder)?)
}

async fn node(bench: &Bench, messages: &[Message], folder: &Path) -> Result<Node> {
    let file = folder.join("history.jsonl");
    data::write(messages, &file)?;
    let node = Node::start(&bench.program, &folder.join("node")).await?;
    node.run(&["room", "create", "zig"]).await?;
    node.run(&["import", "zig", &file.to_string_lossy()]).await?;
    Ok(node)
}

/// The ids of messages all over the history, one a page.
async fn ids(node: &Node, messages: usize) -> Result<Vec<String>> {
    let mut connection = node.connection().await?;
    let (mut out, mut before): (Vec<String>, _) = (Vec::new(), String::new());
    for _ in 0..=messages / PAGE_MAX {
        let page = connection.ask("GET", &format!("/v1/rooms/zig/messages?limit={PAGE_MAX}{before}"), "").await?;
        let Some(first) = page.as_array().and_then(|lines| lines.iter().find_map(|line| line["id"].as_str())) else {
            break;
        };
        before = format!("&before={first}");
        out.push(first.to_owned());
    }
    Ok(out)
}

/// Two words of a message each, as every peer takes them: letters, at least three, not the same.
fn queries(messages: &[Message], count: usize) -> Vec<[String; 2]> {
    let (mut choices, mut out) = (Choices(SEED), Vec::with_capacity(count));
    for _ in 0..count * 1_000 {
        let Some(message) = messages.get(choices.below(messages.len())).filter(|_| out.len() < count) else { break };
        let words: Vec<String> = message
            .text
            .split(|c: char| !c.is_alphanumeric())
            .filter(|w| (3..=20).contains(&w.len()) && w.chars().all(|c| c.is_ascii_alphabetic()))
            .map(str::to_lowercase)
            .collect();
        let pair = [choices.below(words.len()), choices.below(words.len())].map(|n| words.get(n).cloned());
        if let [Some(a), Some(b)] = pair
            && a != b
        {
            out.push([a, b]);
        }
    }
    out
}

fn note(taken: &mut Taken, what: What, who: &'static str, round: usize, began: Instant) {
    let rounds = taken.entry((what, who)).or_default();
    rounds.resize(rounds.len().max(round + 1), Vec::new());
    rounds[round].push(began.elapsed().as_secs_f64() * 1000.0);
}

async fn of_node(
    connection: &mut Connection,
    ids: &[String],
    queries: &[[String; 2]],
    round: usize,
    taken: &mut Taken,
) -> Result<usize> {
    let mut choices = Choices(SEED);
    for n in 0..2 * queries.len() {
        let (what, before) = match n < queries.len() {
            true => (What::Newest, String::new()),
            false => {
                let id = ids.get(choices.below(ids.len())).ok_or("no history")?;
                (What::Random, format!("&before={id}"))
            }
        };
        let began = Instant::now();
        let page = connection.ask_bytes("GET", &format!("/v1/rooms/zig/messages?limit=50{before}"), "").await?;
        note(taken, what, TIDINGS, round, began);
        let lines = serde_json::from_slice::<Vec<serde_json::Value>>(&page)?.len();
        if what == What::Newest && lines != 50 {
            return Err(format!("a page has {lines} messages").into());
        }
    }
    let mut found = 0;
    for [a, b] in queries {
        let body = json!({"query": format!("{a} {b}"), "limit": 50}).to_string();
        let began = Instant::now();
        let answer = connection.ask_bytes("POST", "/v1/search", &body).await?;
        note(taken, What::Words, TIDINGS, round, began);
        let answer: serde_json::Value = serde_json::from_slice(&answer)?;
        found += answer["hits"].as_array().map_or(0, Vec::len);
    }
    Ok(found)
}

fn figures(out: &mut Vec<Figure>, messages: usize, taken: &Taken, peers: &Peers) {
    for what in [What::Newest, What::Random, What::Words] {
        for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
            let of =
                |who| taken.get(&(what, who)).map(|all| all.iter().map(|r| quantile(r, part)).collect::<Vec<f64>>());
            let text = format!("{}, of {messages}, {name}", what.text());
            let figure = |target| Figure::alone("P5", &text, "ms", of(TIDINGS).unwrap_or_default(), target);
            out.push(figure(if name == "p99" { what.target() } else { Target::STATED }));
            for (who, full, ratio) in &peers.names {
                let promised = what == What::Words && name == "p99";
                let target = if promised { Target::ratio_at_most(*ratio) } else { Target::STATED };
                if let Some(theirs) = of(*who) {
                    out.push(figure(target).beside(full, theirs));
                }
            }
        }
    }
}

/// Those that search beside us: their names, and the ratio to reach.
struct Peers {
    names: Vec<(&'static str, String, f64)>,
    #[cfg(feature = "search")]
    engines: Option<(Fts5, Tantivy)>,
}

#[cfg(feature = "search")]
impl Peers {
    fn build(bench: &mut Bench, messages: &[Message], folder: &Path) -> Peers {
        let began = Instant::now();
        let fts5 = Fts5::build(messages, &folder.join("fts5"));
        let (a, began) = (began.elapsed().as_secs_f64(), Instant::now());
        let engines = fts5.and_then(|fts5| Ok((fts5, Tantivy::build(messages, &folder.join("tantivy"))?)));
        let b = began.elapsed().as_secs_f64();
        let (fts5, tantivy) = (Fts5::name(), Tantivy::name());
        let [disk_a, disk_b] = ["fts5", "tantivy"].map(|name| crate::machine::disk(&folder.join(name)) / 1_000_000);
        match engines {
            Ok(engines) => {
                bench.note(format!(
                    "P5: {fts5} took {a:.0} s and {disk_a} MB, {tantivy} {b:.0} s and {disk_b} MB, with the texts"
                ));
                Peers { names: vec![(FTS5, fts5, 0.2), (TANTIVY, tantivy, 1.0)], engines: Some(engines) }
            }
            Err(error) => {
                bench.note(format!("failed: P5 beside {fts5} and {tantivy}: {error}"));
                Peers { names: Vec::new(), engines: None }
            }
        }
    }

    /// Asks the same of each.
    fn ask(
        &mut self,
        messages: usize,
        queries: &[[String; 2]],
        round: usize,
        taken: &mut Taken,
    ) -> Result<BTreeMap<&'static str, usize>> {
        let Some((fts5, tantivy)) = &self.engines else { return Ok(BTreeMap::new()) };
        let (mut choices, mut found) = (Choices(SEED), BTreeMap::new());
        for (what, newest) in [(What::Newest, true), (What::Random, false)] {
            for _ in queries {
                let before = if newest { messages + 1 } else { choices.below(messages) };
                let began = Instant::now();
                fts5.page(before)?;
                note(taken, what, FTS5, round, began);
            }
        }
        for words in queries {
            let began = Instant::now();
            *found.entry(FTS5).or_default() += fts5.find(words)?;
            note(taken, What::Words, FTS5, round, began);
        }
        for words in queries {
            let began = Instant::now();
            *found.entry(TANTIVY).or_default() += tantivy.find(words)?;
            note(taken, What::Words, TANTIVY, round, began);
        }
        Ok(found)
    }
}

#[cfg(not(feature = "search"))]
impl Peers {
    fn build(bench: &mut Bench, _: &[Message], _: &Path) -> Peers {
        bench.note("skipped: P5 beside SQLite FTS5 and tantivy: built without the feature `search`".to_owned());
        Peers { names: Vec::new() }
    }

    fn ask(&mut self, _: usize, _: &[[String; 2]], _: usize, _: &mut Taken) -> Result<BTreeMap<&'static str, usize>> {
        Ok(BTreeMap::new())
    }
}

const TIDINGS: &str = "tidings";
#[cfg(feature = "search")]
const FTS5: &str = "FTS5";
#[cfg(feature = "search")]
const TANTIVY: &str = "tantivy";
const QUERIES: usize = 1_000;
/// The largest page that the API gives.
const PAGE_MAX: usize = 1_000;
const SEED: u64 = 20_261_122;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_two_words_of_one_message_and_the_same_each_time() {
        let message = |text: &str| Message { author: "ann".to_owned(), text: text.to_owned(), ts: 1 };
        let messages = [message("The tide comes in"), message("no"), message("12345 !!")];
        let drawn = queries(&messages, 10);
        assert_eq!(drawn.len(), 10);
        assert_eq!(drawn, queries(&messages, 10));
        for [a, b] in drawn {
            assert!(a != b && ["the", "tide", "comes"].contains(&a.as_str()), "{a} {b}");
        }
    }

    #[test]
    fn where_there_are_no_words_nothing_is_asked() {
        let message = Message { author: "ann".to_owned(), text: "1 2 3".to_owned(), ts: 1 };
        assert!(queries(&[message], 10).is_empty());
        assert!(queries(&[], 10).is_empty());
    }
}
