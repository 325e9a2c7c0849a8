//! Files of this machine that somebody else may have written: the state, the archive's index, a vault's note, the registry.

use std::fs;
use std::path::Path;

use claude_session_sync::reconcile::manifest::Part;
use claude_session_sync::state::{self, State};
use claude_session_sync::store::archive::Archive;
use claude_session_sync::store::live;
use claude_session_sync::store::vault::Vault;
use tempfile::TempDir;

/// A directory in memory, where there is one: these checks write a file each.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.expect("a directory")
}

thread_local! {
    static DIRECTORY: TempDir = directory();
}

pub(super) fn state(bytes: &[u8]) {
    DIRECTORY.with(|directory| {
        fs::write(directory.path().join("state.json"), bytes).expect("written");
        let state = State::read(directory.path());
        let glance = state::glance(directory.path());
        assert!(state.visits.keys().all(|name| glance.contains_key(name)), "both read one file");
    });
}

pub(super) fn index(bytes: &[u8]) {
    DIRECTORY.with(|directory| {
        let root = directory.path().join("index");
        let vault = Vault::open(&root).expect("a vault");
        fs::write(root.join("vault/archive/index.jsonl"), bytes).expect("written");
        let archive = Archive::open(&vault, true).expect("an archive");
        for (session, record) in archive.records() {
            assert_eq!(record.session, *session);
            let parts = record.side.keys().cloned().map(Part::Side).chain([Part::Transcript]);
            assert!(parts.filter_map(|part| archive.file(*session, &part)).chain(archive.files(*session)).all(|file| file.starts_with(&root)));
        }
    });
}

pub(super) fn vault_note(bytes: &[u8]) {
    DIRECTORY.with(|directory| {
        let root = directory.path().join("note");
        let displaced = root.join("vault/displaced/x");
        fs::create_dir_all(&displaced).expect("a directory");
        fs::write(displaced.join("1.json"), bytes).expect("written");
        let vault = Vault::open(&root).expect("a vault");
        assert!(vault.objects().len() <= 1 && vault.objects().iter().all(|object| object.path == displaced.join("1")));
    });
}

/// The entry of a living process: this one.
pub(super) fn registry(bytes: &[u8]) {
    DIRECTORY.with(|directory| {
        let sessions = directory.path().join("claude/sessions");
        fs::create_dir_all(&sessions).expect("a directory");
        fs::write(sessions.join(format!("{}.json", std::process::id())), bytes).expect("written");
        let read = live::registry(&directory.path().join("claude")).expect("a registry");
        assert!(read != live::Registry::None);
    });
}
