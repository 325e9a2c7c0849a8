//! Where everything of this program lies on this machine, computed from an environment that is given, not asked for.
//!
//! Promises: every path is absolute; the places are those of the XDG base directories, on macOS too (logs excepted); a
//! directory of ours is open to its user alone. Never: a file made or read by computing a path, a guess where there is no home.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{fmt, io};

use crate::config::Config;

/// The directory of this program in each of the base directories.
const OURS: &str = "claude-session-sync";

/// Environment variables that may hold a GitHub token. No child of ours inherits one.
pub const TOKEN_VARIABLES: [&str; 6] =
    ["GH_TOKEN", "GITHUB_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN", "GITHUB_CODESPACE_TOKEN", "HOMEBREW_GITHUB_API_TOKEN"];

/// The variables that a process was started with. An empty one counts as unset.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Those of this process, as they are now.
    #[must_use]
    pub fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// The value of a variable, where it is UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(OsStr::to_str)
    }

    /// All variables, for a child that inherits some of them.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// An absolute path in a variable; any other value counts as unset, as the XDG specification asks.
    fn base(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// Names only: a value may be a token.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The one difference between systems that matters here: where logs are expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// Logs in `~/Library/Logs`.
    Macos,
    /// Logs in the XDG state directory.
    Other,
}

impl System {
    /// The one that this program was built for.
    #[must_use]
    pub fn of_build() -> Self {
        if cfg!(target_os = "macos") { Self::Macos } else { Self::Other }
    }
}

/// Who said where the configuration lies. A file that somebody named must exist; the usual one need not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedBy {
    /// Nobody: `~/.config/claude-session-sync/config.toml`.
    Default,
    /// `$CLAUDE_SESSION_SYNC_CONFIG`.
    Variable,
    /// `--config`.
    Option,
}

/// Why no paths could be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathsError {
    /// Neither set nor of use.
    #[error("HOME is not set, so there is no place for the sessions, the configuration or the vault")]
    NoHome,
    /// A variable that names a place, but not from the root.
    #[error("{variable} is no absolute path: `{}`", crate::reconcile::plain::plain(value))]
    NotAbsolute {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        value: String,
    },
}

/// The places of this program on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The user's home.
    pub home: PathBuf,
    /// The configuration.
    pub config_file: PathBuf,
    /// Who named it.
    pub config_named_by: NamedBy,
    /// Everything that must outlive a reboot.
    pub data: PathBuf,
    /// What is remembered, in `data`.
    pub state: PathBuf,
    /// Files under construction, in `data`.
    pub stage: PathBuf,
    /// Displaced bytes, in `data`.
    pub vault: PathBuf,
    /// Log files.
    pub logs: PathBuf,
    /// Sockets.
    pub runtime: PathBuf,
    /// The client's directory on this machine.
    pub claude: PathBuf,
}

impl Paths {
    /// The places that an environment names.
    ///
    /// # Errors
    /// No `HOME`; or `HOME`, `CLAUDE_CONFIG_DIR` or `CLAUDE_SESSION_SYNC_CONFIG` is no absolute path.
    pub fn of(environment: &Environment) -> Result<Self, PathsError> {
        Self::on(System::of_build(), environment)
    }

