//! The newest whole copy of every session that this machine ever saw: one more replica that only receives.
//!
//! Promises: a session that the client's own clean-up, a rebuild or a person deleted is still here; the index also proves
//! what was in this store once, so that a deletion is told from a session that never came. A copy that is no beginning of its
//! successor moves to the vault's displaced objects before the successor takes its place.
//!
//! `vault/archive/<uuid>.jsonl` and `<uuid>/…` beside it, as in the client's own store; `vault/archive/index.jsonl` is
//! appended to, last line of a session wins, and only after the bytes that it speaks of are durable.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::vault::{Note, Vault, copy_prefix, write_durably};
use crate::reconcile::manifest::{Part, SessionId, SidePath};
use crate::reconcile::order::{Whole, rank};
use crate::reconcile::plan::Side;
use crate::reconcile::project::RepositoryId;
use crate::reconcile::relation::Lines;
use crate::reconcile::transcript::{Content, Digest};

const VERSION: u32 = 1;

/// What the archive knows of one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Format of this line.
    pub version: u32,
    /// The session.
    pub session: SessionId,
    /// The content of the archive's copy.
    pub content: Content,
    /// Its title.
    pub title: Option<String>,
    /// The repository it belongs to, and where in it, once that was known.
    pub place: Option<Place>,
    /// What was last seen of it in this machine's store.
    pub here: Option<Here>,
    /// The archive's copies of its side files.
    #[serde(default)]
    pub side: BTreeMap<SidePath, SideCopy>,
}

/// The content of a side file in the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SideCopy {
    /// Append-only lines.
    Lines(Content),
    /// Anything else.
    Whole(Whole),
}

impl SideCopy {
    fn of(side: &Side) -> Self {
        match side {
            Side::Lines(lines) => Self::Lines(lines.content.clone()),
            Side::Whole(whole) => Self::Whole(whole.clone()),
        }
    }

    /// Bytes and digest.
    #[must_use]
    pub fn target(&self) -> (u64, Digest) {
        match self {
            Self::Lines(content) => (content.length, content.digest),
            Self::Whole(whole) => (whole.length, whole.digest),
        }
    }

    fn ranks_below(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Lines(one), Self::Lines(other)) => rank(one) < rank(other),
            (Self::Whole(one), Self::Whole(other)) => one < other,
            _ => false,
        }
    }
}

/// Where a session belongs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The repository.
    pub repository: RepositoryId,
    /// The working directory relative to the repository's root; empty for the root.
    pub below: String,
}

/// A content that lay in this machine's store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Here {
    /// The store's id.
    pub replica: Uuid,
    /// Bytes.
    pub length: u64,
    /// SHA-256.
    pub digest: Digest,
}

/// The archive of one machine.
#[derive(Debug)]
pub struct Archive {
    root: PathBuf,
    records: BTreeMap<SessionId, Record>,
    changed: BTreeSet<SessionId>,
    /// Transcripts that lie here.
    present: HashSet<SessionId>,
    lines: usize,
    enabled: bool,
}

impl Archive {
    /// Reads the index. A line that cannot be read is passed over.
    ///
    /// # Errors
    /// When the index is there and cannot be read.
    pub fn open(vault: &Vault, enabled: bool) -> io::Result<Self> {
        let root = vault.path().join("archive");
        let mut archive = Self { root, records: BTreeMap::new(), changed: BTreeSet::new(), present: HashSet::new(), lines: 0, enabled };
        for entry in std::fs::read_dir(&archive.root)? {
            archive.present.extend(entry?.file_name().to_str().and_then(|name| name.strip_suffix(".jsonl")?.parse::<SessionId>().ok()));
        }
        let index = match File::open(archive.root.join("index.jsonl")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(archive),
            index => BufReader::new(index?),
        };
        for line in index.split(b'\n') {
            archive.lines += 1;
            if let Some(record) = serde_json::from_slice::<Record>(&line?).ok().filter(|record| record.version == VERSION) {
                archive.records.insert(record.session, record);
            }
        }
        Ok(archive)
    }

