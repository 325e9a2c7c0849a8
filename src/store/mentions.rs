//! Files of the client itself that name a session: its history of prompts, what it backed up, its lists. They are not ours, so
//! they are only told of.
//!
//! Promises: reads only; follows no symbolic link; looks at a bounded number of names, and into files of a bounded size.

use std::io;
use std::path::{Path, PathBuf};

use super::OWN_FOLDER;
use crate::reconcile::manifest::SessionId;

/// Directories below the client's one, one in the other, whose names are looked at.
const DEEPEST: usize = 3;
/// Most names that are looked at.
const MOST_NAMES: usize = 50_000;
/// Largest file that is looked into.
const LARGEST: u64 = 64 << 20;

/// What names one of these sessions: files and folders by their names, files of lists and of history by what they hold.
///
/// # Errors
/// When the client's directory cannot be read.
pub fn mentions(claude: &Path, sessions: &[SessionId]) -> io::Result<Vec<PathBuf>> {
    let mut search = Search { ids: sessions.iter().map(ToString::to_string).collect(), left: MOST_NAMES, found: Vec::new() };
    search.below(claude, 0)?;
    // The client's settings of the whole home lie beside its directory.
    let beside = claude.with_file_name(format!("{}.json", claude.file_name().unwrap_or_default().to_string_lossy()));
    search.look_into(beside);
    search.lists(&claude.join("projects"));
    search.found.sort();
    Ok(search.found)
}

struct Search {
    ids: Vec<String>,
    left: usize,
    found: Vec<PathBuf>,
}

impl Search {
    fn below(&mut self, directory: &Path, depth: usize) -> io::Result<()> {
        for entry in std::fs::read_dir(directory)? {
            let Some(left) = self.left.checked_sub(1) else { return Ok(()) };
            self.left = left;
            let (entry, name) = entry.map(|entry| (entry.path(), entry.file_name().to_string_lossy().into_owned()))?;
            if depth == 0 && (name == "projects" || name == OWN_FOLDER || name == "sessions") {
                continue;
            }
            let Ok(status) = entry.symlink_metadata() else { continue };
            if self.ids.iter().any(|id| name.contains(id)) {
                self.found.push(entry);
            } else if status.is_dir() && depth < DEEPEST {
                // What cannot be entered is not ours to open.
                let _ = self.below(&entry, depth + 1);
            } else if depth == 0 && status.is_file() && (name.ends_with(".json") || name.ends_with(".jsonl")) {
                self.look_into(entry);
            }
        }
        Ok(())
    }

    /// The lists that some clients keep beside the transcripts, with first prompts and summaries.
    fn lists(&mut self, projects: &Path) {
        for project in std::fs::read_dir(projects).into_iter().flatten().flatten() {
            self.look_into(project.path().join("sessions-index.json"));
        }
    }

    fn look_into(&mut self, file: PathBuf) {
        let readable = file.symlink_metadata().is_ok_and(|status| status.is_file() && status.len() <= LARGEST);
        let text = if readable { std::fs::read(&file).unwrap_or_default() } else { Vec::new() };
        if self.ids.iter().any(|id| memchr::memmem::find(&text, id.as_bytes()).is_some()) {
            self.found.push(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_the_session_is_told_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let (claude, id) = (home.path().join(".claude"), "6f869d7b-ce51-4e00-8a05-674dde6aa368");
        let put = |path: &str, text: &str| {
            let path = home.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let naming = format!("{{\"sessionId\":\"{id}\"}}\n");
        for named in [".claude.json", ".claude/history.jsonl", ".claude/projects/-p/sessions-index.json"] {
            put(named, &naming);
        }
        put(&format!(".claude/file-history/{id}/a@v1"), "old");
        put(&format!(".claude/todos/{id}-agent-{id}.json"), "[]");
        for silent in [".claude/settings.json", ".claude/file-history/7f869d7b-ce51-4e00-8a05-674dde6aa368/b", ".claude/projects/-q/sessions-index.json"] {
            put(silent, "{}");
        }
        for ours in [format!(".claude/projects/-p/{id}.jsonl"), format!(".claude/{OWN_FOLDER}/forgotten/{id}"), ".claude/sessions/1.json".to_owned()] {
            put(&ours, &naming);
        }
        let found = mentions(&claude, &[id.parse().unwrap()]).unwrap();
        let names: Vec<String> = found.iter().map(|path| path.strip_prefix(home.path()).unwrap().display().to_string()).collect();
        let expected = [
            format!(".claude/file-history/{id}"),
            ".claude/history.jsonl".to_owned(),
            ".claude/projects/-p/sessions-index.json".to_owned(),
            format!(".claude/todos/{id}-agent-{id}.json"),
            ".claude.json".to_owned(),
        ];
        assert_eq!(names, expected);
    }
}
