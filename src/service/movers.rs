//! Others that move the same files: an older tool's job, `brew services`, lines of cron, hooks of the client, another program of our
//! name earlier on PATH.
//!
//! Promises: what is found comes with its evidence and with what ends it; [`found`] is pure over what was read. Never: a guess from a
//! name that merely looks alike; anything ended here but the one job that [`Service::replace`] is asked to.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::{Service, ServiceError, files};
use crate::paths::System;

/// The job of a tool that came before this one.
pub const OLD_LABEL: &str = "com.user.claude-session-sync";
/// What that job runs.
const OLD_PROGRAM: &str = "sync-sessions-from-all-codespaces";
/// `brew services`, on macOS.
pub const BREW_LABEL: &str = "homebrew.mxcl.claude-session-sync";
/// `brew services`, on Linux.
const BREW_UNIT: &str = "homebrew.claude-session-sync.service";
/// The name that is typed, which others install as well.
const NAME: &str = "claude-session-sync";

/// Larger files are none of a person's.
const LARGEST: u64 = 1 << 20;

/// What kind of mover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The older tool's job of launchd, which `service install --replace` ends.
    OldJob,
    /// `brew services` starts this program, too.
    BrewServices,
    /// A line of cron.
    Crontab,
    /// A hook of the client.
    Hook,
    /// Another program of this name comes first on PATH.
    OnPath,
}

/// Something else that moves sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mover {
    /// Its kind.
    pub kind: Kind,
    /// Where it is.
    pub place: String,
    /// What was seen there.
    pub evidence: String,
    /// What ends it.
    pub remedy: String,
}

/// What was read of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Property lists of the user's jobs, and user units of systemd: file and text.
    pub units: Vec<(PathBuf, String)>,
    /// Labels of the above kinds that launchd has loaded.
    pub loaded: Vec<String>,
    /// The user's crontab.
    pub crontab: String,
    /// Settings of the client: file and content.
    pub settings: Vec<(PathBuf, Value)>,
    /// Programs of our name on PATH, in its order, with their real paths.
    pub on_path: Vec<(PathBuf, PathBuf)>,
    /// The real path of this program.
    pub own: PathBuf,
}

/// The movers among what was read.
#[must_use]
pub fn found(seen: &Seen) -> Vec<Mover> {
    let mut found = Vec::new();
    found.extend(old_job(seen));
    found.extend(brew(seen));
    let lines = seen.crontab.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    // A machine without a service manager may well start the agent so.
    let is_agent = |line: &str| is_own(line, seen) && words(line).any(|word| word == "run");
    found.extend(lines.filter(|line| moves_sessions(line) && !is_agent(line)).map(|line| Mover {
        kind: Kind::Crontab,
        place: "crontab".to_owned(),
        evidence: line.to_owned(),
        remedy: "crontab -e, and remove that line".to_owned(),
    }));
    for (file, settings) in &seen.settings {
        let commands = hooks(settings).into_iter().filter(|(_, command)| moves_sessions(command) && !is_own(command, seen));
        found.extend(commands.map(|(event, command)| Mover {
            kind: Kind::Hook,
            place: format!("{} ({event})", file.display()),
            evidence: command,
            remedy: format!("remove that hook from {}", file.display()),
        }));
    }
    found.extend(on_path(seen));
    found
}

fn old_job(seen: &Seen) -> Option<Mover> {
    let unit = seen.units.iter().find(|(file, text)| is_named(file, OLD_LABEL) || text.contains(OLD_PROGRAM));
    let loaded = seen.loaded.iter().any(|label| label == OLD_LABEL);
    let (place, evidence) = match unit {
        Some((file, text)) if text.contains(OLD_PROGRAM) => (file.display().to_string(), format!("it runs {OLD_PROGRAM}")),
        Some((file, _)) => (file.display().to_string(), format!("the job {OLD_LABEL}")),
        None if loaded => (format!("launchd, {OLD_LABEL}"), "it is loaded, without a property list".to_owned()),
        None => return None,
    };
    // A job under another name is for its owner to end.
    let ours_to_end = loaded || unit.is_some_and(|(file, _)| is_named(file, OLD_LABEL));
    let remedy = if ours_to_end { format!("{NAME} service install --replace") } else { format!("launchctl bootout gui/$(id -u) {}", quoted(&place)) };
    Some(Mover { kind: Kind::OldJob, place, evidence, remedy })
}

