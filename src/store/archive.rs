//! The newest whole copy of every session that this machine ever saw: one more replica that only receives.
//!
//! Promises: a session that the client's own clean-up, a rebuild or a person deleted is still here; the index also proves
//! what was in this store once, so that a deletion is told from a session that never came. A copy that is no beginning of its
//! successor moves to the vault's displaced objects before the successor takes its place.
//!
//! `vault/archive/<uuid>.jsonl` and `<uuid>/…` beside it, as in the client's own store; `vault/archive/index.jsonl` is
//! appended to, last line of a session wins, and only after the bytes that it speaks of are durable.

mod copies;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::proof;
use super::read;
use super::record::VERSION;
pub use super::record::{Here, Place, Record, SideContent};
use super::vault::{Note, Reason, Vault, fill_staged, write_staged};
use crate::reconcile::manifest::{Part, SessionId, SidePath};
use crate::reconcile::order::rank;
use crate::reconcile::plan::Side;
use crate::reconcile::relation::Lines;
use crate::reconcile::shared::{Shared, put};
use crate::reconcile::transcript::Content;
use copies::{displace, is_in_the_way, is_so_long, prefix_digest, spare, write};
use litemap::LiteMap;

/// The archive of one machine.
#[derive(Debug)]
pub struct Archive {
    root: PathBuf,
    stage: PathBuf,
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
        let mut archive =
            Self { root, stage: vault.stage_path(), records: BTreeMap::new(), changed: BTreeSet::new(), present: HashSet::new(), lines: 0, enabled };
        for entry in std::fs::read_dir(&archive.root)? {
            archive.present.extend(entry?.file_name().to_str().and_then(|name| name.strip_suffix(".jsonl")?.parse::<SessionId>().ok()));
        }
        let index = match File::open(archive.root.join("index.jsonl")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(archive),
            index => BufReader::new(index?),
        };
        let mut repositories = Shared::default();
        let mut records: HashMap<SessionId, Record> = HashMap::with_capacity(archive.present.len());
        for line in index.split(b'\n') {
            archive.lines += 1;
            let Some(mut record) = serde_json::from_slice::<Record>(&line?).ok().filter(|record| record.version == VERSION) else { continue };
            record.place = record.place.map(|place| Place { repository: repositories.first(place.repository), ..place });
            records.insert(record.session, record);
        }
        // Made of all of them at once, the tree has no gaps.
        archive.records = records.into_iter().collect();
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
        self.records.get(&session).filter(|record| record.dropped.is_none())?;
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
    /// As `read` and `write`; `InvalidData` where `source` does not hold the content. The index then still speaks of the old copy.
    pub fn take(&mut self, vault: &mut Vault, session: SessionId, lines: &Lines, source: &Path, note: impl Fn(&Content) -> Note) -> io::Result<()> {
        let content = &lines.content;
        let record = self.records.get(&session).cloned();
        let title = record.as_ref().and_then(|record| record.title.clone());
        let held = record.filter(|record| record.dropped.is_none()).map(|record| record.content);
        let (path, there) = (self.path(session), self.present.contains(&session));
        let noted = |of: &Content| if of.digest == content.digest { note(of) } else { Note { title: title.clone(), ..note(of) } };
        let from = match self.compare(vault, (held.as_ref(), there, &path), (lines, source), noted)? {
            Some(from) => from,
            None => return Ok(()),
        };
        if self.enabled && content.length > 0 {
            write(&self.stage, &path, content, source, from)?;
            self.present.insert(session);
        }
        // Of what was let go of, no side file is here either.
        let old = self.records.remove(&session).map(|old| if old.dropped.is_some() { Record { side: LiteMap::new(), ..old } } else { old });
        let (place, here, side) = old.map_or((None, None, LiteMap::new()), |old| (old.place, old.here, old.side));
        let record = Record { version: VERSION, session, content: content.clone(), title: lines.title.clone(), place, here, side, dropped: None };
        self.records.insert(session, record);
        self.changed.insert(session);
        Ok(())
    }

