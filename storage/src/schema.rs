//! Column families and how each is tuned. Disk change: bump `SCHEMA`, say in `migrate` how
//! the older one becomes it, and keep a fixture of that (`tests/fixtures`).

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, Options,
    SliceTransform, WriteBufferManager,
};

/// The schema that this program writes.
pub const SCHEMA: u32 = 2;

/// The column families, by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Schema version, counters, interned logs.
    Meta,
    /// Local number -> header, interned, and signature.
    Event,
    /// Local number -> salt and payload.
    Payload,
    /// First 8 bytes of an event id -> local numbers.
    Id,
    /// Log, seq, local number: forks lie side by side.
    Log,
    /// Room, !position, tie -> local numbers.
    Timeline,
    /// Room, log -> what is held of it.
    Tips,
    /// Room, target -> events that change how it looks.
    Relation,
    /// Room -> its control events' numbers.
    Control,
    /// Rooms, aliases, profiles, agreements; people, pins and bans.
    Room,
    /// Event id -> the Erase that hides it.
    Erased,
    /// Local number -> own events that nobody was told of yet.
    Outbox,
    /// Room, device, kind -> the newest beacon; room, device -> up to which number it has our events.
    Beacon,
    /// What is unread, who is named, threads.
    Inbox,
    /// Words of messages -> the numbers at which they occur, and when those were said.
    Search,
    /// File, room, local number: the events that name it.
    File,
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 16] = [
        Family::Meta,
        Family::Event,
        Family::Payload,
        Family::Id,
        Family::Log,
        Family::Timeline,
        Family::Tips,
        Family::Relation,
        Family::Control,
        Family::Room,
        Family::Erased,
        Family::Outbox,
        Family::Beacon,
        Family::Inbox,
        Family::Search,
        Family::File,
    ];

    /// The name on disk.
    pub fn name(self) -> &'static str {
        match self {
            Family::Meta => "meta",
            Family::Event => "event",
            Family::Payload => "payload",
            Family::Id => "id",
            Family::Log => "log",
            Family::Timeline => "timeline",
            Family::Tips => "tips",
            Family::Relation => "relation",
            Family::Control => "control",
            Family::Room => "room",
            Family::Erased => "erased",
            Family::Outbox => "outbox",
            Family::Beacon => "beacon",
            Family::Inbox => "inbox",
            Family::Search => "search",
            Family::File => "file",
        }
    }
}

/// How much RocksDB writes at a time, and keeps beside the rows.
pub struct Sizes {
    write_buffers_len: usize,
    family_buffer_len: usize,
    wal_len: u64,
    /// Lengths of a table file, of a compaction and of the first level; RocksDB's own where there is no budget.
    files: Option<Files>,
}

#[derive(Clone, Copy)]
struct Files {
    table_len: u64,
    compaction_len: u64,
    level_len: u64,
    /// What compaction of a family may be behind before writes are slowed, and to how much a second at first; nothing where
    /// the budget is so small that single batches are a good part of that.
    slowed: Option<(u64, u64)>,
}

impl Sizes {
    /// Those of a node with this disk budget: all of it together, with a compaction that has not dropped its inputs yet, fits
    /// into the part of the budget above the mark at which others wait. The first level is small, so that what is flushed is
    /// not merged with a whole family at once, but goes down by small pieces.
    pub fn within(budget: Option<u64>) -> Self {
        let part = |of: u64, min: u64, max: u64| budget.map_or(max, |budget| (budget / of).clamp(min, max));
        Sizes {
            write_buffers_len: len(part(24, 1 << 20, WRITE_BUFFERS_LEN_MAX)),
            family_buffer_len: len(part(96, 256 << 10, FAMILY_BUFFER_LEN_MAX)),
            wal_len: part(32, 512 << 10, WAL_LEN_MAX),
            files: budget.map(|budget| Files {
                table_len: part(96, 256 << 10, 16 << 20),
                compaction_len: part(32, 1 << 20, 64 << 20),
                level_len: part(32, 1 << 20, 256 << 20),
                slowed: (budget >= SLOWED_FROM).then(|| (part(16, 0, 1 << 30), part(32, 0, 16 << 20))),
            }),
        }
    }

    /// Who counts all memtables, and has the largest flushed when they are too large.
    pub fn write_buffers(&self) -> WriteBufferManager {
        WriteBufferManager::new_write_buffer_manager(self.write_buffers_len, false)
    }
}

/// Options of the database as a whole.
///
/// # Errors
/// `Rocks`: this RocksDB does not know one of them.
pub fn database_options(sizes: &Sizes, buffers: &WriteBufferManager) -> Result<Options, rocksdb::Error> {
    // Each edit begins a new MANIFEST: it names keys between which tables lie, and words are keys (`shredding.rs`). It has
    // some 100 bytes for each table.
    let mut options = Options::default().get_options_from_string("max_manifest_space_amp_pct=0")?;
    options.set_max_manifest_file_size(1);
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_write_buffer_manager(buffers);
    options.set_max_total_wal_size(sizes.wal_len);
    options.set_max_background_jobs(2);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_table_cache_num_shard_bits(OPEN_FILES_SHARD_BITS);
    options.set_bytes_per_sync(1 << 20);
    options.set_wal_bytes_per_sync(1 << 20);
    options.set_keep_log_file_num(4);
    options.set_max_log_file_size(1 << 20);
    options.set_stats_dump_period_sec(0);
    if let Some(files) = sizes.files {
        if let Some((_, slow_len)) = files.slowed {
            options = options.get_options_from_string(format!("delayed_write_rate={slow_len}"))?;
        }
        options.set_max_log_file_size(LOG_LEN_MAX);
        options.set_keep_log_file_num(2);
        options.set_manifest_preallocation_size(64 << 10);
    }
    Ok(options)
}

