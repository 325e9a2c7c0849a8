//! Each step of installing one file here, with everything that can come between.

use std::cell::Cell;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::process::Command;

use claude_session_sync::store::apply::{Applied, Deferral, Expected};
use claude_session_sync::store::vault::{Object, Reason, Vault};

use crate::laws_store::{Place, append, at, id};
use crate::skip::skip;

const REST: &dyn Fn() -> io::Result<bool> = &|| Ok(false);
const CHANGED: Applied = Applied::Deferred(Deferral::Changed);

#[test]
fn a_created_file_holds_exactly_the_target_and_only_its_user_may_read_it() {
    let mut place = Place::new();
    assert_eq!(place.install(b"one\n", Expected::Absent, REST).unwrap(), Applied::Done);
    assert_eq!(fs::read(place.file()).unwrap(), b"one\n");
    let status = fs::metadata(place.file()).unwrap();
    assert_eq!((status.permissions().mode() & 0o7777, status.mtime(), status.nlink()), (0o600, 1_600_000_000, 1));
    assert!(place.staged().is_empty() && place.kept().is_empty());
}

#[test]
fn a_replaced_file_keeps_its_inode_in_the_vault_byte_for_byte() {
    let mut place = Place::new();
    fs::write(place.file(), b"old\ntorn").unwrap();
    let (before, seen) = (place.inode(), place.seen(Reason::Lost));
    assert_eq!(place.install(b"new\n", seen, REST).unwrap(), Applied::Done);
    assert_eq!(fs::read(place.file()).unwrap(), b"new\n");
    assert_eq!(place.kept(), [b"old\ntorn".to_vec()]);
    assert_eq!(fs::metadata(&place.vault.objects()[0].path).unwrap().ino(), before);
    assert!(place.staged().is_empty());
}

#[test]
fn a_file_that_is_no_longer_what_was_seen_is_left_alone() {
    type Change<'a> = (&'a str, &'a dyn Fn(&Place));
    let changes: [Change<'_>; 5] = [
        ("grown", &|place| append(&place.file(), b"more\n")),
        ("other time", &|place| fs::File::open(place.file()).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap()),
        ("other inode", &|place| {
            fs::copy(place.file(), place.root().join("copy")).unwrap();
            fs::rename(place.root().join("copy"), place.file()).unwrap();
        }),
        ("gone", &|place| fs::remove_file(place.file()).unwrap()),
        ("a link", &|place| {
            fs::rename(place.file(), place.root().join("moved")).unwrap();
            symlink(place.root().join("moved"), place.file()).unwrap();
        }),
    ];
    for (what, change) in changes {
        let mut place = Place::new();
        fs::write(place.file(), b"old\n").unwrap();
        let seen = place.seen(Reason::Lost);
        change(&place);
        let before = fs::read(place.file()).ok();
        assert_eq!(place.install(b"new\n", seen, REST).unwrap(), CHANGED, "{what}");
        assert_eq!(fs::read(place.file()).ok(), before, "{what}");
        assert!(place.staged().is_empty() && place.kept().is_empty(), "{what}");
    }
}

#[test]
fn bytes_that_changed_under_an_equal_stamp_are_left_alone() {
    let mut place = Place::new();
    fs::write(place.file(), b"old\n").unwrap();
    let (seen, modified) = (place.seen(Reason::Lost), fs::metadata(place.file()).unwrap().modified().unwrap());
    fs::write(place.file(), b"odd\n").unwrap();
    fs::OpenOptions::new().write(true).open(place.file()).unwrap().set_modified(modified).unwrap();
    assert_eq!(place.install(b"new\n", seen, REST).unwrap(), CHANGED);
    assert_eq!(fs::read(place.file()).unwrap(), b"odd\n");
}

#[test]
fn a_session_that_is_opened_at_the_last_moment_is_left_alone() {
    for held in [true, false] {
        let mut place = Place::new();
        let expected = if held {
            fs::write(place.file(), b"old\n").unwrap();
            place.seen(Reason::Lost)
        } else {
            Expected::Absent
        };
        assert_eq!(place.install(b"new\n", expected, &|| Ok(true)).unwrap(), Applied::Deferred(Deferral::Live));
        assert_eq!(fs::read(place.file()).ok(), held.then(|| b"old\n".to_vec()));
        assert!(place.staged().is_empty() && place.kept().is_empty());
    }
}

