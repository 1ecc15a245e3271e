//! Commands that begin with a slash, and what they do.

use crate::tui::effect::Effect;
use crate::tui::moderation::OrderCommand;
use crate::tui::names::room_name;
use crate::tui::people::PersonCommand;
use crate::tui::state::{Mode, State};

/// A command with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `/create NAME`
    Create(String),
    /// `/devices`
    Devices,
    /// `/help`
    Help,
    /// `/inbox`
    Inbox,
    /// `/invite ROLE`
    Invite(Option<String>),
    /// `/join LINK`
    Join(String),
    /// `/leave`
    Leave,
    /// `/name NAME`
    Name(String),
    /// Something that keeps the room in order.
    Order(OrderCommand, String),
    /// Something about somebody.
    Person(PersonCommand, String),
    /// `/quit`
    Quit,
    /// `/thread N`
    Thread(String),
    /// `/who`
    Who,
    /// `/search WORDS`
    Search(String),
}

/// All commands: how one writes them, and what they do.
pub const COMMANDS: [(&str, &str); 23] = [
    ("/create NAME", "make a room, for those whom you invite"),
    ("/join LINK", "join a room by an invite link"),
    ("/invite ROLE", "make an invite link for this room; without ROLE for a member"),
    ("/inbox", "see what names you or answers you, in all rooms"),
    ("/thread N", "see the threads of this room; with a number that one of them"),
    ("/who", "see who is in this room, and what you may do"),
    ("/role WHO ROLE", "make somebody admin, moderator, member, reader or keeper"),
    ("/remove WHO", "remove somebody from this room"),
    ("/topic TEXT", "say what this room is about"),
    ("/rename NAME", "call this room something else, for everybody"),
    ("/slow TIME", "keep a time between two messages of one member: 30s, 5m, off"),
    ("/reports", "see what was reported here, as a moderator"),
    ("/next", "go to the room in which this one goes on"),
    ("/call WHO NAME", "give somebody a name that you alone see; without NAME take it back"),
    ("/verify WHO", "compare keys with somebody; with their digits behind it: done"),
    ("/block WHO", "hide what somebody says, here"),
    ("/unblock WHO", "show it again"),
    ("/search WORDS", "look for messages in all rooms; in:ROOM from:NAME after:7d narrow it"),
    ("/leave", "leave this room"),
    ("/name NAME", "change what people call you"),
    ("/devices", "see your devices, and how to add one"),
    ("/help", "see all keys and commands"),
    ("/quit", "end the chat"),
];

/// Why a line is no command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandError {
    /// None begins so.
    Unknown(String),
    /// Something is missing: this is how it is written.
    Incomplete(&'static str),
}

