//! Where the bytes of contents are to be had on this machine, while a pass goes on and the archive changes under it.
//!
//! Promises: what was a source when a visit counted on it is one to the end of the pass, although another visit's copy took its
//! place in the archive: then it is found in the vault, or was given a name in the stage.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bases::{Base, Bases};
use super::here::Here;
use crate::reconcile::manifest::{Part, SessionId, SidePath};
use crate::reconcile::plan::{Presence, Side};
use crate::reconcile::relation::Lines;
use crate::reconcile::transcript::Digest;
use crate::store::read::{self, Wanted};
use crate::store::vault::Vault;

/// A file that begins with a content.
#[derive(Debug, Clone)]
struct Source {
    path: PathBuf,
    /// The content that it was put there as, which may be a longer one.
    whole: Digest,
}

/// The files, by the digests of what they begin with.
#[derive(Debug, Default)]
pub struct Sources {
    files: HashMap<Digest, Source>,
    /// Contents of the archive's copies that grew into others.
    grown: HashMap<Digest, Digest>,
}

fn content(lines: &Lines) -> (u64, Digest) {
    (lines.content.length, lines.content.digest)
}

impl Sources {
    /// Notes a source. The first one stays.
    pub fn add(&mut self, digest: Digest, path: PathBuf) {
        self.add_beginning(digest, path, digest);
    }

    /// Notes a source of what may be the beginning of a file's content only, by that content's digest.
    pub fn add_beginning(&mut self, digest: Digest, path: PathBuf, whole: Digest) {
        self.files.entry(digest).or_insert(Source { path, whole });
    }

    /// The archive's copy of a part held `before`. If it is longer now, and the vault has not got that, it has grown.
    pub fn taken(&mut self, here: &Here, session: SessionId, part: &Part, before: Option<(u64, Digest)>) {
        let now = here.archive.records().get(&session).and_then(|record| record.target(part));
        if let (Some((shorter, before)), Some((longer, now))) = (before, now)
            && shorter < longer
            && here.vault.find(session, before).is_none()
        {
            self.grown.insert(before, now);
        }
    }

    /// What a content of the archive has grown into, step by step, itself first.
    fn growth(&self, content: Digest) -> impl Iterator<Item = Digest> {
        std::iter::successors(Some(content), |digest| self.grown.get(digest).copied())
    }

    /// What was read into the archive may have taken the place of a copy there that is a source: that copy now is in the vault.
    pub fn follow_displaced(&mut self, vault: &Vault) {
        let archive = vault.path().join("archive");
        let displaced: HashMap<Digest, &Path> = vault.objects().iter().map(|object| (object.note.digest, object.path.as_path())).collect();
        let sources = self.files.iter().filter(|(_, source)| source.path.starts_with(&archive));
        let moved = sources.filter_map(|(digest, source)| Some((*digest, self.growth(source.whole).find_map(|content| displaced.get(&content))?)));
        for (digest, path) in moved.collect::<Vec<_>>() {
            self.files.entry(digest).and_modify(|source| source.path = (*path).to_owned());
        }
    }

    /// Where the bytes are that a visit counted on: what another visit brought may have taken their place in the archive since, and
    /// then they are in the vault or held in the stage.
    #[must_use]
    pub fn standing(&self, base: &Base, session: SessionId, here: &Here) -> PathBuf {
        if !base.path.starts_with(here.vault.path().join("archive")) {
            return base.path.clone();
        }
        let displaced = self.growth(base.digest).find_map(|content| here.vault.find(session, content)).map(|object| &object.path);
        displaced.or_else(|| self.find(base.digest)).unwrap_or(&base.path).clone()
    }

    /// A file of the archive that is no list of lines is about to go, because a greater one takes its place: a source that it is
    /// stays one.
    ///
    /// # Errors
    /// As `link`.
    pub fn hold(&mut self, here: &Here, session: SessionId, part: &Part) -> io::Result<()> {
        let held = here.archive.records().get(&session).and_then(|record| record.target(part));
        let (Some((_, digest)), Some(path)) = (held, here.archive.file(session, part)) else { return Ok(()) };
        if let Some(source) = self.files.get_mut(&digest).filter(|source| source.path == path) {
            source.path = here.vault.hold(&path)?;
        }
        Ok(())
    }

    /// A copy that is remembered from elsewhere, or was there once, and that lies in no file of its own here may be the beginning of
    /// one that does: of another copy, or of anything else that is here of the same file.
    pub(super) fn share(&mut self, session: SessionId, presences: &[Presence], bases: &Bases) {
        let transcripts = presences.iter().flat_map(|presence| presence.transcript.iter().chain(&presence.gone));
        self.share_file(&transcripts.map(|lines| content(lines)).collect::<Vec<_>>(), bases.of_part(session, &Part::Transcript));
        let paths: BTreeSet<&SidePath> = presences.iter().flat_map(|presence| presence.side.keys()).collect();
        for path in paths {
            let copies = presences.iter().filter_map(|presence| match presence.side.get(path)? {
                Side::Lines(lines) => Some(content(lines)),
                Side::Whole(_) => None,
            });
            self.share_file(&copies.collect::<Vec<_>>(), bases.of_part(session, &Part::Side(path.clone())));
        }
    }

    fn share_file(&mut self, copies: &[(u64, Digest)], known: &[Base]) {
        for &(length, digest) in copies.iter().filter(|(length, _)| *length > 0) {
            if self.files.contains_key(&digest) {
                continue;
            }
            let longer = copies.iter().filter(|(other, _)| *other > length).filter_map(|(_, other)| self.files.get(other).cloned());
            // Where it was when the pass began, its bytes may be no more.
            let bases = known.iter().filter(|base| base.length > length).filter_map(|base| self.files.get(&base.digest).cloned());
            let begins = |source: &Source| read::open(&source.path).and_then(|file| read::prefix(&file, length)).is_ok_and(|prefix| prefix == Some(digest));
            if let Some(source) = longer.chain(bases).find(begins) {
                self.files.insert(digest, source);
            }
        }
    }

    /// The source of a content.
    #[must_use]
    pub fn find(&self, digest: Digest) -> Option<&PathBuf> {
        self.files.get(&digest).map(|source| &source.path)
    }

    /// Takes what is missing of the proofs: prefixes at these lengths, and messages if asked.
    ///
    /// # Errors
    /// When a source cannot be read, or no longer holds the content.
    pub(super) fn complete(&self, lines: &mut Arc<Lines>, lengths: &BTreeSet<u64>, messages: bool) -> io::Result<()> {
        let marks: Vec<u64> = lengths.iter().copied().filter(|length| *length < lines.content.length && lines.prefix(*length).is_none()).collect();
        if marks.is_empty() && (!messages || !lines.messages.is_empty()) {
            return Ok(());
        }
        // Without a source nothing more can be proved; the plan then leaves the session alone.
        let Some(source) = self.find(lines.content.digest) else { return Ok(()) };
        let wanted = Wanted { marks, messages, limit: Some(lines.content.length) };
        let reading = read::lines(read::open(source)?, &wanted)?;
        if reading.content.digest != lines.content.digest {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "changed while it was compared"));
        }
        let lines = Arc::make_mut(lines);
        lines.marks.extend(reading.marks);
        if messages {
            lines.messages = reading.messages;
        }
        Ok(())
    }
}
