//! PUT: what is installed, what is left alone, and what lies where afterwards.

use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::process::Command;

use claude_session_sync::codespace::wire::{Dropped, Nonce, Operation, Outcome, PutAnswer, PutFile, PutRequest, Request, VaultDrop, WireError};

use crate::mounts::Mounted;
use crate::remote_far::{Far, TOOLS, Tools, names, open, program, remote_command, sha256, skip, skip_unless_root, wait};
use crate::remote_script::{A, Living};

pub(crate) const B: &str = "7f869d7b-ce51-4e00-8a05-674dde6aa368";

pub(crate) fn transcript(id: &str) -> String {
    format!("-p/{id}.jsonl")
}

/// A far side with one transcript, an hour old, and a registry.
pub(crate) fn with_transcript(tools: Tools) -> Option<Far> {
    let far = Far::with("dash", tools)?;
    far.plant(&transcript(A), b"one\n");
    std::fs::create_dir(far.claude.join("sessions")).unwrap();
    Some(far)
}

/// Replaces the transcript by its listed bytes and one more line.
pub(crate) fn append(far: &Far) -> PutFile {
    let operation = Operation::Replace { token: far.listed(&transcript(A)).token, base: 4 };
    far.file(1, operation, &transcript(A), b"two\n", b"one\ntwo\n")
}

pub(crate) fn put(far: &Far, files: Vec<PutFile>) -> PutAnswer {
    far.put(&PutRequest { files, ..far.nothing() }).unwrap()
}

pub(crate) fn vault(far: &Far) -> Vec<String> {
    names(&far.claude.join(".claude-session-sync/vault"))
}

#[test]
fn a_file_that_is_not_what_was_listed_is_left_alone() {
    for tools in TOOLS {
        let Some(far) = with_transcript(tools) else { continue };
        let target = far.claude.join("projects").join(transcript(A));
        let file = append(&far);
        let mut whole = far.file(2, file.operation.clone(), &transcript(A), b"new\n", b"new\n");
        whole.operation = Operation::Replace { token: far.listed(&transcript(A)).token, base: 0 };
        std::fs::File::options().append(true).open(&target).unwrap().write_all(b"more\n").unwrap();
        assert_eq!(put(&far, vec![file.clone()]).outcomes[&1], Outcome::Changed);
        assert_eq!(put(&far, vec![whole.clone()]).outcomes[&2], Outcome::Changed);
        assert_eq!(far.bytes(&transcript(A)), b"one\nmore\n");
        far.plant("-p/x", b"one\n");
        std::fs::rename(far.claude.join("projects/-p/x"), &target).unwrap();
        assert_eq!(put(&far, vec![whole.clone()]).outcomes[&2], Outcome::Changed, "another inode with the same bytes");
        std::fs::remove_file(&target).unwrap();
        assert_eq!(put(&far, vec![file]).outcomes[&1], Outcome::Changed);
        symlink("elsewhere", &target).unwrap();
        assert_eq!(put(&far, vec![whole]).outcomes[&2], Outcome::Changed);
        assert!(target.is_symlink() && vault(&far).is_empty());
    }
}

#[test]
fn a_name_that_exists_is_not_created_over() {
    for tools in TOOLS {
        let Some(far) = with_transcript(tools) else { continue };
        std::fs::create_dir(far.claude.join("projects").join(transcript(B))).unwrap();
        let files = [A, B].iter().zip(1..).map(|(id, n)| far.file(n, Operation::Create, &transcript(id), b"new\n", b"new\n")).collect();
        let answer = put(&far, files);
        assert_eq!((&answer.outcomes[&1], &answer.outcomes[&2]), (&Outcome::Exists, &Outcome::Exists));
        assert_eq!(far.bytes(&transcript(A)), b"one\n");
        assert!(names(&far.claude.join("projects").join(transcript(B))).is_empty());
    }
}

