//! What this machine already has of a session, so that only what is missing travels.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::group::Sources;
use super::here::Here;
use crate::reconcile::manifest::{Part, SessionId};
use crate::reconcile::plan::Side;
use crate::reconcile::project::RepositoryId;
use crate::reconcile::relation::Lines;
use crate::reconcile::transcript::Digest;
use crate::state::Held;
use crate::store::read::{self, Wanted};
use crate::store::vault::Object;

/// A content here.
#[derive(Debug, Clone)]
pub struct Base {
    /// Bytes.
    pub length: u64,
    /// Their SHA-256.
    pub digest: Digest,
    /// A file that begins with them.
    pub path: PathBuf,
    /// What they are.
    pub held: Held,
}

/// All contents here, by session and part; a snapshot that visits may read while they run.
#[derive(Debug, Default)]
pub struct Bases {
    bases: HashMap<(SessionId, Part), Vec<Base>>,
    places: BTreeMap<SessionId, (RepositoryId, String)>,
}

impl Bases {
    /// Of this machine: live files, the archive, displaced objects.
    #[must_use]
    pub fn of(here: &Here) -> Self {
        let mut all = Self::default();
        for (id, session) in &here.sessions {
            if let Some((_, lines)) = &session.transcript {
                all.add_lines(*id, Part::Transcript, lines, here.file(&session.project, *id, &Part::Transcript));
            }
            for (side, (_, content)) in &session.side {
                let part = Part::Side(side.clone());
                let path = here.file(&session.project, *id, &part);
                match content {
                    Side::Lines(lines) => all.add_lines(*id, part, lines, path),
                    Side::Whole(whole) => all.add(*id, part, Base { length: whole.length, digest: whole.digest, path, held: Held::Whole(whole.clone()) }),
                }
            }
            if let Some(place) = &session.place {
                all.places.insert(*id, (place.repository.clone(), place.below.clone()));
            }
        }
        for (id, record) in here.archive.records() {
            if let Some(path) = here.archive.file(*id, &Part::Transcript) {
                let lines = Lines { content: record.content.clone(), marks: BTreeMap::new(), messages: Default::default(), title: record.title.clone() };
                all.add_lines(*id, Part::Transcript, &lines, path);
            }
            if let Some(place) = &record.place {
                all.places.entry(*id).or_insert_with(|| (place.repository.clone(), place.below.clone()));
            }
        }
        for object in here.vault.objects().iter().filter(|object| object.note.part == Part::Transcript) {
            if let Some(lines) = displaced(object) {
                all.add_lines(object.note.session, Part::Transcript, &lines, object.path.clone());
            }
        }
        all
    }

    fn add_lines(&mut self, id: SessionId, part: Part, lines: &Lines, path: PathBuf) {
        if lines.content.length > 0 {
            let held = Held::Lines { lines: lines.clone(), directories: Vec::new() };
            self.add(id, part, Base { length: lines.content.length, digest: lines.content.digest, path, held });
        }
    }

    fn add(&mut self, id: SessionId, part: Part, base: Base) {
        let bases = self.bases.entry((id, part)).or_default();
        if !bases.iter().any(|known| known.digest == base.digest) {
            bases.push(base);
        }
    }

    /// Makes every content here a source.
    pub fn add_to(&self, sources: &mut Sources) {
        for base in self.bases.values().flatten() {
            sources.add(base.digest, base.path.clone());
        }
    }

    /// What is here of one file.
    #[must_use]
    pub fn of_part(&self, id: SessionId, part: &Part) -> &[Base] {
        self.bases.get(&(id, part.clone())).map_or(&[], Vec::as_slice)
    }

    /// The repository that a session belongs to on this machine.
    #[must_use]
    pub fn place(&self, id: SessionId) -> Option<&RepositoryId> {
        self.places.get(&id).map(|(repository, _)| repository)
    }

    /// The paths below a repository's root that sessions here stand for.
    #[must_use]
    pub fn below(&self, repository: &RepositoryId) -> Vec<String> {
        let mut below: Vec<String> = self.places.values().filter(|(other, _)| other == repository).map(|(_, below)| below.clone()).collect();
        below.sort();
        below.dedup();
        below
    }
}

/// The content of a displaced copy; its times are read again only where it is needed as a base.
fn displaced(object: &Object) -> Option<Lines> {
    let note = &object.note;
    let reading = read::lines(File::open(&object.path).ok()?, &Wanted { limit: Some(note.length), ..Wanted::default() }).ok()?;
    (reading.content.digest == note.digest).then(|| Lines::of(reading))
}

impl Base {
    /// Whether the first `length` bytes here hash to `digest`. Reads them.
    ///
    /// # Errors
    /// As `read`.
    pub fn begins_with(&self, length: u64, digest: Digest) -> io::Result<bool> {
        Ok(read::prefix(&File::open(&self.path)?, length)? == Some(digest))
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
