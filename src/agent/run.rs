//! The loop of the agent: it waits for whatever comes first, brings it to the desk, and does what the desk says.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::bell::{Bell, Ring};
use super::clock::{Jump, Moment};
use super::control::Call;
use super::desk::{Act, Desk, Event, News, PULSE};
use super::door::Door;
use super::notice;
use super::protocol::{Answer, Request};
use super::schedule::{self, Schedule, ScheduleError};
use super::status::{AgentStatus, Concern, ConfigStatus, Doing};
use super::work::{LookEnd, PassEnd, PassOutcome};
use super::{Clocks, Given, Order, PARKED, PATIENCE, Refusal, Settings};
use crate::reconcile::report::{Fault, FaultKind};

/// Runs the agent until it is told to stop. Must be called within a `LocalSet`.
pub async fn run(given: Given) {
    let started = (given.clock)();
    let clocks = Clocks { wall: Arc::clone(&given.clock), start: Instant::now() };
    let config = ConfigStatus { file: given.config_file.clone(), read: started, problem: None };
    let first = AgentStatus::at_start(started, config.clone(), (given.log)());
    let (status, published) = watch::channel(Arc::new(first));
    let (calls, called) = mpsc::channel(16);
    let door = Door::new(given.runtime, given.patience, published, calls);
    let (load, log, orders, supervisor) = (given.load, given.log, given.orders, given.supervisor);
    let (shower, book) = (given.shower, given.book);
    let stamp = stamp(&config.file);
    let mut agent = Agent {
        clocks,
        load,
        log,
        config,
        stamp,
        supervisor,
        shower,
        book,
        status,
        door,
        called,
        orders,
        bell: given.bell,
        at_work: None,
        running: None,
        stopping: Vec::new(),
    };
    agent.live().await;
    agent.end().await;
}

/// What runs in a task of its own.
enum Running {
    Pass(JoinHandle<PassEnd>, DateTime<Utc>),
    Look(JoinHandle<LookEnd>),
}

/// With a configuration that was good.
struct AtWork {
    settings: Settings,
    desk: Desk,
    schedule: Schedule,
}

struct Agent {
    clocks: Clocks,
    load: Box<dyn FnMut() -> Result<Settings, Refusal>>,
    log: Box<dyn Fn() -> super::status::LogStatus>,
    config: ConfigStatus,
    /// Of the configuration's file when it was read last.
    stamp: Option<(u64, i64, i64, u64)>,
    supervisor: super::supervisor::Supervisor,
    shower: notice::Shower,
    book: notice::Book,
    status: watch::Sender<Arc<AgentStatus>>,
    door: Door,
    called: mpsc::Receiver<Call>,
    orders: mpsc::Receiver<Order>,
    bell: Bell,
    at_work: Option<AtWork>,
    running: Option<Running>,
    /// Who asked for the end, and waits for it.
    stopping: Vec<oneshot::Sender<Answer>>,
}

/// What came first.
enum First {
    Event(Box<Event>),
    Call(Call),
    Order(Order),
}

impl Agent {
    async fn live(&mut self) {
        self.door.see_to();
        let _ = self.reload(true).await;
        self.publish();
        self.supervisor.ready(&self.words());
        tracing::info!(version = env!("CARGO_PKG_VERSION"), pid = std::process::id(), "agent began");
        loop {
            match self.first().await {
                First::Event(event) => self.bring(*event),
                First::Order(Order::Stop) => return,
                First::Order(Order::Reload) => drop(self.reload(false).await),
                First::Call(Call { request, reply }) => match self.answer(request).await {
                    Some(answer) => drop(reply.send(answer)),
                    None => {
                        self.stopping.push(reply);
                        return;
                    }
                },
            }
            if self.config.problem.is_some() && stamp(&self.config.file) != self.stamp {
                let _ = self.reload(false).await;
            }
            self.door.see_to();
            self.publish();
        }
    }

    async fn first(&mut self) -> First {
        let rest = self.rest();
        tokio::select! {
            biased;
            order = self.orders.recv() => First::Order(order.unwrap_or(Order::Stop)),
            ended = ended(&mut self.running) => First::Event(Box::new(ended)),
            call = self.called.recv() => call.map_or(First::Order(Order::Stop), First::Call),
            rings = self.bell.rung() => First::Event(Box::new(Event::Rung(rings))),
            () = tokio::time::sleep(rest) => First::Event(Box::new(Event::Pulse)),
        }
    }

    /// How long nothing needs to be done.
    fn rest(&self) -> Duration {
        let rest = self.at_work.as_ref().map_or(PARKED, |at_work| at_work.desk.rest(self.clocks.now()));
        self.supervisor.longest_silence().map_or(rest, |longest| rest.min(longest)).min(PULSE)
    }

