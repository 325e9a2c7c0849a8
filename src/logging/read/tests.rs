//! The log as it is read: order, choice, what is not ours, and what comes while somebody waits.

use super::*;
use std::fs;
use std::io::Write as _;

use crate::config::LogFormat;
use crate::logging::line::Span;

struct World(tempfile::TempDir);

/// A line of `HH:MM` at the 2nd to 9th of March; in a pass and at a place where they are named.
fn line(day: u32, time: &str, level: Level, pass: &str, place: &str, message: &str) -> Line {
    let mut line = Line::new(format!("2026-03-0{day}T{time}:00.000Z").parse().unwrap(), level, message);
    for (name, field, value) in [("pass", "id", pass), ("codespace", "name", place)] {
        if !value.is_empty() {
            let mut span = Span { name: name.to_owned(), ..Span::default() };
            span.fields.set(field, value.into());
            line.spans.push(span);
        }
    }
    line
}

fn info(day: u32, time: &str, message: &str) -> String {
    format!("{}\n", line(day, time, Level::Info, "", "", message))
}

impl World {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(format!("claude-session-sync.{name}.log"))
    }

    fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::File::options().create(true).append(true).open(self.path(name)).unwrap().write_all(text.as_ref()).unwrap();
    }

    fn all(&self, wanted: &Wanted) -> String {
        told(&mut Log::open(self.0.path(), wanted), Waits::No)
    }

    fn last(&self, count: usize, wanted: &Wanted) -> String {
        told(&mut Log::open_last(self.0.path(), wanted, count), Waits::No)
    }
}

/// Messages, and in brackets what is not ours.
fn told(log: &mut Log, waits: Waits) -> String {
    let said = std::iter::from_fn(|| log.next(waits)).map(|entry| match entry.said {
        Said::Ours(line) => line.message,
        Said::Other(text) => format!("[{text}]"),
    });
    said.collect::<Vec<_>>().join(" ")
}

#[test]
fn both_series_and_both_forms_are_one_stream_in_the_order_of_time() {
    let world = World::new();
    world.append("2026-03-02", info(2, "10:00", "a") + &line(2, "12:00", Level::Info, "", "", "c").written(LogFormat::Json) + "\n");
    world.append("2026-03-04", info(4, "01:00", "e"));
    world.append("sync.2026-03-02", info(2, "11:00", "b") + &info(2, "13:00", "d"));
    assert_eq!(world.all(&Wanted::default()), "a b c d e");
    assert_eq!(world.last(2, &Wanted::default()), "d e");
    assert_eq!(world.last(4, &Wanted::default()), "b c d e");
    assert_eq!(world.last(99, &Wanted::default()), "a b c d e");
    assert_eq!(world.last(0, &Wanted::default()), "");
    let since = Some("2026-03-02T12:00:00Z".parse().unwrap());
    assert_eq!(world.all(&Wanted { since, ..Wanted::default() }), "c d e");
}

#[test]
fn level_name_and_pass_choose_lines() {
    let world = World::new();
    let said = [
        line(2, "10:00", Level::Info, "1", "fluffy-a", "a"),
        line(2, "10:01", Level::Warn, "1", "fluffy-b", "b"),
        line(2, "10:02", Level::Error, "2", "fluffy-a", "c"),
        line(2, "10:03", Level::Trace, "2", "", "d"),
    ];
    let mut stale = line(1, "10:00", Level::Info, "", "", "stale");
    stale.fields.set("name", "other".into());
    world.append("2026-03-01", format!("{stale}\n"));
    world.append("2026-03-02", said.map(|line| format!("{line}\n")).concat());
    let all = Wanted::default;
    assert_eq!(world.all(&Wanted { level: Some(Level::Warn), ..all() }), "b c");
    assert_eq!(world.all(&Wanted { names: vec![Name::Exactly("fluffy-a".to_owned())], ..all() }), "a c");
    assert_eq!(world.all(&Wanted { names: vec![Name::Beginning("fluffy".to_owned())], ..all() }), "a b c");
    assert_eq!(world.all(&Wanted { names: vec![Name::Exactly("other".to_owned())], ..all() }), "stale");
    assert_eq!(world.all(&of_last_pass(world.0.path(), all()).unwrap()), "c d");
    // A sync by hand came later, and goes on into the next day.
    world.append("sync.2026-03-02", format!("{}\n", line(2, "23:59", Level::Info, "3", "", "e")));
    world.append("sync.2026-03-03", format!("{}\n", line(3, "00:01", Level::Info, "3", "", "f")));
    assert_eq!(world.all(&of_last_pass(world.0.path(), all()).unwrap()), "e f");
    assert_eq!(of_last_pass(World::new().0.path(), all()), None);
}

