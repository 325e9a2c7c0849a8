//! Windows, retention, deletions, rebuilds, lost memory, and two passes at once.

use std::fs;

use claude_session_sync::reconcile::report::{Report, Verb};

use crate::remote_far::write_program;
use crate::talk::{Talk, id};
use crate::world::{Ran, Side, World, transcripts, visit};

const DAY: i64 = 24 * 60;

fn left(report: &Report) -> Vec<(String, String, String)> {
    report.left.iter().map(|left| (left.at.clone(), left.session.to_string(), left.word.clone())).collect()
}

/// A world in which a session of either side, and two more, were once everywhere.
fn settled() -> (World, Side, Vec<Talk>) {
    let (world, far) = World::with_box();
    let talks: Vec<Talk> = (1..=4).map(|n| Talk::begun(&id(n), &world.here.at("widget"), 60 + i64::from(n), "once everywhere")).collect();
    talks.iter().for_each(|talk| drop(world.here.put(talk)));
    world.passes();
    assert_eq!(far.sessions().len(), 4);
    (world, far, talks)
}

#[test]
fn only_sessions_within_the_window_are_created_and_those_on_both_sides_are_kept_equal_whatever_their_age() {
    let (world, far) = World::with_box();
    let both = Talk::begun(&id(1), &world.here.at("widget"), 20 * DAY, "old, on both sides");
    world.here.put(&both.clone().says("and longer here"));
    far.put(&both.in_project_of(&far.at("widget")));
    world.here.put(&Talk::begun(&id(2), &world.here.at("widget"), 8 * DAY, "old here"));
    far.put(&Talk::begun(&id(3), &far.at("widget"), 8 * DAY, "old there"));
    far.put(&Talk::begun(&id(4), &far.at("widget"), 6 * DAY, "young there"));
    let report = world.passes();
    assert_eq!(world.here.bytes(&id(1)), far.bytes(&id(1)));
    assert!(far.paths(&id(2)).is_empty() && world.here.paths(&id(3)).is_empty());
    assert_eq!(world.here.paths(&id(4)).len(), 1);
    assert!(visit(&report, "box").standings.contains_key("older"), "and it says how many stay: {:?}", visit(&report, "box").standings);

    let more = world.sync(&["--days", "10"]).went_well();
    assert_eq!((transcripts(&more, "here"), transcripts(&more, "box")), (vec![(id(3), Verb::Create)], vec![(id(2), Verb::Create)]));
    assert_eq!(world.here.sessions(), far.sessions());
}

#[test]
fn the_configured_window_counts_where_no_other_is_asked_for() {
    let (mut world, far) = World::with_box();
    world.set("[sync]\ndays = 2");
    far.put(&Talk::begun(&id(1), &far.at("widget"), 3 * DAY, "three days old"));
    world.passes();
    assert!(world.here.paths(&id(1)).is_empty());
    world.sync(&["--days", "4"]).went_well();
    assert_eq!(world.here.paths(&id(1)).len(), 1);
}

#[test]
fn a_session_that_the_client_would_delete_is_not_created_on_either_side() {
    let (world, far) = World::with_box();
    for side in [&world.here, &far] {
        fs::write(side.claude.join("settings.json"), "{\n  \"cleanupPeriodDays\": 5\n}\n").unwrap();
    }
    // Younger than the window, older than the retention period less a day.
    far.put(&Talk::begun(&id(1), &far.at("widget"), 4 * DAY + 60, "there"));
    world.here.put(&Talk::begun(&id(2), &world.here.at("widget"), 4 * DAY + 60, "here"));
    world.here.put(&Talk::begun(&id(3), &world.here.at("widget"), 3 * DAY, "young enough"));
    for days in ["7", "365"] {
        world.sync(&["--days", days]).went_well();
        assert!(world.here.paths(&id(1)).is_empty() && far.paths(&id(2)).is_empty(), "{days}");
        assert_eq!(far.paths(&id(3)).len(), 1);
    }
    fs::write(far.claude.join("settings.json"), "{\"cleanupPeriodDays\": 365}").unwrap();
    world.passes();
    assert_eq!((world.here.paths(&id(1)).len(), far.paths(&id(2)).len()), (0, 1), "each side by its own settings");
}

#[test]
fn the_age_of_a_session_is_that_of_its_newest_message_and_not_of_its_file() {
    let (world, far) = World::with_box();
    let path = far.put(&Talk::begun(&id(1), &far.at("widget"), 20 * DAY, "old words in a fresh file"));
    fs::File::options().write(true).open(path).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    world.passes();
    assert!(world.here.paths(&id(1)).is_empty());
    assert!(world.archived(&id(1)).is_some(), "but what was read is kept");
}

