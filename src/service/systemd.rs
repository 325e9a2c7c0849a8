//! The service as a unit of the user's own systemd.
//!
//! Promises: the unit lies where the manager looks, which it is asked; `start` returns when the agent is ready, because systemd waits
//! for its word; without a manager the hint says what is missing. Never: a drop-in of the user's removed.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::systemctl::{PROPERTIES, Shown, is_unreached, shown, version};
use super::tool::Said;
use super::unit::{self, Variables};
use super::{Agreement, Installed, Manager, Ran, Service, ServiceError, Status, Uninstalled, Written, files};

/// The unit's name.
pub const UNIT: &str = "claude-session-sync.service";

/// Who wants it, once it is enabled.
const WANTS: &str = "default.target.wants";

impl Service {
    pub(super) async fn install_in_systemd(&self, now: DateTime<Utc>) -> Result<Installed, ServiceError> {
        let unit = self.unit_file().await?;
        let text = self.rendered_unit(&self.carried.variables, self.systemd_version().await)?;
        let written = self.write(&unit, &text, now)?;
        if written != Written::Unchanged {
            self.must_systemctl(&["daemon-reload"]).await?;
        }
        self.must_systemctl(&["enable", UNIT]).await?;
        let before = self.shown().await?;
        let ran = match (&written, before.running.is_some()) {
            (Written::Unchanged, true) => Ran::Already,
            (Written::New | Written::Replaced(_), true) => {
                self.start_with("restart").await?;
                Ran::Restarted
            }
            (_, false) => {
                self.start_with("restart").await?;
                Ran::Started
            }
        };
        Ok(Installed { unit, written, ran })
    }

    pub(super) async fn uninstall_from_systemd(&self) -> Result<Uninstalled, ServiceError> {
        let (unit, shown, unreached) = match self.shown().await {
            Ok(shown) => (self.unit_file().await?, shown, None),
            Err(ServiceError::NoManager { said, .. }) => (self.usual_unit_files().remove(0), Shown::default(), Some(said)),
            Err(error) => return Err(error),
        };
        let reached = unreached.is_none();
        if reached && (shown.loaded || shown.active) {
            self.must_systemctl(&["stop", UNIT]).await?;
        }
        if reached {
            // It complains where the unit is gone already; its link of ours is removed below in any case.
            self.systemctl(&["disable", UNIT]).await?;
        }
        let directory = unit.parent().unwrap_or(Path::new("/")).to_owned();
        let mut removed = Vec::new();
        for path in [directory.join(WANTS).join(UNIT), unit] {
            if files::remove(&path)? {
                removed.push(path);
            }
        }
        if reached {
            self.must_systemctl(&["daemon-reload"]).await?;
            // A unit that failed is remembered by its manager until it is told to forget it. It complains where there is none.
            self.systemctl(&["reset-failed", UNIT]).await?;
        }
        let additions = directory.join(format!("{UNIT}.d"));
        let left = if additions.is_dir() { vec![additions] } else { Vec::new() };
        Ok(Uninstalled { removed, was_loaded: shown.loaded, left, unreached })
    }

    pub(super) async fn start_in_systemd(&self) -> Result<Ran, ServiceError> {
        if self.loaded_unit().await?.running.is_some() {
            return Ok(Ran::Already);
        }
        self.start_with("start").await?;
        Ok(Ran::Started)
    }

    pub(super) async fn stop_in_systemd(&self) -> Result<Ran, ServiceError> {
        let before = self.shown().await?;
        if !before.active {
            return Ok(Ran::NotAtAll);
        }
        self.must_systemctl(&["stop", UNIT]).await?;
        Ok(Ran::Stopped)
    }

    pub(super) async fn restart_in_systemd(&self) -> Result<Ran, ServiceError> {
        let before = self.loaded_unit().await?;
        self.start_with("restart").await?;
        Ok(if before.running.is_some() { Ran::Restarted } else { Ran::Started })
    }

