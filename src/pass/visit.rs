//! One visit: what a far replica holds is listed, hashed where that is not known, and fetched where it is not here.
//!
//! Promises: reads only. What is fetched lies in the stage, unproved; [`absorb`](super::absorb) proves it. A visit that breaks
//! keeps what came whole. Nothing is concluded from what was not read.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{Instrument as _, Span};

use super::ahead;
use super::bases::Bases;
use super::fetch::{self, Fetch, Question};
use super::forget::there::{Duty, sift};
use super::leftovers::{self, Leftover};
use super::logged::{self, Transfer};
use super::member::{Admitted, FarMember, FarPart, members};
use super::room::{NoRoom, Room};
use crate::codespace::replica::{FarPath, Getting, HashWant, Hashes, Range, Replica, VisitError};
use crate::codespace::wire::{Listing, VaultObject};
use crate::reconcile::fork;
use crate::reconcile::manifest::{Part, ProjectName, SessionId, Stamp, StorePath};
use crate::reconcile::plan::Window;
use crate::reconcile::report::Skipped;
use crate::state::{Held, ReplicaMemory};
use crate::store::fetched::{self, Partial};

/// In a store without a registry, a transcript written within this time counts as open, in seconds.
const FRESH_SECONDS: i64 = 120;

/// What a visit is told beforehand.
#[derive(Debug, Clone)]
pub struct Errand {
    /// The repositories that the replica may speak of.
    pub admitted: Vec<Admitted>,
    /// This machine's window, so that what is too old for it is not read.
    pub window: Window,
    /// Where fetched bytes go: this machine's stage.
    pub stage: PathBuf,
}

/// What a visit found.
#[derive(Debug)]
pub struct Seen {
    /// The listing.
    pub listing: Listing,
    /// By repository.
    pub members: Vec<FarMember>,
    /// What was not known.
    pub fetches: Vec<Fetch>,
    /// What lies in the vault there, as far as it was looked at.
    pub leftovers: Vec<Leftover>,
    /// Forgotten sessions that are to be told of there.
    pub duties: BTreeMap<SessionId, Duty>,
    /// What was passed over.
    pub skipped: Vec<Skipped>,
    /// Content bytes fetched.
    pub bytes_in: u64,
    /// What broke the visit after the listing.
    pub broken: Option<VisitError>,
}

/// Looks at one far replica, which gave this listing. Whatever breaks is in [`Seen::broken`].
pub async fn look(far: &mut dyn Replica, mut listing: Listing, errand: &Errand, bases: &Arc<Bases>, memory: Option<&ReplicaMemory>) -> Seen {
    let duties = sift(&mut listing, bases.forgotten().dates());
    tracing::debug!(files = listing.files.len(), live = listing.live.len(), skipped = listing.skipped.len(), "listed there");
    let mut skipped: Vec<Skipped> = listing.skipped.iter().map(|skipped| Skipped { name: skipped.name.clone(), why: skipped.why.clone() }).collect();
    let live = |id: SessionId, transcript: Option<Stamp>| is_live(&listing, id, transcript);
    let mut found = members(&listing, &errand.admitted, &|repository| bases.below(repository), memory, &live, &mut skipped);
    refuse_strangers(&mut found, bases, &mut skipped);
    listing.vault.retain(|object| object.name.session().is_some_and(|id| may_displace(id, &found, errand, bases)));
    // Only so many are looked at.
    listing.vault.sort_by_key(|object| object.size == object.name.length());
    let mut seen = Seen { listing, members: found, fetches: Vec::new(), leftovers: Vec::new(), duties, skipped, bytes_in: 0, broken: None };
    if let Err(error) = seen.read(far, errand, bases).await {
        seen.broken = Some(error);
    }
    seen
}

pub(super) fn is_live(listing: &Listing, id: SessionId, transcript: Option<Stamp>) -> bool {
    if listing.registry {
        listing.live.iter().any(|live| live.session == id)
    } else {
        transcript.is_some_and(|stamp| (listing.clock - stamp.modified.div_euclid(1_000_000_000)).abs() < FRESH_SECONDS)
    }
}

