//! libFuzzer's door to the targets: `TIDINGS_FUZZ_TARGET` names which. Built by `.ci/fuzz`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use tidings_fuzz::protocol::TARGETS;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("TIDINGS_FUZZ_TARGET").unwrap_or_default();
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("TIDINGS_FUZZ_TARGET={name}: it is one of {names:?}")).1
});

fuzz_target!(|bytes: &[u8]| TARGET(bytes));
