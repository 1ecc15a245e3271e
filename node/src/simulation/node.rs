//! A simulated node: the real store, writer, rules and conversations, without their threads, sockets and clocks.

use super::fate::{self, Dice};
use super::talk::Talk;
use crate::beacons::Beacons;
use crate::command::{Command, Reply};
use crate::home::Home;
use crate::keys::Keys;
use crate::rooms::{RoomView, Views};
use crate::sync::Leases;
use crate::sync::given_up::GivenUp;
use crate::sync::holdings::{DigestCache, NodeHoldings};
use crate::trim::{Budget, ReadBack};
use crate::writer::{Stored, WriteError, WriteLoop};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tempfile::TempDir;
use tidings_protocol::id::RoomId;
use tidings_protocol::identity::RecoveryPhrase;
use tidings_storage::Store;
use tokio::sync::{broadcast, mpsc, oneshot};

/// A node, up or down.
pub(super) struct Node {
    folder: TempDir,
    pub(super) keys: Arc<Keys>,
    pub(super) up: Option<Up>,
    /// Its entropy.
    pub(super) dice: Dice,
    /// How far its clock is off.
    pub(super) skew_ms: i64,
    /// How long each write-ahead log was when all of it was on disk, and before that.
    on_disk: BTreeMap<PathBuf, u64>,
    before: BTreeMap<PathBuf, u64>,
}

/// A node that runs.
pub(super) struct Up {
    pub(super) writer: WriteLoop,
    commands: mpsc::Sender<Command>,
    pub(super) stored: broadcast::Receiver<Arc<Stored>>,
    pub(super) freed: broadcast::Receiver<RoomId>,
    pub(super) store: Store,
    pub(super) views: Views,
    pub(super) leases: Leases,
    digests: DigestCache,
    pub(super) beacons: Beacons,
    budget: Arc<Budget>,
    pub(super) talks: BTreeMap<usize, Talk>,
}

impl Node {
    /// A node that has never run, of a user of its own.
    pub(super) fn new(seed: u64, number: usize, now_ms: u64, skew_ms: i64) -> Node {
        let mut dice = Dice::of(seed, 1_000 + number as u64);
        let folder = tempfile::tempdir_in(memory_folder()).unwrap();
        let keys = fate::with((now_ms, now_ms), &mut dice, || {
            let home = Home::open(&folder.path().join("home")).unwrap();
            let phrase = RecoveryPhrase::from_entropy(crate::keys::random());
            Keys::recover(&home, &phrase, "simulated").unwrap();
            let keys = Arc::new(Keys::open(&home).unwrap());
            copy_template(&home.store_path());
            keys
        });
        let (on_disk, before) = (BTreeMap::new(), BTreeMap::new());
        let mut node = Node { folder, keys, up: None, dice, skew_ms, on_disk, before };
        node.start(now_ms);
        node
    }

    /// Its clock, when it is so late in the world.
    pub(super) fn now_ms(&self, world_ms: u64) -> u64 {
        world_ms.saturating_add_signed(self.skew_ms)
    }

    fn store_path(&self) -> PathBuf {
        self.folder.path().join("home/store")
    }

    /// Starts, from what is on disk.
    pub(super) fn start(&mut self, world_ms: u64) {
        let now_ms = self.now_ms(world_ms);
        let (path, keys) = (self.store_path(), self.keys.clone());
        self.up = Some(fate::with((now_ms, world_ms), &mut self.dice, || Up::new(&path, keys)));
        self.before = self.logs();
        self.on_disk = self.logs();
    }

    /// Lets it act.
    pub(super) fn act<T>(&mut self, world_ms: u64, act: impl FnOnce(&mut Up) -> T) -> Option<T> {
        let now_ms = self.now_ms(world_ms);
        let up = self.up.as_mut()?;
        Some(fate::with((now_ms, world_ms), &mut self.dice, || act(up)))
    }