    fn bring(&mut self, event: Event) {
        let now = self.clocks.now();
        let Some(AtWork { settings, desk, .. }) = &mut self.at_work else { return };
        let (notify, acts) = (settings.notify, desk.handle(event, now));
        for act in acts {
            match act {
                Act::Pass(errand) => {
                    let rings: Vec<&str> = errand.rings.iter().map(|ring| ring.word()).collect();
                    tracing::debug!(rings = rings.join(","), only = ?errand.only, "a pass begins");
                    self.running = Some(Running::Pass(tokio::task::spawn_local((settings.work.pass)(errand)), now.wall));
                }
                Act::Look => self.running = Some(Running::Look(tokio::task::spawn_local((settings.work.look)()))),
                Act::Tell(news) => tell(&news),
                Act::Notify(concern) if notify && self.book.note(&concern, now.wall) => show(&self.shower, concern),
                Act::Notify(_) => {}
            }
        }
    }

    /// None: the agent is to end.
    async fn answer(&mut self, request: Request) -> Option<Answer> {
        Some(match request {
            Request::Sync if self.at_work.is_some() => {
                self.bell.ring(Ring::Request);
                Answer::Done
            }
            Request::Sync => Answer::Refused { reason: format!("the agent is parked: {}", self.config.problem.as_deref().unwrap_or("no configuration")) },
            Request::Reload => match self.reload(false).await {
                Ok(()) => Answer::Done,
                Err(refusal) => Answer::Refused { reason: refusal.problem },
            },
            Request::Stop => return None,
            Request::Status | Request::Watch => Answer::Refused { reason: "this is answered elsewhere".to_owned() },
        })
    }

    /// Reads the configuration; a wrong one changes nothing but what is said of it.
    async fn reload(&mut self, first: bool) -> Result<(), Refusal> {
        self.stamp = stamp(&self.config.file);
        let now = self.clocks.now();
        let settings = match (self.load)() {
            Ok(settings) => settings,
            Err(refusal) => {
                self.refuse(&refusal, now.wall);
                return Err(refusal);
            }
        };
        if let Err(error) = self.settle(settings, now).await {
            let refusal = Refusal { problem: error.to_string() };
            self.refuse(&refusal, now.wall);
            return Err(refusal);
        }
        if !first {
            tracing::info!(file = %self.config.file.display(), "configuration read");
        }
        Ok(())
    }

    /// From now on these hold.
    async fn settle(&mut self, settings: Settings, now: Moment) -> Result<(), ScheduleError> {
        match &mut self.at_work {
            Some(at_work) => {
                at_work.schedule.change(&settings.every, settings.jitter)?;
                let rules = settings.rules;
                at_work.settings = settings;
                (self.config.read, self.config.problem) = (now.wall, None);
                self.bring(Event::Settled(rules));
            }
            None => {
                let schedule = Schedule::start(&settings.every, settings.jitter, Arc::clone(&self.clocks.wall), self.bell.clone()).await?;
                let last_good = settings.work.last_good;
                if is_late(&settings.every, last_good, now.wall) {
                    self.bell.ring(Ring::Start);
                }
                let desk = Desk::new(settings.rules, now, last_good);
                (self.config.read, self.config.problem) = (now.wall, None);
                self.at_work = Some(AtWork { settings, desk, schedule });
            }
        }
        Ok(())
    }

    fn refuse(&mut self, refusal: &Refusal, now: DateTime<Utc>) {
        if self.config.problem.as_ref() != Some(&refusal.problem) {
            let goes_on = if self.at_work.is_some() { "the one before holds" } else { "nothing is synced until it is mended" };
            tracing::error!(problem = %refusal.problem, goes_on, "the configuration is wrong");
        }
        self.config.problem = Some(refusal.problem.clone());
        // Whether notices are wanted is not known while there is no configuration; one a day is borne.
        let notify = self.at_work.as_ref().is_none_or(|at_work| at_work.settings.notify);
        let concern = self.config_concern();
        if let Some(concern) = concern.filter(|_| notify)
            && self.book.note(&concern, now)
        {
            show(&self.shower, concern);
        }
    }

    fn config_concern(&self) -> Option<Concern> {
        let message = self.config.problem.clone()?;
        Some(Concern { about: FaultKind::Configuration, name: None, message, hint: Some("claude-session-sync config check".to_owned()) })
    }

    fn publish(&mut self) {
        let mut next = self.status.borrow().as_ref().clone();
        next.config = self.config.clone();
        next.log = (self.log)();
        next.concerns = self.config_concern().into_iter().collect();
        next.doing = Doing::Parked;
        if let Some(AtWork { settings, desk, schedule }) = &self.at_work {
            next.token = (settings.work.token)();
            next.doing = desk.doing().clone();
            next.next_pass = schedule.next();
            next.last_pass.clone_from(&desk.last_pass);
            (next.last_good, next.last_look) = (desk.last_good, desk.last_look);
            next.next_visit = desk.next_visit;
            next.expiring.clone_from(&desk.expiring);
            next.stale = desk.stale();
            next.concerns.extend(desk.concerns());
        }
        let changed = **self.status.borrow() != next;
        if changed {
            self.status.send_replace(Arc::new(next));
        }
        let words = changed.then(|| self.words());
        self.supervisor.lives(words.as_deref());
    }

