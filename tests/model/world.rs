//! A world in which a history happens: this machine in directories of a file system in memory, far members in maps or in
//! directories behind the real script, and a clock.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use claude_session_sync::codespace::replica::{Far, Replica};
use claude_session_sync::codespace::ssh;
use claude_session_sync::config::Config;
use claude_session_sync::lock::{Alone, Lock};
use claude_session_sync::pass::opener::Opener;
use claude_session_sync::pass::{LOCK_PATIENCE, Options, PassError, Setting, run};
use claude_session_sync::paths::{Environment, Paths};
use claude_session_sync::reconcile::report::Report;
use futures_util::FutureExt as _;
use tokio::sync::Notify;

use crate::faulty::{Calls, Faulty, Trouble};
use crate::history::{At, History, Way};
use crate::memory::{Memory, Store};
use crate::place::{Directory, Place};

/// What far members are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    Memory,
    Directories,
}

/// The time of every world: whatever is decided by bytes is decided alike whenever a history is played.
const BEGAN: i64 = 1_750_000_000;

/// What worlds that follow one another share: what git said of the clone here, which is asked once.
pub(crate) struct Ground {
    root: PathBuf,
    runtime: tokio::runtime::Runtime,
    clones: PathBuf,
    path: String,
    /// A state that knows what git said of the clone, and nothing else.
    asked: Option<Vec<u8>>,
    made: u64,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let shared = shared();
        let clones = clones_below(&shared);
        let root = (0..).map(|slot| shared.join(format!("session-sync-model-{slot:02}"))).find(|root| fs::create_dir(root).is_ok()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { root, runtime, clones, path: path_of_tools(), asked: None, made: 0 }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// The directories of the search path that have tools of a far side in them: it starts so many that looking for each in all the others
/// is a tenth of the time.
fn path_of_tools() -> String {
    let path = std::env::var("PATH").unwrap();
    let has_tools = |directory: &&str| ["sh", "git", "stat", "flock"].iter().any(|tool| Path::new(directory).join(tool).exists());
    path.split(':').filter(has_tools).collect::<Vec<_>>().join(":")
}

/// A file system in memory, where there is one.
fn shared() -> PathBuf {
    let shared = Path::new("/dev/shm");
    let shared = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
    shared.canonicalize().unwrap()
}

/// Two clones that nobody writes to, the one here and the one of all far members. Their paths stand in every line that is written,
/// and digests decide between equals: so that a history plays alike the next time, and beside others, they are made once and stay.
fn clones_below(shared: &Path) -> PathBuf {
    let clones = shared.join(format!("session-sync-model-clones-{}", rustix::process::geteuid().as_raw()));
    if !clones.is_dir() {
        let new = tempfile::tempdir_in(shared).unwrap();
        git_clone(&new.path().join("here"));
        git_clone(&new.path().join("far/widget"));
        // Somebody else may have been faster.
        let _ = fs::rename(new.path(), &clones);
    }
    clones
}

fn git_clone(at: &Path) {
    let path = std::env::var("PATH").unwrap();
    for arguments in [&["init", "-q"] as &[_], &["remote", "add", "origin", "git@github.com:acme/widget.git"]] {
        fs::create_dir_all(at).unwrap();
        let run = Command::new("git").arg("-C").arg(at).args(arguments).env_clear().env("PATH", &path).env("HOME", at).status().unwrap();
        assert!(run.success());
    }
}

/// What a way to a far member leads to.
enum Door {
    Memory(Arc<Mutex<Store>>),
    Script(Box<Script>),
}

/// The program's own script, as a pass runs it that finds this machine in its configuration.
struct Script {
    command: Vec<String>,
    claude: String,
    workspaces: String,
    setting: ssh::Setting,
}

impl Door {
    fn open(&self) -> Box<dyn Replica> {
        match self {
            Self::Memory(store) => Box::new(Memory::new(Arc::clone(store))),
            Self::Script(script) => {
                let Script { command, claude, workspaces, setting } = &**script;
                // Nothing is waited for: a command is run by each call anew.
                let connection = ssh::Connection::open(ssh::Target::Command(command.clone()), setting).now_or_never().unwrap().unwrap();
                Box::new(Far::new(connection, Some(claude.clone()), Some(workspaces.clone())))
            }
        }
    }
}

/// How a pass ended.
#[derive(Debug)]
pub(crate) enum Ended {
    Report(Box<Report>),
    Failed(PassError),
    /// This process died in it.
    Died,
}

/// What became of what was remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoilt {
    /// It is gone.
    Lost,
    /// Half of it is there.
    Torn,
    /// It is of another format, in which digests are written backwards.
    Strange,
}

fn reverse_digests(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) if text.len() == 64 => *text = text.chars().rev().collect(),
        serde_json::Value::Array(values) => values.iter_mut().for_each(reverse_digests),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(reverse_digests),
        _ => {}
    }
}

