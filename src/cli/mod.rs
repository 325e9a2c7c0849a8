//! The command line: arguments in, one verb run, exit code out.
//!
//! Promises: one file per verb, each with its arguments and one `run`; only [`render`] prints; only this edge turns errors into
//! [`Failure`]s. Never: work that a verb's library part could do.

mod apart;
mod ask;
mod complete;
mod config;
mod conflicts;
mod connect;
mod demo;
mod doctor;
pub mod failure;
mod forget;
mod list;
mod logs;
mod man;
pub mod render;
mod restore;
mod run;
mod service;
mod signals;
mod spinner;
mod status;
mod sync;
mod table;
mod told;
mod vault;
mod verify;
mod words;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use tokio::runtime::Runtime;

pub use failure::{Exit, Failure, Kind};
pub use render::Render;

use crate::config::{Config, Origin};
use crate::logging::{self, Logging};
use crate::paths::{Environment, Paths};
use crate::reconcile::plain::plain;

/// The name that is typed.
pub const PROGRAM: &str = env!("CARGO_PKG_NAME");

/// The verbs as the help groups them, everyday ones first.
const GROUPS: [(&str, &[&str]); 3] = [
    ("Everyday", &["sync", "status", "connect", "logs", "doctor"]),
    ("Set-up", &["config", "service", "demo"]),
    ("Repair", &["list", "conflicts", "restore", "forget", "verify", "vault"]),
];

/// Keeps Claude Code sessions equal between this machine and GitHub Codespaces.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, disable_help_subcommand = true)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Args)]
struct Global {
    /// Read this configuration
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Bring sessions home from running codespaces, and take this machine's there
    Sync(sync::Arguments),
    /// Show what is equal, ahead, behind or waiting
    Status(status::Arguments),
    /// Open a shell in a codespace, with a visit before it and after it
    Connect(connect::Arguments),
    /// Show what the passes wrote down
    Logs(logs::Arguments),
    /// Find what keeps sessions from travelling, and what mends it
    Doctor(doctor::Arguments),
    /// List codespaces or sessions
    List(list::Arguments),
    /// Show what diverged, which copy won, and where the other lies
    Conflicts(conflicts::Arguments),
    /// Take a session back: deleted, older, or a copy that lost
    Restore(restore::Arguments),
    /// Remove a session by name: here, and in every codespace at its next visit
    Forget(forget::Arguments),
    /// Ask whether the client would resume every synced session, here or there
    Verify(verify::Arguments),
    /// Look after what this machine keeps
    Vault(vault::Arguments),
    /// Write, check or show the configuration
    Config(config::Arguments),
    /// Run it every hour: install, look after or remove the service
    Service(service::Arguments),
    /// Show the whole story in a throw-away world, without network or account
    Demo(demo::Arguments),
    /// Be the agent, in the foreground; `service install` lets the system do it
    #[command(hide = true)]
    Run(run::Arguments),
    /// Become another program, in a session of its own
    #[command(hide = true)]
    Apart(apart::Arguments),
    /// Print the lines that let a shell complete verbs, options and names
    #[command(hide = true)]
    Completions(complete::Arguments),
    /// Print the manual page, or write one page for each verb
    #[command(hide = true)]
    Man(man::Arguments),
}

/// What a verb has to work with.
pub struct Context {
    /// The variables of this process.
    pub environment: Environment,
    /// The printer.
    pub render: Render,
    config_option: Option<PathBuf>,
}

/// The configuration and the places, read and checked.
#[derive(Debug)]
pub struct Settings {
    /// The places, with what the configuration says of them.
    pub paths: Paths,
    /// The configuration.
    pub config: Config,
    /// Where it came from.
    pub origin: Origin,
}

impl Context {
    /// The places, before the configuration is read.
    ///
    /// # Errors
    /// No home, or a variable that names a relative path.
    pub fn paths(&self) -> Result<Paths, Failure> {
        let paths = Paths::of(&self.environment)?;
        let Some(file) = &self.config_option else { return Ok(paths) };
        let refuse = |error| Failure::new(Kind::Usage, format!("--config {}", file.display())).because(&error);
        Ok(paths.with_config_file(std::path::absolute(file).map_err(refuse)?))
    }

    /// The configuration, and the places that follow from it.
    ///
    /// # Errors
    /// As [`Context::paths`]; or the configuration is wrong.
    pub fn settings(&self) -> Result<Settings, Failure> {
        let paths = self.paths()?;
        let (config, origin) = Config::load(&paths)?;
        Ok(Settings { paths: paths.settled(&config), config, origin })
    }

