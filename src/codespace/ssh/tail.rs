//! The last words of a child, or of a far script, on stderr.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::task::JoinHandle;

/// How long the rest of stderr is waited for once the child has ended: a grandchild may hold it open.
const PATIENCE: Duration = Duration::from_millis(500);

/// Reads stderr to its end, so that the child never blocks on it, and keeps the last bytes.
#[derive(Debug)]
pub(super) struct Tail {
    kept: Arc<Mutex<VecDeque<u8>>>,
    reader: JoinHandle<()>,
}

impl Tail {
    /// Starts to read; keeps the last `limit` bytes.
    pub(super) fn of(stderr: Option<impl AsyncRead + Unpin + Send + 'static>, limit: usize) -> Self {
        let kept = Arc::new(Mutex::new(VecDeque::new()));
        let into = Arc::clone(&kept);
        let reader = tokio::spawn(async move {
            let Some(mut stderr) = stderr else { return };
            let mut buffer = [0; 1024];
            while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
                let mut kept = into.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(&buffer[..count]);
                let excess = kept.len().saturating_sub(limit);
                kept.drain(..excess);
            }
        });
        Self { kept, reader }
    }

    /// What was kept, as text, once the child has ended; raw, so to be escaped before anybody sees it.
    pub(super) async fn text(&mut self) -> String {
        drop(tokio::time::timeout(PATIENCE, &mut self.reader).await);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept.iter().copied().collect::<Vec<u8>>()).into_owned()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
