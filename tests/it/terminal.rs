//! A real terminal: one window of a tmux server of its own, in which the program runs and a person types.

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::skip::have;
use crate::verbs_world::World;
use crate::wait::reached;

/// The window. Its server ends with it.
pub(crate) struct Terminal {
    directory: tempfile::TempDir,
}

impl Terminal {
    /// Starts the program in it. `None`: there is no tmux, and the test was said to be skipped.
    pub(crate) fn run(world: &World, line: &str) -> Option<Self> {
        if !have("tmux", "-V") {
            return None;
        }
        let terminal = Self { directory: tempfile::tempdir().unwrap() };
        let program = env!("CARGO_BIN_EXE_claude-session-sync");
        let home = world.home();
        // Its exit code is the last thing that the window shows, and the window stays.
        let script = format!(
            "cd {root}; env -i HOME={home} PATH=/usr/local/bin:/usr/bin:/bin TERM=xterm NO_COLOR=1 LC_ALL=C.UTF-8 {program} {line}; echo exit:$?; read -r _",
            root = world.root().display(),
            home = home.display()
        );
        let begun = terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "140", "-y", "40", "sh", "-c", &script]);
        assert!(begun.status.success(), "{begun:?}");
        Some(terminal)
    }

    fn tmux(&self, arguments: &[&str]) -> Output {
        let socket: PathBuf = self.directory.path().join("socket");
        let mut command = Command::new("tmux");
        command.arg("-u").arg("-S").arg(socket).args(arguments).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LC_ALL", "C.UTF-8");
        command.output().unwrap()
    }

    /// What it shows.
    pub(crate) fn shows(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p", "-J", "-S", "-200"]).stdout).into_owned()
    }

    /// Waits until it shows this.
    #[track_caller]
    pub(crate) fn until(&self, text: &str) -> String {
        reached(&format!("the terminal shows `{text}`"), || self.shows().contains(text));
        self.shows()
    }

    /// Types letters.
    pub(crate) fn types(&self, text: &str) {
        assert!(self.tmux(&["send-keys", "-l", text]).status.success());
    }

    /// Presses a key, by tmux's name of it.
    pub(crate) fn press(&self, key: &str) {
        assert!(self.tmux(&["send-keys", key]).status.success());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]);
    }
}
