//! A test that cannot run here says so, and the run ends with a list of them (`tests/skipped.rs`).

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Says, past the capture of test output, that the running test, or a part of it, is left out and why. In CI nothing may be
/// left out.
pub(crate) fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "in CI no test may skip itself: {reason}");
    record(reason);
}

/// The same for what only root can do: everybody else may leave it out, in CI too.
pub(crate) fn skip_unless_root(reason: &str) {
    if nix::unistd::geteuid().is_root() { skip(reason) } else { record(&format!("{reason} (not root)")) }
}

fn record(reason: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("SKIPPED {test}: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    // One file for one run: cargo is the parent of all its test programs. A line is one write, so that none is torn.
    let run = Path::new(env!("CARGO_TARGET_TMPDIR")).join("skipped");
    fs::create_dir_all(&run).unwrap();
    let list = OpenOptions::new().append(true).create(true).open(run.join(std::os::unix::process::parent_id().to_string()));
    list.unwrap().write_all(line.as_bytes()).unwrap();
}

/// Whether a program can be run; says so and skips if not.
pub(crate) fn have(program: &str, argument: &str) -> bool {
    let found = Command::new(program).arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        skip(&format!("{program} is not installed"));
    }
    found
}
