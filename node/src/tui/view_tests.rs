//! The screen as it is drawn, in snapshots. They show text only; colours have tests of their own.

use crossterm::event::KeyCode;
use insta::assert_snapshot;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use crate::api::types::{Happened, Holder, Imported, Known, Line, Member, Notice, Room};
use crate::tui::effect::{Answer, Failure, Input, Outcome, Page};
use crate::tui::field::Field;
use crate::tui::fixtures::{Chat, NOW_MS, chatter, gap, line, member, message, own, room, user};
use crate::tui::state::Mode;
use crate::tui::view::draw;

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;

fn screen(chat: &Chat) -> String {
    let (width, height) = chat.state.size;
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(&chat.state, frame)).unwrap();
    let cursor = terminal.backend().cursor_visible().then(|| terminal.backend().cursor_position());
    let cursor = cursor.map_or("no cursor".to_owned(), |cursor| format!("cursor at {},{}", cursor.x, cursor.y));
    format!("{}{cursor}", terminal.backend())
}

fn rooms() -> Vec<Room> {
    let mut zig = room("room1", "zig", 3, NOW_MS);
    zig.topic = "the language, its compiler and its build system".to_owned();
    let mut design = room("room4", "design review", 0, NOW_MS - 3 * DAY);
    design.complete = false;
    let mut joining = room("room6", "book club", 0, 0);
    joining.pending = true;
    vec![
        zig,
        room("room2", "general", 128, NOW_MS - MINUTE),
        room("room3", "gardening and the weather on this side of the river", 1, NOW_MS - DAY),
        design,
        room("room5", "family", 0, NOW_MS - 9 * DAY),
        joining,
    ]
}

/// A bit of everything.
fn conversation() -> Vec<Line> {
    let yesterday = NOW_MS - DAY;
    let mut imported = message("m0", "ben", yesterday - 400 * DAY, "history from the old channel, kept for the record");
    imported.imported = Some(Imported { author: "graham".into(), ms: imported.ms, source: "irc".into() });
    let mut answer = message(
        "m4",
        "alice",
        NOW_MS - 40 * MINUTE,
        "comptime does it, see https://ziglang.org/documentation/#comptime",
    );
    answer.reply_to = Some("m1".into());
    answer.reactions =
        [("👍".to_owned(), vec!["did:key:z6Mkme".to_owned(), "x".to_owned()]), ("🎉".to_owned(), vec!["y".to_owned()])]
            .into();
    let mut edited = message(
        "m5",
        "carla",
        NOW_MS - 30 * MINUTE,
        "I'd rather have the error set spelled out at the boundary of the library, so that a new error is a conscious decision and not an accident",
    );
    edited.edited = true;
    let mut erased = message("m6", "carla", NOW_MS - 29 * MINUTE, "");
    erased.erased = true;
    let mut again = message("m6b", "carla", NOW_MS - 28 * MINUTE, "and to the second question: no");
    again.reply_to = Some("m2".into());
    let mut late = own("m8", NOW_MS - 3 * MINUTE, "agreed", 0);
    late.reply_to = Some("long gone".into());
    vec![
        line(imported),
        line(message("m1", "ben", yesterday, "does anybody know how to get the length of a slice at compile time?")),
        line(message("m2", "ben", yesterday + MINUTE, "asking for a friend")),
        line(own("m3", yesterday + 2 * MINUTE, "@alice knows", 3)),
        gap("alice", 40, 51),
        line(answer),
        line(edited),
        line(erased),
        line(again),
        line(message(
            "m7",
            "alice",
            NOW_MS - 4 * MINUTE,
            "me, too:\n    const E = error{ NotFound };\nis short enough",
        )),
        line(late),
        line(message("m9", "ben", NOW_MS - MINUTE, "你好,世界 👩‍💻 looks right?")),
        line(message("m10", "ben", NOW_MS, "ask me@example.org or just ME")),
    ]
}

