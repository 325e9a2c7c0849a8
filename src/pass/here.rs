//! This machine, as a pass sees it: what lies in the store and what it holds, where each session belongs, and the vault.
//!
//! Promises: a file whose stamp is known is not read again; whatever is read is archived before anything is installed.

mod places;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use uuid::Uuid;

use super::clock::nanoseconds;
use crate::config::Config;
use crate::paths::Paths;
pub use crate::reconcile::layout::Rule;
use crate::reconcile::manifest::{Part, ProjectName, SessionId, SidePath, Stamp, StorePath};
use crate::reconcile::plan::Side;
use crate::reconcile::project::RepositoryId;
use crate::reconcile::relation::Lines;
use crate::reconcile::report::Skipped;
use crate::reconcile::shared::put;
use crate::reconcile::transcript::Content;
use crate::state::{Held, State};
use crate::store::archive::{Archive, Here as LastHere, Place};
use crate::store::forgotten::Tombstones;
use crate::store::live::{Registry, registry};
use crate::store::read::{self, Wanted};
use crate::store::repositories::Checkout;
use crate::store::scan::{Scan, scan};
use crate::store::tree::Tree;
use crate::store::vault::{Note, Reason, Vault};
use crate::store::{ensure_replica_id, replica_id, vault_root};
use litemap::LiteMap;

/// Where things lie, and which programs to use.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The client's directory.
    pub claude: PathBuf,
    /// Our data directory.
    pub data: PathBuf,
    /// `git`.
    pub git: PathBuf,
    /// Whether the archive keeps copies.
    pub archive: bool,
    /// Clones that the configuration names.
    pub configured: Vec<(RepositoryId, PathBuf)>,
    /// Where clones are looked for.
    pub clone_roots: Vec<PathBuf>,
}

impl Setting {
    /// What the configuration and the places say.
    #[must_use]
    pub fn of(config: &Config, paths: &Paths) -> Self {
        let named = config.repositories.iter().filter_map(|entry| Some((entry.name.clone(), entry.path.clone()?)));
        Self {
            claude: paths.claude.clone(),
            data: paths.data.clone(),
            git: PathBuf::from(config.programs.git.to_string()),
            archive: config.vault.archive,
            configured: named.collect(),
            clone_roots: config.sync.clone_roots.clone(),
        }
    }
}

/// One session here.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its project directory.
    pub project: ProjectName,
    /// Its transcript.
    pub transcript: Option<(Stamp, Arc<Lines>)>,
    /// Its side files.
    pub side: LiteMap<SidePath, (Stamp, Side)>,
    /// Why it cannot be read.
    pub unreadable: Option<String>,
    /// A client has it open.
    pub live: bool,
    /// Its own lines name the working directory that its project directory stands for.
    speaks: bool,
    /// Where it belongs, if that is known.
    pub place: Option<Place>,
}

/// This machine.
#[derive(Debug)]
pub struct Here {
    /// The setting it was opened with.
    pub setting: Setting,
    /// The store; none before the first session.
    pub tree: Option<Tree>,
    /// Displaced bytes.
    pub vault: Vault,
    /// Newest copies.
    pub archive: Archive,
    /// The store's id; none before the first write of ours.
    pub replica: Option<Uuid>,
    /// Who is at work.
    pub registry: Registry,
    /// The sessions.
    pub sessions: BTreeMap<SessionId, Session>,
    /// Sessions that are here and are neither read nor touched, and why.
    pub refused: BTreeMap<SessionId, String>,
    /// Sessions that their user forgot. What lies here of them is not among the sessions.
    pub forgotten: Tombstones,
    /// Of those, what lies in the store again: as if it did not.
    pub again: BTreeSet<SessionId>,
    /// What was passed over.
    pub skipped: Vec<Skipped>,
    /// Clones that sessions here name, with the newest modification time of such a session.
    clones: BTreeMap<PathBuf, (Checkout, i64)>,
    /// Project directories whose repository a clone says, and that clone's root.
    spoken_for: BTreeMap<ProjectName, (RepositoryId, PathBuf)>,
    /// Clones below the clone roots, once they were looked for: ten thousand sessions may ask.
    found: OnceLock<Vec<Checkout>>,
    /// When it was looked at, by this machine's clock.
    pub now: SystemTime,
}

