//! `connect`: a shell in a codespace, with a visit before it and one after it, all over one connection.
//!
//! Promises: the terminal is ssh's, untouched, and the exit status is ssh's. A visit that fails is one line of warning and stands
//! in nobody's way; only a connection that cannot be made ends this. A terminal that is closed, the commonest way to leave, does not
//! keep the last visit from happening. No lock is held, and no byte of ours moves, while ssh runs. Never: a second connection; a
//! codespace started without `--start`.

mod choice;
mod start;

use std::ffi::OsString;
use std::pin::pin;
use std::time::{Duration, Instant};

use chrono::Utc;
use nix::sys::signal::Signal;
use tokio::runtime::Runtime;

use super::ask::Person;
use super::failure::fault;
use super::signals::{Signals, ended_by, unless_ended};
use super::spinner::Spinner;
use super::sync::{asleep, dot};
use super::told;
use super::{Context, Exit, Failure, Kind};
use crate::codespace::ssh::{Apart, Purpose, Words};
use crate::pass::connect::who;
use crate::pass::lend::{self, Lent};
use crate::pass::target::Target;
use crate::pass::{Doing, Options, Setting, run_telling};
use crate::reconcile::report::Outcome;

/// A key that ended ssh may be heard here so much later. It was not meant for the last visit.
const HEARD_LATE: Duration = Duration::from_millis(500);

/// What `connect` is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A codespace's name, display name or unique prefix, owner/repo, a machine, or `.`; asked for where it is missing
    // Completion moves this argument behind the other one, so both have their numbers.
    #[arg(id = "names", index = 1, value_name = "NAME")]
    name: Option<String>,
    /// Start the codespace if it is stopped; nothing else in this program ever does
    #[arg(long)]
    start: bool,
    /// Flags for ssh (as -t, or -L 8080:localhost:8080), then a command; a shell without one
    #[arg(last = true, index = 2, value_name = "SSH FLAGS AND COMMAND")]
    words: Vec<OsString>,
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let words = Words::read(&arguments.words).map_err(|error| Failure::of(Kind::Usage, &error))?;
    let purpose = Purpose::Terminal { apart: apart()?, forwards: words.forwards.clone() };
    let settings = context.settings()?;
    let _log = context.log(&settings.paths.logs, &settings.config.log);
    let setting = Setting::new(settings.config, settings.paths, context.environment.clone());
    let runtime = super::runtime()?;
    let Opened { target, lent, mut signals } = match open(arguments, context, &setting, &runtime, purpose)? {
        Ok(opened) => opened,
        Err(signal) => return Ok(ended_by(signal)),
    };
    let mut connected = Connected { setting: &setting, target: &target, lent, context };
    let exit = runtime.block_on(connected.stay(&words, &mut signals));
    runtime.block_on(connected.lent.close());
    exit
}

/// Our own program, as what starts others in a session of their own.
fn apart() -> Result<Apart, Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::new(Kind::Failed, "this program does not know where it lies").because(&error))?;
    Ok(Apart { program, words: vec!["apart".into(), "--".into()] })
}

/// What there is once somebody answered.
struct Opened {
    target: Target,
    lent: Lent,
    signals: Signals,
}

/// Finds the place, makes sure that it may be connected to, and connects, unless a signal wants the end first.
fn open(arguments: &Arguments, context: &mut Context, setting: &Setting, runtime: &Runtime, purpose: Purpose) -> Result<Result<Opened, Signal>, Failure> {
    let name = arguments.name.as_deref();
    let dot = if name == Some(".") { Some(dot(&setting.config)?) } else { None };
    let options = Options { names: name.iter().map(|name| (*name).to_owned()).collect(), ..Options::default() };
    let spinner = Spinner::default();
    spinner.note(&Doing::Listing);
    let who = runtime.block_on(spinner.during(who(setting, &options)));
    let target = choice::one(name, &who, dot.as_ref(), Person::at_terminal(&context.environment))?;
    if arguments.start {
        let made = async {
            let github = setting.account.of_pass(setting).await.map_err(|told| fault(Kind::Failed, "GitHub cannot be asked", &told))?;
            start::make_available(&github, &target, &mut context.render).await
        };
        runtime.block_on(made)?;
    } else {
        start::is_available(&target)?;
    }
    let spinner = Spinner::default();
    spinner.note(&Doing::Visiting(vec![&target.display_name]));
    let opened = async {
        let mut signals = Signals::listen()?;
        let mut notes = Vec::new();
        let connecting = spinner.during(unless_ended(&mut signals, lend::connect(setting, &who, &target, purpose, &mut notes))).await;
        notes.iter().for_each(|note| tracing::warn!(note, "connect warned"));
        match connecting {
            Ok(Ok(lent)) => Ok(Ok((lent, signals))),
            Ok(Err(outcome)) => Err(not_connected(&target, outcome)),
            Err(signal) => Ok(Err(signal)),
        }
    };
    let opened = runtime.block_on(opened)?;
    Ok(opened.map(|(lent, signals)| Opened { target, lent, signals }))
}

