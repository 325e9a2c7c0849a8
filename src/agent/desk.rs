//! The agent's desk: every event comes here, and what is to be done goes out. The only place that decides.
//!
//! What a person must mend is the list's (the account), this machine's, or one place's; each is over when that very thing goes well.
//!
//! Promises: pure, and one thing at a time: while a pass or a look is under way nothing else begins; rings during a pass become
//! exactly one more. A sleep of the machine, a clock that was set, a network that is gone cost nothing but time. Never: two
//! passes at once, or a burst after a sleep.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::backoff::list_again;
use super::bell::Ring;
use super::clock::{Jump, Moment};
use super::stale::Stale;
use super::status::{Concern, Doing, LastPass, StaleFor};
use super::work::{Errand, Expiring, LookEnd, PassEnd, PassOutcome};
use crate::reconcile::report::{Fault, FaultKind};

/// The longest time between two pulses.
pub const PULSE: Duration = Duration::from_secs(120);
/// How soon a pass that found another one under way is tried again.
const AFTER_ANOTHER: Duration = Duration::from_secs(60);
/// How long after a sleep of the machine a look waits: the schedule notices it within a minute, and its pass is a look as well. The
/// network needs a moment, too.
const AFTER_SLEEP: Duration = Duration::from_secs(90);

/// A pass that takes longer waits for something that does not come: a disk of the network that is gone, for one.
const LONGEST_PASS: Duration = Duration::from_secs(2 * 3600);

/// What comes to the desk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The bell was rung.
    Rung(BTreeSet<Ring>),
    /// Time has passed; at least one each [`PULSE`].
    Pulse,
    /// The pass is over.
    PassEnded(PassEnd),
    /// The look is over.
    LookEnded(LookEnd),
    /// The configuration was read anew.
    Settled(Rules),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Begin a pass.
    Pass(Errand),
    /// Begin a look.
    Look,
    /// Tell the log.
    Tell(News),
    /// Tell the user, if nobody did so today.
    Notify(Concern),
}

/// What the log is told once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The machine slept, or its clock was set.
    Jumped(Jump),
    /// No good pass for too long.
    Stale(StaleFor),
    /// A codespace will be deleted soon.
    Expiring(Expiring),
}

/// What of the configuration the desk goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Between two looks; zero for none.
    pub look: Duration,
    /// Awake and online without a good pass.
    pub stale_after: Duration,
}

/// The desk.
#[derive(Debug)]
pub struct Desk {
    rules: Rules,
    before: Moment,
    doing: Doing,
    pending: BTreeSet<Ring>,
    /// Found due by the last look, and not visited yet.
    due: BTreeSet<String>,
    /// On the clock of time awake.
    look_at: Duration,
    again_at: Option<Duration>,
    /// The pass under way is for some only.
    partial: bool,
    /// When it began, on the clock of time awake.
    passing: Duration,
    /// Failures of the list in a row.
    list_failures: u32,
    /// The last of them was for want of a network: such time makes nothing stale.
    is_offline: bool,
    stale: Stale,
    told_expiring: BTreeSet<String>,
    /// The last pass.
    pub last_pass: Option<LastPass>,
    /// When the last good pass began.
    pub last_good: Option<DateTime<Utc>>,
    /// When GitHub was last asked.
    pub last_look: Option<DateTime<Utc>>,
    /// When the next look may find a visit due.
    pub next_visit: Option<DateTime<Utc>>,
    /// Codespaces that will be deleted.
    pub expiring: Vec<Expiring>,
    /// What a person must mend.
    concerns: BTreeMap<Whose, Concern>,
}

/// What goes well again before a concern is over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    /// The list: the account's.
    List,
    /// The pass: this machine's.
    Pass,
    /// The pass that is under way.
    UnderWay,
    /// A disk of this machine.
    Disk,
    /// The visit to one place.
    Place(String),
}

impl Desk {
    /// A desk at rest. The first look is one interval away: the first pass, if it is due, comes from the bell.
    #[must_use]
    pub fn new(rules: Rules, now: Moment, last_good: Option<DateTime<Utc>>) -> Self {
        Self {
            rules,
            before: now,
            doing: Doing::Idle,
            pending: BTreeSet::new(),
            due: BTreeSet::new(),
            look_at: now.awake + rules.look,
            again_at: None,
            partial: false,
            passing: Duration::ZERO,
            list_failures: 0,
            is_offline: false,
            stale: Stale::default(),
            told_expiring: BTreeSet::new(),
            last_pass: None,
            last_good,
            last_look: None,
            next_visit: None,
            expiring: Vec::new(),
            concerns: BTreeMap::new(),
        }
    }

