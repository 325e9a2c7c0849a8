//! A session is taken back: what this machine keeps of it comes to lie in the store again, where it was or as a session of its own.
//!
//! Promises: under the pass lock, by the same [`apply`](crate::store::apply) as everything else, over nothing that is there; the
//! bytes are hashed before the first file of a session is made. What came back is known to be here, so a later deletion counts.
//! Never: a version over another, or anything under a client that is about to write.

mod put;
mod versions;

use std::io;
use std::path::PathBuf;

use chrono::{DateTime, Utc};

use super::survey::Survey;
use super::undivided::undivided;
use super::{LOCK_PATIENCE, PassError, Setting};
use crate::lock::{Alone, Lock};
use crate::reconcile::manifest::{Part, SessionId};
use crate::reconcile::named::{NotOne, meant};
use crate::reconcile::restore::{Decision, Form, Lies, Standing, decide};
use crate::reconcile::transcript::Digest;

pub use versions::{Kept, Row, Version, rows, versions};

/// What its user wants back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The session.
    pub session: SessionId,
    /// The beginning of a version's digest; none for the one that follows from the rest.
    pub version: Option<String>,
    /// In which form.
    pub form: Form,
    /// Write nothing.
    pub dry_run: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Ended {
    /// The session that was asked for.
    pub session: SessionId,
    /// Its versions on this machine, the copy that counts first.
    pub versions: Vec<Version>,
    /// What was done.
    pub did: Did,
}

/// What was done.
#[derive(Debug)]
pub enum Did {
    /// It lies here, and nothing is kept that it lacks.
    Nothing {
        /// Where.
        path: PathBuf,
    },
    /// Nothing: its user has to choose among these.
    Choose(Vec<Digest>),
    /// Nothing: the version is a session that lies here.
    LiesHere {
        /// Which.
        session: SessionId,
        /// Where.
        path: PathBuf,
    },
    /// It came back, or would.
    Restored(Restored),
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// As which session.
    pub session: SessionId,
    /// Where it lies.
    pub path: PathBuf,
    /// Its title.
    pub title: Option<String>,
    /// Bytes of its transcript.
    pub bytes: u64,
    /// Side files that came with it.
    pub side: usize,
    /// Side files that the archive no longer holds as they were.
    pub left_out: Vec<String>,
    /// The days after which the client deletes sessions, if its lines are older: then its time is the present one.
    pub expired: Option<u32>,
    /// There is more of it; whoever holds that extends it again.
    pub short: bool,
}

/// Why no bytes of a session are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// Its user let go of them then.
    LetGo(DateTime<Utc>),
    /// The archive is switched off.
    NoArchive,
    /// That is not known.
    Unknown,
}

