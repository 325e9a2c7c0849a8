//! `verify`: planted faults, each found and nothing beside it; here, and at a far side that is only asked.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use claude_session_sync::reconcile::project::encode;
use serde_json::{Value, json};

use crate::e2e_world::{Laptop, files, id, put_clone, put_session, transcript};
use crate::skip::skip_unless_root;
use crate::verbs_world::{World, go_on};

/// What is found of each session that has a fault, by its number.
#[track_caller]
fn found(world: &World, line: &str) -> BTreeMap<u32, Vec<String>> {
    let said = world.run(line);
    let places = said.json()["places"].clone();
    assert_eq!(places[0]["outcome"], "looked", "{said:?}");
    let mut found = BTreeMap::new();
    for session in places[0]["sessions"].as_array().unwrap() {
        let faults: Vec<String> = session["faults"].as_array().unwrap().iter().map(|fault| fault["what"].as_str().unwrap().to_owned()).collect();
        if !faults.is_empty() {
            found.insert(u32::from_str_radix(&session["session"].as_str().unwrap()[..8], 16).unwrap(), faults);
        }
    }
    assert_eq!(said.code, i32::from(!found.is_empty()), "{said:?}");
    found
}

fn only(number: u32, fault: &str) -> BTreeMap<u32, Vec<String>> {
    BTreeMap::from([(number, vec![fault.to_owned()])])
}

fn none() -> BTreeMap<u32, Vec<String>> {
    BTreeMap::new()
}

fn set_mode(file: &Path, mode: u32) {
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
}

fn touched_days_ago(file: &Path, days: u64) {
    fs::File::options().append(true).open(file).unwrap().set_modified(SystemTime::now() - Duration::from_secs(days * 86_400)).unwrap();
}

/// Every name below a directory, with what `stat` tells of writing.
fn picture(directory: &Path) -> Vec<(PathBuf, u64, SystemTime)> {
    files(directory).into_iter().map(|file| (file.clone(), fs::metadata(&file).unwrap().len(), fs::metadata(&file).unwrap().modified().unwrap())).collect()
}

/// Three sessions of here and one of there, synced.
fn healthy() -> World {
    let world = World::new();
    for number in 1..=3 {
        world.here(number, "fix the build", 60 + i64::from(number));
    }
    world.there(4, "write the docs", 50);
    world.sync();
    world
}

#[test]
fn a_healthy_store_has_no_fault_and_is_not_written_to() {
    let world = healthy();
    // What is no session of ours is not judged: an old client's empty file, and a session of no repository.
    fs::write(world.came(9), "").unwrap();
    set_mode(&world.came(9), 0o644);
    put_session(&world.claude(), Path::new("/nowhere"), 8, "half a line");
    let before = (picture(&world.claude()), picture(&world.far.claude()), fs::read(world.state_file()).unwrap());
    let said = world.run("verify");
    assert_eq!((said.code, said.out.as_str()), (0, "here: 4 sessions, no fault found\n"), "{said:?}");
    assert_eq!((found(&world, "verify --json"), found(&world, "verify box --json")), (none(), none()));
    assert_eq!((picture(&world.claude()), picture(&world.far.claude()), fs::read(world.state_file()).unwrap()), before, "it only looks");
}

