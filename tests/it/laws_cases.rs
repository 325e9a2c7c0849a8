//! The plan alone, on its own terms: any members, any presences, an offer or none, a million times. What a plan must be is said in
//! words (a content is a list of them), so that nothing here asks the code that is judged.
//!
//! `CLAUDE_SESSION_SYNC_PLANS` says how many, `CLAUDE_SESSION_SYNC_SEED` the first seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use claude_session_sync::reconcile::manifest::{Part, SidePath};
use claude_session_sync::reconcile::order::Whole;
use claude_session_sync::reconcile::plan::{Loser, Member, Offer, Presence, SessionPlan, Side, Standing, Step, StepKind, Window, plan};
use claude_session_sync::reconcile::relation::Lines;
use claude_session_sync::reconcile::transcript::{Digest, Moment};

use crate::dice::Dice;
use crate::figures::figure;
use crate::laws_model::{line, proved, session};

const PLANS: u64 = 100_000;
const LONGEST: usize = 4;
/// Bytes of a line.
const LINE: usize = 80;
const SECOND: i64 = 1_000_000;

/// Numbers of words, in their order.
type Words = Vec<usize>;

/// The vocabulary: a word, its second, and whether it is a message.
const WORDS: [(&str, Option<i64>, &str); 6] =
    [("user", Some(10), "a"), ("user", Some(20), "b"), ("assistant", Some(20), "c"), ("system", Some(30), "d"), ("mode", None, "e"), ("user", Some(40), "f")];

/// The line of a word. All are equally long, so that few beginnings need a digest.
fn text(word: usize) -> Vec<u8> {
    let (kind, second, name) = WORDS[word];
    let bare = line(kind, second, name).len();
    line(kind, second, &name.repeat(1 + LINE - bare))
}

fn is_message(word: usize) -> bool {
    ["user", "assistant"].contains(&WORDS[word].0)
}

/// Every content of the vocabulary, read once.
struct Shelf(BTreeMap<Words, Arc<Lines>>);

impl Shelf {
    fn new() -> Self {
        let lines: Vec<Vec<u8>> = (0..WORDS.len()).map(text).collect();
        let mut all: Vec<(Words, Vec<u8>)> = vec![(Words::new(), Vec::new())];
        let mut last = all.clone();
        for _ in 0..LONGEST {
            let longer = |(words, bytes): &(Words, Vec<u8>)| {
                let (words, bytes) = (words.clone(), bytes.clone());
                lines.iter().enumerate().map(move |(word, line)| ([&words[..], &[word]].concat(), [&bytes[..], line].concat())).collect::<Vec<_>>()
            };
            last = last.iter().flat_map(longer).collect();
            all.extend(last.clone());
        }
        let lengths: BTreeSet<u64> = all.iter().map(|(_, bytes)| bytes.len() as u64).collect();
        Self(all.into_iter().map(|(words, bytes)| (words, proved(&bytes, &lengths).into())).collect())
    }

    fn lines(&self, words: &[usize]) -> Arc<Lines> {
        Arc::clone(&self.0[words])
    }

    fn digest(&self, words: &[usize]) -> Digest {
        self.0[words].content.digest
    }

    /// Newest message, newest line, length, digest.
    fn place(&self, words: &[usize]) -> (Option<i64>, Option<i64>, usize, Digest) {
        let newest = |counts: fn(usize) -> bool| words.iter().filter(|word| counts(**word)).filter_map(|word| WORDS[*word].1).max();
        (newest(is_message), newest(|_| true), words.len(), self.digest(words))
    }
}

/// What one member holds, in words.
#[derive(Debug, Clone, Default)]
struct Says {
    transcript: Option<Words>,
    side: Option<Words>,
    whole: Option<Whole>,
    gone: Option<Words>,
    live: bool,
    closed: bool,
    forgotten: bool,
    accepts: bool,
    chosen: i64,
    retention: i64,
    promised: bool,
}

/// One case.
#[derive(Debug, Clone)]
struct Case {
    members: Vec<Says>,
    offer: Option<Words>,
}

fn side_path() -> SidePath {
    "subagents/agent-0a.jsonl".parse().unwrap()
}

fn whole_path() -> SidePath {
    "tool-results/a.txt".parse().unwrap()
}

impl Dice {
    /// True in so many of a hundred cases.
    fn percent(&mut self, chance: u64) -> bool {
        self.roll(100) < chance
    }
}

