//! A store as its client works on it: a directory of a real file system, or a map. This machine's is always a directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use claude_session_sync::reconcile::manifest::{Part, ProjectName, SessionId, StorePath};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, openat};
use serde_json::json;

use crate::memory::{CLONE, Store};

/// What a file is at one moment. Equal marks: nobody wrote to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) bytes: Vec<u8>,
    pub(crate) mark: [i64; 4],
}

/// Every file of a session, by its path below `projects/`.
pub(crate) type Files = BTreeMap<StorePath, Seen>;

/// A store.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Memory(Arc<Mutex<Store>>),
    Directory(Directory),
}

/// A client's directory, and the clone that its sessions are of.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    pub(crate) claude: PathBuf,
    pub(crate) clone: PathBuf,
    kept: Option<u32>,
    live: BTreeMap<SessionId, u32>,
}

impl Directory {
    /// Of a client that keeps a registry.
    pub(crate) fn make(claude: PathBuf, clone: PathBuf) -> Self {
        fs::create_dir_all(claude.join("sessions")).unwrap();
        fs::create_dir_all(claude.join("projects")).unwrap();
        Self { claude, clone, kept: None, live: BTreeMap::new() }
    }

    fn file(&self, path: &StorePath) -> PathBuf {
        self.claude.join("projects").join(path.to_string())
    }

    /// Everything below the client's directory that a pass must leave alone: names, inodes, sizes, times.
    pub(crate) fn marks(&self) -> BTreeMap<PathBuf, [i64; 4]> {
        let mut marks = BTreeMap::new();
        let mut open = vec![self.claude.clone()];
        while let Some(next) = open.pop() {
            let metadata = next.symlink_metadata().unwrap();
            if metadata.is_dir() {
                open.extend(fs::read_dir(&next).unwrap().map(|entry| entry.unwrap().path()));
            }
            marks.insert(next, mark(&metadata));
        }
        marks
    }

    /// A client opens a session, if a process can be found to stand for it.
    fn open(&mut self, session: SessionId) {
        let taken: BTreeSet<u32> = self.live.values().copied().collect();
        let Some(pid) = [std::process::id(), 1].into_iter().find(|pid| !taken.contains(pid)) else { return };
        fs::write(self.entry(pid), json!({ "pid": pid, "sessionId": session, "status": "idle" }).to_string()).unwrap();
        self.live.insert(session, pid);
    }

    fn entry(&self, pid: u32) -> PathBuf {
        self.claude.join(format!("sessions/{pid}.json"))
    }
}

fn mark(metadata: &fs::Metadata) -> [i64; 4] {
    let time = |seconds: i64, nanoseconds: i64| seconds * 1_000_000_000 + nanoseconds;
    let (modified, changed) = (time(metadata.mtime(), metadata.mtime_nsec()), time(metadata.ctime(), metadata.ctime_nsec()));
    [i64::try_from(metadata.ino()).unwrap(), i64::try_from(metadata.size()).unwrap(), modified, changed]
}

impl Place {
    /// Where the client here works.
    pub(crate) fn clone_path(&self) -> String {
        match self {
            Self::Memory(_) => CLONE.to_owned(),
            Self::Directory(directory) => directory.clone.display().to_string(),
        }
    }

    /// Where a session lies, or would. A far directory is on the machine of this test, so the clone here is one there, too, as soon as a
    /// transcript there names it; a client goes on where the session was put.
    pub(crate) fn path(&self, session: SessionId, part: Part) -> StorePath {
        let own = ProjectName::of(&self.clone_path());
        let lies = |directory: &Directory| {
            let projects = fs::read_dir(directory.claude.join("projects")).unwrap().map(|project| project.unwrap());
            let held = projects.filter(|project| project.path().join(format!("{session}.jsonl")).exists());
            held.map(|project| project.file_name().to_str().unwrap().parse().unwrap()).min()
        };
        let project = match self {
            Self::Memory(_) => own,
            Self::Directory(directory) => lies(directory).unwrap_or(own),
        };
        StorePath { project, session, part }
    }

