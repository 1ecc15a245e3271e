//! What our evaluation comes to in a random room, in the words of the executable model, and what the model says of it.

use super::random_deeds::is_sound;
use super::random_room::{RandomRoom, Said, device_name, hex, user_name};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tidings_protocol::control::cut::Cut;
use tidings_protocol::control::set::ControlSet;
use tidings_protocol::control::state::{NoContent, Void};
use tidings_protocol::id::EventId;

/// The room's events, inserted in the order of this number and decided at once.
pub fn settled(room: &RandomRoom, order: u64) -> ControlSet {
    let mut set = ControlSet::new(room.id);
    room.in_order(order).into_iter().filter_map(Said::control).for_each(|event| set.insert(event));
    set.settle();
    set
}

/// Our evaluation, in the words of the model.
pub fn verdict(room: &RandomRoom, set: &ControlSet) -> Value {
    let state = set.state();
    let by_id = room.by_id();
    let mut why: BTreeMap<String, &str> = BTreeMap::new();
    let mut valid: BTreeSet<String> = set.verdicts().filter(|v| v.1.is_none()).map(|v| hex(&v.0)).collect();
    for said in &room.said {
        if said.is_text() {
            match text_void(said, &by_id, set) {
                None => drop(valid.insert(hex(&said.id))),
                Some(reason) => drop(why.insert(hex(&said.id), reason)),
            }
        } else if let Some(void) = set.void(said.id) {
            why.insert(hex(&said.id), reason(void));
        }
    }
    let devices = state.members.iter().filter(|(_, member)| !member.devices.is_empty());
    let devices = devices.map(|(user, member)| {
        let names: BTreeSet<String> = member.devices.iter().map(|device| device_name(*device)).collect();
        (user_name(*user), names)
    });
    let texts = room.said.iter().filter(|said| said.is_text());
    let erased = texts.filter(|said| state.erasure(&said.log(), said.seq, said.id).is_some());
    let proofs: BTreeSet<String> = effective(set).iter().filter(|id| !set.counts(**id)).map(hex).collect();
    json!({
        "valid": valid,
        "why": why,
        "proofs": proofs,
        "members": state.members.iter().map(|(u, m)| (user_name(*u), m.rank.number())).collect::<BTreeMap<_, _>>(),
        "devices": devices.collect::<BTreeMap<_, _>>(),
        "settings": state.settings.iter().collect::<BTreeMap<_, _>>(),
        "erased": erased.map(Said::place).collect::<Vec<_>>(),
    })
}

/// Every control event on the way down from what is told to others.
pub fn effective(set: &ControlSet) -> BTreeSet<EventId> {
    let mut found = BTreeSet::new();
    for (_, tip) in set.heads() {
        let mut at = set.event(tip.id);
        while let Some(event) = at.filter(|event| found.insert(event.id)) {
            at = set.event(event.prev);
        }
    }
    found
}

/// Where two verdicts differ, each with the event that it is about.
pub fn differences(room: &RandomRoom, set: &ControlSet, ours: &Value, models: &Value) -> Vec<String> {
    let (mut out, by_id) = (Vec::new(), room.by_id());
    for said in &room.said {
        let id = hex(&said.id);
        let why = (ours["why"][&id].as_str(), models["why"][&id].as_str());
        // What lacks its predecessor or grant stands aside here, and what rests on it; the model finds it void for one
        // reason or another.
        let is_cut = |why: Option<&str>| why.is_some_and(|why| why.ends_with("revoked"));
        if said.is_text() && is_cut(why.0) && is_cut(why.1) {
            // By whose word a text is cut away is nobody's question.
            continue;
        }
        if why == (Some("not allowed"), Some("prev")) && !is_sound(said, &by_id) {
            // Above what is malformed, the model still knows a user and we know none.
            continue;
        }
        if why.0 != why.1 && !(why.1.is_some() && (why.0.is_none() || set.event(said.log().grant).is_none())) {
            out.push(format!("{why:?} {}", said.to_json()));
        }
    }
    for part in ["valid", "members", "devices", "settings"] {
        if ours[part] != models[part] {
            out.push(format!("{part}: {} {}", ours[part], models[part]));
        }
    }
    let set_of = |list: &Value| list.as_array().unwrap().iter().map(Value::to_string).collect::<BTreeSet<_>>();
    // The model lists every place that an Erase names, ours are those where a text is.
    let texts: BTreeSet<String> =
        room.said.iter().filter(|said| said.is_text()).map(|said| said.place().to_string()).collect();
    let theirs: BTreeSet<String> = set_of(&models["erased"]).intersection(&texts).cloned().collect();
    if set_of(&ours["erased"]) != theirs {
        out.push(format!("erased: {} {theirs:?}", ours["erased"]));
    }
    // Proofs in content logs are the business of whoever keeps content. Where nothing of a branch counts, we need none.
    let needed = |said: &&Said| {
        let root = std::iter::successors(Some(*said), |said| by_id.get(&said.prev?).copied()).last();
        set.event(said.id).is_some() && root.is_some_and(|root| set.counts(root.id))
    };
    let needed: BTreeSet<String> = room.said.iter().filter(needed).map(|s| json!(hex(&s.id)).to_string()).collect();
    let theirs: BTreeSet<String> = set_of(&models["proofs"]).intersection(&needed).cloned().collect();
    if set_of(&ours["proofs"]) != theirs {
        out.push(format!("proofs: {} {theirs:?}", ours["proofs"]));
    }
    out
}

