//! Files and those who mean ill: bytes that are not the file's, people who may not have it, names that lead elsewhere.

use crate::support::devices::{address, until, up_with_peer};
use crate::support::hostile::{Hostile, peer_of};
use crate::support::nodes::Person;
use crate::support::stranger::{Heard, Stranger, within};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::Stream;
use std::fs;
use std::path::Path;
use tidings_node::api::types::{CreateInvite, CreateRoom};
use tidings_node::config::Settings;
use tidings_node::home::Home;
use tidings_node::local::Intent;
use tidings_node::node::Node;
use tidings_protocol::codec::encode;
use tidings_protocol::content::Content;
use tidings_protocol::file::{FILE_REQUEST_LEN, File, FilePart, FileRequest, HERE, UNKNOWN_FILE};
use tidings_protocol::id::FileHash;

const FILES: &str = "/tidings/file/1";

fn send(person: &Person, room: &str, folder: &Path, bytes: &[u8]) -> (String, FileHash) {
    let path = folder.join("sent.bin");
    fs::write(&path, bytes).unwrap();
    let sent = person.json(&["send", room, "--file", path.to_str().unwrap()]);
    let event = sent["id"].as_str().unwrap().to_owned();
    let lines = person.lines(room);
    let line = lines.iter().find(|line| line["id"] == event.as_str()).unwrap();
    (event, line["file"]["hash"].as_str().unwrap().parse().unwrap())
}

/// All that comes on a stream until its end.
async fn answer(stream: &mut Stream, request: &[u8]) -> Vec<u8> {
    within(async {
        stream.write_all(request).await.unwrap();
        stream.flush().await.unwrap();
        let mut said = Vec::new();
        drop(stream.read_to_end(&mut said).await);
        said
    })
    .await
}

fn requests(hash: FileHash, len: u64) -> [Vec<u8>; 2] {
    let ask = |part| encode(&FileRequest { hash, len, part });
    [ask(FilePart::Outline), ask(FilePart::Pieces { first: 0, count: 1 })]
}

#[test]
fn who_may_not_have_a_file_hears_what_is_heard_of_one_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut alice = Person::at(folder.path(), "alice");
    alice.up();
    alice.json(&["room", "create", "zig"]);
    let square = alice.json(&["room", "create", "square", "--public"])["room"].as_str().unwrap().to_owned();
    let (_, secret) = send(&alice, "zig", folder.path(), &[7; 300_000]);
    let (_, open) = send(&alice, "square", folder.path(), &[8; 1000]);
    let node = address(&alice);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut stranger = Stranger::new().await;
        let peer = stranger.dial(&node).await;
        for (hash, len) in [(secret, 300_000), (open, 1000), (FileHash([9; 32]), 300_000)] {
            for request in requests(hash, len) {
                let mut stream = stranger.open(peer, FILES).await;
                assert_eq!(answer(&mut stream, &request).await, [UNKNOWN_FILE]);
            }
        }
        // Nonsense is not answered at all.
        let mut stream = stranger.open(peer, FILES).await;
        assert_eq!(answer(&mut stream, &[0xff; FILE_REQUEST_LEN]).await, [0; 0]);

        // Whoever is in a public room gets what is named there, and nothing of other rooms.
        let mut hostile = Hostile::in_room(&node, square.parse().unwrap()).await;
        let mut stream = hostile.stranger.open(peer, FILES).await;
        let [_, piece] = requests(open, 1000);
        stream.write_all(&piece).await.unwrap();
        stream.flush().await.unwrap();
        let mut said = vec![0; 1001];
        within(stream.read_exact(&mut said)).await.unwrap();
        assert_eq!(said, [&[HERE][..], &[8; 1000]].concat());
        for request in requests(secret, 300_000).iter().chain(&requests(open, 999)) {
            let mut stream = hostile.stranger.open(peer, FILES).await;
            assert_eq!(answer(&mut stream, request).await, [UNKNOWN_FILE]);
        }
        // Nor any longer once its message is erased.
        alice.done(&["erase", alice.lines("square").last().unwrap()["id"].as_str().unwrap()]);
        assert_eq!(answer(&mut stream, &piece).await, [UNKNOWN_FILE]);
    });
}

#[test]
fn a_member_who_was_removed_gets_no_more_files() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, mut bob) = (Person::at(folder.path(), "alice"), Person::at(folder.path(), "bob"));
    alice.up();
    alice.json(&["room", "create", "zig"]);
    up_with_peer(&mut bob, &alice);
    bob.json(&["room", "join", &alice.link("zig"), "--wait", "30s"]);
    let (event, _) = send(&alice, "zig", folder.path(), &[7; 300_000]);
    bob.follow("zig").until_id(&event);
    let user = bob.json(&["id"])["user"].as_str().unwrap().to_owned();
    alice.json(&["room", "revoke", "zig", &user]);
    until("Bob knows", || !bob.run(&["send", "zig", "anybody?"]).status.success());
    let to = folder.path().join("got");
    bob.fails(6, &["file", "get", &event, "--wait", "2s", "-o", to.to_str().unwrap()]);
    assert!(!to.exists());
}

