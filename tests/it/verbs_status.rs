//! `status` before, between and after passes.

use std::fs;
use std::io::Read as _;
use std::process::Stdio;

use serde_json::json;

use crate::api::{Api, TOKEN};
use crate::e2e_world::id;
use crate::verbs_world::{World, go_on};

#[test]
fn before_any_pass_status_says_that_nothing_is_known() {
    let world = World::new();
    world.here(1, "fix the build", 60);
    let said = world.run("status");
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    for line in ["box    acme/widget  not known before a visit  never", "here       1 session", "last pass  none yet", "next       when `sync` runs"] {
        assert!(said.out.lines().any(|said| said == line), "{line} in\n{}", said.out);
    }
    let checked = world.run("status --check");
    assert_eq!(checked.code, 1);
    assert!(checked.out.contains("stale      no pass over everything was made yet"), "{}", checked.out);
}

#[test]
fn after_a_pass_all_is_equal_and_what_is_said_then_is_ahead() {
    let world = World::new();
    let own = world.here(1, "fix the build", 60);
    world.there(2, "write the docs", 50);
    world.sync();
    assert_eq!(world.counts(), json!({"equal": 2}));

    let bytes = go_on(&own, "and the tests", 1);
    let ahead = world.unequal();
    assert_eq!(ahead, json!({"session": id(1), "title": "fix the build", "word": "ahead", "bytes": bytes}));
    let new = world.here(3, "only here", 2);
    assert_eq!(world.counts(), json!({"equal": 1, "ahead": 2}));
    let told = world.run("status").out;
    assert!(told.contains(&format!("only here      ahead  {} B to go to box", new.metadata().unwrap().len())), "{told}");
    world.sync();
    assert_eq!(world.counts(), json!({"equal": 3}), "what was ahead went there");
}

#[test]
fn a_session_that_is_open_here_waits_and_it_is_said_for_how_much() {
    let world = World::new();
    let far = world.there(2, "write the docs", 50);
    world.sync();
    world.open_here(2);
    let bytes = go_on(&far, "more of it", 1);
    assert_eq!(world.counts(), json!({"equal": 1}), "nobody was asked");
    world.sync();
    let waiting = world.unequal();
    assert_eq!(waiting, json!({"session": id(2), "title": "write the docs", "word": "waiting", "at": "here", "bytes": bytes}));
    let told = world.run("status").out;
    assert!(told.contains(&format!("write the docs  waiting  open here, {bytes} B behind box")), "{told}");
}

#[test]
fn what_was_deleted_here_and_what_is_older_than_the_window_are_counted_and_not_named() {
    let world = World::new();
    world.there(1, "kept", 50);
    world.there(2, "write the docs", 50);
    world.here(3, "long ago", 60 * 24 * 9);
    world.sync();
    fs::remove_file(world.came(2)).unwrap();
    assert_eq!(world.counts(), json!({"equal": 1, "deleted": 1, "older": 1}));
    let told = world.run("status").out;
    assert!(told.contains("1 equal, 1 older, 1 deleted") && !told.contains("long ago") && !told.contains("write the docs"), "{told}");
}

#[test]
fn a_state_that_cannot_be_read_costs_memory_and_nothing_else() {
    let world = World::new();
    world.here(1, "fix the build", 60);
    world.sync();
    for bytes in [&b"{\"version\":1,"[..], b"\xff\x00", b"{\"version\":99}", b""] {
        fs::write(world.state_file(), bytes).unwrap();
        let said = world.run("status");
        assert_eq!((said.code, said.err.as_str()), (0, ""));
        assert!(said.out.contains("not known before a visit"), "{}", said.out);
    }
}

