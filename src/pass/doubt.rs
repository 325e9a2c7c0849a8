//! Copies in this machine's archive and vault that turn out not to be what they were taken for: a disk lost bytes, or somebody wrote
//! to them.
//!
//! Promises: what such a copy does hold is kept, and it counts as nothing else from then on, so that the next visit brings what it was.
//! Never: a copy read again that nobody had reason to doubt.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::here::Here;
use super::round::{Planned, Round};
use crate::reconcile::manifest::Part;
use crate::store::read;

/// Looks again at a file of which a content was to be taken, and says whether that is not to be had there: it is damaged, or cannot be
/// read.
///
/// # Errors
/// When the vault cannot be written.
pub(super) fn doubt(here: &mut Here, file: &Path, at: DateTime<Utc>) -> io::Result<bool> {
    let (vault, there) = (here.vault.path(), file.exists());
    let holds = if file.starts_with(vault.join("archive")) {
        here.archive.correct(&mut here.vault, file, at)?
    } else if file.starts_with(&vault) {
        here.vault.correct(file)?
    } else {
        read::is_readable(file)
    };
    if there && !holds {
        tracing::warn!(file = %file.display(), "a copy on this machine is damaged, or cannot be read");
    }
    Ok(!holds)
}

impl Round {
    /// The files of archive and vault of which something that failed was to be made, or which it was to displace.
    pub(super) fn doubtful(&self, planned: &[Planned]) -> BTreeSet<PathBuf> {
        let vault = self.here.vault.path();
        let all = planned.iter().flat_map(|planned| planned.actions.iter().map(move |(action, step)| (planned, action, step)));
        let failed = all.filter(|(_, action, _)| super::failed(action.result.as_ref()));
        let digests = failed.flat_map(|(planned, action, step)| {
            let presence = planned.group.presences.get(&action.session).and_then(|presences| presences.get(step.member));
            let displaced = presence.and_then(|presence| match &step.part {
                Part::Transcript => presence.transcript.as_ref().map(|lines| lines.content.digest),
                Part::Side(side) => presence.side.get(side).map(|side| side.target().1),
            });
            [Some(step.target.digest), displaced]
        });
        digests.flatten().filter_map(|digest| self.sources.find(digest)).filter(|file| file.starts_with(&vault)).cloned().collect()
    }

    /// Looks at these again.
    ///
    /// # Errors
    /// When the vault cannot be written.
    pub(super) fn doubt(&mut self, files: &BTreeSet<PathBuf>) -> io::Result<()> {
        files.iter().try_for_each(|file| doubt(&mut self.here, file, self.now).map(drop))
    }
}
