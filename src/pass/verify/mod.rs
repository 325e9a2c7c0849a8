//! Would the client resume every synced session? Asked of this machine, where all of it can be read, and of a far side, as far as
//! its listing and its digests tell.
//!
//! Promises: reads only. Here nothing is written but empty directories of ours; there nothing is installed, fetched or noted, and
//! nothing is remembered. What is asked of the far side goes over the connection that a pass uses. [`judge`] decides, and is pure.
//! A synced session is one whose repository is known, and that the settings do not keep out.

pub mod here;
pub mod judge;
pub mod there;

use serde::Serialize;

use crate::reconcile::manifest::{Part, ProjectName, SessionId, StorePath};
use crate::reconcile::project::RepositoryId;
use crate::reconcile::report::Fault as Broken;

pub use judge::Fault;

/// One session, judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// The session.
    pub session: SessionId,
    /// Its title; foreign text.
    pub title: Option<String>,
    /// Its repository.
    pub repository: RepositoryId,
    /// Where its transcript lies below `projects/`.
    pub files: Vec<String>,
    /// A client has it open: what is written at this moment is no fault.
    pub open: bool,
    /// Why the client would not resume it; none where it would.
    pub faults: Vec<Fault>,
}

/// Where transcripts of a session in these project directories lie.
fn files<'p>(session: SessionId, projects: impl IntoIterator<Item = &'p ProjectName>) -> Vec<String> {
    projects.into_iter().map(|project| StorePath { project: project.clone(), session, part: Part::Transcript }.to_string()).collect()
}

/// What came of looking at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// It was looked at.
    Looked,
    /// It does not run, or the settings keep it out.
    NotVisited {
        /// Why.
        why: String,
    },
    /// It could not be looked at, or not to the end.
    Failed {
        /// What failed.
        fault: Broken,
    },
}

/// One place, judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// `here`, or what its owner calls it.
    pub place: String,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// After how many days the client there deletes a session that was not touched.
    pub kept_days: u32,
    /// The sessions.
    pub sessions: Vec<Judged>,
    /// Sessions of its repositories that lie here and not there. No fault: they may be too old, or deleted there.
    pub absent: usize,
}

impl Verified {
    /// Sessions with a fault.
    pub fn faulty(&self) -> impl Iterator<Item = &Judged> {
        self.sessions.iter().filter(|judged| !judged.faults.is_empty())
    }
}
