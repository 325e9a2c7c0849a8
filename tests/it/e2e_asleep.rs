//! Codespaces that do not run, that stop under our hands, or are cut off: none is ever started, and the others go on.

use std::fs;

use claude_session_sync::reconcile::report::Outcome;

use crate::api::Answer;
use crate::e2e_world::{Laptop, REPOSITORY, files, id, put_session, transcript, transcripts};
use crate::rows::row;

/// A laptop with two codespaces, each with a session of its own.
fn two() -> Option<Laptop> {
    let mut laptop = Laptop::new()?;
    laptop.codespace("sleepy-1")?;
    laptop.codespace("steady-2")?;
    laptop.session(1, "here", 30);
    laptop.session_at("sleepy-1", 2, "in sleepy", 20);
    laptop.session_at("steady-2", 3, "in steady", 10);
    Some(laptop)
}

fn nothing_was_started(laptop: &Laptop) {
    assert!(laptop.api.posts().is_empty(), "something was asked to change: {:?}", laptop.api.posts());
}

#[test]
fn a_codespace_that_is_shut_down_is_not_visited_and_that_is_no_failure() {
    let Some(laptop) = two() else { return };
    laptop.api.set("sleepy-1", "state", "Shutdown");
    let ran = laptop.report(&[]);
    assert_eq!(ran.code(), 0, "{:?}", ran.told);
    assert_eq!(ran.visit("sleepy-1").outcome, Outcome::NotVisited { why: "Shutdown".to_owned() });
    assert_eq!(ran.visit("steady-2").outcome, Outcome::Visited);
    assert_eq!(laptop.at("sleepy-1").connections(), 0);
    assert!(transcripts(&laptop.claude()).contains_key(&id(3)));
    nothing_was_started(&laptop);
    assert_eq!(laptop.api.get("sleepy-1", "state"), "Shutdown");
}

#[test]
fn a_codespace_that_was_named_and_is_shut_down_ends_with_3_and_says_so() {
    let Some(laptop) = two() else { return };
    laptop.api.set("sleepy-1", "state", "Shutdown");
    let told = laptop.sync(&["sleepy-1"]);
    assert_eq!((told.code, told.stdout.as_str()), (3, ""), "{told:?}");
    assert_eq!(told.stderr.matches("sleepy-1: not visited (Shutdown)").count(), 1, "{told:?}");
    assert!(laptop.gh.calls().iter().all(|call| call.argv[0] != "codespace"), "gh was sent there");
    nothing_was_started(&laptop);
}

#[test]
fn no_state_but_available_is_ever_visited() {
    let Some(laptop) = two() else { return };
    for state in ["Starting", "ShuttingDown", "Rebuilding", "Archived", "Unavailable", "Hibernating"] {
        laptop.api.always("GET", "/user/codespaces/sleepy-1", Answer::error(500, "not to be asked"));
        laptop.api.set("sleepy-1", "state", state);
        let ran = laptop.report(&[]);
        assert_eq!(ran.code(), 0, "{state}: {:?}", ran.told);
        assert!(matches!(ran.visit("sleepy-1").outcome, Outcome::NotVisited { .. }), "{state}: {:?}", ran.told);
    }
    laptop.api.set("sleepy-1", "state", "Available");
    laptop.api.set("sleepy-1", "pending_operation", true);
    assert!(matches!(laptop.report(&[]).visit("sleepy-1").outcome, Outcome::NotVisited { .. }));
    assert_eq!(laptop.at("sleepy-1").connections(), 0);
    nothing_was_started(&laptop);
}

#[test]
fn a_codespace_that_stops_between_list_and_visit_is_not_started_and_the_other_goes_on() {
    let Some(laptop) = two() else { return };
    laptop.api.always("GET", "/user/codespaces/sleepy-1", Answer::json(200, &row("sleepy-1", REPOSITORY, "Shutdown")));
    // Named, it is a failure in part; else nobody asked for this one.
    for (names, code) in [(&["sleepy-1", "steady-2"][..], 3), (&[], 0)] {
        let ran = laptop.report(names);
        assert_eq!(ran.code(), code, "{:?}", ran.told);
        let why = "the codespace is not Available, and is not started for this".to_owned();
        assert_eq!(ran.visit("sleepy-1").outcome, Outcome::NotVisited { why });
        assert_eq!(ran.visit("steady-2").outcome, Outcome::Visited);
    }
    assert_eq!(laptop.at("sleepy-1").connections(), 0);
    assert!(laptop.gh.calls().iter().any(|call| call.argv.contains(&"sleepy-1".to_owned())), "gh was not tried at all");
    assert!(transcripts(&laptop.claude()).contains_key(&id(3)) && !transcripts(&laptop.claude()).contains_key(&id(2)));
    nothing_was_started(&laptop);
}

