//! Where one stands: rooms, pages, what is read and what is held.

use crossterm::event::KeyCode;

use crate::api::types::{Happened, Notice, Room};
use crate::tui::effect::{Answer, Effect, Failure, Input, Outcome, PAGE_LEN, Page};
use crate::tui::fixtures::{Chat, NOW_MS, chatter, gap, line, message, room, user};
use crate::tui::open::{Position, Unread};
use crate::tui::state::{Connection, Mode};

fn rooms() -> Vec<Room> {
    vec![room("room1", "zig", 0, NOW_MS), room("room2", "general", 0, NOW_MS - 1), room("room3", "tea", 0, NOW_MS - 2)]
}

fn chat() -> Chat {
    Chat::in_rooms(100, 30, rooms(), chatter(5))
}

/// A room with more history than a page.
fn long_chat() -> Chat {
    Chat::in_rooms(100, 30, rooms(), chatter(PAGE_LEN as u64))
}

fn notice(chat: &mut Chat, what: Happened) {
    chat.input(Input::Notice(Box::new(Notice { cursor: 1, what })));
}

fn failure(outcome: Outcome) -> Failure {
    Failure { says: "The disk is full.".into(), outcome }
}

fn focus(chat: &Chat) -> &str {
    chat.state.focus.as_deref().unwrap_or("")
}

fn order(chat: &Chat) -> Vec<&str> {
    chat.state.rooms.iter().map(|room| room.alias.as_str()).collect()
}

fn position(chat: &Chat) -> &Position {
    &chat.state.here().unwrap().position
}

#[test]
fn unread_rooms_come_first_and_the_one_in_front_keeps_its_place() {
    let mut listed = rooms();
    listed[1].unread = 2;
    listed[2].unread = 1;
    let mut chat = Chat::in_rooms(100, 30, listed.clone(), chatter(5));
    assert_eq!(order(&chat), ["general", "tea", "zig"]);
    assert_eq!(focus(&chat), "room2");
    // It is read now; it stays above until one leaves it.
    listed[1].unread = 0;
    chat.answer(Answer::Rooms(listed));
    assert_eq!(order(&chat), ["general", "tea", "zig"]);
    chat.key(KeyCode::Tab);
    assert_eq!(focus(&chat), "room3");
    assert_eq!(order(&chat), ["tea", "zig", "general"]);
    chat.alt(KeyCode::Char('2'));
    assert_eq!(focus(&chat), "room1");
    chat.alt(KeyCode::Char('9'));
    assert_eq!(focus(&chat), "room1");
}

#[test]
fn rooms_do_not_dance_while_messages_come() {
    let mut listed = rooms();
    let mut chat = chat();
    listed[2].unread = 1;
    chat.answer(Answer::Rooms(listed.clone()));
    listed[1].unread = 1;
    listed[1].last_ms = NOW_MS + 10;
    chat.answer(Answer::Rooms(listed.clone()));
    assert_eq!(order(&chat), ["tea", "general", "zig"]);
    // Not even the room in front, while one reads further up in it.
    listed[0].unread = 3;
    listed[1].last_ms = NOW_MS + 20;
    chat.answer(Answer::Rooms(listed.clone()));
    assert_eq!(order(&chat), ["tea", "general", "zig"]);
    listed[2].unread = 0;
    chat.answer(Answer::Rooms(listed));
    assert_eq!(order(&chat), ["general", "zig", "tea"]);
}

#[test]
fn next_unread_room_is_one_key_away() {
    let mut listed = rooms();
    listed[2].unread = 1;
    let mut chat = Chat::in_rooms(100, 30, rooms(), chatter(5));
    chat.answer(Answer::Rooms(listed)).alt(KeyCode::Char('a'));
    assert_eq!(focus(&chat), "room3");
    chat.alt(KeyCode::Char('a'));
    assert_eq!(chat.says(), "Nothing is unread elsewhere.");
}

#[test]
fn jump_goes_to_a_room_by_letters() {
    let mut chat = chat();
    chat.control('k').write("te").key(KeyCode::Enter);
    assert_eq!(focus(&chat), "room3");
    chat.control('k').key(KeyCode::Down).key(KeyCode::Up).key(KeyCode::Up).key(KeyCode::Enter);
    assert_eq!(focus(&chat), "room3");
    chat.control('k').write("xyz").key(KeyCode::Enter);
    assert_eq!(focus(&chat), "room3");
}

#[test]
fn newest_message_on_screen_is_marked_read() {
    let mut listed = rooms();
    listed[0].unread = 2;
    let mut chat = Chat::in_rooms(100, 30, listed, chatter(5));
    let read = |event: &str| Effect::MarkRead { room: "room1".into(), event: event.into() };
    assert_eq!(chat.effects, [read("m4")]);
    assert_eq!(chat.state.here().unwrap().unread, Unread::Before("m3".into()));
    assert_eq!(chat.state.room().unwrap().unread, 0);
    // While the node is being told, newer ones wait; the last of them is told then.
    chat.hear(message("m5", "ben", NOW_MS + 1, "x"));
    chat.hear(message("m6", "ben", NOW_MS + 2, "x"));
    assert_eq!(chat.effects, []);
    chat.answer(Answer::MarkedRead { room: "room1".into() });
    assert_eq!(chat.effects, [read("m6")]);
}

