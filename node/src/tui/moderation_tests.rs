//! Keeping a room in order from the chat: what commands and keys ask the node, and what the screen says.

use super::*;
use crate::api::types::{Happened, Message, Notice, Successor};
use crate::tui::effect::{Answer, Input};
use crate::tui::fixtures::{Chat, NOW_MS, chatter, line, message, room, user};
use crate::tui::view::draw;
use insta::assert_snapshot;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

fn moderated(change: impl FnOnce(&mut Room)) -> Chat {
    let mut zig = room("room1", "zig", 0, 1);
    zig.role = "moderator".into();
    let may = ["post", "report", "invite", "grant", "remove", "erase", "hide", "topic", "leave"];
    zig.may = may.map(str::to_owned).to_vec();
    change(&mut zig);
    Chat::in_rooms(100, 24, vec![zig, room("room2", "zag", 0, 0)], chatter(6))
}

fn reader() -> Chat {
    moderated(|zig| {
        zig.role = "reader".into();
        zig.may = vec!["leave".into()];
        zig.read_only = Some("reader".into());
    })
}

fn acts(chat: &Chat) -> Vec<OrderAct> {
    let act = |effect: &Effect| if let Effect::Order { act, .. } = effect { Some(act.clone()) } else { None };
    chat.effects.iter().filter_map(act).collect()
}

fn asked(chat: &mut Chat, line: &str) -> Vec<OrderAct> {
    chat.write(line).key(KeyCode::Enter);
    acts(chat)
}

fn screen(chat: &Chat) -> String {
    let (width, height) = chat.state.size;
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(&chat.state, frame)).unwrap();
    terminal.backend().to_string()
}

fn report() -> Report {
    Report {
        id: "r1".into(),
        room: "room1".into(),
        user: user("alice"),
        name: "alice ✓".into(),
        ms: NOW_MS,
        reason: "spam\u{1b}[2J".into(),
        event: "m3".into(),
        author: Some(user("ben")),
        author_name: Some("ben".into()),
        text: Some("buy\nthis".into()),
        erased: false,
    }
}

#[test]
fn commands_that_keep_order_ask_the_node() {
    let mut chat = moderated(|_| {});
    let (ben, name) = (user("ben"), "ben".to_owned());
    let appoint = OrderAct::Appoint { user: ben, name, role: "reader".into() };
    assert_eq!(asked(&mut chat, "/role ben Reader"), [appoint]);
    assert_eq!(asked(&mut chat, "/role ben"), []);
    assert_eq!(chat.says(), "Something is missing: /role WHO ROLE");
    let set = |key, value: &str| OrderAct::Set { key, value: value.into() };
    assert_eq!(asked(&mut chat, "/topic all of it"), [set("topic", "all of it")]);
    assert_eq!(asked(&mut chat, "/rename zigzag"), [set("name", "zigzag")]);
    assert_eq!(asked(&mut chat, "/slow 5m"), [set("slow", "5m")]);
    chat.write("/invite reader").key(KeyCode::Enter);
    assert!(chat.effects.contains(&Effect::Invite { room: "room1".into(), role: Some("reader".into()) }));
    chat.write("/reports").key(KeyCode::Enter);
    assert!(chat.effects.contains(&Effect::LoadReports { room: "room1".into() }));
}

#[test]
fn a_removal_is_asked_about_first() {
    let mut chat = moderated(|_| {});
    assert_eq!(asked(&mut chat, "/remove alice"), []);
    assert!(screen(&chat).contains("Remove alice from zig? What they said so far stays. y / n"));
    chat.key(KeyCode::Char('n'));
    assert_eq!((acts(&chat), matches!(chat.state.mode, Mode::Compose)), (vec![], true));
    asked(&mut chat, "/remove alice");
    chat.key(KeyCode::Char('y'));
    assert_eq!(acts(&chat), [OrderAct::Remove { user: user("alice"), name: "alice".into() }]);
    let act = acts(&chat).remove(0);
    chat.answer(Answer::Ordered(act));
    assert!(chat.says().starts_with("alice is removed."), "{}", chat.says());
    asked(&mut chat, "/remove me");
    assert_eq!(chat.says(), "That is you: /leave leaves the room.");
    asked(&mut chat, "/remove ben carla");
    assert!(chat.says().starts_with("Nobody here is called so"), "{}", chat.says());
    let mut chat = Chat::in_rooms(100, 24, vec![room("room1", "zig", 0, 1)], chatter(6));
    asked(&mut chat, "/remove alice");
    assert_eq!(chat.says(), "Removing somebody needs moderator; you are member.");
}

#[test]
fn people_and_roles_complete_where_a_command_wants_them() {
    let complete = |typed: &str| {
        let mut chat = moderated(|_| {});
        chat.write(typed).key(KeyCode::Tab);
        chat.state.draft().text()
    };
    assert_eq!(complete("/remove al"), "/remove alice ");
    assert_eq!(complete("/role be"), "/role ben ");
    assert_eq!(complete("/role ben mo"), "/role ben moderator ");
    assert_eq!(complete("/invite re"), "/invite reader ");
    assert_eq!(complete("/rol"), "/role ");
}

