//! One file of this machine's store comes to a new content, or is left exactly as it was.
//!
//! Promises: what is there is checked to be what the plan saw, twice; at every instant the name holds the old file or the
//! whole new one; the old inode has a durable name in the vault before it loses its own; whoever writes to the file in the
//! meantime loses no byte. Every step that fails leaves the old file, and the next pass tries again.
//! Never: a change to an inode that bears a name in the store.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, RenameFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::proof::{self, OnlyOurs};
use super::read;
use super::sync;
use super::tree::{Make, Status, Tree, status_at};
use super::vault::{Linked, Note, Reason, Vault, copy_prefix};
use crate::reconcile::manifest::{Stamp, StorePath};
use crate::reconcile::plan::Target;
use crate::reconcile::transcript::Digest;

/// What the plan saw at the path.
#[derive(Debug, Clone)]
pub enum Expected {
    /// Nothing.
    Absent,
    /// This file; `held` are the bytes, from its beginning, that the plan decided on.
    File {
        /// Its stamp.
        stamp: Stamp,
        /// How many bytes.
        length: u64,
        /// Their SHA-256.
        digest: Digest,
        /// What the vault notes of it.
        note: Box<Note>,
    },
}

/// One file to be installed.
pub struct Job<'a> {
    /// Where.
    pub path: &'a StorePath,
    /// Over what.
    pub expected: Expected,
    /// What.
    pub target: Target,
    /// A file of this machine that begins with the target's bytes.
    pub source: &'a Path,
    /// Whether a client has the session open, asked at the last moment.
    pub is_live: &'a dyn Fn() -> io::Result<bool>,
}

/// Why a file was left for the next pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deferral {
    /// A client has the session open.
    Live,
    /// It is no longer what the plan saw.
    Changed,
}

/// What became of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// Installed.
    Done,
    /// Left as it was.
    Deferred(Deferral),
}

/// Applies one job.
///
/// # Errors
/// Any of the system's; the store then is as it was, or (an error after the exchange) the new file is whole and in place.
pub fn apply(tree: &Tree, vault: &mut Vault, job: &Job<'_>) -> io::Result<Applied> {
    let staged = match stage(tree, vault, job)? {
        Ok(staged) => make_durable(vault, vec![staged])?.pop(),
        Err(deferral) => return Ok(Applied::Deferred(deferral)),
    };
    staged.map_or_else(|| Err(io::ErrorKind::NotFound.into()), |staged| install(tree, vault, job, staged))
}

/// The first half of a job: what is there is what the plan saw, and the new content is in the stage, whole and checked.
///
/// # Errors
/// Any of the system's; the store is as it was.
pub fn stage(tree: &Tree, vault: &Vault, job: &Job<'_>) -> io::Result<Result<Staged, Deferral>> {
    if !still(tree, job)? || !same_bytes(tree, job)? {
        return Ok(Err(Deferral::Changed));
    }
    Staged::write(vault, job).map(Ok)
}

/// The second half of a job: what is there is looked at once more, and then its name is given to the new content.
///
/// # Errors
/// As [`apply`].
pub fn install(tree: &Tree, vault: &mut Vault, job: &Job<'_>, Durable(staged): Durable) -> io::Result<Applied> {
    let (directory, name) = match ready(tree, job) {
        Ok(Ok(place)) => place,
        Ok(Err(deferral)) => {
            staged.abandon(vault)?;
            return Ok(Applied::Deferred(deferral));
        }
        Err(error) => {
            staged.abandon(vault)?;
            return Err(error);
        }
    };
    match &job.expected {
        Expected::Absent => create(vault, staged, &directory, &name),
        Expected::File { stamp, note, .. } => replace(vault, staged, &directory, &name, *stamp, note),
    }
}

/// The directory and the name, if nobody has come in between: the last look before anything moves.
fn ready(tree: &Tree, job: &Job<'_>) -> io::Result<Result<(OwnedFd, String), Deferral>> {
    let place = tree.parent(job.path, Make::Directories)?;
    if (job.is_live)()? {
        return Ok(Err(Deferral::Live));
    }
    Ok(if still(tree, job)? { Ok(place) } else { Err(Deferral::Changed) })
}

