//! The log: files by day, one writer each, for one-shot verbs and for the agent.
//!
//! Promises: nobody waits for the log (a full queue drops lines and counts them); a file has one writer at a time; files are
//! bounded in number and in bytes a day; one event is one line without control characters. Where no file can be written, work
//! goes on and [`Logging::trouble`] says why. Never: what a session says, or a token; other crates' chatter below a warning.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use chrono::{Days, NaiveDate, SecondsFormat, Utc};
use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

use crate::config::{Log, LogFormat, LogLevel};
use crate::paths::make_private;
use crate::reconcile::plain::{plain, plain_json};

/// Lines that may wait to be written.
const LONGEST_QUEUE: usize = 4096;
/// Bytes in one file, so in one day.
const LARGEST_FILE: u64 = 64 << 20;
/// The link to the newest file of the first series.
const LATEST: &str = "latest";

/// A series of files, `STEM.YYYY-MM-DD.log` (days in UTC), and the lock that its only writer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Series {
    stem: &'static str,
    lock: &'static str,
    link: Option<&'static str>,
}

/// The usual one, and the one of a `sync` by hand beside a running agent.
const SERIES: [Series; 2] =
    [Series { stem: "claude-session-sync", lock: "lock", link: Some(LATEST) }, Series { stem: "claude-session-sync.sync", lock: "sync.lock", link: None }];

/// A running log. What is still queued is written when this is dropped, so it lives to the end of `main`.
#[derive(Debug)]
pub struct Logging {
    /// The file of today, where there is one.
    pub file: Option<PathBuf>,
    /// Why there is none.
    pub trouble: Option<String>,
    dropped: Option<ErrorCounter>,
    /// Last, because its drop writes what is queued.
    _guard: Option<WorkerGuard>,
}

impl Logging {
    /// Lines that were dropped because the queue was full.
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.dropped.as_ref().map_or(0, ErrorCounter::dropped_lines)
    }
}

/// Sends this process' events to the log in a directory, for the rest of its life.
#[must_use]
pub fn start(directory: &Path, log: &Log) -> Logging {
    let (dispatch, mut logging) = prepare(directory, log);
    if let Some(dispatch) = dispatch
        && tracing::dispatcher::set_global_default(dispatch).is_err()
    {
        logging.file = None;
        logging.trouble = Some("this process has a log already".to_owned());
    }
    logging
}

/// The same, for who wants to say where events go to it. No dispatch where no file can be written.
#[must_use]
pub fn prepare(directory: &Path, log: &Log) -> (Option<Dispatch>, Logging) {
    let daily = match DailyFile::open(directory, log.keep) {
        Ok(daily) => daily,
        Err(error) => {
            let trouble = format!("no log in {}: {error}", directory.display());
            return (None, Logging { file: None, trouble: Some(trouble), dropped: None, _guard: None });
        }
    };
    let file = daily.series.file(directory, daily.day);
    let (queue, guard) = NonBlockingBuilder::default().buffered_lines_limit(LONGEST_QUEUE).lossy(true).thread_name("log").finish(daily);
    let dropped = Some(queue.error_counter());
    (Some(dispatch(queue, log)), Logging { file: Some(file), trouble: None, dropped, _guard: Some(guard) })
}

fn dispatch(queue: NonBlocking, log: &Log) -> Dispatch {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // Other crates log headers and bytes at lower levels, and a token is a header.
    let others = level.min(LevelFilter::WARN);
    let wanted = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level).with_default(others);
    let lines = Lines { queue, format: log.format };
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_timer(LocalTime).with_writer(lines);
    let layer = match log.format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().boxed(),
    };
    Dispatch::new(tracing_subscriber::registry().with(layer.with_filter(wanted)))
}

/// Local time with its offset.
struct LocalTime;

impl FormatTime for LocalTime {
    fn format_time(&self, into: &mut Writer<'_>) -> fmt::Result {
        into.write_str(&chrono::Local::now().to_rfc3339_opts(SecondsFormat::Millis, false))
    }
}

