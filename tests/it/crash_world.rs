//! A world that has one of everything a pass may do, which can be put back to how it was, and the laws that hold wherever it is cut.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::stepper::Call;
use crate::talk::{Talk, id};
use crate::world::{Bytes, Side, World, files};

/// The session that is forgotten by the command of that name.
pub(crate) const FORGOTTEN: u32 = 10;
/// The one that was forgotten while the other machine was away, which is told by the pass.
const FORGOTTEN_BEFORE: u32 = 9;
/// The one that was deleted here and is restored.
pub(crate) const DELETED: u32 = 11;

/// Where the clone lies here.
const CLONE: &str = "work/of-this-year/widget";

/// The world, and a copy of how it was before anything was killed.
pub(crate) struct Prepared {
    pub(crate) world: World,
    pub(crate) far: Side,
    copy: tempfile::TempDir,
    before: Held,
    /// What the command and two passes leave, by side, when nobody kills anything; made by [`Prepared::expect`].
    after: Vec<Files>,
    /// Sessions whose bytes may go.
    forgotten: Vec<String>,
}

/// A file that was there before.
pub(crate) struct Shown {
    /// Where.
    pub(crate) path: PathBuf,
    /// What it held.
    pub(crate) before: Bytes,
    /// What it is to hold.
    pub(crate) after: Option<Bytes>,
}

/// What the files of a side hold, by their path below `projects/`.
type Files = BTreeMap<String, Bytes>;

/// All bytes that count, by file.
#[derive(Default)]
struct Held {
    live: Vec<Files>,
    vaults: Files,
}

impl Held {
    fn everything(&self) -> impl Iterator<Item = (&String, &Bytes)> {
        self.live.iter().flatten().chain(&self.vaults)
    }
}

/// A directory in memory where there is one: what a crash leaves is the same there, and a sync costs nothing.
pub(crate) fn quick() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

impl Prepared {
    /// What the next pass does, in both directions: create (with side files), advance, replace with a fork (one of the losers with a
    /// torn end), side files alone; a loser is displaced from the archive; a far vault object goes; a session is forgotten there.
    pub(crate) fn everything() -> Self {
        let mut world = World::within(quick());
        let far = world.machine("box", &["acme/widget"]);
        far.clone_of("widget", "git@github.com:acme/widget.git");
        // Both sides lie on one machine, and of two clones that a far side sees it takes the shorter path.
        let cwd = world.here.clone_of(CLONE, "git@github.com:acme/widget.git");
        let begun = |number: u32| Talk::begun(&id(number), &cwd, 120 - i64::from(number), &format!("begun {number}"));
        let talks: BTreeMap<u32, Talk> = [1, 2, 3, 4, 7, FORGOTTEN_BEFORE, FORGOTTEN, DELETED].map(|number| (number, begun(number))).into();
        for talk in talks.values() {
            world.here.put(talk);
        }
        let side = &talks[&7];
        world.here.put_side(side, "tool-results/here.txt", b"as it was", 100);
        world.here.put_side(side, "tool-results/there.txt", b"as it was there", 100);
        world.here.put_side(side, "subagents/agent-1.jsonl", b"{\"said\":1}\n", 100);
        world.here.put_side(&talks[&FORGOTTEN], "tool-results/note.txt", b"a note", 100);
        world.passes();
        // A far vault object that the next pass lets go of.
        let told = talks[&1].clone().says("a little more").rests();
        world.here.goes_on(&told);
        world.passes();
        assert!(fs::read_dir(far.claude.join(".claude-session-sync/vault")).unwrap().count() > 0);
        // One is forgotten while the other machine does not answer.
        world.reach("box", |command| command.insert(0, "false".to_owned()));
        let forgets = world.command(&[], &["forget", &id(FORGOTTEN_BEFORE), "--yes"]).output().unwrap();
        assert!(!world.here.transcript(&cwd, &id(FORGOTTEN_BEFORE)).exists(), "{forgets:?}");
        world.reach("box", |command| drop(command.remove(0)));

        world.here.goes_on(&told.says("and more, here").rests());
        far.goes_on(&talks[&2].clone().says("more, there").rests());
        world.here.goes_on(&talks[&3].clone().says("older, here").rests().raw(b"{\"type\":\"user\",\"torn"));
        far.goes_on(&talks[&3].clone().after(600).says("newer, there").rests());
        far.goes_on(&talks[&4].clone().says("older, there").rests());
        world.here.goes_on(&talks[&4].clone().after(600).says("newer, here").rests());
        let (new_here, new_there) = (begun(5), Talk::begun(&id(6), &far.at("widget"), 30, "new there"));
        world.here.put(&new_here);
        world.here.put_side(&new_here, "tool-results/new.txt", b"new here", 20);
        far.put(&new_there);
        far.put_side(&new_there, "tool-results/new.txt", b"new there", 20);
        far.put_side(&new_there, "subagents/agent-2.jsonl", b"{\"said\":1}\n{\"said\":2}\n", 20);
        world.here.put_side(side, "tool-results/here.txt", b"changed here", 15);
        far.put_side(side, "tool-results/there.txt", b"changed there", 15);
        far.put_side(side, "subagents/agent-1.jsonl", b"{\"said\":1}\n{\"said\":2}\n", 15);
        fs::remove_file(world.here.path(&id(DELETED))).unwrap();
        let copy = quick();
        copied(&world.root(), copy.path());
        let mut prepared = Self { world, far, copy, before: Held::default(), after: Vec::new(), forgotten: vec![id(FORGOTTEN_BEFORE)] };
        prepared.before = prepared.held();
        prepared
    }

