//! Homes that cannot be used, and those that look so and can.

use super::{goes_on, somebody};
use crate::support::nodes::{Person, binary, refused};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use tidings_storage::Store;

const UP: [&str; 4] = ["up", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0"];

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// The program as somebody who may not do everything: for root, without the right to pass over permissions.
fn as_mortal(person: &Person, arguments: &[&str]) -> Command {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return person.command(arguments);
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]).arg(binary());
    command.arg("--home").arg(&person.home).args(arguments).env_remove("TIDINGS_HOME");
    command
}

#[test]
fn a_home_that_another_node_runs_in() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, history) = somebody(folder.path());
    let node: serde_json::Value = serde_json::from_slice(&fs::read(alice.home.join("node.json")).unwrap()).unwrap();
    let process = format!("in use by process {}", node["pid"]);
    alice.refused(1, &UP, &[&process, "--no-mdns", "tidings down", "pass another --home"]);
    // Its word is gone, and it runs all the same.
    fs::remove_file(alice.home.join("node.json")).unwrap();
    alice.refused(1, &UP, &[&process, "--no-mdns", "tidings down", "pass another --home"]);
    fs::write(alice.home.join("node.json"), serde_json::to_vec(&node).unwrap()).unwrap();
    goes_on(&alice, &history);
}

#[test]
fn a_store_that_another_program_has_open() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, history) = somebody(folder.path());
    alice.down();
    let held = Store::open(&alice.home.join("store")).unwrap();
    assert_eq!(Store::holder(&alice.home.join("store")), Some(std::process::id()));
    let process = format!("in use by process {}", std::process::id());
    alice.refused(1, &UP, &[&process, "pass another --home"]);
    drop(held);
    assert_eq!(Store::holder(&alice.home.join("store")), None);
    alice.up();
    goes_on(&alice, &history);
}

#[test]
fn a_home_that_one_may_not_use() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, history) = somebody(folder.path());
    set_mode(&alice.home, 0);
    for command in [&["status"][..], &["send", "zig", "text"], &["id"], &UP] {
        refused(1, &["alice", "permission denied", "choose another with --home DIR, or make it yours"], || {
            as_mortal(&alice, command)
        });
    }
    set_mode(&alice.home, 0o700);
    goes_on(&alice, &history);
    let history = alice.history("zig");
    alice.down();

    // One may look into it, and not write.
    set_mode(&alice.home, 0o500);
    set_mode(&alice.home.join("store"), 0o500);
    refused(1, &["ermission denied"], || as_mortal(&alice, &UP));
    set_mode(&alice.home.join("store"), 0o700);
    set_mode(&alice.home, 0o700);
    let shut = folder.path().join("shut");
    fs::create_dir(&shut).unwrap();
    set_mode(&shut, 0o500);
    let bob = Person::at(&shut, "bob");
    refused(1, &["shut/bob", "permission denied", "choose another with --home DIR"], || as_mortal(&bob, &UP));
    alice.up();
    goes_on(&alice, &history);
}

#[test]
fn a_home_that_is_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = Person::at(folder.path(), "file");
    fs::write(&file.home, "a file").unwrap();
    let below = Person::at(&file.home, "below");
    for command in [&["status"][..], &["id"], &UP] {
        file.refused(1, command, &["file: not a folder", "choose another with --home DIR"]);
        below.refused(1, command, &["below: not a folder", "choose another with --home DIR"]);
    }
    assert_eq!(fs::read(&file.home).unwrap(), b"a file");
    let nobody = Person::at(folder.path(), "");
    refused(2, &["--home <DIR>"], || {
        let mut command = Command::new(binary());
        command.args(["--home", "", "status"]).current_dir(&nobody.home);
        command
    });
}

#[test]
fn a_home_whose_path_is_longer_than_a_socket_takes() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = folder.path().join("run");
    fs::create_dir(&runtime).unwrap();
    let deep = folder.path().join("x".repeat(95)).join("y".repeat(95));
    fs::create_dir_all(&deep).unwrap();
    let mut alice = Person::at(&deep, "alice");
    alice.up();
    let node: serde_json::Value = serde_json::from_slice(&fs::read(alice.home.join("node.json")).unwrap()).unwrap();
    let socket = Path::new(node["socket"].as_str().unwrap()).to_owned();
    assert!(socket.as_os_str().len() < 108 && !socket.starts_with(&deep), "{socket:?}");
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(socket.parent().unwrap()).unwrap().mode() & 0o077, 0);
    alice.json(&["room", "create", "zig"]);
    alice.send("zig", "from far down");
    assert_eq!(alice.texts("zig"), ["from far down"]);
    alice.down();
    assert!(!socket.exists());

    // Where others may write they could put a socket of their own.
    let theirs = runtime.join(format!("tidings-{}", fs::metadata(&alice.home).unwrap().uid()));
    fs::create_dir(&theirs).unwrap();
    set_mode(&theirs, 0o777);
    refused(1, &["others may write there", "remove it, or set XDG_RUNTIME_DIR"], || {
        let mut command = alice.command(&UP);
        command.env("XDG_RUNTIME_DIR", &runtime);
        command
    });
    let endless = Person::at(folder.path(), &"z".repeat(300));
    endless.refused(1, &UP, &["the path is too long", "choose a shorter one with --home DIR"]);
}

