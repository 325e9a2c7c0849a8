//! `vault gc`: lets go of what the vault holds twice, each by a proof read anew; and with `--older-than`, of what it keeps of sessions that
//! were deleted here. The latter asks: their number is to be typed at a terminal. While it asks, no pass waits.
//!
//! `vault gc --json` is one object:
//! - `version`: 1. `now`. `vault`: where it lies. `dry_run`. `bytes`: how many went, or would.
//! - `gone`: `session` (null for a leftover of a crash), `path`, `bytes`, `why`: `held` (a longer copy begins with it), `twice`, `leftover`,
//!   `deleted`.
//! - `sessions`: those of which nothing is kept any more: `session`, `title`, `newest`, `files`, `bytes`, `elsewhere` (codespaces and machines
//!   that held it when they were last visited).

use std::collections::BTreeSet;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::VERSION;
use crate::cli::ask::Person;
use crate::cli::render::{Cell, Render, Style, Table};
use crate::cli::words::{ago, bytes, counted, cut, joined, sessions, short, titled};
use crate::cli::{Context, Exit, Failure, Kind, sync};
use crate::config::Span;
use crate::pass::Setting;
use crate::pass::gc::{self, Collected, Deleted, Request, collect, deleted};
use crate::pass::survey::Survey;
use crate::store::gc::{Gone, Removing, Why};

/// Longest title shown.
const LONGEST_TITLE: usize = 60;

/// What `vault gc` is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Show what would go, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Let go, too, of what is kept of sessions that were deleted here and have no message since: 90d; asks at the terminal
    #[arg(long, value_name = "AGE")]
    older_than: Option<Span>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Shown<'c> {
    version: u32,
    now: DateTime<Utc>,
    vault: PathBuf,
    dry_run: bool,
    bytes: u64,
    gone: &'c [Gone],
    sessions: &'c [Deleted],
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let settings = context.settings()?;
    let (logs, log) = (settings.paths.logs.clone(), settings.config.log.clone());
    let setting = Setting::new(settings.config, settings.paths, context.environment.clone());
    let now = Utc::now();
    let before = arguments.older_than.map(|age| gc::ago(now, age.duration()));
    let survey = Survey::open(&setting, now).map_err(|error| Failure::of(Kind::Failed, &error))?;
    let vault = survey.here.vault.path();
    let asked = before.filter(|_| !arguments.dry_run).map(|before| deleted(&survey, before)).unwrap_or_default();
    drop(survey);
    if !asked.is_empty() && !is_agreed(&asked, now, context)? {
        return Ok(Exit::Done);
    }
    let _log = context.log(&logs, &log);
    let removing = if arguments.dry_run { Removing::Told } else { Removing::Really };
    let agreed: BTreeSet<_> = asked.iter().map(|deleted| deleted.session).collect();
    let request = Request { before, agreed, removing };
    let runtime = crate::cli::runtime()?;
    let collected = runtime.block_on(collect(&setting, &request, now)).map_err(|error| sync::failure(&error))?;
    if arguments.json {
        let Collected { gone, sessions } = &collected;
        let bytes = gone.iter().map(|gone| gone.bytes).sum();
        context.render.json(&Shown { version: VERSION, now, vault, dry_run: arguments.dry_run, bytes, gone, sessions });
    } else {
        print(&collected, removing, now, &mut context.render);
    }
    Ok(Exit::Done)
}

/// Whether the person at the terminal types the number of these sessions.
fn is_agreed(asked: &[Deleted], now: DateTime<Utc>, context: &mut Context) -> Result<bool, Failure> {
    let number = sessions(asked.len());
    let Some(person) = Person::at_terminal(&context.environment) else {
        let what = format!("--older-than would let go of all that is kept of {number}, and asks at a terminal before");
        return Err(Failure::new(Kind::Usage, what).hint("run it at a terminal; or see what it is with --dry-run"));
    };
    for deleted in asked {
        context.render.note(&line(deleted, now));
    }
    let question = format!("Nothing brings them back from this machine. Type {} to let go of what is kept of {number}:", asked.len());
    person.types(&question, &asked.len().to_string())
}

fn line(deleted: &Deleted, now: DateTime<Utc>) -> String {
    let elsewhere = match &*deleted.elsewhere {
        [] => String::new(),
        places => format!("; lies in {} still, and a visit that reads it there keeps it again", joined(places)),
    };
    let title = cut(&titled(deleted.title.as_deref(), deleted.session), LONGEST_TITLE);
    format!("{title}  {}, {}, {}{elsewhere}", short(deleted.session), ago(now, deleted.newest), bytes(deleted.bytes))
}

fn print(collected: &Collected, removing: Removing, now: DateTime<Utc>, render: &mut Render) {
    let mut table = Table::new(["WHAT", "FILES", "SIZE"]);
    for (why, words) in [
        (Why::Held, "beginnings of longer copies"),
        (Why::Twice, "copies that lay there twice"),
        (Why::Leftover, "leftovers of a crash"),
        (Why::Deleted, "of deleted sessions"),
    ] {
        let of: Vec<&Gone> = collected.gone.iter().filter(|gone| gone.why == why).collect();
        if !of.is_empty() {
            table.row([Cell::from(words), Cell::number(of.len()), Cell::number(bytes(of.iter().map(|gone| gone.bytes).sum()))]);
        }
    }
    if !table.is_empty() {
        render.table(&table);
        render.say("");
    }
    for deleted in &collected.sessions {
        render.say_styled(&[(Style::Faint, &line(deleted, now))]);
    }
    let all = format!("{}, {}", counted(collected.gone.len(), "file"), bytes(collected.gone.iter().map(|gone| gone.bytes).sum()));
    let text = match (removing, collected.gone.is_empty()) {
        (_, true) => "holds nothing that may go".to_owned(),
        (Removing::Told, false) => format!("would let go of {all}"),
        (Removing::Really, false) => format!("let go of {all}"),
    };
    render.say_entry((Style::Good, "vault"), (Style::Plain, &text));
}
