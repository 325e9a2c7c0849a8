//! A [`Status`] for people: one row a codespace or machine and repository, then what needs a word, then when.

use chrono::{DateTime, Utc};

use super::agent;
use super::shape::{PlaceShown, Reasons, RepositoryShown, SessionShown, Status, Unplaced, word};
use crate::cli::render::{Cell, Render, Style, Table};
use crate::cli::words::{ago, bytes, cut, sessions, titled};
use crate::pass::compare::{At, Stand};
use crate::pass::survey::{KnownBy, Stale, Why};
use crate::reconcile::project::RepositoryId;

/// The words of a summary, the gravest first.
const WORDS: [&str; 12] = ["diverged", "refused", "forgotten", "waiting", "ahead", "behind", "unknown", "equal", "older", "deleted", "withheld", "silent"];
/// Most sessions that are named.
const MOST_NAMED: usize = 12;
/// Longest title beside other columns.
const LONGEST_TITLE: usize = 60;

/// Prints it.
pub(super) fn status(status: &Status, check: bool, render: &mut Render) {
    if status.places.is_empty() {
        render.say("no codespace and no machine is known yet");
    } else {
        render.table(&places(status));
    }
    named(status, render);
    if let Some(reasons) = &status.why {
        why(reasons, render);
    }
    render.say("");
    times(status, check, render);
    for unplaced in &status.unplaced {
        no_clone(unplaced, render);
    }
    if !status.unknown.is_empty() {
        let count = status.unknown.iter().map(|unknown| unknown.sessions).sum();
        let which = if status.why.is_some() { "" } else { " (--why names them)" };
        let text = format!("{} in {} of no known repository: kept, not synced{which}", sessions(count), directories(status.unknown.len()));
        render.say_entry((Style::Faint, "unknown"), (Style::Plain, &text));
    }
    forgotten(status, render);
    if status.vault.large {
        let text = format!("{} in the vault, more than [vault] warn_at", bytes(status.vault.bytes));
        render.say_entry((Style::Warn, "vault"), (Style::Plain, &text));
    }
}

fn forgotten(status: &Status, render: &mut Render) {
    for due in &status.forgotten.due {
        let text = format!("{} still to be removed from {}, at its next visit", sessions(due.sessions), due.display_name);
        render.say_entry((Style::Warn, "forgotten"), (Style::Plain, &text));
    }
    for session in &status.forgotten.again {
        let text = format!("{session} lies here again: claude-session-sync forget {session}");
        render.say_entry((Style::Warn, "forgotten"), (Style::Plain, &text));
    }
}

fn directories(count: usize) -> String {
    if count == 1 { "1 directory".to_owned() } else { format!("{count} directories") }
}

fn places(status: &Status) -> Table {
    // Without an agent the answer is the same for all, and stands below.
    let next = status.agent.at_work().is_some();
    let header = ["WHERE", "REPOSITORY", "SESSIONS", "LAST VISIT"];
    let mut table = Table::new(header.into_iter().chain(next.then_some("NEXT VISIT")));
    for place in &status.places {
        let visit = visit(place, status.now);
        let next = next.then(|| Cell::new(place.next.as_str(), Style::Faint));
        if place.repositories.is_empty() {
            let row = [Cell::from(place.display_name.as_str()), Cell::from("-"), Cell::new("not synced", Style::Faint), visit.clone()];
            table.row(row.into_iter().chain(next.clone()));
        }
        for (index, shared) in place.repositories.iter().enumerate() {
            let name = if index == 0 || status.places.len() > 1 { place.display_name.as_str() } else { "" };
            let row = [Cell::from(name), Cell::from(shared.repository.to_string()), standing(place, shared), visit.clone()];
            table.row(row.into_iter().chain(next.clone()));
        }
    }
    table
}