    /// Has the writer carry something out. The answer comes with the commit.
    pub(super) fn command<T>(
        &mut self,
        world_ms: u64,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Option<Result<T, WriteError>> {
        let (reply, mut answer) = oneshot::channel();
        self.order(world_ms, command(reply));
        self.up.as_ref()?;
        Some(answer.try_recv().unwrap())
    }

    /// The same for what is not answered.
    pub(super) fn order(&mut self, world_ms: u64, command: Command) {
        self.act(world_ms, |up| up.writer.round_by_hand(command).unwrap());
        self.note_logs();
    }

    /// Puts all on disk.
    pub(super) fn sync(&mut self, world_ms: u64) {
        self.act(world_ms, |up| up.writer.sync_by_hand().unwrap());
        self.note_logs();
    }

    /// Remembers how far the logs go, when all of them is on disk.
    fn note_logs(&mut self) {
        if self.up.as_ref().is_some_and(|up| up.writer.is_synced()) {
            let now = self.logs();
            self.before = std::mem::replace(&mut self.on_disk, now);
        }
    }

    fn logs(&self) -> BTreeMap<PathBuf, u64> {
        let files = fs::read_dir(self.store_path()).unwrap().map(|file| file.unwrap().path());
        let logs = files.filter(|path| path.extension().is_some_and(|ending| ending == "log"));
        logs.map(|path| (path.clone(), fs::metadata(&path).unwrap().len())).collect()
    }

    /// The power goes: of what was written and not on disk, so many hundredths are there. Returns how many bytes went.
    /// `forgets` takes what was on disk as well, which is a mistake built in.
    pub(super) fn crash(&mut self, kept: u64, forgets: bool) -> u64 {
        let mut gone = 0;
        // Closed first: nothing is flushed by that, as all of it is in the logs.
        self.up = None;
        for (path, len) in self.logs() {
            let sure = if forgets { &self.before } else { &self.on_disk }.get(&path).copied().unwrap_or(0).min(len);
            let left = if forgets { sure } else { sure + (len - sure) * kept / 100 };
            fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(left).unwrap();
            gone += len - left;
        }
        gone
    }
}

impl Up {
    fn new(path: &Path, keys: Arc<Keys>) -> Up {
        let (store, writer) = Store::open(path).unwrap();
        let (commands, queue) = mpsc::channel(64);
        let (news, stored) = broadcast::channel(4096);
        let (views, budget) = (Views::default(), Arc::new(Budget::new(None)));
        let mut writer = WriteLoop::new(writer, keys, views.clone(), queue, news, budget.clone()).unwrap();
        writer.begin_by_hand().unwrap();
        let leases = Leases::default();
        let beacons = Beacons::load(&store, commands.clone()).unwrap();
        let freed = leases.freed();
        let (digests, talks) = (DigestCache::default(), BTreeMap::new());
        Up { writer, commands, stored, freed, store, views, leases, digests, beacons, budget, talks }
    }

    /// What is held, towards one peer.
    pub(super) fn holdings(&self, peer: Vec<u8>) -> NodeHoldings {
        NodeHoldings {
            store: self.store.clone(),
            views: self.views.clone(),
            peer,
            leases: self.leases.clone(),
            digests: self.digests.clone(),
            beacons: self.beacons.clone(),
            read_back: ReadBack::default(),
            given_up: GivenUp::default(),
            budget: self.budget.clone(),
        }
    }

    pub(super) fn view(&self, room: RoomId) -> Option<Arc<RoomView>> {
        self.views.find(room)
    }

    /// Whether anybody could still give it commands: so that its channel stays open.
    pub(super) fn is_open(&self) -> bool {
        !self.commands.is_closed()
    }
}

/// The PeerId of a node.
pub(super) fn peer_id(node: usize) -> Vec<u8> {
    let number = u16::try_from(node).unwrap().to_be_bytes();
    [&[0x12, 0x20][..], &number, &[7; 30]].concat()
}

/// Where a sync costs nothing: what a power cut takes is taken by hand.
fn memory_folder() -> PathBuf {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() }
}

/// An empty store is made once and copied: RocksDB takes long to make one.
fn copy_template(to: &Path) {
    static TEMPLATE: OnceLock<TempDir> = OnceLock::new();
    let template = TEMPLATE.get_or_init(|| {
        let folder = tempfile::tempdir_in(memory_folder()).unwrap();
        drop(Store::open(&folder.path().join("store")).unwrap());
        folder
    });
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(template.path().join("store")).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}