/// Serves what it likes to whoever asks.
async fn lie(mut stream: Stream, lies: Vec<u8>) {
    let mut request = [0; FILE_REQUEST_LEN];
    while stream.read_exact(&mut request).await.is_ok() {
        if stream.write_all(&lies).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

#[test]
fn false_bytes_are_not_kept_and_their_giver_is_sent_away() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, mut bob) = (Person::at(folder.path(), "alice"), Person::at(folder.path(), "bob"));
    alice.up();
    let room = alice.json(&["room", "create", "square", "--public"])["room"].as_str().unwrap().to_owned();
    up_with_peer(&mut bob, &alice);
    bob.json(&["room", "join", &alice.link("square"), "--wait", "30s"]);
    let truth = vec![7; 5000];
    let (event, _) = send(&alice, "square", folder.path(), &truth);
    bob.follow("square").until_id(&event);
    alice.kill();
    let to = folder.path().join("got");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let node = address(&bob);
    let mut false_piece = vec![HERE];
    false_piece.extend([6; 5000]);
    for lies in [false_piece, vec![2; 10], vec![UNKNOWN_FILE; 10]] {
        runtime.block_on(async {
            let mut hostile = Hostile::in_room(&node, room.parse().unwrap()).await;
            let mut asked = hostile.stranger.accept(FILES);
            let is_lie = lies[0] != UNKNOWN_FILE;
            let served = tokio::spawn(async move {
                while let Some((_, stream)) = asked.next().await {
                    lie(stream, lies.clone()).await;
                }
            });
            let arguments = ["file", "get", &event, "--wait", "2s", "-o", to.to_str().unwrap()];
            let output = tokio::task::block_in_place(|| bob.run(&arguments));
            assert_eq!(output.status.code(), Some(6), "{}", String::from_utf8_lossy(&output.stderr));
            if is_lie {
                hostile.stranger.until(|heard| *heard == Heard::Closed).await;
            }
            served.abort();
        });
    }
    assert!(!to.exists());
    let kept = fs::read_dir(bob.home.join("files")).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum::<u64>();
    assert_eq!(kept, 0, "nothing false was kept");
    alice.up();
    bob.done(&["peers", "add", &address(&alice)]);
    bob.done(&["file", "get", &event, "--wait", "60s", "-o", to.to_str().unwrap()]);
    assert_eq!(fs::read(&to).unwrap(), truth);
    assert_ne!(peer_of(&address(&alice)), peer_of(&node));
}

#[test]
fn a_name_leads_nowhere_and_says_nothing_to_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["../../evil", "/etc/passwd", "..", "a\0b", "x\u{1b}]52;c;cm0\u{7}", "photo\u{202e}gpj.exe", "CON", ""];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut bob = Person::at(folder.path(), "bob");
    runtime.block_on(async {
        let home = Home::open(&folder.path().join("mallory")).unwrap();
        let settings = Settings { listen: vec!["/ip4/127.0.0.1/tcp/0".into()], no_mdns: true, ..Settings::default() };
        let node = Node::start(&home, &settings).await.unwrap();
        let handle = node.handle();
        let new = CreateRoom { name: "zig".into(), public: false, invite_rank: None };
        let room = handle.create_room(&new).await.unwrap().room.parse().unwrap();
        let mut incoming = handle.take_in().unwrap();
        incoming.write(b"evil").unwrap();
        let taken = handle.taken_in(incoming).await.unwrap();
        for name in names {
            let (hash, name) = (taken.hash.parse().unwrap(), name.to_owned());
            let media = "text/\u{1b}[2Jhtml".to_owned();
            let file = File { hash, len: 4, name, media, text: "".into(), reply: None };
            handle.publish(room, Intent::Say(Content::File(Box::new(file)))).await.unwrap();
        }
        let link = handle.invite("zig", &CreateInvite { role: None, expires_ms: None }).await.unwrap().link.unwrap();
        tokio::task::block_in_place(|| {
            bob.up();
            bob.json(&["room", "join", &link, "--wait", "30s"]);
            bob.until_shown("zig", names.len());
        });
        let inner = folder.path().join("in/here");
        fs::create_dir_all(&inner).unwrap();
        for line in bob.lines("zig") {
            let mut command = bob.command(&["file", "get", line["id"].as_str().unwrap(), "--force"]);
            let output = tokio::task::block_in_place(|| command.current_dir(&inner).output().unwrap());
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let plain = bob.done(&["read", "zig"]) + &bob.done(&["file", "list"]);
        assert!(!plain.contains(['\u{1b}', '\u{7}', '\u{202e}', '\0']), "{plain:?}");
        let mut got: Vec<String> =
            fs::read_dir(&inner).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        got.sort();
        let expected = ["_._.._evil", "_CON", "_etc_passwd", "a_b", "file", "photogpj.exe", "x_]52;c;cm0_"];
        let mut expected = expected.map(str::to_owned).to_vec();
        expected.sort();
        // `../../evil` loses what would lead upwards.
        assert_eq!(got, expected);
        assert_eq!(fs::read_dir(folder.path().join("in")).unwrap().count(), 1);
        node.stop().await;
    });
}
