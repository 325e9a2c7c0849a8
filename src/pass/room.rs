//! How much a visit may bring onto this machine's disk.
//!
//! For what a far side declares and this machine has not seen: a length is a claim until its bytes are here, and whoever makes it
//! can go on sending for ever. Promises: no file beyond [`LONGEST_FILE`] is asked for, and nothing that would leave the disk with
//! less than its reserve. Never: a small file refused for want of room; a disk that is full says so itself.

use std::io;
use std::path::Path;

use crate::reconcile::words;

/// Longest file that is brought here.
pub const LONGEST_FILE: u64 = 4 << 30;
/// What is left free at least, where a twentieth of the disk is more than this.
const RESERVE: u64 = 256 << 20;
/// A file of at most this size is always tried.
const ALWAYS_TRIED: u64 = 1 << 20;

/// The room on one disk, as a visit uses it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    left: u64,
}

/// Why a file is not brought here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// Nobody's session is that long.
    #[error("is said to have {}, more than {} are brought nowhere", words::bytes(*size), words::bytes(LONGEST_FILE))]
    TooLong {
        /// Its declared size.
        size: u64,
    },
    /// The disk would be full.
    #[error("has {}, and this machine's disk has no room for them", words::bytes(*size))]
    DiskTooSmall {
        /// Its declared size.
        size: u64,
    },
}

impl Room {
    /// On the disk of a directory.
    ///
    /// # Errors
    /// As `statvfs`.
    pub fn on(directory: &Path) -> io::Result<Self> {
        let disk = rustix::fs::statvfs(directory)?;
        Ok(Self::of(disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize)))
    }

    /// On a disk with so many bytes free of so many.
    #[must_use]
    pub fn of(free: u64, whole: u64) -> Self {
        Self { left: free.saturating_sub(RESERVE.min(whole / 20)) }
    }

    /// Takes the room for a file of this size: twice, because it is put together in the stage, and what is installed is kept as well. That
    /// holds however little of it comes over the line.
    ///
    /// # Errors
    /// Why it cannot be brought; nothing is taken then.
    pub fn take(&mut self, size: u64) -> Result<(), NoRoom> {
        if size > LONGEST_FILE {
            return Err(NoRoom::TooLong { size });
        }
        match self.left.checked_sub(size.saturating_mul(2)) {
            Some(left) => self.left = left,
            None if size <= ALWAYS_TRIED => self.left = 0,
            None => return Err(NoRoom::DiskTooSmall { size }),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_visit_leaves_the_reserve_and_refuses_what_does_not_fit() {
        let mut room = Room::of(1000 * MIB, 100_000 * MIB);
        assert_eq!(room.take(300 * MIB), Ok(()));
        assert_eq!(room.take(300 * MIB), Err(NoRoom::DiskTooSmall { size: 300 * MIB }));
        assert_eq!(room.take(72 * MIB), Ok(()), "144 of 144 MiB");
        assert_eq!(room.take(2 * MIB), Err(NoRoom::DiskTooSmall { size: 2 * MIB }));
    }

    #[test]
    fn a_small_file_is_always_tried() {
        let mut full = Room::of(0, 1000);
        assert_eq!((full.take(MIB), full.take(5)), (Ok(()), Ok(())));
    }

    #[test]
    fn what_no_session_can_be_is_refused_whatever_the_disk() {
        let mut room = Room::of(u64::MAX, u64::MAX);
        assert_eq!(room.take(LONGEST_FILE), Ok(()));
        for size in [LONGEST_FILE + 1, u64::MAX] {
            assert_eq!(room.take(size), Err(NoRoom::TooLong { size }));
        }
        assert_eq!(NoRoom::TooLong { size: 5 << 30 }.to_string(), "is said to have 5.0 GiB, more than 4.0 GiB are brought nowhere");
    }
}
