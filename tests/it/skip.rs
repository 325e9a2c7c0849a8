//! A test that cannot run here says so.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// Says, past the capture of test output, that the running test is left out and why. In CI nothing may be left out.
pub(crate) fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "in CI no test may skip itself: {reason}");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
}

/// Whether a program can be run; says so and skips if not.
pub(crate) fn have(program: &str, argument: &str) -> bool {
    let found = Command::new(program).arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        skip(&format!("{program} is not installed"));
    }
    found
}