/// Whether something of this length is here of the session: what was brought home is not asked for at every visit.
fn has_length(bases: &Bases, object: &VaultObject) -> bool {
    object.name.session().is_some_and(|id| bases.of_part(id, &Part::Transcript).iter().any(|base| base.length == object.size))
}

/// Whether a vault there may speak of a session: it is one of those that lie there, or of a repository that the far side has a part in.
/// Anything else would come to be a version of somebody else's session.
fn may_displace(id: SessionId, members: &[FarMember], errand: &Errand, bases: &Bases) -> bool {
    match bases.place(id) {
        Some(repository) => errand.admitted.iter().any(|admitted| admitted.repository == *repository),
        None => members.iter().any(|member| member.sessions.contains_key(&id)),
    }
}

/// An id that belongs to another repository on this machine is refused, whatever the far side says of it.
fn refuse_strangers(members: &mut [FarMember], bases: &Bases, skipped: &mut Vec<Skipped>) {
    for member in members {
        for (id, session) in &mut member.sessions {
            if let Some(other) = bases.place(*id).filter(|other| **other != member.repository) {
                let why = format!("belongs to {other} on this machine");
                skipped.push(Skipped { name: format!("{}/{id}", session.project), why: why.clone() });
                session.closed = Some(why);
                session.refused = true;
            }
        }
    }
}

impl Seen {
    async fn read(&mut self, far: &mut dyn Replica, errand: &Errand, bases: &Arc<Bases>) -> Result<(), VisitError> {
        let questions = self.questions(errand, bases).await;
        if questions.is_empty() && self.late().all(|object| has_length(bases, object)) {
            return Ok(());
        }
        self.ask(far, questions, errand, bases).await?;
        self.fetch(far, errand).await
    }

    /// Has them hashed there, and decides how each comes.
    async fn ask(&mut self, far: &mut dyn Replica, questions: Vec<Question>, errand: &Errand, bases: &Arc<Bases>) -> Result<(), VisitError> {
        let mut wants = Vec::with_capacity(questions.len());
        let (mut ahead, mut left) = (Vec::new(), ahead::MOST);
        for question in &questions {
            let known = bases.of_part(question.path.session, &question.path.part);
            let shorter = known.iter().map(|base| base.length).filter(|length| *length < question.size);
            let shorter: HashSet<u64> = if question.path.part.is_lines() { shorter.collect() } else { HashSet::new() };
            wants.extend(shorter.into_iter().map(|length| HashWant { path: FarPath::Store(question.path.clone()), first: Some(length) }));
            // Of a file that grows while it is hashed, only the bytes that were listed.
            wants.push(HashWant { path: FarPath::Store(question.path.clone()), first: question.live.then_some(question.size) });
            ahead.extend(ahead::range(&question.path, question.size, known, &mut left));
        }
        wants.extend(self.leftover_wants());
        let (hashes, getting) = far.hash(&wants, &ahead).await?;
        tracing::debug!(asked = wants.len(), "hashed there");
        drop(wants);
        let (came, ended) = self.receive(getting, &errand.stage, &ahead, BTreeMap::new()).await;
        let mut came: HashMap<Range, PathBuf> = ahead.into_iter().zip(came).filter_map(|(range, path)| Some((range, path?))).collect();
        self.look_at_leftovers(&hashes, bases).await;
        self.fetches.reserve_exact(questions.len());
        for question in questions {
            let path = FarPath::Store(question.path.clone());
            let digest = hashes.find(&path, question.live.then_some(question.size));
            let Some(digest) = digest else {
                self.close(&question, "could not be read there");
                continue;
            };
            let prefix = |length| hashes.find(&path, Some(length));
            let how = fetch::choose(&question, digest, bases, &prefix).await;
            let Question { member, path: StorePath { session, part, .. }, size, .. } = question;
            let staged = how.offset().and_then(|offset| came.remove(&Range { path, offset, length: size - offset }));
            self.fetches.push(Fetch { member, session, part, size, digest, how, staged });
        }
        // What was not missing after all.
        came.into_values().try_for_each(|path| fetched::discard(&path)).map_err(VisitError::Here)?;
        ended
    }

