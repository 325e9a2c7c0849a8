//! What the passes so far say: when the last good one was, what failed in it, the clocks of the others, and how long clients keep
//! sessions.

use std::fs;
use std::io;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Check, Topic};
use crate::agent::status::StaleFor;
use crate::config::Config;
use crate::paths::Paths;
use crate::reconcile::report::{Fault, Outcome, Report};
use crate::reconcile::words::{ago, span};
use crate::state::{State, VisitMemory};

/// What a client does whose settings say nothing, in days.
const USUAL_RETENTION: u32 = 30;
/// A clock that is off by more than this is spoken of, in seconds. Nothing is decided by it.
const TOLERANCE: i64 = 300;
/// Off by more than this, a clock makes the newest message of what diverged meaningless: a day, in seconds.
const FAR_OFF: i64 = 86_400;
/// Longest visit that is likely: by so much the far clock may have been read earlier than the visit's end.
const LONGEST_VISIT: TimeDelta = TimeDelta::minutes(15);

/// How long a client keeps sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retention {
    /// So many days.
    Days(u32),
    /// The settings cannot be read.
    Unknown,
}

/// A codespace or machine, as its last visits left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Far {
    name: String,
    /// Seconds that its clock was ahead of this machine's.
    skew: Option<i64>,
    retention_days: Option<u32>,
    failing: Option<DateTime<Utc>>,
    outcome: String,
}

/// Everything that was gathered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    last_good: Option<DateTime<Utc>>,
    listing: Option<Fault>,
    far: Vec<Far>,
    stale_after: Duration,
    /// What the agent counts, by time awake and online; none where no agent is at work.
    stale: Option<Vec<StaleFor>>,
    /// Somebody is to make passes by itself.
    is_on_duty: bool,
    retention: Retention,
    days: u32,
}

impl Facts {
    pub(super) fn gather(paths: &Paths, config: &Config, stale: Option<Vec<StaleFor>>, is_on_duty: bool) -> Self {
        let state = State::read(&paths.state);
        let report = state.last_report();
        let known = state.visits.iter().filter(|(_, memory)| memory.gone.is_none());
        let far = known.map(|(name, memory)| Far {
            name: name.clone(),
            skew: skew(memory, report.as_ref().and_then(|report| began(report, name))),
            retention_days: memory.retention_days,
            failing: memory.failing,
            outcome: memory.outcome.clone(),
        });
        Self {
            last_good: state.last_good,
            far: far.collect(),
            listing: report.and_then(|report| report.listing),
            stale_after: config.schedule.stale_after.duration(),
            stale,
            is_on_duty,
            retention: retention(paths),
            days: config.sync.days,
        }
    }
}

/// When the last pass began, if it was the one that visited this place.
fn began(report: &Report, name: &str) -> Option<DateTime<Utc>> {
    report.visits.iter().any(|visit| visit.name == name && visit.outcome == Outcome::Visited).then_some(report.began)
}

/// By how many seconds a far clock was ahead (or behind, if negative) at the last visit: it was read some time after the pass began,
/// and before the visit ended, so within that time nothing is wrong.
fn skew(memory: &VisitMemory, began: Option<DateTime<Utc>>) -> Option<i64> {
    let (far, ended) = (memory.quiet.far_clock?, memory.quiet.ended?);
    let began = began.filter(|began| *began <= ended).unwrap_or(ended - LONGEST_VISIT);
    Some((far - ended.timestamp()).max(0) + (far - began.timestamp()).min(0))
}

/// `cleanupPeriodDays` of this machine's client.
fn retention(paths: &Paths) -> Retention {
    let text = match fs::read(paths.claude.join("settings.json")) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Retention::Days(USUAL_RETENTION),
        Err(_) => return Retention::Unknown,
    };
    let Ok(settings) = serde_json::from_slice::<serde_json::Value>(&text) else { return Retention::Unknown };
    match settings.get("cleanupPeriodDays") {
        None => Retention::Days(USUAL_RETENTION),
        Some(days) => days.as_u64().and_then(|days| u32::try_from(days).ok()).map_or(Retention::Unknown, Retention::Days),
    }
}

/// Judges all of it.
pub(super) fn judge(facts: &Facts, now: DateTime<Utc>) -> Vec<Check> {
    let mut checks = last_pass(facts, now);
    checks.extend(clocks(&facts.far));
    checks.extend(retentions(facts));
    checks
}

