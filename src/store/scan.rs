//! What lies in this machine's store: every session file with its stamp, and what was passed over and why.
//!
//! Promises: reads names and `stat`s only, changes nothing. A directory that cannot be listed ends the scan with an error;
//! nothing may be concluded from half a listing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{Dir, FileType};

use super::tree::{Make, Status, Tree, descend, status_at};
use crate::reconcile::manifest::{Part, ProjectName, SessionId, SidePath, Stamp, StorePath, is_known_neighbour};
use crate::reconcile::shared::put;
use litemap::LiteMap;

/// Most directories below a session's folder, one in the other; a side path has one component more.
const DEEPEST: usize = 6;

/// One session as it lies here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its project directory.
    pub project: ProjectName,
    /// Its transcript, absent where only the folder is there.
    pub transcript: Option<Stamp>,
    /// Its side files.
    pub side: LiteMap<SidePath, Stamp>,
}

impl Found {
    /// Where a part of it lies.
    #[must_use]
    pub fn path(&self, session: SessionId, part: &Part) -> StorePath {
        StorePath { project: self.project.clone(), session, part: part.clone() }
    }
}

/// A name that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Below `projects/`; foreign text.
    pub name: String,
    /// Why.
    pub why: String,
}

/// The whole store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// By session. One whose transcript cannot be taken is not here but in `refused`.
    pub sessions: BTreeMap<SessionId, Found>,
    /// Sessions that are there and must not be taken for absent: in two project directories, or no regular file of ours.
    pub refused: BTreeMap<SessionId, String>,
    /// Every project directory, also those without a session.
    pub projects: Vec<ProjectName>,
    /// What was passed over.
    pub skipped: Vec<Skipped>,
}

/// Scans the store.
///
/// # Errors
/// When a directory cannot be listed.
pub fn scan(tree: &Tree) -> io::Result<Scan> {
    let mut scan = Scan::default();
    let owner = rustix::process::geteuid().as_raw();
    let (names, _) = entries(rustix::io::dup(tree.root())?)?;
    for (name, kind) in names {
        let Ok(project) = name.parse::<ProjectName>() else {
            scan.skip(&name, "is no project directory of the client");
            continue;
        };
        match kind {
            FileType::Directory => {}
            FileType::Symlink => {
                scan.skip(&name, "is a symbolic link");
                continue;
            }
            _ => continue,
        }
        let Some(directory) = enter(tree.root().as_fd(), &name)? else { continue };
        Project { scan: &mut scan, project: &project, owner }.walk(directory)?;
        scan.projects.push(project);
    }
    let Scan { sessions, refused, .. } = &mut scan;
    sessions.retain(|session, _| !refused.contains_key(session));
    Ok(scan)
}

impl Scan {
    /// Takes sessions out, and gives those that were there.
    pub fn set_aside(&mut self, which: impl Fn(SessionId) -> bool) -> BTreeSet<SessionId> {
        let found = self.sessions.extract_if(.., |session, _| which(*session)).map(|(session, _)| session).collect::<BTreeSet<_>>();
        found.into_iter().chain(self.refused.extract_if(.., |session, _| which(*session)).map(|(session, _)| session)).collect()
    }

    fn skip(&mut self, name: &str, why: &str) {
        self.skipped.push(Skipped { name: name.to_owned(), why: why.to_owned() });
    }
}

struct Project<'a> {
    scan: &'a mut Scan,
    project: &'a ProjectName,
    owner: u32,
}

impl Project<'_> {
    fn walk(&mut self, directory: OwnedFd) -> io::Result<()> {
        let (names, directory) = entries(directory)?;
        let directory = directory.fd()?;
        for (name, kind) in names {
            let shown = format!("{}/{name}", self.project);
            if is_known_neighbour(&shown) {
                continue;
            }
            if kind == FileType::Directory {
                match (name.parse::<SessionId>(), enter(directory, &name)) {
                    (Ok(session), Ok(Some(folder))) => self.folder(folder, session, "", 1)?,
                    (Ok(_), Ok(None)) => {}
                    (Ok(_), Err(error)) => return Err(error),
                    (Err(error), _) => self.scan.skip(&shown, &error.to_string()),
                }
                continue;
            }
            match shown.parse::<StorePath>() {
                Ok(path) => self.take(directory, &name, path)?,
                Err(error) => self.scan.skip(&shown, &error.to_string()),
            }
        }
        Ok(())
    }

    fn folder(&mut self, directory: OwnedFd, session: SessionId, below: &str, depth: usize) -> io::Result<()> {
        let (names, directory) = entries(directory)?;
        let directory = directory.fd()?;
        for (name, kind) in names {
            let inside = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
            let shown = format!("{}/{session}/{inside}", self.project);
            match inside.parse::<SidePath>() {
                Ok(_) if kind == FileType::Directory && depth < DEEPEST => {
                    if let Some(below) = enter(directory, &name)? {
                        self.folder(below, session, &inside, depth + 1)?;
                    }
                }
                Ok(side) => self.take(directory, &name, StorePath { project: self.project.clone(), session, part: Part::Side(side) })?,
                Err(error) => self.scan.skip(&shown, &error.to_string()),
            }
        }
        Ok(())
    }

    fn take(&mut self, directory: BorrowedFd<'_>, name: &str, path: StorePath) -> io::Result<()> {
        let Some(Status { stamp, owner, regular, .. }) = status_at(directory, name)? else { return Ok(()) };
        let why = match (regular, owner == self.owner) {
            (true, true) => {
                self.keep(path, stamp);
                return Ok(());
            }
            (true, false) => "belongs to another user",
            (false, _) => "is not a regular file",
        };
        self.scan.skip(&path.to_string(), why);
        if path.part == Part::Transcript {
            self.scan.refused.insert(path.session, format!("{path} {why}"));
        }
        Ok(())
    }

    fn keep(&mut self, path: StorePath, stamp: Stamp) {
        let StorePath { project, session, part } = path;
        let found = self.scan.sessions.entry(session).or_insert_with(|| Found { project: project.clone(), transcript: None, side: LiteMap::new() });
        if found.project != project {
            let why = format!("lies in {} too; the client resumes neither", found.project);
            self.scan.skip(&format!("{project}/{session}"), &why);
            self.scan.refused.insert(session, why);
            return;
        }
        match part {
            Part::Transcript => found.transcript = Some(stamp),
            Part::Side(side) => put(&mut found.side, side, stamp),
        }
    }
}

/// A subdirectory; none if it has vanished since its name was read.
fn enter(directory: BorrowedFd<'_>, name: &str) -> io::Result<Option<OwnedFd>> {
    match descend(directory, name, Make::Nothing) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        entered => entered.map(Some),
    }
}

/// Names and kinds in a directory, sorted, so that a scan always tells the same story; and the directory, still open.
pub(super) fn entries(directory: OwnedFd) -> io::Result<(Vec<(String, FileType)>, Dir)> {
    let mut directory = Dir::new(directory)?;
    // A duplicate of a descriptor shares its place in the directory.
    directory.rewind();
    let mut entries = Vec::new();
    while let Some(entry) = directory.read() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                let stat = rustix::fs::statat(directory.fd()?, entry.file_name(), rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode)
            }
            kind => kind,
        };
        entries.push((String::from_utf8_lossy(name).into_owned(), kind));
    }
    entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok((entries, directory))
}