    /// The same, on a given system.
    ///
    /// # Errors
    /// As [`Paths::of`].
    pub fn on(system: System, environment: &Environment) -> Result<Self, PathsError> {
        let home = absolute(environment, "HOME")?.ok_or(PathsError::NoHome)?;
        let named = absolute(environment, "CLAUDE_SESSION_SYNC_CONFIG")?;
        let config_named_by = if named.is_some() { NamedBy::Variable } else { NamedBy::Default };
        let usual_config = || environment.base("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join(OURS).join("config.toml");
        let data = environment.base("XDG_DATA_HOME").unwrap_or_else(|| home.join(".local/share")).join(OURS);
        let logs = match system {
            System::Macos => home.join("Library/Logs").join(OURS),
            System::Other => environment.base("XDG_STATE_HOME").unwrap_or_else(|| home.join(".local/state")).join(OURS).join("log"),
        };
        let runtime = environment.base("XDG_RUNTIME_DIR").map_or_else(|| runtime_in(&home), |base| base.join(OURS));
        Ok(Self {
            config_file: named.unwrap_or_else(usual_config),
            config_named_by,
            state: data.join("state"),
            stage: data.join("stage"),
            vault: data.join("vault"),
            data,
            logs,
            runtime,
            claude: absolute(environment, "CLAUDE_CONFIG_DIR")?.unwrap_or_else(|| home.join(".claude")),
            home,
        })
    }

    /// With the configuration of `--config`.
    #[must_use]
    pub fn with_config_file(self, file: PathBuf) -> Self {
        Self { config_file: file, config_named_by: NamedBy::Option, ..self }
    }

    /// With what the configuration says of places: `[claude] directory`.
    #[must_use]
    pub fn settled(self, config: &Config) -> Self {
        let claude = config.claude.directory.clone().unwrap_or(self.claude);
        Self { claude, ..self }
    }

    /// Where a client looks for sockets, likeliest first: the agent may have been started without `$XDG_RUNTIME_DIR`.
    #[must_use]
    pub fn runtimes(&self) -> Vec<PathBuf> {
        let mut places = vec![self.runtime.clone(), runtime_in(&self.home)];
        places.dedup();
        places
    }
}

fn runtime_in(home: &Path) -> PathBuf {
    home.join(".cache").join(OURS).join("run")
}

fn absolute(environment: &Environment, variable: &'static str) -> Result<Option<PathBuf>, PathsError> {
    let Some(value) = environment.get(variable) else { return Ok(None) };
    let path = PathBuf::from(value);
    let value = || value.to_string_lossy().into_owned();
    if path.is_absolute() { Ok(Some(path)) } else { Err(PathsError::NotAbsolute { variable, value: value() }) }
}

/// The file that a program's name leads to by this `PATH`, if there is one that may be run.
#[must_use]
pub fn find_program(program: &Path, path: &OsStr) -> Option<PathBuf> {
    let may_run = |path: &PathBuf| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
    if program.as_os_str().as_encoded_bytes().contains(&b'/') {
        return Some(program.to_owned()).filter(may_run);
    }
    std::env::split_paths(path).map(|directory| directory.join(program)).find(may_run)
}

/// Makes a directory that its user alone can open (0700, parents that were missing included), and closes one of ours that was
/// open to others.
///
/// # Errors
/// It cannot be made, is no directory, or belongs to another user.
pub fn make_private(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    // Opened once, so that what is looked at is what is changed.
    let opened = File::open(directory)?;
    let found = opened.metadata()?;
    let us = nix::unistd::geteuid().as_raw();
    if found.uid() != us {
        let text = format!("{} belongs to user {}, not to {us}", directory.display(), found.uid());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    if found.mode() & 0o777 != 0o700 {
        opened.set_permissions(PermissionsExt::from_mode(0o700))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn of(variables: &[(&str, &str)]) -> Result<Paths, PathsError> {
        Paths::on(System::Other, &variables.iter().copied().collect())
    }

    #[test]
    fn a_home_is_enough() {
        let paths = of(&[("HOME", "/h")]).unwrap();
        assert_eq!(paths.config_file, Path::new("/h/.config/claude-session-sync/config.toml"));
        assert_eq!(paths.config_named_by, NamedBy::Default);
        assert_eq!(paths.vault, Path::new("/h/.local/share/claude-session-sync/vault"));
        assert_eq!(paths.logs, Path::new("/h/.local/state/claude-session-sync/log"));
        assert_eq!(paths.runtime, Path::new("/h/.cache/claude-session-sync/run"));
        assert_eq!(paths.runtimes(), vec![paths.runtime.clone()]);
        assert_eq!(paths.claude, Path::new("/h/.claude"));
    }

    #[test]
    fn the_base_directories_count_where_they_are_absolute() {
        let bases = [("HOME", "/h"), ("XDG_CONFIG_HOME", "/c"), ("XDG_DATA_HOME", "data"), ("XDG_STATE_HOME", "/s"), ("XDG_RUNTIME_DIR", "/r")];
        let paths = of(&bases).unwrap();
        assert_eq!(paths.config_file, Path::new("/c/claude-session-sync/config.toml"));
        assert_eq!(paths.data, Path::new("/h/.local/share/claude-session-sync"), "a relative one is ignored");
        assert_eq!(paths.logs, Path::new("/s/claude-session-sync/log"));
        assert_eq!(paths.runtimes(), [Path::new("/r/claude-session-sync"), Path::new("/h/.cache/claude-session-sync/run")]);
        let mac = Paths::on(System::Macos, &bases.into_iter().collect()).unwrap();
        assert_eq!(mac.logs, Path::new("/h/Library/Logs/claude-session-sync"));
        assert_eq!(mac.config_file, paths.config_file, "macOS too");
    }

    #[test]
    fn our_own_variable_and_the_client_s_name_their_places() {
        let paths = of(&[("HOME", "/h"), ("CLAUDE_SESSION_SYNC_CONFIG", "/x.toml"), ("CLAUDE_CONFIG_DIR", "/claude")]).unwrap();
        assert_eq!((paths.config_file.as_path(), paths.config_named_by), (Path::new("/x.toml"), NamedBy::Variable));
        assert_eq!(paths.claude, Path::new("/claude"));
        assert_eq!(paths.with_config_file("/y".into()).config_named_by, NamedBy::Option);
    }

    #[test]
    fn without_a_home_there_is_an_error_that_says_so() {
        assert_eq!(of(&[]), Err(PathsError::NoHome));
        assert_eq!(of(&[("HOME", "")]), Err(PathsError::NoHome));
        assert_eq!(of(&[("HOME", "~")]).unwrap_err().to_string(), "HOME is no absolute path: `~`");
        assert!(of(&[("HOME", "/h"), ("CLAUDE_CONFIG_DIR", "x")]).is_err());
    }

    #[test]
    fn an_environment_does_not_show_its_values() {
        let shown = format!("{:?}", Environment::from_iter([("GH_TOKEN", "secret")]));
        assert!(shown.contains("GH_TOKEN") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn a_private_directory_is_made_and_an_open_one_closed() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("a/b");
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        make_private(&directory).unwrap();
        assert_eq!((mode(&directory), mode(&place.path().join("a"))), (0o700, 0o700));
        fs::set_permissions(&directory, PermissionsExt::from_mode(0o755)).unwrap();
        make_private(&directory).unwrap();
        assert_eq!(mode(&directory), 0o700);
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(make_private(&file).is_err());
    }
}
