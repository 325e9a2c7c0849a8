//! Side files: lines by their prefix, anything else by time, length and digest; the union everywhere, nothing removed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use claude_session_sync::reconcile::manifest::Part;
use claude_session_sync::reconcile::report::Verb;

use crate::talk::{Talk, id};
use crate::world::{Bytes, Side, World, visit};

fn settled() -> (World, Side, Talk) {
    let (world, far) = World::with_box();
    let talk = Talk::begun(&id(1), &world.here.at("widget"), 60, "begun");
    world.here.put(&talk);
    world.passes();
    (world, far, talk)
}

fn side(of: &Side, name: &str) -> PathBuf {
    of.path(&id(1)).with_extension("").join(name)
}

fn agent(texts: &[&str]) -> Talk {
    texts.iter().fold(Talk::begun(&id(7), "/x", 40, "agent"), |talk, text| talk.says(text))
}

#[test]
fn every_side_file_goes_along_and_the_union_is_everywhere() {
    let (world, far, talk) = settled();
    let deep = "subagents/workflows/run_1/agent-0a1b.jsonl";
    world.here.put_side(&talk, "tool-results/here.txt", b"made here", 30);
    world.here.put_side(&talk, deep, &agent(&["deep"]).bytes, 30);
    far.put_side(&talk, "subagents/agent-77.jsonl", &agent(&[]).bytes, 20);
    far.put_side(&talk, "subagents/agent-77.meta.json", b"{\"a\":1}", 20);
    let new = Talk::begun(&id(2), &far.at("widget"), 10, "new with a folder");
    far.put(&new);
    far.put_side(&new, "tool-results/there.txt", b"made there", 10);
    world.passes();
    assert_eq!(world.here.sessions(), far.sessions());
    assert_eq!(world.here.sessions().len(), 7);
    for name in ["tool-results/here.txt", "subagents/agent-77.meta.json"] {
        let times = [&world.here, &far].map(|of| fs::metadata(side(of, name)).unwrap().mtime());
        assert_eq!(times[0], times[1], "{name} carries its time");
    }
    assert_eq!(world.passes().actions, []);
    // One that is removed on one side is removed nowhere else, and comes back.
    fs::remove_file(side(&far, "tool-results/here.txt")).unwrap();
    world.passes();
    assert!(side(&world.here, "tool-results/here.txt").exists());
}

#[test]
fn a_side_file_is_installed_before_its_transcript() {
    let (world, far) = World::with_box();
    let talk = Talk::begun(&id(1), &far.at("widget"), 10, "with a folder");
    far.put(&talk);
    far.put_side(&talk, "tool-results/a.txt", b"a", 10);
    let report = world.passes();
    let parts: Vec<bool> = report.actions.iter().map(|action| action.part == Part::Transcript).collect();
    assert_eq!(parts, [false, true]);
}

#[test]
fn of_other_files_the_newer_then_the_longer_wins_and_the_loser_is_kept() {
    for (mine, theirs, wins) in
        [((b"newer".as_slice(), 5), (b"older, longer".as_slice(), 9), "here"), ((b"short", 5), (b"longer", 5), "box"), ((b"bbb", 5), (b"aaa", 5), "?")]
    {
        let (world, far, talk) = settled();
        let second = 60 * 60;
        world.here.put_side(&talk, "custom-title.json", mine.0, mine.1);
        far.put_side(&talk, "custom-title.json", theirs.0, theirs.1);
        // Equal to the second, so that nothing but length or digest can decide.
        let time = fs::metadata(side(&world.here, "custom-title.json")).unwrap().modified().unwrap() - std::time::Duration::from_secs(second);
        if mine.1 == theirs.1 {
            for of in [&world.here, &far] {
                fs::File::options().write(true).open(side(of, "custom-title.json")).unwrap().set_modified(time).unwrap();
            }
        }
        world.passes();
        let found = [&world.here, &far].map(|of| fs::read(side(of, "custom-title.json")).unwrap());
        assert_eq!(found[0], found[1]);
        let digests = [mine.0, theirs.0].map(crate::remote_far::sha256);
        let winner = match wins {
            "here" => mine.0,
            "box" => theirs.0,
            _ if digests[0] > digests[1] => mine.0,
            _ => theirs.0,
        };
        let loser = if winner == mine.0 { theirs.0 } else { mine.0 };
        assert_eq!(found[0], winner);
        assert_eq!(world.displaced(&id(1)), BTreeSet::from([Bytes(loser.to_vec())]));
        assert_eq!(world.passes().actions, []);
    }
}

