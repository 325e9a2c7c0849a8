//! The control socket of the real agent: what it answers, and whom it drops.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::agent_process::{Agent, hear};
use crate::e2e_world::files;
use crate::skip::skip_unless_root;
use crate::wait::reached;
use crate::way::short_directory;

/// A home without a codespace: the agent's passes see this machine alone.
struct Home(tempfile::TempDir);

impl Home {
    fn new(config: &str) -> Self {
        let home = Self(short_directory());
        fs::create_dir_all(home.config().parent().unwrap()).unwrap();
        fs::write(home.config(), format!("[github]\nenabled = false\n{config}")).unwrap();
        home
    }

    fn config(&self) -> PathBuf {
        self.0.path().join(".config/claude-session-sync/config.toml")
    }

    fn runtime(&self) -> PathBuf {
        self.0.path().join(".cache/claude-session-sync/run")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_claude-session-sync"));
        command.args(arguments).env_clear().env("HOME", self.0.path()).env("PATH", std::env::var("PATH").unwrap());
        command
    }

    fn agent(&self) -> Agent {
        Agent::start(&mut self.command(&["run"]), &self.runtime())
    }

    fn log(&self) -> String {
        let logs = self.0.path().join(".local/state/claude-session-sync/log");
        files(&logs).iter().filter(|file| file.extension().is_some_and(|end| end == "log")).map(|file| fs::read_to_string(file).unwrap()).collect()
    }
}

#[test]
fn a_request_rings_the_bell_and_the_status_says_what_came_of_it() {
    let home = Home::new("");
    let agent = home.agent();
    let first = agent.until("the pass at the start is made", |status| status["last_pass"]["good"] == true);
    assert_eq!((&first["program"], &first["pid"], &first["version"]), (&json!(env!("CARGO_PKG_VERSION")), &json!(agent.pid()), &json!(1)));
    assert_eq!(agent.ask("sync"), json!({"answer": "done"}));
    agent.until("a pass was made for the request", |status| status["last_pass"]["began"] != first["last_pass"]["began"]);
    assert!(first["next_pass"].is_string() && first["config"]["problem"].is_null());
}

#[test]
fn a_watcher_gets_everything_and_then_what_changes() {
    let home = Home::new("");
    let agent = home.agent();
    agent.until("the pass at the start is made", |status| status["last_pass"]["good"] == true && status["doing"]["is"] == "idle");
    let mut watcher = agent.connect();
    watcher.get_mut().write_all(b"{\"request\":\"watch\"}\n").unwrap();
    let mut state = hear(&mut watcher);
    assert_eq!(state["answer"], "status");
    agent.ask("sync");
    let before = state["last_pass"]["began"].clone();
    while state["last_pass"]["began"] == before {
        let line = hear(&mut watcher);
        assert_eq!(line["answer"], "change", "{line}");
        assert!(line["change"].get("program").is_none(), "what did not change is not said");
        merge(&mut state, &line["change"]);
    }
    let mut now = agent.status();
    state["answer"].clone_from(&now["answer"]);
    // Times of the next ring may differ by the jitter; the rest is the same.
    for value in [&mut state, &mut now] {
        value["next_pass"] = Value::Null;
        value["doing"] = Value::Null;
    }
    assert_eq!(state, now);
}

/// RFC 7396, section 2.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key.as_str()], value);
        }
    }
}

#[test]
fn garbage_too_much_and_half_a_line_drop_that_client_and_nobody_else() {
    let home = Home::new("");
    let agent = home.agent();
    for garbage in [&b"hello\n"[..], b"{\"request\":\"sync\",\"and\":1}\n", b"\xff\xfe\0\n", b"[[[[[[[[[[[[[[[[\n", b"\n"] {
        let mut client = agent.connect();
        client.get_mut().write_all(garbage).unwrap();
        assert_eq!(hear(&mut client)["answer"], "refused");
        assert_eq!(hear(&mut client), Value::Null, "and the connection is closed");
    }
    // Ten megabytes: the agent reads a few kilobytes of them.
    let mut client = agent.connect();
    let long = vec![b'x'; 10 << 20];
    let _ = client.get_mut().write_all(&long);
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    // Half a line, and nothing after it: others are served meanwhile.
    let mut half = agent.connect();
    half.get_mut().write_all(b"{\"request\":").unwrap();
    let idle: Vec<_> = (0..20).map(|_| agent.connect()).collect();
    assert_eq!(agent.ask("sync"), json!({"answer": "done"}));
    assert_eq!(hear(&mut half)["answer"], "refused", "after its ten seconds");
    drop(idle);
    assert!(agent.status()["pid"] == agent.pid());
}

#[test]
fn a_watcher_that_does_not_read_is_dropped() {
    let home = Home::new("[schedule]\nevery = \"* * * * * *\"\njitter = \"0s\"\n");
    let agent = home.agent();
    let mut watcher = agent.connect();
    // So many requests that their answers fill every buffer.
    let asked = watcher.get_mut().write_all("{\"request\":\"status\"}\n".repeat(2000).as_bytes());
    drop(asked);
    reached("the agent let go of it", || {
        let fds = fs::read_dir(format!("/proc/{}/fd", agent.pid())).map(|fds| fds.count()).unwrap_or(0);
        watcher.get_mut().write_all(b"\n").is_err() || fds == 0
    });
    assert_eq!(agent.status()["answer"], "status");
}

