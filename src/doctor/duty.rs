//! Whether somebody syncs by itself: the configuration that it reads, the service, the agent, and others that move the same files.

use std::path::Path;

use chrono::{DateTime, Utc};

use super::view::{Asked, Unreached, View, Wrong};
use super::{Check, Eyes, PATIENCE, Topic};
use crate::agent::desk::deletion;
use crate::agent::status::{AgentStatus, ConfigStatus, Doing};
use crate::config::Origin;
use crate::reconcile::report::FaultKind;
use crate::reconcile::words::ago;
use crate::service::movers::{Kind, Mover};
use crate::service::{Agreement, Manager, Status};

/// This version.
const OURS: &str = env!("CARGO_PKG_VERSION");

/// Judges all of it.
pub(super) fn judge(view: &View, now: DateTime<Utc>) -> Vec<Check> {
    let mut checks = vec![config(&view.loaded, view.agent.running().map(|status| &status.config), view.shell_config.as_deref(), view.eyes)];
    checks.extend(service(&view.service, view.has_unit, &view.agent));
    checks.extend(agent(&view.agent, &view.service, now));
    checks.extend(movers(view.movers.as_deref()));
    checks
}

/// The configuration, as the agent reads it.
fn config(loaded: &Result<Origin, Wrong>, agent: Option<&ConfigStatus>, of_shell: Option<&Path>, eyes: Eyes) -> Check {
    let origin = match loaded {
        Ok(origin) => origin,
        Err(wrong) => {
            return Check::bad(Topic::Config, &wrong.message).advise(wrong.hint.clone().unwrap_or_else(|| "claude-session-sync config check".to_owned()));
        }
    };
    if let Some(problem) = agent.and_then(|status| status.problem.as_ref()) {
        let finding = format!("the agent does not go by it: {problem}");
        return Check::bad(Topic::Config, finding).advise("claude-session-sync service restart");
    }
    let said = match origin {
        Origin::File(file) => file.display().to_string(),
        Origin::Defaults(_) => "the defaults (there is no file)".to_owned(),
    };
    match of_shell {
        Some(of_shell) => {
            let who = if eyes == Eyes::Agent { "the agent" } else { "the service" };
            let finding = format!("{who} reads {said}, and this shell {}", of_shell.display());
            Check::note(Topic::Config, finding).advise("if this shell is right: claude-session-sync service install")
        }
        None => Check::good(Topic::Config, said),
    }
}

/// The job of the service manager.
fn service(service: &Result<Status, Unreached>, has_unit: bool, agent: &Asked) -> Vec<Check> {
    let status = match service {
        Ok(status) => status,
        Err(Unreached { said, is_absent }) => {
            let check = match (agent.running(), has_unit) {
                (Some(_), _) => Check::note(Topic::Service, format!("an agent runs; its manager cannot be asked: {said}")),
                (None, true) => Check::bad(Topic::Service, format!("installed, but its manager cannot be asked: {said}")),
                (None, false) => Check::note(Topic::Service, format!("sessions travel by `sync` only: {said}")),
            };
            let instead = "without launchd or systemd, let whatever starts programs here start: claude-session-sync run";
            return vec![check.advise(if *is_absent { instead } else { "claude-session-sync service status says how to reach it" })];
        }
    };
    if !status.is_installed() {
        return vec![match agent.running() {
            Some(_) => Check::good(Topic::Service, "not installed; an agent was started otherwise"),
            None => Check::note(Topic::Service, "not installed: sessions travel by `sync` only").advise("claude-session-sync service install"),
        }];
    }
    installed(status)
}

fn installed(status: &Status) -> Vec<Check> {
    let reinstall = "claude-session-sync service install";
    let mut checks = Vec::new();
    match (&status.program, status.program_exists) {
        (Some(program), false) => {
            checks.push(Check::bad(Topic::Service, format!("its unit names {}, which is gone", program.display())).advise(reinstall));
        }
        (None, _) => checks.push(Check::bad(Topic::Service, format!("{} names no program", status.unit.display())).advise(reinstall)),
        (Some(_), true) if status.agreement == Agreement::Different => {
            checks.push(Check::note(Topic::Service, format!("{} is not as this program would write it", status.unit.display())).advise(reinstall));
        }
        (Some(_), true) => {}
    }
    if status.running.is_none() {
        let said = status.said.as_ref().map(|said| format!(" ({said})")).unwrap_or_default();
        checks.push(Check::bad(Topic::Service, format!("installed, and does not run{said}")).advise("claude-session-sync service start"));
    } else if status.enabled == Some(false) {
        checks.push(Check::note(Topic::Service, "runs, but is not started at the next login").advise(reinstall));
    }
    if checks.is_empty() {
        let manager = match status.manager {
            Manager::Launchd => "launchd",
            Manager::Systemd => "systemd",
        };
        checks.push(Check::good(Topic::Service, format!("runs under {manager}")));
    }
    checks
}