fn visit(place: &PlaceShown, now: DateTime<Utc>) -> Cell {
    let asleep = place.doing.as_deref().filter(|doing| *doing != "Available");
    let asleep = asleep.map(|doing| format!(" ({doing})")).unwrap_or_default();
    match (place.gone, place.failing, place.tried, place.visited) {
        (Some(gone), ..) if place.not_home > 0 => Cell::new(format!("deleted on GitHub {}, {} not home", ago(now, gone), sessions(place.not_home)), Style::Bad),
        (Some(gone), ..) => Cell::new(format!("deleted on GitHub {}", ago(now, gone)), Style::Faint),
        (_, Some(_), Some(tried), good) => {
            let good = good.map_or_else(|| "never visited".to_owned(), |good| format!("visited {}", ago(now, good)));
            Cell::new(format!("failed {} ({good}){asleep}", ago(now, tried)), Style::Bad)
        }
        (.., Some(visited)) => Cell::from(format!("{}{asleep}", ago(now, visited))),
        _ => Cell::new(format!("never{asleep}"), Style::Faint),
    }
}

fn standing(place: &PlaceShown, shared: &RepositoryShown) -> Cell {
    if place.visited.is_none() {
        return Cell::new("not known before a visit", Style::Faint);
    }
    let counts: Vec<String> = WORDS.iter().filter_map(|word| shared.counts.get(word).map(|count| format!("{count} {word}"))).collect();
    let has = |words: &[&str]| words.iter().any(|word| shared.counts.contains_key(word));
    let style = match () {
        () if has(&["diverged", "refused", "unknown"]) => Style::Warn,
        () if has(&["ahead", "behind", "waiting"]) => Style::Plain,
        () if counts.is_empty() => return Cell::new("none", Style::Faint),
        () => Style::Good,
    };
    Cell::new(counts.join(", "), style)
}

/// The sessions that a person may want to know by name: not those that the window or the settings keep where they are.
fn named(status: &Status, render: &mut Render) {
    let mut rows: Vec<(usize, Cell, Cell, Cell)> = Vec::new();
    for place in status.places.iter().filter(|place| place.gone.is_none()) {
        for SessionShown { session, title, stand } in place.repositories.iter().flat_map(|shared| &shared.sessions) {
            let Some(why) = reason(stand, &place.display_name) else { continue };
            let rank = WORDS.iter().position(|of| *of == word(stand)).unwrap_or(WORDS.len());
            let style = if rank < 3 { Style::Warn } else { Style::Plain };
            rows.push((rank, Cell::from(cut(&titled(title.as_deref(), *session), LONGEST_TITLE)), Cell::new(word(stand), style), Cell::from(why)));
        }
    }
    if rows.is_empty() {
        return;
    }
    rows.sort_by_key(|(rank, ..)| *rank);
    let more = rows.len().saturating_sub(MOST_NAMED);
    let mut table = Table::new(["SESSION", "IS", "WHY"]);
    rows.into_iter().take(MOST_NAMED).for_each(|(_, title, word, why)| table.row([title, word, why]));
    render.say("");
    render.table(&table);
    if more > 0 {
        render.say_styled(&[(Style::Faint, &format!("and {more} more (--json has them all)"))]);
    }
}

/// Why a session is not equal, where that is not by the window, the settings or a deletion.
fn reason(stand: &Stand, place: &str) -> Option<String> {
    let at = |at: &At| if *at == At::Here { "here".to_owned() } else { format!("in {place}") };
    Some(match stand {
        Stand::Ahead { bytes: count } => format!("{} to go to {place}", bytes(*count)),
        Stand::Behind { bytes: count } => format!("{} to come from {place}", bytes(*count)),
        Stand::Diverged => format!("continued here and in {place}; the next pass decides"),
        Stand::Waiting { at: At::Here, bytes: Some(count) } => format!("open here, {} behind {place}", bytes(*count)),
        Stand::Waiting { at: At::There, bytes: Some(count) } => format!("open in {place}, {} behind this machine", bytes(*count)),
        Stand::Waiting { at: side, bytes: None } => format!("open {}, where the copy is another", at(side)),
        Stand::Refused { at: side, why } => format!("{}: {why}", at(side)),
        Stand::Forgotten { .. } => format!("in {place}, by another machine; `claude-session-sync forget ID` forgets it here too"),
        Stand::Unknown => format!("what {place} holds is not known"),
        Stand::Equal | Stand::Older { .. } | Stand::Silent { .. } | Stand::Deleted { .. } | Stand::Withheld { .. } => return None,
    })
}

