//! When the schedule rings: by the pattern, the jitter, and the clock and the calendar of the place where the machine is.
//!
//! Promises: decides without waiting; one ring for each time of the pattern, whatever the jitter; times that were missed are one ring.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use croner::Cron;
use tokio::sync::Notify;
use uuid::Uuid;

use super::schedule::Clock;

/// The longest time between two looks at the wall clock.
const PARKED: Duration = Duration::from_secs(60);
/// A clock that went back by less was only corrected.
const CORRECTION: TimeDelta = TimeDelta::seconds(5);

/// What the configuration says.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) every: Cron,
    pub(super) jitter: Duration,
}

/// The next time of a pattern after another, by the calendar of the place where the machine is.
pub(super) type Calendar = Box<dyn Fn(&Cron, DateTime<Utc>) -> Option<DateTime<Utc>> + Send + Sync>;

/// When the one job is due.
pub(super) struct Timetable {
    clock: Clock,
    calendar: Calendar,
    state: Mutex<Times>,
    woken: Notify,
}

#[derive(Debug, Clone)]
struct Times {
    wanted: Wanted,
    next: Option<Next>,
    seen: DateTime<Utc>,
    ended: bool,
}

/// A ring to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Next {
    /// After this, by the pattern.
    after: DateTime<Utc>,
    /// What the pattern says.
    time: DateTime<Utc>,
    /// The jitter later.
    due: DateTime<Utc>,
}

impl Timetable {
    pub(super) fn new(wanted: Wanted, clock: Clock, calendar: Calendar) -> Self {
        let now = clock();
        let state = Mutex::new(Times { wanted: wanted.clone(), next: None, seen: now, ended: false });
        let timetable = Self { clock, calendar, state, woken: Notify::new() };
        timetable.lock().next = timetable.after(&wanted, now);
        timetable
    }

    fn lock(&self) -> MutexGuard<'_, Times> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }

    /// When the job is due next.
    pub(super) fn due(&self) -> Option<DateTime<Utc>> {
        self.lock().next.map(|next| next.due)
    }

    /// Waits until something changed.
    pub(super) async fn woken(&self) {
        self.woken.notified().await;
    }

    /// The job is due no more.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.woken.notify_one();
    }

    /// From now on this is wanted; what is due by now stays so.
    pub(super) fn change(&self, wanted: Wanted) {
        let now = self.now();
        let mut times = self.lock();
        let same = times.wanted.every.pattern.to_string() == wanted.every.pattern.to_string();
        let is_due = times.next.is_some_and(|next| next.due <= now);
        if same {
            let longest = TimeDelta::from_std(wanted.jitter).unwrap_or(TimeDelta::MAX);
            times.next = times.next.map(|next| Next { due: next.due.min(next.time.checked_add_signed(longest).unwrap_or(next.due)), ..next });
        } else if !is_due {
            times.next = self.after(&wanted, now);
        }
        times.wanted = wanted;
        drop(times);
        self.woken.notify_one();
    }

    /// The next time of the pattern, and up to the jitter later; never as late as the time after it, which has a ring of its own.
    fn after(&self, wanted: &Wanted, after: DateTime<Utc>) -> Option<Next> {
        let time = (self.calendar)(&wanted.every, after)?;
        let gap = (self.calendar)(&wanted.every, time).and_then(|following| (following - time).to_std().ok()).unwrap_or(Duration::MAX);
        let longest = u64::try_from(wanted.jitter.min(gap).as_millis()).unwrap_or(u64::MAX);
        let jitter = if longest == 0 { 0 } else { Uuid::new_v4().as_u64_pair().0 % longest };
        let due = time.checked_add_signed(TimeDelta::milliseconds(i64::try_from(jitter).ok()?))?;
        Some(Next { after, time, due })
    }

    /// Whether the calendar says another time than it did.
    fn is_elsewhere(&self, wanted: &Wanted, next: &Next) -> bool {
        (self.calendar)(&wanted.every, next.after) != Some(next.time)
    }

    /// Whether the job is due now (then its next time is set), or how long to wait before it can be.
    pub(super) fn look(&self) -> Due {
        let now = self.now();
        let mut times = self.lock();
        let set_back = now < times.seen - CORRECTION;
        times.seen = now;
        if times.ended {
            return Due::Ended;
        }
        if set_back {
            times.next = self.after(&times.wanted, now);
        } else if let Some(next) = times.next.filter(|next| next.due > now && self.is_elsewhere(&times.wanted, next)) {
            times.next = self.after(&times.wanted, next.after);
        }
        match times.next {
            Some(next) if next.due <= now => {
                times.next = self.after(&times.wanted, now);
                Due::Now
            }
            Some(next) => Due::In((next.due - now).to_std().unwrap_or(PARKED).min(PARKED)),
            None => Due::In(PARKED),
        }
    }
}

/// An answer of the timetable.
pub(super) enum Due {
    Now,
    In(Duration),
    Ended,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::schedule::{next_in, pattern};
    use chrono_tz::{America::New_York, Europe::Berlin};
    use std::sync::Arc;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    #[test]
    fn a_machine_that_is_taken_to_another_time_zone_rings_by_the_clock_there() {
        for (home, there, taken, rings) in [
            // Nine in New York is not waited for where it has been nine for hours; and then it is nine each day there.
            (New_York, Berlin, "2026-06-10T10:00:00Z", ["2026-06-10T10:00:00Z", "2026-06-11T07:00:00Z"]),
            (Berlin, New_York, "2026-06-10T05:00:00Z", ["2026-06-10T13:00:00Z", "2026-06-11T13:00:00Z"]),
        ] {
            let (now, zone) = (Arc::new(Mutex::new(at("2026-06-09T20:00:00Z"))), Arc::new(Mutex::new(home)));
            let (clock, place) = (Arc::clone(&now), Arc::clone(&zone));
            let calendar: Calendar = Box::new(move |every, after| next_in(&*place.lock().unwrap(), every, after));
            let wanted = Wanted { every: pattern("0 9 * * *").unwrap(), jitter: Duration::ZERO };
            let timetable = Timetable::new(wanted, Arc::new(move || *clock.lock().unwrap()), calendar);
            let mut rung = Vec::new();
            while rung.len() < 2 {
                *now.lock().unwrap() += TimeDelta::minutes(1);
                let time = *now.lock().unwrap();
                assert!(time < at("2026-06-13T00:00:00Z"), "{rung:?}");
                if time == at(taken) {
                    *zone.lock().unwrap() = there;
                }
                if matches!(timetable.look(), Due::Now) {
                    rung.push(time);
                }
            }
            assert_eq!(rung, rings.map(at), "from {home} to {there}");
        }
    }
}
