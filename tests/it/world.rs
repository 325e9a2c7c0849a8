//! A small world: this machine's home with its clones, and any number of far machines, each a home of its own behind a
//! `[[machine]] command`. Everything in it is real (the program, its script, git, the stores) but for the network.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use claude_session_sync::reconcile::project::encode;
use claude_session_sync::reconcile::report::{Action, ActionResult, Outcome, Report, Verb, Visit};
use serde_json::json;

use crate::talk::Talk;

/// The PATH of everything that runs in a world.
pub(crate) const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Bytes that a failed assertion shows as their length and digest.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digest = crate::remote_far::sha256(&self.0);
        write!(f, "{} bytes {:02x}{:02x}{:02x}", self.0.len(), digest[0], digest[1], digest[2])
    }
}

impl std::ops::Deref for Bytes {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

/// One machine: its home, its store, where its clones lie.
#[derive(Debug, Clone)]
pub(crate) struct Side {
    pub(crate) name: String,
    pub(crate) home: PathBuf,
    pub(crate) claude: PathBuf,
    pub(crate) clones: PathBuf,
}

/// A machine of the configuration.
#[derive(Debug)]
struct Machine {
    name: String,
    repositories: Vec<String>,
    command: Vec<String>,
    workspaces: PathBuf,
}

/// The world. Goes with everything in it.
#[derive(Debug)]
pub(crate) struct World {
    root: tempfile::TempDir,
    pub(crate) here: Side,
    machines: Vec<Machine>,
    settings: String,
}

/// What one run of the program said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl World {
    /// A home with an empty store of a present client, and nobody else.
    pub(crate) fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    /// The same, in a directory that is there already.
    pub(crate) fn within(root: tempfile::TempDir) -> Self {
        let here = Side::make("here", &root.path().canonicalize().unwrap().join("home"), "projects");
        Self { root, here, machines: Vec::new(), settings: String::new() }
    }

    /// The usual one: acme/widget cloned here and on the machine `box`, which shares it.
    pub(crate) fn with_box() -> (Self, Side) {
        let mut world = Self::new();
        let far = world.machine("box", &["acme/widget"]);
        for side in [&world.here, &far] {
            side.clone_of("widget", "git@github.com:acme/widget.git");
        }
        (world, far)
    }

    /// One more far machine.
    pub(crate) fn machine(&mut self, name: &str, repositories: &[&str]) -> Side {
        let side = Side::make(name, &self.root().join(name).join("home"), "../workspaces");
        let command = ["env", "-i", &format!("HOME={}", side.home.display()), &format!("PATH={PATH}")].map(str::to_owned).to_vec();
        let repositories = repositories.iter().map(|name| (*name).to_owned()).collect();
        self.machines.push(Machine { name: name.to_owned(), repositories, command, workspaces: side.clones.clone() });
        side
    }

    /// Another way to a machine.
    pub(crate) fn reach(&mut self, name: &str, change: impl FnOnce(&mut Vec<String>)) {
        change(&mut self.machines.iter_mut().find(|machine| machine.name == name).unwrap().command);
    }

    /// Another place for a machine's clones.
    pub(crate) fn workspaces(&mut self, name: &str, at: &Path) {
        self.machines.iter_mut().find(|machine| machine.name == name).unwrap().workspaces = at.to_owned();
    }

    /// Further lines of the configuration.
    pub(crate) fn set(&mut self, lines: &str) {
        self.settings = format!("{lines}\n");
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.root.path().canonicalize().unwrap()
    }

    fn configure(&self) {
        let mut text = self.settings.clone();
        for Machine { name, repositories, command, workspaces } in &self.machines {
            text += &format!("[[machine]]\nname = \"{name}\"\ncommand = {command:?}\nrepositories = {repositories:?}\nworkspaces = {workspaces:?}\n");
        }
        let file = self.here.home.join(".config/claude-session-sync/config.toml");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    /// The program with these arguments, behind `before` (a tracer, say).
    pub(crate) fn command(&self, before: &[&str], arguments: &[&str]) -> Command {
        self.configure();
        let mut words = before.iter().copied().chain([env!("CARGO_BIN_EXE_claude-session-sync")]).chain(arguments.iter().copied());
        let mut command = Command::new(words.next().unwrap());
        command.args(words).env_clear().env("HOME", &self.here.home).env("PATH", PATH).current_dir(&self.here.home).stdin(Stdio::null());
        command
    }

    /// `sync` with every machine named, so that GitHub is not asked, and these arguments.
    pub(crate) fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        ["sync", "--json"].into_iter().chain(more.iter().copied()).chain(self.machines.iter().map(|machine| machine.name.as_str())).collect()
    }