fn times(status: &Status, check: bool, render: &mut Render) {
    let open = if status.here.open > 0 { format!(", {} open", status.here.open) } else { String::new() };
    render.say_entry((Style::Faint, "here"), (Style::Plain, &format!("{}{open}", sessions(status.here.sessions))));
    match &status.last_pass {
        None => render.say_entry((Style::Faint, "last pass"), (Style::Plain, "none yet")),
        Some(pass) => {
            let style = if pass.failed { Style::Bad } else { Style::Plain };
            render.say_entry((Style::Faint, "last pass"), (style, &format!("{}, {}", ago(status.now, pass.began), pass.summary)));
        }
    }
    render.say_entry((Style::Faint, "next"), (Style::Plain, &status.next));
    agent::told(&status.agent, status.now, render);
    for place in status.places.iter().filter(|place| place.failing.is_some() && place.gone.is_none()) {
        render.say_entry((Style::Bad, "failed"), (Style::Plain, &format!("{}: {}", place.display_name, place.outcome)));
    }
    for stale in &status.stale {
        let text = match stale {
            Stale::NoPass if !check => continue,
            // The agent's own line says it.
            Stale::Parked => continue,
            Stale::NoPass => "no pass over everything was made yet".to_owned(),
            Stale::Pass { since } => format!("the last good pass over everything began {}", ago(status.now, *since)),
            Stale::Place { name, since, .. } => format!("every visit to {name} failed, the first {}", ago(status.now, *since)),
        };
        render.say_entry((Style::Warn, "stale"), (Style::Plain, &text));
    }
}

fn no_clone(unplaced: &Unplaced, render: &mut Render) {
    let Unplaced { repository, project, sessions: count, clone } = unplaced;
    if *clone {
        let text = format!("{repository}: {} in {project} came before its clone was known, and stay there", sessions(*count));
        render.say_entry((Style::Faint, "unplaced"), (Style::Plain, &text));
        return;
    }
    let text = format!("{repository}: no clone is known here, {} in {project}", sessions(*count));
    render.say_entry((Style::Faint, "unplaced"), (Style::Plain, &text));
    let line = format!("to change that: [[repository]] name = \"{repository}\", path = \"~/…\"");
    render.say_entry((Style::Faint, ""), (Style::Faint, &line));
}

fn why(reasons: &Reasons, render: &mut Render) {
    let named = |repository: &Option<RepositoryId>| repository.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    let mut table = Table::new(["PROJECT DIRECTORY", "REPOSITORY", "KNOWN BY"]);
    for directory in &reasons.directories {
        let by = match &directory.by {
            KnownBy::Clone { root } => format!("the remotes of {}", root.display()),
            KnownBy::Path => "its path below the repository's clone".to_owned(),
            KnownBy::Archive { .. } => "the archive's record; no clone here says so".to_owned(),
            KnownBy::Nothing => "nothing: its working directory is gone, or in no clone with a remote".to_owned(),
        };
        table.row([Cell::from(directory.project.as_str()), Cell::from(named(&directory.repository)), Cell::from(by)]);
    }
    if !table.is_empty() {
        render.say("");
        render.table(&table);
    }
    let mut table = Table::new(["SESSION", "LIES IN", "WHY THERE"]);
    for session in &reasons.sessions {
        let title = cut(&titled(session.title.as_deref(), session.session), LONGEST_TITLE);
        let why = match session.why {
            Why::Rule(rule) => rule.words().to_owned(),
            Why::Beside(origin) => format!("a fork, beside its origin {}", crate::cli::words::short(origin)),
            Why::Written => "it was here before anything came".to_owned(),
        };
        table.row([Cell::from(title), Cell::from(session.project.as_str()), Cell::from(why)]);
    }
    if !table.is_empty() {
        render.say("");
        render.table(&table);
    }
}
