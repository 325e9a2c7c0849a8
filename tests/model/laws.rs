//! The laws, one by one, once everybody rests and nothing disturbs a pass any more.

use std::collections::{BTreeMap, BTreeSet};

use claude_session_sync::reconcile::fork::fork;
use claude_session_sync::reconcile::manifest::{Part, SessionId};
use claude_session_sync::reconcile::relation::Lines;
use claude_session_sync::reconcile::report::{ActionResult, Left, Outcome, Report};
use claude_session_sync::reconcile::transcript::Reader;
use sha2::{Digest as _, Sha256};

use crate::history::Way;
use crate::known::{Broken, broken, transcripts};
use crate::lines::{complete, fork_id, messages, moments, newest_message, rank, split};
use crate::place::{Files, Place};
use crate::play::Play;
use crate::told::told;
use crate::window::without;

/// Two clean passes with everybody at rest, then the laws.
pub(crate) fn at_rest(play: &mut Play<'_>) -> Result<(), Broken> {
    play.world.places.iter_mut().for_each(Place::rest);
    play.world.skews.fill(0);
    await_rest(play);
    let all: Vec<usize> = play.world.far().collect();
    let mut start = play.files();
    let mut unread = play.unread(&start);
    // What is not read because nobody knows it here, by its stamp, is read once another copy of it was.
    let read = |at: usize, session| transcripts(&start[at]).any(|(lies, _)| lies == session) && !unread[at].contains(&session);
    if unread.iter().flatten().any(|session| all.iter().any(|at| read(*at, *session))) {
        start = play.pass(&start, &all, Way::Both, None)?.1;
        unread = play.unread(&start);
    }
    let unread: BTreeSet<SessionId> = unread.into_iter().flatten().collect();
    let last = play.known.last.clone();
    let (first, healed) = play.pass(&start, &all, Way::Both, None)?;
    told(play, format_args!("the first clean pass: {first:?}"));
    went_well(first, &unread)?;
    second_pass(play, &all, &healed, &unread)?;
    left_alone(&unread, &start, &healed)?;
    let start: Vec<Files> = start.iter().map(|files| without(files, &unread)).collect();
    let read: Vec<Files> = healed.iter().map(|files| without(files, &unread)).collect();
    let (expected, vault) = (Expected::of(&start, play), play.vault());
    expected.content_decides(&read)?;
    expected.one_winner_everywhere(play, &start, &read)?;
    let start_of_others: Vec<Files> = start.iter().map(|files| without(files, &play.known.forgotten)).collect();
    side_files_are_equal(&start_of_others, &read)?;
    expected.losers_are_kept(&vault)?;
    deletions_stay(play, &last, &expected, &start, &read)?;
    nothing_is_lost(play, &healed, vault)?;
    memory_is_a_cache(play, &all, &healed, &unread)
}

/// Time goes by until nothing is as young as a clock: no file, and nothing that a file may be given for its time.
fn await_rest(play: &mut Play<'_>) {
    let mut times = BTreeSet::new();
    for seen in play.files().iter().flat_map(Files::values) {
        times.insert(seen.mark[2].div_euclid(1_000_000_000));
        times.extend(moments(&seen.bytes).map(|time| time.div_euclid(1_000_000)));
    }
    play.world.clock += 3 * 86_400;
    while times.range(play.world.clock - 200..play.world.clock + 200).next().is_some() {
        play.world.clock += 600;
    }
}

/// What was not read is as it was, and nowhere else.
fn left_alone(unread: &BTreeSet<SessionId>, start: &[Files], healed: &[Files]) -> Result<(), Broken> {
    for (at, (start, healed)) in start.iter().zip(healed).enumerate() {
        let of = |files: &Files| files.iter().filter(|(path, _)| unread.contains(&path.session)).map(|(path, seen)| (path.clone(), seen.clone())).collect();
        let (start, healed): (Files, Files) = (of(start), of(healed));
        if start != healed {
            return broken(3, format!("a session that is too old to be read came to place {at}, or is another there"));
        }
    }
    Ok(())
}

/// A copy that is too old to be read is said to be refused, where another one is without a line.
fn went_well(report: Option<Report>, unread: &BTreeSet<SessionId>) -> Result<Report, Broken> {
    let Some(report) = report else { return broken(10, "it died") };
    if let Some(visit) = report.visits.iter().find(|visit| visit.outcome != Outcome::Visited) {
        return broken(10, format!("{} was not visited: {:?}", visit.name, visit.outcome));
    }
    let is_left = |left: &Left| match left.word.as_str() {
        "unproven" | "waiting" => true,
        "refused" => !unread.contains(&left.session),
        _ => false,
    };
    match report.actions.iter().find(|action| action.result != Some(ActionResult::Done)) {
        Some(action) => broken(10, format!("{action:?}")),
        None if report.left.iter().any(is_left) => broken(10, format!("{:?}", report.left)),
        None => Ok(report),
    }
}

