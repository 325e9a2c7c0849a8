//! Killed in front of every call that changes something, here and on the far side; then killed again during the recovery.
//!
//! The real program, from outside ([`crate::stepper`]), at its points ([`crate::points`]): every step is killed at its first point, and
//! of all points as many, evenly, as `CLAUDE_SESSION_SYNC_CRASH_POINTS` says (a number, or `all`; else 20). `CLAUDE_SESSION_SYNC_CRASH_AGAIN`
//! says how many recoveries are killed once more, by turns here and on the far side: a verb that is said again, and the pass behind it (a
//! number; or `all`, and then each at some points that are spread over it). What is counted was killed.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::crash_world::{DELETED, FORGOTTEN, Prepared, quick};
use crate::figures::figure;
use crate::points::{Passed, Point, Tried, chosen, points};
use crate::stepper::{self, Ended, Stop, Then};
use crate::talk::id;

/// At how many points each recovery is killed where all are.
const POINTS_OF_A_RECOVERY: usize = 4;

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

/// Runs a command; at the given point the victim is killed. The calls that it came by.
fn run(prepared: &Prepared, arguments: &[&str], victim: Victim, kill_at: Option<&Point>) -> (Ended, Vec<Point>) {
    let (mut passed, scratch) = (Passed::default(), quick());
    let command = prepared.world.command(&[], arguments);
    let ended = stepper::run(&command, scratch.path(), &mut |call, stop| {
        let is_over = kill_at.is_some() && passed.calls.last() == kill_at;
        let counts_now = stop == Stop::Before && !is_over;
        let Some(step) = counts_now.then(|| prepared.step(call, victim.is_far())).flatten().filter(|step| victim.meets(step)) else { return Then::On };
        if passed.is_at(step, kill_at) { victim.then() } else { Then::On }
    });
    let was_killed = kill_at.is_some() && passed.calls.last() == kill_at;
    assert!(!was_killed || victim != Victim::Here || ended.code.is_none(), "it was to be killed at {kill_at:?}: {}", ended.said);
    (ended, passed.calls)
}

