//! What goes to the far replicas at the end of a round, and what came of each file.
//!
//! Promises: outcomes, never intentions, are noted. A put whose answer was lost leaves the far files unknown, so that the next visit
//! reads them again; and so does the next visit what a client there wrote into a file when it was already displaced.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tracing::Instrument as _;
use uuid::Uuid;

use super::bases::Bases;
use super::closing::Closing;
use super::leftovers::Leftover;
use super::logged::{self, Transfer};
use super::round::{Planned, Round, Visiting};
use super::target::Target;
use super::visit::Seen;
use crate::codespace::replica::{Parcel, VisitError};
use crate::codespace::ssh::Counts;
use crate::codespace::wire::{Outcome as FarOutcome, PutAnswer, PutFile, Token, VaultObject, WireError};
use crate::reconcile::manifest::{Part, StorePath};
use crate::reconcile::report::ActionResult;
use crate::state::Held;
use litemap::LiteMap;

/// KiB left free beside what is sent.
const RESERVE_KIB: u64 = 1024;

/// A visit that is over: its connection was told to end.
#[derive(Debug)]
pub(super) struct Visited {
    pub(super) target: Target,
    pub(super) seen: Seen,
    pub(super) agent: Option<Uuid>,
    pub(super) counts: Counts,
    pub(super) ended: DateTime<Utc>,
}

/// Takes to every far replica what the plans have for it, all at once, and notes each outcome; nothing is sent in a dry run. A connection
/// ends as soon as nothing more is to be said over it, however long the others take.
pub(super) async fn put_all(round: &mut Round, visits: Vec<Visiting>, planned: &mut [Planned], closing: &mut Closing) -> Vec<Visited> {
    let (bases, dry_run) = (Arc::clone(&round.bases), round.report.dry_run);
    let mut sending: FuturesUnordered<_> = visits
        .into_iter()
        .enumerate()
        .map(|(index, mut visit)| {
            let (files, meaning) = if dry_run { Default::default() } else { round.parcel(planned, index, &visit.seen) };
            let (span, bases) = (logged::codespace_span(&visit.target.name), &bases);
            let said = async move {
                let answer = if dry_run { None } else { send(&mut visit, &files, bases).await };
                (index, visit, (files, meaning, answer))
            };
            said.instrument(span)
        })
        .collect();
    let mut over = Vec::new();
    while let Some((index, Visiting { target, far, seen, agent }, said)) = closing.beside(sending.next()).await {
        let counts = far.counts();
        closing.begin(vec![far.close()]).await;
        over.push((index, Visited { target, seen, agent, counts, ended: round.clock.now() }, said));
    }
    over.sort_by_key(|(index, ..)| *index);
    let (mut visits, said): (Vec<Visited>, Vec<_>) = over.into_iter().map(|(_, visit, said)| (visit, said)).unzip();
    for (visit, (files, meaning, answer)) in visits.iter_mut().zip(said) {
        match answer.map(|answer| answer.and_then(|answer| of_the_listed(visit.seen.listing.replica, answer))) {
            None => {}
            Some(Ok(answer)) => {
                let span = logged::codespace_span(&visit.target.name);
                span.in_scope(|| note(visit, planned, &files, &meaning, &answer));
            }
            Some(Err(error)) => {
                for (group, action) in &meaning {
                    planned[*group].actions[*action].0.result = Some(ActionResult::Failed(error.to_string()));
                }
                // Whether anything was done there is not known.
                for file in &files {
                    forget(visit, &file.path);
                }
                visit.seen.broken = Some(error);
            }
        }
    }
    if !dry_run {
        forget_unknown(&mut visits, planned);
    }
    visits
}

/// What was listed of one store says nothing of another, which has an id of its own.
fn of_the_listed(listed: Option<Uuid>, answer: PutAnswer) -> Result<PutAnswer, VisitError> {
    if listed.is_some() && answer.replica.is_some() && listed != answer.replica { Err(VisitError::Replaced) } else { Ok(answer) }
}

/// What could not be planned or sent for want of bytes is read again at the next visit, whatever is remembered of it.
fn forget_unknown(visits: &mut [Visited], planned: &[Planned]) {
    for Planned { far, plan, actions, .. } in planned {
        for id in plan.unplanned.keys() {
            far.iter().for_each(|(visit, member)| {
                if let Some(session) = visits[*visit].seen.members[*member].sessions.get_mut(id) {
                    session.transcript.iter_mut().chain(session.side.iter_mut().map(|(_, part)| part)).for_each(|part| part.held = None);
                }
            });
        }
        let failed = actions.iter().filter(|(action, _)| super::failed(action.result.as_ref()));
        for (action, (visit, member)) in failed.filter_map(|(action, step)| Some((action, far.get(step.member.checked_sub(1)?)?))) {
            if let Some(session) = visits[*visit].seen.members[*member].sessions.get_mut(&action.session) {
                forget_part(session, &action.part);
            }
        }
    }
}

