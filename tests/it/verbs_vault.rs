//! `vault verify`: a flipped byte, a truncated object and a missing one are named; everything else is as it was kept.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use claude_session_sync::reconcile::project::encode;
use serde_json::{Value, json};

use crate::e2e_world::{files, id};
use crate::verbs_world::{World, go_on};

/// A world with two sessions, of which one diverged: an object, and three copies in the archive, one of them of the fork.
fn with_a_loser() -> World {
    let world = World::new();
    let own = world.here(1, "fix the build", 60);
    world.here(2, "write the docs", 50);
    let folder = own.with_extension("").join("tool-results");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("a.txt"), "a long output").unwrap();
    world.sync();
    let project = world.far.claude().join("projects").join(encode(world.far_root().to_str().unwrap()));
    go_on(&own, "said here", 5);
    go_on(&project.join(format!("{}.jsonl", id(1))), "said there", 2);
    world.sync();
    world
}

fn vault(world: &World) -> PathBuf {
    world.home().join(".local/share/claude-session-sync/vault")
}

/// The displaced copy that lost.
fn object(world: &World) -> PathBuf {
    let lost = |path: &PathBuf| {
        let note = fs::read(format!("{}.json", path.display())).unwrap_or_default();
        serde_json::from_slice::<Value>(&note).is_ok_and(|note| note["reason"] == "lost")
    };
    files(&vault(world).join("displaced")).into_iter().find(lost).unwrap()
}

fn archived(world: &World, name: &str) -> PathBuf {
    vault(world).join("archive").join(name)
}

fn flip(file: &Path, at: u64) {
    let opened = fs::File::options().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    opened.read_exact_at(&mut byte, at).unwrap();
    opened.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

fn truncate(file: &Path) {
    let opened = fs::File::options().write(true).open(file).unwrap();
    opened.set_len(opened.metadata().unwrap().len() - 1).unwrap();
}

/// What is damaged, by the end of its path.
#[track_caller]
fn damaged(world: &World) -> Vec<(String, String)> {
    let said = world.run("vault verify --json");
    let found = said.json()["damaged"].clone();
    let name = |path: &Value| Path::new(path.as_str().unwrap()).file_name().unwrap().to_str().unwrap().to_owned();
    let found: Vec<(String, String)> =
        found.as_array().unwrap().iter().map(|damaged| (name(&damaged["path"]), damaged["what"].as_str().unwrap().to_owned())).collect();
    assert_eq!(said.code, i32::from(!found.is_empty()), "{said:?}");
    found
}

fn one(path: &Path, what: &str) -> Vec<(String, String)> {
    vec![(path.file_name().unwrap().to_str().unwrap().to_owned(), what.to_owned())]
}

#[test]
fn a_vault_that_nobody_touched_is_as_it_was_kept() {
    let empty = World::new();
    assert_eq!(empty.run("vault verify").out, "vault      0 displaced objects and 0 archived files, 0 B: as they were kept\n");
    let world = with_a_loser();
    let said = world.run("vault verify --json").json();
    assert!(said["objects"].as_u64().unwrap() >= 1 && said["bytes"].as_u64().unwrap() > 0, "{said}");
    assert_eq!((&said["copies"], &said["damaged"]), (&json!(4), &json!([])), "two sessions, a fork, a side file: {said}");
}

#[test]
fn each_damage_is_named_and_nothing_beside_it() {
    type Target = fn(&World) -> PathBuf;
    let targets: [Target; 3] =
        [object, |world| archived(world, &format!("{}.jsonl", id(2))), |world| archived(world, &format!("{}/tool-results/a.txt", id(1)))];
    for target in targets {
        let world = with_a_loser();
        let file = target(&world);
        let whole = fs::read(&file).unwrap();
        flip(&file, whole.len() as u64 / 2);
        assert_eq!(damaged(&world), one(&file, "changed"));
        let told = world.run("vault verify");
        assert!(told.code == 1 && told.out.contains(file.file_name().unwrap().to_str().unwrap()) && told.out.contains("1 damaged"), "{told:?}");
        fs::write(&file, &whole).unwrap();
        truncate(&file);
        assert_eq!(damaged(&world), one(&file, "truncated"));
        fs::remove_file(&file).unwrap();
        assert_eq!(damaged(&world), one(&file, "missing"));
        fs::write(&file, &whole).unwrap();
        assert_eq!(damaged(&world), []);
    }
}

#[test]
fn what_nothing_speaks_of_is_judged_by_its_name_or_said() {
    let world = with_a_loser();
    let object = object(&world);
    fs::write(format!("{}.json", object.display()), "half a no").unwrap();
    assert_eq!(damaged(&world), [], "the name of the object says what it holds");
    flip(&object, 3);
    assert_eq!(damaged(&world), one(&object, "unnoted"));
    flip(&object, 3);
    let stranger = archived(&world, &format!("{}.jsonl", id(9)));
    fs::write(&stranger, "{}\n").unwrap();
    assert_eq!(damaged(&world), one(&stranger, "unindexed"));
}

#[test]
fn an_archive_that_is_switched_off_misses_no_copy() {
    let world = with_a_loser();
    fs::remove_file(archived(&world, &format!("{}.jsonl", id(2)))).unwrap();
    world.reach(&world.far.command(), "[vault]\narchive = false\n");
    assert_eq!(damaged(&world), []);
}
