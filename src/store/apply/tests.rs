//! Steps of an apply that no file system here takes, or that need somebody to write at one moment.

use std::fs;

use chrono::DateTime;

use super::*;
use crate::reconcile::manifest::Part;
use crate::reconcile::transcript::Digest;
use crate::store::vault::{Note, Reason};

const ID: &str = "6f869d7b-ce51-4e00-8a05-674dde6aa368";

/// A vault, a directory beside it, and a file in the stage that holds these bytes.
fn staged(bytes: &[u8]) -> (tempfile::TempDir, Vault, OwnedFd, Staged) {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::open(dir.path()).unwrap();
    fs::create_dir(dir.path().join("place")).unwrap();
    let directory = fs::File::open(dir.path().join("place")).unwrap().into();
    let (name, mut file) = vault.new_staged(ID.parse().unwrap()).unwrap();
    io::Write::write_all(&mut file, bytes).unwrap();
    let target = Target { length: bytes.len() as u64, digest: Digest::of(bytes), modified: None };
    (dir, vault, directory, Staged { name, target })
}

fn count(directory: &std::path::Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

#[test]
fn a_link_gives_the_name_where_nothing_has_it() {
    let (dir, vault, directory, file) = staged(b"new\n");
    link_new(&vault, &file, &directory, "name").unwrap().unwrap();
    assert_eq!(fs::read(dir.path().join("place/name")).unwrap(), b"new\n");
    assert_eq!(count(&dir.path().join("stage")), 0);

    let (dir, vault, directory, file) = staged(b"new\n");
    fs::write(dir.path().join("place/name"), "theirs").unwrap();
    assert_eq!(link_new(&vault, &file, &directory, "name").unwrap(), Err(Errno::EXIST));
    assert_eq!(fs::read(dir.path().join("place/name")).unwrap(), b"theirs");
    assert_eq!(count(&dir.path().join("stage")), 1);
}

#[test]
fn what_is_given_back_leaves_what_stood_there_for_a_moment_in_the_vault() {
    for (written, reason) in [(&b""[..], Reason::Overtaken), (b"more\n", Reason::Grew)] {
        let (dir, mut vault, directory, file) = staged(b"new\n");
        let place = dir.path().join("place/name");
        fs::write(&place, "old\n").unwrap();
        rustix::fs::renameat_with(vault.stage(), &file.name, &directory, "name", RenameFlags::EXCHANGE).unwrap();
        io::Write::write_all(&mut fs::File::options().append(true).open(&place).unwrap(), written).unwrap();
        let note = Note {
            fork: Some(ID.parse().unwrap()),
            ..Note::new(ID.parse().unwrap(), Part::Transcript, Reason::Lost, "here", DateTime::UNIX_EPOCH, (4, Digest::of(b"old\n")))
        };
        give_back(&mut vault, file, &directory, "name", &note).unwrap();
        assert_eq!(fs::read(place).unwrap(), b"old\n");
        assert_eq!(count(&dir.path().join("stage")), 0);
        let [object] = vault.objects() else { panic!("{:?}", vault.objects()) };
        let stood = [b"new\n", written].concat();
        assert_eq!(fs::read(&object.path).unwrap(), stood);
        let expected = Note { reason, length: stood.len() as u64, digest: Digest::of(&stood), fork: None, ..note };
        assert_eq!(object.note, expected);
    }
}
