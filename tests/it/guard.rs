//! The guard, asked as `gh` asks and as nobody should.

use std::sync::Arc;

use claude_session_sync::codespace::guard::{Guard, NOT_AVAILABLE, REFUSED, REMOVED_VARIABLES};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::api::{Answer, Api, TOKEN, until};
use crate::github::github;
use crate::rows::row;

const NAME: &str = "box-1";
const PATH: &str = "/user/codespaces/box-1";

struct World {
    api: Api,
    guard: Guard,
}

async fn world(state: &str) -> World {
    let api = Api::start();
    api.put(row(NAME, "acme/widget", state));
    api.put(row("box-2", "acme/widget", "Available"));
    let guard = Guard::start(Arc::new(github(&api, TOKEN)), NAME.parse().unwrap()).await.unwrap();
    World { api, guard }
}

/// Sends the bytes, reads to the end of the connection: the status and everything that was answered.
async fn send(guard: &Guard, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(guard.url().strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A refused body may end the connection with a reset; what was answered before counts.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, answer)
}

impl World {
    fn host(&self) -> String {
        self.guard.url().strip_prefix("http://").unwrap().to_owned()
    }

    /// A request with everything in order but what is given.
    async fn ask(&self, method: &str, target: &str, more: &str) -> (u16, String) {
        let head = format!("Host: {}\r\nAuthorization: token {}\r\nConnection: close\r\n{more}", self.host(), self.guard.nonce());
        send(&self.guard, &format!("{method} {target} HTTP/1.1\r\n{head}\r\n")).await
    }

    async fn ask_with(&self, headers: &str) -> (u16, String) {
        send(&self.guard, &format!("GET {PATH} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n")).await
    }
}

fn body(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn an_available_codespace_passes_as_github_described_it() {
    let world = world("Available").await;
    let mut sent = row(NAME, "acme/widget", "Available");
    sent["connection"] = json!({"tunnelProperties": {"connectAccessToken": "eyJ", "tunnelId": "x"}});
    world.api.put(sent.clone());
    let (status, answer) = world.ask("GET", &format!("{PATH}?internal=true&refresh=true"), "").await;
    assert_eq!((status, body(&answer)), (200, sent));
    assert!(!answer.contains(TOKEN));
    let requests = world.api.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].target, format!("{PATH}?internal=true&refresh=true"));
    assert_eq!(requests[0].header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    assert!(!format!("{requests:?}").contains(world.guard.nonce()), "the nonce stays on this machine");
    assert_eq!(world.guard.blocked().passed, 1);
}

#[tokio::test]
async fn localhost_is_the_guards_name_too() {
    let world = world("Available").await;
    let host = world.host().replace("127.0.0.1", "localhost");
    assert_eq!(world.ask_with(&format!("Host: {host}\r\nAuthorization: token {}\r\n", world.guard.nonce())).await.0, 200);
}

#[tokio::test]
async fn a_connection_can_be_used_again_for_what_passes() {
    let world = world("Available").await;
    let one = format!("GET {PATH} HTTP/1.1\r\nHost: {}\r\nAuthorization: token {}\r\n", world.host(), world.guard.nonce());
    let (_, answers) = send(&world.guard, &format!("{one}\r\n{one}Connection: close\r\n\r\n")).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2);
}

#[tokio::test]
async fn every_other_state_is_answered_with_409_and_nothing_is_started() {
    for state in ["Shutdown", "ShuttingDown", "Starting", "Queued", "Rebuilding", "Archived", "Unknown", "available", "Surprise"] {
        let world = world(state).await;
        let (status, answer) = world.ask("GET", PATH, "").await;
        assert_eq!((status, body(&answer)), (409, json!({"message": format!("{NOT_AVAILABLE} (it is {state})")})));
        assert_eq!((world.guard.blocked().not_available, world.guard.blocked().passed), (1, 0));
        assert!(world.api.posts().is_empty());
    }
    let world = world("Available").await;
    world.api.set(NAME, "pending_operation", true);
    let (status, answer) = world.ask("GET", PATH, "").await;
    assert_eq!((status, body(&answer)), (409, json!({"message": format!("{NOT_AVAILABLE} (an operation is pending)")})));
}

#[tokio::test]
async fn what_gh_does_with_a_stopped_codespace_starts_nothing() {
    let world = world("Shutdown").await;
    assert_eq!(world.ask("GET", PATH, "").await.0, 409);
    assert_eq!(world.ask("POST", &format!("{PATH}/start"), "Content-Length: 2\r\n").await.0, 403);
    assert_eq!(world.api.get(NAME, "state"), "Shutdown");
    assert!(world.api.posts().is_empty());
    let blocked = world.guard.blocked();
    assert_eq!((blocked.refused, blocked.starts, blocked.not_available), (1, 1, 1));
    assert_eq!(blocked.last, ["GET /user/codespaces/box-1: it is Shutdown", "POST /user/codespaces/box-1/start: its method is not GET"]);
}

