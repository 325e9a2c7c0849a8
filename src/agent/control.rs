//! The control socket: takes requests, checks who asks, answers. The language is in [`protocol`](super::protocol).
//!
//! Promises: only this user is answered; a client that sends garbage, too much, half a line, or does not read, is dropped and
//! nobody else notices. A socket that an earlier agent left is replaced in one step, never removed first. Never: a path or a
//! command from a client.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;

use super::protocol::{Answer, LONGEST_REQUEST, Line, Request, SOCKET, VERSION, patch};
use super::status::AgentStatus;
use crate::paths::make_private;

/// Clients at once; more of them wait to be accepted.
const MOST_CLIENTS: usize = 32;

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// To begin a request.
    pub idle: Duration,
    /// To end the request that it began.
    pub request: Duration,
    /// To take an answer.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { idle: Duration::from_secs(60), request: Duration::from_secs(10), answer: Duration::from_secs(5) }
    }
}

/// A request that the agent itself must answer.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Answer>,
}

/// A bound socket; its file goes with it.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Socket {
    /// Binds the socket in a runtime directory. Whoever calls this holds the agent's lock, so what lies there is a dead one's.
    ///
    /// # Errors
    /// The directory cannot be made private; the path is too long for a socket; something else has the name.
    pub fn bind(runtime: &Path) -> io::Result<Self> {
        make_private(runtime)?;
        let (path, fresh) = (runtime.join(SOCKET), runtime.join(format!("agent.{}", std::process::id())));
        let listener = UnixListener::bind(&fresh)?;
        let placed = fs::set_permissions(&fresh, Permissions::from_mode(0o600)).and_then(|()| fs::rename(&fresh, &path));
        let inode = placed.and_then(|()| fs::symlink_metadata(&path)).map(|found| found.ino());
        match inode {
            Ok(inode) => Ok(Self { listener, path, inode }),
            Err(error) => {
                let _ = fs::remove_file(&fresh);
                Err(error)
            }
        }
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether nothing has its name any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(fs::symlink_metadata(&self.path), Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
    }

    /// Accepts clients for ever.
    pub async fn serve(&self, status: watch::Receiver<Arc<AgentStatus>>, calls: mpsc::Sender<Call>, patience: Patience) {
        let seats = Arc::new(Semaphore::new(MOST_CLIENTS));
        let us = nix::unistd::geteuid().as_raw();
        loop {
            let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => match stream.peer_cred() {
                    Ok(peer) if peer.uid() == us => {
                        let client = Client::new(stream, status.clone(), calls.clone(), patience);
                        tokio::task::spawn_local(async move {
                            client.converse().await;
                            drop(seat);
                        });
                    }
                    peer => tracing::warn!(uid = peer.ok().map(|peer| peer.uid()), "a stranger at the control socket was refused"),
                },
                // Out of descriptors, most likely: others must end first.
                Err(error) => {
                    tracing::debug!(%error, "a client could not be accepted");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

struct Client {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    status: watch::Receiver<Arc<AgentStatus>>,
    calls: mpsc::Sender<Call>,
    patience: Patience,
}

/// What came from a client.
enum Heard {
    Request(Request),
    Garbage(String),
    Gone,
}

impl Client {
    fn new(stream: UnixStream, status: watch::Receiver<Arc<AgentStatus>>, calls: mpsc::Sender<Call>, patience: Patience) -> Self {
        let (reader, writer) = stream.into_split();
        Self { reader: BufReader::with_capacity(LONGEST_REQUEST, reader), writer, status, calls, patience }
    }

    /// One request after the other, until the client goes or is dropped.
    async fn converse(mut self) {
        loop {
            let said = match self.hear().await {
                Heard::Request(Request::Watch) => return self.watch().await,
                Heard::Request(Request::Status) => {
                    let status = self.now();
                    self.say(&status).await
                }
                Heard::Request(request) => {
                    let answer = self.ask_agent(request).await;
                    self.say(&answer).await
                }
                Heard::Garbage(reason) => {
                    tracing::debug!(%reason, "a client of the control socket was dropped");
                    self.say(&Answer::Refused { reason }).await;
                    return;
                }
                Heard::Gone => return,
            };
            if !said {
                return;
            }
        }
    }

    async fn hear(&mut self) -> Heard {
        if !matches!(timeout(self.patience.idle, self.reader.fill_buf()).await, Ok(Ok(begun)) if !begun.is_empty()) {
            return Heard::Gone;
        }
        let mut line = Vec::new();
        let mut bounded = (&mut self.reader).take(LONGEST_REQUEST as u64);
        match timeout(self.patience.request, bounded.read_until(b'\n', &mut line)).await {
            Err(_) => Heard::Garbage("the request was not ended in time".to_owned()),
            Ok(Err(_)) => Heard::Gone,
            Ok(Ok(_)) if !line.ends_with(b"\n") && line.len() >= LONGEST_REQUEST => Heard::Garbage(format!("a request has at most {LONGEST_REQUEST} bytes")),
            Ok(Ok(_)) if !line.ends_with(b"\n") => Heard::Gone,
            Ok(Ok(_)) => match serde_json::from_slice::<Line>(&line) {
                Ok(line) => Heard::Request(line.request),
                Err(_) => Heard::Garbage("no request: status, sync, watch, reload or stop, as {\"request\":\"status\"}".to_owned()),
            },
        }
    }

    async fn ask_agent(&self, request: Request) -> Answer {
        let (reply, answer) = oneshot::channel();
        let gone = || Answer::Refused { reason: "the agent is coming to its end".to_owned() };
        match self.calls.send(Call { request, reply }).await {
            Ok(()) => answer.await.unwrap_or_else(|_| gone()),
            Err(_) => gone(),
        }
    }

    fn now(&mut self) -> Answer {
        let status = self.status.borrow_and_update().as_ref().clone();
        Answer::Status { version: VERSION, status: Box::new(status) }
    }

    /// All of the state, then what changes of it. A client that reads slowly gets fewer, larger changes.
    async fn watch(mut self) {
        let full = self.now();
        let Ok(mut before) = serde_json::to_value(&full) else { return };
        if !self.say(&full).await {
            return;
        }
        loop {
            let mut byte = [0];
            tokio::select! {
                changed = self.status.changed() => if changed.is_err() { return },
                // Whatever a watcher sends, or its end, ends it.
                _ = self.reader.read(&mut byte) => return,
            }
            let Ok(after) = serde_json::to_value(self.now()) else { return };
            if let Some(change) = patch(&before, &after)
                && !self.say(&Answer::Change { version: VERSION, change }).await
            {
                return;
            }
            before = after;
        }
    }

    /// Whether the client took it.
    async fn say(&mut self, answer: &Answer) -> bool {
        let Ok(mut line) = serde_json::to_vec(answer) else { return false };
        line.push(b'\n');
        matches!(timeout(self.patience.answer, self.writer.write_all(&line)).await, Ok(Ok(())))
    }
}
