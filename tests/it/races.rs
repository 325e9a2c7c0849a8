//! Writers that come in the middle of a replacement, and passes at the same time: no acknowledged line is lost.
//!
//! `CLAUDE_SESSION_SYNC_RACES` says how many replacements and how many rounds of passes are run; by default few.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use claude_session_sync::reconcile::report::{ActionResult, Outcome, Report, Verb};
use serde_json::json;

use crate::figures::figure;
use crate::talk::{Talk, id};
use crate::world::{Ran, Side, World, files};

pub(crate) fn rounds(usual: usize) -> usize {
    std::env::var("CLAUDE_SESSION_SYNC_RACES").map_or(usual, |word| word.parse().unwrap())
}

/// A prompt of a few bytes.
fn prompt(talk: Talk, text: &str) -> Talk {
    let talk = talk.after(10);
    let line = json!({"type": "user", "timestamp": talk.at.to_rfc3339(), "cwd": talk.cwd, "sessionId": talk.id, "message": {"role": "user", "content": text}});
    talk.line(&line)
}

/// The writer comes so much later in every round, over and over again: a replacement takes some milliseconds.
const MOMENT: Duration = Duration::from_micros(200);
/// There each step is a process.
const MOMENT_THERE: Duration = Duration::from_micros(1200);

/// How a client writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Style {
    /// It opens the file for every line, as the client does.
    PerLine,
    /// It keeps it open.
    Held,
}

/// Whether something of this session lies in a directory.
fn lies_in(directory: &Path, session: &str) -> bool {
    let mut entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_string_lossy().starts_with(session))
}

/// Waits for the replacement to begin, and a moment more; then writes until it is told to stop. The lines that were acknowledged, and
/// whether the first of them came while the pass was under way.
fn write(file: &Path, stage: &Path, style: Style, (moment, round): (Duration, usize), stop: &AtomicBool) -> (Vec<String>, bool) {
    let session = file.file_stem().unwrap().to_string_lossy().into_owned();
    let open = || OpenOptions::new().append(true).open(file);
    let mut held = open().unwrap();
    while !lies_in(stage, &session) && !stop.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
    let began = Instant::now();
    while began.elapsed() < moment {
        std::hint::spin_loop();
    }
    let (mut written, in_time) = (Vec::new(), !stop.load(Ordering::Relaxed));
    // It stops soon after the pass, and not at all before its first lines.
    while written.len() < 20 || !stop.load(Ordering::Relaxed) && written.len() < 20_000 {
        let line = json!({"type": "system", "content": format!("round {round}, line {}", written.len())}).to_string();
        let said = match style {
            // Between the two names of an exchange there always is a file.
            Style::PerLine => open().and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())),
            Style::Held => held.write_all(format!("{line}\n").as_bytes()),
        };
        said.unwrap_or_else(|error| panic!("round {round}, {style:?}: the name has no file: {error}"));
        written.push(line);
    }
    (written, in_time)
}

