//! What else than an answer may stand in its stream, and answers that follow one another.

use std::time::Duration;

use claude_session_sync::codespace::wire::{Answer, Listing, Nonce, WireError};
use tokio::io::AsyncWriteExt as _;

use crate::remote_far::wait;
use crate::wire_answers::{answer, listing};

#[test]
fn who_says_something_else_and_then_waits_is_quoted() {
    for (said, told) in [("Press a key\r\n", "the far side did not start our script; it said `Press a key`"), ("", "the far side sent nothing for 0 s")] {
        let error = wait(async {
            let (mut far, near) = tokio::io::duplex(1000);
            far.write_all(said.as_bytes()).await.unwrap();
            Answer::open(near, &Nonce::random(), Duration::from_millis(1)).await.map(|_| drop(far))
        });
        assert_eq!(error.unwrap_err().to_string(), told);
    }
}

#[test]
fn answers_follow_one_another_and_nothing_stands_between_that_would_pass_for_one() {
    let nonces = [(); 3].map(|()| Nonce::random());
    let [first, second, third] = &nonces;
    let stream = [answer(first, &listing("files", b"")), answer(second, &listing("odd", b"")), answer(first, &listing("odd", b""))];
    let (mut far, mut near) = tokio::io::duplex(1000);
    wait(async {
        let mut answer = None;
        for (said, nonce) in stream.iter().zip([first, second]) {
            far.write_all(said).await.unwrap();
            match &mut answer {
                None => answer = Some(Answer::open(&mut near, nonce, Duration::from_secs(5)).await.unwrap()),
                Some(answer) => answer.next(nonce, Duration::from_secs(5)).await.unwrap(),
            }
            Listing::read(answer.as_mut().unwrap()).await.unwrap();
        }
        // What was answered before answers nothing else.
        far.write_all(&stream[2]).await.unwrap();
        let error = answer.unwrap().next(third, Duration::from_millis(50)).await.unwrap_err();
        assert!(matches!(&error, WireError::NoMarker { seen } if seen.contains("forgotten 0")), "{error}");
    });
}
