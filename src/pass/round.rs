//! The middle of a pass: visits that have looked become groups, groups become plans, plans become files.
//!
//! Promises: everything that was read is in the archive or the vault before anything is installed; here comes first.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use chrono::{DateTime, Days, Utc};

use super::absorb::{Keep, absorb};
use super::bases::Bases;
use super::batch::install_here;
use super::clock::Clock;
use super::faults;
use super::forget::there::condemn;
use super::group::{Group, GroupPlan};
use super::here::Here;
use super::install::{Forks, Placement, Work, actions, place};
use super::sources::Sources;
use super::visit::Seen;
use crate::codespace::replica::Replica;
use crate::codespace::wire::PutFile;
use crate::config::Config;
use crate::pass::target::Target;
use crate::reconcile::manifest::{Part, SessionId};
use crate::reconcile::plan::{Member, Presence, Side, Standing, Step, Window};
use crate::reconcile::project::RepositoryId;
use crate::reconcile::relation::Lines;
use crate::reconcile::report::{Action, ActionResult, Conflict, Forgetting, Forgotten, Left, Report};
use crate::reconcile::transcript::{Digest, Moment};
use crate::state::{Held, State};
use crate::store::read;

/// Days that the client keeps sessions if its settings do not say.
pub const DEFAULT_RETENTION: u32 = 30;

/// So many hours into the future no clock goes wrong by itself.
const FAR_AHEAD: i64 = 24;

/// What may be installed where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Direction {
    /// Everywhere.
    #[default]
    Both,
    /// Here only.
    Pull,
    /// Far only.
    Push,
}

/// A visit that has looked.
#[derive(Debug)]
pub struct Visiting {
    /// Whom.
    pub target: Target,
    /// The replica there.
    pub far: Box<dyn Replica>,
    /// What it saw.
    pub seen: Seen,
    /// This machine, as it is known there.
    pub agent: Option<uuid::Uuid>,
}

/// One planned group, ready to be carried out.
#[derive(Debug)]
pub struct Planned {
    /// The repository.
    pub repository: RepositoryId,
    /// Which visit and which of its members stand behind each far member, in the group's order from 1 on.
    pub far: Vec<(usize, usize)>,
    /// What the members hold.
    pub group: Group,
    /// The plan.
    pub plan: GroupPlan,
    /// Where sessions go.
    pub placement: Placement,
    /// Every step, with what came of it.
    pub actions: Vec<(Action, Step)>,
}

/// Everything that a round works on.
#[derive(Debug)]
pub struct Round {
    /// This machine.
    pub here: Here,
    /// The memory.
    pub state: State,
    /// Where bytes are.
    pub sources: Sources,
    /// What is here of each session.
    pub bases: std::sync::Arc<Bases>,
    /// The report so far.
    pub report: Report,
    /// The configuration.
    pub config: Config,
    /// What may be installed where.
    pub direction: Direction,
    /// The days of the window.
    pub days: u32,
    /// The time of the pass.
    pub now: DateTime<Utc>,
    /// The time since.
    pub clock: Clock,
}

/// The window of a side that keeps sessions for `retention` days.
#[must_use]
pub fn window(now: DateTime<Utc>, days: u32, retention: Option<u32>) -> Window {
    let before = |days: u32| Moment(now.checked_sub_days(Days::new(days.into())).map_or(i64::MIN, |time| time.timestamp_micros()));
    Window { chosen: before(days), retention: before(retention.unwrap_or(DEFAULT_RETENTION).saturating_sub(1)) }
}

impl Round {
    /// Whether nothing may be written.
    fn keep(&self) -> Keep {
        if self.report.dry_run { Keep::Nowhere } else { Keep::InVault }
    }

    /// Proves and keeps what the visits fetched, then plans every group that they concern.
    ///
    /// # Errors
    /// When this machine's vault or stage cannot be written.
    pub fn plan(&mut self, visits: &mut [Visiting]) -> io::Result<Vec<Planned>> {
        let keep = self.keep();
        let bases = std::sync::Arc::clone(&self.bases);
        condemn(visits, &mut self.here, &bases, keep)?;
        for visit in visits.iter_mut() {
            absorb(&mut visit.seen, &visit.target.name, &mut self.here, &bases, &mut self.sources, keep, self.now)?;
        }
        if keep == Keep::InVault {
            self.here.archive.settle()?;
            self.sources.follow_displaced(&self.here.vault);
        }
        let repositories: BTreeSet<RepositoryId> =
            visits.iter().filter(|visit| visit.seen.broken.is_none()).flat_map(|visit| &visit.seen.members).map(|member| member.repository.clone()).collect();
        repositories.into_iter().map(|repository| self.plan_group(repository, visits)).collect()
    }

