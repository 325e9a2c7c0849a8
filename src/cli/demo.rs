//! `demo`: the real pass in a throw-away world, told as a story.
//!
//! Promises: what is shown is what the verbs print, run as processes of their own that see nothing but that world; what the
//! story claims is looked at on disk first, and a claim that does not hold ends it as a failure.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chrono::Utc;

use super::render::{Cell, Style, Table};
use super::words::bytes;
use super::{Context, Exit, Failure, Kind, PROGRAM};
use crate::demo::{FAR, HERE, World};

/// Columns of prose, where the terminal has as many.
const PROSE: usize = 88;

/// What decides how the verbs print, and is handed on to them.
const PRINTING: [&str; 9] = ["TERM", "COLORTERM", "NO_COLOR", "CLICOLOR_FORCE", "COLUMNS", "LANG", "LC_ALL", "TMPDIR", "TZ"];

/// What `demo` is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Leave the world in this directory, to play with
    #[arg(long, value_name = "DIR")]
    pub(super) keep: Option<PathBuf>,
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::new(Kind::Failed, "this program cannot find itself").because(&error))?;
    let path = context.environment.text("PATH").unwrap_or("/usr/local/bin:/usr/bin:/bin").to_owned();
    need_git(&path)?;
    let place = Place::make(arguments.keep.as_deref())?;
    let world = World::build(place.root(), &path, &program, Utc::now()).map_err(unbuilt(place.root()))?;
    let mut story = Story { program: &program, world: &world, context };
    story.tell()?;
    story.end(arguments.keep.is_some())?;
    drop(place);
    Ok(Exit::Done)
}

/// Where the world lies, and whether it stays.
enum Place {
    Kept(PathBuf),
    Thrown(tempfile::TempDir),
}

impl Place {
    fn make(keep: Option<&Path>) -> Result<Self, Failure> {
        let Some(keep) = keep else {
            let thrown = tempfile::Builder::new().prefix("sessions-demo-").tempdir();
            return thrown.map(Self::Thrown).map_err(|error| Failure::new(Kind::Failed, "no temporary directory can be made").because(&error));
        };
        let full = match keep.read_dir() {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(unbuilt(keep)(error)),
        };
        if keep.as_os_str().as_encoded_bytes().contains(&b':') {
            return Err(Failure::new(Kind::Usage, format!("{} has a colon, so PATH could not lead to it", keep.display())));
        }
        if full {
            return Err(Failure::new(Kind::Usage, format!("{} is not empty", keep.display())).hint("name a directory that does not exist yet"));
        }
        std::fs::create_dir_all(keep).map_err(unbuilt(keep))?;
        Ok(Self::Kept(keep.to_owned()))
    }

    fn root(&self) -> &Path {
        match self {
            Self::Kept(root) => root,
            Self::Thrown(thrown) => thrown.path(),
        }
    }
}

fn unbuilt(root: &Path) -> impl FnOnce(io::Error) -> Failure {
    let root = root.display().to_string();
    move |error| Failure::new(Kind::Failed, format!("the demo's world cannot be built in {root}")).because(&error)
}

fn unread(error: io::Error) -> Failure {
    Failure::new(Kind::Failed, "the demo's world cannot be read").because(&error)
}

/// A claim of the story that did not come true.
fn untrue(claim: &str) -> Failure {
    Failure::new(Kind::Failed, format!("the demo expected that {claim}")).hint("this is a mistake of the program: please report it")
}

/// Clones are known through git; without it the story would be another one.
fn need_git(path: &str) -> Result<(), Failure> {
    let mut git = Command::new("git");
    git.arg("--version").env("PATH", path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let failure = || Failure::new(Kind::Failed, "git cannot be run, and it is what tells which clone is of which repository");
    let hint = "install git (macOS: xcode-select --install; Debian: apt install git)";
    match git.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure { causes: vec![format!("git --version: {status}")], ..failure() }.hint(hint)),
        Err(error) => Err(failure().because(&error).hint(hint)),
    }
}

