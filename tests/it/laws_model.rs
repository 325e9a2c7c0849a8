//! A model of replicas for the laws of the plan: members as maps from id to bytes, on which a plan is carried out to the letter.
//! Whatever a plan may never do is an assertion here.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use claude_session_sync::reconcile::manifest::{Part, SessionId, SidePath};
use claude_session_sync::reconcile::order::Whole;
use claude_session_sync::reconcile::plan::{Member, Offer, Presence, SessionPlan, Side, Step, StepKind, Window, plan};
use claude_session_sync::reconcile::relation::Lines;
use claude_session_sync::reconcile::transcript::{Digest, Moment, Reader};

/// The session that all members may hold.
pub(crate) fn session() -> SessionId {
    "6f869d7b-ce51-4e00-8a05-674dde6aa368".parse().unwrap()
}

/// A side file of the model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct File {
    pub(crate) bytes: Vec<u8>,
    pub(crate) modified: i64,
}

/// One replica.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Replica {
    pub(crate) transcripts: BTreeMap<SessionId, Vec<u8>>,
    pub(crate) side: BTreeMap<(SessionId, SidePath), File>,
    /// Contents that were here once.
    pub(crate) seen: BTreeMap<SessionId, Vec<u8>>,
    pub(crate) live: BTreeSet<SessionId>,
    pub(crate) closed: bool,
    pub(crate) refuses: bool,
    /// Older messages create nothing here; seconds.
    pub(crate) oldest: i64,
    /// Everything that was displaced here.
    pub(crate) displaced: Vec<Vec<u8>>,
}

impl Replica {
    pub(crate) fn holding(bytes: &[u8]) -> Self {
        Self { transcripts: BTreeMap::from([(session(), bytes.to_vec())]), ..Self::default() }
    }

    pub(crate) fn main(&self) -> Option<&[u8]> {
        self.transcripts.get(&session()).map(Vec::as_slice)
    }

    fn presence(&self, id: SessionId, lengths: &BTreeSet<u64>) -> Presence {
        if self.closed {
            return Presence { closed: Some("closed".to_owned()), ..Presence::default() };
        }
        let transcript = self.transcripts.get(&id).map(|bytes| proved(bytes, lengths).into());
        let gone = self.seen.get(&id).filter(|_| transcript.is_none()).map(|bytes| proved(bytes, lengths).into());
        let of_session = self.side.iter().filter(|((of, _), _)| *of == id);
        let side = of_session.map(|((_, path), file)| (path.clone(), side_of(path, file, lengths))).collect();
        Presence { transcript, side, live: self.live.contains(&id), gone, ..Presence::default() }
    }

    /// Every complete line that lies here, in transcripts and in side files of lines.
    pub(crate) fn lines(&self) -> BTreeSet<Vec<u8>> {
        let side = self.side.iter().filter(|((_, path), _)| path.as_str().ends_with(".jsonl")).map(|(_, file)| &file.bytes);
        self.transcripts.values().chain(side).flat_map(|bytes| split(bytes)).collect()
    }
}

/// The complete lines of a content.
pub(crate) fn split(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")).map(<[u8]>::to_vec).collect()
}

/// A content without proofs of its beginnings.
pub(crate) fn lines_of(bytes: &[u8]) -> Lines {
    proved(bytes, &BTreeSet::new())
}

thread_local! {
    /// What was read once. A content is looked at thousands of times.
    static READ: RefCell<HashMap<Vec<u8>, Lines>> = RefCell::default();
}

/// A content with the digests of its beginnings of these lengths.
pub(crate) fn proved(bytes: &[u8], lengths: &BTreeSet<u64>) -> Lines {
    READ.with_borrow_mut(|read| {
        if !read.contains_key(bytes) {
            let mut reader = Reader::new([]).keeping_messages();
            reader.push(bytes);
            read.insert(bytes.to_vec(), Lines::of(reader.finish()));
        }
        let lines = read.get_mut(bytes).unwrap();
        for length in lengths.range(..lines.content.length).filter(|length| **length > 0) {
            lines.marks.entry(*length).or_insert_with(|| Digest::of(&bytes[..usize::try_from(*length).unwrap()]));
        }
        lines.clone()
    })
}

fn side_of(path: &SidePath, file: &File, lengths: &BTreeSet<u64>) -> Side {
    if path.as_str().ends_with(".jsonl") {
        Side::Lines(proved(&file.bytes, lengths).into())
    } else {
        Side::Whole(Whole { modified: file.modified, length: file.bytes.len() as u64, digest: Digest::of(&file.bytes) })
    }
}

