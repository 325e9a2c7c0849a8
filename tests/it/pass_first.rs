//! Whole passes: the first, the second, growth, divergence, directions, and what a dry run promises.

use std::collections::BTreeMap;

use claude_session_sync::reconcile::report::{ActionResult, Report, Verb};

use crate::skip::skip_unless_root;
use crate::strace;
use crate::talk::{Talk, id};
use crate::world::{Ran, Side, World, transcripts, visit};

/// Both stores hold the same sessions, byte for byte, and the archive holds them too.
#[track_caller]
fn equal(world: &World, sides: &[&Side]) {
    let here = world.here.sessions();
    for side in sides {
        let there = side.sessions();
        assert_eq!(here.keys().collect::<Vec<_>>(), there.keys().collect::<Vec<_>>(), "the same sessions at {}", side.name);
        assert!(here == there, "a session differs at {}", side.name);
    }
    for (name, bytes) in here.iter().filter(|(name, _)| !name.contains('/')) {
        assert!(world.archived(name.strip_suffix(".jsonl").unwrap()).as_ref() == Some(bytes), "{name} in the archive");
    }
}

fn bytes(report: &Report, name: &str) -> (u64, u64) {
    let visit = visit(report, name);
    (visit.bytes_in, visit.bytes_out)
}

/// A world in which both sides have one session of their own, after a first pass.
fn settled() -> (World, Side, Talk, Talk) {
    let (world, far) = World::with_box();
    let mine = Talk::begun(&id(1), &world.here.at("widget"), 60, "mine");
    let theirs = Talk::begun(&id(2), &far.at("widget"), 50, "theirs");
    world.here.put(&mine);
    far.put(&theirs);
    world.passes();
    (world, far, mine, theirs)
}

#[test]
fn a_first_pass_takes_every_session_everywhere_with_the_time_of_its_newest_message() {
    let (world, far, mine, theirs) = settled();
    equal(&world, &[&far]);
    assert_eq!(world.here.path(&id(2)), world.here.transcript(&world.here.at("widget"), &id(2)), "in the directory of this machine's clone");
    assert_eq!(far.path(&id(1)), far.transcript(&far.at("widget"), &id(1)));
    for (side, talk) in [(&far, &mine), (&world.here, &theirs)] {
        let metadata = std::fs::metadata(side.path(&talk.id)).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::mtime(&metadata), talk.at.timestamp());
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&metadata) & 0o7777, 0o600);
        assert_eq!(side.bytes(&talk.id), talk.bytes);
    }
    let names = [&world.here, &far].map(|side| std::fs::read_to_string(side.claude.join(".claude-session-sync/replica-id")).unwrap());
    assert_ne!(names[0], names[1], "every store has an id of its own");
}

#[test]
fn a_second_pass_moves_no_content_and_makes_no_mutating_call_under_a_store() {
    if !strace::here() {
        return;
    }
    let (world, far) = World::with_box();
    let mine = Talk::begun(&id(1), &world.here.at("widget"), 60, "mine");
    world.here.put(&mine);
    far.put(&Talk::begun(&id(2), &far.at("widget"), 50, "theirs"));
    let log = world.root().join("trace");
    let tracer = strace::tracer(&log);
    let tracer: Vec<&str> = tracer.iter().map(String::as_str).collect();
    let stores = [world.here.claude.clone(), far.claude.clone()];
    let pass = || strace::count(&mut world.command(&tracer, &world.arguments(&[])), &log, &stores);

    let (first, calls) = pass();
    first.went_well();
    for store in &stores {
        let calls = calls.iter().filter(|call| call.contains(store.to_str().unwrap())).count();
        assert!(calls > 3, "the first pass writes under {}, or the count is blind: {calls}", store.display());
    }
    let (second, calls) = pass();
    let report = second.went_well();
    assert_eq!((calls, bytes(&report, "box"), report.actions.len()), (vec![], (0, 0), 0));
    assert_eq!((visit(&report, "box").connections, visit(&report, "box").channels), (1, 1));
}