/// Law 9.
fn second_pass(play: &mut Play<'_>, all: &[usize], healed: &[Files], unread: &BTreeSet<SessionId>) -> Result<(), Broken> {
    let marks = |play: &Play<'_>| -> Vec<_> {
        let directories = play.world.places.iter().filter_map(|place| match place {
            Place::Directory(directory) => Some(directory.marks()),
            Place::Memory(_) => None,
        });
        directories.collect()
    };
    let before = marks(play);
    let (report, after) = play.pass(healed, all, Way::Both, None)?;
    let report = went_well(report, unread)?;
    if let Some(action) = report.actions.first() {
        return broken(9, format!("{action:?}"));
    }
    if let Some(visit) = report.visits.iter().find(|visit| (visit.bytes_in, visit.bytes_out, visit.channels) != (0, 0, 1)) {
        return broken(9, format!("{}: {} bytes in, {} out, {} channels", visit.name, visit.bytes_in, visit.bytes_out, visit.channels));
    }
    for at in play.world.far().filter(|at| matches!(play.world.places[*at], Place::Memory(_))) {
        if play.world.asked(at) != ["list"] {
            return broken(9, format!("calls: {:?}", play.world.asked(at)));
        }
    }
    if after != healed {
        return broken(9, "files changed");
    }
    let now = marks(play);
    let changed = before.iter().zip(&now).find_map(|(before, after)| after.iter().find(|(path, mark)| before.get(*path) != Some(mark)));
    match changed {
        Some((path, _)) => broken(9, format!("{} was written to", path.display())),
        None => Ok(()),
    }
}

/// What must come of the contents that lay at all places.
struct Expected {
    /// The winner of each session.
    winners: BTreeMap<SessionId, Vec<u8>>,
    /// Contents that lost, with their sessions.
    losers: BTreeSet<(SessionId, Vec<u8>)>,
    /// Forks, and the places where a copy lay that each is to be made of.
    promised: BTreeMap<SessionId, BTreeSet<usize>>,
}

impl Expected {
    fn of(start: &[Files], play: &Play<'_>) -> Self {
        let mut contents: BTreeMap<SessionId, BTreeSet<Vec<u8>>> = BTreeMap::new();
        for (session, content) in start.iter().flat_map(transcripts) {
            if !play.known.is_forgotten(session, content) {
                contents.entry(session).or_default().insert(content.to_vec());
            }
        }
        let lying = contents.clone();
        let (mut losers, mut promised) = (BTreeSet::new(), BTreeMap::<_, BTreeSet<_>>::new());
        loop {
            let mut offers = Vec::new();
            for (session, held) in &lying {
                let winner = &contents[session].iter().max_by_key(|content| rank(content)).unwrap();
                let lost: Vec<&Vec<u8>> = held.iter().filter(|content| !winner.starts_with(content)).collect();
                let said: BTreeSet<&[u8]> = messages(winner).collect();
                for loser in &lost {
                    losers.insert((*session, (*loser).clone()));
                    let covered = lost.iter().any(|other| other.len() > loser.len() && other.starts_with(loser));
                    if !covered && messages(loser).any(|message| !said.contains(message)) {
                        let fork = fork(*session, &lines_of(loser));
                        let holds = |files: &Files| transcripts(files).any(|(of, content)| of == *session && content == loser.as_slice());
                        promised.entry(fork.id).or_default().extend(start.iter().enumerate().filter(|(_, files)| holds(files)).map(|(at, _)| at));
                        offers.push((fork.id, [loser.as_slice(), &fork.title_line].concat()));
                    }
                }
            }
            let mut news = false;
            for (session, content) in offers {
                if !play.known.is_forgotten(session, &content) {
                    news |= contents.entry(session).or_default().insert(content);
                }
            }
            if !news {
                break;
            }
        }
        let winners = contents.into_iter().map(|(session, all)| (session, all.into_iter().max_by_key(|content| rank(content)).unwrap())).collect();
        Self { winners, losers, promised }
    }

