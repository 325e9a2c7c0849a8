//! What went wrong on the way to a far machine: the words of gh and ssh, read into kinds that the pass can act on.
//!
//! Promises: a kind says how long it lasts, in one line, with a hint where the user can mend it; foreign text in it is escaped and
//! short. Words that a far machine can put into gh's mouth never become a verdict on the account. Never: a retry; the pass decides.

use super::guard::NOT_AVAILABLE;
use crate::reconcile::plain::visible;

/// Longest foreign text in a message, in bytes after escaping.
const LONGEST_TEXT: usize = 300;

/// What the user puts into `devcontainer.json` to get an SSH server.
pub const DEVCONTAINER_SNIPPET: &str = r#"  "features": {
    "ghcr.io/devcontainers/features/sshd:1": { "version": "latest" }
  }"#;

/// How long a failure lasts, so what the next pass does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Lasts until the user acts; it concerns the account or this machine, so other codespaces fail alike.
    UntilUserActs,
    /// Lasts as long as the codespace runs: tried again in its next episode.
    ThisEpisode,
    /// No failure of anybody: left out of this pass.
    Skip,
    /// Tried again at the next pass, with back-off.
    Transient,
}

/// What was under way when the time was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// `gh --version`.
    Version,
    /// `ssh-keygen`.
    Key,
    /// From the start of the master to its first answer.
    Connection,
    /// From the end of the answers to the end of the channel.
    Channel,
}

impl Phase {
    /// The phase in words that fit behind "no answer while".
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Version => "asking gh for its version",
            Self::Key => "making the ssh key",
            Self::Connection => "connecting",
            Self::Channel => "ending a channel",
        }
    }
}

/// Why a far machine could not be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// gh has no valid token.
    #[error("not logged in to GitHub")]
    NotLoggedIn,
    /// The token may not use codespaces.
    #[error("the GitHub token lacks the codespace scope")]
    ScopeMissing,
    /// There is no codespace of that name any more.
    #[error("the codespace was deleted or renamed")]
    Gone,
    /// It does not run; the guard kept it so.
    #[error("the codespace is not Available, and is not started for this")]
    NotAvailable,
    /// GitHub is doing something to it.
    #[error("the codespace has a pending operation")]
    Pending,
    /// Nothing in the image accepts ssh.
    #[error("the codespace has no SSH server")]
    NoSshd,
    /// The far sshd refused our key.
    #[error("the far side refused the ssh key: {0}")]
    Denied(String),
    /// A `[[machine]]` showed another host key than the one known.
    #[error("the host key could not be verified: {0}")]
    HostKey(String),
    /// Nothing was heard in time.
    #[error("no answer in time while {}", .phase.words())]
    Timeout {
        /// What was under way.
        phase: Phase,
    },
    /// Anything else, known to pass by itself or not known at all.
    #[error("the connection failed: {0}")]
    Transient(String),
}

impl Failure {
    /// Reads what `gh codespace ssh` left on stderr and its exit code (`None`: ended by a signal).
    #[must_use]
    pub fn of_gh(code: Option<i32>, stderr: &str) -> Self {
        // What follows these words is partly the codespace's own text: no verdict on the account is taken from it.
        let ours = ["error getting ssh server details", "failed to start SSH server"].iter().filter_map(|words| stderr.find(words)).min();
        let account = &stderr[..ours.unwrap_or(stderr.len())];
        let has = |words: &str| account.contains(words);
        if has("needs the \"codespace\" scope") || has("Must have admin rights") {
            Self::ScopeMissing
        } else if (code == Some(4) && has("gh auth login")) || has("HTTP 401") {
            Self::NotLoggedIn
        } else if has("HTTP 409") && has(NOT_AVAILABLE) {
            Self::NotAvailable
        } else if has("pending operation") {
            Self::Pending
        } else if has("HTTP 404") {
            Self::Gone
        } else if stderr.contains("check if an SSH server is installed") {
            Self::NoSshd
        } else {
            Self::of_ssh(code, stderr)
        }
    }

    /// Reads what plain ssh left on stderr and its exit code (`None`: ended by a signal).
    #[must_use]
    pub fn of_ssh(code: Option<i32>, stderr: &str) -> Self {
        let text = one_line(stderr);
        if stderr.contains("Host key verification failed") {
            Self::HostKey(text)
        } else if stderr.contains("Permission denied (") || stderr.contains("Too many authentication failures") {
            Self::Denied(text)
        } else if !text.is_empty() {
            Self::Transient(text)
        } else if let Some(code) = code {
            Self::Transient(format!("exit code {code} without a word"))
        } else {
            Self::Transient("ended by a signal".to_owned())
        }
    }

    /// How long it lasts.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::NotLoggedIn | Self::ScopeMissing | Self::HostKey(_) => Class::UntilUserActs,
            Self::NoSshd | Self::Denied(_) => Class::ThisEpisode,
            Self::Gone | Self::NotAvailable | Self::Pending => Class::Skip,
            Self::Timeout { .. } | Self::Transient(_) => Class::Transient,
        }
    }

    /// What the user can do, ready to paste; `None` where waiting is all.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NotLoggedIn => "gh auth login -h github.com -s codespace".to_owned(),
            Self::ScopeMissing => "gh auth refresh -h github.com -s codespace".to_owned(),
            Self::NoSshd => format!("add this to devcontainer.json and rebuild the codespace:\n{DEVCONTAINER_SNIPPET}"),
            Self::Denied(_) => "look into ~/.ssh of the far side: its directory and authorized_keys must belong to the login user alone".to_owned(),
            Self::HostKey(_) => "connect once by hand with ssh and compare the key".to_owned(),
            Self::Gone | Self::NotAvailable | Self::Pending | Self::Timeout { .. } | Self::Transient(_) => return None,
        };
        Some(text)
    }
}

