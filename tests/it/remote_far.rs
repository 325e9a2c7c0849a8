//! A far side on this machine: a claude directory of its own, and the real script behind a chosen login shell, `sh` and tools.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use claude_session_sync::codespace::wire::{
    Answer, DataSource, FarFile, Fetched, HashWant, Hashes, Listing, Nonce, Operation, PutAnswer, PutFile, PutRequest, Range, Request, WireError, script,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::io::AsyncRead;

/// The login shells that read the one command line.
pub(crate) const LOGIN_SHELLS: [&str; 5] = ["dash", "bash", "zsh", "fish", "busybox"];

/// The bytes of each range; `None` for one that is gone.
pub(crate) type Ranges = Vec<Option<Vec<u8>>>;

/// Which `sh` and which tools the far side has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tools {
    /// dash and what this machine has.
    Dash,
    /// bash called as `sh`, and what this machine has.
    Bash,
    /// busybox and nothing else.
    Busybox,
    /// dash, and stand-ins that understand only what the BSD tools do; no flock, no sha256sum.
    Bsd,
}

/// All of them.
pub(crate) const TOOLS: [Tools; 4] = [Tools::Dash, Tools::Bash, Tools::Busybox, Tools::Bsd];

/// Says that a part of a test was not run.
pub(crate) fn skip(part: &str, why: &str) {
    crate::skip::skip(&format!("{part}: {why}"));
}

/// The same for what only root can do.
pub(crate) fn skip_unless_root(part: &str, why: &str) {
    crate::skip::skip_unless_root(&format!("{part}: {why}"));
}

/// Where a program lies on this machine.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// The digest of these bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Runs a future to its end.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

pub(crate) struct Far {
    pub(crate) home: TempDir,
    pub(crate) claude: PathBuf,
    tools: TempDir,
    path: OsString,
    /// What the login shell is started through, and the login shell.
    shell: Vec<OsString>,
    shell_arguments: Vec<&'static str>,
}

impl Far {
    /// With dash as login shell and as `sh`.
    pub(crate) fn new() -> Self {
        Self::with("dash", Tools::Dash).unwrap()
    }

