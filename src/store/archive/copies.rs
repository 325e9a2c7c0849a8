//! The bytes of the archive's copies: how one grows, is made anew, and makes room.
//!
//! Promises: a copy is read back before it counts, and what is no beginning of its successor is in the vault before that is written.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _};
use std::path::Path;

use super::super::read;
use super::super::vault::{Note, Vault, copy_prefix, temporary};
use crate::reconcile::relation::Lines;
use crate::reconcile::transcript::{Content, Digest};

/// A copy of ours that is to make room is in the vault when this returns.
///
/// # Errors
/// As `write`; `InvalidData` where it cannot be read.
pub(super) fn displace(vault: &mut Vault, copy: &Path, note: Note) -> io::Result<()> {
    match vault.copy(copy, note.clone()) {
        Ok(()) if !is_so_long(copy, note.length) => vault.copy_raw(copy, note),
        // A crash came between the copy and the index, or it was damaged since: whatever it is, it is kept.
        Err(error) if read::is_the_file(&error) => vault.copy_raw(copy, note),
        // Then it stays where it is, and its successor waits.
        Err(error) if !read::is_readable(copy) => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} cannot be read: {error}", copy.display()))),
        kept => kept,
    }
}

/// The same for what the index does not speak of, where a copy of so many bytes of `source` is to go: a line of the index was lost, or the
/// file system takes two names for one. What that begins with need not be kept.
///
/// # Errors
/// As [`displace`].
pub(super) fn spare(vault: &mut Vault, lying: &Path, (source, length): (&Path, u64), note: Note) -> io::Result<()> {
    let whole = match read::open(lying).and_then(|file| read::whole(file, 0)) {
        Ok(whole) => whole,
        Err(error) if read::is_the_file(&error) => return Ok(()),
        Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} cannot be read: {error}", lying.display()))),
    };
    if whole.length <= length && read::prefix(&read::open(source)?, whole.length)? == Some(whole.digest) { Ok(()) } else { vault.copy_raw(lying, note) }
}

/// Whether a copy has the length that the index gives it.
pub(super) fn is_so_long(copy: &Path, length: u64) -> bool {
    copy.metadata().is_ok_and(|status| status.len() == length)
}

/// Whether an error says that a file has a directory's name, or a directory a file's.
pub(super) fn is_in_the_way(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory | io::ErrorKind::DirectoryNotEmpty)
}

pub(super) fn prefix_digest(lines: &Lines, source: &Path, length: u64) -> io::Result<Digest> {
    match lines.prefix(length) {
        Some(digest) => Ok(digest),
        None => read::prefix(&read::open(source)?, length)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Writes the content's bytes from `from` on, over whatever an interrupted append left there, and reads them back: a copy that
/// does not come out as the content is made again as a whole, and never takes the place of the old one unless it is right.
pub(super) fn write(stage: &Path, path: &Path, content: &Content, source: &Path, from: u64) -> io::Result<()> {
    // A copy that cannot be read back is made anew, too.
    if from > 0 && append(path, content, source, from).unwrap_or(false) {
        return Ok(());
    }
    let mut file = temporary(stage)?;
    copy_prefix(source, file.as_file_mut(), content.length)?;
    if read::prefix(&File::open(file.path())?, content.length)? != Some(content.digest) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the bytes to be archived are not those that were read"));
    }
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Whether the copy holds the content, once the bytes behind `from` are appended.
fn append(path: &Path, content: &Content, source: &Path, from: u64) -> io::Result<bool> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    if file.metadata()?.len() < from {
        return Ok(false);
    }
    let mut source = read::open(source)?;
    source.seek(io::SeekFrom::Start(from))?;
    file.seek(io::SeekFrom::Start(from))?;
    let copied = read::copy(&source, &mut file, content.length - from)?;
    if copied != content.length - from {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    file.set_len(content.length)?;
    file.rewind()?;
    Ok(read::prefix(&file, content.length)? == Some(content.digest))
}
