//! Sending files, getting them, listing them.

use super::Context;
use super::args::SendArgs;
use super::delivery::Watch;
use super::exit::Failure;
use super::messages::text_of;
use super::output::{one_line, time};
use super::rooms::duration;
use crate::api::client::{Client, ClientError, ProtocolError, segment};
use crate::api::file_types::{Fetched, Listed, SendFile, Taken, size};
use crate::api::types::{Problem, Room, SendMessage};
use clap::Subcommand;
use serde::Deserialize;
use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as Waking, Poll};
use std::time::Duration;
use tidings_protocol::file_name::safe;
use tidings_protocol::limits::FILE_LEN_MAX;
use tokio::io::{AsyncRead, ReadBuf};

/// Under `file`. FILE is a message that brings one, or its hash.
#[derive(Debug, Subcommand)]
pub enum FileCommand {
    /// Get a file: from this node, or from the nodes of others that have it. What came stays, and it goes on from there.
    Get {
        /// The message that brings it, or its hash.
        file: String,
        /// Where to; in this folder, under its own name, when left out.
        #[arg(long, short, value_name = "PATH")]
        output: Option<PathBuf>,
        /// Put it in the place of a file that is there.
        #[arg(long)]
        force: bool,
        /// How long to wait while nothing comes: 30s, 5m.
        #[arg(long, default_value = "30s", value_name = "TIME")]
        wait: String,
    },
    /// List the files that messages brought.
    List,
}

pub(super) async fn file(context: &Context, command: FileCommand) -> Result<ExitCode, Failure> {
    match command {
        FileCommand::Get { file, output, force, wait } => {
            let (wait, place) = (duration(&wait)?, Place { output, force });
            get(context, &file, place, wait).await
        }
        FileCommand::List => list(context).await,
    }
}

/// Sends a file, with a text if one is given.
pub(super) async fn send(context: &Context, args: SendArgs, path: &Path) -> Result<ExitCode, Failure> {
    let text = args.text.map(|text| text_of(Some(text))).transpose()?.unwrap_or_default();
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = opened.map_err(|e| Failure::file(path, &e))?;
    let found = file.metadata().map_err(|e| Failure::file(path, &e))?;
    if !found.is_file() {
        return Err(Failure::usage(format!("{}: not a file; nothing was sent", path.display())));
    }
    if found.len() > FILE_LEN_MAX {
        let what = format!("{}: a file has at most {}; nothing was sent", path.display(), size(FILE_LEN_MAX));
        return Err(Failure::usage(what).with_todo("send it in parts"));
    }
    let name = path.file_name().map(|name| safe(&name.to_string_lossy())).unwrap_or_default();
    let client = context.client()?;
    // Asked first: a file on its way to no room would be read for nothing.
    let room: Room = client.get(&format!("/v1/rooms/{}", segment(&args.room))).await?;
    let bar = Bar::new(context, &name);
    let read = Arc::new(AtomicU64::new(0));
    let source = Counted { file: file.take(FILE_LEN_MAX.saturating_add(1)), read: read.clone() };
    let upload = async {
        let mut answer = client.post_stream::<Taken, _>("/v1/files", source).await?;
        answer.next().await
    };
    let taken = bar.while_it_lasts(upload, || (read.load(Ordering::Relaxed), found.len())).await?;
    let Taken { hash, .. } = taken.ok_or_else(|| Failure::failed("the node did not take the file", "try again"))?;
    let file = Some(SendFile { hash, media: media_of(&name).to_owned(), name });
    let body = SendMessage { text, reply_to: args.reply, file };
    let watch = Watch::begin(&client, args.wait.as_deref(), args.copies).await?;
    watch.follow(context, &client, client.post(&format!("/v1/rooms/{}/messages", room.room), &body).await?).await
}

/// A line of the answer to a fetch.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Fetched(Fetched),
    Problem(Problem),
}