impl Command {
    /// Reads a line that begins with a slash.
    pub fn parse(line: &str) -> Result<Self, CommandError> {
        let (name, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
        let rest = rest.trim();
        let needed = |usage| if rest.is_empty() { Err(CommandError::Incomplete(usage)) } else { Ok(rest.to_owned()) };
        Ok(match name {
            "/create" => Self::Create(needed("/create NAME")?),
            // A link that was broken over rows when it was copied is whole again without its spaces.
            "/join" => Self::Join(needed("/join LINK")?.split_whitespace().collect()),
            "/invite" => Self::Invite((!rest.is_empty()).then(|| rest.to_owned())),
            "/role" => Self::Order(OrderCommand::Role, needed("/role WHO ROLE")?),
            "/remove" => Self::Order(OrderCommand::Remove, needed("/remove WHO")?),
            "/topic" => Self::Order(OrderCommand::Topic, needed("/topic TEXT")?),
            "/rename" => Self::Order(OrderCommand::Rename, needed("/rename NAME")?),
            "/slow" => Self::Order(OrderCommand::Slow, needed("/slow TIME")?),
            "/reports" => Self::Order(OrderCommand::Reports, String::new()),
            "/next" => Self::Order(OrderCommand::Next, String::new()),
            "/inbox" => Self::Inbox,
            "/thread" => Self::Thread(rest.to_owned()),
            "/who" => Self::Who,
            "/leave" => Self::Leave,
            "/name" => Self::Name(needed("/name NAME")?),
            "/call" => Self::Person(PersonCommand::Call, needed("/call WHO NAME")?),
            "/verify" => Self::Person(PersonCommand::Verify, needed("/verify WHO")?),
            "/block" => Self::Person(PersonCommand::Block, needed("/block WHO")?),
            "/unblock" => Self::Person(PersonCommand::Unblock, needed("/unblock WHO")?),
            "/search" => Self::Search(needed("/search WORDS")?),
            "/devices" => Self::Devices,
            "/help" => Self::Help,
            "/quit" => Self::Quit,
            _ => return Err(CommandError::Unknown(name.to_owned())),
        })
    }
}

impl State {
    /// Does what the line says. Returns whether it could be read; if not, it stays for its writer to mend.
    pub(super) fn command(&mut self, line: &str) -> bool {
        match Command::parse(line) {
            Ok(command) => {
                self.saying = None;
                self.obey(command);
                true
            }
            Err(CommandError::Incomplete(usage)) => {
                self.complain(format!("Something is missing: {usage}"));
                false
            }
            Err(CommandError::Unknown(name)) => {
                self.complain(format!(
                    "There is no command {name}. /help shows all; // sends a line that begins with /."
                ));
                false
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Help => self.mode = Mode::Help(0),
            Command::Inbox => self.effects.push(Effect::LoadInbox),
            Command::Devices => self.effects.push(Effect::LoadDevices),
            Command::Search(query) => self.effects.push(Effect::Search(query)),
            Command::Quit => self.effects.push(Effect::Quit),
            Command::Name(name) => self.set_name(&name),
            Command::Person(command, rest) => self.obey_person(command, &rest),
            Command::Create(name) => self.effects.push(Effect::CreateRoom(name)),
            Command::Join(link) => {
                self.say("Joining…");
                self.effects.push(Effect::Join(link));
            }
            Command::Invite(_) | Command::Who | Command::Leave | Command::Order(..) | Command::Thread(_) => {
                let Some(room) = self.room().map(|room| room.room.clone()) else {
                    self.complain("You are in no room yet: /create NAME makes one, /join LINK joins one.");
                    return;
                };
                match command {
                    Command::Invite(role) => self.effects.push(Effect::Invite { room, role }),
                    Command::Order(command, rest) => self.obey_order(command, room, &rest),
                    Command::Thread(which) => self.load_threads(room, &which),
                    Command::Who => self.mode = Mode::People(0),
                    _ => self.mode = Mode::Leaving(room),
                }
            }
        }
    }

    /// Asks the node to call its user so from now on.
    pub(super) fn set_name(&mut self, name: &str) {
        let name = name.trim();
        if name.len() > NAME_LEN_MAX {
            self.complain(format!("A name has at most {NAME_LEN_MAX} bytes; this one has {}.", name.len()));
        } else if !name.is_empty() {
            self.effects.push(Effect::SetName(name.to_owned()));
        }
    }

    /// What to ask before leaving.
    pub(super) fn leaving_question(&self, room: &str) -> String {
        let listed = self.rooms.iter().find(|listed| listed.room == room);
        let name = listed.map_or_else(String::new, room_name);
        format!("Leave {name}? y / n")
    }
}

/// As the protocol bounds names.
const NAME_LEN_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read() {
        let parse = |line| Command::parse(line);
        assert_eq!(parse("/create  my room "), Ok(Command::Create("my room".into())));
        assert_eq!(parse("/join tidings://join/ab\ncd ef"), Ok(Command::Join("tidings://join/abcdef".into())));
        assert_eq!(parse("/invite"), Ok(Command::Invite(None)));
        assert_eq!(parse("/invite reader"), Ok(Command::Invite(Some("reader".into()))));
        assert_eq!(parse("/role Ana M admin"), Ok(Command::Order(OrderCommand::Role, "Ana M admin".into())));
        assert_eq!(parse("/name Ana"), Ok(Command::Name("Ana".into())));
        assert_eq!(parse("/call Ana M"), Ok(Command::Person(PersonCommand::Call, "Ana M".into())));
        assert_eq!(parse("/verify"), Err(CommandError::Incomplete("/verify WHO")));
        assert_eq!(parse("/create"), Err(CommandError::Incomplete("/create NAME")));
        assert_eq!(parse("/shrug"), Err(CommandError::Unknown("/shrug".into())));
    }

    #[test]
    fn every_listed_command_is_read() {
        for (usage, _) in COMMANDS {
            assert!(Command::parse(&usage.replace("NAME", "x").replace("LINK", "x")).is_ok(), "{usage}");
        }
    }
}
