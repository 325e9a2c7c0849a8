//! The agent: one long-lived process that makes a pass whenever its bell is rung.
//!
//! The bell is rung by the schedule, by the look, by a request, and at the start if the last good pass is older than one interval.
//! Every event goes over one [`desk`], which decides; this module does what it says: one `select`, one event, one handler. The pass
//! and the look are handed to it as functions ([`work`]); it knows names, times and faults, and nothing of sessions.
//!
//! Promises: never two passes at once; a panic of a pass is a failed pass; a configuration that is wrong parks the agent, or leaves
//! it with the one before, and is said once; an order to stop is obeyed within [`PATIENCE`]. Never: a network call, or a file of a
//! session.

pub mod backoff;
pub mod bell;
pub mod client;
pub mod clock;
pub mod control;
pub mod desk;
mod door;
pub mod notice;
pub mod protocol;
mod run;
pub mod schedule;
pub mod stale;
pub mod status;
pub mod supervisor;
mod timetable;
pub mod work;

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;

use bell::Bell;
use clock::Moment;
use control::Patience;
use desk::Rules;
use notice::{Book, Shower};
use schedule::Clock;
use status::LogStatus;
use supervisor::Supervisor;
use work::Work;

pub use run::run;

/// How long a pass under way may go on after an order to stop; then it is abandoned, which is safe at any time.
pub const PATIENCE: Duration = Duration::from_secs(8);
/// How often a parked agent looks whether its configuration was changed.
const PARKED: Duration = Duration::from_secs(10);

/// What the agent goes by, from a configuration that is good.
#[derive(Debug)]
pub struct Settings {
    /// When the schedule rings: a cron pattern.
    pub every: String,
    /// Up to so much later.
    pub jitter: Duration,
    /// What the desk goes by.
    pub rules: Rules,
    /// Whether notices are shown.
    pub notify: bool,
    /// The pass and the look.
    pub work: Work,
}

/// What is wrong with the configuration: for the log, `status` and a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// In one line, with file and line.
    pub problem: String,
}

/// An order from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// SIGHUP.
    Reload,
    /// SIGTERM or SIGINT.
    Stop,
}

/// Everything that the agent is given.
pub struct Given {
    /// The wall clock.
    pub clock: Clock,
    /// What whoever wants a pass rings.
    pub bell: Bell,
    /// Reads the configuration anew.
    pub load: Box<dyn FnMut() -> Result<Settings, Refusal>>,
    /// Where it is read from.
    pub config_file: PathBuf,
    /// How the log is.
    pub log: Box<dyn Fn() -> LogStatus>,
    /// Where the control socket lies; none for an agent that nobody asks.
    pub runtime: Option<PathBuf>,
    /// What its clients are allowed.
    pub patience: Patience,
    /// Signals.
    pub orders: mpsc::Receiver<Order>,
    /// Who started the agent.
    pub supervisor: Supervisor,
    /// What shows notices.
    pub shower: Shower,
    /// Which were shown.
    pub book: Book,
}

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Given").field("config_file", &self.config_file).field("supervisor", &self.supervisor).finish_non_exhaustive()
    }
}

/// The two clocks, from a start on.
#[derive(Clone)]
struct Clocks {
    wall: Clock,
    start: tokio::time::Instant,
}

impl Clocks {
    fn now(&self) -> Moment {
        Moment { wall: (self.wall)(), awake: self.start.elapsed() }
    }
}
