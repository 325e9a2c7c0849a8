//! The plan of a group is carried out: here first, then at every far member, each outcome noted as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::group::{Group, GroupPlan};
use super::here::{Here, Rule};
use super::sources::Sources;
use crate::codespace::wire::{DataSource, Operation, PutFile};
use crate::reconcile::layout::WORKSPACES;
use crate::reconcile::manifest::{Part, ProjectName, SessionId, StorePath};
use crate::reconcile::plan::{Presence, Side, Step, StepKind, Target};
use crate::reconcile::project::RepositoryId;
use crate::reconcile::report::{Action, ActionResult, Unplaced, Verb};
use crate::reconcile::transcript::{Content, Digest};
use crate::state::{Held, State};
use crate::store::archive::Place;
use crate::store::read;
use crate::store::vault::{Note, Reason};

use super::visit::Seen;

/// Where each session of a group goes, at every member.
#[derive(Debug, Default)]
pub struct Placement {
    /// Project directories here.
    pub here: BTreeMap<SessionId, ProjectName>,
    /// The path below the repository's root that each stands for.
    pub below: BTreeMap<SessionId, String>,
    /// Sessions here for which no clone was known.
    pub unplaced: Vec<Unplaced>,
}

/// Decides where sessions go. A fork goes where its origin is.
pub fn place(repository: &RepositoryId, plan: &GroupPlan, here: &Here, far: &[(&Seen, usize)], state: &mut State) -> Placement {
    let mut placement = Placement::default();
    let depths = plan.depths();
    let mut ids: Vec<SessionId> = plan.sessions.keys().copied().collect();
    ids.sort_by_key(|id| depths.get(id));
    for id in ids {
        let origin = plan.origins.get(&id).copied().unwrap_or(id);
        let there = far.iter().find_map(|(seen, member)| {
            let member = &seen.members[*member];
            member.sessions.get(&id).or_else(|| member.sessions.get(&origin)).map(|session| (session.below.clone(), member.root().to_owned()))
        });
        let own = here.sessions.get(&id).or_else(|| here.sessions.get(&origin));
        let own_below = own.and_then(|session| session.place.as_ref()).map(|place| place.below.clone());
        let below = own_below.or_else(|| there.as_ref().map(|(below, _)| below.clone())).or_else(|| placement.below.get(&origin).cloned()).unwrap_or_default();
        let project = match own.map(|session| session.project.clone()).or_else(|| placement.here.get(&origin).cloned()) {
            Some(project) => project,
            None => {
                let far_root = there.map_or_else(|| format!("{WORKSPACES}/{}", repository.name()), |(_, root)| root);
                let (project, rule) = here.directory_for(&Place { repository: repository.clone(), below: below.clone() }, &far_root, state);
                if rule == Rule::NoClone {
                    placement.unplaced.push(Unplaced { repository: repository.clone(), project: project.to_string() });
                }
                state.rules.insert(id, (project.clone(), rule));
                project
            }
        };
        placement.here.insert(id, project);
        placement.below.insert(id, below);
    }
    placement.unplaced.sort();
    placement.unplaced.dedup();
    placement
}

/// The actions that a plan asks for, as yet without results; with each, its step. Forks come first, and a fork's fork before it: were
/// the loser displaced before its fork is there, and the pass cut off between the two, nobody would see any more that they had diverged.
#[must_use]
pub fn actions(repository: &RepositoryId, plan: &GroupPlan, group: &Group) -> Vec<(Action, Step)> {
    let depths = plan.depths();
    let mut actions = Vec::with_capacity(plan.sessions.values().map(|planned| planned.steps.len()).sum());
    let mut sessions: Vec<_> = plan.sessions.iter().collect();
    sessions.sort_by_key(|(id, _)| std::cmp::Reverse(depths.get(id)));
    for (id, planned) in sessions {
        for step in &planned.steps {
            let verb = match step.kind {
                StepKind::Create if step.part == Part::Transcript && plan.origins.contains_key(id) => Verb::Fork,
                StepKind::Create => Verb::Create,
                StepKind::Advance(_) => Verb::Extend,
                StepKind::Replace => Verb::Replace,
            };
            let before = if let StepKind::Advance(length) = step.kind { length } else { 0 };
            let action = Action {
                at: group.members[step.member].name.clone(),
                repository: repository.clone(),
                session: *id,
                title: planned.winner.title.clone(),
                part: step.part.clone(),
                verb,
                bytes: step.target.length.saturating_sub(before),
                result: None,
            };
            actions.push((action, step.clone()));
        }
    }
    actions
}

