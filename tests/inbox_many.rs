//! Ten thousand rooms: what a room list and an inbox cost, in rows read, whatever the machine.

use crate::support::people::{Person, START_MS};
use crate::support::store::{YEAR_MS, room_row};
use tidings_node::config::Settings;
use tidings_node::home::Home;
use tidings_node::ingest::admit;
use tidings_node::node::Node;
use tidings_node::rooms::{Rooms, Views};
use tidings_protocol::content::{Content, Text};
use tidings_protocol::event::Hlc;
use tidings_protocol::id::RoomId;
use tidings_storage::{Durability, Store};

const ROOMS: usize = 10_000;
/// Rooms in which somebody names the local user.
const NAMED: usize = 300;
const ROOMS_AT_ONCE: usize = 500;

async fn node(home: &Home) -> Node {
    let settings = Settings { listen: vec!["/ip4/127.0.0.1/tcp/0".into()], no_mdns: true, ..Settings::default() };
    Node::start(home, &settings).await.unwrap()
}

/// Fills the store of a home with rooms of others: three messages in each, which name its user in some.
fn fill(home: &Home, user: &Person) {
    let (store, mut writer) = Store::open(&home.store_path()).unwrap();
    let mut rooms = Rooms::load_for(&store, Views::default(), Some(user.user())).unwrap();
    let ada = Person::new(1);
    for first in (0..ROOMS).step_by(ROOMS_AT_ONCE) {
        let mut batch = writer.begin();
        for n in first..first + ROOMS_AT_ONCE {
            let (genesis, rules) = ada.found_at(START_MS + n as u64);
            let room: RoomId = genesis.room();
            let mut row = room_row(room);
            row.alias = format!("room-{n}");
            let number = batch.add_room(row).unwrap();
            rooms.add(room, number);
            let mut says = ada.pen(room, rules.grant);
            says.hlc = Hlc::at_ms(START_MS + n as u64 * 1000);
            let names = if n % (ROOMS / NAMED) == 0 { vec![user.user()] } else { Vec::new() };
            let texts = [vec![], names, vec![]].map(|names| says.say(Content::Text(Text::new("words".into(), names))));
            for event in [genesis].iter().chain(&texts) {
                let one = std::slice::from_ref(event);
                assert_eq!(admit(&mut batch, &mut rooms, room, one, START_MS + YEAR_MS).unwrap().stored.len(), 1);
            }
        }
        let stale = rooms.take_stale(&mut batch).unwrap();
        batch.commit(Durability::Buffered).unwrap();
        for (room, row) in stale {
            rooms.show(room, row);
            rooms.count_anew(&store, room).unwrap();
        }
        let mut batch = writer.begin();
        rooms.take_stale(&mut batch).unwrap();
        batch.commit(Durability::Synced).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_rooms_are_listed_without_looking_into_them() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path()).unwrap();
    node(&home).await.stop().await;
    fill(&home, &Person::of_home(folder.path()));
    let node = node(&home).await;
    let handle = node.handle();
    let rows = || handle.store().rows_read();

    let rooms = handle.rooms(false).unwrap();
    let cost = least(&rows, || drop(handle.rooms(false).unwrap()));
    assert_eq!(rooms.len(), ROOMS);
    assert!(cost <= ROOMS as u64, "{cost} rows for a list of {ROOMS} rooms");
    let named = rooms.iter().take_while(|room| room.mentions == 1).count();
    assert!(named >= NAMED && rooms[named..].iter().all(|room| room.mentions == 0), "those that wait come first");
    assert!(rooms.iter().all(|room| room.unread == 3 && room.last_user.is_some()));
    assert!(rooms[..named].is_sorted_by_key(|room| std::cmp::Reverse(room.last_ms)), "the newest before the older");

    let inbox = handle.inbox(None, true, 50).unwrap();
    let cost = least(&rows, || drop(handle.inbox(None, true, 50).unwrap()));
    assert_eq!(inbox.len(), 50);
    assert!(cost <= 50 * ROWS_PER_LINE, "{cost} rows for an inbox of 50");
    // The control: counting from the timelines is what this must not cost.
    let before = rows();
    for room in rooms.iter().take(100) {
        let (_, view) = handle.room_view(&room.room).unwrap();
        handle.page(&view, tidings_node::page::From::Newest, 50).unwrap();
    }
    assert!(rows() - before > 100 * 3, "rows are counted");
    let (mut listed, mut before) = (0, None);
    loop {
        let page = handle.inbox(before, false, 50).unwrap();
        listed += page.len();
        let Some(last) = page.last() else { break };
        before = Some(last.message.id.parse().unwrap());
    }
    assert_eq!(listed, named, "every page of it");
    node.stop().await;
}

/// The rows that something reads; what other tasks of the node read meanwhile is in most of the tries, and not in all.
fn least(rows: &impl Fn() -> u64, reads: impl Fn()) -> u64 {
    let one = || {
        let before = rows();
        reads();
        rows() - before
    };
    (0..TRIES).map(|_| one()).min().unwrap_or(0)
}

const TRIES: usize = 20;
/// Rows read for a message of the inbox: its index row, its room, its event and payload, what changes its looks, names.
const ROWS_PER_LINE: u64 = 60;