#[test]
fn a_registry_that_cannot_be_read_leaves_the_file_and_no_rest_in_the_stage() {
    let mut place = Place::new();
    fs::write(place.file(), b"old\n").unwrap();
    let seen = place.seen(Reason::Lost);
    assert!(place.install(b"new\n", seen, &|| Err(io::ErrorKind::PermissionDenied.into())).is_err());
    assert_eq!(fs::read(place.file()).unwrap(), b"old\n");
    assert!(place.staged().is_empty() && place.kept().is_empty());
}

#[test]
fn what_is_written_while_the_new_bytes_are_staged_defers_the_step() {
    let mut place = Place::new();
    fs::write(place.file(), b"old\n").unwrap();
    let (seen, file) = (place.seen(Reason::Lost), place.file());
    let grows = || {
        append(&file, b"said meanwhile\n");
        Ok(false)
    };
    assert_eq!(place.install(b"new\n", seen, &grows).unwrap(), CHANGED);
    assert_eq!(fs::read(place.file()).unwrap(), b"old\nsaid meanwhile\n");
    assert!(place.staged().is_empty());
}

#[test]
fn a_name_that_appears_before_it_is_created_is_not_overwritten() {
    let mut place = Place::new();
    let file = place.file();
    let appears = Cell::new(false);
    let appear = || {
        if !appears.replace(true) {
            fs::write(&file, b"theirs\n").unwrap();
        }
        Ok(false)
    };
    assert_eq!(place.install(b"new\n", Expected::Absent, &appear).unwrap(), CHANGED);
    assert_eq!(fs::read(place.file()).unwrap(), b"theirs\n");
    assert!(place.staged().is_empty() && place.kept().is_empty());
}

#[test]
fn a_writer_that_comes_at_the_last_moment_loses_no_line() {
    const LINES: u32 = 400;
    for round in 0..25 {
        let mut place = Place::new();
        fs::write(place.file(), b"old\n").unwrap();
        let file = place.file();
        let (begin, began) = std::sync::mpsc::channel::<()>();
        let writer = std::thread::spawn(move || {
            began.recv().unwrap();
            for line in 0..LINES {
                let mut open = fs::OpenOptions::new().append(true).open(&file).unwrap();
                io::Write::write_all(&mut open, format!("line {line}\n").as_bytes()).unwrap();
            }
        });
        // The look at the registry finds nobody, and in this moment somebody comes.
        let comes = || {
            begin.send(()).unwrap();
            for _ in 0..round * 20 {
                std::thread::yield_now();
            }
            Ok(false)
        };
        let seen = place.seen(Reason::Lost);
        let applied = place.install(b"new\n", seen, &comes).unwrap();
        writer.join().unwrap();
        let everything: String = place.kept().into_iter().chain([fs::read(place.file()).unwrap()]).map(|bytes| String::from_utf8(bytes).unwrap()).collect();
        let lines: std::collections::HashSet<&str> = everything.lines().collect();
        assert!((0..LINES).all(|line| lines.contains(format!("line {line}").as_str())), "round {round}, {applied:?}: a line is lost");
        let is_live = |object: &Object| fs::metadata(&object.path).unwrap().ino() == place.inode();
        assert!(!place.vault.objects().iter().any(is_live), "round {round}, {applied:?}: the vault shares a file with the store");
        assert!(lines.contains("old") && place.staged().is_empty(), "round {round}, {applied:?}");
    }
}

#[test]
fn a_source_that_holds_other_bytes_installs_nothing() {
    let mut place = Place::new();
    let path = place.path();
    let source = place.root().join("source");
    fs::write(&source, b"bad\n").unwrap();
    let target =
        claude_session_sync::reconcile::plan::Target { length: 4, digest: claude_session_sync::reconcile::transcript::Digest::of(b"new\n"), modified: None };
    let job = claude_session_sync::store::apply::Job { path: &path, expected: Expected::Absent, target, source: &source, is_live: REST };
    assert!(claude_session_sync::store::apply::apply(&place.tree, &mut place.vault, &job).is_err());
    assert!(!place.file().exists() && place.staged().is_empty());
}