    /// Law 2: whatever lies anywhere is what the contents alone decide.
    fn content_decides(&self, healed: &[Files]) -> Result<(), Broken> {
        for (at, files) in healed.iter().enumerate() {
            for (session, content) in transcripts(files) {
                if let Some(winner) = self.winners.get(&session).filter(|winner| *winner != content) {
                    let how = if rank(content) < rank(winner) { "an older copy" } else { "another copy" };
                    return broken(2, format!("{session} at place {at} is {how}: {} bytes, {} expected", content.len(), winner.len()));
                }
            }
        }
        Ok(())
    }

    /// Law 3: the winner is everywhere, but where it was deleted, or is older than the window; and what is older does not come anywhere.
    fn one_winner_everywhere(&self, play: &Play<'_>, start: &[Files], healed: &[Files]) -> Result<(), Broken> {
        for (session, winner) in &self.winners {
            for (at, files) in healed.iter().enumerate() {
                let lies = |files: &Files| transcripts(files).any(|(id, _)| id == *session);
                // A deletion whose bytes went with something that was forgotten stands as long as nothing longer comes.
                let untold = |content: &[u8]| content.len() > winner.len() && split(content).all(|line| play.known.exempt.contains(line));
                let mut had = play.known.had[at].get(session).into_iter().flatten();
                let deleted = had.any(|content| content.starts_with(winner) || untold(content));
                let promised = self.promised.get(session).is_some_and(|places| places.contains(&at));
                let young = play.window(at).takes(newest_message(winner), promised);
                if lies(files) && !lies(&start[at]) && !young {
                    return broken(3, format!("{session} came to place {at}, and is older than the window"));
                }
                if !lies(files) && (lies(&start[at]) || (young && !deleted)) {
                    return broken(3, format!("{session} is missing at place {at}"));
                }
            }
        }
        Ok(())
    }

    /// Law 4: the bytes of every copy that lost are in this machine's vault. That they are forks is law 3.
    fn losers_are_kept(&self, vault: &[(SessionId, Vec<u8>)]) -> Result<(), Broken> {
        for (session, loser) in &self.losers {
            if !vault.iter().any(|(of, bytes)| of == session && bytes.starts_with(loser)) {
                return broken(4, format!("{} bytes of {session} lost, and are not in the vault", loser.len()));
            }
        }
        Ok(())
    }
}

fn lines_of(bytes: &[u8]) -> Lines {
    let mut reader = Reader::new([]);
    reader.push(bytes);
    Lines::of(reader.finish())
}

/// Side files of lines are equal up to their last newline, others as a whole and with their times, wherever their session lies; and none
/// of those others is less than what lay there.
fn side_files_are_equal(start: &[Files], healed: &[Files]) -> Result<(), Broken> {
    let before: Vec<_> = start.iter().map(sides_of).collect();
    let after: Vec<_> = healed.iter().map(sides_of).collect();
    for (session, sides) in after.iter().flatten() {
        let mut others = after.iter().filter_map(|of_place| of_place.get(session));
        if others.any(|other| other != sides) {
            return broken(3, format!("the side files of {session} differ"));
        }
        for (part, old) in before.iter().filter_map(|of_place| of_place.get(session)).flatten() {
            if !part.is_lines() && sides.get(part).is_none_or(|side| side < old) {
                return broken(3, format!("{part:?} of {session} is less than one that lay there"));
            }
        }
    }
    Ok(())
}

/// What decides between two side files that are not of lines: the time in whole seconds, the length, SHA-256.
type Side<'a> = (i64, usize, [u8; 32], &'a [u8]);

/// The side files of the sessions that lie at a place.
fn sides_of(files: &Files) -> BTreeMap<SessionId, BTreeMap<&Part, Side<'_>>> {
    let mut sides: BTreeMap<SessionId, BTreeMap<_, _>> = transcripts(files).map(|(session, _)| (session, BTreeMap::new())).collect();
    for (path, seen) in files.iter().filter(|(path, _)| path.part != Part::Transcript) {
        let side = if path.part.is_lines() {
            (0, 0, [0; 32], complete(&seen.bytes))
        } else {
            (seen.mark[2].div_euclid(1_000_000_000), seen.bytes.len(), Sha256::digest(&seen.bytes).into(), seen.bytes.as_slice())
        };
        if let Some(of_session) = sides.get_mut(&path.session) {
            of_session.insert(&path.part, side);
        }
    }
    sides
}

