//! From the configuration and GitHub's list to connections: who is there, and how each is reached.
//!
//! Promises: no codespace is reached but through its guard; a listing that failed concludes nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::sync::{OnceCell, watch};
use uuid::Uuid;

use super::bases::Bases;
use super::lend::Lent;
use super::opener::Opener;
use super::quiet::Contact;
use super::round::Visiting;
use super::target::{NameError, Reach, Target, choose};
use super::visit::{self, Errand};
use super::{Options, Setting, faults};
use crate::codespace::failure::{Class as FailureClass, Failure};
use crate::codespace::github::{GitHub, install_crypto};
use crate::codespace::guard::{Guard, REMOVED_VARIABLES};
use crate::codespace::name::CodespaceName;
use crate::codespace::replica::{Far, Replica};
use crate::codespace::ssh::{self, Connection, Guarded, Programs, Purpose, READY_DEADLINE, SshError};
use crate::config::Reach as Way;
use crate::paths::make_private;
use crate::reconcile::plan::Window;
use crate::reconcile::report::{Fault, FaultKind, Outcome};
use crate::state::ReplicaMemory;

/// Between two looks at a codespace that is waited for: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Who has connected waits no longer for this machine to be read.
const GROUND_DEADLINE: Duration = Duration::from_secs(120);

/// What is needed to connect.
#[derive(Debug)]
pub struct Doorway {
    github: Option<Arc<GitHub>>,
    ssh: ssh::Setting,
    data: PathBuf,
    state: PathBuf,
    gh: OnceCell<Gh>,
    codespace_claude: Option<String>,
    lent: Option<Lent>,
    opener: Option<Opener>,
}

/// What codespaces are connected to with.
#[derive(Debug)]
pub(super) struct Gh {
    /// The key for their sshds; or why none of them can be reached.
    key: Result<PathBuf, Fault>,
    /// Warnings.
    pub(super) notes: Vec<String>,
}

/// A replica that can be worked on. The guard must live until it is connected.
pub(super) type Opened = (Box<dyn Replica>, Option<Guard>);

/// Who is there.
#[derive(Debug)]
pub struct Listed {
    /// How they are reached.
    pub door: Option<Doorway>,
    /// All of them, also those that are not to be visited.
    pub targets: Vec<Target>,
    /// Why GitHub's list is missing.
    pub fault: Option<Fault>,
    /// Warnings.
    pub notes: Vec<String>,
    /// GitHub's list is among them, all of it: what it lacks is gone.
    pub whole: bool,
}

/// What the configuration and GitHub's list say, before anything is prepared for a visit.
#[derive(Debug)]
pub struct Who {
    github: Option<Arc<GitHub>>,
    /// All codespaces and machines.
    pub targets: Vec<Target>,
    /// Why GitHub's list is missing.
    pub fault: Option<Fault>,
    /// Warnings.
    pub notes: Vec<String>,
    /// GitHub's list is among them, all of it.
    pub whole: bool,
}

/// Lists machines, and codespaces by one request (and one for each further page). Connects to none.
pub async fn who(setting: &Setting, options: &Options) -> Who {
    let config = &setting.config;
    let targets: Vec<Target> = config.machines.iter().map(|machine| Target::machine(machine, config)).collect();
    // A pass over machines alone asks nothing of GitHub.
    let machines_only = !options.names.is_empty() && options.names.iter().all(|name| targets.iter().any(|target| target.name == *name));
    let mut who = Who { github: None, targets, fault: None, notes: Vec::new(), whole: false };
    if config.github.enabled
        && !machines_only
        && let Err(fault) = codespaces(setting, options, &mut who).await
    {
        who.fault = Some(fault);
    }
    who
}

/// Lists codespaces and machines.
pub async fn list(setting: &Setting, options: &Options) -> Listed {
    let mut who = who(setting, options).await;
    let mut notes = std::mem::take(&mut who.notes);
    let door = Doorway { lent: options.lent.clone(), ..Doorway::of(setting, &who, Purpose::Visit, &mut notes) };
    let Who { targets, fault, whole, .. } = who;
    Listed { door: Some(door), targets, fault, notes, whole }
}

