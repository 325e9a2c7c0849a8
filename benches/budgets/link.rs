//! The rows over a link of 60 ms and 50 Mbit/s: this program once more, in a network of its own.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::measure::Table;
use crate::over_the_line;

const ROUND_TRIP: &str = "60";
const MEGABITS: &str = "50";
/// The argument of the process on the near side of the link.
const NEAR: &str = "--near";

/// Whether this process is that one; then it measures, tells its rows, and is done.
pub(crate) fn is_near_side() -> bool {
    if !std::env::args().any(|argument| argument == NEAR) {
        return false;
    }
    let mut table = Table::default();
    over_the_line::rows_of_link(&mut table, &format!(", {ROUND_TRIP} ms and {MEGABITS} Mbit/s"));
    table.tell();
    true
}

/// The rows over the link.
pub(crate) fn rows(table: &mut Table) {
    if std::env::var_os("BENCH_LINK").is_none() {
        println!("the rows over a link of {ROUND_TRIP} ms and {MEGABITS} Mbit/s: left out without BENCH_LINK=1");
        return;
    }
    let mut trial = Command::new("unshare");
    trial.args(["--net", "sh", "-c", "ip link set lo up && test -w /dev/net/tun && python3 --version"]).stdout(Stdio::null()).stderr(Stdio::null());
    if !trial.status().is_ok_and(|status| status.success()) {
        println!("no rights to make a network, no `ip`, no /dev/net/tun or no python3: the rows over a link are left out");
        return;
    }
    let door = tempfile::NamedTempFile::new().unwrap();
    let emulator = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/budgets/link.py");
    let mut near = Command::new("unshare");
    near.args(["--net", "python3"]).arg(emulator).args([ROUND_TRIP, MEGABITS]).arg(door.path()).arg("--").arg(std::env::current_exe().unwrap()).arg(NEAR);
    let output = near.env("LINK_DOOR", door.path()).stderr(Stdio::inherit()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{}", text.lines().filter(|line| !line.starts_with("ROW")).collect::<Vec<_>>().join("\n"));
    table.hear(&text);
}
