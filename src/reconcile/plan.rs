//! From what all members of a repository's group hold of one session to what should happen: one winner, everywhere.
//!
//! Promises: the plan is a value. It never names a step against a copy that is open, that was not read, or whose user does
//! not want it; it creates nothing that was deleted there and has not grown since; every copy that a step displaces and that
//! is no prefix of the winner is named as a loser, and as a fork if it holds messages of its own.
//! Never: a decision by member position, modification time of a transcript, or memory.
//!
//! A deletion stands until growth shows. What is longer than what was deleted has grown, whatever it begins with. What is shorter has
//! not, if it is the beginning of that, nor if no byte of that is left to tell: it stays listed as deleted, and its user can take it
//! back. The opposite would bring back what somebody deleted whenever its bytes went, too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use litemap::LiteMap;

use super::fork::{Fork, fork};
use super::manifest::{Part, SessionId, SidePath, Stamp};
use super::order::{Whole, rank};
use super::relation::{Lines, Relation, Unproven, relate};
use super::transcript::{Content, Digest, MOST_MESSAGES, Moment};

/// A replica that has the repository, as the plan needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What people call it.
    pub name: String,
    /// Whether anything may be installed there.
    pub accepts: bool,
    /// How new a session must be to be created there.
    pub window: Window,
}

/// A session is created only if its newest message is younger than both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Now less the days that the user chose.
    pub chosen: Moment,
    /// Now less that side's retention period, plus a day.
    pub retention: Moment,
}

/// A side file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// Append-only lines.
    Lines(Arc<Lines>),
    /// Anything else.
    Whole(Whole),
}

impl Side {
    /// Bytes and digest of what would be installed.
    #[must_use]
    pub fn target(&self) -> (u64, Digest) {
        match self {
            Self::Lines(lines) => (lines.content.length, lines.content.digest),
            Self::Whole(whole) => (whole.length, whole.digest),
        }
    }
}

/// What one member holds of one session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Presence {
    /// Its transcript.
    pub transcript: Option<Arc<Lines>>,
    /// Its side files.
    pub side: LiteMap<SidePath, Side>,
    /// A client has it open.
    pub live: bool,
    /// It was here once, as this, and is gone.
    pub gone: Option<Arc<Lines>>,
    /// Why nothing is to be done here.
    pub closed: Option<String>,
    /// It was forgotten here by its user, from another machine: as if this member never had it, and it is not to come back.
    pub forgotten: bool,
}

/// A content that is to be had although no member need hold it: a new fork.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The content.
    pub lines: Arc<Lines>,
    /// Members where its origin lay: created there however old its messages are, if the retention period allows.
    pub at: BTreeSet<usize>,
}

/// One file to install at one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Index of the member.
    pub member: usize,
    /// Which file.
    pub part: Part,
    /// How.
    pub kind: StepKind,
    /// What will be there.
    pub target: Target,
}

impl Step {
    /// The target where it takes the place of a file. Lines never make that file look older than it is: its user opened it since its newest
    /// message, and the client keeps sessions for so long after their time.
    #[must_use]
    pub fn target_over(&self, stamp: Stamp) -> Target {
        let time = self.part.is_lines().then(|| stamp.modified.div_euclid(1_000_000_000));
        Target { modified: self.target.modified.max(time), ..self.target }
    }
}

/// How a file comes to its new content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// There is none.
    Create,
    /// What is there is a prefix, this long.
    Advance(u64),
    /// What is there is displaced.
    Replace,
}

/// The content that a step installs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Bytes.
    pub length: u64,
    /// Their SHA-256.
    pub digest: Digest,
    /// Modification time to carry, seconds since 1970.
    pub modified: Option<i64>,
}

impl Target {
    fn of_lines(content: &Content) -> Self {
        Self { length: content.length, digest: content.digest, modified: content.newest_message.or(content.newest).map(Moment::seconds) }
    }

    /// What is installed where this side file wins.
    #[must_use]
    pub fn of(side: &Side) -> Self {
        match side {
            Side::Lines(lines) => Self::of_lines(&lines.content),
            Side::Whole(whole) => Self { length: whole.length, digest: whole.digest, modified: Some(whole.modified) },
        }
    }
}

/// How a member stands to the winner before the steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Holds the winner.
    Equal,
    /// Will be created.
    Missing,
    /// Is a prefix, this many bytes short.
    Behind(u64),
    /// Holds a copy that lost.
    Diverged,
    /// Open in a client, so left alone; this many bytes short, or none of the winner's if it diverged.
    Waiting(Option<u64>),
    /// Not there, and older than the window.
    Older,
    /// Not there, and without a message that could be resumed.
    Silent,
    /// Deleted there, and not grown since.
    Deleted,
    /// Forgotten there by its user, from another machine.
    Forgotten,
    /// Not to be touched, for this reason.
    Closed(String),
    /// The user does not want anything installed there; it is not equal.
    Withheld,
}

