//! The real agent with real sshds: what it visits, what it leaves alone, what it says, and how it ends.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::agent_process::{Agent, children, runs};
use crate::e2e_world::Laptop;
use crate::mounts::Mounted;
use crate::skip::skip_unless_root;
use crate::wait::reached;

const BOX: &str = "silver-box-x5q7";

/// A schedule that never rings within a test, and looks that come each second.
const LOOKS: &str = "[schedule]\nevery = \"0 0 1 1 *\"\nlook = \"1s\"\njitter = \"0s\"\n";
/// A pass every second, and no look.
pub(crate) const PASSES: &str = "[schedule]\nevery = \"* * * * * *\"\nlook = \"0s\"\njitter = \"0s\"\n";

pub(crate) fn agent(laptop: &Laptop) -> Agent {
    Agent::start(&mut laptop.command(&["run"]), &laptop.home().join(".cache/claude-session-sync/run"))
}

fn status(laptop: &Laptop) -> Value {
    let told = laptop.command(&["status", "--json"]).output().unwrap();
    serde_json::from_slice(&told.stdout).unwrap()
}

fn log(laptop: &Laptop) -> String {
    let logs = laptop.home().join(".local/state/claude-session-sync/log/latest");
    fs::read_to_string(logs).unwrap_or_default()
}

/// Puts a stand-in of notify-send on the agent's PATH; what it was asked to show, and any token that it was given.
pub(crate) fn shower(laptop: &Laptop) -> impl Fn() -> String + use<> {
    let (shown, program) = (laptop.home().join("shown"), laptop.gh.dir().join("notify-send"));
    fs::write(&program, format!("#!/bin/sh\nprintf '%s\\n' \"$*\" ${{GH_TOKEN-}} >>{}\n", shown.display())).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    move || fs::read_to_string(&shown).unwrap_or_default()
}

#[test]
fn a_look_visits_a_codespace_as_soon_as_it_runs_and_then_leaves_it_in_quiet() {
    let Some(mut laptop) = Laptop::new() else { return };
    laptop.configure(LOOKS);
    if laptop.codespace(BOX).is_none() {
        return;
    }
    laptop.api.set(BOX, "state", "Shutdown");
    let home = laptop.session_at(BOX, 7, "there", 3);
    // Written long ago: nobody is at work there.
    fs::File::options().write(true).open(&home).unwrap().set_modified(SystemTime::now() - Duration::from_secs(7200)).unwrap();
    let agent = agent(&laptop);
    agent.until("the pass at the start is made", |status| status["last_pass"]["good"] == true);
    let asked = laptop.api.requests().len();
    reached("it looks again", || laptop.api.requests().len() > asked + 1);
    assert_eq!(laptop.at(BOX).connections(), 0, "it does not run");
    laptop.api.set(BOX, "state", "Available");
    laptop.api.set(BOX, "last_used_at", "2026-11-20T10:00:00Z");
    let theirs = fs::read_to_string(home).unwrap();
    reached("its session is here", || laptop.keeps(&theirs));
    agent.until("the visit is over", |status| status["doing"]["is"] == "idle");
    let visited = laptop.at(BOX).connections();
    let asked = laptop.api.requests().len();
    reached("five looks later", || laptop.api.requests().len() > asked + 5);
    assert_eq!(laptop.at(BOX).connections(), visited, "nothing speaks for a second visit");
    let place = &status(&laptop)["places"][0];
    assert!(place["next"].as_str().unwrap().contains("quiet until") && place["next_at"].is_string(), "{place}");
    laptop.api.set(BOX, "last_used_at", "2026-11-20T12:00:00Z");
    reached("a new run is visited", || laptop.at(BOX).connections() > visited);
    assert!(laptop.api.posts().is_empty(), "nothing is ever started");
}

