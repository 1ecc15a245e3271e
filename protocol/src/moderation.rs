//! Keeping a room in order without touching what counts in it: what somebody may do, messages folded on screens by
//! moderators or by slow mode, and reports that only those who moderate can read. All of it is for screens; validity
//! never asks here.

use crate::codec::{Canonical, CodecError, Reader, Writer, decode};
use crate::control::rank::Rank;
use crate::control::state::RoomState;
use crate::id::{DeviceId, EventId, UserId};
use crate::identity::sealing_id_of;
use crate::limits::{REPORT_LEN_MAX, REPORT_REASON_LEN_MAX, REPORT_RECIPIENTS_MAX, SLOW_SECONDS_MAX};
use crate::sealed::{Place, SealError, Sealed, SealingKey};

/// Something that a role allows in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// Say something.
    Post,
    /// Report a message to those who moderate.
    Report,
    /// Make invite links.
    Invite,
    /// Give somebody weaker a role.
    Grant,
    /// Remove somebody weaker.
    Remove,
    /// Erase messages of others.
    Erase,
    /// Fold messages of others on screens.
    Hide,
    /// Say what the room is about.
    Topic,
    /// Name the room, and set slow mode.
    Set,
    /// Say in which room this one goes on.
    Successor,
    /// Go.
    Leave,
}

impl Act {
    /// Every act, as they are listed.
    pub const ALL: [Act; 11] = [
        Act::Post,
        Act::Report,
        Act::Invite,
        Act::Grant,
        Act::Remove,
        Act::Erase,
        Act::Hide,
        Act::Topic,
        Act::Set,
        Act::Successor,
        Act::Leave,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Act::Post => "post",
            Act::Report => "report",
            Act::Invite => "invite",
            Act::Grant => "grant",
            Act::Remove => "remove",
            Act::Erase => "erase",
            Act::Hide => "hide",
            Act::Topic => "topic",
            Act::Set => "set",
            Act::Successor => "successor",
            Act::Leave => "leave",
        }
    }

    /// The weakest rank that may do it in this room.
    fn weakest(self, state: &RoomState) -> Rank {
        match self {
            Act::Post | Act::Report => Rank::MEMBER,
            // Nobody is weaker than a keeper: there would be nothing to give.
            Act::Invite | Act::Grant => state.invite_rank.unwrap_or(Rank::FOUNDER).min(Rank::READER),
            Act::Remove | Act::Erase | Act::Hide | Act::Topic => Rank::MODERATOR,
            Act::Set | Act::Successor => Rank::ADMIN,
            Act::Leave => Rank::KEEPER,
        }
    }
}

/// What a user may do in a room, in the order of `Act::ALL`; nothing for who is no member, and nothing in a room under
/// rules of a later version.
pub fn may(state: &RoomState, user: UserId) -> Vec<Act> {
    let rank = state.members.get(&user).map(|member| member.rank).filter(|_| !state.needs_newer);
    let allows = |act: &Act| rank.is_some_and(|rank| rank <= act.weakest(state));
    Act::ALL.into_iter().filter(allows).collect()
}

/// Why somebody cannot post in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOnly {
    /// Rules or kinds of a later version are in use.
    NeedsNewer,
    /// Removed, and not back.
    Removed,
    /// Not a member.
    NotMember,
    /// The role is to read.
    Reader,
    /// The role is to hold the room for others.
    Keeper,
}

impl ReadOnly {
    /// Its name, for programs.
    pub fn name(self) -> &'static str {
        match self {
            ReadOnly::NeedsNewer => "needs_newer",
            ReadOnly::Removed => "removed",
            ReadOnly::NotMember => "not_member",
            ReadOnly::Reader => "reader",
            ReadOnly::Keeper => "keeper",
        }
    }
}

/// Why a user cannot post here; `None` for who can.
pub fn read_only(state: &RoomState, user: UserId) -> Option<ReadOnly> {
    match state.members.get(&user).map(|member| member.rank) {
        _ if state.needs_newer => Some(ReadOnly::NeedsNewer),
        None if !state.revokes_of(user).is_empty() => Some(ReadOnly::Removed),
        None => Some(ReadOnly::NotMember),
        Some(rank) if rank <= Rank::MEMBER => None,
        Some(rank) if rank <= Rank::READER => Some(ReadOnly::Reader),
        Some(_) => Some(ReadOnly::Keeper),
    }
}

/// Whether somebody moderates a room: moderator or stronger.
pub fn moderates(state: &RoomState, user: UserId) -> bool {
    state.members.get(&user).is_some_and(|member| member.rank <= Rank::MODERATOR)
}

