//! What one can ask of a node: every command of the API and of programs that embed a node goes through here.

use crate::api::types as api;
use crate::command::{Answer, Command, Reply};
use crate::files::FileError;
use crate::local::{Intent, NewRoom};
use crate::lookup::LookupError;
use crate::network::{self, AddressError, PeerAddress};
use crate::node::PEERS_NOTE;
use crate::people::PeopleError;
use crate::refusal::Refusal;
use crate::resolve;
use crate::room_standing::slow_value;
use crate::rooms::RoomView;
use crate::sync::Manager;
use crate::text::{is_one_visible_line, typed};
use crate::upkeep::BackupError;
use crate::writer::WriteError;
use std::sync::{Arc, PoisonError};
use std::time::Instant;
use thiserror::Error;
use tidings_protocol::content::Content;
use tidings_protocol::control::payload::RoomKind;
use tidings_protocol::control::rank::{Rank, Role};
use tidings_protocol::event::Hlc;
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::limits::{NAME_LEN_MAX, SETTING_VALUE_LEN_MAX};
use tidings_protocol::link::LinkError;
use tidings_protocol::moderation::SLOW;
use tidings_storage::{RoomRow, StorageError};
use tokio::sync::oneshot;

/// A way to talk to a running node. Cloning is cheap.
#[derive(Clone)]
pub struct NodeHandle {
    pub(crate) manager: Arc<Manager>,
    pub(crate) started: Instant,
}

/// Why the node did not do it.
#[derive(Debug, Error)]
pub enum NodeError {
    /// It may not be done.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing of that name or id.
    #[error("{0}")]
    NotFound(String),
    /// More than one thing begins so.
    #[error("\"{given}\" may be any of: {}", .candidates.join(", "))]
    Ambiguous {
        /// What was given.
        given: String,
        /// What it may be.
        candidates: Vec<String>,
    },
    /// It may not be done from here.
    #[error("{0}")]
    Forbidden(String),
    /// What was given makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A link.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// An address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A person.
    #[error(transparent)]
    People(#[from] PeopleError),
    /// A domain did not tell whose a name is.
    #[error(transparent)]
    Lookup(Box<LookupError>),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The bytes of a file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The disk has no room; nothing was written.
    #[error("the disk is full: nothing was written")]
    DiskFull,
    /// The disk budget is used up; nothing was written.
    #[error(
        "the disk budget of {max} bytes (disk_max_bytes) is used up and nothing more can go: raise it, or let rooms keep less"
    )]
    Budget {
        /// The budget.
        max: u64,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

impl From<WriteError> for NodeError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Refused(refusal) => NodeError::Refused(refusal),
            WriteError::DiskFull => NodeError::DiskFull,
            WriteError::Budget { max } => NodeError::Budget { max },
            WriteError::Stopping => NodeError::Stopping,
        }
    }
}

impl NodeHandle {
    /// Sends a command to the writer and waits for its answer, which comes after the commit.
    pub(crate) async fn write<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, NodeError> {
        Ok(self.order(command).await?.await.map_err(|_| NodeError::Stopping)??)
    }

    /// Gives the writer a command; its answer comes later.
    pub(crate) async fn order<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<Answer<T>, NodeError> {
        let (reply, answer) = oneshot::channel();
        self.manager.commands.send(command(reply)).await.map_err(|_| NodeError::Stopping)?;
        Ok(answer)
    }

    /// The history, for reading.
    pub fn store(&self) -> &tidings_storage::Store {
        &self.manager.store
    }

    /// Who we are.
    ///
    /// # Errors
    /// `NodeError::Storage`.
    pub fn identity(&self) -> Result<api::Identity, NodeError> {
        let name = self.manager.store.note(crate::local::NAME_NOTE)?.unwrap_or_default();
        Ok(api::Identity {
            user: self.manager.keys.user.to_string(),
            device: self.manager.keys.device().id().to_string(),
            name: String::from_utf8_lossy(&name).into_owned(),
            peer: self.manager.us.to_string(),
        })
    }

