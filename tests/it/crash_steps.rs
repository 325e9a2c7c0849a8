//! Killed in front of every call that changes something, here and on the far side; then killed again during the recovery.
//!
//! The real program, from outside ([`crate::stepper`]). A step is a call and what it is about; a point is one such call of one run.
//! Every step is killed at its first point, and at as many others as `CLAUDE_SESSION_SYNC_CRASH_POINTS` says (a number, or `all`; else
//! 20); `CLAUDE_SESSION_SYNC_CRASH_AGAIN` says how many recoveries are killed once more, by turns here and on the far side.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::crash_world::{DELETED, FORGOTTEN, Prepared, quick};
use crate::figures::figure;
use crate::stepper::{self, Ended, Stop, Then};
use crate::talk::id;

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    /// The program.
    Here,
    /// Everything on the far side.
    Far,
    /// One tool of the far side, in the middle of the script.
    FarTool,
}

impl Victim {
    fn then(self) -> Then {
        match self {
            Self::Here => Then::KillOwn,
            Self::Far => Then::KillOthers,
            Self::FarTool => Then::KillCaller,
        }
    }

    fn is_far(self) -> bool {
        self != Self::Here
    }

    /// A tool that dies in the stage is one more tool that fails; what matters is what it does to the store and to the vault.
    fn meets(self, step: &str) -> bool {
        self != Self::FarTool || ["/projects/", "/vault/"].iter().any(|part| step.contains(part))
    }
}

/// How many points, or all of them.
pub(crate) fn chosen(variable: &str, usual: usize) -> usize {
    match std::env::var(variable) {
        Ok(word) if word == "all" => usize::MAX,
        Ok(word) => word.parse().unwrap_or_else(|_| panic!("{variable} is a number, or `all`: {word}")),
        Err(_) => usual,
    }
}

/// A call of a run: its step, and the how-manieth of that step. The order of other threads and processes does not change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) step: String,
    pub(crate) nth: usize,
}

/// Runs a command; at the given point the victim is killed. The calls that it came by.
fn run(prepared: &Prepared, arguments: &[&str], victim: Victim, kill_at: Option<&Point>) -> (Ended, Vec<Point>) {
    let mut calls: Vec<Point> = Vec::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let scratch = quick();
    let command = prepared.world.command(&[], arguments);
    let ended = stepper::run(&command, scratch.path(), &mut |call, stop| {
        let is_over = kill_at.is_some() && calls.last() == kill_at;
        let counts_now = stop == Stop::Before && !is_over;
        let Some(step) = counts_now.then(|| prepared.step(call, victim.is_far())).flatten().filter(|step| victim.meets(step)) else { return Then::On };
        let nth = counts.entry(step.clone()).or_default();
        calls.push(Point { step, nth: *nth });
        *nth += 1;
        if calls.last() == kill_at { victim.then() } else { Then::On }
    });
    (ended, calls)
}

/// The points to be killed at: of each step the first, and more, evenly.
pub(crate) fn points(calls: &[Point], more: usize) -> Vec<Point> {
    let stride = calls.len().checked_div(more).map_or(usize::MAX, |stride| stride.max(1));
    let chosen = calls.iter().enumerate().filter(|(at, point)| point.nth == 0 || at % stride == 0 && more > 0);
    chosen.map(|(_, point)| point.clone()).collect()
}

/// One command, and what it is to be killed at.
struct Case {
    arguments: Vec<String>,
    victim: Victim,
}

/// Kills it at its points, on both processors, and so many of its recoveries once more; says how many there were.
fn every_step(what: &str, victim: Victim, again: usize, prepare: &(dyn Fn(&mut Prepared) -> Vec<String> + Sync)) {
    const WORKERS: usize = 2;
    let began = std::time::Instant::now();
    let (more, again) = (chosen("CLAUDE_SESSION_SYNC_CRASH_POINTS", 20), chosen("CLAUDE_SESSION_SYNC_CRASH_AGAIN", again));
    let work = |worker: usize| {
        let mut prepared = Prepared::everything();
        let case = Case { arguments: prepare(&mut prepared), victim };
        case.work(&mut prepared, (worker, WORKERS), more, again)
    };
    let done: Vec<(Vec<Point>, BTreeSet<String>, usize, usize)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|worker| scope.spawn(move || work(worker))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let all: BTreeSet<&String> = done.iter().flat_map(|(calls, ..)| calls).map(|point| &point.step).collect();
    let killed: BTreeSet<&String> = done.iter().flat_map(|(_, killed, ..)| killed).collect();
    let (points, recoveries) = done.iter().fold((0, 0), |(points, again), of| (points + of.2, again + of.3));
    let missed: Vec<_> = all.difference(&killed).collect();
    let line = format!(
        "{what}, {victim:?}: {} calls, {} steps, killed at {points} points, {recoveries} recoveries killed again, {} s",
        done[0].0.len(),
        all.len(),
        began.elapsed().as_secs()
    );
    figure(&line);
    assert!(missed.is_empty(), "never killed at: {missed:#?}");
    assert!(points > 3, "{line}");
}

