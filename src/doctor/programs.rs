//! The programs that a pass runs: gh, ssh, git, looked for on the PATH that the service has.

use std::path::Path;
use std::process::Stdio;

use super::view::View;
use super::{Check, Given, PATIENCE, Topic};
use crate::codespace::ssh::{Environment as Inherited, GhVersion, Programs, SshError, gh_version};
use crate::config::Reach;
use crate::paths::{Environment, find_program};

/// How a program answered when it was asked for its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Run {
    /// With this.
    Says(String),
    /// Not at all: why.
    Fails(String),
}

/// Why a gh cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoGh {
    message: String,
    hint: Option<String>,
}

/// Everything that was gathered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// None where no codespace is wanted.
    gh: Option<Result<GhVersion, NoGh>>,
    /// None where nothing is reached by it.
    ssh: Option<Run>,
    /// The key generator, where codespaces are wanted.
    keygen: Option<bool>,
    git: Run,
    /// Those that this shell would find, though the service does not.
    only_here: Vec<Topic>,
}

impl Facts {
    pub(super) async fn gather(given: &Given, view: &View) -> Self {
        let names = &view.config.programs;
        let codespaces = view.config.github.enabled;
        let by_ssh = codespaces || view.config.machines.iter().any(|machine| matches!(machine.reach, Reach::Ssh(_)));
        let owned = |environment: &Environment| environment.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>();
        let inherited = Inherited::from_pairs(owned(&view.environment));
        let (gh, ssh, git) = tokio::join!(
            async { if codespaces { Some(gh(names.gh.as_str(), &inherited).await) } else { None } },
            async { if by_ssh { Some(said(names.ssh.as_str(), "-V", &inherited).await) } else { None } },
            said(names.git.as_str(), "--version", &inherited),
        );
        let here = |name: &str| is_on_path(name, &given.environment) && !is_on_path(name, &view.environment);
        let programs = [(Topic::Gh, &names.gh), (Topic::Ssh, &names.ssh), (Topic::Git, &names.git)];
        let only_here = programs.into_iter().filter(|(_, name)| here(name.as_str())).map(|(topic, _)| topic).collect();
        let keygen = codespaces.then(|| is_on_path(names.ssh_keygen.as_str(), &view.environment));
        Self { gh, ssh, keygen, git, only_here }
    }
}

async fn gh(program: &str, inherited: &Inherited) -> Result<GhVersion, NoGh> {
    let programs = Programs { gh: program.into(), ..Programs::default() };
    gh_version(&programs, inherited).await.map_err(|error| {
        let why = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        let hint = match &error {
            SshError::Spawn { .. } => Some("install gh: https://cli.github.com".to_owned()),
            SshError::Failed(_) => Some("run `gh --version` by hand".to_owned()),
            error => error.hint(),
        };
        NoGh { message: format!("{error}{why}"), hint }
    })
}

/// The first line that a program says of its version.
async fn said(program: &str, argument: &str, inherited: &Inherited) -> Run {
    let mut command = inherited.command(program);
    command.arg(argument).stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Run::Fails(format!("cannot run {program}: {error}")),
        Err(_) => return Run::Fails(format!("{program} did not say its version within {} s", PATIENCE.as_secs())),
    };
    let text = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    let text = String::from_utf8_lossy(text);
    let line: String = text.lines().next().unwrap_or_default().trim().chars().take(80).collect();
    if output.status.success() { Run::Says(line) } else { Run::Fails(format!("{program} {argument}: {}: {line}", output.status)) }
}

/// Whether a name leads to a file that may be run.
fn is_on_path(program: &str, environment: &Environment) -> bool {
    find_program(Path::new(program), environment.get("PATH").unwrap_or_default()).is_some()
}