    fn plan_group(&mut self, repository: RepositoryId, visits: &[Visiting]) -> io::Result<Planned> {
        let far: Vec<(usize, usize)> = visits
            .iter()
            .enumerate()
            .filter(|(_, visit)| visit.seen.broken.is_none())
            .flat_map(|(index, visit)| visit.seen.members.iter().enumerate().map(move |(member, of)| (index, member, of)))
            .filter(|(_, _, member)| member.repository == repository)
            .map(|(visit, member, _)| (visit, member))
            .collect();
        let mut group = self.group(&repository, &far, visits);
        let mut sources = std::mem::take(&mut self.sources);
        let plan = group.plan(&mut sources, (&self.bases, &self.here.vault), &|id| self.row(id, &repository, &far, visits));
        self.sources = sources;
        let seen: Vec<(&Seen, usize)> = far.iter().map(|(visit, member)| (&visits[*visit].seen, *member)).collect();
        let placement = place(&repository, &plan, &self.here, &seen, &mut self.state);
        let actions = actions(&repository, &plan, &group);
        tracing::debug!(%repository, members = far.len() + 1, sessions = plan.sessions.len(), equal = group.equal, files = actions.len(), "planned");
        self.tell(&repository, &group, &plan);
        Ok(Planned { repository, far, group, plan, placement, actions })
    }

    fn group(&self, repository: &RepositoryId, far: &[(usize, usize)], visits: &[Visiting]) -> Group {
        let policy = self.config.policy(repository);
        let retention = retention_here(&self.here);
        let mut members = vec![Member {
            name: "here".to_owned(),
            accepts: policy.pulls() && self.direction != Direction::Push,
            window: window(self.now, self.days, retention),
        }];
        let mut ids: BTreeSet<SessionId> = self
            .here
            .sessions
            .iter()
            .filter(|(_, session)| session.place.as_ref().is_some_and(|place| place.repository == *repository))
            .map(|(id, _)| *id)
            .collect();
        for (visit, member) in far {
            let Visiting { target, seen, .. } = &visits[*visit];
            let placed = !seen.members[*member].layout.roots.is_empty();
            members.push(Member {
                name: target.name.clone(),
                accepts: placed && policy.pushes() && self.direction != Direction::Pull,
                window: window(self.now, self.days, seen.listing.retention_days),
            });
            ids.extend(seen.members[*member].sessions.keys());
        }
        let mut presences = BTreeMap::new();
        let mut equal = 0;
        for id in ids {
            if far.iter().all(|(visit, member)| self.is_equal(id, &visits[*visit].seen, *member)) {
                equal += 1;
                continue;
            }
            presences.insert(id, self.row(id, repository, far, visits));
        }
        Group { members, presences, equal }
    }

    /// What every member holds of one session.
    fn row(&self, id: SessionId, repository: &RepositoryId, far: &[(usize, usize)], visits: &[Visiting]) -> Vec<Presence> {
        if self.here.forgotten.has(id) {
            return vec![Presence { forgotten: true, ..Presence::default() }; far.len() + 1];
        }
        let there = far.iter().map(|(visit, member)| self.presence_there(id, &visits[*visit].seen, *member));
        std::iter::once(self.here.presence(id, repository)).chain(there).collect()
    }

    /// Whether a far member holds a session exactly as this machine does, side files included. Found without copying anything.
    fn is_equal(&self, id: SessionId, seen: &Seen, member: usize) -> bool {
        let (Some(own), Some(there)) = (self.here.sessions.get(&id), seen.members[member].sessions.get(&id)) else { return false };
        let same = |held: Option<&Held>, target: (u64, Digest)| match held {
            Some(Held::Lines { lines, .. }) => (lines.content.length, lines.content.digest) == target,
            Some(Held::Whole(whole)) => (whole.length, whole.digest) == target,
            None => false,
        };
        let place = own.place.as_ref().is_some_and(|place| place.repository == seen.members[member].repository);
        let transcript = match (&own.transcript, &there.transcript) {
            (Some((_, lines)), Some(part)) => same(part.held.as_deref(), (lines.content.length, lines.content.digest)),
            _ => false,
        };
        let side = own.side.len() == there.side.len()
            && own.side.iter().all(|(path, (_, side))| match (side, there.side.get(path).and_then(|part| part.held.as_deref())) {
                (Side::Whole(whole), Some(Held::Whole(other))) => whole == other,
                (side, held) => same(held, side.target()),
            });
        let alone = !seen.members[member].elsewhere.contains_key(&id);
        place && alone && transcript && side && own.unreadable.is_none() && there.closed.is_none()
    }

