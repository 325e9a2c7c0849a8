//! Everything of one session on this machine: where it lies, and its removal.
//!
//! For the one deletion that its user orders by name. It looks in every directory below `projects/`, in the stage, among the
//! displaced objects, in the archive, and beside the store, where another machine may have kept something.
//!
//! Promises: a name goes only if it is of that session, or a temporary file of ours that nobody uses while the pass lock is held;
//! no symbolic link is followed, one that bears the session's name goes as a link; every directory that changed is on the disk when
//! this returns. Called again after it was cut off, it finishes.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::fetched;
use super::proof::{self, Named, OnlyOurs};
use super::tree::{Tree, status_at};
use super::vault::TEMPORARY;
use crate::reconcile::manifest::SessionId;

/// Where something of a session may lie.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'g> {
    /// The store.
    pub tree: Option<&'g Tree>,
    /// What holds `vault/` and `stage/`.
    pub root: &'g Path,
    /// The folder of ours beside the store, as others that visit this machine use it.
    pub beside: &'g Path,
}

/// Some files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heap {
    /// How many.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// What lies where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lies {
    /// The directories below `projects/` that hold it.
    pub projects: Vec<String>,
    /// Its files there.
    pub store: Heap,
    /// Its newest copy in the archive.
    pub archive: Heap,
    /// Its displaced copies, with their notes.
    pub displaced: Heap,
    /// What a crash, or another machine, left of it.
    pub rest: Heap,
}

impl Lies {
    /// Whether there is anything at all.
    #[must_use]
    pub fn is_anywhere(&self) -> bool {
        [self.store, self.archive, self.displaced, self.rest].iter().any(|heap| heap.files > 0) || !self.projects.is_empty()
    }
}

/// What is done to what is found.
#[derive(Clone, Copy)]
enum Act<'n> {
    Look,
    Remove(&'n Named),
}

/// What lies where of a session.
///
/// # Errors
/// When a directory cannot be read.
pub fn lies(ground: Ground<'_>, session: SessionId) -> io::Result<Lies> {
    each(ground, session, Act::Look)
}

/// Removes all of it, and gives what that was.
///
/// # Errors
/// As `unlink` and `fsync`. What was removed by then stays so.
pub fn remove(ground: Ground<'_>, session: SessionId, named: &Named) -> io::Result<Lies> {
    each(ground, session, Act::Remove(named))
}

/// Removes one displaced object and its note: a copy that a session was made from.
///
/// # Errors
/// As `unlink` and `fsync`.
pub fn remove_object(path: &Path, named: &Named) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else { return Ok(()) };
    let Some(directory) = open(CWD, directory)? else { return Ok(()) };
    for name in [name.to_owned(), format!("{name}.json")] {
        if status_at(&directory, &name)?.is_some() {
            proof::unlink(&directory, name.as_str(), proof::named(named))?;
        }
    }
    Ok(rustix::fs::fsync(&directory)?)
}

/// Removes what writers of ours that were cut off left in a directory. Nobody else writes there while the pass lock is held.
///
/// # Errors
/// As `unlink`.
pub fn clear_temporary(directory: &Path) -> io::Result<()> {
    each_of_ours(directory, |name| name.starts_with(TEMPORARY) || fetched::is(name))
}

/// Every place below `projects/` where its transcript lies.
///
/// # Errors
/// When a directory cannot be read.
pub fn transcripts(tree: &Tree, session: SessionId) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for (name, kind) in names(rustix::io::dup(tree.root())?)? {
        let path = tree.path().join(text(&name)).join(session.file_name());
        if kind == FileType::Directory && path.symlink_metadata().is_ok_and(|status| status.is_file()) {
            found.push(path);
        }
    }
    Ok(found)
}