#[test]
fn a_codespace_that_was_deleted_between_list_and_visit_is_no_failure() {
    let Some(laptop) = two() else { return };
    laptop.api.always("GET", "/user/codespaces/sleepy-1", Answer::error(404, "Not Found"));
    let ran = laptop.report(&[]);
    assert_eq!(ran.code(), 0, "{:?}", ran.told);
    assert!(matches!(&ran.visit("sleepy-1").outcome, Outcome::NotVisited { why } if why.contains("deleted or renamed")), "{:?}", ran.told);
    nothing_was_started(&laptop);
}

/// Noise that no compression makes small.
fn noise(bytes: usize) -> String {
    let mut state = 88_172_645_463_325_252_u64;
    let mut text = String::with_capacity(bytes);
    while text.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push(char::from(b' ' + u8::try_from(state % 2).unwrap() + u8::try_from(state % 89).unwrap()));
    }
    text.replace(['"', '\\'], "x")
}

/// The codespace stops when so many bytes have passed: GitHub shows it as running to the first who asks, then as shut down.
fn cut_during_the_visit(bytes: u64, outwards: bool) {
    let Some(laptop) = two() else { return };
    let big = noise(3 << 20);
    if outwards {
        put_session(&laptop.claude(), &laptop.root(), 7, &transcript(7, &laptop.root(), &big, 5));
    } else {
        let root = laptop.root_at("sleepy-1");
        put_session(&laptop.claude_at("sleepy-1"), &root, 7, &transcript(7, &root, &big, 5));
        laptop.at("sleepy-1").give(&laptop.claude_at("sleepy-1"));
    }
    let path = "/user/codespaces/sleepy-1";
    laptop.api.once("GET", path, Answer::json(200, &row("sleepy-1", REPOSITORY, "Available")));
    laptop.api.always("GET", path, Answer::json(200, &row("sleepy-1", REPOSITORY, "Shutdown")));
    laptop.at("sleepy-1").cut_after(bytes);
    let there = transcripts(&laptop.claude_at("sleepy-1"));
    let ran = laptop.report(&[]);
    assert_eq!(ran.code(), 3, "{bytes}: {:?}", ran.told);
    let (message, _) = ran.fault("sleepy-1");
    assert!(!message.is_empty() && !message.contains('\n'), "{message}");
    assert_eq!(ran.visit("steady-2").outcome, Outcome::Visited, "{bytes}: {:?}", ran.told);
    assert!(transcripts(&laptop.claude()).contains_key(&id(3)), "the other's session did not come");
    assert_eq!(laptop.at("sleepy-1").connections(), 1, "it connected anew");
    nothing_was_started(&laptop);
    // Nothing half: what lies there is what lay there, or a whole session more.
    for (name, content) in transcripts(&laptop.claude_at("sleepy-1")) {
        let whole = there.get(&name).or(transcripts(&laptop.claude()).get(&name)).cloned();
        assert_eq!(Some(content), whole, "{name}");
    }
    assert!(outwards || !transcripts(&laptop.claude()).contains_key(&id(7)), "a session that did not arrive was installed");
    // What came of a long file waits for its rest; nothing else stays in the stage.
    let waits = files(&laptop.data().join("stage"));
    let is_part = |path: &std::path::PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(&format!("{}.part-", id(7)));
    assert!(waits.iter().all(is_part) && (outwards || bytes < 100_000 || waits.len() == 1), "{waits:?}");
    // It runs again: the next pass heals.
    laptop.api.always("GET", path, Answer::json(200, &row("sleepy-1", REPOSITORY, "Available")));
    laptop.at("sleepy-1").cut_after(u64::MAX / 2);
    laptop.report(&[]).good();
    assert_eq!(transcripts(&laptop.claude()), transcripts(&laptop.claude_at("sleepy-1")));
    assert!(files(&laptop.data().join("stage")).is_empty(), "its rest came");
    assert_eq!(fs::read_dir(laptop.claude_at("sleepy-1").join(".claude-session-sync/stage")).map_or(0, Iterator::count), 0);
}

#[test]
fn a_visit_that_is_cut_while_it_connects_starts_nothing_and_the_other_goes_on() {
    cut_during_the_visit(1500, false);
}

#[test]
fn a_visit_that_is_cut_while_it_lists_starts_nothing_and_the_other_goes_on() {
    cut_during_the_visit(9000, false);
}

#[test]
fn a_visit_that_is_cut_while_it_fetches_starts_nothing_and_the_other_goes_on() {
    cut_during_the_visit(1 << 20, false);
}

#[test]
fn a_visit_that_is_cut_while_it_sends_starts_nothing_and_the_other_goes_on() {
    cut_during_the_visit(1 << 20, true);
}
