//! `config`: writes the commented file, checks it, shows what holds, says where it lies.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use serde::Serialize;

use super::render::Style;
use super::{Context, Exit, Failure, Kind, PROGRAM};
use crate::config::{Config, ConfigError, Origin, Problem, TEMPLATE, VERSION};

/// What `config` is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Subcommand)]
enum Action {
    /// Write the file with every default, commented
    Init,
    /// Check the file, and show every mistake in it
    Check {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show what holds, and where it comes from
    Show {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print where the file lies, or would lie
    Path,
}

/// `config show`, as a file and as JSON. `origin` is the file, absent where the defaults hold.
#[derive(Serialize)]
struct Shown<'c> {
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'c str>,
    #[serde(flatten)]
    config: &'c Config,
}

/// `config check --json`. `exists` is false where the defaults hold.
#[derive(Serialize)]
struct Checked<'c> {
    version: u32,
    file: &'c str,
    exists: bool,
    problems: &'c [Problem],
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let paths = context.paths()?;
    let file = paths.config_file.to_string_lossy().into_owned();
    match arguments.action {
        Action::Path => context.render.say(&file),
        Action::Init => {
            write_new(&paths.config_file).map_err(|error| not_written(&file, &error))?;
            context.render.say(&format!("wrote {file}"));
            context.render.note(&format!("every default is in it, commented; after a change: {PROGRAM} config check"));
        }
        Action::Check { json } => return check(context, json, &file, Config::load(&paths)),
        Action::Show { json } => show(context, json, &Config::load(&paths)?)?,
    }
    Ok(Exit::Done)
}

fn check(context: &mut Context, json: bool, file: &str, loaded: Result<(Config, Origin), ConfigError>) -> Result<Exit, Failure> {
    if json {
        let (exists, problems) = match &loaded {
            Ok((_, origin)) => (matches!(origin, Origin::File(_)), &[][..]),
            Err(error) => (true, error.problems.as_slice()),
        };
        context.render.json(&Checked { version: VERSION, file, exists, problems });
        return Ok(if loaded.is_ok() { Exit::Done } else { Exit::Usage });
    }
    match loaded?.1 {
        Origin::File(_) => context.render.say_styled(&[(Style::Good, "good"), (Style::Plain, ": "), (Style::Plain, file)]),
        Origin::Defaults(_) => context.render.say(&format!("no file at {file}: the defaults hold")),
    }
    Ok(Exit::Done)
}

fn show(context: &mut Context, json: bool, (config, origin): &(Config, Origin)) -> Result<(), Failure> {
    let (path, known) = match origin {
        Origin::File(path) => (path.to_string_lossy(), true),
        Origin::Defaults(path) => (path.to_string_lossy(), false),
    };
    if json {
        context.render.json(&Shown { version: VERSION, origin: known.then_some(&*path), config });
        return Ok(());
    }
    let text = toml::to_string(&Shown { version: VERSION, origin: None, config });
    let text = text.map_err(|error| Failure::new(Kind::Failed, "the configuration cannot be shown").because(&error))?;
    let from = if known { format!("# from {path}") } else { format!("# no file at {path}: the defaults") };
    context.render.say_styled(&[(Style::Faint, &from)]);
    context.render.say_block(&text);
    Ok(())
}

/// Never over a file, not even over a link that leads nowhere.
fn write_new(file: &Path) -> io::Result<()> {
    if let Some(directory) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    new.write_all(TEMPLATE.as_bytes())?;
    new.sync_all()
}

fn not_written(file: &str, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::AlreadyExists {
        let failure = Failure::new(Kind::Config, format!("{file} exists, and is not overwritten"));
        return failure.hint(format!("edit it; or move it away, then `{PROGRAM} config init`"));
    }
    Failure::new(Kind::Failed, format!("{file} cannot be written")).because(error)
}