#[test]
fn conversation_wide() {
    let chat = Chat::in_rooms(100, 40, rooms(), conversation());
    assert_snapshot!(screen(&chat));
}

#[test]
fn conversation_middling() {
    let chat = Chat::in_rooms(100, 30, rooms(), conversation());
    assert_snapshot!(screen(&chat));
}

#[test]
fn conversation_narrow() {
    let chat = Chat::in_rooms(60, 20, rooms(), conversation());
    assert_snapshot!(screen(&chat));
}

#[test]
fn hostile_text_stays_in_its_place() {
    let mut evil = message(
        "m1",
        "ben",
        NOW_MS,
        "clear\u{1b}[2J\u{9b}31m link\u{1b}]8;;http://x\u{7} clip\u{1b}]52;c;eA==\u{7} \u{202e}drowssap ad\u{200b}min",
    );
    evil.name = "root\u{1b}[1A\u{202e}\nfake".into();
    evil.reactions = [("\u{1b}[H👍".to_owned(), vec!["x".to_owned()])].into();
    let zalgo = message("m2", "alice", NOW_MS, &format!("z{}", "\u{337}".repeat(200)));
    let mut rooms =
        vec![room("room1", "zig\u{1b}]0;pwned\u{7}\u{2066}", 2, NOW_MS), room("room2", "x\u{1b}[31m\n", 1, 1)];
    rooms[0].topic = "topic\r\u{1b}[K".into();
    let mut chat = Chat::in_rooms(100, 30, rooms, vec![line(evil), line(zalgo), gap("\u{1b}[2K", 1, 1)]);
    let members = vec![member("\u{1b}c", "mod\u{7}erator"), member("me", "member")];
    chat.answer(Answer::Members { room: "room1".into(), members });
    let failure = Failure { says: "refused\u{1b}[5m: \u{202e}no".into(), outcome: Outcome::NotDone };
    chat.write("hi").key(KeyCode::Enter);
    let post = chat.effects[0].clone();
    chat.input(Input::Failed { effect: Box::new(post), failure });
    chat.input(Input::Paste("\u{1b}[31mpasted\u{202e}".into()));
    let shown = screen(&chat);
    assert!(!shown.contains(|c: char| c != '\n' && c.is_control()), "{shown:?}");
    assert!(!shown.contains(['\u{202e}', '\u{2066}', '\u{200b}']), "{shown:?}");
    assert_snapshot!(shown);
    chat.write("/who").control('u').write("/who").key(KeyCode::Enter);
    assert!(!screen(&chat).contains('\u{1b}'));
}

#[test]
fn choosing_a_message() {
    let mut chat = Chat::in_rooms(100, 30, rooms(), conversation());
    chat.write("half a thought").key(KeyCode::Enter).key(KeyCode::Up).key(KeyCode::Up).key(KeyCode::Up);
    assert_snapshot!(screen(&chat));
    chat.key(KeyCode::Char('d'));
    assert_snapshot!("choosing_a_message_erase", screen(&chat));
    chat.key(KeyCode::Char('n')).key(KeyCode::Char('+')).write("wow");
    assert_snapshot!("choosing_a_message_react", screen(&chat));
}

#[test]
fn reacting_on_a_narrow_screen() {
    let mut chat = Chat::in_rooms(60, 20, rooms(), conversation());
    chat.key(KeyCode::Up);
    assert_snapshot!("choosing_a_message_narrow", screen(&chat));
    chat.key(KeyCode::Char('+')).write("wow");
    assert_snapshot!(screen(&chat));
}

#[test]
fn answering_in_several_lines() {
    let mut chat = Chat::in_rooms(60, 20, rooms(), conversation());
    chat.control('r')
        .write("first line of an answer that is longer than the input is wide")
        .control('j')
        .write("second");
    assert_snapshot!(screen(&chat));
}

#[test]
fn scrolled_up_with_news_below() {
    let mut chat = Chat::in_rooms(100, 30, rooms(), chatter(49));
    chat.key(KeyCode::PageUp);
    chat.hear(message("new1", "alice", NOW_MS + 1, "hello?")).hear(message("new2", "alice", NOW_MS + 2, "anybody?"));
    assert_snapshot!(screen(&chat));
}

