//! What a plan says at its edges, where one byte or one microsecond decides.

use std::collections::BTreeSet;

use claude_session_sync::reconcile::manifest::{Part, Stamp};
use claude_session_sync::reconcile::plan::{Member, Offer, Presence, SessionPlan, Standing, Step, StepKind, Target, Window, plan};
use claude_session_sync::reconcile::relation::{Lines, Unproven};
use claude_session_sync::reconcile::transcript::{Digest, MOST_MESSAGES, Moment, Reader};

use crate::laws_model::{line, lines_of, proved, session};

const TEN_SECONDS: i64 = 10_000_000;

fn member(chosen: i64, retention: i64) -> Member {
    Member { name: String::new(), accepts: true, window: Window { chosen: Moment(chosen), retention: Moment(retention) } }
}

fn holding(lines: Lines) -> Presence {
    Presence { transcript: Some(lines.into()), ..Presence::default() }
}

fn gone(lines: Lines) -> Presence {
    Presence { gone: Some(lines.into()), ..Presence::default() }
}

/// The plan for members that take whatever there is.
fn planned(presences: &[Presence]) -> Result<Option<SessionPlan>, Unproven> {
    let members: Vec<Member> = presences.iter().map(|_| member(i64::MIN, i64::MIN)).collect();
    plan(session(), &members, presences, None)
}

#[track_caller]
fn standing(presences: &[Presence]) -> Standing {
    planned(presences).unwrap().unwrap().standings.pop().unwrap()
}

#[test]
fn an_open_copy_that_is_behind_says_by_how_much_and_one_that_diverged_does_not() {
    let (said, answered, elsewhere) = (line("user", Some(10), "a"), line("assistant", Some(30), "b"), line("assistant", Some(20), "c"));
    let whole = [said.clone(), answered.clone()].concat();
    let winner = proved(&whole, &[said.len() as u64].into());
    let open = |bytes: &[u8]| Presence { live: true, ..holding(lines_of(bytes)) };
    assert_eq!(standing(&[holding(winner.clone()), open(&said)]), Standing::Waiting(Some(answered.len() as u64)));
    let diverged = [said.clone(), elsewhere].concat();
    assert_eq!(standing(&[holding(winner.clone()), open(&diverged)]), Standing::Waiting(None));
    assert_eq!(standing(&[holding(winner), open(&whole)]), Standing::Equal);
}

#[test]
fn a_session_is_created_where_it_is_younger_than_both_bounds_and_not_where_it_is_as_old() {
    let winner = lines_of(&line("user", Some(10), "a"));
    let created = |chosen: i64, retention: i64, offer: Option<&Offer>| {
        let members = [member(0, 0), member(chosen, retention)];
        let standings = plan(session(), &members, &[holding(winner.clone()), Presence::default()], offer).unwrap().unwrap().standings;
        standings[1] == Standing::Missing
    };
    assert!(created(TEN_SECONDS - 1, TEN_SECONDS - 1, None));
    assert!(!created(TEN_SECONDS, 0, None));
    assert!(!created(0, TEN_SECONDS, None));
    let promised = Offer { lines: winner.clone().into(), at: [1].into() };
    assert!(created(TEN_SECONDS, TEN_SECONDS - 1, Some(&promised)));
    assert!(!created(0, TEN_SECONDS, Some(&promised)), "the client would take it away again");
}

#[test]
fn what_would_have_to_be_hashed_and_was_not_is_no_plan() {
    let (said, answered) = (line("user", Some(10), "a"), line("assistant", Some(30), "b"));
    let winner = lines_of(&[said.clone(), answered].concat());
    let before = lines_of(&said);
    let refused = planned(&[holding(winner.clone()), gone(before.clone())]).unwrap_err();
    assert_eq!(refused, Unproven { digest: winner.content.digest, length: before.content.length });
}

#[test]
fn who_says_more_than_is_remembered_has_messages_of_its_own() {
    let (shared, own, other) = (line("user", Some(10), "a"), line("system", Some(20), "b"), line("user", Some(30), "c"));
    let ends: BTreeSet<u64> = [&own, &other].map(|line| (shared.len() + line.len()) as u64).into();
    let of = |line: &[u8]| proved(&[shared.as_slice(), line].concat(), &ends);
    for (said, forked) in [(MOST_MESSAGES - 1, false), (MOST_MESSAGES, true)] {
        let (mut loser, mut winner) = (of(&own), of(&other));
        loser.messages = (0..said as u128).map(u128::to_be_bytes).collect();
        winner.messages.clone_from(&loser.messages);
        let planned = planned(&[holding(winner), holding(loser)]).unwrap().unwrap();
        assert_eq!(planned.losers[0].fork.is_some(), forked, "{said}");
    }
}

#[test]
fn of_messages_so_many_are_remembered_and_no_more() {
    let mut reader = Reader::new([]).keeping_messages();
    for n in 0..MOST_MESSAGES + 3 {
        reader.push(format!("{{\"type\":\"user\",\"n\":{n}}}\n").as_bytes());
    }
    let reading = reader.finish();
    assert_eq!((reading.messages.len(), reading.message_count), (MOST_MESSAGES, MOST_MESSAGES as u64 + 3));
}

#[test]
fn lines_never_make_the_file_that_they_come_to_look_older_and_another_file_carries_its_own_time() {
    let over = |part: &Part, time: Option<i64>, seconds: i64, nanoseconds: i64| {
        let target = Target { length: 3, digest: Digest::of(b"abc"), modified: time };
        let stamp = Stamp { inode: 1, size: 3, modified: seconds * 1_000_000_000 + nanoseconds, changed: 0 };
        let over = Step { member: 0, part: part.clone(), kind: StepKind::Replace, target }.target_over(stamp);
        assert_eq!((over.length, over.digest), (target.length, target.digest));
        over.modified
    };
    let side = |path: &str| Part::Side(path.parse().unwrap());
    for lines in [Part::Transcript, side("subagents/agent-a.jsonl")] {
        assert_eq!(over(&lines, Some(50), 60, 999_999_999), Some(60));
        assert_eq!(over(&lines, Some(50), 40, 0), Some(50));
        assert_eq!(over(&lines, Some(-50), -40, 1), Some(-40), "before 1970");
        assert_eq!(over(&lines, None, 60, 0), Some(60), "no line has a time");
    }
    assert_eq!(over(&side("tool-results/a.txt"), Some(50), 60, 0), Some(50));
}