async fn codespaces(setting: &Setting, options: &Options, who: &mut Who) -> Result<(), Fault> {
    install_crypto();
    let github = setting.account.of_pass(setting).await?;
    let began = tokio::time::Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let listing = setting.account.listing(&github).await.map_err(|error| faults::of_list(&error))?;
        let targets: Vec<Target> = listing.codespaces.into_iter().map(|codespace| Target::codespace(codespace, &setting.config)).collect();
        let left = options.wait.map(|wait| wait.saturating_sub(began.elapsed())).filter(|left| !left.is_zero() && on_their_way(&targets, options));
        if let Some(left) = left {
            tokio::time::sleep(pause.min(left)).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
            continue;
        }
        who.notes.extend(listing.unreadable.iter().map(|row| format!("GitHub's list: {row}")));
        if listing.partly_hidden {
            who.notes.push("GitHub's list is partly hidden from this token".to_owned());
        }
        who.whole = listing.unreadable.is_empty() && !listing.partly_hidden;
        (who.github, who.targets) = (Some(github), std::mem::take(&mut who.targets).into_iter().chain(targets).collect());
        return Ok(());
    }
}

/// Whether somebody who was asked for is not Available yet but may come to be. A name that nobody has may be a codespace that
/// was made a moment ago.
fn on_their_way(targets: &[Target], options: &Options) -> bool {
    match choose(targets.to_vec(), &options.names, options.dot.as_ref()) {
        Ok(named) => named.iter().any(|target| matches!(&target.reach, Reach::Codespace(codespace) if codespace.is_on_its_way())),
        Err(NameError::Unknown { .. }) => true,
        Err(NameError::Ambiguous { .. }) => false,
    }
}

