//! The configuration: one file, every key with a default, and no file at all is fine.
//!
//! Promises: a loaded [`Config`] holds only checked values, paths absolute; every mistake in the file is found at once and shown
//! with its line and what was probably meant; [`TEMPLATE`] says the defaults that the code has. Never: an unknown key that is
//! passed over, a value that is mended, a file that is written (that is `config init`'s).

mod check;
mod document;
mod problem;
mod units;
mod values;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use problem::{ConfigError, Place, Problem};
pub use units::{Bytes, Span, UnitError};
pub use values::{ApiUrl, Cron, FarPath, IdlePolicy, LogFormat, LogLevel, MachineName, Program, SshHost, SyncPolicy, Wrong};

use crate::paths::{NamedBy, Paths};
use crate::reconcile::project::RepositoryId;

/// The file with every default, commented: what `config init` writes.
pub const TEMPLATE: &str = include_str!("config.toml");

/// The version of the file's format.
pub const VERSION: u32 = 1;

/// Largest file that is read.
const LARGEST: u64 = 1 << 20;

/// Everything that can be configured. As serialized, it is a configuration file again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Config {
    /// Where codespaces are listed.
    pub github: Github,
    /// What travels.
    pub sync: Sync,
    /// Where this machine's directories and programs are.
    pub claude: Claude,
    /// Programs that are called.
    pub programs: Programs,
    /// When the agent works.
    pub schedule: Schedule,
    /// What is kept.
    pub vault: Vault,
    /// What is logged.
    pub log: Log,
    /// Whether the agent speaks up.
    pub notify: Notify,
    /// Repositories with rules of their own, each name once.
    #[serde(rename = "repository", skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<Repository>,
    /// Places other than codespaces, each name once.
    #[serde(rename = "machine", skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<Machine>,
}

/// `[github]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Github {
    /// Whether codespaces are listed and visited at all.
    pub enabled: bool,
    /// Base of the REST API.
    pub api_url: ApiUrl,
    /// A file that holds nothing but the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
}

/// `[sync]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sync {
    /// A session is created where it is missing only if its newest message is younger than so many days; 1 or more.
    pub days: u32,
    /// For repositories that no `[[repository]]` names.
    pub default: SyncPolicy,
    /// Where clones are looked for, three levels deep.
    pub clone_roots: Vec<PathBuf>,
    /// When the agent may visit.
    pub idle_policy: IdlePolicy,
}

/// `[claude]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Claude {
    /// The client's directory on this machine; else `CLAUDE_CONFIG_DIR` or `~/.claude`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// The client's directory in codespaces; else it is asked for there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codespace_directory: Option<FarPath>,
}

/// `[programs]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Programs {
    /// GitHub's command line.
    pub gh: Program,
    /// OpenSSH's client.
    pub ssh: Program,
    /// git.
    pub git: Program,
    /// OpenSSH's key generator.
    pub ssh_keygen: Program,
}

/// `[schedule]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Schedule {
    /// When a pass is due.
    pub every: Cron,
    /// How often the agent looks for codespaces whose visit is due earlier; zero for never.
    pub look: Span,
    /// A pass of the schedule comes up to so much later, at random.
    pub jitter: Span,
    /// Without a good pass for so long, by time awake and online, the passes (or a codespace) are stale.
    pub stale_after: Span,
}

/// `[vault]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vault {
    /// Whether the newest whole copy of every session is kept.
    pub archive: bool,
    /// `status` says so when the vault is larger.
    pub warn_at: Bytes,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Log {
    /// How much.
    pub level: LogLevel,
    /// How it is written.
    pub format: LogFormat,
    /// For so many days; 1 or more.
    pub keep: u32,
}

/// `[notify]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notify {
    /// Whether the agent shows a notification when it needs its user.
    pub enabled: bool,
}

/// `[[repository]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Repository {
    /// Which.
    pub name: RepositoryId,
    /// The clone on this machine that sessions go to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// What travels; else `[sync] default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync: Option<SyncPolicy>,
    /// Repositories whose codespaces may hold sessions of this one, too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also_in: Vec<RepositoryId>,
}

