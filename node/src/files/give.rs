//! Giving files to peers that ask for them. Whoever may not have a file hears of it what it hears of a file that is not
//! here: one byte. That is asked again before every piece, so a member that is removed gets no more.

use super::{lock, may_have};
use crate::handle::NodeHandle;
use crate::network::{Duplex, Peer};
use crate::sync::Manager;
use std::collections::BTreeMap;
use std::io::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings_protocol::codec::decode;
use tidings_protocol::file::{FILE_REQUEST_LEN, FilePart, FileRequest, HERE, UNKNOWN_FILE};
use tidings_protocol::id::RoomId;
use tidings_storage::blobs::{BlobError, Held};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};

/// Answers peers that ask for files, until the network ends.
pub(crate) async fn answer_all(node: NodeHandle, mut streams: mpsc::Receiver<(Peer, Box<dyn Duplex>)>) {
    let places = Arc::new(Semaphore::new(GIVEN_MAX));
    let guests = Arc::new(Guests::default());
    // Dropped with this, and so ended.
    let mut giving = tokio::task::JoinSet::new();
    while let Some((peer, stream)) = streams.recv().await {
        while giving.try_join_next().is_some() {}
        // Who finds no place tries again in a while.
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        if !guests.come(peer) {
            continue;
        }
        let (node, guests) = (node.clone(), guests.clone());
        giving.spawn(async move {
            let ended = give(&node.manager, peer, stream).await;
            guests.go(peer, matches!(ended, Ok(Ended::Unknown)));
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "no more files are given");
            }
            drop(place);
        });
    }
}

/// What is given on a stream, and the room by which the peer may have it.
#[derive(Default)]
struct Open {
    held: Option<Held>,
    room: Option<RoomId>,
}

enum Ended {
    /// It asked for what it may not have, or what is not here.
    Unknown,
    /// It broke the rules.
    Malformed,
}

async fn give(manager: &Manager, peer: Peer, stream: Box<dyn Duplex>) -> Result<Ended, Error> {
    let mut stream = stream.compat();
    let mut open = Open::default();
    loop {
        let mut bytes = [0; FILE_REQUEST_LEN];
        timeout(REQUEST_PATIENCE, stream.read_exact(&mut bytes)).await??;
        let Ok(request) = decode::<FileRequest>(&bytes, FILE_REQUEST_LEN) else { return Ok(Ended::Malformed) };
        let parts = match request.part {
            FilePart::Outline => None..None,
            FilePart::Pieces { first, count } => Some(first)..Some(first.saturating_add(count)),
        };
        let mut index = parts.start;
        loop {
            let Some(part) = tokio::task::block_in_place(|| part_of(manager, peer, &request, index, &mut open)) else {
                say(&mut stream, &[UNKNOWN_FILE]).await?;
                timeout(WRITE_PATIENCE, stream.flush()).await??;
                drop(timeout(WRITE_PATIENCE, stream.shutdown()).await);
                return Ok(Ended::Unknown);
            };
            say(&mut stream, &[HERE]).await?;
            for some in part.chunks(WRITTEN_AT_ONCE) {
                say(&mut stream, some).await?;
            }
            index = index.map(|index| index.saturating_add(1));
            if index == parts.end {
                break;
            }
        }
        timeout(WRITE_PATIENCE, stream.flush()).await??;
    }
}

/// What is given of a file: its outline, or one piece. Nothing where the peer may not have it or it is not here.
fn part_of(
    manager: &Manager,
    peer: Peer,
    request: &FileRequest,
    index: Option<u32>,
    open: &mut Open,
) -> Option<Vec<u8>> {
    let wanted = (request.hash, request.len);
    if !may_have(manager, peer, wanted, &mut open.room) {
        return None;
    }
    let blobs = &manager.files.blobs;
    let mut read = || -> Result<Option<Vec<u8>>, BlobError> {
        let is_open = |held: &Held| (held.outline().hash(), held.outline().len_bytes()) == wanted;
        if !open.held.as_ref().is_some_and(is_open) {
            open.held = blobs.read(request.hash, request.len)?;
            blobs.touch(request.hash);
        }
        let Some(held) = &open.held else { return Ok(None) };
        match index {
            None => Ok(Some(held.outline().to_bytes())),
            Some(index) => held.piece(index).map(Some),
        }
    };
    match read() {
        Ok(part) => part,
        Err(error) => {
            tracing::warn!(file = %request.hash, %error, "a file cannot be given");
            if matches!(error, BlobError::Damaged) {
                drop(blobs.demote(request.hash));
            }
            None
        }
    }
}

async fn say(stream: &mut Compat<Box<dyn Duplex>>, bytes: &[u8]) -> Result<(), Error> {
    timeout(WRITE_PATIENCE, stream.write_all(bytes)).await?
}

/// Who is being answered: so many streams of one peer, and so many questions in a minute that are answered with nothing.
#[derive(Default)]
struct Guests(Mutex<BTreeMap<Peer, Guest>>);

struct Guest {
    streams: usize,
    since: Instant,
    unknown: u32,
}

impl Guests {
    fn come(&self, peer: Peer) -> bool {
        let mut guests = lock(&self.0);
        guests.retain(|_, guest| guest.streams > 0 || guest.since.elapsed() < MINUTE);
        if guests.len() >= GUESTS_MAX && !guests.contains_key(&peer) {
            return false;
        }
        let guest = guests.entry(peer).or_insert_with(|| Guest { streams: 0, since: Instant::now(), unknown: 0 });
        if guest.since.elapsed() >= MINUTE {
            (guest.since, guest.unknown) = (Instant::now(), 0);
        }
        let may_come = guest.streams < GIVEN_TO_ONE_MAX && guest.unknown < UNKNOWN_A_MINUTE_MAX;
        guest.streams += usize::from(may_come);
        may_come
    }

    fn go(&self, peer: Peer, was_unknown: bool) {
        if let Some(guest) = lock(&self.0).get_mut(&peer) {
            guest.streams = guest.streams.saturating_sub(1);
            guest.unknown = guest.unknown.saturating_add(u32::from(was_unknown));
        }
    }
}

/// Streams on which files are given at once, to all and to one: each has a piece in memory.
const GIVEN_MAX: usize = 16;
const GIVEN_TO_ONE_MAX: usize = 4;
/// Questions of one peer in a minute that are answered with nothing; an honest one asks again every few seconds.
const UNKNOWN_A_MINUTE_MAX: u32 = 60;
/// Peers that are remembered for a minute: as many as may be connected.
const GUESTS_MAX: usize = 1100;
const MINUTE: Duration = Duration::from_secs(60);
/// A stream on which nothing is asked for so long ends.
const REQUEST_PATIENCE: Duration = Duration::from_secs(30);
/// A peer that takes less than this in this time is left: about 2 KB/s.
const WRITTEN_AT_ONCE: usize = 64 * 1024;
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
