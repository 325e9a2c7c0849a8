//! `forget ID`: removes a session with its forks here, and in every codespace and on every machine at its next visit.
//!
//! Asks first, with what lies where; without a terminal, `--yes` must be given. Exit 1 while it is open in a client here.
//!
//! `forget ID --json` is one object:
//! - `version`: 1. `now`. `dry_run`: nothing was changed.
//! - `session`. `date`: when it counts as forgotten; null in a dry run of one that was not forgotten before.
//! - `sessions`: it and its forks: `session`, `title`, `fork_of` (null where none of these), `projects` (the directories that hold, or held,
//!   it), and what lies, or lay, here: `store`, `archive`, `displaced`, `rest` (of a crash, or of another machine's visits), each
//!   `files` and `bytes`. `open`: why it cannot be forgotten now; null where it can.
//! - `fork_of`: the session that it is a fork of itself, and that stays. `held_by`: who is remembered to hold one of them.
//! - `mentions`: files of the client itself that name one of them, and `behind_links`: links that were not followed; empty in a dry run.

use std::collections::BTreeSet;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::ask::Person;
use super::render::{Cell, Render, Style, Table};
use super::words::{ago, bytes, counted, cut, joined, short, titled};
use super::{Context, Exit, Failure, Kind};
use crate::pass::Setting;
use crate::pass::forget::{ForgetError, Forgotten, Found, Member, forget, look};
use crate::reconcile::manifest::SessionId;
use crate::store::forget::{Heap, Lies};

/// The format.
const VERSION: u32 = 1;
/// Longest title in a table or a question.
const LONGEST_TITLE: usize = 60;

