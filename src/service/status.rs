//! How the service is, as values: what `service status` shows, and `--json` prints.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::Serialize;

/// Who runs the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// On macOS.
    Launchd,
    /// On Linux.
    Systemd,
}

/// How the unit on disk compares with the one that this program would write now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Agreement {
    /// There is none.
    Absent,
    /// Byte for byte.
    Same,
    /// Only the variables differ: it was written from another shell.
    Environment,
    /// Written by another version, for another program, or edited.
    Different,
}

/// How the last process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LastExit {
    /// By itself.
    Code(i32),
    /// By a signal: its number, or its name.
    Signal(String),
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Running {
    /// Its id.
    pub pid: u32,
    /// When it began.
    pub since: Option<DateTime<Utc>>,
}

/// How the service is, in the shape of `service status --json`. What cannot be known is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Who runs it.
    pub manager: Manager,
    /// The unit's file.
    pub unit: PathBuf,
    /// How it compares with the one that would be written.
    pub agreement: Agreement,
    /// The variables that differ, where only they do.
    pub differs: Vec<String>,
    /// The program that the unit names.
    pub program: Option<PathBuf>,
    /// Whether that program exists.
    pub program_exists: bool,
    /// Whether it is started at every login (or boot).
    pub enabled: Option<bool>,
    /// Whether the manager knows it now.
    pub loaded: bool,
    /// What runs.
    pub running: Option<Running>,
    /// How the one before ended.
    pub last_exit: Option<LastExit>,
    /// How often the manager started it again; with launchd, whoever asked for it.
    pub restarts: Option<u64>,
    /// The manager gave up, and why; or what the agent says of itself.
    pub said: Option<String>,
    /// Whether the manager runs without a login (systemd).
    pub lingering: Option<bool>,
    /// Files that a user put beside the unit, and that change it.
    pub additions: Vec<PathBuf>,
}

impl Status {
    /// Whether there is a unit.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        self.agreement != Agreement::Absent
    }
}