fn brew(seen: &Seen) -> Option<Mover> {
    let unit = seen.units.iter().find(|(file, _)| is_named(file, BREW_LABEL) || file.file_name() == Some(OsStr::new(BREW_UNIT)));
    let place = match unit {
        Some((file, _)) => file.display().to_string(),
        None if seen.loaded.iter().any(|label| label == BREW_LABEL) => format!("launchd, {BREW_LABEL}"),
        None => return None,
    };
    let evidence = "brew services starts this program as well".to_owned();
    Some(Mover { kind: Kind::BrewServices, place, evidence, remedy: format!("brew services stop {NAME}") })
}

fn on_path(seen: &Seen) -> Option<Mover> {
    let (first, real) = seen.on_path.first().filter(|(_, real)| *real != seen.own)?;
    let place = first.display().to_string();
    let link = if first == real { String::new() } else { format!(", which is {}", real.display()) };
    let evidence = format!("it comes before {} on PATH{link}", seen.own.display());
    // A Python package installs that name.
    let remedy = format!("pip uninstall {NAME}, or pipx uninstall {NAME}, if it is a Python package; else remove {}", quoted(&place));
    Some(Mover { kind: Kind::OnPath, place, evidence, remedy })
}

/// Whether a command moves sessions: by a tool of that name, or by a copying program that is told of the client's directory.
fn moves_sessions(command: &str) -> bool {
    let copies = words(command).any(|word| ["rsync", "scp", "rclone", "unison", "sftp"].contains(&base(word)));
    let by_gh = words(command).collect::<Vec<_>>().windows(3).any(|three| base(three[0]) == "gh" && matches!(three[1..], ["codespace" | "cs", "cp"]));
    let of_claude = command.contains(".claude") || command.contains("CLAUDE_CONFIG_DIR");
    words(command).any(|word| base(word) == NAME || base(word).starts_with("sync-sessions")) || (of_claude && (copies || by_gh))
}

/// Whether what a hook runs is this program, which answers hooks by design: named by its path, or found first on PATH.
fn is_own(command: &str, seen: &Seen) -> bool {
    let mut named = words(command).filter(|word| base(word) == NAME).peekable();
    let first_on_path = seen.on_path.first().is_none_or(|(_, real)| *real == seen.own);
    let known = |word: &str| seen.on_path.iter().any(|(path, real)| Path::new(word) == path && *real == seen.own);
    named.peek().is_some() && named.all(|word| if word.contains('/') { Path::new(word) == seen.own || known(word) } else { first_on_path })
}

/// The words of a shell line, near enough to find programs by.
fn words(command: &str) -> impl Iterator<Item = &str> {
    command.split(|c: char| c.is_whitespace() || "\"'`;&|()<>=".contains(c)).filter(|word| !word.is_empty())
}

