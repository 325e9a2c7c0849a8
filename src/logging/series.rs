//! The files of the log: their names, who may write them, and how many stay.
//!
//! Promises: a series has one writer at a time, held by a lock that ends with its process; only files of the series' own name
//! are ever removed. Never: a day in local time; a file is named after its day in UTC.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use chrono::NaiveDate;

/// A series of files, `STEM.YYYY-MM-DD.log` (days in UTC), and the lock that its only writer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Series {
    stem: &'static str,
    lock: &'static str,
    link: Option<&'static str>,
}

/// The usual one, and the one of a `sync` by hand beside a running agent.
pub(super) const SERIES: [Series; 2] =
    [Series { stem: "claude-session-sync", lock: "lock", link: Some("latest") }, Series { stem: "claude-session-sync.sync", lock: "sync.lock", link: None }];

impl Series {
    /// The file of a day.
    pub(super) fn file(&self, directory: &Path, day: NaiveDate) -> PathBuf {
        directory.join(self.name(day))
    }

    fn name(&self, day: NaiveDate) -> String {
        format!("{}.{day}.log", self.stem)
    }

    /// The day of a file of this series.
    fn day_of(&self, name: &str) -> Option<NaiveDate> {
        let day = name.strip_prefix(self.stem)?.strip_prefix('.')?.strip_suffix(".log")?.parse().ok()?;
        (self.name(day) == name).then_some(day)
    }

    /// The days that have a file, in their order.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(super) fn days(&self, directory: &Path) -> io::Result<Vec<NaiveDate>> {
        let mut days = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let day = entry.file_name().to_str().and_then(|name| self.day_of(name));
            days.extend(day.filter(|_| entry.file_type().is_ok_and(|kind| kind.is_file())));
        }
        days.sort_unstable();
        Ok(days)
    }

    /// The path of the lock.
    pub(super) fn lock_path(&self, directory: &Path) -> PathBuf {
        directory.join(self.lock)
    }

    /// The lock, unless another process writes this series.
    pub(super) fn claim(&self, directory: &Path) -> io::Result<Option<File>> {
        let file = File::options().create(true).append(true).mode(0o600).open(self.lock_path(directory))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// Leaves the files of today and of the last days before or after it, `keep` in all. They are counted, not compared with today: a
    /// clock that is wrong for a minute must not cost the log.
    pub(super) fn prune(&self, directory: &Path, keep: u32, today: NaiveDate) -> io::Result<()> {
        let mut others = self.days(directory)?;
        others.retain(|day| *day != today);
        let others_kept = usize::try_from(keep.saturating_sub(1)).unwrap_or(usize::MAX);
        others.iter().rev().skip(others_kept).try_for_each(|day| fs::remove_file(self.file(directory, *day)))
    }

    /// Lets `latest` name the file of that day. A link is a courtesy: the log goes on without it.
    pub(super) fn link_to(&self, directory: &Path, day: NaiveDate) {
        let Some(link) = self.link else { return };
        let (link, name) = (directory.join(link), self.name(day));
        if fs::read_link(&link).is_ok_and(|target| target == Path::new(&name)) {
            return;
        }
        let beside = directory.join(".latest");
        let _ = fs::remove_file(&beside);
        let _ = symlink(name, &beside).and_then(|()| fs::rename(&beside, &link));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_files_of_days_long_ago_are_removed() {
        let place = tempfile::tempdir().unwrap();
        let names = [
            "claude-session-sync.2026-03-01.log",
            "claude-session-sync.2026-03-02.log",
            "claude-session-sync.2026-03-04.log",
            "claude-session-sync.sync.2026-01-01.log",
            "claude-session-sync.2026-1-1.log",
            "claude-session-sync.old.log",
            "notes.2026-01-01.log",
        ];
        for name in names {
            fs::write(place.path().join(name), "").unwrap();
        }
        SERIES[0].prune(place.path(), 2, "2026-03-04".parse().unwrap()).unwrap();
        let left: Vec<bool> = names.iter().map(|name| place.path().join(name).exists()).collect();
        assert_eq!(left, [false, true, true, true, true, true, true]);
    }

    #[test]
    fn a_clock_that_is_wrong_for_a_minute_costs_one_file_at_most() {
        for today in ["2027-09-09", "2025-01-01"] {
            let place = tempfile::tempdir().unwrap();
            let file = |day: &str| place.path().join(format!("claude-session-sync.{day}.log"));
            let days = ["2026-03-01", "2026-03-02", "2026-03-04"];
            days.iter().chain([&today]).for_each(|day| fs::write(file(day), "").unwrap());
            SERIES[0].prune(place.path(), 3, today.parse().unwrap()).unwrap();
            assert_eq!(days.map(|day| file(day).exists()), [false, true, true], "{today}");
            assert!(file(today).exists());
        }
    }

    #[test]
    fn the_link_follows_the_day_and_survives_a_move_of_the_directory() {
        let place = tempfile::tempdir().unwrap();
        let (here, there) = (place.path().join("a"), place.path().join("b"));
        fs::create_dir(&here).unwrap();
        for day in ["2026-03-01", "2026-03-02"] {
            fs::write(here.join(format!("claude-session-sync.{day}.log")), day).unwrap();
            SERIES[0].link_to(&here, day.parse().unwrap());
        }
        fs::rename(here, &there).unwrap();
        assert_eq!(fs::read_to_string(there.join("latest")).unwrap(), "2026-03-02");
    }
}
