//! The first checks of what may be wrong, each with what to do about it.

use super::Context;
use super::keep::size;
use crate::api::types::{Peer, Status};
use crate::clock::now_ms;
use crate::home::Home;
use crate::keys::Keys;
use crate::upkeep::OLD;
use serde::Serialize;
use std::os::unix::fs::PermissionsExt;
use tidings_storage::Store;

/// One thing looked at.
#[derive(Debug, Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was seen.
    pub detail: String,
    /// What to do, where it is not.
    pub fix: String,
}

fn check(name: &'static str, ok: bool, detail: impl Into<String>, fix: impl Into<String>) -> Check {
    Check { name, ok, detail: detail.into(), fix: fix.into() }
}

/// Looks at everything; with `fix`, mends what can be mended.
pub(super) async fn checks(context: &Context, fix: bool) -> Vec<Check> {
    let mut checks = Vec::new();
    let home = match Home::open(&context.home) {
        Ok(home) => home,
        Err(error) => return vec![check("home", false, error.to_string(), "pass another folder with --home DIR")],
    };
    checks.push(check("home", true, home.path().display().to_string(), ""));
    // Keys that others can read are not used before that is mended.
    let permissions = permissions(&home, fix);
    checks.push(keys(&home));
    checks.push(permissions);
    checks.push(clock());
    checks.push(disk(&home));
    checks.push(store(&home));
    let status = match context.client() {
        Ok(client) => client.get::<Status>("/v1/status").await.ok().map(|status| (client, status)),
        Err(_) => None,
    };
    let Some((client, status)) = status else {
        checks.push(check("node", false, "no node is running in this home", "start it: tidings chat, or tidings up"));
        return checks;
    };
    checks.push(check("node", true, format!("running for {} s", status.uptime_s), ""));
    let listens = !status.listen.is_empty();
    checks.push(check("ports", listens, status.listen.join(", "), "choose a free port with tidings up --listen"));
    let peers: Vec<Peer> = client.get("/v1/peers").await.unwrap_or_default();
    let alone = "invite somebody (tidings room invite), join by a link, or tidings peers add ADDRESS";
    checks.push(check("peers", !peers.is_empty() || status.rooms == 0, format!("{} connected", peers.len()), alone));
    checks.push(budget(&status));
    let whole = status.behind == 0;
    let detail = format!("{} events, {} rooms with something missing", status.events, status.behind);
    checks.push(check("history", whole, detail, "stay connected with a member's node: it is fetched by itself"));
    checks
}

fn budget(status: &Status) -> Check {
    let used = size(status.disk_bytes);
    let Some(max) = status.disk_max_bytes else { return check("budget", true, format!("{used} used, no bound"), "") };
    let fix = "raise disk_max_bytes, or let rooms keep less: tidings room keep ROOM --days 90";
    let nearly = status.disk_bytes > max / 100 * BUDGET_PERCENT;
    check("budget", !status.disk_stuck && !nearly, format!("{used} of {} used", size(max)), fix)
}

fn keys(home: &Home) -> Check {
    match Keys::open(home) {
        Ok(keys) => check("keys", true, keys.user.to_string(), ""),
        Err(error) => check("keys", false, error.to_string(), "restore the key files from a copy"),
    }
}

/// Others must not read the keys.
fn permissions(home: &Home, fix: bool) -> Check {
    let mut open = Vec::new();
    for (name, mode) in [
        ("", 0o700),
        ("user.key", 0o600),
        ("device.key", 0o600),
        ("node.key", 0o600),
        ("device.cert", 0o600),
        ("linked", 0o600),
    ] {
        let path = home.path().join(name);
        let Ok(found) = std::fs::metadata(&path).map(|m| m.permissions().mode() & 0o777) else { continue };
        let mended = || std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).is_ok();
        if found & 0o077 != 0 && !(fix && mended()) {
            open.push(path.display().to_string());
        }
    }
    let detail = if open.is_empty() { "only you can read the keys".to_owned() } else { open.join(", ") };
    check("permissions", open.is_empty(), detail, "run tidings doctor --fix, or chmod go= on them")
}

fn clock() -> Check {
    let year = 1970 + now_ms() / YEAR_MS;
    let detail = format!("the year is {year}");
    check("clock", (2025..2100).contains(&year), detail, "set this machine's clock: messages are dated by it")
}

fn disk(home: &Home) -> Check {
    let probe = home.path().join(".probe");
    let written = std::fs::write(&probe, vec![0; PROBE_LEN]);
    drop(std::fs::remove_file(&probe));
    match written {
        Ok(()) => check("disk", true, "there is room to write", ""),
        Err(error) => check("disk", false, error.to_string(), "free some space, or pass another --home"),
    }
}

/// What was met so far: reading all of it is for `tidings verify`.
fn store(home: &Home) -> Check {
    if Store::is_known_damaged(&home.store_path()) {
        let fix = "stop the node and start it again: it keeps what can be read and fetches the rest from peers";
        return check("store", false, "something in it is damaged", fix);
    }
    let old = home.path().join(OLD);
    let detail = match old.exists() {
        true => format!("it was made anew of what could be read of {}: remove that once all is well", old.display()),
        false => "nothing damaged was met; tidings verify reads all of it".to_owned(),
    };
    check("store", true, detail, "")
}

/// Trimming keeps a node below: more is used where nothing more can go.
const BUDGET_PERCENT: u64 = 90;
const YEAR_MS: u64 = 31_556_952_000;
/// As much as the store needs to write at once.
const PROBE_LEN: usize = 10 << 20;
