//! What can be typed.

use super::room_args::{InviteCommand, RoomCommand};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// A messenger without a server: run your own node, invite people, chat.
#[derive(Debug, Parser)]
#[command(name = "tidings", version, arg_required_else_help = true)]
pub struct Cli {
    /// Where keys and history are kept.
    #[arg(long, global = true, env = "TIDINGS_HOME", value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Chat in the terminal; starts a node if none is running.
    Chat {
        /// Where to begin.
        room: Option<String>,
        /// How to run a node, if none is running.
        #[command(flatten)]
        run: UpArgs,
    },
    /// Run a node until it is stopped.
    Up(UpArgs),
    /// Stop the node of this home.
    Down,
    /// Show how the node is.
    Status,
    /// Look for what is wrong, and say what to do.
    Doctor {
        /// Mend what can be mended.
        #[arg(long)]
        fix: bool,
    },
    /// Show who I am.
    Id {
        /// More.
        #[command(subcommand)]
        command: Option<IdCommand>,
    },
    /// Show peers, add one, ban one.
    Peers {
        /// More.
        #[command(subcommand)]
        command: Option<PeersCommand>,
    },
    /// Say who people are to me: pet names, keys compared, who is blocked.
    People {
        /// More.
        #[command(subcommand)]
        command: Option<PeopleCommand>,
    },
    /// Make rooms, join them, look at them.
    Room {
        /// What to do.
        #[command(subcommand)]
        command: RoomCommand,
    },
    /// Show invites, or close one.
    Invite {
        /// What to do.
        #[command(subcommand)]
        command: InviteCommand,
    },
    /// Open the direct room with somebody.
    Dm {
        /// Whom.
        user: String,
    },
    /// Send a message.
    Send(SendArgs),
    /// Read a room.
    Read(ReadArgs),
    /// Change the text of one of my messages.
    Edit {
        /// The message.
        event: String,
        /// What it should say; read from standard input when left out.
        text: Option<String>,
    },
    /// Hide a message for good: its text goes from every node. For one of others that takes a moderator, and 7 days.
    Erase {
        /// The message.
        event: String,
        /// Wait so long for everybody's word that it is gone from their disks: 30s, 10m.
        #[arg(long)]
        wait: Option<String>,
    },
    /// Show from whose disks an erased message is gone, by their word, and who has said nothing yet.
    Erased {
        /// The message.
        event: String,
        /// Wait so long for everybody's word.
        #[arg(long)]
        wait: Option<String>,
    },
    /// Stand for a message that a removal took away: it is shown again, with its author's name and mine.
    Adopt {
        /// The message, as `read --void` lists it.
        event: String,
    },
    /// Fold a message on everybody's screens, as a moderator. Unlike erase it takes nothing away: `read --hidden` shows
    /// the message, and --undo unfolds it.
    Hide {
        /// The message.
        event: String,
        /// Unfold it.
        #[arg(long)]
        undo: bool,
    },
    /// Report a message to those who moderate its room. Nobody else can read the report, nor who wrote the message.
    Report {
        /// The message.
        event: String,
        /// What is wrong with it, on one line.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Put an emoji to a message.
    React {
        /// The message.
        event: String,
        /// The emoji.
        emoji: String,
        /// Take it back.
        #[arg(long)]
        remove: bool,
    },
    /// Get files that messages brought, or list them.
    File {
        /// What to do.
        #[command(subcommand)]
        command: super::files::FileCommand,
    },
    /// Bring history from elsewhere into a room.
    Import(ImportArgs),
    /// Write a room's history as a file that proves itself.
    Export {
        /// The room.
        room: String,
        /// Where to; standard output when left out.
        #[arg(long, short)]
        output: Option<PathBuf>,
    },
    /// Take a room, a user's words or an event off this node for good.
    Purge {
        /// What to do.
        #[command(subcommand)]
        command: super::purge::PurgeCommand,
    },
    /// Say whether a room's history is whole: asks all connected who share it, and each signs what it holds.
    Audit {
        /// The room.
        room: String,
        /// How long to wait until what others hold is here, at most a minute.
        #[arg(long, default_value = "10s", value_name = "TIME")]
        wait: String,
    },
    /// Read everything that is kept here and check every hash and signature; or prove an exported file.
    Verify {
        /// The exported file.
        file: Option<PathBuf>,
    },
    /// Copy everything that is kept here into a folder, while the node runs, and the keys beside it, sealed.
    Backup(BackupArgs),
    /// Make a fresh home of a backup.
    Restore(RestoreArgs),
    /// Show settings.
    Config {
        /// What to do.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Show the version.
    Version,
    /// Show what names me or answers me, in all rooms, newest first.
    Inbox(InboxArgs),
    /// Show the threads of a room, those with the newest replies first.
    Threads(ThreadsArgs),
    /// Look for messages by their words, in all rooms.
    Search(super::search::SearchArgs),
}

/// How to run a node.
#[derive(Debug, Clone, Default, Args)]
pub struct UpArgs {
    /// Listen here; repeat for more.
    #[arg(long, value_name = "MADDR")]
    pub listen: Vec<String>,
    /// Keep a connection with this peer; repeat for more.
    #[arg(long, value_name = "MADDR")]
    pub peer: Vec<String>,
    /// Where the HTTP API listens; 127.0.0.1:0 picks a port.
    #[arg(long, value_name = "ADDR")]
    pub api: Option<String>,
    /// Do not look for peers on the local network.
    #[arg(long)]
    pub no_mdns: bool,
    /// Let the history take so many bytes of the disk at most; over it the oldest goes, and can be fetched again.
    #[arg(long, value_name = "BYTES")]
    pub disk_max_bytes: Option<u64>,
}

/// Under `id`.
#[derive(Debug, Subcommand)]
pub enum IdCommand {
    /// Set what people should call me.
    Name {
        /// The name.
        name: String,
        /// Erase what I was called before, on every node.
        #[arg(long)]
        erase_former: bool,
    },
    /// Show the recovery words.
    Words,
    /// List my devices.
    Devices,
    /// Let another device in, by a link that it takes up.
    Add {
        /// Let it in without asking.
        #[arg(long)]
        yes: bool,
        /// Read the recovery words from standard input, where this device does not have them.
        #[arg(long)]
        words_stdin: bool,
    },
    /// End a device of mine: nothing that it writes counts any more, anywhere.
    Revoke {
        /// Its key, or its name.
        device: String,
        /// Do not wait for somebody of a room to compare it with: what only others hold of the device is lost for everybody.
        #[arg(long)]
        now: bool,
        /// Read the recovery words from standard input, where this device does not have them.
        #[arg(long)]
        words_stdin: bool,
    },
    /// Make a fresh home a device of mine, by a link that another device made.
    Link {
        /// The link; - reads it from standard input, where no other user of this machine can see it.
        link: String,
        /// What to call this device; the machine's name unless said.
        #[arg(long)]
        name: Option<String>,
        /// How long to wait for my rooms: 60s, 5m.
        #[arg(long, default_value = "60s", value_name = "TIME")]
        wait: String,
        /// How to run a node for it.
        #[command(flatten)]
        run: UpArgs,
    },
    /// Come back on an empty machine, with the recovery words and the address of somebody who knows me.
    Recover {
        /// Read the words from standard input.
        #[arg(long)]
        words_stdin: bool,
        /// What to call this device; the machine's name unless said.
        #[arg(long)]
        name: Option<String>,
        /// How long to wait for my rooms: 60s, 5m.
        #[arg(long, default_value = "60s", value_name = "TIME")]
        wait: String,
        /// How to run a node for it; `--peer` names who knows me.
        #[command(flatten)]
        run: UpArgs,
    },
}

/// Under `peers`.
#[derive(Debug, Subcommand)]
pub enum PeersCommand {
    /// Dial a peer, now and whenever it is lost.
    Add {
        /// Its address, ending in /p2p/...
        address: String,
    },
    /// Have nothing to do with a peer: no connection in either direction.
    Ban {
        /// Its id, 12D3Koo...
        peer: String,
    },
    /// Let a peer in again.
    Unban {
        /// Its id, 12D3Koo...
        peer: String,
    },
    /// List the peers that are banned.
    Banned,
}

/// Under `people`. USER is a key (did:key:...), a pet name, or a name at a domain (alice@example.org).
#[derive(Debug, Subcommand)]
pub enum PeopleCommand {
    /// Call somebody something here; nobody else sees it.
    Name {
        /// Whom: a key (did:key:...), a pet name, or a name at a domain (alice@example.org).
        user: String,
        /// What; "" takes it back.
        name: String,
    },
    /// Compare keys with somebody: show the code, or say what they showed.
    Verify {
        /// Whom: a key, a pet name, a name at a domain; or the link scanned from their screen.
        user: String,
        /// The code or link that they showed; spaces do not matter.
        #[arg(long, value_name = "CODE")]
        code: Option<String>,
        /// Take it back.
        #[arg(long, conflicts_with = "code")]
        forget: bool,
    },
    /// Hide here what somebody says.
    Block {
        /// Whom: a key (did:key:...), a pet name, or a name at a domain (alice@example.org).
        user: String,
    },
    /// Show it again.
    Unblock {
        /// Whom: a key (did:key:...), a pet name, or a name at a domain (alice@example.org).
        user: String,
    },
    /// Ask a domain whose a name is, and hold on to that key.
    Pin {
        /// As in alice@example.org.
        name: String,
        /// Take the key that the domain says now, though it was another.
        #[arg(long)]
        replace: bool,
        /// Forget the key.
        #[arg(long, conflicts_with = "replace")]
        forget: bool,
    },
}

/// Under `config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show the settings in force.
    Show {
        /// And where each came from.
        #[arg(long)]
        origin: bool,
    },
}

/// Of `send`.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// The room.
    pub room: String,
    /// The text; read from standard input when left out, unless a file is sent.
    pub text: Option<String>,
    /// The message answered.
    #[arg(long, value_name = "EVENT")]
    pub reply: Option<String>,
    /// A file to send; then the text may be left out.
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// Wait so long until others say that it is on their disks, and say how far it got: 30s, 10m.
    #[arg(long, value_name = "TIME")]
    pub wait: Option<String>,
    /// At how many other devices it is to be.
    #[arg(long, requires = "wait", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub copies: u32,
}

