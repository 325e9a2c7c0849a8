//! What the reference model knows: every line and every other side file that a pass was shown, every byte string that one displaced, what ever lay where.

use std::collections::{BTreeMap, BTreeSet};

use claude_session_sync::reconcile::manifest::{Part, SessionId};

use crate::lines::{complete, fork_id, is_fork_of, split};
use crate::place::Files;

/// A law that does not hold, and how that shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) law: u8,
    pub(crate) how: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self.law {
            1 => "no loss",
            2 => "content decides",
            3 => "one winner, everywhere",
            4 => "the loser is not lost",
            5 => "live sessions are never touched",
            6 => "nothing is deleted, and no deletion travels",
            7 => "not read is not empty",
            8 => "memory is a cache",
            9 => "the second pass moves nothing",
            _ => "a pass that nothing disturbs goes well",
        };
        write!(f, "law {} ({name}): {}", self.law, self.how)
    }
}

/// Breaks a law.
pub(crate) fn broken<T>(law: u8, how: impl Into<String>) -> Result<T, Broken> {
    Err(Broken { law, how: how.into() })
}

/// Bytes that a pass displaced.
#[derive(Debug, Clone)]
pub(crate) struct Displaced {
    pub(crate) at: usize,
    pub(crate) session: SessionId,
    pub(crate) bytes: Vec<u8>,
}

/// What is known.
#[derive(Debug)]
pub(crate) struct Known {
    /// Every complete line that a pass was shown, and of which sessions. A side file that is not of lines is one line here.
    pub(crate) shown: BTreeMap<Vec<u8>, BTreeSet<SessionId>>,
    pub(crate) displaced: Vec<Displaced>,
    /// Per place, the contents that a transcript ever had there when a pass looked.
    pub(crate) had: Vec<BTreeMap<SessionId, BTreeSet<Vec<u8>>>>,
    /// Per place, the last content that the program certainly knows to have lain there.
    pub(crate) last: Vec<BTreeMap<SessionId, Vec<u8>>>,
    pub(crate) forgotten: BTreeSet<SessionId>,
    /// Lines of forgotten sessions.
    pub(crate) exempt: BTreeSet<Vec<u8>>,
}

/// The transcripts among these files, up to their last newlines.
pub(crate) fn transcripts(files: &Files) -> impl Iterator<Item = (SessionId, &[u8])> {
    files.iter().filter(|(path, _)| path.part == Part::Transcript).map(|(path, seen)| (path.session, complete(&seen.bytes)))
}

impl Known {
    pub(crate) fn new(places: usize) -> Self {
        let (had, last) = (vec![BTreeMap::new(); places], vec![BTreeMap::new(); places]);
        Self { shown: BTreeMap::new(), displaced: Vec::new(), had, last, forgotten: BTreeSet::new(), exempt: BTreeSet::new() }
    }

    /// A pass read these files and will remember them.
    pub(crate) fn show(&mut self, files: &Files) {
        for (path, seen) in files {
            // What lies there again of a forgotten session is none of the program's.
            if self.is_forgotten(path.session, &seen.bytes) {
                continue;
            }
            for line in split(&seen.bytes) {
                match self.shown.get_mut(line) {
                    Some(of) => drop(of.insert(path.session)),
                    None => drop(self.shown.insert(line.to_vec(), BTreeSet::from([path.session]))),
                }
            }
        }
    }

    /// What lay at a place when a pass looked.
    pub(crate) fn lay(&mut self, at: usize, files: &Files) {
        for (session, content) in transcripts(files) {
            let had = self.had[at].entry(session).or_default();
            if !had.contains(content) {
                had.insert(content.to_vec());
            }
        }
    }

    /// The program knows for certain what lies there now.
    pub(crate) fn learn(&mut self, at: usize, files: &Files) {
        self.last[at].extend(transcripts(files).map(|(session, content)| (session, content.to_vec())));
    }

    /// Whatever the program learnt there is not certain: what differs from what was known before is known no more.
    pub(crate) fn doubt(&mut self, at: usize, files: &Files) {
        let now: BTreeMap<SessionId, &[u8]> = transcripts(files).collect();
        self.last[at].retain(|session, content| now.get(session).is_none_or(|now| now == content));
    }

    /// The store is another one.
    pub(crate) fn rebuilt(&mut self, at: usize) {
        self.had[at].clear();
        self.last[at].clear();
        self.displaced.retain(|displaced| displaced.at != at);
    }

    /// These were forgotten by their user.
    pub(crate) fn forget(&mut self, sessions: &BTreeSet<SessionId>, places: &[Files], kept: &[(SessionId, Vec<u8>)]) {
        self.forgotten.extend(sessions);
        let lines = places.iter().flatten().filter(|(path, _)| sessions.contains(&path.session)).flat_map(|(_, seen)| split(&seen.bytes));
        self.exempt.extend(lines.map(<[u8]>::to_vec));
        // What a forgotten fork was made from goes with it.
        let gone = |session: SessionId, bytes: &[u8]| sessions.contains(&session) || sessions.contains(&fork_id(session, complete(bytes)));
        let made: Vec<&Vec<u8>> = kept.iter().filter(|(session, bytes)| gone(*session, bytes)).map(|(_, bytes)| bytes).collect();
        self.exempt.extend(made.iter().flat_map(|bytes| split(bytes)).map(<[u8]>::to_vec));
        let shown = self.shown.iter().filter(|(_, of)| !of.is_disjoint(sessions)).map(|(line, _)| line.clone());
        self.exempt.extend(shown);
        // So does a torn beginning of it.
        let begins = |bytes: &[u8]| made.iter().any(|whole| whole.starts_with(bytes));
        self.displaced.retain(|Displaced { session, bytes, .. }| !gone(*session, bytes) && !begins(bytes));
    }

    /// Whether no session lies there: an empty store lost nothing. What is forgotten does not count.
    pub(crate) fn is_empty(&self, files: &Files) -> bool {
        transcripts(files).all(|(session, content)| self.is_forgotten(session, content))
    }

    /// Whether a session is forgotten, or a fork of one that is.
    pub(crate) fn is_forgotten(&self, session: SessionId, bytes: &[u8]) -> bool {
        self.forgotten.contains(&session) || self.forgotten.iter().any(|origin| is_fork_of(session, bytes, *origin))
    }
}
