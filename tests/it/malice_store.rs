//! Links, pipes and sockets planted in both stores, some of them put in the place of real files while a pass works; and names that
//! somebody hopes a shell will read.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use claude_session_sync::reconcile::report::{ActionResult, Outcome};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::figures::figure;
use crate::talk::{Talk, id};
use crate::world::{Bytes, PATH, Ran, Side, World, files};

/// Something that no pass may read or change, with the words that must not be found anywhere else.
struct Outside(PathBuf);

const OUTSIDE: &str = "these bytes lie outside of every store";

impl Outside {
    fn beside(world: &World) -> Self {
        let directory = world.root().join("outside");
        fs::create_dir_all(directory.join("subagents")).unwrap();
        for name in ["file.jsonl", "subagents/agent-1.jsonl", &format!("{}.jsonl", id(1)), &format!("{}.jsonl", id(7))] {
            fs::write(directory.join(name), format!("{{\"type\":\"user\",\"message\":\"{OUTSIDE}\"}}\n")).unwrap();
        }
        Self(directory)
    }

    fn files(&self) -> BTreeMap<String, (u64, Bytes)> {
        files(&self.0)
    }

    /// Whether its words are in any file of these directories.
    fn leaked_into(&self, directories: &[&Path]) -> Vec<String> {
        let all = directories.iter().flat_map(|directory| files(directory));
        all.filter(|(_, (_, bytes))| memchr::memmem::find(bytes, OUTSIDE.as_bytes()).is_some()).map(|(name, _)| name).collect()
    }
}

fn pipe(path: &Path) {
    mkfifo(path, Mode::S_IRWXU).unwrap();
}

/// A pass that must come to its end by itself.
fn bounded(world: &World) -> Ran {
    let program = env!("CARGO_BIN_EXE_claude-session-sync");
    let mut command = world.command(&["timeout", "-k", "1", "60"], &world.arguments(&[]));
    let ran = Ran::of(&mut command);
    assert!(ran.code != 124, "{program} hangs: {ran:?}");
    ran
}

#[test]
fn links_pipes_and_sockets_that_lie_in_both_stores_are_passed_over_and_nothing_waits_for_them() {
    let (world, far) = World::with_box();
    let outside = Outside::beside(&world);
    fs::remove_file(outside.0.join(format!("{}.jsonl", id(1)))).unwrap();
    let before = outside.files();
    let mut sockets = Vec::new();
    for side in [&world.here, &far] {
        let talk = Talk::begun(&id(if side.name == "here" { 1 } else { 2 }), &side.at("widget"), 60, "good");
        let project = side.put(&talk).parent().unwrap().to_owned();
        let projects = side.claude.join("projects");
        let folder = project.join(&talk.id);
        fs::create_dir(&folder).unwrap();
        symlink(outside.0.join(format!("{}.jsonl", id(7))), project.join(format!("{}.jsonl", id(7)))).unwrap();
        symlink("/dev/zero", project.join(format!("{}.jsonl", id(8)))).unwrap();
        symlink(&outside.0, project.join(id(9))).unwrap();
        symlink(&outside.0, projects.join("-outside")).unwrap();
        symlink(".", project.join("loop")).unwrap();
        symlink(outside.0.join("subagents"), folder.join("subagents")).unwrap();
        pipe(&project.join(format!("{}.jsonl", id(10))));
        pipe(&projects.join("-pipe"));
        pipe(&folder.join("tool-results"));
        pipe(&side.claude.join("settings.json"));
        pipe(&side.claude.join("sessions/4242424.json"));
        sockets.push(UnixListener::bind(project.join("s")).unwrap());
        // A clone whose place is a pipe, and one whose configuration is one.
        for (name, what) in [("odd", ".git"), ("odder", ".git/config")] {
            let path = side.clones.join(name).join(what);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if side.name == "here" {
                pipe(&path);
            }
        }
    }
    for _ in 0..2 {
        let ran = bounded(&world);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.out.contains("is a symbolic link") && ran.out.contains("is a pipe") && ran.out.contains("is not a regular file"), "{}", ran.out);
        assert_eq!((world.here.bytes(&id(2)), far.bytes(&id(1))), (far.bytes(&id(2)), world.here.bytes(&id(1))));
    }
    assert_eq!(outside.files(), before);
    assert_eq!(outside.leaked_into(&[&world.data(), &far.claude, &world.here.claude]), Vec::<String>::new());
}

