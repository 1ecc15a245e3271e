//! Fetching a file from the peers that have it, several at once. Each piece is checked before it counts; what is here
//! stays whatever happens, and the next try goes on from it.

use super::board::Board;
use super::room::{make_room, may_begin};
use super::{Fetching, FileError, Progress, lock, namings};
use crate::handle::NodeHandle;
use crate::network::{self, Duplex, Peer};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tidings_protocol::codec::encode;
use tidings_protocol::file::{FilePart, FileRequest, HERE, UNKNOWN_FILE, outline_len, piece_count, piece_len};
use tidings_protocol::id::FileHash;
use tidings_storage::blobs::{BlobError, Part};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};

impl NodeHandle {
    /// Begins to fetch a file, or watches how it is being fetched. It goes on until it is here, or until nothing has come
    /// for so long.
    pub(super) fn fetch(
        &self,
        hash: FileHash,
        len: u64,
        patience: Duration,
    ) -> Result<watch::Receiver<Progress>, FileError> {
        let files = &self.manager.files;
        if let Some(under_way) = lock(&files.fetches).get(&hash) {
            return Ok(under_way.progress.clone());
        }
        let (sender, progress) = watch::channel(Progress::default());
        if files.blobs.len(hash) == Some(len) {
            sender.send_replace(Progress { have: len, ended: Some(Ok(())), ..Progress::default() });
            return Ok(progress);
        }
        if !may_begin(files) {
            return Err(FileError::Busy);
        }
        // First, so that who else wants room leaves this its place.
        lock(&files.fetches).insert(hash, Fetching { len, progress: progress.clone() });
        let node = self.clone();
        tokio::spawn(async move {
            let ended = node.fetch_all(hash, len, patience, &sender).await;
            lock(&node.manager.files.fetches).remove(&hash);
            // What named it may have been erased while it was not to be taken away.
            let ended = match node.manager.store.names_file(hash) {
                Ok(false) => {
                    drop(node.sweep_files().await);
                    Err(FileError::Gone)
                }
                _ => ended,
            };
            sender.send_modify(|progress| (progress.ended, progress.sources) = (Some(ended.map_err(Arc::new)), 0));
        });
        Ok(progress)
    }

    async fn fetch_all(
        &self,
        hash: FileHash,
        len: u64,
        patience: Duration,
        progress: &watch::Sender<Progress>,
    ) -> Result<(), FileError> {
        let manager = self.manager.clone();
        let max = manager.budget.files_max();
        if len > max {
            return Err(FileError::OverQuota { len, max });
        }
        let _room = manager.budget.clone().admit_file(len).await?;
        let prepared = tokio::task::spawn_blocking(move || -> Result<Part, FileError> {
            make_room(&manager, hash, len)?;
            Ok(manager.files.blobs.part(hash, len)?)
        });
        let part = prepared.await.map_err(|_| FileError::Gone)??;
        let fetch = Arc::new(Fetch {
            hash,
            len,
            part,
            board: Mutex::new(Board::new(len)),
            progress: progress.clone(),
            looked: tokio::sync::OnceCell::new(),
        });
        fetch.clone().look().await?;
        self.ask_all(&fetch, patience).await?;
        let done = tokio::task::spawn_blocking(move || fetch.part.finish()).await;
        Ok(done.map_err(|_| FileError::Gone)??)
    }

