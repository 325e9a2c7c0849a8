//! What a hostile far side may answer, and the exact error that each answer gets.

use std::time::Duration;

use claude_session_sync::codespace::wire::{
    Answer, Dropped, FarPath, Fetched, Forget, Forgotten, HashWant, Hashes, Listing, Nonce, Operation, Outcome, PutAnswer, PutRequest, Range, VaultDrop,
    WireError,
};
use tokio::io::AsyncWriteExt;

use crate::remote_far::{Far, open, wait};
use crate::remote_script::A;

pub(crate) const TRANSCRIPT: &str = "-p/6f869d7b-ce51-4e00-8a05-674dde6aa368.jsonl";
const VAULTED: &str = "6f869d7b-ce51-4e00-8a05-674dde6aa368.4.0123456789abcdef.00000000000000000000000000000000-1";

/// A whole answer with these items.
pub(crate) fn answer(nonce: &Nonce, items: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = format!("css1 {}\n", nonce.as_str()).into_bytes();
    for (kind, text) in items {
        bytes.extend_from_slice(format!("{kind} {}\n", text.len()).as_bytes());
        bytes.extend_from_slice(text);
    }
    bytes.extend_from_slice(format!("end {}\n", nonce.as_str()).as_bytes());
    bytes
}

/// A good listing in which one item is replaced.
pub(crate) fn listing<'a>(kind: &str, text: &'a [u8]) -> Vec<(&'static str, &'a [u8])> {
    let good: [(&'static str, &'a [u8]); 13] = [
        ("claude", b"/c"),
        ("replica", b""),
        ("clock", b"1700000000"),
        ("retention", b""),
        ("live", b"none"),
        ("files", b""),
        ("odd", b""),
        ("cwds", b""),
        ("roots", b""),
        ("vault", b""),
        ("pushed", b""),
        ("agents", b""),
        ("forgotten", b""),
    ];
    good.into_iter().map(|(name, was)| if name == kind { (name, text) } else { (name, was) }).collect()
}

fn read_listing(items: &[(&str, &[u8])]) -> Result<Listing, WireError> {
    let nonce = Nonce::random();
    let bytes = answer(&nonce, items);
    wait(async { Listing::read(&mut open(&bytes, &nonce).await?).await })
}

