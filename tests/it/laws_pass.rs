//! Laws of a whole pass, on the real binary: what is gone stays gone, one id has one directory, nothing that was shown is lost.

use std::fs;

use crate::laws_world::{ID, OTHER, World, append, encoded, line};

#[test]
fn two_machines_and_this_one_are_equal_after_one_pass_and_the_second_moves_nothing() {
    let world = World::new(&["box", "tower"], "");
    world.here().say(ID, &[("mine", 30)]);
    world.far("box").say(OTHER, &[("from the box", 20)]);
    world.good(&[]);
    for side in [world.here(), world.far("box"), world.far("tower")] {
        assert_eq!(side.ids(), [ID, OTHER]);
    }
    let second = world.good(&[]);
    assert!(second["actions"].as_array().unwrap().is_empty(), "{second:#}");
    assert!(second["visits"].as_array().unwrap().iter().all(|visit| visit["bytes_in"] == 0 && visit["channels"] == 1), "{second:#}");
}

#[test]
fn a_transcript_deleted_here_is_not_brought_back_although_its_folder_is_still_there() {
    let world = World::new(&["box"], "");
    world.here().say(ID, &[("a", 30)]);
    world.here().say(OTHER, &[("stays", 30)]);
    append(&world.here().project("").join(ID).join("tool-results/a.txt"), "result");
    world.good(&[]);
    fs::remove_file(world.here().transcript(ID)).unwrap();
    let report = world.good(&[]);
    assert_eq!(world.here().read(ID), None, "{report:#}");
    assert!(world.far("box").read(ID).is_some());
    world.far("box").say(ID, &[("b", 5)]);
    world.good(&[]);
    assert_eq!(world.here().read(ID), world.far("box").read(ID), "grown elsewhere, it comes back");
    assert!(world.here().read(ID).is_some());
}

#[test]
fn a_transcript_deleted_there_is_not_brought_back_although_its_folder_is_still_there() {
    let world = World::new(&["box"], "");
    let far = world.far("box");
    world.here().say(ID, &[("a", 30)]);
    world.here().say(OTHER, &[("stays", 30)]);
    append(&world.here().project("").join(ID).join("tool-results/a.txt"), "result");
    world.good(&[]);
    world.good(&[]);
    fs::remove_file(far.transcript(ID)).unwrap();
    let report = world.good(&[]);
    assert_eq!(far.read(ID), None, "{report:#}");
}

#[test]
fn a_fork_that_was_deleted_here_is_not_brought_back_while_its_origin_still_stands_elsewhere() {
    let world = World::new(&["box"], "");
    world.here().say(ID, &[("begin", 50)]);
    fs::create_dir_all(world.far("box").project("")).unwrap();
    fs::copy(world.here().transcript(ID), world.far("box").transcript(ID)).unwrap();
    world.here().say(ID, &[("here", 5)]);
    world.far("box").say(ID, &[("there", 30)]);
    world.good(&["--pull"]);
    let fork = world.here().ids().into_iter().find(|id| id != ID).expect("the loser is a session of its own here");
    fs::remove_file(world.here().transcript(&fork)).unwrap();
    let report = world.good(&["--pull"]);
    assert_eq!(world.here().ids(), [ID], "{report:#}");
}

#[test]
fn a_session_that_lies_in_two_directories_here_is_left_alone() {
    let world = World::new(&["box"], "");
    let here = world.here();
    here.say(OTHER, &[("other", 30)]);
    here.say(ID, &[("a", 30)]);
    let second = here.project("app").join(format!("{ID}.jsonl"));
    append(&second, &line("a", 30, &here.clone.join("app")));
    world.far("box").say(ID, &[("far", 3)]);
    let before = here.all().into_iter().filter(|(path, _)| path.contains(ID)).collect::<Vec<_>>();
    let report = world.good(&[]);
    let after = here.all().into_iter().filter(|(path, _)| path.contains(ID)).collect::<Vec<_>>();
    assert_eq!(before, after);
    let actions = report["actions"].as_array().unwrap();
    assert!(!actions.iter().any(|action| action["session"] == ID && action["at"] == "here"), "{report:#}");
}

