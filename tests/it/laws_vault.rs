//! What the archive writes, what the vault lets go, and what a scan makes of every kind of name.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::PathBuf;

use claude_session_sync::reconcile::manifest::SessionId;
use claude_session_sync::reconcile::relation::Lines;
use claude_session_sync::reconcile::transcript::{Content, Digest, Reader};
use claude_session_sync::store::archive::{Archive, Here};
use claude_session_sync::store::proof;
use claude_session_sync::store::scan::scan;
use claude_session_sync::store::vault::{Reason, Vault};

use crate::laws_model::line;
use crate::laws_store::{Place, append, id, names, note};

fn lines(bytes: &[u8]) -> Lines {
    let mut reader = Reader::new([]);
    reader.push(bytes);
    Lines::of(reader.finish())
}

fn archive(place: &Place) -> Archive {
    Archive::open(&place.vault, true).unwrap()
}

fn copy(place: &Place) -> PathBuf {
    place.root().join(format!("data/vault/archive/{}.jsonl", id()))
}

fn index(place: &Place) -> PathBuf {
    place.root().join("data/vault/archive/index.jsonl")
}

/// Takes a content in and makes it durable.
fn take(place: &mut Place, bytes: &[u8]) {
    let mut archive = archive(place);
    offer(place, &mut archive, bytes);
    archive.settle().unwrap();
}

fn offer(place: &mut Place, archive: &mut Archive, bytes: &[u8]) {
    let source = place.root().join("source");
    fs::write(&source, bytes).unwrap();
    let content = lines(bytes);
    archive.take(&mut place.vault, id(), &content, &source, |of: &Content| noted(of)).unwrap();
}

fn noted(of: &Content) -> claude_session_sync::store::vault::Note {
    claude_session_sync::store::vault::Note { length: of.length, digest: of.digest, ..note(b"", Reason::Lost) }
}

fn said(words: &[(&str, i64)]) -> Vec<u8> {
    words.iter().flat_map(|(word, second)| line("user", Some(*second), word)).collect()
}

#[test]
fn a_copy_that_grew_is_appended_to_and_never_goes_back() {
    let mut place = Place::new();
    let (short, long) = (said(&[("a", 1)]), said(&[("a", 1), ("b", 2)]));
    take(&mut place, &short);
    let inode = fs::metadata(copy(&place)).unwrap().ino();
    take(&mut place, &long);
    assert_eq!((fs::read(copy(&place)).unwrap(), fs::metadata(copy(&place)).unwrap().ino()), (long.clone(), inode), "the same file, longer");
    take(&mut place, &short);
    assert_eq!(fs::read(copy(&place)).unwrap(), long);
    assert!(place.kept().is_empty());
}

#[test]
fn of_copies_that_diverged_the_newer_is_the_copy_and_the_other_is_kept_in_any_order() {
    let (one, two) = (said(&[("a", 1), ("one", 2)]), said(&[("a", 1), ("two", 3)]));
    for order in [[&one, &two], [&two, &one]] {
        let mut place = Place::new();
        order.iter().for_each(|bytes| take(&mut place, bytes));
        assert_eq!(fs::read(copy(&place)).unwrap(), two);
        assert_eq!(place.kept(), std::slice::from_ref(&one));
    }
}

#[test]
fn an_append_that_a_crash_cut_short_is_healed() {
    let (short, long, other) = (said(&[("a", 1)]), said(&[("a", 1), ("b", 2)]), said(&[("a", 1), ("other", 3)]));
    let diverged = said(&[("z", 4)]);
    for (left, next) in [(&long[..long.len() - 5], &long), (&long[..], &other), (&other[..], &long), (&long[..], &diverged)] {
        let mut place = Place::new();
        take(&mut place, &short);
        // The bytes came, the index did not.
        fs::write(copy(&place), left).unwrap();
        take(&mut place, next);
        assert_eq!(&fs::read(copy(&place)).unwrap(), next);
        // Nobody else may have them any more.
        for before in [&short[..], left] {
            assert!(next.starts_with(before) || place.kept().iter().any(|kept| kept == before), "a copy is nowhere");
        }
    }
}

