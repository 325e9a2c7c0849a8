//! With whose eyes the doctor looks: the agent's, if one answers; its unit's, if one is installed; else this shell's.
//!
//! Promises: a service manager, an agent or a crontab that hangs costs a bounded time and is a finding.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Eyes, Given, PATIENCE};
use crate::agent::client;
use crate::agent::status::{AgentStatus, Doing};
use crate::config::{Config, ConfigError, Origin};
use crate::paths::{Environment, Paths, PathsError, System};
use crate::service::movers::{Mover, found};
use crate::service::unit::Filled;
use crate::service::{Service, ServiceError, Setting, Status};

/// How long a running agent may take to answer.
const AGENT_PATIENCE: Duration = Duration::from_secs(3);

/// What a service manager adds to what a unit says, as this login has it.
const ADDED: [&str; 8] = ["HOME", "USER", "LOGNAME", "SHELL", "LANG", "TMPDIR", "SSH_AUTH_SOCK", "DBUS_SESSION_BUS_ADDRESS"];

/// The agent, as far as it can be asked.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    /// None runs.
    None,
    /// One seems to run, but gives no answer of use.
    Silent(String),
    /// One runs.
    Running(Box<AgentStatus>),
}

impl Asked {
    /// The running agent.
    pub(super) fn running(&self) -> Option<&AgentStatus> {
        if let Self::Running(status) = self { Some(status) } else { None }
    }

    /// The running agent, unless it is parked.
    pub(super) fn at_work(&self) -> Option<&AgentStatus> {
        self.running().filter(|status| status.doing != Doing::Parked)
    }
}

/// What was seen, and how everything else is to be looked at.
#[derive(Debug)]
pub(super) struct View {
    pub(super) eyes: Eyes,
    /// The variables of whoever syncs.
    pub(super) environment: Environment,
    /// Its places, with what its configuration says of them.
    pub(super) paths: Paths,
    /// Its configuration; the defaults where that is wrong.
    pub(super) config: Config,
    /// Where its configuration came from, or what is wrong.
    pub(super) loaded: Result<Origin, Wrong>,
    /// The configuration of this shell, where that is another file.
    pub(super) shell_config: Option<PathBuf>,
    pub(super) agent: Asked,
    /// What the service manager says, or why it says nothing.
    pub(super) service: Result<Status, Unreached>,
    /// There is a unit on disk, whatever the manager says.
    pub(super) has_unit: bool,
    /// None where they were not found out in time.
    pub(super) movers: Option<Vec<Mover>>,
}

/// Why a service manager says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreached {
    /// What was said instead.
    pub(super) said: String,
    /// There is none on this machine.
    pub(super) is_absent: bool,
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl From<&PathsError> for Wrong {
    fn from(error: &PathsError) -> Self {
        Self { message: error.to_string(), hint: None }
    }
}

impl From<&ConfigError> for Wrong {
    fn from(error: &ConfigError) -> Self {
        let more = error.problems.len().saturating_sub(1);
        let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        match error.problems.first() {
            Some(problem) => Self { message: format!("{}{more}", error.headline(problem)), hint: problem.hint.clone() },
            None => Self { message: format!("{}: cannot be used", error.file.display()), hint: None },
        }
    }
}

impl View {
    pub(super) async fn gather(given: &Given) -> Self {
        let settled = Config::load(&given.paths).map_or_else(|_| given.paths.clone(), |(config, _)| given.paths.clone().settled(&config));
        let service = Service::new(Setting {
            system: given.system,
            programs: given.programs.clone(),
            environment: given.environment.clone(),
            paths: settled,
            uid: given.uid,
            executable: given.executable.clone(),
        });
        let (agent, status, seen) =
            tokio::join!(ask(runtimes(given)), tokio::time::timeout(PATIENCE, service.status()), tokio::time::timeout(PATIENCE, service.seen()));
        let status = match status {
            Ok(status) => status.map_err(|error| Unreached { said: error.to_string(), is_absent: matches!(error, ServiceError::Run { .. }) }),
            Err(_) => Err(Unreached { said: format!("the service manager did not answer within {} s", PATIENCE.as_secs()), is_absent: false }),
        };
        let unit = service.on_disk();
        let eyes = match (&agent, &unit) {
            (Asked::Running(_), _) => Eyes::Agent,
            (_, Some(_)) => Eyes::Unit,
            (_, None) => Eyes::Shell,
        };
        let environment = unit.as_ref().map_or_else(|| given.environment.clone(), |(_, filled)| of_unit(filled, given));
        let paths = match &unit {
            Some(_) => Paths::on(given.system, &environment),
            None => Ok(given.paths.clone()),
        };
        let view = Self {
            eyes,
            environment,
            paths: given.paths.clone(),
            config: Config::defaults(&given.paths.home),
            loaded: Ok(Origin::Defaults(given.paths.config_file.clone())),
            shell_config: None,
            agent,
            service: status,
            has_unit: unit.is_some(),
            movers: seen.ok().map(|seen| found(&seen)),
        };
        view.with_config(paths, &given.paths.config_file)
    }

