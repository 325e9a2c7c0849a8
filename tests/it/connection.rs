//! One connection, many channels, and the ends that both can have.

use std::fs;
use std::time::Duration;

use claude_session_sync::codespace::failure::{Class, Failure, Phase};
use claude_session_sync::codespace::guard::NOT_AVAILABLE;
use claude_session_sync::codespace::ssh::{
    CHANNELS_AT_ONCE, Channel, Cleaned, Connection, Counts, Finished, GhVersion, Setting, SshError, Target, clean_stale, gh_version,
};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

use crate::api::Answer;
use crate::far::Far;
use crate::gh::Gh;
use crate::sshd::{Codespace, Shell};
use crate::wait::{LONGEST, members, until};
use crate::way::{NAME, NONCE, TOKEN, Way, run, setting, short_directory, waiting, wrapper};

#[tokio::test]
async fn three_channels_cost_one_connection() {
    let Some(way) = Way::new().await else { return };
    let connection = way.open().await.unwrap();
    for number in 1..=3 {
        let (said, finished) = run(&connection, &format!("echo {number} $HOME; echo far words >&2; exit {number}")).await.unwrap();
        assert_eq!(said, format!("{number} {}\n", way.codespace.home().display()));
        assert_eq!(finished, Finished { code: Some(number), stderr: "far words".to_owned() });
    }
    assert_eq!((way.codespace.connections(), way.codespace.sessions()), (1, 3));
    assert_eq!(connection.counts(), Counts { connections: 1, channels: 3 });
    let group = connection.process_group().unwrap();
    connection.close().await;
    assert_eq!((members(group), way.left_in_runtime()), (vec![], 0));
    assert!(fs::read_to_string(way.codespace.authorized_keys()).unwrap().contains("claude-session-sync"), "our key was not the one authorised");
}

#[tokio::test]
async fn at_most_four_channels_are_open_and_one_serves_while_another_streams() {
    let Some(way) = Way::new().await else { return };
    let connection = way.open().await.unwrap();
    let mut streaming = connection.channel("cat /dev/zero", None).await.unwrap();
    streaming.stdout.read_exact(&mut vec![0; 1 << 20]).await.unwrap();
    assert_eq!(run(&connection, "echo beside").await.unwrap().0, "beside\n");
    let mut open = vec![streaming];
    while open.len() < CHANNELS_AT_ONCE {
        open.push(waiting(&connection).await);
    }
    let mut fifth = Box::pin(run(&connection, "echo fifth"));
    tokio::select! {
        biased;
        _ = &mut fifth => panic!("a fifth channel was opened"),
        () = std::future::ready(()) => {}
    }
    // The first poll would have started it.
    assert_eq!(connection.counts().channels as usize, 1 + CHANNELS_AT_ONCE);
    let mut last = open.pop().unwrap();
    last.stdin.write_all(b"answer\nrest").await.unwrap();
    drop(last.stdin);
    let mut said = String::new();
    last.stdout.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "answer\nrest");
    assert_eq!(last.end.finish(LONGEST).await.unwrap().code, Some(0));
    assert_eq!(fifth.await.unwrap().0, "fifth\n");
    assert_eq!(way.codespace.connections(), 1);
}

#[tokio::test]
async fn every_login_shell_runs_the_script() {
    for shell in Shell::ALL {
        let Some(codespace) = Codespace::with_shell(shell) else { continue };
        let Some(way) = Way::with(codespace).await else { return };
        let connection = way.open().await.unwrap();
        let (said, finished) = run(&connection, "printf \"%s\\n\" \"ok $((1 + 1)) !x ~\"").await.unwrap();
        assert_eq!((said.as_str(), finished.code), ("ok 2 !x ~\n", Some(0)), "{shell:?}: {}", finished.stderr);
    }
}

