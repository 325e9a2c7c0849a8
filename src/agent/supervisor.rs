//! The service manager that started the agent, if one did: told when the agent is ready, what it does, and that it lives.
//!
//! Promises: without a manager everything here is nothing. launchd asks nothing of an agent but to run.

use std::time::Duration;

/// The label of the launchd job.
pub const LAUNCHD_LABEL: &str = "com.claude-session-sync.agent";
/// That of the job which `brew services` makes.
pub const BREW_LABEL: &str = "homebrew.mxcl.claude-session-sync";

/// What started this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supervisor {
    /// Nobody: a person did.
    None,
    /// launchd.
    Launchd,
    /// systemd; with the time in which it wants to hear from us, if it does.
    Systemd {
        /// `WatchdogSec`.
        watchdog: Option<Duration>,
    },
}

impl Supervisor {
    /// By the variables that a manager sets. Those that a child inherits, as a shell in a terminal that is a unit itself, say nothing:
    /// systemd names the process that it started, or, before 248, is at least its parent.
    #[must_use]
    pub fn of<'v>((pid, parent): (u32, u32), variable: impl Fn(&str) -> Option<&'v str>) -> Self {
        let number = |name| variable(name).and_then(|text| text.parse::<u32>().ok());
        let is_child = || variable("NOTIFY_SOCKET").is_some() && number("MANAGERPID") == Some(parent);
        let is_unit = || number("SYSTEMD_EXEC_PID").map_or_else(is_child, |started| started == pid);
        if variable("XPC_SERVICE_NAME").is_some_and(|label| [LAUNCHD_LABEL, BREW_LABEL].contains(&label)) {
            Self::Launchd
        } else if is_unit() {
            Self::Systemd { watchdog: watchdog() }
        } else {
            Self::None
        }
    }

    /// The longest time between two signs of life.
    #[must_use]
    pub fn longest_silence(self) -> Option<Duration> {
        match self {
            Self::Systemd { watchdog } => watchdog.map(|time| time / 2),
            Self::None | Self::Launchd => None,
        }
    }

    /// The agent serves.
    pub fn ready(self, words: &str) {
        self.tell(Word::Ready(words));
    }

    /// What the agent does; a sign of life, too.
    pub fn lives(self, words: Option<&str>) {
        self.tell(Word::Lives(words));
    }

    /// The agent comes to its end.
    pub fn stopping(self) {
        self.tell(Word::Stopping);
    }

    #[cfg(target_os = "linux")]
    fn tell(self, word: Word<'_>) {
        use sd_notify::{NotifyState, notify};
        if let Self::Systemd { .. } = self {
            let told = match word {
                Word::Ready(words) => notify(&[NotifyState::Ready, NotifyState::Status(words)]),
                Word::Lives(Some(words)) => notify(&[NotifyState::Watchdog, NotifyState::Status(words)]),
                Word::Lives(None) => notify(&[NotifyState::Watchdog]),
                Word::Stopping => notify(&[NotifyState::Stopping]),
            };
            if let Err(error) = told {
                tracing::debug!(%error, "the service manager did not hear");
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn tell(self, word: Word<'_>) {
        let words = match word {
            Word::Ready(words) => Some(words),
            Word::Lives(words) => words,
            Word::Stopping => None,
        };
        tracing::trace!(words, "no service manager listens");
    }
}

/// What a manager is told.
#[derive(Debug)]
enum Word<'w> {
    Ready(&'w str),
    Lives(Option<&'w str>),
    Stopping,
}

#[cfg(target_os = "linux")]
fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

#[cfg(not(target_os = "linux"))]
fn watchdog() -> Option<Duration> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_is_known_by_its_variables() {
        let of = |pairs: &'static [(&str, &str)]| Supervisor::of((7, 3), |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value));
        assert_eq!(of(&[]), Supervisor::None);
        assert_eq!(of(&[("XPC_SERVICE_NAME", "com.claude-session-sync.agent")]), Supervisor::Launchd);
        assert_eq!(of(&[("XPC_SERVICE_NAME", "application.com.apple.Terminal")]), Supervisor::None, "a shell in a terminal");
        assert!(matches!(of(&[("SYSTEMD_EXEC_PID", "7")]), Supervisor::Systemd { .. }));
        assert_eq!(of(&[("SYSTEMD_EXEC_PID", "6"), ("INVOCATION_ID", "x")]), Supervisor::None, "a shell of a terminal that is a unit");
        let old: &[(&str, &str)] = &[("NOTIFY_SOCKET", "/run/x"), ("MANAGERPID", "3")];
        assert!(matches!(of(old), Supervisor::Systemd { .. }), "one before 248");
        assert_eq!(of(&[("NOTIFY_SOCKET", "/run/x"), ("MANAGERPID", "2")]), Supervisor::None, "what such a unit started");
        assert_eq!(of(&[("NOTIFY_SOCKET", "/run/x"), ("MANAGERPID", "3"), ("SYSTEMD_EXEC_PID", "6")]), Supervisor::None);
    }
}
