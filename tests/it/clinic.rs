//! A home where all is well, for the doctor: whoever wants a fault plants it.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use crate::api::{Api, TOKEN};
use crate::e2e_world::{put_session, transcript};
use crate::skip::skip;
use crate::way::{short_directory, wrapper};

/// A service manager that has the agent running; the home's own directory is where it looks for units.
pub(crate) const MANAGER: &str = "case \"$*\" in *UnitPath*) echo \"$HOME/.config/systemd/user\";; --version) echo systemd 252;; \
                       *LoadState*) echo LoadState=loaded; echo ActiveState=active; echo MainPID=4711; echo UnitFileState=enabled;; esac";

/// The same, where the agent has ended.
pub(crate) const ENDED: &str = "case \"$*\" in *UnitPath*) echo \"$HOME/.config/systemd/user\";; --version) echo systemd 252;; \
                     *LoadState*) echo LoadState=loaded; echo ActiveState=inactive; echo UnitFileState=enabled;; esac";

/// A user with the program at work: service installed, agent running, gh logged in, a session, a pass half an hour ago.
pub(crate) struct Clinic {
    pub(crate) api: Api,
    home: tempfile::TempDir,
    pub(crate) programs: tempfile::TempDir,
    /// What the agent says; nothing at all for null.
    agent: Arc<Mutex<Value>>,
}

impl Clinic {
    /// None on a Mac, where the test was said to be skipped.
    pub(crate) fn new() -> Option<Self> {
        if cfg!(target_os = "macos") {
            skip("the command line speaks to launchd here, and there is no stand-in for it on PATH");
            return None;
        }
        let clinic = Self { api: Api::start(), home: short_directory(), programs: short_directory(), agent: Arc::default() };
        fs::set_permissions(clinic.home(), fs::Permissions::from_mode(0o700)).unwrap();
        clinic.gh("2.83.0", &format!("echo {TOKEN}"));
        clinic.program("systemctl", MANAGER);
        clinic.program("loginctl", "echo yes");
        clinic.program("crontab", "exit 1");
        clinic.configure("");
        put_session(&clinic.claude(), Path::new("/w"), 1, &transcript(1, Path::new("/w"), "fix the build", 60));
        for directory in [".claude", ".claude/projects"] {
            clinic.mode(directory, 0o700);
        }
        clinic.remember(|_| {});
        let installed = clinic.command("service install").output().unwrap();
        assert!(installed.status.success(), "{installed:?}");
        clinic.serve();
        Some(clinic)
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn claude(&self) -> PathBuf {
        self.home().join(".claude")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.home().join(".local/share/claude-session-sync")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.home().join(".config/claude-session-sync/config.toml")
    }

    pub(crate) fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.home().join(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn program(&self, name: &str, body: &str) {
        wrapper(&self.programs.path().join(name), &format!("PATH=/usr/bin:/bin; {body}"));
    }

    /// A gh of this version; `token` is what it does when it is asked for that.
    pub(crate) fn gh(&self, version: &str, token: &str) {
        self.program("gh", &format!("case \"$*\" in --version) echo \"gh version {version} (2026-05-01)\";; auth\\ token*) {token};; esac"));
    }

    pub(crate) fn configure(&self, github: &str) {
        fs::create_dir_all(self.config().parent().unwrap()).unwrap();
        let gh = self.programs.path().join("gh");
        fs::write(self.config(), format!("[github]\napi_url = \"{}\"\n{github}\n[programs]\ngh = {gh:?}\n", self.api.url())).unwrap();
    }

    /// From a file of its own, so that gh is not asked.
    pub(crate) fn token_file(&self) {
        let file = self.home().join("token");
        fs::write(&file, TOKEN).unwrap();
        self.mode("token", 0o600);
        self.configure(&format!("token_file = {file:?}"));
    }

    /// What the passes so far left, with this change.
    pub(crate) fn remember(&self, change: impl FnOnce(&mut Value)) {
        let ago = |minutes| (Utc::now() - TimeDelta::minutes(minutes)).to_rfc3339();
        let quiet = json!({"ended": ago(29), "far_clock": (Utc::now() - TimeDelta::minutes(30)).timestamp()});
        let visit = json!({"display_name": "otter", "visited": ago(29), "tried": ago(29), "quiet": quiet});
        let mut state = json!({
            "version": 1, "digests": [], "replicas": {}, "clones": {}, "last_pass": null, "last_good": ago(30), "visits": {"otter-1": visit},
        });
        change(&mut state);
        fs::create_dir_all(self.data().join("state")).unwrap();
        fs::create_dir_all(self.data().join("stage")).unwrap();
        fs::set_permissions(self.data(), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(self.data().join("state/state.json"), state.to_string()).unwrap();
    }

    /// An agent that says that all is well, and goes on to say whatever [`Clinic::agent_says`].
    pub(crate) fn serve(&self) {
        let run = self.home().join(".cache/claude-session-sync/run");
        fs::create_dir_all(&run).unwrap();
        self.mode(".cache/claude-session-sync/run", 0o700);
        *self.agent.lock().unwrap() = json!({
            "answer": "status", "version": 1, "program": env!("CARGO_PKG_VERSION"), "pid": 4711, "started": Utc::now(), "doing": {"is": "idle"},
            "config": {"file": self.config(), "read": Utc::now(), "problem": null}, "next_pass": null, "last_pass": null, "last_good": null,
            "last_look": null, "next_visit": null, "stale": [], "expiring": [], "concerns": [], "log": {"trouble": null, "dropped": 0},
        });
        let (listener, agent) = (UnixListener::bind(run.join("agent.sock")).unwrap(), Arc::clone(&self.agent));
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let _ = stream.read_line(&mut String::new());
                let answer = agent.lock().unwrap().clone();
                // Kept open: who says nothing has not closed the connection.
                if answer.is_null() {
                    silent.push(stream)
                } else {
                    let _ = writeln!(stream.get_mut(), "{answer}");
                }
            }
        });
    }

