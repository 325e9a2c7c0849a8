//! What failed, as a fault of the report: its words, its hint, whether a person must act, and what it is about.
//!
//! Promises: one place where the errors of the far side and of GitHub become faults.

use std::error::Error;
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
        ListError::Network { .. } => FaultKind::Network,
        // Who is answered is not offline: if that goes on, the passes are late.
        _ => FaultKind::Other,
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
        error => {
            let disk = sources(error).filter_map(|source| source.downcast_ref::<io::Error>()).find_map(of_disk);
            let mut message = error.to_string();
            for source in sources(error).skip(1).map(ToString::to_string).filter(|source| !error.to_string().contains(source)) {
                message.push_str(": ");
                message.push_str(&source);
            }
            let found = disk.unwrap_or_else(|| Fault { hint: error.hint(), ..Fault::new(FaultKind::Other, "") });
            Fault { message, ..found }
        }
    }
}

/// An error and everything behind it.
fn sources<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn Error + 'static)| (*error).source())
}

/// What an error of this machine's file system is about.
#[must_use]
pub fn of_io(error: &io::Error) -> FaultKind {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    if matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem) { FaultKind::Disk } else { FaultKind::Other }
}

/// A fault of this machine's disk, if that is what an error is.
#[must_use]
pub fn of_disk(error: &io::Error) -> Option<Fault> {
    let fault = || Fault {
        hint: Some("claude-session-sync doctor says where space is short".to_owned()),
        permanent: true,
        ..Fault::new(FaultKind::Disk, format!("a disk of this machine cannot be written: {error}"))
    };
    (of_io(error) == FaultKind::Disk).then(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_errors() {
        let of = |number| of_io(&io::Error::from_raw_os_error(number));
        use nix::libc::{EACCES, EDQUOT, ENOSPC, EROFS};
        assert_eq!([ENOSPC, EDQUOT, EROFS, EACCES].map(of), [FaultKind::Disk, FaultKind::Disk, FaultKind::Disk, FaultKind::Other]);
        assert!(of_disk(&io::Error::from_raw_os_error(ENOSPC)).is_some_and(|fault| fault.permanent));
        let visit = of_visit(&VisitError::Here(io::Error::from_raw_os_error(ENOSPC)));
        assert_eq!((visit.kind, visit.message.as_str()), (FaultKind::Disk, "a file of this machine: No space left on device (os error 28)"));
    }
}
