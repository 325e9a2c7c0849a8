//! `demo`: the real pass in a throw-away world, told as a story.

use std::path::PathBuf;

use super::{Context, Exit, Failure, Kind};

/// What `demo` is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Leave the world in this directory, to play with
    #[arg(long, value_name = "DIR")]
    pub(super) keep: Option<PathBuf>,
}

/// Runs the verb.
pub(super) fn run(_arguments: &Arguments, _context: &mut Context) -> Result<Exit, Failure> {
    // PLACEHOLDER: to be filled.
    Err(Failure::new(Kind::Failed, "`demo` is not built yet"))
}
