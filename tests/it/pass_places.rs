//! Which project is which: where a session from elsewhere goes, and which sessions stay among themselves.

use std::os::unix::ffi::OsStrExt as _;

use claude_session_sync::reconcile::project::encode;

use crate::skip::skip;
use crate::strace;
use crate::talk::{Talk, id};
use crate::world::{Ran, World, transcripts, visit};

/// Everything that the report of a pass says was passed over on a machine.
#[track_caller]
fn skipped(report: &claude_session_sync::reconcile::report::Report, name: &str) -> Vec<(String, String)> {
    visit(report, name).skipped.iter().map(|skipped| (skipped.name.clone(), skipped.why.clone())).collect()
}

#[test]
fn a_session_of_a_subdirectory_goes_to_the_same_subdirectory() {
    let (world, far) = World::with_box();
    far.put(&Talk::begun(&id(1), &far.at("widget/app/web"), 20, "deep there"));
    world.here.put(&Talk::begun(&id(2), &world.here.at("widget/docs"), 20, "docs here"));
    world.here.put(&Talk::begun(&id(3), &world.here.at("widget"), 20, "root here"));
    for directory in [far.at("widget/app/web"), world.here.at("widget/docs")] {
        std::fs::create_dir_all(directory).unwrap();
    }
    world.passes();
    assert_eq!(world.here.path(&id(1)), world.here.transcript(&world.here.at("widget/app/web"), &id(1)));
    assert_eq!(far.path(&id(2)), far.transcript(&far.at("widget/docs"), &id(2)));
    assert_eq!(far.path(&id(3)), far.transcript(&far.at("widget"), &id(3)));
    assert_eq!(world.passes().actions, [], "and there they are known again");
}

#[test]
fn a_worktree_counts_as_its_clone() {
    let (world, far) = World::with_box();
    for side in [&world.here, &far] {
        let clone = side.at("widget");
        side.git(&["-C", &clone, "-c", "user.name=x", "-c", "user.email=x@x", "commit", "--quiet", "--allow-empty", "-m", "first"]);
        side.git(&["-C", &clone, "worktree", "add", "--quiet", &side.at("widget-fix")]);
    }
    far.put(&Talk::begun(&id(1), &far.at("widget-fix"), 20, "in the far worktree"));
    world.here.put(&Talk::begun(&id(2), &world.here.at("widget-fix"), 10, "in the worktree here"));
    world.passes();
    // The worktree here is the clone used last, so it is where the new one goes.
    assert_eq!(world.here.path(&id(1)), world.here.transcript(&world.here.at("widget-fix"), &id(1)));
    assert_eq!(far.path(&id(2)), far.transcript(&far.at("widget"), &id(2)), "there, new ones go to the clone");
    far.goes_on(&Talk::begun(&id(1), &far.at("widget-fix"), 20, "in the far worktree").says("changed"));
    world.sync(&[]).went_well();
    assert_eq!((far.paths(&id(1)).len(), world.here.paths(&id(1)).len()), (1, 1), "one id, one directory");
}

#[test]
fn of_two_clones_an_id_stays_where_it_is_and_a_new_one_goes_to_the_clone_used_last() {
    let (mut world, far) = World::with_box();
    world.here.clone_of("old/widget", "https://github.com/Acme/Widget");
    let stays = Talk::begun(&id(1), &world.here.at("old/widget"), 90, "in the old clone");
    world.here.put(&stays);
    world.here.put(&Talk::begun(&id(2), &world.here.at("widget"), 30, "in the clone used last"));
    far.put(&stays.clone().in_project_of(&far.at("widget")).says("went on there"));
    far.put(&Talk::begun(&id(3), &far.at("widget"), 10, "new"));
    world.passes();
    assert_eq!(world.here.path(&id(1)), world.here.transcript(&world.here.at("old/widget"), &id(1)));
    assert_eq!(world.here.path(&id(3)), world.here.transcript(&world.here.at("widget"), &id(3)));

    world.set(&format!("[[repository]]\nname = \"acme/widget\"\npath = \"{}\"", world.here.at("old/widget")));
    far.put(&Talk::begun(&id(4), &far.at("widget"), 5, "newer"));
    world.passes();
    assert_eq!(world.here.path(&id(4)), world.here.transcript(&world.here.at("old/widget"), &id(4)), "the configured clone wins");
    assert_eq!(world.here.path(&id(3)), world.here.transcript(&world.here.at("widget"), &id(3)), "and moves nothing");
}

