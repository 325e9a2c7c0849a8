//! A home with a clone, and the machine `box` behind a shell of its own: enough for the verbs that tell.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::e2e_world::{id, put_clone, put_session, transcript};
use crate::far::Far;

/// The machine.
pub(crate) const BOX: &str = "box";

/// The two of them.
pub(crate) struct World {
    pub(crate) far: Far,
    home: tempfile::TempDir,
}

/// What one run said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self { far: Far::new(), home: tempfile::tempdir().unwrap() };
        put_clone(&world.root(), "acme/widget");
        put_clone(&world.far_root(), "acme/widget");
        // A store without a registry of clients counts what was just written as open.
        fs::create_dir_all(world.far.claude().join("sessions")).unwrap();
        fs::create_dir_all(world.claude().join("sessions")).unwrap();
        world.reach(&world.far.command(), "");
        world
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.home.path().canonicalize().unwrap()
    }

    pub(crate) fn claude(&self) -> PathBuf {
        self.home().join(".claude")
    }

    /// The clone here.
    pub(crate) fn root(&self) -> PathBuf {
        self.home().join("projects/widget")
    }

    /// The clone there.
    pub(crate) fn far_root(&self) -> PathBuf {
        self.far.workspaces().canonicalize().unwrap().join("widget")
    }

    pub(crate) fn state_file(&self) -> PathBuf {
        self.home().join(".local/share/claude-session-sync/state/state.json")
    }

    /// From now on the machine is reached so; `more` is put before it in the configuration.
    pub(crate) fn reach(&self, command: &[String], more: &str) {
        let file = self.home().join(".config/claude-session-sync/config.toml");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let workspaces = self.far.workspaces().canonicalize().unwrap();
        let machine = format!("[[machine]]\nname = \"{BOX}\"\ncommand = {command:?}\nrepositories = [\"acme/widget\"]\nworkspaces = {workspaces:?}\n");
        fs::write(file, format!("{more}{machine}")).unwrap();
    }

    /// A session here, `minutes` old.
    pub(crate) fn here(&self, number: u32, text: &str, minutes: i64) -> PathBuf {
        put_session(&self.claude(), &self.root(), number, &transcript(number, &self.root(), text, minutes))
    }

    /// A session there.
    pub(crate) fn there(&self, number: u32, text: &str, minutes: i64) -> PathBuf {
        put_session(&self.far.claude(), &self.far_root(), number, &transcript(number, &self.far_root(), text, minutes))
    }

    /// Where a session of there lies here, once it came.
    pub(crate) fn came(&self, number: u32) -> PathBuf {
        let project = claude_session_sync::reconcile::project::encode(self.root().to_str().unwrap());
        self.claude().join("projects").join(project).join(format!("{}.jsonl", id(number)))
    }

    /// A client of this process's pid has the session open here.
    pub(crate) fn open_here(&self, number: u32) {
        let pid = std::process::id();
        fs::create_dir_all(self.claude().join("sessions")).unwrap();
        fs::write(self.claude().join(format!("sessions/{pid}.json")), json!({"pid": pid, "sessionId": id(number)}).to_string()).unwrap();
    }

    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_claude-session-sync"));
        command.args(line.split_whitespace()).env_clear().env("HOME", self.home()).env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command.current_dir(self.root()).stdin(Stdio::null());
        command
    }

    pub(crate) fn said(&self, output: &Output) -> Said {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().replace(self.home().to_str().unwrap(), "~");
        Said { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    pub(crate) fn run(&self, line: &str) -> Said {
        self.said(&self.command(line).output().unwrap())
    }

    /// A pass over the machine that must go well.
    #[track_caller]
    pub(crate) fn sync(&self) {
        let said = self.run("sync box");
        assert_eq!(said.code, 0, "{said:?}");
    }

    /// `status --json`, of its one place and repository.
    #[track_caller]
    pub(crate) fn counts(&self) -> Value {
        self.run("status --json").json()["places"][0]["repositories"][0]["counts"].clone()
    }

    /// The one session of `status --json` that is not equal.
    #[track_caller]
    pub(crate) fn unequal(&self) -> Value {
        let sessions = self.run("status --json").json()["places"][0]["repositories"][0]["sessions"].clone();
        assert_eq!(sessions.as_array().unwrap().len(), 1, "{sessions}");
        sessions[0].clone()
    }

    /// Changes what is remembered.
    pub(crate) fn remember(&self, change: impl FnOnce(&mut Value)) {
        let mut state: Value = serde_json::from_slice(&fs::read(self.state_file()).unwrap()).unwrap();
        change(&mut state);
        fs::write(self.state_file(), state.to_string()).unwrap();
    }
}

/// Adds one more prompt, said `minutes` ago, to a transcript.
pub(crate) fn go_on(file: &Path, text: &str, minutes: i64) -> u64 {
    let at = (chrono::Utc::now() - chrono::Duration::minutes(minutes)).format("%Y-%m-%dT%H:%M:%S.000Z");
    let line = format!("{}\n", json!({"type": "user", "timestamp": at.to_string(), "message": {"role": "user", "content": text}}));
    fs::OpenOptions::new().append(true).open(file).unwrap().write_all(line.as_bytes()).unwrap();
    line.len() as u64
}
