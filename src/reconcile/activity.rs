//! Whether a visit saw that the user was at work since the visit before it.
//!
//! Work is a transcript (of a session or of its subagents) that was written, or a live client that says it was used. What an agent
//! of ours pushed is none, whoever's agent it was: the far side notes every file that a push installed, and a file that is still
//! what was installed was not written since. A client that is merely open is none either.
//!
//! Promises: pure; times are compared with times of the same far clock only. Never: a conclusion about content. A wrong answer
//! costs one visit too many or one that comes a quiet time later.

use std::collections::{BTreeMap, BTreeSet};

use super::manifest::{SessionId, Stamp, StorePath};
use super::quiet::LONGEST_TIMEOUT;

/// A file as a push left it. Its change time is not among it: that moves when a name of ours is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pushed {
    /// Its inode.
    pub inode: u64,
    /// Its length.
    pub size: u64,
    /// Its modification time, in nanoseconds since 1970.
    pub modified: i64,
}

impl Pushed {
    /// What a push of this file would have noted.
    #[must_use]
    pub fn of(stamp: Stamp) -> Self {
        Self { inode: stamp.inode, size: stamp.size, modified: stamp.modified }
    }
}

/// What the visit before left behind.
#[derive(Debug, Clone, Default)]
pub struct Before<'a> {
    /// Seconds since 1970 by the far clock when it listed; none if nothing is remembered of any visit.
    pub clock: Option<i64>,
    /// The files that it read or installed.
    pub files: BTreeMap<&'a StorePath, Stamp>,
    /// What each live client said of its last use.
    pub live: BTreeMap<SessionId, u64>,
}

/// What the visit sees.
#[derive(Debug, Clone)]
pub struct Seen<'a> {
    /// Seconds since 1970 by the far clock.
    pub clock: i64,
    /// Minutes without activity after which GitHub stops it.
    pub idle_timeout_minutes: Option<u32>,
    /// Every file there.
    pub files: Vec<(&'a StorePath, Stamp)>,
    /// What pushes left.
    pub pushed: &'a BTreeSet<Pushed>,
    /// The live clients, with the time of their last use in milliseconds since 1970; 0 if they do not say.
    pub live: Vec<(SessionId, u64)>,
}

/// What gave the user away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Activity {
    /// This was written.
    Wrote(StorePath),
    /// A client that has this session open was used.
    Used(SessionId),
}

impl std::fmt::Display for Activity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Wrote(path) => write!(f, "{path} was written"),
            Self::Used(session) => write!(f, "the client of {session} was used"),
        }
    }
}