    /// Sets what people should call us, and tells every room.
    ///
    /// # Errors
    /// `NodeError::Usage` for a name that is empty or too long.
    pub async fn set_name(&self, name: &str) -> Result<(), NodeError> {
        let name = name.trim();
        if name.is_empty() || name.len() > NAME_LEN_MAX {
            return Err(NodeError::Usage(format!("a name has 1 to {NAME_LEN_MAX} bytes, this has {}", name.len())));
        }
        if !is_one_visible_line(name) {
            return Err(NodeError::Usage("a name is one line without control characters".to_owned()));
        }
        let (key, value) = (crate::local::NAME_NOTE.to_owned(), name.as_bytes().to_vec());
        self.write(|reply| Command::Note { name: key, value, reply }).await?;
        self.manager.people.renamed();
        let (user, home) = (self.manager.keys.user, self.manager.keys.self_room());
        for (room, view) in self.manager.views.all() {
            if view.row.home_of.is_some_and(|owner| owner != user) {
                continue;
            }
            let home = (view.row.kind != RoomKind::Public).then_some(home);
            let profile = Intent::Say(Content::Profile { name: name.to_owned(), home });
            // A room that we may not post in does not learn the name; that is no failure of setting it.
            drop(self.publish(room, profile).await);
        }
        Ok(())
    }

    /// Says or decides something; returns the id of its event, which is on disk.
    ///
    /// # Errors
    /// `NodeError::Refused`.
    pub async fn publish(&self, room: RoomId, intent: Intent) -> Result<EventId, NodeError> {
        self.manager.budget.admit_own().await?;
        let ids = self.write(|reply| Command::Publish { room, intent, reply }).await?;
        let last = ids.last().copied().ok_or(NodeError::Refused(Refusal::NotMember))?;
        for id in ids {
            self.manager.told.follow(id, room);
        }
        Ok(last)
    }

    /// Sends a message.
    ///
    /// # Errors
    /// `NodeError`.
    pub async fn send(&self, room: &str, text: &str, reply_to: Option<&str>) -> Result<api::Sent, NodeError> {
        check_says_something(text)?;
        let (room, view) = self.room_view(room)?;
        let body = self.text_in(&view, text)?;
        let content = match reply_to {
            None => Content::Text(body),
            Some(target) => {
                let (target, root) = self.thread_of(target)?;
                Content::Reply { target, root, text: body }
            }
        };
        self.sent(room, Intent::Say(content)).await
    }

    /// Changes the text of one of our messages.
    ///
    /// # Errors
    /// `NodeError`.
    pub async fn edit(&self, event: &str, text: &str) -> Result<api::Sent, NodeError> {
        check_says_something(text)?;
        let (room, target) = self.event(event)?;
        let text = match self.manager.views.find(room) {
            Some(view) => self.text_in(&view, text)?,
            None => text.into(),
        };
        self.sent(room, Intent::Say(Content::Edit { target, text })).await
    }

    /// Hides a message for good, and drops its payload when it is ours.
    ///
    /// # Errors
    /// `NodeError`.
    pub async fn erase(&self, event: &str) -> Result<api::Sent, NodeError> {
        let (room, target) = self.event(event)?;
        self.sent(room, Intent::Erase(target)).await
    }

    /// Stands for a message that a removal took away: it is shown again, as adopted by us.
    ///
    /// # Errors
    /// `NodeError`.
    pub async fn adopt(&self, event: &str) -> Result<api::Sent, NodeError> {
        let (room, message) = self.event(event)?;
        self.sent(room, Intent::Adopt(message)).await
    }

    /// Puts an emoji to a message, or takes it back.
    ///
    /// # Errors
    /// `NodeError`.
    pub async fn react(&self, event: &str, emoji: &str, removed: bool) -> Result<api::Sent, NodeError> {
        let max = tidings_protocol::limits::REACTION_LEN_MAX;
        if emoji.is_empty() || emoji.len() > max {
            return Err(NodeError::Usage(format!("a reaction is one emoji or short word, 1 to {max} bytes")));
        }
        let (room, target) = self.event(event)?;
        self.sent(room, Intent::Say(Content::Reaction { target, emoji: emoji.to_owned(), removed })).await
    }

