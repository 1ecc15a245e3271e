//! Three people, one cut off from the others by a network of her own, all writing; a copy of her device writes on the other
//! side, so that her log forks. Healed, all hold and show the same.

use super::nodes::{Person, binary};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// What it came to.
#[derive(Debug)]
pub struct Healed {
    /// Messages that everybody shows, in one order.
    pub messages: usize,
    /// Those of the device that wrote on both sides.
    pub forked: usize,
}

/// `None` where the system lets nobody make a network of their own.
pub fn heal(folder: &Path) -> Option<Healed> {
    if !can_be_alone() {
        return None;
    }
    fs::create_dir_all(folder).unwrap();
    let mut people = ["alice", "bob", "carol"].map(|name| Person::at(folder, name));
    let [alice, bob, carol] = &mut people;
    for person in [&mut *alice, bob, carol] {
        person.up();
    }
    alice.done(&["room", "create", "lab"]);
    let link = alice.link("lab");
    for person in [&*bob, &*carol] {
        person.done(&["room", "join", &link, "--wait", "10s"]);
    }
    let mut count = say(&[("alice", alice), ("bob", bob), ("carol", carol)], "together");
    for person in [&*alice, &*bob, &*carol] {
        person.until_shown("lab", count);
    }

    carol.down();
    copy(&carol.home, &folder.join("twin"));
    // The same device at another node.
    fs::write(folder.join("twin/node.key"), std::array::from_fn::<u8, 32, _>(|n| n as u8)).unwrap();
    let mut twin = Person::at(folder, "twin");
    twin.up();
    up_alone(carol);
    let alone = say(&[("carol", carol)], "alone");
    let forked = say(&[("twin", &twin)], "from the copy");
    let others = say(&[("alice", alice), ("bob", bob)], "meanwhile");
    for person in [&*alice, &*bob, &twin] {
        person.until_shown("lab", count + others + forked);
    }
    assert_eq!(carol.lines("lab").len(), count + alone, "she is not cut off");
    twin.down();
    carol.down();
    carol.up();
    count += alone + others + forked;

    let mut shown = BTreeSet::new();
    let mut exports = BTreeSet::new();
    for person in [&*alice, &*bob, &*carol] {
        shown.insert(person.until_shown("lab", count));
    }
    for person in [&*alice, &*bob, &*carol] {
        let file = person.home.join("export");
        person.done(&["export", "lab", "--output", &file.to_string_lossy()]);
        person.done(&["verify", &file.to_string_lossy()]);
        exports.insert(fs::read(file).unwrap());
    }
    assert_eq!((shown.len(), exports.len()), (1, 1), "they do not show or hold the same");
    // Life goes on after it, from every side.
    let more = say(&[("carol", carol), ("bob", bob), ("alice", alice)], "together again");
    for person in [&*alice, &*bob, &*carol] {
        person.until_shown("lab", count + more);
    }
    Some(Healed { messages: count, forked: alone + forked })
}

/// Whether the system lets us make a network of our own.
pub fn can_be_alone() -> bool {
    let alone = Command::new("unshare").args(["-Urn", "ip", "link", "set", "lo", "up"]).stderr(Stdio::null()).status();
    alone.is_ok_and(|s| s.success())
}

/// Everybody says a few things; how many in all.
fn say(people: &[(&str, &Person)], when: &str) -> usize {
    for n in 0..EACH {
        for (name, person) in people {
            person.send("lab", &format!("{name} {when} {n}"));
        }
    }
    EACH * people.len()
}

/// Starts a node in a network of its own, where nobody else is. Its socket is reached all the same.
pub fn up_alone(person: &mut Person) {
    let mut command = Command::new("unshare");
    command.args(["-Urn", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]).arg(binary());
    let up = person.command(&["--json", "up", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    command.args(up.get_args()).env_remove("TIDINGS_HOME").stdin(Stdio::null());
    person.up_by(command);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy(&path, &target),
            kind if kind.is_file() => drop(fs::copy(&path, &target).unwrap()),
            _ => {}
        }
    }
}

const EACH: usize = 12;
