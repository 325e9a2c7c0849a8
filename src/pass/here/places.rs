//! Where the sessions here belong, and where one that comes is put: by clones, configured or found, else by what the archive remembers.
//!
//! Promises: a session that was brought here for one repository is never taken for another's because of who works beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{Here, Rule};
use crate::reconcile::layout::{join, under};
use crate::reconcile::manifest::ProjectName;
use crate::reconcile::project::RepositoryId;
use crate::state::State;
use crate::store::archive::Place;
use crate::store::repositories::{Checkout, Clones};

impl Here {
    /// Finds the repository of every session: by the clone that its directory's own working directory lies in, else by what
    /// the archive remembers of it.
    pub(super) fn place(&mut self, directories: &BTreeMap<ProjectName, Vec<String>>, state: &mut State, known: &BTreeSet<RepositoryId>) {
        let mut memory = std::mem::take(&mut state.clones);
        let git = self.setting.git.clone();
        let mut clones = Clones::new(&git, &mut memory);
        let mut places: BTreeMap<&ProjectName, (Place, PathBuf)> = BTreeMap::new();
        for (project, speaking) in directories {
            let mut found = speaking.iter().filter_map(|directory| {
                let checkout = clones.of(Path::new(directory))?;
                let repository = self.configured_as(&checkout.root).or_else(|| chosen(&checkout, known))?;
                let below = under(directory, checkout.root.to_str()?)?.to_owned();
                Some((Place { repository, below }, checkout))
            });
            let first = found.next();
            // Where two that are written alike belong to two repositories, neither speaks for what lies there.
            let others = found.any(|(place, _)| first.as_ref().is_some_and(|(first, _)| first.repository != place.repository));
            if let Some((place, checkout)) = first.filter(|_| !others) {
                places.insert(project, (place, checkout.root.clone()));
                self.clones.entry(checkout.root.clone()).or_insert((checkout, i64::MIN));
            }
        }
        let mut brought = Vec::new();
        for (id, session) in &mut self.sessions {
            let remembered = self.archive.records().get(id).and_then(|record| record.place.as_ref());
            let Some((place, root)) = places.get(&session.project) else {
                session.place = remembered.cloned();
                continue;
            };
            if let (Some((stamp, _)), Some((_, newest))) = (&session.transcript, self.clones.get_mut(root)) {
                *newest = (*newest).max(stamp.modified);
            }
            if let Some(remembered) = remembered.filter(|remembered| !session.speaks && remembered.repository != place.repository) {
                brought.push((*id, remembered.clone(), root.clone()));
            }
            session.place = Some(place.clone());
        }
        let spoken_for: BTreeMap<_, _> = places.into_iter().map(|(project, (_, root))| (project.clone(), root)).collect();
        self.spoken_for = spoken_for;
        state.clones = memory;
        // Where two directories are written alike, what was brought for the one repository is not the other's because a client works there.
        for (id, remembered, beside) in brought {
            let root = self.root_for(&remembered.repository, state).map(|(root, _)| root).filter(|root| *root != beside);
            let is_there = |project: &ProjectName| root.is_some_and(|root| below(&root, &remembered) == *project);
            if let Some(session) = self.sessions.get_mut(&id).filter(|session| is_there(&session.project)) {
                session.place = Some(remembered);
            }
        }
    }

    /// The clone by which the repository of a project directory is known; none where only the archive remembers it.
    #[must_use]
    pub fn clone_of(&self, project: &ProjectName) -> Option<&Path> {
        self.spoken_for.get(project).map(PathBuf::as_path)
    }

    fn configured_as(&self, root: &Path) -> Option<RepositoryId> {
        self.setting.configured.iter().find(|(_, path)| path.canonicalize().is_ok_and(|path| path == root)).map(|(repository, _)| repository.clone())
    }

    /// The project directory for a session of `place` that is not here yet, by the rules in their order.
    pub fn directory_for(&self, place: &Place, far_root: &str, state: &mut State) -> (ProjectName, Rule) {
        match self.root_for(&place.repository, state) {
            Some((root, rule)) => (below(&root, place), rule),
            None => (ProjectName::of(&join(far_root, &place.below)), Rule::NoClone),
        }
    }

    /// The clone for new sessions of a repository.
    fn root_for(&self, repository: &RepositoryId, state: &mut State) -> Option<(PathBuf, Rule)> {
        let at = |root: &Path, rule| Some((root.canonicalize().unwrap_or_else(|_| root.to_owned()), rule));
        if let Some((_, path)) = self.setting.configured.iter().find(|(configured, _)| configured == repository) {
            return at(path, Rule::Configured);
        }
        let used = self.clones.values().filter(|(checkout, _)| checkout.remotes.contains(repository));
        // A clone whose own repository it is comes before one that merely has it as another remote.
        let best = used.max_by_key(|(checkout, newest)| (checkout.remotes.first() == Some(repository), *newest, std::cmp::Reverse(checkout.root.clone())));
        if let Some((checkout, _)) = best {
            return at(&checkout.root, Rule::UsedLast);
        }
        let found = self.found.get_or_init(|| Clones::new(&self.setting.git, &mut state.clones).below(&self.setting.clone_roots));
        let found = found.iter().filter(|checkout| checkout.remotes.contains(repository));
        let best = found.min_by_key(|checkout| (checkout.remotes.first() != Some(repository), &checkout.root))?;
        at(&best.root, Rule::Found)
    }
}

fn below(root: &Path, place: &Place) -> ProjectName {
    ProjectName::of(&join(&root.to_string_lossy(), &place.below))
}

/// Which of a clone's remotes it stands for: the first that takes part, else the first.
fn chosen(checkout: &Checkout, known: &BTreeSet<RepositoryId>) -> Option<RepositoryId> {
    checkout.remotes.iter().find(|remote| known.contains(remote)).or(checkout.remotes.first()).cloned()
}
