//! What is noted beside an object of the vault.

use std::io;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::read;
use crate::reconcile::manifest::{Part, SessionId};
use crate::reconcile::order::Whole;
use crate::reconcile::transcript::Digest;

/// The format of a note.
pub(super) const VERSION: u32 = 1;

/// Why bytes are in the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Overtaken by a longer copy that begins with it; goes once the archive holds that copy.
    Overtaken,
    /// Diverged, and lost.
    Lost,
    /// A side file that another one replaced.
    Side,
    /// Grew while it was being replaced.
    Grew,
    /// Left in the stage by a crash.
    Recovered,
}

/// What is noted beside an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Format of this note.
    pub version: u32,
    /// The session.
    pub session: SessionId,
    /// Which file of it.
    pub part: Part,
    /// Why it is here.
    pub reason: Reason,
    /// Whose copy it was.
    pub from: String,
    /// When it came here.
    pub at: DateTime<Utc>,
    /// Bytes of its complete lines (all bytes, for a file that is no list of lines).
    pub length: u64,
    /// Their SHA-256.
    pub digest: Digest,
    /// The content that won.
    pub winner: Option<Digest>,
    /// Whose copies that was.
    #[serde(default)]
    pub won_at: Vec<String>,
    /// The session that the copy became.
    pub fork: Option<SessionId>,
    /// Its title.
    pub title: Option<String>,
}

impl Note {
    /// A note of the present format.
    #[must_use]
    pub fn new(session: SessionId, part: Part, reason: Reason, from: &str, at: DateTime<Utc>, content: (u64, Digest)) -> Self {
        let (length, digest) = content;
        Self { version: VERSION, session, part, reason, from: from.to_owned(), at, length, digest, winner: None, won_at: Vec::new(), fork: None, title: None }
    }

    /// The same of a file that turned out to hold this.
    #[must_use]
    pub(super) fn holding(self, whole: &Whole) -> Self {
        Self { reason: Reason::Recovered, length: whole.length, digest: whole.digest, ..self }
    }
}

/// An object and its note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its file.
    pub path: PathBuf,
    /// What is known of it.
    pub note: Note,
}

impl Object {
    /// Whether its file still begins with the bytes that the note speaks of. Reads them.
    ///
    /// # Errors
    /// As `read`.
    pub fn holds(&self) -> io::Result<bool> {
        Ok(read::prefix(&read::open(&self.path)?, self.note.length)? == Some(self.note.digest))
    }
}