/// Makes each event one line that is fit to be printed.
#[derive(Clone)]
struct Lines {
    queue: NonBlocking,
    format: LogFormat,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Lines {
    /// One event, as the formatter hands it over: whole, with a newline at its end.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = match self.format {
            LogFormat::Text => plain(line),
            LogFormat::Json => plain_json(line),
        };
        self.queue.write_all(format!("{line}\n").as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.queue.flush()
    }
}

impl Series {
    fn file(&self, directory: &Path, day: NaiveDate) -> PathBuf {
        directory.join(format!("{}.{day}.log", self.stem))
    }

    /// The day of a file of this series.
    fn day_of(&self, name: &str) -> Option<NaiveDate> {
        name.strip_prefix(self.stem)?.strip_prefix('.')?.strip_suffix(".log")?.parse().ok()
    }

    /// The lock, unless another process writes this series.
    fn claim(&self, directory: &Path) -> io::Result<Option<File>> {
        let file = File::options().create(true).append(true).open(directory.join(self.lock))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// Removes the files of the days before the last `keep`.
    fn prune(&self, directory: &Path, keep: u32, today: NaiveDate) -> io::Result<()> {
        let Some(first) = today.checked_sub_days(Days::new(u64::from(keep.saturating_sub(1)))) else { return Ok(()) };
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let day = entry.file_name().to_str().and_then(|name| self.day_of(name));
            if day.is_some_and(|day| day < first) && entry.file_type()?.is_file() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn appender(&self, directory: &Path) -> io::Result<RollingFileAppender> {
        let builder = RollingFileAppender::builder().rotation(Rotation::DAILY).filename_prefix(self.stem).filename_suffix("log");
        let builder = match self.link {
            Some(link) => builder.latest_symlink(link),
            None => builder,
        };
        builder.build(directory).map_err(|error| {
            let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            io::Error::other(cause)
        })
    }
}

/// The file of today, with its bounds.
struct DailyFile {
    directory: PathBuf,
    keep: u32,
    series: Series,
    appender: RollingFileAppender,
    day: NaiveDate,
    written: u64,
    /// Held for as long as this file is written.
    _lock: File,
}

impl DailyFile {
    fn open(directory: &Path, keep: u32) -> io::Result<Self> {
        make_private(directory)?;
        for series in SERIES {
            if let Some(lock) = series.claim(directory)? {
                return Self::of(series, lock, directory, keep);
            }
        }
        Err(io::Error::new(io::ErrorKind::WouldBlock, "other processes write it"))
    }

    fn of(series: Series, lock: File, directory: &Path, keep: u32) -> io::Result<Self> {
        let day = Utc::now().date_naive();
        series.prune(directory, keep, day)?;
        let appender = series.appender(directory)?;
        let written = fs::metadata(series.file(directory, day)).map_or(0, |found| found.len());
        Ok(Self { directory: directory.to_path_buf(), keep, series, appender, day, written, _lock: lock })
    }

    /// What a new day, or the end of the other writer, changes. A failure here leaves the file as it is.
    fn look_around(&mut self) -> io::Result<()> {
        if self.series != SERIES[0]
            && let Some(lock) = SERIES[0].claim(&self.directory)?
        {
            *self = Self::of(SERIES[0], lock, &self.directory, self.keep)?;
        }
        let today = Utc::now().date_naive();
        if today != self.day {
            self.day = today;
            self.written = 0;
            self.series.prune(&self.directory, self.keep, today)?;
        }
        Ok(())
    }
}

impl Write for DailyFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Nobody is there to be told, and the line can still be written.
        let _ = self.look_around();
        let room = LARGEST_FILE.saturating_sub(self.written);
        if line.len() as u64 <= room {
            self.appender.write_all(line)?;
            self.written += line.len() as u64;
        } else if room > 0 {
            self.appender.write_all(b"the log of this day (UTC) is full\n")?;
            self.written = LARGEST_FILE;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.appender.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn log(format: LogFormat) -> Log {
        Log { level: LogLevel::Info, format, keep: 3 }
    }

    /// Everything that `write` logs, read after the log is closed.
    fn logged(directory: &Path, format: LogFormat, write: impl FnOnce()) -> String {
        let (dispatch, logging) = prepare(directory, &log(format));
        tracing::dispatcher::with_default(&dispatch.unwrap(), write);
        let file = logging.file.clone().unwrap();
        assert_eq!(logging.dropped(), 0);
        drop(logging);
        fs::read_to_string(file).unwrap()
    }

    #[test]
    fn an_event_is_one_line_with_local_time_and_without_control_characters() {
        let place = tempfile::tempdir().unwrap();
        let text = logged(place.path(), LogFormat::Text, || {
            tracing::info!(codespace = "a\u{1b}[31m\nb", "visited \u{202e}");
            tracing::debug!("too fine");
            tracing::info!(target: "hyper", "chatter");
            tracing::warn!(target: "hyper", "trouble");
        });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        let (time, rest) = lines[0].split_once(' ').unwrap();
        assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{time}");
        assert!(rest.contains("visited \\u{202e}") && !text.chars().any(|c| c != '\n' && crate::reconcile::plain::is_active(c)), "{text:?}");
        assert!(lines[1].contains("trouble"));
        let latest = fs::read_link(place.path().join(LATEST)).unwrap();
        assert_eq!(fs::read_to_string(latest).unwrap(), text);
    }

    #[test]
    fn json_lines_stay_json() {
        let place = tempfile::tempdir().unwrap();
        let text = logged(place.path(), LogFormat::Json, || tracing::info!(name = "\u{9b}\u{202e}x", "seen"));
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["fields"]["message"], "seen");
        assert!(!text.trim_end().chars().any(crate::reconcile::plain::is_active), "{text:?}");
    }

    #[test]
    fn a_second_writer_has_a_file_of_its_own_until_the_first_ends() {
        let place = tempfile::tempdir().unwrap();
        let open = || DailyFile::open(place.path(), 3);
        let first = open().unwrap();
        let mut second = open().unwrap();
        assert_eq!((first.series.stem, second.series.stem), ("claude-session-sync", "claude-session-sync.sync"));
        assert!(open().is_err(), "two are enough");
        second.write_all(b"beside\n").unwrap();
        drop(first);
        second.write_all(b"alone\n").unwrap();
        let read = |series: Series| fs::read_to_string(series.file(place.path(), second.day)).unwrap();
        assert_eq!((read(SERIES[1]).as_str(), read(SERIES[0]).as_str()), ("beside\n", "alone\n"));
    }

    #[test]
    fn only_our_own_files_of_days_long_ago_are_removed() {
        let place = tempfile::tempdir().unwrap();
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let names = [
            "claude-session-sync.2026-03-01.log",
            "claude-session-sync.2026-03-02.log",
            "claude-session-sync.2026-03-04.log",
            "claude-session-sync.sync.2026-01-01.log",
            "claude-session-sync.old.log",
            "notes.2026-01-01.log",
        ];
        for name in names {
            fs::write(place.path().join(name), "").unwrap();
        }
        SERIES[0].prune(place.path(), 3, day("2026-03-04")).unwrap();
        let left: Vec<bool> = names.iter().map(|name| place.path().join(name).exists()).collect();
        assert_eq!(left, [false, true, true, true, true, true]);
    }

    #[test]
    fn a_day_has_a_bounded_number_of_bytes() {
        let place = tempfile::tempdir().unwrap();
        let mut daily = DailyFile::open(place.path(), 3).unwrap();
        daily.written = LARGEST_FILE - 8;
        for _ in 0..3 {
            daily.write_all(b"0123456789\n").unwrap();
        }
        let text = fs::read_to_string(SERIES[0].file(place.path(), daily.day)).unwrap();
        assert_eq!(text, "the log of this day (UTC) is full\n");
    }

    #[test]
    fn without_a_directory_work_goes_on_and_the_trouble_is_told() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        let (dispatch, logging) = prepare(&file.join("log"), &log(LogFormat::Text));
        assert!(dispatch.is_none() && logging.file.is_none() && logging.dropped() == 0);
        assert!(logging.trouble.unwrap().starts_with("no log in "));
    }
}
