//! What the node answers. What was written is never lost: where it was refused, it goes back to its writer.

use crate::api::types::{Identity, Joined, Sent};
use crate::tui::draft::About;
use crate::tui::effect::{Answer, Effect, Failure, Outcome, Post, Posting};
use crate::tui::field::Field;
use crate::tui::names::clean;
use crate::tui::state::{Connection, Mode, State, Tone, Wanted};

impl State {
    /// An effect is done.
    pub(super) fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Identity(identity) => self.meet(identity),
            Answer::Status(status) => {
                self.status = Some(status);
                self.status_loaded.arrive();
            }
            Answer::Rooms(rooms) => self.list_rooms(rooms),
            Answer::Members { room, mut members } => {
                members.truncate(MEMBERS_HELD_MAX);
                if let Some(open) = self.open.get_mut(&room) {
                    open.meet(members);
                }
            }
            Answer::Page { room, page, lines } => {
                let Some(open) = self.open.get_mut(&room) else { return };
                open.asked = None;
                open.merge(&page, lines);
                if std::mem::take(&mut open.is_stale) {
                    self.refresh(&room);
                }
            }
            Answer::Posted { post, sent } => self.posted(post, sent),
            Answer::MarkedRead { room } => {
                self.rooms_loaded.spoil();
                if let Some(open) = self.open.get_mut(&room) {
                    open.is_marking = false;
                }
            }
            Answer::Typed => {}
            Answer::Named(name) => self.named(name),
            Answer::Created { name, room } => {
                self.say(format!("{} is made. /invite makes a link for those who should join.", clean(&name)));
                self.expect_room(room.room);
            }
            Answer::Joined(joined) => self.joined(joined),
            Answer::Invited(invite) => self.show_invite(&invite),
            Answer::Ordered(act) => self.ordered(&act),
            Answer::Reports(reports) => self.show_reports(&reports),
            Answer::Inbox(inbox) => self.show_inbox(&inbox),
            Answer::Threads(threads) => self.show_threads(&threads),
            Answer::Thread(lines) => self.show_thread(&lines),
            Answer::Found(found) => self.show_found(&found),
            Answer::Person { act, person } => self.person_changed(&act, &person),
            Answer::Code(code) => self.show_code(&code),
            Answer::Devices(devices) => self.show_devices(&devices),
            Answer::Left { room } => {
                self.say("You left the room.");
                self.rooms.retain(|listed| listed.room != room);
                self.open.remove(&room);
                if self.focus.as_deref() == Some(&room) {
                    self.focus = None;
                }
                self.rooms_loaded.spoil();
            }
        }
    }

    fn meet(&mut self, identity: Identity) {
        if identity.name.trim().is_empty() {
            if !matches!(self.mode, Mode::Naming(_)) {
                self.mode = Mode::Naming(Field::default());
            }
        } else if matches!(self.mode, Mode::Naming(_)) {
            self.mode = Mode::Compose;
        }
        self.identity = Some(identity);
    }

    fn named(&mut self, name: String) {
        let is_first = matches!(self.mode, Mode::Naming(_));
        if is_first {
            self.mode = Mode::Compose;
        }
        self.say(format!("{} {}. /name changes that.", if is_first { "Welcome," } else { "You are" }, clean(&name)));
        if let Some(identity) = &mut self.identity {
            identity.name = name;
        }
    }

    fn joined(&mut self, joined: Joined) {
        if joined.pending {
            self.say("Nobody of this room could be reached yet. The node keeps trying; the room fills by itself.");
        } else {
            self.say(format!("You are in {}.", clean(&joined.alias)));
        }
        self.expect_room(joined.room);
    }

    /// Goes to a room once it is listed.
    fn expect_room(&mut self, room: String) {
        self.wanted = Some(Wanted::Made(room));
        self.rooms_loaded.spoil();
        self.load_lists();
    }

    fn show_invite(&mut self, invite: &crate::api::types::Invite) {
        let Some(link) = &invite.link else {
            self.complain("The node made an invite but gave no link for it.");
            return;
        };
        let mut lines =
            vec!["Give this link to whom you want in the room. Who has it can join.".to_owned(), String::new()];
        lines.push(clean(link));
        lines.push(String::new());
        lines.extend(invite.warning.as_deref().map(clean));
        lines.push("Whoever got it types: /join LINK, or in a shell: tidings room join LINK".to_owned());
        self.mode = Mode::Plain;
        self.effects.push(Effect::ShowPlain(lines));
    }

    fn show_devices(&mut self, devices: &[crate::api::types::Device]) {
        let mut lines = vec!["Your devices:".to_owned(), String::new()];
        for device in devices {
            let mark = match (device.revoked, device.current) {
                (true, _) => "revoked",
                (_, true) => "this one",
                _ => "",
            };
            lines.push(format!("{:<24} {mark:<9} {}", clean(&device.name), clean(&device.device)));
        }
        lines.push(String::new());
        lines.push("In a shell: tidings id add lets another in, tidings id revoke DEVICE ends one.".to_owned());
        self.mode = Mode::Plain;
        self.effects.push(Effect::ShowPlain(lines));
    }

    fn posted(&mut self, post: Post, sent: Sent) {
        if self.saying.as_ref().is_some_and(|saying| saying.tone == Tone::Wrong) {
            self.saying = None;
        }
        let Some(open) = self.open.get_mut(&post.room) else { return };
        let is_shown = open.window.index(&sent.id).is_some();
        if let Some(at) = open.sending.iter().position(|sending| sending.token == post.token) {
            if is_shown {
                open.sending.remove(at);
            } else {
                open.sending[at].id = Some(sent.id);
            }
        }
    }

    /// An effect failed: what was written goes back to its writer, and the screen says why.
    pub(super) fn failed(&mut self, effect: Effect, failure: Failure) {
        let says = clean(&failure.says);
        match effect {
            Effect::LoadMembers { .. } | Effect::Type { .. } => {}
            Effect::LoadDevices => self.complain_of("Your devices could not be listed.", &says),
            // They count as here, or a node that always fails would be asked without end; the clock asks again.
            Effect::LoadStatus => self.status_loaded.arrive(),
            Effect::LoadRooms => {
                self.rooms_loaded.arrive();
                self.complain_of("The list of rooms could not be loaded.", &says);
            }
            Effect::LoadIdentity => self.complain_of("The node does not say who you are.", &says),
            Effect::LoadPage { room, .. } => {
                if let Some(open) = self.open.get_mut(&room) {
                    open.asked = None;
                    open.is_stale = false;
                    open.is_stuck = true;
                }
                self.complain_of("Messages could not be loaded.", &says);
            }
            Effect::Post(post) => {
                self.complain(match failure.outcome {
                    Outcome::NotDone => format!("Not sent. {says}"),
                    Outcome::Unknown => {
                        format!("It is not known whether this was sent: look before you send it again. {says}")
                    }
                });
                self.put_back(post);
            }
            Effect::MarkRead { room, .. } => {
                if let Some(open) = self.open.get_mut(&room) {
                    open.is_marking = false;
                }
                self.complain_of("The node could not note what was read.", &says);
            }
            _ => self.complain(says),
        }
    }

    /// Complains about something that was not asked for by hand. Without a connection the status line says it all.
    fn complain_of(&mut self, what: &str, says: &str) {
        if self.connection == Connection::Open {
            self.complain(format!("{what} {says}"));
        }
    }

    fn put_back(&mut self, post: Post) {
        let Some(open) = self.open.get_mut(&post.room) else { return };
        open.sending.retain(|sending| sending.token != post.token);
        match post.what {
            Posting::Message { text, reply_to } => {
                // A line that began with a slash was written with two.
                let text = if text.starts_with('/') { format!("/{text}") } else { text };
                if matches!(open.draft.about(), About::Edit { .. }) {
                    open.draft.leave_about();
                }
                open.draft.put_back(&text);
                if let Some(event) = reply_to {
                    open.draft.reply(&event);
                }
            }
            Posting::Edit { event, text } => {
                let was = open.window.message(&event).map_or_else(String::new, |message| message.text.clone());
                open.draft.edit(&event, &was);
                open.draft.set(&text);
            }
            Posting::Erase { .. } | Posting::React { .. } => {}
        }
    }
}

/// Members held of a room: for completion and names, not for counting.
const MEMBERS_HELD_MAX: usize = 4096;
