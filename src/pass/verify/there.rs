//! A far side's sessions, as its listing and its digests tell: place, content, and how long the client there keeps them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use tracing::Instrument as _;

use super::judge::{self, Differs, Fault};
use super::{Judged, Outcome, Verified};
use crate::codespace::replica::{FarPath, HashWant, Hashes, Replica, VisitError};
use crate::codespace::wire::Listing;
use crate::pass::bases::{Base, Bases};
use crate::pass::connect::{Doorway, Listed, list};
use crate::pass::member::{FarMember, FarSession, members};
use crate::pass::round::DEFAULT_RETENTION;
use crate::pass::survey::Survey;
use crate::pass::target::{Target, choose};
use crate::pass::visit::is_live;
use crate::pass::{Options, PassError, Setting, faults, logged};
use crate::reconcile::manifest::{Part, SessionId, StorePath};
use crate::reconcile::transcript::Digest;

/// Asks every place that the names mean.
///
/// # Errors
/// As a pass: a name that fits nothing, or several; the list of codespaces; this machine's own store.
pub async fn there(setting: &Setting, options: &Options, now: DateTime<Utc>) -> Result<Vec<Verified>, PassError> {
    let Listed { door, targets, fault, .. } = list(setting, options).await;
    let machines = !targets.is_empty() && targets.iter().all(|target| options.names.contains(&target.name));
    if let Some(fault) = fault.filter(|_| !machines) {
        return Err(PassError::Listing(fault));
    }
    let chosen = choose(targets, &options.names, options.dot.as_ref())?;
    let survey = Survey::open(setting, now)?;
    let asked = Asked { bases: Bases::of(&survey.here), survey };
    let mut verified = Vec::new();
    for target in chosen {
        let span = logged::codespace_span(&target.name);
        verified.push(asked.ask(door.as_ref(), target).instrument(span).await);
    }
    Ok(verified)
}

struct Asked {
    survey: Survey,
    bases: Bases,
}

impl Asked {
    async fn ask(&self, door: Option<&Doorway>, target: Target) -> Verified {
        let mut verified =
            Verified { place: target.display_name.clone(), outcome: Outcome::Looked, kept_days: DEFAULT_RETENTION, sessions: Vec::new(), absent: 0 };
        if let Some(why) = target.not_visited.clone() {
            verified.outcome = Outcome::NotVisited { why };
            return verified;
        }
        let Some(door) = door else { return verified };
        // The guard must live until the master is connected.
        let (mut far, _guard) = match door.open(&target).await {
            Ok(open) => open,
            Err((outcome, _)) => {
                verified.outcome = not_opened(outcome);
                return verified;
            }
        };
        if let Err(error) = self.look(&mut *far, &target, &mut verified).await {
            verified.outcome = Outcome::Failed { fault: faults::of_visit(&error) };
        }
        far.close().await;
        verified
    }

    async fn look(&self, far: &mut dyn Replica, target: &Target, verified: &mut Verified) -> Result<(), VisitError> {
        let listing = far.list(&target.folders, None).await?;
        verified.kept_days = listing.retention_days.unwrap_or(DEFAULT_RETENTION);
        let live = |id: SessionId, transcript| is_live(&listing, id, transcript);
        let found = members(&listing, &target.admitted, &|repository| self.bases.below(repository), None, &live, &mut Vec::new());
        let questions: Vec<Question<'_>> = found.iter().flat_map(|member| self.questions(member)).collect();
        let wants: Vec<HashWant> = questions.iter().flat_map(Question::wants).collect();
        let hashes = if wants.is_empty() { None } else { Some(far.digests(&wants).await?) };
        let mut judged: BTreeMap<SessionId, Judged> = BTreeMap::new();
        for question in &questions {
            let faults = question.faults(&listing, verified.kept_days, hashes.as_ref()).map_err(VisitError::Here)?;
            let title = self.title(question.session);
            let repository = question.member.repository.clone();
            let files = super::files(question.session, [&question.there.project]);
            judged.insert(question.session, Judged { session: question.session, title, repository, files, open: question.open, faults });
        }
        for member in &found {
            self.elsewhere(member, &mut judged);
            let belongs =
                self.survey.here.sessions.iter().filter(|(_, session)| session.place.as_ref().is_some_and(|place| place.repository == member.repository));
            verified.absent += belongs.filter(|(id, _)| !judged.contains_key(id)).count();
        }
        verified.sessions = judged.into_values().collect();
        Ok(())
    }

    /// What lies there in a directory of something else, and belongs to this repository here.
    fn elsewhere(&self, member: &FarMember, judged: &mut BTreeMap<SessionId, Judged>) {
        for (session, project) in &member.elsewhere {
            if self.bases.place(*session) != Some(&member.repository) {
                continue;
            }
            let place = self.survey.here.sessions.get(session).and_then(|session| session.place.as_ref());
            let right = place.and_then(|place| member.directory_for(&place.below));
            let new = || Judged {
                session: *session,
                title: self.title(*session),
                repository: member.repository.clone(),
                files: Vec::new(),
                open: false,
                faults: Vec::new(),
            };
            let known = judged.entry(*session).or_insert_with(new);
            known.files.extend(super::files(*session, [project]));
            let also = member.sessions.get(session).map(|session| session.project.clone());
            known.faults.push(match also {
                Some(own) => Fault::Twice { projects: vec![own, project.clone()] },
                None => Fault::Misplaced { project: project.clone(), right },
            });
        }
    }

