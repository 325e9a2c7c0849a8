//! The guard: a loopback stand-in for GitHub's API that lets `gh` read one codespace while it is `Available`, and nothing else.
//!
//! `gh codespace ssh` starts a codespace that is stopped, and no flag prevents it. So `gh` is run with this server as its API
//! and with a random nonce as its token: it can ask for the one codespace, the real token is put on here, and a codespace
//! that is not `Available` is answered with 409 instead.
//! Promises: only `GET /user/codespaces/<that name>` goes upstream, and only for who knows the nonce. Never: the real token in
//! an answer or in the environment of `gh`; a request of another method upstream; a name or a path passed on that was not
//! compared whole and byte by byte.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tracing::Instrument as _;
use uuid::Uuid;

use super::github::{GitHub, ListError};
use super::name::CodespaceName;
use crate::reconcile::plain::brief;

/// How an answer of the guard to a codespace that is not `Available` begins: `gh` prints it after `HTTP 409: `.
pub const NOT_AVAILABLE: &str = "claude-session-sync visits a codespace only while it is Available and starts none";
/// What everything else is answered with.
pub const REFUSED: &str = "claude-session-sync lets gh read one codespace and nothing else";
/// Variables that must not reach a `gh` behind the guard: they would name another host or another token, or print headers.
pub const REMOVED_VARIABLES: [&str; 8] = ["GH_HOST", "GH_REPO", "GH_TOKEN", "GITHUB_TOKEN", "GITHUB_ENTERPRISE_TOKEN", "GH_DEBUG", "DEBUG", "GH_FORCE_TTY"];

const LONGEST_QUERY: usize = 256;
const MOST_CONNECTIONS: usize = 8;
const MOST_KEPT: usize = 16;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// What a guard did so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blocked {
    /// Answers of 200: the codespace was `Available`.
    pub passed: u64,
    /// Answers of 409: it was not.
    pub not_available: u64,
    /// Answers of 403.
    pub refused: u64,
    /// Of the refused, those that would have started a codespace (`POST …/start`).
    pub starts: u64,
    /// Answers that were an error of GitHub or of the network.
    pub failed: u64,
    /// The last 16 that did not pass: method, path and reason, escaped.
    pub last: VecDeque<String>,
}

/// A running guard. It ends when it is dropped.
#[derive(Debug)]
pub struct Guard {
    address: SocketAddr,
    nonce: String,
    blocked: Arc<Mutex<Blocked>>,
    task: JoinHandle<()>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Guard {
    /// Starts one for one codespace, on a free port of this machine, as a task of the current runtime.
    ///
    /// # Errors
    /// No port can be listened on.
    pub async fn start(github: Arc<GitHub>, name: CodespaceName) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let nonce = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let blocked = Arc::<Mutex<Blocked>>::default();
        let door = Door { github, path: format!("/user/codespaces/{name}"), name, port: address.port(), nonce: nonce.clone(), blocked: Arc::clone(&blocked) };
        let task = tokio::spawn(serve(listener, Arc::new(door)).in_current_span());
        Ok(Self { address, nonce, blocked, task })
    }

    /// Its base URL, as `http://127.0.0.1:40000`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it takes for a token.
    #[must_use]
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// What it did so far.
    #[must_use]
    pub fn blocked(&self) -> Blocked {
        lock(&self.blocked).clone()
    }

    /// The variables that a `gh` behind this guard needs; [`REMOVED_VARIABLES`] must be taken away before.
    /// `config_dir`: an empty directory of our own, so that no login of the user is found.
    #[must_use]
    pub fn environment(&self, config_dir: &str) -> Vec<(String, String)> {
        let own = [("GITHUB_API_URL", self.url()), ("GH_ENTERPRISE_TOKEN", self.nonce.clone()), ("GH_CONFIG_DIR", config_dir.to_owned())];
        let quiet = [
            ("GH_PROMPT_DISABLED", "1"),
            ("GH_NO_UPDATE_NOTIFIER", "1"),
            ("GH_TELEMETRY", "0"),
            ("DO_NOT_TRACK", "1"),
            ("NO_COLOR", "1"),
            ("GH_SPINNER_DISABLED", "1"),
        ];
        let quiet = quiet.into_iter().map(|(name, value)| (name, value.to_owned()));
        own.into_iter().chain(quiet).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn lock(blocked: &Mutex<Blocked>) -> MutexGuard<'_, Blocked> {
    blocked.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, door: Arc<Door>) {
    // Dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= MOST_CONNECTIONS {
            connections.join_next().await;
        }
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let door = Arc::clone(&door);
                    let service = service_fn(move |request| answer(Arc::clone(&door), request));
                    let mut server = http1::Builder::new();
                    server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(16 << 10);
                    let connection = server.serve_connection(TokioIo::new(stream), service);
                    // A connection that breaks off is the business of who broke it.
                    connections.spawn(async move { drop(connection.await) }.in_current_span());
                }
                // Out of descriptors: wait for some to be given back instead of spinning.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// What one guard knows: the one codespace, the one nonce.
