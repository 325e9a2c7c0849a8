//! A session over a control master, asked for at its socket in OpenSSH's own protocol (PROTOCOL.mux there).
//!
//! The master is given three ends of pipes, and reads and writes them itself. So no program is started for a session, and nobody
//! stands between us and the master: whoever lets go of a session lets go of the socket, and the master closes it. For the same reason
//! a session is held until the master lets go of it, not until its exit code is known: the code may overtake what the script said.
//! (The crates that speak this protocol end there.)
//!
//! Promises: a session that is not opened, although it was asked for more than once, says whether the connection is lost or the far
//! side refused. Never: a wait with an end of its own but where the master itself is asked; whoever waits for a session sets one.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::unistd::Pid;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;

use super::SshError;
use crate::codespace::failure::{Failure, one_line};

/// Longest wait for an answer of the master itself.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pauses before a session that was refused is asked for once more. A server that allows few at a time still counts one whose end
/// came to it together with the request for the next.
const ANEW: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(100), Duration::from_millis(200)];
/// Longest message of a master that is one.
const LONGEST: u32 = 64 << 10;
const VERSION: u32 = 4;
/// No character of the input is special.
const NO_ESCAPE: u32 = u32::MAX;
/// There is one request on each socket.
const REQUEST: u32 = 0;

const HELLO: u32 = 0x0000_0001;
const NEW_SESSION: u32 = 0x1000_0002;
const ALIVE_CHECK: u32 = 0x1000_0004;
const TERMINATE: u32 = 0x1000_0005;
const PERMISSION_DENIED: u32 = 0x8000_0002;
const FAILURE: u32 = 0x8000_0003;
const EXIT_MESSAGE: u32 = 0x8000_0004;
const ALIVE: u32 = 0x8000_0005;

/// What the master reads and writes for a session: its input, its output, and what it says beside it.
pub(super) type Streams = [OwnedFd; 3];

/// Opens a session and waits for its end: the exit code of `command`, if it had one.
pub(super) async fn carry(socket: &Path, command: &str, streams: Streams) -> Result<Option<i32>, SshError> {
    let (mut streams, mut pauses) = (Some(streams), ANEW.into_iter());
    let ended = loop {
        break match (hold(socket, command, &mut streams).await, pauses.next()) {
            (Ok(Ended::With(code)), _) => return Ok(Some(code)),
            (Ok(Ended::Without), _) => Ok(None),
            (Ok(Ended::Refused(_)), Some(pause)) => {
                tokio::time::sleep(pause).await;
                continue;
            }
            (Ok(Ended::Refused(why)), None) => Err(Failure::Transient(one_line(&why)).into()),
            (Err(error), _) => Err(Failure::Transient(one_line(&error.to_string())).into()),
        };
    };
    drop(streams);
    // Without a code it is the session that ended, or all of the connection.
    if served_by(socket).await.is_none() { Err(SshError::MasterGone) } else { ended }
}

/// The process that serves the socket, if it says so in time.
pub(super) async fn served_by(socket: &Path) -> Option<Pid> {
    let asked = async {
        let mut master = Master::at(socket).await?;
        master.say(&Message::new(ALIVE_CHECK).number(REQUEST)).await?;
        master.expect(ALIVE).await?.number()
    };
    let pid = tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()?;
    i32::try_from(pid).ok().filter(|pid| *pid > 1).map(Pid::from_raw)
}

/// Asks the master to end; whether it was heard is seen by its end.
pub(super) async fn terminate(socket: &Path) {
    let asked = async {
        let mut master = Master::at(socket).await?;
        master.say(&Message::new(TERMINATE).number(REQUEST)).await?;
        master.hear().await
    };
    let _ = tokio::time::timeout(PATIENCE, asked).await;
}

/// How a session ended.
enum Ended {
    With(i32),
    Without,
    Refused(String),
}