fn each(ground: Ground<'_>, session: SessionId, act: Act<'_>) -> io::Result<Lies> {
    let mut lies = Lies::default();
    let vault = ground.root.join("vault");
    let (file, folder) = (session.file_name(), session.to_string());
    if let Act::Remove(_) = act {
        // These may hold bytes of any session; what they were for is made again.
        for directory in [ground.root.join("stage"), vault.join("archive"), vault.join("displaced").join(&folder)] {
            clear_temporary(&directory)?;
        }
    }
    let begins = |name: &str| name.starts_with(&format!("{folder}."));
    for directory in [ground.root.join("stage"), ground.beside.join("vault")] {
        among(&directory, begins, act, &mut lies.rest)?;
    }
    among(&vault.join("displaced"), |name| name == folder, act, &mut lies.displaced)?;
    among(&vault.join("archive"), |name| name == folder || name == file, act, &mut lies.archive)?;
    if let Some(tree) = ground.tree {
        for (name, kind) in names(rustix::io::dup(tree.root())?)? {
            let Some(project) = (kind == FileType::Directory).then(|| enter(tree.root(), &name)).transpose()?.flatten() else { continue };
            let before = lies.store.files;
            let mut there = false;
            for name in [&folder, &file] {
                let name = CString::new(name.as_str()).map_err(io::Error::other)?;
                there |= one(&project, &name, act, &mut lies.store)?;
            }
            if there || lies.store.files > before {
                lies.projects.push(text(&name));
                settle(&project, act)?;
            }
        }
    }
    Ok(lies)
}

/// The names in a directory that are meant; a directory that is missing, or a link, holds none.
fn among(directory: &Path, meant: impl Fn(&str) -> bool, act: Act<'_>, heap: &mut Heap) -> io::Result<()> {
    let Some(directory) = open(CWD, directory)? else { return Ok(()) };
    let mut there = false;
    for (name, _) in names(rustix::io::dup(&directory)?)? {
        if meant(&text(&name)) {
            there |= one(&directory, &name, act, heap)?;
        }
    }
    if there { settle(&directory, act) } else { Ok(()) }
}

/// One name and all below it; whether it is there.
fn one(directory: &OwnedFd, name: &CStr, act: Act<'_>, heap: &mut Heap) -> io::Result<bool> {
    let Some(status) = status_at(directory, name)? else { return Ok(false) };
    let below = if status.regular { None } else { enter(directory, name)? };
    let Some(below) = below else {
        heap.files += 1;
        heap.bytes += status.stamp.size;
        if let Act::Remove(named) = act {
            proof::unlink(directory, name, proof::named(named))?;
        }
        return Ok(true);
    };
    for (inside, _) in names(rustix::io::dup(&below)?)? {
        one(&below, &inside, act, heap)?;
    }
    if let Act::Remove(_) = act {
        // Somebody wrote into it in this moment: what that is, the next look tells.
        if !proof::remove_empty(directory, name)? {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
    }
    Ok(true)
}

fn each_of_ours(directory: &Path, ours: impl Fn(&str) -> bool) -> io::Result<()> {
    let Some(directory) = open(CWD, directory)? else { return Ok(()) };
    for (name, kind) in names(rustix::io::dup(&directory)?)? {
        if kind == FileType::RegularFile && ours(&text(&name)) {
            proof::unlink(&directory, name.as_c_str(), proof::only_ours(OnlyOurs::created()))?;
        }
    }
    Ok(())
}

fn settle(directory: &OwnedFd, act: Act<'_>) -> io::Result<()> {
    match act {
        Act::Look => Ok(()),
        Act::Remove(_) => Ok(rustix::fs::fsync(directory)?),
    }
}

/// A directory; none where it is missing, or is anything else.
fn open(at: BorrowedFd<'_>, path: &Path) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(at, path, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        opened => Ok(Some(opened?)),
    }
}

fn enter(directory: &OwnedFd, name: &CStr) -> io::Result<Option<OwnedFd>> {
    use std::os::unix::ffi::OsStrExt as _;
    open(directory.as_fd(), Path::new(std::ffi::OsStr::from_bytes(name.to_bytes())))
}

/// What a directory holds, by its very bytes.
fn names(directory: OwnedFd) -> io::Result<Vec<(CString, FileType)>> {
    let mut directory = Dir::new(directory)?;
    // A duplicate of a descriptor shares its place in the directory.
    directory.rewind();
    let mut names = Vec::new();
    while let Some(entry) = directory.read() {
        let entry = entry?;
        let name = entry.file_name().to_owned();
        if name.as_bytes() == b"." || name.as_bytes() == b".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => FileType::from_raw_mode(rustix::fs::statat(directory.fd()?, &name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?.st_mode),
            kind => kind,
        };
        names.push((name, kind));
    }
    names.sort_by(|a: &(CString, FileType), b| a.0.cmp(&b.0));
    Ok(names)
}

fn text(name: &CStr) -> String {
    name.to_string_lossy().into_owned()
}
