//! The chat as one sees it: the real program in a real terminal (tmux), with somebody at the other end.

use crate::support::nodes::{Person, binary};
use crate::support::skip;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A terminal of 100 by 30 with a shell in it, under a tmux of its own.
struct Terminal<'a> {
    folder: &'a Path,
}

impl<'a> Terminal<'a> {
    /// None where there is no tmux.
    fn open(folder: &'a Path) -> Option<Terminal<'a>> {
        Command::new("tmux").arg("-V").output().ok()?;
        let terminal = Terminal { folder };
        let size = ["-x", "100", "-y", "30"];
        terminal.tmux(&[&["new-session", "-d"], &size[..], &["env", "-u", "TIDINGS_HOME", "PS1=$ ", "sh"]].concat());
        terminal.until("a shell", |screen| screen.contains('$'));
        Some(terminal)
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("tmux");
        command.args(["-L", "tidings", "-f", "/dev/null", "-u"]).args(arguments);
        command.env("TMUX_TMPDIR", self.folder).env_remove("TMUX").output().unwrap()
    }

    /// Presses keys by their names.
    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Types text, and Enter.
    fn enter(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
        self.press(&["Enter"]);
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// What stands on the screen once it is as wanted.
    fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.press_until(&[], what, wanted)
    }

    /// Presses keys again and again until the screen is as wanted.
    fn press_until(&self, keys: &[&str], what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let screen = self.screen();
            if wanted(&screen) {
                return screen;
            }
            assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}:\n{screen}");
            if !keys.is_empty() {
                self.press(keys);
            }
            std::thread::yield_now();
        }
    }

    fn shows(&self, text: &str) -> String {
        self.until(text, |screen| screen.contains(text))
    }

    /// Runs the chat in the shell, which tells how it ended.
    fn chat(&self, person: &Person, flags: &str) {
        let (binary, home) = (binary(), person.home.clone());
        let line = format!("clear; {} --home {} chat {flags}; echo ended=$?", binary.display(), home.display());
        self.enter(&line);
    }

    /// The chat has ended well, and the terminal is as it was.
    fn is_given_back(&self) -> String {
        let screen = self.shows("ended=0");
        assert_eq!(self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]).trim(), "0 1");
        self.enter("clear; stty -a | grep -o -w -e -echo -e -icanon -e -isig; echo looked");
        let modes = self.until("the modes", |screen| screen.lines().any(|line| line == "looked"));
        assert!(!modes.lines().any(|line| line.starts_with('-')), "the terminal is not as it was:\n{modes}");
        screen
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        self.run(&["kill-server"]);
    }
}

/// Bob runs a node, and is in Alice's room.
fn bob_in(folder: &Path, alice: &Person) -> Person {
    let mut bob = Person::at(folder, "bob");
    bob.up();
    bob.done(&["id", "name", "Bob"]);
    bob.json(&["room", "join", &alice.link("zig")]);
    bob
}