    /// `None` where this machine lacks a part of it.
    pub(crate) fn with(login_shell: &str, tools: Tools) -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let claude = home.path().join(".claude");
        std::fs::create_dir(&claude).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mut path = directory.path().as_os_str().to_owned();
        let sh = |name: &str| program(name).map(|program| symlink(program, directory.path().join("sh")).unwrap());
        match tools {
            Tools::Dash => sh("dash")?,
            Tools::Bash => sh("bash")?,
            Tools::Busybox => {
                let busybox = program("busybox")?;
                let installed = Command::new(busybox).args(["--install", "-s"]).arg(directory.path()).status().unwrap();
                assert!(installed.success());
            }
            Tools::Bsd => {
                sh("dash")?;
                bsd_tools(directory.path());
            }
        }
        if matches!(tools, Tools::Dash | Tools::Bash) {
            path.push(":/usr/bin:/bin");
        }
        let shell_arguments = if login_shell == "busybox" { vec!["ash", "-c"] } else { vec!["-c"] };
        Some(Self { home, claude, tools: directory, path, shell: vec![program(login_shell)?.into()], shell_arguments })
    }

    /// The claude directory as it is named in requests.
    pub(crate) fn name(&self) -> String {
        self.claude.to_str().unwrap().to_owned()
    }

    /// A command that runs the script as sshd would.
    pub(crate) fn command(&self) -> Command {
        self.command_line(&remote_command())
    }

    /// The same, with a request beside the script.
    pub(crate) fn command_of_word(&self, word: &str) -> Command {
        self.command_line(&format!("{} sh '{word}'", remote_command()))
    }

    fn command_line(&self, line: &str) -> Command {
        let mut command = Command::new(&self.shell[0]);
        command.args(&self.shell[1..]).args(&self.shell_arguments).arg(line);
        self.dress(&mut command);
        command
    }

    /// Starts every login shell from now on through this command.
    pub(crate) fn go_through(&mut self, command: &[OsString]) {
        self.shell.splice(0..0, command.iter().cloned());
    }

    /// Gives a command this far side's environment and pipes.
    pub(crate) fn dress(&self, command: &mut Command) {
        command.env_clear().env("PATH", &self.path).env("HOME", self.home.path()).env("TMPDIR", self.home.path());
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    }

    /// As the command of a `[[machine]]`, which has no login shell.
    pub(crate) fn way(&self) -> Vec<String> {
        let set = |name: &str, value: &OsStr| format!("{name}={}", value.display());
        ["env", "-i"].map(str::to_owned).into_iter().chain([set("PATH", &self.path), set("HOME", self.home.path().as_os_str())]).collect()
    }

    /// Adds a program to this far side's PATH, before all others.
    pub(crate) fn tool(&self, name: &str, text: &str) {
        write_program(&self.tools.path().join(name), text);
    }

    /// Sends these bytes and gives all that came back.
    pub(crate) fn talk(mut command: Command, request: Vec<u8>) -> Vec<u8> {
        let mut child: Child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let sender = std::thread::spawn(move || stdin.write_all(&request));
        let output = child.wait_with_output().unwrap();
        let _closed_early = sender.join();
        output.stdout
    }

    /// What asks this, and what it reads: a request that may travel beside the script does.
    pub(crate) fn asking(&self, request: &Request, nonce: &Nonce) -> (Command, Vec<u8>) {
        match request.word(nonce).unwrap() {
            Some(word) => (self.command_of_word(&word), Vec::new()),
            None => self.asking_by_stdin(request, nonce),
        }
    }

    /// The same, by stdin in any case.
    pub(crate) fn asking_by_stdin(&self, request: &Request, nonce: &Nonce) -> (Command, Vec<u8>) {
        let mut bytes = Vec::new();
        request.write(nonce, &mut bytes).unwrap();
        (self.command(), bytes)
    }

    /// One call: the raw answer.
    pub(crate) fn call(&self, request: &Request, nonce: &Nonce) -> Vec<u8> {
        let (command, bytes) = self.asking(request, nonce);
        Self::talk(command, bytes)
    }

    pub(crate) fn list_with(&self, claude: Option<String>, roots: Vec<String>) -> Result<Listing, WireError> {
        self.list_by(claude, roots, None)
    }

    fn list_by(&self, claude: Option<String>, roots: Vec<String>, agent: Option<uuid::Uuid>) -> Result<Listing, WireError> {
        let nonce = Nonce::random();
        let workspaces = Some(self.home.path().join("workspaces").to_str().unwrap().to_owned());
        let answer = self.call(&Request::List { claude, workspaces, roots, agent }, &nonce);
        wait(async { Listing::read(&mut open(&answer, &nonce).await?).await })
    }

    pub(crate) fn list(&self) -> Listing {
        self.list_with(Some(self.name()), Vec::new()).unwrap()
    }

    /// A listing for the machine of this id.
    pub(crate) fn list_as(&self, agent: &str) -> Listing {
        self.list_by(Some(self.name()), Vec::new(), Some(agent.parse().unwrap())).unwrap()
    }

    pub(crate) fn hash(&self, wants: Vec<HashWant>) -> Result<Hashes, WireError> {
        self.hash_and_get(wants, &[]).map(|(hashes, _)| hashes)
    }

    /// Digests, and the bytes that were asked for together with them.
    pub(crate) fn hash_and_get(&self, wants: Vec<HashWant>, ahead: &[Range]) -> Result<(Hashes, Ranges), WireError> {
        let nonce = Nonce::random();
        let answer = self.call(&Request::Hash { claude: self.name(), wants: wants.clone(), ahead: ahead.to_vec() }, &nonce);
        wait(async {
            let mut answer = open(&answer, &nonce).await?;
            let hashes = Hashes::read(&mut answer, &wants).await?;
            Ok((hashes, ranges(answer, ahead).await?))
        })
    }

    /// The bytes of each range; `None` where the far side says that they are gone.
    pub(crate) fn get(&self, wants: &[Range]) -> Result<Ranges, WireError> {
        let nonce = Nonce::random();
        let answer = self.call(&Request::Get { claude: self.name(), wants: wants.to_vec() }, &nonce);
        wait(async { ranges(open(&answer, &nonce).await?, wants).await })
    }

    pub(crate) fn put(&self, request: &PutRequest) -> Result<PutAnswer, WireError> {
        let nonce = Nonce::random();
        let answer = self.call(&Request::Put(request.clone()), &nonce);
        assert_eq!(names(&self.claude.join(".claude-session-sync/stage")), Vec::<String>::new(), "a put leaves nothing in its stage");
        wait(async { PutAnswer::read(&mut open(&answer, &nonce).await?, request).await })
    }

    /// An empty put to this far side.
    pub(crate) fn nothing(&self) -> PutRequest {
        PutRequest { claude: self.name(), replica: None, agent: None, need_kib: None, files: Vec::new(), drops: Vec::new(), forgets: Vec::new() }
    }

    /// A file to put whose data wait in this far side's home.
    pub(crate) fn file(&self, n: u32, operation: Operation, path: &str, data: &[u8], whole: &[u8]) -> PutFile {
        let source = self.home.path().join(format!("to-send-{n}"));
        std::fs::write(&source, data).unwrap();
        let data = DataSource { path: source, offset: 0, len: data.len() as u64 };
        PutFile { n, operation, size: whole.len() as u64, sha256: sha256(whole), path: path.parse().unwrap(), mtime: 1_700_000_000 + i64::from(n), data }
    }

    /// Writes a file into the store, past the script; its mtime is an hour old.
    pub(crate) fn plant(&self, path: &str, bytes: &[u8]) -> PathBuf {
        let target = self.claude.join("projects").join(path);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::write(&target, bytes).unwrap();
        let old = std::time::SystemTime::now() - Duration::from_secs(3600);
        std::fs::File::options().append(true).open(&target).unwrap().set_modified(old).unwrap();
        target
    }

    /// What the listing says of one file.
    pub(crate) fn listed(&self, path: &str) -> FarFile {
        self.list().files.into_iter().find(|file| file.path.to_string() == path).unwrap()
    }

    /// The bytes of a file of the store.
    pub(crate) fn bytes(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.claude.join("projects").join(path)).unwrap()
    }
}