    /// Asks those who have it, until all is here.
    async fn ask_all(&self, fetch: &Arc<Fetch>, patience: Duration) -> Result<(), FileError> {
        let mut asked: JoinSet<(Peer, Outcome)> = JoinSet::new();
        let mut asking: BTreeSet<Peer> = BTreeSet::new();
        let mut avoid: BTreeMap<Peer, Instant> = BTreeMap::new();
        let mut tick = tokio::time::interval(LOOK_EVERY);
        let (mut have, mut since) = (fetch.have(), Instant::now());
        loop {
            if lock(&fetch.board).is_whole() {
                return Ok(());
            }
            if fetch.have() > have {
                (have, since) = (fetch.have(), Instant::now());
            }
            if since.elapsed() > patience {
                return Err(FileError::NoSource { have, len: fetch.len });
            }
            tokio::select! {
                Some(Ok((peer, outcome))) = asked.join_next() => {
                    asking.remove(&peer);
                    let rest = match outcome {
                        Outcome::Nothing => Some(NOTHING_REST),
                        Outcome::Broken => Some(BROKEN_REST),
                        Outcome::Disk(error) => return Err(error.into()),
                        Outcome::False => {
                            self.fault(peer, fetch.hash).await;
                            None
                        }
                    };
                    let until = rest.map(|rest| Instant::now() + rest);
                    avoid.insert(peer, until.unwrap_or_else(|| Instant::now() + FALSE_REST));
                }
                _ = tick.tick() => {
                    avoid.retain(|_, until| *until > Instant::now());
                    let sources = if asking.len() < SOURCES_MAX { self.sources(fetch.hash)? } else { BTreeSet::new() };
                    for peer in sources {
                        if asking.len() < SOURCES_MAX && !avoid.contains_key(&peer) && asking.insert(peer) {
                            let (fetch, opener) = (fetch.clone(), self.manager.opener.clone());
                            asked.spawn(async move { (peer, ask(&fetch, &opener, peer).await) });
                        }
                    }
                }
            }
            fetch.progress.send_if_modified(|progress| {
                let changed = progress.sources != asking.len();
                progress.sources = asking.len();
                changed
            });
        }
    }

    /// The peers that share a room with us in which a file is named.
    fn sources(&self, hash: FileHash) -> Result<BTreeSet<Peer>, FileError> {
        let namings = tokio::task::block_in_place(|| namings(&self.manager, hash)).map_err(|_| FileError::Gone)?;
        if namings.is_empty() {
            return Err(FileError::Gone);
        }
        Ok(namings.iter().flat_map(|naming| self.manager.told.peers_sharing(naming.room)).collect())
    }

    /// A peer gave what is false: it is left alone for a while.
    async fn fault(&self, peer: Peer, hash: FileHash) {
        tracing::warn!(%peer, file = %hash, "a peer gave bytes that are not of the file");
        self.manager.redial.lock().unwrap_or_else(PoisonError::into_inner).faulted(peer);
        drop(self.manager.network.send(network::Command::Disconnect(peer)).await);
    }
}

/// A file that is being fetched.
struct Fetch {
    hash: FileHash,
    len: u64,
    part: Part,
    board: Mutex<Board>,
    progress: watch::Sender<Progress>,
    /// What lay here was looked at.
    looked: tokio::sync::OnceCell<()>,
}

/// Why a peer is asked no more, for now.
enum Outcome {
    /// It has nothing that is missing.
    Nothing,
    /// The stream broke, or there is none.
    Broken,
    /// What it gave is false.
    False,
    /// Our own disk failed.
    Disk(BlobError),
}

impl From<Error> for Outcome {
    fn from(_: Error) -> Self {
        Outcome::Broken
    }
}

impl From<tokio::time::error::Elapsed> for Outcome {
    fn from(_: tokio::time::error::Elapsed) -> Self {
        Outcome::Broken
    }
}

impl From<BlobError> for Outcome {
    fn from(error: BlobError) -> Self {
        Outcome::Disk(error)
    }
}

impl Fetch {
    fn have(&self) -> u64 {
        lock(&self.board).have()
    }

    /// Looks once which pieces lie here from an earlier try, as soon as there is an outline to tell by.
    async fn look(self: Arc<Self>) -> Result<(), BlobError> {
        if self.part.outline().is_none() {
            return Ok(());
        }
        let fetch = self.clone();
        let look = || async {
            let looked = tokio::task::spawn_blocking(move || {
                for index in 0..piece_count(fetch.len) {
                    if fetch.part.holds(index)? {
                        lock(&fetch.board).got(index);
                    }
                }
                Ok::<_, BlobError>(())
            });
            looked.await.unwrap_or_else(|_| Err(Error::from(ErrorKind::Interrupted).into()))
        };
        self.looked.get_or_try_init(look).await?;
        let have = self.have();
        self.progress.send_modify(|progress| progress.have = progress.have.max(have));
        Ok(())
    }

