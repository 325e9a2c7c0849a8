//! `doctor` in a home where all is well, and in the same home with one fault each.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use crate::api::{Answer, TOKEN};
use crate::clinic::{Clinic, ENDED, not_good};
use crate::e2e_world::files;
use crate::mounts::Mounted;
use crate::skip::skip_unless_root;
use crate::way::short_directory;

/// The listing, answered so.
fn listing(scopes: &str) -> Answer {
    Answer::json(200, &json!({"total_count": 0, "codespaces": []})).with("x-oauth-scopes", scopes)
}

#[test]
fn where_all_is_well_every_check_is_good_and_nothing_is_changed() {
    let Some(clinic) = Clinic::new() else { return };
    let before = files(clinic.home());
    let (code, said) = clinic.examine_by(clinic.command("doctor --json"));
    assert_eq!((code, not_good(&said)), (0, vec![]), "{said:#}");
    assert_eq!((&said["version"], &said["eyes"], &said["verdict"], &said["offline"]), (&1.into(), &"agent".into(), &"good".into(), &false.into()));
    let topics: Vec<&str> = said["checks"].as_array().unwrap().iter().map(|check| check["topic"].as_str().unwrap()).collect();
    let all = [
        "config",
        "token",
        "scopes",
        "expiry",
        "gh",
        "ssh",
        "git",
        "store",
        "data",
        "exchange",
        "sockets",
        "service",
        "agent",
        "last-pass",
        "clocks",
        "retention",
        "space",
        "vault",
        "log",
        "movers",
    ];
    assert_eq!(topics, all);
    assert_eq!(files(clinic.home()), before);
    let requests: Vec<String> = clinic.api.requests().iter().map(|asked| format!("{} {}", asked.method, asked.path())).collect();
    assert_eq!(requests, ["GET /user/codespaces"], "one request, that changes nothing");
    let told = String::from_utf8(clinic.command("doctor").output().unwrap().stdout).unwrap();
    assert!(told.ends_with("\nverdict    all is well; as the running agent has it\n") && !told.contains('\u{1b}'), "{told}");
}

#[test]
fn offline_asks_github_nothing() {
    let Some(clinic) = Clinic::new() else { return };
    clinic.finds_by(clinic.command("doctor --json --offline"), &[]);
    assert_eq!(clinic.api.requests().len(), 0);
}

#[test]
fn a_gh_that_is_old_missing_or_hangs_is_found() {
    let Some(clinic) = Clinic::new() else { return };
    clinic.token_file();
    clinic.gh("2.61.0", "exit 1");
    clinic.finds(&[("gh", "bad")]);
    clinic.gh("2.64.0", "exit 1");
    clinic.finds(&[("gh", "note")]);
    fs::remove_file(clinic.programs.path().join("gh")).unwrap();
    clinic.finds(&[("gh", "bad")]);
    clinic.configure("");
    clinic.program("gh", "exec sleep 600");
    let began = Instant::now();
    clinic.finds(&[("token", "bad"), ("gh", "bad")]);
    assert!(began.elapsed() < Duration::from_secs(60), "whatever hangs is waited for, for a time");
}

#[test]
fn no_login_and_a_token_of_this_shell_alone_are_found() {
    let Some(clinic) = Clinic::new() else { return };
    clinic.gh("2.83.0", "echo no oauth token >&2; exit 1");
    clinic.finds(&[("token", "bad")]);
    let with_token = || {
        let mut command = clinic.command("doctor --json");
        command.env("GH_TOKEN", TOKEN);
        command
    };
    let (_, said) = clinic.examine_by(with_token());
    assert_eq!(not_good(&said), [("token".to_owned(), "bad".to_owned())]);
    assert!(said["checks"][1]["finding"].as_str().unwrap().starts_with("GH_TOKEN is set in this shell only"), "{said:#}");
    clinic.agent_says(|status| status["token"] = "GH_TOKEN".into());
    clinic.finds_by(with_token(), &[]);
    clinic.agent_says(|status| status["concerns"] = json!([{"about": "login", "name": null, "message": "revoked", "hint": null}]));
    clinic.finds_by(with_token(), &[("token", "bad")]);
    assert_eq!(clinic.api.requests().len(), 0, "GitHub is asked with no token but the service's");
}

