//! File work of a pass, on a thread of its own.
//!
//! Promises: it comes to its end whatever becomes of who waits for it, and the lock of the pass is held until then. A pass that is
//! given up in the middle (Escape before `connect`, for one) never works beside the next.

use crate::lock::Lock;

use super::PassError;

/// Runs file work where it cannot be cancelled between its steps.
///
/// # Errors
/// When it panicked.
pub async fn undivided<T: Send + 'static>(lock: &Lock, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PassError> {
    let (span, lock) = (tracing::Span::current(), lock.clone());
    let working = tokio::task::spawn_blocking(move || {
        let _lock = lock;
        span.in_scope(work)
    });
    working.await.map_err(|error| PassError::Broken(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::lock::{Alone, LockError};

    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_holds_the_lock_to_its_end() {
        let state = tempfile::tempdir().unwrap();
        let take = async |patience| Lock::take(state.path(), Alone::Pass, patience).await;
        let lock = take(Duration::ZERO).await.unwrap();
        let ((tell, told), (go_on, wait)) = (mpsc::channel(), mpsc::channel::<()>());
        {
            let mut working = Box::pin(undivided(&lock, move || (tell.send(()), wait.recv())));
            assert!(tokio::time::timeout(Duration::ZERO, &mut working).await.is_err());
            told.recv().unwrap();
        }
        drop(lock);
        assert!(matches!(take(Duration::ZERO).await, Err(LockError::Busy { .. })), "it is still at work");
        go_on.send(()).unwrap();
        take(Duration::from_secs(60)).await.unwrap();
    }
}
