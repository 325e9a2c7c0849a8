//! The plan of a group, forks included: every session is planned, and the forks that come of it are offered to the sessions that
//! they are, which may lie somewhere already, shorter or grown, and have forks of their own.
//!
//! Promises: what is planned of a session is planned with what is offered for it; a session whose loser cannot be forked, or whose
//! fork cannot be planned, is left alone, and so is that fork: were the loser displaced, nobody would see any more that it is due.
//! Never: a fork of what is no loser once everything offered is known.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::bases::Bases;
use super::group::{Group, GroupPlan, write_fork};
use super::sources::Sources;
use crate::reconcile::manifest::SessionId;
use crate::reconcile::plan::{Loser, Offer, Presence, SessionPlan};
use crate::store::vault::Vault;

impl Group {
    /// Plans every session, and the forks that follow from it. New forks are written to the stage and become sources.
    /// `row` tells what the members hold, or once held, of a fork that nobody showed; `bases` are what is here of each session.
    pub fn plan(&mut self, sources: &mut Sources, (bases, vault): (&Bases, &Vault), row: &dyn Fn(SessionId) -> Vec<Presence>) -> GroupPlan {
        let due = self.presences.keys().copied().collect();
        let (offers, offered, left_alone, result) = Default::default();
        Planning { group: self, sources, bases, vault, row, due, offers, offered, left_alone, result }.run()
    }
}

/// A plan in the making. A fork's id is made of its origin's and of a digest, so that no session is the fork of its own fork, and
/// planning ends.
struct Planning<'a> {
    group: &'a mut Group,
    sources: &'a mut Sources,
    bases: &'a Bases,
    vault: &'a Vault,
    row: &'a dyn Fn(SessionId) -> Vec<Presence>,
    /// Sessions that are to be planned, or planned again.
    due: BTreeSet<SessionId>,
    /// Forks, each with its origin.
    offers: BTreeMap<SessionId, (SessionId, Offer)>,
    /// The forks that each session offers.
    offered: BTreeMap<SessionId, BTreeSet<SessionId>>,
    /// Sessions that this pass does nothing to, and why.
    left_alone: BTreeMap<SessionId, String>,
    result: GroupPlan,
}

impl Planning<'_> {
    fn run(mut self) -> GroupPlan {
        while let Some(id) = self.due.pop_first() {
            self.result.sessions.remove(&id);
            if self.left_alone.contains_key(&id) {
                self.withdraw(id, &BTreeSet::new());
                continue;
            }
            match self.planned(id) {
                Ok(Some(planned)) => drop(self.result.sessions.insert(id, planned)),
                Ok(None) => {}
                Err(why) => self.leave_alone(id, why),
            }
        }
        let planned = &self.result.sessions;
        let forks = self.offers.iter().filter(|(fork, _)| planned.contains_key(fork));
        let origins = forks.map(|(fork, (origin, _))| (*fork, *origin)).collect();
        GroupPlan { unplanned: self.left_alone, origins, ..self.result }
    }

    fn planned(&mut self, id: SessionId) -> Result<Option<SessionPlan>, String> {
        let presences = self.group.presences.entry(id).or_insert_with(|| (self.row)(id));
        self.sources.share(id, presences, self.bases);
        let planned = self.group.plan_one(id, self.offers.get_mut(&id).map(|(_, offer)| offer), self.sources)?;
        let losers = planned.as_ref().map_or(&[][..], |planned| &planned.losers);
        self.offer(id, losers).map_err(|error| format!("the copy that lost cannot be forked: {error}"))?;
        Ok(planned)
    }

    /// The forks of these are offered, and no other of this session.
    fn offer(&mut self, origin: SessionId, losers: &[Loser]) -> io::Result<()> {
        self.withdraw(origin, &losers.iter().filter_map(|loser| loser.fork.as_ref()).map(|fork| fork.id).collect());
        for loser in losers {
            let Some(fork) = loser.fork.as_ref().filter(|fork| !self.offers.contains_key(&fork.id)) else { continue };
            let source = self.sources.find(loser.lines.content.digest).ok_or_else(|| io::Error::other("its bytes are not here"))?;
            let (lines, path) = write_fork(self.vault, &loser.lines, source, &fork.title_line)?;
            self.sources.add(lines.content.digest, path);
            self.offers.insert(fork.id, (origin, Offer { lines: lines.into(), at: loser.members.clone() }));
            self.offered.entry(origin).or_default().insert(fork.id);
            self.due.insert(fork.id);
        }
        Ok(())
    }

    /// Takes back what was offered as a fork of this session, but for these.
    fn withdraw(&mut self, origin: SessionId, but: &BTreeSet<SessionId>) {
        for gone in self.offered.get_mut(&origin).into_iter().flat_map(|forks| forks.extract_if(.., |fork| !but.contains(fork))) {
            self.offers.remove(&gone);
            self.due.insert(gone);
        }
    }

    /// Nothing is done to this session, nor to the one that it is to be a fork of.
    fn leave_alone(&mut self, id: SessionId, why: String) {
        self.withdraw(id, &BTreeSet::new());
        if let Some((origin, _)) = self.offers.get(&id) {
            self.due.insert(*origin);
            self.left_alone.entry(*origin).or_insert_with(|| format!("its fork {id} is left alone: {why}"));
        }
        self.left_alone.insert(id, why);
    }
}
