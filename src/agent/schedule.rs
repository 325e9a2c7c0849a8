//! The schedule: rings the bell when `[schedule] every` says so.
//!
//! tokio-cron-scheduler drives it, with a storage of ours that parks: it answers "what is due" only when something is, at most
//! a minute later than the wall clock says, so that a sleep of the machine is noticed and an idle agent wakes about once a
//! minute (its own storage is asked twice a second). The storage also computes when the job is due, in local time and anew after
//! each ring, because a job of the scheduler keeps the UTC offset that it was made with.
//!
//! Promises: one ring for each time of the pattern, however large the jitter; however many times were missed while the machine slept,
//! one ring; a clock that was set back delays nothing by more than one interval; daylight saving time neither doubles nor drops an
//! hourly ring, and a machine that is taken to another time zone rings by that one's clock; another pattern drops no ring that is due.
//! Never: work; a firing rings a bell.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Local, TimeDelta, TimeZone, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use tokio_cron_scheduler::job::job_data::{JobAndNextTick, JobStoredData, JobType};
use tokio_cron_scheduler::store::{DataStore, InitStore};
use tokio_cron_scheduler::{
    Job, JobScheduler, JobSchedulerError, MetaDataStorage, SimpleJobCode, SimpleMetadataStore, SimpleNotificationCode, SimpleNotificationStore,
};
use uuid::Uuid;

use super::bell::{Bell, Ring};
use super::timetable::{Due, Timetable, Wanted};

/// The scheduler's channels: one job, one firing at a time.
const CHANNEL: usize = 16;

/// The wall clock, as an argument.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// The schedule could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// The pattern means nothing.
    #[error("the schedule `{pattern}` is no cron pattern")]
    Pattern {
        /// The pattern.
        pattern: String,
    },
    /// The scheduler would not start.
    #[error("the scheduler does not start: {0}")]
    Scheduler(#[from] JobSchedulerError),
}

/// When the pattern is due after a time: in local time, as cron means it.
#[must_use]
pub fn next(pattern: &Cron, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    next_in(&Local, pattern, after)
}

pub(super) fn next_in<Z: TimeZone>(zone: &Z, pattern: &Cron, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    pattern.find_next_occurrence(&after.with_timezone(zone), false).ok().map(|next| next.with_timezone(&Utc))
}

/// The pattern, in five fields or in six with seconds first.
///
/// # Errors
/// When it is none.
pub fn pattern(text: &str) -> Result<Cron, ScheduleError> {
    let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
    parser.parse(text).map_err(|_| ScheduleError::Pattern { pattern: text.to_owned() })
}

/// The time between two rings around a time; an hour if the pattern has no two.
#[must_use]
pub fn interval(pattern: &Cron, now: DateTime<Utc>) -> TimeDelta {
    let first = next(pattern, now);
    let second = first.and_then(|first| next(pattern, first));
    first.zip(second).map_or(TimeDelta::hours(1), |(first, second)| second - first)
}

/// A running schedule; dropped, it rings no more. A scheduler's tasks stay for as long as the process, so an agent has one of them, and
/// what the configuration wants of it is changed in place.
pub struct Schedule {
    timetable: Arc<Timetable>,
    scheduler: JobScheduler,
}

impl std::fmt::Debug for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Schedule").field("next", &self.next()).finish_non_exhaustive()
    }
}

impl Schedule {
    /// Rings `bell` whenever the pattern is due, each time up to `jitter` later.
    ///
    /// # Errors
    /// As [`ScheduleError`].
    pub async fn start(every: &str, jitter: Duration, clock: Clock, bell: Bell) -> Result<Self, ScheduleError> {
        let timetable = Arc::new(Timetable::new(Wanted { every: pattern(every)?, jitter }, clock, Box::new(next)));
        let storage = Parked { jobs: SimpleMetadataStore::default(), timetable: Arc::clone(&timetable) };
        let (codes, notes) = (SimpleJobCode::default(), SimpleNotificationCode::default());
        let scheduler =
            JobScheduler::new_with_storage_and_code(Box::new(storage), Box::new(SimpleNotificationStore::default()), Box::new(codes), Box::new(notes), CHANNEL)
                .await?;
        // What the scheduler makes of this pattern is not used; when the job is due, the storage says.
        let job = Job::new_async("0 0 * * * *", move |_, _| {
            let bell = bell.clone();
            Box::pin(async move { bell.ring(Ring::Schedule) })
        })?;
        scheduler.add(job).await?;
        scheduler.start().await?;
        Ok(Self { timetable, scheduler })
    }

    /// When it rings next.
    #[must_use]
    pub fn next(&self) -> Option<DateTime<Utc>> {
        self.timetable.due()
    }

    /// From now on another pattern and jitter hold. What is due by the ones before still rings.
    ///
    /// # Errors
    /// The pattern means nothing; then nothing changes.
    pub fn change(&self, every: &str, jitter: Duration) -> Result<(), ScheduleError> {
        let wanted = Wanted { every: pattern(every)?, jitter };
        self.timetable.change(wanted);
        Ok(())
    }

