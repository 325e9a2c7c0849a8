//! The signals of a terminal, heard instead of obeyed.
//!
//! They are handled, not ignored: what is ignored stays so in a program that is run, and ssh must obey them.

use nix::sys::signal::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::cli::{Failure, Kind};

/// What is heard from now on. Until the end of the process nothing of it ends or stops the process by itself any more.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Stream,
    quit: Stream,
    hangup: Stream,
    terminate: Stream,
    suspend: Stream,
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// The system does not allow it.
    pub(super) fn listen() -> Result<Self, Failure> {
        let hear = |kind| signal(kind).map_err(|error| Failure::new(Kind::Failed, "the signals of the terminal cannot be heard").because(&error));
        Ok(Self {
            interrupt: hear(SignalKind::interrupt())?,
            quit: hear(SignalKind::quit())?,
            hangup: hear(SignalKind::hangup())?,
            terminate: hear(SignalKind::terminate())?,
            suspend: hear(SignalKind::from_raw(Signal::SIGTSTP as i32))?,
        })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::SIGINT,
            _ = self.quit.recv() => Signal::SIGQUIT,
            _ = self.hangup.recv() => Signal::SIGHUP,
            _ = self.terminate.recv() => Signal::SIGTERM,
            _ = self.suspend.recv() => Signal::SIGTSTP,
        }
    }
}