struct Door {
    github: Arc<GitHub>,
    name: CodespaceName,
    path: String,
    port: u16,
    nonce: String,
    blocked: Arc<Mutex<Blocked>>,
}

async fn answer(door: Arc<Door>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let head = request.into_parts().0;
    if let Err(why) = door.judge(&head) {
        door.note(&head, why, |blocked| {
            blocked.refused += 1;
            blocked.starts += u64::from(head.method == Method::POST && head.uri.path().ends_with("/start"));
        });
        return Ok(message(StatusCode::FORBIDDEN, REFUSED));
    }
    Ok(match door.github.one_as_sent(&door.name, head.uri.query()).await {
        Ok((codespace, body)) if codespace.may_be_visited() => {
            lock(&door.blocked).passed += 1;
            reply(StatusCode::OK, body)
        }
        Ok((codespace, _)) => {
            let state = if codespace.pending_operation { "an operation is pending".to_owned() } else { format!("it is {}", codespace.state) };
            door.note(&head, &state, |blocked| blocked.not_available += 1);
            message(StatusCode::CONFLICT, &format!("{NOT_AVAILABLE} ({state})"))
        }
        Err(error) => {
            door.note(&head, &error.to_string(), |blocked| blocked.failed += 1);
            message(status(&error), &error.to_string())
        }
    })
}

impl Door {
    /// Whether the request may go upstream. The order is from who asks to what is asked.
    fn judge(&self, head: &Parts) -> Result<(), &'static str> {
        if head.headers.contains_key(ORIGIN) {
            return Err("it comes from a web page");
        }
        let host = only(head, &HOST).ok_or("it has no Host, or several")?;
        if host != format!("127.0.0.1:{}", self.port).as_bytes() && host != format!("localhost:{}", self.port).as_bytes() {
            return Err("its Host is not this guard");
        }
        let authorization = only(head, &AUTHORIZATION).ok_or("it has no token, or several")?;
        if !equal(authorization, format!("token {}", self.nonce).as_bytes()) {
            return Err("its token is not the nonce");
        }
        if head.method != Method::GET {
            return Err("its method is not GET");
        }
        if head.uri.authority().is_some() || head.uri.scheme().is_some() {
            return Err("its target is not a path");
        }
        if head.uri.path() != self.path {
            return Err("its path is not this codespace");
        }
        if head.uri.query().is_some_and(|query| query.len() > LONGEST_QUERY) {
            return Err("its query is too long");
        }
        Ok(())
    }

    fn note(&self, head: &Parts, why: &str, count: impl FnOnce(&mut Blocked)) {
        let line = format!("{} {}: {why}", brief(head.method.as_str(), 20), brief(head.uri.path(), 200));
        tracing::debug!(request = line, "not passed by the guard");
        let mut blocked = lock(&self.blocked);
        count(&mut blocked);
        if blocked.last.len() == MOST_KEPT {
            blocked.last.pop_front();
        }
        blocked.last.push_back(line);
    }
}

/// The value of a header that is there exactly once.
fn only<'a>(head: &'a Parts, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = head.headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.as_bytes())
}

/// Compares in a time that depends on the lengths only.
fn equal(given: &[u8], expected: &[u8]) -> bool {
    given.len() == expected.len() && std::hint::black_box(given.iter().zip(expected).fold(0, |all, (a, b)| all | (a ^ b))) == 0
}

fn status(error: &ListError) -> StatusCode {
    error.status().and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::BAD_GATEWAY)
}

/// An error in GitHub's shape, so that `gh` prints the text.
fn message(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = reply(status, serde_json::json!({ "message": text }).to_string().into_bytes());
    // The body of what was refused is not read.
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn reply(status: StatusCode, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response
}
