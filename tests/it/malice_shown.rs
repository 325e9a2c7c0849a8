//! Every string that somebody else controls, made to act on a terminal, and everything that the program then says: in words, in JSON,
//! in the log. Nothing of it may move a cursor, colour a line, name a window or turn text around.

use std::collections::BTreeMap;
use std::fs;
use std::process::Output;

use claude_session_sync::reconcile::plain::is_active;
use serde_json::json;

use crate::agent_visits::{PASSES, agent, shower};
use crate::api::Answer;
use crate::e2e_world::{Laptop, put_session};
use crate::figures::figure;
use crate::remote_far::write_program;
use crate::rows::row;
use crate::talk::{Talk, id};
use crate::wait::reached;
use crate::world::World;

/// Red, a window title, C1, a line turned around, a line separator, a carriage return, a backspace, DEL.
const ACTIVE: &str = "\u{1b}[31mRED\u{1b}]0;title\u{7}\u{9b}2J\u{202e}\u{2066}\u{2028}\r\u{8}\u{7f}end";

/// Takes what a run said and finds what a terminal would obey.
#[track_caller]
fn is_tame(what: &str, output: &Output) -> usize {
    let mut shown = 0;
    for bytes in [&output.stdout, &output.stderr] {
        let text = String::from_utf8(bytes.clone()).unwrap_or_else(|_| panic!("{what}: no UTF-8"));
        let active: Vec<String> = text.lines().filter(|line| line.chars().any(is_active)).map(|line| line.escape_debug().to_string()).collect();
        assert!(active.is_empty(), "{what}: {active:#?}");
        shown += text.matches("RED").count();
    }
    assert!(output.status.code().is_some_and(|code| code < 100), "{what}: {output:?}");
    shown
}

fn log_is_tame(home: &std::path::Path) {
    for (name, (_, bytes)) in crate::world::files(&home.join(".local/state")) {
        let text = String::from_utf8(bytes.0).unwrap();
        assert!(text.lines().all(|line| !line.chars().any(is_active)), "{name}");
    }
}

/// A transcript in which every text acts.
fn talk(n: u32, cwd: &str, text: &str) -> Talk {
    let said = json!({"type": "assistant", "timestamp": chrono::Utc::now() - chrono::TimeDelta::minutes(50), "gitBranch": ACTIVE, "slug": ACTIVE,
        "message": {"role": "assistant", "model": ACTIVE, "content": [{"type": "text", "text": ACTIVE}, {"type": "tool_use", "name": ACTIVE, "input": {"x": ACTIVE}}]}});
    Talk::begun(&id(n), cwd, 60, text).line(&said).line(&json!({"type": "summary", "summary": ACTIVE})).titled(&format!("{ACTIVE} {n}"))
}

