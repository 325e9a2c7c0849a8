//! A laptop and a codespace: a stand-in of gh, a real sshd behind a door that counts. Beside it, on the same tree and in the same run,
//! a connection made by hand and what else a user might take.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::api::TOKEN;
use crate::corpus::{Written, words, write};
use crate::e2e_world::{Laptop, id};
use crate::measure::{Cost, Table, calls, median, middle, milliseconds, run, run_to_any_end};
use crate::others::{ONE_BY_ONE, Others, Tool};

const NAME: &str = "fluffy-space-guacamole-5g9x7";
const GROWTH: usize = 10_000;
const RUNS: usize = 3;
/// Turns of what is compared closely.
const TURNS: usize = 31;
/// A first sync that takes more passes than this does not end.
const MOST_PASSES: usize = 20;

/// What one run took on the line.
#[derive(Debug, Clone, Copy)]
struct Taken {
    cost: Cost,
    connections: usize,
    channels: usize,
    /// Bytes to the codespace and from it, as ssh encrypted them.
    up: u64,
    down: u64,
}

impl Taken {
    fn told(&self) -> String {
        let Self { cost, connections, channels, up, down } = self;
        format!("{}, {connections} connection(s), {channels} channel(s), {up} B there, {down} B back", milliseconds(cost.wall))
    }

    fn times(&self, other: Duration) -> String {
        format!("{:.2} x", self.cost.wall.as_secs_f64() / other.as_secs_f64())
    }
}

/// A codespace with sessions, and the ways to it.
struct Line {
    laptop: Laptop,
    others: Others,
    _others_here: tempfile::TempDir,
    written: Written,
    sessions: u32,
    grown: u32,
}

impl Line {
    /// `None`: something is missing. Where `LINK_PORT` is set, over the link that leads there.
    fn with(sessions: u32) -> Option<Self> {
        let mut laptop = Laptop::new()?;
        let door = laptop.codespace(NAME)?.port();
        let port = std::env::var("LINK_PORT").map_or(door, |port| {
            std::fs::write(std::env::var("LINK_DOOR").unwrap(), door.to_string()).unwrap();
            port.parse().unwrap()
        });
        laptop.gh.entry(NAME, serde_json::json!({ "port": port }));
        // The first pass makes the key, and the stand-in lets it in.
        run(&mut laptop.command(&["sync", "--json"]));
        let written = write(&laptop.claude_at(NAME), &laptop.root_at(NAME), sessions);
        laptop.at(NAME).give(&laptop.claude_at(NAME));
        let others_here = tempfile::tempdir().unwrap();
        let others = Others::of(&laptop, NAME, port, others_here.path());
        Some(Self { laptop, others, _others_here: others_here, written, sessions, grown: 0 })
    }

    /// What somebody else left unwritten is on the disk before: who waits for the disk would wait for that, too.
    fn counted(&self, once: impl FnOnce() -> Cost) -> Taken {
        rustix::fs::sync();
        let far = self.laptop.at(NAME);
        let (connections, channels, (up, down)) = (far.connections(), far.sessions(), far.bytes());
        let cost = once();
        let (up_after, down_after) = far.bytes();
        Taken { cost, connections: far.connections() - connections, channels: far.sessions() - channels, up: up_after - up, down: down_after - down }
    }

    fn pass(&self) -> Taken {
        self.counted(|| run(&mut self.laptop.command(&["sync", "--json"])).0)
    }

    /// Passes until all is here: a visit begins no file after a minute, and the next goes on. And how many they were.
    fn passes(&self) -> (Taken, usize) {
        let mut passes = 0;
        let taken = self.counted(|| {
            let began = Instant::now();
            let mut peak = 0;
            loop {
                let (cost, text, ended) = run_to_any_end(&mut self.laptop.command(&["sync", "--json"]));
                (peak, passes) = (cost.peak.max(peak), passes + 1);
                match ended {
                    Ok(()) => return Cost { wall: began.elapsed(), peak },
                    Err(complaints) => assert!(passes < MOST_PASSES && text.contains("the rest comes at the next pass"), "{complaints}"),
                }
            }
        });
        (taken, passes)
    }

