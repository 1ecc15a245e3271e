//! Every bound of the protocol on one page, each with its reason. Bytes unless the name says otherwise.

/// Payload of one event. Larger things travel as files; 48 KiB fits a gossip frame with its header.
pub const PAYLOAD_LEN_MAX: usize = 48 * 1024;
/// Encoded header: 188 bytes and 8 parents of 32 fit twice over.
pub const HEADER_LEN_MAX: usize = 1024;
/// Tips of others that an event may cite: evidence, so a few are enough.
pub const PARENTS_MAX: usize = 8;
/// A whole event as it travels alone: header, signature, salt, payload and their framing.
pub const EVENT_LEN_MAX: usize = HEADER_LEN_MAX + PAYLOAD_LEN_MAX + 128;

/// One frame of the sync conversation, its length prefix not counted.
pub const FRAME_LEN_MAX: usize = 256 * 1024;
/// A chunk of events as compressed for the wire.
pub const CHUNK_LEN_MAX: usize = 64 * 1024;
/// What a chunk may inflate to: checked by giving the decompressor no more room than this.
pub const CHUNK_INFLATED_MAX: usize = 1024 * 1024;
/// Events in one chunk: bounds the work that one frame asks for.
pub const CHUNK_EVENTS_MAX: usize = 1024;
/// Compressed chunks that may be on their way before the receiver has committed them.
pub const CREDIT_MAX: u32 = 256 * 1024;
/// Rooms that one conversation compares; their tags fill a quarter of a frame.
pub const ROOMS_MAX: usize = 4096;
/// Heads of logs in one frame: at 112 bytes each they stay under a frame.
pub const HEADS_PER_FRAME_MAX: usize = 2048;
/// Heads that a room may send as one plain list; above, sets are reconciled.
pub const HEADS_LISTED_MAX: usize = 256;
/// Heads that one exchange may list in all: 7 MiB of them may have to wait for the control logs.
pub const HEADS_MAX: usize = 65_536;
/// Ranges that one side may have asked for and not yet got: bounds what the other must remember.
pub const WANTS_MAX: usize = 64;
/// Events of a log asked for first, so that the newest page comes before the rest.
pub const FIRST_SLICE_EVENTS: u64 = 64;
/// Exchanges of heads that bring nothing new before a conversation rests until its next timer.
pub const FRUITLESS_ROUNDS_MAX: u32 = 3;
/// Events that a proof may bring to introduce a device: its Join, or its grant's Enrol and a few above.
pub const INTRODUCTION_EVENTS_MAX: usize = 4;

/// Proofs for one room in a minute whose signature is checked; an honest peer shows one, and again when it has changed.
pub const PROOFS_MAX: u32 = 16;
/// Introductions for one room in a minute that are admitted.
pub const INTRODUCTIONS_MAX: u32 = 4;
/// Frames for which a refusal may be owed while an introduction is admitted.
pub const HELD_BACK_MAX: u32 = 4;
/// Comparisons in a minute that bring neither side anything, after which we begin no more. Equal peers need one, peers that
/// cannot agree a few. Those that the peer begins count, too: an honest one, by a minute of its own, never makes it four
/// times as many.
pub const IDLE_EXCHANGES_MAX: u32 = 32;
/// Lists of content that may wait for control logs, of all rooms, at 112 bytes a head and 64 a frame: one of the longest,
/// and many short ones.
pub const EARLY_LEN_MAX: usize = 8 * 1024 * 1024;
/// Heads told whose events were not there, one after another: more than a revocation or a closed invite makes void at a time.
pub const UNTRUE_MAX: u32 = 4096;
/// What a chunk takes of the credit at least: 64 of them, and the one that overdraws, are under way before the receiver has
/// committed them.
pub const CHUNK_COST_MIN: u32 = CREDIT_MAX / 64;
/// Leaves that one log may grow: a flood of forks ends here, a mistake never gets near.
pub const TIPS_PER_LOG_MAX: usize = 64;
/// Every event whose sequence number is a multiple of this keeps its signature, always.
pub const SIGNATURE_EVERY: u64 = 256;

/// A name of a person, a device or a room.
pub const NAME_LEN_MAX: usize = 64;
/// A name of a setting.
pub const SETTING_KEY_LEN_MAX: usize = 32;
/// A setting's value.
pub const SETTING_VALUE_LEN_MAX: usize = 1024;
/// Founders of a room.
pub const FOUNDERS_MAX: usize = 16;
/// Ids that a list in a control payload may name (lifts, replaces).
pub const CONTROL_IDS_MAX: usize = 64;
/// Logs that one revocation cuts: 64 with 8 ids each are 22 KiB, which leaves room for its joins.
pub const CUTS_MAX: usize = 64;
/// Ids that a cut of one log names: tips, and ancestors of them for who lacks those.
pub const CUT_IDS_MAX: usize = 8;
/// Joins that one CloseInvite or Revoke lists; lists of closings may span events.
pub const CLOSE_JOINS_MAX: usize = 1024;
/// Control events of one user, or joins by one invite, that are kept although they do not count: enough for what was
/// written before its author heard of a revocation, too few to fill a disk.
pub const VOID_CONTROL_MAX: u32 = 256;
/// People that one message may mention.
pub const MENTIONS_MAX: usize = 64;
/// A reaction: one emoji with its joiners, or a short word.
pub const REACTION_LEN_MAX: usize = 64;
/// The name of the place that imported history came from, and the author it claims.
pub const IMPORT_LABEL_LEN_MAX: usize = 128;

/// An invite link as text: eight addresses and the keys fit twice over.
pub const LINK_LEN_MAX: usize = 4096;
/// Addresses in a link.
pub const LINK_ADDRESSES_MAX: usize = 8;
/// One address in a link, as text.
pub const ADDRESS_LEN_MAX: usize = 256;
/// The name of a federation.
pub const NETWORK_LEN_MAX: usize = 64;

/// How far ahead of our clock an event's hlc may lie before it is shown at its arrival and not merged.
pub const CLOCK_AHEAD_MAX_MS: u64 = 10 * 60 * 1000;
/// How long a credential of a device for a room may count.
pub const CREDENTIAL_MS_MAX: u64 = 7 * 24 * 60 * 60 * 1000;
/// After this long a hole that nobody could fill is shown as withheld by its author.
pub const WITHHELD_AFTER_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// How long a moderator's erasure waits, in case it turns out void, before bytes go.
pub const MODERATED_ERASE_AFTER_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// Compressed bytes after whose commit credit is returned: a quarter of the window, so that the sender never stands still.
pub const CREDIT_STEP: u32 = 64 * 1024;
/// Inflated bytes that a chunk is filled to: a read of a few milliseconds, and enough for zstd to find repetition.
pub const CHUNK_FILL_LEN: usize = 192 * 1024;
/// Bytes of one message of set reconciliation.
pub const RECONCILE_LEN_MAX: usize = 64 * 1024;
/// Messages of one set reconciliation; a million heads need about six.
pub const RECONCILE_ROUNDS_MAX: u32 = 32;
