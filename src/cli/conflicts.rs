//! `conflicts`: what diverged, which copy won, which session keeps the other, and where its bytes lie.

use super::{Context, Exit, Failure, Kind};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Subcommand)]
pub(super) enum Action {
    /// List them (the default)
    List,
}

/// Runs the verb.
pub(super) fn run(_arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let _settings = context.settings()?;
    // PLACEHOLDER: to be filled.
    Err(Failure::new(Kind::Failed, "`conflicts` is not built yet"))
}
