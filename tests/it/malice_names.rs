//! Names that somebody else may choose, and the exact error that each gets.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use claude_session_sync::codespace::name::CodespaceName;
use claude_session_sync::codespace::ssh;
use claude_session_sync::codespace::wire::{Token, VaultName};
use claude_session_sync::reconcile::manifest::{ProjectName, SessionId, SidePath, StorePath};
use claude_session_sync::reconcile::plain::is_active;
use claude_session_sync::reconcile::project::RepositoryId;

use crate::figures::figure;

const ID: &str = "6f869d7b-ce51-4e00-8a05-674dde6aa368";

/// What programs were made to do by such names before: to leave a directory, to run a command, to be an option, to move a cursor.
const HOSTILE: [&str; 44] = [
    "..",
    "../x",
    "a/../../x",
    "/etc/passwd",
    "./x",
    "a//b",
    "a/",
    "/",
    ".ssh/authorized_keys",
    ".git/hooks/post-checkout",
    ".claude/settings.json",
    "-oProxyCommand=id",
    "-rf",
    "--upload-pack=id",
    "--",
    "$(id)",
    "`id`",
    "${IFS}",
    "a;id",
    "a|id",
    "a&id",
    "a>b",
    "*",
    "?",
    "[a]",
    "~",
    "~root",
    "%h",
    "%n%p",
    "a'b",
    "a\"b",
    "a\\b",
    "a b",
    " a",
    "a\tb",
    "a\nb",
    "a\rb",
    "a\0b",
    "\u{1b}[31m",
    "\u{1b}]0;x\u{7}",
    "\u{9b}31m",
    "\u{202e}gpj",
    "\u{7f}",
    "é",
];

