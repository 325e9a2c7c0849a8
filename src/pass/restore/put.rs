//! How it comes back: placed, timed, its side files first, and known to be here.

use std::path::Path;

use super::versions::{Kept, Version, versions};
use super::{Did, RestoreError, Restored, Work, disk};
use crate::pass::group::write_fork;
use crate::pass::round::{DEFAULT_RETENTION, retention_here, window};
use crate::reconcile::fork::fork;
use crate::reconcile::layout::{Rule, WORKSPACES, under};
use crate::reconcile::manifest::{Part, ProjectName, SessionId, StorePath};
use crate::reconcile::plan::Target;
use crate::reconcile::relation::Lines;
use crate::reconcile::restore::{Standing, Time, time};
use crate::reconcile::transcript::{Content, Digest, Moment};
use crate::store::apply::{Applied, Deferral, Expected, Job, apply};
use crate::store::archive::{Here as LastHere, Place, SideContent};
use crate::store::fetched;
use crate::store::live::registry;
use crate::store::read;
use crate::store::repositories::Clones;
use crate::store::tree::Tree;
use crate::store::vault::{Note, Reason};

impl Work {
    /// The session comes back where it was.
    pub(super) fn in_place(&mut self, id: SessionId, version: &Version, short: bool, project: ProjectName) -> Result<Restored, RestoreError> {
        if self.survey.here.registry.is_live(id, None, self.survey.here.now) {
            return Err(RestoreError::Live);
        }
        let mut restored = self.announced(id, &version.lines, &project);
        restored.short = short;
        let side: Vec<_> = self.survey.here.archive.records().get(&id).map(|record| record.side.clone()).unwrap_or_default().into_iter().collect();
        let mut sides = Vec::new();
        for (path, content) in side {
            let part = Part::Side(path.clone());
            // What stayed behind in the session's folder stays.
            if self.survey.here.sessions.get(&id).is_some_and(|session| session.side.contains_key(&path)) {
                continue;
            }
            match self.survey.here.archive.file(id, &part).filter(|file| holds(file, content.target())) {
                Some(file) => sides.push((part, file, content)),
                None => restored.left_out.push(path.as_str().to_owned()),
            }
        }
        restored.side = sides.len();
        if self.dry_run {
            return Ok(restored);
        }
        let expired = restored.expired.is_some();
        self.ready(id, &version.lines, &version.path)?;
        for (part, file, content) in sides {
            let target = self.side_target(&content, expired);
            self.put(&project, id, part, &file, target)?;
        }
        self.transcript(&project, id, &version.lines, &version.path)?;
        self.settle(id, &version.lines, None)?;
        Ok(restored)
    }

    /// A version becomes the session that it would be had it lost in a pass.
    pub(super) fn as_new(&mut self, origin: SessionId, version: &Version) -> Result<Did, RestoreError> {
        let id = version.fork;
        if let Some(session) = self.survey.here.sessions.get(&id).filter(|session| session.transcript.is_some()) {
            return Ok(Did::LiesHere { session: id, path: self.survey.here.file(&session.project, id, &Part::Transcript) });
        }
        if let Some(why) = self.survey.here.refused.get(&id) {
            return Err(RestoreError::Refused(why.clone()));
        }
        let project = self.place(id, origin, &version.directories).ok_or(RestoreError::NoPlace)?;
        // It was here once, and may have been continued since: then that comes back.
        let mut kept = versions(&self.survey.here, id);
        if let Some(newest) = kept.drain(..).find(|kept| kept.standing == Standing::Counts && !kept.damaged) {
            let restored = self.in_place(id, &newest, false, project)?;
            self.note_fork(origin, version)?;
            return Ok(Did::Restored(restored));
        }
        if self.survey.here.registry.is_live(id, None, self.survey.here.now) {
            return Err(RestoreError::Live);
        }
        let fork = fork(origin, &version.lines);
        if self.dry_run {
            let mut restored = self.announced(id, &version.lines, &project);
            restored.bytes += fork.title_line.len() as u64;
            restored.title = Some(fork.title);
            return Ok(Did::Restored(restored));
        }
        let (lines, staged) = write_fork(&self.survey.here.vault, &version.lines, &version.path, &fork.title_line).map_err(disk("the stage"))?;
        let restored = self.announced(id, &lines, &project);
        let place = self.belongs(origin);
        let done = self.ready(id, &lines, &staged).and_then(|()| self.transcript(&project, id, &lines, &staged)).and_then(|()| self.settle(id, &lines, place));
        let done = done.and_then(|()| self.note_fork(origin, version));
        let discarded = fetched::discard(&staged).map_err(disk("the stage"));
        done.and(discarded)?;
        Ok(Did::Restored(restored))
    }

