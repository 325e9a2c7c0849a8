//! PUT, while somebody else works in the same store: whatever happens between a look and what is done after it.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use claude_session_sync::codespace::wire::{Nonce, Operation, Outcome, PutAnswer, PutRequest, Request};

use crate::remote_far::{Far, TOOLS, Tools, names, open, program, wait};
use crate::remote_put::{B, append, put, transcript, vault, with_projects_abroad, with_transcript};
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
fn what_is_deleted_between_the_checks_stays_deleted() {
    let far = with_transcript(Tools::Dash).unwrap();
    let target = far.claude.join("projects").join(transcript(A));
    interfering(&far, "sync", &format!("rm {}", target.display()));
    assert_eq!(put(&far, vec![append(&far)]).outcomes[&1], Outcome::Changed);
    assert!(!target.exists());
    assert_eq!(vault(&far).len(), 1, "what was kept of it stays kept");
}

#[test]
fn what_is_written_right_after_is_not_taken_for_what_was_put() {
    let far = with_transcript(Tools::Dash).unwrap();
    let target = far.claude.join("projects").join(transcript(A));
    let mv = program("mv").unwrap();
    far.tool(
        "mv",
        &format!(
            "#!/bin/sh\n{} \"$@\" || exit\n[ -e {2} ] || printf 'late\\n' >>{1}; : >{2}\n",
            mv.display(),
            target.display(),
            far.home.path().join("once").display()
        ),
    );
    let create = far.file(2, Operation::Create, &transcript(B), b"x\n", b"x\n");
    let answer = put(&far, vec![append(&far), create]);
    let Outcome::Done { token, .. } = &answer.outcomes[&1] else { panic!("{answer:?}") };
    assert_eq!((token.stamp().size, far.bytes(&transcript(A))), (13, b"one\ntwo\nlate\n".to_vec()), "who asked sees that it is not what was sent");
    let pushed: Vec<_> = far.list().pushed.iter().map(|pushed| pushed.size).collect();
    assert_eq!(pushed, [2], "somebody writes there");
}

/// There the vault holds a copy, which does not grow by itself.
#[test]
fn what_is_written_at_the_last_moment_is_in_the_vault_across_devices_too() {
    for tools in [Tools::Dash, Tools::Bash] {
        let Some((far, disk)) = with_projects_abroad(tools) else { continue };
        let other = disk.at();
        interfering(&far, "mv", &format!("printf 'late\\n' >>{}", other.join(transcript(A)).display()));
        let answer = put(&far, vec![append(&far)]);
        let Outcome::Done { grew: Some(grown), .. } = &answer.outcomes[&1] else { panic!("{tools:?}: {answer:?}") };
        assert_eq!((grown.size, vault(&far)), (9, vec![grown.name.as_str().to_owned()]));
        assert_eq!(std::fs::read(far.claude.join(".claude-session-sync/vault").join(grown.name.as_str())).unwrap(), b"one\nlate\n");
        assert_eq!((far.bytes(&transcript(A)), names(&other.join("-p")).len()), (b"one\ntwo\n".to_vec(), 1), "{tools:?}");
        std::mem::drop(disk);
    }
}

#[test]
fn an_entry_that_is_being_written_keeps_every_session_as_it_is_for_a_while() {
    for tools in TOOLS {
        let Some(far) = with_transcript(tools) else { continue };
        let living = Living::start();
        for torn in ["", "{\"pid\":12"] {
            living.entry(&far, torn);
            assert_eq!(put(&far, vec![append(&far)]).outcomes[&1], Outcome::Live, "{tools:?}: {torn:?}");
        }
        let entry = far.claude.join(format!("sessions/{}.json", living.pid()));
        std::fs::File::options().write(true).open(&entry).unwrap().set_modified(std::time::SystemTime::now() - Duration::from_secs(600)).unwrap();
        assert!(matches!(put(&far, vec![append(&far)]).outcomes[&1], Outcome::Done { .. }), "{tools:?}: it stays torn");
    }
}

/// The far side's own environment decides nothing.
#[test]
fn no_variable_that_happens_to_be_set_there_changes_what_is_done() {
    for tools in TOOLS {
        let Some(far) = with_transcript(tools) else { continue };
        let (request, nonce) = (PutRequest { files: vec![append(&far)], ..far.nothing() }, Nonce::random());
        let (mut command, bytes) = far.asking(&Request::Put(request.clone()), &nonce);
        for name in ["flags", "limit", "unasked", "abroad", "locked", "alone", "now", "ids", "lines", "stage", "session", "IFS", "GREP_OPTIONS", "TAR_OPTIONS"]
        {
            command.env(name, "x");
        }
        let answer = Far::talk(command, bytes);
        let answer = wait(async { PutAnswer::read(&mut open(&answer, &nonce).await?, &request).await }).unwrap();
        assert!(matches!(answer.outcomes[&1], Outcome::Done { .. }), "{tools:?}: {answer:?}");
    }
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