/// Puts something else in the place of a file or directory and the right one back, until it is dropped.
struct Flipping {
    stop: Arc<AtomicBool>,
    flips: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Flipping {
    /// `wrong` has the place of `right` half of the time; each exchange is one step, so that one of them is always there.
    fn of(right: PathBuf, wrong: PathBuf) -> Self {
        let (stop, flips) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&flips));
        let exchange = move || rustix::fs::renameat_with(rustix::fs::CWD, &right, rustix::fs::CWD, &wrong, rustix::fs::RenameFlags::EXCHANGE);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) || counted.load(Ordering::Relaxed) % 2 == 1 {
                // A pass may have put a new file there, but never nothing.
                exchange().unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                std::thread::yield_now();
            }
        });
        Self { stop, flips, thread: Some(thread) }
    }

    /// Stops with everything in its own place; how often it was exchanged.
    fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.flips.load(Ordering::Relaxed)
    }
}

/// How long each thing is flipped: `$CLAUDE_SESSION_SYNC_FLIP_SECONDS`, else 4.
fn long() -> Duration {
    let seconds = std::env::var("CLAUDE_SESSION_SYNC_FLIP_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(4))
}

/// At least so many exchanges for each second that was asked for, also where others keep this machine busy: several a millisecond, in
/// which a pass makes a step or two.
const FLIPS_A_SECOND: u64 = 5_000;

/// What is exchanged for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flipped {
    /// The first session's transcript.
    Transcript,
    /// A folder of the first session.
    Folder,
    /// The directory that all of them lie in.
    Project,
}

/// The visit goes on, and every other session gets its due.
fn costs_itself_alone(ran: &Ran) {
    let report = ran.report();
    assert!(report.visits.iter().all(|visit| visit.outcome == Outcome::Visited), "{ran:?}");
    let others = report.actions.iter().filter(|action| action.session.to_string() != id(1));
    assert!(others.into_iter().all(|action| action.result == Some(ActionResult::Done)), "{ran:?}");
}

/// Passes over a world in which `flip` exchanges something at `side` while the other side brings news; then two honest ones.
fn while_flipping(what: Flipped, side: impl Fn(&World, &Side) -> Side, flip: impl Fn(&Side, &Outside, &World) -> Flipping) {
    let (world, far) = World::with_box();
    let outside = Outside::beside(&world);
    let mut talks: Vec<Talk> = (1..=4).map(|n| Talk::begun(&id(n), &world.here.at("widget"), 60, &format!("talk {n}"))).collect();
    for talk in &talks {
        world.here.put(talk);
        world.here.put_side(talk, "subagents/agent-1.jsonl", b"{\"type\":\"user\"}\n", 30);
    }
    world.passes();
    let before = outside.files();
    let side = side(&world, &far);
    let other = if side.name == "here" { &far } else { &world.here };
    let flipping = flip(&side, &outside, &world);
    let began = std::time::Instant::now();
    let (mut passes, mut codes) = (0, BTreeMap::<i32, u32>::new());
    while began.elapsed() < long() || passes < 2 {
        for talk in &mut talks {
            *talk = talk.clone().says(&format!("pass {passes}"));
            other.goes_on(talk);
        }
        let ran = bounded(&world);
        *codes.entry(ran.code).or_default() += 1;
        assert!([0, 1, 3].contains(&ran.code), "{ran:?}");
        if what == Flipped::Transcript {
            costs_itself_alone(&ran);
        }
        passes += 1;
    }
    let seconds = began.elapsed().as_secs();
    let flips = flipping.end();
    figure(&format!("{flips} exchanges at {} during {passes} passes of {seconds} s, which ended with {codes:?}", side.name));
    assert!(flips >= long().as_secs() * FLIPS_A_SECOND, "{flips} exchanges in {seconds} s: too few to meet a pass in the middle");
    assert_eq!(outside.files(), before, "something was written outside");
    assert_eq!(outside.leaked_into(&[&world.data(), &far.claude, &world.here.claude]), Vec::<String>::new(), "bytes from outside were taken in");
    world.sync(&[]);
    world.sync(&[]);
    for talk in &talks {
        assert_eq!(other.bytes(&talk.id), talk.bytes, "{}", talk.id);
        assert_eq!(world.archived(&talk.id).as_ref(), Some(&talk.bytes), "{}", talk.id);
    }
    // Of what nobody flipped nothing was put off for good.
    for talk in talks.iter().skip(if what == Flipped::Project { 4 } else { 1 }) {
        assert_eq!(side.bytes(&talk.id), talk.bytes, "{}", talk.id);
    }
}

fn here(world: &World, _: &Side) -> Side {
    world.here.clone()
}

fn there(_: &World, far: &Side) -> Side {
    far.clone()
}

/// A link to something outside, beside the thing that it will take the place of.
fn link_to(target: &Path, world: &World) -> PathBuf {
    let link = world.root().join("wrong");
    symlink(target, &link).unwrap();
    link
}

#[test]
fn a_transcript_that_is_now_and_then_a_link_leads_no_pass_outside() {
    for side in [here, there] {
        while_flipping(Flipped::Transcript, side, |side, outside, world| {
            Flipping::of(side.path(&id(1)), link_to(&outside.0.join(format!("{}.jsonl", id(1))), world))
        });
    }
}

