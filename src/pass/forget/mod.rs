//! The one deletion that travels: a session that its user forgets by name, with its forks and whatever else is of it.
//!
//! Promises: a tombstone of every session that is meant is durable before anything goes, so nothing of it is read, kept or taken
//! anywhere from then on; nothing goes while a client has one of them open; what is not of them stays as it is. Cut off, it is
//! finished by doing it again. Far sides are told at their next visit: [`there`].
//! Never: a removal here because of what a far side says.
//!
//! A fork that this machine never read is told by its bytes at the next visit. What cannot be told: where only a fork is forgotten,
//! the copy that it was made from, while a machine that is away holds that as the origin's own.

pub mod family;
mod memory;
pub mod there;

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, SubsecRound as _, Utc};

use super::here::{self, Here};
use super::undivided::undivided;
use super::{LOCK_PATIENCE, PassError, Setting, here_error};
use crate::lock::{Alone, Lock};
use crate::reconcile::fork;
use crate::reconcile::manifest::SessionId;
use crate::reconcile::named::{NotOne, meant};
use crate::state::State;
use crate::store::OWN_FOLDER;
use crate::store::forget::{Ground, Lies, clear_temporary, lies, remove, remove_object, transcripts};
use crate::store::live::{Registry, holders};
use crate::store::mentions::mentions;
use crate::store::proof::Named;
use crate::store::read::{self, Wanted};
use crate::store::vault::Object;

/// One of the sessions that are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub session: SessionId,
    /// Its title, as far as it is known here.
    pub title: Option<String>,
    /// The session that it is a fork of.
    pub fork_of: Option<SessionId>,
    /// What lies here of it.
    pub lies: Lies,
    /// Why it must not be touched now.
    pub open: Option<Open>,
}

/// How a session is known to be open here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Open {
    /// By the client's registry: these processes.
    By(Vec<i32>),
    /// A client is starting, and does not say yet with which session.
    Perhaps,
    /// It was written to a moment ago, and this client keeps no registry.
    Fresh,
}

/// What forgetting a session means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The session, then its forks.
    pub members: Vec<Member>,
    /// When it was forgotten before.
    pub before: Option<DateTime<Utc>>,
    /// Codespaces and machines that are remembered to hold one of them.
    pub held_by: Vec<String>,
    /// The session that it is a fork of itself, and that stays.
    pub origin: Option<SessionId>,
    /// Displaced copies of sessions that stay, from which one of these was made.
    pub made_from: Vec<PathBuf>,
}

impl Found {
    /// Whether anything of it is known here.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.before.is_some() || !self.held_by.is_empty() || self.members.len() > 1 || self.members.iter().any(|member| member.lies.is_anywhere())
    }

    /// All that are meant.
    #[must_use]
    pub fn sessions(&self) -> BTreeSet<SessionId> {
        self.members.iter().map(|member| member.session).collect()
    }
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// What it was.
    pub found: Found,
    /// When it counts as forgotten.
    pub date: DateTime<Utc>,
    /// Files of the client itself that name it.
    pub mentions: Vec<PathBuf>,
    /// Links below `projects/` that were not followed, and behind which something of that name lies.
    pub behind_links: Vec<PathBuf>,
}

/// Why nothing was forgotten.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// As a pass.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// A beginning of an id that fits nothing.
    #[error("`{0}` is no session's id, and no session here begins with it")]
    Unknown(String),
    /// A beginning of several ids.
    #[error("`{0}` is the beginning of several sessions' ids")]
    Ambiguous(String),
    /// It is open in a client.
    #[error("the session {session} is open here: {open}")]
    Open {
        /// Which.
        session: SessionId,
        /// How that is known.
        open: Open,
    },
}

impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::By(holders) => {
                let holders: Vec<String> = holders.iter().map(ToString::to_string).collect();
                write!(f, "in process {}", holders.join(" and "))
            }
            Self::Perhaps => f.write_str("a client is starting and does not say yet with which session"),
            Self::Fresh => f.write_str("it was written to a moment ago"),
        }
    }
}

