//! `service`: installs, starts, ends, shows and removes the agent with the user's service manager.

use std::path::Path;

use chrono::Utc;
use serde::Serialize;

use super::render::Style;
use super::words::{ago, joined};
use super::{Context, Exit, Failure, Kind, PROGRAM, Render};
use crate::paths::{Paths, System};
use crate::service::movers::{Mover, found};
use crate::service::{Agreement, Installed, LastExit, Manager, Programs, Ran, Reason, Service, ServiceError, Setting, Status, Uninstalled, Written};

/// The version of the shape of `service status --json`.
const VERSION: u32 = 1;

/// What `service` is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Subcommand)]
enum Action {
    /// Write the unit, and start the service now and at every login
    Install {
        /// End an older tool's job (com.user.claude-session-sync), and keep its property list
        #[arg(long)]
        replace: bool,
    },
    /// End the service, and leave nothing of it; configuration, data and logs stay
    Uninstall,
    /// Start it
    Start,
    /// End it until the next login
    Stop,
    /// End it and start it again, as after an upgrade
    Restart,
    /// Show whether it is installed and runs; exit 4 if it does not run
    Status {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// `service status --json`: the service, and what else moves the same files.
#[derive(Serialize)]
struct Shown<'s> {
    version: u32,
    #[serde(flatten)]
    status: &'s Status,
    movers: &'s [Mover],
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let paths = places(context)?;
    let executable = std::env::current_exe().map_err(|error| Failure::new(Kind::Failed, "this program cannot be found").because(&error))?;
    let setting = Setting {
        system: System::of_build(),
        programs: Programs::default(),
        environment: context.environment.clone(),
        paths: paths.clone(),
        uid: nix::unistd::getuid().as_raw(),
        executable,
    };
    let service = Service::new(setting);
    let runtime = super::runtime()?;
    runtime.block_on(act(arguments.action, &service, &paths, &mut context.render)).map_err(|error| failure(&error))
}

/// The places as the configuration has them. A wrong one is told and hinders nothing: the agent waits until it is mended, and a service
/// can be looked at and ended at any time.
fn places(context: &mut Context) -> Result<Paths, Failure> {
    match context.settings() {
        Ok(settings) => Ok(settings.paths),
        Err(failure) if failure.kind == Kind::Config => {
            let paths = context.paths()?;
            context.render.warning(&format!("{} (the agent waits until that is mended: {PROGRAM} config check)", failure.message));
            Ok(paths)
        }
        Err(failure) => Err(failure),
    }
}

async fn act(action: Action, service: &Service, paths: &Paths, render: &mut Render) -> Result<Exit, ServiceError> {
    match action {
        Action::Install { replace } => install(service, replace, render).await?,
        Action::Uninstall => tell_uninstalled(&service.uninstall().await?, paths, render),
        Action::Start => tell_ran(service.start().await?, render),
        Action::Stop => tell_ran(service.stop().await?, render),
        Action::Restart => tell_ran(service.restart().await?, render),
        Action::Status { json } => return status(service, json, render).await,
    }
    Ok(Exit::Done)
}

async fn install(service: &Service, replace: bool, render: &mut Render) -> Result<(), ServiceError> {
    if replace {
        match service.replace(Utc::now()).await? {
            Some(replaced) => {
                render.say("ended the older tool's job");
                if let Some((plist, kept)) = replaced.kept {
                    render.say(&format!("moved {} to {}", plist.display(), kept.display()));
                }
            }
            None => render.note("there is no job of an older tool to replace"),
        }
    }
    let installed = service.install(Utc::now()).await?;
    tell_installed(&installed, render);
    tell_environment(service, render);
    // Advice must not make a failure of what was done.
    if let Ok(status) = service.status().await {
        tell_lingering(&status, render);
    }
    for mover in found(&service.seen().await) {
        tell_mover(&mover, render);
    }
    Ok(())
}

fn tell_installed(installed: &Installed, render: &mut Render) {
    let unit = installed.unit.display();
    match &installed.written {
        Written::New => render.say(&format!("wrote {unit}")),
        Written::Replaced(kept) => render.say(&format!("wrote {unit}; the one before is {}", kept.display())),
        Written::Unchanged => render.say(&format!("{unit} is as it should be")),
    }
    tell_ran(installed.ran, render);
}

fn tell_ran(ran: Ran, render: &mut Render) {
    render.say(match ran {
        Ran::Already => "the agent runs already",
        Ran::Started => "the agent was started",
        Ran::Restarted => "the agent was ended and started again",
        Ran::Stopped => "the agent was ended; it starts again at the next login",
        Ran::NotAtAll => "the agent does not run",
    });
}

/// What the service has of this shell, and what not.
fn tell_environment(service: &Service, render: &mut Render) {
    let names: Vec<String> = service.carried().variables.keys().cloned().collect();
    render.note(&format!("from this shell the service has {}; after a change there: {PROGRAM} service install", joined(&names)));
    for left in &service.carried().left_out {
        let why = match left.reason {
            Reason::Token => "it is a token; the service uses [github] token_file, or the login of gh",
            Reason::Password => "its address may hold a password, and a unit is no place for one",
            Reason::Unfit => "it holds what no unit can",
        };
        render.warning(&format!("{} is set here, and not given to the service: {why}", left.name));
    }
    if service.program().is_of_a_build {
        let path = service.program().path.display();
        render.warning(&format!("the service runs {path}, which the next build replaces and `cargo clean` removes: install the program first"));
    }
}

fn tell_lingering(status: &Status, render: &mut Render) {
    match (status.manager, status.lingering) {
        (Manager::Launchd, _) | (_, Some(true)) => {}
        (_, Some(false)) => render.note("it runs while you are logged in; to run from boot on, and after your logout: loginctl enable-linger"),
        (_, None) => render.note("if it ends when you log out: loginctl enable-linger"),
    }
}

fn tell_mover(mover: &Mover, render: &mut Render) {
    render.warning(&format!("something else moves the same sessions: {}: {}", mover.place, mover.evidence));
    render.note(&format!("  to end that: {}", mover.remedy));
}

fn tell_uninstalled(uninstalled: &Uninstalled, paths: &Paths, render: &mut Render) {
    match (uninstalled.removed.is_empty(), uninstalled.was_loaded) {
        (true, false) => render.say("the service is not installed"),
        (true, true) => render.say("the agent was ended"),
        (false, _) => {}
    }
    for path in &uninstalled.removed {
        render.say(&format!("removed {}", path.display()));
    }
    if let Some(said) = &uninstalled.unreached {
        render.warning(&format!("the service manager cannot be asked whether the agent still runs: {said}"));
    }
    for path in &uninstalled.left {
        render.note(&format!("{} is yours, and stays", path.display()));
    }
    let kept = [("configuration", paths.config_file.as_path()), ("vault and state", &paths.data), ("logs", &paths.logs)];
    for (what, path) in kept.into_iter().filter(|(_, path)| path.exists()) {
        render.note(&format!("kept, {what}: {}", path.display()));
    }
}

async fn status(service: &Service, json: bool, render: &mut Render) -> Result<Exit, ServiceError> {
    let status = service.status().await?;
    let movers = found(&service.seen().await);
    if json {
        render.json(&Shown { version: VERSION, status: &status, movers: &movers });
    } else {
        tell_status(&status, render);
        movers.iter().for_each(|mover| tell_mover(mover, render));
    }
    Ok(if status.running.is_some() { Exit::Done } else { Exit::NoAgent })
}

fn tell_status(status: &Status, render: &mut Render) {
    let now = Utc::now();
    match &status.running {
        Some(running) => {
            let since = running.since.map(|since| format!(", started {}", ago(now, since))).unwrap_or_default();
            render.say_entry((Style::Strong, "agent"), (Style::Good, &format!("runs (pid {}){since}", running.pid)));
        }
        None if status.is_installed() => render.say_entry((Style::Strong, "agent"), (Style::Bad, &format!("does not run: {PROGRAM} service start"))),
        None => render.say_entry((Style::Strong, "agent"), (Style::Warn, &format!("is not installed: {PROGRAM} service install"))),
    }
    if let Some(said) = &status.said {
        render.say_entry((Style::Strong, "says"), (Style::Plain, said));
    }
    if !status.is_installed() {
        return;
    }
    let (style, agreement) = match status.agreement {
        Agreement::Different => (Style::Warn, format!("; this program would write another: {PROGRAM} service install")),
        Agreement::Environment => (Style::Plain, format!("; in this shell {} would differ", joined(&status.differs))),
        Agreement::Same | Agreement::Absent => (Style::Plain, String::new()),
    };
    render.say_entry((Style::Strong, "unit"), (style, &format!("{}{agreement}", status.unit.display())));
    for addition in &status.additions {
        render.say_entry((Style::Strong, ""), (Style::Plain, &format!("changed by {}", addition.display())));
    }
    tell_program(status.program.as_deref(), status.program_exists, render);
    let starts = match (status.enabled, status.manager, status.lingering) {
        (Some(false), ..) => (Style::Warn, format!("never by itself: {PROGRAM} service install")),
        (_, Manager::Systemd, Some(true)) => (Style::Plain, "at boot".to_owned()),
        (_, Manager::Systemd, Some(false)) => (Style::Plain, "at login, and ends with the logout (at boot: loginctl enable-linger)".to_owned()),
        _ => (Style::Plain, "at login".to_owned()),
    };
    render.say_entry((Style::Strong, "starts"), (starts.0, &starts.1));
    if let Some(last) = &status.last_exit {
        let last = match last {
            LastExit::Code(code) => format!("with code {code}"),
            LastExit::Signal(signal) => format!("by signal {signal}"),
        };
        render.say_entry((Style::Strong, "last end"), (Style::Plain, &last));
    }
    if let Some(restarts) = status.restarts.filter(|restarts| *restarts > 0) {
        render.say_entry((Style::Strong, "restarts"), (Style::Plain, &format!("{restarts}, by the service manager")));
    }
}

fn tell_program(program: Option<&Path>, exists: bool, render: &mut Render) {
    let (style, text) = match (program, exists) {
        (Some(program), true) => (Style::Plain, program.display().to_string()),
        (Some(program), false) => (Style::Bad, format!("{} is gone: {PROGRAM} service install", program.display())),
        (None, _) => (Style::Warn, "the unit names none".to_owned()),
    };
    render.say_entry((Style::Strong, "program"), (style, &text));
}

fn failure(error: &ServiceError) -> Failure {
    let failure = Failure::of(Kind::Failed, error);
    match error {
        ServiceError::NoManager { manager: Manager::Systemd, .. } => failure.hint(
            "log in as this user, not by su or sudo; for a user who never logs in: sudo loginctl enable-linger USER, and then \
             XDG_RUNTIME_DIR=/run/user/$(id -u)",
        ),
        ServiceError::NoManager { manager: Manager::Launchd, .. } => {
            failure.hint("log in at the screen as this user: over ssh alone there is no session for the service to run in")
        }
        ServiceError::Run { .. } => failure.hint(format!("without launchd or systemd, let whatever starts programs here start: {PROGRAM} run")),
        ServiceError::NotInstalled { .. } => failure.hint(format!("{PROGRAM} service install")),
        ServiceError::Refused { .. } if cfg!(target_os = "linux") => failure.hint("journalctl --user --unit claude-session-sync --since -5m"),
        _ => failure,
    }
}
