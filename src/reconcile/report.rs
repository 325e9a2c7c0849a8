//! What a pass did, as a value: for the log, the tables and `--json`.
//!
//! A codespace that fails is data here, not an error of the pass.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::manifest::{Part, SessionId};
use super::project::RepositoryId;

/// The format of a report.
pub const VERSION: u32 = 1;

/// One pass.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Format.
    pub version: u32,
    /// When it began, UTC.
    pub began: DateTime<Utc>,
    /// When it ended, UTC.
    pub ended: DateTime<Utc>,
    /// Nothing was installed; `actions` is what would have been.
    pub dry_run: bool,
    /// Why the codespaces could not be listed.
    pub listing: Option<Fault>,
    /// A disk of this machine that is full or cannot be written.
    #[serde(default)]
    pub disk: Option<Fault>,
    /// Warnings that concern no one visit.
    pub notes: Vec<String>,
    /// Every codespace and machine of the pass.
    pub visits: Vec<Visit>,
    /// Every file that was, or would be, installed.
    pub actions: Vec<Action>,
    /// Copies that lost.
    pub conflicts: Vec<Conflict>,
    /// What was left alone, and why.
    pub left: Vec<Left>,
    /// Sessions that their user forgot, where that meant something.
    #[serde(default)]
    pub forgotten: Vec<Forgotten>,
    /// Sessions placed here for which no clone was known, with the line that changes it.
    pub unplaced: Vec<Unplaced>,
    /// Names in this machine's store that were passed over.
    pub skipped: Vec<Skipped>,
    /// Who runs, machines included; none where the list was not had whole. For the agent, and in no `--json`.
    #[serde(skip)]
    pub running: Option<BTreeSet<String>>,
}

/// One codespace or machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visit {
    /// Its name.
    pub name: String,
    /// What its owner calls it.
    pub display_name: String,
    /// Its repositories.
    pub repositories: Vec<RepositoryId>,
    /// What came of it.
    pub outcome: Outcome,
    /// Sessions that lie there.
    pub sessions: usize,
    /// Of those, how many have bytes that are not on this machine.
    pub not_home: usize,
    /// Sessions there that claim an id of another repository.
    #[serde(default)]
    pub refused: usize,
    /// How its sessions stood when the pass had looked, by word.
    pub standings: BTreeMap<String, usize>,
    /// ssh connections made.
    pub connections: u32,
    /// Commands run over them.
    pub channels: u32,
    /// Content bytes from there.
    pub bytes_in: u64,
    /// Content bytes to there.
    pub bytes_out: u64,
    /// Names there that were passed over.
    pub skipped: Vec<Skipped>,
    /// Warnings, such as a clock that is off.
    pub notes: Vec<String>,
}

/// What came of a visit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It went to its end.
    Visited,
    /// It was not visited, and that is no failure.
    NotVisited {
        /// Why: its state, or the user's settings.
        why: String,
    },
    /// It failed.
    Failed(Fault),
}

/// A failure that people may have to mend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// In one line.
    pub message: String,
    /// The command or the lines that mend it.
    pub hint: Option<String>,
    /// Whether it stays until a person acts.
    pub permanent: bool,
    /// What it is about.
    #[serde(default)]
    pub kind: FaultKind,
}

/// What a failure is about, for whoever decides whether a person is to be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// GitHub knows nobody by this token, or there is none.
    Login,
    /// The token may not do what is needed.
    Scope,
    /// The codespace has no SSH server.
    NoSshd,
    /// A disk of this machine is full or cannot be written.
    Disk,
    /// The configuration.
    Configuration,
    /// GitHub will delete a codespace soon.
    Deletion,
    /// The network, or GitHub: it heals by itself.
    Network,
    /// Anything else.
    #[default]
    Other,
}

impl Fault {
    /// A failure that heals by itself, as far as is known, and that nothing mends.
    #[must_use]
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, permanent: false, kind }
    }
}

/// A file that came to a new content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// `here`, or the name of a codespace or machine.
    pub at: String,
    /// Its repository.
    pub repository: RepositoryId,
    /// The session.
    pub session: SessionId,
    /// Its title.
    pub title: Option<String>,
    /// Which file of it.
    pub part: Part,
    /// What was done.
    pub verb: Verb,
    /// Bytes that it gained.
    pub bytes: u64,
    /// What came of it; none in a dry run.
    pub result: Option<ActionResult>,
}

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// It was not there.
    Create,
    /// It gains lines at its end.
    Extend,
    /// The copy that lost makes way.
    Replace,
    /// A copy that lost becomes a session of its own.
    Fork,
}

/// What came of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActionResult {
    /// Done.
    Done,
    /// Left for the next pass: somebody was at work on it.
    Deferred(String),
    /// It failed.
    Failed(String),
}

/// A copy that lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The session.
    pub session: SessionId,
    /// Its title.
    pub title: Option<String>,
    /// Whose copies lost.
    pub lost_at: Vec<String>,
    /// The session that the loser became.
    pub fork: Option<SessionId>,
}

