//! The rules of the house that no compiler and no lint holds: who may use whom, what is pure, what may remove a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which modules of ours each module may use, beside itself. `main → cli → {pass, demo}`; `pass → {codespace, store, state} →
/// reconcile → nothing`; configuration, places and logging lie below all but `reconcile`.
const MAY_USE: [(&str, &[&str]); 16] = [
    ("main", &["cli", "paths"]),
    ("lib", &[]),
    ("cli", &["agent", "codespace", "config", "demo", "doctor", "lock", "logging", "pass", "paths", "reconcile", "service", "state", "store"]),
    ("demo", &["reconcile"]),
    ("doctor", &["agent", "codespace", "config", "pass", "paths", "reconcile", "service", "state", "store"]),
    ("agent", &["paths", "reconcile"]),
    ("pass", &["codespace", "config", "lock", "paths", "reconcile", "state", "store"]),
    ("codespace", &["paths", "reconcile"]),
    ("service", &["config", "paths", "reconcile"]),
    ("store", &["reconcile"]),
    ("state", &["reconcile", "store"]),
    ("config", &["paths", "reconcile"]),
    ("paths", &["config", "reconcile"]),
    ("lock", &[]),
    ("logging", &["config", "paths", "reconcile"]),
    ("reconcile", &[]),
];

/// What a pure module does not say.
const IMPURE: [&str; 13] = [
    "std::fs",
    "std::env",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant",
    "Utc::now",
    "tokio",
    "tracing",
    "async fn",
    ".await",
];

/// Who may remove a name, and what.
const MAY_REMOVE: [&str; 5] = [
    "src/store/proof.rs",           // anything of the store or the vault, with its proof
    "src/logging/series.rs",        // log files that are too old or too many
    "src/codespace/ssh/runtime.rs", // sockets of its own
    "src/agent/control.rs",         // its own socket
    "src/service/files.rs",         // the unit that it wrote, and what was kept before
];

struct Source {
    /// From the root of the crate.
    path: String,
    text: String,
}

impl Source {
    /// The module right below the crate.
    fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap();
        inside.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// What is built into the program, without its comments.
    fn program(&self) -> String {
        let text = if self.path.ends_with("/tests.rs") { "" } else { self.text.split("#[cfg(test)]\nmod tests").next().unwrap() };
        text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
    }

