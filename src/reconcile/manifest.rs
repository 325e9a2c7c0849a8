//! The names that may exist in a store, as types: session ids, side-file paths, project directories, file stamps.
//!
//! Promises: a value of these types passed the grammar, so it may be joined to a path, sent by stdin and printed. Foreign
//! text becomes one of them here or nowhere. Never: repairs of a name that does not fit; such a name is skipped and listed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Longest side-file path, in bytes, below the session's folder.
const LONGEST_SIDE_PATH: usize = 512;
/// Most components of a side-file path.
const DEEPEST_SIDE_PATH: usize = 6;
/// Longest name of a project directory: 200 units, `-`, and base 36 of 32 bits.
const LONGEST_PROJECT_NAME: usize = 208;

/// Why a name was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not the lower-case, hyphenated form of a UUID.
    #[error("is no lower-case UUID")]
    NoSessionId,
    /// A component outside `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`.
    #[error("has a component outside [A-Za-z0-9_][A-Za-z0-9._-]*")]
    Component,
    /// More than six components, or more than 512 bytes.
    #[error("is too deep or too long")]
    TooLong,
    /// Not `[A-Za-z0-9-]{1,208}`.
    #[error("is no project directory of the client")]
    NoProject,
    /// Neither a transcript nor below a session's folder.
    #[error("is no session file")]
    NoSessionFile,
}

/// The id of a session: the stem of its transcript's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(Uuid);

impl SessionId {
    /// From a UUID.
    #[must_use]
    pub fn new(id: Uuid) -> Self {
        Self(id)
    }

    /// As a UUID, the namespace of this session's forks.
    #[must_use]
    pub fn as_uuid(&self) -> &Uuid {
        &self.0
    }

    /// The name of the transcript: `<uuid>.jsonl`.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}.jsonl", self.0)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SessionId {
    type Err = NameError;

    /// Only the form that the client writes: 36 characters, lower case.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let shaped = text.len() == 36 && !text.bytes().any(|b| b.is_ascii_uppercase());
        shaped.then(|| Uuid::try_parse(text).ok()).flatten().map(Self).ok_or(NameError::NoSessionId)
    }
}

/// The path of a side file below `<uuid>/`, with `/` between components. A clone of it is no copy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SidePath(Arc<str>);

impl SidePath {
    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SidePath {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > LONGEST_SIDE_PATH || text.split('/').count() > DEEPEST_SIDE_PATH {
            return Err(NameError::TooLong);
        }
        let fits = |component: &str| {
            let first = component.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
            first && component.len() <= 128 && component.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        if text.split('/').all(fits) { Ok(Self(text.into())) } else { Err(NameError::Component) }
    }
}

impl<'de> Deserialize<'de> for SidePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::parse::text(deserializer)
    }
}

impl Serialize for SidePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// The name of a project directory, as [`encode`](super::project::encode) makes it. A clone of it is no copy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProjectName(Arc<str>);

impl ProjectName {
    /// The project directory of a working directory.
    #[must_use]
    pub fn of(working_directory: &str) -> Self {
        Self(super::project::encode(working_directory).into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ProjectName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let fits = (1..=LONGEST_PROJECT_NAME).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if fits { Ok(Self(text.into())) } else { Err(NameError::NoProject) }
    }
}

impl<'de> Deserialize<'de> for ProjectName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::parse::text(deserializer)
    }
}

impl Serialize for ProjectName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// One file of a session: its transcript, or a side file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Part {
    /// A file in the session's folder. Sorts before the transcript, and is installed before it.
    Side(SidePath),
    /// `<uuid>.jsonl`.
    Transcript,
}

impl Part {
    /// Append-only lines, compared by prefix; anything else is compared as a whole.
    #[must_use]
    pub fn is_lines(&self) -> bool {
        match self {
            Self::Transcript => true,
            Self::Side(path) => path.as_str().ends_with(".jsonl"),
        }
    }

    /// The path of this part below its project directory.
    #[must_use]
    pub fn path(&self, session: SessionId) -> String {
        match self {
            Self::Transcript => session.file_name(),
            Self::Side(path) => format!("{session}/{}", path.as_str()),
        }
    }
}

/// Where a file of a session lies below `projects/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StorePath {
    /// The project directory.
    pub project: ProjectName,
    /// The session.
    pub session: SessionId,
    /// The part of it.
    pub part: Part,
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.part.path(self.session))
    }
}

impl FromStr for StorePath {
    type Err = NameError;

    /// From `<project>/<uuid>.jsonl` or `<project>/<uuid>/<side path>`.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (project, rest) = text.split_once('/').ok_or(NameError::NoSessionFile)?;
        let project = project.parse()?;
        let (session, part) = match rest.split_once('/') {
            Some((session, side)) => (session.parse()?, Part::Side(side.parse()?)),
            None => (rest.strip_suffix(".jsonl").ok_or(NameError::NoSessionFile)?.parse()?, Part::Transcript),
        };
        Ok(Self { project, session, part })
    }
}

/// Known neighbours of sessions that are none: skipped without a word.
///
/// `path` is below `projects/`: `<project>/memory/…`, `<project>/sessions-index.json`, flat `<project>/agent-*.jsonl`.
#[must_use]
pub fn is_known_neighbour(path: &str) -> bool {
    let Some((_, rest)) = path.split_once('/') else { return false };
    rest == "memory"
        || rest.starts_with("memory/")
        || rest == "sessions-index.json"
        || (rest.starts_with("agent-") && rest.ends_with(".jsonl") && !rest.contains('/'))
}

/// What one `stat` said of a file; equal stamps mean that nobody wrote in between.
///
/// Times are nanoseconds since 1970 (whole seconds where the tools of the far side give no more). `changed` is the inode's
/// change time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Inode number.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Modification time.
    pub modified: i64,
    /// Inode change time.
    pub changed: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_no_names() {
        for name in [
            "..",
            "a/../b",
            "/etc",
            "-oProxyCommand=x",
            "$(id)",
            "a\nb",
            "a\0b",
            ".ssh/authorized_keys",
            "a//b",
            "é",
            "",
            "a/b/c/d/e/f/g",
            "x y",
            "\u{7f}",
            "a\\b",
        ] {
            assert!(name.parse::<SidePath>().is_err(), "{name:?}");
            assert!(format!("p/{name}").parse::<StorePath>().is_err(), "{name:?}");
        }
        assert!("6F869D7B-ce51-4e00-8a05-674dde6aa368".parse::<SessionId>().is_err());
        assert!("a.b".parse::<ProjectName>().is_err());
        assert!("x".repeat(129).parse::<SidePath>().is_err());
    }

    #[test]
    fn a_path_may_be_so_long_and_so_deep_and_no_more() {
        let long = ["x".repeat(128), "x".repeat(128), "x".repeat(128), "x".repeat(125)].join("/");
        assert_eq!(long.len(), LONGEST_SIDE_PATH);
        assert_eq!(long.parse::<SidePath>().map(|path| path.as_str().len()), Ok(LONGEST_SIDE_PATH));
        assert_eq!(format!("{long}x").parse::<SidePath>(), Err(NameError::TooLong));
        assert!("a/b/c/d/e/f".parse::<SidePath>().is_ok());
    }

    #[test]
    fn a_store_path_reads_back_what_it_prints() {
        for text in ["-home-dev/6f869d7b-ce51-4e00-8a05-674dde6aa368.jsonl", "-a/6f869d7b-ce51-4e00-8a05-674dde6aa368/subagents/workflows/run_1/agent-0a.jsonl"]
        {
            assert_eq!(text.parse::<StorePath>().unwrap().to_string(), text);
        }
    }
}