/// What the plan notes of a copy that a step displaces.
pub(super) fn note(session: SessionId, step: &Step, from: &str, presence: &Presence, plan: &GroupPlan, at: DateTime<Utc>) -> Option<Note> {
    let (length, digest, title) = match (&step.part, presence.transcript.as_ref()) {
        (Part::Transcript, Some(lines)) => (lines.content.length, lines.content.digest, lines.title.clone()),
        (Part::Transcript, None) => return None,
        (Part::Side(side), _) => {
            let (length, digest) = presence.side.get(side)?.target();
            (length, digest, None)
        }
    };
    let reason = match (step.kind, &step.part) {
        (StepKind::Advance(_), _) => Reason::Overtaken,
        (_, Part::Side(_)) => Reason::Side,
        _ => Reason::Lost,
    };
    let fork = plan
        .sessions
        .get(&session)
        .and_then(|planned| planned.losers.iter().find(|loser| loser.lines.content.digest == digest)?.fork.as_ref().map(|fork| fork.id));
    let mut note = Note::new(session, step.part.clone(), reason, from, at, (length, digest));
    (note.winner, note.fork, note.title) = (Some(step.target.digest), fork, title);
    Some(note)
}

/// Everything that carrying out a plan needs to know.
pub struct Work<'a> {
    /// The repository.
    pub repository: &'a RepositoryId,
    /// The plan.
    pub plan: &'a GroupPlan,
    /// What the members hold.
    pub group: &'a Group,
    /// Where bytes are.
    pub sources: &'a Sources,
    /// Where sessions go.
    pub placement: &'a Placement,
    /// The time of the pass.
    pub at: DateTime<Utc>,
}

/// Forks that are still to be made here, and stand nowhere yet.
#[derive(Debug, Default)]
pub struct Forks(BTreeSet<SessionId>);

impl Forks {
    /// Of a plan, as far as it is carried out.
    #[must_use]
    pub fn lacking(steps: &[(Action, Step)], group: &Group) -> Self {
        let transcripts = || steps.iter().filter(|(action, _)| action.part == Part::Transcript);
        let forks = transcripts().filter(|(action, step)| action.verb == Verb::Fork && step.member == 0).map(|(action, _)| action.session);
        // Of each: where it is planned, and whether it was made anywhere.
        let mut lacking: BTreeMap<SessionId, (BTreeSet<usize>, bool)> = forks.map(|fork| (fork, Default::default())).collect();
        for (action, step) in transcripts() {
            if let Some((planned, made)) = lacking.get_mut(&action.session) {
                planned.insert(step.member);
                *made |= action.result == Some(ActionResult::Done);
            }
        }
        lacking.retain(|fork, (planned, made)| {
            let held = |(member, presence): (usize, &Presence)| presence.transcript.is_some() && !planned.contains(&member);
            !*made && !group.presences.get(fork).into_iter().flatten().enumerate().any(held)
        });
        Self(lacking.into_keys().collect())
    }
}