#[test]
fn what_github_says_of_a_token_is_found() {
    let Some(clinic) = Clinic::new() else { return };
    let answer = |answer: Answer| clinic.api.always("GET", "/user/codespaces", answer);
    answer(listing("repo, gist"));
    clinic.finds(&[("scopes", "bad")]);
    answer(Answer::error(403, "Must have admin rights to Repository.").with("x-oauth-scopes", "repo"));
    clinic.finds(&[("scopes", "bad")]);
    answer(listing("codespace").with("github-authentication-token-expiration", &(Utc::now() + TimeDelta::days(3)).format("%Y-%m-%d %H:%M:%S UTC").to_string()));
    clinic.finds(&[("expiry", "note")]);
    answer(Answer::error(401, "Bad credentials"));
    clinic.finds(&[("token", "bad")]);
    answer(Answer::error(502, "Bad gateway"));
    clinic.finds(&[("token", "note")]);
    answer(Answer::error(500, &format!("odd {TOKEN}")));
    clinic.finds(&[("token", "note")]);
}

#[test]
fn a_broken_configuration_is_found_and_everything_else_looked_at_all_the_same() {
    let Some(clinic) = Clinic::new() else { return };
    // The default gh is whatever this machine has.
    fs::write(clinic.config(), "[sync]\ndayz = 3\n").unwrap();
    let found = clinic.found_by(clinic.command("doctor --json --offline"));
    assert_eq!(found, [("config".to_owned(), "bad".to_owned())]);
    clinic.configure("");
    clinic.agent_says(|status| (status["config"]["problem"], status["doing"]) = ("x".into(), json!({"is": "parked"})));
    clinic.finds(&[("config", "bad")]);
}

#[test]
fn a_store_that_others_can_read_or_its_client_cannot_write_is_found() {
    let Some(clinic) = Clinic::new() else { return };
    let file = files(&clinic.claude().join("projects")).remove(0);
    let file = file.strip_prefix(clinic.home()).unwrap().to_str().unwrap().to_owned();
    clinic.mode(&file, 0o644);
    clinic.finds(&[("store", "note")]);
    for directory in [".claude", ".claude/projects", "."] {
        clinic.mode(directory, 0o755);
    }
    clinic.finds(&[("store", "bad")]);
    clinic.mode(&file, 0o600);
    clinic.finds(&[("store", "note")]);
    clinic.mode(".", 0o700);
    clinic.mode(&file, 0o400);
    clinic.finds(&[("store", "bad")]);
    clinic.mode(&file, 0o600);
    std::os::unix::fs::symlink("/elsewhere", clinic.claude().join("projects/-link")).unwrap();
    clinic.finds(&[("store", "note")]);
}

#[test]
fn a_data_directory_that_cannot_be_written_is_found() {
    let Some(clinic) = Clinic::new() else { return };
    if nix::unistd::geteuid().is_root() {
        // Root may write in spite of modes, but not to what is mounted read-only.
        let data = clinic.data();
        let Some(_mounted) = Mounted::new(&data, &["-o", "bind"], data.to_str().unwrap()) else { return skip_unless_root("nothing may be mounted here") };
        assert!(Command::new("mount").args(["-o", "remount,ro,bind"]).arg(&data).status().unwrap().success());
        return clinic.finds(&[("data", "bad")]);
    }
    fs::set_permissions(clinic.data().join("stage"), fs::Permissions::from_mode(0o500)).unwrap();
    fs::set_permissions(clinic.data(), fs::Permissions::from_mode(0o500)).unwrap();
    clinic.finds(&[("data", "bad")]);
    fs::set_permissions(clinic.data(), fs::Permissions::from_mode(0o755)).unwrap();
    clinic.finds(&[("data", "note")]);
}