#[test]
fn a_transcript_that_is_now_and_then_a_pipe_stops_no_pass() {
    for side in [here, there] {
        while_flipping(Flipped::Transcript, side, |side, _, world| {
            let wrong = world.root().join("wrong");
            pipe(&wrong);
            Flipping::of(side.path(&id(1)), wrong)
        });
    }
}

#[test]
fn a_project_directory_that_is_now_and_then_a_link_leads_no_pass_outside() {
    for side in [here, there] {
        while_flipping(Flipped::Project, side, |side, outside, world| Flipping::of(side.path(&id(1)).parent().unwrap().to_owned(), link_to(&outside.0, world)));
    }
}

#[test]
fn a_folder_of_side_files_that_is_now_and_then_a_link_leads_no_pass_outside() {
    for side in [here, there] {
        while_flipping(Flipped::Folder, side, |side, outside, world| {
            let folder = side.path(&id(1)).with_extension("").join("subagents");
            Flipping::of(folder, link_to(&outside.0.join("subagents"), world))
        });
    }
}

/// The files that only a command that was run can have made, wherever they lie: what is planted under such names are directories.
pub(crate) fn canaries(root: &Path) -> Vec<PathBuf> {
    let files = files(root).into_keys().map(|name| root.join(name));
    files.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("canary"))).collect()
}

#[test]
fn a_directory_and_a_remote_that_are_made_to_be_run_run_nothing() {
    let (mut world, far) = World::with_box();
    let other = world.machine("other", &["acme/widget"]);
    let names = [
        // No slash can stand in a name, so this one finds its place by a variable that every child here has: beside the home.
        "$(touch \"$HOME\"-canary)".to_owned(),
        "$(touch canary)".to_owned(),
        "`touch canary`".to_owned(),
        "'; touch canary; '".to_owned(),
        "\"; touch canary; \"".to_owned(),
        "a; touch canary".to_owned(),
        "a\ntouch canary".to_owned(),
        "-exec touch canary".to_owned(),
        "--upload-pack=touch canary".to_owned(),
        "| touch canary".to_owned(),
        "& touch canary &".to_owned(),
        "%0atouch canary".to_owned(),
        "${IFS}touch${IFS}canary".to_owned(),
        "\\\ntouch canary".to_owned(),
        "#{touch canary}".to_owned(),
    ];
    let urls = [
        "ext::sh -c touch% canary",
        "--upload-pack=touch canary",
        "ssh://-oProxyCommand=touch canary/acme/widget",
        "$(touch canary)",
        "\"; touch canary; \"",
        "x\ty",
    ];
    let (mut number, mut clones) = (100, Vec::new());
    for side in [&world.here, &far, &other] {
        for name in &names {
            let clone = side.clones.join(name);
            fs::create_dir_all(clone.join(".git")).unwrap();
            number += 1;
            let mut config = "[core]\n\trepositoryformatversion = 0\n\tfsmonitor = touch canary\n\tsshCommand = touch canary\n\tpager = touch canary\n[alias]\n\tremote = !touch canary\n".to_owned();
            for (n, url) in urls.iter().enumerate() {
                config += &format!("[remote \"r{n}\"]\n\turl = {url}\n\tuploadpack = touch canary\n\tvcs = ext\n");
            }
            config += "[remote \"origin\"]\n\turl = git@github.com:acme/widget.git\n";
            fs::write(clone.join(".git/config"), config).unwrap();
            for (file, text) in [("HEAD", "ref: refs/heads/main\n"), ("hooks/post-checkout", "#!/bin/sh\ntouch canary\n")] {
                let path = clone.join(".git").join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            for directory in ["objects", "refs"] {
                fs::create_dir_all(clone.join(".git").join(directory)).unwrap();
            }
            side.put(&Talk::begun(&id(number), &clone.display().to_string(), 60, "in an odd place"));
            clones.push(clone);
        }
    }
    for _ in 0..2 {
        let ran = bounded(&world);
        assert!([0, 3].contains(&ran.code), "{ran:?}");
    }
    for arguments in [&["status"][..], &["status", "--why"], &["list", "sessions"], &["doctor"], &["verify"]] {
        drop(world.command(&[], arguments).output().unwrap());
    }
    assert_eq!(canaries(&world.root()), Vec::<PathBuf>::new(), "something was run");
    // They would have been found: git falls into the first trap, and so does a shell that reads a name.
    let run = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        let output = command.args(words).env_clear().env("HOME", world.root().join("trap")).env("PATH", PATH).current_dir(&clones[0]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    run("git", &["status", "--porcelain"]);
    assert_eq!(canaries(&world.root()), [clones[0].join("canary")]);
    run("sh", &["-c", &format!("set -- {}", clones[0].file_name().unwrap().to_string_lossy())]);
    assert_eq!(canaries(&world.root()).len(), 2);
}