    /// The prose of the module.
    fn prose(&self) -> String {
        self.text.lines().filter_map(|line| line.strip_prefix("//!")).collect()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(below: &str) -> Vec<Source> {
    fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    collect(&root().join(below), &mut found);
    found.sort();
    let source = |path: PathBuf| Source { path: path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(), text: fs::read_to_string(&path).unwrap() };
    found.into_iter().map(source).collect()
}

/// The modules of ours that a text names: by `crate::x`, by `crate::{x, y}`, by the crate's own name.
fn used(text: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, root) in text.match_indices("crate::").chain(text.match_indices("claude_session_sync::")) {
        let word = |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
        let rest = &text[at + root.len()..];
        match rest.strip_prefix('{').and_then(|list| list.split_once("};")) {
            Some((list, _)) => used.extend(list.split(',').map(|item| word(item.trim())).filter(|word| !word.is_empty())),
            None => used.extend([word(rest)]),
        }
    }
    used
}

#[test]
fn no_module_uses_one_that_stands_above_it() {
    let rule: BTreeMap<&str, &[&str]> = MAY_USE.into_iter().collect();
    assert_eq!(used("use crate::{paths, pass::here};\ncrate::state::x()"), ["pass", "paths", "state"].map(str::to_owned).into());
    let mut broken = Vec::new();
    for source in sources("src") {
        let module = source.module();
        let Some(may) = rule.get(module) else { panic!("{module} has no row in MAY_USE: say whom it may use") };
        let unlawful = used(&source.program()).into_iter().filter(|used| used != module && !may.contains(&used.as_str()) && rule.contains_key(used.as_str()));
        broken.extend(unlawful.map(|used| format!("{} uses {used}", source.path)));
    }
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn what_decides_is_pure() {
    let mut broken = Vec::new();
    for source in sources("src").iter().filter(|source| source.module() == "reconcile") {
        let program = source.program();
        broken.extend(IMPURE.iter().filter(|word| program.contains(*word)).map(|word| format!("{} says {word}", source.path)));
    }
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn a_file_that_is_longer_than_400_lines_says_why() {
    let long = |source: &Source| source.text.lines().count() > 400 && !source.prose().contains("Longer than 400 lines");
    let broken: Vec<String> = sources("src").into_iter().chain(sources("tests")).filter(long).map(|source| source.path).collect();
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent: Vec<String> = sources("src").into_iter().filter(|source| source.prose().trim().is_empty()).map(|source| source.path).collect();
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn no_lint_is_silenced_without_a_reason() {
    let silencing = ["#[", "#!["].map(|open| format!("{open}allow("));
    let broken: Vec<String> = sources("src")
        .into_iter()
        .chain(sources("tests"))
        .filter(|source| silencing.iter().any(|words| source.text.contains(words)))
        .map(|source| source.path)
        .collect();
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn a_name_is_removed_with_a_proof_and_nowhere_else() {
    // Others hand a proof to `proof::unlink`.
    let removes = |source: &Source| {
        let program = source.program().replace("proof::unlink(", "");
        !MAY_REMOVE.contains(&source.path.as_str()) && ["remove_file", "remove_dir", "unlink"].iter().any(|word| program.contains(word))
    };
    let broken: Vec<String> = sources("src").into_iter().filter(removes).map(|source| source.path).collect();
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn one_request_to_github_is_no_get_and_only_connect_reaches_it() {
    let saying = |words: &[&str]| -> Vec<String> {
        let says = |source: &Source| words.iter().any(|word| source.program().contains(word));
        sources("src").into_iter().filter(says).map(|source| source.path).collect()
    };
    let (here, elsewhere): (Vec<String>, Vec<String>) = saying(&["use reqwest::{", "reqwest::Client", "reqwest::get", "reqwest::blocking"])
        .into_iter()
        .partition(|path| path.starts_with("src/codespace/github/"));
    assert!(!here.is_empty() && elsewhere.is_empty(), "only there is GitHub asked: {elsewhere:?}");
    let not_get = [".post(", ".put(", ".patch(", ".delete(", ".request(", ".execute(", "Method::", "Request::"];
    let asks: Vec<String> = saying(&not_get).into_iter().filter(|path| path.starts_with("src/codespace/github/")).collect();
    assert_eq!(asks, ["src/codespace/github/start.rs"]);
    assert_eq!(saying(&["start_codespace"]), ["src/cli/connect/start.rs", "src/codespace/github/start.rs"]);
    assert_eq!(saying(&["make_available"]), ["src/cli/connect/mod.rs", "src/cli/connect/start.rs"]);
}

#[test]
fn no_file_is_named_after_nothing() {
    let empty = ["util", "utils", "helper", "helpers", "manager", "common", "misc", "handler"];
    let named = |source: &Source| source.path.split(['/', '.']).any(|part| empty.contains(&part));
    let broken: Vec<String> = sources("src").into_iter().chain(sources("tests")).filter(named).map(|source| source.path).collect();
    assert_eq!(broken, Vec::<String>::new());
}

/// The lines of the README's code blocks of a kind.
fn readme(kind: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let mut blocks = Vec::new();
    let mut rest = text.as_str();
    while let Some((_, after)) = rest.split_once(&format!("```{kind}\n")) {
        let (block, after) = after.split_once("```").unwrap();
        blocks.push(block.to_owned());
        rest = after;
    }
    blocks
}

#[test]
fn the_readme_says_what_is_out_of_reach() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(text.contains("A transcript is as trustworthy as its codespace."));
}

#[test]
fn every_command_of_the_readme_exists() {
    let mut seen = 0;
    for line in readme("sh").iter().flat_map(|block| block.lines()) {
        let line = line.split('#').next().unwrap().trim();
        let Some(at) = line.find("claude-session-sync ").filter(|_| !line.contains("git clone") && !line.contains("install")) else { continue };
        // Behind `--` another program's words begin.
        let words: Vec<&str> = line[at..].split_whitespace().skip(1).take_while(|word| !["|", "||", "&&", ";", "--"].contains(word)).collect();
        let verb: Vec<&str> = words.iter().take_while(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())).copied().collect();
        let help = Command::new(env!("CARGO_BIN_EXE_claude-session-sync")).args(&verb[..1]).arg("--help").env_clear().output().unwrap();
        let help_text = String::from_utf8(help.stdout).unwrap();
        assert!(help.status.success(), "{line}");
        for option in words.iter().filter(|word| word.starts_with('-')) {
            let name = option.split('=').next().unwrap();
            assert!(help_text.contains(name), "{line}: {} has no {name}", verb[0]);
        }
        if let Some(second) = verb.get(1) {
            assert!(help_text.contains(second), "{line}: {} has no {second}", verb[0]);
        }
        seen += 1;
    }
    assert!(seen >= 6, "the README's commands were found: {seen}");
}

#[test]
fn every_configuration_of_the_readme_is_a_good_one() {
    let home = tempfile::tempdir().unwrap();
    let blocks = readme("toml");
    assert!(!blocks.is_empty());
    for block in blocks {
        let file = home.path().join("config.toml");
        fs::write(&file, &block).unwrap();
        let mut check = Command::new(env!("CARGO_BIN_EXE_claude-session-sync"));
        let checked = check.args(["config", "check", "--config"]).arg(&file).env_clear().env("HOME", home.path()).output().unwrap();
        assert!(checked.status.success(), "{block}{}", String::from_utf8_lossy(&checked.stderr));
    }
}