#[test]
fn a_clone_without_any_session_is_found_below_the_clone_roots() {
    let mut world = World::new();
    let far = world.machine("box", &["acme/widget"]);
    far.clone_of("widget", "git@github.com:acme/widget.git");
    far.put(&Talk::begun(&id(1), &far.at("widget"), 20, "theirs"));
    let clone = world.here.clone_of("clients/acme/widget", "git@github.com:acme/widget.git");
    world.here.clone_of("clients/acme/my-widget", "git@github.com:acme/my-widget.git");
    let report = world.passes();
    assert_eq!(world.here.path(&id(1)), world.here.transcript(&clone, &id(1)));
    assert_eq!(report.unplaced, []);
}

#[test]
fn clones_are_looked_for_once_however_many_sessions_need_one() {
    if !strace::here() {
        return;
    }
    let looks = |sessions: u32| {
        let mut world = World::new();
        let far = world.machine("box", &["acme/widget"]);
        far.clone_of("widget", "git@github.com:acme/widget.git");
        for number in 1..=sessions {
            far.put(&Talk::begun(&id(number), &far.at("widget"), 20, "theirs"));
        }
        world.here.clone_of("clients/acme/widget", "git@github.com:acme/widget.git");
        let log = world.root().join("trace");
        let tracer = strace::tracer(&log);
        let tracer: Vec<&str> = tracer.iter().map(String::as_str).collect();
        let (ran, _) = strace::count(&mut world.command(&tracer, &world.arguments(&[])), &log, &[]);
        assert_eq!(ran.went_well().actions.len(), usize::try_from(sessions).unwrap());
        let text = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
        text.lines().filter(|line| line.contains("clients/acme\", ") && line.contains("O_DIRECTORY")).count()
    };
    let one = looks(1);
    assert!(one > 0, "the count is blind");
    assert_eq!(looks(12), one);
}

#[test]
fn a_far_clone_without_any_session_gets_them_too() {
    let (world, far) = World::with_box();
    std::fs::remove_dir_all(&far.claude).unwrap();
    world.here.put(&Talk::begun(&id(1), &world.here.at("widget"), 20, "mine"));
    world.passes();
    assert_eq!(far.path(&id(1)), far.transcript(&far.at("widget"), &id(1)));
}

#[test]
fn without_a_clone_here_the_far_path_names_the_directory_and_the_pass_says_how_to_change_it() {
    let mut world = World::new();
    let far = world.machine("box", &["acme/widget"]);
    far.clone_of("widget", "git@github.com:acme/widget.git");
    let talk = Talk::begun(&id(1), &far.at("widget/app"), 20, "theirs");
    std::fs::create_dir_all(&talk.cwd).unwrap();
    far.put(&talk);
    let report = world.passes();
    assert_eq!(world.here.path(&id(1)), world.here.transcript(&talk.cwd, &id(1)));
    let unplaced: Vec<_> = report.unplaced.iter().map(|unplaced| (unplaced.repository.to_string(), unplaced.project.clone())).collect();
    assert_eq!(unplaced, [("acme/widget".to_owned(), encode(&talk.cwd))]);
    assert_eq!(world.passes().actions, []);

    // What grows there comes home all the same; and a new one says the hint again, in words.
    far.goes_on(&talk.clone().says("more"));
    far.put(&Talk::begun(&id(2), &far.at("widget"), 10, "another"));
    let ran = Ran::of(&mut world.command(&[], &["sync", "box"]));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("no clone of acme/widget is known here") && ran.err.contains("[[repository]] name = \"acme/widget\", path = "), "{ran:?}");
    assert_eq!(world.here.bytes(&id(1)), far.bytes(&id(1)));
}

