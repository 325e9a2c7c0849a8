//! The vault beside a far store: what was displaced there goes once this machine holds it, and comes home where it does not.

use std::fs;
use std::path::PathBuf;

use claude_session_sync::reconcile::report::Verb;

use crate::talk::{Talk, id};
use crate::world::{Side, World};

/// The objects of a far vault.
fn objects(far: &Side) -> Vec<PathBuf> {
    let vault = fs::read_dir(far.claude.join(".claude-session-sync/vault"));
    vault.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

/// A session here that grew, after `passes` passes with a growth before each.
fn grown(passes: usize) -> (World, Side, Talk) {
    let (world, far) = World::with_box();
    let mut talk = Talk::begun(&id(1), &world.here.at("widget"), 60, "mine");
    let mut theirs = Talk::begun(&id(2), &far.at("widget"), 50, "theirs");
    world.here.put(&talk);
    far.put(&theirs);
    world.passes();
    for turn in 0..passes {
        talk = talk.says(&format!("turn {turn}"));
        theirs = theirs.says(&format!("turn {turn}"));
        world.here.goes_on(&talk);
        far.goes_on(&theirs);
        world.passes();
    }
    (world, far, talk)
}

#[test]
fn overtaken_copies_do_not_heap_up_in_the_far_vault() {
    let (_world, far, _) = grown(4);
    let left = objects(&far);
    assert_eq!(left.len(), 1, "only the last one is still there, for the next visit that installs something: {left:?}");
}

#[test]
fn what_a_far_vault_holds_alone_comes_home_before_it_goes() {
    let (world, far, talk) = grown(1);
    let [object] = objects(&far).try_into().unwrap();
    // A client there wrote to the old inode after it was displaced.
    let mut bytes = fs::read(&object).unwrap();
    bytes.extend_from_slice(b"{\"type\":\"user\",\"late\":true}\n");
    fs::write(&object, &bytes).unwrap();

    let talk = talk.says("one more");
    world.here.goes_on(&talk);
    far.put(&Talk::begun(&id(3), &far.at("widget"), 40, "asks for digests"));
    world.passes();
    assert!(world.displaced(&id(1)).iter().any(|kept| kept.0 == bytes), "the late line is in this machine's vault");
    assert!(!objects(&far).contains(&object), "and no longer only there");
}

#[test]
fn what_is_written_to_a_displaced_file_comes_home_though_nothing_else_happened() {
    let (world, far, _) = grown(1);
    let [object] = objects(&far).try_into().unwrap();
    let mut bytes = fs::read(&object).unwrap();
    for line in ["late", "later"] {
        bytes.extend_from_slice(format!("{{\"type\":\"user\",\"{line}\":true}}\n").as_bytes());
        fs::write(&object, &bytes).unwrap();
        let report = world.passes();
        assert!(world.displaced(&id(1)).iter().any(|kept| kept.0 == bytes), "{line}");
        assert_eq!((report.visits[0].not_home, report.visits[0].channels), (0, 1));
        let asked = world.passes().visits[0].bytes_in;
        assert_eq!(asked, 0, "once is enough");
    }
}

#[test]
fn what_lies_behind_the_content_of_the_archive_is_no_proof() {
    let (world, far, talk) = grown(1);
    let [object] = objects(&far).try_into().unwrap();
    let late = b"{\"type\":\"user\",\"late\":true}\n";
    let archived = world.data().join("vault/archive").join(format!("{}.jsonl", id(1)));
    let bytes = [fs::read(&archived).unwrap(), late.to_vec()].concat();
    fs::write(&object, &bytes).unwrap();
    // A pass was killed after it had appended, and before the index said so: the next that appends writes over it.
    fs::write(&archived, &bytes).unwrap();
    far.goes_on(&talk.says("one more"));
    world.here.put(&Talk::begun(&id(3), &world.here.at("widget"), 40, "asks for a put"));
    world.passes();
    assert!(!objects(&far).contains(&object), "it went there");
    assert!(world.displaced(&id(1)).iter().any(|kept| kept.0 == bytes), "and is here");
}

#[test]
fn what_a_killed_put_left_there_goes_after_a_day_with_any_later_put() {
    let (world, far, talk) = grown(1);
    let stage = far.claude.join(".claude-session-sync/stage");
    for name in ["0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"] {
        fs::create_dir_all(stage.join(name).join("data")).unwrap();
        fs::write(stage.join(name).join("data/0"), b"half").unwrap();
    }
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(25 * 60 * 60);
    fs::File::open(stage.join("0123456789abcdef0123456789abcdef")).unwrap().set_modified(old).unwrap();
    world.here.goes_on(&talk.says("one more"));
    world.passes();
    let left: Vec<_> = fs::read_dir(stage).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["fedcba9876543210fedcba9876543210"], "the younger one may still be waiting for the lock");
}

