//! All members of one repository's group, and the plan over them.
//!
//! Promises: members are treated alike; the first is this machine, and nothing here asks which one that is.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::here::Here;
use super::sources::Sources;
use crate::reconcile::manifest::{Part, SessionId};
use crate::reconcile::plan::{Member, Offer, Presence, SessionPlan, Side, plan};
use crate::reconcile::project::RepositoryId;
use crate::reconcile::relation::{Lines, Relation, relate};
use crate::reconcile::transcript::Digest;
use crate::store::fetched;
use crate::store::read::{self, Wanted};
use crate::store::vault::Vault;

impl Here {
    /// What a group of this repository is told of a session here.
    #[must_use]
    pub fn presence(&self, id: SessionId, repository: &RepositoryId) -> Presence {
        if let Some(why) = self.refused.get(&id) {
            return Presence { closed: Some(why.clone()), ..Presence::default() };
        }
        let gone = self.gone(id).map(|last| Arc::new(Lines::bare(last.length, last.digest)));
        let Some(session) = self.sessions.get(&id) else {
            return Presence { gone, live: self.registry.is_live(id, None, self.now), ..Presence::default() };
        };
        let closed = match &session.place {
            _ if session.unreadable.is_some() => session.unreadable.clone(),
            Some(place) if place.repository == *repository => None,
            Some(place) => Some(format!("belongs to {} here", place.repository)),
            None => Some(format!("lies in {} here, whose repository is not known", session.project)),
        };
        if closed.is_some() {
            return Presence { closed, ..Presence::default() };
        }
        let side = session.side.iter().map(|(path, (_, side))| (path.clone(), side.clone())).collect();
        Presence { transcript: session.transcript.as_ref().map(|(_, lines)| Arc::clone(lines)), side, live: session.live, gone, ..Presence::default() }
    }
}

/// What the members of a group hold.
#[derive(Debug)]
pub struct Group {
    /// The members.
    pub members: Vec<Member>,
    /// By session, one presence per member.
    pub presences: BTreeMap<SessionId, Vec<Presence>>,
    /// Sessions that every member holds alike: there is nothing to plan for them.
    pub equal: usize,
}

/// The plan of a group.
#[derive(Debug, Default)]
pub struct GroupPlan {
    /// By session; forks are among them.
    pub sessions: BTreeMap<SessionId, SessionPlan>,
    /// Forks, each with the session that it comes from.
    pub origins: BTreeMap<SessionId, SessionId>,
    /// Sessions that could not be planned, and why.
    pub unplanned: BTreeMap<SessionId, String>,
}

impl GroupPlan {
    /// How often forks were made on the way to each fork: once, or for a fork's fork once more. Each is looked at once, for a codespace
    /// can make up a chain of thousands.
    #[must_use]
    pub fn depths(&self) -> BTreeMap<SessionId, usize> {
        let mut forks: BTreeMap<SessionId, Vec<SessionId>> = BTreeMap::new();
        self.origins.iter().for_each(|(fork, origin)| forks.entry(*origin).or_default().push(*fork));
        let first = forks.keys().filter(|origin| !self.origins.contains_key(origin)).copied().collect();
        let further = |level: &Vec<SessionId>| Some(level.iter().filter_map(|origin| forks.get(origin)).flatten().copied().collect::<Vec<_>>());
        let levels = std::iter::successors(further(&first), further).take_while(|level| !level.is_empty());
        levels.enumerate().flat_map(|(above, level)| level.into_iter().map(move |fork| (fork, above + 1))).collect()
    }
}

impl Group {
    /// How every session stands, by the same rules; forks are not looked at, and nothing is written.
    pub fn standings(&mut self, sources: &Sources) -> BTreeMap<SessionId, Result<SessionPlan, String>> {
        let ids: Vec<SessionId> = self.presences.keys().copied().collect();
        ids.into_iter().filter_map(|id| Some((id, self.plan_one(id, None, sources).transpose()?))).collect()
    }

    pub(super) fn plan_one(&mut self, id: SessionId, mut offer: Option<&mut Offer>, sources: &Sources) -> Result<Option<SessionPlan>, String> {
        let Some(presences) = self.presences.get_mut(&id) else { return Ok(None) };
        prove(presences, offer.as_deref_mut(), sources).map_err(|error| error.to_string())?;
        plan(id, &self.members, presences, offer.as_deref()).map_err(|error| error.to_string())
    }
}

/// Takes every proof that the plan of a session may ask for, of what is offered as of what is held.
fn prove(presences: &mut [Presence], offer: Option<&mut Offer>, sources: &Sources) -> io::Result<()> {
    let held = presences.iter_mut().flat_map(|presence| presence.transcript.iter_mut().chain(presence.gone.iter_mut()));
    prove_lines(held.chain(offer.map(|offer| &mut offer.lines)).collect(), sources)?;
    let paths: BTreeSet<_> = presences.iter().flat_map(|presence| presence.side.keys().cloned()).collect();
    for path in paths {
        let copies = presences.iter_mut().filter_map(|presence| match presence.side.get_mut(&path) {
            Some(Side::Lines(lines)) => Some(lines),
            _ => None,
        });
        prove_lines(copies.collect(), sources)?;
    }
    Ok(())
}

fn prove_lines(mut copies: Vec<&mut Arc<Lines>>, sources: &Sources) -> io::Result<()> {
    let distinct: BTreeSet<Digest> = copies.iter().map(|lines| lines.content.digest).collect();
    if distinct.len() < 2 {
        return Ok(());
    }
    let lengths: BTreeSet<u64> = copies.iter().map(|lines| lines.content.length).collect();
    for lines in &mut copies {
        sources.complete(lines, &lengths, false)?;
    }
    let diverged = copies.iter().enumerate().any(|(index, one)| copies[..index].iter().any(|other| relate(one, other) == Ok(Relation::Diverged)));
    if diverged {
        for lines in &mut copies {
            sources.complete(lines, &lengths, true)?;
        }
    }
    Ok(())
}

/// The fork of a copy, put together in the stage: what it holds, and where it lies.
///
/// # Errors
/// As `read` and `write`; `InvalidData` where `source` does not begin with the copy.
pub(super) fn write_fork(vault: &Vault, loser: &Lines, source: &Path, title_line: &[u8]) -> io::Result<(Lines, PathBuf)> {
    let (path, mut file) = fetched::new(&vault.stage_path())?;
    crate::store::vault::copy_prefix(source, &mut file, loser.content.length)?;
    io::Write::write_all(&mut file, title_line)?;
    io::Seek::rewind(&mut file)?;
    let reading = read::lines(&file, &Wanted { marks: vec![loser.content.length], ..Wanted::default() })?;
    if reading.marks.get(&loser.content.length) != Some(&loser.content.digest) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the copy that lost changed while it was forked"));
    }
    Ok((Lines::of(reading), path))
}

/// The part of a step, for messages.
#[must_use]
pub fn part_words(part: &Part) -> &str {
    match part {
        Part::Transcript => "transcript",
        Part::Side(path) => path.as_str(),
    }
}
