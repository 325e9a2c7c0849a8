//! Who writes the log: one thread with the file of today, which outlives the loss of its file, its directory and its disk.
//!
//! Before each line it looks: a new day (UTC), a file or directory that is gone, or the end of the other writer, and it is at
//! another file. Where none can be opened it goes on in the one it has; where a line cannot be written at all it is counted,
//! and the first line that can be written again is preceded by one that says how many are missing and why.
//!
//! Promises: no error reaches those who log; [`Standing::trouble`] is what is wrong now; a line is whole or absent; a day has
//! at most [`LARGEST_FILE`] bytes. Never: a word on a stream of this process, as the appender of `tracing-appender` says one
//! when it cannot begin a new day (it then stays in the old file until the day after).

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use chrono::NaiveDate;

use super::Clock;
use super::line::{Level, Line};
use super::series::{SERIES, Series};
use crate::config::Log;
use crate::paths::make_private;

/// Bytes in one file, so in one day of a series.
const LARGEST_FILE: u64 = 64 << 20;

/// What the one who logs, the one who writes and the one who asks have in common.
#[derive(Debug)]
pub(super) struct Shared {
    settings: RwLock<Log>,
    standing: Mutex<Standing>,
}

/// How the writing goes.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    /// The file that is written.
    pub(super) file: Option<PathBuf>,
    /// What is wrong now.
    pub(super) trouble: Option<String>,
    /// Lines that could not be written.
    pub(super) lost: usize,
}

impl Shared {
    pub(super) fn new(log: &Log) -> Self {
        Self { settings: RwLock::new(log.clone()), standing: Mutex::default() }
    }

    pub(super) fn settings(&self) -> Log {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, log: &Log) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = log.clone();
    }

    pub(super) fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open file of the log.
struct Open {
    series: Series,
    /// Held for as long as this series is written.
    lock: Arc<File>,
    day: NaiveDate,
    path: PathBuf,
    file: File,
    written: u64,
    /// It does not end in a newline.
    torn: bool,
    /// It was said that nothing more fits.
    full: bool,
}

/// The writer.
pub(super) struct Writer {
    directory: PathBuf,
    clock: Clock,
    shared: Arc<Shared>,
    open: Option<Open>,
    /// Lines lost since the last one that was written.
    gap: usize,
}

impl Writer {
    /// Opens what can be opened, and notes what cannot.
    pub(super) fn new(directory: &Path, clock: Clock, shared: Arc<Shared>) -> Self {
        let mut writer = Self { directory: directory.to_path_buf(), clock, shared, open: None, gap: 0 };
        let looked = writer.look();
        writer.note(looked.err());
        writer
    }

    /// Sees to it that the right file is open. After an error the one before stays, if there is one.
    fn look(&mut self) -> Result<(), String> {
        let today = (self.clock)().date_naive();
        if self.open.as_ref().is_some_and(|open| open.day == today && open.is_there() && open.series == SERIES[0]) {
            return Ok(());
        }
        match self.open_file(today) {
            Ok(file) => self.open = file.or(self.open.take()),
            Err(error) => {
                self.open = self.open.take().filter(Open::is_there);
                return Err(match &self.open {
                    Some(open) => format!("the log stays in {}: {error}", open.path.display()),
                    None => format!("no log in {}: {error}", self.directory.display()),
                });
            }
        }
        Ok(())
    }

    /// The file of that day, in the first series that nobody else writes. None where it is open already.
    fn open_file(&mut self, today: NaiveDate) -> io::Result<Option<Open>> {
        make_private(&self.directory)?;
        for series in SERIES {
            let own = self.open.as_ref().filter(|open| open.series == series && is_at(&open.lock, &series.lock_path(&self.directory)));
            let lock = match own {
                Some(open) if open.day == today && open.is_there() => return Ok(None),
                Some(open) => Some(Arc::clone(&open.lock)),
                None => series.claim(&self.directory)?.map(Arc::new),
            };
            if let Some(lock) = lock {
                // What cannot be removed now is looked at again tomorrow.
                let _ = series.prune(&self.directory, self.shared.settings().keep, today);
                let open = Open::new(series, lock, &self.directory, today)?;
                series.link_to(&self.directory, today);
                return Ok(Some(open));
            }
        }
        Err(io::Error::new(io::ErrorKind::WouldBlock, "other processes write it"))
    }