    /// What the agent is doing.
    #[must_use]
    pub fn doing(&self) -> &Doing {
        &self.doing
    }

    /// What a person must mend.
    #[must_use]
    pub fn concerns(&self) -> Vec<Concern> {
        self.concerns.values().cloned().collect()
    }

    /// What has had no good pass for too long.
    #[must_use]
    pub fn stale(&self) -> Vec<StaleFor> {
        self.stale.over(self.rules.stale_after)
    }

    /// How long the desk can be left alone, from a moment on.
    #[must_use]
    pub fn rest(&self, now: Moment) -> Duration {
        let idle = self.doing == Doing::Idle;
        let look = (idle && !self.rules.look.is_zero()).then_some(self.look_at);
        let next = look.into_iter().chain(self.again_at.filter(|_| idle)).min();
        next.map_or(PULSE, |next| next.saturating_sub(now.awake).min(PULSE))
    }

    /// Takes an event, and says what is to be done.
    pub fn handle(&mut self, event: Event, now: Moment) -> Vec<Act> {
        let mut acts = self.time_passed(now);
        match event {
            Event::Rung(rings) => self.pending.extend(rings),
            Event::Pulse => {}
            Event::PassEnded(end) => self.pass_ended(end, now, &mut acts),
            Event::LookEnded(end) => self.look_ended(end, now, &mut acts),
            Event::Settled(rules) => {
                self.rules = rules;
                self.look_at = self.look_at.min(now.awake + rules.look);
            }
        }
        acts.extend(self.next(now));
        acts
    }

    fn time_passed(&mut self, now: Moment) -> Vec<Act> {
        let mut acts = Vec::new();
        let awake = now.awake.saturating_sub(self.before.awake);
        let jump = now.since(self.before);
        self.before = now;
        if let Jump::Forward(_) = jump {
            // The network may be back with the machine: what waits for it gets its chance soon.
            self.look_at = now.awake + AFTER_SLEEP;
        }
        if jump != Jump::None {
            acts.push(Act::Tell(News::Jumped(jump)));
        }
        if !self.is_offline {
            acts.extend(self.stale.pass_time(awake, self.rules.stale_after).into_iter().map(News::Stale).map(Act::Tell));
        }
        if matches!(self.doing, Doing::Passing { .. }) && now.awake.saturating_sub(self.passing) > LONGEST_PASS {
            self.concern(Whose::UnderWay, Some(endless()), &mut acts);
        }
        if self.again_at.is_some_and(|at| at <= now.awake) {
            self.again_at = None;
            self.pending.insert(Ring::Again);
        }
        acts
    }

    fn pass_ended(&mut self, end: PassEnd, now: Moment, acts: &mut Vec<Act>) {
        self.doing = Doing::Idle;
        self.concern(Whose::UnderWay, None, acts);
        let PassEnd { began, ended, summary, outcome, disk, places, running } = end;
        if outcome == PassOutcome::Busy {
            self.again_at = Some(now.awake + AFTER_ANOTHER);
            return;
        }
        let concern = disk.as_ref().and_then(|fault| Concern::of(fault, None));
        self.concern(Whose::Disk, concern, acts);
        for place in &places {
            self.stale.note(&place.name, place.fault.is_none());
            let concern = place.fault.as_ref().and_then(|fault| Concern::of(fault, Some(&place.name)));
            self.concern(Whose::Place(place.name.clone()), concern, acts);
        }
        let good = outcome == PassOutcome::Made;
        self.last_pass = Some(LastPass { began, ended, summary, good });
        if good && !self.partial {
            self.last_good = Some(began);
            self.stale.note_pass();
        }
        self.only_of(running);
        let (listed, failed) = match outcome {
            PassOutcome::Made | PassOutcome::Busy => (Some(None), None),
            PassOutcome::Unlisted(fault) => (Some(Some(fault)), None),
            PassOutcome::Failed(fault) => (None, Some(fault)),
        };
        self.concern(Whose::Pass, failed.and_then(|fault| Concern::of(&fault, None)), acts);
        self.look_at = now.awake + self.rules.look;
        if let Some(fault) = listed {
            // A pass that went to GitHub is a look as well.
            self.last_look = Some(began);
            self.listed(fault, None, now, acts);
        }
    }

