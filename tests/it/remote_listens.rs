//! A script that listens: all that a visit asks goes on one channel, whatever tools are there, and nothing else is taken for a request.

use std::time::Duration;

use claude_session_sync::codespace::replica::{Far as Replicated, HashWant, Parcel, Range, Replica as _};
use claude_session_sync::codespace::ssh::{Connection, Target};
use claude_session_sync::codespace::wire::{FarPath, Operation, Outcome};
use claude_session_sync::reconcile::transcript::Digest;

use crate::remote_far::{Far, TOOLS, Tools, program, sha256, skip};
use crate::remote_script::A;
use crate::wait::until;
use crate::way::{setting, short_directory};

const B: &str = "7f869d7b-ce51-4e00-8a05-674dde6aa368";
const TEXT: &[u8] = b"{\"cwd\":\"/p\"}\nmore\n";

fn path(id: &str) -> String {
    format!("-p/{id}.jsonl")
}

fn whole(id: &str) -> HashWant {
    HashWant { path: FarPath::Store(path(id).parse().unwrap()), first: None }
}

/// A store with a transcript, as a machine that a command leads to.
async fn machine(far: &Far) -> Replicated {
    machine_by(far, far.way()).await
}

/// The same, by this command.
async fn machine_by(far: &Far, way: Vec<String>) -> Replicated {
    far.plant(&path(A), TEXT);
    let run = short_directory();
    let connection = Connection::open(Target::Command(way), &setting(run.path(), None)).await.unwrap();
    Replicated::new(connection, Some(far.name()), Some("/nowhere".to_owned()))
}

/// What a put takes along that creates a session.
fn parcel(far: &Far, bytes: &[u8]) -> Parcel {
    Parcel { files: vec![far.file(1, Operation::Create, &path(B), bytes, bytes)], ..Parcel::default() }
}

async fn digest(machine: &mut Replicated) -> Option<Digest> {
    machine.digests(&[whole(A)]).await.unwrap().find(&whole(A).path, None)
}

#[tokio::test]
async fn all_of_a_visit_is_asked_on_one_channel() {
    for tools in TOOLS {
        let Some(far) = Far::with("dash", tools) else {
            skip("a visit on one channel", &format!("no {tools:?} here"));
            continue;
        };
        let mut machine = machine(&far).await;
        let listing = machine.list(&[], Some(B.parse().unwrap())).await.unwrap();
        assert_eq!(listing.files.len(), 1, "{tools:?}");
        assert_eq!(digest(&mut machine).await, Some(Digest(sha256(TEXT))), "{tools:?}");
        let range = Range { path: whole(A).path, offset: 3, length: 4 };
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut getting = machine.get(std::slice::from_ref(&range)).await.unwrap();
        assert!(getting.next(&range, file.reopen().unwrap()).await.unwrap());
        getting.finish().await.unwrap();
        assert_eq!(std::fs::read(file.path()).unwrap(), &TEXT[3..7], "{tools:?}");
        let again = machine.list(&[], None).await.unwrap();
        assert_eq!(again.files, listing.files, "{tools:?}");
        let answer = machine.put(parcel(&far, b"new\n"), B.parse().unwrap(), 1).await.unwrap();
        assert!(matches!(answer.outcomes[&1], Outcome::Done { .. }), "{tools:?}: {:?}", answer.outcomes);
        assert_eq!(far.bytes(&path(B)), b"new\n");
        assert_eq!(machine.counts().channels, 1, "{tools:?}");
        // A put ends its channel.
        assert_eq!(machine.list(&[], None).await.unwrap().files.len(), 2);
        assert_eq!(machine.counts().channels, 2, "{tools:?}");
    }
}

#[tokio::test]
async fn a_tool_that_reads_what_lies_before_it_takes_no_request() {
    let far = Far::new();
    let taken = far.home.path().join("taken");
    far.tool("sha256sum", &format!("#!/bin/sh\ncat >>{}\nexec {} \"$@\"\n", taken.display(), program("sha256sum").unwrap().display()));
    let mut machine = machine(&far).await;
    assert_eq!(machine.list(&[], None).await.unwrap().files.len(), 1);
    assert_eq!(digest(&mut machine).await, Some(Digest(sha256(TEXT))));
    assert_eq!(machine.counts().channels, 1);
    assert_eq!(std::fs::read(taken).unwrap(), b"");
}

