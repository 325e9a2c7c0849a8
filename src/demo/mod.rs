//! A throw-away world for the story that `demo` tells: this machine with two clones, and two far machines behind `sh`.
//!
//! Promises: everything lies below one directory that its caller gives; the sessions have the client's real shapes and times
//! relative to a given `now`; the far machines are reached as any `[[machine]]` is, so nothing of the pass is played. Never:
//! the network, an account, the reader's own sessions, configuration or git.

mod conversation;
mod story;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::reconcile::project::encode;
use crate::reconcile::transcript::Reader;

/// The machine that plays the reader's own.
pub const HERE: &str = "laptop";

/// The two that play codespaces.
pub const FAR: [&str; 2] = ["otter", "heron"];

/// What the wrapper and the story's children are called.
const PROGRAM: &str = env!("CARGO_PKG_NAME");

/// The world, in a directory.
#[derive(Debug)]
pub struct World {
    root: PathBuf,
    path: String,
    now: DateTime<Utc>,
}

/// A session as it lies in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Its title.
    pub title: String,
    /// The clone it belongs to: the last part of its working directory.
    pub project: String,
    /// Bytes of its transcript.
    pub bytes: u64,
}

/// What tells one state of a file from another: modification time in nanoseconds, length, inode.
pub type Token = (i128, u64, u64);

/// The configuration of this world.
#[derive(Serialize)]
struct Written<'w> {
    github: GitHub,
    sync: Roots,
    machine: Vec<Machine<'w>>,
}

#[derive(Serialize)]
struct GitHub {
    enabled: bool,
}

#[derive(Serialize)]
struct Roots {
    clone_roots: Vec<String>,
}

#[derive(Serialize)]
struct Machine<'w> {
    name: &'w str,
    command: [String; 4],
    repositories: &'w [&'w str],
    workspaces: String,
}

impl World {
    /// Builds the world in `root`, an existing directory that is empty. `path` is the `PATH` of all its machines, `program`
    /// the one that its own command runs.
    ///
    /// # Errors
    /// When something cannot be written, or `root` is not UTF-8.
    pub fn build(root: &Path, path: &str, program: &Path, now: DateTime<Utc>) -> io::Result<Self> {
        let root = root.canonicalize()?;
        let world = Self { root, path: path.to_owned(), now };
        world.text(&world.root)?;
        for (place, clones) in [(HERE, &["widget", "gadget"][..]), (FAR[0], &["widget"]), (FAR[1], &["widget", "gadget"])] {
            make(&world.claude(place).join("projects"))?;
            // An own registry of running clients, so that it and not the age of a file says what is in use.
            make(&world.claude(place).join("sessions"))?;
            clones.iter().try_for_each(|name| clone(&world.clone_of(place, name), name))?;
        }
        let config = world.home().join(".config").join(PROGRAM);
        make(&config)?;
        write(&config.join("config.toml"), &world.config()?, 0o600)?;
        make(&world.commands())?;
        write(&world.commands().join(PROGRAM), &world.wrapper(program)?, 0o755)?;
        story::beginning(&world)?;
        Ok(world)
    }

