//! The times that `--since` takes.
//!
//! Promises: a time without an offset is one of this machine's clock; one that a change of summer time makes twice is the
//! earlier. Never: a guess at a text that is no time.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};

use crate::config::Span;

/// A text that is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SinceError {
    /// None of the forms.
    #[error("is no time: 10m, 2h, 3d, today, yesterday, 14:30, 2026-03-04, `2026-03-04 14:30`, or RFC 3339")]
    NoTime,
    /// Summer time leaves it out, or the calendar does not reach it.
    #[error("is a time that does not exist here")]
    NoSuchTime,
}

/// The moment that a text names, seen from `now`.
///
/// # Errors
/// It names none.
pub(super) fn since<Zone: TimeZone>(text: &str, now: &DateTime<Zone>) -> Result<DateTime<Utc>, SinceError> {
    let text = text.trim();
    let local = |naive: NaiveDateTime| now.timezone().from_local_datetime(&naive).earliest().map(|time| time.to_utc()).ok_or(SinceError::NoSuchTime);
    let today = now.date_naive();
    if let Ok(span) = text.parse::<Span>() {
        let length = TimeDelta::from_std(span.duration()).map_err(|_| SinceError::NoSuchTime)?;
        return now.to_utc().checked_sub_signed(length).ok_or(SinceError::NoSuchTime);
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    match text {
        "today" => return local(today.and_time(NaiveTime::MIN)),
        "yesterday" => return local(today.pred_opt().ok_or(SinceError::NoSuchTime)?.and_time(NaiveTime::MIN)),
        _ => {}
    }
    if let Ok(date) = text.parse::<NaiveDate>() {
        return local(date.and_time(NaiveTime::MIN));
    }
    let clock = |text: &str| ["%H:%M:%S", "%H:%M"].iter().find_map(|form| NaiveTime::parse_from_str(text, form).ok());
    if let Some(time) = clock(text) {
        // A time of the clock that is still to come was yesterday's.
        let time = today.and_time(time);
        return local(if time > now.naive_local() { time - TimeDelta::days(1) } else { time });
    }
    let both = text.split_once(['T', ' ']).and_then(|(date, time)| Some(date.parse::<NaiveDate>().ok()?.and_time(clock(time.trim())?)));
    local(both.ok_or(SinceError::NoTime)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::FixedOffset;

    fn of(text: &str) -> Result<String, SinceError> {
        let now: DateTime<FixedOffset> = "2026-03-04T10:30:00+01:00".parse().unwrap();
        since(text, &now).map(|time| time.format("%m-%dT%H:%M").to_string())
    }

    #[test]
    fn every_form_names_its_moment() {
        let moments = [
            ("10m", "03-04T09:20"),
            ("1d 1h", "03-03T08:30"),
            ("today", "03-03T23:00"),
            ("yesterday", "03-02T23:00"),
            ("09:15", "03-04T08:15"),
            ("23:59:30", "03-03T22:59"),
            ("2026-02-28", "02-27T23:00"),
            ("2026-03-01 12:00", "03-01T11:00"),
            ("2026-03-01T12:00:59", "03-01T11:00"),
            ("2026-03-01T12:00:00Z", "03-01T12:00"),
        ];
        for (text, moment) in moments {
            assert_eq!(of(text).as_deref(), Ok(moment), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "10", "tomorrow", "25:00", "2026-13-01", "2026-03-01 noon", "é"] {
            assert_eq!(of(text), Err(SinceError::NoTime), "{text}");
        }
        assert_eq!(of("900000000d"), Err(SinceError::NoSuchTime));
    }
}