#[test]
fn a_line_that_is_not_ours_is_shown_where_the_one_before_it_is() {
    let world = World::new();
    let of = |place, message| format!("{}\n", line(2, "10:00", Level::Info, "1", place, message));
    world.append("2026-03-02", b"before\xff\x1b\n");
    world.append("2026-03-02", of("a", "x") + "after x\n" + &of("b", "y") + "after y\n\n" + &of("a", "torn")[..20]);
    let strays = "[before\\xff\u{1b}] x [after x] y [after y] [] [2026-03-02T10:00:00.]";
    assert_eq!(world.all(&Wanted::default()), strays);
    assert_eq!(world.all(&Wanted { names: vec![Name::Exactly("a".to_owned())], ..Wanted::default() }), "x [after x]");
    assert!(world.all(&Wanted { level: Some(Level::Error), ..Wanted::default() }).starts_with("[before"), "it may be grave");
}

#[test]
fn a_line_without_an_end_comes_in_pieces_and_none_is_lost() {
    let world = World::new();
    world.append("2026-03-02", vec![b'x'; 600_000]);
    let pieces = world.all(&Wanted::default());
    assert_eq!((pieces.matches('x').count(), pieces.split(' ').count()), (600_000, 3));
}

#[test]
fn who_waits_sees_what_comes_in_this_file_the_next_and_one_that_took_its_place() {
    let world = World::new();
    world.append("2026-03-02", info(2, "10:00", "a") + &info(2, "11:00", "b"));
    let mut log = Log::open_last(world.0.path(), &Wanted::default(), 1);
    let mut more = || told(&mut log, Waits::Yes);
    assert_eq!(more(), "b");
    let half = info(2, "12:00", "c");
    world.append("2026-03-02", &half[..30]);
    assert_eq!(more(), "", "it is not whole yet");
    world.append("2026-03-02", &half[30..]);
    assert_eq!(more(), "c");
    world.append("2026-03-02", info(2, "23:59", "d") + "torn");
    world.append("2026-03-03", info(3, "00:00", "e"));
    world.append("sync.2026-03-03", info(3, "00:01", "f"));
    assert_eq!(more(), "d [torn] e f");
    fs::remove_file(world.path("2026-03-03")).unwrap();
    world.append("2026-03-03", info(3, "00:02", "g"));
    assert_eq!(more(), "g");
    fs::write(world.path("2026-03-03"), "emptied\n").unwrap();
    assert_eq!(more(), "[emptied]");
    world.append("2026-03-03", info(3, "00:03", "h"));
    assert_eq!(more(), "h");
}

#[test]
fn a_log_that_is_not_there_has_no_lines() {
    let none = World::new().0.path().join("none");
    assert_eq!(Log::open(&none, &Wanted::default()).next(Waits::No), None);
    let world = World::new();
    let mut log = Log::open_last(world.0.path(), &Wanted::default(), 5);
    assert_eq!(log.next(Waits::Yes), None);
    world.append("2026-03-02", info(2, "10:00", "a"));
    assert_eq!(told(&mut log, Waits::Yes), "a", "who came before it sees it begin");
}
