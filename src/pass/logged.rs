//! A pass in the log: where each line belongs, one line per codespace or machine that was tried, one for the pass.
//!
//! The spans are `pass{id}` › `codespace{name}` (machines, too) › `transfer{verb files bytes}`. They are made at the level
//! `error`, so that a line of any level says where it belongs. Steps are at `debug`, files at `trace`.
//!
//! Promises: fixed messages; a failure that stays is said once, then counted at `debug`; outcomes, counts, names and reasons in fields. Never: what a session says, its title included.

use std::collections::BTreeMap;

use tracing::{Instrument as _, Span};
use uuid::Uuid;

use super::said::{Said, Saying, Subject};
use super::{Options, PassError, Setting};
use crate::lock::LockError;
use crate::reconcile::report::{Action, ActionResult, Fault, Forgetting, Outcome, Report, Visit};

/// Where a transfer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// From there to here.
    Get,
    /// From here to there.
    Put,
}

/// Runs a pass in a span with an id by which its lines are found again, and logs how it ended.
///
/// # Errors
/// Those of the pass.
pub async fn around(setting: &Setting, options: &Options, pass: impl Future<Output = Result<Report, PassError>>) -> Result<Report, PassError> {
    let id = Uuid::new_v4().simple().to_string();
    let told = async {
        tracing::debug!(named = options.names.len(), direction = ?options.direction, dry_run = options.dry_run, "pass began");
        let ended = pass.await;
        log(&ended, &setting.said);
        ended
    };
    told.instrument(tracing::error_span!("pass", id = &id[..8])).await
}

/// The span of all that concerns one codespace or machine.
#[must_use]
pub fn codespace_span(name: &str) -> Span {
    tracing::error_span!("codespace", name)
}

/// The span of one request that moves bytes.
#[must_use]
pub fn transfer_span(transfer: Transfer, files: usize, bytes: u64) -> Span {
    let verb = match transfer {
        Transfer::Get => "get",
        Transfer::Put => "put",
    };
    tracing::error_span!("transfer", verb, files, bytes)
}

/// One file, once it is known what came of it.
pub fn file(action: &Action) {
    let Action { session, part, verb, bytes, result, .. } = action;
    let part = part.path(*session);
    match result {
        Some(ActionResult::Done) => tracing::trace!(%session, part, ?verb, bytes, "file installed"),
        Some(ActionResult::Deferred(why)) => tracing::trace!(%session, part, ?verb, why, "file deferred"),
        Some(ActionResult::Failed(reason)) => tracing::trace!(%session, part, ?verb, reason, "file not installed"),
        None => {}
    }
}

/// How a pass ended. Codespaces that were not to be visited are mentioned at the level `debug` only.
fn log(ended: &Result<Report, PassError>, said: &Said) {
    let report = match ended {
        Ok(report) => report,
        Err(error) => {
            let reason = error.whole();
            return match said.failed(Subject::Pass, &reason) {
                Saying::News if matches!(error, PassError::Lock(LockError::Busy { .. })) => tracing::info!(reason, "no pass could be made"),
                Saying::News => tracing::error!(reason, "no pass could be made"),
                Saying::Again(times) => tracing::debug!(reason, times, "no pass could be made"),
            };
        }
    };
    let _ = said.healed(&Subject::Pass);
    report.visits.iter().for_each(|of| codespace_span(&of.name).in_scope(|| visit(of, said)));
    report.visits.iter().for_each(|of| codespace_span(&of.name).in_scope(|| forgotten(&of.name, report, said)));
    failures(&report.actions, said);
    listed(report.listing.as_ref(), said);
    disk(report, said);
    let count = |good: bool| report.actions.iter().filter(|action| matches!(action.result, Some(ActionResult::Done)) == good).count();
    let of = |failed: bool| report.visits.iter().filter(|visit| if failed { is_failed(visit) } else { visit.outcome == Outcome::Visited }).count();
    let (visited, failed, installed, other, conflicts) = (of(false), of(true), count(true), count(false), report.conflicts.len());
    let milliseconds = (report.ended - report.began).num_milliseconds();
    tracing::info!(visited, failed, installed, not_installed = other, conflicts, dry_run = report.dry_run, milliseconds, "pass ended");
}

