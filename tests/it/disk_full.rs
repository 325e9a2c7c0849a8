//! A disk that is full after any page, and one that is read-only, here and on the far side. After each: nothing lost, nothing half, the
//! next pass completes. What a single refused call does is asked elsewhere.
//!
//! 20 fillings of each of the two disks; with `$CLAUDE_SESSION_SYNC_FILLINGS=all` one at every page, until there is room enough.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::figures::figure;
use crate::mounts::Mounted;
use crate::remote_far::write_program;
use crate::skip::skip_unless_root;
use crate::talk::{Talk, id};
use crate::world::{Bytes, PATH, Ran, Side, World, files};

/// A world holds all that lost in it, so its small disk lasts for so many rounds.
const ROUNDS: usize = 40;

/// So many passes in a row had room: more free pages change nothing.
const ENOUGH: usize = 10;

/// How many pages are left free, of one filling after the other.
fn pages() -> Vec<u64> {
    match std::env::var("CLAUDE_SESSION_SYNC_FILLINGS").as_deref() {
        Ok("all") => (0..2000).collect(),
        _ => (0..12).chain((12..).step_by(40)).take(20).collect(),
    }
}

/// A pass on a disk that is full after each of these pages, each of them well afterwards.
fn fills(begin: impl Fn() -> Busy) {
    let pages = pages();
    let mut codes = Vec::new();
    for some in pages.chunks(ROUNDS) {
        let mut busy = begin();
        codes.extend(some.iter().map(|pages| busy.is_full_after(*pages)));
        if codes.iter().rev().take_while(|code| **code == 0).count() >= ENOUGH {
            break;
        }
    }
    let failed = codes.iter().filter(|code| **code != 0).count();
    figure(&format!("{} fillings, {failed} passes failed", codes.len()));
    assert!(failed >= 5, "the disk was full: {failed}");
    assert_eq!(codes.last(), Some(&0), "in the end there was room: {codes:?}");
}

/// A world in which every kind of change is to be made: a create, an append and a replacement, each way, with side files.
struct Busy {
    /// The disk of one store, and so of the vault and the stage beside it; goes before the world.
    disk: Mounted,
    world: World,
    far: Side,
    talks: BTreeMap<u32, Talk>,
    /// The copies that lost in this round: the fork that each becomes, and its bytes.
    lost: [(String, Bytes); 2],
    round: u32,
}

impl Busy {
    /// With the store here, or the one there, on a small disk.
    fn on_a_small_disk(of: fn(&World, &Side) -> PathBuf) -> Option<Self> {
        let (world, far) = World::with_box();
        let at = of(&world, &far);
        let disk = Mounted::small(&at, "24m")?;
        for name in ["sessions", "projects"] {
            fs::create_dir(at.join(name)).unwrap();
        }
        let talks = (1..=4).map(|n| (n, Talk::begun(&id(n), &world.here.at("widget"), 600, &format!("talk {n}")))).collect::<BTreeMap<_, _>>();
        talks.values().for_each(|talk| drop(world.here.put(talk)));
        world.passes();
        Some(Self { disk, world, far, talks, lost: Default::default(), round: 0 })
    }

    fn here() -> Option<Self> {
        Self::on_a_small_disk(|world, _| world.here.claude.clone())
    }

    fn there() -> Option<Self> {
        Self::on_a_small_disk(|_, far| far.claude.clone())
    }

    fn changes(&mut self) {
        self.round += 1;
        let text = format!("round {}", self.round);
        let line = |talk: &Talk, text: &str| {
            talk.clone().line(&serde_json::json!({"type": "user", "timestamp": chrono::Utc::now(), "message": {"role": "user", "content": text}}))
        };
        for (n, at) in [(1, &self.world.here), (2, &self.far)] {
            let talk = line(&self.talks[&n], &text);
            at.goes_on(&talk);
            // Longer each time: two rounds may be in one second, and of two files of one time the longer wins.
            at.put_side(&talk, "tool-results/note.txt", "n".repeat(10 + self.round as usize).as_bytes(), 1);
            self.talks.insert(n, talk);
        }
        // Both went on with the third and the fourth; of the third the far one is the newer, of the fourth the one here.
        let sides = [(3, [&self.world.here, &self.far]), (4, [&self.far, &self.world.here])];
        self.lost = sides.map(|(n, [older, newer])| {
            let (loser, winner) = (line(&self.talks[&n], &format!("{text}, lost")), line(&self.talks[&n], &format!("{text}, won")));
            older.goes_on(&loser);
            newer.goes_on(&winner);
            self.talks.insert(n, winner);
            (loser.fork_id(), loser.bytes)
        });
    }

    /// Every conversation is whole on its own side, and what lost is somewhere.
    fn is_whole(&self, what: &str) {
        for (n, at) in [(1, &self.world.here), (2, &self.far), (3, &self.far), (4, &self.world.here)] {
            assert_eq!(at.bytes(&id(n)), self.talks[&n].bytes, "{n}, {what}");
        }
        let vaults = [self.world.data(), self.world.here.claude.join(".claude-session-sync"), self.far.claude.join(".claude-session-sync")];
        for ((fork, loser), (n, at)) in self.lost.iter().zip([(3, &self.world.here), (4, &self.far)]) {
            let kept = || vaults.iter().any(|own| files(&own.join("vault")).values().any(|(_, bytes)| bytes == loser));
            assert!(at.bytes(&id(n)) == *loser || !at.paths(fork).is_empty() || kept(), "the copy of {n} that lost is nowhere: {what}");
        }
    }