/// A copy that lost against the winner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loser {
    /// The copy.
    pub lines: Arc<Lines>,
    /// Who holds it.
    pub members: BTreeSet<usize>,
    /// The session it becomes.
    pub fork: Option<Fork>,
}

/// What should happen to one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPlan {
    /// The session.
    pub session: SessionId,
    /// The winner's content.
    pub winner: Arc<Lines>,
    /// One per member.
    pub standings: Vec<Standing>,
    /// In the order of installation: side files before their transcript.
    pub steps: Vec<Step>,
    /// Side files whose copies diverged: their displaced bytes go to the vault.
    pub losers: Vec<Loser>,
}

/// Plans one session over all members. None where nobody holds a transcript of it.
///
/// # Errors
/// When a prefix that must be compared was not hashed.
pub fn plan(session: SessionId, members: &[Member], presences: &[Presence], offer: Option<&Offer>) -> Result<Option<SessionPlan>, Unproven> {
    let held = presences.iter().filter_map(|presence| presence.transcript.as_ref());
    let Some(winner) = held.chain(offer.map(|offer| &offer.lines)).max_by_key(|lines| rank(&lines.content)).cloned() else { return Ok(None) };
    let mut standings = Vec::with_capacity(members.len());
    for (index, (member, presence)) in members.iter().zip(presences).enumerate() {
        let promised = offer.is_some_and(|offer| offer.at.contains(&index));
        standings.push(standing(member, presence, &winner, promised)?);
    }
    let mut steps = side_steps(presences, members, &standings)?;
    for (index, standing) in standings.iter().enumerate() {
        let kind = match standing {
            Standing::Missing => StepKind::Create,
            Standing::Behind(_) => StepKind::Advance(presences[index].transcript.as_ref().map_or(0, |lines| lines.content.length)),
            Standing::Diverged => StepKind::Replace,
            _ => continue,
        };
        steps.push(Step { member: index, part: Part::Transcript, kind, target: Target::of_lines(&winner.content) });
    }
    // Mostly there is one, and ten thousand plans are held together.
    steps.shrink_to_fit();
    let losers = losers(session, &winner, presences)?;
    Ok(Some(SessionPlan { session, winner, standings, steps, losers }))
}

fn standing(member: &Member, presence: &Presence, winner: &Lines, promised: bool) -> Result<Standing, Unproven> {
    if presence.forgotten {
        return Ok(Standing::Forgotten);
    }
    if let Some(reason) = &presence.closed {
        return Ok(Standing::Closed(reason.clone()));
    }
    let Some(held) = &presence.transcript else { return missing(member, presence, winner, promised) };
    let short = winner.content.length.saturating_sub(held.content.length);
    Ok(match relate(held, winner)? {
        Relation::Equal => Standing::Equal,
        relation if presence.live => Standing::Waiting((relation == Relation::Behind).then_some(short)),
        _ if !member.accepts => Standing::Withheld,
        Relation::Behind => Standing::Behind(short),
        // The order extends the prefix order, so nobody is ahead of the winner.
        Relation::Ahead | Relation::Diverged => Standing::Diverged,
    })
}

fn missing(member: &Member, presence: &Presence, winner: &Lines, promised: bool) -> Result<Standing, Unproven> {
    if let Some(gone) = &presence.gone {
        let relation = match relate(winner, gone) {
            // No byte of it is left to tell whether this is its beginning.
            Err(_) if gone.content.length > winner.content.length => Relation::Behind,
            relation => relation?,
        };
        if matches!(relation, Relation::Equal | Relation::Behind) {
            return Ok(Standing::Deleted);
        }
    }
    let Some(spoken) = winner.content.newest_message else { return Ok(Standing::Silent) };
    let young = spoken > member.window.retention && (promised || spoken > member.window.chosen);
    Ok(match young {
        false => Standing::Older,
        // A live entry without a transcript: a client is about to write it.
        true if presence.live => Standing::Waiting(None),
        true if !member.accepts => Standing::Withheld,
        true => Standing::Missing,
    })
}

/// Copies that are no prefix of the winner. Of several that extend one another, only the longest is forked; none that is
/// open somewhere, because it may still grow.
fn losers(session: SessionId, winner: &Lines, presences: &[Presence]) -> Result<Vec<Loser>, Unproven> {
    let mut losers: Vec<Loser> = Vec::new();
    for (index, presence) in presences.iter().enumerate() {
        let Some(held) = presence.transcript.as_ref() else { continue };
        if relate(held, winner)? != Relation::Diverged {
            continue;
        }
        match losers.iter_mut().find(|loser| loser.lines.content.digest == held.content.digest) {
            Some(loser) => drop(loser.members.insert(index)),
            None => losers.push(Loser { lines: held.clone(), members: BTreeSet::from([index]), fork: None }),
        }
    }
    let mut forks = Vec::new();
    for loser in &losers {
        let mut covered = false;
        for other in &losers {
            covered |= relate(&loser.lines, &other.lines)? == Relation::Behind;
        }
        let open = loser.members.iter().any(|member| presences[*member].live || presences[*member].closed.is_some());
        let many = loser.lines.messages.len() >= MOST_MESSAGES;
        let own = many || loser.lines.messages.iter().any(|message| !winner.messages.contains(message));
        forks.push((own && !covered && !open).then(|| fork(session, &loser.lines)));
    }
    for (loser, fork) in losers.iter_mut().zip(forks) {
        loser.fork = fork;
    }
    losers.sort_by_key(|loser| loser.lines.content.digest);
    Ok(losers)
}