/// Every line that is in a live file or in a vault of these places.
pub(crate) fn lines(places: &[PathBuf]) -> BTreeSet<String> {
    let all = places.iter().flat_map(|place| files(place).into_iter().filter(|(name, _)| !name.ends_with(".json") && !name.ends_with("index.jsonl")));
    all.flat_map(|(_, (_, bytes))| String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

pub(crate) fn places(world: &World, far: &Side) -> Vec<PathBuf> {
    let own = far.claude.join(".claude-session-sync/vault");
    vec![world.here.claude.join("projects"), far.claude.join("projects"), world.data().join("vault"), own]
}

#[test]
fn writers_in_both_styles_lose_no_line_while_their_file_is_replaced_here_and_there() {
    let rounds = rounds(32);
    // By side and style: how many replacements were made while somebody wrote.
    let (mut made, mut lines_written) = (BTreeMap::<(String, Style), usize>::new(), 0);
    let mut tried = 0;
    // Most are put off because of the writer. They go on until some of each kind were made.
    let is_enough = |tried: usize, made: &BTreeMap<_, usize>| tried >= 4 * rounds || tried >= rounds && made.len() == 4 && made.values().all(|made| *made > 0);
    while !is_enough(tried, &made) {
        let round = tried;
        tried += 1;
        let (world, far) = World::with_box();
        let style = if round % 2 == 0 { Style::PerLine } else { Style::Held };
        let here_is_written = round / 2 % 2 == 0;
        let diverged = round / 4 % 2 == 0;
        let (own, other) = if here_is_written { (&world.here, &far) } else { (&far, &world.here) };
        let talk = Talk::begun(&id(1), &world.here.at("widget"), 60, "begun");
        world.here.put(&talk);
        world.passes();
        if diverged {
            own.goes_on(&prompt(talk.clone(), "the older one"));
        }
        other.goes_on(&prompt(talk.clone().after(600), "the newer one"));
        // Here its successor is staged by then, and there it has its second name.
        let (stage, moment) =
            if here_is_written { (world.data().join("stage"), MOMENT) } else { (far.claude.join(".claude-session-sync/vault"), MOMENT_THERE) };
        let (file, stop) = (own.path(&id(1)), AtomicBool::new(false));
        let mut shown = lines(&places(&world, &far));
        let (ran, (written, in_time)) = std::thread::scope(|scope| {
            let writer = scope.spawn(|| write(&file, &stage, style, (moment * u32::try_from(round * 7 % 23).unwrap(), round), &stop));
            let ran = world.sync(&[]);
            stop.store(true, Ordering::Relaxed);
            (ran, writer.join().unwrap())
        });
        assert_eq!(ran.code, 0, "round {round}: {ran:?}");
        let own_action = ran.report().actions.into_iter().find(|action| action.at == own.name && action.session.to_string() == id(1));
        let done = own_action.is_some_and(|action| action.verb != Verb::Create && action.result == Some(ActionResult::Done));
        *made.entry((own.name.clone(), style)).or_default() += usize::from(done && in_time);
        lines_written += written.len();
        shown.extend(written);
        for _ in 0..2 {
            let pass = world.sync(&[]);
            assert_eq!(pass.code, 0, "round {round}: {pass:?}");
        }
        let left = lines(&places(&world, &far));
        let lost: Vec<&String> = shown.iter().filter(|line| !left.contains(*line)).collect();
        assert!(lost.is_empty(), "round {round}, {style:?}, here {here_is_written}, diverged {diverged}: {} lines lost, the first {}", lost.len(), lost[0]);
        assert_eq!(world.here.sessions(), far.sessions(), "round {round}");
        assert!(files(&world.data().join("stage")).is_empty());
    }
    let all: usize = made.values().sum();
    figure(&format!("{all} replacements made while somebody wrote, of {tried} that were tried: {made:?}; {lines_written} lines, none lost"));
    assert!(made.len() == 4 && made.values().all(|made| *made > 0), "some were made of each kind: {made:?}");
}

/// What keeps passes from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Apart {
    /// The lock.
    Lock,
    /// Nothing, and each has a vault of its own.
    Nothing,
    /// Nothing, and they share the vault.
    NothingOneVault,
}

const PASSES: usize = 3;

/// One of the passes that run at once, with its own data directory where they are not kept apart.
fn one_of(world: &World, apart: Apart, number: usize) -> Command {
    let mut command = world.command(&[], &world.arguments(&[]));
    if apart != Apart::Lock && number > 0 {
        let base = world.root().join(format!("data-{number}"));
        let data = base.join("claude-session-sync");
        fs::create_dir_all(&data).unwrap();
        if apart == Apart::NothingOneVault && !data.join("vault").exists() {
            std::os::unix::fs::symlink(world.data().join("vault"), data.join("vault")).unwrap();
        }
        command.env("XDG_DATA_HOME", base);
    }
    command
}

/// What came of the passes of all rounds.
#[derive(Debug, Default)]
struct Met {
    rounds: usize,
    /// How often they ended with which code.
    codes: BTreeMap<i32, usize>,
    /// Rounds in which two or more, under way at the same time, had something to install.
    wanted: usize,
    /// Those in which two or more installed something.
    installed: usize,
}

impl Met {
    /// A round. Every pass has a reason for its end: the lock keeps it out, or it saw a file while another replaced it.
    fn note(&mut self, apart: Apart, passes: &[Ran]) {
        let busy = |pass: &&Ran| apart == Apart::Lock && pass.code == 75;
        let reports: Vec<Report> = passes.iter().filter(|pass| !busy(pass)).map(Ran::report).collect();
        for (pass, report) in passes.iter().filter(|pass| !busy(pass)).zip(&reports) {
            let replaced = report.left.iter().any(|left| left.word == "unproven" || left.why.starts_with("changed while it was read"));
            assert!(pass.code == 0 || apart != Apart::Lock && pass.code == 3 && replaced, "{apart:?}, round {}: {pass:?}", self.rounds);
            assert!(report.visits.iter().all(|visit| visit.outcome == Outcome::Visited), "{apart:?}, round {}: {pass:?}", self.rounds);
        }
        passes.iter().for_each(|pass| *self.codes.entry(pass.code).or_default() += 1);
        let installs = |report: &Report| report.actions.iter().any(|action| action.result == Some(ActionResult::Done));
        assert!(reports.iter().any(installs), "{apart:?}, round {}: nothing was installed", self.rounds);
        self.wanted += usize::from(at_the_same_time(&reports, |report| !report.actions.is_empty()));
        self.installed += usize::from(at_the_same_time(&reports, installs));
        self.rounds += 1;
    }
}

/// Whether two such passes were under way at the same time.
fn at_the_same_time(reports: &[Report], such: impl Fn(&Report) -> bool) -> bool {
    let mut spans: Vec<_> = reports.iter().filter(|report| such(report)).map(|report| (report.began, report.ended)).collect();
    spans.sort();
    spans.windows(2).any(|two| two[1].0 < two[0].1)
}

fn at_once(apart: Apart, rounds: usize) {
    let (world, far) = World::with_box();
    let cwd = world.here.at("widget");
    let mut talks: Vec<Talk> = (0..3).map(|number| Talk::begun(&id(number), &cwd, 600, &format!("begun {number}"))).collect();
    for talk in &talks {
        world.here.put(talk);
    }
    world.passes();
    let mut all = places(&world, &far);
    all.extend((1..PASSES).map(|number| world.root().join(format!("data-{number}/claude-session-sync/vault"))));
    let (mut shown, mut met) = (BTreeSet::new(), Met::default());
    // Most rounds have one winner. They go on until some had two.
    let is_enough = |met: &Met| met.rounds >= rounds && (apart == Apart::Lock || met.installed * 8 >= rounds || met.rounds >= 4 * rounds);
    while !is_enough(&met) {
        let round = met.rounds;
        // One goes on here, one there, and one on both sides.
        let said = |talk: &Talk, text: &str| prompt(talk.clone(), &format!("round {round}, {text}"));
        talks[0] = said(&talks[0], "here");
        talks[1] = said(&talks[1], "there");
        let (mut one, mut two) = (said(&talks[2], "one"), said(&talks[2].clone().after(5), "two"));
        if round % 2 == 0 {
            std::mem::swap(&mut one, &mut two);
        }
        world.here.goes_on(&talks[0]);
        far.goes_on(&talks[1]);
        world.here.goes_on(&one);
        far.goes_on(&two);
        talks[2] = if one.at > two.at { one } else { two };
        shown.extend(lines(&all));
        // All of them before the first one runs: each writes the configuration anew.
        let commands: Vec<Command> = (0..PASSES).map(|number| one_of(&world, apart, number)).collect();
        let passes: Vec<Ran> = std::thread::scope(|scope| {
            let passes: Vec<_> = commands.into_iter().map(|mut command| scope.spawn(move || Ran::of(&mut command))).collect();
            passes.into_iter().map(|pass| pass.join().unwrap()).collect()
        });
        met.note(apart, &passes);
        let left = lines(&all);
        let lost: Vec<&String> = shown.iter().filter(|line| !left.contains(*line)).collect();
        assert!(lost.is_empty(), "{apart:?}, round {round}: {} lines lost, the first {}", lost.len(), lost[0]);
        // The next round goes on from equal copies.
        for _ in 0..2 {
            let pass = world.sync(&[]);
            assert_eq!(pass.code, 0, "{apart:?}, round {round}: {pass:?}");
        }
        assert_eq!(world.here.sessions(), far.sessions(), "{apart:?}, round {round}");
        assert_eq!(world.here.bytes(&id(2)), talks[2].bytes, "{apart:?}, round {round}");
    }
    let (Met { rounds: made, codes, wanted, installed }, lines) = (met, shown.len());
    figure(&format!(
        "{apart:?}: {made} rounds of {PASSES} passes at once, which ended with {codes:?}; two or more had something to install in {wanted}, and \
         installed something in {installed}; {lines} lines, none lost"
    ));
    assert!(apart == Apart::Lock || (wanted * 4 >= made * 3 && installed > 0 && installed * 8 >= rounds), "they met too seldom");
}

#[test]
fn passes_at_once_are_kept_apart_by_the_lock_and_lose_nothing() {
    at_once(Apart::Lock, rounds(6));
}

#[test]
fn passes_at_once_that_nothing_keeps_apart_lose_nothing() {
    at_once(Apart::Nothing, rounds(8));
}

#[test]
fn passes_at_once_that_nothing_keeps_apart_and_that_share_a_vault_lose_nothing() {
    at_once(Apart::NothingOneVault, rounds(8));
}