#[test]
fn what_was_deleted_on_one_side_is_not_brought_back_and_not_deleted_on_the_other() {
    let (world, far, _) = settled();
    fs::remove_file(world.here.path(&id(1))).unwrap();
    fs::remove_file(far.path(&id(2))).unwrap();
    for _ in 0..2 {
        let report = world.passes();
        assert_eq!(report.actions, []);
        assert_eq!(left(&report), [("here".to_owned(), id(1), "deleted".to_owned()), ("box".to_owned(), id(2), "deleted".to_owned())]);
    }
    assert!(world.here.paths(&id(1)).is_empty() && far.paths(&id(2)).is_empty());
    assert!(far.paths(&id(1)).len() == 1 && world.here.paths(&id(2)).len() == 1);
    assert!(world.archived(&id(1)).is_some());
}

#[test]
fn a_deletion_here_is_remembered_without_the_state() {
    let (world, far, _) = settled();
    fs::remove_file(world.here.path(&id(1))).unwrap();
    fs::remove_dir_all(world.data().join("state")).unwrap();
    let report = world.passes();
    assert_eq!(left(&report), [("here".to_owned(), id(1), "deleted".to_owned())]);
    assert!(world.here.paths(&id(1)).is_empty() && far.paths(&id(1)).len() == 1);
}

#[test]
fn what_was_deleted_comes_back_when_it_grows_elsewhere() {
    let (world, far, talks) = settled();
    fs::remove_file(world.here.path(&id(1))).unwrap();
    fs::remove_file(far.path(&id(2))).unwrap();
    world.passes();
    let grown: Vec<Talk> = talks[..2].iter().map(|talk| talk.clone().says("gone on with")).collect();
    far.goes_on(&grown[0]);
    world.here.goes_on(&grown[1]);
    let report = world.passes();
    assert_eq!((transcripts(&report, "here"), transcripts(&report, "box")), (vec![(id(1), Verb::Create)], vec![(id(2), Verb::Create)]));
    assert_eq!(visit(&report, "box").bytes_in as usize, grown[0].bytes.len() - talks[0].bytes.len(), "the archive has the rest");
    assert_eq!((world.here.bytes(&id(1)), far.bytes(&id(2))), (grown[0].bytes.clone(), grown[1].bytes.clone()));
}

#[test]
fn a_deletion_right_after_a_first_pass_that_only_pulled_is_no_rebuild() {
    let (world, far) = World::with_box();
    for n in [1, 2] {
        far.put(&Talk::begun(&id(n), &far.at("widget"), 60, "theirs"));
    }
    world.passes();
    fs::remove_file(far.path(&id(1))).unwrap();
    let report = world.passes();
    assert!(far.paths(&id(1)).is_empty(), "{:?}", report.actions);
    assert_eq!(left(&report), [("box".to_owned(), id(1), "deleted".to_owned())]);
}

#[test]
fn a_far_store_that_a_rebuild_wiped_is_filled_again_and_nothing_goes_here() {
    for how in ["everything", "projects", "new store"] {
        let (world, far, _) = settled();
        let before = world.here.sessions();
        match how {
            "everything" => fs::remove_dir_all(&far.claude).unwrap(),
            "projects" => fs::remove_dir_all(far.claude.join("projects")).unwrap(),
            _ => {
                fs::remove_dir_all(&far.claude).unwrap();
                fs::create_dir_all(far.claude.join("sessions")).unwrap();
                far.put(&Talk::begun(&id(9), &far.at("widget"), 5, "the first one there"));
            }
        }
        world.passes();
        for (name, bytes) in &before {
            assert_eq!(world.here.sessions().get(name), Some(bytes), "{how}");
            assert_eq!(far.sessions().get(name), Some(bytes), "{how}");
        }
        assert_eq!(world.here.sessions(), far.sessions(), "{how}");
    }
}

#[test]
fn a_store_that_is_empty_here_is_filled_again_and_nothing_goes_there() {
    let (world, far, _) = settled();
    let before = far.sessions();
    fs::remove_dir_all(&world.here.claude).unwrap();
    world.passes();
    assert_eq!(far.sessions(), before);
    assert_eq!(world.here.sessions(), before);
}

