//! A Mac's launchd, as far as it can be had elsewhere: stand-ins of launchctl and of launchd itself, in a home of their own.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use claude_session_sync::paths::{Environment, Paths, System};
use claude_session_sync::service::launchd::LABEL;
use claude_session_sync::service::{Programs, Service, Setting};
use serde_json::Value;

use crate::skip::have;
use crate::way::short_directory;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A Mac of one user.
pub(crate) struct Mac {
    home: tempfile::TempDir,
}

impl Mac {
    /// `None`: python3 is missing, and the test was said to be skipped.
    pub(crate) fn new() -> Option<Self> {
        if !have("python3", "--version") {
            return None;
        }
        let mac = Self { home: short_directory() };
        fs::create_dir_all(mac.home().join(".launchd")).unwrap();
        fs::create_dir_all(mac.launch_agents()).unwrap();
        Some(mac)
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn launch_agents(&self) -> PathBuf {
        self.home().join("Library/LaunchAgents")
    }

    pub(crate) fn plist(&self) -> PathBuf {
        self.launch_agents().join(format!("{LABEL}.plist"))
    }

    /// The variables of a shell there, and more.
    pub(crate) fn environment(&self, more: &[(&str, &str)]) -> Environment {
        let home = self.home().to_str().unwrap();
        [("HOME", home), ("PATH", "/usr/local/bin:/usr/bin:/bin")].into_iter().chain(more.iter().copied()).collect()
    }

    pub(crate) fn service(&self) -> Service {
        self.service_of(Path::new("/opt/homebrew/Cellar/claude-session-sync/0.1.0/bin/claude-session-sync"), &[])
    }

    /// As that program installs it, from a shell with these variables.
    pub(crate) fn service_of(&self, executable: &Path, more: &[(&str, &str)]) -> Service {
        let environment = self.environment(more);
        let missing = PathBuf::from("/nonexistent");
        let programs = Programs { launchctl: fixture("launchctl"), systemctl: missing.clone(), loginctl: missing.clone(), crontab: missing, ps: "ps".into() };
        Service::new(Setting {
            system: System::Macos,
            programs,
            paths: Paths::on(System::Macos, &environment).unwrap(),
            environment,
            uid: nix::unistd::getuid().as_raw(),
            executable: executable.to_owned(),
        })
    }

    /// Sets something for the stand-in of launchctl.
    pub(crate) fn set(&self, name: &str, value: &str) {
        fs::write(self.home().join(".launchd").join(name), value).unwrap();
    }

    pub(crate) fn unset(&self, name: &str) {
        fs::remove_file(self.home().join(".launchd").join(name)).unwrap();
    }

    /// What launchctl was asked to change since the last time, verbs only.
    pub(crate) fn changes(&self) -> Vec<String> {
        let file = self.home().join(".launchd/calls");
        let calls = fs::read_to_string(&file).unwrap_or_default();
        fs::write(file, "").unwrap();
        let verbs = calls.lines().filter(|line| !line.starts_with("print")).map(|line| line.split(" gui/").next().unwrap().to_owned());
        verbs.collect()
    }

    /// The jobs that are loaded.
    pub(crate) fn jobs(&self) -> Vec<String> {
        let jobs: Value = serde_json::from_str(&fs::read_to_string(self.home().join(".launchd/jobs.json")).unwrap()).unwrap();
        jobs.as_object().unwrap().keys().cloned().collect()
    }

    /// The faults of a property list, one a line.
    pub(crate) fn lint(&self, text: &str) -> String {
        let file = self.home().join(format!("{LABEL}.plist"));
        fs::write(&file, text).unwrap();
        let output = Command::new(fixture("plist_lint.py")).arg(&file).stdin(Stdio::null()).output().unwrap();
        assert!(output.stderr.is_empty(), "{output:?}");
        assert_eq!(output.status.success(), output.stdout == b"\n", "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Runs the installed job; `throttle` is the least time between two starts, in seconds.
    pub(crate) fn run(&self, throttle: &str) -> Running {
        let mut sim = Command::new(fixture("launchd_sim.py"));
        sim.arg(self.plist()).arg(throttle).env_clear().env("HOME", self.home()).env("PATH", "/usr/local/bin:/usr/bin:/bin");
        let mut child = sim.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (orders, said) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Running { child, orders: Some(orders), said }
    }
}

/// launchd with one job. It ends with the test, because its orders do.
pub(crate) struct Running {
    child: Child,
    orders: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
}

impl Running {
    /// The next thing that it says.
    pub(crate) fn next(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// The process that was just started.
    #[track_caller]
    pub(crate) fn started(&mut self) -> i32 {
        let said = self.next();
        said.strip_prefix("started ").unwrap_or_else(|| panic!("not started, but {said}")).parse().unwrap()
    }

    pub(crate) fn order(&mut self, order: &str) {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.orders.take());
        drop(self.child.wait());
    }
}

/// A program that notes how it was started and ends as the file beside it says.
pub(crate) fn noting_program(directory: &Path) -> PathBuf {
    let program = directory.join("a program & more");
    let body = "d=$(dirname \"$0\")\n{ umask; pwd; echo \"$@\"; env; } > \"$d/noted\"\necho out\necho err >&2\nexit \"$(cat \"$d/code\")\"";
    crate::way::wrapper(&program, body);
    assert_eq!(fs::metadata(&program).unwrap().permissions().mode() & 0o777, 0o755);
    program
}
