//! How the local user stands in a room: what they may do there, why they cannot post if so, and where it goes on.

use crate::api::types as api;
use crate::handle::{NodeError, NodeHandle};
use crate::local::Intent;
use crate::refusal::Refusal;
use crate::rooms::{RoomView, Views};
use std::collections::HashSet;
use tidings_protocol::control::payload::Control;
use tidings_protocol::id::{RoomId, UserId};
use tidings_protocol::limits::SLOW_SECONDS_MAX;
use tidings_protocol::moderation::{Act, SLOW, may, read_only, slow_seconds};

/// How a user stands in a room.
pub(crate) struct RoomStanding {
    pub(crate) may: Vec<String>,
    pub(crate) read_only: Option<String>,
    pub(crate) slow: u32,
    pub(crate) ignored: Vec<api::IgnoredSetting>,
    pub(crate) successor: Option<api::Successor>,
}

impl RoomStanding {
    /// How a user stands in the room of this view.
    pub(crate) fn of(views: &Views, room: RoomId, view: &RoomView, user: UserId) -> Self {
        let state = &view.state;
        let successor = successor(views, room, view);
        let slow = state.settings.get(SLOW);
        let ignored = slow.filter(|value| slow_seconds(value).is_none());
        let why = match (&view.row.pending, view.row.left) {
            (Some(_), _) => Some("pending"),
            (None, true) => Some("left"),
            (None, false) if view.unsure => Some("unsure"),
            (None, false) => read_only(state, user).map(|why| why.name()),
        };
        // Rooms that name one another would otherwise both be closed, and nobody could say anywhere what went wrong.
        let goes_on = successor.as_ref().is_some_and(|next| !next.comes_back).then_some("successor");
        let is_allowed = |act: &Act| !view.unsure || *act == Act::Leave;
        RoomStanding {
            may: may(state, user).into_iter().filter(is_allowed).map(|act: Act| act.name().to_owned()).collect(),
            read_only: why.or(goes_on).map(str::to_owned),
            slow: slow.and_then(|value| slow_seconds(value)).unwrap_or(0),
            ignored: ignored
                .map(|value| api::IgnoredSetting { key: SLOW.to_owned(), value: value.clone() })
                .into_iter()
                .collect(),
            successor,
        }
    }
}

/// Where a room goes on.
fn successor(views: &Views, room: RoomId, view: &RoomView) -> Option<api::Successor> {
    let next = view.state.successor?;
    let held = views.find(next).filter(|view| !view.row.left && view.row.pending.is_none());
    let alias = held.map(|view| view.row.alias.clone());
    Some(api::Successor { room: next.to_string(), alias, comes_back: comes_back(views, room, next) })
}

/// Whether a room goes on in itself, over rooms that are here.
fn comes_back(views: &Views, room: RoomId, next: RoomId) -> bool {
    let mut seen = HashSet::new();
    let mut at = Some(next);
    while let Some(next) = at.filter(|next| *next != room && seen.len() < CHAIN_MAX && seen.insert(*next)) {
        at = views.find(next).and_then(|view| view.state.successor);
    }
    at == Some(room)
}

impl NodeHandle {
    /// Says that a room goes on in another one, which has to be here.
    ///
    /// # Errors
    /// `NodeError::Refused` for who is no admin, and for the room itself; `NodeError::NotFound` for one that is not here.
    pub async fn succeed(&self, room: &str, next: &str) -> Result<api::Sent, NodeError> {
        let (room, _) = self.room_view(room)?;
        let (next, view) = self.room_view(next)?;
        if next == room {
            return Err(Refusal::SuccessorOfItself.into());
        }
        if view.row.left || view.row.pending.is_some() || view.row.home_of.is_some() {
            return Err(Refusal::NotInSuccessor.into());
        }
        self.sent(room, Intent::Rule(Control::Successor(next))).await
    }
}

/// Slow mode as people write it, in seconds: `30`, `30s`, `5m`, `1h`; `0` and `off` for none.
///
/// # Errors
/// `NodeError::Usage`.
pub(crate) fn slow_value(text: &str) -> Result<String, NodeError> {
    let (digits, unit) = match text.trim() {
        "off" => ("0", 1),
        text => match text.char_indices().next_back() {
            Some((at, 's')) => (&text[..at], 1),
            Some((at, 'm')) => (&text[..at], 60),
            Some((at, 'h')) => (&text[..at], 3600),
            _ => (text, 1),
        },
    };
    let seconds = slow_seconds(digits).and_then(|count| count.checked_mul(unit)).filter(|s| *s <= SLOW_SECONDS_MAX);
    match seconds {
        Some(seconds) => Ok(seconds.to_string()),
        None => Err(NodeError::Usage(format!(
            "\"{text}\" is no time for slow mode: write 30s, 5m or 1h, at most {SLOW_SECONDS_MAX} seconds, or off"
        ))),
    }
}

/// Rooms that go on in one another that are followed.
const CHAIN_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tidings_protocol::control::payload::RoomKind;
    use tidings_protocol::control::rank::Rank;
    use tidings_protocol::control::state::{Member, RoomState};
    use tidings_storage::{RoomNumber, RoomRow};

    fn standing(state: RoomState) -> RoomStanding {
        let room = RoomId([1; 32]);
        let row = RoomRow { alias: "lab".into(), ..RoomRow::new(room, RoomKind::Public, [0; 32]) };
        let (state, control_heads) = (Arc::new(state), Arc::default());
        let view = RoomView {
            number: RoomNumber(1),
            row,
            state,
            control_heads,
            has_genesis: true,
            summary: Default::default(),
            unsure: false,
        };
        RoomStanding::of(&Views::default(), room, &view, UserId([2; 32]))
    }

    #[test]
    fn settings_of_other_programs_that_make_no_sense_are_ignored_and_told() {
        let slow = |value: &str| {
            let mut state = RoomState::default();
            state.settings.insert(SLOW.to_owned(), value.to_owned());
            let standing = standing(state);
            (standing.slow, standing.ignored.into_iter().map(|ignored| ignored.value).collect::<Vec<_>>())
        };
        assert_eq!(slow("60"), (60, vec![]));
        for wrong in ["soon", "86401", "", "1e3"] {
            assert_eq!(slow(wrong), (0, vec![wrong.to_owned()]));
        }
    }

    #[test]
    fn a_room_that_other_programs_let_go_on_in_itself_stays_open() {
        let next = |n: u8| {
            let mut state = RoomState::default();
            let member = Member { rank: Rank::MEMBER, devices: Default::default() };
            state.members.insert(UserId([2; 32]), member);
            state.successor = Some(RoomId([n; 32]));
            let standing = standing(state);
            (standing.successor.map(|next| next.comes_back), standing.read_only)
        };
        assert_eq!(next(1), (Some(true), None));
        assert_eq!(next(9), (Some(false), Some("successor".to_owned())));
    }

    #[test]
    fn slow_mode_is_written_as_people_write_times() {
        for (text, seconds) in
            [("30", "30"), ("30s", "30"), ("5m", "300"), ("1h", "3600"), ("off", "0"), ("24h", "86400")]
        {
            assert_eq!(slow_value(text).unwrap(), seconds);
        }
        for text in ["", "s", "soon", "-1", "25h", "1d", "9999999m", "é", "5 m"] {
            assert!(slow_value(text).is_err(), "{text:?}");
        }
    }
}
