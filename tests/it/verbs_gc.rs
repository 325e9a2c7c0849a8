//! `vault gc`: what is held twice goes, by a proof read anew; nothing without one. And what is kept of deleted sessions, if its user says so.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::e2e_world::{files, id, transcripts};
use crate::kept::{Kept, diverged, far_file, restored, said_here, short};
use crate::tmux::Pane;
use crate::verbs_world::{World, go_on};

const DAY: i64 = 24 * 60;

fn vault(world: &World) -> PathBuf {
    world.home().join(".local/share/claude-session-sync/vault")
}

/// Every file of the vault with what it holds.
fn picture(world: &World) -> BTreeMap<PathBuf, Vec<u8>> {
    files(&vault(world)).into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect()
}

/// Displaced objects whose note says this.
fn objects(world: &World, reason: &str) -> Vec<PathBuf> {
    let is_it = |path: &PathBuf| note(path).is_some_and(|note| note["reason"] == reason);
    files(&vault(world).join("displaced")).into_iter().filter(is_it).collect()
}

fn note_of(object: &Path) -> PathBuf {
    PathBuf::from(format!("{}.json", object.display()))
}

fn note(object: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(note_of(object)).ok()?).ok()
}

fn archived(world: &World, number: u32) -> PathBuf {
    vault(world).join(format!("archive/{}.jsonl", id(number)))
}

fn flip(file: &Path) {
    let opened = fs::File::options().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    opened.read_exact_at(&mut byte, 20).unwrap();
    opened.write_all_at(&[byte[0] ^ 1], 20).unwrap();
}

