//! What people do in a simulated world: by the same commands as in the program.

use super::fate::Dice;
use super::plan::{Sabotage, What};
use super::world::World;
use crate::command::Command;
use crate::local::{Intent, NewRoom};
use tidings_protocol::content::{Content, Imported};
use tidings_protocol::control::payload::{CloseInvite, Control, OpenInvite};
use tidings_protocol::control::rank::{Rank, Role};
use tidings_protocol::event::Class;
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::identity::InviteSecret;
use tidings_protocol::link::{InviteLink, RoomLink};

impl World {
    /// The first node makes the rooms and a link into each.
    pub(super) fn make_rooms(&mut self) {
        for (number, kind) in self.plan.rooms.clone().into_iter().enumerate() {
            let invite_rank = if self.plan.seed.is_multiple_of(2) { Rank::ADMIN } else { Rank::MEMBER };
            let room = NewRoom { name: format!("room {number}"), kind, invite_rank };
            let room = self.command(0, |reply| Command::Create { room, reply }).unwrap().unwrap();
            self.rooms.push(room);
            self.open_invite(0, number, &mut Dice::of(self.plan.seed, 2));
        }
    }

    /// Somebody does something. What the rules refuse them is not done.
    pub(super) fn deed(&mut self, number: usize) {
        let deed = self.plan.deeds[number].clone();
        let (node, number, mut dice) = (deed.node, deed.room, Dice::of(deed.seed, 3));
        let room = self.rooms[number];
        if self.nodes[node].up.is_none() {
            return;
        }
        self.tell(|| format!("{node}: {:?} in room {number}", deed.what));
        match deed.what {
            What::Join => self.join(node, number, &mut dice),
            What::Say => {
                let text = format!("{} says {}", node, dice.next());
                self.say(node, number, Content::Text(text.as_str().into()));
            }
            What::Touch => self.touch(node, number, &mut dice),
            What::Import => {
                let count = 20 + dice.below(400);
                let record = |n: u64| Imported {
                    source: format!("elsewhere {node}"),
                    author: format!("somebody {}", n % 7),
                    ms: super::world::BEGIN_MS - 1_000_000 + n * 10,
                    order: 0,
                    occurrence: 0,
                    text: format!("record {n} of {}", deed.seed),
                };
                let records = (0..count).map(record).collect();
                self.command(node, |reply| Command::Import { room, records, reply });
            }
            What::EraseOwn | What::EraseOther => {
                let own = deed.what == What::EraseOwn;
                let said = self.said[number].iter().filter(|(_, by)| (*by == node) == own).map(|(id, _)| *id);
                if let Some(id) = dice.pick(&said.collect::<Vec<_>>()).copied() {
                    self.intend(node, number, Intent::Erase(id));
                }
            }
            What::Appoint => {
                let roles = [Role::Moderator, Role::Member, Role::Admin, Role::Reader];
                let (other, role) = (self.other(node, &mut dice), dice.pick(&roles).copied().unwrap());
                let user = self.nodes[other].keys.user;
                if self.intend(node, number, Intent::Appoint { user, role }) {
                    self.touched.insert((number, other));
                }
            }
            What::Remove => {
                let other = self.other(node, &mut dice);
                let user = self.nodes[other].keys.user;
                if self.intend(node, number, Intent::Remove(user)) {
                    self.touched.insert((number, other));
                    // Whoever came by their links may go with them.
                    let of_them = self.invites[number].iter().any(|(by, _)| *by == other);
                    if of_them {
                        self.touched.extend((1..self.plan.nodes).map(|node| (number, node)));
                    }
                }
            }
            What::SetTopic => {
                let (key, value) = ("topic".to_owned(), format!("topic {}", dice.below(1_000)));
                self.intend(node, number, Intent::Set { key, value });
            }
            What::Invite => self.open_invite(node, number, &mut dice),
            What::CloseInvite => self.close_invite(node, number, &mut dice),
            // Who was let in and has not heard of it yet goes without a word, and stays on the list: known, and not mended.
            What::Leave if node != 0 && self.knows_room(node, number) => {
                if self.intend(node, number, Intent::Leave) {
                    self.touched.insert((number, node));
                }
            }
            What::Leave => {}
            What::Audit => self.audit(node, number),
            What::Forge => self.forge(node, number, &mut dice),
        }
    }

    /// Another node, which keeps to the rules: nobody trusts a traitor with more than to be here.
    fn other(&self, node: usize, dice: &mut Dice) -> usize {
        let others: Vec<usize> = self.plan.honest().filter(|other| *other != node).collect();
        dice.pick(&others).copied().unwrap_or(0)
    }

