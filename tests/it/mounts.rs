//! File systems that are mounted until the end of a test.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::wait::reached;

/// Goes when it is dropped, and fails the test if it does not.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// None where that is not allowed.
    pub(crate) fn new(at: &Path, options: &[&str], what: &str) -> Option<Self> {
        let mounted = Command::new("mount").args(options).arg(what).arg(at).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        mounted.then(|| Self(at.to_owned()))
    }

    /// A disk of its own, so small.
    pub(crate) fn small(at: &Path, size: &str) -> Option<Self> {
        Self::new(at, &["-t", "tmpfs", "-o", &format!("size={size}")], "tmpfs")
    }

    pub(crate) fn at(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let gone = |options: &[&str]| Command::new("umount").args(options).arg(&self.0).stderr(Stdio::null()).status().unwrap().success();
        if std::thread::panicking() {
            gone(&["-l"]);
        } else {
            // Who was killed in there may still be about to end.
            reached("nobody is in what was mounted", || gone(&[]));
        }
    }
}
