//! A session over a control master, asked for at its socket in OpenSSH's own protocol (PROTOCOL.mux there).
//!
//! The master is given three ends of pipes, and reads and writes them itself. So no program is started for a session, and nobody
//! stands between us and the master: whoever lets go of a session lets go of the socket, and the master closes it.
//!
//! Promises: a session that is not opened says whether the connection is lost or the far side refused. Never: a wait with an end of
//! its own; whoever waits sets one.

use std::borrow::Cow;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::unistd::Pid;
use openssh_mux_client::{Connection, Error, NonZeroByteSlice, Session, SessionStatus};

use super::SshError;
use crate::codespace::failure::{Failure, one_line};

/// Longest wait for an answer of the master itself.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the master reads and writes for a session: its input, its output, and what it says beside it.
pub(super) type Streams = [OwnedFd; 3];

/// Opens a session and waits for its end: the exit code of `command`, if it had one.
pub(super) async fn carry(socket: &Path, command: &str, streams: Streams) -> Result<Option<i32>, SshError> {
    let command = NonZeroByteSlice::new(command.as_bytes()).ok_or(SshError::Script)?;
    let ended = match hold(socket, command, streams).await {
        Ok(Some(code)) => return Ok(Some(code)),
        Ok(None) => Ok(None),
        Err(Error::RequestFailure(why) | Error::PermissionDenied(why)) => Err(Failure::Transient(one_line(&why)).into()),
        Err(error) => Err(Failure::Transient(one_line(&error.to_string())).into()),
    };
    // Without a code it is the session that ended, or all of the connection.
    if served_by(socket).await.is_none() { Err(SshError::MasterGone) } else { ended }
}

async fn hold(socket: &Path, command: &NonZeroByteSlice, streams: Streams) -> Result<Option<i32>, Error> {
    let session = Session::builder().cmd(Cow::Borrowed(command)).build();
    let descriptors = streams.each_ref().map(OwnedFd::as_raw_fd);
    let open = Connection::connect(socket).await?.open_new_session(&session, &descriptors).await?;
    // The master has them now, and what we kept of them would hide from us that it closed its own.
    drop(streams);
    match open.wait().await {
        Ok(SessionStatus::Exited { exit_value }) => Ok(exit_value.and_then(|code| i32::try_from(code).ok())),
        // Nobody asked for a terminal.
        Ok(SessionStatus::TtyAllocFail(_)) => Ok(None),
        Err((error, _)) => Err(error),
    }
}

/// The process that serves the socket, if it says so in time.
pub(super) async fn served_by(socket: &Path) -> Option<Pid> {
    let asked = async { Connection::connect(socket).await?.send_alive_check().await };
    let pid = tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()?;
    i32::try_from(pid.get()).ok().filter(|pid| *pid > 1).map(Pid::from_raw)
}
