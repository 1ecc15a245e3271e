//! SIGKILL at a moment of one's choice, what was under way then, and an oracle: what was acknowledged before, written down on
//! another file system where there is one.

use super::nodes::Person;
use super::shim::{Numbers, Work};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What was under way when a node died.
#[derive(Debug, Clone, Copy)]
pub struct Death {
    pub in_batch: bool,
    pub in_flush: bool,
    pub in_compaction: bool,
    pub after_ms: u64,
}

/// Kills a node once this time is over, or as soon afterwards as it is at that work.
pub fn kill(person: &mut Person, numbers: &Numbers, due: Duration, aim: Option<Work>) -> Death {
    let began = Instant::now();
    loop {
        let elapsed = began.elapsed();
        let is_there = aim.is_none_or(|work| numbers.is_inside(work));
        if elapsed >= due && (is_there || elapsed > due + AIMS_FOR) {
            break;
        }
        std::hint::spin_loop();
    }
    person.kill();
    under_way(numbers, began.elapsed())
}

/// What is under way, or was when the node died.
pub fn under_way(numbers: &Numbers, after: Duration) -> Death {
    Death {
        in_batch: numbers.is_inside(Work::Batch),
        in_flush: numbers.is_inside(Work::Flush),
        in_compaction: numbers.is_inside(Work::Compaction),
        after_ms: u64::try_from(after.as_millis()).unwrap(),
    }
}

/// What a node has acknowledged, on disk before it counts.
pub struct Oracle {
    file: Mutex<Option<File>>,
    is_sealed: AtomicBool,
    path: tempfile::TempPath,
}

impl Oracle {
    pub fn new() -> Oracle {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let (file, path) = tempfile::NamedTempFile::new_in(folder).unwrap().into_parts();
        Oracle { file: Mutex::new(Some(file)), is_sealed: AtomicBool::new(false), path }
    }

    pub fn note(&self, what: &str) {
        let mut file = self.file.lock().unwrap();
        if let Some(file) = file.as_mut().filter(|_| !self.is_sealed.load(Ordering::Relaxed)) {
            writeln!(file, "{what}").unwrap();
            file.sync_data().unwrap();
        }
    }

    /// Nothing more counts; whoever talks goes on.
    pub fn seal(&self) {
        let _file = self.file.lock().unwrap();
        self.is_sealed.store(true, Ordering::Relaxed);
    }

    /// Nothing more counts, and nobody is to go on.
    pub fn close(&self) {
        self.file.lock().unwrap().take();
    }

    pub fn is_closed(&self) -> bool {
        self.file.lock().unwrap().is_none()
    }

    pub fn noted(&self) -> Vec<String> {
        fs::read_to_string(&self.path).unwrap().lines().map(str::to_owned).collect()
    }
}

/// Who waits for some work to be under way waits no longer than this.
const AIMS_FOR: Duration = Duration::from_secs(2);
