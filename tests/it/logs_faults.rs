//! A log whose disk is full or read-only, or whose directory is taken away, while a process goes on logging.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use chrono::Utc;
use claude_session_sync::config::{Log, LogFormat, LogLevel};
use claude_session_sync::logging::line::Line;
use claude_session_sync::logging::panics::tell;
use claude_session_sync::logging::{Logging, prepare, start};

use crate::mounts::Mounted;
use crate::skip::skip_unless_root;
use crate::verbs_world::World;
use crate::wait::until;

/// A process that logs for months.
struct Agent {
    dispatch: tracing::Dispatch,
    logging: Logging,
}

impl Agent {
    fn start(directory: &Path) -> Self {
        let log = Log { level: LogLevel::Info, format: LogFormat::Text, keep: 3 };
        let (dispatch, logging) = prepare(directory, &log, Arc::new(Utc::now));
        Self { dispatch, logging }
    }

    fn say(&self, text: &str) {
        tracing::dispatcher::with_default(&self.dispatch, || tracing::info!(target: "claude_session_sync::test", text, "said"));
    }

    fn wait(&self, what: &str, condition: impl Fn(&Logging) -> bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(until(what, || condition(&self.logging)));
    }

    fn trouble(&self) -> String {
        self.wait("the trouble is known", |logging| logging.trouble().is_some());
        self.logging.trouble().unwrap()
    }

    /// Ends it, so that all is written.
    fn end(self) -> Vec<Line> {
        let file = self.logging.file().unwrap();
        drop((self.dispatch, self.logging));
        let text = fs::read_to_string(&file).unwrap();
        text.lines().map(|line| Line::parse(line).unwrap_or_else(|| panic!("torn: {line}"))).collect()
    }
}

/// What was said, and of lost lines how many.
fn told(lines: &[Line]) -> Vec<String> {
    lines.iter().map(|line| line.fields.0[0].1.to_string().trim_matches('"').chars().take(8).collect()).collect()
}

#[test]
fn a_directory_that_is_taken_away_or_replaced_by_a_file_is_made_again() {
    let place = tempfile::tempdir().unwrap();
    let logs = place.path().join("log");
    let agent = Agent::start(&logs);
    agent.say("one");
    agent.wait("the line is there", |logging| logging.file().is_some_and(|file| fs::metadata(file).is_ok_and(|found| found.len() > 0)));
    fs::remove_dir_all(&logs).unwrap();
    fs::write(&logs, "in the way").unwrap();
    agent.say("two");
    assert!(agent.trouble().starts_with("no log in "), "{:?}", agent.logging.trouble());
    agent.wait("the lost line is counted", |logging| logging.dropped() == 1);
    fs::remove_file(&logs).unwrap();
    // Nothing needs to be said for that: asking is enough.
    agent.wait("it is written again", |logging| logging.trouble().is_none());
    agent.say("three");
    assert_eq!(told(&agent.end()), ["1", "three"]);
}

fn mounted(place: &Path, options: &str) -> bool {
    Command::new("mount").args(["-o", options]).arg(place).status().is_ok_and(|status| status.success())
}

#[test]
fn a_full_disk_loses_whole_lines_and_says_how_many() {
    let place = tempfile::tempdir().unwrap();
    let Some(disk) = Mounted::small(place.path(), "64k") else { return skip_unless_root("cannot mount a tmpfs here") };
    let agent = Agent::start(&place.path().join("log"));
    let file = agent.logging.file().unwrap();
    let size = || fs::metadata(&file).unwrap().len();
    agent.say("one");
    agent.wait("the line is there", |_| size() > 0);
    let filler = place.path().join("filler");
    assert!(fs::write(&filler, vec![b'x'; 100_000]).is_err(), "the disk is full now, but for the end of the log's last block");
    // The kernel counts the blocks of such a disk per processor, so one may turn up after it said that there was none.
    let mut troubles = Vec::new();
    while agent.logging.dropped() < 2 {
        let (before, lost) = (size(), agent.logging.dropped());
        agent.say("more");
        agent.wait("it is there, or lost", |logging| size() > before || logging.dropped() > lost);
        troubles.extend(agent.logging.trouble());
    }
    assert!(troubles.iter().all(|trouble| trouble.contains("cannot be written: No space left")), "{troubles:?}");
    fs::remove_file(&filler).unwrap();
    agent.wait("it is written again", |logging| logging.trouble().is_none());
    agent.say("after");
    let lost = agent.logging.dropped();
    let lines = told(&agent.end());
    assert_eq!((lines[0].as_str(), lines[lines.len() - 1].as_str()), ("one", "after"));
    let (counts, others): (Vec<_>, Vec<_>) = lines[1..lines.len() - 1].iter().partition(|text| text.parse::<usize>().is_ok());
    assert!(others.iter().all(|text| *text == "more"), "{lines:?}");
    assert_eq!(counts.iter().map(|text| text.parse::<usize>().unwrap()).sum::<usize>(), lost, "{lines:?}");
    drop(disk);
}

