//! The values that a configuration can hold, parsed once where they are read and trusted from then on.
//!
//! Promises: a value of these types can be handed to another program as an argument without being taken for an option, and names
//! no place relative to wherever the program was started. Never: a value that is mended; what does not fit is refused.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::Serialize;

use crate::reconcile::layout::WORKSPACES;

/// Why a value was refused, and what would be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Continues the sentence "`key` …".
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Wrong {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl<E: std::error::Error> From<E> for Wrong {
    fn from(error: E) -> Self {
        Self::new(error.to_string())
    }
}

/// A value that is one of a few words.
pub(super) trait Word: Copy + 'static {
    const WORDS: &'static [(&'static str, Self)];
}

/// What travels between this machine and the codespaces of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncPolicy {
    /// Sessions come home and go there.
    Both,
    /// Sessions only come home.
    Pull,
    /// Sessions only go there.
    Push,
    /// None travel.
    Off,
}

impl SyncPolicy {
    /// Whether sessions may be installed on this machine.
    #[must_use]
    pub fn pulls(self) -> bool {
        matches!(self, Self::Both | Self::Pull)
    }

    /// Whether sessions may be installed on the far side.
    #[must_use]
    pub fn pushes(self) -> bool {
        matches!(self, Self::Both | Self::Push)
    }
}

impl Word for SyncPolicy {
    const WORDS: &'static [(&'static str, Self)] = &[("both", Self::Both), ("pull", Self::Pull), ("push", Self::Push), ("off", Self::Off)];
}

/// When the agent may visit a codespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IdlePolicy {
    /// Only when the visit cannot keep a forgotten codespace awake.
    Quiet,
    /// At every pass, although a visit counts as activity.
    Always,
}

impl Word for IdlePolicy {
    const WORDS: &'static [(&'static str, Self)] = &[("quiet", Self::Quiet), ("always", Self::Always)];
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Failures.
    Error,
    /// And what looks wrong.
    Warn,
    /// And one line a codespace and a pass.
    Info,
    /// And each step.
    Debug,
    /// And each file.
    Trace,
}

impl Word for LogLevel {
    const WORDS: &'static [(&'static str, Self)] =
        &[("error", Self::Error), ("warn", Self::Warn), ("info", Self::Info), ("debug", Self::Debug), ("trace", Self::Trace)];
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Word for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

