//! `verify`: would the client resume every synced session here, and for a NAME there? Exit 1 with the reasons where it would not.
//!
//! `verify --json` is one object:
//! - `version`: 1. `now`.
//! - `places`: `here` alone without a NAME, else what the names mean. Each has `place`, `outcome` (`looked`; `not-visited` with `why`;
//!   `failed` with `fault`), `kept_days` (after which the client deletes), `absent` (sessions that lie here and not there, which is no
//!   fault; 0 for `here`), and `sessions`: `session`, `title`, `repository`, `files` (below `projects/`), `open` (in a client), and
//!   `faults`, none for a session that would be resumed. A fault has `text` (for people) and `what`: `twice` (`projects`), `misplaced` (`project`, `right`), `no-file`,
//!   `foreign`, `mode` (`mode`), `unreadable` (`why`), `torn` (`bytes`), `silent`, `hidden`, `expired` (`days`, `kept`), `refused`
//!   (`why`), and for a far side `differs` (`how`: `behind`, `ahead`, `diverged`).
//!
//! Of a far side only the listing and digests are known: place, content, and time; not its permissions, and not what is in it.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::render::{Cell, Render, Style, Table};
use super::signals::run_unless_ended;
use super::sync::{dot, failure};
use super::words::{cut, sessions, short, titled};
use super::{Context, Exit, Failure};
use crate::pass::verify::here::here;
use crate::pass::verify::there::there;
use crate::pass::verify::{Fault, Judged, Outcome, Verified};
use crate::pass::{Options, Setting};
use crate::reconcile::manifest::SessionId;
use crate::reconcile::project::RepositoryId;

/// The format.
const VERSION: u32 = 1;
/// Longest title in the table.
const LONGEST_TITLE: usize = 60;

/// What `verify` is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Ask these instead of this machine: a codespace's name, display name or unique prefix, owner/repo, a machine, or `.`
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Shown<'v> {
    version: u32,
    now: DateTime<Utc>,
    places: Vec<Place<'v>>,
}

#[derive(Debug, Serialize)]
struct Place<'v> {
    place: &'v str,
    #[serde(flatten)]
    outcome: &'v Outcome,
    kept_days: u32,
    absent: usize,
    sessions: Vec<Session<'v>>,
}

#[derive(Debug, Serialize)]
struct Session<'v> {
    session: SessionId,
    title: Option<&'v str>,
    repository: &'v RepositoryId,
    files: &'v [String],
    open: bool,
    faults: Vec<Found<'v>>,
}

#[derive(Debug, Serialize)]
struct Found<'v> {
    #[serde(flatten)]
    fault: &'v Fault,
    text: String,
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let settings = context.settings()?;
    let setting = Setting::new(settings.config, settings.paths, context.environment.clone());
    let now = Utc::now();
    let verified = if arguments.names.is_empty() {
        vec![here(&setting, now).map_err(|error| failure(&error))?]
    } else {
        match far(arguments, &setting, now)? {
            Ok(verified) => verified,
            Err(exit) => return Ok(exit),
        }
    };
    if arguments.json {
        context.render.json(&shown(&verified, now));
    } else {
        print(&verified, &mut context.render);
    }
    Ok(exit(&verified))
}

fn far(arguments: &Arguments, setting: &Setting, now: DateTime<Utc>) -> Result<Result<Vec<Verified>, Exit>, Failure> {
    let dot = if arguments.names.iter().any(|name| name == ".") { Some(dot(&setting.config)?) } else { None };
    let options = Options { names: arguments.names.clone(), dot, ..Options::default() };
    match run_unless_ended(there(setting, &options, now))? {
        Ok(verified) => verified.map(Ok).map_err(|error| failure(&error)),
        Err(exit) => Ok(Err(exit)),
    }
}

