//! `restore` where nothing may come back: it says why, and writes nothing. And the list, in a pipe and at a terminal.

use std::fs;

use serde_json::json;

use crate::e2e_world::{files, id, transcripts};
use crate::kept::{Kept, diverged, far_file, made, refused, restored, said_here, short};
use crate::tmux::Pane;
use crate::verbs_world::{World, go_on};
use crate::wait::reached;

#[test]
fn what_cannot_be_meant_is_a_usage_error() {
    let (world, _) = diverged(said_here);
    refused(&world, "ffff", 2, &["no session `ffff` is known here", "hint: claude-session-sync restore"]);
    refused(&world, "0000000", 2, &["begins the ids of several sessions"]);
    refused(&world, &format!("{} --version 00000000", short(1)), 2, &["no version of it begins with `00000000"]);
    refused(&world, "--version 12345678", 2, &["ID"]);
    // Two copies that lost: nobody chooses for its user.
    go_on(&world.came(1), "said here again", 4);
    go_on(&far_file(&world, 1), "said there again", 1);
    world.sync();
    let said = refused(&world, &short(1), 2, &["several versions", "--version", "lost"]);
    assert_eq!(said.err.lines().filter(|line| line.contains("message")).count(), 2, "{said:?}");
}

#[test]
fn what_is_damaged_or_not_kept_is_said_and_nothing_is_written() {
    let world = World::new();
    world.here(2, "write the docs", 50);
    let file = world.here(1, "fix the build", 300);
    let folder = file.with_extension("").join("tool-results");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("a.txt"), "a long output").unwrap();
    world.sync();
    let kept = Kept::deleted(&file);
    fs::remove_dir_all(file.with_extension("")).unwrap();
    let archived = world.home().join(format!(".local/share/claude-session-sync/vault/archive/{}.jsonl", id(1)));
    fs::write(&archived, String::from_utf8(kept.bytes.clone()).unwrap().replace("fix", "fox")).unwrap();
    let before = files(&world.claude());
    refused(&world, &short(1), 1, &["is damaged", "hint: claude-session-sync vault verify"]);
    assert_eq!(files(&world.claude()), before);
    fs::remove_file(&archived).unwrap();
    refused(&world, &short(1), 1, &["no bytes of it are kept"]);
    world.reach(&world.far.command(), "[vault]\narchive = false\n");
    refused(&world, &short(1), 1, &["the archive is switched off", "[vault] archive = true"]);
    assert_eq!(files(&world.claude()), before);
}

#[test]
fn what_a_client_is_about_to_write_is_left_to_it() {
    let world = World::new();
    world.here(2, "write the docs", 50);
    let file = world.here(1, "fix the build", 300);
    world.sync();
    fs::remove_file(&file).unwrap();
    world.open_here(1);
    refused(&world, &short(1), 1, &["a client here has it open"]);
    assert!(!file.exists());
}

#[test]
fn what_lies_in_two_directories_is_restored_beside_them_only() {
    let world = World::new();
    let file = world.here(1, "fix the build", 300);
    world.here(2, "write the docs", 50);
    world.sync();
    let second = world.claude().join("projects/-elsewhere");
    fs::create_dir_all(&second).unwrap();
    fs::copy(&file, second.join(file.file_name().unwrap())).unwrap();
    refused(&world, &short(1), 1, &["lies in", "--as-new"]);
    let said = restored(&world, &format!("{} --as-new", short(1)));
    let copy = made(&world, &said);
    for _ in 0..2 {
        assert_eq!(world.run("sync box").code, 3, "the one that lies twice is refused");
        copy.is_there();
    }
}

#[test]
fn a_dry_run_says_the_same_and_writes_nothing() {
    let (world, _) = diverged(said_here);
    let fork = transcripts(&world.claude()).into_keys().find(|name| *name != id(1) && *name != id(2)).unwrap();
    fs::remove_file(world.came(1).with_file_name(format!("{fork}.jsonl"))).unwrap();
    fs::remove_file(world.came(2)).unwrap();
    world.sync();
    let everything =
        || files(&world.home()).into_iter().filter(|file| !file.ends_with("pass.lock")).map(|file| (fs::read(&file).unwrap(), file)).collect::<Vec<_>>();
    let before = everything();
    for line in [short(1), short(2)] {
        let foretold = restored(&world, &format!("{line} --dry-run"));
        assert_eq!((&foretold["did"], &foretold["dry_run"]), (&json!("restored"), &json!(true)), "{foretold:#}");
        assert!(everything() == before, "{line}");
    }
    let foretold = restored(&world, &format!("{} --dry-run", short(2)));
    let said = restored(&world, &short(2));
    assert_eq!(foretold["restored"], said["restored"]);
}

