//! Forks whose origins still stand somewhere: what lies where a fork is due is met by it, whatever became of it.

use std::fs;

use claude_session_sync::reconcile::report::Verb;

use crate::talk::{Talk, id};
use crate::world::{Side, World};

/// A session that went on here and there, of which a pass made a fork here and, because it only pulled, left the copy that lost.
fn forked() -> (World, Side, Talk) {
    let (world, far) = World::with_box();
    let talk = Talk::begun(&id(1), &world.here.at("widget"), 60, "begun");
    world.here.put(&talk.clone().after(300).says("newer"));
    let lost = talk.says("on one side").says("and on").rests().in_project_of(&far.at("widget"));
    far.put(&lost);
    let report = world.sync(&["--pull"]).went_well();
    assert_eq!(report.actions.iter().map(|action| action.verb).collect::<Vec<_>>(), [Verb::Fork]);
    assert_eq!(far.bytes(&id(1)), lost.bytes, "it only pulled");
    (world, far, lost)
}

#[test]
fn a_fork_that_was_cut_short_is_whole_again_before_its_origin_is_displaced() {
    let (world, far, lost) = forked();
    let (path, whole) = (world.here.path(&lost.fork_id()), world.here.bytes(&lost.fork_id()));
    // At a line that is neither the end of the copy that lost nor the fork's own.
    let cut = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    fs::write(&path, &whole[..cut]).unwrap();
    let report = world.passes();
    assert!(report.left.is_empty(), "{:?}", report.left);
    for side in [&world.here, &far] {
        assert_eq!(side.bytes(&lost.fork_id()), whole, "at {}", side.name);
    }
    assert_eq!(world.passes().actions, []);
}

#[test]
fn a_fork_that_was_rewritten_is_made_again_and_what_lay_there_becomes_a_fork_of_it() {
    let (world, far, lost) = forked();
    let whole = world.here.bytes(&lost.fork_id());
    let other = Talk::begun(&lost.fork_id(), &world.here.at("widget"), 90, "by another hand").rests();
    world.here.goes_on(&other);
    let report = world.passes();
    assert_eq!(report.conflicts.len(), 2, "{:?}", report.conflicts);
    for side in [&world.here, &far] {
        assert_eq!(side.bytes(&lost.fork_id()), whole, "at {}", side.name);
        assert!(side.bytes(&other.fork_id()).starts_with(&other.bytes), "at {}", side.name);
    }
    assert_eq!(world.here.sessions(), far.sessions());
    // The fork's fork is there before the fork takes the place of what it is made of.
    let here: Vec<_> = report.actions.iter().filter(|action| action.at == "here").map(|action| (action.verb, action.session.to_string())).collect();
    assert_eq!(here, [(Verb::Fork, other.fork_id()), (Verb::Replace, lost.fork_id())]);
    assert_eq!(world.passes().actions, []);
}
