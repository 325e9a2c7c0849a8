//! The real agent as a child process, and a client of its control socket.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::wait::reached;

/// A running agent; it is killed with the test.
pub(crate) struct Agent {
    child: Child,
    pub(crate) socket: PathBuf,
}

impl Agent {
    /// Starts it, and waits until it serves. `runtime` is its runtime directory.
    pub(crate) fn start(command: &mut Command, runtime: &Path) -> Self {
        let child = command.spawn().unwrap();
        let agent = Self { child, socket: runtime.join("agent.sock") };
        reached("the agent serves", || UnixStream::connect(&agent.socket).is_ok());
        agent
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    pub(crate) fn connect(&self) -> BufReader<UnixStream> {
        let stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        BufReader::new(stream)
    }

    pub(crate) fn ask(&self, request: &str) -> Value {
        let mut stream = self.connect();
        writeln!(stream.get_mut(), "{{\"request\":\"{request}\"}}").unwrap();
        hear(&mut stream)
    }

    pub(crate) fn status(&self) -> Value {
        self.ask("status")
    }

    /// Waits until its status is as wanted.
    pub(crate) fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        reached(what, || {
            last = self.status();
            wanted(&last)
        });
        last
    }

    /// Waits for its end: whether it was a good one.
    pub(crate) fn ended_well(mut self) -> bool {
        self.child.wait().unwrap().success()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The next line of a connection, as JSON; null at its end.
pub(crate) fn hear(stream: &mut BufReader<UnixStream>) -> Value {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    if line.is_empty() { Value::Null } else { serde_json::from_str(&line).unwrap() }
}

/// The processes that a process started, and those that these did.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if parent_of(pid) == Some(parent) {
            found.push(pid);
            found.extend(children(pid));
        }
    }
    found
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
}

/// Whether a process is there and no zombie.
pub(crate) fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|fields| !fields.trim().is_empty() && !fields.trim().starts_with('Z'))
}
