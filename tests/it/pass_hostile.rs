//! A far side that sends what it should not, or nothing, or stops in the middle; and places that cannot be written.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use claude_session_sync::reconcile::report::{Outcome, Report};

use crate::malice_store::canaries;
use crate::remote_far::write_program;
use crate::skip::have;
use crate::talk::{Talk, id};
use crate::world::{Ran, Side, World, files, visit};

/// Two machines that share a repository: the first will misbehave, the second has one good session.
pub(crate) fn two() -> (World, Side, Side) {
    let mut world = World::new();
    let (bad, good) = (world.machine("bad", &["acme/widget"]), world.machine("good", &["acme/widget"]));
    for side in [&world.here, &bad, &good] {
        side.clone_of("widget", "git@github.com:acme/widget.git");
    }
    world.here.put(&Talk::begun(&id(1), &world.here.at("widget"), 60, "mine"));
    bad.put(&Talk::begun(&id(2), &bad.at("widget"), 50, "of the bad one"));
    good.put(&Talk::begun(&id(3), &good.at("widget"), 40, "of the good one"));
    (world, bad, good)
}

/// The good machine and this one are equal, and nothing anywhere is half.
#[track_caller]
pub(crate) fn the_good_go_on(world: &World, good: &Side, whole: &BTreeMap<String, crate::world::Bytes>) {
    for n in [1, 3] {
        assert_eq!(world.here.bytes(&id(n)), good.bytes(&id(n)));
    }
    for (name, bytes) in world.here.sessions() {
        assert_eq!(Some(&bytes), whole.get(&name), "{name} is whole, or not here");
    }
}

pub(crate) fn everything(sides: &[&Side]) -> BTreeMap<String, crate::world::Bytes> {
    sides.iter().flat_map(|side| side.sessions()).collect()
}

/// The fault of the bad machine, in words.
#[track_caller]
pub(crate) fn fault(report: &Report) -> String {
    match &visit(report, "bad").outcome {
        Outcome::Failed(fault) => fault.message.clone(),
        outcome => panic!("{outcome:?}"),
    }
}

/// Puts a program of this text before the far shell of the bad machine: it gets `sh -c SCRIPT` as its arguments.
pub(crate) fn behind(world: &mut World, text: &str) {
    let program = world.root().join("way");
    write_program(&program, &format!("#!/bin/sh\n{text}"));
    world.reach("bad", |command| command.push(program.display().to_string()));
}

#[test]
fn hostile_names_are_passed_over_listed_in_plain_text_and_harm_nobody() {
    let (world, bad, good) = two();
    let project = bad.transcript(&bad.at("widget"), &id(2)).parent().unwrap().to_owned();
    let run = "$(touch canary); `touch canary` '; touch canary; '";
    let long = "x".repeat(250);
    let names: Vec<&[u8]> = vec![
        b"-oProxyCommand=id.jsonl",
        b"$(id).jsonl",
        b"a'b\".jsonl",
        b"~.jsonl",
        b"%h.jsonl",
        b"CON.jsonl",
        b"back\\slash.jsonl",
        b"\x1b[31mred\x1b]0;title\x07.jsonl",
        b"tab\there.jsonl",
        b"new\nline.jsonl",
        b"\xff\xfe.jsonl",
        "bidi\u{202e}lnosj.jsonl".as_bytes(),
        b"..jsonl",
        b"...",
        b" .jsonl",
        b"*.jsonl",
        b"a b.jsonl",
        run.as_bytes(),
        long.as_bytes(),
        b"00000001-51C4-4E00-8A05-674DDE6AA368.jsonl",
        b"00000009-51c4-4e00-8a05-674dde6aa368.jsonl.jsonl",
    ];
    for name in &names {
        fs::write(project.join(std::ffi::OsStr::from_bytes(name)), "{}\n").unwrap();
        fs::write(bad.claude.join("projects").join(std::ffi::OsStr::from_bytes(name)), "{}\n").unwrap();
        let side = project.join(id(2)).join(std::ffi::OsStr::from_bytes(name));
        fs::create_dir_all(&side).unwrap();
        fs::write(side.join("-rf"), "x").unwrap();
    }
    let deep = project.join(id(2)).join("d/".repeat(40));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("x.txt"), "x").unwrap();

    let whole = everything(&[&world.here, &good]).into_iter().chain([(format!("{}.jsonl", id(2)), bad.bytes(&id(2)))]).collect();
    let ran = world.sync(&[]);
    let report = ran.report();
    assert_eq!(visit(&report, "bad").outcome, Outcome::Visited, "{ran:?}");
    the_good_go_on(&world, &good, &whole);
    assert_eq!(world.here.bytes(&id(2)), bad.bytes(&id(2)), "what is well named came");
    assert_eq!(canaries(&world.root()), Vec::<PathBuf>::new(), "something was run");
    assert!(visit(&report, "bad").skipped.len() >= names.len() / 2, "{:?}", visit(&report, "bad").skipped);
    // In words, too, no byte can move a cursor; and nothing of it lies anywhere here.
    assert!(ran.out.contains("\\u{1b}[31mred"), "escaped");
    let mut texts = vec![ran.out, Ran::of(&mut world.command(&[], &["sync", "bad"])).err];
    if have("script", "--version") {
        let log = world.root().join("terminal").display().to_string();
        let line = format!("NO_COLOR=1 {} sync bad", env!("CARGO_BIN_EXE_claude-session-sync"));
        let mut terminal = std::process::Command::new("script");
        terminal.args(["-q", "-e", "-c", &line, &log]).env_clear().env("HOME", &world.here.home).env("PATH", crate::world::PATH).env("TERM", "dumb");
        let told = Ran::of(terminal.stdin(std::process::Stdio::null())).out.replace('\r', "");
        assert!(told.contains("$(id).jsonl is no lower-case UUID"), "it is listed: {told:?}");
        texts.push(told);
    }
    for text in texts {
        assert!(text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{text:?}");
    }
    for (log, (_, bytes)) in files(&world.here.home.join(".local/state")) {
        assert!(!bytes.contains(&0x1b) && !String::from_utf8_lossy(&bytes).contains('\u{202e}'), "{log}");
    }
    assert!(files(&world.data()).keys().all(|name| !name.contains("red") && !name.contains("bidi")));
}