#[test]
fn two_people_chat_one_of_them_in_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let alice = Person::at(folder.path(), "alice");
    let Some(terminal) = Terminal::open(folder.path()) else {
        skip("there is no tmux");
        return;
    };
    // The first run: the words once, a name, a room.
    terminal.chat(&alice, "--no-mdns --listen /ip4/127.0.0.1/tcp/0");
    let words = terminal.shows("Press Enter to go on.");
    let shown = words.lines().skip_while(|l| !l.contains("24 words")).skip(1).flat_map(str::split_whitespace);
    assert!(shown.take_while(|word| *word != "Press").count() >= 24, "{words}");
    terminal.press(&["Enter"]);
    terminal.shows("What should people call you?");
    terminal.enter("Alice");
    terminal.shows("You are in no room yet.");
    terminal.enter("/create zig");
    terminal.shows("1 zig");
    terminal.shows("say something in zig");

    // The chat hosts the node, which other commands use. What one types arrives, what the other says shows.
    let bob = bob_in(folder.path(), &alice);
    let mut at_bob = bob.follow("zig");
    terminal.enter("hello from the terminal");
    at_bob.until(|line| line["text"] == "hello from the terminal" && line["name"] == "Alice");
    bob.send("zig", "hello from the command line");
    // His name is an event of its own, and may come after.
    terminal.until("Bob's words and name", |s| s.contains("hello from the command line") && s.contains("Bob"));
    terminal.shows("2 people");

    // Several lines.
    terminal.tmux(&["send-keys", "-l", "first line"]);
    terminal.press(&["M-Enter"]);
    terminal.enter("second line");
    at_bob.until(|line| line["text"] == "first line\nsecond line");

    // An answer, and an edit of it.
    let asked = bob.send("zig", "is there a question?");
    terminal.shows("is there a question?");
    terminal.press(&["C-r"]);
    terminal.enter("here is the answer");
    let answer = at_bob.until(|line| line["text"] == "here is the answer");
    assert_eq!(answer["reply_to"], asked.as_str());
    // Only what has got to the node can be chosen.
    let is_kept = |line: &str| line.contains("here is the answer") && line.contains(['·', '✓']);
    terminal.until("the answer on disk", |screen| screen.lines().any(is_kept));
    terminal.press(&["Up"]);
    terminal.press(&["e"]);
    terminal.until("the text to edit", |screen| {
        screen.lines().any(|l| l.contains('›') && l.contains("here is the answer"))
    });
    terminal.press(&["C-u"]);
    terminal.enter("here is a better answer");
    at_bob.until(|line| {
        line["id"] == answer["id"] && line["edited"] == true && line["text"] == "here is a better answer"
    });
    let screen = terminal.shows("here is a better answer (edited)");
    assert!(!screen.contains("here is the answer"), "{screen}");

    // What would move the cursor or rename the window is shown as harmless text.
    bob.send("zig", "\u{1b}[2J\u{1b}[Hwiped\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}end");
    let screen = terminal.until("harmless text", |screen| screen.contains("wiped") && screen.contains("end"));
    assert!(screen.contains("here is a better answer") && screen.contains("1 zig"), "{screen}");
    assert_ne!(terminal.tmux(&["display-message", "-p", "#{pane_title}"]).trim(), "owned");

    // Back to the beginning, and to the newest.
    let old =
        |n: u64| format!("{{\"ts\": {}, \"author\": \"ada\", \"text\": \"old {n:03}\"}}\n", 1_500_000_000_000 + n);
    let file = folder.path().join("old.jsonl");
    fs::write(&file, (0..150).map(old).collect::<String>()).unwrap();
    alice.done(&["import", "zig", file.to_str().unwrap()]);
    let screen = terminal.press_until(&["PageUp"], "the beginning", |screen| screen.contains("old 000"));
    assert!(screen.contains("This is the beginning") && !screen.contains("a better answer"), "{screen}");
    terminal.press(&["End"]);
    terminal.shows("here is a better answer");

    // The key that the help names ends it, and with it the node.
    terminal.press(&["F1"]);
    let quits = |screen: &str| screen.lines().any(|l| l.contains("Ctrl-C, Ctrl-Q") && l.contains("quit"));
    terminal.until("the key that quits", |screen| screen.contains("help · Esc closes") && quits(screen));
    terminal.press_until(&["PageDown"], "the last command", |screen| screen.contains("end the chat"));
    terminal.press(&["C-q"]);
    let screen = terminal.is_given_back();
    assert!(screen.contains("the node stops too") && screen.contains("tidings up"), "{screen}");
    alice.refused(3, &["status"], &["no node is running"]);
    assert_eq!(bob.texts("zig").len(), 156);
}

