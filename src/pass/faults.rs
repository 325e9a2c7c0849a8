//! What failed, as a fault of the report: its words, its hint, whether a person must act, and what it is about.
//!
//! Promises: one place where the errors of the far side and of GitHub become faults.

use std::io;

use crate::codespace::failure::{Class as FailureClass, Failure};
use crate::codespace::github::{Class, ListError};
use crate::codespace::replica::VisitError;
use crate::codespace::ssh::SshError;
use crate::codespace::token::TokenError;
use crate::reconcile::report::{Fault, FaultKind};

/// There is no token.
#[must_use]
pub fn of_token(error: &TokenError) -> Fault {
    Fault { hint: error.hint(), permanent: true, ..Fault::new(FaultKind::Login, error.to_string()) }
}

/// There is no list of codespaces.
#[must_use]
pub fn of_list(error: &ListError) -> Fault {
    let kind = match error {
        ListError::NotLoggedIn { .. } => FaultKind::Login,
        ListError::ScopeMissing { .. } | ListError::SsoRequired { .. } | ListError::Refused { .. } => FaultKind::Scope,
        ListError::Network { .. } | ListError::ServerError { .. } | ListError::RateLimited { .. } | ListError::SecondaryLimit { .. } => FaultKind::Network,
        ListError::NotFound { .. } | ListError::BadAnswer { .. } => FaultKind::Other,
    };
    Fault { hint: error.hint(), permanent: error.class() == Class::Permanent, ..Fault::new(kind, error.to_string()) }
}

/// A connection failed.
#[must_use]
pub fn of_ssh(error: &SshError) -> Fault {
    let (kind, permanent) = match error {
        SshError::Failed(failure) => {
            let kind = match failure {
                Failure::NotLoggedIn => FaultKind::Login,
                Failure::ScopeMissing => FaultKind::Scope,
                Failure::NoSshd => FaultKind::NoSshd,
                Failure::Timeout { .. } | Failure::Transient(_) => FaultKind::Network,
                _ => FaultKind::Other,
            };
            (kind, matches!(failure.class(), FailureClass::UntilUserActs | FailureClass::ThisEpisode))
        }
        SshError::MasterGone => (FaultKind::Network, false),
        SshError::Files { source, .. } => (of_io(source), true),
        _ => (FaultKind::Other, true),
    };
    Fault { hint: error.hint(), permanent, ..Fault::new(kind, error.to_string()) }
}

/// A visit failed.
#[must_use]
pub fn of_visit(error: &VisitError) -> Fault {
    match error {
        VisitError::Connection(error) => of_ssh(error),
        VisitError::Here(source) => Fault { hint: error.hint(), ..Fault::new(of_io(source), error.to_string()) },
        error => Fault { hint: error.hint(), ..Fault::new(FaultKind::Other, error.to_string()) },
    }
}

/// What an error of this machine's file system is about.
#[must_use]
pub fn of_io(error: &io::Error) -> FaultKind {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    if matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem) { FaultKind::Disk } else { FaultKind::Other }
}