impl Case {
    fn words(&self) -> Vec<&str> {
        self.arguments.iter().map(String::as_str).collect()
    }

    fn work(&self, prepared: &mut Prepared, (worker, workers): (usize, usize), more: usize, again: usize) -> (Vec<Point>, BTreeSet<String>, usize, usize) {
        prepared.expect(&self.words());
        prepared.put_back();
        let (ended, calls) = run(prepared, &self.words(), self.victim, None);
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        let points = points(&calls, more);
        let mine: Vec<Point> = points.into_iter().enumerate().filter(|(at, _)| at % workers == worker).map(|(_, point)| point).collect();
        let (mut killed, mut twice) = (BTreeSet::new(), 0);
        let every = (mine.len() * workers / again.max(1)).max(1);
        for (count, point) in mine.iter().enumerate() {
            prepared.put_back();
            let (ended, came_by) = run(prepared, &self.words(), self.victim, Some(point));
            if came_by.last() != Some(point) {
                continue;
            }
            assert!(self.victim != Victim::Here || ended.code.is_none(), "it was to be killed at {point:?}: {}", ended.said);
            killed.insert(point.step.clone());
            let when = format!("killed at {point:?}");
            prepared.holds(&when);
            if again > 0 && count % every == 0 {
                let crashed = prepared.copy();
                let victim = if twice % 2 == 0 { Victim::Here } else { Victim::Far };
                twice += self.killed_again(prepared, crashed.path(), &when, (victim, count));
                prepared.put_back_from(crashed.path());
            }
            self.recover(prepared, &when);
            prepared.is_healed(&when);
            if count % 8 == 0 {
                prepared.forgets_its_leftovers(&when);
            }
        }
        (calls, killed, mine.len(), twice)
    }

    /// A verb is said again, for which nobody else finishes it; then two passes.
    fn recover(&self, prepared: &Prepared, when: &str) {
        if self.arguments[0] != "sync" {
            let _ = prepared.world.command(&[], &self.words()).output().unwrap();
        }
        for pass in ["first", "second"] {
            let ran = prepared.world.sync(&[]);
            assert_eq!(ran.code, 0, "{when}, {pass} pass: {ran:?}");
        }
    }

    /// The recovery itself is killed at one of its points, another one each time.
    fn killed_again(&self, prepared: &Prepared, crashed: &Path, when: &str, (victim, seed): (Victim, usize)) -> usize {
        let sync = prepared.world.arguments(&[]);
        let (_, calls) = run(prepared, &sync, victim, None);
        let Some(point) = calls.get(seed * 7919 % calls.len().max(1)) else { return 0 };
        prepared.put_back_from(crashed);
        let (ended, _) = run(prepared, &sync, victim, Some(point));
        let when = format!("{when}, and again, {victim:?}, at {point:?} ({:?})", ended.code);
        prepared.holds(&when);
        self.recover(prepared, &when);
        prepared.is_healed(&when);
        1
    }
}

fn of_sync(prepared: &mut Prepared) -> Vec<String> {
    prepared.world.arguments(&[]).into_iter().map(str::to_owned).collect()
}

#[test]
fn a_pass_killed_here_at_any_step_loses_nothing_and_the_next_two_heal_it() {
    every_step("sync", Victim::Here, 8, &of_sync);
}

#[test]
fn a_pass_whose_far_side_dies_at_any_step_loses_nothing_and_the_next_two_heal_it() {
    every_step("sync", Victim::Far, 8, &of_sync);
}

#[test]
fn a_pass_one_of_whose_far_tools_dies_at_any_step_loses_nothing_and_the_next_two_heal_it() {
    every_step("sync", Victim::FarTool, 4, &of_sync);
}

#[test]
fn forget_killed_at_any_step_is_finished_by_saying_it_again_and_takes_nothing_else_along() {
    let forget = |prepared: &mut Prepared| {
        prepared.forgets(FORGOTTEN);
        ["forget".to_owned(), id(FORGOTTEN), "--yes".to_owned()].to_vec()
    };
    // The other machine is told by the next pass: its steps are those of a pass.
    every_step("forget", Victim::Here, 2, &forget);
}

#[test]
fn restore_killed_at_any_step_leaves_nothing_or_the_whole_session() {
    let restore = |_: &mut Prepared| ["restore".to_owned(), id(DELETED), "--json".to_owned()].to_vec();
    every_step("restore", Victim::Here, 2, &restore);
}