#[test]
fn bytes_with_another_size_or_digest_are_bad_and_the_others_are_installed() {
    for tools in TOOLS {
        let Some(far) = with_transcript(tools) else { continue };
        let wrong = PutFile { sha256: sha256(b"other"), ..append(&far) };
        let create = PutFile { sha256: [0; 32], ..far.file(2, Operation::Create, &transcript(B), b"x\n", b"x\n") };
        let good = far.file(3, Operation::Create, &format!("-p/{B}/a.txt"), b"good", b"good");
        let answer = put(&far, vec![wrong, create, good]);
        assert_eq!((&answer.outcomes[&1], &answer.outcomes[&2]), (&Outcome::Bad, &Outcome::Bad), "{tools:?}");
        assert!(matches!(answer.outcomes[&3], Outcome::Done { .. }));
        assert_eq!((far.bytes(&transcript(A)), names(&far.claude.join("projects/-p"))), (b"one\n".to_vec(), vec![transcript(A)[3..].to_owned(), B.to_owned()]));
        assert!(vault(&far).is_empty());
    }
}

#[test]
fn nothing_of_a_live_session_is_touched() {
    for tools in TOOLS {
        let Some(far) = with_transcript(tools) else { continue };
        let living = Living::start();
        living.entry(&far, &format!("{{\"sessionId\":\"{A}\",\"procStart\":\"{}\"}}", living.began()));
        let side = far.file(2, Operation::Create, &format!("-p/{A}/a.txt"), b"x", b"x");
        let other = far.file(3, Operation::Create, &transcript(B), b"x\n", b"x\n");
        let answer = put(&far, vec![append(&far), side, other.clone()]);
        assert_eq!((&answer.outcomes[&1], &answer.outcomes[&2]), (&Outcome::Live, &Outcome::Live), "{tools:?}");
        assert!(matches!(answer.outcomes[&3], Outcome::Done { .. }));
        assert_eq!(far.bytes(&transcript(A)), b"one\n");
        living.entry(&far, &format!("{{\"sessionId\":\"{A}\",\"procStart\":\"1\"}}"));
        assert!(matches!(put(&far, vec![append(&far)]).outcomes[&1], Outcome::Done { .. }), "the pid is another process's now");
    }
}

#[test]
fn without_a_registry_a_young_file_counts_as_live() {
    for tools in TOOLS {
        let Some(far) = Far::with("dash", tools) else { continue };
        let target = far.plant(&transcript(A), b"one\n");
        std::fs::write(&target, "one\n").unwrap();
        assert_eq!(put(&far, vec![append(&far)]).outcomes[&1], Outcome::Live);
        std::fs::create_dir(far.claude.join("sessions")).unwrap();
        assert!(matches!(put(&far, vec![append(&far)]).outcomes[&1], Outcome::Done { .. }), "a registry that does not name it says that it rests");
    }
}

#[test]
fn a_symlinked_directory_on_the_way_is_not_entered() {
    for tools in TOOLS {
        let Some(far) = with_transcript(tools) else { continue };
        let outside = far.home.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        symlink(&outside, far.claude.join("projects/-q")).unwrap();
        std::fs::create_dir(far.claude.join("projects/-p").join(B)).unwrap();
        symlink(&outside, far.claude.join("projects/-p").join(B).join("subagents")).unwrap();
        let paths = [format!("-q/{B}.jsonl"), format!("-p/{B}/subagents/agent-1.jsonl")];
        let files = paths.iter().zip(1..).map(|(path, n)| far.file(n, Operation::Create, path, b"x", b"x")).collect();
        let failed = Outcome::Failed("symlink".to_owned());
        assert_eq!(put(&far, files).outcomes.into_values().collect::<Vec<_>>(), [failed.clone(), failed]);
        assert!(names(&outside).is_empty());
        std::fs::rename(far.claude.join(".claude-session-sync"), outside.join("own")).unwrap();
        symlink(outside.join("own"), far.claude.join(".claude-session-sync")).unwrap();
        assert!(far.put(&far.nothing()).unwrap_err().to_string().ends_with("is a symbolic link"));
    }
}