    /// Begins to write the log, as long as what this gives lives, and says so where that cannot be done.
    fn log(&mut self, logs: &Path, config: &crate::config::Log) -> Logging {
        let log = logging::start(logs, config);
        if let Some(trouble) = log.trouble() {
            self.render.note(&trouble);
        }
        log
    }
}

/// How long a thread for file work waits for more of it. Each has a heap of its own with the C library of Linux, and what one freed no
/// other uses: one that follows another into its heap costs less than a second one beside it.
const THREAD_IDLE: Duration = Duration::from_millis(50);

/// What a verb that waits for something runs on.
fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(THREAD_IDLE)
        .build()
        .map_err(|error| Failure::new(Kind::Failed, "cannot start").because(&error))
}

/// Runs the verb that the arguments name (the program's own name first).
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>, environment: Environment) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if complete::answer(&arguments, &environment) {
        return Exit::Done.into();
    }
    let parsed = parse(&arguments).map_err(|error| {
        // What is not understood is shown, and must not act on a terminal.
        let shown: Vec<OsString> = arguments.iter().map(|word| plain(&word.to_string_lossy()).into_owned().into()).collect();
        if shown == arguments { error } else { parse(&shown).err().unwrap_or(error) }
    });
    let Arguments { global, verb } = match parsed {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version go to standard output and end with 0; a reader that went away is none of our business.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    let render = Render::of_process(&environment);
    let mut context = Context { environment, render, config_option: global.config };
    let exit = verb.run(&mut context).unwrap_or_else(|failure| {
        context.render.failure(&failure);
        failure.kind.exit()
    });
    context.render.finish(exit).into()
}

fn parse(arguments: &[OsString]) -> Result<Arguments, clap::Error> {
    command().try_get_matches_from(arguments).and_then(|matches| Arguments::from_arg_matches(&matches))
}

impl Verb {
    fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        match self {
            Self::Sync(arguments) => sync::run(arguments, context),
            Self::Status(arguments) => status::run(arguments, context),
            Self::Connect(arguments) => connect::run(arguments, context),
            Self::Logs(arguments) => logs::run(arguments, context),
            Self::Doctor(arguments) => doctor::run(arguments, context),
            Self::List(arguments) => list::run(arguments, context),
            Self::Conflicts(arguments) => conflicts::run(arguments, context),
            Self::Restore(arguments) => restore::run(arguments, context),
            Self::Forget(arguments) => forget::run(arguments, context),
            Self::Verify(arguments) => verify::run(arguments, context),
            Self::Vault(arguments) => vault::run(arguments, context),
            Self::Config(arguments) => config::run(arguments, context),
            Self::Service(arguments) => service::run(arguments, context),
            Self::Demo(arguments) => demo::run(arguments, context),
            Self::Run(arguments) => run::run(arguments, context),
            Self::Apart(arguments) => apart::run(arguments),
            Self::Completions(arguments) => complete::run(arguments, context),
            Self::Man(arguments) => man::run(arguments, context),
        }
    }
}

/// The whole command line; the verbs in groups in its help.
#[must_use]
pub fn command() -> clap::Command {
    let command = Arguments::command();
    let mut verbs = String::new();
    for (group, names) in GROUPS {
        verbs.push_str(&format!("{group}:\n"));
        for name in names {
            let about = command.find_subcommand(name).and_then(clap::Command::get_about).map(ToString::to_string).unwrap_or_default();
            verbs.push_str(&format!("  {name:<11}{about}\n"));
        }
        verbs.push('\n');
    }
    command.help_template(format!("{{about}}\n\n{{usage-heading}} {{usage}}\n\n{verbs}Options:\n{{options}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_every_verb_stands_in_one_group() {
        command().debug_assert();
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        let command = command();
        let mut verbs: Vec<&str> = command.get_subcommands().filter(|verb| !verb.is_hide_set()).map(clap::Command::get_name).collect();
        grouped.sort_unstable();
        verbs.sort_unstable();
        assert_eq!(grouped, verbs);
    }

    #[test]
    fn sync_takes_its_options() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
        let Verb::Sync(sync) = parse("x sync acme/widget . --days 3 --pull --wait --json").unwrap().verb else { panic!("no sync") };
        assert_eq!((sync.names.len(), sync.days, sync.pull, sync.wait.map(|wait| wait.duration().as_secs())), (2, Some(3), true, Some(300)));
        let Verb::Sync(sync) = parse("x sync --wait=90s a").unwrap().verb else { panic!("no sync") };
        assert_eq!((sync.names, sync.wait.map(|wait| wait.duration().as_secs())), (vec!["a".to_owned()], Some(90)));
        assert!(parse("x sync --pull --push").is_err());
        assert!(parse("x sync --days 0").is_err());
        assert!(parse("x conflicts --json").is_ok() && parse("x conflicts list --json").is_ok());
    }
}
