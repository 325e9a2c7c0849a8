//! How two contents stand to each other, by length and digest of a whole prefix and by nothing else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::transcript::{Content, Digest, LineDigest, Reading};
use std::collections::BTreeSet;

/// A content of lines, with the proofs that were taken of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lines {
    /// The complete lines.
    pub content: Content,
    /// SHA-256 of the first n bytes, by n.
    pub marks: BTreeMap<u64, Digest>,
    /// Digests of its messages, filled in where copies diverged.
    #[serde(skip)]
    pub messages: BTreeSet<LineDigest>,
    /// Its title, for people.
    pub title: Option<String>,
}

impl Lines {
    /// From a reading of its bytes.
    #[must_use]
    pub fn of(reading: Reading) -> Self {
        let Reading { content, mut marks, messages, title, .. } = reading;
        // Its own length and 0 are known without a mark.
        marks.retain(|length, _| *length > 0 && *length < content.length);
        Self { content, marks, messages, title }
    }

    /// A content of which only length and digest are known.
    #[must_use]
    pub fn bare(length: u64, digest: Digest) -> Self {
        let content = Content { length, digest, newest_message: None, newest: None };
        Self { content, marks: BTreeMap::new(), messages: BTreeSet::new(), title: None }
    }

    /// The digest of the first `length` bytes, if it was taken.
    #[must_use]
    pub fn prefix(&self, length: u64) -> Option<Digest> {
        match length {
            0 => Some(Digest::of(b"")),
            _ if length == self.content.length => Some(self.content.digest),
            _ => self.marks.get(&length).copied(),
        }
    }
}

/// How one content stands to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The same bytes.
    Equal,
    /// The first is a proper prefix of the second.
    Behind,
    /// The second is a proper prefix of the first.
    Ahead,
    /// Neither is a prefix of the other.
    Diverged,
}

/// The digest of a prefix was not taken, so nothing can be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the first {length} bytes of {digest:?} were not hashed")]
pub struct Unproven {
    /// Whose prefix.
    pub digest: Digest,
    /// How much of it.
    pub length: u64,
}

/// Relates `a` to `b`.
///
/// # Errors
/// When the longer one carries no mark at the length of the shorter one.
pub fn relate(a: &Lines, b: &Lines) -> Result<Relation, Unproven> {
    let (shorter, longer, verdict) = match a.content.length.cmp(&b.content.length) {
        std::cmp::Ordering::Equal => {
            return Ok(if a.content.digest == b.content.digest { Relation::Equal } else { Relation::Diverged });
        }
        std::cmp::Ordering::Less => (a, b, Relation::Behind),
        std::cmp::Ordering::Greater => (b, a, Relation::Ahead),
    };
    let length = shorter.content.length;
    let prefix = longer.prefix(length).ok_or(Unproven { digest: longer.content.digest, length })?;
    Ok(if prefix == shorter.content.digest { verdict } else { Relation::Diverged })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::transcript::Reader;

    #[test]
    fn what_is_known_without_a_mark_is_not_kept_as_one() {
        let bytes = b"one\ntwo\n";
        let mut reader = Reader::new([0, 4, 8]);
        reader.push(bytes);
        let lines = Lines::of(reader.finish());
        assert_eq!(lines.marks.keys().copied().collect::<Vec<_>>(), [4]);
        let found = [0, 4, 8, 5].map(|length| lines.prefix(length));
        assert_eq!(found, [Some(Digest::of(b"")), Some(Digest::of(b"one\n")), Some(Digest::of(bytes)), None]);
    }
}
