//! Who runs beside tidings: each takes its turn in each round, and one that fails or hangs is left out from then on, with a line.

use crate::{Bench, Result, nats, prosody};
use std::time::Duration;
use tokio::time::timeout;

/// A kind of peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Relay,
    Nats,
    Prosody,
}

/// A peer, and what its rounds brought.
pub struct Contender<T> {
    pub kind: Kind,
    pub name: String,
    pub taken: Vec<T>,
    is_out: bool,
}

/// Those of these that are installed; a line for each that is not.
pub async fn line_up<T>(bench: &mut Bench, part: &str, kinds: &[Kind]) -> Vec<Contender<T>> {
    let mut out = Vec::new();
    for kind in kinds {
        let name = match kind {
            Kind::Relay => Ok(RELAY.to_owned()),
            Kind::Nats => nats::name().await,
            Kind::Prosody => prosody::name().await,
        };
        match name {
            Ok(name) => out.push(Contender { kind: *kind, name, taken: Vec::new(), is_out: false }),
            Err(error) => bench.note(format!("skipped: {part} beside {kind:?}: {error}")),
        }
    }
    out
}

impl<T> Contender<T> {
    /// Runs one round. A peer that failed once is not asked again.
    pub async fn round(&mut self, notes: &mut Vec<String>, part: &str, run: impl Future<Output = Result<T>>) {
        if self.is_out {
            return;
        }
        let error = match timeout(ROUND_MAX, run).await {
            Ok(Ok(taken)) => return self.taken.push(taken),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no end after {} s", ROUND_MAX.as_secs()),
        };
        self.is_out = true;
        let line = format!("failed: {part} beside {} in round {}: {error}", self.name, self.taken.len() + 1);
        eprintln!("{line}");
        notes.push(line);
    }
}

/// What the signed relay is called in the table.
pub const RELAY: &str = "signed relay, synced";
/// One round of one peer takes a minute at most on the slowest machine that it was tried on.
const ROUND_MAX: Duration = Duration::from_secs(300);
