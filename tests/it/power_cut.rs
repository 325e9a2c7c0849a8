//! The power fails: whatever a file system may lose of a pass, the old or the new content of every file has a name.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::crash_world::{Prepared, Shown, quick};
use crate::disk_model::{Content, Recording};
use crate::figures::figure;
use crate::stepper::{self, Then};

/// Which of the files that were shown a content begins with; asked for the same content again and again.
#[derive(Default)]
struct Beginnings {
    known: HashMap<*const Vec<u8>, (Content, Vec<usize>)>,
}

impl Beginnings {
    fn of(&mut self, content: &Content, shown: &[Shown]) -> &[usize] {
        let found = || shown.iter().enumerate().filter(|(_, of)| content.starts_with(&of.before)).map(|(at, _)| at).collect();
        &self.known.entry(Rc::as_ptr(content)).or_insert_with(|| (Rc::clone(content), found())).1
    }
}

/// What was installed is remembered as soon as the pass ends, and what is remembered and not there counts as deleted by its user: by
/// then no power cut may take any of it.
fn stays(side: &str, own: &Recording) {
    let live = |path: &Path| path.to_string_lossy().contains("/.claude/projects/");
    let (before, now) = (own.standing(0).names, own.standing(own.len()).names);
    let installed: Vec<_> = now.iter().filter(|(path, content)| live(path) && before.get(*path) != Some(content)).collect();
    assert!(installed.len() > 5, "{side}: {installed:?}");
    for state in own.states(own.len()) {
        for (path, content) in &installed {
            assert!(state.names.get(*path) == Some(content), "{side}, {}: {} was installed, and is not there", state.what, path.display());
        }
    }
}

/// Runs a pass, and cuts the power of the machine whose files lie below this directory: the other one's stay as they are then.
fn cut(side: &str) -> (usize, usize) {
    let mut prepared = Prepared::everything();
    let arguments: Vec<String> = prepared.world.arguments(&[]).into_iter().map(str::to_owned).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    prepared.expect(&words);
    prepared.put_back();
    let root = prepared.world.root();
    let mut own = Recording::of(vec![root.join(side)]);
    let mut other = Recording::of([root.join("home"), root.join("box")].into_iter().filter(|of| *of != root.join(side)).collect());
    let mut beside: Vec<usize> = vec![0];
    let scratch = quick();
    let ended = stepper::run(&prepared.world.command(&[], &words), scratch.path(), &mut |call, stop| {
        own.saw(call, stop);
        other.saw(call, stop);
        beside.resize(own.len() + 1, other.len());
        beside[own.len()] = other.len();
        Then::On
    });
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(own.unknown.is_empty() && other.unknown.is_empty(), "the model does not know {:?} {:?}", own.unknown, other.unknown);
    let shown = prepared.shown();
    let kept = |path: &Path| ["/.claude/projects/", "/vault/"].iter().any(|part| path.to_string_lossy().contains(part));
    let (mut beginnings, mut states) = (Beginnings::default(), 0);
    for (at, beside) in beside.into_iter().enumerate() {
        // What the other machine has written by then is there.
        let there = other.standing(beside).names;
        for state in own.states(at) {
            states += 1;
            let mut found = vec![false; shown.len()];
            for content in state.names.iter().chain(&there).filter(|(path, _)| kept(path)).map(|(_, content)| content) {
                beginnings.of(content, &shown).iter().for_each(|of| found[*of] = true);
            }
            if let Some(lost) = found.iter().position(|found| !found) {
                panic!("{side}, {}: no name has the bytes of {}", state.what, shown[lost].path.display());
            }
            for of in shown.iter().filter(|of| of.path.starts_with(root.join(side))) {
                let holds = state.names.get(&of.path).unwrap_or_else(|| panic!("{side}, {}: {} has no file", state.what, of.path.display()));
                let whole = **holds == *of.before.0 || of.after.as_ref().is_some_and(|after| **holds == after.0);
                assert!(whole, "{side}, {}: {} holds {} bytes, neither the old nor the new ones", state.what, of.path.display(), holds.len());
            }
            for (path, bytes) in prepared.created() {
                let holds: Option<&Content> = state.names.get::<PathBuf>(&path);
                assert!(holds.is_none_or(|holds| **holds == bytes.0), "{side}, {}: {} is not whole", state.what, path.display());
            }
        }
    }
    stays(side, &own);
    assert!(own.len() > 20 && states > own.len(), "{} calls, {states} states", own.len());
    (own.len(), states)
}

#[test]
fn whatever_a_power_cut_takes_the_old_or_the_new_content_has_a_name() {
    for side in ["home", "box"] {
        let (calls, states) = cut(side);
        figure(&format!("power cut, {side}: behind each of {calls} calls, {states} states"));
    }
}
