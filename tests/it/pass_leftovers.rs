//! The vault beside a far store: what was displaced there goes once this machine holds it, and comes home where it does not.

use std::fs;
use std::path::PathBuf;

use crate::talk::{Talk, id};
use crate::world::{Side, World};

/// The objects of a far vault.
fn objects(far: &Side) -> Vec<PathBuf> {
    let vault = fs::read_dir(far.claude.join(".claude-session-sync/vault"));
    vault.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

/// A session here that grew, after `passes` passes with a growth before each.
fn grown(passes: usize) -> (World, Side, Talk) {
    let (world, far) = World::with_box();
    let mut talk = Talk::begun(&id(1), &world.here.at("widget"), 60, "mine");
    let mut theirs = Talk::begun(&id(2), &far.at("widget"), 50, "theirs");
    world.here.put(&talk);
    far.put(&theirs);
    world.passes();
    for turn in 0..passes {
        talk = talk.says(&format!("turn {turn}"));
        theirs = theirs.says(&format!("turn {turn}"));
        world.here.goes_on(&talk);
        far.goes_on(&theirs);
        world.passes();
    }
    (world, far, talk)
}

#[test]
fn overtaken_copies_do_not_heap_up_in_the_far_vault() {
    let (_world, far, _) = grown(4);
    let left = objects(&far);
    assert_eq!(left.len(), 1, "only the last one is still there, for the next visit that installs something: {left:?}");
}

#[test]
fn what_a_far_vault_holds_alone_comes_home_before_it_goes() {
    let (world, far, talk) = grown(1);
    let [object] = objects(&far).try_into().unwrap();
    // A client there wrote to the old inode after it was displaced.
    let mut bytes = fs::read(&object).unwrap();
    bytes.extend_from_slice(b"{\"type\":\"user\",\"late\":true}\n");
    fs::write(&object, &bytes).unwrap();

    let talk = talk.says("one more");
    world.here.goes_on(&talk);
    far.put(&Talk::begun(&id(3), &far.at("widget"), 40, "asks for digests"));
    world.passes();
    assert!(world.displaced(&id(1)).iter().any(|kept| kept.0 == bytes), "the late line is in this machine's vault");
    assert!(!objects(&far).contains(&object), "and no longer only there");
}