    /// Reads the configuration that the agent says it reads, else the one that the variables name.
    fn with_config(mut self, paths: Result<Paths, PathsError>, of_shell: &Path) -> Self {
        let paths = match paths {
            Ok(paths) => paths,
            Err(error) => return Self { loaded: Err(Wrong::from(&error)), ..self },
        };
        let named = self.agent.running().map(|status| status.config.file.clone()).filter(|file| *file != paths.config_file);
        let paths = match named {
            Some(file) => paths.with_config_file(file),
            None => paths,
        };
        self.shell_config = (paths.config_file != of_shell).then(|| of_shell.to_owned());
        match Config::load(&paths) {
            Ok((config, origin)) => Self { paths: paths.settled(&config), config, loaded: Ok(origin), ..self },
            Err(error) => Self { config: Config::defaults(&paths.home), paths, loaded: Err(Wrong::from(&error)), ..self },
        }
    }

    /// Whether somebody is to sync by itself here, so that silence is a fault.
    pub(super) fn is_on_duty(&self) -> bool {
        self.has_unit || !matches!(self.agent, Asked::None)
    }
}

/// What a process of the unit is started with.
fn of_unit(filled: &Filled, given: &Given) -> Environment {
    let added = ADDED.iter().filter_map(|name| Some(((*name).to_owned(), given.environment.text(name)?.to_owned())));
    let of_shell = given.environment.text("XDG_RUNTIME_DIR").filter(|_| given.system == System::Other).map(str::to_owned);
    let runtime = of_shell.or_else(|| usual_runtime(given).map(|usual| usual.display().to_string()));
    let unit = filled.variables.iter().map(|(name, value)| (name.clone(), value.clone()));
    added.chain(runtime.map(|runtime| ("XDG_RUNTIME_DIR".to_owned(), runtime))).chain(unit).collect()
}

/// Where an agent may serve its socket. One under systemd has the usual runtime directory, though a shell of `su` or sshd may not.
fn runtimes(given: &Given) -> Vec<PathBuf> {
    let mut runtimes = given.paths.runtimes();
    runtimes.extend(usual_runtime(given).map(|usual| usual.join("claude-session-sync")));
    runtimes
}

/// What systemd sets `XDG_RUNTIME_DIR` to, where this shell lacks it. launchd sets nothing.
fn usual_runtime(given: &Given) -> Option<PathBuf> {
    let usual = PathBuf::from(format!("/run/user/{}", given.uid));
    (given.system == System::Other && given.environment.get("XDG_RUNTIME_DIR").is_none() && usual.is_dir()).then_some(usual)
}

async fn ask(runtimes: Vec<PathBuf>) -> Asked {
    let asked = tokio::task::spawn_blocking(move || client::status(&runtimes, AGENT_PATIENCE));
    // One that sends a byte now and then would be listened to for ever.
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(Ok(None))) => Asked::None,
        Ok(Ok(Ok(Some(status)))) => Asked::Running(status),
        Ok(Ok(Err(error))) => Asked::Silent(match error.kind() {
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => format!("no answer within {} s", AGENT_PATIENCE.as_secs()),
            _ => error.to_string(),
        }),
        Ok(Err(error)) => Asked::Silent(error.to_string()),
        Err(_) => Asked::Silent(format!("no whole answer within {} s", PATIENCE.as_secs())),
    }
}
