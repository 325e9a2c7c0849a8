//! From the file's text to a configuration: each value by its own rule, then what the entries say together.
//!
//! Promises: either a configuration without a mistake, or all mistakes.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::document::{Document, Section};
use super::problem::Problem;
use super::values::{FarPath, MachineName, Program, Wrong, here};
use super::{Config, Machine, Reach, Repository};
use crate::reconcile::project::RepositoryId;

/// Most days that can be asked for: ten years.
const MOST_DAYS: u32 = 3650;

/// Reads a configuration; `home` is what `~/` means.
pub(super) fn config(text: &str, home: &Path) -> Result<Config, Vec<Problem>> {
    let document = Document::read(text)?;
    let mut config = Config::defaults(home);
    general(&document, &mut config, home);
    timing(&document, &mut config);
    config.repositories = repositories(&document, home);
    config.machines = machines(&document);
    let problems = document.problems();
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

/// Takes a value where there is one.
fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

fn value<T>(read: Option<(T, usize)>) -> Option<T> {
    read.map(|(value, _)| value)
}

fn parsed<T: FromStr>(text: &str) -> Result<T, Wrong>
where
    T::Err: Into<Wrong>,
{
    text.parse().map_err(Into::into)
}

fn repository(text: &str) -> Result<RepositoryId, Wrong> {
    text.parse().map_err(|_| Wrong::new("is no repository").hint("owner/name, or host/owner/name where the host is not github.com"))
}

fn general(document: &Document<'_>, config: &mut Config, home: &Path) {
    let section = document.section("github");
    set(&mut config.github.enabled, section.switch("enabled"));
    set(&mut config.github.api_url, value(section.text("api_url", parsed)));
    config.github.token_file = value(section.text("token_file", |text| here(text, home)));

    let section = document.section("sync");
    set(&mut config.sync.days, section.number("days", 1..=MOST_DAYS));
    set(&mut config.sync.default, section.word("default"));
    set(&mut config.sync.clone_roots, section.texts("clone_roots", |text| here(text, home)));
    set(&mut config.sync.idle_policy, section.word("idle_policy"));

    let section = document.section("claude");
    config.claude.directory = value(section.text("directory", |text| here(text, home)));
    config.claude.codespace_directory = value(section.text("codespace_directory", parsed));

    let section = document.section("programs");
    let program = |key| value(section.text(key, |text| Program::new(text, home)));
    set(&mut config.programs.gh, program("gh"));
    set(&mut config.programs.ssh, program("ssh"));
    set(&mut config.programs.git, program("git"));
    set(&mut config.programs.ssh_keygen, program("ssh_keygen"));
}

fn timing(document: &Document<'_>, config: &mut Config) {
    let section = document.section("schedule");
    set(&mut config.schedule.every, value(section.text("every", parsed)));
    set(&mut config.schedule.look, value(section.text("look", parsed)));
    set(&mut config.schedule.jitter, value(section.text("jitter", parsed)));
    set(&mut config.schedule.stale_after, value(section.text("stale_after", parsed)));

    let section = document.section("vault");
    set(&mut config.vault.archive, section.switch("archive"));
    set(&mut config.vault.warn_at, value(section.text("warn_at", parsed)));

    let section = document.section("log");
    set(&mut config.log.level, section.word("level"));
    set(&mut config.log.format, section.word("format"));
    set(&mut config.log.keep, section.number("keep", 1..=MOST_DAYS));

    set(&mut config.notify.enabled, document.section("notify").switch("enabled"));
}

/// Which entry has a thing, for things that only one may have.
struct Claims<'d, T> {
    document: &'d Document<'d>,
    by: HashMap<T, (usize, String)>,
}

impl<'d, T: Eq + Hash> Claims<'d, T> {
    fn new(document: &'d Document<'d>) -> Self {
        Self { document, by: HashMap::new() }
    }

    /// `what` is the kind of thing, `who` the entry that has it.
    fn claim(&mut self, thing: T, at: usize, who: impl Display, what: &str) {
        if let Some((first, holder)) = self.by.get(&thing) {
            let message = format!("{holder} has this {what} already (line {})", self.document.line(*first));
            self.document.refuse(at, Wrong::new(message).hint(format!("keep the {what} in one of the two")));
        } else {
            self.by.insert(thing, (at, who.to_string()));
        }
    }
}

fn repositories<'d>(document: &'d Document<'d>, home: &Path) -> Vec<Repository> {
    let mut names = Claims::new(document);
    let mut paths: Claims<'_, PathBuf> = Claims::new(document);
    let mut repositories = Vec::new();
    for section in document.sections("repository") {
        let name = section.text("name", repository);
        let path = section.text("path", |text| here(text, home));
        let sync = section.word("sync");
        let also_in = section.texts("also_in", repository).unwrap_or_default();
        if !section.has("name") {
            document.refuse(section.at, Wrong::new("a [[repository]] without \"name\"").hint("as in: name = \"owner/name\""));
        }
        if let (Some((path, at)), Some((name, _))) = (&path, &name) {
            paths.claim(path.clone(), *at, name, "path");
        }
        if let Some((name, at)) = name {
            names.claim(name.clone(), at, "another [[repository]]", "name");
            repositories.push(Repository { name, path: value(path), sync, also_in });
        }
    }
    repositories
}

fn machines<'d>(document: &'d Document<'d>) -> Vec<Machine> {
    let mut names = Claims::new(document);
    let mut machines = Vec::new();
    for section in document.sections("machine") {
        let name = section.text("name", parsed::<MachineName>);
        let reach = reach(document, &section);
        let repositories = section.texts("repositories", repository);
        let claude = value(section.text("claude", parsed));
        let workspaces = value(section.text("workspaces", parsed)).unwrap_or_else(FarPath::workspaces);
        if !section.has("name") {
            document.refuse(section.at, Wrong::new("a [[machine]] without \"name\"").hint("as in: name = \"box\""));
        }
        if !section.has("repositories") || repositories.as_ref().is_some_and(Vec::is_empty) {
            let wrong = Wrong::new("a [[machine]] that shares no \"repositories\"").hint("as in: repositories = [\"owner/name\"]");
            document.refuse(section.at, wrong);
        }
        let Some((name, at)) = name else { continue };
        names.claim(name.clone(), at, "another [[machine]]", "name");
        if let (Some(reach), Some(repositories)) = (reach, repositories) {
            machines.push(Machine { name, reach, repositories, claude, workspaces });
        }
    }
    machines
}

/// One of `ssh` and `command`.
fn reach(document: &Document<'_>, section: &Section<'_>) -> Option<Reach> {
    let ssh = value(section.text("ssh", parsed)).map(Reach::Ssh);
    let word = |text: &str| if text.contains('\0') { Err(Wrong::new("holds a NUL")) } else { Ok(text.to_owned()) };
    let command = section.texts("command", word);
    let hint = "ssh = \"host\", or command = [\"docker\", \"exec\", \"-i\", \"box\"]";
    match (section.has("ssh"), section.has("command")) {
        (true, true) => document.refuse(section.at, Wrong::new("a [[machine]] with both \"ssh\" and \"command\"").hint("keep one of the two")),
        (false, false) => document.refuse(section.at, Wrong::new("a [[machine]] with neither \"ssh\" nor \"command\"").hint(hint)),
        (true, false) => return ssh,
        (false, true) => {
            let command = command?;
            if command.first().is_some_and(|program| !program.is_empty() && !program.starts_with('-')) {
                return Some(Reach::Command(command));
            }
            document.refuse(section.at, Wrong::new("a [[machine]] whose \"command\" names no program").hint(hint));
        }
    }
    None
}
