//! The tombstones of sessions that their user forgot by name: one small file each, `vault/forgotten/<session>`, with the date of
//! the forgetting and nothing else.
//!
//! Promises: a tombstone is durable before anything of its session is removed, and it never goes; a file of that name counts even
//! if a power cut took its date. All tombstones of one forgetting carry the same date, so that one that was cut off can be taken
//! up again, whatever is left. They lie in the vault because the state may be lost.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, SecondsFormat, Utc};

use super::vault::write_durably;
use crate::reconcile::manifest::SessionId;

/// All tombstones of this machine.
#[derive(Debug, Clone, Default)]
pub struct Tombstones {
    directory: PathBuf,
    dates: BTreeMap<SessionId, DateTime<Utc>>,
}

impl Tombstones {
    /// Reads those of a vault.
    ///
    /// # Errors
    /// When they are there and cannot be read: nothing is concluded from that.
    pub fn open(vault: &Path) -> io::Result<Self> {
        let mut tombstones = Self { directory: vault.join("forgotten"), dates: BTreeMap::new() };
        let entries = match std::fs::read_dir(&tombstones.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(tombstones),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let Some(session) = entry.file_name().to_str().and_then(|name| name.parse::<SessionId>().ok()) else { continue };
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let date = DateTime::parse_from_rfc3339(text.trim()).map(|date| date.to_utc());
            tombstones.dates.insert(session, date.or_else(|_| entry.metadata()?.modified().map(DateTime::from))?);
        }
        Ok(tombstones)
    }

    /// Whether a session was forgotten.
    #[must_use]
    pub fn has(&self, session: SessionId) -> bool {
        self.dates.contains_key(&session)
    }

    /// When each was.
    #[must_use]
    pub fn dates(&self) -> &BTreeMap<SessionId, DateTime<Utc>> {
        &self.dates
    }

    /// Those that were forgotten in one go with this one, itself included.
    pub fn together_with(&self, session: SessionId) -> impl Iterator<Item = SessionId> {
        let date = self.dates.get(&session).copied();
        self.dates.iter().filter(move |(_, other)| date == Some(**other)).map(|(session, _)| *session)
    }

    /// Sets one, durably. One that is there already stays as it is.
    ///
    /// # Errors
    /// As `mkdir`, `write` and `fsync`.
    pub fn set(&mut self, session: SessionId, date: DateTime<Utc>) -> io::Result<()> {
        if self.has(session) {
            return Ok(());
        }
        match DirBuilder::new().mode(0o700).create(&self.directory) {
            Ok(()) => File::open(self.directory.parent().unwrap_or(Path::new("/")))?.sync_all()?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let text = date.to_rfc3339_opts(SecondsFormat::Micros, true);
        write_durably(&self.directory.join(session.to_string()), format!("{text}\n").as_bytes())?;
        self.dates.insert(session, date);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_tombstone_holds_a_date_and_stays_as_it_was_set() {
        let vault = tempfile::tempdir().unwrap();
        let id = |n: u32| format!("{n:08x}-ce51-4e00-8a05-674dde6aa368").parse::<SessionId>().unwrap();
        let date = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let (first, second) = (date("2026-11-21T08:00:00.123456Z"), date("2026-11-22T08:00:00Z"));
        let mut tombstones = Tombstones::open(vault.path()).unwrap();
        for (n, date) in [(1, first), (2, first), (3, second), (1, second)] {
            tombstones.set(id(n), date).unwrap();
        }
        let place = vault.path().join("forgotten");
        assert_eq!(std::fs::read_to_string(place.join(id(1).to_string())).unwrap(), "2026-11-21T08:00:00.123456Z\n");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&place), mode(&place.join(id(1).to_string()))), (0o700, 0o600));
        std::fs::write(place.join(id(4).to_string()), "").unwrap();
        std::fs::write(place.join("no session"), "").unwrap();
        let read = Tombstones::open(vault.path()).unwrap();
        assert_eq!(read.together_with(id(1)).collect::<Vec<_>>(), [id(1), id(2)]);
        assert_eq!((read.dates().len(), read.has(id(4)), read.has(id(5))), (4, true, false), "a date that is lost leaves the tombstone");
    }
}
