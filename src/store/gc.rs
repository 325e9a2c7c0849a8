//! What the vault may let go of: bytes that it holds once more, and, named by their user, those of sessions that were deleted.
//!
//! Promises: every object is read again, and its holder with it, before it goes; what does not prove itself stays, and so does a
//! copy that stands for a conflict. Of bytes that lie twice, the object that says more of them stays. Never: a file of another
//! name than we give, or an object without a note.

use std::cmp::Reverse;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::archive::Archive;
use super::proof::{self, Named, OnlyOurs, Proof};
use super::vault::{Object, Reason, TEMPORARY, Vault};
use crate::reconcile::manifest::SessionId;

/// A temporary file as young as this may still be in the writing.
const WRITTEN: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a file went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// A longer copy begins with it, or is it.
    Held,
    /// The same bytes lie there as another object.
    Twice,
    /// A crash left it in the writing.
    Leftover,
    /// The session was deleted, and its user let go of what was kept.
    Deleted,
}

/// A file that went, or would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gone {
    /// Whose it was, where that is known.
    pub session: Option<SessionId>,
    /// Where it lay.
    pub path: PathBuf,
    /// How much it held.
    pub bytes: u64,
    /// Why.
    pub why: Why,
}

/// Whether anything is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removing {
    /// What is found goes.
    Really,
    /// It is only told.
    Told,
}

/// Objects whose bytes the vault holds elsewhere, too.
///
/// # Errors
/// When something could not be removed. What cannot be read stays.
pub fn redundant(vault: &mut Vault, archive: &Archive, removing: Removing) -> io::Result<Vec<Gone>> {
    let mut left: Vec<Object> = vault.objects().to_vec();
    // Who says least is asked first, so that of two the one that says more stays.
    left.sort_by(|a, b| said(a).cmp(&said(b)).then_with(|| b.path.cmp(&a.path)));
    let mut gone = Vec::new();
    for object in left.clone() {
        let (Some(directory), Some(name)) = (object.path.parent(), object.path.file_name().and_then(|name| name.to_str())) else { continue };
        let Ok(directory) = File::open(directory) else { continue };
        let others: Vec<&Object> = left.iter().filter(|other| other.path != object.path && is_of_one(other, &object)).collect();
        let Some((why, proved)) = proved(&object, (&directory, name), &others, archive) else { continue };
        gone.push(Gone { session: Some(object.note.session), path: object.path.clone(), bytes: size(&object.path), why });
        if removing == Removing::Really {
            vault.let_go(&directory, name, proved)?;
            tidy(&object.path)?;
        }
        left.retain(|other| other.path != object.path);
    }
    Ok(gone)
}

fn is_of_one(one: &Object, other: &Object) -> bool {
    one.note.session == other.note.session && one.note.part == other.note.part
}

/// How much an object says of its bytes; the note of a conflict says most.
fn said(object: &Object) -> (u8, bool, usize, bool) {
    let note = &object.note;
    let reason = match note.reason {
        Reason::Lost => 4,
        Reason::Side => 3,
        Reason::Grew => 2,
        Reason::Recovered => 1,
        Reason::Overtaken => 0,
    };
    (reason, note.winner.is_some(), note.won_at.len(), note.fork.is_some())
}