impl Lack {
    fn words(self) -> String {
        match self {
            Self::LetGo(at) => format!(": the vault let go of them on {}", at.format("%Y-%m-%d")),
            Self::NoArchive => ": the archive is switched off".to_owned(),
            Self::Unknown => String::new(),
        }
    }
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// As a pass.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// A version that is none of the session's.
    #[error("no version of it begins with `{}`", .0.escape_debug())]
    NoVersion(String),
    /// The beginning of several.
    #[error("`{0}` begins several of its versions")]
    SeveralVersions(String),
    /// A client has it open, and no file yet.
    #[error("a client here has it open and is about to write it")]
    Live,
    /// What is here must not be touched.
    #[error("what lies here of it cannot be used: {0}")]
    Refused(String),
    /// Nothing is kept.
    #[error("no bytes of it are kept{}", .0.words())]
    NoBytes(Lack),
    /// Only files beside its transcript are kept.
    #[error("it never had a whole line; what lay beside it is kept in {}", .0.display())]
    NoLine(PathBuf),
    /// The bytes are not those that were kept.
    #[error("the version {} is damaged: {} does not hold the bytes that were put there", .0.short(), .1.display())]
    Damaged(Digest, PathBuf),
    /// Nothing says where it belongs.
    #[error("nothing says which directory it belongs to")]
    NoPlace,
    /// Something came in between.
    #[error("{} was written to in the meantime", .0.display())]
    Changed(PathBuf),
    /// The disk.
    #[error("{what} cannot be written")]
    Disk {
        /// What.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

fn disk(what: &'static str) -> impl FnOnce(io::Error) -> RestoreError {
    move |source| RestoreError::Disk { what, source }
}

/// Takes one session back.
///
/// # Errors
/// When nothing came back; see [`RestoreError`].
pub async fn restore(setting: &Setting, request: &Request, now: DateTime<Utc>) -> Result<Ended, RestoreError> {
    let lock = Lock::take(&setting.paths.state, Alone::Pass, LOCK_PATIENCE).await.map_err(PassError::from)?;
    let (setting, request) = (setting.clone(), request.clone());
    undivided(&lock, move || Work { survey: Survey::open(&setting, now)?, dry_run: request.dry_run }.run(&request)).await?
}

struct Work {
    survey: Survey,
    dry_run: bool,
}

impl Work {
    fn run(mut self, request: &Request) -> Result<Ended, RestoreError> {
        let (id, here) = (request.session, &self.survey.here);
        let unreadable = || here.sessions.get(&id).and_then(|session| session.unreadable.clone());
        if let Some(why) = here.refused.get(&id).cloned().or_else(unreadable).filter(|_| request.form == Form::InPlace) {
            return Err(RestoreError::Refused(why));
        }
        let versions = versions(here, id);
        let did = self.decided(request, &versions)?;
        if let Did::Restored(Restored { session, bytes, side, left_out, expired, .. }) = &did
            && !self.dry_run
        {
            tracing::info!(%session, asked = %id, bytes, side_files = side, left_out = left_out.len(), expired = expired.is_some(), "restored");
        }
        Ok(Ended { session: id, versions, did })
    }

    fn no_bytes(&self, id: SessionId) -> RestoreError {
        let here = &self.survey.here;
        let record = here.archive.records().get(&id);
        let beside = record.filter(|record| record.content.length == 0).and_then(|record| record.side.keys().next());
        if let Some(file) = beside.and_then(|side| here.archive.file(id, &Part::Side(side.clone()))) {
            return RestoreError::NoLine(file.ancestors().find(|folder| folder.ends_with(id.to_string())).unwrap_or(&file).to_owned());
        }
        RestoreError::NoBytes(match record.and_then(|record| record.dropped) {
            Some(at) => Lack::LetGo(at),
            None if here.setting.archive => Lack::Unknown,
            None => Lack::NoArchive,
        })
    }

    fn decided(&mut self, request: &Request, versions: &[Version]) -> Result<Did, RestoreError> {
        let id = request.session;
        let lying = self.survey.here.sessions.get(&id).filter(|session| session.transcript.is_some());
        let path = lying.map(|session| self.survey.here.file(&session.project, id, &Part::Transcript));
        let wanted = request.version.as_ref().map(|text| {
            meant(text, versions.iter().map(|version| (version.digest(), version.digest()))).map_err(|not| match not {
                NotOne::None => RestoreError::NoVersion(text.clone()),
                NotOne::Several => RestoreError::SeveralVersions(text.clone()),
            })
        });
        let known: Vec<(Digest, Standing)> = versions.iter().map(|version| (version.digest(), version.standing)).collect();
        let lies = if path.is_some() { Lies::Here } else { Lies::Nowhere };
        let chosen = |digest: Digest| {
            let mut fitting = versions.iter().filter(|version| version.digest() == digest);
            let whole = fitting.clone().find(|version| !version.damaged);
            match whole.or_else(|| fitting.next()) {
                Some(version) if !version.damaged => Ok(version),
                Some(version) => Err(RestoreError::Damaged(digest, version.path.clone())),
                None => Err(RestoreError::NoVersion(digest.short())),
            }
        };
        Ok(match (decide(lies, &known, wanted.transpose()?, request.form), path) {
            (Decision::Nothing, Some(path)) => Did::Nothing { path },
            (Decision::NoBytes | Decision::Nothing, _) => return Err(self.no_bytes(id)),
            (Decision::Choose(among), _) => Did::Choose(among),
            (Decision::InPlace { version, short }, _) => {
                let version = chosen(version)?;
                let project = self.place(id, id, &version.directories).ok_or(RestoreError::NoPlace)?;
                Did::Restored(self.in_place(id, version, short, project)?)
            }
            (Decision::AsNew { version }, _) => self.as_new(id, chosen(version)?)?,
        })
    }
}