#[test]
fn a_file_touched_without_a_change_costs_no_content() {
    let (world, far, talk) = settled();
    world.here.put_side(&talk, "custom-title.json", b"{}", 30);
    world.passes();
    far.put_side(&talk, "custom-title.json", b"{}", 5);
    let report = world.passes();
    assert_eq!(visit(&report, "box").bytes_in, 0);
    let times = [&world.here, &far].map(|of| fs::metadata(side(of, "custom-title.json")).unwrap().mtime());
    assert_eq!(times[0], times[1], "the newer time is carried");
    assert_eq!(world.passes().actions, []);
}

#[test]
fn a_subagent_s_transcript_grows_by_its_suffix_and_a_diverged_one_has_a_winner() {
    let (world, far, talk) = settled();
    let name = "subagents/agent-1f.jsonl";
    let short = agent(&["one"]);
    let long = short.clone().says("two");
    world.here.put_side(&talk, name, &short.bytes, 30);
    world.passes();
    far.put_side(&talk, name, &long.bytes, 20);
    let report = world.passes();
    assert_eq!(visit(&report, "box").bytes_in as usize, long.bytes.len() - short.bytes.len());
    assert_eq!(report.actions.iter().map(|action| action.verb).collect::<Vec<_>>(), [Verb::Extend]);

    let (older, newer) = (long.clone().after(5).says("here"), long.clone().after(500).says("there"));
    world.here.put_side(&talk, name, &older.bytes, 1);
    far.put_side(&talk, name, &newer.bytes, 10);
    world.passes();
    assert_eq!(world.here.sessions(), far.sessions());
    assert_eq!(fs::read(side(&world.here, name)).unwrap(), *newer.bytes, "by the words, not by the file's time");
    assert!(world.displaced(&id(1)).contains(&older.bytes));
    assert_eq!(world.here.sessions().len(), 2, "no fork of a side file");
}

#[test]
fn what_stands_beside_sessions_and_is_none_stays_where_it_is() {
    let (world, far, talk) = settled();
    let project = far.path(&talk.id).parent().unwrap().to_owned();
    fs::create_dir_all(project.join("memory")).unwrap();
    for name in ["memory/notes.md", "sessions-index.json", "agent-0a1b2c.jsonl"] {
        fs::write(project.join(name), "theirs alone\n").unwrap();
    }
    fs::write(far.claude.join("sessions/17.0123.key"), "SECRET").unwrap();
    let report = world.passes();
    assert_eq!((report.actions.len(), visit(&report, "box").bytes_in, visit(&report, "box").skipped.as_slice()), (0, 0, [].as_slice()));
    assert_eq!(world.here.sessions().len(), 1);
}

#[test]
fn a_fork_takes_its_title_and_leaves_the_folder_with_the_winner() {
    let (world, far, talk) = settled();
    let (older, newer) = (talk.clone().says("one"), talk.clone().after(60).says("two"));
    world.here.goes_on(&older);
    far.goes_on(&newer);
    world.here.put_side(&talk, "tool-results/one.txt", b"of the loser", 5);
    far.put_side(&talk, "tool-results/two.txt", b"of the winner", 5);
    world.passes();
    assert_eq!(world.here.sessions(), far.sessions());
    assert!(side(&far, "tool-results/one.txt").exists() && side(&world.here, "tool-results/two.txt").exists(), "the union");
}

