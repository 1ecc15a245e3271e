//! What a node holds of one room makes no difference in another: neither to what it asks a stranger for, nor to what it
//! tells its friends.

use crate::support::hostile::{Hostile, ROOM, now_ms, signed};
use crate::support::nodes::Person as Home;
use crate::support::people::{Pen, Person};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};
use tidings_protocol::codec::encode;
use tidings_protocol::content::Content;
use tidings_protocol::event::{Class, Draft, Hlc};
use tidings_protocol::id::{DeviceId, EventId};
use tidings_protocol::link::InviteLink;
use tidings_protocol::log::Tip;
use tidings_protocol::wire::{Frame, Head, Listing};

fn up(folder: &Path, name: &str) -> Home {
    let mut home = Home::at(folder, name);
    home.up();
    home
}

fn address(home: &Home) -> String {
    home.ready["listen"][0].as_str().unwrap().to_owned()
}

/// Mallory's pen in a public room, once she has joined and said something.
async fn mallory_in(link: &InviteLink, talk: &mut Hostile) -> Pen {
    let mallory = Person::new(66);
    let (join, _) = mallory.join(link.room, link.invite, &link.key);
    talk.push(&encode(&signed(&join))).await;
    let mut pen = mallory.pen(link.room, join.id());
    pen.hlc = Hlc::at_ms(now_ms());
    talk.push(&encode(&signed(&pen.text("a true word")))).await;
    pen
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shares_a_public_room_cannot_ask_what_is_held_in_others() {
    let folder = tempfile::tempdir().unwrap();
    let alice = up(folder.path(), "alice");
    alice.json(&["room", "create", "secret"]);
    let secret = InviteLink::from_text(&alice.link("secret")).unwrap().room;
    let said = alice.send("secret", "among us").parse().unwrap();
    alice.json(&["room", "create", "zig", "--public"]);
    let public = InviteLink::from_text(&alice.link("zig")).unwrap().room;
    for class in [Class::Control, Class::Content] {
        for id in [EventId(*secret.as_bytes()), said, EventId([9; 32])] {
            let mut talk = Hostile::in_room(&address(&alice), public).await;
            let tip = Tip { seq: 1, id };
            let head = Head { author: DeviceId([7; 32]), grant: EventId([8; 32]), tip, hlc: Hlc::at_ms(now_ms()) };
            let (listing, heads) = (Listing::Moved, vec![head]);
            talk.say(&Frame::Heads { room: ROOM, class, listing, last: true, heads }).await;
            let asks = |frame: &Frame| matches!(frame, Frame::Want { branches, .. } if branches.iter().any(|branch| branch.top == tip));
            assert!(talk.caught_up().await.iter().any(asks), "held or not, it is asked for: {class:?} {id}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_names_an_event_of_a_room_that_only_some_have_sets_nobody_against_anybody() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, mut bob) = (up(folder.path(), "alice"), up(folder.path(), "bob"));
    alice.json(&["room", "create", "own"]);
    let own = alice.send("own", "not for Bob").parse().unwrap();
    alice.json(&["room", "create", "zig", "--public"]);
    let text = alice.link("zig");
    assert_eq!(bob.json(&["room", "join", &text])["pending"], false);
    let link = InviteLink::from_text(&text).unwrap();
    let mut talk = Hostile::in_room(&address(&alice), link.room).await;
    let mut pen = mallory_in(&link, &mut talk).await;
    let content = Content::Text("after what Bob has not".into());
    let draft = Draft { seq: 1000, prev: own, ..pen.draft(content.kind(), content.encode()) };
    let lie = pen.sign(draft);
    talk.push(&encode(&signed(&lie))).await;
    for home in [&alice, &bob] {
        home.follow("zig").until_id(&lie.id().to_string());
    }
    drop(talk);
    // They meet again, and both find that they hold the same.
    bob.down();
    bob.up();
    let began = Instant::now();
    let has_agreed = |peers: Value| peers[0]["rooms"] == 1 && peers[0]["behind"] == 0;
    while !has_agreed(bob.json(&["peers"])) {
        assert!(began.elapsed() < PATIENCE, "they never agree");
    }
}

/// For a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);
