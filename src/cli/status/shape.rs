//! What `status` says, as a value: printed for people by [`told`](super::told), or as JSON.
//!
//! `status --json` is one object (with `--watch` one a line):
//! - `version`: 1. `now`: when it was made. Times are RFC 3339, UTC.
//! - `here`: `sessions` in this machine's store, `open` of them in a client.
//! - `last_pass`: null before the first; `began`, `ended`, `summary` (one line), `failed` (something in it did).
//! - `last_good`: when the last pass over everything began that could list the codespaces; null before the first.
//! - `stale`: why what is known is too old, empty while it is not; `what` is `no-pass`, `pass` (`since`), `place` (`name`, `since`,
//!   `outcome`) or `parked` (the configuration is wrong). `--check` exits 1 when it is not empty.
//! - `agent`: null where none runs; what it says of itself (see `agent/status.rs`), or `trouble` where it gives no answer of use.
//! - `next`: when the next pass is due, in words; `next_at`: the same as a time, null where nobody knows.
//! - `places`: each codespace and machine: `name`, `display_name`, `kind` (`codespace`, `machine`), `doing` (GitHub's word at the last
//!   listing), `gone` (since when GitHub's list lacks it), `tried` (the last attempt), `outcome` (what came of it), `answered`,
//!   `visited` (the last good visit), `failing` (since when), `sessions` and `not_home` (at that visit), `next` (when it is visited
//!   next, and why not before, in words), `next_at` (not before then; null where nothing is known), and
//!   `repositories`: `repository`, `counts` by word, `sessions` that are not equal: `session`, `title`, `word` and, by word, `bytes`,
//!   `at` (`here`, `there`), `why`.
//! - The words: `equal`, `ahead` (more is here), `behind` (more is there), `diverged`, `waiting` (open `at`), `older` (than the window),
//!   `silent` (no message), `deleted`, `forgotten` (there, by another machine), `refused`, `withheld` (by the settings, or no clone there), `unknown`.
//! - `unplaced`: directories that no clone here stands behind: `repository`, `project`, `sessions`, `clone` (one is known by now).
//!   `unknown`: directories of no known repository: `project`, `sessions`.
//! - `forgotten`: `sessions` that were forgotten by name; `due`: where some of them are remembered to lie still: `place`,
//!   `display_name`, `sessions`; `again`: those that lie here again.
//! - `vault`: `bytes`, and `large` if that is more than `[vault] warn_at`.
//! - `why`, with `--why`: `directories` (`project`, `repository`, `by`: `clone` with its `root`,
//!   `path`, `archive`, `nothing`) and `sessions`
//!   (`session`, `title`, `project`, `repository`, `why`).

use std::collections::BTreeMap;

use chrono::{DateTime, Local, Utc};
use serde::Serialize;

use super::agent::Asked;
use crate::agent::status::Doing;
use crate::cli::words::ago;
use crate::config::Config;
use crate::pass::compare::{Compared, Stand};
use crate::pass::survey::{Directory, KnownBy, Shared, Stale, Survey, Visited, Why};
use crate::reconcile::manifest::{ProjectName, SessionId};
use crate::reconcile::project::RepositoryId;
use crate::reconcile::quiet::Verdict;
use crate::state::PlaceKind;
use crate::store::bytes_below;

/// The format.
const VERSION: u32 = 1;

#[derive(Debug, Serialize)]
pub(super) struct Status {
    version: u32,
    pub(super) now: DateTime<Utc>,
    pub(super) here: Store,
    pub(super) last_pass: Option<LastPass>,
    pub(super) last_good: Option<DateTime<Utc>>,
    pub(super) stale: Vec<Stale>,
    pub(super) agent: Asked,
    pub(super) next: String,
    next_at: Option<DateTime<Utc>>,
    pub(super) places: Vec<PlaceShown>,
    pub(super) unplaced: Vec<Unplaced>,
    pub(super) unknown: Vec<Unknown>,
    pub(super) vault: Vault,
    pub(super) forgotten: Forgotten,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<Reasons>,
}

