//! Files of ours that come to be on the disk together: one wait for many.
//!
//! Promises: when this returns, every byte of them would survive a power cut. Never: a file synced again after an error, which
//! the system tells once and then forgets.
//!
//! Linux: `syncfs`, which writes everything of that file system and waits for the drive once. It tells of errors since 5.8; an
//! older kernel is asked file by file. macOS: `fsync` hands each file to the drive, and one `F_FULLFSYNC` after them has the
//! drive write all that it was handed. (`F_BARRIERFSYNC` only orders writes, which would do for the name after the content, but
//! not for the promise that what is reported as done is done; and not every drive knows it.)

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

/// From so many files on, the whole file system is asked rather than each of them: it may have the bytes of others to write, too.
#[cfg(target_os = "linux")]
const TOGETHER: usize = 8;

/// Makes these files of a directory durable; their names need not be.
///
/// # Errors
/// As `open` and `fsync`.
pub(super) fn together(directory: &OwnedFd, names: &[&str]) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if names.len() >= TOGETHER && tells_of_errors(&rustix::system::uname().release().to_string_lossy()) {
        return Ok(rustix::fs::syncfs(directory)?);
    }
    let Some((last, others)) = names.split_last() else { return Ok(()) };
    let open = |name: &str| rustix::fs::openat(directory, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    for name in others {
        rustix::fs::fsync(open(name)?)?;
    }
    File::from(open(last)?).sync_all()
}

/// Whether `syncfs` of this Linux says that a write failed.
#[cfg(target_os = "linux")]
fn tells_of_errors(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (5, 8)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_a_newer_linux_is_asked_for_all_files_at_once() {
        for (release, tells) in [("5.8.0", true), ("5.7.19-generic", false), ("6.1", true), ("4.19.0-27-amd64", false), ("10.0-rc1", true), ("", false)] {
            assert_eq!(tells_of_errors(release), tells, "{release}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_no_durable_one() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a"), "a").unwrap();
        let stage = OwnedFd::from(File::open(directory.path()).unwrap());
        assert!(together(&stage, &["a"]).is_ok() && together(&stage, &[]).is_ok());
        assert!(together(&stage, &["a", "b"]).is_err() && together(&stage, &["b", "a"]).is_err());
    }
}
