//! Prints every figure that tidings promises, measured here and now on the real program and real history.
//!
//! make measure            all of it but flat and trim, about five minutes
//! measure [--data FILE] [PART...]   parts: authority history latency authors strangers crash healing flat trim
//! TIDINGS_MINUTES=30 measure flat   memory over half an hour

mod authority;
mod authors;
mod data;
mod faults;
mod flat;
mod floor;
mod history;
mod latency;
mod report;
mod shapes;
mod strangers;
mod support;
mod trim;
mod watch;

use data::Data;
use report::Report;
use std::path::PathBuf;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let mut file = PathBuf::from("../shared/data/irc-2017-2020.jsonl.gz");
    let mut parts = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--data" => file = arguments.next().ok_or("--data needs a file")?.into(),
            part if PARTS.contains(&part) => parts.push(argument),
            other => return Err(format!("\"{other}\" is no part: {}", PARTS.join(", ")).into()),
        }
    }
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|p| p == part);
    let data = Data::read(&file)
        .map_err(|e| format!("{}: {e}: give a file of gzipped JSON lines with DATA=FILE", file.display()))?;
    let folder = tempfile::tempdir()?;
    let mut report = Report::begin(&data);
    if wanted("authority") {
        authority::run(&mut report)?;
    }
    if wanted("history") {
        history::run(&mut report, &data, &folder.path().join("history"))?;
    }
    if wanted("latency") {
        latency::run(&mut report, &folder.path().join("latency"))?;
    }
    if wanted("authors") {
        authors::run(&mut report, &data, &folder.path().join("authors"))?;
    }
    if wanted("strangers") {
        strangers::run(&mut report, &folder.path().join("strangers"))?;
    }
    if wanted("crash") {
        faults::crash(&mut report, &data, &folder.path().join("crash"))?;
    }
    if wanted("healing") {
        faults::healing(&mut report, &folder.path().join("healing"));
    }
    // By their names only: one takes half an hour, the other moves a gigabyte.
    if parts.iter().any(|part| part == "flat") {
        flat::run(&mut report, &data, &folder.path().join("flat"))?;
    }
    if parts.iter().any(|part| part == "trim") {
        trim::run(&mut report, &data, &folder.path().join("trim"))?;
    }
    report.end();
    Ok(())
}

const PARTS: [&str; 9] =
    ["authority", "history", "latency", "authors", "strangers", "crash", "healing", "flat", "trim"];
