//! What a request says on the wire, and what is refused before a byte is sent.

use super::*;

const ID: &str = "6f869d7b-ce51-4e00-8a05-674dde6aa368";

fn text(request: &Request) -> Result<String, String> {
    let mut out = Vec::new();
    request.write(&Nonce::random(), &mut out).map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&out).split_once('\n').unwrap().1.to_owned();
    Ok(said.strip_suffix("\n\n").expect("an empty line ends it").to_owned() + "\n")
}

fn file(n: u32, base: u64, size: u64, data: DataSource) -> PutFile {
    let operation = Operation::Replace { token: "1:2:3:4".parse().unwrap(), base };
    PutFile { n, operation, size, sha256: [0xab; 32], path: format!("-p/{ID}/s{n}").parse().unwrap(), mtime: -5, data }
}

fn put(files: Vec<PutFile>) -> Request {
    Request::Put(PutRequest { claude: "/c".into(), replica: None, agent: None, need_kib: Some(7), files, drops: Vec::new(), forgets: Vec::new() })
}

#[test]
fn a_request_is_lines_and_names_its_directory() {
    let list = Request::List { claude: None, workspaces: Some("/w".into()), roots: vec!["/a b".into()], agent: Some(ID.parse().unwrap()) };
    assert_eq!(text(&list).unwrap(), format!("-\nworkspaces /w\nroot /a b\nagent {ID}\n"));
    let path = FarPath::Store(format!("-p/{ID}.jsonl").parse().unwrap());
    let wants = vec![HashWant { path: path.clone(), first: None }, HashWant { path: path.clone(), first: Some(9) }];
    let ranges = vec![Range { path, offset: 3, length: 4 }];
    let hash = Request::Hash { claude: "/c".into(), wants, ahead: ranges.clone() };
    assert_eq!(text(&hash).unwrap(), format!("/c\nw projects/-p/{ID}.jsonl\nh 9 projects/-p/{ID}.jsonl\nb 3 4 projects/-p/{ID}.jsonl\n"));
    assert_eq!(text(&Request::Get { claude: "/c".into(), wants: ranges }).unwrap(), format!("/c\n3 4 projects/-p/{ID}.jsonl\n"));
}

#[test]
fn more_can_be_asked_behind_whatever_is_no_put() {
    let list = Request::List { claude: None, workspaces: None, roots: Vec::new(), agent: None };
    let hash = Request::Hash { claude: "/c".into(), wants: Vec::new(), ahead: Vec::new() };
    let get = Request::Get { claude: "/c".into(), wants: Vec::new() };
    assert_eq!([list, hash, get, put(Vec::new())].map(|request| request.has_an_end()), [true, true, true, false]);
}

#[test]
fn a_directory_that_could_break_a_line_is_refused() {
    for bad in ["/a\nlist", "relative", "", "/a\0", "/\u{1b}[31m", "/\u{85}"] {
        for request in [
            Request::List { claude: Some(bad.into()), workspaces: None, roots: Vec::new(), agent: None },
            Request::List { claude: None, workspaces: Some(bad.into()), roots: Vec::new(), agent: None },
            Request::List { claude: None, workspaces: None, roots: vec![bad.into()], agent: None },
            Request::Get { claude: bad.into(), wants: Vec::new() },
        ] {
            assert!(text(&request).unwrap_err().ends_with("cannot be asked of the far side: it is no plain absolute path"), "{bad:?}");
        }
    }
}

#[test]
fn a_plan_that_contradicts_itself_is_refused_before_a_byte_is_sent() {
    let data = |len| DataSource { path: "/nowhere".into(), offset: 0, len };
    for (files, what) in [
        (vec![file(1, 0, 3, data(2))], "file 1 of the request: its base and its data do not add up to its size"),
        (vec![file(1, u64::MAX, 3, data(4))], "file 1 of the request: its base and its data do not add up to its size"),
        (vec![file(2, 0, 2, data(2)), file(1, 0, 2, data(2))], "file 1 of the request: its number does not ascend"),
        (vec![file(1, 0, 2, data(2)), PutFile { n: 2, ..file(1, 0, 2, data(2)) }], "file 2 of the request: its path was named before"),
    ] {
        let mut out = Vec::new();
        assert_eq!(put(files).write(&Nonce::random(), &mut out).unwrap_err().to_string(), what);
        assert!(out.is_empty());
    }
}

#[test]
fn the_archive_holds_the_plan_first_and_exactly_the_promised_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    std::fs::write(&path, b"0123456789").unwrap();
    let mut out = Vec::new();
    put(vec![file(4, 2, 5, DataSource { path: path.clone(), offset: 3, len: 3 })]).write(&Nonce::random(), &mut out).unwrap();
    let body = &out[out.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(2).unwrap().0 + 1..];
    let mut archive = tar::Archive::new(body);
    let mut members = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (entry.path().unwrap().display().to_string(), text)
    });
    let plan = format!("need 7\nfile 4 r {ID} 2 1:2:3:4 5 {} -p/{ID}/s4\n", "ab".repeat(32));
    assert_eq!(members.next(), Some(("plan".to_owned(), plan)));
    assert_eq!(members.next(), Some(("data/4".to_owned(), "345".to_owned())));
    assert_eq!(members.next(), None);

    let short = put(vec![file(4, 0, 9, DataSource { path: path.clone(), offset: 3, len: 9 })]);
    assert_eq!(text(&short).unwrap_err(), format!("cannot read {} to send it", path.display()));
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(text(&put(vec![file(4, 0, 1, DataSource { path: link, offset: 0, len: 1 })])).unwrap_err().starts_with("cannot read"));
}

#[test]
fn a_listing_of_nothing_but_ours_is_a_word_if_it_is_plain() {
    let nonce = Nonce::random();
    let list = |claude: Option<&str>, roots: &[&str]| {
        let roots = roots.iter().map(|root| (*root).to_owned()).collect();
        Request::List { claude: claude.map(str::to_owned), workspaces: None, roots, agent: Some(ID.parse().unwrap()) }
    };
    let nonce_and_id = |claude: &str| Some(format!("list {}\n{claude}\nagent {ID}\n", nonce.as_str()));
    assert_eq!(list(None, &[]).word(&nonce).unwrap(), nonce_and_id("-"));
    assert_eq!(list(Some("/a-b_c.D 9"), &[]).word(&nonce).unwrap(), nonce_and_id("/a-b_c.D 9"));
    for odd in ["/\'", "/\"", "/\\", "/$x", "/`x`", "/!x", "/*", "/~", "/;", "/&", "/\u{e9}", "/%", "/#", "/(", "/{", "/[", "/<", "/=", "/^"] {
        assert_eq!(list(Some(odd), &[]).word(&nonce).unwrap(), None, "{odd}");
    }
    assert_eq!(list(None, &["/plain"]).word(&nonce).unwrap(), None, "somebody else named it");
    assert_eq!(put(Vec::new()).word(&nonce).unwrap(), None);
    for other in [Request::Hash { claude: "/c".into(), wants: Vec::new(), ahead: Vec::new() }, Request::Get { claude: "/c".into(), wants: Vec::new() }] {
        assert_eq!(other.word(&nonce).unwrap(), None);
    }
    assert!(list(Some("no path"), &[]).word(&nonce).is_err());
}
