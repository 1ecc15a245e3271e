//! A room's control events as they were admitted, and what they come to.

use super::people::{Pen, Person};
use std::collections::BTreeMap;
use tidings_protocol::admission::{Admission, admit_control};
use tidings_protocol::control::set::ControlSet;
use tidings_protocol::control::state::{RoomState, Void};
use tidings_protocol::event::VerifiedEvent;
use tidings_protocol::id::UserId;

/// A room's control events, as they were admitted.
#[derive(Clone)]
pub struct Scene {
    pub set: ControlSet,
}

impl Scene {
    pub fn of(events: &[VerifiedEvent]) -> Scene {
        let mut scene = Scene { set: ControlSet::new(events[0].room()) };
        events.iter().for_each(|event| scene.admit(event));
        scene
    }

    pub fn verdict(&self, event: &VerifiedEvent) -> Admission {
        admit_control(event, &self.set).0
    }

    pub fn admit(&mut self, event: &VerifiedEvent) {
        let (admission, control) = admit_control(event, &self.set);
        assert_eq!(admission, Admission::Admit);
        self.set.insert(control.unwrap());
        self.set.settle();
        // What was decided step by step is what is decided from scratch.
        assert_eq!(self.set.from_scratch().state(), self.set.state());
    }

    pub fn state(&self) -> RoomState {
        self.set.state().clone()
    }

    /// How many events do not count.
    pub fn voids(&self) -> usize {
        self.set.verdicts().filter(|(_, void)| void.is_some()).count()
    }

    /// Why an event does not count; `None` when it does.
    pub fn void(&self, event: &VerifiedEvent) -> Option<Void> {
        let void = self.set.void(event.id());
        assert_eq!(self.set.counts(event.id()), void.is_none());
        void
    }
}

/// The rank of each member.
pub fn members(state: &RoomState) -> BTreeMap<UserId, u8> {
    state.members.iter().map(|(user, member)| (*user, member.rank.number())).collect()
}

/// Somebody to whom the founder gave this rank, with a control log of their own.
pub fn holder(scene: &mut Scene, founder: &mut Pen, number: u8, rank: u8) -> (Person, Pen) {
    let person = Person::new(number);
    let grant = founder.grant(person.user(), rank);
    let (enrol, pen) = person.enrol(founder.room, grant.id());
    scene.admit(&grant);
    scene.admit(&enrol);
    (person, pen)
}
