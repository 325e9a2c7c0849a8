//! The budget table of the design, measured: connections, channels, bytes, memory, system calls, and times beside what they are
//! compared with in the same run. Nothing here passes or fails; machines are noisy, ratios and counts are what to read.
//!
//! `cargo bench` prints all of it. Needs root and sshd for the rows over a line; says which rows it left out.
//! `BENCH_LARGE=1 cargo bench` also brings a transcript of 2 GB home.

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

mod idle;
mod local;
mod measure;
mod over_the_line;

use measure::Table;

fn main() {
    let mut table = Table::default();
    over_the_line::rows(&mut table);
    local::rows(&mut table);
    idle::rows(&mut table);
    table.print();
}