/// Side files go where the transcript is or comes to be; the union of all members, nothing removed.
fn side_steps(presences: &[Presence], members: &[Member], standings: &[Standing]) -> Result<Vec<Step>, Unproven> {
    let mut paths: BTreeMap<String, &SidePath> = BTreeMap::new();
    for path in presences.iter().flat_map(|presence| presence.side.keys()) {
        // Two names that a case-insensitive volume folds into one: the first of them is carried.
        let first = paths.entry(path.as_str().to_ascii_lowercase()).or_insert(path);
        *first = (*first).min(path);
    }
    let mut steps = Vec::new();
    for path in paths.into_values() {
        let Some(winner) = side_winner(path, presences) else { continue };
        for (index, presence) in presences.iter().enumerate() {
            let comes = matches!(standings[index], Standing::Equal | Standing::Missing | Standing::Behind(_) | Standing::Diverged);
            if !comes || presence.live || !members[index].accepts {
                continue;
            }
            let kind = match (presence.side.get(path), winner) {
                (None, _) => StepKind::Create,
                (Some(held), _) if held == winner => continue,
                (Some(Side::Lines(held)), Side::Lines(winner)) => match relate(held, winner)? {
                    Relation::Equal => continue,
                    Relation::Behind => StepKind::Advance(held.content.length),
                    Relation::Ahead | Relation::Diverged => StepKind::Replace,
                },
                (Some(_), _) => StepKind::Replace,
            };
            steps.push(Step { member: index, part: Part::Side(path.clone()), kind, target: Target::of(winner) });
        }
    }
    Ok(steps)
}

fn side_winner<'a>(path: &SidePath, presences: &'a [Presence]) -> Option<&'a Side> {
    let held = || presences.iter().filter_map(|presence| presence.side.get(path));
    let lines = held().filter(|side| matches!(side, Side::Lines(lines) if lines.content.length > 0));
    let line_winner = lines.max_by_key(|side| match side {
        Side::Lines(lines) => Some(rank(&lines.content)),
        Side::Whole(_) => None,
    });
    line_winner.or_else(|| {
        held().filter(|side| matches!(side, Side::Whole(_))).max_by(|a, b| match (a, b) {
            (Side::Whole(a), Side::Whole(b)) => a.cmp(b),
            _ => std::cmp::Ordering::Equal,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::transcript::Reader;

    /// A content with the digests of its beginnings of these lengths.
    fn content(text: &str, marks: &[u64]) -> Lines {
        let mut reader = Reader::new(marks.iter().copied());
        reader.push(text.as_bytes());
        Lines::of(reader.finish())
    }

    #[test]
    fn a_deletion_whose_bytes_are_gone_stands_until_something_longer_shows_growth() {
        let said = |second: u32| format!("{{\"type\":\"user\",\"timestamp\":\"2025-06-01T10:00:{second:02}Z\"}}\n");
        let (begun, deleted) = (said(1), said(1) + &said(2));
        let (grown, apart) = (said(1) + &said(2) + &said(3), said(4));
        let member = |name: &str| {
            let window = Window { chosen: Moment(0), retention: Moment(0) };
            Member { name: name.to_owned(), accepts: true, window }
        };
        let standing = |winner: &str, gone: Lines| {
            let holder = Presence { transcript: Some(Arc::new(content(winner, &[gone.content.length]))), ..Presence::default() };
            let deleter = Presence { gone: Some(Arc::new(gone)), ..Presence::default() };
            let session = "6f869d7b-ce51-4e00-8a05-674dde6aa368".parse().unwrap();
            plan(session, &[member("a"), member("b")], &[holder, deleter], None).map(|planned| planned.unwrap().standings[1].clone())
        };
        let bare = || Lines::bare(deleted.len() as u64, Digest::of(deleted.as_bytes()));
        let proved = |winner: &str| content(&deleted, &[winner.len() as u64]);
        for gone in [bare(), proved(&begun)] {
            assert_eq!(standing(&begun, gone), Ok(Standing::Deleted), "what is left elsewhere is its beginning, for all that is known");
        }
        assert_eq!(standing(&deleted, bare()), Ok(Standing::Deleted), "it is the same");
        assert_eq!(standing(&grown, bare()), Ok(Standing::Missing), "it grew elsewhere");
        assert_eq!(standing(&apart, proved(&apart)), Ok(Standing::Missing), "it is shown to be another continuation");
        assert_eq!(standing(&apart, bare()), Ok(Standing::Deleted), "it cannot be shown to be one");
    }
}
