//! A laptop and its codespaces: a home of its own, a stub of GitHub's API, a stand-in of gh, real sshds; and the real program.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use chrono::{Duration, Utc};
use claude_session_sync::config::Config;
use claude_session_sync::pass::Setting;
use claude_session_sync::paths::{Environment, Paths};
use claude_session_sync::reconcile::project::encode;
use claude_session_sync::reconcile::report::{ActionResult, Outcome, Report, Visit};

use crate::api::{Api, TOKEN};
use crate::gh::Gh;
use crate::rows::row;
use crate::sshd::{Codespace, Shell};
use crate::way::short_directory;

/// Which session: any number.
pub(crate) fn id(number: u32) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

/// A transcript of one prompt and answer, `minutes` old, in the shape that the client writes: it ends in lines without a time.
pub(crate) fn transcript(number: u32, cwd: &Path, text: &str, minutes: i64) -> String {
    let at = (Utc::now() - Duration::minutes(minutes)).format("%Y-%m-%dT%H:%M:%S.000Z");
    let (session, cwd) = (id(number), cwd.display());
    format!(
        "{{\"type\":\"mode\",\"mode\":\"normal\",\"sessionId\":\"{session}\"}}\n\
         {{\"type\":\"user\",\"timestamp\":\"{at}\",\"cwd\":\"{cwd}\",\"sessionId\":\"{session}\",\"message\":{{\"role\":\"user\",\"content\":\"{text}\"}}}}\n\
         {{\"type\":\"assistant\",\"timestamp\":\"{at}\",\"cwd\":\"{cwd}\",\"sessionId\":\"{session}\",\"message\":{{\"role\":\"assistant\",\"content\":\"ok\"}}}}\n\
         {{\"type\":\"last-prompt\",\"lastPrompt\":\"{text}\",\"sessionId\":\"{session}\"}}\n"
    )
}

/// A `claude` directory: how it is reached from here, and who owns it.
pub(crate) fn put_session(claude: &Path, cwd: &Path, number: u32, content: &str) -> PathBuf {
    let project = claude.join("projects").join(encode(&cwd.display().to_string()));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&project).unwrap();
    // Without a registry of live clients a transcript that was just written would count as open.
    fs::create_dir_all(claude.join("sessions")).unwrap();
    let file = project.join(format!("{}.jsonl", id(number)));
    fs::write(&file, content).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}

