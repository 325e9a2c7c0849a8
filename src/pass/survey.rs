//! What is known without asking anybody: this machine's sessions as they are now, and every codespace and machine as its last
//! visit left it.
//!
//! Promises: no network, nothing written but empty directories of ours; what is compared is compared by the rules of a pass, so
//! that `status` says what `sync` will do. Far sides are remembered, not seen: each comes with the time of its last visit.
//! Works before any pass, and with a state that is lost or corrupt: then little is known, and nothing is made up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::compare::{Compared, compared};
use super::group::Group;
use super::here::{self, Here};
use super::quiet;
use super::round::{retention_here, window};
use super::sources::Sources;
use super::target::{Called, NameError, pick};
use super::{PassError, Setting, here_error};
use crate::reconcile::layout::Rule;
use crate::reconcile::manifest::{Part, ProjectName, SessionId};
use crate::reconcile::plan::{Member, Presence};
use crate::reconcile::project::RepositoryId;
use crate::reconcile::quiet::Verdict;
use crate::reconcile::relation::Lines;
use crate::state::{Held, PlaceKind, ReplicaMemory, SharedMemory, State, VisitMemory};
use crate::store::archive::Place;
use litemap::LiteMap;

/// One repository at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// The repository.
    pub repository: RepositoryId,
    /// Every session of it that is known here or there.
    pub sessions: Vec<Compared>,
    /// Sessions there that were not read because they are older than the window.
    pub unread: usize,
}

/// A codespace or machine as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visited {
    /// Its name.
    pub name: String,
    /// What its owner calls it.
    pub display_name: String,
    /// What its visits left.
    pub memory: VisitMemory,
    /// Its repositories; without sessions before the first good visit.
    pub shared: Vec<Shared>,
    /// When the next pass visits it, as far as the last listing knows; none for a machine, which every pass visits, and for what is gone.
    pub next: Option<Verdict>,
}

/// How the repository of a project directory is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "by")]
pub enum KnownBy {
    /// By the remotes of the clone that its working directory lies in.
    Clone {
        /// The clone's root.
        root: PathBuf,
    },
    /// It is where the repository's clone here has them; the directory itself need not exist there.
    Path,
    /// By what the archive remembers of its sessions.
    Archive {
        /// A clone is known here by now, but its sessions lie elsewhere.
        clone: bool,
    },
    /// Not at all.
    Nothing,
}

/// A project directory here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Its name.
    pub project: ProjectName,
    /// The repository that it belongs to.
    pub repository: Option<RepositoryId>,
    /// How that is known.
    pub known_by: KnownBy,
    /// Its sessions.
    pub sessions: BTreeSet<SessionId>,
}

/// Why a session lies where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It came here, and this rule placed it.
    Rule(Rule),
    /// It is a fork, placed beside its origin.
    Beside(SessionId),
    /// It was here before anything came.
    Written,
}

/// The whole picture.
#[derive(Debug)]
pub struct Survey {
    /// This machine, now.
    pub here: Here,
    /// What is remembered.
    pub state: State,
    /// Codespaces and machines, by name.
    pub places: Vec<Visited>,
    /// The project directories here that hold sessions.
    pub directories: Vec<Directory>,
    /// The time of the survey.
    pub now: DateTime<Utc>,
}

impl Survey {
    /// Looks at this machine, and at what is remembered of the others.
    ///
    /// # Errors
    /// When this machine's store or vault cannot be listed.
    pub fn open(setting: &Setting, now: DateTime<Utc>) -> Result<Self, PassError> {
        let config = &setting.config;
        let mut state = State::open(&setting.paths.state).map_err(here_error("state"))?;
        let machines = config.machines.iter().flat_map(|machine| machine.repositories.iter());
        let visited = state.visits.values().flat_map(|memory| &memory.repositories);
        let known: BTreeSet<RepositoryId> = config.repositories.iter().map(|entry| &entry.name).chain(machines).chain(visited).cloned().collect();
        let here = here::Setting::of(config, &setting.paths);
        let here = Here::open(here, &mut state, &known, SystemTime::from(now)).map_err(here_error("sessions"))?;
        let mut remembered: BTreeMap<String, VisitMemory> =
            state.visits.iter().filter(|(_, memory)| memory.kind == PlaceKind::Codespace).map(|(name, memory)| (name.clone(), memory.clone())).collect();
        for machine in &config.machines {
            let name = machine.name.to_string();
            let memory = state.visits.get(&name).cloned().unwrap_or_default();
            remembered.insert(name, VisitMemory { kind: PlaceKind::Machine, repositories: machine.repositories.clone(), ..memory });
        }
        let directories = directories(&here, &mut state);
        let mut survey = Self { here, state, places: Vec::new(), directories, now };
        let sources = survey.sources();
        for (name, memory) in remembered {
            let shared = memory.repositories.iter().map(|repository| survey.shared(setting, repository, &memory, &sources)).collect();
            let display_name = if memory.display_name.is_empty() { name.clone() } else { memory.display_name.clone() };
            let next = if memory.kind == PlaceKind::Codespace { quiet::next(&memory, config, now) } else { None };
            survey.places.push(Visited { name, display_name, memory, shared, next });
        }
        Ok(survey)
    }