/// What forgetting a session would mean; nothing is changed. The session may be named by the beginning of an id that is known here.
///
/// # Errors
/// A name that fits nothing or several; a store, vault or state that cannot be read.
pub fn look(setting: &Setting, named: &str) -> Result<Found, ForgetError> {
    let (here, state) = open(setting)?;
    let session = resolve(named, &here, &state)?;
    Ok(find(&here, &state, session)?)
}

/// Forgets a session here, under the pass lock.
///
/// # Errors
/// As [`look`]; where it is open, nothing was touched.
pub async fn forget(setting: &Setting, session: SessionId, now: DateTime<Utc>) -> Result<Forgotten, ForgetError> {
    let lock = Lock::take(&setting.paths.state, Alone::Pass, LOCK_PATIENCE).await.map_err(PassError::from)?;
    let setting = setting.clone();
    undivided(&lock, move || forget_here(&setting, session, now.trunc_subsecs(6))).await?
}

fn forget_here(setting: &Setting, session: SessionId, now: DateTime<Utc>) -> Result<Forgotten, ForgetError> {
    let (mut here, state) = open(setting)?;
    let found = find(&here, &state, session)?;
    if let Some((member, open)) = found.members.iter().find_map(|member| Some((member, member.open.clone()?))) {
        return Err(ForgetError::Open { session: member.session, open });
    }
    let date = found.before.unwrap_or(now);
    let sessions = found.sessions();
    // Its own comes first: whoever takes this up again goes by its date.
    let mut named = std::iter::once(&session).chain(&sessions);
    let removed = named.try_for_each(|session| here.forgotten.set(*session, date)).and_then(|()| remove_all(&mut here, &found));
    removed.and_then(|()| clear_temporary(&setting.paths.state)).map_err(here_error("vault"))?;
    // Read once more: what is not of them is looked at by its stamp, and what is remembered of them is not asked for.
    let (_, mut state) = open(setting)?;
    memory::forget(&mut state, &sessions);
    state.save().map_err(here_error("state"))?;
    tracing::info!(%session, sessions = sessions.len(), files = found.members.iter().map(|member| files(&member.lies)).sum::<usize>(), "a session was forgotten");
    let ids: Vec<SessionId> = sessions.into_iter().collect();
    let mentions = mentions(&setting.paths.claude, &ids).map_err(here_error("client's directory"))?;
    let behind_links = behind_links(&here, &ids).map_err(here_error("sessions"))?;
    Ok(Forgotten { found, date, mentions, behind_links })
}

fn files(lies: &Lies) -> usize {
    [lies.store, lies.archive, lies.displaced, lies.rest].iter().map(|heap| heap.files).sum()
}

fn remove_all(here: &mut Here, found: &Found) -> io::Result<()> {
    let named = Named::by_user();
    for object in &found.made_from {
        remove_object(object, &named)?;
    }
    let root = root(here);
    let beside = here.setting.claude.join(OWN_FOLDER);
    for member in &found.members {
        remove(Ground { tree: here.tree.as_ref(), root: &root, beside: &beside }, member.session, &named)?;
    }
    here.archive.forget(&found.sessions())
}

/// What holds vault and stage.
fn root(here: &Here) -> PathBuf {
    here.vault.path().parent().map(Path::to_owned).unwrap_or_default()
}

fn open(setting: &Setting) -> Result<(Here, State), PassError> {
    let mut state = State::open(&setting.paths.state).map_err(here_error("state"))?;
    let of = here::Setting::of(&setting.config, &setting.paths);
    let here = Here::open(of, &mut state, &BTreeSet::new(), SystemTime::now()).map_err(here_error("sessions"))?;
    Ok((here, state))
}

/// Every id that is known here, by whatever.
fn known(here: &Here, state: &State) -> BTreeSet<SessionId> {
    let far = state.replicas.values().flat_map(|replica| replica.files.iter().map(|(path, _)| path.session).chain(replica.seen.keys().copied()));
    here.known().into_iter().chain(here.forgotten.dates().keys().copied()).chain(far).collect()
}

