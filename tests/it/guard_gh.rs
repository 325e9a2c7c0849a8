//! A real gh (Debian's will do) behind the guard: whatever it is told to do to a codespace, the API sees nothing but reads of that one
//! codespace. Without the guard the same gh starts it, so the test could fail.
//!
//! gh is `$CLAUDE_SESSION_SYNC_REAL_GH`, or the one of the `PATH`.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use claude_session_sync::codespace::guard::Guard;
use futures_util::future::join_all;
use tokio::process::Command;

use crate::api::{Api, TOKEN};
use crate::figures::figure;
use crate::github::github;
use crate::rows::row;
use crate::skip::have;

const NAME: &str = "box-1";

/// Everything that gh can do with one codespace, and a few things besides.
const WORDS: [&[&str]; 18] = [
    &["codespace", "ssh", "-c", NAME, "--", "true"],
    &["codespace", "ssh", "-c", NAME],
    &["codespace", "ssh", "--config", "-c", NAME],
    &["codespace", "logs", "-c", NAME],
    &["codespace", "ports", "-c", NAME],
    &["codespace", "ports", "visibility", "80:public", "-c", NAME],
    &["codespace", "cp", "-c", NAME, "-e", "remote:x", "/dev/null"],
    &["codespace", "jupyter", "-c", NAME],
    &["codespace", "stop", "-c", NAME],
    &["codespace", "delete", "-c", NAME, "--force"],
    &["codespace", "edit", "-c", NAME, "-d", "renamed"],
    &["codespace", "rebuild", "-c", NAME],
    &["codespace", "create", "-R", "acme/widget", "-m", "standardLinux"],
    &["codespace", "list"],
    &["api", "-X", "POST", "/user/codespaces/box-1/start"],
    &["api", "-X", "DELETE", "/user/codespaces/box-1"],
    &["api", "-X", "POST", "graphql", "-f", "query=x"],
    &["api", "/user"],
];

fn program() -> Option<OsString> {
    let gh = std::env::var_os("CLAUDE_SESSION_SYNC_REAL_GH").unwrap_or_else(|| "gh".into());
    have(gh.to_str()?, "--version").then_some(gh)
}

/// Runs gh with this environment and nothing else; it has 5 s.
async fn run(gh: &OsString, home: &Path, environment: &[(String, String)], words: &[&str]) -> String {
    let mut command = Command::new("timeout");
    command.args(["-k", "1", "5"]).arg(gh).args(words).env_clear().env("HOME", home).env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command.envs(environment.iter().map(|(name, value)| (name, value))).current_dir(home).stdin(Stdio::null());
    let output = command.output().await.unwrap();
    format!("{} {}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn a_real_gh_behind_the_guard_gets_no_request_through_but_reads_of_one_codespace() {
    let Some(gh) = program() else { return };
    let (home, mut refused, mut asked) = (tempfile::tempdir().unwrap(), 0, 0);
    for state in ["Shutdown", "Available", "ShuttingDown"] {
        let api = Api::start();
        api.put(row(NAME, "acme/widget", state));
        let guard = Guard::start(Arc::new(github(&api, TOKEN)), NAME.parse().unwrap()).await.unwrap();
        let environment = guard.environment(home.path().join("gh").to_str().unwrap());
        // Where it runs, gh goes on to the codespace's tunnel, which is not here.
        let words = WORDS.into_iter().filter(|words| state != "Available" || ["stop", "delete", "edit", "rebuild", "list", "-X"].contains(&words[1]));
        let (words, runs): (Vec<_>, Vec<_>) = words.map(|words| (words, run(&gh, home.path(), &environment, words))).unzip();
        for (words, said) in words.into_iter().zip(join_all(runs).await) {
            assert!(api.posts().is_empty(), "{words:?} {state}: {:?} {said}", api.posts());
            assert!(!said.contains(TOKEN), "{words:?}");
        }
        let path = format!("/user/codespaces/{NAME}");
        assert!(api.requests().iter().all(|asked| asked.method == "GET" && asked.path() == path), "{:?}", api.requests());
        assert_eq!((api.get(NAME, "state"), api.get(NAME, "display_name")), (state.into(), "box 1".into()));
        refused += guard.blocked().refused;
        asked += guard.blocked().not_available;
    }
    figure(&format!("{refused} requests of gh were refused, {asked} answered with 409"));
    assert!(refused >= 10 && asked >= 4, "gh did ask: {refused} {asked}");
}

#[tokio::test]
async fn the_same_gh_without_the_guard_starts_the_codespace() {
    let Some(gh) = program() else { return };
    let (home, api) = (tempfile::tempdir().unwrap(), Api::start());
    api.put(row(NAME, "acme/widget", "Shutdown"));
    let unguarded = [("GITHUB_API_URL", api.url()), ("GH_ENTERPRISE_TOKEN", TOKEN.to_owned()), ("GH_CONFIG_DIR", home.path().display().to_string())];
    let environment = unguarded.map(|(name, value)| (name.to_owned(), value));
    let said = run(&gh, home.path(), &environment, WORDS[0]).await;
    assert_eq!(api.posts().iter().map(|asked| asked.path().to_owned()).collect::<Vec<_>>(), [format!("/user/codespaces/{NAME}/start")], "{said}");
}
