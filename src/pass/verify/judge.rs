//! From what was seen of a session to the reasons why the client would not resume it.
//!
//! Pure. Where a rule is the client's: it looks for an id in its own project directory, else in the one other that holds it, and in
//! none if two do; it needs a message; it deletes by modification time; it saves nothing, without a word, where it may not write.

use serde::Serialize;

use crate::reconcile::manifest::ProjectName;
use crate::reconcile::words::{bytes, counted};
use crate::store::inspect::{Index, Lying};

/// Seconds of a day.
const DAY: i64 = 86_400;

/// Why the client would not resume a session, or not for long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum Fault {
    /// It lies in more than one project directory: the client resumes neither.
    Twice {
        /// Which.
        projects: Vec<ProjectName>,
    },
    /// It lies in the directory of something else.
    Misplaced {
        /// Where it lies.
        project: ProjectName,
        /// Where it belongs; none where no clone is known.
        right: Option<ProjectName>,
    },
    /// Its name is that of a link, a pipe or the like.
    NoFile,
    /// It is another user's.
    Foreign,
    /// Its permissions are not 0600.
    Mode {
        /// What they are, in octal.
        mode: String,
    },
    /// It cannot be read.
    Unreadable {
        /// Why.
        why: String,
    },
    /// Its last line has no end.
    Torn {
        /// Bytes after the last complete line.
        bytes: u64,
    },
    /// It holds no message.
    Silent,
    /// A `sessions-index.json` beside it does not name it.
    Hidden,
    /// The client is about to delete it.
    Expired {
        /// Days since it was touched.
        days: i64,
        /// Days that the client keeps it.
        kept: u32,
    },
    /// A pass neither reads nor touches it.
    Refused {
        /// Why.
        why: String,
    },
    /// What lies there is not what lies here.
    Differs {
        /// How.
        how: Differs,
    },
}

/// How a far copy stands to the one here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Differs {
    /// It is the beginning of the one here.
    Behind,
    /// The one here is its beginning.
    Ahead,
    /// Neither is the beginning of the other.
    Diverged,
}

impl Fault {
    /// In words, for people. May hold foreign text.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Twice { projects } => {
                let names: Vec<&str> = projects.iter().map(ProjectName::as_str).collect();
                format!("lies in {}: the client resumes neither", names.join(" and "))
            }
            Self::Misplaced { project, right: Some(right) } => format!("lies in {project}, belongs in {right}"),
            Self::Misplaced { project, right: None } => format!("lies in {project}, which is of something else"),
            Self::NoFile => "is no regular file".to_owned(),
            Self::Foreign => "belongs to another user".to_owned(),
            Self::Mode { mode } => format!("has mode {mode} instead of 0600"),
            Self::Unreadable { why } => format!("cannot be read: {why}"),
            Self::Torn { bytes: left } => format!("its last line has no end ({} of it)", bytes(*left)),
            Self::Silent => "holds no message: the client finds no conversation in it".to_owned(),
            Self::Hidden => "the sessions-index.json beside it does not name it: some clients list only what that names".to_owned(),
            Self::Expired { days, kept } => {
                format!("was not touched for {}, and the client keeps {}", counted(usize::try_from(*days).unwrap_or(0), "day"), counted(*kept as usize, "day"))
            }
            Self::Refused { why } => why.clone(),
            Self::Differs { how: Differs::Behind } => "lacks lines that are here".to_owned(),
            Self::Differs { how: Differs::Ahead } => "has lines that are not here".to_owned(),
            Self::Differs { how: Differs::Diverged } => "went on there and here".to_owned(),
        }
    }

    /// What mends it; none where the reason says it, or nothing does.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::Twice { .. } => "keep the copy in the project directory of its clone, and move the other one out of projects/",
            Self::Misplaced { .. } => "close it in the client, and move its .jsonl and the folder of its id to the directory where it belongs",
            Self::NoFile => "put the file itself there",
            Self::Foreign => "sudo chown it to yourself",
            Self::Mode { .. } => "chmod 600: the client saves nothing, without a word, where it may not write, and others need not read it",
            Self::Unreadable { .. } | Self::Refused { .. } => return None,
            Self::Torn { .. } => "that line was lost where it was written; the lines before it are whole, and only they are synced",
            Self::Silent => "nothing to resume; the vault shows whether it ever held more",
            Self::Hidden => "claude --resume with its id; or move sessions-index.json out of the directory",
            Self::Expired { .. } => "raise cleanupPeriodDays in the client's settings.json, or resume it; the vault keeps it in any case",
            Self::Differs { .. } => "claude-session-sync sync",
        })
    }
}

/// What is known of a session here beside its copies.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// A client has it open.
    pub open: bool,
    /// It is in the wrong directory: where it belongs, as far as that is known.
    pub misplaced: Option<Option<ProjectName>>,
    /// Why a pass leaves it alone.
    pub refused: Option<String>,
    /// This user's id.
    pub user: u32,
    /// After how many days the client deletes.
    pub kept: u32,
    /// Seconds since 1970.
    pub now: i64,
}

