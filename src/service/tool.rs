//! Running the service manager's programs.
//!
//! Promises: a program that hangs is ended after a time; it speaks English and UTC; it gets the few variables by which it finds the
//! manager. Never: a token in its environment.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::ServiceError;
use crate::paths::Environment;

/// Longest wait for one call: `systemctl start` waits until the agent is ready, `stop` until it ended.
const LONGEST: Duration = Duration::from_secs(120);

/// How a manager and a user's bus are found.
const INHERITED: [&str; 8] = ["HOME", "USER", "LOGNAME", "PATH", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DBUS_SESSION_BUS_ADDRESS"];

/// What a program said at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// Its exit code; none where a signal ended it.
    pub(super) code: Option<i32>,
    /// Standard output.
    pub(super) out: String,
    /// Standard error.
    pub(super) err: String,
}

impl Said {
    /// It ended with 0.
    pub(super) fn is_good(&self) -> bool {
        self.code == Some(0)
    }

    /// What it complained of, in one line.
    pub(super) fn complaint(&self) -> String {
        let text = if self.err.trim().is_empty() { &self.out } else { &self.err };
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        match (lines.is_empty(), self.code) {
            (false, _) => lines.join("; "),
            (true, Some(code)) => format!("exit code {code}"),
            (true, None) => "ended by a signal".to_owned(),
        }
    }
}

/// The few variables, for the user with this id.
fn variables(environment: &Environment, uid: u32) -> Vec<(OsString, OsString)> {
    let mut variables: Vec<(OsString, OsString)> =
        INHERITED.iter().filter_map(|name| Some((OsString::from(name), environment.get(name)?.to_owned()))).collect();
    let fixed = [("LC_ALL", "C"), ("TZ", "UTC"), ("SYSTEMD_COLORS", "0"), ("SYSTEMD_PAGER", "")];
    variables.extend(fixed.map(|(name, value)| (name.into(), value.into())));
    // Not set where somebody became this user without a login (sudo, Ansible), though the manager may run.
    let runtime = format!("/run/user/{uid}");
    if environment.get("XDG_RUNTIME_DIR").is_none() && Path::new(&runtime).is_dir() {
        variables.push(("XDG_RUNTIME_DIR".into(), runtime.into()));
    }
    variables
}

/// Runs a program to its end.
pub(super) async fn run(program: &Path, arguments: &[&OsStr], environment: &Environment, uid: u32) -> Result<Said, ServiceError> {
    let cannot = |source| ServiceError::Run { program: program.to_owned(), source };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(variables(environment, uid)).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(cannot)?;
    let late = |_| ServiceError::Late { program: program.to_owned(), seconds: LONGEST.as_secs() };
    let output = tokio::time::timeout(LONGEST, child.wait_with_output()).await.map_err(late)?.map_err(cannot)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) })
}