    fn presence_there(&self, id: SessionId, seen: &Seen, member: usize) -> Presence {
        let memory = || self.state.replicas.get(&seen.listing.replica?).filter(|_| seen.listing.files.iter().any(|file| file.path.part == Part::Transcript));
        let gone = || memory().and_then(|memory| memory.seen.get(&id)).cloned();
        if seen.listing.forgotten.contains(&id) {
            return Presence { forgotten: true, ..Presence::default() };
        }
        let there = &seen.members[member];
        if let Some(project) = there.elsewhere.get(&id) {
            return Presence { closed: Some(format!("lies in {project} there, which is no directory of this repository")), ..Presence::default() };
        }
        let Some(session) = there.sessions.get(&id) else {
            let live = seen.listing.live.iter().any(|live| live.session == id);
            return Presence { gone: gone(), live, ..Presence::default() };
        };
        let unread = session.transcript.as_ref().is_some_and(|part| part.held.is_none()).then(|| "older than the window, not read".to_owned());
        if let Some(closed) = session.closed.clone().or(unread) {
            return Presence { closed: Some(closed), ..Presence::default() };
        }
        let lines = session.transcript.as_ref().and_then(|part| match part.held.as_deref() {
            Some(Held::Lines { lines, .. }) => Some(Arc::clone(lines)),
            _ => None,
        });
        let side = session.side.iter().filter_map(|(path, part)| {
            let side = match part.held.as_deref()? {
                Held::Lines { lines, .. } => Side::Lines(lines.clone()),
                Held::Whole(whole) => Side::Whole(whole.clone()),
            };
            Some((path.clone(), side))
        });
        // A folder that stayed behind is no session.
        let gone = if lines.is_none() { gone() } else { None };
        Presence { transcript: lines, side: side.collect(), live: session.live, gone, ..Presence::default() }
    }

    /// What the report says of a plan before anything is done.
    fn tell(&mut self, _repository: &RepositoryId, group: &Group, plan: &GroupPlan) {
        for (id, planned) in &plan.sessions {
            let title = planned.winner.title.clone();
            if let Some(ahead) = (!planned.losers.is_empty()).then(|| self.ahead(&planned.winner)).flatten() {
                self.report.notes.push(format!("a copy won whose dates lie in the future: {id}, by {ahead} h; what lost is kept"));
            }
            for loser in &planned.losers {
                let lost_at = loser.members.iter().map(|member| group.members[*member].name.clone()).collect();
                let fork = loser.fork.as_ref().map(|fork| fork.id);
                self.report.conflicts.push(Conflict { session: *id, title: loser.lines.title.clone(), lost_at, fork });
            }
            for (index, (member, standing)) in group.members.iter().zip(&planned.standings).enumerate() {
                if *standing == Standing::Forgotten && !self.here.forgotten.has(*id) {
                    self.report.forgotten.push(Forgotten { at: member.name.clone(), session: *id, what: Forgetting::ByAnother });
                }
                if let Some((word, why)) = left(standing, if index == 0 { "here" } else { "there" }) {
                    self.report.left.push(Left { at: member.name.clone(), session: *id, title: title.clone(), word: word.to_owned(), why });
                }
            }
        }
        for (id, why) in &plan.unplanned {
            self.report.left.push(Left { at: "here".to_owned(), session: *id, title: None, word: "unproven".to_owned(), why: why.clone() });
        }
    }

    /// By how many hours the newest time in a content lies ahead of this machine's clock, if by more than clocks are off.
    fn ahead(&self, lines: &Lines) -> Option<i64> {
        let Moment(newest) = lines.content.newest_message.max(lines.content.newest)?;
        let hours = newest.saturating_sub(self.now.timestamp_micros()) / 3_600_000_000;
        (hours >= FAR_AHEAD).then_some(hours)
    }

