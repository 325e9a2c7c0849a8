//! What the agent is handed, and what it is told of it: the pass and the look, as functions.
//!
//! Promises: plain values. The agent knows of names, times and faults; what a session is, it never learns.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, Utc};
use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};

use super::bell::Ring;
use crate::reconcile::report::Fault;

/// What a pass is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Errand {
    /// Who rang.
    pub rings: BTreeSet<Ring>,
    /// Only these, because a look found their visits due; everything for none.
    pub only: Option<BTreeSet<String>>,
}

/// How a pass ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassEnd {
    /// When it began.
    pub began: DateTime<Utc>,
    /// When it ended.
    pub ended: DateTime<Utc>,
    /// In one line.
    pub summary: String,
    /// What came of it.
    pub outcome: PassOutcome,
    /// A disk of this machine that cannot be written.
    pub disk: Option<Fault>,
    /// Those that were tried.
    pub places: Vec<PlaceEnd>,
    /// Who runs; none where that is not known.
    pub running: Option<BTreeSet<String>>,
}

/// What came of a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PassOutcome {
    /// The codespaces were listed, whatever became of single visits.
    Made,
    /// Another process was making one.
    Busy,
    /// The codespaces could not be listed; what needs no list was done.
    Unlisted(Fault),
    /// This machine could not do it. That says nothing of the list.
    Failed(Fault),
}

/// What came of one visit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceEnd {
    /// Whose.
    pub name: String,
    /// Why it failed, if it did.
    pub fault: Option<Fault>,
}

/// What a look saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LookEnd {
    /// Whose visit is due.
    pub due: BTreeSet<String>,
    /// When the next one is, if nothing changes before.
    pub next: Option<DateTime<Utc>>,
    /// Who will be deleted soon, with something that is not known to be home.
    pub expiring: Vec<Expiring>,
    /// Who runs; none where that is not known.
    pub running: Option<BTreeSet<String>>,
    /// Why there is no list.
    pub fault: Option<Fault>,
    /// How long GitHub wants to be left alone, in seconds.
    pub retry_after: Option<u64>,
}

/// A codespace that GitHub will delete soon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiring {
    /// Which.
    pub name: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Why its sessions are not known to be home.
    pub why: String,
    /// What saves its sessions.
    pub hint: String,
}

/// A pass, begun by its errand.
pub type PassWork = dyn Fn(Errand) -> LocalBoxFuture<'static, PassEnd>;
/// A look.
pub type LookWork = dyn Fn() -> LocalBoxFuture<'static, LookEnd>;

/// What the agent does when it does something.
pub struct Work {
    /// Makes a pass.
    pub pass: Box<PassWork>,
    /// Looks who runs.
    pub look: Box<LookWork>,
    /// Where the token came from that GitHub was last asked with, in words.
    pub token: Box<dyn Fn() -> Option<String>>,
    /// When the last good pass began, as far as it is remembered.
    pub last_good: Option<DateTime<Utc>>,
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("last_good", &self.last_good).finish_non_exhaustive()
    }
}