#[test]
fn nothing_that_a_far_machine_says_acts_on_a_terminal() {
    let (mut world, far) = World::with_box();
    let odd = format!("odd {ACTIVE}").replace('/', "");
    for side in [&world.here, &far] {
        fs::create_dir_all(side.clones.join("widget").join(&odd)).unwrap();
        side.git(&["-C", &side.at("widget"), "remote", "add", "evil", &format!("https://evil.example/{ACTIVE}/x")]);
    }
    far.put(&talk(1, &far.at("widget"), ACTIVE));
    far.put(&talk(2, &far.at(&format!("widget/{odd}")), ACTIVE));
    world.passes();
    // Two copies that go on with the same conversation, and one that is open there under an odd status.
    let both = talk(1, &far.at("widget"), ACTIVE);
    let here = world.here.bytes(&id(1));
    world.here.goes_on(&both.clone().holding(&here).says(&format!("{ACTIVE} here")));
    far.goes_on(&both.holding(&here).after(60).says(&format!("{ACTIVE} there")).titled(ACTIVE));
    let project = far.path(&id(1)).parent().unwrap().to_owned();
    for name in [format!("{odd}.jsonl"), format!("{odd}.txt")] {
        fs::write(project.join(&name), "{}\n").unwrap();
        fs::create_dir_all(project.join(id(1))).unwrap();
        fs::write(project.join(id(1)).join(&name), "{}\n").unwrap();
    }
    fs::write(far.claude.join("sessions/1.json"), json!({"pid": 1, "sessionId": id(2), "status": ACTIVE, "cwd": ACTIVE, "name": ACTIVE}).to_string()).unwrap();
    let noisy = world.root().join("noisy");
    write_program(&noisy, &format!("#!/bin/sh\nprintf '%s\\n' '{ACTIVE}' >&2\nprintf '%s\\n' '{ACTIVE}'\nexec \"$@\"\n"));
    world.reach("box", |command| command.push(noisy.display().to_string()));
    let (one, mut shown, mut runs) = (id(1), BTreeMap::new(), 0);
    let mut hears = |world: &World, arguments: &[&str]| {
        for json in [&[][..], &["--json"]] {
            let output = world.command(&[], &[arguments, json].concat()).output().unwrap();
            let count = is_tame(&format!("{arguments:?} {json:?}"), &output);
            shown.insert(format!("{} {}", arguments[0], json.len()), count);
            runs += 1;
        }
    };
    let all: [&[&str]; 17] = [
        &["sync", "box", "--dry-run"],
        &["sync", "box"],
        &["sync", "box"],
        &["status"],
        &["status", "--why"],
        &["list", "sessions"],
        &["conflicts"],
        &["conflicts", &one],
        &["conflicts", "show", &one],
        &["restore", &one],
        &["verify"],
        &["verify", "box"],
        &["vault", "verify"],
        &["doctor", "--offline"],
        &["logs", "--level", "trace"],
        &["sync", ACTIVE],
        &["restore", ACTIVE],
    ];
    for arguments in all {
        hears(&world, arguments);
    }
    // And where it fails.
    write_program(&noisy, &format!("#!/bin/sh\nprintf '%s\\n' '{ACTIVE}' >&2\nprintf '%s\\n' '{ACTIVE}'\nexit 3\n"));
    hears(&world, &["sync", "box"]);
    hears(&world, &["status"]);
    hears(&world, &["logs", "--level", "trace"]);
    log_is_tame(&world.here.home);
    figure(&format!("{runs} runs; how often the text was shown, escaped: {shown:?}"));
    assert!(["list 0", "status 0", "logs 0"].iter().filter(|name| shown.get(**name).is_some_and(|count| *count > 0)).count() >= 2, "it was shown: {shown:?}");
}

#[test]
fn nothing_that_github_or_gh_says_acts_on_a_terminal() {
    let Some(laptop) = Laptop::new() else { return };
    for (name, state) in [("box-1", "Shutdown"), ("box-2", ACTIVE), ("box-3", "Available")] {
        let mut listed = row(name, "acme/widget", state);
        for field in ["display_name", "location", "web_url", "pending_operation_disabled_reason", "idle_timeout_notice", "last_known_stop_notice"] {
            listed[field] = format!("box {ACTIVE}").into();
        }
        listed["recent_folders"] = json!([format!("/workspaces/{ACTIVE}"), ACTIVE]);
        listed["machine"]["display_name"] = ACTIVE.into();
        listed["git_status"]["ref"] = ACTIVE.into();
        laptop.api.put(listed);
    }
    let mut odd = row("box-4", "acme/widget", "Available");
    odd["name"] = format!("-oProxyCommand={ACTIVE}").into();
    laptop.api.put(odd);
    laptop.gh.entry("box-3", json!({"fail": format!("error getting ssh server details: {ACTIVE}"), "code": 1}));
    let (mut shown, mut runs) = (0, 0);
    let mut hears = |arguments: &[&str]| {
        shown += is_tame(&format!("{arguments:?}"), &laptop.command(arguments).output().unwrap());
        runs += 1;
    };
    let all: [&[&str]; 12] = [
        &["list", "codespaces"],
        &["list", "codespaces", "--json"],
        &["sync"],
        &["sync", "--json"],
        &["sync", "box"],
        &["connect", "box"],
        &["connect", "box-1"],
        &["connect", "box-3", "--", "true"],
        &["status"],
        &["status", "--json"],
        &["doctor"],
        &["logs", "--level", "trace"],
    ];
    all.into_iter().for_each(&mut hears);
    for answer in [
        Answer::error(401, ACTIVE),
        Answer::error(403, ACTIVE),
        Answer::new(302, "").with("location", "https://evil.example/\u{9b}31m"),
        Answer::error(422, ACTIVE),
    ] {
        laptop.api.always("GET", "/user/codespaces", answer);
        [&["list", "codespaces"][..], &["sync"], &["sync", "--json"], &["status"], &["doctor"]].into_iter().for_each(&mut hears);
    }
    log_is_tame(laptop.home());
    assert!(laptop.gh.calls().iter().all(|call| call.argv.iter().all(|word| !word.starts_with("-oProxyCommand"))), "the name became an option");
    figure(&format!("{runs} runs, the text shown {shown} times, escaped"));
    assert!(shown > 5, "it was shown: {shown}");
}

