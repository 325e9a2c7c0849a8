//! The only `unlink` of this program, and what must be shown before it.
//!
//! A name goes only if nothing goes with it: we made the file and it was never exchanged with a live one; another durable
//! name of ours has the same inode; its bytes are a proven prefix of what another object of the vault holds; or its user named
//! the session it belongs to, and wants it gone.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::AtFlags;
use rustix::io::Errno;
use rustix::path::Arg;

use super::read;
use super::tree::{open_regular, status_at};
use crate::reconcile::transcript::Digest;

/// A reason why a name may go. Made only by the functions of this module, which check it.
#[derive(Debug)]
pub struct Proof(());

/// A file that we created under a fresh name and that never bore the name of a live one.
#[derive(Debug)]
pub struct OnlyOurs(());

impl OnlyOurs {
    /// Said by the code that created the file with `O_EXCL`.
    pub(super) fn created() -> Self {
        Self(())
    }
}

/// The file is only ours.
#[must_use]
pub fn only_ours(_: OnlyOurs) -> Proof {
    Proof(())
}

/// A session that its user wants gone, by its id.
#[derive(Debug)]
pub struct Named(());

impl Named {
    /// Said by the verbs that remove a session for good, once the user has agreed to it.
    #[must_use]
    pub fn by_user() -> Self {
        Self(())
    }
}

/// Its user wants it gone. The caller removes only what is of that session.
#[must_use]
pub fn named(_: &Named) -> Proof {
    Proof(())
}

/// The two names are one inode, so that one of them may go.
///
/// # Errors
/// When one cannot be looked at; `InvalidData` when they are two files.
pub fn same_inode(directory: impl AsFd, name: &str, other: impl AsFd, other_name: &str) -> io::Result<Proof> {
    let (one, two) = (status_at(directory, name)?, status_at(other, other_name)?);
    match (one, two) {
        (Some(one), Some(two)) if one.device == two.device && one.stamp.inode == two.stamp.inode => Ok(Proof(())),
        _ => Err(refuse("is not the same file as its vault object")),
    }
}

/// Every byte under the name, hashed now, is the beginning of `holder`.
///
/// # Errors
/// When one cannot be read; `InvalidData` when it is no prefix.
pub fn prefix_of(directory: impl AsFd, name: &str, holder: &File) -> io::Result<Proof> {
    let (file, status) = open_regular(directory, name)?;
    let own = read::whole(file, 0)?;
    let held = read::prefix(holder, own.length)?;
    if own.length == status.stamp.size && held == Some(own.digest) { Ok(Proof(())) } else { Err(refuse("is no prefix of the archive's copy")) }
}

/// Every byte under the name hashes to what an object of the vault, read now, hashes to.
///
/// # Errors
/// As [`prefix_of`].
pub fn bytes_are(directory: impl AsFd, name: &str, holder: &File, digest: Digest) -> io::Result<Proof> {
    let (file, _) = open_regular(directory, name)?;
    let own = read::whole(file, 0)?;
    let held = read::prefix(holder, own.length)?;
    if own.digest == digest && held == Some(digest) { Ok(Proof(())) } else { Err(refuse("does not hold the bytes that the vault holds")) }
}

/// Removes the name.
///
/// # Errors
/// As `unlinkat`.
pub fn unlink(directory: impl AsFd, name: impl Arg, _: Proof) -> io::Result<()> {
    Ok(rustix::fs::unlinkat(directory, name, AtFlags::empty())?)
}

/// Removes a directory that is empty, and says whether it did: nothing goes with it, so it needs no proof. One that holds something stays.
///
/// # Errors
/// As `unlinkat`, but for a directory that holds something, or is not there any more.
pub fn remove_empty(directory: impl AsFd, name: impl Arg) -> io::Result<bool> {
    match rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn refuse(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}
