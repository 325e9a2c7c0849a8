//! A session that is taken away and comes back: what it held, `restore`, and two passes after it.

use std::fs;
use std::path::{Path, PathBuf};

use claude_session_sync::reconcile::project::encode;
use serde_json::Value;

use crate::e2e_world::id;
use crate::verbs_world::{Said, World, go_on};

/// The file of a session, and what it held.
pub(crate) struct Kept {
    pub(crate) file: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

impl Kept {
    pub(crate) fn of(file: &Path) -> Self {
        Self { file: file.to_owned(), bytes: fs::read(file).unwrap() }
    }

    /// The same, deleted.
    pub(crate) fn deleted(file: &Path) -> Self {
        let kept = Self::of(file);
        fs::remove_file(file).unwrap();
        kept
    }

    #[track_caller]
    pub(crate) fn is_there(&self) {
        let found = fs::read(&self.file).unwrap_or_else(|error| panic!("{}: {error}", self.file.display()));
        assert!(found == self.bytes, "{} holds {} bytes of {}", self.file.display(), found.len(), self.bytes.len());
    }

    /// It came back, and two passes leave it as it is.
    #[track_caller]
    pub(crate) fn stays(&self, world: &World) {
        self.is_there();
        world.sync();
        self.is_there();
        let second = world.run("sync box --json");
        assert!(second.code == 0 && second.json()["actions"] == serde_json::json!([]), "the second pass installs nothing: {second:?}");
        self.is_there();
    }
}

/// `restore` that must go well; its JSON.
#[track_caller]
pub(crate) fn restored(world: &World, line: &str) -> Value {
    let said = world.run(&format!("restore {line} --json"));
    assert_eq!(said.code, 0, "{said:?}");
    said.json()
}

#[track_caller]
pub(crate) fn refused(world: &World, line: &str, code: i32, words: &[&str]) -> Said {
    let said = world.run(&format!("restore {line}"));
    assert!(said.code == code && words.iter().all(|word| said.err.contains(word)), "{said:?}");
    said
}

pub(crate) fn short(number: u32) -> String {
    id(number)[..8].to_owned()
}

/// The store there, of the one repository.
pub(crate) fn far_file(world: &World, number: u32) -> PathBuf {
    world.far.claude().join("projects").join(encode(world.far_root().to_str().unwrap())).join(format!("{}.jsonl", id(number)))
}

pub(crate) fn said_here(file: &Path) {
    go_on(file, "said here", 5);
}

/// The session that came back.
#[track_caller]
pub(crate) fn made(world: &World, said: &Value) -> Kept {
    let path = said["restored"]["path"].as_str().unwrap_or_else(|| panic!("{said:#}"));
    Kept::of(Path::new(&path.replace('~', world.home().to_str().unwrap())))
}

/// The digest of a version that this holds of.
#[track_caller]
pub(crate) fn version(world: &World, number: u32, is_it: impl Fn(&Value) -> bool) -> String {
    let listed = world.run(&format!("restore {} --dry-run --json", short(number))).json()["versions"].clone();
    let found = listed.as_array().unwrap().iter().find(|version| is_it(version)).unwrap_or_else(|| panic!("{listed:#}"));
    found["digest"].as_str().unwrap()[..8].to_owned()
}

/// A session that was continued on both sides: the far one won. What `own` adds is all that was written here.
pub(crate) fn diverged(own: impl Fn(&Path)) -> (World, Vec<u8>) {
    let world = World::new();
    let file = world.here(1, "fix the build", 60);
    world.here(2, "write the docs", 50);
    world.sync();
    own(&file);
    let lost = fs::read(&file).unwrap();
    go_on(&far_file(&world, 1), "said there", 2);
    world.sync();
    (world, lost)
}
