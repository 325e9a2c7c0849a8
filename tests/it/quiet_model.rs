//! A model of a codespace that GitHub stops when it is idle, of its user, and of machines that visit it by the quiet rule. One step
//! is one minute. The rule and the judgement of what is work are the program's own.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use claude_session_sync::reconcile::activity::{Activity, Before, Pushed, Seen, activity};
use claude_session_sync::reconcile::manifest::{SessionId, Stamp, StorePath};
use claude_session_sync::reconcile::quiet::{Because, Occasion, Policy, Remembered, Shown, Verdict, verdict};

use crate::dice::Dice;

/// Minutes since the model began.
pub(crate) type Minute = i64;

impl Dice {
    /// From 0 on, below this.
    pub(crate) fn minutes(&mut self, end: Minute) -> Minute {
        self.roll(end.unsigned_abs()).cast_signed()
    }
}

pub(crate) fn at(minute: Minute) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::minutes(minute)
}

/// By the far clock, which is two minutes fast.
fn far(minute: Minute) -> i64 {
    at(minute + 2).timestamp()
}

fn transcript(session: u32) -> StorePath {
    format!("-w/{session:08x}-ce51-4e00-8a05-674dde6aa368.jsonl").parse().unwrap()
}

/// What the user does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Does {
    #[default]
    Nothing,
    /// Uses the codespace, but not the client; starts it if it is stopped.
    Edits,
    /// Talks with the client there, which writes.
    Works,
}

/// One codespace.
pub(crate) struct Codespace {
    /// What GitHub shows of its idle timeout.
    pub(crate) shown: Option<u32>,
    /// What holds.
    pub(crate) timeout: Minute,
    /// It is stopped so many minutes after its start, whatever happens.
    pub(crate) cap: Option<Minute>,
    /// A client that nobody uses is open in a terminal whenever it runs.
    pub(crate) idle_client: bool,
    /// When it was last started.
    pub(crate) started: Minute,
    pub(crate) running: bool,
    /// So late GitHub stops it, this time.
    lag: Minute,
    signal: Minute,
    files: BTreeMap<StorePath, Stamp>,
    pushed: BTreeSet<Pushed>,
    agents: BTreeMap<usize, Minute>,
    inode: u64,
}

impl Codespace {
    pub(crate) fn new(shown: Option<u32>) -> Self {
        let timeout = i64::from(shown.unwrap_or(240));
        let (files, pushed, agents) = Default::default();
        Self { shown, timeout, cap: None, idle_client: false, started: 0, running: false, lag: 0, signal: 0, files, pushed, agents, inode: 1 }
    }

    fn start(&mut self, now: Minute) {
        if !self.running {
            (self.running, self.started) = (true, now);
        }
        self.signal = now;
    }

    fn write(&mut self, path: StorePath, inode: u64, modified: i64) -> Stamp {
        let size = self.files.get(&path).map_or(0, |was| was.size) + 1;
        let stamp = Stamp { inode, size, modified: modified * 1_000_000_000, changed: 0 };
        self.files.insert(path, stamp);
        stamp
    }

    fn step(&mut self, now: Minute, does: Does, dice: &mut Dice) {
        if does != Does::Nothing {
            self.start(now);
        }
        if does == Does::Works {
            self.write(transcript(0), 1, far(now));
        }
        let idle = now - self.signal >= self.timeout + self.lag;
        if self.running && (idle || self.cap.is_some_and(|cap| now - self.started >= cap)) {
            self.running = false;
            self.lag = dice.minutes(4);
        }
    }

    /// A push by a machine: a new file in place of the old one, with the time of a message that is younger than the last visit.
    fn push(&mut self, laptop: usize, now: Minute) {
        self.inode += 1;
        let stamp = self.write(transcript(u32::try_from(laptop).unwrap() + 1), self.inode, far(now) - 30);
        self.pushed.insert(Pushed::of(stamp));
    }

    fn live(&self) -> Vec<(SessionId, u64)> {
        let opened = u64::try_from(far(self.started) * 1000).unwrap();
        if self.idle_client { vec![(transcript(0).session, opened)] } else { Vec::new() }
    }
}

/// A machine that visits.
pub(crate) struct Laptop {
    pub(crate) name: usize,
    /// The minute of the hour of its passes, and of its looks; none without looks.
    pub(crate) pass_at: Minute,
    pub(crate) looks_every: Option<Minute>,
    /// Asleep at these minutes of the day.
    pub(crate) sleeps: std::ops::Range<Minute>,
    /// It counts the other machines; the rule without that is tried, too.
    pub(crate) counts_others: bool,
    pub(crate) remembered: Remembered,
    missed: bool,
    clock: Option<i64>,
    files: BTreeMap<StorePath, Stamp>,
    live: Vec<(SessionId, u64)>,
}