    /// One pass.
    pub(crate) fn sync(&self, more: &[&str]) -> Ran {
        Ran::of(&mut self.command(&[], &self.arguments(more)))
    }

    /// One pass that must go well.
    #[track_caller]
    pub(crate) fn passes(&self) -> Report {
        self.sync(&[]).went_well()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.here.home.join(".local/share/claude-session-sync")
    }

    /// The archive's copy of a session.
    pub(crate) fn archived(&self, id: &str) -> Option<Bytes> {
        fs::read(self.data().join(format!("vault/archive/{id}.jsonl"))).ok().map(Bytes)
    }

    /// The distinct contents that the vault keeps of this session.
    pub(crate) fn displaced(&self, id: &str) -> BTreeSet<Bytes> {
        let of_session = files(&self.data().join("vault/displaced").join(id));
        of_session.into_iter().filter(|(name, _)| !name.ends_with(".json")).map(|(_, (_, bytes))| bytes).collect()
    }

    /// Gives everything to a user without privileges, if root runs this test. The program then runs as that user, too.
    pub(crate) fn as_plain_user(&self, command: &mut Command) {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        fs::set_permissions(self.root(), fs::Permissions::from_mode(0o755)).unwrap();
        let changed = Command::new("chown").args(["-R", "65534:65534"]).arg(self.root()).status().unwrap();
        assert!(changed.success());
        command.uid(65534).gid(65534);
    }
}

impl Ran {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// The report on standard output.
    #[track_caller]
    pub(crate) fn report(&self) -> Report {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("no report ({error}): {self:?}"))
    }

    /// The report of a pass in which nothing failed and nothing was put off.
    #[track_caller]
    pub(crate) fn went_well(&self) -> Report {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{self:?}");
        let report = self.report();
        assert!(report.actions.iter().all(|action| matches!(action.result, None | Some(ActionResult::Done))), "{:?}", report.actions);
        assert!(report.visits.iter().all(|visit| visit.outcome == Outcome::Visited), "{:?}", report.visits);
        report
    }
}

impl Side {
    fn make(name: &str, home: &Path, clones: &str) -> Self {
        let claude = home.join(".claude");
        let clones = clones.strip_prefix("../").map_or_else(|| home.join(clones), |beside| home.parent().unwrap().join(beside));
        fs::create_dir_all(claude.join("sessions")).unwrap();
        fs::create_dir_all(claude.join("projects")).unwrap();
        fs::create_dir_all(&clones).unwrap();
        Self { name: name.to_owned(), home: home.to_owned(), claude, clones }
    }

    /// A clone of a repository, as git makes one; its path.
    pub(crate) fn clone_of(&self, name: &str, remote: &str) -> String {
        let path = self.clones.join(name);
        self.git(&["init", "--quiet", &path.display().to_string()]);
        self.git(&["-C", &path.display().to_string(), "remote", "add", "origin", remote]);
        path.display().to_string()
    }

    /// Runs git with this home and no other configuration.
    pub(crate) fn git(&self, arguments: &[&str]) {
        let mut git = Command::new("git");
        git.args(arguments).env_clear().env("HOME", &self.home).env("PATH", PATH).env("GIT_CONFIG_NOSYSTEM", "1").stdin(Stdio::null());
        let output = git.output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The path of something below the clones.
    pub(crate) fn at(&self, below: &str) -> String {
        self.clones.join(below).display().to_string()
    }

    /// Where a session of this working directory lies.
    pub(crate) fn transcript(&self, cwd: &str, id: &str) -> PathBuf {
        self.claude.join("projects").join(encode(cwd)).join(format!("{id}.jsonl"))
    }

    /// Writes a conversation into its working directory's project, as its client would: on the same inode if it is there, 0600, at
    /// the time of its newest message.
    pub(crate) fn put(&self, talk: &Talk) -> PathBuf {
        self.put_at(&self.transcript(&talk.cwd, &talk.id), talk)
    }

    /// Writes a conversation where its session lies here.
    pub(crate) fn goes_on(&self, talk: &Talk) -> PathBuf {
        self.put_at(&self.path(&talk.id), talk)
    }

    fn put_at(&self, path: &Path, talk: &Talk) -> PathBuf {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
        std::io::Write::write_all(&mut file, &talk.bytes).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_millis(talk.at.timestamp_millis().unsigned_abs())).unwrap();
        path.to_owned()
    }

