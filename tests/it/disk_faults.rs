//! A disk that refuses any one call of a pass, here and there: full, over its quota, broken, read-only or not ours; where it reads,
//! broken. After each: nothing lost, nothing half, it was said, and two clean passes heal it. A call that is interrupted, or does only
//! a part of what it was asked, is no failure at all.
//!
//! A step is a call and what it is about. Every step is refused at its first call, by another error each; more calls of a step are
//! refused as `CLAUDE_SESSION_SYNC_DISK_FAULTS` says (a number, or `all`).
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use nix::libc::{EACCES, EDQUOT, EINTR, EIO, ENOSPC, EPERM, EROFS};

use crate::crash_world::{Prepared, quick};
use crate::figures::figure;
use crate::points::{Point, chosen, points};
use crate::stepper::{self, Call, Ended, Stop, Then};

/// Which calls are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Calls {
    /// Those that change something, or make it durable.
    Writing,
    /// Those that read.
    Reading,
}

/// What a disk may answer to a call, and how that is said.
fn errors(call: &str) -> &'static [(i32, &'static str)] {
    match call.split(' ').next().unwrap_or_default() {
        // A sync of everything cannot fail.
        "sync" => &[],
        "read" | "pread64" | "getdents64" | "fsync" | "fdatasync" | "syncfs" => &[(EIO, "Input/output error")],
        "write" | "pwrite64" | "writev" | "copy_file_range" | "sendfile" | "splice" | "ftruncate" | "fallocate" => &FULL,
        _ => &ANY,
    }
}

const FULL: [(i32, &str); 3] = [(ENOSPC, "No space left on device"), (EDQUOT, "Disk quota exceeded"), (EIO, "Input/output error")];
const ANY: [(i32, &str); 6] = [FULL[0], FULL[1], FULL[2], (EROFS, "Read-only file system"), (EACCES, "Permission denied"), (EPERM, "Operation not permitted")];

/// The words by which somebody is told of any of them.
const WORDS: [&str; 9] = [
    "No space left",
    "quota exceeded",
    "Input/output error",
    "I/O error",
    "Read-only file system",
    "Permission denied",
    "not permitted",
    "disk full",
    "cannot read",
];

/// Where, and which calls.
#[derive(Clone, Copy)]
struct Case {
    far: bool,
    calls: Calls,
}

impl Case {
    /// Of what a tool there reads, only the store and what is ours counts.
    fn step(self, prepared: &Prepared, call: &Call) -> Option<String> {
        let meant = call.reads == (self.calls == Calls::Reading);
        // What is closed may be read by who started it.
        let named = call.paths.iter().all(|path| path.is_absolute());
        (meant && named).then(|| prepared.touches(call, self.far)).flatten().filter(|step| !errors(step).is_empty())
    }

    /// One pass, in which this call is answered so. The calls that it came by.
    fn run(self, prepared: &Prepared, refused: Option<(&Point, Then)>) -> (Ended, Vec<Point>) {
        let (mut calls, mut counts, scratch) = (Vec::new(), BTreeMap::<String, usize>::new(), quick());
        let command = prepared.world.command(&[], &prepared.world.arguments(&[]));
        let ended = stepper::run(&command, scratch.path(), &mut |call, stop| {
            let Some(step) = (stop == Stop::Before).then(|| self.step(prepared, call)).flatten() else { return Then::On };
            let nth = counts.entry(step.clone()).or_default();
            calls.push(Point { step, nth: *nth });
            *nth += 1;
            refused.filter(|(point, _)| calls.last() == Some(point)).map_or(Then::On, |(_, then)| then)
        });
        (ended, calls)
    }

