//! What a plan says at its edges, where one byte or one microsecond decides.

use claude_session_sync::reconcile::plan::{Member, Offer, Presence, SessionPlan, Standing, Window, plan};
use claude_session_sync::reconcile::relation::{Lines, Unproven};
use claude_session_sync::reconcile::transcript::Moment;

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
