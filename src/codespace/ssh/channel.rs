//! One script run on the far machine.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use super::master::{Group, Master};
use super::session::carry;
use super::tail::Tail;
use super::{Environment, SshError, spawn_error};
use crate::codespace::failure::{Failure, Phase, one_line};

/// Bytes of stderr that are kept.
const KEPT: usize = 2 * 1024;

/// A running script. Take the parts to write and read at once; dropped, it is ended.
#[derive(Debug)]
pub struct Channel {
    /// What the script reads. Drop it to let the script see the end.
    pub stdin: pipe::Sender,
    /// What the script writes.
    pub stdout: pipe::Receiver,
    /// How it ends.
    pub end: ChannelEnd,
}

/// The end of a channel. Dropped, what carries it is ended, and the far script loses its stdin.
#[derive(Debug)]
pub struct ChannelEnd {
    carrier: Carrier,
    tail: Tail,
    _permit: OwnedSemaphorePermit,
}

/// What carries a channel.
#[derive(Debug)]
enum Carrier {
    /// A session of the master.
    Session(Held),
    /// A program of its own, with whatever it starts.
    Command { group: Group, child: Child },
}

/// A session that is held by a task; dropped, the task lets go of it.
#[derive(Debug)]
struct Held(JoinHandle<Result<Option<i32>, SshError>>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How a script ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its exit code; `None` when a signal ended it, or the process that carried it.
    pub code: Option<i32>,
    /// The end of what it said on stderr, as one escaped line.
    pub stderr: String,
}

impl Channel {
    /// Over a master: `command` is the one string that the far login shell gets.
    pub(super) fn over(master: &Master, command: String, permit: OwnedSemaphorePermit) -> Result<Self, SshError> {
        if master.ended() {
            return Err(SshError::MasterGone);
        }
        let socket = master.handle().socket.clone();
        Self::held(socket.clone(), command, permit).map_err(|source| SshError::Files { what: "a channel", path: socket, source })
    }

    fn held(socket: PathBuf, command: String, permit: OwnedSemaphorePermit) -> io::Result<Self> {
        let (stdin, stdout, stderr) = (pipe::pipe()?, pipe::pipe()?, pipe::pipe()?);
        let streams: [OwnedFd; 3] = [stdin.1.into_blocking_fd()?, stdout.0.into_blocking_fd()?, stderr.0.into_blocking_fd()?];
        let session = Held(tokio::spawn(async move { carry(&socket, &command, streams).await }));
        let end = ChannelEnd { carrier: Carrier::Session(session), tail: Tail::of(Some(stderr.1), KEPT), _permit: permit };
        Ok(Self { stdin: stdin.0, stdout: stdout.1, end })
    }

    /// By a command of its own that gets `sh -c SCRIPT` appended, and `sh WORD` if there is one.
    pub(super) fn of_command(
        command: &[String],
        environment: &Environment,
        (script, word): (&str, Option<&str>),
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, SshError> {
        let (program, arguments) = command.split_first().ok_or(SshError::EmptyCommand)?;
        let mut run = environment.command(program);
        run.args(arguments).args(["sh", "-c", script]).args(word.into_iter().flat_map(|word| ["sh", word]));
        Self::started(run, permit).map_err(|source| spawn_error(program.as_ref(), source))
    }

    fn started(mut command: Command, permit: OwnedSemaphorePermit) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true).spawn()?;
        let (group, tail) = (Group::of(&child), Tail::of(child.stderr.take(), KEPT));
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let (stdin, stdout) = (pipe::Sender::from_owned_fd(stdin.into_owned_fd()?)?, pipe::Receiver::from_owned_fd(stdout.into_owned_fd()?)?);
        Ok(Self { stdin, stdout, end: ChannelEnd { carrier: Carrier::Command { group, child }, tail, _permit: permit } })
    }

    /// Closes both streams and waits for the end.
    ///
    /// # Errors
    /// As [`ChannelEnd::finish`].
    pub async fn finish(self, deadline: Duration) -> Result<Finished, SshError> {
        drop((self.stdin, self.stdout));
        self.end.finish(deadline).await
    }
}

impl ChannelEnd {
    /// Whether it has come, as far as is known here.
    pub fn came(&mut self) -> bool {
        match &mut self.carrier {
            Carrier::Session(Held(task)) => task.is_finished(),
            Carrier::Command { child, .. } => !matches!(child.try_wait(), Ok(None)),
        }
    }

    /// Lets go of it, once the streams are closed and nothing is to be known any more. A program may do what it does at its end; the
    /// master sees to that of a session by itself.
    pub async fn leave(mut self, deadline: Duration) {
        if let Carrier::Command { .. } = self.carrier {
            let _ = tokio::time::timeout(deadline, self.carrier.ended()).await;
        }
    }

    /// Waits for the end, at most `deadline`. An exit code of the far script is no error.
    ///
    /// # Errors
    /// [`SshError::MasterGone`] when the connection was lost, a [`Failure::Timeout`] when the deadline passed, and a
    /// [`Failure::Transient`] when the far sshd opened no session.
    pub async fn finish(mut self, deadline: Duration) -> Result<Finished, SshError> {
        let ended = tokio::time::timeout(deadline, self.carrier.ended()).await;
        let code = ended.map_err(|_| Failure::Timeout { phase: Phase::Channel })??;
        Ok(Finished { code, stderr: one_line(&self.tail.text().await) })
    }
}

impl Carrier {
    async fn ended(&mut self) -> Result<Option<i32>, SshError> {
        match self {
            // A task that was aborted belongs to a runtime that ends, and its connection with it.
            Self::Session(Held(task)) => task.await.unwrap_or(Err(SshError::MasterGone)),
            Self::Command { group, child } => {
                let status = child.wait().await;
                group.finish();
                Ok(status.ok().and_then(|status| status.code()))
            }
        }
    }
}