/// Whether the path still is what the plan saw, by its stamp.
fn still(tree: &Tree, job: &Job<'_>) -> io::Result<bool> {
    Ok(match (tree.status(job.path)?, &job.expected) {
        (None, Expected::Absent) => true,
        (Some(Status { stamp, regular: true, .. }), Expected::File { stamp: seen, .. }) => same(stamp, *seen),
        _ => false,
    })
}

/// The change time is left out: a link into the vault moves it.
fn same(stamp: Stamp, seen: Stamp) -> bool {
    (stamp.inode, stamp.size, stamp.modified) == (seen.inode, seen.size, seen.modified)
}

/// Whether the bytes still are what the plan decided on, by their digest.
fn same_bytes(tree: &Tree, job: &Job<'_>) -> io::Result<bool> {
    let Expected::File { length, digest, .. } = &job.expected else { return Ok(true) };
    let (file, _) = tree.open_file(job.path)?;
    Ok(read::prefix(&file, *length)? == Some(*digest))
}

/// The new content under a fresh name in the stage: whole and checked, but not durable yet, so it can be given no other name.
#[derive(Debug)]
pub struct Staged {
    name: String,
    target: Target,
}

/// The same, durable. Made only by [`make_durable`].
#[derive(Debug)]
pub struct Durable(Staged);

/// Waits until all of these are on the disk: once for many.
///
/// # Errors
/// As `fsync`. An error is reported once by the system and then forgotten: all of them are abandoned, never synced again.
pub fn make_durable(vault: &Vault, staged: Vec<Staged>) -> io::Result<Vec<Durable>> {
    let names: Vec<&str> = staged.iter().map(|staged| staged.name.as_str()).collect();
    match sync::together(vault.stage(), &names) {
        Ok(()) => Ok(staged.into_iter().map(Durable).collect()),
        Err(error) => {
            staged.into_iter().try_for_each(|staged| staged.abandon(vault))?;
            Err(error)
        }
    }
}

impl Staged {
    fn write(vault: &Vault, job: &Job<'_>) -> io::Result<Self> {
        let (name, mut file) = vault.new_staged(job.path.session)?;
        let staged = Self { name, target: job.target };
        match staged.fill(&mut file, job) {
            Ok(()) => Ok(staged),
            Err(error) => {
                staged.abandon(vault)?;
                Err(error)
            }
        }
    }

    fn fill(&self, file: &mut File, job: &Job<'_>) -> io::Result<()> {
        copy_prefix(job.source, file, self.target.length)?;
        let written = vault_reopen(file)?;
        if read::prefix(&written, self.target.length)? != Some(self.target.digest) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the staged bytes are not those of the plan"));
        }
        if let Some(modified) = self.target.modified {
            let time = Timespec { tv_sec: modified, tv_nsec: 0 };
            rustix::fs::futimens(&*file, &Timestamps { last_access: time, last_modification: time })?;
        }
        Ok(())
    }

    /// Removes the staged name; it never was a live one.
    fn abandon(self, vault: &Vault) -> io::Result<()> {
        proof::unlink(vault.stage(), &self.name, proof::only_ours(OnlyOurs::created()))
    }
}

fn vault_reopen(file: &File) -> io::Result<File> {
    let mut again = file.try_clone()?;
    io::Seek::rewind(&mut again)?;
    Ok(again)
}

fn create(vault: &Vault, staged: Staged, directory: &OwnedFd, name: &str) -> io::Result<Applied> {
    let renamed = match rustix::fs::renameat_with(vault.stage(), &staged.name, directory, name, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => link_new(vault, &staged, directory, name)?,
        renamed => renamed,
    };
    match renamed {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            staged.abandon(vault)?;
            return Ok(Applied::Deferred(Deferral::Changed));
        }
        Err(error) => {
            staged.abandon(vault)?;
            return Err(error.into());
        }
    }
    // The file is durable; its name becomes so before the archive says that it was here (what says so and is missing was deleted).
    Ok(Applied::Done)
}