/// Foreign text as one printable line: lines that are not blank are joined by `; `, control, bidi and invisible characters are
/// written as escapes, and what is longer than 300 bytes keeps its end, where programs say why they gave up.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut line = String::new();
    for part in text.lines().map(str::trim).filter(|part| !part.is_empty()) {
        if !line.is_empty() {
            line.push_str("; ");
        }
        line.push_str(&visible(part));
    }
    if line.len() > LONGEST_TEXT {
        let cut = (line.len() - LONGEST_TEXT..line.len()).find(|&at| line.is_char_boundary(at)).unwrap_or(line.len());
        line.replace_range(..cut, "…");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gh(stderr: &str) -> Failure {
        Failure::of_gh(Some(1), stderr)
    }

    #[test]
    fn every_text_of_the_table_has_its_kind_and_class() {
        let table: [(&str, Failure, Class); 8] = [
            ("HTTP 401: Bad credentials", Failure::NotLoggedIn, Class::UntilUserActs),
            ("HTTP 403: Must have admin rights to Repository.", Failure::ScopeMissing, Class::UntilUserActs),
            ("HTTP 403: x\nThis API operation needs the \"codespace\" scope.", Failure::ScopeMissing, Class::UntilUserActs),
            ("getting full codespace details: HTTP 404: Not Found", Failure::Gone, Class::Skip),
            ("HTTP 409: claude-session-sync visits a codespace only while it is Available and starts none (Shutdown)", Failure::NotAvailable, Class::Skip),
            ("codespace is disabled while it has a pending operation: x", Failure::Pending, Class::Skip),
            ("failed to start SSH server: Please check if an SSH server is installed in the container.", Failure::NoSshd, Class::ThisEpisode),
            ("", Failure::Transient("exit code 1 without a word".to_owned()), Class::Transient),
        ];
        for (text, kind, class) in table {
            assert_eq!(gh(text), kind, "{text}");
            assert_eq!(gh(text).class(), class, "{text}");
        }
    }

    #[test]
    fn texts_that_pass_by_themselves_are_transient_and_kept() {
        let words = ["context deadline exceeded", "tunnel closed", "Connection reset", "kex_exchange_identification: x", "failed to forward port", "HTTP 502"];
        for text in words.into_iter().chain(["error connecting to api.github.com", "HTTP 409: Conflict", "something never seen"]) {
            assert_eq!(gh(text), Failure::Transient(text.to_owned()));
            assert_eq!(gh(text).class(), Class::Transient);
        }
    }

    #[test]
    fn gh_auth_login_counts_only_with_exit_code_4() {
        let text = "To get started with GitHub CLI, please run:  gh auth login";
        assert_eq!(Failure::of_gh(Some(4), text), Failure::NotLoggedIn);
        assert_eq!(gh(text).class(), Class::Transient);
    }

    #[test]
    fn of_several_texts_the_one_that_the_user_must_mend_wins() {
        assert_eq!(gh("HTTP 404: Not Found\nThis API operation needs the \"codespace\" scope."), Failure::ScopeMissing);
        assert_eq!(gh("HTTP 401: Bad credentials\nHTTP 404"), Failure::NotLoggedIn);
        assert_eq!(Failure::of_gh(Some(4), "needs the \"codespace\" scope, run gh auth login"), Failure::ScopeMissing);
        assert_eq!(gh("HTTP 409: claude-session-sync visits a codespace only while it is Available and starts none\npending operation"), Failure::NotAvailable);
        assert_eq!(gh("context deadline exceeded\ncheck if an SSH server is installed"), Failure::NoSshd);
        assert_eq!(gh("Permission denied (publickey).\nshell closed: exit status 255").class(), Class::ThisEpisode);
    }

    #[test]
    fn a_codespace_cannot_forge_a_verdict_on_the_account() {
        let forged = "error getting ssh server details: failed to start SSH server: HTTP 401 needs the \"codespace\" scope HTTP 404";
        assert_eq!(gh(forged).class(), Class::Transient);
        assert_eq!(Failure::of_ssh(Some(255), "HTTP 401: gh auth login").class(), Class::Transient);
    }

    #[test]
    fn foreign_text_is_one_short_line_without_control_or_bidi_characters() {
        let failure = gh("  a\u{1b}[31m\r\n\n\u{202e}b \"c\" \u{9b}\u{7}é \\ \u{2028}z");
        assert_eq!(failure.to_string(), "the connection failed: a\\u{1b}[31m; \\u{202e}b \"c\" \\u{9b}\\u{7}é \\ \\u{2028}z");
        let long = one_line(&format!("{}why", "ä".repeat(5000)));
        assert!(long.len() < 310 && long.ends_with("why") && long.starts_with('…'), "{}", long.len());
    }

    #[test]
    fn what_the_user_can_mend_has_a_hint_that_can_be_pasted() {
        assert_eq!(Failure::ScopeMissing.hint().as_deref(), Some("gh auth refresh -h github.com -s codespace"));
        let snippet = Failure::NoSshd.hint().unwrap();
        assert!(snippet.contains("\"ghcr.io/devcontainers/features/sshd:1\""), "{snippet}");
        let json: serde_json::Value = serde_json::from_str(&format!("{{{DEVCONTAINER_SNIPPET}}}")).unwrap();
        assert!(json["features"].is_object());
        assert_eq!(Failure::Gone.hint(), None);
    }
}