#[test]
fn what_grew_on_one_side_travels_as_its_suffix_alone() {
    let (world, far, mine, theirs) = settled();
    let (longer, further) = (mine.clone().says("more").rests(), theirs.clone().says("more there").rests());
    // Each grows on the side that it did not begin on.
    far.goes_on(&longer);
    world.here.goes_on(&further);
    let report = world.passes();
    let gained = |longer: &Talk, before: &Talk| (longer.bytes.len() - before.bytes.len()) as u64;
    assert_eq!(bytes(&report, "box"), (gained(&longer, &mine), gained(&further, &theirs)));
    assert_eq!(transcripts(&report, "here"), [(id(1), Verb::Extend)]);
    assert_eq!(transcripts(&report, "box"), [(id(2), Verb::Extend)]);
    equal(&world, &[&far]);
    assert_eq!((world.here.bytes(&id(1)), far.bytes(&id(2))), (longer.bytes, further.bytes));
    assert!(report.conflicts.is_empty());
}

#[test]
fn of_two_that_went_on_the_newer_wins_and_the_other_becomes_the_same_fork_everywhere() {
    for newer_is_far in [true, false] {
        let (world, far, mine, _) = settled();
        let older = mine.clone().says("on one side").rests();
        let newer = mine.clone().after(300).says("on the other").rests();
        let (loser_at, winner_at) = if newer_is_far { (&world.here, &far) } else { (&far, &world.here) };
        loser_at.goes_on(&older);
        winner_at.goes_on(&newer);
        let report = world.passes();
        equal(&world, &[&far]);
        assert_eq!(far.bytes(&id(1)), newer.bytes, "the newer message wins, wherever it is");
        let fork = far.bytes(&older.fork_id());
        let title = fork.strip_prefix(older.bytes.as_slice()).expect("the fork is the loser and one line");
        let title: serde_json::Value = serde_json::from_slice(title).unwrap();
        assert_eq!((&title["type"], &title["sessionId"]), (&"custom-title".into(), &older.fork_id().into()));
        assert_eq!(world.displaced(&id(1)), [older.bytes.clone()].into(), "the loser as it was");
        assert_eq!(report.conflicts.len(), 1);
        assert_eq!(report.conflicts[0].lost_at, std::slice::from_ref(&loser_at.name));
        assert_eq!(report.conflicts[0].fork.map(|fork| fork.to_string()), Some(older.fork_id()));
        let again = world.passes();
        assert_eq!((again.actions.len(), again.conflicts.len(), bytes(&again, "box")), (0, 0, (0, 0)));
        assert_eq!(world.here.sessions().len(), 3);
    }
}

#[test]
fn copies_that_differ_in_metadata_alone_make_no_fork() {
    let (world, far, mine, _) = settled();
    let opened = mine.clone().rests();
    let renamed = mine.clone().titled("a name").rests().rests();
    world.here.goes_on(&opened);
    far.goes_on(&renamed);
    let report = world.passes();
    equal(&world, &[&far]);
    assert_eq!(world.here.bytes(&id(1)), renamed.bytes, "the longer one, the times being equal");
    assert_eq!(world.here.sessions().len(), 2, "no fork");
    assert_eq!(world.displaced(&id(1)), [opened.bytes].into());
    assert_eq!(report.conflicts.iter().map(|conflict| conflict.fork).collect::<Vec<_>>(), [None]);
}