#[test]
fn a_lost_corrupt_or_foreign_state_costs_time_and_nothing_else() {
    let (world, far, talks) = settled();
    let state = world.data().join("state/state.json");
    let good = fs::read(&state).unwrap();
    for bad in [None, Some(b"".to_vec()), Some(b"{\"version\":99}".to_vec()), Some(vec![0; 300]), Some(good[..good.len() / 2].to_vec())] {
        match &bad {
            None => fs::remove_file(&state).unwrap(),
            Some(bytes) => fs::write(&state, bytes).unwrap(),
        }
        let report = world.passes();
        assert_eq!((report.actions.len(), report.conflicts.len(), visit(&report, "box").bytes_in), (0, 0, 0), "{bad:?}");
        assert_eq!(world.here.sessions(), far.sessions());
    }
    // Somebody else's: the memory of another world, with other inodes and another far store.
    let (other, _, _) = settled();
    fs::copy(other.data().join("state/state.json"), &state).unwrap();
    assert_eq!(world.passes().actions, []);
    let grown = talks[0].clone().says("more");
    far.goes_on(&grown);
    fs::remove_file(&state).unwrap();
    let report = world.passes();
    assert_eq!(visit(&report, "box").bytes_in as usize, grown.bytes.len() - talks[0].bytes.len(), "the suffix alone, also without a state");
    assert_eq!(world.here.bytes(&id(1)), grown.bytes);
}

#[test]
fn a_replica_that_no_visit_finds_for_half_a_year_is_forgotten() {
    let (world, far, talks) = settled();
    let path = world.data().join("state/state.json");
    let read = || serde_json::from_slice::<serde_json::Value>(&fs::read(&path).unwrap()).unwrap();
    let mut state = read();
    let own = state["replicas"].as_object().unwrap().keys().next().unwrap().clone();
    let ago = |days| serde_json::json!(chrono::Utc::now() - chrono::TimeDelta::days(days));
    // Two that a rebuild left behind; one of which nothing is noted, as by an older version; and one that is visited again.
    let [long, lately, unnoted] = ["181", "170", "000"].map(|n| format!("{n}00000-51c4-4e00-8a05-674dde6aa368"));
    for other in [&long, &lately, &unnoted] {
        state["replicas"][other] = state["replicas"][&own].clone();
    }
    // One of a machine that is off, and still known.
    let off = "18200000-51c4-4e00-8a05-674dde6aa368".to_owned();
    state["replicas"][&off] = state["replicas"][&own].clone();
    state["visits"]["tower"] = state["visits"]["box"].clone();
    state["visits"]["tower"]["replica"] = serde_json::json!(off);
    state["heard"] = serde_json::json!({ &long: ago(181), &lately: ago(170), &own: ago(200), &off: ago(300), "99900000-51c4-4e00-8a05-674dde6aa368": ago(1) });
    fs::write(&path, state.to_string()).unwrap();
    fs::remove_file(far.path(&talks[0].id)).unwrap();
    world.passes();
    assert!(far.paths(&talks[0].id).is_empty(), "what is visited is remembered, however long it took");
    let state = read();
    let names = |of: &str| state[of].as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(names("replicas"), [lately, unnoted, own, off].into());
    assert_eq!(names("heard"), names("replicas"));
}

#[test]
fn of_two_passes_at_once_one_waits() {
    let (world, far) = World::with_box();
    for n in 1..20 {
        world.here.put(&Talk::begun(&id(n), &world.here.at("widget"), 60, "mine"));
    }
    let arguments = world.arguments(&[]);
    let start = || world.command(&[], &arguments).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let (one, two) = (start(), start());
    for child in [one, two] {
        let output = child.wait_with_output().unwrap();
        let ran = Ran { code: output.status.code().unwrap(), out: String::from_utf8(output.stdout).unwrap(), err: String::from_utf8(output.stderr).unwrap() };
        ran.went_well();
    }
    assert_eq!(world.here.sessions(), far.sessions());
}

#[test]
fn a_pass_that_waited_in_vain_says_who_runs_and_ends_with_75() {
    let (world, far) = World::with_box();
    far.put(&Talk::begun(&id(1), &far.at("widget"), 20, "theirs"));
    world.passes();
    let lock = fs::File::options().read(true).write(true).open(world.data().join("state/pass.lock")).unwrap();
    fs::write(world.data().join("state/pass.lock"), "4242").unwrap();
    let held = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive).unwrap();
    let began = std::time::Instant::now();
    let ran = world.sync(&[]);
    assert_eq!((ran.code, ran.err.lines().next()), (75, Some("error: another pass is running (pid 4242)")), "{ran:?}");
    assert!(began.elapsed().as_secs() >= 10);
    drop(held);
    world.passes();
}