    /// What lies in the vault there and was written to after it was displaced: lines that may be nowhere else.
    fn late(&self) -> impl Iterator<Item = &VaultObject> {
        self.listing.vault.iter().filter(|object| object.size != object.name.length())
    }

    /// How many of these are not here.
    pub(super) fn late_lines_away(&self, bases: &Bases) -> usize {
        let is_home = |object: &VaultObject| self.leftovers.iter().any(|leftover| leftover.object == *object && leftover.is_home);
        self.late().filter(|object| !has_length(bases, object) && !is_home(object)).count()
    }

    fn leftover_wants(&self) -> Vec<HashWant> {
        self.listing.vault.iter().take(leftovers::MOST).map(|object| HashWant { path: FarPath::Vault(object.name.clone()), first: None }).collect()
    }

    /// Finds out what of the far vault may go, in a visit that installs something. Asks only if nobody asked for digests before.
    ///
    /// # Errors
    /// As [`Replica::hash`].
    pub async fn ask_for_leftovers(&mut self, far: &mut dyn Replica, bases: &Arc<Bases>) -> Result<(), VisitError> {
        let wants = self.leftover_wants();
        if self.leftovers.is_empty() && !wants.is_empty() {
            let hashes = far.digests(&wants).await?;
            self.look_at_leftovers(&hashes, bases).await;
        }
        Ok(())
    }

    async fn look_at_leftovers(&mut self, hashes: &Hashes, bases: &Arc<Bases>) {
        for object in self.listing.vault.iter().take(leftovers::MOST) {
            let digest = hashes.find(&FarPath::Vault(object.name.clone()), None);
            let (Some(session), Some(digest)) = (object.name.session(), digest) else { continue };
            // What a forgotten fork was made from is not brought home once more.
            let is_forgotten = bases.forgotten().has(fork::id(session, digest));
            let is_home = is_forgotten || leftovers::is_home(bases, session, object.size, digest).await;
            self.leftovers.push(Leftover { session, object: object.clone(), digest, is_home, staged: None });
        }
    }

    /// Every file whose content is not remembered and that may matter: known here by its id, or young enough.
    async fn questions(&self, errand: &Errand, bases: &Bases) -> Vec<Question> {
        let oldest = errand.window.chosen.min(errand.window.retention).seconds();
        let mut questions = Vec::new();
        for (index, member) in self.members.iter().enumerate() {
            for (id, session) in &member.sessions {
                let young = session.transcript.as_ref().is_some_and(|part| part.stamp.modified.div_euclid(1_000_000_000) > oldest);
                let known = !bases.of_part(*id, &Part::Transcript).is_empty();
                // What may be a fork of a forgotten session is told by its bytes only, however old it is: it is read once.
                let unread = session.transcript.as_ref().is_some_and(|part| part.held.is_none());
                let suspect = unread && fork::may_be_fork(*id) && !bases.forgotten().dates().is_empty();
                if session.closed.is_some() || !(young || known || suspect) {
                    continue;
                }
                let side = session.side.iter().map(|(side, far)| (Part::Side(side.clone()), far));
                for (part, far) in side.chain(session.transcript.iter().map(|far| (Part::Transcript, far))) {
                    let here = match &far.held {
                        Some(held) => bases.have(*id, &part, held).await,
                        None => false,
                    };
                    if !here {
                        let path = StorePath { project: session.project.clone(), session: *id, part };
                        questions.push(Question { member: index, path, size: far.stamp.size, live: session.live });
                    }
                }
            }
        }
        questions
    }

    fn close(&mut self, question: &Question, why: &str) {
        self.skipped.push(Skipped { name: question.path.to_string(), why: why.to_owned() });
        if let Some(session) = self.members[question.member].sessions.get_mut(&question.path.session) {
            session.closed = Some(why.to_owned());
        }
    }

