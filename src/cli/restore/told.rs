//! What `restore` says.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::cli::render::{Cell, Render, Style, Table};
use crate::cli::words::{ago, bytes, counted, cut, joined, newest, short, titled};
use crate::pass::restore::{Did, Ended, Kept, Request, Restored, Row, Version};
use crate::reconcile::manifest::SessionId;
use crate::reconcile::restore::Standing;
use crate::reconcile::transcript::Digest;
use crate::store::vault::Reason;

/// The format.
const VERSION: u32 = 1;

#[derive(Debug, Serialize)]
struct Listed {
    version: u32,
    now: DateTime<Utc>,
    sessions: Vec<ShownRow>,
}

#[derive(Debug, Serialize)]
struct ShownRow {
    session: SessionId,
    title: Option<String>,
    newest: Option<DateTime<Utc>>,
    lies_here: bool,
    versions: usize,
}

#[derive(Debug, Serialize)]
struct Shown<'e> {
    version: u32,
    now: DateTime<Utc>,
    session: SessionId,
    dry_run: bool,
    did: &'static str,
    restored: Option<ShownRestored<'e>>,
    lies_here: Option<Lying<'e>>,
    versions: Vec<ShownVersion<'e>>,
}

#[derive(Debug, Serialize)]
struct ShownRestored<'e> {
    session: SessionId,
    as_new: bool,
    path: &'e Path,
    title: Option<&'e str>,
    bytes: u64,
    side: usize,
    left_out: &'e [String],
    expired: Option<u32>,
    short: bool,
}

#[derive(Debug, Serialize)]
struct Lying<'e> {
    session: SessionId,
    path: &'e PathBuf,
}

#[derive(Debug, Serialize)]
struct ShownVersion<'e> {
    digest: Digest,
    standing: Standing,
    newest: Option<DateTime<Utc>>,
    messages: u64,
    bytes: u64,
    title: Option<&'e str>,
    kept: &'static str,
    reason: Option<Reason>,
    from: Option<&'e str>,
    at: Option<DateTime<Utc>>,
    damaged: bool,
    fork: SessionId,
    fork_lies_here: bool,
}

/// The list of what could be taken back.
pub(super) fn rows(rows: &[Row], now: DateTime<Utc>, json: bool, render: &mut Render) {
    let shown = |row: &Row| ShownRow {
        session: row.session,
        title: row.title.clone(),
        newest: row.content.as_ref().and_then(newest),
        lies_here: row.lies_here,
        versions: row.versions,
    };
    let shown: Vec<ShownRow> = rows.iter().map(shown).collect();
    if json {
        return render.json(&Listed { version: VERSION, now, sessions: shown });
    }
    if shown.is_empty() {
        return render.say("nothing to restore: every session that is kept lies here, and no other version of one");
    }
    let mut table = Table::new(["SESSION", "ID", "NEWEST", "IS", "VERSIONS"]);
    for row in shown {
        table.row([
            Cell::from(cut(&titled(row.title.as_deref(), row.session), super::LONGEST_TITLE)),
            Cell::new(short(row.session), Style::Faint),
            Cell::from(row.newest.map_or_else(|| "-".to_owned(), |newest| ago(now, newest))),
            if row.lies_here { Cell::from("here") } else { Cell::new("not here", Style::Warn) },
            Cell::number(row.versions),
        ]);
    }
    render.table(&table);
}

/// A version in one line.
pub(super) fn line(version: &Version, now: DateTime<Utc>) -> String {
    let when = newest(&version.lines.content).map_or_else(|| "no time".to_owned(), |newest| ago(now, newest));
    let size = format!("{}, {}", counted(usize::try_from(version.messages).unwrap_or(usize::MAX), "message"), bytes(version.lines.content.length));
    let kept = match &version.kept {
        Kept::Here => "lies here".to_owned(),
        Kept::Archive => "the archive's copy".to_owned(),
        Kept::Displaced { reason, from, at } => format!("{} {}, of {from}", reason_words(*reason), ago(now, *at)),
    };
    let standing = if version.standing == Standing::Beginning && !version.damaged { ", the beginning of what is known of it" } else { "" };
    let fork = if version.fork_lies_here { format!(", is the session {}", short(version.fork)) } else { String::new() };
    let damaged = if version.damaged { ", DAMAGED" } else { "" };
    let title = version.lines.title.as_deref().map_or_else(String::new, |title| format!(", {}", cut(title, super::LONGEST_TITLE)));
    format!("{}  {when}, {size}, {kept}{standing}{fork}{damaged}{title}", version.digest().short())
}

