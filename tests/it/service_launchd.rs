//! The service under launchd, as far as it can be tried without a Mac: the property list against launchd.plist(5) and Apple's DTD, the
//! verbs against a stand-in of launchctl, the job under a stand-in of launchd, with the real agent in it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use chrono::Utc;
use claude_session_sync::agent::supervisor::{self, LAUNCHD_LABEL};
use claude_session_sync::service::launchd::LABEL;
use claude_session_sync::service::movers::{self, Kind, OLD_LABEL, found};
use claude_session_sync::service::unit::plist;
use claude_session_sync::service::{Agreement, LastExit, Ran, ServiceError, Written};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::launchd::{Mac, noting_program};
use crate::skip::have;
use crate::wait::until;

/// The property list as a user has it.
fn rendered() -> String {
    let variables = [("PATH", "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin"), ("HTTPS_PROXY", "http://p:1/?a&b")];
    let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    plist(Path::new("/opt/homebrew/opt/x/bin/claude <&> \"x\""), Path::new("/Users/me"), Path::new("/Users/me/Library/Logs/claude-session-sync"), &variables)
        .unwrap()
}

#[test]
fn the_property_list_has_the_keys_and_types_of_the_manual() {
    let Some(mac) = Mac::new() else { return };
    assert_eq!(mac.lint(&rendered()), "");
    assert_eq!(LABEL, LAUNCHD_LABEL, "by which the agent knows that launchd started it");
    assert_eq!(movers::BREW_LABEL, supervisor::BREW_LABEL, "or Homebrew, by launchd");
}

