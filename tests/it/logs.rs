//! What a pass writes down, and `logs` as its reader meets it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use claude_session_sync::logging::line::{Level, Line};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

use crate::skip::have;
use crate::verbs_world::{BOX, World};
use crate::wait::{LONGEST, until};

trait Logged {
    fn logs(&self) -> PathBuf;
    /// The file of a day, of the usual series.
    fn log_of(&self, day: &str) -> PathBuf {
        self.logs().join(format!("claude-session-sync.{day}.log"))
    }
    fn lines(&self) -> Vec<Line>;
}

impl Logged for World {
    fn logs(&self) -> PathBuf {
        self.home().join(".local/state/claude-session-sync/log")
    }

    fn lines(&self) -> Vec<Line> {
        let text = fs::read_to_string(self.logs().join("latest")).unwrap();
        text.lines().map(|line| Line::parse(line).unwrap_or_else(|| panic!("no line of ours: {line}"))).collect()
    }
}

fn level(world: &World, level: &str, format: &str) {
    world.reach(&world.far.command(), &format!("[github]\nenabled = false\n[log]\nlevel = \"{level}\"\nformat = \"{format}\"\n"));
}

/// A log of several days, as an agent and a `sync` by hand left it.
fn plant(world: &World) {
    fs::create_dir_all(world.logs()).unwrap();
    let write = |name: &str, lines: &[&str]| fs::write(world.logs().join(name), lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    write(
        "claude-session-sync.2026-03-03.log",
        &[
            "2026-03-03T10:00:00.000+00:00 INFO  pass{id=aaaaaaaa} codespace{name=fluffy-1} visited sessions=2",
            "2026-03-03T10:00:01.000+00:00 INFO  pass{id=aaaaaaaa} pass ended visited=1 failed=0",
            "what is \u{1b}[31mthis",
        ],
    );
    write(
        "claude-session-sync.2026-03-04.log",
        &[
            r#"{"version":1,"time":"2026-03-04T10:00:00.000+00:00","level":"warn","spans":[{"name":"pass","fields":{"id":"bbbbbbbb"}},{"name":"codespace","fields":{"name":"fluffy-2"}}],"message":"visit failed","fields":{"reason":"no sshd","bytes_in":0}}"#,
            r#"{"version":1,"time":"2026-03-04T10:00:02.000+00:00","level":"info","spans":[{"name":"pass","fields":{"id":"bbbbbbbb"}}],"message":"pass ended","fields":{"visited":0,"failed":1}}"#,
        ],
    );
    write("claude-session-sync.sync.2026-03-04.log", &["2026-03-04T10:00:01.000+00:00 INFO  pass{id=cccccccc} pass ended visited=0 failed=0"]);
}

#[test]
fn a_pass_with_nothing_running_is_one_line() {
    let world = World::new();
    fs::write(world.home().join(".config/claude-session-sync/config.toml"), "[github]\nenabled = false\n").unwrap();
    assert_eq!(world.run("sync").code, 0);
    let lines = world.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((lines[0].message.as_str(), lines[0].level, lines[0].spans.len()), ("pass ended", Level::Info, 1));
    assert_eq!(lines[0].span("pass", "id").unwrap().len(), 8);
    let shown = world.run("logs");
    assert_eq!((shown.code, shown.out.lines().count(), shown.err.as_str()), (0, 1, ""), "{shown:?}");
}

#[test]
fn each_line_knows_its_pass_its_place_and_its_transfer() {
    for format in ["text", "json"] {
        let world = World::new();
        level(&world, "trace", format);
        world.here(1, "the-secret-plan", 30);
        world.there(2, "another-secret", 20);
        world.sync();
        let lines = world.lines();
        let id = lines[0].span("pass", "id").unwrap().to_owned();
        assert!(lines.iter().all(|line| line.span("pass", "id") == Some(&id)), "{lines:?}");
        let places = |message: &str| {
            let found = lines.iter().find(|line| line.message == message).unwrap_or_else(|| panic!("no `{message}`: {lines:?}"));
            found.spans.iter().map(|span| span.name.as_str()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!([places("pass began"), places("planned"), places("pass ended")], ["pass", "pass", "pass"]);
        assert_eq!([places("connected"), places("listed there"), places("visited")], ["pass codespace"; 3]);
        assert_eq!([places("file fetched"), places("fetched"), places("sent")], ["pass codespace transfer"; 3]);
        let verbs: Vec<&str> = lines.iter().filter_map(|line| line.span("transfer", "verb")).collect();
        assert!(verbs.contains(&"get") && verbs.contains(&"put"), "{verbs:?}");
        assert!(lines.iter().all(|line| line.span("codespace", "name").is_none_or(|name| name == BOX)));
        assert!(lines.iter().any(|line| line.level == Level::Trace && line.message == "file installed" && line.span("codespace", "name") == Some(BOX)));
        let text = fs::read_to_string(world.logs().join("latest")).unwrap();
        assert!(!text.contains("secret"), "no word of a session: {text}");
        assert_eq!(text.starts_with('{'), format == "json");
    }
}

#[test]
fn files_of_both_forms_and_both_series_are_read_alike() {
    let world = World::new();
    plant(&world);
    let all = world.run("logs");
    let expected = "2026-03-03T10:00:00.000+00:00 INFO  pass{id=aaaaaaaa} codespace{name=fluffy-1} visited sessions=2\n\
                    2026-03-03T10:00:01.000+00:00 INFO  pass{id=aaaaaaaa} pass ended visited=1 failed=0\n\
                    what is \\u{1b}[31mthis\n\
                    2026-03-04T10:00:00.000+00:00 WARN  pass{id=bbbbbbbb} codespace{name=fluffy-2} visit failed reason=\"no sshd\" bytes_in=0\n\
                    2026-03-04T10:00:01.000+00:00 INFO  pass{id=cccccccc} pass ended visited=0 failed=0\n\
                    2026-03-04T10:00:02.000+00:00 INFO  pass{id=bbbbbbbb} pass ended visited=0 failed=1\n";
    assert_eq!((all.code, all.out.as_str(), all.err.as_str()), (0, expected, ""));
    let json: Vec<serde_json::Value> = world.run("logs --json").out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json.len(), 6);
    assert!(json.iter().all(|line| line["version"] == 1 && line["time"].is_string()), "{json:?}");
    assert_eq!((&json[2]["other"], &json[2]["time"]), (&"what is \u{1b}[31mthis".into(), &"2026-03-03T10:00:01Z".into()));
    assert_eq!((&json[0]["level"], &json[0]["fields"]["sessions"], &json[0]["spans"][1]["fields"]["name"]), (&"info".into(), &2.into(), &"fluffy-1".into()));
    assert_eq!(json[3]["fields"]["reason"], "no sshd");
}

#[test]
fn lines_are_chosen_by_pass_level_name_time_and_number() {
    let world = World::new();
    plant(&world);
    let count = |line: &str| {
        let said = world.run(line);
        assert_eq!(said.code, 0, "{said:?}");
        said.out.lines().count()
    };
    let last = world.run("logs --last").out;
    assert!(last.lines().count() == 2 && last.lines().all(|line| line.contains("id=bbbbbbbb")), "{last}");
    assert_eq!(count("logs --last fluffy-2"), 1);
    assert_eq!([count("logs fluffy-1"), count("logs fluffy"), count("logs --level warn"), count("logs -n 2")], [1, 2, 2, 2]);
    assert_eq!([count("logs --since 2026-03-04T10:00:01Z"), count("logs --since 2026-03-04T10:00:01Z -n 1"), count("logs --since 1s")], [2, 1, 0]);
    let none = world.run("logs nobody");
    assert_eq!((none.code, none.out.as_str(), none.err.as_str()), (0, "", "no line of the log is so\n"));
    for line in ["logs --since soon", "logs --level loud", "logs -n x", "logs ."] {
        let outside = world.command(line).current_dir(world.home()).output().unwrap();
        assert_eq!(outside.status.code(), Some(2), "{line}: {outside:?}");
    }
}

#[test]
fn a_place_is_named_by_what_is_known_of_it() {
    let world = World::new();
    level(&world, "info", "text");
    world.there(1, "x", 20);
    world.sync();
    for name in ["box", "bo", "acme/widget", "."] {
        let said = world.run(&format!("logs {name}"));
        assert!(said.out.lines().count() == 1 && said.out.contains(" visited "), "{name}: {said:?}");
    }
    assert_eq!(world.run("logs b2").out, "");
}

#[test]
fn without_a_log_or_with_a_broken_configuration_it_says_what_it_can() {
    let world = World::new();
    let none = world.run("logs");
    assert_eq!((none.code, none.err.as_str()), (0, "there is no log yet: ~/.local/state/claude-session-sync/log\n"));
    assert_eq!(world.run("logs --last").err, "no pass is in the log: ~/.local/state/claude-session-sync/log\n");
    plant(&world);
    fs::write(world.home().join(".config/claude-session-sync/config.toml"), "[log\n").unwrap();
    assert_eq!(world.run("logs fluffy-2").out.lines().count(), 1);
}

struct Following {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Following {
    fn start(world: &World, line: &str) -> Self {
        let mut child = world.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next line, as soon as it comes.
    fn next(&mut self) -> String {
        if self.lines.buffer().is_empty() {
            let longest = Timespec::try_from(LONGEST).unwrap();
            // Children of other tests end meanwhile, and their signals come to any thread of this process.
            let came = retry_on_intr(|| poll(&mut [PollFd::new(self.lines.get_ref(), PollFlags::IN)], Some(&longest))).unwrap();
            assert_eq!(came, 1, "waited in vain for a line");
        }
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Closes the pipe, and waits for the end.
    fn leave(mut self) -> (Option<i32>, String) {
        drop(self.lines);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut ended = None;
        runtime.block_on(until("a reader that went away ends it", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        }));
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (ended.unwrap().code(), said)
    }
}

#[test]
fn who_follows_sees_new_lines_across_days_and_series_and_may_go_away() {
    let world = World::new();
    plant(&world);
    let append = |file: PathBuf, text: &str| fs::File::options().create(true).append(true).open(file).unwrap().write_all(text.as_bytes()).unwrap();
    let mut following = Following::start(&world, "logs -f -n 1");
    assert!(following.next().ends_with("visited=0 failed=1"));
    append(world.log_of("2026-03-04"), "2026-03-04T23:59:59.000+00:00 INFO  one\n2026-03-05T00:00:00.000");
    assert!(following.next().ends_with("INFO  one"));
    append(world.log_of("2026-03-05"), "2026-03-05T00:00:00.000+00:00 INFO  two\n");
    assert_eq!(following.next(), "2026-03-05T00:00:00.000", "torn, and not lost");
    assert!(following.next().ends_with("INFO  two"));
    append(world.log_of("sync.2026-03-05"), "2026-03-05T00:01:00.000+00:00 INFO  three\n");
    assert!(following.next().ends_with("INFO  three"));
    // Nothing more is written: who reads goes away, and that is noticed all the same.
    assert_eq!(following.leave(), (Some(0), String::new()));
}

#[test]
fn who_follows_may_come_before_the_log() {
    let world = World::new();
    let mut following = Following::start(&world, "logs --follow --json");
    level(&world, "info", "text");
    world.sync();
    assert!(following.next().contains("\"message\":\"visited\""));
    assert_eq!(following.leave().0, Some(0));
}

#[test]
fn a_file_has_the_day_of_utc_and_its_lines_the_time_of_the_place() {
    if !have("faketime", "--version") {
        return;
    }
    let world = World::new();
    level(&world, "info", "text");
    let at = |time: &str| {
        let mut command = std::process::Command::new("faketime");
        command.args(["-f", time, env!("CARGO_BIN_EXE_claude-session-sync"), "sync", BOX]);
        command.env_clear().env("HOME", world.home()).env("PATH", "/usr/bin:/bin").env("TZ", "XYZ-9").current_dir(world.home());
        let said = world.said(&command.stdin(Stdio::null()).output().unwrap());
        assert_eq!(said.code, 0, "{said:?}");
    };
    // 23:30 and 00:30 UTC, as a clock nine hours before it shows them.
    at("@2027-03-05 08:30:00");
    at("@2027-03-05 09:30:00");
    for (day, time) in [("2027-03-04", "2027-03-05T08:3"), ("2027-03-05", "2027-03-05T09:3")] {
        let text = fs::read_to_string(world.log_of(day)).unwrap();
        assert!(text.lines().count() == 2 && text.lines().all(|line| line.starts_with(time) && line.contains("+09:00 ")), "{day}: {text}");
    }
    let last = world.run("logs --last").out;
    assert!(last.lines().count() == 2 && last.lines().all(|line| line.starts_with("2027-03-05T09:3")), "{last}");
}
