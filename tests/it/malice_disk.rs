//! A disk that is full, broken or read-only at any one call, here and on the far side: strace makes the n-th call of a kind fail in
//! every thread and process. After each: nothing lost, nothing half, the next pass completes.
//!
//! `$CLAUDE_SESSION_SYNC_DISK_FAULTS` is how many calls of each kind are made to fail, else 2 (as many as there are: a large number).

use std::collections::BTreeMap;
use std::fs;

use crate::figures::figure;
use crate::remote_put::SmallDisk;
use crate::skip::skip_unless_root;
use crate::talk::{Talk, id};
use crate::world::{Bytes, Ran, Side, World, files};

/// The calls that write, and what a disk may answer.
const FAULTS: [(&str, &str); 16] = [
    ("write", "ENOSPC"),
    ("write", "EIO"),
    ("pwrite64", "EDQUOT"),
    ("fsync", "EIO"),
    ("fdatasync", "EIO"),
    ("syncfs", "EIO"),
    ("copy_file_range", "ENOSPC"),
    ("ftruncate", "EIO"),
    ("mkdir", "EROFS"),
    ("mkdirat", "ENOSPC"),
    ("link", "ENOSPC"),
    ("linkat", "EIO"),
    ("rename", "EIO"),
    ("renameat", "ENOSPC"),
    ("renameat2", "EROFS"),
    ("unlinkat", "EIO"),
];

fn faults() -> u32 {
    std::env::var("CLAUDE_SESSION_SYNC_DISK_FAULTS").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

/// What strace is told, so that the n-th call fails.
fn tracer(log: &str, call: &str, error: &str, n: u32) -> Vec<String> {
    let inject = format!("inject=?{call}:error={error}:when={n}");
    ["strace", "-f", "-qq", "-o", log, "-e", &format!("trace=?{call}"), "-e", &inject].map(str::to_owned).into()
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
    fn new() -> Self {
        let (world, far) = World::with_box();
        Self::of(world, far, None)
    }

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

/// Makes calls fail at one side, one after the other.
fn fails(far: bool) {
    if !crate::strace::here() {
        return;
    }
    let mut busy = Busy::new();
    let log = busy.world.root().join("calls").display().to_string();
    let mut points = BTreeMap::new();
    // Here a write may be to a pipe or wake a thread: the full disk is a test of its own.
    for (call, error) in FAULTS.into_iter().filter(|(call, _)| far || *call != "write") {
        for n in 1..=faults() {
            busy.changes();
            let words = tracer(&log, call, error, n);
            let what = format!("{error} of {call} {n} at {}", if far { "the far side" } else { "this machine" });
            let arguments = busy.world.arguments(&[]).iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let mut command = if far {
                busy.world.reach("box", |command| command.extend(words.clone()));
                busy.world.command(&["timeout", "60"], &arguments)
            } else {
                let before: Vec<&str> = ["timeout", "60"].into_iter().chain(words.iter().map(String::as_str)).collect();
                busy.world.command(&before, &arguments)
            };
            let output = command.output().unwrap();
            if far {
                busy.world.reach("box", |command| command.truncate(command.len() - words.len()));
            }
            assert!(output.status.code().is_some_and(|code| [0, 1, 3, 101].contains(&code) && code != 101), "{what}: {output:?}");
            busy.is_whole(&what);
            busy.mends(&what);
            let injected = fs::read_to_string(&log).unwrap_or_default().matches("(INJECTED)").count();
            if injected == 0 {
                break;
            }
            *points.entry(call).or_insert(0) += injected;
        }
    }
    figure(&format!("calls that failed at {}: {points:?}", if far { "the far side" } else { "this machine" }));
    assert!(points.len() >= 5, "{points:?}");
}

#[test]
fn a_disk_here_that_fails_at_any_call_loses_nothing() {
    fails(false);
}

#[test]
fn a_disk_there_that_fails_at_any_call_loses_nothing() {
    fails(true);
}

#[test]
fn a_disk_here_that_is_full_after_any_page_loses_nothing() {
    let Some(mut busy) = Busy::on_a_small_disk() else { return skip_unless_root("cannot mount a tmpfs here") };
    let filler = busy.world.here.claude.join("filler");
    let (mut failed, mut points) = (0, 0);
    for pages in (0..12).chain((12..).step_by(40)).take(12 * usize::try_from(faults()).unwrap()) {
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
