//! How much an answer may hold, and how long it may take.

use std::time::Duration;

use claude_session_sync::codespace::wire::{Answer, FarPath, Hashes, Listing, Nonce, PutAnswer, PutRequest, Range, WireError};
use tokio::io::AsyncWriteExt;

use crate::remote_far::{open, wait};
use crate::wire_answers::{TRANSCRIPT, answer, listing};

#[test]
fn as_much_as_may_come_is_waited_for_and_a_byte_more_is_not() {
    // What stands before the item, its kind, and its bound; none of its bytes ever come.
    let cwds = "claude 2\n/creplica 0\nclock 1\n1retention 0\nlive 4\nnonefiles 0\nodd 0\n";
    let files = cwds.trim_end_matches("files 0\nodd 0\n");
    for (before, kind, bound) in [("", "fail", 64 << 10), ("", "claude", 4096), (files, "files", 64 << 20), (cwds, "cwds", 4 << 20)] {
        for (length, expected) in [
            (bound, "the far side's answer ended early".to_owned()),
            (bound + 1, format!("the far side's item `{kind}` of {} bytes is beyond its bound", bound + 1)),
        ] {
            let nonce = Nonce::random();
            let bytes = format!("css1 {}\n{before}{kind} {length}\n", nonce.as_str());
            let error = wait(async { Listing::read(&mut open(bytes.as_bytes(), &nonce).await?).await }).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
    let nothing = PutRequest { claude: "/c".to_owned(), replica: None, agent: None, need_kib: None, files: Vec::new(), drops: Vec::new(), forgets: Vec::new() };
    for (more, expected) in [(0, "the far side's answer ended early"), (1, "is beyond its bound")] {
        let nonce = Nonce::random();
        let bytes = format!("css1 {}\nhashes {}\n", nonce.as_str(), (64 << 20) + more);
        let error = wait(async { Hashes::read(&mut open(bytes.as_bytes(), &nonce).await?, &[]).await }).unwrap_err();
        assert!(error.to_string().ends_with(expected), "{error}");
        let bytes = format!("css1 {}\nreplica 0\noutcomes {}\n", nonce.as_str(), (16 << 20) + more);
        let error = wait(async { PutAnswer::read(&mut open(bytes.as_bytes(), &nonce).await?, &nothing).await }).unwrap_err();
        assert!(error.to_string().ends_with(expected), "{error}");
    }
    let banner = |length: usize| {
        let nonce = Nonce::random();
        let bytes = [vec![b'x'; length - 1], b"\n".to_vec(), answer(&nonce, &listing("", b""))].concat();
        wait(async { Listing::read(&mut open(&bytes, &nonce).await?).await })
    };
    assert!(banner(64 << 10).is_ok());
    assert!(matches!(banner((64 << 10) + 1), Err(WireError::NoMarker { .. })));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_drips_has_six_hours_at_most_and_these_only_if_bytes_paid_for_them() {
    for (paid, seconds) in [(0, 4), (10 << 10, 14), (40 << 20, 6 * 3600 + 4)] {
        let nonce = Nonce::random();
        let (mut far, near) = tokio::io::duplex(1 << 20);
        let began = tokio::time::Instant::now();
        let marker = format!("css1 {}\ndata {}\n", nonce.as_str(), 1_u64 << 40);
        let drips = async {
            far.write_all(marker.as_bytes()).await.unwrap();
            far.write_all(&vec![b'x'; paid]).await.unwrap();
            for _ in 0..100_000 {
                tokio::time::sleep(Duration::from_millis(900)).await;
                far.write_all(b"x").await.unwrap();
            }
        };
        let range = Range { path: FarPath::Store(TRANSCRIPT.parse().unwrap()), offset: 0, length: 1 << 40 };
        let read = async {
            let mut answer = Answer::open(near, &nonce, Duration::from_secs(1)).await?;
            answer.fetch(&range, &mut tokio::io::sink()).await
        };
        let error = tokio::select! {
            read = read => read.unwrap_err(),
            () = drips => unreachable!(),
        };
        let (took, late) = (began.elapsed().as_secs(), seconds + seconds / 500 + 1);
        assert!(matches!(error, WireError::TooSlow { .. }) && (seconds..=late).contains(&took), "{paid} bytes: {error} after {took} s");
    }
}

fn read(kind: &str, text: &str) -> Listing {
    let nonce = Nonce::random();
    let bytes = answer(&nonce, &listing(kind, text.as_bytes()));
    wait(async { Listing::read(&mut open(&bytes, &nonce).await?).await }).unwrap()
}

#[test]
fn as_many_lines_as_may_come_are_taken() {
    let lines = |count: usize, line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<Vec<_>>().join("\n");
    let id = |n: usize| format!("{n:08x}-ce51-4e00-8a05-674dde6aa368");
    assert_eq!(read("files", &lines(200_000, &|n| format!("1 2 3 4 -p/{}.jsonl", id(n)))).files.len(), 200_000);
    assert_eq!(read("roots", &lines(200, &|n| format!("/r{n}\tu"))).roots.len(), 200);
    let odd = read("odd", &lines(200, &|n| format!("l x{n}")));
    assert_eq!((odd.skipped.len(), odd.skipped_more), (200, 0));
    assert_eq!(read("pushed", &lines(2000, &|n| format!("{n} 2 3"))).pushed.len(), 2000);
    assert_eq!(read("agents", &lines(64, &|n| format!("5 {}", id(n)))).agents.len(), 64);
    assert_eq!(read("forgotten", &lines(Listing::MOST_FORGOTTEN, &id)).forgotten.len(), Listing::MOST_FORGOTTEN);
    let skipped = read("files", &lines(1001, &|_| "1 2 3 4 x".to_owned()));
    assert_eq!((skipped.skipped.len(), skipped.skipped_more), (1000, 1));
}

#[test]
fn what_is_no_file_of_a_session_is_told_by_its_kind_and_with_so_much_of_its_name() {
    let odd = read("odd", &format!("l a\np b\ns c\no d\nn {}", "é".repeat(300)));
    let told: Vec<_> = odd.skipped.iter().map(|skipped| (skipped.name.chars().count(), skipped.why.as_str())).collect();
    let expected = [(1, "is a symbolic link"), (1, "is a pipe"), (1, "is a socket"), (1, "is no regular file"), (256, "has a newline in its name")];
    assert_eq!(told, expected);
}

#[test]
fn clients_that_are_open_say_when_and_what_they_do() {
    let said = |status: &str| format!("registry\n6f869d7b-ce51-4e00-8a05-674dde6aa368 17 {status}");
    let told = |status: &str| read("live", &said(status)).live.into_iter().map(|live| (live.updated_at, live.status)).collect::<Vec<_>>();
    assert_eq!(told("-"), [(17, None)]);
    for status in ["busy", "a_b-C", &"x".repeat(32)] {
        assert_eq!(told(status), [(17, Some(status.to_owned()))]);
    }
    let nonce = Nonce::random();
    let bytes = answer(&nonce, &listing("live", said(&"x".repeat(33)).as_bytes()));
    assert!(wait(async { Listing::read(&mut open(&bytes, &nonce).await?).await }).is_err());
    assert!(!read("live", "none").registry && read("live", "registry").registry);
}

#[test]
fn an_item_is_read_before_the_next_is_asked_for() {
    let nonce = Nonce::random();
    let bytes = answer(&nonce, &[("one", b"1"), ("two", b"")]);
    let error = wait(async {
        let mut answer = open(&bytes, &nonce).await?;
        assert_eq!(answer.next_item().await?.map(|header| header.length), Some(1));
        answer.next_item().await
    });
    assert_eq!(error.unwrap_err().to_string(), "the far side's answer breaks the protocol: the item before was not read");
}
