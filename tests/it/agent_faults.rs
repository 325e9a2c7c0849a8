//! The real agent when the ground gives way: a state that cannot be saved, a runtime directory that is taken away, a program that
//! hangs, a log without a disk.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::agent_process::{Agent, children, hear, runs};
use crate::e2e_world::Laptop;
use crate::mounts::Mounted;
use crate::skip::skip_unless_root;
use crate::wait::reached;

const BOX: &str = "silver-box-x5q7";

/// A schedule that never rings within a test, and looks that come each second.
const LOOKS: &str = "[schedule]\nevery = \"0 0 1 1 *\"\nlook = \"1s\"\njitter = \"0s\"\n";

fn runtime(laptop: &Laptop) -> PathBuf {
    laptop.home().join(".cache/claude-session-sync/run")
}

fn agent(laptop: &Laptop) -> Agent {
    Agent::start(&mut laptop.command(&["run"]), &runtime(laptop))
}

fn log(laptop: &Laptop) -> String {
    fs::read_to_string(laptop.home().join(".local/state/claude-session-sync/log/latest")).unwrap_or_default()
}

/// A codespace that nobody is at, with one session.
fn forgotten(more: &str) -> Option<Laptop> {
    let mut laptop = Laptop::new()?;
    laptop.configure(&format!("{LOOKS}{more}"));
    laptop.codespace(BOX)?;
    let there = laptop.session_at(BOX, 7, "there", 3);
    File::options().write(true).open(there).unwrap().set_modified(SystemTime::now() - Duration::from_secs(7200)).unwrap();
    Some(laptop)
}

fn looks_again(laptop: &Laptop, times: usize) {
    let asked = laptop.api.requests().len();
    reached("it looks again and again", || laptop.api.requests().len() > asked + times);
}

#[test]
fn a_state_that_cannot_be_saved_keeps_no_codespace_awake_and_is_said_once() {
    let Some(laptop) = forgotten("") else { return };
    fs::create_dir_all(laptop.data().join("state/state.json")).unwrap();
    let agent = agent(&laptop);
    agent.until("it was visited", |status| laptop.at(BOX).connections() > 0 && status["last_pass"]["good"] == true && status["doing"]["is"] == "idle");
    let visited = laptop.at(BOX).connections();
    looks_again(&laptop, 5);
    assert_eq!(laptop.at(BOX).connections(), visited, "what this process did it knows without a file");
    for _ in 0..2 {
        let before = agent.status()["last_pass"]["began"].clone();
        agent.ask("sync");
        agent.until("another pass is over", |status| status["last_pass"]["began"] != before && status["doing"]["is"] == "idle");
    }
    assert_eq!(laptop.at(BOX).connections(), visited, "nor does a pass");
    assert_eq!(log(&laptop).matches("the state was not saved").count(), 1, "{}", log(&laptop));
}