impl Doorway {
    /// For connections of that purpose. What earlier processes left is cleared away.
    pub(super) fn of(setting: &Setting, who: &Who, purpose: Purpose, notes: &mut Vec<String>) -> Self {
        let Setting { config, paths, environment, .. } = setting;
        let program = |program: &crate::config::Program| PathBuf::from(program.to_string());
        let programs = Programs { gh: program(&config.programs.gh), ssh: program(&config.programs.ssh), ssh_keygen: program(&config.programs.ssh_keygen) };
        let pairs = environment.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (environment, runtime) = (ssh::Environment::from_pairs(pairs), paths.runtime.clone());
        let ssh = ssh::Setting { programs, environment, runtime, ready_deadline: READY_DEADLINE, purpose };
        if let Err(error) = make_private(&ssh.runtime) {
            notes.push(format!("the runtime directory {}: {error}", ssh.runtime.display()));
        }
        // One that ran by hand may have had its sockets elsewhere.
        for runtime in paths.runtimes() {
            match ssh::clean_stale(&runtime) {
                Ok(cleaned) if cleaned.masters > 0 => notes.push(format!("ended {} connections that an earlier process left", cleaned.masters)),
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "stale sockets were not looked at"),
            }
        }
        let codespace_claude = config.claude.codespace_directory.as_ref().map(ToString::to_string);
        Self {
            github: who.github.clone(),
            ssh,
            data: paths.data.clone(),
            state: paths.state.clone(),
            gh: OnceCell::new(),
            codespace_claude,
            lent: None,
            opener: setting.opener.clone(),
        }
    }

    /// The key and the version of gh, once for all codespaces of the pass, and only where one of them is connected to.
    pub(super) async fn prepare(&self) -> &Gh {
        self.gh.get_or_init(|| self.look_at_gh()).await
    }

    /// Warnings of [`Doorway::prepare`], if that was done.
    pub(super) fn notes(&self) -> Vec<String> {
        self.gh.get().map(|gh| gh.notes.clone()).unwrap_or_default()
    }

    fn gh_home(&self) -> PathBuf {
        self.data.join("gh")
    }

    async fn look_at_gh(&self) -> Gh {
        let told = |error: &SshError| Fault { permanent: true, ..faults::of_ssh(error) };
        let version = ssh::known_gh_version(&self.state, &self.ssh.programs, &self.ssh.environment, Utc::now()).await;
        let notes = version.as_ref().ok().and_then(|version| version.warning()).into_iter().collect();
        let gh_home = make_private(&self.gh_home()).map_err(|error| {
            let text = format!("{} cannot be made: {error}", self.gh_home().display());
            Fault { permanent: true, ..Fault::new(faults::of_io(&error), text) }
        });
        let key = ssh::key::ensure(&self.data.join("ssh"), &self.ssh.programs, &self.ssh.environment).await;
        let key = key.map_err(|error| told(&error)).and_then(|key| gh_home.map(|()| key));
        Gh { key: key.and_then(|key| version.map(|_| key).map_err(|error| told(&error))), notes }
    }

    /// Opens a place: by the connection that is lent, by the opener, or by connecting. The guard must live until that is done.
    pub(super) async fn open(&self, target: &Target) -> Result<Opened, (Outcome, Contact)> {
        if let Some(lent) = &self.lent {
            let another = || (failed("another connection was lent".to_owned()), Contact::None);
            return if lent.name == target.name { Ok((Box::new(lent.far()), None)) } else { Err(another()) };
        }
        if let Some(opener) = &self.opener {
            return opener.open(&target.name).map(|replica| (replica, None)).map_err(|fault| (Outcome::Failed(fault), Contact::None));
        }
        let (far, guard) = self.connect(target).await?;
        Ok((Box::new(far), guard))
    }

    /// Connects. The guard must live until that is done.
    pub(super) async fn connect(&self, target: &Target) -> Result<(Far, Option<Guard>), (Outcome, Contact)> {
        let here = |outcome| (outcome, Contact::None);
        match &target.reach {
            Reach::Machine(machine) => {
                let way = match &machine.reach {
                    Way::Ssh(host) => ssh::Target::Ssh { host: host.to_string().parse().map_err(|error: ssh::NotAHost| here(failed(error.to_string())))? },
                    Way::Command(command) => ssh::Target::Command(command.clone()),
                };
                let connection = Connection::open(way, &self.ssh).await.map_err(|error| (not_connected(&error), contact(&error)))?;
                let claude = machine.claude.as_ref().map(ToString::to_string);
                Ok((Far::new(connection, claude, Some(machine.workspaces.to_string())), None))
            }
            Reach::Codespace(codespace) => {
                let key = self.prepare().await.key.as_ref().map_err(|fault| here(Outcome::Failed(fault.clone())))?;
                let Some(github) = &self.github else { return Err(here(failed("gh is not ready".to_owned()))) };
                let guard = start_guard(github, &codespace.name).await.map_err(|error| here(failed(format!("the guard cannot listen: {error}"))))?;
                let guarded = Guarded { set: guard.environment(&self.gh_home().to_string_lossy()), remove: REMOVED_VARIABLES.map(str::to_owned).to_vec() };
                let way = ssh::Target::Codespace { name: codespace.name.clone(), guarded, key: key.clone() };
                let connection = Connection::open(way, &self.ssh).await.map_err(|error| (not_connected(&error), contact(&error)))?;
                Ok((Far::new(connection, self.codespace_claude.clone(), None), Some(guard)))
            }
        }
    }
}

async fn start_guard(github: &Arc<GitHub>, name: &CodespaceName) -> io::Result<Guard> {
    Guard::start(Arc::clone(github), name.clone()).await
}

fn failed(message: String) -> Outcome {
    Outcome::Failed(Fault::new(FaultKind::Other, message))
}

