//! Calls of the script there: all of a visit on one channel, as long as it stands.
//!
//! A channel takes two ways there and back until it is open and the script has begun, and a login shell besides; on one that stands, an
//! answer is one way there and back behind its request. So the script listens behind each answer for what is asked next. A put takes all
//! that comes, so it ends its channel.
//!
//! Promises: nothing is asked where the answer before did not end as it must, on a channel that is known to have ended, or on one that
//! stood still for so long that nobody may listen any more (but while this machine sleeps no time passes: then such a visit fails, and
//! the next does not). What carries a channel may end by itself. Never: a request that is said twice.

use std::fmt;
use std::fs::File;
use std::io::BufWriter;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::failure::{Failure, Phase};
use super::replica::VisitError;
use super::ssh::{self, ChannelEnd, Connection, SshError};
use super::wire::{Answer, Nonce, Request, RequestError, WireError, script};

/// How long a channel may stand still; the script listens for twice as long.
const STANDS: Duration = Duration::from_secs(300);
/// How long what carries a channel may take to end, or the far side to have read what it answered.
const CLOSING: Duration = Duration::from_secs(10);

/// The bytes of an answer, wherever they come from.
pub(super) type Stream = Box<dyn AsyncRead + Send + Unpin>;

/// Where the script there is called.
pub(super) struct Calls {
    connection: Connection,
    standing: Standing,
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").field("connection", &self.connection).finish_non_exhaustive()
    }
}

/// The channel on which it listens, if there is one.
type Standing = Arc<Mutex<Option<Channel>>>;

struct Channel {
    answer: Answer<Stream>,
    stdin: File,
    end: ChannelEnd,
    since: Instant,
}

impl Channel {
    /// If somebody should still listen on it.
    fn listening(mut self) -> Option<Self> {
        (self.since.elapsed() < STANDS && !self.end.came()).then_some(self)
    }
}

/// One call, whose answer is to be read.
pub(super) struct Call {
    /// What is answered.
    pub(super) answer: Answer<Stream>,
    channel: Option<Asked>,
}

/// The channel of a call, but for its answer.
struct Asked {
    end: ChannelEnd,
    request: Said,
    standing: Standing,
}

/// What is said meanwhile: nothing, where the request went with the script. Then the stream is there once more, if more can be said.
enum Said {
    Whole(File),
    Writing(JoinHandle<Result<Option<File>, RequestError>>),
}

impl Said {
    /// Beside the reading, so that neither side waits for the other with full pipes.
    fn writing(request: Request, nonce: Nonce, stdin: File) -> Self {
        Self::Writing(tokio::task::spawn_blocking(move || {
            let mut out = BufWriter::with_capacity(64 << 10, stdin);
            request.write(&nonce, &mut out)?;
            Ok(out.into_inner().ok().filter(|_| request.has_an_end()))
        }))
    }

    async fn ended(self) -> Result<Option<File>, RequestError> {
        match self {
            Self::Whole(stdin) => Ok(Some(stdin)),
            Self::Writing(task) => task.await.unwrap_or(Ok(None)),
        }
    }

    /// What on this side kept it from being said. That the far side read no more is not of this side.
    async fn broken(self) -> Option<RequestError> {
        match self {
            Self::Writing(task) if task.is_finished() => task.await.ok()?.err().filter(|error| !matches!(error, RequestError::Send(_))),
            _ => None,
        }
    }
}

impl Calls {
    /// Over this connection.
    #[must_use]
    pub(super) fn over(connection: Connection) -> Self {
        Self { connection, standing: Standing::default() }
    }

    /// The connection.
    #[must_use]
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Asks, and waits for the beginning of the answer; no longer than `idle` for anything of it.
    ///
    /// # Errors
    /// Whatever keeps the channel from being opened, or the answer from beginning.
    pub(super) async fn call(&self, request: Request, idle: Duration) -> Result<Call, VisitError> {
        let nonce = Nonce::random();
        let standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (end, request, opened) = match standing.and_then(Channel::listening) {
            Some(Channel { mut answer, stdin, end, .. }) => {
                let request = Said::writing(request, nonce.clone(), stdin);
                (end, request, answer.next(&nonce, idle).await.map(|()| answer))
            }
            None => {
                let word = request.word(&nonce)?;
                let ssh::Channel { stdin, stdout, end } = self.connection.channel(&script(), word.as_deref()).await?;
                let stdin = File::from(stdin.into_blocking_fd().map_err(VisitError::Here)?);
                let request = if word.is_some() { Said::Whole(stdin) } else { Said::writing(request, nonce.clone(), stdin) };
                (end, request, Answer::open(Box::new(stdout) as Stream, &nonce, idle).await)
            }
        };
        let asked = Asked { end, request, standing: Arc::clone(&self.standing) };
        match opened {
            Ok(answer) => Ok(Call { answer, channel: Some(asked) }),
            Err(error) => Err(asked.blame(error).await),
        }
    }

    /// Ends the connection, unless it is shared.
    pub(super) async fn close(self) {
        let standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Channel { answer, stdin, end, .. }) = standing {
            drop((answer, stdin));
            end.leave(CLOSING).await;
        }
        self.connection.close().await;
    }
}

impl Call {
    /// An answer that no channel stands behind.
    pub(super) fn from_answer(answer: Answer<Stream>) -> Self {
        Self { answer, channel: None }
    }

    /// A whole answer stands, and so does its channel.
    ///
    /// # Errors
    /// What was wrong with the answer, or with what was asked.
    pub(super) async fn judge<T>(self, read: Result<T, WireError>) -> Result<T, VisitError> {
        match (read, self.channel) {
            (Ok(value), Some(asked)) => asked.stands(self.answer).await.map(|()| value),
            (Ok(value), None) => Ok(value),
            (Err(error), channel) => Err(Self { answer: self.answer, channel }.blame(error).await),
        }
    }

    /// Why an answer broke: the channel's own end usually says so.
    pub(super) async fn blame(self, error: WireError) -> VisitError {
        match self.channel {
            Some(asked) => asked.blame(error).await,
            None => error.into(),
        }
    }
}

impl Asked {
    /// The channel stands, for what is asked next; or it has done its work.
    async fn stands(self, answer: Answer<Stream>) -> Result<(), VisitError> {
        let Self { end, request, standing } = self;
        // Who answers without having read the request is no script of ours, and keeps nobody waiting.
        let said = tokio::time::timeout(CLOSING, request.ended()).await.map_err(|_| SshError::Failed(Failure::Timeout { phase: Phase::Channel }))?;
        if let Some(stdin) = said? {
            let channel = Channel { answer, stdin, end, since: Instant::now() };
            *standing.lock().unwrap_or_else(PoisonError::into_inner) = Some(channel);
        } else {
            drop(answer);
            end.leave(CLOSING).await;
        }
        Ok(())
    }

    async fn blame(self, error: WireError) -> VisitError {
        if let Some(broken) = self.request.broken().await {
            return broken.into();
        }
        let early = matches!(error, WireError::EndedEarly | WireError::NoMarker { .. } | WireError::Read(_));
        if !early {
            return error.into();
        }
        match self.end.finish(CLOSING).await {
            Err(ended @ (SshError::MasterGone | SshError::Failed(Failure::Transient(_)))) => ended.into(),
            Ok(finished) if !finished.stderr.is_empty() => WireError::Far(format!("{error}: {}", finished.stderr)).into(),
            _ => error.into(),
        }
    }
}
