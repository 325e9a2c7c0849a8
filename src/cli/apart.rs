//! `apart PROGRAM…`, hidden: becomes another program, in a session of its own.
//!
//! `connect` starts the ssh that carries a terminal through it: that ssh reads a terminal which is not its own, and the system stops
//! whoever does so from the background of the same session.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::{Exit, Failure, Kind};

/// What `apart` is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    words: Vec<OsString>,
}

/// Runs the verb; returns only if that fails.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let cannot = |error: &dyn std::error::Error| Failure::new(Kind::Failed, "no session of its own can be had").because(error);
    nix::unistd::setsid().map_err(|error| cannot(&error))?;
    let (program, rest) = arguments.words.split_first().ok_or_else(|| Failure::new(Kind::Usage, "no program is named"))?;
    let error = Command::new(program).args(rest).exec();
    Err(Failure::new(Kind::Failed, format!("cannot run {}", program.display())).because(&error))
}
