//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

/// Longest wait for anything that a test expects.
pub(crate) const LONGEST: Duration = Duration::from_secs(60);

/// Returns as soon as `condition` holds; the runtime goes on meanwhile. Fails the test, naming `what`, when it never does.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LONGEST, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The same, in a test that has no runtime.
pub(crate) fn reached(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LONGEST, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The processes of a group that still run, zombies not counted.
pub(crate) fn members(group: i32) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // Behind the command's name, which may hold anything: state, parent, group.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        if fields.get(2) == Some(&group.to_string().as_str()) && fields[0] != "Z" {
            found.push(pid);
        }
    }
    found
}

/// The processes that have this home in their environment, zombies not counted.
#[cfg(target_os = "linux")]
pub(crate) fn living_with(home: &std::path::Path) -> Vec<i32> {
    let variable = format!("HOME={}\0", home.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A zombie has no environment any more.
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if memchr::memmem::find(&environment, variable.as_bytes()).is_some() {
            found.push(pid);
        }
    }
    found
}