    /// Writes lines if they fit, after the one that tells of a gap.
    fn append(&mut self, lines: &[u8]) -> Result<(), String> {
        let settings = self.shared.settings();
        let said = |message: &str, level| Line::new((self.clock)().with_timezone(&chrono::Local).fixed_offset(), level, message);
        let mut text = Vec::with_capacity(lines.len());
        if self.gap > 0 {
            let mut line = said("lines of the log were lost", Level::Warn);
            line.fields.set("lost", self.gap.into());
            line.fields.set("reason", self.shared.standing().trouble.clone().unwrap_or_default().into());
            text.extend(format!("{}\n", line.written(settings.format)).bytes());
        }
        text.extend(lines);
        let Some(open) = &mut self.open else { return Err(format!("no log in {}", self.directory.display())) };
        if text.len() as u64 > LARGEST_FILE.saturating_sub(open.written) {
            if !open.full {
                open.full = true;
                let _ = open.write(format!("{}\n", said("the log of this day (UTC) is full", Level::Warn).written(settings.format)).as_bytes());
            }
            return Err(format!("the log of this day (UTC) is full: {}", open.path.display()));
        }
        open.write(&text).map_err(|error| format!("{} cannot be written: {error}", open.path.display()))?;
        self.gap = 0;
        Ok(())
    }

    fn note(&self, trouble: Option<String>) {
        let mut standing = self.shared.standing();
        standing.file = self.open.as_ref().map(|open| open.path.clone());
        standing.trouble = trouble;
    }
}

/// Never fails: what goes wrong is in [`Standing`].
impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let looked = self.look();
        let appended = self.append(line);
        if appended.is_err() {
            self.gap += 1;
            self.shared.standing().lost += 1;
        }
        self.note(looked.err().or(appended.err()));
        Ok(line.len())
    }

    /// Called when the queue is empty, also after the empty line of somebody who asks how the log is.
    fn flush(&mut self) -> io::Result<()> {
        let looked = self.look();
        let appended = if self.gap > 0 && looked.is_ok() { self.append(b"") } else { Ok(()) };
        self.note(looked.err().or(appended.err()));
        Ok(())
    }
}

impl Open {
    fn new(series: Series, lock: Arc<File>, directory: &Path, day: NaiveDate) -> io::Result<Self> {
        let path = series.file(directory, day);
        let mut file = File::options().create(true).append(true).read(true).mode(0o600).open(&path)?;
        let written = file.metadata()?.len();
        let mut last = *b"\n";
        if written > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        Ok(Self { series, lock, day, path, file, written, torn: last != *b"\n", full: false })
    }

    fn is_there(&self) -> bool {
        is_at(&self.file, &self.path)
    }

    /// All of it, or nothing.
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let text = if self.torn { [b"\n", text].concat() } else { text.to_vec() };
        if let Err(error) = self.file.write_all(&text) {
            // A full disk takes the beginning of a line.
            self.torn = self.file.set_len(self.written).is_err();
            return Err(error);
        }
        self.written += text.len() as u64;
        self.torn = false;
        Ok(())
    }
}

