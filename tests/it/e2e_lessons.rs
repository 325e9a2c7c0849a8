//! What the first program of this kind got wrong: one test each, with the real program.
//!
//! Elsewhere: one ssh per file, in `e2e_counts`; dash as login shell that silently did nothing, in `e2e_shells`; no timeout, in
//! `e2e_faults`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use claude_session_sync::reconcile::project::encode;
use claude_session_sync::reconcile::report::{ActionResult, Outcome};

use crate::e2e_world::{Laptop, files, id, put_clone, put_session, transcript, transcripts};
use crate::wait::until;

const BOX: &str = "fluffy-space-guacamole-5g9x7";

fn one() -> Option<Laptop> {
    let mut laptop = Laptop::new()?;
    laptop.codespace(BOX)?;
    Some(laptop)
}

fn everything_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        found.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            found.extend(everything_below(&entry.path()));
        }
    }
    found
}

#[test]
fn what_is_reported_as_taken_there_lies_there_and_no_tilde_was_quoted() {
    let Some(laptop) = one() else { return };
    for number in 1..=10 {
        laptop.session(number, "here", 10);
    }
    let ran = laptop.report(&[]).good();
    let done = ran.report().actions.iter().filter(|action| action.at == BOX && action.result == Some(ActionResult::Done));
    let there = transcripts(&laptop.claude_at(BOX));
    for action in done.clone() {
        assert_eq!(there.get(&action.session.to_string()), transcripts(&laptop.claude()).get(&action.session.to_string()), "said, not done");
    }
    assert_eq!((done.count(), there.len()), (10, 10));
    for place in [laptop.home(), &laptop.at(BOX).home(), &laptop.at(BOX).workspaces()] {
        let tildes: Vec<PathBuf> = everything_below(place).into_iter().filter(|path| path.file_name().is_some_and(|name| name == "~")).collect();
        assert_eq!(tildes, Vec::<PathBuf>::new());
    }
}

#[test]
fn extended_attributes_leave_no_file_of_their_own_there() {
    let Some(laptop) = one() else { return };
    let file = laptop.session(1, "here", 10);
    for name in ["user.com.apple.quarantine", "user.note"] {
        // Where the file system has none, there is nothing to leave behind.
        let _ = rustix::fs::setxattr(&file, name, b"x", rustix::fs::XattrFlags::empty());
    }
    laptop.report(&[]).good();
    let project = format!("projects/{}/{}.jsonl", encode(&laptop.root_at(BOX).display().to_string()), id(1));
    let below: Vec<PathBuf> = files(&laptop.claude_at(BOX).join("projects"));
    assert_eq!(below, [laptop.claude_at(BOX).join(project)]);
}

