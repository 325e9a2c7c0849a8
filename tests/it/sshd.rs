//! A throw-away codespace: a real sshd behind a counting door on 127.0.0.1, with a home and a `/workspaces` of its own.
//!
//! Each TCP connection is accepted here, counted, and carried to an own `sshd -i`. So no port is guessed, connections are counted
//! exactly, and a test can cut or stall the link. As root the login user is `codespace`, who has no rights; else it is the user who
//! runs the tests. Shells other than bash are run by a forced command, which gives them exactly what a login shell gets.

use std::fs::{self, File, Permissions};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread::JoinHandle;

use nix::unistd::{Uid, User, chown};

use crate::skip::{have, skip};

const SSHD: &str = "/usr/sbin/sshd";

/// A login shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shell {
    Bash,
    Dash,
    Zsh,
    Fish,
    BusyboxAsh,
}

impl Shell {
    pub(crate) const ALL: [Self; 5] = [Self::Bash, Self::Dash, Self::Zsh, Self::Fish, Self::BusyboxAsh];

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Bash => ("bash", "bash"),
            Self::Dash => ("dash", "dash"),
            Self::Zsh => ("zsh", "zsh"),
            Self::Fish => ("fish", "fish"),
            Self::BusyboxAsh => ("busybox", "busybox ash"),
        }
    }
}

/// A running codespace; everything of it is gone when it is dropped.
pub(crate) struct Codespace {
    root: tempfile::TempDir,
    user: User,
    own_workspaces: bool,
    port: u16,
    door: Arc<Door>,
    serving: Option<JoinHandle<()>>,
}

/// What the accepting thread, the carrying threads and the test share.
#[derive(Default)]
struct Door {
    state: Mutex<State>,
    changed: Condvar,
    received: AtomicU64,
    sent: AtomicU64,
    /// Bytes in both directions after which the link is cut, or stalled; 0 for never.
    limit: AtomicU64,
    stalls: AtomicBool,
}

#[derive(Default)]
struct State {
    links: Vec<(TcpStream, UnixStream)>,
    daemons: Vec<Child>,
    accepted: usize,
    stalled: bool,
    stopped: bool,
}

impl Codespace {
    /// With bash. `None`: something is missing, and the test was said to be skipped.
    pub(crate) fn start() -> Option<Self> {
        Self::with_shell(Shell::Bash)
    }

    /// With that login shell.
    pub(crate) fn with_shell(shell: Shell) -> Option<Self> {
        if !Path::new(SSHD).exists() {
            skip("/usr/sbin/sshd is not installed");
            return None;
        }
        let (program, invocation) = shell.words();
        if !have(program, "-c") || !have("ssh", "-V") {
            return None;
        }
        let user = login_user();
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
        for name in ["home", "workspaces"] {
            let dir = root.path().join(name);
            fs::create_dir(&dir).unwrap();
            chown(&dir, Some(user.uid), Some(user.gid)).unwrap();
        }
        let key = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(root.path().join("host")).status().unwrap();
        assert!(key.success());
        File::create(root.path().join("authorized_keys")).unwrap();
        fs::write(root.path().join("sshd_config"), configuration(root.path(), shell, invocation)).unwrap();
        let own_workspaces = Uid::effective().is_root() && can_bind();
        let mut codespace = Self { root, user, own_workspaces, port: 0, door: Arc::default(), serving: None };
        codespace.open_door();
        Some(codespace)
    }

