//! Copies in the archive and the vault that a disk lost bytes of, or that cannot be read: what they were comes home again, and nothing
//! else waits for it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::strace;
use crate::talk::{Talk, id};
use crate::world::{Ran, Side, World};

type Damage = fn(&mut Vec<u8>);
type Event = fn(&mut World, &Side, &Talk);

/// What became of a file.
const DAMAGES: [(&str, Damage); 2] = [("a byte is another one", |bytes| bytes[100] ^= 1), ("its end is missing", |bytes| bytes.truncate(100))];

/// A session of the far machine that is equal here and in the archive, another beside it, and the archive's file of the first.
fn archived() -> (World, Side, Talk, PathBuf) {
    let (world, far) = World::with_box();
    let talk = Talk::begun(&id(1), &far.at("widget"), 60, "theirs");
    far.put(&talk);
    world.here.put(&Talk::begun(&id(2), &world.here.at("widget"), 50, "another"));
    world.passes();
    let copy = world.data().join("vault/archive").join(format!("{}.jsonl", id(1)));
    assert_eq!(fs::read(&copy).unwrap(), talk.complete());
    (world, far, talk, copy)
}

fn damage(file: &PathBuf, how: Damage) -> Vec<u8> {
    let mut bytes = fs::read(file).unwrap();
    how(&mut bytes);
    fs::write(file, &bytes).unwrap();
    bytes
}

/// Runs the program with these arguments where reading that file is an error of the disk; none where that cannot be had.
fn broken(world: &World, file: &Path, arguments: &[&str]) -> Option<Ran> {
    let path = file.display().to_string();
    let before = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", &path, "-e", "inject=read,pread64,copy_file_range,sendfile,splice:error=EIO"];
    strace::here().then(|| Ran::of(&mut world.command(&before, arguments)))
}

/// Passes until one that fails in nothing finds nothing to do.
#[track_caller]
fn healed(world: &World, case: &str) {
    let [.., ran] = [(); 4].map(|()| world.sync(&[]));
    let report = ran.went_well();
    assert_eq!((report.actions.len(), report.visits[0].skipped.len()), (0, 0), "{case}: {ran:?}");
}

/// What happens then, so that the copy is what a content would be taken of.
const EVENTS: [(&str, Event); 4] = [
    ("it was deleted here, and goes on there", |world, far, talk| {
        fs::remove_file(world.here.path(&id(1))).unwrap();
        far.goes_on(&talk.clone().says("more"));
    }),
    ("it was deleted here, and what was seen there is not remembered", |world, _, _| {
        fs::remove_file(world.here.path(&id(1))).unwrap();
        fs::remove_dir_all(world.data().join("state")).unwrap();
    }),
    ("this store was emptied", |world, _, _| fs::remove_dir_all(world.here.claude.join("projects")).unwrap()),
    ("it was deleted here, and one more machine has not got it", |world, _, _| {
        fs::remove_file(world.here.path(&id(1))).unwrap();
        world.machine("tower", &["acme/widget"]).clone_of("widget", "git@github.com:acme/widget.git");
    }),
];

#[test]
fn a_damaged_copy_in_the_archive_keeps_nobody_from_fetching_it_again() {
    for (damaged, how) in DAMAGES {
        for (happened, happens) in EVENTS {
            let case = format!("{damaged}; {happened}");
            let (mut world, far, talk, copy) = archived();
            let left = damage(&copy, how);
            happens(&mut world, &far, &talk);
            healed(&world, &case);
            assert_eq!(world.archived(&id(1)), Some(far.bytes(&id(1))), "{case}");
            assert!(world.displaced(&id(1)).iter().any(|kept| kept.0 == left), "{case}: what was left of it is kept");
        }
    }
}

#[test]
fn what_a_greater_side_file_takes_the_place_of_in_the_archive_is_kept() {
    for (case, how) in [("whole", (|_| ()) as Damage), ("damaged", |bytes| bytes[0] ^= 1), ("short", |bytes| bytes.truncate(1))] {
        let (world, far, talk, copy) = archived();
        far.put_side(&talk, "tool-results/a.txt", b"only in the archive", 40);
        world.passes();
        fs::remove_dir_all(world.here.path(&id(1)).with_extension("")).unwrap();
        fs::remove_file(world.here.path(&id(1))).unwrap();
        let kept = damage(&copy.with_extension("").join("tool-results/a.txt"), how);
        far.put_side(&talk, "tool-results/a.txt", b"written anew there", 20);
        healed(&world, case);
        assert!(world.displaced(&id(1)).iter().any(|object| object.0 == kept), "{case}: {:?}", world.displaced(&id(1)));
    }
}

#[test]
fn a_copy_in_the_archive_that_lost_its_end_makes_room_for_what_outranks_it() {
    for (case, how) in DAMAGES {
        let (world, far, _, copy) = archived();
        let left = damage(&copy, how);
        let other = Talk::begun(&id(1), &world.here.path(&id(1)).display().to_string(), 30, "another beginning");
        world.here.goes_on(&other);
        far.goes_on(&other);
        healed(&world, case);
        assert_eq!(world.archived(&id(1)).unwrap().0, other.complete(), "{case}");
        let displaced = world.displaced(&id(1));
        assert!(displaced.iter().any(|kept| kept.0 == left), "{case}");
    }
}

