//! Every transcript of the store as the client would find it: each place where it lies, whose it is, who may write to it, and what
//! can be read in it now.
//!
//! Promises: reads only, and reads the bytes themselves: nothing is taken from memory. Links are not followed. A directory that
//! cannot be listed ends the inspection with an error.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::os::fd::BorrowedFd;

use rustix::fs::FileType;

use super::read::{self, Wanted};
use super::scan::entries;
use super::tree::{Make, Status, Tree, descend, open_regular, status_at};
use crate::reconcile::manifest::{ProjectName, SessionId};

/// The list that some clients keep of a project directory's sessions, and are reported to show nothing beside.
const INDEX: &str = "sessions-index.json";

/// As much of an index is read.
const LONGEST_INDEX: u64 = 64 << 20;

/// One place where a session's transcript lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lying {
    /// The project directory.
    pub project: ProjectName,
    /// What `stat` says.
    pub status: Status,
    /// What it holds; an error in words where it cannot be read, or is no file.
    pub held: Result<Holding, String>,
    /// Whether an index of the directory hides it.
    pub index: Index,
}

/// What a transcript holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holding {
    /// Bytes of complete lines.
    pub complete: u64,
    /// All bytes.
    pub all: u64,
    /// Lines of the user and of the assistant.
    pub messages: u64,
    /// The working directory that it names first.
    pub began_in: Option<String>,
    /// Its title.
    pub title: Option<String>,
}

/// What the `sessions-index.json` of a project directory says of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Index {
    /// There is none.
    Absent,
    /// It names the session.
    Names,
    /// It does not.
    Omits,
}

/// Looks at every transcript.
///
/// # Errors
/// When a directory cannot be listed.
pub fn inspect(tree: &Tree) -> io::Result<BTreeMap<SessionId, Vec<Lying>>> {
    let mut found: BTreeMap<SessionId, Vec<Lying>> = BTreeMap::new();
    let (projects, _) = entries(rustix::io::dup(tree.root())?)?;
    for (name, kind) in projects {
        let Some(project) = name.parse::<ProjectName>().ok().filter(|_| kind == FileType::Directory) else { continue };
        let directory = match descend(tree.root(), &name, Make::Nothing) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            directory => directory?,
        };
        let (names, directory) = entries(directory)?;
        let directory = directory.fd()?;
        let index = index(directory);
        for (name, kind) in names {
            let session = name.strip_suffix(".jsonl").and_then(|stem| stem.parse::<SessionId>().ok());
            let Some(session) = session.filter(|_| kind != FileType::Directory) else { continue };
            let Some(status) = status_at(directory, &name)? else { continue };
            let held = hold(directory, &name).map_err(|error| error.to_string());
            let says = match &index {
                None => Index::Absent,
                Some(text) if names_it(text, session) => Index::Names,
                Some(_) => Index::Omits,
            };
            found.entry(session).or_default().push(Lying { project: project.clone(), status, held, index: says });
        }
    }
    Ok(found)
}

fn hold(directory: BorrowedFd<'_>, name: &str) -> io::Result<Holding> {
    let (file, _) = open_regular(directory, name)?;
    let reading = read::lines(file, &Wanted::default())?;
    Ok(Holding {
        complete: reading.content.length,
        all: reading.raw_length,
        messages: reading.message_count,
        began_in: reading.working_directories.into_iter().next(),
        title: reading.title,
    })
}

/// The text of the index. One that cannot be read names nobody.
fn index(directory: BorrowedFd<'_>) -> Option<Vec<u8>> {
    let status = status_at(directory, INDEX).ok().flatten()?;
    let mut text = Vec::new();
    if status.regular
        && let Ok((file, _)) = open_regular(directory, INDEX)
    {
        let _ = file.take(LONGEST_INDEX).read_to_end(&mut text);
    }
    Some(text)
}

fn names_it(index: &[u8], session: SessionId) -> bool {
    memchr::memmem::find(index, session.to_string().as_bytes()).is_some()
}