/// Where the file system cannot rename without replacing: a link fails if the name exists.
fn link_new(vault: &Vault, staged: &Staged, directory: &OwnedFd, name: &str) -> io::Result<Result<(), Errno>> {
    let linked = rustix::fs::linkat(vault.stage(), &staged.name, directory, name, AtFlags::empty());
    if linked.is_ok() {
        let proved = proof::same_inode(vault.stage(), &staged.name, directory, name)?;
        proof::unlink(vault.stage(), &staged.name, proved)?;
    }
    Ok(linked)
}

fn replace(vault: &mut Vault, staged: Staged, directory: &OwnedFd, name: &str, seen: Stamp, note: &Note) -> io::Result<Applied> {
    let linked = match vault.link(directory, name, note.clone()) {
        Ok(linked) => linked,
        Err(error) => {
            staged.abandon(vault)?;
            return Err(error);
        }
    };
    match rustix::fs::renameat_with(vault.stage(), &staged.name, directory, name, RenameFlags::EXCHANGE) {
        Ok(()) => {}
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            // The vault has the old inode under a durable name, so a plain rename displaces nothing.
            rustix::fs::renameat(vault.stage(), &staged.name, directory, name)?;
            rustix::fs::fsync(directory)?;
            return Ok(Applied::Done);
        }
        Err(error) => {
            staged.abandon(vault)?;
            let_go(vault, &linked, directory, name)?;
            return Err(error.into());
        }
    }
    // The staged name now is the old inode. Had somebody written to it since the last look, it belongs back.
    let displaced = status_at(vault.stage(), &staged.name)?;
    if displaced.is_none_or(|displaced| same(displaced.stamp, seen)) {
        let proved = proof::same_inode(vault.stage(), &staged.name, &linked.directory, &linked.name)?;
        proof::unlink(vault.stage(), &staged.name, proved)?;
        rustix::fs::fsync(directory)?;
        return Ok(Applied::Done);
    }
    give_back(vault, staged, directory, name, note)?;
    let_go(vault, &linked, directory, name)?;
    Ok(Applied::Deferred(Deferral::Changed))
}

/// Nothing was displaced: a file that still bears its name in the store, and goes on growing, is no object of the vault.
fn let_go(vault: &mut Vault, linked: &Linked, directory: &OwnedFd, name: &str) -> io::Result<()> {
    match proof::same_inode(&linked.directory, &linked.name, directory, name) {
        Ok(proved) => vault.take_back(linked, proved),
        // Somebody replaced it meanwhile: then the vault has the only name of it.
        Err(_) => Ok(()),
    }
}

/// Exchanges back. What was in place for a moment may have been written to as well: then it is one more version.
fn give_back(vault: &mut Vault, staged: Staged, directory: &OwnedFd, name: &str, note: &Note) -> io::Result<()> {
    rustix::fs::renameat_with(vault.stage(), &staged.name, directory, name, RenameFlags::EXCHANGE)?;
    rustix::fs::fsync(directory)?;
    let (file, status) = super::tree::open_regular(vault.stage(), &staged.name)?;
    let content = (status.stamp.size, read::whole(file, 0)?.digest);
    // Nobody wrote to it: then it goes once the archive proves to hold it.
    let reason = if content == (staged.target.length, staged.target.digest) { Reason::Overtaken } else { Reason::Grew };
    let grew = Note { reason, length: content.0, digest: content.1, fork: None, ..note.clone() };
    let stage = vault.stage().try_clone()?;
    let linked = vault.link(&stage, &staged.name, grew)?;
    let proved = proof::same_inode(&stage, &staged.name, &linked.directory, &linked.name)?;
    proof::unlink(&stage, &staged.name, proved)
}

#[cfg(test)]
mod tests;