/// A file of the vault, and what it holds.
type Displaced = (PathBuf, Vec<u8>);

struct Story<'s> {
    program: &'s Path,
    world: &'s World,
    context: &'s mut Context,
}

impl Story<'_> {
    fn tell(&mut self) -> Result<(), Failure> {
        self.chapter("1", "Three machines");
        self.prose(
            "A world of its own, far from your sessions: a laptop with clones of acme/widget and acme/gadget, and two codespaces, otter \
             and heron. Here they are directories, each behind a shell of its own; the rest is the real thing. All three have had \
             conversations with Claude:",
        );
        self.sessions()?;

        self.chapter("2", "The first pass");
        self.prose("Each machine is asked once what it has. What is missing comes home and goes there, and only what is missing: of the session about dark mode, otter gets the rest.");
        self.verb(&["sync"])?;
        self.same_everywhere(3, "every session of acme/widget and acme/gadget lies in every clone after the first pass")?;
        self.prose("Every clone now has every session of its repository:");
        self.sessions()?;

        self.chapter("3", "The second pass");
        self.prose("Nobody has said anything meanwhile.");
        self.idle_pass()?;

        self.chapter("4", "Both sides go on");
        self.world.diverge().map_err(unread)?;
        let laptop = self.world.diverging(HERE).map_err(unread)?;
        self.prose("Now the session about dark mode is continued on the laptop, and an hour later on otter too, before a pass came by. Neither copy is the beginning of the other.");
        self.verb(&["sync"])?;
        self.forked(&laptop)?;
        self.prose("The copy that spoke last keeps the name, on all three machines. The other is no loss: it is a session of its own beside it, the same on every machine.");
        self.verb(&["conflicts"])?;
        self.verb(&["list", "sessions"])?;

        self.chapter("5", "What lies in the vault");
        self.vault(&laptop)?;
        self.prose("A last pass, to see that all is quiet again.");
        self.idle_pass()
    }

    /// A pass that finds nothing to do, and is held to it.
    fn idle_pass(&mut self) -> Result<(), Failure> {
        let before = self.world.tokens().map_err(unread)?;
        self.verb(&["sync"])?;
        if self.world.tokens().map_err(unread)? != before {
            return Err(untrue("a pass with nothing to do leaves every file of the three stores as it is"));
        }
        let silent = if self.context.render.is_terminal() { "" } else { "It says nothing where no terminal listens. " };
        self.prose(&format!("{silent}All {} files of the three stores are the very same: no byte, no time, no inode has changed.", before.len()));
        Ok(())
    }

    /// Runs a verb in the world, as its user would, and shows what it prints.
    fn verb(&mut self, arguments: &[&str]) -> Result<(), Failure> {
        let line = format!("{PROGRAM} {}", arguments.join(" "));
        self.context.render.say("");
        self.context.render.say_styled(&[(Style::Faint, "$ "), (Style::Strong, &line)]);
        let told = |error: io::Error| Failure::new(Kind::Failed, format!("`{line}` cannot be run")).because(&error);
        let mut command = Command::new(self.program);
        command.args(arguments).env_clear().envs(self.world.environment()).current_dir(self.world.root()).stdin(Stdio::null());
        let printing = self.context.environment.iter().filter(|(name, _)| PRINTING.iter().any(|known| name == &OsStr::new(known)));
        command.envs(printing);
        // Both streams of the verb are the story's own, so that a pipe has the whole of it.
        command.stderr(io::stdout().as_fd().try_clone_to_owned().map_err(told)?);
        let status = command.status().map_err(|error| Failure::new(Kind::Failed, format!("`{line}` cannot be run")).because(&error))?;
        // A reader who went away is told of no failure; output that cannot be written is told of at the end.
        if status.success() || !self.context.render.is_read() { Ok(()) } else { Err(untrue(&format!("`{line}` succeeds ({status})"))) }
    }

    /// Which session lies where, and how long it is.
    fn sessions(&mut self) -> Result<(), Failure> {
        let places: Vec<_> = [HERE].into_iter().chain(FAR).map(|place| self.world.sessions(place)).collect::<io::Result<_>>().map_err(unread)?;
        let mut all: Vec<(&str, &str, &String)> = places.iter().flatten().map(|(id, copy)| (copy.project.as_str(), copy.title.as_str(), id)).collect();
        all.sort_unstable();
        all.dedup_by_key(|(_, _, id)| id.as_str());
        let mut table = Table::new(["SESSION", "CLONE", "LAPTOP", "OTTER", "HERON"]);
        for (project, title, id) in all {
            let cells = places.iter().map(|place| place.get(id).map_or(Cell::from("-"), |copy| Cell::from(bytes(copy.bytes))));
            table.row([Cell::from(title), Cell::from(project)].into_iter().chain(cells));
        }
        self.context.render.say("");
        self.context.render.table(&table);
        Ok(())
    }

    /// All copies of each session are equal, and `most` is the number of places of the widget's.
    fn same_everywhere(&self, most: usize, claim: &str) -> Result<(), Failure> {
        let mut places = std::collections::BTreeMap::<String, Vec<(String, u64)>>::new();
        for place in [HERE].into_iter().chain(FAR) {
            for (id, copy) in self.world.sessions(place).map_err(unread)? {
                places.entry(id).or_default().push((copy.project, copy.bytes));
            }
        }
        let equal = places.values().all(|copies| {
            let wanted = if copies.iter().any(|(project, _)| project == "widget") { most } else { most - 1 };
            copies.len() == wanted && copies.iter().all(|copy| copy == &copies[0])
        });
        if equal { Ok(()) } else { Err(untrue(claim)) }
    }

    /// The far copy won everywhere, and the laptop's is a session beside it.
    fn forked(&self, laptop: &[u8]) -> Result<(), Failure> {
        self.same_everywhere(3, "all machines are equal after a divergence")?;
        let read = |place| self.world.diverging(place).map_err(unread);
        let winner = read(FAR[0])?;
        if read(HERE)? != winner || read(FAR[1])? != winner || winner == laptop {
            return Err(untrue("the copy that spoke last wins on all three machines"));
        }
        if self.world.sessions(HERE).map_err(unread)?.len() == 5 { Ok(()) } else { Err(untrue("the other copy becomes one session more")) }
    }

    fn vault(&mut self, laptop: &[u8]) -> Result<(), Failure> {
        let (archived, displaced) = self.vault_files().map_err(unread)?;
        if archived != 5 || !displaced.iter().any(|(_, found)| found == laptop) {
            return Err(untrue("the vault holds five sessions and the laptop's displaced copy, byte for byte"));
        }
        self.prose(
            "The vault is on the laptop alone. Its archive has a whole copy of every session that was seen, for the day when a client tidies \
             up or a codespace is deleted; beside it lies what was displaced, byte for byte, with a note of why:",
        );
        let mut table = Table::new(["IN THE VAULT", "WHAT", "SIZE"]);
        table.row([Cell::from("archive/"), Cell::from("the newest whole copy of each of 5 sessions"), Cell::from("")]);
        for (file, found) in displaced {
            let name: PathBuf = file.strip_prefix(self.world.vault()).unwrap_or(&file).iter().map(shortened).collect();
            let what = if found == laptop { "the laptop's copy, as it was" } else { "an older copy" };
            table.row([Cell::from(name.display().to_string()), Cell::from(what), Cell::from(bytes(found.len() as u64))]);
        }
        self.context.render.say("");
        self.context.render.table(&table);
        Ok(())
    }

    /// How many transcripts the archive has, and what was displaced, each content once.
    fn vault_files(&self) -> io::Result<(usize, Vec<Displaced>)> {
        let named = |directory: PathBuf| -> io::Result<Vec<PathBuf>> { directory.read_dir()?.map(|entry| Ok(entry?.path())).collect() };
        let transcript = |path: &PathBuf| path.extension() == Some(OsStr::new("jsonl")) && path.file_stem() != Some(OsStr::new("index"));
        let archived = named(self.world.vault().join("archive"))?.iter().filter(|path| transcript(path)).count();
        let mut displaced = Vec::new();
        for session in named(self.world.vault().join("displaced"))? {
            for path in named(session)?.into_iter().filter(|path| path.extension() != Some(OsStr::new("json"))) {
                displaced.push((std::fs::read(&path)?, path));
            }
        }
        displaced.sort();
        displaced.dedup_by(|one, other| one.0 == other.0);
        let displaced = displaced.into_iter().map(|(found, path)| (path, found)).collect();
        Ok((archived, displaced))
    }

    fn end(&mut self, kept: bool) -> Result<(), Failure> {
        self.chapter("6", "Your turn");
        if kept {
            self.prose("The world stays. In a shell of your own, this line points every verb at it, until you close that shell:");
            let line = format!("export PATH={}:\"$PATH\"", self.world.commands_word());
            self.context.render.say("");
            self.context.render.say_styled(&[(Style::Plain, "  "), (Style::Strong, &line)]);
            self.prose(&format!(
                "Change what you like below {} and try `{PROGRAM} sync --dry-run`, `sync`, `status --why`. To be rid of it, delete the directory.",
                self.world.root().display()
            ));
        } else {
            self.prose("This world is gone as you read this (`demo --keep DIR` leaves it to play with). For your own codespaces, once:");
            self.command("gh auth login -s codespace");
        }
        self.prose("See what a pass over your own codespaces would do. It changes nothing:");
        let program = own_name(self.program, self.context.environment.get("PATH"));
        self.command(&format!("{program} sync --dry-run"));
        Ok(())
    }

    fn command(&mut self, line: &str) {
        self.context.render.say("");
        self.context.render.say_styled(&[(Style::Plain, "  "), (Style::Strong, line)]);
    }

    fn chapter(&mut self, number: &str, title: &str) {
        if number != "1" {
            self.context.render.say("");
        }
        self.context.render.say_styled(&[(Style::Strong, &format!("{number}. {title}"))]);
    }

    fn prose(&mut self, text: &str) {
        let width = self.context.render.width().map_or(PROSE, |width| PROSE.min(usize::from(width)));
        self.context.render.say("");
        self.context.render.say_block(&folded(text, width));
    }
}

