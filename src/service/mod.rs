//! The service: this program as a job of the user's own service manager, launchd or `systemd --user`.
//!
//! Promises: every verb may be repeated, and the second time changes nothing; a unit that is displaced is kept in `<data>/units/`;
//! what runs is asked of the manager, not remembered; other movers of the same files are named, with the command that ends them.
//! Never: a job of the whole machine, a secret in a unit, a file of another mover removed without being asked to.

mod carried;
mod files;
mod launchctl;
pub mod launchd;
pub mod movers;
mod program;
mod status;
mod systemctl;
pub mod systemd;
mod tool;
pub mod unit;

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

pub use carried::{Carried, LeftOut, Reason, carried};
pub use program::Program;
pub use status::{Agreement, LastExit, Manager, Running, Status};

use crate::paths::{Environment, Paths, System};
use tool::Said;
use unit::{Filled, Unfit, Variables};

/// The programs that are run: names on PATH, or paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// launchd's.
    pub launchctl: PathBuf,
    /// systemd's.
    pub systemctl: PathBuf,
    /// Says whether a user's manager outlives the last login.
    pub loginctl: PathBuf,
    /// Lists jobs of cron.
    pub crontab: PathBuf,
    /// Says when a process began, where launchd does not.
    pub ps: PathBuf,
}

impl Default for Programs {
    fn default() -> Self {
        Self { launchctl: "launchctl".into(), systemctl: "systemctl".into(), loginctl: "loginctl".into(), crontab: "crontab".into(), ps: "ps".into() }
    }
}

/// What a service is made of.
#[derive(Debug, Clone)]
pub struct Setting {
    /// launchd on macOS, systemd elsewhere.
    pub system: System,
    /// What is run.
    pub programs: Programs,
    /// The variables of the installing process.
    pub environment: Environment,
    /// The places.
    pub paths: Paths,
    /// The user's id.
    pub uid: u32,
    /// The executable that runs now.
    pub executable: PathBuf,
}

/// The service of one user on one machine.
#[derive(Debug, Clone)]
pub struct Service {
    setting: Setting,
    program: Program,
    carried: Carried,
}

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A program is missing.
    #[error("{} cannot be run", program.display())]
    Run {
        /// It.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program hung.
    #[error("{} did not end within {seconds} s", program.display())]
    Late {
        /// It.
        program: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The manager said no.
    #[error("{command}: {said}")]
    Refused {
        /// What was asked.
        command: String,
        /// What it said.
        said: String,
    },
    /// No manager of this user runs.
    #[error("no service manager of this user can be reached: {said}")]
    NoManager {
        /// Which one it would be.
        manager: Manager,
        /// What was said instead.
        said: String,
    },
    /// A file.
    #[error("{} {what}", path.display())]
    File {
        /// What could not be done.
        what: &'static str,
        /// It.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A value.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// There is no unit to start.
    #[error("the service is not installed: there is no {}", unit.display())]
    NotInstalled {
        /// Where it would be.
        unit: PathBuf,
    },
    /// launchd still has the job.
    #[error("{label} was told to end, and is still there after {seconds} s")]
    StillThere {
        /// The job.
        label: &'static str,
        /// How long it was waited for.
        seconds: u64,
    },
}

/// What became of the unit's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// There was none.
    New,
    /// There was another, which is kept here.
    Replaced(PathBuf),
    /// It was there, byte for byte.
    Unchanged,
}

/// What became of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// It ran already, and runs on.
    Already,
    /// It was started.
    Started,
    /// It was ended and started.
    Restarted,
    /// It was ended.
    Stopped,
    /// It did not run.
    NotAtAll,
}

/// What `install` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The unit.
    pub unit: PathBuf,
    /// What became of it.
    pub written: Written,
    /// What became of the process.
    pub ran: Ran,
}

/// What `uninstall` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uninstalled {
    /// What was removed; empty where nothing was installed.
    pub removed: Vec<PathBuf>,
    /// The job was known to the manager.
    pub was_loaded: bool,
    /// What a user added to the unit, and what stays.
    pub left: Vec<PathBuf>,
    /// The manager could not be asked, so only files were removed.
    pub unreached: Option<String>,
}

impl Service {
    /// Nothing is asked or changed yet.
    #[must_use]
    pub fn new(setting: Setting) -> Self {
        let program = Program::of(&setting.executable);
        let carried = carried(setting.system, &setting.environment, &setting.paths);
        Self { setting, program, carried }
    }

    /// The program as the unit will name it.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// What the service gets of the environment.
    #[must_use]
    pub fn carried(&self) -> &Carried {
        &self.carried
    }

