//! Which versions of a session this machine keeps: the copy in the store, the archive's, and every displaced one.
//!
//! Promises: reads only. A version counts by its complete lines; one whose bytes are not those that were put there is said to be
//! damaged, and stands in the list so that nobody takes another one for it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use chrono::{DateTime, Utc};

use crate::pass::here::Here;
use crate::pass::survey::Survey;
use crate::reconcile::fork::fork;
use crate::reconcile::manifest::{Part, SessionId};
use crate::reconcile::order::rank;
use crate::reconcile::relation::{Lines, Relation, relate};
use crate::reconcile::restore::Standing;
use crate::reconcile::transcript::{Content, Digest};
use crate::store::read::{self, Wanted};
use crate::store::vault::{Object, Reason};

/// Where a version is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// In the store.
    Here,
    /// In the archive.
    Archive,
    /// Among the displaced copies.
    Displaced {
        /// Why it is there.
        reason: Reason,
        /// Whose copy it was.
        from: String,
        /// Since when.
        at: DateTime<Utc>,
    },
}

/// A content of a session whose bytes are on this machine.
#[derive(Debug, Clone)]
pub struct Version {
    /// Its complete lines.
    pub lines: Lines,
    /// How many of them somebody said.
    pub messages: u64,
    /// Where it is kept.
    pub kept: Kept,
    /// How it stands to the copy that counts.
    pub standing: Standing,
    /// Its bytes are not those that were put there.
    pub damaged: bool,
    /// The session that it is, or would be, as one of its own.
    pub fork: SessionId,
    /// Whether that one lies in the store.
    pub fork_lies_here: bool,
    /// Working directories that its lines name.
    pub directories: Vec<String>,
    /// A file that begins with it.
    pub path: PathBuf,
}

impl Version {
    /// The digest by which it is named.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.lines.content.digest
    }
}

/// A session of which something can be taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The session.
    pub session: SessionId,
    /// Its title.
    pub title: Option<String>,
    /// What is known of its newest copy; none where nothing but displaced copies is left.
    pub content: Option<Content>,
    /// Whether it lies in the store.
    pub lies_here: bool,
    /// Versions that could be taken back.
    pub versions: usize,
}

/// Sessions that are kept and not in the store, and those in the store of which something else is kept; newest first.
#[must_use]
pub fn rows(survey: &Survey) -> Vec<Row> {
    let closed = |id: &SessionId| survey.here.refused.contains_key(id) || survey.here.sessions.get(id).is_some_and(|session| session.unreadable.is_some());
    let mut rows: Vec<Row> = survey.here.known().into_iter().filter(|id| !closed(id)).map(|id| row(&survey.here, id)).collect();
    rows.retain(|row| row.versions > 0);
    rows.sort_by_key(|row| (std::cmp::Reverse(row.content.as_ref().map(|content| (content.newest_message, content.newest))), row.session));
    rows
}

fn row(here: &Here, id: SessionId) -> Row {
    let live = here.sessions.get(&id).and_then(|session| session.transcript.as_ref()).map(|(_, lines)| lines);
    let record = here.archive.records().get(&id).filter(|record| record.dropped.is_none());
    let archived = record.filter(|_| here.archive.file(id, &Part::Transcript).is_some()).map(|record| &record.content);
    let objects: Vec<&Object> = of_transcript(here, id).filter(|object| live.is_none() || object.note.reason != Reason::Overtaken).collect();
    let mut digests: BTreeSet<Digest> = objects.iter().map(|object| object.note.digest).collect();
    // What the copy in the store begins with is no loss.
    digests.extend(archived.filter(|content| live.and_then(|lines| lines.prefix(content.length)) != Some(content.digest)).map(|content| content.digest));
    if let Some(lines) = live {
        digests.remove(&lines.content.digest);
        digests.retain(|digest| !here.sessions.contains_key(&fork(id, &Lines::bare(0, *digest)).id));
    }
    let title = live.and_then(|lines| lines.title.clone());
    let noted = || objects.iter().find_map(|object| object.note.title.clone());
    Row {
        session: id,
        title: title.or_else(|| record.and_then(|record| record.title.clone())).or_else(noted),
        content: live.map(|lines| &lines.content).or(record.map(|record| &record.content)).cloned(),
        lies_here: live.is_some(),
        versions: digests.len(),
    }
}

