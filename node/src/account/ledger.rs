//! What is known of the account: every record, newest of each subject; the keys of the user's devices; how far the
//! self-room was read. Kept as one note, so that a start does not open again what was sealed.

use std::collections::{BTreeMap, BTreeSet};
use tidings_protocol::account::{Account, Bundle, Entry, Record, RoomRecord, Subject};
use tidings_protocol::codec::{Canonical, CodecError, Reader, Writer, decode, encode};
use tidings_protocol::content::Content;
use tidings_protocol::control::state::RoomState;
use tidings_protocol::event::{Body, Class, Hlc};
use tidings_protocol::id::{DeviceId, RoomId, UserId};
use tidings_protocol::limits::{RECORDS_MAX, SEALED_RECIPIENTS_MAX};
use tidings_protocol::sealed::{Place, Sealed, SealingId, SealingKey};
use tidings_storage::{StorageError, Store, StoredEvent};

/// What is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    /// The records.
    pub(super) account: Account,
    /// Events up to this local number were looked at.
    pub(super) through: u64,
    /// To which key a device wants to be sealed, as it said first.
    sealing: BTreeMap<DeviceId, SealingId>,
    /// Who could read the last bundle that told everything.
    covered: BTreeSet<SealingId>,
    /// Devices that were revoked when this was read: what they said since then counts no more.
    ended: BTreeSet<DeviceId>,
}

impl Ledger {
    /// What was kept; nothing where it does not read: the self-room is read again.
    pub(super) fn load(store: &Store) -> Result<Self, StorageError> {
        let kept = store.note(NOTE)?;
        Ok(kept.and_then(|bytes| decode(&bytes, usize::MAX).ok()).unwrap_or_default())
    }

    /// As it is kept.
    pub(super) fn to_note(&self) -> (String, Vec<u8>) {
        (NOTE.to_owned(), encode(self))
    }

    /// A ledger that is to be read again, where other devices are revoked than when this was read: what was taken from them
    /// may be what a thief said.
    pub(super) fn anew(&self, ended: &BTreeSet<DeviceId>) -> Option<Ledger> {
        (self.ended != *ended).then(|| Ledger { ended: ended.clone(), ..Ledger::default() })
    }

    /// What of the records another ledger has not, or says otherwise.
    pub(super) fn beyond(&self, other: &Ledger) -> Vec<Entry> {
        let differs = |entry: &&Entry| other.account.find(entry.subject()) != Some(entry);
        self.account.entries().filter(differs).cloned().collect()
    }

    /// Takes an event of the self-room in; the records that are news.
    pub(super) fn take(&mut self, room: RoomId, event: &StoredEvent, keys: &[&SealingKey], now_ms: u64) -> Vec<Entry> {
        self.through = self.through.max(event.number);
        let Body::Kept(payload) = &event.body else { return Vec::new() };
        if event.log.class != Class::Content {
            return Vec::new();
        }
        match Content::decode(event.kind, &payload.bytes) {
            Ok(Content::Device { sealing }) if self.sealing.len() < DEVICES_MAX && sealing.is_usable() => {
                self.sealing.entry(event.log.author).or_insert(sealing);
                Vec::new()
            }
            Ok(Content::Sealed(sealed)) => {
                let place = Place { room, author: event.log.author };
                self.take_sealed(&sealed, place, keys, now_ms)
            }
            _ => Vec::new(),
        }
    }

    fn take_sealed(&mut self, sealed: &Sealed, place: Place, keys: &[&SealingKey], now_ms: u64) -> Vec<Entry> {
        let opened = keys.iter().find_map(|key| sealed.open(key, place));
        let Some(bundle) = opened.and_then(|bytes| Bundle::from_bytes(&bytes).ok()) else { return Vec::new() };
        if bundle.whole {
            self.covered.extend(sealed.recipients());
            // No more than are read back: nobody seals to whom no device of ours has named, but a thief.
            if self.covered.len() > DEVICES_MAX {
                let known: BTreeSet<SealingId> = self.sealing.values().copied().chain(sealed.recipients()).collect();
                self.covered.retain(|id| known.contains(id));
            }
        }
        bundle.entries.into_iter().filter(|entry| self.account.merge(entry.clone(), now_ms)).collect()
    }

    /// To whom to seal: the user's current devices, and the words.
    pub(super) fn recipients(&self, home: &RoomState, user: UserId, words: SealingId) -> Vec<SealingId> {
        let current = home.members.get(&user).map(|member| &member.devices);
        let devices = current.into_iter().flatten().filter_map(|device| self.sealing.get(device).copied());
        std::iter::once(words).chain(devices).take(SEALED_RECIPIENTS_MAX).collect()
    }

    /// Whether somebody of these was never told everything.
    pub(super) fn is_uncovered(&self, recipients: &[SealingId], own: SealingId, words: SealingId) -> bool {
        recipients.iter().any(|id| *id != own && *id != words && !self.covered.contains(id))
    }

    /// Whether this key was among those who were told everything.
    pub(super) fn covers(&self, own: SealingId) -> bool {
        self.covered.contains(&own)
    }

    /// What is known of a room.
    pub(super) fn room(&self, room: RoomId) -> Option<RoomRecord> {
        match self.account.find(Subject::room(room))?.record() {
            Record::Room(_, said) => Some(said),
            _ => None,
        }
    }

    /// How far a room was read, as far as any device has told.
    pub(super) fn read_to(&self, room: RoomId) -> Hlc {
        self.account.find(Subject::read(room)).map_or(Hlc(0), Entry::hlc)
    }

    /// The rooms that the user is in.
    pub(super) fn rooms(&self) -> Vec<RoomId> {
        let room = |entry: &Entry| match entry.record() {
            Record::Room(room, said) if !said.left => Some(room),
            _ => None,
        };
        self.account.entries().filter_map(room).collect()
    }
}

impl Canonical for Ledger {
    fn write(&self, w: &mut Writer) {
        let entries: Vec<Entry> = self.account.entries().cloned().collect();
        w.list(&entries);
        w.u64(self.through);
        let sealing: Vec<(DeviceId, SealingId)> = self.sealing.iter().map(|(d, s)| (*d, *s)).collect();
        w.length(sealing.len());
        for (device, id) in sealing {
            device.write(w);
            id.write(w);
        }
        w.list(&self.covered.iter().copied().collect::<Vec<_>>());
        w.list(&self.ended.iter().copied().collect::<Vec<_>>());
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let mut ledger = Ledger::default();
        for entry in r.list::<Entry>(RECORDS_MAX)? {
            ledger.account.merge(entry, u64::MAX);
        }
        ledger.through = r.u64()?;
        for _ in 0..r.length(DEVICES_MAX)? {
            ledger.sealing.insert(DeviceId::read(r)?, SealingId::read(r)?);
        }
        ledger.covered = r.sorted(DEVICES_MAX * 2)?.into_iter().collect();
        ledger.ended = r.sorted(DEVICES_MAX)?.into_iter().collect();
        Ok(ledger)
    }
}

const NOTE: &str = "account";
/// Devices of one user whose keys are kept, those revoked included.
const DEVICES_MAX: usize = 1024;

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