#[test]
fn what_nobody_looks_at_is_not_marked_read() {
    let mut chat = long_chat();
    chat.answer(Answer::MarkedRead { room: "room1".into() });
    chat.key(KeyCode::PageUp).hear(message("new", "ben", NOW_MS + 1, "x"));
    assert!(!chat.effects.iter().any(|effect| matches!(effect, Effect::MarkRead { .. })));
    assert_eq!(chat.state.here().unwrap().below, 1);
    chat.input(Input::Focus(false)).key(KeyCode::End);
    assert!(!chat.effects.iter().any(|effect| matches!(effect, Effect::MarkRead { .. })));
    chat.input(Input::Focus(true));
    assert_eq!(chat.effects, [Effect::MarkRead { room: "room1".into(), event: "new".into() }]);
    assert_eq!(chat.state.here().unwrap().unread, Unread::Before("new".into()));
}

#[test]
fn older_pages_are_asked_for_near_the_top() {
    let mut chat = long_chat();
    assert!(!chat.effects.iter().any(|effect| matches!(effect, Effect::LoadPage { .. })));
    let before = Effect::LoadPage { room: "room1".into(), page: Page::Before("m0".into()) };
    let mut asked = 0;
    for _ in 0..5 {
        chat.key(KeyCode::PageUp);
        asked += chat.effects.iter().filter(|effect| **effect == before).count();
    }
    // Once, though one went on scrolling.
    assert_eq!(asked, 1);
    let mut older = message("older", "ben", 1, "long ago");
    older.user = user("ben");
    chat.answer(Answer::Page { room: "room1".into(), page: Page::Before("m0".into()), lines: vec![line(older)] });
    chat.key(KeyCode::PageUp);
    assert_eq!(chat.effects, []);
    assert!(chat.state.here().unwrap().window.holds_start());
}

#[test]
fn failed_page_is_not_asked_for_again_and_again() {
    let mut chat = long_chat();
    chat.key(KeyCode::PageUp).key(KeyCode::PageUp).key(KeyCode::PageUp);
    let effect = Effect::LoadPage { room: "room1".into(), page: Page::Before("m0".into()) };
    chat.input(Input::Failed { effect: Box::new(effect.clone()), failure: failure(Outcome::Unknown) });
    assert_eq!(chat.effects, []);
    assert_eq!(chat.says(), "Messages could not be loaded. The disk is full.");
    chat.key(KeyCode::PageUp);
    assert_eq!(chat.effects, [effect]);
}

#[test]
fn scrolling_goes_up_down_and_back_to_the_end() {
    let mut chat = long_chat();
    chat.key(KeyCode::PageUp);
    let first = position(&chat).clone();
    assert_ne!(first, Position::Newest);
    chat.key(KeyCode::PageUp).key(KeyCode::PageDown);
    assert_eq!(*position(&chat), first);
    chat.key(KeyCode::PageDown);
    assert_eq!(*position(&chat), Position::Newest);
    chat.key(KeyCode::PageUp).key(KeyCode::End);
    assert_eq!(*position(&chat), Position::Newest);
}

#[test]
fn what_one_reads_stays_in_place_while_pages_and_messages_come() {
    let mut chat = long_chat();
    chat.key(KeyCode::PageUp);
    let before = position(&chat).clone();
    chat.hear(message("new", "ben", NOW_MS + 1, "x"));
    let older: Vec<_> = (0..PAGE_LEN as u64).map(|i| line(message(&format!("o{i}"), "ben", i, "old"))).collect();
    chat.answer(Answer::Page { room: "room1".into(), page: Page::Before("m0".into()), lines: older });
    assert_eq!(*position(&chat), before);
}

#[test]
fn own_message_brings_one_back_to_the_end() {
    let mut chat = long_chat();
    chat.key(KeyCode::PageUp).write("hi").key(KeyCode::Enter);
    assert_eq!(*position(&chat), Position::Newest);
}

#[test]
fn gap_that_opens_or_closes_reloads_what_is_on_screen() {
    let mut chat = chat();
    notice(&mut chat, Happened::Room { room: "room1".into() });
    assert_eq!(chat.effects, [Effect::LoadPage { room: "room1".into(), page: Page::Newest }]);
    // Further notices while that is under way are answered by one more page, not by one each.
    notice(&mut chat, Happened::Backfill { room: "room1".into(), held: 10 });
    notice(&mut chat, Happened::Backfill { room: "room1".into(), held: 20 });
    assert_eq!(chat.effects, []);
    let mut lines = chatter(5);
    lines.insert(2, gap("alice", 1, 5));
    chat.answer(Answer::Page { room: "room1".into(), page: Page::Newest, lines: lines.clone() });
    assert_eq!(chat.effects, [Effect::LoadPage { room: "room1".into(), page: Page::Newest }]);
    assert_eq!(chat.state.here().unwrap().window.lines(), lines);
}