fn of_transcript(here: &Here, id: SessionId) -> impl Iterator<Item = &Object> {
    here.vault.objects().iter().filter(move |object| object.note.session == id && object.note.part == Part::Transcript && object.note.length > 0)
}

/// Where bytes are said to be.
struct Said {
    kept: Kept,
    path: PathBuf,
    length: u64,
    digest: Digest,
    title: Option<String>,
}

/// All versions of a session, each content once: the copy that counts first, then the highest in the order of copies.
#[must_use]
pub fn versions(here: &Here, id: SessionId) -> Vec<Version> {
    let mut said = said(here, id);
    let counting = said.iter().position(|said| !matches!(said.kept, Kept::Displaced { .. })).map(|at| said.remove(at));
    let mark = counting.as_ref().map(|said| said.length);
    let mut versions: Vec<Version> = Vec::new();
    for said in said {
        let version = read(here, id, said, mark.into_iter().collect());
        match versions.iter_mut().find(|known| known.digest() == version.digest()) {
            Some(known) if known.damaged && !version.damaged => *known = version,
            Some(_) => {}
            None => versions.push(version),
        }
    }
    if let Some(said) = counting {
        let lengths = versions.iter().map(|version| version.lines.content.length).collect();
        let counts = Version { standing: Standing::Counts, ..read(here, id, said, lengths) };
        versions.retain(|version| counts.damaged || version.digest() != counts.digest());
        for version in versions.iter_mut().filter(|version| !version.damaged && !counts.damaged) {
            let behind = relate(&version.lines, &counts.lines) == Ok(Relation::Behind);
            version.standing = if behind { Standing::Beginning } else { Standing::Apart };
        }
        versions.insert(0, counts);
    }
    let rest = usize::from(versions.first().is_some_and(|version| version.standing == Standing::Counts));
    versions[rest..].sort_by_key(|version| std::cmp::Reverse(rank(&version.lines.content)));
    versions
}

fn said(here: &Here, id: SessionId) -> Vec<Said> {
    let of = |kept, path, content: &Content, title| Said { kept, path, length: content.length, digest: content.digest, title };
    let live = here.sessions.get(&id).and_then(|session| Some((session, session.transcript.as_ref()?)));
    let live = live.map(|(session, (_, lines))| of(Kept::Here, here.file(&session.project, id, &Part::Transcript), &lines.content, lines.title.clone()));
    let record = here.archive.records().get(&id);
    let archived = record.and_then(|record| Some(of(Kept::Archive, here.archive.file(id, &Part::Transcript)?, &record.content, record.title.clone())));
    let displaced = of_transcript(here, id).map(|Object { path, note }| Said {
        kept: Kept::Displaced { reason: note.reason, from: note.from.clone(), at: note.at },
        path: path.clone(),
        length: note.length,
        digest: note.digest,
        title: note.title.clone(),
    });
    live.into_iter().chain(archived).chain(displaced).filter(|said| said.length > 0).collect()
}

/// What is said to be there, read. Until it is compared, a copy that lost stands apart, and any other may be a beginning.
fn read(here: &Here, id: SessionId, said: Said, marks: Vec<u64>) -> Version {
    let Said { kept, path, length, digest, title } = said;
    let wanted = Wanted { marks, messages: false, limit: Some(length) };
    // What cannot be read is damaged, too; the others do not wait for that.
    let reading = read::open(&path).and_then(|file| read::lines(file, &wanted)).ok();
    let reading = reading.filter(|reading| (reading.raw_length, reading.raw_digest) == (length, digest));
    let standing = if matches!(kept, Kept::Displaced { reason: Reason::Lost, .. }) { Standing::Apart } else { Standing::Beginning };
    let damaged = reading.is_none();
    let (messages, directories) = reading.as_ref().map_or((0, Vec::new()), |reading| (reading.message_count, reading.working_directories.clone()));
    let lines = reading.map_or_else(|| Lines { title, ..Lines::bare(length, digest) }, Lines::of);
    let fork = fork(id, &lines).id;
    let fork_lies_here = here.sessions.get(&fork).is_some_and(|session| session.transcript.is_some());
    Version { lines, messages, kept, standing, damaged, fork, fork_lies_here, directories, path }
}
