//! Nodes as people run them: the real binary, own homes, loopback only. Every process ends with its test.

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};
use tidings_node::api::client::Client;
use tidings_storage::{StorageError, Store};

/// The program under test. Fails when it is missing, or older than what it is made of.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("tidings");
    let built = fs::metadata(&path).and_then(|m| m.modified());
    let built = built.unwrap_or_else(|_| panic!("{} is not there: make build", path.display()));
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    for folder in ["protocol/src", "storage/src", "node/src"] {
        let newest = newest(&root.join(folder));
        assert!(built >= newest, "{} is older than {folder}: make build", path.display());
    }
    path
}

fn newest(folder: &Path) -> SystemTime {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        // Unit tests are not part of the program.
        if path.file_stem().is_some_and(|name| name.to_string_lossy().ends_with("tests")) {
            continue;
        }
        let time = match path.is_dir() {
            true => self::newest(&path),
            false if path.extension().is_some_and(|e| e == "rs") => entry.metadata().unwrap().modified().unwrap(),
            false => continue,
        };
        newest = newest.max(time);
    }
    newest
}

/// A person with a home, and a node that may run in it.
pub struct Person {
    pub home: PathBuf,
    node: Option<Child>,
    /// What `up` printed when it was ready.
    pub ready: Value,
    /// The test has damaged what is kept here: it is not verified in the end.
    pub is_harmed: bool,
}

impl Person {
    /// A fresh home, nothing running.
    pub fn at(folder: &Path, name: &str) -> Person {
        Person { home: folder.join(name), node: None, ready: Value::Null, is_harmed: false }
    }

    /// Starts a node and waits until it says that it is ready.
    pub fn up(&mut self) -> &mut Self {
        self.up_with(&["--listen", "/ip4/127.0.0.1/tcp/0"])
    }

    pub fn up_with(&mut self, flags: &[&str]) -> &mut Self {
        let mut command = self.command(&["--json", "up", "--no-mdns"]);
        command.args(flags);
        self.up_by(command)
    }

