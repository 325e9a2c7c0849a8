//! The end of a run: the list of what was left out. Its name is the last, because cargo runs test programs by name.

use std::fs;
use std::io::Write as _;
use std::path::Path;

#[test]
fn what_was_skipped_in_this_run_is_listed() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("skipped");
    let list = fs::read_to_string(directory.join(std::os::unix::process::parent_id().to_string())).unwrap_or_default();
    let mut lines: Vec<&str> = list.lines().collect();
    lines.sort_unstable();
    lines.dedup();
    let mut text = match lines.len() {
        0 => "no test was skipped\n".to_owned(),
        1 => "one thing was skipped in this run:\n".to_owned(),
        many => format!("{many} things were skipped in this run:\n"),
    };
    text.extend(lines.iter().map(|line| format!("  {line}\n")));
    // Past the capture of test output.
    std::io::stderr().write_all(text.as_bytes()).unwrap();
    assert!(lines.iter().all(|line| line.ends_with("(not root)")) || std::env::var_os("CI").is_none(), "in CI no test may skip itself");
    // Lists of runs that ended before they came here go with this one's.
    fs::remove_dir_all(&directory).ok();
}
