//! What is remembered between passes: digests of files that did not change, what lay at each far replica, how visits ended.
//!
//! Promises: a cache. Lost, corrupt or of an unknown format, it costs time and nothing else; it is replaced as a whole, from
//! outcomes, never from intentions.

mod replica;

use std::collections::{BTreeMap, HashMap};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::reconcile::layout::Rule;
pub use replica::{FarMemory, ReplicaMemory};

use crate::reconcile::manifest::{ProjectName, SessionId, Stamp};
use crate::reconcile::order::Whole;
use crate::reconcile::project::RepositoryId;
use crate::reconcile::quiet;
use crate::reconcile::relation::Lines;
use crate::reconcile::report::Report;
use crate::store::repositories::Remembered;
use crate::store::vault::fill_durably;

const VERSION: u32 = 1;

/// What a file was found to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Held {
    /// Lines, and the working directories that they name.
    Lines {
        /// The content.
        lines: Arc<Lines>,
        /// Distinct `cwd` values.
        directories: Vec<String>,
    },
    /// Anything else.
    Whole(Whole),
}

/// What a place to visit is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlaceKind {
    /// A codespace.
    #[default]
    Codespace,
    /// A `[[machine]]`.
    Machine,
}

/// What the last good visit learned of one repository there, beside what its files hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SharedMemory {
    /// A clone of it is there, so that sessions can go there.
    pub has_clone: bool,
    /// Sessions that were not read because they are older than the window.
    pub unread: usize,
    /// Sessions that were not to be touched there, and why.
    pub refused: BTreeMap<SessionId, String>,
}

/// How the visits to one codespace or machine went, and what was last heard of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VisitMemory {
    /// What it is.
    pub kind: PlaceKind,
    /// What its owner calls it.
    pub display_name: String,
    /// GitHub's word for what it was doing at the last listing; none for a machine.
    pub doing: Option<String>,
    /// When GitHub's list, whole, first lacked it.
    pub gone: Option<DateTime<Utc>>,
    /// Its repositories.
    pub repositories: Vec<RepositoryId>,
    /// The end of the last attempt.
    pub tried: Option<DateTime<Utc>>,
    /// What came of it, in one line.
    pub outcome: String,
    /// Since when every attempt failed; none after one that went well.
    pub failing: Option<DateTime<Utc>>,
    /// The end of the last visit that went well.
    pub visited: Option<DateTime<Utc>>,
    /// Whether a shell answered at the last attempt; none before the first.
    pub answered: Option<bool>,
    /// Sessions that lay there at the last good visit.
    pub sessions: usize,
    /// Of those, how many have bytes that are not on this machine.
    pub not_home: usize,
    /// The run of the codespace that was visited: its `last_used_at`.
    pub episode: Option<DateTime<Utc>>,
    /// How each of its sessions stood after the visit, for `status`.
    pub standings: BTreeMap<String, usize>,
    /// The replica that the last good visit found.
    pub replica: Option<Uuid>,
    /// Days that its client keeps sessions, if its settings say so.
    pub retention_days: Option<u32>,
    /// Sessions that were open there.
    pub open: Vec<SessionId>,
    /// What else was learned, by repository.
    pub shared: BTreeMap<RepositoryId, SharedMemory>,
    /// Whether it ran at the last listing, with nothing pending.
    pub available: bool,
    /// Its run by the last listing: its `last_used_at` then.
    pub listed_episode: Option<DateTime<Utc>>,
    /// Its idle timeout by the last listing.
    pub idle_timeout_minutes: Option<u32>,
    /// When GitHub will delete it, by the last listing.
    pub retention_expires_at: Option<DateTime<Utc>>,
    /// What the quiet rule goes by.
    pub quiet: QuietMemory,
}

/// What the quiet rule goes by: of connections, not of visits that went well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuietMemory {
    /// The run that was last connected to.
    pub episode: Option<DateTime<Utc>>,
    /// The end of the last connection, good or bad.
    pub ended: Option<DateTime<Utc>>,
    /// Attempts of this run that failed, one after the other.
    pub failures: u32,
    /// Whether the last failure may heal by itself.
    pub heals: bool,
    /// The last listing there showed that the user was at work since the one before.
    pub active: bool,
    /// Other machines that visit it.
    pub others: u32,
    /// Seconds since 1970 by the far clock at the last listing there.
    pub far_clock: Option<i64>,
    /// What each live client said of its last use, in milliseconds since 1970.
    pub live: BTreeMap<SessionId, u64>,
}

impl QuietMemory {
    /// As the rule takes it.
    #[must_use]
    pub fn remembered(&self) -> quiet::Remembered {
        let trouble = (self.failures > 0).then_some(quiet::Trouble { in_a_row: self.failures, heals: self.heals });
        quiet::Remembered { episode: self.episode, ended: self.ended, active: self.active, others: self.others, trouble }
    }
}

/// As much of a [`VisitMemory`] as a look at GitHub's list needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Glance {
    /// The end of the last visit that went well.
    pub visited: Option<DateTime<Utc>>,
    /// The run of the codespace that was visited.
    pub episode: Option<DateTime<Utc>>,
    /// Sessions there with bytes that are not on this machine.
    pub not_home: usize,
    /// What the quiet rule goes by.
    pub quiet: QuietMemory,
}

/// Reads only that of every codespace and machine; whatever cannot be read is as if it were not there. Nothing is made or locked:
/// the file is only ever replaced as a whole.
#[must_use]
pub fn glance(directory: &Path) -> BTreeMap<String, Glance> {
    #[derive(Default, Deserialize)]
    struct Part {
        version: u32,
        visits: BTreeMap<String, Glance>,
    }
    let text = std::fs::read(directory.join("state.json")).unwrap_or_default();
    serde_json::from_slice::<Part>(&text).ok().filter(|part| part.version == VERSION).unwrap_or_default().visits
}

