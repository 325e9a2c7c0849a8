//! The end of a round: what goes to the far replicas, and what is remembered of it all.
//!
//! Promises: outcomes, never intentions, reach the state. A put whose answer was lost leaves the far files unknown, so that the
//! next visit reads them again.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tracing::Instrument as _;
use uuid::Uuid;

use super::bases::Bases;
use super::closing::Closing;
use super::connect::Missed;
use super::faults;
use super::leftovers::Leftover;
use super::logged::{self, Transfer};
use super::member::FarMember;
use super::quiet::{self, Contact};
use super::round::{Planned, Round, Visiting, done_at, word};
use super::target::{Reach, Target};
use super::visit::Seen;
use crate::codespace::replica::{Parcel, VisitError};
use crate::codespace::ssh::Counts;
use crate::codespace::wire::{Outcome as FarOutcome, PutAnswer, PutFile, Token};
use crate::reconcile::manifest::{Part, StorePath};
use crate::reconcile::report::{ActionResult, Outcome, Skipped, Visit};
use crate::state::{FarMemory, Held, PlaceKind, ReplicaMemory, SharedMemory, State};
use litemap::LiteMap;

/// KiB left free beside what is sent.
const RESERVE_KIB: u64 = 1024;
/// A clock that is off by more than this is mentioned, in seconds.
const CLOCK_TOLERANCE: i64 = 300;
/// A codespace that GitHub's list lacks for so long is forgotten.
const FORGET_AFTER: TimeDelta = TimeDelta::days(30);

/// A visit that is over: its connection was told to end.
#[derive(Debug)]
pub struct Visited {
    target: Target,
    seen: Seen,
    agent: Option<Uuid>,
    counts: Counts,
    ended: DateTime<Utc>,
}

/// Takes to every far replica what the plans have for it, all at once, and notes each outcome; nothing is sent in a dry run. A connection
/// ends as soon as nothing more is to be said over it, however long the others take.
pub async fn put_all(round: &mut Round, visits: Vec<Visiting>, planned: &mut [Planned], closing: &mut Closing) -> Vec<Visited> {
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
    let put = far.put(parcel, Uuid::new_v4(), need).instrument(span.clone()).await;
    span.in_scope(|| tracing::debug!(done = put.is_ok(), "sent"));
    Some(put)
}

