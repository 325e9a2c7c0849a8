//! Connections that come to their end while the pass goes on.
//!
//! Promises: each is asked to end when its visit is over, not later; a pass is not over before all of them are. One that does not
//! answer is waited for when the next are made, or the pass ends. Given up in the middle, what is left is killed. Never: one that is
//! left as it is for as long as the pass waits for something else (an open connection keeps a codespace awake).

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;

/// The end of a connection: asked for as it is polled, come when it is ready.
pub type End = LocalBoxFuture<'static, ()>;

/// Those that were asked to end.
#[derive(Default)]
pub struct Closing(FuturesUnordered<End>);

impl Closing {
    /// Asks these to end.
    pub async fn begin(&mut self, ends: Vec<End>) {
        self.0.extend(ends);
        // They are polled before the time is looked at.
        let _ = tokio::time::timeout(Duration::ZERO, self.ended()).await;
    }

    /// Does something while they end.
    pub async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                Some(()) = self.0.next() => {}
            }
        }
    }

    /// Does the last thing while they end, and waits until they did.
    pub async fn end_beside<T>(mut self, work: impl Future<Output = T>) -> T {
        let done = self.beside(work).await;
        self.ended().await;
        done
    }

    /// Waits until they did.
    pub async fn ended(&mut self) {
        while self.0.next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_is_asked_at_once_and_waited_for_later() {
        let told = Rc::new(RefCell::new(Vec::new()));
        let end = |name: &'static str, seconds| -> End {
            let told = Rc::clone(&told);
            Box::pin(async move {
                told.borrow_mut().push(format!("{name} is asked"));
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                told.borrow_mut().push(format!("{name} ended"));
            })
        };
        let mut closing = Closing::default();
        closing.begin(vec![end("a slow one", 2), end("a quick one", 1)]).await;
        assert_eq!(*told.borrow(), ["a slow one is asked", "a quick one is asked"]);
        let began = tokio::time::Instant::now();
        closing.ended().await;
        assert_eq!(told.borrow()[2..], ["a quick one ended", "a slow one ended"]);
        assert_eq!(began.elapsed().as_secs(), 2, "both at once");
    }

    #[tokio::test(start_paused = true)]
    async fn they_end_while_something_else_is_waited_for() {
        let asked = Rc::new(RefCell::new(Vec::new()));
        let end = |name: &'static str| -> End {
            let asked = Rc::clone(&asked);
            Box::pin(async move {
                // The master says what it is before it can be asked.
                tokio::time::sleep(Duration::from_millis(1)).await;
                asked.borrow_mut().push(name);
                tokio::time::sleep(Duration::from_secs(5)).await;
            })
        };
        let mut closing = Closing::default();
        closing.begin(vec![end("one"), end("another")]).await;
        assert!(asked.borrow().is_empty());
        let seen = closing.beside(async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            asked.borrow().clone()
        });
        assert_eq!(seen.await, ["one", "another"]);
        let began = tokio::time::Instant::now();
        assert_eq!(closing.end_beside(async { 7 }).await, 7);
        assert_eq!(began.elapsed().as_secs(), 4, "given up by nobody meanwhile");
        assert_eq!(Closing::default().end_beside(async { 7 }).await, 7, "where nothing is to end");
    }
}