#[test]
fn check_fails_when_the_last_good_pass_or_a_place_is_too_old() {
    let world = World::new();
    let api = Api::start();
    let github = format!("[github]\napi_url = \"{}\"\n", api.url());
    world.reach(&world.far.command(), &github);
    let run = |line: &str| world.said(&world.command(line).env("GH_TOKEN", TOKEN).output().unwrap());
    let synced = run("sync");
    assert_eq!(synced.code, 0, "{synced:?}");
    assert_eq!(run("status --check").code, 0);

    let long_ago = (chrono::Utc::now() - chrono::Duration::hours(7)).to_rfc3339();
    world.remember(|state| state["last_good"] = long_ago.clone().into());
    let stale = run("status --check");
    assert_eq!(stale.code, 1);
    assert!(stale.out.contains("stale      the last good pass over everything began 7 h ago"), "{}", stale.out);

    world.reach(&["/bin/false".to_owned()], &github);
    assert_ne!(run("sync").code, 0);
    assert_eq!(run("status --check").code, 0, "it fails for a moment only");
    world.remember(|state| state["visits"]["box"]["failing"] = long_ago.into());
    let failing = run("status --check --json");
    assert_eq!((failing.code, &failing.json()["stale"][0]["what"], &failing.json()["stale"][0]["name"]), (1, &"place".into(), &"box".into()));
    assert_eq!(run("status").code, 0, "only --check says it by the exit code");
}

#[test]
fn names_limit_what_is_shown_and_an_unknown_one_is_refused() {
    let world = World::new();
    for name in ["box", "bo", "acme/widget", "."] {
        assert_eq!(world.run(&format!("status {name} --json")).json()["places"].as_array().unwrap().len(), 1, "{name}");
    }
    let said = world.run("status other");
    assert_eq!(said.code, 2);
    assert!(said.err.starts_with("error: no codespace or machine is called `other`\nhint: "), "{}", said.err);
}

#[test]
fn why_names_the_rule_that_placed_each_session_and_how_each_directory_is_known() {
    let world = World::new();
    world.here(1, "fix the build", 60);
    world.there(2, "write the docs", 50);
    world.sync();
    let why = world.run("status --why --json").json()["why"].clone();
    let root = "~/projects/widget";
    assert_eq!(why["directories"][0], json!({"project": why["directories"][0]["project"], "repository": "acme/widget", "by": "clone", "root": root}));
    let of = |number: u32| why["sessions"].as_array().unwrap().iter().find(|session| session["session"] == id(number)).unwrap()["why"].clone();
    assert_eq!((of(1), of(2)), ("written".into(), json!({"rule": "used-last"})));
    let told = world.run("status --why").out;
    assert!(told.contains("the clone used last") && told.contains("the remotes of ~/projects/widget"), "{told}");
}

#[test]
fn a_repository_without_a_clone_here_is_named_with_the_line_that_changes_it() {
    let world = World::new();
    world.there(2, "write the docs", 50);
    fs::remove_dir_all(world.root().join(".git")).unwrap();
    world.sync();
    let status = world.run("status --json").json();
    assert_eq!((&status["unplaced"][0]["repository"], &status["unplaced"][0]["clone"]), (&"acme/widget".into(), &false.into()), "{status}");
    let told = world.run("status").out;
    assert!(told.contains("[[repository]] name = \"acme/widget\", path = \"~/…\""), "{told}");
}

#[test]
fn what_comes_from_afar_cannot_act_on_a_terminal() {
    let world = World::new();
    world.there(2, "x\\u001b[31mred\\u202e", 50);
    world.sync();
    go_on(&world.came(2), "more", 1);
    for line in ["status", "status --why", "status --json", "list sessions", "list sessions --json"] {
        let said = world.run(line);
        assert!(!said.out.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{line}: {:?}", said.out);
        assert!(said.out.contains("red"), "{line}: {}", said.out);
    }
}

#[test]
fn watching_ends_when_nobody_reads() {
    let world = World::new();
    let mut child = world.command("status --watch --json").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut first = [0; 12];
    out.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"{\"version\":1");
    drop(out);
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &b""[..]));
}
