//! Time as the agent sees it: the wall's, which may jump, and the time awake, which only grows.
//!
//! Promises: pure. A sleep of the machine and a clock that was set are told apart from each other by the two clocks alone.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// A jump of the wall clock that is smaller than this is no news.
const TOLERANCE: TimeDelta = TimeDelta::seconds(90);

/// One moment by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// By the wall clock.
    pub wall: DateTime<Utc>,
    /// Time awake since the agent began; a sleep of the machine does not count.
    pub awake: Duration,
}

/// What happened to the clocks between two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jump {
    /// Nothing worth a word.
    None,
    /// The machine slept for so long, or its clock was set forward.
    Forward(TimeDelta),
    /// The clock was set back by so much.
    Back(TimeDelta),
}

impl Moment {
    /// What happened since an earlier moment.
    #[must_use]
    pub fn since(self, before: Self) -> Jump {
        let awake = TimeDelta::from_std(self.awake.saturating_sub(before.awake)).unwrap_or(TimeDelta::MAX);
        let jump = (self.wall - before.wall).checked_sub(&awake).unwrap_or(TimeDelta::zero());
        match jump {
            jump if jump > TOLERANCE => Jump::Forward(jump),
            jump if jump < -TOLERANCE => Jump::Back(-jump),
            _ => Jump::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_is_a_jump_forward_and_a_clock_set_back_is_one_back() {
        let at = |wall: i64, awake: u64| Moment { wall: DateTime::from_timestamp(1_800_000_000 + wall, 0).unwrap(), awake: Duration::from_secs(awake) };
        assert_eq!(at(60, 60).since(at(0, 0)), Jump::None);
        assert_eq!(at(100, 60).since(at(0, 0)), Jump::None);
        assert_eq!(at(8 * 3600, 30).since(at(0, 0)), Jump::Forward(TimeDelta::seconds(8 * 3600 - 30)));
        assert_eq!(at(-365 * 86_400, 60).since(at(0, 0)), Jump::Back(TimeDelta::seconds(365 * 86_400 + 60)));
    }
}
