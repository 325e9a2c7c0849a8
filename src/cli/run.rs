//! `run`: the agent, as a service manager starts it.
//!
//! Here the pass and the look are handed to the agent; it imports neither. A second agent ends at once: with 75 by hand, with 0
//! under a service supervisor, which would start it again for ever. What happens before there is a log goes to standard error.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::{Context, Exit, Failure, Kind};
use crate::agent::bell::Bell;
use crate::agent::control::Patience;
use crate::agent::desk::Rules;
use crate::agent::notice::{Book, Shower};
use crate::agent::status::LogStatus;
use crate::agent::supervisor::Supervisor;
use crate::agent::{self, Given, Order, Refusal};
use crate::config::{Config, ConfigError};
use crate::lock::{Alone, Lock, LockError};
use crate::logging::{self, Logging};
use crate::pass::Setting;
use crate::paths::{Environment, Paths};

use work::Worker;

mod work;

/// How long a second agent waits for the first to end: that much a restart may take.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// What `run` is asked: nothing. It is configured.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

/// Runs the verb.
pub(super) fn run(_: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let supervisor = Supervisor::of((std::process::id(), std::os::unix::process::parent_id()), |name| context.environment.text(name));
    let base = context.paths()?;
    let first = Config::load(&base);
    // A person sees the mistake and mends it; a service waits until that is done.
    let (config, paths) = match first {
        Ok((config, _)) => (config.clone(), base.clone().settled(&config)),
        Err(error) if supervisor == Supervisor::None && context.render.is_terminal() => return Err(error.into()),
        Err(_) => (Config::defaults(&base.home), base.clone()),
    };
    let runtime = super::runtime()?;
    let lock = match runtime.block_on(Lock::take(&paths.state, Alone::Agent, LOCK_PATIENCE)) {
        Ok(lock) => lock,
        Err(error @ LockError::Busy { .. }) if supervisor != Supervisor::None => {
            context.render.note(&error.to_string());
            return Ok(Exit::Done);
        }
        Err(error @ LockError::Busy { .. }) => return Err(Failure::of(Kind::Busy, &error)),
        Err(error) => return Err(Failure::of(Kind::Failed, &error)),
    };
    let log = context.log(&paths.logs, &config.log);
    logging::panics::tell(Box::new(std::io::stderr()));
    LocalSet::new().block_on(&runtime, serve(context, base, paths, supervisor, log));
    // File work that is under way is left: whatever it is at, the next pass puts it right.
    runtime.shutdown_timeout(Duration::from_secs(1));
    drop(lock);
    Ok(Exit::Done)
}

async fn serve(context: &Context, base: Paths, paths: Paths, supervisor: Supervisor, log: Logging) {
    let log = Rc::new(log);
    let health = Rc::clone(&log);
    let (environment, of_load, mut worker) = (context.environment.clone(), Rc::clone(&log), Worker::default());
    let given = Given {
        clock: Arc::new(Utc::now),
        bell: Bell::default(),
        config_file: paths.config_file.clone(),
        load: Box::new(move || load(&base, &environment, &mut worker, &of_load)),
        log: Box::new(move || LogStatus { trouble: health.trouble(), dropped: health.dropped() }),
        runtime: Some(paths.runtime.clone()),
        patience: Patience::default(),
        orders: orders(),
        supervisor,
        shower: Shower::of_build(),
        book: Book::open(&paths.state.join("notices.json")),
    };
    agent::run(given).await;
    drop(log);
}

/// The configuration as it is now, and the work that follows from it.
fn load(paths: &Paths, environment: &Environment, worker: &mut Worker, log: &Logging) -> Result<agent::Settings, Refusal> {
    let refuse = |error: ConfigError| {
        let problems: Vec<String> = error.problems.iter().map(|problem| error.headline(problem)).collect();
        Refusal { problem: problems.join("; ") }
    };
    let (config, _) = Config::load(paths).map_err(refuse)?;
    log.set(&config.log);
    let (schedule, notify) = (config.schedule.clone(), config.notify.enabled);
    let rules = Rules { look: schedule.look.duration(), stale_after: schedule.stale_after.duration() };
    let paths = paths.clone().settled(&config);
    let setting = Setting::new(config, paths, environment.clone());
    let work = worker.work(setting);
    Ok(agent::Settings { every: schedule.every.to_string(), jitter: schedule.jitter.duration(), rules, notify, work })
}

/// Signals, as orders.
fn orders() -> mpsc::Receiver<Order> {
    let (send, orders) = mpsc::channel(4);
    for (kind, order) in [(SignalKind::hangup(), Order::Reload), (SignalKind::terminate(), Order::Stop), (SignalKind::interrupt(), Order::Stop)] {
        let send = send.clone();
        match signal(kind) {
            Ok(mut signals) => drop(tokio::task::spawn_local(async move {
                while signals.recv().await.is_some() {
                    if send.send(order).await.is_err() {
                        return;
                    }
                }
            })),
            Err(error) => tracing::error!(%error, ?order, "a signal is not heard"),
        }
    }
    orders
}