#[test]
fn a_read_only_disk_is_waited_for() {
    let place = tempfile::tempdir().unwrap();
    let Some(disk) = Mounted::small(place.path(), "1m") else { return skip_unless_root("cannot mount a tmpfs here") };
    assert!(mounted(place.path(), "remount,ro"));
    let agent = Agent::start(&place.path().join("log"));
    assert!(agent.trouble().contains("Read-only file system"), "{}", agent.trouble());
    agent.say("one");
    agent.wait("the lost line is counted", |logging| logging.dropped() == 1);
    assert!(mounted(place.path(), "remount,rw"));
    agent.wait("it is written", |logging| logging.trouble().is_none());
    agent.say("two");
    assert_eq!(told(&agent.end()), ["1", "two"]);
    drop(disk);
}

#[test]
fn a_pass_goes_on_without_its_log_and_says_so_once() {
    let world = World::new();
    let logs = world.home().join(".local/state/claude-session-sync/log");
    fs::create_dir_all(logs.parent().unwrap()).unwrap();
    fs::write(&logs, "in the way").unwrap();
    world.there(1, "x", 20);
    let said = world.run("sync box");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(world.came(1).exists());
    assert!(said.err.starts_with("no log in ~/.local/state/claude-session-sync/log: ") && said.err.lines().count() == 1, "{said:?}");
}

/// Set in the child of the test below: where its log and its stream go.
const PANICS_IN: &str = "TEST_PANICS_IN";

#[test]
fn a_panic_leaves_its_place_in_the_log_and_on_the_stream_but_no_words_that_may_quote_a_session() {
    if let Some(place) = std::env::var_os(PANICS_IN) {
        let place = Path::new(&place);
        let log = Log { level: LogLevel::Error, format: LogFormat::Text, keep: 3 };
        let _logging = start(&place.join("log"), &log);
        tell(Box::new(fs::File::create(place.join("stream")).unwrap()));
        let quoted = String::from("a word of a session");
        std::thread::spawn(move || panic!("found: {quoted}")).join().unwrap_err();
        panic!("words that stand in the program");
    }
    let place = tempfile::tempdir().unwrap();
    let name = std::thread::current().name().unwrap().to_owned();
    let mut again = Command::new(std::env::current_exe().unwrap());
    let again = again.args(["--exact", &name, "--nocapture"]).env(PANICS_IN, place.path()).output().unwrap();
    assert!(!again.status.success(), "it was to panic: {again:?}");
    let stream = fs::read_to_string(place.path().join("stream")).unwrap();
    let lines: Vec<&str> = stream.lines().collect();
    assert_eq!(lines.len(), 2, "{stream}");
    assert!(lines.iter().all(|line| line.starts_with("claude-session-sync: panicked at tests/it/logs_faults.rs:")), "{stream}");
    assert!(lines[1].ends_with(": words that stand in the program") && !stream.contains("session: "), "{stream}");
    let log = fs::read_to_string(place.path().join("log/latest")).unwrap();
    assert_eq!(log.matches(" ERROR panicked place=tests/it/logs_faults.rs:").count(), 2, "{log}");
    assert!(!log.contains("a word of") && !stream.contains("a word of"), "{log}{stream}");
}