/// Takes the streams once the session is open.
async fn hold(socket: &Path, command: &str, streams: &mut Option<Streams>) -> io::Result<Ended> {
    let mut master = Master::at(socket).await?;
    let reserved = Message::new(NEW_SESSION).number(REQUEST).text("");
    // No terminal, no X11, no agent, no subsystem.
    let plain = (0..4).fold(reserved, |message, _| message.number(0));
    let (terminal, plain) = ("", plain.number(NO_ESCAPE));
    master.say(&plain.text(terminal).text(command)).await?;
    for stream in streams.iter().flatten() {
        master.give(stream).await?;
    }
    let mut ended = Ended::Without;
    while let Some(heard) = master.hear().await? {
        match heard.kind {
            EXIT_MESSAGE => ended = Ended::With(i32::try_from(heard.number()?).unwrap_or(i32::MAX)),
            FAILURE | PERMISSION_DENIED => return Ok(Ended::Refused(heard.rest())),
            // It is open; or of no interest.
            _ => {}
        }
        // The master has them now, and what we kept of them would hide from us that it closed its own.
        *streams = None;
    }
    Ok(ended)
}

/// A control master, by one connection to its socket.
struct Master(UnixStream);

impl Master {
    async fn at(socket: &Path) -> io::Result<Self> {
        let mut master = Self(UnixStream::connect(socket).await?);
        master.say(&Message::new(HELLO).number(VERSION)).await?;
        let hello = master.hear().await?.filter(|heard| heard.kind == HELLO && heard.first == VERSION);
        hello.map(|_| master).ok_or_else(|| nonsense("it is no control master of ours"))
    }

    async fn say(&mut self, message: &Message) -> io::Result<()> {
        self.0.write_u32(u32::try_from(message.0.len()).map_err(|_| nonsense("too much at once"))?).await?;
        self.0.write_all(&message.0).await
    }

    /// Hands over a descriptor.
    async fn give(&self, stream: &OwnedFd) -> io::Result<()> {
        let streams = [stream.as_fd()];
        self.0
            .async_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut ancillary = SendAncillaryBuffer::new(&mut space);
                ancillary.push(SendAncillaryMessage::ScmRights(&streams));
                Ok(sendmsg(&self.0, &[IoSlice::new(b"\0")], &mut ancillary, SendFlags::empty())?)
            })
            .await
            .map(drop)
    }

    /// The next message; none once the master has let go.
    async fn hear(&mut self) -> io::Result<Option<Heard>> {
        let length = match self.0.read_u32().await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            length => length?,
        };
        if !(8..=LONGEST).contains(&length) {
            return Err(nonsense("a message of no plausible length"));
        }
        let (kind, first) = (self.0.read_u32().await?, self.0.read_u32().await?);
        let mut rest = vec![0; length as usize - 8];
        self.0.read_exact(&mut rest).await?;
        Ok(Some(Heard { kind, first, rest }))
    }

    async fn expect(&mut self, kind: u32) -> io::Result<Heard> {
        self.hear().await?.filter(|heard| heard.kind == kind).ok_or_else(|| nonsense("another answer was expected"))
    }
}

/// A message on its way: its kind, numbers, and texts with their lengths.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u32) -> Self {
        Self(kind.to_be_bytes().to_vec())
    }

    fn number(mut self, number: u32) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn text(self, text: &str) -> Self {
        // Longer than any command line can be.
        let mut message = self.number(u32::try_from(text.len()).unwrap_or(u32::MAX));
        message.0.extend(text.as_bytes());
        message
    }
}

/// A message that came: what it answers or is of, and the rest.
struct Heard {
    kind: u32,
    first: u32,
    rest: Vec<u8>,
}

impl Heard {
    fn number(&self) -> io::Result<u32> {
        let number = self.rest.first_chunk().ok_or_else(|| nonsense("a message that is too short"))?;
        Ok(u32::from_be_bytes(*number))
    }

    /// The text that is its rest.
    fn rest(&self) -> String {
        String::from_utf8_lossy(self.rest.get(4..).unwrap_or_default()).into_owned()
    }
}

