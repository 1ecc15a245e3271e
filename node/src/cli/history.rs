//! Bringing history in, taking it out, proving it.

use super::Context;
use super::args::ImportArgs;
use super::exit::Failure;
use super::output::line;
use crate::api::client::segment;
use crate::api::types::{ImportProgress, Problem, Room};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tidings_storage::proof::{ProofError, prove};
use tokio::io::{AsyncWriteExt, DuplexStream};

/// A line of an import's answer.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answer {
    Progress(ImportProgress),
    Problem(Problem),
}

pub(super) async fn import(context: &Context, args: ImportArgs) -> Result<ExitCode, Failure> {
    if args.format != "jsonl" {
        return Err(Failure::usage(format!("\"{}\" is no format: use jsonl", args.format)));
    }
    let reader = open(&args.file)?;
    let client = context.client()?;
    let source = args.source.unwrap_or_else(|| source_name(&args.file));
    let (sender, receiver) = tokio::io::duplex(PIPE_LEN);
    let feeding = tokio::task::spawn_blocking(move || feed(reader, sender, tokio::runtime::Handle::current()));
    // Asked first: an answer to a request whose body is still on its way may not arrive.
    let room: Room = client.get(&format!("/v1/rooms/{}", segment(&args.room))).await?;
    let path = format!("/v1/rooms/{}/import?source={}", room.room, segment(&source));
    let mut answers = client.post_stream::<Answer, _>(&path, receiver).await?;
    let on_terminal = std::io::stderr().is_terminal() && !context.out.json;
    while let Some(answer) = answers.next().await? {
        match answer {
            Answer::Problem(problem) => return Err(crate::api::client::ClientError::Problem(problem).into()),
            Answer::Progress(ImportProgress::Acknowledged { acknowledged }) => {
                if args.progress {
                    line(&serde_json::json!({ "acknowledged": acknowledged }).to_string());
                } else if on_terminal {
                    eprint!("\r{acknowledged} messages on disk ");
                }
            }
            Answer::Progress(done @ ImportProgress::Done { .. }) => {
                if on_terminal {
                    eprintln!();
                }
                // What could be read is imported; that the rest could not is said.
                let read = feeding.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
                return finish(context, &done, read.err().map(|error| broken_off(&args.file, &error)));
            }
        }
    }
    Err(Failure::failed("the import broke off", "run it again: what is on disk is not imported twice"))
}

fn finish(context: &Context, done: &ImportProgress, broken: Option<(String, &str)>) -> Result<ExitCode, Failure> {
    let ImportProgress::Done { imported, known, rejected, seconds, errors } = done else {
        return Ok(ExitCode::SUCCESS);
    };
    let mut done = done.clone();
    if let (ImportProgress::Done { errors, .. }, Some((what, todo))) = (&mut done, &broken) {
        errors.push(format!("{what}: {todo}"));
    }
    context.out.show(&done, |_| {
        let rate = *imported as f64 / seconds.max(0.001);
        format!("imported {imported}, known {known}, rejected {rejected}, in {seconds:.1} s ({rate:.0}/s)")
    });
    if let Some((what, todo)) = broken {
        return Err(Failure::failed(what, todo).answered());
    }
    if *rejected == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let lines = if *rejected == 1 { "1 line was".to_owned() } else { format!("{rejected} lines were") };
    let what = format!("{lines} not imported:\n{}", errors.join("\n"));
    Err(Failure::failed(what, "mend them and run it again: the others are not imported twice").answered())
}

fn broken_off(file: &Path, error: &std::io::Error) -> (String, &'static str) {
    let why = match error.kind() {
        ErrorKind::UnexpectedEof => "it is cut off".to_owned(),
        _ => error.to_string(),
    };
    let what = format!("{}: not all of it could be read: {why}", file.display());
    (what, "get a whole copy and run it again: what is on disk is not imported twice")
}

fn source_name(file: &Path) -> String {
    let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.strip_suffix(".jsonl").unwrap_or(name).to_owned()
}

/// The file, inflated when it is gzipped.
fn open(path: &Path) -> Result<Box<dyn Read + Send>, Failure> {
    let file = File::open(path).map_err(|e| Failure::file(path, &e))?;
    let mut reader = BufReader::with_capacity(PIPE_LEN, file);
    let gzipped = reader.fill_buf().map_err(|e| Failure::file(path, &e))?.starts_with(&[0x1f, 0x8b]);
    Ok(if gzipped { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) })
}

fn feed(
    mut reader: Box<dyn Read + Send>,
    mut to: DuplexStream,
    runtime: tokio::runtime::Handle,
) -> std::io::Result<()> {
    let mut buffer = vec![0; PIPE_LEN];
    loop {
        let n = reader.read(&mut buffer)?;
        if n == 0 {
            return runtime.block_on(to.shutdown());
        }
        runtime.block_on(to.write_all(&buffer[..n]))?;
    }
}

pub(super) async fn export(context: &Context, room: &str, output: Option<PathBuf>) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let path = format!("/v1/rooms/{}/export", segment(room));
    let Some(output) = output else {
        let stdout = std::io::stdout().as_fd().try_clone_to_owned()?;
        client.download(&path, &mut tokio::fs::File::from_std(File::from(stdout))).await?;
        return Ok(ExitCode::SUCCESS);
    };
    let beside = output.with_extension("part");
    if output.is_dir() {
        return Err(Failure::file(&output, &ErrorKind::IsADirectory.into()));
    }
    let mut file = tokio::fs::File::create(&beside).await.map_err(|e| Failure::file(&beside, &e))?;
    let written = async {
        let bytes = client.download(&path, &mut file).await?;
        file.sync_all().await.map_err(|e| Failure::file(&beside, &e))?;
        tokio::fs::rename(&beside, &output).await.map_err(|e| Failure::file(&output, &e))?;
        Ok::<_, Failure>(bytes)
    };
    let written = written.await;
    if written.is_err() {
        drop(std::fs::remove_file(&beside));
    }
    let bytes = written?;
    context.out.show(&serde_json::json!({ "bytes": bytes, "file": output }), |_| {
        format!("wrote {bytes} bytes to {}\nprove it: tidings verify {}", output.display(), output.display())
    });
    Ok(ExitCode::SUCCESS)
}

pub(super) fn verify(context: &Context, path: &Path) -> Result<ExitCode, Failure> {
    let file = File::open(path).map_err(|e| Failure::file(path, &e))?;
    let (room, proven) = prove(&mut BufReader::with_capacity(PIPE_LEN, file)).map_err(|error| match error {
        ProofError::Io(error) => Failure::file(path, &error),
        error => Failure::failed(
            format!("{}: {error}", path.display()),
            "do not trust it; export it again from a member's node",
        ),
    })?;
    let value = serde_json::json!({
        "room": room.to_string(), "events": proven.events, "logs": proven.logs, "signatures": proven.signatures,
        "erased": proven.erased, "purged": proven.purged, "holes": proven.holes,
    });
    context.out.show(&value, |_| {
        let mut holes = if proven.holes > 0 { format!(", {} stretches missing", proven.holes) } else { String::new() };
        if proven.purged > 0 {
            holes += &format!(", {} whose words the exporter had purged: get those elsewhere", proven.purged);
        }
        format!(
            "proven: {} events in {} logs of room {room}, {} signatures checked, {} erased{holes}",
            proven.events, proven.logs, proven.signatures, proven.erased
        )
    });
    Ok(ExitCode::SUCCESS)
}

const PIPE_LEN: usize = 256 * 1024;
