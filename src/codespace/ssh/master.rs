//! The control master: one child in a process group of its own, from its start to its end.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::host::Host;
use super::runtime::{Socket, plain};
use super::session::terminate;
use super::tail::Tail;
use super::{Guarded, Purpose, Setting, SshError, spawn_error};
use crate::codespace::failure::{Failure, Phase};
use crate::codespace::name::CodespaceName;

/// Least time between two looks whether the master has made its socket: each costs one `stat`, and half of it is lost on each connection.
const LOOK: Duration = Duration::from_millis(1);
/// What is lost is no more than so small a part of what the connection took.
const LOST: u32 = 200;
/// Longest wait for each step of its end.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of stderr that are kept.
const KEPT: usize = 8 * 1024;

/// A running control master. Dropped, its process group is killed first, then the socket is removed.
#[derive(Debug)]
pub(super) struct Master {
    group: Group,
    child: Mutex<Child>,
    handle: Handle,
    _socket: Socket,
    // Goes on reading what nobody will look at, so that the master never blocks on it.
    _tail: Tail,
}

/// How to read the last words of a master that ended too soon.
type Reading = fn(Option<i32>, &str) -> Failure;

impl Master {
    /// Through `gh codespace ssh`, which points ssh at the tunnel and authorises the key.
    pub(super) async fn through_gh(name: &CodespaceName, guarded: &Guarded, key: &Path, setting: &Setting) -> Result<Self, SshError> {
        plain(key)?;
        let socket = Socket::reserve(&setting.runtime)?;
        let mut gh = command(&setting.programs.gh, setting);
        for name in &guarded.remove {
            gh.env_remove(name);
        }
        gh.envs(guarded.set.iter().map(|(name, value)| (name, value)));
        gh.args(["codespace", "ssh", "-c", &name.to_string(), "--", "-F", "none", "-i"]).arg(key);
        gh.args(["-o", "IdentitiesOnly=yes", "-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no"]);
        options(&mut gh, &socket, &setting.purpose);
        Self::start(gh, &setting.programs.gh, socket, setting, Failure::of_gh).await
    }

    /// Through ssh, with the user's own configuration and keys.
    pub(super) async fn to_host(host: &Host, setting: &Setting) -> Result<Self, SshError> {
        let socket = Socket::reserve(&setting.runtime)?;
        let mut ssh = command(&setting.programs.ssh, setting);
        options(&mut ssh, &socket, &setting.purpose);
        ssh.args(["-o", "RemoteCommand=none", "-o", "PermitLocalCommand=no", "--"]).arg(host.to_string());
        Self::start(ssh, &setting.programs.ssh, socket, setting, Failure::of_ssh).await
    }

    async fn start(mut command: Command, program: &Path, socket: Socket, setting: &Setting, reading: Reading) -> Result<Self, SshError> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        if matches!(setting.purpose, Purpose::Visit) {
            command.process_group(0);
        }
        let mut child = command.spawn().map_err(|source| spawn_error(program, source))?;
        // From here on, dropping the group ends it, whatever happens to this future.
        let group = Group::of(&child);
        let mut tail = Tail::of(child.stderr.take(), KEPT);
        let handle = Handle { ssh: setting.programs.ssh.clone(), socket: socket.path().to_owned(), control_path: socket.option() };
        socket.served_by(group.number()).map_err(|source| SshError::Files { what: "control sockets", path: socket.path().to_owned(), source })?;
        let ended = tokio::select! {
            biased;
            () = ready(&socket) => None,
            status = child.wait() => Some(status.ok().and_then(|status| status.code())),
            () = tokio::time::sleep(setting.ready_deadline) => return Err(Failure::Timeout { phase: Phase::Connection }.into()),
        };
        if let Some(code) = ended {
            group.finish();
            return Err(reading(code, &tail.text().await).into());
        }
        Ok(Self { group, child: Mutex::new(child), handle, _socket: socket, _tail: tail })
    }

    /// How channels reach it.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Whether the child is known to have ended; then nothing of its group is left.
    pub(super) fn ended(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = !matches!(child.try_wait(), Ok(None));
        if ended {
            self.group.finish();
        }
        ended
    }

    pub(super) fn process_group(&self) -> i32 {
        self.group.number()
    }

    /// Asks it to end, tells it, kills it.
    pub(super) async fn close(self) {
        let mut child = self.child.into_inner().unwrap_or_else(PoisonError::into_inner);
        terminate(&self.handle.socket).await;
        for signal in [None, Some(Signal::SIGTERM), Some(Signal::SIGKILL)] {
            if let Some(signal) = signal {
                self.group.send(signal);
            }
            if tokio::time::timeout(PATIENCE, child.wait()).await.is_ok() {
                self.group.finish();
                break;
            }
        }
    }
}