/// A long name, so that a person can still tell it from another.
fn shortened(part: &OsStr) -> String {
    let part = part.to_string_lossy();
    if part.len() > 16 { format!("{}…", part.chars().take(8).collect::<String>()) } else { part.into_owned() }
}

/// Text in lines of at most so many columns, by words.
fn folded(text: &str, width: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut().filter(|line| line.chars().count() + 1 + word.chars().count() <= width) {
            Some(line) => line.extend([" ", word]),
            None => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

/// What its reader types to run this program: its name where `PATH` leads to it, else where it lies.
fn own_name(program: &Path, path: Option<&OsStr>) -> String {
    let lies = |directory: PathBuf| directory.join(PROGRAM).canonicalize().is_ok_and(|found| Ok(found) == program.canonicalize().map_err(|_| ()));
    if path.is_some_and(|path| std::env::split_paths(path).any(lies)) {
        return PROGRAM.to_owned();
    }
    let below = std::env::current_dir().ok().and_then(|here| Some(program.strip_prefix(here).ok()?.display().to_string()));
    below.unwrap_or_else(|| program.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_folded_by_words_and_a_long_word_stands_alone() {
        assert_eq!(folded("a bb  ccc dddddddd e", 6), "a bb\nccc\ndddddddd\ne");
        assert_eq!(folded("", 6), "");
    }

    #[test]
    fn the_reader_s_command_is_the_bare_name_only_where_the_path_leads_to_this_program() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join(PROGRAM);
        std::fs::write(&program, "").unwrap();
        assert_eq!(own_name(&program, Some(directory.path().as_os_str())), PROGRAM);
        assert_eq!(own_name(&program, Some(OsStr::new("/nowhere"))), program.display().to_string());
        assert_eq!(own_name(&program, None), program.display().to_string());
    }
}
