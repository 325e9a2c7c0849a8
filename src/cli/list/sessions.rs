//! `list sessions`: what lies on this machine, newest first, and where else it lies as far as the last visits know.
//!
//! `list sessions --json` is one object:
//! - `version`: 1. `now`.
//! - `sessions`: `session`, `title`, `project` (its directory), `repository` and `below` (the path under the repository's root; null
//!   where none is known), `newest` (its newest message, else its newest line), `bytes` (complete lines), `open` (in a client here),
//!   `unreadable` (why, else null), `fork_of` (the session whose copy it was, as far as this machine's vault knows), and `elsewhere`:
//!   `place`, `equal` (at that place's last visit).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::cli::render::{Cell, Render, Style, Table};
use crate::cli::words::{ago, bytes, cut, newest, short, titled};
use crate::cli::{Context, Exit, Failure, Kind};
use crate::pass::Setting;
use crate::pass::survey::Survey;
use crate::reconcile::manifest::{Part, ProjectName, SessionId};
use crate::reconcile::project::RepositoryId;
use crate::state::Held;

/// The format.
const VERSION: u32 = 1;
/// Longest title in the table.
const LONGEST_TITLE: usize = 60;

#[derive(Debug, Serialize)]
struct Shown {
    version: u32,
    now: DateTime<Utc>,
    sessions: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    session: SessionId,
    title: Option<String>,
    project: ProjectName,
    repository: Option<RepositoryId>,
    below: Option<String>,
    newest: Option<DateTime<Utc>>,
    bytes: u64,
    open: bool,
    unreadable: Option<String>,
    fork_of: Option<SessionId>,
    elsewhere: Vec<Elsewhere>,
}

#[derive(Debug, Clone, Serialize)]
struct Elsewhere {
    place: String,
    equal: bool,
}

/// Runs the verb.
pub(super) fn run(setting: &Setting, json: bool, context: &mut Context) -> Result<Exit, Failure> {
    let survey = Survey::open(setting, Utc::now()).map_err(|error| Failure::of(Kind::Failed, &error))?;
    let shown = Shown { version: VERSION, now: survey.now, sessions: rows(&survey) };
    if json {
        context.render.json(&shown);
    } else {
        print(&shown, &mut context.render);
    }
    Ok(Exit::Done)
}

fn rows(survey: &Survey) -> Vec<Row> {
    let mut elsewhere = elsewhere(survey);
    let row = |(id, session): (&SessionId, &crate::pass::here::Session)| {
        let lines = session.transcript.as_ref().map(|(_, lines)| lines);
        Row {
            session: *id,
            title: lines.and_then(|lines| lines.title.clone()),
            project: session.project.clone(),
            repository: session.place.as_ref().map(|place| place.repository.clone()),
            below: session.place.as_ref().map(|place| place.below.clone()),
            newest: lines.and_then(|lines| newest(&lines.content)),
            bytes: lines.map_or(0, |lines| lines.content.length),
            open: session.live,
            unreadable: session.unreadable.clone(),
            fork_of: survey.origin(*id),
            elsewhere: elsewhere.remove(id).unwrap_or_default(),
        }
    };
    let mut rows: Vec<Row> = survey.here.sessions.iter().map(row).collect();
    rows.sort_by(|a, b| b.newest.cmp(&a.newest).then_with(|| a.session.cmp(&b.session)));
    rows
}

/// Where each session lay at the last visits, and whether what lies here is what lay there.
fn elsewhere(survey: &Survey) -> BTreeMap<SessionId, Vec<Elsewhere>> {
    let mut found: BTreeMap<SessionId, Vec<Elsewhere>> = BTreeMap::new();
    for place in survey.places.iter().filter(|place| place.memory.gone.is_none()) {
        let Some(replica) = place.memory.replica.and_then(|replica| survey.state.replicas.get(&replica)) else { continue };
        for (path, file) in replica.files.iter().filter(|(path, _)| path.part == Part::Transcript) {
            let Held::Lines { lines, .. } = &*file.held else { continue };
            let here = survey.here.sessions.get(&path.session).and_then(|session| session.transcript.as_ref());
            let equal = here.is_some_and(|(_, here)| here.content.digest == lines.content.digest);
            found.entry(path.session).or_default().push(Elsewhere { place: place.display_name.clone(), equal });
        }
    }
    found
}

fn print(shown: &Shown, render: &mut Render) {
    if shown.sessions.is_empty() {
        render.say("no sessions here");
        return;
    }
    let mut table = Table::new(["SESSION", "ID", "REPOSITORY", "NEWEST", "SIZE", "ALSO IN", "IS"]);
    for row in &shown.sessions {
        let place = match (&row.repository, row.below.as_deref()) {
            (Some(repository), Some(below)) if !below.is_empty() => Cell::from(format!("{repository} {below}")),
            (Some(repository), _) => Cell::from(repository.to_string()),
            (None, _) => Cell::new(row.project.as_str(), Style::Faint),
        };
        let also: Vec<String> =
            row.elsewhere.iter().map(|other| if other.equal { other.place.clone() } else { format!("{} (differs)", other.place) }).collect();
        table.row([
            Cell::from(cut(&titled(row.title.as_deref(), row.session), LONGEST_TITLE)),
            Cell::new(short(row.session), Style::Faint),
            place,
            Cell::from(row.newest.map_or_else(|| "-".to_owned(), |newest| ago(shown.now, newest))),
            Cell::number(bytes(row.bytes)),
            Cell::from(if also.is_empty() { "-".to_owned() } else { also.join(", ") }),
            is(row),
        ]);
    }
    render.table(&table);
}

fn is(row: &Row) -> Cell {
    if let Some(why) = &row.unreadable {
        return Cell::new(why.as_str(), Style::Bad);
    }
    let open = row.open.then(|| "open".to_owned());
    let fork = row.fork_of.map(|origin| format!("a fork of {}", short(origin)));
    let words: Vec<String> = open.into_iter().chain(fork).collect();
    Cell::new(words.join(", "), if row.open { Style::Strong } else { Style::Plain })
}