    pub(crate) async fn sent(&self, room: RoomId, intent: Intent) -> Result<api::Sent, NodeError> {
        self.manager.sharing.touch();
        let id = self.publish(room, intent).await?;
        Ok(api::Sent { id: id.to_string(), room: room.to_string(), durable: true })
    }

    /// The message of an id and the first of its thread.
    pub(crate) fn thread_of(&self, text: &str) -> Result<(EventId, EventId), NodeError> {
        let (_, target) = self.event(text)?;
        let event = self.manager.store.event_by_id(target)?;
        let root = match event.map(|e| (e.kind, e.body)) {
            Some((kind, tidings_protocol::event::Body::Kept(payload))) => match Content::decode(kind, &payload.bytes) {
                Ok(Content::Reply { root, .. }) => root,
                Ok(Content::File(file)) => file.reply.map_or(target, |(_, root)| root),
                _ => target,
            },
            _ => target,
        };
        Ok((target, root))
    }

    /// Makes a room.
    ///
    /// # Errors
    /// `NodeError`.
    pub async fn create_room(&self, new: &api::CreateRoom) -> Result<api::RoomCreated, NodeError> {
        let role = new.invite_rank.as_deref().unwrap_or("moderator");
        let role = Role::from_name(role).ok_or_else(|| unknown_role(role))?;
        let kind = if new.public { RoomKind::Public } else { RoomKind::Members };
        let room = NewRoom { name: new.name.trim().to_owned(), kind, invite_rank: role.ranks().1 };
        let room = self.write(|reply| Command::Create { room, reply }).await?;
        let alias = self.manager.views.find(room).map(|v| v.row.alias.clone()).unwrap_or_default();
        Ok(api::RoomCreated { room: room.to_string(), kind: kind.name().to_owned(), alias })
    }

    /// Removes somebody from a room. What they said so far stays.
    ///
    /// # Errors
    /// `NodeError`.
    pub async fn remove(&self, room: &str, user: &str) -> Result<api::Appointed, NodeError> {
        let (room, view) = self.room_view(room)?;
        let user = resolve::user(self, &view, user).await?;
        let id = self.publish(room, Intent::Remove(user)).await?;
        Ok(api::Appointed { id: id.to_string(), user: user.to_string(), role: "none".to_owned(), link: None })
    }

    /// Sets what a room is called or is about, or its slow mode.
    ///
    /// # Errors
    /// `NodeError::Usage` for a key that there is not, or a value that no screen could show.
    pub async fn set_setting(&self, room: &str, key: &str, value: &str) -> Result<(), NodeError> {
        let (room, _) = self.room_view(room)?;
        let seconds = match key {
            SLOW => slow_value(value)?,
            "keep" => crate::trim::retention_value(value)?,
            _ => String::new(),
        };
        let (value, max) = match key {
            "name" => (value, NAME_LEN_MAX),
            "topic" => (value, SETTING_VALUE_LEN_MAX),
            SLOW | "keep" => (seconds.as_str(), SETTING_VALUE_LEN_MAX),
            _ => return Err(NodeError::Usage(format!("\"{key}\" is no setting: use name, topic, slow or keep"))),
        };
        if value.len() > max
            || (key == "name" && value.trim().is_empty())
            || (!value.is_empty() && !is_one_visible_line(value))
        {
            let text = format!("a {key} is one line of at most {max} bytes without control characters");
            return Err(NodeError::Usage(text));
        }
        let key = if key == "keep" { crate::trim::RETENTION } else { key };
        let (key, value) = (key.to_owned(), value.to_owned());
        self.publish(room, Intent::Set { key, value }).await.map(drop)
    }

    /// Calls a room something else here.
    ///
    /// # Errors
    /// `NodeError`.
    pub async fn alias(&self, room: &str, alias: &str) -> Result<(), NodeError> {
        let alias = alias.to_owned();
        self.change(room, move |row| row.alias = alias).await
    }

