//! A disk that is full after any page, and one that is read-only, here and on the far side. After each: nothing lost, nothing half, the
//! next pass completes. What a single refused call does is asked elsewhere.
//!
//! `$CLAUDE_SESSION_SYNC_FILLINGS` is how often the disk is filled, else 20.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::figures::figure;
use crate::remote_put::SmallDisk;
use crate::skip::skip_unless_root;
use crate::talk::{Talk, id};
use crate::world::{Bytes, Ran, Side, World, files};

fn fillings() -> usize {
    std::env::var("CLAUDE_SESSION_SYNC_FILLINGS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// A world in which every kind of change is to be made: a create, an append and a replacement, each way, with side files.
struct Busy {
    /// Where the store here lies, if that is a disk of its own; goes before the world.
    disk: Option<SmallDisk>,
    world: World,
    far: Side,
    talks: BTreeMap<u32, Talk>,
    lost: Vec<(String, Bytes)>,
    round: u32,
}

impl Busy {
    /// With the store here, and so vault and stage, on a small disk.
    fn on_a_small_disk() -> Option<Self> {
        let (world, far) = World::with_box();
        let disk = SmallDisk::mount(world.here.claude.clone(), "24m")?;
        for name in ["sessions", "projects"] {
            fs::create_dir(world.here.claude.join(name)).unwrap();
        }
        Some(Self::of(world, far, Some(disk)))
    }

    fn of(world: World, far: Side, disk: Option<SmallDisk>) -> Self {
        let talks = (1..=4).map(|n| (n, Talk::begun(&id(n), &world.here.at("widget"), 600, &format!("talk {n}")))).collect::<BTreeMap<_, _>>();
        talks.values().for_each(|talk| drop(world.here.put(talk)));
        world.passes();
        Self { disk, world, far, talks, lost: Vec::new(), round: 0 }
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
        // Both went on with the third; the far one is the newer.
        let (loser, winner) = (line(&self.talks[&3], &format!("{text}, lost")), line(&self.talks[&3], &format!("{text}, won")));
        self.world.here.goes_on(&loser);
        self.far.goes_on(&winner);
        self.lost.push((loser.fork_id(), loser.bytes.clone()));
        self.talks.insert(3, winner);
    }

    /// Every conversation is whole on its own side, and what lost is somewhere.
    fn is_whole(&self, what: &str) {
        for (n, at) in [(1, &self.world.here), (2, &self.far)] {
            assert_eq!(at.bytes(&id(n)), self.talks[&n].bytes, "{what}");
        }
        let (fork, loser) = self.lost.last().unwrap();
        let here = self.world.here.bytes(&id(3));
        let vault = if self.disk.is_some() { self.world.here.claude.join(".claude-session-sync") } else { self.world.data() }.join("vault");
        let kept = !self.world.here.paths(fork).is_empty() || files(&vault).values().any(|(_, bytes)| bytes == loser);
        assert!(here == *loser || kept, "the copy that lost is nowhere: {what}");
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
        let (fork, loser) = self.lost.last().unwrap();
        for side in [&self.world.here, &self.far] {
            assert!(side.bytes(fork).starts_with(loser), "the fork is not at {}: {what}", side.name);
        }
        assert_eq!(self.world.here.sessions(), self.far.sessions(), "{what}");
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
    let Some(mut busy) = Busy::on_a_small_disk() else { return skip_unless_root("cannot mount a tmpfs here") };
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
    let (world, far) = World::with_box();
    let Some(disk) = SmallDisk::mount(far.claude.clone(), "24m") else { return skip_unless_root("cannot mount a tmpfs here") };
    for name in ["sessions", "projects"] {
        fs::create_dir(far.claude.join(name)).unwrap();
    }
    let mut busy = Busy::of(world, far, Some(disk));
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
    let Some(mut busy) = Busy::on_a_small_disk() else { return skip_unless_root("cannot mount a tmpfs here") };
    let filler = busy.world.here.claude.join("filler");
    let (mut failed, mut points) = (0, 0);
    for pages in (0..12).chain((12..).step_by(40)).take(fillings()) {
        busy.changes();
        let disk = rustix::fs::statvfs(&busy.world.here.claude).unwrap();
        let free = disk.f_bavail * disk.f_frsize;
        fs::write(&filler, vec![b'f'; usize::try_from(free.saturating_sub(pages * 4096)).unwrap()]).unwrap();
        let what = format!("{pages} pages free");
        let ran = Ran::of(&mut busy.world.command(&["timeout", "60"], &busy.world.arguments(&[])));
        assert!([0, 1, 3].contains(&ran.code), "{what}: {ran:?}");
        failed += u32::from(ran.code != 0);
        points += 1;
        busy.is_whole(&what);
        fs::remove_file(&filler).unwrap();
        busy.mends(&what);
    }
    figure(&format!("{points} fillings, {failed} passes failed"));
    assert!(failed >= 5, "the disk was full: {failed}");
}