#[test]
fn a_directory_that_is_a_link_is_never_entered() {
    let mut place = Place::new();
    let project = place.file().parent().unwrap().to_owned();
    fs::remove_dir(&project).unwrap();
    let foreign = place.root().join("foreign");
    fs::create_dir(&foreign).unwrap();
    symlink(&foreign, &project).unwrap();
    assert!(place.install(b"new\n", Expected::Absent, REST).is_err());
    assert!(fs::read_dir(&foreign).unwrap().next().is_none());
    assert!(place.staged().is_empty());
}

#[test]
fn a_pipe_in_the_place_of_a_transcript_is_neither_read_nor_replaced() {
    let mut place = Place::new();
    fs::write(place.file(), b"old\n").unwrap();
    let seen = place.seen(Reason::Lost);
    fs::remove_file(place.file()).unwrap();
    nix::unistd::mkfifo(&place.file(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(place.install(b"new\n", seen, REST).unwrap(), CHANGED);
    assert_eq!(place.install(b"new\n", Expected::Absent, REST).unwrap(), CHANGED);
}

#[test]
fn a_full_disk_leaves_the_old_file_and_half_of_nothing() {
    if !nix::unistd::geteuid().is_root() {
        return skip("only root can mount a small file system");
    }
    let dir = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(dir.path()).status();
    if !mounted.is_ok_and(|status| status.success()) {
        return skip("no tmpfs can be mounted here");
    }
    let mount = dir.path().to_owned();
    let mut place = Place::within(dir);
    let old = vec![b'o'; 300 << 10];
    fs::write(place.file(), &old).unwrap();
    let seen = place.seen(Reason::Lost);
    let elsewhere = tempfile::tempdir().unwrap();
    let (source, path) = (elsewhere.path().join("source"), place.path());
    let new = vec![b'n'; 900 << 10];
    fs::write(&source, &new).unwrap();
    let target = claude_session_sync::reconcile::plan::Target {
        length: new.len() as u64,
        digest: claude_session_sync::reconcile::transcript::Digest::of(&new),
        modified: None,
    };
    let job = claude_session_sync::store::apply::Job { path: &path, expected: seen, target, source: &source, is_live: REST };
    let result = claude_session_sync::store::apply::apply(&place.tree, &mut place.vault, &job);
    let (left, staged, kept) = (fs::read(place.file()).unwrap(), place.staged(), place.kept());
    drop(place);
    Command::new("umount").arg("-l").arg(&mount).status().unwrap();
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert!(left == old && staged.is_empty() && kept.is_empty());
}

#[test]
fn every_leftover_of_a_crash_is_let_go_only_by_proof() {
    let place = Place::new();
    let stage = place.root().join("data/stage");
    let staged = |name: &str, bytes: &[u8]| fs::write(stage.join(name), bytes).unwrap();
    // Fetched, never installed; staged, never installed, its bytes in the archive; the same, nowhere else; exchanged, its inode
    // in the vault; and what is none of ours.
    staged("fetched-0", b"fetched\n");
    fs::write(place.root().join(format!("data/vault/archive/{}.jsonl", id())), b"archived\nmore\n").unwrap();
    staged(&format!("{}.0a", id()), b"archived\n");
    staged(&format!("{}.0b", id()), b"nowhere else\n");
    staged("foreign", b"foreign\n");
    let Place { dir, mut vault, tree } = place;
    fs::write(dir.path().join("claude/projects/-w/x"), b"displaced\n").unwrap();
    let directory = fs::File::open(dir.path().join("claude/projects/-w")).unwrap();
    vault.link(&directory, "x", crate::laws_store::note(b"displaced\n", Reason::Lost)).unwrap();
    fs::rename(dir.path().join("claude/projects/-w/x"), stage.join(format!("{}.0c", id()))).unwrap();
    drop(vault);
    let mut vault = Vault::open(&dir.path().join("data")).unwrap();
    vault.clear_stage(at()).unwrap();
    let place = Place { dir, tree, vault };
    assert_eq!(place.staged(), ["foreign"]);
    assert_eq!(place.kept(), [b"displaced\n".to_vec(), b"nowhere else\n".to_vec()]);
}
