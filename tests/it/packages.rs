//! The packages: one version number in all of them, and what `packaging/release.sh` makes.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::skip::have;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const PROGRAM: &str = env!("CARGO_BIN_EXE_claude-session-sync");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// What stands between two others, where that is there once.
fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    assert_eq!(text.matches(before).count(), 1, "{before} in {text}");
    text.split_once(before).unwrap().1.split_once(after).unwrap().0
}

fn ran(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

fn said(command: &mut Command) -> String {
    String::from_utf8(ran(command).stdout).unwrap()
}

#[test]
fn there_is_one_version_number() {
    let formula = text("packaging/homebrew/claude-session-sync.rb");
    assert_eq!(between(&formula, "/claude-session-sync-", ".tar.gz\""), VERSION, "the formula");
    let role = text("packaging/ansible/roles/claude_session_sync/defaults/main.yml");
    assert_eq!(between(&role, "\nclaude_session_sync_version: \"", "\"\n"), VERSION, "the role");
    let readme = text("README.md");
    assert_eq!(between(&readme, "tar -xzf claude-session-sync-", "-x86_64"), VERSION, "the archive in the README");
    assert_eq!(between(&readme, "apt install ./claude-session-sync_", "-1_amd64.deb"), VERSION, "the package in the README");
    let page = said(Command::new(PROGRAM).arg("man").env_clear().env("HOME", "/nowhere"));
    assert_eq!(between(&page, ".TH claude-session-sync 1 \"\" \"claude-session-sync ", "\""), VERSION, "the manual");
    // The number changes with a release; what came since then stands above it. Before the first release there is none.
    let changelog = text("CHANGELOG.md");
    let mut releases = changelog.lines().filter_map(|line| line.strip_prefix("## [")?.split(']').next()).filter(|name| *name != "Unreleased");
    assert_eq!(releases.next().unwrap_or("0.1.0"), VERSION, "the changelog");
}

#[test]
fn the_formula_is_ruby() {
    if have("ruby", "--version") {
        ran(Command::new("ruby").args(["-wc", "packaging/homebrew/claude-session-sync.rb"]).current_dir(root()));
    }
}

/// A small program that is this one: it is packed, and the real one is large.
fn stand_in(directory: &Path) -> std::path::PathBuf {
    let path = directory.join("program");
    fs::write(&path, format!("#!/bin/sh\nexec '{PROGRAM}' \"$@\"\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path
}

fn release(work: &Path, out: &Path) -> String {
    let program = stand_in(work);
    let mut release = Command::new(root().join("packaging/release.sh"));
    release.args(["--base-url", "https://dl.example/there/", "--program"]).arg(format!("x86_64-test={}", program.display())).arg(out);
    said(release.env("HOME", work).env("SOURCE_DATE_EPOCH", "1700000000"))
}

#[test]
fn a_release_has_archives_whose_checksums_hold_and_a_formula_that_names_them() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let told = release(place.path(), &out);
    let name = format!("claude-session-sync-{VERSION}-x86_64-test");
    let listed = said(Command::new("tar").arg("-tzf").arg(out.join(format!("{name}.tar.gz"))));
    for file in [
        "claude-session-sync",
        "README.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "man/claude-session-sync.1",
        "man/claude-session-sync-sync.1",
        "completions/bash/claude-session-sync",
        "completions/zsh/_claude-session-sync",
        "completions/fish/claude-session-sync.fish",
    ] {
        assert!(listed.lines().any(|line| line == format!("{name}/{file}")), "{file} is not in {listed}");
    }
    assert_eq!(said(Command::new(out.join(&name)).arg("--version").env_clear()), format!("claude-session-sync {VERSION}\n"));
    let sums = fs::read_to_string(out.join("SHA256SUMS")).unwrap();
    assert_eq!(sums.lines().count(), fs::read_dir(&out).unwrap().count() - 1, "every file but the list itself is in {sums}");
    if have("sha256sum", "--version") {
        ran(Command::new("sha256sum").args(["--strict", "-c", "SHA256SUMS"]).current_dir(&out));
    }
    // Not made where the tests run outside of a clone.
    if told.contains("no source and no formula") {
        return;
    }
    let formula = fs::read_to_string(out.join("claude-session-sync.rb")).unwrap();
    let source = format!("claude-session-sync-{VERSION}.tar.gz");
    let sum = sums.lines().find_map(|line| line.strip_suffix(&format!("  {source}"))).unwrap();
    assert!(formula.contains(&format!("  url \"https://dl.example/there/{source}\"\n  sha256 \"{sum}\"\n")), "{formula}");
    assert!(formula.contains("  homepage \"https://dl.example/there\"\n") && !formula.contains("fills in"), "{formula}");
}

#[test]
fn the_same_source_gives_the_same_archives() {
    let place = tempfile::tempdir().unwrap();
    if !said(Command::new("tar").arg("--version")).contains("GNU") {
        return crate::skip::skip("GNU tar is not installed");
    }
    let sums = ["one", "two"].map(|name| {
        release(place.path(), &place.path().join(name));
        fs::read_to_string(place.path().join(name).join("SHA256SUMS")).unwrap()
    });
    assert_eq!(sums[0], sums[1]);
}

#[test]
fn the_unit_of_a_package_is_the_shipped_one_with_the_program_s_path() {
    let place = tempfile::tempdir().unwrap();
    ran(Command::new(root().join("packaging/beside.sh")).args([PROGRAM, "/usr/bin/claude-session-sync"]).arg(place.path()).env("HOME", place.path()));
    let unit = fs::read_to_string(place.path().join("systemd/claude-session-sync.service")).unwrap();
    let shipped = text("packaging/systemd/claude-session-sync.service");
    assert_eq!(unit, shipped.replace("@PROGRAM@", "/usr/bin/claude-session-sync").replace("\n@ENVIRONMENT@", ""));
    assert!(unit.contains("\nExecStart=/usr/bin/claude-session-sync run\n") && !unit.contains("ENVIRONMENT@"), "{unit}");
}

#[test]
fn the_debian_package_takes_everything_that_lies_beside_the_program() {
    let manifest = text("Cargo.toml");
    for (from, to) in [
        ("target/release/claude-session-sync", "usr/bin/"),
        ("target/release/beside/systemd/claude-session-sync.service", "usr/lib/systemd/user/"),
        ("target/release/beside/man/*.1.gz", "usr/share/man/man1/"),
        ("target/release/beside/completions/bash/claude-session-sync", "usr/share/bash-completion/completions/"),
        ("target/release/beside/completions/zsh/_claude-session-sync", "usr/share/zsh/vendor-completions/"),
        ("target/release/beside/completions/fish/claude-session-sync.fish", "usr/share/fish/vendor_completions.d/"),
    ] {
        assert!(manifest.contains(&format!("[\"{from}\", \"{to}\", ")), "{from}");
    }
    // The text of the licence is that of the project's file.
    let plain = |text: &str| text.split_whitespace().filter(|word| *word != ".").collect::<Vec<_>>().join(" ");
    let licence = text("LICENSE-MIT");
    let permission = plain(&licence[licence.find("Permission is hereby").unwrap()..]);
    assert!(plain(&text("packaging/debian/copyright")).contains(&permission));
}
