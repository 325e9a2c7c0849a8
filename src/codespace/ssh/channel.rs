//! One script run on the far machine.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::OwnedSemaphorePermit;

use super::master::{Group, Handle, Master};
use super::tail::Tail;
use super::{Environment, SshError, spawn_error};
use crate::codespace::failure::{Failure, Phase, one_line};

/// Bytes of stderr that are kept.
const KEPT: usize = 2 * 1024;

/// A running script. Take the parts to write and read at once; dropped, it is ended.
#[derive(Debug)]
pub struct Channel {
    /// What the script reads. Drop it to let the script see the end.
    pub stdin: ChildStdin,
    /// What the script writes.
    pub stdout: ChildStdout,
    /// How it ends.
    pub end: ChannelEnd,
}

/// The end of a channel: the process that carries it. Dropped, its process group is killed, and the far script loses its stdin.
#[derive(Debug)]
pub struct ChannelEnd {
    group: Group,
    child: Child,
    tail: Tail,
    master: Option<Handle>,
    _permit: OwnedSemaphorePermit,
}

/// How a script ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its exit code; `None` when a signal ended the process that carried it.
    pub code: Option<i32>,
    /// The end of what it said on stderr, as one escaped line.
    pub stderr: String,
}

impl Channel {
    /// Over a master: `command` is the one string that the far login shell gets.
    pub(super) fn over(master: &Master, environment: &Environment, command: &str, permit: OwnedSemaphorePermit) -> Result<Self, SshError> {
        if master.ended() {
            return Err(SshError::MasterGone);
        }
        let handle = master.handle().clone();
        let mut ssh = environment.command(&handle.ssh);
        ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-o", "LogLevel=ERROR", "-o", "ControlMaster=no"]);
        // With a dead master ssh would connect by itself; this way it cannot.
        ssh.args(["-o", &handle.control_path, "-o", "ProxyCommand=false", "x@any.invalid", command]);
        let program = handle.ssh.clone();
        Self::start(ssh, Some(handle), permit).map_err(|source| spawn_error(&program, source))
    }

    /// By a command of its own that gets `sh -c SCRIPT` appended.
    pub(super) fn of_command(command: &[String], environment: &Environment, script: &str, permit: OwnedSemaphorePermit) -> Result<Self, SshError> {
        let (program, arguments) = command.split_first().ok_or(SshError::EmptyCommand)?;
        let mut run = environment.command(program);
        run.args(arguments).args(["sh", "-c", script]);
        Self::start(run, None, permit).map_err(|source| spawn_error(program.as_ref(), source))
    }

    fn start(mut command: Command, master: Option<Handle>, permit: OwnedSemaphorePermit) -> std::io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true).spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else { return Err(std::io::ErrorKind::BrokenPipe.into()) };
        let (group, tail) = (Group::of(&child), Tail::of(child.stderr.take(), KEPT));
        Ok(Self { stdin, stdout, end: ChannelEnd { group, child, tail, master, _permit: permit } })
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
    /// Waits for the end, at most `deadline`. An exit code of the far script is no error.
    ///
    /// # Errors
    /// [`SshError::MasterGone`] when the connection was lost, a [`Failure::Timeout`] when the deadline passed, and a
    /// [`Failure::Transient`] when the far sshd opened no session.
    pub async fn finish(mut self, deadline: Duration) -> Result<Finished, SshError> {
        let waited = tokio::time::timeout(deadline, self.child.wait()).await;
        let code = waited.map_err(|_| Failure::Timeout { phase: Phase::Channel })?.ok().and_then(|status| status.code());
        self.group.finish();
        let stderr = self.tail.text().await;
        // ssh says 255 for whatever it could not do, and a script may say it, too.
        if let (Some(255), Some(master)) = (code, &self.master) {
            if !master.answers().await {
                return Err(SshError::MasterGone);
            }
            if stderr.contains("Session open refused by peer") || stderr.contains("mux_client_") {
                return Err(Failure::Transient(one_line(&stderr)).into());
            }
        }
        Ok(Finished { code, stderr: one_line(&stderr) })
    }
}