impl Case {
    fn of(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let trunk: Words = (0..LONGEST).map(|_| dice.below(WORDS.len())).collect();
        let content = |dice: &mut Dice| {
            let shared = dice.below(LONGEST + 1);
            let own = dice.below(LONGEST - shared + 1);
            let own: Words = (0..own).map(|_| dice.below(WORDS.len())).collect();
            [&trunk[..shared], &own].concat()
        };
        let members = (0..=dice.below(5)).map(|_| {
            let closed = dice.percent(10);
            let transcript = (!closed && dice.percent(80)).then(|| content(&mut dice));
            let gone = (!closed && transcript.is_none() && dice.percent(50)).then(|| content(&mut dice));
            let whole = Whole { modified: dice.below(3) as i64, length: 1 + dice.roll(2), digest: Digest::of(&[dice.below(3) as u8]) };
            Says {
                side: (!closed && dice.percent(30)).then(|| content(&mut dice)),
                whole: (!closed && dice.percent(30)).then_some(whole),
                live: !closed && dice.percent(15),
                forgotten: !closed && transcript.is_none() && dice.percent(10),
                accepts: dice.percent(85),
                chosen: [0, 15, 25][dice.below(3)],
                retention: [0, 15, 25][dice.below(3)],
                promised: dice.percent(50),
                transcript,
                gone,
                closed,
            }
        });
        let members = members.collect();
        Self { members, offer: dice.percent(20).then(|| content(&mut dice)) }
    }

    fn plan(&self, shelf: &Shelf) -> Option<SessionPlan> {
        let moment = |seconds: i64| Moment(seconds * SECOND);
        let member = |says: &Says| Member {
            name: String::new(),
            accepts: says.accepts,
            window: Window { chosen: moment(says.chosen), retention: moment(says.retention) },
        };
        let presence = |says: &Says| {
            let side = says.side.iter().map(|words| (side_path(), Side::Lines(shelf.lines(words))));
            Presence {
                transcript: says.transcript.as_deref().map(|words| shelf.lines(words)),
                side: side.chain(says.whole.iter().map(|whole| (whole_path(), Side::Whole(whole.clone())))).collect(),
                live: says.live,
                gone: says.gone.as_deref().map(|words| shelf.lines(words)),
                closed: says.closed.then(|| "closed".to_owned()),
                forgotten: says.forgotten,
            }
        };
        let promised = |(index, says): (usize, &Says)| says.promised.then_some(index);
        let offer = self.offer.as_deref().map(|words| Offer { lines: shelf.lines(words), at: self.members.iter().enumerate().filter_map(promised).collect() });
        let (members, presences): (Vec<_>, Vec<_>) = self.members.iter().map(|says| (member(says), presence(says))).unzip();
        plan(session(), &members, &presences, offer.as_ref()).expect("every beginning is proved")
    }

    /// All that a plan must be.
    fn judge(&self, shelf: &Shelf) {
        let held: Vec<&Words> = self.members.iter().filter_map(|says| says.transcript.as_ref()).chain(&self.offer).collect();
        let Some(winner) = held.iter().max_by_key(|words| shelf.place(words)) else {
            assert_eq!(self.plan(shelf), None);
            return;
        };
        let planned = self.plan(shelf).expect("somebody holds it");
        assert_eq!(planned.winner.content.digest, shelf.digest(winner), "law 3: another winner");
        let transcripts: Vec<&Step> = planned.steps.iter().filter(|step| step.part == Part::Transcript).collect();
        for (index, says) in self.members.iter().enumerate() {
            let steps: Vec<&&Step> = transcripts.iter().filter(|step| step.member == index).collect();
            let expected = self.step(says, winner);
            assert_eq!(steps.iter().map(|step| step.kind).collect::<Vec<_>>(), Vec::from_iter(expected), "member {index}");
            assert!(steps.iter().all(|step| step.target.digest == planned.winner.content.digest));
            let untouchable = says.live || says.closed || says.forgotten || !says.accepts;
            assert!(!untouchable || planned.steps.iter().all(|step| step.member != index), "law 5, 6: member {index} is touched");
            let order: Vec<bool> = planned.steps.iter().filter(|step| step.member == index).map(|step| step.part == Part::Transcript).collect();
            assert!(order.is_sorted(), "the transcript comes before a side file");
        }
        self.judge_losers(shelf, winner, &planned.losers);
        self.judge_side_files(shelf, &planned);
        self.judge_order(shelf, &planned);
        self.judge_rest(shelf, &planned);
    }

    /// What is to be done to the transcript of a member.
    fn step(&self, says: &Says, winner: &Words) -> Option<StepKind> {
        if says.live || says.closed || says.forgotten || !says.accepts {
            return None;
        }
        let Some(held) = &says.transcript else {
            let grown = says.gone.as_ref().is_none_or(|gone| !gone.starts_with(winner));
            let newest = winner.iter().filter(|word| is_message(**word)).filter_map(|word| WORDS[*word].1).max();
            let promised = self.offer.is_some() && says.promised;
            let young = newest.is_some_and(|newest| newest > says.retention && (promised || newest > says.chosen));
            return (grown && young).then_some(StepKind::Create);
        };
        match (held == winner, winner.starts_with(held)) {
            (true, _) => None,
            (false, true) => Some(StepKind::Advance((held.len() * LINE) as u64)),
            (false, false) => Some(StepKind::Replace),
        }
    }

