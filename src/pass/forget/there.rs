//! Forgotten sessions at a far replica: what a listing means for them, what a put is to say, and what came of it.
//!
//! Promises: a session with a tombstone here is as if it did not lie there: not hashed, not fetched, not planned. One that another
//! machine forgot there is neither read nor sent, and nothing more: a codespace is hostile ground, so nothing goes here for its word.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

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
    loop {
        let origins: BTreeSet<SessionId> = dates.keys().copied().collect();
        let mut found: BTreeMap<SessionId, DateTime<Utc>> = BTreeMap::new();
        for (session, beginning) in suspects.iter().filter(|(session, _)| !origins.contains(session)) {
            let origin = fork::origin(*session, *beginning, &origins);
            found.extend(origin.and_then(|origin| Some((*session, *dates.get(&origin)?))));
        }
        if found.is_empty() {
            break;
        }
        for (session, date) in found {
            if keep == Keep::InVault {
                here.forgotten.set(session, date)?;
            }
            tracing::info!(%session, "a fork of a forgotten session was found");
            dates.insert(session, date);
        }
    }
    visits.iter_mut().try_for_each(|visit| visit.seen.forget(&dates))
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
        let discard = |staged: Option<&Path>| staged.map_or(Ok(()), fetched::discard);
        let fetched = self.fetches.extract_if(.., |fetch| dates.contains_key(&fetch.session)).map(|fetch| fetch.staged);
        let kept = self.leftovers.extract_if(.., |leftover| dates.contains_key(&leftover.session)).map(|leftover| leftover.staged);
        fetched.chain(kept).collect::<Vec<_>>().into_iter().try_for_each(|staged| discard(staged.as_deref()))
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
