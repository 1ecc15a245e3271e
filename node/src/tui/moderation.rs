//! Keeping a room in order from the chat: roles, removals, settings, folding and reporting messages; and what a room says
//! when nothing can be said in it.

use crossterm::event::{KeyCode, KeyEvent};

use crate::api::types::{HIDDEN_BY_MODERATOR, Report, Room};
use crate::tui::effect::{Effect, OrderAct};
use crate::tui::field::Field;
use crate::tui::names::{Whom, clean, name_of_others, room_name, short};
use crate::tui::state::{Ask, Mode, Removing, State};

/// A command that keeps the room in front in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderCommand {
    /// `/role WHO ROLE`
    Role,
    /// `/remove WHO`
    Remove,
    /// `/topic TEXT`
    Topic,
    /// `/rename NAME`
    Rename,
    /// `/slow TIME`
    Slow,
    /// `/reports`
    Reports,
    /// `/next`
    Next,
}

impl State {
    /// Whether the local user may do this in the room in front, as the node says.
    pub(super) fn may(&self, act: &str) -> bool {
        self.room().is_some_and(|room| room.may.iter().any(|may| may == act))
    }

    pub(super) fn obey_order(&mut self, command: OrderCommand, room: String, rest: &str) {
        let set = |key, value: &str| OrderAct::Set { key, value: value.to_owned() };
        let act = match command {
            OrderCommand::Role => {
                let Some((user, name, role)) = self.somebody(rest) else { return };
                if role.is_empty() {
                    self.complain("Something is missing: /role WHO ROLE");
                    return;
                }
                OrderAct::Appoint { user, name, role: role.to_lowercase() }
            }
            OrderCommand::Remove => return self.begin_removing(room, rest),
            OrderCommand::Topic => set("topic", rest),
            OrderCommand::Rename => set("name", rest),
            OrderCommand::Slow => set("slow", rest),
            OrderCommand::Reports => return self.effects.push(Effect::LoadReports { room }),
            OrderCommand::Next => return self.go_on(),
        };
        self.effects.push(Effect::Order { room, act });
    }

    /// Whom a line begins with, what they are called on screen, and what stands behind that.
    fn somebody(&mut self, line: &str) -> Option<(String, String, String)> {
        let whom = self.here().map_or_else(|| Whom::read(line), |open| open.names().whom(line));
        match whom {
            Whom::One { user, rest } => {
                let known = self.here().filter(|open| open.names().knows(&user));
                let name = known.map_or_else(|| clean(&user), |open| open.names().name(&user, NAME_CELLS));
                Some((user, name, rest))
            }
            Whom::Several(names) => {
                self.complain(format!("Several are called so: write {}.", names.join(" or ")));
                None
            }
        }
    }

    fn begin_removing(&mut self, room: String, rest: &str) {
        let Some((user, name, rest)) = self.somebody(rest) else { return };
        if !self.may("remove") {
            let role = self.room().map(|room| clean(&room.role)).unwrap_or_default();
            self.complain(format!("Removing somebody needs moderator; you are {role}."));
        } else if !rest.is_empty() {
            self.complain(format!("Nobody here is called so: write /remove {name} alone to remove {name}."));
        } else if user == self.me() {
            self.complain("That is you: /leave leaves the room.");
        } else {
            self.mode = Mode::Removing(Removing { room, user, name });
        }
    }

    /// What to ask before somebody is removed.
    pub(super) fn removing_question(&self, removing: &Removing) -> String {
        let listed = self.rooms.iter().find(|listed| listed.room == removing.room);
        let room = listed.map_or_else(String::new, room_name);
        format!("Remove {} from {room}? What they said so far stays. y / n", removing.name)
    }

    pub(super) fn removing_key(&mut self, removing: Removing, key: KeyEvent) {
        if matches!(key.code, KeyCode::Char('y' | 'Y')) {
            let act = OrderAct::Remove { user: removing.user, name: removing.name };
            self.effects.push(Effect::Order { room: removing.room, act });
        }
    }

