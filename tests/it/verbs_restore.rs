//! `restore`: ten ways in which a session was lost. Each comes back, and is still there byte for byte after two more passes.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use claude_session_sync::reconcile::project::encode;
use serde_json::{Value, json};

use crate::e2e_world::{files, id, put_clone, put_session, transcript, transcripts};
use crate::kept::{Kept, diverged, far_file, made, refused, restored, said_here, short, version};
use crate::verbs_world::{World, go_on};

const DAY: i64 = 24 * 60;

/// Seconds since 1970.
fn modified(file: &Path) -> i64 {
    let time = fs::metadata(file).unwrap().modified().unwrap();
    i64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn is_now(seconds: i64) -> bool {
    (chrono::Utc::now().timestamp() - seconds).abs() < 300
}

#[test]
fn what_the_clients_retention_deleted_comes_back_in_place_with_the_present_time() {
    let world = World::new();
    world.here(2, "write the docs", 50);
    let file = world.here(1, "fix the build", 40 * DAY);
    world.sync();
    let kept = Kept::deleted(&file);
    world.sync();
    let said = world.run(&format!("restore {}", short(1)));
    assert!(said.code == 0 && said.out.contains("fix the build") && said.out.contains("30 days"), "{said:?}");
    assert!(is_now(modified(&kept.file)));
    assert_eq!(world.run("verify").code, 0, "the client would resume it");
    kept.stays(&world);
    assert!(!far_file(&world, 1).exists(), "it is as old as it was");
}

#[test]
fn what_was_deleted_by_hand_comes_back_in_place_with_the_time_of_its_newest_message() {
    let world = World::new();
    world.here(2, "write the docs", 50);
    let file = world.here(1, "fix the build", 300);
    world.sync();
    let kept = Kept::deleted(&file);
    world.sync();
    assert!(!file.exists(), "a deletion stays one");
    let said = restored(&world, &short(1));
    assert_eq!((&said["did"], &said["restored"]["as_new"], &said["restored"]["expired"]), (&json!("restored"), &json!(false), &Value::Null), "{said:#}");
    let age = chrono::Utc::now().timestamp() - modified(&file);
    assert!((290 * 60..310 * 60).contains(&age), "{age}");
    kept.stays(&world);
    fs::remove_file(&file).unwrap();
    world.sync();
    assert!(!file.exists(), "deleted again, it stays deleted");
}

#[test]
fn what_was_deleted_everywhere_comes_back_here_and_stays_deleted_there() {
    let world = World::new();
    world.here(2, "write the docs", 50);
    let file = world.here(1, "fix the build", 300);
    world.sync();
    let kept = Kept::deleted(&file);
    fs::remove_file(far_file(&world, 1)).unwrap();
    world.sync();
    restored(&world, &id(1));
    kept.stays(&world);
    assert!(!far_file(&world, 1).exists(), "that it was deleted there is that user's wish");
}

#[test]
fn what_lies_far_only_comes_back_whatever_the_far_copy_holds_by_then() {
    type Change = fn(&World);
    let changes: [(&str, Change); 4] = [
        ("equal", |_| {}),
        ("shorter", |world| {
            let text = fs::read_to_string(far_file(world, 1)).unwrap();
            fs::write(far_file(world, 1), text.split_inclusive('\n').take(2).collect::<String>()).unwrap();
        }),
        ("diverged, and older", |world| {
            let text = fs::read_to_string(far_file(world, 1)).unwrap();
            fs::write(far_file(world, 1), text.split_inclusive('\n').take(1).collect::<String>()).unwrap();
            go_on(&far_file(world, 1), "another beginning", 500);
        }),
        ("gone with its store", |world| fs::remove_dir_all(world.far.claude().join("projects")).unwrap()),
    ];
    for (what, change) in changes {
        let world = World::new();
        world.here(2, "write the docs", 50);
        world.there(1, "fix the build", 300);
        world.sync();
        let kept = Kept::deleted(&world.came(1));
        world.sync();
        assert!(!kept.file.exists(), "{what}");
        change(&world);
        restored(&world, &short(1));
        kept.stays(&world);
    }
}

#[test]
fn what_is_older_than_every_window_stays_although_it_lies_far_too() {
    let world = World::new();
    world.here(2, "write the docs", 50);
    let file = world.here(1, "fix the build", 40 * DAY);
    fs::copy(&file, world.there(1, "fix the build", 40 * DAY)).unwrap();
    // And one that never came, because it was too old for that.
    let never = Kept::of(&world.there(3, "plan the week", 20 * DAY));
    world.sync();
    let kept = Kept::deleted(&file);
    world.sync();
    assert!(!file.exists() && !world.came(3).exists());
    restored(&world, &short(1));
    kept.stays(&world);
    restored(&world, &short(3));
    Kept { file: world.came(3), bytes: never.bytes }.stays(&world);
    kept.is_there();
}

#[test]
fn an_older_version_of_what_is_here_becomes_a_session_of_its_own() {
    let world = World::new();
    let older = Kept::of(&world.here(1, "fix the build", 60));
    world.here(2, "write the docs", 50);
    world.sync();
    go_on(&far_file(&world, 1), "and the tests", 2);
    world.sync();
    let newest = Kept::of(&older.file);
    assert_ne!(newest.bytes, older.bytes);
    let said = world.run(&format!("restore {}", short(1)));
    assert!(said.code == 0 && said.out.contains("nothing is kept that it lacks") && said.out.contains("overtaken"), "{said:?}");
    let digest = version(&world, 1, |version| version["standing"] == "beginning");
    let said = restored(&world, &format!("{} --version {digest}", short(1)));
    assert_eq!(said["restored"]["as_new"], true, "{said:#}");
    let made = made(&world, &said);
    assert!(made.bytes.starts_with(&older.bytes) && made.file.parent() == older.file.parent(), "{said:#}");
    assert!(String::from_utf8_lossy(&made.bytes[older.bytes.len()..]).contains(&digest), "its title names it");
    made.stays(&world);
    newest.is_there();
    let name = made.file.file_stem().unwrap().to_str().unwrap();
    assert_eq!(transcripts(&world.far.claude())[name].as_bytes(), made.bytes, "it travels as any session does");
}

#[test]
fn a_copy_that_lost_without_a_message_of_its_own_becomes_a_session() {
    let (world, lost) = diverged(|file| {
        let text = fs::read_to_string(file).unwrap();
        fs::write(file, format!("{text}{{\"type\":\"mode\",\"mode\":\"plan\"}}\n")).unwrap();
    });
    assert_eq!(transcripts(&world.claude()).len(), 2, "no fork was made of it");
    let listed = world.run("restore --json").json();
    assert_eq!((&listed["sessions"][0]["session"], &listed["sessions"][0]["versions"]), (&json!(id(1)), &json!(1)), "{listed:#}");
    let said = restored(&world, &short(1));
    let made = made(&world, &said);
    assert!(made.bytes.starts_with(&lost), "{said:#}");
    made.stays(&world);
    assert_eq!(world.run("restore --json").json()["sessions"], json!([]), "what is a session here is no loss");
    let conflict = world.run("conflicts --json").json()["conflicts"][0].clone();
    assert_eq!(conflict["fork"], json!({"session": said["restored"]["session"], "lies_here": true}), "{conflict:#}");
}

#[test]
fn a_forks_origin_is_the_fork_while_that_is_here_and_makes_it_again_when_it_was_deleted() {
    let (world, lost) = diverged(said_here);
    let fork = transcripts(&world.claude()).into_keys().find(|name| *name != id(1) && *name != id(2)).unwrap();
    let digest = version(&world, 1, |version| version["reason"] == "lost");
    for line in [short(1), format!("{} --version {digest}", short(1))] {
        let said = restored(&world, &line);
        assert_eq!((&said["did"], &said["lies_here"]["session"]), (&json!("lies-here"), &json!(fork)), "{said:#}");
    }
    let kept = Kept::deleted(&world.came(1).with_file_name(format!("{fork}.jsonl")));
    assert!(kept.bytes.starts_with(&lost));
    world.sync();
    assert!(!kept.file.exists());
    let said = restored(&world, &format!("{} --version {digest}", short(1)));
    assert_eq!((&said["did"], &said["restored"]["session"]), (&json!("restored"), &json!(fork)), "{said:#}");
    kept.stays(&world);
    // Its folder stayed behind elsewhere: one id, one directory.
    fs::remove_file(&kept.file).unwrap();
    let elsewhere = world.claude().join("projects/-elsewhere");
    fs::create_dir_all(elsewhere.join(&fork)).unwrap();
    fs::write(elsewhere.join(&fork).join("a.txt"), "left").unwrap();
    let said = restored(&world, &format!("{} --version {digest}", short(1)));
    assert_eq!(made(&world, &said).file.parent(), Some(&*elsewhere), "{said:#}");
    fs::remove_dir_all(&elsewhere).unwrap();
    restored(&world, &format!("{} --version {digest}", short(1)));
    // Continued, and then deleted: what was said in it comes back, too.
    go_on(&kept.file, "and on", 1);
    world.sync();
    let grown = Kept::deleted(&kept.file);
    restored(&world, &format!("{} --version {digest}", short(1)));
    grown.stays(&world);
}

#[test]
fn side_files_come_back_with_their_session() {
    let world = World::new();
    world.here(2, "write the docs", 50);
    let file = world.here(1, "fix the build", 40 * DAY);
    let folder = file.with_extension("");
    fs::create_dir_all(folder.join("tool-results")).unwrap();
    fs::create_dir_all(folder.join("subagents")).unwrap();
    fs::write(folder.join("tool-results/a.txt"), "a long output").unwrap();
    fs::write(folder.join("subagents/agent-0a.jsonl"), transcript(9, &world.root(), "look around", 40 * DAY)).unwrap();
    world.sync();
    let side: Vec<Kept> = files(&folder).iter().map(|file| Kept::of(file)).collect();
    let kept = Kept::deleted(&file);
    fs::remove_dir_all(&folder).unwrap();
    world.sync();
    let said = restored(&world, &short(1));
    assert_eq!((&said["restored"]["side"], &said["restored"]["left_out"]), (&json!(2), &json!([])), "{said:#}");
    side.iter().for_each(Kept::is_there);
    kept.stays(&world);
    side.iter().for_each(Kept::is_there);
    // One of them damaged in the archive: the session comes back without it, and says so.
    fs::remove_file(&file).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    fs::write(world.home().join(".local/share/claude-session-sync/vault/archive").join(id(1)).join("tool-results/a.txt"), "a long outPut").unwrap();
    let said = world.run(&format!("restore {}", short(1)));
    assert!(said.code == 0 && said.out.contains("left out") && said.out.contains("tool-results/a.txt"), "{said:?}");
    kept.stays(&world);
}

#[test]
fn an_emptied_store_gets_the_one_back_and_the_others_do_not_count_as_deleted() {
    let world = World::new();
    let file = world.here(1, "fix the build", 300);
    let other = Kept::of(&world.here(2, "write the docs", 50));
    world.sync();
    let kept = Kept::of(&file);
    fs::remove_dir_all(world.claude().join("projects")).unwrap();
    restored(&world, &short(1));
    assert!(!other.file.exists());
    kept.stays(&world);
    other.is_there();
}

#[test]
fn what_came_back_and_is_deleted_before_any_pass_counts_as_deleted() {
    let world = World::new();
    let file = world.here(1, "fix the build", 300);
    let other = world.here(2, "write the docs", 50);
    world.sync();
    fs::remove_dir_all(world.claude().join("projects")).unwrap();
    restored(&world, &short(1));
    restored(&world, &short(2));
    fs::remove_file(&file).unwrap();
    world.sync();
    world.sync();
    assert!(!file.exists() && other.exists() && far_file(&world, 1).exists());
}

#[test]
fn a_new_store_without_a_clone_gets_it_back_where_its_lines_say() {
    let world = World::new();
    let kept = Kept::of(&world.here(1, "fix the build", 300));
    world.there(3, "review it", 40);
    world.sync();
    let far = Kept::of(&world.came(3));
    fs::remove_dir_all(world.claude()).unwrap();
    fs::remove_dir_all(world.home().join("projects")).unwrap();
    let mut command = world.command(&format!("restore {} --json", short(1)));
    let said = world.said(&command.current_dir(world.home()).output().unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    kept.is_there();
    // Of the far one no line names a directory of this machine: it lies under the far one's name, as if it had just come.
    let mut command = world.command(&format!("restore {} --json", short(3)));
    assert_eq!(command.current_dir(world.home()).output().unwrap().status.code(), Some(0));
    let placed = world.claude().join("projects").join(encode(world.far_root().to_str().unwrap())).join(far.file.file_name().unwrap());
    assert_eq!(fs::read(&placed).unwrap(), far.bytes);
    for _ in 0..2 {
        assert_eq!(world.command("sync box").current_dir(world.home()).output().unwrap().status.code(), Some(0));
        kept.is_there();
        assert_eq!(fs::read(&placed).unwrap(), far.bytes);
    }
}

#[test]
fn a_session_of_a_directory_without_repository_comes_back_there() {
    let world = World::new();
    world.here(2, "write the docs", 50);
    let plain = world.home().join("notes");
    fs::create_dir_all(&plain).unwrap();
    let file = put_session(&world.claude(), &plain, 1, &transcript(1, &plain, "a shopping list", 90));
    world.sync();
    let kept = Kept::deleted(&file);
    restored(&world, &short(1));
    kept.stays(&world);
    // And where nobody would look for it: a line that names no absolute path.
    let file = put_session(&world.claude(), &plain, 3, &transcript(3, Path::new("notes"), "lost in thought", 90));
    world.sync();
    fs::remove_file(&file).unwrap();
    refused(&world, &short(3), 1, &["nothing says which directory"]);
}

#[test]
fn a_worktree_gets_its_own_back() {
    let world = World::new();
    world.here(2, "write the docs", 50);
    let other = world.home().join("projects/widget-fix");
    put_clone(&other, "acme/widget");
    let file = put_session(&world.claude(), &other, 1, &transcript(1, &other, "fix the build", 90));
    world.sync();
    let kept = Kept::deleted(&file);
    restored(&world, &short(1));
    kept.stays(&world);
}

#[test]
fn an_older_version_in_place_is_said_to_be_one() {
    let world = World::new();
    let older = Kept::of(&world.here(1, "fix the build", 60));
    world.here(2, "write the docs", 50);
    world.sync();
    go_on(&far_file(&world, 1), "and the tests", 2);
    world.sync();
    let newest = Kept::deleted(&older.file);
    let digest = version(&world, 1, |version| version["standing"] == "beginning");
    let said = world.run(&format!("restore {} --version {digest}", short(1)));
    assert!(said.code == 0 && said.out.contains("the next pass extends it"), "{said:?}");
    older.is_there();
    world.sync();
    newest.is_there();
}

#[test]
fn a_copy_of_what_lies_here_is_made_only_if_asked_for() {
    let world = World::new();
    let kept = Kept::of(&world.here(1, "fix the build", 60));
    world.sync();
    let before = transcripts(&world.claude());
    let said = world.run(&format!("restore {}", short(1)));
    assert!(said.code == 0 && said.out.contains("--as-new"), "{said:?}");
    assert_eq!(transcripts(&world.claude()), before);
    let said = restored(&world, &format!("{} --as-new", short(1)));
    let copy = made(&world, &said);
    copy.stays(&world);
    kept.is_there();
    fs::remove_file(&kept.file).unwrap();
    fs::remove_file(&copy.file).unwrap();
    world.here(2, "write the docs", 50);
    let said = restored(&world, &format!("{} --as-new", short(1)));
    assert_eq!(made(&world, &said).file, copy.file, "{said:#}");
    copy.stays(&world);
    assert!(!kept.file.exists());
}
