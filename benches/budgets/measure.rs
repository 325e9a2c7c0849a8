//! Runs of real programs, and the table that they fill.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    /// Peak resident memory of the process itself, KiB, as the kernel counted it.
    pub(crate) peak: u64,
}

/// Runs a command to its end, which is to be a good one.
pub(crate) fn run(command: &mut Command) -> (Cost, String) {
    let (cost, text, ended) = run_to_any_end(command);
    ended.unwrap_or_else(|complaints| panic!("{command:?} {complaints}"));
    (cost, text)
}

/// Runs a command to its end, and gives what it complained of, if that was no good one. The peak is read until the process is gone.
pub(crate) fn run_to_any_end(command: &mut Command) -> (Cost, String, Result<(), String>) {
    let began = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut out, &mut text).unwrap();
        text
    });
    let complaints = std::thread::spawn(move || {
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut err, &mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut peak = 0;
    let ended = loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let high = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok());
        peak = high.unwrap_or(0).max(peak);
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    };
    let wall = began.elapsed();
    let (text, complaints) = (reading.join().unwrap(), complaints.join().unwrap());
    let ended = if ended.success() { Ok(()) } else { Err(format!("ended with {ended}: {}{complaints}", text.chars().take(2000).collect::<String>())) };
    (Cost { wall, peak }, text, ended)
}

/// The median of several runs, by wall time.
pub(crate) fn median(runs: usize, mut once: impl FnMut() -> Cost) -> Cost {
    middle((0..runs).map(|_| once()).collect(), |cost| cost.wall)
}

/// The one in the middle, by wall time.
pub(crate) fn middle<T: Copy>(mut runs: Vec<T>, wall: impl Fn(&T) -> Duration) -> T {
    runs.sort_by_key(wall);
    runs[runs.len() / 2]
}

/// Milliseconds with one decimal, or seconds.
pub(crate) fn milliseconds(wall: Duration) -> String {
    if wall < Duration::from_secs(10) { format!("{:.1} ms", wall.as_secs_f64() * 1000.0) } else { format!("{:.1} s", wall.as_secs_f64()) }
}

/// System calls of a program itself, its threads counted and its children not. `None` without strace.
pub(crate) fn calls(program: &Path, arguments: &[&str], environment: &BTreeMap<String, String>) -> Option<usize> {
    Command::new("strace").arg("-V").output().ok()?;
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-o"]).arg(log.path()).arg(program).args(arguments).env_clear().envs(environment);
    run(&mut traced);
    Some(calls_in(&std::fs::read_to_string(log.path()).unwrap()))
}

/// Of the lines of strace: who runs another program is a child, also before it does.
fn calls_in(log: &str) -> usize {
    let lines = || log.lines().filter_map(|line| line.split_once(' ')).map(|(pid, call)| (pid, call.trim_start()));
    let first = lines().next().map(|(pid, _)| pid);
    let children: BTreeSet<&str> = lines().filter(|(_, call)| call.starts_with("execve(")).map(|(pid, _)| pid).filter(|pid| Some(*pid) != first).collect();
    lines().filter(|(pid, call)| !children.contains(pid) && call.starts_with(|c: char| c.is_ascii_lowercase())).count()
}

/// What is printed.
#[derive(Default)]
pub(crate) struct Table(Vec<[String; 4]>);

/// How a row is told to the process that prints the table.
const ROW: &str = "ROW\t";

impl Table {
    /// A row: what, its budget, what was measured, and what it was measured beside.
    pub(crate) fn row(&mut self, what: &str, budget: &str, measured: String, beside: String) {
        println!("  {what}: {measured}; {beside}");
        self.0.push([what.to_owned(), budget.to_owned(), measured, beside]);
    }

    /// As lines that [`Table::hear`] understands.
    pub(crate) fn tell(&self) {
        self.0.iter().for_each(|row| println!("{ROW}{}", row.join("\t")));
    }

    /// Takes the rows of another process.
    pub(crate) fn hear(&mut self, text: &str) {
        for row in text.lines().filter_map(|line| line.strip_prefix(ROW)) {
            let mut cells = row.split('\t').map(str::to_owned);
            self.0.push([(); 4].map(|()| cells.next().unwrap_or_default()));
        }
    }

    pub(crate) fn print(&self) {
        println!();
        for row in [["what", "budget", "measured", "beside, in the same run"].map(str::to_owned), ["---"; 4].map(str::to_owned)].iter().chain(&self.0) {
            println!("| {} |", row.join(" | "));
        }
    }
}