/// Kills it at its points, and so many of its recoveries once more; says how many there were.
fn every_step(what: &str, victim: Victim, again: usize, prepare: &(dyn Fn(&mut Prepared) -> Vec<String> + Sync)) {
    let (more, again) = (chosen("CLAUDE_SESSION_SYNC_CRASH_POINTS", 20), chosen("CLAUDE_SESSION_SYNC_CRASH_AGAIN", again));
    let world = || {
        let mut prepared = Prepared::everything();
        let case = Case { arguments: prepare(&mut prepared), victim, prepared };
        case.expecting()
    };
    // Of each point: the how-manieth whose recovery is killed, and at how many points that is.
    let look = |case: &Case| {
        let calls = case.calls();
        let points = points(&calls, more);
        let (every, many) = ((points.len() / again.max(1)).max(1), if again == usize::MAX { POINTS_OF_A_RECOVERY } else { 1 });
        let points = points.into_iter().enumerate().map(|(at, point)| (point, (at / every, if again > 0 && at % every == 0 { many } else { 0 })));
        (calls, points.collect())
    };
    let (verbs, passes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let attempt = |case: &Case, at: usize, (point, again): &(Point, (usize, usize))| {
        let Some([of_verbs, of_passes]) = case.attempt(at, point, *again) else { return false };
        verbs.fetch_add(of_verbs, Ordering::Relaxed);
        passes.fetch_add(of_passes, Ordering::Relaxed);
        true
    };
    let tried = Tried::of(world, look, attempt);
    let (verbs, passes) = (verbs.into_inner(), passes.into_inner());
    let line = format!(
        "{what}, {victim:?}: {} calls, {} steps, killed at {} points ({} never met), {} recoveries killed again ({verbs} verbs, {passes} passes), {} s",
        tried.calls.len(),
        tried.steps().len(),
        tried.met.len(),
        tried.missed.len(),
        verbs + passes,
        tried.seconds
    );
    figure(&line);
    tried.misses_no_step();
    assert!(tried.met.len() > 3, "{line}");
    assert!(again == 0 || passes > 0 && (verbs > 0 || what == "sync"), "{line}");
}

/// One command in a world, and who is killed in it.
struct Case {
    prepared: Prepared,
    arguments: Vec<String>,
    victim: Victim,
}

impl Case {
    fn words(&self) -> Vec<&str> {
        self.arguments.iter().map(String::as_str).collect()
    }

    fn is_pass(&self) -> bool {
        self.arguments[0] == "sync"
    }

    fn expecting(mut self) -> Self {
        let arguments = self.arguments.clone();
        self.prepared.expect(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        self
    }

    /// Those of a run in which nobody is killed.
    fn calls(&self) -> Vec<Point> {
        self.prepared.put_back();
        let (ended, calls) = run(&self.prepared, &self.words(), self.victim, None);
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        calls
    }

    /// Kills it there, and its recovery at so many points. How many verbs and passes of recoveries were killed; nothing where the run
    /// did not come by the point.
    fn attempt(&self, at: usize, point: &Point, (turn, again): (usize, usize)) -> Option<[usize; 2]> {
        let prepared = &self.prepared;
        prepared.put_back();
        if !run(prepared, &self.words(), self.victim, Some(point)).1.ends_with(std::slice::from_ref(point)) {
            return None;
        }
        let when = format!("killed at {point:?}");
        prepared.holds(&when);
        let mut killed = [0, 0];
        if again > 0 {
            let crashed = prepared.copy();
            let victim = if turn % 2 == 0 { Victim::Here } else { Victim::Far };
            let sync = prepared.world.arguments(&[]);
            if !self.is_pass() {
                killed[0] = self.killed_again(crashed.path(), &when, (&self.words(), self.victim), (at, again));
            }
            killed[1] = self.killed_again(crashed.path(), &when, (&sync, victim), (at, again));
            prepared.put_back_from(crashed.path());
        }
        self.recover(&when);
        prepared.is_healed(&when);
        if at.is_multiple_of(8) {
            prepared.forgets_its_leftovers(&when);
        }
        Some(killed)
    }

    /// A verb is said again, for which nobody else finishes it; then two passes.
    fn recover(&self, when: &str) {
        if !self.is_pass() {
            let _ = self.prepared.world.command(&[], &self.words()).output().unwrap();
        }
        for pass in ["first", "second"] {
            let ran = self.prepared.world.sync(&[]);
            assert_eq!(ran.code, 0, "{when}, {pass} pass: {ran:?}");
        }
    }

    /// What is said in a recovery is itself killed at some of its points, spread over it, others each time. At how many it was.
    fn killed_again(&self, crashed: &Path, when: &str, (words, victim): (&[&str], Victim), (at, many): (usize, usize)) -> usize {
        let prepared = &self.prepared;
        prepared.put_back_from(crashed);
        let (_, calls) = run(prepared, words, victim, None);
        let spread: BTreeSet<usize> = (0..many.min(calls.len())).map(|nth| (at * 7919 + nth * calls.len() / many) % calls.len()).collect();
        let mut killed = 0;
        for point in spread.into_iter().map(|at| &calls[at]) {
            prepared.put_back_from(crashed);
            let (ended, came_by) = run(prepared, words, victim, Some(point));
            let when = format!("{when}, and {} again, {victim:?}, at {point:?} ({:?})", words[0], ended.code);
            prepared.holds(&when);
            self.recover(&when);
            prepared.is_healed(&when);
            killed += usize::from(came_by.last() == Some(point));
        }
        killed
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
    every_step("forget", Victim::Here, 4, &forget);
}

#[test]
fn restore_killed_at_any_step_leaves_nothing_or_the_whole_session() {
    let restore = |_: &mut Prepared| ["restore".to_owned(), id(DELETED), "--json".to_owned()].to_vec();
    every_step("restore", Victim::Here, 4, &restore);
}