    /// Everything is again as it was.
    pub(crate) fn put_back(&self) {
        self.put_back_from(self.copy.path());
    }

    /// Everything is as in a copy that was made of it.
    pub(crate) fn put_back_from(&self, copy: &Path) {
        for entry in fs::read_dir(self.world.root()).unwrap() {
            fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
        copied(copy, &self.world.root());
    }

    /// A copy of how everything is now.
    pub(crate) fn copy(&self) -> tempfile::TempDir {
        let copy = quick();
        copied(&self.world.root(), copy.path());
        copy
    }

    /// The bytes of this session may go.
    pub(crate) fn forgets(&mut self, number: u32) {
        self.forgotten.push(id(number));
    }

    /// Whether a text speaks of a session whose bytes may go.
    pub(crate) fn is_forgotten(&self, text: &str) -> bool {
        self.forgotten.iter().any(|id| text.contains(id))
    }

    /// Remembers what is to come of this command.
    pub(crate) fn expect(&mut self, arguments: &[&str]) {
        self.put_back();
        let output = self.world.command(&[], arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        self.world.passes();
        self.world.passes();
        self.after = self.held().live;
        // One that was deleted on one side stays where it is on the other.
        let [here, far] =
            [0, 1].map(|side| by_session(&self.after[side]).into_iter().filter(|(name, _)| !name.contains(&id(DELETED))).collect::<BTreeMap<_, _>>());
        assert!(here == far && here.len() > 14, "without a crash the two are equal: {:?}, {:?}", here.keys(), far.keys());
    }

    fn held(&self) -> Held {
        let bytes = |directory: &Path| files(directory).into_iter().map(|(name, (_, bytes))| (name, bytes)).collect::<BTreeMap<_, _>>();
        let live = [&self.world.here, &self.far].map(|side| bytes(&side.claude.join("projects")));
        let mut vaults = bytes(&self.world.data().join("vault"));
        vaults.retain(|name, _| !name.ends_with(".json") && !name.contains("/.new-") && name != "archive/index.jsonl");
        vaults.extend(bytes(&self.far.claude.join(".claude-session-sync/vault")).into_iter().map(|(name, bytes)| (format!("far {name}"), bytes)));
        Held { live: live.into(), vaults }
    }

    /// Every live file that was there before, but for what its user forgot.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        let of_side = |(side, (before, after)): (&Side, (&Files, &Files))| {
            let kept = before.iter().filter(|(name, _)| !self.forgotten.iter().any(|id| name.contains(id)));
            let shown = |(name, bytes): (&String, &Bytes)| Shown {
                path: side.claude.join("projects").join(name),
                before: bytes.clone(),
                after: after.get(name).cloned(),
            };
            kept.map(shown).collect::<Vec<_>>()
        };
        [&self.world.here, &self.far].into_iter().zip(self.before.live.iter().zip(&self.after)).flat_map(of_side).collect()
    }

    /// Every live file that is new in the end, and what it holds.
    pub(crate) fn created(&self) -> Vec<(PathBuf, Bytes)> {
        let sides = [&self.world.here, &self.far].into_iter().zip(self.before.live.iter().zip(&self.after));
        let new = |(side, (before, after)): (&Side, (&Files, &Files))| {
            let names = after.iter().filter(|(name, _)| !before.contains_key(*name));
            names.map(|(name, bytes)| (side.claude.join("projects").join(name), bytes.clone())).collect::<Vec<_>>()
        };
        sides.flat_map(new).collect()
    }

    /// What must be true at any moment, and so before anybody has looked at what a crash left.
    #[track_caller]
    pub(crate) fn holds(&self, when: &str) {
        let now = self.held();
        let is_forgotten = |name: &str| self.forgotten.iter().any(|id| name.contains(id));
        // Nothing that ever was there is lost: every complete line, and every byte that anything displaced.
        let lines: BTreeSet<&[u8]> = now.everything().flat_map(|(_, bytes)| complete_lines(bytes)).collect();
        for (name, bytes) in self.before.everything().filter(|(name, _)| !is_forgotten(name)) {
            let lost = complete_lines(bytes).filter(|line| !lines.contains(line)).count();
            assert_eq!(lost, 0, "{when}: lines of {name} are lost");
            assert!(now.everything().any(|(_, kept)| kept.starts_with(bytes)), "{when}: nothing begins with the bytes of {name}");
        }
        // Every name holds the old or the new content, whole.
        for (side, (now, (before, after))) in now.live.iter().zip(self.before.live.iter().zip(&self.after)).enumerate() {
            for name in before.keys().filter(|name| !is_forgotten(name)) {
                assert!(now.contains_key(name), "{when}: {name} has no file on side {side}");
            }
            for (name, bytes) in now.iter().filter(|(name, _)| !name.contains("/.css-")) {
                let whole = before.get(name) == Some(bytes) || after.get(name) == Some(bytes);
                let file = name.rsplit('/').next().unwrap();
                let elsewhere: Vec<_> = [before, after].into_iter().flatten().filter(|(other, _)| other.ends_with(file)).collect();
                assert!(whole, "{when}: {name} on side {side} holds {bytes:?}, neither what it held nor what it is to hold: {elsewhere:?}");
            }
        }
    }