#[test]
fn the_lint_finds_what_is_planted() {
    let Some(mac) = Mac::new() else { return };
    let good = rendered();
    for (from, to, expected) in [
        ("<key>ThrottleInterval</key>", "<key>ThrotleInterval</key>", "ThrotleInterval: is unknown"),
        ("<integer>60</integer>", "<string>60</string>", "ThrottleInterval: is no integer but '60'"),
        ("<integer>15</integer>", "<true/>", "ExitTimeOut: is no integer but True"),
        ("<key>SuccessfulExit</key>", "<key>SuccessfullExit</key>", "KeepAlive.SuccessfullExit: is unknown"),
        ("<string>Background</string>", "<string>background</string>", "ProcessType: 'background' is none of"),
        ("<string>077</string>", "<integer>77</integer>", "Umask: an integer is decimal"),
        ("<string>/Users/me/Library", "<string>~/Library", "StandardOutPath: '~/Library"),
        ("<string>/opt/homebrew/opt", "<string>opt", "ProgramArguments[0]: is no absolute path"),
        ("/opt/homebrew/bin:", "", "EnvironmentVariables.PATH: lacks /opt/homebrew/bin"),
        ("<key>Umask</key>", "<key>UserName</key><string>me</string><key>Umask</key>", "UserName: is for a daemon"),
        ("<key>Umask</key>", "<key>Label</key><string>x</string><key>Umask</key>", "Label: stands twice"),
        ("</dict>\n</plist>", "</plist>", "no property list"),
    ] {
        let planted = good.replacen(from, to, 1);
        assert_ne!(planted, good, "{from} is not there to be changed");
        let said = mac.lint(&planted);
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn the_property_list_is_valid_by_apple_s_grammar() {
    if !have("xmllint", "--version") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let valid = |text: &str| {
        let file = place.path().join("x.plist");
        fs::write(&file, text).unwrap();
        let dtd = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/plist.dtd");
        let output = Command::new("xmllint").args(["--noout", "--nonet", "--dtdvalid"]).arg(dtd).arg(&file).stdin(Stdio::null()).output().unwrap();
        output.status.success()
    };
    assert!(valid(&rendered()));
    assert!(!valid(&rendered().replacen("<true/>", "<yes/>", 1)));
    assert!(!valid(&rendered().replacen("<key>Label</key>", "", 1)));
}

#[tokio::test]
async fn install_loads_the_job_and_a_second_time_changes_nothing() {
    let Some(mac) = Mac::new() else { return };
    let service = mac.service();
    let installed = service.install(Utc::now()).await.unwrap();
    assert_eq!((installed.unit, installed.written, installed.ran), (mac.plist(), Written::New, Ran::Started));
    assert_eq!(mac.changes(), ["enable", "bootstrap"]);
    let text = fs::read_to_string(mac.plist()).unwrap();
    assert!(text.contains("<string>/opt/homebrew/opt/claude-session-sync/bin/claude-session-sync</string>"), "not the Cellar: {text}");
    assert_eq!(mac.lint(&text), "");
    let again = service.install(Utc::now()).await.unwrap();
    assert_eq!((again.written, again.ran), (Written::Unchanged, Ran::Already));
    assert_eq!(mac.changes(), ["enable"]);
    let status = service.status().await.unwrap();
    assert_eq!((status.agreement, status.enabled, status.loaded, status.restarts), (Agreement::Same, Some(true), true, Some(0)));
    let running = status.running.unwrap();
    assert_eq!(running.pid, std::process::id());
    assert!(running.since.unwrap() <= Utc::now(), "as ps says");
    assert!(!status.program_exists, "nothing lies there on this machine");
}

#[tokio::test]
async fn a_changed_property_list_is_kept_and_the_job_loaded_anew_once_the_old_one_is_gone() {
    let Some(mac) = Mac::new() else { return };
    mac.service().install(Utc::now()).await.unwrap();
    let old = fs::read_to_string(mac.plist()).unwrap();
    mac.changes();
    // The job outlives its bootout by a few looks, and launchd refuses the first bootstraps.
    mac.set("slow", "3");
    mac.set("bootstrap", "37\n36\n5");
    let service = mac.service_of(Path::new("/usr/local/bin/claude-session-sync"), &[]);
    assert_eq!(service.status().await.unwrap().agreement, Agreement::Different);
    let installed = service.install("2026-11-21T05:06:07Z".parse().unwrap()).await.unwrap();
    let kept = service.kept().join(format!("{LABEL}.plist.bak-20261121T050607Z"));
    assert_eq!((installed.written, installed.ran), (Written::Replaced(kept.clone()), Ran::Restarted));
    assert_eq!(mac.changes(), ["enable", "bootout", "bootstrap", "bootstrap", "bootstrap", "bootstrap"]);
    assert_eq!(fs::read_to_string(kept).unwrap(), old);
    assert_eq!(fs::read_dir(mac.launch_agents()).unwrap().count(), 1, "launchd finds one file");
    assert_eq!(mac.jobs(), [LABEL]);
}

#[tokio::test]
async fn another_shell_is_told_which_variables_differ() {
    let Some(mac) = Mac::new() else { return };
    mac.service().install(Utc::now()).await.unwrap();
    let other = mac.service_of(Path::new("/opt/homebrew/Cellar/claude-session-sync/0.2.0/bin/claude-session-sync"), &[("CLAUDE_CONFIG_DIR", "/c")]);
    let status = other.status().await.unwrap();
    assert_eq!((status.agreement, status.differs), (Agreement::Environment, vec!["CLAUDE_CONFIG_DIR".to_owned()]));
}

#[tokio::test]
async fn start_stop_and_restart_do_what_they_say_and_say_what_they_did() {
    let Some(mac) = Mac::new() else { return };
    let service = mac.service();
    assert!(matches!(service.start().await, Err(ServiceError::NotInstalled { .. })));
    assert_eq!(service.stop().await.unwrap(), Ran::NotAtAll);
    service.install(Utc::now()).await.unwrap();
    mac.changes();
    assert_eq!((service.start().await.unwrap(), mac.changes()), (Ran::Already, vec![]));
    assert_eq!((service.restart().await.unwrap(), mac.changes()), (Ran::Restarted, vec!["kickstart -k".to_owned()]));
    assert_eq!((service.stop().await.unwrap(), mac.changes()), (Ran::Stopped, vec!["bootout".to_owned()]));
    let status = service.status().await.unwrap();
    assert!(status.is_installed() && !status.loaded && status.running.is_none());
    assert_eq!((service.start().await.unwrap(), mac.changes()), (Ran::Started, vec!["enable".to_owned(), "bootstrap".to_owned()]));
    // Loaded, but ended by itself with 0.
    service.stop().await.unwrap();
    mac.set("idle", "");
    service.start().await.unwrap();
    mac.unset("idle");
    mac.changes();
    assert_eq!((service.install(Utc::now()).await.unwrap().ran, mac.changes()), (Ran::Started, vec!["enable".to_owned(), "kickstart".to_owned()]));
}

#[tokio::test]
async fn uninstall_leaves_nothing_with_launchd_and_keeps_what_is_the_user_s() {
    let Some(mac) = Mac::new() else { return };
    let service = mac.service();
    service.install(Utc::now()).await.unwrap();
    let config = mac.home().join(".config/claude-session-sync/config.toml");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    fs::write(&config, "").unwrap();
    mac.set("slow", "2");
    let uninstalled = service.uninstall().await.unwrap();
    assert_eq!((uninstalled.removed, uninstalled.was_loaded), (vec![mac.plist()], true));
    assert_eq!(mac.jobs(), Vec::<String>::new());
    assert_eq!(fs::read_dir(mac.launch_agents()).unwrap().count(), 0);
    assert!(config.exists() && mac.home().join("Library/Logs/claude-session-sync").exists());
    let again = service.uninstall().await.unwrap();
    assert!(again.removed.is_empty() && !again.was_loaded);
}

#[tokio::test]
async fn without_a_session_at_the_screen_the_error_says_so_and_uninstall_still_removes_the_file() {
    let Some(mac) = Mac::new() else { return };
    let service = mac.service();
    service.install(Utc::now()).await.unwrap();
    mac.set("no-domain", "");
    for ran in [service.start().await, service.stop().await, service.restart().await] {
        assert!(matches!(ran, Err(ServiceError::NoManager { .. })), "{ran:?}");
    }
    let uninstalled = service.uninstall().await.unwrap();
    assert!(uninstalled.unreached.is_some() && !mac.plist().exists());
    assert!(service.install(Utc::now()).await.is_err());
    assert!(!mac.plist().exists(), "nothing is written where nobody can be asked");
}

#[tokio::test]
async fn what_launchd_says_against_a_job_is_passed_on() {
    let Some(mac) = Mac::new() else { return };
    mac.set("bootstrap", "78");
    let error = mac.service().install(Utc::now()).await.unwrap_err().to_string();
    assert!(error.starts_with("launchctl bootstrap gui/") && error.ends_with("Bootstrap failed: 78: no"), "{error}");
}

#[tokio::test]
async fn the_older_tool_s_job_is_named_and_replaced_only_when_asked() {
    let Some(mac) = Mac::new() else { return };
    let service = mac.service();
    assert_eq!(service.replace(Utc::now()).await.unwrap(), None);
    let old = mac.launch_agents().join(format!("{OLD_LABEL}.plist"));
    let text = rendered().replace(LABEL, OLD_LABEL).replace("claude &lt;&amp;&gt; \"x\"", "sync-sessions-from-all-codespaces");
    fs::write(&old, text.replace("/Users/me", mac.home().to_str().unwrap())).unwrap();
    service.install(Utc::now()).await.unwrap();
    let target = format!("gui/{}", nix::unistd::getuid());
    let load = || {
        Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/launchctl"))
            .args(["bootstrap", &target])
            .arg(&old)
            .env("HOME", mac.home())
            .status()
    };
    assert!(load().unwrap().success());
    let movers = found(&service.seen().await);
    assert_eq!(movers.iter().map(|mover| mover.kind).collect::<Vec<_>>(), [Kind::OldJob]);
    assert!(old.exists() && mac.jobs().contains(&OLD_LABEL.to_owned()), "install alone ends nothing");
    mac.set("slow", "2");
    let replaced = service.replace(Utc::now()).await.unwrap().unwrap();
    assert!(replaced.was_loaded);
    let (from, to) = replaced.kept.unwrap();
    assert_eq!(from, old);
    assert!(!old.exists() && fs::read_to_string(to).unwrap().contains("sync-sessions-from-all-codespaces"));
    assert_eq!(mac.jobs(), [LABEL]);
    assert_eq!(found(&service.seen().await), []);
}

#[tokio::test]
async fn the_job_is_started_as_the_property_list_says_and_again_after_a_failure_only() {
    let Some(mac) = Mac::new() else { return };
    let program = noting_program(mac.home());
    let code = mac.home().join("code");
    fs::write(&code, "1").unwrap();
    mac.service_of(&program, &[("CLAUDE_CONFIG_DIR", "/c & d")]).install(Utc::now()).await.unwrap();
    let mut launchd = mac.run("0.3");
    launchd.started();
    assert_eq!(launchd.next(), "ended 1");
    assert!(launchd.next().starts_with("waits 0."));
    fs::write(&code, "0").unwrap();
    launchd.started();
    assert_eq!((launchd.next(), launchd.next()), ("ended 0".to_owned(), "rests".to_owned()));
    let noted = fs::read_to_string(mac.home().join("noted")).unwrap();
    let lines: Vec<&str> = noted.lines().collect();
    assert_eq!(lines[..3], ["0077", mac.home().to_str().unwrap(), "run"]);
    for line in [format!("XPC_SERVICE_NAME={LABEL}"), "CLAUDE_CONFIG_DIR=/c & d".to_owned()] {
        assert!(lines.contains(&line.as_str()), "{line}: {noted}");
    }
    let path = lines.iter().find(|line| line.starts_with("PATH=")).unwrap();
    assert!(path.split([':', '=']).any(|directory| directory == "/opt/homebrew/bin"), "{path}");
    let said = |name: &str| fs::read_to_string(mac.home().join("Library/Logs/claude-session-sync").join(name)).unwrap();
    assert_eq!((said("launchd-stdout.txt"), said("launchd-stderr.txt")), ("out\nout\n".to_owned(), "err\nerr\n".to_owned()));
}

#[tokio::test]
async fn the_real_agent_comes_back_after_kill_9_and_stays_away_after_an_orderly_end() {
    let Some(mac) = Mac::new() else { return };
    let config = mac.home().join(".config/claude-session-sync/config.toml");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    fs::write(config, "[github]\nenabled = false\n").unwrap();
    mac.service_of(Path::new(env!("CARGO_BIN_EXE_claude-session-sync")), &[]).install(Utc::now()).await.unwrap();
    let socket = mac.home().join(".cache/claude-session-sync/run/agent.sock");
    let serves = || std::os::unix::net::UnixStream::connect(&socket).is_ok();
    let mut launchd = mac.run("0.3");
    let first = launchd.started();
    until("the agent serves", serves).await;
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    assert_eq!(launchd.next(), "ended -9");
    assert!(launchd.next().starts_with("waits "));
    let second = launchd.started();
    assert_ne!(first, second);
    until("the agent serves again", serves).await;
    // A second one, as launchd would start it, ends well at once.
    let mut other = Command::new(env!("CARGO_BIN_EXE_claude-session-sync"));
    other.arg("run").env_clear().env("HOME", mac.home()).env("XPC_SERVICE_NAME", LABEL);
    let other = other.stdin(Stdio::null()).output().unwrap();
    assert_eq!(other.status.code(), Some(0), "{other:?}");
    assert!(String::from_utf8(other.stderr).unwrap().contains(&second.to_string()), "it names the first");
    launchd.order("kickstart -k");
    assert_eq!(launchd.next(), "ended -9");
    let third = launchd.started();
    until("the agent serves once more", serves).await;
    kill(Pid::from_raw(third), Signal::SIGTERM).unwrap();
    assert_eq!((launchd.next(), launchd.next()), ("ended 0".to_owned(), "rests".to_owned()));
    launchd.order("kickstart");
    launchd.started();
    until("the agent serves a last time", serves).await;
    launchd.order("bootout");
    assert_eq!((launchd.next(), launchd.next()), ("ended 0".to_owned(), "gone".to_owned()));
    let stderr = fs::read_to_string(mac.home().join("Library/Logs/claude-session-sync/launchd-stderr.txt")).unwrap();
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[tokio::test]
async fn how_the_job_ended_last_is_told() {
    let Some(mac) = Mac::new() else { return };
    let service = mac.service();
    mac.set("idle", "");
    service.install(Utc::now()).await.unwrap();
    let jobs = fs::read_to_string(mac.home().join(".launchd/jobs.json")).unwrap();
    mac.set("jobs.json", &jobs.replace("(never exited)", "78: EX_CONFIG"));
    let status = service.status().await.unwrap();
    assert_eq!((status.running, status.last_exit), (None, Some(LastExit::Code(78))));
}
