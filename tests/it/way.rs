//! A way to one codespace through the stand-ins, as the program has it in earnest.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use claude_session_sync::codespace::failure::Failure;
use claude_session_sync::codespace::ssh::{
    Channel, Connection, Environment, Finished, Guarded, Programs, Purpose, Setting, SshError, TOKEN_VARIABLES, Target, key,
};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use crate::api::Api;
use crate::gh::Gh;
use crate::rows::row;
use crate::sshd::Codespace;
use crate::wait::LONGEST;

pub(crate) const NAME: &str = "fluffy-space-guacamole-5g9x7";
pub(crate) const NONCE: &str = "nonce-of-the-guard";
pub(crate) const TOKEN: &str = "gho_this_must_never_be_seen";

/// Everything that a way to one codespace needs.
pub(crate) struct Way {
    pub(crate) codespace: Codespace,
    pub(crate) gh: Gh,
    pub(crate) api: Api,
    pub(crate) setting: Setting,
    pub(crate) key: PathBuf,
    _dir: tempfile::TempDir,
}

impl Way {
    pub(crate) async fn new() -> Option<Self> {
        Self::with(Codespace::start()?).await
    }

    pub(crate) async fn with(codespace: Codespace) -> Option<Self> {
        let (gh, api) = (Gh::install()?, Api::start());
        gh.leads_to(NAME, &codespace);
        api.set_token(NONCE);
        api.put(row(NAME, "acme/widget", "Available"));
        let dir = short_directory();
        let setting = setting(dir.path(), Some(&gh));
        let key = key::ensure(&dir.path().join("ssh"), &setting.programs, &setting.environment).await.unwrap();
        Some(Self { codespace, gh, api, setting, key, _dir: dir })
    }

    pub(crate) fn target(&self) -> Target {
        let set = [("GITHUB_API_URL", self.api.url()), ("GH_ENTERPRISE_TOKEN", NONCE.to_owned())].map(|(name, value)| (name.to_owned(), value));
        let guarded = Guarded { set: set.to_vec(), remove: vec!["GH_DEBUG".to_owned()] };
        Target::Codespace { name: NAME.parse().unwrap(), guarded, key: self.key.clone() }
    }

    pub(crate) async fn open(&self) -> Result<Connection, SshError> {
        Connection::open(self.target(), &self.setting).await
    }

    /// How opening fails.
    pub(crate) async fn failure(&self) -> Failure {
        match self.open().await {
            Err(SshError::Failed(failure)) => failure,
            other => panic!("expected a failure, got {other:?}"),
        }
    }

    pub(crate) fn left_in_runtime(&self) -> usize {
        fs::read_dir(&self.setting.runtime).unwrap().count()
    }
}

/// Short, as the path of a socket must be.
pub(crate) fn short_directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("css").tempdir_in("/tmp").unwrap()
}

pub(crate) fn setting(dir: &Path, gh: Option<&Gh>) -> Setting {
    let tokens = TOKEN_VARIABLES.iter().map(|name| (OsString::from(name), OsString::from(TOKEN)));
    let environment = Environment::from_pairs(std::env::vars_os().chain(tokens).chain([("GH_DEBUG".into(), "1".into())]));
    let programs = Programs { gh: gh.map_or_else(|| "gh".into(), Gh::program), ..Programs::default() };
    Setting { programs, environment, runtime: dir.join("run"), ready_deadline: LONGEST, purpose: Purpose::Visit }
}

/// Runs a script to its end: what it said, and how it ended.
pub(crate) async fn run(connection: &Connection, script: &str) -> Result<(String, Finished), SshError> {
    let Channel { stdin, mut stdout, end } = connection.channel(script, None).await?;
    drop(stdin);
    let mut said = String::new();
    stdout.read_to_string(&mut said).await.unwrap();
    Ok((said, end.finish(LONGEST).await?))
}

/// A channel that has said its first line and now waits for its stdin.
pub(crate) async fn waiting(connection: &Connection) -> Channel {
    let mut channel = connection.channel("echo started; read line; echo \"$line\"; cat", None).await.unwrap();
    let mut line = String::new();
    BufReader::new(&mut channel.stdout).read_line(&mut line).await.unwrap();
    assert_eq!(line, "started\n");
    channel
}

/// Makes an executable sh script. By a child, so that the file is never open for writing in this process, which forks.
pub(crate) fn wrapper(path: &Path, body: &str) {
    let mut sh = std::process::Command::new("sh");
    sh.args(["-c", "printf \"#!/bin/sh\\n%s\\n\" \"$2\" > \"$1\" && chmod 755 \"$1\"", "sh"]).arg(path).arg(body);
    assert!(sh.status().unwrap().success());
}
