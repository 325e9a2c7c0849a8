//! Which gh this is, and whether it may be used.

use std::fmt;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Environment, Programs, SshError, spawn_error};
use crate::codespace::failure::{Failure, Phase, one_line};

/// The oldest gh that is used at all.
pub const OLDEST: GhVersion = GhVersion { major: 2, minor: 62, patch: 0 };
/// Older ones are used with a warning.
pub const RECOMMENDED: GhVersion = GhVersion { major: 2, minor: 66, patch: 0 };
/// Longest wait for `gh --version`.
const DEADLINE: Duration = Duration::from_secs(10);

/// The version of a gh, without what may follow the three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GhVersion {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number.
    pub patch: u32,
}

impl GhVersion {
    /// From the output of `gh --version`: `gh version 2.83.0 (2026-05-01)`, with or without a distributor's suffix.
    #[must_use]
    pub fn parse(output: &str) -> Option<Self> {
        let word = output.split_whitespace().skip_while(|word| *word != "version").nth(1)?;
        let mut numbers = word.trim_start_matches('v').splitn(3, '.').map(|part| {
            let digits = part.find(|character: char| !character.is_ascii_digit()).unwrap_or(part.len());
            part[..digits].parse().ok()
        });
        Some(Self { major: numbers.next()??, minor: numbers.next()??, patch: numbers.next()?? })
    }

    /// What to say of a version that may be used but should be left behind.
    #[must_use]
    pub fn warning(self) -> Option<String> {
        (self < RECOMMENDED).then(|| format!("gh {self} is old; {RECOMMENDED} or newer is recommended"))
    }
}

impl fmt::Display for GhVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Asks gh for its version, for at most 10 s.
///
/// # Errors
/// When gh cannot be run, does not answer in time, answers something else, or is older than 2.62.0, in which a malicious codespace
/// can run code on this machine (CVE-2024-52308).
pub async fn gh_version(programs: &Programs, environment: &Environment) -> Result<GhVersion, SshError> {
    let mut command = environment.command(&programs.gh);
    command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
    let answer = tokio::time::timeout(DEADLINE, command.output()).await.map_err(|_| Failure::Timeout { phase: Phase::Version })?;
    let output = answer.map_err(|source| spawn_error(&programs.gh, source))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = GhVersion::parse(&text).ok_or_else(|| SshError::GhUnreadable { answer: one_line(&text) })?;
    if version < OLDEST { Err(SshError::GhTooOld { found: version }) } else { Ok(version) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_releases_distributions_and_prereleases() {
        let version = |text: &str| GhVersion::parse(text).map(|version| version.to_string());
        assert_eq!(version("gh version 2.83.0 (2026-05-01)\nhttps://x").as_deref(), Some("2.83.0"));
        assert_eq!(version("gh version 2.46.0-1 (Debian 2.46.0-1)").as_deref(), Some("2.46.0"));
        assert_eq!(version("gh version v2.62.0-pre.1").as_deref(), Some("2.62.0"));
        for bad in ["", "gh version DEV", "gh version 2.6", "2.83.0", "gh version 99999999999.0.0"] {
            assert_eq!(version(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_warning_is_given_below_2_66_only() {
        assert!(GhVersion { major: 2, minor: 65, patch: 9 }.warning().is_some());
        assert_eq!(RECOMMENDED.warning(), None);
        assert!(GhVersion { major: 10, minor: 0, patch: 0 } > OLDEST);
    }
}