async fn get(context: &Context, file: &str, place: Place, wait: Duration) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let found: Listed = client.get(&format!("/v1/files/{}", segment(file))).await?;
    let name = safe(&found.file.name);
    let target = place.target(&name)?;
    let mut fetched = fetch(context, &client, &found, wait).await?;
    let beside = place.begin(&target)?;
    let mut written = write(&client, &found, &beside, &target, place.force).await;
    if matches!(written, Ok(Written::BrokenOff)) {
        eprintln!("the file broke off: what is damaged of it on this disk is fetched again");
        written = match fetch(context, &client, &found, wait).await {
            Ok(again) => {
                fetched = again;
                write(&client, &found, &beside, &target, place.force).await
            }
            Err(failure) => Err(failure),
        };
    }
    if !matches!(written, Ok(Written::Whole)) {
        drop(std::fs::remove_file(&beside));
    }
    if written? == Written::BrokenOff {
        return Err(Failure::failed("the file broke off", "run it again: what is damaged here is fetched anew"));
    }
    let value = serde_json::json!({
        "file": target, "name": name, "bytes": found.file.len, "hash": found.file.hash,
        "fetched": fetched.fetched, "from": fetched.from,
    });
    context.out.show(&value, |_| format!("{} of {} are in {}", size(found.file.len), name, target.display()));
    Ok(ExitCode::SUCCESS)
}

/// Has the node fetch what is missing; what came of it, and from whom.
async fn fetch(context: &Context, client: &Client, found: &Listed, wait: Duration) -> Result<Fetched, Failure> {
    let path = format!("/v1/files/{}/fetch?wait_ms={}", segment(&found.event), wait.as_millis());
    let mut answers = client.post_stream::<Answer, _>(&path, tokio::io::empty()).await?;
    let bar = Bar::new(context, &safe(&found.file.name));
    while let Some(answer) = answers.next().await? {
        match answer {
            Answer::Problem(problem) => {
                bar.end();
                return Err(ClientError::Problem(problem).into());
            }
            Answer::Fetched(now) => {
                let sources = if now.sources > 0 { format!(" from {}", now.sources) } else { String::new() };
                bar.show(now.have, now.len, &sources);
                if now.done {
                    bar.end();
                    return Ok(now);
                }
            }
        }
    }
    Err(Failure::failed("the node stopped while it fetched the file", "run it again: what came is kept"))
}

/// How far a file was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Whole,
    /// The node did not give all of it: what is left is damaged there, and it has thrown that away by now.
    BrokenOff,
}

/// Writes a file beside its place, and puts it there once it is whole and on disk.
async fn write(client: &Client, found: &Listed, beside: &Path, target: &Path, force: bool) -> Result<Written, Failure> {
    let opened = std::fs::OpenOptions::new().write(true).truncate(true).custom_flags(libc::O_NOFOLLOW).open(beside);
    let mut sink = tokio::fs::File::from_std(opened.map_err(|e| Failure::file(beside, &e))?);
    let path = format!("/v1/files/{}/content", segment(&found.event));
    match client.download(&path, &mut sink).await {
        Ok(bytes) if bytes == found.file.len => {}
        Ok(_) | Err(ClientError::Protocol(ProtocolError::Http(_))) => return Ok(Written::BrokenOff),
        Err(error) => return Err(error.into()),
    }
    sink.sync_all().await.map_err(|e| Failure::file(beside, &e))?;
    put(beside, target, force).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => in_the_way(target),
        _ => Failure::file(target, &error),
    })?;
    Ok(Written::Whole)
}

/// Gives a file its name, and takes that from no other unless that is wanted.
fn put(beside: &Path, target: &Path, force: bool) -> std::io::Result<()> {
    if force {
        return std::fs::rename(beside, target);
    }
    match std::fs::hard_link(beside, target) {
        Ok(()) => std::fs::remove_file(beside),
        // A file system without second names: what comes between the look and the step nobody can rule out there.
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
            match std::fs::symlink_metadata(target) {
                Ok(_) => Err(ErrorKind::AlreadyExists.into()),
                Err(_) => std::fs::rename(beside, target),
            }
        }
        Err(error) => Err(error),
    }
}

/// Where a file is to be put.
struct Place {
    output: Option<PathBuf>,
    force: bool,
}

impl Place {
    /// Where to; refused where something is in the way.
    fn target(&self, name: &str) -> Result<PathBuf, Failure> {
        let target = match &self.output {
            None => PathBuf::from(name),
            Some(path) if path.is_dir() => path.join(name),
            Some(path) => path.clone(),
        };
        match std::fs::symlink_metadata(&target) {
            Ok(found) if found.is_symlink() => {
                let what = format!("{}: a link stands there; nothing was written", target.display());
                Err(Failure::refused(what).with_todo("choose another place with --output"))
            }
            Ok(found) if !found.is_file() => Err(Failure::file(&target, &ErrorKind::IsADirectory.into())),
            Ok(_) if !self.force => Err(in_the_way(&target)),
            _ => Ok(target),
        }
    }