    /// What the service manager shows.
    fn words(&self) -> String {
        let status = self.status.borrow();
        let local = |time: DateTime<Utc>| time.with_timezone(&chrono::Local).format("%H:%M").to_string();
        let last = status.last_pass.as_ref().map(|pass| format!("; last pass {}: {}", local(pass.began), pass.summary)).unwrap_or_default();
        let next = status.next_pass.map(|next| format!("; next {}", local(next))).unwrap_or_default();
        format!("{}{last}{next}", status.doing.words())
    }

    /// A pass under way may end, for a while; a second order to stop ends it at once. Who asks meanwhile is answered.
    async fn end(mut self) {
        self.supervisor.stopping();
        self.status.send_modify(|status| Arc::make_mut(status).doing = Doing::Stopping);
        if let Some(Running::Pass(mut handle, _)) = self.running.take() {
            let ended = tokio::select! {
                ended = tokio::time::timeout(PATIENCE, &mut handle) => ended.is_ok(),
                () = self.pressed() => false,
            };
            if !ended {
                tracing::warn!("the pass under way was abandoned");
                handle.abort();
                let _ = handle.await;
            }
        }
        if let Some(at_work) = self.at_work.take() {
            at_work.schedule.stop().await;
        }
        tracing::info!("agent ended");
        if !self.stopping.is_empty() {
            self.stopping.drain(..).for_each(|reply| drop(reply.send(Answer::Done)));
            // The clients' tasks get their turn to pass the answer on.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Until a signal wants the end at once.
    async fn pressed(&mut self) {
        loop {
            tokio::select! {
                order = self.orders.recv() => if order != Some(Order::Reload) { return },
                Some(Call { request, reply }) = self.called.recv() => match request {
                    Request::Stop => self.stopping.push(reply),
                    _ => drop(reply.send(Answer::Refused { reason: "the agent is coming to its end".to_owned() })),
                },
            }
        }
    }
}

/// Waits for what runs; for ever if nothing does.
async fn ended(running: &mut Option<Running>) -> Event {
    let event = match running {
        None => std::future::pending().await,
        Some(Running::Pass(handle, began)) => Event::PassEnded(match handle.await {
            Ok(end) => end,
            Err(error) => broken(*began, &error.to_string()),
        }),
        Some(Running::Look(handle)) => Event::LookEnded(
            handle
                .await
                .unwrap_or_else(|error| LookEnd { fault: Some(Fault::new(FaultKind::Other, format!("the look broke off: {error}"))), ..LookEnd::default() }),
        ),
    };
    *running = None;
    event
}

fn broken(began: DateTime<Utc>, why: &str) -> PassEnd {
    tracing::error!(%why, "the pass broke off");
    let fault = Fault::new(FaultKind::Other, format!("the pass broke off: {why}"));
    PassEnd { began, ended: began, summary: fault.message.clone(), outcome: PassOutcome::Failed(fault), disk: None, places: Vec::new(), running: None }
}

fn is_late(every: &str, last_good: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    let interval = schedule::pattern(every).map(|pattern| schedule::interval(&pattern, now));
    // A pass of the future was made by a clock that has been set back since.
    last_good.is_none_or(|good| good > now || interval.is_ok_and(|interval| now - good >= interval))
}

fn show(shower: &notice::Shower, concern: Concern) {
    let shower = shower.clone();
    tokio::task::spawn_local(async move {
        if let Err(error) = shower.show(&concern).await {
            tracing::debug!(%error, about = ?concern.about, "no notice could be shown");
        }
    });
}

fn tell(news: &News) {
    match news {
        News::Jumped(Jump::Forward(by)) => tracing::info!(seconds = by.num_seconds(), "the machine slept, or its clock was set forward"),
        News::Jumped(Jump::Back(by)) => tracing::warn!(seconds = by.num_seconds(), "the clock was set back"),
        News::Jumped(Jump::None) => {}
        News::Stale(stale) => match &stale.name {
            Some(name) => tracing::warn!(%name, hours = stale.seconds / 3600, "no visit went well for long"),
            None => tracing::warn!(hours = stale.seconds / 3600, "no pass went well for long"),
        },
        News::Expiring(codespace) => {
            tracing::warn!(name = %codespace.name, at = %codespace.at, why = %codespace.why, hint = %codespace.hint, "GitHub will delete a codespace whose sessions are not known to be home");
        }
    }
}

/// What changes when a file is written, or may be read by others: inode, change time, size.
fn stamp(file: &Path) -> Option<(u64, i64, i64, u64)> {
    fs::metadata(file).ok().map(|found| (found.ino(), found.ctime(), found.ctime_nsec(), found.size()))
}
