//! `logs`: what the passes wrote down, the agent's and those by hand, across days and forms of the file.
//!
//! `--json` prints one object a line, whatever the form of the file: the shape of [`logging::line`](crate::logging::line), or
//! for what is no line of ours `{"version":1,"time":…,"other":…}`, with the time of the line before it.
//!
//! Promises: nothing but reading; works with a configuration or a state that cannot be read. What is not ours is escaped.
//! Never: a line held back because it could not be understood.

mod since;

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Local, Utc};
use clap::builder::PossibleValue;
use serde::Serialize;

use super::sync::dot;
use super::words::wrapped;
use super::{Context, Exit, Failure, Kind, Render};
use crate::cli::render::Style;
use crate::logging::line::{Level, Line, VERSION};
use crate::logging::read::{Entry, Log, Name, Said, Waits, Wanted, of_last_pass};
use crate::pass::target::{Called, NameError, pick};
use crate::reconcile::plain::plain;
use crate::state::{State, VisitMemory};

/// Lines that are shown where nothing else says how many: at once, and before those that are waited for.
const USUAL: usize = 200;
const BEFORE_FOLLOWING: usize = 10;
/// How often the log is looked at while more of it is waited for.
const EVERY: Duration = Duration::from_secs(1);
/// Columns before the message, on a terminal that has as many again.
const MARGIN: usize = 26;

/// What `logs` is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only lines of these: a codespace's name, display name or unique prefix, owner/repo, a machine, or `.` for the repository here
    #[arg(value_name = "NAME")]
    pub(super) names: Vec<String>,
    /// Go on showing what comes
    #[arg(short, long)]
    pub(super) follow: bool,
    /// Only lines since then: 10m, 2h, 3d, today, yesterday, 14:30, 2026-03-04, `2026-03-04 14:30`
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<String>,
    /// Only lines as grave as this, or graver
    #[arg(long, value_name = "LEVEL")]
    pub(super) level: Option<Level>,
    /// Only lines of the last pass
    #[arg(long)]
    pub(super) last: bool,
    /// Only the last N lines [default: 200, where neither --since nor --last says how far back; 10 before those of --follow]
    #[arg(short = 'n', long, value_name = "N")]
    pub(super) lines: Option<usize>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(super) json: bool,
}

impl clap::ValueEnum for Level {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }))
    }
}

/// Something in the log that is no line of ours.
#[derive(Debug, Serialize)]
struct Other<'a> {
    version: u32,
    time: DateTime<Utc>,
    other: &'a str,
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let directory = context.paths()?.logs;
    let mut wanted = Wanted { level: arguments.level, names: names(arguments, context)?, ..Wanted::default() };
    if let Some(text) = &arguments.since {
        let refused = |error| Failure::new(Kind::Usage, format!("--since `{text}` {error}"));
        wanted.since = Some(since::since(text, &Local::now()).map_err(refused)?);
    }
    if arguments.last {
        let Some(of_last) = of_last_pass(&directory, wanted) else {
            context.render.note(&format!("no pass is in the log: {}", directory.display()));
            return Ok(Exit::Done);
        };
        wanted = of_last;
    }
    let usual = if arguments.follow { BEFORE_FOLLOWING } else { USUAL };
    let count = arguments.lines.or((wanted.since.is_none() && !arguments.last).then_some(usual));
    let mut log = match count {
        Some(count) => Log::open_last(&directory, &wanted, count),
        None => Log::open(&directory, &wanted),
    };
    let shown = show(&mut log, arguments, &mut context.render);
    if !arguments.follow && shown == 0 {
        context.render.note(&nothing(&directory));
    }
    Ok(Exit::Done)
}

/// Shows what is there, and what comes if that is asked for, until nobody reads. Says how many lines that were.
fn show(log: &mut Log, arguments: &Arguments, render: &mut Render) -> usize {
    let waits = if arguments.follow { Waits::Yes } else { Waits::No };
    let mut shown = 0;
    while render.is_read() {
        match log.next(waits) {
            Some(entry) => {
                print(&entry, arguments.json, render);
                shown += 1;
            }
            None if arguments.follow => {
                render.flush();
                render.wait(EVERY);
            }
            None => break,
        }
    }
    shown
}

fn nothing(directory: &Path) -> String {
    if directory.is_dir() { "no line of the log is so".to_owned() } else { format!("there is no log yet: {}", directory.display()) }
}

fn print(entry: &Entry, json: bool, render: &mut Render) {
    match (&entry.said, json) {
        (Said::Ours(line), true) => render.json(line),
        (Said::Other(other), true) => render.json(&Other { version: VERSION, time: entry.at, other }),
        (Said::Ours(line), false) => match render.width() {
            Some(width) => for_people(line, usize::from(width), render),
            None => render.say(&line.to_string()),
        },
        (Said::Other(text), false) => render.say(text),
    }
}

/// A line on a terminal: its time, its level in colour, the codespace instead of all spans, and the rest beside them.
fn for_people(line: &Line, width: usize, render: &mut Render) {
    let (word, rest) = match line.level {
        Level::Error => (Style::Bad, Style::Strong),
        Level::Warn => (Style::Warn, Style::Plain),
        Level::Info => (Style::Good, Style::Plain),
        Level::Debug | Level::Trace => (Style::Faint, Style::Faint),
    };
    let mut text = line.said();
    for (span, field) in [("transfer", "verb"), ("codespace", "name")] {
        text = line.span(span, field).map(|name| format!("{name}: {text}")).unwrap_or(text);
    }
    let room = if width > 2 * MARGIN { width - MARGIN } else { usize::MAX };
    let mut lines = wrapped(&plain(&text), room).into_iter();
    let time = line.time.format("%Y-%m-%d %H:%M:%S ").to_string();
    render.say_styled(&[(Style::Faint, &time), (word, &format!("{:6}", line.level.word())), (rest, &lines.next().unwrap_or_default())]);
    lines.for_each(|more| render.say_styled(&[(rest, &format!("{:MARGIN$}{more}", ""))]));
}

/// Whom the names mean. One that nothing known has may be in the log all the same: of a codespace that is long gone.
fn names(arguments: &Arguments, context: &Context) -> Result<Vec<Name>, Failure> {
    if arguments.names.is_empty() {
        return Ok(Vec::new());
    }
    let settings = context.settings();
    let dot = match &settings {
        _ if arguments.names.iter().all(|name| name != ".") => None,
        Ok(settings) => Some(dot(&settings.config)?),
        Err(failure) => return Err(failure.clone()),
    };
    let state = context.paths()?.state;
    let known = state.is_dir().then(|| State::open(&state).ok()).flatten().map(|state| state.visits).unwrap_or_default();
    let called: Vec<Called<'_>> = known.iter().map(|(name, memory)| called(name, memory)).collect();
    let mut names = Vec::new();
    for name in &arguments.names {
        match pick(&called, std::slice::from_ref(name), dot.as_ref()) {
            Ok(chosen) => names.extend(known.keys().zip(chosen).filter(|(_, chosen)| *chosen).map(|(name, _)| Name::Exactly(name.clone()))),
            Err(NameError::Unknown { .. }) if name != "." => names.push(Name::Beginning(name.clone())),
            Err(error) => return Err(Failure::of(Kind::Usage, &error)),
        }
    }
    Ok(names)
}

fn called<'a>(name: &'a str, memory: &'a VisitMemory) -> Called<'a> {
    Called { name, display_name: &memory.display_name, repositories: memory.repositories.iter().collect() }
}
