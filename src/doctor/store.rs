//! The client's sessions on this machine: whether they can be read and written by their user, and by nobody else.
//!
//! Only names of transcripts and what `stat` tells are looked at, nothing in them.

use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{Check, Topic};
use crate::paths::Paths;
use crate::reconcile::words::counted;

/// Names looked at; more are not counted.
const MOST: usize = 200_000;

/// Everything that was gathered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// `projects`.
    root: PathBuf,
    /// Why it could not be listed; none where it could.
    trouble: Option<Trouble>,
    /// It belongs to somebody else.
    is_foreign: bool,
    /// Its user cannot make a file in it.
    is_read_only: bool,
    /// Its permissions, and those of the client's directory, let others in.
    is_open: bool,
    /// No directory above it keeps others out.
    is_reachable: bool,
    transcripts: usize,
    /// Transcripts that belong to somebody else.
    foreign: usize,
    /// Transcripts that their user cannot write to: the client saves nothing.
    read_only: usize,
    /// Transcripts that others may read.
    open: usize,
    /// Project directories and transcripts that are symbolic links.
    links: usize,
}

/// Why there is no list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// There is none yet.
    Absent,
    /// It is there.
    Unreadable(String),
}

impl Facts {
    pub(super) fn gather(paths: &Paths) -> Self {
        let us = rustix::process::geteuid().as_raw();
        let mut facts = Self { root: paths.claude.join("projects"), ..Self::default() };
        facts.trouble = match facts.look(us) {
            Ok(()) => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Trouble::Absent),
            Err(error) => Some(Trouble::Unreadable(error.to_string())),
        };
        facts
    }

    fn look(&mut self, us: u32) -> io::Result<()> {
        let root = fs::metadata(&self.root)?;
        self.is_foreign = root.uid() != us;
        self.is_read_only = !may_write(&self.root);
        self.is_reachable = self.root.ancestors().filter_map(|directory| fs::metadata(directory).ok()).all(|found| lets_others_in(&found));
        self.is_open = lets_others_in(&root);
        let mut left = MOST;
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_symlink() {
                self.links += 1;
            } else if kind.is_dir() {
                self.project(&entry.path(), us, &mut left)?;
            }
        }
        Ok(())
    }

    fn project(&mut self, directory: &Path, us: u32, left: &mut usize) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if *left == 0 {
                return Ok(());
            }
            *left -= 1;
            if is_transcript(&entry) {
                // Gone between the listing and the look: nothing to be said of it.
                match entry.metadata() {
                    Ok(found) => self.count(&found, us),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, found: &Metadata, us: u32) {
        if found.file_type().is_symlink() {
            self.links += 1;
            return;
        }
        self.transcripts += 1;
        self.foreign += usize::from(found.uid() != us);
        self.read_only += usize::from(found.mode() & 0o600 != 0o600);
        self.open += usize::from(found.mode() & 0o077 != 0);
    }
}

/// `<uuid>.jsonl`.
fn is_transcript(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    name.to_str().and_then(|name| name.strip_suffix(".jsonl")).is_some_and(|stem| uuid::Uuid::try_parse(stem).is_ok())
}

/// Whether others have any right. A group of the user's own number is that user's alone, as Linux distributions make it.
fn lets_others_in(found: &Metadata) -> bool {
    let of_group = if found.gid() == found.uid() { 0 } else { 0o070 };
    found.mode() & (of_group | 0o007) != 0
}

/// Whether a file can be made in a directory. Root may everywhere but on a file system that is read-only.
pub(super) fn may_write(directory: &Path) -> bool {
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
}

