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
/// Of these, heads of content by authors who may say nothing here as far as is known: it may be in control events that are
/// still missing, of a few; a stranger can name as many as it likes.
pub const UNKNOWN_HEADS_MAX: usize = 1024;
/// Events of a log asked for first, so that the newest page comes before the rest.
pub const FIRST_SLICE_EVENTS: u64 = 64;
/// Events of a log asked for at a time after that: a few megabytes, so that whoever finds meanwhile that it does not want what
/// is older need not take it all.
pub const SLICE_EVENTS_MAX: u64 = 16_384;
/// Exchanges of heads that bring nothing new before a conversation rests until its next timer.
pub const FRUITLESS_ROUNDS_MAX: u32 = 3;
/// Events that a knock may bring to introduce a device: its Join, or its grant's Enrol and a few above.
pub const INTRODUCTION_EVENTS_MAX: usize = 4;
/// A sealed knock: a credential and a few control events without long lists.
pub const KNOCK_LEN_MAX: usize = 16 * 1024;

/// Proofs in a minute, of all rooms together, whose signature is checked although they open nothing. One count for rooms
/// that are held and rooms that are not, so that nobody learns from it which is which.
pub const PROOFS_MAX: u32 = 256;
/// Knocks in a minute that are looked at, of all rooms together: a device that has just been enrolled knocks at each of its
/// user's rooms.
pub const KNOCKS_MAX: u32 = 256;
/// Introductions for one room in a minute that are admitted.
pub const INTRODUCTIONS_MAX: u32 = 4;
/// Keys of sealed tips for one room in a minute that are looked at: each change of the members makes a few.
pub const KEYS_MAX: u32 = 64;
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
/// Leaves of a control log that are held, whatever counts: those that do, 256 that do not, and what cuts name.
pub const CONTROL_TIPS_MAX: usize = 1024;
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
/// The same where they may lie on the way to an event that a valid cut names and that is not here yet: more than anybody
/// writes between two removals that do not know of each other.
pub const VOID_WAY_MAX: u32 = 4096;
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

/// What stands before the @ of a name at a domain, as in mail.
pub const AT_NAME_LOCAL_LEN_MAX: usize = 64;
/// A domain, as DNS bounds them.
pub const DOMAIN_LEN_MAX: usize = 253;
/// One part of a domain, as DNS bounds them.
pub const DOMAIN_LABEL_LEN_MAX: usize = 63;
/// What a domain may answer when asked whose a name is: a key and eight addresses fit five times over.
pub const AT_NAME_ANSWER_LEN_MAX: usize = 16 * 1024;

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
/// Coded symbols in one message of set reconciliation: at 14 bytes each they stay under that.
pub const SYMBOLS_PER_FRAME_MAX: u32 = 4096;
/// Coded symbols of one set reconciliation: 900 KB, for some 43,000 heads that differ.
pub const RECONCILE_SYMBOLS_MAX: u32 = 65_536;
/// Where more differ one in 2 to this power of them is compared at a time, at least.
pub const RECONCILE_SHARE_BITS_MAX: u8 = 12;
/// Messages by each side of one set reconciliation: all symbols that may be asked for, and some asked for too few at a time.
pub const RECONCILE_ROUNDS_MAX: u32 = 32;