/// The names in a directory, in order; none where there is none.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// All the ranges of an answer that ends with them; `None` for those that the far side says are gone.
pub(crate) async fn ranges(mut answer: Answer<impl AsyncRead + Unpin>, wants: &[Range]) -> Result<Ranges, WireError> {
    let mut all = Vec::new();
    for want in wants {
        let mut bytes = Vec::new();
        all.push((answer.fetch(want, &mut bytes).await? == Fetched::Data).then_some(bytes));
    }
    answer.finish().await?;
    Ok(all)
}

/// Opens an answer that is here as a whole.
pub(crate) async fn open<'a>(answer: &'a [u8], nonce: &Nonce) -> Result<Answer<&'a [u8]>, WireError> {
    Answer::open(answer, nonce, Duration::from_secs(5)).await
}

/// Writes a program. The file that is run is written by another process: a test that forks at this moment would else hold it
/// open for writing, and it could not be run.
pub(crate) fn write_program(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    if path.is_symlink() {
        std::fs::remove_file(path).unwrap();
    }
    std::fs::write(&draft, text).unwrap();
    std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(Command::new("cp").arg("-f").arg(&draft).arg(path).status().unwrap().success());
    std::fs::remove_file(draft).unwrap();
}

/// What a Mac has, in so far as the script may use it: `stat -f` with its letters, `shasum`, a `dd` without byte flags.
fn bsd_tools(directory: &Path) {
    let plain = ["cat", "id", "cp", "date", "df", "find", "grep", "head", "ln", "mkdir", "mv", "printf", "ps", "rm", "sed", "sleep", "sort", "sync", "tail"];
    for name in plain.into_iter().chain(["tar", "touch", "tr", "uniq", "xargs", "env"]) {
        symlink(program(name).unwrap(), directory.join(name)).unwrap();
    }
    let stat = program("stat").unwrap();
    let sha256sum = program("sha256sum").unwrap();
    let dd = program("dd").unwrap();
    let stat_text = format!(
        "#!/bin/sh\nfollow=\n[ \"$1\" = -L ] && {{ follow=-L; shift; }}\n[ \"$1\" = -f ] || {{ echo 'stat: illegal option -- c' >&2; exit 1; }}\n\
         format=$(printf '%s' \"$2\" | sed 's/%z/%s/;s/%Fm/%.9Y/;s/%Fc/%.9Z/;s/%N/%n/;s/%l/%h/')\nshift 2\nexec {} $follow -c \"$format\" -- \"$@\"\n",
        stat.display()
    );
    write_program(&directory.join("stat"), &stat_text);
    let shasum_text = format!("#!/bin/sh\n[ \"$1 $2\" = '-a 256' ] || exit 64\nshift 2\nexec {} \"$@\"\n", sha256sum.display());
    write_program(&directory.join("shasum"), &shasum_text);
    let dd_text = format!("#!/bin/sh\ncase \"$*\" in *iflag=*) echo 'dd: unknown iflag' >&2; exit 1 ;; esac\nexec {} \"$@\"\n", dd.display());
    write_program(&directory.join("dd"), &dd_text);
}

/// The command line that sshd gives to the login shell.
pub(crate) fn remote_command() -> String {
    format!("exec sh -c '{}'", script())
}