/// A codespace that went to sleep, or away, since it was listed was not visited, and that is no failure.
fn not_connected(error: &SshError) -> Outcome {
    if is_skip(error) { Outcome::NotVisited { why: error.to_string() } } else { Outcome::Failed(faults::of_ssh(error)) }
}

/// A failure of a visit that is none: the codespace went to sleep, or away, in the meantime.
fn is_skip(error: &SshError) -> bool {
    matches!(error, SshError::Failed(Failure::NotAvailable | Failure::Pending | Failure::Gone))
}

/// Whether GitHub may have taken it for activity. Where gh has no login, or the guard let nothing through, it did not.
fn contact(error: &SshError) -> Contact {
    match error {
        SshError::Failed(failure) if !matches!(failure.class(), FailureClass::UntilUserActs | FailureClass::Skip) => Contact::Made,
        SshError::MasterGone => Contact::Made,
        _ => Contact::None,
    }
}

/// A visit that found nothing.
#[derive(Debug)]
pub struct Missed {
    /// Whom.
    pub target: Box<Target>,
    /// What came of it.
    pub outcome: Outcome,
    /// Whether GitHub took it for activity.
    pub contact: Contact,
    /// Connections made.
    pub connections: u32,
    /// Commands run over them.
    pub channels: u32,
}

/// What a visit takes along.
#[derive(Debug, Clone)]
pub struct Luggage {
    /// This machine, as a codespace is to know it; none leaves no trace there.
    pub agent: Option<Uuid>,
    /// What is remembered of the far replicas.
    pub replicas: BTreeMap<Uuid, Arc<ReplicaMemory>>,
    /// This machine, once it has been read.
    pub ground: watch::Receiver<Option<Ground>>,
}

/// This machine, for those that visit.
#[derive(Debug, Clone)]
pub struct Ground {
    /// Its window.
    pub window: Window,
    /// Where fetched bytes go.
    pub stage: PathBuf,
    /// What is here of each session.
    pub bases: Arc<Bases>,
}

/// Connects to a target, lists what is there, and looks at it once this machine has been read.
///
/// # Errors
/// Why there is no listing, with the connections and channels that it took.
pub async fn look(door: &Doorway, target: &Target, luggage: &Luggage) -> Result<Visiting, Missed> {
    let missed = |outcome, contact, (connections, channels)| Missed { target: Box::new(target.clone()), outcome, contact, connections, channels };
    // The guard must live until the master is connected: gh asks it before anything else, and only then.
    let (mut far, _guard) = door.open(target).await.map_err(|(outcome, contact)| missed(outcome, contact, (0, 0)))?;
    tracing::debug!("connected");
    // Only a codespace can be kept awake by those who visit.
    let agent = luggage.agent.filter(|_| matches!(target.reach, Reach::Codespace(_)));
    let ready = async {
        let listing = far.list(&target.folders, agent).await.map_err(|error| Outcome::Failed(faults::of_visit(&error)))?;
        let mut ground = luggage.ground.clone();
        let read = async { ground.wait_for(Option::is_some).await.ok().and_then(|ground| ground.clone()) };
        // A disk of the network that is gone answers nothing, and whoever stays connected keeps a codespace awake.
        let ground = tokio::time::timeout(GROUND_DEADLINE, read).await.unwrap_or_default();
        Ok((listing, ground.ok_or_else(|| failed("this machine was not read".to_owned()))?))
    };
    match ready.await {
        Ok((listing, Ground { window, stage, bases })) => {
            let memory = listing.replica.and_then(|replica| luggage.replicas.get(&replica));
            let errand = Errand { admitted: target.admitted.clone(), window, stage };
            let seen = visit::look(&mut *far, listing, &errand, &bases, memory.map(|memory| &**memory)).await;
            Ok(Visiting { target: target.clone(), far, seen, agent })
        }
        Err(outcome) => {
            let counts = far.counts();
            far.close().await;
            Err(missed(outcome, Contact::Made, (counts.connections, counts.channels)))
        }
    }
}
