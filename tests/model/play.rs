//! A history is played: each step on the stores, each pass between two looks at them, and the model told of it.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat};
use claude_session_sync::pass::forget;
use claude_session_sync::pass::restore;
use claude_session_sync::reconcile::manifest::{Part, SessionId};
use claude_session_sync::reconcile::report::{Outcome, Report};
use claude_session_sync::reconcile::restore::Form;
use serde_json::json;

use crate::faulty::Trouble;
use crate::history::{At, History, Step, Way, Which, Words};
use crate::known::{Broken, Displaced, Known, broken, transcripts};
use crate::laws::{born, live_is_left_alone};
use crate::place::{Files, Place, below};
use crate::tally::Tally;
use crate::told::told;
use crate::window::without;
use crate::world::{Ended, Ground, Made, Spoilt, World};

/// A history in the middle of its play.
pub(crate) struct Play<'a> {
    pub(crate) world: World<'a>,
    pub(crate) known: Known,
    pub(crate) tally: Tally,
    words: u64,
    salt: u64,
}

/// Plays a history to its end, and holds the laws against it.
pub(crate) fn play(ground: &mut Ground, history: &History, made: Made) -> Result<Tally, Broken> {
    let world = World::new(ground, history, made);
    let known = Known::new(world.places.len());
    let mut play = Play { world, known, tally: Tally::of_one(history), words: 0, salt: history.salt };
    for step in &history.steps {
        play.tally.steps += 1;
        play.step(step)?;
        told(&play, format_args!("{step:?}"));
    }
    crate::laws::at_rest(&mut play)?;
    play.tally.lines = play.known.shown.len() as u64;
    play.tally.displaced = play.known.displaced.len() as u64;
    Ok(play.tally)
}

/// Sessions that may be begun.
fn fresh() -> [SessionId; 2] {
    ["6f869d7b-ce51-4e00-8a05-674dde6aa368", "0b21cdb9-07a1-4c4e-9f1c-55a6c2a8e9b3"].map(|id| id.parse().unwrap())
}

