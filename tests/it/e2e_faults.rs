//! Far machines, and a gh, that cannot do their part: that visit ends with one clear line, the others go on, the exit code is 3.
//!
//! Answers that break the grammar or the bounds are in `wire_answers`, what gh can say in `connection`.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::{Duration, Instant};

use claude_session_sync::reconcile::report::Outcome;
use nix::unistd::Uid;
use serde_json::json;

use crate::e2e_world::{Laptop, Ran, id, put_session, transcript, transcripts};
use crate::mounts::Mounted;
use crate::skip::skip;
use crate::wait::members;

const BAD: &str = "bad-1";
const GOOD: &str = "good-2";

/// A laptop with two codespaces, a session on every side.
fn two() -> Option<Laptop> {
    let mut laptop = Laptop::new()?;
    laptop.codespace(BAD)?;
    laptop.codespace(GOOD)?;
    laptop.session(1, "here", 30);
    laptop.session_at(BAD, 2, "in the bad one", 20);
    laptop.session_at(GOOD, 3, "in the good one", 10);
    Some(laptop)
}

/// A pass in which the bad one fails in one line and the good one is made equal: what was said of the bad one.
fn one_fails(laptop: &Laptop) -> (Ran, String, Option<String>) {
    let ran = laptop.report(&[]);
    assert_eq!(ran.code(), 3, "{:?}", ran.told);
    let (message, hint) = ran.fault(BAD);
    assert!(!message.contains(char::is_control) && message.len() < 700, "{message}");
    assert_eq!(ran.visit(GOOD).outcome, Outcome::Visited, "{:?}", ran.told);
    assert_eq!(transcripts(&laptop.claude_at(GOOD)), transcripts(&laptop.claude()));
    assert!(transcripts(&laptop.claude()).contains_key(&id(3)));
    assert!(laptop.api.posts().is_empty());
    (ran, message, hint)
}

#[test]
fn without_an_ssh_server_the_hint_is_the_snippet_for_the_devcontainer() {
    let Some(laptop) = two() else { return };
    laptop.gh.entry(BAD, json!({"sshd": false}));
    let (_, message, hint) = one_fails(&laptop);
    assert_eq!(message, "the codespace has no SSH server");
    assert!(hint.unwrap().contains("\"ghcr.io/devcontainers/features/sshd:1\": { \"version\": \"latest\" }"));
    let told = laptop.sync(&[BAD]);
    assert_eq!(told.code, 1, "everything that was asked for failed: {told:?}");
    assert_eq!(told.stderr.matches("error:").count(), 1, "{told:?}");
    assert!(told.stderr.contains("ghcr.io/devcontainers/features/sshd:1"), "{told:?}");
}

#[test]
fn a_key_that_the_far_side_refuses_is_said_with_where_to_look() {
    let Some(laptop) = two() else { return };
    laptop.gh.entry(BAD, json!({"authorize": false}));
    let (_, message, hint) = one_fails(&laptop);
    assert!(message.starts_with("the far side refused the ssh key: ") && message.contains("Permission denied"), "{message}");
    assert!(hint.unwrap().contains("authorized_keys"));
    assert_eq!(laptop.at(BAD).connections(), 1, "it was tried again");
}

#[test]
fn a_full_disk_there_is_said_and_what_lies_there_comes_home() {
    let Some(laptop) = two() else { return };
    let kept = fs::read(laptop.claude_at(BAD).join(project(&laptop)).join(format!("{}.jsonl", id(2)))).unwrap();
    let Some(disk) = Mounted::small(&laptop.claude_at(BAD), "1m") else { return skip("cannot mount a tmpfs here") };
    laptop.session_at(BAD, 2, "in the bad one", 20);
    put_session(&laptop.claude(), &laptop.root(), 7, &transcript(7, &laptop.root(), &"x".repeat(3 << 20), 5));
    let before = transcripts(&laptop.claude_at(BAD));
    let (_, message, _) = one_fails(&laptop);
    assert!(message.contains("disk full"), "{message}");
    assert_eq!(transcripts(&laptop.claude_at(BAD)), before, "something was changed on the full disk");
    assert_eq!(transcripts(&laptop.claude())[&id(2)].len(), kept.len());
    let own = laptop.claude_at(BAD).join(".claude-session-sync/stage");
    assert_eq!(fs::read_dir(own).map_or(0, Iterator::count), 0, "the stage there was not emptied");
    drop(disk);
}

fn project(laptop: &Laptop) -> String {
    let root = laptop.root_at(BAD).display().to_string();
    format!("projects/{}", claude_session_sync::reconcile::project::encode(&root))
}