#[test]
fn three_members_of_one_repository_are_equal_after_one_pass() {
    let mut world = World::new();
    let sides = [world.machine("one", &["acme/widget"]), world.machine("two", &["acme/widget"])];
    for (n, side) in (10..).zip([&world.here].into_iter().chain(&sides)) {
        let cwd = side.clone_of("widget", "https://github.com/acme/widget.git");
        side.put(&Talk::begun(&id(n), &cwd, 90, "own"));
    }
    let began = Talk::begun(&id(1), &world.here.at("widget"), 60, "begun together");
    let says: Vec<Talk> = ["here", "one", "two"].iter().zip([100, 300, 200]).map(|(name, later)| began.clone().after(later).says(name).rests()).collect();
    for (side, talk) in [&world.here].into_iter().chain(&sides).zip(&says) {
        side.put(&talk.clone().in_project_of(&side.at("widget")));
    }
    let report = world.passes();
    equal(&world, &[&sides[0], &sides[1]]);
    assert_eq!(world.here.bytes(&id(1)), says[1].bytes);
    let mut expected: Vec<String> = [id(1), id(10), id(11), id(12), says[0].fork_id(), says[2].fork_id()].map(|id| format!("{id}.jsonl")).to_vec();
    let mut found: Vec<String> = world.here.sessions().into_keys().collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "every copy that lost is a session everywhere");
    assert_eq!(world.displaced(&id(1)), [says[0].bytes.clone(), says[2].bytes.clone()].into(), "both losers are in this machine's vault");
    assert_eq!(report.conflicts.len(), 2);
    assert_eq!(world.passes().actions, [], "and equal they stay");
}

/// What a dry run says it would do, or a pass did: all but the results.
fn told(report: &Report) -> Vec<(String, String, String, Verb, u64)> {
    let told = report.actions.iter().map(|action| (action.at.clone(), action.session.to_string(), format!("{:?}", action.part), action.verb, action.bytes));
    let mut told: Vec<_> = told.collect();
    told.sort();
    told
}

#[test]
fn a_dry_run_tells_what_the_pass_then_does_and_changes_nothing() {
    if !strace::here() {
        return;
    }
    let (world, far, mine, theirs) = settled();
    world.here.goes_on(&mine.clone().says("here"));
    far.goes_on(&mine.clone().after(60).says("there"));
    far.goes_on(&theirs.clone().says("more"));
    world.here.put(&Talk::begun(&id(3), &world.here.at("widget"), 5, "new here"));
    let new = Talk::begun(&id(4), &far.at("widget"), 5, "new there");
    far.put(&new);
    far.put_side(&new, "tool-results/a.txt", b"result", 5);
    let before: Vec<BTreeMap<_, _>> = [&world.here, &far].map(Side::files).to_vec();
    let vault = crate::world::files(&world.data().join("vault"));

    let log = world.root().join("trace");
    let tracer = strace::tracer(&log);
    let tracer: Vec<&str> = tracer.iter().map(String::as_str).collect();
    let stores = [world.here.claude.clone(), far.claude.clone()];
    let (dry, calls) = strace::count(&mut world.command(&tracer, &world.arguments(&["--dry-run"])), &log, &stores);
    let dry = dry.went_well();
    assert_eq!(calls, Vec::<String>::new());
    assert!(dry.dry_run && dry.actions.iter().all(|action| action.result.is_none()));
    assert_eq!([&world.here, &far].map(Side::files).to_vec(), before);
    assert_eq!(crate::world::files(&world.data().join("vault")), vault, "kept nowhere");
    assert_eq!(crate::world::files(&world.data().join("stage")), BTreeMap::new());

    let real = world.passes();
    assert_eq!(told(&dry), told(&real));
    assert_eq!(dry.conflicts, real.conflicts);
    assert!(told(&dry).len() >= 7, "{:?}", told(&dry));
    assert!(real.actions.iter().all(|action| action.result == Some(ActionResult::Done)));
}

#[test]
fn pull_and_push_limit_what_is_installed_and_not_what_is_read() {
    for (option, comes, goes) in [("--pull", true, false), ("--push", false, true)] {
        let (world, far) = World::with_box();
        let mine = Talk::begun(&id(1), &world.here.at("widget"), 60, "mine");
        let theirs = Talk::begun(&id(2), &far.at("widget"), 50, "theirs");
        world.here.put(&mine);
        far.put(&theirs);
        let report = world.sync(&[option]).went_well();
        assert_eq!((world.here.paths(&id(2)).len() == 1, far.paths(&id(1)).len() == 1), (comes, goes), "{option}");
        assert_eq!(world.archived(&id(2)), Some(theirs.bytes.clone()), "{option}: read and kept in any case");
        assert_eq!(visit(&report, "box").bytes_in, theirs.bytes.len() as u64);
        world.passes();
        equal(&world, &[&far]);
    }
}

