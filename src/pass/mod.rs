//! One pass: every running codespace's sessions come home, then this machine's go there.
//!
//! Promises: scheduled, requested and manual passes are this function under one lock. A codespace that fails is data in the
//! report; an error of the pass means that nothing could be attempted. Nothing is installed before everything that was read
//! is kept.
//!
//! The way of a pass: `target` and `connect` say who is there, `quiet` who is left alone, `visit` looks, all of them at once in
//! `looking` (`bases` knows what need not travel, `ahead` what will, `room` what fits, `member` what may be believed), `absorb`
//! keeps what came, `round` brings those that have looked together, `group` plans, `install` and `send` carry it out here and
//! there, `remember` keeps what came of it, `doubt` looks again at what failed, `leftovers` tends the far vaults, `closing` ends
//! it; `faults`, `logged` and `said` tell of it. Other work on the same ground, under the same lock or none: `survey`, `compare`,
//! `verify`, `look` only read; `restore`, `forget` and `gc` act by name; `lend` keeps one connection for several passes and a
//! terminal; `undivided` is how any of it works on files.

pub mod absorb;
pub mod account;
pub mod ahead;
pub mod bases;
mod batch;
pub mod clock;
pub mod closing;
pub mod compare;
pub mod connect;
pub mod contacts;
mod doubt;
mod error;
pub mod faults;
pub mod fetch;
pub mod forget;
pub mod gc;
pub mod group;
pub mod here;
pub mod install;
pub mod leftovers;
pub mod lend;
pub mod logged;
pub mod look;
mod looking;
pub mod member;
pub mod offers;
pub mod opener;
pub mod quiet;
pub mod remember;
pub mod restore;
pub mod room;
pub mod round;
pub mod said;
mod send;
mod setting;
pub mod sources;
pub mod survey;
pub mod target;
pub mod undivided;
pub mod verify;
pub mod visit;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::lock::{Alone, Lock};
use crate::reconcile::project::RepositoryId;
use crate::reconcile::report::{self, ActionResult, Forgetting, Forgotten, Outcome, Report, Visit};
use crate::state::State;
use crate::store::OWN_FOLDER;
use crate::store::forget::clear_temporary;

use bases::Bases;
use clock::Clock;
use closing::Closing;
use connect::{Doorway, Ground, Listed, Luggage, Missed, list};
pub use error::PassError;
use error::here_error;
use here::Here;
pub use look::{Looked, look};
use looking::Looking;
use round::{Planned, Round, Visiting};
pub use setting::{Options, Setting};
use sources::Sources;
use target::{Reach, Target};
use undivided::undivided;

/// Codespaces visited at once.
const AT_ONCE: usize = 4;
/// How long those that have looked wait for the others of their round.
const BARRIER: Duration = Duration::from_secs(20);
/// How long a pass waits for another one.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// What a pass is at, for whoever waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doing<'a> {
    /// Another pass has the lock.
    Waiting,
    /// GitHub is asked who is there.
    Listing,
    /// These are looked at.
    Visiting(Vec<&'a str>),
    /// What they showed is planned and installed, here and there.
    Installing,
}

/// One pass, from the lock to the saved state.
///
/// # Errors
/// When nothing could be attempted; see [`PassError`].
pub async fn run(setting: &Setting, options: &Options, now: DateTime<Utc>) -> Result<Report, PassError> {
    run_telling(setting, options, now, &|_| {}).await
}