#[tokio::test]
async fn a_master_that_dies_ends_its_channels_and_nothing_connects_anew() {
    let Some(way) = Way::new().await else { return };
    let connection = way.open().await.unwrap();
    let channel = waiting(&connection).await;
    let group = connection.process_group().unwrap();
    killpg(Pid::from_raw(group), Signal::SIGKILL).unwrap();
    let lost = channel.end.finish(LONGEST).await;
    assert!(matches!(lost, Err(SshError::MasterGone)), "{lost:?}");
    let next = run(&connection, "echo never").await;
    assert!(matches!(next, Err(SshError::MasterGone)), "{next:?}");
    assert_eq!((way.codespace.connections(), way.codespace.sessions(), way.gh.calls().len()), (1, 1, 1));
}

#[tokio::test]
async fn a_channel_without_its_socket_does_not_connect_by_itself() {
    let Some(mut way) = Way::new().await else { return };
    // An ssh that would find the way, were it to connect.
    let ssh = way.setting.runtime.with_file_name("ssh-that-knows");
    wrapper(&ssh, &format!("exec ssh -o HostName=127.0.0.1 -o Port={} \"$@\"", way.codespace.port()));
    way.setting.programs.ssh = ssh;
    let connection = way.open().await.unwrap();
    assert_eq!(run(&connection, "echo on").await.unwrap().0, "on\n");
    let socket = fs::read_dir(&way.setting.runtime).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.extension().is_none()).unwrap();
    fs::remove_file(socket).unwrap();
    let next = run(&connection, "echo never").await;
    assert!(matches!(next, Err(SshError::MasterGone)), "{next:?}");
    assert_eq!((way.codespace.connections(), way.codespace.sessions()), (1, 1));
}

#[tokio::test]
async fn a_link_that_is_cut_ends_the_channel_and_leaves_no_process() {
    let Some(way) = Way::new().await else { return };
    let connection = way.open().await.unwrap();
    let channel = waiting(&connection).await;
    let group = connection.process_group().unwrap();
    way.codespace.cut();
    let lost = channel.end.finish(LONGEST).await;
    assert!(matches!(lost, Err(SshError::MasterGone)), "{lost:?}");
    drop(connection);
    until("the process group is gone", || members(group).is_empty()).await;
    assert_eq!(way.left_in_runtime(), 0);
}

#[tokio::test]
async fn a_script_may_exit_with_255() {
    let Some(way) = Way::new().await else { return };
    let connection = way.open().await.unwrap();
    assert_eq!(run(&connection, "exit 255").await.unwrap().1.code, Some(255));
    assert_eq!(run(&connection, "echo on").await.unwrap().0, "on\n");
}

/// sshd tells the exit code at once, whatever of the output is still to come.
#[tokio::test]
async fn an_exit_code_does_not_cut_off_what_is_still_to_come() {
    let Some(way) = Way::new().await else { return };
    let connection = way.open().await.unwrap();
    let (said, finished) = run(&connection, "{ sleep 1; echo late; } & echo early; exit 7").await.unwrap();
    assert_eq!((said.as_str(), finished.code), ("early\nlate\n", Some(7)));
}

#[tokio::test]
async fn a_channel_that_does_not_end_is_ended() {
    let Some(way) = Way::new().await else { return };
    let connection = way.open().await.unwrap();
    let channel = waiting(&connection).await;
    let Channel { stdin, stdout: _stdout, end } = channel;
    let late = end.finish(Duration::from_millis(50)).await;
    assert!(matches!(late, Err(SshError::Failed(Failure::Timeout { phase: Phase::Channel }))), "{late:?}");
    drop(stdin);
    assert_eq!(run(&connection, "echo on").await.unwrap().0, "on\n");
}

#[tokio::test]
async fn a_dropped_connection_leaves_no_process() {
    let Some(way) = Way::new().await else { return };
    let connection = way.open().await.unwrap();
    let group = connection.process_group().unwrap();
    assert!(members(group).len() >= 2, "gh and its ssh are in the group");
    drop(connection);
    until("the process group is gone", || members(group).is_empty()).await;
    assert_eq!(way.left_in_runtime(), 0);
}

