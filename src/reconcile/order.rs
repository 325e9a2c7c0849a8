//! The one order in which diverged copies stand, on every machine the same.
//!
//! It extends the prefix order: a longer content that begins with a shorter one has at least its times and more bytes, so it
//! never ranks below it. That is why any number of replicas converge in any order of visits.

use super::transcript::{Content, Digest, Moment};

/// The place of a content in the order: newest message, newest line, length, digest.
pub type Rank = (Option<Moment>, Option<Moment>, u64, Digest);

/// The rank of a content; the greatest wins.
#[must_use]
pub fn rank(content: &Content) -> Rank {
    (content.newest_message, content.newest, content.length, content.digest)
}

/// A file that is no list of lines, compared as a whole: modification time in whole seconds, length, SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Whole {
    /// Seconds since 1970; an installed copy carries it.
    pub modified: i64,
    /// Bytes.
    pub length: u64,
    /// SHA-256 of all bytes.
    pub digest: Digest,
}
