//! Visits that look at what there is, all at once.
//!
//! Promises: they go on while the pass does something else, so that none is late, or counts as dead, for a wait that was not its own.

use std::collections::VecDeque;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

/// Those that look, and what they saw while nobody asked.
pub(super) struct Looking<F: Future> {
    running: FuturesUnordered<F>,
    early: VecDeque<F::Output>,
}

impl<F: Future> FromIterator<F> for Looking<F> {
    fn from_iter<T: IntoIterator<Item = F>>(visits: T) -> Self {
        Self { running: visits.into_iter().collect(), early: VecDeque::new() }
    }
}

impl<F: Future> Looking<F> {
    /// The next that has looked; none when there is none left, or the deadline has passed.
    pub(super) async fn next_before(&mut self, deadline: Option<Instant>) -> Option<F::Output> {
        match (self.early.pop_front(), deadline) {
            (Some(early), _) => Some(early),
            (None, None) => self.running.next().await,
            (None, Some(deadline)) => tokio::time::timeout_at(deadline, self.running.next()).await.ok().flatten(),
        }
    }

    /// Does something while they look.
    pub(super) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                Some(looked) = self.running.next() => self.early.push_back(looked),
            }
        }
    }

    /// Whether all of them were heard.
    pub(super) fn is_over(&self) -> bool {
        self.running.is_empty() && self.early.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn looks(seconds: u64) -> u64 {
        // One wait after the other, as a visit that fetches file by file.
        for _ in 0..seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        seconds
    }

    #[tokio::test(start_paused = true)]
    async fn they_go_on_while_something_else_is_done() {
        let mut looking: Looking<_> = [90, 5, 200].map(|seconds| Box::pin(looks(seconds))).into_iter().collect();
        let began = Instant::now();
        let within = |seconds| Some(began + Duration::from_secs(seconds));
        assert_eq!(looking.next_before(within(20)).await, Some(5));
        assert_eq!(looking.next_before(within(20)).await, None, "the others are late");
        looking.beside(looks(100)).await;
        assert_eq!(looking.next_before(within(20)).await, Some(90), "it was there in the meantime");
        assert_eq!((began.elapsed().as_secs(), looking.is_over()), (120, false));
        assert_eq!(looking.next_before(None).await, Some(200));
        assert_eq!(began.elapsed().as_secs(), 200, "nothing of its time was lost");
        assert_eq!((looking.next_before(None).await, looking.is_over()), (None, true));
    }
}
