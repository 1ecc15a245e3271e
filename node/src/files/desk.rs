//! What one may ask of a node about files: take one in, send it, say which there are, get one, read it.

use super::{FileError, Naming, Progress, file_of, lock, namings, room::is_own};
use crate::api::file_types as api;
use crate::api::types::{SendMessage, Sent};
use crate::handle::{NodeError, NodeHandle};
use crate::local::Intent;
use crate::sync::Manager;
use crate::text::typed;
use std::sync::Arc;
use std::time::Duration;
use tidings_protocol::content::Content;
use tidings_protocol::event::Hlc;
use tidings_protocol::file::File;
use tidings_protocol::file_name::safe;
use tidings_protocol::id::{FileHash, RoomId};
use tidings_protocol::limits::{FILE_MEDIA_LEN_MAX, FILE_NAME_LEN_MAX};
use tidings_storage::blobs::{BlobError, Held, Incoming};
use tokio::sync::watch;

/// A file as messages show it.
pub(crate) fn shown(manager: &Manager, file: &File) -> api::File {
    api::File {
        name: safe(&file.name),
        len: file.len,
        media: file.media.clone(),
        hash: file.hash.to_string(),
        here: manager.files.blobs.len(file.hash) == Some(file.len),
    }
}

impl NodeHandle {
    /// Begins to take in a file that is to be sent.
    ///
    /// # Errors
    /// `NodeError::File`.
    pub fn take_in(&self) -> Result<Incoming, NodeError> {
        Ok(self.manager.files.blobs.begin().map_err(FileError::from)?)
    }

    /// Waits until there is room for more of a file that comes in.
    ///
    /// # Errors
    /// `NodeError::Budget`.
    pub async fn room_for_file(&self, bytes: usize) -> Result<(), NodeError> {
        self.manager.budget.admit_own().await?;
        self.manager.budget.wrote(bytes);
        Ok(())
    }

    /// All of it came: it is on disk when this returns, and kept for ten minutes, until a message names it.
    ///
    /// # Errors
    /// `NodeError::File`.
    pub async fn taken_in(&self, incoming: Incoming) -> Result<api::Taken, NodeError> {
        let manager = self.manager.clone();
        let taken = tokio::task::spawn_blocking(move || {
            let files = &manager.files;
            let _not_swept = lock(&files.sweeping);
            let (hash, len) = incoming.finish()?;
            files.pin(hash);
            Ok::<_, BlobError>((hash, len))
        });
        let (hash, len) = taken.await.map_err(|_| NodeError::Stopping)?.map_err(FileError::from)?;
        Ok(api::Taken { hash: hash.to_string(), len })
    }

    /// Sends a message that brings a file, which was taken in before.
    ///
    /// # Errors
    /// `NodeError`.
    pub async fn send_file(&self, room: &str, message: &SendMessage, file: &api::SendFile) -> Result<Sent, NodeError> {
        let (room, view) = self.room_view(room)?;
        let hash: FileHash = file.hash.parse().map_err(|_| no_file(&file.hash))?;
        let len = self.manager.files.blobs.len(hash).ok_or(FileError::NotTaken(hash))?;
        let reply = message.reply_to.as_deref().map(|target| self.thread_of(target)).transpose()?;
        let media = &file.media[..file.media.floor_char_boundary(FILE_MEDIA_LEN_MAX)];
        let name = safe(&file.name);
        let name = name[..name.floor_char_boundary(FILE_NAME_LEN_MAX)].to_owned();
        let text = self.text_in(&view, &message.text)?;
        let media = if typed(media) == media { media.to_owned() } else { String::new() };
        self.manager.files.pin(hash);
        let content = Content::File(Box::new(File { hash, len, name, media, text, reply }));
        let sent = self.sent(room, Intent::Say(content)).await?;
        // From here on it is kept because the message names it, and no longer than that.
        self.manager.files.unpin(hash);
        Ok(sent)
    }

