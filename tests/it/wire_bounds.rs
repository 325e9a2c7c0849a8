//! How much an answer may hold, and how long it may take.

use std::time::Duration;

use claude_session_sync::codespace::wire::{Answer, FarPath, Listing, Nonce, Range, WireError};
use tokio::io::AsyncWriteExt;

use crate::remote_far::{open, wait};
use crate::wire_answers::{TRANSCRIPT, answer, listing};

#[test]
fn as_much_as_may_come_is_waited_for_and_a_byte_more_is_not() {
    // What stands before the item, its kind, and its bound; none of its bytes ever come.
    let cwds = "claude 2\n/creplica 0\nclock 1\n1free 0\nretention 0\nlive 4\nnonefiles 0\nodd 0\n";
    let files = cwds.trim_end_matches("files 0\nodd 0\n");
    for (before, kind, bound) in [("", "fail", 64 << 10), ("", "claude", 4096), (files, "files", 64 << 20), (cwds, "cwds", 4 << 20)] {
        for (length, expected) in [
            (bound, "the far side's answer ended early".to_owned()),
            (bound + 1, format!("the far side's item `{kind}` of {} bytes is beyond its bound", bound + 1)),
        ] {
            let nonce = Nonce::random();
            let bytes = format!("css1 {}\n{before}{kind} {length}\n", nonce.as_str());
            let error = wait(async { Listing::read(open(bytes.as_bytes(), &nonce).await?).await }).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
    let banner = |length: usize| {
        let nonce = Nonce::random();
        let bytes = [vec![b'x'; length - 1], b"\n".to_vec(), answer(&nonce, &listing("", b""))].concat();
        wait(async { Listing::read(open(&bytes, &nonce).await?).await })
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
