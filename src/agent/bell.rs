//! The bell: whoever wants a pass rings it, and says why.
//!
//! Promises: rings add up until they are taken, so that any number of them is one pass; a ring is never lost. Never: work.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// Who rang.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ring {
    /// The agent began, and the last good pass is older than one interval.
    Start,
    /// `[schedule] every`.
    Schedule,
    /// A look found a codespace whose visit is due.
    Look,
    /// The control socket.
    Request,
    /// The codespaces can be listed again.
    Recovered,
    /// The pass before found another one under way.
    Again,
}

impl Ring {
    /// In a word, for the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Schedule => "schedule",
            Self::Look => "look",
            Self::Request => "request",
            Self::Recovered => "recovered",
            Self::Again => "again",
        }
    }
}

/// The bell; its clones are the same bell.
#[derive(Debug, Clone, Default)]
pub struct Bell(Arc<Rope>);

#[derive(Debug, Default)]
struct Rope {
    rung: Mutex<BTreeSet<Ring>>,
    heard: Notify,
}

impl Bell {
    /// Rings.
    pub fn ring(&self, ring: Ring) {
        self.0.rung.lock().unwrap_or_else(PoisonError::into_inner).insert(ring);
        self.0.heard.notify_one();
    }

    /// Waits until it was rung, and takes all rings.
    pub async fn rung(&self) -> BTreeSet<Ring> {
        loop {
            let rings = std::mem::take(&mut *self.0.rung.lock().unwrap_or_else(PoisonError::into_inner));
            if !rings.is_empty() {
                return rings;
            }
            self.0.heard.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rings_add_up_until_they_are_taken() {
        let bell = Bell::default();
        let other = bell.clone();
        [Ring::Schedule, Ring::Request, Ring::Request].into_iter().for_each(|ring| other.ring(ring));
        assert_eq!(bell.rung().await, BTreeSet::from([Ring::Schedule, Ring::Request]));
        other.ring(Ring::Start);
        assert_eq!(bell.rung().await, BTreeSet::from([Ring::Start]));
        assert!(tokio::time::timeout(std::time::Duration::ZERO, bell.rung()).await.is_err(), "nothing is left");
    }
}