    fn open_door(&mut self) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        self.port = listener.local_addr().unwrap().port();
        let (door, root, bind) = (Arc::clone(&self.door), self.root.path().to_owned(), self.own_workspaces);
        self.serving = Some(std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut state = door.state.lock().unwrap();
                if state.stopped {
                    return;
                }
                let (here, there) = UnixStream::pair().unwrap();
                state.accepted += 1;
                state.daemons.push(daemon(&root, bind, there));
                for (from, to, count) in [(Side::Tcp, Side::Local, true), (Side::Local, Side::Tcp, false)] {
                    let (tcp, local) = (stream.try_clone().unwrap(), here.try_clone().unwrap());
                    let door = Arc::clone(&door);
                    std::thread::spawn(move || carry(&tcp, &local, (from, to), &door, count));
                }
                state.links.push((stream, here));
            }
        }));
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The login name.
    pub(crate) fn user(&self) -> &str {
        &self.user.name
    }

    pub(crate) fn authorized_keys(&self) -> PathBuf {
        self.root.path().join("authorized_keys")
    }

    /// `$HOME` there; the same path here.
    pub(crate) fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// What lies at [`Codespace::far_workspaces`] there, as a path here.
    pub(crate) fn workspaces(&self) -> PathBuf {
        self.root.path().join("workspaces")
    }

    /// `/workspaces` where the tests may make a mount namespace (as root on Linux), else the path here.
    pub(crate) fn far_workspaces(&self) -> PathBuf {
        if self.own_workspaces { PathBuf::from("/workspaces") } else { self.workspaces() }
    }

    /// Gives a path in the home or the workspaces, with all below it, to the login user.
    pub(crate) fn give(&self, path: &Path) {
        if !Uid::effective().is_root() {
            return;
        }
        let owner = format!("{}:{}", self.user.uid, self.user.gid);
        assert!(Command::new("chown").args(["-hR", &owner]).arg(path).status().unwrap().success());
    }

    /// TCP connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.door.state.lock().unwrap().accepted
    }

    /// Sessions (channels) that sshd started so far.
    pub(crate) fn sessions(&self) -> usize {
        self.log().matches("Starting session: ").count()
    }

    /// sshd's log, at the level VERBOSE.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.root.path().join("log")).unwrap_or_default()
    }

    /// Bytes received and sent so far, as ssh encrypted them.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.door.received.load(Ordering::Relaxed), self.door.sent.load(Ordering::Relaxed))
    }

    /// Cuts every connection. New ones are accepted.
    pub(crate) fn cut(&self) {
        for (tcp, local) in self.door.state.lock().unwrap().links.drain(..) {
            // One that has ended by itself has nothing to shut down.
            drop(tcp.shutdown(Shutdown::Both));
            drop(local.shutdown(Shutdown::Both));
        }
    }

    /// Cuts the link that passes so many more bytes, both directions counted.
    pub(crate) fn cut_after(&self, bytes: u64) {
        let (received, sent) = self.bytes();
        self.door.limit.store(received + sent + bytes, Ordering::Relaxed);
    }

    /// The same, but nothing is closed: the link merely goes dumb.
    pub(crate) fn stall_after(&self, bytes: u64) {
        self.door.stalls.store(true, Ordering::Relaxed);
        self.cut_after(bytes);
    }

    /// Changes a line of sshd's configuration, from the next connection on.
    pub(crate) fn configure(&self, from: &str, to: &str) {
        let file = self.root.path().join("sshd_config");
        let old = fs::read_to_string(&file).unwrap();
        assert!(old.contains(from));
        fs::write(file, old.replace(from, to)).unwrap();
    }

    /// From now on no byte goes through, in either direction, and nothing is closed; with `false` the held ones go on.
    pub(crate) fn stall(&self, stalled: bool) {
        self.door.state.lock().unwrap().stalled = stalled;
        self.door.changed.notify_all();
    }
}

impl Drop for Codespace {
    fn drop(&mut self) {
        let daemons = {
            let mut state = self.door.state.lock().unwrap();
            state.stopped = true;
            state.stalled = false;
            std::mem::take(&mut state.daemons)
        };
        self.door.changed.notify_all();
        self.cut();
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(serving) = self.serving.take() {
            serving.join().unwrap();
        }
        for mut daemon in daemons {
            // Its side of the link is shut, so it ends its sessions and itself.
            drop(daemon.wait());
        }
    }
}

#[derive(Clone, Copy)]
enum Side {
    Tcp,
    Local,
}