    /// Ends it. The storage is woken first, because it holds the scheduler's lock while it is parked.
    pub async fn stop(mut self) {
        self.timetable.end();
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::debug!(%error, "the scheduler did not end well");
        }
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        self.timetable.end();
    }
}

/// The scheduler's storage, which answers only when the job is due.
struct Parked {
    jobs: SimpleMetadataStore,
    timetable: Arc<Timetable>,
}

/// What the scheduler's traits return.
type Answer<T> = Pin<Box<dyn Future<Output = Result<T, JobSchedulerError>> + Send>>;

impl MetaDataStorage for Parked {
    fn list_next_ticks(&mut self) -> Answer<Vec<JobAndNextTick>> {
        let timetable = Arc::clone(&self.timetable);
        let jobs = Arc::clone(&self.jobs.data);
        Box::pin(async move {
            loop {
                match timetable.look() {
                    Due::Ended => return Ok(Vec::new()),
                    // A time long past, whatever the scheduler's own clock says.
                    Due::Now => {
                        let due = |job: &JobStoredData| JobAndNextTick { id: job.id, job_type: JobType::Cron as i32, next_tick: 1, last_tick: None };
                        return Ok(jobs.read().await.values().map(due).collect());
                    }
                    Due::In(rest) => {
                        let _ = tokio::time::timeout(rest, timetable.woken()).await;
                    }
                }
            }
        })
    }

    /// The timetable has its own idea of both.
    fn set_next_and_last_tick(&mut self, _: Uuid, _: Option<DateTime<Utc>>, _: Option<DateTime<Utc>>) -> Answer<()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn time_till_next_job(&mut self) -> Answer<Option<Duration>> {
        let rest = self.timetable.due().and_then(|due| (due - self.timetable.now()).to_std().ok());
        Box::pin(std::future::ready(Ok(rest)))
    }
}

impl DataStore<JobStoredData> for Parked {
    fn get(&mut self, id: Uuid) -> Answer<Option<JobStoredData>> {
        self.jobs.get(id)
    }

    fn add_or_update(&mut self, data: JobStoredData) -> Answer<()> {
        self.jobs.add_or_update(data)
    }

    fn delete(&mut self, id: Uuid) -> Answer<()> {
        self.jobs.delete(id)
    }
}

impl InitStore for Parked {
    fn init(&mut self) -> Answer<()> {
        self.jobs.init()
    }

    fn inited(&mut self) -> Answer<bool> {
        self.jobs.inited()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::{Australia::Lord_Howe, Europe::Berlin};

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn hours<Z: TimeZone>(zone: &Z, every: &str, from: &str, until: &str) -> Vec<DateTime<Utc>> {
        let pattern = pattern(every).unwrap();
        let until = at(until);
        std::iter::successors(next_in(zone, &pattern, at(from)), |last| next_in(zone, &pattern, *last)).take_while(|due| *due < until).collect()
    }

    #[test]
    fn an_hourly_ring_is_an_hourly_ring_when_the_clocks_are_changed() {
        for (from, until) in [("2026-03-28T12:30:00Z", "2026-03-29T12:30:00Z"), ("2026-10-24T12:30:00Z", "2026-10-25T12:30:00Z")] {
            let rings = hours(&Berlin, "0 * * * *", from, until);
            assert_eq!(rings.len(), 24, "{rings:?}");
            assert!(rings.windows(2).all(|pair| pair[1] - pair[0] == TimeDelta::hours(1)), "{rings:?}");
        }
        // Half an hour, at Lord Howe.
        let rings = hours(&Lord_Howe, "0 * * * *", "2026-04-04T00:15:00Z", "2026-04-05T00:15:00Z");
        assert!((23..=25).contains(&rings.len()) && rings.windows(2).all(|pair| pair[1] - pair[0] <= TimeDelta::minutes(90)), "{rings:?}");
    }

    #[test]
    fn a_daily_ring_comes_once_a_day_at_the_hour_of_the_wall_clock() {
        for (every, times) in [("30 2 * * *", 3), ("0 9 * * *", 3)] {
            for from in ["2026-03-27T22:00:00Z", "2026-10-23T22:00:00Z"] {
                let until = at(from) + TimeDelta::days(3);
                let rings = hours(&Berlin, every, from, &until.to_rfc3339());
                assert_eq!(rings.len(), times, "{every} from {from}: {rings:?}");
            }
        }
        let nine = hours(&Berlin, "0 9 * * *", "2026-03-27T22:00:00Z", "2026-03-30T22:00:00Z");
        assert_eq!(nine, ["2026-03-28T08:00:00Z", "2026-03-29T07:00:00Z", "2026-03-30T07:00:00Z"].map(at));
    }

    #[test]
    fn the_interval_is_that_of_the_pattern() {
        let now = at("2026-03-02T12:10:00Z");
        for (every, minutes) in [("0 * * * *", 60), ("*/5 * * * *", 5), ("*/10 * * * * *", 0), ("0 9 * * *", 24 * 60)] {
            assert_eq!(interval(&pattern(every).unwrap(), now).num_minutes(), minutes, "{every}");
        }
    }
}
