//! One connection to a far machine, and the channels that it carries.
//!
//! A codespace is reached through one `gh codespace ssh … -N` child that is an OpenSSH control master; a `[[machine]]` with `ssh`
//! through a master with the user's own ssh configuration; a `[[machine]]` with `command` by running that command once a channel.
//! A channel over a master is asked for at its socket (`session`), and no program is started for it.
//!
//! Promises: one connection however many channels, at most four of these at once; every wait has an end; what was started is gone
//! when the [`Connection`] is dropped; no child ever sees a GitHub token of ours. Never: a second connection behind the caller's
//! back. A channel on a dead master fails at once, because connecting anew could start a codespace.
//!
//! A connection may be shared ([`Connection::share`]) and is closed with its last share. One that is made for a terminal
//! ([`Purpose::Terminal`]) writes nothing of its own accord: no ServerAlive, no TCPKeepAlive. GitHub takes any byte for activity, so a
//! connection that somebody forgot would keep its codespace awake for ever. The price: a link that died is noticed only by
//! whoever uses it, so each use of ours has a deadline ([`Connection::reaches`]).

pub mod key;

mod channel;
mod host;
mod known;
mod master;
mod runtime;
mod session;
mod tail;
mod terminal;
mod version;
mod words;

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::Semaphore;

pub use channel::{Channel, ChannelEnd, Finished};
pub use host::{Host, NotAHost};
pub use known::known_gh_version;
pub use runtime::{Cleaned, LONGEST_SOCKET_PATH, clean_stale, takes_sockets};
pub use terminal::{Apart, Configuration, Relay, Terminal};
pub use version::{GhVersion, OLDEST, RECOMMENDED, gh_version};
pub use words::{Words, WordsError};

use crate::codespace::failure::Failure;
use crate::codespace::name::CodespaceName;
pub use crate::codespace::token::TOKEN_VARIABLES;
use crate::paths::find_program;
use master::Master;

/// Channels of one connection at once; sshd's own limit is ten.
pub const CHANNELS_AT_ONCE: usize = 4;

/// How long a master may take to become usable, unless told otherwise.
pub const READY_DEADLINE: Duration = Duration::from_secs(45);

/// The programs that are run: absolute paths, or names to be looked up in the `PATH` of the environment.
#[derive(Debug, Clone)]
pub struct Programs {
    /// GitHub's command line, 2.62.0 or newer.
    pub gh: PathBuf,
    /// OpenSSH's client.
    pub ssh: PathBuf,
    /// OpenSSH's key generator.
    pub ssh_keygen: PathBuf,
}

impl Default for Programs {
    fn default() -> Self {
        Self { gh: "gh".into(), ssh: "ssh".into(), ssh_keygen: "ssh-keygen".into() }
    }
}

/// The environment of our children. It never holds a variable of [`TOKEN_VARIABLES`] that was not put there by [`Guarded`].
#[derive(Debug, Clone)]
pub struct Environment(Vec<(OsString, OsString)>);

impl Environment {
    /// What this process inherited, without tokens.
    #[must_use]
    pub fn inherited() -> Self {
        Self::from_pairs(std::env::vars_os())
    }

    /// The given variables, without tokens.
    #[must_use]
    pub fn from_pairs(pairs: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self(pairs.into_iter().filter(|(name, _)| !TOKEN_VARIABLES.iter().any(|token| name == token)).collect())
    }

    /// A command of that program with this environment and nothing else.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.0.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The file that a program's name leads to, if it may be run.
    #[must_use]
    pub fn find(&self, program: &Path) -> Option<PathBuf> {
        let path = self.0.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.as_os_str());
        find_program(program, path.unwrap_or_default())
    }
}

/// What the guard wants of gh's environment.
#[derive(Debug, Clone, Default)]
pub struct Guarded {
    /// Variables to set, `GITHUB_API_URL` and the nonce among them.
    pub set: Vec<(String, String)>,
    /// Variables to remove beside those of [`TOKEN_VARIABLES`].
    pub remove: Vec<String>,
}

/// Which far machine.
#[derive(Debug, Clone)]
pub enum Target {
    /// A codespace, through gh and our guard.
    Codespace {
        /// Its permanent name.
        name: CodespaceName,
        /// What points gh at the guard.
        guarded: Guarded,
        /// The private key, from [`key::ensure`].
        key: PathBuf,
    },
    /// A machine that the user's own ssh reaches.
    Ssh {
        /// The destination.
        host: Host,
    },
    /// A command that gets `sh -c SCRIPT` appended and runs it elsewhere, as `docker exec -i box` does.
    Command(Vec<String>),
}