#[test]
fn nothing_that_reaches_a_notice_acts_on_what_shows_it_nor_what_an_agent_that_runs_says_of_itself() {
    let Some(laptop) = Laptop::new() else { return };
    laptop.configure(PASSES);
    for (name, says) in
        [("box-1", "check if an SSH server is installed"), ("box-2", "Permission denied (publickey)"), ("box-3", "Host key verification failed")]
    {
        let mut listed = row(name, "acme/widget", "Available");
        listed["display_name"] = ACTIVE.into();
        laptop.api.put(listed);
        laptop.gh.entry(name, json!({"fail": format!("{says}. {ACTIVE}"), "code": 255}));
    }
    let shown = shower(&laptop);
    let agent = agent(&laptop);
    let mut heard = 0;
    let mut hears = |laptop: &Laptop| {
        for arguments in [&["status"][..], &["status", "--json"], &["doctor", "--offline"]] {
            heard += is_tame(&format!("{arguments:?}"), &laptop.command(arguments).output().unwrap());
        }
    };
    agent.until("each place has its concern", |status| status["concerns"].as_array().is_some_and(|concerns| concerns.len() == 3));
    hears(&laptop);
    for (code, about) in [(401, "login"), (403, "scope")] {
        laptop.api.always("GET", "/user/codespaces", Answer::error(code, ACTIVE));
        agent.until("the list is refused", |status| status["concerns"].as_array().unwrap().iter().any(|concern| concern["about"] == about));
        hears(&laptop);
    }
    laptop.configure(&format!("[schedule]\nevery = {}\n", serde_json::to_string(ACTIVE).unwrap()));
    agent.signal(nix::sys::signal::Signal::SIGHUP);
    agent.until("the configuration is wrong", |status| status["config"]["problem"].is_string());
    hears(&laptop);
    reached("all of it was shown", || shown().matches("--app-name=").count() >= 6);
    let notices = shown();
    assert!(notices.lines().all(|line| !line.chars().any(is_active)), "{}", notices.escape_debug());
    let told = notices.matches("RED").count();
    figure(&format!("{} notices, the text in them {told} times, and {heard} times in what the agent says, escaped", notices.matches("--app-name=").count()));
    assert!(told > 0 && heard > 0, "{}", notices.escape_debug());
    drop(agent);
    log_is_tame(laptop.home());
}

#[test]
fn nothing_of_a_codespace_that_is_connected_to_acts_on_a_terminal_but_what_its_command_says() {
    let Some(mut laptop) = Laptop::new() else { return };
    let Some(codespace) = laptop.codespace("box-1") else { return };
    let claude = codespace.home().join(".claude");
    let talk = talk(1, &laptop.root_at("box-1").display().to_string(), ACTIVE);
    let session = put_session(&claude, &laptop.root_at("box-1"), 1, std::str::from_utf8(&talk.bytes).unwrap());
    let odd = format!("{ACTIVE}.jsonl").replace('/', "");
    fs::write(session.with_file_name(&odd), "{}\n").unwrap();
    laptop.at("box-1").give(&claude);
    laptop.session(2, "here", 30);
    let mut shown = 0;
    for arguments in
        [&["connect", "box-1", "--", "true"][..], &["connect", "box-1", "--", "exit", "3"], &["status"], &["sync", "box-1"], &["logs", "--level", "trace"]]
    {
        shown += is_tame(&format!("{arguments:?}"), &laptop.command(arguments).output().unwrap());
    }
    log_is_tame(laptop.home());
    figure(&format!("the text shown {shown} times, escaped"));
    assert!(shown > 0);
}

#[test]
fn nothing_that_is_typed_acts_on_a_terminal_where_it_is_not_understood() {
    let program = env!("CARGO_BIN_EXE_claude-session-sync");
    for words in [&["sync", "--days", "\u{1b}[31mRED"][..], &["\u{1b}]0;RED\u{7}"], &["sync", "--\u{9b}31mRED"]] {
        let output = std::process::Command::new(program).args(words).env_clear().env("HOME", "/nowhere").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("RED") && !said.chars().any(|c| is_active(c) && c != '\n'), "{}", said.escape_debug());
    }
}