    /// What must be true after two clean passes.
    #[track_caller]
    pub(crate) fn is_healed(&self, when: &str) {
        self.holds(when);
        let now = self.held();
        for (side, (now, after)) in now.live.iter().zip(&self.after).enumerate() {
            let names = |of: &Files| of.keys().cloned().collect::<BTreeSet<_>>();
            assert_eq!(names(now), names(after), "{when}: the names on side {side}");
            assert!(now == after, "{when}: side {side} is not as it would be without a crash");
        }
        let staged = files(&self.world.data().join("stage"));
        assert!(staged.is_empty(), "{when}: left over here: {:?}", staged.keys());
        // A displaced copy is no second name of a file that a client writes to.
        let inodes = |directory: &Path| tree(directory).into_iter().map(|path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap())).collect();
        let live: BTreeSet<u64> = inodes(&self.world.here.claude.join("projects"));
        let kept: BTreeSet<u64> = inodes(&self.world.data().join("vault"));
        assert!(live.is_disjoint(&kept), "{when}: the vault shares a file with the store");
    }

    /// What a crash left is old now; one more pass that pushes something, and nothing of it is there.
    #[track_caller]
    pub(crate) fn forgets_its_leftovers(&self, when: &str) {
        let own = [self.world.data(), self.far.claude.join(".claude-session-sync")];
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3 * 24 * 60 * 60);
        for directory in &own {
            let stage = fs::read_dir(directory.join("stage")).into_iter().flatten().map(|entry| entry.unwrap().path());
            let temporary = tree(&directory.join("vault")).into_iter().filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(".new-"));
            for path in stage.chain(temporary) {
                fs::File::open(path).unwrap().set_modified(old).unwrap();
            }
        }
        self.world.here.put(&Talk::begun(&id(90), &self.world.here.at(CLONE), 3, "said after it all"));
        assert_eq!(self.world.passes().actions.len(), 1, "{when}: it is pushed");
        for directory in &own {
            let left: Vec<PathBuf> =
                tree(directory).into_iter().filter(|path| path.to_string_lossy().contains("/stage/") || path.to_string_lossy().contains("/.new-")).collect();
            assert_eq!(left, Vec::<PathBuf>::new(), "{when}: left over for ever");
            assert_eq!(fs::read_dir(directory.join("stage")).unwrap().count(), 0, "{when}: left over for ever in {}", directory.display());
        }
    }

    /// Whether a call is one of this machine's own, about a file of the stores or of ours; what it is about, without what is
    /// different every time.
    pub(crate) fn step(&self, call: &Call, far: bool) -> Option<String> {
        if call.reads { None } else { self.touches(call, far) }
    }

    /// The same, also of a call that reads.
    pub(crate) fn touches(&self, call: &Call, far: bool) -> Option<String> {
        if call.own == far {
            return None;
        }
        let root = self.world.root();
        let of_interest = |path: &PathBuf| {
            let name = path.strip_prefix(&root).ok()?.to_str()?;
            let ours =
                ["/.claude/", "/claude-session-sync/vault", "/claude-session-sync/stage", "/claude-session-sync/state"].iter().any(|part| name.contains(part));
            ours.then(|| masked(name))
        };
        let names: Vec<String> = call.paths.iter().filter_map(of_interest).collect();
        (!names.is_empty() || call.name == "sync").then(|| format!("{} {}", call.name, names.join(" ")))
    }
}

/// Without ids, digests, numbers and what is made up at random.
fn masked(name: &str) -> String {
    let mut parts = Vec::new();
    let mut under_projects = false;
    for part in name.split('/') {
        let random = part.starts_with(".new-") || under_projects;
        let words = part.split('.').map(|word| {
            let is_number = word.chars().all(|c| c.is_ascii_hexdigit() || c == '-') && word.chars().any(|c| c.is_ascii_digit());
            if is_number || word.starts_with("fetched-") { "#" } else { word }
        });
        parts.push(if random { "*".to_owned() } else { words.collect::<Vec<_>>().join(".") });
        under_projects = part == "projects";
    }
    parts.join("/").trim_end_matches(" (deleted)").to_owned()
}

fn by_session(files: &Files) -> BTreeMap<&str, &Bytes> {
    files.iter().map(|(name, bytes)| (name.split_once('/').unwrap().1, bytes)).collect()
}

fn complete_lines(bytes: &Bytes) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"))
}

/// All files below a directory.
fn tree(directory: &Path) -> Vec<PathBuf> {
    files(directory).into_keys().map(|name| directory.join(name)).collect()
}

fn copied(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap();
    assert!(done.success());
}