/// What a connection is made for.
#[derive(Debug, Clone)]
pub enum Purpose {
    /// A visit: what is not heard from for 45 s is lost.
    Visit,
    /// A terminal beside visits: nothing is sent that nobody asked for, and the master has a session of its own.
    Terminal {
        /// What gives it one.
        apart: Apart,
        /// Options that let a session of the user's forward an agent or a display, if it asks for that.
        forwards: Vec<String>,
    },
}

/// What a connection needs of this machine.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The programs.
    pub programs: Programs,
    /// The environment of gh and ssh.
    pub environment: Environment,
    /// The private directory of sockets; made (0700) where it is missing.
    pub runtime: PathBuf,
    /// How long a master may take to become usable.
    pub ready_deadline: Duration,
    /// What the connection is for.
    pub purpose: Purpose,
}

/// How much a connection was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Masters that became usable; 1 for a command, too; 0 for a share, which made none.
    pub connections: u32,
    /// Channels that were started.
    pub channels: u32,
}

/// Why there is no connection, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// A program could not be run.
    #[error("cannot run {}", .program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or directory of ours could not be used.
    #[error("cannot use {} for {what}", .path.display())]
    Files {
        /// What it is for.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// ssh-keygen failed.
    #[error("ssh-keygen made no key: {text}")]
    Keygen {
        /// Its words, escaped.
        text: String,
    },
    /// The path cannot be given to ssh: too long for a socket, or with a character that ssh or gh would expand.
    #[error("{} cannot be given to ssh: {why}", .path.display())]
    Path {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The runtime directory is not private.
    #[error("the runtime directory {} is not a directory of ours with mode 0700", .path.display())]
    NotPrivate {
        /// Which.
        path: PathBuf,
    },
    /// gh is so old that a malicious codespace could run code here.
    #[error("gh {found} is older than {OLDEST} and lets a malicious codespace run code on this machine (CVE-2024-52308)")]
    GhTooOld {
        /// The version found.
        found: GhVersion,
    },
    /// `gh --version` said something else than a version.
    #[error("gh did not say its version, but: {answer}")]
    GhUnreadable {
        /// Its words, escaped.
        answer: String,
    },
    /// The command of a `[[machine]]` is empty.
    #[error("the command of the machine is empty")]
    EmptyCommand,
    /// The script does not survive every login shell.
    #[error("the remote script holds a single quote, a doubled backslash, a NUL, or ends in a backslash")]
    Script,
    /// The far machine could not be reached.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The connection was lost; nothing connects anew.
    #[error("the connection was lost")]
    MasterGone,
}

impl SshError {
    /// What the user can do, ready to paste; `None` where there is nothing.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Failed(failure) => failure.hint(),
            Self::GhTooOld { .. } | Self::GhUnreadable { .. } => Some(format!("upgrade gh to {RECOMMENDED} or newer: https://cli.github.com")),
            Self::Spawn { program, source } if source.kind() == io::ErrorKind::NotFound => {
                let gh = program.file_name().is_some_and(|name| name == "gh");
                Some(if gh { "install gh: https://cli.github.com".to_owned() } else { format!("install {}", program.display()) })
            }
            Self::Path { .. } | Self::NotPrivate { .. } => Some("point XDG_RUNTIME_DIR at a short path that only you can read".to_owned()),
            _ => None,
        }
    }
}

fn spawn_error(program: &Path, source: io::Error) -> SshError {
    SshError::Spawn { program: program.to_owned(), source }
}

/// An open way to a far machine. Dropped with all its shares, it kills what it started at once; [`Connection::close`] is the polite way.
#[derive(Debug)]
pub struct Connection {
    route: Arc<Route>,
    environment: Environment,
    channels: Arc<Semaphore>,
    made: u32,
    started: AtomicU32,
}

#[derive(Debug)]
enum Route {
    Master(Box<Master>),
    Command(Vec<String>),
}

impl Connection {
    /// Opens the way to `target`.
    ///
    /// # Errors
    /// [`SshError::Failed`] when the far machine cannot be reached, in words of gh or ssh or because the deadline passed; the
    /// others when something of this machine is wrong.
    pub async fn open(target: Target, setting: &Setting) -> Result<Self, SshError> {
        let route = match target {
            Target::Codespace { name, guarded, key } => Route::Master(Box::new(Master::through_gh(&name, &guarded, &key, setting).await?)),
            Target::Ssh { host } => Route::Master(Box::new(Master::to_host(&host, setting).await?)),
            Target::Command(command) if command.first().is_none_or(String::is_empty) => return Err(SshError::EmptyCommand),
            Target::Command(command) => Route::Command(command),
        };
        let channels = Arc::new(Semaphore::new(CHANNELS_AT_ONCE));
        Ok(Self { route: Arc::new(route), environment: setting.environment.clone(), channels, made: 1, started: AtomicU32::new(0) })
    }