#[test]
fn a_store_of_another_user_is_left_alone_even_by_root() {
    for tools in TOOLS {
        let Some(far) = with_transcript(tools) else { continue };
        let files = vec![append(&far)];
        let projects = far.claude.join("projects");
        if chown(&projects, Some(65534), None).is_err() {
            return skip_unless_root("the store of another user", "files cannot be given away");
        }
        // In a home of root's own it may be a directory of the host.
        assert!(far.put(&far.nothing()).is_ok());
        std::fs::remove_dir_all(far.claude.join(".claude-session-sync")).unwrap();
        chown(far.home.path(), Some(65534), None).unwrap();
        let told = far.put(&PutRequest { files, ..far.nothing() }).unwrap_err().to_string();
        assert!(told.ends_with("projects belongs to another user than the one who is logged in there"), "{told}");
        assert_eq!((far.bytes(&transcript(A)), far.claude.join(".claude-session-sync").exists()), (b"one\n".to_vec(), false));
    }
}

#[test]
fn where_hard_links_are_refused_copies_are_kept_and_names_are_moved() {
    let far = with_transcript(Tools::Dash).unwrap();
    far.tool("ln", "#!/bin/sh\necho 'ln: operation not permitted' >&2\nexit 1\n");
    let create = far.file(2, Operation::Create, &transcript(B), b"x\n", b"x\n");
    let answer = put(&far, vec![append(&far), create]);
    assert!(answer.outcomes.values().all(|outcome| matches!(outcome, Outcome::Done { grew: None, .. })), "{answer:?}");
    assert_eq!((far.bytes(&transcript(A)), far.bytes(&transcript(B))), (b"one\ntwo\n".to_vec(), b"x\n".to_vec()));
    assert_eq!(std::fs::read(far.claude.join(".claude-session-sync/vault").join(&vault(&far)[0])).unwrap(), b"one\n");
}

#[test]
fn the_id_of_a_store_is_written_once() {
    for tools in TOOLS {
        let Some(far) = Far::with("dash", tools) else { continue };
        std::fs::remove_dir(&far.claude).unwrap();
        let id = |text: &str| Some(text.parse().unwrap());
        assert_eq!(far.put(&far.nothing()).unwrap().replica, None);
        for offered in [A, B] {
            assert_eq!(far.put(&PutRequest { replica: id(offered), ..far.nothing() }).unwrap().replica, id(A));
        }
        assert!(!far.claude.join("projects").exists(), "nothing was to be installed");
        let own = far.claude.join(".claude-session-sync");
        assert_eq!(std::fs::read(own.join("replica-id")).unwrap(), A.as_bytes());
        for directory in [&far.claude, &own, &own.join("vault"), &own.join("stage")] {
            assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        }
        std::fs::write(own.join("replica-id"), "").unwrap();
        assert_eq!(far.put(&PutRequest { replica: id(B), ..far.nothing() }).unwrap().replica, id(B), "a power cut can leave an empty file");
    }
}

#[test]
fn a_vault_object_goes_only_at_the_size_that_was_listed() {
    for tools in TOOLS {
        let Some(far) = with_transcript(tools) else { continue };
        put(&far, vec![append(&far)]);
        let object = far.list().vault.remove(0);
        let drop = |size| PutRequest { drops: vec![VaultDrop { name: object.name.clone(), size }], ..far.nothing() };
        assert_eq!(far.put(&drop(object.size + 1)).unwrap().drops[&object.name], Dropped::Kept);
        assert_eq!(vault(&far).len(), 1);
        assert_eq!(far.put(&drop(object.size)).unwrap().drops[&object.name], Dropped::Done);
        assert_eq!(far.put(&drop(object.size)).unwrap().drops[&object.name], Dropped::Kept, "it is gone already");
        assert!(vault(&far).is_empty());
    }
}

#[test]
fn a_request_cut_anywhere_leaves_the_old_file_or_the_new_one_and_an_empty_stage() {
    let far = with_transcript(Tools::Dash).unwrap();
    let mut whole = Vec::new();
    let file = append(&far);
    Request::Put(PutRequest { files: vec![file], ..far.nothing() }).write(&Nonce::random(), &mut whole).unwrap();
    for cut in (0..whole.len()).step_by(331) {
        let nonce = Nonce::random();
        let mut request = format!("put {}\n", nonce.as_str()).into_bytes();
        request.extend_from_slice(whole.get(request.len()..cut).unwrap_or_default());
        Far::talk(far.command(), request);
        let bytes = far.bytes(&transcript(A));
        assert!(bytes == b"one\n" || bytes == b"one\ntwo\n", "cut at {cut}: {bytes:?}");
        assert!(names(&far.claude.join(".claude-session-sync/stage")).is_empty());
    }
}

