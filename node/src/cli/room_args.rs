//! What can be typed of rooms and invites.

use clap::Subcommand;

/// Under `room`.
#[derive(Debug, Subcommand)]
pub enum RoomCommand {
    /// Make a room; members only unless said otherwise.
    Create {
        /// Its name.
        name: String,
        /// Anybody may read and join.
        #[arg(long, conflicts_with = "private")]
        public: bool,
        /// End-to-end encrypted: not built yet.
        #[arg(long)]
        private: bool,
        /// The weakest role that may invite.
        #[arg(long, value_name = "ROLE")]
        invite_rank: Option<String>,
    },
    /// List my rooms.
    List {
        /// Also those in which users keep their devices.
        #[arg(long)]
        all: bool,
    },
    /// Show one.
    Show {
        /// Its name or id.
        room: String,
    },
    /// List its members.
    Members {
        /// Its name or id.
        room: String,
        /// Those who were removed and are not back.
        #[arg(long)]
        removed: bool,
    },
    /// Make a link by which somebody can join.
    Invite {
        /// Its name or id.
        room: String,
        /// The role of who joins.
        #[arg(long)]
        role: Option<String>,
        /// Close it after this time: 30m, 12h, 7d.
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
        /// Not built yet.
        #[arg(long, hide = true)]
        approve: bool,
    },
    /// Join by a link.
    Join {
        /// The link.
        link: String,
        /// How long to wait for the first page: 60s, 5m.
        #[arg(long, default_value = "60s", value_name = "TIME")]
        wait: String,
    },
    /// Give somebody a role: a new member, somebody removed, or a member who is to have another.
    Grant {
        /// Its name or id.
        room: String,
        /// Their name in the room, or did:key:...
        user: String,
        /// admin, moderator, member, reader or keeper.
        #[arg(long, default_value = "member")]
        role: String,
    },
    /// Remove somebody, until a grant by somebody no weaker lifts that. What they said so far stays.
    #[command(alias = "remove")]
    Revoke {
        /// Its name or id.
        room: String,
        /// Their name in the room, or did:key:...
        user: String,
    },
    /// Set what the room is called (name) or is about (topic), or slow mode (slow): the time that screens keep between two
    /// messages of one member.
    Set {
        /// Its name or id.
        room: String,
        /// name, topic, slow or keep.
        key: String,
        /// To what; slow: 30s, 5m, 1h, or off; keep, for how long nodes are asked to keep what is said: 90d, or forever.
        value: String,
    },
    /// Say that a room goes on in another one, for good. Screens then take no more messages in it; nobody is moved.
    Successor {
        /// Its name or id.
        room: String,
        /// The room in which it goes on: one of mine.
        next: String,
    },
    /// Go on in a room of which events were lost that say who may do what, with those that are here: only where nobody has
    /// the others any more. Removals, closed links, ended devices and new roles among them count no more, and whoever came
    /// in by one of them stays outside, with what they hold.
    Resume {
        /// Its name or id.
        room: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// List what was reported, for those who moderate.
    Reports {
        /// Its name or id.
        room: String,
    },
    /// Admit the members of another room, its team: whoever joins the team is let in, whoever is out of it is removed.
    Team {
        /// Its name or id.
        room: String,
        /// The team's name or id.
        #[arg(required_unless_present = "none", conflicts_with = "none")]
        team: Option<String>,
        /// Have no team any more; who came by it stays.
        #[arg(long)]
        none: bool,
        /// What the team's members are in the room: member, reader or moderator.
        #[arg(long, conflicts_with = "none")]
        role: Option<String>,
    },
    /// Leave a room; by a new link or grant one can come back.
    Leave {
        /// Its name or id.
        room: String,
        /// For good: also closes my invites there, and ends every device of mine in that room, so that nobody who has one
        /// of them, or a backup of it, can write there. Needs the recovery words. There is no way back but a role stronger
        /// than any that I had, or a new device.
        #[arg(long)]
        for_good: bool,
        /// Read the recovery words from standard input, where this device does not have them.
        #[arg(long, requires = "for_good")]
        words_stdin: bool,
    },
    /// Say how much of a room this node keeps; with nothing said, no bound but the node's own (disk_max_bytes). What is trimmed
    /// can be fetched again from whoever has it.
    Keep {
        /// Its name or id.
        room: String,
        /// Bytes of its content at most, before compression: 500000, 20MB, 1GB.
        #[arg(long, value_name = "N")]
        max_bytes: Option<String>,
        /// Nothing that is older.
        #[arg(long, value_name = "N")]
        days: Option<u32>,
        /// All of it, whatever the node's budget.
        #[arg(long, conflicts_with_all = ["max_bytes", "days"])]
        forever: bool,
    },
    /// Call a room something else here.
    Alias {
        /// Its name or id.
        room: String,
        /// The new name.
        name: String,
    },
}

/// Under `invite`.
#[derive(Debug, Subcommand)]
pub enum InviteCommand {
    /// List invites, of one room or of all.
    List {
        /// The room.
        room: Option<String>,
    },
    /// Close an invite: nobody else comes in by it.
    Close {
        /// Its id.
        invite: String,
    },
}