    /// The same connection for somebody else, whose use of it is counted by itself.
    #[must_use]
    pub fn share(&self) -> Self {
        let (route, channels) = (Arc::clone(&self.route), Arc::clone(&self.channels));
        Self { route, environment: self.environment.clone(), channels, made: 0, started: AtomicU32::new(0) }
    }

    /// Runs `script` with `sh` on the far machine, with `word` as its argument; waits while four channels are open. The script is plain
    /// POSIX sh: it is wrapped here, as `exec sh -c '…'` for the far login shell or as arguments of the command.
    ///
    /// # Errors
    /// [`SshError::MasterGone`] when the connection was lost, [`SshError::Script`] when the script or the word cannot be quoted.
    pub async fn channel(&self, script: &str, word: Option<&str>) -> Result<Channel, SshError> {
        // The semaphore is never closed.
        let permit = Arc::clone(&self.channels).acquire_owned().await.map_err(|_| SshError::MasterGone)?;
        let opened = match &*self.route {
            Route::Master(master) => Channel::over(master, quoted(script, word)?, permit),
            Route::Command(command) => Channel::of_command(command, &self.environment, (script, word), permit),
        }?;
        self.started.fetch_add(1, Ordering::Relaxed);
        Ok(opened)
    }

    /// Whether the far machine still answers, within that time; asked by a channel of its own.
    pub async fn reaches(&self, deadline: Duration) -> bool {
        match self.channel("exit 0", None).await {
            Ok(channel) => channel.finish(deadline).await.is_ok_and(|finished| finished.code == Some(0)),
            Err(_) => false,
        }
    }

    /// Hands this process's terminal, or whatever its three streams are, to ssh; none where there is no ssh.
    ///
    /// # Errors
    /// ssh cannot be run.
    pub async fn terminal(&self, destination: &str, configuration: Configuration, words: &Words) -> Result<Option<Terminal>, SshError> {
        match &*self.route {
            Route::Master(master) => Terminal::start(master.handle(), &self.environment, destination, configuration, words).await.map(Some),
            Route::Command(_) => Ok(None),
        }
    }

    /// How much it was used so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts { connections: self.made, channels: self.started.load(Ordering::Relaxed) }
    }

    /// The process group of the master; `None` for a command, 0 once it was found dead.
    #[must_use]
    pub fn process_group(&self) -> Option<i32> {
        match &*self.route {
            Route::Master(master) => Some(master.process_group()),
            Route::Command(_) => None,
        }
    }

    /// Ends the master, if nobody else shares it: asked, then told, then killed; 6 s at most. Channels still open end with it.
    pub async fn close(self) {
        if let Some(Route::Master(master)) = Arc::into_inner(self.route) {
            master.close().await;
        }
    }
}

/// The one command line that every login shell (sh, bash, dash, zsh, fish, ash) reads alike.
fn quoted(script: &str, word: Option<&str>) -> Result<String, SshError> {
    let plain = |text: &str| !text.contains(['\'', '\0']) && !text.contains("\\\\") && !text.ends_with('\\');
    match word {
        None if plain(script) => Ok(format!("exec sh -c '{script}'")),
        Some(word) if plain(script) && plain(word) => Ok(format!("exec sh -c '{script}' sh '{word}'")),
        _ => Err(SshError::Script),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_some_shell_would_read_otherwise_is_refused() {
        assert_eq!(quoted("echo \"a\\n\"", None).unwrap(), "exec sh -c 'echo \"a\\n\"'");
        assert_eq!(quoted("echo", Some("a b\n")).unwrap(), "exec sh -c 'echo' sh 'a b\n'");
        for bad in ["echo 'a'", "a\\\\b", "a\0b", "a\\"] {
            assert!(matches!((quoted(bad, None), quoted("echo", Some(bad))), (Err(SshError::Script), Err(SshError::Script))), "{bad:?}");
        }
    }

    #[test]
    fn no_environment_holds_a_token() {
        let pairs = TOKEN_VARIABLES.iter().chain(&["PATH", "GH_HOST"]).map(|name| (OsString::from(name), OsString::from("x")));
        let names: Vec<_> = Environment::from_pairs(pairs).0.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["PATH", "GH_HOST"]);
    }
}
