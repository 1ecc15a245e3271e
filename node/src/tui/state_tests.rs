//! What the chat does about what happens to it.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::api::types::{Invite, Joined, Room, RoomCreated};
use crate::tui::draft::About;
use crate::tui::effect::{Answer, Effect, Failure, Input, Outcome, Page, Posting};
use crate::tui::fixtures::{Chat, NOW_MS, chatter, identity, line, message, own, room, sent, user};
use crate::tui::state::Mode;

fn rooms() -> Vec<Room> {
    vec![room("room1", "zig", 0, NOW_MS), room("room2", "general", 0, NOW_MS - 1), room("room3", "tea", 0, NOW_MS - 2)]
}

fn chat() -> Chat {
    Chat::in_rooms(100, 30, rooms(), chatter(5))
}

fn failure(outcome: Outcome) -> Failure {
    Failure { says: "The disk is full.".into(), outcome }
}

fn focus(chat: &Chat) -> &str {
    chat.state.focus.as_deref().unwrap_or("")
}

#[test]
fn start_asks_for_everything_once_the_stream_is_open() {
    let mut chat = Chat::new(100, 30);
    assert_eq!(chat.input(Input::Tick { now_ms: NOW_MS + 1 }).effects, []);
    chat.input(Input::Connected);
    assert_eq!(chat.effects, [Effect::LoadIdentity, Effect::LoadRooms, Effect::LoadStatus]);
    chat.answer(Answer::Rooms(rooms()));
    assert!(chat.effects.contains(&Effect::LoadPage { room: "room1".into(), page: Page::Newest }));
    assert!(chat.effects.contains(&Effect::LoadMembers { room: "room1".into() }));
}

#[test]
fn first_run_asks_for_a_name_before_all_else() {
    let mut chat = Chat::new(100, 30);
    chat.input(Input::Connected).answer(Answer::Identity(identity(""))).answer(Answer::Rooms(rooms()));
    chat.key(KeyCode::Enter);
    assert_eq!(chat.effects, []);
    chat.key(KeyCode::Tab).control('k').key(KeyCode::Esc).key(KeyCode::F(1)).write(" Ana ").key(KeyCode::Enter);
    assert_eq!(chat.effects, [Effect::SetName("Ana".into())]);
    chat.answer(Answer::Named("Ana".into()));
    assert!(matches!(chat.state.mode, Mode::Compose));
    assert_eq!(chat.state.identity.as_ref().unwrap().name, "Ana");
}

#[test]
fn name_that_is_too_long_is_refused_here() {
    let mut chat = chat();
    chat.write(&format!("/name {}", "é".repeat(33))).key(KeyCode::Enter);
    assert_eq!(chat.effects, []);
    assert_eq!(chat.says(), "A name has at most 64 bytes; this one has 66.");
}

#[test]
fn room_asked_for_at_the_start_is_opened() {
    for (asked, opened) in [("general", "room2"), ("room3", "room3"), ("nothing", "room1"), ("roo", "room1")] {
        let mut chat = Chat::new(100, 30);
        chat.state.wanted = Some(crate::tui::state::Wanted::Named(asked.into()));
        chat.input(Input::Connected).answer(Answer::Rooms(rooms()));
        assert_eq!(focus(&chat), opened, "{asked}");
        assert_eq!(chat.says().is_empty(), opened != "room1", "{asked}");
    }
}

#[test]
fn enter_sends_and_shows_at_once() {
    let mut chat = chat();
    chat.write("hello").key(KeyCode::Enter);
    let what = Posting::Message { text: "hello".into(), reply_to: None };
    assert_eq!(chat.posts()[0].what, what);
    assert_eq!(chat.state.here().unwrap().sending.len(), 1);
    assert!(chat.state.draft().is_empty());
    let post = chat.posts()[0].clone();
    chat.answer(Answer::Posted { post, sent: sent("e1") });
    assert_eq!(chat.state.here().unwrap().sending[0].id.as_deref(), Some("e1"));
    chat.hear(own("e1", NOW_MS, "hello", 0));
    assert!(chat.state.here().unwrap().sending.is_empty());
    assert!(chat.state.here().unwrap().window.index("e1").is_some());
}

#[test]
fn notice_before_the_answer_leaves_no_double() {
    let mut chat = chat();
    chat.write("hello").key(KeyCode::Enter);
    let post = chat.posts()[0].clone();
    chat.hear(own("e1", NOW_MS, "hello", 0)).answer(Answer::Posted { post, sent: sent("e1") });
    assert!(chat.state.here().unwrap().sending.is_empty());
}