impl Work<'_> {
    /// What keeps a step from being carried out: the copy that it displaces is to become a session, and is none anywhere. Once all
    /// members are equal nobody would know that they ever differed.
    #[must_use]
    pub fn premature(&self, action: &Action, step: &Step, forks: &Forks) -> Option<ActionResult> {
        let presence = self.group.presences.get(&action.session)?.get(step.member)?;
        let fork = note(action.session, step, &action.at, presence, self.plan, self.at)?.fork?;
        forks.0.contains(&fork).then(|| ActionResult::Deferred("the copy that lost becomes a session first".to_owned()))
    }

    /// Before anything is installed: every copy that will be displaced anywhere is in this machine's vault, and noted. A step
    /// whose displaced copy cannot be kept, because its bytes are not here, is not carried out.
    ///
    /// # Errors
    /// When the vault cannot be written: then nothing is installed.
    pub fn secure(&self, here: &mut Here, steps: &mut [(Action, Step)]) -> io::Result<()> {
        for (action, step) in steps.iter_mut() {
            let presence = &self.group.presences[&action.session][step.member];
            let Some(note) = note(action.session, step, &action.at, presence, self.plan, self.at).filter(|note| note.reason != Reason::Overtaken) else {
                continue;
            };
            // What is here is displaced by a link, which needs no source; and an empty copy has nothing to be kept.
            let needless = step.member == 0 || note.length == 0;
            let Some(source) = self.sources.find(note.digest) else {
                action.result = (!needless).then(|| ActionResult::Failed("the bytes that it would displace are not on this machine".to_owned()));
                continue;
            };
            let settled = Note { won_at: self.won_at(action.session, &step.part, step.target.digest), ..note };
            match here.vault.copy(source, settled.clone()) {
                // A newer copy took its place in the archive since: it is fetched again. The other files do not wait for that.
                Err(error) if read::is_the_file(&error) || !read::is_readable(source) => {
                    action.result = (!needless).then(|| ActionResult::Failed("the bytes that it would displace are no longer on this machine".to_owned()));
                    continue;
                }
                kept => kept?,
            }
            // It may be here already, noted when it was fetched: then nothing was decided, and the archive's copy, which it
            // displaced or by which it was displaced, may have been anybody's.
            let Some(path) = here.vault.find(settled.session, settled.digest).map(|object| object.path.clone()) else { continue };
            here.vault.annotate(&path, |note| {
                (note.winner, note.fork, note.won_at) = (settled.winner, settled.fork, settled.won_at.clone());
                note.from.clone_from(&settled.from);
            })?;
        }
        self.archive_forks(here, steps)?;
        here.archive.settle()
    }

    /// A new fork was in nobody's store, so the archive does not know it yet; without a line there, nothing says where it belongs, and
    /// one that comes to be elsewhere alone would be fetched from there.
    fn archive_forks(&self, here: &mut Here, steps: &[(Action, Step)]) -> io::Result<()> {
        let created = steps.iter().filter(|(action, _)| action.verb == Verb::Fork && action.result.is_none());
        for id in created.map(|(action, _)| action.session) {
            let (Some(planned), None) = (self.plan.sessions.get(&id), here.archive.records().get(&id)) else { continue };
            let Some(source) = self.sources.find(planned.winner.content.digest) else { continue };
            let note = |content: &Content| Note::new(id, Part::Transcript, Reason::Lost, "here", self.at, (content.length, content.digest));
            match here.archive.take(&mut here.vault, id, &planned.winner, source, note) {
                // Then it cannot be made anywhere, which its steps will tell.
                Err(error) if read::is_the_file(&error) => continue,
                taken => taken?,
            }
            here.archive.saw(id, None, Some(self.place(id)));
        }
        Ok(())
    }

    /// Where a session belongs.
    pub(super) fn place(&self, id: SessionId) -> Place {
        Place { repository: self.repository.clone(), below: self.placement.below.get(&id).cloned().unwrap_or_default() }
    }

    /// Whose copies hold the content that won.
    fn won_at(&self, session: SessionId, part: &Part, winner: Digest) -> Vec<String> {
        let holds = |presence: &Presence| match part {
            Part::Transcript => presence.transcript.as_ref().is_some_and(|lines| lines.content.digest == winner),
            Part::Side(side) => presence.side.get(side).is_some_and(|side| side.target().1 == winner),
        };
        let presences = self.group.presences.get(&session).into_iter().flatten();
        self.group.members.iter().zip(presences).filter(|(_, presence)| holds(presence)).map(|(member, _)| member.name.clone()).collect()
    }

    /// What a part holds once its step is done.
    #[must_use]
    pub fn held(&self, id: SessionId, part: &Part) -> Option<Held> {
        match part {
            Part::Transcript => self.plan.sessions.get(&id).map(|planned| Held::Lines { lines: Arc::clone(&planned.winner), directories: Vec::new() }),
            Part::Side(side) => {
                let target = self.plan.sessions.get(&id)?.steps.iter().find(|step| step.part == *part)?.target;
                let held = self.group.presences.get(&id)?.iter().find_map(|presence| presence.side.get(side).filter(|held| Target::of(held) == target))?;
                Some(match held {
                    Side::Lines(lines) => Held::Lines { lines: lines.clone(), directories: Vec::new() },
                    Side::Whole(whole) => Held::Whole(whole.clone()),
                })
            }
        }
    }

    /// One file for a far member; none where it cannot be placed there.
    ///
    /// # Errors
    /// Why it cannot be sent, for people.
    pub fn to_send(&self, seen: &Seen, member: usize, number: u32, action: &Action, step: &Step) -> Result<PutFile, String> {
        let id = action.session;
        let there = &seen.members[member];
        let session = there.sessions.get(&id);
        let beside = session.or_else(|| self.plan.origins.get(&id).and_then(|origin| there.sessions.get(origin)));
        let below = self.placement.below.get(&id).map_or("", String::as_str);
        let project = beside.map_or_else(|| there.room_for(below), |session| Ok(session.project.clone()))?;
        let path = StorePath { project, session: id, part: step.part.clone() };
        if let Some(why) = there.in_the_way(&path) {
            return Err(why);
        }
        let part = session.and_then(|session| session.part(&step.part));
        let base = if let StepKind::Advance(length) = step.kind { length } else { 0 };
        let source: &PathBuf = self.sources.find(step.target.digest).ok_or("its bytes are not here")?;
        let operation = match (step.kind, part) {
            (StepKind::Create, _) => Operation::Create,
            (_, Some(part)) => Operation::Replace { token: part.token.clone(), base },
            (_, None) => return Err("it is no longer there".to_owned()),
        };
        Ok(PutFile {
            n: number,
            operation,
            size: step.target.length,
            sha256: step.target.digest.0,
            path,
            mtime: part.map_or(step.target, |part| step.target_over(part.stamp)).modified.unwrap_or(0),
            data: DataSource { path: source.clone(), offset: base, len: step.target.length - base },
        })
    }
}