#[test]
fn the_socket_is_its_user_s_alone() {
    let home = Home::new("");
    let agent = home.agent();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(&home.runtime()), mode(&agent.socket)), (0o700, 0o600));
    if !nix::unistd::geteuid().is_root() {
        return skip_unless_root("another user at the socket");
    }
    // Even with every door open, another user gets no answer. A pass closes its directory again, so none may be under way.
    agent.until("the pass at the start is made", |status| status["last_pass"]["good"] == true && status["doing"]["is"] == "idle");
    for ancestor in agent.socket.ancestors().take_while(|path| *path != std::path::Path::new("/tmp") && path.parent().is_some()) {
        fs::set_permissions(ancestor, Permissions::from_mode(0o777)).unwrap();
    }
    let script = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b'{\"request\":\"stop\"}\\n'); sys.stdout.write(repr(s.recv(100)))";
    let said = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c", script])
        .arg(&agent.socket)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    assert!(text == "b''" || text.contains("ConnectionResetError") || text.contains("BrokenPipeError"), "{text}");
    assert!(agent.status()["pid"] == agent.pid());
    reached("it is said", || home.log().contains("a stranger at the control socket was refused"));
}

#[test]
fn a_socket_that_a_dead_agent_left_is_replaced_and_one_s_own_goes_with_the_agent() {
    let home = Home::new("");
    fs::create_dir_all(home.runtime()).unwrap();
    drop(UnixListener::bind(home.runtime().join("agent.sock")).unwrap());
    let agent = home.agent();
    agent.signal(Signal::SIGKILL);
    drop(agent);
    let agent = home.agent();
    assert_eq!(agent.ask("stop"), json!({"answer": "done"}));
    assert!(agent.ended_well());
    assert!(files(&home.runtime()).is_empty(), "{:?}", files(&home.runtime()));
}

#[test]
fn a_second_agent_ends_with_75_by_hand_and_with_0_under_a_service_manager() {
    let home = Home::new("");
    let agent = home.agent();
    let launchd = ["com.claude-session-sync.agent", "homebrew.mxcl.claude-session-sync"].map(|label| format!("XPC_SERVICE_NAME={label}"));
    for (service, code) in [("", 75), ("SYSTEMD_EXEC_PID=$$", 0), (&launchd[0], 0), (&launchd[1], 0)] {
        // systemd names the process that it started.
        let mut second = Command::new("sh");
        second.args(["-c", &format!("{service} exec \"$0\" run"), env!("CARGO_BIN_EXE_claude-session-sync")]);
        let second = second.env_clear().env("HOME", home.0.path()).env("PATH", std::env::var("PATH").unwrap()).output().unwrap();
        let said = String::from_utf8(second.stderr).unwrap();
        assert_eq!(second.status.code(), Some(code), "{said}");
        assert!(said.contains(&format!("another agent is running (pid {})", agent.pid())), "{said}");
    }
    assert_eq!(agent.status()["answer"], "status", "the first serves as before");
}

#[test]
fn sighup_reads_the_configuration_and_a_wrong_one_is_refused_and_said() {
    let home = Home::new("");
    let agent = home.agent();
    let good = fs::read_to_string(home.config()).unwrap();
    fs::write(home.config(), format!("{good}[schedule]\nevery = \"never\"\n")).unwrap();
    let answer = agent.ask("reload");
    assert!(answer["answer"] == "refused" && answer["reason"].as_str().unwrap().contains("config.toml:4"), "{answer}");
    let status = agent.status();
    assert!(status["config"]["problem"].is_string() && status["next_pass"].is_string(), "the one before holds: {status}");
    assert_eq!(status["concerns"][0]["about"], "configuration");
    fs::write(home.config(), format!("{good}[schedule]\nevery = \"30 4 * * *\"\njitter = \"0s\"\n")).unwrap();
    agent.signal(Signal::SIGHUP);
    let status = agent.until("it was read", |status| status["config"]["problem"].is_null());
    assert!(status["concerns"].as_array().unwrap().is_empty());
    assert_eq!(home.log().matches("the configuration is wrong").count(), 1);
}

#[test]
fn a_configuration_that_is_wrong_at_the_start_parks_the_agent_and_it_goes_on_when_that_is_mended() {
    let home = Home::new("nonsense = 1\n");
    let agent = home.agent();
    let status = agent.until("it is parked", |status| status["config"]["problem"].is_string());
    assert_eq!(status["doing"]["is"], "parked");
    assert_eq!(agent.ask("sync")["answer"], "refused");
    fs::write(home.config(), "[github]\nenabled = false\n").unwrap();
    agent.until("it made a pass", |status| status["last_pass"]["good"] == true);
    agent.signal(Signal::SIGTERM);
    assert!(agent.ended_well());
}
