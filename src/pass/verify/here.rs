//! This machine's sessions, each read again from its first byte to its last.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::judge::{self, Known};
use super::{Judged, Outcome, Verified};
use crate::config::SyncPolicy;
use crate::pass::round::{DEFAULT_RETENTION, retention_here};
use crate::pass::survey::{KnownBy, Survey};
use crate::pass::{PassError, Setting, here_error};
use crate::reconcile::layout::Rule;
use crate::reconcile::manifest::{ProjectName, SessionId};
use crate::reconcile::project::RepositoryId;
use crate::store::archive::Place;
use crate::store::inspect::{Lying, inspect};

/// Judges every synced session of this machine.
///
/// # Errors
/// When the store or the vault cannot be listed: nothing is concluded from half a listing.
pub fn here(setting: &Setting, now: DateTime<Utc>) -> Result<Verified, PassError> {
    let survey = Survey::open(setting, now)?;
    let lying = match &survey.here.tree {
        Some(tree) => inspect(tree).map_err(here_error("sessions"))?,
        None => BTreeMap::new(),
    };
    let kept = retention_here(&survey.here).unwrap_or(DEFAULT_RETENTION);
    let user = rustix::process::geteuid().as_raw();
    let mut looked = Look::at(survey);
    let mut sessions = Vec::new();
    for (session, copies) in lying {
        let Some(repository) = looked.repository(session, &copies).filter(|repository| setting.config.policy(repository) != SyncPolicy::Off) else { continue };
        if looked.is_left_over(session, &copies) {
            continue;
        }
        let stamp = copies.first().map(|copy| copy.status.stamp);
        let known = Known {
            open: looked.survey.here.registry.is_live(session, stamp, now.into()),
            misplaced: looked.misplaced(session, &copies),
            refused: looked.survey.here.refused.get(&session).cloned(),
            user,
            kept,
            now: now.timestamp(),
        };
        let title = copies.iter().find_map(|copy| copy.held.as_ref().ok()?.title.clone());
        let files = super::files(session, copies.iter().map(|copy| &copy.project));
        sessions.push(Judged { session, title, repository, files, open: known.open, faults: judge::here(&copies, &known) });
    }
    Ok(Verified { place: "here".to_owned(), outcome: Outcome::Looked, kept_days: kept, sessions, absent: 0 })
}

/// The survey, and which project directory a clone of which repository speaks for.
struct Look {
    survey: Survey,
    spoken_for: BTreeMap<ProjectName, RepositoryId>,
}

impl Look {
    fn at(survey: Survey) -> Self {
        let by_clone = survey.directories.iter().filter(|directory| matches!(directory.known_by, KnownBy::Clone { .. }));
        let spoken_for = by_clone.filter_map(|directory| Some((directory.project.clone(), directory.repository.clone()?))).collect();
        Self { survey, spoken_for }
    }

    /// Where a pass has it belong; else what the archive remembers.
    fn place(&self, session: SessionId) -> Option<&Place> {
        let seen = self.survey.here.sessions.get(&session).and_then(|session| session.place.as_ref());
        seen.or_else(|| self.archived(session))
    }

    fn archived(&self, session: SessionId) -> Option<&Place> {
        self.survey.here.archive.records().get(&session)?.place.as_ref()
    }

    /// The repository of a session: by its place, by any directory that it lies in, by the directory that it began in.
    fn repository(&self, session: SessionId, copies: &[Lying]) -> Option<RepositoryId> {
        let by_directory = || copies.iter().find_map(|copy| self.spoken_for.get(&copy.project));
        let by_beginning = || copies.iter().find_map(|copy| self.spoken_for.get(&began_in(copy)?));
        self.place(session).map(|place| &place.repository).or_else(by_directory).or_else(by_beginning).cloned()
    }

    /// An empty file that never held a line, as clients of before leave them, is no session.
    fn is_left_over(&self, session: SessionId, copies: &[Lying]) -> bool {
        let empty = copies.iter().all(|copy| copy.held.as_ref().is_ok_and(|held| held.all == 0));
        empty && self.survey.here.archive.records().get(&session).is_none_or(|record| record.content.length == 0)
    }

    /// Whether its one directory is the wrong one, and which is right. One that lies where a clone was once is where it belongs,
    /// as long as it began there.
    fn misplaced(&mut self, session: SessionId, copies: &[Lying]) -> Option<Option<ProjectName>> {
        let [copy] = copies else { return None };
        let project = &copy.project;
        let spoken = self.spoken_for.get(project);
        let rule = self.survey.state.rules.get(&session).filter(|(placed, _)| placed == project).map(|(_, rule)| *rule);
        let began = began_in(copy);
        if let (None, Some(began)) = (rule, &began)
            && let Some(right) = self.spoken_for.get(began)
            && began != project
            && spoken != Some(right)
        {
            return Some(Some(began.clone()));
        }
        let place = match spoken {
            Some(spoken) => self.archived(session).filter(|place| place.repository != *spoken),
            None => self.place(session).filter(|_| rule == Some(Rule::NoClone) || began.is_some_and(|began| began != *project)),
        }?;
        let place = place.clone();
        let (right, found_by) = self.survey.here.directory_for(&place, "", &mut self.survey.state);
        (found_by != Rule::NoClone && right != *project).then_some(Some(right))
    }
}

/// The project directory of the working directory that a transcript names first.
fn began_in(copy: &Lying) -> Option<ProjectName> {
    copy.held.as_ref().ok()?.began_in.as_deref().map(ProjectName::of)
}