#[test]
fn a_home_that_is_read_only_is_said_and_what_lies_there_comes_home() {
    let Some(laptop) = two() else { return };
    let claude = laptop.claude_at(BAD);
    if Uid::effective().is_root() {
        nix::unistd::chown(&claude, Some(Uid::from_raw(0)), None).unwrap();
    }
    fs::set_permissions(&claude, fs::Permissions::from_mode(0o555)).unwrap();
    let before = transcripts(&claude);
    let (_, message, _) = one_fails(&laptop);
    assert!(message.to_lowercase().contains("permission denied") || message.contains("cannot"), "{message}");
    assert_eq!(transcripts(&claude), before);
    assert!(transcripts(&laptop.claude()).contains_key(&id(2)), "what could be read did not come home");
    fs::set_permissions(&claude, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_far_side_without_git_simply_works() {
    let Some(laptop) = two() else { return };
    let tools = laptop.at(BAD).home().join("tools");
    fs::create_dir(&tools).unwrap();
    for directory in ["/bin", "/usr/bin"] {
        for entry in fs::read_dir(directory).unwrap().flatten().filter(|entry| entry.file_name() != "git") {
            // Of two with one name the first counts, as on a PATH.
            let _ = symlink(entry.path(), tools.join(entry.file_name()));
        }
    }
    fs::write(laptop.at(BAD).home().join(".bashrc"), format!("export PATH={}\n", tools.display())).unwrap();
    laptop.report(&[]).good();
    assert_eq!(transcripts(&laptop.claude_at(BAD)), transcripts(&laptop.claude()));
}

#[test]
fn a_gh_that_lets_a_codespace_run_code_here_is_not_used() {
    let Some(laptop) = two() else { return };
    laptop.gh.version("2.61.0");
    let told = laptop.sync(&[]);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.stderr.contains("gh 2.61.0 is older than 2.62.0") && told.stderr.contains("CVE-2024-52308"), "{told:?}");
    assert!(told.stderr.contains("hint: upgrade gh"), "{told:?}");
    assert!(laptop.gh.calls().iter().all(|call| call.argv[0] != "codespace"));
    assert_eq!((laptop.at(BAD).connections(), laptop.at(GOOD).connections()), (0, 0));
    laptop.gh.version("2.62.0");
    let ran = laptop.report(&[]).good();
    assert!(ran.report().notes.iter().any(|note| note.contains("gh 2.62.0 is old; 2.66.0 or newer is recommended")), "{:?}", ran.told);
}

#[test]
fn a_gh_that_is_missing_is_said_with_what_to_install() {
    let Some(laptop) = two() else { return };
    laptop.configure("[programs]\ngh = \"/nonexistent/gh\"\n");
    let told = laptop.sync(&[]);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.stderr.contains("cannot run /nonexistent/gh") && told.stderr.contains("hint: install gh: https://cli.github.com"), "{told:?}");
    assert!(laptop.keeps(&transcripts(&laptop.claude())[&id(1)]), "the archive was not made");
}

#[test]
fn a_far_side_that_allows_one_session_at_a_time_simply_works() {
    let Some(laptop) = two() else { return };
    laptop.at(BAD).configure("MaxSessions 10", "MaxSessions 1");
    laptop.report(&[]).good();
    assert_eq!(transcripts(&laptop.claude_at(BAD)), transcripts(&laptop.claude()));
}

#[test]
fn a_far_side_that_allows_no_session_fails_in_one_line() {
    let Some(laptop) = two() else { return };
    laptop.at(BAD).configure("MaxSessions 10", "MaxSessions 0");
    let (_, message, _) = one_fails(&laptop);
    assert!(message.contains("Session open refused by peer"), "{message}");
    assert_eq!(laptop.at(BAD).connections(), 1);
}

#[test]
fn a_gh_that_hangs_and_a_link_that_goes_dumb_end_at_their_deadlines_and_the_other_goes_on() {
    let Some(mut laptop) = two() else { return };
    if laptop.codespace("dumb-3").is_none() {
        return;
    }
    laptop.session_at("dumb-3", 4, "in the dumb one", 5);
    laptop.gh.entry(BAD, json!({"hang": true}));
    laptop.at("dumb-3").stall_after(9000);
    let began = Instant::now();
    let (ran, message, _) = one_fails(&laptop);
    let took = began.elapsed();
    assert_eq!(message, "no answer in time while connecting");
    let (dumb, _) = ran.fault("dumb-3");
    // ssh gives up after three questions without an answer, and who waits for the listing after a minute: the same moment.
    assert!(dumb.contains("lost") || dumb.contains("sent nothing for"), "{dumb}");
    assert!(took < Duration::from_secs(240), "an end, if not a fast one on a busy machine: {took:?}");
    for call in laptop.gh.calls() {
        assert_eq!(members(i32::try_from(call.pid).unwrap()), Vec::<i32>::new(), "left running: {:?}", call.argv);
    }
}
