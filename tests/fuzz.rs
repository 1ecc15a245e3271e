//! The fuzz targets as tests: every file of their corpora, and what comes of changing those. libFuzzer runs the same
//! functions for hours (`.ci/fuzz`).

#[path = "../fuzz/src/protocol/mod.rs"]
mod protocol;
#[path = "../fuzz/src/whole/mod.rs"]
mod whole;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

type Target = fn(&[u8]);

fn target(name: &str) -> Target {
    let all = protocol::TARGETS.iter().chain(whole::TARGETS);
    all.into_iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("there is no target {name}")).1
}

fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        paths.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap())).collect();
    files.sort();
    files
}

/// What becomes of bytes that are nearly right.
#[derive(Debug, Clone)]
enum Change {
    Set(prop::sample::Index, u8),
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
    Cut(prop::sample::Index),
    Append(prop::sample::Index),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let at = any::<prop::sample::Index>;
    let byte = prop_oneof![any::<u8>(), Just(0), Just(0xff), Just(1)];
    let change = prop_oneof![
        (at(), byte).prop_map(|(at, byte)| Change::Set(at, byte)),
        (at(), 0u8..8).prop_map(|(at, bit)| Change::Flip(at, 1 << bit)),
        (at(), prop::collection::vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (at(), 1usize..9).prop_map(|(at, count)| Change::Remove(at, count)),
        at().prop_map(Change::Cut),
        at().prop_map(Change::Append),
    ];
    prop::collection::vec(change, 0..5)
}

fn changed(mut bytes: Vec<u8>, changes: &[Change], corpus: &[(String, Vec<u8>)]) -> Vec<u8> {
    for change in changes {
        let len = bytes.len();
        let within = |at: &prop::sample::Index| at.index(len.max(1));
        match change {
            Change::Set(at, byte) if len > 0 => bytes[within(at)] = *byte,
            Change::Flip(at, bit) if len > 0 => bytes[within(at)] ^= bit,
            Change::Insert(at, more) => {
                drop(bytes.splice(within(at).min(len)..within(at).min(len), more.iter().copied()))
            }
            Change::Remove(at, count) if len > 0 => drop(bytes.drain(within(at)..(within(at) + count).min(len))),
            Change::Cut(at) => bytes.truncate(within(at)),
            Change::Append(at) => bytes.extend_from_slice(&at.get(corpus).1),
            _ => {}
        }
    }
    bytes.truncate(LEN_MAX);
    bytes
}

/// Runs a target on its corpus, on what that becomes by changes, and on bytes of no meaning behind each first byte.
fn run(name: &str, target: Target) {
    let files = corpus(name);
    assert!((5..=20).contains(&files.len()), "{name}: {} files", files.len());
    assert!(files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() <= CORPUS_LEN_MAX, "{name}: too many bytes");
    for (file, bytes) in &files {
        let held = catch_unwind(AssertUnwindSafe(|| target(bytes)));
        assert!(held.is_ok(), "fuzz/corpus/{name}/{file}");
    }
    random(&files, target).unwrap_or_else(|found| panic!("{name}: {found}"));
}

fn random(files: &[(String, Vec<u8>)], target: Target) -> Result<(), String> {
    let config = ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config.clone());
    let near = (any::<prop::sample::Index>(), changes());
    let found = runner.run(&near, |(file, changes)| {
        target(&changed(file.get(files).1.clone(), &changes, files));
        Ok(())
    });
    found.map_err(|found| found.to_string())?;
    let any_bytes = prop::collection::vec(any::<u8>(), 0..400);
    let found = TestRunner::new(config).run(&any_bytes, |bytes| {
        target(&bytes);
        Ok(())
    });
    found.map_err(|found| found.to_string())
}

fn cases() -> u32 {
    std::env::var("TIDINGS_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(400)
}

/// A test for each target, so that they run beside one another.
macro_rules! holds {
    ($($test:ident $name:literal;)*) => {
        $(#[test]
        fn $test() {
            run($name, target($name));
        })*

        #[test]
        fn every_target_has_its_test() {
            let mut known: Vec<&str> = protocol::TARGETS.iter().chain(whole::TARGETS).map(|(name, _)| *name).collect();
            known.sort_unstable();
            assert_eq!(known, [$($name),*]);
        }
    };
}

holds! {
    any_json_is_a_body_or_an_error "api";
    any_file_is_settings_or_an_error "config";
    any_conversation_ends "conversation";
    any_bytes_are_an_event_or_an_error "event";
    any_bytes_are_a_frame_or_an_error "frames";
    any_file_is_imported_as_what_it_is "import";
    any_text_is_a_link_or_an_error "link";
}

/// The peer of the target is honest unless the bytes say otherwise: then both come to hold the same.
#[test]
fn a_conversation_that_nothing_disturbs_ends_equal() {
    for how in [0, 1, 2, 3, 6, 7] {
        for what in [0, 0x10, 0x01, 0x03, 0x30] {
            // The newcomer's peer is somebody who has something.
            if how >= 6 && what == 0x10 {
                continue;
            }
            let ended = protocol::talk(&[vec![how, what], [4, 60].repeat(10)].concat());
            assert!(ended.is_equal && ended.failure.is_none() && ended.heard > 2, "{how} {what:#x}: {ended:?}");
        }
    }
    let stranger = protocol::talk(&[4, 0, 4, 60, 4, 60]);
    assert!(!stranger.is_equal && stranger.failure.is_none(), "{stranger:?}");
}

/// The control: what is false of a few inputs in a hundred is found.
#[test]
fn a_target_that_does_not_hold_is_found() {
    let no_frame_is_long: Target = |bytes| {
        let frame = bytes.get(1..).and_then(|bytes| tidings_protocol::wire::Frame::from_bytes(bytes).ok());
        assert!(frame.is_none_or(|frame| frame.to_bytes().len() < 30));
    };
    assert!(random(&corpus("frames"), no_frame_is_long).is_err());
}

/// Longer inputs are slow, and say no more.
const LEN_MAX: usize = 1 << 16;
/// Of a target, all files together.
const CORPUS_LEN_MAX: usize = 64 << 10;