    pub(super) async fn status_in_systemd(&self) -> Result<Status, ServiceError> {
        let shown = self.shown().await?;
        let unit = self.unit_file().await?;
        let installed = files::read(&unit)?;
        let filled = installed.as_deref().map(unit::read_systemd).unwrap_or_default();
        let version = self.systemd_version().await;
        let (agreement, differs) = self.compare(installed.as_deref(), &filled, |variables| self.rendered_unit(variables, version))?;
        Ok(Status {
            manager: Manager::Systemd,
            unit,
            enabled: Some(agreement != Agreement::Absent && shown.enabled),
            agreement,
            differs,
            program_exists: filled.program.as_deref().is_some_and(Path::exists),
            program: filled.program,
            loaded: shown.loaded,
            running: shown.running,
            last_exit: shown.last_exit,
            restarts: shown.restarts,
            said: shown.said,
            lingering: self.lingering().await,
            additions: shown.additions,
        })
    }

    /// Whether the manager runs without a login; none where nobody knows.
    async fn lingering(&self) -> Option<bool> {
        let uid = self.setting.uid.to_string();
        let said = self.run(&self.setting.programs.loginctl, &["show-user", &uid, "--property=Linger", "--value"].map(OsStr::new)).await.ok()?;
        match said.out.trim() {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        }
    }

    fn rendered_unit(&self, variables: &Variables, version: u32) -> Result<String, unit::Unfit> {
        unit::systemd(&self.program.path, variables, version)
    }

    /// The user's units, likeliest place first: the manager may have another `XDG_CONFIG_HOME` than this shell.
    pub(super) fn usual_unit_files(&self) -> Vec<PathBuf> {
        let usual = self.setting.paths.home.join(".config");
        let named = self.setting.environment.get("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let mut places: Vec<PathBuf> = named.into_iter().chain([usual]).map(|base| base.join("systemd/user").join(UNIT)).collect();
        places.dedup();
        places
    }

    /// The one of them where the manager looks.
    async fn unit_file(&self) -> Result<PathBuf, ServiceError> {
        let said = self.must_systemctl(&["show", "--property=UnitPath", "--value"]).await?;
        let looked_at: Vec<&Path> = said.out.split_whitespace().map(Path::new).collect();
        let places = self.usual_unit_files();
        let found = places.iter().find(|place| place.parent().is_some_and(|directory| looked_at.contains(&directory)));
        Ok(found.or(places.last()).cloned().unwrap_or_default())
    }

    /// That of systemctl, which comes with its manager. Unknown counts as old: what is missing then is a growing delay.
    async fn systemd_version(&self) -> u32 {
        let said = self.run(&self.setting.programs.systemctl, &[OsStr::new("--version")]).await;
        said.ok().and_then(|said| version(&said.out)).unwrap_or(0)
    }

    pub(super) async fn shown(&self) -> Result<Shown, ServiceError> {
        let said = self.must_systemctl(&["show", &format!("--property={PROPERTIES}"), UNIT]).await?;
        Ok(shown(&said.out))
    }

    async fn loaded_unit(&self) -> Result<Shown, ServiceError> {
        let shown = self.shown().await?;
        if shown.loaded { Ok(shown) } else { Err(ServiceError::NotInstalled { unit: self.unit_file().await? }) }
    }

    /// Starts it, whatever happened before: starts by hand count for the limit, too, and a manager that gave up starts nothing.
    async fn start_with(&self, verb: &str) -> Result<(), ServiceError> {
        self.systemctl(&["reset-failed", UNIT]).await?;
        self.must_systemctl(&[verb, UNIT]).await?;
        Ok(())
    }

    async fn systemctl(&self, arguments: &[&str]) -> Result<Said, ServiceError> {
        let arguments: Vec<&OsStr> = ["--user"].iter().chain(arguments).map(OsStr::new).collect();
        self.run(&self.setting.programs.systemctl, &arguments).await
    }

    /// A command that must be done.
    async fn must_systemctl(&self, arguments: &[&str]) -> Result<Said, ServiceError> {
        let said = self.systemctl(arguments).await?;
        if said.is_good() {
            return Ok(said);
        }
        let complaint = said.complaint();
        if is_unreached(&said) {
            return Err(ServiceError::NoManager { manager: Manager::Systemd, said: complaint });
        }
        Err(ServiceError::Refused { command: format!("systemctl --user {}", arguments.join(" ")), said: complaint })
    }
}
