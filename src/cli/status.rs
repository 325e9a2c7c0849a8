//! `status`: what is equal, ahead, behind or waiting, from what is remembered.

use super::{Context, Exit, Failure, Kind};

/// What `status` is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only these: a codespace's name, display name or unique prefix, owner/repo, a machine, or `.` for the repository here
    #[arg(value_name = "NAME")]
    pub(super) names: Vec<String>,
    /// Say for each session by which rule it lies where it lies
    #[arg(long)]
    pub(super) why: bool,
    /// Exit 1 when the last good pass is too old
    #[arg(long)]
    pub(super) check: bool,
    /// Go on showing it as it changes
    #[arg(long)]
    pub(super) watch: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the verb.
pub(super) fn run(_arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let _settings = context.settings()?;
    // PLACEHOLDER: to be filled.
    Err(Failure::new(Kind::Failed, "`status` is not built yet"))
}
