//! What the agent says of itself: to `status`, to whoever watches, and to the service manager.
//!
//! Promises: plain values, without content of sessions and without secrets. Times are UTC.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::bell::Ring;
use super::work::Expiring;
use crate::reconcile::report::{Fault, FaultKind};

/// The agent, now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// The version of the program that runs.
    pub program: String,
    /// Its process.
    pub pid: u32,
    /// When it began.
    pub started: DateTime<Utc>,
    /// What it is doing.
    pub doing: Doing,
    /// The configuration that it goes by.
    pub config: ConfigStatus,
    /// When the schedule rings next; none while it is parked.
    pub next_pass: Option<DateTime<Utc>>,
    /// The last pass of this process.
    pub last_pass: Option<LastPass>,
    /// When the last good pass began.
    pub last_good: Option<DateTime<Utc>>,
    /// When GitHub was last asked who runs.
    pub last_look: Option<DateTime<Utc>>,
    /// When a look may find a visit due, by the last look.
    pub next_visit: Option<DateTime<Utc>>,
    /// What has had no good pass for too long, by time awake and online.
    pub stale: Vec<StaleFor>,
    /// Codespaces that GitHub will delete soon, with something that is not known to be home.
    pub expiring: Vec<Expiring>,
    /// What a person must mend.
    pub concerns: Vec<Concern>,
    /// The log.
    pub log: LogStatus,
    /// Where the token came from that GitHub was last asked with, in words; none before that.
    #[serde(default)]
    pub token: Option<String>,
}

impl AgentStatus {
    /// This process, before it has read its configuration: parked, and nothing known.
    #[must_use]
    pub fn at_start(started: DateTime<Utc>, config: ConfigStatus, log: LogStatus) -> Self {
        Self {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started,
            doing: Doing::Parked,
            config,
            next_pass: None,
            last_pass: None,
            last_good: None,
            last_look: None,
            next_visit: None,
            stale: Vec::new(),
            expiring: Vec::new(),
            concerns: Vec::new(),
            log,
            token: None,
        }
    }
}

/// What the agent is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Doing {
    /// Waiting for the bell.
    Idle,
    /// Asking GitHub who runs.
    Looking,
    /// Making a pass.
    Passing {
        /// Since when.
        since: DateTime<Utc>,
        /// Who rang.
        rings: Vec<Ring>,
    },
    /// Waiting for the configuration to be mended.
    Parked,
    /// Coming to its end.
    Stopping,
}

impl Doing {
    /// In a few words, for the service manager.
    #[must_use]
    pub fn words(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Looking => "looking who runs",
            Self::Passing { .. } => "making a pass",
            Self::Parked => "parked: the configuration is wrong",
            Self::Stopping => "stopping",
        }
    }
}

/// The configuration that the agent goes by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// Its file, whether or not there is one.
    pub file: PathBuf,
    /// When it was read last.
    pub read: DateTime<Utc>,
    /// What is wrong with it now; the agent goes by the one before, if there was one.
    pub problem: Option<String>,
}

/// A pass that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastPass {
    /// When it began.
    pub began: DateTime<Utc>,
    /// When it ended.
    pub ended: DateTime<Utc>,
    /// In one line.
    pub summary: String,
    /// Whether the codespaces were listed.
    pub good: bool,
}

/// Something without a good pass for too long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaleFor {
    /// A codespace or machine; the passes as a whole for none.
    pub name: Option<String>,
    /// Seconds awake and online.
    pub seconds: u64,
}

/// Something that a person must mend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concern {
    /// What it is about.
    pub about: FaultKind,
    /// Whose, where it is not the account's or this machine's.
    pub name: Option<String>,
    /// In one line.
    pub message: String,
    /// What mends it.
    pub hint: Option<String>,
}

impl Concern {
    /// Of a fault that a person must mend; none for what heals by itself.
    #[must_use]
    pub fn of(fault: &Fault, name: Option<&str>) -> Option<Self> {
        let concerns = match fault.kind {
            FaultKind::Login | FaultKind::Scope | FaultKind::NoSshd | FaultKind::Disk | FaultKind::Configuration | FaultKind::Deletion => true,
            FaultKind::Network => false,
            FaultKind::Other => fault.permanent,
        };
        let Fault { message, hint, kind, .. } = fault;
        concerns.then(|| Self { about: *kind, name: name.map(str::to_owned), message: message.clone(), hint: hint.clone() })
    }
}

/// The agent's log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStatus {
    /// Why nothing is written.
    pub trouble: Option<String>,
    /// Lines that were lost so far.
    pub dropped: usize,
}
