//! A long file, and a line that breaks: what came does not come again.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};

use crate::pass_hostile::{behind, fault, two};
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

/// The way to the bad machine breaks behind so many bytes of each answer; none: it holds.
fn breaks_behind(world: &mut World, bytes: Option<usize>) {
    world.reach("bad", |command| drop(command.pop_if(|word| word.ends_with("/way"))));
    if let Some(bytes) = bytes {
        behind(world, &format!("exec 3>&1; \"$@\" | head -c {bytes} >&3\n"));
    }
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
        breaks_behind(&mut world, Some(cut));
        let ran = world.sync(&[]);
        assert_eq!((ran.code, fault(&ran.report()).is_empty()), (3, false));
        let (count, came) = waits(&world);
        assert!(count == 1 && came > before + cut - 4096 && came < before + cut, "pass {pass}: {came} of {whole}");
    }
    breaks_behind(&mut world, None);
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
    breaks_behind(&mut world, Some(2 * MIB));
    world.sync(&[]);
    assert_eq!(waits(&world).0, 1);
    let path = bad.path(&id(4));
    let inode = fs::metadata(&path).unwrap().ino();
    let rewritten = String::from_utf8(talk.complete().to_vec()).unwrap().replace("one ", "won ") + "{}\n";
    fs::write(&path, rewritten).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    breaks_behind(&mut world, None);
    world.sync(&[]);
    assert!(world.here.paths(&id(4)).is_empty(), "nothing that never lay there");
    nothing_waits(&world);
    world.sync(&[]);
    assert_eq!(fs::read(world.here.path(&id(4))).unwrap(), fs::read(path).unwrap());
}

#[test]
fn what_came_before_this_program_was_killed_does_not_come_again() {
    let (mut world, bad, talk) = long();
    // The far side takes its time in the middle of the answer.
    let pid = world.root().join("pid");
    let stall = format!("sh -c 'echo $$ >{}; exec sleep 90'", pid.display());
    behind(&mut world, &format!("exec 3>&1; \"$@\" | {{ head -c {}; [ -z \"$(head -c 1)\" ] || {stall}; }} >&3\n", 2 * MIB));
    let mut child = world.command(&[], &world.arguments(&[])).stdout(Stdio::null()).spawn().unwrap();
    reached("a part of it is here", || waits(&world).1 >= MIB && !fs::read(&pid).unwrap_or_default().is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(Command::new("kill").arg(fs::read_to_string(pid).unwrap().trim()).status().unwrap().success());
    breaks_behind(&mut world, None);
    let (came, whole) = (waits(&world).1 as u64, talk.complete().len() as u64);
    let report = world.sync(&[]).went_well();
    assert!(visit(&report, "bad").bytes_in < whole - came + 50_000, "{came} bytes were here of {whole}");
    assert_eq!(world.here.bytes(&id(4)), bad.bytes(&id(4)));
    nothing_waits(&world);
}

#[test]
fn what_came_of_a_session_goes_when_it_is_forgotten() {
    let (mut world, ..) = long();
    breaks_behind(&mut world, Some(2 * MIB));
    world.sync(&[]);
    assert_eq!(waits(&world).0, 1);
    let ran = Ran::of(&mut world.command(&[], &["forget", &id(4), "--yes"]));
    assert_eq!(ran.code, 0, "{ran:?}");
    nothing_waits(&world);
}