    /// All records.
    #[must_use]
    pub fn records(&self) -> &BTreeMap<SessionId, Record> {
        &self.records
    }

    /// The archive's copy of a transcript or side file, if it is there.
    #[must_use]
    pub fn file(&self, session: SessionId, part: &Part) -> Option<PathBuf> {
        self.records.get(&session)?;
        let path = self.root.join(part.path(session));
        let is_here = match part {
            Part::Transcript => self.present.contains(&session),
            Part::Side(_) => path.exists(),
        };
        is_here.then_some(path)
    }

    /// Takes a transcript's content in: nothing if the copy has it, only the suffix if the copy is its beginning; of two that
    /// diverged, the one that ranks higher is the copy and the other goes to the displaced objects.
    ///
    /// `source` holds at least the content's bytes. `note` is used for what goes to the vault.
    ///
    /// # Errors
    /// As `read` and `write`; the index then still speaks of the old copy.
    pub fn take(&mut self, vault: &mut Vault, session: SessionId, lines: &Lines, source: &Path, note: impl FnOnce(&Content) -> Note) -> io::Result<()> {
        let content = &lines.content;
        let Some(record) = self.records.get(&session).filter(|record| record.content.length > 0).cloned() else {
            return self.put(session, lines, source, 0);
        };
        let held = &record.content;
        if held.digest == content.digest || is_prefix(content, source, held, &self.path(session))? {
            return Ok(());
        }
        if held.length < content.length && prefix_digest(lines, source, held.length)? == held.digest {
            return self.put(session, lines, source, held.length);
        }
        if rank(content) < rank(held) {
            return vault.copy(source, note(content));
        }
        let note = Note { length: held.length, digest: held.digest, title: record.title.clone(), ..note(held) };
        vault.copy(&self.path(session), note)?;
        self.put(session, lines, source, 0)
    }

    /// Takes a side file in: of two the one that ranks higher is the copy. The other goes to the displaced objects, unless it is the
    /// copy's beginning, or this machine's own earlier version.
    ///
    /// `source` holds at least the bytes of `side`. `note` is used for what goes to the vault.
    ///
    /// # Errors
    /// As `read` and `write`.
    pub fn take_side(
        &mut self,
        vault: &mut Vault,
        at: (SessionId, &SidePath),
        side: &Side,
        source: &Path,
        note: impl FnOnce(u64, Digest) -> Note,
    ) -> io::Result<()> {
        let (session, name) = at;
        let Some(record) = self.records.get_mut(&session).filter(|_| self.enabled) else { return Ok(()) };
        let (copy, path) = (SideCopy::of(side), self.root.join(Part::Side(name.clone()).path(session)));
        let (length, digest) = copy.target();
        if let Some(known) = record.side.get(name).filter(|_| path.exists()) {
            let (known_length, known_digest) = known.target();
            if !known.ranks_below(&copy) {
                let begins = |length| Ok::<_, io::Error>(super::read::prefix(&File::open(&path)?, length)? == Some(digest));
                let here = known_digest == digest || matches!(copy, SideCopy::Lines(_)) && begins(length)?;
                return if here { Ok(()) } else { vault.copy(source, note(length, digest)) };
            }
            let grew = matches!(copy, SideCopy::Whole(_)) || super::read::prefix(&File::open(source)?, known_length)? == Some(known_digest);
            if !grew {
                vault.copy(&path, note(known_length, known_digest))?;
            }
        }
        let directory = path.parent().unwrap_or(&self.root);
        std::fs::create_dir_all(directory)?;
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(directory)?;
        copy_prefix(source, file.as_file_mut(), length)?;
        // What changed since it was read is taken in when it is read again.
        if super::read::prefix(&file.reopen()?, length)? == Some(digest) {
            file.persist(&path).map_err(|error| error.error)?;
            record.side.insert(name.clone(), copy);
            self.changed.insert(session);
        }
        Ok(())
    }