macro_rules! checked_text {
    ($($(#[$meta:meta])* $name:ident)*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// As text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

checked_text! {
    /// The name of a `[[machine]]`: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
    MachineName
    /// Where `ssh` is to go: a host, an alias of its configuration, `user@host` or `ssh://user@host:port`. Never an option.
    SshHost
    /// The base of GitHub's REST API, without a slash at its end: https, or http on this machine.
    ApiUrl
    /// When a pass is due, in the five fields of cron, or in six with seconds first.
    Cron
    /// A program: a name to be found on PATH, or an absolute path.
    Program
    /// An absolute path on a far machine, without `..` and without control characters.
    FarPath
}

impl FromStr for MachineName {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let fits =
            text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if fits { Ok(Self(text.to_owned())) } else { Err(Wrong::new("is no name for a machine").hint("letters, digits, `.`, `_` and `-`, at most 64 of them")) }
    }
}

impl FromStr for SshHost {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let host = text.strip_prefix("ssh://").unwrap_or(text);
        if text.starts_with('-') || host.split('@').any(|part| part.starts_with('-')) {
            return Err(Wrong::new("begins with `-`, which ssh would take for an option").hint("give that host an alias in ~/.ssh/config"));
        }
        let fits = !host.is_empty() && host.len() <= 255 && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@:[]".contains(&b));
        let hint = "an alias of ~/.ssh/config, a host, user@host or ssh://user@host:port";
        if fits { Ok(Self(text.to_owned())) } else { Err(Wrong::new("is no host").hint(hint)) }
    }
}

impl ApiUrl {
    /// GitHub's own.
    pub(super) fn github() -> Self {
        Self("https://api.github.com".to_owned())
    }
}

impl FromStr for ApiUrl {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let hint = "https://api.github.com, or https://api.TENANT.ghe.com";
        let refuse = |what: &str| Wrong::new(what).hint(hint);
        let url = reqwest::Url::parse(text).map_err(|error| refuse(&format!("is no URL: {error}")))?;
        let host = url.host_str().unwrap_or_default();
        let here = matches!(host, "127.0.0.1" | "[::1]" | "localhost");
        if !(url.scheme() == "https" || url.scheme() == "http" && here) {
            return Err(refuse("must begin with https://, because a token is sent there"));
        }
        let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        if host.is_empty() || !bare {
            return Err(refuse("must be a host and a path, without user, query or fragment"));
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl Cron {
    /// Every full hour.
    pub(super) fn hourly() -> Self {
        Self("0 * * * *".to_owned())
    }

    /// The pattern in six fields, seconds first: second 0 where it has five.
    #[must_use]
    pub fn six_fields(&self) -> String {
        if self.0.split_whitespace().count() == 5 { format!("0 {}", self.0) } else { self.0.clone() }
    }
}

impl FromStr for Cron {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        use croner::parser::{CronParser, Seconds, Year};
        let hint = "five fields: minute, hour, day of month, month, day of week; \"0 * * * *\" is every full hour";
        let refuse = |what: String| Wrong::new(what).hint(hint);
        let fields = text.split_whitespace().count();
        if !(5..=6).contains(&fields) {
            return Err(refuse(format!("is no cron pattern: it has {fields} fields, not five (or six, seconds first)")));
        }
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let pattern = parser.parse(text).map_err(|error| {
            let text = error.to_string().to_lowercase();
            refuse(format!("is no cron pattern: {}", text.strip_prefix("component error: ").unwrap_or(&text).trim_end_matches('.')))
        })?;
        // Any start will do: what is not due within the four years that hold every date is never due.
        let start = chrono::DateTime::UNIX_EPOCH;
        pattern.find_next_occurrence(&start, true).map_err(|_| refuse("is a time that never comes".to_owned()))?;
        Ok(Self(text.trim().to_owned()))
    }
}

impl Program {
    /// From a name or a path; `~/` is the given home.
    ///
    /// # Errors
    /// A relative path, a name that begins with `-`, or nothing.
    pub fn new(text: &str, home: &Path) -> Result<Self, Wrong> {
        if !text.contains('/') {
            let fits = !text.is_empty() && !text.starts_with('-') && !text.contains(char::is_control);
            return if fits { Ok(Self(text.to_owned())) } else { Err(Wrong::new("is no program").hint("a name on PATH, or an absolute path")) };
        }
        let path = here(text, home)?;
        path.into_os_string().into_string().map(Self).map_err(|_| Wrong::new("is not UTF-8 with this home directory"))
    }

    /// A program that is found on PATH.
    pub(super) fn on_path(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl FarPath {
    /// Where a codespace keeps its workspaces.
    pub(super) fn workspaces() -> Self {
        Self(WORKSPACES.to_owned())
    }
}

impl FromStr for FarPath {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        if !text.starts_with('/') {
            return Err(Wrong::new("is not absolute").hint("this path is the far machine's; write it from its root, without `~`"));
        }
        if text.contains(char::is_control) || text.split('/').any(|part| part == "..") {
            return Err(Wrong::new("holds `..` or a control character"));
        }
        Ok(Self(if text.len() > 1 { text.trim_end_matches('/').to_owned() } else { text.to_owned() }))
    }
}

/// An absolute path on this machine; `~/` is the given home.
pub(super) fn here(text: &str, home: &Path) -> Result<PathBuf, Wrong> {
    let path = match text.strip_prefix('~') {
        Some("") => home.to_path_buf(),
        Some(rest) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
        Some(_) => return Err(Wrong::new("names another user's home").hint("write it as an absolute path")),
        None => PathBuf::from(text),
    };
    if text.contains('\0') {
        return Err(Wrong::new("holds a NUL"));
    }
    if !path.is_absolute() {
        let bare = text.strip_prefix("./").unwrap_or(text);
        let hint = if bare.is_empty() || bare.starts_with("..") { "write it from the root, or with ~/".to_owned() } else { format!("perhaps \"~/{bare}\"") };
        return Err(Wrong::new("is a relative path, and the agent has no directory that it could be relative to").hint(hint));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(Wrong::new("holds `..`").hint("write it without"));
    }
    // Without `.`, doubled slashes and a slash at the end, so that equal paths are equal.
    Ok(path.components().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_never_an_option_of_ssh() {
        for host in ["-oProxyCommand=id", "x@-oProxyCommand=id", "ssh://-l", "a b", "$(id)", "a;b", "", "%h", "a\nb", "ssh://"] {
            assert!(host.parse::<SshHost>().is_err(), "{host:?}");
        }
        for host in ["box", "dev@box.example", "ssh://dev@box:2222", "dev@[::1]"] {
            assert_eq!(host.parse::<SshHost>().unwrap().as_str(), host);
        }
    }

    #[test]
    fn a_token_goes_over_tls_or_stays_on_this_machine() {
        assert_eq!("https://api.github.com/".parse::<ApiUrl>().unwrap().as_str(), "https://api.github.com");
        assert_eq!("http://127.0.0.1:8080/api/v3".parse::<ApiUrl>().unwrap().as_str(), "http://127.0.0.1:8080/api/v3");
        for url in
            ["http://api.github.com", "ftp://x", "api.github.com", "https://u:p@x", "https://x/?q", "https://127.0.0.1.evil@x#f", "http://localhost.evil"]
        {
            assert!(url.parse::<ApiUrl>().is_err(), "{url}");
        }
    }

    #[test]
    fn cron_has_five_fields_or_six() {
        assert_eq!("0 * * * *".parse::<Cron>().unwrap().six_fields(), "0 0 * * * *");
        assert_eq!("30 0 * * * mon-fri".parse::<Cron>().unwrap().six_fields(), "30 0 * * * mon-fri");
        for pattern in ["", "@hourly", "* * * *", "61 * * * *", "a b c d e", "0 0 0 * * * 2030", "0 0 31 2 *"] {
            assert!(pattern.parse::<Cron>().is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_path_is_absolute_or_in_the_home() {
        let of = |text: &str| here(text, Path::new("/h"));
        assert_eq!(of("~/a//b/./"), Ok("/h/a/b".into()));
        assert_eq!(of("~"), Ok("/h".into()));
        assert_eq!(of("projects/x").unwrap_err().hint.unwrap(), "perhaps \"~/projects/x\"");
        for text in ["", "a", "./a", "~dev/a", "/a/../b", "/a\0b"] {
            assert!(of(text).is_err(), "{text:?}");
        }
        assert!("~/x".parse::<FarPath>().is_err());
        assert_eq!("/srv/x/".parse::<FarPath>().unwrap().as_str(), "/srv/x");
        assert_eq!(Program::new("~/bin/gh", Path::new("/h")).unwrap().as_str(), "/h/bin/gh");
        assert!(Program::new("bin/gh", Path::new("/h")).is_err());
        assert!(Program::new("-x", Path::new("/h")).is_err());
    }
}
