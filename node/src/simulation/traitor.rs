//! Those who break the rules: insiders with keys of their own, who say what they may not, and talk as they like.

use super::fate::Dice;
use super::plan::Trick;
use super::world::World;
use std::sync::Arc;
use tidings_protocol::codec::encode;
use tidings_protocol::content::Content;
use tidings_protocol::control::payload::{Control, Erase, Grant, Join, Revoke, Set};
use tidings_protocol::control::rank::Rank;
use tidings_protocol::event::{Class, Draft, Hlc, Payload, VerifiedEvent};
use tidings_protocol::id::{DeviceId, EventId, RoomId};
use tidings_protocol::identity::InviteSecret;
use tidings_protocol::log::{Log, Tip};
use tidings_protocol::sync::Input;
use tidings_protocol::wire::{Frame, Head, Listing};

impl World {
    /// Says something that it may not, or that nobody should say, to everybody it talks with.
    pub(super) fn forge(&mut self, node: usize, number: usize, dice: &mut Dice) {
        let Some(room) = self.known_room(node, number) else { return };
        let forgery = dice.below(8);
        let (events, is_legal) = match forgery {
            0 => (self.under_anothers_grant(node, room, dice), false),
            1 => (self.ruling(node, room, dice, Control::Grant(self.own_grant(node))), false),
            2 => (self.ruling(node, room, dice, self.revoke_of_the_founder()), false),
            3 => (self.erasing_another(node, number, room, dice), false),
            4 => {
                let set = Set { key: "name".into(), value: "mine".into(), replaces: Vec::new() };
                (self.ruling(node, room, dice, Control::Set(set)), false)
            }
            5 => (self.false_join(node, room, dice), false),
            6 => (self.forked(node, room, dice), true),
            _ => (self.above_nothing(node, room, dice), true),
        };
        if events.is_empty() {
            return;
        }
        self.figures.forged += 1;
        // Before it stands what makes it look right, which may count.
        if let Some(last) = events.last().filter(|_| !is_legal) {
            let list = if forgery == 3 { &mut self.powerless } else { &mut self.forged };
            list.insert(last.id());
        }
        let peers: Vec<usize> = self.nodes[node].up.as_ref().map(|up| up.talks.keys().copied().collect()).unwrap();
        for event in events {
            let bytes = encode(&event.to_signed().unwrap());
            // Not all hear of it, so that it has to get round.
            for peer in peers.iter().filter(|_| dice.percent(70)) {
                self.input(node, *peer, Input::Push { room, event: bytes.clone() });
            }
            self.spread(node, number, node, &Arc::new(bytes));
        }
    }

    fn own_grant(&self, node: usize) -> Grant {
        Grant { user: self.nodes[node].keys.user, rank: Rank::ADMIN, lifts: Vec::new() }
    }

    fn revoke_of_the_founder(&self) -> Control {
        Control::Revoke(Revoke { user: self.nodes[0].keys.user, cuts: Vec::new(), joins: Vec::new() })
    }

    /// The traitor's own grant, as its node sees it.
    fn grant(&self, node: usize, room: RoomId) -> Option<EventId> {
        let view = self.nodes[node].up.as_ref()?.view(room)?;
        view.state.grant_of(self.nodes[node].keys.device().id()).map(|(grant, _)| grant)
    }

    fn tips(&self, node: usize, room: RoomId, log: &Log) -> Vec<Tip> {
        let up = self.nodes[node].up.as_ref().unwrap();
        let row = up.view(room).and_then(|view| up.store.log(view.number, log).unwrap());
        row.map(|row| row.state.tips().to_vec()).unwrap_or_default()
    }

    fn signed(
        &self,
        (node, room): (usize, RoomId),
        dice: &mut Dice,
        (log, after): (&Log, Option<Tip>),
        what: What<'_>,
    ) -> VerifiedEvent {
        let mut salt = [0; 16];
        dice.fill(&mut salt);
        let (kind, bytes) = match what {
            What::Content(content) => (content.kind(), content.encode()),
            What::Control(control) => (control.kind(), control.encode()),
        };
        let draft = Draft {
            class: log.class,
            kind,
            room,
            grant: log.grant,
            seq: after.map_or(1, |tip| tip.seq + 1),
            prev: after.map_or(EventId::ZERO, |tip| tip.id),
            parents: Vec::new(),
            hlc: Hlc::at_ms(self.now_ms + dice.below(2_000)),
            payload: Payload { salt, bytes },
        };
        draft.sign(&self.nodes[node].keys.device().key).unwrap()
    }

    fn under_anothers_grant(&mut self, node: usize, room: RoomId, dice: &mut Dice) -> Vec<VerifiedEvent> {
        let Some(founders) = self.nodes[node].up.as_ref().and_then(|up| up.view(room)).and_then(|view| {
            let device = self.nodes[0].keys.device().id();
            view.state.grant_of(device).map(|(grant, _)| grant)
        }) else {
            return Vec::new();
        };
        let log = Log { class: Class::Content, author: self.device(node), grant: founders };
        vec![self.signed((node, room), dice, (&log, None), What::Content(&Content::Text("I am the founder".into())))]
    }

