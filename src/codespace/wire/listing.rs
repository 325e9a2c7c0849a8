//! The answer to LIST: everything that a visit needs to know before it asks for bytes.
//!
//! Promises: every name in a [`Listing`] passed our grammar or is escaped text; what does not fit is skipped and listed, never
//! repaired. Never: a project directory that is known by anything but a working directory that encodes to its very name.

use std::collections::{BTreeMap, BTreeSet};

use tokio::io::AsyncRead;
use uuid::Uuid;

use super::answer::{Answer, LONGEST_TEXT, bad_line, lines, plain};
use super::{LONGEST_DIRECTORY, Token, VaultName, WireError, escaped, grammar, is_plain_directory, nanoseconds, number};
use crate::reconcile::activity::Pushed;
use crate::reconcile::manifest::{ProjectName, SessionId, Stamp, StorePath, is_known_neighbour};
use crate::reconcile::shared::Shared;

/// Most bytes of the list of files.
const LONGEST_FILES: u64 = 64 * 1024 * 1024;
/// Most files in a store.
const MOST_FILES: usize = 200_000;
/// How lines begin that stand among the files, as they were met in the same walk; what they say is told once more, sorted, behind them.
const BESIDE_FILES: [&[u8]; 4] = [b"odd ", b"agent ", b"projects/./", b"/proc/self/cmdline:"];
/// Most skipped names that are kept.
const MOST_SKIPPED: usize = 1000;
/// Most lines of remotes, and of what is neither file nor directory.
const MOST_LINES: usize = 200;
/// Most notes of pushed files, as the script keeps them.
const MOST_PUSHED: usize = 2000;
/// Most agents that are told of.
const MOST_AGENTS: usize = 64;
/// Most sessions that are said to be forgotten, as the script lists them.
const MOST_FORGOTTEN: usize = 10_000;
/// Longest escaped name in a list of what was skipped.
const LONGEST_NAME: usize = 512;

/// What is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The claude directory, absolute.
    pub claude: String,
    /// The id of the store, once an apply or a PUT wrote it.
    pub replica: Option<Uuid>,
    /// Seconds since 1970 by the far clock.
    pub clock: i64,
    /// After how many days the client there deletes a transcript, where it is configured.
    pub retention_days: Option<u32>,
    /// Whether the client there keeps a registry of its processes.
    pub registry: bool,
    /// The sessions that a living process has open.
    pub live: Vec<Live>,
    /// The files of sessions, by path.
    pub files: Vec<FarFile>,
    /// What is there and no file of a session, at most 1,000 of them.
    pub skipped: Vec<Skipped>,
    /// How many more were skipped.
    pub skipped_more: usize,
    /// Project directories with a working directory that encodes to their name.
    pub working_directories: Vec<(ProjectName, String)>,
    /// The clones there.
    pub roots: Vec<Root>,
    /// The far vault.
    pub vault: Vec<VaultObject>,
    /// Files as pushes of any agent left them, the newest 2,000.
    pub pushed: BTreeSet<Pushed>,
    /// Who visits, and when each did last before this time: seconds since 1970 by the far clock; the newest 64.
    pub agents: BTreeMap<Uuid, i64>,
    /// Sessions that their user forgot, by any machine; at most [`Listing::MOST_FORGOTTEN`].
    pub forgotten: BTreeSet<SessionId>,
}

/// A session that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// Which.
    pub session: SessionId,
    /// When its client last said so, in milliseconds since 1970 as the client writes it; 0 if it does not.
    pub updated_at: u64,
    /// What the client says of itself: `busy`, `idle`.
    pub status: Option<String>,
}

/// One file of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FarFile {
    /// Where.
    pub path: StorePath,
    /// What `stat` says, as numbers.
    pub stamp: Stamp,
    /// What `stat` says, in the far side's words.
    pub token: Token,
}

/// Something that is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its path below `projects/` (or in the vault), escaped.
    pub name: String,
    /// Why.
    pub why: String,
}

/// A git clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Its directory, resolved.
    pub path: String,
    /// The URLs of its remotes, origin's first.
    pub remotes: Vec<String>,
}