#[test]
fn blank_text_is_not_sent() {
    let mut chat = chat();
    chat.write("  ").alt(KeyCode::Enter).key(KeyCode::Enter);
    assert_eq!(chat.posts(), []);
}

#[test]
fn refused_text_comes_back_to_its_writer() {
    let mut chat = chat();
    chat.control('r').write("first").key(KeyCode::Enter);
    let effect = chat.effects[0].clone();
    chat.write("second");
    chat.input(Input::Failed { effect: Box::new(effect), failure: failure(Outcome::NotDone) });
    assert_eq!(chat.state.draft().text(), "first\nsecond");
    assert!(matches!(chat.state.draft().about(), About::Reply(id) if id == "m4"));
    assert_eq!(chat.says(), "Not sent. The disk is full.");
    assert!(chat.state.here().unwrap().sending.is_empty());
}

#[test]
fn unknown_outcome_warns_before_sending_twice() {
    let mut chat = chat();
    chat.write("first").key(KeyCode::Enter);
    let effect = chat.effects[0].clone();
    chat.input(Input::Failed { effect: Box::new(effect), failure: failure(Outcome::Unknown) });
    assert!(chat.says().contains("look before you send it again"), "{}", chat.says());
}

#[test]
fn refused_edit_can_be_sent_again() {
    let mut chat = Chat::in_rooms(100, 30, rooms(), vec![line(own("mine", NOW_MS, "tpyo", 1))]);
    chat.key(KeyCode::Up).key(KeyCode::Char('e')).control('u').write("typo").key(KeyCode::Enter);
    assert_eq!(chat.posts()[0].what, Posting::Edit { event: "mine".into(), text: "typo".into() });
    let effect = chat.effects[0].clone();
    chat.input(Input::Failed { effect: Box::new(effect), failure: failure(Outcome::NotDone) }).key(KeyCode::Enter);
    assert_eq!(chat.posts()[0].what, Posting::Edit { event: "mine".into(), text: "typo".into() });
}

#[test]
fn unchanged_edit_sends_nothing() {
    let mut chat = Chat::in_rooms(100, 30, rooms(), vec![line(own("mine", NOW_MS, "fine", 1))]);
    chat.key(KeyCode::Up).key(KeyCode::Char('e')).key(KeyCode::Enter);
    assert_eq!(chat.posts(), []);
    assert!(chat.state.draft().is_empty());
}

#[test]
fn nothing_is_sent_without_a_node_and_nothing_is_lost() {
    let mut chat = chat();
    chat.input(Input::Disconnected(failure(Outcome::Unknown))).write("wait").key(KeyCode::Enter);
    assert_eq!(chat.effects, []);
    assert_eq!(chat.state.draft().text(), "wait");
    chat.input(Input::Connected).key(KeyCode::Enter);
    assert_eq!(chat.posts().len(), 1);
}

#[test]
fn pending_rooms_keep_the_text_and_read_only_ones_take_none() {
    let mut newer = room("room1", "zig", 0, NOW_MS);
    (newer.needs_newer, newer.read_only) = (true, Some("needs_newer".into()));
    let mut pending = room("room1", "zig", 0, NOW_MS);
    (pending.pending, pending.read_only) = (true, Some("pending".into()));
    for (room, word, kept) in [(newer, "Read-only", ""), (pending, "not in this room yet", "hi")] {
        let mut chat = Chat::in_rooms(100, 30, vec![room], chatter(2));
        chat.write("hi");
        assert_eq!(chat.state.draft().text(), kept);
        if !kept.is_empty() {
            chat.key(KeyCode::Enter);
        }
        assert_eq!(chat.posts(), []);
        assert!(chat.says().contains(word), "{}", chat.says());
        assert_eq!(chat.state.draft().text(), kept);
    }
}

#[test]
fn several_lines_are_one_message() {
    let mut chat = chat();
    chat.write("one").alt(KeyCode::Enter).write("two").control('j').write("three").key(KeyCode::Enter);
    assert!(matches!(&chat.posts()[0].what, Posting::Message { text, .. } if text == "one\ntwo\nthree"));
    chat.input(Input::Paste("a\nb".into())).key(KeyCode::Enter);
    assert!(matches!(&chat.posts()[0].what, Posting::Message { text, .. } if text == "a\nb"));
}

#[test]
fn drafts_stay_with_their_rooms() {
    let mut chat = chat();
    chat.write("half a ").key(KeyCode::Tab).write("other");
    assert_eq!(focus(&chat), "room2");
    chat.key(KeyCode::Esc).alt(KeyCode::Up);
    assert_eq!((focus(&chat), chat.state.draft().text().as_str()), ("room1", "half a "));
    chat.key(KeyCode::BackTab).key(KeyCode::BackTab);
    assert_eq!((focus(&chat), chat.state.draft().text().as_str()), ("room2", "other"));
}

