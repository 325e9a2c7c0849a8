//! `restore`: a session is taken back. Deleted here: it comes back where it was. Here: a version of it becomes a session of its own.
//!
//! Without an ID: a list to pick from at a terminal, else the list itself. The prompt holds no lock, so that no pass waits for a person.
//!
//! `restore --json` is one object:
//! - `version`: 1. `now`.
//! - `sessions`, newest first, those that are kept and not here, and those here of which something else is kept: `session`, `title`,
//!   `newest` (null where unknown), `lies_here`, `versions` (how many could be taken back).
//!
//! `restore ID --json` is one object:
//! - `version`: 1. `now`. `session`: the one that was asked for. `dry_run`.
//! - `did`: `restored` (in a dry run: would be), `lies-here` (the version is a session here already), `nothing` (it is here, and nothing
//!   is kept that it lacks), `choose` (several versions, and none was named; exit 2).
//! - `restored`, null unless `did` says so: `session`, `as_new`, `path`, `title`, `bytes`, `side` (side files that came with it), `left_out`
//!   (side files that the archive no longer holds as they were), `expired` (the client's days, where its time is the present one for
//!   them), `short` (there is more of it, and whoever holds that extends it). `lies_here`: `session`, `path`; or null.
//! - `versions`, the copy that counts first: `digest`, `standing` (`counts`, `beginning`, `apart`), `newest`, `messages`, `bytes`, `title`,
//!   `kept` (`here`, `archive`, `displaced`), `reason`, `from`, `at` (of a displaced one, else null), `damaged`, `fork` (the session that it
//!   is, or would be, as one of its own), `fork_lies_here`.

mod told;

use chrono::Utc;

use super::ask::Person;
use super::words::{ago, counted, cut, newest, short, titled};
use super::{Context, Exit, Failure, Kind, sync};
use crate::pass::Setting;
use crate::pass::restore::{Did, Ended, Lack, Request, RestoreError, Row, restore, rows};
use crate::pass::survey::Survey;
use crate::reconcile::manifest::SessionId;
use crate::reconcile::named::{NotOne, meant};
use crate::reconcile::plain::plain;
use crate::reconcile::restore::Form;
use crate::reconcile::transcript::Digest;

/// Longest title in a line to pick.
const LONGEST_TITLE: usize = 60;

/// What `restore` is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The session's id, or the beginning of it; without one, a list to pick from
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// This version of it: the beginning of its digest, as the list of versions shows it
    #[arg(long, value_name = "DIGEST", requires = "id")]
    version: Option<String>,
    /// As a session of its own, also where it could come back in place
    #[arg(long)]
    as_new: bool,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let settings = context.settings()?;
    let (logs, log) = (settings.paths.logs.clone(), settings.config.log.clone());
    let setting = Setting::new(settings.config, settings.paths, context.environment.clone());
    let person = if arguments.json { None } else { Person::at_terminal(&context.environment) };
    let survey = Survey::open(&setting, Utc::now()).map_err(|error| Failure::of(Kind::Failed, &error))?;
    let session = match &arguments.id {
        Some(id) => one(id, &survey)?,
        None => {
            let rows = rows(&survey);
            match person.filter(|_| !rows.is_empty()) {
                Some(person) => match pick_session(person, &rows, &survey)? {
                    Some(session) => session,
                    None => return Ok(Exit::Done),
                },
                None => {
                    told::rows(&rows, survey.now, arguments.json, &mut context.render);
                    return Ok(Exit::Done);
                }
            }
        }
    };
    drop(survey);
    let _log = context.log(&logs, &log);
    let form = if arguments.as_new { Form::AsNew } else { Form::InPlace };
    let mut request = Request { session, version: arguments.version.clone(), form, dry_run: arguments.dry_run };
    let mut ended = take_back(&setting, &request)?;
    if let (Did::Choose(among), Some(person)) = (&ended.did, person) {
        let Some(version) = pick_version(person, &ended, among)? else { return Ok(Exit::Done) };
        request.version = Some(version.to_string());
        ended = take_back(&setting, &request)?;
    }
    told::ended(&ended, &request, arguments.json, &mut context.render);
    match ended.did {
        Did::Choose(_) => Err(Failure::new(Kind::Usage, format!("several versions of {} are kept: say which", short(session)))
            .hint(format!("claude-session-sync restore {} --version DIGEST", short(session)))),
        _ => Ok(Exit::Done),
    }
}

fn one(id: &str, survey: &Survey) -> Result<SessionId, Failure> {
    meant(id, survey.here.known().into_iter().map(|session| (session, session))).map_err(|not| {
        let shown = plain(id);
        let what = match not {
            NotOne::None => format!("no session `{shown}` is known here"),
            NotOne::Several => format!("`{shown}` begins the ids of several sessions"),
        };
        Failure::new(Kind::Usage, what).hint("claude-session-sync restore")
    })
}

fn take_back(setting: &Setting, request: &Request) -> Result<Ended, Failure> {
    let runtime = super::runtime()?;
    runtime.block_on(restore(setting, request, Utc::now())).map_err(|error| failure(&error, request))
}

fn failure(error: &RestoreError, request: &Request) -> Failure {
    let id = short(request.session);
    let kind = match error {
        RestoreError::Pass(error) => return sync::failure(error),
        RestoreError::NoVersion(_) | RestoreError::SeveralVersions(_) => Kind::Usage,
        _ => Kind::Failed,
    };
    let failure = Failure::new(kind, format!("session {id} is not restored")).because(error);
    match error {
        RestoreError::Damaged(..) | RestoreError::NoBytes(Lack::Unknown) => failure.hint("claude-session-sync vault verify"),
        RestoreError::NoBytes(Lack::NoArchive) => failure.hint("[vault] archive = true keeps a copy of every session that is seen from then on"),
        RestoreError::Live | RestoreError::Changed(_) => failure.hint("close it there, and try again"),
        RestoreError::Refused(_) => failure.hint(format!("claude-session-sync verify; or claude-session-sync restore {id} --as-new")),
        RestoreError::NoVersion(_) | RestoreError::SeveralVersions(_) => failure.hint(format!("claude-session-sync restore {id} --json lists them")),
        _ => failure,
    }
}

fn pick_session(person: Person, rows: &[Row], survey: &Survey) -> Result<Option<SessionId>, Failure> {
    let line = |row: &Row| {
        let when = row.content.as_ref().and_then(newest).map_or_else(|| "no time".to_owned(), |newest| ago(survey.now, newest));
        let lies = if row.lies_here { counted(row.versions, "other version") } else { "not here".to_owned() };
        format!("{}  {}, {when}, {lies}", cut(&titled(row.title.as_deref(), row.session), LONGEST_TITLE), short(row.session))
    };
    let picked = person.pick("Which session?", &rows.iter().map(line).collect::<Vec<_>>())?;
    Ok(picked.map(|index| rows[index].session))
}

fn pick_version(person: Person, ended: &Ended, among: &[Digest]) -> Result<Option<Digest>, Failure> {
    let fitting: Vec<_> = ended.versions.iter().filter(|version| among.contains(&version.digest())).collect();
    let lines: Vec<String> = fitting.iter().map(|version| told::line(version, Utc::now())).collect();
    Ok(person.pick("Which version?", &lines)?.map(|index| fitting[index].digest()))
}