#[test]
fn settings_that_do_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, history) = somebody(folder.path());
    alice.down();
    let file = alice.home.join("config.toml");
    let wrong: [(&[u8], &str); 5] = [
        (b"no_mdns = true\nlisten = [\n", "config.toml, line 2"),
        (b"colour = \"red\"\n", "unknown field `colour`"),
        (b"no_mdns = \"yes\"\n", "config.toml, line 1"),
        (b"\xff\xfe\x00", "config.toml: "),
        (b"federation = \"a b\"\n", "federation = \"a b\": use up to 64 letters"),
    ];
    for (bytes, says) in wrong {
        fs::write(&file, bytes).unwrap();
        for command in [&["config", "show"][..], &UP] {
            let todo =
                if says.starts_with("fed") { "use up to 64" } else { "mend it or remove it. Known keys: listen" };
            alice.refused(2, command, &[says, todo]);
        }
        assert_eq!(fs::read(&file).unwrap(), bytes);
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    alice.refused(2, &UP, &["config.toml: ", "mend it or remove it"]);
    fs::remove_dir(&file).unwrap();
    alice.up();
    goes_on(&alice, &history);
}

#[test]
fn a_node_key_that_became_another_one_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, history) = somebody(folder.path());
    let (before, file) = (alice.json(&["id"]), alice.home.join("node.key"));
    alice.down();
    let mut key = fs::read(&file).unwrap();
    key[7] ^= 8;
    fs::write(&file, key).unwrap();
    for is_told in [true, false] {
        let said = folder.path().join("said");
        let mut up = alice.command(&[&["--json"], &UP[..]].concat());
        up.stderr(fs::File::create(&said).unwrap());
        alice.up_by(up);
        let now = alice.json(&["id"]);
        assert!(now["device"] == before["device"] && now["peer"] != before["peer"]);
        let said = fs::read_to_string(said).unwrap();
        let (old, new) = (before["peer"].as_str().unwrap(), now["peer"].as_str().unwrap());
        let tells = ["another address", "node.key", old, new].iter().all(|words| said.contains(words));
        assert_eq!(tells, is_told, "{said}");
        if !is_told {
            goes_on(&alice, &history);
        }
        alice.down();
    }
}

#[test]
fn keys_that_are_damaged_missing_or_open_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, history) = somebody(folder.path());
    let identity = alice.json(&["id"]);
    alice.down();
    for name in ["user.key", "device.key", "node.key"] {
        let file = alice.home.join(name);
        let key = fs::read(&file).unwrap();
        for bytes in [b"".as_slice(), &key[..31], &[&key[..], b"\n"].concat(), &[0; 32], &[255; 32]] {
            fs::write(&file, bytes).unwrap();
            for command in [&["id"][..], &UP] {
                alice.refused(1, command, &[name, "this file is damaged: restore it from a copy"]);
            }
        }
        // Out of the way and back: another file in its place, with the same bytes, would make this a copied home.
        let away = file.with_extension("away");
        fs::rename(&file, &away).unwrap();
        alice.refused(1, &UP, &[name, "missing: restore it from a copy, or start over with a fresh --home"]);
        assert!(!file.exists(), "a fresh key stands where an old one was");
        fs::rename(&away, &file).unwrap();
        fs::write(&file, &key).unwrap();
        set_mode(&file, 0o640);
        alice.refused(1, &UP, &[name, "others can read this key", "tidings doctor --fix", "can speak as you"]);
        let doctor = alice.run(&["--json", "doctor", "--fix"]).stdout;
        assert!(!String::from_utf8_lossy(&doctor).contains(name), "the doctor did not mend {name}");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    }
    let created = alice.home.join("created");
    let made = fs::read(&created).unwrap();
    fs::write(&created, "yesterday").unwrap();
    alice.refused(1, &UP, &["created: this file is damaged"]);
    fs::write(&created, made).unwrap();
    alice.up();
    assert_eq!(alice.json(&["id"])["user"], identity["user"]);
    goes_on(&alice, &history);
}