#[tokio::test]
async fn no_child_sees_a_token() {
    let Some(way) = Way::new().await else { return };
    let connection = way.open().await.unwrap();
    let _channel = waiting(&connection).await;
    let group = connection.process_group().unwrap();
    let mut seen = 0;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
        let text = String::from_utf8_lossy(&environ);
        let ours = fs::read(entry.path().join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(way.setting.runtime.to_str().unwrap()));
        if ours {
            seen += 1;
            assert!(!text.contains(TOKEN), "{:?} has a token", entry.path());
        }
    }
    assert!(seen >= 2 && seen >= members(group).len(), "gh and its ssh were looked at: {seen}");
    for call in way.gh.calls() {
        assert_eq!(call.env["GH_ENTERPRISE_TOKEN"], NONCE);
        assert!(!call.env.contains_key("GH_DEBUG"), "gh has what the guard removed");
        assert!(!call.env.values().any(|value| value.contains(TOKEN)) && !call.argv.concat().contains(TOKEN), "{call:?}");
    }
    assert!(way.api.requests().iter().all(|asked| asked.header("authorization") == Some(&format!("token {NONCE}"))));
}

#[tokio::test]
async fn a_key_that_is_not_authorised_is_denied() {
    let Some(way) = Way::new().await else { return };
    way.gh.entry(NAME, json!({"authorize": false}));
    let failure = way.failure().await;
    assert!(matches!(&failure, Failure::Denied(text) if text.contains("Permission denied")), "{failure:?}");
    assert_eq!(way.left_in_runtime(), 0);
}

