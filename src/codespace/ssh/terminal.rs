//! A terminal of the user's own over a connection that is there already.
//!
//! The client gives its three descriptors to the master, which reads and writes them. So the master must not be a background
//! process of that terminal, which would be stopped at its first read: it is started in a session of its own ([`Apart`]). And
//! while the client is stopped the master is stopped, too, or it would take what is typed for the shell in front.
//!
//! Promises: the client runs in our process group and owns the terminal; nothing is read or written in between, so bytes go
//! through unchanged. Never: a new connection; if the master is gone, ssh ends with 255.

use std::ffi::OsString;
use std::io::{IsTerminal as _, stdin};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::process::getpgrp;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

use super::master::Handle;
use super::session::served_by;
use super::words::Words;
use super::{Environment, SshError, spawn_error};

/// What ssh ends with when the connection is lost.
const LOST: u8 = 255;
/// What a shell adds to the number of a signal.
const BY_SIGNAL: u8 = 128;

/// Starts a program in a session of its own: our own program, which becomes the other one. (`setsid` is no part of macOS.)
#[derive(Debug, Clone)]
pub struct Apart {
    /// Our own program.
    pub program: PathBuf,
    /// Its words before the other program and that one's arguments.
    pub words: Vec<OsString>,
}

/// Where ssh takes its configuration from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Configuration {
    /// From nowhere, as for a codespace.
    None,
    /// From the user's files, as for a machine of the user's.
    Users,
}

/// A client that runs.
#[derive(Debug)]
pub struct Terminal {
    client: Arc<AtomicI32>,
    master: Option<Pid>,
    deaf: bool,
    before: Modes,
}

/// Tells the client of a signal that came to us.
#[derive(Debug, Clone)]
pub struct Relay(Arc<AtomicI32>);

impl Terminal {
    /// Starts the client. `destination` is what ssh calls the far side in its messages, and what its configuration goes by.
    pub(super) async fn start(
        handle: &Handle,
        environment: &Environment,
        destination: &str,
        configuration: Configuration,
        words: &Words,
    ) -> Result<Self, SshError> {
        let master = served_by(&handle.socket).await;
        yield_to_foreground(words.deaf);
        let before = Modes::now();
        let mut ssh = environment.command(&handle.ssh);
        if configuration == Configuration::None {
            ssh.args(["-F", "none"]);
        }
        ssh.args(["-o", &handle.control_path, "-o", "ControlMaster=no", "-o", "ProxyCommand=false"]);
        if !words.verbose {
            ssh.args(["-o", "LogLevel=ERROR"]);
        }
        ssh.args(&words.flags).args(["--", destination]).args(&words.command);
        ssh.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
        // Not tokio's: its way of waiting does not see a client that is stopped.
        let child = ssh.into_std().spawn().map_err(|source| spawn_error(&handle.ssh, source))?;
        let client = Arc::new(AtomicI32::new(i32::try_from(child.id()).unwrap_or(0)));
        Ok(Self { client, master, deaf: words.deaf, before })
    }

    /// A way to pass signals on.
    #[must_use]
    pub fn relay(&self) -> Relay {
        Relay(Arc::clone(&self.client))
    }

    /// Waits for the end: ssh's exit code, or 128 and the number of the signal that ended it. Stops when ssh is stopped, and goes
    /// on with it.
    pub async fn ended(self) -> u8 {
        tokio::task::spawn_blocking(move || self.follow()).await.unwrap_or(LOST)
    }

    fn follow(&self) -> u8 {
        let client = Pid::from_raw(self.client.load(Ordering::Relaxed));
        loop {
            let code = match waitpid(client, Some(WaitPidFlag::WUNTRACED)) {
                Ok(WaitStatus::Exited(_, code)) => u8::try_from(code).unwrap_or(LOST),
                Ok(WaitStatus::Signaled(_, signal, _)) => {
                    // It could not do that itself.
                    self.before.put();
                    BY_SIGNAL.saturating_add(u8::try_from(signal as i32).unwrap_or(0))
                }
                Ok(WaitStatus::Stopped(..)) => {
                    self.stop_too(client);
                    continue;
                }
                Ok(_) | Err(nix::errno::Errno::EINTR) => continue,
                Err(_) => LOST,
            };
            self.client.store(0, Ordering::Relaxed);
            return code;
        }
    }

    /// Stops this process as the client is, until somebody continues it.
    fn stop_too(&self, client: Pid) {
        let modes = Modes::now();
        self.before.put();
        let tell_master = |signal| self.master.map(|master| kill(master, signal));
        let _ = tell_master(Signal::SIGSTOP);
        // Not SIGTSTP, which this process hears to be able to follow.
        let _ = raise(Signal::SIGSTOP);
        yield_to_foreground(self.deaf);
        modes.put();
        let _ = tell_master(Signal::SIGCONT);
        let _ = kill(client, Signal::SIGCONT);
    }
}

impl Relay {
    /// Sends a signal to the client, if it still runs.
    pub fn send(&self, signal: Signal) {
        if let client @ 1.. = self.0.load(Ordering::Relaxed) {
            // It fails when the client has just ended, which is what is wanted.
            let _ = kill(Pid::from_raw(client), signal);
        }
    }
}

/// In the background nobody reads the terminal: what the system does to whoever tries, since the master does the reading.
fn yield_to_foreground(deaf: bool) {
    let terminal = stdin();
    if !deaf && terminal.is_terminal() && tcgetpgrp(&terminal).is_ok_and(|front| front != getpgrp()) {
        let _ = raise(Signal::SIGTTIN);
    }
}

/// The modes of the terminal, if standard input is one. ssh neither gives them back when it is stopped, nor sets its own again.
#[derive(Debug)]
struct Modes(Option<Termios>);

impl Modes {
    fn now() -> Self {
        Self(tcgetattr(stdin()).ok())
    }

    fn put(&self) {
        if let Some(modes) = &self.0 {
            // A terminal that is gone has none.
            let _ = tcsetattr(stdin(), OptionalActions::Now, modes);
        }
    }
}

impl Apart {
    /// The words that start `program` in a session of its own, without the program that is run first.
    pub(super) fn before(&self, program: &Path) -> Vec<OsString> {
        self.words.iter().cloned().chain([program.as_os_str().to_owned()]).collect()
    }
}