#[test]
fn a_chat_beside_a_running_node_leaves_it_running() {
    let folder = tempfile::tempdir().unwrap();
    let mut alice = Person::at(folder.path(), "alice");
    let Some(terminal) = Terminal::open(folder.path()) else {
        skip("there is no tmux");
        return;
    };
    alice.up();
    alice.done(&["id", "name", "Alice"]);
    alice.json(&["room", "create", "zig"]);
    alice.send("zig", "said before");
    let bob = bob_in(folder.path(), &alice);
    let mut at_bob = bob.follow("zig");
    terminal.chat(&alice, "zig");
    terminal.shows("said before");
    terminal.enter("said in the chat");
    at_bob.until(|line| line["text"] == "said in the chat");
    terminal.press(&["C-c"]);
    let screen = terminal.is_given_back();
    assert!(!screen.contains("the node stops"), "{screen}");
    bob.send("zig", "are you still there?");
    alice.follow("zig").until(|line| line["text"] == "are you still there?");
}

#[test]
fn a_chat_that_hosts_the_node_ends_when_the_node_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let alice = Person::at(folder.path(), "alice");
    let Some(terminal) = Terminal::open(folder.path()) else {
        skip("there is no tmux");
        return;
    };
    alice.json(&["id"]);
    fs::write(alice.home.join("config.toml"), "listen = [\"/ip4/127.0.0.1/tcp/0\"]\nno_mdns = true\n").unwrap();
    terminal.chat(&alice, "");
    terminal.shows("Press Enter to go on.");
    terminal.press(&["Enter"]);
    terminal.shows("What should people call you?");
    alice.done(&["down"]);
    terminal.is_given_back();
    // The words were shown, and are not shown again; a home that is in use is not chatted in twice.
    terminal.chat(&alice, "");
    terminal.shows("What should people call you?");
    terminal.press(&["C-c"]);
    terminal.is_given_back();
    fs::write(alice.home.join("config.toml"), "listen = [\n").unwrap();
    terminal.chat(&alice, "");
    let screen = terminal.shows("ended=2");
    assert!(screen.contains("config.toml, line 1") && screen.contains("mend it"), "{screen}");
}

#[test]
fn people_are_called_compared_and_blocked_in_the_chat() {
    let folder = tempfile::tempdir().unwrap();
    let mut alice = Person::at(folder.path(), "alice");
    let Some(terminal) = Terminal::open(folder.path()) else {
        skip("there is no tmux");
        return;
    };
    alice.up();
    alice.done(&["id", "name", "Alice"]);
    alice.json(&["room", "create", "zig"]);
    let bob = bob_in(folder.path(), &alice);
    bob.send("zig", "it is me");
    terminal.chat(&alice, "zig");
    terminal.shows("it is me");
    terminal.until("his name", |screen| screen.lines().any(|line| line.trim_end().ends_with(" Bob")));
    terminal.enter("/call Bob Robert the Bold");
    terminal.until("the pet name", |screen| screen.lines().any(|line| line.trim_end().ends_with(" Robert the Bold")));

    let key = alice.json(&["id"])["user"].as_str().unwrap().to_owned();
    let code = bob.json(&["people", "verify", &key])["code"].as_str().unwrap().to_owned();
    terminal.enter("/verify robert the bold");
    terminal.until("the digits", |screen| screen.contains(&code[..23]) && screen.contains("tidings://verify/"));
    terminal.press(&["Escape"]);
    terminal.shows("say something in zig");
    let wrong = if code.starts_with('1') { code.replacen('1', "2", 1) } else { format!("1{}", &code[1..]) };
    terminal.enter(&format!("/verify robert the bold {wrong}"));
    terminal.shows("the codes differ");
    terminal.press(&["C-u"]);
    terminal.enter(&format!("/verify robert the bold {code}"));
    terminal.shows("Robert the Bold ✓");

    terminal.enter("/block robert the bold");
    terminal.until("nothing of his", |screen| !screen.contains("it is me") && !screen.contains("Robert the Bold ✓"));
    bob.send("zig", "not to be seen");
    terminal.enter("/unblock robert the bold");
    terminal.until("all of it", |screen| screen.contains("it is me") && screen.contains("not to be seen"));
    terminal.press(&["C-c"]);
    terminal.is_given_back();
}

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