    /// Writes a file into a session's folder, so many minutes ago.
    pub(crate) fn put_side(&self, talk: &Talk, name: &str, bytes: &[u8], minutes_ago: u64) -> PathBuf {
        let cwd = if self.paths(&talk.id).is_empty() { self.transcript(&talk.cwd, &talk.id) } else { self.path(&talk.id) };
        let path = cwd.with_extension("").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        let whole =
            SystemTime::UNIX_EPOCH + Duration::from_secs(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() - 60 * minutes_ago);
        fs::File::options().write(true).open(&path).unwrap().set_modified(whole).unwrap();
        path
    }

    /// Every place where this session's transcript lies.
    pub(crate) fn paths(&self, id: &str) -> Vec<PathBuf> {
        let projects = fs::read_dir(self.claude.join("projects")).unwrap();
        projects.map(|project| project.unwrap().path().join(format!("{id}.jsonl"))).filter(|path| path.exists()).collect()
    }

    /// The one place where it lies.
    #[track_caller]
    pub(crate) fn path(&self, id: &str) -> PathBuf {
        let paths = self.paths(id);
        assert_eq!(paths.len(), 1, "{id} at {}: {paths:?}", self.name);
        paths[0].clone()
    }

    /// The bytes of a session.
    #[track_caller]
    pub(crate) fn bytes(&self, id: &str) -> Bytes {
        Bytes(fs::read(self.path(id)).unwrap())
    }

    /// Everything below `projects/`, by path: modification time in whole seconds, bytes.
    pub(crate) fn files(&self) -> BTreeMap<String, (u64, Bytes)> {
        files(&self.claude.join("projects"))
    }

    /// All session files, whatever their project directory is called.
    pub(crate) fn sessions(&self) -> BTreeMap<String, Bytes> {
        let files = self.files();
        let names: Vec<String> = files.keys().cloned().collect();
        let count = files.len();
        let sessions: BTreeMap<_, _> = files.into_iter().filter_map(|(path, (_, bytes))| Some((path.split_once('/')?.1.to_owned(), bytes))).collect();
        assert_eq!(sessions.len(), count, "a session lies twice at {}: {names:?}", self.name);
        sessions
    }

    /// A client that has this session open, until it is dropped.
    pub(crate) fn open(&self, talk: &Talk) -> Client {
        let process = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
        let pid = process.id();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let began = stat.rsplit(") ").next().and_then(|fields| fields.split(' ').nth(19)).unwrap_or_default().to_owned();
        let entry = self.claude.join(format!("sessions/{pid}.json"));
        let text = json!({"pid": pid, "sessionId": talk.id, "cwd": talk.cwd, "procStart": began, "status": "idle", "updatedAt": 1_795_171_297_855_u64});
        fs::write(&entry, text.to_string()).unwrap();
        Client { process, entry }
    }
}

/// A living process that is in a registry.
#[derive(Debug)]
pub(crate) struct Client {
    process: Child,
    entry: PathBuf,
}

impl Client {
    /// Ends as after `kill -9`: the entry stays.
    pub(crate) fn killed(mut self) {
        self.end();
        std::mem::forget(self);
    }

    fn end(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.end();
        fs::remove_file(&self.entry).unwrap();
    }
}

/// Every regular file below a directory.
pub(crate) fn files(directory: &Path) -> BTreeMap<String, (u64, Bytes)> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_file() {
                let modified = entry.metadata().unwrap().modified().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
                let name = path.strip_prefix(directory).unwrap().to_string_lossy().into_owned();
                found.insert(name, (modified, Bytes(fs::read(&path).unwrap_or_default())));
            }
        }
    }
    found
}

/// The transcripts that went somewhere, and how.
pub(crate) fn transcripts(report: &Report, at: &str) -> Vec<(String, Verb)> {
    use claude_session_sync::reconcile::manifest::Part;
    let of_side = |action: &&Action| action.at == at && action.part == Part::Transcript;
    report.actions.iter().filter(of_side).map(|action| (action.session.to_string(), action.verb)).collect()
}

/// What the report says of one machine.
#[track_caller]
pub(crate) fn visit<'a>(report: &'a Report, name: &str) -> &'a Visit {
    report.visits.iter().find(|visit| visit.name == name).unwrap_or_else(|| panic!("{name} is not in {report:?}"))
}
