//! One codespace as GitHub describes it, read leniently.
//!
//! Promises: a row that cannot be read is one reason in a list, never a failure of the listing; whatever is not of the
//! expected shape and not needed is as if it were null. Never: a state taken for `Available` that is not exactly that word,
//! or a pending operation overlooked.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::codespace::name::{CodespaceName, NotACodespaceName};
use crate::reconcile::plain::brief;
use crate::reconcile::project::RepositoryId;

/// A page has at most 100 rows; one with more than this is refused before it fills the memory.
const MOST_ROWS: usize = 1000;
/// Of `recent_folders`, how many are kept and how long one may be.
const MOST_FOLDERS: usize = 20;
const LONGEST_FOLDER: usize = 1024;

macro_rules! states {
    ($($state:ident),*) => {
        /// What a codespace is doing. GitHub's description of its API names 17 words.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum State {
            $(#[doc = concat!("`", stringify!($state), "`")] $state,)*
            /// A word that GitHub's description does not know, escaped and bounded.
            Other(String),
        }

        impl State {
            /// The words that GitHub's description knows.
            pub const KNOWN: [Self; 17] = [$(Self::$state),*];

            fn read(word: &str) -> Self {
                match word {
                    $(stringify!($state) => Self::$state,)*
                    other => Self::Other(brief(other, 60)),
                }
            }
        }

        impl fmt::Display for State {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$state => stringify!($state),)*
                    Self::Other(word) => word,
                })
            }
        }
    };
}

states!(
    Unknown,
    Created,
    Queued,
    Provisioning,
    Available,
    Awaiting,
    Unavailable,
    Deleted,
    Moved,
    Shutdown,
    Archived,
    Starting,
    ShuttingDown,
    Failed,
    Exporting,
    Updating,
    Rebuilding
);

impl Serialize for State {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One codespace. Texts are escaped and bounded, and fit to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Codespace {
    /// Its permanent name.
    pub name: CodespaceName,
    /// The name that its user sees and may change.
    pub display_name: Option<String>,
    /// The repository that it was made for; none for one from a template that is not published.
    pub repository: Option<RepositoryId>,
    /// What it is doing.
    pub state: State,
    /// GitHub is at work on it; nothing can be asked of it.
    pub pending_operation: bool,
    /// Minutes without activity after which GitHub stops it; none where GitHub does not say.
    pub idle_timeout_minutes: Option<u32>,
    /// When it was last started: the name of its episode, no clock of activity.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: Option<DateTime<Utc>>,
    /// When GitHub will delete it.
    pub retention_expires_at: Option<DateTime<Utc>>,
    /// Folders opened in it: absolute, without control characters, at most 20. A hint from the codespace, no proof.
    pub recent_folders: Vec<String>,
    /// Its page in the browser.
    pub web_url: Option<String>,
    /// Whether it has changes that are not on GitHub: not committed, or not pushed.
    pub unsaved_changes: Option<bool>,
}

impl Codespace {
    /// The one condition under which it may be connected to: anything else would start it or wait for it.
    #[must_use]
    pub fn may_be_visited(&self) -> bool {
        self.state == State::Available && !self.pending_operation
    }