    /// Law 4: each copy that is no beginning of the winner is named, and is a fork if it has messages of its own, rests, and is the
    /// longest of its kind.
    fn judge_losers(&self, shelf: &Shelf, winner: &Words, losers: &[Loser]) {
        let mut expected: BTreeMap<&Words, BTreeSet<usize>> = BTreeMap::new();
        for (index, says) in self.members.iter().enumerate() {
            if let Some(held) = says.transcript.as_ref().filter(|held| !winner.starts_with(held)) {
                expected.entry(held).or_default().insert(index);
            }
        }
        let forked = |words: &Words, members: &BTreeSet<usize>| {
            let own = words.iter().filter(|word| is_message(**word)).any(|word| !winner.contains(word));
            let covered = expected.keys().any(|other| *other != words && other.starts_with(words));
            own && !covered && members.iter().all(|member| !self.members[*member].live)
        };
        let expected: BTreeSet<_> = expected.iter().map(|(words, members)| (shelf.digest(words), members.clone(), forked(words, members))).collect();
        let told: BTreeSet<_> = losers.iter().map(|loser| (loser.lines.content.digest, loser.members.clone(), loser.fork.is_some())).collect();
        assert_eq!((told.len(), &told), (losers.len(), &expected), "law 4");
    }

    /// Side files become the union, where the session is or comes to be, and nothing is installed over a better one.
    fn judge_side_files(&self, shelf: &Shelf, planned: &SessionPlan) {
        let has = |standing: &Standing| matches!(standing, Standing::Equal | Standing::Missing | Standing::Behind(_) | Standing::Diverged);
        let lines = self.members.iter().filter_map(|says| says.side.as_ref()).filter(|words| !words.is_empty()).max_by_key(|words| shelf.place(words));
        let whole = self.members.iter().filter_map(|says| says.whole.as_ref()).max();
        for (index, says) in self.members.iter().enumerate() {
            let open = has(&planned.standings[index]) && !says.live && says.accepts;
            let lines = lines.filter(|words| open && says.side.as_ref() != Some(words)).map(|words| shelf.digest(words));
            let whole = whole.filter(|whole| open && says.whole.as_ref() != Some(whole)).map(|whole| whole.digest);
            for (path, expected) in [(side_path(), lines), (whole_path(), whole)] {
                let part = Part::Side(path);
                let told = planned.steps.iter().filter(|step| step.member == index && step.part == part).map(|step| step.target.digest);
                assert_eq!(told.collect::<Vec<_>>(), Vec::from_iter(expected), "{part:?} at member {index}");
            }
        }
    }

    /// Nothing depends on who is which.
    fn judge_order(&self, shelf: &Shelf, planned: &SessionPlan) {
        let mut turned = self.clone();
        turned.members.reverse();
        let back = |member: usize| self.members.len() - 1 - member;
        let mut other = turned.plan(shelf).unwrap();
        other.standings.reverse();
        other.steps.iter_mut().for_each(|step| step.member = back(step.member));
        other.losers.iter_mut().for_each(|loser| loser.members = loser.members.iter().map(|member| back(*member)).collect());
        let steps = |plan: &SessionPlan| {
            let mut steps = plan.steps.clone();
            steps.sort_by_key(|step| (step.member, step.part.clone(), step.target.digest));
            steps
        };
        assert_eq!((&other.winner, &other.standings, &other.losers, steps(&other)), (&planned.winner, &planned.standings, &planned.losers, steps(planned)));
    }

    /// Once it is carried out there is nothing left to do.
    fn judge_rest(&self, shelf: &Shelf, planned: &SessionPlan) {
        let mut done = self.clone();
        let wholes: Vec<Whole> = self.members.iter().filter_map(|says| says.whole.clone()).collect();
        for step in &planned.steps {
            let says = &mut done.members[step.member];
            match &step.part {
                Part::Transcript => says.transcript = self.held(shelf, step.target.digest),
                Part::Side(path) if *path == side_path() => says.side = self.held(shelf, step.target.digest),
                Part::Side(_) => says.whole = wholes.iter().filter(|whole| whole.digest == step.target.digest).max().cloned(),
            }
        }
        let again = done.plan(shelf).unwrap();
        assert!(again.steps.is_empty(), "law 9: {again:?}");
    }

    fn held(&self, shelf: &Shelf, digest: Digest) -> Option<Words> {
        let all = self.members.iter().flat_map(|says| [&says.transcript, &says.side]).flatten().chain(&self.offer);
        all.into_iter().find(|words| shelf.digest(words) == digest).cloned()
    }
}

#[test]
fn every_plan_of_a_million_is_what_the_laws_say() {
    let variable = |name: &str, usual: u64| std::env::var(name).map_or(usual, |value| value.parse().unwrap());
    let (count, first) = (variable("CLAUDE_SESSION_SYNC_PLANS", PLANS), variable("CLAUDE_SESSION_SYNC_SEED", 1));
    let next = AtomicU64::new(first);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let shelf = Shelf::new();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let case = Case::of(seed);
                    let judged = std::panic::catch_unwind(|| case.judge(&shelf));
                    assert!(judged.is_ok(), "seed {seed}: {case:?}");
                }
            });
        }
    });
    figure(&format!("{count} plans, seeds {first} to {}", first + count - 1));
}
