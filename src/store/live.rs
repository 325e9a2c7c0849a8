//! Which sessions a client has open on this machine, by the client's own registry.
//!
//! Promises: reads `<claude>/sessions/<pid>.json` and nothing else of that directory (the `.key` files beside them are
//! secrets). A session counts as open when the entry's process is alive and, where it can be compared, began when the entry
//! says. A torn entry of a living process counts as open for the id that can be found in it.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use crate::reconcile::manifest::{SessionId, Stamp};

/// In a store without a registry, a transcript written within this time counts as open.
const FRESH: Duration = Duration::from_secs(120);

/// Longest registry entry that is read.
const LONGEST_ENTRY: u64 = 64 << 10;

/// Who is at work here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registry {
    /// The open sessions.
    Sessions(BTreeSet<SessionId>),
    /// A living process has an entry that is being written at this moment and does not say whose it is: any session may be open.
    Unclear,
    /// An old client that keeps no registry.
    None,
}

impl Registry {
    /// Whether a session is open. `transcript` is its stamp, if it has one; `now` is this machine's clock.
    #[must_use]
    pub fn is_live(&self, session: SessionId, transcript: Option<Stamp>, now: SystemTime) -> bool {
        match self {
            Self::Sessions(open) => open.contains(&session),
            Self::Unclear => true,
            Self::None => transcript.is_some_and(|stamp| is_fresh(stamp.modified, now)),
        }
    }
}

/// Whether a time, in nanoseconds since 1970, is now but for [`FRESH`]. One far ahead is a clock's mistake, not a writer.
fn is_fresh(modified: i64, now: SystemTime) -> bool {
    is_near(SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(modified).unwrap_or(0)), now)
}

fn is_near(modified: SystemTime, now: SystemTime) -> bool {
    now.duration_since(modified).unwrap_or_else(|ahead| ahead.duration()) < FRESH
}

#[derive(Deserialize)]
struct Entry {
    pid: Option<i32>,
    #[serde(rename = "sessionId")]
    session: Option<String>,
    #[serde(rename = "procStart")]
    start: Option<serde_json::Value>,
}

/// Reads the registry.
///
/// # Errors
/// When the directory is there and cannot be listed.
pub fn registry(claude: &Path) -> io::Result<Registry> {
    each_open(claude, &mut |_, _| {})
}

/// Which processes have a session open, by the registry.
///
/// # Errors
/// As [`registry`].
pub fn holders(claude: &Path, session: SessionId) -> io::Result<Vec<i32>> {
    let mut holders = Vec::new();
    each_open(claude, &mut |pid, id| holders.extend((id == session).then_some(pid)))?;
    holders.sort_unstable();
    Ok(holders)
}

/// The registry; `take` is told of each session that is open, and of its process.
fn each_open(claude: &Path, take: &mut dyn FnMut(i32, SessionId)) -> io::Result<Registry> {
    let directory = match std::fs::read_dir(claude.join("sessions")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Registry::None),
        directory => directory?,
    };
    let mut open = BTreeSet::new();
    for entry in directory {
        let path = entry?.path();
        let pid = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json")?.parse::<i32>().ok());
        let Some(pid) = pid.filter(|pid| *pid > 0 && is_alive(*pid)) else { continue };
        let Some(text) = read_entry(&path) else { continue };
        // Overwritten in place, so half an entry can be read: once more, then whatever id stands in it.
        let parsed = serde_json::from_str::<Entry>(&text).or_else(|_| serde_json::from_str(&read_entry(&path).unwrap_or_default()));
        let session = match parsed {
            Ok(entry) if entry.pid.unwrap_or(pid) == pid && began(pid, entry.start.as_ref()) => entry.session.and_then(|id| id.parse().ok()),
            Ok(_) => None,
            Err(_) => match torn_id(&text) {
                None if path.symlink_metadata().is_ok_and(|status| status.modified().is_ok_and(|at| is_near(at, SystemTime::now()))) => {
                    return Ok(Registry::Unclear);
                }
                found => found,
            },
        };
        if let Some(session) = session {
            take(pid, session);
            open.insert(session);
        }
    }
    Ok(Registry::Sessions(open))
}