#[test]
fn a_listing_item_outside_its_grammar_ends_the_visit() {
    let twice = format!("1 2 3 4 {TRANSCRIPT}\n1 2 3 4 {TRANSCRIPT}");
    let many_roots = vec!["/r\tu"; 201].join("\n");
    let many_odd = vec!["l x"; 201].join("\n");
    let many_pushed = vec!["1 2 3"; 2001].join("\n");
    let many_agents = (0..65).map(|n| format!("5 {n:08x}-ce51-4e00-8a05-674dde6aa368")).collect::<Vec<_>>().join("\n");
    let (twice_there, bad_agent) = (format!("5 {A}\n6 {A}"), format!("`6 {A}` in `agents`"));
    let many_forgotten = (0..10_001).map(|n| format!("{n:08x}-ce51-4e00-8a05-674dde6aa368")).collect::<Vec<_>>().join("\n");
    let (forgotten_twice, bad_forgotten) = (format!("{A}\n{A}"), format!("`{A}` in `forgotten`"));
    let breaks = "the far side's answer breaks the protocol: ";
    let table: &[(&str, &[u8], &str)] = &[
        ("claude", b"", "`claude` is no plain absolute path"),
        ("claude", b"relative", "`claude` is no plain absolute path"),
        ("claude", b"/a\nb", "`claude` is no plain absolute path"),
        ("claude", b"/a\x1b[31m", "`claude` is no plain absolute path"),
        ("claude", b"/\xff", "`claude` is no plain absolute path"),
        ("claude", b"/a\0b", "a NUL in `claude`"),
        ("replica", b"6F869D7B-ce51-4e00-8a05-674dde6aa368", "`replica` is no UUID"),
        ("replica", b"../../etc/passwd", "`replica` is no UUID"),
        ("replica", b"\xff", "`replica` is no UTF-8"),
        ("clock", b"", "`clock` is no time"),
        ("clock", b"18446744073709551615", "`clock` is no time"),
        ("clock", b"-5", "`-5` in `clock`"),
        ("clock", b"0x10", "`0x10` in `clock`"),
        ("retention", b"1e9", "`1e9` in `retention`"),
        ("retention", b"007", "`007` in `retention`"),
        ("retention", b"30 ", "`30 ` in `retention`"),
        ("live", b"", "`` in `live`"),
        ("live", b"maybe", "`maybe` in `live`"),
        ("live", b"none\n6f869d7b-ce51-4e00-8a05-674dde6aa368 0 -", "`6f869d7b-ce51-4e00-8a05-674dde6aa368 0 -` in `live`"),
        ("live", b"registry\nx 0 -", "`x 0 -` in `live`"),
        ("live", b"registry\n6f869d7b-ce51-4e00-8a05-674dde6aa368 0", "`6f869d7b-ce51-4e00-8a05-674dde6aa368 0` in `live`"),
        ("live", b"registry\n6f869d7b-ce51-4e00-8a05-674dde6aa368 x -", "`6f869d7b-ce51-4e00-8a05-674dde6aa368 x -` in `live`"),
        ("live", b"registry\n6f869d7b-ce51-4e00-8a05-674dde6aa368 0 \x1b", "`6f869d7b-ce51-4e00-8a05-674dde6aa368 0 \\u{1b}` in `live`"),
        ("files", b"x", "`x` in `files`"),
        ("files", b"1 2 3 4", "`1 2 3 4` in `files`"),
        ("files", b"1 -2 3 4 -p/x", "`1 -2 3 4 -p/x` in `files`"),
        ("files", b"1 99999999999999999999 3 4 -p/x", "`1 99999999999999999999 3 4 -p/x` in `files`"),
        ("files", b"1 2 3.1234567891 4 -p/x", "`1 2 3.1234567891 4 -p/x` in `files`"),
        ("files", b"1 2 3.12345678900 4 -p/x", "`1 2 3.12345678900 4 -p/x` in `files`"),
        ("files", b"10 2 3 40. -p/x", "`10 2 3 40. -p/x` in `files`"),
        ("files", b"1 2 1e308 4 -p/x", "`1 2 1e308 4 -p/x` in `files`"),
        ("files", b"1 2 3 4 -p/x\n\n1 2 3 4 -p/y", "`` in `files`"),
        ("files", b"1 2 3 4 -p/x\n", "`` in `files`"),
        ("files", twice.as_bytes(), "`-p/6f869d7b-ce51-4e00-8a05-674dde6aa368.jsonl` twice in `files`"),
        ("files", b"1 2 3 4 -p/a\0b", "a NUL in `files`"),
        ("odd", b"l", "`l` in `odd`"),
        ("odd", b"z x", "`z x` in `odd`"),
        ("odd", many_odd.as_bytes(), "more than 200 lines in `odd`"),
        ("roots", b"/w", "`/w` in `roots`"),
        ("roots", many_roots.as_bytes(), "more than 200 lines in `roots`"),
        ("vault", b"x y", "`x y` in `vault`"),
        ("vault", b"12", "`12` in `vault`"),
        ("pushed", b"1 2", "`1 2` in `pushed`"),
        ("pushed", b"1 2 3 4", "`1 2 3 4` in `pushed`"),
        ("pushed", b"1 2 -3", "`1 2 -3` in `pushed`"),
        ("pushed", b"1 02 3", "`1 02 3` in `pushed`"),
        ("pushed", b"1 2 3.1234567890", "`1 2 3.1234567890` in `pushed`"),
        ("pushed", b"99999999999999999999 2 3", "`99999999999999999999 2 3` in `pushed`"),
        ("pushed", b"1 2 3\n", "`` in `pushed`"),
        ("pushed", b"1 2 \xff", "`pushed` is no UTF-8"),
        ("pushed", many_pushed.as_bytes(), "more than 2000 lines in `pushed`"),
        ("agents", b"5", "`5` in `agents`"),
        ("agents", b"5 ../../x", "`5 ../../x` in `agents`"),
        ("agents", b"5 6F869D7B-ce51-4e00-8a05-674dde6aa368", "`5 6F869D7B-ce51-4e00-8a05-674dde6aa368` in `agents`"),
        ("agents", b"5.5 6f869d7b-ce51-4e00-8a05-674dde6aa368", "`5.5 6f869d7b-ce51-4e00-8a05-674dde6aa368` in `agents`"),
        ("agents", b"18446744073709551615 6f869d7b-ce51-4e00-8a05-674dde6aa368", "`18446744073709551615 6f869d7b-ce51-4e00-8a05-674dde6aa368` in `agents`"),
        ("agents", twice_there.as_bytes(), &bad_agent),
        ("agents", many_agents.as_bytes(), "more than 64 lines in `agents`"),
        ("forgotten", b"../../x", "`../../x` in `forgotten`"),
        ("forgotten", b"6F869D7B-ce51-4e00-8a05-674dde6aa368", "`6F869D7B-ce51-4e00-8a05-674dde6aa368` in `forgotten`"),
        ("forgotten", b"6f869d7b-ce51-4e00-8a05-674dde6aa368 2026", "`6f869d7b-ce51-4e00-8a05-674dde6aa368 2026` in `forgotten`"),
        ("forgotten", b"\xff", "`forgotten` is no UTF-8"),
        ("forgotten", b"\n", "`` in `forgotten`"),
        ("forgotten", forgotten_twice.as_bytes(), &bad_forgotten),
        ("forgotten", many_forgotten.as_bytes(), "more than 10000 lines in `forgotten`"),
    ];
    for (kind, text, expected) in table {
        let error = read_listing(&listing(kind, text)).unwrap_err().to_string();
        assert_eq!(error, format!("{breaks}{expected}"), "{kind}: {:?}", String::from_utf8_lossy(text));
    }
    let mut lines = "1 2 3 4 x\n".repeat(200_001);
    lines.pop();
    assert_eq!(read_listing(&listing("files", lines.as_bytes())).unwrap_err().to_string(), format!("{breaks}more than 200000 files"));
}