#[test]
fn a_name_under_another_owner_and_a_name_that_ends_alike_are_other_repositories() {
    for (clone, remote) in
        [("w2", "git@github.com:other/widget.git"), ("my-widget", "git@github.com:acme/my-widget.git"), ("ghe", "git@ghe.example:acme/widget.git")]
    {
        let (world, far) = World::with_box();
        for side in [&world.here, &far] {
            side.clone_of(clone, remote);
        }
        world.here.put(&Talk::begun(&id(1), &world.here.at(clone), 20, "not theirs"));
        far.put(&Talk::begun(&id(2), &far.at(clone), 20, "not ours"));
        far.put(&Talk::begun(&id(3), &far.at("widget"), 20, "shared"));
        let report = world.passes();
        assert_eq!(world.here.sessions().len(), 2, "{remote}: what is shared came");
        assert!(far.paths(&id(1)).is_empty() && world.here.paths(&id(2)).is_empty(), "{remote}");
        assert_eq!(world.archived(&id(2)), None, "{remote}: not even read");
        let skipped = skipped(&report, "box");
        assert!(skipped.len() == 1 && skipped[0].0 == encode(&far.at(clone)), "{remote}: listed: {skipped:?}");
    }
}

#[test]
fn two_repositories_of_one_name_are_both_synced_each_with_its_own() {
    let mut world = World::new();
    let far = world.machine("box", &["acme/widget", "other/widget"]);
    for side in [&world.here, &far] {
        side.clone_of("acme/widget", "git@github.com:acme/widget.git");
        side.clone_of("other/widget", "git@github.com:other/widget.git");
    }
    // The far clones lie one level deeper than /workspaces/*, so their sessions must lead there.
    for (n, owner) in [(1, "acme"), (2, "other")] {
        far.put(&Talk::begun(&id(n), &far.at(&format!("{owner}/widget")), 20, owner));
        world.here.put(&Talk::begun(&id(n + 2), &world.here.at(&format!("{owner}/widget")), 20, owner));
    }
    world.passes();
    for (n, owner) in [(1, "acme"), (2, "other")] {
        let clone = format!("{owner}/widget");
        assert_eq!(world.here.path(&id(n)), world.here.transcript(&world.here.at(&clone), &id(n)));
        assert_eq!(far.path(&id(n + 2)), far.transcript(&far.at(&clone), &id(n + 2)));
    }
}

#[test]
fn an_id_that_belongs_to_another_repository_here_is_refused_and_listed() {
    let (world, far) = World::with_box();
    world.here.clone_of("private", "git@github.com:acme/private.git");
    let secret = Talk::begun(&id(1), &world.here.at("private"), 60, "private");
    world.here.put(&secret);
    // The far side claims the id for its own repository, with the longer copy.
    far.put(&secret.clone().says("forged").in_project_of(&far.at("widget")));
    far.put(&Talk::begun(&id(2), &far.at("widget"), 20, "honest"));
    let ran = world.sync(&[]);
    let report = ran.report();
    assert_eq!(ran.code, 3, "{ran:?}");
    assert_eq!(world.here.bytes(&id(1)), secret.bytes, "untouched");
    assert_eq!(world.archived(&id(1)), Some(secret.bytes.clone()));
    assert!(world.displaced(&id(1)).is_empty(), "not even kept");
    assert_eq!(transcripts(&report, "here").len(), 1, "the others go on");
    assert_eq!(visit(&report, "box").bytes_in, world.here.bytes(&id(2)).len() as u64);
    let skipped = skipped(&report, "box");
    assert!(skipped.iter().any(|(name, why)| name.ends_with(&id(1)) && why == "belongs to acme/private on this machine"), "{skipped:?}");
    assert_ne!(far.bytes(&id(1)), secret.bytes, "and nothing of it went there");
}

#[test]
fn an_id_that_lies_in_a_directory_of_no_known_repository_here_is_refused_and_listed() {
    let (world, far) = World::with_box();
    std::fs::create_dir_all(world.here.home.join("notes")).unwrap();
    let own = Talk::begun(&id(1), &world.here.home.join("notes").display().to_string(), 60, "in no clone");
    world.here.put(&own);
    far.put(&own.clone().says("forged").in_project_of(&far.at("widget")));
    far.put(&Talk::begun(&id(2), &far.at("widget"), 20, "honest"));
    let report = world.sync(&[]).report();
    assert_eq!(world.here.bytes(&id(1)), own.bytes, "untouched");
    assert!(report.left.iter().any(|left| left.session.to_string() == id(1) && left.at == "here" && left.word == "refused"), "{:?}", report.left);
    assert_eq!(far.paths(&id(1)).len(), 1);
}

