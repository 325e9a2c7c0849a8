//! `list codespaces`: one request to GitHub, what is remembered of each, and the answer to "may I delete it?".
//!
//! Promises: nothing is connected to, nothing started. The answer speaks of sessions as the last visit found them; it is "all home"
//! only if every session there had its bytes on this machine then, and nothing says that it was used since.
//!
//! `list codespaces --json` is one object:
//! - `version`: 1. `now`. `whole`: GitHub's list is in it, all of it. `fault`: why it is not (`message`, `hint`), else null. `notes`.
//! - `codespaces`, the `[[machine]]`s among them: `name`, `display_name`, `kind` (`codespace`, `machine`), `repositories`, `state`
//!   (GitHub's word), `last_used_at`, `web_url`, `tried`, `outcome` and `answered` (the last attempt, what came of it, whether its
//!   sshd answered), `visited` (the last good visit), `sessions` and `not_home` (at that visit), `deleted_at` (when GitHub will
//!   delete it), `unsaved_changes` (in git), `answer` (`home`, `running`, `used-since`, `not-home`, `never-visited`, `not-synced`) and
//!   `answer_text`.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::cli::failure::fault as fault_failure;
use crate::cli::render::{Cell, Render, Style, Table};
use crate::cli::words::{ago, sessions, span};
use crate::cli::{Context, Exit, Failure, Kind};
use crate::codespace::github::{Codespace, State as Doing};
use crate::pass::connect::{Who, who};
use crate::pass::target::{Reach, Target};
use crate::pass::{Options, Setting};
use crate::reconcile::project::RepositoryId;
use crate::reconcile::report::Fault;
use crate::state::{PlaceKind, State, VisitMemory};

/// The format.
const VERSION: u32 = 1;

/// May it be deleted, as far as sessions go?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    /// Every session was home at the last visit, and it rests since.
    Home,
    /// Every session was home at the last visit, but it runs.
    Running,
    /// It was started again, or did not answer, after the last good visit.
    UsedSince,
    /// Sessions there have bytes that are not here.
    NotHome,
    /// No visit went well yet.
    NeverVisited,
    /// The settings leave it out, or GitHub names no repository for it.
    NotSynced,
}

#[derive(Debug, Serialize)]
struct Shown {
    version: u32,
    now: DateTime<Utc>,
    whole: bool,
    fault: Option<Fault>,
    notes: Vec<String>,
    codespaces: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    display_name: String,
    kind: PlaceKind,
    repositories: Vec<RepositoryId>,
    state: Option<String>,
    last_used_at: Option<DateTime<Utc>>,
    web_url: Option<String>,
    tried: Option<DateTime<Utc>>,
    outcome: String,
    answered: Option<bool>,
    visited: Option<DateTime<Utc>>,
    sessions: usize,
    not_home: usize,
    deleted_at: Option<DateTime<Utc>>,
    unsaved_changes: Option<bool>,
    answer: Answer,
    answer_text: String,
    /// The same without the time, which stands beside it in a table.
    #[serde(skip)]
    told: String,
}

/// Runs the verb.
pub(super) fn run(setting: &Setting, json: bool, context: &mut Context) -> Result<Exit, Failure> {
    let runtime = crate::cli::runtime()?;
    let Who { targets, fault, notes, whole, .. } = runtime.block_on(who(setting, &Options::default()));
    let state = State::open(&setting.paths.state).map_err(|error| Failure::new(Kind::Failed, "the state cannot be used").because(&error))?;
    let now = Utc::now();
    let forgotten = VisitMemory::default();
    let codespaces = targets.iter().map(|target| Row::of(target, state.visits.get(&target.name).unwrap_or(&forgotten), now)).collect();
    let shown = Shown { version: VERSION, now, whole, fault, notes, codespaces };
    let exit = if shown.fault.is_some() { Exit::Failed } else { Exit::Done };
    if json {
        context.render.json(&shown);
    } else {
        print(&shown, &mut context.render);
    }
    Ok(exit)
}

/// Words of GitHub for a codespace in which nobody can be at work.
fn rests(codespace: &Codespace) -> bool {
    matches!(codespace.state, Doing::Shutdown | Doing::Archived | Doing::Deleted | Doing::Moved) && !codespace.pending_operation
}