    fn title(&self, session: SessionId) -> Option<String> {
        let here = self.survey.here.sessions.get(&session).and_then(|session| Some(session.transcript.as_ref()?.1.title.clone()));
        here.unwrap_or_else(|| self.survey.here.archive.records().get(&session)?.title.clone())
    }

    /// The sessions of a member whose transcript lies there, or that a pass leaves alone there.
    fn questions<'m>(&'m self, member: &'m FarMember) -> impl Iterator<Item = Question<'m>> {
        member.sessions.iter().filter(|(_, session)| session.transcript.is_some() || session.closed.is_some()).map(move |(id, session)| {
            let own = self.survey.here.sessions.get(id).and_then(|own| Some((own.live, &own.transcript.as_ref()?.1.content)));
            let base = own.and_then(|(_, content)| self.bases.of_part(*id, &Part::Transcript).iter().find(|base| base.digest == content.digest));
            let stranger = self.bases.place(*id).filter(|other| **other != member.repository);
            let refused = stranger.map(|other| format!("belongs to {other} on this machine")).or_else(|| session.closed.clone());
            Question { member, session: *id, there: session, open: session.live || own.is_some_and(|(live, _)| live), base, refused }
        })
    }
}

/// One session there, and what is here of it.
struct Question<'m> {
    member: &'m FarMember,
    session: SessionId,
    there: &'m FarSession,
    open: bool,
    base: Option<&'m Base>,
    refused: Option<String>,
}

impl Question<'_> {
    fn path(&self) -> FarPath {
        FarPath::Store(StorePath { project: self.there.project.clone(), session: self.session, part: Part::Transcript })
    }

    /// What is compared: the copy here, and so many bytes there. An open one grows as it pleases.
    fn compared(&self) -> Option<(&Base, u64)> {
        let size = self.there.transcript.as_ref()?.stamp.size;
        self.base.filter(|_| !self.open && self.refused.is_none()).map(|base| (base, size))
    }

    /// Of a file that grows in this moment, only the bytes that were listed.
    fn wants(&self) -> Vec<HashWant> {
        let Some((base, size)) = self.compared().filter(|(_, size)| *size > 0) else { return Vec::new() };
        let beginning = (size > base.length).then_some(base.length);
        beginning.into_iter().chain([size]).map(|first| HashWant { path: self.path(), first: Some(first) }).collect()
    }

    fn faults(&self, listing: &Listing, kept: u32, hashes: Option<&Hashes>) -> std::io::Result<Vec<Fault>> {
        let mut faults: Vec<Fault> = self.refused.iter().map(|why| Fault::Refused { why: why.clone() }).collect();
        let hash = |first| hashes.and_then(|hashes| hashes.find(&self.path(), Some(first)));
        match self.compared() {
            None => {}
            Some((_, 0)) => faults.push(Fault::Differs { how: Differs::Behind }),
            Some((base, size)) => match hash(size) {
                None => faults.push(Fault::Unreadable { why: "the far side could not read it".to_owned() }),
                Some(whole) => faults.extend(differs(base, (size, whole), hash(base.length))?.map(|how| Fault::Differs { how })),
            },
        }
        let stamp = self.there.transcript.as_ref().map(|part| part.stamp).filter(|_| !self.open);
        faults.extend(stamp.and_then(|stamp| judge::expired(stamp.modified, listing.clock, kept)));
        Ok(faults)
    }
}

/// How a far copy stands to the one here; none where they are equal. `beginning` is what its first bytes hash to, as many as are here.
fn differs(base: &Base, (size, whole): (u64, Digest), beginning: Option<Digest>) -> std::io::Result<Option<Differs>> {
    let is_beginning = |same: bool, how| if same { how } else { Differs::Diverged };
    Ok(match size.cmp(&base.length) {
        std::cmp::Ordering::Equal => (whole != base.digest).then_some(Differs::Diverged),
        std::cmp::Ordering::Greater => Some(is_beginning(beginning == Some(base.digest), Differs::Ahead)),
        std::cmp::Ordering::Less => Some(is_beginning(base.begins_with(size, whole)?, Differs::Behind)),
    })
}

fn not_opened(outcome: crate::reconcile::report::Outcome) -> Outcome {
    use crate::reconcile::report::Outcome as OfVisit;
    match outcome {
        OfVisit::Failed(fault) => Outcome::Failed { fault },
        OfVisit::NotVisited { why } => Outcome::NotVisited { why },
        OfVisit::Visited => Outcome::Looked,
    }
}