    /// Notes what was seen of a session in this machine's store, and where it belongs.
    pub fn saw(&mut self, session: SessionId, here: Option<Here>, place: Option<Place>) {
        let Some(record) = self.records.get_mut(&session) else { return };
        let (here, place) = (here.or(record.here), place.or_else(|| record.place.clone()));
        if (&record.here, &record.place) != (&here, &place) {
            (record.here, record.place) = (here, place);
            self.changed.insert(session);
        }
    }

    fn path(&self, session: SessionId) -> PathBuf {
        self.root.join(session.file_name())
    }

    /// Writes the content's bytes from `from` on, over whatever an interrupted append left there.
    fn put(&mut self, session: SessionId, lines: &Lines, source: &Path, from: u64) -> io::Result<()> {
        let content = &lines.content;
        if self.enabled && content.length > 0 {
            if from == 0 {
                let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.root)?;
                copy_prefix(source, file.as_file_mut(), content.length)?;
                file.persist(self.path(session)).map_err(|error| error.error)?;
                self.present.insert(session);
            } else {
                let mut file = OpenOptions::new().write(true).open(self.path(session))?;
                file.seek(io::SeekFrom::Start(from))?;
                let mut source = File::open(source)?;
                source.seek(io::SeekFrom::Start(from))?;
                let copied = io::copy(&mut io::Read::take(source, content.length - from), &mut file)?;
                if copied != content.length - from {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                file.set_len(content.length)?;
            }
        }
        let old = self.records.remove(&session);
        let (place, here, side) = old.map_or((None, None, BTreeMap::new()), |old| (old.place, old.here, old.side));
        let record = Record { version: VERSION, session, content: content.clone(), title: lines.title.clone(), place, here, side };
        self.records.insert(session, record);
        self.changed.insert(session);
        Ok(())
    }

    /// Makes everything taken in durable, and then the index: called before anything is installed anywhere.
    ///
    /// # Errors
    /// As `sync` and `write`.
    pub fn settle(&mut self) -> io::Result<()> {
        if self.changed.is_empty() {
            return Ok(());
        }
        sync_all(&self.root)?;
        if self.lines > 1000 + 2 * self.records.len() {
            let all = self.records.values().map(line).collect::<io::Result<Vec<_>>>()?.concat();
            write_durably(&self.root.join("index.jsonl"), &all)?;
            self.lines = self.records.len();
        } else {
            let added = self.changed.iter().filter_map(|session| self.records.get(session)).map(line).collect::<io::Result<Vec<_>>>()?;
            // A torn line of an earlier append is ended first.
            let mut index = OpenOptions::new().append(true).create(true).mode(0o600).open(self.root.join("index.jsonl"))?;
            index.write_all(&[b"\n".as_slice(), &added.concat()].concat())?;
            index.sync_all()?;
            self.lines += added.len() + 1;
        }
        self.changed.clear();
        Ok(())
    }
}

fn line(record: &Record) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}

fn prefix_digest(lines: &Lines, source: &Path, length: u64) -> io::Result<Digest> {
    match lines.prefix(length) {
        Some(digest) => Ok(digest),
        None => super::read::prefix(&File::open(source)?, length)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Whether the offered content is the beginning of the archive's copy.
fn is_prefix(content: &Content, source: &Path, held: &Content, copy: &Path) -> io::Result<bool> {
    if content.length >= held.length {
        return Ok(false);
    }
    // Without the archive's bytes (switched off) the source itself cannot prove it: it is then kept as its own object.
    let holder = File::open(copy).or_else(|_| File::open(source))?;
    Ok(super::read::prefix(&holder, content.length)? == Some(content.digest) && copy.exists())
}

/// Everything written so far under this file system is on the disk.
#[cfg(target_os = "linux")]
fn sync_all(root: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(root)?)?)
}

/// Everything written so far is on its way to the disk, and this directory is on it.
#[cfg(not(target_os = "linux"))]
fn sync_all(root: &Path) -> io::Result<()> {
    rustix::fs::sync();
    File::open(root)?.sync_all()
}