/// So much time passes.
async fn stands(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_channel_on_which_nobody_may_listen_any_more_is_left_alone() {
    let far = Far::new();
    let mut machine = machine(&far).await;
    machine.list(&[], None).await.unwrap();
    for (seconds, channels) in [(299, 1), (301, 2)] {
        stands(seconds).await;
        assert_eq!(digest(&mut machine).await, Some(Digest(sha256(TEXT))));
        assert_eq!(machine.counts().channels, channels, "after {seconds} s");
    }
}

/// Nobody listens for longer than a second.
fn impatient(far: &Far) {
    let timeout = program("timeout").unwrap();
    far.tool("timeout", &format!("#!/bin/sh\nshift\nexec {} 1 \"$@\"\n", timeout.display()));
}

#[tokio::test]
async fn what_is_asked_of_a_script_that_ended_is_asked_once() {
    let far = Far::new();
    let ended = far.home.path().join("ended");
    impatient(&far);
    // What carries the channel stays, so here nobody knows.
    let carrier = format!("\"$@\"; : >{}; exec sleep 2 >/dev/null 2>&1", ended.display());
    let mut machine = machine_by(&far, [far.way(), ["sh", "-c", &carrier, "sh"].map(str::to_owned).to_vec()].concat()).await;
    machine.list(&[], None).await.unwrap();
    until("nobody listens", || ended.exists()).await;
    let error = machine.put(parcel(&far, b"new\n"), B.parse().unwrap(), 1).await.unwrap_err();
    assert_eq!(error.to_string(), "the far side's answer ended early");
    assert_eq!(machine.counts().channels, 1);
    assert!(!far.claude.join("projects").join(path(B)).exists());
    // The next visit has another channel.
    assert_eq!(digest(&mut machine).await, Some(Digest(sha256(TEXT))));
    assert_eq!(machine.counts().channels, 2);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_channel_that_is_known_to_have_ended_is_left_alone() {
    let far = Far::new();
    impatient(&far);
    let mut machine = machine(&far).await;
    machine.list(&[], None).await.unwrap();
    until("all of it has ended", || crate::wait::living_with(far.home.path()).is_empty()).await;
    let answer = machine.put(parcel(&far, b"new\n"), B.parse().unwrap(), 1).await.unwrap();
    assert!(matches!(answer.outcomes[&1], Outcome::Done { .. }), "{:?}", answer.outcomes);
    assert_eq!(machine.counts().channels, 2);
}

#[tokio::test]
async fn who_dies_in_an_answer_is_missed_at_once_and_says_why() {
    let far = Far::new();
    let mut machine = machine(&far).await;
    machine.list(&[], None).await.unwrap();
    // The first program that an answer starts has the shell that answers as its parent.
    far.tool("stat", "#!/bin/sh\nkill -9 \"$PPID\"\n");
    let error = machine.digests(&[whole(A)]).await.unwrap_err();
    assert_eq!(error.to_string(), "the far side failed: the far side's answer ended early: Killed");
    assert_eq!(machine.counts().channels, 1);
}

#[tokio::test]
async fn where_the_listener_dies_the_rest_is_not_taken_for_another_request() {
    let far = Far::new();
    far.tool("timeout", "#!/bin/sh\nshift\n[ \"$1\" = sh ] || exec \"$@\"\nread -r first\nkill -9 $$\n");
    let mut machine = machine(&far).await;
    machine.list(&[], None).await.unwrap();
    let error = machine.digests(&[whole(A)]).await.unwrap_err();
    assert_eq!(error.to_string(), "the far side failed: the far side's answer ended early: Killed");
}

/// If the work of the shell grew with the square of what is asked, this would not end in time.
#[tokio::test]
async fn a_request_of_many_lines_is_answered_by_bash_too() {
    let Some(far) = Far::with("dash", Tools::Bash) else { return skip("a request of many lines", "no bash here") };
    let mut machine = machine(&far).await;
    machine.list(&[], None).await.unwrap();
    let many = |n: u32| {
        let path = format!("-p/{A}/tool-results/a-result-with-a-long-name-{n}.txt");
        HashWant { path: FarPath::Store(path.parse().unwrap()), first: None }
    };
    let wants: Vec<HashWant> = (0..40_000).map(many).chain([whole(A)]).collect();
    let hashes = machine.digests(&wants).await.unwrap();
    assert_eq!(hashes.find(&whole(A).path, None), Some(Digest(sha256(TEXT))));
    assert_eq!(hashes.find(&wants[0].path, None), None);
    assert_eq!(machine.counts().channels, 1);
}

#[tokio::test]
async fn what_carries_a_channel_may_do_what_it_does_at_its_end() {
    let far = Far::new();
    let ends = far.home.path().join("ends");
    let carrier = format!("trap 'sleep 0.2; echo end >>{}' EXIT; \"$@\"", ends.display());
    let mut machine = machine_by(&far, [far.way(), ["sh", "-c", &carrier, "sh"].map(str::to_owned).to_vec()].concat()).await;
    machine.list(&[], None).await.unwrap();
    machine.put(parcel(&far, b"new\n"), B.parse().unwrap(), 1).await.unwrap();
    assert_eq!(std::fs::read_to_string(&ends).unwrap(), "end\n", "behind a put");
    machine.list(&[], None).await.unwrap();
    Box::new(machine).close().await;
    assert_eq!(std::fs::read_to_string(&ends).unwrap(), "end\nend\n", "behind the last that was asked");
}

#[tokio::test]
async fn what_could_not_be_sent_is_said_and_not_what_the_far_side_made_of_it() {
    let far = Far::new();
    let mut machine = machine(&far).await;
    for _on_a_channel_of_its_own_and_behind_another in 0..2 {
        let error = machine.list(&["/a\nb".to_owned()], None).await.unwrap_err();
        assert_eq!(error.to_string(), "`/a\\nb` cannot be asked of the far side: it is no plain absolute path");
        machine.list(&[], None).await.unwrap();
    }
    let parcel = parcel(&far, b"new\n");
    std::fs::write(&parcel.files[0].data.path, b"ne").unwrap();
    let error = machine.put(parcel, B.parse().unwrap(), 1).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot read /") && error.to_string().ends_with("/to-send-1 to send it"), "{error}");
    assert!(!far.claude.join("projects").join(path(B)).exists());
}

#[tokio::test]
async fn who_answers_without_having_read_what_is_asked_keeps_nobody_waiting() {
    let far = Far::new();
    let mut machine = machine(&far).await;
    machine.list(&[], None).await.unwrap();
    let answer = "css1 %s\\nreplica 0\\noutcomes 5\\n1 badend %s\\n";
    far.tool("sh", &format!("#!/bin/dash\nread -r verb nonce\nprintf '{answer}' \"$nonce\" \"$nonce\"\nexec sleep 1000\n"));
    stands(301).await;
    let began = std::time::Instant::now();
    let error = machine.put(parcel(&far, &vec![b'x'; 1 << 20]), B.parse().unwrap(), 1).await.unwrap_err();
    assert!(error.to_string().contains("channel"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(40));
}