    pub(crate) fn agent_says(&self, change: impl FnOnce(&mut Value)) {
        change(&mut self.agent.lock().unwrap());
    }

    /// No agent serves the socket.
    pub(crate) fn agent_is_gone(&self) {
        fs::remove_file(self.home().join(".cache/claude-session-sync/run/agent.sock")).unwrap();
    }

    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_claude-session-sync"));
        command.args(line.split_whitespace()).env_clear().env("HOME", self.home()).env("XDG_RUNTIME_DIR", self.home().join("r"));
        command.env("PATH", format!("{}:/usr/bin:/bin", self.programs.path().display())).current_dir(self.home()).stdin(Stdio::null());
        command
    }

    /// Runs `doctor --json` so: its exit code, and what it says.
    pub(crate) fn examine_by(&self, mut command: Command) -> (i32, Value) {
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains(TOKEN) && output.stderr.is_empty(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(!text.contains("fix the build") && !text.contains(self.home().to_str().unwrap()), "it can be pasted: {text}");
        (output.status.code().unwrap(), serde_json::from_str(&text).unwrap())
    }

    /// What is not good: topics and verdicts; the exit code fits.
    pub(crate) fn found_by(&self, command: Command) -> Vec<(String, String)> {
        let (code, said) = self.examine_by(command);
        let found = not_good(&said);
        assert_eq!(code, i32::from(found.iter().any(|(_, verdict)| verdict == "bad")), "{said}");
        found
    }

    #[track_caller]
    pub(crate) fn finds(&self, expected: &[(&str, &str)]) {
        self.finds_by(self.command("doctor --json"), expected);
    }

    #[track_caller]
    pub(crate) fn finds_by(&self, command: Command, expected: &[(&str, &str)]) {
        let found = self.found_by(command);
        let found: Vec<(&str, &str)> = found.iter().map(|(topic, verdict)| (topic.as_str(), verdict.as_str())).collect();
        assert_eq!(found, expected, "{:#}", self.examine_by(self.command("doctor --json --offline")).1);
    }
}

pub(crate) fn not_good(said: &Value) -> Vec<(String, String)> {
    let of = |check: &Value, key: &str| check[key].as_str().unwrap().to_owned();
    let checks = said["checks"].as_array().unwrap().iter().map(|check| (of(check, "topic"), of(check, "verdict")));
    checks.filter(|(_, verdict)| verdict != "good").collect()
}
