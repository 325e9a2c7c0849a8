//! A secret that was pasted into a session, and a world that holds it in every way that it can.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use claude_session_sync::reconcile::report::Forgetting;

use crate::talk::{Talk, id};
use crate::world::{Bytes, Ran, Side, World, files};

/// What must be nowhere in the end.
pub(crate) const SECRET: &str = "hunter2-swordfish";
/// The title of the session, and the beginning of its fork's.
pub(crate) const TITLE: &str = "Rotate the deploy key";
/// What must stay everywhere.
pub(crate) const OTHER: &str = "write the docs";

/// This machine, `box`, and `late`.
pub(crate) struct Spilled {
    pub(crate) world: World,
    pub(crate) near: Side,
    pub(crate) late: Side,
    pub(crate) talk: Talk,
    /// The copy that lost, and the session that it became.
    pub(crate) lost: Talk,
    pub(crate) fork: String,
}

impl Spilled {
    /// The session with the secret in a message and in a side file, grown so that copies were displaced on every side, then continued
    /// on two of them, so that there is a fork; and another session. Equal everywhere, after a last pass.
    pub(crate) fn everywhere() -> Self {
        let (mut world, near) = World::with_box();
        let late = world.machine("late", &["acme/widget"]);
        world.set("[log]\nlevel = \"trace\"");
        late.clone_of("widget", "git@github.com:acme/widget.git");
        let cwd = world.here.at("widget");
        let talk = Talk::begun(&id(1), &cwd, 60, &format!("the password is {SECRET}")).titled(TITLE);
        world.here.put(&talk);
        world.here.put_side(&talk, "tool-results/a.txt", format!("login {SECRET}").as_bytes(), 60);
        world.here.put_side(&talk, "subagents/agent-1.jsonl", format!("{{\"said\":\"{SECRET}\"}}\n").as_bytes(), 60);
        let other = Talk::begun(&id(2), &cwd, 50, OTHER);
        world.here.put(&other);
        world.here.put_side(&other, "tool-results/a.txt", b"nothing of it", 50);
        world.passes();
        let talk = talk.says(&format!("{SECRET} once more")).rests();
        world.here.goes_on(&talk);
        world.passes();
        let lost = talk.clone().after(5).says(&format!("{SECRET}, said here")).rests();
        let won = talk.after(20).says(&format!("{SECRET}, said there")).rests();
        world.here.goes_on(&lost);
        near.goes_on(&won);
        world.passes();
        let won = won.says(&format!("{SECRET} for the last time")).rests();
        world.here.goes_on(&won);
        world.passes();
        let fork = lost.fork_id();
        for side in [&world.here, &near, &late] {
            assert_eq!((side.bytes(&id(1)), side.paths(&fork).len()), (won.bytes.clone(), 1), "{}", side.name);
        }
        assert!(!far_vault(&near).is_empty() && !far_vault(&late).is_empty() && !world.displaced(&id(1)).is_empty());
        Self { world, near, late, talk: won, lost, fork }
    }

    /// Whether the last one is switched on.
    pub(crate) fn late_answers(&mut self, answers: bool) {
        self.world.reach("late", |command| {
            command.retain(|word| word != "false");
            if !answers {
                command.insert(0, "false".to_owned());
            }
        });
    }

    pub(crate) fn forget(&self, more: &[&str]) -> Ran {
        let arguments: Vec<&str> = ["forget"].into_iter().chain(more.iter().copied()).collect();
        Ran::of(&mut self.world.command(&[], &arguments))
    }

    #[track_caller]
    pub(crate) fn forgets(&self) -> Ran {
        let ran = self.forget(&[&id(1), "--yes"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran
    }

    /// A pass over one of them.
    pub(crate) fn visits(&self, name: &str, more: &[&str]) -> Ran {
        let arguments: Vec<&str> = ["sync", "--json", name].into_iter().chain(more.iter().copied()).collect();
        Ran::of(&mut self.world.command(&[], &arguments))
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.world.data()
    }

    /// Whether a session has a tombstone here.
    pub(crate) fn is_forgotten(&self, id: &str) -> bool {
        self.data().join("vault/forgotten").join(id).exists()
    }
}

/// The vault beside a far store.
pub(crate) fn far_vault(side: &Side) -> Vec<PathBuf> {
    let vault = fs::read_dir(side.claude.join(".claude-session-sync/vault"));
    vault.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

/// The files below a directory in which the secret, or the title, stands.
pub(crate) fn traces(directory: &Path) -> Vec<String> {
    let found = Command::new("grep").args(["-r", "-l", "-a", "-F", "-e", SECRET, "-e", TITLE]).arg(directory).output().unwrap();
    assert!(found.status.code().unwrap() < 2, "{found:?}");
    String::from_utf8(found.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Everything below a home but for what every run writes anew: logs, state, locks.
pub(crate) fn everything(home: &Path) -> BTreeMap<String, (u64, Bytes)> {
    let mut all = files(home);
    let written = [".local/state/", "/state/", ".config/", ".cache/", "archive/index.jsonl", ".claude-session-sync/lock"];
    all.retain(|name, _| !written.iter().any(|part| name.contains(part)));
    all
}

/// What was forgotten where, as the report says.
pub(crate) fn told(ran: &Ran) -> Vec<(String, String, Forgetting)> {
    let told = ran.report().forgotten.into_iter().map(|of| (of.at, of.session.to_string(), of.what));
    let mut told: Vec<_> = told.collect();
    told.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    told
}
