//! `tidings audit`: whether a room's history is whole, by what is here and by what others hold at this moment.
//!
//! Each connected peer that shares the room is asked, and signs what its node holds (`asking`); whoever holds nothing that we
//! lack agrees. Who does not, holds more or is cut off from somebody: we compare with them, and ask again. So "complete
//! through T" says of each who agrees: what they held at T is here. Of who is not connected nothing is said.

mod asking;

pub(crate) use asking::{Answering, Heard, Round, agrees, answer};

use crate::api::audit as api;
use crate::api::types::Gap;
use crate::clock::now_ms;
use crate::effective;
use crate::handle::{NodeError, NodeHandle};
use crate::network::Peer;
use crate::rooms::RoomView;
use crate::trim;
use asking::HEARD_MAX;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tidings_protocol::event::Class;
use tidings_protocol::id::{DeviceId, RoomId, UserId};
use tidings_protocol::limits::WITHHELD_AFTER_MS;
use tidings_storage::{StorageError, Store};
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;

/// What an audit and the conversations share.
pub struct Audits {
    rounds: broadcast::Sender<Arc<Round>>,
    /// Held while one runs: peers are asked so often and no more.
    running: tokio::sync::Mutex<()>,
}

impl Default for Audits {
    fn default() -> Self {
        Audits { rounds: broadcast::channel(ROUNDS_MAX).0, running: tokio::sync::Mutex::default() }
    }
}

impl Audits {
    /// Tells conversations what to ask.
    pub(crate) fn rounds(&self) -> broadcast::Receiver<Arc<Round>> {
        self.rounds.subscribe()
    }
}

/// What one device answered last.
struct Word {
    user: UserId,
    agrees: bool,
    /// It lacks nothing below what it holds, and all of it is on its disk.
    durable: bool,
    /// When it was asked.
    asked_ms: u64,
}

impl NodeHandle {
    /// Whether a room's history is whole. Peers are asked until all agree, at most for `wait`.
    ///
    /// # Errors
    /// `NodeError::NotFound`, `NodeError::Ambiguous`, `NodeError::Storage`.
    pub async fn audit(&self, room: &str, wait: Duration) -> Result<api::Audit, NodeError> {
        let (room, _) = self.room_view(room)?;
        let _running = self.manager.audits.running.lock().await;
        let (asked, words) = self.ask_peers(room, wait.min(WAIT_MAX)).await;
        // What is missing is looked up last: what was brought meanwhile is here.
        let none = || NodeError::NotFound("the room is not here any more".to_owned());
        let view = self.manager.views.find(room).ok_or_else(none)?;
        let gaps = tokio::task::block_in_place(|| gaps(&self.manager.store, &view))?;
        let devices = self.devices_audited(&view, &words)?;
        let agreed = words.values().filter(|word| word.agrees).count();
        let why = match () {
            () if !view.has_genesis => Some(api::WHY_JOINING),
            () if !gaps.is_empty() => Some(api::WHY_GAPS),
            () if words.values().any(|word| !word.agrees) => Some(api::WHY_DIFFERS),
            () if agreed == 0 && !devices.is_empty() => Some(api::WHY_UNASKED),
            () => None,
        };
        let at_ms = words.values().filter(|word| word.agrees).map(|word| word.asked_ms).min();
        let is_alone = devices.is_empty() && why.is_none();
        Ok(api::Audit {
            complete: why.is_none(),
            through_ms: at_ms.filter(|_| why.is_none()).or(is_alone.then(now_ms)),
            agreed,
            asked,
            why: why.map(str::to_owned),
            gaps,
            devices,
        })
    }