    /// Everything up to this message is read.
    ///
    /// # Errors
    /// `NodeError`.
    pub async fn mark_read(&self, room: &str, event: &str) -> Result<(), NodeError> {
        let (_, id) = self.event(event)?;
        let Some(event) = self.manager.store.event_by_id(id)? else { return Err(Refusal::UnknownEvent.into()) };
        let clock = event.clock;
        let (_, view) = self.room_view(room)?;
        self.manager.sharing.touch();
        self.share_read(&view, id, Hlc(clock));
        self.change(room, move |row| row.read_clock = row.read_clock.max(clock)).await
    }

    async fn change(&self, room: &str, change: impl FnOnce(&mut RoomRow) + Send + 'static) -> Result<(), NodeError> {
        let (room, _) = self.room_view(room)?;
        let change = Box::new(change);
        self.write(|reply| Command::Change { room, change, reply }).await
    }

    /// Dials a peer now and whenever it is lost.
    ///
    /// # Errors
    /// `NodeError::Address`.
    pub async fn add_peer(&self, address: &str) -> Result<(), NodeError> {
        let address: PeerAddress = address.parse()?;
        if address.peer == self.manager.us {
            return Err(NodeError::Usage("that is this node's own address".to_owned()));
        }
        if self.is_banned(address.peer) {
            return Err(PeopleError::Banned(address.peer.to_string()).into());
        }
        self.manager.redial.lock().unwrap_or_else(PoisonError::into_inner).name(&address);
        drop(self.manager.network.send(network::Command::Dial(vec![address])).await);
        self.keep_peers().await;
        Ok(())
    }

    /// Keeps the addresses of peers across restarts.
    pub(crate) async fn keep_peers(&self) {
        let addresses = self.manager.redial.lock().unwrap_or_else(PoisonError::into_inner).addresses();
        let mut texts: Vec<String> = addresses.into_iter().map(|a| a.address).collect();
        texts.sort_unstable();
        let Ok(value) = serde_json::to_vec(&texts) else { return };
        if self.manager.store.note(PEERS_NOTE).ok().flatten().as_deref() == Some(&value) {
            return;
        }
        let name = PEERS_NOTE.to_owned();
        drop(self.write(|reply| Command::Note { name, value, reply }).await);
    }

    /// The room of a name, id or beginning of an id.
    ///
    /// # Errors
    /// `NodeError::NotFound`, `NodeError::Ambiguous`.
    pub fn room_view(&self, text: &str) -> Result<(RoomId, Arc<RoomView>), NodeError> {
        resolve::room(&self.manager.views, text)
    }

    /// The event of an id or beginning of an id, and its room.
    ///
    /// # Errors
    /// `NodeError::NotFound`, `NodeError::Ambiguous`.
    pub fn event(&self, text: &str) -> Result<(RoomId, EventId), NodeError> {
        resolve::event(&self.manager.store, text)
    }
}

/// A text of which nothing can be seen would only puzzle its readers.
fn check_says_something(text: &str) -> Result<(), NodeError> {
    match typed(text).trim().is_empty() {
        true => Err(NodeError::Usage("there is nothing to say: the text has no character that can be seen".to_owned())),
        false => Ok(()),
    }
}

pub(crate) fn unknown_role(given: &str) -> NodeError {
    let names: Vec<&str> = Role::ALL.into_iter().filter(|r| *r != Role::Founder).map(Role::name).collect();
    NodeError::Usage(format!("\"{given}\" is no role: use one of {}", names.join(", ")))
}

/// The rank to give for a role's name, below the issuer's.
pub(crate) fn rank_for(role: &str, issuer: Rank) -> Result<Rank, NodeError> {
    let role = Role::from_name(role).ok_or_else(|| unknown_role(role))?;
    let refused = Refusal::NeedsRole { needs: stronger_than(role), are: issuer.role() };
    role.rank_below(issuer).ok_or(NodeError::Refused(refused))
}

fn stronger_than(role: Role) -> Role {
    let at = Role::ALL.iter().position(|r| *r == role).unwrap_or(0);
    Role::ALL[at.saturating_sub(1)]
}
