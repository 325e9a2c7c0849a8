//! A stand-in for GitHub's Codespaces API on the loopback interface.
//!
//! It lists codespaces in pages with `Link` headers, shows one, and starts one that is stopped, as GitHub would: so whoever
//! asks it to start something finds it started. Every request is kept. Answers can be scripted per method and path.
//! It runs in a thread of its own: a test can drive a child process against it, and many tests can share one.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::CONTENT_LENGTH;
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// The token that the stub takes, unless [`Api::set_token`] says otherwise.
pub(crate) const TOKEN: &str = "gho_stub0123456789";

/// One request as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
}

impl Asked {
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A scripted answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Body,
}

#[derive(Debug, Clone)]
enum Body {
    Whole(Bytes),
    /// The declared length, then fewer bytes and the end of the connection.
    Cut(Bytes),
    /// This many bytes of blanks, without a declared length.
    Long(usize),
    /// No answer at all, for ever.
    Hang,
    /// The head and the first bytes, then nothing, for ever.
    Stalled(Bytes),
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), body: Body::Whole(body.into()) }
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, body.to_string()).with("content-type", "application/json; charset=utf-8")
    }

    /// An error in GitHub's shape.
    pub(crate) fn error(status: u16, message: &str) -> Self {
        Self::json(status, &json!({"message": message, "documentation_url": "https://docs.github.com/rest", "status": status.to_string()}))
    }

    pub(crate) fn cut(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), body: Body::Cut(body.into()) }
    }

    pub(crate) fn long(bytes: usize) -> Self {
        Self { status: 200, headers: Vec::new(), body: Body::Long(bytes) }
    }

    pub(crate) fn hang() -> Self {
        Self { status: 200, headers: Vec::new(), body: Body::Hang }
    }

    pub(crate) fn hang_in_body(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), body: Body::Stalled(body.into()) }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

#[derive(Default)]
struct World {
    token: String,
    codespaces: Vec<Value>,
    /// Answers that are given once, before anything else.
    once: HashMap<(String, String), VecDeque<Answer>>,
    /// Answers that are given whenever none is queued.
    always: HashMap<(String, String), Answer>,
    requests: Vec<Asked>,
}

/// A running stub. It ends when it is dropped.
pub(crate) struct Api {
    address: SocketAddr,
    world: Arc<Mutex<World>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Api {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Api {
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let world = Arc::new(Mutex::new(World { token: TOKEN.to_owned(), ..World::default() }));
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&world);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = serve(TcpListener::from_std(listener).unwrap(), address, served) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, world, stop: Some(stop), thread: Some(thread) }
    }

    /// The base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// The one token that is taken from now on; any other is answered with 401.
    pub(crate) fn set_token(&self, token: &str) {
        token.clone_into(&mut self.world().token);
    }

    /// Adds a row, or replaces the one of the same name.
    pub(crate) fn put(&self, row: Value) {
        let mut world = self.world();
        match world.codespaces.iter_mut().find(|known| known["name"] == row["name"]) {
            Some(known) => *known = row,
            None => world.codespaces.push(row),
        }
    }

    /// Changes one field of a row.
    pub(crate) fn set(&self, name: &str, field: &str, value: impl Into<Value>) {
        let mut world = self.world();
        let row = world.codespaces.iter_mut().find(|row| row["name"] == name).unwrap();
        row[field] = value.into();
    }

    /// One field of a row.
    pub(crate) fn get(&self, name: &str, field: &str) -> Value {
        self.world().codespaces.iter().find(|row| row["name"] == name).unwrap()[field].clone()
    }

    /// The next request of this method and path is answered so; several queue up.
    pub(crate) fn once(&self, method: &str, path: &str, answer: Answer) {
        self.world().once.entry((method.to_owned(), path.to_owned())).or_default().push_back(answer);
    }

    /// Every request of this method and path is answered so, unless an answer is queued.
    pub(crate) fn always(&self, method: &str, path: &str, answer: Answer) {
        self.world().always.insert((method.to_owned(), path.to_owned()), answer);
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<Asked> {
        self.world().requests.clone()
    }

    /// The requests so far that were not GET.
    pub(crate) fn posts(&self) -> Vec<Asked> {
        self.requests().into_iter().filter(|asked| asked.method != "GET").collect()
    }
}

type AnyBody = UnsyncBoxBody<Bytes, std::io::Error>;

async fn serve(listener: TcpListener, address: SocketAddr, world: Arc<Mutex<World>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let world = Arc::clone(&world);
        let service = service_fn(move |request: Request<Incoming>| respond(address, Arc::clone(&world), request));
        tokio::spawn(async move { drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await) });
    }
}

