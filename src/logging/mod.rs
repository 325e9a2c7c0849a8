//! The log: files by day, one writer each, for one-shot verbs and for the agent; and how they are read.
//!
//! Promises: nobody waits for the log (a full queue drops lines and counts them); a file has one writer at a time; files are
//! bounded in number and in bytes a day; one event is one line without control characters. Where no file can be written, work
//! goes on, [`Logging::trouble`] says why, and the log goes on by itself once it can. Never: what a session says, or a token;
//! other crates' chatter below a warning.
//!
//! Every line knows its place by the spans `pass{id}` › `codespace{name}` › `transfer{verb files bytes}`; [`line`](mod@line) says how it
//! is written.

mod layer;
pub mod line;
pub mod panics;
pub mod read;
mod series;
mod writer;

use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tracing::Dispatch;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::{Registry, reload};

use crate::config::Log;
use layer::Lines;
use writer::{Shared, Writer};

/// Lines that may wait to be written.
const LONGEST_QUEUE: usize = 4096;

/// Says what time it is.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// A running log. What is still queued is written when this is dropped, so it lives to the end of `main`.
pub struct Logging {
    shared: Arc<Shared>,
    level: reload::Handle<Targets, Registry>,
    queue: NonBlocking,
    /// Events go elsewhere.
    unheard: bool,
    /// Last, because its drop writes what is queued.
    _guard: WorkerGuard,
}

impl Logging {
    /// The file that is written, where there is one.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        self.shared.standing().file.clone()
    }

    /// What is wrong with the log, as the writer saw it last; it is asked to look again, for whoever asks next.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        if self.unheard {
            return Some("this process has a log already".to_owned());
        }
        let trouble = self.shared.standing().trouble.clone();
        // No line is a line, too: the writer looks around when it has written.
        let _ = self.queue.clone().write_all(b"");
        trouble
    }

    /// Lines that nobody will read: the queue was full, or they could not be written.
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.queue.error_counter().dropped_lines() + self.shared.standing().lost
    }

    /// From now on other settings hold: level and form at once, the number of days with the next file.
    pub fn set(&self, log: &Log) {
        self.shared.set(log);
        // Fails only where the dispatch is gone, and then nobody logs.
        let _ = self.level.reload(layer::wanted(log.level));
    }
}

impl fmt::Debug for Logging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logging").field("shared", &self.shared).finish_non_exhaustive()
    }
}

/// Sends this process' events to the log in a directory, for the rest of its life.
#[must_use]
pub fn start(directory: &Path, log: &Log) -> Logging {
    let (dispatch, mut logging) = prepare(directory, log, Arc::new(Utc::now));
    logging.unheard = tracing::dispatcher::set_global_default(dispatch).is_err();
    logging
}

/// The same, for who wants to say where events go to it, and what time it is.
#[must_use]
pub fn prepare(directory: &Path, log: &Log, clock: Clock) -> (Dispatch, Logging) {
    let shared = Arc::new(Shared::new(log));
    let writer = Writer::new(directory, Arc::clone(&clock), Arc::clone(&shared));
    let (queue, guard) = NonBlockingBuilder::default().buffered_lines_limit(LONGEST_QUEUE).lossy(true).thread_name("log").finish(writer);
    let (filter, level) = reload::Layer::new(layer::wanted(log.level));
    let lines = Lines { queue: queue.clone(), shared: Arc::clone(&shared), clock };
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(lines.with_filter(filter)));
    (dispatch, Logging { shared, level, queue, unheard: false, _guard: guard })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LogFormat, LogLevel};
    use crate::reconcile::plain::is_active;
    use line::{Level, Line};
    use std::fs;

    fn log(format: LogFormat) -> Log {
        Log { level: LogLevel::Info, format, keep: 3 }
    }

    /// Everything that `write` logs, read after the log is closed.
    fn logged(format: LogFormat, write: impl FnOnce(&Logging)) -> String {
        let place = tempfile::tempdir().unwrap();
        let (dispatch, logging) = prepare(&place.path().join("log"), &log(format), Arc::new(Utc::now));
        tracing::dispatcher::with_default(&dispatch, || write(&logging));
        assert_eq!((logging.dropped(), logging.trouble()), (0, None));
        let file = logging.file().unwrap();
        drop(logging);
        fs::read_to_string(file).unwrap()
    }

    fn until(condition: impl Fn() -> bool) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !condition() {
            assert!(std::time::Instant::now() < deadline, "waited in vain");
            std::thread::yield_now();
        }
    }

    #[test]
    fn an_event_is_one_line_with_its_place_and_without_control_characters() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged(format, |_| {
                let pass = tracing::error_span!("pass", id = "7f", late = tracing::field::Empty);
                let _in = pass.enter();
                pass.record("late", 3);
                tracing::error_span!("codespace", name = "a\u{1b}[31m\nb").in_scope(|| tracing::info!(sessions = 2, "visited \u{202e}"));
                tracing::debug!("too fine");
                tracing::info!(target: "hyper", "chatter");
                tracing::warn!(target: "hyper", "trouble");
            });
            assert!(!text.chars().any(|c| c != '\n' && is_active(c)), "{text:?}");
            let lines: Vec<Line> = text.lines().map(|line| Line::parse(line).unwrap()).collect();
            assert_eq!(lines.len(), 2, "{text}");
            assert_eq!((lines[0].message.as_str(), lines[0].span("codespace", "name")), ("visited \u{202e}", Some("a\u{1b}[31m\nb")));
            assert_eq!((lines[0].spans.len(), lines[0].spans[0].fields.get("late"), lines[0].level), (2, Some(&3.into()), Level::Info));
            assert_eq!((lines[1].message.as_str(), lines[1].target.as_deref()), ("trouble", Some("hyper")));
        }
    }

    #[test]
    fn other_settings_hold_at_once() {
        let text = logged(LogFormat::Text, |logging| {
            let say = |word: &str| {
                tracing::debug!(word, "fine");
                tracing::info!(word, "said");
            };
            say("first");
            logging.set(&Log { level: LogLevel::Debug, format: LogFormat::Json, keep: 3 });
            say("second");
            logging.set(&Log { level: LogLevel::Error, format: LogFormat::Text, keep: 3 });
            say("third");
        });
        let lines: Vec<(bool, String)> = text.lines().map(|line| (line.starts_with('{'), Line::parse(line).unwrap().message)).collect();
        assert_eq!(lines, [(false, "said".to_owned()), (true, "fine".to_owned()), (true, "said".to_owned())]);
    }

    #[test]
    fn a_text_is_bounded() {
        let text = logged(LogFormat::Text, |_| tracing::info!(reason = "é".repeat(100_000), "failed"));
        assert!((4096..5000).contains(&text.len()) && Line::parse(text.trim_end()).is_some(), "{}", text.len());
    }

    #[test]
    fn without_a_directory_work_goes_on_and_the_log_goes_on_once_it_can() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        let (dispatch, logging) = prepare(&file.join("log"), &log(LogFormat::Text), Arc::new(Utc::now));
        assert!(logging.trouble().unwrap().starts_with("no log in ") && logging.file().is_none());
        tracing::dispatcher::with_default(&dispatch, || tracing::info!("unheard"));
        until(|| logging.dropped() == 1);
        fs::remove_file(&file).unwrap();
        // Each question makes the writer look again.
        until(|| logging.trouble().is_none());
        let file = logging.file().unwrap();
        drop((dispatch, logging));
        assert!(fs::read_to_string(file).unwrap().contains("lines of the log were lost lost=1"));
    }
}
