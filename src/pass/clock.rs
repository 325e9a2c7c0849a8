//! The time during a pass: the time that the pass was given, and as much more as has passed since.
//!
//! Promises: never earlier than the time given. So whoever runs a pass at a time of its own choice finds that time in the memory.

use std::time::SystemTime;

use chrono::{DateTime, TimeDelta, Utc};

/// A clock that was set when the pass began.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    given: DateTime<Utc>,
    began: DateTime<Utc>,
}

impl Clock {
    /// Shows `now` at this moment.
    #[must_use]
    pub fn set(now: DateTime<Utc>) -> Self {
        Self { given: now, began: Utc::now() }
    }

    /// What it shows. By the machine's own clock, which goes on while the machine sleeps.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.given + (Utc::now() - self.began).max(TimeDelta::zero())
    }
}

/// Nanoseconds since 1970.
#[must_use]
pub fn nanoseconds(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}
