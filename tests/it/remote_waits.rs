//! Nothing keeps the far side's script waiting for ever: no pipe in the place of a file that it opens, no line that went silent.
//!
//! The bounds are of minutes; here `timeout` is a stand-in that waits for a second whatever it is told.

use std::io::Write as _;
use std::process::Command;

use claude_session_sync::codespace::wire::{FarPath, Fetched, HashWant, Hashes, Listing, Nonce, Operation, Outcome, PutAnswer, PutRequest, Range, Request};

use crate::remote_far::{Far, Tools, open, program, sha256, wait};
use crate::remote_script::A;
use crate::wait::reached;

const B: &str = "7f869d7b-ce51-4e00-8a05-674dde6aa368";
const C: &str = "8f869d7b-ce51-4e00-8a05-674dde6aa368";

/// A far side that loses its patience soon.
fn hasty(tools: Tools) -> Option<Far> {
    let far = Far::with("dash", tools)?;
    far.tool("timeout", &format!("#!/bin/sh\nshift\nexec {} 1 \"$@\"\n", program("timeout")?.display()));
    for (id, text) in [(A, "first"), (B, "second")] {
        far.plant(&format!("-p-{text}/{id}.jsonl"), line(text).as_bytes());
    }
    Some(far)
}

fn line(text: &str) -> String {
    format!("{{\"cwd\":\"/p/{text}\"}}\n")
}

fn path(id: &str, text: &str) -> String {
    format!("-p-{text}/{id}.jsonl")
}

/// The first transcript becomes a pipe when this tool is about to open it. `refused`: an option that the tool does not know.
fn turns_into_a_pipe(far: &Far, tool: &str, refused: &str) {
    let target = far.claude.join("projects").join(path(A, "first"));
    let turn = format!("[ -p {0} ] || {{ mv {0} {1}; mkfifo {0}; }}", target.display(), far.home.path().join("was").display());
    let text = format!("case $* in *{refused}*) exit 2 ;; *-p-first*) {turn} ;; esac\nexec {} \"$@\"\n", program(tool).unwrap().display());
    far.tool(tool, &format!("#!/bin/sh\n{text}"));
}

/// No tool is told this.
const NOTHING: &str = "--nothing";

/// An answer that comes within a minute.
fn answer(far: &Far, request: &Request, nonce: &Nonce) -> Vec<u8> {
    let (plain, bytes) = far.asking(request, nonce);
    let mut command = Command::new(program("timeout").unwrap());
    command.args(["-k", "1", "60"]).arg(plain.get_program()).args(plain.get_args());
    far.dress(&mut command);
    Far::talk(command, bytes)
}

fn range(id: &str, text: &str, offset: u64) -> Range {
    Range { path: FarPath::Store(path(id, text).parse().unwrap()), offset, length: 8 }
}

#[test]
fn a_transcript_that_is_a_pipe_when_it_is_searched_costs_a_listing_its_directory() {
    let far = hasty(Tools::Dash).unwrap();
    turns_into_a_pipe(&far, "grep", NOTHING);
    let nonce = Nonce::random();
    let bytes = answer(&far, &Request::List { claude: Some(far.name()), workspaces: None, roots: Vec::new(), agent: None }, &nonce);
    let listing = wait(async { Listing::read(&mut open(&bytes, &nonce).await?).await }).unwrap();
    assert_eq!(listing.working_directories, [("-p-second".parse().unwrap(), "/p/second".to_owned())]);
    // A grep that cannot pass over it is ended, and nothing is concluded from what it did not say.
    let far = hasty(Tools::Dash).unwrap();
    turns_into_a_pipe(&far, "grep", "--devices=skip");
    let bytes = answer(&far, &Request::List { claude: Some(far.name()), workspaces: None, roots: Vec::new(), agent: None }, &nonce);
    let error = wait(async { Listing::read(&mut open(&bytes, &nonce).await?).await }).unwrap_err();
    assert!(error.to_string().ends_with("cannot be opened"), "{error}");
}

#[test]
fn a_transcript_that_is_a_pipe_when_it_is_hashed_costs_no_other_digest() {
    for tools in [Tools::Dash, Tools::Bash] {
        let Some(far) = hasty(tools) else { continue };
        turns_into_a_pipe(&far, "sha256sum", NOTHING);
        let whole = |id: &str, text: &str| HashWant { path: FarPath::Store(path(id, text).parse().unwrap()), first: None };
        let wants =
            [whole(A, "first"), whole(B, "second"), HashWant { first: Some(3), ..whole(A, "first") }, HashWant { first: Some(3), ..whole(B, "second") }];
        let nonce = Nonce::random();
        let bytes = answer(&far, &Request::Hash { claude: far.name(), wants: wants.to_vec(), ahead: Vec::new() }, &nonce);
        let hashes = wait(async { Hashes::read(&mut open(&bytes, &nonce).await?, &wants).await }).unwrap();
        let found: Vec<_> = wants.iter().map(|want| hashes.get(&want.path, want.first)).collect();
        assert_eq!((found[1], found[3]), (Some(sha256(line("second").as_bytes())), Some(sha256(&line("second").as_bytes()[..3]))), "{tools:?}");
        assert!(found[0] != Some(sha256(line("first").as_bytes())), "{tools:?}: it was a pipe");
    }
}