#[test]
fn a_store_that_may_only_be_read_there_is_visited_for_what_it_has() {
    let (world, far) = World::with_box();
    let theirs = Talk::begun(&id(1), &far.at("widget"), 50, "theirs");
    far.put(&theirs);
    // Root reads everything, and leaves nothing of its own in what is another user's.
    if [&far.home, &far.claude, &far.claude.join("projects")].iter().any(|directory| std::os::unix::fs::chown(directory, Some(65534), None).is_err()) {
        return skip_unless_root("the store of another user: files cannot be given away");
    }
    let pulled = world.sync(&["--pull"]);
    pulled.went_well();
    assert_eq!(world.here.bytes(&id(1)), theirs.bytes);
    assert!(!far.claude.join(".claude-session-sync").exists());
    world.here.put(&Talk::begun(&id(2), &world.here.at("widget"), 40, "mine"));
    let refused = world.sync(&[]);
    assert!(refused.code != 0 && refused.out.contains("belongs to another user"), "{refused:?}");
    assert!(far.paths(&id(2)).is_empty());
}

#[test]
fn a_repository_may_be_pulled_only_pushed_only_or_left_alone() {
    let lines = |policy: &str| [format!("[sync]\ndefault = \"{policy}\""), format!("[[repository]]\nname = \"acme/widget\"\nsync = \"{policy}\"")];
    for (policy, comes, goes) in [("both", true, true), ("pull", true, false), ("push", false, true), ("off", false, false)] {
        for lines in lines(policy) {
            let (mut world, far) = World::with_box();
            world.set(&lines);
            world.here.put(&Talk::begun(&id(1), &world.here.at("widget"), 60, "mine"));
            far.put(&Talk::begun(&id(2), &far.at("widget"), 50, "theirs"));
            let ran: Ran = world.sync(&[]);
            assert_eq!(ran.err, "");
            assert_eq!((world.here.paths(&id(2)).len() == 1, far.paths(&id(1)).len() == 1), (comes, goes), "{lines}: {}", ran.out);
        }
    }
}

#[test]
fn what_a_far_vault_keeps_goes_when_this_machine_has_it_and_no_visit_is_made_for_that() {
    let (world, far, mut talk, _) = settled();
    let vault = || crate::world::files(&far.claude.join(".claude-session-sync/vault")).into_values().map(|(_, bytes)| bytes).collect::<Vec<_>>();
    for round in 0..3 {
        let before = talk.clone();
        talk = talk.says("more here").rests();
        world.here.goes_on(&talk);
        let report = world.passes();
        assert_eq!(vault(), [before.bytes], "the newest displaced file alone, in round {round}");
        assert!(visit(&report, "box").channels <= 4);
        assert_eq!(visit(&world.passes(), "box").channels, 1, "an idle visit does not tidy up");
    }
    // A loser that this machine keeps goes as well; one that it cannot prove to hold stays.
    let (older, newer) = (talk.clone().says("there"), talk.clone().after(60).says("here"));
    far.goes_on(&older);
    world.here.goes_on(&newer);
    world.passes();
    assert_eq!(vault(), std::slice::from_ref(&older.bytes));
    let name = crate::world::files(&far.claude.join(".claude-session-sync/vault")).into_keys().next().unwrap();
    let foreign = name.replacen(&id(1), &id(2), 1);
    let vault_of_far = far.claude.join(".claude-session-sync/vault");
    std::fs::copy(vault_of_far.join(&name), vault_of_far.join(&foreign)).unwrap();
    world.here.goes_on(&newer.clone().says("more"));
    world.passes();
    assert_eq!(vault().len(), 2, "the winner that was displaced now, and what is not of the session that it says");
    assert!(vault_of_far.join(foreign).exists() && !vault_of_far.join(name).exists());
}
