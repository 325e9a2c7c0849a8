//! The points of a run at which something is done to it. A step is a call and what it is about; a point is one such call of one run.
//!
//! No step is left out in silence: a point that a run did not come by is tried anew, and one that is never met is no point that was tried.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

/// How often a point is tried: processes that run beside each other do not do the same each time.
const TRIES: usize = 8;

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

/// The calls that a run came by.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    pub(crate) calls: Vec<Point>,
    counts: BTreeMap<String, usize>,
}

impl Passed {
    /// One more call; whether it is this point.
    pub(crate) fn is_at(&mut self, step: String, point: Option<&Point>) -> bool {
        let nth = self.counts.entry(step.clone()).or_default();
        self.calls.push(Point { step, nth: *nth });
        *nth += 1;
        point.is_some() && self.calls.last() == point
    }
}

/// The points to be tried: of each step the first, and more, evenly.
pub(crate) fn points(calls: &[Point], more: usize) -> Vec<Point> {
    let stride = calls.len().checked_div(more).map_or(usize::MAX, |stride| stride.max(1));
    let chosen = calls.iter().enumerate().filter(|(at, point)| point.nth == 0 || at % stride == 0 && more > 0);
    chosen.map(|(_, point)| point.clone()).collect()
}

/// What came of trying every point in some ways.
#[derive(Debug)]
pub(crate) struct Tried<W> {
    /// The calls of the run that was only looked at.
    pub(crate) calls: Vec<Point>,
    pub(crate) met: Vec<(Point, W)>,
    pub(crate) missed: Vec<(Point, W)>,
    pub(crate) seconds: u64,
}

impl<W: Clone + Debug + Send + Sync> Tried<W> {
    /// On both processors, each with a world of its own: a run is looked at, and then each of its points is tried, in one way each.
    /// `attempt` is given the number of the point, and says whether it was met.
    pub(crate) fn of<World>(
        world: impl Fn() -> World + Sync,
        look: impl Fn(&World) -> (Vec<Point>, Vec<(Point, W)>) + Sync,
        attempt: impl Fn(&World, usize, &(Point, W)) -> bool + Sync,
    ) -> Self {
        const WORKERS: usize = 2;
        let began = Instant::now();
        let (looked, next, done) = (OnceLock::new(), AtomicUsize::new(0), Mutex::new((Vec::new(), Vec::new())));
        let work = || {
            let world = world();
            let (_, points) = looked.get_or_init(|| look(&world));
            while let Some((at, point)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, points.get(at)?))) {
                let met = (0..TRIES).any(|_| attempt(&world, at, point));
                let mut done = done.lock().unwrap();
                if met { done.0.push(point.clone()) } else { done.1.push(point.clone()) }
            }
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
            workers.into_iter().for_each(|worker| worker.join().unwrap());
        });
        let ((met, missed), (calls, _)) = (done.into_inner().unwrap(), looked.into_inner().unwrap());
        Self { calls, met, missed, seconds: began.elapsed().as_secs() }
    }

    /// Every step that was seen.
    pub(crate) fn steps(&self) -> BTreeSet<&String> {
        self.calls.iter().map(|point| &point.step).collect()
    }

    /// Every step was met, and its first call in every way that was meant. Later calls of a step may be fewer in another run.
    #[track_caller]
    pub(crate) fn misses_no_step(&self) {
        let met: BTreeSet<&String> = self.met.iter().map(|(point, _)| &point.step).collect();
        let seen = self.steps();
        let never: Vec<_> = seen.difference(&met).collect();
        assert!(never.is_empty(), "never met: {never:#?}");
        let missed: Vec<_> = self.missed.iter().filter(|(point, _)| point.nth == 0).collect();
        assert!(missed.is_empty(), "not met in each way: {missed:#?}");
    }
}
