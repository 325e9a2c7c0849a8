//! `list`: the codespaces, each with the answer to "may I delete it?"; or the sessions.

use super::{Context, Exit, Failure, Kind};

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
pub(super) fn run(_arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let _settings = context.settings()?;
    // PLACEHOLDER: to be filled.
    Err(Failure::new(Kind::Failed, "`list` is not built yet"))
}
