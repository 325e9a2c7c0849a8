//! A pass in the log: one line per codespace or machine that was tried, one for the pass.
//!
//! Promises: outcomes and counts. Never: what a session says, its title included.

use super::PassError;
use crate::reconcile::report::{ActionResult, Outcome, Report, Visit};

/// Logs how a pass ended. Codespaces that were not to be visited are mentioned at the level `debug` only.
pub fn log(ended: &Result<Report, PassError>) {
    let report = match ended {
        Ok(report) => report,
        Err(error) => return tracing::error!(%error, "no pass could be made"),
    };
    report.visits.iter().for_each(visit);
    if let Some(fault) = &report.listing {
        tracing::error!(reason = %fault.message, "the codespaces could not be listed");
    }
    let count = |good: bool| report.actions.iter().filter(|action| matches!(action.result, Some(ActionResult::Done)) == good).count();
    let of = |failed: bool| report.visits.iter().filter(|visit| if failed { is_failed(visit) } else { visit.outcome == Outcome::Visited }).count();
    let (visited, failed, installed, other, conflicts) = (of(false), of(true), count(true), count(false), report.conflicts.len());
    let milliseconds = (report.ended - report.began).num_milliseconds();
    tracing::info!(visited, failed, installed, not_installed = other, conflicts, dry_run = report.dry_run, milliseconds, "pass ended");
}

fn is_failed(visit: &Visit) -> bool {
    matches!(visit.outcome, Outcome::Failed(_))
}

fn visit(visit: &Visit) {
    let Visit { name, outcome, sessions, not_home, connections, channels, bytes_in, bytes_out, .. } = visit;
    match outcome {
        Outcome::Visited => tracing::info!(%name, sessions, not_home, connections, channels, bytes_in, bytes_out, "visited"),
        Outcome::NotVisited { why } => tracing::debug!(%name, %why, "not visited"),
        Outcome::Failed(fault) => tracing::warn!(%name, reason = %fault.message, connections, channels, bytes_in, bytes_out, "visit failed"),
    }
}