#[test]
fn a_client_that_goes_away_leaves_no_stage_and_no_lock() {
    let far = with_transcript(Tools::Dash).unwrap();
    let mut child = far.command().spawn().unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    let _refused = Request::Put(PutRequest { files: vec![append(&far)], ..far.nothing() }).write(&Nonce::random(), &mut stdin);
    drop(stdin);
    child.wait().unwrap();
    assert!(names(&far.claude.join(".claude-session-sync/stage")).is_empty());
    far.put(&far.nothing()).unwrap();
}

#[test]
fn a_second_writer_waits_for_the_first() {
    if program("flock").is_none() {
        return skip("the far lock", "no flock here");
    }
    let far = with_transcript(Tools::Dash).unwrap();
    far.put(&far.nothing()).unwrap();
    let file = append(&far);
    let lock = std::fs::File::open(far.claude.join(".claude-session-sync/lock")).unwrap();
    let lock = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive).map_err(|(_, error)| error).unwrap();
    let waited = far.home.path().join("waited");
    far.tool("sleep", &format!("#!/bin/sh\n: >>{}\nexec {} 0.05\n", waited.display(), program("sleep").unwrap().display()));
    let mut child = far.command().spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    Request::Put(PutRequest { files: vec![file], ..far.nothing() }).write(&Nonce::random(), &mut stdin).unwrap();
    drop(stdin);
    while !waited.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it must wait for the lock");
        std::thread::yield_now();
    }
    assert_eq!(far.bytes(&transcript(A)), b"one\n");
    drop(lock);
    let mut answer = String::new();
    child.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
    child.wait().unwrap();
    assert_eq!(far.bytes(&transcript(A)), b"one\ntwo\n", "{answer}");
}

#[test]
fn a_session_that_lies_in_another_directory_is_not_created_a_second_time() {
    let far = with_transcript(Tools::Dash).unwrap();
    let side = format!("-q/{A}/note.txt");
    let files = vec![far.file(1, Operation::Create, &side, b"n", b"n"), far.file(2, Operation::Create, &format!("-q/{A}.jsonl"), b"x\n", b"x\n")];
    let answer = far.put(&PutRequest { files, ..far.nothing() }).unwrap();
    assert_eq!((&answer.outcomes[&1], &answer.outcomes[&2]), (&Outcome::Exists, &Outcome::Exists));
    assert_eq!(far.list().files.len(), 1);
}

#[test]
fn a_full_disk_is_said_and_changes_nothing() {
    for tools in TOOLS {
        let Some(far) = Far::with("dash", tools) else { continue };
        let Some(disk) = Mounted::small(&far.claude, "1m") else { return skip_unless_root("the full disk", "cannot mount a tmpfs here") };
        far.plant(&transcript(A), &vec![b'a'; 400_000]);
        std::fs::create_dir(far.claude.join("sessions")).unwrap();
        let big = vec![b'x'; 2_000_000];
        let request = PutRequest { files: vec![far.file(1, Operation::Create, &transcript(B), &big, &big)], ..far.nothing() };
        let failed = far.put(&request).unwrap_err();
        assert!(matches!(&failed, WireError::Far(text) if text.starts_with("cannot unpack: disk full: ")), "{tools:?}: {failed}");

        let needy = PutRequest { need_kib: Some(5000), files: vec![far.file(1, Operation::Create, &transcript(B), b"x", b"x")], ..far.nothing() };
        let failed = far.put(&needy).unwrap_err();
        assert!(matches!(&failed, WireError::Far(text) if text.starts_with("disk full: ") && text.ends_with("5000 needed")), "{tools:?}: {failed}");

        let data = vec![b'b'; 400_000];
        let whole = [vec![b'a'; 400_000], data.clone()].concat();
        let operation = Operation::Replace { token: far.listed(&transcript(A)).token, base: 400_000 };
        let answer = far.put(&PutRequest { files: vec![far.file(1, operation, &transcript(A), &data, &whole)], ..far.nothing() }).unwrap();
        assert!(matches!(&answer.outcomes[&1], Outcome::Failed(text) if text.starts_with("disk full: ")), "{tools:?}: {answer:?}");
        assert_eq!(far.list().files.len(), 1);
        assert_eq!(far.bytes(&transcript(A)), vec![b'a'; 400_000]);
        assert!(vault(&far).is_empty());
        std::mem::drop(disk);
    }
}