impl Here {
    /// Opens the store, reads what changed since the state was written, and finds out where everything belongs.
    ///
    /// `known` are the repositories that may be named by more than one remote of a clone: the first of a clone's remotes that
    /// is among them is the clone's.
    ///
    /// # Errors
    /// When the store or the vault cannot be listed: nothing is concluded from half a listing.
    pub fn open(setting: Setting, state: &mut State, known: &BTreeSet<RepositoryId>, now: SystemTime) -> io::Result<Self> {
        let tree = Tree::open(&setting.claude)?;
        let root = match &tree {
            Some(tree) => vault_root(&setting.data, &setting.claude, tree)?,
            None => setting.data.clone(),
        };
        let vault = Vault::open(&root)?;
        let archive = Archive::open(&vault, setting.archive)?;
        let registry = registry(&setting.claude)?;
        let forgotten = Tombstones::open(&vault.path())?;
        let mut scanned = tree.as_ref().map(scan).transpose()?.unwrap_or_default();
        let again = scanned.set_aside(|session| forgotten.has(session));
        let replica = replica_id(&setting.claude)?;
        let skipped = scanned.skipped.iter().map(|skipped| Skipped { name: skipped.name.clone(), why: skipped.why.clone() }).collect();
        let mut here = Self {
            setting,
            tree,
            vault,
            archive,
            replica,
            registry,
            sessions: BTreeMap::new(),
            refused: scanned.refused.clone(),
            forgotten,
            again,
            skipped,
            clones: BTreeMap::new(),
            spoken_for: BTreeMap::new(),
            found: OnceLock::new(),
            now,
        };
        let directories = here.read(&scanned, state);
        here.place(&directories, state, known);
        Ok(here)
    }

    /// Reads every file that changed. Gives, per project directory, the working directories that speak for it.
    fn read(&mut self, scanned: &Scan, state: &mut State) -> BTreeMap<ProjectName, Vec<String>> {
        let mut sessions = Vec::with_capacity(scanned.sessions.len());
        let mut directories: BTreeMap<ProjectName, Vec<String>> = scanned.projects.iter().map(|project| (project.clone(), Vec::new())).collect();
        for (id, found) in &scanned.sessions {
            let written = found.side.values().copied().map(Some).chain([found.transcript]);
            let mut session = Session {
                project: found.project.clone(),
                transcript: None,
                side: LiteMap::new(),
                unreadable: None,
                // Where only times tell, a subagent at work counts as well.
                live: { written }.any(|stamp| self.registry.is_live(*id, stamp, self.now)),
                speaks: false,
                place: None,
            };
            let transcript = found.transcript.map(|stamp| (Part::Transcript, stamp));
            let side = found.side.iter().map(|(path, stamp)| (Part::Side(path.clone()), *stamp));
            for (part, stamp) in transcript.into_iter().chain(side) {
                let path = found.path(*id, &part);
                let (stamp, held) = match self.read_one(&path, stamp, state) {
                    Ok(read) => read,
                    Err(error) => {
                        let why = format!("cannot be read: {error}");
                        self.skipped.push(Skipped { name: path.to_string(), why: why.clone() });
                        if part == Part::Transcript {
                            session.unreadable = Some(why);
                        }
                        continue;
                    }
                };
                match &*held {
                    Held::Lines { lines, directories: named } => {
                        let lines = Arc::clone(lines);
                        if part == Part::Transcript {
                            let speaking = directories.entry(found.project.clone()).or_default();
                            for directory in named.iter().filter(|directory| ProjectName::of(directory) == found.project) {
                                session.speaks = true;
                                if !speaking.contains(directory) {
                                    speaking.push(directory.clone());
                                }
                            }
                            session.transcript = Some((stamp, lines));
                        } else if let Part::Side(side) = part {
                            put(&mut session.side, side, (stamp, Side::Lines(lines)));
                        }
                    }
                    Held::Whole(whole) => {
                        if let Part::Side(side) = part {
                            put(&mut session.side, side, (stamp, Side::Whole(whole.clone())));
                        }
                    }
                }
            }
            sessions.push((*id, session));
        }
        // Made of all of them at once, the tree has no gaps.
        self.sessions = sessions.into_iter().collect();
        directories
    }