    /// Asks each peer that shares the room until it agrees, or the time is up. Returns how many were asked, and the last
    /// word of each device that answered.
    async fn ask_peers(&self, room: RoomId, wait: Duration) -> (usize, BTreeMap<DeviceId, Word>) {
        let until = Instant::now() + wait;
        let (mut asked, mut words) = (BTreeMap::<Peer, Option<DeviceId>>::new(), BTreeMap::new());
        let mut pause = PAUSE_MIN;
        loop {
            for peer in self.manager.told.peers_sharing(room) {
                asked.entry(peer).or_insert(None);
            }
            let agrees = |words: &BTreeMap<DeviceId, Word>, device: &Option<DeviceId>| {
                device.and_then(|device| words.get(&device)).is_some_and(|word: &Word| word.agrees)
            };
            let shares = |peer: &Peer| self.manager.told.shares(room, *peer);
            let open = asked.iter().filter(|(peer, device)| !agrees(&words, device) && shares(peer));
            let mut silent: Vec<Peer> = open.map(|(peer, _)| *peer).collect();
            if silent.is_empty() {
                break;
            }
            let (reply, mut answers) = mpsc::channel(HEARD_MAX);
            let asked_ms = now_ms();
            let round = Arc::new(Round { room, peers: silent.iter().copied().collect(), reply });
            let _ = self.manager.audits.rounds.send(round);
            let round_ends = until.min(Instant::now() + ANSWER_WITHIN);
            while !silent.is_empty() {
                let Ok(Some(heard)) = tokio::time::timeout_at(round_ends, answers.recv()).await else { break };
                let Heard { peer, device, user, agrees, durable } = heard;
                silent.retain(|other| *other != peer);
                asked.insert(peer, Some(device));
                words.insert(device, Word { user, agrees, durable, asked_ms });
            }
            if Instant::now() + pause >= until {
                break;
            }
            if asked.values().any(|device| !agrees(&words, device)) {
                // What differs is on its way, as comparing began with the answer.
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
        (asked.len(), words)
    }

    /// The other devices of the room's members, with what they answered or when they last said what they hold.
    fn devices_audited(
        &self,
        view: &RoomView,
        words: &BTreeMap<DeviceId, Word>,
    ) -> Result<Vec<api::Audited>, NodeError> {
        let us = self.manager.keys.device().id();
        let mut out = Vec::new();
        for (user, member) in view.state.members.iter() {
            let name = self.manager.store.profile_name(view.number, *user)?.unwrap_or_default();
            for device in member.devices.iter().filter(|device| **device != us && device.0 != user.0) {
                let word = words.get(device).filter(|word| word.user == *user);
                let state = match word {
                    Some(word) if !word.agrees => api::STATE_DIFFERS,
                    Some(word) if !word.durable => api::STATE_LACKS,
                    Some(_) => api::STATE_AGREES,
                    None => api::STATE_AWAY,
                };
                let (_, heard_ms) = self.manager.beacons.reached(view.row.room, *device);
                out.push(api::Audited {
                    device: device.to_string(),
                    user: user.to_string(),
                    name: name.clone(),
                    state: state.to_owned(),
                    ms: word.map(|word| word.asked_ms).or(heard_ms),
                });
            }
        }
        Ok(out)
    }
}

/// What is known to be missing of a room's content, by author and place in their log.
///
/// # Errors
/// `StorageError`.
pub(crate) fn gaps(store: &Store, view: &RoomView) -> Result<Vec<Gap>, StorageError> {
    let of_all = |why: &str| Gap { user: String::new(), from_seq: 0, to_seq: 0, why: why.to_owned() };
    let mut gaps = Vec::new();
    if trim::whole_since(store, view)?.is_some() {
        gaps.push(of_all("trimmed"));
    }
    if store.lacks_words(view.number)? {
        gaps.push(of_all("purged"));
    }
    let now_ms = now_ms();
    for (log, row) in store.logs(view.number, Class::Content)? {
        let Ok(user) = view.state.content_author(&log) else { continue };
        for hole in effective::holes_of(store, view, &log, &row)? {
            let withheld = now_ms.saturating_sub(hole.since_ms) > WITHHELD_AFTER_MS;
            let why = if withheld { "withheld" } else { "fetching" }.to_owned();
            gaps.push(Gap { user: user.to_string(), from_seq: hole.above + 1, to_seq: hole.top.seq, why });
            if gaps.len() >= GAPS_MAX {
                return Ok(gaps);
            }
        }
    }
    Ok(gaps)
}

/// Rounds that a conversation may be behind; it is asked again by the next.
const ROUNDS_MAX: usize = 4;
/// How long an audit may take at all.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Who has not answered then is asked again.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// Between two rounds, doubled each time: no peer is asked more often than `ASKS_TOLD_MAX` allows.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(4);
/// Gaps that one audit lists.
const GAPS_MAX: usize = 1_000;