    /// Goes to the room in which the one in front goes on.
    fn go_on(&mut self) {
        let Some(next) = self.room().and_then(|room| room.successor.clone()) else {
            self.say("This room goes on nowhere else.");
            return;
        };
        if self.rooms.iter().any(|room| room.room == next.room) {
            self.focus_room(&next.room);
        } else {
            let room = short(&next.room);
            self.say(format!("The next room ({room}) is not here: ask somebody for a link to it, then /join LINK."));
        }
    }

    /// `h`: folds a message on everybody's screens, or unfolds one that a moderator has folded.
    pub(super) fn fold_or_unfold(&mut self, id: &str) {
        let (Some(room), Some(message)) = (self.focus.clone(), self.selected()) else { return };
        let hidden = message.hidden.as_deref() != Some(HIDDEN_BY_MODERATOR);
        if !self.may("hide") {
            let role = self.room().map(|room| clean(&room.role)).unwrap_or_default();
            self.complain(format!("Folding a message for everybody needs moderator; you are {role}."));
            return;
        }
        self.effects.push(Effect::Order { room, act: OrderAct::Hide { event: id.to_owned(), hidden } });
        self.mode = Mode::Compose;
    }

    /// A key while the reason of a report is written.
    pub(super) fn report_key(&mut self, id: &str, mut field: Box<Field>, key: KeyEvent) {
        let reason = match key.code {
            KeyCode::Esc => String::new(),
            KeyCode::Enter => clean(field.text()),
            _ => {
                field.key(key);
                self.ask(id, Ask::Report(field));
                return;
            }
        };
        self.ask(id, Ask::Nothing);
        if let Some(room) = self.focus.clone().filter(|_| !reason.is_empty()) {
            let act = OrderAct::Report { event: id.to_owned(), reason };
            self.effects.push(Effect::Order { room, act });
            self.mode = Mode::Compose;
        }
    }

    /// It is done.
    pub(super) fn ordered(&mut self, act: &OrderAct) {
        self.say(match act {
            OrderAct::Remove { name, .. } => {
                format!("{name} is removed. What they said so far stays; /role {name} member lets them in again.")
            }
            OrderAct::Appoint { name, role, .. } => format!("{name} is {} here now.", clean(role)),
            OrderAct::Set { key: "slow", .. } => "Slow mode is set; it does not bind those who moderate.".to_owned(),
            OrderAct::Set { key, value } => format!("The {key} of this room is \"{}\" now.", clean(value)),
            OrderAct::Hide { hidden: true, .. } => "Folded on screens. Choose it and press h to unfold it.".to_owned(),
            OrderAct::Hide { hidden: false, .. } => "It is shown again.".to_owned(),
            OrderAct::Report { .. } => "Reported. Only those who moderate the room can read it.".to_owned(),
        });
    }

    /// Somebody reported a message, and the local user moderates there.
    pub(super) fn reported(&mut self, report: &Report) {
        let listed = self.rooms.iter().find(|room| room.room == report.room);
        let place = listed.map_or_else(String::new, |room| format!(" in {}", room_name(room)));
        let [who, author] = who(report);
        self.say(format!("{who} reports a message of {author}{place}: {} · /reports", clean(&report.reason)));
    }

    pub(super) fn show_reports(&mut self, reports: &[Report]) {
        if reports.is_empty() {
            self.say("Nothing was reported here, as far as this device can read it.");
            return;
        }
        let mut lines = vec!["Reported in this room, the newest last:".to_owned()];
        for report in reports {
            let moment = self.zone.moment(report.ms);
            let [who, author] = who(report);
            let day = moment.day_name(self.zone.moment(self.now_ms));
            let text = match (&report.text, report.erased) {
                (_, true) => "(erased)".to_owned(),
                (Some(text), _) => clean(text),
                (None, _) => "(not here)".to_owned(),
            };
            lines.push(String::new());
            lines.push(format!("{day} {} · {who}: {}", moment.clock(), clean(&report.reason)));
            lines.push(format!("    {author} had said: {text}"));
        }
        self.mode = Mode::Plain;
        self.effects.push(Effect::ShowPlain(lines));
    }

