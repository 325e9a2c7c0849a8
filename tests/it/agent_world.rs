//! An agent in a world of paused time: the real loop, desk and schedule; passes and looks as a test scripts them.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use claude_session_sync::agent::bell::Bell;
use claude_session_sync::agent::control::Patience;
use claude_session_sync::agent::desk::Rules;
use claude_session_sync::agent::notice::{Book, Shower};
use claude_session_sync::agent::status::LogStatus;
use claude_session_sync::agent::supervisor::Supervisor;
use claude_session_sync::agent::work::{Errand, LookEnd, PassEnd, PassOutcome, Work};
use claude_session_sync::agent::{self, Given, Order, Refusal, Settings};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::Instant;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// A pass or a look that was begun.
#[derive(Debug, Clone)]
pub(crate) struct Begun {
    /// Time awake since the agent began.
    pub(crate) awake: Duration,
    pub(crate) errand: Errand,
}

/// What a scripted pass does.
pub(crate) type PassScript = dyn Fn(&Errand) -> (Duration, PassOutcome);
/// What a scripted look sees.
pub(crate) type LookScript = dyn Fn() -> LookEnd;

/// The world around the agent.
pub(crate) struct AgentWorld {
    pub(crate) start: DateTime<Utc>,
    pub(crate) began: Instant,
    /// What the wall clock is ahead of the time awake: sleeps of the machine, a clock that was set.
    pub(crate) ahead: Arc<Mutex<TimeDelta>>,
    pub(crate) bell: Bell,
    pub(crate) passes: Rc<RefCell<Vec<Begun>>>,
    pub(crate) looks: Rc<RefCell<Vec<Duration>>>,
    pub(crate) at_once: Rc<Cell<usize>>,
    pub(crate) pass: Rc<PassScript>,
    pub(crate) look: Rc<LookScript>,
    pub(crate) every: Rc<RefCell<Result<String, String>>>,
    pub(crate) rules: Rules,
    pub(crate) jitter: Duration,
    pub(crate) last_good: Option<DateTime<Utc>>,
    pub(crate) home: tempfile::TempDir,
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) ordered: RefCell<Option<mpsc::Receiver<Order>>>,
}

impl AgentWorld {
    /// At noon, with an hourly schedule, no look, and passes of 10 s that are good. The last good pass began a minute ago.
    pub(crate) fn new() -> Self {
        let start = DateTime::parse_from_rfc3339("2026-03-02T12:10:00Z").unwrap().to_utc();
        let (orders, ordered) = mpsc::channel(4);
        Self {
            start,
            began: Instant::now(),
            ahead: Arc::default(),
            bell: Bell::default(),
            passes: Rc::default(),
            looks: Rc::default(),
            at_once: Rc::default(),
            pass: Rc::new(|_| (Duration::from_secs(10), PassOutcome::Made)),
            look: Rc::new(LookEnd::default),
            every: Rc::new(RefCell::new(Ok("0 * * * *".to_owned()))),
            rules: Rules { look: Duration::ZERO, stale_after: 6 * HOUR },
            jitter: Duration::ZERO,
            last_good: Some(start - TimeDelta::minutes(1)),
            home: tempfile::tempdir().unwrap(),
            orders,
            ordered: RefCell::new(Some(ordered)),
        }
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.home.path().join("config.toml")
    }

    /// The machine sleeps, or its clock is set forward; back for a negative time.
    pub(crate) fn jump(&self, by: TimeDelta) {
        *self.ahead.lock().unwrap() += by;
    }

    /// A pass that panicked did not say that it ended.
    pub(crate) fn is_idle_again(&self) {
        self.at_once.set(0);
    }

    pub(crate) async fn order(&self, order: Order) {
        self.orders.send(order).await.unwrap();
    }

    pub(crate) fn times(&self) -> Vec<Duration> {
        self.passes.borrow().iter().map(|begun| begun.awake).collect()
    }

    fn settings(&self) -> impl Fn() -> Result<Settings, Refusal> + 'static {
        let (every, rules, jitter, last_good) = (Rc::clone(&self.every), self.rules, self.jitter, self.last_good);
        let (passes, looks, at_once) = (Rc::clone(&self.passes), Rc::clone(&self.looks), Rc::clone(&self.at_once));
        let (pass, look, began, start) = (Rc::clone(&self.pass), Rc::clone(&self.look), self.began, self.start);
        move || {
            let every = every.borrow().clone().map_err(|problem| Refusal { problem })?;
            let (passes, looks, at_once, pass, look) = (Rc::clone(&passes), Rc::clone(&looks), Rc::clone(&at_once), Rc::clone(&pass), Rc::clone(&look));
            let alone = Rc::clone(&at_once);
            let work = Work {
                pass: Box::new(move |errand| {
                    let (passes, at_once, pass) = (Rc::clone(&passes), Rc::clone(&at_once), Rc::clone(&pass));
                    Box::pin(async move {
                        assert_eq!(at_once.replace(1), 0, "two things at once");
                        passes.borrow_mut().push(Begun { awake: began.elapsed(), errand: errand.clone() });
                        let (takes, outcome) = pass(&errand);
                        let at = start + TimeDelta::from_std(began.elapsed()).unwrap();
                        tokio::time::sleep(takes).await;
                        at_once.set(0);
                        PassEnd { began: at, ended: at, summary: "done".to_owned(), outcome, disk: None, places: Vec::new(), running: None }
                    })
                }),
                look: Box::new(move || {
                    let (looks, alone, look) = (Rc::clone(&looks), Rc::clone(&alone), Rc::clone(&look));
                    Box::pin(async move {
                        assert_eq!(alone.replace(1), 0, "two things at once");
                        looks.borrow_mut().push(began.elapsed());
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        alone.set(0);
                        look()
                    })
                }),
                token: Box::new(|| None),
                last_good,
            };
            Ok(Settings { every, jitter, rules, notify: false, work })
        }
    }

    /// Runs the agent beside a scene, and ends it when the scene is over.
    pub(crate) async fn play<F: Future<Output = ()>>(self: Rc<Self>, scene: impl FnOnce(Rc<Self>) -> F) {
        let (ahead, began, start) = (Arc::clone(&self.ahead), self.began, self.start);
        let clock = move || start + TimeDelta::from_std(began.elapsed()).unwrap() + *ahead.lock().unwrap();
        let given = Given {
            clock: Arc::new(clock),
            bell: self.bell.clone(),
            load: Box::new(self.settings()),
            config_file: self.config_file(),
            log: Box::new(LogStatus::default),
            runtime: None,
            patience: Patience::default(),
            orders: self.ordered.take().unwrap(),
            supervisor: Supervisor::None,
            shower: Shower::NotifySend("/nonexistent".into()),
            book: Book::open(&self.home.path().join("notices.json")),
        };
        let world = Rc::clone(&self);
        let local = LocalSet::new();
        let agent = local.spawn_local(agent::run(given));
        local
            .run_until(async move {
                scene(Rc::clone(&world)).await;
                // A scene may have ended the agent itself.
                let _ = world.orders.send(Order::Stop).await;
                agent.await.unwrap();
            })
            .await;
    }
}
