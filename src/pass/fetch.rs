//! How the bytes of a file that is new there come together here, and how they come into the stage.
//!
//! Promises: at the least cost in bytes over the line. What is staged is unproved; [`absorb`](super::absorb) proves it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::bases::{Base, Bases, beginning_with};
use crate::codespace::replica::{Getting, Range, VisitError};
use crate::reconcile::manifest::{Part, SessionId, StorePath};
use crate::reconcile::transcript::Digest;
use crate::store::fetched::{self, Partial};

/// A visit begins no file after this time, which begins with the first of them: a store that takes long to be hashed comes, too.
const BEGINS_NO_FILE_AFTER: Duration = Duration::from_secs(60);

/// A file to be hashed there.
pub(super) struct Question {
    pub(super) member: usize,
    pub(super) path: StorePath,
    pub(super) size: u64,
    pub(super) live: bool,
}

/// How a file's bytes are to be put together here.
#[derive(Debug, Clone)]
pub enum How {
    /// They are the beginning of this file, or all of it.
    Within(Base),
    /// All that is known of this file, then what is fetched.
    After(Base),
    /// All of them are fetched.
    Whole,
}

/// A file whose content was not known.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// Index of the member.
    pub member: usize,
    /// The session.
    pub session: SessionId,
    /// The part.
    pub part: Part,
    /// Bytes there, a torn tail included.
    pub size: u64,
    /// SHA-256 of them, as the far side says.
    pub digest: Digest,
    /// How they come together here.
    pub how: How,
    /// What was fetched, once it is here whole.
    pub staged: Option<PathBuf>,
}

impl How {
    /// What is here of it.
    pub(super) fn base(&self) -> Option<&Base> {
        match self {
            Self::Within(base) | Self::After(base) => Some(base),
            Self::Whole => None,
        }
    }

    /// Where the bytes begin that must come over the line; none where all of them are here.
    pub(super) fn offset(&self) -> Option<u64> {
        match self {
            Self::After(base) => Some(base.length),
            Self::Whole => Some(0),
            Self::Within(_) => None,
        }
    }
}

impl Fetch {
    /// Where the bytes begin that must come yet.
    pub(super) fn missing(&self) -> Option<u64> {
        if self.staged.is_some() { None } else { self.how.offset() }
    }
}

/// How the bytes of a file come together here, at the least cost in bytes over the line.
pub(super) async fn choose(question: &Question, digest: Digest, bases: &Arc<Bases>, prefix: &dyn Fn(u64) -> Option<Digest>) -> How {
    let known = bases.of_part(question.path.session, &question.path.part);
    if !question.path.part.is_lines() {
        let same = known.iter().find(|base| base.digest == digest && base.length == question.size);
        return same.map_or(How::Whole, |base| How::Within(base.clone()));
    }
    if let Some(base) = beginning_with(known, question.size, digest).await {
        return How::Within(base.clone());
    }
    let mut shorter: Vec<&Base> = known.iter().filter(|base| base.length < question.size && prefix(base.length) == Some(base.digest)).collect();
    shorter.sort_by_key(|base| base.length);
    shorter.last().map_or(How::Whole, |base| How::After((*base).clone()))
}

/// Shortens a range by what came of it before the line broke: what lay in the same place of a file of this name and number, in the same
/// store (stores that have no id yet count as one), behind the same bytes. That it is still what it was is proved as for all that is
/// fetched. None where the range is too short for that.
///
/// # Errors
/// As the system says.
pub(super) fn shorten(range: &mut Range, fetch: &Fetch, (store, inode): (Option<Uuid>, u64), stage: &Path) -> io::Result<Option<Partial>> {
    if range.length < fetched::SHORTEST {
        return Ok(None);
    }
    let base = match &fetch.how {
        How::After(base) => base.digest.to_string(),
        How::Within(_) | How::Whole => String::new(),
    };
    let of = format!("{} {} {inode} {} {base}", store.unwrap_or_default(), range.path, range.offset);
    let partial = Partial::find(stage, fetch.session, &of, range.length)?;
    range.offset += partial.length();
    range.length -= partial.length();
    Ok(Some(partial))
}

/// Brings ranges into the stage, one after the other: behind what came of them before, by their index, or into fresh files. `came` has
/// where each of them lies, none for what is gone there; where this fails, of those that came before.
pub(super) async fn receive(
    mut getting: Getting,
    stage: &Path,
    ranges: &[Range],
    mut partials: BTreeMap<usize, Partial>,
    came: &mut Vec<Option<PathBuf>>,
) -> Result<(), VisitError> {
    let began = Instant::now();
    for (index, range) in ranges.iter().enumerate() {
        if began.elapsed() > BEGINS_NO_FILE_AFTER {
            getting.abandon().await;
            return Err(VisitError::OutOfTime);
        }
        let partial = partials.remove(&index);
        let behind = partial.as_ref().map(Partial::open).transpose().map_err(VisitError::Here)?.flatten();
        let path = if let (Some(partial), Some(file)) = (partial, behind) {
            if getting.next(range, file).await? { partial.complete().map(Some) } else { partial.discard().map(|()| None) }
        } else {
            let (path, file) = fetched::new(stage).map_err(VisitError::Here)?;
            if getting.next(range, file).await? { Ok(Some(path)) } else { fetched::discard(&path).map(|()| None) }
        };
        came.push(path.map_err(VisitError::Here)?);
        tracing::trace!(file = %range.path, offset = range.offset, bytes = range.length, came = came.last().is_some_and(Option::is_some), "file fetched");
    }
    getting.finish().await?;
    if !ranges.is_empty() {
        tracing::debug!("fetched");
    }
    Ok(())
}
