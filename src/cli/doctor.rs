//! `doctor`: looks at everything that must be so for sessions to travel, and says what mends it. Exit 1 if anything is bad.
//!
//! `doctor --json` is one object, made to be pasted: no token, no title of a session, the home as `~`.
//! - `version`: 1. `program`: the version of the program. `system`: `macos` or `linux`. `now`: when it was made, RFC 3339, UTC.
//! - `eyes`: with whose eyes configuration, token and programs were looked for: `agent` (a running one was asked), `unit` (the installed
//!   one's variables), `shell` (this one's).
//! - `offline`: GitHub was not asked.
//! - `verdict`: the gravest of `checks`: `good`, `note` or `bad`.
//! - `checks`: `topic` (`config`, `token`, `scopes`, `expiry`, `gh`, `ssh`, `git`, `store`, `data`, `exchange`, `sockets`, `service`,
//!   `agent`, `last-pass`, `clocks`, `retention`, `space`, `vault`, `log`, `movers`; one topic may have several, and what could not be
//!   looked at has none), `verdict`, `finding` (one line), `advice` (what mends it, may be several lines; null where nothing need be done).

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::render::{Cell, Style, Table};
use super::words::counted;
use super::{Context, Exit, Failure, Kind, Render};
use crate::doctor::{Check, Examination, Eyes, Given, Network, Verdict, examine};
use crate::paths::System;
use crate::service::Programs;

/// The version of the shape of `--json`.
const VERSION: u32 = 1;

/// What `doctor` is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Do not ask GitHub whether it takes the token
    #[arg(long)]
    offline: bool,
    /// Print one JSON object, made to be pasted: no secrets
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown<'e> {
    version: u32,
    program: &'static str,
    system: &'static str,
    now: DateTime<Utc>,
    eyes: Eyes,
    offline: bool,
    verdict: Verdict,
    checks: &'e [Check],
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let executable = std::env::current_exe().map_err(|error| Failure::new(Kind::Failed, "this program cannot be found").because(&error))?;
    let given = Given {
        system: System::of_build(),
        environment: context.environment.clone(),
        paths: context.paths()?,
        programs: Programs::default(),
        executable,
        uid: nix::unistd::getuid().as_raw(),
        network: if arguments.offline { Network::Offline } else { Network::Allowed },
        now: Utc::now(),
    };
    let runtime = super::runtime()?;
    let examination = runtime.block_on(examine(&given));
    // A thread that waits for a disk that hangs is left to it.
    runtime.shutdown_timeout(Duration::ZERO);
    if arguments.json {
        let Examination { eyes, checks } = &examination;
        let system = if given.system == System::Macos { "macos" } else { "linux" };
        let program = env!("CARGO_PKG_VERSION");
        let (now, offline, verdict) = (given.now, arguments.offline, examination.verdict());
        context.render.json(&Shown { version: VERSION, program, system, now, eyes: *eyes, offline, verdict, checks });
    } else {
        told(&examination, &mut context.render);
    }
    Ok(if examination.verdict() == Verdict::Bad { Exit::Failed } else { Exit::Done })
}

fn style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Good => Style::Good,
        Verdict::Note => Style::Warn,
        Verdict::Bad => Style::Bad,
    }
}

/// All findings, then what to do, the gravest first.
fn told(examination: &Examination, render: &mut Render) {
    let mut table = Table::new(["CHECK", "IS", "FOUND"]);
    for Check { topic, verdict, finding, .. } in &examination.checks {
        table.row([Cell::from(topic.word()), Cell::new(verdict.word(), style(*verdict)), Cell::from(finding.as_str())]);
    }
    render.table(&table);
    let mut advised: Vec<(&Check, &str)> = examination.checks.iter().filter_map(|check| Some((check, check.advice.as_deref()?))).collect();
    advised.sort_by_key(|(check, _)| std::cmp::Reverse(check.verdict));
    if !advised.is_empty() {
        render.say("");
    }
    for (check, advice) in advised {
        let mut label = check.topic.word();
        for line in advice.lines() {
            render.say_entry((style(check.verdict), label), (Style::Plain, line));
            label = "";
        }
    }
    render.say("");
    render.say_entry((style(examination.verdict()), "verdict"), (Style::Plain, &summary(examination)));
}

/// In one line, with whose eyes.
fn summary(examination: &Examination) -> String {
    let count = |verdict| examination.checks.iter().filter(|check| check.verdict == verdict).count();
    let eyes = match examination.eyes {
        Eyes::Agent => "as the running agent has it",
        Eyes::Unit => "as the installed service would have it",
        Eyes::Shell => "as this shell has it",
    };
    let result = match (count(Verdict::Bad), count(Verdict::Note)) {
        (0, 0) => "all is well".to_owned(),
        (0, notes) => format!("nothing is bad, {}", counted(notes, "note")),
        (bad, 0) => format!("{bad} bad"),
        (bad, notes) => format!("{bad} bad, {}", counted(notes, "note")),
    };
    format!("{result}; {eyes}")
}