/// Options by which RocksDB finds out which tables there are and of which family, where its lists are lost.
///
/// # Errors
/// `Rocks`.
pub fn repair_options() -> Result<Options, rocksdb::Error> {
    let sizes = Sizes::within(None);
    let mut options = database_options(&sizes, &sizes.write_buffers())?;
    options.set_merge_operator_associative("search", crate::search::merge);
    Ok(options)
}

/// Every family with its options; they share one cache.
pub fn families(sizes: &Sizes) -> Vec<ColumnFamilyDescriptor> {
    // In one piece: of a cache in shards each would be smaller than a filter, which then would be read anew each time.
    let cache = Cache::new_hyper_clock_cache(BLOCK_CACHE_LEN_MAX, 0);
    let descriptor = |f: Family| ColumnFamilyDescriptor::new(f.name(), family_options(f, &cache, sizes));
    // The family that RocksDB always has and we never use. After a full disk RocksDB waits until the largest write
    // buffer of any family fits again, so this one's must not be the 64 MB that it would have.
    let mut unused = Options::default();
    unused.set_write_buffer_size(sizes.family_buffer_len);
    unused.set_max_write_buffer_number(NEVER);
    let unused = ColumnFamilyDescriptor::new(rocksdb::DEFAULT_COLUMN_FAMILY_NAME, unused);
    Family::ALL.into_iter().map(descriptor).chain([unused]).collect()
}

fn len(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

fn family_options(family: Family, cache: &Cache, sizes: &Sizes) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_block_size(BLOCK_LEN);
    table.set_format_version(5);
    let mut options = Options::default();
    options.set_write_buffer_size(sizes.family_buffer_len);
    // Writes are slowed where merging falls behind and never stopped: what waits to be flushed is bounded before
    // (`flushing.rs`).
    options.set_max_write_buffer_number(NEVER);
    options.set_level_zero_stop_writes_trigger(NEVER);
    options.set_hard_pending_compaction_bytes_limit(0);
    if let Some(files) = sizes.files {
        options.set_target_file_size_base(files.table_len);
        options.set_max_compaction_bytes(files.compaction_len);
        options.set_max_bytes_for_level_base(files.level_len);
        // Rows of search lie all over their family: what was flushed of them is merged with the whole of the first level, and
        // the longer that waits, the more is there twice.
        if let Some((behind_len, _)) = files.slowed {
            options.set_level_zero_slowdown_writes_trigger(FLUSHED_SLOW);
            options.set_soft_pending_compaction_bytes_limit(len(behind_len));
        }
    }
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    options.set_level_compaction_dynamic_level_bytes(true);
    let rewritten_len = sizes.files.map_or(REWRITTEN_LEN, |files| files.table_len);
    match family {
        Family::Id => {
            // Random keys: an absent id is the common question, and must not read the disk.
            set_filter(&mut table);
            options.set_memtable_whole_key_filtering(true);
            options.set_memtable_prefix_bloom_ratio(0.1);
        }
        Family::Timeline => {
            set_filter(&mut table);
            options.set_memtable_whole_key_filtering(true);
            options.set_memtable_prefix_bloom_ratio(0.1);
        }
        Family::Relation => {
            options.set_prefix_extractor(SliceTransform::create_fixed_prefix(crate::key::RELATION_PREFIX_LEN));
            table.set_bloom_filter(10.0, false);
            options.set_memtable_prefix_bloom_ratio(0.1);
        }
        Family::Payload => options.set_target_file_size_base(rewritten_len),
        Family::Search => {
            options.set_target_file_size_base(rewritten_len);
            // A rare word is in few buckets, and must not be looked for in the files of the others.
            set_filter(&mut table);
            options.set_merge_operator_associative("search", crate::search::merge);
        }
        _ => {}
    }
    options.set_block_based_table_factory(&table);
    options
}

/// A filter in parts of a few thousand keys, and an index over them: of a million keys the one part is read that is asked.
fn set_filter(table: &mut BlockBasedOptions) {
    table.set_bloom_filter(10.0, false);
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
}

/// All memtables together; above it the largest is flushed.
const WRITE_BUFFERS_LEN_MAX: u64 = 24 << 20;
/// One family's memtable.
const FAMILY_BUFFER_LEN_MAX: u64 = 8 << 20;
/// Blocks, indexes and filters read back from files.
const BLOCK_CACHE_LEN_MAX: usize = 16 << 20;
/// The write-ahead log, before what it protects is flushed: it counts as disk, and is read whole at the next start.
const WAL_LEN_MAX: u64 = 8 << 20;
/// A table of what can be erased: one erasure rewrites one of them.
const REWRITTEN_LEN: u64 = 16 << 20;
/// From this disk budget on, in bytes, writes are slowed while what was flushed waits to be merged. Of a smaller one single
/// batches are a good part: there whoever trims waits for that instead (`Store::is_merging`).
pub const SLOWED_FROM: u64 = 48_000_000;
/// Flushed tables of a family that were not merged yet, under a disk budget: from how many on writes are slowed.
const FLUSHED_SLOW: i32 = 6;
/// So many memtables or flushed tables there never are.
const NEVER: i32 = i32::MAX;
/// RocksDB's own log, under a disk budget.
const LOG_LEN_MAX: usize = 256 << 10;
/// Table files kept open.
const OPEN_FILES_MAX: i32 = 256;
/// Parts of the table of open files: with the default 64 each would hold a few, and files would be opened again and again.
const OPEN_FILES_SHARD_BITS: i32 = 2;
/// Large enough to compress, small enough that what a search finds here and there costs little to read: with 16 KiB a page
/// anywhere took a third longer, and the disk a thirtieth less.
const BLOCK_LEN: usize = 8 << 10;
