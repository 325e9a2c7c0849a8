//! A gh that was asked for its version is not asked again within a day, as long as it is the same file: that saves a start of it at
//! every pass.
//!
//! Promises: only a version that needs no word is remembered, so one that is too old, or old, is asked each time, and an upgrade is
//! seen at once. What is remembered is worth nothing once the file that the name leads to, or anything about it, has changed. Behind a
//! name that starts now this gh and now that (a version manager's), a day is the most that an old answer lasts.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::version::{GhVersion, gh_version};
use super::{Environment, Programs, SshError};

/// How long an answer is worth something.
const A_DAY: TimeDelta = TimeDelta::days(1);

/// An answer, and of which file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    file: PathBuf,
    /// Device, inode, size, and both times.
    stamp: [i128; 5],
    asked: DateTime<Utc>,
    version: GhVersion,
}

impl Known {
    fn of(file: PathBuf, version: GhVersion, asked: DateTime<Utc>) -> io::Result<Self> {
        let found = fs::metadata(&file)?;
        let nanoseconds = |seconds: i64, more: i64| i128::from(seconds) * 1_000_000_000 + i128::from(more);
        let (modified, changed) = (nanoseconds(found.mtime(), found.mtime_nsec()), nanoseconds(found.ctime(), found.ctime_nsec()));
        Ok(Self { file, stamp: [found.dev().into(), found.ino().into(), found.size().into(), modified, changed], asked, version })
    }

    /// Whether it was asked less than a day ago, by a clock that was not set back since.
    fn is_recent(&self, now: DateTime<Utc>) -> bool {
        (TimeDelta::zero()..A_DAY).contains(&(now - self.asked))
    }
}

fn path(state: &Path) -> PathBuf {
    state.join("gh.json")
}

fn read(state: &Path) -> Option<Known> {
    serde_json::from_slice(&fs::read(path(state)).ok()?).ok()
}

fn write(state: &Path, known: &Known) -> io::Result<()> {
    let mut fresh = tempfile::NamedTempFile::new_in(state)?;
    fresh.write_all(&serde_json::to_vec(known)?)?;
    fresh.persist(path(state)).map(drop).map_err(|error| error.error)
}

/// The version of gh, asked of gh unless that was done within a day; `state` is where that is noted.
///
/// # Errors
/// As [`gh_version`].
pub async fn known_gh_version(state: &Path, programs: &Programs, environment: &Environment, now: DateTime<Utc>) -> Result<GhVersion, SshError> {
    let file = environment.find(&programs.gh).and_then(|file| fs::canonicalize(file).ok());
    if let (Some(file), Some(known)) = (&file, read(state))
        && known.is_recent(now)
        && Known::of(file.clone(), known.version, known.asked).is_ok_and(|found| found == known)
    {
        return Ok(known.version);
    }
    // Looked at before it is asked, so that what takes its place meanwhile is another file.
    let before = file.and_then(|file| Known::of(file, super::OLDEST, now).ok());
    let version = gh_version(programs, environment).await?;
    if let (Some(before), None) = (before, version.warning())
        && let Err(error) = write(state, &Known { version, ..before })
    {
        tracing::debug!(%error, "the version of gh could not be noted");
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct World {
        home: tempfile::TempDir,
        programs: Programs,
        environment: Environment,
    }

    impl World {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            let path = format!("/nowhere:{}:{}", home.path().display(), std::env::var("PATH").unwrap());
            Self { home, programs: Programs::default(), environment: Environment::from_pairs([("PATH".into(), path.into())]) }
        }

        /// A gh that says this, and counts how often.
        fn gh(&self, version: &str) {
            let (gh, count) = (self.home.path().join("gh"), self.home.path().join("count"));
            let _ = fs::remove_file(&gh);
            fs::write(&gh, format!("#!/bin/sh\necho x >>{}\necho gh version {version}\n", count.display())).unwrap();
            fs::set_permissions(&gh, fs::Permissions::from_mode(0o755)).unwrap();
        }

        async fn ask(&self, hours: i64) -> String {
            let now = DateTime::from_timestamp(1_750_000_000 + 3600 * hours, 0).unwrap();
            let said = known_gh_version(self.home.path(), &self.programs, &self.environment, now).await;
            said.map_or_else(|error| error.to_string(), |version| version.to_string())
        }

        fn asked(&self) -> usize {
            fs::read_to_string(self.home.path().join("count")).unwrap_or_default().lines().count()
        }
    }

    #[tokio::test]
    async fn the_same_file_is_asked_once_a_day() {
        let world = World::new();
        world.gh("2.83.0");
        for (hours, asked) in [(0, 1), (1, 1), (23, 1), (24, 2), (25, 2), (3, 3)] {
            assert_eq!((world.ask(hours).await.as_str(), world.asked()), ("2.83.0", asked), "after {hours} hours");
        }
    }

    #[tokio::test]
    async fn another_file_is_asked_at_once() {
        let world = World::new();
        world.gh("2.83.0");
        world.ask(0).await;
        world.gh("2.84.0");
        assert_eq!(world.ask(0).await, "2.84.0");
        world.gh("2.61.0");
        assert!(world.ask(0).await.contains("2.61.0"), "too old");
        let torn = fs::read(path(world.home.path())).unwrap();
        world.gh("2.85.0");
        fs::write(path(world.home.path()), &torn[..torn.len() / 2]).unwrap();
        assert_eq!((world.ask(0).await.as_str(), world.asked()), ("2.85.0", 4), "what is remembered cannot be read");
    }

    #[tokio::test]
    async fn one_that_is_old_is_asked_each_time() {
        let world = World::new();
        world.gh("2.65.0");
        world.ask(0).await;
        world.ask(0).await;
        assert_eq!(world.asked(), 2);
    }
}
