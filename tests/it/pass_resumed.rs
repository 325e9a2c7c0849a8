//! A long file, and a line that breaks: what came does not come again.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::pass_hostile::{fault, two};
use crate::talk::{Talk, id};
use crate::wait::reached;
use crate::world::{Ran, Side, World, files, visit};

const MIB: usize = 1 << 20;

/// Two machines, of which the bad one has a session of three lines, of 1 MiB each.
fn long() -> (World, Side, Talk) {
    let (world, bad, _good) = two();
    let talk = ["one ", "two ", "six "].iter().fold(Talk::begun(&id(4), &bad.at("widget"), 30, "long"), |talk, word| talk.says(&word.repeat(MIB / 4)));
    bad.put(&talk);
    (world, bad, talk)
}

/// The way to the bad machine breaks behind so many bytes of what it says.
fn breaks_behind(world: &mut World, bytes: usize, how: &str) {
    holds(world);
    let cutter = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cutter.py");
    let count = count(world);
    let _ = fs::remove_file(&count);
    let words = ["python3".to_owned(), cutter.display().to_string(), count.display().to_string(), bytes.to_string(), "down".to_owned(), how.to_owned()];
    world.reach("bad", |command| drop(command.splice(0..0, words)));
}

/// How many bytes came.
fn count(world: &World) -> PathBuf {
    world.root().join("count")
}

/// It breaks no more.
fn holds(world: &mut World) {
    world.reach("bad", |command| {
        if command[0] == "python3" {
            command.drain(..6);
        }
    });
}

/// How many parts wait in the stage, and their bytes.
fn waits(world: &World) -> (usize, usize) {
    let files = files(&world.data().join("stage")).into_iter().filter(|(name, _)| name.starts_with(&format!("{}.part-", id(4))));
    files.fold((0, 0), |(count, sum), (_, (_, bytes))| (count + 1, sum + bytes.len()))
}

fn nothing_waits(world: &World) {
    assert!(files(&world.data().join("stage")).is_empty());
}

#[test]
fn what_came_before_the_line_broke_does_not_come_again() {
    let (mut world, bad, talk) = long();
    let whole = talk.complete().len();
    for (pass, cut) in [MIB, MIB / 2, 3 * MIB / 2].into_iter().enumerate() {
        let before = waits(&world).1;
        breaks_behind(&mut world, cut, "close");
        let ran = world.sync(&[]);
        assert_eq!((ran.code, fault(&ran.report()).is_empty()), (3, false));
        let (count, came) = waits(&world);
        // What is short came first.
        assert!(count == 1 && came > before + cut - 60_000 && came < before + cut, "pass {pass}: {came} of {whole}");
    }
    holds(&mut world);
    let (_, before) = waits(&world);
    let report = world.sync(&[]).went_well();
    // What is short came at once; of this one, its rest.
    assert_eq!(visit(&report, "bad").bytes_in, (whole - before) as u64);
    assert_eq!(world.here.bytes(&id(4)), bad.bytes(&id(4)));
    nothing_waits(&world);
}

#[test]
fn what_came_of_a_file_that_was_rewritten_since_is_not_taken_for_its_beginning() {
    let (mut world, bad, talk) = long();
    breaks_behind(&mut world, 2 * MIB, "close");
    world.sync(&[]);
    assert_eq!(waits(&world).0, 1);
    let path = bad.path(&id(4));
    let inode = fs::metadata(&path).unwrap().ino();
    let rewritten = String::from_utf8(talk.complete().to_vec()).unwrap().replace("one ", "won ") + "{}\n";
    fs::write(&path, rewritten).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    holds(&mut world);
    world.sync(&[]);
    assert!(world.here.paths(&id(4)).is_empty(), "nothing that never lay there");
    nothing_waits(&world);
    world.sync(&[]);
    assert_eq!(fs::read(world.here.path(&id(4))).unwrap(), fs::read(path).unwrap());
}

#[test]
fn what_came_before_this_program_was_killed_does_not_come_again() {
    let (mut world, bad, talk) = long();
    breaks_behind(&mut world, 2 * MIB, "silence");
    let mut child = world.command(&[], &world.arguments(&[])).stdout(Stdio::null()).spawn().unwrap();
    let silent = || fs::read_to_string(count(&world)).is_ok_and(|count| count.trim() == (2 * MIB).to_string());
    reached("a part of it is here, and no more comes", || waits(&world).1 >= MIB && silent());
    child.kill().unwrap();
    child.wait().unwrap();
    holds(&mut world);
    let (came, whole) = (waits(&world).1 as u64, talk.complete().len() as u64);
    let report = world.sync(&[]).went_well();
    assert!(visit(&report, "bad").bytes_in < whole - came + 50_000, "{came} bytes were here of {whole}");
    assert_eq!(world.here.bytes(&id(4)), bad.bytes(&id(4)));
    nothing_waits(&world);
}

#[test]
fn what_came_of_a_session_goes_when_it_is_forgotten() {
    let (mut world, ..) = long();
    breaks_behind(&mut world, 2 * MIB, "close");
    world.sync(&[]);
    assert_eq!(waits(&world).0, 1);
    let ran = Ran::of(&mut world.command(&[], &["forget", &id(4), "--yes"]));
    assert_eq!(ran.code, 0, "{ran:?}");
    nothing_waits(&world);
}