/// The process.
fn agent(agent: &Asked, service: &Result<Status, Unreached>, now: DateTime<Utc>) -> Vec<Check> {
    let runs = service.as_ref().is_ok_and(|status| status.running.is_some());
    let restart = "claude-session-sync service restart";
    match agent {
        Asked::None if runs => vec![Check::bad(Topic::Agent, "the service runs, and nobody serves its socket").advise(restart)],
        Asked::None => Vec::new(),
        Asked::Silent(trouble) => vec![Check::bad(Topic::Agent, format!("does not answer: {trouble}")).advise(restart)],
        Asked::Running(status) => running(status, now),
    }
}

fn running(status: &AgentStatus, now: DateTime<Utc>) -> Vec<Check> {
    let mut checks = Vec::new();
    if status.program != OURS {
        let finding = format!("agent {}, program {OURS}", status.program);
        checks.push(Check::note(Topic::Agent, finding).advise("claude-session-sync service restart"));
    }
    // The configuration, the login and the token's scopes have rows of their own.
    let own = [FaultKind::Configuration, FaultKind::Login, FaultKind::Scope];
    for concern in status.concerns.iter().filter(|concern| !own.contains(&concern.about)) {
        let name = concern.name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        checks.push(Check::bad(Topic::Agent, format!("{name}{}", concern.message)).advise_if(concern.hint.clone()));
    }
    for codespace in &status.expiring {
        let concern = deletion(codespace);
        checks.push(Check::note(Topic::Agent, format!("{}: {}", codespace.name, concern.message)).advise_if(concern.hint));
    }
    if let Some(trouble) = &status.log.trouble {
        checks.push(Check::note(Topic::Log, format!("nothing is written: {trouble}")));
    }
    if status.log.dropped > 0 {
        checks.push(Check::note(Topic::Log, format!("{} lines were lost: they came faster than they could be written", status.log.dropped)));
    }
    if checks.is_empty() {
        let doing = if status.doing == Doing::Parked { "parked" } else { "answers" };
        checks.push(Check::good(Topic::Agent, format!("{doing}, began {} (pid {}, {})", ago(now, status.started), status.pid, status.program)));
    }
    checks
}

