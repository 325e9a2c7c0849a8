//! `status`: what is equal, ahead, behind or waiting, from what is remembered and a fresh look at this machine.
//!
//! Promises: no network, no lock, nothing waited for but, for a moment, the answer of a running agent; works before the first pass and with a state that cannot be read. What it
//! says of a far side is as old as that side's last visit, and it says how old that is. The shape of `--json` is in [`shape`].

mod agent;
mod shape;
mod told;

use std::time::Duration;

use chrono::Utc;

use super::sync::dot;
use super::{Context, Exit, Failure, Kind, Settings};
use crate::pass::Setting;
use crate::pass::survey::Survey;
use crate::reconcile::project::RepositoryId;
use shape::Status;

/// How often `--watch` looks again.
const EVERY: Duration = Duration::from_secs(2);

/// What `status` is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only these: a codespace's name, display name or unique prefix, owner/repo, a machine, or `.` for the repository here
    #[arg(value_name = "NAME")]
    pub(super) names: Vec<String>,
    /// Say for each session by which rule it lies where it lies
    #[arg(long)]
    pub(super) why: bool,
    /// Exit 1 when the last good pass, or what is known of a codespace, is too old
    #[arg(long, conflicts_with = "watch")]
    pub(super) check: bool,
    /// Go on showing it as it changes
    #[arg(long)]
    pub(super) watch: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let Settings { paths, config, .. } = context.settings()?;
    let setting = Setting::new(config, paths, context.environment.clone());
    let dot = if arguments.names.iter().any(|name| name == ".") { Some(dot(&setting.config)?) } else { None };
    if arguments.watch {
        return watch(arguments, context, &setting, dot.as_ref());
    }
    let status = look(arguments, &setting, dot.as_ref())?;
    show(&status, arguments, context);
    Ok(if arguments.check && !status.stale.is_empty() { Exit::Failed } else { Exit::Done })
}

fn look(arguments: &Arguments, setting: &Setting, dot: Option<&RepositoryId>) -> Result<Status, Failure> {
    let mut survey = Survey::open(setting, Utc::now()).map_err(|error| Failure::of(Kind::Failed, &error))?;
    let unknown = |error| Failure::of(Kind::Usage, &error).hint("claude-session-sync status shows the names that are known; list codespaces asks GitHub");
    survey.limit(&arguments.names, dot).map_err(unknown)?;
    Ok(Status::of(&survey, &setting.config, agent::ask(&setting.paths), arguments.why))
}

fn show(status: &Status, arguments: &Arguments, context: &mut Context) {
    if arguments.json {
        context.render.json(status);
    } else {
        told::status(status, arguments.check, &mut context.render);
    }
}

/// Until ^C, or until nobody reads.
fn watch(arguments: &Arguments, context: &mut Context, setting: &Setting, dot: Option<&RepositoryId>) -> Result<Exit, Failure> {
    let cannot = |error: std::io::Error| Failure::new(Kind::Failed, "cannot wait for the next look").because(&error);
    let runtime = super::runtime()?;
    runtime.block_on(async {
        // Asked for once, so that a ^C during a look is not lost.
        let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).map_err(cannot)?;
        loop {
            let status = look(arguments, setting, dot)?;
            context.render.clear();
            show(&status, arguments, context);
            context.render.flush();
            if !context.render.is_read() {
                return Ok(Exit::Done);
            }
            tokio::select! {
                _ = interrupt.recv() => return Ok(Exit::Done),
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    })
}