#[derive(Debug, Serialize)]
pub(super) struct Store {
    pub(super) sessions: usize,
    pub(super) open: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct LastPass {
    pub(super) began: DateTime<Utc>,
    ended: DateTime<Utc>,
    pub(super) summary: String,
    pub(super) failed: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct PlaceShown {
    pub(super) name: String,
    pub(super) display_name: String,
    kind: PlaceKind,
    pub(super) doing: Option<String>,
    pub(super) gone: Option<DateTime<Utc>>,
    pub(super) tried: Option<DateTime<Utc>>,
    pub(super) outcome: String,
    answered: Option<bool>,
    pub(super) visited: Option<DateTime<Utc>>,
    pub(super) failing: Option<DateTime<Utc>>,
    sessions: usize,
    pub(super) not_home: usize,
    pub(super) next: String,
    next_at: Option<DateTime<Utc>>,
    pub(super) repositories: Vec<RepositoryShown>,
}

#[derive(Debug, Serialize)]
pub(super) struct RepositoryShown {
    pub(super) repository: RepositoryId,
    pub(super) counts: BTreeMap<&'static str, usize>,
    pub(super) sessions: Vec<SessionShown>,
}

#[derive(Debug, Serialize)]
pub(super) struct SessionShown {
    pub(super) session: SessionId,
    pub(super) title: Option<String>,
    #[serde(flatten)]
    pub(super) stand: Stand,
}

#[derive(Debug, Serialize)]
pub(super) struct Unplaced {
    pub(super) repository: RepositoryId,
    pub(super) project: ProjectName,
    pub(super) sessions: usize,
    pub(super) clone: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Unknown {
    project: ProjectName,
    pub(super) sessions: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Vault {
    pub(super) bytes: u64,
    pub(super) large: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Forgotten {
    sessions: usize,
    pub(super) due: Vec<Due>,
    pub(super) again: Vec<SessionId>,
}

/// Who is still to be told.
#[derive(Debug, Serialize)]
pub(super) struct Due {
    place: String,
    pub(super) display_name: String,
    pub(super) sessions: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Reasons {
    pub(super) directories: Vec<DirectoryReason>,
    pub(super) sessions: Vec<SessionReason>,
}

#[derive(Debug, Serialize)]
pub(super) struct DirectoryReason {
    pub(super) project: ProjectName,
    pub(super) repository: Option<RepositoryId>,
    #[serde(flatten)]
    pub(super) by: KnownBy,
}

#[derive(Debug, Serialize)]
pub(super) struct SessionReason {
    pub(super) session: SessionId,
    pub(super) title: Option<String>,
    pub(super) project: ProjectName,
    pub(super) repository: Option<RepositoryId>,
    pub(super) why: Why,
}

/// Without an agent there is one answer: `sync` is what makes a pass.
const BY_HAND: &str = "when `sync` runs";

impl Status {
    pub(super) fn of(survey: &Survey, config: &Config, agent: Asked, why: bool) -> Self {
        let vault = bytes_below(&survey.here.vault.path());
        let report = survey.state.last_report();
        Self {
            version: VERSION,
            now: survey.now,
            here: Store { sessions: survey.here.sessions.len(), open: survey.here.sessions.values().filter(|session| session.live).count() },
            last_pass: report.map(|report| LastPass {
                began: report.began,
                ended: report.ended,
                summary: crate::cli::told::summary(&report),
                failed: report.listing.is_some() || report.has_failures(),
            }),
            last_good: survey.state.last_good,
            stale: stale(survey, config, &agent),
            next: next(&agent, survey.now),
            next_at: agent.at_work().and_then(|agent| agent.next_pass),
            places: survey.places.iter().map(|place| PlaceShown::of(place, &agent, survey.now)).collect(),
            agent,
            unplaced: survey.directories.iter().filter_map(unplaced).collect(),
            unknown: survey.directories.iter().filter(|directory| directory.known_by == KnownBy::Nothing).map(Unknown::of).collect(),
            vault: Vault { bytes: vault, large: vault > config.vault.warn_at.get() },
            forgotten: Forgotten::of(survey),
            why: why.then(|| Reasons::of(survey)),
        }
    }
}

impl Forgotten {
    fn of(survey: &Survey) -> Self {
        let due = survey.places.iter().filter(|place| place.memory.gone.is_none()).filter_map(|place| {
            let replica = place.memory.replica.and_then(|replica| survey.state.replicas.get(&replica))?;
            let due = Due { place: place.name.clone(), display_name: place.display_name.clone(), sessions: replica.due.len() };
            (due.sessions > 0).then_some(due)
        });
        let here = &survey.here;
        Self { sessions: here.forgotten.dates().len(), due: due.collect(), again: here.again.iter().copied().collect() }
    }
}

impl PlaceShown {
    fn of(place: &Visited, agent: &Asked, now: DateTime<Utc>) -> Self {
        let memory = &place.memory;
        let (next, next_at) = next_visit(place, agent, now);
        Self {
            name: place.name.clone(),
            display_name: place.display_name.clone(),
            kind: memory.kind,
            doing: memory.doing.clone(),
            gone: memory.gone,
            tried: memory.tried,
            outcome: memory.outcome.clone(),
            answered: memory.answered,
            visited: memory.visited,
            failing: memory.failing,
            sessions: memory.sessions,
            not_home: memory.not_home,
            next,
            next_at,
            repositories: place.shared.iter().map(RepositoryShown::of).collect(),
        }
    }
}

impl RepositoryShown {
    fn of(shared: &Shared) -> Self {
        let mut counts = BTreeMap::new();
        for compared in &shared.sessions {
            *counts.entry(word(&compared.stand)).or_default() += 1;
        }
        if shared.unread > 0 {
            *counts.entry("older").or_default() += shared.unread;
        }
        let unequal = shared.sessions.iter().filter(|compared| compared.stand != Stand::Equal);
        let shown = |Compared { session, title, stand }: &Compared| SessionShown { session: *session, title: title.clone(), stand: stand.clone() };
        Self { repository: shared.repository.clone(), counts, sessions: unequal.map(shown).collect() }
    }
}

/// When the next pass is due, for people.
fn next(agent: &Asked, now: DateTime<Utc>) -> String {
    match agent {
        Asked::None | Asked::Silent { .. } => BY_HAND.to_owned(),
        Asked::Running(status) => match (&status.doing, status.next_pass) {
            (Doing::Parked, _) => "when the configuration is mended".to_owned(),
            (Doing::Passing { .. }, _) => "now".to_owned(),
            (_, Some(next)) => format!("{} ({})", next.with_timezone(&Local).format("%H:%M"), ago(now, next)),
            (_, None) => "when something asks for it".to_owned(),
        },
    }
}

/// When a place is visited next by the agent, and why not before.
fn next_visit(place: &Visited, agent: &Asked, now: DateTime<Utc>) -> (String, Option<DateTime<Utc>>) {
    let Some(agent) = agent.at_work() else { return (BY_HAND.to_owned(), None) };
    match &place.next {
        _ if place.memory.gone.is_some() => ("never: it is gone".to_owned(), None),
        Some(Verdict::Wait { until, .. }) => (place.next.as_ref().map(|verdict| verdict.words(now, &Local)).unwrap_or_default(), *until),
        Some(verdict) => (format!("next pass: {}", verdict.words(now, &Local)), agent.next_pass),
        None => ("every pass".to_owned(), agent.next_pass),
    }
}

/// What is too old: by the agent's count of time awake and online, where one is at work, else by the clock.
fn stale(survey: &Survey, config: &Config, agent: &Asked) -> Vec<Stale> {
    let by_clock = survey.stale(config.schedule.stale_after.duration());
    match agent {
        Asked::Running(status) if status.doing == Doing::Parked => by_clock.into_iter().chain([Stale::Parked]).collect(),
        Asked::Running(status) => {
            let is_stale = |name: Option<&str>| status.stale.iter().any(|stale| stale.name.as_deref() == name);
            by_clock.into_iter().filter(|stale| is_stale(stale.place())).collect()
        }
        Asked::None | Asked::Silent { .. } => by_clock,
    }
}

/// The word for a standing.
pub(super) fn word(stand: &Stand) -> &'static str {
    match stand {
        Stand::Equal => "equal",
        Stand::Ahead { .. } => "ahead",
        Stand::Behind { .. } => "behind",
        Stand::Diverged => "diverged",
        Stand::Waiting { .. } => "waiting",
        Stand::Older { .. } => "older",
        Stand::Silent { .. } => "silent",
        Stand::Deleted { .. } => "deleted",
        Stand::Forgotten { .. } => "forgotten",
        Stand::Refused { .. } => "refused",
        Stand::Withheld { .. } => "withheld",
        Stand::Unknown => "unknown",
    }
}

fn unplaced(directory: &Directory) -> Option<Unplaced> {
    let KnownBy::Archive { clone } = directory.known_by else { return None };
    let repository = directory.repository.clone()?;
    Some(Unplaced { repository, project: directory.project.clone(), sessions: directory.sessions.len(), clone })
}

impl Unknown {
    fn of(directory: &Directory) -> Self {
        Self { project: directory.project.clone(), sessions: directory.sessions.len() }
    }
}

impl Reasons {
    fn of(survey: &Survey) -> Self {
        let mut sessions = Vec::new();
        for directory in &survey.directories {
            for id in &directory.sessions {
                let lines = survey.here.sessions.get(id).and_then(|session| session.transcript.as_ref());
                sessions.push(SessionReason {
                    session: *id,
                    title: lines.and_then(|(_, lines)| lines.title.clone()),
                    project: directory.project.clone(),
                    repository: directory.repository.clone(),
                    why: survey.why(*id),
                });
            }
        }
        let reason = |Directory { project, repository, known_by, .. }: &Directory| DirectoryReason {
            project: project.clone(),
            repository: repository.clone(),
            by: known_by.clone(),
        };
        let directories = survey.directories.iter().map(reason).collect();
        Self { directories, sessions }
    }
}