/// What `vault gc` says went, by reason.
#[track_caller]
fn gone(world: &World, line: &str) -> Vec<String> {
    let said = world.run(&format!("vault gc {line} --json"));
    assert_eq!(said.code, 0, "{said:?}");
    let gone = said.json()["gone"].clone();
    gone.as_array().unwrap().iter().map(|gone| gone["why"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn is_sound(world: &World) {
    let said = world.run("vault verify");
    assert_eq!(said.code, 0, "{said:?}");
}

/// A world with an object that was overtaken, which no sweep has seen yet.
fn with_an_overtaken_copy() -> (World, PathBuf) {
    let world = World::new();
    world.here(1, "fix the build", 60);
    world.here(2, "write the docs", 50);
    world.sync();
    go_on(&far_file(&world, 1), "and the tests", 2);
    world.sync();
    let object = objects(&world, "overtaken").pop().unwrap();
    (world, object)
}

/// Writes a note again, with another reason.
fn for_another_reason(object: &Path, reason: &str) {
    let mut changed = note(object).unwrap();
    changed["reason"] = json!(reason);
    fs::write(note_of(object), changed.to_string()).unwrap();
}

#[test]
fn a_copy_that_a_longer_one_begins_with_goes_and_then_nothing_more() {
    for reason in ["overtaken", "grew", "recovered"] {
        let (world, object) = with_an_overtaken_copy();
        for_another_reason(&object, reason);
        let before = picture(&world);
        assert_eq!(gone(&world, "--dry-run"), ["held"]);
        assert_eq!(picture(&world), before, "a dry run removes nothing");
        let said = world.run("vault gc");
        assert!(said.code == 0 && said.out.contains("beginnings of longer copies") && said.out.contains("let go of 1 file"), "{said:?}");
        assert!(!object.exists() && !note_of(&object).exists() && !object.parent().unwrap().exists());
        is_sound(&world);
        let after = picture(&world);
        assert_eq!(world.run("vault gc").out, "vault      holds nothing that may go\n");
        assert_eq!(picture(&world), after);
        world.sync();
    }
}

#[test]
fn without_the_bytes_in_its_holder_or_with_others_in_itself_an_object_stays() {
    type Damage = fn(&World, &Path);
    let damages: [(&str, Damage); 5] = [
        ("the holder was changed", |world, _| flip(&archived(world, 1))),
        ("the holder was cut", |world, object| {
            let file = fs::File::options().write(true).open(archived(world, 1)).unwrap();
            file.set_len(fs::metadata(object).unwrap().len() - 1).unwrap();
        }),
        ("the holder is missing", |world, _| fs::remove_file(archived(world, 1)).unwrap()),
        ("the object was changed", |_, object| flip(object)),
        ("the object stands for a conflict", |_, object| for_another_reason(object, "lost")),
    ];
    for (what, damage) in damages {
        let (world, object) = with_an_overtaken_copy();
        damage(&world, &object);
        let before = picture(&world);
        assert_eq!(gone(&world, ""), Vec::<String>::new(), "{what}");
        assert_eq!(picture(&world), before, "{what}");
    }
}

#[test]
fn what_an_interrupted_append_left_behind_the_archives_content_holds_nothing() {
    let (world, object) = with_an_overtaken_copy();
    // The index speaks of fewer bytes than the file has, as after a crash between the two.
    let index = vault(&world).join("archive/index.jsonl");
    let text = fs::read_to_string(&index).unwrap();
    let mut record: Value = serde_json::from_str(text.lines().rfind(|line| line.contains(&id(1))).unwrap()).unwrap();
    record["content"]["length"] = json!(10);
    fs::write(&index, format!("{text}{record}\n")).unwrap();
    assert_eq!(gone(&world, ""), Vec::<String>::new());
    assert!(object.exists());
}

#[test]
fn of_a_copy_that_lies_twice_the_one_that_says_more_stays() {
    let (world, _) = diverged(said_here);
    let lost = objects(&world, "lost");
    assert_eq!(lost.len(), 2, "as it was secured, and as the inode that made way");
    let conflicts = |world: &World| {
        let mut conflicts = world.run("conflicts --json").json()["conflicts"].clone();
        conflicts[0]["lost"]["path"].take();
        conflicts
    };
    let before = conflicts(&world);
    for damaged in &lost {
        flip(damaged);
        assert_eq!(gone(&world, ""), Vec::<String>::new(), "of two that differ, both stay");
        flip(damaged);
    }
    assert_eq!(gone(&world, ""), ["twice"]);
    assert_eq!(objects(&world, "lost").len(), 1);
    assert_eq!(conflicts(&world), before);
    is_sound(&world);
    assert_eq!(gone(&world, ""), Vec::<String>::new());
    world.sync();
    world.sync();
    assert_eq!(conflicts(&world), before);
}

#[test]
fn what_a_crash_left_in_the_writing_goes_when_it_is_a_day_old() {
    let (world, _) = diverged(said_here);
    gone(&world, "");
    let place = objects(&world, "lost")[0].parent().unwrap().to_owned();
    let put = |path: PathBuf, hours: u64| {
        fs::write(&path, "half").unwrap();
        fs::File::options().append(true).open(&path).unwrap().set_modified(SystemTime::now() - Duration::from_secs(hours * 3600)).unwrap();
        path
    };
    let old = [put(place.join(".new-aB3"), 25), put(vault(&world).join("archive/.new-Zz"), 25)];
    let stay = [put(place.join(".new-young"), 23), put(place.join("notes.txt"), 999), put(vault(&world).join("README"), 999)];
    assert_eq!(gone(&world, ""), ["leftover", "leftover"]);
    assert!(old.iter().all(|file| !file.exists()) && stay.iter().all(|file| file.exists()));
}

/// Three sessions of long ago, of which two were deleted: one here and far, one here only; and a young one that was deleted, too.
fn with_deleted_sessions() -> World {
    let world = World::new();
    for (number, text, minutes) in [(1, "fix the build", 100 * DAY), (2, "write the docs", 100 * DAY), (3, "plan the week", 120 * DAY), (4, "call home", 60)] {
        let file = world.here(number, text, minutes);
        let folder = file.with_extension("").join("tool-results");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("a.txt"), text).unwrap();
    }
    let old = SystemTime::now() - Duration::from_secs(120 * 86_400);
    let there = world.there(3, "plan the week", 120 * DAY);
    fs::copy(world.came(3), &there).unwrap();
    fs::File::options().append(true).open(&there).unwrap().set_modified(old).unwrap();
    world.sync();
    for number in [1, 3, 4] {
        fs::remove_file(world.came(number)).unwrap();
        fs::remove_dir_all(world.came(number).with_extension("")).unwrap();
    }
    world.sync();
    world
}

#[test]
fn what_is_kept_of_deleted_sessions_is_not_asked_for_in_a_script() {
    let world = with_deleted_sessions();
    let before = picture(&world);
    let said = world.run("vault gc --older-than 90d");
    assert!(said.code == 2 && said.err.contains("2 sessions") && said.err.contains("asks at a terminal") && said.err.contains("--dry-run"), "{said:?}");
    let told = world.run("vault gc --older-than 90d --dry-run");
    assert!(told.code == 0 && told.out.contains("plan the week") && told.out.contains("fix the build") && !told.out.contains("call home"), "{told:?}");
    assert_eq!(picture(&world), before);
    assert_eq!(world.run("vault gc --older-than 200d").code, 0, "there is nothing to ask for");
    assert_eq!(world.run("vault gc --older-than soon").code, 2);
}

#[test]
fn what_is_kept_of_deleted_sessions_goes_when_their_number_is_typed() {
    let world = with_deleted_sessions();
    let before = picture(&world);
    for answer in ["3", "yes"] {
        let Some(terminal) = Pane::at(&world) else { return };
        terminal.run("vault gc --older-than 90d");
        let shown = terminal.shows("Type 2");
        assert!(shown.find("plan the week").unwrap() < shown.find("fix the build").unwrap(), "{shown}");
        terminal.types(answer);
        terminal.key("Enter");
        terminal.shows("ended-0.");
        assert_eq!(picture(&world), before, "{answer}");
    }
    let Some(terminal) = Pane::at(&world) else { return };
    terminal.run("vault gc --older-than 90d");
    terminal.shows("Type 2");
    terminal.types("2");
    terminal.key("Enter");
    let shown = terminal.shows("ended-0.");
    assert!(shown.contains("of deleted sessions"), "{shown}");
    let holds = |text: &str| {
        picture(&world).into_iter().filter(|(path, _)| !path.ends_with("index.jsonl")).any(|(_, bytes)| String::from_utf8_lossy(&bytes).contains(text))
    };
    assert!(!holds("fix the build") && !holds("plan the week") && holds("write the docs") && holds("call home"));
    is_sound(&world);
    let known = transcripts(&world.claude());
    for _ in 0..2 {
        world.sync();
        assert_eq!(transcripts(&world.claude()), known, "nothing comes back");
        is_sound(&world);
    }
    assert!(!holds("fix the build"));
    let listed = world.run("restore --json").json()["sessions"].clone();
    assert_eq!(listed.as_array().unwrap().iter().map(|row| row["session"].clone()).collect::<Vec<_>>(), [json!(id(4))], "{listed:#}");
    let said = world.run(&format!("restore {}", short(1)));
    assert!(said.code == 1 && said.err.contains("no bytes of it are kept: the vault let go of them on"), "{said:?}");
    assert_eq!(world.run("vault gc --older-than 90d").code, 0, "and there is nothing left to ask for");
}

#[test]
fn what_was_let_go_of_is_archived_again_when_it_is_seen_again_and_finished_after_a_crash() {
    let world = with_deleted_sessions();
    let bytes = fs::read(archived(&world, 1)).unwrap();
    let Some(terminal) = Pane::at(&world) else { return };
    terminal.run("vault gc --older-than 90d");
    terminal.shows("Type 2");
    terminal.types("2");
    terminal.key("Enter");
    terminal.shows("ended-0.");
    assert!(!archived(&world, 1).exists());
    // As a crash leaves it: the index says that it was let go of, and the file is still there.
    fs::write(archived(&world, 1), &bytes).unwrap();
    is_sound(&world);
    let listed = world.run("restore --json").json()["sessions"].clone();
    assert!(!listed.to_string().contains(&id(1)), "what its user let go of is not offered: {listed:#}");
    let told = world.run("vault gc --older-than 90d --dry-run --json").json();
    assert_eq!((&told["sessions"][0]["session"], &told["sessions"][0]["files"]), (&json!(id(1)), &json!(1)), "{told:#}");
    // From a backup it comes to lie here again, shorter than it was known.
    let text = String::from_utf8(bytes).unwrap();
    let short_of_it: String = text.split_inclusive('\n').take(3).collect();
    fs::write(world.came(1), &short_of_it).unwrap();
    world.sync();
    assert_eq!(fs::read_to_string(archived(&world, 1)).unwrap(), short_of_it);
    is_sound(&world);
    let kept = Kept::deleted(&world.came(1));
    restored(&world, &short(1));
    kept.stays(&world);
}
