//! A disk that refuses any one call of a pass, here and there: full, over its quota, broken, read-only or not ours; where it reads,
//! broken. After each: nothing lost, nothing half, it was said, and two clean passes heal it. A call that is interrupted, or does only
//! a part of what it was asked, is no failure at all.
//!
//! A step is a call and what it is about ([`crate::points`]). Every step that writes is refused at its first call by a full disk and by
//! a broken one, every step that reads by a broken one. A read-only disk and the other errors take turns at one in four steps, which
//! is what twice the time allows. More calls of a step are refused as `CLAUDE_SESSION_SYNC_DISK_FAULTS` says (a number, by one error
//! each, in turn); `all` is every error at every step, and every call.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::collections::BTreeMap;
use std::sync::Mutex;

use nix::libc::{EACCES, EDQUOT, EINTR, EIO, ENOSPC, EPERM, EROFS};

use crate::crash_world::{Prepared, quick};
use crate::figures::figure;
use crate::points::{Passed, Point, Tried, chosen, points};
use crate::stepper::{self, Call, Ended, Stop, Then};

/// Which calls are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Calls {
    /// Those that change something, or make it durable.
    Writing,
    /// Those that read.
    Reading,
}

/// An error, and how it is said.
type Fault = (i32, &'static str);

const FULL: Fault = (ENOSPC, "No space left on device");
const QUOTA: Fault = (EDQUOT, "Disk quota exceeded");
const BROKEN: Fault = (EIO, "Input/output error");
const READ_ONLY: Fault = (EROFS, "Read-only file system");
const DENIED: Fault = (EACCES, "Permission denied");
const NOT_OURS: Fault = (EPERM, "Operation not permitted");

/// What a disk may answer to a call: what every step is answered, and what it is answered in turn.
fn faults(call: &str) -> (&'static [Fault], &'static [Fault]) {
    match call.split(' ').next().unwrap_or_default() {
        // A sync of everything cannot fail.
        "sync" => (&[], &[]),
        "read" | "pread64" | "readv" | "getdents64" => (&[BROKEN], &[]),
        "fsync" | "fdatasync" | "syncfs" | "write" | "pwrite64" | "writev" | "copy_file_range" | "sendfile" | "splice" | "ftruncate" | "fallocate" => {
            (&[FULL, BROKEN], &[QUOTA])
        }
        _ => (&[FULL, BROKEN], &[READ_ONLY, QUOTA, DENIED, NOT_OURS]),
    }
}

/// The words by which somebody is told of any of them.
const WORDS: [&str; 11] = [
    "No space left",
    "quota exceeded",
    "Input/output error",
    "I/O error",
    "Read-only file system",
    "Permission denied",
    "not permitted",
    "disk full",
    "cannot read",
    "cannot list",
    "cannot be read",
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
        (meant && named).then(|| prepared.touches(call, self.far)).flatten().filter(|step| !faults(step).0.is_empty())
    }

    /// One pass, in which this call is answered so. The calls that it came by.
    fn run(self, prepared: &Prepared, refused: Option<(&Point, Then)>) -> (Ended, Vec<Point>) {
        let (mut passed, scratch) = (Passed::default(), quick());
        let command = prepared.world.command(&[], &prepared.world.arguments(&[]));
        let ended = stepper::run(&command, scratch.path(), &mut |call, stop| {
            let Some(step) = (stop == Stop::Before).then(|| self.step(prepared, call)).flatten() else { return Then::On };
            let is_it = passed.is_at(step, refused.map(|(point, _)| point));
            refused.filter(|_| is_it).map_or(Then::On, |(_, then)| then)
        });
        (ended, passed.calls)
    }

    /// Those of a pass in which nothing is refused.
    fn calls(self, prepared: &Prepared) -> Vec<Point> {
        prepared.put_back();
        let (ended, calls) = self.run(prepared, None);
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        calls
    }

    /// Refuses the call, and looks at what comes of it: how the pass ended, if it came by.
    fn attempt(self, prepared: &Prepared, point: &Point, (error, words): Fault) -> Option<i32> {
        prepared.put_back();
        let (ended, came_by) = self.run(prepared, Some((point, Then::Refuse(error))));
        if !came_by.contains(point) {
            return None;
        }
        let when = format!("{words} of {point:?}");
        let code = ended.code.unwrap_or_else(|| panic!("{when}: it was killed: {}", ended.said));
        assert!([0, 1, 3].contains(&code), "{when}: code {code}: {}", ended.said);
        let said = code == 0 || WORDS.iter().any(|word| ended.said.contains(word));
        assert!(said, "{when}: code {code}, and nobody is told why: {}", ended.said);
        // What was not made durable was not done; the memory alone may lag behind.
        let durable = ["fsync", "fdatasync", "syncfs"].iter().any(|call| point.step.starts_with(call)) && !point.step.contains("/state");
        assert!(code != 0 || !durable, "{when}: it went on as if nothing had been said");
        prepared.holds(&when);
        for pass in ["first", "second"] {
            let ran = prepared.world.sync(&[]);
            assert_eq!(ran.code, 0, "{when}, {pass} pass: {ran:?}");
        }
        prepared.is_healed(&when);
        Some(code)
    }

    fn refuses(self) {
        let more = chosen("CLAUDE_SESSION_SYNC_DISK_FAULTS", 0);
        let look = |prepared: &Prepared| {
            let calls = self.calls(prepared);
            let mut all = Vec::new();
            for (at, point) in points(&calls, more).into_iter().enumerate() {
                let (each, in_turn) = faults(&point.step);
                let any: Vec<Fault> = each.iter().chain(in_turn).copied().collect();
                let tried = match (point.nth, more) {
                    (0, usize::MAX) => any,
                    (0, _) if at % OTHERS == 0 => each.iter().chain(in_turn.get(at / OTHERS % in_turn.len().max(1))).copied().collect(),
                    (0, _) => each.to_vec(),
                    _ => vec![any[at % any.len()]],
                };
                all.extend(tried.into_iter().map(|fault| (point.clone(), fault)));
            }
            (calls, all)
        };
        let codes = Mutex::new(BTreeMap::<i32, usize>::new());
        let attempt = |prepared: &Prepared, _, (point, fault): &(Point, Fault)| {
            let code = self.attempt(prepared, point, *fault);
            code.into_iter().for_each(|code| *codes.lock().unwrap().entry(code).or_default() += 1);
            code.is_some()
        };
        let tried = Tried::of(expecting, look, attempt);
        let (kind, codes, mut by) = (self.calls, codes.into_inner().unwrap(), BTreeMap::<&str, usize>::new());
        tried.met.iter().for_each(|(_, (_, words))| *by.entry(*words).or_default() += 1);
        let (calls, steps, met, missed) = (tried.calls.len(), tried.steps().len(), tried.met.len(), tried.missed.len());
        let counted = format!("{met} refusals by {by:?} ({missed} never met), passes ended with {codes:?}");
        figure(&format!("{kind:?}: {calls} calls, {steps} steps, {counted}, {} s", tried.seconds));
        tried.misses_no_step();
        assert!(steps > 4, "{:?}", tried.steps());
    }
}

