//! Which repository a directory of this machine belongs to, read through `git`.
//!
//! Promises: a clone is known by its remotes, origin first; worktrees and subdirectories count, by their path below the root.
//! `git` is asked once for each state of a clone's configuration. Never: a shell, a hook, a name that merely looks alike.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::reconcile::manifest::Stamp;
use crate::reconcile::project::RepositoryId;
use crate::store::tree::Status;

/// How deep clones are looked for below a clone root.
const CLONE_ROOT_DEPTH: usize = 3;
/// Most directories looked at below one clone root.
const MOST_DIRECTORIES: usize = 20_000;
/// Most bytes of a file that says where a worktree's clone is.
const LONGEST_POINTER: u64 = 16 << 10;
/// Variables that would lead git elsewhere, or that may hold a GitHub token.
const NOT_FOR_GIT: [&str; 9] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GH_TOKEN",
    "GITHUB_TOKEN",
    "GH_ENTERPRISE_TOKEN",
    "GITHUB_ENTERPRISE_TOKEN",
    "GITHUB_CODESPACE_TOKEN",
    "HOMEBREW_GITHUB_API_TOKEN",
];

/// A clone, or a worktree of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// Its root, resolved.
    pub root: PathBuf,
    /// The repositories that its remotes name, origin's first.
    pub remotes: Vec<RepositoryId>,
}

/// What was learned of a clone's configuration, for as long as that file stays the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// The stamp of its `config`.
    pub config: Stamp,
    /// Its remotes.
    pub remotes: Vec<RepositoryId>,
}

/// Clones asked for, and what is remembered of them.
#[derive(Debug)]
pub struct Clones<'a> {
    git: &'a Path,
    memory: &'a mut BTreeMap<PathBuf, Remembered>,
    roots: BTreeMap<PathBuf, Option<Checkout>>,
}

impl<'a> Clones<'a> {
    /// `git` is the program; `memory` is read and written.
    pub fn new(git: &'a Path, memory: &'a mut BTreeMap<PathBuf, Remembered>) -> Self {
        Self { git, memory, roots: BTreeMap::new() }
    }

    /// The clone that holds a directory: the nearest one upwards. None where the directory is gone or in no clone.
    pub fn of(&mut self, directory: &Path) -> Option<Checkout> {
        let resolved = directory.canonicalize().ok()?;
        let root = resolved.ancestors().find(|ancestor| ancestor.join(".git").symlink_metadata().is_ok())?.to_owned();
        if !self.roots.contains_key(&root) {
            let found = self.look(&root);
            self.roots.insert(root.clone(), found);
        }
        self.roots.get(&root).cloned().flatten()
    }

    fn look(&mut self, root: &Path) -> Option<Checkout> {
        let config = config_of(root)?;
        let stamp = stamp_of(&config)?;
        if let Some(known) = self.memory.get(&config).filter(|known| known.config == stamp) {
            return Some(Checkout { root: root.to_owned(), remotes: known.remotes.clone() });
        }
        let remotes = self.ask(root)?;
        // The state is text, and has no room for another path.
        if config.to_str().is_some() {
            self.memory.insert(config, Remembered { config: stamp, remotes: remotes.clone() });
        }
        Some(Checkout { root: root.to_owned(), remotes })
    }

    /// `git remote -v` applies the user's own `insteadOf`. None if git could not be asked.
    fn ask(&self, root: &Path) -> Option<Vec<RepositoryId>> {
        let mut command = Command::new(self.git);
        command.arg("-C").arg(root).args(["-c", "core.fsmonitor=false", "remote", "-v"]);
        for variable in NOT_FOR_GIT {
            command.env_remove(variable);
        }
        command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_OPTIONAL_LOCKS", "0").stdin(Stdio::null()).stderr(Stdio::null());
        let output = command.output().ok().filter(|output| output.status.success())?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut remotes: Vec<(bool, RepositoryId)> = Vec::new();
        for line in text.lines().filter(|line| line.ends_with("(fetch)")) {
            let Some((name, url)) = line.split_once('\t') else { continue };
            let url = url.trim_end_matches("(fetch)").trim();
            if let Some(repository) = RepositoryId::from_remote(url) {
                remotes.push((name != "origin", repository));
            }
        }
        remotes.sort_by_key(|(other, _)| *other);
        let mut distinct = Vec::new();
        for (_, repository) in remotes {
            if !distinct.contains(&repository) {
                distinct.push(repository);
            }
        }
        Some(distinct)
    }

    /// Every clone below these directories, three levels deep, by looking for `.git` alone.
    pub fn below(&mut self, clone_roots: &[PathBuf]) -> Vec<Checkout> {
        let mut found = Vec::new();
        for clone_root in clone_roots {
            let mut left = MOST_DIRECTORIES;
            let mut level = vec![clone_root.clone()];
            for _ in 0..=CLONE_ROOT_DEPTH {
                let mut next = Vec::new();
                for directory in level {
                    if directory.join(".git").symlink_metadata().is_ok() {
                        found.extend(self.of(&directory));
                        continue;
                    }
                    let Ok(entries) = std::fs::read_dir(&directory) else { continue };
                    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                        if left > 0 && !entry.file_name().to_string_lossy().starts_with('.') {
                            left -= 1;
                            next.push(entry.path());
                        }
                    }
                }
                next.sort();
                level = next;
            }
        }
        found
    }
}

/// The `config` of a clone, or of the clone that a worktree belongs to.
fn config_of(root: &Path) -> Option<PathBuf> {
    let git = root.join(".git");
    if git.is_dir() {
        return Some(git.join("config"));
    }
    let text = |path: &Path| String::from_utf8(super::read::small(path, LONGEST_POINTER).ok()?).ok();
    let directory = root.join(text(&git)?.trim().strip_prefix("gitdir:")?.trim());
    match text(&directory.join("commondir")) {
        Some(common) => Some(directory.join(common.trim()).join("config")),
        None => Some(directory.join("config")),
    }
}

fn stamp_of(path: &Path) -> Option<Stamp> {
    // Of a pipe git would wait for the other end.
    rustix::fs::stat(path).ok().map(|stat| Status::of(&stat)).filter(|status| status.regular).map(|status| status.stamp)
}

/// The repository of a directory of this machine, by the first remote of the clone that holds it.
#[must_use]
pub fn repository_of(git: &Path, directory: &Path) -> Option<RepositoryId> {
    let mut memory = BTreeMap::new();
    Clones::new(git, &mut memory).of(directory)?.remotes.into_iter().next()
}
