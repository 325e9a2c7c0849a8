//! A request beside the script, and one by stdin: what both say, and which words may travel so.

use claude_session_sync::codespace::wire::{HashWant, Listing, Nonce, Range, Request};

use crate::remote_far::{Far, TOOLS, open, wait};
use crate::remote_script::{A, B, round_trip, store, whole};

#[test]
fn a_request_means_the_same_by_either_way() {
    for tools in TOOLS {
        let Some(far) = Far::with("dash", tools) else { continue };
        round_trip(&far);
        let (transcript, claude) = (format!("-w-p/{A}.jsonl"), far.name());
        let wants = vec![whole(&transcript), HashWant { path: store(&transcript), first: Some(3) }, whole(&format!("-w-p/{B}.jsonl"))];
        let ranges = vec![Range { path: store(&transcript), offset: 2, length: 5 }, Range { path: store(&format!("-w-p/{B}.jsonl")), offset: 0, length: 1 }];
        for request in [
            Request::List { claude: Some(claude.clone()), workspaces: None, roots: vec![claude.clone()], agent: Some(B.parse().unwrap()) },
            Request::List { claude: None, workspaces: None, roots: Vec::new(), agent: None },
            Request::Hash { claude: claude.clone(), wants: wants.clone() },
            Request::Get { claude, wants: ranges.clone() },
        ] {
            let nonce = Nonce::random();
            let ((beside, nothing), (alone, by_stdin)) = (far.asking(&request, &nonce), far.asking_by_stdin(&request, &nonce));
            assert!(nothing.is_empty() && !by_stdin.is_empty(), "{request:?} travels beside the script");
            let answers = [Far::talk(beside, nothing), Far::talk(alone, by_stdin)];
            assert!(answers.iter().all(|answer| answer.ends_with(format!("end {}\n", nonce.as_str()).as_bytes())), "{tools:?}: {request:?}");
            let [one, other] = answers.map(|answer| meaning(&answer, &request, &nonce));
            assert_eq!(one, other, "{tools:?}: {request:?}");
        }
    }
}

/// What an answer says, but for the time there.
fn meaning(answer: &[u8], request: &Request, nonce: &Nonce) -> String {
    if !matches!(request, Request::List { .. }) {
        return answer.escape_ascii().to_string();
    }
    let mut listing = wait(async { Listing::read(open(answer, nonce).await?).await }).unwrap();
    listing.clock = 0;
    listing.agents.values_mut().for_each(|last| *last = 0);
    format!("{listing:?}")
}
