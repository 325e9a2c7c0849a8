//! Runs of the real program, and the table that they fill.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    /// Peak resident memory of the process itself, KiB, as the kernel counted it.
    pub(crate) peak: u64,
}

/// Runs a command to its end. The peak is read until the process is gone.
pub(crate) fn run(command: &mut Command) -> (Cost, String) {
    let began = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut out = child.stdout.take().unwrap();
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut out, &mut text).unwrap();
        text
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
    let text = reading.join().unwrap();
    assert!(ended.success(), "{command:?} ended with {ended}: {text}");
    (Cost { wall, peak }, text)
}

/// The median of several runs, by wall time.
pub(crate) fn median(runs: usize, mut once: impl FnMut() -> Cost) -> Cost {
    let mut costs: Vec<Cost> = (0..runs).map(|_| once()).collect();
    costs.sort_by_key(|cost| cost.wall);
    costs[runs / 2]
}

/// Milliseconds, with one decimal.
pub(crate) fn milliseconds(wall: Duration) -> String {
    format!("{:.1} ms", wall.as_secs_f64() * 1000.0)
}

/// What is printed.
#[derive(Default)]
pub(crate) struct Table(Vec<[String; 4]>);

impl Table {
    /// A row: what, its budget, what was measured, and what it was measured beside.
    pub(crate) fn row(&mut self, what: &str, budget: &str, measured: String, beside: String) {
        println!("  {what}: {measured}");
        self.0.push([what.to_owned(), budget.to_owned(), measured, beside]);
    }

    pub(crate) fn print(&self) {
        let header = ["what", "budget", "measured", "beside, in the same run"].map(str::to_owned);
        let width = |column: usize| self.0.iter().chain([&header]).map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2), width(3)];
        println!();
        for row in [&header].into_iter().chain(&self.0) {
            let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            println!("| {} |", cells.join(" | "));
        }
    }
}
