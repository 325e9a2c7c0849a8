//! What the vault lists, finds, holds, and what it opens.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use claude_session_sync::reconcile::manifest::SessionId;
use claude_session_sync::reconcile::transcript::Digest;
use claude_session_sync::store::forget::clear_temporary;
use claude_session_sync::store::proof;
use claude_session_sync::store::vault::{Reason, Vault};
use rustix::io::FdFlags;

use crate::laws_store::{Place, id, names, note};

/// Puts a file with these bytes into the vault.
fn keep(place: &mut Place, session: SessionId, bytes: &[u8]) {
    fs::write(place.root().join("source"), bytes).unwrap();
    let note = claude_session_sync::store::vault::Note { session, ..note(bytes, Reason::Lost) };
    place.vault.link(fs::File::open(place.root()).unwrap(), "source", note).unwrap();
    fs::remove_file(place.root().join("source")).unwrap();
}

#[test]
fn an_object_is_found_by_its_session_and_its_content() {
    let other: SessionId = "7f869d7b-ce51-4e00-8a05-674dde6aa368".parse().unwrap();
    let mut place = Place::new();
    keep(&mut place, id(), b"one\n");
    keep(&mut place, other, b"one\n");
    keep(&mut place, id(), b"two\n");
    for vault in [&place.vault, &Vault::open(&place.root().join("data")).unwrap()] {
        let found = vault.find(id(), Digest::of(b"two\n")).unwrap();
        assert_eq!((fs::read(&found.path).unwrap(), found.note.session), (b"two\n".to_vec(), id()));
        assert_eq!(vault.find(other, Digest::of(b"one\n")).unwrap().note.session, other);
        assert!(vault.find(other, Digest::of(b"two\n")).is_none() && vault.find(id(), Digest::of(b"three\n")).is_none());
    }
}

#[test]
fn a_note_is_worth_what_its_file_holds() {
    let mut place = Place::new();
    let source = place.root().join("again");
    fs::write(&source, b"one\n").unwrap();
    keep(&mut place, id(), b"one\n");
    place.vault.copy(&source, note(b"one\n", Reason::Recovered)).unwrap();
    let [object] = place.vault.objects().to_vec().try_into().unwrap();
    // Its bytes are others now.
    fs::write(&object.path, b"two\n").unwrap();
    for _twice in 0..2 {
        place.vault.copy(&source, note(b"one\n", Reason::Recovered)).unwrap();
        assert_eq!(place.vault.objects().iter().filter(|object| fs::read(&object.path).unwrap() == b"one\n").count(), 1);
    }
    // It was cut: then it holds the rest. And then nothing of it is left.
    let found = || {
        let vault = Vault::open(&place.root().join("data")).unwrap();
        vault.objects().iter().find(|other| other.path == object.path).map(|other| (other.note.length, other.note.digest, other.note.reason))
    };
    fs::write(&object.path, b"on").unwrap();
    assert_eq!(found(), Some((2, Digest::of(b"on"), Reason::Recovered)));
    fs::write(&object.path, b"").unwrap();
    assert_eq!(found(), None);
    fs::remove_file(&object.path).unwrap();
    assert_eq!(found(), None);
}

#[test]
fn what_went_while_the_vault_is_listed_is_passed_over_and_what_cannot_be_read_is_said() {
    let mut place = Place::new();
    keep(&mut place, id(), b"one\n");
    let (root, folder) = (place.root().join("data"), place.root().join("data/vault/displaced"));
    // A name that leads nowhere looks like one that went.
    symlink("nowhere", folder.join("gone")).unwrap();
    symlink("nowhere", folder.join(id().to_string()).join("gone.json")).unwrap();
    assert_eq!(Vault::open(&root).unwrap().objects().len(), 1);
    let unreadable = folder.join(id().to_string()).join("directory.json");
    fs::create_dir(&unreadable).unwrap();
    assert!(Vault::open(&root).is_err());
    fs::remove_dir(unreadable).unwrap();
    // A link to itself: neither gone nor a file.
    symlink("loop", folder.join("loop")).unwrap();
    assert!(Vault::open(&root).is_err());
    fs::remove_file(folder.join("loop")).unwrap();
    // What a file manager leaves behind.
    fs::write(folder.join(".DS_Store"), "").unwrap();
    fs::write(folder.join(id().to_string()).join(".DS_Store"), "").unwrap();
    assert_eq!(Vault::open(&root).unwrap().objects().len(), 1);
}

#[test]
fn a_file_that_is_held_has_a_second_name_until_the_stage_is_cleared() {
    let mut place = Place::new();
    fs::write(place.file(), b"old\n").unwrap();
    let held = place.vault.hold(&place.file()).unwrap();
    assert_eq!((held.parent().unwrap(), fs::metadata(&held).unwrap().ino()), (&*place.vault.stage_path(), place.inode()));
    place.vault.clear_stage(crate::laws_store::at()).unwrap();
    assert!(place.staged().is_empty() && place.kept().is_empty() && place.file().is_file());
}

