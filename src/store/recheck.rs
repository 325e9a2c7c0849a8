//! The vault, read again: whether every object and every copy of the archive still holds the bytes that were put into it.
//!
//! Promises: reads only, in constant memory; what has a note or a line of the index is hashed anew, and so is what lost it. What
//! changes while it is read is looked at twice, so that a pass beside this is no damage. Never: a repair.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::archive::{Archive, Record};
use super::read::{self, Wanted};
use super::vault::{Note, Vault};
use crate::reconcile::manifest::{Part, SessionId};
use crate::reconcile::transcript::Digest;

/// What is wrong with one file of the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum Damage {
    /// It is not there.
    Missing,
    /// It is shorter than what was put into it.
    Truncated {
        /// Bytes that are there.
        bytes: u64,
        /// Bytes that were put into it.
        of: u64,
    },
    /// Its bytes are others.
    Changed,
    /// The note beside it cannot be read, so that nothing says what it held; its own name does not fit its bytes either.
    Unnoted,
    /// A copy of the archive that no line of the index speaks of.
    Unindexed,
    /// It cannot be read.
    Unreadable {
        /// Why.
        why: String,
    },
}

impl Damage {
    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Missing => "is missing".to_owned(),
            Self::Truncated { bytes, of } => format!("holds {bytes} of {of} bytes"),
            Self::Changed => "does not hold the bytes that were put into it".to_owned(),
            Self::Unnoted => "has no note that can be read, and its name does not fit its bytes".to_owned(),
            Self::Unindexed => "is not in the archive's index".to_owned(),
            Self::Unreadable { why } => format!("cannot be read: {why}"),
        }
    }
}

/// A file of the vault that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damaged {
    /// Whose it is, where its place says that.
    pub session: Option<SessionId>,
    /// Where it lies, or lay.
    pub path: PathBuf,
    /// What is wrong with it.
    #[serde(flatten)]
    pub damage: Damage,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Rechecked {
    /// Displaced objects that were looked at.
    pub objects: usize,
    /// Files of the archive that were looked at.
    pub copies: usize,
    /// Bytes that were read.
    pub bytes: u64,
    /// What is not as it was.
    pub damaged: Vec<Damaged>,
}

/// Reads the whole vault. `archive` says whether the archive is to hold copies: where it is not, none is missed.
///
/// # Errors
/// When a directory, or the index, cannot be read.
pub fn recheck(vault: &Vault, archive: bool) -> io::Result<Rechecked> {
    let mut found = Rechecked::default();
    objects(&vault.path().join("displaced"), &mut found)?;
    copies(vault, archive, &mut found)?;
    found.damaged.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

impl Rechecked {
    fn add(&mut self, session: Option<SessionId>, path: &Path, damage: Option<Damage>) {
        self.damaged.extend(damage.map(|damage| Damaged { session, path: path.to_owned(), damage }));
    }
}

/// Whether a file begins with these bytes.
fn judge(path: &Path, length: u64, digest: Digest) -> Option<Damage> {
    let read = || -> io::Result<Option<Damage>> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        if bytes < length {
            return Ok(Some(Damage::Truncated { bytes, of: length }));
        }
        Ok((read::prefix(&file, length)? != Some(digest)).then_some(Damage::Changed))
    };
    read().unwrap_or_else(|error| Some(unreadable(&error)))
}

fn unreadable(error: &io::Error) -> Damage {
    if error.kind() == io::ErrorKind::NotFound { Damage::Missing } else { Damage::Unreadable { why: error.to_string() } }
}