#[test]
fn each_fault_of_a_file_is_found_and_nothing_beside_it() {
    type Plant = fn(&World, &Path);
    let cut: Plant = |_, file| {
        let text = fs::read(file).unwrap();
        fs::write(file, &text[..text.len() - 5]).unwrap();
    };
    let faults: [(&str, Plant); 10] = [
        ("mode", |_, file| set_mode(file, 0o400)),
        ("mode", |_, file| set_mode(file, 0o644)),
        ("torn", cut),
        ("silent", |_, file| fs::write(file, "{\"type\":\"mode\",\"mode\":\"normal\"}\n").unwrap()),
        ("silent", |_, file| fs::write(file, "").unwrap()),
        ("expired", |_, file| touched_days_ago(file, 30)),
        ("no-file", |world, file| {
            fs::rename(file, world.home().join("kept")).unwrap();
            symlink(world.home().join("kept"), file).unwrap();
        }),
        ("twice", |world, file| {
            let other = world.claude().join("projects").join(encode("/elsewhere"));
            fs::create_dir_all(&other).unwrap();
            fs::copy(file, other.join(file.file_name().unwrap())).unwrap();
        }),
        ("misplaced", |world, file| {
            let other = world.claude().join("projects").join(encode("/elsewhere"));
            fs::create_dir_all(&other).unwrap();
            fs::rename(file, other.join(file.file_name().unwrap())).unwrap();
        }),
        ("misplaced", |world, file| {
            let other = world.home().join("projects/gadget");
            put_clone(&other, "acme/gadget");
            let neighbour = put_session(&world.claude(), &other, 7, &transcript(7, &other, "of another repository", 30));
            fs::rename(file, neighbour.with_file_name(file.file_name().unwrap())).unwrap();
        }),
    ];
    for (number, (fault, plant)) in faults.into_iter().enumerate() {
        let world = healthy();
        plant(&world, &world.came(2));
        assert_eq!(found(&world, "verify --json"), only(2, fault), "fault {number}");
        let told = world.run("verify");
        assert!(told.code == 1 && told.out.contains(" sessions, 1 with a fault") && told.out.contains(&format!("/{}.jsonl", id(2))), "{told:?}");
    }
}

#[test]
fn a_file_of_another_user_is_found() {
    let world = healthy();
    if chown(world.came(2), Some(1), None).is_err() {
        skip_unless_root("a file cannot be given to another user");
        return;
    }
    assert_eq!(found(&world, "verify --json"), only(2, "foreign"));
}

#[test]
fn a_session_that_an_index_does_not_name_is_hidden() {
    let world = healthy();
    let index = world.came(1).with_file_name("sessions-index.json");
    let named = |numbers: &[u32]| json!({"version": 1, "entries": numbers.iter().map(|number| json!({"sessionId": id(*number)})).collect::<Vec<_>>()});
    fs::write(&index, named(&[1, 3, 4]).to_string()).unwrap();
    assert_eq!(found(&world, "verify --json"), only(2, "hidden"));
    fs::write(&index, named(&[1, 2, 3, 4]).to_string()).unwrap();
    assert_eq!(found(&world, "verify --json"), none());
}

#[test]
fn the_retention_period_is_the_one_that_the_client_is_told() {
    let world = healthy();
    fs::write(world.claude().join("settings.json"), "{\"cleanupPeriodDays\": 90}").unwrap();
    touched_days_ago(&world.came(2), 89);
    assert_eq!(found(&world, "verify --json"), none());
    touched_days_ago(&world.came(2), 91);
    let said = world.run("verify --json").json();
    let fault = said["places"][0]["sessions"].as_array().unwrap().iter().find_map(|session| session["faults"].get(0)).unwrap().clone();
    assert_eq!((&fault["what"], &fault["days"], &fault["kept"]), (&json!("expired"), &json!(91), &json!(90)), "{fault}");
}

#[test]
fn what_a_client_has_open_may_be_half_written() {
    let world = healthy();
    let text = fs::read(world.came(2)).unwrap();
    fs::write(world.came(2), &text[..text.len() - 5]).unwrap();
    world.open_here(2);
    assert_eq!(found(&world, "verify --json"), none());
}

#[test]
fn where_a_clone_appears_after_its_sessions_they_lie_in_the_wrong_directory() {
    let world = World::new();
    fs::rename(world.root(), world.home().join("away")).unwrap();
    world.there(4, "write the docs", 50);
    let sync = |world: &World| assert_eq!(world.said(&world.command("sync box").current_dir("/").output().unwrap()).code, 0);
    sync(&world);
    let verify = |world: &World| world.said(&world.command("verify --json").current_dir("/").output().unwrap()).json()["places"][0]["sessions"].clone();
    assert_eq!(verify(&world)[0]["faults"], json!([]), "without a clone the client finds it by its id");
    fs::rename(world.home().join("away"), world.root()).unwrap();
    let faults = verify(&world)[0]["faults"].clone();
    assert_eq!((&faults[0]["what"], &faults[0]["right"]), (&json!("misplaced"), &json!(encode(world.root().to_str().unwrap()))), "{faults}");
}