fn base(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// `{"hooks": {"EVENT": [{"hooks": [{"type": "command", "command": "…"}]}]}}`: events and commands.
fn hooks(settings: &Value) -> Vec<(String, String)> {
    let events = settings.get("hooks").and_then(Value::as_object).into_iter().flatten();
    let of = |entry: &'_ Value| entry.get("hooks").and_then(Value::as_array).cloned().unwrap_or_default();
    let entries = events.flat_map(|(event, entries)| entries.as_array().into_iter().flatten().flat_map(of).map(move |hook| (event, hook)));
    entries.filter_map(|(event, hook)| Some((event.clone(), hook.get("command")?.as_str()?.to_owned()))).collect()
}

fn is_named(file: &Path, label: &str) -> bool {
    file.file_name().is_some_and(|name| name.to_str() == Some(&format!("{label}.plist")))
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let calm = |c: char| c.is_ascii_alphanumeric() || "/._-+@%,:".contains(c);
    if word.chars().all(calm) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// What `replace` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// launchd had it.
    pub was_loaded: bool,
    /// Its property list, and where that is kept now.
    pub kept: Option<(PathBuf, PathBuf)>,
}

impl Service {
    /// Reads what movers leave behind. What cannot be read is passed over: this is advice.
    pub async fn seen(&self) -> Seen {
        let setting = &self.setting;
        let mut seen = Seen { own: real(&setting.executable), ..Seen::default() };
        let directories = match setting.system {
            System::Macos => vec![(self.launch_agents(), "plist")],
            System::Other => vec![(setting.paths.home.join(".config/systemd/user"), "service")],
        };
        for (directory, extension) in directories {
            seen.units.extend(texts(&directory, extension));
        }
        if setting.system == System::Macos {
            for label in [OLD_LABEL, BREW_LABEL] {
                if let Ok(Some(_)) = self.job(label).await {
                    seen.loaded.push(label.to_owned());
                }
            }
        }
        if let Ok(said) = self.run(&setting.programs.crontab, &[OsStr::new("-l")]).await
            && said.is_good()
        {
            seen.crontab = said.out;
        }
        let settings = ["settings.json", "settings.local.json"].map(|name| setting.paths.claude.join(name));
        seen.settings =
            settings.into_iter().filter_map(|file| Some((serde_json::from_str(&text(&file)?).ok()?, file))).map(|(json, file)| (file, json)).collect();
        let path = setting.environment.get("PATH").unwrap_or_default();
        let programs = std::env::split_paths(path).filter(|directory| directory.is_absolute()).map(|directory| directory.join(NAME));
        seen.on_path = programs.filter(|program| program.is_file()).map(|program| (program.clone(), real(&program))).collect();
        seen
    }

    /// Ends the older tool's job and keeps its property list where launchd does not look; none where there is none.
    ///
    /// # Errors
    /// launchd says no, or a file.
    pub async fn replace(&self, now: DateTime<Utc>) -> Result<Option<Replaced>, ServiceError> {
        if self.setting.system != System::Macos {
            return Ok(None);
        }
        let plist = self.launch_agents().join(format!("{OLD_LABEL}.plist"));
        let was_loaded = self.boot_out(OLD_LABEL).await?;
        let kept = match files::read(&plist)? {
            Some(_) => {
                let copy = files::keep(&plist, &self.kept(), now)?;
                files::remove(&plist)?;
                Some((plist, copy))
            }
            None => None,
        };
        Ok((was_loaded || kept.is_some()).then_some(Replaced { was_loaded, kept }))
    }
}

/// Files of a directory, with their text.
fn texts(directory: &Path, extension: &str) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let named = entries.map(|entry| entry.path()).filter(|path| path.extension() == Some(OsStr::new(extension)));
    let mut texts: Vec<(PathBuf, String)> = named.filter_map(|path| Some((text(&path)?, path))).map(|(text, path)| (path, text)).collect();
    texts.sort();
    texts
}