#[test]
fn a_forged_remote_speaks_of_nothing_that_was_not_admitted() {
    let (world, far) = World::with_box();
    world.here.clone_of("private", "git@github.com:acme/private.git");
    world.here.put(&Talk::begun(&id(1), &world.here.at("private"), 60, "private"));
    let forged = far.clone_of("private", "git@github.com:acme/private.git");
    far.put(&Talk::begun(&id(2), &forged, 20, "let me in"));
    // A clone that names both: it is read as the admitted repository, and private sessions stay here.
    let both = far.clone_of("both", "git@github.com:acme/private.git");
    far.git(&["-C", &both, "remote", "add", "second", "git@github.com:acme/widget.git"]);
    far.put(&Talk::begun(&id(3), &both, 20, "as widget"));
    let report = world.passes();
    assert!(far.paths(&id(1)).is_empty() && world.here.paths(&id(2)).is_empty());
    let expected = "1 sessions of another clone, acme/private; `also_in` of its [[repository]] admits them".to_owned();
    assert_eq!(skipped(&report, "box"), [(encode(&forged), expected)]);
    assert_eq!(world.here.path(&id(3)), world.here.transcript(&world.here.at("widget"), &id(3)), "never to acme/private");
}

#[test]
fn an_id_that_lies_twice_on_one_machine_is_left_alone_and_listed() {
    let (world, far) = World::with_box();
    let twice = Talk::begun(&id(1), &far.at("widget"), 30, "twice");
    std::fs::create_dir_all(far.at("widget/app")).unwrap();
    far.put(&Talk::begun(&id(2), &far.at("widget/app"), 20, "speaks for app"));
    far.put(&twice);
    far.put(&twice.clone().says("more").in_project_of(&far.at("widget/app")));
    let report = world.sync(&[]).report();
    assert_eq!(far.paths(&id(1)).len(), 2);
    assert!(world.here.paths(&id(1)).is_empty(), "neither is taken");
    let said = report.left.iter().any(|left| left.why.contains("there; the client resumes neither"))
        || skipped(&report, "box").iter().any(|(name, _)| name.contains(&id(1)));
    assert!(said, "listed: {:?} {:?}", report.left, skipped(&report, "box"));
    assert_eq!(world.here.paths(&id(2)).len(), 1, "the others go on");
}

#[test]
fn an_id_that_a_far_machine_has_in_two_repositories_comes_from_neither() {
    let mut world = World::new();
    let far = world.machine("box", &["acme/widget", "acme/gadget"]);
    for side in [&world.here, &far] {
        side.clone_of("widget", "git@github.com:acme/widget.git");
        side.clone_of("gadget", "git@github.com:acme/gadget.git");
    }
    let talk = Talk::begun(&id(1), &far.at("widget"), 30, "twice");
    far.put(&talk);
    far.put(&talk.clone().in_project_of(&far.at("gadget")));
    far.put(&Talk::begun(&id(2), &far.at("gadget"), 20, "good"));
    let report = world.passes();
    assert!(world.here.paths(&id(1)).is_empty() && world.here.paths(&id(2)).len() == 1);
    let skipped = skipped(&report, "box");
    assert!(skipped.iter().any(|(name, why)| *name == id(1) && why.contains("the client resumes neither")), "{skipped:?}");
}

