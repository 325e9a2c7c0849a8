//! `service` at the command line, where there is no manager, or one that says no. With a real one: `service_systemd`.

use std::fs;
use std::path::PathBuf;

use crate::skip::skip;
use crate::verbs_world::{Said, World};
use crate::way::wrapper;

/// A home whose `systemctl` is this script.
struct Shell {
    world: World,
    programs: tempfile::TempDir,
}

impl Shell {
    fn new(systemctl: Option<&str>) -> Self {
        let shell = Self { world: World::new(), programs: crate::way::short_directory() };
        if let Some(body) = systemctl {
            wrapper(&shell.programs.path().join("systemctl"), &format!("PATH=/usr/bin:/bin; {body}"));
        }
        shell
    }

    fn run(&self, line: &str) -> Said {
        self.world.said(&self.world.command(line).env("PATH", self.programs.path()).output().unwrap())
    }

    fn unit(&self) -> PathBuf {
        self.world.home().join(".config/systemd/user/claude-session-sync.service")
    }
}

/// Where the verbs would go to the machine's own launchd.
fn is_mac() -> bool {
    if cfg!(target_os = "macos") {
        skip("the command line speaks to launchd here, and there is no stand-in for it on PATH");
    }
    cfg!(target_os = "macos")
}

const NO_BUS: &str = "echo 'Failed to connect to bus: No medium found' >&2; exit 1";

#[test]
fn a_machine_without_systemd_is_told_what_to_start_instead() {
    if is_mac() {
        return;
    }
    let shell = Shell::new(None);
    for verb in ["install", "uninstall", "start", "stop", "restart", "status"] {
        let said = shell.run(&format!("service {verb}"));
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{verb}: {said:?}");
        assert!(said.err.starts_with("error: systemctl cannot be run\ncaused by: "), "{said:?}");
        assert!(said.err.ends_with("hint: without launchd or systemd, let whatever starts programs here start: claude-session-sync run\n"), "{said:?}");
    }
    assert!(!shell.unit().exists());
}

#[test]
fn a_user_without_a_manager_is_told_how_to_get_one() {
    if is_mac() {
        return;
    }
    let shell = Shell::new(Some(NO_BUS));
    let said = shell.run("service install");
    assert_eq!(said.code, 1);
    assert!(said.err.starts_with("error: no service manager of this user can be reached: Failed to connect to bus: No medium found\nhint: log in"), "{said:?}");
    assert!(said.err.contains("loginctl enable-linger") && said.err.contains("XDG_RUNTIME_DIR"), "{said:?}");
    assert!(!shell.unit().exists(), "nothing is written where nobody reads it");
}

#[test]
fn uninstall_removes_the_files_where_the_manager_cannot_be_asked() {
    if is_mac() {
        return;
    }
    let shell = Shell::new(Some(NO_BUS));
    let wants = shell.unit().parent().unwrap().join("default.target.wants");
    fs::create_dir_all(&wants).unwrap();
    fs::write(shell.unit(), "x").unwrap();
    std::os::unix::fs::symlink(shell.unit(), wants.join("claude-session-sync.service")).unwrap();
    let said = shell.run("service uninstall");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("removed ~/.config/systemd/user/claude-session-sync.service\n"), "{said:?}");
    assert!(said.err.contains("cannot be asked whether the agent still runs"), "{said:?}");
    assert!(!shell.unit().exists() && fs::read_dir(wants).unwrap().next().is_none());
}

#[test]
fn a_broken_configuration_is_told_and_hinders_nothing() {
    if is_mac() {
        return;
    }
    let shell =
        Shell::new(Some("case \"$*\" in *UnitPath*) echo \"$HOME/.config/systemd/user\";; *) echo LoadState=not-found; echo ActiveState=inactive;; esac"));
    fs::write(shell.world.home().join(".config/claude-session-sync/config.toml"), "no such key = 1\n").unwrap();
    let said = shell.run("service status --json");
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.err.starts_with("warning: ") && said.err.contains("config check"), "{said:?}");
    let shown = said.json();
    assert_eq!((&shown["version"], &shown["agreement"], &shown["running"]), (&1.into(), &"absent".into(), &serde_json::Value::Null), "{said:?}");
    assert_eq!(shell.run("service status").out, "agent      is not installed: claude-session-sync service install\n");
}