#[test]
fn a_listing_that_fails_is_not_an_empty_far_side() {
    let Some(laptop) = one() else { return };
    laptop.session(1, "here", 30);
    let there = laptop.session_at(BOX, 2, "there", 20);
    laptop.report(&[]).good();
    // It grows there, and then its directory cannot be listed.
    let grown = format!("{}{}", fs::read_to_string(&there).unwrap(), transcript(2, &laptop.root_at(BOX), "went on", 5));
    fs::write(&there, &grown).unwrap();
    let project = there.parent().unwrap();
    fs::set_permissions(project, fs::Permissions::from_mode(0o000)).unwrap();
    let before = laptop.store();
    let ran = laptop.report(&[]);
    fs::set_permissions(project, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(ran.code(), 1, "{:?}", ran.told);
    assert!(matches!(ran.visit(BOX).outcome, Outcome::Failed(_)) && ran.report().actions.is_empty(), "{:?}", ran.told);
    assert_eq!(laptop.store(), before, "something was concluded here");
    assert_eq!(fs::read_to_string(&there).unwrap(), grown, "what could not be listed was written over");
    laptop.report(&[]).good();
    assert_eq!(transcripts(&laptop.claude())[&id(2)], grown);
}

#[test]
fn a_last_line_without_a_timestamp_does_not_make_the_newer_copy_lose() {
    let Some(laptop) = one() else { return };
    // The client ends every session in lines that carry no time.
    let file = laptop.session(1, "the beginning", 60);
    laptop.report(&[]).good();
    let beginning = fs::read_to_string(&file).unwrap();
    let newer = format!("{beginning}{}", transcript(1, &laptop.root(), "the newer end", 5));
    assert!(!newer.lines().last().unwrap().contains("timestamp"));
    let there = laptop.claude_at(BOX).join("projects").join(encode(&laptop.root_at(BOX).display().to_string())).join(format!("{}.jsonl", id(1)));
    fs::write(&there, &newer).unwrap();
    laptop.report(&[]).good();
    assert_eq!(fs::read_to_string(&file).unwrap(), newer);
    assert_eq!(fs::read_to_string(&there).unwrap(), newer);
}

#[test]
fn a_session_that_both_sides_continued_loses_neither_side() {
    let Some(laptop) = one() else { return };
    let file = laptop.session(1, "the beginning", 60);
    laptop.report(&[]).good();
    let beginning = fs::read_to_string(&file).unwrap();
    let mine = format!("{beginning}{}", transcript(1, &laptop.root(), "continued here", 20));
    let theirs = format!("{beginning}{}", transcript(1, &laptop.root_at(BOX), "continued there", 10));
    fs::write(&file, &mine).unwrap();
    laptop.session_at(BOX, 1, "", 0);
    let there = laptop.claude_at(BOX).join("projects").join(encode(&laptop.root_at(BOX).display().to_string())).join(format!("{}.jsonl", id(1)));
    fs::write(&there, &theirs).unwrap();
    let ran = laptop.report(&[]).good();
    assert_eq!(ran.report().conflicts.len(), 1, "{:?}", ran.told);
    let fork = ran.report().conflicts[0].fork.unwrap().to_string();
    let all = transcripts(&laptop.claude());
    assert_eq!(all[&id(1)], theirs, "the newer message wins");
    assert!(all[&fork].starts_with(&mine), "the loser is a session of its own");
    assert_eq!((transcripts(&laptop.claude_at(BOX)), all.len()), (all, 2), "the same fork on both sides");
    assert!(laptop.keeps(&mine), "the loser is in the vault, too");
}

#[test]
fn a_repository_whose_name_ends_alike_is_another_one() {
    let Some(laptop) = one() else { return };
    let (mine, far) = (laptop.home().join("projects/my-widget"), laptop.at(BOX).workspaces().join("my-widget"));
    put_clone(&mine, "acme/my-widget");
    put_clone(&far, "acme/my-widget");
    put_session(&laptop.claude(), &mine, 1, &transcript(1, &mine, "of my-widget, here", 20));
    let far_root = laptop.at(BOX).far_workspaces().join("my-widget");
    put_session(&laptop.claude_at(BOX), &far_root, 2, &transcript(2, &far_root, "of my-widget, there", 20));
    laptop.at(BOX).give(&laptop.at(BOX).home());
    let ran = laptop.report(&[]).good();
    assert!(ran.report().actions.is_empty(), "{:?}", ran.told);
    assert_eq!(transcripts(&laptop.claude()).into_keys().collect::<Vec<_>>(), [id(1)]);
    assert_eq!(transcripts(&laptop.claude_at(BOX)).into_keys().collect::<Vec<_>>(), [id(2)]);
    assert!(ran.visit(BOX).skipped.iter().any(|skipped| skipped.why.contains("acme/my-widget")), "{:?}", ran.told);
}

#[test]
fn a_far_file_name_with_a_quote_runs_nothing_anywhere() {
    let Some(laptop) = one() else { return };
    let file = laptop.session_at(BOX, 1, "there", 20);
    let project = file.parent().unwrap();
    let names =
        ["'; touch pwned; '.jsonl", "$(touch pwned).jsonl", "`touch pwned`.jsonl", "\";touch pwned;\".jsonl", "-rf.jsonl", "a\nb.jsonl", "&& touch pwned #"];
    for name in names {
        fs::write(project.join(name), fs::read(&file).unwrap()).unwrap();
    }
    let odd = laptop.claude_at(BOX).join("projects/-x'; touch pwned; '");
    fs::create_dir(&odd).unwrap();
    fs::copy(&file, odd.join(format!("{}.jsonl", id(3)))).unwrap();
    laptop.at(BOX).give(&laptop.at(BOX).home());
    for _ in 0..2 {
        let ran = laptop.report(&[]).good();
        assert!(ran.visit(BOX).skipped.len() >= names.len() - 1, "{:?}", ran.visit(BOX).skipped);
    }
    assert_eq!(transcripts(&laptop.claude()).into_keys().collect::<Vec<_>>(), [id(1)]);
    for place in [laptop.home(), &laptop.at(BOX).home(), &laptop.at(BOX).workspaces(), Path::new(env!("CARGO_MANIFEST_DIR"))] {
        assert!(!place.join("pwned").exists(), "{}", place.display());
    }
    assert!(!everything_below(laptop.home()).iter().any(|path| path.file_name().is_some_and(|name| name == "pwned")));
}

#[test]
fn many_passes_at_once_leave_a_log_of_whole_lines() {
    let Some(laptop) = one() else { return };
    laptop.configure("[log]\nlevel = \"trace\"\nformat = \"json\"\n");
    laptop.session(1, "here", 30);
    let running: Vec<_> = (0..4).map(|_| laptop.started(&[])).collect();
    let codes: Vec<i32> = running.into_iter().map(|running| running.wait().code()).collect();
    assert!(codes.iter().all(|code| [0, 75].contains(code)) && codes.contains(&0), "{codes:?}");
    let logs = files(&laptop.home().join(".local/state"));
    let lines: Vec<String> = logs.iter().flat_map(|log| fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    assert!(lines.iter().any(|line| line.contains("pass ended")) && lines.iter().any(|line| line.contains(BOX)), "{lines:?}");
    for line in lines {
        serde_json::from_str::<serde_json::Value>(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[test]
fn a_second_pass_gives_way_with_75_while_the_first_goes_on() {
    let Some(laptop) = one() else { return };
    laptop.session_at(BOX, 1, "there", 20);
    laptop.at(BOX).stall(true);
    let first = laptop.started(&[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(until("the first pass connects", || laptop.at(BOX).connections() > 0));
    let second = laptop.sync(&[]);
    assert_eq!(second.code, 75, "{second:?}");
    assert_eq!(second.stderr.matches("another pass is running").count(), 1, "{second:?}");
    laptop.at(BOX).stall(false);
    first.wait().good();
    assert_eq!(laptop.at(BOX).connections(), 1);
    assert!(transcripts(&laptop.claude()).contains_key(&id(1)));
}

#[test]
fn a_far_tool_that_fails_is_not_reported_as_success() {
    for tool in ["ln", "sha256sum", "tar", "mkdir"] {
        let Some(laptop) = one() else { return };
        laptop.session(1, "here", 30);
        let tools = laptop.at(BOX).home().join("tools");
        fs::create_dir(&tools).unwrap();
        crate::way::wrapper(&tools.join(tool), "echo \"no, not today\" >&2; exit 1");
        fs::write(laptop.at(BOX).home().join(".bashrc"), format!("export PATH={}:$PATH\n", tools.display())).unwrap();
        let ran = laptop.report(&[]);
        let said = ran.report().actions.iter().any(|action| action.at == BOX && action.result == Some(ActionResult::Done));
        assert_eq!((ran.code() == 0, transcripts(&laptop.claude_at(BOX)) == transcripts(&laptop.claude())), (said, said), "{tool}: {:?}", ran.told);
        // Without ln there is another way, and no other without these.
        assert!(tool == "ln" || !said, "{tool}: {:?}", ran.told);
        assert!(said || transcripts(&laptop.claude_at(BOX)).is_empty(), "{tool}");
        fs::remove_file(tools.join(tool)).unwrap();
        laptop.report(&[]).good();
        assert_eq!(transcripts(&laptop.claude_at(BOX)), transcripts(&laptop.claude()), "{tool}");
    }
}
