//! Forgotten sessions at a far replica: what a listing means for them, what a put is to say, and what came of it.
//!
//! Promises: a session with a tombstone here is as if it did not lie there: not hashed, not fetched, not planned. One that another
//! machine forgot there is neither read nor sent, and nothing more: a codespace is hostile ground, so nothing goes here for its word.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};

use chrono::{DateTime, Utc};

use crate::codespace::wire::{Forget, Forgotten as Outcome, Listing, PutAnswer};
use crate::pass::absorb::Keep;
use crate::pass::bases::Bases;
use crate::pass::fetch::How;
use crate::pass::here::Here;
use crate::pass::round::Visiting;
use crate::pass::visit::Seen;
use crate::reconcile::fork;
use crate::reconcile::manifest::{Part, SessionId};
use crate::reconcile::report::{Forgetting, Forgotten};
use crate::reconcile::transcript::Digest;
use crate::state::ReplicaMemory;
use crate::store::fetched;
use crate::store::read;

/// Most sessions that one put is told to forget.
const MOST: usize = 1000;

/// Most forks of forgotten sessions that one pass finds: each gets a tombstone, which stays.
const MOST_FOUND: usize = 1000;

/// What is to be said there of one forgotten session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duty {
    /// When it was forgotten.
    pub date: DateTime<Utc>,
    /// Something of it was listed.
    pub lies: bool,
    /// What came of it, once that is known.
    pub what: Option<Forgetting>,
}

/// Takes forgotten sessions out of a listing. Gives those that the far side is to be told of: they lie there, or it does not know.
pub(in crate::pass) fn sift(listing: &mut Listing, dates: &BTreeMap<SessionId, DateTime<Utc>>) -> BTreeMap<SessionId, Duty> {
    let files = listing.files.iter().map(|file| file.path.session);
    let lying: BTreeSet<SessionId> = files.chain(listing.vault.iter().filter_map(|object| object.name.session())).collect();
    // Of a list that is as long as it may be, the end is not known.
    let told = |session: &SessionId| listing.forgotten.contains(session) || listing.forgotten.len() >= Listing::MOST_FORGOTTEN;
    let duties: BTreeMap<SessionId, Duty> = dates
        .iter()
        .map(|(session, date)| (*session, Duty { date: *date, lies: lying.contains(session), what: None }))
        .filter(|(session, duty)| duty.lies || !told(session))
        .collect();
    let Listing { files, vault, forgotten, .. } = listing;
    let stays = |session: SessionId| !dates.contains_key(&session) && !forgotten.contains(&session);
    files.retain(|file| stays(file.path.session));
    vault.retain(|object| object.name.session().is_none_or(stays));
    duties
}

/// Finds, among what was fetched, forks of forgotten sessions: they get tombstones of their own, and their bytes go unread. What was
/// forgotten since a visit looked is taken out of what it saw.
///
/// # Errors
/// When this machine's vault or stage cannot be read or written.
pub(in crate::pass) fn condemn(visits: &mut [Visiting], here: &mut Here, bases: &Bases, keep: Keep) -> io::Result<()> {
    let mut dates = here.forgotten.dates().clone();
    if dates.is_empty() {
        return Ok(());
    }
    let mut suspects: Vec<(SessionId, Digest)> = Vec::new();
    for fetch in visits.iter().flat_map(|visit| &visit.seen.fetches).filter(|fetch| fetch.part == Part::Transcript && fork::may_be_fork(fetch.session)) {
        let (How::Whole, Some(staged)) = (&fetch.how, &fetch.staged) else { continue };
        if bases.of_part(fetch.session, &Part::Transcript).is_empty() {
            let beginning = read::lines_before(File::open(staged)?.take(fetch.size), &fetch.session.to_string())?;
            suspects.extend(beginning.map(|beginning| (fetch.session, beginning)));
        }
    }
    let found = forks_among(&mut suspects, &dates, MOST_FOUND);
    for (session, date) in &found {
        if keep == Keep::InVault {
            here.forgotten.set(*session, *date)?;
        }
        tracing::info!(%session, "a fork of a forgotten session was found");
    }
    if found.len() >= MOST_FOUND {
        let unjudged: BTreeSet<SessionId> = suspects.into_iter().map(|(session, _)| session).collect();
        for seen in visits.iter_mut().map(|visit| &mut visit.seen) {
            let sessions = seen.members.iter_mut().flat_map(|member| &mut member.sessions);
            for (_, session) in sessions.filter(|(id, _)| unjudged.contains(id)) {
                session.closed = Some("may be a fork of a forgotten session, of which there are too many for one pass".to_owned());
            }
            // They are read once more, and judged then: what is taken in is never a suspect again.
            seen.discard(&|session| unjudged.contains(&session))?;
        }
    }
    dates.extend(found);
    visits.iter_mut().try_for_each(|visit| visit.seen.forget(&dates))
}

