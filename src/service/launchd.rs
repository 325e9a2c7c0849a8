//! The service as a launchd agent of the user's graphical session, `gui/UID`.
//!
//! Promises: a job that is told to go is waited for before it is loaded again, because `bootout` returns early; every wait is bounded.
//! Never: `load` and `unload`, which report no errors.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDateTime, Utc};

use super::launchctl::{Change, Job, Printed, change, is_disabled, printed};
use super::tool::Said;
use super::unit::{self, Variables};
use super::{Agreement, Installed, Manager, Ran, Running, Service, ServiceError, Status, Uninstalled, Written, files};
use crate::paths::make_private;

/// The job's name.
pub const LABEL: &str = "com.claude-session-sync.agent";

/// Longest wait for a job to go or to come: more than the plist's `ExitTimeOut`.
const LONGEST: Duration = Duration::from_secs(30);
/// launchd tells nobody, so it is asked.
const PAUSE: Duration = Duration::from_millis(100);

impl Service {
    /// Where the property lists of the user's jobs lie.
    pub(super) fn launch_agents(&self) -> PathBuf {
        self.setting.paths.home.join("Library/LaunchAgents")
    }

    pub(super) fn plist(&self) -> PathBuf {
        self.launch_agents().join(format!("{LABEL}.plist"))
    }

    fn domain(&self) -> String {
        format!("gui/{}", self.setting.uid)
    }

    fn target(&self, label: &str) -> String {
        format!("{}/{label}", self.domain())
    }

    fn rendered_plist(&self, variables: &Variables) -> Result<String, unit::Unfit> {
        unit::plist(&self.program.path, &self.setting.paths.home, &self.setting.paths.logs, variables)
    }

    pub(super) async fn install_in_launchd(&self, now: DateTime<Utc>) -> Result<Installed, ServiceError> {
        let (plist, text) = (self.plist(), self.rendered_plist(&self.carried.variables)?);
        let job = self.job(LABEL).await?;
        // launchd opens the files in it, and does not make it.
        let logs = &self.setting.paths.logs;
        make_private(logs).map_err(|source| ServiceError::File { what: "cannot be made", path: logs.clone(), source })?;
        let written = self.write(&plist, &text, now)?;
        self.must(&["enable", &self.target(LABEL)]).await?;
        let ran = match job {
            Some(job) if written == Written::Unchanged => self.kick(&job).await?,
            Some(job) => {
                self.boot_out(LABEL).await?;
                self.bootstrap(&plist).await?;
                if job.pid.is_some() { Ran::Restarted } else { Ran::Started }
            }
            None => {
                self.bootstrap(&plist).await?;
                Ran::Started
            }
        };
        Ok(Installed { unit: plist, written, ran })
    }

    pub(super) async fn uninstall_from_launchd(&self) -> Result<Uninstalled, ServiceError> {
        let (was_loaded, unreached) = match self.boot_out(LABEL).await {
            Ok(was_loaded) => (was_loaded, None),
            Err(ServiceError::NoManager { said, .. }) => (false, Some(said)),
            Err(error) => return Err(error),
        };
        let plist = self.plist();
        let removed = if files::remove(&plist)? { vec![plist] } else { Vec::new() };
        Ok(Uninstalled { removed, was_loaded, left: Vec::new(), unreached })
    }

    pub(super) async fn start_in_launchd(&self) -> Result<Ran, ServiceError> {
        let plist = self.installed_plist()?;
        match self.job(LABEL).await? {
            Some(job) => self.kick(&job).await,
            None => {
                self.must(&["enable", &self.target(LABEL)]).await?;
                self.bootstrap(&plist).await?;
                Ok(Ran::Started)
            }
        }
    }

    /// The job goes from launchd until the next login: told to end only, it would come back if it did so with a failure.
    pub(super) async fn stop_in_launchd(&self) -> Result<Ran, ServiceError> {
        Ok(if self.boot_out(LABEL).await? { Ran::Stopped } else { Ran::NotAtAll })
    }

    pub(super) async fn restart_in_launchd(&self) -> Result<Ran, ServiceError> {
        let plist = self.installed_plist()?;
        match self.job(LABEL).await? {
            None => {
                self.must(&["enable", &self.target(LABEL)]).await?;
                self.bootstrap(&plist).await?;
                Ok(Ran::Started)
            }
            Some(job) => {
                self.must(&["kickstart", "-k", &self.target(LABEL)]).await?;
                Ok(if job.pid.is_some() { Ran::Restarted } else { Ran::Started })
            }
        }
    }

