//! What visits fetched is put together, proved, and taken into the archive or the vault.
//!
//! Promises: a content counts as known only after this machine has hashed every byte of it and found what the far side said.
//! Anything else closes that file for this pass.

use std::fs::File;
use std::io::{self, Seek as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::bases::Bases;
use super::doubt::doubt;
use super::fetch::{Fetch, How};
use super::here::Here;
use super::leftovers;
use super::sources::Sources;
use super::visit::Seen;
use crate::reconcile::manifest::{Part, ProjectName, SessionId};
use crate::reconcile::plan::Side;
use crate::reconcile::relation::Lines;
use crate::reconcile::report::Skipped;
use crate::reconcile::transcript::Content;
use crate::state::Held;
use crate::store::archive::Place;
use crate::store::fetched;
use crate::store::read::{self, Wanted};
use crate::store::vault::{Note, Reason, copy_prefix};

/// How what was fetched is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// In the archive and the vault.
    InVault,
    /// Nowhere: a dry run.
    Nowhere,
}

/// Proves and keeps everything that one visit fetched. Contents become sources.
///
/// # Errors
/// When this machine's vault or stage cannot be written.
pub fn absorb(seen: &mut Seen, name: &str, here: &mut Here, bases: &Bases, sources: &mut Sources, keep: Keep, at: DateTime<Utc>) -> io::Result<()> {
    if keep == Keep::InVault {
        leftovers::keep(&mut seen.leftovers, name, here, at)?;
    }
    // A side file is archived beside its transcript, so transcripts come first.
    let mut fetches = std::mem::take(&mut seen.fetches);
    fetches.sort_by_key(|fetch| fetch.part != Part::Transcript);
    for fetch in fetches {
        let known = seen.members[fetch.member].sessions.get(&fetch.session);
        let Some(shown) = known.map(|session| format!("{}/{}", session.project, fetch.part.path(fetch.session))) else { continue };
        let modified = known.and_then(|session| session.part(&fetch.part)).map_or(0, |part| part.stamp.modified);
        let base = fetch.how.base().map(|base| sources.standing(base, fetch.session, here));
        let (held, source) = match settle(&fetch, base.as_deref(), modified, here) {
            Ok(Some(settled)) => settled,
            Ok(None) => {
                close(seen, &fetch, shown, "was not read to its end");
                continue;
            }
            Err(error) => {
                // It changed there, or what was taken for it here is damaged.
                let damaged = base.filter(|_| keep == Keep::InVault).map_or(Ok(false), |base| doubt(here, &base, at))?;
                if !damaged && !read::is_the_file(&error) {
                    return Err(error);
                }
                close(seen, &fetch, shown, "changed while it was read, or cannot be read");
                continue;
            }
        };
        let whole = if let How::Within(base) = &fetch.how { base.digest } else { digest_of(&held) };
        sources.add_beginning(digest_of(&held), source.clone(), whole);
        if keep == Keep::InVault {
            match take_beside(sources, &fetch, &held, source, name, here, at) {
                Err(error) if read::is_the_file(&error) => {
                    close(seen, &fetch, shown, "changed while it was kept");
                    continue;
                }
                taken => taken?,
            }
        }
        let member = &seen.members[fetch.member];
        let there = known.map(|session| (crate::reconcile::layout::join(member.root(), &session.below), session.below.clone()));
        if let Some((_, below)) = there.filter(|(path, _)| keep == Keep::InVault && may_be_placed(here, bases, fetch.session, path)) {
            here.archive.saw(fetch.session, None, Some(Place { repository: member.repository.clone(), below }));
        }
        let Some(session) = seen.members[fetch.member].sessions.get_mut(&fetch.session) else { continue };
        let part = match &fetch.part {
            Part::Transcript => session.transcript.as_mut(),
            Part::Side(side) => session.side.get_mut(side),
        };
        if let Some(part) = part {
            part.held = Some(std::sync::Arc::new(held));
        }
    }
    Ok(())
}

/// Whether a far side may say where a session belongs: nobody here knows, and it does not lie here in a directory of its own.
/// One that was brought here when no clone was known lies under the far path's name, which no directory of this machine has.
fn may_be_placed(here: &Here, bases: &Bases, id: SessionId, far_path: &str) -> bool {
    let brought = |project: &ProjectName| *project == ProjectName::of(far_path) && !Path::new(far_path).exists();
    let own = here.sessions.get(&id).map(|session| &session.project);
    bases.place(id).is_none() && !here.refused.contains_key(&id) && own.is_none_or(brought)
}