impl Play<'_> {
    /// How this history ends for what is remembered; half of them leave it as it is.
    pub(crate) fn spoilt(&self) -> Option<Spoilt> {
        match self.salt % 8 {
            0 | 6 => Some(Spoilt::Lost),
            2 => Some(Spoilt::Torn),
            4 => Some(Spoilt::Strange),
            _ => None,
        }
    }

    fn at(&self, at: At) -> usize {
        usize::from(at) % self.world.places.len()
    }

    /// The files of every place.
    pub(crate) fn files(&self) -> Vec<Files> {
        self.world.places.iter().map(Place::files).collect()
    }

    fn present(&self, at: usize) -> BTreeSet<SessionId> {
        self.world.places[at].present()
    }

    /// A session of a place that lies there.
    fn there(&self, at: usize, which: Which) -> Option<SessionId> {
        let present = self.present(at);
        present.iter().nth(usize::from(which) % present.len().max(1)).copied()
    }

    /// A session that lies there, or one that may be begun.
    fn any(&self, at: usize, which: Which) -> SessionId {
        let present = self.present(at);
        let count = fresh().len().max(present.len());
        let all: BTreeSet<SessionId> = present.into_iter().chain(fresh()).collect();
        all.into_iter().nth(usize::from(which) % count).unwrap()
    }

    fn bytes(&self, at: usize, session: SessionId, part: &Part) -> Vec<u8> {
        let path = self.world.places[at].path(session, part.clone());
        self.world.places[at].read(&path)
    }

    /// What a session holds; one that lies here and was never seen begins with a line that says where it belongs.
    fn begun(&mut self, at: usize, session: SessionId) -> Vec<u8> {
        let bytes = self.bytes(at, session, &Part::Transcript);
        if bytes.contains(&b'\n') || self.is_archived(session) { bytes } else { [bytes, self.line(at, session, Words::User)].concat() }
    }

    /// Whether this machine knows where a session belongs, whatever it holds.
    pub(crate) fn is_archived(&self, session: SessionId) -> bool {
        self.world.vault().join("archive").join(session.file_name()).exists()
    }

    fn write(&mut self, at: usize, session: SessionId, part: &Part, bytes: Vec<u8>) {
        let path = self.world.places[at].path(session, part.clone());
        let clock = self.world.clock_at(at);
        self.world.places[at].set_clock(clock);
        self.world.places[at].write(&path, bytes, clock);
    }

    /// A line that nobody wrote before.
    fn line(&mut self, at: usize, session: SessionId, words: Words) -> Vec<u8> {
        self.words += 1;
        let (n, salt, cwd) = (self.words, self.salt, self.world.places[at].clone_path());
        let ago = if words == Words::Old { 20 * 86_400 } else { 0 };
        let time = DateTime::from_timestamp(self.world.clock_at(at) - ago, 0).unwrap().to_rfc3339_opts(SecondsFormat::Millis, true);
        let said = |kind: &str| json!({"type": kind, "timestamp": time, "cwd": cwd, "message": {"role": kind, "content": format!("{n} at {at}, {salt}")}});
        let line = match words {
            Words::User | Words::Old => said("user"),
            Words::Assistant => said("assistant"),
            Words::System => json!({"type": "system", "timestamp": time, "content": format!("{n}")}),
            Words::Title => json!({"type": "custom-title", "customTitle": format!("title {n}"), "sessionId": session}),
            Words::Noise => return format!("}}{{ {n} at {at}\n").into_bytes(),
        };
        format!("{line}\n").into_bytes()
    }

    fn step(&mut self, step: &Step) -> Result<(), Broken> {
        self.world.clock += 60;
        match *step {
            Step::Say { at, which, words } => {
                let at = self.at(at);
                let session = self.any(at, which);
                let bytes = self.begun(at, session);
                let line = self.line(at, session, words);
                self.write(at, session, &Part::Transcript, [bytes, line].concat());
            }
            Step::Tear { at, which } => {
                let at = self.at(at);
                let session = self.any(at, which);
                let bytes = self.begun(at, session);
                let line = self.line(at, session, Words::User);
                self.write(at, session, &Part::Transcript, [&bytes, &line[..line.len() / 2]].concat());
            }
            Step::Rewrite { at, which, keep } => self.change(at, which, |bytes, line| {
                let kept = bytes.split_inclusive(|byte| *byte == b'\n').take(keep.into()).flatten().copied();
                kept.chain(line).collect()
            }),
            Step::Truncate { at, which, keep } => self.change(at, which, |bytes, _| bytes[..bytes.len() * usize::from(keep) / 256].to_vec()),
            Step::Side { at, which, lines } => self.side(at, which, lines),
            Step::Delete { at, which } => {
                let at = self.at(at);
                if let Some(session) = self.there(at, which) {
                    self.world.places[at].delete(session);
                }
            }
            Step::Wipe { at } => {
                let at = self.at(at);
                self.world.places[at].wipe();
                self.known.last[at].clear();
            }
            Step::Rebuild { at } => {
                let at = self.at(at);
                self.world.places[at].rebuild();
                self.known.rebuilt(at);
            }
            Step::Skew { at, hours } => {
                let at = self.at(at);
                self.world.skews[at] = i64::from(hours) * 3600;
            }
            Step::Touch { at, which, days } => self.touch(at, which, days),
            Step::Keep { at, days } => {
                let at = self.at(at);
                self.world.places[at].keep_for(days.into());
            }
            Step::Sweep { at, hours } => self.sweep(at, hours),
            Step::Forget { which } => self.forget(which),
            Step::Restore { which } => self.restore(which),
            Step::Open { at, which } => {
                let at = self.at(at);
                let session = self.any(at, which);
                self.world.places[at].set_live(session, true);
            }
            Step::Close { at, which } => {
                let at = self.at(at);
                let session = self.any(at, which);
                self.world.places[at].set_live(session, false);
            }
            Step::Wait { minutes } => self.world.clock += i64::from(minutes) * 60,
            Step::Pass { members, direction, trouble } => {
                let chosen: Vec<usize> = self.world.far().filter(|at| members & (1 << (at - 1)) != 0).collect();
                let chosen = if chosen.is_empty() { self.world.far().collect() } else { chosen };
                self.pass(&self.files(), &chosen, direction, trouble)?;
            }
            Step::LoseState => {
                self.world.spoil_state(Spoilt::Lost);
                self.known.last[1..].iter_mut().for_each(std::collections::BTreeMap::clear);
            }
        }
        Ok(())
    }

    /// Somebody writes over a transcript that is there.
    fn change(&mut self, at: At, which: Which, new: impl FnOnce(&[u8], Vec<u8>) -> Vec<u8>) {
        let at = self.at(at);
        let Some(session) = self.there(at, which) else { return };
        let line = self.line(at, session, Words::Assistant);
        let old = self.bytes(at, session, &Part::Transcript);
        let mut bytes = new(&old, line);
        if at == 0 && !self.is_archived(session) && !bytes.contains(&b'\n') {
            bytes = old;
        }
        self.write(at, session, &Part::Transcript, bytes);
    }

    fn side(&mut self, at: At, which: Which, lines: bool) {
        let at = self.at(at);
        let Some(session) = self.there(at, which) else { return };
        let part = Part::Side(if lines { "subagents/a.jsonl" } else { "tool-results/r.txt" }.parse().unwrap());
        let line = self.line(at, session, Words::User);
        let before = if lines { self.bytes(at, session, &part) } else { Vec::new() };
        self.write(at, session, &part, [before, line].concat());
    }

    /// None before 1970: such a file is passed over, and said to be.
    fn touch(&mut self, at: At, which: Which, days: i16) {
        let at = self.at(at);
        let Some(session) = self.there(at, which) else { return };
        let time = (self.world.clock_at(at) + i64::from(days) * 86_400).max(0);
        let files = self.world.places[at].files();
        files.into_keys().filter(|path| path.session == session).for_each(|path| self.world.places[at].touch(&path, time));
    }

    fn sweep(&mut self, at: At, hours: u8) {
        let at = self.at(at);
        let oldest = (self.world.clock_at(at) - i64::from(hours) * 3600) * 1_000_000_000;
        let files = self.world.places[at].files();
        let old = files.iter().filter(|(path, seen)| path.part == Part::Transcript && seen.mark[2] < oldest).map(|(path, _)| path.session);
        let old: Vec<SessionId> = old.filter(|session| !self.world.places[at].is_live(*session)).collect();
        old.into_iter().for_each(|session| self.world.places[at].delete(session));
    }

    fn forget(&mut self, which: Which) {
        let all: BTreeSet<SessionId> = (0..self.world.places.len()).flat_map(|at| self.present(at)).collect();
        let Some(session) = all.iter().nth(usize::from(which) % all.len().max(1)).copied() else { return };
        let (files, kept) = (self.files(), self.vault());
        let done = self.world.block_on(forget::forget(self.world.setting(), session, self.world.now()));
        if let Ok(done) = done {
            self.known.forget(&done.found.sessions(), &files, &kept);
        }
    }

    /// All that this machine's vault keeps, and of which session.
    pub(crate) fn vault(&self) -> Vec<(SessionId, Vec<u8>)> {
        let root = self.world.vault();
        let mut kept = Vec::new();
        below(&root, &mut |file| {
            let session = file.path.split('/').find_map(|part| part.trim_end_matches(".jsonl").parse().ok());
            let is_note = file.name.ends_with(".json");
            kept.extend(session.filter(|_| !is_note).map(|session| (session, file.look().bytes)));
        });
        kept
    }

    fn restore(&mut self, which: Which) {
        let archived = std::fs::read_dir(self.world.vault().join("archive")).into_iter().flatten().flatten();
        let archived: BTreeSet<SessionId> = archived.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".jsonl")?.parse().ok()).collect();
        let Some(session) = archived.iter().nth(usize::from(which) % archived.len().max(1)).copied() else { return };
        let request = restore::Request { session, version: None, form: Form::InPlace, dry_run: false };
        let before = self.world.places[0].files();
        let _ = self.world.block_on(restore::restore(self.world.setting(), &request, self.world.now()));
        self.known.last[0].remove(&session);
        // What was put there is known, so its deletion is one whether or not a pass looks before.
        let mut restored = self.world.places[0].files();
        restored.retain(|path, _| !before.contains_key(path));
        // That one session comes back to an empty store deletes none of the others.
        if !restored.is_empty() && self.known.is_empty(&before) {
            self.known.last[0].clear();
        }
        self.known.lay(0, &restored);
    }

    /// A pass over what lies at the places, and everything that holds of any pass whatever disturbs it. Gives the report, if there is
    /// one, and what lies there then.
    pub(crate) fn pass(
        &mut self,
        before: &[Files],
        members: &[usize],
        way: Way,
        trouble: Option<(At, Trouble)>,
    ) -> Result<(Option<Report>, Vec<Files>), Broken> {
        let (live, unread) = (self.live(before), self.unread(before));
        for (at, files) in before.iter().enumerate() {
            self.known.lay(at, files);
            if self.known.is_empty(files) {
                self.known.last[at].clear();
            }
        }
        self.tally.passes += 1;
        let ended = self.world.pass(members, way, trouble);
        let after = self.files();
        // What a member that broke off had open is not known.
        let seen = |at: usize| at == 0 || (members.contains(&at) && trouble.is_none_or(|(of, _)| usize::from(of) != at));
        self.nothing_is_asked_in_vain(trouble, &ended)?;
        live_is_left_alone(before, &after, &live, &seen)?;
        self.compare(before, &after, members)?;
        self.tally.forks += born(before, &after).len() as u64;
        let report = match ended {
            Ended::Report(report) => Some(*report),
            Ended::Failed(error) => return broken(10, format!("the pass failed: {}", error.whole())),
            Ended::Died => None,
        };
        let visited = |at: usize| {
            let named = |report: &Report| report.visits.iter().any(|visit| visit.name == format!("box{at}") && visit.outcome == Outcome::Visited);
            report.as_ref().is_some_and(|report| at == 0 || named(report))
        };
        for at in 0..self.world.places.len() {
            self.known.lay(at, &after[at]);
            if visited(at) {
                let (read, known) = (without(&before[at], &unread[at]), without(&after[at], &unread[at]));
                self.known.show(&read);
                self.known.doubt(at, &after[at]);
                self.known.learn(at, &known);
            } else {
                self.known.doubt(at, &before[at]);
                self.known.doubt(at, &after[at]);
            }
        }
        Ok((report, after))
    }

    /// Law 7: what broke while it was read ends the visit, and is said to have failed.
    fn nothing_is_asked_in_vain(&mut self, trouble: Option<(At, Trouble)>, ended: &Ended) -> Result<(), Broken> {
        let Some((at, Trouble { call, kind })) = trouble else { return Ok(()) };
        let calls = self.world.asked(at.into());
        let (name, call) = (format!("box{at}"), usize::try_from(call).unwrap());
        if calls.len() > call {
            return broken(7, format!("{name} was asked for more after call {call} broke ({kind:?}): {calls:?}"));
        }
        self.tally.broken += u64::from(calls.len() == call);
        let Ended::Report(report) = ended else { return Ok(()) };
        match report.visits.iter().find(|visit| visit.name == name) {
            Some(visit) if calls.len() == call && !matches!(visit.outcome, Outcome::Failed(_)) => {
                broken(7, format!("call {call} of {calls:?} broke ({kind:?}), and the visit to {name} is said to be {:?}", visit.outcome))
            }
            _ => Ok(()),
        }
    }

    /// Of these files, the sessions that somebody has open.
    fn live(&self, files: &[Files]) -> Vec<BTreeSet<SessionId>> {
        for at in self.world.far() {
            self.world.places[at].set_clock(self.world.clock_at(at));
        }
        let open = |(place, files): (&Place, _)| transcripts(files).map(|(session, _)| session).filter(|session| place.is_live(*session)).collect();
        self.world.places.iter().zip(files).map(open).collect()
    }

    /// What a pass may do between two looks.
    fn compare(&mut self, before: &[Files], after: &[Files], members: &[usize]) -> Result<(), Broken> {
        for (at, (old, new)) in before.iter().zip(after).enumerate() {
            if at > 0 && !members.contains(&at) && old != new {
                return broken(7, format!("place {at} was not visited, and is another"));
            }
            for (path, seen) in old {
                let now = new.get(path);
                match now {
                    None if self.known.is_forgotten(path.session, &seen.bytes) => {}
                    None => return broken(6, format!("{path} at place {at} went in a pass")),
                    Some(now) if now.bytes != seen.bytes => {
                        let displaced = Displaced { at, session: path.session, bytes: seen.bytes.clone() };
                        self.known.displaced.push(displaced);
                    }
                    Some(_) => {}
                }
            }
            if let Place::Memory(store) = &self.world.places[at]
                && let Some(how) = store.lock().unwrap().unwitnessed.first()
            {
                return broken(4, how.clone());
            }
        }
        Ok(())
    }
}