/// The same, with `projects/` on a device of its own; `None` where none can be mounted, which is said.
pub(crate) fn with_projects_abroad(tools: Tools) -> Option<(Far, Mounted)> {
    let far = Far::with("dash", tools)?;
    let other = far.home.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let Some(disk) = Mounted::small(&other, "4m") else {
        skip_unless_root("projects/ on another device", "cannot mount a tmpfs here");
        return None;
    };
    symlink(&other, far.claude.join("projects")).unwrap();
    std::fs::create_dir(far.claude.join("sessions")).unwrap();
    far.plant(&transcript(A), b"one\n");
    Some((far, disk))
}

#[test]
fn projects_on_another_device_are_written_as_safely() {
    for tools in TOOLS {
        let Some((far, disk)) = with_projects_abroad(tools) else { continue };
        let other = disk.at();
        let create = far.file(2, Operation::Create, &format!("-new/{B}/a/b.txt"), b"x\n", b"x\n");
        let bad = PutFile { sha256: [0; 32], ..far.file(3, Operation::Create, &transcript(B), b"x\n", b"x\n") };
        let answer = put(&far, vec![append(&far), create, bad]);
        assert!(matches!((&answer.outcomes[&1], &answer.outcomes[&2]), (Outcome::Done { .. }, Outcome::Done { .. })), "{answer:?}");
        assert_eq!(far.bytes(&transcript(A)), b"one\ntwo\n");
        assert_eq!((names(&other.join("-p")), names(&other.join(format!("-new/{B}/a")))), (vec![transcript(A)[3..].to_owned()], vec!["b.txt".to_owned()]));
        assert_eq!(vault(&far).len(), 1);
        std::mem::drop(disk);
    }
}

#[test]
fn a_put_of_many_files_starts_few_processes() {
    let Some(strace) = program("strace") else { return skip("the count of processes", "no strace here") };
    let far = Far::new();
    std::fs::create_dir(far.claude.join("sessions")).unwrap();
    let id = |n: u32| format!("{n:08x}-ce51-4e00-8a05-674dde6aa368");
    let count = 40;
    (0..count).for_each(|n| drop(far.plant(&transcript(&id(n)), b"one\n")));
    let listed = far.list().files;
    let appended = listed.iter().zip(0..).map(|(file, n)| {
        let operation = Operation::Replace { token: file.token.clone(), base: 4 };
        far.file(n, operation, &file.path.to_string(), b"two\n", b"one\ntwo\n")
    });
    let created = (count..2 * count).map(|n| far.file(n, Operation::Create, &transcript(&id(n)), b"one\n", b"one\n"));
    for (files, most) in [(appended.collect::<Vec<_>>(), 6), (created.collect(), 1)] {
        let log = far.home.path().join("strace");
        let mut command = Command::new(&strace);
        command.args(["-f", "-qq", "-e", "trace=execve", "-e", "signal=none", "-z", "-o"]).arg(&log);
        command.arg(program("dash").unwrap()).args(["-c", &remote_command()]);
        far.dress(&mut command);
        let request = PutRequest { files, ..far.nothing() };
        let nonce = Nonce::random();
        let mut bytes = Vec::new();
        Request::Put(request.clone()).write(&nonce, &mut bytes).unwrap();
        let answer = Far::talk(command, bytes);
        let answer = wait(async { PutAnswer::read(&mut open(&answer, &nonce).await?, &request).await }).unwrap();
        assert!(answer.outcomes.values().all(|outcome| matches!(outcome, Outcome::Done { grew: None, .. })), "{answer:?}");
        let processes: usize = std::fs::read_to_string(log).unwrap().lines().filter(|line| line.contains("execve(")).count();
        assert!(processes >= count as usize, "{processes} processes were seen at all");
        assert!(processes <= most * count as usize + 80, "{processes} processes for {count} files");
    }
}
