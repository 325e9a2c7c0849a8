//! A far side reached through the local shell: what the program and its script cost by themselves.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use claude_session_sync::reconcile::project::encode;

use crate::corpus::{Written, words, write};
use crate::e2e_world::put_clone;
use crate::measure::{Table, calls, median, milliseconds, run};

/// Both sides of a pass.
pub(crate) struct World(tempfile::TempDir);

impl World {
    pub(crate) fn new() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        put_clone(&world.path("home/projects/widget"), "acme/widget");
        put_clone(&world.path("far/workspaces/widget"), "acme/widget");
        fs::create_dir_all(world.path("home/.claude/sessions")).unwrap();
        fs::create_dir_all(world.path("far/.claude/sessions")).unwrap();
        let file = world.path("home/.config/claude-session-sync/config.toml");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let (far, path) = (world.path("far"), std::env::var("PATH").unwrap());
        let machine = format!(
            "[[machine]]\nname = \"box\"\ncommand = [\"env\", \"-i\", \"HOME={}\", \"PATH={path}\"]\nrepositories = [\"acme/widget\"]\nworkspaces = \"{}\"\n",
            far.display(),
            far.join("workspaces").display()
        );
        fs::write(file, machine).unwrap();
        world
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(below)
    }

    pub(crate) fn corpus(&self, sessions: u32) -> Written {
        write(&self.path("far/.claude"), &self.path("far/workspaces/widget"), sessions)
    }

    pub(crate) fn environment(&self) -> BTreeMap<String, String> {
        [("HOME", self.path("home").display().to_string()), ("PATH", std::env::var("PATH").unwrap())].map(|(name, value)| (name.to_owned(), value)).into()
    }

    pub(crate) fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_claude-session-sync"));
        command.args(arguments).env_clear().envs(self.environment());
        command
    }
}

/// Written two hours ago, so that its stamp speaks for it.
fn rest(file: &Path) {
    let then = SystemTime::now() - Duration::from_secs(7200);
    fs::File::options().write(true).open(file).unwrap().set_modified(then).unwrap();
}

/// The rows without a line.
pub(crate) fn rows(table: &mut Table) {
    unchanged(table, 200, "50 ms");
    if std::env::var_os("BENCH_MANY").is_some() {
        unchanged(table, 10_000, "1 s, 64 MB");
    } else {
        println!("10,000 sessions: left out without BENCH_MANY=1");
    }
    large(table);
    let world = World::new();
    let version = median(21, || run(&mut world.program(&["--version"])).0);
    let nothing = median(21, || run(&mut Command::new("true")).0);
    table.row("start of --version", "3 ms", milliseconds(version.wall), format!("`true` {}", milliseconds(nothing.wall)));
}

fn unchanged(table: &mut Table, sessions: u32, budget: &str) {
    let world = World::new();
    let Written { files, bytes } = world.corpus(sessions);
    let label = format!("{sessions} sessions ({files} files, {:.1} MB)", bytes as f64 / 1e6);
    let sync = || run(&mut world.program(&["sync", "box", "--json"])).0;
    let first = sync();
    let copied = run(Command::new("cp").arg("-a").arg(world.path("far/.claude/projects")).arg(world.path("copy"))).0;
    let shown = format!("{}, {} MB at its peak", milliseconds(first.wall), first.peak / 1024);
    table.row(&format!("first pass over {label}, local shell"), "64 MB", shown, format!("cp -a of the same tree {}", milliseconds(copied.wall)));
    sync();
    let again = median(5, sync);
    let listing = median(5, || run(Command::new("find").arg(world.path("far/.claude/projects")).args(["-type", "f", "-printf", "%i %s %T@ %C@ %p\n"])).0);
    let shown = format!("{}, {} MB at its peak", milliseconds(again.wall), again.peak / 1024);
    let beside = format!("find over the same files {}", milliseconds(listing.wall));
    table.row(&format!("pass over {label} that did not change, local shell"), budget, shown, beside);
    match calls(Path::new(env!("CARGO_BIN_EXE_claude-session-sync")), &["sync", "box", "--json"], &world.environment()) {
        Some(calls) => table.row("system calls of our process in that pass", "", calls.to_string(), format!("{:.1} a file", calls as f64 / files as f64)),
        None => println!("no strace: system calls are not counted"),
    }
}

/// One transcript of 2 GB, or of 256 MB where that was not asked for.
fn large(table: &mut Table) {
    let megabytes: u64 = if std::env::var_os("BENCH_LARGE").is_some() { 2048 } else { 256 };
    let world = World::new();
    world.corpus(1);
    let files = crate::e2e_world::files(&world.path("far/.claude/projects"));
    let file = files.iter().find(|file| file.parent().is_some_and(|parent| parent.ends_with(encode(&world.path("far/workspaces/widget").to_string_lossy()))));
    let file = file.unwrap();
    // Lines of 64 KB, as are routine.
    let line = format!("{{\"type\":\"attachment\",\"x\":\"{}\"}}\n", words(7, (64 << 10) - 40));
    let mut out = std::io::BufWriter::new(fs::File::options().append(true).open(file).unwrap());
    (0..megabytes * 16).for_each(|_| out.write_all(line.as_bytes()).unwrap());
    out.into_inner().unwrap();
    rest(file);
    let first = run(&mut world.program(&["sync", "box", "--json"])).0;
    let copied = run(Command::new("cp").arg(file).arg(world.path("copy"))).0;
    let beside = format!("took {}; cp of it {}", milliseconds(first.wall), milliseconds(copied.wall));
    table.row(&format!("a transcript of {megabytes} MB comes home, local shell"), "64 MB", format!("{} MB at its peak", first.peak / 1024), beside);
    let mut out = fs::File::options().append(true).open(file).unwrap();
    out.write_all(line.as_bytes()).unwrap();
    drop(out);
    rest(file);
    let grown = run(&mut world.program(&["sync", "box", "--json"])).0;
    let beside = format!("took {}", milliseconds(grown.wall));
    table.row(&format!("the same grew by {} B", line.len()), "64 MB", format!("{} MB at its peak", grown.peak / 1024), beside);
}