/// One in so many steps is refused by one of the other errors, too.
const OTHERS: usize = 4;

fn expecting() -> Prepared {
    let mut prepared = Prepared::everything();
    let words: Vec<String> = prepared.world.arguments(&[]).into_iter().map(str::to_owned).collect();
    prepared.expect(&words.iter().map(String::as_str).collect::<Vec<_>>());
    prepared
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
    let transfers = |point: &Point| ["read ", "pread64 ", "write ", "pwrite64 ", "copy_file_range "].iter().any(|call| point.step.starts_with(call));
    let look = |prepared: &Prepared| {
        let calls: Vec<Point> = case.calls(prepared).into_iter().filter(transfers).collect();
        let ways = |(at, point): (usize, Point)| {
            let ways = [Then::Refuse(EINTR), Then::Short];
            // Reads are many, and each of them is answered in one of the two ways.
            let ways = if case.calls == Calls::Reading { &ways[at % 2..][..1] } else { &ways[..] };
            ways.iter().map(|then| (point.clone(), *then)).collect::<Vec<_>>()
        };
        let all = points(&calls, 0).into_iter().enumerate().flat_map(ways).collect();
        (calls, all)
    };
    let attempt = |prepared: &Prepared, _, (point, then): &(Point, Then)| {
        prepared.put_back();
        let (ended, came_by) = case.run(prepared, Some((point, *then)));
        assert_eq!(ended.code, Some(0), "{then:?} of {point:?}: {}", ended.said);
        prepared.holds(&format!("{then:?} of {point:?}"));
        came_by.contains(point)
    };
    let tried = Tried::of(expecting, look, attempt);
    figure(&format!("{:?}: {} calls interrupted or cut short", case.calls, tried.met.len()));
    tried.misses_no_step();
    assert!(tried.met.len() > 4);
}

#[test]
fn a_read_here_that_is_interrupted_or_short_goes_on() {
    goes_on_after(Calls::Reading);
}

#[test]
fn a_write_here_that_is_interrupted_or_short_goes_on() {
    goes_on_after(Calls::Writing);
}