#[tokio::test]
async fn what_gh_says_becomes_a_failure() {
    let Some(way) = Way::new().await else { return };
    way.gh.entry(NAME, json!({"sshd": false}));
    assert_eq!(way.failure().await, Failure::NoSshd);
    for (text, code, class) in [
        ("To get started with GitHub CLI, please run:  gh auth login", 4, Class::UntilUserActs),
        ("HTTP 403: Must have admin rights to Repository.", 1, Class::UntilUserActs),
        ("error connecting to codespace: context deadline exceeded", 1, Class::Transient),
        ("tunnel closed\u{1b}[2J", 1, Class::Transient),
    ] {
        way.gh.entry(NAME, json!({"fail": text, "code": code}));
        let failure = way.failure().await;
        assert_eq!(failure.class(), class, "{failure:?}");
        assert!(!failure.to_string().contains(char::is_control), "{failure}");
    }
    let path = format!("/user/codespaces/{NAME}");
    for (status, body, failure) in [
        (409, format!(r#"{{"message":"{NOT_AVAILABLE} (Shutdown)"}}"#), Failure::NotAvailable),
        (404, r#"{"message":"Not Found"}"#.to_owned(), Failure::Gone),
        (401, r#"{"message":"Bad credentials"}"#.to_owned(), Failure::NotLoggedIn),
        (200, r#"{"state":"Available","pending_operation":true}"#.to_owned(), Failure::Pending),
    ] {
        way.api.always("GET", &path, Answer::new(status, body));
        assert_eq!(way.failure().await, failure);
    }
    assert_eq!(way.codespace.connections(), 0);
    assert!(way.api.posts().is_empty(), "something was started");
}

#[tokio::test]
async fn a_master_that_hangs_is_ended_at_its_deadline() {
    let Some(mut way) = Way::new().await else { return };
    way.setting.ready_deadline = Duration::from_millis(400);
    way.gh.entry(NAME, json!({"hang": true}));
    assert_eq!(way.failure().await, Failure::Timeout { phase: Phase::Connection });
    let serving = || {
        let named = way.setting.runtime.display().to_string();
        fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter(|entry| fs::read(entry.path().join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&named)))
            .count()
    };
    until("gh is gone", || serving() == 0).await;
    way.gh.entry(NAME, json!({"hang": false}));
    way.codespace.stall(true);
    assert_eq!(way.failure().await, Failure::Timeout { phase: Phase::Connection });
    until("gh and ssh are gone", || serving() == 0).await;
    assert_eq!(way.left_in_runtime(), 0);
}

#[tokio::test]
async fn what_a_crashed_process_left_is_removed_and_a_connection_in_use_is_not() {
    let Some(way) = Way::new().await else { return };
    let connection = way.open().await.unwrap();
    assert_eq!(clean_stale(&way.setting.runtime).unwrap(), Cleaned::default());
    assert_eq!(run(&connection, "echo on").await.unwrap().0, "on\n");
    // As after a crash: the master runs on, and the lock that its owner held is gone with him.
    let group = connection.process_group().unwrap();
    let record = fs::read_dir(&way.setting.runtime).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some()).unwrap();
    let content = fs::read(&record).unwrap();
    assert_eq!(content, format!("{group}\n").as_bytes());
    fs::remove_file(&record).unwrap();
    fs::write(&record, content).unwrap();
    let cleaned = clean_stale(&way.setting.runtime).unwrap();
    assert_eq!(cleaned, Cleaned { sockets: 1, masters: 2 });
    until("the process group is gone", || members(group).is_empty()).await;
    assert_eq!(way.left_in_runtime(), 0);
}

#[tokio::test]
async fn a_runtime_directory_that_is_too_deep_is_named() {
    let Some(mut way) = Way::new().await else { return };
    way.setting.runtime = way.setting.runtime.join("x".repeat(80));
    let error = way.open().await.unwrap_err();
    assert!(error.to_string().contains("too long for a socket"), "{error}");
    assert!(error.hint().unwrap().contains("XDG_RUNTIME_DIR"));
    assert!(way.gh.calls().is_empty());
}

#[tokio::test]
async fn a_machine_is_reached_with_the_users_own_ssh_configuration() {
    let Some(way) = Way::new().await else { return };
    let dir = short_directory();
    fs::write(way.codespace.authorized_keys(), fs::read(way.key.with_extension("pub")).unwrap()).unwrap();
    // ssh takes the home from the account, not from $HOME: a wrapper stands for the user's own configuration.
    let configuration = format!(
        "Host box\n HostName 127.0.0.1\n Port {}\n User {}\n IdentityFile {}\n StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n RemoteCommand true\n",
        way.codespace.port(),
        way.codespace.user(),
        way.key.display()
    );
    fs::write(dir.path().join("config"), configuration).unwrap();
    wrapper(&dir.path().join("ssh"), "case \"$1\" in -F) exec ssh \"$@\" ;; *) exec ssh -F \"${0%/*}/config\" \"$@\" ;; esac");
    let mut setting = way.setting.clone();
    setting.programs.ssh = dir.path().join("ssh");
    let connection = Connection::open(Target::Ssh { host: "box".parse().unwrap() }, &setting).await.unwrap();
    assert_eq!(run(&connection, "echo $HOME").await.unwrap().0, format!("{}\n", way.codespace.home().display()));
    assert_eq!(run(&connection, "exit 3").await.unwrap().1.code, Some(3));
    assert_eq!((way.codespace.connections(), way.codespace.sessions()), (1, 2));
    connection.close().await;
    fs::write(way.codespace.authorized_keys(), "").unwrap();
    let denied = Connection::open(Target::Ssh { host: "box".parse().unwrap() }, &setting).await;
    assert!(matches!(&denied, Err(SshError::Failed(Failure::Denied(_)))), "{denied:?}");
    assert!(way.gh.calls().is_empty());
}

#[tokio::test]
async fn a_shared_connection_ends_with_its_last_share() {
    let Some(way) = Way::new().await else { return };
    let (first, group) = (way.open().await.unwrap(), way.gh.calls()[0].pid);
    let second = first.share();
    first.close().await;
    assert_eq!(run(&second, "exit 3").await.unwrap().1.code, Some(3));
    assert!(second.reaches(LONGEST).await);
    assert_eq!((second.counts(), way.codespace.connections()), (Counts { connections: 0, channels: 2 }, 1));
    second.close().await;
    assert_eq!((members(i32::try_from(group).unwrap()), way.left_in_runtime()), (vec![], 0));
}

#[tokio::test]
async fn a_command_reaches_a_far_machine_without_a_master() {
    let (far, dir) = (Far::new().with_tools("/nowhere"), short_directory());
    fs::write(far.workspaces().join("there"), "x").unwrap();
    let setting = setting(dir.path(), None);
    let connection = Connection::open(Target::Command(far.command()), &setting).await.unwrap();
    let script = format!("echo $HOME; ls {}; env | grep -c TOKEN; cd \"$HOME/.claude/projects\" && pwd", far.workspaces().display());
    let (said, finished) = run(&connection, &script).await.unwrap();
    assert_eq!(said, format!("{}\nthere\n0\n{}\n", far.home().display(), far.claude().join("projects").display()));
    assert_eq!((finished.code, connection.process_group()), (Some(0), None));
    assert_eq!(connection.counts(), Counts { connections: 1, channels: 1 });
    // A dropped channel takes what the script started with it.
    let mut channel = connection.channel("sleep 1000 & echo $!; wait", None).await.unwrap();
    let mut line = String::new();
    BufReader::new(&mut channel.stdout).read_line(&mut line).await.unwrap();
    let pid = Pid::from_raw(line.trim().parse().unwrap());
    drop(channel);
    until("the script's child is gone", || kill(pid, None).is_err() || state(pid) == "Z").await;
    assert!(!setting.runtime.exists());
    let empty = Connection::open(Target::Command(vec![]), &setting).await;
    assert!(matches!(empty, Err(SshError::EmptyCommand)));
    let missing = Connection::open(Target::Command(vec!["/nowhere/docker".to_owned()]), &setting).await.unwrap();
    assert_eq!(missing.channel("true", None).await.unwrap_err().to_string(), "cannot run /nowhere/docker");
}

pub(crate) fn state(pid: Pid) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_else(|_| ") Z".to_owned());
    stat.rsplit(')').next().unwrap().split_whitespace().next().unwrap().to_owned()
}

#[tokio::test]
async fn an_old_gh_is_refused_with_its_reason() {
    let Some(gh) = Gh::install() else { return };
    let dir = short_directory();
    let Setting { mut programs, environment, .. } = setting(dir.path(), Some(&gh));
    assert_eq!(gh_version(&programs, &environment).await.unwrap(), GhVersion { major: 2, minor: 83, patch: 0 });
    gh.version("2.61.0");
    let refused = gh_version(&programs, &environment).await.unwrap_err();
    assert!(refused.to_string().contains("CVE-2024-52308") && refused.hint().unwrap().contains("upgrade"), "{refused}");
    gh.version("2.65.1");
    assert!(gh_version(&programs, &environment).await.unwrap().warning().unwrap().contains("2.65.1"));
    gh.version("unknown");
    assert!(matches!(gh_version(&programs, &environment).await, Err(SshError::GhUnreadable { .. })));
    programs.gh = dir.path().join("gh");
    let missing = gh_version(&programs, &environment).await.unwrap_err();
    assert!(matches!(&missing, SshError::Spawn { .. }) && missing.hint().unwrap().contains("install gh"), "{missing}");
}

#[test]
fn the_stand_in_of_gh_has_a_login_of_its_own() {
    let Some(gh) = Gh::install() else { return };
    let token = || std::process::Command::new(gh.dir().join("gh")).args(["auth", "token"]).output().unwrap();
    assert_eq!(token().status.code(), Some(1));
    gh.login("gho_x");
    assert_eq!(token().stdout, b"gho_x\n");
}

#[tokio::test]
async fn a_codespace_has_workspaces_of_its_own() {
    let Some(way) = Way::new().await else { return };
    let clone = way.codespace.workspaces().join("widget");
    fs::create_dir(&clone).unwrap();
    way.codespace.give(&clone);
    let connection = way.open().await.unwrap();
    let there = way.codespace.far_workspaces().join("widget");
    let (said, finished) = run(&connection, &format!("cd {} && echo x > made && ls ..", there.display())).await.unwrap();
    assert_eq!(said, "widget\n", "{}", finished.stderr);
    assert_eq!(fs::read(clone.join("made")).unwrap(), b"x\n");
    let (received, sent) = way.codespace.bytes();
    assert!(received > 1000 && sent > 1000);
    assert!(way.codespace.log().contains("Accepted publickey"));
}
