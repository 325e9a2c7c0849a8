//! The files of a plan that go to this machine: many of them are staged, wait for the disk together, and are then given their
//! names one by one.
//!
//! Promises: in the order of the plan, so side files come before their transcript; no copy is displaced that is to become a session
//! and could not be made one; a content is durable before it is given a name in the store; what is there is looked at before the
//! new file is staged and once more before it is replaced, however many files lie in between. A batch that the disk refuses changes
//! nothing.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use uuid::Uuid;

use super::clock::nanoseconds;
use super::here::Here;
use super::install::{Forks, Work, note};
use super::logged;
use crate::reconcile::manifest::{Part, SessionId, StorePath};
use crate::reconcile::plan::{Step, StepKind};
use crate::reconcile::report::{Action, ActionResult, Verb};
use crate::state::{Held, State};
use crate::store::apply::{Applied, Deferral, Durable, Expected, Job, Staged, install, make_durable, stage};
use crate::store::archive::Here as LastHere;
use crate::store::ensure_replica_id;
use crate::store::live::registry;
use crate::store::tree::Tree;

/// Most files that wait for the disk together: so many may be left in the stage by a crash.
const MOST: usize = 256;

/// Installs here what has no result yet, and gives it one. `failed` hears what this machine's file system said; nothing is lost
/// by that.
pub(super) fn install_here(
    work: &Work<'_>,
    (here, state): (&mut Here, &mut State),
    actions: &mut [(Action, Step)],
    now: SystemTime,
    failed: &mut dyn FnMut(&io::Error),
) {
    let mut told = |action: &mut Action, result: io::Result<Applied>| {
        action.result = Some(match result {
            Ok(Applied::Done) => ActionResult::Done,
            Ok(Applied::Deferred(Deferral::Live)) => ActionResult::Deferred("open in a client here".to_owned()),
            Ok(Applied::Deferred(Deferral::Changed)) => ActionResult::Deferred("written to in the meantime".to_owned()),
            Err(error) => {
                failed(&error);
                ActionResult::Failed(error.to_string())
            }
        });
        logged::file(action);
    };
    let is_made = |(action, step): &(Action, Step)| step.member == 0 && action.verb == Verb::Fork;
    let made: BTreeSet<SessionId> = actions.iter().filter(|file| is_made(file)).map(|(action, _)| action.session).collect();
    for forks_first in [true, false] {
        let forks = Forks::lacking(actions, work.group);
        let open = actions.iter_mut().filter(|(action, step)| step.member == 0 && action.result.is_none() && made.contains(&action.session) == forks_first);
        let mut ready: Vec<_> = Vec::new();
        for file in open {
            match work.premature(&file.0, &file.1, &forks) {
                None => ready.push(file),
                later => file.0.result = later,
            }
        }
        for files in ready.chunks_mut(MOST) {
            let broken = Batch::begin(work, here, state, now).and_then(|mut batch| batch.run(files, &mut told));
            // Whatever it was, it was the same for all of them.
            if let Err(error) = broken {
                let again = || io::Error::new(error.kind(), error.to_string());
                files.iter_mut().filter(|(action, _)| action.result.is_none()).for_each(|(action, _)| told(action, Err(again())));
            }
        }
    }
}

struct Batch<'b, 'w> {
    work: &'b Work<'w>,
    here: &'b mut Here,
    state: &'b mut State,
    now: SystemTime,
    /// The store's id.
    replica: Uuid,
}

/// A file whose new content is in the stage.
struct Waiting {
    path: StorePath,
    expected: Expected,
    source: PathBuf,
    /// What it held.
    before: Option<Arc<Held>>,
}

impl<'b, 'w> Batch<'b, 'w> {
    fn begin(work: &'b Work<'w>, here: &'b mut Here, state: &'b mut State, now: SystemTime) -> io::Result<Self> {
        let replica = ensure_replica_id(&here.setting.claude)?;
        here.replica = Some(replica);
        if here.tree.is_none() {
            here.tree = Some(Tree::create(&here.setting.claude)?);
        }
        Ok(Self { work, here, state, now, replica })
    }