    /// A copy that lost is a session now: `conflicts` says so.
    fn note_fork(&mut self, origin: SessionId, version: &Version) -> Result<(), RestoreError> {
        if self.dry_run || !matches!(version.kept, Kept::Displaced { reason: Reason::Lost, .. }) {
            return Ok(());
        }
        let vault = &mut self.survey.here.vault;
        // It may lie there twice, and any of the two may be the one that speaks.
        let is_it = |note: &Note| note.session == origin && note.digest == version.digest() && note.reason == Reason::Lost;
        let paths: Vec<_> = vault.objects().iter().filter(|object| is_it(&object.note)).map(|object| object.path.clone()).collect();
        let noted = paths.iter().try_for_each(|path| vault.annotate(path, |note| note.fork = Some(version.fork)));
        noted.map_err(disk("the vault"))
    }

    /// The repository that a session belongs to, as far as that is known.
    fn belongs(&self, id: SessionId) -> Option<Place> {
        let here = self.survey.here.sessions.get(&id).and_then(|session| session.place.clone());
        here.or_else(|| self.survey.here.archive.records().get(&id)?.place.clone())
    }

    fn announced(&self, id: SessionId, lines: &Lines, project: &ProjectName) -> Restored {
        let path = self.survey.here.file(project, id, &Part::Transcript);
        let expired = self.time(lines).expired.then(|| self.retention());
        let (title, bytes) = (lines.title.clone(), lines.content.length);
        Restored { session: id, path, title, bytes, side: 0, left_out: Vec::new(), expired, short: false }
    }

    fn retention(&self) -> u32 {
        retention_here(&self.survey.here).unwrap_or(DEFAULT_RETENTION)
    }

    fn time(&self, lines: &Lines) -> Time {
        let now = self.survey.now;
        time(&lines.content, window(now, 0, Some(self.retention())).retention, Moment(now.timestamp_micros()))
    }

    /// The time of a file that is no list of lines is a part of it, and stays.
    fn side_target(&self, content: &SideContent, expired: bool) -> Target {
        let (length, digest) = content.target();
        let modified = match content {
            SideContent::Whole(whole) => Some(whole.modified),
            SideContent::Lines(_) if expired => Some(self.survey.now.timestamp()),
            SideContent::Lines(content) => content.newest_message.or(content.newest).map(Moment::seconds),
        };
        Target { length, digest, modified }
    }

    /// The store is there and has an id, and the archive knows the content, before anything is installed.
    fn ready(&mut self, id: SessionId, lines: &Lines, source: &Path) -> Result<(), RestoreError> {
        let (here, now) = (&mut self.survey.here, self.survey.now);
        if here.tree.is_none() {
            here.tree = Some(Tree::create(&here.setting.claude).map_err(disk("the store"))?);
        }
        let replica = here.named().ok_or_else(|| disk("the store's id")(std::io::ErrorKind::PermissionDenied.into()))?;
        if !here.sessions.values().any(|session| session.transcript.is_some()) {
            // With one session in it, all others would count as deleted.
            here.archive.lost_nothing(replica);
        }
        let note = |content: &Content| {
            let note = Note::new(id, Part::Transcript, Reason::Lost, "here", now, (content.length, content.digest));
            Note { title: lines.title.clone(), ..note }
        };
        here.archive.take(&mut here.vault, id, lines, source, note).map_err(disk("the archive"))?;
        here.archive.settle().map_err(disk("the archive"))
    }