    /// A decision in its own control log, which it begins where that is needed.
    fn ruling(&mut self, node: usize, room: RoomId, dice: &mut Dice, control: Control) -> Vec<VerifiedEvent> {
        let Some(grant) = self.grant(node, room) else { return Vec::new() };
        let log = Log { class: Class::Control, author: self.device(node), grant };
        let mut events = Vec::new();
        let mut top = self.tips(node, room, &log).last().copied();
        if top.is_none() {
            let enrol = Control::Enrol(self.nodes[node].keys.device().certificate.clone());
            let enrol = self.signed((node, room), dice, (&log, None), What::Control(&enrol));
            top = Some(Tip { seq: 1, id: enrol.id() });
            events.push(enrol);
        }
        events.push(self.signed((node, room), dice, (&log, top), What::Control(&control)));
        events
    }

    fn erasing_another(&mut self, node: usize, number: usize, room: RoomId, dice: &mut Dice) -> Vec<VerifiedEvent> {
        let others: Vec<EventId> = self.said[number].iter().filter(|(_, by)| *by != node).map(|(id, _)| *id).collect();
        let Some(id) = dice.pick(&others).copied() else { return Vec::new() };
        let held = self.nodes[node].up.as_ref().and_then(|up| up.store.event_by_id(id).unwrap());
        let Some(event) = held else { return Vec::new() };
        let erase = Erase { author: event.log.author, grant: event.log.grant, seq: event.seq, id };
        self.ruling(node, room, dice, Control::Erase(erase))
    }

    /// A join by an invitation that nobody opened.
    fn false_join(&mut self, node: usize, room: RoomId, dice: &mut Dice) -> Vec<VerifiedEvent> {
        let (mut seed, mut invite) = ([0; 32], [0; 32]);
        dice.fill(&mut seed);
        dice.fill(&mut invite);
        let certificate = self.nodes[node].keys.device().certificate.clone();
        let join = Join::new(room, EventId(invite), certificate, &InviteSecret::from_seed(seed));
        let log = Log { class: Class::Control, author: self.device(node), grant: EventId::ZERO };
        vec![self.signed((node, room), dice, (&log, None), What::Control(&Control::Join(join)))]
    }

    /// Another event where one of its own stands: it counts, and everybody has to come to hold both.
    fn forked(&mut self, node: usize, room: RoomId, dice: &mut Dice) -> Vec<VerifiedEvent> {
        let Some(grant) = self.grant(node, room) else { return Vec::new() };
        let log = Log { class: Class::Content, author: self.device(node), grant };
        let up = self.nodes[node].up.as_ref().unwrap();
        let number = up.view(room).unwrap().number;
        let events = up.store.events_of_log(number, &log, 64).unwrap();
        let after = dice.pick(&events).map(|event| Tip { seq: event.seq, id: event.id });
        let mut branch = Vec::new();
        let mut top = after;
        for n in 0..1 + dice.below(3) {
            let content = Content::Text(format!("the other side of me {n} {}", dice.next()).as_str().into());
            let event = self.signed((node, room), dice, (&log, top), What::Content(&content));
            top = Some(Tip { seq: event.header().seq, id: event.id() });
            branch.push(event);
        }
        branch
    }

    /// An event on top of one that nobody has: a hole that is never filled.
    fn above_nothing(&mut self, node: usize, room: RoomId, dice: &mut Dice) -> Vec<VerifiedEvent> {
        let Some(grant) = self.grant(node, room) else { return Vec::new() };
        let log = Log { class: Class::Content, author: self.device(node), grant };
        let mut id = [0; 32];
        dice.fill(&mut id);
        let top = Tip { seq: 1 + dice.below(1_000), id: EventId(id) };
        vec![self.signed((node, room), dice, (&log, Some(top)), What::Content(&Content::Text("from nowhere".into())))]
    }

    fn device(&self, node: usize) -> DeviceId {
        self.nodes[node].keys.device().id()
    }

    /// What a traitor makes of a frame that is to go out, in bytes; nothing for none.
    pub(super) fn twist(&mut self, node: usize, peer: usize, frame: &Frame, bytes: Vec<u8>) -> Option<Vec<Vec<u8>>> {
        let tricks = self.plan.traitors.get(&node).cloned().unwrap_or_default();
        let mut out = vec![bytes];
        let mut dice = self.nodes[node].dice.clone();
        if tricks.contains(&Trick::Withhold) && matches!(frame, Frame::Events { .. }) && dice.percent(50) {
            out.clear();
        }
        if tricks.contains(&Trick::Repeat) && dice.percent(5) {
            out.extend(self.sent_before(node, peer));
        }
        if let Some(handle) = frame.tells_of().filter(|_| tricks.contains(&Trick::Invent) && dice.percent(5)) {
            let mut id = [0; 32];
            dice.fill(&mut id);
            let tip = Tip { seq: dice.next() >> dice.below(64), id: EventId(id) };
            let head = Head { author: self.device(node), grant: EventId(id), tip, hlc: Hlc(dice.next()) };
            let (class, listing) = (Class::Content, Listing::Moved);
            out.push(Frame::Heads { room: handle, class, listing, last: true, heads: vec![head] }.to_bytes());
        }
        if tricks.contains(&Trick::Garble) && dice.percent(3) {
            for bytes in &mut out {
                let place = dice.place(bytes.len());
                bytes[place] ^= 1 << dice.below(8);
            }
        }
        self.nodes[node].dice = dice;
        Some(out)
    }
}

enum What<'a> {
    Content(&'a Content),
    Control(&'a Control),
}
