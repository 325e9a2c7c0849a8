//! `sync`: one pass, now, in this process.

use chrono::Utc;

use super::failure::fault;
use super::signals::run_unless_ended;
use super::spinner::Spinner;
use super::told;
use super::{Context, Exit, Failure, Kind, Settings};
use crate::config::{Config, Span};
use crate::lock::LockError;
use crate::pass::round::Direction;
use crate::pass::{Doing, Options, PassError, Setting, run_telling};
use crate::reconcile::project::RepositoryId;
use crate::reconcile::report::{Outcome, Report};
use crate::store::repositories::repository_of;

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
    fn direction(&self) -> Direction {
        match (self.pull, self.push) {
            (true, _) => Direction::Pull,
            (_, true) => Direction::Push,
            _ => Direction::Both,
        }
    }
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    match sync(arguments, context) {
        Err(failure) if arguments.best_effort => {
            let whole: Vec<&str> = std::iter::once(&failure.message).chain(&failure.causes).map(String::as_str).collect();
            context.render.warning(&format!("sync: {}", whole.join(": ")));
            Ok(Exit::Done)
        }
        Ok(exit) if arguments.best_effort && !matches!(exit, Exit::Done | Exit::Code(_)) => Ok(Exit::Done),
        ended => ended,
    }
}

fn sync(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let settings = context.settings()?;
    let _log = context.log(&settings.paths.logs, &settings.config.log);
    let report = match pass(arguments, context, settings)? {
        Ok(report) => report,
        Err(exit) => return Ok(exit),
    };
    let named = !arguments.names.is_empty();
    if arguments.json {
        context.render.json(&report);
    } else if arguments.best_effort {
        let asleep = || asleep(&report).next().filter(|_| named);
        if let Some(line) = told::worst(&report).or_else(asleep) {
            context.render.warning(&format!("sync: {line}"));
        }
    } else {
        told::report(&report, &mut context.render);
        // Whoever names a codespace is told why it was left alone, in a script too: the exit code alone does not say it.
        if named && !context.render.is_terminal() {
            asleep(&report).for_each(|line| context.render.note(&line));
        }
    }
    Ok(exit(&report, named))
}

/// Who was not visited, and why.
pub(super) fn asleep(report: &Report) -> impl Iterator<Item = String> {
    report.visits.iter().filter_map(|visit| match &visit.outcome {
        Outcome::NotVisited { why } => Some(format!("{}: not visited ({why})", visit.name)),
        Outcome::Visited | Outcome::Failed(_) => None,
    })
}

fn pass(arguments: &Arguments, context: &Context, settings: Settings) -> Result<Result<Report, Exit>, Failure> {
    let Settings { paths, config, .. } = settings;
    let setting = Setting::new(config, paths, context.environment.clone());
    let dot = if arguments.names.iter().any(|name| name == ".") { Some(dot(&setting.config)?) } else { None };
    let options = Options {
        names: arguments.names.clone(),
        dot,
        days: arguments.days,
        direction: arguments.direction(),
        dry_run: arguments.dry_run,
        wait: arguments.wait.map(Span::duration),
        occasion: None,
        lent: None,
    };
    let spinner = Spinner::default();
    let tell = |doing: &Doing<'_>| spinner.note(doing);
    match run_unless_ended(spinner.during(run_telling(&setting, &options, Utc::now(), &tell)))? {
        Ok(report) => report.map(Ok).map_err(|error| failure(&error)),
        Err(exit) => Ok(Err(exit)),
    }
}

/// The repository of the user's directory, for the name `.`.
pub(super) fn dot(config: &Config) -> Result<RepositoryId, Failure> {
    let directory = std::env::current_dir().map_err(|error| Failure::new(Kind::Usage, "`.`: this directory cannot be read").because(&error))?;
    let git = std::path::PathBuf::from(config.programs.git.to_string());
    let found = repository_of(&git, &directory);
    found.ok_or_else(|| Failure::new(Kind::Usage, "`.`: this directory is in no clone of a repository").hint("name a codespace, or go to a clone"))
}

/// What a pass, or whatever else goes that way, could not even attempt.
pub(super) fn failure(error: &PassError) -> Failure {
    match error {
        PassError::Lock(LockError::Busy { .. }) => Failure::of(Kind::Busy, error),
        PassError::Name(_) => Failure::of(Kind::Usage, error).hint("claude-session-sync list codespaces"),
        PassError::Listing(told) => fault(Kind::Failed, "the codespaces cannot be listed", told),
        error => Failure::of(Kind::Failed, error),
    }
}

/// 1 where the list was not to be had or nothing went well; 3 where a part failed, or somebody named does not run.
fn exit(report: &Report, named: bool) -> Exit {
    let asleep = named && asleep(report).next().is_some();
    match (report.listing.is_some(), report.has_failures(), report.has_successes()) {
        (true, ..) | (_, true, false) => Exit::Failed,
        (_, true, true) => Exit::Partly,
        _ if asleep => Exit::Partly,
        _ => Exit::Done,
    }
}