/// Sends a parcel. Nothing to send, and a replica that has its id: nothing is said at all.
async fn send(visit: &mut Visiting, files: &[PutFile], bases: &Arc<Bases>) -> Option<Result<PutAnswer, VisitError>> {
    let Visiting { far, seen, agent, .. } = visit;
    // A codespace gets its id even where no session lies yet: from then on those who visit know of each other.
    let wants_id = agent.is_some() || seen.members.iter().any(|member| !member.sessions.is_empty());
    let forgets = seen.forgets();
    if seen.broken.is_some() || (files.is_empty() && forgets.is_empty() && (seen.listing.replica.is_some() || !wants_id)) {
        return None;
    }
    let bytes: u64 = files.iter().map(|file| file.size).sum();
    let need = 2 * bytes / 1024 + RESERVE_KIB;
    if let Err(error) = seen.ask_for_leftovers(&mut **far, bases).await {
        return Some(Err(error));
    }
    let drops: Vec<_> = seen.leftovers.iter().filter(|leftover| leftover.is_home).map(Leftover::to_drop).collect();
    let span = logged::transfer_span(Transfer::Put, files.len(), files.iter().map(|file| file.data.len).sum());
    let parcel = Parcel { files: files.to_vec(), drops, forgets };
    let names_only = agent.is_none() && files.is_empty() && parcel.forgets.is_empty();
    let put = far.put(parcel, Uuid::new_v4(), need).instrument(span.clone()).await;
    span.in_scope(|| tracing::debug!(done = put.is_ok(), "sent"));
    match put {
        // Who may only read there comes for what is there.
        Err(VisitError::Answer(WireError::Far(why))) if names_only => {
            span.in_scope(|| tracing::warn!(why, "this store gets no id"));
            None
        }
        put => Some(put),
    }
}

fn note(visit: &mut Visited, planned: &mut [Planned], files: &[PutFile], meaning: &[(usize, usize)], answer: &PutAnswer) {
    visit.seen.listing.replica = answer.replica.or(visit.seen.listing.replica);
    visit.seen.forgot(answer);
    for (file, (group, action)) in files.iter().zip(meaning) {
        let planned = &mut planned[*group];
        let (result, token) = match answer.outcomes.get(&file.n) {
            // What somebody wrote to since is not known.
            Some(FarOutcome::Done { token, grew }) => {
                visit.seen.listing.vault.extend(grew.iter().map(|grown| VaultObject { name: grown.name.clone(), size: grown.size }));
                (ActionResult::Done, Some(token.clone()).filter(|token| token.stamp().size == file.size))
            }
            Some(FarOutcome::Live) => (ActionResult::Deferred("open in a client there".to_owned()), None),
            Some(FarOutcome::Changed | FarOutcome::Exists) => (ActionResult::Deferred("written to in the meantime".to_owned()), None),
            Some(FarOutcome::Bad) => (ActionResult::Failed("the bytes that arrived are not those that were sent".to_owned()), None),
            Some(FarOutcome::Failed(why)) => (ActionResult::Failed(why.clone()), None),
            None => (ActionResult::Failed("the far side did not say".to_owned()), None),
        };
        match token {
            Some(token) => {
                let held = held(planned, *action);
                installed(visit, &planned.repository.clone(), &file.path, &token, held);
            }
            None => forget(visit, &file.path),
        }
        planned.actions[*action].0.result = Some(result);
        logged::file(&planned.actions[*action].0);
    }
}

fn held(planned: &Planned, action: usize) -> Option<Held> {
    let (of, _) = &planned.actions[action];
    let Planned { repository, plan, group, placement, .. } = planned;
    let sources = super::sources::Sources::default();
    let work = super::install::Work { repository, plan, group, sources: &sources, placement, at: DateTime::<Utc>::MIN_UTC };
    work.held(of.session, &of.part)
}

fn installed(visit: &mut Visited, repository: &crate::reconcile::project::RepositoryId, path: &StorePath, token: &Token, held: Option<Held>) {
    let Some(member) = visit.seen.members.iter_mut().find(|member| member.repository == *repository) else { return };
    let session = member.sessions.entry(path.session).or_insert_with(|| super::member::FarSession {
        project: path.project.clone(),
        below: String::new(),
        transcript: None,
        side: LiteMap::new(),
        live: false,
        closed: None,
        refused: false,
    });
    let part = super::member::FarPart { stamp: token.stamp(), token: token.clone(), held: held.map(Arc::new) };
    match &path.part {
        Part::Transcript => session.transcript = Some(part),
        Part::Side(side) => drop(session.side.insert(side.clone(), part)),
    }
}

fn forget(visit: &mut Visited, path: &StorePath) {
    for session in visit.seen.members.iter_mut().filter_map(|member| member.sessions.get_mut(&path.session)) {
        forget_part(session, &path.part);
    }
}

fn forget_part(session: &mut super::member::FarSession, part: &Part) {
    match part {
        Part::Transcript => session.transcript.iter_mut().for_each(|part| part.held = None),
        Part::Side(side) => session.side.get_mut(side).into_iter().for_each(|part| part.held = None),
    }
}