#[test]
fn flood_of_notices_asks_for_the_list_once() {
    let mut chat = chat();
    for i in 0..100 {
        let mut elsewhere = message(&format!("x{i}"), "ben", NOW_MS + i, "x");
        elsewhere.room = "room2".into();
        chat.hear(elsewhere);
        assert_eq!(chat.effects, []);
    }
    chat.input(Input::Tick { now_ms: NOW_MS + 1000 });
    assert_eq!(chat.effects, [Effect::LoadRooms]);
    chat.input(Input::Tick { now_ms: NOW_MS + 1250 });
    assert_eq!(chat.effects, []);
}

#[test]
fn reconnecting_asks_for_what_was_missed() {
    let mut chat = long_chat();
    chat.key(KeyCode::PageUp).input(Input::Disconnected(failure(Outcome::Unknown)));
    assert_eq!(chat.state.connection, Connection::Lost);
    chat.input(Input::Connected);
    let after = Effect::LoadPage { room: "room1".into(), page: Page::After("m49".into()) };
    assert!(chat.effects.contains(&after), "{:?}", chat.effects);
    assert!(chat.effects.contains(&Effect::LoadRooms));
}

#[test]
fn selection_moves_and_leads_back_to_the_input() {
    let mut chat = chat();
    chat.write("x").key(KeyCode::Up);
    assert!(matches!(chat.state.mode, Mode::Compose));
    chat.control('u').key(KeyCode::Up).key(KeyCode::Up).key(KeyCode::Down);
    assert_eq!(chat.state.selected().map(|message| message.id.as_str()), Some("m4"));
    chat.key(KeyCode::Down);
    assert!(matches!(chat.state.mode, Mode::Compose));
    chat.key(KeyCode::Up).key(KeyCode::Esc);
    assert!(matches!(chat.state.mode, Mode::Compose));
}

#[test]
fn selection_scrolls_along_and_loads_older_messages() {
    let mut chat = long_chat();
    let mut asked = false;
    for _ in 0..PAGE_LEN {
        chat.key(KeyCode::Up);
        asked |= chat.effects.iter().any(|effect| matches!(effect, Effect::LoadPage { .. }));
    }
    assert_eq!(chat.state.selected().map(|message| message.id.as_str()), Some("m0"));
    assert_ne!(*position(&chat), Position::Newest);
    assert!(asked);
}

#[test]
fn enter_on_an_answer_goes_to_what_it_answers() {
    let mut lines = chatter(3);
    let mut answer = message("answer", "ben", NOW_MS, "yes");
    answer.reply_to = Some("m0".into());
    lines.push(line(answer));
    let mut chat = Chat::in_rooms(100, 30, rooms(), lines);
    chat.key(KeyCode::Up).key(KeyCode::Enter);
    assert_eq!(chat.state.selected().map(|message| message.id.as_str()), Some("m0"));
    chat.key(KeyCode::Enter);
    assert!(chat.state.here().unwrap().unfolded.contains("m0"));
}

#[test]
fn memory_stays_bounded_however_far_one_scrolls() {
    let mut chat = Chat::in_rooms(100, 30, rooms(), chatter(PAGE_LEN as u64));
    let mut oldest = 1_000_000;
    for _ in 0..400 {
        chat.key(KeyCode::PageUp);
        let pages: Vec<Effect> = std::mem::take(&mut chat.effects);
        for effect in pages {
            let Effect::LoadPage { room, page: Page::Before(id) } = effect else { continue };
            oldest -= PAGE_LEN as u64;
            let say = |i| line(message(&format!("o{}", oldest + i), "ben", oldest + i, "old"));
            let lines = (0..PAGE_LEN as u64).map(say).collect();
            chat.answer(Answer::Page { room, page: Page::Before(id), lines });
        }
    }
    let here = chat.state.here().unwrap();
    assert!(oldest < 1_000_000 - 2000);
    assert!(here.window.lines().len() <= crate::tui::window::LINES_HELD_MAX);
    assert!(!here.window.holds_newest());
    // And back to the end in one step.
    chat.key(KeyCode::End);
    assert_eq!(chat.effects, [Effect::LoadPage { room: "room1".into(), page: Page::Newest }]);
    chat.key(KeyCode::Tab);
    chat.answer(Answer::Page { room: "room1".into(), page: Page::Newest, lines: chatter(PAGE_LEN as u64) });
    assert_eq!(chat.state.open["room1"].window.lines().len(), PAGE_LEN);
}

#[test]
fn a_team_that_lets_one_in_is_told() {
    let mut chat = chat();
    let (name, by) = ("kitchen".into(), "crew".into());
    notice(&mut chat, Happened::LetIn { room: "room9".into(), team: "room8".into(), name, by });
    assert_eq!(chat.state.saying.as_ref().unwrap().text, "crew lets you into kitchen");
}