    /// Keeps only the places that these names mean; all of them for no names.
    ///
    /// # Errors
    /// A name that fits nothing, or is the beginning of several.
    pub fn limit(&mut self, names: &[String], dot: Option<&RepositoryId>) -> Result<(), NameError> {
        let called: Vec<Called<'_>> = self.places.iter().map(Visited::called).collect();
        let mut chosen = pick(&called, names, dot)?.into_iter();
        self.places.retain(|_| chosen.next().unwrap_or(false));
        Ok(())
    }

    /// Files of this machine by what they hold.
    fn sources(&self) -> Sources {
        let mut sources = Sources::default();
        for (id, session) in &self.here.sessions {
            if let Some((_, lines)) = &session.transcript {
                sources.add(lines.content.digest, self.here.file(&session.project, *id, &Part::Transcript));
            }
        }
        for (id, record) in self.here.archive.records() {
            if let Some(path) = self.here.archive.file(*id, &Part::Transcript) {
                sources.add(record.content.digest, path);
            }
        }
        sources
    }

    fn shared(&self, setting: &Setting, repository: &RepositoryId, memory: &VisitMemory, sources: &Sources) -> Shared {
        let learned = memory.shared.get(repository).cloned().unwrap_or_default();
        let mut shared = Shared { repository: repository.clone(), sessions: Vec::new(), unread: learned.unread };
        if memory.visited.is_none() {
            return shared;
        }
        let empty = ReplicaMemory::default();
        let far = memory.replica.and_then(|replica| self.state.replicas.get(&replica)).map_or(&empty, |far| &**far);
        let transcripts = far.files.iter().filter(|(path, _)| path.part == Part::Transcript);
        let there: BTreeMap<SessionId, &Arc<Lines>> = transcripts.filter_map(|(path, file)| Some((path.session, lines(&file.held)?))).collect();
        let alone = memory.repositories.len() == 1;
        let belongs = |id: &SessionId| self.repository_of(*id).map_or(alone, |of| of == repository);
        let ids: BTreeSet<SessionId> = self.here.sessions.keys().chain(there.keys()).copied().filter(belongs).collect();
        let presences = ids.iter().map(|id| (*id, vec![self.here.presence(*id, repository), presence(*id, &there, far, memory, &learned)])).collect();
        let policy = setting.config.policy(repository);
        let days = setting.config.sync.days;
        let member = |name: &str, accepts, retention| Member { name: name.to_owned(), accepts, window: window(self.now, days, retention) };
        let members =
            vec![member("here", policy.pulls(), retention_here(&self.here)), member("there", policy.pushes() && learned.has_clone, memory.retention_days)];
        let mut group = Group { members, presences, equal: 0 };
        shared.sessions = group.standings(sources).into_iter().map(|(session, plan)| compared(session, plan)).collect();
        shared
    }

    fn repository_of(&self, id: SessionId) -> Option<&RepositoryId> {
        let place = match self.here.sessions.get(&id) {
            Some(session) => session.place.as_ref(),
            None => self.here.archive.records().get(&id).and_then(|record| record.place.as_ref()),
        };
        place.map(|place| &place.repository)
    }

    /// The session that a session is a fork of, as far as this machine's vault knows.
    #[must_use]
    pub fn origin(&self, fork: SessionId) -> Option<SessionId> {
        self.here.vault.objects().iter().find(|object| object.note.fork == Some(fork)).map(|object| object.note.session)
    }

