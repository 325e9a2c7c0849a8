//! What is seen below `projects/`, and that nothing is concluded from a walk that failed.

use std::os::unix::fs::symlink;

use claude_session_sync::codespace::wire::WireError;

use crate::remote_far::{Far, Tools, program};
use crate::remote_script::A;

#[test]
fn a_walk_that_fails_is_a_failed_listing() {
    for tools in [Tools::Dash, Tools::Bsd] {
        let far = Far::with("dash", tools).unwrap();
        far.plant(&format!("-p/{A}.jsonl"), b"x\n");
        let find = program("find").unwrap();
        far.tool("find", &format!("#!/bin/sh\n{} \"$@\"\nexit 1\n", find.display()));
        let failed = far.list_with(Some(far.name()), Vec::new()).unwrap_err();
        assert!(matches!(&failed, WireError::Far(text) if text.starts_with("cannot list /")), "{failed}");
    }
}

#[test]
fn gnu_tools_walk_once_whether_or_not_a_working_directory_is_named() {
    for line in ["x\n", "{\"cwd\":\"/p\"}\n"] {
        let far = Far::new();
        far.plant(&format!("-p/{A}.jsonl"), line.as_bytes());
        let walks = far.home.path().join("walks");
        far.tool("find", &format!("#!/bin/sh\necho >>{}\nexec {} \"$@\"\n", walks.display(), program("find").unwrap().display()));
        assert_eq!(far.list().files.len(), 1);
        assert_eq!(std::fs::read_to_string(walks).unwrap(), "\n", "{line}");
    }
}

#[test]
fn a_symlinked_projects_directory_is_followed_and_a_symlinked_project_is_not() {
    let far = Far::new();
    let elsewhere = far.home.path().join("elsewhere");
    std::fs::create_dir_all(elsewhere.join("-p")).unwrap();
    std::fs::write(elsewhere.join(format!("-p/{A}.jsonl")), "x\n").unwrap();
    symlink(&elsewhere, far.claude.join("projects")).unwrap();
    symlink("-p", elsewhere.join("-q")).unwrap();
    let listing = far.list();
    assert_eq!(listing.files.iter().map(|file| file.path.to_string()).collect::<Vec<_>>(), [format!("-p/{A}.jsonl")]);
    assert_eq!(listing.skipped.iter().map(|skipped| (skipped.name.as_str(), skipped.why.as_str())).collect::<Vec<_>>(), [("-q", "is a symbolic link")]);
}