    /// What a file holds; nothing if it is not there.
    pub(crate) fn read(&self, path: &StorePath) -> Vec<u8> {
        match self {
            Self::Memory(store) => store.lock().unwrap().files.get(path).map(|file| file.bytes.clone()).unwrap_or_default(),
            Self::Directory(directory) => fs::read(directory.file(path)).unwrap_or_default(),
        }
    }

    /// The sessions whose transcripts lie here.
    pub(crate) fn present(&self) -> BTreeSet<SessionId> {
        match self {
            Self::Memory(store) => store.lock().unwrap().files.keys().filter(|path| path.part == Part::Transcript).map(|path| path.session).collect(),
            Self::Directory(directory) => {
                let projects = fs::read_dir(directory.claude.join("projects")).unwrap().flat_map(|project| fs::read_dir(project.unwrap().path()).unwrap());
                projects.filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".jsonl")?.parse().ok()).collect()
            }
        }
    }

    /// Everything that lies here.
    pub(crate) fn files(&self) -> Files {
        match self {
            Self::Memory(store) => {
                let store = store.lock().unwrap();
                let seen = |file: &crate::memory::File| {
                    let mark = [i64::try_from(file.inode).unwrap(), 0, file.modified * 1_000_000_000, i64::try_from(file.changed).unwrap()];
                    Seen { bytes: file.bytes.clone(), mark }
                };
                store.files.iter().map(|(path, file)| (path.clone(), seen(file))).collect()
            }
            Self::Directory(directory) => {
                let root = directory.claude.join("projects");
                let mut files = Files::new();
                below(&root, &mut |file| {
                    if let Ok(path) = file.path.parse::<StorePath>() {
                        files.insert(path, file.look());
                    }
                });
                files
            }
        }
    }

    /// The client writes a file as a whole, in place, at that time by the clock of this side.
    pub(crate) fn write(&mut self, path: &StorePath, bytes: Vec<u8>, at: i64) {
        match self {
            Self::Memory(store) => store.lock().unwrap().write(path, bytes),
            Self::Directory(directory) => {
                let file = directory.file(path);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).open(file).unwrap();
                file.write_all(&bytes).unwrap();
                file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(at).unwrap())).unwrap();
            }
        }
    }

    /// A file is given a time, as a copy from elsewhere gives it one.
    pub(crate) fn touch(&mut self, path: &StorePath, time: i64) {
        match self {
            Self::Memory(store) => store.lock().unwrap().touch(path, time),
            Self::Directory(directory) => {
                let file = fs::OpenOptions::new().write(true).open(directory.file(path)).unwrap();
                file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time).unwrap())).unwrap();
            }
        }
    }

    /// For how many days the client keeps sessions, if its settings say.
    pub(crate) fn kept(&self) -> Option<u32> {
        match self {
            Self::Memory(store) => store.lock().unwrap().kept,
            Self::Directory(directory) => directory.kept,
        }
    }

    pub(crate) fn keep_for(&mut self, days: u32) {
        match self {
            Self::Memory(store) => store.lock().unwrap().kept = Some(days),
            Self::Directory(directory) => {
                fs::write(directory.claude.join("settings.json"), json!({ "cleanupPeriodDays": days }).to_string()).unwrap();
                directory.kept = Some(days);
            }
        }
    }

    /// The client, or a person, deletes a session.
    pub(crate) fn delete(&mut self, session: SessionId) {
        match self {
            Self::Memory(store) => store.lock().unwrap().files.retain(|path, _| path.session != session),
            Self::Directory(directory) => {
                for path in Self::Directory(directory.clone()).files().into_keys().filter(|path| path.session == session) {
                    fs::remove_file(directory.file(&path)).unwrap();
                }
            }
        }
    }

    /// Every session goes.
    pub(crate) fn wipe(&mut self) {
        match self {
            Self::Memory(store) => store.lock().unwrap().files.clear(),
            Self::Directory(directory) => {
                fs::remove_dir_all(directory.claude.join("projects")).unwrap();
                fs::create_dir(directory.claude.join("projects")).unwrap();
            }
        }
    }

    /// A new store in the place of this one: nothing of it is left, our own things included.
    pub(crate) fn rebuild(&mut self) {
        match self {
            Self::Memory(store) => {
                let mut store = store.lock().unwrap();
                (store.replica, store.live, store.kept) = (None, BTreeSet::new(), None);
                store.files.clear();
                store.vault.clear();
                store.forgotten.clear();
            }
            Self::Directory(directory) => {
                fs::remove_dir_all(&directory.claude).unwrap();
                *directory = Directory::make(directory.claude.clone(), directory.clone.clone());
            }
        }
    }

    /// A client opens a session, or leaves it.
    pub(crate) fn set_live(&mut self, session: SessionId, live: bool) {
        match self {
            Self::Memory(store) => {
                let open = &mut store.lock().unwrap().live;
                let _ = if live { open.insert(session) } else { open.remove(&session) };
            }
            Self::Directory(directory) if live => {
                if !directory.live.contains_key(&session) {
                    directory.open(session);
                }
            }
            Self::Directory(directory) => {
                if let Some(pid) = directory.live.remove(&session) {
                    fs::remove_file(directory.entry(pid)).unwrap();
                }
            }
        }
    }

    pub(crate) fn is_live(&self, session: SessionId) -> bool {
        match self {
            Self::Memory(store) => store.lock().unwrap().is_live(session),
            Self::Directory(directory) => directory.live.contains_key(&session),
        }
    }

    /// Everybody leaves.
    pub(crate) fn rest(&mut self) {
        let open: Vec<SessionId> = match self {
            Self::Memory(store) => store.lock().unwrap().live.iter().copied().collect(),
            Self::Directory(directory) => directory.live.keys().copied().collect(),
        };
        open.into_iter().for_each(|session| self.set_live(session, false));
    }

    /// This side's clock.
    pub(crate) fn set_clock(&self, clock: i64) {
        if let Self::Memory(store) = self {
            store.lock().unwrap().clock = clock;
        }
    }

    /// What the vault beside a far store keeps: of which session, and the bytes.
    pub(crate) fn vault(&self) -> Vec<(SessionId, Vec<u8>)> {
        match self {
            Self::Memory(store) => {
                let store = store.lock().unwrap();
                store.vault.iter().map(|(name, bytes)| (name.session().unwrap(), bytes.clone())).collect()
            }
            Self::Directory(directory) => {
                let mut kept = Vec::new();
                below(&directory.claude.join(".claude-session-sync/vault"), &mut |file| {
                    let session = file.name.split('.').next().unwrap().parse();
                    kept.extend(session.ok().map(|session| (session, file.look().bytes)));
                });
                kept
            }
        }
    }
}