    fn transcript(&mut self, project: &ProjectName, id: SessionId, lines: &Lines, source: &Path) -> Result<(), RestoreError> {
        let target = Target { length: lines.content.length, digest: lines.content.digest, modified: self.time(lines).modified };
        self.put(project, id, Part::Transcript, source, target)
    }

    fn put(&mut self, project: &ProjectName, id: SessionId, part: Part, source: &Path, target: Target) -> Result<(), RestoreError> {
        let path = StorePath { project: project.clone(), session: id, part };
        let here = &mut self.survey.here;
        let Some(tree) = &here.tree else { return Err(disk("the store")(std::io::ErrorKind::NotFound.into())) };
        let transcript = StorePath { part: Part::Transcript, ..path.clone() };
        let (claude, now) = (&here.setting.claude, here.now);
        let is_live = || Ok(registry(claude)?.is_live(id, tree.status(&transcript)?.map(|status| status.stamp), now));
        let job = Job { path: &path, expected: Expected::Absent, target, source, is_live: &is_live };
        match apply(tree, &mut here.vault, &job).map_err(disk("the store"))? {
            Applied::Done => Ok(()),
            Applied::Deferred(Deferral::Live) => Err(RestoreError::Live),
            Applied::Deferred(Deferral::Changed) => Err(RestoreError::Changed(here.file(project, id, &path.part))),
        }
    }

    /// What came back is known to be here, so that its deletion would be one.
    fn settle(&mut self, id: SessionId, lines: &Lines, place: Option<Place>) -> Result<(), RestoreError> {
        let here = &mut self.survey.here;
        let last = here.replica.map(|replica| LastHere { replica, length: lines.content.length, digest: lines.content.digest });
        here.archive.saw(id, last, place);
        here.archive.settle().map_err(disk("the archive"))?;
        if let Err(error) = self.survey.state.save() {
            tracing::warn!(%error, "the state was not saved, so the next pass takes longer");
        }
        Ok(())
    }

    /// The project directory of a session: where its folder lies, or its origin does; else by the origin's repository, in the clone
    /// that its lines name if that is one; else by the working directory that its lines name. What is no fork is its own origin.
    pub(super) fn place(&mut self, id: SessionId, origin: SessionId, directories: &[String]) -> Option<ProjectName> {
        let sessions = &self.survey.here.sessions;
        if let Some(session) = sessions.get(&id).or_else(|| sessions.get(&origin)) {
            return Some(session.project.clone());
        }
        let named = directories.iter().find(|directory| directory.starts_with('/')).map(|directory| ProjectName::of(directory));
        let Some(place) = self.belongs(origin) else { return named };
        if let Some(own) = self.own_clone(&place, directories) {
            return Some(own);
        }
        let far_root = format!("{WORKSPACES}/{}", place.repository.name());
        let (project, rule) = self.survey.here.directory_for(&place, &far_root, &mut self.survey.state);
        if let (Rule::NoClone, Some(named)) = (rule, named) {
            return Some(named);
        }
        self.survey.state.rules.insert(id, (project.clone(), rule));
        Some(project)
    }

    /// A directory that its lines name, if the store has it, it is of the same repository and stands for the same path in it: the
    /// session may have been written in another clone, or worktree, than the one for new sessions.
    fn own_clone(&mut self, place: &Place, directories: &[String]) -> Option<ProjectName> {
        let (git, projects) = (self.survey.here.setting.git.clone(), self.survey.here.setting.claude.join("projects"));
        let mut clones = Clones::new(&git, &mut self.survey.state.clones);
        let is_own = |directory: &&String| {
            let Some(checkout) = clones.of(Path::new(directory)) else { return false };
            let below = checkout.root.to_str().and_then(|root| under(directory, root));
            let is_known = projects.join(ProjectName::of(directory).as_str()).is_dir();
            is_known && checkout.remotes.contains(&place.repository) && below == Some(&*place.below)
        };
        directories.iter().filter(|directory| directory.starts_with('/')).find(is_own).map(|directory| ProjectName::of(directory))
    }
}

/// Whether a file begins with these bytes. What cannot be read does not.
fn holds(file: &Path, (length, digest): (u64, Digest)) -> bool {
    read::open(file).and_then(|file| read::prefix(&file, length)).is_ok_and(|found| found == Some(digest))
}
