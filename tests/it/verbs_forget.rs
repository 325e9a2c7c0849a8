//! `forget ID`: what it shows, whom it asks, what it refuses, and that it can be cut off anywhere.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use claude_session_sync::reconcile::report::Forgetting;
use serde_json::Value;

use crate::forget_world::{SECRET, Spilled, TITLE, everything, told, traces};
use crate::talk::{Talk, id};
use crate::world::{Ran, World};

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[test]
fn a_dry_run_shows_all_of_it_and_changes_nothing() {
    let spilled = Spilled::everywhere();
    let before = everything(&spilled.world.here.home);
    let ran = spilled.forget(&[&id(1), "--dry-run"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    for said in [TITLE, &id(1), &spilled.fork, &format!("a fork of {}", &id(1)[..8]), "box and late: removed there at the next visit"] {
        assert!(ran.out.contains(said), "{said}: {}", ran.out);
    }
    let shown = json(&spilled.forget(&[&id(1)[..8], "--dry-run", "--json"]));
    assert_eq!((&shown["session"], &shown["date"], &shown["dry_run"]), (&id(1).into(), &Value::Null, &true.into()));
    let sessions = shown["sessions"].as_array().unwrap();
    assert_eq!((sessions.len(), &sessions[1]["fork_of"]), (2, &id(1).into()));
    assert!(sessions[0]["store"]["files"] == 3 && sessions[0]["archive"]["files"] == 3 && sessions[0]["displaced"]["files"].as_u64() > Some(1), "{shown}");
    assert_eq!(everything(&spilled.world.here.home), before);
    assert!(!spilled.data().join("vault/forgotten").exists());
}

#[test]
fn without_a_terminal_it_wants_to_be_told_yes() {
    let spilled = Spilled::everywhere();
    let before = everything(&spilled.world.here.home);
    let ran = spilled.forget(&[&id(1)]);
    assert!(ran.code == 2 && ran.err.contains("--yes"), "{ran:?}");
    assert_eq!(everything(&spilled.world.here.home), before);
}

#[test]
fn at_a_terminal_it_asks_and_a_no_changes_nothing() {
    if !crate::skip::have("script", "--version") {
        return;
    }
    let spilled = Spilled::everywhere();
    let before = everything(&spilled.world.here.home);
    let answer = |word: &str| {
        let line = format!("stty cols 120; {} forget {}", env!("CARGO_BIN_EXE_claude-session-sync"), id(1));
        let mut terminal = Command::new("script");
        terminal.args(["-q", "-e", "-c", &line, "/dev/null"]).env_clear().env("HOME", &spilled.world.here.home).env("PATH", crate::world::PATH);
        let mut child = terminal.env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut said = Vec::new();
        let mut asked = false;
        loop {
            let mut chunk = [0; 4096];
            let count = stdout.read(&mut chunk).unwrap();
            said.extend_from_slice(&chunk[..count]);
            if count == 0 {
                break;
            }
            if !asked && String::from_utf8_lossy(&said).contains("for good") {
                asked = true;
                stdin.write_all(word.as_bytes()).unwrap();
            }
        }
        assert!(asked && child.wait().unwrap().success(), "{}", String::from_utf8_lossy(&said));
        String::from_utf8_lossy(&said).into_owned()
    };
    let said = answer("n\r");
    assert!(said.contains(TITLE) && said.contains("1 fork") && said.contains("nothing was changed"), "{said}");
    assert_eq!(everything(&spilled.world.here.home), before);
    let said = answer("y\r");
    assert!(said.contains("removed here") && traces(&spilled.world.here.home).is_empty(), "{said}");
}

#[test]
fn a_name_that_fits_nothing_or_several_is_refused_and_a_whole_id_that_nobody_knows_is_taken() {
    let spilled = Spilled::everywhere();
    for (named, said) in
        [("nonsense", "no session's id"), ("0000000", "the beginning of several sessions' ids"), ("", "no session's id"), ("../x", "no session's id")]
    {
        let ran = spilled.forget(&[named, "--yes"]);
        assert!(ran.code == 2 && ran.err.contains(said), "{named}: {ran:?}");
    }
    let shown = json(&spilled.forget(&[&id(9), "--yes", "--json"]));
    assert!(spilled.is_forgotten(&id(9)) && shown["date"].is_string() && shown["dry_run"] == false, "{shown}");
    spilled.near.put(&Talk::begun(&id(9), &spilled.near.at("widget"), 9, SECRET));
    assert_eq!(told(&spilled.visits("box", &[])), [("box".to_owned(), id(9), Forgetting::Removed)], "wherever it is met");
    assert!(spilled.world.here.paths(&id(9)).is_empty() && spilled.near.paths(&id(9)).is_empty());
}

#[test]
fn while_it_or_a_fork_of_it_is_open_here_nothing_happens() {
    let spilled = Spilled::everywhere();
    for open in [id(1), spilled.fork.clone()] {
        let client = spilled.world.here.open(&spilled.talk.clone().called(&open));
        let before = everything(&spilled.world.here.home);
        let ran = spilled.forget(&[&id(1), "--yes"]);
        assert!(ran.code == 1 && ran.err.contains(&format!("the session {open} is open here: in process ")), "{ran:?}");
        assert_eq!(everything(&spilled.world.here.home), before);
        assert!(!spilled.is_forgotten(&id(1)));
        drop(client);
    }
    let client = spilled.world.here.open(&spilled.talk.clone().called(&id(8)));
    let ran = spilled.forget(&[&id(8), "--yes"]);
    assert!(ran.code == 1 && !spilled.is_forgotten(&id(8)), "an entry counts without a file: {ran:?}");
    drop(client);
    spilled.forgets();
}

#[test]
fn one_that_lies_in_two_directories_goes_from_both_and_a_link_is_only_told_of() {
    let spilled = Spilled::everywhere();
    let projects = spilled.world.here.claude.join("projects");
    let outside = spilled.world.root().join("outside");
    fs::create_dir_all(projects.join("-other")).unwrap();
    fs::create_dir_all(&outside).unwrap();
    fs::copy(spilled.world.here.path(&id(1)), projects.join("-other").join(format!("{}.jsonl", id(1)))).unwrap();
    fs::write(outside.join(format!("{}.jsonl", id(1))), "behind a link").unwrap();
    symlink(&outside, projects.join("-link")).unwrap();
    let ran = spilled.forgets();
    assert!(ran.err.contains("-link is a symbolic link and was not followed"), "{ran:?}");
    assert_eq!((traces(&spilled.world.here.home).len(), fs::read_dir(projects.join("-other")).unwrap().count()), (0, 0));
    assert_eq!(fs::read_to_string(outside.join(format!("{}.jsonl", id(1)))).unwrap(), "behind a link");
}

#[test]
fn a_fork_is_told_by_its_bytes_where_no_note_speaks_of_it() {
    let spilled = Spilled::everywhere();
    fs::remove_dir_all(spilled.data().join("vault/displaced")).unwrap();
    let cwd = spilled.world.here.at("widget");
    let fork = spilled.world.here.bytes(&spilled.fork);
    let fork = spilled.talk.clone().holding(&fork).called(&spilled.fork).says(&format!("{SECRET}, grown"));
    spilled.world.here.goes_on(&fork);
    // A fork of that one, in a directory of no known repository; and one of another session, to be left.
    let second = fork.clone().says("on another machine");
    let second = second.clone().called(&second.fork_id()).says(&format!("{SECRET} there")).in_project_of("/nowhere");
    spilled.world.here.put(&second);
    let other = Talk::begun(&id(2), &cwd, 50, "innocent");
    let stays = spilled.world.here.put(&other.clone().called(&other.fork_id()).says("on"));
    spilled.forgets();
    assert!(spilled.is_forgotten(&spilled.fork) && spilled.is_forgotten(&second.id) && stays.exists());
    assert_eq!(traces(&spilled.world.here.home), Vec::<String>::new());
}

#[test]
fn the_clients_own_files_that_name_it_are_told_and_left() {
    let spilled = Spilled::everywhere();
    let history = spilled.world.here.claude.join("history.jsonl");
    let backup = spilled.world.here.claude.join("file-history").join(id(1)).join("a@v1");
    fs::create_dir_all(backup.parent().unwrap()).unwrap();
    fs::write(&history, format!("{{\"sessionId\":\"{}\"}}\n", id(1))).unwrap();
    fs::write(&backup, "old").unwrap();
    let ran = spilled.forgets();
    let lines: Vec<&str> = ran.err.lines().collect();
    assert_eq!(lines.len(), 2, "{ran:?}");
    for path in [backup.parent().unwrap(), &history] {
        assert!(lines.iter().any(|line| line.contains(&format!("{} names it, too", path.display()))), "{}: {ran:?}", path.display());
    }
    assert!(history.exists() && backup.exists());
}

#[test]
fn what_crashes_left_in_stage_and_state_goes_with_it() {
    let spilled = Spilled::everywhere();
    let data = spilled.data();
    let planted = [
        format!("stage/{}.0123", id(1)),
        "stage/fetched-0123".to_owned(),
        "vault/archive/.new-abc".to_owned(),
        format!("vault/displaced/{}/.new-def", id(1)),
        "state/.new-ghi".to_owned(),
    ];
    planted.iter().for_each(|name| fs::write(data.join(name), SECRET).unwrap());
    let beside = spilled.world.here.claude.join(".claude-session-sync/vault");
    fs::create_dir_all(&beside).unwrap();
    fs::write(beside.join(format!("{}.4.0123456789abcdef.{}-1", id(1), "0".repeat(32))), SECRET).unwrap();
    spilled.forgets();
    assert_eq!(traces(&spilled.world.here.home), Vec::<String>::new());
}

#[test]
fn a_second_time_it_only_says_when() {
    let spilled = Spilled::everywhere();
    spilled.forgets();
    let tombstone = spilled.data().join("vault/forgotten").join(id(1));
    let before = fs::read(&tombstone).unwrap();
    let ran = spilled.forgets();
    assert!(ran.out.contains("removed here: nothing") && fs::read(&tombstone).unwrap() == before, "{ran:?}");
    let status: Value = json(&Ran::of(&mut spilled.world.command(&[], &["status", "--json"])));
    assert_eq!((&status["forgotten"]["sessions"], status["forgotten"]["due"].as_array().unwrap().len()), (&2.into(), 2), "{}", status["forgotten"]);
    spilled.world.passes();
    let status: Value = json(&Ran::of(&mut spilled.world.command(&[], &["status", "--json"])));
    assert_eq!(status["forgotten"]["due"], serde_json::json!([]));
}

#[test]
fn a_registry_that_an_old_client_does_not_keep_is_replaced_by_the_age_of_the_file() {
    let world = World::new();
    fs::remove_dir(world.here.claude.join("sessions")).unwrap();
    let cwd = world.here.clone_of("widget", "git@github.com:acme/widget.git");
    let path = world.here.put(&Talk::begun(&id(1), &cwd, 60, SECRET));
    fs::File::options().append(true).open(&path).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    let forget = || Ran::of(&mut world.command(&[], &["forget", &id(1), "--yes"]));
    let ran = forget();
    assert!(ran.code == 1 && ran.err.contains("written to a moment ago") && path.exists(), "{ran:?}");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    fs::File::options().append(true).open(&path).unwrap().set_modified(old).unwrap();
    assert_eq!((forget().code, path.exists()), (0, false));
}

/// Which calls make a name or take one away, and so may be the last one.
const CALLS: [&str; 3] = ["unlinkat", "rename,renameat,renameat2", "fsync"];

#[test]
fn killed_at_any_call_it_is_finished_by_saying_it_again() {
    if !crate::strace::here() {
        return;
    }
    let whole = Spilled::everywhere();
    let copies = tempfile::tempdir().unwrap();
    for call in CALLS {
        for at in 1.. {
            let world = copies.path().join(format!("{}-{at}", &call[..4]));
            assert!(Command::new("cp").args(["-a"]).arg(&whole.world.here.home).arg(&world).status().unwrap().success());
            let run = |before: &[String]| {
                let program = [env!("CARGO_BIN_EXE_claude-session-sync"), "forget", &id(1), "--yes"].map(str::to_owned);
                let words: Vec<String> = before.iter().cloned().chain(program).collect();
                Command::new(&words[0]).args(&words[1..]).env_clear().env("HOME", &world).env("PATH", crate::world::PATH).output().unwrap()
            };
            let calls = format!("?{}", call.replace(',', ",?"));
            let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:signal=KILL:when={at}"));
            let log = copies.path().join("log").display().to_string();
            let killed = run(&["strace", "-f", "-qq", "-o", &log, "-e", &trace, "-e", &inject].map(str::to_owned));
            let of_it = |world: &Path| everything(world).into_keys().filter(|name| name.contains(&id(1)) && !name.contains("/forgotten/")).count();
            let begun = of_it(&world) < of_it(&whole.world.here.home);
            let tombstones = [&id(1), &whole.fork].map(|id| world.join(".local/share/claude-session-sync/vault/forgotten").join(id).exists());
            assert!(!begun || tombstones == [true, true], "{call} {at}: nothing goes before it is noted");
            let again = run(&[]);
            assert!(again.status.success(), "{call} {at}: {again:?}");
            let left: Vec<String> = traces(&world).into_iter().filter(|path| !path.contains("/.config/")).collect();
            assert_eq!(left, Vec::<String>::new(), "{call} {at}");
            fs::remove_dir_all(&world).unwrap();
            if killed.status.success() {
                assert!(at > 3, "{call}: something was cut off before");
                break;
            }
        }
    }
}
