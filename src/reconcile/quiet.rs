//! The quiet rule: whether a codespace may be visited now, so that a forgotten one is never kept awake.
//!
//! Every connection counts as activity at GitHub and puts the idle stop off by one idle timeout T, so a visit needs a reason: a run
//! that was not visited yet; at a pass, that the last visit saw its user at work; or that it still runs when nothing of ours can
//! explain that any more. The last needs a count. One machine explains T after its own last connection. With n other machines that
//! visit it as well, "still running after T" proves nobody's presence: each of them may have put the stop off once more. So each of
//! the 1 + n machines waits (1 + n) × (T + 5 min) between two visits without a reason; of any 1 + n such visits two neighbours are
//! then at least T + 5 min apart, and in between the codespace stops. (With (1 + n) × T + 5 min only 5 / (1 + n) minutes would be
//! left for GitHub to notice the time.) A machine that comes late may still see work that ended, and come back once for it: then the
//! others may look once more, and after one quiet time all is still. A connection that failed was activity, too, and left no note there that others could read:
//! each failure in a row counts as one more machine; only the first few that may heal are tried again at the very next pass.
//!
//! Promises: pure; no wait is longer than one quiet time from now, whatever the clocks say; what is due stays due. What runs not is
//! never due. Never: a visit of a look that only the user's work at the last visit speaks for.

use std::fmt;

use chrono::{DateTime, TimeDelta, TimeZone, Utc};

/// The longest idle timeout that GitHub offers, in minutes; taken where it does not say.
pub const LONGEST_TIMEOUT: u32 = 240;
/// A timeout beyond a day is not believed.
const CREDIBLE_TIMEOUT: u32 = 24 * 60;
/// How late GitHub may stop a codespace, in minutes.
const SLACK: u32 = 5;
/// More machines, or failures in a row, than this make no wait longer.
const MOST_COUNTED: u32 = 8;
/// After so many failures in a row the next pass is no reason any more.
const MOST_RETRIES: u32 = 3;

/// What asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// The schedule, or a request.
    Pass,
    /// A look at GitHub's list between two passes.
    Look,
}

/// What the user wants of visits that may keep a codespace awake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The rule.
    Quiet,
    /// Whatever runs is visited at every pass. A look keeps to the rule.
    Always,
}

/// Attempts that failed, one after the other, in the same run of the codespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble {
    /// How many.
    pub in_a_row: u32,
    /// Whether the last of them may go well the next time, as nobody acts.
    pub heals: bool,
}

/// What this machine remembers of its visits to a codespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The run that was last connected to.
    pub episode: Option<DateTime<Utc>>,
    /// The end of the last connection, good or bad; none before the first.
    pub ended: Option<DateTime<Utc>>,
    /// The last visit saw that the user was at work after the visit before it.
    pub active: bool,
    /// Other machines that visit it.
    pub others: u32,
    /// What failed since the last good visit.
    pub trouble: Option<Trouble>,
}

/// What GitHub's list says of a codespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// It runs, and nothing is pending.
    pub available: bool,
    /// Its run: when it was last started.
    pub episode: Option<DateTime<Utc>>,
    /// Minutes without activity after which GitHub stops it.
    pub idle_timeout_minutes: Option<u32>,
}

/// Why a visit is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// It was never connected to.
    FirstVisit,
    /// It was started since.
    NewEpisode,
    /// The last visit saw its user at work.
    Active,
    /// The last attempt failed in a way that may heal.
    Retry,
    /// Nothing of ours explains why it has not stopped.
    StillRunning {
        /// The time since the last connection.
        after: TimeDelta,
    },
    /// The user wants it so.
    Always,
}

/// Why a visit is not due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// It does not run.
    NotRunning,
    /// A connection to it may be all that keeps it awake.
    Quiet {
        /// Its idle timeout in minutes; none where GitHub does not say.
        timeout: Option<u32>,
        /// Other machines that visit it.
        others: u32,
        /// Attempts that failed in a row.
        failures: u32,
    },
}

/// Whether a codespace is to be visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Now.
    Due(Because),
    /// Not now.
    Wait {
        /// When it is due if it still runs then; none while it does not run.
        until: Option<DateTime<Utc>>,
        /// Why not.
        because: Waiting,
    },
}

