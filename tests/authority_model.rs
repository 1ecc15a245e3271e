//! Room authority against its executable model: the model's own random rooms as it judged them, and rooms of ours that it
//! judges now. Each of the model's mutants comes to something else than we do. `vectors/model.py` drives the model.

use crate::support::fixture_rooms::{FixtureRoom, fixture_json, fixture_rooms};
use crate::support::random_room::RandomRoom;
use crate::support::room_verdict::{ask, differences, settled, vectors, verdict};
use crate::support::skip;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;

#[test]
fn the_rooms_of_the_model_come_to_what_it_said_of_them() {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let fixtures = fixture_rooms();
    for FixtureRoom { room, expected } in &fixtures {
        for order in 0..2 {
            let set = settled(room, order);
            let differ = differences(room, &set, &verdict(room, &set), expected);
            assert!(differ.is_empty(), "room {}: ours, the model's, of what\n{}", room.seed, differ.join("\n"));
        }
        count(expected, &mut seen);
    }
    assert_eq!(fixtures.len(), 1000);
    met(&seen, 100);
}

#[test]
fn the_fixture_of_the_models_rooms_is_what_the_model_writes() {
    let exported = Command::new("python3").arg(vectors().join("export_rooms.py")).arg("-").output();
    let Ok(exported) = exported else {
        skip("no python3");
        return;
    };
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    // Not the packed bytes: another zlib packs otherwise.
    assert!(exported.stdout == fixture_json(), "run tests/vectors/export_rooms.py rooms.json.gz");
}

#[test]
fn random_rooms_come_to_what_the_model_says() {
    let rooms: Vec<RandomRoom> = (0..ROOMS).map(RandomRoom::new).collect();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for rooms in rooms.chunks(100) {
        let Some(expected) = asked(rooms, "") else { return };
        for (room, expected) in rooms.iter().zip(&expected.unwrap()) {
            let set = settled(room, 1);
            let differ = differences(room, &set, &verdict(room, &set), expected);
            assert!(differ.is_empty(), "seed {}: ours, the model's, of what\n{}", room.seed, differ.join("\n"));
            count(expected, &mut seen);
        }
    }
    met(&seen, 20);
}

#[test]
fn a_model_with_one_rule_changed_is_told_apart() {
    let rooms: Vec<RandomRoom> = fixture_rooms().into_iter().map(|f| f.room).collect();
    for mutant in MUTANTS {
        let mut differs = false;
        for rooms in rooms.chunks(50) {
            let Some(theirs) = asked(rooms, mutant) else { return };
            // A rule that makes the model ask a question inside itself ends it.
            let differ = |(room, theirs): (&RandomRoom, &Value)| {
                let set = settled(room, 0);
                !differences(room, &set, &verdict(room, &set), theirs).is_empty()
            };
            differs = theirs.is_none_or(|theirs| rooms.iter().zip(&theirs).any(differ));
            if differs {
                break;
            }
        }
        assert!(differs, "{mutant}");
    }
}

/// What the model says; none, and said so, where there is no python3 to run it.
fn asked(rooms: &[RandomRoom], mutant: &str) -> Option<Option<Vec<Value>>> {
    if Command::new("python3").arg("--version").output().is_err() {
        skip("no python3");
        return None;
    }
    Some(ask(rooms, mutant))
}

fn count(expected: &Value, seen: &mut BTreeMap<String, usize>) {
    for why in expected["why"].as_object().unwrap().values() {
        *seen.entry(why.as_str().unwrap().to_owned()).or_default() += 1;
    }
    for what in ["erased", "settings", "devices", "proofs"] {
        *seen.entry(what.into()).or_default() +=
            usize::from(expected[what] != json!([]) && expected[what] != json!({}));
    }
}

/// Each reason was met often enough to mean something.
fn met(seen: &BTreeMap<String, usize>, least: usize) {
    let words = "prev|grant|left|invite|closed|revoked|device revoked|not allowed|not enrolled|erased|settings|proofs";
    for what in words.split('|') {
        assert!(seen.get(what).is_some_and(|n| *n >= least), "{what}: {seen:?}");
    }
}

const ROOMS: u64 = 300;
/// The model's: a rule changed in each.
const MUTANTS: [&str; 18] = [
    "cut by seq only",
    "equal rank may revoke",
    "unnamed logs uncut",
    "lifts not required",
    "lift by a weaker issuer",
    "RevokeDevice covers stronger",
    "Leave cuts back",
    "closings intersect",
    "invite survives revoked issuer",
    "any device of the issuer closes",
    "RevokeDevice voids Joins",
    "RevokeDevice hits any user",
    "Revoke closes every invite of the user",
    "fork limit",
    "void ids named by cuts dropped",
    "validity is no prefix",
    "target decides validity",
    "Set replaces other keys",
];