    /// Refuses its part of the calls; how many there are, how many were refused, and how the passes ended.
    fn work(self, (worker, workers): (usize, usize)) -> (usize, BTreeSet<String>, BTreeMap<i32, usize>) {
        let mut prepared = Prepared::everything();
        let words: Vec<String> = prepared.world.arguments(&[]).into_iter().map(str::to_owned).collect();
        prepared.expect(&words.iter().map(String::as_str).collect::<Vec<_>>());
        prepared.put_back();
        let (ended, calls) = self.run(&prepared, None);
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        let (mut steps, mut codes) = (BTreeSet::new(), BTreeMap::new());
        let points = points(&calls, chosen("CLAUDE_SESSION_SYNC_DISK_FAULTS", 0));
        for (at, point) in points.iter().enumerate().filter(|(at, _)| at % workers == worker) {
            let errors = errors(&point.step);
            let (error, words) = errors[at / workers % errors.len()];
            prepared.put_back();
            let (ended, came_by) = self.run(&prepared, Some((point, Then::Refuse(error))));
            if !came_by.contains(point) {
                continue;
            }
            let when = format!("{words} of {point:?}");
            let code = ended.code.unwrap_or_else(|| panic!("{when}: it was killed: {}", ended.said));
            assert!([0, 1, 3].contains(&code), "{when}: code {code}: {}", ended.said);
            let said = code == 0 || WORDS.iter().any(|word| ended.said.contains(word));
            assert!(said, "{when}: code {code}, and nobody is told why: {}", ended.said);
            // What was not made durable was not done; the memory alone may lag behind.
            let durable = ["fsync", "fdatasync", "syncfs"].iter().any(|call| point.step.starts_with(call)) && !point.step.contains("/state");
            assert!(code != 0 || !durable, "{when}: it went on as if nothing had been said");
            *codes.entry(code).or_default() += 1;
            steps.insert(point.step.clone());
            prepared.holds(&when);
            for pass in ["first", "second"] {
                let ran = prepared.world.sync(&[]);
                assert_eq!(ran.code, 0, "{when}, {pass} pass: {ran:?}");
            }
            prepared.is_healed(&when);
        }
        (calls.len(), steps, codes)
    }

    fn refuses(self) {
        const WORKERS: usize = 2;
        let began = Instant::now();
        let done: Vec<_> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..WORKERS).map(|worker| scope.spawn(move || self.work((worker, WORKERS)))).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).collect()
        });
        let steps: BTreeSet<_> = done.iter().flat_map(|(_, steps, _)| steps).collect();
        let mut codes = BTreeMap::<i32, usize>::new();
        done.iter().flat_map(|(.., codes)| codes).for_each(|(code, count)| *codes.entry(*code).or_default() += count);
        let refused: usize = codes.values().sum();
        let seconds = began.elapsed().as_secs();
        let (calls, kind) = (done[0].0, self.calls);
        figure(&format!("{kind:?}: {calls} calls, {} steps, {refused} calls refused, passes ended with {codes:?}, {seconds} s", steps.len()));
        assert!(steps.len() > 4, "{steps:?}");
    }
}

#[test]
fn a_disk_here_that_refuses_any_write_loses_nothing_and_is_said() {
    Case { far: false, calls: Calls::Writing }.refuses();
}

#[test]
fn a_disk_there_that_refuses_any_write_loses_nothing_and_is_said() {
    Case { far: true, calls: Calls::Writing }.refuses();
}

#[test]
fn a_disk_here_that_refuses_any_read_loses_nothing_and_is_said() {
    Case { far: false, calls: Calls::Reading }.refuses();
}

#[test]
fn a_disk_there_that_refuses_any_read_loses_nothing_and_is_said() {
    Case { far: true, calls: Calls::Reading }.refuses();
}

/// Every step of this machine at its first call, interrupted and then cut short.
fn goes_on_after(calls: Calls) {
    let case = Case { far: false, calls };
    let mut prepared = Prepared::everything();
    let words: Vec<String> = prepared.world.arguments(&[]).into_iter().map(str::to_owned).collect();
    prepared.expect(&words.iter().map(String::as_str).collect::<Vec<_>>());
    prepared.put_back();
    let (_, calls) = case.run(&prepared, None);
    let transfers = |point: &Point| ["read ", "pread64 ", "write ", "pwrite64 ", "copy_file_range "].iter().any(|call| point.step.starts_with(call));
    let mut count = 0;
    for (at, point) in points(&calls, 0).iter().filter(|point| transfers(point)).enumerate() {
        // Reads are many, and each of them is answered in one of the two ways.
        let ways = [Then::Refuse(EINTR), Then::Short];
        let ways = if case.calls == Calls::Reading { &ways[at % 2..][..1] } else { &ways[..] };
        for then in ways.iter().copied() {
            prepared.put_back();
            let (ended, came_by) = case.run(&prepared, Some((point, then)));
            assert!(ended.code == Some(0) || !came_by.contains(point), "{then:?} of {point:?}: {}", ended.said);
            prepared.holds(&format!("{then:?} of {point:?}"));
            count += 1;
        }
    }
    figure(&format!("{:?}: {count} calls interrupted or cut short", case.calls));
    assert!(count > 4);
}

#[test]
fn a_read_here_that_is_interrupted_or_short_goes_on() {
    goes_on_after(Calls::Reading);
}

#[test]
fn a_write_here_that_is_interrupted_or_short_goes_on() {
    goes_on_after(Calls::Writing);
}
