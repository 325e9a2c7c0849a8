//! A listing that is asked for beside the script, and the same by stdin.

use claude_session_sync::codespace::wire::{Listing, Nonce, Request};

use crate::remote_far::{Far, TOOLS, open, wait};
use crate::remote_script::{B, round_trip};

#[test]
fn a_listing_is_the_same_by_either_way() {
    for tools in TOOLS {
        let Some(far) = Far::with("dash", tools) else { continue };
        round_trip(&far);
        far.list_as(B);
        for (claude, agent) in [(Some(far.name()), Some(B.parse().unwrap())), (None, None)] {
            let (request, nonce) = (Request::List { claude, workspaces: None, roots: Vec::new(), agent }, Nonce::random());
            let ((beside, nothing), (alone, by_stdin)) = (far.asking(&request, &nonce), far.asking_by_stdin(&request, &nonce));
            assert!(nothing.is_empty() && !by_stdin.is_empty(), "{request:?} travels beside the script");
            let [one, other] = [Far::talk(beside, nothing), Far::talk(alone, by_stdin)].map(|answer| meaning(&answer, &nonce));
            assert_eq!(one, other, "{tools:?}: {request:?}");
        }
    }
}

/// What a listing says, but for the time there.
fn meaning(answer: &[u8], nonce: &Nonce) -> String {
    let mut listing = wait(async { Listing::read(&mut open(answer, nonce).await?).await }).unwrap();
    listing.clock = 0;
    listing.agents.values_mut().for_each(|last| *last = 0);
    format!("{listing:?}")
}
