//! A node: the writer's thread, the swarm's task and the sync manager, started and stopped together. `NodeHandle` is what
//! everything else talks to.

use crate::account;
use crate::audit::Audits;
use crate::beacons::{self, Beacons, Sharing};
use crate::clock::now_ms;
use crate::command::Command;
use crate::config::Settings;
use crate::enrol::{self, Enrolment};
use crate::erasing;
use crate::files::{self, Files};
use crate::handle::NodeHandle;
use crate::home::{Home, HomeError};
use crate::keys::{ADDRESS_NOTE, BIRTH_NOTE, Keys, random};
use crate::lookup::{Lookup, LookupSetupError};
use crate::network::redial::Redial;
use crate::network::{self, NetworkConfig, NetworkError, PeerAddress};
use crate::people::People;
use crate::purge;
use crate::rooms::Views;
use crate::sync::{Leases, Live, Manager, PeerNews, SealedTips, Told, run as run_sync};
use crate::teams;
use crate::trim::{self, Budget, ReadBack};
use crate::upkeep::{self, MendError};
use crate::writer::WriteLoop;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;
use tidings_storage::blobs::BlobError;
use tidings_storage::{Durability, StorageError, Store, Writer};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// A running node. Dropping it without `stop` loses nothing that was acknowledged, and waits until its files are closed.
pub struct Node {
    handle: NodeHandle,
    tasks: Vec<JoinHandle<()>>,
    writer: Option<std::thread::JoinHandle<()>>,
    failed: watch::Receiver<Option<String>>,
}