/// `[[machine]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// What it is called here.
    pub name: MachineName,
    /// How its shell is reached: `ssh` or `command`.
    #[serde(flatten)]
    pub reach: Reach,
    /// The repositories that it shares; at least one.
    pub repositories: Vec<RepositoryId>,
    /// The client's directory there; else it is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claude: Option<FarPath>,
    /// Where its clones are.
    pub workspaces: FarPath,
}

/// How the shell of a machine is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// By ssh.
    Ssh(SshHost),
    /// By a command to which `sh -c …` is added; at least one word.
    Command(Vec<String>),
}

/// Where a configuration came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// From this file.
    File(PathBuf),
    /// There was no file here, so these are the defaults.
    Defaults(PathBuf),
}

impl Config {
    /// What holds without a file.
    #[must_use]
    pub fn defaults(home: &Path) -> Self {
        Self {
            github: Github { enabled: true, api_url: ApiUrl::github(), token_file: None },
            sync: Sync {
                days: 7,
                default: SyncPolicy::Both,
                clone_roots: ["projects", "src", "code", "dev", "work", "repos"].map(|root| home.join(root)).to_vec(),
                idle_policy: IdlePolicy::Quiet,
            },
            claude: Claude::default(),
            programs: Programs {
                gh: Program::on_path("gh"),
                ssh: Program::on_path("ssh"),
                git: Program::on_path("git"),
                ssh_keygen: Program::on_path("ssh-keygen"),
            },
            schedule: Schedule {
                every: Cron::hourly(),
                look: Span::of_seconds(5 * 60),
                jitter: Span::of_seconds(2 * 60),
                stale_after: Span::of_seconds(6 * 3600),
            },
            vault: Vault { archive: true, warn_at: Bytes::new(10 << 30) },
            log: Log { level: LogLevel::Info, format: LogFormat::Text, keep: 14 },
            notify: Notify { enabled: true },
            repositories: Vec::new(),
            machines: Vec::new(),
        }
    }

    /// From the file that the paths name. No file where nobody named one: the defaults.
    ///
    /// # Errors
    /// The file cannot be read, is larger than 1 MiB, is not UTF-8, or says something that is not understood.
    pub fn load(paths: &Paths) -> Result<(Self, Origin), ConfigError> {
        let file = &paths.config_file;
        let refuse = |message: String| ConfigError::of_file(file, message);
        let bytes = match read_bounded(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return match paths.config_named_by {
                    NamedBy::Default => Ok((Self::defaults(&paths.home), Origin::Defaults(file.clone()))),
                    NamedBy::Variable => Err(refuse("does not exist, although $CLAUDE_SESSION_SYNC_CONFIG names it".to_owned()).suggest_init()),
                    NamedBy::Option => Err(refuse("does not exist, although --config names it".to_owned()).suggest_init()),
                };
            }
            Err(error) => return Err(refuse(format!("cannot be read: {error}"))),
        };
        if bytes.len() as u64 > LARGEST {
            return Err(refuse("is larger than 1 MiB, so it is no configuration".to_owned()));
        }
        let text = std::str::from_utf8(&bytes).map_err(|error| ConfigError::not_utf8(file, &bytes, error.valid_up_to()))?;
        Ok((Self::parse(text, file, &paths.home)?, Origin::File(file.clone())))
    }

    /// From text; `file` is only for messages, `home` for `~/`.
    ///
    /// # Errors
    /// All that is wrong with it, in the order of its lines.
    pub fn parse(text: &str, file: &Path, home: &Path) -> Result<Self, ConfigError> {
        check::config(text, home).map_err(|problems| ConfigError::new(file, problems))
    }

    /// What travels for a repository.
    #[must_use]
    pub fn policy(&self, repository: &RepositoryId) -> SyncPolicy {
        self.repository(repository).and_then(|entry| entry.sync).unwrap_or(self.sync.default)
    }

    /// The entry of a repository, where there is one.
    #[must_use]
    pub fn repository(&self, repository: &RepositoryId) -> Option<&Repository> {
        self.repositories.iter().find(|entry| entry.name == *repository)
    }
}

fn read_bounded(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