#[test]
fn escape_drops_the_purpose_but_not_the_text() {
    let mut chat = chat();
    chat.control('r').write("text").key(KeyCode::Esc);
    assert!(matches!(chat.state.draft().about(), About::New));
    assert_eq!(chat.state.draft().text(), "text");
}

#[test]
fn control_r_answers_others_from_newest_to_oldest() {
    let mut chat = chat();
    chat.hear(own("mine", NOW_MS + 1, "I said", 0));
    chat.control('r');
    assert!(matches!(chat.state.draft().about(), About::Reply(id) if id == "m4"));
    chat.control('r').write("yes").key(KeyCode::Enter);
    assert_eq!(chat.posts()[0].what, Posting::Message { text: "yes".into(), reply_to: Some("m3".into()) });
}

#[test]
fn commands_ask_the_node() {
    let cases = [
        ("/create my room", Effect::CreateRoom("my room".into())),
        ("/join tidings://join/x", Effect::Join("tidings://join/x".into())),
        ("/invite", Effect::Invite { room: "room1".into(), role: None }),
        ("/devices", Effect::LoadDevices),
        ("/name Ana", Effect::SetName("Ana".into())),
        ("/quit", Effect::Quit),
    ];
    for (typed, effect) in cases {
        let mut chat = chat();
        chat.write(typed).key(KeyCode::Enter);
        assert_eq!(chat.effects, [effect], "{typed}");
        assert!(chat.state.draft().is_empty(), "{typed}");
    }
}

#[test]
fn unknown_command_stays_and_two_slashes_send_one() {
    let mut chat = chat();
    chat.write("/shrug").key(KeyCode::Enter);
    assert_eq!(chat.effects, []);
    assert_eq!(chat.state.draft().text(), "/shrug");
    chat.control('u').write("//shrug").key(KeyCode::Enter);
    assert!(matches!(&chat.posts()[0].what, Posting::Message { text, .. } if text == "/shrug"));
}

#[test]
fn leaving_asks_first() {
    let mut chat = chat();
    chat.write("/leave").key(KeyCode::Enter).key(KeyCode::Char('n'));
    assert_eq!(chat.effects, []);
    chat.write("/leave").key(KeyCode::Enter).key(KeyCode::Char('y'));
    assert_eq!(chat.effects, [Effect::Leave { room: "room1".into() }]);
    chat.answer(Answer::Left { room: "room1".into() }).answer(Answer::Rooms(rooms()[1..].to_vec()));
    assert_eq!(focus(&chat), "room2");
}

#[test]
fn made_and_joined_rooms_are_opened_when_they_are_listed() {
    let mut chat = chat();
    let made = RoomCreated { room: "room9".into(), kind: "members".into(), alias: "mine".into() };
    chat.answer(Answer::Created { name: "mine".into(), room: made });
    assert!(chat.effects.contains(&Effect::LoadRooms));
    chat.answer(Answer::Rooms(rooms()));
    assert_eq!(focus(&chat), "room1");
    let mut listed = rooms();
    listed.push(room("room9", "mine", 0, 0));
    chat.answer(Answer::Rooms(listed.clone()));
    assert_eq!(focus(&chat), "room9");
    chat.answer(Answer::Joined(Joined { room: "room8".into(), alias: "".into(), pending: true, tried: vec![] }));
    assert!(chat.says().contains("keeps trying"), "{}", chat.says());
    let mut pending = room("room8", "", 0, 0);
    pending.pending = true;
    listed.push(pending);
    chat.answer(Answer::Rooms(listed));
    assert_eq!(focus(&chat), "room8");
    assert!(!chat.effects.iter().any(|effect| matches!(effect, Effect::LoadPage { .. })));
}

#[test]
fn without_rooms_a_pasted_link_joins() {
    let mut chat = Chat::in_rooms(100, 30, vec![], vec![]);
    chat.write("hello").key(KeyCode::Enter);
    assert!(chat.says().contains("/create"), "{}", chat.says());
    chat.control('u').input(Input::Paste("tidings://join/ab\ncd".into())).key(KeyCode::Enter);
    assert_eq!(chat.effects, [Effect::Join("tidings://join/abcd".into())]);
}