#[test]
fn a_far_side_is_asked_for_place_content_and_time_and_nothing_is_left_there() {
    let far = |world: &World, number: u32| {
        let project = world.far.claude().join("projects").join(encode(world.far_root().to_str().unwrap()));
        project.join(format!("{}.jsonl", id(number)))
    };
    let world = healthy();
    go_on(&far(&world, 1), "said there", 1);
    go_on(&world.came(2), "said here", 1);
    go_on(&far(&world, 3), "said there", 1);
    go_on(&world.came(3), "said here", 2);
    touched_days_ago(&far(&world, 4), 31);
    let before = (picture(&world.far.claude()), fs::read(world.state_file()).unwrap());
    let of_two = |faults: Value| faults.as_array().unwrap().iter().map(|session| session["faults"].clone()).collect::<Vec<_>>();
    let said = world.run("verify box --json");
    let differs = |how: &str, text: &str| json!([{"what": "differs", "how": how, "text": text}]);
    let expired = json!([{"what": "expired", "days": 31, "kept": 30, "text": "was not touched for 31 days, and the client keeps 30 days"}]);
    assert_eq!(
        of_two(said.json()["places"][0]["sessions"].clone()),
        [
            differs("ahead", "has lines that are not here"),
            differs("behind", "lacks lines that are here"),
            differs("diverged", "went on there and here"),
            expired
        ]
    );
    assert_eq!((said.code, picture(&world.far.claude()), fs::read(world.state_file()).unwrap()), (1, before.0, before.1));

    let world = healthy();
    let elsewhere = world.far.claude().join("projects").join(encode("/elsewhere"));
    fs::create_dir(&elsewhere).unwrap();
    fs::rename(far(&world, 1), elsewhere.join(format!("{}.jsonl", id(1)))).unwrap();
    fs::copy(far(&world, 2), elsewhere.join(format!("{}.jsonl", id(2)))).unwrap();
    fs::remove_file(far(&world, 3)).unwrap();
    let faults = BTreeMap::from([(1, vec!["misplaced".to_owned()]), (2, vec!["twice".to_owned()])]);
    assert_eq!(found(&world, "verify box --json"), faults);
    assert_eq!(world.run("verify box --json").json()["places"][0]["absent"], 1, "what is only absent is no fault");
}

#[test]
fn what_cannot_be_asked_is_a_failure_that_names_it() {
    let world = healthy();
    world.reach(&["false".to_owned()], "[github]\nenabled = false\n");
    let unknown = world.run("verify nobody");
    assert!(unknown.code == 2 && unknown.err.contains("`nobody`"), "{unknown:?}");
    let said = world.run("verify box");
    assert!(said.code == 1 && said.out.contains("box") && said.out.contains("could not be looked at"), "{said:?}");
}

#[test]
fn a_codespace_is_asked_through_its_guard_and_one_that_sleeps_is_left_asleep() {
    let Some(mut laptop) = Laptop::new() else { return };
    if laptop.codespace("otter").is_none() {
        return;
    }
    let there = laptop.session_at("otter", 1, "in otter", 20);
    laptop.report(&["otter"]).good();
    let verify = |laptop: &Laptop| {
        let output = laptop.command(&["verify", "otter", "--json"]).output().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        (output.status.code().unwrap(), said["places"][0].clone())
    };
    let before = picture(&laptop.claude_at("otter"));
    let (code, place) = verify(&laptop);
    assert_eq!((code, &place["sessions"][0]["session"], &place["sessions"][0]["faults"]), (0, &json!(id(1)), &json!([])), "{place}");
    assert_eq!(picture(&laptop.claude_at("otter")), before, "nothing is left there");
    go_on(&there, "and on", 1);
    let (code, place) = verify(&laptop);
    assert_eq!((code, &place["sessions"][0]["faults"][0]["how"]), (1, &json!("ahead")), "{place}");
    laptop.api.set("otter", "state", "Shutdown");
    let connections = laptop.at("otter").connections();
    let (code, place) = verify(&laptop);
    assert_eq!((code, &place["outcome"], &place["why"]), (3, &json!("not-visited"), &json!("Shutdown")), "{place}");
    assert_eq!((laptop.at("otter").connections(), laptop.api.posts().len()), (connections, 0));
}