    /// Begins the file beside its place, which only its owner may read until it is there.
    fn begin(&self, target: &Path) -> Result<PathBuf, Failure> {
        let mut name = target.file_name().unwrap_or_default().to_os_string();
        name.push(".part");
        let beside = target.with_file_name(name);
        if self.force && std::fs::symlink_metadata(&beside).is_ok_and(|found| found.is_file() && found.nlink() == 1) {
            drop(std::fs::remove_file(&beside));
        }
        let created = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside);
        match created {
            Ok(_) => Ok(beside),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(in_the_way(&beside)),
            Err(error) => Err(Failure::file(&beside, &error)),
        }
    }
}

fn in_the_way(path: &Path) -> Failure {
    let what = format!("{}: there is such a file already; nothing was written", path.display());
    Failure::refused(what).with_todo("choose another place with --output, or say --force")
}

async fn list(context: &Context) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let mut files: Vec<Listed> = Vec::new();
    loop {
        let after = files.last().map(|last| format!("?after={}", last.file.hash)).unwrap_or_default();
        let page: Vec<Listed> = client.get(&format!("/v1/files{after}")).await?;
        if page.is_empty() {
            break;
        }
        files.extend(page);
    }
    files.sort_by_key(|file| file.ms);
    context.out.show(&files, |files| {
        let row = |f: &Listed| {
            let here = if f.file.here { "here" } else { "not here" };
            let event = f.event.get(..8).unwrap_or(&f.event);
            format!("{} {event} {:>9} {here:<8} {}", time(f.ms), size(f.file.len), one_line(&f.file.name))
        };
        if files.is_empty() { "no files".to_owned() } else { files.iter().map(row).collect::<Vec<_>>().join("\n") }
    });
    Ok(ExitCode::SUCCESS)
}

/// A line on a terminal that says how far something is.
struct Bar {
    is_shown: bool,
    name: String,
}

impl Bar {
    fn new(context: &Context, name: &str) -> Self {
        let is_shown = std::io::stderr().is_terminal() && !context.out.json;
        Bar { is_shown, name: one_line(name).chars().take(NAME_CHARS).collect() }
    }

    fn show(&self, have: u64, len: u64, more: &str) {
        if self.is_shown {
            let cells =
                usize::try_from(have.saturating_mul(BAR_CELLS).checked_div(len).unwrap_or(BAR_CELLS)).unwrap_or(0);
            let (full, rest) = ("#".repeat(cells), "-".repeat((BAR_CELLS as usize).saturating_sub(cells)));
            eprint!("\r{} [{full}{rest}] {} of {}{more}   ", self.name, size(have), size(len));
        }
    }

    fn end(&self) {
        if self.is_shown {
            eprintln!();
        }
    }

    /// Shows how far it is until it is over.
    async fn while_it_lasts<T>(&self, what: impl Future<Output = T>, how_far: impl Fn() -> (u64, u64)) -> T {
        tokio::pin!(what);
        let mut tick = tokio::time::interval(BAR_EVERY);
        loop {
            tokio::select! {
                done = &mut what => {
                    self.end();
                    return done;
                }
                _ = tick.tick() => {
                    let (have, len) = how_far();
                    self.show(have.min(len), len, "");
                }
            }
        }
    }
}

/// A file that counts what was read of it.
struct Counted {
    file: std::io::Take<File>,
    read: Arc<AtomicU64>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Waking<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        // A read of a local file, in a program that does nothing else meanwhile.
        let read = self.file.read(buffer.initialize_unfilled())?;
        buffer.advance(read);
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

/// What kind of file a name promises.
fn media_of(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
    let known = MEDIA.iter().find(|(known, _)| *known == ending);
    known.map_or("application/octet-stream", |(_, media)| media)
}

const MEDIA: [(&str, &str); 16] = [
    ("txt", "text/plain"),
    ("md", "text/markdown"),
    ("csv", "text/csv"),
    ("json", "application/json"),
    ("pdf", "application/pdf"),
    ("zip", "application/zip"),
    ("gz", "application/gzip"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("mp3", "audio/mpeg"),
    ("ogg", "audio/ogg"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
];
const NAME_CHARS: usize = 32;
const BAR_CELLS: u64 = 24;
const BAR_EVERY: Duration = Duration::from_millis(200);