    /// Installs here what the plans say. A plan whose losers cannot be kept first is not carried out.
    pub fn install_here(&mut self, planned: &mut [Planned], clock: SystemTime) {
        for planned in planned {
            let Planned { repository, group, plan, placement, actions, .. } = planned;
            let work = Work { repository, plan, group, sources: &self.sources, placement, at: self.now };
            if let Err(error) = work.secure(&mut self.here, actions) {
                self.report.disk = faults::of_disk(&error).or(self.report.disk.take());
                for (action, _) in actions.iter_mut() {
                    action.result = Some(ActionResult::Failed(format!("the vault cannot be written: {error}")));
                }
                continue;
            }
            install_here(&work, (&mut self.here, &mut self.state), actions, clock, &mut |error| {
                self.report.disk = faults::of_disk(error).or(self.report.disk.take());
            });
            self.report.unplaced.extend(placement.unplaced.iter().cloned());
            // Where a session is refused here, a far side's word does not make it belong anywhere.
            let refused = |id: &SessionId| plan.sessions.get(id).is_some_and(|planned| matches!(planned.standings.first(), Some(Standing::Closed(_))));
            for (id, below) in placement.below.iter().filter(|(id, _)| !refused(id)) {
                let place = crate::store::archive::Place { repository: repository.clone(), below: below.clone() };
                self.here.archive.saw(*id, None, Some(place));
            }
        }
    }

    /// What one visit is to take to its far replica: files, and for each the group and action it stands for.
    pub fn parcel(&self, planned: &mut [Planned], visit: usize, seen: &Seen) -> (Vec<PutFile>, Vec<(usize, usize)>) {
        let (mut files, mut meaning) = (Vec::new(), Vec::new());
        for (index, Planned { repository, far, group, plan, placement, actions }) in planned.iter_mut().enumerate() {
            let work = Work { repository, plan, group, sources: &self.sources, placement, at: self.now };
            let forks = Forks::lacking(actions, group);
            for (place, (action, step)) in actions.iter_mut().enumerate() {
                let Some((_, member)) = step.member.checked_sub(1).and_then(|far_member| far.get(far_member)).filter(|(of, _)| *of == visit) else { continue };
                action.result = action.result.take().or_else(|| work.premature(action, step, &forks));
                if action.result.is_some() {
                    continue;
                }
                let number = u32::try_from(files.len()).unwrap_or(u32::MAX);
                match work.to_send(seen, *member, number, action, step) {
                    Ok(file) => {
                        files.push(file);
                        meaning.push((index, place));
                    }
                    Err(why) => action.result = Some(ActionResult::Failed(why)),
                }
            }
        }
        (files, meaning)
    }
}

/// More bytes than the client's settings have.
const LONGEST_SETTINGS: u64 = 4 << 20;

/// `cleanupPeriodDays` of this machine's client.
#[must_use]
pub fn retention_here(here: &Here) -> Option<u32> {
    let text = read::small(&here.setting.claude.join("settings.json"), LONGEST_SETTINGS).ok()?;
    let settings: serde_json::Value = serde_json::from_slice(&text).ok()?;
    settings.get("cleanupPeriodDays")?.as_u64().and_then(|days| u32::try_from(days).ok())
}

/// The word and the reason for a member that is left alone; none where it is equal or about to be.
fn left(standing: &Standing, at: &str) -> Option<(&'static str, String)> {
    Some(match standing {
        Standing::Waiting(Some(bytes)) => ("waiting", format!("open in a client {at}; {bytes} bytes wait for it")),
        Standing::Waiting(None) => ("waiting", format!("open in a client {at}")),
        Standing::Deleted => ("deleted", format!("was deleted {at} and has not grown since")),
        Standing::Closed(why) => ("refused", why.clone()),
        Standing::Withheld => ("withheld", format!("the settings, or the lack of a clone, keep it from {at}")),
        _ => return None,
    })
}

/// The word for a standing, as `status` counts it.
#[must_use]
pub fn word(standing: &Standing, done: bool) -> &'static str {
    match standing {
        Standing::Equal => "equal",
        Standing::Missing | Standing::Behind(_) | Standing::Diverged if done => "equal",
        Standing::Missing => "missing",
        Standing::Behind(_) => "behind",
        Standing::Diverged => "diverged",
        Standing::Waiting(_) => "waiting",
        Standing::Older => "older",
        Standing::Silent => "silent",
        Standing::Deleted => "deleted",
        Standing::Forgotten => "forgotten",
        Standing::Closed(_) => "refused",
        Standing::Withheld => "withheld",
    }
}

/// The sessions whose transcript came to where it goes at a member.
#[must_use]
pub fn done_at(planned: &Planned, member: usize) -> BTreeSet<SessionId> {
    let transcripts = planned.actions.iter().filter(|(_, step)| step.member == member && step.part == Part::Transcript);
    transcripts.filter(|(action, _)| action.result == Some(ActionResult::Done)).map(|(action, _)| action.session).collect()
}