#[test]
fn jumping_to_a_room() {
    let mut chat = Chat::in_rooms(100, 30, rooms(), conversation());
    chat.control('k').write("ge").key(KeyCode::Down);
    assert_snapshot!(screen(&chat));
}

#[test]
fn help_wide() {
    let mut chat = Chat::in_rooms(100, 30, rooms(), conversation());
    chat.key(KeyCode::F(1));
    assert_snapshot!(screen(&chat));
}

#[test]
fn help_narrow_scrolls() {
    let mut chat = Chat::in_rooms(60, 20, rooms(), conversation());
    chat.key(KeyCode::F(1)).key(KeyCode::PageDown).key(KeyCode::PageDown);
    assert_snapshot!(screen(&chat));
}

#[test]
fn people_of_a_room() {
    let mut chat = Chat::in_rooms(100, 30, rooms(), conversation());
    chat.write("/who").key(KeyCode::Enter);
    assert_snapshot!(screen(&chat));
}

#[test]
fn people_as_they_are_known() {
    let known = |message: &mut crate::api::types::Message, known: Known| message.known = known;
    let mut mum = message("m1", "alice", NOW_MS - 3 * MINUTE, "have you eaten?");
    known(&mut mum, Known { petname: Some("Mum".into()), user_verified: true, ..Known::default() });
    let mut friend = message("m2", "ben", NOW_MS - 2 * MINUTE, "hello");
    known(&mut friend, Known { user_verified: true, ..Known::default() });
    let mut double = message("m3", "carla", NOW_MS - MINUTE, "it is me, your mother");
    double.name = "Mum ✓".into();
    double.reply_to = Some("m1".into());
    known(&mut double, Known { lookalike_of: Some(crate::tui::fixtures::user("alice")), ..Known::default() });
    let mut chat = Chat::in_rooms(100, 30, rooms(), vec![line(mum), line(friend), line(double)]);
    let mut members = ["me", "alice", "ben", "carla", "dora"].map(|name| member(name, "member")).to_vec();
    (members[0].verified, members[0].you) = (true, true);
    (members[1].verified, members[1].petname) = (true, Some("Mum".into()));
    members[2].verified = true;
    members[3].name = "Mum ✓".into();
    members[3].lookalike_of = Some(crate::tui::fixtures::user("alice"));
    members[4].blocked = true;
    chat.answer(Answer::Members { room: "room1".into(), members });
    assert_snapshot!(screen(&chat));
    chat.write("/who").key(KeyCode::Enter);
    assert_snapshot!("people_as_they_are_known_listed", screen(&chat));
}

#[test]
fn first_run_asks_for_a_name() {
    let mut chat = Chat::new(100, 30);
    let mut nobody = crate::tui::fixtures::identity("me");
    nobody.name.clear();
    chat.input(Input::Connected).answer(Answer::Identity(nobody)).write("Ana");
    assert_snapshot!(screen(&chat));
    chat.input(Input::Resize { width: 60, height: 20 });
    assert_snapshot!("first_run_narrow", screen(&chat));
}

#[test]
fn no_rooms_says_what_to_do() {
    let chat = Chat::in_rooms(100, 30, Vec::new(), Vec::new());
    assert_snapshot!(screen(&chat));
}

#[test]
fn node_that_went_away_is_told() {
    let mut chat = Chat::in_rooms(60, 20, rooms(), conversation());
    let failure = Failure { says: "No node is running any more.".into(), outcome: Outcome::NotDone };
    chat.input(Input::Disconnected(failure)).write("still here?").key(KeyCode::Enter);
    assert_snapshot!(screen(&chat));
}