/// Wiped, its id included, in front of each of the scripts that a visit runs after its listing.
#[test]
fn a_store_that_is_rebuilt_in_the_middle_of_a_visit_is_a_new_one_and_nothing_of_it_counts_as_deleted() {
    for request in 2..=4 {
        let (mut world, far) = World::with_box();
        let talks: Vec<Talk> = (1..=4).map(|number| Talk::begun(&id(number), &world.here.at("widget"), 60, &format!("talk {number}"))).collect();
        talks.iter().for_each(|talk| drop(world.here.put(talk)));
        world.passes();
        world.here.goes_on(&talks[0].clone().says("more, here"));
        // More than is asked for before it is known to be wanted.
        far.goes_on(&talks[1].clone().says(&"more, there ".repeat(30_000)));
        // With this one in it the new store is not empty.
        world.here.put(&Talk::begun(&id(5), &world.here.at("widget"), 30, "new here"));
        let count = world.root().join("count");
        // The listing came beside the script. Behind each of the others is an empty line, and behind a put all the rest.
        let wipe = format!(
            "n=1 first=yes put=; while IFS= read -r line; do \
             if [ -n \"$first\" ]; then \
             n=$((n + 1)); echo >>{0}; [ $n != {request} ] || rm -rf {1}/projects/* {1}/.claude-session-sync; \
             case $line in \"put \"*) put=yes ;; esac; \
             fi; \
             printf \"%s\\n\" \"$line\"; first=; [ -n \"$line\" ] || first=yes; \
             [ \"$first$put\" != yesyes ] || exec cat; \
             done | \"$@\"",
            count.display(),
            far.claude.display()
        );
        world.reach("box", |command| command.extend(["sh".to_owned(), "-c".to_owned(), wipe, "sh".to_owned()]));
        let ran = world.sync(&[]);
        assert!([0, 1, 3].contains(&ran.code), "request {request}: {ran:?}");
        assert!(std::fs::read_to_string(&count).unwrap().lines().count() >= request - 1, "request {request}: the visit was shorter");
        world.reach("box", |command| command.truncate(command.len() - 4));
        world.sync(&[]);
        world.passes();
        assert_eq!(far.sessions(), world.here.sessions(), "request {request}: {ran:?}");
        assert_eq!(far.sessions().len(), 5, "request {request}");
    }
}

#[test]
fn what_is_written_there_right_after_a_push_comes_home() {
    let (mut world, far) = World::with_box();
    let talk = Talk::begun(&id(1), &world.here.at("widget"), 60, "a talk");
    world.here.put(&talk);
    world.passes();
    let pushed = talk.says("more, here");
    world.here.goes_on(&pushed);
    // A client that resumes the file in the moment in which it has its name, and is told of by nobody.
    let late = pushed.clone().says("late, there");
    let (tools, line) = (world.root().join("tools"), world.root().join("line"));
    fs::create_dir(&tools).unwrap();
    fs::write(&line, &late.complete()[pushed.complete().len()..]).unwrap();
    let mv = "#!/bin/sh\n/bin/mv \"$@\" || exit\ncase $* in *.jsonl) cat LINE >>\"$3\" && rm LINE ;; esac 2>/dev/null\nexit 0\n";
    write_program(&tools.join("mv"), &mv.replace("LINE", line.to_str().unwrap()));
    let through = format!("PATH={}:$PATH exec \"$@\"", tools.display());
    world.reach("box", |command| command.extend(["sh".to_owned(), "-c".to_owned(), through, "sh".to_owned()]));
    world.sync(&[]).went_well();
    assert_eq!((far.bytes(&id(1)).as_slice(), line.exists()), (late.complete(), false));
    world.sync(&[]).went_well();
    assert_eq!(world.here.bytes(&id(1)).as_slice(), late.complete());
}

#[test]
fn a_session_that_was_opened_lately_does_not_look_older_by_lines_that_come_to_it() {
    let (world, far) = World::with_box();
    let yesterday = std::time::SystemTime::now() - std::time::Duration::from_secs(86_400);
    let old = Talk::begun(&id(1), &world.here.at("widget"), 35 * 24 * 60, "long ago");
    let theirs = old.clone().in_project_of(&far.at("widget"));
    let opened = |side: &Side| fs::File::options().write(true).open(side.path(&id(1))).unwrap().set_modified(yesterday).unwrap();
    for (grows, looks) in [(&far, &world.here), (&world.here, &far)] {
        world.here.put(&old);
        far.put(&theirs);
        opened(looks);
        grows.goes_on(&theirs.clone().titled(&format!("named at {}", grows.name)));
        world.passes();
        assert_eq!(world.here.bytes(&id(1)), far.bytes(&id(1)), "{}", looks.name);
        let modified = fs::metadata(looks.path(&id(1))).unwrap().modified().unwrap();
        assert_eq!(modified.duration_since(yesterday).unwrap_or_default().as_secs(), 0, "{}", looks.name);
        assert!(modified + std::time::Duration::from_secs(1) > yesterday, "{}: the client would sweep it", looks.name);
        for side in [&world.here, &far] {
            fs::remove_file(side.path(&id(1))).unwrap();
        }
        fs::remove_dir_all(world.data()).unwrap();
    }
}