/// One world.
pub(crate) struct World<'a> {
    ground: &'a mut Ground,
    root: PathBuf,
    setting: Setting,
    /// This machine, then the far members.
    pub(crate) places: Vec<Place>,
    /// Seconds that each one's clock is ahead.
    pub(crate) skews: Vec<i64>,
    /// The true time, in seconds since 1970.
    pub(crate) clock: i64,
    made: Made,
    /// Opens the far members so that each call is counted, and may go wrong.
    opener: Opener,
    trouble: Arc<Mutex<Option<(At, Trouble)>>>,
    died: Arc<Notify>,
    /// What each far member was asked, by number, from 0 on; of real ones, in a pass that is to go wrong.
    asked: Vec<Calls>,
}

impl<'a> World<'a> {
    pub(crate) fn new(ground: &'a mut Ground, history: &History, made: Made) -> Self {
        ground.made += 1;
        let root = ground.root.canonicalize().unwrap().join(format!("world-{}", ground.made));
        let home = root.join("home");
        let here = Directory::make(home.join(".claude"), ground.clones.join("here"));
        let path = ground.path.clone();
        let environment: Environment = [("HOME", home.display().to_string()), ("PATH", path.clone())].into_iter().collect();
        let paths = Paths::of(&environment).unwrap();
        let clock = BEGAN;
        let mut text = format!("[github]\nenabled = false\n[[repository]]\nname = \"acme/widget\"\npath = {:?}\n", here.clone.display().to_string());
        let mut places = vec![Place::Directory(here)];
        let mut doors = Vec::new();
        let workspaces = ground.clones.join("far").display().to_string();
        let setting_of_far = ssh::Setting {
            programs: ssh::Programs::default(),
            environment: ssh::Environment::from_pairs([("PATH".into(), path.clone().into())]),
            runtime: paths.runtime.clone(),
            ready_deadline: ssh::READY_DEADLINE,
            purpose: ssh::Purpose::Visit,
        };
        for number in 1..=history.far {
            let name = format!("box{number}");
            let mut command = vec!["false".to_owned()];
            let far = root.join(&name);
            let claude = far.join(".claude").display().to_string();
            match made {
                Made::Memory => {
                    let witness = Some(paths.data.join("vault"));
                    let store = Store { registry: history.unregistered != Some(number), clock, witness, ..Store::default() };
                    let store = Arc::new(Mutex::new(store));
                    doors.push(Door::Memory(Arc::clone(&store)));
                    places.push(Place::Memory(store));
                }
                Made::Directories => {
                    command = ["env".to_owned(), "-i".to_owned(), format!("HOME={}", far.display()), format!("PATH={path}")].to_vec();
                    let (claude, workspaces, setting) = (claude.clone(), workspaces.clone(), setting_of_far.clone());
                    doors.push(Door::Script(Box::new(Script { command: command.clone(), claude, workspaces, setting })));
                    places.push(Place::Directory(Directory::make(far.join(".claude"), ground.clones.join("far/widget"))));
                }
            }
            text += &format!("[[machine]]\nname = {name:?}\ncommand = {command:?}\nrepositories = [\"acme/widget\"]\nworkspaces = {workspaces:?}\n");
            text += &format!("claude = {claude:?}\n");
        }
        let config = Config::parse(&text, Path::new("config.toml"), &home).unwrap();
        let (trouble, died) = (Arc::new(Mutex::new(None)), Arc::new(Notify::new()));
        let mut setting = Setting::new(config, paths, environment);
        let asked: Vec<Calls> = doors.iter().map(|_| Calls::default()).collect();
        let opener = {
            let (trouble, died, asked) = (Arc::clone(&trouble), Arc::clone(&died), asked.clone());
            Opener::new(move |name| {
                let at: usize = name.strip_prefix("box").unwrap().parse().unwrap();
                let trouble = trouble.lock().unwrap().filter(|(of, _)| usize::from(*of) == at).map(|(_, trouble)| trouble);
                Ok(Box::new(Faulty::new(doors[at - 1].open(), trouble, Arc::clone(&died), Arc::clone(&asked[at - 1]))))
            })
        };
        setting.opener = (made == Made::Memory).then(|| opener.clone());
        let skews = vec![0; places.len()];
        let world = Self { ground, root, setting, places, skews, clock, made, opener, trouble, died, asked };
        world.seed_state();
        world
    }

    /// A state in which nothing is known but what git said of the clone, which is the same for all worlds.
    fn seed_state(&self) {
        if let Some(clones) = &self.ground.asked {
            fs::create_dir_all(&self.setting.paths.state).unwrap();
            fs::write(self.setting.paths.state.join("state.json"), clones).unwrap();
        }
    }