fn nonsense(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the control master: {what}"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tempfile::TempDir;
    use tokio::net::UnixListener;

    use super::*;

    /// What a stand-in of a master says to whoever comes first, second and so on; then nobody is there.
    fn stand_in(said: Vec<Vec<u8>>) -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            for said in said {
                let (mut client, _) = listener.accept().await.unwrap();
                client.write_all(&said).await.unwrap();
                client.shutdown().await.unwrap();
                drop(client.read_to_end(&mut Vec::new()).await);
            }
        });
        (directory, path)
    }

    /// The messages behind a greeting.
    fn said(messages: &[Message]) -> Vec<u8> {
        let hello = Message::new(HELLO).number(VERSION);
        let framed = |message: &Message| [u32::try_from(message.0.len()).unwrap().to_be_bytes().to_vec(), message.0.clone()].concat();
        [&hello].into_iter().chain(messages).flat_map(framed).collect()
    }

    fn alive(pid: u32) -> Vec<u8> {
        said(&[Message::new(ALIVE).number(REQUEST).number(pid)])
    }

    async fn carried(clients: Vec<Vec<u8>>) -> Result<Option<i32>, SshError> {
        let (_directory, path) = stand_in(clients);
        carry(&path, "true", [(); 3].map(|()| std::fs::File::open("/dev/null").unwrap().into())).await
    }

    #[tokio::test]
    async fn a_session_ends_with_its_code_or_without_or_with_its_master() {
        let (opened, code) = (Message::new(0x8000_0006).number(REQUEST).number(3), Message::new(EXIT_MESSAGE).number(3).number(7));
        assert_eq!(carried(vec![said(&[opened, code])]).await.unwrap(), Some(7));
        assert_eq!(carried(vec![said(&[]), alive(4711)]).await.unwrap(), None);
        assert!(matches!(carried(vec![said(&[])]).await, Err(SshError::MasterGone)));
    }

    #[tokio::test]
    async fn a_refusal_is_told_in_plain_text() {
        for kind in [FAILURE, PERMISSION_DENIED] {
            let refusal = || said(&[Message::new(kind).number(REQUEST).text("no\u{1b}[2J")]);
            let refused = carried(vec![refusal(), refusal(), refusal(), refusal(), alive(4711)]).await.unwrap_err();
            assert!(matches!(&refused, SshError::Failed(Failure::Transient(why)) if why == "no\\u{1b}[2J"), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn what_was_refused_is_asked_for_once_more() {
        let refusal = said(&[Message::new(FAILURE).number(REQUEST).text("Session open refused by peer")]);
        let (opened, code) = (Message::new(0x8000_0006).number(REQUEST).number(3), Message::new(EXIT_MESSAGE).number(3).number(7));
        assert_eq!(carried(vec![refusal, said(&[opened, code])]).await.unwrap(), Some(7));
    }

    #[tokio::test]
    async fn what_is_no_master_is_none() {
        let other = [0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 3];
        let length = |length: u32| [said(&[]), length.to_be_bytes().to_vec(), vec![0; 8]].concat();
        let short = said(&[Message::new(ALIVE).number(REQUEST)]);
        let banner = b"SSH-2.0-OpenSSH_9.2\r\n".to_vec();
        for odd in [other.to_vec(), banner, length(u32::MAX), length(LONGEST + 1), length(7), short, alive(0), alive(1), alive(u32::MAX)] {
            let (_directory, path) = stand_in(vec![odd.clone()]);
            assert_eq!(served_by(&path).await, None, "{odd:?}");
        }
        let (_directory, path) = stand_in(vec![alive(4711)]);
        assert_eq!(served_by(&path).await, Some(Pid::from_raw(4711)));
        let broken = carried(vec![length(u32::MAX), alive(4711)]).await.unwrap_err();
        assert!(matches!(broken, SshError::Failed(Failure::Transient(_))), "{broken:?}");
    }
}