impl Remembered {
    fn failures(&self) -> u32 {
        self.trouble.map_or(0, |trouble| trouble.in_a_row)
    }

    /// How long after the last connection nothing is concluded from a codespace that still runs.
    #[must_use]
    pub fn quiet_time(&self, idle_timeout_minutes: Option<u32>) -> TimeDelta {
        let machines = 1 + self.others.min(MOST_COUNTED) + self.failures().min(MOST_COUNTED);
        let timeout = idle_timeout_minutes.unwrap_or(LONGEST_TIMEOUT).min(CREDIBLE_TIMEOUT);
        TimeDelta::minutes(i64::from(machines) * i64::from(timeout + SLACK))
    }

    /// The same by a clock that says `now`. It may have been set back since the last connection; that one then ends now, and as long
    /// as this is kept, the wait ends one quiet time later.
    #[must_use]
    pub fn healed(self, now: DateTime<Utc>) -> Self {
        Self { ended: self.ended.map(|ended| ended.min(now)), ..self }
    }
}

/// Whether a codespace is to be visited now.
#[must_use]
pub fn verdict(remembered: &Remembered, shown: &Shown, occasion: Occasion, policy: Policy, now: DateTime<Utc>) -> Verdict {
    if !shown.available {
        return Verdict::Wait { until: None, because: Waiting::NotRunning };
    }
    if policy == Policy::Always && occasion == Occasion::Pass {
        return Verdict::Due(Because::Always);
    }
    let Some(ended) = remembered.healed(now).ended else { return Verdict::Due(Because::FirstVisit) };
    if shown.episode.is_some() && shown.episode != remembered.episode {
        return Verdict::Due(Because::NewEpisode);
    }
    if occasion == Occasion::Pass {
        match remembered.trouble {
            Some(Trouble { in_a_row, heals: true }) if in_a_row <= MOST_RETRIES => return Verdict::Due(Because::Retry),
            None if remembered.active => return Verdict::Due(Because::Active),
            _ => {}
        }
    }
    let quiet = remembered.quiet_time(shown.idle_timeout_minutes);
    let after = now - ended;
    if after >= quiet {
        return Verdict::Due(Because::StillRunning { after });
    }
    let failures = remembered.failures();
    let because = Waiting::Quiet { timeout: shown.idle_timeout_minutes, others: remembered.others, failures };
    Verdict::Wait { until: ended.checked_add_signed(quiet), because }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstVisit => f.write_str("never visited"),
            Self::NewEpisode => f.write_str("started since the last visit"),
            Self::Active => f.write_str("in use at the last visit"),
            Self::Retry => f.write_str("the last attempt failed"),
            Self::StillRunning { after } => write!(f, "still running {} min after the last visit", after.num_minutes()),
            Self::Always => f.write_str("idle_policy = \"always\""),
        }
    }
}

impl Verdict {
    /// Whether it is due.
    #[must_use]
    pub fn is_due(&self) -> bool {
        matches!(self, Self::Due(_))
    }

    /// For people, in their time zone: `still running 35 min after the last visit`, `quiet until 14:05 (idle timeout 30 min)`.
    #[must_use]
    pub fn words<Z: TimeZone<Offset: fmt::Display>>(&self, now: DateTime<Utc>, zone: &Z) -> String {
        let (until, timeout, others, failures) = match self {
            Self::Due(because) => return because.to_string(),
            Self::Wait { because: Waiting::NotRunning, .. } => return "not running".to_owned(),
            Self::Wait { until, because: Waiting::Quiet { timeout, others, failures } } => (until, timeout, *others, *failures),
        };
        let mut words = String::from("quiet");
        if let Some(until) = until {
            let (until, now) = (until.with_timezone(zone), now.with_timezone(zone));
            let format = if until.date_naive() == now.date_naive() { "%H:%M" } else { "%a %H:%M" };
            words.push_str(&format!(" until {}", until.format(format)));
        }
        words.push_str(&match timeout {
            Some(minutes) => format!(" (idle timeout {minutes} min"),
            None => format!(" (idle timeout unknown, {LONGEST_TIMEOUT} min at most"),
        });
        let counted = |count: u32, one: &str, more: &str| if count == 1 { format!(", {one}") } else { format!(", {count} {more}") };
        if others > 0 {
            words.push_str(&counted(others, "another machine visits it, too", "other machines visit it, too"));
        }
        if failures > 0 {
            words.push_str(&counted(failures, "the last attempt failed", "attempts failed"));
        }
        words + ")"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::minutes(minutes)
    }