fn text(file: &Path) -> Option<String> {
    let is_small = fs::metadata(file).is_ok_and(|found| found.is_file() && found.len() <= LARGEST);
    let bytes = if is_small { fs::read(file).ok()? } else { return None };
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(seen: &Seen) -> Mover {
        let mut found = found(seen);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    #[test]
    fn the_older_tool_s_job_is_found_by_its_name_by_what_it_runs_and_where_only_launchd_has_it() {
        let list =
            |name: &str, text: &str| Seen { units: vec![(PathBuf::from(format!("/h/Library/LaunchAgents/{name}.plist")), text.to_owned())], ..Seen::default() };
        let mover = one(&list(OLD_LABEL, "<string>/x/sync-sessions-from-all-codespaces</string>"));
        assert_eq!((mover.kind, mover.remedy.as_str()), (Kind::OldJob, "claude-session-sync service install --replace"));
        assert!(mover.evidence.contains(OLD_PROGRAM));
        assert_eq!(one(&list(OLD_LABEL, "binary")).kind, Kind::OldJob);
        let other = one(&list("my sync", "<string>/x/sync-sessions-from-all-codespaces</string>"));
        assert_eq!(other.remedy, "launchctl bootout gui/$(id -u) '/h/Library/LaunchAgents/my sync.plist'");
        assert_eq!(one(&Seen { loaded: vec![OLD_LABEL.to_owned()], ..Seen::default() }).kind, Kind::OldJob);
        assert_eq!(found(&list("com.claude-session-sync.agent", "<string>/bin/claude-session-sync</string>")), []);
    }

    #[test]
    fn brew_services_is_found_on_both_systems() {
        for file in ["/h/Library/LaunchAgents/homebrew.mxcl.claude-session-sync.plist", "/h/.config/systemd/user/homebrew.claude-session-sync.service"] {
            let mover = one(&Seen { units: vec![(file.into(), String::new())], ..Seen::default() });
            assert_eq!((mover.kind, mover.place.as_str(), mover.remedy.as_str()), (Kind::BrewServices, file, "brew services stop claude-session-sync"));
        }
    }

    #[test]
    fn lines_of_cron_that_move_sessions_are_found_and_others_are_not() {
        let crontab = "# 0 * * * * rsync -a ~/.claude/ box:\n\
                       0 * * * * rsync -a ~/.claude/projects/ box:backup\n\
                       5 * * * * gh codespace cp -e 'remote:~/.claude/projects' ~/x\n\
                       7 * * * * /usr/local/bin/claude-session-sync sync --best-effort\n\
                       8 * * * * $HOME/bin/sync-sessions-from-all-codespaces\n\
                       @reboot /opt/x/bin/claude-session-sync run\n\
                       @reboot /opt/other/claude-session-sync run\n\
                       9 * * * * rsync -a ~/photos box:\n\
                       9 * * * * echo claude-session-sync-is-nice; ls ~/.claude\n";
        let found = found(&Seen { crontab: crontab.to_owned(), own: "/opt/x/bin/claude-session-sync".into(), ..Seen::default() });
        let minutes: Vec<char> = found.iter().map(|mover| mover.evidence.chars().next().unwrap()).collect();
        assert_eq!(minutes, ['0', '5', '7', '8', '@'], "the agent itself is no other mover, another program of its name is");
        assert!(found[4].evidence.contains("/opt/other/"));
        assert!(found.iter().all(|mover| mover.kind == Kind::Crontab));
    }

    #[test]
    fn hooks_of_other_tools_are_found_and_those_that_run_this_program_are_not() {
        let hook = |command: &str| json!({"hooks": {"SessionEnd": [{"matcher": "", "hooks": [{"type": "command", "command": command}]}]}});
        let own = PathBuf::from("/opt/x/bin/claude-session-sync");
        let link = PathBuf::from("/usr/bin/claude-session-sync");
        let seen = |command: &str, first: &Path| Seen {
            settings: vec![("/h/.claude/settings.json".into(), hook(command))],
            on_path: vec![(link.clone(), first.to_owned())],
            own: own.clone(),
            ..Seen::default()
        };
        let mover = one(&seen("scp -r ~/.claude/projects box:", &own));
        assert_eq!((mover.kind, mover.place.as_str()), (Kind::Hook, "/h/.claude/settings.json (SessionEnd)"));
        for command in ["claude-session-sync sync .", "/usr/bin/claude-session-sync sync", "/opt/x/bin/claude-session-sync sync", "ls ~/.claude"] {
            assert_eq!(found(&seen(command, &own)), [], "{command}");
        }
        let kinds: Vec<Kind> = found(&seen("claude-session-sync push", Path::new("/venv/claude-session-sync"))).iter().map(|mover| mover.kind).collect();
        assert_eq!(kinds, [Kind::Hook, Kind::OnPath]);
        assert_eq!(one(&seen("/venv/bin/claude-session-sync pull", &own)).kind, Kind::Hook);
        for odd in [json!([]), json!({"hooks": 3}), json!({"hooks": {"Stop": [{"hooks": [{"command": 7}]}]}})] {
            assert_eq!(found(&Seen { settings: vec![("/s".into(), odd)], ..Seen::default() }), []);
        }
    }

    #[test]
    fn another_program_of_this_name_counts_only_where_it_comes_first() {
        let (ours, other) = ((PathBuf::from("/usr/bin/c"), PathBuf::from("/opt/c")), (PathBuf::from("/venv/c"), PathBuf::from("/venv/c")));
        let seen = |on_path: &[&(PathBuf, PathBuf)]| Seen { on_path: on_path.iter().copied().cloned().collect(), own: "/opt/c".into(), ..Seen::default() };
        assert_eq!(found(&seen(&[&ours, &other])), []);
        assert_eq!(found(&seen(&[])), []);
        let mover = one(&seen(&[&other, &ours]));
        assert_eq!((mover.kind, mover.place.as_str(), mover.evidence.as_str()), (Kind::OnPath, "/venv/c", "it comes before /opt/c on PATH"));
    }
}