#[test]
fn a_frame_outside_its_grammar_ends_the_visit() {
    let bound = |kind: &str, length: &str| format!("the far side's item `{kind}` of {length} bytes is beyond its bound");
    let breaks = |what: &str| format!("the far side's answer breaks the protocol: {what}");
    let early = "the far side's answer ended early".to_owned();
    let no_start = |seen: &str| format!("the far side did not start our script; it said `{seen}`");
    // `@` stands for the nonce.
    let table = [
        ("", no_start("")),
        ("sh: not found\n", no_start("sh: not found")),
        ("css1 \n", no_start("css1")),
        ("css1 00000000000000000000000000000000\nend x\n", no_start("css1 00000000000000000000000000000000\\nend x")),
        ("noise css1 @\n", no_start("noise css1 @")),
        ("css1 @", no_start("css1 @")),
        ("\x1b[31mred\n", no_start("\\u{1b}[31mred")),
        ("css1 @\n", early.clone()),
        ("css1 @\nclaude", early.clone()),
        ("css1 @\nclaude 3\n/c", early.clone()),
        ("css1 @\nclaude 2\n/c", early),
        ("css1 @\nend @\n", breaks("the end where `claude` belongs")),
        ("css1 @\nend @\nmore", breaks("bytes behind the end")),
        ("css1 @\nend 0\n", breaks("`end` where `claude` belongs")),
        ("css1 @\nreplica 0\n", breaks("`replica` where `claude` belongs")),
        ("css1 @\nclaude 2\n/cclaude 2\n/c", breaks("`claude` where `replica` belongs")),
        ("css1 @\nclaude 1\n/creplica 0\n", breaks("`creplica` where `replica` belongs")),
        ("css1 @\nclaude\n", breaks("`claude` is no header")),
        ("css1 @\nclaude +2\n/c", breaks("`claude +2` is no header")),
        ("css1 @\nclaude -2\n/c", breaks("`claude -2` is no header")),
        ("css1 @\nclaude 02\n/c", breaks("`claude 02` is no header")),
        ("css1 @\nclaude  2\n/c", breaks("`claude  2` is no header")),
        ("css1 @\nclaude 2 \n/c", breaks("`claude 2 ` is no header")),
        ("css1 @\nclaude 2\r\n/c", breaks("`claude 2\\r` is no header")),
        ("css1 @\nclaude 18446744073709551616\n", breaks("`claude 18446744073709551616` is no header")),
        ("css1 @\nclaude 999999999999999999999\n", breaks("`claude 999999999999999999999` is no header")),
        ("css1 @\nCLAUDE 2\n/c", breaks("`CLAUDE 2` is no header")),
        ("css1 @\n 2\n/c", breaks("` 2` is no header")),
        ("css1 @\nabcdefghijklmnopq 2\n/c", breaks("`abcdefghijklmnopq 2` is no header")),
        ("css1 @\n\n", breaks("`` is no header")),
        ("css1 @\n\u{1b}]0;x 2\n", breaks("`\\u{1b}]0;x 2` is no header")),
        ("css1 @\nclaude 4097\n", bound("claude", "4097")),
        ("css1 @\nclaude 18446744073709551615\n", bound("claude", "18446744073709551615")),
        ("css1 @\nclaude 2\n/creplica 37\n", bound("replica", "37")),
        ("css1 @\nfail 3\n\u{1b}no", "the far side failed: \\u{1b}no".to_owned()),
        ("css1 @\nclaude 2\n/cfail 4\nfull", "the far side failed: full".to_owned()),
        ("css1 @\nfail 65537\n", bound("fail", "65537")),
        ("css1 @\nfail 9\nno", "the far side's answer ended early".to_owned()),
    ];
    for (text, expected) in table {
        let nonce = Nonce::random();
        let bytes = text.replace('@', nonce.as_str()).into_bytes();
        let error = wait(async { Listing::read(&mut open(&bytes, &nonce).await?).await }).unwrap_err().to_string();
        assert_eq!(error, expected.replace('@', nonce.as_str()), "{text:?}");
    }
    let nonce = Nonce::random();
    let long = format!("css1 {}\n{}", nonce.as_str(), "a".repeat(1_000_000));
    let error = wait(async { Listing::read(&mut open(long.as_bytes(), &nonce).await?).await }).unwrap_err();
    assert_eq!(error.to_string(), breaks(&format!("`{}` is no header", "a".repeat(64))));
}