impl Row {
    fn of(target: &Target, memory: &VisitMemory, now: DateTime<Utc>) -> Self {
        let codespace = match &target.reach {
            Reach::Codespace(codespace) => Some(codespace.as_ref()),
            Reach::Machine(_) => None,
        };
        let answer = answer(codespace, target.admitted.is_empty(), memory);
        let repositories = match codespace.and_then(|codespace| codespace.repository.clone()) {
            Some(own) => vec![own],
            None => target.repositories(),
        };
        Self {
            name: target.name.clone(),
            display_name: target.display_name.clone(),
            kind: if codespace.is_some() { PlaceKind::Codespace } else { PlaceKind::Machine },
            repositories,
            state: codespace.map(|codespace| codespace.state.to_string()),
            last_used_at: codespace.and_then(|codespace| codespace.last_used_at),
            web_url: codespace.and_then(|codespace| codespace.web_url.clone()),
            tried: memory.tried,
            outcome: memory.outcome.clone(),
            answered: memory.answered,
            visited: memory.visited,
            sessions: memory.sessions,
            not_home: memory.not_home,
            deleted_at: codespace.and_then(|codespace| codespace.retention_expires_at),
            unsaved_changes: codespace.and_then(|codespace| codespace.unsaved_changes),
            answer,
            answer_text: words(answer, memory, &memory.visited.map_or_else(String::new, |visited| format!(" ({})", ago(now, visited)))),
            told: words(answer, memory, ""),
        }
    }
}

fn answer(codespace: Option<&Codespace>, not_synced: bool, memory: &VisitMemory) -> Answer {
    let started = codespace.and_then(|codespace| codespace.last_used_at);
    match memory.visited {
        _ if not_synced => Answer::NotSynced,
        None => Answer::NeverVisited,
        Some(_) if memory.not_home > 0 => Answer::NotHome,
        // It answered nothing after the last good visit, so it ran after it.
        Some(_) if memory.failing.is_some() || (codespace.is_some() && started > memory.episode) => Answer::UsedSince,
        Some(_) if codespace.is_some_and(|codespace| !rests(codespace)) => Answer::Running,
        Some(_) => Answer::Home,
    }
}

/// The answer in words; `when` is put behind what the last visit found.
fn words(answer: Answer, memory: &VisitMemory, when: &str) -> String {
    match answer {
        Answer::Home if memory.open.is_empty() => format!("all home{when}"),
        Answer::Home => format!("all home{when}; {} open then", if memory.open.len() == 1 { "one was" } else { "some were" }),
        Answer::Running => format!("all home{when}, still running"),
        Answer::UsedSince => format!("used since the last visit{when}"),
        Answer::NotHome => format!("{} not home{when}", sessions(memory.not_home)),
        Answer::NeverVisited => "never visited".to_owned(),
        Answer::NotSynced => "not synced".to_owned(),
    }
}

fn print(shown: &Shown, render: &mut Render) {
    let mut table = Table::new(["NAME", "REPOSITORY", "STATE", "LAST VISIT", "SSHD", "DELETE IT?", "GITHUB DELETES"]);
    for row in &shown.codespaces {
        let style = match row.answer {
            Answer::Home => Style::Good,
            Answer::NotHome => Style::Bad,
            Answer::UsedSince | Answer::Running | Answer::NeverVisited => Style::Warn,
            Answer::NotSynced => Style::Faint,
        };
        let unsaved = if row.unsaved_changes == Some(true) { "; unsaved changes in git" } else { "" };
        let repositories: Vec<String> = row.repositories.iter().map(ToString::to_string).collect();
        let sshd = match row.answered {
            Some(true) => Cell::from("yes"),
            Some(false) => Cell::new("no", Style::Bad),
            None => Cell::new("-", Style::Faint),
        };
        let repositories = if repositories.is_empty() { "-".to_owned() } else { repositories.join(", ") };
        let state = row.state.clone().unwrap_or_else(|| "machine".to_owned());
        let visited = row.visited.map_or_else(|| "never".to_owned(), |visited| ago(shown.now, visited));
        let text = format!("{}{unsaved}", row.told);
        let deleted = row.deleted_at.map_or_else(|| "-".to_owned(), |at| deletion(shown.now, at));
        table.row([
            Cell::from(named(row)),
            Cell::from(repositories),
            Cell::from(state),
            Cell::from(visited),
            sshd,
            Cell::new(text, style),
            Cell::from(deleted),
        ]);
    }
    if !table.is_empty() {
        render.table(&table);
    } else if shown.fault.is_none() {
        render.say("no codespaces");
    }
    for row in shown.codespaces.iter().filter(|row| row.answered == Some(false)) {
        let when = row.tried.map_or_else(|| "the last attempt".to_owned(), |tried| format!("the attempt {}", ago(shown.now, tried)));
        render.note(&format!("{}: {when} failed: {}", row.name, row.outcome));
    }
    shown.notes.iter().for_each(|note| render.note(note));
    if let Some(fault) = &shown.fault {
        render.failure(&fault_failure(Kind::Failed, "the codespaces cannot be listed", fault));
    }
}

/// The permanent name, which every command takes; with what its owner calls it, where that is something else.
fn named(row: &Row) -> String {
    let derived = row.display_name.to_lowercase().replace(' ', "-");
    if row.name.starts_with(&derived) { row.name.clone() } else { format!("{} \"{}\"", row.name, row.display_name) }
}

/// The day, and how long that is.
fn deletion(now: DateTime<Utc>, at: DateTime<Utc>) -> String {
    let date = at.format("%Y-%m-%d");
    if at <= now { format!("{date} (overdue)") } else { format!("{date} (in {})", span(at - now)) }
}
