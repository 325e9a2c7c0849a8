//! What lies in this machine's store: every session file with its stamp, and what was passed over and why.
//!
//! Promises: reads names and `stat`s only, changes nothing. A directory that cannot be listed ends the scan with an error;
//! nothing may be concluded from half a listing.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Dir, FileType};

use super::tree::{Make, Status, Tree, descend, status_at};
use crate::reconcile::manifest::{Part, ProjectName, SessionId, SidePath, Stamp, StorePath, is_known_neighbour};

/// One session as it lies here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its project directory.
    pub project: ProjectName,
    /// Its transcript, absent where only the folder is there.
    pub transcript: Option<Stamp>,
    /// Its side files.
    pub side: BTreeMap<SidePath, Stamp>,
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
    /// By session. One that lies in two project directories is not here but in `skipped`.
    pub sessions: BTreeMap<SessionId, Found>,
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
    let mut twice = Vec::new();
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
        let directory = descend(tree.root(), &name, Make::Nothing)?;
        Project { scan: &mut scan, project: &project, owner, twice: &mut twice }.walk(directory)?;
        scan.projects.push(project);
    }
    for session in twice {
        scan.sessions.remove(&session);
    }
    Ok(scan)
}

impl Scan {
    fn skip(&mut self, name: &str, why: &str) {
        self.skipped.push(Skipped { name: name.to_owned(), why: why.to_owned() });
    }
}

struct Project<'a> {
    scan: &'a mut Scan,
    project: &'a ProjectName,
    owner: u32,
    twice: &'a mut Vec<SessionId>,
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
                match name.parse::<SessionId>() {
                    Ok(session) => self.folder(descend(directory, &name, Make::Nothing)?, session, "", 1)?,
                    Err(error) => self.scan.skip(&shown, &error.to_string()),
                }
                continue;
            }
            match shown.parse::<StorePath>() {
                Ok(path) => {
                    if let Some(stamp) = self.regular(directory, &name, &shown)? {
                        self.keep(path, stamp);
                    }
                }
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
            if kind == FileType::Directory && depth < 6 {
                self.folder(descend(directory, &name, Make::Nothing)?, session, &inside, depth + 1)?;
                continue;
            }
            match inside.parse::<SidePath>() {
                Ok(side) => {
                    if let Some(stamp) = self.regular(directory, &name, &shown)? {
                        self.keep(StorePath { project: self.project.clone(), session, part: Part::Side(side) }, stamp);
                    }
                }
                Err(error) => self.scan.skip(&shown, &error.to_string()),
            }
        }
        Ok(())
    }

    fn regular(&mut self, directory: BorrowedFd<'_>, name: &str, shown: &str) -> io::Result<Option<Stamp>> {
        let Some(Status { stamp, owner, regular, .. }) = status_at(directory, name)? else { return Ok(None) };
        if !regular {
            self.scan.skip(shown, "is not a regular file");
        } else if owner != self.owner {
            self.scan.skip(shown, "belongs to another user");
        } else {
            return Ok(Some(stamp));
        }
        Ok(None)
    }

    fn keep(&mut self, path: StorePath, stamp: Stamp) {
        let StorePath { project, session, part } = path;
        let found = self.scan.sessions.entry(session).or_insert_with(|| Found { project: project.clone(), transcript: None, side: BTreeMap::new() });
        if found.project != project {
            let why = format!("lies in {} too; the client resumes neither", found.project);
            self.scan.skip(&format!("{project}/{session}"), &why);
            self.twice.push(session);
            return;
        }
        match part {
            Part::Transcript => found.transcript = Some(stamp),
            Part::Side(side) => drop(found.side.insert(side, stamp)),
        }
    }
}

/// Names and kinds in a directory, sorted, so that a scan always tells the same story; and the directory, still open.
fn entries(directory: OwnedFd) -> io::Result<(Vec<(String, FileType)>, Dir)> {
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