fn disk(report: &Report, said: &Said) {
    match &report.disk {
        Some(fault) => match said.failed(Subject::Disk, "") {
            Saying::News => tracing::error!(reason = %fault.message, "a disk of this machine cannot be written"),
            Saying::Again(times) => tracing::debug!(reason = %fault.message, times, "a disk of this machine cannot be written"),
        },
        None => {
            if let Some(failures) = said.healed(&Subject::Disk) {
                tracing::info!(failures, "the disks of this machine can be written again");
            }
        }
    }
    for note in &report.notes {
        // What follows a colon may name a file that is another one each time.
        let kind = note.split(':').next().unwrap_or_default();
        match said.failed(Subject::Note(kind.to_owned()), kind) {
            Saying::News => tracing::warn!(note, "pass warned"),
            Saying::Again(times) => tracing::debug!(note, times, "pass warned"),
        }
    }
}

/// Whether the codespaces could be listed, by a pass or by a look.
pub fn listed(fault: Option<&Fault>, said: &Said) {
    match fault {
        Some(Fault { message, hint, .. }) => {
            let hint = hint.as_deref().unwrap_or_default();
            match said.failed(Subject::List, message) {
                Saying::News => tracing::error!(reason = %message, hint, "the codespaces cannot be listed"),
                Saying::Again(times) => tracing::debug!(reason = %message, times, "the codespaces cannot be listed"),
            }
        }
        None => {
            if let Some(failures) = said.healed(&Subject::List) {
                tracing::info!(failures, "the codespaces can be listed again");
            }
        }
    }
}

fn is_failed(visit: &Visit) -> bool {
    matches!(visit.outcome, Outcome::Failed(_))
}

fn visit(visit: &Visit, said: &Said) {
    let Visit { name, outcome, sessions, not_home, connections, channels, bytes_in, bytes_out, .. } = visit;
    let subject = Subject::Visit(name.clone());
    match outcome {
        Outcome::Visited => {
            let failures = said.healed(&subject).unwrap_or(0);
            tracing::info!(sessions, not_home, connections, channels, bytes_in, bytes_out, failures_before = failures, "visited");
        }
        Outcome::NotVisited { why } => tracing::debug!(%why, "not visited"),
        Outcome::Failed(fault) => match said.failed(subject, &fault.message) {
            Saying::News => tracing::warn!(reason = %fault.message, connections, channels, bytes_in, bytes_out, "visit failed"),
            Saying::Again(times) => tracing::debug!(reason = %fault.message, times, connections, channels, bytes_in, bytes_out, "visit failed"),
        },
    }
}

/// Forgotten sessions at one place: one line, without a word of what they were.
fn forgotten(at: &str, report: &Report, said: &Said) {
    let of: Vec<&Forgetting> = report.forgotten.iter().filter(|of| of.at == at).map(|of| &of.what).collect();
    let count = |what: &Forgetting| of.iter().filter(|of| **of == what).count();
    let failed = of.iter().find_map(|of| if let Forgetting::Failed { why } = of { Some(why) } else { None });
    let (removed, noted, open, due) = (count(&Forgetting::Removed), count(&Forgetting::Noted), count(&Forgetting::Open), count(&Forgetting::Due));
    if removed + noted > 0 {
        tracing::info!(removed, noted, open, "forgotten sessions were removed");
    } else if open + due > 0 {
        tracing::debug!(open, due, "forgotten sessions lie there still");
    }
    if let Some(reason) = failed {
        match said.failed(Subject::Files(at.to_owned()), reason) {
            Saying::News => tracing::warn!(reason, "forgotten sessions cannot be removed"),
            Saying::Again(times) => tracing::debug!(reason, times, "forgotten sessions cannot be removed"),
        }
    }
}

/// Files that failed: one line a place, with the first reason. A full disk fails thousands for the same.
fn failures(actions: &[Action], said: &Said) {
    let mut failed: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for action in actions {
        if let Some(ActionResult::Failed(reason)) = &action.result {
            failed.entry(&action.at).or_insert((0, reason)).0 += 1;
        }
    }
    for (at, (files, reason)) in failed {
        let tell = || match said.failed(Subject::Files(at.to_owned()), reason) {
            Saying::News => tracing::warn!(files, reason, "files not installed"),
            Saying::Again(times) => tracing::debug!(files, reason, times, "files not installed"),
        };
        if at == "here" { tell() } else { codespace_span(at).in_scope(tell) }
    }
}