/// What `forget` is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The session's id, or its beginning where the session is known here
    #[arg(value_name = "ID")]
    id: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Show what would be removed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Shown {
    version: u32,
    now: DateTime<Utc>,
    dry_run: bool,
    session: SessionId,
    date: Option<DateTime<Utc>>,
    sessions: Vec<Row>,
    fork_of: Option<SessionId>,
    held_by: Vec<String>,
    mentions: Vec<PathBuf>,
    behind_links: Vec<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Row {
    session: SessionId,
    title: Option<String>,
    fork_of: Option<SessionId>,
    projects: Vec<String>,
    store: Shares,
    archive: Shares,
    displaced: Shares,
    rest: Shares,
    open: Option<String>,
}

#[derive(Debug, Serialize)]
struct Shares {
    files: usize,
    bytes: u64,
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let settings = context.settings()?;
    let _log = context.log(&settings.paths.logs, &settings.config.log);
    let setting = Setting::new(settings.config, settings.paths, context.environment.clone());
    let found = look(&setting, &arguments.id).map_err(|error| failure(&error))?;
    let Some(first) = found.members.first() else { return Ok(Exit::Done) };
    let (session, title) = (first.session, titled(first.title.as_deref(), first.session));
    if !arguments.json {
        told(&found, &mut context.render);
    }
    if arguments.dry_run {
        if arguments.json {
            context.render.json(&Shown::of(&found, found.before));
        }
        return Ok(Exit::Done);
    }
    if let Some((member, open)) = found.members.iter().find_map(|member| Some((member, member.open.clone()?))) {
        return Err(failure(&ForgetError::Open { session: member.session, open }));
    }
    if !arguments.yes && !agreed(&found, &title, context)? {
        context.render.note("nothing was changed");
        return Ok(Exit::Done);
    }
    let runtime = super::runtime()?;
    let forgotten = runtime.block_on(forget(&setting, session, Utc::now())).map_err(|error| failure(&error))?;
    if arguments.json {
        let shown = Shown::of(&forgotten.found, Some(forgotten.date));
        context.render.json(&Shown { dry_run: false, mentions: forgotten.mentions, behind_links: forgotten.behind_links, ..shown });
    } else {
        done(&forgotten, &mut context.render);
    }
    Ok(Exit::Done)
}

fn agreed(found: &Found, title: &str, context: &Context) -> Result<bool, Failure> {
    let nobody = || Failure::new(Kind::Usage, "nobody can be asked here").hint("--yes forgets it without a question, --dry-run shows what would go");
    let person = Person::at_terminal(&context.environment).ok_or_else(nobody)?;
    let forks = match found.members.len() {
        0 | 1 => String::new(),
        many => format!(" and its {}", counted(many - 1, "fork")),
    };
    person.agrees(&format!("Forget \"{}\"{forks}, everywhere and for good?", cut(title, LONGEST_TITLE)))
}

fn failure(error: &ForgetError) -> Failure {
    match error {
        ForgetError::Pass(error) => super::sync::failure(error),
        ForgetError::Unknown(_) | ForgetError::Ambiguous(_) => Failure::of(Kind::Usage, error).hint("claude-session-sync list sessions --json"),
        ForgetError::Open { .. } => Failure::of(Kind::Failed, error).hint("close it there, then forget it; nothing was changed"),
    }
}

fn told(found: &Found, render: &mut Render) {
    let mut table = Table::new(["SESSION", "ID", "IN THE STORE", "IN THE VAULT", "IS"]);
    for Member { session, title, fork_of, lies, open } in &found.members {
        let kept = [lies.archive, lies.displaced, lies.rest].into_iter().fold(Heap::default(), add);
        let is = match (open, fork_of) {
            (Some(_), _) => Cell::new("open", Style::Warn),
            (None, Some(origin)) => Cell::from(format!("a fork of {}", short(*origin))),
            (None, None) => Cell::from(""),
        };
        let title = cut(&titled(title.as_deref(), *session), LONGEST_TITLE);
        table.row([Cell::from(title), Cell::from(session.to_string()), Cell::from(heap(lies.store)), Cell::from(heap(kept)), is]);
    }
    render.table(&table);
    let entry = |render: &mut Render, label: &str, text: &str| render.say_entry((Style::Faint, label), (Style::Plain, text));
    for project in found.members.iter().flat_map(|member| &member.lies.projects).collect::<BTreeSet<_>>() {
        entry(render, "lies in", project);
    }
    if !found.held_by.is_empty() {
        entry(render, "also in", &format!("{}: removed there at the next visit", joined(&found.held_by)));
    }
    if let Some(date) = found.before {
        entry(render, "forgotten", &ago(Utc::now(), date));
    } else if !found.is_known() {
        entry(render, "unknown", "nothing of it is known here; it will be removed wherever it is met");
    }
    if let Some(origin) = found.origin {
        entry(render, "fork of", &format!("{origin}, which stays: what both have in common is still in there"));
    }
}

fn done(forgotten: &Forgotten, render: &mut Render) {
    let all = forgotten.found.members.iter().flat_map(|member| heaps(&member.lies)).fold(Heap::default(), add);
    render.say_entry((Style::Good, "forgotten"), (Style::Plain, &format!("removed here: {}", heap(all))));
    if !forgotten.found.held_by.is_empty() {
        let text = format!("{} at the next visit; `claude-session-sync sync` visits those that run", joined(&forgotten.found.held_by));
        render.say_entry((Style::Plain, "and in"), (Style::Plain, &text));
    }
    for path in &forgotten.behind_links {
        render.note(&format!("{} is a symbolic link and was not followed: something of that name lies behind it", path.display()));
    }
    for path in &forgotten.mentions {
        render.note(&format!("{} names it, too; that is the client's own and was left as it is", path.display()));
    }
}

fn heaps(lies: &Lies) -> [Heap; 4] {
    [lies.store, lies.archive, lies.displaced, lies.rest]
}

fn add(one: Heap, other: Heap) -> Heap {
    Heap { files: one.files + other.files, bytes: one.bytes + other.bytes }
}

fn heap(heap: Heap) -> String {
    if heap.files == 0 { "nothing".to_owned() } else { format!("{}, {}", counted(heap.files, "file"), bytes(heap.bytes)) }
}

impl Shown {
    fn of(found: &Found, date: Option<DateTime<Utc>>) -> Self {
        let sessions: Vec<Row> = found.members.iter().map(Row::of).collect();
        Self {
            version: VERSION,
            now: Utc::now(),
            dry_run: true,
            session: found.members.first().map_or_else(|| SessionId::new(uuid::Uuid::nil()), |member| member.session),
            date,
            sessions,
            fork_of: found.origin,
            held_by: found.held_by.clone(),
            mentions: Vec::new(),
            behind_links: Vec::new(),
        }
    }
}

impl Row {
    fn of(member: &Member) -> Self {
        let [store, archive, displaced, rest] = heaps(&member.lies).map(|Heap { files, bytes }| Shares { files, bytes });
        Self {
            session: member.session,
            title: member.title.clone(),
            fork_of: member.fork_of,
            projects: member.lies.projects.clone(),
            store,
            archive,
            displaced,
            rest,
            open: member.open.as_ref().map(ToString::to_string),
        }
    }
}