    /// Whether a character that begins a text is not taken, because only commands are taken here; says why.
    pub(super) fn takes_commands_only(&mut self, first: char) -> bool {
        let why = self.room().filter(|room| room.read_only.is_some() && !room.pending).map(why_read_only);
        match why.filter(|_| first != '/' && self.draft().is_empty()) {
            Some(why) => {
                self.complain(format!("{why} / begins a command."));
                true
            }
            None => false,
        }
    }

    /// What the word before the cursor may be, where a command is being written that wants a person or a role.
    pub(super) fn arguments(&self, people: &[String]) -> Option<Vec<String>> {
        let text = self.draft().text();
        let mut words = text.split_whitespace();
        let command = words.next()?;
        let roles = || ROLES.map(str::to_owned);
        match (command, words.count()) {
            ("/remove" | "/call" | "/verify" | "/block" | "/unblock" | "/role", 1) => Some(people.to_vec()),
            // A name may have several words.
            ("/role", 2..) => Some(roles().into_iter().chain(people.iter().cloned()).collect()),
            ("/invite", 1) => Some(roles().to_vec()),
            _ => None,
        }
    }
}

/// Who reports, and whose message.
fn who(report: &Report) -> [String; 2] {
    let name = |name: &str, user: &str| match name_of_others(name) {
        name if name.is_empty() => short(user),
        name => name,
    };
    let author = match (&report.author_name, &report.author) {
        (Some(author), Some(user)) => name(author, user),
        _ => "somebody".to_owned(),
    };
    [name(&report.name, &report.user), author]
}

/// Why nothing can be said in a room, as a sentence.
pub fn why_read_only(room: &Room) -> String {
    match room.read_only.as_deref().unwrap_or_default() {
        "needs_newer" => "Read-only: this room needs a later version of tidings.".to_owned(),
        "unsure" => {
            "Read-only: events that say who may do what were lost, until somebody is here who has them (or: tidings room \
             resume)."
                .to_owned()
        }
        "removed" => "Read-only: you were removed from this room.".to_owned(),
        "not_member" => "Read-only: you are not a member of this room.".to_owned(),
        "left" => "Read-only: you left this room.".to_owned(),
        "reader" => "Read-only: your role here is reader.".to_owned(),
        "keeper" => "Read-only: your role here is keeper.".to_owned(),
        "successor" => goes_on(room),
        other => format!("Read-only: {}.", clean(other)),
    }
}

/// Where a room goes on, and how one gets there; empty where it does not.
pub fn goes_on(room: &Room) -> String {
    match &room.successor {
        None => String::new(),
        Some(next) if next.comes_back => "This room and its successor name one another: neither is closed.".to_owned(),
        Some(next) => match &next.alias {
            Some(alias) => format!("This room goes on in {}: /next goes there.", clean(alias)),
            None => {
                format!("This room goes on in another ({}): ask for a link, then /join LINK.", short(&next.room))
            }
        },
    }
}

/// That slow mode binds whoever writes; empty where it does not.
pub fn slow_note(room: &Room) -> String {
    match room.slow > 0 && !room.may.iter().any(|may| may == "hide") {
        true => format!(" · slow mode: one message every {} s", room.slow),
        false => String::new(),
    }
}

/// What one is in a room, and may do there.
pub fn standing(room: &Room) -> String {
    let may: Vec<String> = room.may.iter().map(|may| clean(may)).collect();
    let may = if may.is_empty() { "nothing".to_owned() } else { may.join(", ") };
    let slow = if room.slow > 0 { format!(" Slow mode: {} s between messages.", room.slow) } else { String::new() };
    format!("You are {} here, and may: {may}.{slow}", clean(&room.role))
}

/// Roles that one can give.
const ROLES: [&str; 5] = ["admin", "moderator", "member", "reader", "keeper"];
const NAME_CELLS: usize = 32;

#[cfg(test)]
#[path = "moderation_tests.rs"]
mod tests;