#[test]
fn names_that_do_not_fit_are_skipped_and_listed_and_working_directories_must_fit() {
    let files = format!("1 2 3 4 {TRANSCRIPT}\n1 2 3 4 -p/../../etc/passwd\n1 2 -3 4 -p/x\n1 2 3 4 -p/memory/x\n1 2 3 4 -p/\x1b.jsonl");
    let found = read_listing(&listing("files", files.as_bytes())).unwrap();
    assert_eq!(found.files.len(), 1);
    let skipped: Vec<_> = found.skipped.iter().map(|skipped| (skipped.name.as_str(), skipped.why.as_str())).collect();
    let expected = [("-p/../../etc/passwd", "is no lower-case UUID"), ("-p/x", "has a time before 1970"), ("-p/\\u{1b}.jsonl", "is no lower-case UUID")];
    assert_eq!(skipped, expected);

    // As find writes them: one digit more than stat, which is 0.
    let found = read_listing(&listing("files", format!("1 20 3.1234567890 4.0000000000 {TRANSCRIPT}").as_bytes())).unwrap();
    assert_eq!(found.files[0].token.as_str(), "1:20:3.123456789:4.000000000");
    // What stat itself wrote is left as it is.
    let found = read_listing(&listing("files", format!("10 20 3.123456780 4.50 {TRANSCRIPT}").as_bytes())).unwrap();
    assert_eq!(found.files[0].token.as_str(), "10:20:3.123456780:4.50");

    let beside = format!("odd p x\nagent 1.0 a\n1 2 3 4 {TRANSCRIPT}\nprojects/./-p/x.jsonl:\"cwd\":\"/w\"\n/proc/self/cmdline:\"cwd\":\"");
    let found = read_listing(&listing("files", beside.as_bytes())).unwrap();
    assert_eq!((found.files.len(), found.skipped.len()), (1, 0), "what is no file is told behind the files");

    let flood = vec!["1 2 3 4 x"; 5000].join("\n");
    let found = read_listing(&listing("files", flood.as_bytes())).unwrap();
    assert_eq!((found.skipped.len(), found.skipped_more), (1000, 4000));

    let cwds = br#"-w-a:"cwd":"/w/a"
-w-a:"cwd":"/w/b"
-w-a:"cwd":"\/w\u002fa"
-w-a:"cwd":"/w\u0000a"
-w-a:"cwd":"/w
-w-a:"cwd":"w/a"
../x:"cwd":"/x"
garbage"#;
    let found = read_listing(&listing("cwds", cwds)).unwrap();
    assert_eq!(found.working_directories, [("-w-a".parse().unwrap(), "/w/a".to_owned())]);

    let roots = b"/r\thttps://x/a\n/r\t\x1bevil\nrelative\thttps://x\n/s\t";
    let found = read_listing(&listing("roots", roots)).unwrap();
    let roots: Vec<_> = found.roots.iter().map(|root| (root.path.as_str(), root.remotes.as_slice())).collect();
    assert_eq!(roots, [("/r", &["https://x/a".to_owned()][..]), ("/s", &[])]);

    let vault = format!("4 {VAULTED}\n4 ../../x");
    let found = read_listing(&listing("vault", vault.as_bytes())).unwrap();
    assert_eq!((found.vault.len(), found.skipped[0].why.as_str()), (1, "is no vault object of ours"));

    let found = read_listing(&listing("pushed", b"7 0 1700000000.5\n8 9 1700000000\n7 0 1700000000.5")).unwrap();
    let pushed = [(7, 0, 1_700_000_000_500_000_000), (8, 9, 1_700_000_000_000_000_000)];
    assert_eq!(found.pushed.iter().map(|pushed| (pushed.inode, pushed.size, pushed.modified)).collect::<Vec<_>>(), pushed);
    let found = read_listing(&listing("agents", format!("5 {A}").as_bytes())).unwrap();
    assert_eq!(found.agents, [(A.parse().unwrap(), 5)].into());
}