    fn shown(episode: i64, timeout: Option<u32>) -> Shown {
        Shown { available: true, episode: Some(at(episode)), idle_timeout_minutes: timeout }
    }

    /// Visited in the run that began at 0, the connection ended at minute 10.
    fn visited() -> Remembered {
        Remembered { episode: Some(at(0)), ended: Some(at(10)), ..Remembered::default() }
    }

    fn by(remembered: &Remembered, shown: &Shown, occasion: Occasion, minutes: i64) -> Verdict {
        verdict(remembered, shown, occasion, Policy::Quiet, at(minutes))
    }

    #[test]
    fn a_connection_that_ended_later_than_now_ended_now() {
        for (now, ended) in [(9, 9), (10, 10), (11, 10)] {
            assert_eq!(visited().healed(at(now)).ended, Some(at(ended)), "at minute {now}");
        }
    }

    #[test]
    fn a_run_that_was_not_visited_is_due_at_once_and_one_that_ended_never() {
        for occasion in [Occasion::Pass, Occasion::Look] {
            assert_eq!(by(&Remembered::default(), &shown(0, Some(30)), occasion, 1), Verdict::Due(Because::FirstVisit));
            assert_eq!(by(&visited(), &shown(11, Some(30)), occasion, 12), Verdict::Due(Because::NewEpisode));
            let stopped = Shown { available: false, ..shown(11, Some(30)) };
            for policy in [Policy::Quiet, Policy::Always] {
                let waits = Verdict::Wait { until: None, because: Waiting::NotRunning };
                assert_eq!(verdict(&visited(), &stopped, occasion, policy, at(12)), waits);
                assert_eq!(verdict(&Remembered::default(), &stopped, occasion, policy, at(12)), waits);
            }
        }
    }

    #[test]
    fn work_that_was_seen_is_a_reason_for_a_pass_and_none_for_a_look() {
        let remembered = Remembered { active: true, ..visited() };
        assert_eq!(by(&remembered, &shown(0, Some(30)), Occasion::Pass, 11), Verdict::Due(Because::Active));
        assert!(!by(&remembered, &shown(0, Some(30)), Occasion::Look, 11).is_due());
    }

    #[test]
    fn always_means_every_pass_and_not_every_look() {
        let always = |occasion| verdict(&visited(), &shown(0, Some(30)), occasion, Policy::Always, at(11));
        assert_eq!(always(Occasion::Pass), Verdict::Due(Because::Always));
        assert!(!always(Occasion::Look).is_due());
    }

    #[test]
    fn what_still_runs_is_due_when_nothing_of_ours_explains_it() {
        for (timeout, others, quiet) in [(Some(5), 0, 10), (Some(30), 0, 35), (Some(240), 0, 245), (None, 0, 245), (Some(30), 1, 70), (Some(30), 2, 105)] {
            let remembered = Remembered { others, ..visited() };
            for occasion in [Occasion::Pass, Occasion::Look] {
                let early = by(&remembered, &shown(0, timeout), occasion, 9 + quiet);
                assert_eq!(early, Verdict::Wait { until: Some(at(10 + quiet)), because: Waiting::Quiet { timeout, others, failures: 0 } });
                let due = Verdict::Due(Because::StillRunning { after: TimeDelta::minutes(quiet) });
                assert_eq!(by(&remembered, &shown(0, timeout), occasion, 10 + quiet), due);
            }
        }
    }

