//! Times, sizes and counts in words, as every verb and every check says them.
//!
//! Promises: the largest unit that fits, one number; a text that is safe to print.

use chrono::{DateTime, TimeDelta, Utc};

/// How long ago: `12 s ago`, `3 min ago`, `2 h ago`, `5 days ago`, then the date. A time to come is `in 3 days`.
#[must_use]
pub fn ago(now: DateTime<Utc>, then: DateTime<Utc>) -> String {
    let past = now - then;
    if past < TimeDelta::seconds(-60) {
        return format!("in {}", span(-past));
    }
    match past.num_seconds() {
        ..1 => "just now".to_owned(),
        _ if past >= TimeDelta::days(60) => then.format("%Y-%m-%d").to_string(),
        _ => format!("{} ago", span(past)),
    }
}

/// A length of time in its largest unit.
#[must_use]
pub fn span(length: TimeDelta) -> String {
    match (length.num_seconds(), length.num_minutes(), length.num_hours(), length.num_days()) {
        (seconds @ ..60, ..) => format!("{seconds} s"),
        (_, minutes @ ..60, ..) => format!("{minutes} min"),
        (_, _, hours @ ..48, _) => format!("{hours} h"),
        (.., days) => format!("{days} days"),
    }
}

/// Bytes for people.
#[must_use]
pub fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{} KiB", count / 1024),
        1_048_576..1_073_741_824 => format!("{}.{} MiB", count >> 20, (count >> 10) % 1024 * 10 / 1024),
        _ => format!("{}.{} GiB", count >> 30, (count >> 20) % 1024 * 10 / 1024),
    }
}

/// A count and what is counted, which takes an `s`.
#[must_use]
pub fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_is_told_in_its_largest_unit() {
        let now = Utc::now();
        let of = |seconds| ago(now, now - TimeDelta::seconds(seconds));
        assert_eq!([of(-60), of(-61)], ["just now", "in 1 min"]);
        assert_eq!([0, 1, 2].map(|count| counted(count, "file")), ["0 files", "1 file", "2 files"]);
        assert_eq!(
            [0, 1, 59, 60, 3599, 3600, 47 * 3600, 48 * 3600].map(of),
            ["just now", "1 s ago", "59 s ago", "1 min ago", "59 min ago", "1 h ago", "47 h ago", "2 days ago"]
        );
        assert_eq!(of(60 * 86_400).len(), "2026-01-01".len());
        assert_eq!([of(-30), of(-7200)], ["just now", "in 2 h"]);
    }

    #[test]
    fn a_size_is_told_in_its_largest_unit() {
        assert_eq!([0, 1023, 1024, 1_048_575, 1_572_864, 5 << 30].map(bytes), ["0 B", "1023 B", "1 KiB", "1023 KiB", "1.5 MiB", "5.0 GiB"]);
    }
}
