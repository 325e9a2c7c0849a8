//! What is remembered of one far replica: its files, and what lay there once.
//!
//! Written with the name of a project directory once, not once a file, and with what lay there only where its files do not say
//! it: of ten thousand sessions that is a third of the bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Held;
use crate::reconcile::manifest::{Part, ProjectName, SessionId, Stamp, StorePath};
use crate::reconcile::relation::Lines;

/// A file of a far replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FarMemory {
    /// Its stamp there.
    pub stamp: Stamp,
    /// What it holds.
    pub held: Arc<Held>,
}

/// What is remembered of one far replica.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplicaMemory {
    /// Its session files, by path.
    pub files: Vec<(StorePath, FarMemory)>,
    /// The last content seen there of every session: what is gone now was deleted there.
    pub seen: BTreeMap<SessionId, Arc<Lines>>,
    /// Forgotten sessions that lay there when that was last known: it is still to be told.
    pub due: BTreeSet<SessionId>,
    /// Sessions of this machine that another one forgot there.
    pub forgotten: BTreeSet<SessionId>,
}

impl ReplicaMemory {
    /// The same, without its files.
    #[must_use]
    pub fn but_for_files(&self) -> Self {
        Self { files: Vec::new(), seen: self.seen.clone(), due: self.due.clone(), forgotten: self.forgotten.clone() }
    }

    /// What the transcripts among the files hold.
    fn transcripts(&self) -> impl Iterator<Item = (SessionId, &Arc<Lines>)> {
        self.files.iter().filter_map(|(path, file)| match (&path.part, &*file.held) {
            (Part::Transcript, Held::Lines { lines, .. }) => Some((path.session, lines)),
            _ => None,
        })
    }
}

type Row = (SessionId, Part, Stamp, Arc<Held>);

#[derive(Serialize)]
struct ToStore<'a> {
    files: Directories<'a>,
    seen: BTreeMap<SessionId, &'a Lines>,
    due: &'a BTreeSet<SessionId>,
    forgotten: &'a BTreeSet<SessionId>,
}

#[derive(Deserialize)]
struct Stored {
    files: BTreeMap<ProjectName, Vec<Row>>,
    seen: BTreeMap<SessionId, Arc<Lines>>,
    #[serde(default)]
    due: BTreeSet<SessionId>,
    #[serde(default)]
    forgotten: BTreeSet<SessionId>,
}

struct Directories<'a>(&'a [(StorePath, FarMemory)]);

impl Serialize for Directories<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let directories = self.0.chunk_by(|(one, _), (next, _)| one.project == next.project);
        serializer.collect_map(directories.filter_map(|files| Some((&files.first()?.0.project, Files(files)))))
    }
}

struct Files<'a>(&'a [(StorePath, FarMemory)]);

impl Serialize for Files<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let row = |(path, file): &'_ (StorePath, FarMemory)| -> Row { (path.session, path.part.clone(), file.stamp, Arc::clone(&file.held)) };
        serializer.collect_seq(self.0.iter().map(row))
    }
}

impl Serialize for ReplicaMemory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let there: HashMap<SessionId, &Arc<Lines>> = self.transcripts().collect();
        let said = |session: &SessionId, lines: &Arc<Lines>| there.get(session).is_some_and(|there| *there == lines);
        let seen = self.seen.iter().filter(|(session, lines)| !said(session, lines)).map(|(session, lines)| (*session, &**lines)).collect();
        ToStore { files: Directories(&self.files), seen, due: &self.due, forgotten: &self.forgotten }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ReplicaMemory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Stored { files, seen, due, forgotten } = Stored::deserialize(deserializer)?;
        let mut memory = Self { files: Vec::with_capacity(files.values().map(Vec::len).sum()), due, forgotten, ..Self::default() };
        for (project, rows) in files {
            let path = |session, part| StorePath { project: project.clone(), session, part };
            memory.files.extend(rows.into_iter().map(|(session, part, stamp, held)| (path(session, part), FarMemory { stamp, held })));
        }
        let there = memory.transcripts().map(|(session, lines)| (session, Arc::clone(lines)));
        let all: BTreeMap<SessionId, Arc<Lines>> = there.chain(seen).collect();
        memory.seen = all;
        Ok(memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::order::Whole;
    use crate::reconcile::transcript::Digest;

    fn held(length: u64, content: &str) -> Arc<Held> {
        Arc::new(Held::Lines { lines: Arc::new(Lines::bare(length, Digest::of(content.as_bytes()))), directories: Vec::new() })
    }

    #[test]
    fn a_memory_reads_back_as_it_was_written() {
        let id = |digit: char| -> SessionId { format!("{digit}f869d7b-ce51-4e00-8a05-674dde6aa368").parse().unwrap() };
        let path = |project: &str, digit: char, below: &str| -> StorePath { format!("{project}/{}{below}", id(digit)).parse().unwrap() };
        let file = |inode, held: &Arc<Held>| FarMemory { stamp: Stamp { inode, size: 3, modified: 4, changed: 5 }, held: Arc::clone(held) };
        let whole = Arc::new(Held::Whole(Whole { modified: 1, length: 2, digest: Digest::of(b"whole") }));
        let (one, two) = (held(4, "one\n"), held(8, "two\n"));
        let lines = |held: &Held| match held {
            Held::Lines { lines, .. } => Arc::clone(lines),
            Held::Whole(_) => panic!("no lines"),
        };
        let mut memory = ReplicaMemory {
            files: vec![
                (path("-a", '1', "/tool-results/x.txt"), file(1, &whole)),
                (path("-a", '1', ".jsonl"), file(2, &one)),
                (path("-b", '2', ".jsonl"), file(3, &two)),
            ],
            ..ReplicaMemory::default()
        };
        // The first as it lies there, the second as it was before it grew, and one that is gone.
        memory.seen = [(id('1'), lines(&one)), (id('2'), lines(&one)), (id('3'), lines(&two))].into();
        memory.due.insert(id('4'));
        memory.forgotten.insert(id('5'));
        let text = serde_json::to_string(&memory).unwrap();
        assert_eq!(serde_json::from_str::<ReplicaMemory>(&text).unwrap(), memory);
        assert_eq!(text.matches("\"-a\"").count(), 1, "{text}");
        assert_eq!(text.matches(&id('1').to_string()).count(), 2, "{text}");
    }
}
