//! `list`: the codespaces, each with the answer to "may I delete it?"; or this machine's sessions.

mod codespaces;
mod sessions;

use super::{Context, Exit, Failure};
use crate::pass::Setting;

/// What `list` is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What to list
    pub(super) what: Listed,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Listed {
    /// Codespaces, and whether all their sessions are home
    Codespaces,
    /// Sessions, and where they lie
    Sessions,
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let settings = context.settings()?;
    let setting = Setting::new(settings.config, settings.paths, context.environment.clone());
    match arguments.what {
        Listed::Codespaces => codespaces::run(&setting, arguments.json, context),
        Listed::Sessions => sessions::run(&setting, arguments.json, context),
    }
}
