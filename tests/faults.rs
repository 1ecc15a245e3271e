//! Nodes that are killed, and nodes that are cut off: nothing acknowledged is lost, and all come to hold the same.

use crate::support::{crash, healing, skip};

/// A few of the kills that `make measure` makes many of: each kind once where it falls, once inside a batch.
#[test]
fn what_was_acknowledged_survives_kills_at_seeded_moments() {
    let folder = tempfile::tempdir().unwrap();
    let record = |n: u32| {
        format!(
            "{{\"ts\": {}, \"author\": \"a{}\", \"text\": \"message {n}\"}}\n",
            1_500_000_000_000_u64 + u64::from(n) * 700,
            n % 50
        )
    };
    let Some(killer) = crash::Killer::new(folder.path(), (0..20_000).map(record).collect()) else {
        skip("no C compiler");
        return;
    };
    let killed: Vec<_> = (0..6).map(|seed| killer.kill(seed)).collect();
    for kill in &killed {
        println!(
            "{:?} after {} ms, inside: {}, acknowledged: {}",
            kill.moment, kill.after_ms, kill.inside, kill.acknowledged
        );
    }
    assert!(killed.iter().any(|k| k.inside), "no kill fell inside a batch");
    assert!(killed.iter().any(|k| k.acknowledged > 0), "nothing was acknowledged before any kill");
}

#[test]
fn three_who_were_cut_off_come_to_show_the_same_forks_included() {
    let folder = tempfile::tempdir().unwrap();
    match healing::heal(folder.path()) {
        Some(healed) => assert!(healed.forked > 0 && healed.messages > healed.forked, "{healed:?}"),
        None => skip("no network of one's own to be had (unshare -Urn)"),
    }
}
