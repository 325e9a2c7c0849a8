//! Where the token is found, in which order, and what a `gh` that misbehaves comes to.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use claude_session_sync::codespace::token::{Lookup, Token, TokenError, TokenSource, without_tokens};
use tempfile::TempDir;
use tokio::process::Command;

use crate::api::until;

/// A directory with a `gh` of the given script, and an environment.
struct Place {
    directory: TempDir,
    environment: HashMap<&'static str, OsString>,
    token_file: Option<PathBuf>,
    deadline: Duration,
}

impl Place {
    fn new(gh: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gh");
        // Written by a child that is gone: a file that was open for writing here could still be so in another test's fork.
        let script = "cat > \"$0\" && chmod 700 \"$0\"";
        let mut writer = std::process::Command::new("sh").args(["-c", script]).arg(&path).stdin(std::process::Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut writer.stdin.take().unwrap(), format!("#!/bin/sh\n{gh}\n").as_bytes()).unwrap();
        assert!(writer.wait().unwrap().success());
        Self { directory, environment: HashMap::new(), token_file: None, deadline: Duration::from_secs(10) }
    }

    fn with(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.insert(name, value.into());
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn find(&self) -> Result<Token, TokenError> {
        self.find_with(&self.path("gh")).await
    }

    async fn find_with(&self, gh: &Path) -> Result<Token, TokenError> {
        let environment = |name: &str| self.environment.get(name).cloned();
        let token_file = self.token_file.as_deref();
        Lookup { environment: &environment, token_file, gh, host: "github.com", deadline: self.deadline }.find().await
    }

    async fn found(&self) -> (String, TokenSource) {
        let token = self.find().await.unwrap();
        (token.secret.expose().to_owned(), token.source)
    }
}

#[tokio::test]
async fn the_places_are_looked_at_in_order() {
    let mut place = Place::new("echo from-gh").with("GH_TOKEN", "from-gh-token").with("GITHUB_TOKEN", "from-github-token");
    let credentials = place.path("credentials");
    std::fs::create_dir(&credentials).unwrap();
    std::fs::write(credentials.join("github-token"), "from-credentials\n").unwrap();
    std::fs::write(place.path("token"), "from-file\n").unwrap();
    place.environment.insert("CREDENTIALS_DIRECTORY", credentials.clone().into());
    place.token_file = Some(place.path("token"));
    assert_eq!(place.found().await, ("from-file".into(), TokenSource::File(place.path("token"))));
    place.token_file = None;
    assert_eq!(place.found().await, ("from-credentials".into(), TokenSource::File(credentials.join("github-token"))));
    place.environment.remove("CREDENTIALS_DIRECTORY");
    assert_eq!(place.found().await, ("from-gh-token".into(), TokenSource::Variable("GH_TOKEN")));
    place.environment.remove("GH_TOKEN");
    assert_eq!(place.found().await, ("from-github-token".into(), TokenSource::Variable("GITHUB_TOKEN")));
    place.environment.remove("GITHUB_TOKEN");
    assert_eq!(place.found().await, ("from-gh".into(), TokenSource::Gh));
}

#[tokio::test]
async fn an_empty_variable_and_a_credentials_directory_without_our_file_are_passed_over() {
    let place = Place::new("exit 1").with("CREDENTIALS_DIRECTORY", "/nonexistent").with("GH_TOKEN", "").with("GITHUB_TOKEN", "x");
    assert_eq!(place.found().await.0, "x");
}

#[tokio::test]
async fn a_place_that_is_named_and_holds_no_token_is_an_error() {
    let mut place = Place::new("echo good").with("GH_TOKEN", "two\nlines");
    let error = place.find().await.unwrap_err();
    assert_eq!(error.to_string(), "what GH_TOKEN gives is no token: it is more than one line");
    assert_eq!(error.hint().as_deref(), Some("put one token on one line into GH_TOKEN"));
    let missing = place.path("missing");
    place.token_file = Some(missing.clone());
    assert_eq!(place.find().await.unwrap_err().to_string(), format!("cannot read a token from the file {}", missing.display()));
    let empty = place.path("empty");
    std::fs::write(&empty, "\n").unwrap();
    place.token_file = Some(empty.clone());
    assert_eq!(place.find().await.unwrap_err().to_string(), format!("what the file {} gives is no token: it is empty", empty.display()));
    std::fs::write(&empty, "x".repeat(1 << 20)).unwrap();
    assert!(place.find().await.unwrap_err().to_string().ends_with("it is longer than 4096 bytes"));
}

#[tokio::test]
async fn a_fifo_as_token_file_does_not_block() {
    let mut place = Place::new("exit 1");
    let fifo = place.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    place.token_file = Some(fifo);
    let found = tokio::time::timeout(Duration::from_secs(10), place.find()).await.unwrap();
    assert!(matches!(found, Err(TokenError::Unreadable { .. })), "{found:?}");
}

#[tokio::test]
async fn gh_is_asked_for_the_host_and_sees_no_token() {
    let place = Place::new(r#"[ "$*" = "auth token --hostname github.com" ] && [ -z "${GH_TOKEN+x}${GITHUB_TOKEN+x}${GH_ENTERPRISE_TOKEN+x}" ] && echo ok"#);
    assert_eq!(place.found().await.0, "ok");
}

#[tokio::test]
async fn a_gh_without_a_login_is_told_with_its_words_escaped() {
    let place = Place::new(r"printf 'no oauth token \033[31mfound\n' >&2; exit 1");
    let error = place.find().await.unwrap_err();
    let expected =
        r"no token: neither token_file nor GH_TOKEN nor GITHUB_TOKEN is set, and gh auth token gives none (exit status: 1: no oauth token \u{1b}[31mfound)";
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.hint().as_deref(), Some("run `gh auth login -s codespace`"));
}

#[tokio::test]
async fn a_gh_that_prints_no_token_is_told() {
    for (script, why) in
        [("true", "it is empty"), ("echo a; echo b", "it is more than one line"), ("head -c 1000000 /dev/zero", "it is longer than 4096 bytes")]
    {
        assert_eq!(Place::new(script).find().await.unwrap_err().to_string(), format!("what gh auth token gives is no token: {why}"), "{script}");
    }
}

#[tokio::test]
async fn without_gh_the_hint_says_what_to_install() {
    let place = Place::new("exit 1");
    let error = place.find_with(Path::new("/nonexistent/gh")).await.unwrap_err();
    assert_eq!(error.to_string(), "no token: neither token_file nor GH_TOKEN nor GITHUB_TOKEN is set, and `/nonexistent/gh` cannot be run");
    assert_eq!(error.hint().as_deref(), Some("install gh (https://cli.github.com), then run `gh auth login -s codespace`"));
}

/// Whether a process lives (a zombie does not).
fn lives(pid: &str) -> bool {
    let state = std::process::Command::new("ps").args(["-o", "stat=", "-p", pid]).output().unwrap().stdout;
    !state.is_empty() && !state.trim_ascii_start().starts_with(b"Z")
}

#[tokio::test]
async fn a_hanging_gh_is_killed_with_its_children() {
    // The shell waits for a grandchild that holds the pipes open; both write their number down first.
    for script in
        ["sleep 600 & echo $! > \"$0.child\"; echo $$ > \"$0.leader\"; wait", "sleep 600 & echo $! > \"$0.child\"; echo $$ > \"$0.leader\"; echo gho_x"]
    {
        let mut place = Place::new(script);
        place.deadline = Duration::from_millis(700);
        let started = Instant::now();
        let error = place.find().await.unwrap_err();
        assert_eq!(error.to_string(), "gh auth token did not answer within 0.7 s");
        assert!(started.elapsed() < Duration::from_secs(8));
        for file in ["gh.child", "gh.leader"] {
            let pid = std::fs::read_to_string(place.path(file)).unwrap();
            until("the process is gone", async || !lives(pid.trim())).await;
        }
    }
}

#[tokio::test]
async fn an_abandoned_lookup_leaves_no_gh_behind() {
    let place = Place::new("sleep 600 & echo $! > \"$0.child\"; wait");
    let file = place.path("gh.child");
    let written = until("gh runs", async || std::fs::read_to_string(&file).is_ok_and(|pid| pid.ends_with('\n')));
    tokio::select! {
        found = place.find() => panic!("{found:?}"),
        () = written => {}
    }
    let pid = std::fs::read_to_string(&file).unwrap();
    until("the process is gone", async || !lives(pid.trim())).await;
}

#[tokio::test]
async fn a_child_without_tokens_inherits_none() {
    let mut command = Command::new("sh");
    command.args(["-c", "env"]);
    for name in ["GH_TOKEN", "GITHUB_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"] {
        command.env(name, "secret");
    }
    command.env("GH_OTHER", "kept");
    without_tokens(&mut command);
    let printed = String::from_utf8(command.output().await.unwrap().stdout).unwrap();
    assert!(!printed.contains("TOKEN=secret") && printed.contains("GH_OTHER=kept"), "{printed}");
}

#[tokio::test]
async fn a_token_file_that_may_not_be_read_is_an_error() {
    if nix::unistd::geteuid().is_root() {
        // root may read everything; a directory is what it cannot read as a file.
        let mut place = Place::new("exit 1");
        place.token_file = Some(place.directory.path().to_owned());
        assert!(matches!(place.find().await, Err(TokenError::Unreadable { .. })));
        return;
    }
    let mut place = Place::new("exit 1");
    let path = place.path("token");
    std::fs::write(&path, "x").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    place.token_file = Some(path);
    assert!(matches!(place.find().await, Err(TokenError::Unreadable { .. })));
}