#[test]
fn a_copy_in_the_archive_that_cannot_be_read_keeps_back_its_own_session_only() {
    let (world, far, talk, copy) = archived();
    fs::remove_file(world.here.path(&id(1))).unwrap();
    far.goes_on(&talk.clone().says("more"));
    let new = Talk::begun(&id(3), &far.at("widget"), 20, "new");
    far.put(&new);
    let Some(ran) = broken(&world, &copy, &world.arguments(&[])) else { return };
    assert_eq!(world.here.bytes(&id(3)), new.bytes, "{ran:?}");
    assert_eq!(world.here.paths(&id(1)), Vec::<PathBuf>::new());
    assert_eq!(ran.report().visits[0].skipped.len(), 1, "{ran:?}");
}

#[test]
fn a_file_that_is_a_directory_elsewhere_is_kept_beside_and_nothing_waits_for_it() {
    for (first, then) in [("subagents/agent-1.jsonl", "subagents"), ("tool-results", "tool-results/a.txt")] {
        let (world, far, talk, _) = archived();
        far.put_side(&talk, first, b"{\"first\":1}\n", 40);
        world.passes();
        for side in [&world.here, &far] {
            fs::remove_dir_all(side.path(&id(1)).with_extension("")).unwrap();
        }
        far.put_side(&talk, then, b"{\"then\":1}\n", 20);
        far.put(&Talk::begun(&id(3), &far.at("widget"), 20, "new"));
        for _ in 0..3 {
            world.passes();
        }
        assert_eq!(world.here.sessions(), far.sessions(), "{then}");
        assert!(world.displaced(&id(1)).iter().any(|kept| kept.0 == b"{\"then\":1}\n"), "{then}");
    }
}

#[test]
fn a_copy_that_the_index_of_the_archive_does_not_speak_of_is_kept_before_another_takes_its_place() {
    let (world, far, talk, _) = archived();
    let longer = talk.clone().says("more");
    far.goes_on(&longer);
    far.put_side(&talk, "tool-results/a.txt", b"result", 40);
    world.passes();
    let index = world.data().join("vault/archive/index.jsonl");
    let lines = fs::read_to_string(&index).unwrap();
    fs::write(&index, lines.split_inclusive('\n').filter(|line| !line.contains(&id(1))).collect::<String>()).unwrap();
    fs::remove_dir_all(world.here.claude.join("projects")).unwrap();
    fs::remove_dir_all(world.data().join("state")).unwrap();
    far.goes_on(&talk);
    far.put_side(&talk, "tool-results/a.txt", b"less", 50);
    healed(&world, "");
    assert_eq!(world.archived(&id(1)), Some(talk.bytes));
    let displaced = world.displaced(&id(1));
    assert!(displaced.contains(&longer.bytes) && displaced.iter().any(|kept| kept.0 == b"result"), "{displaced:?}");
}

#[test]
fn a_copy_in_the_archive_that_cannot_be_read_back_is_made_anew() {
    // As it was left, and by a pass that was killed while it wrote.
    for left in ["", "torn"] {
        let (world, _, talk, copy) = archived();
        let grown = talk.says("more");
        world.here.goes_on(&grown);
        fs::write(&copy, [fs::read(&copy).unwrap().as_slice(), left.as_bytes()].concat()).unwrap();
        let Some(ran) = broken(&world, &copy, &world.arguments(&[])) else { return };
        ran.went_well();
        assert_eq!(world.archived(&id(1)), Some(grown.bytes), "{left}");
    }
}

#[test]
fn a_version_that_cannot_be_read_keeps_no_other_from_being_restored() {
    let (world, far, talk, _) = archived();
    let (lost, won) = (talk.clone().says("older"), talk.after(60).says("newer"));
    world.here.goes_on(&lost);
    far.goes_on(&won);
    world.passes();
    let folder = world.data().join("vault/displaced").join(id(1));
    let object = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).find(|file| fs::read(file).unwrap() == lost.complete()).unwrap();
    for side in [&world.here, &far] {
        fs::remove_file(side.path(&id(1))).unwrap();
    }
    let Some(restored) = broken(&world, &object, &["restore", &id(1)]) else { return };
    assert_eq!((restored.code, world.here.bytes(&id(1))), (0, won.bytes), "{restored:?}");
}

#[test]
fn a_vault_that_cannot_take_what_is_left_of_a_damaged_copy_costs_the_others_nothing() {
    let (mut world, far, talk, copy) = archived();
    damage(&copy, DAMAGES[0].1);
    EVENTS[3].1(&mut world, &far, &talk);
    let in_the_way = world.data().join("vault/displaced").join(id(1));
    fs::write(&in_the_way, "a file").unwrap();
    let other = Talk::begun(&id(3), &far.at("widget"), 20, "come meanwhile");
    far.put(&other);
    let ran = world.sync(&[]);
    assert_eq!(ran.code, 3, "what could be done is told, not that nothing was: {ran:?}");
    assert!(ran.report().notes.iter().any(|note| note.starts_with("what is damaged in the vault")), "{:?}", ran.report().notes);
    assert_eq!(world.here.bytes(&id(3)).0, other.complete());
    fs::remove_file(in_the_way).unwrap();
    healed(&world, "once there is room");
}