    fn say(&mut self, node: usize, number: usize, content: Content) {
        let is_message = matches!(content, Content::Text(_) | Content::Reply { .. });
        let before = self.said[number].len();
        self.intend(node, number, Intent::Say(content));
        if !is_message {
            self.said[number].truncate(before);
        }
    }

    /// Whether it was done. What was acknowledged is remembered.
    pub(super) fn intend(&mut self, node: usize, number: usize, intent: Intent) -> bool {
        let room = self.rooms[number];
        let answer = self.command(node, |reply| Command::Publish { room, intent, reply });
        let Some(Ok(ids)) = answer else { return false };
        self.figures.said += 1;
        self.kept[node].extend(ids.iter().copied());
        for id in &ids {
            let up = self.nodes[node].up.as_ref().unwrap();
            let event = up.store.event_by_id(*id).unwrap().unwrap();
            if event.log.class == Class::Content {
                self.acknowledged.entry((number, node)).or_default().insert(*id);
                self.said[number].push((*id, node));
                if self.plan.sabotage == Some(Sabotage::OpenDoor) {
                    self.forged.insert(*id);
                }
            }
        }
        if self.plan.sabotage == Some(Sabotage::Chance) {
            self.tell(|| format!("{:?}", rand::random::<u64>()));
        }
        true
    }

    fn touch(&mut self, node: usize, number: usize, dice: &mut Dice) {
        let Some((target, by)) = dice.pick(&self.said[number]).copied() else { return };
        let text = format!("{node} touches {}", dice.next());
        let content = match dice.below(3) {
            0 => Content::Reply { target, root: target, text: text.as_str().into() },
            1 if by == node => Content::Edit { target, text: text.as_str().into() },
            _ => Content::Reaction { target, emoji: "+1".into(), removed: dice.percent(20) },
        };
        self.say(node, number, content);
    }

    fn join(&mut self, node: usize, number: usize, dice: &mut Dice) {
        // Mostly by the first link, which the founder opened; who comes by another may go with whoever opened it.
        let nth = if dice.percent(75) { 0 } else { dice.place(self.invites[number].len()) };
        let (by, link) = self.invites[number][nth].clone();
        if nth != 0 {
            self.touched.insert((number, node));
        }
        self.link(node, by);
        let link = Box::new(RoomLink::Invite(link));
        self.command(node, |reply| Command::Join { link, reply });
    }

    fn open_invite(&mut self, node: usize, number: usize, dice: &mut Dice) {
        let room = self.rooms[number];
        let mut seed = [0; 32];
        dice.fill(&mut seed);
        let key = InviteSecret::from_seed(seed);
        let open = Control::OpenInvite(OpenInvite { key: key.key(), rank: Rank::MEMBER });
        if !self.intend(node, number, Intent::Rule(open)) {
            return;
        }
        let up = self.nodes[node].up.as_ref().unwrap();
        let view = up.view(room).unwrap();
        let of_key = |(id, invite): (&EventId, &tidings_protocol::control::state::Invite)| {
            (invite.key == key.key()).then_some(*id)
        };
        let Some(invite) = view.state.invites.iter().find_map(of_key) else { return };
        let (kind, secret) = (view.row.kind, view.row.secret);
        let (network, addresses) = (String::new(), Vec::new());
        let link = InviteLink { network, room, kind, secret, invite, key, expires_ms: 0, addresses };
        self.invites[number].push((node, link));
    }

    fn close_invite(&mut self, node: usize, number: usize, dice: &mut Dice) {
        // Never the first: it is how everybody comes in.
        let later: Vec<EventId> = self.invites[number].iter().skip(1).map(|(_, link)| link.invite).collect();
        let Some(invite) = dice.pick(&later).copied() else { return };
        let up = self.nodes[node].up.as_ref().unwrap();
        let known = up.view(self.rooms[number]).and_then(|view| view.state.invites.get(&invite).cloned());
        let joins = known.map(|known| known.joins.iter().copied().collect()).unwrap_or_default();
        self.intend(node, number, Intent::Rule(Control::CloseInvite(CloseInvite { invite, joins })));
    }

    fn knows_room(&self, node: usize, number: usize) -> bool {
        let view = self.nodes[node].up.as_ref().and_then(|up| up.view(self.rooms[number]));
        view.is_some_and(|view| view.has_genesis && view.row.pending.is_none())
    }

    /// The room of a number, where a node knows it.
    pub(super) fn known_room(&self, node: usize, number: usize) -> Option<RoomId> {
        let room = self.rooms[number];
        self.nodes[node].up.as_ref()?.view(room).map(|_| room)
    }
}