fn resolve(named: &str, here: &Here, state: &State) -> Result<SessionId, ForgetError> {
    if let Ok(session) = named.parse() {
        return Ok(session);
    }
    meant(named, known(here, state).into_iter().map(|session| (session, session))).map_err(|error| match error {
        NotOne::None => ForgetError::Unknown(named.to_owned()),
        NotOne::Several => ForgetError::Ambiguous(named.to_owned()),
    })
}

fn find(here: &Here, state: &State, session: SessionId) -> Result<Found, PassError> {
    let family = family::family(here, session).map_err(here_error("sessions"))?;
    let mut members = Vec::new();
    for (of, fork_of) in &family {
        members.push(member(here, *of, *fork_of).map_err(here_error("sessions"))?);
    }
    members.sort_by_key(|member| member.session != session);
    let is_of = |of: &SessionId| family.contains_key(of);
    let holds =
        |replica: &std::sync::Arc<crate::state::ReplicaMemory>| replica.files.iter().any(|(path, _)| is_of(&path.session)) || replica.seen.keys().any(is_of);
    let held_by = state.visits.iter().filter(|(_, visit)| visit.gone.is_none() && visit.replica.and_then(|id| state.replicas.get(&id)).is_some_and(holds));
    let made = |object: &&Object| {
        let note = &object.note;
        !is_of(&note.session) && (note.fork.as_ref().is_some_and(is_of) || is_of(&fork::id(note.session, note.digest)))
    };
    let made_from: Vec<&Object> = here.vault.objects().iter().filter(made).collect();
    Ok(Found {
        members,
        before: here.forgotten.dates().get(&session).copied(),
        held_by: held_by.map(|(name, visit)| if visit.display_name.is_empty() { name.clone() } else { visit.display_name.clone() }).collect(),
        origin: made_from.first().map(|object| object.note.session),
        made_from: made_from.into_iter().map(|object| object.path.clone()).collect(),
    })
}

fn member(here: &Here, session: SessionId, fork_of: Option<SessionId>) -> io::Result<Member> {
    let (root, beside) = (root(here), here.setting.claude.join(OWN_FOLDER));
    let lies = lies(Ground { tree: here.tree.as_ref(), root: &root, beside: &beside }, session)?;
    let paths = here.tree.as_ref().map(|tree| transcripts(tree, session)).transpose()?.unwrap_or_default();
    let read = here.sessions.get(&session).and_then(|session| session.transcript.as_ref()).and_then(|(_, lines)| lines.title.clone());
    let archived = || here.archive.records().get(&session).and_then(|record| record.title.clone());
    let noted = || here.vault.objects().iter().find(|object| object.note.session == session).and_then(|object| object.note.title.clone());
    let title = read.or_else(archived).or_else(noted).or_else(|| paths.iter().find_map(|path| title_of(path)));
    Ok(Member { session, title, fork_of, lies, open: is_open(here, session, &paths)? })
}

fn title_of(path: &Path) -> Option<String> {
    read::lines(File::open(path).ok()?, &Wanted::default()).ok().and_then(|reading| reading.title)
}

/// The registry decides, also of a session that has no file. Without one, a transcript that was written a moment ago counts.
fn is_open(here: &Here, session: SessionId, paths: &[PathBuf]) -> io::Result<Option<Open>> {
    Ok(match &here.registry {
        Registry::Sessions(open) if open.contains(&session) => Some(Open::By(holders(&here.setting.claude, session)?)),
        Registry::Sessions(_) => None,
        Registry::Unclear => Some(Open::Perhaps),
        registry @ Registry::None => {
            let fresh = paths.iter().any(|path| {
                let stamp = rustix::fs::lstat(path).ok().map(|stat| crate::store::tree::Status::of(&stat).stamp);
                registry.is_live(session, stamp, here.now)
            });
            fresh.then_some(Open::Fresh)
        }
    })
}

/// Links below `projects/` behind which something of these sessions lies.
fn behind_links(here: &Here, sessions: &[SessionId]) -> io::Result<Vec<PathBuf>> {
    let Some(tree) = &here.tree else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(tree.path())? {
        let path = entry?.path();
        let holds = |session: &SessionId| path.join(session.file_name()).exists() || path.join(session.to_string()).exists();
        if path.is_symlink() && sessions.iter().any(holds) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