/// Why a node did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The home folder.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Another process has the store.
    #[error("{home} is in use by {holder}: use that node, stop it with `tidings down`, or pass another --home")]
    Held {
        /// The home.
        home: PathBuf,
        /// Who: a process and its command, as far as they are known.
        holder: String,
    },
    /// The store.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// So much of the store is damaged that a room is not known any more.
    #[error(transparent)]
    Damaged(MendError),
    /// The network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// An address of a peer in the settings.
    #[error(transparent)]
    Peer(#[from] network::AddressError),
    /// Settings for asking domains.
    #[error(transparent)]
    Names(#[from] LookupSetupError),
    /// The folder of files.
    #[error(transparent)]
    Files(#[from] BlobError),
    /// No thread could be started.
    #[error("no thread for the writer: {0}")]
    Thread(#[source] std::io::Error),
}

impl Node {
    /// Starts a node in this home; it listens when this returns.
    ///
    /// # Errors
    /// `StartError`.
    pub async fn start(home: &Home, settings: &Settings) -> Result<Node, StartError> {
        let peers: Vec<PeerAddress> = settings.peers.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        let lookup = Lookup::new(settings)?;
        // Until the store is open, which nobody else can open then: it may have to be made anew before, and the keys made.
        let Some(_starting) = home.hold()? else { return Err(held(home)) };
        upkeep::finish(home)?;
        let keys = Keys::open(home)?;
        let (store, mut writer) = match upkeep::open(home, keys.user, settings.disk_max_bytes) {
            Err(MendError::Storage(StorageError::Held)) => return Err(held(home)),
            Err(MendError::Storage(error)) => return Err(error.into()),
            Err(MendError::Home(error)) => return Err(error.into()),
            Err(error @ MendError::Control { .. }) => return Err(StartError::Damaged(error)),
            Ok(opened) => opened,
        };
        let keys = Arc::new(as_original(home, keys, &mut writer)?);
        let listen = if settings.listen.is_empty() { default_listen(home)? } else { settings.listen.clone() };
        let network = network::start(&NetworkConfig {
            seed: *keys.node_seed,
            federation: settings.federation.clone(),
            listen,
            mdns: !settings.no_mdns,
        })?;
        let budget = Arc::new(Budget::new(settings.disk_max_bytes));
        let files = Files::open(home.path().join("files"), settings.files_quota().min(budget.files_max()))?;
        let (commands, queue) = mpsc::channel(COMMANDS_MAX);
        let (stored, _) = broadcast::channel(NEWS_MAX);
        let (peers_changed, _) = broadcast::channel(NEWS_MAX);
        let (account, wishes) = mpsc::channel(WISHES_MAX);
        let views = Views::default();
        let write_loop = WriteLoop::new(writer, keys.clone(), views.clone(), queue, stored.clone(), budget.clone())?;
        let manager = Arc::new(Manager {
            us: network.peer,
            federation: settings.federation.clone(),
            store: store.clone(),
            views: views.clone(),
            keys: keys.clone(),
            commands: commands.clone(),
            stored,
            network: network.commands.clone(),
            opener: network.opener.clone(),
            talking: TaskTracker::new(),
            leases: Leases::default(),
            room: crate::sync::Room::default(),
            told: Told::default(),
            digests: Arc::default(),
            beacons: Beacons::load(&store, commands.clone())?,
            sharing: Sharing::new(settings.shares_read(), settings.shares_typing(), settings.shares_presence()),
            tips: SealedTips::default(),
            redial: Arc::new(Mutex::new(Redial::default())),
            listening: Arc::new(Mutex::new(BTreeSet::new())),
            seen: Arc::new(Mutex::new(BTreeMap::new())),
            invites: tokio::sync::Mutex::default(),
            account,
            enrolment: Enrolment::default(),
            peers_changed,
            people: People::load(&store)?,
            lookup,
            purging: tokio::sync::Mutex::default(),
            upkeep: Mutex::default(),
            files,
            live: Live::new(settings.live_budget(), budget.clone()),
            audits: Audits::default(),
            budget,
            read_back: ReadBack::default(),
            reading_back: tokio::sync::Mutex::default(),
        });
        let handle = NodeHandle { manager: manager.clone(), started: Instant::now() };
        handle.enforce_kept_bans().await;
        remember_peers(&handle, peers)?;
        // The last that can fail: a thread that is left behind with the store would break the end of the process.
        let (fail, failed) = watch::channel(None);
        let writer = start_writer(write_loop, fail)?;
        let sync = tokio::spawn(run_sync(manager, network.events, network.incoming));
        let care = tokio::spawn(take_care(handle.clone()));
        let speak = tokio::spawn(beacons::run(handle.clone()));
        let purge = tokio::spawn(purge::resume(handle.clone()));
        let account = tokio::spawn(account::run(handle.clone(), wishes));
        let enrol = tokio::spawn(enrol::answer_all(handle.clone(), network.enrolments));
        let teams = tokio::spawn(teams::run(handle.clone()));
        let give = tokio::spawn(files::answer_all(handle.clone(), network.files));
        let sweep = tokio::spawn(files::sweep_always(handle.clone()));
        let shred = tokio::spawn(erasing::shred_always(handle.clone()));
        let trim = tokio::spawn(trim::run(handle.clone()));
        let tasks = vec![sync, care, speak, purge, account, enrol, teams, give, sweep, shred, trim];
        Ok(Node { handle, tasks, writer: Some(writer), failed })
    }

    /// What to talk to the node with.
    pub fn handle(&self) -> NodeHandle {
        self.handle.clone()
    }

    /// Returns when the node cannot go on (a full disk, a failed sync), with the reason.
    pub async fn failed(&self) -> String {
        let mut failed = self.failed.clone();
        let reason = failed.wait_for(Option::is_some).await.ok().and_then(|r| r.clone());
        reason.unwrap_or_else(|| "the writer has stopped".to_owned())
    }

    /// Stops the node: everything committed is on disk when this returns.
    pub async fn stop(mut self) {
        // A writer that waits for the disk keeps no task from being stopped.
        let until = tokio::time::Instant::now() + STOP_TIMEOUT;
        drop(tokio::time::timeout_at(until, self.handle.keep_peers()).await);
        self.tasks.iter().for_each(JoinHandle::abort);
        for task in self.tasks.drain(..) {
            drop(task.await);
        }
        let talking = &self.handle.manager.talking;
        talking.close();
        drop(tokio::time::timeout_at(until, talking.wait()).await);
        let (stopped, done) = oneshot::channel();
        if self.handle.manager.commands.send(Command::Stop(stopped)).await.is_ok() {
            drop(tokio::time::timeout_at(until, done).await);
        }
        if let Some(writer) = self.writer.take() {
            drop(tokio::task::spawn_blocking(move || writer.join()).await);
        }
    }
}

/// The store has to be closed before the process ends: RocksDB aborts a process that ends while a thread still works in it.
impl Drop for Node {
    fn drop(&mut self) {
        let Some(writer) = self.writer.take() else { return };
        self.tasks.iter().for_each(JoinHandle::abort);
        let mut stop = Command::Stop(oneshot::channel().0);
        // The writer goes on as long as it is there, so that there is room soon.
        while let Err(TrySendError::Full(again)) = self.handle.manager.commands.try_send(stop) {
            stop = again;
            std::thread::sleep(DROP_POLL);
        }
        drop(writer.join());
    }
}

/// The keys of a home that is no copy. A copied or restored one may not know what was written elsewhere by the same device,
/// and would use the same places again: before anything is written another device takes its place, or, without the words,
/// none.
fn as_original(home: &Home, mut keys: Keys, writer: &mut Writer) -> Result<Keys, StartError> {
    let lost = writer.store().lost_rows();
    if lost > 0 {
        tracing::error!(
            lost,
            "the end of the write-ahead log was damaged: its rows are lost, and what they held is fetched from peers"
        );
    }
    // What was said and is lost may be at others: its places are never used again.
    let kept = writer.store().note(BIRTH_NOTE)?.filter(|_| lost == 0);
    let is_original = keys.is_copied() || keys.is_original(kept.as_deref())?;
    if !is_original {
        if keys.renew()? {
            tracing::warn!("this home was copied or restored: this is a new device of its user now");
            keys = Keys::open(home)?;
        } else {
            tracing::error!("this home was copied or restored, and the words are not here: nothing is said from here");
        }
    }
    let birth = keys.birth()?;
    if kept.as_ref() != Some(&birth) {
        let mut batch = writer.begin();
        batch.put_note(BIRTH_NOTE, &birth)?;
        batch.commit(Durability::Synced)?;
    }
    keys.settled();
    note_address(&keys, is_original, writer)?;
    Ok(keys)
}

/// A node key of which a bit has flipped is as good as any, and another address: that is told once.
fn note_address(keys: &Keys, is_original: bool, writer: &mut Writer) -> Result<(), StorageError> {
    let Some(now) = network::peer_of(*keys.node_seed).map(|peer| peer.to_string()) else { return Ok(()) };
    let kept = writer.store().note(ADDRESS_NOTE)?;
    if kept.as_deref() == Some(now.as_bytes()) {
        return Ok(());
    }
    if let Some(before) = kept.filter(|_| is_original).and_then(|before| String::from_utf8(before).ok()) {
        tracing::warn!(
            now,
            before,
            "this node has another address, as node.key is another one: links and peers that name the old one do not find \
             it; with a copy of the old node.key it is that one again"
        );
    }
    let mut batch = writer.begin();
    batch.put_note(ADDRESS_NOTE, now.as_bytes())?;
    batch.commit(Durability::Synced)
}

fn held(home: &Home) -> StartError {
    let running = home.running();
    let pid = Store::holder(&home.store_path()).or(running.as_ref().map(|r| r.pid));
    let holder = pid.map_or("another process".to_owned(), |pid| {
        let command = running.filter(|r| r.pid == pid).map_or_else(|| command_of(pid), |r| r.command);
        format!("process {pid} ({command})")
    });
    StartError::Held { home: home.path().to_owned(), holder }
}

fn command_of(pid: u32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = line.split(|byte| *byte == 0).filter(|w| !w.is_empty()).map(String::from_utf8_lossy).collect();
    if words.is_empty() { "unknown".to_owned() } else { words.join(" ") }
}

fn start_writer(
    write_loop: WriteLoop,
    fail: watch::Sender<Option<String>>,
) -> Result<std::thread::JoinHandle<()>, StartError> {
    let runtime = tokio::runtime::Handle::current();
    let body = move || {
        if let Err(error) = write_loop.run(&runtime) {
            tracing::error!(%error, "the store failed; stopping");
            drop(fail.send(Some(error.to_string())));
        }
    };
    std::thread::Builder::new().name("writer".into()).spawn(body).map_err(StartError::Thread)
}

/// All interfaces, tcp and quic, on a port that is chosen once and kept.
fn default_listen(home: &Home) -> Result<Vec<String>, StartError> {
    let kept = home.read_secret("port")?.and_then(|b| String::from_utf8_lossy(&b).trim().parse::<u16>().ok());
    let port = match kept {
        Some(port) => port,
        None => {
            let free = std::net::TcpListener::bind(("0.0.0.0", 0)).and_then(|l| l.local_addr()).map(|a| a.port());
            let port = free.map_err(|e| NetworkError::Setup(e.to_string()))?;
            home.write_secret("port", port.to_string().as_bytes())?;
            port
        }
    };
    Ok(vec![format!("/ip4/0.0.0.0/tcp/{port}"), format!("/ip4/0.0.0.0/udp/{port}/quic-v1")])
}

/// Peers of the settings, of earlier runs, and of rooms are dialled from the start.
fn remember_peers(handle: &NodeHandle, mut addresses: Vec<PeerAddress>) -> Result<(), StartError> {
    let manager = &handle.manager;
    let kept = manager.store.note(PEERS_NOTE)?.unwrap_or_default();
    let kept: Vec<String> = serde_json::from_slice(&kept).unwrap_or_default();
    let of_rooms = manager.views.all().into_iter().flat_map(|(_, view)| view.row.addresses.clone());
    addresses.extend(of_rooms.filter_map(|text| text.parse().ok()));
    let kept: Vec<PeerAddress> = kept.iter().filter_map(|text| text.parse().ok()).collect();
    let mut redial = manager.redial.lock().unwrap_or_else(PoisonError::into_inner);
    addresses.iter().filter(|a| a.peer != manager.us).for_each(|a| redial.name(a));
    kept.iter().filter(|a| a.peer != manager.us).for_each(|a| redial.remember(a));
    Ok(())
}

/// What has to be done now and then: remember peers, as soon as they are met; give back memory, close invites that have
/// expired, erase what is due.
async fn take_care(handle: NodeHandle) {
    let mut often = tokio::time::interval(Duration::from_secs(20));
    often.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut peers = handle.manager.peers_changed.subscribe();
    let mut last_hour = now_ms();
    loop {
        tokio::select! {
            _ = often.tick() => {}
            news = peers.recv() => {
                match news {
                    Ok(PeerNews::Told(..) | PeerNews::People | PeerNews::LetIn { .. }) => {}
                    Ok(PeerNews::Peers) | Err(RecvError::Lagged(_)) => handle.keep_peers().await,
                    Err(RecvError::Closed) => return,
                }
                continue;
            }
        }
        drop(tokio::task::spawn_blocking(crate::memory::give_back).await);
        handle.keep_peers().await;
        handle.close_expired_invites().await;
        if now_ms().saturating_sub(last_hour) > 60 * 60 * 1000 {
            last_hour = now_ms();
            let store = handle.store().clone();
            drop(tokio::task::spawn_blocking(move || store.forget_old_copies()).await);
            drop(handle.manager.commands.send(Command::Erasures).await);
        }
    }
}

/// The note that keeps the addresses of peers.
pub(crate) const PEERS_NOTE: &str = "peers";
/// Commands that may wait for the writer.
const COMMANDS_MAX: usize = 1024;
/// News that a slow listener may still learn of; one that lags compares anew.
const NEWS_MAX: usize = 4096;
/// How often a node that is dropped tries to tell its writer.
const DROP_POLL: Duration = Duration::from_millis(1);
/// Wishes that may wait for the account's task.
const WISHES_MAX: usize = 64;
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// Fresh entropy for tokens.
pub fn fresh_token() -> String {
    tidings_protocol::id::base32::to_text(&random::<20>())
}