#[test]
fn a_full_disk_is_found() {
    let Some(clinic) = Clinic::new() else { return };
    let logs = clinic.home().join(".local/state/claude-session-sync/log");
    fs::create_dir_all(&logs).unwrap();
    let Some(_mounted) = Mounted::small(&logs, "64k") else { return skip_unless_root("nothing may be mounted here") };
    clinic.finds(&[("space", "bad")]);
}

#[test]
fn a_directory_of_sockets_that_is_too_deep_or_open_is_found() {
    let Some(clinic) = Clinic::new() else { return };
    let by = |runtime: &Path| {
        let mut command = clinic.command("doctor --json");
        command.env("XDG_RUNTIME_DIR", runtime);
        command
    };
    clinic.finds_by(by(&clinic.home().join("x".repeat(90))), &[("sockets", "bad")]);
    let open = clinic.home().join("s/claude-session-sync");
    fs::create_dir_all(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
    clinic.finds_by(by(&clinic.home().join("s")), &[("sockets", "bad")]);
}

#[test]
fn an_agent_of_another_version_that_hangs_or_complains_is_found() {
    let Some(clinic) = Clinic::new() else { return };
    clinic.agent_says(|status| status["program"] = "0.0.9".into());
    clinic.finds(&[("agent", "note")]);
    let told = String::from_utf8(clinic.command("status").output().unwrap().stdout).unwrap();
    let restart = format!("agent 0.0.9, program {}: claude-session-sync service restart", env!("CARGO_PKG_VERSION"));
    assert!(told.contains(&restart), "{told}");
    clinic.agent_says(|status| {
        status["program"] = env!("CARGO_PKG_VERSION").into();
        status["concerns"] = json!([{"about": "no-sshd", "name": "otter-1", "message": "no SSH server \u{1b}[31m", "hint": "a\nb"}]);
    });
    clinic.finds(&[("agent", "bad")]);
    let told = String::from_utf8(clinic.command("doctor").output().unwrap().stdout).unwrap();
    assert!(told.contains("\nagent      a\n           b\n") && told.contains("no SSH server \\u{1b}[31m"), "{told}");
    clinic.agent_says(|status| *status = Value::Null);
    clinic.finds(&[("agent", "bad")]);
    clinic.agent_is_gone();
    clinic.finds(&[("agent", "bad")]);
}

#[test]
fn a_service_that_does_not_run_names_nothing_or_is_not_there_is_found() {
    let Some(clinic) = Clinic::new() else { return };
    let unit = clinic.home().join(".config/systemd/user/claude-session-sync.service");
    let text = fs::read_to_string(&unit).unwrap();
    fs::write(&unit, text.replace(env!("CARGO_BIN_EXE_claude-session-sync"), "/gone/claude-session-sync")).unwrap();
    clinic.finds(&[("service", "bad")]);
    fs::write(&unit, text.replace("Nice=10", "Nice=9")).unwrap();
    clinic.finds(&[("service", "note")]);
    fs::write(&unit, &text).unwrap();
    clinic.agent_is_gone();
    clinic.program("systemctl", ENDED);
    let (_, said) = clinic.examine_by(clinic.command("doctor --json"));
    assert_eq!((not_good(&said), &said["eyes"]), (vec![("service".to_owned(), "bad".to_owned())], &"unit".into()));
    fs::remove_file(&unit).unwrap();
    let (_, said) = clinic.examine_by(clinic.command("doctor --json"));
    assert_eq!((not_good(&said), &said["eyes"]), (vec![("service".to_owned(), "note".to_owned())], &"shell".into()));
}

#[test]
fn a_manager_that_hangs_is_waited_for_for_a_time() {
    let Some(clinic) = Clinic::new() else { return };
    clinic.program("systemctl", "exec sleep 600");
    let began = Instant::now();
    clinic.finds(&[("service", "note")]);
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn others_that_move_the_same_files_are_found_without_their_secrets() {
    let Some(clinic) = Clinic::new() else { return };
    clinic.program("crontab", &format!("echo '0 * * * * RSYNC_PASSWORD=hunter2 GH={TOKEN} rsync -a ~/.claude/ box:'"));
    clinic.finds(&[("movers", "bad")]);
    let told = clinic.examine_by(clinic.command("doctor --json")).1.to_string();
    assert!(told.contains("rsync -a") && !told.contains("hunter2"), "{told}");
    clinic.program("crontab", "exit 1");
    clinic.program("claude-session-sync", "exit 1");
    clinic.finds(&[("movers", "note")]);
}

#[test]
fn a_stale_pass_a_failing_place_and_a_clock_that_is_off_are_found() {
    let Some(clinic) = Clinic::new() else { return };
    let long_ago = || Value::from((Utc::now() - TimeDelta::hours(7)).to_rfc3339());
    clinic.remember(|state| state["last_good"] = long_ago());
    clinic.finds(&[]);
    clinic.agent_says(|status| status["stale"] = json!([{"name": null, "seconds": 30_000}]));
    clinic.finds(&[("last-pass", "bad")]);
    clinic.agent_says(|status| status["stale"] = json!([]));
    clinic.remember(|state| state["visits"]["otter-1"]["failing"] = long_ago());
    clinic.finds(&[("last-pass", "note")]);
    clinic.remember(|state| state["visits"]["otter-1"]["quiet"]["far_clock"] = (Utc::now().timestamp() + 7200).into());
    clinic.finds(&[("clocks", "note")]);
    clinic.remember(|state| *state = json!("not a state"));
    clinic.finds(&[("last-pass", "note")]);
}

#[test]
fn a_client_that_deletes_within_the_window_is_found_here_and_there() {
    let Some(clinic) = Clinic::new() else { return };
    let settings = clinic.claude().join("settings.json");
    fs::write(&settings, "{\"cleanupPeriodDays\": 3}").unwrap();
    clinic.finds(&[("retention", "note")]);
    fs::write(&settings, "{\"cleanupPeriodDays\": 0}").unwrap();
    clinic.finds(&[("retention", "bad")]);
    fs::write(&settings, "{").unwrap();
    clinic.finds(&[("retention", "note")]);
    fs::remove_file(&settings).unwrap();
    clinic.remember(|state| state["visits"]["otter-1"]["retention_days"] = 2.into());
    clinic.finds(&[("retention", "note")]);
}

#[test]
fn a_vault_beyond_its_bound_is_found() {
    let Some(clinic) = Clinic::new() else { return };
    clinic.configure("[vault]\nwarn_at = \"1KiB\"\n[sync]");
    fs::create_dir_all(clinic.data().join("vault")).unwrap();
    fs::write(clinic.data().join("vault/x"), vec![0; 4096]).unwrap();
    clinic.finds(&[("vault", "note")]);
}

#[test]
fn a_home_with_nothing_in_it_can_be_examined_and_stays_empty() {
    let Some(clinic) = Clinic::new() else { return };
    let home = short_directory();
    let mut command = clinic.command("doctor --json --offline");
    command.env("HOME", home.path()).env("PATH", clinic.programs.path());
    clinic.program("systemctl", "exit 1");
    let output = command.output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let topics: Vec<String> = not_good(&said).into_iter().map(|(topic, _)| topic).collect();
    assert_eq!((topics.as_slice(), &said["eyes"]), (&["ssh", "git", "store", "service", "last-pass"].map(str::to_owned)[..], &"shell".into()), "{said:#}");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    let mut none = clinic.command("doctor");
    none.env_remove("HOME");
    assert_eq!(none.output().unwrap().status.code(), Some(2), "there is nowhere to look");
}