    /// Checks and keeps a piece that came; whether it is true.
    fn keep(&self, peer: Peer, index: u32, bytes: &[u8]) -> Result<bool, BlobError> {
        if !self.part.take(index, bytes)? {
            return Ok(false);
        }
        lock(&self.board).got(index);
        let (have, len) = (self.have(), bytes.len() as u64);
        self.progress.send_modify(|progress| {
            progress.have = have;
            progress.fetched = progress.fetched.saturating_add(len);
            if progress.from.len() < GIVERS_MAX || progress.from.contains_key(&peer) {
                let given = progress.from.entry(peer).or_default();
                *given = given.saturating_add(len);
            }
        });
        Ok(true)
    }
}

/// Asks one peer for what is missing, until it has no more to give.
async fn ask(fetch: &Arc<Fetch>, opener: &network::Opener, peer: Peer) -> Outcome {
    let asked = async {
        let stream = timeout(PATIENCE, opener.open_files(peer)).await?.ok_or(Outcome::Broken)?;
        let mut stream = stream.compat();
        if fetch.part.outline().is_none() {
            ask_outline(fetch, &mut stream).await?;
        }
        // Nobody asks for a piece before it is known what lies here.
        fetch.clone().look().await?;
        loop {
            let now = std::time::Instant::now();
            let run = lock(&fetch.board).take(now);
            let Some((first, count)) = run else { return Ok::<_, Outcome>(()) };
            let done = ask_pieces(fetch, peer, &mut stream, (first, count)).await;
            lock(&fetch.board).give_back(first, count, now);
            done?;
        }
    };
    match asked.await {
        Ok(()) => Outcome::Nothing,
        Err(outcome) => outcome,
    }
}

async fn ask_outline(fetch: &Fetch, stream: &mut Compat<Box<dyn Duplex>>) -> Result<(), Outcome> {
    request(fetch, stream, FilePart::Outline).await?;
    is_here(stream).await?;
    // Its length is known and bounded; memory grows with what comes.
    let (len, mut outline) = (outline_len(fetch.len), Vec::new());
    while outline.len() < len {
        let begin = outline.len();
        outline.resize(len.min(begin + READ_AT_ONCE), 0);
        timeout(PATIENCE, stream.read_exact(&mut outline[begin..])).await??;
    }
    match tokio::task::block_in_place(|| fetch.part.take_outline(&outline))? {
        true => Ok(()),
        false => Err(Outcome::False),
    }
}

async fn ask_pieces(
    fetch: &Fetch,
    peer: Peer,
    stream: &mut Compat<Box<dyn Duplex>>,
    (first, count): (u32, u32),
) -> Result<(), Outcome> {
    request(fetch, stream, FilePart::Pieces { first, count }).await?;
    for index in first..first.saturating_add(count) {
        is_here(stream).await?;
        let mut piece = vec![0; piece_len(fetch.len, index)];
        timeout(PATIENCE, stream.read_exact(&mut piece)).await??;
        if !tokio::task::block_in_place(|| fetch.keep(peer, index, &piece))? {
            return Err(Outcome::False);
        }
    }
    Ok(())
}

async fn request(fetch: &Fetch, stream: &mut Compat<Box<dyn Duplex>>, part: FilePart) -> Result<(), Outcome> {
    let bytes = encode(&FileRequest { hash: fetch.hash, len: fetch.len, part });
    timeout(PATIENCE, stream.write_all(&bytes)).await??;
    Ok(timeout(PATIENCE, stream.flush()).await??)
}

/// Whether what was asked for comes.
async fn is_here(stream: &mut Compat<Box<dyn Duplex>>) -> Result<(), Outcome> {
    match timeout(PATIENCE, stream.read_u8()).await?? {
        HERE => Ok(()),
        UNKNOWN_FILE => Err(Outcome::Nothing),
        _ => Err(Outcome::False),
    }
}

/// Peers asked at once for one file.
const SOURCES_MAX: usize = 4;
/// Peers of which it is told how much they gave.
const GIVERS_MAX: usize = 64;
/// How often it is looked who else has it.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A peer that has nothing is asked again after this: it may be fetching it itself.
const NOTHING_REST: Duration = Duration::from_secs(3);
/// One with which the stream broke.
const BROKEN_REST: Duration = Duration::from_secs(1);
/// One that gave what is false: longer than a file takes.
const FALSE_REST: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a piece, or as much of an outline, may take to come: 4 KB/s.
const PATIENCE: Duration = Duration::from_secs(60);
const READ_AT_ONCE: usize = 256 * 1024;