#[tokio::test]
async fn the_stub_itself_does_start_what_an_unguarded_gh_asks_it_to() {
    let api = Api::start();
    api.put(row(NAME, "acme/widget", "Shutdown"));
    let mut stream = TcpStream::connect(api.url().strip_prefix("http://").unwrap()).await.unwrap();
    let request = format!("POST {PATH}/start HTTP/1.1\r\nHost: x\r\nAuthorization: token {TOKEN}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    assert_eq!((api.get(NAME, "state"), api.posts().len(), api.posts()[0].path()), ("Starting".into(), 1, "/user/codespaces/box-1/start"));
}

#[tokio::test]
async fn every_other_method_is_refused() {
    let world = world("Available").await;
    for method in ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "get", "GETX"] {
        let (status, answer) = world.ask(method, PATH, "").await;
        assert_eq!(status, 403, "{method}: {answer}");
    }
    assert!(world.api.requests().is_empty());
}

#[tokio::test]
async fn every_other_path_is_refused() {
    let world = world("Available").await;
    let long = format!("{PATH}?{}", "q".repeat(257));
    for target in [
        "/",
        "/user",
        "/user/codespaces",
        "/user/codespaces/",
        "/user/codespaces/box-2",
        "/user/codespaces/BOX-1",
        "/user/codespaces/box-1/",
        "/user/codespaces/box-1/start",
        "/user/codespaces/box-1/machines",
        "/user/codespaces/box-1%2Fstart",
        "/user/codespaces/box%2D1",
        "/user/codespaces/%62ox-1",
        "/user/codespaces/box-1%00",
        "/user/codespaces/box-1;x",
        "/user/codespaces//box-1",
        "//user/codespaces/box-1",
        "/user/codespaces/box-2/../box-1",
        "/user/codespaces/./box-1",
        "/user/codespaces/%2e%2e/codespaces/box-1",
        "/api/v3/user/codespaces/box-1",
        "/user/codespaces/box-1\\..\\box-2",
        "http://127.0.0.1/user/codespaces/box-1",
        "http://api.github.com/user/codespaces/box-1",
        long.as_str(),
    ] {
        let (status, answer) = world.ask("GET", target, "").await;
        assert_eq!(status, 403, "{target}: {answer}");
        assert_eq!(body(&answer), json!({"message": REFUSED}), "{target}");
    }
    assert!(world.api.requests().is_empty(), "nothing of this reaches GitHub");
    assert_eq!((world.guard.blocked().refused, world.guard.blocked().last.len()), (24, 16));
}

#[tokio::test]
async fn who_does_not_know_the_nonce_is_refused() {
    let world = world("Available").await;
    let (host, nonce) = (world.host(), world.guard.nonce().to_owned());
    assert_eq!(nonce.len(), 64);
    for authorization in [
        String::new(),
        "Authorization: token\r\n".to_owned(),
        "Authorization: token \r\n".to_owned(),
        format!("Authorization: token {TOKEN}\r\n"),
        format!("Authorization: Bearer {nonce}\r\n"),
        format!("Authorization: token {}\r\n", &nonce[1..]),
        format!("Authorization: token {nonce}0\r\n"),
        format!("Authorization: token {}\r\n", nonce.to_uppercase().replace(|c: char| c.is_ascii_digit(), "0")),
        format!("Authorization: token {nonce}\r\nAuthorization: token {nonce}\r\n"),
    ] {
        assert_eq!(world.ask_with(&format!("Host: {host}\r\n{authorization}")).await.0, 403, "{authorization}");
    }
    assert!(world.api.requests().is_empty());
}

#[tokio::test]
async fn a_web_page_is_refused_by_its_host_or_its_origin() {
    let world = world("Available").await;
    let (host, token) = (world.host(), format!("Authorization: token {}\r\n", world.guard.nonce()));
    let port = host.rsplit(':').next().unwrap();
    for hosts in [
        String::new(),
        "Host: \r\n".to_owned(),
        "Host: evil.example\r\n".to_owned(),
        format!("Host: evil.example:{port}\r\n"),
        "Host: 127.0.0.1\r\n".to_owned(),
        "Host: 127.0.0.1:1\r\n".to_owned(),
        format!("Host: 127.0.0.1.evil.example:{port}\r\n"),
        format!("Host: {host}\r\nHost: {host}\r\n"),
        format!("Host: {host}\r\nOrigin: http://{host}\r\n"),
        format!("Host: {host}\r\nOrigin: https://evil.example\r\n"),
        format!("Host: {host}\r\nOrigin: null\r\n"),
    ] {
        let status = world.ask_with(&format!("{hosts}{token}")).await.0;
        assert_eq!(status, 403, "{hosts}");
    }
    assert!(world.api.requests().is_empty());
}