/// What is left alone while a listing is read: so many, and the number of the others.
#[derive(Default)]
struct SkippedNames {
    kept: Vec<Skipped>,
    more: usize,
}

impl SkippedNames {
    fn add(&mut self, name: &[u8], why: String) {
        if self.kept.len() < MOST_SKIPPED {
            self.kept.push(Skipped { name: escaped(name, LONGEST_NAME), why });
        } else {
            self.more += 1;
        }
    }
}

/// An object in the far vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultObject {
    /// Its name.
    pub name: VaultName,
    /// Its size.
    pub size: u64,
}

impl Listing {
    /// More forgotten sessions than these are not listed.
    pub const MOST_FORGOTTEN: usize = MOST_FORGOTTEN;

    /// Reads the whole answer.
    ///
    /// # Errors
    /// Whatever is no listing; a path that comes twice; more than 200,000 files.
    pub async fn read<R: AsyncRead + Unpin>(answer: &mut Answer<R>) -> Result<Self, WireError> {
        let claude = directory(&answer.text("claude", LONGEST_DIRECTORY as u64).await?).ok_or_else(|| grammar("`claude` is no plain absolute path"))?;
        let replica = replica(&answer.text("replica", 36).await?)?;
        let clock = digits(answer, "clock").await?.and_then(|clock| i64::try_from(clock).ok()).ok_or_else(|| grammar("`clock` is no time"))?;
        let retention_days = digits(answer, "retention").await?.map(|days| u32::try_from(days).unwrap_or(u32::MAX));
        let (registry, live) = live(&answer.text("live", LONGEST_TEXT).await?)?;
        let mut skipped = SkippedNames::default();
        let files = files(&answer.text("files", LONGEST_FILES).await?, &mut skipped)?;
        odd(&answer.text("odd", LONGEST_TEXT).await?, &mut skipped)?;
        let working_directories = working_directories(&answer.text("cwds", LONGEST_TEXT).await?);
        let roots = roots(&answer.text("roots", LONGEST_TEXT).await?)?;
        let vault = vault(&answer.text("vault", LONGEST_TEXT).await?, &mut skipped)?;
        let pushed = pushed(&answer.text("pushed", LONGEST_TEXT).await?)?;
        let agents = agents(&answer.text("agents", LONGEST_TEXT).await?)?;
        let forgotten = forgotten(&answer.text("forgotten", LONGEST_TEXT).await?)?;
        answer.finish().await?;
        let SkippedNames { kept: skipped, more: skipped_more } = skipped;
        Ok(Self {
            claude,
            replica,
            clock,
            retention_days,
            registry,
            live,
            files,
            skipped,
            skipped_more,
            working_directories,
            roots,
            vault,
            pushed,
            agents,
            forgotten,
        })
    }
}

fn directory(text: &[u8]) -> Option<String> {
    std::str::from_utf8(text).ok().filter(|text| is_plain_directory(text)).map(str::to_owned)
}

/// An id in the one form that is written, or nothing.
pub(super) fn replica(text: &[u8]) -> Result<Option<Uuid>, WireError> {
    let id = plain(text, "replica")?;
    match id.parse::<SessionId>() {
        _ if id.is_empty() => Ok(None),
        Ok(id) => Ok(Some(*id.as_uuid())),
        Err(_) => Err(grammar("`replica` is no UUID")),
    }
}

async fn digits<R: AsyncRead + Unpin>(answer: &mut Answer<R>, kind: &str) -> Result<Option<u64>, WireError> {
    let text = answer.text(kind, 20).await?;
    if text.is_empty() {
        return Ok(None);
    }
    number(plain(&text, kind)?).map(Some).ok_or_else(|| bad_line(kind, &text))
}

