//! Why the local user may not do something. Each says what to do.

use crate::ingest::Verdict;
use thiserror::Error;
use tidings_protocol::control::rank::Role;
use tidings_protocol::id::RoomId;

/// Why the local user may not do this, or it makes no sense. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// No such room, or none that this node may see.
    #[error("there is no such room here")]
    UnknownRoom,
    /// No such message.
    #[error("there is no such message here")]
    UnknownEvent,
    /// A join that nobody has taken up yet.
    #[error("nobody has let this node in yet: it keeps trying while it runs")]
    Pending,
    /// Not a member.
    #[error("you are not a member of this room")]
    NotMember,
    /// The user has revoked this device.
    #[error(
        "this device was revoked by its user: nothing that it writes is accepted any more. To go on, add it anew in a fresh --home"
    )]
    Revoked,
    /// Another copy of this home has written, and the words are not here.
    #[error(
        "another copy of this home is or was in use: so that nothing is lost, this one writes no more. Add it anew in a fresh --home: tidings id add, on the device that has the words"
    )]
    Copied,
    /// The rank does not suffice.
    #[error("needs {needs}; you are {are}", needs = .needs.name(), are = .are.name())]
    NeedsRole {
        /// What it takes.
        needs: Role,
        /// What one is.
        are: Role,
    },
    /// Somebody as strong, or stronger.
    #[error("they have rank {theirs} and you have {ours}: that takes somebody stronger than both, smaller is stronger")]
    NeedsRank {
        /// Whose is to be changed.
        theirs: u8,
        /// One's own.
        ours: u8,
    },
    /// Founders stay.
    #[error("a founder's role cannot be changed or taken away: to go on without them, make a new room")]
    Founder,
    /// Not for oneself.
    #[error("one cannot remove oneself: tidings room leave")]
    Oneself,
    /// Nothing to do.
    #[error("they are {role} already", role = .0.name())]
    AlreadyRole(Role),
    /// A grant cannot name them all.
    #[error("they were removed {0} times, more than one grant can lift: make them an invitation under another key")]
    TooManyRemovals(usize),
    /// Rules or kinds of a later version are in use.
    #[error("this room uses rules of a newer tidings, it is read-only here: update to post")]
    NeedsNewer,
    /// Who may do what is not known any more.
    #[error(
        "events that say who may do what in this room were lost with a damaged store: it can be read, and goes on once \
         somebody is connected who has them (tidings peers); where nobody has them any more, see tidings room resume"
    )]
    Unsure,
    /// Nothing to do.
    #[error("of this room nothing is missing that says who may do what, or it is none to go on in: nothing is changed")]
    Sure,
    /// Too long to be said at once.
    #[error("{len} bytes, at most {max} in one message: send it in parts or as a file")]
    TooLong {
        /// What it would take.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// Only the one who said it may change it.
    #[error("only who wrote a message can edit it")]
    NotYours,
    /// There is nothing to bring back.
    #[error("this message is shown already: what can be adopted is listed by tidings read ROOM --void")]
    Counts,
    /// Its author cannot be shown to have written it, or it is no message.
    #[error("this cannot be adopted: {0}")]
    NotAdoptable(tidings_protocol::adopted::NotAdoptable),
    /// The rules of the room do not let it count.
    #[error("the room's rules do not let it count: {0}")]
    Void(&'static str),
    /// Slow mode.
    #[error("slow mode: {every_s} seconds pass here between two messages of one member; wait {wait_s} more")]
    TooSoon {
        /// What slow mode keeps.
        every_s: u64,
        /// What is left of it.
        wait_s: u64,
    },
    /// Of one's own.
    #[error("that is your own message: tidings erase takes it back")]
    OwnMessage,
    /// A report would reach nobody.
    #[error("nobody else moderates this room who did not write that message: there is nobody to report it to")]
    NobodyModerates,
    /// A room cannot go on in itself.
    #[error("a room cannot go on in itself: name another one")]
    SuccessorOfItself,
    /// The room in which it is to go on is left, or not joined yet.
    #[error("you are not in the room in which this one is to go on: join it first, tidings room join LINK")]
    NotInSuccessor,
    /// The room's name or alias cannot be used.
    #[error(
        "\"{0}\" cannot be used: 1 to 64 bytes on one line, no control characters, no spaces at its ends, and not the \
         form of an id"
    )]
    BadName(String),
    /// Another room has this alias.
    #[error("another room is called \"{0}\" here: choose another alias")]
    AliasTaken(String),
    /// This node's operator does not want the room.
    #[error("this room was purged here and is refused: tidings purge undo room {0}")]
    Purged(RoomId),
    /// It cannot be purged.
    #[error("not purged: {0}")]
    NotToPurge(&'static str),
    /// Links made here would stay open when nobody here can close them any more.
    #[error(
        "{0} of the invitations made here are open, and could not be closed from here any more: close them (tidings \
         invite list, tidings invite close), or say --keep-invites"
    )]
    OpenInvites(usize),
    /// A revocation would take away what others hold and this node does not.
    #[error(
        "it was not compared with anybody since this start, and what is not held here would be lost for everybody: it \
         follows by itself where the recovery words are kept, once somebody of the room is there; --now does not wait"
    )]
    NotCompared,
    /// It is the list of somebody's devices, and no room for people.
    #[error("this room lists somebody's devices: nothing is said or decided there by hand")]
    SelfRoom,
    /// What a team says, everybody could read.
    #[error("anybody may read a public room: a team is a members room, or opens public rooms alone")]
    PublicTeam,
    /// A room of its own.
    #[error("a room is no team of its own")]
    OwnTeam,
    /// Bounded.
    #[error("a team opens at most {0} rooms")]
    TeamFull(usize),
    /// What a steward was to do has been done, or is not due any more.
    #[error("there is nothing to do for the team")]
    NothingDue,
}

/// Why something of ours did not enter; `None` where it did.
pub(crate) fn refusal(verdict: Verdict) -> Option<Refusal> {
    match verdict {
        Verdict::Stored | Verdict::Known | Verdict::Purged => None,
        Verdict::Void(why) => Some(Refusal::Void(why.reason())),
        Verdict::UnknownRoom => Some(Refusal::UnknownRoom),
        Verdict::TooManyBranches => Some(Refusal::Void("this device's log has too many branches")),
        Verdict::Waiting(_) | Verdict::Rejected(_) => Some(Refusal::Void("it does not fit what is held here")),
    }
}
