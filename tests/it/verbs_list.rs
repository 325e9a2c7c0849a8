//! `list`, `conflicts`, what `sync` says, and names for the shell.

use std::fs;

use chrono::{Duration, Utc};
use claude_session_sync::reconcile::transcript::Digest;
use serde_json::{Value, json};

use crate::api::{Api, TOKEN};
use crate::e2e_world::id;
use crate::rows::row;
use crate::verbs_world::{World, go_on};

#[test]
fn sessions_are_listed_newest_first_with_where_else_they_lie() {
    let world = World::new();
    let own = world.here(1, "fix the build", 60);
    world.there(2, "write the docs", 50);
    world.sync();
    go_on(&own, "and the tests", 1);
    world.here(3, "only here", 30);
    world.open_here(3);
    let listed = world.run("list sessions --json").json();
    let seen: Vec<(String, Value, Value)> = listed["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|session| (session["title"].as_str().unwrap().to_owned(), session["elsewhere"].clone(), session["open"].clone()))
        .collect();
    let at_box = |equal: bool| json!([{"place": "box", "equal": equal}]);
    assert_eq!(
        seen,
        [
            ("fix the build".to_owned(), at_box(false), false.into()),
            ("only here".to_owned(), json!([]), true.into()),
            ("write the docs".to_owned(), at_box(true), false.into())
        ]
    );
    let told = world.run("list sessions").out;
    assert!(told.contains("box (differs)") && told.contains("acme/widget") && told.contains("open"), "{told}");
}

#[test]
fn without_a_session_every_list_is_empty_and_no_failure() {
    let world = World::new();
    assert_eq!(world.run("list sessions").out, "no sessions here\n");
    assert_eq!(world.run("list sessions --json").json()["sessions"], json!([]));
    let none = world.run("conflicts");
    assert_eq!((none.code, none.out.as_str()), (0, ""));
    assert_eq!(world.run("conflicts list --json").json()["conflicts"], json!([]));
}

/// Both sides go on in one session; the machine says its word last if `far_wins`.
fn diverged(far_wins: bool) -> (World, Vec<u8>) {
    let world = World::new();
    let own = world.here(1, "fix the build", 60);
    world.sync();
    let project = claude_session_sync::reconcile::project::encode(world.far_root().to_str().unwrap());
    let far = world.far.claude().join("projects").join(project).join(format!("{}.jsonl", id(1)));
    go_on(&own, "said here", if far_wins { 5 } else { 2 });
    go_on(&far, "said there", if far_wins { 2 } else { 5 });
    let lost = fs::read(if far_wins { own } else { far }).unwrap();
    world.sync();
    (world, lost)
}

#[test]
fn a_conflict_says_once_who_won_who_lost_and_where_the_loser_lies() {
    for (far_wins, won, lost_at) in [(true, "box", "here"), (false, "here", "box")] {
        let (world, lost) = diverged(far_wins);
        let conflicts = world.run("conflicts --json").json()["conflicts"].clone();
        assert_eq!(conflicts.as_array().unwrap().len(), 1, "{conflicts}");
        let conflict = &conflicts[0];
        assert_eq!((&conflict["won"]["at"], &conflict["lost"]["from"]), (&json!([won]), &lost_at.into()), "{conflict}");
        assert_eq!(conflict["lost"]["digest"], Digest::of(&lost).to_string());
        let path = conflict["lost"]["path"].as_str().unwrap().replace('~', world.home().to_str().unwrap());
        assert_eq!(fs::read(path).unwrap(), lost);
        assert_eq!(conflict["fork"]["lies_here"], true);
        let forks = world.run("list sessions --json").json();
        let fork = forks["sessions"].as_array().unwrap().iter().find(|session| session["session"] == conflict["fork"]["session"]).unwrap().clone();
        assert_eq!(fork["fork_of"], id(1));
        let told = world.run("conflicts").out;
        assert!(told.contains("fix the build") && told.contains("the session ") && told.contains("vault/displaced/"), "{told}");
    }
}

#[test]
fn while_the_copy_that_lost_is_open_nothing_is_decided_and_that_is_said() {
    let world = World::new();
    let far = world.there(1, "write the docs", 60);
    world.sync();
    go_on(&world.came(1), "said here", 5);
    go_on(&far, "said there", 2);
    world.open_here(1);
    world.sync();
    let conflict = world.run("conflicts --json").json()["conflicts"][0].clone();
    assert_eq!((&conflict["won"], &conflict["fork"]), (&Value::Null, &Value::Null), "{conflict}");
    assert!(world.run("conflicts").out.contains("undecided: open in a client"));
    assert_eq!(world.unequal()["word"], "waiting");
}

#[test]
fn both_branches_of_a_conflict_are_told_in_words() {
    for (far_wins, won, lost) in [(true, "said there", "said here"), (false, "said here", "said there")] {
        let (world, _) = diverged(far_wins);
        let shown = world.run(&format!("conflicts show {} --json", &id(1)[..8]));
        let branches = &shown.json()["conflicts"][0]["branches"];
        let said = |side: &Value| side["turns"].as_array().unwrap().iter().map(|turn| turn["text"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!((&branches["common"]["who"], &branches["common"]["text"]), (&json!("assistant"), &json!("ok")), "{shown:?}");
        assert_eq!((said(&branches["won"]), said(&branches["lost"])), (vec![won.to_owned()], vec![lost.to_owned()]));
        let fork = shown.json()["conflicts"][0]["fork"]["session"].as_str().unwrap().to_owned();
        let told = world.run(&format!("conflicts show {fork}"));
        assert_eq!(told.code, 0, "{told:?}");
        let lines: Vec<&str> = told.out.lines().map(str::trim).collect();
        let at = |text: &str| lines.iter().position(|line| line.starts_with(text)).unwrap_or_else(|| panic!("{text}: {told:?}"));
        let (mine, theirs) = if far_wins { ("box", "here") } else { ("here", "box") };
        assert!(at("the last that both have") < at(&format!("won: {mine}")) && at(&format!("won: {mine}")) < at(&format!("lost: {theirs}")), "{told:?}");
        assert!(lines[at("won: ") + 1].contains(won) && lines[at("lost: ") + 1].contains(lost) && lines[at("won: ") + 1].contains("min ago"), "{told:?}");
        assert!(told.out.contains(&format!("claude --resume {fork}")), "{told:?}");
    }
}

#[test]
fn what_was_said_there_cannot_colour_a_terminal() {
    let world = World::new();
    let own = world.here(1, "fix the build", 60);
    world.sync();
    let project = claude_session_sync::reconcile::project::encode(world.far_root().to_str().unwrap());
    let far = world.far.claude().join("projects").join(project).join(format!("{}.jsonl", id(1)));
    go_on(&own, "said here", 5);
    go_on(&far, "red \u{1b}[31m and \u{202e}turned", 2);
    world.sync();
    let told = world.run(&format!("conflicts show {}", id(1)));
    assert!(told.out.contains("red [31m and \\u{202e}turned") && !told.out.contains(['\u{1b}', '\u{202e}']), "{told:?}");
}

#[test]
fn an_id_that_means_no_conflict_is_a_wrong_command_line() {
    let (world, _) = diverged(true);
    for wrong in ["ffffffff", "x\u{1b}", &id(2)] {
        let said = world.run(&format!("conflicts show {wrong}"));
        assert!(said.code == 2 && said.err.contains("no conflict") && !said.err.contains('\u{1b}'), "{said:?}");
    }
}

/// A home whose state remembers these visits, and GitHub's list.
fn with_visits(api: &Api, visits: Value) -> World {
    let world = World::new();
    world.reach(&world.far.command(), &format!("[github]\napi_url = \"{}\"\n", api.url()));
    fs::create_dir_all(world.state_file().parent().unwrap()).unwrap();
    let state = json!({"version": 1, "digests": [], "replicas": {}, "visits": visits, "clones": {}, "last_pass": null});
    fs::write(world.state_file(), state.to_string()).unwrap();
    world
}

#[test]
fn each_codespace_has_an_answer_to_whether_it_may_be_deleted() {
    let api = Api::start();
    for (name, state) in
        [("home", "Shutdown"), ("running", "Available"), ("again", "Shutdown"), ("left", "Shutdown"), ("new", "Shutdown"), ("mute", "Shutdown")]
    {
        api.put(row(name, "acme/widget", state));
    }
    let used = "2026-08-02T09:12:40Z";
    let visited = (Utc::now() - Duration::minutes(10)).to_rfc3339();
    let visit = |not_home: usize, episode: &str| json!({"visited": visited, "tried": visited, "outcome": "visited", "answered": true, "sessions": 4, "not_home": not_home, "episode": episode});
    let mut mute = visit(0, used);
    (mute["failing"], mute["answered"], mute["outcome"]) = (visited.clone().into(), false.into(), "no sshd \u{1b}[1m".into());
    let visits = json!({
        "home": visit(0, used), "running": visit(0, used), "again": visit(0, "2026-08-01T00:00:00Z"), "left": visit(2, used), "mute": mute,
    });
    let world = with_visits(&api, visits);
    let run = |line: &str| world.said(&world.command(line).env("GH_TOKEN", TOKEN).output().unwrap());
    let said = run("list codespaces --json");
    let listed = said.json();
    assert_eq!(said.code, 0);
    let answer = |name: &str| {
        let row = listed["codespaces"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap();
        (row["answer"].as_str().unwrap().to_owned(), row["answer_text"].as_str().unwrap().to_owned())
    };
    let expected = [
        ("home", "home", "all home (10 min ago)"),
        ("running", "running", "all home (10 min ago), still running"),
        ("again", "used-since", "used since the last visit (10 min ago)"),
        ("left", "not-home", "2 sessions not home (10 min ago)"),
        ("new", "never-visited", "never visited"),
        ("mute", "used-since", "used since the last visit (10 min ago)"),
        ("box", "never-visited", "never visited"),
    ];
    for (name, word, text) in expected {
        assert_eq!(answer(name), (word.to_owned(), text.to_owned()), "{name}");
    }
    assert_eq!(api.requests().len(), 1, "one request, and nobody is connected to");
    let told = run("list codespaces");
    assert!(told.out.contains("10 min ago  yes   2 sessions not home") && told.out.contains("2026-09-01"), "{}", told.out);
    assert_eq!(told.err, "mute: the attempt 10 min ago failed: no sshd \\u{1b}[1m\n");
}

#[test]
fn without_github_s_list_the_machines_are_listed_and_the_exit_code_says_it() {
    let api = Api::start();
    let world = with_visits(&api, json!({}));
    let said = world.said(&world.command("list codespaces").env("GH_TOKEN", "wrong").output().unwrap());
    assert_eq!(said.code, 1);
    assert!(said.out.contains("box") && said.err.starts_with("error: the codespaces cannot be listed\n"), "{said:?}");
}

#[test]
fn a_pass_with_nothing_to_do_says_nothing_where_no_terminal_listens() {
    let world = World::new();
    world.there(1, "write the docs", 60);
    world.sync();
    let second = world.run("sync box");
    assert_eq!((second.code, second.out.as_str(), second.err.as_str()), (0, "", ""));
}

#[test]
fn the_first_visit_says_how_many_older_sessions_stay_and_the_second_does_not() {
    let world = World::new();
    world.here(1, "long ago", 60 * 24 * 9);
    let said = world.run("sync box");
    assert_eq!((said.code, said.err.as_str()), (0, "box: 1 older sessions stay where they are (--days N takes them along)\n"));
    assert_eq!(world.run("sync box").err, "");
}

#[test]
fn a_dry_run_says_what_the_pass_then_says() {
    let world = World::new();
    world.there(1, "write the docs", 60);
    world.here(2, "fix the build", 60);
    let dry = world.run("sync box --dry-run").out;
    let real = world.run("sync box").out;
    assert!(dry.contains("would new, "), "{dry}");
    let plain = |text: &str| text.replace("would ", "").split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(plain(&dry), plain(&real));
}

#[test]
fn a_shell_that_asks_is_told_the_names_that_are_known() {
    let world = with_visits(&Api::start(), json!({"otter": {"kind": "codespace"}, "was": {"gone": "2026-08-02T09:12:40Z"}}));
    let asked = |line: &str| world.said(&world.command(line).env("CLAUDE_SESSION_SYNC_COMPLETE", "fish").output().unwrap());
    let said = asked("-- claude-session-sync status o");
    assert_eq!((said.code, said.out.as_str()), (0, "otter\n"));
    assert_eq!(asked("-- claude-session-sync connect o").out, "otter\n");
    let all = asked("-- claude-session-sync sync ").out;
    assert!(!all.contains("was"), "{all}");
    assert!(world.run("completions bash").out.contains("CLAUDE_SESSION_SYNC_COMPLETE"));
    assert_eq!(world.run("completions csh").code, 2);
}
