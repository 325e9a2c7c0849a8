//! The quiet rule in a pass: who is held back, and what a connection leaves for the rule to go by.
//!
//! Promises: a `sync` by hand visits whatever runs. What is held back is in the report with its reason. A connection that failed is
//! remembered like one that went well: GitHub took both for activity.

use std::collections::BTreeMap;

use chrono::{DateTime, Local, Utc};
use uuid::Uuid;

use super::Options;
use super::target::{NameError, Reach, Target, choose};
use crate::codespace::github::Codespace;
use crate::codespace::wire::Listing;
use crate::config::{Config, IdlePolicy};
use crate::reconcile::activity::{Activity, Before, Seen, activity};
use crate::reconcile::quiet::{Occasion, Policy, Shown, Verdict, verdict};
use crate::reconcile::report::Fault;
use crate::state::{QuietMemory, ReplicaMemory, State, VisitMemory};

/// A machine that was not seen for so long, by the far clock, visits no more: 14 days, in seconds.
const FORGOTTEN_AFTER: i64 = 14 * 24 * 3600;

/// Whether an attempt got as far as GitHub, which takes every connection for activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// It ended on this machine, or GitHub refused it.
    None,
    /// It may have.
    Made,
}

/// What the configuration wants.
#[must_use]
pub fn policy(config: &Config) -> Policy {
    match config.sync.idle_policy {
        IdlePolicy::Quiet => Policy::Quiet,
        IdlePolicy::Always => Policy::Always,
    }
}

/// A codespace as GitHub's list shows it.
#[must_use]
pub fn shown(codespace: &Codespace) -> Shown {
    Shown { available: codespace.may_be_visited(), episode: codespace.last_used_at, idle_timeout_minutes: codespace.idle_timeout_minutes }
}

/// When the next pass will visit a codespace, as far as the last listing knows; none once GitHub's list lacks it.
#[must_use]
pub fn next(memory: &VisitMemory, config: &Config, now: DateTime<Utc>) -> Option<Verdict> {
    let VisitMemory { available, listed_episode, idle_timeout_minutes, .. } = *memory;
    let shown = Shown { available, episode: listed_episode, idle_timeout_minutes };
    memory.gone.is_none().then(|| verdict(&memory.quiet.remembered(), &shown, Occasion::Pass, policy(config), now))
}

/// The targets that the options mean. The agent's are held back where no visit is due. Between GitHub's list and the pass of a look a
/// codespace may be gone, which is no error.
///
/// # Errors
/// A name that fits nothing, or is the beginning of several.
pub fn chosen(targets: Vec<Target>, options: &Options, state: &State, config: &Config, now: DateTime<Utc>) -> Result<Vec<Target>, NameError> {
    let mut chosen = match options.occasion {
        _ if options.lent.is_some() => targets.into_iter().filter(|target| options.lent.as_ref().is_some_and(|lent| lent.name == target.name)).collect(),
        Some(Occasion::Look) => targets.into_iter().filter(|target| options.names.contains(&target.name)).collect(),
        Some(Occasion::Pass) | None => choose(targets, &options.names, options.dot.as_ref())?,
    };
    if let Some(occasion) = options.occasion {
        hold_back(&mut chosen, state, occasion, config, now);
    }
    Ok(chosen)
}

/// What is not due on this occasion is not visited, and says why.
fn hold_back(targets: &mut [Target], state: &State, occasion: Occasion, config: &Config, now: DateTime<Utc>) {
    for target in targets.iter_mut().filter(|target| target.not_visited.is_none()) {
        target.not_visited = match &target.reach {
            Reach::Machine(_) => (occasion == Occasion::Look).then(|| "a machine is visited at every pass, and not between them".to_owned()),
            Reach::Codespace(codespace) => {
                let remembered = state.visits.get(&target.name).map(|memory| memory.quiet.remembered()).unwrap_or_default();
                let verdict = verdict(&remembered, &shown(codespace), occasion, policy(config), now);
                let words = verdict.words(now, &Local);
                tracing::debug!(name = %target.name, due = verdict.is_due(), why = %words, "asked the quiet rule");
                (!verdict.is_due()).then_some(words)
            }
        };
    }
}

/// A clock that was set back must not make a codespace wait for the time that was.
pub fn heal(state: &mut State, now: DateTime<Utc>) {
    for memory in state.visits.values_mut() {
        memory.quiet.ended = memory.quiet.remembered().healed(now).ended;
    }
}