#[test]
fn side_files_of_a_session_without_a_whole_line_are_kept_and_found_again() {
    let (world, far, _) = settled();
    let mut torn = Talk::begun(&id(2), &far.at("widget"), 10, "torn");
    torn.bytes = Bytes(b"{\"type\":\"us".to_vec());
    far.put(&torn);
    world.passes();
    let (lines, text) = (agent(&["looked around"]).bytes, b"a long output".as_slice());
    far.put_side(&torn, "subagents/agent-77.jsonl", &lines, 10);
    far.put_side(&torn, "tool-results/a.txt", text, 10);
    assert_eq!(world.passes().actions, []);
    fs::remove_file(far.path(&id(2))).unwrap();
    fs::remove_dir_all(far.transcript(&far.at("widget"), &id(2)).with_extension("")).unwrap();
    world.passes();
    let kept = world.data().join("vault/archive").join(id(2));
    assert_eq!(fs::read(kept.join("subagents/agent-77.jsonl")).unwrap(), lines.0);
    assert_eq!(fs::read(kept.join("tool-results/a.txt")).unwrap(), text);
    let run = |words: &[&str]| crate::world::Ran::of(&mut world.command(&[], words));
    let said = run(&["restore", &id(2)]);
    assert!(
        said.code == 1 && said.err.contains("it never had a whole line; what lay beside it is kept in ") && said.err.contains(kept.to_str().unwrap()),
        "{said:?}"
    );
    assert_eq!(run(&["vault", "verify"]).code, 0);
    assert_eq!(run(&["vault", "gc"]).code, 0);
    assert!(kept.exists(), "nothing else holds it");
    let said = run(&["forget", &id(2), "--yes"]);
    assert!(said.code == 0 && !kept.exists(), "{said:?}");
}

#[test]
fn a_side_file_of_a_session_that_could_not_be_read_goes_to_the_displaced_copies() {
    use claude_session_sync::reconcile::order::Whole;
    use claude_session_sync::reconcile::plan::Side as Content;
    use claude_session_sync::reconcile::transcript::Digest;
    use claude_session_sync::store::archive::Archive;
    use claude_session_sync::store::vault::{Note, Reason, Vault};
    let directory = tempfile::tempdir().unwrap();
    let mut vault = Vault::open(directory.path()).unwrap();
    let mut archive = Archive::open(&vault, true).unwrap();
    let (session, side, source) = (id(3).parse().unwrap(), "tool-results/a.txt".parse().unwrap(), directory.path().join("source"));
    fs::write(&source, b"bytes").unwrap();
    let whole = Whole { modified: 7, length: 5, digest: Digest::of(b"bytes") };
    let note = |content: &claude_session_sync::reconcile::transcript::Content| {
        Note::new(session, Part::Side("tool-results/a.txt".parse().unwrap()), Reason::Lost, "box", chrono::Utc::now(), (content.length, content.digest))
    };
    archive.take_side(&mut vault, (session, &side), &Content::Whole(whole.clone()), &source, note).unwrap();
    let kept = vault.find(session, whole.digest).expect("it is kept");
    assert_eq!((kept.note.reason, fs::read(&kept.path).unwrap()), (Reason::Side, b"bytes".to_vec()));
    assert_eq!(Vault::open(directory.path()).unwrap().objects().len(), 1);
}

#[test]
fn a_link_to_a_project_directory_there_keeps_no_side_file_from_it() {
    let (world, far, talk) = settled();
    let (at, there) = (far.path(&id(1)), side(&far, "tool-results/new.txt"));
    std::os::unix::fs::symlink(at.parent().unwrap(), far.claude.join("projects/-where-the-clone-was")).unwrap();
    world.here.put_side(&talk, "tool-results/new.txt", b"new", 1);
    world.passes();
    assert_eq!(fs::read(there).unwrap(), b"new");
}