    /// # Errors
    /// When the disk did not take them: those that have no result are as they were.
    fn run(&mut self, files: &mut [&mut (Action, Step)], told: &mut dyn FnMut(&mut Action, io::Result<Applied>)) -> io::Result<()> {
        let (mut waiting, mut staged) = (Vec::new(), Vec::new());
        for (at, (action, step)) in files.iter_mut().map(|file| &mut **file).enumerate() {
            match self.stage(action, step) {
                Ok(Ok((file, new))) => {
                    waiting.push((at, file));
                    staged.push(new);
                }
                Ok(Err(deferral)) => told(action, Ok(Applied::Deferred(deferral))),
                Err(error) => told(action, Err(error)),
            }
        }
        for ((at, file), new) in waiting.into_iter().zip(make_durable(&self.here.vault, staged)?) {
            let (action, step) = &mut *files[at];
            let named = self.give_name(action, step, &file, new);
            told(action, named);
        }
        Ok(())
    }

    fn stage(&mut self, action: &Action, step: &Step) -> io::Result<Result<(Waiting, Staged), Deferral>> {
        let project = self.work.placement.here.get(&action.session).ok_or(io::ErrorKind::NotFound)?.clone();
        let path = StorePath { project, session: action.session, part: step.part.clone() };
        let source = self.work.sources.find(step.target.digest).ok_or_else(|| io::Error::other("its bytes are not here"))?.clone();
        let expected = self.expected(action, step)?;
        let before = if let Expected::File { stamp, .. } = &expected { self.state.held(*stamp) } else { None };
        let tree = self.here.tree.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let file = Waiting { path, expected, source, before };
        let staged = stage(tree, &self.here.vault, &file.job(step, &|| Ok(false)))?;
        Ok(staged.map(|staged| (file, staged)))
    }

    fn give_name(&mut self, action: &Action, step: &Step, file: &Waiting, new: Durable) -> io::Result<Applied> {
        let (id, claude) = (action.session, self.here.setting.claude.clone());
        let tree = self.here.tree.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let transcript = StorePath { part: Part::Transcript, ..file.path.clone() };
        let is_live = || Ok(registry(&claude)?.is_live(id, tree.status(&transcript)?.map(|status| status.stamp), self.now));
        let applied = install(tree, &mut self.here.vault, &file.job(step, &is_live), new)?;
        if applied == Applied::Done {
            // A fork may be the only session in its directory that was begun here: what stands in it is looked at as well.
            let held = self.work.held(id, &step.part).filter(|_| action.verb != Verb::Fork);
            let held = held.and_then(|held| known_beside(held, step.kind, file.before.as_deref()));
            if let (Some(status), Some(held)) = (tree.status(&file.path)?, held) {
                self.state.remember(status.stamp, &Arc::new(held), nanoseconds(self.now));
            }
            if step.part == Part::Transcript {
                let last = LastHere { replica: self.replica, length: step.target.length, digest: step.target.digest };
                self.here.archive.saw(id, Some(last), Some(self.work.place(id)));
            }
        }
        Ok(applied)
    }

    fn expected(&self, action: &Action, step: &Step) -> io::Result<Expected> {
        if step.kind == StepKind::Create {
            return Ok(Expected::Absent);
        }
        let id = action.session;
        let session = self.here.sessions.get(&id).ok_or(io::ErrorKind::NotFound)?;
        let stamp = match &step.part {
            Part::Transcript => session.transcript.as_ref().map(|(stamp, _)| *stamp),
            Part::Side(side) => session.side.get(side).map(|(stamp, _)| *stamp),
        };
        let stamp = stamp.ok_or(io::ErrorKind::NotFound)?;
        let presence = &self.work.group.presences[&id][step.member];
        let note = note(id, step, &action.at, presence, self.work.plan, self.work.at).ok_or(io::ErrorKind::NotFound)?;
        Ok(Expected::File { stamp, length: note.length, digest: note.digest, note: Box::new(note) })
    }
}

impl Waiting {
    fn job<'j>(&'j self, step: &Step, is_live: &'j dyn Fn() -> io::Result<bool>) -> Job<'j> {
        let target = match &self.expected {
            Expected::File { stamp, .. } => step.target_over(*stamp),
            Expected::Absent => step.target,
        };
        Job { path: &self.path, expected: self.expected.clone(), target, source: &self.source, is_live }
    }
}

/// What may be remembered of an installed file. The working directories in it may be all that tells whose its project
/// directory is, and a plan does not know them: those of the lines that it extends still stand in it, else it is read again.
fn known_beside(held: Held, kind: StepKind, before: Option<&Held>) -> Option<Held> {
    match (held, kind, before) {
        (Held::Lines { lines, .. }, StepKind::Advance(_), Some(Held::Lines { directories, .. })) => {
            Some(Held::Lines { lines, directories: directories.clone() })
        }
        (Held::Lines { .. }, StepKind::Advance(_) | StepKind::Replace, _) => None,
        (held, ..) => Some(held),
    }
}
