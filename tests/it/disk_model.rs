//! A disk that may lose what was not made durable: a recording of a run, replayed up to any call, with every loss that a file system
//! may make of it.
//!
//! Data of a file is durable from its `fsync` on, or from a sync of everything; before that the file may be as it was then, empty
//! where it is new. Names are durable from an `fsync` of their directory on. What was not: in a *journal* all changes of names are
//! kept in their order up to some point, and any `fsync` keeps those before it; in a *loose* file system each directory may lag
//! behind on its own, a change of two directories at once happens in both or in none.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::stepper::{Call, Stop};

/// What a file holds.
pub(crate) type Content = Rc<Vec<u8>>;

#[derive(Debug, Clone)]
enum Change {
    /// A name for a new file, or for a second one of another.
    Named(PathBuf, usize),
    Moved(PathBuf, PathBuf),
    Exchanged(PathBuf, PathBuf),
    Removed(PathBuf),
    Made(PathBuf),
}

impl Change {
    fn directories(&self) -> Vec<&Path> {
        let paths: Vec<&PathBuf> = match self {
            Self::Named(path, _) | Self::Removed(path) | Self::Made(path) => vec![path],
            Self::Moved(one, two) | Self::Exchanged(one, two) => vec![one, two],
        };
        paths.into_iter().filter_map(|path| path.parent()).collect()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Names(Change),
    /// The file now holds this.
    Data(usize, Content),
    /// The file's data is durable.
    Synced(usize),
    /// The directory's names are durable.
    SyncedNames(PathBuf),
    /// Everything is durable.
    SyncedAll,
}

/// A run, as the disk saw it.
#[derive(Debug)]
pub(crate) struct Recording {
    roots: Vec<PathBuf>,
    /// Names and directories at the beginning, all of them durable.
    names: BTreeMap<PathBuf, usize>,
    directories: BTreeSet<PathBuf>,
    contents: Vec<Content>,
    steps: Vec<Step>,
    /// The names as they are now.
    now: BTreeMap<PathBuf, usize>,
    files: usize,
    /// Calls that the model does not know.
    pub(crate) unknown: BTreeSet<&'static str>,
}

/// One state that the disk may be in after a power cut.
#[derive(Debug)]
pub(crate) struct State {
    /// How it came to be.
    pub(crate) what: String,
    /// What bears a name.
    pub(crate) names: BTreeMap<PathBuf, Content>,
}

impl Recording {
    /// Begins with what lies below these directories, which one disk holds.
    pub(crate) fn of(roots: Vec<PathBuf>) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let mut recording = Self {
            roots: roots.clone(),
            names: BTreeMap::new(),
            directories: BTreeSet::new(),
            contents: Vec::new(),
            steps: Vec::new(),
            now: BTreeMap::new(),
            files: 0,
            unknown: BTreeSet::new(),
        };
        let (mut open, mut inodes) = (roots, BTreeMap::new());
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                let (path, metadata) = (entry.path(), entry.metadata().unwrap());
                if metadata.is_dir() {
                    open.push(path);
                } else if metadata.is_file() {
                    let file = *inodes.entry(metadata.ino()).or_insert_with(|| {
                        recording.contents.push(Rc::new(fs::read(&path).unwrap()));
                        recording.contents.len() - 1
                    });
                    recording.names.insert(path, file);
                }
            }
            recording.directories.insert(directory);
        }
        (recording.now, recording.files) = (recording.names.clone(), recording.contents.len());
        recording
    }

    fn is_below(&self, path: &Path) -> bool {
        self.roots.iter().any(|root| path.starts_with(root))
    }

    /// Takes in one call, when it has been made.
    pub(crate) fn saw(&mut self, call: &Call, stop: Stop) {
        let Stop::After(result) = stop else { return };
        let everywhere = matches!(call.name, "sync" | "syncfs");
        if call.reads || result < 0 || !(everywhere || call.paths.iter().any(|path| self.is_below(path))) {
            return;
        }
        let path = call.paths[0].clone();
        match call.name {
            "sync" | "syncfs" => self.steps.push(Step::SyncedAll),
            "fsync" | "fdatasync" => match self.now.get(&path) {
                Some(file) => self.steps.push(Step::Synced(*file)),
                None => self.steps.push(Step::SyncedNames(path)),
            },
            "open" | "openat" | "openat2" | "creat" => self.opened(call, path),
            "write" | "pwrite64" | "writev" | "copy_file_range" | "sendfile" | "splice" | "ftruncate" | "ioctl" => self.written(call, &path),
            "mkdir" | "mkdirat" => self.changes(Change::Made(path)),
            "rmdir" | "unlink" | "unlinkat" => self.changes(Change::Removed(path)),
            "link" | "linkat" => {
                let file = self.now[&path];
                self.changes(Change::Named(call.paths[1].clone(), file));
            }
            "renameat2" if call.argument & 2 == 2 => self.changes(Change::Exchanged(path, call.paths[1].clone())),
            "rename" | "renameat" | "renameat2" => self.changes(Change::Moved(path, call.paths[1].clone())),
            // Times and permissions are no content.
            "setxattr" | "fsetxattr" | "utimensat" | "utimes" | "chmod" | "fchmod" | "fchmodat" | "fchmodat2" | "chown" | "fchown" | "fchownat" => {}
            other => drop(self.unknown.insert(other)),
        }
    }

    fn opened(&mut self, call: &Call, path: PathBuf) {
        let is_new = !self.now.contains_key(&path);
        if is_new {
            self.files += 1;
            self.changes(Change::Named(path.clone(), self.files - 1));
        }
        let truncates = call.argument & u64::try_from(nix::libc::O_TRUNC).unwrap() != 0;
        if is_new || truncates || call.name == "creat" {
            self.steps.push(Step::Data(self.now[&path], Rc::default()));
        }
    }

    fn written(&mut self, call: &Call, path: &Path) {
        let Some(file) = self.now.get(path) else { return };
        let bytes = fs::read(format!("/proc/{}/fd/{}", call.thread, call.descriptor.unwrap())).unwrap();
        self.steps.push(Step::Data(*file, Rc::new(bytes)));
    }

    fn changes(&mut self, change: Change) {
        apply(&mut self.now, &mut BTreeSet::new(), &change);
        self.steps.push(Step::Names(change));
    }

    /// How many calls there are to cut behind.
    pub(crate) fn len(&self) -> usize {
        self.steps.len()
    }

    /// How everything stands behind so many calls while nothing is cut.
    pub(crate) fn standing(&self, cut: usize) -> State {
        let changes: Vec<usize> = (0..cut).filter(|at| matches!(self.steps[*at], Step::Names(_))).collect();
        self.state(cut, &changes, true)
    }

    /// Every state that a cut behind so many calls may leave.
    pub(crate) fn states(&self, cut: usize) -> Vec<State> {
        let steps = &self.steps[..cut];
        let journal = steps.iter().rposition(|step| !matches!(step, Step::Names(_) | Step::Data(..))).map_or(0, |at| at + 1);
        let changes: Vec<usize> = (0..cut).filter(|at| matches!(steps[*at], Step::Names(_))).collect();
        let mut kept: BTreeSet<Vec<usize>> = BTreeSet::new();
        // A journal: everything up to some point behind the last sync.
        for end in journal..=cut {
            kept.insert(changes.iter().copied().filter(|at| *at < end).collect());
        }
        // A loose one: from some change on, one directory lags behind, with whatever hangs on it; or all do.
        let pending: Vec<usize> = changes.iter().copied().filter(|at| !self.is_durable(*at, cut)).collect();
        for first in &pending {
            let mut lagging: BTreeSet<&Path> = BTreeSet::new();
            let is_kept = |at: &usize| {
                let Step::Names(change) = &steps[*at] else { return false };
                let lost = pending.contains(at) && (at == first || change.directories().iter().any(|directory| lagging.contains(directory)));
                if lost {
                    lagging.extend(change.directories());
                }
                !lost
            };
            kept.insert(changes.iter().copied().filter(is_kept).collect());
        }
        kept.insert(changes.iter().copied().filter(|at| !pending.contains(at)).collect());
        let both = |kept: Vec<usize>| [true, false].map(|data| self.state(cut, &kept, data));
        kept.into_iter().flat_map(both).collect()
    }

    fn is_durable(&self, change: usize, cut: usize) -> bool {
        let Step::Names(of) = &self.steps[change] else { return true };
        self.steps[change..cut].iter().any(|step| match step {
            Step::SyncedAll => true,
            Step::SyncedNames(directory) => of.directories().contains(&directory.as_path()),
            _ => false,
        })
    }

    /// The names that are left of these changes; with all data, or only with what is durable.
    fn state(&self, cut: usize, kept: &[usize], data: bool) -> State {
        let (mut names, mut directories) = (self.names.clone(), self.directories.clone());
        for at in kept {
            if let Step::Names(change) = &self.steps[*at] {
                apply(&mut names, &mut directories, change);
            }
        }
        let mut volatile = self.contents.clone();
        volatile.resize_with(self.files, Rc::default);
        let mut durable = volatile.clone();
        for step in &self.steps[..cut] {
            match step {
                Step::Data(file, content) => volatile[*file] = Rc::clone(content),
                Step::Synced(file) => durable[*file] = Rc::clone(&volatile[*file]),
                Step::SyncedAll => durable.clone_from(&volatile),
                _ => {}
            }
        }
        let contents = if data { volatile } else { durable };
        let reached = |path: &Path| path.ancestors().skip(1).take_while(|above| self.is_below(above)).all(|above| directories.contains(above));
        let names = names.into_iter().filter(|(path, _)| reached(path)).map(|(path, file)| (path, Rc::clone(&contents[file]))).collect();
        let last = self.steps[..cut].last().map(|step| format!("{step:?}").chars().take(200).collect::<String>());
        State { what: format!("cut behind {cut}, {last:?}, {} changes of names kept, data {data}", kept.len()), names }
    }
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, directories: &mut BTreeSet<PathBuf>, change: &Change) {
    match change {
        Change::Named(path, file) => drop(names.insert(path.clone(), *file)),
        Change::Moved(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        Change::Exchanged(one, two) => {
            if let (Some(first), Some(second)) = (names.get(one).copied(), names.get(two).copied()) {
                names.extend([(one.clone(), second), (two.clone(), first)]);
            }
        }
        Change::Removed(path) => {
            names.remove(path);
            directories.remove(path);
        }
        Change::Made(path) => drop(directories.insert(path.clone())),
    }
}