    /// From which byte on the copy is to be written; none where it stays. Whichever of two diverged ones is not, or no longer,
    /// the copy is in the vault when this returns.
    fn compare(
        &self,
        vault: &mut Vault,
        (held, there, copy): (Option<&Content>, bool, &Path),
        (lines, source): (&Lines, &Path),
        note: impl Fn(&Content) -> Note,
    ) -> io::Result<Option<u64>> {
        let content = &lines.content;
        let Some(held) = held else {
            if there {
                spare(vault, copy, (source, content.length), note(content))?;
            }
            return Ok(Some(0));
        };
        if held.digest == content.digest || content.length == 0 {
            // The same, but for a copy that is not here: the archive was switched on since, or somebody removed it.
            let missing = self.enabled && !there && content.length > 0;
            return Ok(missing.then_some(0));
        }
        if held.length < content.length && (held.length == 0 || prefix_digest(lines, source, held.length)? == held.digest) {
            // A pass that was killed may have left another copy than the index speaks of.
            if there && !is_so_long(copy, held.length) {
                match spare(vault, copy, (source, content.length), note(content)) {
                    // What cannot be read is made anew.
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                    spared => spared?,
                }
            }
            return Ok(Some(if there { held.length } else { 0 }));
        }
        // A copy that cannot be read proves nothing.
        let begins = |copy: &Path| read::prefix(&File::open(copy)?, content.length);
        if there && content.length < held.length && begins(copy).is_ok_and(|begin| begin == Some(content.digest)) {
            return Ok(None);
        }
        if rank(content) < rank(held) {
            // Without the copy nothing can show that these lines are its beginning: they are then kept on their own.
            vault.copy(source, note(content))?;
            return Ok(None);
        }
        if there {
            displace(vault, copy, Note { length: held.length, digest: held.digest, ..note(held) })?;
        }
        Ok(Some(0))
    }

    /// Takes a side file in. Lines are kept as those of a transcript are; of anything else the greatest copy is kept, and one that is
    /// less goes to the displaced objects, whichever came first: it need not come again. Where nothing is known of its session, because
    /// that could not be read, it goes there, too.
    ///
    /// # Errors
    /// As [`Archive::take`].
    pub fn take_side(
        &mut self,
        vault: &mut Vault,
        (session, side): (SessionId, &SidePath),
        content: &Side,
        source: &Path,
        note: impl Fn(&Content) -> Note,
    ) -> io::Result<()> {
        if !self.enabled {
            return Ok(());
        }
        let of = |(length, digest)| Content { length, digest, newest_message: None, newest: None };
        let aside = || Note { reason: Reason::Side, ..note(&of(content.target())) };
        let Some(record) = self.records.get(&session) else { return vault.copy(source, aside()) };
        let path = self.root.join(Part::Side(side.clone()).path(session));
        let known = record.side.get(side);
        let (from, taken) = match (content, known) {
            (Side::Lines(lines), Some(SideContent::Lines(held))) => {
                let from = self.compare(vault, (Some(held), path.exists(), &path), (lines, source), &note)?;
                (from, SideContent::Lines(lines.content.clone()))
            }
            (Side::Lines(lines), _) => (self.compare(vault, (None, path.exists(), &path), (lines, source), &note)?, SideContent::Lines(lines.content.clone())),
            (Side::Whole(whole), Some(SideContent::Whole(held))) if held >= whole && path.exists() => {
                if held.digest != whole.digest {
                    vault.copy(source, note(&of((whole.length, whole.digest))))?;
                }
                (None, SideContent::Whole(held.clone()))
            }
            (Side::Whole(whole), known) => {
                match known.map(SideContent::target) {
                    _ if !path.exists() => {}
                    Some((_, digest)) if digest == whole.digest => {}
                    Some(held) => displace(vault, &path, Note { reason: Reason::Side, ..note(&of(held)) })?,
                    None => spare(vault, &path, (source, whole.length), aside())?,
                }
                (Some(0), SideContent::Whole(whole.clone()))
            }
        };
        let Some(from) = from else { return Ok(()) };
        let folder = std::fs::create_dir_all(path.parent().unwrap_or(&self.root));
        match folder.and_then(|()| write(&self.stage, &path, &of(taken.target()), source, from)) {
            // What is a file there is a directory here, or the other way round.
            Err(error) if is_in_the_way(&error) => return vault.copy(source, aside()),
            written => written?,
        }
        if let Some(record) = self.records.get_mut(&session) {
            put(&mut record.side, side.clone(), taken);
            self.changed.insert(session);
        }
        Ok(())
    }

    /// Looks again at a copy of ours, and says whether it holds what the index says. One that is damaged goes to the displaced objects as
    /// what it is, and is the archive's no more: who has the file still is asked for all of it. One that cannot be read stays as it is.
    ///
    /// # Errors
    /// As `link` and `write`.
    pub fn correct(&mut self, vault: &mut Vault, path: &Path, at: DateTime<Utc>) -> io::Result<bool> {
        let Some((session, part)) = self.part_of(path) else { return Ok(false) };
        let target = self.records.get(&session).and_then(|record| record.target(&part));
        let begins = |(length, digest)| read::prefix(&read::open(path)?, length).map(|begin| begin == Some(digest));
        if target.is_some_and(|target| begins(target).is_ok_and(|begins| begins)) {
            return Ok(true);
        }
        let Ok(whole) = read::open(path).and_then(|file| read::whole(file, 0)) else { return Ok(false) };
        let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else { return Ok(false) };
        let folder = File::open(folder)?;
        let linked = vault.link(&folder, name, Note::new(session, part.clone(), Reason::Recovered, "here", at, (whole.length, whole.digest)))?;
        proof::unlink(&folder, name, proof::same_inode(&folder, name, &linked.directory, &linked.name)?)?;
        if part == Part::Transcript {
            self.present.remove(&session);
        }
        Ok(false)
    }

