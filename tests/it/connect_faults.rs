//! What can go wrong around a `connect`: a visit that fails is one line and nothing more, a connection that is lost is not made anew.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use claude_session_sync::lock::{Alone, Lock};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::connect::{BOX, client, connect, copying, ended, master, tunnels, world};
use crate::e2e_world::{id, transcripts};
use crate::skip::have;
use crate::wait::{members, reached};

#[tokio::test]
async fn another_pass_costs_one_warning_and_the_shell_opens() {
    let Some(laptop) = world() else { return };
    laptop.report(&[]).good();
    let lock = Lock::take(&laptop.data().join("state"), Alone::Pass, std::time::Duration::ZERO).await.unwrap();
    let child = copying(&laptop);
    drop(lock);
    drop(Lock::take(&laptop.data().join("state"), Alone::Pass, std::time::Duration::ZERO).await.expect("nobody holds it while ssh runs"));
    laptop.session_at(BOX, 2, "grew meanwhile", 1);
    let told = ended(child);
    assert_eq!((told.code, told.stderr.lines().count()), (0, 1), "{told:?}");
    assert!(told.stderr.starts_with("warning: the visit before the terminal: another pass is running"), "{told:?}");
    assert!(transcripts(&laptop.claude()).contains_key(&id(2)), "the last visit was not made");
}

#[test]
fn a_far_side_that_refuses_costs_one_line_for_each_visit() {
    let Some(laptop) = world() else { return };
    let claude = laptop.claude_at(BOX);
    fs::remove_dir_all(&claude).unwrap();
    fs::write(&claude, "no directory").unwrap();
    fs::set_permissions(&claude, fs::Permissions::from_mode(0o600)).unwrap();
    laptop.configure("[claude]\ncodespace_directory = \"/dev/null/nowhere\"\n");
    let told = connect(&laptop, &[BOX, "--", "echo there; exit 7"]);
    assert_eq!((told.code, told.stdout.as_str()), (7, "there\n"), "{told:?}");
    let warnings: Vec<&str> = told.stderr.lines().collect();
    assert!(warnings.len() == 2 && warnings[0].starts_with("warning: the visit before") && warnings[1].starts_with("warning: the visit after"), "{told:?}");
}

#[test]
fn a_store_here_that_cannot_be_written_is_no_obstacle() {
    let Some(laptop) = world() else { return };
    laptop.session_at(BOX, 2, "there", 20);
    fs::create_dir_all(laptop.data()).unwrap();
    fs::write(laptop.data().join("vault"), "a file in the way").unwrap();
    let told = connect(&laptop, &[BOX, "--", "echo there"]);
    assert_eq!((told.code, told.stdout.as_str(), told.stderr.lines().count()), (0, "there\n", 2), "{told:?}");
}

#[test]
fn a_repository_that_is_not_synced_is_connected_to_without_a_visit_and_without_a_word() {
    let Some(laptop) = world() else { return };
    laptop.configure("[[repository]]\nname = \"acme/widget\"\nsync = \"off\"\n");
    laptop.session_at(BOX, 2, "there", 20);
    let told = connect(&laptop, &[BOX, "--", "exit 7"]);
    assert_eq!((told.code, told.stderr.as_str()), (7, ""));
    assert!(transcripts(&laptop.claude()).is_empty());
    assert_eq!(laptop.at(BOX).sessions(), 1, "only the user's own");
}

#[test]
fn a_connection_that_cannot_be_made_is_the_one_thing_that_ends_it() {
    let Some(laptop) = world() else { return };
    laptop.gh.entry(BOX, json!({"fail": "failed to start SSH server: Please check if an SSH server is installed in the container."}));
    let told = connect(&laptop, &[BOX, "--", "echo there"]);
    assert!(told.code == 1 && told.stdout.is_empty() && told.stderr.contains(&format!("error: cannot connect to {BOX}")), "{told:?}");
    assert!(told.stderr.contains("the codespace has no SSH server") && told.stderr.contains("devcontainers/features/sshd"), "{told:?}");
    laptop.gh.entry(BOX, json!({"fail": null}));
    // It went to sleep since it was listed: the guard says so, and it stays asleep.
    laptop.api.once("GET", &format!("/user/codespaces/{BOX}"), crate::api::Answer::json(200, &crate::rows::row(BOX, "acme/widget", "Shutdown")));
    let told = connect(&laptop, &[BOX, "--", "echo there"]);
    assert!(told.code == 3 && told.stderr.contains("is not Available"), "{told:?}");
    assert!(laptop.api.posts().is_empty());
}

#[test]
fn a_master_that_dies_ends_ssh_with_255_and_nothing_connects_anew() {
    let Some(laptop) = world() else { return };
    let child = copying(&laptop);
    laptop.session_at(BOX, 2, "grew meanwhile", 1);
    kill(master(&laptop), Signal::SIGKILL).unwrap();
    let told = ended(child);
    assert_eq!(told.code, 255, "{told:?}");
    let ours: Vec<&str> = told.stderr.lines().filter(|line| line.starts_with("warning:")).collect();
    assert_eq!(ours, ["warning: the visit after the terminal: the connection is lost; what was made there comes at the next visit"], "{told:?}");
    assert_eq!((tunnels(&laptop), laptop.at(BOX).connections(), laptop.api.posts().len()), (1, 1, 0));
    assert!(!transcripts(&laptop.claude()).contains_key(&id(2)));
    laptop.report(&[]).good();
    assert!(transcripts(&laptop.claude()).contains_key(&id(2)), "the next visit");
}

