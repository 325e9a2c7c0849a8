//! The signals of a terminal, heard instead of obeyed.
//!
//! They are handled, not ignored: what is ignored stays so in a program that is run, and ssh must obey them.

use std::pin::pin;
use std::time::Duration;

use nix::sys::signal::{Signal, raise};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::sync::oneshot;

use super::{Exit, Failure, Kind};

/// So long file work is waited for that is under way when a signal comes.
const LEFT: Duration = Duration::from_secs(1);

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

/// Does that unless a signal wants the end first. A wish to stop is obeyed.
pub(super) async fn unless_ended<T>(signals: &mut Signals, work: impl Future<Output = T>) -> Result<T, Signal> {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            heard = signals.next() => match heard {
                Signal::SIGTSTP => drop(raise(Signal::SIGSTOP)),
                signal => return Err(signal),
            },
        }
    }
}

/// The exit of who was ended by a signal, as a shell tells it.
pub(super) fn ended_by(signal: Signal) -> Exit {
    Exit::Code(128_u8.saturating_add(u8::try_from(signal as i32).unwrap_or(0)))
}

/// Runs what connects somewhere: to its end, or until a signal wants it to stop. Then its connections are ended, which else would keep
/// their codespaces awake; file work that is under way is left, as the next pass puts it right.
///
/// # Errors
/// There is no runtime, or the signals cannot be heard.
pub(super) fn run_unless_ended<T>(work: impl Future<Output = T>) -> Result<Result<T, Exit>, Failure> {
    let runtime = super::runtime()?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        // The work is looked at thousands of times, and five signals with it each time were a twentieth of all that a pass does.
        let (tell, told) = oneshot::channel();
        tokio::spawn(async move {
            if let Err(signal) = unless_ended(&mut signals, std::future::pending::<()>()).await {
                let _ = tell.send(signal);
            }
        });
        tokio::select! {
            biased;
            done = work => Ok::<_, Failure>(Ok(done)),
            Ok(signal) = told => Ok(Err(signal)),
        }
    })?;
    if ended.is_err() {
        runtime.shutdown_timeout(LEFT);
    }
    Ok(ended.map_err(ended_by))
}