/// The same; `tell` hears what the pass is at.
///
/// # Errors
/// As [`run`].
pub async fn run_telling(setting: &Setting, options: &Options, now: DateTime<Utc>, tell: &dyn Fn(&Doing<'_>)) -> Result<Report, PassError> {
    logged::around(setting, options, attempt(setting, options, now, tell)).await
}

async fn attempt(setting: &Setting, options: &Options, now: DateTime<Utc>, tell: &dyn Fn(&Doing<'_>)) -> Result<Report, PassError> {
    let clock = Clock::set(now);
    tell(&Doing::Waiting);
    let lock = Lock::take(&setting.paths.state, Alone::Pass, LOCK_PATIENCE).await?;
    let mut report = Report { version: report::VERSION, began: now, ended: now, dry_run: options.dry_run, ..Report::default() };
    let mut state = State::open(&setting.paths.state).map_err(here_error("state"))?;
    setting.contacts.recall_all(&mut state, now);
    tell(&Doing::Listing);
    let Listed { door, targets, fault, notes, whole } = list(setting, options).await;
    remember::listed(&mut state, &targets, whole, now);
    setting.contacts.only_of(&state);
    tracing::debug!(codespaces_and_machines = targets.len(), whole, "listed");
    if let (Some(fault), false) = (&fault, options.names.is_empty()) {
        let machines = targets.iter().all(|target| options.names.contains(&target.name)) && !targets.is_empty();
        if !machines {
            return Err(PassError::Listing(fault.clone()));
        }
    }
    report.listing = fault;
    report.notes = notes;
    report.running = whole.then(|| targets.iter().filter(|target| target.runs()).map(|target| target.name.clone()).collect());
    let known = targets.iter().flat_map(|target| target.repositories()).chain(setting.config.repositories.iter().map(|entry| entry.name.clone())).collect();
    let chosen = quiet::chosen(targets, options, &state, &setting.config, now)?;
    let (to_visit, passed): (Vec<Target>, Vec<Target>) = chosen.into_iter().partition(|target| target.not_visited.is_none());
    report.visits.extend(passed.iter().map(|target| blank(target, Outcome::NotVisited { why: target.not_visited.clone().unwrap_or_default() })));

    let named = to_visit.iter().any(|target| matches!(target.reach, Reach::Codespace(_))) && !options.dry_run;
    let agent = if named { here::name(&setting.paths.claude) } else { None };
    let mut pass = Pass { lock, closing: Closing::default(), setting, options, tell, door, known, here: None, archived: false, agent, now, clock, report };
    // Members of one group stay together, so that one round makes them equal.
    let mut to_visit = to_visit;
    to_visit.sort_by_key(|target| (target.repositories().into_iter().next(), target.name.clone()));
    for batch in to_visit.chunks(AT_ONCE) {
        state = pass.batch(batch, state).await?;
    }
    pass.report.notes.extend(pass.door.iter().flat_map(Doorway::notes));
    if !pass.archived {
        state = pass.ready(state).await?;
    }
    pass.close(state).await
}

struct Pass<'a> {
    lock: Lock,
    closing: Closing,
    setting: &'a Setting,
    options: &'a Options,
    tell: &'a dyn Fn(&Doing<'_>),
    door: Option<Doorway>,
    known: std::collections::BTreeSet<RepositoryId>,
    /// This machine as it was read last, until something is installed.
    here: Option<Here>,
    /// What a crash left was looked at, and everything here is in the archive.
    archived: bool,
    /// This machine, as a codespace is to know it.
    agent: Option<Uuid>,
    now: DateTime<Utc>,
    clock: Clock,
    report: Report,
}

