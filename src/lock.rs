//! Locks between processes: one pass at a time, one agent at a time.
//!
//! Promises: a lock ends with its process, whatever becomes of it; the file is never removed, so two can never hold "the" lock on
//! two files of one name. What it says of its holder is for people.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

/// What only one process does at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alone {
    /// A pass.
    Pass,
    /// Being the agent.
    Agent,
}

impl Alone {
    fn file(self) -> &'static str {
        match self {
            Self::Pass => "pass.lock",
            Self::Agent => "agent.lock",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Agent => "agent",
        }
    }
}

/// A lock that is held; it is free when the last clone is gone.
#[derive(Debug, Clone)]
pub struct Lock {
    _lock: Arc<Flock<File>>,
}

/// Why the lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("another {} is running{}", what.word(), holder.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Busy {
        /// What it does.
        what: Alone,
        /// Which process, if it wrote that down.
        holder: Option<u32>,
    },
    /// The lock file cannot be used.
    #[error("the {} lock {} cannot be used", what.word(), path.display())]
    Unusable {
        /// What for.
        what: Alone,
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Lock {
    /// Takes the lock in a directory, waiting for its holder at most `patience`.
    ///
    /// # Errors
    /// When another process holds it all that time, or it cannot be used.
    pub async fn take(directory: &Path, what: Alone, patience: Duration) -> Result<Self, LockError> {
        let path = directory.join(what.file());
        let unusable = |source: io::Error| LockError::Unusable { what, path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(unusable)?;
        let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = open().map_err(unusable)?;
        let began = Instant::now();
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(mut lock) => {
                    // Only for people; the lock itself is the flock, which a full disk takes as well.
                    let _ = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| write!(lock, "{}", std::process::id()));
                    return Ok(Self { _lock: Arc::new(lock) });
                }
                Err((back, nix::errno::Errno::EWOULDBLOCK | nix::errno::Errno::EINTR)) => file = back,
                Err((_, error)) => return Err(unusable(error.into())),
            }
            if began.elapsed() >= patience {
                let mut text = String::new();
                let holder = file.rewind().and_then(|()| file.take(32).read_to_string(&mut text)).ok().and_then(|_| text.trim().parse().ok());
                return Err(LockError::Busy { what, holder });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
