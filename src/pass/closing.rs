//! Connections that come to their end while the pass goes on.
//!
//! Promises: each is asked to end when its visit is over, not later; a pass is not over before all of them are. One that does not
//! answer is waited for when the next are made, or the pass ends. Given up in the middle, what is left is killed.

use std::time::Duration;

use futures_util::future::{LocalBoxFuture, join_all};

/// The end of a connection: asked for when it is polled first, come when it is ready.
pub type End = LocalBoxFuture<'static, ()>;

/// Those that were asked to end.
#[derive(Default)]
pub struct Closing(Vec<End>);

impl Closing {
    /// Asks these to end.
    pub async fn begin(&mut self, ends: Vec<End>) {
        for mut end in ends {
            // It is polled before the time is looked at.
            if tokio::time::timeout(Duration::ZERO, &mut end).await.is_err() {
                self.0.push(end);
            }
        }
    }

    /// Waits until they did.
    pub async fn ended(&mut self) {
        join_all(self.0.drain(..)).await;
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
}