#[test]
fn a_transcript_that_is_a_pipe_when_it_is_fetched_costs_no_other_range() {
    for offset in [0, 2] {
        let far = hasty(Tools::Dash).unwrap();
        // When it is looked at it still is a file.
        turns_into_a_pipe(&far, "dd", NOTHING);
        let wants = [range(A, "first", offset), range(B, "second", 0)];
        let nonce = Nonce::random();
        let bytes = answer(&far, &Request::Get { claude: far.name(), wants: wants.to_vec() }, &nonce);
        let got = wait(async {
            let mut answer = open(&bytes, &nonce).await?;
            let mut got = Vec::new();
            for want in &wants {
                let mut into = Vec::new();
                let fetched = answer.fetch(want, &mut into).await?;
                got.push((fetched == Fetched::Data).then_some(into));
            }
            answer.finish().await.map(|()| got)
        });
        let got = got.unwrap();
        assert!(got[0].as_ref().is_none_or(|bytes| *bytes == [0; 8]), "{got:?}");
        assert_eq!(got[1].as_deref(), Some(&line("second").as_bytes()[..8]));
    }
}

#[test]
fn a_transcript_that_is_a_pipe_when_it_is_continued_costs_no_other_file() {
    let far = hasty(Tools::Dash).unwrap();
    let token = far.listed(&path(A, "first")).token;
    let base = line("first").len() as u64;
    let grown = [line("first").as_bytes(), b"more\n"].concat();
    let files = vec![
        far.file(1, Operation::Replace { token, base }, &path(A, "first"), b"more\n", &grown),
        far.file(2, Operation::Create, &path(C, "second"), b"new\n", b"new\n"),
    ];
    turns_into_a_pipe(&far, "dd", NOTHING);
    let put = PutRequest { files, ..far.nothing() };
    let nonce = Nonce::random();
    let bytes = answer(&far, &Request::Put(put.clone()), &nonce);
    let answer = wait(async { PutAnswer::read(&mut open(&bytes, &nonce).await?, &put).await }).unwrap();
    assert!(matches!(answer.outcomes[&1], Outcome::Bad | Outcome::Changed), "{:?}", answer.outcomes);
    assert!(matches!(answer.outcomes[&2], Outcome::Done { .. }), "{:?}", answer.outcomes);
    assert_eq!(far.bytes(&path(C, "second")), b"new\n");
}

#[test]
fn pipes_that_lie_where_the_script_reads_small_files_keep_it_from_nothing() {
    let far = hasty(Tools::Dash).unwrap();
    let own = far.claude.join(".claude-session-sync");
    let clone = far.home.path().join("clone/.git");
    for directory in [&own, &clone, &far.claude.join("sessions")] {
        std::fs::create_dir_all(directory).unwrap();
    }
    let places = [own.join("replica-id"), own.join("pushed"), clone.join("config"), far.claude.join("settings.json"), far.claude.join("sessions/1.json")];
    for place in places {
        nix::unistd::mkfifo(&place, nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    let roots = vec![far.home.path().join("clone").display().to_string()];
    let nonce = Nonce::random();
    let workspaces = Some(far.home.path().join("workspaces").display().to_string());
    let bytes = answer(&far, &Request::List { claude: Some(far.name()), workspaces, roots, agent: None }, &nonce);
    let listing = wait(async { Listing::read(&mut open(&bytes, &nonce).await?).await }).unwrap();
    assert_eq!((listing.files.len(), listing.replica, listing.roots.len()), (2, None, 1));
}

#[test]
fn a_line_that_goes_silent_keeps_no_script_for_ever() {
    for tools in [Tools::Dash, Tools::Bash] {
        let Some(far) = hasty(tools) else { continue };
        let put = PutRequest { files: vec![far.file(1, Operation::Create, &path(C, "second"), &[b'x'; 4000], &[b'x'; 4000])], ..far.nothing() };
        let list = Request::List { claude: Some(far.name()), workspaces: None, roots: Vec::new(), agent: None };
        for (request, length) in [(&list, 0), (&list, 3), (&list, 40), (&list, usize::MAX), (&Request::Put(put), 3000)] {
            let mut bytes = Vec::new();
            request.write(&Nonce::random(), &mut bytes).unwrap();
            let mut child = far.command().spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(&bytes[..length.min(bytes.len())]).unwrap();
            reached("the script ended although nobody closed its line", || child.try_wait().unwrap().is_some());
            drop(stdin);
        }
        assert!(crate::remote_far::names(&far.claude.join(".claude-session-sync/stage")).is_empty());
    }
}

#[test]
fn a_disk_there_that_cannot_keep_what_it_took_is_said_and_nothing_is_remembered_as_done() {
    for times in [1, 2] {
        let far = hasty(Tools::Dash).unwrap();
        let count = far.home.path().join("count");
        let refuses =
            format!("echo >>{0}\n[ $(wc -l <{0}) -lt {times} ] || {{ echo \"sync: error syncing: Input/output error\" >&2; exit 1; }}", count.display());
        far.tool("sync", &format!("#!/bin/sh\n{refuses}\n"));
        let put = PutRequest { files: vec![far.file(1, Operation::Create, &path(C, "second"), b"new\n", b"new\n")], ..far.nothing() };
        let answer = far.put(&put).unwrap();
        assert_eq!(answer.outcomes[&1], Outcome::Failed("sync: error syncing: Input/output error".to_owned()));
        let installed = far.claude.join("projects").join(path(C, "second")).exists();
        assert_eq!(installed, times == 2, "what was not durable beforehand got no name");
    }
}