/// The stamp of a file here that is old enough to speak for its content: inode, size, modification time.
type Key = (u64, u64, i64);

#[derive(Debug, Default, Deserialize)]
struct Stored {
    version: u32,
    digests: Vec<(Key, Arc<Held>)>,
    replicas: BTreeMap<Uuid, Arc<ReplicaMemory>>,
    visits: BTreeMap<String, VisitMemory>,
    clones: BTreeMap<PathBuf, Remembered>,
    last_pass: Option<Box<RawValue>>,
    #[serde(default)]
    last_good: Option<DateTime<Utc>>,
    #[serde(default)]
    rules: BTreeMap<SessionId, (ProjectName, Rule)>,
    #[serde(default)]
    heard: BTreeMap<Uuid, DateTime<Utc>>,
}

/// The same, borrowed, so that writing it copies nothing.
#[derive(Debug, Serialize)]
struct ToStore<'a> {
    version: u32,
    digests: Vec<(&'a Key, &'a Held)>,
    replicas: &'a BTreeMap<Uuid, Arc<ReplicaMemory>>,
    visits: &'a BTreeMap<String, VisitMemory>,
    clones: &'a BTreeMap<PathBuf, Remembered>,
    last_pass: &'a Option<Box<RawValue>>,
    last_good: &'a Option<DateTime<Utc>>,
    rules: &'a BTreeMap<SessionId, (ProjectName, Rule)>,
    heard: &'a BTreeMap<Uuid, DateTime<Utc>>,
}

/// The memory of this machine.
#[derive(Debug, Default)]
pub struct State {
    path: PathBuf,
    digests: HashMap<Key, Arc<Held>>,
    used: HashMap<Key, Arc<Held>>,
    /// By replica id. Shared with the visits that compare by it.
    pub replicas: BTreeMap<Uuid, Arc<ReplicaMemory>>,
    /// By codespace or machine name.
    pub visits: BTreeMap<String, VisitMemory>,
    /// Remotes of this machine's clones.
    pub clones: BTreeMap<PathBuf, Remembered>,
    /// The report of the last pass, as it is written: of ten thousand sessions its values would be thirty megabytes.
    pub last_pass: Option<Box<RawValue>>,
    /// When the last pass over everything began that could list the codespaces.
    pub last_good: Option<DateTime<Utc>>,
    /// Where sessions that came here were put, and by which rule.
    pub rules: BTreeMap<SessionId, (ProjectName, Rule)>,
    /// When each replica was visited last.
    pub heard: BTreeMap<Uuid, DateTime<Utc>>,
}

/// A file younger than this when it was read may change within the resolution of its time: not remembered.
const SETTLED: Duration = Duration::from_secs(2);

impl State {
    /// Reads `<directory>/state.json`; whatever cannot be read is as if it were not there.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(directory: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        Ok(Self::read(directory))
    }

    /// The same, for who only looks: nothing is made, not even the directory.
    #[must_use]
    pub fn read(directory: &Path) -> Self {
        let path = directory.join("state.json");
        let text = std::fs::read(&path).unwrap_or_default();
        let stored = serde_json::from_slice::<Stored>(&text).ok().filter(|stored| stored.version == VERSION).unwrap_or_default();
        let Stored { digests, replicas, visits, clones, last_pass, last_good, rules, heard, .. } = stored;
        Self { path, digests: digests.into_iter().collect(), used: HashMap::new(), replicas, visits, clones, last_pass, last_good, rules, heard }
    }

    /// Whether an earlier pass has read files of this machine: then reading it again takes little time.
    #[must_use]
    pub fn knows_this_machine(&self) -> bool {
        !self.digests.is_empty()
    }

    /// The report of the last pass, if there is one of this version.
    #[must_use]
    pub fn last_report(&self) -> Option<Report> {
        serde_json::from_str(self.last_pass.as_ref()?.get()).ok()
    }

    /// What a file of this machine holds, if its stamp was seen before.
    pub fn held(&mut self, stamp: Stamp) -> Option<Arc<Held>> {
        let key = (stamp.inode, stamp.size, stamp.modified);
        if let Some(held) = self.digests.remove(&key) {
            self.used.insert(key, held);
        }
        self.used.get(&key).cloned()
    }

    /// Remembers what a file holds, if it is old enough for its stamp to speak for it. `now` is in nanoseconds since 1970.
    pub fn remember(&mut self, stamp: Stamp, held: &Arc<Held>, now: i64) {
        let settled = now.saturating_sub(stamp.modified) >= i64::try_from(SETTLED.as_nanos()).unwrap_or(i64::MAX);
        if settled {
            self.used.insert((stamp.inode, stamp.size, stamp.modified), Arc::clone(held));
        }
    }

    /// Writes the state. Digests that this pass did not ask for are forgotten.
    ///
    /// # Errors
    /// As `write` and `rename`; the old state then stays.
    pub fn save(&mut self) -> io::Result<()> {
        let mut digests: Vec<_> = self.used.iter().map(|(key, held)| (key, &**held)).collect();
        digests.sort_unstable_by_key(|(key, _)| **key);
        let Self { replicas, visits, clones, last_pass, last_good, rules, heard, .. } = self;
        let stored = ToStore { version: VERSION, digests, replicas, visits, clones, last_pass, last_good, rules, heard };
        // Never whole in memory: of ten thousand sessions it is ten megabytes.
        fill_durably(&self.path, |file| Ok(serde_json::to_writer(file, &stored)?))
    }
}
