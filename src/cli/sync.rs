//! `sync`: one pass, now, in this process.

use super::{Context, Exit, Failure, Kind};
use crate::config::{Span, SyncPolicy};

/// What `sync` is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only these: a codespace's name, display name or unique prefix, owner/repo, a machine, or `.` for the repository here
    #[arg(value_name = "NAME")]
    pub(super) names: Vec<String>,
    /// Create sessions where they are missing if their newest message is younger than N days
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(super) days: Option<u32>,
    /// Only bring sessions home
    #[arg(long, conflicts_with = "push")]
    pub(super) pull: bool,
    /// Only take sessions there
    #[arg(long)]
    pub(super) push: bool,
    /// Show what would be done, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Wait for a codespace on its way up, at most so long; starts none
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "5m")]
    pub(super) wait: Option<Span>,
    /// Make any failure one warning and exit 0, for scripts that must go on
    #[arg(long)]
    pub(super) best_effort: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

impl Arguments {
    /// What may be installed; what is read is never limited.
    #[expect(dead_code, reason = "PLACEHOLDER: for the verb, which is not built yet")]
    pub(super) fn direction(&self) -> SyncPolicy {
        match (self.pull, self.push) {
            (true, _) => SyncPolicy::Pull,
            (_, true) => SyncPolicy::Push,
            _ => SyncPolicy::Both,
        }
    }
}

/// Runs the verb.
pub(super) fn run(_arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let _settings = context.settings()?;
    // PLACEHOLDER: to be filled with the pass.
    Err(Failure::new(Kind::Failed, "`sync` is not built yet"))
}
