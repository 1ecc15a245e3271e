//! Every log from its top down: each event has the hash that its id is, and a signature, or one further up, vouches for it.

use super::rows::to_log_row;
use super::{Check, Stopped, Wrong};
use crate::error::StorageError;
use crate::events::StoredEvent;
use crate::key::{self, RoomNumber};
use crate::logs::LogRow;
use crate::schema::Family;
use std::collections::BTreeSet;
use tidings_protocol::content::Content;
use tidings_protocol::event::{Class, Header};
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::identity::{Domain, verify};
use tidings_protocol::log::{Log, Tip};

/// A log that is being gone down.
struct Descent<'r> {
    room: RoomId,
    number: RoomNumber,
    log: Log,
    row: &'r LogRow,
    /// The seq of the events that were looked at last.
    seq: u64,
    /// What events of that seq may be vouched for by: true ones one above name them.
    named: BTreeSet<EventId>,
    /// What true events of that seq name.
    names: BTreeSet<EventId>,
    held: u64,
    /// Heads that were not met.
    tips: BTreeSet<Tip>,
}

/// What is said of one event by itself.
pub(crate) struct Verdict {
    pub(crate) has_its_id: bool,
    /// Whether its signature verifies; nothing where it has none.
    pub(crate) signed: Option<bool>,
}

impl Check<'_> {
    pub(super) fn logs(&mut self) -> Result<(), Stopped> {
        let mut ended = Ok(());
        self.each_part(Family::Tips, |check, part| {
            for (key, row) in part {
                if ended.is_err() {
                    return;
                }
                match to_log_row(key, row) {
                    Ok((number, log, row)) => ended = check.log(number, log, &row),
                    Err(why) => check.row_flaw(Family::Tips, &why),
                }
            }
        })?;
        ended
    }

    fn log(&mut self, number: RoomNumber, log: Log, row: &LogRow) -> Result<(), Stopped> {
        if self.purging.contains(&number) {
            return Ok(());
        }
        let Some(room) = self.rooms.get(&number).copied() else {
            self.row_flaw(Family::Tips, &"it is of a room that is not there");
            return Ok(());
        };
        let tips = row.state.tips().iter().copied().collect();
        let (named, names) = (BTreeSet::new(), BTreeSet::new());
        let mut descent = Descent { room, number, log, row, seq: 0, named, names, held: 0, tips };
        let prefix = row.number.0.to_be_bytes();
        let mut from = [prefix.as_slice(), &[0xff; 16]].concat();
        loop {
            let mut places = Vec::with_capacity(CHUNK_EVENTS);
            for row in self.store.scan_back(Family::Log, &prefix, &from).into_iter().flatten().take(CHUNK_EVENTS) {
                // What cannot be read was told when all rows were.
                let Ok((key, _)) = row else { break };
                from.clone_from(&key.to_vec());
                let seq = key.get(4..12).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
                let number = key.get(12..).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
                places.extend(seq.zip(number));
            }
            let is_last = places.len() < CHUNK_EVENTS;
            self.look_at(&mut descent, &places);
            self.tell()?;
            if is_last {
                break;
            }
            from = before(from);
        }
        if descent.held != row.state.held() {
            self.flaw(Some(room), None, Wrong::Log("how many it has"));
        }
        for tip in descent.tips {
            self.flaw(Some(room), Some(tip.id), Wrong::Log("its head is not there"));
        }
        Ok(())
    }

    /// Events of a log, the highest first.
    fn look_at(&mut self, descent: &mut Descent<'_>, places: &[(u64, u64)]) {
        let mut events = self.read(descent, places);
        let verdicts = on_all_cores(&events);
        let mut messages = Vec::with_capacity(events.len());
        for ((event, header), verdict) in events.iter().zip(verdicts) {
            self.found.events += 1;
            self.found.signatures += u64::from(verdict.signed.is_some());
            descent.move_to(event.seq);
            descent.tips.remove(&Tip { seq: event.seq, id: event.id });
            if let Some(wrong) = wrong(descent, header, &verdict) {
                self.flaw(Some(descent.room), Some(event.id), wrong);
                messages.push(false);
                continue;
            }
            messages.push(event.content().is_some_and(|content| content.is_message()));
            if verdict.signed.is_none() && !descent.named.contains(&event.id) {
                self.found.unvouched += 1;
                continue;
            }
            descent.names.insert(header.prev);
            let is_hole = |tip: &Tip| tip.seq == event.seq && tip.id == event.id;
            if descent.row.state.holes().iter().any(|hole| is_hole(&hole.top)) {
                self.flaw(Some(descent.room), Some(event.id), Wrong::Log("it is said to be missing"));
            }
        }
        let mut messages = messages.into_iter();
        events.retain(|_| messages.next() == Some(true));
        self.look_for_places(descent, &events);
    }

    fn read(&mut self, descent: &mut Descent<'_>, places: &[(u64, u64)]) -> Vec<(StoredEvent, Header)> {
        descent.held += places.len() as u64;
        let numbers: Vec<u64> = places.iter().map(|(_, number)| *number).collect();
        let together = self.store.events(&numbers);
        let one = |number: &u64| self.store.event(*number);
        let each = match together {
            Ok(events) => events.into_iter().map(Ok).collect(),
            // One that cannot be read must not hide the others.
            Err(_) => numbers.iter().map(one).collect::<Vec<Result<_, StorageError>>>(),
        };
        let mut read = Vec::with_capacity(places.len());
        for ((seq, number), event) in places.iter().zip(each) {
            let event = event.and_then(|event| match event {
                Some(event) => self.store.header(descent.room, &event).map(|header| Some((event, header))),
                None => Ok(None),
            });
            match event {
                Ok(Some((event, _))) if (event.room, event.log, event.seq) != (descent.number, descent.log, *seq) => {
                    self.flaw(Some(descent.room), Some(event.id), Wrong::Place);
                }
                Ok(Some(both)) => read.push(both),
                // It was told that the row lists what is not there.
                Ok(None) => {}
                Err(error) => {
                    let wrong = Wrong::Event { number: *number, why: error.to_string() };
                    self.flaw(Some(descent.room), None, wrong);
                }
            }
        }
        read
    }

    /// Whether messages stand in the timeline.
    fn look_for_places(&mut self, descent: &Descent<'_>, messages: &[(StoredEvent, Header)]) {
        let place = |event: &StoredEvent| key::timeline(descent.number, event.position());
        let keys: Vec<_> = messages.iter().map(|(event, _)| place(event)).collect();
        let Ok(rows) = self.store.find_many(Family::Timeline, &keys) else { return };
        let lists = |row: &[u8], number| {
            let numbers = key::to_numbers(row, "timeline").unwrap_or_default();
            numbers.contains(&number) || numbers.len() >= crate::append::SAME_LOG_MAX
        };
        let rows = rows.into_iter().zip(messages);
        let listed: Vec<bool> =
            rows.map(|(row, (event, _))| row.is_some_and(|row| lists(&row, event.number))).collect();
        // Of records that somebody brought again and again only the first few are listed, and these go first to save room.
        let may_be_unlisted = |event: &StoredEvent| {
            let is_record = matches!(event.content(), Some(Content::Imported(_) | Content::Adopted(_)));
            is_record && descent.row.state.floor() > 0
        };
        for ((event, _), _) in messages.iter().zip(listed).filter(|(_, is_listed)| !*is_listed) {
            if !may_be_unlisted(event) {
                self.flaw(Some(descent.room), Some(event.id), Wrong::Unlisted(Family::Timeline.name()));
            }
        }
    }
}