#[test]
fn digests_are_those_that_were_asked_for_and_all_of_them() {
    let path = FarPath::Store(TRANSCRIPT.parse().unwrap());
    let wants = [HashWant { path: path.clone(), first: None }, HashWant { path: path.clone(), first: Some(7) }];
    let (digest, at) = ("ab".repeat(32), format!("projects/{TRANSCRIPT}"));
    let read = |text: &str| {
        let nonce = Nonce::random();
        let bytes = answer(&nonce, &[("hashes", text.as_bytes())]);
        wait(async { Hashes::read(&mut open(&bytes, &nonce).await?, &wants).await })
    };
    let good = read(&format!("w {digest} {at}\nh 7 {digest} {at}")).unwrap();
    assert_eq!((good.get(&path, None), good.get(&path, Some(7)), good.get(&path, Some(8))), (Some([0xab; 32]), Some([0xab; 32]), None));
    let gone = read(&format!("w {digest} {at}\nx {at}")).unwrap();
    assert_eq!((gone.get(&path, None), gone.get(&path, Some(7))), (Some([0xab; 32]), None));
    let bad = |line: &str| format!("`{line}` in `hashes`");
    for (text, expected) in [
        (String::new(), format!("no word of `{at}` in `hashes`")),
        (format!("w {digest} {at}"), format!("no word of `{at}` in `hashes`")),
        (format!("w {digest} {at}\nw {digest} {at}"), bad(&format!("w {digest} {at}"))),
        (format!("w {digest} projects/-q"), bad(&format!("w {digest} projects/-q"))),
        (format!("h 8 {digest} {at}"), bad(&format!("h 8 {digest} {at}"))),
        (format!("h 07 {digest} {at}"), bad(&format!("h 07 {digest} {at}"))),
        (format!("w {} {at}", &digest[1..]), bad(&format!("w {} {at}", &digest[1..]))),
        (format!("w {} {at}", digest.to_uppercase()), bad(&format!("w {} {at}", digest.to_uppercase()))),
        ("x /etc/passwd".to_owned(), bad("x /etc/passwd")),
        ("y".to_owned(), bad("y")),
    ] {
        assert_eq!(read(&text).unwrap_err().to_string(), format!("the far side's answer breaks the protocol: {expected}"));
    }
}