#[test]
fn a_copy_that_rotted_is_made_again_from_a_whole_one() {
    let (short, long) = (said(&[("a", 1)]), said(&[("a", 1), ("b", 2)]));
    for rotten in [Some(vec![b'x'; short.len()]), Some(b"x".to_vec()), None] {
        let mut place = Place::new();
        take(&mut place, &short);
        fs::remove_file(copy(&place)).unwrap();
        match rotten {
            Some(rotten) => fs::write(copy(&place), rotten).unwrap(),
            // It cannot be opened.
            None => symlink(copy(&place), copy(&place)).unwrap(),
        }
        take(&mut place, &long);
        assert_eq!(fs::read(copy(&place)).unwrap(), long);
    }
}

#[test]
fn a_source_that_is_not_what_it_was_said_to_be_changes_nothing() {
    let mut place = Place::new();
    let (short, long) = (said(&[("a", 1)]), said(&[("a", 1), ("b", 2)]));
    take(&mut place, &short);
    let mut archive = archive(&place);
    let source = place.root().join("source");
    fs::write(&source, said(&[("a", 1), ("c", 2)])).unwrap();
    let taken = archive.take(&mut place.vault, id(), &lines(&long), &source, noted);
    assert_eq!(taken.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    assert_eq!(archive.records()[&id()].content, lines(&short).content);
    assert!(place.vault.copy(&source, note(&long, Reason::Lost)).is_err());
    assert!(place.kept().is_empty() && place.staged().is_empty());
}

#[test]
fn a_torn_or_foreign_line_of_the_index_hides_no_other() {
    let mut place = Place::new();
    take(&mut place, &said(&[("a", 1)]));
    append(&index(&place), b"{\"version\":9}\n\xff\xfe\n{\"version\":1,\"sess");
    take(&mut place, &said(&[("a", 1), ("b", 2)]));
    assert_eq!(archive(&place).records()[&id()].content, lines(&said(&[("a", 1), ("b", 2)])).content);
}

#[test]
fn an_index_of_many_lines_is_written_anew_with_the_last_of_each_session() {
    let mut place = Place::new();
    take(&mut place, &said(&[("a", 1)]));
    let many = fs::read(index(&place)).unwrap().repeat(1_300);
    append(&index(&place), &many);
    let mut archive = archive(&place);
    archive.saw(id(), Some(Here { replica: *id().as_uuid(), length: 7, digest: Digest::of(b"") }), None);
    archive.settle().unwrap();
    assert_eq!(fs::read_to_string(index(&place)).unwrap().lines().count(), 1);
    assert_eq!(self::archive(&place).records()[&id()].here.unwrap().length, 7);
    assert!(!names(&place.root().join("data/vault/archive")).iter().any(|name| name.starts_with(".new-")));
}

#[test]
fn an_overtaken_copy_goes_only_once_a_later_process_proves_the_archive_to_hold_it() {
    let mut place = Place::new();
    let (short, long) = (said(&[("a", 1)]), said(&[("a", 1), ("b", 2)]));
    fs::write(place.root().join("short"), &short).unwrap();
    fs::write(place.root().join("lost"), b"lost\n").unwrap();
    place.vault.copy(&place.root().join("short"), note(&short, Reason::Overtaken)).unwrap();
    place.vault.copy(&place.root().join("lost"), note(b"lost\n", Reason::Lost)).unwrap();
    take(&mut place, &long);
    let holder = archive(&place);
    assert_eq!(place.vault.sweep(&holder).unwrap(), 0, "made by this process");
    let reopened = |place: &Place| claude_session_sync::store::vault::Vault::open(&place.root().join("data")).unwrap();
    let mut vault = reopened(&place);
    let object = vault.objects().iter().find(|object| object.note.reason == Reason::Overtaken).unwrap().path.clone();
    append(&object, b"grew since\n");
    assert_eq!(vault.sweep(&holder).unwrap(), 0, "no beginning of the archive's copy any more");
    fs::write(&object, &short).unwrap();
    assert_eq!(reopened(&place).sweep(&holder).unwrap(), 1);
    assert_eq!(place.kept(), [b"lost\n".to_vec()]);
}

#[test]
fn two_files_with_equal_bytes_are_no_proof_of_one_inode() {
    let place = Place::new();
    for name in ["one", "two"] {
        fs::write(place.root().join(name), b"same\n").unwrap();
    }
    fs::hard_link(place.root().join("one"), place.root().join("link")).unwrap();
    let directory = fs::File::open(place.root()).unwrap();
    assert!(proof::same_inode(&directory, "one", &directory, "two").is_err());
    assert!(proof::same_inode(&directory, "one", &directory, "missing").is_err());
    assert!(proof::same_inode(&directory, "one", &directory, "link").is_ok());
}

#[test]
fn a_scan_takes_session_files_and_tells_of_everything_else() {
    let place = Place::new();
    let project = place.root().join("claude/projects/-w");
    let (first, second): (SessionId, SessionId) = (id(), "11111111-1111-4111-8111-111111111111".parse().unwrap());
    let file = |path: &str| {
        let path = project.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"x\n").unwrap();
    };
    file(&first.file_name());
    for side in ["subagents/agent-0a.jsonl", "subagents/workflows/run/a.json", "tool-results/b.txt", "a/b/c/d/e/f.txt"] {
        file(&format!("{first}/{side}"));
    }
    for odd in ["-leading", "sp ace", ".hidden/x.txt", "a/b/c/d/e/f/g.txt", "caf\u{e9}.txt"] {
        file(&format!("{first}/{odd}"));
    }
    for known in ["memory/notes.md", "sessions-index.json", "agent-0a.jsonl"] {
        file(known);
    }
    for odd in ["notes.txt", "6F869D7B-ce51-4e00-8a05-674dde6aa368.jsonl", "not-a-session/x"] {
        file(odd);
    }
    symlink("/etc/passwd", project.join(second.file_name())).unwrap();
    symlink("/etc", project.join(format!("{first}/linked"))).unwrap();
    nix::unistd::mkfifo(&project.join(format!("{first}/pipe.txt")), nix::sys::stat::Mode::S_IRWXU).unwrap();
    symlink(&project, place.root().join("claude/projects/-linked")).unwrap();
    fs::create_dir(place.root().join("claude/projects/strange name")).unwrap();
    let scanned = scan(&place.tree).unwrap();
    assert_eq!(scanned.sessions.keys().collect::<Vec<_>>(), [&first]);
    let side: Vec<&str> = scanned.sessions[&first].side.keys().map(|path| path.as_str()).collect();
    assert_eq!(side, ["a/b/c/d/e/f.txt", "subagents/agent-0a.jsonl", "subagents/workflows/run/a.json", "tool-results/b.txt"]);
    assert_eq!(scanned.refused.keys().collect::<Vec<_>>(), [&second]);
    let skipped: BTreeSet<String> = scanned.skipped.iter().map(|skipped| skipped.name.rsplit('/').next().unwrap().to_owned()).collect();
    let expected = [
        "-leading",
        "-linked",
        ".hidden",
        "6F869D7B-ce51-4e00-8a05-674dde6aa368.jsonl",
        "caf\u{e9}.txt",
        "f",
        "linked",
        "not-a-session",
        "notes.txt",
        "pipe.txt",
        "sp ace",
        "strange name",
    ];
    assert_eq!(skipped, expected.into_iter().map(str::to_owned).chain([second.file_name()]).collect());
}