async fn respond(address: SocketAddr, world: Arc<Mutex<World>>, request: Request<Incoming>) -> Result<Response<AnyBody>, Infallible> {
    let head = request.into_parts().0;
    let answer = {
        let mut world = world.lock().unwrap();
        world.requests.push(Asked { method: head.method.to_string(), target: head.uri.to_string(), headers: head.headers.clone() });
        world.scripted(&head).unwrap_or_else(|| world.as_github(address, &head))
    };
    if matches!(answer.body, Body::Hang) {
        std::future::pending::<()>().await;
    }
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    if let Body::Cut(bytes) = &answer.body {
        response = response.header(CONTENT_LENGTH, bytes.len() + 1000);
    }
    Ok(response.body(body(answer.body)).unwrap())
}

fn body(body: Body) -> AnyBody {
    let frame = |bytes: Bytes| Ok::<_, std::io::Error>(Frame::data(bytes));
    match body {
        Body::Whole(bytes) => Full::new(bytes).map_err(|never| match never {}).boxed_unsync(),
        Body::Cut(bytes) => {
            let parts = [frame(bytes), Err(std::io::Error::other("cut here"))];
            StreamBody::new(stream::iter(parts)).boxed_unsync()
        }
        Body::Long(bytes) => {
            let block = Bytes::from(vec![b' '; 64 << 10]);
            StreamBody::new(stream::iter((0..bytes / block.len()).map(move |_| frame(block.clone())))).boxed_unsync()
        }
        Body::Hang => Full::default().map_err(|never| match never {}).boxed_unsync(),
        Body::Stalled(bytes) => {
            use futures_util::StreamExt;
            StreamBody::new(stream::iter([frame(bytes)]).chain(stream::pending())).boxed_unsync()
        }
    }
}

impl World {
    fn scripted(&mut self, head: &Parts) -> Option<Answer> {
        let key = (head.method.to_string(), head.uri.path().to_owned());
        self.once.get_mut(&key).and_then(VecDeque::pop_front).or_else(|| self.always.get(&key).cloned())
    }

    fn as_github(&mut self, address: SocketAddr, head: &Parts) -> Answer {
        let given = head.headers.get("authorization").map_or("", |value| value.to_str().unwrap());
        if given != format!("Bearer {}", self.token) && given != format!("token {}", self.token) {
            return Answer::error(401, "Bad credentials");
        }
        let parts: Vec<&str> = head.uri.path().trim_start_matches('/').split('/').collect();
        let answer = match (&head.method, &parts[..]) {
            (&Method::GET, ["user", "codespaces"]) => self.page(address, head),
            (&Method::GET, ["user", "codespaces", name]) => self.one(name),
            (&Method::POST, ["user", "codespaces", name, "start"]) => self.start(name),
            _ => Answer::error(404, "Not Found"),
        };
        answer.with("x-oauth-scopes", "codespace, repo").with("x-ratelimit-limit", "5000").with("x-ratelimit-remaining", "4990")
    }

    fn page(&self, address: SocketAddr, head: &Parts) -> Answer {
        let number = |name: &str, default: usize| {
            let query = head.uri.query().unwrap_or_default();
            query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok()).unwrap_or(default)
        };
        let (per_page, page) = (number("per_page", 30).clamp(1, 100), number("page", 1).max(1));
        let last = self.codespaces.len().div_ceil(per_page).max(1);
        let rows: Vec<&Value> = self.codespaces.iter().skip((page - 1) * per_page).take(per_page).collect();
        let body = json!({"total_count": self.codespaces.len(), "codespaces": rows});
        let tag = format!("W/\"{:016x}\"", hash(&body.to_string()));
        if head.headers.get("if-none-match").is_some_and(|sent| sent == tag.as_str()) {
            return Answer::new(304, "").with("etag", &tag);
        }
        let to = |page: usize, rel: &str| format!("<http://{address}/user/codespaces?per_page={per_page}&page={page}>; rel=\"{rel}\"");
        let mut links = Vec::new();
        if page > 1 {
            links.extend([to(page - 1, "prev"), to(1, "first")]);
        }
        if page < last {
            links.extend([to(page + 1, "next"), to(last, "last")]);
        }
        let answer = Answer::json(200, &body).with("etag", &tag);
        if links.is_empty() { answer } else { answer.with("link", &links.join(", ")) }
    }

    fn one(&mut self, name: &str) -> Answer {
        let Some(row) = self.codespaces.iter_mut().find(|row| row["name"] == name) else { return Answer::error(404, "Not Found") };
        let answer = Answer::json(200, row);
        if row["state"] == "Starting" {
            row["state"] = "Available".into();
        }
        answer
    }

    /// The next look finds it `Starting`, the one after that `Available`.
    fn start(&mut self, name: &str) -> Answer {
        let Some(row) = self.codespaces.iter_mut().find(|row| row["name"] == name) else { return Answer::error(404, "Not Found") };
        if row["state"] == "Available" {
            return Answer::error(409, "codespace is already running");
        }
        row["state"] = "Starting".into();
        Answer::json(202, row)
    }
}

/// FNV-1a: the same id for the same text in every run.
pub(crate) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Waits until `condition` holds, and fails after 10 s.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), waited).await.is_ok(), "waited in vain until {what}");
}