    /// What an event brings, or which event names a file.
    fn naming(&self, text: &str) -> Result<Naming, NodeError> {
        if let Ok(hash) = text.parse::<FileHash>()
            && let Some(naming) = namings(&self.manager, hash)?.into_iter().next()
        {
            return Ok(naming);
        }
        let (room, id) = self.event(text).map_err(|error| match error {
            NodeError::NotFound(_) => no_file(text),
            other => other,
        })?;
        let (view, event) = (self.manager.views.find(room), self.manager.store.event_by_id(id)?);
        let (Some(view), Some(event)) = (view, event) else { return Err(no_file(text)) };
        match file_of(&self.manager, &view, &event)? {
            Some(file) => Ok(Naming { room, view, event, file }),
            None => Err(no_file(text)),
        }
    }

    /// What is known of a file.
    ///
    /// # Errors
    /// `NodeError::NotFound`.
    pub fn file(&self, text: &str) -> Result<api::Listed, NodeError> {
        self.listed(&self.naming(text)?)
    }

    /// The files that messages bring, in the order of their names, from one on.
    ///
    /// # Errors
    /// `NodeError::Storage`.
    pub fn files(&self, after: Option<&str>, max: usize) -> Result<Vec<api::Listed>, NodeError> {
        let after = after.map(|text| text.parse().map_err(|_| no_file(text))).transpose()?;
        let mut out = Vec::new();
        for hash in self.manager.store.files_named(after, max)? {
            if let Some(naming) = namings(&self.manager, hash)?.first() {
                out.push(self.listed(naming)?);
            }
        }
        Ok(out)
    }

    fn listed(&self, naming: &Naming) -> Result<api::Listed, NodeError> {
        Ok(api::Listed {
            file: shown(&self.manager, &naming.file),
            event: naming.event.id.to_string(),
            room: RoomId::to_string(&naming.room),
            ms: Hlc(naming.event.clock).ms(),
            own: is_own(&self.manager, naming.file.hash)?,
        })
    }

    /// Begins to fetch a file, and tells how that goes.
    ///
    /// # Errors
    /// `NodeError`.
    pub fn fetch_file(
        &self,
        text: &str,
        patience: Duration,
    ) -> Result<(api::File, watch::Receiver<Progress>), NodeError> {
        let naming = self.naming(text)?;
        let progress = self.fetch(naming.file.hash, naming.file.len, patience)?;
        Ok((shown(&self.manager, &naming.file), progress))
    }

    /// A file that is here, to be read.
    ///
    /// # Errors
    /// `NodeError::NotFound`.
    pub fn read_file(&self, text: &str) -> Result<Reading, NodeError> {
        let naming = self.naming(text)?;
        let (hash, len) = (naming.file.hash, naming.file.len);
        let held = self.manager.files.blobs.read(hash, len).map_err(|error| self.damaged(hash, error))?;
        let held = held.ok_or_else(|| NodeError::NotFound("this file is not here: fetch it first".to_owned()))?;
        self.manager.files.blobs.touch(hash);
        Ok(Reading { node: self.clone(), hash, held })
    }

    /// A file that is damaged here is fetched again when it is asked for.
    fn damaged(&self, hash: FileHash, error: BlobError) -> FileError {
        if matches!(error, BlobError::Damaged) {
            drop(self.manager.files.blobs.demote(hash));
        }
        error.into()
    }
}

/// A file that is read.
pub struct Reading {
    node: NodeHandle,
    hash: FileHash,
    held: Held,
}

impl Reading {
    /// Its length.
    pub fn len_bytes(&self) -> u64 {
        self.held.outline().len_bytes()
    }

    /// One of its pieces, checked.
    ///
    /// # Errors
    /// `FileError`.
    pub fn piece(&self, index: u32) -> Result<Vec<u8>, FileError> {
        self.held.piece(index).map_err(|error| self.node.damaged(self.hash, error))
    }
}

impl FileError {
    /// The failure itself, where it is shared.
    pub fn root(&self) -> &FileError {
        match self {
            FileError::Shared(error) => error.root(),
            other => other,
        }
    }
}

impl From<Arc<FileError>> for FileError {
    fn from(error: Arc<FileError>) -> Self {
        FileError::Shared(error)
    }
}

fn no_file(text: &str) -> NodeError {
    NodeError::NotFound(format!(
        "no message here brings a file \"{text}\": tidings file list shows those that there are"
    ))
}