impl Descent<'_> {
    fn move_to(&mut self, seq: u64) {
        if seq == self.seq {
            return;
        }
        let names = std::mem::take(&mut self.names);
        self.named = if seq.checked_add(1) == Some(self.seq) { names } else { BTreeSet::new() };
        self.seq = seq;
    }
}

fn wrong(descent: &Descent<'_>, header: &Header, verdict: &Verdict) -> Option<Wrong> {
    match verdict {
        Verdict { has_its_id: false, .. } => Some(Wrong::Id),
        Verdict { signed: Some(false), .. } => Some(Wrong::Signature),
        Verdict { signed: None, .. } if header.class == Class::Control => Some(Wrong::Unsigned),
        _ if (header.class, header.author) != (descent.log.class, descent.log.author) => Some(Wrong::Place),
        _ => None,
    }
}

/// Hashes and signatures, on all cores where it is worth it.
pub(crate) fn on_all_cores(events: &[(StoredEvent, Header)]) -> Vec<Verdict> {
    let signed = events.iter().filter(|(event, _)| event.signature.is_some()).count();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let judge_all = |events: &[(StoredEvent, Header)]| events.iter().map(judge).collect::<Vec<_>>();
    if signed < WORTH_THREADS || threads == 1 {
        return judge_all(events);
    }
    std::thread::scope(|scope| {
        let parts = events.chunks(events.len().div_ceil(threads));
        let running: Vec<_> = parts.map(|part| (part, scope.spawn(move || judge_all(part)))).collect();
        running.into_iter().flat_map(|(part, thread)| thread.join().unwrap_or_else(|_| judge_all(part))).collect()
    })
}

fn judge((event, header): &(StoredEvent, Header)) -> Verdict {
    let signed = event
        .signature
        .as_ref()
        .map(|signature| verify(header.author.as_bytes(), Domain::Event, event.id.as_bytes(), signature).is_ok());
    Verdict { has_its_id: header.id() == event.id, signed }
}

/// The greatest key before this one, of keys as long.
fn before(mut key: Vec<u8>) -> Vec<u8> {
    for byte in key.iter_mut().rev() {
        let (less, borrowed) = byte.overflowing_sub(1);
        *byte = less;
        if !borrowed {
            break;
        }
    }
    key
}

/// Events that are looked at together.
const CHUNK_EVENTS: usize = 256;
/// Signatures for which threads are started.
const WORTH_THREADS: usize = 16;