/// One visit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Visit {
    pub(crate) laptop: usize,
    pub(crate) at: Minute,
    /// When the codespace had been started.
    pub(crate) episode: Minute,
    pub(crate) because: Because,
    /// It saw the user at work.
    pub(crate) fruitful: bool,
}

impl Laptop {
    pub(crate) fn new(name: usize, dice: &mut Dice) -> Self {
        let (files, live) = Default::default();
        let (pass_at, looks_every) = (dice.minutes(60), Some(5));
        Self { name, pass_at, looks_every, sleeps: 0..0, counts_others: true, remembered: Remembered::default(), missed: false, clock: None, files, live }
    }

    fn awake(&self, now: Minute) -> bool {
        let of_day = now.rem_euclid(24 * 60);
        !self.sleeps.contains(&of_day) && !self.sleeps.contains(&(of_day + 24 * 60))
    }

    /// What it does at this minute; after a sleep, a pass that was missed is made up for at once.
    pub(crate) fn occasion(&mut self, now: Minute) -> Option<Occasion> {
        let pass = now.rem_euclid(60) == self.pass_at;
        if !self.awake(now) {
            self.missed |= pass;
            return None;
        }
        if pass || std::mem::take(&mut self.missed) {
            return Some(Occasion::Pass);
        }
        self.looks_every.filter(|every| now.rem_euclid(*every) == self.pass_at % every).map(|_| Occasion::Look)
    }

    /// Asks the rule, and visits if it says so.
    pub(crate) fn acts(&mut self, occasion: Occasion, codespace: &mut Codespace, now: Minute) -> Option<Visit> {
        let shown = Shown { available: codespace.running, episode: Some(at(codespace.started)), idle_timeout_minutes: codespace.shown };
        let Verdict::Due(because) = verdict(&self.remembered, &shown, occasion, Policy::Quiet, at(now)) else { return None };
        Some(self.visits(codespace, now, because))
    }

    /// Visits: that is activity at GitHub, leaves a note there, and may push.
    pub(crate) fn visits(&mut self, codespace: &mut Codespace, now: Minute, because: Because) -> Visit {
        codespace.signal = now;
        codespace.agents.insert(self.name, now);
        let before =
            Before { clock: self.clock, files: self.files.iter().map(|(path, stamp)| (path, *stamp)).collect(), live: self.live.iter().copied().collect() };
        let files = codespace.files.iter().map(|(path, stamp)| (path, *stamp)).collect();
        let seen = Seen { clock: far(now), idle_timeout_minutes: codespace.shown, files, pushed: &codespace.pushed, live: codespace.live() };
        let saw: Option<Activity> = activity(&before, &seen);
        codespace.push(self.name, now);
        let others = codespace.agents.iter().filter(|(name, seen)| **name != self.name && now - **seen <= 14 * 24 * 60).count();
        let others = if self.counts_others { u32::try_from(others).unwrap() } else { 0 };
        let episode = Some(at(codespace.started));
        self.remembered = Remembered { episode, ended: Some(at(now)), active: saw.is_some(), others, trouble: None };
        (self.clock, self.files, self.live) = (Some(far(now)), codespace.files.clone(), codespace.live());
        Visit { laptop: self.name, at: now, episode: codespace.started, because, fruitful: saw.is_some() }
    }
}

/// Everything together.
pub(crate) struct World {
    pub(crate) codespace: Codespace,
    pub(crate) laptops: Vec<Laptop>,
    pub(crate) visits: Vec<Visit>,
    /// The runs of the codespace that ended: from, to.
    pub(crate) runs: Vec<(Minute, Minute)>,
    pub(crate) dice: Dice,
}

impl World {
    pub(crate) fn new(shown: Option<u32>, laptops: usize, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let laptops = (0..laptops).map(|name| Laptop::new(name, &mut dice)).collect();
        Self { codespace: Codespace::new(shown), laptops, visits: Vec::new(), runs: Vec::new(), dice }
    }

    /// Goes through these minutes; `user` says what the user does in each.
    pub(crate) fn run(&mut self, minutes: std::ops::Range<Minute>, user: impl Fn(Minute) -> Does) {
        for now in minutes {
            let ran = self.codespace.running;
            self.codespace.step(now, user(now), &mut self.dice);
            if ran && !self.codespace.running {
                self.runs.push((self.codespace.started, now));
            }
            let first = usize::try_from(self.dice.minutes(2)).unwrap();
            for turn in 0..self.laptops.len() {
                let index = (first + turn) % self.laptops.len();
                let laptop = &mut self.laptops[index];
                let visit = laptop.occasion(now).and_then(|occasion| laptop.acts(occasion, &mut self.codespace, now));
                self.visits.extend(visit);
            }
        }
    }
}
