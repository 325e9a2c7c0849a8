//! A line of the archive's index: what it knows of one session.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::reconcile::few::Few;
use crate::reconcile::manifest::{Part, SessionId, SidePath};
use crate::reconcile::order::Whole;
use crate::reconcile::project::RepositoryId;
use crate::reconcile::transcript::{Content, Digest};

/// The format of a line.
pub(super) const VERSION: u32 = 1;

/// What the archive knows of one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Format of this line.
    pub version: u32,
    /// The session.
    pub session: SessionId,
    /// The content of the archive's copy.
    pub content: Content,
    /// Its title.
    pub title: Option<String>,
    /// The repository it belongs to, and where in it, once that was known.
    pub place: Option<Place>,
    /// What was last seen of it in this machine's store.
    pub here: Option<Here>,
    /// Side files.
    #[serde(default)]
    pub side: Few<SidePath, SideContent>,
    /// When its user let go of the bytes that the archive held. What lay in the store is known still.
    #[serde(default)]
    pub dropped: Option<DateTime<Utc>>,
}

impl Record {
    /// Bytes and digest of the archive's copy of a part.
    #[must_use]
    pub fn target(&self, part: &Part) -> Option<(u64, Digest)> {
        match part {
            Part::Transcript => Some((self.content.length, self.content.digest)),
            Part::Side(side) => self.side.get(side).map(SideContent::target),
        }
    }
}

/// What the archive's copy of a side file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SideContent {
    /// Lines, kept as transcripts are.
    Lines(Content),
    /// Anything else: the greatest is kept.
    Whole(Whole),
}

impl SideContent {
    /// Bytes and digest.
    #[must_use]
    pub fn target(&self) -> (u64, Digest) {
        match self {
            Self::Lines(content) => (content.length, content.digest),
            Self::Whole(whole) => (whole.length, whole.digest),
        }
    }
}

/// Where a session belongs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The repository.
    pub repository: RepositoryId,
    /// The working directory relative to the repository's root; empty for the root.
    pub below: String,
}

/// A content that lay in this machine's store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Here {
    /// The store's id.
    pub replica: Uuid,
    /// Bytes.
    pub length: u64,
    /// SHA-256.
    pub digest: Digest,
}
