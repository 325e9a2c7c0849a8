//! The doctor: everything that must be so for sessions to travel, looked at and judged, each with what mends it.
//!
//! Facts are gathered first, with the eyes of the service ([`Eyes`]), because a shell that can do everything proves nothing for an
//! agent that has none of its variables. Then each topic's `judge` makes [`Check`]s of its facts, and is pure.
//!
//! Promises: every wait is bounded, so whatever hangs is a finding; nothing is needed to begin with: no network, no configuration, no
//! directory of ours. At most one request to GitHub, a GET. What is found can be pasted anywhere ([`paste`]). Never: a change, but for
//! two empty files that are exchanged in the stage, where there is one, and are gone afterwards; a token, a title of a session or the
//! name of a project in a finding.

mod account;
mod disk;
mod duty;
mod passes;
pub mod paste;
mod programs;
mod store;
mod view;

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::paths::{Environment, Paths, System};
use crate::service;
use paste::Paste;
use view::View;

/// Longest wait for anything that is asked.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait for the disk, which is asked many things.
const DISK_PATIENCE: Duration = Duration::from_secs(30);

/// How grave a finding is. The order is that of gravity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Worth knowing; sessions travel all the same.
    Note,
    /// Sessions do not travel, or not safely, until this is mended.
    Bad,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Bad => "bad",
        }
    }
}

/// What a finding is about, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// The configuration.
    Config,
    /// The token for GitHub.
    Token,
    /// What it was given.
    Scopes,
    /// When it ends.
    Expiry,
    /// GitHub's command line.
    Gh,
    /// OpenSSH.
    Ssh,
    /// git.
    Git,
    /// The client's sessions.
    Store,
    /// The data directory.
    Data,
    /// Whether two files can be exchanged.
    Exchange,
    /// The directory of sockets.
    Sockets,
    /// The job of the service manager.
    Service,
    /// The process.
    Agent,
    /// The last pass, and places that fail.
    LastPass,
    /// The clocks of other machines.
    Clocks,
    /// How long clients keep sessions.
    Retention,
    /// Free space.
    Space,
    /// What the vault holds.
    Vault,
    /// What the log holds.
    Log,
    /// Others that move the same files.
    Movers,
}

impl Topic {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Token => "token",
            Self::Scopes => "scopes",
            Self::Expiry => "expiry",
            Self::Gh => "gh",
            Self::Ssh => "ssh",
            Self::Git => "git",
            Self::Store => "store",
            Self::Data => "data",
            Self::Exchange => "exchange",
            Self::Sockets => "sockets",
            Self::Service => "service",
            Self::Agent => "agent",
            Self::LastPass => "last-pass",
            Self::Clocks => "clocks",
            Self::Retention => "retention",
            Self::Space => "space",
            Self::Vault => "vault",
            Self::Log => "log",
            Self::Movers => "movers",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What it is about.
    pub topic: Topic,
    /// How grave it is.
    pub verdict: Verdict,
    /// What was found, in one line.
    pub finding: String,
    /// What mends it.
    pub advice: Option<String>,
}

impl Check {
    fn good(topic: Topic, finding: impl Into<String>) -> Self {
        Self { topic, verdict: Verdict::Good, finding: finding.into(), advice: None }
    }

    fn note(topic: Topic, finding: impl Into<String>) -> Self {
        Self { verdict: Verdict::Note, ..Self::good(topic, finding) }
    }

    fn bad(topic: Topic, finding: impl Into<String>) -> Self {
        Self { verdict: Verdict::Bad, ..Self::good(topic, finding) }
    }

    fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    fn advise_if(self, advice: Option<String>) -> Self {
        Self { advice, ..self }
    }
}

/// With whose eyes the configuration, the token and the programs were looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Eyes {
    /// The running agent was asked; what it did not say was looked for as its unit would have it.
    Agent,
    /// No agent answers: as the installed unit would have it.
    Unit,
    /// There is no unit either: as this shell has it.
    Shell,
}

/// Whether GitHub may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Once.
    Allowed,
    /// Not at all.
    Offline,
}

/// Everything that the doctor is given.
#[derive(Debug, Clone)]
pub struct Given {
    /// launchd on macOS, systemd elsewhere.
    pub system: System,
    /// The variables of this shell.
    pub environment: Environment,
    /// The places as this shell has them, before the configuration is read.
    pub paths: Paths,
    /// The programs of the service manager.
    pub programs: service::Programs,
    /// The program that runs now.
    pub executable: PathBuf,
    /// The user's id.
    pub uid: u32,
    /// Whether GitHub may be asked.
    pub network: Network,
    /// The time.
    pub now: DateTime<Utc>,
}

/// What the doctor found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examination {
    /// With whose eyes.
    pub eyes: Eyes,
    /// The findings, by topic.
    pub checks: Vec<Check>,
}

impl Examination {
    /// The gravest verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Good)
    }
}

/// Looks at everything. What a hanging disk holds up goes on in a thread of the runtime after this has returned.
pub async fn examine(given: &Given) -> Examination {
    let view = View::gather(given).await;
    let (account, programs, here) = tokio::join!(account::Facts::gather(given, &view), programs::Facts::gather(given, &view), here(&view));
    let mut checks = duty::judge(&view, given.now);
    checks.extend(account::judge(&account, given.now));
    checks.extend(programs::judge(&programs));
    match &here {
        Some(here) => {
            checks.extend(store::judge(&here.store));
            checks.extend(disk::judge(&here.disk));
            checks.extend(passes::judge(&here.passes, given.now));
        }
        None => checks.push(late(&view)),
    }
    checks.sort_by_key(|check| check.topic);
    let paste = Paste::new(&given.paths.home, &given.environment);
    for check in &mut checks {
        check.finding = paste.clean(&check.finding);
        check.advice = check.advice.as_deref().map(|advice| paste.clean(advice));
    }
    Examination { eyes: view.eyes, checks }
}

fn late(view: &View) -> Check {
    let finding = format!("the disk did not answer within {} s", DISK_PATIENCE.as_secs());
    let places = [&view.paths.claude, &view.paths.data, &view.paths.logs].map(|path| path.display().to_string());
    Check::bad(Topic::Data, finding).advise(format!("see whether one of these is on a network drive that is gone: {}", places.join(", ")))
}

/// What this machine's disk holds.
struct Here {
    store: store::Facts,
    disk: disk::Facts,
    passes: passes::Facts,
}

/// None where the disk does not answer.
async fn here(view: &View) -> Option<Here> {
    let (paths, config) = (view.paths.clone(), view.config.clone());
    let stale = view.agent.at_work().map(|status| status.stale.clone());
    let is_on_duty = view.is_on_duty();
    let gathered = tokio::task::spawn_blocking(move || Here {
        store: store::Facts::gather(&paths),
        disk: disk::Facts::gather(&paths, &config),
        passes: passes::Facts::gather(&paths, &config, stale, is_on_duty),
    });
    tokio::time::timeout(DISK_PATIENCE, gathered).await.ok()?.ok()
}
