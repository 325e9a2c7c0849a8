//! How many connections and channels a pass takes: as sshd counted them, and as the report says.

use claude_session_sync::reconcile::report::Outcome;

use crate::e2e_world::{Laptop, id, transcripts};

const BOX: &str = "fluffy-space-guacamole-5g9x7";

/// Runs a pass: connections, channels, and bytes over the line in either direction, all counted by sshd and its door.
fn counted(laptop: &Laptop) -> (usize, usize, u64) {
    let far = laptop.at(BOX);
    let before = (far.connections(), far.sessions(), far.bytes());
    let ran = laptop.report(&[]).good();
    let counts = (far.connections() - before.0, far.sessions() - before.1);
    let visit = ran.visit(BOX);
    assert_eq!((visit.connections as usize, visit.channels as usize), counts, "the report counts otherwise than sshd: {:?}", ran.told);
    assert_eq!(visit.outcome, Outcome::Visited);
    let after = far.bytes();
    (counts.0, counts.1, after.0 + after.1 - before.2.0 - before.2.1)
}

/// Figures for whoever reads the output of the run.
fn tell(line: &str) {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{line}").unwrap();
}

fn of_so_many(sessions: u32) {
    let Some(mut laptop) = Laptop::new() else { return };
    if laptop.codespace(BOX).is_none() {
        return;
    }
    let mut grow = Vec::new();
    for number in 0..sessions {
        grow = vec![laptop.session(number, "from here", 60), laptop.session_at(BOX, 1000 + number, "from there", 50)];
    }
    let (connections, channels, bytes) = counted(&laptop);
    tell(&format!("{sessions} + {sessions} sessions, first pass: {connections} connection, {channels} channels, {bytes} B on the line"));
    assert_eq!((connections, channels), (1, 1));
    assert_eq!(transcripts(&laptop.claude()), transcripts(&laptop.claude_at(BOX)));
    assert_eq!(transcripts(&laptop.claude()).len(), 2 * sessions as usize);

    let (connections, channels, bytes) = counted(&laptop);
    tell(&format!("{sessions} + {sessions} sessions, idle: {connections} connection, {channels} channels, {bytes} B on the line"));
    assert_eq!((connections, channels), (1, 1), "an idle visit is one listing");

    // Both sides grow: all four verbs are needed.
    for file in grow {
        let content = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, content.repeat(2)).unwrap();
    }
    let (connections, channels, bytes) = counted(&laptop);
    tell(&format!("{sessions} + {sessions} sessions, both sides grew: {connections} connection, {channels} channels, {bytes} B on the line"));
    assert_eq!((connections, channels), (1, 1));
    assert_eq!(transcripts(&laptop.claude()), transcripts(&laptop.claude_at(BOX)));
    assert_eq!(counted(&laptop).1, 1);
}

#[test]
fn a_visit_takes_one_connection_and_one_channel_with_one_session() {
    of_so_many(1);
}

#[test]
fn a_visit_takes_one_connection_and_one_channel_with_two_hundred_sessions() {
    of_so_many(200);
}

#[test]
fn a_codespace_without_a_session_takes_one_channel_once_it_has_its_id() {
    let Some(mut laptop) = Laptop::new() else { return };
    if laptop.codespace(BOX).is_none() {
        return;
    }
    // The first visit leaves the id and the name of this machine: two machines that do not know each other could keep it awake.
    let (connections, channels, _) = counted(&laptop);
    assert_eq!((connections, channels), (1, 1));
    assert!(laptop.claude_at(BOX).join(".claude-session-sync/replica-id").exists());
    assert!(!laptop.claude_at(BOX).join("projects").exists(), "nothing was to be installed");
    let (connections, channels, _) = counted(&laptop);
    assert_eq!((connections, channels), (1, 1));
}

#[test]
fn two_codespaces_of_one_repository_and_the_laptop_are_equal_after_one_pass() {
    let Some(mut laptop) = Laptop::new() else { return };
    for name in ["one-1", "two-2"] {
        if laptop.codespace(name).is_none() {
            return;
        }
    }
    laptop.session(1, "here", 30);
    laptop.session_at("one-1", 2, "in one", 20);
    laptop.session_at("two-2", 3, "in two", 10);
    let first = laptop.report(&[]).good();
    assert_eq!(first.report().visits.len(), 2);
    let all = transcripts(&laptop.claude());
    assert_eq!(all.keys().cloned().collect::<Vec<_>>(), [id(1), id(2), id(3)]);
    for name in ["one-1", "two-2"] {
        assert_eq!(transcripts(&laptop.claude_at(name)), all, "{name}");
        assert_eq!(laptop.at(name).connections(), 1);
        assert!(laptop.at(name).sessions() <= 4);
    }
    let second = laptop.report(&[]).good();
    assert!(second.report().actions.is_empty(), "{:?}", second.told);
}

#[test]
fn six_codespaces_of_one_repository_are_visited_in_batches_and_equal_after_two_passes() {
    let Some(mut laptop) = Laptop::new() else { return };
    let names: Vec<String> = (1..=6).map(|number| format!("box-{number}")).collect();
    for (name, number) in names.iter().zip(1..) {
        if laptop.codespace(name).is_none() {
            return;
        }
        laptop.session_at(name, number, "in one of six", i64::from(number));
    }
    let first = laptop.report(&[]).good();
    assert_eq!(first.report().visits.len(), 6);
    let all = transcripts(&laptop.claude());
    assert_eq!(all.len(), 6);
    laptop.report(&[]).good();
    for name in &names {
        assert_eq!(transcripts(&laptop.claude_at(name)), all, "{name}");
        assert_eq!(laptop.at(name).connections(), 2);
    }
    let third = laptop.report(&[]).good();
    assert!(third.report().actions.is_empty(), "{:?}", third.told);
    assert!(names.iter().all(|name| third.visit(name).channels == 1));
}
