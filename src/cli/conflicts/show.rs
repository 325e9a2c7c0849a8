//! `conflicts show ID`: both branches of a conflict in words: the last message that they share, then what was said on each side.
//!
//! `conflicts show ID --json` is one object:
//! - `version`: 1. `now`.
//! - `conflicts`: the fields of `conflicts --json`, and `branches`: `common` (the last turn that both hold, null where they share none),
//!   `won` and `lost`: `turns` (at most 50, oldest first) and `more` (how many follow). A turn is `who` (`user`, `assistant`), `at` (null
//!   where it has no time) and `text` (its beginning, on one line; tools that were called in brackets). `branches` is null where the
//!   other copy is not on this machine, or cannot be read; `unread` then says why. While nothing is decided, `won` is the copy here.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Conflict, Fork, VERSION};
use crate::cli::render::{Render, Style};
use crate::cli::words::{ago, bytes, counted, joined, short, time, titled};
use crate::cli::{Failure, Kind};
use crate::pass::survey::Survey;
use crate::reconcile::manifest::{Part, SessionId};
use crate::reconcile::named::{NotOne, meant};
use crate::reconcile::plain::plain;
use crate::reconcile::transcript::Digest;
use crate::reconcile::turn::{Turn, Who};
use crate::store::branches::{self, Branch, Copy};
use crate::store::vault::Reason;

/// Turns of each side that people are shown.
const MOST_SHOWN: usize = 12;

#[derive(Debug, Serialize)]
pub(super) struct Shown {
    version: u32,
    now: DateTime<Utc>,
    conflicts: Vec<Told>,
}

#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    conflict: Conflict,
    branches: Option<Branches>,
    unread: Option<String>,
}

#[derive(Debug, Serialize)]
struct Branches {
    common: Option<Spoken>,
    won: Side,
    lost: Side,
}

#[derive(Debug, Serialize)]
struct Side {
    turns: Vec<Spoken>,
    more: usize,
}

#[derive(Debug, Serialize)]
struct Spoken {
    who: Who,
    at: Option<DateTime<Utc>>,
    text: String,
}

impl From<Turn> for Spoken {
    fn from(turn: Turn) -> Self {
        Self { who: turn.who, at: turn.at.and_then(time), text: turn.text }
    }
}

impl From<Branch> for Side {
    fn from(branch: Branch) -> Self {
        Self { turns: branch.turns.into_iter().map(Spoken::from).collect(), more: branch.more }
    }
}

/// Reads the branches of every conflict that the id means: a session's, or that of the session that keeps the copy that lost.
///
/// # Errors
/// An id that means none, or conflicts of several sessions.
pub(super) fn show(id: &str, conflicts: Vec<Conflict>, survey: &Survey) -> Result<Shown, Failure> {
    let session = meant(id, conflicts.iter().flat_map(ids)).map_err(|not| {
        let shown = plain(id);
        let what = match not {
            NotOne::None => format!("no conflict of a session `{shown}` is known here"),
            NotOne::Several => format!("`{shown}` begins the ids of several sessions"),
        };
        Failure::new(Kind::Usage, what).hint("claude-session-sync conflicts")
    })?;
    let meant = conflicts.into_iter().filter(|conflict| meant(id, ids(conflict)) == Ok(session));
    let conflicts = meant.map(|conflict| told(conflict, survey)).collect();
    Ok(Shown { version: VERSION, now: survey.now, conflicts })
}

/// The ids by which a conflict can be named, each with its session.
fn ids(conflict: &Conflict) -> impl Iterator<Item = (SessionId, SessionId)> {
    let session = conflict.session;
    std::iter::once(session).chain(conflict.fork.as_ref().map(|fork| fork.session)).map(move |typed| (typed, session))
}

fn told(conflict: Conflict, survey: &Survey) -> Told {
    match read(&conflict, survey) {
        Ok(branches) => Told { conflict, branches: Some(branches), unread: None },
        Err(why) => Told { conflict, branches: None, unread: Some(why) },
    }
}

fn read(conflict: &Conflict, survey: &Survey) -> Result<Branches, String> {
    let (path, length, digest) = other(conflict, survey).ok_or("the other copy is not on this machine")?;
    if digest == conflict.lost.digest {
        return Err("the other copy has not come to this machine yet".to_owned());
    }
    let copies = [Copy { path: &path, length }, Copy { path: &conflict.lost.path, length: conflict.lost.bytes }];
    let found = branches::branches(copies).map_err(|error| format!("the copies cannot be read: {error}"))?;
    let [won, lost] = found.sides;
    Ok(Branches { common: found.common.map(Spoken::from), won: won.into(), lost: lost.into() })
}