/// What gave the user away, if anything did: news since the visit before that is not older than the idle timeout. What is older would
/// have let the codespace stop by itself, so it says nothing of who is there now; another machine's visits may have kept it running.
#[must_use]
pub fn activity(before: &Before<'_>, seen: &Seen<'_>) -> Option<Activity> {
    let timeout = i64::from(seen.idle_timeout_minutes.unwrap_or(LONGEST_TIMEOUT)) * 60;
    let recent = seen.clock.saturating_sub(timeout);
    // What happened in the very second of the visit before may be newer than that visit.
    let since = before.clock.map_or(recent, |clock| clock.max(recent));
    // The change time is not looked at: a name that a push removes moves it, and so does what restores a backup.
    let wrote = seen.files.iter().find(|(path, stamp)| {
        let now = Pushed::of(*stamp);
        let known = || before.files.get(path).is_some_and(|was| Pushed::of(*was) == now);
        path.part.is_lines() && stamp.modified.div_euclid(1_000_000_000) >= since && !known() && !seen.pushed.contains(&now)
    });
    let used = || {
        let recent = |updated: u64| i64::try_from(updated / 1000).unwrap_or(i64::MAX) >= since;
        seen.live.iter().find(|(session, updated)| before.live.get(session) != Some(updated) && recent(*updated))
    };
    wrote.map(|(path, _)| Activity::Wrote((*path).clone())).or_else(|| used().map(|(session, _)| Activity::Used(*session)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: i64 = 1_800_000_000;

    fn path(name: &str) -> StorePath {
        format!("-p/6f869d7b-ce51-4e00-8a05-674dde6aa368{name}").parse().unwrap()
    }

    fn session() -> SessionId {
        path(".jsonl").session
    }

    fn stamp(inode: u64, size: u64, seconds: i64) -> Stamp {
        Stamp { inode, size, modified: seconds * 1_000_000_000, changed: (seconds + 7) * 1_000_000_000 }
    }

    /// A visit a minute after [`CLOCK`] that sees this one file.
    fn seen<'a>(path: &'a StorePath, stamp: Stamp, pushed: &'a BTreeSet<Pushed>) -> Seen<'a> {
        Seen { clock: CLOCK + 60, idle_timeout_minutes: Some(30), files: vec![(path, stamp)], pushed, live: Vec::new() }
    }

    static NOTHING: BTreeSet<Pushed> = BTreeSet::new();

    fn before<'a>(path: &'a StorePath, stamp: Stamp) -> Before<'a> {
        Before { clock: Some(CLOCK), files: [(path, stamp)].into(), live: BTreeMap::new() }
    }

    #[test]
    fn a_transcript_that_grew_or_appeared_is_work_and_one_that_rests_is_none() {
        for name in [".jsonl", "/subagents/agent-1.jsonl"] {
            let path = path(name);
            let was = stamp(1, 10, CLOCK - 100);
            let grew = stamp(1, 20, CLOCK + 5);
            let work = Some(Activity::Wrote(path.clone()));
            assert_eq!(activity(&before(&path, was), &seen(&path, was, &NOTHING)), None);
            assert_eq!(activity(&before(&path, was), &seen(&path, Stamp { changed: i64::MAX, ..was }, &NOTHING)), None, "only its change time moved");
            assert_eq!(activity(&before(&path, was), &seen(&path, grew, &NOTHING)), work);
            let knew_nothing_of_it = Before { clock: Some(CLOCK), ..Before::default() };
            assert_eq!(activity(&knew_nothing_of_it, &seen(&path, grew, &NOTHING)), work);
            assert_eq!(activity(&knew_nothing_of_it, &seen(&path, was, &NOTHING)), None, "older than the visit before, and not read then");
        }
        let path = path("/tool-results/1.txt");
        assert_eq!(activity(&before(&path, stamp(1, 1, CLOCK)), &seen(&path, stamp(1, 2, CLOCK + 5), &NOTHING)), None, "no transcript");
    }

    #[test]
    fn what_an_agent_pushed_is_no_work_until_somebody_writes_to_it() {
        let path = path(".jsonl");
        let (was, pushed) = (stamp(1, 10, CLOCK - 100), stamp(2, 20, CLOCK + 5));
        let noted = [Pushed::of(pushed)].into();
        assert_eq!(activity(&before(&path, was), &seen(&path, pushed, &noted)), None);
        assert_eq!(activity(&Before::default(), &seen(&path, pushed, &noted)), None);
        for written in [stamp(2, 21, CLOCK + 5), stamp(2, 20, CLOCK + 6), stamp(3, 20, CLOCK + 5)] {
            assert!(activity(&before(&path, was), &seen(&path, written, &noted)).is_some(), "{written:?}");
        }
    }

    #[test]
    fn only_what_is_younger_than_the_idle_timeout_speaks_for_the_user() {
        let path = path(".jsonl");
        let long_ago = Before { clock: Some(CLOCK - 90_000), ..before(&path, stamp(1, 9, CLOCK - 99_000)) };
        for (age, work) in [(60, true), (30 * 60, true), (30 * 60 + 1, false)] {
            for before in [&Before::default(), &long_ago] {
                let found = activity(before, &seen(&path, stamp(1, 10, CLOCK + 60 - age), &NOTHING));
                assert_eq!(found.is_some(), work, "{age} s old");
            }
        }
    }

    #[test]
    fn a_client_that_was_used_is_work_and_one_that_is_merely_open_is_none() {
        let nothing = path(".jsonl");
        let said = |seconds: i64| u64::try_from(seconds).unwrap() * 1000;
        let open = |updated| Seen { live: vec![(session(), updated)], ..seen(&nothing, stamp(1, 10, 0), &NOTHING) };
        let known = Before { clock: Some(CLOCK), live: [(session(), said(CLOCK - 9000))].into(), ..Before::default() };
        assert_eq!(activity(&known, &open(said(CLOCK - 9000))), None, "forgotten in a terminal");
        assert_eq!(activity(&known, &open(said(CLOCK + 3))), Some(Activity::Used(session())));
        let unknown = Before { clock: Some(CLOCK), ..Before::default() };
        assert_eq!(activity(&unknown, &open(said(CLOCK + 3))), Some(Activity::Used(session())), "opened since");
        for updated in [0, said(CLOCK - 9000)] {
            assert_eq!(activity(&unknown, &open(updated)), None);
            assert_eq!(activity(&Before::default(), &open(updated)), None);
        }
        assert!(activity(&unknown, &open(u64::MAX)).is_some(), "nonsense is no reason to look away");
    }

    #[test]
    fn it_is_told_in_words() {
        assert_eq!(Activity::Wrote(path(".jsonl")).to_string(), "-p/6f869d7b-ce51-4e00-8a05-674dde6aa368.jsonl was written");
        assert_eq!(Activity::Used(session()).to_string(), "the client of 6f869d7b-ce51-4e00-8a05-674dde6aa368 was used");
    }
}
