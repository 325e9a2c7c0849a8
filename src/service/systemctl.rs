//! What systemctl says: `show`, `--version`, and how it complains of a missing manager. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, NaiveDateTime, Utc};

use super::tool::Said;
use super::{LastExit, Running};

/// The properties of the unit that are asked for.
pub(super) const PROPERTIES: &str = "LoadState,ActiveState,SubState,MainPID,ExecMainStartTimestamp,ExecMainExitTimestamp,ExecMainCode,ExecMainStatus,\
                                     Result,NRestarts,UnitFileState,StatusText,DropInPaths";

/// The unit, as its manager has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// The manager found its file, and could read it.
    pub(super) loaded: bool,
    /// It runs, or is about to.
    pub(super) active: bool,
    /// Started at every start of the manager.
    pub(super) enabled: bool,
    pub(super) running: Option<Running>,
    pub(super) last_exit: Option<LastExit>,
    pub(super) restarts: Option<u64>,
    /// Why it is neither running nor stopped, or what the agent says of itself.
    pub(super) said: Option<String>,
    /// Files beside the unit that change it.
    pub(super) additions: Vec<PathBuf>,
}

/// Reads `systemctl --user show`.
pub(super) fn shown(text: &str) -> Shown {
    let properties: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let of = |name: &str| properties.get(name).copied().filter(|value| !value.is_empty());
    let since = of("ExecMainStartTimestamp").and_then(time);
    let running = of("MainPID").and_then(|pid| pid.parse().ok()).filter(|pid| *pid > 0).map(|pid| Running { pid, since });
    // Of the process before, if none runs; CLD_EXITED is 1, CLD_KILLED 2, CLD_DUMPED 3.
    let status = of("ExecMainStatus").and_then(|status| status.parse::<i32>().ok());
    let last_exit = match (of("ExecMainExitTimestamp").and_then(time), of("ExecMainCode"), status) {
        (Some(_), Some("1"), Some(code)) => Some(LastExit::Code(code)),
        (Some(_), Some("2" | "3"), Some(signal)) => Some(LastExit::Signal(signal.to_string())),
        _ => None,
    };
    let state = of("ActiveState").unwrap_or_default();
    let gave_up = match (state, of("Result")) {
        ("failed", Some(result)) => Some(format!("failed: {result}")),
        ("activating", Some(result)) if of("SubState") == Some("auto-restart") => Some(format!("waits to be started again, after: {result}")),
        _ => None,
    };
    Shown {
        loaded: of("LoadState") == Some("loaded"),
        active: matches!(state, "active" | "activating" | "reloading"),
        enabled: matches!(of("UnitFileState"), Some("enabled" | "enabled-runtime")),
        running,
        last_exit,
        restarts: of("NRestarts").and_then(|restarts| restarts.parse().ok()),
        said: gave_up.or_else(|| of("StatusText").map(str::to_owned)),
        additions: of("DropInPaths").map(|paths| paths.split(' ').map(PathBuf::from).collect()).unwrap_or_default(),
    }
}

/// `Sat 2026-11-21 05:06:07 UTC`.
fn time(text: &str) -> Option<DateTime<Utc>> {
    let text = text.strip_suffix(" UTC")?;
    NaiveDateTime::parse_from_str(text.split_once(' ')?.1, "%Y-%m-%d %H:%M:%S").ok().map(|time| time.and_utc())
}

/// The version in `systemd 252 (252.38-1~deb12u1)`.
pub(super) fn version(text: &str) -> Option<u32> {
    let digits: String = text.strip_prefix("systemd ")?.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Whether systemctl could not reach the manager, as opposed to being refused by it.
pub(super) fn is_unreached(said: &Said) -> bool {
    let complaints = ["Failed to connect to bus", "Failed to connect to user scope bus", "System has not been booted", "$XDG_RUNTIME_DIR"];
    !said.is_good() && complaints.iter().any(|complaint| said.err.contains(complaint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_unit_is_read() {
        let text = "MainPID=4711\nResult=success\nNRestarts=2\nExecMainStartTimestamp=Sat 2026-11-21 05:06:07 UTC\nExecMainExitTimestamp=\nExecMainCode=0\n\
                    ExecMainStatus=0\nStatusText=next pass at 06:00 = soon\nLoadState=loaded\nActiveState=active\nSubState=running\nDropInPaths=/a.conf /b.conf\n\
                    UnitFileState=enabled\n";
        let since = Some("2026-11-21T05:06:07Z".parse().unwrap());
        let expected = Shown {
            loaded: true,
            active: true,
            enabled: true,
            running: Some(Running { pid: 4711, since }),
            last_exit: None,
            restarts: Some(2),
            said: Some("next pass at 06:00 = soon".to_owned()),
            additions: vec!["/a.conf".into(), "/b.conf".into()],
        };
        assert_eq!(shown(text), expected);
    }

    #[test]
    fn a_unit_that_failed_says_how() {
        let text = "MainPID=0\nResult=watchdog\nExecMainExitTimestamp=Sat 2026-11-21 05:06:07 UTC\nExecMainCode=3\nExecMainStatus=6\nLoadState=loaded\n\
                    ActiveState=failed\nUnitFileState=disabled\n";
        let got = shown(text);
        assert_eq!((got.running, got.active, got.enabled), (None, false, false));
        assert_eq!((got.last_exit, got.said.as_deref()), (Some(LastExit::Signal("6".to_owned())), Some("failed: watchdog")));
        let waits = shown("ActiveState=activating\nSubState=auto-restart\nResult=exit-code\n");
        assert_eq!((waits.active, waits.said.as_deref()), (true, Some("waits to be started again, after: exit-code")));
    }

    #[test]
    fn a_unit_that_is_not_there_is_nothing() {
        assert_eq!(shown("LoadState=not-found\nActiveState=inactive\nMainPID=0\nNRestarts=0\n"), Shown { restarts: Some(0), ..Shown::default() });
        assert_eq!(shown("no property\n"), Shown::default());
    }

    #[test]
    fn the_version_is_read() {
        assert_eq!(version("systemd 252 (252.38-1~deb12u1)\n+PAM\n"), Some(252));
        assert_eq!(version("systemd 257-rc1"), Some(257));
        assert_eq!(version("elogind 252"), None);
    }
}
