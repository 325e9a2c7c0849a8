//! What is wrong with a configuration, and where.
//!
//! Promises: each problem names its line and shows it; foreign text in it is escaped already.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::reconcile::plain::plain;

/// Longest part of a line that is shown, in characters.
const LONGEST_SHOWN: usize = 160;

/// A configuration that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Of this file.
    pub file: PathBuf,
    /// For these reasons, at least one, in the order of their lines.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where; nowhere when the file as a whole is wrong.
    pub place: Option<Place>,
    /// What.
    pub message: String,
    /// What was probably meant.
    pub hint: Option<String>,
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Its number, from 1.
    pub line: usize,
    /// The line itself, fit to be printed.
    pub text: String,
}

impl Place {
    /// The line that holds a byte of a text.
    #[must_use]
    pub fn in_text(text: &str, at: usize) -> Self {
        let at = text.floor_char_boundary(at.min(text.len()));
        let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
        let line = text[start..end].trim_end().replace('\t', "    ");
        let mut shown: String = line.chars().take(LONGEST_SHOWN).collect();
        if shown.len() < line.len() {
            shown.push('…');
        }
        Self { line: text[..start].matches('\n').count() + 1, text: plain(&shown).into_owned() }
    }
}

impl ConfigError {
    pub(super) fn new(file: &Path, problems: Vec<Problem>) -> Self {
        Self { file: file.to_path_buf(), problems }
    }

    pub(super) fn of_file(file: &Path, message: String) -> Self {
        Self::new(file, vec![Problem { place: None, message, hint: None }])
    }

    pub(super) fn not_utf8(file: &Path, bytes: &[u8], at: usize) -> Self {
        // The bytes before are UTF-8, so the place of the first wrong one is the same in the lossy text.
        let place = Place::in_text(&String::from_utf8_lossy(bytes), at);
        let hint = Some("save the file as UTF-8".to_owned());
        Self::new(file, vec![Problem { place: Some(place), message: "is not UTF-8".to_owned(), hint }])
    }

    pub(super) fn suggest_init(mut self) -> Self {
        for problem in &mut self.problems {
            problem.hint = Some("claude-session-sync config init".to_owned());
        }
        self
    }

    /// `FILE:LINE: message`, the form that editors jump to.
    #[must_use]
    pub fn headline(&self, problem: &Problem) -> String {
        let file = self.file.to_string_lossy();
        let file = plain(&file);
        match &problem.place {
            Some(place) => format!("{file}:{}: {}", place.line, problem.message),
            None => format!("{file}: {}", problem.message),
        }
    }
}

impl Place {
    /// `   12 | the line`
    #[must_use]
    pub fn excerpt(&self) -> String {
        format!("{:>5} | {}", self.line, self.text)
    }
}

/// Every problem: its headline, its line, its hint.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, problem) in self.problems.iter().enumerate() {
            let separator = if nth == 0 { "" } else { "\n" };
            write!(f, "{separator}{}", self.headline(problem))?;
            if let Some(place) = &problem.place {
                write!(f, "\n{}", place.excerpt())?;
            }
            if let Some(hint) = &problem.hint {
                write!(f, "\n      = {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