/// What one beacon says: eight addresses as they are written, or a place and two digests many times over.
pub const BEACON_PAYLOAD_LEN_MAX: usize = 1024;
/// Kinds of beacons kept of one device in one room: five are known, three are left to later versions.
pub const BEACON_KINDS_MAX: usize = 8;
/// Slots kept of one room, at about 200 bytes each, and never above 5 MB: 800 devices that use all that there is to say.
pub const SLOTS_MAX: usize = 4096;
/// A beacon older than this says nothing any more.
pub const BEACON_MS_MAX: u64 = 7 * 24 * 60 * 60 * 1000;
/// How long somebody counts as typing without saying so again.
pub const TYPING_MS_MAX: u64 = 10_000;
/// A device that said it is there, and no more since, counts as away after this: it says so again every few minutes.
pub const PRESENCE_MS_MAX: u64 = 10 * 60 * 1000;
/// Addresses that a device may say its node has.
pub const BEACON_ADDRESSES_MAX: usize = 8;
/// Beacons in one frame: of the longest, 200 stay under a frame.
pub const BEACONS_PER_FRAME_MAX: usize = 200;
/// Beacons of a room told to one peer in a minute: all that a room can hold, once; what is more is told later.
pub const BEACONS_TOLD_MAX: u32 = 4096;
/// Beacons of a room looked at in a minute: what an honest peer tells in two of its own. More are passed over; four times
/// as many are a fault.
pub const BEACONS_HEARD_MAX: u32 = 2 * BEACONS_TOLD_MAX;
/// Lists of slots of a room told in a minute: one with each agreement that finds a difference.
pub const SLOT_LISTS_TOLD_MAX: u32 = 4;
/// Lists of slots of a room answered in a minute; each has at most 57 KB, and may cost us a frame of beacons for every 200 slots. Four times as
/// many are a fault.
pub const SLOT_LISTS_HEARD_MAX: u32 = 2 * SLOT_LISTS_TOLD_MAX;
/// Times that a peer is asked of a room in a minute; twice as often is answered, eight times is a fault.
pub const ASKS_TOLD_MAX: u32 = 30;
/// Questions of a room answered in a minute.
pub const ASKS_HEARD_MAX: u32 = 2 * ASKS_TOLD_MAX;
/// Devices to which one account record is sealed, and the words: 112 bytes each.
pub const SEALED_RECIPIENTS_MAX: usize = 64;
/// What is sealed at once, padding included: with every recipient it still fits an event.
pub const SEALED_LEN_MAX: usize = 32 * 1024;
/// The smallest size to which what is sealed is padded; the others are its doubles.
pub const SEALED_LEN_MIN: usize = 256;
/// What one account record says: a room with its addresses fits.
pub const RECORD_LEN_MAX: usize = 2048;
/// Account records of one user: 4,096 rooms with their read markers, and as many people again.
pub const RECORDS_MAX: usize = 16_384;
/// Pet names and blocks among them: half, so that rooms always find room.
pub const PEOPLE_RECORDS_MAX: usize = RECORDS_MAX / 2;
/// Addresses of members' nodes that an account record of a room keeps.
pub const RECORD_ADDRESSES_MAX: usize = 4;
/// What this user calls a room, as other devices of theirs take it over.
pub const ALIAS_LEN_MAX: usize = 128;

/// Devices to which a report of a message is sealed, of those who moderate, strongest first: a few people with all that
/// they have, in 3.6 KB.
pub const REPORT_RECIPIENTS_MAX: usize = 32;
/// What somebody says of a message that they report: a paragraph.
pub const REPORT_REASON_LEN_MAX: usize = 1000;
/// A report before it is sealed: a version, an event, and the reason with its length.
pub const REPORT_LEN_MAX: usize = 1 + 32 + 4 + REPORT_REASON_LEN_MAX;
/// Seconds that slow mode may keep between two messages of one member: a day.
pub const SLOW_SECONDS_MAX: u32 = 24 * 60 * 60;

/// How long a link for another device may be used.
pub const DEVICE_LINK_MS: u64 = 10 * 60 * 1000;
/// A frame of the enrolment of a device: a certificate, a genesis and a few addresses fit.
pub const ENROL_FRAME_LEN_MAX: usize = 8 * 1024;
/// Self-rooms of others that a node follows; the least useful go.
pub const FOLLOWED_MAX: usize = 512;
/// Bytes of content of a followed self-room that are taken, each event counted as its payload and `FOLLOWED_EVENT_LEN`: years
/// of one person's read markers. A flood ends here.
pub const FOLLOWED_LEN_MAX: u64 = 64 * 1024 * 1024;
/// Of one device of that person: a stolen one cannot fill what the others need.
pub const FOLLOWED_DEVICE_LEN_MAX: u64 = FOLLOWED_LEN_MAX / 2;
/// Control events of a followed self-room that neither the user key has made nor a certificate of it: there are none, but
/// what a thief may have written.
pub const FOLLOWED_CONTROL_MAX: u64 = 1024;
/// What an event of a followed self-room counts beside its payload: its header, and where it is found.
pub const FOLLOWED_EVENT_LEN: u64 = 512;

/// Rooms that one team opens: one link is one knock for each of them at each member's node.
pub const TEAM_ROOMS_MAX: usize = 64;
/// Words about its rooms that are read of one team, the newest: an offer for each room after each removal, and a word for
/// each removal. By moderators alone.
pub const TEAM_WORDS_MAX: usize = 8192;

/// One file: its outline is 2 MiB, which whoever fetches it holds in memory.
pub const FILE_LEN_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// What is checked at a time, a subtree of BLAKE3's: small enough that a lie costs little, large enough that 32 bytes for
/// each are next to nothing.
pub const FILE_PIECE_LEN: usize = 256 * 1024;
/// Pieces that one request asks for: 4 MiB keep a line of 80 MB/s busy over 50 ms.
pub const FILE_RUN_MAX: u32 = 16;
/// What a sender calls a file, as file systems bound names.
pub const FILE_NAME_LEN_MAX: usize = 255;
/// A media type, as RFC 6838 bounds each half.
pub const FILE_MEDIA_LEN_MAX: usize = 127;