/// Copies one direction until its end, and passes the end on.
fn carry(mut tcp: &TcpStream, mut local: &UnixStream, way: (Side, Side), door: &Door, inwards: bool) {
    tcp.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = match way.0 {
            Side::Tcp => tcp.read(&mut buffer),
            Side::Local => local.read(&mut buffer),
        };
        let Ok(count @ 1..) = read else { break };
        let state = door.changed.wait_while(door.state.lock().unwrap(), |state| state.stalled).unwrap();
        drop(state);
        let counter = if inwards { &door.received } else { &door.sent };
        counter.fetch_add(count as u64, Ordering::Relaxed);
        let passed = door.received.load(Ordering::Relaxed) + door.sent.load(Ordering::Relaxed);
        if matches!(door.limit.load(Ordering::Relaxed), limit @ 1.. if passed > limit) {
            if door.stalls.load(Ordering::Relaxed) {
                door.state.lock().unwrap().stalled = true;
                continue;
            }
            drop((tcp.shutdown(Shutdown::Both), local.shutdown(Shutdown::Both)));
            break;
        }
        let written = match way.1 {
            Side::Tcp => tcp.write_all(&buffer[..count]),
            Side::Local => local.write_all(&buffer[..count]),
        };
        if written.is_err() {
            break;
        }
    }
    match way.1 {
        Side::Tcp => drop(tcp.shutdown(Shutdown::Write)),
        Side::Local => drop(local.shutdown(Shutdown::Write)),
    }
}

/// One `sshd -i` on one end of a link, in a mount namespace with its own `/workspaces` if `bind`.
fn daemon(root: &Path, bind: bool, link: UnixStream) -> Child {
    let mut command = if bind {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private", "sh", "-c", "mount --bind \"$1\" /workspaces && shift && exec \"$@\"", "sh"]);
        unshare.arg(root.join("workspaces")).arg(SSHD);
        unshare
    } else {
        Command::new(SSHD)
    };
    let output = link.try_clone().unwrap();
    command.arg("-i").arg("-f").arg(root.join("sshd_config")).arg("-E").arg(root.join("log"));
    command.stdin(OwnedFd::from(link)).stdout(OwnedFd::from(output)).stderr(Stdio::null()).spawn().unwrap()
}

fn configuration(root: &Path, shell: Shell, invocation: &str) -> String {
    let at = root.display();
    let forced = if shell == Shell::Bash && Uid::effective().is_root() {
        String::new()
    } else {
        let command = format!("exec {invocation} -c \"$SSH_ORIGINAL_COMMAND\"");
        format!("ForceCommand if test -n \"$SSH_ORIGINAL_COMMAND\"; then {command}; else exec {invocation}; fi\n")
    };
    format!(
        "HostKey {at}/host\nAuthorizedKeysFile {at}/authorized_keys\nSetEnv HOME={at}/home\n{forced}\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\nLogLevel VERBOSE\nMaxSessions 10\n"
    )
}

/// As root `codespace`, made once on this machine; else who runs the tests.
fn login_user() -> User {
    if !Uid::effective().is_root() {
        return User::from_uid(Uid::effective()).unwrap().unwrap();
    }
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        let lock = File::create(std::env::temp_dir().join("claude-session-sync-tests.lock")).unwrap();
        lock.lock().unwrap();
        if User::from_name("codespace").unwrap().is_none() {
            assert!(Command::new("useradd").args(["-M", "-d", "/", "-s", "/bin/bash", "codespace"]).status().unwrap().success());
        }
        // Without PAM sshd refuses an account whose password is locked by `!`.
        assert!(Command::new("usermod").args(["-p", "*", "codespace"]).status().unwrap().success());
        fs::create_dir_all("/run/sshd").unwrap();
        fs::create_dir_all("/workspaces").unwrap();
    });
    User::from_name("codespace").unwrap().unwrap()
}

/// Whether a mount namespace with another `/workspaces` can be made.
fn can_bind() -> bool {
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private", "mount", "--bind", "/tmp", "/workspaces"]);
    unshare.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