#[test]
fn invite_is_shown_where_it_can_be_copied() {
    let mut chat = chat();
    let invite = Invite {
        invite: "i".into(),
        room: "room1".into(),
        link: Some("tidings://join/abc".into()),
        role: "member".into(),
        closed: false,
        joins: 0,
        expires_ms: 0,
        warning: Some("Only reachable on this machine.".into()),
    };
    chat.answer(Answer::Invited(invite));
    let [Effect::ShowPlain(lines)] = chat.effects.as_slice() else { panic!("{:?}", chat.effects) };
    assert!(lines.iter().any(|line| line == "tidings://join/abc"));
    assert!(lines.iter().any(|line| line.contains("Only reachable")));
    chat.key(KeyCode::Char('x'));
    assert_eq!(chat.effects[0], Effect::Redraw);
    assert!(chat.state.draft().is_empty());
}

#[test]
fn choosing_answers_edits_erases_and_reacts() {
    let mut lines = chatter(3);
    lines.push(line(own("mine", NOW_MS, "my words", 1)));
    let mut chat = Chat::in_rooms(100, 30, rooms(), lines);
    chat.key(KeyCode::Up).key(KeyCode::Char('d')).key(KeyCode::Char('x'));
    assert_eq!(chat.posts(), []);
    chat.key(KeyCode::Char('d')).key(KeyCode::Char('y'));
    assert_eq!(chat.posts()[0].what, Posting::Erase { event: "mine".into() });
    chat.key(KeyCode::Up).key(KeyCode::Up).key(KeyCode::Char('e'));
    assert!(chat.says().contains("Only one's own"), "{}", chat.says());
    chat.key(KeyCode::Char('+')).key(KeyCode::Char('4'));
    assert_eq!(chat.posts()[0].what, Posting::React { event: "m2".into(), emoji: "🎉".into(), remove: false });
    chat.key(KeyCode::Up).key(KeyCode::Char('+')).write("wow").key(KeyCode::Enter);
    assert_eq!(chat.posts()[0].what, Posting::React { event: "mine".into(), emoji: "wow".into(), remove: false });
    chat.key(KeyCode::Up).key(KeyCode::Up).key(KeyCode::Char('r')).write("yes").key(KeyCode::Enter);
    assert_eq!(chat.posts()[0].what, Posting::Message { text: "yes".into(), reply_to: Some("m2".into()) });
}

#[test]
fn erased_message_can_only_be_answered() {
    let mut gone = own("mine", NOW_MS, "", 1);
    gone.erased = true;
    for key in ['e', 'd', '+'] {
        let mut chat = Chat::in_rooms(100, 30, rooms(), vec![line(gone.clone())]);
        chat.key(KeyCode::Up).key(KeyCode::Char(key)).key(KeyCode::Char('y'));
        assert_eq!(chat.posts(), [], "{key}");
        assert_eq!(chat.says(), "This message was erased.");
    }
}

#[test]
fn same_reaction_again_takes_it_back() {
    let mut liked = message("m0", "ben", NOW_MS, "x");
    liked.reactions = [("👍".to_owned(), vec![user("me")])].into();
    let mut chat = Chat::in_rooms(100, 30, rooms(), vec![line(liked)]);
    chat.key(KeyCode::Up).key(KeyCode::Char('+')).key(KeyCode::Char('1'));
    assert_eq!(chat.posts()[0].what, Posting::React { event: "m0".into(), emoji: "👍".into(), remove: true });
}

#[test]
fn tab_completes_people_by_who_spoke_last() {
    let mut chat = chat();
    // ben and carla spoke later than alice; of the members, only they begin so.
    chat.write("hey @").key(KeyCode::Tab);
    assert_eq!(chat.state.draft().text(), "hey @carla ");
    chat.key(KeyCode::Tab);
    assert_eq!(chat.state.draft().text(), "hey @ben ");
    chat.write("x").key(KeyCode::Tab);
    assert_eq!(focus(&chat), "room1");
    chat.control('u').write("al").key(KeyCode::Tab);
    assert_eq!(chat.state.draft().text(), "alice: ");
    chat.control('u').write("/in").key(KeyCode::Tab);
    assert_eq!(chat.state.draft().text(), "/invite ");
}

#[test]
fn quitting_asks_nothing() {
    for quit in ['c', 'q'] {
        assert_eq!(chat().control(quit).effects, [Effect::Quit]);
        assert_eq!(Chat::new(20, 6).control(quit).effects, [Effect::Quit]);
    }
}

#[test]
fn released_keys_are_not_pressed_twice() {
    use crossterm::event::KeyEventKind;
    let mut chat = chat();
    let released = KeyEvent::new_with_kind(KeyCode::Char('x'), KeyModifiers::NONE, KeyEventKind::Release);
    chat.input(Input::Key(released));
    assert!(chat.state.draft().is_empty());
}