    /// The root of the world.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The home of the machine that plays the reader's own.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.root.join(HERE)
    }

    /// The directory with the one command that runs every verb in this world.
    #[must_use]
    pub fn commands(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// The same, as a word of the shell.
    #[must_use]
    pub fn commands_word(&self) -> String {
        let text = self.commands().to_string_lossy().into_owned();
        if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+@".contains(&byte)) { text } else { quoted(&text) }
    }

    /// The vault of the machine that plays the reader's own.
    #[must_use]
    pub fn vault(&self) -> PathBuf {
        self.home().join(".local/share").join(PROGRAM).join("vault")
    }

    /// The whole environment of a verb in this world.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        vec![("HOME", self.home()), ("PATH", PathBuf::from(&self.path))]
    }

    /// Goes on with one session on two machines, the far one later: neither copy begins with the other.
    ///
    /// # Errors
    /// When the session is not there, or cannot be written.
    pub fn diverge(&self) -> io::Result<()> {
        story::divergence(self)
    }

    /// The transcript that [`World::diverge`] continues, as it lies in a place.
    ///
    /// # Errors
    /// When it is not there.
    pub fn diverging(&self, place: &str) -> io::Result<Vec<u8>> {
        fs::read(story::diverging(self, place)?)
    }

    /// The sessions that lie in a place, by id.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn sessions(&self, place: &str) -> io::Result<BTreeMap<String, Copy>> {
        let mut sessions = BTreeMap::new();
        for path in files(&self.claude(place).join("projects"))? {
            let id = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
            if path.extension() != Some(OsStr::new("jsonl")) || uuid::Uuid::try_parse(id).is_err() {
                continue;
            }
            let bytes = fs::read(&path)?;
            let mut reader = Reader::new([]);
            reader.push(&bytes);
            let reading = reader.finish();
            let project = reading.working_directories.first().and_then(|cwd| cwd.rsplit('/').next()).unwrap_or_default().to_owned();
            let title = reading.title.unwrap_or_default();
            sessions.insert(id.to_owned(), Copy { title, project, bytes: bytes.len() as u64 });
        }
        Ok(sessions)
    }

    /// Every file of all stores with its token: what a pass that has nothing to do must leave as it is.
    ///
    /// # Errors
    /// When a store cannot be read.
    pub fn tokens(&self) -> io::Result<BTreeMap<PathBuf, Token>> {
        let mut tokens = BTreeMap::new();
        for place in [HERE].into_iter().chain(FAR) {
            for path in files(&self.claude(place).join("projects"))? {
                let found = fs::symlink_metadata(&path)?;
                let modified = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
                tokens.insert(path, (modified, found.len(), found.ino()));
            }
        }
        Ok(tokens)
    }

    fn claude(&self, place: &str) -> PathBuf {
        self.root.join(place).join(".claude")
    }

    /// Where a place keeps its clones.
    fn clones(&self, place: &str) -> PathBuf {
        self.root.join(place).join(if place == HERE { "projects" } else { "workspaces" })
    }

    fn clone_of(&self, place: &str, name: &str) -> PathBuf {
        self.clones(place).join(name)
    }

    /// The client's directory for a working directory.
    fn project(&self, place: &str, cwd: &Path) -> io::Result<PathBuf> {
        Ok(self.claude(place).join("projects").join(encode(self.text(cwd)?)))
    }

    fn text<'p>(&self, path: &'p Path) -> io::Result<&'p str> {
        path.to_str().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the name of its directory is not UTF-8"))
    }

    fn config(&self) -> io::Result<String> {
        let far = |name: &'static str, repositories: &'static [&'static str]| -> io::Result<Machine<'static>> {
            let home = format!("HOME={}", self.text(&self.root.join(name))?);
            let command = ["env".to_owned(), "-i".to_owned(), home, format!("PATH={}", self.path)];
            Ok(Machine { name, command, repositories, workspaces: self.text(&self.clones(name))?.to_owned() })
        };
        let machine = vec![far(FAR[0], &["acme/widget"])?, far(FAR[1], &["acme/widget", "acme/gadget"])?];
        let roots = Roots { clone_roots: vec![self.text(&self.clones(HERE))?.to_owned()] };
        let text = toml::to_string(&Written { github: GitHub { enabled: false }, sync: roots, machine }).map_err(io::Error::other)?;
        Ok(format!("# The configuration of the demo's world: two machines behind sh play codespaces; GitHub is not asked.\n{text}"))
    }

    /// A command by the program's own name that sees nothing but this world.
    fn wrapper(&self, program: &Path) -> io::Result<String> {
        let (home, program) = (quoted(self.text(&self.home())?), quoted(self.text(program)?));
        let terminal = "TERM=\"${TERM:-dumb}\" ${NO_COLOR:+NO_COLOR=\"$NO_COLOR\"}";
        // There is one service manager for all worlds.
        let service = "[ \"${1-}\" != service ] || { echo 'error: there is no service in the world of the demo' >&2; exit 2; }";
        Ok(format!("#!/bin/sh\n# Runs every verb in the demo's world.\n{service}\nexec env -i HOME={home} PATH=\"$PATH\" {terminal} {program} \"$@\"\n"))
    }

    /// Adds lines to a transcript as the client does, and gives it the time of its newest message.
    fn append(&self, file: &Path, lines: &str, at: DateTime<Utc>) -> io::Result<()> {
        if let Some(directory) = file.parent() {
            make(directory)?;
        }
        let mut open = OpenOptions::new().append(true).create(true).mode(0o600).open(file)?;
        open.write_all(lines.as_bytes())?;
        open.set_modified(SystemTime::from(at))
    }
}

/// A word of the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

fn write(file: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut open = File::options().write(true).create_new(true).mode(mode).open(file)?;
    open.write_all(text.as_bytes())?;
    open.set_permissions(fs::Permissions::from_mode(mode))
}

/// What `git remote -v` needs of a clone, so that no `git init` with the reader's templates and hooks is run.
fn clone(root: &Path, name: &str) -> io::Result<()> {
    let git = root.join(".git");
    make(&git.join("objects"))?;
    make(&git.join("refs/heads"))?;
    write(&git.join("HEAD"), "ref: refs/heads/main\n", 0o600)?;
    let config = format!("[core]\n\trepositoryformatversion = 0\n\tbare = false\n[remote \"origin\"]\n\turl = git@github.com:acme/{name}.git\n");
    write(&git.join("config"), &config, 0o600)
}

/// All files below a directory, in order.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    Ok(found)
}