fn last_pass(facts: &Facts, now: DateTime<Utc>) -> Vec<Check> {
    let mut checks = vec![overall(facts, now)];
    for far in &facts.far {
        let Some(since) = far.failing else { continue };
        let finding = format!("every visit to {} failed, the first {}: {}", far.name, ago(now, since), far.outcome);
        let check = if is_stale(facts, Some(&far.name), since, now) { Check::bad(Topic::LastPass, finding) } else { Check::note(Topic::LastPass, finding) };
        checks.push(check.advise(format!("claude-session-sync sync {}", far.name)));
    }
    // What failed says more than that the pass as a whole was good.
    if checks.len() > 1 && checks[0].verdict == super::Verdict::Good {
        checks.remove(0);
    }
    checks
}

fn overall(facts: &Facts, now: DateTime<Utc>) -> Check {
    let by_hand = "claude-session-sync sync";
    let Some(good) = facts.last_good else {
        return match &facts.listing {
            Some(fault) => Check::note(Topic::LastPass, format!("no good one yet: {}", fault.message)).advise_if(fault.hint.clone()),
            None => Check::note(Topic::LastPass, "none over everything yet").advise(by_hand),
        };
    };
    let finding = format!("the last good one began {}", ago(now, good));
    let why = facts.listing.as_ref().map(|fault| format!(", since then: {}", fault.message)).unwrap_or_default();
    let hint = facts.listing.as_ref().and_then(|fault| fault.hint.clone()).unwrap_or_else(|| by_hand.to_owned());
    match (is_stale(facts, None, good, now), facts.is_on_duty) {
        (true, true) => Check::bad(Topic::LastPass, format!("{finding}{why}")).advise(hint),
        (true, false) => Check::note(Topic::LastPass, format!("{finding}{why}")).advise(hint),
        (false, _) if good > now + TimeDelta::minutes(5) => {
            Check::note(Topic::LastPass, format!("{finding}: this machine's clock was set back")).advise("see whether the clock is right: date")
        }
        (false, _) => Check::good(Topic::LastPass, finding),
    }
}

/// By the agent's count where there is one: a machine that slept is no reason to worry.
fn is_stale(facts: &Facts, name: Option<&str>, since: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    match &facts.stale {
        Some(stale) => stale.iter().any(|stale| stale.name.as_deref() == name),
        None => (now - since).to_std().is_ok_and(|age| age > facts.stale_after),
    }
}

fn clocks(far: &[Far]) -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, skew) in far.iter().filter_map(|far| Some((&far.name, far.skew?))).filter(|(_, skew)| skew.abs() > TOLERANCE) {
        let direction = if skew > 0 { "ahead of" } else { "behind" };
        let finding = format!("{name} was {} {direction} this machine", span(TimeDelta::seconds(skew.abs())));
        let advice = "set the clock that is wrong; what was continued on both sides is ordered by its times";
        checks.push(if skew.abs() > FAR_OFF { Check::bad(Topic::Clocks, finding) } else { Check::note(Topic::Clocks, finding) }.advise(advice));
    }
    if checks.is_empty() {
        let known = far.iter().filter(|far| far.skew.is_some()).count();
        checks.push(Check::good(
            Topic::Clocks,
            if known == 0 { "none was seen yet".to_owned() } else { format!("{known} seen, none off by more than {} min", TOLERANCE / 60) },
        ));
    }
    checks
}