    fn read_one(&self, path: &StorePath, stamp: Stamp, state: &mut State) -> io::Result<(Stamp, Arc<Held>)> {
        // A file that was renamed has its stamp still: what was known of it as another kind of file says nothing.
        if let Some(held) = state.held(stamp).filter(|held| matches!(**held, Held::Lines { .. }) == path.part.is_lines()) {
            return Ok((stamp, held));
        }
        let tree = self.tree.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let (file, status) = tree.open_file(path)?;
        let held = if path.part.is_lines() {
            let archived = self.archive.records().get(&path.session).map(|record| record.content.length);
            let wanted = Wanted { marks: archived.into_iter().collect(), messages: false, limit: Some(status.stamp.size) };
            let reading = read::lines(file, &wanted)?;
            Held::Lines { directories: reading.working_directories.clone(), lines: Arc::new(Lines::of(reading)) }
        } else {
            Held::Whole(read::whole(file, status.stamp.modified)?)
        };
        let held = Arc::new(held);
        state.remember(status.stamp, &held, nanoseconds(self.now));
        Ok((status.stamp, held))
    }

    /// The store's id, made if there is none; none only if it cannot be written.
    pub fn named(&mut self) -> Option<Uuid> {
        if self.replica.is_none() {
            self.replica = name(&self.setting.claude);
        }
        self.replica
    }

    /// Takes every session here into the archive, and notes where it lay and belongs. Called when something may be written.
    ///
    /// # Errors
    /// As the archive.
    pub fn archive_all(&mut self, at: chrono::DateTime<chrono::Utc>) -> io::Result<()> {
        // Without an id the store cannot be told from a new one, and what is deleted in it would come back.
        if !self.sessions.is_empty() {
            self.named();
        }
        let Self { archive, vault, sessions, setting, replica, .. } = self;
        for (id, session) in sessions.iter() {
            let Some((_, lines)) = &session.transcript else { continue };
            let path = |part: &Part| setting.claude.join("projects").join(session.project.as_str()).join(part.path(*id));
            let note = |part: Part, content: &Content| {
                let mut note = Note::new(*id, part, Reason::Lost, "here", at, (content.length, content.digest));
                note.title.clone_from(&lines.title);
                note
            };
            let taken = archive.take(vault, *id, lines, &path(&Part::Transcript), |content| note(Part::Transcript, content));
            if passed_over(taken)? {
                continue;
            }
            for (side, (_, content)) in &session.side {
                let part = Part::Side(side.clone());
                let source = path(&part);
                passed_over(archive.take_side(vault, (*id, side), content, &source, |content| note(part.clone(), content)))?;
            }
            let content = &lines.content;
            let last = replica.map(|replica| LastHere { replica, length: content.length, digest: content.digest });
            archive.saw(*id, last, session.place.clone());
        }
        archive.settle()
    }

    /// What was once in this store and is gone: the content it had. An empty store, or one with another id, lost nothing.
    #[must_use]
    pub fn gone(&self, id: SessionId) -> Option<LastHere> {
        let here = self.archive.records().get(&id)?.here.filter(|here| Some(here.replica) == self.replica)?;
        // A folder that stayed behind is no session.
        let is_there = |session: &Session| session.transcript.is_some();
        (!self.sessions.get(&id).is_some_and(is_there) && self.sessions.values().any(is_there)).then_some(here)
    }

    /// Every session of which something is here: in the store, in the archive, or displaced. Those that lie here although they were
    /// forgotten are not among them.
    #[must_use]
    pub fn known(&self) -> BTreeSet<SessionId> {
        let displaced = self.vault.objects().iter().map(|object| object.note.session);
        self.sessions.keys().chain(self.refused.keys()).chain(self.archive.records().keys()).copied().chain(displaced).collect()
    }

    /// The file of a session's part in this store.
    #[must_use]
    pub fn file(&self, project: &ProjectName, id: SessionId, part: &Part) -> PathBuf {
        self.setting.claude.join("projects").join(project.as_str()).join(part.path(id))
    }
}

/// The id of a store, made if there is none; none only if it cannot be written.
pub fn name(claude: &Path) -> Option<Uuid> {
    ensure_replica_id(claude).inspect_err(|error| tracing::warn!(%error, "this store gets no id")).ok()
}

/// Whether a file changed or vanished while it was archived.
fn passed_over(taken: io::Result<()>) -> io::Result<bool> {
    let gone = taken.as_ref().is_err_and(read::is_the_file);
    if gone { Ok(true) } else { taken.map(|()| false) }
}
