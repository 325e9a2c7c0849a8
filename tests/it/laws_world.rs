//! A throw-away world for the laws: this machine's home, far machines reached through `env`, and the real binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::{Duration, SecondsFormat, Utc};
use serde_json::{Value, json};

/// The session that most tests speak of.
pub(crate) const ID: &str = "11111111-1111-4111-8111-111111111111";
/// Another one.
pub(crate) const OTHER: &str = "22222222-2222-4222-8222-222222222222";

/// A home with a clone of `acme/widget`, and far machines each with a clone of it.
pub(crate) struct World {
    dir: tempfile::TempDir,
    machines: Vec<String>,
}

/// One side: its claude directory and its clone.
#[derive(Debug, Clone)]
pub(crate) struct Side {
    pub(crate) claude: PathBuf,
    pub(crate) clone: PathBuf,
}

impl World {
    /// A world with these machines; `more` is added to the configuration.
    pub(crate) fn new(machines: &[&str], more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let world = Self { dir, machines: machines.iter().map(ToString::to_string).collect() };
        clone(&world.here().clone);
        fs::create_dir_all(world.here().claude.join("sessions")).unwrap();
        let mut config = more.to_owned();
        for name in machines {
            let side = world.far(name);
            clone(&side.clone);
            fs::create_dir_all(side.claude.join("sessions")).unwrap();
            let home = side.claude.parent().unwrap().to_str().unwrap().to_owned();
            let command = json!(["env", "-i", format!("HOME={home}"), format!("PATH={}", path())]);
            let workspaces = side.clone.parent().unwrap().display().to_string();
            config
                .push_str(&format!("\n[[machine]]\nname = \"{name}\"\ncommand = {command}\nrepositories = [\"acme/widget\"]\nworkspaces = \"{workspaces}\"\n"));
        }
        let directory = world.root().join("home/.config/claude-session-sync");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("config.toml"), config).unwrap();
        world
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    pub(crate) fn here(&self) -> Side {
        Side { claude: self.root().join("home/.claude"), clone: self.root().join("home/projects/widget") }
    }

    pub(crate) fn far(&self, name: &str) -> Side {
        Side { claude: self.root().join(name).join("home/.claude"), clone: self.root().join(name).join("ws/widget") }
    }

    /// Our data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.root().join("home/.local/share/claude-session-sync")
    }

    /// One pass over all machines, with these arguments; its exit code and its report.
    pub(crate) fn sync(&self, arguments: &[&str]) -> (i32, Value) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_claude-session-sync"));
        command.env_clear().env("HOME", self.root().join("home")).env("PATH", path()).arg("sync");
        let named = arguments.first().is_some_and(|first| !first.starts_with('-'));
        if !named {
            command.args(&self.machines);
        }
        let output = command.args(arguments).arg("--json").output().unwrap();
        let report = serde_json::from_slice(&output.stdout);
        let report = report.unwrap_or_else(|_| json!({ "stderr": String::from_utf8_lossy(&output.stderr) }));
        (output.status.code().unwrap_or(-1), report)
    }

    /// One pass that must end well.
    pub(crate) fn good(&self, arguments: &[&str]) -> Value {
        let (code, report) = self.sync(arguments);
        // What was refused makes the pass one that was done in part.
        let refused = report["left"].as_array().unwrap().iter().any(|left| left["word"] == "refused");
        assert_eq!(code, if refused { 3 } else { 0 }, "{report:#}");
        report
    }

    /// Everything in the vault, as text.
    pub(crate) fn kept(&self) -> String {
        texts(&self.data().join("vault")).into_iter().map(|(_, text)| text).collect()
    }
}

impl Side {
    /// The project directory of the clone, or of a path below it.
    pub(crate) fn project(&self, below: &str) -> PathBuf {
        self.claude.join("projects").join(encoded(&self.clone.join(below)))
    }

    /// The transcript of a session in the clone's directory.
    pub(crate) fn transcript(&self, id: &str) -> PathBuf {
        self.project("").join(format!("{id}.jsonl"))
    }

    /// Appends messages, each so many minutes old.
    pub(crate) fn say(&self, id: &str, messages: &[(&str, i64)]) {
        append(&self.transcript(id), &messages.iter().map(|(text, age)| line(text, *age, &self.clone)).collect::<String>());
    }

    pub(crate) fn read(&self, id: &str) -> Option<String> {
        fs::read_to_string(self.transcript(id)).ok()
    }

    /// Every session file of this side and its text, by path below `projects/`.
    pub(crate) fn all(&self) -> Vec<(String, String)> {
        texts(&self.claude.join("projects"))
    }

    /// The names of its transcripts.
    pub(crate) fn ids(&self) -> Vec<String> {
        let names = self.all().into_iter().filter_map(|(path, _)| Some(path.rsplit_once('/')?.1.strip_suffix(".jsonl")?.to_owned()));
        let mut ids: Vec<String> = names.filter(|name| name.len() == 36).collect();
        ids.sort();
        ids
    }
}

/// A user's line, so many minutes old.
pub(crate) fn line(text: &str, age: i64, directory: &Path) -> String {
    let time = (Utc::now() - Duration::minutes(age)).to_rfc3339_opts(SecondsFormat::Secs, true);
    format!("{}\n", json!({"type": "user", "timestamp": time, "cwd": directory, "message": {"role": "user", "content": text}}))
}

/// Appends to a file, made with its directories if it is missing; its time becomes an hour ago.
pub(crate) fn append(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(3600)).unwrap();
}

/// The client's name for a directory.
pub(crate) fn encoded(path: &Path) -> String {
    path.to_str().unwrap().trim_end_matches('/').chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

fn path() -> String {
    std::env::var("PATH").unwrap()
}

fn clone(at: &Path) {
    fs::create_dir_all(at.join(".git")).unwrap();
    let git = |arguments: &[&str]| {
        let run = Command::new("git").arg("-C").arg(at).args(arguments).env_clear().env("PATH", path()).env("HOME", at).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    };
    git(&["init", "-q"]);
    git(&["remote", "add", "origin", "git@github.com:acme/widget.git"]);
}

fn texts(root: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                left.push(path);
            } else if kind.is_file() {
                let shown = path.strip_prefix(root).unwrap().display().to_string();
                found.push((shown, String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()));
            }
        }
    }
    found.sort();
    found
}