#[test]
fn a_clone_whose_path_is_no_text_does_not_keep_the_state_from_being_written() {
    let mut world = World::new();
    let far = world.machine("box", &["acme/widget"]);
    far.clone_of("widget", "git@github.com:acme/widget.git");
    world.here.clone_of("other", "git@github.com:acme/other.git");
    let path = std::path::Path::new(&world.here.at("other")).with_file_name(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    if std::fs::rename(world.here.at("other"), path).is_err() {
        return skip("this file system has no such names");
    }
    far.put(&Talk::begun(&id(1), &far.at("widget"), 20, "no clone of it here"));
    world.passes();
    assert!(world.data().join("state/state.json").exists());
    assert_eq!(world.passes().visits[0].bytes_in, 0);
}

#[test]
fn a_directory_that_two_clones_may_be_meant_by_takes_no_session_to_the_wrong_one() {
    for off_first in [true, false] {
        let (world, far) = World::with_box();
        // Written alike as names of project directories.
        let (inner, outer) = (world.here.at("widget/api"), world.here.at("widget-api"));
        world.here.clone_of("widget-api", "git@github.com:acme/secret.git");
        std::fs::create_dir_all(&inner).unwrap();
        assert_eq!(encode(&inner), encode(&outer));
        let [first, second] = if off_first { [&outer, &inner] } else { [&inner, &outer] };
        world.here.put(&Talk::begun(&id(1), first, 30, "one"));
        world.here.put(&Talk::begun(&id(2), second, 20, "two"));
        world.passes();
        world.passes();
        let of_secret = if off_first { id(1) } else { id(2) };
        assert_eq!(far.paths(&of_secret), Vec::<std::path::PathBuf>::new(), "{off_first}");
    }
}

#[test]
fn nothing_is_sent_to_a_directory_there_that_another_clone_speaks_for() {
    let (world, far) = World::with_box();
    far.clone_of("widget-api", "git@github.com:acme/secret.git");
    far.put(&Talk::begun(&id(1), &far.at("widget-api"), 30, "of the other clone"));
    std::fs::create_dir_all(world.here.at("widget/api")).unwrap();
    world.here.put(&Talk::begun(&id(2), &world.here.at("widget/api"), 20, "of a subdirectory whose name is written alike"));
    world.here.put(&Talk::begun(&id(3), &world.here.at("widget"), 20, "good"));
    for _ in 0..2 {
        let ran = world.sync(&[]);
        assert_eq!(ran.code, 3, "{ran:?}");
        assert!(ran.out.contains("is of another clone, too"), "{ran:?}");
        assert!(far.paths(&id(2)).is_empty(), "it would not be read there");
        assert_eq!(world.here.bytes(&id(3)), far.bytes(&id(3)));
    }
}

#[test]
fn nothing_is_sent_to_a_directory_there_in_which_another_clone_would_speak() {
    let (world, far) = World::with_box();
    far.clone_of("widget-api", "git@github.com:acme/secret.git");
    std::fs::create_dir_all(world.here.at("widget/api")).unwrap();
    world.here.put(&Talk::begun(&id(1), &world.here.at("widget/api"), 20, "of a subdirectory whose name is written alike"));
    let ran = world.sync(&[]);
    assert!(ran.code == 3 && ran.out.contains("is of another clone, too"), "{ran:?}");
    assert!(far.paths(&id(1)).is_empty(), "it would not be read there once somebody works in that clone");
}

#[test]
fn what_was_brought_here_stays_its_repository_s_whoever_works_in_a_directory_that_is_written_alike() {
    for before in [true, false] {
        let (world, far) = World::with_box();
        world.here.clone_of("widget-api", "git@github.com:acme/secret.git");
        let other = Talk::begun(&id(1), &world.here.at("widget-api"), 30, "of the other clone");
        world.here.put(&Talk::begun(&id(3), &world.here.at("widget"), 40, "of this one"));
        if before {
            world.here.put(&other);
        }
        std::fs::create_dir_all(far.at("widget/api")).unwrap();
        let talk = Talk::begun(&id(2), &far.at("widget/api"), 20, "of a subdirectory there");
        far.put(&talk);
        world.passes();
        if !before {
            world.here.put(&other);
        }
        // New sessions of this repository would go elsewhere from now on.
        world.here.clone_of("widget-fix", "git@github.com:acme/widget.git");
        world.here.put(&Talk::begun(&id(4), &world.here.at("widget-fix"), 10, "of its second clone"));
        world.passes();
        let talk = talk.says("and on");
        far.goes_on(&talk);
        world.passes();
        assert_eq!(world.here.bytes(&id(2)), talk.bytes, "{before}");
        assert!(far.paths(&id(1)).is_empty(), "{before}");
    }
}

#[test]
fn what_was_brought_to_a_directory_that_became_a_clone_of_its_own_is_that_clone_s() {
    let (world, far) = World::with_box();
    world.here.put(&Talk::begun(&id(1), &world.here.at("widget"), 40, "of the repository around it"));
    std::fs::create_dir_all(far.at("widget/lib")).unwrap();
    let talk = Talk::begun(&id(2), &far.at("widget/lib"), 20, "of a subdirectory there");
    far.put(&talk);
    world.passes();
    world.here.clone_of("widget/lib", "git@github.com:acme/lib.git");
    world.here.put(&Talk::begun(&id(3), &world.here.at("widget/lib"), 10, "of the clone within"));
    far.goes_on(&talk.says("and on"));
    let ran = world.sync(&[]);
    assert!(ran.code == 3 && ran.out.contains("belongs to acme/lib"), "{ran:?}");
}
