//! A report in words: what a pass did, for people at a terminal and for pipes.

use std::collections::{BTreeMap, BTreeSet};

use super::render::{Cell, Render, Style, Table};
use super::words::{bytes, counted, cut, joined, sessions, short, titled};
use crate::reconcile::manifest::{Part, SessionId};
use crate::reconcile::report::{Action, ActionResult, Forgetting, Forgotten, Outcome, Report, Verb, Visit};

/// Lines of one kind that a terminal is shown; the rest is counted.
const MOST_LINES: usize = 6;
/// Longest title beside other columns.
const LONGEST_TITLE: usize = 60;

/// Prints a report. A pass with nothing to say is one line on a terminal and nothing elsewhere.
pub(super) fn report(report: &Report, render: &mut Render) {
    actions(report, render);
    conflicts(report, render);
    forgotten(report, render);
    refused(report, render);
    for placed in &report.unplaced {
        let name = placed.repository.full_name();
        render.note(&format!("no clone of {name} is known here: its sessions lie in {}", placed.project));
        render.note(&format!("  to change that: [[repository]] name = \"{name}\", path = \"~/…\"   (claude-session-sync config path)"));
    }
    for visit in &report.visits {
        visit_lines(visit, render);
    }
    report.notes.iter().for_each(|note| render.note(note));
    passed_over(report, render);
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
        (0, failed) => return format!("{failed} failed, none visited"),
        (visited, failed) => format!("{visited} visited, {failed} failed"),
    };
    let transcripts = || report.actions.iter().filter(|action| action.part == Part::Transcript);
    let came = |here: bool| transcripts().filter(|action| (action.at == "here") == here && counts(action)).count();
    let wait = report.left.iter().filter(|left| left.word == "waiting").count()
        + transcripts().filter(|action| matches!(action.result, Some(ActionResult::Deferred(_)))).count();
    let waits = match wait {
        0 => String::new(),
        1 => ", 1 session waits".to_owned(),
        wait => format!(", {wait} sessions wait"),
    };
    let side = report.actions.iter().filter(|action| action.part != Part::Transcript && counts(action)).count();
    match (came(true), came(false), report.dry_run) {
        (0, 0, _) if report.actions.is_empty() && wait == 0 => format!("{places}: nothing to do"),
        (0, 0, _) if side == 0 => format!("{places}: nothing moved{waits}"),
        (0, 0, _) => format!("{places}: {} moved{waits}", counted(side, "side file")),
        (here, there, dry_run) => {
            let (came, went, end) = if dry_run { ("would come here", "would go there", "; nothing was changed") } else { ("came here", "went there", "") };
            let moved = [(here, came), (there, went)].into_iter().filter(|(count, _)| *count > 0);
            let moved: Vec<String> = moved.map(|(count, words)| format!("{} {words}", sessions(count))).collect();
            format!("{places}: {}{waits}{end}", moved.join(", "))
        }
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
        let title = cut(&titled(of.title.as_deref(), session), LONGEST_TITLE);
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
            Some(fork) => format!("the other is the session {}", short(*fork)),
            None => "the other had no message of its own and is in the vault".to_owned(),
        };
        render.note(&format!("\"{title}\" was continued on both sides ({} lost); {kept}", joined(&conflict.lost_at)));
    }
}

/// What it meant that sessions were forgotten: counted by place where something was, or is to be, removed.
fn forgotten(report: &Report, render: &mut Render) {
    let places: BTreeSet<&str> = report.forgotten.iter().map(|forgotten| forgotten.at.as_str()).collect();
    for at in places {
        for what in [Forgetting::Removed, Forgetting::Due, Forgetting::Open] {
            let count = report.forgotten.iter().filter(|forgotten| forgotten.at == at && forgotten.what == what).count();
            if count > 0 {
                render.note(&format!("{at}: {} {}", counted(count, "forgotten session"), phrase(&what, count)));
            }
        }
    }
    let lines = report.forgotten.iter().filter_map(|Forgotten { at, session, what }| match what {
        Forgetting::Failed { why } => Some(format!("{at}: the forgotten session {session} cannot be removed: {why}")),
        Forgetting::Again => Some(format!("{session} was forgotten and lies here again: `claude-session-sync forget {session}`")),
        Forgetting::ByAnother => {
            Some(format!("{at}: {session} was forgotten there by another machine; `claude-session-sync forget {session}` forgets it here too"))
        }
        Forgetting::Removed | Forgetting::Due | Forgetting::Noted | Forgetting::Open => None,
    });
    bounded(lines.collect(), render);
}

fn phrase(what: &Forgetting, count: usize) -> &'static str {
    match (what, count) {
        (Forgetting::Due, _) => "would be removed there",
        (Forgetting::Open, 1) => "is open there, and goes once it is closed",
        (Forgetting::Open, _) => "are open there, and go once they are closed",
        (_, 1) => "was removed there",
        _ => "were removed there",
    }
}

/// Sessions that are not touched for a reason of their own. What waits is counted in the summary; what was deleted, is older or is
/// kept back by the settings is `status`'s to say.
fn refused(report: &Report, render: &mut Render) {
    let refused = report.left.iter().filter(|left| matches!(left.word.as_str(), "refused" | "unproven"));
    let lines = refused.map(|left| format!("{}: \"{}\" is left as it is: {}", left.at, titled(left.title.as_deref(), left.session), left.why));
    bounded(lines.collect(), render);
}

/// Names that were passed over, but for those that were refused by their session's title.
fn passed_over(report: &Report, render: &mut Render) {
    let places = report.visits.iter().map(|visit| (visit.display_name.as_str(), &visit.skipped)).chain([("here", &report.skipped)]);
    for (place, skipped) in places {
        let told = |why: &str| report.left.iter().any(|left| left.why == why);
        let lines = skipped.iter().filter(|skipped| !told(&skipped.why)).map(|skipped| format!("{place}: {} {}", skipped.name, skipped.why));
        bounded(lines.collect(), render);
    }
}

/// Some lines; on a terminal not more than one can read.
fn bounded(lines: Vec<String>, render: &mut Render) {
    let most = if render.is_terminal() { MOST_LINES } else { usize::MAX };
    lines.iter().take(most).for_each(|line| render.note(line));
    if lines.len() > most {
        render.note(&format!("and {} more (--json has them all)", lines.len() - most));
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
    visit.notes.iter().for_each(|note| render.note(&format!("{}: {note}", visit.display_name)));
}
