//! PUT of a session that its user forgot: what goes, what stays, and that no link leads anywhere.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use claude_session_sync::codespace::wire::{Forget, Forgotten, Operation, Outcome, PutRequest};

use crate::remote_far::{Far, TOOLS, Tools, names, program, skip};
use crate::remote_script::{A, Living};

const B: &str = "7f869d7b-ce51-4e00-8a05-674dde6aa368";
const NONCE: &str = "00000000000000000000000000000000";
const DATE: &str = "2026-11-21T08:00:00.123456Z";

/// A far side on which A lies in two directories, with side files and vault objects, and B beside it.
fn with_both(tools: Tools) -> Option<Far> {
    let far = Far::with("dash", tools)?;
    fs::create_dir(far.claude.join("sessions")).unwrap();
    for id in [A, B] {
        for path in [format!("-p/{id}.jsonl"), format!("-q/{id}.jsonl"), format!("-p/{id}/tool-results/a b\u{e4}.txt"), format!("-p/{id}/.hidden")] {
            far.plant(&path, b"said\n");
        }
        put(&far.claude.join(format!(".claude-session-sync/vault/{id}.4.0123456789abcdef.{NONCE}-1")), "displaced");
    }
    far.plant(&format!("-p/{A}.jsonl.bak"), b"the user's own copy");
    far.plant(&format!("-p/memory/{A}.md"), b"the user's own note");
    Some(far)
}

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn request(far: &Far, ids: &[&str]) -> PutRequest {
    let forgets = ids.iter().map(|id| Forget { session: id.parse().unwrap(), date: DATE.parse().unwrap() }).collect();
    PutRequest { forgets, ..far.nothing() }
}

#[track_caller]
fn forget(far: &Far, id: &str) -> Forgotten {
    far.put(&request(far, &[id])).unwrap().forgets.remove(&id.parse().unwrap()).unwrap()
}

