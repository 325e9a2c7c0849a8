//! A real terminal: a pane of a tmux server of its own, with an interactive bash in it that has the environment of a world.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::process::{Command, Output, Stdio};

use crate::e2e_world::Laptop;
use crate::skip::have;
use crate::verbs_world::World;
use crate::wait::reached;
use crate::way::short_directory;

/// A pane; its server ends when it is dropped.
pub(crate) struct Pane {
    dir: tempfile::TempDir,
}

impl Pane {
    /// A pane of 100 columns and 30 lines with a laptop's environment, in which the program is called `css`. `None`: something is
    /// missing, and the test was said to be skipped.
    pub(crate) fn open(laptop: &Laptop, more: &[(&str, &str)]) -> Option<Self> {
        let mut environment = laptop.environment();
        environment.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Self::with(environment)
    }

    /// The same in the home of the verbs' world, without colours, beside the clone.
    pub(crate) fn at(world: &World) -> Option<Self> {
        let home = world.home().display().to_string();
        let own = [("HOME", home.as_str()), ("PATH", "/usr/local/bin:/usr/bin:/bin"), ("NO_COLOR", "1"), ("LC_ALL", "C.UTF-8")];
        let pane = Self::with(own.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())?;
        pane.line(&format!("cd {}", world.root().display()));
        Some(pane)
    }

    fn with(mut environment: BTreeMap<String, String>) -> Option<Self> {
        if !have("tmux", "-V") || !have("bash", "--version") {
            return None;
        }
        let dir = short_directory();
        fs::create_dir(dir.path().join("bin")).unwrap();
        symlink(env!("CARGO_BIN_EXE_claude-session-sync"), dir.path().join("bin/css")).unwrap();
        let path = format!("{}:{}", dir.path().join("bin").display(), environment["PATH"]);
        let own = [("PATH", path.as_str()), ("TERM", "screen"), ("PS1", "here> ")];
        environment.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let pane = Self { dir };
        let mut arguments: Vec<String> = ["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", "env", "-i"].map(str::to_owned).into();
        arguments.extend(environment.iter().map(|(name, value)| format!("{name}={value}")));
        arguments.extend(["bash", "--noprofile", "--norc", "-i"].map(str::to_owned));
        pane.tmux(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        pane.shows("here>");
        Some(pane)
    }

    fn asked(&self, arguments: &[&str]) -> Output {
        let mut tmux = Command::new("tmux");
        tmux.arg("-S").arg(self.dir.path().join("s")).args(arguments).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("TERM", "screen");
        tmux.env("LANG", "C.UTF-8").current_dir(self.dir.path()).stdin(Stdio::null()).output().unwrap()
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = self.asked(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Types letters.
    pub(crate) fn types(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    /// Types a line.
    pub(crate) fn line(&self, text: &str) {
        self.types(text);
        self.key("Enter");
    }

    /// Runs the program; what it ended with is then shown as `ended-7.`.
    pub(crate) fn run(&self, arguments: &str) {
        self.line(&format!("css {arguments}; echo ended-$?."));
    }

    /// Presses a key, in tmux's words.
    pub(crate) fn key(&self, name: &str) {
        self.tmux(&["send-keys", name]);
    }

    /// All that was shown so far; long lines are whole.
    pub(crate) fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-J", "-S", "-"])
    }

    /// The same with the escape sequences of its colours.
    pub(crate) fn coloured(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e", "-J", "-S", "-"])
    }

    /// Waits until this is shown, and gives all that was.
    pub(crate) fn shows(&self, text: &str) -> String {
        reached(&format!("the terminal shows {text:?}"), || self.screen().contains(text));
        self.screen()
    }

    pub(crate) fn resize(&self, columns: u32, lines: u32) {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &lines.to_string()]);
    }

    /// Closes the window, as people do. Another one keeps the server.
    pub(crate) fn close(&self) {
        self.tmux(&["new-window", "-d", "exec sleep 1000"]);
        self.tmux(&["kill-pane"]);
    }
}

impl Drop for Pane {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let shown = self.asked(&["capture-pane", "-p", "-J", "-S", "-"]);
            let text = format!("the terminal showed:\n{}\n", String::from_utf8_lossy(&shown.stdout));
            drop(std::io::stderr().write_all(text.as_bytes()));
        }
        self.asked(&["kill-server"]);
    }
}
