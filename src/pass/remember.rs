//! What is remembered of a round, and what the report says of its visits.
//!
//! Promises: what is remembered is what was seen, or what came of a put. Sessions that are gone keep their last content.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::connect::Missed;
use super::faults;
use super::member::FarMember;
use super::quiet::{self, Contact};
use super::round::{Planned, Round, done_at, word};
use super::send::Visited;
use super::target::{Reach, Target};
use super::visit::Seen;
use crate::reconcile::manifest::{Part, StorePath};
use crate::reconcile::report::{ActionResult, Outcome, Skipped, Visit};
use crate::state::{FarMemory, Held, PlaceKind, ReplicaMemory, SharedMemory, State};

/// A clock that is off by more than this is mentioned, in seconds.
const CLOCK_TOLERANCE: i64 = 300;
/// A codespace that GitHub's list lacks for so long is forgotten.
const FORGET_AFTER: TimeDelta = TimeDelta::days(30);
/// A replica that no visit has found for so long is: each rebuild of a container makes a new one.
const FORGET_REPLICA_AFTER: TimeDelta = TimeDelta::days(180);

/// Folds what came of the visits into state and report.
pub(super) fn fold(round: &mut Round, visits: Vec<Visited>, planned: Vec<Planned>) {
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
    let not_home = transcripts.iter().filter(|path| !seen.members.iter().any(|member| is_home(member, path))).count() + seen.late_lines_away(&round.bases);
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
            let heard = round.state.heard.entry(replica).or_insert(round.now);
            *heard = round.now.max(*heard);
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

/// Forgets the replicas that no visit finds any more, so that what is remembered does not grow with each rebuild. The last one of a place
/// that is there still may only be switched off.
pub fn forget_replicas(state: &mut State, now: DateTime<Utc>) {
    let State { replicas, heard, visits, .. } = state;
    let there: BTreeSet<Uuid> = visits.values().filter_map(|memory| memory.replica).collect();
    replicas.retain(|replica, _| now - *heard.entry(*replica).or_insert(now) < FORGET_REPLICA_AFTER || there.contains(replica));
    heard.retain(|replica, _| replicas.contains_key(replica));
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