#[test]
fn an_id_in_two_directories_is_refused_in_both() {
    let place = Place::new();
    fs::write(place.file(), b"x\n").unwrap();
    let second = place.root().join("claude/projects/-v");
    fs::create_dir(&second).unwrap();
    fs::write(second.join(id().file_name()), b"x\n").unwrap();
    let scanned = scan(&place.tree).unwrap();
    assert!(scanned.sessions.is_empty() && scanned.refused.contains_key(&id()));
}

#[test]
fn an_overtaken_object_whose_successor_cannot_be_opened_stays_and_holds_nothing_up() {
    let mut place = Place::new();
    let (short, long) = (said(&[("a", 1)]), said(&[("a", 1), ("b", 2)]));
    take(&mut place, &long);
    let source = place.root().join("source");
    fs::write(&source, &short).unwrap();
    place.vault.copy(&source, note(&short, Reason::Overtaken)).unwrap();
    let mut vault = Vault::open(&place.root().join("data")).unwrap();
    let archive = archive(&place);
    fs::remove_file(copy(&place)).unwrap();
    symlink(copy(&place), copy(&place)).unwrap();
    assert_eq!(vault.sweep(&archive).unwrap(), 0);
    assert_eq!(place.kept(), [short]);
    fs::remove_file(copy(&place)).unwrap();
    fs::write(copy(&place), &long).unwrap();
    assert_eq!(vault.sweep(&archive).unwrap(), 1);
}