/// The copy that won, or one that begins with it: in the vault if it lost to a third since, else here, else in the archive.
fn other(conflict: &Conflict, survey: &Survey) -> Option<(PathBuf, u64, Digest)> {
    let id = conflict.session;
    let won = conflict.won.as_ref().map(|won| won.digest);
    let object = survey.here.vault.objects().iter().find(|object| {
        object.note.session == id && object.note.part == Part::Transcript && object.note.reason == Reason::Lost && Some(object.note.digest) == won
    });
    if let Some(object) = object {
        return Some((object.path.clone(), object.note.length, object.note.digest));
    }
    let here = survey.here.sessions.get(&id).and_then(|session| {
        let (_, lines) = session.transcript.as_ref()?;
        Some((survey.here.file(&session.project, id, &Part::Transcript), lines.content.length, lines.content.digest))
    });
    here.or_else(|| {
        let content = &survey.here.archive.records().get(&id)?.content;
        Some((survey.here.archive.file(id, &Part::Transcript)?, content.length, content.digest))
    })
}

/// For people: oldest first, each turn on a line of its own.
pub(super) fn print(shown: &Shown, render: &mut Render) {
    for (index, Told { conflict, branches, unread }) in shown.conflicts.iter().enumerate() {
        if index > 0 {
            render.say("");
        }
        let title = titled(conflict.title.as_deref(), conflict.session);
        render.say_styled(&[(Style::Strong, &title), (Style::Faint, &format!("  {}  {}", short(conflict.session), ago(shown.now, conflict.at)))]);
        if let Some(why) = unread {
            render.say_entry((Style::Warn, "unread"), (Style::Plain, why));
        }
        if let Some(Branches { common, won, lost }) = branches {
            match common {
                Some(turn) => turns(&Lines::of(turn), "the last that both have", shown.now, render),
                None => render.say_styled(&[(Style::Faint, "nothing that both have")]),
            }
            turns(&won.into(), &headline_of_winner(conflict), shown.now, render);
            turns(&lost.into(), &format!("lost: {}, {}", conflict.lost.from, bytes(conflict.lost.bytes)), shown.now, render);
        }
        match &conflict.fork {
            Some(Fork { session, .. }) => render.say_styled(&[(Style::Faint, &format!("what lost is the session {session}: claude --resume {session}"))]),
            None => render.say_styled(&[(Style::Faint, &format!("what lost lies in {}", conflict.lost.path.display()))]),
        }
    }
}

/// Turns to be printed.
struct Lines<'s> {
    turns: Vec<&'s Spoken>,
    more: usize,
}

impl<'s> Lines<'s> {
    fn of(turn: &'s Spoken) -> Self {
        Self { turns: vec![turn], more: 0 }
    }
}

impl<'s> From<&'s Side> for Lines<'s> {
    fn from(side: &'s Side) -> Self {
        let shown = side.turns.len().min(MOST_SHOWN);
        Self { turns: side.turns[..shown].iter().collect(), more: side.more + side.turns.len() - shown }
    }
}

fn headline_of_winner(conflict: &Conflict) -> String {
    match &conflict.won {
        None => "undecided: open in a client; the copy here".to_owned(),
        Some(won) if won.at.is_empty() => format!("won: {}", won.digest.short()),
        Some(won) => format!("won: {}", joined(&won.at)),
    }
}

fn turns(lines: &Lines<'_>, headline: &str, now: DateTime<Utc>, render: &mut Render) {
    render.say_styled(&[(Style::Plain, headline)]);
    for turn in &lines.turns {
        let (style, who) = match turn.who {
            Who::User => (Style::Good, "  you"),
            Who::Assistant => (Style::Faint, "  Claude"),
        };
        let at = turn.at.map_or_else(String::new, |at| format!(" ({})", ago(now, at)));
        render.say_entry((style, who), (Style::Plain, &format!("{}{at}", turn.text)));
    }
    if lines.turns.is_empty() {
        render.say_entry((Style::Faint, ""), (Style::Faint, "no message of its own"));
    }
    if lines.more > 0 {
        render.say_entry((Style::Faint, ""), (Style::Faint, &format!("and {}", counted(lines.more, "more turn"))));
    }
}
