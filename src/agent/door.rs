//! The agent's door: the control socket, bound and served for as long as the agent lives.
//!
//! Promises: a socket that is gone from its directory, as when somebody tidied up there, is bound again at the next turn of the loop; one
//! that cannot be bound is tried again at each, and said once. Never: a socket that somebody else put there is replaced.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::control::{Call, Patience, Socket};
use super::status::AgentStatus;

/// The door.
pub(super) struct Door {
    /// Where the socket lies; none for an agent that nobody asks.
    runtime: Option<PathBuf>,
    patience: Patience,
    status: watch::Receiver<Arc<AgentStatus>>,
    calls: mpsc::Sender<Call>,
    open: Option<(Arc<Socket>, JoinHandle<()>)>,
    trouble: Option<String>,
}

impl Door {
    pub(super) fn new(runtime: Option<PathBuf>, patience: Patience, status: watch::Receiver<Arc<AgentStatus>>, calls: mpsc::Sender<Call>) -> Self {
        Self { runtime, patience, status, calls, open: None, trouble: None }
    }

    /// Sees to it that the socket is there. Costs one system call where it is.
    pub(super) fn see_to(&mut self) {
        let Some(runtime) = &self.runtime else { return };
        if self.open.as_ref().is_some_and(|(socket, _)| !socket.is_gone()) {
            return;
        }
        let again = self.open.is_some();
        match Socket::bind(runtime) {
            Ok(socket) => {
                if again {
                    tracing::info!(socket = %socket.path().display(), "the control socket was gone, and is there again");
                }
                self.close();
                self.trouble = None;
                self.serve(socket);
            }
            Err(error) => self.tell(&error),
        }
    }

    fn serve(&mut self, socket: Socket) {
        let socket = Arc::new(socket);
        let (served, status, calls, patience) = (Arc::clone(&socket), self.status.clone(), self.calls.clone(), self.patience);
        let serving = tokio::task::spawn_local(async move { served.serve(status, calls, patience).await });
        self.open = Some((socket, serving));
    }

    fn tell(&mut self, error: &io::Error) {
        let trouble = error.to_string();
        if self.trouble.as_ref() != Some(&trouble) {
            let directory = self.runtime.as_deref().unwrap_or_else(|| std::path::Path::new("")).display();
            tracing::error!(%error, %directory, "there is no control socket");
            self.trouble = Some(trouble);
        }
    }

    /// Clients that are being served stay.
    fn close(&mut self) {
        if let Some((_, serving)) = self.open.take() {
            serving.abort();
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.close();
    }
}