/// Of `read`.
#[derive(Debug, Args)]
pub struct ReadArgs {
    /// The room.
    pub room: String,
    /// How many messages.
    #[arg(long, default_value_t = 50)]
    pub limit: usize,
    /// Those before this message.
    #[arg(long, value_name = "EVENT")]
    pub before: Option<String>,
    /// Those after it.
    #[arg(long, value_name = "EVENT", conflicts_with = "before")]
    pub after: Option<String>,
    /// Go on with what comes.
    #[arg(long, conflicts_with = "before")]
    pub follow: bool,
    /// What was printed first is read, here and wherever that is shared.
    #[arg(long, conflicts_with = "before")]
    pub mark: bool,
    /// What folded messages say, too: those that a moderator hides, and those that came too soon for slow mode.
    #[arg(long)]
    pub hidden: bool,
    /// Also those of people whom I blocked.
    #[arg(long, conflicts_with = "follow")]
    pub blocked: bool,
    /// What does not count, and why: said by somebody who was removed, and not seen by who removed them.
    #[arg(long, conflicts_with_all = ["follow", "mark", "blocked"])]
    pub void: bool,
    /// Only what others said after what I read last; the first of it first.
    #[arg(long, conflicts_with_all = ["void", "blocked"])]
    pub unread: bool,
    /// Only what names me or answers me.
    #[arg(long, conflicts_with_all = ["void", "blocked", "unread", "mark"])]
    pub mentions: bool,
    /// Only the thread of this message.
    #[arg(long, value_name = "EVENT", conflicts_with_all = ["void", "blocked", "unread", "mentions", "mark"])]
    pub thread: Option<String>,
}

