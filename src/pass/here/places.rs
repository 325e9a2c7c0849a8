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
                brought.push((*id, session.project.clone(), remembered.clone(), root.clone()));
            }
            session.place = Some(place.clone());
        }
        let spoken_for: BTreeMap<_, _> = places.into_iter().map(|(project, (place, root))| (project.clone(), (place.repository, root))).collect();
        self.spoken_for = spoken_for;
        state.clones = memory;
        // Where two directories are written alike, what was brought for the one repository is not the other's because a client works there.
        for (id, project, remembered, beside) in brought {
            if self.has_a_clone_beside(&beside, &remembered, &project, state)
                && let Some(session) = self.sessions.get_mut(&id)
            {
                session.place = Some(remembered);
            }
        }
    }

    /// Whether a clone of a place's repository has this project directory for it, too; one around the other clone has not, for that is the
    /// same directory.
    fn has_a_clone_beside(&self, clone: &Path, place: &Place, project: &ProjectName, state: &mut State) -> bool {
        let has = |root: &Path| !clone.starts_with(root) && below(root, place) == *project;
        let is_of = |checkout: &&Checkout| checkout.remotes.contains(&place.repository);
        self.configured(&place.repository).is_some_and(|root| has(&root))
            || self.clones.values().map(|(checkout, _)| checkout).filter(is_of).any(|checkout| has(&checkout.root))
            || self.found(state).iter().filter(is_of).any(|checkout| has(&checkout.root))
    }

    /// The clone by which a project directory is known to be of this repository; none where only the archive remembers it.
    #[must_use]
    pub fn clone_of(&self, project: &ProjectName, repository: &RepositoryId) -> Option<&Path> {
        self.spoken_for.get(project).filter(|(spoken, _)| spoken == repository).map(|(_, root)| root.as_path())
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
        if let Some(root) = self.configured(repository) {
            return Some((root, Rule::Configured));
        }
        let used = self.clones.values().filter(|(checkout, _)| checkout.remotes.contains(repository));
        // A clone whose own repository it is comes before one that merely has it as another remote.
        let best = used.max_by_key(|(checkout, newest)| (checkout.remotes.first() == Some(repository), *newest, std::cmp::Reverse(checkout.root.clone())));
        if let Some((checkout, _)) = best {
            return Some((real(&checkout.root), Rule::UsedLast));
        }
        let found = self.found(state).iter().filter(|checkout| checkout.remotes.contains(repository));
        let best = found.min_by_key(|checkout| (checkout.remotes.first() != Some(repository), &checkout.root))?;
        Some((real(&best.root), Rule::Found))
    }

    fn configured(&self, repository: &RepositoryId) -> Option<PathBuf> {
        self.setting.configured.iter().find(|(configured, _)| configured == repository).map(|(_, path)| real(path))
    }

    fn found(&self, state: &mut State) -> &[Checkout] {
        self.found.get_or_init(|| Clones::new(&self.setting.git, &mut state.clones).below(&self.setting.clone_roots))
    }
}

/// The path without links, as a client's working directory is written.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn below(root: &Path, place: &Place) -> ProjectName {
    ProjectName::of(&join(&root.to_string_lossy(), &place.below))
}

/// Which of a clone's remotes it stands for: the first that takes part, else the first.
fn chosen(checkout: &Checkout, known: &BTreeSet<RepositoryId>) -> Option<RepositoryId> {
    checkout.remotes.iter().find(|remote| known.contains(remote)).or(checkout.remotes.first()).cloned()
}