/// What gave away that the user was at work since the last listing there.
#[must_use]
pub fn activity_seen(listing: &Listing, memory: &QuietMemory, replica: Option<&ReplicaMemory>, target: &Target) -> Option<Activity> {
    let idle_timeout_minutes = match &target.reach {
        Reach::Codespace(codespace) => codespace.idle_timeout_minutes,
        Reach::Machine(_) => None,
    };
    let files = replica.iter().flat_map(|replica| &replica.files).map(|(path, file)| (path, file.stamp)).collect();
    let before = Before { clock: memory.far_clock, files, live: memory.live.clone() };
    let seen = Seen {
        clock: listing.clock,
        idle_timeout_minutes,
        files: listing.files.iter().map(|file| (&file.path, file.stamp)).collect(),
        pushed: &listing.pushed,
        live: listing.live.iter().map(|live| (live.session, live.updated_at)).collect(),
    };
    activity(&before, &seen)
}

/// How many machines other than `own` visit: those that were there within 14 days.
#[must_use]
pub fn others(agents: &BTreeMap<Uuid, i64>, own: Option<Uuid>, clock: i64) -> u32 {
    let counted = agents.iter().filter(|(id, at)| Some(**id) != own && clock.saturating_sub(**at) <= FORGOTTEN_AFTER).count();
    u32::try_from(counted).unwrap_or(u32::MAX)
}

/// What a listing there showed, whatever came after it.
pub fn looked(memory: &mut QuietMemory, listing: &Listing, own: Option<Uuid>, activity: Option<&Activity>) {
    memory.active = activity.is_some();
    memory.others = others(&listing.agents, own, listing.clock);
    memory.far_clock = Some(listing.clock);
    memory.live = listing.live.iter().map(|live| (live.session, live.updated_at)).collect();
}

/// The end of a connection, and why it failed if it did. An attempt that reached nobody counts as one failure, however often: it
/// was no activity, and the next pass, but no look, tries again.
pub fn ended(memory: &mut QuietMemory, target: &Target, at: DateTime<Utc>, contact: Contact, fault: Option<&Fault>) {
    let episode = match &target.reach {
        Reach::Codespace(codespace) => codespace.last_used_at,
        Reach::Machine(_) => None,
    };
    if memory.episode != episode {
        memory.failures = 0;
    }
    (memory.episode, memory.ended) = (episode, Some(at));
    (memory.failures, memory.heals) = match (fault, contact) {
        (None, _) => (0, false),
        (Some(_), Contact::None) => (memory.failures.max(1), true),
        (Some(fault), Contact::Made) => (memory.failures.saturating_add(1), !fault.permanent),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_those_that_were_there_within_two_weeks() {
        let id = |n: u128| Uuid::from_u128(n);
        let clock = 1_800_000_000;
        let agents = [(id(1), clock), (id(2), clock - 3600), (id(3), clock - FORGOTTEN_AFTER), (id(4), clock - FORGOTTEN_AFTER - 1), (id(5), clock + 9)].into();
        assert_eq!(others(&agents, Some(id(1)), clock), 3);
        assert_eq!(others(&agents, None, clock), 4);
        assert_eq!(others(&BTreeMap::new(), Some(id(1)), clock), 0);
    }

    fn target() -> Target {
        let codespace = serde_json::json!({"name": "a-1", "state": "Available", "last_used_at": "2026-08-02T09:12:40Z"});
        Target::codespace(serde_json::from_value(codespace).unwrap(), &Config::defaults(std::path::Path::new("/home/dev")))
    }

    #[test]
    fn failures_add_up_within_a_run_and_those_that_reached_nobody_do_not() {
        let (target, at) = (target(), DateTime::UNIX_EPOCH);
        let fault = |permanent| Fault { permanent, ..Fault::new(crate::reconcile::report::FaultKind::Other, "no") };
        let mut memory = QuietMemory::default();
        for failures in 1..=2 {
            ended(&mut memory, &target, at, Contact::Made, Some(&fault(false)));
            assert_eq!((memory.failures, memory.heals), (failures, true));
        }
        ended(&mut memory, &target, at, Contact::Made, Some(&fault(true)));
        assert_eq!((memory.failures, memory.heals, memory.ended), (3, false, Some(at)));
        ended(&mut memory, &target, at, Contact::None, Some(&fault(true)));
        assert_eq!((memory.failures, memory.heals), (3, true), "the user may mend this machine at any time");
        ended(&mut memory, &target, at, Contact::Made, None);
        assert_eq!((memory.failures, memory.heals), (0, false));
        memory = QuietMemory { failures: 7, episode: Some(at), ..memory };
        ended(&mut memory, &target, at, Contact::Made, Some(&fault(false)));
        assert_eq!(memory.failures, 1, "another run");
    }
}