    /// Closes what there is no room for here: its size is the far side's word alone. Whether the disk is to blame.
    fn leave_what_does_not_fit(&mut self, room: &mut Room) -> bool {
        let mut full = false;
        let Self { fetches, members, skipped, .. } = self;
        fetches.retain(|fetch| {
            let Err(why) = fetch.missing().map_or(Ok(()), |_| room.take(fetch.size)) else { return true };
            full |= matches!(why, NoRoom::DiskTooSmall { .. });
            if let Some(session) = members[fetch.member].sessions.get_mut(&fetch.session) {
                skipped.push(Skipped { name: format!("{}/{}", session.project, fetch.part.path(fetch.session)), why: why.to_string() });
                session.closed = Some(why.to_string());
            }
            false
        });
        full
    }

    async fn fetch(&mut self, far: &mut dyn Replica, errand: &Errand) -> Result<(), VisitError> {
        let mut room = Room::on(&errand.stage).map_err(VisitError::Here)?;
        let full = self.leave_what_does_not_fit(&mut room);
        let (mut ranges, mut partials, mut order) = (Vec::new(), BTreeMap::new(), Vec::new());
        for (index, fetch) in self.fetches.iter().enumerate() {
            let Some(offset) = fetch.missing() else { continue };
            let Some((project, inode)) = self.lies(fetch) else { continue };
            let path = StorePath { project, session: fetch.session, part: fetch.part.clone() };
            let mut range = Range { path: FarPath::Store(path), offset, length: fetch.size - offset };
            let partial = fetch::shorten(&mut range, fetch, (self.listing.replica, inode), &errand.stage).map_err(VisitError::Here)?;
            partials.extend(partial.map(|partial| (ranges.len(), partial)));
            ranges.push(range);
            order.push(Fetched::Part(index));
        }
        for (index, leftover) in self.leftovers.iter().enumerate().filter(|(_, leftover)| !leftover.is_home) {
            // One that does not fit stays where it is: it is a copy that lost.
            if room.take(leftover.object.size).is_err() {
                continue;
            }
            ranges.push(Range { path: leftover.path(), offset: 0, length: leftover.object.size });
            order.push(Fetched::Leftover(index));
        }
        if !ranges.is_empty() {
            let getting = far.get(&ranges).await?;
            let (came, ended) = self.receive(getting, &errand.stage, &ranges, partials).await;
            for (what, path) in order.into_iter().zip(came).filter(|(_, path)| path.is_some()) {
                match what {
                    Fetched::Part(index) => self.fetches[index].staged = path,
                    Fetched::Leftover(index) => self.leftovers[index].staged = path,
                }
            }
            ended?;
        }
        if full { Err(VisitError::Here(io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error()))) } else { Ok(()) }
    }

    /// Brings ranges into the stage, one after the other. Gives where each lies that came, also where not all of them did.
    async fn receive(&mut self, getting: Getting, stage: &Path, ranges: &[Range], partials: BTreeMap<usize, Partial>) -> Received {
        let mut came = Vec::with_capacity(ranges.len());
        let bytes = ranges.iter().map(|range| range.length).sum();
        let span = if ranges.is_empty() { Span::none() } else { logged::transfer_span(Transfer::Get, ranges.len(), bytes) };
        let ended = fetch::receive(getting, stage, ranges, partials, &mut came).instrument(span).await;
        self.bytes_in += ranges.iter().zip(&came).filter(|(_, path)| path.is_some()).map(|(range, _)| range.length).sum::<u64>();
        (came, ended)
    }

    /// In which project directory the file lies there that a fetch is of, and its inode.
    fn lies(&self, fetch: &Fetch) -> Option<(ProjectName, u64)> {
        let session = self.members[fetch.member].sessions.get(&fetch.session)?;
        Some((session.project.clone(), session.part(&fetch.part)?.stamp.inode))
    }
}

/// Where each range lies that came, and how it ended.
type Received = (Vec<Option<PathBuf>>, Result<(), VisitError>);

/// What a range of a GET is for, by its index.
enum Fetched {
    Part(usize),
    Leftover(usize),
}

/// What a part holds, if that is known.
#[must_use]
pub fn held(part: Option<&FarPart>) -> Option<&Held> {
    part.and_then(|part| part.held.as_deref())
}
