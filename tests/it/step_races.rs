//! In front of any step of a pass the world may go on: the machine slept, and clients wrote on both sides. What is no longer as it was
//! seen is left for the next pass, and no line is lost.
//!
//! Every step is met at its first call ([`crate::points`]); as many other calls as `CLAUDE_SESSION_SYNC_CRASH_POINTS` says (a number, or
//! `all`; else none).
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write as _;

use crate::crash_world::{Prepared, quick};
use crate::figures::figure;
use crate::points::{Passed, Point, Tried, chosen, points};
use crate::races::{lines, places};
use crate::stepper::{self, Ended, Stop, Then};
use crate::world::files;

/// A line at the end of every transcript that lies in a store, on both sides.
fn clients_write(prepared: &Prepared, when: &str) -> Vec<String> {
    let mut written = Vec::new();
    for side in [&prepared.world.here, &prepared.far] {
        let projects = side.claude.join("projects");
        for name in files(&projects).into_keys().filter(|name| name.ends_with(".jsonl") && !name.contains("/.css-")) {
            let line = serde_json::json!({"type": "user", "timestamp": chrono::Utc::now(), "message": {"role": "user", "content": format!("{when}, {name}, {}", side.name)}});
            let line = line.to_string();
            let mut file = OpenOptions::new().append(true).open(projects.join(&name)).unwrap();
            // A line that was torn ends here, and is one of its own.
            file.write_all(format!("\n{line}\n").as_bytes()).unwrap();
            written.push(line);
        }
    }
    written
}

/// One pass, in the middle of which clients write. The calls that it came by, and what was written.
fn run(prepared: &Prepared, far: bool, meet: Option<&Point>) -> (Ended, Vec<Point>, Vec<String>) {
    let (mut passed, mut written, scratch) = (Passed::default(), Vec::new(), quick());
    let command = prepared.world.command(&[], &prepared.world.arguments(&[]));
    let ended = stepper::run(&command, scratch.path(), &mut |call, stop| {
        let Some(step) = (stop == Stop::Before).then(|| prepared.step(call, far)).flatten() else { return Then::On };
        if passed.is_at(step, meet) {
            written = clients_write(prepared, "meanwhile");
        }
        Then::On
    });
    (ended, passed.calls, written)
}

/// A pass in which clients write there; whether it came by.
fn attempt(prepared: &Prepared, far: bool, point: &Point) -> bool {
    prepared.put_back();
    let places = places(&prepared.world, &prepared.far);
    let forgotten = |line: &String| prepared.is_forgotten(line);
    let mut shown: BTreeSet<String> = lines(&places).into_iter().filter(|line| !forgotten(line)).collect();
    let (ended, _, written) = run(prepared, far, Some(point));
    if written.is_empty() {
        return false;
    }
    assert!([Some(0), Some(3)].contains(&ended.code), "{point:?}: {}", ended.said);
    shown.extend(written.into_iter().filter(|line| !forgotten(line)));
    for pass in ["first", "second", "third"] {
        let ran = prepared.world.sync(&[]);
        assert_eq!(ran.code, 0, "{point:?}, {pass} pass: {ran:?}");
    }
    let left = lines(&places);
    let lost: Vec<&String> = shown.iter().filter(|line| !left.contains(*line)).collect();
    assert!(lost.is_empty(), "{point:?}: {} lines lost, the first {}", lost.len(), lost[0]);
    true
}

fn every_step(far: bool) {
    let look = |prepared: &Prepared| {
        prepared.put_back();
        let (_, calls, _) = run(prepared, far, None);
        let points = points(&calls, chosen("CLAUDE_SESSION_SYNC_CRASH_POINTS", 0));
        (calls, points.into_iter().map(|point| (point, ())).collect())
    };
    let tried = Tried::of(Prepared::everything, look, |prepared, _, (point, ())| attempt(prepared, far, point));
    let (calls, steps, met, missed) = (tried.calls.len(), tried.steps().len(), tried.met.len(), tried.missed.len());
    figure(&format!("{calls} calls, {steps} steps, clients wrote in front of {met} points ({missed} never met), {} s", tried.seconds));
    tried.misses_no_step();
    assert!(steps > 20, "{steps}");
}

#[test]
fn clients_that_write_in_front_of_any_step_of_a_pass_here_lose_no_line() {
    every_step(false);
}

#[test]
fn clients_that_write_in_front_of_any_step_of_a_pass_there_lose_no_line() {
    every_step(true);
}
