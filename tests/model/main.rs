//! The laws as a model: random histories over this machine and up to four far members, against a reference that knows every line
//! ever shown to a pass and every byte string displaced.
//!
//! This machine is real directories on a file system in memory, worked on by the program's own code; what is in memory are the far
//! members. In a second run the far members are directories, too, behind the program's own script.
//!
//! A test program of its own: `.ci/run` builds it, and the program, a second time, optimised, and plays twenty times as many.
//!
//! `CLAUDE_SESSION_SYNC_HISTORIES` is how many are played with members in memory ([`HISTORIES`] if it is not set; a twentieth of it
//! with directories), `CLAUDE_SESSION_SYNC_SEED` the first seed. A history that fails is made as short as possible and printed; kept in
//! `tests/model-seeds/`, it is played before all others, in memory and with directories. A history plays alike every time:
//! `CLAUDE_SESSION_SYNC_HISTORY=FILE` plays that one alone, `CLAUDE_SESSION_SYNC_SALTS=100` each with so many salts, and
//! `CLAUDE_SESSION_SYNC_TOLD=1` tells what lies where after each step.

#[cfg(test)]
#[path = "../it/dice.rs"]
mod dice;
#[cfg(test)]
mod faulty;
#[cfg(test)]
mod history;
#[cfg(test)]
mod known;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod lines;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod place;
#[cfg(test)]
mod play;
#[cfg(test)]
mod tally;
#[cfg(test)]
mod told;
#[cfg(test)]
mod window;
#[cfg(test)]
mod world;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use faulty::{Kind, Trouble};
use history::{History, Size, Step, Way, Words};
use known::Broken;
use play::play;
use tally::Tally;
use world::{Ground, Made};

/// Histories with members in memory, if the environment asks for no other number.
const HISTORIES: u64 = 1000;

/// Plays a history; a panic is a broken law as well.
fn played(ground: &mut Ground, history: &History, made: Made) -> Result<Tally, Broken> {
    let result = catch_unwind(AssertUnwindSafe(|| play(ground, history, made)));
    result.unwrap_or_else(|panic| {
        *ground = Ground::new();
        let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(Broken { law: 0, how: format!("panicked: {}", text.unwrap_or_default()) })
    })
}

/// Leaves out every step without which the same law breaks.
fn shortened(history: &History, broken: &Broken, made: Made) -> (History, Broken) {
    let mut ground = Ground::new();
    let (mut history, mut broken) = (history.clone(), broken.clone());
    let mut size = history.steps.len() / 2;
    while size > 0 {
        let (mut at, before) = (0, history.steps.len());
        while at < history.steps.len() {
            let mut shorter = history.clone();
            shorter.steps.drain(at..(at + size).min(history.steps.len()));
            match played(&mut ground, &shorter, made) {
                Err(same) if same.law == broken.law => (history, broken) = (shorter, same),
                _ => at += size,
            }
        }
        // The last rounds go on for as long as they find something.
        size = if size == 1 && history.steps.len() < before { 1 } else { size / 2 };
    }
    (history, broken)
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Keeps this thread, and those that it starts, on one of the processors that this process may use. A pass is one thread after another:
/// to wake the next on another processor takes longer than what it does.
#[cfg(target_os = "linux")]
#[expect(clippy::unwrap_used, reason = "a test")]
fn stay_on(nth: usize) {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    let this = nix::unistd::Pid::from_raw(0);
    let allowed = sched_getaffinity(this).unwrap();
    let nth = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap()).nth(nth);
    let mut one = CpuSet::new();
    // More threads than processors: the last ones go where they like.
    if nth.is_some_and(|nth| one.set(nth).is_ok()) {
        sched_setaffinity(this, &one).unwrap();
    }
}

#[cfg(not(target_os = "linux"))]
fn stay_on(_: usize) {}