    fn look_ended(&mut self, end: LookEnd, now: Moment, acts: &mut Vec<Act>) {
        self.doing = Doing::Idle;
        self.last_look = Some(now.wall);
        let LookEnd { due, next, expiring, running, fault, retry_after } = end;
        let lost = self.list_failures > 0;
        let failed = fault.is_some();
        self.listed(fault, retry_after.map(Duration::from_secs), now, acts);
        if failed {
            return;
        }
        if lost {
            self.pending.insert(Ring::Recovered);
        }
        self.only_of(running);
        self.next_visit = next;
        for codespace in expiring.iter().filter(|codespace| !self.told_expiring.contains(&codespace.name)) {
            acts.push(Act::Tell(News::Expiring(codespace.clone())));
        }
        acts.extend(expiring.iter().map(|codespace| Act::Notify(deletion(codespace))));
        self.told_expiring = expiring.iter().map(|codespace| codespace.name.clone()).collect();
        self.expiring = expiring;
        self.due = due;
        if !self.due.is_empty() {
            self.pending.insert(Ring::Look);
        }
    }

    /// The list was had, or not; by a pass or by a look.
    fn listed(&mut self, fault: Option<Fault>, wish: Option<Duration>, now: Moment, acts: &mut Vec<Act>) {
        let concern = fault.as_ref().and_then(|fault| Concern::of(fault, None));
        self.concern(Whose::List, concern, acts);
        self.is_offline = fault.as_ref().is_some_and(|fault| fault.kind == FaultKind::Network);
        match fault {
            Some(_) => {
                self.list_failures = self.list_failures.saturating_add(1);
                self.look_at = now.awake + list_again(self.list_failures, wish);
            }
            None => {
                self.list_failures = 0;
                self.look_at = now.awake + self.rules.look;
            }
        }
    }

    /// What does not run has nothing that could be mended or be late.
    fn only_of(&mut self, running: Option<BTreeSet<String>>) {
        if let Some(running) = running {
            self.stale.only_of(&running);
            self.concerns.retain(|whose, _| !matches!(whose, Whose::Place(name) if !running.contains(name)));
        }
    }

    fn concern(&mut self, whose: Whose, concern: Option<Concern>, acts: &mut Vec<Act>) {
        match concern {
            None => drop(self.concerns.remove(&whose)),
            Some(concern) => {
                acts.push(Act::Notify(concern.clone()));
                self.concerns.insert(whose, concern);
            }
        }
    }

    /// Begins what waits, if nothing is under way.
    fn next(&mut self, now: Moment) -> Option<Act> {
        if self.doing != Doing::Idle {
            return None;
        }
        if !self.pending.is_empty() {
            let rings = std::mem::take(&mut self.pending);
            let due = std::mem::take(&mut self.due);
            self.again_at = None;
            let only = (rings == BTreeSet::from([Ring::Look])).then_some(due);
            self.partial = only.is_some();
            self.passing = now.awake;
            self.doing = Doing::Passing { since: now.wall, rings: rings.iter().copied().collect() };
            return Some(Act::Pass(Errand { rings, only }));
        }
        if !self.rules.look.is_zero() && self.look_at <= now.awake {
            self.doing = Doing::Looking;
            return Some(Act::Look);
        }
        None
    }
}

fn endless() -> Concern {
    let message = format!("a pass has been under way for more than {} hours", LONGEST_PASS.as_secs() / 3600);
    let hint = "is a disk of the network gone? then: claude-session-sync service restart".to_owned();
    Concern { about: FaultKind::Other, name: None, message, hint: Some(hint) }
}

/// What a person is told about a codespace that will be deleted.
#[must_use]
pub fn deletion(codespace: &Expiring) -> Concern {
    let message = format!("GitHub deletes it on {}: {}", codespace.at.format("%Y-%m-%d"), codespace.why);
    Concern { about: FaultKind::Deletion, name: Some(codespace.name.clone()), message, hint: Some(codespace.hint.clone()) }
}