    fn other(&self, tool: Tool, grown: Option<&PathBuf>) -> Taken {
        self.counted(|| run(&mut self.others.command(tool, grown.map(PathBuf::as_path))).0)
    }

    /// `gh codespace ssh … true`: one connection, made as anybody would.
    fn fresh(&self) -> Cost {
        let key = self.laptop.data().join("ssh/id_ed25519");
        let mut command = Command::new(self.laptop.gh.program());
        command.args(["codespace", "ssh", "-c", NAME, "--", "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
        command.args(["-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR", "-i"]).arg(key).arg("true");
        command.env_clear().envs(self.laptop.environment()).env("GITHUB_API_URL", self.laptop.api.url()).env("GH_TOKEN", TOKEN);
        run(&mut command).0
    }

    /// One session of the codespace grows by a line, and rests.
    fn grow(&mut self) -> PathBuf {
        let project = claude_session_sync::reconcile::project::encode(&self.laptop.root_at(NAME).to_string_lossy());
        let number = self.grown % self.sessions;
        let file = self.laptop.claude_at(NAME).join("projects").join(project).join(format!("{}.jsonl", id(number)));
        self.grown += 1;
        let line = format!("{{\"type\":\"attachment\",\"x\":\"{}\"}}\n", words(self.grown, GROWTH - 30));
        OpenOptions::new().append(true).open(&file).unwrap().write_all(line.as_bytes()).unwrap();
        file
    }
}

/// The rows of one corpus. `tools` are those beside it.
fn corpus(table: &mut Table, sessions: u32, tools: &[Tool], on: &str) {
    let Some(mut line) = Line::with(sessions) else {
        println!("no sshd, no gh stand-in, or not root: the rows over a line{on} are left out");
        return;
    };
    let Written { files, bytes } = line.written;
    let label = format!("{sessions} sessions ({files} files, {:.1} MB){on}", bytes as f64 / 1e6);
    let gh = median(RUNS, || line.fresh()).wall;
    let (first, passes) = line.passes();
    let beside_it = format!("{passes} pass(es), {} MB at the peak; {} a fresh connection", first.cost.peak / 1024, first.times(gh));
    table.row(&format!("first sync, {label}"), "1 connection, <= 4 channels a pass; 64 MB", first.told(), beside_it);
    let firsts: Vec<(Tool, Taken)> = tools.iter().map(|tool| (*tool, line.other(*tool, None))).collect();
    beside(table, &format!("first sync, {label}"), &firsts, &first, files);
    line.others.seen();

    // By turns, and each beside the connection just before it: a machine that has more to do for a while is then as busy for both.
    line.pass();
    let turns: Vec<(Cost, Cost, Taken)> = (0..TURNS).map(|_| (line.fresh(), run(&mut line.others.fresh()).0, line.pass())).collect();
    let mut times: Vec<f64> = turns.iter().map(|(gh, _, idle)| idle.cost.wall.as_secs_f64() / gh.wall.as_secs_f64()).collect();
    times.sort_by(f64::total_cmp);
    let [low, median, high] = [TURNS / 4, TURNS / 2, TURNS * 3 / 4].map(|at| times[at]);
    let gh = middle(turns.iter().map(|(gh, ..)| *gh).collect(), |gh| gh.wall).wall;
    let ssh = middle(turns.iter().map(|(_, ssh, _)| *ssh).collect(), |ssh| ssh.wall).wall;
    let idle = middle(turns.into_iter().map(|(.., idle)| idle).collect(), |idle| idle.cost.wall);
    let of = format!("the middle one of {TURNS}, through the stand-in of gh; ssh alone {}", milliseconds(ssh));
    table.row(&format!("fresh connection{on}"), "", milliseconds(gh), of);
    let a_file = idle.down / files as u64;
    let ratio = format!("{median:.2} x the fresh connection just before it (the middle one of {TURNS} turns; half are within {low:.2} and {high:.2})");
    table.row(&format!("nothing changed, {label}"), "1 connection, 1 channel; 1.15 x", idle.told(), format!("{ratio}; {a_file} B a file"));
    let again: Vec<Tool> = tools.iter().copied().filter(|tool| *tool != Tool::Scp).collect();
    let idles: Vec<(Tool, Taken)> = again.iter().map(|tool| (*tool, line.other(*tool, None))).collect();
    beside(table, &format!("nothing changed, {label}"), &idles, &idle, files);
    growth(table, &mut line, (tools, &label), &idle, gh);
    ours(table, &mut line, &label);
}

fn growth(table: &mut Table, line: &mut Line, (tools, label): (&[Tool], &str), idle: &Taken, gh: Duration) {
    let mut taken: BTreeMap<usize, Vec<Taken>> = BTreeMap::new();
    for _ in 0..RUNS {
        let grown = line.grow();
        taken.entry(0).or_default().push(line.pass());
        for (at, tool) in tools.iter().enumerate() {
            taken.entry(at + 1).or_default().push(line.other(*tool, Some(&grown)));
        }
        line.others.seen();
    }
    let mut medians = taken.into_values().map(|runs| middle(runs, |taken| taken.cost.wall));
    let own = medians.next().unwrap();
    let more = own.down.saturating_sub(idle.down);
    let what = format!("one session grew by {GROWTH} B, {label}");
    let bytes = format!("{} a fresh connection; {more} B more came than when nothing changed, {} B more went", own.times(gh), own.up.saturating_sub(idle.up));
    table.row(&what, "k + 4 KiB, compressed on the line; 1.15 x", own.told(), bytes);
    let others: Vec<(Tool, Taken)> = tools.iter().copied().zip(medians).collect();
    beside(table, &what, &others, &own, 1);
}

/// The rows of the others. Who copies file by file did a few of them.
fn beside(table: &mut Table, what: &str, others: &[(Tool, Taken)], own: &Taken, files: usize) {
    for (tool, taken) in others {
        let mut compared = format!("{} ours", taken.times(own.cost.wall));
        if *tool == Tool::Scp && files > 1 {
            let all = taken.cost.wall.mul_f64(files as f64 / ONE_BY_ONE as f64);
            compared =
                format!("{ONE_BY_ONE} files; all {files} would take {}: {:.1} x ours", milliseconds(all), all.as_secs_f64() / own.cost.wall.as_secs_f64());
        }
        table.row(&format!("{what}: {}", tool.name()), "", taken.told(), compared);
    }
}

/// System calls of our own process.
fn ours(table: &mut Table, line: &mut Line, label: &str) {
    let environment = line.laptop.environment();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_claude-session-sync"));
    let counted = || calls(&program, &["sync", "--json"], &environment);
    let idle = counted();
    line.grow();
    let Some((idle, grown)) = idle.zip(counted()) else {
        println!("no strace: system calls are not counted");
        return;
    };
    let files = line.written.files;
    table.row(
        &format!("system calls of our process, {label}"),
        "",
        idle.to_string(),
        format!("{:.1} a file; {grown} when one session grew", idle as f64 / files as f64),
    );
}

/// The rows over a line without length: all that is there to be compared with.
pub(crate) fn rows(table: &mut Table) {
    let tools: Vec<Tool> = Tool::ALL.into_iter().filter(|tool| tool.is_here()).collect();
    for tool in Tool::ALL.iter().filter(|tool| !tools.contains(tool)) {
        println!("{} is not installed: left out", tool.name());
    }
    corpus(table, 1, &[], "");
    corpus(table, 200, &tools, "");
    if std::env::var_os("BENCH_MANY").is_some() {
        corpus(table, 10_000, &tools, "");
    } else {
        println!("10,000 sessions over a line: left out without BENCH_MANY=1");
    }
}

/// The same over a link with a length, by [`crate::link`].
pub(crate) fn rows_of_link(table: &mut Table, on: &str) {
    let tools: Vec<Tool> = Tool::ALL.into_iter().filter(|tool| tool.is_here()).collect();
    corpus(table, 200, &tools, on);
}