/// Why an object may go, if it may; shown with bytes that are read now.
fn proved(object: &Object, (directory, name): (&File, &str), others: &[&Object], archive: &Archive) -> Option<(Why, Proof)> {
    let note = &object.note;
    let holds = |holder: &Path| proof::prefix_of(directory, name, &File::open(holder).ok()?).ok();
    let is_same = |other: &&&Object| (other.note.length, other.note.digest) == (note.length, note.digest);
    if let Some(proved) = others.iter().filter(is_same).find_map(|other| holds(&other.path)) {
        return Some((Why::Twice, proved));
    }
    let archived = archive.file(note.session, &note.part);
    // What an interrupted append left behind the archive's content may be overwritten, and proves nothing.
    let content = archive.records().get(&note.session).and_then(|record| record.target(&note.part));
    let archived = archived.filter(|_| content.is_some_and(|(length, _)| size(&object.path) <= length));
    if note.reason == Reason::Side {
        let holder = File::open(archived.filter(|_| content == Some((note.length, note.digest)))?).ok()?;
        return Some((Why::Held, proof::bytes_are(directory, name, &holder, note.digest).ok()?));
    }
    if note.reason == Reason::Lost || !note.part.is_lines() {
        return None;
    }
    let longer = others.iter().filter(|other| other.note.length >= note.length).map(|other| &other.path);
    archived.iter().chain(longer).find_map(|holder| holds(holder)).map(|proved| (Why::Held, proved))
}

/// Temporary files that a crash left anywhere in the vault.
///
/// # Errors
/// When a directory cannot be read, or a file not removed.
pub fn leftovers(vault: &Vault, now: SystemTime, removing: Removing) -> io::Result<Vec<Gone>> {
    let mut gone = Vec::new();
    let mut directories = vec![vault.path()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory)? {
            let entry = entry?;
            let (kind, name) = (entry.file_type()?, entry.file_name());
            if kind.is_dir() {
                directories.push(entry.path());
                continue;
            }
            let Some(name) = name.to_str().filter(|name| kind.is_file() && name.starts_with(TEMPORARY)) else { continue };
            let metadata = entry.metadata()?;
            if !metadata.modified().is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > WRITTEN)) {
                continue;
            }
            gone.push(Gone { session: None, path: entry.path(), bytes: metadata.len(), why: Why::Leftover });
            if removing == Removing::Really {
                proof::unlink(File::open(&directory)?, name, proof::only_ours(OnlyOurs::created()))?;
            }
        }
    }
    Ok(gone)
}

/// The files that the vault holds of a session: the archive's, and the displaced ones.
#[must_use]
pub fn of_session(vault: &Vault, archive: &Archive, session: SessionId) -> Vec<Gone> {
    let displaced = vault.objects().iter().filter(|object| object.note.session == session).map(|object| object.path.clone());
    let gone = |path: PathBuf| Gone { session: Some(session), bytes: size(&path), path, why: Why::Deleted };
    archive.files(session).into_iter().chain(displaced).map(gone).collect()
}

/// Lets go of them all. The index says so first, so that nothing misses them after a crash.
///
/// # Errors
/// As the system's; what is left goes with the next attempt.
pub fn let_go(vault: &mut Vault, archive: &mut Archive, session: SessionId, at: DateTime<Utc>, named: &Named) -> io::Result<Vec<Gone>> {
    let gone = of_session(vault, archive, session);
    archive.let_go(session, at);
    archive.settle()?;
    for Gone { path, .. } in &gone {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else { continue };
        let opened = File::open(directory)?;
        if vault.objects().iter().any(|object| object.path == *path) {
            vault.let_go(&opened, name, proof::named(named))?;
        } else {
            proof::unlink(&opened, name, proof::named(named))?;
        }
        opened.sync_all()?;
        tidy(path)?;
    }
    Ok(gone)
}

/// Removes the directory that a file was the last of, and those above it, up to the vault's own two.
fn tidy(file: &Path) -> io::Result<()> {
    let mut directories: Vec<&Path> = file.ancestors().skip(1).take_while(|path| !path.ends_with("archive") && !path.ends_with("displaced")).collect();
    directories.sort_by_key(|path| Reverse(path.components().count()));
    for directory in directories {
        let (Some(above), Some(name)) = (directory.parent(), directory.file_name().and_then(|name| name.to_str())) else { continue };
        proof::remove_empty(File::open(above)?, name)?;
    }
    Ok(())
}

fn size(path: &Path) -> u64 {
    std::fs::symlink_metadata(path).map_or(0, |metadata| metadata.size())
}
