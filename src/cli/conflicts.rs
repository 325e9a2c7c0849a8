//! `conflicts`: what diverged, which copy won, which session keeps the other, and where its bytes lie.
//!
//! From the notes of the vault, so it knows every copy that lost while this machine saw it, and none that lost elsewhere.
//!
//! `conflicts --json` is one object:
//! - `version`: 1. `now`.
//! - `conflicts`, newest first, one per session and copy that lost: `session`, `title` (the winner's, else the loser's), `at` (when it
//!   was seen), `lost`: `from` (whose copy; `here` or a place's name), `title`, `digest`, `bytes`, `path` (where its bytes lie); `won`:
//!   `digest`, `at` (whose copies), null while nothing was decided (a client had one of them open); `fork`: the `session` that keeps
//!   the messages of the copy that lost, and whether it `lies_here`; null where it had none of its own.

mod show;

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::render::{Cell, Render, Style, Table};
use super::words::{ago, bytes, cut, joined, short, titled};
use super::{Context, Exit, Failure, Kind};
use crate::pass::Setting;
use crate::pass::survey::Survey;
use crate::reconcile::manifest::{Part, SessionId};
use crate::reconcile::transcript::Digest;
use crate::store::vault::{Object, Reason};

/// The format.
const VERSION: u32 = 1;
/// Longest title in the table.
const LONGEST_TITLE: usize = 60;

/// What `conflicts` is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) action: Option<Action>,
    /// Print one JSON object
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// What can be done with them.
#[derive(Debug, Clone, PartialEq, Eq, clap::Subcommand)]
pub(super) enum Action {
    /// List them (the default)
    List,
    /// Show both branches in words: the last message that they share, then what was said on each side
    Show {
        /// The session's id, the id of the session that keeps the copy that lost, or the beginning of one
        #[arg(value_name = "ID")]
        id: String,
    },
}

#[derive(Debug, Serialize)]
struct Shown {
    version: u32,
    now: DateTime<Utc>,
    conflicts: Vec<Conflict>,
}

#[derive(Debug, Serialize)]
struct Conflict {
    session: SessionId,
    title: Option<String>,
    at: DateTime<Utc>,
    lost: Lost,
    won: Option<Won>,
    fork: Option<Fork>,
}

#[derive(Debug, Serialize)]
struct Lost {
    from: String,
    title: Option<String>,
    digest: Digest,
    bytes: u64,
    path: PathBuf,
}

#[derive(Debug, Serialize)]
struct Won {
    digest: Digest,
    at: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Fork {
    session: SessionId,
    lies_here: bool,
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let settings = context.settings()?;
    let setting = Setting::new(settings.config, settings.paths, context.environment.clone());
    let survey = Survey::open(&setting, Utc::now()).map_err(|error| Failure::of(Kind::Failed, &error))?;
    let conflicts = conflicts(&survey);
    if let Some(Action::Show { id }) = &arguments.action {
        let shown = show::show(id, conflicts, &survey)?;
        if arguments.json {
            context.render.json(&shown);
        } else {
            show::print(&shown, &mut context.render);
        }
        return Ok(Exit::Done);
    }
    let shown = Shown { version: VERSION, now: survey.now, conflicts };
    if arguments.json {
        context.render.json(&shown);
    } else {
        print(&shown, &mut context.render);
    }
    Ok(Exit::Done)
}

fn conflicts(survey: &Survey) -> Vec<Conflict> {
    // One content may be there twice: as it was fetched, and as the inode that made way. The one that says more speaks.
    let mut lost: BTreeMap<(SessionId, Digest), &Object> = BTreeMap::new();
    for object in survey.here.vault.objects().iter().filter(|object| object.note.reason == Reason::Lost && object.note.part == Part::Transcript) {
        let said = |object: &Object| (object.note.winner.is_some(), object.note.won_at.len(), object.note.fork.is_some());
        let known = lost.entry((object.note.session, object.note.digest)).or_insert(object);
        if said(object) > said(known) {
            *known = object;
        }
    }
    let mut conflicts: Vec<Conflict> = lost.into_values().map(|object| conflict(object, survey)).collect();
    conflicts.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| (a.session, a.lost.digest).cmp(&(b.session, b.lost.digest))));
    conflicts
}

fn conflict(Object { path, note }: &Object, survey: &Survey) -> Conflict {
    let here = survey.here.sessions.get(&note.session).and_then(|session| session.transcript.as_ref());
    let archived = || survey.here.archive.records().get(&note.session).and_then(|record| record.title.clone());
    let title = here.and_then(|(_, lines)| lines.title.clone()).or_else(archived).or_else(|| note.title.clone());
    Conflict {
        session: note.session,
        title,
        at: note.at,
        lost: Lost { from: note.from.clone(), title: note.title.clone(), digest: note.digest, bytes: note.length, path: path.clone() },
        won: note.winner.map(|digest| Won { digest, at: note.won_at.clone() }),
        fork: note.fork.map(|session| Fork { session, lies_here: survey.here.sessions.contains_key(&session) }),
    }
}

fn print(shown: &Shown, render: &mut Render) {
    if shown.conflicts.is_empty() {
        if render.is_terminal() {
            render.say("no conflicts: no session was continued on two sides");
        }
        return;
    }
    let mut table = Table::new(["SESSION", "ID", "WHEN", "LOST", "WON", "THE OTHER IS NOW"]);
    for conflict in &shown.conflicts {
        let won = match &conflict.won {
            None => Cell::new("undecided: open in a client", Style::Warn),
            Some(won) if won.at.is_empty() => Cell::from(won.digest.short()),
            Some(won) => Cell::from(joined(&won.at)),
        };
        let fork = match &conflict.fork {
            Some(Fork { session, lies_here: true }) => Cell::new(format!("the session {}", short(*session)), Style::Good),
            Some(Fork { session, lies_here: false }) => Cell::from(format!("the session {}, not here", short(*session))),
            None if conflict.won.is_none() => Cell::from("-"),
            None => Cell::new("in the vault only: no message of its own", Style::Faint),
        };
        table.row([
            Cell::from(cut(&titled(conflict.title.as_deref(), conflict.session), LONGEST_TITLE)),
            Cell::new(short(conflict.session), Style::Faint),
            Cell::from(ago(shown.now, conflict.at)),
            Cell::from(format!("{}, {}", conflict.lost.from, bytes(conflict.lost.bytes))),
            won,
            fork,
        ]);
    }
    render.table(&table);
    render.say("");
    render.say_styled(&[(Style::Faint, "The copies that lost lie whole in the vault:")]);
    for conflict in &shown.conflicts {
        render.say_styled(&[(Style::Faint, &short(conflict.session)), (Style::Plain, &format!("  {}", conflict.lost.path.display()))]);
    }
}
