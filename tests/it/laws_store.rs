//! A real store, vault and stage in a temporary directory, for the laws of installing one file.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use claude_session_sync::reconcile::manifest::{Part, SessionId, StorePath};
use claude_session_sync::reconcile::plan::Target;
use claude_session_sync::reconcile::transcript::Digest;
use claude_session_sync::store::apply::{Applied, Expected, Job, apply};
use claude_session_sync::store::tree::Tree;
use claude_session_sync::store::vault::{Note, Reason, Vault};

/// One store with its vault.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) tree: Tree,
    pub(crate) vault: Vault,
}

pub(crate) fn id() -> SessionId {
    "6f869d7b-ce51-4e00-8a05-674dde6aa368".parse().unwrap()
}

pub(crate) fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap()
}

pub(crate) fn note(bytes: &[u8], reason: Reason) -> Note {
    Note::new(id(), Part::Transcript, reason, "here", at(), (bytes.len() as u64, Digest::of(bytes)))
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    pub(crate) fn within(dir: tempfile::TempDir) -> Self {
        fs::create_dir_all(dir.path().join("claude/projects/-w")).unwrap();
        let tree = Tree::open(&dir.path().join("claude")).unwrap().unwrap();
        let vault = Vault::open(&dir.path().join("data")).unwrap();
        Self { dir, tree, vault }
    }

    pub(crate) fn path(&self) -> StorePath {
        StorePath { project: "-w".parse().unwrap(), session: id(), part: Part::Transcript }
    }

    /// The transcript's file.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("claude/projects").join(self.path().to_string())
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    /// What a plan would have seen of the transcript now.
    pub(crate) fn seen(&self, reason: Reason) -> Expected {
        let bytes = fs::read(self.file()).unwrap();
        let stamp = self.tree.status(&self.path()).unwrap().unwrap().stamp;
        Expected::File { stamp, length: bytes.len() as u64, digest: Digest::of(&bytes), note: Box::new(note(&bytes, reason)) }
    }

    /// Installs these bytes over what was expected.
    pub(crate) fn install(&mut self, new: &[u8], expected: Expected, is_live: &dyn Fn() -> io::Result<bool>) -> io::Result<Applied> {
        let source = self.dir.path().join("source");
        fs::write(&source, [new, b"more behind it"].concat()).unwrap();
        let target = Target { length: new.len() as u64, digest: Digest::of(new), modified: Some(1_600_000_000) };
        let path = self.path();
        apply(&self.tree, &mut self.vault, &Job { path: &path, expected, target, source: &source, is_live })
    }

    pub(crate) fn staged(&self) -> Vec<String> {
        names(&self.dir.path().join("data/stage"))
    }

    /// The bytes of every object in the vault, sorted.
    pub(crate) fn kept(&self) -> Vec<Vec<u8>> {
        let folder = self.dir.path().join("data/vault/displaced").join(id().to_string());
        let objects = names(&folder).into_iter().filter(|name| !name.ends_with(".json"));
        let mut kept: Vec<Vec<u8>> = objects.map(|name| fs::read(folder.join(name)).unwrap()).collect();
        kept.sort();
        kept
    }

    pub(crate) fn inode(&self) -> u64 {
        fs::metadata(self.file()).unwrap().ino()
    }
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub(crate) fn append(path: &Path, bytes: &[u8]) {
    io::Write::write_all(&mut fs::OpenOptions::new().append(true).open(path).unwrap(), bytes).unwrap();
}