    pub(super) async fn status_in_launchd(&self) -> Result<Status, ServiceError> {
        let plist = self.plist();
        let installed = files::read(&plist)?;
        let filled = installed.as_deref().map(unit::read_plist).unwrap_or_default();
        let (agreement, differs) = self.compare(installed.as_deref(), &filled, |variables| self.rendered_plist(variables))?;
        let job = self.job(LABEL).await?;
        let disabled = self.launchctl(&["print-disabled", &self.domain()]).await?;
        let enabled = disabled.is_good().then(|| agreement != Agreement::Absent && !is_disabled(&disabled.out, LABEL));
        let running = match job.as_ref().and_then(|job| job.pid) {
            Some(pid) => Some(Running { pid, since: self.began(pid).await }),
            None => None,
        };
        Ok(Status {
            manager: Manager::Launchd,
            unit: plist,
            agreement,
            differs,
            program_exists: filled.program.as_deref().is_some_and(Path::exists),
            program: filled.program,
            enabled,
            loaded: job.is_some(),
            running,
            restarts: job.as_ref().and_then(|job| job.runs).map(|runs| runs.saturating_sub(1)),
            last_exit: job.and_then(|job| job.last_exit),
            said: None,
            lingering: None,
            additions: Vec::new(),
        })
    }

    fn installed_plist(&self) -> Result<PathBuf, ServiceError> {
        let plist = self.plist();
        if files::read(&plist)?.is_some() { Ok(plist) } else { Err(ServiceError::NotInstalled { unit: plist }) }
    }

    /// What launchd knows of a job.
    pub(super) async fn job(&self, label: &str) -> Result<Option<Job>, ServiceError> {
        let target = self.target(label);
        let said = self.launchctl(&["print", &target]).await?;
        match printed(&said) {
            Printed::Loaded(job) => Ok(Some(job)),
            Printed::NotLoaded => Ok(None),
            Printed::NoDomain => Err(no_session(&said)),
            Printed::Unclear => Err(refused(&["print", &target], &said)),
        }
    }

    /// Starts a job that is loaded and does not run.
    async fn kick(&self, job: &Job) -> Result<Ran, ServiceError> {
        if job.pid.is_some() {
            return Ok(Ran::Already);
        }
        self.must(&["kickstart", &self.target(LABEL)]).await?;
        Ok(Ran::Started)
    }

    /// Loads the job, which starts it. Refused for a moment where another one of this name is still going.
    async fn bootstrap(&self, plist: &Path) -> Result<(), ServiceError> {
        let (domain, began) = (self.domain(), Instant::now());
        loop {
            let said = self.launchctl_with(&[OsStr::new("bootstrap"), OsStr::new(&domain), plist.as_os_str()]).await?;
            match change(&said) {
                Change::Done => return Ok(()),
                Change::NoDomain => return Err(no_session(&said)),
                // Somebody else loaded the same property list meanwhile.
                Change::Pending if self.job(LABEL).await?.is_some() => return Ok(()),
                Change::Pending if began.elapsed() < LONGEST => tokio::time::sleep(PAUSE).await,
                Change::Pending | Change::NoSuchJob | Change::Refused => {
                    return Err(refused(&["bootstrap", &domain, &plist.to_string_lossy()], &said));
                }
            }
        }
    }

    /// Ends a job and waits until launchd has forgotten it; whether there was one.
    pub(super) async fn boot_out(&self, label: &'static str) -> Result<bool, ServiceError> {
        if self.job(label).await?.is_none() {
            return Ok(false);
        }
        let target = self.target(label);
        let said = self.launchctl(&["bootout", &target]).await?;
        match change(&said) {
            Change::Done | Change::Pending | Change::NoSuchJob => {}
            Change::NoDomain => return Err(no_session(&said)),
            Change::Refused => return Err(refused(&["bootout", &target], &said)),
        }
        let began = Instant::now();
        while self.job(label).await?.is_some() {
            if began.elapsed() > LONGEST {
                return Err(ServiceError::StillThere { label, seconds: LONGEST.as_secs() });
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(true)
    }

    /// When a process began, as ps says it in UTC: `Sat Nov 21 05:06:07 2026`.
    async fn began(&self, pid: u32) -> Option<DateTime<Utc>> {
        let pid = pid.to_string();
        let said = self.run(&self.setting.programs.ps, &["-o", "lstart=", "-p", &pid].map(OsStr::new)).await.ok()?;
        NaiveDateTime::parse_from_str(said.out.trim(), "%a %b %e %H:%M:%S %Y").ok().map(|time| time.and_utc())
    }

    async fn launchctl(&self, arguments: &[&str]) -> Result<Said, ServiceError> {
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        self.launchctl_with(&arguments).await
    }

    async fn launchctl_with(&self, arguments: &[&OsStr]) -> Result<Said, ServiceError> {
        self.run(&self.setting.programs.launchctl, arguments).await
    }

    /// A command that must be done.
    async fn must(&self, arguments: &[&str]) -> Result<(), ServiceError> {
        let said = self.launchctl(arguments).await?;
        match change(&said) {
            Change::Done => Ok(()),
            // The process that is to be started is on its way already.
            Change::Pending if said.code != Some(5) => Ok(()),
            Change::NoDomain => Err(no_session(&said)),
            _ => Err(refused(arguments, &said)),
        }
    }
}

fn no_session(said: &Said) -> ServiceError {
    ServiceError::NoManager { manager: Manager::Launchd, said: said.complaint() }
}

fn refused(arguments: &[&str], said: &Said) -> ServiceError {
    ServiceError::Refused { command: format!("launchctl {}", arguments.join(" ")), said: said.complaint() }
}