/// A session that was left alone somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// `here`, or the name of a codespace or machine.
    pub at: String,
    /// The session.
    pub session: SessionId,
    /// Its title.
    pub title: Option<String>,
    /// The word for it, as in `status`.
    pub word: String,
    /// Why, for people.
    pub why: String,
}

/// A session that its user forgot, at one place. Without its title: that is forgotten, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// `here`, or the name of a codespace or machine.
    pub at: String,
    /// The session.
    pub session: SessionId,
    /// What it meant there.
    #[serde(flatten)]
    pub what: Forgetting,
}

/// What it means at one place that a session was forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum Forgetting {
    /// It lay there, and was removed.
    Removed,
    /// It lies there, and would be removed: a dry run.
    Due,
    /// Nothing of it lay there; it will not come back.
    Noted,
    /// It is open there, and is removed once it rests.
    Open,
    /// It could not be removed.
    Failed {
        /// Why.
        why: String,
    },
    /// It lies in this machine's store again, and is not touched before its user says so again.
    Again,
    /// Another machine forgot it there: it is not taken there any more, and nothing else follows.
    ByAnother,
}

/// A repository without a clone here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unplaced {
    /// The repository.
    pub repository: RepositoryId,
    /// The project directory that its sessions went to.
    pub project: String,
}

/// A name that was passed over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Skipped {
    /// The name; escaped.
    pub name: String,
    /// Why.
    pub why: String,
}

impl Report {
    /// Whether anything failed that was attempted, or a session was refused somewhere: what it is cannot be trusted or proved.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        self.visits.iter().any(|visit| matches!(visit.outcome, Outcome::Failed(_)) || visit.refused > 0)
            || self.actions.iter().any(|action| matches!(action.result, Some(ActionResult::Failed(_))))
            || self.forgotten.iter().any(|forgotten| matches!(forgotten.what, Forgetting::Failed { .. }))
            || self.left.iter().any(|left| ["refused", "unproven"].contains(&left.word.as_str()))
    }

    /// Whether anything succeeded: a visit, or an action.
    #[must_use]
    pub fn has_successes(&self) -> bool {
        self.visits.iter().any(|visit| matches!(visit.outcome, Outcome::Visited))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report of one codespace that had nothing to do.
    fn good() -> Report {
        let visit = Visit {
            name: "box".to_owned(),
            display_name: "box".to_owned(),
            repositories: Vec::new(),
            outcome: Outcome::Visited,
            sessions: 1,
            not_home: 0,
            refused: 0,
            standings: BTreeMap::new(),
            connections: 1,
            channels: 1,
            bytes_in: 0,
            bytes_out: 0,
            skipped: Vec::new(),
            notes: Vec::new(),
        };
        Report { visits: vec![visit], ..Report::default() }
    }

    fn session() -> SessionId {
        "6f869d7b-ce51-4e00-8a05-674dde6aa368".parse().unwrap()
    }

    fn with(change: impl FnOnce(&mut Report)) -> (bool, bool) {
        let mut report = good();
        change(&mut report);
        (report.has_failures(), report.has_successes())
    }

    #[test]
    fn each_kind_of_failure_is_one_by_itself() {
        let fault = || Fault::new(FaultKind::Other, "x");
        let action = |result| Action {
            at: "here".to_owned(),
            repository: "acme/widget".parse().unwrap(),
            session: session(),
            title: None,
            part: Part::Transcript,
            verb: Verb::Create,
            bytes: 1,
            result,
        };
        let forgotten = |what| Forgotten { at: "box".to_owned(), session: session(), what };
        let left = |word: &str| Left { at: "box".to_owned(), session: session(), title: None, word: word.to_owned(), why: String::new() };
        assert_eq!(with(|_| {}), (false, true));
        assert_eq!(with(|report| report.visits[0].outcome = Outcome::Failed(fault())), (true, false));
        assert_eq!(with(|report| report.visits[0].outcome = Outcome::NotVisited { why: String::new() }), (false, false));
        assert_eq!(with(|report| report.visits[0].refused = 1), (true, true));
        for (result, failed) in [(ActionResult::Failed(String::new()), true), (ActionResult::Done, false)] {
            assert_eq!(with(|report| report.actions.push(action(Some(result.clone())))).0, failed, "{result:?}");
        }
        for (what, failed) in [(Forgetting::Failed { why: String::new() }, true), (Forgetting::Open, false), (Forgetting::Removed, false)] {
            assert_eq!(with(|report| report.forgotten.push(forgotten(what.clone()))).0, failed, "{what:?}");
        }
        for (word, failed) in [("refused", true), ("unproven", true), ("waiting", false), ("deleted", false), ("withheld", false)] {
            assert_eq!(with(|report| report.left.push(left(word))).0, failed, "{word}");
        }
    }
}