/// Law 6: what was deleted where its deletion is known is not brought back, unless it grew elsewhere.
fn deletions_stay(play: &Play<'_>, last: &[BTreeMap<SessionId, Vec<u8>>], expected: &Expected, start: &[Files], healed: &[Files]) -> Result<(), Broken> {
    for (at, (start, healed)) in start.iter().zip(healed).enumerate() {
        let lay: BTreeSet<SessionId> = transcripts(start).map(|(session, _)| session).collect();
        let lies: BTreeSet<SessionId> = transcripts(healed).map(|(session, _)| session).collect();
        for session in lies.difference(&lay) {
            let last = last[at].get(session).filter(|_| !play.known.is_empty(start));
            if let (Some(last), Some(winner)) = (last, expected.winners.get(session))
                && last.starts_with(winner)
            {
                return broken(6, format!("{session} was deleted at place {at}, and is back"));
            }
        }
    }
    Ok(())
}

/// Law 1.
fn nothing_is_lost(play: &Play<'_>, healed: &[Files], here: Vec<(SessionId, Vec<u8>)>) -> Result<(), Broken> {
    let vault: Vec<(SessionId, Vec<u8>)> = here.into_iter().chain(play.world.places[1..].iter().flat_map(Place::vault)).collect();
    let live = healed.iter().flatten().map(|(_, seen)| seen.bytes.as_slice());
    let kept: Vec<&[u8]> = live.chain(vault.iter().map(|(_, bytes)| bytes.as_slice())).collect();
    let lines: BTreeSet<&[u8]> = kept.iter().flat_map(|bytes| split(bytes)).collect();
    for line in play.known.shown.keys() {
        if !lines.contains(line.as_slice()) && !play.known.exempt.contains(line) {
            return broken(1, format!("a line is nowhere: {}", String::from_utf8_lossy(line).trim_end()));
        }
    }
    for displaced in &play.known.displaced {
        // What a forgotten fork was made from goes with it, and so do the beginnings of that.
        let forgotten = split(&displaced.bytes).any(|line| play.known.exempt.contains(line));
        if !forgotten && !kept.iter().any(|bytes| bytes.starts_with(&displaced.bytes)) {
            return broken(1, format!("{} displaced bytes of {} at place {} are nowhere", displaced.bytes.len(), displaced.session, displaced.at));
        }
    }
    Ok(())
}

/// Law 8: with the state lost, torn, or of another format, no file changes; what was deleted far away may come back.
fn memory_is_a_cache(play: &mut Play<'_>, all: &[usize], healed: &[Files], unread: &BTreeSet<SessionId>) -> Result<(), Broken> {
    let Some(spoilt) = play.spoilt() else { return Ok(()) };
    play.world.spoil_state(spoilt);
    let (report, after) = play.pass(healed, all, Way::Both, None)?;
    went_well(report, unread).map_err(|Broken { how, .. }| Broken { law: 8, how: format!("when the state was {spoilt:?}: {how}") })?;
    for (at, (healed, after)) in healed.iter().zip(&after).enumerate() {
        if let Some((path, _)) = healed.iter().find(|(path, seen)| after.get(*path) != Some(seen)) {
            return broken(8, format!("{path} at place {at} changed when the state was {spoilt:?}"));
        }
        if let Some((path, _)) = after.iter().find(|(path, _)| !healed.contains_key(path)).filter(|_| at == 0) {
            return broken(8, format!("{path} came here when the state was {spoilt:?}"));
        }
    }
    Ok(())
}

/// Sessions that lie somewhere now and lay nowhere before.
pub(crate) fn born(before: &[Files], after: &[Files]) -> BTreeSet<SessionId> {
    let ids = |files: &[Files]| files.iter().flatten().map(|(path, _)| path.session).collect::<BTreeSet<_>>();
    ids(after).difference(&ids(before)).copied().collect()
}

/// Law 5 of one pass. `seen` are the places whose registry the pass was shown.
pub(crate) fn live_is_left_alone(before: &[Files], after: &[Files], live: &[BTreeSet<SessionId>], seen: &dyn Fn(usize) -> bool) -> Result<(), Broken> {
    let born = born(before, after);
    for (at, open) in live.iter().enumerate() {
        for (path, old) in before[at].iter().filter(|(path, _)| open.contains(&path.session)) {
            if after[at].get(path) != Some(old) {
                return broken(5, format!("{path} is open at place {at}, and was touched"));
            }
            if path.part == Part::Transcript && seen(at) && born.contains(&fork_id(path.session, complete(&old.bytes))) {
                return broken(5, format!("{path} is open at place {at}, and was forked"));
            }
        }
    }
    Ok(())
}