/// Whether `by` may fold what `author` says: a moderator or stronger, and no weaker than the author.
pub fn may_hide(state: &RoomState, by: UserId, author: UserId) -> bool {
    let rank = |user: UserId| state.members.get(&user).map(|member| member.rank);
    moderates(state, by) && rank(author).is_none_or(|author| rank(by).is_some_and(|by| by <= author))
}

/// A moderator folds a message on screens, or unfolds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hide {
    /// The message.
    pub target: EventId,
    /// Folded, or no longer.
    pub hidden: bool,
}

impl Canonical for Hide {
    fn write(&self, w: &mut Writer) {
        self.target.write(w);
        w.u8(u8::from(self.hidden));
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let target = EventId::read(r)?;
        match r.u8()? {
            n @ 0..=1 => Ok(Hide { target, hidden: n == 1 }),
            _ => Err(CodecError::Invalid("hide")),
        }
    }
}

/// The setting that slows a room's members down.
pub const SLOW: &str = "slow";

/// The seconds that slow mode keeps between two messages of one member: digits alone, at most a day, 0 for none. `None`
/// for any other value, which is ignored.
pub fn slow_seconds(value: &str) -> Option<u32> {
    let is_plain = !value.is_empty() && value.len() <= SLOW_DIGITS_MAX && value.bytes().all(|b| b.is_ascii_digit());
    value.parse().ok().filter(|seconds| is_plain && *seconds <= SLOW_SECONDS_MAX)
}

/// What somebody tells those who moderate of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The message.
    pub target: EventId,
    /// What is wrong with it.
    pub reason: String,
}

impl Report {
    /// Seals it to these devices, each by the key with which it signs.
    ///
    /// # Errors
    /// `SealError`.
    pub fn seal(
        &self,
        to: &[DeviceId],
        place: Place,
        entropy: &mut dyn FnMut() -> [u8; 32],
    ) -> Result<Sealed, SealError> {
        let mut w = Writer::default();
        self.write(&mut w);
        let to: Vec<_> = to.iter().filter_map(|device| sealing_id_of(*device)).collect();
        Sealed::seal(&w.into_bytes(), &to, place, entropy)
    }

    /// Opens one; `None` where it is not for this key, or is none.
    pub fn open(sealed: &Sealed, key: &SealingKey, place: Place) -> Option<Self> {
        decode(&sealed.open(key, place)?, REPORT_LEN_MAX).ok()
    }
}

impl Canonical for Report {
    fn write(&self, w: &mut Writer) {
        w.u8(REPORT_VERSION);
        self.target.write(w);
        w.text(&self.reason);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        match r.u8()? {
            REPORT_VERSION => Ok(Report { target: EventId::read(r)?, reason: r.text(REPORT_REASON_LEN_MAX)? }),
            _ => Err(CodecError::Invalid("report version")),
        }
    }
}

/// The devices that a report of something that `author` said goes to: those of everybody who moderates but the author, the
/// strongest first, at most `REPORT_RECIPIENTS_MAX`.
pub fn report_recipients(state: &RoomState, author: UserId) -> Vec<DeviceId> {
    let moderators = state.members.iter().filter(|(user, member)| member.rank <= Rank::MODERATOR && **user != author);
    let mut moderators: Vec<_> = moderators.collect();
    moderators.sort_by_key(|(user, member)| (member.rank, **user));
    // The user key only revokes devices: it is on paper, and reads nothing.
    let devices = moderators
        .into_iter()
        .flat_map(|(user, member)| member.devices.iter().copied().filter(|device| *device != DeviceId::from(*user)));
    devices.filter(|device| sealing_id_of(*device).is_some()).take(REPORT_RECIPIENTS_MAX).collect()
}

