//! A report in words: what a pass did, for people at a terminal and for pipes.

use std::collections::BTreeMap;

use super::render::{Cell, Render, Style, Table};
use super::words::{bytes, counted, sessions, titled};
use crate::reconcile::manifest::{Part, SessionId};
use crate::reconcile::report::{Action, ActionResult, Outcome, Report, Verb, Visit};

/// Prints a report. A pass with nothing to say is one line on a terminal and nothing elsewhere.
pub(super) fn report(report: &Report, render: &mut Render) {
    actions(report, render);
    conflicts(report, render);
    left(report, render);
    for placed in &report.unplaced {
        let name = placed.repository.full_name();
        render.note(&format!("no clone of {name} is known here: its sessions lie in {}", placed.project));
        render.note(&format!("  to change that: [[repository]] name = \"{name}\", path = \"~/…\"   (claude-session-sync config path)"));
    }
    for visit in &report.visits {
        visit_lines(visit, render);
    }
    report.notes.iter().for_each(|note| render.note(note));
    for skipped in &report.skipped {
        render.note(&format!("here: {} {}", skipped.name, skipped.why));
    }
    if let Some(fault) = &report.listing {
        let failure = super::failure::fault(super::Kind::Failed, "the codespaces cannot be listed", fault);
        render.failure(&failure);
    }
    if render.is_terminal() {
        render.say(&summary(report));
    }
}

/// The pass in one line.
pub(super) fn summary(report: &Report) -> String {
    let visited = report.visits.iter().filter(|visit| visit.outcome == Outcome::Visited).count();
    let failed = report.visits.iter().filter(|visit| matches!(visit.outcome, Outcome::Failed(_))).count();
    let places = match (visited, failed) {
        (0, 0) => return if report.listing.is_some() { "nothing was visited".to_owned() } else { "no codespace is running".to_owned() },
        (visited, 0) => format!("{visited} visited"),
        (visited, failed) => format!("{visited} visited, {failed} failed"),
    };
    let counted =
        |here: bool| report.actions.iter().filter(|action| action.part == Part::Transcript && (action.at == "here") == here && counts(action)).count();
    match (counted(true), counted(false), report.dry_run) {
        (0, 0, _) => format!("{places}: everything is equal"),
        (here, there, false) => format!("{places}: {} came here, {} went there", sessions(here), sessions(there)),
        (here, there, true) => format!("{places}: {} would come here, {} would go there; nothing was changed", sessions(here), sessions(there)),
    }
}

/// The gravest thing in a report, in one line.
pub(super) fn worst(report: &Report) -> Option<String> {
    let listing = report.listing.as_ref().map(|fault| fault.message.clone());
    let visit = report.visits.iter().find_map(|visit| match &visit.outcome {
        Outcome::Failed(fault) => Some(format!("{}: {}", visit.name, fault.message)),
        Outcome::Visited | Outcome::NotVisited { .. } => None,
    });
    let action = || {
        report.actions.iter().find_map(|action| match &action.result {
            Some(ActionResult::Failed(why)) => Some(format!("{}: {}", action.at, why)),
            _ => None,
        })
    };
    listing.or(visit).or_else(action)
}

fn counts(action: &Action) -> bool {
    matches!(action.result, None | Some(ActionResult::Done))
}

fn actions(report: &Report, render: &mut Render) {
    if report.actions.is_empty() {
        return;
    }
    // Side files are counted beside their session.
    let mut rows: BTreeMap<(bool, &str, SessionId), (Option<&Action>, usize)> = BTreeMap::new();
    for action in &report.actions {
        let row = rows.entry((action.at != "here", &action.at, action.session)).or_default();
        match action.part {
            Part::Transcript => row.0 = Some(action),
            Part::Side(_) => row.1 += 1,
        }
    }
    let mut table = Table::new(["WHERE", "WHAT", "SESSION", "REPOSITORY"]);
    for ((_, at, session), (transcript, side)) in rows {
        let Some(of) = transcript.or_else(|| report.actions.iter().find(|action| action.at == at && action.session == session)) else { continue };
        let beside = if side > 0 { format!(" + {}", counted(side, "side file")) } else { String::new() };
        let (what, style) = match &of.result {
            None => (format!("would {}{beside}", verb(of, transcript.is_some())), Style::Plain),
            Some(ActionResult::Done) => (format!("{}{beside}", verb(of, transcript.is_some())), Style::Good),
            Some(ActionResult::Deferred(why)) => (format!("later: {why}"), Style::Faint),
            Some(ActionResult::Failed(why)) => (format!("failed: {why}"), Style::Bad),
        };
        let title = titled(of.title.as_deref(), session);
        table.row([Cell::from(at), Cell::new(what, style), Cell::from(title), Cell::from(of.repository.to_string())]);
    }
    render.table(&table);
}

fn verb(action: &Action, transcript: bool) -> String {
    match (transcript, action.verb) {
        (false, _) => "side files".to_owned(),
        (_, Verb::Create) => format!("new, {}", bytes(action.bytes)),
        (_, Verb::Extend) => format!("+ {}", bytes(action.bytes)),
        (_, Verb::Replace) => "replaced by the newer copy".to_owned(),
        (_, Verb::Fork) => "kept as its own session".to_owned(),
    }
}

fn conflicts(report: &Report, render: &mut Render) {
    for conflict in &report.conflicts {
        let title = titled(conflict.title.as_deref(), conflict.session);
        let kept = match &conflict.fork {
            Some(fork) => format!("the other is the session {fork}"),
            None => "the other had no message of its own and is in the vault".to_owned(),
        };
        render.note(&format!("\"{title}\" was continued on both sides ({} lost); {kept}", conflict.lost_at.join(", ")));
    }
}

fn left(report: &Report, render: &mut Render) {
    for left in report.left.iter().filter(|left| left.word != "withheld") {
        render.note(&format!("{}: \"{}\" is left as it is: {}", left.at, titled(left.title.as_deref(), left.session), left.why));
    }
}

fn visit_lines(visit: &Visit, render: &mut Render) {
    match &visit.outcome {
        Outcome::Failed(fault) => {
            let mut failure = super::Failure::new(super::Kind::Partly, format!("{}: {}", visit.name, fault.message));
            failure.hint.clone_from(&fault.hint);
            render.failure(&failure);
        }
        Outcome::NotVisited { why } if render.is_terminal() => render.note(&format!("{}: not visited ({why})", visit.display_name)),
        Outcome::Visited | Outcome::NotVisited { .. } => {}
    }
    if let Some(older) = visit.standings.get("older").filter(|_| render.is_terminal()) {
        render.note(&format!("{}: {older} older sessions stay where they are (--days N takes them along)", visit.name));
    }
    visit.notes.iter().for_each(|note| render.note(&format!("{}: {note}", visit.name)));
    for skipped in &visit.skipped {
        render.note(&format!("{}: {} {}", visit.name, skipped.name, skipped.why));
    }
}
