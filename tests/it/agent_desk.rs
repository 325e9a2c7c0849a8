//! The desk alone: what is stale, what a person must mend, and when either is over.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use claude_session_sync::agent::bell::Ring;
use claude_session_sync::agent::clock::Moment;
use claude_session_sync::agent::desk::{Act, Desk, Event, News, Rules};
use claude_session_sync::agent::work::{LookEnd, PassEnd, PassOutcome, PlaceEnd};
use claude_session_sync::reconcile::report::{Fault, FaultKind};

use crate::agent_world::{HOUR, MINUTE};

fn at(awake: Duration) -> Moment {
    Moment { wall: DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::from_std(awake).unwrap(), awake }
}

fn desk() -> Desk {
    Desk::new(Rules { look: 5 * MINUTE, stale_after: 6 * HOUR }, at(Duration::ZERO), None)
}

fn fault(kind: FaultKind) -> Fault {
    Fault { permanent: true, ..Fault::new(kind, "no") }
}

fn end(outcome: PassOutcome) -> PassEnd {
    let began: DateTime<Utc> = at(Duration::ZERO).wall;
    PassEnd { began, ended: began, summary: String::new(), outcome, disk: None, places: Vec::new(), running: None }
}

fn rung() -> Event {
    Event::Rung(BTreeSet::from([Ring::Schedule]))
}

fn about(desk: &Desk) -> Vec<FaultKind> {
    desk.concerns().iter().map(|concern| concern.about).collect()
}

/// A look each five minutes with such an end; whether staleness became news within a day.
fn stale_within_a_day(of_looks: &Fault) -> bool {
    let mut desk = desk();
    let mut news = false;
    for minute in 0..24 * 60 {
        let now = at(minute * MINUTE);
        let mut acts = desk.handle(Event::Pulse, now);
        if acts.contains(&Act::Look) {
            acts.extend(desk.handle(Event::LookEnded(LookEnd { fault: Some(of_looks.clone()), ..LookEnd::default() }), now));
        }
        news |= acts.iter().any(|act| matches!(act, Act::Tell(News::Stale(_))));
    }
    assert_eq!(news, !desk.stale().is_empty());
    news
}

#[test]
fn a_login_that_is_gone_makes_the_passes_stale_and_a_network_that_is_gone_does_not() {
    assert!(stale_within_a_day(&fault(FaultKind::Login)));
    assert!(stale_within_a_day(&fault(FaultKind::Other)));
    assert!(!stale_within_a_day(&fault(FaultKind::Network)));
}

#[test]
fn a_disk_that_is_full_stays_to_be_mended_however_well_the_list_is_had() {
    let mut desk = desk();
    desk.handle(rung(), at(MINUTE));
    desk.handle(Event::PassEnded(end(PassOutcome::Failed(fault(FaultKind::Disk)))), at(2 * MINUTE));
    assert_eq!(about(&desk), [FaultKind::Disk]);
    desk.handle(Event::Pulse, at(8 * MINUTE));
    let acts = desk.handle(Event::LookEnded(LookEnd::default()), at(9 * MINUTE));
    assert!(!acts.iter().any(|act| matches!(act, Act::Pass(_))), "nothing speaks for a pass before the next ring: {acts:?}");
    assert_eq!(about(&desk), [FaultKind::Disk]);
    desk.handle(Event::Pulse, at(15 * MINUTE));
    desk.handle(Event::LookEnded(LookEnd { fault: Some(fault(FaultKind::Login)), ..LookEnd::default() }), at(16 * MINUTE));
    assert_eq!(about(&desk), [FaultKind::Login, FaultKind::Disk]);
    desk.handle(rung(), at(17 * MINUTE));
    desk.handle(Event::PassEnded(end(PassOutcome::Unlisted(fault(FaultKind::Login)))), at(18 * MINUTE));
    assert_eq!(about(&desk), [FaultKind::Login], "this machine did its part");
    desk.handle(rung(), at(19 * MINUTE));
    desk.handle(Event::PassEnded(end(PassOutcome::Made)), at(20 * MINUTE));
    assert!(about(&desk).is_empty());
}

#[test]
fn without_a_look_a_pass_forgets_what_concerned_codespaces_that_do_not_run() {
    let mut desk = Desk::new(Rules { look: Duration::ZERO, stale_after: 6 * HOUR }, at(Duration::ZERO), None);
    let visited = |places: &[&str]| {
        let places = places.iter().map(|name| PlaceEnd { name: (*name).to_owned(), fault: Some(fault(FaultKind::NoSshd)) }).collect();
        PassEnd { places, running: Some(BTreeSet::from(["a".to_owned()])), ..end(PassOutcome::Made) }
    };
    desk.handle(rung(), at(MINUTE));
    desk.handle(Event::PassEnded(PassEnd { running: None, ..visited(&["a", "b"]) }), at(2 * MINUTE));
    assert_eq!(desk.concerns().len(), 2);
    desk.handle(rung(), at(HOUR));
    desk.handle(Event::PassEnded(visited(&["a"])), at(HOUR + MINUTE));
    assert_eq!(desk.concerns().iter().map(|concern| concern.name.as_deref().unwrap()).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn a_pass_that_does_not_come_to_its_end_is_said_until_it_does() {
    let mut desk = desk();
    desk.handle(rung(), at(MINUTE));
    desk.handle(Event::Pulse, at(2 * HOUR));
    assert!(about(&desk).is_empty());
    let acts = desk.handle(Event::Pulse, at(2 * HOUR + 2 * MINUTE));
    assert!(matches!(&acts[..], [Act::Notify(concern)] if concern.message.contains("2 hours")), "{acts:?}");
    assert_eq!(about(&desk), [FaultKind::Other]);
    desk.handle(Event::PassEnded(end(PassOutcome::Made)), at(3 * HOUR));
    assert!(about(&desk).is_empty());
}
