//! Which sessions are of a session: its forks, and theirs, told by their own bytes and by the notes of the vault.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::PathBuf;

use crate::pass::here::Here;
use crate::reconcile::fork;
use crate::reconcile::manifest::{Part, SessionId};
use crate::reconcile::transcript::Digest;
use crate::store::forget::transcripts;
use crate::store::read;

/// The session and its forks, each with the session that it is a fork of. Where it was forgotten before, also whatever was forgotten
/// with it: what could tell the fork may be gone by now.
///
/// # Errors
/// When a copy of what may be a fork cannot be read.
pub(super) fn family(here: &Here, session: SessionId) -> io::Result<BTreeMap<SessionId, Option<SessionId>>> {
    let mut family: BTreeMap<SessionId, Option<SessionId>> = here.forgotten.together_with(session).map(|of| (of, None)).collect();
    family.insert(session, None);
    let mut candidates: Vec<(SessionId, Digest)> = Vec::new();
    for candidate in here.known().into_iter().chain(here.again.iter().copied()).filter(|candidate| fork::may_be_fork(*candidate)) {
        for copy in copies(here, candidate)? {
            let file = match File::open(copy) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file?,
            };
            candidates.extend(read::lines_before(file, &candidate.to_string())?.map(|beginning| (candidate, beginning)));
        }
    }
    // Each is tried once with each: who made up a chain of thousands has them forgotten as well.
    let mut newest: BTreeSet<SessionId> = family.keys().copied().collect();
    candidates.retain(|(candidate, _)| !newest.contains(candidate));
    while !newest.is_empty() {
        let mut found: BTreeMap<SessionId, SessionId> = BTreeMap::new();
        for object in here.vault.objects().iter().filter(|object| newest.contains(&object.note.session)) {
            found.extend(object.note.fork.map(|fork| (fork, object.note.session)));
        }
        candidates.retain(|(candidate, beginning)| {
            let origin = fork::origin(*candidate, *beginning, &newest);
            found.extend(origin.map(|origin| (*candidate, origin)));
            origin.is_none()
        });
        found.retain(|fork, _| !family.contains_key(fork));
        newest = found.keys().copied().collect();
        family.extend(found.into_iter().map(|(fork, origin)| (fork, Some(origin))));
    }
    Ok(family)
}

/// Every file here that holds a transcript of a session.
fn copies(here: &Here, session: SessionId) -> io::Result<Vec<PathBuf>> {
    let mut copies = here.tree.as_ref().map(|tree| transcripts(tree, session)).transpose()?.unwrap_or_default();
    copies.push(here.vault.path().join("archive").join(session.file_name()));
    let displaced = here.vault.objects().iter().filter(|object| object.note.session == session && object.note.part == Part::Transcript);
    copies.extend(displaced.map(|object| object.path.clone()));
    Ok(copies)
}