fn note(visit: &mut Visited, planned: &mut [Planned], files: &[PutFile], meaning: &[(usize, usize)], answer: &PutAnswer) {
    visit.seen.listing.replica = answer.replica.or(visit.seen.listing.replica);
    visit.seen.forgot(answer);
    for (file, (group, action)) in files.iter().zip(meaning) {
        let planned = &mut planned[*group];
        let (result, token) = match answer.outcomes.get(&file.n) {
            // What somebody wrote to since is not known.
            Some(FarOutcome::Done { token, .. }) => (ActionResult::Done, Some(token.clone()).filter(|token| token.stamp().size == file.size)),
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

/// Folds what came of the visits into state and report.
pub fn fold(round: &mut Round, visits: Vec<Visited>, planned: Vec<Planned>) {
    for (index, visited) in visits.into_iter().enumerate() {
        let mut standings: BTreeMap<String, usize> = BTreeMap::new();
        let mut bytes_out = 0;
        for planned in &planned {
            for member in planned.far.iter().enumerate().filter(|(_, (visit, _))| *visit == index).map(|(place, _)| place + 1) {
                if planned.group.equal > 0 {
                    *standings.entry("equal".to_owned()).or_default() += planned.group.equal;
                }
                let done = done_at(planned, member);
                for (id, of) in &planned.plan.sessions {
                    let word = word(&of.standings[member], done.contains(id));
                    *standings.entry(word.to_owned()).or_default() += 1;
                }
                let sent = planned.actions.iter().filter(|(action, step)| step.member == member && action.result == Some(ActionResult::Done));
                bytes_out += sent.map(|(action, _)| action.bytes).sum::<u64>();
            }
        }
        let visit = finish(round, visited, standings, bytes_out);
        round.report.visits.push(visit);
    }
    round.report.actions.reserve_exact(planned.iter().map(|planned| planned.actions.len()).sum());
    round.report.actions.extend(planned.into_iter().flat_map(|planned| planned.actions).map(|(action, _)| action));
}

fn finish(round: &mut Round, visited: Visited, standings: BTreeMap<String, usize>, bytes_out: u64) -> Visit {
    let Visited { target, seen, agent, counts, ended } = visited;
    let transcripts: Vec<&StorePath> = seen.listing.files.iter().map(|file| &file.path).filter(|path| path.part == Part::Transcript).collect();
    let not_home = transcripts.iter().filter(|path| !seen.members.iter().any(|member| is_home(member, path))).count();
    let mut notes = Vec::new();
    let skew = seen.listing.clock - Utc::now().timestamp();
    if skew.abs() > CLOCK_TOLERANCE {
        notes.push(format!("its clock is {skew} s off this machine's"));
    }
    let known = round.state.visits.get(&target.name).is_some_and(|memory| memory.visited.is_some());
    let older = standings.get("older").copied().unwrap_or(0) + seen.members.iter().map(|member| shared(member).unread).sum::<usize>();
    if !known && older > 0 && seen.broken.is_none() {
        notes.push(format!("{older} older sessions stay where they are (--days N takes them along)"));
    }
    let outcome = seen.broken.as_ref().map_or(Outcome::Visited, |error| Outcome::Failed(faults::of_visit(error)));
    let mut skipped: Vec<Skipped> = seen.skipped.clone();
    skipped.sort();
    skipped.dedup();
    let visit = Visit {
        name: target.name.clone(),
        display_name: target.display_name.clone(),
        repositories: target.repositories(),
        outcome,
        sessions: transcripts.len(),
        not_home,
        refused: seen.members.iter().flat_map(|member| member.sessions.values()).filter(|session| session.refused).count(),
        standings,
        connections: counts.connections,
        channels: counts.channels,
        bytes_in: seen.bytes_in,
        bytes_out,
        skipped,
        notes,
    };
    round.report.forgotten.extend(seen.told(&visit.name, round.report.dry_run));
    if !round.report.dry_run {
        let replica = seen.listing.replica.and_then(|replica| round.state.replicas.get(&replica)).map(|memory| &**memory);
        let rest = &mut round.state.visits.entry(visit.name.clone()).or_default().quiet;
        let activity = quiet::activity_seen(&seen.listing, rest, replica, &target);
        tracing::debug!(name = %visit.name, activity = activity.as_ref().map(ToString::to_string), "looked for the user's work");
        quiet::looked(rest, &seen.listing, agent, activity.as_ref());
        let fault = match &visit.outcome {
            Outcome::Failed(fault) => Some(fault),
            _ => None,
        };
        quiet::ended(rest, &target, ended, Contact::Made, fault);
        if let Some(replica) = seen.listing.replica {
            let old = round.state.replicas.remove(&replica).unwrap_or_default();
            let mut memory = memory(&seen, &old);
            seen.remember(&mut memory, &round.here);
            round.state.replicas.insert(replica, if memory == *old { old } else { Arc::new(memory) });
        }
        remember(&mut round.state, &visit, &target, &seen, round.now);
    }
    visit
}

/// Whether the bytes of a transcript that was listed are on this machine. What this pass installed there was not listed.
fn is_home(member: &FarMember, path: &StorePath) -> bool {
    let session = member.sessions.get(&path.session).filter(|session| session.project == path.project);
    session.and_then(|session| session.transcript.as_ref()).is_some_and(|part| part.held.is_some())
}

/// What is known of a far replica now. Sessions that are gone keep their last content: they were deleted there.
fn memory(seen: &Seen, old: &ReplicaMemory) -> ReplicaMemory {
    let mut memory = ReplicaMemory { files: Vec::with_capacity(seen.listing.files.len()), ..old.but_for_files() };
    for member in &seen.members {
        for (id, session) in &member.sessions {
            let transcript = session.transcript.iter().map(|part| (Part::Transcript, part));
            let side = session.side.iter().map(|(path, part)| (Part::Side(path.clone()), part));
            for (part, far) in side.chain(transcript) {
                let Some(held) = &far.held else { continue };
                if let (Part::Transcript, Held::Lines { lines, .. }) = (&part, &**held) {
                    memory.seen.insert(*id, Arc::clone(lines));
                }
                let path = StorePath { project: session.project.clone(), session: *id, part };
                memory.files.push((path, FarMemory { stamp: far.stamp, held: Arc::clone(held) }));
            }
        }
    }
    memory.files.sort_by(|a, b| a.0.cmp(&b.0));
    memory
}

/// Notes who is there. What a whole list of GitHub's lacks is gone; after a month that is forgotten, too.
pub fn listed(state: &mut State, targets: &[Target], whole: bool, now: DateTime<Utc>) {
    for target in targets {
        let memory = state.visits.entry(target.name.clone()).or_default();
        memory.repositories = target.repositories();
        memory.display_name.clone_from(&target.display_name);
        (memory.kind, memory.doing) = match &target.reach {
            Reach::Codespace(codespace) => (PlaceKind::Codespace, Some(codespace.state.to_string())),
            Reach::Machine(_) => (PlaceKind::Machine, None),
        };
        if let Reach::Codespace(codespace) = &target.reach {
            memory.available = codespace.may_be_visited();
            memory.listed_episode = codespace.last_used_at;
            memory.idle_timeout_minutes = codespace.idle_timeout_minutes;
            memory.retention_expires_at = codespace.retention_expires_at;
        }
        memory.gone = None;
    }
    quiet::heal(state, now);
    if whole {
        let lacking = |name: &String| !targets.iter().any(|target| target.name == *name);
        for (_, memory) in state.visits.iter_mut().filter(|(name, memory)| memory.kind == PlaceKind::Codespace && lacking(name)) {
            memory.gone.get_or_insert(now);
        }
        state.visits.retain(|_, memory| memory.gone.is_none_or(|gone| now - gone < FORGET_AFTER));
    }
}

fn remember(state: &mut State, visit: &Visit, target: &Target, seen: &Seen, now: DateTime<Utc>) {
    let memory = state.visits.entry(visit.name.clone()).or_default();
    memory.repositories.clone_from(&visit.repositories);
    (memory.tried, memory.outcome, memory.answered) = (Some(now), outcome_words(&visit.outcome), Some(true));
    (memory.sessions, memory.not_home) = (visit.sessions, visit.not_home);
    memory.standings.clone_from(&visit.standings);
    memory.episode = match &target.reach {
        Reach::Codespace(codespace) => codespace.last_used_at,
        Reach::Machine(_) => None,
    };
    if visit.outcome != Outcome::Visited {
        memory.failing.get_or_insert(now);
        return;
    }
    (memory.visited, memory.failing) = (Some(now), None);
    (memory.replica, memory.retention_days) = (seen.listing.replica, seen.listing.retention_days);
    memory.open = seen.members.iter().flat_map(|member| &member.sessions).filter(|(_, session)| session.live).map(|(id, _)| *id).collect();
    memory.shared = seen.members.iter().map(|member| (member.repository.clone(), shared(member))).collect();
}

fn shared(member: &FarMember) -> SharedMemory {
    let mut shared = SharedMemory { has_clone: !member.layout.roots.is_empty(), ..SharedMemory::default() };
    for (id, session) in &member.sessions {
        match &session.closed {
            Some(why) => drop(shared.refused.insert(*id, why.clone())),
            None => shared.unread += usize::from(session.transcript.as_ref().is_some_and(|part| part.held.is_none())),
        }
    }
    shared
}

/// Notes a visit that found nothing; the connection, if there was one, ended at `ended`.
pub fn failed(state: &mut State, visit: &Visit, missed: &Missed, now: DateTime<Utc>, ended: DateTime<Utc>) {
    let memory = state.visits.entry(visit.name.clone()).or_default();
    if let Outcome::Failed(fault) = &visit.outcome {
        quiet::ended(&mut memory.quiet, &missed.target, ended, missed.contact, Some(fault));
    }
    memory.repositories.clone_from(&visit.repositories);
    memory.failing.get_or_insert(now);
    (memory.tried, memory.outcome, memory.answered) = (Some(now), outcome_words(&visit.outcome), Some(false));
}

/// An outcome in one line.
#[must_use]
pub fn outcome_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Visited => "visited".to_owned(),
        Outcome::NotVisited { why } => why.clone(),
        Outcome::Failed(fault) => fault.message.clone(),
    }
}
