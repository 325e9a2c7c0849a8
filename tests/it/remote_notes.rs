//! What stays on the far side for the quiet rule: which files were pushed, and which machines visit.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use claude_session_sync::codespace::wire::{Operation, PutRequest};
use claude_session_sync::reconcile::activity::Pushed;

use crate::remote_far::{Far, TOOLS, names};
use crate::remote_script::A;

const B: &str = "7f869d7b-ce51-4e00-8a05-674dde6aa368";

fn transcript(id: &str) -> String {
    format!("-p/{id}.jsonl")
}

/// Puts one new transcript as the machine of this id.
fn push(far: &Far, n: u32, id: &str, agent: Option<&str>) {
    let file = far.file(n, Operation::Create, &transcript(id), b"x\n", b"x\n");
    far.put(&PutRequest { files: vec![file], agent: agent.map(|agent| agent.parse().unwrap()), ..far.nothing() }).unwrap();
}

#[test]
fn a_pushed_file_is_known_as_one_until_somebody_writes_to_it() {
    for tools in TOOLS {
        let Some(far) = Far::with("dash", tools) else { continue };
        std::fs::create_dir(far.claude.join("sessions")).unwrap();
        push(&far, 1, A, None);
        far.plant(&transcript(B), b"written here\n");
        let is_pushed = |id: &str| {
            let listing = far.list();
            let file = listing.files.iter().find(|file| file.path.to_string() == transcript(id)).unwrap();
            listing.pushed.contains(&Pushed::of(file.stamp))
        };
        assert!(is_pushed(A) && !is_pushed(B), "{tools:?}");
        let appended = far.file(2, Operation::Replace { token: far.listed(&transcript(B)).token, base: 13 }, &transcript(B), b"y\n", b"written here\ny\n");
        far.put(&PutRequest { files: vec![appended], ..far.nothing() }).unwrap();
        assert!(is_pushed(A) && is_pushed(B), "{tools:?}: a push keeps the notes of the pushes before");
        std::fs::File::options().append(true).open(far.claude.join("projects").join(transcript(A))).unwrap().write_all(b"more\n").unwrap();
        assert!(!is_pushed(A) && is_pushed(B), "{tools:?}");
    }
}

#[test]
fn what_was_not_installed_is_not_noted() {
    let far = Far::new();
    far.plant(&transcript(A), b"theirs\n");
    push(&far, 1, A, None);
    assert!(far.list().pushed.is_empty());
}

#[test]
fn only_the_newest_notes_are_kept_and_what_is_none_is_dropped() {
    for tools in TOOLS {
        let Some(far) = Far::with("dash", tools) else { continue };
        push(&far, 1, A, None);
        let file = far.claude.join(".claude-session-sync/pushed");
        let old: String = (1..=3000).map(|n| format!("{n} 1 1700000000.5\n")).collect();
        std::fs::write(&file, format!("{old}garbage\n1 2\n07 1 1\n7 1 -5\n\u{1b}[31m 1 1\n$(touch x) 1 1\n")).unwrap();
        let notes = far.list().pushed;
        assert_eq!((notes.len(), notes.first().unwrap().inode, notes.last().unwrap().inode), (1994, 1007, 3000), "{tools:?}");
        push(&far, 2, B, None);
        let notes = far.list().pushed;
        assert_eq!(notes.len(), 1995, "{tools:?}");
        assert!(notes.contains(&Pushed::of(far.listed(&transcript(B)).stamp)) && !notes.iter().any(|note| note.inode == 1006), "{tools:?}");
        (3..9).for_each(|n| push(&far, n, &format!("{n:08x}-ce51-4e00-8a05-674dde6aa368"), None));
        assert_eq!(far.list().pushed.len(), 2000, "{tools:?}");
        assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 2000);
        std::fs::remove_file(&file).unwrap();
        symlink("/etc/passwd", &file).unwrap();
        assert!(far.list().pushed.is_empty());
    }
}

#[test]
fn machines_that_visit_know_of_each_other_and_when_each_was_there() {
    for tools in TOOLS {
        let Some(far) = Far::with("dash", tools) else { continue };
        assert!(far.list_as(A).agents.is_empty(), "a listing alone leaves nothing");
        assert_eq!(names(&far.claude), Vec::<String>::new());
        push(&far, 1, A, Some(A));
        let clock = far.list().clock;
        let seen = far.list_as(B).agents;
        assert_eq!(seen.keys().map(ToString::to_string).collect::<Vec<_>>(), [A], "{tools:?}: it is told who was there before");
        let seen = far.list_as(B).agents;
        assert_eq!(seen.keys().map(ToString::to_string).collect::<Vec<_>>(), [A, B], "{tools:?}");
        assert!(seen.values().all(|at| at.abs_diff(clock) < 60), "{seen:?}");
        let of_a = far.claude.join(".claude-session-sync/agents").join(A);
        let long_ago = SystemTime::now() - Duration::from_secs(1_000_000);
        std::fs::File::options().write(true).open(&of_a).unwrap().set_modified(long_ago).unwrap();
        let then = far.list().agents[&A.parse().unwrap()];
        assert!((clock - 1_000_000 - then).abs() < 60, "{tools:?}");
        assert_eq!(far.list_as(A).agents[&A.parse().unwrap()], then, "{tools:?}");
        assert!(far.list().agents[&A.parse().unwrap()] > then, "{tools:?}: a visit is noted anew");
    }
}

#[test]
fn names_that_are_no_ids_are_not_told_and_links_are_not_followed() {
    for tools in TOOLS {
        let Some(far) = Far::with("dash", tools) else { continue };
        push(&far, 1, A, Some(A));
        let agents = far.claude.join(".claude-session-sync/agents");
        for name in ["x", "../x", "\u{1b}[31mxxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "ZZZZZZZZ-ce51-4e00-8a05-674dde6aa368", "a\nb"] {
            drop(std::fs::write(agents.join(name), ""));
        }
        (0..100).for_each(|n| std::fs::write(agents.join(format!("{n:08x}-ce51-4e00-8a05-674dde6aa368")), "").unwrap());
        assert_eq!(far.list().agents.len(), 64, "{tools:?}");
        std::fs::remove_dir_all(&agents).unwrap();
        std::fs::create_dir(&agents).unwrap();
        let outside = far.home.path().join("outside");
        symlink(&outside, agents.join(B)).unwrap();
        assert!(far.list_as(B).agents.is_empty() && far.list().agents.is_empty() && !outside.exists(), "{tools:?}");
        std::fs::remove_dir_all(&agents).unwrap();
        std::fs::create_dir(&outside).unwrap();
        symlink(&outside, &agents).unwrap();
        far.list_as(B);
        assert_eq!(names(&outside), Vec::<String>::new(), "{tools:?}");
    }
}