    /// Why a session here lies where it lies.
    #[must_use]
    pub fn why(&self, id: SessionId) -> Why {
        let project = self.here.sessions.get(&id).map(|session| &session.project);
        match (self.state.rules.get(&id), self.origin(id)) {
            (Some((placed, rule)), _) if Some(placed) == project => Why::Rule(*rule),
            (_, Some(origin)) => Why::Beside(origin),
            _ => Why::Written,
        }
    }

    /// Why what is known is too old; nothing while it is not.
    #[must_use]
    pub fn stale(&self, after: Duration) -> Vec<Stale> {
        let old = |since: DateTime<Utc>| (self.now - since).to_std().is_ok_and(|age| age > after);
        let pass = match self.state.last_good {
            None => Some(Stale::NoPass),
            Some(since) => old(since).then_some(Stale::Pass { since }),
        };
        let failing = self.places.iter().filter(|place| place.memory.gone.is_none()).filter_map(|place| {
            let since = place.memory.failing.filter(|since| old(*since))?;
            Some(Stale::Place { name: place.name.clone(), since, outcome: place.memory.outcome.clone() })
        });
        pass.into_iter().chain(failing).collect()
    }
}

impl Visited {
    fn called(&self) -> Called<'_> {
        Called { name: &self.name, display_name: &self.display_name, repositories: self.memory.repositories.iter().collect() }
    }
}

/// What is too old.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum Stale {
    /// No pass over everything was ever made.
    NoPass,
    /// The last good pass.
    Pass {
        /// When it began.
        since: DateTime<Utc>,
    },
    /// Every visit to a place failed.
    Place {
        /// Which.
        name: String,
        /// Since then.
        since: DateTime<Utc>,
        /// How the last one ended.
        outcome: String,
    },
    /// The agent makes no pass, because the configuration is wrong.
    Parked,
}

impl Stale {
    /// The place that it is about; none where it is about the passes.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        match self {
            Self::Place { name, .. } => Some(name),
            Self::NoPass | Self::Pass { .. } | Self::Parked => None,
        }
    }
}

/// The project directories here that hold sessions, and how the repository of each is known.
fn directories(here: &Here, state: &mut State) -> Vec<Directory> {
    let mut directories: BTreeMap<&ProjectName, (Directory, Option<&Place>)> = BTreeMap::new();
    for (id, session) in &here.sessions {
        let nothing = || Directory { project: session.project.clone(), repository: None, known_by: KnownBy::Nothing, sessions: BTreeSet::new() };
        let (directory, known) = directories.entry(&session.project).or_insert_with(|| (nothing(), None));
        directory.sessions.insert(*id);
        *known = known.or(session.place.as_ref());
    }
    let mut known = Vec::new();
    for (project, (mut directory, place)) in directories {
        if let Some(place) = place {
            directory.repository = Some(place.repository.clone());
            directory.known_by = match here.clone_of(project, &place.repository) {
                Some(root) => KnownBy::Clone { root: root.to_owned() },
                None => match here.directory_for(place, "", state) {
                    (_, Rule::NoClone) => KnownBy::Archive { clone: false },
                    (computed, _) if computed == *project => KnownBy::Path,
                    _ => KnownBy::Archive { clone: true },
                },
            };
        }
        known.push(directory);
    }
    known
}

fn lines(held: &Held) -> Option<&Arc<Lines>> {
    match held {
        Held::Lines { lines, .. } => Some(lines),
        Held::Whole(_) => None,
    }
}

/// What a far side held of a session at its last visit.
fn presence(id: SessionId, there: &BTreeMap<SessionId, &Arc<Lines>>, far: &ReplicaMemory, memory: &VisitMemory, learned: &SharedMemory) -> Presence {
    if far.forgotten.contains(&id) {
        return Presence { forgotten: true, ..Presence::default() };
    }
    let transcript = there.get(&id).map(|lines| Arc::clone(lines));
    let gone = far.seen.get(&id).filter(|_| transcript.is_none() && !there.is_empty()).cloned();
    Presence { transcript, side: LiteMap::new(), live: memory.open.contains(&id), gone, closed: learned.refused.get(&id).cloned(), forgotten: false }
}
