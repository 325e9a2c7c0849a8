//! A session that its user forgot: it goes from every side as each is met, and it never comes back.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use claude_session_sync::reconcile::report::Forgetting;
use uuid::Uuid;

use crate::forget_world::{OTHER, SECRET, Spilled, everything, far_vault, told, traces};
use crate::talk::{Talk, id};
use crate::world::{Ran, World, visit};

fn both(spilled: &Spilled, at: &str, what: &Forgetting) -> Vec<(String, String, Forgetting)> {
    let mut both: Vec<_> = [id(1), spilled.fork.clone()].map(|id| (at.to_owned(), id, what.clone())).to_vec();
    both.sort_by(|a, b| a.1.cmp(&b.1));
    both
}

#[test]
fn three_members_one_of_them_away_and_in_the_end_nothing_of_it_is_anywhere() {
    let mut spilled = Spilled::everywhere();
    spilled.late_answers(false);
    assert!(traces(&spilled.world.here.home).len() >= 8 && traces(&spilled.near.home).len() >= 4, "it is everywhere");
    spilled.forgets();
    assert_eq!(traces(&spilled.world.here.home), Vec::<String>::new(), "here at once");
    for session in [&id(1), &spilled.fork] {
        let tombstone = spilled.data().join("vault/forgotten").join(session);
        let text = fs::read_to_string(&tombstone).unwrap();
        assert!(chrono::DateTime::parse_from_rfc3339(text.trim()).is_ok() && text.len() == 28, "{text}: a date and nothing else");
        assert_eq!(tombstone.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    let ran = spilled.world.sync(&[]);
    assert_eq!(ran.code, 3, "one is away: {ran:?}");
    assert_eq!(told(&ran), both(&spilled, "box", &Forgetting::Removed));
    assert_eq!((traces(&spilled.near.home), traces(&spilled.world.here.home)), (Vec::new(), Vec::new()));

    let grown = spilled.talk.clone().after(3600).says(&format!("{SECRET} goes on")).rests();
    spilled.late.goes_on(&grown);
    spilled.late_answers(true);
    let ran = spilled.world.sync(&[]);
    assert_eq!((ran.code, told(&ran)), (0, both(&spilled, "late", &Forgetting::Removed)));
    assert_eq!((visit(&ran.report(), "late").bytes_in, ran.report().actions), (0, Vec::new()), "it was not even read");
    assert_eq!(traces(&spilled.world.root()), Vec::<String>::new(), "grep finds it nowhere");
    for side in [&spilled.world.here, &spilled.near, &spilled.late] {
        assert!(String::from_utf8_lossy(&side.bytes(&id(2))).contains(OTHER), "the other session is where it was");
    }

    let again = spilled.world.passes();
    assert!(again.forgotten.is_empty() && again.actions.is_empty());
    for visit in &again.visits {
        assert_eq!((visit.channels, visit.bytes_in, visit.bytes_out), (1, 0, 0), "{}: who knows is not told again", visit.name);
    }
}

#[test]
fn every_other_byte_stays_in_all_places() {
    let spilled = Spilled::everywhere();
    let sides = [&spilled.world.here, &spilled.near, &spilled.late];
    let before = sides.map(|side| everything(&side.home));
    let index = || fs::read_to_string(spilled.data().join("vault/archive/index.jsonl")).unwrap();
    let lines = index();
    spilled.forgets();
    spilled.world.passes();
    for (side, mut before) in sides.into_iter().zip(before) {
        let mut after = everything(&side.home);
        let of_it = |name: &str| name.contains(&id(1)) || name.contains(&spilled.fork);
        before.retain(|name, _| !of_it(name));
        after.retain(|name, _| !of_it(name));
        assert_eq!(before, after, "{}", side.name);
    }
    let kept: String = lines.split_inclusive('\n').filter(|line| !line.contains(&id(1)) && !line.contains(&spilled.fork)).collect();
    assert!(!kept.is_empty() && index() == kept, "{}", index());
}

#[test]
fn while_it_is_open_there_it_stays_and_the_visit_after_that_takes_it() {
    let spilled = Spilled::everywhere();
    spilled.forgets();
    let client = spilled.near.open(&spilled.talk);
    let before = spilled.near.bytes(&id(1));
    for _ in 0..2 {
        let ran = spilled.visits("box", &[]);
        let open = (("box".to_owned(), id(1), Forgetting::Open), 0);
        assert_eq!((told(&ran).into_iter().find(|(_, session, _)| *session == id(1)).unwrap(), ran.code), open);
        assert_eq!((spilled.near.bytes(&id(1)), spilled.near.paths(&spilled.fork).len()), (before.clone(), 0), "its fork is not open");
    }
    let status = Ran::of(&mut spilled.world.command(&[], &["status"]));
    assert!(status.out.contains("1 session still to be removed from box"), "{status:?}");
    drop(client);
    assert_eq!(told(&spilled.visits("box", &[])), [("box".to_owned(), id(1), Forgetting::Removed)]);
    assert_eq!(traces(&spilled.near.home), Vec::<String>::new());
    assert!(!Ran::of(&mut spilled.world.command(&[], &["status"])).out.contains("removed from box"));
}

#[test]
fn neither_direction_matters_and_a_dry_run_only_tells() {
    let spilled = Spilled::everywhere();
    spilled.forgets();
    let before = [&spilled.near, &spilled.late].map(|side| everything(&side.home));
    let ran = spilled.world.sync(&["--dry-run"]);
    let due: Vec<_> = ["box", "late"].iter().flat_map(|at| both(&spilled, at, &Forgetting::Due)).collect();
    assert_eq!((ran.code, told(&ran)), (0, due));
    assert_eq!([&spilled.near, &spilled.late].map(|side| everything(&side.home)), before);
    assert_eq!(told(&spilled.visits("box", &["--pull"])), both(&spilled, "box", &Forgetting::Removed));
    assert_eq!(told(&spilled.visits("late", &["--push"])), both(&spilled, "late", &Forgetting::Removed));
    assert_eq!(traces(&spilled.world.root()), Vec::<String>::new());
}

#[test]
fn for_people_a_line_a_place_says_what_went() {
    let spilled = Spilled::everywhere();
    spilled.forgets();
    let ran = Ran::of(&mut spilled.world.command(&[], &["sync", "box"]));
    assert_eq!((ran.code, ran.err.as_str()), (0, "box: 2 forgotten sessions were removed there\n"), "{ran:?}");
    let log = Ran::of(&mut spilled.world.command(&[], &["logs", "--last", "--json"]));
    let lines = log.out.lines().filter(|line| line.contains("forgotten sessions were removed")).count();
    assert!(lines == 1 && log.out.contains("\"removed\":\"2\"") | log.out.contains("\"removed\":2"), "{}", log.out);
}

#[test]
fn a_lost_state_brings_nothing_back() {
    let spilled = Spilled::everywhere();
    spilled.forgets();
    fs::remove_dir_all(spilled.data().join("state")).unwrap();
    let ran = spilled.world.sync(&[]);
    assert_eq!((ran.code, traces(&spilled.world.root())), (0, Vec::new()), "{ran:?}");
    fs::remove_dir_all(spilled.data().join("state")).unwrap();
    assert!(spilled.world.passes().actions.is_empty());
    assert_eq!(spilled.world.here.sessions().len(), 2, "{:?}", spilled.world.here.sessions().keys());
}

#[test]
fn what_comes_back_here_is_left_untouched_unread_and_told() {
    let spilled = Spilled::everywhere();
    spilled.forgets();
    spilled.world.passes();
    let path = spilled.world.here.put(&spilled.talk);
    let before = fs::metadata(&path).unwrap();
    let ran = spilled.world.sync(&[]);
    assert_eq!((ran.code, told(&ran)), (0, vec![("here".to_owned(), id(1), Forgetting::Again)]));
    let after = fs::metadata(&path).unwrap();
    assert_eq!((before.modified().unwrap(), before.len()), (after.modified().unwrap(), after.len()));
    assert_eq!(traces(&spilled.world.root()), [path.display().to_string()], "nobody took it up: not the archive, not the state, no other side");
    let list = Ran::of(&mut spilled.world.command(&[], &["list", "sessions", "--json"]));
    assert!(!list.out.contains(&id(1)) && list.out.contains(&id(2)), "{list:?}");
    let said = Ran::of(&mut spilled.world.command(&[], &["sync", "box"]));
    assert!(said.err.contains(&format!("`claude-session-sync forget {}`", id(1))), "{said:?}");
    let status = Ran::of(&mut spilled.world.command(&[], &["status"]));
    assert!(status.out.contains(&format!("{} lies here again: claude-session-sync forget {}", id(1), id(1))), "{status:?}");
    spilled.forgets();
    assert_eq!((traces(&spilled.world.root()), spilled.world.sync(&[]).report().forgotten.len()), (Vec::new(), 0));
}

/// A second laptop on the same codespace: its home is a side of its own, and `box` a machine of both.
fn second_laptop(spilled: &Spilled) -> World {
    let mut laptop = World::new();
    laptop.here.clone_of("widget", "git@github.com:acme/widget.git");
    laptop.machine("box", &["acme/widget"]);
    let near = (spilled.near.home.display().to_string(), spilled.near.clones.clone());
    laptop.reach("box", |command| command[2] = format!("HOME={}", near.0));
    laptop.workspaces("box", &near.1);
    laptop
}

#[test]
fn another_laptop_keeps_its_own_copy_takes_it_nowhere_and_says_so() {
    let spilled = Spilled::everywhere();
    let laptop = second_laptop(&spilled);
    laptop.passes();
    assert_eq!(laptop.here.bytes(&id(1)), spilled.talk.bytes);
    spilled.forgets();
    assert_eq!(spilled.visits("box", &[]).code, 0);
    for _ in 0..2 {
        let ran = laptop.sync(&[]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(told(&ran).into_iter().find(|of| of.1 == id(1)), Some(("box".to_owned(), id(1), Forgetting::ByAnother)));
        assert_eq!((laptop.here.bytes(&id(1)), laptop.archived(&id(1)).is_some()), (spilled.talk.bytes.clone(), true), "nothing goes here for its word");
        assert_eq!((spilled.near.paths(&id(1)).len(), visit(&ran.report(), "box").channels), (0, 1), "and nothing goes there");
    }
    let said = Ran::of(&mut laptop.command(&[], &["sync", "box"]));
    assert!(said.err.contains("was forgotten there by another machine") && said.err.contains(&format!("forget {}", id(1))), "{said:?}");
    let status = Ran::of(&mut laptop.command(&[], &["status"]));
    assert!(status.out.contains("forgotten") && status.out.contains("by another machine"), "{status:?}");
    let ran = Ran::of(&mut laptop.command(&[], &["forget", &id(1), "--yes"]));
    assert_eq!((ran.code, traces(&laptop.root())), (0, Vec::new()), "{ran:?}");
    assert!(laptop.passes().forgotten.is_empty(), "it is known there already");
}

#[test]
fn a_fork_that_nobody_here_knew_is_told_by_its_bytes_and_goes_too() {
    let spilled = Spilled::everywhere();
    spilled.forgets();
    // Made on another machine from a copy that never came here, and grown since.
    let strange = spilled.talk.clone().after(7).says(&format!("{SECRET} elsewhere")).rests();
    let fork = strange.clone().called(&strange.fork_id());
    let fork = fork.titled("elsewhere").after(9).says("and on").rests();
    // A fork of that fork, and one of another session.
    let second = fork.clone().says(&format!("{SECRET} again"));
    let second = second.clone().called(&second.fork_id()).says("further");
    let innocent = Talk::begun(&Uuid::new_v5(&Uuid::nil(), b"x").to_string(), &spilled.near.at("widget"), 30, "of another session");
    // One that is too old for anybody to ask for it.
    let old = strange.clone().says(&format!("{SECRET} of old"));
    let old = old.clone().called(&old.fork_id());
    for talk in [&fork, &second, &innocent, &old] {
        spilled.near.put(&talk.clone().in_project_of(&spilled.near.at("widget")));
    }
    let month = std::time::Duration::from_secs(40 * 86_400);
    fs::File::options().append(true).open(spilled.near.path(&old.id)).unwrap().set_modified(std::time::SystemTime::now() - month).unwrap();
    spilled.near.put_side(&fork.clone().in_project_of(&spilled.near.at("widget")), "tool-results/b.txt", SECRET.as_bytes(), 9);
    let ran = spilled.visits("box", &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!([&fork, &second, &old].iter().all(|fork| spilled.is_forgotten(&fork.id)) && !spilled.is_forgotten(&innocent.id));
    assert_eq!((traces(&spilled.world.here.home), traces(&spilled.near.home)), (Vec::new(), Vec::new()));
    assert_eq!(spilled.world.here.bytes(&innocent.id), innocent.bytes, "an id of that kind alone says nothing");
}

#[test]
fn only_the_fork_can_be_forgotten_and_is_not_made_again() {
    let spilled = Spilled::everywhere();
    let ran = spilled.forget(&[&spilled.fork, "--yes"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains(&format!("{}, which stays", id(1))), "{ran:?}");
    for _ in 0..2 {
        spilled.world.passes();
        for side in [&spilled.world.here, &spilled.near, &spilled.late] {
            assert_eq!((side.paths(&spilled.fork).len(), side.bytes(&id(1))), (0, spilled.talk.bytes.clone()), "{}", side.name);
        }
    }
    let said_here = |directory: &std::path::Path| {
        let found = std::process::Command::new("grep").args(["-r", "-l", "-a", "said here"]).arg(directory).output().unwrap();
        String::from_utf8(found.stdout).unwrap()
    };
    assert_eq!(said_here(&spilled.world.root()), "", "nor do the copies stay that it was made from");
}

/// A session there that nobody knows yet: a visit that finds one asks for digests, and reads what the far vault holds.
fn asks_for_digests(spilled: &Spilled, n: u32) {
    spilled.near.put(&Talk::begun(&id(n), &spilled.near.at("widget"), 40, "asks for digests"));
}

/// Puts a displaced copy into the vault beside the store of `box`.
fn displaced_there(spilled: &Spilled, bytes: &[u8]) {
    let name = format!("{}.{}.0123456789abcdef.{}-1", id(1), bytes.len(), "0".repeat(32));
    fs::write(spilled.near.claude.join(".claude-session-sync/vault").join(name), bytes).unwrap();
}

#[test]
fn what_a_far_vault_holds_of_it_is_not_brought_home_first() {
    let spilled = Spilled::everywhere();
    spilled.forgets();
    displaced_there(&spilled, &spilled.lost.clone().says("and nobody else has that").bytes);
    asks_for_digests(&spilled, 5);
    let ran = spilled.visits("box", &[]);
    assert_eq!(told(&ran), both(&spilled, "box", &Forgetting::Removed));
    assert_eq!(visit(&ran.report(), "box").bytes_in, spilled.world.here.bytes(&id(5)).len() as u64, "only the new one was read");
    assert_eq!((traces(&spilled.world.here.home), traces(&spilled.near.home)), (Vec::new(), Vec::new()));
}

#[test]
fn the_copy_that_a_forgotten_fork_was_made_from_is_let_go_there_and_forked_no_more() {
    let spilled = Spilled::everywhere();
    assert_eq!(spilled.forget(&[&spilled.fork, "--yes"]).code, 0);
    displaced_there(&spilled, &spilled.lost.bytes);
    asks_for_digests(&spilled, 5);
    spilled.world.passes();
    asks_for_digests(&spilled, 6);
    spilled.world.passes();
    assert!(!spilled.world.displaced(&id(1)).contains(&spilled.lost.bytes), "it did not come home");
    assert!(far_vault(&spilled.near).iter().all(|object| fs::read(object).unwrap() != spilled.lost.bytes.0));
    // Somebody who was away has it still as the session itself.
    spilled.near.goes_on(&spilled.lost);
    for _ in 0..2 {
        assert_eq!(spilled.world.sync(&[]).code, 0);
    }
    for side in [&spilled.world.here, &spilled.near, &spilled.late] {
        assert_eq!((side.bytes(&id(1)), side.paths(&spilled.fork).len()), (spilled.talk.bytes.clone(), 0), "{}", side.name);
    }
}

#[test]
fn what_is_planted_there_leads_nowhere() {
    let spilled = Spilled::everywhere();
    spilled.forgets();
    let outside = spilled.world.root().join("outside");
    fs::create_dir_all(outside.join(id(1))).unwrap();
    for name in [format!("{}.jsonl", id(1)), format!("{}/x", id(1)), format!("{}.4.0123456789abcdef.{}-1", id(1), "0".repeat(32))] {
        fs::write(outside.join(name), "not yours").unwrap();
    }
    let before = everything(&outside);
    let projects = spilled.near.claude.join("projects");
    let folder = spilled.near.path(&id(1)).with_extension("");
    symlink(&outside, projects.join("-a-link")).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    symlink(outside.join(id(1)), &folder).unwrap();
    let vault = spilled.near.claude.join(".claude-session-sync/vault");
    fs::rename(&vault, vault.with_extension("aside")).unwrap();
    symlink(&outside, &vault).unwrap();
    let ran = spilled.visits("box", &[]);
    assert!(told(&ran).iter().all(|(.., what)| matches!(what, Forgetting::Failed { why } if why == "symlink")) && ran.code == 3, "{ran:?}");
    fs::remove_file(&vault).unwrap();
    fs::rename(vault.with_extension("aside"), &vault).unwrap();
    assert_eq!(told(&spilled.visits("box", &[])), both(&spilled, "box", &Forgetting::Removed));
    assert_eq!(everything(&outside), before, "nothing outside was touched");
    assert!(traces(&spilled.near.home).is_empty() && far_vault(&spilled.near).iter().all(|object| !object.display().to_string().contains(&id(1))));
}

#[test]
fn more_names_than_can_be_listed_of_what_it_says_is_forgotten_hold_nothing_up() {
    let spilled = Spilled::everywhere();
    let notes = spilled.near.claude.join(".claude-session-sync/forgotten");
    fs::create_dir_all(&notes).unwrap();
    let made =
        format!("cd {} && awk 'BEGIN {{ for (n = 0; n < 60000; n++) printf \"%08x-ce51-4e00-8a05-674dde6aa368\\n\", n }}' | xargs touch", notes.display());
    assert!(std::process::Command::new("sh").args(["-c", &made]).status().unwrap().success());
    spilled.forgets();
    let ran = spilled.visits("box", &[]);
    assert_eq!(told(&ran).iter().filter(|(.., what)| *what == Forgetting::Removed).count(), 2, "{ran:?}");
    assert_eq!((ran.code, traces(&spilled.near.home)), (0, Vec::new()));
    let state = fs::metadata(spilled.data().join("state/state.json")).unwrap().len();
    assert!(state < 100_000, "{state} bytes of state: names of sessions that are not here are not kept");
}

#[test]
fn another_session_whose_title_speaks_of_it_stays_in_the_archive() {
    let (world, far) = World::with_box();
    far.put(&Talk::begun(&id(1), &far.at("widget"), 60, "forgotten"));
    let other = Talk::begun(&id(2), &far.at("widget"), 50, OTHER).titled(&format!("go on with {}", id(1)));
    far.put(&other);
    world.passes();
    assert_eq!(Ran::of(&mut world.command(&[], &["forget", &id(1), "--yes"])).code, 0);
    for side in [&world.here, &far] {
        fs::remove_file(side.path(&id(2))).unwrap();
    }
    let restored = Ran::of(&mut world.command(&[], &["restore", &id(2)]));
    assert_eq!((restored.code, world.here.bytes(&id(2))), (0, other.bytes), "{restored:?}");
}

#[test]
fn the_forks_of_a_forgotten_session_that_one_pass_does_not_find_the_next_does() {
    let (world, far) = World::with_box();
    let talk = Talk::begun(&id(1), &far.at("widget"), 60, "forgotten");
    far.put(&talk);
    far.put(&Talk::begun(&id(2), &far.at("widget"), 50, OTHER));
    world.passes();
    assert_eq!(Ran::of(&mut world.command(&[], &["forget", &id(1), "--yes"])).code, 0);
    // As if another machine had made a thousand forks of it and two.
    for n in 0..1002 {
        let copy = talk.clone().holding(format!("{{\"type\":\"user\",\"cwd\":{:?},\"message\":\"{SECRET} {n}\"}}\n", talk.cwd).as_bytes());
        let fork = copy.fork_id();
        far.put(&copy.called(&fork).titled("of it"));
    }
    let passes = [(); 3].map(|()| world.sync(&[]));
    let removed = passes.each_ref().map(|ran| told(ran).iter().filter(|(.., what)| *what == Forgetting::Removed).count());
    assert_eq!(removed[0] + removed[1] + removed[2], 1003, "{removed:?}");
    assert_eq!((traces(&world.here.home), traces(&far.home)), (Vec::new(), Vec::new()));
    assert_eq!((world.here.sessions().len(), far.sessions().len()), (1, 1));
    world.passes();
}
