//! What the packages install beside the program: manual pages and completions, looked at by the programs that use them.

use std::fs;
use std::process::{Command, Stdio};

use crate::skip::have;

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_claude-session-sync"));
    command.args(arguments).env_clear().env("HOME", "/nowhere").stdin(Stdio::null());
    command
}

fn said(mut command: Command) -> String {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success() && output.stderr.is_empty(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn manual_pages_are_good_mandoc() {
    if !have("mandoc", "/dev/null") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let written = said(program(&["man", "--out", place.path().join("a/b").to_str().unwrap()]));
    assert!(written.lines().count() > 8 && written.contains("a/b/claude-session-sync-logs.1\n"), "{written}");
    for page in written.lines() {
        let lint = Command::new("mandoc").args(["-Tlint", "-W", "warning", page]).output().unwrap();
        let complaints = String::from_utf8(lint.stdout).unwrap();
        // Pages are made anew at each build and have no date; and clap puts a gap around the values of an option.
        let known = |line: &&str| !line.contains("missing date") && !line.contains("skipping paragraph macro: br");
        assert_eq!(complaints.lines().filter(known).collect::<Vec<_>>(), Vec::<&str>::new());
    }
    fs::write(place.path().join("main"), said(program(&["man"]))).unwrap();
    let mut read = Command::new("mandoc");
    read.args(["-Tutf8"]).arg(place.path().join("main"));
    let text = said(read).replace('\u{8}', "");
    assert!(text.contains("claude-session-sync 0.") && text.contains("Another pass is running."), "{text}");
}

/// Lets a shell read its completions and then run a line.
fn in_shell(shell: &str, arguments: &[&str], after: &str) -> Option<String> {
    if !have(shell, "--version") {
        return None;
    }
    let place = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_claude-session-sync"), place.path().join("claude-session-sync")).unwrap();
    let file = place.path().join("completions");
    fs::write(&file, said(program(&["completions", shell]))).unwrap();
    let mut command = Command::new(shell);
    command.args(arguments).arg(after.replace("FILE", file.to_str().unwrap()));
    command.env_clear().env("HOME", place.path()).env("PATH", format!("{}:/usr/bin:/bin", place.path().display()));
    Some(said(command))
}

#[test]
fn bash_completes_verbs_and_options() {
    let line = "source FILE; COMP_WORDS=(claude-session-sync lo); COMP_CWORD=1; COMP_TYPE=9; \
                _clap_complete_claude_session_sync claude-session-sync lo; echo \"${COMPREPLY[@]}\"; complete -p claude-session-sync";
    let Some(text) = in_shell("bash", &["--norc", "-c"], line) else { return };
    assert!(text.starts_with("logs\n") && text.contains("complete "), "{text}");
}

#[test]
fn zsh_reads_its_completions() {
    let line = "autoload -U compinit; compinit -D -u; source FILE; print -r -- ${_comps[claude-session-sync]}";
    let Some(text) = in_shell("zsh", &["-f", "-c"], line) else { return };
    assert!(text.trim().starts_with("_clap"), "{text}");
}

#[test]
fn fish_completes_verbs_and_options() {
    let Some(text) = in_shell("fish", &["--no-config", "-c"], "source FILE; complete -C 'claude-session-sync logs --fo'") else { return };
    assert!(text.starts_with("--follow"), "{text}");
}
