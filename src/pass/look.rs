//! A look: one request to GitHub's list between two passes, which is no activity, and what it says to do.
//!
//! Promises: connects to no codespace, takes no lock and writes nothing; of what is remembered it reads only what the quiet rule
//! needs. A list that cannot be had is a fault in the answer, and nothing is concluded from it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Local, TimeDelta, Utc};

use super::account::Refused;
use super::quiet::{policy, shown};
use super::target::Target;
use super::{Setting, logged};
use crate::codespace::github::Codespace;
use crate::reconcile::quiet::{Because, Occasion, Verdict, Waiting, verdict};
use crate::reconcile::report::Fault;
use crate::state::{Glance, glance};

/// A codespace that GitHub deletes within this time is spoken of.
const SOON: TimeDelta = TimeDelta::days(7);

/// What a look saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looked {
    /// Codespaces to visit now, and why: the names for a pass with [`Occasion::Look`].
    pub due: Vec<(String, Because)>,
    /// When the first of those that are left in quiet is due, if it still runs then.
    pub next: Option<DateTime<Utc>>,
    /// Codespaces that GitHub is about to delete.
    pub expiring: Vec<Expiring>,
    /// Who runs, machines included; none where there is no list, or only a part of it.
    pub running: Option<BTreeSet<String>>,
    /// Why there is no list.
    pub fault: Option<Fault>,
    /// How long GitHub then wants to be left alone.
    pub wait: Option<Duration>,
}

/// A stopped codespace on its way to deletion, with something in it that may be nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiring {
    /// Its name.
    pub name: String,
    /// What its owner calls it.
    pub display_name: String,
    /// When GitHub will delete it.
    pub at: DateTime<Utc>,
    /// What may be lost.
    pub unsaved: Unsaved,
    /// The commands that save it: the user starts it, nothing of ours does.
    pub command: String,
}

/// Why not everything in a codespace is known to be home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsaved {
    /// It was never visited.
    NeverVisited,
    /// At the last visit so many sessions had bytes that are not here.
    NotHome(usize),
    /// It was started after the last visit.
    StartedSince,
    /// The user was at work at the last visit, and it was not visited again before it stopped.
    AtWork,
}

impl std::fmt::Display for Unsaved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NeverVisited => f.write_str("it was never visited"),
            Self::NotHome(1) => f.write_str("1 session is not home"),
            Self::NotHome(count) => write!(f, "{count} sessions are not home"),
            Self::StartedSince => f.write_str("it was started after the last visit"),
            Self::AtWork => f.write_str("it was in use at the last visit"),
        }
    }
}

/// Looks once.
pub async fn look(setting: &Setting, now: DateTime<Utc>) -> Looked {
    if !setting.config.github.enabled {
        return Looked::default();
    }
    let listing = match setting.account.list(setting).await {
        Ok(listing) => listing,
        Err(Refused { fault, wait }) => {
            logged::listed(Some(&fault), &setting.said);
            return Looked { fault: Some(fault), wait, ..Looked::default() };
        }
    };
    logged::listed(None, &setting.said);
    let state = setting.paths.state.clone();
    let known = tokio::task::spawn_blocking(move || glance(&state)).await.unwrap_or_default();
    let mut looked = seen(&listing.codespaces, &known, setting, now);
    let whole = listing.unreadable.is_empty() && !listing.partly_hidden;
    looked.running = whole.then(|| running(&listing.codespaces, setting));
    looked
}

fn running(codespaces: &[Codespace], setting: &Setting) -> BTreeSet<String> {
    let codespaces = codespaces.iter().filter(|codespace| codespace.may_be_visited()).map(|codespace| codespace.name.to_string());
    codespaces.chain(setting.config.machines.iter().map(|machine| machine.name.to_string())).collect()
}

/// What a list says to do.
fn seen(codespaces: &[Codespace], known: &BTreeMap<String, Glance>, setting: &Setting, now: DateTime<Utc>) -> Looked {
    let mut looked = Looked::default();
    for codespace in codespaces {
        let target = Target::codespace(codespace.clone(), &setting.config);
        let mut memory = known.get(&target.name).cloned().unwrap_or_default();
        setting.contacts.recall(&target.name, &mut memory.quiet, now);
        // What the settings keep from being visited is neither due nor ours to speak of.
        if target.admitted.is_empty() {
            continue;
        }
        let verdict = verdict(&memory.quiet.remembered(), &shown(codespace), Occasion::Look, policy(&setting.config), now);
        match verdict {
            Verdict::Due(because) => looked.due.push((target.name, because)),
            Verdict::Wait { because: Waiting::NotRunning, .. } => looked.expiring.extend(expiring(codespace, target, &memory, now)),
            Verdict::Wait { until, .. } => {
                tracing::debug!(name = %target.name, why = %verdict.words(now, &Local), "not due");
                looked.next = looked.next.into_iter().chain(until).min();
            }
        }
    }
    looked
}

/// A codespace that runs is not spoken of: the rule sees to it, and a failing visit is told elsewhere.
fn expiring(codespace: &Codespace, target: Target, memory: &Glance, now: DateTime<Utc>) -> Option<Expiring> {
    let at = codespace.retention_expires_at.filter(|at| *at - now < SOON && !codespace.is_on_its_way())?;
    let unsaved = match memory.visited {
        None => Unsaved::NeverVisited,
        Some(_) if memory.not_home > 0 => Unsaved::NotHome(memory.not_home),
        Some(_) if codespace.last_used_at.is_some() && codespace.last_used_at != memory.episode => Unsaved::StartedSince,
        Some(_) if memory.quiet.active => Unsaved::AtWork,
        Some(_) => return None,
    };
    let Target { name, display_name, .. } = target;
    let command = format!("gh codespace ssh -c {name} -- true && claude-session-sync sync {name} --wait");
    Some(Expiring { name, display_name, at, unsaved, command })
}