#[test]
fn what_a_killed_writer_left_here_goes_with_the_next_pass() {
    let (world, _far, _) = grown(1);
    let own = world.here.claude.join(".claude-session-sync");
    let left = [world.data().join("state/.new-a1B2c3"), own.join(".new-a1B2c3"), world.data().join("stage/fetched-a1B2c3")];
    for path in &left {
        fs::write(path, b"half").unwrap();
    }
    world.passes();
    assert!(!left.iter().any(|path| path.exists()));
}

#[test]
fn a_fork_is_there_before_the_copy_that_lost_is_displaced() {
    for here_loses in [true, false] {
        let (world, far, talk) = grown(1);
        let (loses, wins) = if here_loses { (&world.here, &far) } else { (&far, &world.here) };
        // Whatever their ids: of ten forks some would come behind their session by chance.
        for n in 0..10 {
            let talk = Talk::begun(&id(0x8000_0000 + n), &talk.cwd, 30, &format!("begun {n}"));
            loses.put(&talk.clone().says("older"));
            wins.put(&talk.after(60).says("newer"));
        }
        let report = world.passes();
        let at =
            |verb: Verb| report.actions.iter().enumerate().filter(move |(_, action)| action.verb == verb && action.at == loses.name).map(|(place, _)| place);
        assert_eq!((at(Verb::Fork).count(), at(Verb::Replace).count()), (10, 10), "{}", loses.name);
        assert!(at(Verb::Fork).max() < at(Verb::Replace).min(), "{}: a pass that is cut off between the two would forget that they diverged", loses.name);
    }
}

#[test]
fn a_copy_whose_fork_cannot_be_made_is_not_displaced() {
    for (direction, here_loses) in [("--pull", true), ("--days=30", true), ("--days=30", false)] {
        let (world, far, talk) = grown(1);
        let (loses, wins) = if here_loses { (&world.here, &far) } else { (&far, &world.here) };
        let talk = Talk::begun(&id(5), &talk.cwd, 30, "begun");
        let (lost, won) = (talk.clone().says("older"), talk.after(60).says("newer"));
        loses.put(&lost);
        wins.put(&won);
        // Something is in its place.
        let fork = world.here.path(&id(5)).with_file_name(format!("{}.jsonl", lost.fork_id()));
        fs::create_dir(&fork).unwrap();
        world.sync(&[direction]);
        assert_eq!(loses.bytes(&id(5)).0, lost.complete(), "{direction}, {}", loses.name);
        fs::remove_dir(&fork).unwrap();
        world.sync(&[direction]);
        assert!(fork.exists(), "{direction}, {}", loses.name);
        assert_eq!(loses.bytes(&id(5)).0, won.complete(), "{direction}, {}", loses.name);
    }
}

#[test]
fn a_copy_in_the_vault_that_was_damaged_keeps_nobody_from_fetching_it_again() {
    let (world, far, talk) = grown(1);
    let begun = Talk::begun(&id(5), &talk.cwd, 30, "begun");
    let (lost, won) = (begun.clone().says("older"), begun.after(60).says("newer"));
    world.here.put(&lost);
    far.put(&won);
    world.passes();
    let folder = world.data().join("vault/displaced").join(id(5));
    let kept = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).find(|file| fs::read(file).unwrap() == lost.complete()).unwrap();
    let damaged = vec![b'-'; lost.complete().len()];
    fs::write(&kept, &damaged).unwrap();
    // It is shown once more, as by a machine that was away.
    far.put(&lost);
    for pass in 1..=4 {
        let ran = world.sync(&[]);
        assert!(pass < 4 || ran.code == 0, "{ran:?}");
    }
    assert_eq!(far.bytes(&id(5)).0, won.complete(), "it lost again");
    let displaced = world.displaced(&id(5));
    assert!([lost.complete(), &damaged].iter().all(|bytes| displaced.iter().any(|kept| kept.0 == *bytes)), "and both lie in the vault");
}
