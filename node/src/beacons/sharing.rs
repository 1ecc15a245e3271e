//! What of its user a node tells others, as the settings say: what was read, that one types, whether one is there.

use super::say::{devices, say};
use crate::clock::now_ms;
use crate::handle::{NodeError, NodeHandle};
use crate::rooms::RoomView;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use tidings_protocol::beacon::{Presence, Signal};
use tidings_protocol::control::payload::RoomKind;
use tidings_protocol::event::Hlc;
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::limits::TYPING_MS_MAX;

/// What of its user a node tells others, in rooms that are not public; in public rooms nothing of this, ever.
#[derive(Debug)]
pub struct Sharing {
    /// How far one has read.
    pub read: bool,
    /// That one types.
    pub typing: bool,
    /// Whether one is there.
    pub presence: bool,
    /// When the user last did something here, Unix milliseconds.
    active_ms: AtomicU64,
    /// What is read and was not said yet.
    pub(super) wishes: Mutex<HashMap<RoomId, (EventId, Hlc)>>,
}

impl Sharing {
    /// As the settings say.
    pub fn new(read: bool, typing: bool, presence: bool) -> Self {
        Sharing { read, typing, presence, active_ms: AtomicU64::new(0), wishes: Mutex::default() }
    }

    /// The user did something here.
    pub fn touch(&self) {
        self.active_ms.store(now_ms(), Ordering::Relaxed);
    }

    pub(super) fn presence_now(&self) -> Presence {
        let idle = now_ms().saturating_sub(self.active_ms.load(Ordering::Relaxed));
        if idle < AWAY_AFTER_MS { Presence::Online } else { Presence::Away }
    }
}

impl NodeHandle {
    /// Tells the others of a room that everything up to a message is read, a little later and with what is read until then.
    pub(crate) fn share_read(&self, view: &RoomView, event: EventId, at: Hlc) {
        let sharing = &self.manager.sharing;
        if sharing.read && view.row.kind != RoomKind::Public {
            let mut wishes = sharing.wishes.lock().unwrap_or_else(PoisonError::into_inner);
            let wish = wishes.entry(view.row.room).or_insert((event, at));
            *wish = if at > wish.1 { (event, at) } else { *wish };
        }
    }

    /// The local user types in a room, or has stopped. Told to the others, if that is shared; said again while it lasts.
    ///
    /// # Errors
    /// `NodeError::NotFound`, `NodeError::Ambiguous`.
    pub async fn types(&self, room: &str, typing: bool) -> Result<(), NodeError> {
        let (room, view) = self.room_view(room)?;
        self.manager.sharing.touch();
        let is_shared = self.manager.sharing.typing && view.row.kind != RoomKind::Public;
        if !is_shared || devices(&view) > TYPING_DEVICES_MAX {
            return Ok(());
        }
        let now = now_ms();
        let device = self.manager.keys.device().id();
        let until_ms = self.manager.beacons.types_until_ms(room, device).filter(|until| *until > now);
        // Once said, it holds for a while.
        let is_news =
            if typing { until_ms.is_none_or(|until| until < now + TYPING_LEFT_MS) } else { until_ms.is_some() };
        if is_news {
            let until_ms = if typing { now + TYPING_MS_MAX } else { 0 };
            say(&self.manager, &view, Signal::Typing { until_ms }).await;
        }
        Ok(())
    }
}

/// In larger rooms nobody wants to know who types.
const TYPING_DEVICES_MAX: usize = 200;
/// Typing is said again when it would hold for less than this.
const TYPING_LEFT_MS: u64 = 6_000;
/// Who does nothing at this node for so long is away.
const AWAY_AFTER_MS: u64 = 5 * 60 * 1000;