#[test]
fn a_token_that_is_revoked_is_said_once_shown_once_and_heals() {
    let Some(laptop) = Laptop::new() else { return };
    laptop.configure(PASSES);
    let shown = shower(&laptop);
    let agent = agent(&laptop);
    let made = agent.until("a pass is made", |status| status["last_pass"]["good"] == true);
    assert_eq!(made["token"], "GH_TOKEN", "where it is from, and no more");
    let doctor = laptop.command(&["doctor", "--offline", "--json"]).output().unwrap();
    let doctor: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    assert_eq!((&doctor["eyes"], &doctor["checks"][1]["finding"]), (&"agent".into(), &"from GH_TOKEN; GitHub was not asked (--offline)".into()));
    laptop.api.set_token("another");
    let refused = agent.until("it is refused", |status| status["concerns"][0]["about"] == "login");
    assert!(refused["concerns"][0]["hint"].as_str().unwrap().contains("gh auth login"), "{refused}");
    let asked = laptop.api.requests().len();
    reached("it was refused again and again", || laptop.api.requests().len() > asked + 3);
    let told = laptop.command(&["status"]).output().unwrap();
    let text = String::from_utf8(told.stdout).unwrap();
    assert!(text.contains("to mend") && text.contains("gh auth login"), "{text}");
    laptop.api.set_token(crate::api::TOKEN);
    agent.until("it healed", |status| status["concerns"] == json!([]) && status["last_pass"]["good"] == true);
    assert_eq!(shown().matches("claude-session-sync GitHub does not accept").count(), 1, "{}", shown());
    assert!(!shown().contains(crate::api::TOKEN), "{}", shown());
    reached("it is in the log", || log(&laptop).contains("the codespaces can be listed again"));
    assert_eq!(log(&laptop).matches("the codespaces cannot be listed").count(), 1, "{}", log(&laptop));
}

#[test]
fn a_full_disk_here_is_said_once_shown_once_and_heals_when_there_is_room() {
    let Some(mut laptop) = Laptop::new() else { return };
    laptop.configure(&format!("{PASSES}[sync]\nidle_policy = \"always\"\n"));
    if laptop.codespace(BOX).is_none() {
        return;
    }
    fs::create_dir_all(laptop.data()).unwrap();
    let Some(disk) = Mounted::small(&laptop.data(), "2m") else { return skip_unless_root("cannot mount a tmpfs here") };
    let theirs = fs::read_to_string(laptop.session_at(BOX, 7, &"x".repeat(3 << 20), 3)).unwrap();
    let shown = shower(&laptop);
    let agent = agent(&laptop);
    let full = agent.until("it is said", |status| status["concerns"][0]["about"] == "disk");
    let passes = laptop.at(BOX).connections();
    reached("it failed again and again", || laptop.at(BOX).connections() > passes + 2);
    assert_eq!(shown().matches("No space left").count(), 1, "{}", shown());
    assert_eq!(log(&laptop).matches("No space left").count(), 1, "{full}: {}", log(&laptop));
    let grown = std::process::Command::new("mount").args(["-o", "remount,size=64m"]).arg(laptop.data()).status().unwrap();
    assert!(grown.success());
    agent.until("it healed", |status| status["concerns"] == json!([]) && status["last_pass"]["good"] == true);
    reached("the session is here", || laptop.keeps(&theirs));
    agent.signal(Signal::SIGTERM);
    assert!(agent.ended_well());
    drop(disk);
}

#[test]
fn a_codespace_that_will_be_deleted_is_named_with_the_command_that_saves_it() {
    let Some(mut laptop) = Laptop::new() else { return };
    laptop.configure(LOOKS);
    if laptop.codespace(BOX).is_none() {
        return;
    }
    laptop.api.set(BOX, "state", "Shutdown");
    laptop.api.set(BOX, "retention_expires_at", (chrono::Utc::now() + chrono::TimeDelta::days(3)).to_rfc3339());
    let agent = agent(&laptop);
    agent.until("it is named", |status| status["expiring"][0]["name"] == BOX);
    let told = String::from_utf8(laptop.command(&["status"]).output().unwrap().stdout).unwrap();
    assert!(told.contains("GitHub deletes it on") && told.contains(&format!("claude-session-sync sync {BOX} --wait")), "{told}");
    let asked = laptop.api.requests().len();
    reached("it looks again and again", || laptop.api.requests().len() > asked + 2);
    assert_eq!(log(&laptop).matches("GitHub will delete a codespace").count(), 1);
    assert!(laptop.api.posts().is_empty());
}

#[test]
fn sigterm_during_a_visit_that_hangs_ends_the_agent_and_its_children_in_time() {
    let Some(mut laptop) = Laptop::new() else { return };
    laptop.configure(LOOKS);
    if laptop.codespace(BOX).is_none() {
        return;
    }
    laptop.session_at(BOX, 7, "there", 3);
    laptop.at(BOX).stall(true);
    let agent = agent(&laptop);
    reached("the visit began", || !laptop.gh.calls().iter().all(|call| call.argv[0] == "--version") && laptop.at(BOX).connections() > 0);
    let children = children(agent.pid());
    assert!(!children.is_empty());
    let began = std::time::Instant::now();
    agent.signal(Signal::SIGTERM);
    assert!(agent.ended_well());
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    reached("no child of it is left", || children.iter().all(|pid| !runs(*pid)));
}
