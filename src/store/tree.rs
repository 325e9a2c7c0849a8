//! A `projects/` tree, walked by directory descriptors: the only place that opens, makes or renames a name in a store.
//!
//! Promises: the tree's root is resolved once and pinned; below it no symbolic link is ever followed, and what is opened is a
//! regular file. Directories are made 0700. Never: a path string joined from foreign text; names arrive as [`StorePath`].

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::path::Arg;

use crate::reconcile::manifest::{Part, Stamp, StorePath};

/// A pinned `projects/` directory.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    path: PathBuf,
}

/// What a `stat` tells beyond the stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Inode, size and times.
    pub stamp: Stamp,
    /// Device.
    pub device: u64,
    /// Owner.
    pub owner: u32,
    /// Whether it is a regular file.
    pub regular: bool,
    /// Its permission bits.
    pub mode: u32,
}

impl Status {
    /// From the system's own structure.
    #[must_use]
    pub fn of(stat: &Stat) -> Self {
        #[expect(clippy::useless_conversion, clippy::unnecessary_cast, reason = "the widths differ between Linux and macOS")]
        let status = Self {
            stamp: Stamp {
                inode: stat.st_ino as u64,
                size: u64::try_from(stat.st_size).unwrap_or(0),
                modified: i64::from(stat.st_mtime).wrapping_mul(1_000_000_000).wrapping_add(stat.st_mtime_nsec as i64),
                changed: i64::from(stat.st_ctime).wrapping_mul(1_000_000_000).wrapping_add(stat.st_ctime_nsec as i64),
            },
            device: stat.st_dev as u64,
            owner: stat.st_uid,
            regular: FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile,
            mode: u32::from(stat.st_mode) & 0o7777,
        };
        status
    }
}

/// How a directory of ours is opened: never through a link.
pub(super) const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Tree {
    /// Pins `<claude>/projects`, which may itself be a link. None where there is none.
    ///
    /// # Errors
    /// When it is there and cannot be opened as a directory.
    pub fn open(claude: &Path) -> io::Result<Option<Self>> {
        let path = claude.join("projects");
        match rustix::fs::openat(CWD, &path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(root) => Ok(Some(Self { root, path })),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Pins `<claude>/projects`, made if it is missing.
    ///
    /// # Errors
    /// When it cannot be made or opened.
    pub fn create(claude: &Path) -> io::Result<Self> {
        if let Some(tree) = Self::open(claude)? {
            return Ok(tree);
        }
        std::fs::DirBuilder::new().recursive(true).create(claude)?;
        match rustix::fs::mkdirat(CWD, claude.join("projects"), Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        Self::open(claude)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Where it lies, for people.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The pinned root.
    #[must_use]
    pub fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// The device of the root.
    ///
    /// # Errors
    /// As `fstat`.
    pub fn device(&self) -> io::Result<u64> {
        Ok(Status::of(&rustix::fs::fstat(&self.root)?).device)
    }

    /// The directory that holds the file of this path, and the file's name in it.
    ///
    /// # Errors
    /// `NotFound` where it is missing and not to be made; any other where a component is no directory of ours.
    pub fn parent(&self, path: &StorePath, make: Make) -> io::Result<(OwnedFd, String)> {
        let mut directory = descend(&self.root, path.project.as_str(), make)?;
        let below = path.part.path(path.session);
        let (folders, name) = match (&path.part, below.rsplit_once('/')) {
            (Part::Side(_), Some((folders, name))) => (folders.to_owned(), name.to_owned()),
            _ => (String::new(), below),
        };
        for folder in folders.split('/').filter(|folder| !folder.is_empty()) {
            directory = descend(&directory, folder, make)?;
        }
        Ok((directory, name))
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// As `openat`; `InvalidInput` for anything that is not a regular file.
    pub fn open_file(&self, path: &StorePath) -> io::Result<(File, Status)> {
        let (directory, name) = self.parent(path, Make::Nothing)?;
        open_regular(&directory, &name)
    }

    /// What is at this path, if anything; links are not followed.
    ///
    /// # Errors
    /// As `statat`, but for `NotFound`.
    pub fn status(&self, path: &StorePath) -> io::Result<Option<Status>> {
        let parent = match self.parent(path, Make::Nothing) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            parent => parent?,
        };
        status_at(&parent.0, &parent.1)
    }
}

/// Whether missing directories are made on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// They are not.
    Nothing,
    /// They are, 0700.
    Directories,
}

/// What a name in a directory is, links not followed.
///
/// # Errors
/// As `statat`, but for `NotFound`.
pub fn status_at(directory: impl AsFd, name: impl Arg) -> io::Result<Option<Status>> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(Status::of(&stat))),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Opens a regular file in a directory for reading; never blocks on a pipe, never follows a link.
///
/// # Errors
/// As `openat`; `InvalidInput` for anything that is not a regular file.
pub fn open_regular(directory: impl AsFd, name: &str) -> io::Result<(File, Status)> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(directory, name, flags, Mode::empty())?);
    let status = Status::of(&rustix::fs::fstat(&file)?);
    if status.regular { Ok((file, status)) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file")) }
}

/// Opens a subdirectory, made first if asked.
///
/// # Errors
/// As `mkdirat` and `openat`.
pub fn descend(directory: impl AsFd, name: &str, make: Make) -> io::Result<OwnedFd> {
    let directory = directory.as_fd();
    let open = || rustix::fs::openat(directory, name, DIRECTORY, Mode::empty());
    match open() {
        Err(rustix::io::Errno::NOENT) if make == Make::Directories => match rustix::fs::mkdirat(directory, name, Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(open()?),
            Err(error) => Err(error.into()),
        },
        opened => Ok(opened?),
    }
}