/// Of `backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// A folder that is not there yet, best on another disk.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Read the passphrase for the keys from standard input, one line.
    #[arg(long, conflicts_with = "without_keys")]
    pub passphrase_stdin: bool,
    /// Leave the keys out: the recovery words are needed to restore it.
    #[arg(long)]
    pub without_keys: bool,
    /// Do not read the copy again.
    #[arg(long)]
    pub no_verify: bool,
}

/// Of `restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Read the passphrase of its keys from standard input, one line.
    #[arg(long, conflicts_with = "words_stdin")]
    pub passphrase_stdin: bool,
    /// Read the recovery words from standard input.
    #[arg(long)]
    pub words_stdin: bool,
}

/// Of `inbox`.
#[derive(Debug, Args)]
pub struct InboxArgs {
    /// Only what I have not read.
    #[arg(long)]
    pub unread: bool,
    /// How many messages.
    #[arg(long, default_value_t = 50)]
    pub limit: usize,
    /// Those before this message.
    #[arg(long, value_name = "EVENT")]
    pub before: Option<String>,
}

/// Of `threads`.
#[derive(Debug, Args)]
pub struct ThreadsArgs {
    /// The room.
    pub room: String,
    /// How many threads.
    #[arg(long, default_value_t = 20)]
    pub limit: usize,
    /// Those before the thread that begins with this message.
    #[arg(long, value_name = "EVENT")]
    pub before: Option<String>,
}

/// Of `import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The room.
    pub room: String,
    /// The file, plain or gzipped.
    pub file: PathBuf,
    /// Its format.
    #[arg(long, default_value = "jsonl")]
    pub format: String,
    /// What to call the place it comes from; the file's name unless said.
    #[arg(long)]
    pub source: Option<String>,
    /// Print a line after each synced batch.
    #[arg(long)]
    pub progress: bool,
}
