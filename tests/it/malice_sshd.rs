//! The same breaks over a real sshd and a real ssh: the link is cut at many places of a visit, the key exchange and the end included.
//!
//! `$CLAUDE_SESSION_SYNC_CUTS` is how many places are tried, else 8.

use std::collections::BTreeSet;

use crate::e2e_world::{Laptop, transcripts};
use crate::figures::figure;

const BOX: &str = "broken-1";

#[test]
fn a_link_to_a_codespace_that_is_cut_anywhere_costs_nothing_but_time() {
    let Some(mut laptop) = Laptop::new() else { return };
    if laptop.codespace(BOX).is_none() {
        return;
    }
    let wanted: u64 = std::env::var("CLAUDE_SESSION_SYNC_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(8);
    laptop.session(1, "here", 60);
    laptop.session_at(BOX, 2, "there", 50);
    let before = laptop.at(BOX).bytes();
    laptop.report(&[]).good();
    let after = laptop.at(BOX).bytes();
    let visit = after.0 + after.1 - before.0 - before.1;
    let mut failed = 0;
    for n in 0..wanted {
        let number = 10 + 2 * u32::try_from(n).unwrap();
        laptop.session(number, "new here", 40);
        laptop.session_at(BOX, number + 1, "new there", 30);
        let (here, there) = (transcripts(&laptop.claude()), transcripts(&laptop.claude_at(BOX)));
        let all: BTreeSet<_> = here.iter().chain(&there).map(|(name, text)| (name.clone(), text.clone())).collect();
        laptop.at(BOX).cut_after(1 + n * visit / wanted);
        let ran = laptop.report(&[]);
        assert!([0, 1, 3].contains(&ran.code()), "{:?}", ran.told);
        failed += u64::from(ran.code() != 0);
        for (claude, had) in [(laptop.claude(), &here), (laptop.claude_at(BOX), &there)] {
            let has = transcripts(&claude);
            assert!(had.iter().all(|(name, text)| has.get(name) == Some(text)), "something is gone");
            assert!(has.into_iter().all(|session| all.contains(&session)), "something is half");
        }
        assert!(laptop.api.posts().is_empty());
        laptop.at(BOX).cut_after(u64::MAX / 2);
        laptop.report(&[]).good();
        assert_eq!(transcripts(&laptop.claude()), transcripts(&laptop.claude_at(BOX)));
        assert_eq!(transcripts(&laptop.claude()).len(), all.iter().map(|(name, _)| name).collect::<BTreeSet<_>>().len());
    }
    figure(&format!("{wanted} places of {visit} bytes over sshd: {failed} visits failed, every next pass completed"));
    assert!(failed * 2 >= wanted, "{failed}");
}
