//! The vault is made smaller: under the pass lock, by proof; and by its user's word for sessions that were deleted long ago.
//!
//! Promises: a session's last bytes go only if its user agreed to that very session, and it is still deleted when the lock is had.
//! What was in this store stays known, so that no pass brings it back.

use std::collections::BTreeSet;
use std::time::SystemTime;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::survey::Survey;
use super::undivided::undivided;
use super::{LOCK_PATIENCE, PassError, Setting, here_error};
use crate::lock::{Alone, Lock};
use crate::reconcile::manifest::{Part, SessionId};
use crate::store::gc::{Gone, Removing, leftovers, let_go, of_session, redundant};
use crate::store::proof::Named;

/// A session that was deleted here and is still kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deleted {
    /// The session.
    pub session: SessionId,
    /// Its title.
    pub title: Option<String>,
    /// Its newest message.
    pub newest: DateTime<Utc>,
    /// Files that are kept of it.
    pub files: usize,
    /// What they hold.
    pub bytes: u64,
    /// Codespaces and machines that held it when they were last visited.
    pub elsewhere: Vec<String>,
}

/// What is to be let go of.
#[derive(Debug, Clone)]
pub struct Request {
    /// Deleted sessions without a message since then, too.
    pub before: Option<DateTime<Utc>>,
    /// Which of those their user agreed to. A dry run tells of all.
    pub agreed: BTreeSet<SessionId>,
    /// Whether anything is removed.
    pub removing: Removing,
}

/// What went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Every file.
    pub gone: Vec<Gone>,
    /// The sessions that went with some of them.
    pub sessions: Vec<Deleted>,
}

/// The moment so long ago; the calendar's first where that is too long.
#[must_use]
pub fn ago(now: DateTime<Utc>, age: std::time::Duration) -> DateTime<Utc> {
    TimeDelta::from_std(age).ok().and_then(|age| now.checked_sub_signed(age)).unwrap_or(DateTime::<Utc>::MIN_UTC)
}

/// Sessions that were in this store once, are deleted, have no message since `before`, and are kept; oldest first.
#[must_use]
pub fn deleted(survey: &Survey, before: DateTime<Utc>) -> Vec<Deleted> {
    let here = &survey.here;
    let is_gone = |id: &SessionId| {
        let may_be_there = here.refused.contains_key(id) || here.sessions.get(id).is_some_and(|session| session.unreadable.is_some());
        here.gone(*id).is_some() && !may_be_there && !here.registry.is_live(*id, None, here.now)
    };
    let mut deleted: Vec<Deleted> = Vec::new();
    for (id, record) in here.archive.records().iter().filter(|(id, _)| is_gone(id)) {
        let spoken = record.content.newest_message.or(record.content.newest);
        let Some(newest) = spoken.and_then(|moment| DateTime::from_timestamp_micros(moment.0)).filter(|newest| *newest < before) else { continue };
        let files = of_session(&here.vault, &here.archive, *id);
        if !files.is_empty() {
            let (title, bytes) = (record.title.clone(), files.iter().map(|file| file.bytes).sum());
            deleted.push(Deleted { session: *id, title, newest, files: files.len(), bytes, elsewhere: elsewhere(survey, *id) });
        }
    }
    deleted.sort_by_key(|deleted| (deleted.newest, deleted.session));
    deleted
}

fn elsewhere(survey: &Survey, id: SessionId) -> Vec<String> {
    let holds = |place: &&super::survey::Visited| {
        let memory = place.memory.replica.filter(|_| place.memory.gone.is_none()).and_then(|replica| survey.state.replicas.get(&replica));
        memory.is_some_and(|memory| memory.files.iter().any(|(path, _)| path.session == id && path.part == Part::Transcript))
    };
    survey.places.iter().filter(holds).map(|place| place.display_name.clone()).collect()
}

/// Lets go of what may go.
///
/// # Errors
/// Another pass runs, or this machine's vault cannot be used.
pub async fn collect(setting: &Setting, request: &Request, now: DateTime<Utc>) -> Result<Collected, PassError> {
    let lock = Lock::take(&setting.paths.state, Alone::Pass, LOCK_PATIENCE).await?;
    let (setting, request) = (setting.clone(), request.clone());
    undivided(&lock, move || {
        let survey = Survey::open(&setting, now)?;
        collected(survey, &request).map_err(here_error("vault"))
    })
    .await?
}

fn collected(mut survey: Survey, request: &Request) -> std::io::Result<Collected> {
    let Request { before, agreed, removing } = request;
    let mut collected = Collected { sessions: before.map(|before| deleted(&survey, before)).unwrap_or_default(), ..Collected::default() };
    collected.sessions.retain(|deleted| *removing == Removing::Told || agreed.contains(&deleted.session));
    let now = survey.now;
    let (vault, archive) = (&mut survey.here.vault, &mut survey.here.archive);
    for Deleted { session, .. } in &collected.sessions {
        let gone = match removing {
            Removing::Told => of_session(vault, archive, *session),
            Removing::Really => let_go(vault, archive, *session, now, &Named::by_user())?,
        };
        collected.gone.extend(gone);
    }
    let of_sessions: BTreeSet<SessionId> = collected.sessions.iter().map(|deleted| deleted.session).collect();
    let redundant = redundant(vault, archive, *removing)?;
    collected.gone.extend(redundant.into_iter().filter(|gone| gone.session.is_none_or(|session| !of_sessions.contains(&session))));
    collected.gone.extend(leftovers(vault, SystemTime::from(now), *removing)?);
    if *removing == Removing::Really {
        let bytes: u64 = collected.gone.iter().map(|gone| gone.bytes).sum();
        tracing::info!(files = collected.gone.len(), bytes, sessions = collected.sessions.len(), "the vault let go");
    }
    Ok(collected)
}