/// ssh makes the socket once it is authenticated, and gives it this name once it listens there.
async fn ready(socket: &Socket) {
    let began = Instant::now();
    while !socket.path().exists() {
        tokio::time::sleep(LOOK.max(began.elapsed() / LOST)).await;
    }
}

/// How a running master is reached.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    pub(super) ssh: PathBuf,
    pub(super) socket: PathBuf,
    /// The option that names the socket to ssh.
    pub(super) control_path: String,
}

/// A process group that we made, named by its leader. Dropped, it is killed.
///
/// The number is ours as long as the leader was not waited for or another member lives. So whoever waits for the leader calls
/// [`Group::finish`] right after, and no signal goes to that number again.
#[derive(Debug)]
pub(super) struct Group(AtomicI32);

impl Group {
    /// Of a child that was just started with `process_group(0)`, or that makes itself the leader of a session first of all.
    pub(super) fn of(child: &Child) -> Self {
        Self(AtomicI32::new(child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or(0)))
    }

    /// The leader's process id; 0 when the group is finished.
    pub(super) fn number(&self) -> i32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sends a signal to all of it.
    fn send(&self, signal: Signal) {
        if let group @ 1.. = self.number() {
            // It fails when nobody is left, which is what is wanted.
            let _ = killpg(Pid::from_raw(group), signal);
        }
    }

    /// Kills what is left of it, and forgets it.
    pub(super) fn finish(&self) {
        self.send(Signal::SIGKILL);
        self.0.store(0, Ordering::Relaxed);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.finish();
    }
}

/// A command of that program, in a session of its own where a terminal is to be carried.
fn command(program: &Path, setting: &Setting) -> Command {
    match &setting.purpose {
        Purpose::Visit => setting.environment.command(program),
        Purpose::Terminal { apart, .. } => {
            let mut command = setting.environment.command(&apart.program);
            command.args(apart.before(program));
            command
        }
    }
}

/// Options that both kinds of master share. gh adds `-C` itself; a host's compression is the user's choice.
fn options(command: &mut Command, socket: &Socket, purpose: &Purpose) {
    let fixed = ["BatchMode=yes", "ControlMaster=yes", "ControlPersist=no", "ConnectTimeout=20"];
    // The second kind sends nothing of its own accord: see the prose of the module above.
    let (alive, forwards): (&[&str], &[String]) = match purpose {
        Purpose::Visit => (&["ServerAliveInterval=15", "ServerAliveCountMax=3"], &[]),
        Purpose::Terminal { forwards, .. } => (&["ServerAliveInterval=0", "TCPKeepAlive=no", "RekeyLimit=default none"], forwards),
    };
    // LogLevel: a banner of the far side must not stand among the words that are classified.
    let closed = ["ForwardAgent=no", "ClearAllForwardings=yes", "LogLevel=ERROR"];
    // Of an option that is given twice ssh takes the first.
    for option in forwards.iter().map(String::as_str).chain(fixed).chain(alive.iter().copied()).chain(closed) {
        command.args(["-o", option]);
    }
    command.args(["-o", &socket.option(), "-N"]);
}