    fn mends(&self, what: &str) {
        let mut ran = self.world.sync(&[]);
        if ran.code != 0 {
            ran = self.world.sync(&[]);
        }
        assert_eq!(ran.code, 0, "{what}: {ran:?}");
        for talk in self.talks.values() {
            assert_eq!((self.world.here.bytes(&talk.id), self.far.bytes(&talk.id)), (talk.bytes.clone(), talk.bytes.clone()), "{what}");
        }
        for ((fork, loser), side) in self.lost.iter().flat_map(|lost| [(lost, &self.world.here), (lost, &self.far)]) {
            assert!(side.bytes(fork).starts_with(loser), "the fork is not at {}: {what}", side.name);
        }
        assert_eq!(self.world.here.sessions(), self.far.sessions(), "{what}");
    }

    /// A pass while so many pages of the disk are free; how it ended.
    fn is_full_after(&mut self, pages: u64) -> i32 {
        let filler = self.disk.at().join("filler");
        self.changes();
        let disk = rustix::fs::statvfs(self.disk.at()).unwrap();
        let free = disk.f_bavail * disk.f_frsize;
        fs::write(&filler, vec![b'f'; usize::try_from(free.saturating_sub(pages * 4096)).unwrap()]).unwrap();
        let what = format!("{pages} pages free");
        let ran = Ran::of(&mut self.world.command(&["timeout", "60"], &self.world.arguments(&[])));
        assert!([0, 1, 3].contains(&ran.code), "{what}: {ran:?}");
        let said = ["No space left", "disk full", "the disk"].iter().any(|words| ran.out.contains(words) || ran.err.contains(words));
        assert!(ran.code == 0 || said, "nobody is told why: {what}: {ran:?}");
        assert!(!ran.out.contains("disk full:  "), "a figure that nobody knows is told: {what}: {ran:?}");
        self.is_whole(&what);
        fs::remove_file(&filler).unwrap();
        self.mends(&what);
        ran.code
    }

    /// From now on the far side cannot ask how much room there is, as if others had taken it since: only the writing tells.
    fn knows_of_no_room_there(&mut self) {
        let tools = self.world.root().join("tools");
        fs::create_dir(&tools).unwrap();
        write_program(&tools.join("df"), "#!/bin/sh\nexit 1\n");
        self.world.reach("box", |command| *command.last_mut().unwrap() = format!("PATH={}:{PATH}", tools.display()));
    }
}

/// A read-only disk, while it lasts.
struct ReadOnly<'a>(&'a Path);

impl<'a> ReadOnly<'a> {
    fn remount(at: &'a Path) -> Self {
        assert!(Command::new("mount").args(["-o", "remount,ro"]).arg(at).status().unwrap().success());
        Self(at)
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        Command::new("mount").args(["-o", "remount,rw"]).arg(self.0).status().unwrap();
    }
}

#[test]
fn a_store_here_that_is_read_only_is_said_in_one_line_and_left_as_it_is() {
    let Some(mut busy) = Busy::here() else { return skip_unless_root("cannot mount a tmpfs here") };
    busy.changes();
    let (here, there) = (files(&busy.world.here.claude), busy.far.sessions());
    let claude = busy.world.here.claude.clone();
    let read_only = ReadOnly::remount(&claude);
    let mut command = busy.world.command(&["timeout", "60"], &["sync", "box"]);
    let ran = Ran::of(&mut command);
    assert!([1, 3].contains(&ran.code), "{ran:?}");
    let said: Vec<&str> = ran.out.lines().chain(ran.err.lines()).filter(|line| line.contains("Read-only file system")).collect();
    assert_eq!(said.len(), 1, "{ran:?}");
    assert_eq!((files(&claude), busy.far.sessions()), (here, there));
    drop(read_only);
    busy.mends("it can be written again");
}

#[test]
fn a_store_there_that_is_read_only_is_said_in_one_line_and_its_news_come_home() {
    let Some(mut busy) = Busy::there() else { return skip_unless_root("cannot mount a tmpfs here") };
    busy.changes();
    let there = files(&busy.far.claude);
    let claude = busy.far.claude.clone();
    let read_only = ReadOnly::remount(&claude);
    let mut command = busy.world.command(&["timeout", "60"], &["sync", "box"]);
    let ran = Ran::of(&mut command);
    assert!([1, 3].contains(&ran.code), "{ran:?}");
    // The table says it of every file as well.
    assert_eq!(ran.err.lines().filter(|line| line.contains("Read-only file system")).count(), 1, "{ran:?}");
    assert_eq!(files(&claude), there);
    assert_eq!(busy.world.here.bytes(&id(2)), busy.talks[&2].bytes, "what is new there is here");
    drop(read_only);
    busy.mends("it can be written again");
}

#[test]
fn a_disk_here_that_is_full_after_any_page_loses_nothing() {
    if Busy::here().is_none() {
        return skip_unless_root("cannot mount a tmpfs here");
    }
    fills(|| Busy::here().unwrap());
}

#[test]
fn a_disk_there_that_is_full_after_any_page_loses_nothing() {
    let Some(mut busy) = Busy::there() else { return skip_unless_root("cannot mount a tmpfs here") };
    assert!(busy.is_full_after(3) != 0, "it is asked beforehand, and nothing is begun");
    fills(|| {
        let mut busy = Busy::there().unwrap();
        busy.knows_of_no_room_there();
        busy
    });
}