#[test]
fn a_link_that_goes_dumb_does_not_hold_up_the_end() {
    let Some(laptop) = world() else { return };
    let child = copying(&laptop);
    laptop.at(BOX).stall(true);
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let began = std::time::Instant::now();
    let told = ended(child);
    assert!(began.elapsed() < std::time::Duration::from_secs(30), "{:?}", began.elapsed());
    assert!(told.code != 0 && told.stderr.contains("the connection is lost"), "{told:?}");
}

#[test]
fn a_link_that_goes_dumb_during_a_visit_ends_the_visit_within_a_minute() {
    if !have("faketime", "--version") {
        return;
    }
    let Some(laptop) = world() else { return };
    let noise: String = (0..60_000).map(|_| uuid::Uuid::new_v4().simple().to_string()).collect();
    laptop.session(1, &noise, 30);
    laptop.at(BOX).stall_after(300_000);
    // Its minute takes twelve seconds.
    let mut fast = Command::new("faketime");
    fast.args(["-f", "+0 x5", env!("CARGO_BIN_EXE_claude-session-sync"), "connect", BOX, "--", "echo there"]);
    fast.env_clear().envs(laptop.environment()).current_dir(laptop.home()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (child, began) = (fast.spawn().unwrap(), std::time::Instant::now());
    reached("the visit is given up, and ssh has its turn", || client(&laptop).is_some());
    assert!(began.elapsed() > std::time::Duration::from_secs(6), "nothing was waited for");
    // The child is faketime, which passes no signal on.
    kill(client(&laptop).unwrap(), Signal::SIGTERM).unwrap();
    let told = ended(child);
    let warnings: Vec<&str> = told.stderr.lines().collect();
    assert_eq!(warnings.len(), 2, "{told:?}");
    assert_eq!(warnings[0], "warning: the visit before the terminal: the far side does not answer any more");
    assert!(warnings[1].contains("the connection is lost"), "{told:?}");
    assert!(told.stdout.is_empty() && told.code != 0, "{told:?}");
}

#[test]
fn ctrl_c_breaks_off_the_last_visit_and_the_exit_status_stays_sshs() {
    let Some(laptop) = world() else { return };
    let mut child = copying(&laptop);
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    laptop.at(BOX).stall(true);
    kill(pid, Signal::SIGTERM).unwrap();
    reached("ssh is gone", || client(&laptop).is_none());
    // Heard at any time from then on; the end may still be on its way to the program.
    reached("the program ends", || {
        let _ = kill(pid, Signal::SIGINT);
        child.try_wait().unwrap().is_some()
    });
    let told = ended(child);
    assert!(told.stderr.contains("the visit after the terminal: broken off"), "{told:?}");
    assert_eq!(told.code, 255, "{told:?}");
}

#[test]
fn whoever_ends_the_program_ends_ssh_and_the_last_visit_is_made() {
    let Some(laptop) = world() else { return };
    let mut child = copying(&laptop);
    // Open to the end: ssh must end by the signal, not because nothing more is typed.
    let mut typed = child.stdin.take().unwrap();
    typed.write_all(b"x").unwrap();
    laptop.session_at(BOX, 2, "grew meanwhile", 1);
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let told = ended(child);
    drop(typed);
    assert!(told.code != 0 && !told.stderr.contains("warning:"), "{told:?}");
    assert!(transcripts(&laptop.claude()).contains_key(&id(2)));
}

/// Starts a verb that connects, ends it by a signal when gh runs, or when the connection stands and goes dumb, and sees that nothing is left.
fn ended_by(signal: Signal, words: &[&str], stands: bool) {
    let Some(laptop) = world() else { return };
    laptop.session_at(BOX, 2, "there", 20);
    if stands {
        laptop.at(BOX).stall(true);
    } else {
        laptop.gh.entry(BOX, json!({"hang": true}));
    }
    let child = laptop.command(words).spawn().unwrap();
    reached("gh runs", || tunnels(&laptop) == 1 && (!stands || laptop.at(BOX).connections() == 1));
    let gh = laptop.gh.calls().into_iter().find(|call| call.argv[0] == "codespace").unwrap().pid;
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
    assert_eq!(ended(child).code, 128 + signal as i32, "{words:?}");
    // gh led a session, so a group, of its own.
    let group = i32::try_from(gh).unwrap();
    reached("gh and what it started is gone", || members(group).is_empty());
}

#[test]
fn a_signal_before_ssh_ends_it_and_leaves_nothing() {
    ended_by(Signal::SIGINT, &["connect", BOX], false);
}

#[test]
fn a_signal_ends_a_pass_and_its_connections() {
    ended_by(Signal::SIGINT, &["sync"], false);
    ended_by(Signal::SIGHUP, &["sync", "--best-effort", BOX], true);
    ended_by(Signal::SIGTERM, &["verify", BOX], true);
}