#[test]
fn a_link_in_the_place_of_a_transcript_is_not_taken_for_an_absent_one() {
    let world = World::new(&["box"], "");
    let here = world.here();
    here.say(OTHER, &[("other", 30)]);
    let elsewhere = world.root().join("elsewhere");
    fs::write(&elsewhere, "mine").unwrap();
    std::os::unix::fs::symlink(&elsewhere, here.transcript(ID)).unwrap();
    world.far("box").say(ID, &[("far", 3)]);
    let report = world.good(&[]);
    assert!(!report["actions"].as_array().unwrap().iter().any(|action| action["session"] == ID), "{report:#}");
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "mine");
}

#[test]
fn an_id_that_lies_in_a_directory_of_another_clone_there_gets_no_second_directory() {
    let world = World::new(&["box"], "");
    let far = world.far("box");
    far.say(OTHER, &[("other", 30)]);
    world.here().say(ID, &[("mine", 3)]);
    let stranger = far.claude.join("projects").join(encoded(&world.root().join("box/unknown"))).join(format!("{ID}.jsonl"));
    append(&stranger, &line("mine", 30, &world.root().join("box/unknown")));
    let report = world.good(&[]);
    assert_eq!(far.ids(), [ID, OTHER], "{report:#}");
}

#[test]
fn a_directory_with_a_strange_name_in_a_session_folder_is_passed_over() {
    use std::os::unix::ffi::OsStrExt as _;
    let world = World::new(&["box"], "");
    let here = world.here();
    here.say(ID, &[("a", 30)]);
    fs::create_dir_all(here.project("").join(ID).join(std::ffi::OsStr::from_bytes(b"caf\xe9"))).unwrap();
    fs::create_dir_all(here.project("").join(ID).join(".hidden")).unwrap();
    world.good(&[]);
    assert_eq!(world.far("box").read(ID), here.read(ID));
}

#[test]
fn a_new_session_goes_to_the_clone_used_last_also_after_a_pass_extended_the_only_session_in_it() {
    let world = World::new(&["box"], "[sync]\nclone_roots = []\n");
    world.here().say(ID, &[("a", 50)]);
    world.good(&[]);
    world.far("box").say(ID, &[("b", 30)]);
    world.good(&[]);
    world.far("box").say(OTHER, &[("new", 10)]);
    world.good(&[]);
    assert_eq!(world.here().ids(), [ID, OTHER]);
    assert!(world.here().read(OTHER).is_some(), "{:?}", world.here().all().iter().map(|(path, _)| path).collect::<Vec<_>>());
}

#[test]
fn a_session_here_in_no_clone_stays_refused_however_often_a_far_machine_shows_its_id() {
    let world = World::new(&["box"], "");
    let (here, notes) = (world.here(), world.root().join("home/notes"));
    here.say(OTHER, &[("other", 30)]);
    let mine = here.claude.join("projects").join(encoded(&notes)).join(format!("{ID}.jsonl"));
    append(&mine, &line("mine", 30, &notes));
    let before = fs::read(&mine).unwrap();
    for round in 0..3 {
        world.far("box").say(ID, &[("theirs", 5 - round)]);
        let report = world.good(&[]);
        assert_eq!(fs::read(&mine).unwrap(), before, "{report:#}");
        assert!(report["actions"].as_array().unwrap().iter().all(|action| action["session"] != ID), "{report:#}");
    }
}

#[test]
fn a_deletion_here_does_not_keep_two_others_from_becoming_equal() {
    let world = World::new(&["box", "tower"], "");
    world.here().say(OTHER, &[("other", 50)]);
    world.here().say(ID, &[("a", 40)]);
    world.good(&["box"]);
    fs::remove_file(world.here().transcript(ID)).unwrap();
    world.far("box").say(ID, &[("b", 20)]);
    // Grown there, it comes back; deleted again, and the archive has the longer one.
    world.good(&["box"]);
    fs::remove_file(world.here().transcript(ID)).unwrap();
    let longer = world.far("box").read(ID).unwrap();
    fs::write(world.far("box").transcript(ID), &longer[..=longer.find('\n').unwrap()]).unwrap();
    world.good(&[]);
    assert_eq!(world.here().read(ID), None);
    assert_eq!(world.far("tower").read(ID), world.far("box").read(ID));
}