    /// Writes the unit where it is missing or another, and makes sure that it is enabled and runs as written.
    ///
    /// # Errors
    /// A value that no unit can hold, a file, no manager, or a manager that says no.
    pub async fn install(&self, now: DateTime<Utc>) -> Result<Installed, ServiceError> {
        match self.setting.system {
            System::Macos => self.install_in_launchd(now).await,
            System::Other => self.install_in_systemd(now).await,
        }
    }

    /// Ends it, and leaves nothing of it with the manager. Configuration, data and logs stay.
    ///
    /// # Errors
    /// A file, or a manager that says no. None being there is no error.
    pub async fn uninstall(&self) -> Result<Uninstalled, ServiceError> {
        match self.setting.system {
            System::Macos => self.uninstall_from_launchd().await,
            System::Other => self.uninstall_from_systemd().await,
        }
    }

    /// Starts it, if it does not run.
    ///
    /// # Errors
    /// It is not installed; no manager, or one that says no.
    pub async fn start(&self) -> Result<Ran, ServiceError> {
        match self.setting.system {
            System::Macos => self.start_in_launchd().await,
            System::Other => self.start_in_systemd().await,
        }
    }

    /// Ends it until the next login, or until it is started.
    ///
    /// # Errors
    /// No manager, or one that says no.
    pub async fn stop(&self) -> Result<Ran, ServiceError> {
        match self.setting.system {
            System::Macos => self.stop_in_launchd().await,
            System::Other => self.stop_in_systemd().await,
        }
    }

    /// Ends it if it runs, and starts it.
    ///
    /// # Errors
    /// As [`Service::start`].
    pub async fn restart(&self) -> Result<Ran, ServiceError> {
        match self.setting.system {
            System::Macos => self.restart_in_launchd().await,
            System::Other => self.restart_in_systemd().await,
        }
    }

    /// How it is.
    ///
    /// # Errors
    /// No manager, or one that says no; a file.
    pub async fn status(&self) -> Result<Status, ServiceError> {
        match self.setting.system {
            System::Macos => self.status_in_launchd().await,
            System::Other => self.status_in_systemd().await,
        }
    }

    /// The unit where it usually lies, and what was filled into it: read without a manager. None where there is none.
    #[must_use]
    pub fn on_disk(&self) -> Option<(PathBuf, Filled)> {
        let (places, read): (_, fn(&str) -> Filled) = match self.setting.system {
            System::Macos => (vec![self.plist()], unit::read_plist),
            System::Other => (self.usual_unit_files(), unit::read_systemd),
        };
        places.into_iter().find_map(|place| Some((files::read(&place).ok()??, place))).map(|(text, place)| (place, read(&text)))
    }

    /// Where displaced units are kept.
    #[must_use]
    pub fn kept(&self) -> PathBuf {
        self.setting.paths.data.join("units")
    }

    /// Runs a program of the manager.
    async fn run(&self, program: &Path, arguments: &[&OsStr]) -> Result<Said, ServiceError> {
        tool::run(program, arguments, &self.setting.environment, self.setting.uid).await
    }

    /// Writes the unit, unless it is there already.
    fn write(&self, unit: &Path, text: &str, now: DateTime<Utc>) -> Result<Written, ServiceError> {
        let written = match files::read(unit)? {
            Some(old) if old == text => return Ok(Written::Unchanged),
            Some(_) => Written::Replaced(files::keep(unit, &self.kept(), now)?),
            None => Written::New,
        };
        files::write(unit, text)?;
        Ok(written)
    }

    /// Compares a unit with the one that would be written; `render` writes one with other variables.
    fn compare(
        &self,
        installed: Option<&str>,
        filled: &Filled,
        render: impl Fn(&Variables) -> Result<String, Unfit>,
    ) -> Result<(Agreement, Vec<String>), ServiceError> {
        let Some(installed) = installed else { return Ok((Agreement::Absent, Vec::new())) };
        let ours = &self.carried.variables;
        if render(ours)? == installed {
            return Ok((Agreement::Same, Vec::new()));
        }
        // What is read back from a foreign unit may be what no unit can hold; then it is none of ours.
        if render(&filled.variables).is_ok_and(|text| text == installed) {
            let names = ours.keys().chain(filled.variables.keys()).filter(|name| ours.get(*name) != filled.variables.get(*name));
            let mut names: Vec<String> = names.cloned().collect();
            names.sort();
            names.dedup();
            return Ok((Agreement::Environment, names));
        }
        Ok((Agreement::Different, Vec::new()))
    }
}