/// The digest under which a content is found.
#[must_use]
pub fn digest_of(held: &Held) -> crate::reconcile::transcript::Digest {
    match held {
        Held::Lines { lines, .. } => lines.content.digest,
        Held::Whole(whole) => whole.digest,
    }
}

fn close(seen: &mut Seen, fetch: &Fetch, shown: String, why: &str) {
    seen.skipped.push(Skipped { name: shown, why: why.to_owned() });
    if let Some(session) = seen.members[fetch.member].sessions.get_mut(&fetch.session) {
        session.closed = Some(why.to_owned());
    }
}

/// The content, and a file that begins with it; `base` is where what is here of it lies. None where the visit broke before it was here.
fn settle(fetch: &Fetch, base: Option<&Path>, modified: i64, here: &Here) -> io::Result<Option<(Held, PathBuf)>> {
    let source = match (&fetch.how, base, &fetch.staged) {
        (How::Within(_), Some(path), _) => path.to_owned(),
        (How::After(base), Some(path), Some(staged)) => join(here, path, base.length, staged)?,
        (How::Whole, _, Some(staged)) => staged.clone(),
        _ => return Ok(None),
    };
    let file = read::open(&source)?;
    let (held, length, digest) = if fetch.part.is_lines() {
        let reading = read::lines(file, &Wanted { limit: Some(fetch.size), ..Wanted::default() })?;
        let (length, digest) = (reading.raw_length, reading.raw_digest);
        (Held::Lines { directories: Vec::new(), lines: Lines::of(reading).into() }, length, digest)
    } else {
        let whole = read::whole(file, modified)?;
        let (length, digest) = (whole.length, whole.digest);
        (Held::Whole(whole), length, digest)
    };
    if (length, digest) != (fetch.size, fetch.digest) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(Some((held, source)))
}

fn join(here: &Here, base: &Path, length: u64, suffix: &Path) -> io::Result<PathBuf> {
    let (path, mut file) = fetched::new(&here.vault.stage_path())?;
    copy_prefix(base, &mut file, length)?;
    file.seek(io::SeekFrom::End(0))?;
    read::copy(&File::open(suffix)?, &mut file, u64::MAX)?;
    Ok(path)
}

/// Takes it in; what the archive lets go of, or extends, in its favour stays a source.
fn take_beside(sources: &mut Sources, fetch: &Fetch, held: &Held, source: PathBuf, name: &str, here: &mut Here, at: DateTime<Utc>) -> io::Result<()> {
    if !fetch.part.is_lines() {
        sources.hold(here, fetch.session, &fetch.part)?;
        return take(fetch, held, source, name, here, at);
    }
    let before = here.archive.records().get(&fetch.session).and_then(|record| record.target(&fetch.part));
    take(fetch, held, source, name, here, at)?;
    sources.taken(here, fetch.session, &fetch.part, before);
    Ok(())
}

fn take(fetch: &Fetch, held: &Held, source: PathBuf, name: &str, here: &mut Here, at: DateTime<Utc>) -> io::Result<()> {
    let note = |content: &Content| Note::new(fetch.session, fetch.part.clone(), Reason::Lost, name, at, (content.length, content.digest));
    match (held, &fetch.part) {
        (Held::Lines { lines, .. }, Part::Transcript) => {
            // One without a whole line is noted where nothing is known of it yet, so that the files beside it have a place.
            if lines.content.length == 0 && here.archive.records().contains_key(&fetch.session) {
                return Ok(());
            }
            let titled = |content: &Content| Note { title: lines.title.clone(), ..note(content) };
            here.archive.take(&mut here.vault, fetch.session, lines, &source, titled)
        }
        (Held::Lines { lines, .. }, Part::Side(side)) => {
            here.archive.take_side(&mut here.vault, (fetch.session, side), &Side::Lines(lines.clone()), &source, note)
        }
        (Held::Whole(whole), Part::Side(side)) => here.archive.take_side(&mut here.vault, (fetch.session, side), &Side::Whole(whole.clone()), &source, note),
        (Held::Whole(_), Part::Transcript) => Ok(()),
    }
}