#[test]
fn a_room_that_is_read_only_says_so_and_takes_commands_alone() {
    let mut chat = reader();
    assert!(screen(&chat).contains("Read-only: your role here is reader."));
    chat.write("hello");
    assert_eq!(
        (chat.state.draft().text(), chat.says()),
        (String::new(), "Read-only: your role here is reader. / begins a command.")
    );
    chat.input(Input::Paste("pasted".into()));
    assert!(chat.state.draft().is_empty());
    chat.write("/who").key(KeyCode::Enter);
    assert!(matches!(chat.state.mode, Mode::People(0)));
    // What was begun before stays, and does not go out.
    let mut chat = moderated(|_| {});
    chat.write("begun");
    chat.state.rooms[0].read_only = Some("removed".into());
    chat.write(" and").key(KeyCode::Enter);
    assert_eq!((chat.posts().len(), chat.state.draft().text()), (0, "begun and".to_owned()));
    assert!(chat.says().starts_with("Read-only: you were removed"), "{}", chat.says());
}

#[test]
fn a_room_that_goes_on_elsewhere_leads_there() {
    let goes_on = |alias: Option<&str>, room: &str, comes_back: bool| {
        let (alias, room) = (alias.map(str::to_owned), room.to_owned());
        move |zig: &mut Room| {
            zig.read_only = (!comes_back).then(|| "successor".to_owned());
            zig.successor = Some(Successor { room, alias, comes_back });
        }
    };
    let mut chat = moderated(goes_on(Some("zag"), "room2", false));
    assert_snapshot!(screen(&chat));
    chat.write("/next").key(KeyCode::Enter);
    assert_eq!(chat.state.focus.as_deref(), Some("room2"));
    chat.write("/next").key(KeyCode::Enter);
    assert_eq!(chat.says(), "This room goes on nowhere else.");
    let mut chat = moderated(goes_on(None, "room9", false));
    assert!(screen(&chat).contains("ask for a link, then /join LINK"));
    chat.write("/next").key(KeyCode::Enter);
    assert!(chat.says().contains("is not here: ask somebody for a link"), "{}", chat.says());
    assert_eq!(chat.state.focus.as_deref(), Some("room1"));
    // Rooms that name one another: one can still write in both, and is told.
    let mut chat = moderated(goes_on(Some("zag"), "room2", true));
    assert!(screen(&chat).contains("name one another"));
    chat.write("hello").key(KeyCode::Enter);
    assert_eq!(chat.posts().len(), 1);
}

#[test]
fn messages_are_folded_and_reported_by_a_key() {
    let mut chat = moderated(|_| {});
    chat.key(KeyCode::Up).key(KeyCode::Char('h'));
    assert_eq!(acts(&chat), [OrderAct::Hide { event: "m5".into(), hidden: true }]);
    let folded = |by: &str| Message {
        hidden: Some(by.into()),
        hidden_by: Some(user("ben")),
        hidden_by_name: Some("ben".into()),
        ..message("m5", "carla", NOW_MS, "what was said")
    };
    chat.hear(folded(HIDDEN_BY_MODERATOR));
    assert!(screen(&chat).contains("(hidden by ben · select it and press Enter to read it)"));
    chat.key(KeyCode::Up).key(KeyCode::Enter);
    assert!(screen(&chat).contains("what was said"));
    chat.key(KeyCode::Char('h'));
    assert_eq!(acts(&chat), [OrderAct::Hide { event: "m5".into(), hidden: false }]);
    chat.key(KeyCode::Up).key(KeyCode::Char('!')).write("it is spam");
    assert!(screen(&chat).contains("! report it to those who moderate, because: it is spam"));
    chat.key(KeyCode::Enter);
    assert_eq!(acts(&chat), [OrderAct::Report { event: "m5".into(), reason: "it is spam".into() }]);
    let mut chat = Chat::in_rooms(100, 24, vec![room("room1", "zig", 0, 1)], chatter(6));
    chat.key(KeyCode::Up).key(KeyCode::Char('h'));
    assert_eq!(
        (acts(&chat), chat.says()),
        (vec![], "Folding a message for everybody needs moderator; you are member.")
    );
}

#[test]
fn reports_are_told_and_listed() {
    let mut chat = moderated(|_| {});
    let what = Happened::Reported { report: Box::new(report()) };
    chat.input(Input::Notice(Box::new(Notice { cursor: 1, what })));
    assert_eq!(chat.says(), "alice reports a message of ben in zig: spam\u{fffd}[2J · /reports");
    chat.answer(Answer::Reports(vec![report(), Report { text: None, author: None, ..report() }]));
    let [Effect::ShowPlain(lines)] = chat.effects.as_slice() else { panic!("{:?}", chat.effects) };
    let text = lines.join("\n");
    assert!(text.contains("alice: spam\u{fffd}[2J\n    ben had said: buy this"), "{text}");
    assert!(text.contains("    somebody had said: (not here)"), "{text}");
    chat.key(KeyCode::Esc);
    chat.answer(Answer::Reports(vec![]));
    assert!(chat.says().starts_with("Nothing was reported"));
}

#[test]
fn slow_mode_is_said_to_whom_it_binds() {
    let slow = |chat: &Chat| screen(chat).contains("slow mode: one message every 30 s");
    assert!(!slow(&moderated(|zig| zig.slow = 30)));
    let mut zig = room("room1", "zig", 0, 1);
    zig.slow = 30;
    let mut folded = message("m9", "ben", NOW_MS, "again");
    folded.hidden = Some("slow".into());
    let mut chat = Chat::in_rooms(100, 24, vec![zig], [chatter(3), vec![line(folded)]].concat());
    assert_snapshot!(screen(&chat));
    chat.write("/who").key(KeyCode::Enter);
    assert_snapshot!("what_one_may_do", screen(&chat));
}
