//! Completion by the shell: verbs and options from the command line's own description, and every NAME from what is known here.
//!
//! The shell asks the program itself, with [`VARIABLE`] set; `completions SHELL` prints the lines that make it ask.
//! Promises: no network and nothing written; what cannot be read offers no names.

use std::ffi::OsString;
use std::path::Path;

use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::Shells;

use super::{Context, Exit, Failure, Kind, PROGRAM};
use crate::config::Config;
use crate::paths::{Environment, Paths};
use crate::state::State;

/// Set by the shell when it asks. Its own, so that no other program's variable is taken for it.
const VARIABLE: &str = "CLAUDE_SESSION_SYNC_COMPLETE";

/// The verbs that take a NAME.
const NAMED: [&str; 5] = ["sync", "status", "connect", "logs", "verify"];

/// What `completions` is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// bash, zsh, fish, elvish or powershell
    shell: String,
}

/// Prints the lines that make a shell ask.
pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let shells = Shells::builtins();
    let known: Vec<&str> = shells.names().collect();
    let unknown = || Failure::new(Kind::Usage, format!("no completions for a shell `{}`", arguments.shell)).hint(known.join(", "));
    let shell = shells.completer(&arguments.shell).ok_or_else(unknown)?;
    let mut lines = Vec::new();
    let written = shell.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut lines);
    written.map_err(|error| Failure::new(Kind::Failed, "the completions cannot be written").because(&error))?;
    context.render.say_block(&String::from_utf8_lossy(&lines));
    Ok(Exit::Done)
}

/// Answers a shell that asks. False where none does: then the arguments are the user's.
pub(super) fn answer(arguments: &[OsString], environment: &Environment) -> bool {
    if environment.get(VARIABLE).is_none() {
        return false;
    }
    let here = std::env::current_dir().ok();
    let asked = CompleteEnv::with_factory(|| command(environment)).var(VARIABLE).try_complete(arguments.to_vec(), here.as_deref());
    asked.unwrap_or_else(|error| {
        let _ = error.print();
        true
    })
}

fn command(environment: &Environment) -> clap::Command {
    NAMED.iter().fold(super::command(), |command, verb| {
        let environment = environment.clone();
        command.mut_subcommand(verb, |verb| {
            verb.mut_arg("names", |names| {
                names.add(ArgValueCandidates::new(move || names_of(&environment).into_iter().map(CompletionCandidate::new).collect()))
            })
        })
    })
}

/// Codespaces that were listed, and machines of the configuration.
fn names_of(environment: &Environment) -> Vec<String> {
    let Ok(paths) = Paths::of(environment) else { return Vec::new() };
    let machines = Config::load(&paths).map(|(config, _)| config.machines).unwrap_or_default();
    let mut names: Vec<String> = machines.iter().map(|machine| machine.name.to_string()).collect();
    names.extend(visited(&paths.state));
    names.sort();
    names.dedup();
    names
}

fn visited(directory: &Path) -> Vec<String> {
    let state = directory.is_dir().then(|| State::open(directory).ok()).flatten();
    state.map(|state| state.visits.into_iter().filter(|(_, memory)| memory.gone.is_none()).map(|(name, _)| name).collect()).unwrap_or_default()
}
