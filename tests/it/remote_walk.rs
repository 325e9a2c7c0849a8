//! What is seen below `projects/`, however much it is, and that nothing is concluded from a walk that failed.

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use claude_session_sync::codespace::wire::{FarPath, HashWant, Operation, Outcome, Range, WireError};

use crate::remote_far::{Far, TOOLS, Tools, program, sha256, skip};
use crate::remote_put::put;
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

#[test]
fn more_files_than_a_command_line_holds_are_written_listed_hashed_and_read() {
    for tools in [Tools::Dash, Tools::Busybox] {
        let Some(far) = Far::with("dash", tools) else { continue };
        // Names of more than thirty thousand bytes; the one in the middle is not there when it is asked for.
        let (count, missing) = (700, 350);
        let path = |n: usize| format!("-p/{n:08x}-ce51-4e00-8a05-674dde6aa368.jsonl");
        let text = |n: usize| format!("line {n:04}\n").into_bytes();
        let files = (1..=count).map(|n| far.file(u32::try_from(n).unwrap(), Operation::Create, &path(n), &text(n), &text(n))).collect();
        let answer = put(&far, files);
        assert!(answer.outcomes.len() == count && answer.outcomes.values().all(|outcome| matches!(outcome, Outcome::Done { .. })), "{tools:?}");
        std::fs::remove_file(far.claude.join("projects").join(path(missing))).unwrap();
        assert_eq!(far.list().files.len(), count - 1);
        let at = |n: usize| FarPath::Store(path(n).parse().unwrap());
        let wants = (1..=count).flat_map(|n| [None, Some(4)].map(|first| HashWant { path: at(n), first }));
        // A beginning costs two programs each.
        let hashes = far.hash(wants.filter(|want| want.first.is_none() || want.path > at(count - 5)).collect()).unwrap();
        for n in 1..=count {
            assert_eq!(hashes.get(&at(n), None), (n != missing).then(|| sha256(&text(n))), "{n}");
            assert_eq!(hashes.get(&at(n), Some(4)), (n > count - 5).then(|| sha256(b"line")), "{n}");
        }
        let ranges: Vec<_> = (1..=count).map(|n| Range { path: at(n), offset: 5, length: 5 }).collect();
        let read = far.get(&ranges).unwrap();
        assert!((1..=count).all(|n| read[n - 1] == (n != missing).then(|| text(n)[5..].to_vec())), "{tools:?}");
    }
}

#[test]
fn a_file_that_goes_while_it_is_hashed_costs_no_other_digest() {
    let far = Far::new();
    let gone = far.plant(&format!("-p/{A}.jsonl"), b"x\n");
    // One name is the beginning of another.
    let paths = ["ab", "a"].map(|name| format!("-p/{A}/tool-results/{name}"));
    paths.iter().for_each(|path| drop(far.plant(path, path.as_bytes())));
    far.tool("sha256sum", &format!("#!/bin/sh\nrm -f {}\nexec {} \"$@\"\n", gone.display(), program("sha256sum").unwrap().display()));
    let want = |path: &str| HashWant { path: FarPath::Store(path.parse().unwrap()), first: None };
    let transcript = format!("-p/{A}.jsonl");
    let wants = [want(&transcript), want(&paths[0]), want(&paths[1])];
    let hashes = far.hash(wants.to_vec()).unwrap();
    let expected = [None, Some(sha256(paths[0].as_bytes())), Some(sha256(paths[1].as_bytes()))];
    assert_eq!(wants.map(|want| hashes.get(&want.path, None)), expected);
}

#[test]
fn what_a_profile_leaves_running_keeps_no_listing_waiting() {
    for tools in TOOLS {
        let Some(far) = Far::with("dash", tools) else { continue };
        let named = far.home.path().join("named");
        std::fs::write(far.home.path().join(".profile"), format!("sleep 20 &\necho css\nexport CLAUDE_CONFIG_DIR={}\n", named.display())).unwrap();
        let began = Instant::now();
        assert_eq!(far.list_with(None, Vec::new()).unwrap().claude, named.to_str().unwrap(), "{tools:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "{tools:?}");
    }
}

#[test]
fn a_clone_with_a_dot_is_a_clone() {
    for tools in TOOLS {
        let Some(far) = Far::with("dash", tools) else { continue };
        let workspaces = far.home.path().join("workspaces");
        for clone in [".github", "widget", ".codespaces/shared"] {
            let git = workspaces.join(clone).join(".git");
            std::fs::create_dir_all(&git).unwrap();
            std::fs::write(git.join("config"), format!("[remote \"origin\"]\n\turl = https://github.com/acme/{}\n", clone.trim_start_matches('.'))).unwrap();
        }
        let roots: Vec<String> = far.list().roots.into_iter().map(|root| root.path).collect();
        assert_eq!(roots, [workspaces.join("widget"), workspaces.join(".github")].map(|path| path.to_str().unwrap().to_owned()), "{tools:?}");
    }
}

/// A grep that cannot pass over a pipe is ended, and what it did not say of its share is not taken for nothing.
#[test]
fn a_share_of_the_transcripts_that_could_not_be_read_fails_the_listing() {
    let Some(far) = Far::with("dash", Tools::Bsd) else { return skip("a listing in shares", "no tools for it here") };
    for n in 0..6000 {
        far.plant(&format!("-p/{n:08x}-ce51-4e00-8a05-674dde6aa368.jsonl"), b"{\"cwd\":\"/p\"}\n");
    }
    assert_eq!(far.list().files.len(), 6000);
    let (once, grep) = (far.home.path().join("once"), program("grep").unwrap());
    let text = format!(
        "#!/bin/sh\ncase \"$*\" in *--devices*) exit 2 ;; *jsonl*) mkdir {} 2>/dev/null && exit 137 ;; esac\nexec {} \"$@\"\n",
        once.display(),
        grep.display()
    );
    far.tool("grep", &text);
    let error = far.list_with(Some(far.name()), Vec::new()).unwrap_err();
    assert!(error.to_string().ends_with("cannot be opened") && once.exists(), "{error}");
}