/// Plays so many histories on all processors; the first that fails is shortened and told.
#[expect(clippy::unwrap_used, reason = "a test")]
fn run(count: u64, made: Made, size: Size) -> Tally {
    let (first, began) = (number("CLAUDE_SESSION_SYNC_SEED").unwrap_or(1), Instant::now());
    let (next, total) = (AtomicU64::new(first), Mutex::new(Tally::default()));
    let failed: Mutex<Option<(u64, History, Broken)>> = Mutex::new(None);
    let work = |nth: usize| {
        stay_on(nth);
        let mut ground = Ground::new();
        let mut tally = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count || failed.lock().unwrap().is_some() {
                break;
            }
            let history = History::of(seed, size);
            match played(&mut ground, &history, made) {
                Ok(of_one) => tally.add(of_one),
                Err(broken) => *failed.lock().unwrap() = Some((seed, history, broken)),
            }
        }
        total.lock().unwrap().add(tally);
    };
    std::thread::scope(|scope| {
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        (0..workers).for_each(|nth| drop(scope.spawn(move || work(nth))));
    });
    if let Some((seed, history, broken)) = failed.into_inner().unwrap() {
        let (shortest, broken) = shortened(&history, &broken, made);
        panic!("seed {seed} ({made:?}): {broken}\nshortened: {}", serde_json::to_string(&shortest).unwrap());
    }
    let tally = total.into_inner().unwrap();
    let Tally { histories, steps, passes, broken, displaced, forks, lines, longest, far } = tally;
    // Past the capture of test output: the figures belong to the run.
    let _ = writeln!(
        std::io::stderr(),
        "FIGURE histories with members in {made:?}, seeds {first} to {}: {histories} of {steps} steps, {longest} at most, with {far:?} far members, and {passes} passes, {broken} of them broken, {lines} lines shown, \
         {displaced} copies displaced, {forks} forks, {} s",
        first + count - 1,
        began.elapsed().as_secs()
    );
    tally
}

#[test]
fn a_pass_that_a_member_breaks_at_any_call_in_any_way_is_made_good_by_the_next() {
    let say = |at, which| Step::Say { at, which, words: Words::User };
    let pass = |trouble| Step::Pass { members: u8::MAX, direction: Way::Both, trouble };
    let mut ground = Ground::new();
    for kind in [Kind::Refused, Kind::Lost, Kind::Half, Kind::CrashBefore, Kind::CrashAfter] {
        let calls = (1..=2).flat_map(|member| (1..=4).map(move |call| (member, call)));
        for ((member, call), made) in calls.flat_map(|call| [(call, Made::Memory), (call, Made::Directories)]) {
            // Something to fetch, something to send, a copy on either side that is displaced.
            let before = [say(0, 0), pass(None), say(0, 0), say(1, 0), say(1, 0), say(2, 1), say(2, 0)];
            let steps = before.into_iter().chain([pass(Some((member, Trouble { call, kind }))), say(1, 1)]).collect();
            let history = History { far: 2, unregistered: None, salt: 0, steps };
            match played(&mut ground, &history, made) {
                Ok(tally) => assert_eq!(tally.broken, 1, "{kind:?} at call {call} of member {member} ({made:?}) never came"),
                Err(broken) => panic!("{kind:?} at call {call} of member {member} ({made:?}): {broken}"),
            }
        }
    }
}

#[test]
fn no_history_with_members_in_memory_breaks_a_law() {
    let count = number("CLAUDE_SESSION_SYNC_HISTORIES").unwrap_or(HISTORIES);
    let tally = run(count, Made::Memory, Size::Any);
    assert_eq!(tally.histories, count);
    assert!(count < 1000 || !tally.is_tame(), "the histories are tame: {tally:?}");
}

#[test]
fn no_history_with_real_directories_breaks_a_law() {
    let count = number("CLAUDE_SESSION_SYNC_HISTORIES").unwrap_or(HISTORIES) / 20;
    let tally = run(count, Made::Directories, Size::MostlySmall);
    assert_eq!(tally.histories, count);
    assert!(count < 50 || !tally.is_tame(), "the histories are tame: {tally:?}");
}

#[test]
fn every_history_that_ever_broke_a_law_keeps_them_now() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/model-seeds");
    let mut ground = Ground::new();
    // Another file, whatever its name, or the same with so many salts.
    let salts = number("CLAUDE_SESSION_SYNC_SALTS").unwrap_or(1);
    let names: Vec<PathBuf> = match std::env::var_os("CLAUDE_SESSION_SYNC_HISTORY") {
        Some(one) => vec![one.into()],
        None => {
            let entries = std::fs::read_dir(&kept).unwrap().map(|entry| entry.unwrap().path());
            let mut names: Vec<_> = entries.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect();
            names.sort();
            names
        }
    };
    let mut histories = 0;
    for path in &names {
        let history: History = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for salt in (0..salts).map(|more| history.salt.wrapping_add(more)) {
            for made in [Made::Memory, Made::Directories] {
                if let Err(broken) = played(&mut ground, &History { salt, ..history.clone() }, made) {
                    panic!("{}, salt {salt} ({made:?}): {broken}", path.display());
                }
                histories += 1;
            }
        }
    }
    let _ = writeln!(std::io::stderr(), "FIGURE {} kept histories, played {histories} times: in memory and with directories, {salts} salts each", names.len());
    assert!(histories > 0, "no history is kept in {}", kept.display());
}