/// Judges all of it.
pub(super) fn judge(facts: &Facts) -> Vec<Check> {
    let root = facts.root.display();
    let bad = |finding: String, advice: String| Check::bad(Topic::Store, finding).advise(advice);
    match &facts.trouble {
        Some(Trouble::Absent) => {
            let advice = "nothing to do before the first session; if the client keeps them elsewhere: [claude] directory";
            return vec![Check::note(Topic::Store, format!("there is no {root}")).advise(advice)];
        }
        Some(Trouble::Unreadable(why)) => return vec![bad(format!("{root} cannot be listed: {why}"), format!("ls -la {root}"))],
        None => {}
    }
    let mut checks = Vec::new();
    if facts.is_foreign || facts.foreign > 0 {
        let what = if facts.is_foreign { root.to_string() } else { counted(facts.foreign, "transcript") };
        checks.push(bad(format!("{what}: of another user"), format!("sudo chown -R \"$(id -un)\" {root}")));
    } else if facts.is_read_only {
        checks.push(bad(format!("nothing can be written to {root}"), format!("chmod u+rwx {root}, if the disk is not read-only")));
    }
    if facts.read_only > 0 {
        let finding = format!("{} cannot be written to: the client would save nothing", counted(facts.read_only, "transcript"));
        checks.push(bad(finding, format!("chmod -R u+rw {root}")));
    }
    if (facts.is_open && facts.is_reachable) || facts.open > 0 {
        let what = if facts.open > 0 { counted(facts.open, "transcript") } else { root.to_string() };
        let close = format!("chmod -R go= {root}");
        checks.push(match (facts.is_reachable && facts.is_open, facts.open > 0) {
            (true, true) => bad(format!("{what} can be read by others on this machine"), close),
            (true, false) => Check::note(Topic::Store, format!("others on this machine can list {what}")).advise(close),
            (false, _) => Check::note(Topic::Store, format!("{what}: not 0600, though a directory above keeps others out")).advise(close),
        });
    }
    if facts.links > 0 {
        checks.push(
            Check::note(Topic::Store, format!("{} passed over", counted(facts.links, "symbolic link"))).advise("only real directories and files are synced"),
        );
    }
    if checks.is_empty() {
        checks.push(Check::good(Topic::Store, format!("{}, for you alone", counted(facts.transcripts, "session"))));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn verdicts(change: impl FnOnce(&mut Facts)) -> Vec<Verdict> {
        let mut facts = Facts { root: "/h/.claude/projects".into(), transcripts: 3, ..Facts::default() };
        change(&mut facts);
        judge(&facts).iter().map(|check| check.verdict).collect()
    }

    #[test]
    fn a_store_for_its_user_alone_is_good() {
        assert_eq!(verdicts(|_| {}), [Verdict::Good]);
        assert_eq!(verdicts(|facts| facts.trouble = Some(Trouble::Absent)), [Verdict::Note]);
        assert_eq!(verdicts(|facts| facts.is_reachable = true), [Verdict::Good], "the directories above let others in, and it does not");
    }

    #[test]
    fn what_keeps_the_client_or_a_pass_from_working_is_bad() {
        assert_eq!(verdicts(|facts| facts.trouble = Some(Trouble::Unreadable("no".to_owned()))), [Verdict::Bad]);
        assert_eq!(verdicts(|facts| facts.is_foreign = true), [Verdict::Bad]);
        assert_eq!(verdicts(|facts| facts.foreign = 1), [Verdict::Bad]);
        assert_eq!(verdicts(|facts| facts.is_read_only = true), [Verdict::Bad]);
        assert_eq!(verdicts(|facts| facts.read_only = 1), [Verdict::Bad]);
    }

    #[test]
    fn what_others_can_really_read_is_bad_and_what_a_directory_above_protects_a_note() {
        assert_eq!(verdicts(|facts| (facts.is_open, facts.is_reachable, facts.open) = (true, true, 1)), [Verdict::Bad]);
        assert_eq!(verdicts(|facts| (facts.is_open, facts.is_reachable) = (true, true)), [Verdict::Note]);
        assert_eq!(verdicts(|facts| facts.open = 1), [Verdict::Note]);
        assert_eq!(verdicts(|facts| facts.links = 1), [Verdict::Note]);
    }

    #[test]
    fn a_transcript_is_known_by_its_name_and_nothing_else_is_counted() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = tempfile::tempdir().unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let claude = place.path().join(".claude");
        let project = claude.join("projects/-h-x");
        fs::create_dir_all(project.join("memory")).unwrap();
        for name in ["0b0e6f7c-3f9a-4a52-9d57-0a6d3f6c1a11.jsonl", "agent-1.jsonl", "sessions-index.json"] {
            fs::write(project.join(name), "").unwrap();
        }
        std::os::unix::fs::symlink(&project, claude.join("projects/-h-y")).unwrap();
        let paths = Paths::of(&[("HOME", place.path())].into_iter().collect()).unwrap();
        let facts = Facts::gather(&paths);
        assert_eq!((facts.transcripts, facts.links, facts.foreign, facts.trouble), (1, 1, 0, None));
        assert!(!facts.is_reachable, "a directory above is closed");
    }
}
