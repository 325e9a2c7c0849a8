//! Files of the stage for what is fetched.
//!
//! A long one is written into a file whose name says of what: the session, and a digest over the very file there, where in it the bytes
//! begin, and what they follow. If the line breaks, or this process dies, the next visit that wants the same goes on behind what is here.
//!
//! Promises: nothing here is proved, and nothing is concluded from it: what is put together from it is hashed as a whole, and what then
//! does not fit is gone by the next pass. It is only copied from, and never bears the name of a live file, so it may go without a further
//! proof, also after a crash: its name says what it is. A part goes with its session when that is forgotten, and after a week.

use std::fs::{File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::proof;
use crate::reconcile::manifest::SessionId;
use crate::reconcile::transcript::Digest;

/// How the name of a file begins that nobody else knows.
pub(super) const FRESH: &str = "fetched-";
/// Less than this is fetched anew.
pub const SHORTEST: u64 = 1 << 20;
/// Longest time that a part waits for its rest.
const WAITS: Duration = Duration::from_secs(7 * 24 * 3600);
/// What stands behind the session in the name.
const MARK: &str = ".part-";

/// Where a long file waits for its rest.
#[derive(Debug)]
pub struct Partial {
    path: PathBuf,
    length: u64,
}

impl Partial {
    /// What came `of` this before; nothing where it is longer than it can be.
    ///
    /// # Errors
    /// As `lstat`.
    pub fn find(stage: &Path, session: SessionId, of: &str, longest: u64) -> io::Result<Self> {
        let key = &Digest::of(of.as_bytes()).to_string()[..32];
        let path = stage.join(format!("{session}{MARK}{key}"));
        let length = match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            status => Some(status?).filter(Metadata::is_file).map_or(0, |status| status.len()),
        };
        Ok(Self { path, length: if length > longest { 0 } else { length } })
    }

    /// So many bytes were here before.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The file, to be written behind what was found; none where another pass writes to it, or has written.
    ///
    /// # Errors
    /// As `open`.
    pub fn open(&self) -> io::Result<Option<File>> {
        let nofollow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let file = File::options().read(true).append(true).create(true).mode(0o600).custom_flags(nofollow).open(&self.path)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => {}
        }
        if self.length == 0 {
            file.set_len(0)?;
        }
        Ok(if file.metadata()?.len() == self.length { Some(file) } else { None })
    }

    /// It is whole: from now on it is a file like all that are fetched.
    ///
    /// # Errors
    /// As `rename`.
    pub fn complete(self) -> io::Result<PathBuf> {
        let path = self.path.with_file_name(name());
        std::fs::rename(&self.path, &path)?;
        Ok(path)
    }

    /// Nothing more of it is to be had.
    ///
    /// # Errors
    /// As `unlink`.
    pub fn discard(self) -> io::Result<()> {
        remove(&self.path)
    }
}

/// A fresh name for a file that is fetched, or put together, or held.
#[must_use]
pub(super) fn name() -> String {
    format!("{FRESH}{}", uuid::Uuid::new_v4().simple())
}

/// Whether a name of the stage is a fresh one.
#[must_use]
pub(super) fn is(name: &str) -> bool {
    name.starts_with(FRESH)
}

/// A fresh file, 0600.
///
/// # Errors
/// As `open`.
pub fn new(stage: &Path) -> io::Result<(PathBuf, File)> {
    let path = stage.join(name());
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    Ok((path, file))
}

/// Removes a fresh file.
///
/// # Errors
/// As the system says.
pub fn discard(path: &Path) -> io::Result<()> {
    if path.file_name().and_then(|name| name.to_str()).is_some_and(is) { remove(path) } else { Ok(()) }
}

/// Removes what lies in the stage under this name, if it was fetched and is no part that may wait for its rest. Whether it was fetched.
///
/// # Errors
/// As the system says.
pub(super) fn clear(path: &Path, name: &str, now: SystemTime) -> io::Result<bool> {
    let useless = |status: &Metadata| status.len() == 0 || status.modified().is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > WAITS));
    let part = name.contains(MARK);
    if is(name) || part && path.symlink_metadata().is_ok_and(|status| useless(&status)) {
        remove(path)?;
    }
    Ok(is(name) || part)
}

fn remove(path: &Path) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    proof::unlink(File::open(directory)?, name, proof::only_ours(proof::OnlyOurs::created()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const OF: &str = "a store, a file, 0";

    fn session() -> SessionId {
        "01234567-89ab-4cde-8f01-23456789abcd".parse().unwrap()
    }

    fn find(stage: &Path, of: &str) -> Partial {
        Partial::find(stage, session(), of, 10).unwrap()
    }

    #[test]
    fn what_came_is_there_for_who_wants_the_same_and_for_nobody_else() {
        let stage = tempfile::tempdir().unwrap();
        let mut file = find(stage.path(), OF).open().unwrap().unwrap();
        file.write_all(b"12345").unwrap();
        assert!(find(stage.path(), OF).open().unwrap().is_none(), "another pass writes to it");
        drop(file);
        assert_eq!(find(stage.path(), "another file").length(), 0);
        let (part, late) = (find(stage.path(), OF), find(stage.path(), OF));
        assert_eq!(part.length(), 5);
        part.open().unwrap().unwrap().write_all(b"67890").unwrap();
        assert!(late.open().unwrap().is_none(), "another pass has written to it");
        let path = part.complete().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"1234567890");
        discard(&path).unwrap();
        assert_eq!(find(stage.path(), OF).length(), 0);
    }

    #[test]
    fn one_that_is_too_long_is_begun_anew() {
        let stage = tempfile::tempdir().unwrap();
        find(stage.path(), OF).open().unwrap().unwrap().write_all(b"12345678901").unwrap();
        let part = find(stage.path(), OF);
        assert_eq!((part.length(), part.open().unwrap().unwrap().metadata().unwrap().len()), (0, 0));
        part.discard().unwrap();
        assert_eq!(stage.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn a_week_is_as_long_as_it_waits() {
        let stage = tempfile::tempdir().unwrap();
        let path = find(stage.path(), OF).path;
        let (name, now) = (path.file_name().unwrap().to_str().unwrap(), SystemTime::now());
        for (bytes, age, stays) in [("some", Duration::ZERO, true), ("some", WAITS, true), ("some", WAITS * 2, false), ("", Duration::ZERO, false)] {
            std::fs::write(&path, bytes).unwrap();
            assert!(clear(&path, name, now + age).unwrap());
            assert_eq!(path.exists(), stays, "{age:?}");
        }
        let (path, _) = new(stage.path()).unwrap();
        assert!(clear(&path, path.file_name().unwrap().to_str().unwrap(), now).unwrap() && !path.exists());
        assert!(!clear(&path, &format!("{}.new", session()), now).unwrap(), "it is not for us to say");
    }
}