/// The forks of forgotten sessions among the suspects, and theirs, each with the date of what it comes from; at most so many. The others
/// stay suspects. Each is tried once with each that is forgotten: a codespace can make up a chain of thousands.
fn forks_among(suspects: &mut Vec<(SessionId, Digest)>, dates: &BTreeMap<SessionId, DateTime<Utc>>, most: usize) -> BTreeMap<SessionId, DateTime<Utc>> {
    suspects.retain(|(session, _)| !dates.contains_key(session));
    let (mut found, mut newest) = (BTreeMap::new(), dates.clone());
    while !newest.is_empty() && found.len() < most {
        let origins: BTreeSet<SessionId> = newest.keys().copied().collect();
        let mut next = BTreeMap::new();
        suspects.retain(|(session, beginning)| {
            let origin = if found.len() + next.len() < most { fork::origin(*session, *beginning, &origins) } else { None };
            let date = origin.and_then(|origin| newest.get(&origin).copied());
            next.extend(date.map(|date| (*session, date)));
            date.is_none()
        });
        found.extend(&next);
        newest = next;
    }
    found
}

impl Seen {
    /// Takes these sessions out of what was seen; what was fetched of them goes.
    fn forget(&mut self, dates: &BTreeMap<SessionId, DateTime<Utc>>) -> io::Result<()> {
        for (session, duty) in sift(&mut self.listing, dates) {
            self.duties.entry(session).or_insert(duty).lies |= dates.contains_key(&session) && self.members.iter().any(|of| of.sessions.contains_key(&session));
        }
        for member in &mut self.members {
            member.sessions.retain(|session, _| !dates.contains_key(session));
            member.elsewhere.retain(|session, _| !dates.contains_key(session));
        }
        self.discard(&|session| dates.contains_key(&session))
    }

    /// What was fetched of these goes.
    fn discard(&mut self, which: &dyn Fn(SessionId) -> bool) -> io::Result<()> {
        let fetched = self.fetches.extract_if(.., |fetch| which(fetch.session)).map(|fetch| fetch.staged);
        let kept = self.leftovers.extract_if(.., |leftover| which(leftover.session)).map(|leftover| leftover.staged);
        fetched.chain(kept).flatten().collect::<Vec<_>>().iter().try_for_each(|staged| fetched::discard(staged))
    }

    /// What a put is to say.
    pub(in crate::pass) fn forgets(&self) -> Vec<Forget> {
        let open = self.duties.iter().filter(|(_, duty)| duty.what.is_none());
        open.map(|(session, duty)| Forget { session: *session, date: duty.date }).take(MOST).collect()
    }

    /// Notes what a put answered.
    pub(in crate::pass) fn forgot(&mut self, answer: &PutAnswer) {
        for (session, outcome) in &answer.forgets {
            let Some(duty) = self.duties.get_mut(session) else { continue };
            duty.what = Some(match outcome {
                Outcome::Removed => Forgetting::Removed,
                Outcome::Noted => Forgetting::Noted,
                Outcome::Live => Forgetting::Open,
                Outcome::Failed(why) => Forgetting::Failed { why: why.clone() },
            });
        }
    }

    /// What the report says of it.
    pub(in crate::pass) fn told(&self, at: &str, dry_run: bool) -> Vec<Forgotten> {
        let due = |duty: &Duty| (dry_run && duty.lies).then_some(Forgetting::Due);
        let said = self.duties.iter().filter_map(|(session, duty)| Some((session, duty.what.clone().or_else(|| due(duty))?)));
        said.map(|(session, what)| Forgotten { at: at.to_owned(), session: *session, what }).collect()
    }

    /// What is remembered of it: who is still to be told, and which sessions of this machine others forgot there.
    pub(in crate::pass) fn remember(&self, memory: &mut ReplicaMemory, here: &Here) {
        memory.due.retain(|session| self.duties.contains_key(session));
        for (session, duty) in &self.duties {
            match duty.what {
                Some(Forgetting::Removed | Forgetting::Noted) => drop(memory.due.remove(session)),
                _ if duty.lies => drop(memory.due.insert(*session)),
                _ => {}
            }
        }
        memory.seen.retain(|session, _| !here.forgotten.has(*session));
        let by_another = self.listing.forgotten.iter().filter(|session| !here.forgotten.has(**session) && here.sessions.contains_key(session));
        memory.forgotten = by_another.copied().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forks_of_forks_are_found_one_after_the_other_and_no_more_than_may_be() {
        let (date, beginning) = (DateTime::UNIX_EPOCH, Digest::of(b"x\n"));
        let first: SessionId = "6f869d7b-ce51-4e00-8a05-674dde6aa368".parse().unwrap();
        let chain: Vec<SessionId> = std::iter::successors(Some(first), |origin| Some(fork::id(*origin, beginning))).take(31).collect();
        let dates = BTreeMap::from([(first, date)]);
        for (most, found) in [(100, 30), (30, 30), (10, 10), (0, 0)] {
            // The last ones come first, so that each turn finds one; one is told of twice, and another is nobody's fork.
            let mut suspects: Vec<_> = chain[1..].iter().rev().chain(&chain[..2]).map(|session| (*session, beginning)).collect();
            suspects.push((fork::id(first, Digest::of(b"y\n")), beginning));
            let all = forks_among(&mut suspects, &dates, most);
            assert_eq!(all.keys().copied().collect::<BTreeSet<_>>(), chain[1..=found].iter().copied().collect(), "{most}");
            assert!(all.values().all(|of| *of == date));
            let left: BTreeSet<_> = suspects.iter().map(|(session, _)| *session).collect();
            assert_eq!(left.len(), 31 - found, "{most}");
            assert!(!left.contains(&first) && all.keys().all(|session| !left.contains(session)));
        }
    }
}