/// The entries of a directory, sorted; none where it has gone.
fn listed(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn session_of(path: &Path) -> Option<SessionId> {
    path.file_name()?.to_str()?.trim_end_matches(".jsonl").parse().ok()
}

/// The note beside an object.
fn note_of(object: &Path) -> Option<Note> {
    let name = object.file_name()?.to_str()?;
    serde_json::from_slice(&std::fs::read(object.with_file_name(format!("{name}.json"))).ok()?).ok()
}

fn objects(displaced: &Path, found: &mut Rechecked) -> io::Result<()> {
    for folder in listed(displaced)? {
        let session = session_of(&folder);
        // By the name of the object, whether it, its note or both are there. What is being written has another name.
        let names = listed(&folder)?;
        let objects: BTreeSet<PathBuf> = names.into_iter().filter(|path| is_object(path)).map(without_note).collect();
        for object in objects {
            found.objects += 1;
            found.bytes += size(&object);
            // An object goes with its note, by a proof: what has gone since it was listed is not missing.
            let damage = of_object(&object).filter(|damage| *damage != Damage::Missing || note_of(&object).is_some());
            found.add(session, &object, damage);
        }
    }
    Ok(())
}

fn is_object(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| !name.starts_with('.'))
}

fn without_note(path: PathBuf) -> PathBuf {
    if path.extension().is_some_and(|extension| extension == "json") { path.with_extension("") } else { path }
}

fn of_object(object: &Path) -> Option<Damage> {
    match note_of(object) {
        Some(note) => judge(object, note.length, note.digest),
        None => of_unnoted(object),
    }
}

/// The name of an object begins with the digest of what it holds: all of its bytes, or its complete lines. A crash between the
/// two leaves an object without a note, and that is sound.
fn of_unnoted(object: &Path) -> Option<Damage> {
    let read = || -> io::Result<Option<Damage>> {
        let named = object.file_name().and_then(|name| name.to_str()?.split('.').next()?.parse::<Digest>().ok());
        let reading = read::lines(File::open(object)?, &Wanted::default())?;
        let fits = named.is_some_and(|named| named == reading.content.digest || named == reading.raw_digest);
        Ok((!fits).then_some(Damage::Unnoted))
    };
    read().unwrap_or_else(|error| Some(unreadable(&error)))
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn copies(vault: &Vault, enabled: bool, found: &mut Rechecked) -> io::Result<()> {
    let archive = Archive::open(vault, enabled)?;
    let mut doubtful = Vec::new();
    for (session, record) in archive.records() {
        for (path, length, digest) in held(vault, record) {
            let damage = judge(&path, length, digest);
            if damage == Some(Damage::Missing) && !enabled {
                continue;
            }
            found.copies += 1;
            found.bytes += size(&path);
            doubtful.extend(damage.map(|damage| (*session, path, damage)));
        }
    }
    for path in listed(&vault.path().join("archive"))? {
        let is_copy = path.extension().is_some_and(|extension| extension == "jsonl");
        if let Some(session) = session_of(&path).filter(|session| is_copy && !archive.records().contains_key(session)) {
            found.copies += 1;
            doubtful.push((session, path, Damage::Unindexed));
        }
    }
    if !doubtful.is_empty() {
        again(vault, enabled, doubtful, found)?;
    }
    Ok(())
}

/// A pass may have put newer copies there since the index was read: then its newer lines decide.
fn again(vault: &Vault, enabled: bool, doubtful: Vec<(SessionId, PathBuf, Damage)>, found: &mut Rechecked) -> io::Result<()> {
    let archive = Archive::open(vault, enabled)?;
    for (session, path, damage) in doubtful {
        let record = archive.records().get(&session);
        let spoken_of = record.and_then(|record| held(vault, record).into_iter().find(|(held, ..)| *held == path));
        found.add(Some(session), &path, spoken_of.map_or(Some(damage), |(path, length, digest)| judge(&path, length, digest)));
    }
    Ok(())
}

/// Every file that a record speaks of, with its bytes and their digest.
fn held(vault: &Vault, record: &Record) -> Vec<(PathBuf, u64, Digest)> {
    if record.dropped.is_some() {
        return Vec::new();
    }
    let root = vault.path().join("archive");
    let transcript = (record.content.length > 0).then(|| (root.join(Part::Transcript.path(record.session)), record.content.length, record.content.digest));
    let side = record.side.iter().map(|(side, content)| {
        let (length, digest) = content.target();
        (root.join(Part::Side(side.clone()).path(record.session)), length, digest)
    });
    transcript.into_iter().chain(side).collect()
}