/// The reasons, gravest first; each once.
#[must_use]
pub fn here(copies: &[Lying], known: &Known) -> Vec<Fault> {
    let mut faults = Vec::new();
    if copies.len() > 1 {
        faults.push(Fault::Twice { projects: copies.iter().map(|copy| copy.project.clone()).collect() });
    } else if let ([copy], Some(right)) = (copies, &known.misplaced) {
        faults.push(Fault::Misplaced { project: copy.project.clone(), right: right.clone() });
    }
    for fault in copies.iter().flat_map(|copy| of_copy(copy, known)) {
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    }
    // What a pass refuses for a reason of its own; most of its reasons were found above, and say more.
    if let (Some(why), true) = (&known.refused, faults.is_empty()) {
        faults.push(Fault::Refused { why: why.clone() });
    }
    faults
}

fn of_copy(copy: &Lying, known: &Known) -> Vec<Fault> {
    let status = &copy.status;
    if !status.regular {
        return vec![Fault::NoFile];
    }
    let mut faults = Vec::new();
    if status.owner != known.user {
        faults.push(Fault::Foreign);
    }
    if status.mode != 0o600 {
        faults.push(Fault::Mode { mode: format!("{:04o}", status.mode) });
    }
    match &copy.held {
        Err(why) => faults.push(Fault::Unreadable { why: why.clone() }),
        // Somebody is at work in it: half a line, or no message yet, is as it should be.
        Ok(_) if known.open => {}
        Ok(held) => {
            if held.all > held.complete {
                faults.push(Fault::Torn { bytes: held.all - held.complete });
            }
            if held.messages == 0 {
                faults.push(Fault::Silent);
            }
        }
    }
    if copy.index == Index::Omits {
        faults.push(Fault::Hidden);
    }
    faults.extend(expired(status.stamp.modified, known.now, known.kept).filter(|_| !known.open));
    faults
}

/// Whether the client deletes a file that was modified then, in nanoseconds since 1970; `now` is in seconds.
#[must_use]
pub fn expired(modified: i64, now: i64, kept: u32) -> Option<Fault> {
    let days = (now - modified.div_euclid(1_000_000_000)).div_euclid(DAY);
    (days >= i64::from(kept)).then_some(Fault::Expired { days, kept })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::manifest::Stamp;
    use crate::store::inspect::Holding;
    use crate::store::tree::Status;

    const NOW: i64 = 2_000_000_000;

    fn good() -> Lying {
        let stamp = Stamp { inode: 1, size: 9, modified: (NOW - DAY) * 1_000_000_000, changed: 0 };
        let status = Status { stamp, device: 1, owner: 1000, regular: true, mode: 0o600 };
        let held = Holding { complete: 9, all: 9, messages: 2, ..Holding::default() };
        Lying { project: "-w".parse().unwrap(), status, held: Ok(held), index: Index::Absent }
    }

    fn known() -> Known {
        Known { user: 1000, kept: 30, now: NOW, ..Known::default() }
    }

    fn found(change: impl FnOnce(&mut Lying, &mut Known)) -> Vec<Fault> {
        let (mut copy, mut known) = (good(), known());
        change(&mut copy, &mut known);
        here(&[copy], &known)
    }

    fn held(copy: &mut Lying) -> &mut Holding {
        copy.held.as_mut().unwrap()
    }

    #[test]
    fn a_session_that_the_client_resumes_has_no_fault() {
        assert_eq!(found(|_, _| {}), []);
        assert_eq!(found(|copy, _| copy.index = Index::Names), []);
    }

    #[test]
    fn each_fault_is_found_and_nothing_beside_it() {
        assert_eq!(found(|copy, _| copy.status.owner = 0), [Fault::Foreign]);
        assert_eq!(found(|copy, _| copy.status.mode = 0o400), [Fault::Mode { mode: "0400".to_owned() }]);
        assert_eq!(found(|copy, _| copy.status.regular = false), [Fault::NoFile]);
        assert_eq!(found(|copy, _| copy.held = Err("no".to_owned())), [Fault::Unreadable { why: "no".to_owned() }]);
        assert_eq!(found(|copy, _| held(copy).all = 12), [Fault::Torn { bytes: 3 }]);
        assert_eq!(found(|copy, _| held(copy).messages = 0), [Fault::Silent]);
        assert_eq!(found(|copy, _| copy.index = Index::Omits), [Fault::Hidden]);
        assert_eq!(found(|copy, known| copy.status.stamp.modified = (known.now - 30 * DAY) * 1_000_000_000), [Fault::Expired { days: 30, kept: 30 }]);
        assert_eq!(found(|_, known| known.misplaced = Some(None)), [Fault::Misplaced { project: "-w".parse().unwrap(), right: None }]);
        assert_eq!(found(|_, known| known.refused = Some("so".to_owned())), [Fault::Refused { why: "so".to_owned() }]);
        let twice = here(&[good(), Lying { project: "-x".parse().unwrap(), ..good() }], &Known { refused: Some("so".to_owned()), ..known() });
        assert_eq!(twice, [Fault::Twice { projects: vec!["-w".parse().unwrap(), "-x".parse().unwrap()] }]);
    }

    #[test]
    fn what_a_client_is_writing_is_no_fault() {
        let written = found(|copy, known| {
            (held(copy).all, held(copy).messages, known.open) = (12, 0, true);
            copy.status.stamp.modified = 0;
        });
        assert_eq!(written, []);
    }

    #[test]
    fn the_day_before_the_client_deletes_it_is_in_time() {
        let touched = |seconds: i64| expired((NOW - seconds) * 1_000_000_000, NOW, 30);
        assert_eq!((touched(30 * DAY - 1), touched(-DAY)), (None, None));
        assert!(touched(30 * DAY).is_some());
    }
}