fn read_entry(path: &Path) -> Option<String> {
    let mut text = Vec::new();
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
    let file = std::fs::File::from(rustix::fs::open(path, flags, rustix::fs::Mode::empty()).ok()?);
    file.take(LONGEST_ENTRY).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

fn torn_id(text: &str) -> Option<SessionId> {
    let (_, rest) = text.split_once("\"sessionId\"")?;
    rest.split('"').find_map(|piece| piece.parse().ok())
}

fn is_alive(pid: i32) -> bool {
    let Some(process) = rustix::process::Pid::from_raw(pid) else { return false };
    matches!(rustix::process::test_kill_process(process), Ok(()) | Err(rustix::io::Errno::PERM))
}

/// Whether the process began when the entry says; true where that cannot be compared.
fn began(pid: i32, start: Option<&serde_json::Value>) -> bool {
    let said = match start {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(serde_json::Value::Number(number)) => number.to_string(),
        _ => return true,
    };
    start_time(pid).is_none_or(|began| began == said)
}

/// Field 22 of `/proc/PID/stat`, counted after the parenthesised name, which may hold anything.
fn start_time(pid: i32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "6f869d7b-ce51-4e00-8a05-674dde6aa368";

    fn with_entry(text: &str, pid: u32) -> Registry {
        let claude = tempfile::tempdir().unwrap();
        std::fs::create_dir(claude.path().join("sessions")).unwrap();
        std::fs::write(claude.path().join(format!("sessions/{pid}.json")), text).unwrap();
        registry(claude.path()).unwrap()
    }

    fn open(ids: &[&str]) -> Registry {
        Registry::Sessions(ids.iter().map(|id| id.parse().unwrap()).collect())
    }

    #[test]
    fn a_living_process_that_began_then_holds_its_session_open() {
        let pid = std::process::id();
        let start = start_time(pid as i32).unwrap_or_default();
        assert_eq!(with_entry(&format!(r#"{{"pid":{pid},"sessionId":"{ID}","procStart":"{start}"}}"#), pid), open(&[ID]));
        assert_eq!(with_entry(&format!(r#"{{"pid":{pid},"sessionId":"{ID}"}}"#), pid), open(&[ID]), "no start to compare");
    }

    #[test]
    fn an_entry_of_a_dead_process_or_of_another_with_its_pid_is_stale() {
        let pid = std::process::id();
        assert_eq!(with_entry(&format!(r#"{{"pid":{pid},"sessionId":"{ID}","procStart":"1"}}"#), pid), open(&[]));
        assert_eq!(with_entry(&format!(r#"{{"pid":999999999,"sessionId":"{ID}"}}"#), 999_999_999), open(&[]));
    }

    #[test]
    fn a_torn_entry_of_a_living_process_counts() {
        let pid = std::process::id();
        assert_eq!(with_entry(&format!(r#"{{"pid":{pid},"sessionId":"{ID}","upd"#), pid), open(&[ID]));
    }

    #[test]
    fn an_entry_that_says_nothing_yet_makes_any_session_count_for_as_long_as_it_may_be_in_the_writing() {
        let pid = std::process::id();
        assert_eq!(with_entry("", pid), Registry::Unclear);
        assert_eq!(with_entry(r#"{"pid":"#, pid), Registry::Unclear);
        assert_eq!(with_entry("", 999_999_999), open(&[]), "nobody writes it");
        let claude = tempfile::tempdir().unwrap();
        std::fs::create_dir(claude.path().join("sessions")).unwrap();
        let entry = claude.path().join(format!("sessions/{pid}.json"));
        std::fs::File::create(entry).unwrap().set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
        assert_eq!(registry(claude.path()).unwrap(), open(&[]), "left so long ago");
    }

    #[test]
    fn names_that_are_no_pid_are_passed_over() {
        let claude = tempfile::tempdir().unwrap();
        std::fs::create_dir(claude.path().join("sessions")).unwrap();
        for name in ["-5.json", "0.json", "+0.json", "x.json", "99999999999.json", "1.abc.key"] {
            std::fs::write(claude.path().join("sessions").join(name), format!(r#"{{"sessionId":"{ID}"}}"#)).unwrap();
        }
        assert_eq!(registry(claude.path()).unwrap(), open(&[]));
    }

    #[test]
    fn without_a_registry_a_fresh_transcript_counts() {
        let now = SystemTime::now();
        let nanoseconds = |at: SystemTime| i64::try_from(at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos()).unwrap();
        let stamp = |modified| Stamp { inode: 1, size: 1, modified, changed: 0 };
        let id = ID.parse().unwrap();
        assert!(Registry::None.is_live(id, Some(stamp(nanoseconds(now - Duration::from_secs(119)))), now));
        assert!(!Registry::None.is_live(id, Some(stamp(nanoseconds(now - Duration::from_secs(121)))), now));
        assert!(!Registry::None.is_live(id, Some(stamp(nanoseconds(now + Duration::from_secs(86_400)))), now), "a wrong clock is no writer");
        assert!(!Registry::None.is_live(id, Some(stamp(i64::MAX)), now) && !Registry::None.is_live(id, Some(stamp(i64::MIN)), now));
    }
}