    /// Whether it may come to be visited without anybody starting it.
    #[must_use]
    pub fn is_on_its_way(&self) -> bool {
        let up = [State::Unknown, State::Created, State::Queued, State::Provisioning, State::Awaiting, State::Starting, State::Updating, State::Rebuilding];
        up.contains(&self.state) || (self.state == State::Available && self.pending_operation)
    }
}

/// A value of the expected shape, or something else.
#[derive(Deserialize)]
#[serde(untagged)]
enum Maybe<T> {
    Read(T),
    Other(IgnoredAny),
}

impl<T> Default for Maybe<T> {
    fn default() -> Self {
        Self::Other(IgnoredAny)
    }
}

impl<T> Maybe<T> {
    fn read(self) -> Option<T> {
        match self {
            Self::Read(value) => Some(value),
            Self::Other(_) => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct Row {
    name: Maybe<String>,
    display_name: Maybe<String>,
    repository: Maybe<Repository>,
    state: Maybe<String>,
    pending_operation: Maybe<Option<bool>>,
    idle_timeout_minutes: Maybe<u32>,
    last_used_at: Maybe<DateTime<Utc>>,
    created_at: Maybe<DateTime<Utc>>,
    retention_expires_at: Maybe<DateTime<Utc>>,
    recent_folders: Maybe<Vec<Maybe<String>>>,
    web_url: Maybe<String>,
    git_status: Maybe<GitStatus>,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            name: Maybe::default(),
            display_name: Maybe::default(),
            repository: Maybe::default(),
            state: Maybe::default(),
            pending_operation: Maybe::Read(None),
            idle_timeout_minutes: Maybe::default(),
            last_used_at: Maybe::default(),
            created_at: Maybe::default(),
            retention_expires_at: Maybe::default(),
            recent_folders: Maybe::default(),
            web_url: Maybe::default(),
            git_status: Maybe::default(),
        }
    }
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
    html_url: String,
}

#[derive(Deserialize)]
struct GitStatus {
    has_unpushed_changes: bool,
    has_uncommitted_changes: bool,
}

impl Repository {
    fn id(&self) -> Option<RepositoryId> {
        let (owner, name) = self.full_name.split_once('/')?;
        let url = reqwest::Url::parse(&self.html_url).ok()?;
        RepositoryId::new(url.host_str()?, owner, name).ok()
    }
}

impl Row {
    fn codespace(self) -> Result<Codespace, String> {
        let name = self.name.read().ok_or("it has no name")?;
        let name: CodespaceName = name.parse().map_err(|error: NotACodespaceName| error.to_string())?;
        let state = self.state.read().ok_or_else(|| format!("{name} has no state"))?;
        Ok(Codespace {
            name,
            display_name: self.display_name.read().map(|text| brief(&text, 100)).filter(|text| !text.is_empty()),
            repository: self.repository.read().and_then(|repository| repository.id()),
            state: State::read(&state),
            // What is neither null nor a boolean cannot be known to be harmless.
            pending_operation: self.pending_operation.read().is_none_or(|pending| pending.unwrap_or(false)),
            idle_timeout_minutes: self.idle_timeout_minutes.read(),
            last_used_at: self.last_used_at.read(),
            created_at: self.created_at.read(),
            retention_expires_at: self.retention_expires_at.read(),
            recent_folders: folders(self.recent_folders.read().unwrap_or_default()),
            web_url: self.web_url.read().filter(|url| url.starts_with("https://")).map(|url| brief(&url, 300)),
            unsaved_changes: self.git_status.read().map(|status| status.has_unpushed_changes || status.has_uncommitted_changes),
        })
    }
}

fn folders(sent: Vec<Maybe<String>>) -> Vec<String> {
    let fits = |folder: &String| {
        folder.starts_with('/') && folder.len() <= LONGEST_FOLDER && !folder.chars().any(char::is_control) && !folder.split('/').any(|part| part == "..")
    };
    sent.into_iter().filter_map(Maybe::read).filter(fits).take(MOST_FOLDERS).collect()
}

impl<'de> Deserialize<'de> for Codespace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Row::deserialize(deserializer)?.codespace().map_err(D::Error::custom)
    }
}

/// The `codespaces` of one page: each read, or the reason why it was not.
#[derive(Debug, Clone)]
pub(super) struct Rows(pub(super) Vec<Result<Codespace, String>>);

/// A page of the listing.
#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    pub(super) codespaces: Rows,
}

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(RowByRow)
    }
}

struct RowByRow;

impl<'de> Visitor<'de> for RowByRow {
    type Value = Rows;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of codespaces")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Rows, A::Error> {
        let mut rows = Vec::new();
        while let Some(row) = sequence.next_element::<Maybe<Row>>()? {
            if rows.len() == MOST_ROWS {
                return Err(A::Error::custom("too many rows"));
            }
            rows.push(row.read().ok_or_else(|| "it does not have the shape of a codespace".to_owned()).and_then(Row::codespace));
        }
        Ok(Rows(rows))
    }
}