    /// Starts a node by a command of one's own, which has to become `up`.
    pub fn up_by(&mut self, mut command: Command) -> &mut Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not ready: {line}"));
        self.node = Some(child);
        self
    }

    /// The same where it may be refused: then the code, and what was said.
    pub fn try_up(&mut self, mut command: Command) -> Result<(), (Option<i32>, String)> {
        let said = self.home.with_extension("said");
        let mut child = command.stdout(Stdio::piped()).stderr(fs::File::create(&said).unwrap()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        match serde_json::from_str::<Value>(&line).ok().filter(|ready| ready["ready"] == true) {
            Some(ready) => {
                (self.ready, self.node) = (ready, Some(child));
                Ok(())
            }
            None => Err((child.wait().unwrap().code(), fs::read_to_string(said).unwrap())),
        }
    }

    /// Ends the node as a power cut of the process would.
    pub fn kill(&mut self) {
        if let Some(mut node) = self.node.take() {
            node.kill().unwrap();
            node.wait().unwrap();
        }
    }

    /// Waits until the node has ended by itself; its code, none where a signal ended it.
    pub fn ended(&mut self) -> Option<i32> {
        self.node.take().unwrap().wait().unwrap().code()
    }

    /// Talks to the node that runs.
    pub fn client(&self) -> Client {
        let node: Value = serde_json::from_slice(&fs::read(self.home.join("node.json")).unwrap()).unwrap();
        Client::new(node["socket"].as_str().unwrap().into())
    }

    /// Stops the node as one should.
    pub fn down(&mut self) {
        self.done(&["down"]);
        if let Some(mut node) = self.node.take() {
            assert!(node.wait().unwrap().success());
        }
    }

    /// The most memory that the node has had so far.
    pub fn peak_memory_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.node.as_ref().unwrap().id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim_end_matches("kB").trim().parse().unwrap()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.arg("--home").arg(&self.home).args(arguments).env_remove("TIDINGS_HOME").stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that has to work; its JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.done(&[&["--json"], arguments].concat());
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{arguments:?} printed {text}"))
    }

    /// Runs a command that has to work; what it printed.
    pub fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?} failed: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that has to fail with this code; what it said.
    pub fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(!error.trim().is_empty(), "{arguments:?} failed without a word");
        error
    }

    /// Runs a command that has to fail, as `refused` does.
    pub fn refused(&self, code: i32, arguments: &[&str], says: &[&str]) {
        refused(code, says, || self.command(arguments));
    }

    /// All that this node holds of a room, proven: equal histories are equal bytes.
    pub fn history(&self, room: &str) -> Vec<u8> {
        let file = self.home.with_extension("export");
        self.done(&["export", room, "--output", file.to_str().unwrap()]);
        self.done(&["verify", file.to_str().unwrap()]);
        fs::read(file).unwrap()
    }

    /// The texts of a room, oldest first.
    pub fn texts(&self, room: &str) -> Vec<String> {
        self.lines(room).iter().map(|line| line["text"].as_str().unwrap_or("(gap)").to_owned()).collect()
    }

    pub fn lines(&self, room: &str) -> Vec<Value> {
        let text = self.done(&["--json", "read", room, "--limit", "1000"]);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until a room shows so many messages; their ids, oldest first. Fails after a minute.
    pub fn until_shown(&self, room: &str, count: usize) -> Vec<String> {
        let began = Instant::now();
        loop {
            let ids: Vec<String> =
                self.lines(room).iter().filter_map(|line| line["id"].as_str().map(str::to_owned)).collect();
            if ids.len() >= count {
                return ids;
            }
            let is_late = began.elapsed() > Duration::from_secs(60);
            assert!(!is_late, "{} of {count} messages after a minute: {}", ids.len(), self.json(&["peers"]));
        }
    }

    /// What comes into a room from now on, and its newest page before.
    pub fn follow(&self, room: &str) -> Follow {
        self.follow_with(room, &[])
    }

    /// The same, of only some messages.
    pub fn follow_with(&self, room: &str, which: &[&str]) -> Follow {
        let arguments = ["--json", "read", room, "--follow", "--limit", "1000"];
        let mut child = self.command(&[&arguments, which].concat()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Follow { child, lines }
    }

    /// An invite link for a room.
    pub fn link(&self, room: &str) -> String {
        self.json(&["room", "invite", room])["link"].as_str().unwrap().to_owned()
    }

    /// Sends a text; the id of what is on disk.
    pub fn send(&self, room: &str, text: &str) -> String {
        let sent = self.json(&["send", room, text]);
        assert_eq!(sent["durable"], true);
        sent["id"].as_str().unwrap().to_owned()
    }
}

/// Whatever a test did, what is kept in the end is whole.
impl Drop for Person {
    fn drop(&mut self) {
        self.kill();
        if !std::thread::panicking() && !self.is_harmed {
            assert_whole(&self.home.join("store"));
        }
    }
}

/// Fails unless everything in a store verifies. One that is not there, or in use, is passed over.
fn assert_whole(store: &Path) {
    if !store.join("CURRENT").exists() {
        return;
    }
    match Store::open_read_only(store) {
        Err(StorageError::Held) => {}
        opened => {
            let verified = opened.unwrap().verify(&mut |_| true).unwrap();
            assert_eq!(verified.flaw_count, 0, "{}: {:#?}", store.display(), verified.flaws);
        }
    }
}

/// Runs a command that has to fail with this code, as people do and as programs do: either way nothing but the answer is
/// on stdout, nothing panics, and one is told all of `says`.
pub fn refused(code: i32, says: &[&str], command: impl Fn() -> Command) {
    let what = format!("{:?}", command().get_args().map(|a| shortened(&a.to_string_lossy())).collect::<Vec<_>>());
    let plain = command().output().unwrap();
    let error = String::from_utf8_lossy(&plain.stderr);
    assert_eq!(plain.status.code(), Some(code), "{what}: {error}");
    assert_eq!(String::from_utf8_lossy(&plain.stdout), "", "{what}");
    let json = command().arg("--json").output().unwrap();
    assert_eq!(json.status.code(), Some(code), "{what} --json");
    let value: Value = serde_json::from_slice(&json.stdout).unwrap_or_else(|e| panic!("{what} --json: {e}"));
    assert_eq!(value["error"]["exit"], code, "{what}: {value}");
    let told = format!("{} {}", value["error"]["title"], value["error"]["detail"]);
    for word in says {
        assert!(error.contains(word), "{what} does not say {word:?} but: {error}");
        assert!(told.contains(&word.replace('"', "\\\"")), "{what} --json does not say {word:?} but: {told}");
    }
    assert!(!error.contains("panicked"), "{what}: {error}");
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

/// A running `read --follow --json`.
pub struct Follow {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Follow {
    /// The next line for which `wanted` holds. A test that waits for ever is ended by the runner.
    pub fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let mut text = String::new();
            assert!(self.lines.read_line(&mut text).unwrap() > 0, "the stream ended");
            let line: Value = serde_json::from_str(&text).unwrap();
            if wanted(&line) {
                return line;
            }
        }
    }

    /// The next line; none when the node is gone.
    pub fn next_line(&mut self) -> Option<Value> {
        let mut text = String::new();
        if self.lines.read_line(&mut text).unwrap() == 0 { None } else { serde_json::from_str(&text).ok() }
    }

    pub fn until_id(&mut self, id: &str) -> Value {
        self.until(|line| line["id"] == id)
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
