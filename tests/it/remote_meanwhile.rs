//! PUT, while somebody else works in the same store: whatever happens between a look and what is done after it.

use std::os::unix::fs::MetadataExt;

use claude_session_sync::codespace::wire::{Operation, Outcome};

use crate::remote_far::{Far, Tools, program};
use crate::remote_put::{B, append, put, transcript, vault, with_transcript};
use crate::remote_script::{A, Living};

/// A far side whose `name` does something first, once.
fn interfering(far: &Far, name: &str, first: &str) {
    let once = far.home.path().join("once");
    let real = program(name).unwrap();
    far.tool(name, &format!("#!/bin/sh\nif mkdir {} 2>/dev/null; then {first}; fi\nexec {} \"$@\"\n", once.display(), real.display()));
}

#[test]
fn what_happens_between_the_checks_defers_the_file() {
    let living = Living::start();
    let entry = format!("{{\"sessionId\":\"{A}\",\"procStart\":\"{}\"}}", living.began());
    for (what, expected) in [("printf 'more\\n' >>$T", Outcome::Changed), ("printf '%s' '$ENTRY' >$S", Outcome::Live)] {
        let far = with_transcript(Tools::Dash).unwrap();
        let target = far.claude.join("projects").join(transcript(A));
        let registered = far.claude.join(format!("sessions/{}.json", living.pid()));
        let what = what.replace("$ENTRY", &entry).replace("$T", target.to_str().unwrap()).replace("$S", registered.to_str().unwrap());
        interfering(&far, "sync", &what);
        let inode = target.metadata().unwrap().ino();
        let create = far.file(2, Operation::Create, &transcript(B), b"x\n", b"x\n");
        let answer = put(&far, vec![append(&far), create]);
        assert_eq!(answer.outcomes[&1], expected);
        assert!(matches!(answer.outcomes[&2], Outcome::Done { .. }));
        assert_eq!(target.metadata().unwrap().ino(), inode);
        assert!(vault(&far).is_empty(), "a live file keeps no second name: {:?}", vault(&far));
    }
    let far = with_transcript(Tools::Dash).unwrap();
    interfering(&far, "sync", &format!("printf theirs >{}", far.claude.join("projects").join(transcript(B)).display()));
    let create = far.file(1, Operation::Create, &transcript(B), b"x\n", b"x\n");
    assert_eq!(put(&far, vec![create]).outcomes[&1], Outcome::Exists);
    assert_eq!(far.bytes(&transcript(B)), b"theirs");
}

#[test]
fn what_is_written_at_the_last_moment_is_in_the_vault_and_reported() {
    let far = with_transcript(Tools::Dash).unwrap();
    let target = far.claude.join("projects").join(transcript(A));
    interfering(&far, "mv", &format!("printf 'late\\n' >>{}", target.display()));
    let answer = put(&far, vec![append(&far)]);
    let Outcome::Done { grew: Some(grown), .. } = &answer.outcomes[&1] else { panic!("{answer:?}") };
    assert_eq!((grown.size, vault(&far)), (9, vec![grown.name.as_str().to_owned()]));
    assert_eq!(std::fs::read(far.claude.join(".claude-session-sync/vault").join(grown.name.as_str())).unwrap(), b"one\nlate\n");
    assert_eq!(far.bytes(&transcript(A)), b"one\ntwo\n");
}

#[test]
fn what_a_link_led_to_for_a_moment_is_neither_kept_nor_reason_enough_to_displace() {
    let far = with_transcript(Tools::Dash).unwrap();
    let outside = far.home.path().join("outside");
    std::fs::write(&outside, "not a session").unwrap();
    // As if the project directory had been exchanged for a link while the old file got its second name.
    let ln = program("ln").unwrap().display().to_string();
    far.tool("ln", &format!("#!/bin/sh\ncase $2 in */vault/*) exec {ln} '{}' \"$2\" ;; *) exec {ln} \"$@\" ;; esac\n", outside.display()));
    assert_eq!(put(&far, vec![append(&far)]).outcomes[&1], Outcome::Changed);
    assert_eq!((far.bytes(&transcript(A)), vault(&far)), (b"one\n".to_vec(), Vec::<String>::new()));
    assert_eq!(std::fs::read(&outside).unwrap(), b"not a session");
}

#[test]
fn a_link_that_takes_the_place_of_a_directory_on_the_way_leads_no_directory_elsewhere() {
    for tools in [Tools::Dash, Tools::Bash] {
        let Some(far) = with_transcript(tools) else { continue };
        let (outside, project) = (far.home.path().join("outside"), far.claude.join("projects/-q"));
        std::fs::create_dir(&outside).unwrap();
        let exchange = format!("mv {0} {1}.was; ln -s {1} {0}", project.display(), outside.display());
        far.tool("mkdir", &format!("#!/bin/sh\ncase $* in *./{B}) {exchange} ;; esac\nexec {} \"$@\"\n", program("mkdir").unwrap().display()));
        let create = far.file(1, Operation::Create, &format!("-q/{B}/subagents/agent-1.jsonl"), b"x\n", b"x\n");
        assert_eq!(put(&far, vec![create]).outcomes[&1], Outcome::Failed("symlink".to_owned()), "{tools:?}");
        assert!(project.is_symlink() && std::fs::read_dir(outside).unwrap().next().is_none(), "{tools:?}");
    }
}