/// Others that move the same files.
fn movers(movers: Option<&[Mover]>) -> Vec<Check> {
    let Some(movers) = movers else {
        return vec![Check::note(Topic::Movers, format!("launchctl or crontab did not answer within {} s", PATIENCE.as_secs()))];
    };
    if movers.is_empty() {
        return vec![Check::good(Topic::Movers, "nothing else is known to move these files")];
    }
    let of = |mover: &Mover| {
        let finding = format!("{}: {}", mover.place, mover.evidence);
        let check = match mover.kind {
            // This program itself, under another name or a second time.
            Kind::BrewServices | Kind::OnPath => Check::note(Topic::Movers, finding),
            Kind::OldJob | Kind::Crontab | Kind::Hook => Check::bad(Topic::Movers, finding),
        };
        check.advise(&mover.remedy)
    };
    movers.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::status::{Concern, LogStatus};
    use crate::doctor::Verdict;
    use crate::service::Running;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn status() -> Status {
        Status {
            manager: Manager::Systemd,
            unit: "/h/x.service".into(),
            agreement: Agreement::Same,
            differs: Vec::new(),
            program: Some("/bin/c".into()),
            program_exists: true,
            enabled: Some(true),
            loaded: true,
            running: Some(Running { pid: 7, since: None }),
            last_exit: None,
            restarts: None,
            said: None,
            lingering: None,
            additions: Vec::new(),
        }
    }

    fn at_work() -> AgentStatus {
        let config = ConfigStatus { file: "/c".into(), read: now(), problem: None };
        AgentStatus { program: OURS.to_owned(), doing: Doing::Idle, ..AgentStatus::at_start(now(), config, LogStatus::default()) }
    }

    fn unreached() -> Unreached {
        Unreached { said: "no bus".to_owned(), is_absent: false }
    }

    fn verdicts(checks: &[Check]) -> Vec<Verdict> {
        checks.iter().map(|check| check.verdict).collect()
    }

    #[test]
    fn a_service_that_is_installed_runs_and_names_a_program_that_exists_is_good() {
        let of = |change: &dyn Fn(&mut Status)| {
            let mut status = status();
            change(&mut status);
            verdicts(&service(&Ok(status), true, &Asked::None))
        };
        assert_eq!(of(&|_| {}), [Verdict::Good]);
        assert_eq!(of(&|status| status.agreement = Agreement::Environment), [Verdict::Good]);
        assert_eq!(of(&|status| status.agreement = Agreement::Different), [Verdict::Note]);
        assert_eq!(of(&|status| status.agreement = Agreement::Absent), [Verdict::Note]);
        assert_eq!(of(&|status| status.enabled = Some(false)), [Verdict::Note]);
        assert_eq!(of(&|status| status.running = None), [Verdict::Bad]);
        assert_eq!(of(&|status| (status.program_exists, status.running) = (false, None)), [Verdict::Bad, Verdict::Bad]);
    }

    #[test]
    fn without_a_manager_only_a_unit_that_waits_for_it_is_bad() {
        let none = Err(unreached());
        assert_eq!(verdicts(&service(&none, true, &Asked::None)), [Verdict::Bad]);
        assert_eq!(verdicts(&service(&none, false, &Asked::None)), [Verdict::Note]);
        assert_eq!(verdicts(&service(&none, true, &Asked::Running(Box::new(at_work())))), [Verdict::Note]);
    }

    #[test]
    fn an_agent_says_what_a_person_must_mend_but_for_what_has_a_row_of_its_own() {
        let of = |change: &dyn Fn(&mut AgentStatus)| {
            let mut status = at_work();
            change(&mut status);
            verdicts(&agent(&Asked::Running(Box::new(status)), &Err(unreached()), now()))
        };
        let concern = |about| Concern { about, name: Some("otter".to_owned()), message: "x".to_owned(), hint: None };
        assert_eq!(of(&|_| {}), [Verdict::Good]);
        assert_eq!(of(&|status| status.concerns = vec![concern(FaultKind::Login), concern(FaultKind::NoSshd)]), [Verdict::Bad]);
        assert_eq!(of(&|status| status.program = "0.0.9".to_owned()), [Verdict::Note]);
        assert_eq!(of(&|status| status.log.dropped = 3), [Verdict::Note]);
        assert_eq!(verdicts(&agent(&Asked::Silent("no answer".to_owned()), &Ok(status()), now())), [Verdict::Bad]);
        assert_eq!(verdicts(&agent(&Asked::None, &Ok(status()), now())), [Verdict::Bad]);
        assert_eq!(agent(&Asked::None, &Err(unreached()), now()), []);
    }

    #[test]
    fn a_configuration_is_judged_as_the_agent_reads_it() {
        let defaults = Ok(Origin::Defaults("/c".into()));
        let problem = ConfigStatus { problem: Some("x".to_owned()), ..at_work().config };
        assert_eq!(config(&defaults, None, None, Eyes::Shell).verdict, Verdict::Good);
        assert_eq!(config(&defaults, Some(&problem), None, Eyes::Agent).verdict, Verdict::Bad);
        assert_eq!(config(&defaults, None, Some("/other".as_ref()), Eyes::Unit).verdict, Verdict::Note);
        assert_eq!(config(&Err(Wrong { message: "c:1: x".to_owned(), hint: None }), None, None, Eyes::Shell).verdict, Verdict::Bad);
    }

    #[test]
    fn whoever_copies_by_other_rules_is_bad_and_this_program_twice_a_note() {
        let mover = |kind| Mover { kind, place: "p".to_owned(), evidence: "e".to_owned(), remedy: "r".to_owned() };
        let all = [Kind::OldJob, Kind::BrewServices, Kind::Crontab, Kind::Hook, Kind::OnPath].map(mover);
        assert_eq!(verdicts(&movers(Some(&all))), [Verdict::Bad, Verdict::Note, Verdict::Bad, Verdict::Bad, Verdict::Note]);
        assert_eq!(verdicts(&movers(Some(&[]))), [Verdict::Good]);
        assert_eq!(verdicts(&movers(None)), [Verdict::Note]);
    }
}
