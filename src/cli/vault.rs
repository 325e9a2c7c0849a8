//! `vault`: what this machine keeps. `vault verify` hashes every displaced copy and the whole archive again; exit 1 where one is damaged.
//! `vault gc` lets go of what may go.
//!
//! `vault verify --json` is one object:
//! - `version`: 1. `now`. `vault`: where it lies.
//! - `objects`, `copies`: how many displaced objects and files of the archive were looked at. `bytes`: how many they hold.
//! - `damaged`: `session` (null where its place does not say), `path`, and `what`: `missing`, `truncated` (`bytes`, `of`), `changed`,
//!   `unnoted`, `unindexed`, `unreadable` (`why`); and `text`, for people.

mod gc;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::render::{Cell, Render, Style, Table};
use super::words::{bytes, counted, short};
use super::{Context, Exit, Failure, Kind};
use crate::store::recheck::{Damaged, Rechecked, recheck};
use crate::store::tree::Tree;
use crate::store::vault::Vault;
use crate::store::vault_root;

/// The format.
const VERSION: u32 = 1;

/// What `vault` is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

/// What can be done with it.
#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Hash everything in it again; exit 1 if anything is damaged
    Verify {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Let go of what it holds twice, by proof; with --older-than, of sessions that were deleted here
    Gc(gc::Arguments),
}

#[derive(Debug, Serialize)]
struct Shown<'r> {
    version: u32,
    now: DateTime<Utc>,
    vault: PathBuf,
    objects: usize,
    copies: usize,
    bytes: u64,
    damaged: Vec<Found<'r>>,
}

#[derive(Debug, Serialize)]
struct Found<'r> {
    #[serde(flatten)]
    damaged: &'r Damaged,
    text: String,
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    match &arguments.action {
        Action::Verify { json } => verify(*json, context),
        Action::Gc(arguments) => gc::run(arguments, context),
    }
}

fn verify(json: bool, context: &mut Context) -> Result<Exit, Failure> {
    let settings = context.settings()?;
    let refuse = |error: std::io::Error| Failure::new(Kind::Failed, "the vault cannot be read").because(&error);
    let root = match Tree::open(&settings.paths.claude).map_err(refuse)? {
        Some(tree) => vault_root(&settings.paths.data, &settings.paths.claude, &tree).map_err(refuse)?,
        None => settings.paths.data.clone(),
    };
    let vault = Vault::open(&root).map_err(refuse)?;
    let found = recheck(&vault, settings.config.vault.archive).map_err(refuse)?;
    if json {
        let damaged = found.damaged.iter().map(|damaged| Found { damaged, text: damaged.damage.words() }).collect();
        let Rechecked { objects, copies, bytes, .. } = found;
        context.render.json(&Shown { version: VERSION, now: Utc::now(), vault: vault.path(), objects, copies, bytes, damaged });
    } else {
        print(&found, &vault, &mut context.render);
    }
    Ok(if found.damaged.is_empty() { Exit::Done } else { Exit::Failed })
}

fn print(found: &Rechecked, vault: &Vault, render: &mut Render) {
    let mut table = Table::new(["SESSION", "FILE", "FOUND"]);
    for damaged in &found.damaged {
        let path = damaged.path.strip_prefix(vault.path()).unwrap_or(&damaged.path);
        table.row([
            damaged.session.map_or_else(|| Cell::from("-"), |session| Cell::from(short(session))),
            Cell::from(path.display().to_string()),
            Cell::new(damaged.damage.words(), Style::Bad),
        ]);
    }
    if !table.is_empty() {
        render.table(&table);
        render.say("");
    }
    let looked = format!("{} and {}, {}", counted(found.objects, "displaced object"), counted(found.copies, "archived file"), bytes(found.bytes));
    let (style, text) = match found.damaged.len() {
        0 => (Style::Good, format!("{looked}: as they were kept")),
        damaged => (Style::Bad, format!("{looked}: {} damaged", damaged)),
    };
    render.say_entry((style, "vault"), (Style::Plain, &text));
}