#[test]
fn history_coming_in_is_told() {
    let mut behind = rooms();
    behind[0].complete = false;
    let mut chat = Chat::in_rooms(100, 30, behind, conversation());
    let what = Happened::Backfill { room: "room1".into(), held: 12_400 };
    chat.input(Input::Notice(Box::new(Notice { cursor: 1, what })));
    assert_snapshot!(screen(&chat));
}

#[test]
fn message_on_its_way_is_shown_at_once() {
    let mut chat = Chat::in_rooms(60, 20, rooms(), chatter(3));
    chat.write("on its way").key(KeyCode::Enter).write("and another").key(KeyCode::Enter);
    assert_snapshot!(screen(&chat));
}

#[test]
fn who_types_who_has_it_and_who_has_read_is_shown() {
    let holder = |n: u64| Holder { device: format!("d{n}"), user: user("ben") };
    let held = |id: &str, ms: u64, nodes: u64, readers: usize| {
        let mut message = own(id, NOW_MS - ms, "how far did this get?", 1);
        message.delivery.as_mut().unwrap().nodes = (0..nodes).map(holder).collect();
        message.read_by = ["alice", "ben"].map(user)[..readers].to_vec();
        line(message)
    };
    let lines = vec![held("a", 30, 2, 2), held("b", 20, 120, 0), held("c", 10, 0, 0)];
    let mut chat = Chat::in_rooms(60, 16, rooms(), lines);
    let (room, until_ms) = ("room1".to_owned(), NOW_MS + 5_000);
    let what = Happened::Typing { room, user: user("ben"), name: "ben".into(), until_ms };
    chat.input(Input::Notice(Box::new(Notice { cursor: 0, what })));
    assert_snapshot!(screen(&chat));
    let (online, away) = (member("ben", "moderator"), member("alice", "member"));
    let seen = |member, presence: &str| Member { presence: Some(presence.to_owned()), ..member };
    let members = vec![member("me", "founder"), seen(online, "online"), seen(away, "away")];
    chat.answer(Answer::Members { room: "room1".into(), members });
    chat.state.mode = Mode::People(0);
    assert_snapshot!("who_is_there_is_shown", screen(&chat));
}

#[test]
fn no_size_panics() {
    for width in [0, 1, 2, 3, 5, 10, 20, 44, 59, 60, 61, 300] {
        for height in [0, 1, 2, 3, 4, 6, 8, 13, 14, 40] {
            let mut chat = Chat::in_rooms(width, height, rooms(), conversation());
            let walk: [fn(&mut Chat); 9] = [
                |_| {},
                |chat| {
                    chat.write("a long line of text that wraps");
                },
                |chat| {
                    chat.key(KeyCode::F(1)).key(KeyCode::PageDown);
                },
                |chat| {
                    chat.key(KeyCode::Esc).control('k').write("e");
                },
                |chat| {
                    chat.key(KeyCode::Esc).control('u').key(KeyCode::Up).key(KeyCode::Up);
                },
                |chat| {
                    chat.key(KeyCode::Char('+')).write("wow");
                },
                |chat| {
                    chat.key(KeyCode::Esc).key(KeyCode::PageUp).key(KeyCode::PageDown);
                },
                |chat| chat.state.complain("something went wrong, and it takes a long line to say what"),
                |chat| chat.state.mode = Mode::Naming(Field::default()),
            ];
            for step in walk {
                step(&mut chat);
                let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
                terminal.draw(|frame| draw(&chat.state, frame)).unwrap();
            }
        }
    }
}

#[test]
fn tiny_terminal_still_chats() {
    let mut chat = Chat::in_rooms(20, 6, rooms(), conversation());
    chat.write("hi");
    assert_snapshot!(screen(&chat));
}

#[test]
fn page_of_another_room_is_not_shown_here() {
    let mut chat = Chat::in_rooms(60, 20, rooms(), chatter(3));
    let lines = vec![line(message("other", "ben", NOW_MS, "meant for elsewhere"))];
    chat.answer(Answer::Page { room: "room2".into(), page: Page::Newest, lines });
    assert!(!screen(&chat).contains("elsewhere"));
}
