//! Killed in front of every call that changes something, here and on the far side; then killed again during the recovery.
//!
//! The real program, from outside ([`crate::stepper`]). A step is a call and what it is about; a point is one such call of one run.
//! By default every step is killed at its first and at its last point, and at as many others as
//! `CLAUDE_SESSION_SYNC_CRASH_POINTS` says (a number, or `all`); `CLAUDE_SESSION_SYNC_CRASH_AGAIN` says how many recoveries are
//! killed once more.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::crash_world::{DELETED, FORGOTTEN, Prepared, quick};
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
}

/// How many points, or all of them.
fn chosen(variable: &str, usual: usize) -> usize {
    match std::env::var(variable) {
        Ok(word) if word == "all" => usize::MAX,
        Ok(word) => word.parse().unwrap_or_else(|_| panic!("{variable} is a number, or `all`: {word}")),
        Err(_) => usual,
    }
}

/// Runs a command; at the given place of the calls that count, the victim is killed. The steps that it came by.
fn run(prepared: &Prepared, arguments: &[&str], victim: Victim, kill_at: Option<usize>) -> (Ended, Vec<String>) {
    let mut steps = Vec::new();
    let scratch = quick();
    let command = prepared.world.command(&[], arguments);
    let ended = stepper::run(&command, scratch.path(), &mut |call, stop| {
        let counts = stop == Stop::Before && kill_at.is_none_or(|at| steps.len() <= at);
        let Some(step) = counts.then(|| prepared.step(call, victim.is_far())).flatten() else { return Then::On };
        steps.push(step);
        if kill_at == Some(steps.len() - 1) { victim.then() } else { Then::On }
    });
    (ended, steps)
}

/// The points to be killed at: of each step the first and the last, and more, evenly.
fn points(steps: &[String], more: usize) -> Vec<usize> {
    let mut ends: BTreeMap<&String, (usize, usize)> = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        ends.entry(step).or_insert((at, at)).1 = at;
    }
    let mut points: BTreeSet<usize> = ends.values().flat_map(|(first, last)| [*first, *last]).collect();
    let stride = if more == 0 { usize::MAX } else { (steps.len() / more).max(1) };
    points.extend((0..steps.len()).step_by(stride));
    points.into_iter().collect()
}

/// One command, and what it is to be killed at.
struct Case {
    arguments: Vec<String>,
    victim: Victim,
}

/// Kills it at its points, on both processors; gives the number of steps and of points, and of recoveries that were killed again.
fn every_step(what: &str, victim: Victim, usual: usize, again: usize, prepare: &(dyn Fn(&mut Prepared) -> Vec<String> + Sync)) {
    const WORKERS: usize = 2;
    let began = std::time::Instant::now();
    let (more, again) = (chosen("CLAUDE_SESSION_SYNC_CRASH_POINTS", usual), chosen("CLAUDE_SESSION_SYNC_CRASH_AGAIN", again));
    let work = |worker: usize| {
        let mut prepared = Prepared::everything();
        let case = Case { arguments: prepare(&mut prepared), victim };
        case.work(&mut prepared, (worker, WORKERS), more, again)
    };
    let done: Vec<(Vec<String>, BTreeSet<String>, usize, usize)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|worker| scope.spawn(move || work(worker))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let all: BTreeSet<&String> = done.iter().flat_map(|(steps, ..)| steps).collect();
    let killed: BTreeSet<&String> = done.iter().flat_map(|(_, killed, ..)| killed).collect();
    let (points, recoveries) = done.iter().fold((0, 0), |(points, again), of| (points + of.2, again + of.3));
    let missed: Vec<_> = all.difference(&killed).collect();
    let line = format!(
        "{what}, {victim:?}: {} calls, {} steps, killed at {points} points, {recoveries} recoveries killed again, {:?}\n",
        done[0].0.len(),
        all.len(),
        began.elapsed()
    );
    std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
    assert!(missed.is_empty(), "never killed at: {missed:#?}");
    assert!(points > 3, "{line}");
}

impl Case {
    fn words(&self) -> Vec<&str> {
        self.arguments.iter().map(String::as_str).collect()
    }

    fn work(&self, prepared: &mut Prepared, (worker, workers): (usize, usize), more: usize, again: usize) -> (Vec<String>, BTreeSet<String>, usize, usize) {
        prepared.expect(&self.words());
        prepared.put_back();
        let (ended, steps) = run(prepared, &self.words(), self.victim, None);
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        let points = points(&steps, more);
        let mine: Vec<usize> = points.into_iter().enumerate().filter(|(at, _)| at % workers == worker).map(|(_, point)| point).collect();
        let (mut killed, mut twice) = (BTreeSet::new(), 0);
        let every = if again == 0 { usize::MAX } else { (mine.len() * workers / again).max(1) };
        for (count, at) in mine.iter().enumerate() {
            prepared.put_back();
            let (ended, came_by) = run(prepared, &self.words(), self.victim, Some(*at));
            let Some(step) = came_by.get(*at) else { continue };
            assert!(self.victim != Victim::Here || ended.code.is_none(), "it was to be killed at {at}: {}", ended.said);
            killed.insert(step.clone());
            let when = format!("killed at {at}, {step}");
            prepared.holds(&when);
            if count % every == 0 {
                let crashed = prepared.copy();
                twice += self.killed_again(prepared, crashed.path(), &when, count);
                prepared.put_back_from(crashed.path());
            }
            self.recover(prepared, &when);
            prepared.is_healed(&when);
            if count % 8 == 0 {
                prepared.forgets_its_leftovers(&when);
            }
        }
        (steps, killed, mine.len(), twice)
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

    /// The recovery itself is killed at one of its points, another one each time; here, since it is here that one recovers.
    fn killed_again(&self, prepared: &Prepared, crashed: &Path, when: &str, seed: usize) -> usize {
        let sync = prepared.world.arguments(&[]);
        let (_, steps) = run(prepared, &sync, Victim::Here, None);
        if steps.is_empty() {
            return 0;
        }
        prepared.put_back_from(crashed);
        let at = seed * 7919 % steps.len();
        let (ended, came_by) = run(prepared, &sync, Victim::Here, Some(at));
        assert_eq!(ended.code, None, "{}", ended.said);
        let when = format!("{when}, and again at {at}, {}", came_by.last().unwrap());
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
    every_step("sync", Victim::Here, 0, 12, &of_sync);
}

#[test]
fn a_pass_whose_far_side_dies_at_any_step_loses_nothing_and_the_next_two_heal_it() {
    every_step("sync", Victim::Far, 0, 12, &of_sync);
}

#[test]
fn a_pass_one_of_whose_far_tools_dies_at_any_step_loses_nothing_and_the_next_two_heal_it() {
    every_step("sync", Victim::FarTool, 0, 0, &of_sync);
}

#[test]
fn forget_killed_at_any_step_is_finished_by_saying_it_again_and_takes_nothing_else_along() {
    let forget = |prepared: &mut Prepared| {
        prepared.forgets(FORGOTTEN);
        ["forget".to_owned(), id(FORGOTTEN), "--yes".to_owned()].to_vec()
    };
    for victim in [Victim::Here, Victim::Far] {
        every_step("forget", victim, 0, 0, &forget);
    }
}

#[test]
fn restore_killed_at_any_step_leaves_nothing_or_the_whole_session() {
    let restore = |_: &mut Prepared| ["restore".to_owned(), id(DELETED), "--json".to_owned()].to_vec();
    every_step("restore", Victim::Here, 0, 4, &restore);
}
