//! The demo as its reader meets it: the program itself, with an environment of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::remote_far::{names, program};

struct Reader {
    home: tempfile::TempDir,
    temporary: tempfile::TempDir,
}

impl Reader {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), temporary: tempfile::tempdir().unwrap() }
    }

    /// The demo, with `PATH` in this reader's environment and nothing else that could be borrowed.
    fn demo(&self, path: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_claude-session-sync"));
        command.arg("demo").args(arguments).env_clear().current_dir(self.home.path());
        command.env("HOME", self.home.path()).env("TMPDIR", self.temporary.path()).env("PATH", path).env("GH_TOKEN", "never-to-be-used");
        command.output().unwrap()
    }
}

/// Directories with the tools that a demo may use. No ssh, no gh, nothing that reaches a network.
fn tools(without: &[&str]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let known = ["sh", "env", "git", "cat", "cp", "date", "dd", "df", "find", "flock", "grep", "head", "id", "ln", "ls", "mkdir", "mv", "ps", "rm", "rmdir"];
    for name in known.into_iter().chain(["sed", "sha256sum", "sleep", "sort", "stat", "sync", "tail", "tar", "touch", "tr", "uniq", "wc", "xargs", "od"]) {
        if let Some(found) = program(name).filter(|_| !without.contains(&name)) {
            symlink(found, directory.path().join(name)).unwrap();
        }
    }
    directory
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_demo_tells_its_story_and_leaves_nothing_behind() {
    let (reader, tools) = (Reader::new(), tools(&[]));
    let output = reader.demo(tools.path(), &[]);
    let told = told(&output);
    assert!(output.status.success(), "{told}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "the whole story is on standard output");
    for line in ["$ claude-session-sync sync\n", "$ claude-session-sync conflicts\n", "$ claude-session-sync list sessions\n"] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert!(told.contains("kept as its own session") && told.contains("replaced by the newer copy"), "{told}");
    assert!(told.contains("was continued on both sides"), "{told}");
    assert!(told.contains("All 13 files") && told.contains("All 16 files"), "{told}");
    assert!(told.contains("the laptop's copy, as it was"), "{told}");
    assert!(told.trim_end().ends_with("sync --dry-run"), "it ends with the reader's next command: {told}");
    assert!(!told.contains('\u{1b}'), "no escape sequence in a pipe");
    assert_eq!(names(reader.temporary.path()), Vec::<String>::new());
    assert_eq!(names(reader.home.path()), Vec::<String>::new());
}

#[test]
fn a_kept_world_has_one_line_that_points_every_verb_at_it() {
    let (reader, tools) = (Reader::new(), tools(&[]));
    let output = reader.demo(tools.path(), &["--keep", "a world"]);
    let told = told(&output);
    assert!(output.status.success(), "{told}");
    let line = told.lines().map(str::trim).find(|line| line.starts_with("export PATH=")).unwrap();
    let world = reader.home.path().join("a world").canonicalize().unwrap();
    let script = format!("{line}; claude-session-sync sync --json && claude-session-sync config path && claude-session-sync list sessions");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &script]).env_clear().env("HOME", reader.home.path()).env("PATH", tools.path()).env("GH_TOKEN", "never-to-be-used");
    let played = shell.env("XDG_DATA_HOME", reader.home.path().join("data")).output().unwrap();
    let said = self::told(&played);
    assert!(played.status.success(), "{said}");
    assert!(said.contains(world.join("laptop/.config").to_str().unwrap()), "{said}");
    assert!(said.contains("Release notes of gadget 2.0"), "{said}");
    let report: serde_json::Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!(report["visits"].as_array().unwrap().len(), 2, "{report}");
    assert_eq!(report["actions"].as_array().unwrap().len(), 0, "{report}");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("{line}; claude-session-sync service uninstall")]).env_clear().env("HOME", reader.home.path()).env("PATH", tools.path());
    let refused = shell.output().unwrap();
    assert!(refused.status.code() == Some(2) && String::from_utf8_lossy(&refused.stderr).starts_with("error: there is no service"), "{refused:?}");
    assert_eq!(names(reader.home.path()), ["a world"], "nothing of the reader's own is touched");
}

#[test]
fn the_demo_never_builds_its_world_over_somebody_s_files() {
    let (reader, tools) = (Reader::new(), tools(&[]));
    let place: PathBuf = reader.home.path().join("mine");
    fs::create_dir(&place).unwrap();
    fs::write(place.join("letter"), "dear").unwrap();
    let output = reader.demo(tools.path(), &["--keep", "mine"]);
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    assert!(told(&output).contains("mine is not empty"), "{}", told(&output));
    assert_eq!(names(&place), ["letter"]);
}

#[test]
fn without_git_the_demo_says_so_and_builds_nothing() {
    let (reader, tools) = (Reader::new(), tools(&["git"]));
    let output = reader.demo(tools.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let told = told(&output);
    assert!(told.starts_with("error: git cannot be run") && told.contains("\nhint: install git"), "{told}");
    assert_eq!(names(reader.temporary.path()), Vec::<String>::new());
}
