//! Patience with what fails: per codespace, and for the account as a whole.
//!
//! Promises: pure. What failed is tried again ever later, up to a bound; one that stays until its next run is left alone until
//! then. A success forgets everything.

use std::collections::BTreeMap;
use std::time::Duration;

use super::work::{Episode, PlaceEnd};

/// After the first failure.
const FIRST: Duration = Duration::from_secs(5 * 60);
/// At most.
const LONGEST: Duration = Duration::from_secs(4 * 3600);
/// The same, for the list of codespaces.
const FIRST_OF_LIST: Duration = Duration::from_secs(60);
const LONGEST_OF_LIST: Duration = Duration::from_secs(3600);

fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(longest)
}

/// The codespaces and machines that failed lately.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places(BTreeMap<String, Failing>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Failing {
    episode: Episode,
    times: u32,
    /// On the clock that counts time awake; none: not in this run.
    again: Option<Duration>,
}

impl Places {
    /// Notes how a visit ended; `awake` is the time awake so far.
    pub fn note(&mut self, end: &PlaceEnd, awake: Duration) {
        let Some(fault) = &end.fault else {
            self.0.remove(&end.name);
            return;
        };
        let times = self.0.get(&end.name).filter(|before| before.episode == end.episode).map_or(0, |before| before.times + 1);
        // What a machine lacks can be mended without a new run of anything.
        let stays = fault.permanent && end.episode.is_some();
        let again = (!stays).then(|| awake + doubled(FIRST, times, LONGEST));
        self.0.insert(end.name.clone(), Failing { episode: end.episode, times, again });
    }

    /// Whether a visit is to be tried now.
    #[must_use]
    pub fn admits(&self, name: &str, episode: Episode, awake: Duration) -> bool {
        self.0.get(name).is_none_or(|failing| failing.episode != episode || failing.again.is_some_and(|again| again <= awake))
    }

    /// Those that are to be left alone now, each in the run that failed.
    #[must_use]
    pub fn except(&self, awake: Duration) -> BTreeMap<String, Episode> {
        let left_alone = |failing: &Failing| failing.again.is_none_or(|again| again > awake);
        self.0.iter().filter(|(_, failing)| left_alone(failing)).map(|(name, failing)| (name.clone(), failing.episode)).collect()
    }

    /// Everybody gets another chance: somebody asked for it.
    pub fn forgive(&mut self) {
        self.0.clear();
    }
}

/// How long the list is not asked for again after so many failures in a row; GitHub's own wish counts where it is longer.
#[must_use]
pub fn list_again(failures: u32, wish: Option<Duration>) -> Duration {
    let ours = doubled(FIRST_OF_LIST, failures.saturating_sub(1), LONGEST_OF_LIST);
    wish.map_or(ours, |wish| wish.min(LONGEST_OF_LIST).max(ours))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::report::{Fault, FaultKind};
    use chrono::DateTime;

    fn end(episode: i64, fault: Option<bool>) -> PlaceEnd {
        let fault = fault.map(|permanent| Fault { permanent, ..Fault::new(FaultKind::Other, "x") });
        PlaceEnd { name: "a".to_owned(), episode: DateTime::from_timestamp(episode, 0), fault }
    }

    #[test]
    fn what_fails_is_tried_ever_later_until_it_succeeds() {
        let mut places = Places::default();
        let mut awake = Duration::ZERO;
        let mut waits = Vec::new();
        for _ in 0..8 {
            places.note(&end(1, Some(false)), awake);
            let again = (0..).map(|minute| awake + Duration::from_secs(60 * minute)).find(|at| places.admits("a", end(1, None).episode, *at)).unwrap();
            waits.push((again - awake).as_secs() / 60);
            awake = again;
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 240, 240]);
        assert!(places.admits("b", None, awake));
        places.note(&end(1, None), awake);
        assert!(places.admits("a", end(1, None).episode, awake) && places.except(awake).is_empty());
    }

    #[test]
    fn what_stays_is_left_alone_until_the_next_run() {
        let mut places = Places::default();
        places.note(&end(1, Some(true)), Duration::ZERO);
        let late = Duration::from_secs(1 << 30);
        assert!(!places.admits("a", end(1, None).episode, late) && places.except(late).contains_key("a"));
        assert!(places.admits("a", end(2, None).episode, Duration::ZERO), "a new run may have what was missing");
        places.forgive();
        assert!(places.admits("a", end(1, None).episode, Duration::ZERO));
    }

    #[test]
    fn the_list_is_asked_for_ever_more_rarely_and_never_before_github_wants() {
        let minutes: Vec<u64> = (1..9).map(|failures| list_again(failures, None).as_secs() / 60).collect();
        assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(list_again(1, Some(Duration::from_secs(900))).as_secs(), 900);
        assert_eq!(list_again(1, Some(Duration::MAX)), LONGEST_OF_LIST, "a wish of a year is no wish");
    }
}