const REPORT_VERSION: u8 = 1;
/// 86400 has five digits; a zero or two in front do no harm.
const SLOW_DIGITS_MAX: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::state::Member;
    use crate::id::RoomId;
    use crate::identity::DeviceKey;

    fn device(n: u8) -> DeviceKey {
        DeviceKey::from_seed(&[n; 32])
    }

    /// A room whose users have these ranks, each with as many devices.
    fn room(members: &[(u8, u8, u8)]) -> RoomState {
        let mut state = RoomState::default();
        for (user, rank, devices) in members {
            let devices = (0..*devices).map(|n| device(user * 16 + n).device()).chain([DeviceId([*user; 32])]);
            let member = Member { rank: Rank::new(*rank).unwrap(), devices: devices.collect() };
            state.members.insert(UserId([*user; 32]), member);
        }
        state.invite_rank = Some(Rank::MODERATOR);
        state
    }

    fn names(state: &RoomState, user: u8) -> Vec<&'static str> {
        may(state, UserId([user; 32])).into_iter().map(Act::name).collect()
    }

    #[test]
    fn a_role_says_what_one_may_do() {
        let mut state = room(&[(1, 0, 1), (2, 5, 1), (3, 20, 1), (4, 60, 1), (5, 94, 1), (6, 99, 1)]);
        assert_eq!(names(&state, 1).len(), Act::ALL.len());
        assert_eq!(names(&state, 2), names(&state, 1));
        let moderator = ["post", "report", "invite", "grant", "remove", "erase", "hide", "topic", "leave"];
        assert_eq!(names(&state, 3), moderator);
        assert_eq!(names(&state, 4), ["post", "report", "leave"]);
        assert_eq!(names(&state, 5), ["leave"]);
        assert_eq!(names(&state, 6), ["leave"]);
        assert_eq!(names(&state, 7), [""; 0]);
        let why = |state: &RoomState, user| read_only(state, UserId([user; 32])).map(ReadOnly::name);
        assert_eq!(
            [4, 5, 6, 7].map(|user| why(&state, user)),
            [None, Some("reader"), Some("keeper"), Some("not_member")]
        );
        state.invite_rank = Some(Rank::KEEPER);
        assert_eq!(names(&state, 5), ["invite", "grant", "leave"]);
        assert_eq!(names(&state, 6), ["leave"], "there is nobody weaker");
        state.needs_newer = true;
        assert_eq!((names(&state, 1), why(&state, 1)), (vec![], Some("needs_newer")));
    }

    #[test]
    fn who_moderates_folds_what_others_say_who_are_no_stronger() {
        let state = room(&[(1, 0, 1), (2, 20, 1), (3, 20, 1), (4, 60, 1)]);
        let may = |by, author| may_hide(&state, UserId([by; 32]), UserId([author; 32]));
        assert!(may(1, 2) && may(2, 3) && may(2, 4) && may(2, 9));
        assert!(!may(2, 1) && !may(4, 4) && !may(9, 4));
    }

    #[test]
    fn reports_go_to_the_strongest_but_not_to_whom_they_are_about() {
        let state = room(&[(1, 0, 2), (2, 20, 1), (3, 5, 1), (4, 60, 1)]);
        let to = report_recipients(&state, UserId([4; 32]));
        assert_eq!(to.len(), 4);
        assert_eq!(to[2], device(3 * 16).device());
        assert_eq!(to[3], device(2 * 16).device());
        assert_eq!(report_recipients(&state, UserId([1; 32])), &to[2..]);
        assert_eq!(report_recipients(&room(&[(1, 0, 200)]), UserId([4; 32])).len(), REPORT_RECIPIENTS_MAX);
        assert_eq!(report_recipients(&room(&[(4, 0, 1)]), UserId([4; 32])), []);
    }

    #[test]
    fn a_report_opens_at_its_recipients_alone() {
        let place = Place { room: RoomId([1; 32]), author: device(9).device() };
        let report = Report { target: EventId([7; 32]), reason: "é".repeat(REPORT_REASON_LEN_MAX / 2) };
        let mut n = 0;
        let mut entropy = || {
            n += 1;
            [n; 32]
        };
        let to = [device(1).device(), device(2).device(), DeviceId(std::array::from_fn(|n| u8::from(n == 0)))];
        let sealed = report.seal(&to, place, &mut entropy).unwrap();
        assert_eq!(sealed.recipients().count(), 2, "what is no key is passed over");
        for n in [1, 2] {
            assert_eq!(Report::open(&sealed, &device(n).report_key(), place), Some(report.clone()));
        }
        assert_eq!(Report::open(&sealed, &device(3).report_key(), place), None);
        assert_eq!(Report::open(&sealed, &device(1).sealing_key(), place), None);
        let other = Sealed::seal(b"\x02something else", &[device(1).report_key().id()], place, &mut entropy).unwrap();
        assert_eq!(Report::open(&other, &device(1).report_key(), place), None);
    }

    #[test]
    fn slow_mode_takes_seconds_up_to_a_day_and_nothing_else() {
        for (value, seconds) in [("0", 0), ("30", 30), ("86400", 86400), ("0060", 60)] {
            assert_eq!(slow_seconds(value), Some(seconds));
        }
        for value in ["", "86401", "-1", "+1", "1.5", "30s", " 30", "00000030", "٣", "99999999999999999999"] {
            assert_eq!(slow_seconds(value), None, "{value:?}");
        }
    }
}