#[test]
fn a_pass_that_runs_is_waited_for_and_then_told() {
    let world = World::new();
    let file = world.here(1, "fix the build", 300);
    world.here(2, "write the docs", 50);
    world.sync();
    fs::remove_file(&file).unwrap();
    let lock = fs::File::options().write(true).open(world.state_file().with_file_name("pass.lock")).unwrap();
    let lock = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive).map_err(|(_, error)| error).unwrap();
    refused(&world, &short(1), 75, &["another pass is running"]);
    assert!(!file.exists());
    drop(lock);
    restored(&world, &short(1));
    assert!(file.exists());
}

#[test]
fn the_list_names_what_is_kept_and_not_here_newest_first() {
    let world = World::new();
    assert!(world.run("restore").out.starts_with("nothing to restore"));
    let gone = [world.here(1, "fix the build", 300), world.here(3, "plan the week", 40)];
    world.here(2, "write the docs", 50);
    world.sync();
    gone.iter().for_each(|file| fs::remove_file(file).unwrap());
    let said = world.run("restore");
    let at = |text: &str| said.out.find(text).unwrap_or_else(|| panic!("{said:?}"));
    assert!(said.code == 0 && at("plan the week") < at("fix the build") && !said.out.contains("write the docs"), "{said:?}");
    let log = || fs::read_to_string(world.home().join(".local/state/claude-session-sync/log/latest")).unwrap_or_default();
    restored(&world, &short(1));
    let logged = log() + &files(&world.home().join(".local/state")).iter().map(|file| fs::read_to_string(file).unwrap_or_default()).collect::<String>();
    assert!(logged.contains("restored") && logged.contains(&id(1)) && !logged.contains("fix the build"), "{logged}");
}

#[test]
fn at_a_terminal_a_session_is_picked_by_a_part_of_its_title_and_esc_leaves_all_as_it_is() {
    let world = World::new();
    let gone = [world.here(1, "fix the build", 300), world.here(3, "plan the week", 40)];
    world.here(2, "write the docs", 50);
    world.sync();
    let kept: Vec<Kept> = gone.iter().map(|file| Kept::deleted(file)).collect();
    let before = files(&world.claude());
    let Some(terminal) = Pane::at(&world) else { return };
    terminal.run("restore");
    let shown = terminal.shows("Which session?");
    assert!(shown.contains("plan the week") && shown.contains("fix the build"), "{shown}");
    terminal.key("Escape");
    terminal.shows("ended-0.");
    assert_eq!(files(&world.claude()), before);
    let Some(terminal) = Pane::at(&world) else { return };
    terminal.run("restore");
    terminal.shows("Which session?");
    terminal.types("fix");
    reached("the list is filtered", || !terminal.screen().contains("plan the week"));
    terminal.key("Enter");
    let shown = terminal.shows("ended-0.");
    assert!(shown.contains("restored"), "{shown}");
    kept[0].stays(&world);
    assert!(!kept[1].file.exists());
}

#[test]
fn at_a_terminal_one_of_several_versions_is_picked() {
    let (world, first) = diverged(said_here);
    go_on(&world.came(1), "said here again", 4);
    let second = fs::read(world.came(1)).unwrap();
    go_on(&far_file(&world, 1), "said there again", 1);
    world.sync();
    let forks: Vec<_> = files(&world.claude()).into_iter().filter(|file| file.file_name().unwrap().to_str().unwrap().contains("-5")).collect();
    for fork in &forks {
        fs::remove_file(fork).unwrap();
    }
    let Some(terminal) = Pane::at(&world) else { return };
    terminal.run(&format!("restore {}", short(1)));
    let shown = terminal.shows("Which version?");
    assert_eq!(shown.lines().filter(|line| line.contains("lost")).count(), 2, "{shown}");
    terminal.key("Down");
    terminal.key("Enter");
    terminal.shows("ended-0.");
    let back: Vec<Kept> = files(&world.claude()).iter().filter(|file| forks.contains(file)).map(|file| Kept::of(file)).collect();
    assert_eq!(back.len(), 1);
    assert!(back[0].bytes.starts_with(&first) && !back[0].bytes.starts_with(&second), "the second of the list is the older one");
    back[0].stays(&world);
}