#[test]
fn files_of_the_stage_are_new_and_ours_and_no_child_inherits_them() {
    let place = Place::new();
    let (path, fetched) = claude_session_sync::store::fetched::new(&place.vault.stage_path()).unwrap();
    let (name, staged) = place.vault.new_staged(id()).unwrap();
    let both = [path.file_name().unwrap().to_str().unwrap().to_owned(), name];
    assert!(both.iter().all(|name| place.staged().contains(name)) && place.staged().len() == 2, "{both:?}");
    for file in [fetched, staged] {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        assert!(rustix::io::fcntl_getfd(&file).unwrap().contains(FdFlags::CLOEXEC));
    }
    assert!(rustix::io::fcntl_getfd(place.vault.stage()).unwrap().contains(FdFlags::CLOEXEC));
}

#[test]
fn a_stage_that_is_a_link_is_not_used() {
    let place = Place::new();
    let root = place.root().join("linked");
    fs::create_dir(&root).unwrap();
    fs::create_dir(place.root().join("elsewhere")).unwrap();
    symlink(place.root().join("elsewhere"), root.join("stage")).unwrap();
    assert!(Vault::open(&root).is_err());
    assert!(names(&place.root().join("elsewhere")).is_empty());
}

#[test]
fn a_file_that_is_not_what_it_was_taken_for_is_kept_as_it_is() {
    let mut place = Place::new();
    let source = place.root().join("source");
    fs::write(&source, b"rotten\n").unwrap();
    place.vault.copy_raw(&source, note(b"sound\n", Reason::Overtaken)).unwrap();
    let [object] = place.vault.objects() else { panic!("{:?}", place.vault.objects()) };
    assert_eq!(object.note, note(b"rotten\n", Reason::Recovered));
    assert_eq!(fs::read(&object.path).unwrap(), b"rotten\n");
}

#[test]
fn a_note_is_written_again_for_its_object_alone_and_only_where_it_changed() {
    let mut place = Place::new();
    keep(&mut place, id(), b"one\n");
    keep(&mut place, id(), b"two\n");
    let at = |place: &Place, bytes| place.vault.find(id(), Digest::of(bytes)).unwrap().path.clone();
    let (one, two) = (at(&place, b"one\n"), at(&place, b"two\n"));
    let written = |path: &std::path::Path| fs::metadata(path.with_extension(format!("{}.json", path.extension().unwrap().display()))).unwrap().ino();
    let before = [written(&one), written(&two)];
    place.vault.annotate(&two, |note| note.title = None).unwrap();
    assert_eq!([written(&one), written(&two)], before);
    place.vault.annotate(&two, |note| note.title = Some("a title".to_owned())).unwrap();
    assert_eq!(written(&one), before[0]);
    let read = Vault::open(&place.root().join("data")).unwrap();
    let titles = [b"one\n", b"two\n"].map(|bytes| read.find(id(), Digest::of(bytes)).unwrap().note.title.clone());
    assert_eq!(titles, [None, Some("a title".to_owned())]);
}

#[test]
fn an_object_that_goes_takes_its_note_and_no_other_with_it() {
    let mut place = Place::new();
    keep(&mut place, id(), b"one\n");
    keep(&mut place, id(), b"two\n");
    let object = place.vault.find(id(), Digest::of(b"one\n")).unwrap().path.clone();
    let (directory, name) = (fs::File::open(object.parent().unwrap()).unwrap(), object.file_name().unwrap().to_str().unwrap());
    fs::write(place.root().join("data/whole"), b"one\nmore\n").unwrap();
    let proved = proof::prefix_of(&directory, name, &fs::File::open(place.root().join("data/whole")).unwrap()).unwrap();
    place.vault.let_go(&directory, name, proved).unwrap();
    assert!(place.vault.find(id(), Digest::of(b"one\n")).is_none() && place.vault.find(id(), Digest::of(b"two\n")).is_some());
    assert_eq!((place.kept(), names(object.parent().unwrap()).len()), (vec![b"two\n".to_vec()], 2));
}

#[test]
fn what_a_killed_process_left_half_written_goes_by_its_name_and_nothing_else_does() {
    let place = Place::new();
    let directory = place.root().join("state");
    fs::create_dir(&directory).unwrap();
    for name in [".new-abc", "fetched-abc", "state.json", "fetched", "new-abc"] {
        fs::write(directory.join(name), "").unwrap();
    }
    clear_temporary(&directory).unwrap();
    assert_eq!(names(&directory), ["fetched", "new-abc", "state.json"]);
}