fn retentions(facts: &Facts) -> Vec<Check> {
    let mut checks = Vec::new();
    let settings = "`cleanupPeriodDays` in the client's settings.json";
    let here = match facts.retention {
        Retention::Days(days) => Some(days),
        Retention::Unknown => {
            checks.push(Check::note(Topic::Retention, "the client's settings.json here cannot be read").advise("the client does not read it either: mend it"));
            None
        }
    };
    let there = facts.far.iter().map(|far| (far.name.as_str(), far.retention_days.unwrap_or(USUAL_RETENTION)));
    for (name, days) in here.map(|days| ("here", days)).into_iter().chain(there) {
        // A session is created where it is missing only if it is younger than the retention period less one day.
        let taken = days.saturating_sub(1);
        let place = if name == "here" { name.to_owned() } else { format!("in {name}") };
        if days == 0 {
            checks.push(Check::bad(Topic::Retention, format!("the client {place} keeps no sessions")).advise(format!("raise {settings} {place}")));
        } else if taken < facts.days {
            let finding = format!("the client {place} deletes after {days} days, so the window is {taken} days there, not {}", facts.days);
            checks.push(Check::note(Topic::Retention, finding).advise(format!("raise {settings} {place}, or lower [sync] days")));
        }
    }
    if checks.is_empty() {
        checks.push(Check::good(Topic::Retention, format!("{} days here, the window is {}", here.unwrap_or(USUAL_RETENTION), facts.days)));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;
    use crate::reconcile::report::FaultKind;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn facts() -> Facts {
        Facts {
            last_good: Some(now() - TimeDelta::minutes(30)),
            listing: None,
            far: vec![Far { name: "otter".to_owned(), skew: Some(3), retention_days: None, failing: None, outcome: String::new() }],
            stale_after: Duration::from_secs(6 * 3600),
            stale: None,
            is_on_duty: true,
            retention: Retention::Days(30),
            days: 7,
        }
    }

    /// What is not good.
    fn found(change: impl FnOnce(&mut Facts)) -> Vec<(&'static str, Verdict)> {
        let mut facts = facts();
        change(&mut facts);
        judge(&facts, now()).iter().filter(|check| check.verdict != Verdict::Good).map(|check| (check.topic.word(), check.verdict)).collect()
    }

    #[test]
    fn a_good_pass_of_late_is_good_and_none_a_note() {
        assert_eq!(found(|_| {}), []);
        assert_eq!(found(|facts| facts.last_good = None), [("last-pass", Verdict::Note)]);
        assert_eq!(found(|facts| (facts.last_good, facts.listing) = (None, Some(Fault::new(FaultKind::Network, "x")))), [("last-pass", Verdict::Note)]);
        assert_eq!(found(|facts| facts.last_good = Some(now() + TimeDelta::days(1))), [("last-pass", Verdict::Note)]);
    }

    #[test]
    fn an_old_one_is_bad_where_somebody_should_have_made_another() {
        let old = Some(now() - TimeDelta::hours(7));
        assert_eq!(found(|facts| facts.last_good = old), [("last-pass", Verdict::Bad)]);
        assert_eq!(found(|facts| (facts.last_good, facts.is_on_duty) = (old, false)), [("last-pass", Verdict::Note)]);
        assert_eq!(found(|facts| (facts.last_good, facts.stale) = (old, Some(Vec::new()))), [], "the agent says that the machine slept");
        let stale = StaleFor { name: None, seconds: 30_000 };
        assert_eq!(found(|facts| facts.stale = Some(vec![stale])), [("last-pass", Verdict::Bad)]);
    }

    #[test]
    fn a_place_that_fails_is_a_note_first_and_bad_later() {
        let failing = |hours| found(|facts| facts.far[0].failing = Some(now() - TimeDelta::hours(hours)));
        assert_eq!(failing(1), [("last-pass", Verdict::Note)]);
        assert_eq!(failing(7), [("last-pass", Verdict::Bad)]);
    }

    #[test]
    fn a_far_clock_is_compared_with_the_time_in_which_it_was_read() {
        let memory = |far: i64| {
            let mut memory = VisitMemory::default();
            (memory.quiet.far_clock, memory.quiet.ended) = (Some(now().timestamp() + far), Some(now()));
            memory
        };
        let began = Some(now() - TimeDelta::seconds(20));
        assert_eq!([-20, -7, 0].map(|far| skew(&memory(far), began)), [Some(0); 3]);
        assert_eq!((skew(&memory(400), began), skew(&memory(-420), began)), (Some(400), Some(-400)));
        assert_eq!((skew(&memory(-600), None), skew(&VisitMemory::default(), began)), (Some(0), None), "of an older pass only the end is known");
        assert_eq!(found(|facts| facts.far[0].skew = Some(-301)), [("clocks", Verdict::Note)]);
        assert_eq!(found(|facts| facts.far[0].skew = Some(90_000)), [("clocks", Verdict::Bad)]);
    }

    #[test]
    fn a_client_that_deletes_within_the_window_is_a_note() {
        assert_eq!(found(|facts| facts.retention = Retention::Days(8)), []);
        assert_eq!(found(|facts| facts.retention = Retention::Days(7)), [("retention", Verdict::Note)]);
        assert_eq!(found(|facts| facts.retention = Retention::Days(0)), [("retention", Verdict::Bad)]);
        assert_eq!(found(|facts| facts.retention = Retention::Unknown), [("retention", Verdict::Note)]);
        assert_eq!(found(|facts| facts.far[0].retention_days = Some(3)), [("retention", Verdict::Note)]);
    }
}