#[test]
fn a_far_side_that_ends_at_any_byte_leaves_nothing_half_and_the_next_pass_mends_it() {
    // Past the marker, in the listing, in the middle of the bytes.
    for cut in [0, 1, 20, 60, 150, 400, 700, 5_000, 48_000] {
        let (mut world, bad, good) = two();
        let whole = everything(&[&world.here, &bad, &good]);
        behind(&mut world, &format!("\"$@\" | {{ dd bs=1 count={cut} 2>/dev/null; kill -9 $$; }}\n"));
        let ran = world.sync(&[]);
        let report = ran.report();
        assert_eq!(ran.code, 3, "cut at {cut}: {ran:?}");
        assert!(!fault(&report).is_empty());
        the_good_go_on(&world, &good, &whole);
        assert!(bad.files().len() == 1 || bad.sessions().iter().all(|(name, bytes)| whole.get(name) == Some(bytes)), "{cut}");
        assert!(files(&world.data().join("stage")).is_empty(), "nothing stays in the stage: {cut}");

        world.reach("bad", |command| drop(command.pop()));
        world.passes();
        assert_eq!((world.here.sessions(), bad.sessions(), good.sessions()), (whole.clone(), whole.clone(), whole.clone()), "{cut}");
    }
}

#[test]
fn a_far_side_that_stops_taking_bytes_has_the_old_file_or_the_new() {
    for cut in [0, 10, 600, 1_500, 20_000, 60_000] {
        let (mut world, bad, good) = two();
        // The far script reads only so many bytes of what it is sent, then sees the end.
        behind(&mut world, &format!("dd bs=1 count={cut} 2>/dev/null | \"$@\"\n"));
        let whole = everything(&[&world.here, &bad, &good]);
        let ran = world.sync(&[]);
        assert!([0, 3].contains(&ran.code), "{ran:?}");
        the_good_go_on(&world, &good, &whole);
        for (name, bytes) in bad.sessions() {
            assert_eq!(whole.get(&name), Some(&bytes), "{cut}");
        }
        world.reach("bad", |command| drop(command.pop()));
        world.passes();
        assert_eq!((world.here.sessions(), bad.sessions(), good.sessions()), (whole.clone(), whole.clone(), whole.clone()), "{cut}");
    }
}

#[test]
fn answers_that_are_garbage_end_that_visit_and_no_other() {
    let answers = [
        "true",
        "exit 3",
        "echo hello",
        "head -c 200000 /dev/zero; cat >/dev/null",
        "printf '\\033[2Jno\\n' >&2; exit 255",
        // The marker is right and what follows is not: a listing is asked for beside the script.
        "printf %s \"$5\" | { read -r verb nonce; printf '\\ncss1 %s\\nclaude 99999999999999999999\\n' \"$nonce\"; }; cat >/dev/null",
        "printf %s \"$5\" | { read -r verb nonce; printf '\\ncss1 %s\\nfiles 5000000000\\n' \"$nonce\"; }; cat >/dev/null",
        "printf %s \"$5\" | { read -r verb nonce; printf '\\ncss1 %s\\nend %s\\ntrailing' \"$nonce\" \"$nonce\"; }; cat >/dev/null",
        "printf %s \"$5\" | { read -r verb nonce; printf '\\ncss1 %s\\nclaude 3\\n/aend %s\\n' \"$nonce\" \"$nonce\"; }; cat >/dev/null",
        "printf %s \"$5\" | { read -r verb nonce; printf '\\ncss1 %s\\nfail 9\\n\\033[31mred!end %s\\n' \"$nonce\" \"$nonce\"; }; cat >/dev/null",
        "printf %s \"$5\" | { read -r verb nonce; printf '\\ncss1 0123\\nend 0123\\n'; }",
    ];
    for answer in answers {
        let (mut world, bad, good) = two();
        let whole = everything(&[&world.here, &bad, &good]);
        let before = bad.files();
        behind(&mut world, answer);
        let ran = world.sync(&[]);
        assert_eq!(ran.code, 3, "{answer}: {ran:?}");
        let fault = fault(&ran.report());
        assert!(!fault.is_empty() && !fault.contains('\n') && !fault.contains('\u{1b}'), "{answer}: {fault:?}");
        assert_eq!(answer.contains("\"$nonce\""), !fault.contains("did not start our script"), "{answer}: {fault:?}");
        the_good_go_on(&world, &good, &whole);
        assert_eq!(bad.files(), before, "{answer}");
    }
}

