//! The budget table of the design, measured: connections, channels, bytes, memory, system calls, and times beside what they are
//! compared with in the same run. Nothing here passes or fails; machines are noisy, ratios and counts are what to read.
//!
//! `cargo bench` prints it. Needs root and sshd for the rows over a line, and says which rows it left out. What takes more than a
//! minute is measured when it is asked for: `BENCH_MANY=1` ten thousand sessions, `BENCH_LARGE=1` a transcript of 2 GB, `BENCH_LINK=1`
//! a link of 60 ms and 50 Mbit/s. `cargo bench -- local line link idle`: only these parts of it.

#![expect(clippy::print_stdout, reason = "printing is what a benchmark is for")]
#![expect(clippy::unwrap_used, reason = "what cannot be measured ends the run")]

#[expect(dead_code, reason = "shared with the tests")]
#[path = "../../tests/it/api.rs"]
mod api;
#[expect(dead_code, reason = "shared with the tests")]
#[path = "../../tests/it/e2e_world.rs"]
mod e2e_world;
#[expect(dead_code, reason = "shared with the tests")]
#[path = "../../tests/it/gh.rs"]
mod gh;
#[path = "../../tests/it/rows.rs"]
mod rows;
#[expect(dead_code, reason = "shared with the tests")]
#[path = "../../tests/it/skip.rs"]
mod skip;
#[expect(dead_code, reason = "shared with the tests")]
#[path = "../../tests/it/sshd.rs"]
mod sshd;
#[expect(dead_code, reason = "shared with the tests")]
#[path = "../../tests/it/wait.rs"]
mod wait;
#[expect(dead_code, reason = "shared with the tests")]
#[path = "../../tests/it/way.rs"]
mod way;

mod corpus;
mod idle;
mod instructions;
mod link;
mod local;
mod measure;
mod others;
mod over_the_line;

use std::process::ExitCode;

use measure::Table;

/// Fills a part of the table.
type Rows = fn(&mut Table);

fn main() -> ExitCode {
    if let Some(code) = instructions::asked() {
        return u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from);
    }
    if link::is_near_side() {
        return ExitCode::SUCCESS;
    }
    let mut table = Table::default();
    let parts: [(&str, Rows); 4] = [("local", local::rows), ("line", over_the_line::rows), ("link", link::rows), ("idle", idle::rows)];
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    for (_, rows) in parts.iter().filter(|(name, _)| asked.is_empty() || asked.iter().any(|asked| asked == name)) {
        rows(&mut table);
    }
    table.print();
    ExitCode::SUCCESS
}