/// Plans these members (indices into `world`) as one group and carries the plan out. Gives the number of steps.
pub(crate) fn pass(world: &mut [Replica], members: &[usize]) -> usize {
    let ids: BTreeSet<SessionId> = members.iter().flat_map(|member| world[*member].transcripts.keys().copied()).collect();
    let mut plans: BTreeMap<SessionId, SessionPlan> = BTreeMap::new();
    let mut bytes: BTreeMap<Digest, Vec<u8>> = BTreeMap::new();
    for member in members {
        let replica = &world[*member];
        for content in replica.transcripts.values().chain(replica.seen.values()).chain(replica.side.values().map(|file| &file.bytes)) {
            let complete = split(content).concat();
            bytes.insert(Digest::of(&complete), complete);
            bytes.insert(Digest::of(content), content.clone());
        }
    }
    let group: Vec<Member> = members.iter().map(|member| of(&world[*member])).collect();
    let mut lengths: BTreeSet<u64> = bytes.values().map(|content| content.len() as u64).collect();
    let presences = |id: SessionId, lengths: &BTreeSet<u64>| members.iter().map(|member| world[*member].presence(id, lengths)).collect::<Vec<_>>();
    let mut offers = Vec::new();
    for id in ids {
        let Some(planned) = plan(id, &group, &presences(id, &lengths), None).unwrap() else { continue };
        for loser in &planned.losers {
            let Some(fork) = &loser.fork else { continue };
            for member in &loser.members {
                let replica = &world[members[*member]];
                assert!(!replica.live.contains(&id) && !replica.closed, "a fork of a copy that is open or closed");
            }
            let content = [bytes[&loser.lines.content.digest].clone(), fork.title_line.clone()].concat();
            offers.push((fork.id, content.clone(), loser.members.clone()));
            bytes.insert(Digest::of(&content), content);
        }
        plans.insert(id, planned);
    }
    lengths.extend(offers.iter().map(|(_, content, _)| content.len() as u64));
    for (id, content, at) in offers {
        let offer = Offer { lines: proved(&content, &lengths).into(), at };
        if let Some(planned) = plan(id, &group, &presences(id, &lengths), Some(&offer)).unwrap() {
            plans.insert(id, planned);
        }
    }
    let mut steps = 0;
    for (id, planned) in plans {
        for step in planned.steps {
            carry_out(&mut world[members[step.member]], id, &step, &bytes[&step.target.digest]);
            steps += 1;
        }
    }
    steps
}

fn of(replica: &Replica) -> Member {
    let oldest = Moment(replica.oldest * 1_000_000);
    Member { name: String::new(), accepts: !replica.refuses, window: Window { chosen: oldest, retention: oldest } }
}

fn carry_out(replica: &mut Replica, id: SessionId, step: &Step, new: &[u8]) {
    assert!(!replica.live.contains(&id), "a step against an open session: {step:?}");
    assert!(!replica.closed && !replica.refuses, "a step against a member that takes nothing: {step:?}");
    assert_eq!(new.len() as u64, step.target.length);
    let old = match &step.part {
        Part::Transcript => replica.transcripts.insert(id, new.to_vec()),
        Part::Side(path) => {
            let file = File { bytes: new.to_vec(), modified: step.target.modified.unwrap_or(0) };
            replica.side.insert((id, path.clone()), file).map(|file| file.bytes)
        }
    };
    match (step.kind, &old) {
        (StepKind::Create, None) => {}
        (StepKind::Advance(length), Some(old)) => {
            assert_eq!(split(old).concat().len() as u64, length);
            assert!(new.starts_with(&new[..usize::try_from(length).unwrap()]) && new.starts_with(&split(old).concat()), "an advance that drops lines");
        }
        (StepKind::Replace, Some(_)) => {}
        (kind, old) => panic!("{kind:?} where {} is", old.as_ref().map_or("nothing", |_| "something")),
    }
    if step.part == Part::Transcript {
        replica.seen.insert(id, new.to_vec());
    }
    replica.displaced.extend(old);
}

/// Passes over these groups, again and again, until a whole round of them has no step.
pub(crate) fn settle(world: &mut [Replica], groups: &[Vec<usize>]) {
    for _ in 0..20 {
        if groups.iter().map(|members| pass(world, members)).sum::<usize>() == 0 {
            return;
        }
    }
    panic!("the members never come to rest");
}

/// The laptop, which is member 0, with one other at a time, in this order.
pub(crate) fn pairs(order: &[usize]) -> Vec<Vec<usize>> {
    order.iter().map(|other| vec![0, *other]).collect()
}

/// A line of the model: `user` at that second, or metadata without a time.
pub(crate) fn line(kind: &str, second: Option<i64>, word: &str) -> Vec<u8> {
    let time = second.map_or_else(String::new, |second| {
        let time = chrono::DateTime::from_timestamp(second, 0).unwrap();
        format!(r#""timestamp":"{}","#, time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
    });
    format!("{{\"type\":\"{kind}\",{time}\"word\":\"{word}\"}}\n").into_bytes()
}