/// A regular file that was met below a directory.
pub(crate) struct Met<'a> {
    /// From that directory on.
    pub(crate) path: &'a str,
    pub(crate) name: &'a str,
    parent: BorrowedFd<'a>,
}

impl Met<'_> {
    /// What it is at this moment.
    pub(crate) fn look(&self) -> Seen {
        let file = openat(self.parent, self.name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let mut file = fs::File::from(file);
        let metadata = file.metadata().unwrap();
        let mut bytes = vec![0; usize::try_from(metadata.size()).unwrap()];
        file.read_exact(&mut bytes).unwrap();
        Seen { bytes, mark: mark(&metadata) }
    }
}

/// Every regular file below a directory, if that is there.
pub(crate) fn below(directory: &Path, take: &mut dyn FnMut(&Met<'_>)) {
    if let Ok(directory) = openat(CWD, directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        walk(directory, &mut String::new(), take);
    }
}

fn walk(directory: OwnedFd, path: &mut String, take: &mut dyn FnMut(&Met<'_>)) {
    let mut directory = Dir::new(directory).unwrap();
    while let Some(entry) = directory.read() {
        let entry = entry.unwrap();
        let (name, length) = (entry.file_name().to_str().unwrap(), path.len());
        path.push_str(name);
        match entry.file_type() {
            FileType::Directory if name != "." && name != ".." => {
                let inner = openat(directory.fd().unwrap(), name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
                path.push('/');
                walk(inner, path, take);
            }
            FileType::RegularFile => take(&Met { path, name, parent: directory.fd().unwrap() }),
            FileType::Unknown => panic!("this file system does not say what {path} is"),
            _ => {}
        }
        path.truncate(length);
    }
}