    /// Which part of which session a file of the archive is; none for any other file.
    fn part_of(&self, path: &Path) -> Option<(SessionId, Part)> {
        let name = path.strip_prefix(&self.root).ok()?.to_str()?;
        match name.split_once('/') {
            None => Some((name.strip_suffix(".jsonl")?.parse().ok()?, Part::Transcript)),
            Some((session, side)) => Some((session.parse().ok()?, Part::Side(side.parse().ok()?))),
        }
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

    /// An empty store lost nothing, and goes on as if none of these had ever been in it.
    pub fn lost_nothing(&mut self, replica: Uuid) {
        for (session, record) in self.records.iter_mut().filter(|(_, record)| record.here.is_some_and(|here| here.replica == replica)) {
            record.here = None;
            self.changed.insert(*session);
        }
    }

    /// Notes that the bytes of a session go because its user wants that; the caller settles this before it removes them.
    pub fn let_go(&mut self, session: SessionId, at: DateTime<Utc>) {
        let Some(record) = self.records.get_mut(&session) else { return };
        record.dropped = record.dropped.or(Some(at));
        self.present.remove(&session);
        self.changed.insert(session);
    }

    /// The files that hold a session's bytes: also such as a crash left after they had been let go of.
    #[must_use]
    pub fn files(&self, session: SessionId) -> Vec<PathBuf> {
        let side = self.records.get(&session).map(|record| &record.side).into_iter().flat_map(|side| side.keys().cloned().map(Part::Side));
        side.chain([Part::Transcript]).map(|part| self.root.join(part.path(session))).filter(|path| path.exists()).collect()
    }

    /// Writes the index again without the lines of these sessions; all others stay as they are, byte for byte.
    ///
    /// # Errors
    /// As `read`, `write` and `rename`; the old index then stays.
    pub fn forget(&mut self, sessions: &BTreeSet<SessionId>) -> io::Result<()> {
        let path = self.root.join("index.jsonl");
        let index = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            index => index?,
        };
        let finders: Vec<String> = sessions.iter().map(ToString::to_string).collect();
        let named = |line: &[u8]| match serde_json::from_slice::<Record>(line) {
            // Another session's title may well speak of one of these.
            Ok(record) => sessions.contains(&record.session),
            Err(_) => finders.iter().any(|id| memchr::memmem::find(line, id.as_bytes()).is_some()),
        };
        let kept: Vec<&[u8]> = index.split_inclusive(|byte| *byte == b'\n').filter(|line| !named(line)).collect();
        let kept = kept.concat();
        if kept.len() != index.len() {
            write_staged(&self.stage, &path, &kept)?;
        }
        for session in sessions {
            self.records.remove(session);
            self.changed.remove(session);
            self.present.remove(session);
        }
        Ok(())
    }

    fn path(&self, session: SessionId) -> PathBuf {
        self.root.join(session.file_name())
    }

    /// Makes everything taken in durable, and then the index: called before anything is installed anywhere, and after that. The names
    /// of what was installed become durable with it, and must before the index says that they were there: one that a power cut
    /// took would count as deleted by the user.
    ///
    /// # Errors
    /// As `sync` and `write`.
    pub fn settle(&mut self) -> io::Result<()> {
        if self.changed.is_empty() {
            return Ok(());
        }
        sync_all(&self.root)?;
        if self.lines > 1000 + self.records.len() * 3 / 2 {
            fill_staged(&self.stage, &self.root.join("index.jsonl"), |file| lines(file, self.records.values()))?;
            self.lines = self.records.len();
        } else {
            let index = OpenOptions::new().append(true).create(true).mode(0o600).open(self.root.join("index.jsonl"))?;
            let mut added = BufWriter::with_capacity(64 << 10, index);
            // A torn line of an earlier append is ended first.
            added.write_all(b"\n")?;
            lines(&mut added, self.changed.iter().filter_map(|session| self.records.get(session)))?;
            added.into_inner()?.sync_all()?;
            self.lines += self.changed.len() + 1;
        }
        self.changed.clear();
        Ok(())
    }
}

/// The records, one a line; never whole in memory, for there may be tens of thousands.
fn lines<'a>(into: &mut impl Write, records: impl Iterator<Item = &'a Record>) -> io::Result<()> {
    for record in records {
        serde_json::to_writer(&mut *into, record)?;
        into.write_all(b"\n")?;
    }
    Ok(())
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