    #[test]
    fn a_failure_that_may_heal_is_tried_again_three_times_and_each_counts_as_a_machine() {
        let failed = |in_a_row, heals| Remembered { active: true, trouble: Some(Trouble { in_a_row, heals }), ..visited() };
        for in_a_row in 1..=3 {
            assert_eq!(by(&failed(in_a_row, true), &shown(0, Some(30)), Occasion::Pass, 11), Verdict::Due(Because::Retry));
            assert!(!by(&failed(in_a_row, true), &shown(0, Some(30)), Occasion::Look, 11).is_due());
        }
        for waits in [failed(4, true), failed(1, false)] {
            let quiet = i64::from(1 + waits.failures()) * 35;
            assert!(!by(&waits, &shown(0, Some(30)), Occasion::Pass, 9 + quiet).is_due());
            assert!(by(&waits, &shown(0, Some(30)), Occasion::Pass, 10 + quiet).is_due());
        }
    }

    #[test]
    fn the_words_name_the_time_and_the_reason() {
        let zone = chrono::FixedOffset::east_opt(2 * 3600).unwrap();
        let words = |remembered: &Remembered, timeout, minutes| by(remembered, &shown(0, timeout), Occasion::Look, minutes).words(at(minutes), &zone);
        assert_eq!(words(&visited(), Some(30), 20), "quiet until 02:45 (idle timeout 30 min)");
        assert_eq!(words(&visited(), Some(30), 45), "still running 35 min after the last visit");
        assert_eq!(words(&visited(), None, 20), "quiet until 06:15 (idle timeout unknown, 240 min at most)");
        let crowded = Remembered { others: 8, trouble: Some(Trouble { in_a_row: 1, heals: false }), ..visited() };
        assert_eq!(words(&crowded, Some(240), 20), "quiet until Sat 19:00 (idle timeout 240 min, 8 other machines visit it, too, the last attempt failed)");
        assert_eq!(verdict(&visited(), &shown(0, None), Occasion::Pass, Policy::Always, at(11)).words(at(11), &zone), "idle_policy = \"always\"");
    }

    fn remembered() -> impl Strategy<Value = Remembered> {
        let time = prop_oneof![Just(None), (-600_000_i64..600_000).prop_map(|minutes| Some(at(minutes)))];
        let trouble = prop_oneof![Just(None), (1_u32..20, any::<bool>()).prop_map(|(in_a_row, heals)| Some(Trouble { in_a_row, heals }))];
        (time.clone(), time, any::<bool>(), any::<u32>(), trouble).prop_map(|(episode, ended, active, others, trouble)| Remembered {
            episode,
            ended,
            active,
            others,
            trouble,
        })
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_one_quiet_time_and_it_ends_when_it_says(
            remembered in remembered(), timeout in any::<Option<u32>>(), look in any::<bool>(), now in -600_000_i64..600_000
        ) {
            let occasion = if look { Occasion::Look } else { Occasion::Pass };
            let shown = shown(0, timeout);
            let kept = remembered.healed(at(now));
            let quiet = remembered.quiet_time(timeout);
            if let Verdict::Wait { until, .. } = by(&remembered, &shown, occasion, now) {
                let until = until.unwrap();
                prop_assert!(at(now) < until && until <= at(now) + quiet);
                prop_assert!(verdict(&kept, &shown, occasion, Policy::Quiet, until).is_due());
                prop_assert!(!verdict(&kept, &shown, occasion, Policy::Quiet, until - TimeDelta::seconds(1)).is_due());
            }
            prop_assert!(verdict(&kept, &shown, occasion, Policy::Quiet, at(now) + quiet).is_due());
        }

        #[test]
        fn what_is_due_stays_due(remembered in remembered(), timeout in any::<Option<u32>>(), now in -600_000_i64..600_000, later in 0_i64..600_000) {
            for occasion in [Occasion::Pass, Occasion::Look] {
                let before = by(&remembered, &shown(0, timeout), occasion, now).is_due();
                prop_assert!(!before || by(&remembered, &shown(0, timeout), occasion, now + later).is_due());
            }
            let look = by(&remembered, &shown(0, timeout), Occasion::Look, now).is_due();
            prop_assert!(!look || by(&remembered, &shown(0, timeout), Occasion::Pass, now).is_due(), "a pass visits whatever a look does");
        }

        #[test]
        fn more_machines_never_make_a_wait_shorter(remembered in remembered(), timeout in any::<Option<u32>>(), more in 0_u32..100) {
            let crowded = Remembered { others: remembered.others.saturating_add(more), ..remembered };
            prop_assert!(crowded.quiet_time(timeout) >= remembered.quiet_time(timeout));
        }
    }
}
