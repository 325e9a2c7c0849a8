//! How the program ends: exit codes, and what is said when something failed.
//!
//! Promises: inside, errors are types; here, at the edge, each gets a kind, an exit code and the command that mends it.

use std::error::Error;
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::paths::PathsError;
use crate::reconcile::report::Fault;

/// The exit codes, which scripts may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done. Deferred, skipped, diverged or not Available is no failure.
    Done,
    /// 1: nothing could be done; or what was asked is not so (`status --check`, `verify`).
    Failed,
    /// 2: the command line or the configuration is wrong.
    Usage,
    /// 3: done in part; or a codespace that was named is not Available.
    Partly,
    /// 4: no agent runs.
    NoAgent,
    /// 75: another pass is running.
    Busy,
    /// Whatever the ssh of `connect` ended with; or 128 and the number of the signal that ended a verb.
    Code(u8),
}

impl Exit {
    /// Those with a meaning of their own, in the order of their numbers.
    pub const ALL: [Self; 6] = [Self::Done, Self::Failed, Self::Usage, Self::Partly, Self::NoAgent, Self::Busy];

    /// What it means, for people.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "Done. What is deferred, skipped or diverged is no failure.",
            Self::Failed => "Failed: the list of codespaces, or everything; or what was asked is not so (doctor, verify, vault verify, status --check).",
            Self::Usage => "The command line or the configuration is wrong.",
            Self::Partly => "Done in part, or a session was refused; or a codespace that was named does not run.",
            Self::NoAgent => "No agent runs.",
            Self::Busy => "Another pass is running.",
            Self::Code(_) => "What the ssh of connect ended with, 255 if the connection was lost; or 128 and the number of the signal that ended it.",
        }
    }

    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Partly => 3,
            Self::NoAgent => 4,
            Self::Busy => 75,
            Self::Code(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// What kind of failure, which decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The command line asks for what cannot be.
    Usage,
    /// The configuration is wrong.
    Config,
    /// Nothing could be done.
    Failed,
    /// Some of it was done.
    Partly,
    /// No agent runs.
    NoAgent,
    /// Another pass is running.
    Busy,
}

impl Kind {
    /// How the program ends.
    #[must_use]
    pub fn exit(self) -> Exit {
        match self {
            Self::Usage | Self::Config => Exit::Usage,
            Self::Failed => Exit::Failed,
            Self::Partly => Exit::Partly,
            Self::NoAgent => Exit::NoAgent,
            Self::Busy => Exit::Busy,
        }
    }
}

/// A failure as its user sees it: `error:` what and where, `caused by:` lines, `hint:` what mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its kind.
    pub kind: Kind,
    /// What and where: one lower-case fragment.
    pub message: String,
    /// A line to look at, shown below the message.
    pub excerpt: Option<Box<str>>,
    /// Why, outermost first.
    pub causes: Vec<String>,
    /// The command that mends it, or what to write instead.
    pub hint: Option<String>,
    /// Further failures of the same kind, shown after this one.
    pub also: Vec<Failure>,
}

impl Failure {
    /// A failure without a cause.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), excerpt: None, causes: Vec::new(), hint: None, also: Vec::new() }
    }

    /// An error and all its sources.
    #[must_use]
    pub fn of(kind: Kind, error: &dyn Error) -> Self {
        let mut failure = Self::new(kind, error.to_string());
        failure.add_sources(error.source());
        failure
    }

    /// Because of this error, and of all its sources.
    #[must_use]
    pub fn because(mut self, error: &dyn Error) -> Self {
        self.add_sources(Some(error));
        self
    }

    /// With what mends it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    fn add_sources(&mut self, mut source: Option<&dyn Error>) {
        while let Some(error) = source {
            self.causes.push(error.to_string());
            source = error.source();
        }
    }
}

/// A fault of a report, as a failure of the program.
#[must_use]
pub fn fault(kind: Kind, message: &str, fault: &Fault) -> Failure {
    let mut failure = Failure::new(kind, message);
    failure.causes.push(fault.message.clone());
    failure.hint.clone_from(&fault.hint);
    failure
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let mut failures = error.problems.iter().map(|problem| Self {
            excerpt: problem.place.as_ref().map(|place| place.excerpt().into()),
            hint: problem.hint.clone(),
            ..Self::new(Kind::Config, error.headline(problem))
        });
        let first = failures.next().unwrap_or_else(|| Self::new(Kind::Config, format!("{}: cannot be used", error.file.display())));
        Self { also: failures.collect(), ..first }
    }
}

impl From<PathsError> for Failure {
    fn from(error: PathsError) -> Self {
        Self::of(Kind::Config, &error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_failure_names_every_source_once() {
        let error = Outer(std::io::Error::other("inner"));
        assert_eq!(Failure::of(Kind::Busy, &error).causes, ["inner"]);
        assert_eq!(Failure::new(Kind::Busy, "x").because(&error).causes, ["outer", "inner"]);
    }

    #[test]
    fn the_exit_codes_are_those_that_scripts_rely_on() {
        let codes = [Kind::Usage, Kind::Config, Kind::Failed, Kind::Partly, Kind::NoAgent, Kind::Busy].map(|kind| kind.exit().code());
        assert_eq!(codes, [2, 2, 1, 3, 4, 75]);
        assert_eq!(Exit::Done.code(), 0);
    }
}