fn not_connected(target: &Target, outcome: Outcome) -> Failure {
    tracing::warn!(name = %target.name, ?outcome, "no connection for a terminal");
    match outcome {
        Outcome::Failed(told) => fault(Kind::Failed, &format!("cannot connect to {}", target.name), &told),
        Outcome::NotVisited { why } => {
            Failure::new(Kind::Partly, format!("cannot connect to {}", target.name)).because(&*Box::<dyn std::error::Error>::from(why))
        }
        Outcome::Visited => Failure::new(Kind::Failed, format!("cannot connect to {}", target.name)),
    }
}

/// A place that is connected.
struct Connected<'a> {
    setting: &'a Setting,
    target: &'a Target,
    lent: Lent,
    context: &'a mut Context,
}

impl Connected<'_> {
    /// Visit, ssh, visit.
    async fn stay(&mut self, words: &Words, signals: &mut Signals) -> Result<Exit, Failure> {
        let synced = !self.target.admitted.is_empty();
        if synced {
            match unless_ended(signals, self.visit()).await {
                Ok(warning) => self.warn("before", warning),
                Err(signal) => return Ok(ended_by(signal)),
            }
        }
        let code = self.terminal(words, signals).await?;
        tracing::info!(name = %self.target.name, code, "the terminal ended");
        if synced {
            self.last_visit().await?;
        }
        Ok(Exit::Code(code))
    }

    /// One pass over this place alone; what went wrong, in one line.
    async fn visit(&self) -> Option<String> {
        let options = Options { names: vec![self.target.name.clone()], lent: Some(self.lent.clone()), ..Options::default() };
        let spinner = Spinner::default();
        let tell = |doing: &Doing<'_>| spinner.note(doing);
        let pass = async {
            // This connection does not find out by itself that it is dead, and the visit alone would wait for minutes.
            tokio::select! {
                told = run_telling(self.setting, &options, Utc::now(), &tell) => Some(told),
                () = self.lent.lost() => None,
            }
        };
        let Some(told) = spinner.during(pass).await else { return Some("the far side does not answer any more".to_owned()) };
        match told {
            Ok(report) => told::worst(&report).or_else(|| asleep(&report).next()).or_else(|| report.disk.map(|fault| fault.message)),
            Err(error) => Some(error.whole()),
        }
    }

    fn warn(&mut self, when: &str, warning: Option<String>) {
        if let Some(warning) = warning {
            self.context.render.warning(&format!("the visit {when} the terminal: {warning}"));
        }
    }

    /// Hands the terminal over, and gives ssh's exit status. What ends a process ends ssh; this process stays.
    async fn terminal(&self, words: &Words, signals: &mut Signals) -> Result<u8, Failure> {
        let started = self.lent.terminal(self.target, words).await.map_err(|error| {
            let failure = Failure::of(Kind::Failed, &error);
            Failure { hint: error.hint(), ..failure }
        })?;
        let terminal = started.ok_or_else(|| Failure::new(Kind::Usage, format!("there is no ssh to {}", self.target.name)))?;
        let relay = terminal.relay();
        let mut ended = pin!(terminal.ended());
        loop {
            tokio::select! {
                biased;
                code = &mut ended => return Ok(code),
                // What comes from the keyboard goes to ssh as well: it is for ssh to end or to stop, and this process follows. A terminal
                // that is closed tells ssh, too, but whoever ends this process alone does not.
                heard = signals.next() => if matches!(heard, Signal::SIGHUP | Signal::SIGTERM) { relay.send(heard) },
            }
        }
    }

    /// The visit after the terminal; Ctrl-C breaks it off, and nothing else does.
    async fn last_visit(&mut self) -> Result<(), Failure> {
        let (began, mut signals) = (Instant::now(), Signals::listen()?);
        let warning = {
            let mut visit = pin!(async {
                if !self.lent.reaches().await {
                    return Some("the connection is lost; what was made there comes at the next visit".to_owned());
                }
                self.visit().await
            });
            loop {
                match unless_ended(&mut signals, &mut visit).await {
                    Ok(warning) => break warning,
                    Err(Signal::SIGINT | Signal::SIGQUIT) if began.elapsed() > HEARD_LATE => {
                        break Some("broken off; what was made there comes at the next visit".to_owned());
                    }
                    Err(_) => {}
                }
            }
        };
        self.warn("after", warning);
        Ok(())
    }
}