#[test]
fn each_digest_is_of_the_file_that_it_names_in_any_order() {
    let paths = ["-c", "-a", "-b"].map(|project| FarPath::Store(format!("{project}/{A}.jsonl").parse().unwrap()));
    let (wants, nonce) = (paths.clone().map(|path| HashWant { path, first: None }), Nonce::random());
    let lines: Vec<_> = paths.iter().zip(["01", "02", "03"]).rev().map(|(path, byte)| format!("w {} {path}", byte.repeat(32))).collect();
    let bytes = answer(&nonce, &[("hashes", lines.join("\n").as_bytes())]);
    let found = wait(async { Hashes::read(&mut open(&bytes, &nonce).await?, &wants).await }).unwrap();
    assert_eq!(paths.map(|path| found.get(&path, None)), [1, 2, 3].map(|byte| Some([byte; 32])));
}

#[test]
fn a_range_has_the_length_that_was_asked_for() {
    let want = Range { path: FarPath::Store(TRANSCRIPT.parse().unwrap()), offset: 0, length: 3 };
    for (items, expected) in [
        (vec![("data", "abc")], "Data abc"),
        (vec![("gone", "")], "Gone "),
        (vec![("data", "abcd")], "the far side's answer breaks the protocol: `data` of 4 bytes where 3 were asked for"),
        (vec![("data", "ab")], "the far side's answer breaks the protocol: `data` of 2 bytes where 3 were asked for"),
        (vec![("gone", "abc")], "the far side's answer breaks the protocol: `gone` of 3 bytes where 3 were asked for"),
        (vec![("hashes", "abc")], "the far side's answer breaks the protocol: `hashes` where `data` belongs"),
        (vec![], "the far side's answer breaks the protocol: the end where `data` belongs"),
        (vec![("data", "abc"), ("data", "abc")], "the far side's answer breaks the protocol: `data` where the end belongs"),
        (vec![("fail", "gone mad")], "the far side failed: gone mad"),
    ] {
        let nonce = Nonce::random();
        let items: Vec<_> = items.iter().map(|(kind, text)| (*kind, text.as_bytes())).collect();
        let bytes = answer(&nonce, &items);
        let read = wait(async {
            let mut answer = open(&bytes, &nonce).await?;
            let mut out = Vec::new();
            let fetched: Fetched = answer.fetch(&want, &mut out).await?;
            answer.finish().await?;
            Ok::<_, WireError>(format!("{fetched:?} {}", String::from_utf8_lossy(&out)))
        });
        assert_eq!(read.unwrap_or_else(|error| error.to_string()), expected);
    }
}

