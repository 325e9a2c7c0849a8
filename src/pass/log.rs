//! The log of a pass: one line per codespace, one per pass, with fixed messages and fields. Never content, prompts or tokens.

use crate::reconcile::manifest::Part;
use crate::reconcile::report::{ActionResult, Outcome, Report, Visit};

/// Writes what a pass did.
pub(super) fn write(report: &Report) {
    report.visits.iter().for_each(visit);
    for skipped in report.visits.iter().flat_map(|visit| visit.skipped.iter().map(move |skipped| (visit.name.as_str(), skipped))) {
        tracing::debug!(codespace = skipped.0, name = %skipped.1.name, why = %skipped.1.why, "passed over");
    }
    for action in &report.actions {
        if let Some(ActionResult::Failed(why)) = &action.result {
            tracing::warn!(at = %action.at, session = %action.session, part = super::group::part_words(&action.part), %why, "not installed");
        }
    }
    let transcripts = |here: bool| {
        let done = report.actions.iter().filter(|action| action.part == Part::Transcript && action.result == Some(ActionResult::Done));
        done.filter(|action| (action.at == "here") == here).count()
    };
    let visited = report.visits.iter().filter(|visit| visit.outcome == Outcome::Visited).count();
    let failed = report.visits.iter().filter(|visit| matches!(visit.outcome, Outcome::Failed(_))).count();
    let took = (report.ended - report.began).num_milliseconds();
    if let Some(fault) = &report.listing {
        tracing::warn!(why = %fault.message, "codespaces not listed");
    }
    let (here, there, conflicts, dry_run) = (transcripts(true), transcripts(false), report.conflicts.len(), report.dry_run);
    tracing::info!(visited, failed, here, there, conflicts, dry_run, milliseconds = took, "pass");
}

fn visit(visit: &Visit) {
    let Visit { name, sessions, not_home, connections, channels, bytes_in, bytes_out, .. } = visit;
    match &visit.outcome {
        Outcome::Visited => tracing::info!(codespace = %name, sessions, not_home, connections, channels, bytes_in, bytes_out, "visited"),
        Outcome::NotVisited { why } => tracing::debug!(codespace = %name, %why, "not visited"),
        Outcome::Failed(fault) => tracing::warn!(codespace = %name, connections, channels, why = %fault.message, "visit failed"),
    }
}