/// Names by the one error that all of them get.
fn refused<T: FromStr<Err: Display>>(names: &[String], error: &str) -> usize {
    for name in names {
        match name.parse::<T>() {
            Ok(_) => panic!("{name:?} was taken"),
            Err(found) => assert_eq!(found.to_string(), error, "{name:?}"),
        }
    }
    names.len()
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn no_hostile_name_is_a_session_a_project_or_a_side_file_and_each_says_why() {
    const ID_ERROR: &str = "is no lower-case UUID";
    const PART: &str = "has a component outside [A-Za-z0-9_][A-Za-z0-9._-]*";
    let mut count = 0;
    let ids = [&ID.to_uppercase(), &ID.replace('-', ""), &format!("{{{ID}}}"), &format!("urn:uuid:{ID}"), &format!(" {ID}"), &format!("{ID}\n"), &ID[1..]];
    count += refused::<SessionId>(&owned(&HOSTILE), ID_ERROR);
    count += refused::<SessionId>(&ids.map(|id| (*id).to_owned()), ID_ERROR);
    count += refused::<SessionId>(&owned(&["", &ID.replace('6', "g"), &ID.replace('-', "_"), &format!("{ID}.jsonl"), &ID.replace('6', "６")]), ID_ERROR);
    count += refused::<SidePath>(&owned(&HOSTILE), PART);
    count += refused::<SidePath>(&owned(&["", "CON:", "a:b", "x\u{301}", "\u{2215}", "\u{ff0e}\u{ff0e}", "a/.b", "a/-b", &"x".repeat(129)]), PART);
    count +=
        refused::<SidePath>(&["a/b/c/d/e/f/g".to_owned(), "a/".repeat(500), format!("{}/{}", "x".repeat(128), "y".repeat(400))], "is too deep or too long");
    // Of the hostile ones only those of dashes and letters name a directory, and that is one of `projects/`.
    let names: Vec<String> = HOSTILE.iter().filter(|name| !["-rf", "--"].contains(name)).map(|name| (*name).to_owned()).collect();
    count += refused::<ProjectName>(&names, "is no project directory of the client");
    count += refused::<ProjectName>(&[String::new(), "a.b".to_owned(), "a_b".to_owned(), "x".repeat(209)], "is no project directory of the client");
    let within = |name: &str| format!("-w/{ID}/{name}");
    count += refused::<StorePath>(&HOSTILE.map(within), PART);
    count += refused::<StorePath>(
        &HOSTILE.map(|name| format!("-w/{name}.jsonl")).into_iter().filter(|path| path.matches('/').count() == 1).collect::<Vec<_>>(),
        ID_ERROR,
    );
    count += refused::<StorePath>(&owned(&["", "-w", ID, "x.jsonl"]), "is no session file");
    count += refused::<StorePath>(&[format!("-w/{ID}"), format!("-w/{ID}.json"), format!("-w/{ID}.jsonl~")], "is no session file");
    count += refused::<StorePath>(&[format!("/{ID}.jsonl"), format!("../{ID}.jsonl"), format!("a b/{ID}.jsonl")], "is no project directory of the client");
    figure(&format!("{count} names"));
    assert!(count >= 150, "{count}");
}

#[test]
fn no_hostile_name_is_an_argument_of_gh_or_ssh() {
    let host = "is no host for ssh: no leading hyphen, no white space, only letters, digits and . _ - @ : / % + [ ]";
    let mut count = 0;
    for name in HOSTILE.into_iter().chain(["", "-c", "box_1", "box.1", "box/1", "box 1", &"x".repeat(129)]) {
        let error = name.parse::<CodespaceName>().unwrap_err().to_string();
        assert!(error.ends_with("` is no name of a codespace (letters, digits and dashes, at most 128)") && !error.chars().any(is_active), "{error:?}");
        count += 1;
    }
    let hosts: Vec<&str> = HOSTILE
        .into_iter()
        .filter(|name| name.starts_with('-') || name.bytes().any(|byte| !byte.is_ascii_graphic() || b"$`;|&><*?~'\"\\{}()!#".contains(&byte)))
        .collect();
    count += refused::<ssh::Host>(&owned(&hosts), host);
    figure(&format!("{count} names"));
}

#[test]
fn no_hostile_name_is_an_object_of_a_vault_or_a_stamp() {
    let good = format!("{ID}.4.0123456789abcdef.{}-1", "0".repeat(32));
    assert!(good.parse::<VaultName>().is_ok());
    let mut count = refused::<VaultName>(&owned(&HOSTILE), "is no name of ours");
    count += refused::<VaultName>(&HOSTILE.map(|name| format!("{good}{name}")), "is no name of ours");
    count += refused::<VaultName>(&HOSTILE.map(|name| good.replacen('4', name, 1)), "is no name of ours");
    count += refused::<Token>(&owned(&HOSTILE), "is not inode:size:mtime:ctime");
    count += refused::<Token>(&HOSTILE.map(|name| format!("1:2:{name}:4")), "is not inode:size:mtime:ctime");
    figure(&format!("{count} names"));
}

#[test]
fn a_remote_made_to_be_run_names_no_repository() {
    let remotes: BTreeMap<&str, Vec<String>> = [
        ("a helper of git", owned(&["ext::sh -c 'touch x'", "ext::ssh x", "fd::17", "transport::address", "persistent-https::x", "testgit::/x"])),
        (
            "an option",
            owned(&[
                "--upload-pack=touch x",
                "-u touch",
                "ssh://-oProxyCommand=id/acme/widget",
                "-oProxyCommand=id:acme/widget",
                "git@-oProxyCommand=id:acme/widget",
            ]),
        ),
        ("a path", owned(&["/srv/acme/widget", "../acme/widget", "file:///acme/widget", "./a:acme/widget", "C:\\acme\\widget", "~/acme/widget"])),
        (
            "another depth",
            owned(&[
                "https://github.com/acme",
                "https://github.com/acme/widget/..",
                "https://github.com/acme/widget/more",
                "https://github.com//widget",
                "git@github.com:widget",
            ]),
        ),
        ("nothing", owned(&["", ":", "://", "https://", "https:///", "@:/", "a:b"])),
        (
            "a shell's",
            HOSTILE
                .iter()
                .filter(|name| name.bytes().any(|byte| !byte.is_ascii_graphic() || b"$`;|&><*?~'\"\\{}[]".contains(&byte)))
                .filter(|name| !name.ends_with('\n') && !name.starts_with(' '))
                .map(|name| format!("https://github.com/acme/{name}"))
                .collect(),
        ),
    ]
    .into();
    let mut count = 0;
    for (what, remotes) in remotes {
        for remote in remotes {
            assert_eq!(RepositoryId::from_remote(&remote), None, "{what}: {remote:?}");
            count += 1;
        }
    }
    figure(&format!("{count} remotes"));
}