fn live(text: &[u8]) -> Result<(bool, Vec<Live>), WireError> {
    let mut lines = lines(text);
    let registry = match lines.next() {
        Some(b"registry") => true,
        Some(b"none") => false,
        other => return Err(bad_line("live", other.unwrap_or_default())),
    };
    let entries = lines.map(|line| {
        let bad = || bad_line("live", line);
        let [session, updated_at, status] = *plain(line, "live")?.split(' ').collect::<Vec<_>>() else { return Err(bad()) };
        let word = (1..=32).contains(&status.len()) && status.bytes().all(|b| b.is_ascii_alphabetic() || b"_-".contains(&b));
        let status = word.then_some(status).ok_or_else(bad)?;
        let (session, updated_at) = (session.parse().map_err(|_| bad())?, number(updated_at).ok_or_else(bad)?);
        registry.then(|| Live { session, updated_at, status: (status != "-").then(|| status.to_owned()) }).ok_or_else(bad)
    });
    Ok((registry, entries.collect::<Result<_, _>>()?))
}

fn files(text: &[u8], skipped: &mut SkippedNames) -> Result<Vec<FarFile>, WireError> {
    let (mut files, mut projects) = (Vec::new(), Shared::default());
    let is_file = |line: &&[u8]| !BESIDE_FILES.iter().any(|beside| line.starts_with(beside));
    for (at, line) in lines(text).filter(is_file).enumerate() {
        if at == MOST_FILES {
            return Err(grammar(format!("more than {MOST_FILES} files")));
        }
        let bad = || bad_line("files", line);
        let fields: Vec<&[u8]> = line.splitn(5, |b| *b == b' ').collect();
        let [inode, size, modified, changed, path] = fields[..] else { return Err(bad()) };
        let fields = [inode, size, modified, changed].map(|field| nine_digits(std::str::from_utf8(field).unwrap_or_default()));
        let mut skip = |why: String| skipped.add(path, why);
        if fields[2..].iter().any(|time| time.starts_with('-')) {
            skip("has a time before 1970".to_owned());
            continue;
        }
        let token: Token = fields.join(":").parse().map_err(|_| bad())?;
        match std::str::from_utf8(path).map(|path| (is_known_neighbour(path), path.parse())) {
            Ok((true, _)) => {}
            Ok((false, Ok(path))) => {
                let StorePath { project, session, part } = path;
                let path = StorePath { project: projects.first(project), session, part };
                files.push(FarFile { path, stamp: token.stamp(), token });
            }
            Ok((false, Err(why))) => skip(why.to_string()),
            Err(_) => skip("is no UTF-8".to_owned()),
        }
    }
    files.shrink_to_fit();
    files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    match files.windows(2).find(|pair| pair[0].path == pair[1].path) {
        Some(pair) => Err(grammar(format!("`{}` twice in `files`", pair[0].path))),
        None => Ok(files),
    }
}

/// GNU find writes a tenth digit of a second's fraction, which is 0; stat, whose words a token is compared with, does not.
fn nine_digits(field: &str) -> &str {
    match (field.split_once('.'), field.strip_suffix('0')) {
        (Some((_, fraction)), Some(shorter)) if fraction.len() == 10 => shorter,
        _ => field,
    }
}

fn odd(text: &[u8], skipped: &mut SkippedNames) -> Result<(), WireError> {
    for (at, line) in lines(text).enumerate() {
        let why = match line {
            [b'l', b' ', ..] => "is a symbolic link",
            [b'p', b' ', ..] => "is a pipe",
            [b's', b' ', ..] => "is a socket",
            [b'o', b' ', ..] => "is no regular file",
            [b'n', b' ', ..] => "has a newline in its name",
            _ => return Err(bad_line("odd", line)),
        };
        if at == MOST_LINES {
            return Err(grammar("more than 200 lines in `odd`"));
        }
        skipped.add(&line[2..], why.to_owned());
    }
    Ok(())
}

/// What was found by looking for text in files, so a line that fits nothing is no offence.
fn working_directories(text: &[u8]) -> Vec<(ProjectName, String)> {
    let found: BTreeSet<_> = lines(text)
        .filter_map(|line| {
            let (project, rest) = std::str::from_utf8(line).ok()?.split_once(':')?;
            let working_directory: String = serde_json::from_str(rest.strip_prefix("\"cwd\":")?).ok()?;
            let working_directory = directory(working_directory.as_bytes())?;
            let project: ProjectName = project.parse().ok()?;
            (ProjectName::of(&working_directory) == project).then_some((project, working_directory))
        })
        .collect();
    found.into_iter().collect()
}