/// Judges all of it.
pub(super) fn judge(facts: &Facts) -> Vec<Check> {
    let mut checks = Vec::new();
    // What only this shell finds needs no installation, but the service this shell's PATH.
    let advise = |topic: Topic, otherwise: Option<String>| {
        if facts.only_here.contains(&topic) { Some("this shell finds it: claude-session-sync service install".to_owned()) } else { otherwise }
    };
    match &facts.gh {
        None => {}
        Some(Ok(version)) => checks.push(match version.warning() {
            Some(warning) => Check::note(Topic::Gh, warning).advise("upgrade gh: https://cli.github.com"),
            None => Check::good(Topic::Gh, version.to_string()),
        }),
        Some(Err(none)) => checks.push(Check::bad(Topic::Gh, &none.message).advise_if(advise(Topic::Gh, none.hint.clone()))),
    }
    match &facts.ssh {
        None => {}
        Some(Run::Says(_)) if facts.keygen == Some(false) => {
            checks.push(Check::bad(Topic::Ssh, "ssh-keygen is not on the PATH").advise("install it; it comes with OpenSSH's client"));
        }
        Some(Run::Says(version)) => checks.push(Check::good(Topic::Ssh, version)),
        Some(Run::Fails(why)) => checks.push(Check::bad(Topic::Ssh, why).advise_if(advise(Topic::Ssh, Some("install OpenSSH's client".to_owned())))),
    }
    checks.push(match &facts.git {
        Run::Says(version) => Check::good(Topic::Git, version.strip_prefix("git version ").unwrap_or(version)),
        Run::Fails(why) => Check::bad(Topic::Git, why).advise_if(advise(Topic::Git, Some("install git".to_owned()))),
    });
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn facts() -> Facts {
        let says = |text: &str| Run::Says(text.to_owned());
        let gh = Some(Ok(GhVersion { major: 2, minor: 83, patch: 0 }));
        Facts { gh, ssh: Some(says("OpenSSH_9.2p1")), keygen: Some(true), git: says("git version 2.39.5"), only_here: Vec::new() }
    }

    fn worst(facts: &Facts) -> (Verdict, Topic, Option<String>) {
        let check = judge(facts).into_iter().max_by_key(|check| check.verdict).unwrap();
        (check.verdict, check.topic, check.advice)
    }

    #[test]
    fn three_programs_that_answer_are_good() {
        let checks = judge(&facts());
        let said: Vec<(&str, &str)> = checks.iter().map(|check| (check.topic.word(), check.finding.as_str())).collect();
        assert_eq!(said, [("gh", "2.83.0"), ("ssh", "OpenSSH_9.2p1"), ("git", "2.39.5")]);
        assert_eq!(worst(&facts()).0, Verdict::Good);
    }

    #[test]
    fn each_that_is_missing_or_too_old_is_named() {
        let gh = |gh| worst(&Facts { gh: Some(gh), ..facts() });
        let version = |minor| GhVersion { major: 2, minor, patch: 0 };
        assert_eq!(gh(Ok(version(66))).0, Verdict::Good);
        assert_eq!((gh(Ok(version(65))).0, gh(Ok(version(65))).1), (Verdict::Note, Topic::Gh));
        let none = || Err(NoGh { message: "cannot run gh".to_owned(), hint: Some("install".to_owned()) });
        assert_eq!(gh(none()), (Verdict::Bad, Topic::Gh, Some("install".to_owned())));
        let fails = || Run::Fails("cannot run".to_owned());
        assert_eq!(worst(&Facts { ssh: Some(fails()), ..facts() }).1, Topic::Ssh);
        assert_eq!(worst(&Facts { keygen: Some(false), ..facts() }).1, Topic::Ssh);
        assert_eq!(worst(&Facts { git: fails(), ..facts() }).1, Topic::Git);
        let only_here = Facts { gh: Some(none()), only_here: vec![Topic::Gh], ..facts() };
        assert_eq!(worst(&only_here).2.as_deref(), Some("this shell finds it: claude-session-sync service install"));
    }

    #[test]
    fn who_wants_no_codespace_needs_no_gh() {
        let checks = judge(&Facts { gh: None, ssh: None, keygen: None, ..facts() });
        assert_eq!(checks.iter().map(|check| check.topic).collect::<Vec<_>>(), [Topic::Git]);
    }
}
