//! Instructions of a pass that has nothing to do, counted by callgrind: a figure that a busy machine does not change, kept in
//! `benches/instructions.txt`. It depends on the compiler, the C library and valgrind, so it is compared only where these are the
//! same.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::local::World;
use crate::measure::run;

const FILE: &str = "benches/instructions.txt";
/// More than this much more fails.
const MOST: f64 = 1.05;
/// The exit code for what could not be checked.
const NOT_CHECKED: i32 = 77;
const RUNS: usize = 3;

/// The argument that asks for this instead of the table; with the other one behind it the figure is written anew.
const ASKED: &str = "--instructions";
const WRITE: &str = "--write";

/// Counts, if that is asked for; then this is the exit code.
pub(crate) fn asked() -> Option<i32> {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    has(ASKED).then(|| counted(has(WRITE)).unwrap_or_else(|why| not_checked(&why)))
}

fn not_checked(why: &str) -> i32 {
    println!("NOT CHECKED: {why}");
    NOT_CHECKED
}

/// # Errors
/// Why nothing could be compared.
fn counted(anew: bool) -> Result<i32, String> {
    let built_with = built_with().ok_or("valgrind, rustc or ldd is missing")?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let noted = noted(&fs::read_to_string(&file).unwrap_or_default());
    let other = built_with.iter().find(|(name, value)| noted.get(name.as_str()) != Some(value));
    if let (Some((name, value)), false) = (other, anew) {
        let before = noted.get(name).map_or("nothing", String::as_str);
        return Err(format!("{FILE} was written with {before}, here is {value}; `benches/instructions --write` writes it anew"));
    }
    let instructions = instructions();
    if anew {
        let lines: String = built_with.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
        let head = "# Of our process, in a pass over 200 unchanged sessions in a local shell: `benches/instructions --write`.\n";
        fs::write(&file, format!("{head}{lines}instructions = {instructions}\n")).unwrap();
        println!("{instructions} instructions, noted in {FILE}");
        return Ok(0);
    }
    let before: u64 = noted.get("instructions").and_then(|number| number.parse().ok()).ok_or(format!("{FILE} holds no number"))?;
    let ratio = instructions as f64 / before as f64;
    println!("{instructions} instructions; {before} are noted: {ratio:.3} x, at most {MOST} x");
    Ok(i32::from(ratio > MOST))
}

/// What the figure depends on beside the program.
fn built_with() -> Option<BTreeMap<String, String>> {
    let first = |program: &str| {
        let output = Command::new(program).arg("--version").output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned())
    };
    let of = |(name, program): (&str, &str)| Some((name.to_owned(), first(program)?));
    [("rustc", "rustc"), ("libc", "ldd"), ("valgrind", "valgrind")].into_iter().map(of).collect()
}

fn noted(text: &str) -> BTreeMap<String, String> {
    let entries = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "));
    entries.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The least of a few runs: hash maps are seeded anew in each.
fn instructions() -> u64 {
    let world = World::new();
    world.corpus(200);
    let sync = ["sync", "box", "--json"];
    // The first brings them, the second notes that they are here.
    (0..2).for_each(|_| drop(run(&mut world.program(&sync))));
    let once = |_| {
        let (profile, log) = (world.path("profile"), world.path("log"));
        let option = |name: &str, path: &PathBuf| format!("--{name}={}", path.display());
        let mut counting = Command::new("valgrind");
        counting.args(["--tool=callgrind", &option("callgrind-out-file", &profile), &option("log-file", &log)]);
        counting.arg(env!("CARGO_BIN_EXE_claude-session-sync")).args(sync).env_clear().envs(world.environment());
        run(&mut counting);
        let said = fs::read_to_string(&log).unwrap();
        let collected = said.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, number)| number.trim().parse());
        collected.unwrap_or_else(|| panic!("callgrind said nothing of it: {said}")).unwrap()
    };
    (0..RUNS).map(once).min().unwrap()
}
