//! The program: arguments in, exit code out.

use std::process::ExitCode;

use claude_session_sync::cli;
use claude_session_sync::paths::Environment;

fn main() -> ExitCode {
    cli::main(std::env::args_os(), Environment::of_process())
}
