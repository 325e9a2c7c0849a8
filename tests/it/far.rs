//! A far machine without ssh: a home of its own, reached by a `command` as a `[[machine]]` has one.

use std::fs;
use std::path::PathBuf;

/// An empty home with `.claude/projects`, a directory in place of `/workspaces`, and the command that runs something there.
pub(crate) struct Far {
    root: tempfile::TempDir,
    path: String,
}

impl Far {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("home/.claude/projects")).unwrap();
        fs::create_dir(root.path().join("workspaces")).unwrap();
        Self { root, path: "/usr/local/bin:/usr/bin:/bin".to_owned() }
    }

    /// Puts a directory before the far `PATH`: stand-ins of tools, or a busybox.
    pub(crate) fn with_tools(mut self, dir: &str) -> Self {
        self.path = format!("{dir}:{}", self.path);
        self
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    pub(crate) fn claude(&self) -> PathBuf {
        self.home().join(".claude")
    }

    pub(crate) fn workspaces(&self) -> PathBuf {
        self.root.path().join("workspaces")
    }

    /// The `command` of the machine: nothing of this process's environment gets there.
    pub(crate) fn command(&self) -> Vec<String> {
        let home = format!("HOME={}", self.home().display());
        ["env", "-i", &home, &format!("PATH={}", self.path)].into_iter().map(str::to_owned).collect()
    }
}
