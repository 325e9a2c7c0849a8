//! What this machine already has of a session, so that only what is missing travels.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use super::here::Here;
use super::sources::Sources;
use crate::reconcile::manifest::{Part, SessionId};
use crate::reconcile::project::RepositoryId;
use crate::reconcile::transcript::Digest;
use crate::state::Held;
use crate::store::forgotten::Tombstones;
use crate::store::read;

/// A content here.
#[derive(Debug, Clone)]
pub struct Base {
    /// Bytes.
    pub length: u64,
    /// Their SHA-256.
    pub digest: Digest,
    /// A file that begins with them.
    pub path: PathBuf,
}

/// What is here of one file.
#[derive(Debug, Default)]
struct Known {
    bases: Vec<Base>,
    /// Bytes that the archive's index speaks of. What an interrupted append left behind them may be overwritten.
    archived: u64,
}

/// All contents here, by session and part; a snapshot that visits may read while they run.
#[derive(Debug, Default)]
pub struct Bases {
    known: HashMap<(SessionId, Part), Known>,
    places: BTreeMap<SessionId, (RepositoryId, String)>,
    forgotten: Tombstones,
    vault: PathBuf,
}

impl Bases {
    /// Of this machine: live files, the archive, displaced objects.
    #[must_use]
    pub fn of(here: &Here) -> Self {
        let mut all = Self { vault: here.vault.path(), forgotten: here.forgotten.clone(), ..Self::default() };
        for (id, session) in &here.sessions {
            if let Some((_, lines)) = &session.transcript {
                let path = here.file(&session.project, *id, &Part::Transcript);
                all.add(*id, Part::Transcript, lines.content.length, lines.content.digest, path);
            }
            for (side, (_, content)) in &session.side {
                let part = Part::Side(side.clone());
                let path = here.file(&session.project, *id, &part);
                let (length, digest) = content.target();
                all.add(*id, part, length, digest, path);
            }
            if let Some(place) = &session.place {
                all.places.insert(*id, (place.repository.clone(), place.below.clone()));
            }
        }
        for (id, record) in here.archive.records() {
            if let Some(path) = here.archive.file(*id, &Part::Transcript) {
                all.add(*id, Part::Transcript, record.content.length, record.content.digest, path).archived = record.content.length;
            }
            for (side, content) in &record.side {
                let (part, (length, digest)) = (Part::Side(side.clone()), content.target());
                let known = all.known.entry((*id, part.clone())).or_default();
                known.archived = length;
                // Its file is looked for only where nothing else here holds it.
                if !known.bases.iter().any(|known| known.digest == digest)
                    && let Some(path) = here.archive.file(*id, &part)
                {
                    all.add(*id, part, length, digest, path);
                }
            }
            if let Some(place) = &record.place {
                all.places.entry(*id).or_insert_with(|| (place.repository.clone(), place.below.clone()));
            }
        }
        for object in here.vault.objects() {
            let note = &object.note;
            all.add(note.session, note.part.clone(), note.length, note.digest, object.path.clone());
        }
        all
    }

    fn add(&mut self, id: SessionId, part: Part, length: u64, digest: Digest, path: PathBuf) -> &mut Known {
        let counts = length > 0 || !part.is_lines();
        let known = self.known.entry((id, part)).or_default();
        if counts && !known.bases.iter().any(|known| known.digest == digest) {
            known.bases.reserve_exact(1);
            known.bases.push(Base { length, digest, path });
        }
        known
    }

    /// Makes every content here a source.
    pub fn add_to(&self, sources: &mut Sources) {
        for base in self.known.values().flat_map(|known| &known.bases) {
            sources.add(base.digest, base.path.clone());
        }
    }

    /// What is here of one file.
    #[must_use]
    pub fn of_part(&self, id: SessionId, part: &Part) -> &[Base] {
        self.known.get(&(id, part.clone())).map_or(&[], |known| known.bases.as_slice())
    }

    /// What is here of any file of a session.
    pub fn of_session(&self, id: SessionId) -> impl Iterator<Item = &Base> {
        self.known.iter().filter(move |((session, _), _)| *session == id).flat_map(|(_, known)| &known.bases)
    }

    /// Whether the bytes of a far file whose content is remembered are here, too. They were once, but `forget` may have taken them.
    pub async fn have(&self, id: SessionId, part: &Part, held: &Held) -> bool {
        let bases = self.of_part(id, part);
        match held {
            Held::Lines { lines, .. } => {
                let content = &lines.content;
                content.length == 0 || beginning_with(bases, content.length, content.digest).await.is_some()
            }
            Held::Whole(whole) => bases.iter().any(|base| base.digest == whole.digest),
        }
    }

    /// The files of archive and vault that hold so many bytes of a session, transcript and side files alike. No client writes there.
    #[must_use]
    pub fn kept(&self, id: SessionId, bytes: u64) -> Vec<PathBuf> {
        let archive = self.vault.join("archive");
        let of_session = self.known.iter().filter(|((session, _), _)| *session == id);
        let mut kept: Vec<PathBuf> = of_session
            .flat_map(|((_, part), known)| {
                let displaced = known.bases.iter().map(|base| base.path.clone()).filter(|path| path.starts_with(&self.vault) && !path.starts_with(&archive));
                displaced.chain((known.archived >= bytes).then(|| archive.join(part.path(id)))).collect::<Vec<_>>()
            })
            .collect();
        kept.sort();
        kept
    }

    /// The sessions that their user forgot.
    #[must_use]
    pub fn forgotten(&self) -> &Tombstones {
        &self.forgotten
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

/// The one of these that is this content, or else begins with it: longer ones are read on this machine, which costs the line nothing.
/// One that cannot be read, or whose place another visit's copy took since, is as good as gone.
pub async fn beginning_with(bases: &[Base], length: u64, digest: Digest) -> Option<&Base> {
    if let Some(base) = bases.iter().find(|base| base.digest == digest && base.length == length) {
        return Some(base);
    }
    for base in bases.iter().filter(|base| base.length > length) {
        let asked = base.clone();
        if tokio::task::spawn_blocking(move || asked.begins_with(length, digest)).await.is_ok_and(|begins| begins.unwrap_or(false)) {
            return Some(base);
        }
    }
    None
}

impl Base {
    /// Whether the first `length` bytes here hash to `digest`. Reads them.
    ///
    /// # Errors
    /// As `read`.
    pub fn begins_with(&self, length: u64, digest: Digest) -> io::Result<bool> {
        Ok(read::prefix(&read::open(&self.path)?, length)? == Some(digest))
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