/// Every file there with its bytes, links as where they lead.
fn tree(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(directory).unwrap().to_string_lossy().into_owned();
            if path.is_symlink() {
                found.insert(name, fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes());
            } else if path.is_dir() {
                open.push(path);
            } else {
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn all_of_it_goes_a_note_stays_and_nothing_else_is_touched() {
    for tools in TOOLS {
        let Some(far) = with_both(tools) else { continue };
        let before = tree(&far.claude);
        assert_eq!(forget(&far, A), Forgotten::Removed, "{tools:?}");
        let mut expected = before;
        expected.retain(|name, _| {
            !(name.contains(&format!("/{A}.jsonl")) && !name.ends_with(".bak") || name.contains(&format!("{A}/")) || name.contains(&format!("vault/{A}")))
        });
        expected.insert(format!(".claude-session-sync/forgotten/{A}"), format!("{DATE}\n").into_bytes());
        let mut after = tree(&far.claude);
        after.remove(".claude-session-sync/lock");
        assert_eq!(after, expected, "{tools:?}");
        assert!(!far.claude.join("projects/-p").join(A).exists(), "no empty folder is left");
        assert_eq!(far.list().forgotten, [A.parse().unwrap()].into());
        assert_eq!(forget(&far, A), Forgotten::Noted, "there is nothing of it any more");
        assert_eq!(tree(&far.claude).len(), after.len() + usize::from(far.claude.join(".claude-session-sync/lock").exists()));
    }
}

#[test]
fn where_nothing_lies_yet_the_note_is_left_all_the_same() {
    for tools in TOOLS {
        let Some(far) = Far::with("dash", tools) else { continue };
        let answer = far.put(&request(&far, &[A, B])).unwrap();
        assert!(answer.forgets.values().all(|what| *what == Forgotten::Noted) && answer.forgets.len() == 2, "{tools:?}: {answer:?}");
        assert_eq!((far.list().forgotten.len(), far.claude.join("projects").exists()), (2, false));
    }
}

#[test]
fn an_open_session_is_left_whole_and_goes_once_it_is_closed() {
    for tools in TOOLS {
        let Some(far) = with_both(tools) else { continue };
        let living = Living::start();
        living.entry(&far, &format!("{{\"sessionId\":\"{A}\",\"procStart\":\"{}\"}}", living.began()));
        let before = tree(&far.claude.join("projects"));
        let answer = far.put(&request(&far, &[A, B])).unwrap();
        assert_eq!((&answer.forgets[&A.parse().unwrap()], &answer.forgets[&B.parse().unwrap()]), (&Forgotten::Live, &Forgotten::Removed), "{tools:?}");
        let after = tree(&far.claude.join("projects"));
        assert!(before.iter().filter(|(name, _)| name.contains(A)).all(|(name, bytes)| after.get(name) == Some(bytes)));
        assert_eq!(far.list().forgotten, [B.parse().unwrap()].into(), "what is not done is not noted");
        drop(living);
        assert_eq!(forget(&far, A), Forgotten::Removed);
    }
}

#[test]
fn without_a_registry_a_young_transcript_is_left() {
    for tools in TOOLS {
        let Some(far) = with_both(tools) else { continue };
        fs::remove_dir(far.claude.join("sessions")).unwrap();
        let young = far.claude.join(format!("projects/-q/{A}.jsonl"));
        let file = fs::File::options().append(true).open(&young).unwrap();
        file.set_modified(SystemTime::now()).unwrap();
        assert_eq!(forget(&far, A), Forgotten::Live, "{tools:?}");
        file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
        assert_eq!(forget(&far, A), Forgotten::Removed, "{tools:?}");
    }
}

#[test]
fn nothing_behind_a_link_is_touched() {
    for tools in TOOLS {
        let Some(far) = with_both(tools) else { continue };
        let (projects, own, outside) = (far.claude.join("projects"), far.claude.join(".claude-session-sync"), far.home.path().join("outside"));
        put(&outside.join(format!("{A}.jsonl")), "outside");
        put(&outside.join(format!("{A}/x")), "outside");
        put(&outside.join(format!("{A}.4.0123456789abcdef.{NONCE}-2")), "outside");
        let planted = tree(&outside);
        symlink(&outside, projects.join("-linked")).unwrap();
        fs::create_dir(projects.join("-r")).unwrap();
        symlink(outside.join(A), projects.join("-r").join(A)).unwrap();
        symlink(outside.join(format!("{A}.jsonl")), projects.join(format!("-r/{A}.jsonl"))).unwrap();
        fs::create_dir(projects.join(format!("-r\n..\n{A}"))).unwrap();
        assert_eq!(forget(&far, A), Forgotten::Removed, "{tools:?}");
        assert_eq!((tree(&outside), names(&projects.join("-r"))), (planted.clone(), Vec::new()), "{tools:?}: the links went as links");

        // In place of the vault, of the notes, of one note.
        let refused = Forgotten::Failed("symlink".to_owned());
        far.plant(&format!("-p/{B}.jsonl"), b"said\n");
        for (name, target) in [("vault", outside.clone()), ("forgotten", outside.clone()), (&*format!("forgotten/{B}"), outside.join(A))] {
            let place = own.join(name);
            let aside = far.home.path().join("aside");
            let there = fs::rename(&place, &aside).is_ok();
            symlink(&target, &place).unwrap();
            assert_eq!(forget(&far, B), refused, "{tools:?}: {name}");
            assert!(projects.join(format!("-p/{B}.jsonl")).exists() && tree(&outside) == planted, "{tools:?}: {name}");
            fs::remove_file(&place).unwrap();
            if there {
                fs::rename(&aside, &place).unwrap();
            }
        }
        fs::rename(&projects, outside.join("store")).unwrap();
        symlink(outside.join("store"), &projects).unwrap();
        assert_eq!(forget(&far, B), Forgotten::Removed, "{tools:?}: the store itself may lie elsewhere");
    }
}

#[test]
fn the_notes_are_listed_strictly_and_not_without_end() {
    for tools in TOOLS {
        let Some(far) = Far::with("dash", tools) else { continue };
        let notes = far.claude.join(".claude-session-sync/forgotten");
        put(&notes.join(A), DATE);
        for name in ["x", "../x", &A.to_uppercase(), &format!("{A}.jsonl"), &"-".repeat(36), &format!("{}\n{B}", &A[..8])] {
            put(&notes.join(name), DATE);
        }
        fs::create_dir(notes.join(B)).unwrap();
        put(&notes.join("deep").join(B), DATE);
        assert_eq!(far.list().forgotten, [A.parse().unwrap()].into(), "{tools:?}");
    }
    let far = Far::new();
    let notes = far.claude.join(".claude-session-sync/forgotten");
    fs::create_dir_all(&notes).unwrap();
    (0..20_000).for_each(|n: u32| drop(fs::File::create(notes.join(format!("{n:08x}-ce51-4e00-8a05-674dde6aa368"))).unwrap()));
    assert_eq!(far.list().forgotten.len(), 10_000);
}

/// One that is nowhere.
const NEW: &str = "8f869d7b-ce51-4e00-8a05-674dde6aa368";

#[test]
fn a_forgotten_session_is_not_installed_by_who_does_not_know() {
    for tools in TOOLS {
        let Some(far) = with_both(tools) else { continue };
        assert_eq!(forget(&far, A), Forgotten::Removed);
        let file = |n, id: &str| far.file(n, Operation::Create, &format!("-new/{id}.jsonl"), b"again\n", b"again\n");
        let answer = far.put(&PutRequest { files: vec![file(1, A), file(2, NEW)], ..far.nothing() }).unwrap();
        assert_eq!(answer.outcomes[&1], Outcome::Failed("forgotten there".to_owned()), "{tools:?}");
        assert!(matches!(answer.outcomes[&2], Outcome::Done { .. }) && names(&far.claude.join("projects/-new")).len() == 1);
    }
}

/// Stages as puts that were cut off leave them: one with the session, one with another, one without a plan, an old one.
fn stages(far: &Far) -> [std::path::PathBuf; 4] {
    let stage = |n: u32| far.claude.join(format!(".claude-session-sync/stage/{n:032x}"));
    let stages = [1, 2, 3, 4].map(stage);
    put(&stages[0].join("plan"), &format!("file 1 c {A} 0 - 5 {} -p/{A}.jsonl\n", "0".repeat(64)));
    put(&stages[1].join("plan"), &format!("file 1 c {B} 0 - 5 {} -p/{B}.jsonl\n", "0".repeat(64)));
    put(&stages[3].join("plan"), &format!("file 1 c {B} 0 - 5 {} -p/{B}.jsonl\n", "0".repeat(64)));
    stages.iter().for_each(|stage| put(&stage.join("data/1"), "said\n"));
    far.plant(&format!("-p/.css-{:032x}-1", 1), b"said\n");
    let old = SystemTime::now() - Duration::from_secs(3 * 86_400);
    fs::File::open(&stages[3]).unwrap().set_modified(old).unwrap();
    stages
}

#[test]
fn what_a_put_that_was_cut_off_left_of_it_goes_too() {
    for tools in TOOLS {
        let Some(far) = with_both(tools) else { continue };
        let stages = stages(&far);
        let forgotten = {
            // Not by `forget`: another stage stays, as it must.
            let nonce = claude_session_sync::codespace::wire::Nonce::random();
            let answer = far.call(&claude_session_sync::codespace::wire::Request::Put(request(&far, &[A])), &nonce);
            String::from_utf8(answer).unwrap()
        };
        assert!(forgotten.contains(&format!("forget {A} removed")), "{tools:?}: {forgotten}");
        let there = stages.each_ref().map(|stage| stage.exists());
        if far.claude.join(".claude-session-sync/lock").exists() {
            assert_eq!(there, [false, true, false, false], "{tools:?}: another session's bytes may be in use");
            assert!(!far.claude.join(format!("projects/-p/.css-{:032x}-1", 1)).exists());
        } else {
            assert_eq!(there, [true, true, true, false], "{tools:?}: who holds no lock takes only what is old");
            if tools == Tools::Dash {
                skip("stages under a lock", "no flock here");
            }
        }
    }
}

#[test]
fn a_full_disk_is_no_reason_to_keep_it() {
    let far = with_both(Tools::Dash).unwrap();
    far.tool("df", "#!/bin/sh\nprintf 'Filesystem 1024-blocks Used Available Capacity Mounted on\\nx 10 10 0 100%% /\\n'\n");
    assert_eq!(far.put(&PutRequest { need_kib: None, ..request(&far, &[A]) }).unwrap().forgets[&A.parse().unwrap()], Forgotten::Removed);
}

#[test]
fn what_cannot_be_removed_is_said_and_not_noted() {
    let far = with_both(Tools::Dash).unwrap();
    far.tool("rm", &format!("#!/bin/sh\ncase \"$*\" in *{A}*) echo 'rm: no way' >&2; exit 1 ;; esac\nexec {} \"$@\"\n", program("rm").unwrap().display()));
    assert!(matches!(forget(&far, A), Forgotten::Failed(why) if why.contains("no way")));
    assert!(far.list().forgotten.is_empty());
    far.tool("rm", &format!("#!/bin/sh\nexec {} \"$@\"\n", program("rm").unwrap().display()));
    far.tool("find", &format!("#!/bin/sh\n{} \"$@\"\ncase \"$*\" in *-print) exit 1 ;; esac\n", program("find").unwrap().display()));
    assert!(matches!(forget(&far, A), Forgotten::Failed(why) if why.starts_with("cannot list")), "half a walk is no walk");
}