impl Pass<'_> {
    async fn open_here(&mut self, mut state: State) -> Result<(Here, State), PassError> {
        if let Some(here) = self.here.take() {
            return Ok((here, state));
        }
        let (setting, known) = (here::Setting::of(&self.setting.config, &self.setting.paths), self.known.clone());
        undivided(&self.lock, move || Here::open(setting, &mut state, &known, SystemTime::now()).map(|here| (here, state)))
            .await?
            .map_err(here_error("sessions"))
    }

    /// Reads this machine. The first time, what a crash left is looked at, and everything here is archived.
    async fn ready(&mut self, state: State) -> Result<State, PassError> {
        let (mut here, state) = self.open_here(state).await?;
        if std::mem::replace(&mut self.archived, true) {
            self.here = Some(here);
            return Ok(state);
        }
        self.report.skipped.clone_from(&here.skipped);
        let again = here.again.iter().map(|session| Forgotten { at: "here".to_owned(), session: *session, what: Forgetting::Again });
        self.report.forgotten.extend(again);
        tracing::debug!(sessions = here.sessions.len(), skipped = here.skipped.len(), "this machine was read");
        let (now, dry_run) = (self.now, self.options.dry_run);
        let ours = [self.setting.paths.state.clone(), self.setting.paths.claude.join(OWN_FOLDER), here.vault.path().join("forgotten")];
        let opened = undivided(&self.lock, move || {
            if !dry_run {
                ours.iter().try_for_each(|directory| clear_temporary(directory))?;
                here.vault.clear_stage(now)?;
                here.archive_all(now)?;
                here.vault.sweep(&here.archive)?;
            }
            Ok(here)
        });
        self.here = Some(opened.await?.map_err(here_error("vault"))?);
        Ok(state)
    }

    /// Visits these at once; those that look in time are one round, a late one is a round of its own.
    async fn batch(&mut self, targets: &[Target], state: State) -> Result<State, PassError> {
        let Some(door) = self.door.take() else { return Ok(state) };
        self.closing.ended().await;
        self.setting.contacts.begin(targets, &state, self.clock.now());
        let (tell_ground, ground) = watch::channel(None);
        let luggage = Luggage { agent: self.agent, replicas: state.replicas.clone(), ground };
        let mut looking: Looking<_> = targets
            .iter()
            .map(|target| {
                let span = logged::codespace_span(&target.name);
                Box::pin(connect::look(&door, target, &luggage).instrument(span))
            })
            .collect();
        // Where nothing of this machine is known all of it is read and archived, and a connection would only wait.
        let meanwhile = state.knows_this_machine();
        let mut state = if meanwhile { looking.beside(self.ready(state)).await? } else { self.ready(state).await? };
        let Some(bases) = self.tell(&tell_ground) else { return Ok(state) };
        let mut away: Vec<&str> = targets.iter().map(|target| target.display_name.as_str()).collect();
        loop {
            (self.tell)(&Doing::Visiting(away.clone()));
            let mut ready: Vec<Visiting> = Vec::new();
            let mut deadline = None;
            while let Some(looked) = self.closing.beside(looking.next_before(deadline)).await {
                let back = looked.as_ref().map_or_else(|missed| &missed.target.name, |visiting| &visiting.target.name);
                away.retain(|name| !targets.iter().any(|target| target.name == *back && target.display_name == *name));
                (self.tell)(&Doing::Visiting(away.clone()));
                match looked {
                    Ok(visiting) => {
                        ready.push(visiting);
                        deadline.get_or_insert_with(|| tokio::time::Instant::now() + BARRIER);
                    }
                    Err(missed) => self.missed(&mut state, &missed),
                }
            }
            if ready.is_empty() && looking.is_over() {
                break;
            }
            if !ready.is_empty() {
                (self.tell)(&Doing::Installing);
                state = looking.beside(self.round(ready, Arc::clone(&bases), state)).await?;
            }
        }
        drop(looking);
        self.door = Some(door);
        self.setting.contacts.end(targets, &state);
        Ok(state)
    }

    /// Tells those that visit what is here.
    fn tell(&self, ground: &watch::Sender<Option<Ground>>) -> Option<Arc<Bases>> {
        let here = self.here.as_ref()?;
        let bases = Arc::new(Bases::of(here));
        let window = round::window(self.now, self.options.days.unwrap_or(self.setting.config.sync.days), round::retention_here(here));
        ground.send_replace(Some(Ground { window, stage: here.vault.stage_path(), bases: Arc::clone(&bases) }));
        Some(bases)
    }

    fn missed(&mut self, state: &mut State, missed: &Missed) {
        let visit = Visit { connections: missed.connections, channels: missed.channels, ..blank(&missed.target, missed.outcome.clone()) };
        if matches!(visit.outcome, Outcome::Failed(_)) {
            remember::failed(state, &visit, missed, self.now, self.clock.now());
        }
        self.report.visits.push(visit);
    }

    /// Plans, installs here, then there, and remembers what came of it.
    async fn round(&mut self, mut ready: Vec<Visiting>, bases: Arc<Bases>, state: State) -> Result<State, PassError> {
        let fresh = self.here.is_none();
        let mut closing = std::mem::take(&mut self.closing);
        let opened = closing.beside(self.open_here(state)).await;
        self.closing = closing;
        let (here, state) = opened?;
        let mut sources = Sources::default();
        // What an earlier round installed is known best by looking again, and the first source of a content stays.
        if fresh {
            Bases::of(&here).add_to(&mut sources);
        }
        bases.add_to(&mut sources);
        let report = std::mem::take(&mut self.report);
        let (config, direction) = (self.setting.config.clone(), self.options.direction);
        let days = self.options.days.unwrap_or(config.sync.days);
        let mut round = Round { here, state, sources, bases, report, config, direction, days, now: self.now, clock: self.clock };
        let worked = undivided(&self.lock, move || {
            let planned = round.plan(&mut ready).map(|mut planned| {
                if !round.report.dry_run {
                    round.install_here(&mut planned, SystemTime::now());
                }
                planned
            });
            let settled = if round.report.dry_run { Ok(()) } else { round.here.archive.settle() };
            (round, ready, settled.and(planned))
        });
        let (mut round, ready, planned) = self.closing.beside(worked).await?;
        let mut planned: Vec<Planned> = planned.map_err(here_error("vault"))?;
        let visited = send::put_all(&mut round, ready, &mut planned, &mut self.closing).await;
        let doubtful = round.doubtful(&planned);
        if !doubtful.is_empty() {
            let looked = undivided(&self.lock, move || (round.doubt(&doubtful), round));
            let doubted;
            (doubted, round) = self.closing.beside(looked).await?;
            if let Err(error) = doubted {
                // What was installed is; the next pass looks again.
                round.report.disk = faults::of_disk(&error).or(round.report.disk.take());
                round.report.notes.push(format!("what is damaged in the vault could not be told from what is not: {error}"));
            }
        }
        // Of many thousand files they are megabytes, and nothing is read any more.
        round.sources = Sources::default();
        let installed = planned.iter().flat_map(|planned| &planned.actions).any(|(action, step)| step.member == 0 && action.result.is_some());
        remember::fold(&mut round, visited, planned);
        self.report = round.report;
        self.here = (!installed).then_some(round.here);
        Ok(round.state)
    }

    /// The connections end while the state is written.
    async fn close(mut self, state: State) -> Result<Report, PassError> {
        let closing = std::mem::take(&mut self.closing);
        closing.end_beside(self.save(state)).await
    }

    async fn save(mut self, state: State) -> Result<Report, PassError> {
        let unchanged = self.here.is_some();
        let (mut here, mut state) = self.open_here(state).await?;
        self.report.ended = self.clock.now();
        state.last_pass = serde_json::value::to_raw_value(&self.report).ok();
        if self.report.listing.is_none() && self.options.names.is_empty() {
            state.last_good = Some(self.now);
        }
        let (now, dry_run) = (self.now, self.options.dry_run);
        // Where GitHub was asked and did not answer, the clock may be far from the truth.
        if self.report.listing.is_none() {
            remember::forget_replicas(&mut state, now);
        }
        let saved = undivided(&self.lock, move || {
            let cleared = here.vault.clear_stage(now);
            let archived = if dry_run || unchanged { Ok(()) } else { here.archive_all(now) };
            let saved = if dry_run { Ok(()) } else { state.save() };
            cleared.and(archived).and(saved)
        });
        if let Err(error) = saved.await? {
            self.report.disk = faults::of_disk(&error).or(self.report.disk);
            self.report.notes.push(format!("the state was not saved, so the next pass takes longer: {error}"));
        }
        Ok(self.report)
    }
}

fn blank(target: &Target, outcome: Outcome) -> Visit {
    Visit {
        name: target.name.clone(),
        display_name: target.display_name.clone(),
        repositories: target.repositories(),
        outcome,
        sessions: 0,
        not_home: 0,
        refused: 0,
        standings: Default::default(),
        connections: 0,
        channels: 0,
        bytes_in: 0,
        bytes_out: 0,
        skipped: Vec::new(),
        notes: Vec::new(),
    }
}

/// Whether an action came to nothing.
#[must_use]
pub fn failed(result: Option<&ActionResult>) -> bool {
    matches!(result, Some(ActionResult::Failed(_)))
}