/// 1 where a session would not be resumed, or a place could not be looked at; 3 where one was not visited.
fn exit(verified: &[Verified]) -> Exit {
    let bad = |verified: &Verified| matches!(verified.outcome, Outcome::Failed { .. }) || verified.faulty().next().is_some();
    let asleep = |verified: &Verified| matches!(verified.outcome, Outcome::NotVisited { .. });
    match (verified.iter().any(bad), verified.iter().any(asleep)) {
        (true, _) => Exit::Failed,
        (false, true) => Exit::Partly,
        (false, false) => Exit::Done,
    }
}

fn shown(verified: &[Verified], now: DateTime<Utc>) -> Shown<'_> {
    Shown { version: VERSION, now, places: verified.iter().map(place).collect() }
}

fn place(verified: &Verified) -> Place<'_> {
    let Verified { place, outcome, kept_days, sessions, absent } = verified;
    Place { place, outcome, kept_days: *kept_days, absent: *absent, sessions: sessions.iter().map(session).collect() }
}

fn session(judged: &Judged) -> Session<'_> {
    let faults = judged.faults.iter().map(|fault| Found { fault, text: fault.words() }).collect();
    Session { session: judged.session, title: judged.title.as_deref(), repository: &judged.repository, files: &judged.files, open: judged.open, faults }
}

fn print(verified: &[Verified], render: &mut Render) {
    let mut table = Table::new(["SESSION", "ID", "WHERE", "REPOSITORY", "FOUND"]);
    let mut advised: Vec<(&str, &str)> = Vec::new();
    for place in verified {
        for judged in place.faulty() {
            for fault in &judged.faults {
                table.row([
                    Cell::from(cut(&titled(judged.title.as_deref(), judged.session), LONGEST_TITLE)),
                    Cell::new(short(judged.session), Style::Faint),
                    Cell::from(place.place.as_str()),
                    Cell::from(judged.repository.to_string()),
                    Cell::new(fault.words(), Style::Bad),
                ]);
                if let Some(advice) = fault.advice().filter(|advice| !advised.iter().any(|(_, known)| known == advice)) {
                    advised.push((word(fault), advice));
                }
            }
        }
    }
    if !table.is_empty() {
        render.table(&table);
        render.say("");
        render.say_styled(&[(Style::Faint, "Below projects/ they are:")]);
    }
    for judged in verified.iter().flat_map(Verified::faulty) {
        for file in &judged.files {
            render.say_styled(&[(Style::Faint, &short(judged.session)), (Style::Plain, &format!("  {file}"))]);
        }
    }
    for (word, advice) in advised {
        render.say_entry((Style::Warn, word), (Style::Plain, advice));
    }
    for place in verified {
        let (style, text) = summary(place);
        render.say_styled(&[(style, &place.place), (Style::Plain, &format!(": {text}"))]);
    }
}

/// The label of an advice.
fn word(fault: &Fault) -> &'static str {
    match fault {
        Fault::Twice { .. } => "twice",
        Fault::Misplaced { .. } => "misplaced",
        Fault::NoFile => "no file",
        Fault::Foreign => "foreign",
        Fault::Mode { .. } => "mode",
        Fault::Unreadable { .. } => "unreadable",
        Fault::Torn { .. } => "torn",
        Fault::Silent => "silent",
        Fault::Hidden => "hidden",
        Fault::Expired { .. } => "expired",
        Fault::Refused { .. } => "refused",
        Fault::Differs { .. } => "differs",
    }
}

fn summary(place: &Verified) -> (Style, String) {
    let (all, faulty) = (place.sessions.len(), place.faulty().count());
    match &place.outcome {
        Outcome::Failed { fault } => (Style::Bad, format!("could not be looked at: {}", fault.message)),
        Outcome::NotVisited { why } => (Style::Warn, format!("not visited ({why})")),
        Outcome::Looked => {
            let absent = if place.absent > 0 { format!("; {} of here not there", sessions(place.absent)) } else { String::new() };
            match faulty {
                0 => (Style::Good, format!("{}, no fault found{absent}", sessions(all))),
                _ => (Style::Bad, format!("{}, {faulty} with a fault{absent}", sessions(all))),
            }
        }
    }
}
