//! What a long test counted, said past the capture of test output, so that a run shows its figures.

use std::io::Write as _;

/// One line: the running test and what it counted.
pub(crate) fn figure(counted: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    std::io::stderr().write_all(format!("FIGURE {test}: {counted}\n").as_bytes()).unwrap();
}