/// Whether an open file still has this name.
fn is_at(file: &File, path: &Path) -> bool {
    let Ok(open) = file.metadata() else { return false };
    fs::symlink_metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == (open.dev(), open.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LogFormat, LogLevel};
    use chrono::{DateTime, Utc};

    struct World {
        place: tempfile::TempDir,
        now: Arc<Mutex<DateTime<Utc>>>,
    }

    impl World {
        fn new() -> Self {
            let now: DateTime<Utc> = "2026-03-04T23:59:00Z".parse().unwrap();
            Self { place: tempfile::tempdir().unwrap(), now: Arc::new(Mutex::new(now)) }
        }

        fn logs(&self) -> PathBuf {
            self.place.path().join("log")
        }

        fn writer(&self) -> Writer {
            let now = Arc::clone(&self.now);
            let log = Log { level: LogLevel::Info, format: LogFormat::Text, keep: 2 };
            Writer::new(&self.logs(), Arc::new(move || *now.lock().unwrap()), Arc::new(Shared::new(&log)))
        }

        fn days_pass(&self, days: i64) {
            *self.now.lock().unwrap() += chrono::TimeDelta::days(days);
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.logs().join(name)).unwrap()
        }
    }

    fn trouble(writer: &Writer) -> Option<String> {
        writer.shared.standing().trouble.clone()
    }

    #[test]
    fn a_new_day_is_a_new_file_and_the_oldest_goes() {
        let world = World::new();
        let mut writer = world.writer();
        for line in ["one\n", "two\n", "three\n"] {
            writer.write_all(line.as_bytes()).unwrap();
            world.days_pass(1);
        }
        assert_eq!(world.read("claude-session-sync.2026-03-05.log"), "two\n");
        assert_eq!(world.read("latest"), "three\n");
        assert!(!world.logs().join("claude-session-sync.2026-03-04.log").exists());
        assert!(SERIES[0].claim(&world.logs()).unwrap().is_none(), "it is still the one writer");
    }

    #[test]
    fn a_second_writer_has_a_file_of_its_own_until_the_first_ends() {
        let world = World::new();
        let (mut first, mut second) = (world.writer(), world.writer());
        first.write_all(b"first\n").unwrap();
        second.write_all(b"beside\n").unwrap();
        assert!(trouble(&world.writer()).unwrap().ends_with("other processes write it"), "two are enough");
        drop(first);
        second.write_all(b"alone\n").unwrap();
        assert_eq!(world.read("claude-session-sync.2026-03-04.log"), "first\nalone\n");
        assert_eq!(world.read("claude-session-sync.sync.2026-03-04.log"), "beside\n");
    }

    #[test]
    fn a_directory_that_is_taken_away_is_made_again() {
        let world = World::new();
        let mut writer = world.writer();
        writer.write_all(b"one\n").unwrap();
        fs::remove_dir_all(world.logs()).unwrap();
        writer.write_all(b"two\n").unwrap();
        assert_eq!((world.read("latest").as_str(), trouble(&writer)), ("two\n", None));
        assert!(SERIES[0].claim(&world.logs()).unwrap().is_none(), "and locked again");
    }

    #[test]
    fn where_nothing_can_be_written_lines_are_counted_and_the_gap_is_told_once_it_can() {
        let world = World::new();
        fs::write(world.logs(), "in the way").unwrap();
        let mut writer = world.writer();
        assert!(trouble(&writer).unwrap().starts_with("no log in "));
        writer.write_all(b"one\n").unwrap();
        writer.write_all(b"two\n").unwrap();
        assert_eq!(writer.shared.standing().lost, 2);
        fs::remove_file(world.logs()).unwrap();
        writer.flush().unwrap();
        assert_eq!((trouble(&writer), writer.shared.standing().lost), (None, 2));
        writer.write_all(b"three\n").unwrap();
        let text = world.read("latest");
        assert!(text.contains(" WARN  lines of the log were lost lost=2 reason=\"no log in ") && text.ends_with("\nthree\n"), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
    }

    #[test]
    fn where_no_new_day_can_begin_the_old_file_goes_on() {
        let world = World::new();
        let mut writer = world.writer();
        fs::create_dir(world.logs().join("claude-session-sync.2026-03-05.log")).unwrap();
        world.days_pass(1);
        writer.write_all(b"one\n").unwrap();
        assert!(trouble(&writer).unwrap().starts_with("the log stays in "));
        fs::remove_dir(world.logs().join("claude-session-sync.2026-03-05.log")).unwrap();
        writer.write_all(b"two\n").unwrap();
        assert_eq!(trouble(&writer), None);
        assert_eq!((world.read("claude-session-sync.2026-03-04.log").as_str(), world.read("latest").as_str()), ("one\n", "two\n"));
    }

    #[test]
    fn a_day_has_a_bounded_number_of_bytes() {
        let world = World::new();
        let mut writer = world.writer();
        writer.open.as_mut().unwrap().written = LARGEST_FILE - 8;
        for _ in 0..3 {
            writer.write_all(b"0123456789\n").unwrap();
        }
        let text = world.read("latest");
        assert!(text.ends_with(" WARN  the log of this day (UTC) is full\n") && text.lines().count() == 1, "{text}");
        assert!(trouble(&writer).unwrap().contains("is full"));
        world.days_pass(1);
        writer.write_all(b"new\n").unwrap();
        assert!(world.read("latest").ends_with("\nnew\n") && trouble(&writer).is_none());
    }

    #[test]
    fn a_line_that_a_crash_tore_stays_a_line_of_its_own() {
        let world = World::new();
        fs::create_dir(world.logs()).unwrap();
        fs::write(world.logs().join("claude-session-sync.2026-03-04.log"), "torn").unwrap();
        world.writer().write_all(b"whole\n").unwrap();
        assert_eq!(world.read("latest"), "torn\nwhole\n");
    }
}
