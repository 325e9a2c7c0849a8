//! Desktop notices: a person is told what only a person can mend.
//!
//! Promises: at most one a day for each cause, also over a restart of the agent; a notice that cannot be shown costs nothing.
//! Never: a notice for what heals by itself, text that a program could take for an option, markup or a script, or a character that is
//! not shown but acts.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::process::Command;

use super::status::Concern;
use crate::paths::TOKEN_VARIABLES;
use crate::reconcile::plain::visible;

/// One a cause and day.
const AGAIN_AFTER: TimeDelta = TimeDelta::days(1);
/// How long a program may take to show one.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first line of each.
const TITLE: &str = "claude-session-sync";
/// AppleScript that takes its texts as arguments, so that they are never read as a script.
const SCRIPT: [&str; 6] = ["-e", "on run argv", "-e", "display notification (item 2 of argv) with title (item 1 of argv)", "-e", "end run"];

/// What shows a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shower {
    /// macOS' `osascript`.
    Osascript(PathBuf),
    /// `notify-send` of freedesktop.
    NotifySend(PathBuf),
}

impl Shower {
    /// The one of the system that this program was built for, found on PATH.
    #[must_use]
    pub fn of_build() -> Self {
        if cfg!(target_os = "macos") { Self::Osascript("/usr/bin/osascript".into()) } else { Self::NotifySend("notify-send".into()) }
    }

    /// The program and its arguments for a text.
    #[must_use]
    pub fn command(&self, text: &str) -> (PathBuf, Vec<String>) {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        match self {
            Self::Osascript(program) => (program.clone(), [words(&SCRIPT), words(&[TITLE, text])].concat()),
            Self::NotifySend(program) => {
                // The body may hold markup.
                let body = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                (program.clone(), words(&["--app-name=claude-session-sync", "--", TITLE, &body]))
            }
        }
    }

    /// Shows a concern.
    ///
    /// # Errors
    /// The program cannot be run, fails or hangs.
    pub async fn show(&self, concern: &Concern) -> io::Result<()> {
        let (program, arguments) = self.command(&text(concern));
        let mut command = Command::new(program);
        for name in TOKEN_VARIABLES {
            command.env_remove(name);
        }
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let status = tokio::time::timeout(PATIENCE, command.status()).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("it ended with {status}"))) }
    }
}

/// A concern for a person: a line that says it, and the lines that mend it, each of them [`visible`].
#[must_use]
pub fn text(concern: &Concern) -> String {
    let name = concern.name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
    let said = format!("{name}{}", concern.message);
    let lines: Vec<_> = [said.as_str()].into_iter().chain(concern.hint.iter().flat_map(|hint| hint.lines())).map(visible).collect();
    lines.join("\n")
}

/// Which causes were told, and when.
#[derive(Debug)]
pub struct Book {
    file: PathBuf,
    told: BTreeMap<String, DateTime<Utc>>,
}

impl Book {
    /// The book in a file; an unreadable one is an empty one.
    #[must_use]
    pub fn open(file: &Path) -> Self {
        let told = fs::read(file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { file: file.to_owned(), told }
    }

    /// Whether a person is to be told now; if so, that is noted.
    pub fn note(&mut self, concern: &Concern, now: DateTime<Utc>) -> bool {
        let cause = format!("{:?} {}", concern.about, concern.name.as_deref().unwrap_or_default());
        // A clock that was set back does not silence for longer than a day.
        let recent = |at: &DateTime<Utc>| (now - *at).abs() < AGAIN_AFTER;
        if self.told.get(&cause).is_some_and(recent) {
            return false;
        }
        self.told.retain(|_, at| recent(at));
        self.told.insert(cause, now);
        if let Err(error) = self.save() {
            tracing::debug!(%error, "the notices that were shown could not be noted");
        }
        true
    }

    fn save(&self) -> io::Result<()> {
        let directory = self.file.parent().unwrap_or(Path::new("/"));
        let mut fresh = tempfile::NamedTempFile::new_in(directory)?;
        fresh.write_all(&serde_json::to_vec(&self.told)?)?;
        fresh.persist(&self.file).map_err(|error| error.error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::report::FaultKind;

    fn concern(about: FaultKind, name: Option<&str>) -> Concern {
        Concern { about, name: name.map(str::to_owned), message: "no".to_owned(), hint: Some("do".to_owned()) }
    }

    #[test]
    fn one_cause_is_told_once_a_day_over_restarts_too() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("notices.json");
        let at = |hours: i64| DateTime::from_timestamp(1_800_000_000 + 3600 * hours, 0).unwrap();
        let (login, sshd) = (concern(FaultKind::Login, None), concern(FaultKind::NoSshd, Some("a")));
        let mut book = Book::open(&file);
        assert!(book.note(&login, at(0)) && book.note(&sshd, at(1)) && !book.note(&login, at(2)));
        assert!(book.note(&concern(FaultKind::NoSshd, Some("b")), at(2)), "another codespace is another cause");
        let mut again = Book::open(&file);
        assert!(!again.note(&login, at(23)) && again.note(&login, at(25)));
        assert!(again.note(&login, at(-1000)), "a clock that was set back silences nobody");
        fs::write(&file, "{").unwrap();
        assert!(Book::open(&file).note(&login, at(0)), "an unreadable book is an empty one");
    }

    #[test]
    fn what_somebody_else_says_is_shown_without_a_character_that_acts_and_on_its_own_line() {
        let active = "\u{1b}[31mRED\u{7}\u{9b}2J\u{202e}\u{2028}\r\n\0\u{200b}end";
        let foreign = Concern { message: active.to_owned(), hint: Some(format!("one\ntwo {active}")), ..concern(FaultKind::Other, Some(active)) };
        for shower in [Shower::NotifySend("notify-send".into()), Shower::Osascript("osascript".into())] {
            let (_, arguments) = shower.command(&super::text(&foreign));
            let shown = arguments.last().unwrap();
            assert!(shown.lines().all(|line| !line.chars().any(crate::reconcile::plain::is_active)), "{shown:?}");
            assert!(!shown.contains('\u{200b}'), "{shown:?}");
            // The hint alone may have several lines.
            let lines: Vec<&str> = shown.lines().collect();
            assert_eq!(lines.len(), 4, "{lines:?}");
            assert!(lines[0].starts_with("\\u{1b}[31mRED") && lines[0].matches("RED").count() == 2 && lines[1] == "one", "{lines:?}");
        }
    }

    #[test]
    fn no_text_is_taken_for_an_option_markup_or_a_script() {
        let text = "-x \"; do shell script \"id\" <b>&";
        let (program, arguments) = Shower::NotifySend("notify-send".into()).command(text);
        assert_eq!((program.to_str().unwrap(), arguments[1].as_str()), ("notify-send", "--"));
        assert_eq!(arguments[3], "-x \"; do shell script \"id\" &lt;b&gt;&amp;");
        let (_, arguments) = Shower::Osascript("osascript".into()).command(text);
        assert_eq!(arguments.last().map(String::as_str), Some(text));
        assert!(arguments.iter().filter(|word| word.contains("shell")).count() == 1, "only as an argument");
        assert_eq!(super::text(&concern(FaultKind::NoSshd, Some("a"))), "a: no\ndo");
    }
}