#[test]
fn a_runtime_directory_that_is_taken_away_is_made_again_and_served() {
    let Some(laptop) = forgotten("") else { return };
    let agent = agent(&laptop);
    agent.until("the pass at the start is made", |status| status["last_pass"]["good"] == true);
    fs::remove_dir_all(runtime(&laptop)).unwrap();
    reached("it serves again", || std::os::unix::net::UnixStream::connect(&agent.socket).is_ok());
    assert_eq!(agent.status()["pid"], agent.pid());
    assert_eq!(fs::metadata(&agent.socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(agent.ask("stop"), json!({"answer": "done"}));
    assert!(agent.ended_well());
    assert!(!runtime(&laptop).join("agent.sock").exists(), "its own socket goes with it");
}

#[test]
fn while_gh_asks_a_keychain_that_hangs_the_agent_answers_and_ends_without_an_orphan() {
    let Some(mut laptop) = forgotten("") else { return };
    laptop.token = None;
    let gh = laptop.gh.dir().join("gh");
    fs::remove_file(&gh).unwrap();
    fs::write(&gh, "#!/bin/sh\nsleep 1000 &\nwait\n").unwrap();
    fs::set_permissions(&gh, Permissions::from_mode(0o755)).unwrap();
    let agent = agent(&laptop);
    reached("gh hangs", || children(agent.pid()).len() >= 2);
    let began = Instant::now();
    assert_eq!(agent.status()["doing"]["is"], "passing");
    assert_eq!(agent.ask("sync"), json!({"answer": "done"}));
    assert_eq!(agent.ask("reload"), json!({"answer": "done"}));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let children = children(agent.pid());
    agent.signal(Signal::SIGTERM);
    assert!(agent.ended_well());
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    reached("no child of it is left", || children.iter().all(|pid| !runs(*pid)));
}

#[test]
fn who_asks_an_agent_that_is_ending_is_answered() {
    let Some(laptop) = forgotten("") else { return };
    laptop.at(BOX).stall(true);
    let agent = agent(&laptop);
    reached("the visit began", || !laptop.gh.calls().iter().all(|call| call.argv[0] == "--version") && laptop.at(BOX).connections() > 0);
    let mut first = agent.connect();
    std::io::Write::write_all(first.get_mut(), b"{\"request\":\"stop\"}\n").unwrap();
    agent.until("it comes to its end", |status| status["doing"]["is"] == "stopping");
    assert_eq!(agent.ask("sync")["answer"], "refused");
    agent.signal(Signal::SIGHUP);
    assert_eq!(agent.ask("stop"), json!({"answer": "done"}), "a second one waits with the first");
    assert_eq!(hear(&mut first), json!({"answer": "done"}));
    assert!(agent.ended_well());
}

#[test]
fn a_log_without_a_disk_is_said_by_status_and_costs_no_pass() {
    let Some(laptop) = forgotten("[log]\nlevel = \"trace\"\n") else { return };
    let logs = laptop.home().join(".local/state/claude-session-sync/log");
    fs::create_dir_all(&logs).unwrap();
    let Some(disk) = Mounted::small(&logs, "64k") else { return skip_unless_root("a log on a full disk") };
    let agent = agent(&laptop);
    agent.until("the pass at the start is made", |status| status["last_pass"]["good"] == true && status["log"]["trouble"].is_null());
    assert!(fs::write(logs.join("filler"), vec![b'x'; 100_000]).is_err(), "the disk is full now");
    // What is left of the log's last block is filled by passes.
    agent.until("it is said", |status| {
        agent.ask("sync");
        status["log"]["trouble"].as_str().is_some_and(|trouble| trouble.contains("cannot be written"))
    });
    let told = String::from_utf8(laptop.command(&["status"]).output().unwrap().stdout).unwrap();
    assert!(told.contains("cannot be written") && told.contains("lines were lost"), "{told}");
    let before = agent.status()["last_pass"]["began"].clone();
    agent.ask("sync");
    agent.until("a pass was made", |status| status["last_pass"]["good"] == true && status["last_pass"]["began"] != before);
    drop(agent);
    drop(disk);
}

#[test]
fn a_pass_that_cannot_be_made_says_why_once_and_the_next_one_heals_it() {
    let Some(laptop) = forgotten("") else { return };
    let agent = agent(&laptop);
    let good = |agent: &Agent, good: bool| agent.until("the pass is over", |status| status["last_pass"]["good"] == good && status["doing"]["is"] == "idle");
    good(&agent, true);
    let (vault, aside) = (laptop.data().join("vault"), laptop.data().join("aside"));
    fs::rename(&vault, &aside).unwrap();
    fs::write(&vault, "in the way").unwrap();
    agent.ask("sync");
    let status = good(&agent, false);
    assert!(status["concerns"][0]["message"].as_str().unwrap().contains("Not a directory"), "{status}");
    looks_again(&laptop, 5);
    assert_eq!(agent.status()["last_pass"], status["last_pass"], "a list that is had is no reason for another try");
    reached("the log says why", || log(&laptop).contains("no pass could be made reason=\"this machine's sessions cannot be used: Not a directory"));
    assert_eq!(log(&laptop).matches("no pass could be made").count(), 1, "{}", log(&laptop));
    fs::remove_file(&vault).unwrap();
    fs::rename(&aside, &vault).unwrap();
    agent.ask("sync");
    assert_eq!(good(&agent, true)["concerns"], json!([]));
}