#[test]
fn a_banner_before_the_answer_is_passed_over() {
    let (mut world, bad, _) = two();
    behind(&mut world, "head -c 60000 /dev/zero | tr '\\0' 'm'; printf '\\nWelcome to css1 of old\\n'; exec \"$@\"");
    world.passes();
    assert_eq!(world.here.bytes(&id(2)), bad.bytes(&id(2)));
}

#[test]
fn a_listing_that_fails_is_no_empty_store() {
    let (mut world, bad, good) = two();
    world.passes();
    let before = (world.here.sessions(), bad.sessions(), good.sessions());
    fs::rename(bad.claude.join("projects"), bad.claude.join("moved")).unwrap();
    fs::write(bad.claude.join("projects"), "no directory").unwrap();
    let ran = world.sync(&[]);
    assert_eq!(ran.code, 3);
    assert!(fault(&ran.report()).contains("is no directory"), "{}", fault(&ran.report()));
    fs::remove_file(bad.claude.join("projects")).unwrap();
    fs::rename(bad.claude.join("moved"), bad.claude.join("projects")).unwrap();
    behind(&mut world, "exec 1>&-; exec \"$@\"");
    assert_eq!(world.sync(&[]).code, 3);
    world.reach("bad", |command| drop(command.pop()));
    assert_eq!(world.passes().actions, []);
    assert_eq!((world.here.sessions(), bad.sessions(), good.sessions()), before);
}

#[test]
fn a_program_that_is_not_there_is_one_clear_line() {
    let (mut world, _, good) = two();
    world.reach("bad", |command| *command = vec!["/no/such/program".to_owned()]);
    let ran = world.sync(&[]);
    assert_eq!(ran.code, 3);
    assert!(fault(&ran.report()).contains("/no/such/program"), "{}", fault(&ran.report()));
    assert_eq!(world.here.bytes(&id(3)), good.bytes(&id(3)));
    let alone = Ran::of(&mut world.command(&[], &["sync", "bad"]));
    assert_eq!(alone.code, 1, "nothing went well: {alone:?}");
    assert_eq!(alone.err.matches("error: ").count(), 1, "{alone:?}");
}

fn sealed(directory: &Path, mode: u32) {
    for entry in fs::read_dir(directory).unwrap().flatten().filter(|entry| entry.file_type().unwrap().is_dir()) {
        sealed(&entry.path(), mode);
    }
    fs::set_permissions(directory, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_read_only_far_home_is_read_and_its_failure_is_told() {
    let (world, bad, good) = two();
    let mut command = world.command(&[], &world.arguments(&[]));
    world.as_plain_user(&mut command);
    sealed(&bad.claude, 0o555);
    let ran = Ran::of(&mut command);
    sealed(&bad.claude, 0o755);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.out.contains("ermission denied"), "{}", ran.out);
    assert_eq!(world.here.bytes(&id(2)), bad.bytes(&id(2)), "what could be read came home");
    assert_eq!(bad.sessions().len(), 1);
    assert_eq!(world.here.bytes(&id(1)), good.bytes(&id(1)));
}

#[test]
fn a_read_only_store_here_is_read_and_its_failure_is_told() {
    let (world, bad, good) = two();
    let mut command = world.command(&[], &world.arguments(&[]));
    world.as_plain_user(&mut command);
    sealed(&world.here.claude, 0o555);
    let ran = Ran::of(&mut command);
    sealed(&world.here.claude, 0o755);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert_eq!(world.here.sessions().len(), 1);
    for side in [&bad, &good] {
        assert_eq!(side.bytes(&id(1)), world.here.bytes(&id(1)), "what is here went there");
    }
    assert_eq!(bad.bytes(&id(3)), good.bytes(&id(3)), "and from one to the other");
    assert_eq!(world.archived(&id(2)), Some(bad.bytes(&id(2))), "and it is kept");
}

#[test]
fn a_project_directory_here_that_cannot_be_listed_ends_the_pass_and_nothing_is_concluded() {
    let (world, bad, good) = two();
    Ran::of(&mut world.command(&[], &world.arguments(&[])));
    let there = everything(&[&bad, &good]);
    let closed = world.here.claude.join("projects/-closed");
    fs::create_dir(&closed).unwrap();
    let mut command = world.command(&[], &world.arguments(&[]));
    world.as_plain_user(&mut command);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let ran = Ran::of(&mut command);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("ermission denied"), "{ran:?}");
    assert_eq!(everything(&[&bad, &good]), there);
}
