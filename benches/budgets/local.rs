//! A far side reached through the local shell: what the program and its script cost by themselves.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::e2e_world::{put_clone, put_session, transcript};
use crate::measure::{Table, median, milliseconds, run};

struct World(tempfile::TempDir);

impl World {
    fn new() -> Self {
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

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(below)
    }

    fn session(&self, number: u32, content: &str, side_files: bool) -> PathBuf {
        let root = self.path("far/workspaces/widget");
        let file = put_session(&self.path("far/.claude"), &root, number, content);
        if side_files {
            let folder = file.with_extension("").join("tool-results");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("one.txt"), "a result\n").unwrap();
            rest(&folder.join("one.txt"));
        }
        rest(&file);
        file
    }

    fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_claude-session-sync"));
        command.args(arguments).env_clear().env("HOME", self.path("home")).env("PATH", std::env::var("PATH").unwrap());
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
    for (count, side_files, budget) in [(200, false, "50 ms"), (10_000, true, "1 s, 64 MB")] {
        let world = World::new();
        let root = world.path("far/workspaces/widget");
        for number in 0..count {
            world.session(number, &transcript(number, &root, "from there", 150), side_files);
        }
        let first = run(&mut world.program(&["sync", "box", "--json"])).0;
        let again = median(5, || run(&mut world.program(&["sync", "box", "--json"])).0);
        let listing = median(5, || run(Command::new("find").arg(world.path("far/.claude/projects")).args(["-type", "f", "-printf", "%i %s %T@ %C@ %p\n"])).0);
        let measured = format!("{}, {} MB at its peak", milliseconds(again.wall), again.peak / 1024);
        let beside = format!("find over the same files {}; the first pass took {}", milliseconds(listing.wall), milliseconds(first.wall));
        let shape = if side_files { " with side files" } else { "" };
        table.row(&format!("pass over {count} unchanged sessions{shape}"), budget, measured, beside);
        if count < 1000 {
            system_calls(table, &world, count);
        }
    }
    large(table);
    let world = World::new();
    let version = median(21, || run(&mut world.program(&["--version"])).0);
    let nothing = median(21, || run(&mut Command::new("true")).0);
    table.row("start of --version", "3 ms", milliseconds(version.wall), format!("`true` {}", milliseconds(nothing.wall)));
}

fn system_calls(table: &mut Table, world: &World, count: u32) {
    let counts = world.path("counts");
    let program = world.program(&["sync", "box", "--json"]);
    let mut traced = Command::new("strace");
    traced.args(["-f", "-c", "-U", "calls,name", "-o"]).arg(&counts).arg(program.get_program()).args(program.get_args());
    traced.env_clear().env("HOME", world.path("home")).env("PATH", std::env::var("PATH").unwrap());
    if Command::new("strace").arg("-V").output().is_err() {
        println!("no strace: system calls are not counted");
        return;
    }
    run(&mut traced);
    let text = fs::read_to_string(counts).unwrap();
    let total = text.lines().rev().find_map(|line| line.trim().strip_suffix(" total")?.split_whitespace().last()?.parse::<u64>().ok());
    let a_file = total.unwrap_or(0) / u64::from(count);
    table.row(
        &format!("system calls of that pass, {count} sessions"),
        "-",
        total.unwrap_or(0).to_string(),
        format!("{a_file} a session, both sides and the far tools counted"),
    );
}

/// One transcript of 2 GB, or of 256 MB where that was not asked for.
fn large(table: &mut Table) {
    let megabytes: u64 = if std::env::var_os("BENCH_LARGE").is_some() { 2048 } else { 256 };
    let world = World::new();
    let root = world.path("far/workspaces/widget");
    let file = world.session(1, &transcript(1, &root, "long", 150), false);
    let line = format!("{{\"type\":\"attachment\",\"x\":\"{}\"}}\n", "x".repeat((1 << 20) - 33));
    let mut out = std::io::BufWriter::new(fs::File::options().append(true).open(&file).unwrap());
    (0..megabytes).for_each(|_| out.write_all(line.as_bytes()).unwrap());
    out.into_inner().unwrap();
    rest(&file);
    let first = run(&mut world.program(&["sync", "box", "--json"])).0;
    let measured = format!("{} MB at its peak", first.peak / 1024);
    table.row(&format!("a transcript of {megabytes} MB comes home"), "64 MB", measured, format!("took {}", milliseconds(first.wall)));
}