/// A clone that git takes for one, without running git.
pub(crate) fn put_clone(root: &Path, repository: &str) {
    for name in ["objects", "refs/heads"] {
        fs::create_dir_all(root.join(".git").join(name)).unwrap();
    }
    fs::write(root.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
    let url = format!("https://github.com/{repository}.git");
    let config = format!("[core]\n\trepositoryformatversion = 0\n[remote \"origin\"]\n\turl = {url}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n");
    fs::write(root.join(".git/config"), config).unwrap();
}

/// Every transcript below a `claude` directory, by the name of its file.
pub(crate) fn transcripts(claude: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for file in files(&claude.join("projects")) {
        if file.extension().is_some_and(|extension| extension == "jsonl") {
            let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
            assert!(found.insert(name, fs::read_to_string(&file).unwrap()).is_none(), "{} lies in two projects", file.display());
        }
    }
    found
}

/// Every file below a directory.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// The one that the tests are about.
pub(crate) const REPOSITORY: &str = "acme/widget";

/// A laptop.
pub(crate) struct Laptop {
    pub(crate) api: Api,
    pub(crate) gh: Gh,
    pub(crate) codespaces: BTreeMap<String, Codespace>,
    pub(crate) token: Option<String>,
    home: tempfile::TempDir,
}

impl Laptop {
    /// With a clone of the repository and no session. `None`: something is missing, and the test was said to be skipped.
    pub(crate) fn new() -> Option<Self> {
        let (api, gh, home) = (Api::start(), Gh::install()?, short_directory());
        let laptop = Self { api, gh, codespaces: BTreeMap::new(), token: Some(TOKEN.to_owned()), home };
        put_clone(&laptop.root(), REPOSITORY);
        fs::create_dir_all(laptop.claude().join("sessions")).unwrap();
        laptop.configure("");
        Some(laptop)
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn claude(&self) -> PathBuf {
        self.home().join(".claude")
    }

    /// The clone here.
    pub(crate) fn root(&self) -> PathBuf {
        self.home().join("projects/widget")
    }

    /// The data directory of the program.
    pub(crate) fn data(&self) -> PathBuf {
        self.home().join(".local/share/claude-session-sync")
    }

    /// The configuration: the stub's address, and `more` after it.
    pub(crate) fn configure(&self, more: &str) {
        let file = self.home().join(".config/claude-session-sync/config.toml");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, format!("[github]\napi_url = \"{}\"\n{more}", self.api.url())).unwrap();
    }

    /// A running codespace of the repository, with bash and a clone.
    pub(crate) fn codespace(&mut self, name: &str) -> Option<&Codespace> {
        self.codespace_of(name, REPOSITORY, Shell::Bash)
    }

    pub(crate) fn codespace_of(&mut self, name: &str, repository: &str, shell: Shell) -> Option<&Codespace> {
        let codespace = Codespace::with_shell(shell)?;
        let short = repository.split('/').next_back().unwrap();
        put_clone(&codespace.workspaces().join(short), repository);
        let claude = codespace.home().join(".claude");
        fs::create_dir_all(claude.join("sessions")).unwrap();
        codespace.give(&codespace.workspaces());
        codespace.give(&codespace.home());
        let mut listed = row(name, repository, "Available");
        listed["recent_folders"] = serde_json::json!([codespace.far_workspaces().join(short)]);
        self.api.put(listed);
        self.gh.leads_to(name, &codespace);
        self.codespaces.insert(name.to_owned(), codespace);
        self.codespaces.get(name)
    }

    pub(crate) fn at(&self, name: &str) -> &Codespace {
        &self.codespaces[name]
    }

    /// The claude directory of a codespace, as a path here.
    pub(crate) fn claude_at(&self, name: &str) -> PathBuf {
        self.at(name).home().join(".claude")
    }

    /// The clone of a codespace, as a path there.
    pub(crate) fn root_at(&self, name: &str) -> PathBuf {
        self.at(name).far_workspaces().join("widget")
    }

    /// A session here, `minutes` old.
    pub(crate) fn session(&self, number: u32, text: &str, minutes: i64) -> PathBuf {
        put_session(&self.claude(), &self.root(), number, &transcript(number, &self.root(), text, minutes))
    }

    /// A session in a codespace, `minutes` old.
    pub(crate) fn session_at(&self, name: &str, number: u32, text: &str, minutes: i64) -> PathBuf {
        let root = self.root_at(name);
        let file = put_session(&self.claude_at(name), &root, number, &transcript(number, &root, text, minutes));
        self.at(name).give(&self.claude_at(name));
        file
    }

    /// What the program is started with: nothing of this process's environment but the end of its PATH.
    pub(crate) fn environment(&self) -> BTreeMap<String, String> {
        let inherited = std::env::var("PATH").unwrap();
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin:{inherited}", self.gh.dir().display());
        let pairs = [("HOME".to_owned(), self.home().display().to_string()), ("PATH".to_owned(), path)];
        pairs.into_iter().chain(self.token.iter().map(|token| ("GH_TOKEN".to_owned(), token.clone()))).collect()
    }

    /// The same for a pass in this process, which can be told the time.
    pub(crate) fn setting(&self) -> Setting {
        let environment: Environment = self.environment().into_iter().collect();
        let paths = Paths::of(&environment).unwrap();
        let (config, _) = Config::load(&paths).unwrap();
        Setting::new(config, paths, environment)
    }

    /// The program with these arguments.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_claude-session-sync"));
        command.args(arguments).env_clear().envs(self.environment()).current_dir(self.home());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs `sync` to its end, for people.
    pub(crate) fn sync(&self, arguments: &[&str]) -> Told {
        Told::of(self.command(&[&["sync"], arguments].concat()).output().unwrap())
    }

    /// Runs `sync --json` to its end.
    pub(crate) fn report(&self, arguments: &[&str]) -> Ran {
        self.started(arguments).wait()
    }

    /// `sync --json`, under way.
    pub(crate) fn started(&self, arguments: &[&str]) -> Running {
        Running(self.command(&[&["sync", "--json"], arguments].concat()).spawn().unwrap())
    }

    /// What would be lost if a pass changed something here: every file of the store with its content.
    pub(crate) fn store(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        files(&self.claude()).into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect()
    }

    /// Whether the archive (or the vault) holds these bytes in one file.
    pub(crate) fn keeps(&self, content: &str) -> bool {
        files(&self.data().join("vault")).iter().any(|file| fs::read(file).is_ok_and(|bytes| bytes == content.as_bytes()))
    }
}

/// A child that is ended with the test.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn wait(self) -> Ran {
        let told = Told::of(self.0.wait_with_output().unwrap());
        let report = serde_json::from_str(&told.stdout).ok();
        Ran { report, told }
    }
}

/// What the program said.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Told {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// What the program reported.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) told: Told,
    report: Option<Report>,
}

impl Ran {
    pub(crate) fn report(&self) -> &Report {
        self.report.as_ref().unwrap_or_else(|| panic!("no report: {:?}", self.told))
    }

    pub(crate) fn code(&self) -> i32 {
        self.told.code
    }

    pub(crate) fn visit(&self, name: &str) -> &Visit {
        self.report().visits.iter().find(|visit| visit.name == name).unwrap_or_else(|| panic!("no visit of {name}: {:?}", self.told))
    }

    /// Everything went well.
    pub(crate) fn good(self) -> Self {
        let bad = self.report().actions.iter().find(|action| matches!(action.result, Some(ActionResult::Failed(_))));
        assert!(self.code() == 0 && bad.is_none() && self.report().listing.is_none(), "{:?}", self.told);
        self
    }

    /// Why a visit failed, and what mends it.
    pub(crate) fn fault(&self, name: &str) -> (String, Option<String>) {
        match &self.visit(name).outcome {
            Outcome::Failed(fault) => (fault.message.clone(), fault.hint.clone()),
            other => panic!("{name} did not fail: {other:?}"),
        }
    }
}