fn roots(text: &[u8]) -> Result<Vec<Root>, WireError> {
    let mut roots: Vec<Root> = Vec::new();
    for (at, line) in lines(text).enumerate() {
        let Some(tab) = line.iter().position(|b| *b == b'\t') else { return Err(bad_line("roots", line)) };
        if at == MOST_LINES {
            return Err(grammar("more than 200 lines in `roots`"));
        }
        let Some(path) = directory(&line[..tab]) else { continue };
        let remote = std::str::from_utf8(&line[tab + 1..]).ok().filter(|url| !url.is_empty() && !url.chars().any(char::is_control));
        let index = roots.iter().position(|root| root.path == path).unwrap_or_else(|| {
            roots.push(Root { path, remotes: Vec::new() });
            roots.len() - 1
        });
        roots[index].remotes.extend(remote.map(str::to_owned));
    }
    Ok(roots)
}

fn vault(text: &[u8], skipped: &mut SkippedNames) -> Result<Vec<VaultObject>, WireError> {
    let mut vault = Vec::new();
    for line in lines(text) {
        let size = line.split(|b| *b == b' ').next().and_then(|size| number(std::str::from_utf8(size).ok()?));
        let (Some(size), Some(space)) = (size, line.iter().position(|b| *b == b' ')) else { return Err(bad_line("vault", line)) };
        let name = &line[space + 1..];
        match std::str::from_utf8(name).ok().and_then(|name| name.parse().ok()) {
            Some(name) => vault.push(VaultObject { name, size }),
            None => skipped.add(name, "is no vault object of ours".to_owned()),
        }
    }
    Ok(vault)
}

fn pushed(text: &[u8]) -> Result<BTreeSet<Pushed>, WireError> {
    let mut pushed = BTreeSet::new();
    for (at, line) in lines(text).enumerate() {
        let bad = || bad_line("pushed", line);
        if at == MOST_PUSHED {
            return Err(grammar(format!("more than {MOST_PUSHED} lines in `pushed`")));
        }
        let [inode, size, modified] = *plain(line, "pushed")?.split(' ').collect::<Vec<_>>() else { return Err(bad()) };
        let (inode, size) = number(inode).zip(number(size)).ok_or_else(bad)?;
        pushed.insert(Pushed { inode, size, modified: nanoseconds(modified).ok_or_else(bad)? });
    }
    Ok(pushed)
}

fn agents(text: &[u8]) -> Result<BTreeMap<Uuid, i64>, WireError> {
    let mut agents = BTreeMap::new();
    for line in lines(text) {
        let bad = || bad_line("agents", line);
        if agents.len() == MOST_AGENTS {
            return Err(grammar(format!("more than {MOST_AGENTS} lines in `agents`")));
        }
        let (seconds, id) = plain(line, "agents")?.split_once(' ').ok_or_else(bad)?;
        let seconds = number(seconds).and_then(|seconds| i64::try_from(seconds).ok()).ok_or_else(bad)?;
        let id: SessionId = id.parse().map_err(|_| bad())?;
        if agents.insert(*id.as_uuid(), seconds).is_some() {
            return Err(bad());
        }
    }
    Ok(agents)
}

fn forgotten(text: &[u8]) -> Result<BTreeSet<SessionId>, WireError> {
    let mut forgotten = BTreeSet::new();
    for line in lines(text) {
        if forgotten.len() == MOST_FORGOTTEN {
            return Err(grammar(format!("more than {MOST_FORGOTTEN} lines in `forgotten`")));
        }
        let id = plain(line, "forgotten")?.parse().map_err(|_| bad_line("forgotten", line))?;
        if !forgotten.insert(id) {
            return Err(bad_line("forgotten", line));
        }
    }
    Ok(forgotten)
}
