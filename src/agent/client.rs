//! The other end of the control socket: how a verb asks a running agent.
//!
//! Promises: an agent that hangs, or something else behind the socket, costs at most the given time and is an error; no socket, or one that
//! nobody serves, is no agent.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{Answer, Line, Request, SOCKET};
use super::status::AgentStatus;

/// Longest answer that is read.
const LONGEST_ANSWER: u64 = 4 << 20;

/// What the agent says of itself that serves one of these runtime directories; none if nobody does.
///
/// # Errors
/// There is a socket, but no whole answer in time, or one that is not understood.
pub fn status(runtimes: &[PathBuf], patience: Duration) -> io::Result<Option<Box<AgentStatus>>> {
    let asked = Agent::find(runtimes, patience).and_then(|agent| agent.map(|mut agent| agent.ask(Request::Status)).transpose())?;
    match asked {
        None => Ok(None),
        Some(Answer::Status { status, .. }) => Ok(Some(status)),
        Some(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "it answers what was not asked")),
    }
}

/// A connection to a running agent.
#[derive(Debug)]
pub struct Agent {
    stream: BufReader<UnixStream>,
    path: PathBuf,
}

impl Agent {
    /// Connects to the agent that serves one of these runtime directories; none if nobody does.
    ///
    /// # Errors
    /// There is a socket, but it cannot be used.
    pub fn find(runtimes: &[PathBuf], patience: Duration) -> io::Result<Option<Self>> {
        for runtime in runtimes {
            let path = runtime.join(SOCKET);
            match UnixStream::connect(&path) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(patience))?;
                    stream.set_write_timeout(Some(patience))?;
                    return Ok(Some(Self { stream: BufReader::new(stream), path }));
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory) => {}
                // A path that is too long for a socket has no agent behind it.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Its socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// No whole answer in time, or one that is not understood.
    pub fn ask(&mut self, request: Request) -> io::Result<Answer> {
        let mut line = serde_json::to_vec(&Line { request })?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line)?;
        self.hear()?.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the agent closed the connection"))
    }

    /// The next line of a watched agent; none when it has ended.
    ///
    /// # Errors
    /// As [`Agent::ask`].
    pub fn hear(&mut self) -> io::Result<Option<Answer>> {
        let mut line = Vec::new();
        (&mut self.stream).take(LONGEST_ANSWER).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&line)?))
    }

    /// Waits without an end for the next line, as a watcher does.
    ///
    /// # Errors
    /// As `set_read_timeout`.
    pub fn wait_for_ever(&self) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(None)
    }
}