#[test]
fn outcomes_are_those_that_were_asked_for_and_all_of_them() {
    let far = Far::new();
    let files = (1..=2).map(|n| far.file(n, Operation::Create, &format!("-p/{A}/s{n}"), b"x", b"x")).collect();
    let forgets = vec![Forget { session: A.parse().unwrap(), date: "2026-11-21T08:00:00Z".parse().unwrap() }];
    let request = PutRequest { files, drops: vec![VaultDrop { name: VAULTED.parse().unwrap(), size: 4 }], forgets, ..far.nothing() };
    let read = |text: &str| {
        let nonce = Nonce::random();
        let bytes = answer(&nonce, &[("replica", A.as_bytes()), ("outcomes", text.as_bytes())]);
        wait(async { PutAnswer::read(&mut open(&bytes, &nonce).await?, &request).await })
    };
    let good = read(&format!("2 failed \x1bno\n1 done 1 2 3.5 4\n1 grew {VAULTED} 9\ndrop {VAULTED} kept\nforget {A} failed \x1bno")).unwrap();
    assert_eq!(good.forgets[&A.parse().unwrap()], Forgotten::Failed("\\u{1b}no".to_owned()));
    assert_eq!((good.replica, good.drops.values().next()), (Some(A.parse().unwrap()), Some(&Dropped::Kept)));
    assert!(matches!(&good.outcomes[&1], Outcome::Done { token, grew: Some(grown) } if token.as_str() == "1:2:3.5:4" && grown.size == 9));
    assert_eq!(good.outcomes[&2], Outcome::Failed("\\u{1b}no".to_owned()));
    let words = [("exists", Outcome::Exists, "removed", Forgotten::Removed), ("bad", Outcome::Bad, "noted", Forgotten::Noted)];
    for (of_file, outcome, of_forgetting, forgotten) in words.into_iter().chain([("changed", Outcome::Changed, "live", Forgotten::Live)]) {
        let good = read(&format!("1 {of_file}\n2 live\ndrop {VAULTED} done\nforget {A} {of_forgetting}")).unwrap();
        let answered = (&good.outcomes[&1], &good.outcomes[&2], &good.forgets[&A.parse().unwrap()], good.drops.values().next());
        assert_eq!(answered, (&outcome, &Outcome::Live, &forgotten, Some(&Dropped::Done)));
    }
    let bad = |line: &str| format!("`{line}` in `outcomes`");
    for (text, expected) in [
        (String::new(), "no outcome of file 1".to_owned()),
        ("1 live".to_owned(), "no outcome of file 2".to_owned()),
        ("1 live\n2 changed".to_owned(), format!("no outcome of forgetting {A}")),
        (format!("1 live\n2 changed\nforget {A} live"), format!("no outcome of dropping {VAULTED}")),
        (format!("1 live\n2 changed\ndrop {VAULTED} done"), format!("no outcome of forgetting {A}")),
        (format!("forget {A} noted\nforget {A} noted"), bad(&format!("forget {A} noted"))),
        (format!("forget {A} gone"), bad(&format!("forget {A} gone"))),
        ("forget 7f869d7b-ce51-4e00-8a05-674dde6aa368 removed".to_owned(), bad("forget 7f869d7b-ce51-4e00-8a05-674dde6aa368 removed")),
        ("forget ../x removed".to_owned(), bad("forget ../x removed")),
        ("1 live\n1 live".to_owned(), bad("1 live")),
        ("3 live".to_owned(), bad("3 live")),
        ("01 live".to_owned(), bad("01 live")),
        ("1 lively".to_owned(), bad("1 lively")),
        ("1 done 1 2 3".to_owned(), bad("1 done 1 2 3")),
        ("1 done 1 2 3 x".to_owned(), bad("1 done 1 2 3 x")),
        (format!("1 grew {VAULTED} 9"), bad(&format!("1 grew {VAULTED} 9"))),
        (format!("1 live\n1 grew {VAULTED} 9"), bad(&format!("1 grew {VAULTED} 9"))),
        ("1 done 1 2 3 4\n1 grew ../x 9".to_owned(), bad("1 grew ../x 9")),
        ("drop ../x done".to_owned(), bad("drop ../x done")),
        (format!("drop {VAULTED} gone"), bad(&format!("drop {VAULTED} gone"))),
        (format!("drop {} done", VAULTED.replace("-1", "-2")), bad(&format!("drop {} done", VAULTED.replace("-1", "-2")))),
    ] {
        assert_eq!(read(&text).unwrap_err().to_string(), format!("the far side's answer breaks the protocol: {expected}"), "{text:?}");
    }
}

#[test]
fn an_answer_cut_at_any_byte_is_an_error_and_one_that_drips_is_not() {
    let nonce = Nonce::random();
    let files = format!("1 2 3 4 {TRANSCRIPT}");
    let whole = answer(&nonce, &listing("files", files.as_bytes()));
    for cut in 0..whole.len() {
        let read = wait(async { Listing::read(&mut open(&whole[..cut], &nonce).await?).await });
        assert!(matches!(read, Err(WireError::EndedEarly | WireError::NoMarker { .. })), "cut at {cut}: {read:?}");
    }
    let read = wait(async {
        let (mut far, near) = tokio::io::duplex(1);
        let write = async move { far.write_all(&whole).await };
        let read = async { Listing::read(&mut Answer::open(near, &nonce, Duration::from_secs(5)).await?).await };
        tokio::join!(write, read).1
    });
    assert_eq!(read.unwrap().files.len(), 1);
}

#[test]
fn silence_ends_a_visit() {
    let nonce = Nonce::random();
    let error = wait(async {
        let (mut far, near) = tokio::io::duplex(1000);
        far.write_all(format!("css1 {}\nclaude 2\n/", nonce.as_str()).as_bytes()).await.unwrap();
        let read = Listing::read(&mut Answer::open(near, &nonce, Duration::from_millis(1)).await?).await;
        drop(far);
        read
    });
    assert!(matches!(error.unwrap_err(), WireError::Idle(_)));
}