    /// What is remembered is gone, or worth nothing.
    pub(crate) fn spoil_state(&mut self, spoilt: Spoilt) {
        let path = self.setting.paths.state.join("state.json");
        let text = fs::read(&path).unwrap_or_default();
        match spoilt {
            Spoilt::Lost => {
                let _ = fs::remove_file(path);
                self.seed_state();
            }
            Spoilt::Torn => fs::write(path, &text[..text.len() / 2]).unwrap(),
            Spoilt::Strange => {
                let mut state = serde_json::from_slice(&text).unwrap_or_default();
                reverse_digests(&mut state);
                state["version"] = 2.into();
                fs::write(path, state.to_string()).unwrap();
            }
        }
        self.restart();
    }

    /// Another process from now on: nothing is known but what is on the disk.
    fn restart(&mut self) {
        let opener = self.setting.opener.take();
        let Setting { config, paths, environment, .. } = self.setting.clone();
        self.setting = Setting { opener, ..Setting::new(config, paths, environment) };
    }

    /// Far members, by number, from 1 on.
    pub(crate) fn far(&self) -> impl Iterator<Item = usize> + use<> {
        1..self.places.len()
    }

    /// The vault of this machine.
    pub(crate) fn vault(&self) -> PathBuf {
        self.setting.paths.data.join("vault")
    }

    pub(crate) fn setting(&self) -> &Setting {
        &self.setting
    }

    /// The clock of a place.
    pub(crate) fn clock_at(&self, at: usize) -> i64 {
        self.clock + self.skews[at]
    }

    /// The time of a pass: what this machine's clock shows.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.clock_at(0), 0).unwrap()
    }

    /// Runs something of the program to its end.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.ground.runtime.block_on(work)
    }

    /// One pass over these far members.
    pub(crate) fn pass(&mut self, members: &[usize], way: Way, trouble: Option<(At, Trouble)>) -> Ended {
        use claude_session_sync::pass::round::Direction;
        for at in self.far() {
            self.places[at].set_clock(self.clock_at(at));
        }
        self.asked.iter().for_each(|calls| calls.lock().unwrap().clear());
        // A pass that nothing disturbs finds its own way to real members.
        self.setting.opener = (self.made == Made::Memory || trouble.is_some()).then(|| self.opener.clone());
        *self.trouble.lock().unwrap() = trouble;
        let direction = match way {
            Way::Both => Direction::Both,
            Way::Pull => Direction::Pull,
            Way::Push => Direction::Push,
        };
        let options = Options { names: members.iter().map(|at| format!("box{at}")).collect(), direction, ..Options::default() };
        let (setting, died, now) = (&self.setting, &self.died, self.now());
        let ended = self.ground.runtime.block_on(async {
            tokio::select! {
                biased;
                ended = run(setting, &options, now) => match ended {
                    Ok(report) => Ended::Report(Box::new(report)),
                    Err(error) => Ended::Failed(error),
                },
                () = died.notified() => Ended::Died,
            }
        });
        *self.trouble.lock().unwrap() = None;
        if matches!(ended, Ended::Died) {
            self.wait_for_locks();
            self.restart();
        }
        if self.ground.asked.is_none() {
            self.keep_clones();
        }
        ended
    }

    /// What a place was asked in the last pass, by name.
    pub(crate) fn asked(&self, at: usize) -> Vec<&'static str> {
        self.asked[at - 1].lock().unwrap().clone()
    }

    /// A process takes its threads with it; here they come to the end of their step, which is when the lock is free. That is soon: whoever
    /// takes it with patience looks only each 50 ms. A script that was at work elsewhere is killed, and lets go of the lock there at its end.
    fn wait_for_locks(&self) {
        let began = Instant::now();
        while let Err(error) = self.block_on(Lock::take(&self.setting.paths.state, Alone::Pass, Duration::ZERO)) {
            assert!(began.elapsed() < LOCK_PATIENCE, "{error}");
            std::thread::sleep(Duration::from_micros(100));
        }
        for place in &self.places[1..] {
            if let Place::Directory(Directory { claude, .. }) = place
                && let Ok(lock) = fs::File::open(claude.join(".claude-session-sync/lock"))
            {
                while lock.try_lock().is_err() {
                    assert!(began.elapsed() < 6 * LOCK_PATIENCE, "a script that was killed goes on");
                    std::thread::sleep(Duration::from_micros(100));
                }
            }
        }
    }

    fn keep_clones(&mut self) {
        let state = fs::read(self.setting.paths.state.join("state.json")).unwrap_or_default();
        let Ok(mut state) = serde_json::from_slice::<serde_json::Value>(&state) else { return };
        if state["clones"].as_object().is_none_or(serde_json::Map::is_empty) {
            return;
        }
        for (name, empty) in [("digests", "[]"), ("replicas", "{}"), ("visits", "{}"), ("last_pass", "null"), ("last_good", "null"), ("rules", "{}")] {
            state[name] = serde_json::from_str(empty).unwrap();
        }
        self.ground.asked = Some(serde_json::to_vec(&state).unwrap());
    }
}

impl Drop for World<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}
