//! One moving line on standard error while a pass takes long, gone at its end.
//!
//! Promises: nothing at all where standard error is no terminal, or where the pass is short.

use std::cell::RefCell;
use std::io::{self, IsTerminal as _};
use std::pin::pin;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressFinish};

use super::words::joined;
use crate::pass::Doing;
use crate::reconcile::plain::plain;

/// A pass shorter than this shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the line moves.
const STEP: Duration = Duration::from_millis(120);
/// Most names on the line.
const MOST_NAMES: usize = 3;

/// What the line is to say.
#[derive(Debug, Default)]
pub(super) struct Spinner(RefCell<String>);

impl Spinner {
    /// Notes what a pass is at.
    pub(super) fn note(&self, doing: &Doing<'_>) {
        *self.0.borrow_mut() = match doing {
            Doing::Waiting => "waiting for another pass".to_owned(),
            Doing::Visiting(names) if names.is_empty() => return,
            Doing::Listing => "listing the codespaces".to_owned(),
            Doing::Visiting(names) => {
                let mut shown: Vec<String> = names.iter().take(MOST_NAMES).map(|name| plain(name).into_owned()).collect();
                if names.len() > MOST_NAMES {
                    shown.push(format!("{} more", names.len() - MOST_NAMES));
                }
                format!("visiting {}", joined(&shown))
            }
            Doing::Installing => "installing".to_owned(),
        };
    }

    /// Runs a pass to its end, with the line if it takes long.
    pub(super) async fn during<T>(&self, pass: impl Future<Output = T>) -> T {
        if !io::stderr().is_terminal() {
            return pass.await;
        }
        let mut pass = pin!(pass);
        if let Ok(done) = tokio::time::timeout(PATIENCE, &mut pass).await {
            return done;
        }
        // Also where a signal ends the pass.
        let line = ProgressBar::new_spinner().with_finish(ProgressFinish::AndClear);
        loop {
            line.set_message(self.0.borrow().clone());
            line.tick();
            if let Ok(done) = tokio::time::timeout(STEP, &mut pass).await {
                line.finish_and_clear();
                return done;
            }
        }
    }
}