/// Why a text does not count: its own form, its predecessor, and what its log's author may.
pub fn text_void(said: &Said, by_id: &BTreeMap<EventId, &Said>, set: &ControlSet) -> Option<&'static str> {
    let right = set.state().content_right(&said.log());
    if matches!(right, Err(NoContent::UnknownGrant | NoContent::Void(Void::NotAllowed))) {
        return Some("not allowed");
    }
    if said.seq > 1 || said.prev.is_some() {
        let prev = said.prev.and_then(|id| by_id.get(&id)).filter(|p| p.log() == said.log() && p.seq + 1 == said.seq);
        match prev.map(|prev| text_void(prev, by_id, set)) {
            None => return Some("not allowed"),
            Some(Some(_)) => return Some("prev"),
            Some(None) => {}
        }
    }
    match right {
        Ok(right) => {
            let beyond = right.cuts.iter().any(|cut| !is_within(said, cut, by_id));
            beyond.then_some("revoked")
        }
        Err(_) if !set.counts(said.log().grant) => Some("grant"),
        Err(NoContent::Void(Void::Revoked)) => Some("revoked"),
        Err(NoContent::Void(Void::DeviceRevoked)) => Some("device revoked"),
        Err(_) => Some("not enrolled"),
    }
}

/// Whether a walk down from one of a cut's events comes by this one.
fn is_within(said: &Said, cut: &Cut, by_id: &BTreeMap<EventId, &Said>) -> bool {
    let leads = |id: &EventId| {
        let mut at = by_id.get(id).filter(|named| named.log() == said.log());
        while let Some(held) = at.filter(|held| held.seq > said.seq) {
            let below = held.prev.and_then(|prev| by_id.get(&prev));
            at = below.filter(|below| below.log() == held.log() && below.seq + 1 == held.seq);
        }
        at.is_some_and(|at| at.id == said.id)
    };
    cut.log == said.log() && said.seq <= cut.seq && cut.ids.iter().any(leads)
}

fn reason(void: Void) -> &'static str {
    match void {
        Void::NotAllowed => "not allowed",
        Void::Prev => "prev",
        Void::Grant => "grant",
        Void::Left => "left",
        Void::Invite => "invite",
        Void::Closed => "closed",
        Void::Revoked => "revoked",
        Void::DeviceRevoked => "device revoked",
    }
}

/// The model's verdicts; none when it stopped on an assertion of its own.
pub fn ask(rooms: &[RandomRoom], mutant: &str) -> Option<Vec<Value>> {
    let mut child = Command::new("python3")
        .args([vectors().join("model.py"), vectors().join("authority.py")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let rooms: Vec<Vec<Value>> = rooms.iter().map(|room| room.said.iter().map(Said::to_json).collect()).collect();
    let mut input = child.stdin.take().unwrap();
    serde_json::to_writer(&mut input, &json!({ "rooms": rooms, "mutant": mutant })).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || said.contains("AssertionError: RECURSION"), "the model failed: {said}");
    output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
}

/// Where the model and its fixtures are.
pub fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}
