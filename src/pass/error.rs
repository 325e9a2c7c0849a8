//! Why a pass came to nothing, or whatever else reads this machine as a pass does.

use std::io;

use super::target::NameError;
use crate::lock::LockError;
use crate::reconcile::report::Fault;

/// Why nothing could be attempted.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// Another pass runs, or the lock is unusable.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A name that fits nothing, or several.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The list of codespaces, on which a given name depends, was not to be had.
    #[error("the codespaces cannot be listed: {}", .0.message)]
    Listing(Fault),
    /// This machine's store or vault.
    #[error("this machine's {what} cannot be used")]
    Here {
        /// What of it.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A part of the pass panicked.
    #[error("the pass broke off: {0}")]
    Broken(String),
}

impl PassError {
    /// With what is behind it, in one line: for a log, and for whoever has no place for a cause of its own.
    #[must_use]
    pub fn whole(&self) -> String {
        let causes = std::iter::successors(std::error::Error::source(self), |error| error.source());
        causes.fold(self.to_string(), |text, cause| format!("{text}: {cause}"))
    }
}

pub(super) fn here_error(what: &'static str) -> impl FnOnce(io::Error) -> PassError {
    move |source| PassError::Here { what, source }
}