fn reason_words(reason: Reason) -> &'static str {
    match reason {
        Reason::Overtaken => "overtaken",
        Reason::Lost => "lost",
        Reason::Side => "replaced",
        Reason::Grew => "grew and was set aside",
        Reason::Recovered => "found after a crash",
    }
}

/// What came of it.
pub(super) fn ended(ended: &Ended, request: &Request, json: bool, render: &mut Render) {
    if json {
        return render.json(&shown(ended, request));
    }
    match &ended.did {
        Did::Restored(restored) => say(restored, ended, request, render),
        Did::LiesHere { session, path } => {
            render.say_entry((Style::Good, "here"), (Style::Plain, &format!("that version is the session {session}, which lies in {}", path.display())));
        }
        Did::Nothing { path } => {
            let title = ended.versions.first().and_then(|version| version.lines.title.as_deref());
            render.say_entry((Style::Good, "here"), (Style::Plain, &format!("{} lies in {}", titled(title, ended.session), path.display())));
            render
                .say_entry((Style::Plain, ""), (Style::Faint, "nothing is kept that it lacks; --as-new makes a copy of it, --version DIGEST of an older one"));
            versions(ended, None, |text| render.say_entry((Style::Plain, ""), (Style::Faint, text)));
        }
        Did::Choose(among) => versions(ended, Some(among), |text| render.note(&format!("  {text}"))),
    }
}

fn versions(ended: &Ended, among: Option<&[Digest]>, mut say: impl FnMut(&str)) {
    let is_shown = |version: &&Version| among.map_or(version.standing != Standing::Counts, |among| among.contains(&version.digest()));
    let now = Utc::now();
    ended.versions.iter().filter(is_shown).for_each(|version| say(&line(version, now)));
}

fn say(restored: &Restored, ended: &Ended, request: &Request, render: &mut Render) {
    let Restored { session, path, title, bytes: length, side, left_out, expired, short: is_short } = restored;
    let label = if request.dry_run { "dry run" } else { "restored" };
    let with = if *side > 0 { format!(", with {}", counted(*side, "side file")) } else { String::new() };
    let come = if request.dry_run { "would come" } else { "came" };
    let text = format!("{} ({}{with}) {come} to {}", titled(title.as_deref(), *session), bytes(*length), path.display());
    render.say_entry((Style::Good, label), (Style::Plain, &text));
    let mut more = |text: &str| render.say_entry((Style::Plain, ""), (Style::Faint, text));
    if *session != ended.session {
        more(&format!("as a session of its own, beside {}: claude --resume {session}", short(ended.session)));
    }
    if let Some(days) = expired {
        more(&format!("its time is now, because the client deletes sessions after {days} days and would delete it again"));
    }
    if *is_short {
        more("more of it is known: where another machine or codespace holds that, the next pass extends it");
    }
    if !left_out.is_empty() {
        let text = format!("the archive no longer holds {}: claude-session-sync vault verify", joined(left_out));
        render.say_entry((Style::Warn, "left out"), (Style::Plain, &text));
    }
}

fn shown<'e>(ended: &'e Ended, request: &Request) -> Shown<'e> {
    let (did, restored, lies_here) = match &ended.did {
        Did::Restored(restored) => ("restored", Some(restored), None),
        Did::LiesHere { session, path } => ("lies-here", None, Some(Lying { session: *session, path })),
        Did::Nothing { path } => ("nothing", None, Some(Lying { session: ended.session, path })),
        Did::Choose(_) => ("choose", None, None),
    };
    let restored = restored.map(|restored| ShownRestored {
        session: restored.session,
        as_new: restored.session != ended.session,
        path: &restored.path,
        title: restored.title.as_deref(),
        bytes: restored.bytes,
        side: restored.side,
        left_out: &restored.left_out,
        expired: restored.expired,
        short: restored.short,
    });
    let versions = ended.versions.iter().map(shown_version).collect();
    Shown { version: VERSION, now: Utc::now(), session: ended.session, dry_run: request.dry_run, did, restored, lies_here, versions }
}

fn shown_version(version: &Version) -> ShownVersion<'_> {
    let (kept, reason, from, at) = match &version.kept {
        Kept::Here => ("here", None, None, None),
        Kept::Archive => ("archive", None, None, None),
        Kept::Displaced { reason, from, at } => ("displaced", Some(*reason), Some(from.as_str()), Some(*at)),
    };
    ShownVersion {
        digest: version.digest(),
        standing: version.standing,
        newest: newest(&version.lines.content),
        messages: version.messages,
        bytes: version.lines.content.length,
        title: version.lines.title.as_deref(),
        kept,
        reason,
        from,
        at,
        damaged: version.damaged,
        fork: version.fork,
        fork_lies_here: version.fork_lies_here,
    }
}