#[tokio::test]
async fn an_error_of_github_keeps_its_status_and_gets_a_message() {
    for (answer, status, text) in [
        (Answer::error(401, "Bad credentials"), 401, "GitHub does not accept the token from GH_TOKEN (HTTP 401: Bad credentials)"),
        (Answer::error(404, "Not Found"), 404, "GitHub has no /user/codespaces/box-1 for the token from GH_TOKEN (HTTP 404: Not Found)"),
        (Answer::new(429, "").with("retry-after", "9"), 429, "GitHub asks the user of the token from GH_TOKEN to wait 9 s (HTTP 429)"),
        (Answer::new(503, "<html>"), 503, "GitHub failed to answer the token from GH_TOKEN (HTTP 503)"),
        (Answer::new(200, "<html>"), 502, "the answer to /user/codespaces/box-1 with the token from GH_TOKEN is not GitHub's: it is HTML, not JSON"),
        (
            Answer::json(200, &row("box-2", "acme/widget", "Available")),
            502,
            "the answer to /user/codespaces/box-1 with the token from GH_TOKEN is not GitHub's: it describes box-2",
        ),
        (
            Answer::new(302, "").with("location", "https://evil.example/"),
            502,
            "the answer to /user/codespaces/box-1 with the token from GH_TOKEN is not GitHub's: HTTP 302 sends the request to `https://evil.example/`, which is not followed",
        ),
    ] {
        let world = world("Available").await;
        world.api.always("GET", PATH, answer);
        let (got, answer) = world.ask("GET", PATH, "").await;
        assert_eq!((got, body(&answer)), (status, json!({"message": text})));
        assert_eq!(world.guard.blocked().failed, 1);
    }
}

#[tokio::test]
async fn the_token_is_in_no_answer_even_if_github_repeats_it() {
    let world = world("Available").await;
    world.api.set(NAME, "display_name", TOKEN);
    let (status, answer) = world.ask("GET", PATH, "").await;
    assert_eq!(status, 502);
    assert!(answer.contains("it repeats the token") && !answer.contains(TOKEN), "{answer}");
    world.api.always("GET", PATH, Answer::error(403, &format!("bad {TOKEN}")).with("x-echo", TOKEN));
    let (status, answer) = world.ask("GET", PATH, "").await;
    assert!(status == 403 && !answer.contains(TOKEN), "{answer}");
    assert!(!format!("{:?} {:?}", world.guard, world.guard.blocked()).contains(TOKEN));
}

#[tokio::test]
async fn what_was_refused_is_kept_escaped() {
    let world = world("Available").await;
    world.ask("GET", "/a\u{9b}31mb", "").await;
    world.ask("GET", "/ordinary", "").await;
    until("both are counted", async || world.guard.blocked().refused >= 1).await;
    let last = world.guard.blocked().last;
    assert!(last.iter().all(|line| line.chars().all(|c| !c.is_control())), "{last:?}");
    assert_eq!(last.back().unwrap(), "GET /ordinary: its path is not this codespace");
}

#[tokio::test]
async fn nonsense_and_endless_heads_end_their_connection_only() {
    let world = world("Available").await;
    let endless = format!("GET {PATH} HTTP/1.1\r\nX: {}", "x".repeat(40 << 10));
    for nonsense in ["\r\n\r\n\u{0}", "SSH-2.0-x\r\n", "GET / HTTP/9\r\n\r\n", &endless] {
        let (status, answer) = send(&world.guard, nonsense).await;
        assert!(status == 0 || (400..500).contains(&status), "{answer}");
    }
    assert_eq!(world.ask("GET", PATH, "").await.0, 200);
}

#[tokio::test]
async fn a_dropped_guard_answers_nobody() {
    let World { guard, api: _api } = world("Available").await;
    let address = guard.url().strip_prefix("http://").unwrap().to_owned();
    let mut open = TcpStream::connect(&address).await.unwrap();
    drop(guard);
    until("nobody listens", async || TcpStream::connect(&address).await.is_err()).await;
    let mut rest = Vec::new();
    let _ = open.read_to_end(&mut rest).await;
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn two_guards_do_not_share_a_nonce() {
    let (first, second) = (world("Available").await, world("Available").await);
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: {}\r\nAuthorization: token {}\r\nConnection: close\r\n\r\n", second.host(), first.guard.nonce());
    assert_eq!(send(&second.guard, &request).await.0, 403);
}

#[tokio::test]
async fn the_environment_of_gh_has_the_guard_and_not_the_token() {
    let world = world("Available").await;
    let environment = world.guard.environment("/run/gh");
    for (name, value) in
        [("GITHUB_API_URL", world.guard.url()), ("GH_ENTERPRISE_TOKEN", world.guard.nonce().to_owned()), ("GH_CONFIG_DIR", "/run/gh".to_owned())]
    {
        assert!(environment.contains(&(name.to_owned(), value)), "{name}");
    }
    for name in ["GH_PROMPT_DISABLED", "GH_NO_UPDATE_NOTIFIER", "GH_TELEMETRY", "DO_NOT_TRACK", "NO_COLOR", "GH_SPINNER_DISABLED"] {
        assert!(environment.iter().any(|(known, _)| known == name), "{name}");
    }
    assert!(environment.iter().all(|(name, value)| !value.contains(TOKEN) && !REMOVED_VARIABLES.contains(&name.as_str())));
    for name in ["GH_HOST", "GH_TOKEN", "GITHUB_TOKEN", "GITHUB_ENTERPRISE_TOKEN", "GH_DEBUG"] {
        assert!(REMOVED_VARIABLES.contains(&name), "{name}");
    }
}
